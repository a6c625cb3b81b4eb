/* notify.sock: whose message it is, and what core hears of it. */
#include <errno.h>
#include <stdlib.h>

#include "io/notify.h"
#include "io/proc.h"
#include "shell_parts.h"

struct ph_shell_notices {
	struct ph_notify *socket;
};

/* A main pid is believed of the worker's own session only. */
static uint32_t main_pid(const struct ph_shell_worker *worker, pid_t pid)
{
	return pid > 0 && ph_proc_session(pid) == worker->pid ? (uint32_t)pid : 0;
}

static void on_message(void *arg, const struct ph_notify_message *message)
{
	struct ph_shell *shell = arg;
	struct ph_shell_worker *worker = ph_shell_worker_of_process(shell, message->pid);
	if (!worker || (message->uid != worker->uid && message->uid != 0))
		return;
	if (message->status)
		ph_shell_log(shell, PH_LOG_INFO, "%s/%u: %s", worker->key.child.s,
			worker->key.instance, message->status);
	struct ph_notify flat = {
		.ready = message->ready,
		.stopping = message->stopping,
		.watchdog = message->watchdog,
		.extend_ms = message->extend_ms,
		.main_pid = main_pid(worker, message->main_pid),
	};
	if (!flat.ready && !flat.stopping && !flat.watchdog && !flat.extend_ms && !flat.main_pid)
		return;
	struct ph_event event = {.kind = PH_EV_NOTIFIED, .wid = worker->wid};
	ph_shell_push_flat(shell, &event, &flat, sizeof flat);
}

int ph_shell_notices_new(struct ph_shell *shell, struct ph_err *err)
{
	shell->notices = ph_shell_alloc(sizeof *shell->notices);
	return ph_notify_open(shell->base, shell->notify_path, 0666, on_message, shell,
		&shell->notices->socket, err);
}

void ph_shell_notices_free(struct ph_shell *shell)
{
	if (!shell->notices)
		return;
	ph_notify_close(shell->notices->socket);
	free(shell->notices);
	shell->notices = NULL;
}
