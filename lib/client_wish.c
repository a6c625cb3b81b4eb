#include "lib/client_wish.h"

#include <string.h>

#include "proto/worker.h"

static int verdict(struct prochub *p, int code)
{
	struct ph_session_input in = {.kind = code ? PH_IN_REFUSED : PH_IN_ACCEPTED,
		.msg = &p->s.msg,
		.code = code,
		.retry_after_ms = p->retry_after_ms};
	return ph_client_step(p, &in);
}

static struct prochub_handover describe(const struct ph_wmsg *m)
{
	return (struct prochub_handover){
		.peer = m->op == PH_W_HANDOVER ? m->from.s : m->target.s,
		.format = m->format,
		.version = m->version,
		.epoch = m->epoch,
		.bytes_estimate = m->bytes_estimate,
		.max_bytes = m->max_bytes,
	};
}

/* A start that is accepted: what the wire cannot say is not known. */
static int do_estimate(struct prochub *p, const struct ph_wish *w)
{
	struct ph_session_input in = {.kind = PH_IN_ACCEPTED, .msg = w->msg};
	if (p->cb.estimate)
		in.bytes = p->cb.estimate(p, p->arg);
	if (in.bytes > PH_CODEC_WHOLE_MAX)
		in.bytes = 0;
	return ph_client_step(p, &in);
}

static int do_ask(struct prochub *p, const struct ph_wish *w)
{
	struct prochub_handover h = describe(w->msg);
	p->retry_after_ms = 0;
	int code = p->cb.ask ? p->cb.ask(p, p->arg, &h) : 0;
	bool begins = !code && w->msg->op == PH_W_HANDOVER_START;
	return begins ? do_estimate(p, w) : verdict(p, code);
}

static int do_freeze(struct prochub *p, const struct ph_wish *w)
{
	uint64_t deadline_ms = w->msg->deadline_ms ? w->msg->deadline_ms : w->msg->timeout_ms;
	if (p->cb.freeze)
		p->cb.freeze(p, p->arg, deadline_ms);
	return 0;
}

static int do_save(struct prochub *p, const struct ph_wish *w)
{
	ph_data_begin(p, PH_DATA_SEND);
	p->data.saving = true;
	if (p->cb.save)
		p->cb.save(p, p->arg, w->round, w->final);
	p->data.saving = false;
	return 0;
}

/* What this worker can load: that is what `accepts` told the daemon, checked once more. */
static int check_format(const struct ph_session *s, const struct ph_wmsg *m)
{
	bool format = false;
	for (size_t i = 0; i < s->hello.n_accepts; i++) {
		const struct ph_accepts *a = &s->hello.accepts[i];
		if (strcmp(a->format, m->format) != 0)
			continue;
		format = true;
		if (m->version >= a->min && m->version <= a->max)
			return 0;
	}
	return format ? PROCHUB_REJECT_VERSION : PROCHUB_REJECT_FORMAT;
}

static int do_offer(struct prochub *p, const struct ph_wish *w)
{
	struct prochub_handover h = describe(w->msg);
	int code = check_format(&p->s, w->msg);
	if (!code && p->cb.offer)
		code = p->cb.offer(p, p->arg, &h);
	return verdict(p, code);
}

static int do_read(struct prochub *p, const struct ph_wish *w)
{
	(void)w;
	ph_data_begin(p, PH_DATA_READ);
	return 0;
}

static int do_apply(struct prochub *p, const struct ph_wish *w)
{
	int code = 0;
	(void)ph_data_close(p);
	if (p->cb.loaded)
		code = p->cb.loaded(p, p->arg, w->round, w->final, w->bytes, 1);
	return verdict(p, code);
}

static int do_drop(struct prochub *p, const struct ph_wish *w)
{
	uint32_t round = p->data.round;
	uint64_t bytes = p->data.bytes;
	(void)w;
	if (ph_data_close(p) == PH_DATA_READ && p->cb.loaded)
		(void)p->cb.loaded(p, p->arg, round, 0, bytes, 0);
	return 0;
}

static int do_resume(struct prochub *p, const struct ph_wish *w)
{
	if (p->cb.resume)
		p->cb.resume(p, p->arg, w->msg->reason ? w->msg->reason : "");
	return 0;
}

static int do_committed(struct prochub *p, const struct ph_wish *w)
{
	const struct ph_wmsg *m = w->msg;
	if (p->cb.committed)
		p->cb.committed(p, p->arg, m->target.s, m->meta, m->retention_ms);
	return 0;
}

static int do_conflict(struct prochub *p, const struct ph_wish *w)
{
	if (p->cb.conflict)
		p->cb.conflict(p, p->arg, w->msg->target.s, w->msg->winner_epoch);
	return 0;
}

static int do_activate(struct prochub *p, const struct ph_wish *w)
{
	(void)w;
	if (p->cb.activate)
		p->cb.activate(p, p->arg, p->s.epoch);
	ph_session_owe_ready(&p->s);
	return 0;
}

static int do_standby(struct prochub *p, const struct ph_wish *w)
{
	(void)w;
	if (p->cb.standby)
		p->cb.standby(p, p->arg);
	return 0;
}

static int do_abort(struct prochub *p, const struct ph_wish *w)
{
	if (p->cb.abort) {
		p->cb.abort(p, p->arg, w->msg->reason ? w->msg->reason : "");
		return 0;
	}
	p->leave = true;
	p->result = 1;
	return 0;
}

static int do_stop(struct prochub *p, const struct ph_wish *w)
{
	if (p->cb.stop)
		p->cb.stop(p, p->arg, w->msg->grace_ms, w->msg->reason ? w->msg->reason : "");
	else
		p->leave = true;
	return 0;
}

static int do_found(struct prochub *p, const struct ph_wish *w)
{
	const struct ph_wmsg *m = w->msg;
	if (p->cb.found)
		p->cb.found(p, p->arg, m->re.n, m->child.s, m->instances, m->more);
	return 0;
}

static int do_changed(struct prochub *p, const struct ph_wish *w)
{
	const struct ph_wmsg *m = w->msg;
	if (p->cb.changed)
		p->cb.changed(p, p->arg, m->child.s, m->instances, m->more);
	return 0;
}

static int do_note(struct prochub *p, const struct ph_wish *w)
{
	(void)w;
	ph_client_note(p, p->s.err.text);
	return 0;
}

int ph_wish_do(struct prochub *p, const struct ph_wish *w)
{
	static int (*const doers[])(struct prochub *, const struct ph_wish *) = {
		[PH_WISH_ASK] = do_ask,
		[PH_WISH_ESTIMATE] = do_estimate,
		[PH_WISH_FREEZE] = do_freeze,
		[PH_WISH_SAVE] = do_save,
		[PH_WISH_OFFER] = do_offer,
		[PH_WISH_READ] = do_read,
		[PH_WISH_APPLY] = do_apply,
		[PH_WISH_DROP] = do_drop,
		[PH_WISH_RESUME] = do_resume,
		[PH_WISH_COMMITTED] = do_committed,
		[PH_WISH_CONFLICT] = do_conflict,
		[PH_WISH_ACTIVATE] = do_activate,
		[PH_WISH_STANDBY] = do_standby,
		[PH_WISH_ABORT] = do_abort,
		[PH_WISH_STOP] = do_stop,
		[PH_WISH_FOUND] = do_found,
		[PH_WISH_CHANGED] = do_changed,
		[PH_WISH_NOTE] = do_note,
	};
	return doers[w->kind](p, w);
}
