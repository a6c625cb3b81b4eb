/* What others may make this node remember: members, children, instances. */
#include "core_puppet.h"

static struct ph_hub *hub_of(struct world *w)
{
	return w->nodes[0].hub;
}

static void fill(struct world *w, unsigned instances)
{
	struct ph_key key = {.child = ph_name_of("junk")};
	for (; hub_of(w)->slots.n < instances; key.instance++)
		(void)ph_slot_get(hub_of(w), &key, NULL);
}

static unsigned slots(struct world *w)
{
	return hub_of(w)->slots.n;
}

/* A piece of b's part of the registry: `n` instances from `first` on. */
static void registry(struct world *w, const char *child, uint32_t first, size_t n)
{
	struct ph_entry *entries = w_alloc(w, n * sizeof *entries);
	for (size_t i = 0; i < n; i++)
		entries[i] = (struct ph_entry){
			.key = {.child = ph_name_of(child), .instance = first + (uint32_t)i},
			.node = w_name(1),
			.epoch = ph_epoch_make(5, 2),
			.version = i + 1,
			.state = PH_CHILD_RUNNING,
			.role = PH_ROLE_ACTIVE};
	struct ph_bmsg *msg = p_msg(w, 1, PH_B_REGISTRY);
	msg->entries = entries;
	msg->n_entries = n;
	w_drain(w);
}

START_TEST(instances_of_a_registry)
{
	struct world *w = p_world(w_room_of_a, true);
	fill(w, PH_KEYS_MAX - 10);
	registry(w, "x", 0, 10);
	ck_assert_uint_eq(slots(w), PH_KEYS_MAX);
	registry(w, "x", 5, 6); /* one of them is new */
	ck_assert_uint_eq(slots(w), PH_KEYS_MAX);
	ck_assert_uint_eq(w->nodes[0].drops, 1);
	struct ph_slot *slot = w_slot(w, 0, "x", 3);
	slot->entry.pid = 4711;
	slot->entry.version = 0;
	registry(w, "x", 3, 2); /* what is known goes on */
	ck_assert_uint_ne(slot->entry.pid, 4711);
	registry(w, "y", 0, 1);
	ck_assert_uint_eq(w->nodes[0].drops, 1); /* one line a minute */
	w->mute = NULL;
	w_run(w, 61000);
	p_hello(w, 1);
	w_drain(w);
	registry(w, "y", 0, 1);
	ck_assert_uint_eq(w->nodes[0].drops, 2);
	ck_assert_uint_eq(slots(w), PH_KEYS_MAX);
	ck_assert_ptr_eq(w_slot(w, 0, "room", 0)->work->instance->slot, w_slot(w, 0, "room", 0));
	(void)w_only(w, "room", 0);
	w_free(w);
}
END_TEST

START_TEST(instances_of_a_text)
{
	struct world *w = p_world(w_room_of_a, true);
	struct w_def *def = w_def(w, "many", "1");
	struct ph_spec_line line = {.child = def->spec.child, .revision = 1, .text = "1"};
	def->spec.instances = 100;
	line.spec = &def->spec;
	fill(w, PH_KEYS_MAX - 99 - (_i ? 1 : 0));
	unsigned before = slots(w);
	struct ph_bmsg *msg = p_msg(w, 1, PH_B_SPEC);
	msg->specs = w_copy(w, &line, sizeof line);
	msg->n_specs = 1;
	w_drain(w);
	ck_assert_uint_eq(slots(w), _i ? PH_KEYS_MAX : before);
	ck_assert_uint_eq(w->nodes[0].drops, _i ? 0 : 1);
	ck_assert(ph_child_find(hub_of(w), &line.child) != NULL || !_i);
	w_free(w);
}
END_TEST

START_TEST(claims)
{
	struct world *w = p_world(w_room_of_a, true);
	struct ph_claim_line line = {
		.key = {.child = ph_name_of("x")}, .epoch = ph_epoch_make(5, 2)};
	fill(w, PH_KEYS_MAX);
	struct ph_bmsg *msg = p_msg(w, 1, PH_B_CLAIM);
	msg->claims = w_copy(w, &line, sizeof line);
	msg->n_claims = 1;
	w_drain(w);
	ck_assert_uint_eq(slots(w), PH_KEYS_MAX);
	ck_assert_uint_eq(w->nodes[0].drops, 1);
	w_free(w);
}
END_TEST

/* Names of children that a peer says, in whatever message, in front of as many as there may be. */
static void many_children(struct world *w)
{
	struct ph_name name = {""};
	for (unsigned i = 0; HASH_COUNT(hub_of(w)->children) < PH_KEYS_MAX - 1; i++) {
		(void)snprintf(name.s, sizeof name.s, "junk%u", i);
		(void)ph_child_get(hub_of(w), &name);
	}
}

START_TEST(names_of_children)
{
	static const enum ph_bkind kinds[] = {PH_B_CLAIM, PH_B_GRANTS, PH_B_REGISTRY, PH_B_SPEC,
		PH_B_PREPARE, PH_B_ROUND, PH_B_COMMIT, PH_B_ABORT, PH_B_VOID};
	struct world *w = p_world(w_room_of_a, true);
	many_children(w);
	struct ph_entry entries[2] = {{.node = w_name(1),
		.epoch = ph_epoch_make(5, 2),
		.version = 1,
		.state = PH_CHILD_RUNNING}};
	struct ph_claim_line asked[2] = {{.epoch = ph_epoch_make(5, 2)}};
	struct ph_spec_line specs[2] = {{.revision = 1, .text = "1"}};
	entries[1] = entries[0];
	asked[1] = asked[0];
	specs[1] = specs[0];
	for (int i = 0; i < 2; i++) {
		specs[i].child = ph_name_of(i ? "y" : "x");
		entries[i].key.child = asked[i].key.child = specs[i].child;
	}
	/* Two are more than one; of those that name one, the second is. */
	bool lists = _i < 4;
	for (int i = 0; i < (lists ? 1 : 2); i++) {
		struct ph_bmsg *msg = p_msg(w, 1, kinds[_i]);
		msg->id.b[0] = (uint8_t)(7 + i);
		msg->key.child = specs[i].child;
		msg->epoch = msg->seen = ph_epoch_make(5, 2);
		msg->claims = w_copy(w, asked, sizeof asked);
		msg->n_claims = _i < 2 ? 2 : 0;
		msg->entries = w_copy(w, entries, sizeof entries);
		msg->n_entries = _i == 2 ? 2 : 0;
		msg->specs = w_copy(w, specs, sizeof specs);
		msg->n_specs = _i == 3 ? 2 : 0;
		w_drain(w);
	}
	ck_assert_uint_le(HASH_COUNT(hub_of(w)->children), PH_KEYS_MAX);
	ck_assert_uint_eq(w->nodes[0].drops, 1);
	ck_assert_uint_eq(HASH_COUNT(hub_of(w)->children), PH_KEYS_MAX - lists);
	w_free(w);
}
END_TEST

/* Its source gives it up by VOID, and waits for the answer to that. */
START_TEST(migrations_are_voided)
{
	static const enum ph_bkind kinds[] = {
		PH_B_PREPARE, PH_B_ABORT, PH_B_ROUND, PH_B_COMMIT, PH_B_VOID};
	struct world *w = p_world(w_room_of_a, true);
	fill(w, PH_KEYS_MAX);
	struct ph_spec_line line = {.child = ph_name_of("x"), .revision = 1, .text = "1"};
	struct ph_bmsg *msg = p_msg(w, 1, kinds[_i]);
	msg->id.b[0] = 7;
	msg->key.child = line.child;
	msg->epoch = msg->seen = ph_epoch_make(5, 2);
	msg->specs = w_copy(w, &line, sizeof line);
	msg->n_specs = _i == 0;
	w_drain(w);
	ck_assert_uint_eq(slots(w), PH_KEYS_MAX);
	ck_assert_uint_eq(w->nodes[0].drops, 1);
	ck_assert_ptr_null(hub_of(w)->targets);
	ck_assert_uint_eq(w->nodes[0].sent[PH_B_VOID_ACK], kinds[_i] == PH_B_VOID);
	w_free(w);
}
END_TEST

/* b says that there are also n1 ... nN. */
static void welcome(struct world *w, unsigned first, size_t n)
{
	struct ph_member_info *list = w_alloc(w, n * sizeof *list);
	for (size_t i = 0; i < n; i++) {
		char name[PH_NAME_SIZE];
		(void)snprintf(name, sizeof name, "n%zu", first + i);
		list[i] = (struct ph_member_info){.name = ph_name_of(name),
			.incarnation = 1,
			.slot = 100 + first + (uint32_t)i,
			.weight = 1,
			.state = PH_MEMBER_ALIVE};
	}
	struct ph_bmsg *msg = p_msg(w, 1, PH_B_WELCOME);
	msg->self = ph_member_find(hub_of(w), &msg->from)->info;
	msg->self.labels = NULL;
	msg->members = list;
	msg->n_members = n;
	w_drain(w);
}

START_TEST(members)
{
	struct world *w = p_world(w_room_of_a, true);
	unsigned known = HASH_COUNT(hub_of(w)->members);
	welcome(w, 0, PH_NODES_MAX - known);
	ck_assert_uint_eq(HASH_COUNT(hub_of(w)->members), known);
	ck_assert_uint_eq(w->nodes[0].drops, 1);
	welcome(w, 0, PH_NODES_MAX - known - 1); /* this node is one of them */
	ck_assert_uint_eq(HASH_COUNT(hub_of(w)->members), PH_NODES_MAX - 1);
	welcome(w, 0, PH_NODES_MAX - known - 1); /* they are known now */
	ck_assert_uint_eq(w->nodes[0].drops, 1);
	welcome(w, 5000, 1);
	ck_assert_uint_eq(HASH_COUNT(hub_of(w)->members), PH_NODES_MAX - 1);
	w_run(w, 70000); /* nobody has heard of them: they are dead */
	p_hello(w, 1);
	w_drain(w);
	welcome(w, 5000, 1);
	struct ph_name name = ph_name_of("n5000"), b = w_name(1), dead = ph_name_of("n7");
	ck_assert_ptr_nonnull(ph_member_find(hub_of(w), &name));
	ck_assert_ptr_nonnull(ph_member_find(hub_of(w), &b));
	ck_assert_ptr_null(ph_member_find(hub_of(w), &dead));
	(void)w_only(w, "room", 0);
	w_free(w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core_limit");
	W_TEST(suite, instances_of_a_registry, 1);
	W_TEST(suite, instances_of_a_text, 2);
	W_TEST(suite, claims, 1);
	W_TEST(suite, names_of_children, 9);
	W_TEST(suite, migrations_are_voided, 5);
	W_TEST(suite, members, 1);
	return w_main(suite);
}
