/* Probes: when a worker is asked from outside, and what the answers mean. */
#include "core_world.h"

static struct world *probed(bool ready, bool health)
{
	struct world *w = w_new(1);
	struct w_def *def = w_def(w, "room", "1");
	def->traits.protocol = def->traits.notify = false;
	def->spec.ready = ready ? PH_READY_PROBE : PH_READY_NONE;
	def->spec.start_timeout_ms = 10000;
	def->spec.restart.backoff_ms = 100;
	if (health)
		def->spec.health = (struct ph_health){5000, 1000, 3};
	w_declare(w, 0, def);
	w_start(w, 0);
	return w;
}

static struct w_proc *newest(struct world *w)
{
	ck_assert_uint_gt(w->n_procs, 0);
	return &w->procs[w->n_procs - 1];
}

static enum ph_instance_state state(struct world *w)
{
	return w_slot(w, 0, "room", 0)->work->instance->state;
}

static void answer_as(struct world *w, const struct w_proc *p, uint64_t number, const char *why)
{
	struct ph_event *event = w_push(w, 0, PH_EV_PROBED);
	event->wid = p->wid;
	event->ticket = number;
	event->error = why ? 11 : 0;
	event->text = why;
	w_drain(w);
}

static void answer(struct world *w, const char *why)
{
	answer_as(w, newest(w), newest(w)->probe.number, why);
}

/* Asked at once, then again and again, less and less often, until it serves. */
START_TEST(asked_until_it_is_ready)
{
	struct world *w = probed(true, false);
	struct w_proc *p = newest(w);
	uint64_t gap = 0, asked_ms = w->now_ms;
	w_run(w, 1);
	for (unsigned n = 1; n < 8; n++) {
		ck_assert_uint_eq(p->probes, n);
		ck_assert(!p->probe.health);
		ck_assert_uint_le(p->probe.timeout_ms, 10000);
		ck_assert_int_eq((int)state(w), PH_INSTANCE_STARTING);
		ck_assert_uint_ge(w->now_ms - asked_ms, n == 1 ? 0 : gap);
		gap = w->now_ms - asked_ms;
		ck_assert_uint_le(gap, 1000);
		asked_ms = w->now_ms;
		answer(w, "connection refused");
		while (p->probes == n)
			w_run(w, 1);
	}
	answer(w, NULL);
	ck_assert_int_eq((int)state(w), PH_INSTANCE_RUNNING);
	w_run(w, 60000);
	ck_assert_uint_eq(p->probes, 8);
	w_free(w);
}
END_TEST

/* 0: each answer is no; 1: none comes. */
START_TEST(never_ready_is_a_failed_start)
{
	struct world *w = probed(true, false);
	struct w_proc *p = newest(w);
	unsigned seen = 0;
	for (unsigned ms = 0; ms < 9900; ms += 10) {
		w_run(w, 10);
		if (_i == 0 && p->probes > seen)
			answer(w, "connection refused");
		seen = p->probes;
	}
	ck_assert(p->alive);
	w_run(w, 200);
	ck_assert(!p->alive);
	ck_assert_uint_eq(p->kills, 1);
	ck_assert_uint_gt(w->n_procs, 1);
	w_free(w);
}
END_TEST

START_TEST(answers_that_mean_nothing)
{
	struct world *w = probed(true, false);
	struct w_proc *p = newest(w);
	w_run(w, 1);
	uint64_t first = p->probe.number;
	answer_as(w, p, first + 1, NULL);
	ck_assert_int_eq((int)state(w), PH_INSTANCE_STARTING);
	answer(w, "no");
	answer_as(w, p, first, NULL); /* twice */
	ck_assert_int_eq((int)state(w), PH_INSTANCE_STARTING);
	w_kill(w, p);
	w_run(w, 1000);
	ck_assert_uint_eq(w->n_procs, 2);
	answer_as(w, p, first, NULL); /* of the one before */
	answer_as(w, newest(w), first, NULL);
	ck_assert_int_eq((int)state(w), PH_INSTANCE_STARTING);
	answer(w, NULL);
	ck_assert_int_eq((int)state(w), PH_INSTANCE_RUNNING);
	w_free(w);
}
END_TEST

/* So many failures in a row; one success between them ends the row. */
START_TEST(unhealthy_is_restarted)
{
	static const bool answers[] = {false, false, true, false, false, false};
	struct world *w = probed(false, true);
	struct w_proc *p = newest(w);
	ck_assert_int_eq((int)state(w), PH_INSTANCE_RUNNING);
	for (unsigned n = 0; n < 6; n++) {
		ck_assert(p->alive);
		w_run(w, 4990);
		ck_assert_uint_eq(p->probes, n);
		w_run(w, 20);
		ck_assert_uint_eq(p->probes, n + 1);
		ck_assert(p->probe.health);
		ck_assert_uint_eq(p->probe.timeout_ms, 1000);
		answer(w, answers[n] ? NULL : "answered with status 500");
	}
	ck_assert_uint_eq(p->terms, 1); /* in good order */
	ck_assert_uint_eq(p->kills, 0);
	w_run(w, 1000);
	ck_assert_uint_eq(w->n_procs, 2);
	ck_assert_int_eq((int)state(w), PH_INSTANCE_RUNNING);
	w_free(w);
}
END_TEST

/* For `transient` it counts as a failure, whatever it ends with. */
START_TEST(unhealthy_is_a_failure)
{
	static const enum ph_restart_policy policies[] = {
		PH_RESTART_TRANSIENT, PH_RESTART_TEMPORARY};
	struct world *w = probed(false, true);
	struct ph_spec *spec = w_own_spec(w_slot(w, 0, "room", 0)->work->instance);
	spec->restart.policy = policies[_i];
	for (unsigned n = 0; n < 3; n++) {
		w_run(w, 5010);
		answer(w, "no");
	}
	w_run(w, 1000);
	ck_assert_uint_eq(w->n_procs, _i == 0 ? 2 : 1);
	w_free(w);
}
END_TEST

START_TEST(asked_only_while_it_runs)
{
	struct world *w = probed(false, true);
	struct w_proc *p = newest(w);
	w->defs[0].traits.deaf = true;
	w_order(w, 0, PH_VERB_STOP, "room", 0, NULL);
	w_run(w, 20000);
	ck_assert_uint_eq(p->probes, 0);
	w_order(w, 0, PH_VERB_START, "room", 0, NULL);
	w_run(w, 6000);
	ck_assert_uint_eq(newest(w)->probes, 1);
	w_free(w);
}
END_TEST

/* The next daemon asks too: one that starts, and one that runs. */
START_TEST(adopted)
{
	struct world *w = probed(_i == 0, true);
	w_run(w, 1);
	ck_assert_uint_eq(newest(w)->probes, _i == 0);
	w_crash(w, 0);
	w_start(w, 0);
	w_run(w, _i == 0 ? 100 : 6000);
	ck_assert_uint_eq(w->n_procs, 1);
	ck_assert_uint_eq(newest(w)->probes, _i == 0 ? 2 : 1);
	answer(w, NULL);
	ck_assert_int_eq((int)state(w), PH_INSTANCE_RUNNING);
	w_free(w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core_health");
	W_TEST(suite, asked_until_it_is_ready, 1);
	W_TEST(suite, never_ready_is_a_failed_start, 2);
	W_TEST(suite, answers_that_mean_nothing, 1);
	W_TEST(suite, unhealthy_is_restarted, 1);
	W_TEST(suite, unhealthy_is_a_failure, 2);
	W_TEST(suite, asked_only_while_it_runs, 1);
	W_TEST(suite, adopted, 2);
	return w_main(suite);
}
