/*
 * What has done its work, by its policy: it is done in the whole cluster, whatever becomes of the
 * node that it ran on. Only an order, or another text, starts it again.
 */
#include "core_world.h"

#define ROOMS 6

enum fate {
	DRAINED,
	LEFT,
	LOST,
	LEFT_AND_BACK,
	DRAINED_AND_LEFT,
	FATES
};

static struct world *world_of(bool quorum, bool transient)
{
	struct world *w = w_new(3);
	w->partition = quorum ? PH_PARTITION_MAJORITY : PH_PARTITION_DIVERGENCE;
	struct w_def *def = w_def(w, "room", "1");
	def->spec.instances = ROOMS;
	def->spec.restart.policy = transient ? PH_RESTART_TRANSIENT : PH_RESTART_TEMPORARY;
	w_declare_all(w, def);
	w_start_all(w);
	w_run(w, 10000);
	return w;
}

/* All but the last one end; where the first of them was. */
static unsigned end_them(struct world *w)
{
	unsigned node = w_only(w, "room", 0)->node;
	for (uint32_t i = 0; i + 1 < ROOMS; i++)
		w_exit(w, w_only(w, "room", i), PH_EXIT_CODE, 0);
	w_run(w, 3000);
	return node;
}

static void befall(struct world *w, unsigned node, enum fate fate)
{
	if (fate == DRAINED || fate == DRAINED_AND_LEFT) {
		w_order(w, node, PH_VERB_DRAIN, NULL, w->nodes[node].name.s, NULL);
		w_run(w, 30000);
		ck_assert_int_eq(w_answer(w, node)->error, 0);
	}
	if (fate == LEFT || fate == LEFT_AND_BACK || fate == DRAINED_AND_LEFT) {
		(void)w_push(w, node, PH_EV_SHUTDOWN);
		w_run(w, 10000);
		ck_assert(w->nodes[node].exited);
	}
	if (fate == LOST)
		w_power_off(w, node);
	if (fate == LEFT_AND_BACK)
		w_start(w, node);
	w_run(w, 40000);
}

static unsigned starts_of(const struct world *w, uint32_t instance)
{
	unsigned n = 0;
	for (size_t i = 0; i < w->n_procs; i++)
		n += w->procs[i].key.instance == instance;
	return n;
}

static void all_see_them_done(struct world *w)
{
	for (unsigned n = 0; n < 3; n++) {
		for (uint32_t i = 0; i + 1 < ROOMS && w->nodes[n].up; i++) {
			const struct ph_slot *slot = w_slot(w, n, "room", i);
			ck_assert(ph_slot_owned(slot));
			ck_assert(ph_member_up(w->nodes[n].hub, &slot->entry.node->name));
			ck_assert_int_eq(slot->entry.state, PH_CHILD_STOPPED);
			ck_assert_int_eq(slot->entry.exit.kind, PH_EXIT_CODE);
		}
	}
}

START_TEST(it_stays_done)
{
	struct world *w = world_of(_i / FATES % 2, _i / FATES / 2);
	w_trace_if(w, _i);
	befall(w, end_them(w), (enum fate)(_i % FATES));
	for (uint32_t i = 0; i + 1 < ROOMS; i++)
		ck_assert_uint_eq(starts_of(w, i), 1);
	all_see_them_done(w);
	ck_assert_ptr_nonnull(w_only(w, "room", ROOMS - 1)); /* what had not ended runs */
	w_free(w);
}
END_TEST

/*
 * A node that comes while the one with the jobs goes, or is back at once, has heard nothing of
 * them, and claims those that are its own by placement: who is asked knows.
 */
START_TEST(who_comes_is_told)
{
	bool quorum = _i % 3 == 0, lost = _i % 3 == 1; /* of two, none may be lost */
	struct world *w = world_of(quorum, false);
	w_trace_if(w, _i);
	unsigned late = (w_only(w, "room", 0)->node + 1) % 3, started[ROOMS];
	(void)w_push(w, late, PH_EV_SHUTDOWN);
	w_run(w, 15000);
	unsigned node = end_them(w);
	ck_assert_uint_ne(node, late);
	for (uint32_t i = 0; i < ROOMS; i++) /* some had been moved to where they ended */
		started[i] = starts_of(w, i);
	w_start(w, late);
	w_run(w, (uint64_t)(_i / 3) * 50);
	if (lost)
		w_power_off(w, node);
	else
		(void)w_push(w, node, PH_EV_SHUTDOWN);
	for (unsigned n = 0; n < 5000 && !w->nodes[node].exited && !lost; n++)
		w_run(w, 1);
	w_start(w, node);
	w_run(w, 60000);
	for (uint32_t i = 0; i + 1 < ROOMS; i++)
		ck_assert_uint_eq(starts_of(w, i), started[i]);
	all_see_them_done(w);
	w_free(w);
}
END_TEST

/* By any node that lives, and to its end once more: then it is moved as others are. */
START_TEST(an_order_starts_it)
{
	enum fate fate = (enum fate)(_i % FATES);
	struct world *w = world_of(_i / FATES, false);
	w_trace_if(w, _i);
	unsigned node = end_them(w), other = (node + 1) % 3;
	befall(w, node, fate);
	w_order(w, other, PH_VERB_START, "room", NULL, NULL);
	w_run(w, 10000);
	ck_assert_int_eq(w_answer(w, other)->error, 0);
	for (uint32_t i = 0; i + 1 < ROOMS; i++) {
		ck_assert_uint_eq(w_only(w, "room", i)->def == &w->defs[0], 1);
		ck_assert_uint_eq(starts_of(w, i), 2);
	}
	unsigned now = w_only(w, "room", 0)->node;
	w_power_off(w, now);
	w_run(w, 40000);
	if (fate == DRAINED || fate == LEFT_AND_BACK) /* with a quorum, two are left */
		ck_assert_uint_ne(w_only(w, "room", 0)->node, now);
	w_free(w);
}
END_TEST

/* An order that nobody can carry out yet: its owner is lost, and not known to be. */
START_TEST(an_order_in_between)
{
	struct world *w = world_of(false, false);
	w_trace_if(w, _i);
	unsigned node = end_them(w), other = (node + 1) % 3;
	if (_i)
		w_power_off(w, node);
	else
		(void)w_push(w, node, PH_EV_SHUTDOWN);
	w_run(w, 20);
	w_order(w, other, PH_VERB_START, "room", NULL, NULL);
	w_run(w, 60000);
	ck_assert_int_eq(w_answer(w, other)->error, 0);
	for (uint32_t i = 0; i < ROOMS; i++)
		ck_assert_ptr_nonnull(w_only(w, "room", i));
	w_free(w);
}
END_TEST

START_TEST(another_text_starts_it)
{
	struct world *w = world_of(false, _i);
	unsigned node = end_them(w);
	befall(w, node, LEFT);
	struct w_def *text = w_def(w, "room", "2");
	text->spec.instances = ROOMS;
	text->spec.restart = w->defs[0].spec.restart;
	for (unsigned n = 0; n < 3; n++)
		w->nodes[n].specs[0] = text;
	w_start(w, node);
	w_run(w, 10000);
	for (unsigned n = 0; n < 3; n++)
		w_configure(w, n);
	w_run(w, 20000);
	for (uint32_t i = 0; i < ROOMS; i++)
		ck_assert_ptr_eq(w_only(w, "room", i)->def, text);
	w_free(w);
}
END_TEST

/*
 * It becomes permanent while the one before it has its retention, and ends in that time: the newer
 * text counts as soon as the swap is over.
 */
START_TEST(another_policy_during_its_swap)
{
	struct world *w = w_new(1);
	struct w_def *def = w_def(w, "room", "1"), *next = w_def(w, "room", "2");
	next->spec.process = def->spec.process;
	def->spec.restart.policy = PH_RESTART_TEMPORARY;
	w_declare_all(w, def);
	w_start_all(w);
	w_order(w, 0, PH_VERB_SWAP, "room", NULL, NULL);
	w_run(w, 500);
	ck_assert_ptr_nonnull(w_slot(w, 0, "room", 0)->work->source);
	w->nodes[0].specs[0] = next;
	w_configure(w, 0);
	w_drain(w);
	struct w_proc *fresh = w_serving(w, "room", 0);
	ck_assert_ptr_nonnull(fresh);
	if (fresh)
		w_exit(w, fresh, PH_EXIT_CODE, 0);
	w_run(w, 10000);
	ck_assert_ptr_null(w_slot(w, 0, "room", 0)->work->source);
	(void)w_only(w, "room", 0);
	w_free(w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core_done");
	W_TEST(suite, it_stays_done, 4 * FATES);
	W_TEST(suite, who_comes_is_told, 3 * 60);
	W_TEST(suite, an_order_starts_it, 2 * FATES);
	W_TEST(suite, an_order_in_between, 2);
	W_TEST(suite, another_text_starts_it, 2);
	W_TEST(suite, another_policy_during_its_swap, 1);
	return w_main(suite);
}
