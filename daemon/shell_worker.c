/* The worker processes of this node, and what core tells them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "io/child.h"
#include "io/proc.h"
#include "shell_parts.h"

struct ph_shell_workers {
	struct ph_shell_worker *wids, *tokens, *pids;
};

int ph_shell_workers_new(struct ph_shell_workers **ret)
{
	*ret = ph_shell_alloc(sizeof **ret);
	return 0;
}

void ph_shell_worker_free(struct ph_shell_worker *worker)
{
	ph_shell_fence_drop(worker);
	ph_child_free(worker->child);
	ph_child_free(worker->main);
	ph_shell_listens_drop(&worker->listens);
	free(worker->cgroup);
	free(worker->kin);
	free(worker);
}

void ph_shell_workers_free(struct ph_shell *shell)
{
	struct ph_shell_worker *worker, *next;
	if (!shell->workers)
		return;
	HASH_ITER (by_wid, shell->workers->wids, worker, next) {
		ph_shell_workers_take(shell, worker);
		ph_shell_worker_free(worker);
	}
	free(shell->workers);
	shell->workers = NULL;
}

void ph_shell_workers_add(struct ph_shell *shell, struct ph_shell_worker *worker)
{
	struct ph_shell_workers *all = shell->workers;
	worker->shell = shell;
	HASH_ADD(by_wid, all->wids, wid, sizeof worker->wid, worker);
	HASH_ADD_KEYPTR(by_token, all->tokens, worker->token, strlen(worker->token), worker);
	HASH_ADD(by_pid, all->pids, pid, sizeof worker->pid, worker);
}

void ph_shell_workers_take(struct ph_shell *shell, struct ph_shell_worker *worker)
{
	struct ph_shell_workers *all = shell->workers;
	HASH_DELETE(by_wid, all->wids, worker);
	HASH_DELETE(by_token, all->tokens, worker);
	HASH_DELETE(by_pid, all->pids, worker);
	if (worker->control)
		ph_shell_conn_close(worker->control);
}

struct ph_shell_worker *ph_shell_worker_by_wid(struct ph_shell *shell, uint64_t wid)
{
	struct ph_shell_worker *worker;
	HASH_FIND(by_wid, shell->workers->wids, &wid, sizeof wid, worker);
	return worker;
}

static struct ph_shell_worker *find_token(struct ph_shell *shell, const char *token)
{
	struct ph_shell_worker *worker;
	HASH_FIND(by_token, shell->workers->tokens, token, strlen(token), worker);
	return worker;
}

struct ph_shell_worker *ph_shell_worker_by_token(struct ph_shell *shell, const char *token)
{
	struct ph_shell_worker *worker = find_token(shell, token);
	return worker || !ph_shell_spawn_look(shell) ? worker : find_token(shell, token);
}

struct ph_shell_worker *ph_shell_worker_by_pid(struct ph_shell *shell, pid_t pid)
{
	struct ph_shell_worker *worker;
	HASH_FIND(by_pid, shell->workers->pids, &pid, sizeof pid, worker);
	return worker;
}

static struct ph_shell_worker *find_process(struct ph_shell *shell, pid_t pid)
{
	struct ph_shell_worker *worker = ph_shell_worker_by_pid(shell, pid);
	if (worker)
		return worker;
	pid_t session = ph_proc_session(pid);
	return session > 0 ? ph_shell_worker_by_pid(shell, session) : NULL;
}

struct ph_shell_worker *ph_shell_worker_of_process(struct ph_shell *shell, pid_t pid)
{
	struct ph_shell_worker *worker = pid > 0 ? find_process(shell, pid) : NULL;
	if (worker || pid <= 0 || !ph_shell_spawn_look(shell))
		return worker;
	return find_process(shell, pid);
}

void ph_shell_workers_each(
	struct ph_shell *shell, void (*each)(void *arg, struct ph_shell_worker *worker), void *arg)
{
	struct ph_shell_worker *worker, *next;
	HASH_ITER (by_wid, shell->workers->wids, worker, next)
		each(arg, worker);
}

size_t ph_shell_workers_count(const struct ph_shell *shell)
{
	return HASH_CNT(by_wid, shell->workers->wids);
}

void ph_shell_worker_act(struct ph_shell *shell, const struct ph_action *action)
{
	struct ph_shell_worker *worker = ph_shell_worker_by_wid(shell, action->wid);
	if (!worker || !worker->control)
		return;
	if (action->kind == PH_ACT_TELL) {
		if (action->worker->op == PH_W_HANDOVER_ASK)
			worker->asked_id = action->worker->id;
		ph_shell_conn_send(worker->control, action->worker);
		return;
	}
	/* core has told people of it */
	struct ph_shell_conn *conn = worker->control;
	const char *code = action->worker->code;
	ph_shell_conn_error(conn, NULL, code ? code : "protocol", action->worker->text);
	ph_shell_conn_end(conn);
}
