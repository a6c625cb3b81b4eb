/*
 * kin.h - processes that descend from workers: whose they are, and their certain end.
 *
 * Decides nothing: which worker has to go is the caller's business. A process that has left the
 * session of its worker is known by its parents, and once these are gone by its environment. The
 * daemon is the reaper of orphans (prctl(2), PR_SET_CHILD_SUBREAPER), so those of its own workers
 * become its children, and it waits for them; those of a worker that it has adopted have another
 * reaper, and only a walk through /proc finds them. What always holds: a signal goes through a
 * pidfd that was opened before the process was looked at, and so never to a stranger.
 *
 * For the loop's thread. Tested in tests/unit/test_io_kin.c and tests/e2e/test_kill.py.
 */
#ifndef PH_IO_KIN_H
#define PH_IO_KIN_H

#include "base/err.h"
#include "io/proc.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* ---- the daemon's own children: whoever starts one waits for it himself */

void ph_kin_own(pid_t pid);
void ph_kin_disown(pid_t pid);

/* From now on orphans come to this process. 0 or -errno. */
int ph_kin_become_reaper(void);
/* Waits for orphans that have ended. Returns how many there were. */
size_t ph_kin_reap_orphans(void);

/* ---- descendants */

#define PH_KIN_MAX 256 /* that are remembered of one worker */

struct ph_kin {
	pid_t pid;
	uint64_t start_time;
};
struct ph_kin_list {
	unsigned doubts; /* processes whose environment was empty, as while they execute */
	size_t n;
	struct ph_kin v[PH_KIN_MAX];
};

/* Adds what descends from `root` now, as far as there is room; `root` itself is left out. */
void ph_kin_note(struct ph_kin_list *list, pid_t root);
/*
 * SIGKILL to the process and to all that descends from it, each stopped before its children are
 * looked for, so that none slips away. False: no such process lives. It is told to `killed` (may be
 * NULL), as far as there is room.
 */
bool ph_kin_kill(const struct ph_kin *kin, struct ph_kin_list *killed);

/* ---- by environment */

/* Of whom a process is looked for. */
struct ph_kin_mark {
	const char *socket_path; /* PROCHUB_SOCKET */
	const char *token;	 /* PROCHUB_TOKEN */
	uint64_t start_time;	 /* of the worker: nothing of it is older */
	/* One whose token was taken out of its environment is known by these too, where no other
	 * worker of that name is there; NULL: one is. */
	const char *child;
	uint32_t instance, replica;
};

bool ph_kin_is(const struct ph_proc_worker *process, const struct ph_kin_mark *mark);
/* Is that living process of the worker? Then 1, and *ret names it from then on; 0: no; -EAGAIN: its
 * environment is empty, as it is for a moment while it executes a program. */
int ph_kin_matches(pid_t pid, const struct ph_kin_mark *mark, struct ph_kin *ret);
/* Has this process children that it has not started itself? */
bool ph_kin_has_orphans(void);
/* Kills those orphans of this process that are of the worker, and returns how many. */
size_t ph_kin_kill_orphans(const struct ph_kin_mark *mark, struct ph_kin_list *killed);

/* A walk through all processes, in pieces. */
struct ph_kin_walk;
/* NULL without memory or descriptors. */
struct ph_kin_walk *ph_kin_walk_new(void);
void ph_kin_walk_free(struct ph_kin_walk *walk); /* NULL is fine */
/* Looks at `n` more processes, and calls `fn` for those whose environment has that socket. *doubts
 * counts those whose environment was empty. False: it has seen all. */
bool ph_kin_walk_on(struct ph_kin_walk *walk, unsigned n, const char *socket_path,
	ph_proc_worker_fn *fn, void *arg, unsigned *doubts);

#endif
