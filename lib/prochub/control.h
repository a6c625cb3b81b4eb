/*
 * prochub/control.h - children at run time: a program's side of the control socket.
 *
 * What prochubctl does, for programs: add children to the cluster, remove them, wait for them, and
 * any other verb by prochub_control_call(). It has nothing to do with being a worker, and whoever
 * may use prochubctl (root, and members of the group `prochub`) may use it.
 *
 * Calls block, up to the time that they are given; there is no event loop, no thread and no signal
 * handler (a call goes on after EINTR). One context is used by one thread at a time. The context
 * keeps its connection; where that was lost, by a daemon that was restarted say, the next call
 * makes a new one, so that a context may be kept for as long as the program runs.
 *
 *	struct prochub_control *c = prochub_control_open(NULL);
 *	if (c && prochub_control_add(c, "job: {command: [/usr/bin/job]}", 0, 10000) < 0)
 *		fprintf(stderr, "%s (%s)\n", prochub_control_text(c), prochub_control_code(c));
 *	prochub_control_close(c);
 *
 * Errors: functions return 0, or -1 with errno; prochub_control_code() and _text() say more. These
 * are the codes, each with its errno:
 *
 * exists       EEXIST        a child of that name is there already, with other options
 * not_found    ENOENT        no such child or node
 * bad_request  EINVAL        the text has a mistake: which one and where is in the sentence
 * unknown_op   EINVAL        the daemon has no such verb
 * refused      EBUSY         it is not possible now, or never: the sentence says why
 * timeout      ETIMEDOUT     the daemon says that it was not so in time; what was added is removed
 *                            again, unless PROCHUB_CONTROL_KEEP_GOING
 * partly       EINPROGRESS   some of it was done: prochub_control_answer() has each child
 * failed       EIO           it was tried, and failed (likewise); and any code that is not in this
 *                            list
 * unreachable  ECONNREFUSED  there is no daemon (ENOENT, EACCES and the like are told as such):
 *                            nothing was asked
 * closed       ECONNRESET    the daemon was lost before it had answered: it may be done or not
 * no_answer    ETIMEDOUT     the daemon has not answered in time: likewise
 * too_large    EMSGSIZE      a request of more than 1 MiB, or an answer of more than 256 MiB
 * no_memory    ENOMEM
 *
 * After `closed` and `no_answer` the same call may be made again: what stands there already, with
 * the same options, is no error to prochub_control_add(), but what is gone is one (not_found) to
 * prochub_control_remove().
 */
#ifndef PROCHUB_CONTROL_H
#define PROCHUB_CONTROL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct prochub_control;

/* It is enough that the daemon has it on its disk: do not wait for what follows from it. */
#define PROCHUB_CONTROL_NO_WAIT 1u
/* add: keep what can be added where others exist, fail or are late, instead of all or nothing. */
#define PROCHUB_CONTROL_KEEP_GOING 2u

/*
 * `path`: of the socket; NULL: PROCHUB_CONTROL, else $XDG_RUNTIME_DIR/prochub/control.sock for who
 * is not root and has such a daemon, else /run/prochub/control.sock. Connects to nothing yet. NULL
 * with errno: EINVAL the path is longer than 107 bytes; ENOMEM.
 */
struct prochub_control *prochub_control_open(const char *path);
/* What was asked for goes on. NULL is ignored. */
void prochub_control_close(struct prochub_control *c);

/*
 * Adds the children of a text, YAML or JSON, as it stands below `children:` of a configuration,
 * with that word or without it; at most 1 MiB. They are kept over restarts, whichever node runs
 * them, until they are removed. Returns when all are ready. All or nothing: where one is refused,
 * fails, or is not ready within `timeout_ms` (0: a minute, or twice the longest start_timeout),
 * none is added; what had been started is stopped first, which may last by 120 s longer. What
 * exists already with the very same options counts as added. `flags`: PROCHUB_CONTROL_*.
 */
int prochub_control_add(
	struct prochub_control *c, const char *config, unsigned flags, uint64_t timeout_ms);
/*
 * Removes a child that was added, with all its instances, and returns when nothing of it is left
 * on any node. After `timeout_ms` (0: as long as it takes) it is no_answer, and goes on. `flags`:
 * PROCHUB_CONTROL_NO_WAIT. A child that a file declares is refused. Several at once, of which none
 * is removed where one of them cannot be:
 * prochub_control_call(c, "remove", "{\"children\":[\"a\",\"b\"]}", timeout_ms).
 */
int prochub_control_remove(
	struct prochub_control *c, const char *child, unsigned flags, uint64_t timeout_ms);
/*
 * Returns when the child (NAME, or NAME/INSTANCE) is "ready", "stopped" or "moved"; `timeout` if it
 * is not within `timeout_ms` (0: as long as it takes).
 */
int prochub_control_wait(
	struct prochub_control *c, const char *child, const char *state, uint64_t timeout_ms);
/*
 * Any verb that prochubctl(1) has, where the daemon carries it out: `fields` is a JSON object with
 * its arguments ({"child":"room","instance":3}), or NULL. Waits for its last answer, at most
 * `timeout_ms` (0: as long as it takes). Verbs that go on for ever (follow) are not for this.
 */
int prochub_control_call(
	struct prochub_control *c, const char *verb, const char *fields, uint64_t timeout_ms);

/*
 * About the last call; never NULL; valid until the next one. The answer is the JSON object that
 * `prochubctl --json` prints, "{}" where there was none; of lines before the last one (events,
 * logs) it has the list "lines". Code and text are "" after a success.
 */
const char *prochub_control_answer(const struct prochub_control *c);
const char *prochub_control_code(const struct prochub_control *c);
const char *prochub_control_text(const struct prochub_control *c);

#ifdef __cplusplus
}
#endif

#endif
