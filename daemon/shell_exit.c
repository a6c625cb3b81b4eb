/* Signals to workers, the end of a process, and the end of what it leaves behind. */
#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "io/cgroup.h"
#include "io/child.h"
#include "io/clock.h"
#include "shell_parts.h"

#define POLL_MS 10 /* between two looks at a group that should be gone */
#define DOUBTS 20  /* looks at what could not be told: it was executing a program, or ran away */
#define PATIENCE_MS 2000 /* then it is given up, with a line: a process that the kernel holds */

/* A worker that was reaped, until nothing is left of its group. */
struct ph_shell_leaving {
	struct ph_shell *shell;
	struct ph_shell_worker *worker; /* owned, in no map */
	struct event *timer;
	uint64_t until_ms;
	unsigned doubts;
	struct ph_shell_rest rest;
	UT_hash_handle hh;
};

static const struct timeval poll_tv = {0, POLL_MS * 1000};

static struct ph_exit exit_of(
	const struct ph_shell_worker *worker, const struct ph_child_exit *status)
{
	bool killed = status->unknown || status->signal == SIGKILL;
	if (killed && ph_shell_cgroup_oom(worker))
		return (struct ph_exit){PH_EXIT_OOM, SIGKILL};
	if (status->unknown)
		return (struct ph_exit){PH_EXIT_UNKNOWN, 0};
	if (status->signal)
		return (struct ph_exit){
			status->core ? PH_EXIT_CORE : PH_EXIT_SIGNAL, (uint32_t)status->signal};
	return (struct ph_exit){PH_EXIT_CODE, (uint32_t)status->code};
}

static void main_exited(struct ph_shell_worker *worker, const struct ph_child_exit *status)
{
	struct ph_shell *shell = worker->shell;
	worker->exited = true;
	if (ph_shell_worker_by_wid(shell, worker->wid) != worker)
		return; /* it is leaving */
	if (worker->control)
		ph_shell_conn_drain(worker->control); /* its last words come before its end */
	struct ph_event event = {
		.kind = PH_EV_EXITED, .wid = worker->wid, .exit = exit_of(worker, status)};
	ph_shell_push(shell, &event, NULL, NULL);
}

void ph_shell_exited(void *arg, struct ph_child *child, const struct ph_child_exit *status)
{
	struct ph_shell *shell = arg;
	struct ph_shell_worker *worker = ph_shell_worker_by_pid(shell, ph_child_pid(child));
	if (!worker || worker->child != child)
		return;
	ph_shell_notices_drain(shell); /* it may have named its successor */
	if (worker->main || worker->exited)
		ph_child_reap(child); /* its number stays ours as long as its session lives */
	else
		main_exited(worker, status);
}

void ph_shell_main_exited(void *arg, struct ph_child *child, const struct ph_child_exit *status)
{
	struct ph_shell_worker *worker = arg;
	ph_shell_notices_drain(worker->shell);
	if (worker->main == child)
		main_exited(worker, status);
}

/* ---- REAP */

static void gone(struct ph_shell_leaving *l)
{
	struct ph_event event = {.kind = PH_EV_GONE, .wid = l->worker->wid};
	ph_shell_push(l->shell, &event, NULL, NULL);
	HASH_DEL(l->shell->leaving_groups, l);
	if (l->timer)
		event_free(l->timer);
	ph_shell_kin_leave(l->shell, &l->rest);
	ph_shell_cgroup_drop(&l->worker->cgroup);
	ph_shell_worker_free(l->worker);
	free(l);
}

/* Everything of the worker: 0, or why the main process could not be killed. */
static int kill_all(struct ph_shell_worker *worker)
{
	ph_shell_kin_kill(worker);
	int error = worker->main ? ph_child_signal(worker->main, SIGKILL) : 0;
	int group = worker->child ? ph_child_kill_group(worker->child, SIGKILL) : 0;
	if (worker->cgroup)
		(void)ph_cgroup_kill(worker->cgroup);
	return worker->main ? error : group;
}

static enum ph_shell_kin_left kill_rest(struct ph_shell_leaving *l)
{
	struct ph_shell_worker *worker = l->worker;
	if (worker->main && !worker->exited) {
		(void)kill_all(worker);
		return PH_KIN_KILLED;
	}
	if (worker->child) /* with another main process it may have ended only now */
		ph_child_reap(worker->child);
	if (worker->cgroup && ph_cgroup_is_populated(worker->cgroup)) {
		(void)ph_cgroup_kill(worker->cgroup);
		return PH_KIN_KILLED;
	}
	if (!l->rest.round && worker->child && ph_child_group_alive(worker->child)) {
		(void)ph_child_kill_group(worker->child, SIGKILL);
		return PH_KIN_KILLED;
	}
	return ph_shell_kin_look(l->shell, &l->rest);
}

/* Why it is given up: who is still there. */
static void tell_left(const struct ph_shell_leaving *l)
{
	char pids[128] = "";
	size_t n = 0;
	if (l->worker->cgroup)
		ph_cgroup_pids(l->worker->cgroup, pids, sizeof pids);
	for (size_t i = 0; i < l->rest.killed.n && n < sizeof pids - 16; i++)
		n += (size_t)snprintf(pids + n, sizeof pids - n, "%s%d", i ? " " : "",
			(int)l->rest.killed.v[i].pid);
	ph_shell_log(l->shell, PH_LOG_ERROR,
		"%s/%u: processes of it cannot be killed, session %d, pids %s",
		l->worker->key.child.s, l->worker->key.instance, (int)l->worker->pid,
		*pids ? pids : "unknown");
}

static void look(struct ph_shell_leaving *l)
{
	enum ph_shell_kin_left left = kill_rest(l);
	if (left == PH_KIN_DOUBT && ++l->doubts > DOUBTS)
		left = PH_KIN_NONE;
	if (left == PH_KIN_NONE) {
		gone(l);
	} else if (left == PH_KIN_KILLED && ph_clock_now_ms() >= l->until_ms) {
		tell_left(l);
		gone(l);
	} else {
		evtimer_add(l->timer, &poll_tv);
	}
}

static void on_poll(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	look(arg);
}

/* Where the folder can be removed nobody is in it any more: three accesses fewer than asking. */
static void drop_empty_cgroup(struct ph_shell_worker *worker, struct ph_shell_rest *rest)
{
	if (!worker->cgroup || (worker->main && !worker->exited) || rmdir(worker->cgroup) < 0)
		return;
	rest->held = true;
	free(worker->cgroup);
	worker->cgroup = NULL;
}

static void reap(struct ph_shell *shell, struct ph_shell_worker *worker)
{
	struct ph_shell_leaving *l = ph_shell_alloc(sizeof *l);
	ph_shell_probe_drop(shell, worker->wid);
	ph_shell_workers_take(shell, worker);
	l->shell = shell;
	l->worker = l->rest.worker = worker;
	l->until_ms = ph_clock_now_ms() + PATIENCE_MS;
	HASH_ADD_PTR(shell->leaving_groups, worker, l);
	drop_empty_cgroup(worker, &l->rest);
	if (worker->child || worker->main)
		(void)kill_all(worker);
	l->timer = evtimer_new(shell->base, on_poll, l);
	if (!l->timer)
		abort();
	look(l);
}

void ph_shell_exit_free(struct ph_shell *shell)
{
	struct ph_shell_leaving *l, *next;
	HASH_ITER (hh, shell->leaving_groups, l, next) {
		HASH_DEL(shell->leaving_groups, l);
		event_free(l->timer);
		ph_shell_kin_leave(shell, &l->rest);
		ph_shell_worker_free(l->worker);
		free(l);
	}
}

void ph_shell_leaving_each(
	struct ph_shell *shell, void (*each)(void *arg, struct ph_shell_worker *worker), void *arg)
{
	struct ph_shell_leaving *l, *next;
	HASH_ITER (hh, shell->leaving_groups, l, next)
		each(arg, l->worker);
}

/* ---- SIGNAL */

void ph_shell_exit_act(struct ph_shell *shell, const struct ph_action *action)
{
	struct ph_shell_worker *worker = ph_shell_worker_by_wid(shell, action->wid);
	if (!worker) {
		if (action->kind == PH_ACT_REAP) {
			struct ph_event event = {.kind = PH_EV_GONE, .wid = action->wid};
			ph_shell_push(shell, &event, NULL, NULL);
		}
		return;
	}
	if (action->kind == PH_ACT_REAP) {
		reap(shell, worker);
		return;
	}
	struct ph_child *child = worker->main ? worker->main : worker->child;
	if (!child)
		return;
	if (action->signal != SIGKILL)
		ph_shell_kin_note(worker);
	int error = action->signal == SIGKILL ? kill_all(worker)
					      : ph_child_signal(child, action->signal);
	if (action->wake && !error)
		(void)ph_child_signal(child, SIGCONT);
	if (error && error != -ESRCH)
		ph_shell_log(shell, PH_LOG_ERROR, "%s/%u: cannot send signal %d to pid %d: %s",
			worker->key.child.s, worker->key.instance, action->signal,
			(int)ph_child_pid(child), strerror(-error));
}
