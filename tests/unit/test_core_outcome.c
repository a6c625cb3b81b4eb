/* The outcome of a migration: one for all nodes, and whoever restarts makes no other one of it. */
#include "core_handover.h"

#define SEEN_MAX 64

struct told { /* how a migration has ended, as a node told it first */
	struct ph_id id;
	enum ph_result result;
};

static struct told told[SEEN_MAX];
static size_t n_told;

static void forget_all(void)
{
	n_told = 0;
}

/* What was told once, and not by presumption, stays so. */
static void look(struct world *w)
{
	for (unsigned i = 0; i < w->n_nodes; i++) {
		const struct ph_history *h = w->nodes[i].hub ? w->nodes[i].hub->history : NULL;
		for (; h; h = h->next) {
			size_t at = 0;
			if (h->presumed || h->info.result == PH_RESULT_RUNNING)
				continue;
			while (at < n_told && !ph_id_equal(&told[at].id, &h->info.id))
				at++;
			ck_assert_uint_lt(at, SEEN_MAX);
			if (at == n_told)
				told[n_told++] = (struct told){h->info.id, h->info.result};
			ck_assert_msg(told[at].result == h->info.result,
				"for %c a migration ended as %d (%s), after it was told as %d",
				(int)('a' + i), (int)h->info.result, h->info.reason,
				(int)told[at].result);
		}
	}
}

static void go(struct world *w, uint64_t ms)
{
	for (uint64_t t = 0; t < ms; t += 50) {
		w_run(w, 50);
		look(w);
	}
}

static void power_off_target(struct world *w)
{
	struct h_run *run = w->arg;
	w_power_off(w, run->to);
	run->crash_to = true;
}

static void begin_move(struct h_run *run)
{
	run->w->arg = run;
	forget_all();
	w_order(run->w, run->from, PH_VERB_MOVE, "room", run->w->nodes[run->to].name.s, NULL);
}

static void restart_source(struct h_run *run)
{
	struct world *w = run->w;
	w_crash(w, run->from);
	go(w, 300);
	w_start(w, run->from);
	go(w, 40000);
}

/* The target's machine dies at each moment; the source's daemon is restarted when all is over. */
START_TEST(the_source_remembers)
{
	struct h_run run = h_begin(_i, power_off_target);
	begin_move(&run);
	go(run.w, 40000);
	if (h_happened(&run)) {
		w_one_outcome(run.w);
		restart_source(&run);
		w_one_outcome(run.w);
	}
	w_free(run.w);
}
END_TEST

/* ... and while it goes on. */
START_TEST(the_source_is_restarted_meanwhile)
{
	static const uint64_t after_ms[] = {0, 100, 1000, 4900, 5100, 5500, 6000, 8000};
	struct h_run run = h_begin(_i / 8, power_off_target);
	begin_move(&run);
	for (int i = 0; i < 400 && !run.crash_to; i++)
		go(run.w, 50);
	if (h_happened(&run)) {
		go(run.w, after_ms[_i % 8]);
		restart_source(&run);
		w_one_outcome(run.w);
	}
	w_free(run.w);
}
END_TEST

/* N ends before it is ready, or refuses the state; nothing is lost, and that is remembered too. */
START_TEST(rolled_back_or_refused)
{
	struct h_run run = h_begin(_i % H_VARIANTS, NULL);
	run.w->when = W_NEVER;
	run.old->def->traits.dies_active = _i < H_VARIANTS;
	run.old->def->traits.reject = _i >= H_VARIANTS;
	begin_move(&run);
	go(run.w, 40000);
	run.old->def->traits.dies_active = false;
	w_one_outcome(run.w);
	ck_assert_int_eq(
		told[0].result, _i < H_VARIANTS ? PH_RESULT_ROLLED_BACK : PH_RESULT_ABORTED);
	restart_source(&run);
	w_one_outcome(run.w);
	ck_assert_uint_eq(w_only(run.w, "room", 0)->value, VALUE);
	w_free(run.w);
}
END_TEST

static enum ph_bkind held;

static bool hold_back(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)w, (void)from, (void)to;
	return msg->kind != held;
}

/*
 * The source's daemon is restarted while the others know that the move goes on: whoever has ordered
 * it elsewhere is told what has become of it, and not what may have.
 */
START_TEST(the_order_waits_for_the_outcome)
{
	static const enum ph_bkind kinds[] = {
		PH_B_READY, PH_B_LOADED, PH_B_PREPARED, PH_B_COMMIT, PH_B_ACTIVE, PH_B_NONE};
	struct h_run run = h_begin(_i % H_VARIANTS, NULL);
	struct world *w = run.w;
	unsigned by = w->n_nodes == 3 ? 3 - run.from - run.to : run.to;
	w->when = W_NEVER;
	w->arg = &run;
	held = kinds[_i / H_VARIANTS];
	w->pass = hold_back;
	forget_all();
	w_order(w, by, PH_VERB_MOVE, "room", w->nodes[run.to].name.s, NULL);
	go(w, 200);
	ck_assert_int_eq(w->nodes[by].hub->history->info.result, PH_RESULT_RUNNING);
	w_crash(w, run.from);
	held = PH_B_NONE;
	go(w, 300);
	w_start(w, run.from);
	held = PH_B_REGISTRY; /* its list of migrations comes late */
	go(w, 1000);
	held = PH_B_NONE;
	go(w, 60000);
	w_one_outcome(w);
	const struct ph_history *h;
	const struct ph_answer *answer = &w->nodes[by].answer;
	ck_assert_uint_eq(w->nodes[by].answers, 1);
	ck_assert_uint_eq(answer->n_outcomes, 1);
	HASH_FIND(hh, w->nodes[by].hub->history_by_id, answer->outcomes[0].id.b,
		sizeof answer->outcomes[0].id.b, h);
	ck_assert_ptr_nonnull(h);
	ck_assert_msg(answer->outcomes[0].ok == (h->info.result == PH_RESULT_DONE),
		"the order is told '%s', and it ended as %d", answer->outcomes[0].text,
		(int)h->info.result);
	w_free(w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core_outcome");
	int n = H_MOMENTS * H_VARIANTS;
	W_TEST(suite, the_source_remembers, n);
	W_TEST(suite, the_source_is_restarted_meanwhile, 8 * n);
	W_TEST(suite, the_order_waits_for_the_outcome, 6 * H_VARIANTS);
	W_TEST(suite, rolled_back_or_refused, 2 * H_VARIANTS);
	return w_main(suite);
}
