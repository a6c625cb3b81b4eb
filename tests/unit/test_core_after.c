/* What is left after a handover that went wrong: its outcome in the lists, the next order, and
 * nothing that goes on for ever. */
#include "core_handover.h"

static void crash_source(struct world *w)
{
	struct h_run *run = w->arg;
	w_crash(w, run->from);
	run->crash_from = true;
}

static struct ph_history *newest(struct world *w, unsigned node)
{
	struct ph_history *h = w->nodes[node].hub->history;
	ck_assert_ptr_nonnull(h);
	return h;
}

/* The others go on telling when they last heard a dead member: that is nobody to ask for. */
START_TEST(dead_member_is_no_stranger)
{
	struct world *w = w_new(3);
	w_declare_all(w, w_def(w, "room", "1"));
	for (unsigned i = 0; i < 3; i++)
		w->nodes[i].n_peers = 1;
	w_start_all(w);
	w_run(w, 10000);
	w_power_off(w, 2);
	w_run(w, 20000);
	w_crash(w, 1);
	w_run(w, 300);
	w_start(w, 1);
	w_run(w, 30000);
	unsigned before = w->nodes[1].sent[PH_B_HELLO];
	w_run(w, 60000);
	ck_assert_uint_eq(w->nodes[1].sent[PH_B_HELLO], before);
	w_free(w);
}
END_TEST

static void crash_target(struct world *w)
{
	struct h_run *run = w->arg;
	w_crash(w, run->to);
}

/* The source has given it up, say. */
static bool no_prepare(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)w, (void)from, (void)to;
	return msg->kind != PH_B_PREPARE;
}

/*
 * The target's daemon dies as the new worker says hello, or before (1). What that worker says to
 * the next one shows that nothing will become of it: it does not stand there for a while longer.
 */
START_TEST(a_new_worker_without_its_daemon)
{
	struct h_run run = h_begin(0, crash_target);
	struct world *w = run.w;
	w->when = W_AT_TELL;
	w->when_kind = PH_W_WELCOME;
	w->when_node = run.to;
	h_go(&run, 1000);
	struct w_proc *fresh = h_new_worker(&run);
	ck_assert(w->done && fresh && fresh != run.old);
	fresh->welcomes = !_i;
	w->pass = no_prepare;
	w_start(w, run.to);
	if (_i)
		w_hello(w, fresh);
	w_run(w, 500);
	ck_assert(!fresh->alive);
	w->pass = NULL;
	w_run(w, 60000);
	ck_assert_ptr_nonnull(w_serving(w, "room", 0));
	w_no_leftovers(w);
	w_free(w);
}
END_TEST

static bool hangs(struct world *w, struct w_proc *p, const struct ph_wmsg *msg)
{
	(void)w;
	(void)p;
	return msg->op == PH_W_RESUME || msg->op == PH_W_HANDOVER_START || msg->op == PH_W_STOP;
}

/* With and without rounds: one that does not answer `resume` hangs, and is restarted. */
START_TEST(hung_worker_is_restarted)
{
	struct h_run run = h_begin(_i * 2, NULL);
	struct world *w = run.w;
	w->when = W_NEVER;
	w->mute = hangs;
	h_go(&run, 60000);
	ck_assert(!run.old->alive || run.old->kills);
	w_free(w);
}
END_TEST

static bool loses_round(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)w, (void)from, (void)to;
	return msg->kind != PH_B_ROUND;
}

static char told_format[PH_VERSION_SIZE];

static bool takes_format(struct world *w, struct w_proc *p, const struct ph_wmsg *msg)
{
	(void)w, (void)p;
	if (msg->op == PH_W_HANDOVER)
		memcpy(told_format, msg->format, sizeof told_format);
	return false;
}

/* The new one is told, and checked against, the format of the accept, though ROUND is lost. */
START_TEST(format_comes_with_the_end_too)
{
	struct h_run run = h_begin(0, NULL);
	struct world *w = run.w;
	w->when = W_NEVER;
	w->pass = _i ? loses_round : NULL;
	w->mute = takes_format;
	run.old->def->traits.format = "other";
	memset(told_format, 0, sizeof told_format);
	h_go(&run, 30000);
	ck_assert_str_ne(told_format, "counter");
	ck_assert(run.old->alive);
	ck_assert_int_eq(newest(w, run.from)->info.result, PH_RESULT_ABORTED);
	w_free(w);
}
END_TEST

/* An order has all of its downtime budgets, whatever the one before it used up. */
START_TEST(each_order_has_its_own_budgets)
{
	struct h_run run = h_begin(2, NULL);
	struct world *w = run.w;
	w->when = W_NEVER;
	run.old->def->traits.mute_freeze = true;
	for (int i = 0; i < 3; i++) {
		unsigned before = w->nodes[run.from].emitted[PH_EMIT_MIGRATION_ABORTED];
		h_go(&run, 120000);
		ck_assert_uint_eq(
			w->nodes[run.from].emitted[PH_EMIT_MIGRATION_ABORTED] - before, 4);
	}
	w_free(w);
}
END_TEST

/* The restarted source knows less of it than everybody else. */
START_TEST(outcome_outlives_the_source)
{
	struct h_run run = h_begin(0, NULL);
	struct world *w = run.w;
	w->when = W_NEVER;
	run.old->def->traits.reject = 1;
	h_go(&run, 30000);
	unsigned other = 3 - run.from - run.to;
	char reason[PH_REASON_SIZE];
	memcpy(reason, newest(w, other)->info.reason, sizeof reason);
	ck_assert_int_eq(newest(w, other)->info.result, PH_RESULT_ABORTED);
	w_crash(w, run.from);
	w_run(w, 300);
	w_start(w, run.from);
	w_run(w, 30000);
	ck_assert_str_eq(newest(w, other)->info.reason, reason);
	w_free(w);
}
END_TEST

/* The restarted source does not know when it froze its worker, and makes nothing up. */
START_TEST(downtime_is_measured_or_absent)
{
	struct h_run run = h_begin(4 * h_moment_named("send PREPARED"), crash_source);
	struct world *w = run.w;
	w->arg = &run;
	w_order(w, run.from, PH_VERB_MOVE, "room", w->nodes[run.to].name.s, NULL);
	for (int i = 0; i < 200 && !run.crash_from; i++)
		w_run(w, 100);
	ck_assert(run.crash_from);
	w->double_allowed = true;
	w_run(w, 10000);
	w_start(w, run.from);
	w_run(w, 30000);
	struct ph_history *h;
	DL_FOREACH (w->nodes[run.from].hub->history, h)
		ck_assert(!h->info.has_downtime || h->info.downtime_us < 60000000);
	w_free(w);
}
END_TEST

static void order_stop(struct world *w)
{
	struct h_run *run = w->arg;
	struct ph_command *c = w_alloc(w, sizeof *c);
	c->ticket = 78;
	c->verb = PH_VERB_STOP;
	c->child = ph_name_of("room");
	c->all_instances = true;
	w_push(w, run->from, PH_EV_COMMAND)->command = c;
}

static bool hold_claims(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)from, (void)to;
	return !(msg->kind == PH_B_CLAIM && !((struct h_run *)w->arg)->restart_ms);
}

/* Stopped while the claim for the new one was out, it is taken back, and shown as stopped. */
START_TEST(stop_while_claiming)
{
	struct h_run run = h_begin(4 * h_moment_named("send CLAIM"), order_stop);
	struct world *w = run.w;
	w->pass = hold_claims;
	w->arg = &run;
	w_order(w, run.from, PH_VERB_MOVE, "room", w->nodes[run.to].name.s, NULL);
	w_run(w, 50);
	run.restart_ms = 1;
	w_run(w, 20000);
	struct ph_slot *slot = w_slot(w, run.from, "room", 0);
	ck_assert_int_eq(slot->entry.state, PH_CHILD_STOPPED);
	w_free(w);
}
END_TEST

/* A `final` whose migration nobody knows any more blocks nothing, and is forgotten. */
START_TEST(lost_final_is_forgotten)
{
	struct world *w = w_new(3);
	w_declare_all(w, w_def(w, "room", "1"));
	w_start_all(w);
	w_run(w, 10000);
	struct w_proc *p = w_only(w, "room", 0);
	unsigned n = p->node;
	struct ph_record final = {.kind = PH_RECORD_FINAL,
		.id = {{9}},
		.key = p->key,
		.epoch = p->epoch,
		.revision = p->epoch,
		.asked = true};
	w_power_off(w, n);
	w_run(w, 300);
	struct w_node *node = &w->nodes[n];
	node->hub = w_hub(w, n);
	node->up = true;
	node->exited = node->ready = false;
	w_configure(w, n);
	w_push(w, n, PH_EV_RESTORED)->record = w_copy(w, &final, sizeof final);
	(void)w_push(w, n, PH_EV_START);
	w_drain(w);
	w_run(w, 120000);
	struct ph_hub_counts c;
	ph_hub_count(node->hub, &c);
	ck_assert_uint_eq(c.sources, 0);
	ck_assert(w_synced(w, n, PH_RECORD_FORGET, &final.id));
	w_free(w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core_after");
	W_TEST(suite, dead_member_is_no_stranger, 1);
	W_TEST(suite, a_new_worker_without_its_daemon, 2);
	W_TEST(suite, hung_worker_is_restarted, 2);
	W_TEST(suite, format_comes_with_the_end_too, 2);
	W_TEST(suite, each_order_has_its_own_budgets, 1);
	W_TEST(suite, outcome_outlives_the_source, 1);
	W_TEST(suite, downtime_is_measured_or_absent, 1);
	W_TEST(suite, stop_while_claiming, 1);
	W_TEST(suite, lost_final_is_forgotten, 1);
	return w_main(suite);
}
