/*
 * spawn_clone.h - the system call that makes a child process which borrows the daemon's memory.
 *
 * Only for spawn.c. Where the kernel and the machine allow it, the child is born in its cgroup:
 * a process that moves there itself waits for locks of all other processes. Tested in
 * tests/unit/test_spawn.c.
 */
#ifndef PH_IO_SPAWN_CLONE_H
#define PH_IO_SPAWN_CLONE_H

#include <sys/types.h>

struct ph_spawn_task;

/*
 * Returns when ph_spawn_child(task) has executed or ended, in the child never. With `cgroup` (a
 * folder of the cgroup v2 tree) the child is in it from its first moment, or there is none. Signals
 * are blocked by the caller. The child's stack is kept for the next call. 0, or -errno; -EOPNOTSUPP
 * (only with `cgroup`): not here.
 */
int ph_spawn_clone(struct ph_spawn_task *task, const char *cgroup, pid_t *ret_pid, int *ret_pidfd);

#endif
