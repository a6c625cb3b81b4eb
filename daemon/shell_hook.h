/*
 * shell_hook.h - the hooks of the configuration, and the runs of them.
 *
 * Which hook an event is for; what its process finds. core/hook_queue.h decides when it runs,
 * io/hook.h runs it. Always holds: a run has all that it needs from the event and the
 * configuration of that moment, so that neither a reload nor what follows changes it; nothing here
 * makes an event, so that no hook can bring about itself. Tested by tests/e2e/test_hooks.py.
 */
#ifndef PH_SHELL_HOOK_H
#define PH_SHELL_HOOK_H

#include <stdio.h>

#include "shell.h"

/* After the first words for the log; the configuration is that of the shell. -ENOMEM. */
PH_MUST_CHECK int ph_shell_hooks_new(struct ph_shell *shell);
/* Kills what still runs. */
void ph_shell_hooks_free(struct ph_shell *shell);
/* Those of `conf` are in force for what happens from now on. */
void ph_shell_hooks_configure(struct ph_shell *shell, const struct ph_conf *conf);
/* Has one of them what lost a conflict? */
bool ph_shell_hooks_merge(const struct ph_shell *shell);

/* For the next daemon: a line "hook 0 NAME EVENT" for each event that waits, the event as JSON. */
void ph_shell_hooks_save(const struct ph_shell *shell, FILE *to);
/* One of the daemon before, without those two words: it waits here, if there is such a hook. */
void ph_shell_hooks_restore(struct ph_shell *shell, const char *text);

/* Carries out HOOK. */
void ph_shell_hook_act(struct ph_shell *shell, const struct ph_action *action);

/* The daemon is to be stopped: from now on a hook has PH_HOOK_STOP_MS at most. */
void ph_shell_hooks_stop(struct ph_shell *shell);
/* All else is stopped: turns the loop until no hook is left, which takes not much longer. */
void ph_shell_hooks_finish(struct ph_shell *shell);
/* They are ended now. */
void ph_shell_hooks_hurry(struct ph_shell *shell);

#endif
