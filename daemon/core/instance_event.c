/* instance_event.c - the birth and death of an instance, and what is reported of its process. */
#include "core/instance.h"
#include "core/conflict.h"
#include "core/heal.h"
#include "core/unfit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- birth and death ---- */

struct ph_instance *ph_instance_new(struct ph_hub *hub, struct ph_slot *slot,
	const struct ph_spec *spec, enum ph_role role, uint64_t epoch)
{
	struct ph_instance *instance = ph_must(calloc(1, sizeof *instance));
	instance->slot = slot;
	instance->spec = ph_spec_clone(spec);
	instance->role = role;
	instance->epoch = epoch;
	instance->since_ms = hub->now_ms;
	instance->timer.kind = PH_TIMER_INSTANCE;
	instance->timer.owner = instance;
	DL_APPEND(hub->instances, instance);
	return instance;
}

void ph_instance_revise(struct ph_instance *instance, uint64_t revision)
{
	const struct ph_spec *before = instance->spec;
	instance->spec = ph_spec_revise(before, revision);
	ph_spec_free(before);
}

void ph_instance_free_owned(struct ph_instance *instance)
{
	free(instance->window_ms);
	free(instance->accepts);
	free(instance->why);
	instance->window_ms = NULL;
	instance->accepts = NULL;
	instance->why = NULL;
}

static void let_go(struct ph_hub *hub, struct ph_slot *slot)
{
	ph_slot_release(hub, slot);
	if (slot->child->spec && !ph_child_surplus(slot))
		ph_plan_soon(hub, 0); /* one too many when it was told to stop, and not any more */
}

void ph_instance_free(struct ph_hub *hub, struct ph_instance *instance)
{
	ph_instance_drop_process(hub, instance);
	ph_timer_set(hub, &instance->timer, PH_NEVER_MS);
	DL_DELETE(hub->instances, instance);
	ph_order_stir(hub); /* its child may have been removed, and its end be waited for */
	if (instance->state == PH_INSTANCE_HELD)
		DL_DELETE2(hub->waiting, instance, held_prev, held_next);
	if (instance->slot->work->instance == instance) {
		ph_slot_work(hub, instance->slot)->instance = NULL;
		if (ph_slot_mine(hub, instance->slot) && !instance->slot->work->source &&
			!hub->exiting)
			let_go(hub, instance->slot);
	}
	if (instance->source && instance->source->old == instance)
		instance->source->old = NULL;
	if (instance->target && instance->target->fresh == instance)
		instance->target->fresh = NULL;
	if (instance->conflict)
		ph_conflict_gone(hub, instance);
	ph_out_bury_spec(hub, instance->spec);
	ph_instance_free_owned(instance);
	instance->spec = NULL;
	instance->slot = NULL;
	ph_out_bury(hub, instance);
}

/* ---- what the shell reports of a process ---- */

void ph_instance_named(struct ph_hub *hub, struct ph_slot *slot)
{
	struct ph_instance *instance = slot->work->instance;
	if (!instance || instance->target || instance->state != PH_INSTANCE_STANDING ||
		!instance->held || instance->epoch != slot->entry.epoch)
		return;
	ph_slot_own(hub, slot, instance->epoch, PH_LINEAGE_CONTINUED);
	struct ph_wmsg *msg = ph_tell(hub, instance, PH_W_ACTIVATE);
	msg->id = instance->past;
	msg->epoch = instance->epoch;
	ph_instance_step(hub, instance, PH_INSTANCE_IN_ACTIVATE);
}

static void put_migration(const struct ph_instance *instance, struct ph_wmsg *welcome)
{
	static const char *const phases[PH_PHASE_COUNT] = {
#define X(name, word) [PH_PHASE_##name] = word,
		PH_PHASES(X)
#undef X
	};
	const struct ph_source *s = instance->source;
	const struct ph_target *t = instance->target;
	if (s && s->old == instance) {
		welcome->migration_id = s->id;
		welcome->migration_epoch = s->new_epoch;
		welcome->phase = phases[s->info.phase];
	} else if (t && t->fresh == instance && t->state < PH_TARGET_DROPPING) {
		welcome->migration_id = t->id;
		welcome->migration_epoch = t->new_epoch;
		welcome->phase = t->state < PH_TARGET_LOADING	   ? "prepare"
				 : t->state < PH_TARGET_PREPARED   ? "copy"
				 : t->state < PH_TARGET_ACTIVATING ? "prepared"
								   : "active";
	}
	welcome->has_migration = !ph_id_none(&welcome->migration_id);
}

/* A worker that nothing here speaks of, and that was active: it goes on, as its own word says. */
static void claim_back(struct ph_hub *hub, struct ph_instance *instance, const struct ph_wmsg *msg)
{
	struct ph_slot *slot = instance->slot;
	if (instance->state != PH_INSTANCE_STANDING || instance->target ||
		slot->work->instance != instance || !msg->has_standing ||
		msg->standing_role != PH_ROLE_ACTIVE)
		return;
	bool overtaken = slot->entered && slot->entry.epoch > msg->standing_epoch;
	if (overtaken)
		return;
	instance->role = PH_ROLE_ACTIVE;
	instance->epoch = msg->standing_epoch;
	instance->said_ready = true;
	instance->state = PH_INSTANCE_RUNNING;
	instance->since_ms = hub->now_ms;
	ph_slot_own(hub, slot, instance->epoch, PH_LINEAGE_CONTINUED);
	ph_instance_publish(hub, instance);
	ph_instance_arm(hub, instance);
}

static void take_hello(struct ph_instance *instance, const struct ph_wmsg *msg)
{
	instance->connected = true;
	instance->caps = msg->caps;
	instance->has_state = msg->has_state;
	memcpy(instance->format, msg->format, sizeof instance->format);
	instance->format_version = msg->version;
	free(instance->accepts);
	instance->accepts = NULL;
	instance->n_accepts = msg->n_accepts;
	size_t size = msg->n_accepts * sizeof *instance->accepts;
	if (size)
		instance->accepts = memcpy(ph_must(malloc(size)), msg->accepts, size);
}

void ph_instance_await_resumed(struct ph_hub *hub, struct ph_instance *instance)
{
	uint64_t wait = instance->spec->stop_timeout_ms;
	if (!instance->connected && wait < PH_RECONNECT_MS)
		wait = PH_RECONNECT_MS;
	instance->resumed_by_ms = hub->now_ms + wait;
	ph_instance_arm(hub, instance);
}

/* It may not have heard `resume`; what it says of itself tells whether it needs to. */
static void repeat_resume(
	struct ph_hub *hub, struct ph_instance *instance, const struct ph_wmsg *msg)
{
	instance->resumed_by_ms = 0;
	if (msg->has_standing && ph_id_none(&msg->standing_id))
		return;
	struct ph_wmsg *word = ph_tell(hub, instance, PH_W_RESUME);
	word->id = msg->has_standing ? msg->standing_id : instance->past;
	word->epoch = instance->epoch;
	word->reason = "the migration is over";
	ph_instance_await_resumed(hub, instance);
}

static bool given_away(const struct ph_instance *instance)
{
	const struct ph_source *s = instance->source;
	return instance->state == PH_INSTANCE_RETIRED ||
	       (s && s->old == instance &&
		       ((s->state >= PH_SOURCE_COMMITTING && s->state <= PH_SOURCE_STOPPING) ||
			       s->state == PH_SOURCE_RECLAIMING));
}

static void say_welcome(struct ph_hub *hub, struct ph_instance *instance)
{
	struct ph_wmsg *answer = ph_tell(hub, instance, PH_W_WELCOME);
	answer->v1 = true;
	answer->node = hub->set.node;
	answer->child = instance->slot->child->name;
	answer->has_instance = true;
	answer->instance = instance->slot->number;
	answer->epoch = instance->epoch;
	/* From the commit on O serves nothing, unless it is told to go on. */
	answer->role = given_away(instance) ? PH_ROLE_STANDBY : instance->role;
	put_migration(instance, answer);
}

/*
 * One that an earlier daemon had started as the new one of a handover, and no record speaks of. It
 * is in none, and not active, as its own word shows: nothing will ever be made of it.
 */
static bool is_stray(const struct ph_instance *instance, const struct ph_wmsg *msg)
{
	return instance->state == PH_INSTANCE_STANDING && instance->adopted && !instance->held &&
	       !instance->target && !instance->source &&
	       (!msg->has_standing || ph_id_none(&msg->standing_id));
}

/* It stands in a handover that nobody here knows. True: that decides what becomes of it. */
static bool settle_unknown(
	struct ph_hub *hub, struct ph_instance *instance, const struct ph_wmsg *msg)
{
	bool stray = instance->state == PH_INSTANCE_STANDING; /* prepared by nobody */
	instance->past = msg->standing_id;
	if (!stray && hub->set.journal_lost && msg->standing <= PH_STANDING_FROZEN) {
		ph_source_lost(hub, instance, &msg->standing_id);
		return true;
	}
	if (stray && hub->set.journal_lost && msg->standing == PH_STANDING_LOADED) {
		instance->held = true; /* it may be the only good copy: not ended from silence */
		ph_instance_arm(hub, instance);
		return true;
	}
	/* Activated by a record but never told so, or the old one of what was never decided. */
	bool untold = instance->role == PH_ROLE_ACTIVE && msg->standing_role == PH_ROLE_STANDBY;
	enum ph_wop op = stray ? PH_W_ABORT : untold ? PH_W_ACTIVATE : PH_W_RESUME;
	struct ph_wmsg *word = ph_tell(hub, instance, op);
	word->id = msg->standing_id;
	word->epoch = instance->epoch;
	word->reason = op == PH_W_ACTIVATE ? NULL : "the migration is not known any more";
	if (stray)
		ph_instance_step(hub, instance, PH_INSTANCE_IN_DEADLINE);
	return stray;
}

/* Does it say after a reconnect that it is what it is here: the active one? */
static bool is_active(const struct ph_instance *instance, const struct ph_wmsg *msg)
{
	return msg->has_standing && msg->standing_role == PH_ROLE_ACTIVE &&
	       instance->role == PH_ROLE_ACTIVE && !given_away(instance);
}

/* ... under another epoch: it hears of that before anything makes it go on. */
static void settle_epoch(
	struct ph_hub *hub, struct ph_instance *instance, const struct ph_wmsg *msg)
{
	if (!is_active(instance, msg) || msg->standing_epoch == instance->epoch)
		return;
	struct ph_wmsg *role = ph_tell(hub, instance, PH_W_ROLE);
	role->role = PH_ROLE_ACTIVE;
	role->epoch = instance->epoch;
}

/*
 * It has been told that another one owns the child, and will never serve again; the journal that
 * knew is lost. Whoever is to have it claims it, as after a death.
 */
static bool gave_away(const struct ph_instance *instance, const struct ph_wmsg *msg)
{
	return msg->standing == PH_STANDING_COMMITTED && instance->adopted && !instance->source &&
	       instance->slot->work->instance == instance && instance->state == PH_INSTANCE_RUNNING;
}

static void on_hello(struct ph_hub *hub, struct ph_instance *instance, const struct ph_wmsg *msg)
{
	const struct ph_target *target = instance->target;
	take_hello(instance, msg);
	if (instance->adopted) /* a newer text may wait for it */
		ph_plan_soon(hub, 0);
	claim_back(hub, instance, msg);
	if (msg->standing == PH_STANDING_COMMITTED && instance->state == PH_INSTANCE_FROZEN)
		ph_instance_step(
			hub, instance, PH_INSTANCE_IN_RETIRE); /* an earlier daemon told it */
	say_welcome(hub, instance);
	settle_epoch(hub, instance, msg);
	if (instance->conflict)
		ph_conflict_step(hub, instance->conflict, PH_CONFLICT_IN_HELLO);
	else if (instance->source && instance->source->old == instance)
		ph_source_hello(hub, instance->source);
	else if (target && target->state < PH_TARGET_NEVER && target->fresh == instance)
		ph_target_hello(hub, instance->target, msg);
	else if (instance->resumed_by_ms)
		repeat_resume(hub, instance, msg);
	else if (is_stray(instance, msg))
		ph_instance_step(hub, instance, PH_INSTANCE_IN_DEADLINE);
	else if (gave_away(instance, msg)) {
		instance->after = PH_AFTER_CLAIM;
		ph_instance_step(hub, instance, PH_INSTANCE_IN_STOP);
		return;
	} else if (instance->slot->work->instance == instance && msg->has_standing &&
		   !ph_id_none(&msg->standing_id) && msg->standing != PH_STANDING_COMMITTED &&
		   settle_unknown(hub, instance, msg))
		return;
	ph_instance_step(hub, instance, PH_INSTANCE_IN_HELLO);
	/* It serves already: its `ready` was heard by an earlier daemon, or by none. */
	if (instance->slot && is_active(instance, msg) && instance->adopted &&
		instance->state == PH_INSTANCE_STARTING)
		ph_instance_step(hub, instance, PH_INSTANCE_IN_READY);
}

static void set_meta(struct ph_hub *hub, struct ph_instance *instance, const char *meta)
{
	if (!meta)
		return;
	free(instance->meta);
	instance->meta = ph_must(strdup(meta));
	ph_instance_publish(hub, instance);
}

static void on_ready(struct ph_hub *hub, struct ph_instance *instance, const struct ph_wmsg *msg)
{
	if (instance->state == PH_INSTANCE_STANDING && instance->role == PH_ROLE_STANDBY) {
		ph_complain(hub, instance, "not_active", "'ready' before 'activate'");
		return;
	}
	set_meta(hub, instance, msg->meta);
	bool by_word =
		instance->spec->ready != PH_READY_NOTIFY && instance->spec->ready != PH_READY_PROBE;
	if (by_word || instance->activated)
		ph_instance_step(hub, instance, PH_INSTANCE_IN_READY);
}

static bool of_old(enum ph_wop op)
{
	return op == PH_W_HANDOVER_ACCEPT || op == PH_W_HANDOVER_REFUSE || op == PH_W_PROGRESS ||
	       op == PH_W_STATE_END || op == PH_W_RESUMED || op == PH_W_RETENTION_HANDLED;
}

static void on_worker(struct ph_hub *hub, struct ph_instance *instance, const struct ph_wmsg *msg)
{
	instance->watchdog_ms = msg->op == PH_W_WATCHDOG ? hub->now_ms : instance->watchdog_ms;
	if (msg->op == PH_W_HELLO) {
		on_hello(hub, instance, msg);
	} else if (msg->op == PH_W_READY) {
		on_ready(hub, instance, msg);
	} else if (msg->op == PH_W_META) {
		set_meta(hub, instance, msg->meta);
	} else if (of_old(msg->op)) {
		if (msg->op == PH_W_RESUMED)
			instance->resumed_by_ms = 0;
		if (instance->source && instance->source->old == instance)
			ph_source_worker(hub, instance->source, msg);
		else if (instance->conflict)
			ph_conflict_worker(hub, instance->conflict, msg);
		else if (!instance->adopted && !ph_id_equal(&msg->id, &instance->past))
			ph_complain(hub, instance, "no_handover",
				"this worker is not the old one of a handover");
	} else if (msg->op == PH_W_HANDOVER_REJECT || msg->op == PH_W_HANDOVER_LOADED) {
		if (instance->target && instance->target->fresh == instance)
			ph_target_worker(hub, instance->target, msg);
		else if (!instance->adopted && !ph_id_equal(&msg->id, &instance->past))
			ph_complain(hub, instance, "no_handover",
				"this worker is not the new one of a handover");
	}
	if (instance->slot && instance->state == PH_INSTANCE_RUNNING)
		ph_instance_arm(hub, instance);
}

/* So long from now, if that is later than what holds already: as systemd has it. */
static void extend(struct ph_hub *hub, struct ph_instance *instance, uint64_t extend_ms)
{
	uint64_t until_ms = hub->now_ms + extend_ms, timeout_ms = instance->spec->start_timeout_ms;
	if (instance->state == PH_INSTANCE_STARTING && until_ms > instance->since_ms + timeout_ms)
		instance->since_ms = until_ms - timeout_ms;
	if (instance->state == PH_INSTANCE_STOPPING && until_ms > instance->kill_ms)
		instance->kill_ms = until_ms;
}

static void on_notify(struct ph_hub *hub, struct ph_instance *instance, const struct ph_notify *n)
{
	if (n->watchdog)
		instance->watchdog_ms = hub->now_ms;
	if (n->main_pid) {
		instance->pid = n->main_pid;
		ph_instance_publish(hub, instance);
	}
	if (n->trigger) {
		ph_log(hub, PH_LOG_WARNING, "%s/%u says WATCHDOG=trigger",
			instance->slot->child->name.s, instance->slot->number);
		if (instance->after == PH_AFTER_POLICY)
			ph_reason_keep(&instance->why, "it says WATCHDOG=trigger");
		ph_instance_step(hub, instance, PH_INSTANCE_IN_KILL);
		return;
	}
	if (n->extend_ms)
		extend(hub, instance, n->extend_ms);
	if (n->ready && instance->spec->ready == PH_READY_NOTIFY &&
		instance->state == PH_INSTANCE_STARTING)
		ph_instance_step(hub, instance, PH_INSTANCE_IN_READY);
	else
		ph_instance_arm(hub, instance);
}

/*
 * The fence is stopping what others may take over. Whatever policy says: these workers are as those
 * of a node that died. A migration hears of the death of its worker when it comes; the others are
 * stopped from here too, should the fence not come to its end.
 */
static void on_fenced(struct ph_hub *hub)
{
	struct ph_instance *i;
	unsigned n = 0;
	if (!ph_quorate(hub)) /* else it has no lease, and needs no other reason to ask */
		hub->away = true;
	DL_FOREACH (hub->instances, i) {
		bool goes_on = i->after == PH_AFTER_POLICY || i->after == PH_AFTER_AGAIN ||
			       i->after == PH_AFTER_GROUP;
		bool migrates = i->source || (i->target && i->target->state != PH_TARGET_ACTIVE);
		if (i->spec->local || !ph_instance_has_process(i))
			continue;
		if (!migrates && i->state < PH_INSTANCE_STOPPING)
			ph_instance_step(hub, i, PH_INSTANCE_IN_STOP);
		if (goes_on && i->slot->work->instance == i)
			i->after = PH_AFTER_CLAIM;
		n++;
	}
	ph_log(hub, PH_LOG_WARNING,
		"this node was silent for longer than fence_after: %u of its workers are being "
		"stopped",
		n);
}

static void on_spawn_failed(
	struct ph_hub *hub, struct ph_instance *instance, const struct ph_event *event)
{
	const char *text = event->text ? event->text : "unknown";
	bool taken = event->error == EADDRINUSE || event->error == EADDRNOTAVAIL;
	instance->blocked = taken ? instance->blocked + 1 : 0;
	ph_log(hub, instance->blocked > 1 ? PH_LOG_DEBUG : PH_LOG_ERROR,
		"%s/%u cannot be started%s: %s", instance->slot->child->name.s,
		instance->slot->number, taken ? ", and is tried again until it can" : "", text);
	ph_reason_keep(&instance->why, "it cannot be started: %s", text);
	if (instance->target)
		ph_reason(instance->target->reason, "%s", event->text ? event->text : "");
	if (ph_unfit_pass_on(hub, instance, event->error))
		instance->after = PH_AFTER_DISCARD;
	ph_instance_step(hub, instance, PH_INSTANCE_IN_SPAWN_FAILED);
}

void ph_instance_event(struct ph_hub *hub, const struct ph_event *event)
{
	struct ph_instance *instance;
	if (event->kind == PH_EV_FENCED) {
		on_fenced(hub);
		return;
	}
	HASH_FIND(hh, hub->by_wid, &event->wid, sizeof event->wid, instance);
	if (!instance)
		return;
	if (event->kind == PH_EV_SPAWNED) {
		instance->pid = event->pid;
		instance->blocked = 0;
		ph_instance_step(hub, instance, PH_INSTANCE_IN_SPAWNED);
		if (instance->slot) /* no order reached it while it was being started */
			ph_child_catch_up(hub, instance->slot);
	} else if (event->kind == PH_EV_SPAWN_FAILED) {
		on_spawn_failed(hub, instance, event);
	} else if (event->kind == PH_EV_EXITED) {
		instance->exit = event->exit;
		ph_instance_step(hub, instance, PH_INSTANCE_IN_EXITED);
	} else if (event->kind == PH_EV_GONE) {
		ph_instance_step(hub, instance, PH_INSTANCE_IN_GONE);
	} else if (event->kind == PH_EV_WORKER) {
		on_worker(hub, instance, event->worker);
	} else if (event->kind == PH_EV_WORKER_CLOSED) {
		instance->connected = false;
		instance->closed_ms = hub->now_ms;
		if (instance->resumed_by_ms) {
			ph_instance_await_resumed(hub, instance);
			ph_instance_arm(hub, instance);
		}
	} else if (event->kind == PH_EV_PROBED) {
		ph_health_probed(hub, instance, event);
	} else if (event->kind == PH_EV_NOTIFIED) {
		on_notify(hub, instance, event->notify);
	}
}
