/*
 * source.c - a migration as its source sees it: the machine.
 *
 * The old worker O is ours until `commit` is synced; from then on only B's word, a claim, or B's
 * death decides. Nothing of the last delta is completed at B before `final` is synced, so that a
 * restart without that record may simply resume. What it says to workers and daemons is in
 * source_say.c; what follows once B is active, in source_done.c.
 */
#include "core/source.h"

#include <string.h>

#define HELD_MS 2000	    /* one that is held looks again before */
#define WRITE_AGAIN_MS 1000 /* a record that must be written is tried again after so long */

typedef enum ph_source_state cell(struct ph_hub *, struct ph_source *);

static enum ph_source_state ignore(struct ph_hub *hub, struct ph_source *s)
{
	(void)hub;
	return s->state;
}

static enum ph_source_state bug(struct ph_hub *hub, struct ph_source *s)
{
	ph_log(hub, PH_LOG_ERROR, "bug: migration of %s/%u in state %d got an input that cannot be",
		s->slot->child->name.s, s->slot->number, (int)s->state);
	return s->state;
}

/* ---- plan and prepare ---- */

static enum ph_source_state cancelled(struct ph_hub *hub, struct ph_source *s)
{
	return ph_source_abort(hub, s, "cancelled");
}

static enum ph_source_state broken(struct ph_hub *hub, struct ph_source *s)
{
	return ph_source_abort(hub, s, "the transfer of the state failed");
}

static enum ph_source_state prepare(struct ph_hub *hub, struct ph_source *s)
{
	ph_source_say(hub, s, PH_B_PREPARE);
	return PH_SOURCE_PREPARING;
}

static enum ph_source_state refused(struct ph_hub *hub, struct ph_source *s)
{
	char text[PH_REASON_SIZE];
	if (ph_plan_busy_for_good(hub, s))
		return ph_source_abort(hub, s, "the worker stayed busy for defer_max");
	ph_reason(text, "%sthe worker refused: %s", s->busy ? PH_BUSY : "", s->refusal);
	return ph_source_abort(hub, s, text);
}

static enum ph_source_state asked_too_long(struct ph_hub *hub, struct ph_source *s)
{
	return ph_source_abort(hub, s, "the worker did not answer handover_ask");
}

static enum ph_source_state prepared_too_long(struct ph_hub *hub, struct ph_source *s)
{
	return ph_source_abort(hub, s, "the new worker was not ready in time");
}

static void freeze_old(struct ph_hub *hub, struct ph_source *s)
{
	s->frozen = true;
	s->frozen_at_ms = hub->now_ms;
	ph_instance_step(hub, s->old, PH_INSTANCE_IN_FREEZE);
}

/*
 * The claim that follows the freeze waits for each live member: where one is silent, O serves on
 * until that one is heard or dead, and is not frozen only to be resumed. A quorum waits for nobody.
 */
static bool hold(struct ph_hub *hub, struct ph_source *s)
{
	if (ph_quorate(hub) || s->slot->local || !ph_member_awaited(hub, &s->peer)) {
		s->held_ms = 0;
		return false;
	}
	if (!s->held_ms)
		s->held_ms = hub->now_ms;
	s->progress_ms = hub->now_ms;
	return hub->now_ms < s->held_ms + hub->set.failure_timeout_ms + hub->beat_ms;
}

void ph_source_beat(struct ph_hub *hub)
{
	struct ph_source *s, *next;
	HASH_ITER (hh, hub->sources, s, next)
		if (s->held_ms && s->state == PH_SOURCE_PREPARING)
			ph_source_step(hub, s, PH_SOURCE_IN_READY);
		else if (s->held_ms && s->state == PH_SOURCE_COPYING)
			ph_source_step(hub, s, PH_SOURCE_IN_LOADED);
}

static void ask_final(struct ph_hub *hub, struct ph_source *s)
{
	if (s->final_asked)
		return;
	s->final_asked = true;
	ph_source_write(hub, s, PH_RECORD_FINAL);
}

static enum ph_source_state begin_copy(struct ph_hub *hub, struct ph_source *s)
{
	struct ph_record begun = {
		.kind = PH_RECORD_BEGUN, .id = s->id, .key = ph_slot_key(s->slot), .peer = s->peer};
	(void)ph_journal(hub, &begun);
	struct ph_stream_order *order = ph_out_alloc(hub, sizeof *order);
	order->id = s->id;
	order->peer = s->peer;
	order->wid = s->old->wid;
	order->max_bytes = s->old->spec->max_state_bytes;
	ph_out(hub, PH_ACT_STREAM_SEND)->stream = order;
	s->streaming = true;
	s->copy_at_ms = s->progress_ms = s->round_at_ms = hub->now_ms;
	ph_source_tell(hub, s, PH_W_HANDOVER_START);
	if (!s->rounds) {
		freeze_old(hub, s);
		ask_final(hub, s);
	}
	return PH_SOURCE_COPYING;
}

static enum ph_source_state copy(struct ph_hub *hub, struct ph_source *s)
{
	if (s->rounds || !hold(hub, s))
		return begin_copy(hub, s);
	if (s->deadline_ms < hub->now_ms + HELD_MS) /* N is ready in time */
		s->deadline_ms = hub->now_ms + HELD_MS;
	return s->state;
}

/* ---- copy ---- */

/* A round is told to B as complete once O's count and the stream's agree. */
static enum ph_source_state try_end(struct ph_hub *hub, struct ph_source *s)
{
	char text[PH_REASON_SIZE];
	bool read = s->have_read || s->have_stream;
	uint64_t bytes = s->have_stream ? s->stream_bytes : s->read_bytes;
	if (s->have_end && read && s->end_bytes != bytes) {
		ph_reason(text, "state_end says %llu bytes, %llu were read",
			(unsigned long long)s->end_bytes, (unsigned long long)bytes);
		return ph_source_abort(hub, s, text);
	}
	if (!s->have_end || !s->have_stream || s->end_sent)
		return s->state;
	if (s->end_final && !s->final_synced) {
		ask_final(hub, s);
		return s->state;
	}
	s->end_sent = true;
	s->final_left |= s->end_final;
	ph_source_say(hub, s, PH_B_ROUND_END);
	return s->end_final ? PH_SOURCE_CONFIRMING : s->state;
}

/* B hears of the first round when O has said in what format it comes, or sends without saying. */
static void first_round(struct ph_hub *hub, struct ph_source *s)
{
	s->progress_ms = hub->now_ms;
	if (s->said == PH_B_PREPARE)
		ph_source_say(hub, s, PH_B_ROUND);
}

static enum ph_source_state progressed(struct ph_hub *hub, struct ph_source *s)
{
	first_round(hub, s);
	return s->state;
}

static enum ph_source_state round_part(struct ph_hub *hub, struct ph_source *s)
{
	first_round(hub, s);
	if (s->have_end && s->end_final && !s->frozen) /* it has frozen itself */
		freeze_old(hub, s);
	return try_end(hub, s);
}

static enum ph_source_state final_synced(struct ph_hub *hub, struct ph_source *s)
{
	s->final_synced = true;
	return try_end(hub, s);
}

static enum ph_source_state final_unsynced(struct ph_hub *hub, struct ph_source *s)
{
	return ph_source_abort(hub, s, "the journal cannot be written");
}

/* Is what O changed meanwhile small enough to be sent within half of the budget? */
static bool worth_freezing(const struct ph_hub *hub, const struct ph_source *s)
{
	uint64_t took = hub->now_ms - s->round_at_ms, budget = ph_source_budget(s) / 2;
	if (s->round + 2 >= s->old->spec->rounds_max)
		return true;
	if (s->has_dirty && s->end_bytes)
		return took * s->dirty_bytes / s->end_bytes <= budget;
	return took <= budget;
}

static enum ph_source_state next_round(struct ph_hub *hub, struct ph_source *s)
{
	if (!s->end_sent || s->end_final)
		return s->state;
	bool last = worth_freezing(hub, s);
	if (last && hold(hub, s))
		return s->state;
	s->round++;
	s->have_end = s->have_read = s->have_stream = s->end_sent = s->has_dirty = false;
	s->round_at_ms = s->progress_ms = hub->now_ms;
	ph_source_say(hub, s, PH_B_ROUND);
	if (!last) {
		ph_source_tell(hub, s, PH_W_NEXT_ROUND);
		return PH_SOURCE_COPYING;
	}
	freeze_old(hub, s);
	ask_final(hub, s);
	ph_source_tell(hub, s, PH_W_FREEZE);
	return PH_SOURCE_FREEZING;
}

static enum ph_source_state copied_too_long(struct ph_hub *hub, struct ph_source *s)
{
	bool idle = hub->now_ms >= s->progress_ms + PH_COPY_IDLE_MS;
	return ph_source_abort(
		hub, s, idle ? "the copy made no progress" : "the copy took too long");
}

/* Can O go on? Its process may have ended, and only the rest of its group is still being ended. */
static bool old_lives(const struct ph_source *s)
{
	return s->old && s->old->state != PH_INSTANCE_REAPING;
}

static enum ph_source_state over_budget(struct ph_hub *hub, struct ph_source *s)
{
	if (!s->old && s->state == PH_SOURCE_FREEZING)
		return copied_too_long(hub, s);
	if (!s->old && !s->peer.s[0]) { /* lost records, and nobody has a copy */
		enum ph_source_state ended = ph_source_finish(hub, s, PH_RESULT_ABORTED);
		ph_source_close_with(hub, s, PH_B_NONE);
		return ended;
	}
	if (!old_lives(s)) /* N is the only good copy: there is nothing to go back to */
		return s->state;
	char text[PH_REASON_SIZE];
	/* Without rounds its budget is the whole time, and does not grow. */
	ph_slot_work(hub, s->slot)->move_attempt += s->rounds;
	bool more = s->order && s->rounds && s->slot->work->move_attempt < PH_ATTEMPTS;
	ph_reason(text, "%sthe downtime budget of %llu ms was used up", more ? PH_AGAIN : "",
		(unsigned long long)ph_source_budget(s));
	return ph_source_abort(hub, s, text);
}

/* It may have frozen itself, with a last round that nobody asked for: then its budget counts. */
static enum ph_source_state copy_deadline(struct ph_hub *hub, struct ph_source *s)
{
	bool budget = s->old && s->frozen && hub->now_ms >= s->frozen_at_ms + ph_source_budget(s);
	return budget ? over_budget(hub, s) : copied_too_long(hub, s);
}

/* ---- prepared, commit ---- */

static enum ph_source_state commit(struct ph_hub *hub, struct ph_source *s)
{
	s->uncommitted = false;
	ph_source_write(hub, s, PH_RECORD_COMMIT);
	return PH_SOURCE_COMMITTING;
}

static enum ph_source_state claim_for_peer(struct ph_hub *hub, struct ph_source *s)
{
	if (s->slot->local) { /* nobody else may have it: there is nobody to ask */
		s->said = PH_B_NONE;
		s->resend_ms = PH_NEVER_MS;
		return commit(hub, s);
	}
	struct ph_claim *claim =
		ph_claim_start(hub, s->slot, PH_CLAIM_COMMIT, &s->peer, &s->id, s->new_epoch);
	s->claim_asked = s->uncommitted = true;
	s->new_epoch = claim->epoch;
	s->said = PH_B_NONE;
	s->resend_ms = PH_NEVER_MS;
	return PH_SOURCE_CLAIMING;
}

static enum ph_source_state claim_denied(struct ph_hub *hub, struct ph_source *s)
{
	return ph_source_abort(hub, s, "another member objects to the new owner");
}

static enum ph_source_state claim_too_slow(struct ph_hub *hub, struct ph_source *s)
{
	if (!old_lives(s))
		return s->state;
	char text[PH_REASON_SIZE];
	bool more = s->order && s->slot->work->move_failures < PH_ATTEMPTS;
	ph_reason(text, "%sthe members did not answer the claim in time", more ? PH_AGAIN : "");
	return ph_source_abort(hub, s, text);
}

static enum ph_source_state commit_synced(struct ph_hub *hub, struct ph_source *s)
{
	if (!ph_member_up(hub, &s->peer)) {
		s->reclaim = true;
		return ph_source_resume(hub, s);
	}
	ph_source_say(hub, s, PH_B_COMMIT);
	return PH_SOURCE_COMMITTED;
}

/* Undecided: the record may stand in the file. B's `never` and a claim make it harmless. */
static enum ph_source_state commit_unsynced(struct ph_hub *hub, struct ph_source *s)
{
	if (old_lives(s))
		return ph_source_abort(hub, s, "the journal cannot be written");
	s->deadline_ms = hub->now_ms + WRITE_AGAIN_MS; /* N is all there is: there is no way back */
	return s->state;
}

static enum ph_source_state commit_again(struct ph_hub *hub, struct ph_source *s)
{
	return old_lives(s) ? s->state : commit(hub, s);
}

/* After `commit` only a claim gives the child back. */
static enum ph_source_state take_back(struct ph_hub *hub, struct ph_source *s)
{
	s->back = s->reclaim = true;
	ph_source_blame(s, "the target could not activate");
	s->said = PH_B_NONE;
	s->resend_ms = PH_NEVER_MS;
	return ph_source_resume(hub, s);
}

/* Nothing was committed, so O could resume; without O what B has lost may be all there was. */
static enum ph_source_state lost_early(struct ph_hub *hub, struct ph_source *s)
{
	return old_lives(s) ? s->state : take_back(hub, s);
}

static enum ph_source_state nacked(struct ph_hub *hub, struct ph_source *s)
{
	s->given_back = true;
	return take_back(hub, s);
}

static enum ph_source_state target_dead(struct ph_hub *hub, struct ph_source *s)
{
	ph_source_blame(s, "the target node died after the commit");
	s->peer_dead = true;
	return take_back(hub, s);
}

/* ---- every state x input ---- */

#define IN(name) [PH_SOURCE_IN_##name]
#define WORKER_LATE \
	IN(ACCEPTED) = ignore, IN(REFUSED) = ignore, IN(STATE_END) = ignore, \
	IN(PROGRESS) = ignore, IN(RESUMED) = ignore
#define STREAM_LATE IN(STREAMED) = ignore, IN(BROKEN) = ignore
#define NOT_YET \
	IN(LOST) = ignore, IN(VOID_HEARD) = ignore, IN(FORGOTTEN) = ignore, IN(GRANTED) = bug, \
	IN(DENIED) = bug

static cell *const machine[PH_SOURCE_STATE_COUNT][PH_SOURCE_INPUT_COUNT] = {
	[PH_SOURCE_ASKING] = {NOT_YET, STREAM_LATE, IN(ACCEPTED) = prepare, IN(REFUSED) = refused,
		IN(STATE_END) = ignore, IN(PROGRESS) = ignore, IN(HANDLED) = ignore,
		IN(RESUMED) = ignore, IN(READY) = ignore, IN(REJECTED) = ignore,
		IN(LOADED) = ignore, IN(PREPARED) = ignore, IN(ACTIVE) = ph_source_active,
		IN(RELEASE) = ph_source_not_any_more, IN(SYNCED) = ignore, IN(UNSYNCED) = ignore,
		IN(O_DEAD) = ph_source_old_died, IN(B_DEAD) = ph_source_peer_died,
		IN(CANCEL) = cancelled, IN(DEADLINE) = asked_too_long},
	[PH_SOURCE_PREPARING] = {NOT_YET, STREAM_LATE, WORKER_LATE, IN(HANDLED) = ignore,
		IN(READY) = copy, IN(REJECTED) = ph_source_rejected, IN(LOADED) = ignore,
		IN(PREPARED) = claim_for_peer, IN(ACTIVE) = ph_source_active,
		IN(RELEASE) = ph_source_not_any_more, IN(SYNCED) = ignore, IN(UNSYNCED) = ignore,
		IN(O_DEAD) = ph_source_old_died, IN(B_DEAD) = ph_source_peer_died,
		IN(CANCEL) = cancelled, IN(DEADLINE) = prepared_too_long},
	[PH_SOURCE_COPYING] = {NOT_YET, IN(ACCEPTED) = progressed, IN(REFUSED) = refused,
		IN(STATE_END) = round_part, IN(PROGRESS) = progressed, IN(HANDLED) = ignore,
		IN(RESUMED) = ignore, IN(READY) = ignore, IN(REJECTED) = ph_source_rejected,
		IN(LOADED) = next_round, IN(PREPARED) = ignore, IN(ACTIVE) = ph_source_active,
		IN(RELEASE) = ph_source_not_any_more, IN(STREAMED) = round_part,
		IN(BROKEN) = broken, IN(SYNCED) = final_synced, IN(UNSYNCED) = final_unsynced,
		IN(O_DEAD) = ph_source_old_died, IN(B_DEAD) = ph_source_peer_died,
		IN(CANCEL) = cancelled, IN(DEADLINE) = copy_deadline},
	[PH_SOURCE_FREEZING] = {NOT_YET, IN(ACCEPTED) = ignore, IN(REFUSED) = refused,
		IN(STATE_END) = round_part, IN(PROGRESS) = progressed, IN(HANDLED) = ignore,
		IN(RESUMED) = ignore, IN(READY) = ignore, IN(REJECTED) = ph_source_rejected,
		IN(LOADED) = ignore, IN(PREPARED) = ignore, IN(ACTIVE) = ph_source_active,
		IN(RELEASE) = ph_source_not_any_more, IN(STREAMED) = round_part,
		IN(BROKEN) = broken, IN(SYNCED) = final_synced, IN(UNSYNCED) = final_unsynced,
		IN(O_DEAD) = ph_source_old_died, IN(B_DEAD) = ph_source_peer_died,
		IN(CANCEL) = cancelled, IN(DEADLINE) = over_budget},
	[PH_SOURCE_CONFIRMING] = {IN(LOST) = lost_early, IN(VOID_HEARD) = ignore,
		IN(FORGOTTEN) = ignore, IN(GRANTED) = bug, IN(DENIED) = bug, STREAM_LATE,
		WORKER_LATE, IN(HANDLED) = ignore, IN(READY) = ignore,
		IN(REJECTED) = ph_source_rejected, IN(LOADED) = ignore,
		IN(PREPARED) = claim_for_peer, IN(ACTIVE) = ph_source_active,
		IN(RELEASE) = ph_source_not_any_more, IN(SYNCED) = ignore, IN(UNSYNCED) = ignore,
		IN(O_DEAD) = ph_source_copy_is_all, IN(B_DEAD) = ph_source_peer_died,
		IN(CANCEL) = cancelled, IN(DEADLINE) = over_budget},
	[PH_SOURCE_CLAIMING] = {STREAM_LATE, WORKER_LATE, IN(HANDLED) = ignore, IN(READY) = ignore,
		IN(REJECTED) = ph_source_rejected, IN(LOADED) = ignore, IN(PREPARED) = ignore,
		IN(ACTIVE) = ph_source_active, IN(LOST) = lost_early, IN(VOID_HEARD) = ignore,
		IN(RELEASE) = ph_source_not_any_more, IN(FORGOTTEN) = ignore, IN(SYNCED) = ignore,
		IN(UNSYNCED) = ignore, IN(GRANTED) = commit, IN(DENIED) = claim_denied,
		IN(O_DEAD) = ph_source_copy_is_all, IN(B_DEAD) = ph_source_peer_died,
		IN(CANCEL) = cancelled, IN(DEADLINE) = claim_too_slow},
	[PH_SOURCE_COMMITTING] = {NOT_YET, STREAM_LATE, WORKER_LATE, IN(HANDLED) = ignore,
		IN(READY) = ignore, IN(REJECTED) = ignore, IN(LOADED) = ignore,
		IN(PREPARED) = ignore, IN(ACTIVE) = ph_source_active,
		IN(RELEASE) = ph_source_not_any_more, IN(SYNCED) = commit_synced,
		IN(UNSYNCED) = commit_unsynced, IN(O_DEAD) = ph_source_copy_is_all,
		IN(B_DEAD) = ignore, IN(CANCEL) = ignore, IN(DEADLINE) = commit_again},
	[PH_SOURCE_COMMITTED] = {IN(LOST) = take_back, IN(VOID_HEARD) = ignore,
		IN(FORGOTTEN) = ignore, IN(GRANTED) = bug, IN(DENIED) = bug, STREAM_LATE,
		WORKER_LATE, IN(HANDLED) = ignore, IN(READY) = ignore, IN(REJECTED) = nacked,
		IN(LOADED) = ignore, IN(PREPARED) = ignore, IN(ACTIVE) = ph_source_active,
		IN(RELEASE) = ph_source_released_early, IN(SYNCED) = ignore, IN(UNSYNCED) = ignore,
		IN(O_DEAD) = ph_source_copy_is_all, IN(B_DEAD) = target_dead, IN(CANCEL) = ignore,
		IN(DEADLINE) = ignore},
	[PH_SOURCE_FINISHING] = {NOT_YET, STREAM_LATE, WORKER_LATE, IN(HANDLED) = ignore,
		IN(READY) = ignore, IN(REJECTED) = ignore, IN(LOADED) = ignore,
		IN(PREPARED) = ignore, IN(ACTIVE) = ignore, IN(RELEASE) = ignore,
		IN(SYNCED) = ph_source_retain, IN(UNSYNCED) = ph_source_done_unsynced,
		IN(O_DEAD) = ph_source_copy_is_all, IN(B_DEAD) = ignore, IN(CANCEL) = ignore,
		IN(DEADLINE) = ignore},
	[PH_SOURCE_RETAINING] = {NOT_YET, STREAM_LATE, WORKER_LATE, IN(HANDLED) = ph_source_handled,
		IN(READY) = ignore, IN(REJECTED) = ph_source_released, IN(LOADED) = ignore,
		IN(PREPARED) = ignore, IN(ACTIVE) = ignore, IN(RELEASE) = ph_source_released,
		IN(SYNCED) = ignore, IN(UNSYNCED) = ignore, IN(O_DEAD) = ph_source_stopping_over,
		IN(B_DEAD) = ph_source_peer_died_late, IN(CANCEL) = ignore,
		IN(DEADLINE) = ph_source_stop_if},
	[PH_SOURCE_STOPPING] = {NOT_YET, STREAM_LATE, WORKER_LATE, IN(HANDLED) = ignore,
		IN(READY) = ignore, IN(REJECTED) = ignore, IN(LOADED) = ignore,
		IN(PREPARED) = ignore, IN(ACTIVE) = ignore, IN(RELEASE) = ph_source_not_any_more,
		IN(SYNCED) = ignore, IN(UNSYNCED) = ignore, IN(O_DEAD) = ph_source_stopping_over,
		IN(B_DEAD) = ignore, IN(CANCEL) = ignore, IN(DEADLINE) = ignore},
	[PH_SOURCE_ABORTING] = {IN(LOST) = take_back, IN(VOID_HEARD) = ignore,
		IN(FORGOTTEN) = ignore, IN(GRANTED) = ignore, IN(DENIED) = ignore, STREAM_LATE,
		WORKER_LATE, IN(HANDLED) = ignore, IN(READY) = ignore,
		IN(REJECTED) = ph_source_rejected, IN(LOADED) = ignore, IN(PREPARED) = ignore,
		IN(ACTIVE) = ph_source_active, IN(RELEASE) = ph_source_not_any_more,
		IN(SYNCED) = ignore, IN(UNSYNCED) = ignore, IN(O_DEAD) = ph_source_aborting_died,
		IN(B_DEAD) = ph_source_void, IN(CANCEL) = ignore,
		IN(DEADLINE) = ph_source_aborting_over},
	[PH_SOURCE_VOIDING] = {IN(LOST) = ignore, IN(VOID_HEARD) = ph_source_void_known,
		IN(FORGOTTEN) = ignore, IN(GRANTED) = bug, IN(DENIED) = bug, STREAM_LATE,
		WORKER_LATE, IN(HANDLED) = ignore, IN(READY) = ignore, IN(REJECTED) = ignore,
		IN(LOADED) = ignore, IN(PREPARED) = ignore, IN(ACTIVE) = ph_source_active,
		IN(RELEASE) = ph_source_not_any_more, IN(SYNCED) = ph_source_void_synced,
		IN(UNSYNCED) = ph_source_void_unsynced, IN(O_DEAD) = ph_source_copy_is_all,
		IN(B_DEAD) = ignore, IN(CANCEL) = ignore, IN(DEADLINE) = ph_source_void_too_long},
	[PH_SOURCE_RECLAIMING] = {IN(LOST) = ignore, IN(VOID_HEARD) = ignore,
		IN(FORGOTTEN) = ignore, IN(GRANTED) = ph_source_taken_back,
		IN(DENIED) = ph_source_overtaken, STREAM_LATE, WORKER_LATE, IN(HANDLED) = ignore,
		IN(READY) = ignore, IN(REJECTED) = ignore, IN(LOADED) = ignore,
		IN(PREPARED) = ignore, IN(ACTIVE) = ph_source_active, IN(RELEASE) = ignore,
		IN(SYNCED) = ignore, IN(UNSYNCED) = ignore, IN(O_DEAD) = ph_source_copy_is_all,
		IN(B_DEAD) = ignore, IN(CANCEL) = ignore, IN(DEADLINE) = ignore},
	[PH_SOURCE_ENDED] = {IN(LOST) = ignore, IN(VOID_HEARD) = ignore,
		IN(FORGOTTEN) = ph_source_forgotten, IN(GRANTED) = ignore, IN(DENIED) = ignore,
		STREAM_LATE, WORKER_LATE, IN(HANDLED) = ignore, IN(READY) = ignore,
		IN(REJECTED) = ph_source_confirmed, IN(LOADED) = ignore, IN(PREPARED) = ignore,
		IN(ACTIVE) = ph_source_confirmed, IN(RELEASE) = ph_source_not_any_more,
		IN(SYNCED) = ignore, IN(UNSYNCED) = ignore, IN(O_DEAD) = ignore,
		IN(B_DEAD) = ignore, IN(CANCEL) = ignore, IN(DEADLINE) = ignore},
};
#undef IN

bool ph_source_decided(enum ph_source_state state, enum ph_source_input in)
{
	return machine[state][in] != NULL;
}

void ph_source_step(struct ph_hub *hub, struct ph_source *s, enum ph_source_input in)
{
	enum ph_source_state before = s->state;
	enum ph_source_state next = machine[before][in](hub, s);
	if (!s->slot)
		return; /* freed */
	s->state = next;
	if (before < PH_SOURCE_COMMITTED && next >= PH_SOURCE_COMMITTED)
		ph_moves_room(hub);
	ph_source_entered(hub, s, before);
}
