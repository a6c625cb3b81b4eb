/* Signals of the operator and of the service manager, and what the latter is told. */
#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>

#include "io/sdnotify.h"
#include "shell_hook.h"
#include "shell_parts.h"

struct ph_shell_signals {
	struct event *events[8];
	size_t n;
	size_t told_workers;
	bool told;
};

static void on_stop(evutil_socket_t signo, short what, void *arg)
{
	(void)what;
	struct ph_shell *shell = arg;
	struct ph_event event = {.kind = PH_EV_SHUTDOWN};
	if (shell->leaving) { /* there are but hooks */
		ph_shell_hooks_hurry(shell);
		return;
	}
	shell->stopping = true;
	ph_sdnotify_stopping();
	ph_shell_hooks_stop(shell);
	ph_shell_log(shell, PH_LOG_INFO, "signal %d: stopping", (int)signo);
	ph_shell_push(shell, &event, NULL, NULL);
}

static void on_hangup(evutil_socket_t signo, short what, void *arg)
{
	(void)signo;
	(void)what;
	struct ph_shell *shell = arg;
	struct ph_err err;
	if (shell->leaving)
		return;
	if (shell->ready)
		ph_sdnotify_reloading();
	if (ph_shell_reload(shell, false, false, NULL, &err))
		ph_shell_log(shell, PH_LOG_ERROR, "the configuration stays as it was");
	if (shell->ready)
		ph_sdnotify_ready();
}

static void on_upgrade(evutil_socket_t signo, short what, void *arg)
{
	(void)signo;
	(void)what;
	ph_shell_upgrade_begin(arg);
}

static void on_watchdog(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	ph_sdnotify_watchdog();
}

static const struct {
	int signo;
	event_callback_fn fn;
} rows[] = {{SIGTERM, on_stop}, {SIGINT, on_stop}, {SIGHUP, on_hangup}, {SIGUSR2, on_upgrade}};

#define ROWS (sizeof rows / sizeof rows[0])

static void mask(int how)
{
	sigset_t set;
	sigemptyset(&set);
	for (size_t i = 0; i < ROWS; i++)
		sigaddset(&set, rows[i].signo);
	(void)pthread_sigmask(how, &set, NULL);
}

void ph_shell_signals_block(void)
{
	mask(SIG_BLOCK);
	(void)signal(SIGPIPE, SIG_IGN);
}

void ph_shell_signals_unblock(void)
{
	mask(SIG_UNBLOCK);
}

static int add(struct ph_shell *shell, struct event *event, const struct timeval *every)
{
	if (!event)
		return -ENOMEM;
	shell->signals->events[shell->signals->n++] = event;
	return event_add(event, every) ? -ENOMEM : 0;
}

int ph_shell_signals_new(struct ph_shell *shell, struct ph_err *err)
{
	int error = 0;
	shell->signals = ph_shell_alloc(sizeof *shell->signals);
	for (size_t i = 0; !error && i < ROWS; i++)
		error = add(
			shell, evsignal_new(shell->base, rows[i].signo, rows[i].fn, shell), NULL);
	uint64_t period_ms = ph_sdnotify_watchdog_ms() / 2;
	if (!error && period_ms) {
		struct timeval every = {
			(time_t)(period_ms / 1000), (suseconds_t)(period_ms % 1000 * 1000)};
		error = add(
			shell, event_new(shell->base, -1, EV_PERSIST, on_watchdog, shell), &every);
	}
	return error ? ph_err_set(err, -error, "cannot watch signals") : 0;
}

void ph_shell_signals_free(struct ph_shell *shell)
{
	if (!shell->signals)
		return;
	ph_shell_signals_block(); /* without its handler one would end us by its default action */
	for (size_t i = 0; i < shell->signals->n; i++)
		event_free(shell->signals->events[i]);
	free(shell->signals);
	shell->signals = NULL;
}

void ph_shell_signals_turn_end(struct ph_shell *shell)
{
	struct ph_shell_signals *signals = shell->signals;
	size_t n = ph_shell_workers_count(shell);
	char text[64];
	if (signals->told && signals->told_workers == n)
		return;
	signals->told = true;
	signals->told_workers = n;
	snprintf(text, sizeof text, "%zu worker%s", n, n == 1 ? "" : "s");
	ph_sdnotify_status(text);
}
