/* source_hear.c - a migration as its source sees it: what is heard, and what a restart finds. */
#include "core/source.h"
#include "core/swap.h"

#include <stdio.h>
#include <string.h>

#define ENDED_MAX 4096 /* outcomes kept for partners that do not answer */

/* ---- what is heard from daemons ---- */

static enum ph_source_input input_of(enum ph_bkind kind)
{
	static const uint8_t inputs[PH_BKIND_COUNT] = {
		[PH_B_READY] = PH_SOURCE_IN_READY + 1,
		[PH_B_REJECT] = PH_SOURCE_IN_REJECTED + 1,
		[PH_B_NACK] = PH_SOURCE_IN_REJECTED + 1,
		[PH_B_ABORTED] = PH_SOURCE_IN_REJECTED + 1,
		[PH_B_LOADED] = PH_SOURCE_IN_LOADED + 1,
		[PH_B_PREPARED] = PH_SOURCE_IN_PREPARED + 1,
		[PH_B_ACTIVE] = PH_SOURCE_IN_ACTIVE + 1,
		[PH_B_LOST] = PH_SOURCE_IN_LOST + 1,
		[PH_B_RELEASE] = PH_SOURCE_IN_RELEASE + 1,
		[PH_B_FORGOTTEN] = PH_SOURCE_IN_FORGOTTEN + 1,
	};
	return inputs[kind] ? (enum ph_source_input)(inputs[kind] - 1) : PH_SOURCE_INPUT_COUNT;
}

/* It serves here, or has ended as was ordered or as its policy has it: it goes on from here only.
 */
static bool is_settled(const struct ph_hub *hub, const struct ph_slot *slot)
{
	const struct ph_instance *i = slot ? slot->work->instance : NULL;
	return i && ph_slot_mine(hub, slot) &&
	       (i->state == PH_INSTANCE_RUNNING || i->state == PH_INSTANCE_STOPPED ||
		       i->state == PH_INSTANCE_FAILED);
}

/* The migration is not known (any more): nothing here will ever commit it. */
static void answer_stranger(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	struct ph_bmsg *answer;
	struct ph_slot *slot = ph_is_self(hub, &msg->from)
				       ? ph_swap_slot(hub, &msg->from, &msg->id, &msg->key)
				       : ph_slot_find(hub, &msg->key, NULL);
	bool outcome = msg->kind == PH_B_ABORTED || msg->kind == PH_B_NACK ||
		       msg->kind == PH_B_REJECT || msg->kind == PH_B_ACTIVE;
	if (outcome) {
		answer = ph_send(hub, &msg->from, PH_B_FORGET);
	} else if (msg->kind == PH_B_RELEASE) {
		answer = ph_send(hub, &msg->from, PH_B_RELEASED);
		answer->ok = slot && ph_slot_mine(hub, slot); /* by a claim, meanwhile */
	} else if ((msg->kind == PH_B_QUERY || msg->kind == PH_B_PREPARED ||
			   msg->kind == PH_B_READY) &&
		   (!hub->set.journal_lost || is_settled(hub, slot))) {
		/* With the journal lost nothing else proves that nothing was committed. */
		answer = ph_send(hub, &msg->from, PH_B_ABORT);
		ph_reason(answer->reason, "the source does not know this migration");
	} else {
		return;
	}
	answer->id = msg->id;
	answer->key = msg->key;
	answer->epoch = msg->epoch;
}

/*
 * The journal is lost, O does not live, and B has all of its state: that copy may be the only one,
 * so the handover is gone on with, if the members, asked as always, do not know better.
 */
static struct ph_source *go_on_blind(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	if (msg->kind != PH_B_PREPARED || !hub->set.journal_lost)
		return NULL;
	struct ph_slot *slot = ph_swap_slot(hub, &msg->from, &msg->id, &msg->key);
	bool others = slot->entered && !ph_is_self(hub, &slot->entry.node->name) &&
		      ph_member_up(hub, &slot->entry.node->name);
	if (others || ph_slot_busy(slot) || slot->work->source || slot->work->target ||
		hub->self_state != PH_MEMBER_ALIVE)
		return NULL;
	if (slot->work->claim)
		ph_claim_drop(hub, slot->work->claim);
	struct ph_source *s = ph_source_new(hub, &msg->id, slot, &msg->from, msg->epoch - 1);
	if (slot->work->instance) { /* it waited for a claim: this is a better one */
		slot->work->instance->after = PH_AFTER_DISCARD;
		ph_instance_step(hub, slot->work->instance, PH_INSTANCE_IN_STOP);
	}
	s->new_epoch = msg->epoch;
	s->final_asked = s->final_synced = s->final_left = true;
	s->state = PH_SOURCE_CONFIRMING;
	ph_reason(s->info.reason, "the journal that would tell how far it got is lost");
	ph_source_entered(hub, s, PH_SOURCE_PREPARING);
	return s;
}

static void on_query(struct ph_hub *hub, struct ph_source *s)
{
	if (s->state == PH_SOURCE_COMMITTED || s->state == PH_SOURCE_ENDED)
		ph_source_repeat(hub, s); /* COMMIT, or ABORT, or FORGET */
}

static bool take(struct ph_source *s, const struct ph_bmsg *msg)
{
	if (msg->kind == PH_B_LOADED && msg->round != s->round)
		return false;
	if (msg->kind == PH_B_PREPARED) {
		s->journal = msg->journal;
		if (s->state == PH_SOURCE_CONFIRMING || s->state == PH_SOURCE_PREPARING) {
			uint64_t above = ph_epoch_make(
				ph_epoch_counter(msg->seen) + 1, ph_epoch_slot(s->new_epoch));
			if (msg->seen > s->new_epoch) /* an equal one is this very number */
				s->new_epoch = above;
		}
		return s->state != PH_SOURCE_PREPARING || s->overlap;
	}
	if (msg->kind == PH_B_READY)
		return !s->overlap;
	if (msg->kind == PH_B_ACTIVE) {
		s->peer_active = true;
		s->new_epoch = msg->epoch > s->new_epoch ? msg->epoch : s->new_epoch;
	}
	if (msg->kind == PH_B_REJECT && s->state == PH_SOURCE_PREPARING)
		s->busy = msg->busy;
	if ((msg->kind == PH_B_REJECT || msg->kind == PH_B_NACK) && msg->reason[0] &&
		!s->info.reason[0])
		ph_reason(s->info.reason, "%s%s", msg->busy ? PH_BUSY : "", msg->reason);
	return true;
}

void ph_source_void_ack(struct ph_hub *hub, struct ph_source *s, const struct ph_name *from)
{
	for (size_t i = 0; i < s->n_void_wait; i++)
		if (ph_name_equal(&s->void_wait[i], from)) {
			s->void_wait[i] = s->void_wait[--s->n_void_wait];
			break;
		}
	if (s->state == PH_SOURCE_VOIDING && s->voided && !s->n_void_wait)
		ph_source_step(hub, s, PH_SOURCE_IN_VOID_HEARD);
}

void ph_source_message(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	struct ph_source *s;
	HASH_FIND(hh, hub->sources, msg->id.b, sizeof msg->id.b, s);
	if (!s)
		s = go_on_blind(hub, msg);
	if (!s) {
		answer_stranger(hub, msg);
		return;
	}
	if (msg->kind == PH_B_VOID_ACK) {
		ph_source_void_ack(hub, s, &msg->from);
		return;
	}
	if (!s->peer.s[0]) /* restored without its record: this is who the other side is */
		s->peer = msg->from;
	if (!ph_name_equal(&msg->from, &s->peer))
		return;
	if (msg->kind == PH_B_QUERY) {
		on_query(hub, s);
		return;
	}
	enum ph_source_input in = input_of(msg->kind);
	if (in != PH_SOURCE_INPUT_COUNT && take(s, msg))
		ph_source_step(hub, s, in);
}

/* ---- what is heard from O ---- */

static void on_refuse(struct ph_hub *hub, struct ph_source *s, const struct ph_wmsg *msg)
{
	s->refused = true;
	s->busy = msg->code && strcmp(msg->code, "busy") == 0;
	/* What is incompatible today stays so until the worker or its spec changes. */
	s->never = !s->busy;
	(void)snprintf(s->refusal, sizeof s->refusal, "%s", msg->code ? msg->code : "");
	if (strcmp(s->refusal, "never") == 0) /* the process means it, whatever the target */
		s->old->never_moves = true;
	s->retry_after_ms = msg->retry_after_ms;
	if (s->state == PH_SOURCE_ASKING && s->force) {
		ph_source_step(hub, s, PH_SOURCE_IN_ACCEPTED);
		return;
	}
	/* It has changed nothing, so it is told nothing. */
	if (s->old->state == PH_INSTANCE_FROZEN)
		ph_instance_step(hub, s->old, PH_INSTANCE_IN_THAW);
	if (s->state == PH_SOURCE_COPYING && s->round == 0) {
		ph_source_unfinal(hub, s);
		s->told = PH_W_NONE;
	}
	ph_source_step(hub, s, PH_SOURCE_IN_REFUSED);
}

static void on_state_end(struct ph_hub *hub, struct ph_source *s, const struct ph_wmsg *msg)
{
	bool streaming = s->state == PH_SOURCE_COPYING || s->state == PH_SOURCE_FREEZING;
	if (msg->round < s->round || s->have_end || s->state > PH_SOURCE_FREEZING)
		return; /* a repeat */
	if (msg->round > s->round || !streaming) {
		ph_complain(hub, s->old, "wrong_round", "state_end of round %u, expected %u",
			msg->round, s->round);
		return;
	}
	bool last = msg->final || !s->rounds;
	if (s->state == PH_SOURCE_FREEZING && !last) {
		ph_complain(hub, s->old, "not_final", "state_end after freeze must be final");
		return;
	}
	s->have_end = true;
	s->end_bytes = msg->bytes;
	s->end_final = last;
	ph_source_step(hub, s, PH_SOURCE_IN_STATE_END);
}

static bool ours(struct ph_hub *hub, struct ph_source *s, const struct ph_wmsg *msg)
{
	if (ph_id_equal(&msg->id, &s->id))
		return true;
	ph_log(hub, PH_LOG_DEBUG, "%s/%u speaks of another migration", s->slot->child->name.s,
		s->slot->number);
	return false;
}

void ph_source_worker(struct ph_hub *hub, struct ph_source *s, const struct ph_wmsg *msg)
{
	if (!ours(hub, s, msg))
		return;
	if (msg->op == PH_W_HANDOVER_ACCEPT) {
		if (msg->format[0]) {
			s->format_version = msg->version;
			memcpy(s->format, msg->format, sizeof s->format);
		}
		if (msg->has_bytes_estimate) {
			s->info.has_total = true;
			s->info.total = msg->bytes_estimate;
		}
		ph_source_step(hub, s, PH_SOURCE_IN_ACCEPTED);
	} else if (msg->op == PH_W_HANDOVER_REFUSE) {
		on_refuse(hub, s, msg);
	} else if (msg->op == PH_W_STATE_END) {
		on_state_end(hub, s, msg);
	} else if (msg->op == PH_W_PROGRESS) {
		s->has_dirty = true;
		s->dirty_bytes = msg->dirty_bytes;
		ph_source_step(hub, s, PH_SOURCE_IN_PROGRESS);
	} else if (msg->op == PH_W_RETENTION_HANDLED && s->told != PH_W_COMMITTED &&
		   !s->old->adopted) {
		ph_complain(hub, s->old, "too_early", "retention_handled before committed");
	} else if (msg->op == PH_W_RETENTION_HANDLED) {
		ph_source_step(hub, s, PH_SOURCE_IN_HANDLED);
	} else if (msg->op == PH_W_RESUMED) {
		ph_source_step(hub, s, PH_SOURCE_IN_RESUMED);
	}
}

/* O has (re)connected: the last word is said again. */
void ph_source_hello(struct ph_hub *hub, struct ph_source *s)
{
	if (s->told == PH_W_FREEZE && !s->copy_at_ms)
		ph_source_heard(
			hub, s); /* restored without its rounds: resume is next, or committed */
	else
		ph_source_retell(hub, s);
}

/* ---- the stream ---- */

static void no_dial(struct ph_hub *hub, struct ph_source *s)
{
	struct ph_bmsg *msg = ph_source_compose(hub, s, PH_B_DIAL_BACK);
	msg->round = s->round;
}

void ph_source_stream(struct ph_hub *hub, struct ph_source *s, const struct ph_event *event)
{
	if (event->kind == PH_EV_STREAM_FAILED) {
		ph_reason(s->info.reason, "%s", event->text ? event->text : "the stream failed");
		ph_source_step(hub, s, PH_SOURCE_IN_BROKEN);
	} else if (event->kind == PH_EV_STREAM_READ) {
		if (event->stream->round != s->round)
			return;
		s->have_read = true;
		s->read_bytes = event->stream->bytes;
		ph_source_step(hub, s, PH_SOURCE_IN_STREAMED);
	} else if (event->kind == PH_EV_STREAM_NO_DIAL) {
		no_dial(hub, s);
	} else if (event->kind == PH_EV_STREAM_PROGRESS) {
		if (event->stream->bytes == s->moved_bytes)
			return;
		s->moved_bytes = event->stream->bytes;
		ph_source_show(hub, s);
		ph_source_step(hub, s, PH_SOURCE_IN_PROGRESS);
	} else if (event->stream->round == s->round && !s->have_stream) {
		s->have_stream = true;
		s->stream_bytes = event->stream->bytes;
		s->stream_digest = event->stream->digest;
		if (s->moved_bytes < s->round_start_bytes + s->stream_bytes)
			s->moved_bytes = s->round_start_bytes + s->stream_bytes;
		s->round_start_bytes = s->moved_bytes;
		ph_source_step(hub, s, PH_SOURCE_IN_STREAMED);
	}
}

/* ---- after a restart of the daemon ---- */

static bool of_source(enum ph_record_kind kind)
{
	return kind == PH_RECORD_FINAL || kind == PH_RECORD_VOID || kind == PH_RECORD_COMMIT ||
	       kind == PH_RECORD_DONE;
}

/* FORGET is the last word: what it finds running has come as far as this. */
static enum ph_result last_known(const struct ph_history *h)
{
	return h->info.result != PH_RESULT_RUNNING   ? h->info.result
	       : h->info.phase >= PH_PHASE_RETENTION ? PH_RESULT_DONE
						     : PH_RESULT_ABORTED;
}

/*
 * The list of migrations as the journal knows it: what is decided as it ended, the rest as running.
 * What has only begun is over, as its streams ended with the daemon. `done` may still be taken
 * back.
 */
static void remember(struct ph_hub *hub, const struct ph_record *record)
{
	struct ph_history *h;
	HASH_FIND(hh, hub->history_by_id, record->id.b, sizeof record->id.b, h);
	bool begun = record->kind == PH_RECORD_BEGUN, done = record->kind == PH_RECORD_DONE;
	if (!begun && !h)
		return;
	struct ph_migration_info info = {.id = record->id,
		.key = record->key,
		.from = hub->set.node,
		.to = record->peer.s[0] || !h ? record->peer : h->info.to,
		.version = ++hub->migrations_version,
		.phase = done ? PH_PHASE_RETENTION : PH_PHASE_PREPARE,
		.result = begun ? PH_RESULT_ABORTED : record->result};
	if (done && record->result == PH_RESULT_DONE)
		info.result = PH_RESULT_RUNNING;
	if (record->kind == PH_RECORD_FORGET) {
		info = h->info;
		info.result = last_known(h);
	}
	if (record->text)
		ph_reason(info.reason, "%s", record->text);
	else if (info.result == PH_RESULT_ABORTED && !info.reason[0])
		ph_reason(info.reason, "it was not finished when the daemon was restarted");
	if (h)
		h->presumed = true; /* the later record says more */
	ph_history_put(hub, &info);
	HASH_FIND(hh, hub->history_by_id, record->id.b, sizeof record->id.b, h);
	if (h)
		h->presumed = begun; /* a handover that goes on says more */
}

void ph_source_restore(struct ph_hub *hub, const struct ph_record *record)
{
	struct ph_source *s;
	HASH_FIND(hh, hub->sources, record->id.b, sizeof record->id.b, s);
	if (of_source(record->kind) || record->kind == PH_RECORD_BEGUN ||
		record->kind == PH_RECORD_FORGET)
		remember(hub, record);
	if (record->kind == PH_RECORD_FORGET) {
		if (!s)
			return;
		if (s->slot->work->source == s)
			ph_slot_work(hub, s->slot)->source = NULL;
		HASH_DEL(hub->sources, s);
		ph_out_bury(hub, s);
		return;
	}
	if (!of_source(record->kind))
		return;
	struct ph_slot *slot = ph_swap_slot(hub, &record->peer, &record->id, &record->key);
	struct ph_source *before = slot->work->source;
	if (!s && before && before->state == PH_SOURCE_ABORTING) {
		before->state =
			PH_SOURCE_ENDED; /* O went on from there, or there were no next one */
		before->voided = true;
		before->claim_asked = false;
	}
	if (!s)
		s = ph_source_new(hub, &record->id, slot, &record->peer, record->epoch);
	if (record->peer.s[0]) /* the first may have been written before it was known */
		s->peer = s->info.to = record->peer;
	s->new_epoch = record->revision;
	s->final_asked = s->final_synced = s->final_left = true;
	s->claim_asked = record->asked || record->kind == PH_RECORD_FINAL ||
			 record->kind == PH_RECORD_COMMIT;
	bool kept = record->kind == PH_RECORD_VOID && !s->claim_asked; /* O kept the epoch it had */
	ph_slot_seen(hub, slot, kept ? record->epoch : s->new_epoch);
	static const enum ph_source_state states[PH_RECORD_COUNT] = {
		[PH_RECORD_FINAL] = PH_SOURCE_ABORTING,
		[PH_RECORD_VOID] = PH_SOURCE_ENDED,
		[PH_RECORD_COMMIT] = PH_SOURCE_COMMITTED,
		[PH_RECORD_DONE] = PH_SOURCE_FINISHING,
	};
	s->state = states[record->kind];
	s->voided = record->kind == PH_RECORD_VOID;
	s->peer_active = record->kind == PH_RECORD_DONE;
	s->elsewhere = s->peer_active && record->result == PH_RESULT_ABORTED;
	s->taken_over = record->result == PH_RESULT_SOURCE_DEAD;
	s->peer_dead = record->result == PH_RESULT_TARGET_DEAD;
	s->back = s->peer_dead || record->result == PH_RESULT_ROLLED_BACK;
	if (record->text)
		ph_reason(s->info.reason, "%s", record->text);
}

void ph_source_lost(struct ph_hub *hub, struct ph_instance *old, const struct ph_id *id)
{
	struct ph_name nobody = {""};
	struct ph_source *s = ph_source_new(hub, id, old->slot, &nobody, old->epoch);
	s->old = old;
	old->source = s;
	s->told = PH_W_FREEZE;
	s->frozen = s->reclaim = s->claim_asked = true;
	ph_reason(s->info.reason, "the journal that would tell how far it got is lost");
	ph_instance_step(hub, old, PH_INSTANCE_IN_FREEZE);
	s->final_asked = s->final_left = true;
	ph_source_write(hub, s, PH_RECORD_FINAL); /* for a daemon that dies before it is decided */
	s->state = ph_source_reclaim(hub, s);
	if (s->slot)
		ph_source_entered(hub, s, PH_SOURCE_ABORTING);
}

/* Without a state file O was adopted as an ordinary worker: its epoch tells that it is O. */
static void find_old(struct ph_source *s)
{
	struct ph_instance *instance = s->slot->work->instance;
	if (s->old || !instance || !instance->adopted || instance->epoch != s->epoch ||
		instance->source || instance->target)
		return;
	s->old = instance;
	instance->source = s;
}

/* Nothing is decided before O has said hello: it may have ended meanwhile. */
static void restart_frozen(struct ph_hub *hub, struct ph_source *s)
{
	if (s->old->state == PH_INSTANCE_RUNNING || s->old->state == PH_INSTANCE_RETIRED)
		s->old->state = PH_INSTANCE_FROZEN;
	s->state = PH_SOURCE_ABORTING;
	s->frozen = s->unheard = true;
	s->told = PH_W_FREEZE;
	ph_reason(s->info.reason, "the source's daemon was restarted");
	ph_source_entered(hub, s, PH_SOURCE_ENDED);
}

static void restart_one(struct ph_hub *hub, struct ph_source *s)
{
	find_old(s);
	struct ph_instance *old = s->old;
	struct ph_slot *slot = s->slot;
	enum ph_source_state state = s->state;
	if (old && !slot->work->instance && state != PH_SOURCE_FINISHING) {
		ph_slot_work(hub, slot)->instance = old;
		if (!slot->entered)
			ph_slot_own(hub, slot, old->epoch, PH_LINEAGE_CONTINUED);
		ph_slot_publish(hub, slot);
	}
	if (state == PH_SOURCE_ABORTING && !old) {
		s->state = ph_source_ask_peer(hub, s);
		ph_source_entered(hub, s, PH_SOURCE_ENDED);
		return;
	}
	/* `void` after a claim was asked, and O has no new epoch: it is asked for again. */
	bool untold = s->voided && s->claim_asked && old && old->epoch <= s->epoch;
	if (state == PH_SOURCE_ABORTING || untold) {
		restart_frozen(hub, s);
		return;
	}
	if (state == PH_SOURCE_COMMITTED) {
		if (old)
			old->state = PH_INSTANCE_FROZEN;
		s->told = PH_W_FREEZE;
		s->frozen = true;
		s->frozen_at_ms = hub->now_ms;
		ph_source_say(hub, s, PH_B_COMMIT);
		ph_source_entered(hub, s, PH_SOURCE_ENDED);
		return;
	}
	if (state == PH_SOURCE_FINISHING) {
		s->info.result = PH_RESULT_RUNNING;
		if (old && old->state == PH_INSTANCE_RUNNING)
			old->state = PH_INSTANCE_FROZEN;
		s->told = PH_W_FREEZE;
		ph_source_step(hub, s, PH_SOURCE_IN_SYNCED);
		if (s->slot && s->state == PH_SOURCE_ENDED)
			ph_source_say(hub, s, PH_B_FORGET);
		return;
	}
	/* VOID: O was resumed, or is to be: on_hello of a frozen one says so. */
	if (slot->work->source == s)
		ph_slot_work(hub, slot)->source = NULL;
	if (old) {
		old->source = NULL;
		if (old->state == PH_INSTANCE_FROZEN)
			ph_instance_step(hub, old, PH_INSTANCE_IN_THAW);
	}
	s->old = NULL;
	s->info.result = ph_source_outcome(s);
	ph_source_show(hub, s);
	if (!s->peer.s[0]) { /* there is nobody to tell */
		ph_source_free(hub, s);
		return;
	}
	ph_source_say(hub, s, PH_B_ABORT);
	ph_source_entered(hub, s, PH_SOURCE_ENDED);
}

void ph_source_restart(struct ph_hub *hub)
{
	struct ph_source *s, *next;
	HASH_ITER (hh, hub->sources, s, next)
		restart_one(hub, s);
	if (hub->history && !hub->flush.pos) /* the others wait for what is known of them here */
		ph_timer_set(hub, &hub->flush, hub->now_ms + PH_FLUSH_MS);
	/* What partners that never answer have left behind is bounded, here. */
	HASH_ITER (hh, hub->sources, s, next)
		if (s->state == PH_SOURCE_ENDED && HASH_COUNT(hub->sources) > ENDED_MAX)
			ph_source_free(hub, s);
}
