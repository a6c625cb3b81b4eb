/*
 * target_restart.c - a migration as its target sees it: restored, and gone on with, after a restart
 * of the daemon.
 */
#include "core/swap.h"
#include "core/target.h"

#define KEPT_MAX 4096	    /* outcomes that are kept for those who may ask; more are dropped */
#define RESTART_ASK_MS 1000 /* A is told an outcome again, so long after the restart */

void ph_target_restore(struct ph_hub *hub, const struct ph_record *record)
{
	struct ph_target *t;
	HASH_FIND(hh, hub->targets, record->id.b, sizeof record->id.b, t);
	if (record->kind == PH_RECORD_FORGET) {
		if (!t)
			return;
		HASH_DEL(hub->targets, t);
		if (t->slot->work->target == t)
			ph_slot_work(hub, t->slot)->target = NULL;
		ph_out_bury(hub, t);
		return;
	}
	if (record->kind != PH_RECORD_PREPARED && record->kind != PH_RECORD_ACTIVE &&
		record->kind != PH_RECORD_NEVER)
		return;
	struct ph_slot *slot = ph_swap_slot(hub, &record->peer, &record->id, &record->key);
	if (!t)
		t = ph_target_new(
			hub, &record->id, slot, &record->peer, record->epoch, record->revision);
	t->new_epoch = record->revision;
	ph_slot_seen(hub, slot, t->new_epoch);
	t->was_prepared = true;
	t->overlap |= record->overlap;
	t->restored = true;
	t->state = record->kind == PH_RECORD_PREPARED ? PH_TARGET_PREPARED
		   : record->kind == PH_RECORD_ACTIVE ? PH_TARGET_ACTIVE
						      : PH_TARGET_NEVER;
	ph_slot_work(hub, slot)->target = t->state == PH_TARGET_PREPARED ? t : NULL;
}

/*
 * `active` was synced: this node owns the child. Where N is gone it is given back, as what O has is
 * newer than a cold start; a member that has seen N ready objects to that.
 */
static void restart_active(struct ph_hub *hub, struct ph_target *t)
{
	struct ph_slot *slot = t->slot;
	struct ph_instance *fresh = t->fresh;
	bool newest = slot->seen <= t->new_epoch;
	const struct ph_source *s = slot->work->source;
	bool swap = s && ph_id_equal(&s->id, &t->id) && s->old == slot->work->instance;
	if ((slot->work->instance && !swap) || slot->work->target)
		return;
	if (!fresh) {
		if (newest)
			ph_target_give_back(hub, t);
		return; /* what does not run is claimed by the plan */
	}
	if (newest || !slot->entered) {
		ph_slot_work(hub, slot)->instance = fresh;
		fresh->epoch = t->new_epoch;
		fresh->role = PH_ROLE_ACTIVE;
		ph_slot_own(hub, slot, t->new_epoch, PH_LINEAGE_CONTINUED);
	}
	if (fresh->said_ready) {
		fresh->state = PH_INSTANCE_RUNNING;
		fresh->target = NULL;
		t->fresh = NULL;
		ph_slot_publish(hub, slot);
		return;
	}
	t->told = PH_W_ACTIVATE; /* repeated when N reconnects */
	fresh->state = PH_INSTANCE_STANDING;
	ph_instance_step(hub, fresh, PH_INSTANCE_IN_ACTIVATE);
}

void ph_target_restart(struct ph_hub *hub)
{
	struct ph_target *t, *next;
	HASH_ITER (hh, hub->targets, t, next) {
		if (ph_target_ended(t)) { /* A may wait for this very word */
			t->resend_ms = hub->now_ms + RESTART_ASK_MS;
			ph_timer_set(hub, &t->timer, t->resend_ms);
		}
		if (t->fresh && t->overlap) { /* it serves: that is what made it `prepared` */
			t->fresh->role = PH_ROLE_ACTIVE;
			t->fresh->said_ready = true;
		}
		if (t->state == PH_TARGET_ACTIVE) {
			restart_active(hub, t);
		} else if (t->state == PH_TARGET_PREPARED && t->fresh) {
			t->fresh->state = PH_INSTANCE_STANDING;
			ph_target_say(hub, t, PH_B_PREPARED, true);
			ph_target_entered(hub, t, PH_TARGET_NEVER);
		} else if (t->state == PH_TARGET_PREPARED) {
			t->answer = PH_B_NACK;
			ph_target_step(hub, t, PH_TARGET_IN_N_DEAD);
		} else if (t->fresh) { /* never */
			t->fresh->after = PH_AFTER_DISCARD;
			t->fresh->target = NULL;
			ph_instance_step(hub, t->fresh, PH_INSTANCE_IN_STOP);
			t->fresh = NULL;
		}
	}
	HASH_ITER (hh, hub->targets, t, next)
		if (HASH_COUNT(hub->targets) > KEPT_MAX && !t->fresh &&
			(t->state == PH_TARGET_NEVER || t->state == PH_TARGET_ACTIVE))
			ph_target_free(hub, t);
}
