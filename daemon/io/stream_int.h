/*
 * stream_int.h - what the files stream*.c share; nobody else includes it.
 *
 * stream.c         the list of streams, the calls of stream.h
 * stream_tick.c    what is reported, and what only time tells
 * stream_net.c     addresses, connections, listening, dialing
 * stream_proof.c   the proof of the ticket
 * stream_block.c   blocks on the wire and their seals
 * stream_source.c  old worker -> window -> blocks; confirmations
 * stream_target.c  blocks -> new worker; confirmations
 *
 * Functions that move bytes free nothing: they mark a connection as cut or a stream as doomed,
 * return -1, and whoever was called by the loop ends with ph_stream_settle(), which tears down.
 */
#ifndef PH_IO_STREAM_INT_H
#define PH_IO_STREAM_INT_H

#include <event2/event.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <xxhash.h>

#include "io/stream.h"
#include "proto/seal.h"

#define PH_STREAM_TICK_MS 50
#define PH_STREAM_PING_MS 500 /* nothing sent for so long: an empty block, or the offset again */
#define PH_STREAM_BACKOFF_MIN_MS 50
#define PH_STREAM_BACKOFF_MAX_MS 500
#define PH_STREAM_ACK_BYTES PH_STREAM_TURN_BYTES /* confirmed at the latest after so many */

/* What a dialer says first: magic 4, version 1, its role 1, seal 1, zero 1, id 16, nonce 32. */
#define PH_STREAM_HELLO_BYTES 56
/* What it is answered: magic 4, version 1, status 1, zero 2, nonce 32, proof 32. */
#define PH_STREAM_ANSWER_BYTES 72
#define PH_STREAM_PROOF_BYTES PH_SEAL_KEY_SIZE

/* Header of a block: length u32, kind u8, zero 3, round u32, offset u64; big-endian. */
#define PH_STREAM_BLOCK_HEAD 20
#define PH_STREAM_BLOCK_TAG_MAX 32

enum ph_stream_block_kind {
	PH_STREAM_BLOCK_DATA =
		1, /* offset: of its first byte in the round; may be empty (a ping) */
	PH_STREAM_BLOCK_ROUND_END, /* offset: bytes of the round; body: their XXH3-64 */
	PH_STREAM_BLOCK_ACK,	   /* all before (round, offset) is written; no body */
};

enum ph_stream_role {
	PH_STREAM_SOURCE,
	PH_STREAM_TARGET
};

enum ph_stream_conn_state {
	PH_STREAM_CONN_DIALING, /* connect under way */
	PH_STREAM_CONN_ASKED,	/* dialer: hello sent */
	PH_STREAM_CONN_GUEST,	/* listener: hello awaited */
	PH_STREAM_CONN_PROVING, /* listener: proof awaited */
	PH_STREAM_CONN_OPEN,	/* both have proven the ticket */
};

struct ph_stream_block {
	uint32_t length;
	enum ph_stream_block_kind kind;
	uint32_t round;
	uint64_t offset;
};

/* One direction of one connection. The counter is the nonce: no key is used by two connections. */
struct ph_stream_block_key {
	enum ph_stream_seal seal;
	uint8_t key[PH_SEAL_KEY_SIZE];
	uint64_t counter;
};

/* The block that is being sent; idle while sent == total. */
struct ph_stream_block_out {
	uint8_t head[PH_STREAM_BLOCK_HEAD];
	uint8_t tag[PH_STREAM_BLOCK_TAG_MAX];
	const uint8_t *body; /* borrowed from the window, or `scratch` */
	uint32_t length;
	size_t sent, total;
	uint32_t borrowed; /* bytes of the window that it stands for, until it is sent */
	uint8_t *scratch;  /* ciphertext */
	size_t scratch_size;
};

/* The block that is being received. */
struct ph_stream_block_in {
	uint8_t head[PH_STREAM_BLOCK_HEAD];
	size_t have; /* bytes of head, body and tag so far */
	struct ph_stream_block block;
	bool ready;    /* complete and checked; waits to be carried out */
	uint32_t done; /* DATA: bytes of the body that are written */
	uint8_t *body; /* body and tag */
	size_t body_size;
};

struct ph_stream_conn {
	struct ph_streams *streams;
	struct ph_stream *stream;	    /* NULL: a guest of the listener */
	struct ph_stream_conn *prev, *next; /* among the guests, oldest first */
	enum ph_stream_conn_state state;
	bool cut;
	bool synced; /* source: the target has told its position on this connection */
	int fd;
	struct event *ev_read, *ev_write;
	int64_t since_ms, heard_ms, sent_ms;

	/* until OPEN */
	struct ph_id id;
	uint8_t nonce_dialer[PH_SEAL_NONCE_SIZE], nonce_listener[PH_SEAL_NONCE_SIZE];
	enum ph_stream_role dialer_role;
	uint8_t shake_in[PH_STREAM_ANSWER_BYTES];
	size_t shake_have;
	uint8_t shake_out[PH_STREAM_ANSWER_BYTES];
	size_t shake_sent, shake_total;

	struct ph_stream_block_key key_in, key_out;
	struct ph_stream_block_out out;
	struct ph_stream_block_in in;
};

/* A piece of the window; `offset` is that of its first byte in the round. */
struct ph_stream_chunk {
	struct ph_stream_chunk *next;
	uint64_t offset;
	uint32_t length, size;
	uint8_t bytes[];
};

enum ph_stream_note {
	PH_STREAM_NOTE_READ = 1 << 0,
	PH_STREAM_NOTE_ROUND = 1 << 1,
	PH_STREAM_NOTE_PROGRESS = 1 << 2,
	PH_STREAM_NOTE_DIAL_FAILED = 1 << 3,
	PH_STREAM_NOTE_FAILED = 1 << 4,
};

struct ph_stream {
	struct ph_streams *streams;
	struct ph_stream *prev, *next;
	struct ph_id id;
	uint8_t ticket[PH_STREAM_TICKET_BYTES];
	enum ph_stream_role role;
	enum ph_stream_seal seal;

	bool doomed, failed; /* doomed: settle will make it failed */
	int code;
	char text[PH_REASON_SIZE];

	/* the connection */
	struct ph_stream_conn *conn;
	struct sockaddr_storage peer;
	socklen_t peer_length; /* 0: nobody to dial */
	bool here;	       /* it dials a target of this very daemon ... */
	struct ph_id other;    /* ... which has this id */
	bool dialed;	       /* the last connection was made from here */
	bool linked;	       /* there was one that both had proven */
	int64_t lost_at_ms;    /* 0: connected, or nothing to be connected yet */
	int64_t redial_at_ms;  /* 0: not planned */
	uint32_t backoff_ms;
	char cut_text[PH_REASON_SIZE];

	/* the present round */
	uint32_t round;
	int fds[2]; /* of the present round and the next: round & 1; -1 none */
	struct event *ev_worker;
	uint64_t round_bytes; /* source: read; target: written */
	uint64_t total_bytes; /* of all rounds */
	XXH3_state_t *hash;
	uint64_t digest;

	/* source */
	struct ph_stream_chunk *window, *window_tail;
	size_t window_bytes;
	uint32_t chunk_size; /* of the next chunk */
	uint64_t acked, sent;
	bool eof, end_sent;
	uint8_t end_body[8]; /* of ROUND_END */
	struct ph_stream_chunk
		*early; /* first bytes of the next round, whose connection came already */

	/* target */
	uint64_t max_bytes;
	uint64_t ack_offset; /* last one told, of the present round */
	bool ack_due;

	/* what is to be reported */
	unsigned int notes;
	struct ph_stream *note_prev, *note_next;
	uint32_t note_round, note_read_round;
	uint64_t note_bytes, note_read_bytes, note_digest;
	int64_t progress_at_ms;
	uint64_t progress_bytes;
};

struct ph_streams {
	struct event_base *base;
	const struct ph_keyring *ring;
	enum ph_stream_seal seal;
	struct ph_stream_ops ops;
	void *arg;
	struct event *ev_listen, *ev_tick, *ev_notes;
	int listen_fd;
	bool listen_paused; /* no descriptors: the tick tries again */
	struct ph_stream *list, *noted;
	size_t count;
	struct ph_stream_conn *guests, *guests_tail;
	size_t n_guests;
};

/* stream.c */
int64_t ph_stream_now_ms(void);
struct ph_stream *ph_stream_find(const struct ph_streams *streams, const struct ph_id *id);
/* Marks as failed for good; the first reason stays. Returns -1. */
int ph_stream_doom(struct ph_stream *s, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Carries out what was marked: after it `s->conn` may be another or NULL. */
void ph_stream_settle(struct ph_stream *s);
/* The descriptor of the present round is there: watches it (once), ready to be read or written. */
int ph_stream_watch(struct ph_stream *s);
void ph_stream_unwatch(struct ph_stream *s);

/* stream_tick.c */
/* Has something reported, from the loop. */
void ph_stream_note(struct ph_stream *s, unsigned int notes);
void ph_stream_unnote(struct ph_stream *s);
/* Starts the tick where something needs it, stops it where nothing does. */
void ph_streams_tick_set(struct ph_streams *streams);
void ph_streams_on_tick(evutil_socket_t fd, short what, void *arg);
void ph_streams_on_notes(evutil_socket_t fd, short what, void *arg);

/* stream_net.c */
int ph_stream_parse(const char *address, struct sockaddr_storage *ret, socklen_t *ret_length);
/* Dials s->peer; whatever goes wrong is marked as a cut. */
void ph_stream_dial(struct ph_stream *s);
void ph_stream_conn_free(struct ph_stream_conn *c);
/* Marks the connection as broken. Returns -1. */
int ph_stream_conn_cut(struct ph_stream_conn *c, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* Takes a guest off the list: it has become a stream's. */
void ph_stream_guest_unlink(struct ph_stream_conn *c);
void ph_streams_guests_tick(struct ph_streams *streams, int64_t now_ms);
void ph_streams_unlisten(struct ph_streams *streams);

/* stream_proof.c; each 0, or -1 after marking (a guest: it is to be freed) */
int ph_stream_shake_hello(struct ph_stream_conn *c);
int ph_stream_shake_dialer(struct ph_stream_conn *c);
int ph_stream_shake_guest(
	struct ph_stream_conn *c); /* c->stream is set once it has proven the ticket */
int ph_stream_shake_flush(struct ph_stream_conn *c);

/* stream_block.c */
size_t ph_stream_block_tag_bytes(enum ph_stream_seal seal);
static inline bool ph_stream_block_idle(const struct ph_stream_block_out *out)
{
	return out->sent == out->total;
}
/* Seals a block into the idle c->out; `body` is borrowed until it is sent. 0, or -1 (doomed). */
int ph_stream_block_put(
	struct ph_stream_conn *c, const struct ph_stream_block *block, const uint8_t *body);
/* Sends. 1 all gone, 0 the socket is full, -1 cut. */
int ph_stream_block_flush(struct ph_stream_conn *c);
/* Receives up to one block. 1 c->in.ready, 0 nothing more now, -1 cut or doomed. */
int ph_stream_block_get(struct ph_stream_conn *c);
/* Makes room for the next block. */
void ph_stream_block_next(struct ph_stream_block_in *in);
void ph_stream_put_u32(uint8_t *p, uint32_t v);
void ph_stream_put_u64(uint8_t *p, uint64_t v);
uint32_t ph_stream_get_u32(const uint8_t *p);
uint64_t ph_stream_get_u64(const uint8_t *p);

/* stream_source.c; ints: 0, or -1 after marking */
struct ph_stream_chunk *ph_stream_chunk_new(size_t size);
/* The present round begins: its descriptor is there, and `early` (taken, or NULL) was read. */
int ph_stream_source_begin(struct ph_stream *s, struct ph_stream_chunk *early);
int ph_stream_source_pull(struct ph_stream *s); /* the old worker's connection is readable */
int ph_stream_source_push(struct ph_stream *s); /* the peer's may be writable */
int ph_stream_source_heed(struct ph_stream *s); /* the peer's is readable: confirmations */
int ph_stream_source_ping(struct ph_stream *s);
void ph_stream_source_drop_window(struct ph_stream *s);

/* stream_target.c; each returns 0, or -1 after marking */
int ph_stream_target_take(struct ph_stream *s);	 /* the peer's connection is readable */
int ph_stream_target_write(struct ph_stream *s); /* the new worker's connection is writable */
int ph_stream_target_ack(struct ph_stream *s); /* tells the position, now or as soon as possible */
int ph_stream_target_flush(struct ph_stream *s); /* the peer's connection is writable */
/* A block waits for the new worker: nothing is read from the peer meanwhile. */
static inline bool ph_stream_target_blocked(const struct ph_stream *s)
{
	return s->conn && (s->conn->in.ready || (s->notes & PH_STREAM_NOTE_ROUND));
}

#endif
