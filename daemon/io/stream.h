/*
 * stream.h - state streams: a worker's state on its way from one daemon to another.
 *
 * The source reads the data connections of the old worker, the target writes them to those of the
 * new one, and between the two daemons runs one TCP connection for each migration id. Rounds
 * 0, 1, 2 ... follow each other on it. It decides how bytes are kept, confirmed, sealed, and
 * resumed after a cut; it must not know why a migration runs, what a worker says on its control
 * connection, or what a failure means: that is core's.
 *
 * What always holds: one call moves at most about 1 MiB before the loop gets its turn; the source
 * holds at most PH_STREAM_WINDOW_BYTES of what is not yet confirmed, the target one block; a
 * ticket never travels; callbacks come from the loop, never from inside a function of this header;
 * after `failed` nothing more is reported for that id, its descriptors are closed, and the id
 * lives on (silent, without descriptors) until ph_stream_close.
 * Without streams and without half-open connections there is no timer and no wake-up.
 *
 * One thread only. Addresses are numeric, "tcp://10.0.0.1:7402" or "tcp://[::1]:7402": names are
 * resolved when the configuration is loaded, never in the loop.
 * Tested in tests/unit/test_stream.c.
 */
#ifndef PH_IO_STREAM_H
#define PH_IO_STREAM_H

#include "base/err.h"
#include "base/types.h"

struct event_base;
struct ph_keyring; /* proto/seal.h */
struct ph_streams; /* all streams of this daemon, both directions */

#define PH_STREAM_BLOCK_BYTES (256u * 1024)	   /* largest block on the wire */
#define PH_STREAM_WINDOW_BYTES (16u * 1024 * 1024) /* most that the source holds unconfirmed */
#define PH_STREAM_TURN_BYTES (1024u * 1024)	   /* most that one call of the loop moves */
#define PH_STREAM_DIAL_MS 1000			   /* a connect that takes longer has failed */
#define PH_STREAM_PROOF_MS 2000			   /* from accept to a proven ticket */
#define PH_STREAM_SILENCE_MS 2000 /* a connection on which nothing was heard counts as cut */
#define PH_STREAM_RESUME_MS 2000  /* who dialed must be through again within this after a cut */
#define PH_STREAM_GUESTS_MAX 64	  /* connections that have not proven a ticket */
#define PH_STREAM_TICKET_BYTES 32

enum ph_stream_seal { /* cluster.stream_seal; both sides must have the same */
	PH_STREAM_ENCRYPT,
	PH_STREAM_AUTH,
	PH_STREAM_NONE,
};

/*
 * What happened. `arg` is that of ph_streams_new; `id` and `text` are borrowed for the call. Every
 * function of this header except ph_streams_free may be called from inside, ph_stream_close of the
 * same id included. source_read and progress may be NULL.
 */
struct ph_stream_ops {
	/* Source: the old worker's end of file of that round was read; `bytes` of it. */
	void (*source_read)(void *arg, const struct ph_id *id, uint32_t round, uint64_t bytes);
	/*
	 * Source: the round is over at both ends: end of file here, and the target has written and
	 * checked every byte. `digest` is the XXH3-64 of the round. It may come before target_round
	 * is called over there.
	 */
	void (*source_round)(
		void *arg, const struct ph_id *id, uint32_t round, uint64_t bytes, uint64_t digest);
	/*
	 * Target: every byte of the round was received, is equal in number and digest to what the
	 * source read, and was written into the new worker's connection, which got end of file.
	 */
	void (*target_round)(
		void *arg, const struct ph_id *id, uint32_t round, uint64_t bytes, uint64_t digest);
	/* Either: `bytes` so far, all rounds, as ph_stream_bytes; at most every 100 ms an id. */
	void (*progress)(void *arg, const struct ph_id *id, uint64_t bytes);
	/*
	 * Who dialed first, before any connection stood: refused, unreachable, or no answer within
	 * PH_STREAM_DIAL_MS. The stream is not failed: it waits for the other side to dial
	 * (ph_stream_dial_back there), or for ph_stream_dial_back here, for as long as core likes.
	 */
	void (*dial_failed)(void *arg, const struct ph_id *id);
	/*
	 * Either, once, final. `code` is a positive errno: EFBIG over max_bytes; ETIMEDOUT cut and
	 * not resumed in time; EACCES the peer did not prove the ticket, or refused; EBADMSG a
	 * block's seal, or the count or digest of a round, is wrong; EPROTO a block that makes no
	 * sense, or bytes asked for that are gone; EPIPE the new worker's connection broke;
	 * ENOMEM; others: the error of reading the old worker's connection.
	 */
	void (*failed)(void *arg, const struct ph_id *id, int code, const char *text);
};

/*
 * `base` and `ring` (NULL: no cluster key) are borrowed and outlive the streams; `ops` is copied.
 * Starts libsodium. Returns NULL when memory is gone or libsodium cannot start.
 */
struct ph_streams *ph_streams_new(struct event_base *base, const struct ph_keyring *ring,
	enum ph_stream_seal seal, const struct ph_stream_ops *ops, void *arg);
/* Closes everything, calls nothing back. NULL is allowed. Not from inside a callback. */
void ph_streams_free(struct ph_streams *streams);

/* The seal for streams that begin from now on; running ones keep theirs. */
void ph_streams_set_seal(struct ph_streams *streams, enum ph_stream_seal seal);

/*
 * Listens on the stream address (port 0: any; host "*": all of IPv4). A second call with success
 * replaces the first listener. Returns 0, -EINVAL (not a numeric address), or the negative errno
 * of socket, bind or listen (-EADDRINUSE, -EADDRNOTAVAIL, -EMFILE ...): then nothing has changed,
 * and the caller tries again later.
 */
PH_MUST_CHECK int ph_streams_listen(
	struct ph_streams *streams, const char *address, struct ph_err *err);
/* The port that is listened on, 0 where none. */
uint16_t ph_streams_port(const struct ph_streams *streams);

/*
 * The stream address that belongs to a `listen` or `advertise` address: its port plus 2. Returns 0
 * or -EINVAL (no "tcp://host:port", port above 65533, or too long); the host may be a name.
 */
PH_MUST_CHECK int ph_stream_address(const char *address, char ret_address[PH_ADDRESS_SIZE]);

/*
 * Source: begins the stream `id` and dials the peer's stream address; `address` NULL only waits
 * for the peer to dial. `ticket` is copied and wiped at the close. A dial that fails is told by
 * dial_failed, never by the return value. Returns 0, -EEXIST (the id is there already), -EINVAL
 * (address), -ENOMEM; on an error there is no such stream.
 */
PH_MUST_CHECK int ph_stream_send(struct ph_streams *streams, const struct ph_id *id,
	const uint8_t ticket[PH_STREAM_TICKET_BYTES], const char *address);
/*
 * Source: the same to a target of this daemon, which ph_stream_expect() has let in under the other
 * id and with the same ticket. Returns 0, -EEXIST, -ENOMEM.
 */
PH_MUST_CHECK int ph_stream_send_here(struct ph_streams *streams, const struct ph_id *id,
	const uint8_t ticket[PH_STREAM_TICKET_BYTES], const struct ph_id *target);
/*
 * Source: takes the old worker's data connection of `round` (a connected stream socket; it is made
 * non-blocking) with the `n` bytes that were read after its first line (copied, at most
 * PH_STREAM_BLOCK_BYTES). Rounds come in order; that of the next one may come before the present
 * one is confirmed, and then waits. May come before the TCP connection stands.
 * Returns 0, or with `fd` closed: -ENOENT (no such id), -EINVAL (not a source, `n` too large, or a
 * round that is more than one ahead), -EEXIST (the round has its connection already, or is over),
 * -ECANCELED (the stream has failed), -ENOMEM.
 */
PH_MUST_CHECK int ph_stream_feed(struct ph_streams *streams, const struct ph_id *id, uint32_t round,
	int fd, const void *bytes, size_t n);

/*
 * Target: lets the source of `id` connect. `max_bytes` is the most that one round may have; one
 * byte more fails the stream at once. Returns 0, -EEXIST, -ENOMEM.
 */
PH_MUST_CHECK int ph_stream_expect(struct ph_streams *streams, const struct ph_id *id,
	const uint8_t ticket[PH_STREAM_TICKET_BYTES], uint64_t max_bytes);
/*
 * Target: takes the new worker's data connection of `round`. It may come late: meanwhile the
 * source's window fills and nothing is lost. At the end of the round it gets end of file and is
 * closed. Returns 0, or with `fd` closed the errors of ph_stream_feed (-EINVAL: not a target).
 */
PH_MUST_CHECK int ph_stream_drain(
	struct ph_streams *streams, const struct ph_id *id, uint32_t round, int fd);

/*
 * Either side: dials the peer's stream address, for a stream that has no connection: the target
 * after the source's dial_failed, or the source once more. A connection that stands or is being
 * made stays, and 0 is returned. Returns 0, -ENOENT, -EINVAL (address), -ECANCELED (failed).
 */
PH_MUST_CHECK int ph_stream_dial_back(
	struct ph_streams *streams, const struct ph_id *id, const char *address);

/*
 * Drops the stream: descriptors closed, memory freed, nothing more reported. Idempotent. The other
 * side is not told (that is the bus's business): to it this is a cut, and after its time to resume
 * it reports `failed`, unless it is closed there too.
 */
void ph_stream_close(struct ph_streams *streams, const struct ph_id *id);

/*
 * Bytes so far, all rounds together: at the source read from the old worker, at the target
 * written to the new one. 0 for an unknown id.
 */
uint64_t ph_stream_bytes(const struct ph_streams *streams, const struct ph_id *id);
/* Bytes of buffers that are allocated for the stream now; 0 for an unknown id. */
size_t ph_stream_memory(const struct ph_streams *streams, const struct ph_id *id);
/* Streams that were begun and not closed. */
size_t ph_streams_count(const struct ph_streams *streams);

#endif
