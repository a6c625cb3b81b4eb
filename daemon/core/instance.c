/*
 * instance.c - the life of one worker of this node.
 *
 * An instance outlives its processes: each start is a new process with a new wid. Its state says
 * what the process does, `after` what follows when it is gone. Migrations drive it by inputs
 * (FREEZE, THAW, RETIRE, ACTIVATE) and hear of its process through ph_source_step and
 * ph_target_step. Every state with a process has a bound: start_timeout, the watchdog, the stop's
 * grace, or the deadline of the migration it belongs to; RUNNING may last for ever.
 */
#include "core/instance.h"
#include "core/after.h"
#include "core/group.h"
#include "core/heal.h"
#include "core/unfit.h"

#include <stdlib.h>
#include <string.h>

#define STRAY_MS 5000	   /* an adopted worker that nothing speaks of says hello within this */
#define HELD_MS 30000	   /* one that may be the only good copy: others have had time to say so */
#define LOOK_AGAIN_MS 1000 /* what is waited for is looked at again, though nothing was heard */
#define KILL_AGAIN_MS 2000 /* a process that SIGKILL has not ended yet is killed again */

typedef enum ph_instance_state cell(struct ph_hub *, struct ph_instance *);

bool ph_instance_has_process(const struct ph_instance *instance)
{
	return instance->wid != 0;
}

enum ph_child_state ph_instance_shown(const struct ph_instance *instance)
{
	static const enum ph_child_state shown[PH_INSTANCE_STATE_COUNT] = {
		[PH_INSTANCE_WAITING] = PH_CHILD_WAITING,
		[PH_INSTANCE_SPAWNING] = PH_CHILD_STARTING,
		[PH_INSTANCE_STARTING] = PH_CHILD_STARTING,
		[PH_INSTANCE_STANDING] = PH_CHILD_STANDBY,
		[PH_INSTANCE_RUNNING] = PH_CHILD_RUNNING,
		[PH_INSTANCE_FROZEN] = PH_CHILD_FROZEN,
		[PH_INSTANCE_RETIRED] = PH_CHILD_STOPPING,
		[PH_INSTANCE_STOPPING] = PH_CHILD_STOPPING,
		[PH_INSTANCE_KILLING] = PH_CHILD_STOPPING,
		[PH_INSTANCE_REAPING] = PH_CHILD_BACKOFF,
		[PH_INSTANCE_BACKOFF] = PH_CHILD_BACKOFF,
		[PH_INSTANCE_HELD] = PH_CHILD_WAITING,
		[PH_INSTANCE_STOPPED] = PH_CHILD_STOPPED,
		[PH_INSTANCE_FAILED] = PH_CHILD_FAILED,
	};
	bool asked = instance->state == PH_INSTANCE_REAPING && instance->after != PH_AFTER_POLICY;
	return asked ? PH_CHILD_STOPPING : shown[instance->state];
}

/* ---- what each state waits for ---- */

void ph_instance_arm(struct ph_hub *hub, struct ph_instance *instance)
{
	uint64_t at = PH_NEVER_MS;
	switch (instance->state) {
	case PH_INSTANCE_STARTING:
		at = instance->since_ms + instance->spec->start_timeout_ms;
		at = min_ms(at, ph_health_at(instance));
		break;
	case PH_INSTANCE_STANDING: /* a migration has its own deadlines */
		if (!instance->target)
			at = instance->since_ms + (instance->held ? HELD_MS : STRAY_MS);
		break;
	case PH_INSTANCE_RUNNING:
		if (instance->spec->watchdog_ms)
			at = instance->watchdog_ms + instance->spec->watchdog_ms;
		if (instance->resumed_by_ms)
			at = min_ms(at, instance->resumed_by_ms);
		at = min_ms(at, ph_health_at(instance));
		break;
	case PH_INSTANCE_STOPPING:
		at = instance->kill_ms;
		if (instance->half_grace_ms)
			at = min_ms(at, instance->half_grace_ms);
		break;
	case PH_INSTANCE_KILLING:
		at = hub->now_ms + KILL_AGAIN_MS;
		break;
	case PH_INSTANCE_HELD:
		at = hub->now_ms + LOOK_AGAIN_MS;
		break;
	case PH_INSTANCE_BACKOFF:
	case PH_INSTANCE_FAILED:
		return;		   /* set by whoever knows how long */
	case PH_INSTANCE_WAITING:  /* until it may start: a claim, a journal, an order */
	case PH_INSTANCE_SPAWNING: /* the shell answers */
	case PH_INSTANCE_FROZEN:
	case PH_INSTANCE_RETIRED:
	case PH_INSTANCE_REAPING: /* the shell answers */
	case PH_INSTANCE_STOPPED: /* until an order */
	case PH_INSTANCE_STATE_COUNT:
		break;
	}
	/* Other words are not the one that it owes: it is judged at the end of that moment. */
	if (instance->excused && instance->state <= PH_INSTANCE_RUNNING && at <= hub->now_ms)
		return;
	ph_timer_set(hub, &instance->timer, at);
	instance->excused = false;
}

void ph_instance_publish(struct ph_hub *hub, struct ph_instance *instance)
{
	struct ph_slot *slot = instance->slot;
	if (slot->work->instance != instance)
		return;
	ph_slot_publish(hub, slot);
	struct ph_source *s = slot->work->source;
	if (s && s->state == PH_SOURCE_RETAINING &&
		s->old != instance) /* N of a swap may be ready */
		ph_source_step(hub, s, PH_SOURCE_IN_DEADLINE);
}

/* ---- handlers ---- */

static enum ph_instance_state ignore(struct ph_hub *hub, struct ph_instance *instance)
{
	(void)hub;
	return instance->state;
}

static enum ph_instance_state bug(struct ph_hub *hub, struct ph_instance *instance)
{
	ph_log(hub, PH_LOG_ERROR, "bug: %s/%u in state %d got an input that cannot be",
		instance->slot->child->name.s, instance->slot->number, (int)instance->state);
	return instance->state;
}

static enum ph_instance_state start_process(struct ph_hub *hub, struct ph_instance *instance)
{
	struct ph_action *action = ph_out(hub, PH_ACT_SPAWN);
	struct ph_spawn *order = ph_out_alloc(hub, sizeof *order);
	instance->wid = ++hub->numbers;
	HASH_ADD(hh, hub->by_wid, wid, sizeof instance->wid, instance);
	instance->connected = instance->said_ready = instance->has_state = false;
	instance->failed_start = instance->adopted = instance->unheard = false;
	instance->resumed_by_ms = 0;
	ph_reason_drop(&instance->why);
	instance->never_moves = false;
	instance->caps = 0;
	instance->after = PH_AFTER_POLICY;
	instance->started_ms = hub->now_ms;
	instance->ready_ms = 0;
	ph_heal_begin(hub, instance);
	order->key = ph_slot_key(instance->slot);
	order->spec = instance->spec;
	order->claimable = ph_hub_claimable(hub, instance->spec, &instance->spec->child);
	order->epoch = instance->epoch;
	order->role = instance->role;
	order->restarts = instance->restarts;
	if (instance->target)
		order->migration = instance->target->id;
	action->wid = instance->wid;
	action->spawn = order;
	return PH_INSTANCE_SPAWNING;
}

/* It is started with the text that is in force now. */
static void take_text(struct ph_hub *hub, struct ph_instance *instance)
{
	struct ph_child *child = instance->slot->child;
	if (child && child->spec && child->spec->revision != instance->spec->revision &&
		child->spec->local == instance->slot->local) {
		ph_out_bury_spec(hub, instance->spec);
		instance->spec = ph_spec_clone(child->spec);
	}
}

/* The new worker of a migration waits for nobody: its child runs already. It has the text that the
 * migration began with. */
static enum ph_instance_state spawn(struct ph_hub *hub, struct ph_instance *instance)
{
	char why[PH_REASON_SIZE];
	if (!instance->target)
		take_text(hub, instance);
	ph_reason(why, "waits until its group has been stopped");
	if (instance->target ||
		(!ph_after_waits(hub, instance->spec, why) && !ph_group_stops(hub, instance)))
		return start_process(hub, instance);
	if (instance->state != PH_INSTANCE_HELD)
		ph_log(hub, PH_LOG_INFO, "%s/%u %s", instance->slot->child->name.s,
			instance->slot->number, why);
	instance->after = PH_AFTER_POLICY;
	return PH_INSTANCE_HELD;
}

static enum ph_instance_state became_ready(struct ph_hub *hub, struct ph_instance *instance)
{
	instance->said_ready = true;
	if (instance->target && instance->target->overlap &&
		instance->target->state < PH_TARGET_ACTIVE) {
		ph_target_step(hub, instance->target, PH_TARGET_IN_STARTED);
		return PH_INSTANCE_STANDING;
	}
	if (instance->role == PH_ROLE_STANDBY)
		return PH_INSTANCE_STANDING;
	instance->ready_ms = instance->watchdog_ms = hub->now_ms;
	instance->activated = false;
	ph_reason_drop(&instance->why);
	if (instance->lineage == PH_LINEAGE_COLD) /* it serves: from here on there is a state */
		instance->lineage = PH_LINEAGE_CONTINUED;
	struct ph_emit *emit = ph_emit(hub, PH_EMIT_CHILD_READY, PH_SLOT_KEY(instance->slot));
	emit->pid = instance->pid;
	emit->epoch = instance->epoch;
	if (instance->target)
		ph_target_step(hub, instance->target, PH_TARGET_IN_N_READY);
	return PH_INSTANCE_RUNNING;
}

static enum ph_instance_state spawned(struct ph_hub *hub, struct ph_instance *instance)
{
	struct ph_emit *emit = ph_emit(hub, PH_EMIT_CHILD_STARTING, PH_SLOT_KEY(instance->slot));
	emit->pid = instance->pid;
	emit->epoch = instance->epoch;
	bool handover = instance->target && !instance->target->overlap;
	if (instance->spec->ready == PH_READY_NONE && !handover)
		return became_ready(hub, instance);
	return PH_INSTANCE_STARTING;
}

/* The process is no more and nothing of its group is left, or it never was. */
void ph_instance_drop_process(struct ph_hub *hub, struct ph_instance *instance)
{
	if (instance->wid)
		HASH_DEL(hub->by_wid, instance);
	ph_group_let(hub, instance);
	instance->wid = 0;
	instance->pid = 0;
	instance->connected = false;
	free(instance->meta);
	instance->meta = NULL;
}

/*
 * While this node was away others may have taken the child over: what ended meanwhile is started
 * again only by a claim, which the plan makes once it may.
 */
static bool must_ask(const struct ph_hub *hub, const struct ph_instance *instance)
{
	return hub->set.address[0] && !instance->spec->local &&
	       instance->slot->work->instance == instance &&
	       (hub->self_state != PH_MEMBER_ALIVE || hub->away || !ph_lease_valid(hub));
}

/* Its time has come, and this node may still be the one that starts it. */
static enum ph_instance_state due(struct ph_hub *hub, struct ph_instance *instance)
{
	return must_ask(hub, instance) ? PH_INSTANCE_WAITING : spawn(hub, instance);
}

/* Too often, here: another node takes it. */
static enum ph_instance_state leave_it(struct ph_hub *hub, struct ph_instance *instance)
{
	ph_emit(hub, PH_EMIT_CHILD_FAILED, PH_SLOT_KEY(instance->slot))->text =
		"more restarts than restart.intensity allows: another node takes it";
	ph_instance_free(hub, instance);
	return PH_INSTANCE_FAILED;
}

static enum ph_instance_state give_up(struct ph_hub *hub, struct ph_instance *instance)
{
	uint64_t wait = ph_group_give_up(hub, instance);
	instance->after = PH_AFTER_POLICY;
	instance->streak = 0;
	ph_timer_set(hub, &instance->timer, wait == PH_NEVER_MS ? PH_NEVER_MS : hub->now_ms + wait);
	return PH_INSTANCE_FAILED;
}

static enum ph_instance_state by_policy(struct ph_hub *hub, struct ph_instance *instance)
{
	bool failed;
	uint64_t wait = ph_policy_next(hub, instance, &failed);
	const struct ph_key *key = PH_SLOT_KEY(instance->slot);
	if (failed && instance->spec->restart.on_limit == PH_LIMIT_ELSEWHERE &&
		ph_unfit_pass_on(hub, instance, 0))
		return leave_it(hub, instance);
	if (wait == PH_NEVER_MS || failed) {
		ph_emit(hub, failed ? PH_EMIT_CHILD_FAILED : PH_EMIT_CHILD_STOPPED, key)->text =
			instance->why ? ph_out_text(hub, instance->why)
			: failed      ? "more restarts than restart.intensity allows"
				      : "it ended, and its policy does not start it again";
		ph_timer_set(hub, &instance->timer,
			wait == PH_NEVER_MS ? PH_NEVER_MS : hub->now_ms + wait);
		return failed ? PH_INSTANCE_FAILED : PH_INSTANCE_STOPPED;
	}
	if (!instance->blocked && ph_group_failed(hub, instance))
		return give_up(hub, instance);
	if (instance->blocked <= 1) { /* one event, however often it is tried */
		instance->restarts++;
		struct ph_emit *emit = ph_emit(hub, PH_EMIT_CHILD_RESTARTING, key);
		emit->delay_ms = wait;
		emit->text = instance->why ? ph_out_text(hub, instance->why) : NULL;
	}
	if (wait == 0 || must_ask(hub, instance))
		return due(hub, instance);
	ph_timer_set(hub, &instance->timer, hub->now_ms + wait);
	return PH_INSTANCE_BACKOFF;
}

static enum ph_instance_state again(struct ph_hub *hub, struct ph_instance *instance)
{
	instance->streak = 0;
	instance->n_window = 0;
	return spawn(hub, instance);
}

static enum ph_instance_state due_again(struct ph_hub *hub, struct ph_instance *instance)
{
	return must_ask(hub, instance) ? PH_INSTANCE_WAITING : again(hub, instance);
}

/*
 * An order, or another text. What ended while a migration of it is undecided waits for the end of
 * that: what the new worker has may be all there is, and the epoch is another one then.
 */
static enum ph_instance_state ordered(struct ph_hub *hub, struct ph_instance *instance)
{
	ph_timer_set(hub, &instance->timer, PH_NEVER_MS);
	return ph_migration_decides(instance->slot) ? PH_INSTANCE_WAITING
						    : due_again(hub, instance);
}

/* With its group, which another member's failure has brought down. */
static enum ph_instance_state with_group(struct ph_hub *hub, struct ph_instance *instance)
{
	instance->restarts++;
	instance->after = PH_AFTER_POLICY;
	ph_emit(hub, PH_EMIT_CHILD_RESTARTING, PH_SLOT_KEY(instance->slot))->text =
		"its group is restarted";
	return due(hub, instance);
}

static enum ph_instance_state end(struct ph_hub *hub, struct ph_instance *instance)
{
	ph_instance_drop_process(hub, instance);
	if (instance->target && instance->target->fresh == instance &&
		(instance->target->state < PH_TARGET_ACTIVE || instance->activated ||
			instance->target->state > PH_TARGET_ACTIVE)) {
		ph_target_step(hub, instance->target, PH_TARGET_IN_N_DEAD);
		return instance->state;
	}
	if (instance->source && instance->source->old == instance)
		ph_source_step(hub, instance->source, PH_SOURCE_IN_O_DEAD);
	if (instance->role == PH_ROLE_STANDBY) /* a new worker whose migration is over */
		instance->after = PH_AFTER_DISCARD;
	switch (instance->after) {
	case PH_AFTER_POLICY:
		return by_policy(hub, instance);
	case PH_AFTER_AGAIN:
		return due_again(hub, instance);
	case PH_AFTER_GROUP:
		return with_group(hub, instance);
	case PH_AFTER_FAILED:
		return give_up(hub, instance);
	case PH_AFTER_CLAIM:
		ph_plan_soon(hub, 0);
		return PH_INSTANCE_WAITING;
	case PH_AFTER_STOPPED:
		(void)ph_emit(hub, PH_EMIT_CHILD_STOPPED, PH_SLOT_KEY(instance->slot));
		return PH_INSTANCE_STOPPED;
	case PH_AFTER_DISCARD:
		ph_instance_free(hub, instance);
		return PH_INSTANCE_STOPPED;
	}
	return PH_INSTANCE_STOPPED;
}

static enum ph_instance_state spawn_failed(struct ph_hub *hub, struct ph_instance *instance)
{
	instance->failed_start = true;
	instance->exit = (struct ph_exit){.kind = PH_EXIT_NONE};
	return end(hub, instance);
}

static enum ph_instance_state exited(struct ph_hub *hub, struct ph_instance *instance)
{
	struct ph_emit *emit = ph_emit(hub, PH_EMIT_CHILD_EXITED, PH_SLOT_KEY(instance->slot));
	emit->pid = instance->pid;
	emit->exit = instance->exit;
	ph_out(hub, PH_ACT_REAP)->wid = instance->wid;
	return PH_INSTANCE_REAPING;
}

static enum ph_instance_state exited_starting(struct ph_hub *hub, struct ph_instance *instance)
{
	instance->failed_start = true;
	return exited(hub, instance);
}

static enum ph_instance_state hello(struct ph_hub *hub, struct ph_instance *instance)
{
	if (instance->target && !instance->target->overlap && instance->role == PH_ROLE_STANDBY) {
		ph_target_step(hub, instance->target, PH_TARGET_IN_STARTED);
		return PH_INSTANCE_STANDING;
	}
	return instance->state;
}

static enum ph_instance_state activate(struct ph_hub *hub, struct ph_instance *instance)
{
	instance->role = PH_ROLE_ACTIVE;
	if (instance->said_ready) /* an overlap: it serves already */
		return became_ready(hub, instance);
	instance->activated = true;
	return PH_INSTANCE_STARTING;
}

static enum ph_instance_state freeze(struct ph_hub *hub, struct ph_instance *instance)
{
	(void)hub, (void)instance;
	return PH_INSTANCE_FROZEN;
}

static enum ph_instance_state thaw(struct ph_hub *hub, struct ph_instance *instance)
{
	instance->watchdog_ms = hub->now_ms;
	return PH_INSTANCE_RUNNING;
}

static enum ph_instance_state retire(struct ph_hub *hub, struct ph_instance *instance)
{
	(void)hub, (void)instance;
	return PH_INSTANCE_RETIRED;
}

static enum ph_instance_state kill_now(struct ph_hub *hub, struct ph_instance *instance)
{
	struct ph_action *action = ph_out(hub, PH_ACT_SIGNAL);
	action->wid = instance->wid;
	action->signal = 9;
	return PH_INSTANCE_KILLING;
}

static void signal_stop(struct ph_hub *hub, struct ph_instance *instance)
{
	struct ph_action *action = ph_out(hub, PH_ACT_SIGNAL);
	action->wid = instance->wid;
	action->signal = instance->spec->stop_signal;
	action->wake = true;
	instance->half_grace_ms = 0;
}

static enum ph_instance_state begin_stop(struct ph_hub *hub, struct ph_instance *instance)
{
	uint64_t grace = instance->spec->stop_timeout_ms;
	instance->kill_ms = hub->now_ms + grace;
	instance->half_grace_ms = 0;
	if (instance->connected) {
		struct ph_wmsg *msg = ph_tell(hub, instance, PH_W_STOP);
		msg->grace_ms = grace;
		msg->reason = "stop";
		instance->half_grace_ms = hub->now_ms + grace / 2;
	} else {
		signal_stop(hub, instance);
	}
	return PH_INSTANCE_STOPPING;
}

/* `after` says what follows; a plain STOP means that it is to stay stopped. */
static enum ph_instance_state stop(struct ph_hub *hub, struct ph_instance *instance)
{
	if (instance->after != PH_AFTER_CLAIM && instance->after != PH_AFTER_DISCARD)
		instance->after = PH_AFTER_STOPPED;
	return begin_stop(hub, instance);
}

static enum ph_instance_state stop_idle(struct ph_hub *hub, struct ph_instance *instance)
{
	ph_timer_set(hub, &instance->timer, PH_NEVER_MS);
	if (instance->after == PH_AFTER_DISCARD) {
		ph_instance_free(hub, instance);
		return instance->state;
	}
	if (instance->state != PH_INSTANCE_STOPPED)
		(void)ph_emit(hub, PH_EMIT_CHILD_STOPPED, PH_SLOT_KEY(instance->slot));
	return PH_INSTANCE_STOPPED;
}

/* Its process is on the way out already: only what follows changes. */
static enum ph_instance_state stop_later(struct ph_hub *hub, struct ph_instance *instance)
{
	(void)hub;
	if (instance->after != PH_AFTER_DISCARD)
		instance->after = PH_AFTER_STOPPED;
	return instance->state;
}

static enum ph_instance_state stop_spawning(struct ph_hub *hub, struct ph_instance *instance)
{
	(void)stop_later(hub, instance);
	return kill_now(hub, instance);
}

static enum ph_instance_state restart(struct ph_hub *hub, struct ph_instance *instance)
{
	instance->after = PH_AFTER_AGAIN;
	instance->restarts++;
	return begin_stop(hub, instance);
}

static enum ph_instance_state restart_later(struct ph_hub *hub, struct ph_instance *instance)
{
	(void)hub;
	if (instance->after != PH_AFTER_DISCARD && instance->after != PH_AFTER_CLAIM)
		instance->after = PH_AFTER_AGAIN;
	return instance->state;
}

static enum ph_instance_state too_slow(struct ph_hub *hub, struct ph_instance *instance)
{
	if (hub->now_ms < instance->since_ms + instance->spec->start_timeout_ms) {
		ph_health_due(hub, instance);
		return instance->state;
	}
	/* Nothing else would ever tell. */
	if (instance->unheard && instance->spec->ready == PH_READY_NOTIFY)
		return became_ready(hub, instance);
	ph_log(hub, PH_LOG_WARNING, "%s/%u was not ready within its start_timeout of %llu ms%s%s",
		instance->slot->child->name.s, instance->slot->number,
		(unsigned long long)instance->spec->start_timeout_ms, instance->why ? ": " : "",
		instance->why ? instance->why : "");
	if (!instance->why)
		ph_reason_keep(&instance->why,
			"it was not ready within its start_timeout of %llu ms",
			(unsigned long long)instance->spec->start_timeout_ms);
	instance->failed_start = true;
	return kill_now(hub, instance);
}

/* It never said what it is, and no record does: it was prepared by nobody. */
static enum ph_instance_state stray(struct ph_hub *hub, struct ph_instance *instance)
{
	if (instance->target)
		return instance->state;
	instance->after = PH_AFTER_DISCARD;
	return begin_stop(hub, instance);
}

static enum ph_instance_state watchdog(struct ph_hub *hub, struct ph_instance *instance)
{
	bool hung = instance->resumed_by_ms && hub->now_ms >= instance->resumed_by_ms;
	instance->resumed_by_ms = hung ? 0 : instance->resumed_by_ms;
	ph_health_due(hub, instance);
	bool silent = instance->spec->watchdog_ms &&
		      instance->watchdog_ms + instance->spec->watchdog_ms <= hub->now_ms;
	if (!hung && !silent)
		return instance->state;
	ph_reason_keep(&instance->why, "it %s",
		silent ? "gave no sign of life within its watchdog time"
		       : "did not answer resume within its stop_timeout");
	ph_log(hub, PH_LOG_WARNING, "%s/%u: %s", instance->slot->child->name.s,
		instance->slot->number, instance->why);
	return kill_now(hub, instance);
}

/* Asked to stop in good order; what follows is as after a failure. */
static enum ph_instance_state unwell(struct ph_hub *hub, struct ph_instance *instance)
{
	instance->failed_start = true;
	return begin_stop(hub, instance);
}

static enum ph_instance_state grace(struct ph_hub *hub, struct ph_instance *instance)
{
	if (hub->now_ms >= instance->kill_ms)
		return kill_now(hub, instance);
	if (instance->half_grace_ms && hub->now_ms >= instance->half_grace_ms)
		signal_stop(hub, instance);
	return instance->state;
}

/* ---- every state x input; an empty cell is found by the unit test ---- */

#define IN(name) [PH_INSTANCE_IN_##name]
/* inputs that a state without a process cannot get, and those that every state shrugs off */
#define NO_PROCESS \
	IN(SPAWNED) = bug, IN(SPAWN_FAILED) = bug, IN(HELLO) = ignore, IN(READY) = ignore, \
	IN(ACTIVATE) = bug, IN(FREEZE) = bug, IN(THAW) = ignore, IN(RETIRE) = ignore, \
	IN(KILL) = ignore, IN(EXITED) = bug, IN(GONE) = bug, IN(UNWELL) = ignore

static cell *const machine[PH_INSTANCE_STATE_COUNT][PH_INSTANCE_INPUT_COUNT] = {
	[PH_INSTANCE_WAITING] = {NO_PROCESS, IN(START) = spawn, IN(STOP) = stop_idle,
		IN(GIVE_UP) = ignore, IN(RESTART) = ignore, IN(DEADLINE) = ignore},
	[PH_INSTANCE_SPAWNING] = {IN(START) = ignore, IN(SPAWNED) = spawned,
		IN(SPAWN_FAILED) = spawn_failed, IN(HELLO) = ignore, IN(READY) = ignore,
		IN(ACTIVATE) = bug, IN(FREEZE) = bug, IN(THAW) = ignore, IN(RETIRE) = ignore,
		IN(STOP) = stop_spawning, IN(RESTART) = ignore, IN(KILL) = kill_now,
		IN(EXITED) = bug, IN(GONE) = bug, IN(UNWELL) = ignore, IN(GIVE_UP) = ignore,
		IN(DEADLINE) = ignore},
	[PH_INSTANCE_STARTING] = {IN(START) = ignore, IN(SPAWNED) = bug, IN(SPAWN_FAILED) = bug,
		IN(HELLO) = hello, IN(READY) = became_ready, IN(ACTIVATE) = activate,
		IN(FREEZE) = bug, IN(THAW) = ignore, IN(RETIRE) = retire, IN(STOP) = stop,
		IN(RESTART) = restart, IN(KILL) = kill_now, IN(EXITED) = exited_starting,
		IN(GONE) = bug, IN(UNWELL) = ignore, IN(GIVE_UP) = ignore, IN(DEADLINE) = too_slow},
	[PH_INSTANCE_STANDING] = {IN(START) = ignore, IN(SPAWNED) = bug, IN(SPAWN_FAILED) = bug,
		IN(HELLO) = ignore, IN(READY) = ignore, IN(ACTIVATE) = activate, IN(FREEZE) = bug,
		IN(THAW) = ignore, IN(RETIRE) = bug, IN(STOP) = stop, IN(RESTART) = ignore,
		IN(KILL) = kill_now, IN(EXITED) = exited, IN(GONE) = bug, IN(UNWELL) = ignore,
		IN(GIVE_UP) = ignore, IN(DEADLINE) = stray},
	[PH_INSTANCE_RUNNING] = {IN(START) = ignore, IN(SPAWNED) = bug, IN(SPAWN_FAILED) = bug,
		IN(HELLO) = ignore, IN(READY) = ignore, IN(ACTIVATE) = ignore, IN(FREEZE) = freeze,
		IN(THAW) = ignore, IN(RETIRE) = retire, IN(STOP) = stop, IN(RESTART) = restart,
		IN(KILL) = kill_now, IN(EXITED) = exited, IN(GONE) = bug, IN(UNWELL) = unwell,
		IN(GIVE_UP) = ignore, IN(DEADLINE) = watchdog},
	[PH_INSTANCE_FROZEN] = {IN(START) = ignore, IN(SPAWNED) = bug, IN(SPAWN_FAILED) = bug,
		IN(HELLO) = ignore, IN(READY) = ignore, IN(ACTIVATE) = ignore, IN(FREEZE) = ignore,
		IN(THAW) = thaw, IN(RETIRE) = retire, IN(STOP) = stop, IN(RESTART) = restart,
		IN(KILL) = kill_now, IN(EXITED) = exited, IN(GONE) = bug, IN(UNWELL) = ignore,
		IN(GIVE_UP) = ignore, IN(DEADLINE) = ignore},
	[PH_INSTANCE_RETIRED] = {IN(START) = ignore, IN(SPAWNED) = bug, IN(SPAWN_FAILED) = bug,
		IN(HELLO) = ignore, IN(READY) = ignore, IN(ACTIVATE) = bug, IN(FREEZE) = ignore,
		IN(THAW) = thaw, IN(RETIRE) = ignore, IN(STOP) = stop, IN(RESTART) = ignore,
		IN(KILL) = kill_now, IN(EXITED) = exited, IN(GONE) = bug, IN(UNWELL) = ignore,
		IN(GIVE_UP) = ignore, IN(DEADLINE) = ignore},
	[PH_INSTANCE_STOPPING] = {IN(START) = restart_later, IN(SPAWNED) = bug,
		IN(SPAWN_FAILED) = bug, IN(HELLO) = ignore, IN(READY) = ignore,
		IN(ACTIVATE) = ignore, IN(FREEZE) = ignore, IN(THAW) = ignore, IN(RETIRE) = ignore,
		IN(STOP) = stop_later, IN(RESTART) = restart_later, IN(KILL) = kill_now,
		IN(EXITED) = exited, IN(GONE) = bug, IN(UNWELL) = ignore, IN(GIVE_UP) = ignore,
		IN(DEADLINE) = grace},
	[PH_INSTANCE_KILLING] = {IN(START) = restart_later, IN(SPAWNED) = kill_now,
		IN(SPAWN_FAILED) = spawn_failed, IN(HELLO) = ignore, IN(READY) = ignore,
		IN(ACTIVATE) = ignore, IN(FREEZE) = ignore, IN(THAW) = ignore, IN(RETIRE) = ignore,
		IN(STOP) = stop_later, IN(RESTART) = restart_later, IN(KILL) = ignore,
		IN(EXITED) = exited, IN(GONE) = bug, IN(UNWELL) = ignore, IN(GIVE_UP) = ignore,
		IN(DEADLINE) = kill_now},
	[PH_INSTANCE_REAPING] = {IN(START) = restart_later, IN(SPAWNED) = ignore,
		IN(SPAWN_FAILED) = bug, IN(HELLO) = ignore, IN(READY) = ignore,
		IN(ACTIVATE) = ignore, IN(FREEZE) = ignore, IN(THAW) = ignore, IN(RETIRE) = ignore,
		IN(STOP) = stop_later, IN(RESTART) = restart_later, IN(KILL) = ignore,
		IN(EXITED) = ignore, IN(GONE) = end, IN(UNWELL) = ignore, IN(GIVE_UP) = ignore,
		IN(DEADLINE) = ignore},
	[PH_INSTANCE_BACKOFF] = {NO_PROCESS, IN(START) = ordered, IN(STOP) = stop_idle,
		IN(RESTART) = ordered, IN(GIVE_UP) = give_up, IN(DEADLINE) = due},
	[PH_INSTANCE_HELD] = {NO_PROCESS, IN(START) = ordered, IN(STOP) = stop_idle,
		IN(RESTART) = ordered, IN(GIVE_UP) = give_up, IN(DEADLINE) = due},
	[PH_INSTANCE_STOPPED] = {NO_PROCESS, IN(START) = ordered, IN(STOP) = stop_idle,
		IN(GIVE_UP) = ignore, IN(RESTART) = ordered, IN(DEADLINE) = ignore},
	[PH_INSTANCE_FAILED] = {NO_PROCESS, IN(START) = ordered, IN(STOP) = stop_idle,
		IN(GIVE_UP) = ignore, IN(RESTART) = ordered, IN(DEADLINE) = due_again},
};
#undef IN

void ph_instance_step(struct ph_hub *hub, struct ph_instance *instance, enum ph_instance_input in)
{
	enum ph_instance_state before = instance->state;
	uint32_t changes = instance->changes;
	enum ph_instance_state next = machine[before][in](hub, instance);
	if (!instance->slot)
		return; /* freed on the way */
	if (instance->changes != changes)
		return; /* its migration has stepped it meanwhile: that is the newer word */
	instance->state = next;
	if (next != before) {
		instance->since_ms = hub->now_ms;
		instance->changes++;
		ph_health_enter(hub, instance);
		ph_after_enter(hub, instance, before);
	}
	ph_instance_arm(hub, instance);
	if (next != before || in == PH_INSTANCE_IN_SPAWNED)
		ph_instance_publish(hub, instance);
}

bool ph_instance_decided(enum ph_instance_state state, enum ph_instance_input in)
{
	return machine[state][in] != NULL;
}
