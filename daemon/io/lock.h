/*
 * lock.h - the directories of the daemon, and the lock that keeps a second one out of them.
 *
 * Always holds: while the descriptor is open, no other process has taken the lock of that
 * directory. It is close-on-exec and goes with the process, however that ends. Tested in
 * tests/unit/test_io_file.c.
 */
#ifndef PH_IO_LOCK_H
#define PH_IO_LOCK_H

#include "base/err.h"

#include <stdbool.h>
#include <sys/types.h>

/*
 * Makes sure that `path` (absolute) is a directory of ours; makes it with `mode`, and its parents
 * with 0755, where missing. `secret`: refuses one that others can read or write; else refuses one
 * that group or others can write, unless it is sticky.
 * Errors with a sentence: -EINVAL not absolute, -ENOTDIR, -EPERM another owner or too open, -errno
 * of mkdir.
 */
PH_MUST_CHECK int ph_lock_prepare_dir(
	const char *path, mode_t mode, bool secret, struct ph_err *err);

/*
 * Takes `dir`/lock and writes our pid into it. *ret_fd is to be kept open for as long as the daemon
 * lives. Errors with a sentence: -EBUSY another daemon has it (names its pid), -errno of open.
 */
PH_MUST_CHECK int ph_lock_take(const char *dir, int *ret_fd, struct ph_err *err);

#endif
