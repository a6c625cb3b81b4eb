/*
 * prochub/worker.h - a worker's side of prochub: supervision, state handover, roles, lookups.
 *
 * The library connects to the daemon that started this program, reconnects by itself, and calls
 * you back. It has no event loop, no thread and no signal handler of its own: either give it your
 * loop (prochub_fd, prochub_timeout_ms, prochub_dispatch) or let prochub_run() be the loop.
 * Nothing blocks but prochub_run(). One context is used by one thread.
 *
 * The life of a worker:
 *   activate        serve from now on (prochub_is_active); prochub_ready() tells your address.
 *   ask             may your state be handed over? (optional; without it: yes)
 *   estimate        how large will what you hand over be? (optional; it is shown to people)
 *   freeze          stop changing your state, answer no more updates.
 *   save, read      give the state (prochub_send_state() in save, or in pieces from read).
 *   resume          it was called off: go on as if nothing had happened.
 *   committed       another one owns it now: send your clients there. prochub_retention_handled()
 *                   says that you are done with that.
 *   conflict        the same, where two owners have met and the other one goes on: freeze and
 *                   save follow, then stop (optional).
 *   load, loaded    the new worker: pieces come, then `loaded` says whether they are the whole
 *                   state (ok 1: apply it) or not (ok 0: forget them). Nothing is to be applied
 *                   before. Then `activate`, or `abort`: exit without a trace.
 *   stop            finish within grace_ms; the default is to leave prochub_run().
 * A frozen worker that loses its daemon stays frozen until it hears resume or committed.
 *
 * Errors: functions return 0 (or what they say) on success, -1 with errno otherwise.
 */
#ifndef PROCHUB_WORKER_H
#define PROCHUB_WORKER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct prochub;

/* What this worker can do; HANDOVER is needed for any of the state callbacks. */
#define PROCHUB_CAP_HANDOVER 1u /* hands its state over and takes one */
#define PROCHUB_CAP_ASK 2u	/* wants to be asked before anything is started elsewhere */
#define PROCHUB_CAP_ROUNDS 4u	/* serves on while it sends snapshots, frozen for the last delta */
#define PROCHUB_CAP_REDIRECT 8u /* redirects its clients when committed */
#define PROCHUB_CAP_ROLE 16u	/* knows active and standby replicas */

/* What `ask` returns: 0 to accept, or */
#define PROCHUB_BUSY 1	       /* not now (see prochub_retry_after) */
#define PROCHUB_NEVER 2	       /* this process will not be moved */
#define PROCHUB_INCOMPATIBLE 3 /* my state does not fit there */

/* What `offer`, `load` and `loaded` return: 0, or why the state is rejected */
#define PROCHUB_REJECT_FORMAT 1
#define PROCHUB_REJECT_VERSION 2
#define PROCHUB_REJECT_TOO_LARGE 3
#define PROCHUB_REJECT_NO_MEMORY 4

/* What `read` may return besides a number of bytes */
#define PROCHUB_END 0	   /* this round is complete */
#define PROCHUB_FAILED -1  /* it cannot be sent: the handover is given up */
#define PROCHUB_NOT_YET -2 /* call prochub_read_more() when there is more */

/* A handover that `ask` or `offer` is about; valid during the call. */
struct prochub_handover {
	const char *peer;	 /* the other node */
	const char *format;	 /* offer: of the state that comes */
	uint64_t version;	 /* offer */
	uint64_t epoch;		 /* of the ownership that would result */
	uint64_t bytes_estimate; /* offer: 0 where unknown */
	uint64_t max_bytes;	 /* 0 where it was not told (ask before anything is started) */
};

/* All optional. `arg` is options.arg. A context must not be closed inside a callback. */
struct prochub_callbacks {
	/* You own the child from now on, with this epoch; may come again with a higher one, and
	 * then before `resume` where a handover was called off. */
	void (*activate)(struct prochub *p, void *arg, uint64_t epoch);
	/* You are a standby: serve nothing, write nothing, claim nothing. */
	void (*standby)(struct prochub *p, void *arg);

	int (*ask)(struct prochub *p, void *arg, const struct prochub_handover *h);
	void (*freeze)(struct prochub *p, void *arg, uint64_t deadline_ms);
	/*
	 * Round `round` begins: 0 is the whole state, later ones what changed since the round
	 * before. The same round may begin again after a lost connection; give it whole again.
	 * After `freeze` comes one last round with final 1.
	 */
	void (*save)(struct prochub *p, void *arg, unsigned round, int final);
	/* The next bytes of the round, behind those of prochub_send_state(). */
	ssize_t (*read)(struct prochub *p, void *arg, unsigned round, void *buf, size_t size);
	void (*resume)(struct prochub *p, void *arg, const char *reason);
	/* `meta`: the new worker's metadata, JSON text or NULL. */
	void (*committed)(struct prochub *p, void *arg, const char *node, const char *meta,
		uint64_t retention_ms);

	int (*offer)(struct prochub *p, void *arg, const struct prochub_handover *h);
	int (*load)(struct prochub *p, void *arg, unsigned round, const void *bytes, size_t n);
	int (*loaded)(
		struct prochub *p, void *arg, unsigned round, int final, uint64_t bytes, int ok);
	void (*abort)(struct prochub *p, void *arg, const char *reason);

	void (*stop)(struct prochub *p, void *arg, uint64_t grace_ms, const char *reason);
	/* `instances`: a JSON list, or NULL where the child is not known; `more`: not the last. */
	void (*found)(struct prochub *p, void *arg, uint64_t req, const char *child,
		const char *instances, int more);
	void (*changed)(
		struct prochub *p, void *arg, const char *child, const char *instances, int more);
	/* A sentence for the log: a refused message, a lost connection. */
	void (*note)(struct prochub *p, void *arg, const char *text);
	/*
	 * The handover is accepted and begins: about so many bytes will come in all its rounds, 0
	 * where that is not known. For people only, who see how far it is. May be asked again.
	 */
	uint64_t (*estimate)(struct prochub *p, void *arg);
	/*
	 * After a partition has healed another copy of the child goes on, that of `node`, under
	 * `epoch`. What follows is as in a handover: freeze, save, and then stop; the state is kept
	 * in a file of this node.
	 */
	void (*conflict)(struct prochub *p, void *arg, const char *node, uint64_t epoch);
	/* New ones are added here, behind the last: options.size tells which of them you know. */
};

struct prochub_accepts {
	const char *format;
	uint64_t min, max;
};

struct prochub_options {
	size_t size;	    /* sizeof(struct prochub_options), of the header you were built with */
	unsigned caps;	    /* PROCHUB_CAP_* */
	const char *format; /* of the state, at most 31 bytes; NULL without HANDOVER */
	uint64_t version;
	const struct prochub_accepts *accepts; /* what can be loaded; NULL: format, 0 to version */
	size_t n_accepts;		       /* at most 8 */
	struct prochub_callbacks callbacks;
	void *arg; /* stays the last */
};

/*
 * Reads PROCHUB_SOCKET, PROCHUB_TOKEN (and removes it from the environment), PROCHUB_CHILD,
 * PROCHUB_INSTANCE, PROCHUB_NODE, PROCHUB_EPOCH, PROCHUB_ROLE and begins to connect. Texts of
 * the options are copied. NULL with errno:
 * ENOENT    PROCHUB_SOCKET is not set: run by hand; serve alone, or say so and exit;
 * EINVAL    a bad option or a bad token, or a size that this library does not know (it is older
 *           than the header you were built with);  ENOMEM, EMFILE, ENFILE.
 */
struct prochub *prochub_open(const struct prochub_options *options);
/* Closes the connections; NULL is ignored. The daemon sees it as a lost connection. */
void prochub_close(struct prochub *p);

/* One descriptor to wait on, for prochub_events() (POLLIN), the same for the context's life. */
int prochub_fd(const struct prochub *p);
short prochub_events(const struct prochub *p);
/* At most so long may pass until prochub_dispatch() is called; -1: until the descriptor is ready.
 */
int prochub_timeout_ms(const struct prochub *p);
/* Does what can be done without waiting, and calls back. -1 only for ENOMEM and broken epoll. */
int prochub_dispatch(struct prochub *p);

/*
 * Waits and dispatches until prochub_leave(), or until a `stop` or `abort` that no callback of
 * yours took. Returns 0 after `stop` or leave, 1 after `abort`, -1 on an error.
 */
int prochub_run(struct prochub *p);
void prochub_leave(struct prochub *p);
/* For a loop of your own: prochub_run() would return now. */
int prochub_is_leaving(const struct prochub *p);

/* Who am I; from the environment, then from the daemon. Never NULL; valid while open. */
const char *prochub_child(const struct prochub *p);
const char *prochub_node(const struct prochub *p);
unsigned prochub_instance(const struct prochub *p);
uint64_t prochub_epoch(const struct prochub *p);
int prochub_is_active(const struct prochub *p);	   /* active, and neither frozen nor handed over */
int prochub_is_committed(const struct prochub *p); /* another one owns the child now */
int prochub_is_connected(const struct prochub *p);

/*
 * Can serve, whenever this worker is the active one: may be said at once after prochub_open(),
 * and the library tells the daemon after each activation and reconnection. `meta`: a JSON object
 * of at most 4096 bytes, or NULL. EINVAL: no JSON object; EMSGSIZE: too long.
 */
int prochub_ready(struct prochub *p, const char *meta);
int prochub_set_meta(struct prochub *p, const char *meta);
/* A line for people, and a sign of life. ENOTCONN, ENOBUFS: not sent, and no harm done. */
int prochub_status(struct prochub *p, const char *text);
int prochub_watchdog(struct prochub *p);

/* In `save`: bytes of this round, copied; any number of times. ENOMEM; EINVAL outside a round. */
int prochub_send_state(struct prochub *p, const void *bytes, size_t n);
/* After `read` said PROCHUB_NOT_YET. */
void prochub_read_more(struct prochub *p);
/* Before `ask` returns PROCHUB_BUSY: not again before so long. */
void prochub_retry_after(struct prochub *p, uint64_t ms);
/* After `committed`: this process may be stopped. EINVAL: not committed. */
int prochub_retention_handled(struct prochub *p);

/*
 * Asks the registry; `found` is called with the number that is returned (above 0), again after a
 * reconnection if the answer was lost. -1: EINVAL a bad name, ENOBUFS 64 are unanswered.
 */
int64_t prochub_lookup(struct prochub *p, const char *child);
/* Inside `found` and `changed`: the daemon has no word from any other node, so what it says may be
 * out of date. */
int prochub_is_stale(const struct prochub *p);
/* `changed` from now on for a child, or for all whose names begin with `prefix` (one is NULL). */
int64_t prochub_watch(struct prochub *p, const char *child, const char *prefix);
int prochub_unwatch(struct prochub *p, int64_t watch);

#ifdef __cplusplus
}
#endif

#endif
