/* How long each phase of a handover may take, to the millisecond: the table of PROTOCOL.md. */
#include "core_handover.h"

#define TOLD_MAX 64

static struct { /* what the old worker was told, and when */
	enum ph_wop op;
	uint64_t at_ms;
} told[TOLD_MAX];
static size_t n_told;
static bool last_is_not_loaded; /* by the new one */

static bool note(struct world *w, struct w_proc *p, const struct ph_wmsg *msg)
{
	struct h_run *run = w->arg;
	if (p == run->old && n_told < TOLD_MAX) {
		told[n_told].op = msg->op;
		told[n_told++].at_ms = w->now_ms;
	}
	return last_is_not_loaded && p != run->old && msg->op == PH_W_STATE_END && msg->final;
}

static unsigned count(enum ph_wop op)
{
	unsigned n = 0;
	for (size_t i = 0; i < n_told; i++)
		n += told[i].op == op;
	return n;
}

/* When it was told so for the n-th time, from 0. */
static uint64_t at(enum ph_wop op, unsigned n)
{
	for (size_t i = 0; i < n_told; i++)
		if (told[i].op == op && !n--)
			return told[i].at_ms;
	ck_abort_msg("it was never told");
	return 0;
}

/* Three nodes; without rounds, or with. */
static struct h_run begin(bool rounds)
{
	struct h_run run = h_begin(rounds ? 2 : 0, NULL);
	run.w->when = W_NEVER;
	run.w->mute = note;
	n_told = 0;
	last_is_not_loaded = false;
	return run;
}

static void goes_on(struct h_run *run)
{
	ck_assert_ptr_eq(w_only(run->w, "room", 0), run->old);
	ck_assert_uint_eq(run->old->value, VALUE);
	ck_assert_int_eq(run->w->nodes[run->from].hub->history->info.result, PH_RESULT_ABORTED);
	w_no_leftovers(run->w);
	w_free(run->w);
}

/* Not a byte comes: five seconds. */
START_TEST(copy_without_progress)
{
	struct h_run run = begin(_i);
	run.old->def->traits.mute_start = true;
	h_go(&run, 60000);
	ck_assert_uint_eq(at(PH_W_RESUME, 0) - at(PH_W_HANDOVER_START, 0), 5000);
	goes_on(&run);
}
END_TEST

/* Some come every second, and never all: the whole `timeout`, frozen or not. */
START_TEST(copy_that_is_slow)
{
	struct h_run run = begin(_i);
	struct world *w = run.w;
	run.old->def->traits.mute_start = true;
	h_go(&run, 0);
	for (uint64_t bytes = 1; bytes < 60; bytes++) {
		const struct ph_source *s = w_slot(w, run.from, "room", 0)->work->source;
		if (s) {
			struct ph_stream_report *report = w_alloc(w, sizeof *report);
			*report = (struct ph_stream_report){.id = s->id, .bytes = bytes};
			w_push(w, run.from, PH_EV_STREAM_PROGRESS)->stream = report;
		}
		w_run(w, 1000);
	}
	ck_assert_uint_eq(
		at(PH_W_RESUME, 0) - at(PH_W_HANDOVER_START, 0), run.old->def->spec.timeout_ms);
	goes_on(&run);
}
END_TEST

/* It has sent all, and the new one never has it: without rounds nobody serves for `timeout`. */
START_TEST(frozen_for_the_whole_timeout)
{
	struct h_run run = begin(false);
	run.old->def->traits.mute_load = true;
	h_go(&run, 90000);
	uint64_t took = at(PH_W_RESUME, 0) - at(PH_W_HANDOVER_START, 0);
	ck_assert_uint_le(took, run.old->def->spec.timeout_ms);
	ck_assert_uint_ge(took, run.old->def->spec.timeout_ms / 2);
	goes_on(&run);
}
END_TEST

/* A budget of downtime that is missed is doubled, three times, with ten seconds of service between;
 * an order has all of them, and then fails. */
START_TEST(downtime_of_each_attempt)
{
	static const uint64_t budgets_ms[] = {500, 1000, 2000, 4000};
	struct h_run run = begin(true);
	run.old->def->traits.mute_freeze = _i == 0; /* it does not answer */
	last_is_not_loaded = _i == 1;
	h_go(&run, 75000);
	ck_assert_uint_eq(count(PH_W_FREEZE), 4);
	ck_assert_uint_eq(count(PH_W_RESUME), 4);
	for (unsigned i = 0; i < 4; i++) {
		uint64_t took = at(PH_W_RESUME, i) - at(PH_W_FREEZE, i);
		ck_assert_msg(took <= budgets_ms[i] && took >= budgets_ms[i] / 2,
			"attempt %u stood still for %llu ms", i, (unsigned long long)took);
		if (i < 3)
			ck_assert_uint_ge(
				at(PH_W_HANDOVER_START, i + 1) - at(PH_W_RESUME, i), 10000);
	}
	const struct ph_migration_info *info = &run.w->nodes[run.from].hub->history->info;
	ck_assert(info->has_downtime); /* of the last attempt */
	ck_assert_uint_eq(info->downtime_us, (at(PH_W_RESUME, 3) - at(PH_W_FREEZE, 3)) * 1000);
	goes_on(&run);
}
END_TEST

static uint32_t lost_round;

/* Each round takes as long as a repeat. */
static bool lose_the_first(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	bool again = msg->kind != PH_B_LOADED || msg->round == lost_round;
	(void)w, (void)from, (void)to;
	if (!again)
		lost_round = msg->round;
	return again;
}

static bool commit_is_lost;
static uint64_t active_ms;
static bool lose_commit(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)from, (void)to;
	if (msg->kind == PH_B_ACTIVE && !active_ms)
		active_ms = w->now_ms;
	if (msg->kind != PH_B_COMMIT || !commit_is_lost)
		return true;
	commit_is_lost = false;
	return false;
}

/* What a migration that went well has cost, from the freeze to B's word, is told everywhere. */
START_TEST(downtime_is_shown)
{
	struct h_run run = begin(_i);
	struct world *w = run.w;
	w->pass = lose_commit;
	commit_is_lost = true;
	active_ms = 0;
	h_go(&run, 30000);
	uint64_t froze_ms = at(_i ? PH_W_FREEZE : PH_W_HANDOVER_START, 0);
	ck_assert_uint_ge(active_ms - froze_ms, 200); /* it was said once more */
	for (unsigned i = 0; i < w->n_nodes; i++) {
		const struct ph_migration_info *info = &w->nodes[i].hub->history->info;
		ck_assert_int_eq(info->result, PH_RESULT_DONE);
		ck_assert(info->has_downtime);
		ck_assert_uint_eq(info->downtime_us, (active_ms - froze_ms) * 1000);
	}
	w_free(w);
}
END_TEST

/* It changes more than it can send: no more than rounds_max, the last of them frozen. */
START_TEST(rounds_are_bounded)
{
	struct world *w = w_new(3);
	struct w_def *def = w_def(w, "room", "1");
	def->traits.caps |= PH_CAP_ROUNDS;
	def->traits.dirty_bytes = UINT64_C(1) << 40;
	def->spec.rounds_max = 2 + (uint32_t)_i;
	w_declare_all(w, def);
	w_start_all(w);
	struct h_run run = {.w = w, .old = w_only(w, "room", 0)};
	run.from = run.old->node;
	run.to = (run.from + 1) % 3;
	w->arg = &run;
	w->mute = note;
	w->pass = lose_the_first;
	lost_round = UINT32_MAX;
	n_told = 0;
	last_is_not_loaded = false;
	h_go(&run, 30000);
	ck_assert_uint_eq(count(PH_W_FREEZE), 1);
	ck_assert_uint_eq(1 + count(PH_W_NEXT_ROUND) + count(PH_W_FREEZE), def->spec.rounds_max);
	ck_assert_uint_eq(w_only(w, "room", 0)->node, run.to);
	w_free(w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core_bounds");
	W_TEST(suite, copy_without_progress, 2);
	W_TEST(suite, copy_that_is_slow, 2);
	W_TEST(suite, frozen_for_the_whole_timeout, 1);
	W_TEST(suite, downtime_of_each_attempt, 2);
	W_TEST(suite, downtime_is_shown, 2);
	W_TEST(suite, rounds_are_bounded, 7);
	return w_main(suite);
}
