/*
 * helper.h - the programs that prochubd starts for itself: prochub-bus and prochub-fence.
 *
 * Decides nothing. A helper runs in a session of its own with the daemon's standard descriptors
 * and environment, default signals, and one descriptor more. Tested by tests/unit/test_buslink.c
 * and tests/unit/test_fence.c.
 */
#ifndef PH_IO_HELPER_H
#define PH_IO_HELPER_H

#include "base/err.h"

#include <sys/types.h>

#define PH_HELPER_FD 3

/*
 * Starts `program` as `name`, with the arguments "3" and, where it is not NULL, `arg`; `fd` becomes
 * its descriptor 3. *ret_pidfd is the caller's to close, the process the caller's to reap.
 * -ENOENT, -EACCES ... it cannot be run; -EMFILE, -ENOMEM, -EAGAIN. Nothing is left then.
 */
PH_MUST_CHECK int ph_helper_start(const char *program, const char *name, const char *arg, int fd,
	pid_t *ret_pid, int *ret_pidfd);

/* Waits for its end, which has come or is about to: the wait status, 0 where it is no child. */
int ph_helper_reap(pid_t pid);

#endif
