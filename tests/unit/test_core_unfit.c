/* Children that some nodes cannot start: the next one has them, and none is lost between them. */
#include "core_handover.h"

#include <errno.h>

static struct world *world_with(struct w_def **ret_def, unsigned absent, int error)
{
	struct world *w = w_new(3);
	struct w_def *def = w_def(w, "room", "1");
	def->spec.instances = 12;
	def->traits.absent = absent;
	def->traits.absent_error = error;
	w_declare_all(w, def);
	w_trace_if(w, 0);
	w_start_all(w);
	*ret_def = def;
	return w;
}

/* How many instances run, and how many of them on this node. */
static unsigned running(struct world *w, unsigned node, unsigned *ret_there)
{
	unsigned n = 0;
	*ret_there = 0;
	for (uint32_t i = 0; i < 12; i++) {
		struct w_proc *p = w_serving(w, "room", i);
		n += p != NULL;
		*ret_there += p && p->node == node;
	}
	return n;
}

START_TEST(the_next_one_has_it)
{
	struct w_def *def;
	unsigned there;
	struct world *w = world_with(&def, 1u << _i, ENOENT);
	w_run(w, 15000);
	ck_assert_uint_eq(running(w, (unsigned)_i, &there), 12);
	ck_assert_uint_eq(there, 0);
	w_free(w);
}
END_TEST

START_TEST(the_last_one_has_it)
{
	struct w_def *def;
	unsigned there;
	struct world *w = world_with(&def, 7u & ~(1u << _i), EACCES);
	w_run(w, 20000);
	ck_assert_uint_eq(running(w, (unsigned)_i, &there), 12);
	ck_assert_uint_eq(there, 12);
	w_free(w);
}
END_TEST

/* Nobody can: it stays with one that tries again, and starts when that one can. */
START_TEST(nobody_can)
{
	struct w_def *def;
	unsigned there;
	struct world *w = world_with(&def, 7, ENOENT);
	w_run(w, 30000);
	ck_assert_uint_eq(running(w, 0, &there), 0);
	unsigned owned = 0;
	for (uint32_t i = 0; i < 12; i++)
		for (unsigned n = 0; n < 3; n++)
			owned += ph_slot_mine(w->nodes[n].hub, w_slot(w, n, "room", i));
	ck_assert_uint_eq(owned, 12);
	def->traits.absent = 0;
	w_run(w, 400000);
	ck_assert_uint_eq(running(w, 0, &there), 12);
	w_free(w);
}
END_TEST

/* No descriptor left is no reason to go elsewhere. */
START_TEST(what_passes_is_waited_for)
{
	struct w_def *def;
	unsigned there;
	struct world *w = world_with(&def, 1, EMFILE);
	w_run(w, 5000);
	unsigned others = running(w, 0, &there);
	ck_assert_uint_lt(others, 12);
	w_run(w, 20000);
	ck_assert_uint_eq(running(w, 0, &there), others);
	for (uint32_t i = 0; i < 12; i++)
		ck_assert(w_serving(w, "room", i) ||
			  ph_slot_mine(w->nodes[0].hub, w_slot(w, 0, "room", i)));
	w_free(w);
}
END_TEST

/* A new life of that daemon is asked anew: its machine may have what was missing. */
START_TEST(mark_ends_with_the_daemon)
{
	struct w_def *def;
	unsigned there;
	struct world *w = world_with(&def, 1, ENOENT);
	w_run(w, 15000);
	ck_assert_uint_eq(running(w, 0, &there), 12);
	ck_assert_uint_eq(there, 0);
	def->traits.absent = 0;
	w_power_off(w, 0);
	w_run(w, 20000);
	w_start(w, 0);
	w_run(w, 30000);
	ck_assert_uint_eq(running(w, 0, &there), 12);
	ck_assert_uint_gt(there, 0);
	w_free(w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core_unfit");
	W_TEST(suite, the_next_one_has_it, 3);
	W_TEST(suite, the_last_one_has_it, 3);
	W_TEST(suite, nobody_can, 1);
	W_TEST(suite, what_passes_is_waited_for, 1);
	W_TEST(suite, mark_ends_with_the_daemon, 1);
	return w_main(suite);
}
