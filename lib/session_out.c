#include "lib/session_out.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "proto/worker.h"

const char *ph_hand_name(enum ph_hand hand)
{
	static const char *const names[] = {
#define X(name) #name,
		PH_HAND_STATES(X)
#undef X
	};
	return names[hand];
}

void ph_session_init(struct ph_session *s, const struct ph_wmsg *hello)
{
	memset(s, 0, sizeof *s);
	s->hello = *hello;
	s->hello.op = PH_W_HELLO;
	s->hello.v1 = true;
}

void ph_session_fini(struct ph_session *s)
{
	free(s->meta);
	free(s->out);
	ph_doc_free(s->doc);
	memset(s, 0, sizeof *s);
}

bool ph_session_take(struct ph_session *s, struct ph_wish *ret)
{
	if (!s->n_wishes)
		return false;
	*ret = s->wishes[0];
	s->n_wishes--;
	memmove(s->wishes, s->wishes + 1, s->n_wishes * sizeof *s->wishes);
	return true;
}

static int queue(struct ph_session *s, const struct ph_wmsg *msg)
{
	size_t n = 0;
	char *line = ph_wmsg_encode(msg, &n);
	if (!line)
		return -errno;
	if (s->out_n + n > PH_SESSION_OUT_MAX) {
		free(line);
		return -ENOBUFS;
	}
	if (s->out_n + n > s->out_size) {
		size_t size = 2 * (s->out_n + n);
		char *grown = realloc(s->out, size);
		if (!grown) {
			free(line);
			return -ENOMEM;
		}
		s->out = grown;
		s->out_size = size;
	}
	memcpy(s->out + s->out_n, line, n);
	s->out_n += n;
	free(line);
	return 0;
}

void ph_session_sent(struct ph_session *s, size_t n)
{
	s->out_n -= n;
	if (s->out_n)
		memmove(s->out, s->out + n, s->out_n);
}

int ph_session_say(struct ph_session *s, const struct ph_wmsg *msg)
{
	return s->up ? queue(s, msg) : -ENOTCONN;
}

void ph_session_must_say(struct ph_session *s, const struct ph_wmsg *msg)
{
	if (!s->up || msg->op == PH_W_NONE)
		return;
	int error = queue(s, msg);
	if (error)
		s->failed = error;
}

int ph_session_out_error(struct ph_session *s)
{
	int error = s->failed;
	s->failed = 0;
	return error;
}

int ph_session_connected(struct ph_session *s)
{
	static const enum ph_standing standings[PH_HAND_COUNT] = {
		[PH_HAND_SENDING] = PH_STANDING_SENDING,
		[PH_HAND_SENT] = PH_STANDING_SENDING,
		[PH_HAND_FREEZING] = PH_STANDING_FROZEN,
		[PH_HAND_FROZEN] = PH_STANDING_FROZEN,
		[PH_HAND_COMMITTED] = PH_STANDING_COMMITTED,
		[PH_HAND_OFFERED] = PH_STANDING_LOADING,
		[PH_HAND_LOADING] = PH_STANDING_LOADING,
		[PH_HAND_APPLYING] = PH_STANDING_LOADING,
		[PH_HAND_LOADED] = PH_STANDING_LOADED,
		[PH_HAND_REJECTED] = PH_STANDING_LOADING,
	};
	struct ph_wmsg hello = s->hello;
	hello.has_standing = s->greeted;
	hello.standing_role = s->role;
	hello.standing_epoch = s->epoch;
	hello.standing = standings[s->hand];
	if (hello.standing != PH_STANDING_NONE)
		hello.standing_id = s->id;
	s->out_n = 0;
	return queue(s, &hello);
}

/* ---- what is kept */

static void say_meta(struct ph_session *s, enum ph_wop op)
{
	struct ph_wmsg m = {.op = op, .meta = s->meta};
	ph_session_must_say(s, &m);
	s->ready_said |= s->up && op == PH_W_READY;
}

static bool serving(const struct ph_session *s)
{
	return s->greeted && s->role == PH_ROLE_ACTIVE && s->hand != PH_HAND_COMMITTED;
}

void ph_session_owe_ready(struct ph_session *s)
{
	if (s->ready && !s->ready_said && serving(s))
		say_meta(s, PH_W_READY);
}

static void say_pending(struct ph_session *s, const struct ph_pending *p, enum ph_wop op)
{
	struct ph_wmsg m = {.op = op,
		.has_req = true,
		.req = {.n = p->req},
		.child = p->child,
		.prefix = p->by_prefix ? p->prefix : NULL};
	ph_session_must_say(s, &m);
}

void ph_session_repeat(struct ph_session *s)
{
	if (s->ready && serving(s))
		say_meta(s, PH_W_READY);
	ph_session_repeat_wanted(s);
}

void ph_session_repeat_wanted(struct ph_session *s)
{
	for (size_t i = 0; i < PH_PENDING_MAX; i++) {
		if (s->pending[i].op != PH_W_NONE)
			say_pending(s, &s->pending[i], s->pending[i].op);
	}
}

int ph_session_ready(struct ph_session *s, bool ready, const char *meta)
{
	char *compact = NULL;
	if (meta) {
		json_t *object = json_loads(meta, JSON_REJECT_DUPLICATES, NULL);
		compact = json_is_object(object) ? json_dumps(object, JSON_COMPACT) : NULL;
		json_decref(object);
		if (!compact)
			return -EINVAL;
		if (strlen(compact) > PH_META_MAX) {
			free(compact);
			return -EMSGSIZE;
		}
	}
	free(s->meta);
	s->meta = compact;
	s->ready |= ready;
	if (serving(s))
		say_meta(s, ready ? PH_W_READY : PH_W_META);
	return ph_session_out_error(s);
}

int ph_session_handled(struct ph_session *s)
{
	if (s->hand != PH_HAND_COMMITTED)
		return -EINVAL;
	s->last = (struct ph_wmsg){.op = PH_W_RETENTION_HANDLED, .id = s->id, .epoch = s->id_epoch};
	/* an overlap has no id, and then nothing that could be answered by it */
	if (ph_id_none(&s->id))
		s->last.op = PH_W_NONE;
	ph_session_must_say(s, &s->last);
	return ph_session_out_error(s);
}

int64_t ph_session_want(struct ph_session *s, const struct ph_pending *wanted)
{
	for (size_t i = 0; i < PH_PENDING_MAX; i++) {
		struct ph_pending *p = &s->pending[i];
		if (p->op != PH_W_NONE)
			continue;
		*p = *wanted;
		p->req = ++s->next_req;
		say_pending(s, p, p->op);
		int error = ph_session_out_error(s);
		return error ? error : (int64_t)p->req;
	}
	return -ENOBUFS;
}

int ph_session_unwatch(struct ph_session *s, uint64_t req)
{
	for (size_t i = 0; i < PH_PENDING_MAX; i++) {
		struct ph_pending *p = &s->pending[i];
		if (p->op != PH_W_WATCH || p->req != req)
			continue;
		say_pending(s, p, PH_W_UNWATCH);
		p->op = PH_W_NONE;
		return ph_session_out_error(s);
	}
	return -ENOENT;
}
