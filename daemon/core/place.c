/*
 * place.c - where each key belongs: a pure function of members and children.
 *
 * Weighted rendezvous hashing (Thaler and Ravishankar 1998; the weights after Schindelhauer and
 * Schomaker 2005) with a bound on the load: no node gets more than BOUND_PERCENT of its share
 * while another one that may take the key has room (after Mirrokni, Thorup and Zadimoghaddam 2018).
 * Keys are taken in the order of their hashes, so all members with the same view agree.
 */
#include "core/state.h"
#include "core/unfit.h"

#include <fnmatch.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BOUND_PERCENT 125

struct node {
	struct ph_name name;
	uint64_t hash;
	double weight;
	const char *labels;
	size_t load, room;
};

struct wanted {
	uint64_t hash;
	struct ph_slot *slot;
	const struct ph_spec *spec;
	const struct ph_child *child;
};

static uint64_t name_hash(const struct ph_name *name)
{
	return ph_mix64(ph_hash_bytes(PH_HASH_SEED, name->s, strlen(name->s)));
}

/* A larger one is preferred: -weight / ln(u) with u uniform in (0, 1). */
static double score_of(uint64_t hash, double weight)
{
	double u = ((double)(hash >> 11) + 0.5) * 0x1p-53;
	return -weight / log(u);
}

static double score(uint64_t key_hash, uint64_t node_hash, double weight)
{
	return score_of(ph_mix64(key_hash ^ node_hash), weight);
}

bool ph_place_before(const struct ph_key *key, const struct ph_name *a, const struct ph_name *b)
{
	uint64_t h = ph_key_hash(key);
	double sa = score(h, name_hash(a), 1.0), sb = score(h, name_hash(b), 1.0);
	if (sa != sb)
		return sa > sb;
	return strcmp(a->s, b->s) < 0;
}

/* Calls `each` for every word of a list joined by ','; true as soon as one call is true. */
static bool any_word(
	const char *list, bool (*each)(const char *word, const void *arg), const void *arg)
{
	char word[512];
	while (list && *list) {
		size_t n = strcspn(list, ",");
		size_t cut = n < sizeof word ? n : sizeof word - 1;
		memcpy(word, list, cut);
		word[cut] = '\0';
		if (each(word, arg))
			return true;
		list += n + (list[n] == ',');
	}
	return false;
}

static bool matches(const char *pattern, const void *name)
{
	return fnmatch(pattern, name, 0) == 0;
}

static bool same(const char *word, const void *other)
{
	return strcmp(word, other) == 0;
}

static bool lacks(const char *label, const void *labels)
{
	return !any_word(labels, same, label);
}

static bool eligible(const struct ph_spec *spec, const struct node *node)
{
	if (spec->nodes && !any_word(spec->nodes, matches, node->name.s))
		return false;
	return !spec->labels || !any_word(spec->labels, lacks, node->labels);
}

/* With a quorum strategy only the members of the view take children. */
static bool counts(const struct ph_hub *hub, const struct ph_name *name)
{
	return !ph_quorate(hub) || ph_quorum_has(&hub->view, name);
}

static int by_weight(const void *a, const void *b)
{
	const struct node *x = a, *y = b;
	if (x->weight < y->weight || x->weight > y->weight)
		return x->weight < y->weight ? -1 : 1;
	return strcmp(x->name.s, y->name.s);
}

static size_t collect_nodes(const struct ph_hub *hub, struct node **ret)
{
	struct node *nodes = ph_must(calloc(HASH_COUNT(hub->members) + 1, sizeof *nodes));
	size_t n = 0;
	if (!hub->draining && !hub->shutting && counts(hub, &hub->set.node))
		nodes[n++] = (struct node){.name = hub->set.node,
			.weight = hub->set.weight,
			.labels = hub->set.labels};
	for (struct ph_member *m = hub->members; m; m = m->hh.next)
		if ((m->state == PH_MEMBER_ALIVE || m->state == PH_MEMBER_SUSPECT) &&
			!m->info.draining && counts(hub, &m->info.name))
			nodes[n++] = (struct node){.name = m->info.name,
				.weight = m->info.weight,
				.labels = m->info.labels};
	for (size_t i = 0; i < n; i++)
		nodes[i].hash = name_hash(&nodes[i].name);
	qsort(nodes, n, sizeof *nodes, by_weight);
	*ret = nodes;
	return n;
}

bool ph_place_allows(struct ph_hub *hub, const struct ph_spec *spec, const struct ph_name *name)
{
	const struct ph_member *member = ph_member_find(hub, name);
	struct node node = {
		.name = *name, .labels = member ? member->info.labels : hub->set.labels};
	return eligible(spec, &node);
}

const struct ph_name *ph_place_reached(struct ph_hub *hub, const struct ph_slot *slot)
{
	const struct ph_child *child = ph_child_find(hub, &slot->k.key.child);
	const struct ph_spec *spec = child ? ph_child_spec(child) : NULL;
	const struct ph_name *best = NULL;
	double top = 0;
	for (struct ph_member *m = hub->members; spec && m; m = m->hh.next) {
		if (m->state != PH_MEMBER_ALIVE || m->info.draining || m->info.weight <= 0 ||
			!ph_place_allows(hub, spec, &m->info.name) ||
			ph_unfit(hub, child, &m->info.name))
			continue;
		double s =
			score(ph_key_hash(&slot->k.key), name_hash(&m->info.name), m->info.weight);
		if (!best || s > top) {
			best = &m->info.name;
			top = s;
		}
	}
	return best;
}

static int by_hash(const void *a, const void *b)
{
	const struct wanted *x = a, *y = b;
	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	return ph_key_compare(&x->slot->k.key, &y->slot->k.key);
}

static size_t collect_keys(struct ph_hub *hub, struct wanted **ret)
{
	size_t total = 0, n = 0;
	for (struct ph_child *c = hub->children; c; c = c->hh.next) {
		const struct ph_spec *spec = ph_child_spec(c);
		total += spec && !spec->local ? spec->instances : 0;
	}
	struct wanted *list = ph_must(calloc(total + 1, sizeof *list));
	for (struct ph_child *c = hub->children; c; c = c->hh.next) {
		const struct ph_spec *spec = ph_child_spec(c);
		if (!spec || spec->local)
			continue;
		for (uint32_t i = 0; i < spec->instances; i++) {
			struct ph_key key = {.child = c->name, .instance = i};
			list[n].spec = spec;
			list[n].child = c;
			list[n].slot = ph_slot_get(hub, &key, NULL);
			list[n].hash = ph_key_hash(&list[n].slot->k.key);
			n++;
		}
	}
	qsort(list, n, sizeof *list, by_hash);
	*ret = list;
	return n;
}

static void set_room(struct node *nodes, size_t n_nodes, size_t n_keys)
{
	double total = 0;
	for (size_t i = 0; i < n_nodes; i++)
		total += nodes[i].weight;
	for (size_t i = 0; i < n_nodes; i++)
		nodes[i].room = total > 0 ? (size_t)ceil((double)n_keys * nodes[i].weight / total *
							 BOUND_PERCENT / 100)
					  : 0;
}

struct pick {
	struct node *node;
	uint64_t hash;
	double score;
};

/* Of nodes with one weight the larger hash has the larger score: it needs no logarithm. */
static void consider(struct pick *pick, struct node *node, uint64_t hash)
{
	if (pick->node && pick->hash >= hash)
		return;
	pick->node = node;
	pick->hash = hash;
}

static void keep_better(struct pick *best, struct pick *pick)
{
	if (!pick->node)
		return;
	pick->score = score_of(pick->hash, pick->node->weight);
	if (!best->node || pick->score > best->score)
		*best = *pick;
	pick->node = NULL;
}

/* `nodes` is sorted by weight. */
static struct node *choose(const struct ph_hub *hub, struct node *nodes, size_t n,
	const struct wanted *key, bool unfit_too)
{
	struct pick best = {0}, best_full = {0}, pick = {0}, pick_full = {0};
	bool fit = unfit_too || !key->child->n_unfit, any = !key->spec->nodes && !key->spec->labels;
	for (size_t i = 0; i < n; i++) {
		if (i && nodes[i].weight > nodes[i - 1].weight) {
			keep_better(&best, &pick);
			keep_better(&best_full, &pick_full);
		}
		if (nodes[i].weight <= 0 || (!any && !eligible(key->spec, &nodes[i])) ||
			(!fit && ph_unfit(hub, key->child, &nodes[i].name)))
			continue;
		uint64_t hash = ph_mix64(key->hash ^ nodes[i].hash);
		if (nodes[i].load < nodes[i].room)
			consider(&pick, &nodes[i], hash);
		consider(&pick_full, &nodes[i], hash);
	}
	keep_better(&best, &pick);
	keep_better(&best_full, &pick_full);
	return best.node ? best.node : best_full.node;
}

/*
 * A digest of all that the places follow from, 0 where that changes with time. The plan is looked
 * at far more often than nodes or children change, and each place is one of hundreds.
 */
static uint64_t inputs(const struct ph_hub *hub, const struct node *nodes, size_t n)
{
	uint64_t sum = PH_HASH_SEED;
	for (size_t i = 0; i < n; i++) {
		const char *labels = nodes[i].labels ? nodes[i].labels : "";
		sum = ph_mix64(sum ^ nodes[i].hash);
		sum = ph_hash_bytes(sum, &nodes[i].weight, sizeof nodes[i].weight);
		sum = ph_hash_bytes(sum, labels, strlen(labels));
	}
	for (const struct ph_child *c = hub->children; c; c = c->hh.next) {
		const struct ph_spec *spec = ph_child_spec(c);
		if (c->n_unfit)
			return 0;
		sum = ph_mix64(sum ^ ph_hash_bytes(PH_HASH_SEED, c->name.s, strlen(c->name.s)));
		if (spec)
			sum = ph_mix64(sum ^ spec->hash ^ (uint64_t)spec->instances << 1 ^
				       (uint64_t)spec->local);
	}
	return sum;
}

void ph_place_all(struct ph_hub *hub)
{
	struct node *nodes;
	struct wanted *keys;
	size_t n_nodes = collect_nodes(hub, &nodes);
	uint64_t placed = inputs(hub, nodes, n_nodes);
	if (placed && placed == hub->placed) {
		free(nodes);
		return;
	}
	for (struct ph_slot *slot = hub->slots; slot; slot = slot->hh.next)
		slot->place.s[0] = '\0';
	size_t n_keys = collect_keys(hub, &keys);
	hub->placed = placed; /* which new slots have unset */
	set_room(nodes, n_nodes, n_keys);
	for (size_t i = 0; i < n_keys; i++) {
		struct node *node = choose(hub, nodes, n_nodes, &keys[i], false);
		if (!node && keys[i].child->n_unfit)
			node = choose(hub, nodes, n_nodes, &keys[i], true);
		if (!node)
			continue;
		node->load++;
		keys[i].slot->place = node->name;
	}
	free(nodes);
	free(keys);
}
