/*
 * hook.h - one run of a hook: a process with a text on its standard input, whose output is read.
 *
 * Decides nothing: when it is signalled is the caller's business. The text is a file in memory, so
 * that whatever the program does with it nobody waits; what the program writes to standard output
 * and error goes up line by line, at most PH_HOOK_LINES of them and PH_HOOK_LINE_BYTES of each; the
 * rest is read, slowly, and counted, so that a program that says much is neither stopped nor costs
 * much. It has a session of its own, and no descriptor but 0, 1 and 2. When it has ended, what is
 * left of its process group is killed; who has left the group is on its own.
 * Tested in tests/unit/test_io_hook.c.
 */
#ifndef PH_IO_HOOK_H
#define PH_IO_HOOK_H

#include "io/child.h"
#include "io/spawn.h"

#define PH_HOOK_LINES 100
#define PH_HOOK_LINE_BYTES 800

struct ph_hook;

/* Called from the loop; `arg` is that of ph_hook_start(). */
struct ph_hook_ops {
	/* one line, without its end; no NUL is in it */
	void (*line)(void *arg, const char *text);
	/* Once, in place of all others, where that turns out only after a while: it could not be
	 * started. It may free the hook. */
	void (*failed)(void *arg, int error, const char *text);
	/* Once: it has ended, and nothing is left of its group, or `left`: what could not be
	 * killed in PH_HOOK_PATIENCE_MS. `untold`: lines that were not. It may free the hook. */
	void (*ended)(
		void *arg, const struct ph_child_exit *status, bool left, unsigned long untold);
};
#define PH_HOOK_PATIENCE_MS 2000

/*
 * Starts it. `spec` without fds, which are set here; `input` of n bytes is copied. Errors, with a
 * sentence: those of ph_launch_new(); -EMFILE, -ENOMEM, ... for what is between the two. Nobody
 * waits for a start that takes long: it goes on beside the loop.
 */
PH_MUST_CHECK int ph_hook_start(struct event_base *base, const struct ph_spawn_spec *spec,
	const char *input, size_t n, const struct ph_hook_ops *ops, void *arg, struct ph_hook **ret,
	struct ph_err *err);
bool ph_hook_runs(const struct ph_hook *hook); /* false: it is being started */
/* To all of its process group. One that is being started is given up, whatever the signal. */
void ph_hook_signal(struct ph_hook *hook, int signo);
/* One that is being started is given up, without a word. True: it does not run, and never will; it
 * is to be freed. False: it runs. */
bool ph_hook_give_up(struct ph_hook *hook);
/* Kills what is left of it, with all that descends from it while it runs itself, also in groups and
 * sessions of their own, and forgets it without a word: what still runs is reaped by the loop once
 * it has ended. NULL is allowed. */
void ph_hook_free(struct ph_hook *hook);

#endif
