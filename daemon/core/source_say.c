/*
 * source_say.c - a migration as its source sees it: what is said, bounded, shown.
 */
#include "core/source.h"
#include "core/swap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Members that have not confirmed by then are named, not waited for. */
#define CONFIRM_MAX_MS 15000
#define HELLO_WAIT_MS 3000 /* an adopted O that lives says hello within this */
#define LAG_MS 100	   /* a deadline that is seen so late: what came meanwhile is heard first */
#define HEAR_FIRST_MS 20   /* one turn of the loop reads what the sockets hold */
#define PEER_SPEAKS_MS 15000 /* a B that is known to nobody repeats its last word within this */
#define PEER_SLACK_MS 2000   /* B's own deadline comes first */

/* ---- what is said ---- */

struct ph_bmsg *ph_source_compose(struct ph_hub *hub, struct ph_source *s, enum ph_bkind kind)
{
	struct ph_bmsg *msg = ph_send(hub, &s->peer, kind);
	msg->id = s->id;
	msg->key = ph_slot_key(s->slot);
	msg->epoch = s->new_epoch;
	return msg;
}

static void put_prepare(struct ph_hub *hub, struct ph_source *s, struct ph_bmsg *msg)
{
	struct ph_instance *old = s->old;
	const struct ph_spec *spec = ph_swap_spec(hub, s);
	struct ph_spec_line *line = ph_out_alloc(hub, sizeof *line);
	line->child = spec->child;
	line->revision = spec->revision;
	line->text = ph_out_text(hub, spec->text);
	line->spec = spec;
	msg->specs = line;
	msg->n_specs = 1;
	msg->epoch = s->epoch;
	msg->seen = s->new_epoch;
	msg->overlap = s->overlap;
	msg->born_ms = old->born_ms;
	msg->copied_ms = old->copied_ms;
	msg->age_ms =
		s->order ? 0 : hub->now_ms - s->slot->work->planned_ms + hub->set.heartbeat_ms;
	msg->bytes_estimate = s->info.has_total ? s->info.total : 0;
	msg->format_version = old->format_version;
	memcpy(msg->format, old->format, sizeof msg->format);
}

/* Of ROUND, and again of ROUND_END, as the ROUND may be lost. */
static void put_round(const struct ph_source *s, struct ph_bmsg *msg)
{
	msg->round = s->round;
	msg->bytes_estimate = s->info.has_total ? s->info.total : 0;
	msg->format_version = s->format_version;
	memcpy(msg->format, s->format, sizeof msg->format);
}

static void say_void(struct ph_hub *hub, struct ph_source *s)
{
	for (size_t i = 0; i < s->n_void_wait; i++) {
		struct ph_bmsg *msg = ph_send(hub, &s->void_wait[i], PH_B_VOID);
		msg->id = s->id;
		msg->key = ph_slot_key(s->slot);
		msg->epoch = s->epoch;
	}
}

void ph_source_repeat(struct ph_hub *hub, struct ph_source *s)
{
	if (s->said == PH_B_VOID) {
		say_void(hub, s);
		return;
	}
	if ((s->said == PH_B_PREPARE && !s->old) || !s->peer.s[0])
		return;
	struct ph_bmsg *msg = ph_source_compose(hub, s, s->said);
	if (s->said == PH_B_PREPARE) {
		put_prepare(hub, s, msg);
	} else if (s->said == PH_B_ROUND) {
		put_round(s, msg);
	} else if (s->said == PH_B_ROUND_END) {
		put_round(s, msg);
		msg->bytes = s->end_bytes;
		msg->digest = s->stream_digest;
		msg->final = s->end_final;
	} else if (s->said == PH_B_COMMIT) {
		msg->journal = s->journal;
	} else if (s->said == PH_B_ABORT) {
		ph_reason(msg->reason, "%s", s->info.reason);
	}
}

static void await_void(struct ph_hub *hub, struct ph_source *s)
{
	s->void_wait = ph_must(
		realloc(s->void_wait, (HASH_COUNT(hub->members) + 1) * sizeof *s->void_wait));
	s->n_void_wait = 0;
	for (struct ph_member *m = hub->members; m; m = m->hh.next)
		if (ph_member_live(m))
			s->void_wait[s->n_void_wait++] = m->info.name;
}

void ph_source_say(struct ph_hub *hub, struct ph_source *s, enum ph_bkind kind)
{
	if (kind == PH_B_VOID)
		await_void(hub, s);
	s->said = kind;
	s->resend_wait_ms = PH_RESEND_FIRST_MS;
	s->resend_ms = hub->now_ms + PH_RESEND_FIRST_MS;
	ph_source_repeat(hub, s);
}

void ph_source_answer_release(struct ph_hub *hub, struct ph_source *s, bool ok)
{
	struct ph_bmsg *msg = ph_source_compose(hub, s, PH_B_RELEASED);
	msg->ok = ok;
}

uint64_t ph_source_budget(const struct ph_source *s)
{
	const struct ph_spec *spec = s->old->spec;
	if (!s->rounds)
		return spec->timeout_ms;
	uint32_t attempt = s->attempt < 3 ? s->attempt : 3;
	static const uint64_t further_ms[] = {0, 1000, 2000, 4000};
	return attempt && further_ms[attempt] > spec->downtime_ms ? further_ms[attempt]
								  : spec->downtime_ms;
}

static void put_start(struct ph_source *s, struct ph_wmsg *msg)
{
	const struct ph_spec *spec = s->old->spec;
	msg->startup_ok = true;
	msg->target = s->peer;
	msg->has_instance = true;
	msg->instance = s->slot->number;
	msg->max_bytes = spec->max_state_bytes;
	msg->timeout_ms = spec->timeout_ms;
	msg->downtime_ms = ph_source_budget(s);
	msg->rounds_max = spec->rounds_max;
}

void ph_source_retell(struct ph_hub *hub, struct ph_source *s)
{
	if (!s->old || s->told == PH_W_NONE || !ph_instance_has_process(s->old))
		return;
	struct ph_wmsg *msg = ph_tell(hub, s->old, s->told);
	msg->id = s->id;
	msg->epoch = s->new_epoch;
	msg->round = s->round;
	msg->target = s->peer;
	if (s->told == PH_W_HANDOVER_START) {
		put_start(s, msg);
	} else if (s->told == PH_W_FREEZE) {
		msg->deadline_ms = ph_source_budget(s);
	} else if (s->told == PH_W_COMMITTED) {
		const struct ph_slot *slot = s->slot; /* the one whose metadata these are */
		if (slot->entered && slot->entry.epoch > s->new_epoch)
			msg->target = slot->entry.node->name;
		msg->retention_ms = s->retention_until_ms > hub->now_ms
					    ? s->retention_until_ms - hub->now_ms
					    : 0;
		msg->meta = ph_out_text(hub, s->slot->work->meta);
	}
}

void ph_source_tell(struct ph_hub *hub, struct ph_source *s, enum ph_wop op)
{
	s->told = op;
	ph_source_retell(hub, s);
}

enum ph_result ph_source_outcome(const struct ph_source *s)
{
	return s->peer_dead ? PH_RESULT_TARGET_DEAD
	       : s->back    ? PH_RESULT_ROLLED_BACK
			    : PH_RESULT_ABORTED;
}

/* A daemon that is started again tells what this one would have told, or has. */
struct ph_record ph_source_record(const struct ph_source *s, enum ph_record_kind kind)
{
	bool over = kind == PH_RECORD_VOID || kind == PH_RECORD_DONE;
	enum ph_result result = s->info.result != PH_RESULT_RUNNING ? s->info.result
				: kind == PH_RECORD_VOID	    ? ph_source_outcome(s)
				: s->elsewhere			    ? PH_RESULT_ABORTED
				: s->taken_over			    ? PH_RESULT_SOURCE_DEAD
								    : PH_RESULT_DONE;
	return (struct ph_record){.kind = kind,
		.id = s->id,
		.key = ph_slot_key(s->slot),
		.epoch = s->epoch,
		.revision = s->new_epoch,
		.asked = s->claim_asked,
		.result = over ? result : PH_RESULT_RUNNING,
		.text = over && s->info.reason[0] ? s->info.reason : NULL,
		.peer = s->peer};
}

void ph_source_write(struct ph_hub *hub, struct ph_source *s, enum ph_record_kind kind)
{
	struct ph_record record = ph_source_record(s, kind);
	s->ticket_no = ph_journal(hub, &record);
	ph_wait_add(hub, s->ticket_no, PH_WAIT_SOURCE)->id = s->id;
}

/* ---- what is shown ---- */

static enum ph_phase phase_of(const struct ph_source *s)
{
	switch (s->state) {
	case PH_SOURCE_ASKING:
		return PH_PHASE_PLAN;
	case PH_SOURCE_PREPARING:
		return PH_PHASE_PREPARE;
	case PH_SOURCE_COPYING:
		return PH_PHASE_COPY;
	case PH_SOURCE_FREEZING:
		return PH_PHASE_FREEZE;
	case PH_SOURCE_CONFIRMING:
	case PH_SOURCE_CLAIMING:
		return PH_PHASE_PREPARED;
	case PH_SOURCE_COMMITTING:
	case PH_SOURCE_COMMITTED:
		return PH_PHASE_COMMIT;
	case PH_SOURCE_FINISHING:
		return PH_PHASE_ACTIVE;
	case PH_SOURCE_RETAINING:
		return PH_PHASE_RETENTION;
	case PH_SOURCE_STOPPING:
		return PH_PHASE_STOP;
	case PH_SOURCE_ABORTING:
	case PH_SOURCE_VOIDING:
	case PH_SOURCE_RECLAIMING:
	case PH_SOURCE_ENDED:
	case PH_SOURCE_STATE_COUNT:
		break;
	}
	return s->info.phase; /* where it stood when it failed */
}

void ph_source_show(struct ph_hub *hub, struct ph_source *s)
{
	s->info.round = s->round;
	s->info.bytes = s->moved_bytes;
	s->info.elapsed_ms = (s->ended_ms ? s->ended_ms : hub->now_ms) - s->started_ms;
	s->info.version = ++hub->migrations_version;
	ph_history_put(hub, &s->info);
	if (!hub->flush.pos)
		ph_timer_set(hub, &hub->flush, hub->now_ms + PH_FLUSH_MS);
}

static struct ph_emit *emit(struct ph_hub *hub, struct ph_source *s, enum ph_emit_kind kind)
{
	struct ph_emit *e = ph_emit(hub, kind, PH_SLOT_KEY(s->slot));
	e->id = s->id;
	e->from = s->info.from;
	e->to = s->info.to;
	e->phase = s->info.phase;
	e->result = s->info.result;
	e->epoch = s->new_epoch;
	return e;
}

void ph_source_result(struct ph_hub *hub, struct ph_source *s, enum ph_result result)
{
	s->info.result = result;
	ph_source_show(hub, s);
	if (result == PH_RESULT_DONE)
		(void)emit(hub, s, PH_EMIT_CHILD_MIGRATED);
	else if (strcmp(s->info.reason, PH_NO_SLOT) != 0)
		emit(hub, s, PH_EMIT_MIGRATION_ABORTED)->text = ph_out_text(hub, s->info.reason);
}

/* ---- bounds ---- */

/*
 * How long each of the three steps of an abort may take after the end of the state has left: B's
 * word, `void`, and the claim by which A takes back what was asked for B. All are part of the
 * budget, an eighth each.
 */
uint64_t ph_source_abort_wait(const struct ph_source *s)
{
	uint64_t part = s->old ? ph_source_budget(s) / 8 : PH_ABORT_WAIT_MS;
	return min_ms(part, PH_ABORT_WAIT_MS);
}

static uint64_t deadline_of(const struct ph_hub *hub, const struct ph_source *s)
{
	const struct ph_spec *spec = s->old ? s->old->spec : NULL;
	switch (s->state) {
	case PH_SOURCE_ASKING:
		return hub->now_ms + PH_ASK_MS;
	case PH_SOURCE_PREPARING:
		if (!spec)
			return hub->now_ms;
		spec = ph_swap_spec(hub, s);
		return hub->now_ms + spec->start_timeout_ms + PEER_SLACK_MS +
		       (s->overlap && spec->ready == PH_READY_NONE ? spec->retention_ms : 0);
	case PH_SOURCE_COPYING:
		if (!spec)
			return s->progress_ms + PH_COPY_IDLE_MS;
		return min_ms(s->frozen ? s->frozen_at_ms + ph_source_budget(s) : PH_NEVER_MS,
			min_ms(s->copy_at_ms + spec->timeout_ms, s->progress_ms + PH_COPY_IDLE_MS));
	case PH_SOURCE_FREEZING:
		if (!s->old)
			return hub->now_ms + PH_COPY_IDLE_MS;
		return s->frozen_at_ms + ph_source_budget(s);
	case PH_SOURCE_CONFIRMING:
	case PH_SOURCE_CLAIMING:
		if (!s->old && !s->peer.s[0])
			return hub->now_ms + PEER_SPEAKS_MS;
		if (!s->old)
			return PH_NEVER_MS; /* the claim, B's `never` or B's death decides */
		return (s->frozen ? s->frozen_at_ms : hub->now_ms) + ph_source_budget(s) -
		       3 * ph_source_abort_wait(s);
	case PH_SOURCE_RETAINING:
		if (s->told != PH_W_COMMITTED)
			return s->tell_by_ms;
		if (s->retention_until_ms > hub->now_ms && !s->handled)
			return s->retention_until_ms;
		if (s->committed_at_ms + CONFIRM_MAX_MS > hub->now_ms)
			return min_ms(hub->now_ms + hub->set.heartbeat_ms,
				s->committed_at_ms + CONFIRM_MAX_MS);
		return hub->now_ms + hub->set.heartbeat_ms;
	case PH_SOURCE_ABORTING:
		return hub->now_ms + (s->unheard ? HELLO_WAIT_MS : ph_source_abort_wait(s));
	case PH_SOURCE_VOIDING:
		return hub->now_ms + ph_source_abort_wait(s);
	case PH_SOURCE_COMMITTING: /* the journal answers */
	case PH_SOURCE_FINISHING:
	case PH_SOURCE_COMMITTED:  /* until B answers or is dead */
	case PH_SOURCE_STOPPING:   /* the instance's grace */
	case PH_SOURCE_RECLAIMING: /* the claim has its own */
	case PH_SOURCE_ENDED:	   /* until B confirms */
	case PH_SOURCE_STATE_COUNT:
		break;
	}
	return PH_NEVER_MS;
}

void ph_source_entered(struct ph_hub *hub, struct ph_source *s, enum ph_source_state before)
{
	bool moving = s->state == PH_SOURCE_COPYING || s->state == PH_SOURCE_RETAINING ||
		      s->state == PH_SOURCE_VOIDING;
	if (s->state != before || moving) {
		s->deadline_ms = deadline_of(hub, s);
		s->lagged = false;
	}
	if (s->state != before && s->state != PH_SOURCE_ENDED) {
		enum ph_phase phase = phase_of(s);
		bool news = phase != s->info.phase;
		s->info.phase = phase;
		ph_source_show(hub, s);
		if (news)
			(void)emit(hub, s, PH_EMIT_MIGRATION_PHASE);
	}
	ph_timer_set(hub, &s->timer, min_ms(s->deadline_ms, s->resend_ms));
}

static void resend(struct ph_hub *hub, struct ph_source *s)
{
	const struct ph_member *peer = ph_member_find(hub, &s->peer);
	if (s->state == PH_SOURCE_ENDED && peer && peer->state == PH_MEMBER_LEFT) {
		ph_source_free(hub, s); /* for good: it will never ask again */
		return;
	}
	if (s->said == PH_B_NONE || !s->resend_wait_ms) {
		s->resend_ms = PH_NEVER_MS;
		return;
	}
	s->resend_wait_ms =
		s->resend_wait_ms * 2 > PH_RESEND_MAX_MS ? PH_RESEND_MAX_MS : s->resend_wait_ms * 2;
	s->resend_ms = hub->now_ms + s->resend_wait_ms;
	if (s->said == PH_B_VOID || ph_member_up(hub, &s->peer))
		ph_source_repeat(hub, s);
}

void ph_source_deadline(struct ph_hub *hub, struct ph_source *s)
{
	if (s->resend_ms <= hub->now_ms)
		resend(hub, s);
	if (!s->slot)
		return;
	if (s->deadline_ms + LAG_MS <= hub->now_ms && !s->lagged) { /* this loop stood still */
		s->lagged = true;
		s->deadline_ms = hub->now_ms + HEAR_FIRST_MS;
	} else if (s->deadline_ms <= hub->now_ms) {
		s->lagged = false;
		s->deadline_ms = PH_NEVER_MS; /* it has passed; the step may set another one */
		ph_source_step(hub, s, PH_SOURCE_IN_DEADLINE);
		/* Where it changed nothing O may be gone meanwhile, and the state has another
		 * bound. */
		if (s->slot && s->deadline_ms == PH_NEVER_MS) {
			uint64_t at = deadline_of(hub, s);
			s->deadline_ms = at > hub->now_ms ? at : hub->now_ms + PH_RESEND_FIRST_MS;
		}
	}
	if (s->slot)
		ph_timer_set(hub, &s->timer, min_ms(s->deadline_ms, s->resend_ms));
}

/* ---- retention ---- */

static bool everybody_knows(struct ph_hub *hub, const struct ph_source *s)
{
	if (hub->now_ms >= s->committed_at_ms + CONFIRM_MAX_MS)
		return true;
	if (!s->served)
		return false; /* N has acknowledged nothing yet: O may still be needed */
	for (struct ph_member *m = hub->members; m; m = m->hh.next)
		if (ph_member_live(m) && m->hears_me_have < s->done_version)
			return false;
	return true;
}

/* As many names as there is room for. */
static void name_the_late(struct ph_hub *hub, struct ph_source *s)
{
	char names[PH_REASON_SIZE / 2] = "";
	size_t used = 0, n = 0;
	for (struct ph_member *m = hub->members; m; m = m->hh.next) {
		if (!ph_member_live(m) || m->hears_me_have >= s->done_version)
			continue;
		size_t length = strlen(m->info.name.s);
		n++;
		if (used + length + sizeof ", " > sizeof names)
			continue;
		used += (size_t)snprintf(names + used, sizeof names - used, "%s%s",
			used ? ", " : "", m->info.name.s);
	}
	if (n)
		ph_reason(s->info.reason, "%zu node%s not confirmed the new owner: %s", n,
			n == 1 ? " has" : "s have", names);
}

/* N serves, or is to serve no more; or its node has passed the child on since. */
static bool has_heir(const struct ph_source *s)
{
	const struct ph_held *e = &s->slot->entry;
	return (e->ready || e->stopped_by_wish) &&
	       (ph_name_equal(&e->node->name, &s->peer) ||
		       (s->slot->entered && e->epoch > s->new_epoch));
}

/* Until now O stood frozen, and could have gone on: N had acknowledged nothing. */
static bool announced(struct ph_hub *hub, struct ph_source *s)
{
	if (s->told == PH_W_COMMITTED)
		return true;
	if (s->peer_active && hub->now_ms < s->tell_by_ms && !has_heir(s))
		return false;
	s->committed_at_ms = hub->now_ms;
	if (!s->retention_until_ms)
		s->retention_until_ms = hub->now_ms + s->old->spec->retention_ms;
	ph_source_tell(hub, s, PH_W_COMMITTED);
	ph_instance_step(hub, s->old, PH_INSTANCE_IN_RETIRE);
	return true;
}

enum ph_source_state ph_source_stop_if(struct ph_hub *hub, struct ph_source *s)
{
	const struct ph_held *e = &s->slot->entry;
	/* ... or is to serve no more. */
	s->served |=
		s->slot->entered && (e->ready || e->stopped_by_wish) && e->epoch >= s->new_epoch;
	if (!announced(hub, s))
		return PH_SOURCE_RETAINING;
	if ((!s->handled && hub->now_ms < s->retention_until_ms) || !everybody_knows(hub, s))
		return PH_SOURCE_RETAINING;
	name_the_late(hub, s);
	s->old->after = PH_AFTER_DISCARD;
	ph_instance_step(hub, s->old, PH_INSTANCE_IN_STOP);
	return PH_SOURCE_STOPPING;
}

void ph_source_confirmations(struct ph_hub *hub)
{
	struct ph_source *s, *next;
	HASH_ITER (hh, hub->sources, s, next)
		if (s->state == PH_SOURCE_RETAINING)
			ph_source_step(hub, s, PH_SOURCE_IN_DEADLINE);
}

/* ---- birth and death ---- */

struct ph_source *ph_source_new(struct ph_hub *hub, const struct ph_id *id, struct ph_slot *slot,
	const struct ph_name *peer, uint64_t epoch)
{
	struct ph_source *s = ph_must(calloc(1, sizeof *s));
	s->id = *id;
	s->slot = slot;
	s->peer = *peer;
	s->epoch = epoch;
	s->timer.kind = PH_TIMER_SOURCE;
	s->timer.owner = s;
	s->deadline_ms = s->resend_ms = PH_NEVER_MS;
	s->started_ms = hub->now_ms;
	s->info.id = *id;
	s->info.key = ph_slot_key(slot);
	s->info.from = hub->set.node;
	s->info.to = *peer;
	ph_slot_work(hub, slot)->source = s;
	HASH_ADD(hh, hub->sources, id, sizeof s->id, s);
	return s;
}

void ph_source_free(struct ph_hub *hub, struct ph_source *s)
{
	struct ph_record record = {
		.kind = PH_RECORD_FORGET, .id = s->id, .key = ph_slot_key(s->slot)};
	if (s->final_asked || s->claim_asked || s->voided)
		(void)ph_journal(hub, &record);
	ph_timer_set(hub, &s->timer, PH_NEVER_MS);
	HASH_DEL(hub->sources, s);
	if (s->void_wait)
		ph_out_bury(hub, s->void_wait);
	s->slot = NULL;
	ph_out_bury(hub, s);
}

static bool can_hand_over(const struct ph_instance *old)
{
	return old->spec->handover != PH_HANDOVER_NO && old->connected &&
	       (old->caps & PH_CAP_HANDOVER);
}

struct ph_source *ph_source_start(struct ph_hub *hub, struct ph_move *move)
{
	struct ph_slot *slot = move->slot;
	struct ph_instance *old = slot->work->instance;
	struct ph_source *s = ph_source_new(hub, &move->id, slot, &move->to, slot->entry.epoch);
	s->new_epoch = ph_next_epoch(hub, slot);
	s->old = old;
	s->format_version = old->format_version;
	memcpy(s->format, old->format, sizeof s->format);
	s->order = move->order;
	s->force = move->force;
	s->attempt = slot->work->move_attempt;
	s->overlap = !can_hand_over(old);
	s->rounds = (old->caps & PH_CAP_ROUNDS) != 0 && !s->overlap;
	old->source = s;
	s->state = PH_SOURCE_ASKING;
	if (!slot->work->move_wait_ms) /* else it is one more attempt */
		(void)emit(hub, s, PH_EMIT_MIGRATION_STARTED);
	ph_source_entered(hub, s, PH_SOURCE_ENDED);
	if (!s->overlap && (old->caps & PH_CAP_ASK))
		ph_source_tell(hub, s, PH_W_HANDOVER_ASK);
	else
		ph_source_step(hub, s, PH_SOURCE_IN_ACCEPTED);
	return s;
}

bool ph_source_undecided(const struct ph_source *s)
{
	return s->state >= PH_SOURCE_CONFIRMING && s->state <= PH_SOURCE_COMMITTED
		       ? true
		       : s->state >= PH_SOURCE_ABORTING && s->state <= PH_SOURCE_RECLAIMING;
}
