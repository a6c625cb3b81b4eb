/* stream_target.c - blocks from the source, written to the new worker and confirmed. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "io/stream_int.h"

int ph_stream_target_ack(struct ph_stream *s)
{
	struct ph_stream_conn *c = s->conn;
	if (!c || c->state != PH_STREAM_CONN_OPEN || c->cut)
		return 0;
	s->ack_due = true;
	return ph_stream_target_flush(s);
}

int ph_stream_target_flush(struct ph_stream *s)
{
	struct ph_stream_conn *c = s->conn;
	for (;;) {
		int rc = ph_stream_block_flush(c);
		if (rc < 0)
			return -1;
		if (rc == 0) {
			event_add(c->ev_write, NULL);
			return 0;
		}
		if (!s->ack_due)
			break;
		/* only the newest position is worth telling */
		struct ph_stream_block block = {
			.kind = PH_STREAM_BLOCK_ACK, .round = s->round, .offset = s->round_bytes};
		if (ph_stream_block_put(c, &block, NULL) < 0)
			return -1;
		s->ack_due = false;
		s->ack_offset = s->round_bytes;
	}
	event_del(c->ev_write);
	return 0;
}

/* Writes a DATA block. 1 all of it, 0 the new worker's connection is full or not there, -1. */
static int data_write(struct ph_stream *s)
{
	struct ph_stream_block_in *in = &s->conn->in;
	int fd = s->fds[s->round & 1];
	if (in->block.round != s->round || in->block.offset + in->done != s->round_bytes)
		return ph_stream_doom(s, EPROTO, "the peer sent bytes out of their order");
	while (in->done < in->block.length) {
		const uint8_t *bytes = in->body + in->done;
		if (fd < 0)
			return 0;
		ssize_t n =
			send(fd, bytes, in->block.length - in->done, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
			event_add(s->ev_worker, NULL);
			return 0;
		}
		if (n < 0)
			return ph_stream_doom(
				s, EPIPE, "writing to the new worker: %s", strerror(errno));
		XXH3_64bits_update(s->hash, bytes, (size_t)n);
		in->done += (uint32_t)n;
		s->round_bytes += (uint64_t)n;
		s->total_bytes += (uint64_t)n;
	}
	s->backoff_ms = PH_STREAM_BACKOFF_MIN_MS;
	return 1;
}

/* Checks a ROUND_END and gives the new worker its end of file. 1 done, 0 no connection yet, -1. */
static int round_end(struct ph_stream *s)
{
	struct ph_stream_block_in *in = &s->conn->in;
	int fd = s->fds[s->round & 1];
	uint64_t digest = XXH3_64bits_digest(s->hash);
	if (in->block.round != s->round)
		return ph_stream_doom(s, EPROTO, "the peer ended a round that is not the present");
	if (in->block.offset != s->round_bytes)
		return ph_stream_doom(s, EBADMSG, "the round has %llu bytes here, %llu there",
			(unsigned long long)s->round_bytes, (unsigned long long)in->block.offset);
	if (ph_stream_get_u64(in->body) != digest)
		return ph_stream_doom(s, EBADMSG, "the digest of the round differs");
	if (fd < 0)
		return 0;
	shutdown(fd, SHUT_WR);
	ph_stream_unwatch(s);
	s->note_round = s->round;
	s->note_bytes = s->round_bytes;
	s->note_digest = digest;
	s->round++;
	s->round_bytes = 0;
	s->ack_offset = 0;
	XXH3_64bits_reset(s->hash);
	ph_stream_note(s, PH_STREAM_NOTE_ROUND);
	return 1;
}

/* Carries out the block that is ready, as far as it goes. */
static int block_carry(struct ph_stream *s)
{
	struct ph_stream_block_in *in = &s->conn->in;
	bool end = in->block.kind == PH_STREAM_BLOCK_ROUND_END;
	/* an empty DATA is a ping, and may be late by a round */
	int rc = end ? round_end(s) : in->block.length ? data_write(s) : 1;
	if (rc < 0)
		return -1;
	if (rc == 0)
		return 0;
	ph_stream_block_next(in);
	if (end || s->round_bytes - s->ack_offset >= PH_STREAM_ACK_BYTES)
		return ph_stream_target_ack(s);
	return 0;
}

int ph_stream_target_take(struct ph_stream *s)
{
	struct ph_stream_conn *c = s->conn;
	size_t moved = 0;
	while (moved < PH_STREAM_TURN_BYTES) {
		if (ph_stream_target_blocked(s)) {
			event_del(c->ev_read);
			break;
		}
		int rc = ph_stream_block_get(c);
		if (rc < 0)
			return -1;
		if (rc == 0)
			break;
		moved += PH_STREAM_BLOCK_HEAD + c->in.block.length;
		if (block_carry(s) < 0)
			return -1;
	}
	return 0;
}

int ph_stream_target_write(struct ph_stream *s)
{
	struct ph_stream_conn *c = s->conn;
	event_del(s->ev_worker);
	if (!c || !c->in.ready)
		return 0;
	if (block_carry(s) < 0)
		return -1;
	if (!ph_stream_target_blocked(s)) {
		/* while it was not read, its silence meant nothing */
		c->heard_ms = ph_stream_now_ms();
		event_add(c->ev_read, NULL);
	}
	return 0;
}
