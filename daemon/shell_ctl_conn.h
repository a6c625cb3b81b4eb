/*
 * shell_ctl_conn.h - the connections of the control socket: lines in, lines out, all bounded.
 *
 * Decides framing and what a client may cost: PH_CTL_CONNS connections, PH_CTL_OPEN requests
 * without a last answer on each, lines of PH_LINE_MAX bytes (PH_LINE_MAX_ADD, where they add
 * children), PH_CTL_OUTPUT bytes that wait to be
 * read, 10 s in which a reader takes nothing. Where there are all of them, one gives way to the
 * next (shell_ctl_full.h), and is told so. It must not know any verb; SIGPIPE is ignored by the
 * process. Always holds: a line that is no request is answered with an error and ends its
 * connection only; `closed` comes once for each connection of which a request was handed up, from
 * the loop, and nothing after it. Tested by tests/unit/test_ctl_conn.c.
 */
#ifndef PH_SHELL_CTL_CONN_H
#define PH_SHELL_CTL_CONN_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

#define PH_CTL_CONNS 256u
#define PH_CTL_OPEN 1024u
#define PH_CTL_OUTPUT (64u << 20)
#define PH_CTL_PATIENCE_MS 10000

struct event_base;
struct ph_ctl_conns;
struct ph_ctl_conn;

struct ph_ctl_callbacks {
	/* A request, to be answered now or later; `op` and `args` are borrowed. */
	void (*request)(
		void *arg, struct ph_ctl_conn *conn, const char *op, uint64_t req, json_t *args);
	/* The connection is gone: what it still waited for is for nobody. */
	void (*closed)(void *arg, struct ph_ctl_conn *conn);
};

/* `fd`: taken, one that listens at `path`, or -1. Errors with a sentence: those of
 * ph_unixsock_open(), -ENOMEM. */
PH_MUST_CHECK int ph_ctl_conns_new(struct event_base *base, int fd, const char *path, mode_t mode,
	gid_t gid, const struct ph_ctl_callbacks *callbacks, void *arg, struct ph_ctl_conns **ret,
	struct ph_err *err);
/* Writes what can be written at once, then closes all; no `closed`. NULL is fine. */
void ph_ctl_conns_free(struct ph_ctl_conns *conns);
int ph_ctl_conns_fd(const struct ph_ctl_conns *conns); /* borrowed */

/*
 * A line of an answer. `fields` (an object, or NULL) is taken; NULL where memory was short gives an
 * error line. A connection that cannot take it is closed, from the loop.
 */
void ph_ctl_conn_answer(struct ph_ctl_conn *conn, uint64_t re, json_t *fields, bool more);
/* A refusal, which is a last line: `code` a word, `text` a sentence; `fields` (may be NULL) is
 * taken. */
void ph_ctl_conn_refuse(
	struct ph_ctl_conn *conn, uint64_t re, const char *code, const char *text, json_t *fields);

/* Bytes that wait until it reads them. */
size_t ph_ctl_conn_backlog(const struct ph_ctl_conn *conn);

#endif
