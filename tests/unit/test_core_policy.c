/* Whether and when a worker is started again. */
#include "core_world.h"

#include <errno.h>

static struct w_def *plain(struct world *w)
{
	struct w_def *def = w_def(w, "room", "1");
	def->spec.ready = PH_READY_NONE;
	def->spec.restart.jitter_percent = 0;
	def->traits = (struct w_traits){0};
	w_declare(w, 0, def);
	w_start(w, 0);
	ck_assert_uint_eq(w->n_procs, 1);
	return def;
}

static struct w_proc *last(struct world *w)
{
	return &w->procs[w->n_procs - 1];
}

/* Ends the last process; the time until the next one, or PH_NEVER_MS. */
static uint64_t wait_after(struct world *w, enum ph_exit_kind kind, uint32_t value)
{
	size_t n = w->n_procs;
	uint64_t before = w->now_ms;
	w_exit(w, last(w), kind, value);
	w_drain(w);
	for (int i = 0; i < 4 && w->n_procs == n; i++) {
		uint64_t next = ph_next_deadline(w->nodes[0].hub);
		if (next != PH_NEVER_MS)
			w_run(w, next > w->now_ms ? next - w->now_ms : 0);
	}
	return w->n_procs > n ? w->now_ms - before : PH_NEVER_MS;
}

static const struct {
	enum ph_restart_policy policy;
	enum ph_exit_kind kind;
	uint32_t value;
	bool again;
} exits[] = {
	{PH_RESTART_PERMANENT, PH_EXIT_CODE, 0, true},
	{PH_RESTART_PERMANENT, PH_EXIT_CODE, 1, true},
	{PH_RESTART_PERMANENT, PH_EXIT_SIGNAL, 11, true},
	{PH_RESTART_TRANSIENT, PH_EXIT_CODE, 0, false},
	{PH_RESTART_TRANSIENT, PH_EXIT_CODE, 1, true},
	{PH_RESTART_TRANSIENT, PH_EXIT_SIGNAL, 15, true},
	{PH_RESTART_TRANSIENT, PH_EXIT_CORE, 11, true},
	{PH_RESTART_TRANSIENT, PH_EXIT_UNKNOWN, 0, true},
	{PH_RESTART_TRANSIENT, PH_EXIT_OOM, 9, true},
	{PH_RESTART_PERMANENT, PH_EXIT_OOM, 9, true},
	{PH_RESTART_PERMANENT, PH_EXIT_UNKNOWN, 0, true},
	{PH_RESTART_TEMPORARY, PH_EXIT_UNKNOWN, 0, false},
	{PH_RESTART_TEMPORARY, PH_EXIT_OOM, 9, false},
	{PH_RESTART_TEMPORARY, PH_EXIT_CODE, 0, false},
	{PH_RESTART_TEMPORARY, PH_EXIT_CODE, 1, false},
	{PH_RESTART_TEMPORARY, PH_EXIT_SIGNAL, 9, false},
};

START_TEST(policies)
{
	struct world *w = w_new(1);
	struct w_def *def = plain(w);
	w_own_spec(w_slot(w, 0, "room", 0)->work->instance)->restart.policy = exits[_i].policy;
	(void)def;
	uint64_t wait = wait_after(w, exits[_i].kind, exits[_i].value);
	ck_assert_uint_eq(wait, exits[_i].again ? 0 : PH_NEVER_MS);
	ck_assert_int_eq(w_slot(w, 0, "room", 0)->entry.state,
		exits[_i].again ? PH_CHILD_RUNNING : PH_CHILD_STOPPED);
	ck_assert_uint_eq(w_slot(w, 0, "room", 0)->entry.restarts, exits[_i].again);
	w_free(w);
}
END_TEST

static struct ph_restart *policy_of(struct world *w)
{
	return &w_own_spec(w_slot(w, 0, "room", 0)->work->instance)->restart;
}

START_TEST(backoff_doubles_to_its_cap)
{
	static const uint64_t waits[] = {0, 100, 200, 400, 800, 1000, 1000, 1000};
	struct world *w = w_new(1);
	(void)plain(w);
	policy_of(w)->intensity = 0;
	policy_of(w)->backoff_max_ms = 1000;
	for (size_t i = 0; i < sizeof waits / sizeof waits[0]; i++)
		ck_assert_uint_eq(wait_after(w, PH_EXIT_CODE, 1), waits[i]);
	/* Ten seconds of health (more than backoff_max) end the streak. */
	w_run(w, 10000);
	ck_assert_uint_eq(wait_after(w, PH_EXIT_CODE, 1), 0);
	ck_assert_uint_eq(wait_after(w, PH_EXIT_CODE, 1), 100);
	w_run(w, 9000);
	ck_assert_uint_eq(wait_after(w, PH_EXIT_CODE, 1), 200);
	w_free(w);
}
END_TEST

START_TEST(delay_is_the_least)
{
	static const uint64_t waits[] = {300, 300, 300, 400, 800};
	struct world *w = w_new(1);
	(void)plain(w);
	policy_of(w)->delay_ms = 300;
	policy_of(w)->intensity = 0;
	for (size_t i = 0; i < sizeof waits / sizeof waits[0]; i++)
		ck_assert_uint_eq(wait_after(w, PH_EXIT_CODE, 1), waits[i]);
	w_free(w);
}
END_TEST

/* 0: at the cap, which is never passed; 1: below it. */
START_TEST(jitter_stays_in_bounds)
{
	struct world *w = w_new(1);
	uint64_t low = UINT64_MAX, high = 0, most = _i ? 1200 : 1000;
	(void)plain(w);
	struct ph_restart *policy = policy_of(w);
	policy->intensity = 0;
	policy->backoff_ms = 1000;
	policy->backoff_max_ms = _i ? 60000 : 1000;
	policy->jitter_percent = 20;
	ck_assert_uint_eq(wait_after(w, PH_EXIT_CODE, 1), 0);
	for (int i = 0; i < 300; i++) {
		w_slot(w, 0, "room", 0)->work->instance->streak = 1;
		uint64_t wait = wait_after(w, PH_EXIT_CODE, 1);
		low = wait < low ? wait : low;
		high = wait > high ? wait : high;
	}
	ck_assert_uint_ge(low, 800);
	ck_assert_uint_le(high, most);
	ck_assert_uint_lt(low, 830);
	ck_assert_uint_gt(high, most - 30);
	w_free(w);
}
END_TEST

/* `intensity` restarts within `within` are allowed, one more is the limit. */
START_TEST(intensity)
{
	static const uint32_t limits[] = {1, 5, 64, 100};
	struct world *w = w_new(1);
	(void)plain(w);
	struct ph_restart *policy = policy_of(w);
	policy->intensity = limits[_i];
	policy->backoff_ms = policy->backoff_max_ms = 10;
	policy->on_limit = PH_LIMIT_FAIL;
	for (uint32_t i = 0; i < limits[_i]; i++)
		ck_assert_msg(wait_after(w, PH_EXIT_CODE, 1) != PH_NEVER_MS,
			"restart %u of %u is refused", i + 1, limits[_i]);
	ck_assert_uint_eq(wait_after(w, PH_EXIT_CODE, 1), PH_NEVER_MS);
	ck_assert_int_eq(w_slot(w, 0, "room", 0)->entry.state, PH_CHILD_FAILED);
	ck_assert_uint_eq(w->nodes[0].emitted[PH_EMIT_CHILD_FAILED], 1);
	w_run(w, 3600000);
	ck_assert_int_eq(w_slot(w, 0, "room", 0)->entry.state, PH_CHILD_FAILED);
	/* An operator's start begins anew. */
	w_order(w, 0, PH_VERB_START, "room", NULL, NULL);
	w_run(w, 100);
	(void)w_only(w, "room", 0);
	w_free(w);
}
END_TEST

START_TEST(restarts_that_are_long_past_do_not_count)
{
	struct world *w = w_new(1);
	(void)plain(w);
	policy_of(w)->intensity = 2;
	policy_of(w)->within_ms = 1000;
	policy_of(w)->backoff_ms = policy_of(w)->backoff_max_ms = 10;
	for (int i = 0; i < 20; i++) {
		ck_assert_uint_le(wait_after(w, PH_EXIT_CODE, 1), 10);
		w_run(w, 600);
	}
	ck_assert_uint_eq(w->nodes[0].emitted[PH_EMIT_CHILD_FAILED], 0);
	w_free(w);
}
END_TEST

/* A longer time counts what comes now and then: a healthy time ends the streak, not the count. */
START_TEST(restarts_far_apart_count)
{
	struct world *w = w_new(1);
	(void)plain(w);
	policy_of(w)->intensity = 3;
	policy_of(w)->within_ms = 3600000;
	policy_of(w)->on_limit = PH_LIMIT_FAIL;
	for (int i = 0; i < 3; i++) {
		ck_assert_uint_eq(wait_after(w, PH_EXIT_CODE, 1), 0);
		w_run(w, 600000);
	}
	ck_assert_uint_eq(wait_after(w, PH_EXIT_CODE, 1), PH_NEVER_MS);
	ck_assert_int_eq(w_slot(w, 0, "room", 0)->entry.state, PH_CHILD_FAILED);
	w_free(w);
}
END_TEST

/* Health is to have been ready, for longer than the longest back-off. */
START_TEST(what_ends_no_streak)
{
	struct world *w = w_new(1);
	struct w_def *def = plain(w);
	policy_of(w)->intensity = 0;
	policy_of(w)->backoff_max_ms = 60000;
	ck_assert_uint_eq(wait_after(w, PH_EXIT_CODE, 1), 0);
	if (_i == 0) {
		w_run(w, 59900);
	} else {
		def->traits.never_ready = true;
		struct ph_spec *spec = w_own_spec(w_slot(w, 0, "room", 0)->work->instance);
		spec->ready = PH_READY_NOTIFY;
		spec->start_timeout_ms = 600000;
		ck_assert_uint_eq(wait_after(w, PH_EXIT_CODE, 1), 100);
		w_run(w, 120000);
	}
	ck_assert_uint_eq(wait_after(w, PH_EXIT_CODE, 1), _i ? 200 : 100);
	w_free(w);
}
END_TEST

START_TEST(after_the_limit_it_is_tried_again)
{
	struct world *w = w_new(1);
	(void)plain(w);
	struct ph_restart *policy = policy_of(w);
	policy->intensity = 1;
	policy->on_limit = PH_LIMIT_RETRY;
	policy->retry_after_ms = 60000;
	ck_assert_uint_eq(wait_after(w, PH_EXIT_CODE, 1), 0);
	ck_assert_uint_eq(wait_after(w, PH_EXIT_CODE, 1), 60000);
	ck_assert_uint_eq(wait_after(w, PH_EXIT_CODE, 1), 0);
	ck_assert_uint_eq(wait_after(w, PH_EXIT_CODE, 1), 60000);
	w_free(w);
}
END_TEST

/* An end before readiness is a failure, whatever the code; `transient` starts it again. */
START_TEST(an_end_before_readiness)
{
	struct world *w = w_new(1);
	struct w_def *def = w_def(w, "room", "1");
	def->spec.restart.policy = PH_RESTART_TRANSIENT;
	def->traits.never_ready = true;
	w_declare(w, 0, def);
	w_start(w, 0);
	def->traits.never_ready = false;
	ck_assert_uint_eq(wait_after(w, PH_EXIT_CODE, 0), 0);
	w_run(w, 100);
	(void)w_only(w, "room", 0);
	w_free(w);
}
END_TEST

/* A child that is stopped by an operator stays so over a restart of the daemon. */
START_TEST(a_wish_outlives_the_daemon)
{
	struct world *w = w_new(1);
	(void)plain(w);
	w_order(w, 0, PH_VERB_STOP, "room", NULL, NULL);
	w_run(w, 6000);
	w_crash(w, 0);
	w_start(w, 0);
	w_run(w, 10000);
	ck_assert_uint_eq(w_alive(w, 0), 0);
	ck_assert_int_eq(w_slot(w, 0, "room", 0)->entry.state, PH_CHILD_STOPPED);
	w_order(w, 0, PH_VERB_START, "room", NULL, NULL);
	w_run(w, 1000);
	(void)w_only(w, "room", 0);
	ck_assert_int_eq(w->nodes[0].answer.error, 0);
	w_free(w);
}
END_TEST

static void again(struct world *w)
{
	w_crash(w, 0);
	w_run(w, 100);
	w_start(w, 0);
	w_run(w, 100);
}

/* The next daemon waits for the rest of the time, in back-off (0) and after the limit (1), and goes
 * on from there. */
START_TEST(a_wait_outlives_the_daemon)
{
	struct world *w = w_new(1);
	struct w_def *def = plain(w);
	struct ph_restart *policy = policy_of(w);
	policy->backoff_ms = 20000;
	policy->backoff_max_ms = policy->retry_after_ms = 60000;
	policy->intensity = _i ? 1 : 0;
	policy->on_limit = PH_LIMIT_RETRY;
	def->spec.restart = *policy;
	ck_assert_uint_eq(wait_after(w, PH_EXIT_CODE, 1), 0);
	size_t started = w->n_procs;
	uint64_t ended_ms = w->now_ms, wait_ms = _i ? 60000 : 20000;
	w_exit(w, last(w), PH_EXIT_CODE, 7);
	w_run(w, 1000);
	again(w);
	const struct ph_slot *slot = w_slot(w, 0, "room", 0);
	ck_assert_int_eq(slot->entry.state, _i ? PH_CHILD_FAILED : PH_CHILD_BACKOFF);
	ck_assert_uint_eq(slot->work->instance->exit.value, 7);
	again(w);
	w_run(w, ended_ms + wait_ms - w->now_ms - 1);
	ck_assert_uint_eq(w->n_procs, started);
	w_run(w, 1);
	ck_assert_uint_eq(w->n_procs, started + 1);
	ck_assert_uint_eq(wait_after(w, PH_EXIT_CODE, 1), _i ? 0 : 40000);
	w_free(w);
}
END_TEST

/* A reload that lets it wait less: in back-off (0) and after the limit (1); one that lets it wait
 * more (2) begins with the next wait. */
START_TEST(a_shorter_wait)
{
	struct world *w = w_new(1);
	struct w_def *def = plain(w), *next = w_def(w, "room", "2");
	struct ph_restart *policy = policy_of(w);
	policy->backoff_ms = policy->backoff_max_ms = policy->retry_after_ms = 60000;
	policy->intensity = _i == 1 ? 1 : 0;
	policy->on_limit = PH_LIMIT_RETRY;
	def->spec.restart = *policy;
	next->spec.restart = *policy;
	next->spec.ready = PH_READY_NONE;
	next->spec.process = def->spec.process;
	next->traits = def->traits;
	next->spec.restart.backoff_max_ms = next->spec.restart.retry_after_ms =
		_i == 2 ? 90000 : 5000;
	next->spec.restart.backoff_ms = next->spec.restart.backoff_max_ms;
	ck_assert_uint_eq(wait_after(w, PH_EXIT_CODE, 1), 0);
	size_t started = w->n_procs;
	w_exit(w, last(w), PH_EXIT_CODE, 7);
	w_run(w, 1000);
	w->nodes[0].specs[0] = next;
	w_configure(w, 0);
	w_run(w, _i == 2 ? 58999 : 4999);
	ck_assert_uint_eq(w->n_procs, started);
	w_run(w, 1);
	ck_assert_uint_eq(w->n_procs, started + 1);
	w_free(w);
}
END_TEST

static const struct {
	enum ph_restart_policy before, after;
	enum ph_on_limit limit_before, limit_after;
	uint32_t code;
	enum ph_child_state was, becomes;
	uint64_t wait_ms; /* until it runs; 0: it does not again */
} policies_after[] = {
	{PH_RESTART_TEMPORARY, PH_RESTART_PERMANENT, 0, 0, 0, PH_CHILD_STOPPED, PH_CHILD_RUNNING,
		1},
	{PH_RESTART_TRANSIENT, PH_RESTART_PERMANENT, 0, 0, 0, PH_CHILD_STOPPED, PH_CHILD_RUNNING,
		1},
	{PH_RESTART_TEMPORARY, PH_RESTART_TRANSIENT, 0, 0, 3, PH_CHILD_STOPPED, PH_CHILD_RUNNING,
		1},
	{PH_RESTART_TEMPORARY, PH_RESTART_TRANSIENT, 0, 0, 0, PH_CHILD_STOPPED, PH_CHILD_STOPPED,
		0},
	{PH_RESTART_PERMANENT, PH_RESTART_TEMPORARY, 0, 0, 3, PH_CHILD_BACKOFF, PH_CHILD_STOPPED,
		0},
	{PH_RESTART_PERMANENT, PH_RESTART_TRANSIENT, 0, 0, 0, PH_CHILD_BACKOFF, PH_CHILD_STOPPED,
		0},
	{PH_RESTART_PERMANENT, PH_RESTART_TRANSIENT, 0, 0, 3, PH_CHILD_BACKOFF, PH_CHILD_BACKOFF,
		20000},
	{0, 0, PH_LIMIT_FAIL, PH_LIMIT_RETRY, 3, PH_CHILD_FAILED, PH_CHILD_FAILED, 30000},
	{0, 0, PH_LIMIT_FAIL, PH_LIMIT_ELSEWHERE, 3, PH_CHILD_FAILED, PH_CHILD_FAILED, 30000},
	{0, 0, PH_LIMIT_RETRY, PH_LIMIT_FAIL, 3, PH_CHILD_FAILED, PH_CHILD_FAILED, 0},
	{PH_RESTART_PERMANENT, PH_RESTART_TEMPORARY, PH_LIMIT_RETRY, PH_LIMIT_RETRY, 3,
		PH_CHILD_FAILED, PH_CHILD_FAILED, 0},
};

/* A reload with another policy: that one counts for what has ended, waits, or was given up, too. */
START_TEST(another_policy)
{
	struct world *w = w_new(1);
	struct w_def *def = plain(w), *next = w_def(w, "room", "2");
	const struct ph_held *e = &w_slot(w, 0, "room", 0)->entry;
	bool gives_up = policies_after[_i].was == PH_CHILD_FAILED;
	struct ph_restart *policy = policy_of(w);
	policy->backoff_ms = policy->backoff_max_ms = 20000;
	policy->retry_after_ms = 30000;
	policy->intensity = gives_up;
	policy->policy = policies_after[_i].before;
	policy->on_limit = policies_after[_i].limit_before;
	def->spec.restart = *policy;
	next->spec.ready = PH_READY_NONE;
	next->spec.restart = *policy;
	next->spec.restart.policy = policies_after[_i].after;
	next->spec.restart.on_limit = policies_after[_i].limit_after;
	next->spec.process = def->spec.process;
	next->traits = def->traits;
	while (e->state == PH_CHILD_RUNNING) {
		w_exit(w, last(w), PH_EXIT_CODE, policies_after[_i].code);
		w_drain(w);
	}
	ck_assert_int_eq(e->state, policies_after[_i].was);
	size_t started = w->n_procs;
	w->nodes[0].specs[0] = next;
	w_configure(w, 0);
	w_drain(w);
	ck_assert_int_eq(e->state, policies_after[_i].becomes);
	if (policies_after[_i].wait_ms > 1) {
		w_run(w, policies_after[_i].wait_ms - 1);
		ck_assert_uint_eq(w->n_procs, started);
	}
	w_run(w, policies_after[_i].wait_ms ? 1 : 100000);
	ck_assert_uint_eq(w->n_procs, started + (policies_after[_i].wait_ms > 0));
	w_free(w);
}
END_TEST

/* An operator's stop is stronger than any policy. */
START_TEST(another_policy_of_what_is_stopped)
{
	struct world *w = w_new(1);
	struct w_def *def = plain(w), *next = w_def(w, "room", "2");
	policy_of(w)->policy = def->spec.restart.policy = PH_RESTART_TEMPORARY;
	next->spec.ready = PH_READY_NONE;
	next->spec.process = def->spec.process;
	next->traits = def->traits;
	w_order(w, 0, PH_VERB_STOP, "room", NULL, NULL);
	w_run(w, 10000);
	w->nodes[0].specs[0] = next;
	w_configure(w, 0);
	w_run(w, 100000);
	ck_assert_uint_eq(w->n_procs, 1);
	w_free(w);
}
END_TEST

/* ... but no longer than it may at all: the clock may have begun anew since. */
START_TEST(a_wait_of_another_clock)
{
	struct world *w = w_new(1);
	struct w_def *def = plain(w);
	struct ph_restart *policy = policy_of(w);
	policy->backoff_ms = policy->backoff_max_ms = 20000;
	def->spec.restart = *policy;
	ck_assert_uint_eq(wait_after(w, PH_EXIT_CODE, 1), 0);
	size_t started = w->n_procs;
	w_exit(w, last(w), PH_EXIT_CODE, 1);
	w_run(w, 1000);
	w_crash(w, 0);
	ck_assert_uint_eq(w->nodes[0].n_adopted, 1);
	w->nodes[0].adopted[0].due_ms += 1000000000;
	w->nodes[0].adopted[0].tally.first_ms += 1000000000;
	w->nodes[0].adopted[0].tally.last_ms += 1000000000;
	w_start(w, 0);
	w_run(w, 19999);
	ck_assert_uint_eq(w->n_procs, started);
	w_run(w, 1);
	ck_assert_uint_eq(w->n_procs, started + 1);
	w_free(w);
}
END_TEST

/* The daemon goes while a worker is asked to end so that it is started again. That it then ends
 * well, as it was asked to, is no end of the child, whatever its policy says of such ends. */
START_TEST(a_restart_goes_on)
{
	struct world *w = w_new(1);
	struct w_def *def = plain(w);
	def->spec.restart.policy = _i ? PH_RESTART_TRANSIENT : PH_RESTART_TEMPORARY;
	def->traits.deaf = true;
	w_configure(w, 0);
	w_order(w, 0, PH_VERB_RESTART, "room", NULL, NULL);
	w_run(w, 10);
	ck_assert_uint_eq(last(w)->terms, 1);
	w_crash(w, 0);
	w_start(w, 0);
	w_run(w, 10);
	ck_assert_uint_eq(last(w)->terms, 2);
	w_exit(w, last(w), PH_EXIT_CODE, 0);
	w_run(w, 10);
	ck_assert_uint_eq(w->n_procs, 2);
	ck_assert_int_eq(w_slot(w, 0, "room", 0)->entry.state, PH_CHILD_RUNNING);
	ck_assert_uint_eq(w_slot(w, 0, "room", 0)->work->instance->restarts, 1);
	w_free(w);
}
END_TEST

/* Its node was away, or joins, when its time came, and its text is another one by the time it is
 * asked for: that is what it is started with. */
START_TEST(the_text_of_the_day)
{
	struct world *w = w_new(2);
	struct w_def *bad = w_def(w, "room", "1"), *good = w_def(w, "room", "2");
	bad->spec.nodes = good->spec.nodes = "a";
	bad->spec.restart.backoff_ms = bad->spec.restart.backoff_max_ms = 300;
	bad->spec.restart.intensity = 2;
	bad->spec.restart.on_limit = PH_LIMIT_FAIL;
	w_declare(w, 0, bad);
	w_start_all(w);
	w_run(w, 5000);
	ck_assert_uint_eq(wait_after(w, PH_EXIT_CODE, 1), 0);
	bad->traits.dies_at_start = true;
	w_exit(w, last(w), PH_EXIT_CODE, 1);
	w_run(w, 10);
	ck_assert_int_eq(w_slot(w, 0, "room", 0)->entry.state, PH_CHILD_BACKOFF);
	w_crash(w, 0);
	w_run(w, 100);
	for (int i = 0; _i && i < 2; i++)
		w->cut[i][1 - i] = true;
	w_start(w, 0);
	w_run(w, 1000);
	w->nodes[0].specs[0] = good;
	w_configure(w, 0);
	w_run(w, 10);
	for (int i = 0; _i && i < 2; i++)
		w->cut[i][1 - i] = false;
	w_run(w, 20000);
	ck_assert_ptr_eq(w_only(w, "room", 0)->def, good);
	w_free(w);
}
END_TEST

/* What was counted counts on, also of a worker that lives on, until its time is over. */
START_TEST(a_count_outlives_the_daemon)
{
	struct world *w = w_new(1);
	struct w_def *def = plain(w);
	struct ph_restart *policy = policy_of(w);
	policy->intensity = 3;
	policy->on_limit = PH_LIMIT_FAIL;
	def->spec.restart = *policy;
	for (int i = 0; i < 3; i++)
		ck_assert_uint_ne(wait_after(w, PH_EXIT_CODE, 1), PH_NEVER_MS);
	again(w);
	w_run(w, _i ? 60000 : 31000);
	uint64_t wait = wait_after(w, PH_EXIT_CODE, 1);
	ck_assert_uint_eq(wait, _i ? 0 : PH_NEVER_MS);
	w_free(w);
}
END_TEST

/* Its address is taken by somebody: whatever the policy, it is tried again, and told of once. */
START_TEST(a_taken_address)
{
	static const uint64_t waits[] = {100, 200, 400, 800, 1000, 1000, 1000, 1000};
	struct world *w = w_new(1);
	struct w_def *def = w_def(w, "room", "1");
	def->spec.ready = PH_READY_NONE;
	def->spec.restart = (struct ph_restart){.policy = PH_RESTART_TEMPORARY,
		.backoff_ms = 100,
		.backoff_max_ms = 30000,
		.intensity = 1,
		.within_ms = 60000};
	def->traits =
		(struct w_traits){.absent = 1, .absent_error = _i ? EADDRINUSE : EADDRNOTAVAIL};
	w_declare(w, 0, def);
	w_start(w, 0);
	for (size_t i = 0; i < sizeof waits / sizeof waits[0]; i++) {
		const struct ph_instance *one = w_slot(w, 0, "room", 0)->work->instance;
		ck_assert_int_eq(one->state, PH_INSTANCE_BACKOFF);
		ck_assert_uint_eq(one->timer.at_ms - one->since_ms, waits[i]);
		w_run(w, one->timer.at_ms - w->now_ms);
	}
	ck_assert_uint_eq(w->nodes[0].emitted[PH_EMIT_CHILD_RESTARTING], 1);
	def->traits.absent = 0;
	w_run(w, 1000);
	ck_assert_int_eq(w_slot(w, 0, "room", 0)->entry.state, PH_CHILD_RUNNING);
	ck_assert_uint_eq(w_slot(w, 0, "room", 0)->entry.restarts, 1);
	/* From here on its own policy counts. */
	ck_assert_uint_eq(wait_after(w, PH_EXIT_CODE, 1), PH_NEVER_MS);
	ck_assert_int_eq(w_slot(w, 0, "room", 0)->entry.state, PH_CHILD_STOPPED);
	w_free(w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core_policy");
	W_TEST(suite, policies, (int)(sizeof exits / sizeof exits[0]));
	W_TEST(suite, backoff_doubles_to_its_cap, 1);
	W_TEST(suite, delay_is_the_least, 1);
	W_TEST(suite, jitter_stays_in_bounds, 2);
	W_TEST(suite, intensity, 4);
	W_TEST(suite, restarts_that_are_long_past_do_not_count, 1);
	W_TEST(suite, restarts_far_apart_count, 1);
	W_TEST(suite, what_ends_no_streak, 2);
	W_TEST(suite, after_the_limit_it_is_tried_again, 1);
	W_TEST(suite, an_end_before_readiness, 1);
	W_TEST(suite, a_taken_address, 2);
	W_TEST(suite, a_wish_outlives_the_daemon, 1);
	W_TEST(suite, a_wait_outlives_the_daemon, 2);
	W_TEST(suite, another_policy, (int)(sizeof policies_after / sizeof policies_after[0]));
	W_TEST(suite, another_policy_of_what_is_stopped, 1);
	W_TEST(suite, a_shorter_wait, 3);
	W_TEST(suite, a_wait_of_another_clock, 1);
	W_TEST(suite, a_restart_goes_on, 2);
	W_TEST(suite, a_count_outlives_the_daemon, 2);
	W_TEST(suite, the_text_of_the_day, 2);
	return w_main(suite);
}
