#include "lib/session.h"

#include <errno.h>
#include <string.h>

#include "lib/session_out.h"
#include "proto/worker.h"

typedef enum ph_hand handler(struct ph_session *s, const struct ph_session_input *in);

static struct ph_wish *wish(struct ph_session *s, enum ph_wish_kind kind, const struct ph_wmsg *msg)
{
	static struct ph_wish spill;
	struct ph_wish *w = s->n_wishes < PH_WISHES_MAX ? &s->wishes[s->n_wishes++] : &spill;
	*w = (struct ph_wish){.kind = kind, .round = s->round, .final = s->final, .msg = msg};
	return w;
}

static bool same(const struct ph_session *s, const struct ph_session_input *in)
{
	return ph_id_equal(&s->id, &in->msg->id);
}

static void drop_stream(struct ph_session *s)
{
	if (s->streaming)
		wish(s, PH_WISH_DROP, NULL);
	s->streaming = s->ended = s->whole = false;
}

static void forget_handover(struct ph_session *s)
{
	drop_stream(s);
	memset(&s->id, 0, sizeof s->id);
	s->last.op = PH_W_NONE;
	s->round = 0;
	s->final = s->frozen = false;
}

/* A message of this handover that is kept and repeated after a reconnection. */
static void answer(struct ph_session *s, struct ph_wmsg *m)
{
	m->id = s->id;
	m->epoch = s->id_epoch;
	m->round = s->round;
	s->last = *m;
	ph_session_must_say(s, m);
}

static void accept(struct ph_session *s, uint64_t bytes_estimate)
{
	struct ph_wmsg m = {.op = PH_W_HANDOVER_ACCEPT,
		.version = s->hello.version,
		.has_bytes_estimate = bytes_estimate != 0,
		.bytes_estimate = bytes_estimate};
	memcpy(m.format, s->hello.format, sizeof m.format);
	answer(s, &m);
}

static void refuse(struct ph_session *s, const struct ph_wmsg *asked, const char *code,
	uint64_t retry_after_ms)
{
	struct ph_wmsg m = {.op = PH_W_HANDOVER_REFUSE,
		.id = asked->id,
		.epoch = asked->epoch,
		.code = code,
		.retry_after_ms = retry_after_ms};
	ph_session_must_say(s, &m);
}

static void begin(struct ph_session *s, const struct ph_wmsg *m)
{
	forget_handover(s);
	s->id = m->id;
	s->id_epoch = m->epoch;
	s->max_bytes = m->max_bytes;
}

static void save_round(struct ph_session *s, uint32_t round, bool final)
{
	drop_stream(s);
	s->round = round;
	s->final = final;
	s->streaming = true;
	wish(s, PH_WISH_SAVE, NULL);
}

static void freeze(struct ph_session *s, const struct ph_wmsg *m)
{
	if (!s->frozen)
		wish(s, PH_WISH_FREEZE, m);
	s->frozen = true;
}

static bool has_cap(const struct ph_session *s, enum ph_cap cap)
{
	return (s->hello.caps & (uint32_t)cap) != 0;
}

/* ---- handlers: everybody's */

static enum ph_hand stay(struct ph_session *s, const struct ph_session_input *in)
{
	(void)in;
	return s->hand;
}

static enum ph_hand note(struct ph_session *s, const struct ph_session_input *in)
{
	(void)ph_err_set(&s->err, EPROTO, "%s: ignored while %s",
		in->msg ? ph_wmsg_word(in->msg->op) : "input", ph_hand_name(s->hand));
	wish(s, PH_WISH_NOTE, in->msg);
	return s->hand;
}

/* The new connection stands: who am I, and what was not answered. */
static void greet(struct ph_session *s, const struct ph_wmsg *m)
{
	bool changed = !s->greeted || s->role != m->role || s->epoch != m->epoch;
	s->up = s->greeted = true;
	s->node = m->node;
	s->child = m->child;
	s->instance = m->instance;
	s->ready_said = false;
	if (changed && s->hand == PH_HAND_IDLE) {
		s->role = m->role;
		s->epoch = m->epoch;
		wish(s, m->role == PH_ROLE_ACTIVE ? PH_WISH_ACTIVATE : PH_WISH_STANDBY, m);
		ph_session_repeat_wanted(s); /* ready is owed after the callback */
		return;
	}
	ph_session_repeat(s);
}

static enum ph_hand greeted(struct ph_session *s, const struct ph_session_input *in)
{
	greet(s, in->msg);
	if (s->last.op != PH_W_NONE && !s->streaming)
		ph_session_must_say(s, &s->last);
	return s->hand;
}

/* The stream ended with the old connection: the round once more. */
static enum ph_hand greeted_sending(struct ph_session *s, const struct ph_session_input *in)
{
	greet(s, in->msg);
	if (in->msg->has_migration && ph_id_equal(&in->msg->migration_id, &s->id)) {
		if (s->last.op != PH_W_NONE)
			ph_session_must_say(s, &s->last);
		save_round(s, s->round, s->final);
	}
	return s->hand;
}

static enum ph_hand lost(struct ph_session *s, const struct ph_session_input *in)
{
	(void)in;
	drop_stream(s);
	s->up = false;
	s->out_n = 0;
	return s->hand;
}

/* ---- the old worker */

static enum ph_hand ask(struct ph_session *s, const struct ph_session_input *in)
{
	if (!has_cap(s, PH_CAP_HANDOVER)) {
		refuse(s, in->msg, "never", 0);
		return s->hand;
	}
	begin(s, in->msg);
	wish(s, PH_WISH_ASK, in->msg);
	return in->kind == PH_IN_ASK ? PH_HAND_ASKED : PH_HAND_STARTING;
}

static enum ph_hand ask_again(struct ph_session *s, const struct ph_session_input *in)
{
	if (same(s, in)) {
		ph_session_must_say(s, &s->last);
		return s->hand;
	}
	return ask(s, in);
}

static enum ph_hand busy(struct ph_session *s, const struct ph_session_input *in)
{
	if (same(s, in))
		return note(s, in);
	refuse(s, in->msg, "busy", 0);
	return s->hand;
}

static enum ph_hand granted(struct ph_session *s, const struct ph_session_input *in)
{
	(void)in;
	accept(s, 0);
	return PH_HAND_GRANTED;
}

static enum ph_hand refused(struct ph_session *s, const struct ph_session_input *in)
{
	static const char *const codes[] = {"busy", "never", "incompatible"};
	struct ph_wmsg asked = {.id = s->id, .epoch = s->id_epoch};
	int i = in->code >= 1 && in->code <= 3 ? in->code - 1 : 1;
	refuse(s, &asked, codes[i], in->retry_after_ms);
	forget_handover(s);
	return PH_HAND_IDLE;
}

static enum ph_hand started(struct ph_session *s, const struct ph_session_input *in)
{
	accept(s, in->bytes);
	bool rounds = has_cap(s, PH_CAP_ROUNDS);
	if (!rounds)
		freeze(s, in->msg);
	save_round(s, 0, !rounds);
	return rounds ? PH_HAND_SENDING : PH_HAND_FREEZING;
}

/* The question was put by handover_ask; max_bytes is known only now. */
static enum ph_hand start_granted(struct ph_session *s, const struct ph_session_input *in)
{
	if (!same(s, in))
		return ask(s, in);
	s->max_bytes = in->msg->max_bytes;
	wish(s, PH_WISH_ESTIMATE, in->msg);
	return PH_HAND_STARTING;
}

/* Repeated by the daemon: answered as before; the stream that runs is the one it wants. */
static enum ph_hand start_again(struct ph_session *s, const struct ph_session_input *in)
{
	if (!same(s, in))
		return busy(s, in);
	struct ph_wmsg said = s->last;
	struct ph_session_input again = *in;
	again.bytes = said.bytes_estimate;
	if (s->streaming && s->round == 0)
		ph_session_must_say(s, &said);
	else if (s->round == 0 && said.op == PH_W_HANDOVER_ACCEPT)
		return started(s, &again);
	else if (said.op != PH_W_NONE)
		ph_session_must_say(s, &said);
	return s->hand;
}

static enum ph_hand sent(struct ph_session *s, const struct ph_session_input *in)
{
	struct ph_wmsg m = {.op = PH_W_STATE_END, .bytes = in->bytes, .final = s->final};
	s->streaming = false;
	answer(s, &m);
	return s->hand == PH_HAND_FREEZING ? PH_HAND_FROZEN : PH_HAND_SENT;
}

/* The daemon sees an end without state_end and calls the handover off. */
static enum ph_hand unsent(struct ph_session *s, const struct ph_session_input *in)
{
	(void)in;
	drop_stream(s);
	return s->hand;
}

static enum ph_hand next_round(struct ph_session *s, const struct ph_session_input *in)
{
	if (!same(s, in) || in->msg->round < s->round)
		return note(s, in);
	if (in->msg->round == s->round && (s->streaming || s->last.op == PH_W_STATE_END)) {
		if (!s->streaming)
			ph_session_must_say(s, &s->last);
		return s->hand;
	}
	s->last.op = PH_W_NONE;
	save_round(s, in->msg->round, false);
	return PH_HAND_SENDING;
}

static enum ph_hand freeze_now(struct ph_session *s, const struct ph_session_input *in)
{
	if (!same(s, in))
		return note(s, in);
	freeze(s, in->msg);
	s->last.op = PH_W_NONE;
	save_round(s, s->round + 1, true);
	return PH_HAND_FREEZING;
}

static enum ph_hand freeze_again(struct ph_session *s, const struct ph_session_input *in)
{
	if (!same(s, in))
		return note(s, in);
	if (s->hand == PH_HAND_FROZEN)
		ph_session_must_say(s, &s->last);
	else if (!s->streaming)
		save_round(s, s->round, true);
	return s->hand;
}

static enum ph_hand resume(struct ph_session *s, const struct ph_session_input *in)
{
	struct ph_wmsg m = {.op = PH_W_RESUMED, .id = in->msg->id, .epoch = in->msg->epoch};
	bool ours = same(s, in);
	if (ours) {
		forget_handover(s);
		if (s->role == PH_ROLE_ACTIVE && in->msg->epoch > s->epoch) { /* before it serves */
			s->epoch = in->msg->epoch;
			s->ready_said = false;
			wish(s, PH_WISH_ACTIVATE, in->msg);
		}
		wish(s, PH_WISH_RESUME, in->msg);
	}
	ph_session_must_say(s, &m);
	return ours ? PH_HAND_IDLE : s->hand;
}

static enum ph_hand committed(struct ph_session *s, const struct ph_session_input *in)
{
	if (!ph_id_none(&s->id) && !same(s, in))
		return note(s, in);
	forget_handover(s);
	s->id = in->msg->id;
	s->id_epoch = in->msg->epoch;
	s->frozen = true; /* it owns nothing any more */
	wish(s, PH_WISH_COMMITTED, in->msg);
	return PH_HAND_COMMITTED;
}

static enum ph_hand conflict(struct ph_session *s, const struct ph_session_input *in)
{
	if (same(s, in))
		return freeze_again(s, in);
	bool frozen = s->frozen;
	begin(s, in->msg);
	s->frozen = frozen;
	wish(s, PH_WISH_CONFLICT, in->msg);
	freeze(s, in->msg);
	accept(s, 0);
	save_round(s, 0, true);
	return PH_HAND_FREEZING;
}

/* ---- the new worker */

static enum ph_hand taken(struct ph_session *s, const struct ph_session_input *in)
{
	(void)in;
	s->streaming = true;
	s->last.op = PH_W_NONE;
	wish(s, PH_WISH_READ, NULL);
	return PH_HAND_LOADING;
}

static enum ph_hand offered(struct ph_session *s, const struct ph_session_input *in)
{
	if (s->role == PH_ROLE_ACTIVE) /* who owns a state takes none */
		return note(s, in);
	bool later = s->hand == PH_HAND_LOADED && same(s, in) && in->msg->round > 0;
	begin(s, in->msg);
	s->round = in->msg->round;
	if (later)
		return taken(s, in);
	wish(s, PH_WISH_OFFER, in->msg);
	return PH_HAND_OFFERED;
}

static enum ph_hand offered_again(struct ph_session *s, const struct ph_session_input *in)
{
	bool repeated = same(s, in) && s->round == in->msg->round;
	if (!repeated)
		return offered(s, in);
	if (s->hand == PH_HAND_LOADING && s->streaming)
		return s->hand;
	if (s->hand == PH_HAND_LOADING)
		return offered(s, in);
	ph_session_must_say(s, &s->last);
	return s->hand;
}

static enum ph_hand reject(struct ph_session *s, const char *code, const char *text)
{
	struct ph_wmsg m = {.op = PH_W_HANDOVER_REJECT, .code = code, .text = text};
	drop_stream(s);
	answer(s, &m);
	s->last.text = NULL; /* borrowed */
	return PH_HAND_REJECTED;
}

static enum ph_hand rejected(struct ph_session *s, const struct ph_session_input *in)
{
	static const char *const codes[] = {"format", "version", "too_large", "no_memory"};
	return reject(s, codes[in->code >= 1 && in->code <= 4 ? in->code - 1 : 0], in->text);
}

/* Applied only when its end was announced and exactly so many bytes were read. */
static enum ph_hand try_apply(struct ph_session *s)
{
	if (!s->whole || !s->ended)
		return PH_HAND_LOADING;
	if (s->got != s->bytes)
		return reject(s, "format", "not as many bytes as were announced");
	s->streaming = false;
	wish(s, PH_WISH_APPLY, NULL)->bytes = s->bytes;
	return PH_HAND_APPLYING;
}

static enum ph_hand end_read(struct ph_session *s, const struct ph_session_input *in)
{
	s->ended = true;
	s->got = in->bytes;
	return try_apply(s);
}

static enum ph_hand end_told(struct ph_session *s, const struct ph_session_input *in)
{
	if (!same(s, in) || in->msg->round != s->round)
		return note(s, in);
	s->whole = true;
	s->bytes = in->msg->bytes;
	s->final = in->msg->final;
	return try_apply(s);
}

static enum ph_hand end_again(struct ph_session *s, const struct ph_session_input *in)
{
	if (!same(s, in) || in->msg->round != s->round)
		return note(s, in);
	ph_session_must_say(s, &s->last);
	return s->hand;
}

static enum ph_hand applied(struct ph_session *s, const struct ph_session_input *in)
{
	(void)in;
	struct ph_wmsg m = {.op = PH_W_HANDOVER_LOADED, .bytes = s->bytes};
	answer(s, &m);
	return PH_HAND_LOADED;
}

static enum ph_hand activate(struct ph_session *s, const struct ph_session_input *in)
{
	bool again = s->role == PH_ROLE_ACTIVE && s->epoch >= in->msg->epoch;
	forget_handover(s);
	s->ready_said = false;
	s->role = PH_ROLE_ACTIVE;
	if (again) {
		ph_session_owe_ready(s);
	} else {
		s->epoch = in->msg->epoch;
		wish(s, PH_WISH_ACTIVATE, in->msg);
	}
	return PH_HAND_IDLE;
}

static enum ph_hand aborted(struct ph_session *s, const struct ph_session_input *in)
{
	forget_handover(s);
	wish(s, PH_WISH_ABORT, in->msg);
	return PH_HAND_IDLE;
}

/* clang-format off */
/* While a verdict is awaited the client asks nothing else; only the connection may go. */
#define VERDICT(yes, no)                                                                           \
	{[PH_IN_WELCOME] = NULL, [PH_IN_LOST] = lost, [PH_IN_ACCEPTED] = yes, [PH_IN_REFUSED] = no}
/* What a state says to each message, and to the end and the loss of a stream. */
#define ROW(welcome_, ask_, start_, next_, freeze_, resume_, committed_, conflict_, handover_,     \
	end_, activate_, abort_, ended_, broken_, refused_)                                                  \
	{[PH_IN_WELCOME] = welcome_, [PH_IN_ASK] = ask_, [PH_IN_START] = start_,                   \
	 [PH_IN_NEXT_ROUND] = next_, [PH_IN_FREEZE] = freeze_, [PH_IN_RESUME] = resume_,           \
	 [PH_IN_COMMITTED] = committed_, [PH_IN_CONFLICT] = conflict_,                             \
	 [PH_IN_HANDOVER] = handover_, [PH_IN_STATE_END] = end_, [PH_IN_ACTIVATE] = activate_,     \
	 [PH_IN_ABORT] = abort_, [PH_IN_LOST] = lost, [PH_IN_ENDED] = ended_,                      \
	 [PH_IN_BROKEN] = broken_, [PH_IN_REFUSED] = refused_}

/* NULL: cannot happen (a defect of the client, -EPROTO). */
static handler *const table[PH_HAND_COUNT][PH_IN_COUNT] = {
	[PH_HAND_IDLE] = ROW(greeted, ask, ask, note, note, resume, committed, conflict, offered,
		note, activate, aborted, stay, stay, NULL),
	[PH_HAND_ASKED] = VERDICT(granted, refused),
	[PH_HAND_GRANTED] = ROW(greeted, ask_again, start_granted, note, note, resume, committed,
		conflict, offered, note, activate, aborted, stay, stay, NULL),
	[PH_HAND_STARTING] = VERDICT(started, refused),
	[PH_HAND_SENDING] = ROW(greeted_sending, busy, start_again, next_round, freeze_now, resume,
		committed, conflict, note, note, note, note, sent, unsent, NULL),
	[PH_HAND_SENT] = ROW(greeted, busy, start_again, next_round, freeze_now, resume,
		committed, conflict, note, note, note, note, stay, stay, NULL),
	[PH_HAND_FREEZING] = ROW(greeted_sending, busy, start_again, note, freeze_again, resume,
		committed, conflict, note, note, note, note, sent, unsent, NULL),
	[PH_HAND_FROZEN] = ROW(greeted, busy, start_again, note, freeze_again, resume,
		committed, conflict, note, note, note, note, stay, stay, NULL),
	[PH_HAND_COMMITTED] = ROW(greeted, busy, busy, note, note, resume, stay, note, note,
		note, activate, aborted, stay, stay, NULL),
	[PH_HAND_OFFERED] = VERDICT(taken, rejected),
	[PH_HAND_LOADING] = ROW(greeted, busy, busy, note, note, note, note, note, offered_again,
		end_told, note, aborted, end_read, unsent, rejected),
	[PH_HAND_APPLYING] = VERDICT(applied, rejected),
	[PH_HAND_LOADED] = ROW(greeted, busy, busy, note, note, note, note, note, offered_again,
		end_again, activate, aborted, stay, stay, NULL),
	[PH_HAND_REJECTED] = ROW(greeted, busy, busy, note, note, note, note, note, offered_again,
		end_again, note, aborted, stay, stay, NULL),
};
/* clang-format on */

int ph_session_step(struct ph_session *s, const struct ph_session_input *in)
{
	handler *h = table[s->hand][in->kind];
	if (!h)
		return -EPROTO;
	s->hand = h(s, in);
	return ph_session_out_error(s);
}
