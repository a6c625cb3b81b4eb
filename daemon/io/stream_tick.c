/* stream_tick.c - what is reported, and what only time tells: silence, retries, deadlines. */
#include <errno.h>
#include <string.h>

#include "io/stream_int.h"

#define PROGRESS_MS 100

/* ---- what is reported */

void ph_stream_note(struct ph_stream *s, unsigned int notes)
{
	struct ph_streams *streams = s->streams;
	if (!s->notes) {
		s->note_next = streams->noted;
		if (s->note_next)
			s->note_next->note_prev = s;
		streams->noted = s;
		event_active(streams->ev_notes, EV_TIMEOUT, 0);
	}
	s->notes |= notes;
}

/* The round was reported: the next one may move. */
static void round_reported(struct ph_stream *s)
{
	if (s->failed)
		return;
	if (s->fds[s->round & 1] >= 0 && !s->ev_worker) {
		struct ph_stream_chunk *early = s->early;
		s->early = NULL;
		if (s->role == PH_STREAM_SOURCE)
			ph_stream_source_begin(s, early);
		else
			ph_stream_watch(s);
	}
	if (s->role == PH_STREAM_TARGET && s->conn && s->conn->state == PH_STREAM_CONN_OPEN) {
		s->conn->heard_ms = ph_stream_now_ms();
		event_add(s->conn->ev_read, NULL);
	}
	ph_stream_settle(s);
}

void ph_stream_unnote(struct ph_stream *s)
{
	if (!s->notes)
		return;
	*(s->note_prev ? &s->note_prev->note_next : &s->streams->noted) = s->note_next;
	if (s->note_next)
		s->note_next->note_prev = s->note_prev;
	s->note_prev = s->note_next = NULL;
	s->notes = 0;
}

/* Takes the first note off; the stream may be gone when this returns. */
static void note_report(struct ph_stream *s)
{
	const struct ph_stream_ops *ops = &s->streams->ops;
	void *arg = s->streams->arg;
	struct ph_id id = s->id;
	unsigned int note = s->notes & (~s->notes + 1u);
	if (s->notes == note)
		ph_stream_unnote(s);
	s->notes &= ~note;
	if (note == PH_STREAM_NOTE_READ && ops->source_read) {
		ops->source_read(arg, &id, s->note_read_round, s->note_read_bytes);
	} else if (note == PH_STREAM_NOTE_ROUND) {
		uint32_t round = s->note_round;
		uint64_t bytes = s->note_bytes, digest = s->note_digest;
		void (*over)(void *, const struct ph_id *, uint32_t, uint64_t, uint64_t) =
			s->role == PH_STREAM_SOURCE ? ops->source_round : ops->target_round;
		round_reported(s);
		over(arg, &id, round, bytes, digest);
	} else if (note == PH_STREAM_NOTE_PROGRESS && ops->progress) {
		ops->progress(arg, &id, s->progress_bytes);
	} else if (note == PH_STREAM_NOTE_DIAL_FAILED) {
		ops->dial_failed(arg, &id);
	} else if (note == PH_STREAM_NOTE_FAILED) {
		char text[PH_REASON_SIZE];
		memcpy(text, s->text, sizeof(text));
		ops->failed(arg, &id, s->code, text);
	}
}

void ph_streams_on_notes(evutil_socket_t fd, short what, void *arg)
{
	struct ph_streams *streams = arg;
	(void)fd;
	(void)what;
	while (streams->noted)
		note_report(streams->noted);
}

/* ---- the tick */

static void progress_tick(struct ph_stream *s, int64_t now_ms)
{
	if (s->total_bytes == s->progress_bytes || now_ms - s->progress_at_ms < PROGRESS_MS)
		return;
	s->progress_at_ms = now_ms;
	s->progress_bytes = s->total_bytes;
	ph_stream_note(s, PH_STREAM_NOTE_PROGRESS);
}

static void open_tick(struct ph_stream *s, int64_t now_ms)
{
	struct ph_stream_conn *c = s->conn;
	bool source = s->role == PH_STREAM_SOURCE;
	if (now_ms - c->heard_ms >= PH_STREAM_SILENCE_MS &&
		(source || !ph_stream_target_blocked(s)))
		ph_stream_conn_cut(c, "the peer was silent for %d ms", PH_STREAM_SILENCE_MS);
	else if (!source && s->round_bytes != s->ack_offset)
		ph_stream_target_ack(s);
	else if (now_ms - c->sent_ms < PH_STREAM_PING_MS)
		return;
	else if (source)
		ph_stream_source_ping(s);
	else
		ph_stream_target_ack(s);
}

static void stream_tick(struct ph_stream *s, int64_t now_ms)
{
	const struct ph_stream_conn *c = s->conn;
	/* who waits to be dialed allows for the other's noticing the cut later */
	int64_t patience_ms =
		s->dialed ? PH_STREAM_RESUME_MS : PH_STREAM_RESUME_MS + PH_STREAM_SILENCE_MS;
	progress_tick(s, now_ms);
	if (c && c->state == PH_STREAM_CONN_OPEN)
		open_tick(s, now_ms);
	else if (c && c->state == PH_STREAM_CONN_DIALING &&
		 now_ms - c->since_ms >= PH_STREAM_DIAL_MS)
		ph_stream_conn_cut(s->conn, "no answer within %d ms", PH_STREAM_DIAL_MS);
	else if (c && now_ms - c->since_ms >= PH_STREAM_PROOF_MS)
		ph_stream_conn_cut(s->conn, "no proof within %d ms", PH_STREAM_PROOF_MS);
	else if (!c && s->redial_at_ms && now_ms >= s->redial_at_ms)
		ph_stream_dial(s);
	ph_stream_settle(s);
	if (!s->failed && s->lost_at_ms && now_ms - s->lost_at_ms >= patience_ms) {
		ph_stream_doom(s, s->linked ? ETIMEDOUT : EACCES, "%s for %lld ms: %s",
			s->linked ? "not connected again" : "refused", (long long)patience_ms,
			s->cut_text[0] ? s->cut_text : "nothing was heard of the other node");
		ph_stream_settle(s);
	}
}

void ph_streams_on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct ph_streams *streams = arg;
	int64_t now_ms = ph_stream_now_ms();
	(void)fd;
	(void)what;
	ph_streams_guests_tick(streams, now_ms);
	for (struct ph_stream *s = streams->list; s; s = s->next)
		if (!s->failed)
			stream_tick(s, now_ms);
	ph_streams_tick_set(streams);
}

void ph_streams_tick_set(struct ph_streams *streams)
{
	static const struct timeval every = {.tv_usec = PH_STREAM_TICK_MS * 1000};
	bool wanted = streams->list || streams->guests || streams->listen_paused;
	bool ticking = event_pending(streams->ev_tick, EV_TIMEOUT, NULL);
	if (wanted && !ticking)
		event_add(streams->ev_tick, &every);
	else if (!wanted && ticking)
		event_del(streams->ev_tick);
}
