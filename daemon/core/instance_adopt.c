/* instance_adopt.c - workers that an earlier daemon has left, as instances of this one. */
#include "core/heal.h"
#include "core/instance.h"
#include "core/settled.h"

#include <stdlib.h>
#include <string.h>

/* The new one of a handover that the state file misses: by the epoch that it was started for. */
static bool find_target(struct ph_hub *hub, struct ph_instance *instance)
{
	struct ph_target *t, *next;
	if (instance->state != PH_INSTANCE_STANDING || !ph_id_none(&instance->past))
		return false;
	HASH_ITER (hh, hub->targets, t, next) {
		if (t->slot != instance->slot || t->fresh || t->new_epoch != instance->epoch)
			continue;
		instance->target = t;
		t->fresh = instance;
		return true;
	}
	return false;
}

/*
 * Which migration it belongs to was restored from the journal, if it got that far. Both workers of
 * a swap name the same one: the new one has the higher epoch.
 */
static bool find_migration(
	struct ph_hub *hub, struct ph_instance *instance, const struct ph_adopted *adopted)
{
	const struct ph_id *id = &adopted->migration;
	HASH_FIND(hh, hub->sources, id->b, sizeof id->b, instance->source);
	if (instance->source && adopted->epoch > instance->source->epoch)
		instance->source = NULL;
	if (instance->source) {
		uint64_t most_ms = hub->now_ms + instance->spec->retention_ms;
		instance->source->old = instance;
		/* it goes on where it was, however often the daemon dies meanwhile */
		if (adopted->retired && adopted->retained_until_ms < most_ms)
			instance->source->retention_until_ms = adopted->retained_until_ms;
		return true;
	}
	HASH_FIND(hh, hub->targets, id->b, sizeof id->b, instance->target);
	if (instance->target && adopted->epoch <= instance->target->epoch)
		instance->target = NULL;
	if (instance->target)
		instance->target->fresh = instance;
	return instance->target != NULL || find_target(hub, instance);
}

/* No migration is known that it is in. One that was given away since the state file was written is
 * no owner: end_strays() ends it. */
static bool owns(const struct ph_hub *hub, const struct ph_instance *instance)
{
	const struct ph_slot *slot = instance->slot;
	bool runs =
		instance->state == PH_INSTANCE_RUNNING || instance->state == PH_INSTANCE_STARTING;
	return runs && (slot->work->source || !ph_settled_given(hub, slot, instance->epoch));
}

static struct ph_instance *adopted_instance(struct ph_hub *hub, struct ph_slot *slot,
	const struct ph_spec *spec, const struct ph_adopted *adopted)
{
	struct ph_instance *instance =
		ph_instance_new(hub, slot, spec, adopted->role, adopted->epoch);
	ph_instance_revise(instance, adopted->revision);
	instance->restarts = adopted->restarts;
	ph_policy_resume(hub, instance, &adopted->tally);
	ph_heal_adopt(hub, instance, adopted);
	ph_slot_seen(hub, slot, adopted->epoch);
	return instance;
}

/* It is not to hear of a lower epoch than it has been told since the state file was written. */
static struct ph_adopted as_told(
	const struct ph_hub *hub, const struct ph_slot *slot, const struct ph_adopted *adopted)
{
	struct ph_adopted told = *adopted;
	if (told.role == PH_ROLE_ACTIVE && !told.retired)
		told.epoch = ph_settled_epoch(hub, slot, told.epoch);
	return told;
}

/* No state of it changes because a daemon was away. */
static void go_on_since(const struct ph_hub *hub, struct ph_slot *slot, uint64_t since_ms)
{
	if (since_ms && since_ms < hub->now_ms)
		slot->since_ms = since_ms;
}

void ph_instance_wait_on(struct ph_hub *hub, struct ph_instance *instance, uint64_t due_ms)
{
	const struct ph_restart *policy = &instance->spec->restart;
	uint64_t most = policy->backoff_max_ms > policy->delay_ms ? policy->backoff_max_ms
								  : policy->delay_ms;
	if (instance->state == PH_INSTANCE_FAILED)
		most = policy->retry_after_ms;
	ph_timer_set(hub, &instance->timer, min_ms(due_ms, hub->now_ms + most));
}

/* What is done stays done: an earlier daemon has seen its end, and its policy wants no other, or
 * not yet. */
static void adopt_done(struct ph_hub *hub, const struct ph_adopted *adopted)
{
	struct ph_child *child = ph_child_get(hub, &adopted->key.child);
	const struct ph_spec *spec = adopted->spec ? adopted->spec : ph_child_spec(child);
	if (!spec)
		return;
	struct ph_slot *slot = ph_slot_get(hub, &adopted->key, spec->local ? &hub->set.node : NULL);
	if (slot->work->instance)
		return;
	struct ph_instance *instance = adopted_instance(hub, slot, spec, adopted);
	instance->exit = adopted->exit;
	instance->state = adopted->failed   ? PH_INSTANCE_FAILED
			  : adopted->due_ms ? PH_INSTANCE_BACKOFF
					    : PH_INSTANCE_STOPPED;
	if (adopted->due_ms)
		ph_instance_wait_on(hub, instance, adopted->due_ms);
	if (adopted->why)
		ph_reason_keep(&instance->why, "%s", adopted->why);
	ph_slot_work(hub, slot)->instance = instance;
	ph_slot_own(hub, slot, adopted->epoch, PH_LINEAGE_CONTINUED);
	ph_slot_publish(hub, slot);
	go_on_since(hub, slot, adopted->since_ms);
}

/* It may have its signal, and end before it gets another one: that is no end of the child. */
static void restart_on(
	struct ph_hub *hub, struct ph_instance *instance, const struct ph_adopted *adopted)
{
	const struct ph_slot *slot = instance->slot;
	if (!adopted->again || slot->work->instance != instance || slot->wish_stopped)
		return; /* or an operator has stopped it since: the plan sees to that */
	ph_instance_step(hub, instance, PH_INSTANCE_IN_RESTART);
	instance->restarts = adopted->restarts; /* it was counted when it began */
}

void ph_instance_adopt(struct ph_hub *hub, const struct ph_adopted *adopted)
{
	if (adopted->done) {
		adopt_done(hub, adopted);
		return;
	}
	struct ph_child *child = ph_child_get(hub, &adopted->key.child);
	const struct ph_spec *spec = adopted->spec ? adopted->spec : ph_child_spec(child);
	if (!spec) { /* nothing says how it is to be kept: end it as a stranger */
		struct ph_action *action = ph_out(hub, PH_ACT_SIGNAL);
		action->wid = adopted->wid;
		action->signal = 9;
		ph_out(hub, PH_ACT_REAP)->wid = adopted->wid;
		return;
	}
	struct ph_slot *slot = ph_slot_get(hub, &adopted->key, spec->local ? &hub->set.node : NULL);
	const struct ph_adopted told = as_told(hub, slot, adopted);
	adopted = &told;
	struct ph_instance *instance = adopted_instance(hub, slot, spec, adopted);
	/* The journal that had the text is lost: what runs here is in force, and told to others. Of
	 * the two workers of a swap that is the newer one's. */
	if (adopted->spec && adopted->revision > child->removed_revision)
		ph_child_in_force(hub, child, adopted->spec, adopted->revision, true);
	instance->wid = adopted->wid;
	instance->pid = adopted->pid;
	instance->adopted = true;
	instance->unheard = adopted->unheard;
	instance->past = adopted->migration;
	/* One that needs but run to be ready may have been started in the daemon's last moment. */
	bool ready =
		adopted->ready || (spec->ready == PH_READY_NONE && adopted->role == PH_ROLE_ACTIVE);
	instance->said_ready = ready;
	instance->ready_ms = ready ? hub->now_ms : 0; /* its healthy time begins anew */
	instance->meta = adopted->meta ? ph_must(strdup(adopted->meta)) : NULL;
	instance->started_ms = instance->watchdog_ms = instance->closed_ms = hub->now_ms;
	HASH_ADD(hh, hub->by_wid, wid, sizeof instance->wid, instance);
	if (adopted->wid > hub->numbers)
		hub->numbers = adopted->wid;
	if (adopted->retired)
		instance->state = PH_INSTANCE_RETIRED;
	else if (adopted->role == PH_ROLE_STANDBY)
		instance->state = PH_INSTANCE_STANDING;
	else
		instance->state = ready ? PH_INSTANCE_RUNNING : PH_INSTANCE_STARTING;
	ph_health_enter(hub, instance);
	if (find_migration(hub, instance, adopted))
		return;
	if (owns(hub, instance)) {
		if (!slot->work->instance || slot->work->instance->epoch < adopted->epoch) {
			ph_slot_work(hub, slot)->instance =
				instance; /* another one is a stray, and ended */
			ph_slot_own(hub, slot, adopted->epoch, PH_LINEAGE_CONTINUED);
			ph_slot_publish(hub, slot);
			go_on_since(hub, slot, adopted->since_ms);
		}
		ph_instance_arm(hub, instance);
		restart_on(hub, instance, adopted);
	}
}
