/*
 * spawn_clone.h - the system call that makes a child process which borrows the daemon's memory.
 *
 * Only for spawn.c. Where the kernel and the machine allow it, the child is born in its cgroup (a
 * process that moves there itself waits for locks of all other processes), and the caller goes on
 * at once: a start is mostly the child's own work, which another processor can do. Tested in
 * tests/unit/test_spawn.c.
 */
#ifndef PH_IO_SPAWN_CLONE_H
#define PH_IO_SPAWN_CLONE_H

#include <stdint.h>
#include <sys/types.h>

struct ph_spawn_task;

/* What a child has of the daemon until it has executed or ended. Zero it first; the stack is kept
 * for the next child, of which there is one at a time. */
struct ph_spawn_lent {
	char *stack;
	uint32_t held; /* not 0: the child still has it; the kernel clears it */
};

/*
 * Makes a child in which ph_spawn_child(task) runs; *task, what it points to and *lent are the
 * child's until ph_spawn_clone_wait(). With `cgroup` (a folder of the cgroup v2 tree) the child is
 * in it from its first moment, or there is none. Signals are blocked by the caller. 0, or -errno;
 * -EOPNOTSUPP (only with `cgroup`): not here.
 */
int ph_spawn_clone(struct ph_spawn_task *task, const char *cgroup, struct ph_spawn_lent *lent,
	pid_t *ret_pid, int *ret_pidfd);

/*
 * Returns when the child has executed or ended. One that has done neither within
 * PH_SPAWN_PATIENCE_MS (its file lies on a file system that does not answer) is killed: -ETIMEDOUT.
 */
#define PH_SPAWN_PATIENCE_MS 5000
int ph_spawn_clone_wait(struct ph_spawn_lent *lent, int pidfd);

#endif
