/*
 * target_say.c - a migration as its target sees it: what is said, heard, bounded.
 */
#include "core/swap.h"
#include "core/target.h"

#include <stdlib.h>
#include <string.h>

#define START_SLACK_MS 1000 /* the instance's own start_timeout comes first */
#define SILENCE_MS 15000    /* before `prepared`: nothing of A for so long, and B gives up */
#define KEPT_ASK_MS 10000   /* an outcome that A has not confirmed: A is told it again */

/* ---- what is said ---- */

static void say_once(struct ph_hub *hub, struct ph_target *t, enum ph_bkind kind)
{
	struct ph_bmsg *msg = ph_send(hub, &t->peer, kind);
	msg->id = t->id;
	msg->key = ph_slot_key(t->slot);
	msg->epoch = t->new_epoch;
	msg->seen = t->slot->seen;
	msg->journal = hub->set.journal;
	msg->round = t->round;
	msg->ok = true;
	msg->busy = t->busy;
	ph_reason(msg->reason, "%s", t->reason);
}

void ph_target_say(struct ph_hub *hub, struct ph_target *t, enum ph_bkind kind, bool repeat)
{
	if (kind == PH_B_NONE)
		return;
	say_once(hub, t, kind);
	t->said = repeat ? kind : PH_B_NONE;
	t->resend_wait_ms = PH_RESEND_FIRST_MS;
	t->resend_ms = repeat ? hub->now_ms + PH_RESEND_FIRST_MS : PH_NEVER_MS;
}

static void tell_once(struct ph_hub *hub, struct ph_target *t)
{
	if (!t->fresh || t->told == PH_W_NONE || !ph_instance_has_process(t->fresh))
		return;
	struct ph_wmsg *msg = ph_tell(hub, t->fresh, t->told);
	msg->id = t->id;
	msg->epoch = t->new_epoch;
	msg->round = t->round;
	if (t->told == PH_W_HANDOVER) {
		msg->from = t->peer;
		memcpy(msg->format, t->format, sizeof msg->format);
		msg->version = t->format_version;
		msg->has_bytes_estimate = t->bytes_estimate != 0;
		msg->bytes_estimate = t->bytes_estimate;
		msg->max_bytes = t->fresh->spec->max_state_bytes;
	} else if (t->told == PH_W_STATE_END) {
		msg->bytes = t->end_bytes;
		msg->final = t->end_final;
	} else if (t->told == PH_W_ABORT) {
		msg->reason = ph_out_text(hub, t->reason);
	}
}

void ph_target_tell(struct ph_hub *hub, struct ph_target *t, enum ph_wop op)
{
	t->told = op;
	tell_once(hub, t);
}

void ph_target_write(struct ph_hub *hub, struct ph_target *t, enum ph_record_kind kind)
{
	struct ph_record record = {.kind = kind,
		.id = t->id,
		.key = ph_slot_key(t->slot),
		.epoch = kind == PH_RECORD_ACTIVE ? t->new_epoch : t->epoch,
		.revision = t->new_epoch,
		.overlap = t->overlap,
		.peer = t->peer};
	t->ticket_no = ph_journal(hub, &record);
	ph_wait_add(hub, t->ticket_no, PH_WAIT_TARGET)->id = t->id;
}

/* ---- bounds ---- */

static uint64_t deadline_of(const struct ph_hub *hub, const struct ph_target *t)
{
	switch (t->state) {
	case PH_TARGET_STARTING:
		return hub->now_ms + t->fresh->spec->start_timeout_ms + START_SLACK_MS;
	case PH_TARGET_LOADING: /* and N applies a round within the time of the whole transfer */
		if (!t->told_end_ms)
			return t->alive_ms + SILENCE_MS;
		return min_ms(
			t->alive_ms + SILENCE_MS, t->told_end_ms + t->fresh->spec->timeout_ms);
	case PH_TARGET_SETTLING:
		return hub->now_ms + t->fresh->spec->retention_ms;
	case PH_TARGET_RELEASING:
	case PH_TARGET_ACTIVATING:
	case PH_TARGET_REFUSING:
	case PH_TARGET_PREPARING: /* the journal answers; where it fails, UNSYNCED sets one */
	case PH_TARGET_PREPARED:  /* until COMMIT, ABORT or A's death */
	case PH_TARGET_CLAIMING:  /* the claim has its own */
	case PH_TARGET_ACTIVE:	  /* until FORGET */
	case PH_TARGET_DROPPING:  /* the instance's grace */
	case PH_TARGET_NEVER:	  /* until FORGET */
	case PH_TARGET_STATE_COUNT:
		break;
	}
	return PH_NEVER_MS;
}

bool ph_target_ended(const struct ph_target *t)
{
	return t->state == PH_TARGET_ACTIVE || t->state == PH_TARGET_NEVER;
}

void ph_target_entered(struct ph_hub *hub, struct ph_target *t, enum ph_target_state before)
{
	if (t->state != before || t->state == PH_TARGET_LOADING)
		t->deadline_ms = deadline_of(hub, t);
	if (t->state == PH_TARGET_NEVER && t->slot->work->target == t) {
		ph_slot_work(hub, t->slot)->target = NULL;
		ph_plan_soon(hub, 0); /* of a swap: the text may have changed meanwhile */
	}
	if (ph_target_ended(t) && t->resend_ms == PH_NEVER_MS)
		t->resend_ms = hub->now_ms + KEPT_ASK_MS;
	ph_timer_set(hub, &t->timer, min_ms(t->deadline_ms, t->resend_ms));
}

static void resend(struct ph_hub *hub, struct ph_target *t)
{
	const struct ph_member *peer = ph_member_find(hub, &t->peer);
	if (ph_target_ended(t) && !t->fresh && peer && peer->state == PH_MEMBER_LEFT) {
		ph_target_free(hub, t); /* for good: it will never ask again */
		return;
	}
	if (ph_target_ended(t)) { /* A may have forgotten that it is to say FORGET */
		t->resend_ms = hub->now_ms + KEPT_ASK_MS;
		if (ph_member_up(hub, &t->peer))
			say_once(hub, t, t->state == PH_TARGET_ACTIVE ? PH_B_ACTIVE : PH_B_ABORTED);
		return;
	}
	if (t->said == PH_B_NONE || !t->resend_wait_ms) {
		t->resend_ms = PH_NEVER_MS;
		return;
	}
	t->resend_wait_ms =
		t->resend_wait_ms * 2 > PH_RESEND_MAX_MS ? PH_RESEND_MAX_MS : t->resend_wait_ms * 2;
	t->resend_ms = hub->now_ms + t->resend_wait_ms;
	if (!ph_member_up(hub, &t->peer))
		return;
	say_once(hub, t, t->said);
	if (t->state == PH_TARGET_PREPARED)
		say_once(hub, t, PH_B_QUERY);
}

void ph_target_deadline(struct ph_hub *hub, struct ph_target *t)
{
	if (t->resend_ms <= hub->now_ms)
		resend(hub, t);
	if (!t->slot)
		return;
	if (t->deadline_ms <= hub->now_ms) {
		t->deadline_ms = PH_NEVER_MS; /* it has passed; the step may set another one */
		ph_target_step(hub, t, PH_TARGET_IN_DEADLINE);
	}
	if (t->slot)
		ph_timer_set(hub, &t->timer, min_ms(t->deadline_ms, t->resend_ms));
}

/* ---- birth and death ---- */

struct ph_target *ph_target_new(struct ph_hub *hub, const struct ph_id *id, struct ph_slot *slot,
	const struct ph_name *peer, uint64_t epoch, uint64_t new_epoch)
{
	struct ph_target *t = ph_must(calloc(1, sizeof *t));
	t->id = *id;
	t->slot = slot;
	t->peer = *peer;
	t->epoch = epoch;
	t->new_epoch = new_epoch;
	t->alive_ms = hub->now_ms;
	t->timer.kind = PH_TIMER_TARGET;
	t->timer.owner = t;
	t->deadline_ms = t->resend_ms = PH_NEVER_MS;
	HASH_ADD(hh, hub->targets, id, sizeof t->id, t);
	return t;
}

void ph_target_free(struct ph_hub *hub, struct ph_target *t)
{
	struct ph_record record = {
		.kind = PH_RECORD_FORGET, .id = t->id, .key = ph_slot_key(t->slot)};
	(void)ph_journal(hub, &record);
	ph_timer_set(hub, &t->timer, PH_NEVER_MS);
	if (t->slot->work->target == t)
		ph_slot_work(hub, t->slot)->target = NULL;
	if (t->fresh && t->fresh->target == t) {
		t->fresh->target = NULL;
		t->fresh->past = t->id;
	}
	HASH_DEL(hub->targets, t);
	t->slot = NULL;
	ph_out_bury(hub, t);
}

/* ---- what is heard from daemons ---- */

/* Why this node does not take the child, or NULL. */
static const char *objection(
	struct ph_hub *hub, const struct ph_bmsg *msg, struct ph_slot *slot, bool *busy)
{
	const struct ph_child *child = ph_child_find(hub, &msg->key.child);
	const struct ph_source *s = slot->work->source;
	bool swap = s && s->old == slot->work->instance && ph_id_equal(&s->id, &msg->id);
	*busy = true;
	if (hub->draining && !hub->shutting)
		return "this node is being drained";
	if (hub->self_state != PH_MEMBER_ALIVE)
		return "this node has not joined yet";
	if (ph_migrations_in(hub) > hub->set.migrations_max) /* this one is among them */
		return &PH_NO_SLOT[sizeof PH_BUSY - 1];	     /* A puts PH_BUSY in front */
	if (slot->work->target || (slot->work->instance && !swap))
		return "this node still has a worker of that child";
	*busy = false;
	if (hub->shutting)
		return "this node is leaving";
	if (!hub->set.journal_writable)
		return "the journal of this node cannot be written";
	if (!hub->set.accept_any && (!child || !child->own))
		return "this node accepts only children that it declares";
	if (msg->n_specs != 1 || !msg->specs[0].spec)
		return "this node cannot read the child's specification";
	return NULL;
}

/* A new worker that an earlier daemon left, and that has not said yet whether it was activated. */
static void take_stray(struct ph_hub *hub, struct ph_target *t)
{
	struct ph_instance *stray = t->slot->work->instance;
	if (!stray || stray->target || stray->state != PH_INSTANCE_STANDING ||
		ph_slot_mine(hub, t->slot))
		return;
	if (!ph_id_none(&stray->past) && !ph_id_equal(&stray->past, &t->id))
		return;
	ph_slot_work(hub, t->slot)->instance = NULL;
	t->fresh = stray;
	stray->target = t;
}

/* N is ended first where there is one; then `never` is synced, and only then it is said. */
static void refuse_now(struct ph_hub *hub, struct ph_target *t)
{
	if (!t->fresh) {
		ph_target_write(hub, t, PH_RECORD_NEVER);
		return;
	}
	t->state = PH_TARGET_DROPPING;
	t->fresh->after = PH_AFTER_DISCARD;
	ph_instance_step(hub, t->fresh, PH_INSTANCE_IN_STOP);
}

static void on_prepare(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	struct ph_slot *slot = ph_swap_slot(hub, &msg->from, &msg->id, &msg->key);
	struct ph_target *t = ph_target_new(hub, &msg->id, slot, &msg->from, msg->epoch, msg->seen);
	bool busy;
	/* It offers what it can only have if it was activated: that is its ACTIVE. */
	if (slot->work->source && ph_name_equal(&slot->work->source->peer, &msg->from) &&
		msg->epoch > slot->work->source->epoch) {
		slot->work->source->new_epoch = msg->epoch;
		slot->work->source->peer_active = true;
		ph_source_step(hub, slot->work->source, PH_SOURCE_IN_ACTIVE);
	}
	const char *why = objection(hub, msg, slot, &busy);
	if (!ph_is_self(hub, &msg->from))
		ph_slot_seen(hub, slot, msg->seen);
	if (why) {
		t->state = PH_TARGET_REFUSING;
		t->answer = PH_B_REJECT;
		t->busy = busy;
		ph_reason(t->reason, "%s", why);
		take_stray(hub, t);
		refuse_now(hub, t);
		return;
	}
	t->overlap = msg->overlap;
	t->planned_ms = msg->age_ms < hub->now_ms ? hub->now_ms - msg->age_ms : 0;
	t->format_version = msg->format_version;
	t->bytes_estimate = msg->bytes_estimate;
	memcpy(t->format, msg->format, sizeof t->format);
	memcpy(t->ticket, msg->ticket, sizeof t->ticket);
	ph_slot_work(hub, slot)->target = t;
	t->fresh = ph_instance_new(hub, slot, msg->specs[0].spec,
		t->overlap ? PH_ROLE_ACTIVE : PH_ROLE_STANDBY, t->new_epoch);
	ph_instance_revise(t->fresh, msg->specs[0].revision);
	t->fresh->born_ms = msg->born_ms;
	t->fresh->copied_ms = msg->copied_ms;
	t->fresh->target = t;
	t->state = PH_TARGET_STARTING;
	ph_target_entered(hub, t, PH_TARGET_NEVER);
	ph_instance_step(hub, t->fresh, PH_INSTANCE_IN_START);
}

/* The record is lost, but N is here and says that it has all of it: COMMIT is what it waited for.
 */
static bool commit_held(struct ph_hub *hub, const struct ph_bmsg *msg, struct ph_slot *slot)
{
	struct ph_instance *held = slot->work->instance;
	if (!held || !held->held || held->target || held->state != PH_INSTANCE_STANDING ||
		!ph_id_equal(&held->past, &msg->id))
		return false;
	struct ph_target *t =
		ph_target_new(hub, &msg->id, slot, &msg->from, msg->epoch, msg->epoch);
	t->state = PH_TARGET_PREPARED;
	t->fresh = held;
	held->target = t;
	ph_slot_work(hub, slot)->instance = NULL;
	ph_slot_work(hub, slot)->target = t;
	ph_target_step(hub, t, PH_TARGET_IN_COMMIT);
	return true;
}

/* An id that this node does not know: it never activated it, or has forgotten that it did. */
static void on_unknown(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	if (msg->kind == PH_B_FORGET) {
		struct ph_bmsg *answer = ph_send(hub, &msg->from, PH_B_FORGOTTEN);
		answer->id = msg->id;
		answer->key = msg->key;
		return;
	}
	if (msg->kind == PH_B_RELEASED)
		return;
	struct ph_slot *slot = ph_swap_slot(hub, &msg->from, &msg->id, &msg->key);
	if (slot->entered && slot->entry.epoch >= msg->epoch && msg->kind == PH_B_COMMIT &&
		slot->entry.state != PH_CHILD_RELEASED) {
		struct ph_bmsg *answer = ph_send(hub, &msg->from, PH_B_ACTIVE);
		answer->id = msg->id;
		answer->key = msg->key;
		answer->epoch = slot->entry.epoch;
		return;
	}
	if (msg->kind == PH_B_COMMIT && commit_held(hub, msg, slot))
		return;
	bool other_journal =
		msg->kind == PH_B_COMMIT && !ph_id_equal(&msg->journal, &hub->set.journal);
	if (other_journal || (hub->set.journal_lost && msg->kind != PH_B_ABORT)) {
		struct ph_bmsg *answer = ph_send(hub, &msg->from, PH_B_LOST);
		answer->id = msg->id;
		answer->key = msg->key;
		return;
	}
	struct ph_target *t =
		ph_target_new(hub, &msg->id, slot, &msg->from, msg->epoch, msg->epoch);
	take_stray(hub, t);
	t->state = PH_TARGET_REFUSING;
	t->answer = msg->kind == PH_B_COMMIT  ? PH_B_NACK
		    : msg->kind == PH_B_ABORT ? PH_B_ABORTED
					      : PH_B_REJECT;
	ph_reason(t->reason, "the target does not know this migration");
	refuse_now(hub, t);
}

static bool take_round(struct ph_target *t, const struct ph_bmsg *msg)
{
	if (msg->round < t->round)
		return false;
	if (msg->round > t->round) {
		if (!t->loaded)
			return false;
		t->round = msg->round;
		t->told_round = t->have_end = t->have_stream = t->told_end = t->loaded = false;
		t->told_end_ms = 0;
	}
	t->bytes_estimate = msg->bytes_estimate;
	t->format_version = msg->format_version;
	memcpy(t->format, msg->format, sizeof t->format);
	return true;
}

static void on_round_end(struct ph_hub *hub, struct ph_target *t, const struct ph_bmsg *msg)
{
	if (!take_round(t, msg))
		return;
	if (t->loaded) { /* LOADED was lost */
		if (!t->end_final && t->state == PH_TARGET_LOADING)
			ph_target_say(hub, t, PH_B_LOADED, false);
		else
			ph_target_step(hub, t, PH_TARGET_IN_ROUND_END);
		return;
	}
	t->have_end = true;
	t->end_bytes = msg->bytes;
	t->end_digest = msg->digest;
	t->end_final = msg->final;
	ph_target_step(hub, t, PH_TARGET_IN_ROUND); /* the ROUND may have been lost */
	ph_target_step(hub, t, PH_TARGET_IN_ROUND_END);
}

static void on_dial_back(struct ph_hub *hub, struct ph_target *t)
{
	if (t->state == PH_TARGET_NEVER)
		say_once(hub, t, PH_B_REJECT); /* what is repeated stays as it is */
	if (!t->streaming)
		return;
	struct ph_stream_order *order = ph_out_alloc(hub, sizeof *order);
	order->id = t->id;
	order->incoming = true;
	order->peer = t->peer;
	memcpy(order->ticket, t->ticket, sizeof order->ticket);
	ph_out(hub, PH_ACT_STREAM_DIAL)->stream = order;
}

static void on_known(struct ph_hub *hub, struct ph_target *t, const struct ph_bmsg *msg)
{
	t->alive_ms = hub->now_ms;
	if (msg->kind == PH_B_PREPARE) {
		ph_target_step(hub, t, PH_TARGET_IN_PREPARE);
	} else if (msg->kind == PH_B_ROUND) {
		if (t->state != PH_TARGET_LOADING || take_round(t, msg))
			ph_target_step(hub, t, PH_TARGET_IN_ROUND);
	} else if (msg->kind == PH_B_ROUND_END) {
		on_round_end(hub, t, msg);
	} else if (msg->kind == PH_B_COMMIT) {
		bool open = t->state == PH_TARGET_PREPARED || t->state == PH_TARGET_CLAIMING;
		if (open && msg->epoch > t->new_epoch)
			t->new_epoch = msg->epoch;
		/* Since that was said this node has granted the child to somebody else. */
		bool taken_back = open && t->new_epoch < t->slot->seen &&
				  ph_epoch_slot(t->slot->seen) != hub->set.slot;
		ph_target_step(hub, t, taken_back ? PH_TARGET_IN_OWNED : PH_TARGET_IN_COMMIT);
	} else if (msg->kind == PH_B_ABORT) {
		ph_target_step(hub, t, PH_TARGET_IN_ABORT);
	} else if (msg->kind == PH_B_FORGET) {
		ph_target_step(hub, t, PH_TARGET_IN_FORGET);
	} else if (msg->kind == PH_B_RELEASED) {
		t->busy = !msg->ok;
		ph_target_step(hub, t, PH_TARGET_IN_RELEASED);
	} else if (msg->kind == PH_B_DIAL_BACK) {
		on_dial_back(hub, t);
	}
}

static void on_void(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	struct ph_slot *slot = ph_slot_get(hub, &msg->key, NULL);
	ph_slot_work(hub, slot)->void_id = msg->id;
	struct ph_bmsg *answer = ph_send(hub, &msg->from, PH_B_VOID_ACK);
	answer->id = msg->id;
	answer->key = msg->key;
}

void ph_target_message(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	struct ph_target *t;
	if (msg->kind == PH_B_VOID)
		on_void(hub, msg);
	HASH_FIND(hh, hub->targets, msg->id.b, sizeof msg->id.b, t);
	if (t && ph_name_equal(&msg->from, &t->peer)) {
		if (msg->kind == PH_B_VOID)
			ph_target_step(hub, t, PH_TARGET_IN_ABORT);
		else
			on_known(hub, t, msg);
	} else if (!t && msg->kind == PH_B_PREPARE) {
		on_prepare(hub, msg);
	} else if (!t && msg->kind != PH_B_VOID) {
		on_unknown(hub, msg);
	}
}

/* ---- what is heard from N ---- */

void ph_target_worker(struct ph_hub *hub, struct ph_target *t, const struct ph_wmsg *msg)
{
	if (!ph_id_equal(&msg->id, &t->id))
		return;
	if (msg->op == PH_W_HANDOVER_REJECT && t->state >= PH_TARGET_ACTIVATING &&
		t->state <= PH_TARGET_ACTIVE) {
		ph_complain(hub, t->fresh, "too_late", "handover_reject after activate");
		return;
	}
	if (msg->op == PH_W_HANDOVER_REJECT) {
		ph_reason(t->reason, "the new worker rejected the state: %s%s%s",
			msg->code ? msg->code : "", msg->text ? ": " : "",
			msg->text ? msg->text : "");
		ph_target_step(hub, t, PH_TARGET_IN_N_REJECTED);
		return;
	}
	if (msg->round > t->round && t->state == PH_TARGET_LOADING) {
		ph_complain(hub, t->fresh, "wrong_round",
			"handover_loaded of round %u, expected %u", msg->round, t->round);
		return;
	}
	if (msg->round != t->round || t->loaded || t->state != PH_TARGET_LOADING)
		return; /* a repeat */
	if (!t->told_end) {
		ph_complain(hub, t->fresh, "too_early", "handover_loaded before state_end");
		return;
	}
	if (msg->bytes != t->end_bytes || (msg->has_digest && msg->digest != t->end_digest)) {
		ph_reason(t->reason, "the new worker applied %llu bytes of %llu, or others",
			(unsigned long long)msg->bytes, (unsigned long long)t->end_bytes);
		ph_target_step(hub, t, PH_TARGET_IN_N_REJECTED);
		return;
	}
	ph_target_step(hub, t, PH_TARGET_IN_N_LOADED);
}

void ph_target_hello(struct ph_hub *hub, struct ph_target *t, const struct ph_wmsg *msg)
{
	(void)msg;
	if (t->told != PH_W_NONE)
		tell_once(hub, t);
}

void ph_target_stream(struct ph_hub *hub, struct ph_target *t, const struct ph_event *event)
{
	t->alive_ms = hub->now_ms;
	if (event->kind == PH_EV_STREAM_FAILED) {
		if (t->state == PH_TARGET_LOADING)
			ph_reason(t->reason, "%s", event->text ? event->text : "");
		ph_target_step(hub, t, PH_TARGET_IN_BROKEN);
	} else if (event->kind == PH_EV_STREAM_ROUND && event->stream->round == t->round &&
		   !t->have_stream) {
		t->have_stream = true;
		t->stream_bytes = event->stream->bytes;
		t->stream_digest = event->stream->digest;
		ph_target_step(hub, t, PH_TARGET_IN_STREAMED);
	}
}
