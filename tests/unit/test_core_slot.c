/* Slots: found by their keys, small while nothing is done about them; names of nodes: kept once. */
#include "core_world.h"

static struct ph_hub *hub_of(const char *name)
{
	struct ph_settings set = {
		.node = ph_name_of(name), .incarnation = 1, .weight = 1, .heartbeat_ms = 250};
	struct ph_hub *hub = ph_hub_new(&set);
	ck_assert_ptr_nonnull(hub);
	return hub;
}

static struct ph_key key_of(const char *child, uint32_t instance, uint32_t replica)
{
	return (struct ph_key){
		.child = ph_name_of(child), .instance = instance, .replica = replica};
}

#define KEY(child, instance) ((struct ph_key[]){key_of(child, instance, 0)})

/* Each key has one slot, whatever else is there, and they come in the order of their making. */
START_TEST(found_by_key)
{
	static const char *const children[] = {"a", "b", "room"};
	struct ph_hub *hub = hub_of("n1");
	struct ph_name local = ph_name_of("n7");
	uint32_t n = 0;
	for (uint32_t i = 0; i < 4000; i++) {
		struct ph_key key = key_of(children[i % 3], i / 6, i % 2);
		ck_assert_ptr_null(ph_slot_find(hub, &key, NULL));
		struct ph_slot *slot = ph_slot_get(hub, &key, NULL);
		ck_assert_uint_eq(slot->no, n++);
		ck_assert_ptr_eq(ph_slot_get(hub, &key, NULL), slot);
		ck_assert_ptr_null(ph_slot_find(hub, &key, &local));
		ck_assert_uint_eq(ph_slot_hash(slot), ph_key_hash(&key));
		struct ph_key back = ph_slot_key(slot);
		ck_assert(ph_key_equal(&back, &key));
	}
	ck_assert_uint_eq(hub->slots.n, n);
	n = 0;
	for (struct ph_slot *slot = ph_slot_first(hub); slot; slot = ph_slot_next(hub, slot)) {
		struct ph_key key = key_of(children[n % 3], n / 6, n % 2);
		ck_assert_ptr_eq(ph_slot_find(hub, &key, NULL), slot);
		n++;
	}
	ck_assert_uint_eq(n, hub->slots.n);
	ph_hub_free(hub);
}
END_TEST

/* A walk over those of one child meets no other's, in the order of their making. */
START_TEST(of_one_child)
{
	static const char *const children[] = {"a", "b", "room"};
	struct ph_hub *hub = hub_of("n1");
	struct ph_name local = ph_name_of("n7"), none = ph_name_of("none");
	for (uint32_t i = 0; i < 3000; i++) {
		struct ph_key key = key_of(children[i % 3], i / 6, 0);
		(void)ph_slot_get(hub, &key, i % 2 ? &local : NULL);
	}
	for (size_t c = 0; c < 3; c++) {
		struct ph_name name = ph_name_of(children[c]);
		const struct ph_child *child = ph_child_find(hub, &name);
		uint32_t n = 0, before = 0;
		for (const struct ph_slot *slot = ph_slot_first_of(hub, child); slot;
			slot = ph_slot_next_of(hub, slot)) {
			ck_assert_ptr_eq(slot->child, child);
			ck_assert(!n || slot->no > before);
			before = slot->no;
			n++;
		}
		ck_assert_uint_eq(n, 1000);
		ck_assert_uint_eq(child->n_slots, n);
	}
	ck_assert_ptr_null(ph_slot_first_of(hub, ph_child_get(hub, &none)));
	ph_hub_free(hub);
}
END_TEST

/* Those of a child that were made one after another are found without a look into the table. */
START_TEST(found_beside_each_other)
{
	struct ph_hub *hub = hub_of("n1");
	struct ph_key other = key_of("other", 3, 0);
	struct ph_name local = ph_name_of("n7");
	(void)ph_slot_get(hub, &other, NULL);
	for (uint32_t i = 0; i < 1000; i++)
		(void)ph_slot_get(hub, KEY("room", i), NULL);
	struct ph_slot *one_more = ph_slot_get(hub, KEY("room", 1000), &local);
	ck_assert(one_more->local && one_more->no == 1001);
	ck_assert_ptr_null(ph_slot_find(hub, KEY("room", 1000), NULL));
	memset(hub->slots.table, 0, hub->slots.room * sizeof *hub->slots.table);
	for (uint32_t i = 0; i < 1000; i++) {
		const struct ph_slot *slot = ph_slot_find(hub, KEY("room", i), NULL);
		ck_assert_ptr_nonnull(slot);
		ck_assert_uint_eq(slot->no, 1 + i);
	}
	ck_assert_ptr_null(ph_slot_find(hub, &other, NULL));
	ph_hub_free(hub);
}
END_TEST

/* With placement local there is one of each node, beside the one that is placed. */
START_TEST(one_a_node)
{
	struct ph_hub *hub = hub_of("n1");
	struct ph_key key = key_of("agent", 0, 0);
	struct ph_slot *slots[300], *placed = ph_slot_get(hub, &key, NULL);
	for (int i = 0; i < 300; i++) {
		char name[PH_NAME_SIZE];
		(void)snprintf(name, sizeof name, "n%d", i);
		struct ph_name local = ph_name_of(name);
		slots[i] = ph_slot_get(hub, &key, &local);
		ck_assert(slots[i]->local && slots[i] != placed);
		ck_assert_str_eq(slots[i]->work->local_of->name.s, name);
		ck_assert_ptr_eq(ph_slot_find(hub, &key, &local), slots[i]);
		ck_assert(i == 0 || slots[i] != slots[0]);
	}
	ck_assert_ptr_eq(ph_slot_find(hub, &key, NULL), placed);
	ph_hub_free(hub);
}
END_TEST

/* What few have is there once it is written to, and no longer than something in it is set. */
START_TEST(work_comes_and_goes)
{
	struct ph_hub *hub = hub_of("n1");
	struct ph_key key = key_of("room", 3, 0);
	struct ph_slot *slot = ph_slot_get(hub, &key, NULL);
	ck_assert_ptr_eq(slot->work, &hub->slots.no_work);
	ck_assert_ptr_null(slot->work->instance);
	ph_slot_trim(hub, slot);
	struct ph_work *work = ph_slot_work(hub, slot);
	ck_assert_ptr_eq(ph_slot_work(hub, slot), work);
	work->granted = 7;
	work->granted_to = ph_node_get(hub, &(struct ph_name){"n2"});
	ph_slot_trim(hub, slot);
	ck_assert_ptr_eq(slot->work, work);
	work->granted = 0;
	ph_slot_trim(hub, slot);
	ck_assert_ptr_eq(slot->work, work);
	work->granted_to = &hub->slots.nobody;
	ph_slot_trim(hub, slot);
	ck_assert_ptr_eq(slot->work, &hub->slots.no_work);
	ck_assert_uint_eq(hub->slots.no_work.granted, 0);
	ph_hub_free(hub);
}
END_TEST

/* Since when nobody owns it is known without an entry and with one, and outlives the entry. */
START_TEST(unowned_since)
{
	struct ph_hub *hub = hub_of("n1");
	struct ph_key key = key_of("room", 0, 0);
	struct ph_slot *slot = ph_slot_get(hub, &key, NULL);
	ck_assert_uint_eq(ph_slot_unowned_ms(slot), 0);
	ph_slot_set_unowned(hub, slot, 500);
	ck_assert_uint_eq(ph_slot_unowned_ms(slot), 500);
	ck_assert_ptr_eq(slot->work, &hub->slots.no_work);
	hub->now_ms = 900;
	ph_slot_own(hub, slot, 1 << 24, PH_LINEAGE_COLD);
	ck_assert_uint_eq(ph_slot_unowned_ms(slot), 0);
	ck_assert_uint_eq(slot->since_ms, 900);
	ph_slot_release(hub, slot);
	ph_slot_set_unowned(hub, slot, 1000);
	ck_assert_uint_eq(ph_slot_unowned_ms(slot), 1000);
	ck_assert_uint_eq(slot->since_ms, 900);
	ph_slot_forget(hub, slot);
	ck_assert_uint_eq(ph_slot_unowned_ms(slot), 1000);
	ph_hub_free(hub);
}
END_TEST

/* Whatever others name, names that nobody uses do not stay. */
START_TEST(names_are_forgotten)
{
	struct ph_hub *hub = hub_of("n1");
	struct ph_key key = key_of("room", 0, 0);
	struct ph_slot *slot = ph_slot_get(hub, &key, NULL);
	for (uint64_t i = 1; i < 10000; i++) {
		char name[PH_NAME_SIZE];
		(void)snprintf(name, sizeof name, "owner-%d", (int)i);
		ph_slot_give(hub, slot, (struct ph_name[]){ph_name_of(name)}, i << 24, 0);
		ck_assert_ptr_eq(ph_node_get(hub, &slot->entry.node->name), slot->entry.node);
		ph_slot_work(hub, slot)->granted_by = ph_node_get(
			hub, i == 1 ? &slot->entry.node->name : &slot->work->granted_by->name);
		ph_nodes_forget(hub);
		ck_assert_str_eq(slot->entry.node->name.s, name);
		ck_assert_str_eq(slot->work->granted_by->name.s, "owner-1");
		ck_assert_uint_le(HASH_COUNT(hub->slots.nodes), 300);
	}
	ph_hub_free(hub);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core_slot");
	W_TEST(suite, found_by_key, 1);
	W_TEST(suite, of_one_child, 1);
	W_TEST(suite, found_beside_each_other, 1);
	W_TEST(suite, one_a_node, 1);
	W_TEST(suite, work_comes_and_goes, 1);
	W_TEST(suite, unowned_since, 1);
	W_TEST(suite, names_are_forgotten, 1);
	return w_main(suite);
}
