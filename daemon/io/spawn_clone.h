/*
 * spawn_clone.h - the system call that makes a child process which borrows the daemon's memory.
 *
 * Only for spawn.c. Where the kernel and the machine allow it, the child is born in its cgroup (a
 * process that moves there itself waits for locks of all other processes), and the caller goes on
 * at once: a start is mostly the child's own work, which another processor can do. Tested in
 * tests/unit/test_spawn_ahead.c.
 */
#ifndef PH_IO_SPAWN_CLONE_H
#define PH_IO_SPAWN_CLONE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct ph_spawn_task;

/* What a child has of the daemon until it has executed or ended. */
struct ph_spawn_lent {
	char *stack;
	char *bytes;	   /* that it writes to; NULL: none */
	uint32_t held;	   /* not 0: the child still has it; the kernel clears it */
	int pidfd;	   /* of a child that was given up, for who waits for its end ... */
	uint64_t likeness; /* ... and counts those that are alike */
	struct ph_spawn_lent *next;
};

/* NULL without memory. What is held may not be freed. */
struct ph_spawn_lent *ph_spawn_lent_new(void);
void ph_spawn_lent_free(struct ph_spawn_lent *lent); /* NULL is fine */

/*
 * Makes a child in which ph_spawn_child(task) runs; *task, what it points to and *lent are the
 * child's until ph_spawn_clone_wait() says that it is over. With `cgroup` (a folder of the cgroup
 * v2 tree) the child is in it from its first moment, or there is none. Signals are blocked by the
 * caller. 0, or -errno; -EOPNOTSUPP (only with `cgroup`): not here.
 */
int ph_spawn_clone(struct ph_spawn_task *task, const char *cgroup, struct ph_spawn_lent *lent,
	pid_t *ret_pid, int *ret_pidfd);

/* Waits until the child has executed or ended, but no longer than that. Is it so? Time in which
 * this process itself stood still does not count. */
bool ph_spawn_clone_wait(struct ph_spawn_lent *lent, int pidfd, uint64_t ms);

/* Waits for the end of the process, but no longer than that. Has it ended? */
bool ph_spawn_clone_has_ended(int pidfd, int ms);

#endif
