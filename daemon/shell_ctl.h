/*
 * shell_ctl.h - the control socket: what people and their programs ask of this node.
 *
 * Decides how a request is checked and how an answer looks (INTERFACE.md); what an order does is
 * core's to decide. One table of verbs (shell_ctl_verbs.c): name, fields with types, function.
 * Always holds: every request gets exactly one last answer unless its connection ends first; a bad
 * line ends only the connection that it came on; nothing is held for a connection that is gone.
 * Tested by tests/unit/test_ctl_verbs.c (with a hub that is made up) and
 * tests/unit/test_ctl_conn.c.
 */
#ifndef PH_SHELL_CTL_H
#define PH_SHELL_CTL_H

#include <sys/types.h>

#include "base/err.h"

struct ph_action;
struct ph_shell;
struct ph_shell_ctl;

/*
 * Listens at `path` (under the lock of its directory) with `mode` and, unless gid is (gid_t)-1,
 * that group. Errors with a sentence: those of ph_unixsock_open(), -ENOMEM.
 */
PH_MUST_CHECK int ph_shell_ctl_new(struct ph_shell *shell, const char *path, mode_t mode, gid_t gid,
	struct ph_shell_ctl **ret, struct ph_err *err);

/* Writes what can be written without waiting, closes all connections and removes the socket;
 * posts no events. NULL is fine. */
void ph_shell_ctl_free(struct ph_shell_ctl *ctl);
int ph_shell_ctl_fd(const struct ph_shell *shell); /* of the socket that listens; borrowed */

/* Carries out ANSWER and CHANGED. `ctl` NULL: nothing. */
void ph_shell_ctl_act(struct ph_shell_ctl *ctl, const struct ph_action *action);

#endif
