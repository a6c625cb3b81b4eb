/*
 * A node whose loop stood still, whose machine slept, whose clock jumped, or whose bus was gone:
 * it accuses nobody and vouches for nobody, and it catches up before it decides anything.
 */
#include "core_puppet.h"

#define HOUR_MS 3600000u

static unsigned accusations(const struct world *w, unsigned node)
{
	return w->nodes[node].emitted[PH_EMIT_NODE_SUSPECT] +
	       w->nodes[node].emitted[PH_EMIT_NODE_DEAD];
}

static bool is_stale(struct world *w, unsigned node)
{
	return ph_hub_stale(w->nodes[node].hub, w->now_ms + w->ahead_ms[node]);
}

static void wake(struct world *w, unsigned node, bool by_message)
{
	struct ph_event event = {.kind = PH_EV_TICK};
	struct ph_bmsg msg = {.kind = PH_B_PREPARE, .from = w_name(0), .incarnation = 1};
	if (by_message)
		event = (struct ph_event){.kind = PH_EV_MESSAGE, .message = &msg};
	w_step(w, node, &event);
}

/* a, b and c, with six children that each could have. */
static struct world *three(enum ph_partition partition)
{
	struct world *w = w_new(3);
	struct w_def *def = w_def(w, "room", "1");
	w->partition = partition;
	def->spec.instances = 6;
	w_declare_all(w, def);
	w_start_all(w);
	w_run(w, 12000);
	w_no_leftovers(w);
	ck_assert_uint_gt(w_alive(w, 1), 0);
	return w;
}

/* What the fence does while the daemon sleeps. */
static void fence(struct world *w, unsigned node)
{
	for (size_t i = 0; i < w->n_procs; i++)
		if (w->procs[i].node == node && w->procs[i].alive) {
			w->procs[i].alive = w->procs[i].connected = false;
			w->procs[i].exited = true;
		}
}

static void hear_of_exits(struct world *w, unsigned node)
{
	for (size_t i = 0; i < w->n_procs; i++) {
		if (w->procs[i].node != node || !w->procs[i].exited || w->procs[i].reaped)
			continue;
		struct ph_event *event = w_push(w, node, PH_EV_EXITED);
		event->wid = w->procs[i].wid;
		event->exit = (struct ph_exit){.kind = PH_EXIT_SIGNAL, .value = 9};
	}
}

/* Nobody's part of the registry comes to b. */
static bool not_in_step(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)w, (void)from;
	return to != 1 || msg->kind != PH_B_REGISTRY;
}

/*
 * An hour later, whatever it hears of first: the others have long taken over what it had; it blames
 * none of them, and starts nothing before it knows.
 */
START_TEST(a_machine_that_slept)
{
	struct world *w = three(_i / 2 ? PH_PARTITION_MAJORITY : PH_PARTITION_DIVERGENCE);
	struct ph_hub *b = w->nodes[1].hub;
	unsigned before = accusations(w, 1);
	w->nodes[1].hub = NULL;
	fence(w, 1);
	w_run(w, HOUR_MS);
	ck_assert_int_eq(w_member(w, 0, 1)->state, PH_MEMBER_DEAD);
	size_t n_procs = w->n_procs;
	w->nodes[1].hub = b;
	ck_assert(is_stale(w, 1)); /* also before it is told the time */
	wake(w, 1, _i % 2);
	ck_assert(b->away);
	ck_assert(is_stale(w, 1));
	(void)w_push(w, 1, PH_EV_FENCED);
	hear_of_exits(w, 1);
	w->pass = not_in_step;
	w_run(w, 3000);
	ck_assert_uint_eq(w->n_procs, n_procs);
	ck_assert_uint_lt(ph_member_echo_told(b, w_member(w, 1, 0)), 1000);
	ck_assert(is_stale(w, 1)); /* heard, and not in step yet */
	w->pass = NULL;
	w_run(w, 30000);
	ck_assert(!b->away);
	ck_assert(!is_stale(w, 1));
	ck_assert_uint_eq(accusations(w, 1), before);
	ck_assert_int_eq(w_member(w, 0, 1)->state, PH_MEMBER_ALIVE);
	for (uint32_t i = 0; i < 6; i++)
		w_agree(w, "room", i, w_only(w, "room", i)->node);
	w_free(w);
}
END_TEST

/* Its clock alone jumps, by an hour: the others have seen nothing, and nothing is to be seen. */
START_TEST(a_clock_that_jumps)
{
	struct world *w = three(_i ? PH_PARTITION_MAJORITY : PH_PARTITION_DIVERGENCE);
	size_t n_procs = w->n_procs;
	unsigned before[3];
	for (unsigned i = 0; i < 3; i++)
		before[i] = accusations(w, i);
	for (unsigned times = 0; times < 3; times++) {
		w->ahead_ms[1] += HOUR_MS;
		w_run(w, 20000);
	}
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_uint_eq(accusations(w, i), before[i]);
		ck_assert(!is_stale(w, i) && !w->nodes[i].hub->away);
	}
	for (uint32_t i = 0; i < 6; i++)
		w_agree(w, "room", i, w_only(w, "room", i)->node);
	if (!_i) /* no lease was over */
		ck_assert_uint_eq(w->n_procs, n_procs);
	w_free(w);
}
END_TEST

/*
 * c is gone; b's loop or bus stands still for a moment just before that is long enough. What b
 * forgives c it does not tell a, for which c is dead in time.
 */
START_TEST(who_forgives_does_not_vouch)
{
	struct world *w = w_new(3);
	w_start_all(w);
	w_power_off(w, 2);
	uint64_t gone_ms = w->now_ms;
	w_run(w, 4000);
	struct ph_hub *b = w->nodes[1].hub;
	if (_i) {
		(void)w_push(w, 1, PH_EV_BUS_DOWN);
		w_run(w, 500);
		(void)w_push(w, 1, PH_EV_BUS_UP);
	} else {
		w->nodes[1].hub = NULL;
		w_run(w, 1500);
		w->nodes[1].hub = b;
		wake(w, 1, false);
	}
	w_run(w, 50);
	ck_assert_uint_lt(ph_member_echo_age(b, w_member(w, 1, 2)), 1000);
	ck_assert_uint_ge(ph_member_echo_told(b, w_member(w, 1, 2)), 4000);
	while (w_member(w, 0, 2)->state != PH_MEMBER_DEAD)
		w_run(w, 10);
	ck_assert_uint_le(w->now_ms - gone_ms, 6000);
	/* and b follows, once its own patience is over */
	w_run(w, 6000);
	ck_assert_int_eq(w_member(w, 1, 2)->state, PH_MEMBER_DEAD);
	ck_assert_uint_eq(w->nodes[0].emitted[PH_EMIT_NODE_DEAD], 1);
	w_free(w);
}
END_TEST

/* Of one that has never echoed it nobody says when it last did. */
START_TEST(who_never_heard_it_does_not_vouch)
{
	struct world *w = p_world(w_room, true);
	ck_assert_uint_eq(ph_member_echo_told(w->nodes[0].hub, w_member(w, 0, 1)), PH_NEVER_MS);
	w_free(w);
}
END_TEST

/* ---- what is due ---- */

/* b's handover to a stands still beside b's loop: the deadline has passed, the answers are here. */
START_TEST(no_deadline_before_it_has_caught_up)
{
	struct world *w = p_world(w_room, true);
	struct ph_hub *hub = w->nodes[0].hub;
	w->mute = NULL;
	w->nodes[0].manual_disk = false;
	w_order(w, 0, PH_VERB_MOVE, "room", "b", NULL);
	w_run(w, 100);
	ck_assert_ptr_nonnull(hub->sources);
	enum ph_source_state before = hub->sources->state;
	ck_assert_uint_ne(hub->sources->timer.pos, 0);
	w->now_ms = hub->sources->timer.at_ms + (_i ? 20000 : 1000);
	uint64_t woke_ms = w->now_ms;
	wake(w, 0, false);
	ck_assert_int_eq(hub->away, _i);
	ck_assert_ptr_nonnull(hub->sources);
	ck_assert_int_eq(hub->sources->state, before);
	ck_assert_uint_eq(hub->sources->timer.at_ms, woke_ms + 250);
	if (_i) { /* nobody answers: until they are held for dead */
		w_run(w, 4500);
		ck_assert(hub->away);
		ck_assert_ptr_nonnull(hub->sources);
		ck_assert_int_eq(hub->sources->state, before);
		ck_assert_uint_gt(hub->plan.at_ms, w->now_ms);
	}
	w_run(w, _i ? 2000 : 300);
	if (_i) /* it is alone, and goes on as such */
		ck_assert(!hub->away && (!hub->sources || hub->sources->state != before));
	else
		ck_assert_uint_ne(hub->sources->timer.at_ms, woke_ms + 250);
	w_free(w);
}
END_TEST

/* A worker was ready in time, and alive: its word waits in a socket while the loop stands still. */
START_TEST(a_worker_is_heard_before_it_is_judged)
{
	struct world *w = w_new(1);
	struct w_def *def = w_def(w, "room", "1");
	int says = _i % 3; /* READY, a sign of life, nothing */
	static const uint64_t late_ms[] = {15000, 700, 5};
	def->traits.never_ready = says == 0;
	def->spec.watchdog_ms = says ? 2000 : 0;
	w_declare(w, 0, def);
	w_start(w, 0);
	w_run(w, 1000);
	struct w_proc *p = &w->procs[0];
	ck_assert(p->alive);
	w->now_ms = w_slot(w, 0, "room", 0)->work->instance->timer.at_ms + late_ms[_i / 3];
	uint64_t woke_ms = w->now_ms;
	wake(w, 0, false);
	w_drain(w);
	ck_assert_uint_eq(p->terms + p->kills + p->stops, 0);
	struct ph_wmsg said = {.op = says ? PH_W_WATCHDOG : PH_W_READY};
	if (says < 2) {
		w_push(w, 0, PH_EV_WORKER)->wid = p->wid;
		w->queue[w->tail - 1].event.worker = &said;
		w_run(w, 1500);
		ck_assert_uint_eq(p->terms + p->kills + p->stops, 0);
		ck_assert_int_eq(
			w_slot(w, 0, "room", 0)->work->instance->state, PH_INSTANCE_RUNNING);
		ck_assert_uint_eq(w->n_procs, 1);
		/* each time that it has said something in between */
		w->now_ms += says ? 2000 - 1500 + late_ms[_i / 3] : 0;
		wake(w, 0, false);
		ck_assert_uint_eq(p->terms + p->kills + p->stops, 0);
	} else { /* it had said nothing: a moment later it is judged all the same */
		while (!(p->terms + p->kills + p->stops)) {
			w_run(w, 10);
			ck_assert_uint_lt(w->now_ms, woke_ms + 600);
		}
	}
	w_free(w);
}
END_TEST

/* One that has given no sign of life, and says other things all the time: that is none. */
START_TEST(a_worker_that_only_talks)
{
	struct world *w = w_new(1);
	struct w_def *def = w_def(w, "room", "1");
	static const uint64_t late_ms[] = {15000, 700, 5};
	struct ph_wmsg says = {.op = PH_W_STATUS, .text = "busy"};
	def->spec.watchdog_ms = 2000;
	w_declare(w, 0, def);
	w_start(w, 0);
	w_run(w, 1000);
	struct w_proc *p = &w->procs[0];
	w->now_ms = w_slot(w, 0, "room", 0)->work->instance->timer.at_ms + late_ms[_i];
	for (int i = 0; i < 100 && !(p->terms + p->kills + p->stops); i++) {
		w_push(w, 0, PH_EV_WORKER)->wid = p->wid;
		w->queue[w->tail - 1].event.worker = &says;
		w_run(w, 20);
	}
	ck_assert_uint_ne(p->terms + p->kills + p->stops, 0);
	w_free(w);
}
END_TEST

/* What asks for a decision is repeated: it is taken when this node knows again what is. */
START_TEST(no_message_before_it_has_caught_up)
{
	struct world *w = p_world(w_room, false);
	struct ph_hub *hub = w->nodes[0].hub;
	w->mute = NULL;
	w->nodes[0].manual_disk = false;
	w->now_ms += _i ? 20000 : 100;
	struct w_def *def = &w->defs[0];
	struct ph_spec_line *line = w_alloc(w, sizeof *line);
	*line = (struct ph_spec_line){
		.child = ph_name_of("room"), .revision = 7, .text = def->text, .spec = &def->spec};
	struct ph_bmsg *msg = p_msg(w, 1, PH_B_PREPARE);
	msg->id.b[0] = 1;
	msg->key.child = ph_name_of("room");
	msg->epoch = ph_epoch_make(5, 2);
	msg->specs = line;
	msg->n_specs = 1;
	w_drain(w);
	ck_assert_int_eq(hub->away, _i);
	ck_assert_int_eq(HASH_COUNT(hub->targets), !_i);
	w_free(w);
}
END_TEST

/* Nobody was silent while it could not hear: a claim waits for answers as long as it would have. */
START_TEST(a_claim_waits_for_what_it_could_not_hear)
{
	struct world *w = p_world(w_room, false);
	struct ph_hub *hub = w->nodes[0].hub;
	w->mute = NULL;
	w->nodes[0].manual_disk = false;
	w->defs[0].spec.instances = 9; /* some of them are a's by placement */
	w_declare(w, 0, &w->defs[0]);
	w_configure(w, 0);
	w_drain(w);
	uint64_t begin_ms = w->now_ms;
	while (!hub->claims || !hub->claims->number) {
		w_run(w, 10);
		ck_assert_uint_lt(w->now_ms, begin_ms + 3000);
	}
	uint64_t asked_ms = hub->claims->asked_ms;
	w_run(w, 2300);
	if (_i) {
		(void)w_push(w, 0, PH_EV_BUS_DOWN);
		w_run(w, 3000);
		(void)w_push(w, 0, PH_EV_BUS_UP);
		w_drain(w);
	} else {
		w->now_ms += 3000;
		wake(w, 0, false);
	}
	ck_assert(!hub->away && hub->claims);
	while (!w->n_procs) {
		w_run(w, 10);
		ck_assert_uint_lt(w->now_ms, asked_ms + 9000);
	}
	ck_assert_uint_ge(w->now_ms, asked_ms + 8000);
	w_free(w);
}
END_TEST

/* ---- the bus ---- */

/*
 * For longer than a death takes, or not; or for not so long, after a while in which nobody was
 * heard: nobody is blamed for what this node could not hear, and what is forgiven is not heard.
 */
START_TEST(a_bus_that_was_gone)
{
	struct world *w = w_new(2);
	w_start_all(w);
	struct ph_hub *a = w->nodes[0].hub;
	w_cut(w, 0, 1, true);
	w_run(w, _i == 2 ? 2000 : 0);
	unsigned before = accusations(w, 0);
	(void)w_push(w, 0, PH_EV_BUS_DOWN);
	w_run(w, _i == 1 ? 20000 : 4000);
	ck_assert_int_eq(is_stale(w, 0), _i != 0);
	w_cut(w, 0, 1, false);
	(void)w_push(w, 0, PH_EV_BUS_UP);
	w_drain(w);
	ck_assert_int_eq(a->away, _i == 1);
	ck_assert_int_eq(is_stale(w, 0), _i != 0);
	w_run(w, 3000);
	ck_assert(!a->away && !is_stale(w, 0));
	ck_assert_uint_eq(accusations(w, 0), before);
	w_free(w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core_away");
	W_TEST(suite, a_machine_that_slept, 4);
	W_TEST(suite, a_clock_that_jumps, 2);
	W_TEST(suite, who_forgives_does_not_vouch, 2);
	W_TEST(suite, who_never_heard_it_does_not_vouch, 1);
	W_TEST(suite, no_deadline_before_it_has_caught_up, 2);
	W_TEST(suite, a_worker_is_heard_before_it_is_judged, 9);
	W_TEST(suite, a_worker_that_only_talks, 3);
	W_TEST(suite, no_message_before_it_has_caught_up, 2);
	W_TEST(suite, a_claim_waits_for_what_it_could_not_hear, 2);
	W_TEST(suite, a_bus_that_was_gone, 3);
	return w_main(suite);
}
