/*
 * A node that was away for longer than failure_timeout, hung or without its bus process, learns
 * what became of its children before it acts on what was due or said meanwhile.
 */
#include "core_handover.h"

enum {
	HUNG,
	NO_BUS
};

static void go_away(struct world *w, unsigned node, int how, struct ph_hub **kept)
{
	*kept = w->nodes[node].hub;
	if (how == HUNG)
		w->nodes[node].hub = NULL; /* SIGSTOP */
	else
		(void)w_push(w, node, PH_EV_BUS_DOWN);
	w_cut_off(w, node, true);
}

static void come_back(struct world *w, unsigned node, int how, struct ph_hub *kept)
{
	w_cut_off(w, node, false);
	w->nodes[node].hub = kept;
	if (how == NO_BUS)
		(void)w_push(w, node, PH_EV_BUS_UP);
}

static bool unanswered;
static bool pass(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)w, (void)from, (void)to;
	return !unanswered || msg->kind != PH_B_CLAIM_ANSWER;
}

/* The node that takes a child over when its owner's machine is lost. */
static unsigned heir_of(unsigned *ret_owner)
{
	struct world *w = w_new(3);
	w_declare_all(w, w_def(w, "room", "1"));
	w_start_all(w);
	w_run(w, 10000);
	*ret_owner = w_only(w, "room", 0)->node;
	w_power_off(w, *ret_owner);
	w_run(w, 15000);
	unsigned heir = w_only(w, "room", 0)->node;
	w_free(w);
	return heir;
}

/* It had asked for the child of a dead node, and another one has it by now. */
START_TEST(a_claim_is_not_granted_by_its_silence)
{
	unsigned owner, heir = heir_of(&owner), other = 3 - owner - heir;
	struct world *w = w_new(3);
	struct ph_hub *kept;
	w_declare_all(w, w_def(w, "room", "1"));
	w_start_all(w);
	w_run(w, 10000);
	w->pass = pass;
	unanswered = true;
	w_power_off(w, owner);
	for (int i = 0; i < 15000 && !w->nodes[heir].hub->claims; i++)
		w_run(w, 1);
	ck_assert_ptr_nonnull(w->nodes[heir].hub->claims);
	go_away(w, heir, _i, &kept);
	unanswered = false;
	w_run(w, 20000);
	const struct w_proc *p = w_only(w, "room", 0);
	ck_assert_uint_eq(p->node, other);
	come_back(w, heir, _i, kept);
	size_t n = w->n_procs;
	w_run(w, 20000);
	ck_assert_uint_eq(w->n_procs, n); /* nothing was started, not even for a moment */
	ck_assert_ptr_eq(w_only(w, "room", 0), p);
	w_agree(w, "room", 0, other);
	w_free(w);
}
END_TEST

/* COMMIT lies in its socket; A has held it for dead since, and goes on with the old worker. */
START_TEST(a_commit_that_comes_late)
{
	struct h_run run = h_begin(4 * h_moment_named("send PREPARED") + 2 * _i, NULL);
	struct world *w = run.w;
	struct ph_hub *kept;
	w->when = W_NEVER;
	w->pass = pass;
	unanswered = true; /* the claim for B: so it stays prepared */
	w_order(w, run.from, PH_VERB_MOVE, "room", w->nodes[run.to].name.s, NULL);
	struct ph_target *t = NULL;
	for (int i = 0; i < 5000 && !(t && t->state == PH_TARGET_PREPARED); i++) {
		w_run(w, 1);
		t = w->nodes[run.to].hub->targets;
	}
	ck_assert(t && t->state == PH_TARGET_PREPARED);
	struct w_proc *fresh = h_new_worker(&run);
	struct ph_bmsg commit = {.kind = PH_B_COMMIT,
		.from = w->nodes[run.from].name,
		.incarnation = w->nodes[run.from].incarnation,
		.id = t->id,
		.key = ph_slot_key(t->slot),
		.epoch = t->new_epoch,
		.journal = w->nodes[run.to].journal};
	go_away(w, run.to, HUNG, &kept);
	unanswered = false;
	w_run(w, 15000);
	ck_assert_ptr_eq(w_serving(w, "room", 0), run.old);
	come_back(w, run.to, HUNG, kept);
	w_push(w, run.to, PH_EV_MESSAGE)->message = &commit;
	w_run(w, 20000);
	ck_assert_uint_eq(fresh->activates, 0);
	ck_assert(!fresh->alive);
	ck_assert_ptr_eq(w_only(w, "room", 0), run.old);
	ck_assert_uint_eq(run.old->value, VALUE);
	w_no_leftovers(w);
	w_free(w);
}
END_TEST

/* What an earlier daemon left, in a stop that was to be followed by a start (0), in its back-off
 * (1), or done (2); the text is another one by then (1, 2). Others have taken it over since. */
static void leave(struct world *w, struct w_def *def, unsigned owner, int how)
{
	struct w_proc *p = w_only(w, "room", 0);
	if (how == 0) {
		def->traits.deaf = true;
		w_order(w, owner, PH_VERB_RESTART, "room", NULL, NULL);
	} else {
		w_exit(w, p, PH_EXIT_CODE, how == 1);
		w_drain(w);
		if (how == 1) /* the first restart is at once */
			w_exit(w, w_only(w, "room", 0), PH_EXIT_CODE, 1);
	}
	w_run(w, 1000);
	w_crash(w, owner);
	w->double_allowed = true;
	w_run(w, 30000);
	def->traits.deaf = false;
}

/* It starts nothing before it has joined, and has asked. */
START_TEST(a_start_is_asked_for_first)
{
	int how = _i / 2;
	struct world *w = w_new(3);
	w->partition = _i % 2 ? PH_PARTITION_MAJORITY : PH_PARTITION_DIVERGENCE;
	struct w_def *def = w_def(w, "room", "1"), *next = w_def(w, "room", "2");
	def->spec.stop_timeout_ms = next->spec.stop_timeout_ms = 60000;
	def->spec.restart.backoff_ms = next->spec.restart.backoff_ms = 30000;
	if (how == 2)
		def->spec.restart.policy = PH_RESTART_TEMPORARY;
	w_trace_if(w, _i);
	w_declare_all(w, def);
	w_start_all(w);
	w_run(w, 10000);
	unsigned owner = w_only(w, "room", 0)->node;
	leave(w, def, owner, how);
	size_t n = w->n_procs;
	w->nodes[owner].specs[0] = how ? next : def;
	w_start(w, owner);
	ck_assert_int_ne(w->nodes[owner].hub->self_state, PH_MEMBER_ALIVE);
	w_run(w, 100);
	ck_assert_uint_eq(w->n_procs, n);
	w_run(w, 40000);
	(void)w_only(w, "room", 0);
	w_free(w);
}
END_TEST

/* It was to be started again, as the state file has it, and was ordered to stop since. */
START_TEST(a_stop_after_a_restart)
{
	struct world *w = w_new(1);
	struct w_def *def = w_def(w, "room", "1");
	def->traits.deaf = true;
	w_declare(w, 0, def);
	w_start_all(w);
	w_order(w, 0, PH_VERB_RESTART, "room", NULL, NULL);
	w_run(w, 10);
	w_save(w, 0);
	w->nodes[0].stale = true;
	w_order(w, 0, PH_VERB_STOP, "room", NULL, NULL);
	w_crash(w, 0);
	w_start(w, 0);
	w_exit(w, &w->procs[0], PH_EXIT_CODE, 0);
	w_run(w, 20000);
	ck_assert_uint_eq(w->n_procs, 1);
	ck_assert_int_eq(w_slot(w, 0, "room", 0)->entry.state, PH_CHILD_STOPPED);
	w_free(w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core_back");
	W_TEST(suite, a_claim_is_not_granted_by_its_silence, 2);
	W_TEST(suite, a_commit_that_comes_late, 2);
	W_TEST(suite, a_start_is_asked_for_first, 6);
	W_TEST(suite, a_stop_after_a_restart, 1);
	return w_main(suite);
}
