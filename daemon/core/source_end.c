/*
 * source_end.c - a migration as its source sees it: how it fails, and who owns the child then.
 *
 * While nothing final has left, O resumes at once. After that O waits for B's word, or goes on
 * under `void`; and once a claim for B was asked, only by a claim of its own.
 */
#include "core/source.h"
#include "core/heal.h"

/* ---- the end ---- */

void ph_source_cut_stream(struct ph_hub *hub, struct ph_source *s)
{
	if (!s->streaming)
		return;
	s->streaming = false;
	struct ph_stream_order *order = ph_out_alloc(hub, sizeof *order);
	order->id = s->id;
	ph_out(hub, PH_ACT_STREAM_CLOSE)->stream = order;
}

/* What B is told from now on, until it confirmed. */
void ph_source_close_with(struct ph_hub *hub, struct ph_source *s, enum ph_bkind kind)
{
	if (kind == PH_B_NONE) { /* B has never heard of it */
		ph_source_free(hub, s);
		return;
	}
	ph_source_say(hub, s, kind);
}

/* The outcome stands: the child's slot is free for the next migration. */
enum ph_source_state ph_source_finish(
	struct ph_hub *hub, struct ph_source *s, enum ph_result result)
{
	ph_source_cut_stream(hub, s);
	s->ended_ms = hub->now_ms;
	if (result != PH_RESULT_DONE)
		ph_plan_last_word(hub, s);
	ph_source_result(hub, s, result);
	if (s->slot->work->source == s)
		ph_slot_work(hub, s->slot)->source = NULL;
	if (s->old && s->old->source == s) {
		s->old->source = NULL;
		s->old->past = s->id;
	}
	s->old = NULL;
	ph_plan_migrated(hub, s);
	return PH_SOURCE_ENDED;
}

/*
 * O has another epoch than before the migration. It hears so before it hears `resume`: one that
 * does not look at the epoch of `resume` never serves under one that is not its own any more.
 */
static void tell_epoch(struct ph_hub *hub, struct ph_instance *old)
{
	struct ph_wmsg *msg = ph_tell(hub, old, PH_W_ROLE);
	msg->role = PH_ROLE_ACTIVE;
	msg->epoch = old->epoch;
}

/* O goes on as if nothing had happened, or what is left of it is started anew by its policy. */
static void let_old_go_on(struct ph_hub *hub, struct ph_source *s)
{
	struct ph_instance *old = s->old;
	if (!old || !ph_instance_has_process(old))
		return;
	bool stops = old->state >= PH_INSTANCE_STOPPING; /* the newer word */
	if (s->frozen && s->frozen_at_ms) {
		s->info.has_downtime = true;
		s->info.downtime_us = (hub->now_ms - s->frozen_at_ms) * 1000;
	}
	if (stops)
		return;
	if (old->epoch != s->epoch)
		tell_epoch(hub, old);
	if (s->told != PH_W_NONE && s->told != PH_W_HANDOVER_ASK) {
		struct ph_wmsg *msg = ph_tell(hub, old, PH_W_RESUME);
		msg->id = s->id;
		msg->epoch = old->epoch;
		msg->reason =
			ph_out_text(hub, s->resume_reason[0] ? s->resume_reason : s->info.reason);
		ph_instance_await_resumed(hub, old);
	}
	if (old->state == PH_INSTANCE_FROZEN || old->state == PH_INSTANCE_RETIRED)
		ph_instance_step(hub, old, PH_INSTANCE_IN_THAW);
}

/* Nobody owns a living copy: the one who owned it starts it again from its spec. */
static void start_without_old(struct ph_hub *hub, struct ph_source *s)
{
	struct ph_slot *slot = s->slot;
	if (s->old || slot->work->instance || !ph_slot_mine(hub, slot) || slot->wish_stopped)
		return;
	if (ph_quorate(hub)) { /* its lease may have ended it, and others have it by now */
		ph_slot_release(hub, slot);
		ph_plan_soon(hub, 0);
		return;
	}
	ph_own_start(hub, slot, slot->entry.epoch, PH_LINEAGE_COLD, NULL);
}

enum ph_source_state ph_source_reclaim(struct ph_hub *hub, struct ph_source *s)
{
	if (s->slot->local) { /* nobody else may have it: there is nobody to ask */
		ph_slot_seen(hub, s->slot, s->new_epoch); /* the new one may have been told it */
		s->new_epoch = ph_next_epoch(hub, s->slot);
		ph_slot_seen(hub, s->slot, s->new_epoch);
		return ph_source_taken_back(hub, s);
	}
	(void)ph_claim_start(hub, s->slot, PH_CLAIM_TAKEBACK, &hub->set.node, &s->id, 0);
	return PH_SOURCE_RECLAIMING;
}

enum ph_source_state ph_source_resume(struct ph_hub *hub, struct ph_source *s)
{
	if (s->claim_asked || s->reclaim)
		return ph_source_reclaim(hub, s);
	let_old_go_on(hub, s);
	bool lone = !s->old;
	enum ph_source_state next =
		ph_source_finish(hub, s, s->back ? PH_RESULT_ROLLED_BACK : PH_RESULT_ABORTED);
	if (lone)
		start_without_old(hub, s);
	return next;
}

void ph_source_blame(struct ph_source *s, const char *reason)
{
	if (!s->info.reason[0])
		ph_reason(s->info.reason, "%s", reason);
	ph_reason(s->resume_reason, "%s", s->info.reason);
}

void ph_source_unfinal(struct ph_hub *hub, struct ph_source *s)
{
	struct ph_record record = {
		.kind = PH_RECORD_FORGET, .id = s->id, .key = ph_slot_key(s->slot)};
	if (!s->final_asked || s->final_left || s->claim_asked)
		return;
	(void)ph_journal(hub, &record);
	s->final_asked = s->final_synced = false;
	s->ticket_no = 0;
}

/*
 * While the end of the last delta has not left, B cannot be prepared, and O resumes at once. After
 * it O waits, frozen, for B's word (ABORTING), and for no longer than the budget allows goes on
 * under `void`.
 */
enum ph_source_state ph_source_abort(struct ph_hub *hub, struct ph_source *s, const char *reason)
{
	ph_source_blame(s, reason);
	ph_source_cut_stream(hub, s);
	if (s->slot->work->claim)
		ph_claim_drop(hub, s->slot->work->claim);
	bool prepared = s->said != PH_B_NONE;
	if (s->final_left || s->claim_asked) {
		ph_source_say(hub, s, PH_B_ABORT);
		return PH_SOURCE_ABORTING;
	}
	ph_source_unfinal(hub, s);
	enum ph_source_state next = ph_source_resume(hub, s);
	ph_source_close_with(hub, s, prepared ? PH_B_ABORT : PH_B_NONE);
	return next;
}

enum ph_source_state ph_source_old_died(struct ph_hub *hub, struct ph_source *s)
{
	/* It had said its last word: what it wrote is on the way, and may be all that is left. */
	if (s->have_end && s->end_final)
		return ph_source_copy_is_all(hub, s);
	/* B has not got all of it, so N is no copy: O's policy starts it again, here and now. */
	bool prepared = s->said != PH_B_NONE;
	ph_source_blame(s, "the old worker ended");
	ph_source_unfinal(hub, s);
	enum ph_source_state next = ph_source_finish(hub, s, PH_RESULT_ABORTED);
	ph_source_close_with(hub, s, prepared ? PH_B_ABORT : PH_B_NONE);
	return next;
}

enum ph_source_state ph_source_peer_died(struct ph_hub *hub, struct ph_source *s)
{
	enum ph_source_state next;
	ph_source_blame(s, "the target node died or left");
	ph_source_cut_stream(hub, s);
	if (s->slot->work->claim)
		ph_claim_drop(hub, s->slot->work->claim);
	if (s->final_left || s->claim_asked)
		return ph_source_void(hub, s);
	ph_source_unfinal(hub, s);
	next = ph_source_resume(hub, s);
	ph_source_close_with(hub, s, s->said == PH_B_NONE ? PH_B_NONE : PH_B_ABORT);
	return next;
}

/* B will never activate this id, N is dead: that is its last word, and O may go on. */
enum ph_source_state ph_source_rejected(struct ph_hub *hub, struct ph_source *s)
{
	if (s->slot->work->claim)
		ph_claim_drop(hub, s->slot->work->claim);
	ph_source_blame(s, "the target refused");
	s->final_left = false; /* nobody will ever prepare it */
	ph_source_unfinal(hub, s);
	enum ph_source_state next = ph_source_resume(hub, s);
	if (next == PH_SOURCE_ENDED)
		ph_source_close_with(hub, s, PH_B_FORGET);
	return next;
}

/* ---- abort after `final` ---- */

/* O is no more, and N may hold the only good copy: B says PREPARED, or that it never will. */
enum ph_source_state ph_source_ask_peer(struct ph_hub *hub, struct ph_source *s)
{
	s->unheard = false;
	ph_source_say(hub, s, PH_B_DIAL_BACK);
	return PH_SOURCE_CONFIRMING;
}

/* After a restart nothing is aborted before O has shown that it lives. */
void ph_source_heard(struct ph_hub *hub, struct ph_source *s)
{
	if (s->state != PH_SOURCE_ABORTING || !s->unheard)
		return;
	s->deadline_ms = hub->now_ms + PH_ABORT_WAIT_MS;
	s->state = ph_source_aborting_over(hub, s);
	ph_source_entered(hub, s, PH_SOURCE_ABORTING);
}

enum ph_source_state ph_source_aborting_over(struct ph_hub *hub, struct ph_source *s)
{
	if (!s->unheard)
		return ph_source_void(hub, s);
	s->unheard = false;
	if (!s->peer.s[0]) /* the record that named it is lost: there is nobody to ask but all */
		return ph_source_resume(hub, s);
	ph_source_say(hub, s, PH_B_ABORT);
	return s->state;
}

enum ph_source_state ph_source_aborting_died(struct ph_hub *hub, struct ph_source *s)
{
	bool unheard = s->unheard;
	(void)ph_source_copy_is_all(hub, s);
	return unheard ? ph_source_ask_peer(hub, s) : s->state;
}

enum ph_source_state ph_source_void(struct ph_hub *hub, struct ph_source *s)
{
	s->said = PH_B_NONE;
	s->resend_ms = PH_NEVER_MS;
	ph_source_write(hub, s, PH_RECORD_VOID);
	return PH_SOURCE_VOIDING;
}

enum ph_source_state ph_source_void_synced(struct ph_hub *hub, struct ph_source *s)
{
	s->voided = true;
	ph_source_say(hub, s, PH_B_VOID);
	if (s->n_void_wait)
		return s->state;
	enum ph_source_state next = ph_source_resume(hub, s);
	if (next == PH_SOURCE_ENDED)
		ph_source_close_with(hub, s, PH_B_ABORT);
	return next;
}

enum ph_source_state ph_source_void_known(struct ph_hub *hub, struct ph_source *s)
{
	enum ph_source_state next = ph_source_resume(hub, s);
	if (next == PH_SOURCE_ENDED)
		ph_source_close_with(hub, s, PH_B_ABORT);
	return next;
}

enum ph_source_state ph_source_void_too_long(struct ph_hub *hub, struct ph_source *s)
{
	return s->voided && !s->void_unsynced ? ph_source_void_known(hub, s) : s->state;
}

/*
 * The journal cannot be written, and B's may be as full: O would stand frozen until somebody makes
 * room. So `void` is kept by the others: once every live member knows it, B cannot take over.
 */
enum ph_source_state ph_source_void_unsynced(struct ph_hub *hub, struct ph_source *s)
{
	s->void_unsynced = true;
	return ph_source_void_synced(hub, s);
}

/* ---- the claim for A itself ---- */

/* O ended after an order had stopped it, and is still what stands there. */
static void raise_stopped(struct ph_hub *hub, struct ph_instance *instance, uint64_t epoch)
{
	instance->epoch = epoch;
	if (ph_instance_has_process(instance) && instance->state < PH_INSTANCE_STOPPING)
		tell_epoch(hub, instance);
}

enum ph_source_state ph_source_taken_back(struct ph_hub *hub, struct ph_source *s)
{
	struct ph_slot *slot = s->slot;
	struct ph_instance *old = s->old;
	enum ph_result result = ph_source_outcome(s);
	ph_source_write(hub, s, PH_RECORD_VOID);
	ph_slot_own(hub, slot, s->new_epoch,
		result == PH_RESULT_TARGET_DEAD ? PH_LINEAGE_FROM_COPY : PH_LINEAGE_CONTINUED);
	if (old) {
		ph_slot_work(hub, slot)->instance = old;
		old->epoch = s->new_epoch;
		if (result == PH_RESULT_TARGET_DEAD) /* what N was told since is lost */
			ph_heal_from_copy(hub, old, s->frozen_at_ms);
		let_old_go_on(hub, s);
	} else if (slot->work->instance) {
		raise_stopped(hub, slot->work->instance, s->new_epoch);
	}
	if (slot->work->instance)
		ph_slot_publish(hub, slot);
	if (s->peer.s[0])
		ph_source_answer_release(hub, s, true);
	enum ph_source_state next = ph_source_finish(hub, s, result);
	ph_source_close_with(hub, s, s->peer.s[0] ? PH_B_ABORT : PH_B_NONE);
	if (!ph_slot_busy(slot)) /* a start may have been ordered meanwhile */
		ph_own_start(hub, slot, s->new_epoch, PH_LINEAGE_COLD, NULL);
	else if (slot->wish_stopped) /* at the other node, say */
		ph_instance_step(hub, slot->work->instance, PH_INSTANCE_IN_STOP);
	return next;
}
