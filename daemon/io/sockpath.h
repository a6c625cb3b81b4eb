/*
 * sockpath.h - a Unix socket bound to a path with its owner and mode, for unixsock.c and notify.c.
 *
 * Tested through both.
 */
#ifndef PH_IO_SOCKPATH_H
#define PH_IO_SOCKPATH_H

#include "base/err.h"

#include <sys/types.h>

/*
 * A non-blocking socket of `type` bound to `path`; nobody can connect before it has its mode and
 * group. Errors as ph_unixsock_open() lists them.
 */
PH_MUST_CHECK int ph_sockpath_bind(
	const char *path, int type, mode_t mode, gid_t gid, int *ret_fd, struct ph_err *err);

/*
 * `fd` becomes non-blocking and close-on-exec, and its path gets `mode` and `gid`, where it is a
 * socket of `type` that is bound to `path`. -ENOTSOCK it is none, -errno of chmod and chown; then
 * it is the caller's as before.
 */
PH_MUST_CHECK int ph_sockpath_take(int fd, const char *path, int type, mode_t mode, gid_t gid);

/* Removes the path and closes. */
void ph_sockpath_close(int fd, const char *path);

#endif
