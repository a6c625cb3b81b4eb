/* One, two and three hubs together: children start, move, are drained, come back. */
#include "core_world.h"

START_TEST(one_node_starts_a_child)
{
	struct world *w = w_new(1);
	struct w_def *def = w_def(w, "room", "1");
	def->spec.instances = 3;
	w_declare_all(w, def);
	w_start_all(w);
	for (uint32_t i = 0; i < 3; i++)
		(void)w_only(w, "room", i);
	ck_assert(w->nodes[0].ready);
	w_free(w);
}
END_TEST

START_TEST(move_carries_the_state)
{
	struct world *w = w_new(3);
	struct w_def *def = w_def(w, "room", "1");
	def->traits.caps |= _i & 1 ? PH_CAP_ROUNDS : 0;
	def->traits.caps |= _i & 2 ? PH_CAP_ASK : 0;
	def->traits.handles = (_i & 4) != 0;
	w_declare_all(w, def);
	w_start_all(w);
	struct w_proc *old = w_only(w, "room", 0);
	old->value = 41;
	unsigned from = old->node, to = (from + 1) % 3;
	w_order(w, (from + 2) % 3, PH_VERB_MOVE, "room", w->nodes[to].name.s, NULL);
	w_run(w, 30000);
	struct w_proc *now = w_only(w, "room", 0);
	ck_assert_uint_eq(now->node, to);
	ck_assert_uint_eq(now->value, 41);
	ck_assert_uint_eq(w->nodes[(from + 2) % 3].answers, 1);
	ck_assert_int_eq(w->nodes[(from + 2) % 3].answer.error, 0);
	w_agree(w, "room", 0, to);
	w_no_leftovers(w);
	w_free(w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core_hub");
	TCase *tc = tcase_create("hub");
	tcase_add_test(tc, one_node_starts_a_child);
	tcase_add_loop_test(tc, move_carries_the_state, 0, 8);
	suite_add_tcase(suite, tc);
	return w_main(suite);
}
