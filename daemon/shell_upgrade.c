/*
 * SIGUSR2: the program that stands at this one's path, which an upgrade may have replaced, takes
 * its place by execve(), in the same process. First it is asked, as `prochubd -t`, whether it can:
 * one that cannot run, that does not know how to take over, or that refuses the configuration would
 * be the end of the daemon. Then all that waits is done, what must be on the disk is brought there,
 * and the next one starts as after any other end (shell_start.c): but its workers are children
 * still, and what shell_kept.c lists is open.
 */
#include <errno.h>
#include <event2/event.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "io/hook.h"
#include "io/sdnotify.h"
#include "shell_bus.h"
#include "shell_emit.h"
#include "shell_parts.h"

/* of the check: NODE, RUN_DIR, STATE_DIR and how many children the files have, a line each */
#define VARIABLE "PROCHUB_UPGRADE"
#define TAKES_OVER "can take over from a running daemon"
#define KILLED_S 1	/* for the end of one that was killed */
#define PATIENCE_S 30	/* for the check */
#define DRAIN_MAX 65536 /* events that are waited for: more would be a chain without end */
#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC 4u
#endif

struct ph_shell_upgrade {
	char **argv;
	char program[PATH_MAX]; /* empty: it was not found */
	struct ph_hook *check;	/* NULL: there is none under way */
	struct event *patience;
	bool takes_over, late, due;
	char why[256]; /* the first line that it has said else */
};

/* ---- life */

/* Symbolic links stay as they are: they may lead to another program by then. */
static void find_program(const char *argv0, char ret[PATH_MAX])
{
	struct ph_err err;
	char folder[PATH_MAX];
	*ret = '\0';
	if (*argv0 == '/') {
		(void)snprintf(ret, PATH_MAX, "%s", argv0);
	} else if (strchr(argv0, '/')) {
		int n = getcwd(folder, sizeof folder)
				? snprintf(ret, PATH_MAX, "%s/%s", folder, argv0)
				: -1;
		if (n < 0 || n >= PATH_MAX)
			*ret = '\0';
	} else if (ph_spawn_resolve(argv0, getenv("PATH"), ret, &err)) {
		*ret = '\0';
	}
}

void ph_shell_upgrade_new(struct ph_shell *shell, char **argv)
{
	shell->upgrade = ph_shell_alloc(sizeof *shell->upgrade);
	shell->upgrade->argv = argv;
	find_program(argv[0], shell->upgrade->program);
}

static void check_over(struct ph_shell_upgrade *upgrade)
{
	ph_hook_free(upgrade->check);
	upgrade->check = NULL;
	if (upgrade->patience)
		event_free(upgrade->patience);
	upgrade->patience = NULL;
}

void ph_shell_upgrade_free(struct ph_shell *shell)
{
	if (!shell->upgrade)
		return;
	check_over(shell->upgrade);
	free(shell->upgrade);
	shell->upgrade = NULL;
}

bool ph_shell_upgrade_due(const struct ph_shell *shell)
{
	return shell->upgrade && shell->upgrade->due;
}

/* ---- asking */

static void refuse(struct ph_shell *shell, const char *why)
{
	char text[1024];
	(void)snprintf(text, sizeof text, "%.400s does not take over: %.500s; this daemon goes on",
		shell->upgrade->program, why);
	ph_shell_tell_people(shell, PH_EMIT_UPGRADE_REFUSED, NULL, text);
}

static void on_line(void *arg, const char *text)
{
	struct ph_shell *shell = arg;
	struct ph_shell_upgrade *upgrade = shell->upgrade;
	if (strstr(text, TAKES_OVER)) {
		upgrade->takes_over = true;
		ph_shell_log(shell, PH_LOG_INFO, "signal USR2: %s", text);
		return;
	}
	ph_shell_log(shell, PH_LOG_INFO, "signal USR2: %s -t: %s", upgrade->program, text);
	if (!*upgrade->why)
		(void)snprintf(upgrade->why, sizeof upgrade->why, "%s", text);
}

static void why_not(const struct ph_shell_upgrade *upgrade, const struct ph_child_exit *status,
	char *ret, size_t size)
{
	if (upgrade->late)
		(void)snprintf(ret, size, "its check took longer than %d s", PATIENCE_S);
	else if (status->signal)
		(void)snprintf(ret, size, "its check was ended by signal %d (%s)", status->signal,
			strsignal(status->signal));
	else if (status->unknown || !status->code)
		(void)snprintf(ret, size,
			"it is another program, or one of a version that knows no upgrade: restart "
			"the daemon, its workers live on");
	else
		(void)snprintf(ret, size, "its check ended with status %d%s%s", status->code,
			*upgrade->why ? ": " : "", upgrade->why);
}

/* execve() ends all threads first, and waits for that, whatever it takes. */
static bool is_stuck(struct ph_shell *shell)
{
	bool stuck = !ph_shell_outputs_answer(shell);
	if (stuck)
		refuse(shell,
			"the output of children is not written, as where a file system does not "
			"answer, and who waits for that may not be ended");
	return stuck;
}

static void on_checked(
	void *arg, const struct ph_child_exit *status, bool left, unsigned long untold)
{
	struct ph_shell *shell = arg;
	struct ph_shell_upgrade *upgrade = shell->upgrade;
	char why[512];
	(void)left;
	(void)untold;
	bool can = upgrade->takes_over && !upgrade->late && !status->unknown && !status->signal &&
		   !status->code;
	check_over(upgrade);
	if (shell->stopping || shell->leaving)
		return;
	if (!can) {
		why_not(upgrade, status, why, sizeof why);
		refuse(shell, why);
		return;
	}
	if (is_stuck(shell))
		return;
	upgrade->due = true;
	event_base_loopbreak(shell->base);
}

static void on_failed(void *arg, int error, const char *text)
{
	struct ph_shell *shell = arg;
	(void)error;
	check_over(shell->upgrade);
	if (!shell->stopping && !shell->leaving)
		refuse(shell, text);
}

static void on_late(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	static const struct timeval pause = {KILLED_S, 0};
	struct ph_shell *shell = arg;
	struct ph_shell_upgrade *upgrade = shell->upgrade;
	if (!upgrade->late) {
		upgrade->late = true;
		ph_hook_signal(upgrade->check, SIGKILL);
		(void)evtimer_add(upgrade->patience, &pause);
		return;
	}
	/* it cannot be ended, as where a file system does not answer */
	char why[64];
	const struct ph_child_exit none = {.unknown = true};
	why_not(upgrade, &none, why, sizeof why);
	check_over(upgrade);
	if (!shell->stopping && !shell->leaving)
		refuse(shell, why);
}

/* This daemon's own, and what the next one must find again. */
static void make_env(struct ph_shell *shell, struct ph_shell_env *env)
{
	char *what = ph_shell_alloc(
		strlen(shell->node) + strlen(shell->run_dir) + strlen(shell->state_dir) + 24);
	ph_shell_env_init(env);
	for (char *const *v = environ; *v; v++) {
		const char *value = strchr(*v, '=');
		char *name = value ? strndup(*v, (size_t)(value - *v)) : NULL;
		if (name)
			ph_shell_env_set(env, name, value + 1);
		free(name);
	}
	(void)sprintf(what, "%s\n%s\n%s\n%zu", shell->node, shell->run_dir, shell->state_dir,
		shell->conf->n_children);
	ph_shell_env_set(env, VARIABLE, what);
	free(what);
}

static int start_check(struct ph_shell *shell, struct ph_err *err)
{
	static const struct ph_hook_ops ops = {
		.line = on_line, .failed = on_failed, .ended = on_checked};
	struct ph_shell_upgrade *upgrade = shell->upgrade;
	const char *argv[] = {
		upgrade->program, "-t", shell->conf_file ? "-c" : NULL, shell->conf_file, NULL};
	struct ph_shell_env env;
	struct ph_spawn_limit limit;
	make_env(shell, &env);
	struct ph_spawn_spec spec = {.path = upgrade->program,
		.argv = argv,
		.env = (const char *const *)env.v,
		.limits = &limit,
		.n_limits = ph_shell_nofile(shell, &limit)};
	int error = ph_hook_start(shell->base, &spec, "", 0, &ops, shell, &upgrade->check, err);
	ph_shell_env_fini(&env);
	return error;
}

void ph_shell_upgrade_begin(struct ph_shell *shell)
{
	static const struct timeval patience = {PATIENCE_S, 0};
	struct ph_shell_upgrade *upgrade = shell->upgrade;
	struct ph_err err;
	if (shell->stopping || shell->leaving || upgrade->check || upgrade->due)
		return;
	upgrade->takes_over = upgrade->late = false;
	upgrade->why[0] = '\0';
	if (!*upgrade->program) {
		refuse(shell, "its path was not found when this daemon was started");
		return;
	}
	if (is_stuck(shell))
		return;
	upgrade->patience = evtimer_new(shell->base, on_late, shell);
	if (!upgrade->patience || evtimer_add(upgrade->patience, &patience)) {
		check_over(upgrade);
		refuse(shell, "out of memory");
		return;
	}
	if (start_check(shell, &err)) {
		check_over(upgrade);
		refuse(shell, err.text);
	}
}

/* ---- answering */

int ph_shell_upgrade_check(const struct ph_conf *conf, struct ph_err *err)
{
	static const char *const names[] = {"node.name", "node.run_dir", "node.state_dir"};
	const char *will_be[] = {conf->node.name.s, conf->node.run_dir, conf->node.state_dir};
	const char *is = getenv(VARIABLE);
	if (!is)
		return 0;
	for (size_t i = 0; i < 3; i++) {
		size_t n = strcspn(is, "\n");
		if (strlen(will_be[i]) != n || strncmp(will_be[i], is, n) != 0)
			return ph_err_set(err, EINVAL,
				"%s: '%.*s' is in force, and '%.200s' would be: that needs a stop "
				"and a start",
				names[i], n < 200 ? (int)n : 200, is, will_be[i]);
		is += n + (is[n] == '\n');
	}
	if (conf->blank && strtoul(is, NULL, 10)) /* as at a reload */
		return ph_err_set(err, EINVAL,
			"nothing stands in the configuration, and its children would all go (%s): "
			"expected 'children: {}' where that is meant",
			is);
	printf("prochubd %s " TAKES_OVER "\n", PH_VERSION);
	return 0;
}

/* ---- the deed */

/* What has ended or been said by now is taken in; what comes later finds the next daemon. */
static void finish_turns(struct ph_shell *shell)
{
	for (int i = 0; i < DRAIN_MAX / PH_SHELL_TURN_EVENTS && !ph_shell_queue_empty(shell); i++)
		ph_shell_queue_turn(shell);
}

static void execute(struct ph_shell *shell)
{
	struct ph_shell_upgrade *upgrade = shell->upgrade;
	execv(upgrade->program, upgrade->argv);
	int code = errno;
	/* it was there a moment ago, and workers need a daemon: the old one, as a new one */
	fprintf(stderr, "prochubd: cannot execute %s: %s; this program begins anew\n",
		upgrade->program, strerror(code));
	execv("/proc/self/exe", upgrade->argv);
	fprintf(stderr, "prochubd: cannot execute itself: %s\n", strerror(errno));
}

bool ph_shell_upgrade_gives_way(struct ph_shell *shell)
{
	ph_shell_signals_block();
	(void)event_base_loop(shell->base, EVLOOP_NONBLOCK);
	if (!shell->stopping)
		return false;
	shell->upgrade->due = false;
	ph_shell_signals_unblock();
	return true;
}

void ph_shell_upgrade_run(struct ph_shell *shell)
{
	ph_sdnotify_reloading();
	ph_sdnotify_watchdog();
	ph_shell_log(shell, PH_LOG_INFO, "signal USR2: executing %s with %zu workers",
		shell->upgrade->program, ph_shell_workers_count(shell));
	finish_turns(shell);
	ph_shell_spawn_end(shell);
	ph_shell_signals_free(shell); /* they wait for the next one */
	ph_shell_probes_free(shell);
	ph_shell_exit_free(shell);
	ph_shell_bus_free(shell->bus);
	shell->bus = NULL;
	/* all else may be missed, and is then as after a daemon's death */
	(void)ph_shell_state_write(shell);
	/* before its thread ends: what is in the FIFOs stays there */
	(void)syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC);
	int error = ph_shell_kept_save(shell);
	if (error)
		ph_shell_log(
			shell, PH_LOG_ERROR, "listeners cannot be passed on: %s", strerror(-error));
	ph_shell_outputs_free(shell, false);
	ph_shell_records_free(shell); /* written, synced */
	/* what waits there is in the memory of this program alone */
	ph_shell_emit_flush(shell->emit);
	execute(shell);
	_exit(1);
}
