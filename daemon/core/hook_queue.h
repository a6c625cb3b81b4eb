/*
 * hook_queue.h - which hook is run when, and when it is ended.
 *
 * Decides the order, how many run at once, what is dropped, and the time of each: SIGTERM when its
 * own time is over, SIGKILL PH_HOOK_GRACE_MS later. It must not know what a hook is: runs are
 * numbers. Always holds: at most PH_HOOKS_AT_ONCE run, at most PH_HOOKS_QUEUE events wait, of which
 * the oldest gives way to a newer one; those of a conflict go first and are not dropped (core gives
 * PH_MERGES_MAX at a time). In a stop of the daemon no hook gets more than PH_HOOK_STOP_MS, and
 * once all else is stopped all together get no more. No allocation, no clock: `now_ms` never goes
 * back. Tested by test_core_hook_queue.c.
 */
#ifndef PH_CORE_HOOK_QUEUE_H
#define PH_CORE_HOOK_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/times.h"

#define PH_HOOKS_AT_ONCE 8
#define PH_HOOKS_QUEUE 64
#define PH_HOOK_GRACE_MS 1000 /* between SIGTERM and SIGKILL, which is repeated ... */
#define PH_HOOK_KILLS 5	      /* ... so often, and then it is given up: the kernel holds it */
#define PH_HOOK_STOP_MS 5000  /* what a stop of the daemon waits for hooks */
#define PH_HOOK_TELL_MS 10000 /* between two lines about events that were dropped */
#define PH_HOOK_RUNS_MAX (PH_HOOKS_AT_ONCE + PH_HOOKS_QUEUE + PH_MERGES_MAX)

enum ph_run_state {
	PH_RUN_QUEUED,
	PH_RUN_RUNNING,
	PH_RUN_ASKED,  /* SIGTERM */
	PH_RUN_KILLED, /* SIGKILL */
};

struct ph_run {
	uint64_t id;
	enum ph_run_state state;
	bool first; /* of a conflict */
	unsigned kills;
	uint64_t timeout_ms, until_ms;
};

/* Zero it first. */
struct ph_hook_queue {
	struct ph_run runs[PH_HOOK_RUNS_MAX]; /* in the order of their turns */
	size_t n;
	uint64_t last_id;
	uint64_t dropped, tell_at_ms; /* since that was told; when it may be told again */
	bool stopping, last;
	uint64_t last_at_ms; /* `last`: all are over then */
};

enum ph_run_what {
	PH_RUN_START,	/* `id` */
	PH_RUN_TERM,	/* `id`: SIGTERM to its group: its time is over */
	PH_RUN_KILL,	/* `id`: SIGKILL to its group */
	PH_RUN_ABANDON, /* `id`: it cannot be killed; it is forgotten */
	PH_RUN_DROP,	/* `id`: it will not be run; it is forgotten */
	PH_RUN_TELL,	/* so many (`id`) were dropped */
};

struct ph_run_order {
	enum ph_run_what what;
	uint64_t id;
};

/*
 * One more; returns its number. *ret_dropped: the one that gives way to it (it may be itself), 0:
 * none; that one is forgotten and counted.
 */
uint64_t ph_hook_queue_add(
	struct ph_hook_queue *q, uint64_t timeout_ms, bool first, uint64_t *ret_dropped);
/* What is to be done now; false: nothing more. Call it after each of the others. */
bool ph_hook_queue_next(struct ph_hook_queue *q, uint64_t now_ms, struct ph_run_order *ret);
/* It has ended, or could not be started. */
void ph_hook_queue_end(struct ph_hook_queue *q, uint64_t id);
/* When ph_hook_queue_next() is to be asked again; UINT64_MAX: never. */
uint64_t ph_hook_queue_deadline(const struct ph_hook_queue *q);
/* The daemon is to be stopped; and: there is nothing any more but hooks. */
void ph_hook_queue_stop(struct ph_hook_queue *q, uint64_t now_ms);
void ph_hook_queue_last(struct ph_hook_queue *q, uint64_t now_ms);
/* All are over at once. */
void ph_hook_queue_hurry(struct ph_hook_queue *q, uint64_t now_ms);

#endif
