/* The fence has fired: what it stopped is started again only by a claim, whatever its policy. */
#include "core_world.h"

static const enum ph_restart_policy policies[] = {
	PH_RESTART_PERMANENT, PH_RESTART_TRANSIENT, PH_RESTART_TEMPORARY};

static uint64_t epoch_of(struct world *w, unsigned node, uint32_t instance)
{
	return w_slot(w, node, "room", instance)->entry.epoch;
}

/* As the fence does it, while no daemon hears of it. */
static void stop_unheard(struct world *w, unsigned node)
{
	for (size_t i = 0; i < w->n_procs; i++)
		if (w->procs[i].node == node && !w->procs[i].def->spec.local) {
			w->procs[i].alive = w->procs[i].connected = false;
			w->procs[i].exited = true;
		}
}

/* The daemon goes on: the lease is the first that it hears of, then the exits. */
static void hear_of_it(struct world *w, unsigned node)
{
	(void)w_push(w, node, PH_EV_FENCED);
	for (size_t i = 0; i < w->n_procs; i++) {
		if (w->procs[i].node != node || !w->procs[i].exited || w->procs[i].reaped)
			continue;
		struct ph_event *event = w_push(w, node, PH_EV_EXITED);
		event->wid = w->procs[i].wid;
		event->exit = (struct ph_exit){.kind = PH_EXIT_SIGNAL, .value = 15};
	}
}

/* A node that is alone in its cluster has nobody to wait for. */
START_TEST(alone)
{
	struct world *w = w_new(2); /* of which the other one never comes */
	struct w_def *room = w_def(w, "room", "1"), *own = w_def(w, "own", "1");
	room->spec.instances = 3;
	room->spec.restart.policy = policies[_i];
	room->spec.restart.intensity = 1; /* and its limit has no part in it either */
	own->spec.local = true;
	w_declare(w, 0, room);
	w_declare(w, 0, own);
	w_start(w, 0);
	w_run(w, 10000);
	uint32_t local_pid = w_only(w, "own", 0)->pid;
	for (int turn = 0; turn < 3; turn++) {
		uint64_t epoch = epoch_of(w, 0, 1);
		stop_unheard(w, 0);
		w->now_ms += 4000;
		hear_of_it(w, 0);
		w_run(w, 10000);
		for (uint32_t i = 0; i < 3; i++)
			(void)w_only(w, "room", i);
		ck_assert_uint_gt(epoch_of(w, 0, 1), epoch);
	}
	ck_assert_uint_eq(w_only(w, "own", 0)->pid, local_pid);
	w_free(w);
}
END_TEST

/* For less and for more than the others need to give it up: they have taken the children over. */
START_TEST(others_are_there)
{
	const uint64_t away_ms = _i ? 30000 : 3500;
	struct world *w = w_new(2);
	struct w_def *room = w_def(w, "room", "1");
	room->spec.instances = 8;
	w_declare_all(w, room);
	w_start_all(w);
	w_run(w, 10000);
	uint64_t before[8];
	bool stopped[8];
	for (uint32_t i = 0; i < 8; i++) {
		stopped[i] = w_only(w, "room", i)->node == 1;
		before[i] = epoch_of(w, 0, i);
	}
	struct ph_hub *b = w->nodes[1].hub;
	w->nodes[1].hub = NULL; /* SIGSTOP */
	stop_unheard(w, 1);
	w_run(w, away_ms);
	ck_assert_uint_eq(w->nodes[0].emitted[PH_EMIT_NODE_DEAD], (unsigned)_i);
	w->nodes[1].hub = b;
	hear_of_it(w, 1);
	w_run(w, 30000);
	unsigned n = 0;
	for (uint32_t i = 0; i < 8; i++) {
		w_agree(w, "room", i, w_only(w, "room", i)->node);
		n += stopped[i];
		if (stopped[i])
			ck_assert_uint_gt(epoch_of(w, 0, i), before[i]);
		else if (!_i)
			ck_assert_uint_eq(epoch_of(w, 0, i), before[i]);
	}
	ck_assert_uint_gt(n, 0);
	w_no_leftovers(w);
	w_free(w);
}
END_TEST

/* The fence was ended in the midst of its work: the daemon does the rest. */
START_TEST(what_still_lives_is_stopped)
{
	struct world *w = w_new(2);
	struct w_def *room = w_def(w, "room", "1");
	room->traits.deaf = _i;
	w_declare(w, 0, room);
	w_start(w, 0);
	w_run(w, 10000);
	struct w_proc *old = w_only(w, "room", 0);
	(void)w_push(w, 0, PH_EV_FENCED);
	w_run(w, 20000);
	ck_assert(!old->alive);
	ck_assert_uint_eq(old->kills > 0, (unsigned)_i);
	(void)w_only(w, "room", 0);
	w_free(w);
}
END_TEST

/* It waited for its next start when the node went away: it may be another one's by now. */
START_TEST(a_back_off_that_ended_meanwhile)
{
	struct world *w = w_new(2);
	struct w_def *room = w_def(w, "room", "1");
	room->spec.instances = 8;
	room->spec.restart.delay_ms = 3000;
	w_declare_all(w, room);
	w_start_all(w);
	w_run(w, 10000);
	uint32_t instance = 0;
	while (w_only(w, "room", instance)->node != 1)
		instance++;
	uint64_t before = epoch_of(w, 1, instance);
	w_kill(w, w_only(w, "room", instance));
	w_run(w, 100);
	struct ph_instance *waits = w_slot(w, 1, "room", instance)->work->instance;
	ck_assert_int_eq(waits->state, PH_INSTANCE_BACKOFF);
	struct ph_hub *b = w->nodes[1].hub;
	w->nodes[1].hub = NULL;
	stop_unheard(w, 1);
	w_run(w, 30000);
	ck_assert_uint_eq(w_only(w, "room", instance)->node, 0);
	w->nodes[1].hub = b;
	if (_i)
		hear_of_it(w, 1);
	w_run(w, 30000);
	w_agree(w, "room", instance, 0);
	ck_assert_uint_eq(w_only(w, "room", instance)->node, 0);
	ck_assert_uint_gt(epoch_of(w, 0, instance), before);
	w_free(w);
}
END_TEST

/* When a process of that child was started there after that, or 0. */
static uint64_t started_ms(struct world *w, size_t n_before)
{
	for (uint64_t t = 0; t < 20000; t++) {
		if (w->n_procs > n_before)
			return w->now_ms;
		w_run(w, 1);
	}
	return 0;
}

/*
 * A daemon is killed at any moment between two heartbeats: its last one has renewed the lease of
 * its fence, which ends a deaf worker fence_after and fence_grace later. However short
 * failure_timeout is, nobody starts another one before.
 */
START_TEST(not_before_the_fence)
{
	static const uint64_t failure_ms[] = {500, 1000, 1500, 2000, 5000};
	for (uint64_t phase = 0; phase < 250; phase += 10) {
		struct world *w = w_new(2 + (unsigned)_i % 2);
		w->failure_ms = failure_ms[_i / 2];
		w->double_allowed = true; /* there is no fence in this world */
		w_declare_all(w, w_def(w, "room", "1"));
		w_start_all(w);
		w_run(w, 10000 + phase);
		struct w_proc *p = w_only(w, "room", 0);
		unsigned from = p->node;
		uint64_t beat_ms = w->nodes[from].hub->last_beat_ms;
		w_crash(w, from);
		uint64_t next_ms = started_ms(w, w->n_procs) - beat_ms;
		uint64_t fence_ms = w->failure_ms / 5 * 4;
		ck_assert_msg(next_ms > fence_ms + fence_ms / 20 + 200,
			"started %llu ms after the last heartbeat, which let the old one live "
			"for %llu ms",
			(unsigned long long)next_ms, (unsigned long long)fence_ms);
		ck_assert_msg(next_ms < w->failure_ms + 1300, "only after %llu ms",
			(unsigned long long)next_ms);
		w_free(w);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core_fence");
	W_TEST(suite, alone, 3);
	W_TEST(suite, others_are_there, 2);
	W_TEST(suite, what_still_lives_is_stopped, 2);
	W_TEST(suite, a_back_off_that_ended_meanwhile, 2);
	W_TEST(suite, not_before_the_fence, 10);
	return w_main(suite);
}
