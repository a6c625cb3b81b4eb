/* Where each key belongs: deterministic, bounded, moving little, within the child's constraints. */
#include "core_world.h"

#include <math.h>

#define KEYS 1000

static struct ph_hub *hub_named(const char *name, double weight, const char *labels)
{
	struct ph_settings set = {.node = ph_name_of(name),
		.incarnation = 1,
		.weight = weight,
		.labels = labels,
		.heartbeat_ms = 250,
		.seed = 1};
	struct ph_hub *hub = ph_hub_new(&set);
	ck_assert_ptr_nonnull(hub);
	return hub;
}

static struct ph_member *add(struct ph_hub *hub, const char *name, double weight)
{
	struct ph_member *m = calloc(1, sizeof *m);
	ck_assert_ptr_nonnull(m);
	m->info.name = ph_name_of(name);
	m->info.weight = weight;
	m->state = PH_MEMBER_ALIVE;
	m->node = ph_node_get(hub, &m->info.name);
	m->node->member = m;
	HASH_ADD_KEYPTR(hh, hub->members, m->info.name.s, strlen(m->info.name.s), m);
	return m;
}

static void declare(struct ph_hub *hub, const char *child, uint32_t instances, const char *nodes,
	const char *labels)
{
	struct ph_name name = ph_name_of(child);
	struct ph_spec spec = {.child = name,
		.text = "t",
		.instances = instances,
		.nodes = nodes,
		.labels = labels};
	ph_child_get(hub, &name)->own = ph_spec_clone(&spec);
}

static const char *place_of(struct ph_hub *hub, const char *child, uint32_t i)
{
	struct ph_key key = {.child = ph_name_of(child), .instance = i};
	return ph_slot_place(hub, ph_slot_find(hub, &key, NULL))->s;
}

static void node_name(char name[PH_NAME_SIZE], int i)
{
	(void)snprintf(name, PH_NAME_SIZE, "node-%d", i);
}

/* A cluster of n nodes seen by the first of them, members added in that order. */
static struct ph_hub *cluster(int n, int self, int step)
{
	char name[PH_NAME_SIZE];
	node_name(name, self);
	struct ph_hub *hub = hub_named(name, 1, NULL);
	for (int k = 0; k < n; k++) {
		int i = (k * step + self) % n;
		node_name(name, i);
		if (i != self)
			(void)add(hub, name, 1);
	}
	declare(hub, "room", KEYS, NULL, NULL);
	ph_place_all(hub);
	return hub;
}

static double score_of(const struct ph_slot *slot, const struct ph_node *node, double weight)
{
	uint64_t hash = ph_mix64(ph_slot_hash(slot) ^ node->hash);
	return -weight / log(((double)(hash >> 11) + 0.5) * 0x1p-53);
}

/* Every member comes to the same result, in whatever order it has met the others. */
START_TEST(the_same_everywhere)
{
	struct ph_hub *a = cluster(10, 0, 1), *b = cluster(10, _i, 3);
	for (uint32_t i = 0; i < KEYS; i++)
		ck_assert_str_eq(place_of(a, "room", i), place_of(b, "room", i));
	ph_hub_free(a);
	ph_hub_free(b);
}
END_TEST

static unsigned count(struct ph_hub *hub, const char *name)
{
	unsigned n = 0;
	for (uint32_t i = 0; i < KEYS; i++)
		n += strcmp(place_of(hub, "room", i), name) == 0;
	return n;
}

/*
 * A key's favourite is the node with its largest score, whatever weights there are and in whatever
 * order the nodes came.
 */
START_TEST(the_largest_score)
{
	static const double weights[] = {1, 0.5, 2};
	struct ph_hub *hub = hub_named("node-0", 1, NULL);
	char name[PH_NAME_SIZE];
	declare(hub, "room", KEYS, NULL, NULL);
	for (int i = 1; i < 30; i++) {
		node_name(name, i);
		(void)add(hub, name, weights[i % (_i + 1)]);
		if (i % 7 == 0)
			ph_place_all(hub);
	}
	ph_place_all(hub);
	for (struct ph_slot *slot = ph_slot_first(hub); slot; slot = ph_slot_next(hub, slot)) {
		const struct ph_node *best = hub->slots.self;
		double top = score_of(slot, best, 1);
		for (struct ph_member *m = hub->members; m; m = m->hh.next)
			if (score_of(slot, m->node, m->info.weight) > top) {
				best = m->node;
				top = score_of(slot, best, m->info.weight);
			}
		ck_assert_ptr_eq(hub->places.seats[slot->favourite].node, best);
	}
	ph_hub_free(hub);
}
END_TEST

START_TEST(the_bound_is_kept)
{
	struct ph_hub *hub = cluster(10, 0, 1);
	unsigned total = 0;
	for (int i = 0; i < 10; i++) {
		char name[PH_NAME_SIZE];
		node_name(name, i);
		unsigned n = count(hub, name);
		ck_assert_msg(n >= 50 && n <= KEYS / 10 * 125 / 100 + 1, "%s has %u", name, n);
		total += n;
	}
	ck_assert_uint_eq(total, KEYS);
	ph_hub_free(hub);
}
END_TEST

/* A join moves about 1/(n+1), and nearly all of it to the new node. */
START_TEST(a_join_moves_little)
{
	int n = 2 + _i;
	struct ph_hub *before = cluster(n, 0, 1), *after = cluster(n + 1, 0, 1);
	char name[PH_NAME_SIZE];
	unsigned moved = 0, elsewhere = 0, ideal = KEYS / (unsigned)(n + 1);
	node_name(name, n);
	for (uint32_t i = 0; i < KEYS; i++) {
		const char *to = place_of(after, "room", i);
		bool moves = strcmp(place_of(before, "room", i), to) != 0;
		moved += moves;
		elsewhere += moves && strcmp(to, name) != 0;
	}
	ck_assert_msg(moved >= ideal / 2 && moved <= ideal + ideal / 2, "%u moved, ideal is %u",
		moved, ideal);
	ck_assert_uint_le(elsewhere, ideal / 2);
	ph_hub_free(before);
	ph_hub_free(after);
}
END_TEST

START_TEST(weights_count)
{
	struct ph_hub *hub = hub_named("light", 1, NULL);
	(void)add(hub, "heavy", 3);
	(void)add(hub, "none", 0);
	declare(hub, "room", KEYS, NULL, NULL);
	ph_place_all(hub);
	ck_assert_uint_ge(count(hub, "heavy"), 700);
	ck_assert_uint_le(count(hub, "heavy"), 800);
	ck_assert_uint_eq(count(hub, "none"), 0);
	ph_hub_free(hub);
}
END_TEST

static const struct {
	const char *nodes, *labels, *expected; /* nodes that may have it; NULL: none */
} rows[] = {
	{NULL, NULL, "a b1 b2"},
	{"a", NULL, "a"},
	{"b*", NULL, "b1 b2"},
	{"a,b2", NULL, "a b2"},
	{"b?", NULL, "b1 b2"},
	{"c*", NULL, NULL},
	{NULL, "ssd", "a b1"},
	{NULL, "ssd,zone=x", "b1"},
	{"b*", "ssd", "b1"},
	{NULL, "ss", NULL},
	{NULL, "zone=y", NULL},
};

START_TEST(constraints)
{
	struct ph_hub *hub = hub_named("a", 1, "ssd");
	add(hub, "b1", 1)->info.labels = strdup("zone=x,ssd");
	(void)add(hub, "b2", 1);
	declare(hub, "room", KEYS, rows[_i].nodes, rows[_i].labels);
	ph_place_all(hub);
	static const char *const names[] = {"a", "b1", "b2"};
	for (size_t i = 0; i < 3; i++) {
		bool may = rows[_i].expected && strstr(rows[_i].expected, names[i]);
		ck_assert_msg((count(hub, names[i]) > 0) == may, "%s has %u", names[i],
			count(hub, names[i]));
	}
	if (!rows[_i].expected)
		ck_assert_uint_eq(count(hub, ""), KEYS);
	ph_hub_free(hub);
}
END_TEST

static const struct {
	enum ph_member_state state;
	bool draining, takes;
} states[] = {
	{PH_MEMBER_UNKNOWN, false, false},
	{PH_MEMBER_JOINING, false, false},
	{PH_MEMBER_ALIVE, false, true},
	{PH_MEMBER_ALIVE, true, false},
	{PH_MEMBER_SUSPECT, false, true},
	{PH_MEMBER_DEAD, false, false},
	{PH_MEMBER_LEFT, false, false},
};

/* A suspect keeps its place: a moment's silence moves nothing. */
START_TEST(who_takes_part)
{
	struct ph_hub *hub = hub_named("a", 1, NULL);
	struct ph_member *b = add(hub, "b", 1);
	b->state = states[_i].state;
	b->info.draining = states[_i].draining;
	declare(hub, "room", KEYS, NULL, NULL);
	ph_place_all(hub);
	ck_assert((count(hub, "b") > 0) == states[_i].takes);
	hub->draining = true;
	ph_place_all(hub);
	ck_assert_uint_eq(count(hub, "a"), 0);
	ck_assert_uint_eq(count(hub, "b"), states[_i].takes ? KEYS : 0);
	ph_hub_free(hub);
}
END_TEST

START_TEST(local_children_have_no_place)
{
	struct ph_hub *hub = hub_named("a", 1, NULL);
	declare(hub, "room", 3, NULL, NULL);
	struct ph_child *child = ph_child_get(hub, &(struct ph_name){"room"});
	((struct ph_spec *)(uintptr_t)child->own)->local = true;
	ph_place_all(hub);
	ck_assert_uint_eq(hub->slots.n, 0);
	ph_hub_free(hub);
}
END_TEST

/* After nodes have come, gone, or changed their weight, places are those that a new hub gives. */
static void compare_with_new(struct ph_hub *hub, struct ph_member *const *members, int n)
{
	struct ph_hub *other = hub_named("self", 1, NULL);
	for (int i = n - 1; i >= 0; i--) {
		struct ph_member *m = add(other, members[i]->info.name.s, members[i]->info.weight);
		m->state = members[i]->state;
		m->info.draining = members[i]->info.draining;
	}
	declare(other, "room", KEYS, NULL, NULL);
	ck_assert(ph_place_all(other));
	ck_assert(ph_place_all(hub));
	for (uint32_t i = 0; i < KEYS; i++)
		ck_assert_str_eq(place_of(hub, "room", i), place_of(other, "room", i));
	ph_hub_free(other);
}

START_TEST(changes_lead_to_the_same)
{
	struct ph_hub *hub = hub_named("self", 1, NULL);
	struct ph_member *members[24];
	uint64_t random = (uint64_t)_i + 1;
	for (int i = 0; i < 24; i++) {
		char name[PH_NAME_SIZE];
		node_name(name, i);
		members[i] = add(hub, name, 1);
		members[i]->state = i % 3 ? PH_MEMBER_ALIVE : PH_MEMBER_UNKNOWN;
	}
	declare(hub, "room", KEYS, NULL, NULL);
	for (int round = 0; round < 40; round++) {
		for (int k = 0; k <= round % 4; k++) {
			random = ph_mix64(random + 1);
			struct ph_member *m = members[random % 24];
			if (random >> 40 & 1)
				m->info.weight = (double)(random >> 32 & 3) / 2;
			else if (random >> 41 & 1)
				m->info.draining = !m->info.draining;
			else
				m->state = m->state == PH_MEMBER_ALIVE ? PH_MEMBER_DEAD
								       : PH_MEMBER_ALIVE;
		}
		compare_with_new(hub, members, 24);
	}
	ck_assert_uint_le(hub->places.n_seats, 1 + 2 * 25);
	ph_hub_free(hub);
}
END_TEST

/* With many nodes and children it takes several steps; what changes meanwhile is seen. */
START_TEST(in_pieces)
{
	struct ph_hub *hub = cluster(600, 0, 1), *other = hub_named("node-0", 1, NULL);
	char name[PH_NAME_SIZE];
	int pieces = 1;
	declare(hub, "web", 20000, NULL, NULL);
	ck_assert(!ph_place_all(hub));
	for (int i = 1; i < 600; i++) {
		node_name(name, i);
		if (i != 17 && i != 400)
			(void)add(other, name, 1);
	}
	declare(other, "room", KEYS, NULL, NULL);
	declare(other, "web", 20000, NULL, NULL);
	while (!ph_place_all(other))
		pieces++;
	ck_assert_int_ge(pieces, 3);
	/* In the first step of the one and in the second one of the other phase somebody goes. */
	node_name(name, 17);
	ph_member_find(hub, (struct ph_name[]){ph_name_of(name)})->state = PH_MEMBER_DEAD;
	ck_assert(!ph_place_all(hub));
	node_name(name, 400);
	ph_member_find(hub, (struct ph_name[]){ph_name_of(name)})->state = PH_MEMBER_DEAD;
	while (!ph_place_all(hub))
		;
	for (uint32_t i = 0; i < 20000; i++)
		ck_assert_str_eq(place_of(hub, "web", i), place_of(other, "web", i));
	for (uint32_t i = 0; i < KEYS; i++)
		ck_assert_str_eq(place_of(hub, "room", i), place_of(other, "room", i));
	ck_assert(ph_place_all(hub));
	ph_hub_free(hub);
	ph_hub_free(other);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core_place");
	W_TEST(suite, the_same_everywhere, 4);
	W_TEST(suite, the_largest_score, 3);
	W_TEST(suite, the_bound_is_kept, 1);
	W_TEST(suite, a_join_moves_little, 9);
	W_TEST(suite, weights_count, 1);
	W_TEST(suite, constraints, (int)(sizeof rows / sizeof rows[0]));
	W_TEST(suite, who_takes_part, (int)(sizeof states / sizeof states[0]));
	W_TEST(suite, local_children_have_no_place, 1);
	W_TEST(suite, changes_lead_to_the_same, 8);
	W_TEST(suite, in_pieces, 1);
	return w_main(suite);
}
