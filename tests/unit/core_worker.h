/* core_worker.h - processes, what workers answer, and streams; part of core_world.h. */
#ifndef PH_TESTS_CORE_WORKER_H
#define PH_TESTS_CORE_WORKER_H

/* ---- what a worker says ---- */

static inline struct ph_wmsg *w_say(struct world *w, struct w_proc *p, enum ph_wop op)
{
	struct ph_wmsg *msg = w_alloc(w, sizeof *msg);
	struct ph_event *event = w_push(w, p->node, PH_EV_WORKER);
	event->wid = p->wid;
	event->worker = msg;
	msg->op = op;
	msg->id = p->id;
	msg->epoch = p->epoch;
	msg->round = p->round;
	return msg;
}

static inline void w_hello(struct world *w, struct w_proc *p)
{
	struct ph_wmsg *msg = w_say(w, p, PH_W_HELLO);
	p->connected = true;
	msg->v1 = true;
	msg->caps = p->def->traits.caps;
	msg->has_state = (msg->caps & PH_CAP_HANDOVER) != 0;
	(void)snprintf(msg->format, sizeof msg->format, "counter");
	msg->version = 1;
	msg->n_accepts = 1;
	(void)snprintf(msg->accepts[0].format, sizeof msg->accepts[0].format, "counter");
	msg->accepts[0].min = msg->accepts[0].max = 1;
	if (p->welcomes) {
		msg->has_standing = true;
		msg->standing_role = p->active ? PH_ROLE_ACTIVE : PH_ROLE_STANDBY;
		msg->standing_epoch = p->epoch;
		msg->standing = p->standing;
		if (p->standing != PH_STANDING_NONE)
			msg->standing_id = p->id;
	}
}

static inline void w_hang_up(struct world *w, struct w_proc *p)
{
	p->connected = false;
	w_push(w, p->node, PH_EV_WORKER_CLOSED)->wid = p->wid;
}

static inline void w_exit(struct world *w, struct w_proc *p, enum ph_exit_kind kind, uint32_t value)
{
	if (!p->alive)
		return;
	p->alive = p->connected = false;
	p->exited = true;
	if (w->nodes[p->node].gen != p->gen)
		return;
	struct ph_event *event = w_push(w, p->node, PH_EV_EXITED);
	event->wid = p->wid;
	event->exit = (struct ph_exit){.kind = kind, .value = value};
}

static inline void w_kill(struct world *w, struct w_proc *p)
{
	if (p)
		w_exit(w, p, PH_EXIT_SIGNAL, 9);
}

static inline void w_ready(struct world *w, struct w_proc *p)
{
	if (p->def->traits.never_ready)
		return;
	p->active = w->look = true;
	if (p->def->traits.notify) {
		static const struct ph_notify ready = {.ready = true};
		struct ph_event *event = w_push(w, p->node, PH_EV_NOTIFIED);
		event->wid = p->wid;
		event->notify = &ready;
	} else if (p->def->traits.protocol) {
		w_say(w, p, PH_W_READY)->meta = "{\"port\":1}";
	}
}

/* ---- streams: a round is at once where both ends are open ---- */

static inline struct w_stream *w_stream(struct world *w, const struct ph_id *id)
{
	for (size_t i = 0; i < w->n_streams; i++)
		if (ph_id_equal(&w->streams[i].id, id))
			return &w->streams[i];
	ck_assert_uint_lt(w->n_streams, W_STREAMS);
	w->streams[w->n_streams].id = *id;
	return &w->streams[w->n_streams++];
}

static inline void w_round_done(
	struct world *w, bool incoming, const struct w_stream *stream, uint32_t round)
{
	unsigned node = incoming ? stream->b_node : stream->a_node;
	struct ph_stream_report *report = w_alloc(w, sizeof *report);
	const struct w_round *r = &stream->rounds[round];
	*report = (struct ph_stream_report){.id = stream->id,
		.incoming = incoming,
		.round = round,
		.bytes = r->bytes,
		.digest = r->value + 7};
	w_push(w, node, PH_EV_STREAM_ROUND)->stream = report;
}

static inline void w_flow(struct world *w, struct w_stream *stream)
{
	for (uint32_t i = 0; i < W_ROUNDS; i++) {
		struct w_round *r = &stream->rounds[i];
		if (!r->fed || !stream->a || !stream->b)
			continue;
		if (!r->told_a)
			w_round_done(w, false, stream, i);
		r->told_a = true;
		if (r->wanted && !r->told_b)
			w_round_done(w, true, stream, i);
		r->told_b = r->told_b || r->wanted;
	}
}

/* What it feeds goes to a file. */
static inline void w_kept(
	struct world *w, const struct w_proc *p, const struct w_stream *stream, uint64_t bytes)
{
	struct ph_stream_report *report = w_alloc(w, sizeof *report);
	*report = (struct ph_stream_report){.id = stream->id, .bytes = bytes + w->keep_more};
	struct ph_event *event =
		w_push(w, p->node, w->keep_fails ? PH_EV_STREAM_FAILED : PH_EV_STREAM_READ);
	event->stream = report;
	event->text = w->keep_fails ? "there is no room left" : "conflicts/room-0-1";
}

static inline void w_feed(struct world *w, struct w_proc *p, bool final)
{
	struct w_stream *stream = w_stream(w, &p->id);
	struct w_round *r = &stream->rounds[p->round];
	if (p->def->traits.dirty_bytes) {
		struct ph_wmsg *progress = w_say(w, p, PH_W_PROGRESS);
		progress->dirty_bytes = p->def->traits.dirty_bytes;
	}
	r->fed = true;
	r->value = p->value;
	r->bytes = 1000 + p->value;
	struct ph_wmsg *end = w_say(w, p, PH_W_STATE_END);
	end->bytes = r->bytes;
	end->final = final;
	if (stream->keep)
		w_kept(w, p, stream, r->bytes);
	w_flow(w, stream);
}

static inline void w_stream_act(struct world *w, unsigned node, const struct ph_action *a)
{
	struct w_stream *stream = w_stream(w, &a->stream->id);
	if (a->kind == PH_ACT_STREAM_SEND) {
		stream->a = true;
		stream->a_node = node;
		stream->a_wid = a->stream->wid;
	} else if (a->kind == PH_ACT_STREAM_EXPECT) {
		stream->b = true;
		stream->b_node = node;
		stream->b_wid = a->stream->wid;
	} else if (a->kind == PH_ACT_STREAM_KEEP) {
		stream->keep = true;
	} else {
		w->keeps = stream->keep && a->on;
		if (a->stream->incoming)
			stream->b = stream->b && stream->b_node != node;
		else
			stream->a = stream->a && stream->a_node != node;
	}
	w_flow(w, stream);
}

/* It ends at once, unless it is awaited in vain. */
static inline void w_hook_act(struct world *w, unsigned node, const struct ph_hook_order *order)
{
	w->hook = *order;
	w->hook.file = w_copy(w, order->file, strlen(order->file) + 1);
	w->hook.format = w_copy(w, order->format, strlen(order->format) + 1);
	w->hook.winner_meta =
		order->winner_meta ? w_copy(w, order->winner_meta, strlen(order->winner_meta) + 1)
				   : NULL;
	w->hooks++;
	if (w->hook_hangs)
		return;
	struct ph_event *event = w_push(w, node, PH_EV_HOOKED);
	event->id = order->id;
	event->error = w->hook_fails ? ECANCELED : 0;
}

/* ---- what it hears ---- */

static inline void w_refuse(
	struct world *w, struct w_proc *p, const struct ph_id *id, const char *code)
{
	struct ph_wmsg *msg = w_say(w, p, PH_W_HANDOVER_REFUSE);
	msg->id = *id;
	msg->code = code;
}

static inline void w_hears_start(struct world *w, struct w_proc *p, const struct ph_wmsg *msg)
{
	struct w_traits *t = &p->def->traits;
	bool ask = msg->op == PH_W_HANDOVER_ASK;
	if (ask ? t->mute_ask : t->mute_start)
		return;
	if (t->busy || t->never) {
		w_refuse(w, p, &msg->id, t->busy ? "busy" : "never");
		t->busy -= t->busy != 0;
		return;
	}
	if (!ask && p->standing != PH_STANDING_NONE && ph_id_equal(&p->id, &msg->id))
		return; /* a repeat; its answer is on the way */
	p->id = msg->id;
	p->round = 0;
	struct ph_wmsg *accept = w_say(w, p, PH_W_HANDOVER_ACCEPT);
	accept->has_bytes_estimate = true;
	accept->bytes_estimate = 1000;
	if (t->format) {
		(void)snprintf(accept->format, sizeof accept->format, "%s", t->format);
		accept->has_state = true;
		accept->version = 1;
	}
	if (ask)
		return;
	bool rounds = (t->caps & PH_CAP_ROUNDS) != 0;
	p->frozen = !rounds;
	p->standing = rounds ? PH_STANDING_SENDING : PH_STANDING_FROZEN;
	w_feed(w, p, !rounds);
}

static inline void w_hears_freeze(struct world *w, struct w_proc *p, const struct ph_wmsg *msg)
{
	if (p->def->traits.mute_freeze || p->standing != PH_STANDING_SENDING)
		return;
	p->freezes++;
	p->round = msg->round;
	p->frozen = true;
	p->standing = PH_STANDING_FROZEN;
	w_feed(w, p, true);
}

static inline void w_hears_conflict(struct world *w, struct w_proc *p, const struct ph_wmsg *msg)
{
	bool again = p->frozen && ph_id_equal(&p->id, &msg->id);
	p->conflicts++;
	p->id = msg->id;
	p->round = 0;
	p->frozen = true;
	p->standing = PH_STANDING_FROZEN;
	if (p->def->traits.refuses_conflict) {
		w_refuse(w, p, &msg->id, "busy");
		return;
	}
	(void)w_say(w, p, PH_W_HANDOVER_ACCEPT);
	if (!again)
		w_feed(w, p, true);
}

static inline void w_hears_state(struct world *w, struct w_proc *p, const struct ph_wmsg *msg)
{
	struct w_traits *t = &p->def->traits;
	const struct w_round *r = &w_stream(w, &msg->id)->rounds[msg->round];
	if (t->mute_load)
		return;
	if (t->reject) {
		t->reject--;
		w_say(w, p, PH_W_HANDOVER_REJECT)->code = "no_memory";
		return;
	}
	ck_assert_uint_eq(r->bytes, msg->bytes);
	ck_assert(r->told_b);
	p->value = p->loaded = r->value;
	p->standing = PH_STANDING_LOADED;
	struct ph_wmsg *loaded = w_say(w, p, PH_W_HANDOVER_LOADED);
	loaded->bytes = msg->bytes;
	loaded->has_digest = true;
	loaded->digest = r->value + 7;
}

static inline void w_hears(struct world *w, struct w_proc *p, const struct ph_wmsg *msg)
{
	struct w_traits *t = &p->def->traits;
	if (!p->alive || !p->connected || (w->mute && w->mute(w, p, msg)))
		return;
	switch ((int)msg->op) {
	case PH_W_WELCOME:
		if (!p->welcomes++ && msg->role == PH_ROLE_ACTIVE)
			w_ready(w, p);
		break;
	case PH_W_STOP:
		p->stops++;
		if (!t->deaf)
			w_exit(w, p, PH_EXIT_CODE, 0);
		break;
	case PH_W_HANDOVER_ASK:
	case PH_W_HANDOVER_START:
		w_hears_start(w, p, msg);
		break;
	case PH_W_NEXT_ROUND:
		p->round = msg->round;
		w_feed(w, p, false);
		break;
	case PH_W_FREEZE:
		w_hears_freeze(w, p, msg);
		break;
	case PH_W_RESUME:
		ck_assert_msg(p->epoch == msg->epoch, "resume before its epoch is told");
		p->resumes++;
		p->resumed_id = msg->id;
		p->frozen = p->retired = false;
		w->look = true;
		p->standing = PH_STANDING_NONE;
		(void)w_say(w, p, PH_W_RESUMED);
		break;
	case PH_W_COMMITTED:
		p->commits++;
		p->committed_id = msg->id;
		p->retired = true;
		p->standing = PH_STANDING_COMMITTED;
		if (t->handles)
			(void)w_say(w, p, PH_W_RETENTION_HANDLED);
		break;
	case PH_W_CONFLICT:
		w_hears_conflict(w, p, msg);
		break;
	case PH_W_ROLE:
		p->epoch = msg->epoch;
		break;
	case PH_W_HANDOVER:
		p->id = msg->id;
		p->round = msg->round;
		p->standing = PH_STANDING_LOADING;
		w_stream(w, &msg->id)->rounds[msg->round].wanted = true;
		w_flow(w, w_stream(w, &msg->id));
		break;
	case PH_W_STATE_END:
		w_hears_state(w, p, msg);
		break;
	case PH_W_ACTIVATE:
		p->activates++;
		p->epoch = msg->epoch;
		p->standing = PH_STANDING_NONE;
		if (t->dies_active)
			w_exit(w, p, PH_EXIT_CODE, 1);
		else
			w_ready(w, p);
		break;
	case PH_W_ABORT:
		p->aborts++;
		break;
	default:
		break;
	}
}

/* ---- processes ---- */

static inline bool w_absent(struct world *w, unsigned node, const struct ph_action *a)
{
	const struct w_def *def = w_def_of(w, a->spawn->spec->text);
	if (!def || !(def->traits.absent & 1u << node))
		return false;
	struct ph_event *event = w_push(w, node, PH_EV_SPAWN_FAILED);
	event->wid = a->wid;
	event->error = def->traits.absent_error;
	event->text = "there is no such file";
	return true;
}

static inline void w_spawn(struct world *w, unsigned node, const struct ph_action *a)
{
	if (w_absent(w, node, a))
		return;
	ck_assert_uint_lt(w->n_procs, W_PROCS);
	struct w_proc *p = &w->procs[w->n_procs++];
	const struct ph_spawn *s = a->spawn;
	*p = (struct w_proc){.wid = a->wid,
		.node = node,
		.gen = w->nodes[node].gen,
		.pid = ++w->last_pid,
		.def = w_def_of(w, s->spec->text),
		.key = s->key,
		.epoch = s->epoch,
		.env_epoch = s->epoch,
		.env_role = s->role,
		.role = s->role,
		.id = s->migration,
		.alive = true};
	ck_assert_ptr_nonnull(p->def);
	struct ph_event *event = w_push(w, node, PH_EV_SPAWNED);
	event->wid = p->wid;
	event->pid = p->pid;
	if (p->def->traits.dies_at_start)
		w_exit(w, p, PH_EXIT_CODE, 1);
	else if (p->def->traits.protocol && !p->def->traits.mute_hello)
		w_hello(w, p);
	else if (s->role == PH_ROLE_ACTIVE)
		w_ready(w, p);
}

static inline void w_worker_act(struct world *w, unsigned node, const struct ph_action *a)
{
	struct w_proc *p = a->wid ? w_proc(w, node, a->wid) : NULL;
	if (a->kind == PH_ACT_SPAWN) {
		w_spawn(w, node, a);
	} else if (a->kind == PH_ACT_TELL) {
		w_hears(w, p, a->worker);
	} else if (a->kind == PH_ACT_COMPLAIN) {
		p->complaints++;
		p->connected = false;
	} else if (a->kind == PH_ACT_SIGNAL) {
		p->kills += a->signal == 9;
		p->terms += a->signal != 9;
		if (a->signal == 9 || !p->def->traits.deaf)
			w_exit(w, p, PH_EXIT_SIGNAL, (uint32_t)a->signal);
	} else if (a->kind == PH_ACT_PROBE) {
		p->probes++;
		p->probe = *a->probe;
	} else if (a->kind == PH_ACT_REAP) {
		ck_assert_msg(p->exited, "a process is reaped that lives");
		p->reaped = true;
		w_push(w, node, PH_EV_GONE)->wid = p->wid;
	} else if (a->kind == PH_ACT_HOOK) {
		w_hook_act(w, node, a->hook);
	} else if (a->kind == PH_ACT_STREAM_SEND || a->kind == PH_ACT_STREAM_EXPECT ||
		   a->kind == PH_ACT_STREAM_KEEP || a->kind == PH_ACT_STREAM_CLOSE) {
		w_stream_act(w, node, a);
	}
}

#endif
