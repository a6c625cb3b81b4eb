/* stream_source.c - the old worker's bytes, kept until the target has confirmed them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/stream_int.h"

#define CHUNK_MIN (16u * 1024)	    /* doubled from chunk to chunk: a small state costs little */
#define CHUNK_ROOM_MIN (32u * 1024) /* less than this at the end of a large chunk is left free */
#define ACKS_A_TURN 64

struct ph_stream_chunk *ph_stream_chunk_new(size_t size)
{
	struct ph_stream_chunk *chunk = malloc(sizeof(*chunk) + size);
	if (!chunk)
		return NULL;
	chunk->next = NULL;
	chunk->offset = 0;
	chunk->length = 0;
	chunk->size = (uint32_t)size;
	return chunk;
}

static void chunk_append(struct ph_stream *s, struct ph_stream_chunk *chunk)
{
	chunk->offset = s->round_bytes;
	*(s->window ? &s->window_tail->next : &s->window) = chunk;
	s->window_tail = chunk;
	s->window_bytes += chunk->size;
}

static void chunk_free_first(struct ph_stream *s)
{
	struct ph_stream_chunk *chunk = s->window;
	s->window = chunk->next;
	if (!s->window)
		s->window_tail = NULL;
	s->window_bytes -= chunk->size;
	free(chunk);
}

void ph_stream_source_drop_window(struct ph_stream *s)
{
	while (s->window)
		chunk_free_first(s);
}

/* Whether the last chunk can take a read that is worth its system call. */
static bool tail_has_room(const struct ph_stream *s)
{
	const struct ph_stream_chunk *tail = s->window_tail;
	if (!tail)
		return false;
	uint32_t room = tail->size - tail->length;
	return room >= (tail->size < PH_STREAM_BLOCK_BYTES ? 1 : CHUNK_ROOM_MIN);
}

static bool window_has_room(const struct ph_stream *s)
{
	return tail_has_room(s) || s->window_bytes + s->chunk_size <= PH_STREAM_WINDOW_BYTES;
}

/* Counts `n` bytes that were read to the end of the last chunk. */
static void bytes_count(struct ph_stream *s, size_t n)
{
	struct ph_stream_chunk *tail = s->window_tail;
	XXH3_64bits_update(s->hash, tail->bytes + tail->length, n);
	tail->length += (uint32_t)n;
	s->round_bytes += n;
	s->total_bytes += n;
}

int ph_stream_source_begin(struct ph_stream *s, struct ph_stream_chunk *early)
{
	s->chunk_size = CHUNK_MIN;
	if (early) {
		size_t n = early->size;
		chunk_append(s, early);
		bytes_count(s, n);
	}
	/* early bytes go out in the next turn, even where the worker sends no more */
	if (s->conn && s->conn->state == PH_STREAM_CONN_OPEN)
		event_add(s->conn->ev_write, NULL);
	return ph_stream_watch(s);
}

static void worker_eof(struct ph_stream *s)
{
	ph_stream_unwatch(s);
	s->eof = true;
	s->digest = XXH3_64bits_digest(s->hash);
	s->note_read_round = s->round;
	s->note_read_bytes = s->round_bytes;
	ph_stream_note(s, PH_STREAM_NOTE_READ);
}

int ph_stream_source_pull(struct ph_stream *s)
{
	size_t moved = 0;
	while (moved < PH_STREAM_TURN_BYTES) {
		if (!window_has_room(s)) {
			event_del(s->ev_worker);
			break;
		}
		if (!tail_has_room(s)) {
			struct ph_stream_chunk *chunk = ph_stream_chunk_new(s->chunk_size);
			if (!chunk)
				return ph_stream_doom(s, ENOMEM, "no memory for the window");
			chunk_append(s, chunk);
			if (s->chunk_size < PH_STREAM_BLOCK_BYTES)
				s->chunk_size *= 2;
		}
		struct ph_stream_chunk *tail = s->window_tail;
		ssize_t n = read(s->fds[s->round & 1], tail->bytes + tail->length,
			tail->size - tail->length);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n < 0)
			return ph_stream_doom(
				s, errno, "reading the old worker's state: %s", strerror(errno));
		if (n == 0) {
			worker_eof(s);
			break;
		}
		bytes_count(s, (size_t)n);
		moved += (size_t)n;
	}
	return ph_stream_source_push(s);
}

/* Queues the next block. 1 queued, 0 nothing to send, -1 doomed. */
static int block_queue(struct ph_stream *s)
{
	struct ph_stream_conn *c = s->conn;
	struct ph_stream_block block = {
		.kind = PH_STREAM_BLOCK_DATA, .round = s->round, .offset = s->sent};
	const struct ph_stream_chunk *chunk = s->window;
	c->out.borrowed = 0;
	if (s->sent < s->round_bytes) {
		while (chunk->offset + chunk->length <= s->sent)
			chunk = chunk->next;
		size_t at = (size_t)(s->sent - chunk->offset);
		size_t n = chunk->length - at;
		block.length = (uint32_t)(n > PH_STREAM_BLOCK_BYTES ? PH_STREAM_BLOCK_BYTES : n);
		if (ph_stream_block_put(c, &block, chunk->bytes + at) < 0)
			return -1;
		c->out.borrowed = block.length;
		s->sent += block.length;
		return 1;
	}
	if (!s->eof || s->end_sent)
		return 0;
	block.kind = PH_STREAM_BLOCK_ROUND_END;
	block.length = sizeof(s->end_body);
	ph_stream_put_u64(s->end_body, s->digest);
	if (ph_stream_block_put(c, &block, s->end_body) < 0)
		return -1;
	s->end_sent = true;
	return 1;
}

int ph_stream_source_push(struct ph_stream *s)
{
	struct ph_stream_conn *c = s->conn;
	if (!c || c->state != PH_STREAM_CONN_OPEN || c->cut)
		return 0;
	size_t moved = 0;
	while (moved < PH_STREAM_TURN_BYTES) {
		int rc = ph_stream_block_flush(c);
		if (rc < 0)
			return -1;
		if (rc == 0)
			break;
		rc = c->synced ? block_queue(s) : 0;
		if (rc < 0)
			return -1;
		if (rc == 0) {
			event_del(c->ev_write);
			return 0;
		}
		moved += c->out.total;
	}
	event_add(c->ev_write, NULL);
	return 0;
}

int ph_stream_source_ping(struct ph_stream *s)
{
	struct ph_stream_conn *c = s->conn;
	struct ph_stream_block block = {
		.kind = PH_STREAM_BLOCK_DATA, .round = s->round, .offset = s->sent};
	if (!c->synced || !ph_stream_block_idle(&c->out))
		return 0;
	c->out.borrowed = 0;
	if (ph_stream_block_put(c, &block, NULL) < 0)
		return -1;
	return ph_stream_source_push(s);
}

static void round_over(struct ph_stream *s)
{
	ph_stream_source_drop_window(s);
	s->note_round = s->round;
	s->note_bytes = s->round_bytes;
	s->note_digest = s->digest;
	s->round++;
	s->round_bytes = 0;
	s->eof = false;
	s->end_sent = false;
	s->acked = s->sent = 0;
	s->backoff_ms = PH_STREAM_BACKOFF_MIN_MS;
	XXH3_64bits_reset(s->hash);
	ph_stream_note(s, PH_STREAM_NOTE_ROUND);
}

static void confirm(struct ph_stream *s, uint64_t offset)
{
	if (offset > s->acked)
		s->backoff_ms = PH_STREAM_BACKOFF_MIN_MS;
	s->acked = offset;
	while (s->window && s->window->offset + s->window->length <= s->acked &&
		(s->window->next || s->acked == s->round_bytes))
		chunk_free_first(s);
	if (s->ev_worker && window_has_room(s))
		event_add(s->ev_worker, NULL);
}

/* The target tells its position; the first one on a connection is where sending goes on. */
static int acked(struct ph_stream *s, const struct ph_stream_block *b)
{
	struct ph_stream_conn *c = s->conn;
	uint32_t unsent = ph_stream_block_idle(&c->out) ? 0 : c->out.borrowed;
	uint64_t limit = c->synced ? s->sent - unsent : s->round_bytes;
	bool over = b->round == s->round + 1 && b->offset == 0 && s->eof &&
		    ph_stream_block_idle(&c->out);
	if (!over && (b->round != s->round || b->offset < s->acked || b->offset > limit))
		return ph_stream_doom(s, EPROTO, "the peer asks for bytes that are not kept");
	if (!c->synced) {
		c->synced = true;
		s->linked = true;
		s->lost_at_ms = 0;
		s->sent = b->offset;
		s->end_sent = false;
	}
	if (over)
		round_over(s);
	else
		confirm(s, b->offset);
	return 0;
}

int ph_stream_source_heed(struct ph_stream *s)
{
	struct ph_stream_conn *c = s->conn;
	for (int i = 0; i < ACKS_A_TURN && !(s->notes & PH_STREAM_NOTE_ROUND); i++) {
		int rc = ph_stream_block_get(c);
		if (rc < 0)
			return -1;
		if (rc == 0)
			break;
		rc = acked(s, &c->in.block);
		ph_stream_block_next(&c->in);
		if (rc < 0)
			return -1;
	}
	return ph_stream_source_push(s);
}
