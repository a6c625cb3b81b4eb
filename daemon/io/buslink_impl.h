/*
 * buslink_impl.h - what buslink.c (what others call) and buslink_loop.c (the process and what it
 * says) share; for nobody else.
 */
#ifndef PH_IO_BUSLINK_IMPL_H
#define PH_IO_BUSLINK_IMPL_H

#include "io/buslink.h"
#include "io/busqueue.h"

/* uthash's own hash does not pass clang's -Wimplicit-fallthrough, and it exits without memory */
#define HASH_FUNCTION(key, n, ret) ((ret) = (unsigned)ph_hash_bytes(PH_HASH_SEED, key, n))
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#define PH_BUSLINK_IN_SIZE (4u + PH_BUSFRAME_MAX + PH_BUSLINK_READ_A_TURN)
#define PH_BUSLINK_READ_A_TURN 65536u

struct event;

struct ph_buslink_peer {
	uint32_t id;
	char broadcast[PH_ADDRESS_SIZE], directed[PH_ADDRESS_SIZE];
	uint64_t dropped; /* on this side, not yet told */
	UT_hash_handle hh;
};

struct ph_buslink {
	struct event_base *base;
	char *program;
	struct ph_buslink_callbacks callbacks;
	void *arg;

	pid_t pid; /* 0: none; then the three descriptors and events are not there either */
	int pidfd, fd;
	struct event *on_exit, *on_read, *on_write;
	struct event *start_timer, *bind_timer, *drops_timer;
	bool up;
	uint64_t started_at_ms;
	unsigned backoff_ms;

	uint8_t *in;
	size_t in_n;
	struct ph_busqueue queue;

	char broadcast[PH_ADDRESS_SIZE], directed[PH_ADDRESS_SIZE]; /* own; "" not to be bound */
	struct ph_err bind_told;
	struct ph_buslink_peer *peers;
	uint64_t casts_dropped; /* on this side, not yet told */
	struct ph_buslink_stats stats;
};

/* NULL where it is unknown. */
struct ph_buslink_peer *ph_buslink_find(const struct ph_buslink *link, uint32_t id);
/* A message was given up here; told soon, from the loop. `peer` NULL: a cast. */
void ph_buslink_count_drop(struct ph_buslink *link, struct ph_buslink_peer *peer);
/* Writes what goes, and waits for the rest. */
void ph_buslink_write(struct ph_buslink *link);
/*
 * A command that changes what the process knows (addresses NULL: it has none). It must not get
 * lost: where it cannot be queued the process is put down, and the next one is told everything.
 */
void ph_buslink_control(struct ph_buslink *link, enum ph_busframe kind, uint32_t id,
	const char *broadcast, const char *directed);

/* Makes the timers; what there is of them stays on -ENOMEM. */
PH_MUST_CHECK int ph_buslink_timers(struct ph_buslink *link);
/* Starts a process and watches it. Negative errno: there is none then. */
PH_MUST_CHECK int ph_buslink_start(struct ph_buslink *link);
/* Kills it; the loop learns of its end. */
void ph_buslink_put_down(struct ph_buslink *link);
/* Closes what belongs to the process that has ended or ends now, and reaps it: its wait status. */
int ph_buslink_reap(struct ph_buslink *link);
void ph_buslink_event_drop(struct event **event);

#endif
