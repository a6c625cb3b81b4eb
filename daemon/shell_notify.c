/* notify.sock: whose message it is, and what core hears of it. */
#include <stdlib.h>

#include "io/child.h"
#include "io/clock.h"
#include "io/notify.h"
#include "io/proc.h"
#include "shell_parts.h"

#define STATUS_MS 10000 /* of what a worker says in it no more ... */
#define STATUS_MAX 20	/* ... than so many lines are told */

struct ph_shell_notices {
	struct ph_notify *socket;
};

/* The first process is the main one again. */
static bool back_to_first(struct ph_shell_worker *worker)
{
	if (!worker->child || !worker->main)
		return false;
	ph_child_free(worker->main);
	worker->main = NULL;
	return true;
}

static bool take_main(struct ph_shell_worker *worker, pid_t pid, uint64_t start_time)
{
	struct ph_shell *shell = worker->shell;
	struct ph_child *child;
	struct ph_err err;
	if (ph_child_adopt(
		    shell->base, pid, start_time, ph_shell_main_exited, worker, &child, &err)) {
		ph_shell_log(shell, PH_LOG_WARNING, "%s/%u: MAINPID=%d: %s", worker->key.child.s,
			worker->key.instance, (int)pid, err.text);
		return false;
	}
	ph_child_free(worker->main);
	worker->main = child;
	return true;
}

/*
 * MAINPID=: from now on that process is the one whose end counts and that gets signals. Believed of
 * living members of the worker's own session only: what is left of it can then always be found, and
 * a worker cannot make the daemon signal a stranger. Returns the pid where it is news, or 0.
 */
static uint32_t main_pid(struct ph_shell_worker *worker, pid_t pid)
{
	struct ph_proc_stat stat;
	pid_t now = worker->main ? ph_child_pid(worker->main) : worker->pid;
	if (pid <= 0 || pid == now || worker->exited || ph_proc_stat(pid, &stat))
		return 0;
	if (stat.session != worker->pid || stat.state == 'Z' || stat.state == 'X') {
		ph_shell_log(worker->shell, PH_LOG_WARNING,
			"%s/%u: MAINPID=%d is no running process of its session: ignored",
			worker->key.child.s, worker->key.instance, (int)pid);
		return 0;
	}
	bool news = pid == worker->pid ? back_to_first(worker)
				       : take_main(worker, pid, stat.start_time);
	if (news) {
		ph_shell_fence_change(worker);
		ph_shell_state_touch(worker->shell);
	}
	return news ? (uint32_t)pid : 0;
}

void ph_shell_status(struct ph_shell_worker *worker, const char *text)
{
	struct ph_shell *shell = worker->shell;
	uint64_t now_ms = ph_clock_now_ms(); /* that of the shell is its last turn's */
	if (worker->n_status && now_ms >= worker->status_at_ms + STATUS_MS) {
		if (worker->n_status > STATUS_MAX)
			ph_shell_log(shell, PH_LOG_INFO, "%s/%u: %u more status texts since",
				worker->key.child.s, worker->key.instance,
				worker->n_status - STATUS_MAX);
		worker->n_status = 0;
	}
	if (!worker->n_status++)
		worker->status_at_ms = now_ms;
	if (worker->n_status <= STATUS_MAX)
		ph_shell_log(shell, PH_LOG_INFO, "%s/%u: %s", worker->key.child.s,
			worker->key.instance, text);
}

static void on_message(void *arg, const struct ph_notify_message *message)
{
	struct ph_shell *shell = arg;
	struct ph_shell_worker *worker = ph_shell_worker_of_process(shell, message->pid);
	if (!worker || (message->uid != worker->uid && message->uid != 0))
		return;
	if (message->status)
		ph_shell_status(worker, message->status);
	struct ph_notify flat = {
		.ready = message->ready,
		.stopping = message->stopping,
		.watchdog = message->watchdog,
		.trigger = message->trigger,
		.extend_ms = message->extend_ms,
		.main_pid = main_pid(worker, message->main_pid),
	};
	if (!flat.ready && !flat.stopping && !flat.watchdog && !flat.trigger && !flat.extend_ms &&
		!flat.main_pid)
		return;
	struct ph_event event = {.kind = PH_EV_NOTIFIED, .wid = worker->wid};
	ph_shell_push_flat(shell, &event, &flat, sizeof flat);
}

int ph_shell_notices_new(struct ph_shell *shell, struct ph_err *err)
{
	shell->notices = ph_shell_alloc(sizeof *shell->notices);
	int fd = ph_shell_kept_take(shell, PH_KEPT_NOTICES);
	if (fd >= 0)
		return ph_notify_take(shell->base, fd, shell->notify_path, 0666, on_message, shell,
			&shell->notices->socket, err);
	return ph_notify_open(shell->base, shell->notify_path, 0666, on_message, shell,
		&shell->notices->socket, err);
}

int ph_shell_notices_fd(const struct ph_shell *shell)
{
	return ph_notify_fd(shell->notices->socket);
}

void ph_shell_notices_drain(struct ph_shell *shell)
{
	ph_notify_drain(shell->notices->socket);
}

void ph_shell_notices_free(struct ph_shell *shell)
{
	if (!shell->notices)
		return;
	ph_notify_close(shell->notices->socket);
	free(shell->notices);
	shell->notices = NULL;
}
