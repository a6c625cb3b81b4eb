/*
 * fence.h - prochubd's end of prochub-fence: finds or starts it, renews its lease, keeps its table.
 *
 * Decides when the process is started again, never who may be stopped or for how long the lease
 * holds. What always holds: nothing blocks but ph_fence_open() and ph_fence_close(); at most one
 * fence of a run_dir guards, and one that guards is replaced only once the next one does; a fence
 * that is killed is started again with the same memory, at once, then after 100 ms doubled to 2 s
 * while it dies within a second of its start.
 *
 * The memory is a memfd that only these two processes have: a file would, on a disk that is busy,
 * stop whoever writes the lease. A daemon that comes back finds the running fence in /proc, by its
 * name, its user and the run_dir among its arguments, and the memory among its descriptors; where
 * fence and daemon are both gone, the memory is gone, and nothing has been promised to anybody.
 * The callback comes from the loop only. Tested in tests/unit/test_fence.c.
 */
#ifndef PH_IO_FENCE_H
#define PH_IO_FENCE_H

#include "base/err.h"
#include "base/fence.h"

#include <sys/types.h>

struct event_base;
struct ph_fence;

struct ph_fence_settings {
	const char *program; /* the path of prochub-fence; copied, as is run_dir */
	const char *run_dir; /* exists */
	const char *cgroups; /* folder of those of workers; copied; NULL: they have none */
	uint64_t lease_ms;   /* of a new fence, from now; that of one that runs stays as it is */
	uint64_t grace_ms;
	/* The process ended, and is being started again; `why` is a sentence. */
	void (*ended)(void *arg, const char *why);
	void *arg;
};

/*
 * Takes over the fence of an earlier daemon, or starts one. One whose lease is over is waited for
 * until it has stopped its workers: the grace, and at most 10 s. *ret_guarded: one has been on
 * guard all the time, and has stopped nothing. Errors with a sentence: -ENOENT, -EACCES ... the
 * program cannot be run; -EMFILE, -ENOMEM.
 */
PH_MUST_CHECK int ph_fence_open(struct event_base *base, const struct ph_fence_settings *settings,
	struct ph_fence **ret_fence, bool *ret_guarded, struct ph_err *err);

/* `end`: the fence too, and with it its table. Otherwise it is left alone, and does its work when
 * the lease is over. NULL is fine. */
void ph_fence_close(struct ph_fence *fence, bool end);

/* Ends the fences that earlier daemons of this run_dir have left, but those that have fired. */
void ph_fence_end_all(const char *run_dir);

/* The lease holds until then, and no longer. False: it was over, and the fence has fired. */
bool ph_fence_lease(struct ph_fence *fence, uint64_t until_ms);
bool ph_fence_has_fired(const struct ph_fence *fence);
/* Until when it holds now; PH_FENCE_FIRED: it was over. */
uint64_t ph_fence_lease_until(const struct ph_fence *fence);

/* After it has fired: leaves that fence to its work, and starts another one, whose table is empty:
 * the places of the old one mean nothing any more. Errors: -EMFILE, -ENOMEM; then nothing is
 * changed. */
PH_MUST_CHECK int ph_fence_renew_all(struct ph_fence *fence, uint64_t lease_until_ms);

/* A place for a worker. -ENOSPC: PH_FENCE_ENTRIES are there. */
PH_MUST_CHECK int ph_fence_put(
	struct ph_fence *fence, const struct ph_fence_worker *worker, uint32_t *ret_place);
void ph_fence_change(struct ph_fence *fence, uint32_t place, const struct ph_fence_worker *worker);
void ph_fence_drop(struct ph_fence *fence, uint32_t place);
/* Has nobody a place? */
bool ph_fence_is_empty(const struct ph_fence *fence);
/* All workers of an earlier daemon that still live have been put: the others go. */
void ph_fence_settled(struct ph_fence *fence);

/* True, once for each process that has started: what it had to do without (an errno, or 0). */
bool ph_fence_news(struct ph_fence *fence, int *ret_lock_error, int *ret_realtime_error);

/* The process, or 0 while there is none. */
pid_t ph_fence_pid(const struct ph_fence *fence);

#endif
