/*
 * procfs.h - what prochub-fence reads of processes, without allocating anything.
 *
 * Decides nothing. For one thread. Tested by tests/unit/test_fence.c, with the program itself.
 */
#ifndef PH_FENCE_PROCFS_H
#define PH_FENCE_PROCFS_H

#include "base/fence.h"
#include "base/procstat.h"

/* False: no such process, or it may not be read. */
bool ph_procfs_stat(pid_t pid, struct ph_proc_stat *ret);

/* Is this process the one of that pid that began then? */
bool ph_procfs_is(pid_t pid, uint64_t start_time, struct ph_proc_stat *ret);

/* Does its environment hold this PROCHUB_TOKEN? */
bool ph_procfs_has_token(pid_t pid, const uint8_t token[PH_FENCE_TOKEN_SIZE]);

/* Calls `fn` for every pid in /proc. */
void ph_procfs_each(void (*fn)(void *arg, pid_t pid), void *arg);

#endif
