/*
 * shell_ctl_full.h - who gives way where the control socket has all the connections it may have.
 *
 * Decides by what each of them does and whose it is, so that neither a program that forgets its
 * connections nor one that follows too much locks an operator out: first the one that has been
 * idle for longest; then the newest one of whoever has more than the newcomer, by user, then by
 * process; then the newest one that has followed something for a while. Short requests go on. Pure;
 * it must not know a connection. Tested by tests/unit/test_ctl_conn.c.
 */
#ifndef PH_SHELL_CTL_FULL_H
#define PH_SHELL_CTL_FULL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PH_CTL_IDLE_MS 1000	/* what is quiet for less may have a request on its way */
#define PH_CTL_FOLLOWS_MS 10000 /* a request that is open for longer follows something */

struct ph_ctl_peer {
	uid_t uid;
	pid_t pid;
	bool idle;	   /* no request of it is open, and all answers are written */
	uint64_t since_ms; /* of its last request or answer; the newcomer's is now */
};

/* Its index; `n` where nobody does. */
size_t ph_ctl_gives_way(
	const struct ph_ctl_peer *peers, size_t n, const struct ph_ctl_peer *newcomer);

#endif
