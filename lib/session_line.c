#include <errno.h>
#include <string.h>

#include "lib/session_out.h"
#include "proto/worker.h"

/* Messages that mean the same in every state of a handover. */

static void add_wish(struct ph_session *s, enum ph_wish_kind kind)
{
	if (s->n_wishes < PH_WISHES_MAX)
		s->wishes[s->n_wishes++] = (struct ph_wish){.kind = kind, .msg = &s->msg};
}

static void on_ping(struct ph_session *s)
{
	struct ph_wmsg pong = {.op = PH_W_PONG, .has_re = true, .re = s->msg.req};
	ph_session_must_say(s, &pong);
}

static void on_role(struct ph_session *s)
{
	bool changed = s->role != s->msg.role || s->epoch != s->msg.epoch;
	s->role = s->msg.role;
	s->epoch = s->msg.epoch;
	s->ready_said &= !changed;
	if (changed)
		add_wish(s, s->role == PH_ROLE_ACTIVE ? PH_WISH_ACTIVATE : PH_WISH_STANDBY);
}

static struct ph_pending *answered(struct ph_session *s)
{
	for (size_t i = 0; i < PH_PENDING_MAX && s->msg.has_re; i++) {
		if (s->pending[i].op != PH_W_NONE && !s->msg.re.json[0] &&
			s->pending[i].req == s->msg.re.n)
			return &s->pending[i];
	}
	return NULL;
}

static void on_found(struct ph_session *s)
{
	struct ph_pending *p = answered(s);
	if (!p || p->op != PH_W_LOOKUP)
		return; /* repeated after a reconnection, and answered twice */
	if (!s->msg.more)
		p->op = PH_W_NONE;
	add_wish(s, PH_WISH_FOUND);
}

static void on_changed(struct ph_session *s)
{
	add_wish(s, PH_WISH_CHANGED);
}

static void on_error(struct ph_session *s)
{
	struct ph_pending *p = answered(s);
	if (p && p->op == PH_W_LOOKUP) {
		s->msg.child = p->child;
		p->op = PH_W_NONE;
		add_wish(s, PH_WISH_FOUND);
		return;
	}
	if (p)
		p->op = PH_W_NONE;
	(void)ph_err_set(&s->err, EPROTO, "the daemon says %s%s%s", s->msg.code,
		s->msg.text ? ": " : "", s->msg.text ? s->msg.text : "");
	add_wish(s, PH_WISH_NOTE);
}

static void on_stop(struct ph_session *s)
{
	add_wish(s, PH_WISH_STOP);
}

static void on_nothing(struct ph_session *s)
{
	(void)s;
}

static const struct {
	void (*handle)(struct ph_session *s); /* or NULL: an input of the table */
	enum ph_session_in input;
} messages[PH_WOP_COUNT] = {
	[PH_W_WELCOME] = {NULL, PH_IN_WELCOME},
	[PH_W_PING] = {on_ping, 0},
	[PH_W_PONG] = {on_nothing, 0},
	[PH_W_ROLE] = {on_role, 0},
	[PH_W_FOUND] = {on_found, 0},
	[PH_W_CHANGED] = {on_changed, 0},
	[PH_W_STOP] = {on_stop, 0},
	[PH_W_ERROR] = {on_error, 0},
	[PH_W_HANDOVER_ASK] = {NULL, PH_IN_ASK},
	[PH_W_HANDOVER_START] = {NULL, PH_IN_START},
	[PH_W_STATE_END] = {NULL, PH_IN_STATE_END},
	[PH_W_NEXT_ROUND] = {NULL, PH_IN_NEXT_ROUND},
	[PH_W_FREEZE] = {NULL, PH_IN_FREEZE},
	[PH_W_RESUME] = {NULL, PH_IN_RESUME},
	[PH_W_COMMITTED] = {NULL, PH_IN_COMMITTED},
	[PH_W_CONFLICT] = {NULL, PH_IN_CONFLICT},
	[PH_W_HANDOVER] = {NULL, PH_IN_HANDOVER},
	[PH_W_ACTIVATE] = {NULL, PH_IN_ACTIVATE},
	[PH_W_ABORT] = {NULL, PH_IN_ABORT},
};

/* A line that is no message of a daemon: says so; worse than unknown closes the connection. */
static int refuse_line(struct ph_session *s, int error)
{
	struct ph_wmsg m = {.op = PH_W_ERROR, .code = "malformed", .text = s->err.text};
	if (error == -ENOMEM)
		return error;
	if (error == -ENOMSG) {
		if (!s->msg.has_req)
			return 0;
		m = (struct ph_wmsg){
			.op = PH_W_ERROR, .code = "unknown_op", .has_re = true, .re = s->msg.req};
		ph_session_must_say(s, &m);
		return ph_session_out_error(s);
	}
	ph_session_must_say(s, &m);
	add_wish(s, PH_WISH_NOTE);
	add_wish(s, PH_WISH_HANG_UP);
	return ph_session_out_error(s);
}

int ph_session_line(struct ph_session *s, const char *line, size_t n)
{
	ph_doc_free(s->doc);
	s->doc = NULL;
	memset(&s->msg, 0, sizeof s->msg);
	int error = ph_wmsg_decode(line, n, PH_FROM_DAEMON, &s->msg, &s->doc, &s->err);
	if (error)
		return refuse_line(s, error);
	if (messages[s->msg.op].handle) {
		messages[s->msg.op].handle(s);
		return ph_session_out_error(s);
	}
	if (!s->up && s->msg.op != PH_W_WELCOME) {
		(void)ph_err_set(
			&s->err, EPROTO, "%s before welcome: ignored", ph_wmsg_word(s->msg.op));
		add_wish(s, PH_WISH_NOTE);
		return 0;
	}
	struct ph_session_input in = {.kind = messages[s->msg.op].input, .msg = &s->msg};
	return ph_session_step(s, &in);
}
