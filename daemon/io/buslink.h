/*
 * buslink.h - prochubd's end of the bus: starts prochub-bus, keeps it, and passes bytes.
 *
 * Decides when the process is started again and what it must be told then. It must not know what
 * is in a message, which peers are alive, or what nanomsg is. Always holds: nothing blocks; every
 * queue is bounded; the death of the bus process is "no link for a moment" and is mended here: at
 * once, then after 100 ms doubled to 2 s while it dies within a second of its start; BIND and all
 * DIALs are repeated then; directed messages that were not handed over yet stay queued, casts go.
 * Addresses are "tcp://HOST:PORT" with a numeric host, "[...]" around an IPv6 one.
 * Callbacks come from the event loop only, never from within a function of this header. They may
 * call all of them but ph_buslink_free(). Tested by tests/unit/test_buslink.c.
 */
#ifndef PH_IO_BUSLINK_H
#define PH_IO_BUSLINK_H

#include <sys/types.h>

#include "base/busframe.h"
#include "base/err.h"

struct event_base;
struct ph_buslink;

#define PH_BUSLINK_QUEUE_MAX (16u * 1024u * 1024u) /* bytes that wait for the bus process */

/* Any may be NULL. */
struct ph_buslink_callbacks {
	/* The bus process runs and knows all addresses; says nothing of any peer. */
	void (*up)(void *arg);
	/* It ended, and is being restarted; `why` is a sentence. */
	void (*down)(void *arg, const char *why);
	/* Both addresses are bound (again, after each restart). */
	void (*bound)(void *arg);
	/* They cannot be bound. Tried again every second; told once until it succeeds, or until the
	 * reason changes. `code` is a positive errno. */
	void (*bind_failed)(void *arg, int code, const char *text);
	/* A message came; the bytes live until the callback returns and may be overwritten. */
	void (*got)(void *arg, enum ph_plane plane, uint8_t *bytes, size_t n);
	/* So many messages for that peer (0: casts) were given up since the last report. */
	void (*dropped)(void *arg, uint32_t peer, uint64_t count);
};

struct ph_buslink_stats {
	uint64_t casts, sends, gots; /* messages handed over, and received */
	uint64_t drops;		     /* given up on either side of the socketpair */
	uint64_t starts;	     /* of the bus process */
	size_t queued_bytes;	     /* waiting for the bus process now */
};

/*
 * Starts `program` (the path of prochub-bus, copied). `callbacks` is copied, `arg` is passed to
 * them. Needs a kernel with pidfd_open (5.3).
 * -ENOENT, -EACCES ... the program cannot be run; -EMFILE, -ENOMEM, -EAGAIN. Nothing is left then.
 */
PH_MUST_CHECK int ph_buslink_new(struct event_base *base, const char *program,
	const struct ph_buslink_callbacks *callbacks, void *arg, struct ph_buslink **ret_link,
	struct ph_err *err);

/*
 * Closes the socketpair, upon which the process ends, and reaps it; SIGKILL after 200 ms. For the
 * end of the daemon (and before a re-exec): it is the only call that may wait, and at most so long.
 * NULL is fine.
 */
void ph_buslink_free(struct ph_buslink *link);

/* Listens on both addresses, in place of those before. -EINVAL an address is malformed. */
PH_MUST_CHECK int ph_buslink_bind(
	struct ph_buslink *link, const char *broadcast, const char *directed, struct ph_err *err);

/*
 * Makes `peer` (a number of the caller's, not 0) known under these addresses, or changes them;
 * nothing happens where they are the same. `directed` "" or NULL: an entry of `peers`, that only
 * gets casts. `broadcast` "": a stranger that is answered, and gets none. Two peers must not have
 * the same broadcast address: it would get each cast twice. -EINVAL a malformed address or peer 0;
 * -ENOSPC PH_BUS_PEERS_MAX are known; -ENOMEM.
 */
PH_MUST_CHECK int ph_buslink_dial(struct ph_buslink *link, uint32_t peer, const char *broadcast,
	const char *directed, struct ph_err *err);

/* Forgets a peer and what is queued for it; fine where it is unknown. */
void ph_buslink_hangup(struct ph_buslink *link, uint32_t peer);

/* Takes the peer's connections down and dials again, for a link that has gone quiet; what is
 * queued stays. Fine where it is unknown. */
void ph_buslink_mend(struct ph_buslink *link, uint32_t peer);

/*
 * To every dialled peer, once, in no promised order with directed messages; may be lost anywhere.
 * -EMSGSIZE empty or over PH_BUS_MESSAGE_MAX; -ENOTCONN no bus process now; -ENOBUFS the queue is
 * full; -ENOMEM. After an error it is dropped (and counted).
 */
int ph_buslink_cast(struct ph_buslink *link, const void *bytes, size_t n);

/*
 * To one peer, in order; kept while the peer is away, at most 1024 messages and 4 MiB a peer (the
 * oldest go first) and `ttl_ms` (0: no limit). Errors as ph_buslink_cast(), but it waits for a
 * bus process that is away; -EDESTADDRREQ the peer is unknown or has no directed address.
 */
int ph_buslink_send(
	struct ph_buslink *link, uint32_t peer, const void *bytes, size_t n, uint32_t ttl_ms);

/* The process, or 0 while there is none. */
pid_t ph_buslink_pid(const struct ph_buslink *link);
/* Whether it runs and has taken the addresses. */
bool ph_buslink_is_up(const struct ph_buslink *link);
void ph_buslink_stats(const struct ph_buslink *link, struct ph_buslink_stats *ret_stats);

#endif
