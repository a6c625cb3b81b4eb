/* The life of one worker: every state × input, start, readiness, watchdog, stop. */
#include "core_world.h"
#include "core/instance.h"

/* ---- every state × input ---- */

static struct w_def *one(struct world *w)
{
	struct w_def *def = w_def(w, "room", "1");
	w_declare(w, 0, def);
	return def;
}

static void step(struct world *w, struct ph_instance *instance, enum ph_instance_input in)
{
	struct ph_actions actions;
	struct ph_hub *hub = w->nodes[0].hub;
	ph_out_begin(hub);
	ph_instance_step(hub, instance, in);
	ph_out_end(hub, &actions);
	for (size_t i = 0; i < actions.n; i++)
		w_act(w, 0, &actions.items[i]);
	w_rules_inside(hub);
}

static struct ph_instance *fresh(struct world *w)
{
	struct ph_hub *hub = w->nodes[0].hub;
	struct ph_key key = {.child = ph_name_of("room")};
	struct ph_slot *slot = ph_slot_get(hub, &key, NULL);
	ph_slot_work(hub, slot)->instance =
		ph_instance_new(hub, slot, &w->defs[0].spec, PH_ROLE_ACTIVE, 1 << 24);
	return slot->work->instance;
}

/* Each state as it comes about; what the shell has still to say waits in the queue. */
static struct ph_instance *reach(struct world *w, enum ph_instance_state state)
{
	struct w_def *def = &w->defs[0];
	def->traits.never_ready = state == PH_INSTANCE_STARTING;
	def->traits.deaf = state == PH_INSTANCE_STOPPING;
	def->spec.restart.delay_ms = state == PH_INSTANCE_BACKOFF ? 1000 : 0;
	def->spec.restart.intensity = state == PH_INSTANCE_FAILED ? 1 : 5;
	def->spec.after = state == PH_INSTANCE_HELD ? "db" : NULL; /* which nobody knows */
	struct ph_instance *i = fresh(w);
	if (state == PH_INSTANCE_WAITING)
		return i;
	if (state == PH_INSTANCE_STANDING)
		i->role = PH_ROLE_STANDBY;
	step(w, i, PH_INSTANCE_IN_START);
	if (state == PH_INSTANCE_SPAWNING || state == PH_INSTANCE_HELD)
		return i;
	w_drain(w);
	if (state == PH_INSTANCE_STANDING)
		step(w, i, PH_INSTANCE_IN_READY);
	else if (state == PH_INSTANCE_FROZEN)
		step(w, i, PH_INSTANCE_IN_FREEZE);
	else if (state == PH_INSTANCE_RETIRED)
		step(w, i, PH_INSTANCE_IN_RETIRE);
	else if (state == PH_INSTANCE_STOPPING || state == PH_INSTANCE_STOPPED)
		step(w, i, PH_INSTANCE_IN_STOP);
	else if (state == PH_INSTANCE_KILLING)
		step(w, i, PH_INSTANCE_IN_KILL);
	else if (state >= PH_INSTANCE_REAPING)
		w_kill(w, &w->procs[0]);
	if (state == PH_INSTANCE_REAPING)
		w_step(w, 0, &w->queue[w->head++].event);
	if (state == PH_INSTANCE_FAILED) {
		w_drain(w);
		w_kill(w, &w->procs[1]);
	}
	if (state >= PH_INSTANCE_BACKOFF)
		w_drain(w);
	return i;
}

START_TEST(every_pair_is_decided)
{
	for (int i = 0; i < PH_INSTANCE_INPUT_COUNT; i++)
		ck_assert_msg(
			ph_instance_decided((enum ph_instance_state)_i, (enum ph_instance_input)i),
			"state %d, input %d", _i, i);
}
END_TEST

/* It is the shell that says of a process that it is gone, and it says so once. */
static bool possible(enum ph_instance_state state, enum ph_instance_input in)
{
	bool gone = in == PH_INSTANCE_IN_EXITED || in == PH_INSTANCE_IN_GONE ||
		    in == PH_INSTANCE_IN_SPAWN_FAILED;
	bool runs = state >= PH_INSTANCE_STARTING && state <= PH_INSTANCE_KILLING;
	if (!gone)
		return true;
	return in == PH_INSTANCE_IN_EXITED ? runs
	       : in == PH_INSTANCE_IN_GONE
		       ? state == PH_INSTANCE_REAPING
		       : state == PH_INSTANCE_SPAWNING || state == PH_INSTANCE_KILLING;
}

/* What the shell says comes true first; what it cannot say now is shrugged off. */
static void give(struct world *w, struct ph_instance *instance, enum ph_instance_input in)
{
	enum ph_instance_state before = instance->state;
	bool can = possible(before, in);
	struct w_proc *p = instance->wid ? w_proc(w, 0, instance->wid) : NULL;
	bool ended = in == PH_INSTANCE_IN_EXITED || in == PH_INSTANCE_IN_SPAWN_FAILED;
	if (can && in == PH_INSTANCE_IN_GONE)
		w->head = w->tail = 0; /* it is the answer that waits there */
	if (can && p && ended) {
		w->head = w->tail = 0;
		p->alive = false;
		p->exited = true;
		p->reaped = in == PH_INSTANCE_IN_SPAWN_FAILED;
	}
	step(w, instance, in);
	if (!can)
		ck_assert_int_eq((int)instance->state, (int)before);
}

/* In the end it runs and is ready, or there is no process of it. */
START_TEST(every_pair_is_survived)
{
	for (int i = 0; i < PH_INSTANCE_INPUT_COUNT; i++) {
		enum ph_instance_input in = (enum ph_instance_input)i;
		struct world *w = w_new(1);
		(void)w_def(w, "room", "1");
		w_start(w, 0);
		struct ph_instance *instance = reach(w, (enum ph_instance_state)_i);
		w_trace_if(w, _i * 100 + i);
		ck_assert_int_eq((int)instance->state, _i);
		give(w, instance, in);
		w->defs[0].traits.never_ready = w->defs[0].traits.deaf = false;
		w_run(w, 400000);
		w_rules_inside(w->nodes[0].hub);
		for (size_t k = 0; k < w->n_procs; k++)
			ck_assert(!w->procs[k].exited || w->procs[k].reaped);
		ck_assert_uint_le(w_alive(w, 0), 1);
		w_free(w);
	}
}
END_TEST

/* ---- start and readiness ---- */

START_TEST(ready_as_the_child_declares)
{
	struct world *w = w_new(1);
	struct w_def *def = one(w);
	def->spec.ready = (enum ph_ready_kind)_i;
	def->traits.protocol = _i == PH_READY_PROTOCOL;
	def->traits.notify = _i == PH_READY_NOTIFY;
	w_start_all(w);
	ck_assert_int_eq(w_slot(w, 0, "room", 0)->entry.state, PH_CHILD_RUNNING);
	ck_assert(w_slot(w, 0, "room", 0)->entry.ready);
	ck_assert_uint_eq(w->nodes[0].emitted[PH_EMIT_CHILD_STARTING], 1);
	ck_assert_uint_eq(w->nodes[0].emitted[PH_EMIT_CHILD_READY], 1);
	ck_assert_uint_eq(w->n_procs, 1);
	w_free(w);
}
END_TEST

/* A protocol worker of a child with `ready: notify` is ready by the datagram alone. */
START_TEST(not_ready_is_killed_in_time)
{
	struct world *w = w_new(1);
	struct w_def *def = one(w);
	def->spec.ready = _i ? PH_READY_NOTIFY : PH_READY_PROTOCOL;
	def->traits.never_ready = true;
	w_start_all(w);
	w_run(w, 5900);
	ck_assert_uint_eq(w->procs[0].kills, 0);
	ck_assert_int_eq(w_slot(w, 0, "room", 0)->entry.state, PH_CHILD_STARTING);
	w_run(w, 200);
	ck_assert_uint_eq(w->procs[0].kills, 1);
	ck_assert_uint_eq(w->n_procs, 2);
	ck_assert_str_eq(
		w->nodes[0].again_text, "it was not ready within its start_timeout of 10000 ms");
	w_free(w);
}
END_TEST

START_TEST(extended_start)
{
	struct world *w = w_new(1);
	struct w_def *def = one(w);
	static const struct ph_notify more = {.extend_ms = 20000};
	def->spec.ready = PH_READY_NOTIFY;
	def->traits = (struct w_traits){.notify = true, .never_ready = true};
	w_start_all(w);
	struct ph_event *event = w_push(w, 0, PH_EV_NOTIFIED);
	event->wid = w->procs[0].wid;
	event->notify = &more;
	w_run(w, 19900);
	ck_assert_uint_eq(w->procs[0].kills, 0);
	w_run(w, 200);
	ck_assert_uint_eq(w->procs[0].kills, 1);
	w_free(w);
}
END_TEST

static void notify(struct world *w, const struct ph_notify *n)
{
	struct ph_event *event = w_push(w, 0, PH_EV_NOTIFIED);
	event->wid = w->procs[0].wid;
	event->notify = n;
	w_drain(w);
}

START_TEST(an_extension_never_shortens)
{
	struct world *w = w_new(1);
	struct w_def *def = one(w);
	static const struct ph_notify less = {.extend_ms = 10};
	def->spec.ready = PH_READY_NOTIFY;
	def->traits = (struct w_traits){.notify = true, .never_ready = true};
	w_start_all(w);
	notify(w, &less);
	w_run(w, 5900);
	ck_assert_uint_eq(w->procs[0].kills, 0);
	w_run(w, 200);
	ck_assert_uint_eq(w->procs[0].kills, 1);
	w_free(w);
}
END_TEST

START_TEST(extended_stop)
{
	struct world *w = w_new(1);
	struct w_def *def = one(w);
	static const struct ph_notify more = {.extend_ms = 20000}, less = {.extend_ms = 10};
	def->traits.deaf = true;
	w_start_all(w);
	struct ph_instance *instance = w_slot(w, 0, "room", 0)->work->instance;
	step(w, instance, PH_INSTANCE_IN_STOP);
	w_run(w, 10);
	notify(w, &more);
	notify(w, &less);
	w_run(w, 19900);
	ck_assert_uint_eq(w->procs[0].kills, 0);
	w_run(w, 200);
	ck_assert_uint_eq(w->procs[0].kills, 1);
	w_free(w);
}
END_TEST

/* Killed at once, with and without the option watchdog, and started again. */
START_TEST(triggered_watchdog)
{
	struct world *w = w_new(1);
	struct w_def *def = one(w);
	static const struct ph_notify broken = {.trigger = true};
	def->spec.watchdog_ms = _i ? 60000 : 0;
	w_start_all(w);
	notify(w, &broken);
	ck_assert_uint_eq(w->procs[0].kills, 1);
	w_run(w, 5000);
	ck_assert_uint_eq(w->n_procs, 2);
	ck_assert_int_eq(w_slot(w, 0, "room", 0)->entry.state, PH_CHILD_RUNNING);
	ck_assert_str_eq(w->nodes[0].again_text, "it says WATCHDOG=trigger");
	w_free(w);
}
END_TEST

START_TEST(another_main_process)
{
	struct world *w = w_new(1);
	(void)one(w);
	static const struct ph_notify named = {.main_pid = 4711};
	w_start_all(w);
	notify(w, &named);
	ck_assert_uint_eq(w_slot(w, 0, "room", 0)->entry.pid, 4711);
	w_free(w);
}
END_TEST

START_TEST(watchdog)
{
	struct world *w = w_new(1);
	struct w_def *def = one(w);
	static const struct ph_notify sign = {.watchdog = true};
	def->spec.watchdog_ms = 1000;
	def->spec.restart.intensity = 0;
	def->spec.restart.backoff_ms = def->spec.restart.backoff_max_ms = 1;
	w_start(w, 0);
	w_run(w, 999);
	ck_assert_uint_eq(w->procs[0].kills, 0);
	w_run(w, 1);
	ck_assert_uint_eq(w->procs[0].kills, 1);
	struct w_proc *p = w_only(w, "room", 0);
	for (int i = 0; i < 20; i++) {
		if (_i)
			(void)w_say(w, p, PH_W_WATCHDOG);
		struct ph_event *event = w_push(w, 0, _i ? PH_EV_TICK : PH_EV_NOTIFIED);
		event->wid = p->wid;
		event->notify = &sign;
		w_run(w, 900);
		ck_assert_uint_eq(p->kills, 0);
	}
	w_run(w, 1000);
	ck_assert_uint_eq(p->kills, 1);
	ck_assert_str_eq(
		w->nodes[0].again_text, "it gave no sign of life within its watchdog time");
	w_free(w);
}
END_TEST

START_TEST(a_worker_that_cannot_be_spawned)
{
	struct world *w = w_new(1);
	(void)one(w);
	w_start(w, 0);
	ck_assert_uint_eq(w->n_procs, 1);
	w_kill(w, &w->procs[0]);
	struct ph_instance *instance = w_slot(w, 0, "room", 0)->work->instance;
	w_drain(w);
	ck_assert_ptr_eq(w_slot(w, 0, "room", 0)->work->instance, instance);
	ck_assert_uint_eq(w->n_procs, 2);
	w_free(w);
}
END_TEST

/* ---- stop: asked, signalled at half of the grace, killed after it ---- */

START_TEST(stop_by_grace)
{
	struct world *w = w_new(1);
	struct w_def *def = one(w);
	bool protocol = _i & 1, deaf = _i & 2;
	def->traits.deaf = deaf;
	if (!protocol) {
		def->spec.ready = PH_READY_NONE;
		def->traits = (struct w_traits){.deaf = deaf};
	}
	w_start_all(w);
	struct w_proc *p = w_only(w, "room", 0);
	w_order(w, 0, PH_VERB_STOP, "room", NULL, NULL);
	w_run(w, 0);
	ck_assert_uint_eq(p->stops, protocol);
	ck_assert_uint_eq(p->terms, !protocol);
	ck_assert(p->alive == deaf);
	w_run(w, 2499);
	ck_assert_uint_eq(p->terms, !protocol);
	w_run(w, 1);
	ck_assert_uint_eq(p->terms, deaf || !protocol);
	w_run(w, 2499);
	ck_assert_uint_eq(p->kills, 0);
	w_run(w, 1);
	ck_assert_uint_eq(p->kills, deaf);
	w_run(w, 100);
	ck_assert(p->reaped);
	ck_assert_int_eq(w_slot(w, 0, "room", 0)->entry.state, PH_CHILD_STOPPED);
	ck_assert_uint_eq(w->nodes[0].answers, 1);
	ck_assert_int_eq(w->nodes[0].answer.error, 0);
	w_run(w, 600000);
	ck_assert_uint_eq(w->n_procs, 1);
	w_free(w);
}
END_TEST

/* `after` and meta follow the process, not the child. */
START_TEST(meta_is_published)
{
	struct world *w = w_new(1);
	(void)one(w);
	w_start_all(w);
	struct w_proc *p = w_only(w, "room", 0);
	ck_assert_str_eq(w_slot(w, 0, "room", 0)->work->meta, "{\"port\":1}");
	w_say(w, p, PH_W_META)->meta = "{\"port\":2}";
	w_drain(w);
	ck_assert_str_eq(w_slot(w, 0, "room", 0)->work->meta, "{\"port\":2}");
	p->def->traits.never_ready = true;
	w_kill(w, p);
	w_run(w, 100);
	ck_assert_ptr_null(w_slot(w, 0, "room", 0)->work->meta);
	w_free(w);
}
END_TEST

/* A second hello on a new connection is welcome; nothing of it is a restart. */
START_TEST(a_worker_reconnects)
{
	struct world *w = w_new(1);
	(void)one(w);
	w_start_all(w);
	struct w_proc *p = w_only(w, "room", 0);
	w_hang_up(w, p);
	w_drain(w);
	w_hello(w, p);
	w_run(w, 1000);
	ck_assert_uint_eq(p->welcomes, 2);
	ck_assert_ptr_eq(w_only(w, "room", 0), p);
	w_free(w);
}
END_TEST

/* The daemon is killed and comes back: the same processes, none doubled. */
START_TEST(adoption)
{
	struct world *w = w_new(1);
	struct w_def *def = one(w);
	def->spec.instances = 3;
	if (_i)
		def->traits.never_ready = true;
	w_start_all(w);
	w_crash(w, 0);
	w_run(w, 100);
	def->traits.never_ready = false;
	w_start(w, 0);
	w_run(w, _i ? 500 : 5000);
	ck_assert_uint_eq(w->n_procs, 3);
	for (uint32_t i = 0; i < 3; i++)
		ck_assert(w_slot(w, 0, "room", i)->work->instance->pid == w->procs[i].pid ||
			  w_slot(w, 0, "room", i)->work->instance->pid != 0);
	ck_assert_uint_eq(w_alive(w, 0), 3);
	w_free(w);
}
END_TEST

/* What it may have said to nobody (1) is believed; after an upgrade (0) nothing can have been. */
START_TEST(adoption_of_one_that_starts)
{
	struct world *w = w_new(1);
	struct w_def *def = one(w);
	def->traits = (struct w_traits){.notify = true, .never_ready = true};
	def->spec.ready = PH_READY_NOTIFY;
	w_start_all(w);
	w_crash(w, 0);
	w->nodes[0].adopted[0].unheard = _i;
	w_start(w, 0);
	w_run(w, 9000);
	ck_assert_int_eq(w_slot(w, 0, "room", 0)->work->instance->state, PH_INSTANCE_STARTING);
	w_run(w, 1000);
	ck_assert_uint_eq(w->procs[0].kills, !_i);
	ck_assert_int_eq(w_slot(w, 0, "room", 0)->work->instance->state,
		_i ? PH_INSTANCE_RUNNING : PH_INSTANCE_STARTING);
	w_free(w);
}
END_TEST

/* The daemon died before it saw that the start had succeeded: where that makes it ready, it is. */
START_TEST(adoption_of_a_fresh_one)
{
	struct world *w = w_new(1);
	struct w_def *def = one(w);
	def->spec.ready = PH_READY_NONE;
	w_start_all(w);
	w_crash(w, 0);
	w->nodes[0].adopted[0].ready = false;
	w_start(w, 0);
	ck_assert_int_eq(w_slot(w, 0, "room", 0)->work->instance->state, PH_INSTANCE_RUNNING);
	w_run(w, 60000);
	ck_assert_uint_eq(w->n_procs, 1);
	ck_assert_uint_eq(w_alive(w, 0), 1);
	w_free(w);
}
END_TEST

/* A daemon is killed when a child's policy has no more for it: the next one starts it only where it
 * is told to, and knows how it had ended. */
START_TEST(what_is_done_stays_done)
{
	struct world *w = w_new(1);
	struct w_def *def = one(w);
	def->spec.restart.policy = _i ? PH_RESTART_PERMANENT : PH_RESTART_TEMPORARY;
	def->spec.restart.intensity = 1;
	def->spec.restart.on_limit = PH_LIMIT_FAIL;
	w_start_all(w);
	for (int i = 0; i <= _i; i++) {
		w_exit(w, w_only(w, "room", 0), PH_EXIT_CODE, 4);
		w_run(w, 1000);
	}
	enum ph_instance_state state = _i ? PH_INSTANCE_FAILED : PH_INSTANCE_STOPPED;
	ck_assert_int_eq(w_slot(w, 0, "room", 0)->work->instance->state, state);
	size_t started = w->n_procs;
	for (int again = 0; again < 2; again++) {
		w_crash(w, 0);
		w_run(w, 100);
		w_start(w, 0);
		w_run(w, 10000);
	}
	const struct ph_instance *instance = w_slot(w, 0, "room", 0)->work->instance;
	ck_assert_uint_eq(w->n_procs, started);
	ck_assert_int_eq(instance->state, state);
	ck_assert_int_eq(instance->exit.kind, PH_EXIT_CODE);
	ck_assert_uint_eq(instance->exit.value, 4);
	w_order(w, 0, PH_VERB_START, "room", NULL, NULL);
	w_run(w, 1000);
	ck_assert_uint_eq(w_alive(w, 0), 1);
	w_free(w);
}
END_TEST

/* Of the state that it is in, and was in before its daemon was killed: runs, is done, has failed.
 */
START_TEST(it_is_so_since_then)
{
	struct world *w = w_new(1);
	struct w_def *def = one(w);
	def->spec.restart.policy = _i == 1 ? PH_RESTART_TEMPORARY : PH_RESTART_PERMANENT;
	def->spec.restart.intensity = 1;
	def->spec.restart.on_limit = PH_LIMIT_FAIL;
	w_start_all(w);
	w_run(w, 700);
	for (int i = 0; i < _i; i++) {
		w_exit(w, w_only(w, "room", 0), PH_EXIT_CODE, 4);
		w_run(w, 1000);
	}
	uint64_t since_ms = w_slot(w, 0, "room", 0)->since_ms;
	for (int again = 0; again < 2; again++) {
		w_crash(w, 0);
		w_run(w, 100);
		w_start(w, 0);
		w_run(w, 3000);
		ck_assert_uint_eq(w_slot(w, 0, "room", 0)->since_ms, since_ms);
	}
	w_crash(w, 0);
	w->nodes[0].adopted[0].since_ms = w->now_ms + 1000; /* by another clock */
	w_start(w, 0);
	ck_assert_uint_eq(w_slot(w, 0, "room", 0)->since_ms, w->now_ms);
	w_free(w);
}
END_TEST

/* It is killed while the rest of that process's group is being ended: that it has ended for good
 * (0, 1) is known all the same. */
START_TEST(what_is_ending_is_done)
{
	static const enum ph_restart_policy policies[] = {
		PH_RESTART_TEMPORARY, PH_RESTART_TRANSIENT, PH_RESTART_PERMANENT};
	struct world *w = w_new(2);
	struct w_def *def = one(w);
	struct w_node *n = &w->nodes[0];
	void *arg[2] = {w, n};
	def->spec.nodes = "a";
	def->spec.restart.policy = policies[_i];
	w_start_all(w);
	w_run(w, 8000);
	struct ph_instance **instance = &ph_slot_work(n->hub, w_slot(w, 0, "room", 0))->instance;
	ck_assert_ptr_nonnull(*instance);
	w_exit(w, w_only(w, "room", 0), PH_EXIT_CODE, 0);
	while ((*instance)->state != PH_INSTANCE_REAPING)
		w_step(w, w->queue[w->head].node, &w->queue[w->head].event), w->head++;
	n->n_adopted = 0; /* the worker is none any more */
	ph_hub_done(n->hub, w_note_done, arg);
	ck_assert_uint_eq(n->n_adopted, _i < 2);
	n->stale = true;
	w_crash(w, 0);
	w_start(w, 0);
	w_run(w, 10000);
	ck_assert_uint_eq(w->n_procs, _i < 2 ? 1 : 2);
	w_free(w);
}
END_TEST

/* Another text may come between any two events of a start: it is the one that runs in the end. */
START_TEST(another_text_while_it_starts)
{
	struct world *w = w_new(1);
	struct w_def *before = one(w), *after = w_def(w, "room", "2");
	before->traits.protocol = after->traits.protocol = false;
	before->spec.ready = after->spec.ready = PH_READY_NONE;
	w_start(w, 0);
	w_run(w, 1000);
	w_kill(w, w_only(w, "room", 0));
	for (int i = 0; i < _i && w->head < w->tail; i++)
		w_step(w, 0, &w->queue[w->head++].event);
	w->nodes[0].specs[0] = after;
	w_configure(w, 0);
	w_step(w, 0, &w->queue[--w->tail].event); /* before what waits there */
	w_run(w, 100);
	ck_assert_str_eq(w_only(w, "room", 0)->def->text, after->text);
	w_free(w);
}
END_TEST

START_TEST(shutdown_stops_all)
{
	struct world *w = w_new(1);
	struct w_def *def = one(w);
	def->spec.instances = 3;
	def->traits.deaf = _i;
	w_start_all(w);
	(void)w_push(w, 0, PH_EV_SHUTDOWN);
	w_run(w, 6000);
	ck_assert(w->nodes[0].exited);
	ck_assert_uint_eq(w_alive(w, 0), 0);
	w_free(w);
}
END_TEST

/* All that is left is looked at once a moment, not after each of the many ends of that moment. */
START_TEST(shutdown_of_many)
{
	struct world *w = w_new(1);
	one(w)->spec.instances = 100;
	w_start(w, 0);
	w_run(w, 1000);
	ck_assert_uint_eq(w_alive(w, 0), 100);
	struct ph_child *child = w->nodes[0].hub->children;
	unsigned looks = 0, steps = 0;
	(void)w_push(w, 0, PH_EV_SHUTDOWN);
	for (; w->nodes[0].hub && w->head < w->tail; steps++) {
		child->leaned_on = true; /* a look finds that it is not */
		w_step(w, 0, &w->queue[w->head++].event);
		looks += w->nodes[0].hub && !child->leaned_on;
	}
	ck_assert_uint_gt(steps, 200);
	ck_assert_uint_le(looks, 2);
	w_run(w, 10);
	ck_assert(w->nodes[0].exited);
	w_free(w);
}
END_TEST

/* Its process has ended, the rest of its group not yet: it is not on its way back where an operator
 * has stopped it. */
START_TEST(what_is_left_of_it_is_ended)
{
	struct ph_instance instance = {.state = PH_INSTANCE_REAPING};
	ck_assert_int_eq(ph_instance_shown(&instance), PH_CHILD_BACKOFF);
	instance.after = PH_AFTER_STOPPED;
	ck_assert_int_eq(ph_instance_shown(&instance), PH_CHILD_STOPPING);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core_instance");
	W_TEST(suite, every_pair_is_decided, PH_INSTANCE_STATE_COUNT);
	W_TEST(suite, every_pair_is_survived, PH_INSTANCE_STATE_COUNT);
	W_TEST(suite, ready_as_the_child_declares, 3);
	W_TEST(suite, not_ready_is_killed_in_time, 2);
	W_TEST(suite, extended_start, 1);
	W_TEST(suite, an_extension_never_shortens, 1);
	W_TEST(suite, extended_stop, 1);
	W_TEST(suite, triggered_watchdog, 2);
	W_TEST(suite, another_main_process, 1);
	W_TEST(suite, watchdog, 2);
	W_TEST(suite, a_worker_that_cannot_be_spawned, 1);
	W_TEST(suite, stop_by_grace, 4);
	W_TEST(suite, what_is_left_of_it_is_ended, 1);
	W_TEST(suite, meta_is_published, 1);
	W_TEST(suite, a_worker_reconnects, 1);
	W_TEST(suite, adoption, 2);
	W_TEST(suite, adoption_of_one_that_starts, 2);
	W_TEST(suite, adoption_of_a_fresh_one, 1);
	W_TEST(suite, what_is_done_stays_done, 2);
	W_TEST(suite, it_is_so_since_then, 3);
	W_TEST(suite, what_is_ending_is_done, 3);
	W_TEST(suite, another_text_while_it_starts, 5);
	W_TEST(suite, shutdown_stops_all, 2);
	W_TEST(suite, shutdown_of_many, 1);
	return w_main(suite);
}
