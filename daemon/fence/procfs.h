/*
 * procfs.h - what prochub-fence reads of processes and their cgroups, without allocating anything.
 *
 * Decides nothing. For one thread. Tested by tests/unit/test_fence.c, with the program itself.
 */
#ifndef PH_FENCE_PROCFS_H
#define PH_FENCE_PROCFS_H

#include "base/fence.h"
#include "base/procstat.h"

#define PH_FENCE_TOKEN_TEXT (2 * PH_FENCE_TOKEN_SIZE + 1)

/* False: no such process, or it may not be read. */
bool ph_procfs_stat(pid_t pid, struct ph_proc_stat *ret);

/* Is this process the one of that pid that began then? */
bool ph_procfs_is(pid_t pid, uint64_t start_time, struct ph_proc_stat *ret);

/* The PROCHUB_TOKEN of its environment, as text, whatever that is: 1; 0: there is none; -EAGAIN: it
 * executes a program, and has no environment for that moment. */
int ph_procfs_token(pid_t pid, char ret[PH_FENCE_TOKEN_TEXT]);

/* Calls `fn` for every pid in /proc. */
void ph_procfs_each(void (*fn)(void *arg, pid_t pid), void *arg);

/* Calls `fn` for the path and the mark (see ph_token_mark()) of every cgroup of a worker there. */
void ph_procfs_each_cgroup(
	const char *dir, void (*fn)(void *arg, const char *path, uint64_t mark), void *arg);
/* Is a process in it or below? False where it is not there. */
bool ph_procfs_cgroup_lives(const char *path);
/* SIGKILL to all that is in it and below, from Linux 5.14 on. */
void ph_procfs_cgroup_kill(const char *path);

#endif
