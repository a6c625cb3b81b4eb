/*
 * address.h - where the control socket is, and a connection to it.
 *
 * Decides the path: --socket, else PROCHUB_CONTROL, else that of one's own daemon, else (for those
 * who have none of their own) that of the system's. Tested by tests/e2e/test_ctl_fake.py.
 */
#ifndef PH_CTL_ADDRESS_H
#define PH_CTL_ADDRESS_H

#include <sys/un.h>

#include "base/err.h"
#include "ctl/ctl.h"

#define PH_CTL_PATH_SIZE sizeof(((struct sockaddr_un *)0)->sun_path)

/*
 * Connects; *ret is the descriptor, which does not block, closed by the caller; ret_path the path
 * that was tried, also after an error. Waits at most 5 s where the daemon's queue is full.
 * Errors, each with the path and a hint in `err`: -EINVAL the path is too long; else what
 * connect(2) said.
 */
PH_MUST_CHECK int ph_address_connect(
	const struct ph_ctl *ctl, char ret_path[PH_CTL_PATH_SIZE], int *ret, struct ph_err *err);

#endif
