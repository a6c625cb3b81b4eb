/*
 * control_socket.h - where the control socket is, and a connection to it: for prochubctl and the
 * libraries.
 *
 * Decides the path: the one that is given, else PROCHUB_CONTROL, else that of one's own daemon,
 * else (for those who have none of their own) that of the system's.
 * Tested by tests/e2e/test_ctl_fake.py and tests/unit/test_control.c.
 */
#ifndef PH_PROTO_CONTROL_SOCKET_H
#define PH_PROTO_CONTROL_SOCKET_H

#include <sys/un.h>

#include "base/err.h"

#define PH_CONTROL_PATH_SIZE sizeof(((struct sockaddr_un *)0)->sun_path)

/* `given` may be NULL or empty. -EINVAL: the path is too long, with its length in `err`. */
PH_MUST_CHECK int ph_control_find(
	const char *given, char ret_path[PH_CONTROL_PATH_SIZE], struct ph_err *err);

/*
 * Connects; *ret is the descriptor, which does not block, closed by the caller. Waits at most 5 s
 * where the daemon's queue is full. Errors, each with the path and a hint in `err`: what socket(2)
 * and connect(2) said; -ETIMEDOUT.
 */
PH_MUST_CHECK int ph_control_connect(const char *path, int *ret, struct ph_err *err);

#endif
