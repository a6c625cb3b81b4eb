/*
 * listen.h - listening sockets that are opened here and used by somebody else.
 *
 * Decides nothing: nobody accepts here. A descriptor is close-on-exec until it is passed on, and
 * blocking, as programs that take LISTEN_FDS expect. Tested in tests/unit/test_io_listen.c.
 */
#ifndef PH_IO_LISTEN_H
#define PH_IO_LISTEN_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define PH_LISTEN_BACKLOG 4096 /* the kernel caps it at net.core.somaxconn */

struct ph_listen_at {
	const char *path; /* of a Unix socket; NULL: TCP */
	const char *host; /* numeric, without brackets */
	uint16_t port;
	bool beside; /* TCP: where another address of this port is open, by ph_listen_share() */
};

/*
 * Opens a stream socket that listens there. TCP has SO_REUSEADDR; a Unix socket has mode 0666, and
 * takes the place of one that nobody listens at any more. Errors with a sentence: -EADDRINUSE
 * somebody listens there, -EADDRNOTAVAIL no address of this machine (yet), -EACCES, -EEXIST
 * something else than a socket stands there, -errno of others.
 */
PH_MUST_CHECK int ph_listen_open(const struct ph_listen_at *at, int *ret_fd, struct ph_err *err);

/*
 * Lets a socket of this user listen beside `fd`, or no more: at one address of its port where `fd`
 * has all of them, or the other way round. 0 or -errno.
 */
int ph_listen_share(int fd, bool on);

/* Is `fd` a socket that listens exactly there? */
bool ph_listen_is(int fd, const struct ph_listen_at *at);

/*
 * A duplicate of the descriptor of process `pid` that listens there: number `guess`, else any.
 * -ENOENT it has none, -EPERM it may not be looked into, -ESRCH it is gone.
 */
PH_MUST_CHECK int ph_listen_take(
	int pidfd, pid_t pid, int guess, const struct ph_listen_at *at, int *ret_fd);

/* The file of a Unix socket, to know it again: both 0 where there is none. */
struct ph_listen_file {
	dev_t device;
	ino_t inode;
};
struct ph_listen_file ph_listen_file(const struct ph_listen_at *at);
/* Removes the path while it is still that file. */
void ph_listen_unlink(const struct ph_listen_at *at, struct ph_listen_file file);

#endif
