/* stream.c - the list of streams and the calls of stream.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "io/stream_int.h"

int64_t ph_stream_now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- one stream */

struct ph_stream *ph_stream_find(const struct ph_streams *streams, const struct ph_id *id)
{
	struct ph_stream *s = streams->list;
	while (s && !ph_id_equal(&s->id, id))
		s = s->next;
	return s;
}

static struct ph_stream *stream_new(struct ph_streams *streams, const struct ph_id *id,
	const uint8_t ticket[PH_STREAM_TICKET_BYTES], enum ph_stream_role role)
{
	struct ph_stream *s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->hash = XXH3_createState();
	if (!s->hash) {
		free(s);
		return NULL;
	}
	XXH3_64bits_reset(s->hash);
	s->streams = streams;
	s->id = *id;
	memcpy(s->ticket, ticket, sizeof(s->ticket));
	s->role = role;
	s->seal = streams->seal;
	s->backoff_ms = PH_STREAM_BACKOFF_MIN_MS;
	s->fds[0] = s->fds[1] = -1;
	s->next = streams->list;
	if (s->next)
		s->next->prev = s;
	streams->list = s;
	streams->count++;
	ph_streams_tick_set(streams);
	return s;
}

/* Closes and frees whatever the stream holds but its name and its notes. */
static void stream_release(struct ph_stream *s)
{
	ph_stream_conn_free(s->conn);
	s->conn = NULL;
	if (s->ev_worker)
		event_free(s->ev_worker);
	s->ev_worker = NULL;
	for (int i = 0; i < 2; i++) {
		if (s->fds[i] >= 0)
			close(s->fds[i]);
		s->fds[i] = -1;
	}
	ph_stream_source_drop_window(s);
	free(s->early);
	s->early = NULL;
	s->lost_at_ms = s->redial_at_ms = 0;
}

static void stream_free(struct ph_stream *s)
{
	stream_release(s);
	ph_stream_unnote(s);
	*(s->prev ? &s->prev->next : &s->streams->list) = s->next;
	if (s->next)
		s->next->prev = s->prev;
	s->streams->count--;
	XXH3_freeState(s->hash);
	ph_seal_wipe(s, sizeof(*s));
	free(s);
}

static void on_worker(evutil_socket_t fd, short what, void *arg)
{
	struct ph_stream *s = arg;
	(void)fd;
	(void)what;
	if (s->role == PH_STREAM_SOURCE)
		ph_stream_source_pull(s);
	else
		ph_stream_target_write(s);
	ph_stream_settle(s);
}

int ph_stream_watch(struct ph_stream *s)
{
	short what = s->role == PH_STREAM_SOURCE ? EV_READ : EV_WRITE;
	s->ev_worker = event_new(
		s->streams->base, s->fds[s->round & 1], (short)(what | EV_PERSIST), on_worker, s);
	if (!s->ev_worker || event_add(s->ev_worker, NULL) < 0)
		return ph_stream_doom(s, ENOMEM, "no memory to watch a data connection");
	return 0;
}

void ph_stream_unwatch(struct ph_stream *s)
{
	int *fd = &s->fds[s->round & 1];
	event_free(s->ev_worker);
	s->ev_worker = NULL;
	close(*fd);
	*fd = -1;
}

int ph_stream_doom(struct ph_stream *s, int code, const char *format, ...)
{
	if (s->doomed)
		return -1;
	va_list ap;
	va_start(ap, format);
	vsnprintf(s->text, sizeof(s->text), format, ap);
	va_end(ap);
	s->code = code;
	s->doomed = true;
	return -1;
}

/* The connection is gone: who dialed tries again, if there ever was one to go on with. */
static void stream_lost(struct ph_stream *s)
{
	bool unreachable = s->conn->state == PH_STREAM_CONN_DIALING && !s->linked;
	int64_t now_ms = ph_stream_now_ms();
	ph_stream_conn_free(s->conn);
	s->conn = NULL;
	if (unreachable) {
		s->lost_at_ms = 0;
		ph_stream_note(s, PH_STREAM_NOTE_DIAL_FAILED);
		return;
	}
	if (!s->lost_at_ms)
		s->lost_at_ms = now_ms;
	if (!s->dialed)
		return;
	s->redial_at_ms = now_ms + s->backoff_ms;
	s->backoff_ms *= 2;
	if (s->backoff_ms > PH_STREAM_BACKOFF_MAX_MS)
		s->backoff_ms = PH_STREAM_BACKOFF_MAX_MS;
}

void ph_stream_settle(struct ph_stream *s)
{
	if (s->failed)
		return;
	if (s->doomed) {
		s->failed = true;
		stream_release(s);
		ph_stream_note(s, PH_STREAM_NOTE_FAILED);
	} else if (s->conn && s->conn->cut) {
		stream_lost(s);
	}
}

/* ---- stream.h */

struct ph_streams *ph_streams_new(struct event_base *base, const struct ph_keyring *ring,
	enum ph_stream_seal seal, const struct ph_stream_ops *ops, void *arg)
{
	if (ph_seal_init(NULL) < 0)
		return NULL;
	struct ph_streams *streams = calloc(1, sizeof(*streams));
	if (!streams)
		return NULL;
	streams->base = base;
	streams->ring = ring;
	streams->seal = seal;
	streams->ops = *ops;
	streams->arg = arg;
	streams->listen_fd = -1;
	streams->ev_tick = event_new(base, -1, EV_PERSIST, ph_streams_on_tick, streams);
	streams->ev_notes = event_new(base, -1, 0, ph_streams_on_notes, streams);
	if (!streams->ev_tick || !streams->ev_notes) {
		ph_streams_free(streams);
		return NULL;
	}
	return streams;
}

void ph_streams_free(struct ph_streams *streams)
{
	if (!streams)
		return;
	while (streams->list)
		stream_free(streams->list);
	while (streams->guests)
		ph_stream_conn_free(streams->guests);
	ph_streams_unlisten(streams);
	if (streams->ev_tick)
		event_free(streams->ev_tick);
	if (streams->ev_notes)
		event_free(streams->ev_notes);
	free(streams);
}

void ph_streams_set_seal(struct ph_streams *streams, enum ph_stream_seal seal)
{
	streams->seal = seal;
}

int ph_stream_send(struct ph_streams *streams, const struct ph_id *id,
	const uint8_t ticket[PH_STREAM_TICKET_BYTES], const char *address)
{
	struct sockaddr_storage peer;
	socklen_t n = 0;
	if (ph_stream_find(streams, id))
		return -EEXIST;
	if (address && ph_stream_parse(address, &peer, &n) < 0)
		return -EINVAL;
	struct ph_stream *s = stream_new(streams, id, ticket, PH_STREAM_SOURCE);
	if (!s)
		return -ENOMEM;
	if (!address)
		return 0;
	return ph_stream_dial_back(streams, id, address);
}

int ph_stream_send_here(struct ph_streams *streams, const struct ph_id *id,
	const uint8_t ticket[PH_STREAM_TICKET_BYTES], const struct ph_id *target)
{
	if (ph_stream_find(streams, id))
		return -EEXIST;
	struct ph_stream *s = stream_new(streams, id, ticket, PH_STREAM_SOURCE);
	if (!s)
		return -ENOMEM;
	s->here = true;
	s->other = *target;
	ph_stream_dial(s);
	ph_stream_settle(s);
	return 0;
}

int ph_stream_expect(struct ph_streams *streams, const struct ph_id *id,
	const uint8_t ticket[PH_STREAM_TICKET_BYTES], uint64_t max_bytes)
{
	if (ph_stream_find(streams, id))
		return -EEXIST;
	struct ph_stream *s = stream_new(streams, id, ticket, PH_STREAM_TARGET);
	if (!s)
		return -ENOMEM;
	s->max_bytes = max_bytes;
	return 0;
}

int ph_stream_dial_back(struct ph_streams *streams, const struct ph_id *id, const char *address)
{
	struct ph_stream *s = ph_stream_find(streams, id);
	struct sockaddr_storage peer;
	socklen_t n = 0;
	if (!s)
		return -ENOENT;
	if (ph_stream_parse(address, &peer, &n) < 0)
		return -EINVAL;
	if (s->failed)
		return -ECANCELED;
	if (s->conn)
		return 0;
	s->peer = peer;
	s->peer_length = n;
	ph_stream_dial(s);
	ph_stream_settle(s);
	return 0;
}

/* Whether a data connection of `round` may come now. */
static int round_check(const struct ph_stream *s, enum ph_stream_role role, uint32_t round)
{
	if (!s)
		return -ENOENT;
	if (s->role != role)
		return -EINVAL;
	if (s->failed)
		return -ECANCELED;
	if (round > s->round + 1)
		return -EINVAL;
	if (round < s->round || s->fds[round & 1] >= 0 || (round == s->round && s->eof))
		return -EEXIST;
	return 0;
}

/* Takes `fd` and, at the source, `early`; on an error both are gone. */
static int round_attach(struct ph_stream *s, uint32_t round, int fd, struct ph_stream_chunk *early)
{
	int flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
		int code = errno;
		close(fd);
		free(early);
		return -code;
	}
	s->fds[round & 1] = fd;
	if (round != s->round) {
		s->early = early;
		return 0;
	}
	if (s->role == PH_STREAM_SOURCE)
		ph_stream_source_begin(s, early);
	else
		ph_stream_watch(s);
	ph_stream_settle(s);
	return s->failed ? -ENOMEM : 0;
}

int ph_stream_feed(struct ph_streams *streams, const struct ph_id *id, uint32_t round, int fd,
	const void *bytes, size_t n)
{
	struct ph_stream *s = ph_stream_find(streams, id);
	struct ph_stream_chunk *early = NULL;
	int rc = n > PH_STREAM_BLOCK_BYTES ? -EINVAL : round_check(s, PH_STREAM_SOURCE, round);
	if (rc == 0 && n > 0) {
		early = ph_stream_chunk_new(n);
		if (early)
			memcpy(early->bytes, bytes, n);
		else
			rc = -ENOMEM;
	}
	if (rc < 0) {
		close(fd);
		return rc;
	}
	return round_attach(s, round, fd, early);
}

int ph_stream_drain(struct ph_streams *streams, const struct ph_id *id, uint32_t round, int fd)
{
	struct ph_stream *s = ph_stream_find(streams, id);
	int rc = round_check(s, PH_STREAM_TARGET, round);
	if (rc < 0) {
		close(fd);
		return rc;
	}
	return round_attach(s, round, fd, NULL);
}

void ph_stream_close(struct ph_streams *streams, const struct ph_id *id)
{
	struct ph_stream *s = ph_stream_find(streams, id);
	if (s)
		stream_free(s);
	ph_streams_tick_set(streams);
}

uint64_t ph_stream_bytes(const struct ph_streams *streams, const struct ph_id *id)
{
	const struct ph_stream *s = ph_stream_find(streams, id);
	return s ? s->total_bytes : 0;
}

size_t ph_stream_memory(const struct ph_streams *streams, const struct ph_id *id)
{
	const struct ph_stream *s = ph_stream_find(streams, id);
	if (!s)
		return 0;
	size_t bytes = s->window_bytes + (s->early ? s->early->size : 0);
	if (s->conn)
		bytes += s->conn->in.body_size + s->conn->out.scratch_size;
	return bytes;
}

size_t ph_streams_count(const struct ph_streams *streams)
{
	return streams->count;
}
