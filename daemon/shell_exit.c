/* Signals to workers, the end of a process, and the end of what it leaves behind. */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/cgroup.h"
#include "io/child.h"
#include "io/clock.h"
#include "io/proc.h"
#include "shell_parts.h"

#define POLL_MS 10	 /* between two looks at a group that should be gone */
#define PATIENCE_MS 2000 /* then it is given up, with a line: a process that the kernel holds */
#define ENVIRON_MAX 65536

/* A worker that was reaped, until nothing is left of its group. */
struct ph_shell_leaving {
	struct ph_shell *shell;
	struct ph_shell_worker *worker; /* owned, in no map */
	struct event *timer;
	uint64_t until_ms;
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

/* ---- sessions without anybody */

struct ph_shell_session {
	size_t n, room;
	pid_t v[]; /* sorted */
};

static int note_session(void *arg, pid_t pid)
{
	struct ph_shell_session **sessions = arg, *s = *sessions;
	struct ph_proc_stat stat;
	if (ph_proc_stat(pid, &stat) || !ph_procstat_lives(&stat))
		return 0;
	if (s->n == s->room) {
		s->room *= 2;
		s = realloc(s, sizeof *s + s->room * sizeof s->v[0]);
		if (!s)
			abort();
		*sessions = s;
	}
	s->v[s->n++] = stat.session;
	return 0;
}

static int compare_pids(const void *a, const void *b)
{
	const pid_t *x = a, *y = b;
	return (*x > *y) - (*x < *y);
}

void ph_shell_sessions_note(struct ph_shell *shell)
{
	struct ph_shell_session *s = ph_shell_alloc(sizeof *s + 1024 * sizeof s->v[0]);
	s->room = 1024;
	if (ph_proc_each(note_session, &s)) {
		free(s);
		return;
	}
	qsort(s->v, s->n, sizeof s->v[0], compare_pids);
	free(shell->sessions);
	shell->sessions = s;
}

/* Only who is in a session can bring somebody into it. */
static bool is_empty(const struct ph_shell *shell, pid_t session)
{
	const struct ph_shell_session *s = shell->sessions;
	return s && !bsearch(&session, s->v, s->n, sizeof s->v[0], compare_pids);
}

/* ---- REAP */

static void gone(struct ph_shell_leaving *l)
{
	struct ph_event event = {.kind = PH_EV_GONE, .wid = l->worker->wid};
	ph_shell_push(l->shell, &event, NULL, NULL);
	HASH_DEL(l->shell->leaving_groups, l);
	if (l->timer)
		event_free(l->timer);
	ph_shell_cgroup_drop(&l->worker->cgroup);
	ph_shell_worker_free(l->worker);
	free(l);
}

/* Of a worker that ended while no daemon was there. */
static size_t kill_rest(const struct ph_shell_worker *worker)
{
	if (is_empty(worker->shell, worker->pid))
		return 0;
	return ph_shell_kill_session(worker->pid, worker->token);
}

/* Everything of the worker: 0, or why the main process could not be killed. */
static int kill_all(struct ph_shell_worker *worker)
{
	int error = worker->main ? ph_child_signal(worker->main, SIGKILL) : 0;
	int group = worker->child ? ph_child_kill_group(worker->child, SIGKILL) : 0;
	if (!worker->child)
		(void)kill_rest(worker);
	if (worker->cgroup)
		(void)ph_cgroup_kill(worker->cgroup);
	return worker->main ? error : group;
}

/*
 * An adopted leader is somebody else's zombie until its new parent reaps it, if it ever does. What
 * is left of its session is then known by its token.
 */
static bool strays_left(const struct ph_shell_worker *worker)
{
	if (kill(-worker->pid, 0) < 0 && errno == ESRCH)
		return false;
	return ph_shell_kill_session(worker->pid, worker->token) > 0;
}

static bool is_gone(const struct ph_shell_leaving *l)
{
	struct ph_shell_worker *worker = l->worker;
	if (worker->main && !worker->exited) {
		(void)kill_all(worker);
		return false;
	}
	if (worker->child) /* with another main process it may have ended only now */
		ph_child_reap(worker->child);
	if (worker->cgroup && ph_cgroup_is_populated(worker->cgroup)) {
		(void)ph_cgroup_kill(worker->cgroup);
		return false;
	}
	if (!worker->child)
		return !kill_rest(worker);
	if (ph_child_group_alive(worker->child)) {
		(void)ph_child_kill_group(worker->child, SIGKILL);
		return false;
	}
	return !ph_child_adopted(worker->child) || !strays_left(worker);
}

static void on_poll(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	struct ph_shell_leaving *l = arg;
	bool late = ph_clock_now_ms() >= l->until_ms;
	if (is_gone(l)) {
		gone(l);
	} else if (late) {
		ph_shell_log(l->shell, PH_LOG_ERROR,
			"%s/%u: processes of the session of pid %d cannot be killed",
			l->worker->key.child.s, l->worker->key.instance, (int)l->worker->pid);
		gone(l);
	} else {
		evtimer_add(l->timer, &poll_tv);
	}
}

/* Where the folder can be removed nobody is in it any more: three accesses fewer than asking. */
static void drop_empty_cgroup(struct ph_shell_worker *worker)
{
	if (!worker->cgroup || (worker->main && !worker->exited) || rmdir(worker->cgroup) < 0)
		return;
	free(worker->cgroup);
	worker->cgroup = NULL;
}

static void reap(struct ph_shell *shell, struct ph_shell_worker *worker)
{
	struct ph_shell_leaving *l = ph_shell_alloc(sizeof *l);
	ph_shell_probe_drop(shell, worker->wid);
	ph_shell_workers_take(shell, worker);
	l->shell = shell;
	l->worker = worker;
	l->until_ms = ph_clock_now_ms() + PATIENCE_MS;
	HASH_ADD_PTR(shell->leaving_groups, worker, l);
	drop_empty_cgroup(worker);
	if (worker->child || worker->main)
		(void)kill_all(worker);
	if (is_gone(l)) {
		gone(l);
		return;
	}
	l->timer = evtimer_new(shell->base, on_poll, l);
	if (!l->timer)
		abort();
	evtimer_add(l->timer, &poll_tv);
}

void ph_shell_exit_free(struct ph_shell *shell)
{
	struct ph_shell_leaving *l, *next;
	free(shell->sessions);
	shell->sessions = NULL;
	HASH_ITER (hh, shell->leaving_groups, l, next) {
		HASH_DEL(shell->leaving_groups, l);
		event_free(l->timer);
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
	int error = action->signal == SIGKILL ? kill_all(worker)
					      : ph_child_signal(child, action->signal);
	if (error && error != -ESRCH)
		ph_shell_log(shell, PH_LOG_ERROR, "%s/%u: cannot send signal %d to pid %d: %s",
			worker->key.child.s, worker->key.instance, action->signal,
			(int)ph_child_pid(child), strerror(-error));
}

/* ---- what a worker left behind that ended while no daemon was there */

struct session {
	pid_t session;
	const char *token;
	size_t found;
};

/* The number of a session may have been given to a stranger since: the token cannot. */
static bool carries_token(pid_t pid, const char *token)
{
	char path[64], want[64], *environment = ph_shell_alloc(ENVIRON_MAX + 1);
	snprintf(path, sizeof path, "/proc/%d/environ", (int)pid);
	int n_want = snprintf(want, sizeof want, "PROCHUB_TOKEN=%s", token);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, environment, ENVIRON_MAX);
	bool found = n > 0 && memmem(environment, (size_t)n, want, (size_t)n_want);
	if (fd >= 0)
		close(fd);
	free(environment);
	return found;
}

static int kill_member(void *arg, pid_t pid)
{
	struct session *s = arg;
	struct ph_proc_stat stat;
	if (getsid(pid) != s->session || ph_proc_stat(pid, &stat) || stat.session != s->session ||
		stat.state == 'Z')
		return 0;
	if (!carries_token(pid, s->token))
		return 0;
	s->found++;
	kill(pid, SIGKILL);
	return 0;
}

size_t ph_shell_kill_session(pid_t session, const char *token)
{
	struct session s = {session, token, 0};
	if (*token)
		(void)ph_proc_each(kill_member, &s);
	return s.found;
}
