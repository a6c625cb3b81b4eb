/*
 * unixsock.h - a listening Unix stream socket that knows its peers.
 *
 * Decides nothing: each connection goes up with the peer's credentials. Bounded: at most
 * PH_UNIXSOCK_TURN connections a turn; without free descriptors it pauses for 100 ms in place of
 * spinning. Tested in tests/unit/test_io_unixsock.c.
 */
#ifndef PH_IO_UNIXSOCK_H
#define PH_IO_UNIXSOCK_H

#include "base/err.h"

#include <sys/socket.h>
#include <sys/types.h>

#define PH_UNIXSOCK_PATH_MAX 107 /* bytes of a path that fit into sockaddr_un, without the NUL */
#define PH_UNIXSOCK_BACKLOG 4096 /* the kernel caps it at net.core.somaxconn */
#define PH_UNIXSOCK_TURN 64
#define PH_UNIXSOCK_PAUSE_MS 100

struct event_base;
struct ph_unixsock;

/* Takes `fd` (non-blocking, close-on-exec). `peer` is what the kernel says: pid, uid, gid at
 * connect. */
typedef void ph_unixsock_fn(void *arg, int fd, const struct ucred *peer);

/*
 * Listens at `path` with `mode` and, unless gid is (gid_t)-1, that group. A socket that stands
 * there is removed: call it only under the lock of the directory. Errors with a sentence:
 * -ENAMETOOLONG (with the number of bytes), -EEXIST something that is no socket stands there,
 * -errno of bind, chown, chmod, listen. After an error nothing is left at `path`, but what was not
 * ours to remove.
 */
PH_MUST_CHECK int ph_unixsock_open(struct event_base *base, const char *path, mode_t mode,
	gid_t gid, ph_unixsock_fn *fn, void *arg, struct ph_unixsock **ret, struct ph_err *err);

/*
 * The same with a socket that listens there already, whoever has opened it: nobody who connects
 * meanwhile is refused. Takes `fd`; one that is another socket is closed, and `path` opened anew.
 */
PH_MUST_CHECK int ph_unixsock_take(struct event_base *base, int fd, const char *path, mode_t mode,
	gid_t gid, ph_unixsock_fn *fn, void *arg, struct ph_unixsock **ret, struct ph_err *err);

int ph_unixsock_fd(const struct ph_unixsock *sock); /* borrowed */

/* Closes it and removes its path; connections that were accepted live on. May be NULL. */
void ph_unixsock_close(struct ph_unixsock *sock);

#endif
