/*
 * target.c - a migration as its target sees it: the machine.
 *
 * B may refuse at any moment before `active` is being written: it ends N, syncs `never`, and only
 * then says so. From the moment `active` is being written B owns the child, whatever N does.
 */
#include "core/target.h"
#include "core/heal.h"

#include <string.h>

typedef enum ph_target_state cell(struct ph_hub *, struct ph_target *);

static enum ph_target_state ignore(struct ph_hub *hub, struct ph_target *t)
{
	(void)hub;
	return t->state;
}

static enum ph_target_state bug(struct ph_hub *hub, struct ph_target *t)
{
	ph_log(hub, PH_LOG_ERROR, "bug: incoming %s/%u in state %d got an input that cannot be",
		t->slot->child->name.s, t->slot->number, (int)t->state);
	return t->state;
}

static void cut_stream(struct ph_hub *hub, struct ph_target *t)
{
	if (!t->streaming)
		return;
	t->streaming = false;
	struct ph_stream_order *order = ph_out_alloc(hub, sizeof *order);
	order->id = t->id;
	order->incoming = true;
	ph_out(hub, PH_ACT_STREAM_CLOSE)->stream = order;
}

/* ---- refusing: N dead, then `never` synced, then said ---- */

static enum ph_target_state write_never(struct ph_hub *hub, struct ph_target *t)
{
	ph_target_write(hub, t, PH_RECORD_NEVER);
	return PH_TARGET_REFUSING;
}

static enum ph_target_state drop(
	struct ph_hub *hub, struct ph_target *t, enum ph_bkind answer, const char *reason)
{
	struct ph_instance *fresh = t->fresh;
	t->answer = answer;
	t->said = PH_B_NONE;
	t->resend_ms = PH_NEVER_MS;
	if (!t->reason[0])
		ph_reason(t->reason, "%s", reason);
	cut_stream(hub, t);
	if (t->slot->work->claim)
		ph_claim_drop(hub, t->slot->work->claim);
	if (!fresh || !ph_instance_has_process(fresh)) {
		if (fresh)
			ph_instance_free(hub, fresh);
		return write_never(hub, t);
	}
	ph_target_tell(hub, t, PH_W_ABORT);
	fresh->after = PH_AFTER_DISCARD;
	ph_instance_step(hub, fresh, PH_INSTANCE_IN_STOP);
	return PH_TARGET_DROPPING;
}

static enum ph_target_state fresh_died(struct ph_hub *hub, struct ph_target *t)
{
	if (t->fresh && t->fresh->why && !t->reason[0])
		ph_reason(t->reason, "the new worker: %s", t->fresh->why);
	if (t->fresh)
		ph_instance_free(hub, t->fresh);
	return drop(hub, t, t->was_prepared ? PH_B_NACK : PH_B_REJECT, "the new worker ended");
}

static enum ph_target_state dropped(struct ph_hub *hub, struct ph_target *t)
{
	if (t->fresh)
		ph_instance_free(hub, t->fresh);
	return write_never(hub, t);
}

static enum ph_target_state aborted(struct ph_hub *hub, struct ph_target *t)
{
	return drop(hub, t, PH_B_ABORTED, "aborted by the source");
}

/* N is on its way out for another reason: ABORT is answered when it is gone. */
static enum ph_target_state answer_abort(struct ph_hub *hub, struct ph_target *t)
{
	(void)hub;
	t->answer = PH_B_ABORTED;
	return t->state;
}

static enum ph_target_state answer_nack(struct ph_hub *hub, struct ph_target *t)
{
	(void)hub;
	t->answer = PH_B_NACK;
	return t->state;
}

static enum ph_target_state source_died(struct ph_hub *hub, struct ph_target *t)
{
	return drop(hub, t, PH_B_ABORTED, "the source node died or left");
}

static enum ph_target_state too_late(struct ph_hub *hub, struct ph_target *t)
{
	return drop(hub, t, PH_B_REJECT,
		t->state == PH_TARGET_STARTING ? "the new worker was not ready in time"
		: t->told_end_ms	       ? "the new worker did not load the state in time"
					       : "nothing was heard of the source in time");
}

static enum ph_target_state rejected(struct ph_hub *hub, struct ph_target *t)
{
	return drop(hub, t, PH_B_REJECT, "the new worker rejected the state");
}

static enum ph_target_state broken(struct ph_hub *hub, struct ph_target *t)
{
	return drop(hub, t, PH_B_REJECT, "the transfer of the state failed");
}

static enum ph_target_state cannot_commit(struct ph_hub *hub, struct ph_target *t)
{
	return drop(hub, t, PH_B_NACK, "commit without the whole state");
}

static enum ph_target_state owned(struct ph_hub *hub, struct ph_target *t)
{
	return drop(hub, t, PH_B_ABORTED, "another node owns the child");
}

static enum ph_target_state never_synced(struct ph_hub *hub, struct ph_target *t)
{
	ph_target_say(hub, t, t->answer, false);
	return PH_TARGET_NEVER;
}

/* Without a synced `never` nothing may be said; tried again once the journal is back. */
static enum ph_target_state never_unsynced(struct ph_hub *hub, struct ph_target *t)
{
	t->deadline_ms = hub->now_ms + PH_RESEND_MAX_MS;
	return t->state;
}

static enum ph_target_state nack(struct ph_hub *hub, struct ph_target *t)
{
	ph_target_say(hub, t, PH_B_NACK, false);
	return t->state;
}

static enum ph_target_state say_aborted(struct ph_hub *hub, struct ph_target *t)
{
	ph_target_say(hub, t, PH_B_ABORTED, false);
	return t->state;
}

static enum ph_target_state say_reject(struct ph_hub *hub, struct ph_target *t)
{
	ph_target_say(hub, t, PH_B_REJECT, false);
	return t->state;
}

static enum ph_target_state forget(struct ph_hub *hub, struct ph_target *t)
{
	if (t->state == PH_TARGET_ACTIVE && t->fresh) /* N is still to be told, maybe again */
		return t->state;
	ph_target_say(hub, t, PH_B_FORGOTTEN, false);
	ph_target_free(hub, t);
	return PH_TARGET_NEVER;
}

/* ---- start, load ---- */

static bool format_fits(const struct ph_target *t, char text[PH_REASON_SIZE])
{
	const struct ph_instance *fresh = t->fresh;
	if (!(fresh->caps & PH_CAP_HANDOVER)) {
		ph_reason(text, "the new worker cannot take a state");
		return false;
	}
	if (!t->format[0] || !fresh->n_accepts)
		return true;
	for (size_t i = 0; i < fresh->n_accepts; i++) {
		const struct ph_accepts *a = &fresh->accepts[i];
		if (strcmp(a->format, t->format) == 0 && t->format_version >= a->min &&
			t->format_version <= a->max)
			return true;
	}
	ph_reason(text, "the new worker does not accept format %s version %llu", t->format,
		(unsigned long long)t->format_version);
	return false;
}

static void write_prepared(struct ph_hub *hub, struct ph_target *t)
{
	cut_stream(hub, t);
	t->taken_ms = hub->now_ms;
	ph_target_write(hub, t, PH_RECORD_PREPARED);
}

static enum ph_target_state started(struct ph_hub *hub, struct ph_target *t)
{
	char text[PH_REASON_SIZE];
	if (t->overlap) {
		if (t->fresh->spec->ready == PH_READY_NONE)
			return PH_TARGET_SETTLING;
		write_prepared(hub, t);
		return PH_TARGET_PREPARING;
	}
	if (!format_fits(t, text))
		return drop(hub, t, PH_B_REJECT, text);
	struct ph_stream_order *order = ph_out_alloc(hub, sizeof *order);
	order->id = t->id;
	order->peer = t->peer;
	order->wid = t->fresh->wid;
	order->incoming = true;
	order->max_bytes = t->fresh->spec->max_state_bytes;
	memcpy(order->ticket, t->ticket, sizeof order->ticket);
	ph_out(hub, PH_ACT_STREAM_EXPECT)->stream = order;
	t->streaming = true;
	ph_target_say(hub, t, PH_B_READY, false);
	return PH_TARGET_LOADING;
}

static enum ph_target_state settled(struct ph_hub *hub, struct ph_target *t)
{
	write_prepared(hub, t);
	return PH_TARGET_PREPARING;
}

static enum ph_target_state say_ready(struct ph_hub *hub, struct ph_target *t)
{
	if (!t->overlap)
		ph_target_say(hub, t, PH_B_READY, false);
	return t->state;
}

static enum ph_target_state begin_round(struct ph_hub *hub, struct ph_target *t)
{
	char text[PH_REASON_SIZE];
	if (t->told_round)
		return t->state;
	if (!format_fits(t, text))
		return drop(hub, t, PH_B_REJECT, text);
	t->told_round = true;
	ph_target_tell(hub, t, PH_W_HANDOVER);
	return t->state;
}

/* N may apply the round once A's count and digest and the stream's agree. */
static enum ph_target_state try_apply(struct ph_hub *hub, struct ph_target *t)
{
	if (!t->have_end || !t->have_stream || t->told_end)
		return t->state;
	if (t->end_bytes != t->stream_bytes || t->end_digest != t->stream_digest)
		return drop(hub, t, PH_B_REJECT, "bytes or digest differ between the two nodes");
	t->told_end = true;
	t->told_end_ms = hub->now_ms;
	ph_target_tell(hub, t, PH_W_STATE_END);
	return t->state;
}

static enum ph_target_state loaded(struct ph_hub *hub, struct ph_target *t)
{
	t->loaded = true;
	t->told_end_ms = 0;
	if (!t->end_final) {
		ph_target_say(hub, t, PH_B_LOADED, false);
		return t->state;
	}
	write_prepared(hub, t);
	return PH_TARGET_PREPARING;
}

static enum ph_target_state prepared_synced(struct ph_hub *hub, struct ph_target *t)
{
	t->was_prepared = true;
	ph_target_say(hub, t, PH_B_PREPARED, true);
	return PH_TARGET_PREPARED;
}

static enum ph_target_state unsynced(struct ph_hub *hub, struct ph_target *t)
{
	return drop(hub, t, PH_B_REJECT, "the target's journal cannot be written");
}

static enum ph_target_state say_prepared(struct ph_hub *hub, struct ph_target *t)
{
	ph_target_say(hub, t, PH_B_PREPARED, true);
	return t->state;
}

/* ---- active ---- */

/*
 * No plan moves it to where the text of its start does not want it: an order does. That is to hold
 * over restarts, so it stands in the journal before the record that makes this node the owner.
 */
static void keep_order(struct ph_hub *hub, struct ph_target *t)
{
	const struct ph_spec *spec = t->fresh ? t->fresh->spec : NULL;
	bool ordered = spec && !ph_place_allows(hub, spec, &hub->set.node);
	uint64_t forced = ordered ? spec->revision : 0;
	if (forced == t->slot->work->forced)
		return;
	ph_slot_work(hub, t->slot)->forced = forced;
	struct ph_record record = ph_slot_record(t->slot);
	(void)ph_journal(hub, &record);
}

static enum ph_target_state activate(struct ph_hub *hub, struct ph_target *t)
{
	keep_order(hub, t);
	t->said = PH_B_NONE;
	t->resend_ms = PH_NEVER_MS;
	if (t->slot->work->claim)
		ph_claim_drop(hub, t->slot->work->claim);
	ph_target_write(hub, t, PH_RECORD_ACTIVE);
	return PH_TARGET_ACTIVATING;
}

static enum ph_target_state take_over(struct ph_hub *hub, struct ph_target *t)
{
	t->a_dead = true;
	t->said = PH_B_NONE;
	t->resend_ms = PH_NEVER_MS;
	(void)ph_claim_start(hub, t->slot, PH_CLAIM_TAKEOVER, &hub->set.node, &t->id, 0);
	return PH_TARGET_CLAIMING;
}

static enum ph_target_state source_lives(struct ph_hub *hub, struct ph_target *t)
{
	t->a_dead = false;
	if (t->slot->work->claim)
		ph_claim_drop(hub, t->slot->work->claim);
	ph_target_say(hub, t, PH_B_PREPARED, true);
	return PH_TARGET_PREPARED;
}

static enum ph_target_state denied(struct ph_hub *hub, struct ph_target *t)
{
	return drop(hub, t, PH_B_ABORTED, "the members refused the takeover");
}

static enum ph_target_state release(struct ph_hub *hub, struct ph_target *t)
{
	/* Until A has answered it stays this node's: nobody may start an empty one meanwhile. */
	ph_slot_work(hub, t->slot)->target = t;
	if (t->fresh) {
		ph_slot_work(hub, t->slot)->instance = NULL;
		ph_instance_free(hub, t->fresh);
	}
	ph_target_write(hub, t, PH_RECORD_NEVER);
	return PH_TARGET_RELEASING;
}

void ph_target_give_back(struct ph_hub *hub, struct ph_target *t)
{
	t->state = release(hub, t);
	ph_target_entered(hub, t, PH_TARGET_ACTIVE);
}

/*
 * There is nobody to give it back to: it starts again here, from its spec. Where somebody may have
 * owned it meanwhile, it is asked for like anything that nobody has.
 */
static enum ph_target_state start_again(struct ph_hub *hub, struct ph_target *t)
{
	if (t->fresh) {
		ph_slot_work(hub, t->slot)->instance = NULL;
		ph_instance_free(hub, t->fresh);
	}
	t->said = PH_B_NONE;
	t->resend_ms = PH_NEVER_MS;
	if (t->slot->work->target == t)
		ph_slot_work(hub, t->slot)->target = NULL;
	bool asked_for = t->restored || t->slot->seen > t->new_epoch || ph_quorate(hub);
	if (asked_for && !t->slot->work->instance && ph_slot_mine(hub, t->slot))
		ph_slot_release(hub, t->slot);
	if (asked_for)
		ph_plan_soon(hub, 0);
	else if (!t->slot->work->instance && ph_is_self(hub, &t->slot->entry.node->name))
		ph_own_start(hub, t->slot, t->new_epoch, PH_LINEAGE_COLD, NULL);
	/* Whoever asks is told what the journal says. */
	return t->state == PH_TARGET_RELEASING ? PH_TARGET_NEVER : PH_TARGET_ACTIVE;
}

static void tell_one_more(struct ph_hub *hub, struct ph_target *t)
{
	for (struct ph_member *m = hub->members; m; m = m->hh.next)
		if (m->state == PH_MEMBER_ALIVE && !ph_name_equal(&m->info.name, &t->peer)) {
			ph_registry_tell(hub, t->slot, &m->info.name);
			return;
		}
}

static enum ph_target_state active_synced(struct ph_hub *hub, struct ph_target *t)
{
	struct ph_instance *fresh = t->fresh;
	struct ph_slot *slot = t->slot;
	/* It was away meanwhile, held for dead: N, which was told nothing yet, is none any more. */
	if (slot->entered && slot->entry.epoch > t->new_epoch)
		return drop(hub, t, PH_B_ABORTED, "another node owns the child");
	if (fresh && t->a_dead)
		ph_heal_from_copy(hub, fresh, t->taken_ms);
	ph_slot_own(
		hub, slot, t->new_epoch, t->a_dead ? PH_LINEAGE_FROM_COPY : PH_LINEAGE_CONTINUED);
	tell_one_more(hub, t);
	if (!t->a_dead)
		ph_target_say(hub, t, PH_B_ACTIVE, false);
	if (!fresh || !ph_instance_has_process(fresh)) /* it ended meanwhile */
		return t->a_dead ? start_again(hub, t) : release(hub, t);
	struct ph_instance *before = slot->work->instance;
	ph_slot_work(hub, slot)->target = NULL;
	ph_slot_work(hub, slot)->instance = fresh;
	if (before && before != fresh && !ph_instance_has_process(before)) {
		before->after = PH_AFTER_DISCARD; /* what is left of a stopped O, in a swap */
		ph_instance_step(hub, before, PH_INSTANCE_IN_STOP);
	}
	if (fresh->state != PH_INSTANCE_STANDING) { /* it is being ended: said when it is gone */
		fresh->activated = true;
		return PH_TARGET_ACTIVE;
	}
	ph_slot_work(hub, slot)->planned_ms = t->planned_ms;
	ph_plan_soon(hub, 0);
	fresh->epoch = t->new_epoch;
	struct ph_child *child = ph_child_get(hub, &slot->child->name);
	ph_child_in_force(hub, child, fresh->spec, fresh->spec->revision, true);
	if (!t->overlap)
		ph_target_tell(hub, t, PH_W_ACTIVATE);
	t->state = PH_TARGET_ACTIVE;
	ph_instance_step(hub, fresh, PH_INSTANCE_IN_ACTIVATE);
	return PH_TARGET_ACTIVE;
}

/* It may stand in the file and may not: it is written again to the next one, and not refused. */
static enum ph_target_state active_unsynced(struct ph_hub *hub, struct ph_target *t)
{
	t->deadline_ms = hub->now_ms + PH_RESEND_MAX_MS;
	return t->state;
}

static enum ph_target_state write_active(struct ph_hub *hub, struct ph_target *t)
{
	ph_target_write(hub, t, PH_RECORD_ACTIVE);
	return t->state;
}

static enum ph_target_state rewrite_never(struct ph_hub *hub, struct ph_target *t)
{
	ph_target_write(hub, t, PH_RECORD_NEVER);
	return t->state;
}

static enum ph_target_state say_active(struct ph_hub *hub, struct ph_target *t)
{
	ph_target_say(hub, t, PH_B_ACTIVE, false);
	return t->state;
}

static enum ph_target_state serves(struct ph_hub *hub, struct ph_target *t)
{
	ph_plan_soon(hub, 0); /* what is in force may be another text by now */
	if (t->fresh) {
		t->fresh->target = NULL; /* an ordinary worker from now on */
		t->fresh->past = t->id;
	}
	t->fresh = NULL;
	return t->state;
}

static enum ph_target_state lost_early(struct ph_hub *hub, struct ph_target *t)
{
	if (!t->fresh)
		return t->state;
	/* One that is no member (yet) may come: it is missed in time, if it does not. */
	const struct ph_member *peer = ph_member_find(hub, &t->peer);
	if (t->a_dead || (peer && !ph_member_live(peer)))
		return start_again(hub, t);
	return release(hub, t);
}

static enum ph_target_state release_synced(struct ph_hub *hub, struct ph_target *t)
{
	/* Others learn that it is free, and A, who goes before them, may take it back. */
	if (ph_slot_mine(hub, t->slot))
		ph_slot_release(hub, t->slot);
	ph_target_say(hub, t, PH_B_RELEASE, true);
	return t->state;
}

/* A's answer: taken back (`busy` false), or too late. */
static enum ph_target_state release_answered(struct ph_hub *hub, struct ph_target *t)
{
	return t->busy ? start_again(hub, t) : PH_TARGET_NEVER;
}

/* ---- every state x input ---- */

#define IN(name) [PH_TARGET_IN_##name]
#define LATE_LOAD \
	IN(STARTED) = ignore, IN(N_REJECTED) = ignore, IN(N_LOADED) = ignore, IN(ROUND) = ignore, \
	IN(ROUND_END) = ignore, IN(STREAMED) = ignore, IN(BROKEN) = ignore
#define NO_CLAIM IN(GRANTED) = ignore, IN(DENIED) = ignore
#define ORDINARY IN(N_READY) = ignore, IN(FORGET) = ignore, IN(RELEASED) = ignore
/* FORGET is A's last word on it, however it came about */
#define UNDECIDED IN(N_READY) = ignore, IN(FORGET) = aborted, IN(RELEASED) = ignore

static cell *const machine[PH_TARGET_STATE_COUNT][PH_TARGET_INPUT_COUNT] = {
	[PH_TARGET_STARTING] = {NO_CLAIM, UNDECIDED, IN(PREPARE) = ignore, IN(STARTED) = started,
		IN(N_REJECTED) = rejected, IN(N_LOADED) = ignore, IN(N_DEAD) = fresh_died,
		IN(ROUND) = ignore, IN(ROUND_END) = ignore, IN(STREAMED) = ignore,
		IN(BROKEN) = ignore, IN(COMMIT) = cannot_commit, IN(ABORT) = aborted,
		IN(OWNED) = owned, IN(SYNCED) = ignore, IN(UNSYNCED) = ignore,
		IN(A_DEAD) = source_died, IN(A_BACK) = ignore, IN(DEADLINE) = too_late},
	[PH_TARGET_LOADING] = {NO_CLAIM, UNDECIDED, IN(PREPARE) = say_ready,
		IN(STARTED) = say_ready, IN(N_REJECTED) = rejected, IN(N_LOADED) = loaded,
		IN(N_DEAD) = fresh_died, IN(ROUND) = begin_round, IN(ROUND_END) = try_apply,
		IN(STREAMED) = try_apply, IN(BROKEN) = broken, IN(COMMIT) = cannot_commit,
		IN(ABORT) = aborted, IN(OWNED) = owned, IN(SYNCED) = ignore, IN(UNSYNCED) = ignore,
		IN(A_DEAD) = source_died, IN(A_BACK) = ignore, IN(DEADLINE) = too_late},
	[PH_TARGET_SETTLING] = {NO_CLAIM, UNDECIDED, LATE_LOAD, IN(PREPARE) = ignore,
		IN(N_DEAD) = fresh_died, IN(COMMIT) = cannot_commit, IN(ABORT) = aborted,
		IN(OWNED) = owned, IN(SYNCED) = ignore, IN(UNSYNCED) = ignore,
		IN(A_DEAD) = source_died, IN(A_BACK) = ignore, IN(DEADLINE) = settled},
	[PH_TARGET_PREPARING] = {NO_CLAIM, UNDECIDED, LATE_LOAD, IN(PREPARE) = ignore,
		IN(N_DEAD) = fresh_died, IN(COMMIT) = ignore, IN(ABORT) = aborted,
		IN(OWNED) = owned, IN(SYNCED) = prepared_synced, IN(UNSYNCED) = unsynced,
		IN(A_DEAD) = source_died, IN(A_BACK) = ignore, IN(DEADLINE) = ignore},
	[PH_TARGET_PREPARED] = {NO_CLAIM, UNDECIDED, IN(PREPARE) = say_prepared,
		IN(STARTED) = ignore, IN(N_REJECTED) = ignore, IN(N_LOADED) = ignore,
		IN(N_DEAD) = fresh_died, IN(ROUND) = ignore, IN(ROUND_END) = say_prepared,
		IN(STREAMED) = ignore, IN(BROKEN) = ignore, IN(COMMIT) = activate,
		IN(ABORT) = aborted, IN(OWNED) = owned, IN(SYNCED) = ignore, IN(UNSYNCED) = ignore,
		IN(A_DEAD) = take_over, IN(A_BACK) = ignore, IN(DEADLINE) = ignore},
	[PH_TARGET_CLAIMING] = {LATE_LOAD, UNDECIDED, IN(PREPARE) = ignore, IN(N_DEAD) = fresh_died,
		IN(COMMIT) = activate, IN(ABORT) = aborted, IN(OWNED) = owned, IN(SYNCED) = ignore,
		IN(UNSYNCED) = ignore, IN(GRANTED) = activate, IN(DENIED) = denied,
		IN(A_DEAD) = ignore, IN(A_BACK) = source_lives, IN(DEADLINE) = ignore},
	[PH_TARGET_ACTIVATING] = {NO_CLAIM, LATE_LOAD, ORDINARY, IN(PREPARE) = ignore,
		IN(N_DEAD) = ignore, IN(COMMIT) = ignore, IN(ABORT) = ignore, IN(OWNED) = ignore,
		IN(SYNCED) = active_synced, IN(UNSYNCED) = active_unsynced, IN(A_DEAD) = ignore,
		IN(A_BACK) = ignore, IN(DEADLINE) = write_active},
	[PH_TARGET_ACTIVE] = {NO_CLAIM, LATE_LOAD, IN(N_READY) = serves, IN(FORGET) = forget,
		IN(RELEASED) = ignore, IN(PREPARE) = say_active, IN(N_DEAD) = lost_early,
		IN(COMMIT) = say_active, IN(ABORT) = say_active, IN(OWNED) = ignore,
		IN(SYNCED) = ignore, IN(UNSYNCED) = ignore, IN(A_DEAD) = ignore,
		IN(A_BACK) = ignore, IN(DEADLINE) = ignore},
	[PH_TARGET_RELEASING] = {NO_CLAIM, LATE_LOAD, IN(N_READY) = ignore, IN(FORGET) = ignore,
		IN(RELEASED) = release_answered, IN(PREPARE) = ignore, IN(N_DEAD) = ignore,
		IN(COMMIT) = ignore, IN(ABORT) = ignore, IN(OWNED) = ignore,
		IN(SYNCED) = release_synced, IN(UNSYNCED) = never_unsynced,
		IN(A_DEAD) = start_again, IN(A_BACK) = ignore, IN(DEADLINE) = rewrite_never},
	[PH_TARGET_DROPPING] = {NO_CLAIM, LATE_LOAD, ORDINARY, IN(PREPARE) = ignore,
		IN(N_DEAD) = dropped, IN(COMMIT) = answer_nack, IN(ABORT) = answer_abort,
		IN(OWNED) = ignore, IN(SYNCED) = ignore, IN(UNSYNCED) = ignore, IN(A_DEAD) = ignore,
		IN(A_BACK) = ignore, IN(DEADLINE) = ignore},
	[PH_TARGET_REFUSING] = {NO_CLAIM, LATE_LOAD, ORDINARY, IN(PREPARE) = ignore,
		IN(N_DEAD) = ignore, IN(COMMIT) = answer_nack, IN(ABORT) = answer_abort,
		IN(OWNED) = ignore, IN(SYNCED) = never_synced, IN(UNSYNCED) = never_unsynced,
		IN(A_DEAD) = ignore, IN(A_BACK) = ignore, IN(DEADLINE) = rewrite_never},
	[PH_TARGET_NEVER] = {NO_CLAIM, IN(STARTED) = ignore, IN(N_REJECTED) = ignore,
		IN(N_LOADED) = ignore, IN(N_READY) = ignore, IN(FORGET) = forget,
		IN(RELEASED) = ignore, IN(PREPARE) = say_reject, IN(N_DEAD) = ignore,
		IN(ROUND) = say_reject, IN(ROUND_END) = say_reject, IN(STREAMED) = ignore,
		IN(BROKEN) = ignore, IN(COMMIT) = nack, IN(ABORT) = say_aborted, IN(OWNED) = ignore,
		IN(SYNCED) = ignore, IN(UNSYNCED) = ignore, IN(A_DEAD) = ignore,
		IN(A_BACK) = ignore, IN(DEADLINE) = ignore},
};
#undef IN

/* Nothing here answers `bug`: every input can arrive late. The cell exists for tables to come. */
bool ph_target_decided(enum ph_target_state state, enum ph_target_input in)
{
	return machine[state][in] != NULL && machine[state][in] != bug;
}

void ph_target_step(struct ph_hub *hub, struct ph_target *t, enum ph_target_input in)
{
	enum ph_target_state before = t->state;
	enum ph_target_state next = machine[before][in](hub, t);
	if (!t->slot)
		return; /* freed */
	t->state = next;
	ph_target_entered(hub, t, before);
}
