/*
 * place.c - where each key belongs: a pure function of members and children.
 *
 * Weighted rendezvous hashing (Thaler and Ravishankar 1998; the weights after Schindelhauer and
 * Schomaker 2005) with a bound on the load: no node gets more than BOUND_PERCENT of its share
 * while another one that may take the key has room (after Mirrokni, Thorup and Zadimoghaddam 2018).
 * Keys are taken in the order of their hashes, so all members with the same view agree.
 *
 * Each slot remembers its favourite, the node that comes first for it whatever the loads: when
 * nodes come or go only that is looked at which they change, and most keys are given to their
 * favourite without a look at the others. What takes longer than a moment, as the first time with
 * many nodes does, is done in pieces, one a step.
 */
#include "core/state.h"
#include "core/unfit.h"

#include <fnmatch.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BOUND_PERCENT 125
#define PIECE (1u << 22) /* of a run in one step: so many looks of a key at a node */
#define NAMED_COST 32	 /* ... for which a look with patterns or labels counts */
#define AHEAD 8		 /* keys that are fetched into the cache before their turn */

struct wanted {
	uint64_t hash;
	struct ph_slot *slot;
};

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

static uint64_t name_hash(const struct ph_name *name)
{
	return ph_mix64(ph_hash_bytes(PH_HASH_SEED, name->s, strlen(name->s)));
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

static bool eligible(const struct ph_spec *spec, const struct ph_name *node, const char *labels)
{
	if (spec->nodes && !any_word(spec->nodes, matches, node->s))
		return false;
	return !spec->labels || !any_word(spec->labels, lacks, labels);
}

/* With a quorum strategy only the members of the view take children. */
static bool counts(const struct ph_hub *hub, const struct ph_name *name)
{
	return !ph_quorate(hub) || ph_quorum_has(&hub->view, name);
}

bool ph_place_allows(struct ph_hub *hub, const struct ph_spec *spec, const struct ph_name *name)
{
	const struct ph_member *member = ph_member_find(hub, name);
	return eligible(spec, name, member ? member->info.labels : hub->set.labels);
}

const struct ph_name *ph_place_reached(struct ph_hub *hub, const struct ph_slot *slot)
{
	const struct ph_child *child = slot->child;
	const struct ph_spec *spec = child ? ph_child_spec(child) : NULL;
	const struct ph_name *best = NULL;
	double top = 0;
	for (struct ph_member *m = hub->members; spec && m; m = m->hh.next) {
		if (m->state != PH_MEMBER_ALIVE || m->info.draining || m->info.weight <= 0 ||
			!ph_place_allows(hub, spec, &m->info.name) ||
			ph_unfit(hub, child, &m->info.name))
			continue;
		double s = score(ph_slot_hash(slot), m->node->hash, m->info.weight);
		if (!best || s > top) {
			best = &m->info.name;
			top = s;
		}
	}
	return best;
}

/* ---- the keys, in their order ---- */

static int by_hash(const void *a, const void *b)
{
	const struct wanted *x = a, *y = b;
	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	return ph_key_compare(PH_SLOT_KEY(x->slot), PH_SLOT_KEY(y->slot));
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
			list[n].slot = ph_slot_get(hub, &key, NULL);
			list[n].hash = ph_slot_hash(list[n].slot);
			n++;
		}
	}
	qsort(list, n, sizeof *list, by_hash);
	*ret = list;
	return n;
}

/* What is not wanted has no place. */
static void order_keys(struct ph_hub *hub)
{
	struct ph_places *p = &hub->places;
	struct wanted *keys;
	p->n_order = collect_keys(hub, &keys);
	p->order = ph_must(realloc(p->order, (p->n_order + 1) * sizeof *p->order));
	bool *wanted = ph_must(calloc(hub->slots.n + 1, sizeof *wanted));
	for (size_t i = 0; i < p->n_order; i++) {
		p->order[i] = keys[i].slot->no;
		wanted[p->order[i]] = true;
	}
	for (struct ph_slot *slot = ph_slot_first(hub); slot; slot = ph_slot_next(hub, slot))
		if (!wanted[slot->no])
			slot->place = slot->favourite = 0;
	free(wanted);
	free(keys);
}

/* ---- the nodes, and their seats ---- */

static int by_weight(const void *a, const void *b)
{
	const struct ph_choice *x = a, *y = b;
	if (x->weight < y->weight || x->weight > y->weight)
		return x->weight < y->weight ? -1 : 1;
	return strcmp(x->node->name.s, y->node->name.s);
}

static void add_node(struct ph_choice *list, size_t *n, const struct ph_node *node, double weight,
	const char *labels)
{
	if (!(weight > 0))
		return;
	list[(*n)++] = (struct ph_choice){
		.hash = node->hash, .weight = weight, .node = node, .labels = labels};
}

/* Their labels are the members' still. */
static size_t collect_nodes(const struct ph_hub *hub, struct ph_choice **ret)
{
	struct ph_choice *nodes = ph_must(calloc(HASH_COUNT(hub->members) + 1, sizeof *nodes));
	size_t n = 0;
	if (!hub->draining && !hub->shutting && counts(hub, &hub->set.node))
		add_node(nodes, &n, hub->slots.self, hub->set.weight, hub->set.labels);
	for (struct ph_member *m = hub->members; m; m = m->hh.next)
		if ((m->state == PH_MEMBER_ALIVE || m->state == PH_MEMBER_SUSPECT) &&
			!m->info.draining && counts(hub, &m->info.name))
			add_node(nodes, &n, m->node, m->info.weight, m->info.labels);
	qsort(nodes, n, sizeof *nodes, by_weight);
	*ret = nodes;
	return n;
}

static uint16_t new_seat(struct ph_places *p, const struct ph_choice *choice)
{
	size_t at = 1;
	while (at < p->n_seats && p->seats[at].taken)
		at++;
	if (at == p->n_seats)
		p->seats = ph_must(realloc(p->seats, ++p->n_seats * sizeof *p->seats));
	p->seats[at] = (struct ph_seat){.node = (struct ph_node *)(uintptr_t)choice->node,
		.weight = choice->weight,
		.taken = true};
	return (uint16_t)at;
}

/* The seat that the node had before this run, with the same weight; or 0. */
static uint16_t old_seat(const struct ph_places *p, const struct ph_choice *choice)
{
	uint16_t seat = choice->node->seat;
	bool same = seat && !(p->seats[seat].weight < choice->weight) &&
		    !(p->seats[seat].weight > choice->weight);
	return same ? seat : 0;
}

static void take_seats(struct ph_places *p)
{
	for (size_t i = 1; i < p->n_seats; i++)
		p->seats[i].kept = false;
	for (size_t i = 0; i < p->n_nodes; i++) {
		struct ph_choice *choice = &p->nodes[i];
		choice->seat = old_seat(p, choice);
		p->seats[choice->seat].kept = true;
	}
	p->n_fresh = 0;
	for (size_t i = 0; i < p->n_nodes; i++) {
		struct ph_choice *choice = &p->nodes[i];
		if (choice->seat)
			continue;
		choice->seat = new_seat(p, choice);
		p->fresh[p->n_fresh++] = *choice;
	}
	for (size_t i = 1; i < p->n_seats; i++)
		if (p->seats[i].node->seat == i)
			p->seats[i].node->seat = 0;
	for (size_t i = 0; i < p->n_nodes; i++)
		p->seats[p->nodes[i].seat].node->seat = p->nodes[i].seat;
}

static void set_room(struct ph_places *p)
{
	double total = 0;
	for (size_t i = 0; i < p->n_nodes; i++)
		total += p->nodes[i].weight;
	for (size_t i = 0; i < p->n_nodes; i++) {
		struct ph_seat *seat = &p->seats[p->nodes[i].seat];
		seat->load = 0;
		seat->room = (uint32_t)ceil(
			(double)p->n_order * seat->weight / total * BOUND_PERCENT / 100);
	}
}

/* What each key looks at, with nothing between: it is most of the work of a large cluster. */
static uint64_t *line_up(struct ph_choice *nodes, size_t n)
{
	uint64_t *hashes = ph_must(calloc(n + 1, sizeof *hashes));
	for (size_t i = n; i--;) {
		bool last = i + 1 == n || nodes[i + 1].weight > nodes[i].weight;
		nodes[i].end = last ? (uint32_t)i + 1 : nodes[i + 1].end;
		hashes[i] = nodes[i].hash;
	}
	return hashes;
}

static void free_nodes(struct ph_places *p)
{
	for (size_t i = 0; i < p->n_nodes; i++)
		free((void *)(uintptr_t)p->nodes[i].labels);
	free(p->nodes);
	free(p->fresh);
	free(p->node_hashes);
	free(p->fresh_hashes);
	p->nodes = p->fresh = NULL;
	p->node_hashes = p->fresh_hashes = NULL;
	p->n_nodes = p->n_fresh = 0;
}

/* ---- choosing ---- */

struct pick {
	const struct ph_choice *choice;
	uint64_t hash;
};

/* Of nodes with one weight the larger hash has the larger score: it needs no logarithm. */
static void consider(struct pick *pick, const struct ph_choice *choice, uint64_t hash)
{
	if (pick->choice && pick->hash >= hash)
		return;
	pick->choice = choice;
	pick->hash = hash;
}

static double score_of_pick(const struct pick *pick)
{
	return score_of(pick->hash, pick->choice->weight);
}

static void keep_better(struct pick *best, struct pick *pick)
{
	if (pick->choice && (!best->choice || score_of_pick(pick) > score_of_pick(best)))
		*best = *pick;
	pick->choice = NULL;
}

/* Of nodes with one weight. Nearly all are seen to be smaller before the last step of mixing. */
static size_t top_of(const uint64_t *hashes, size_t n, uint64_t key_hash, uint64_t *ret_hash)
{
	size_t best = 0;
	uint64_t top = 0, upper = 0;
	for (size_t i = 0; i < n; i++) {
		if (ph_mix64_upper(key_hash ^ hashes[i]) < upper)
			continue;
		uint64_t hash = ph_mix64(key_hash ^ hashes[i]);
		if (hash > top) {
			top = hash;
			upper = top >> 31 << 31;
			best = i;
		}
	}
	*ret_hash = top;
	return best;
}

/* The first in the key's order of nodes, whatever the loads. `nodes` is sorted by weight. */
static struct pick first_of(
	const struct ph_choice *nodes, const uint64_t *hashes, size_t n, uint64_t key_hash)
{
	struct pick best = {0};
	for (size_t i = 0; i < n; i = nodes[i].end) {
		struct pick pick;
		pick.choice =
			&nodes[i + top_of(hashes + i, nodes[i].end - i, key_hash, &pick.hash)];
		keep_better(&best, &pick);
	}
	return best;
}

/* Does the new one come before the favourite? */
static bool beats(const struct pick *fresh, const struct ph_seat *seat, uint64_t key_hash)
{
	uint64_t hash = ph_mix64(key_hash ^ seat->node->hash);
	const struct ph_choice *choice = fresh->choice;
	if (choice->weight < seat->weight || choice->weight > seat->weight) {
		double score = score_of(hash, seat->weight), other = score_of_pick(fresh);
		return other > score || (!(other < score) && choice->weight < seat->weight);
	}
	return fresh->hash > hash ||
	       (fresh->hash == hash && strcmp(choice->node->name.s, seat->node->name.s) < 0);
}

/* Only some nodes may have it: it has no favourite, and is looked at anew each time. */
static bool choosy(const struct ph_child *child)
{
	const struct ph_spec *spec = ph_child_spec(child);
	return spec->nodes || spec->labels || child->n_unfit;
}

/* Returns what it took, in looks. */
static size_t find_favourite(const struct ph_places *p, struct ph_slot *slot)
{
	if (choosy(slot->child) || !p->n_nodes) {
		slot->favourite = 0;
		return 1;
	}
	uint64_t hash = ph_slot_hash(slot);
	bool known = slot->favourite && p->seats[slot->favourite].kept;
	size_t n = known ? p->n_fresh : p->n_nodes;
	struct pick pick = known ? first_of(p->fresh, p->fresh_hashes, n, hash)
				 : first_of(p->nodes, p->node_hashes, n, hash);
	if (pick.choice && (!known || beats(&pick, &p->seats[slot->favourite], hash)))
		slot->favourite = pick.choice->seat;
	return n + 1;
}

/* The first that may have it and has room; where none has, the first that may have it. */
static uint16_t choose(const struct ph_hub *hub, const struct ph_slot *slot, bool unfit_too)
{
	const struct ph_places *p = &hub->places;
	const struct ph_child *child = slot->child;
	const struct ph_spec *spec = ph_child_spec(child);
	struct pick best = {0}, best_full = {0}, pick = {0}, pick_full = {0};
	bool fit = unfit_too || !child->n_unfit, any = !spec->nodes && !spec->labels;
	uint64_t key_hash = ph_slot_hash(slot);
	for (size_t i = 0; i < p->n_nodes; i++) {
		const struct ph_choice *c = &p->nodes[i];
		if (i && c->weight > p->nodes[i - 1].weight) {
			keep_better(&best, &pick);
			keep_better(&best_full, &pick_full);
		}
		if ((!any && !eligible(spec, &c->node->name, c->labels)) ||
			(!fit && ph_unfit(hub, child, &c->node->name)))
			continue;
		uint64_t hash = ph_mix64(key_hash ^ c->hash);
		if (p->seats[c->seat].load < p->seats[c->seat].room)
			consider(&pick, c, hash);
		consider(&pick_full, c, hash);
	}
	keep_better(&best, &pick);
	keep_better(&best_full, &pick_full);
	if (best.choice)
		return best.choice->seat;
	return best_full.choice ? best_full.choice->seat : 0;
}

/* Returns what it took, in looks. */
static size_t give_place(struct ph_hub *hub, struct ph_slot *slot)
{
	struct ph_places *p = &hub->places;
	const struct ph_seat *favourite = &p->seats[slot->favourite];
	bool direct = slot->favourite && favourite->load < favourite->room;
	slot->place = direct ? slot->favourite : choose(hub, slot, false);
	if (!slot->place && slot->child->n_unfit)
		slot->place = choose(hub, slot, true);
	if (slot->place)
		p->seats[slot->place].load++;
	return direct ? 1 : (p->n_nodes + 1) * (choosy(slot->child) ? NAMED_COST : 1);
}

/* ---- a run ---- */

/* A digest of what the order of the keys follows from; *ret_unfit: marks count, which pass. */
static uint64_t keys_sum(const struct ph_hub *hub, uint64_t *ret_specs, bool *ret_unfit)
{
	uint64_t sum = PH_HASH_SEED, specs = PH_HASH_SEED;
	for (const struct ph_child *c = hub->children; c; c = c->hh.next) {
		const struct ph_spec *spec = ph_child_spec(c);
		*ret_unfit |= c->n_unfit != 0;
		if (!spec)
			continue;
		sum = ph_mix64(
			sum ^ c->hash ^ (uint64_t)spec->instances << 1 ^ (uint64_t)spec->local);
		specs = ph_mix64(specs ^ spec->hash);
	}
	*ret_specs = specs;
	return sum;
}

static uint64_t nodes_sum(const struct ph_choice *nodes, size_t n)
{
	uint64_t sum = PH_HASH_SEED;
	for (size_t i = 0; i < n; i++) {
		const char *labels = nodes[i].labels ? nodes[i].labels : "";
		sum = ph_mix64(sum ^ nodes[i].hash);
		sum = ph_hash_bytes(sum, &nodes[i].weight, sizeof nodes[i].weight);
		sum = ph_hash_bytes(sum, labels, strlen(labels));
	}
	return sum;
}

/* Runs that were overtaken by the next one, and none came to its end: their seats are many. */
static void forget_seats(struct ph_hub *hub)
{
	struct ph_places *p = &hub->places;
	for (struct ph_slot *slot = ph_slot_first(hub); slot; slot = ph_slot_next(hub, slot))
		slot->place = slot->favourite = 0;
	for (size_t i = 1; i < p->n_seats; i++)
		p->seats[i].node->seat = 0;
	p->n_seats = 1;
}

static void begin(struct ph_hub *hub, struct ph_choice *nodes, size_t n, uint64_t order_sum)
{
	struct ph_places *p = &hub->places;
	/* One that goes on has favourites of its own inputs up to there, and of older ones beyond.
	 */
	for (size_t i = p->at; p->sum && !p->seated && i < p->n_order; i++)
		ph_slot_at(hub, p->order[i])->favourite = 0;
	if (p->n_seats + n > UINT16_MAX)
		forget_seats(hub);
	if (p->order_sum != order_sum)
		order_keys(hub);
	p->order_sum = order_sum;
	free_nodes(p);
	p->nodes = nodes;
	p->n_nodes = n;
	p->fresh = ph_must(calloc(n + 1, sizeof *p->fresh));
	for (size_t i = 0; i < n; i++)
		p->nodes[i].labels = nodes[i].labels ? ph_must(strdup(nodes[i].labels)) : NULL;
	take_seats(p);
	p->node_hashes = line_up(p->nodes, p->n_nodes);
	p->fresh_hashes = line_up(p->fresh, p->n_fresh);
	set_room(p);
	p->at = 0;
	p->seated = false;
}

static void end(struct ph_places *p)
{
	for (size_t i = 1; i < p->n_seats; i++)
		p->seats[i].taken = p->seats[i].node->seat == i;
	free_nodes(p);
	p->sum = 0;
}

/* The next key; those after it, whose slots lie anywhere, are on their way from memory by then. */
static struct ph_slot *next_key(const struct ph_hub *hub)
{
	const struct ph_places *p = &hub->places;
	if (p->at + AHEAD < p->n_order) {
		const struct ph_slot *ahead = ph_slot_at(hub, p->order[p->at + AHEAD]);
		__builtin_prefetch(ahead);
		__builtin_prefetch(&ahead->place, 1);
	}
	return ph_slot_at(hub, p->order[p->at]);
}

bool ph_place_all(struct ph_hub *hub)
{
	struct ph_places *p = &hub->places;
	struct ph_choice *nodes;
	bool unfit = false;
	uint64_t specs, order_sum = keys_sum(hub, &specs, &unfit);
	size_t n = collect_nodes(hub, &nodes), looks = 0;
	uint64_t sum = ph_mix64(nodes_sum(nodes, n) ^ order_sum ^ ph_mix64(specs)) | 1;
	if ((!p->sum && sum == hub->placed && !unfit) || sum == p->sum) {
		free(nodes);
		if (!p->sum)
			return true;
	} else {
		begin(hub, nodes, n, order_sum);
		p->sum = sum;
	}
	for (; !p->seated && p->at < p->n_order && looks < PIECE; p->at++)
		looks += find_favourite(p, next_key(hub));
	if (!p->seated && p->at == p->n_order) {
		p->seated = true;
		p->at = 0;
	}
	for (; p->seated && p->at < p->n_order && looks < PIECE; p->at++)
		looks += give_place(hub, next_key(hub));
	if (!p->seated || p->at < p->n_order)
		return false;
	end(p);
	hub->placed = sum;
	return true;
}

/* ---- for others ---- */

const struct ph_name *ph_slot_place(const struct ph_hub *hub, const struct ph_slot *slot)
{
	return &hub->places.seats[slot->place].node->name;
}

void ph_place_mark(const struct ph_hub *hub)
{
	for (size_t i = 1; i < hub->places.n_seats; i++)
		hub->places.seats[i].node->used = true;
}

void ph_places_init(struct ph_hub *hub)
{
	struct ph_places *p = &hub->places;
	p->seats = ph_must(calloc(1, sizeof *p->seats));
	p->seats[0].node = &hub->slots.nobody;
	p->n_seats = 1;
}

void ph_places_free(struct ph_hub *hub)
{
	free_nodes(&hub->places);
	free(hub->places.seats);
	free(hub->places.order);
}
