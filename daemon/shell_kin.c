/*
 * What descends from workers and has left their sessions, where there is no cgroup that holds it.
 *
 * While a worker lives its descendants are left alone. When it has ended those that were seen below
 * it when it was asked to stop, and those that its environment names, are killed: orphans of this
 * daemon's own workers are its children; those of adopted ones may be anybody's, and are looked for
 * in all of /proc, some at a time.
 */
#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "io/child.h"
#include "io/kin.h"
#include "shell_parts.h"

#define REAP_MS 100 /* orphans that have ended stay zombies for so long */
#define LOOKS 64    /* processes that are looked at in one turn of the loop */

struct ph_shell_kin {
	struct event *on_child, *later;
	/* the walk through /proc that is under way, and who waits for the end of one */
	struct event *step;
	struct ph_kin_walk *walk;
	struct ph_shell_rest *rests;
	uint64_t begun, ended; /* walks */
	unsigned doubts;
};

/* ---- orphans that have ended */

static void on_later(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	(void)ph_kin_reap_orphans();
}

static void on_step(evutil_socket_t fd, short what, void *arg);

static void on_child(evutil_socket_t signo, short what, void *arg)
{
	static const struct timeval wait = {0, REAP_MS * 1000};
	struct ph_shell_kin *kin = arg;
	(void)signo;
	(void)what;
	if (!evtimer_pending(kin->later, NULL))
		evtimer_add(kin->later, &wait);
}

int ph_shell_kin_new(struct ph_shell *shell)
{
	struct ph_shell_kin *kin = shell->kin = ph_shell_alloc(sizeof *shell->kin);
	int error = ph_kin_become_reaper();
	if (error)
		return error;
	kin->later = evtimer_new(shell->base, on_later, shell);
	kin->step = evtimer_new(shell->base, on_step, shell);
	kin->on_child = evsignal_new(shell->base, SIGCHLD, on_child, kin);
	if (!kin->later || !kin->step || !kin->on_child || event_add(kin->on_child, NULL))
		return -ENOMEM;
	return 0;
}

void ph_shell_kin_free(struct ph_shell *shell)
{
	struct ph_shell_kin *kin = shell->kin;
	if (!kin)
		return;
	if (kin->on_child)
		event_free(kin->on_child);
	if (kin->later)
		event_free(kin->later);
	if (kin->step)
		event_free(kin->step);
	ph_kin_walk_free(kin->walk);
	free(kin);
	shell->kin = NULL;
}

/* ---- of one worker */

void ph_shell_kin_note(struct ph_shell_worker *worker)
{
	const struct ph_child *main = NULL;
	if (worker && !worker->cgroup && !worker->exited)
		main = worker->main ? worker->main : worker->child;
	if (!main)
		return;
	if (!worker->kin)
		worker->kin = ph_shell_alloc(sizeof *worker->kin);
	ph_kin_note(worker->kin, ph_child_pid(main));
	if (main != worker->child && worker->child)
		ph_kin_note(worker->kin, worker->pid);
}

void ph_shell_kin_kill(struct ph_shell_worker *worker)
{
	struct ph_kin main = {worker->pid, worker->start_time};
	if (!worker->cgroup && worker->child && !worker->exited)
		(void)ph_kin_kill(&main, NULL);
}

struct namesake {
	const struct ph_shell_worker *worker;
	bool found;
};

static void compare_key(void *arg, struct ph_shell_worker *other)
{
	struct namesake *search = arg;
	search->found |=
		other != search->worker && ph_key_compare(&other->key, &search->worker->key) == 0;
}

/* No other worker has its name here. */
static bool is_alone(struct ph_shell *shell, const struct ph_shell_worker *worker)
{
	struct namesake search = {worker, false};
	ph_shell_workers_each(shell, compare_key, &search);
	ph_shell_leaving_each(shell, compare_key, &search);
	return !search.found;
}

static struct ph_kin_mark plain_mark(
	const struct ph_shell *shell, const struct ph_shell_worker *worker)
{
	return (struct ph_kin_mark){.socket_path = shell->worker_path,
		.token = worker->token,
		.start_time = worker->start_time,
		.child = worker->key.child.s,
		.instance = worker->key.instance,
		.replica = worker->key.replica};
}

static struct ph_kin_mark mark_of(struct ph_shell *shell, const struct ph_shell_worker *worker)
{
	struct ph_kin_mark mark = plain_mark(shell, worker);
	if (!is_alone(shell, worker))
		mark.child = NULL;
	return mark;
}

static size_t kill_noted(struct ph_shell_worker *worker, struct ph_kin_list *killed)
{
	size_t n = 0;
	for (size_t i = 0; worker->kin && i < worker->kin->n; i++)
		n += ph_kin_kill(&worker->kin->v[i], killed);
	return n;
}

/* The first look, at what is near. An orphan that ends while it lasts may have been one that runs
 * away, from process to process: the next one of it is this daemon's child only since then. */
static size_t kill_near(struct ph_shell *shell, struct ph_shell_rest *rest)
{
	rest->killed.n = rest->killed.doubts = 0;
	(void)ph_kin_reap_orphans();
	size_t n = kill_noted(rest->worker, &rest->killed);
	if (ph_kin_has_orphans()) {
		struct ph_kin_mark mark = mark_of(shell, rest->worker);
		n += ph_kin_kill_orphans(&mark, &rest->killed);
	}
	if (!n && ph_kin_reap_orphans())
		rest->killed.doubts++;
	return n;
}

/* ---- all of /proc, once for all who wait for it */

static void on_process(void *arg, const struct ph_proc_worker *process)
{
	struct ph_shell *shell = arg;
	struct ph_shell_rest *rest;
	const struct ph_kin kin = {process->pid, process->start_time};
	DL_FOREACH (shell->kin->rests, rest) {
		struct ph_shell_worker *worker = rest->worker;
		struct ph_kin_mark mark = plain_mark(shell, worker);
		if (ph_kin_is(process, &mark) && (process->token || is_alone(shell, worker)))
			(void)ph_kin_kill(&kin, &rest->killed);
	}
}

static void walk_ended(struct ph_shell_kin *kin)
{
	struct ph_shell_rest *rest;
	ph_kin_walk_free(kin->walk);
	kin->walk = NULL;
	kin->ended = kin->begun;
	DL_FOREACH (kin->rests, rest)
		rest->killed.doubts += kin->doubts;
}

static void on_step(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval at_once = {0, 0};
	struct ph_shell *shell = arg;
	struct ph_shell_kin *kin = shell->kin;
	const struct ph_shell_rest *rest;
	bool more = false;
	(void)fd;
	(void)what;
	if (!kin->walk) {
		kin->begun++;
		kin->walk = ph_kin_walk_new();
		kin->doubts = !kin->walk; /* no descriptor is left: it is tried again */
	}
	if (!kin->walk || !ph_kin_walk_on(kin->walk, LOOKS, shell->worker_path, on_process, shell,
				  &kin->doubts))
		walk_ended(kin);
	DL_FOREACH (kin->rests, rest)
		more |= rest->round > kin->ended;
	if (more)
		evtimer_add(kin->step, &at_once);
}

static void wait_for_walk(struct ph_shell_kin *kin, struct ph_shell_rest *rest)
{
	static const struct timeval at_once = {0, 0};
	rest->round = kin->begun + 1; /* what is under way has passed by some already */
	DL_APPEND(kin->rests, rest);
	if (!evtimer_pending(kin->step, NULL))
		evtimer_add(kin->step, &at_once);
}

void ph_shell_kin_leave(struct ph_shell *shell, struct ph_shell_rest *rest)
{
	if (rest->round)
		DL_DELETE(shell->kin->rests, rest);
	rest->round = 0;
}

enum ph_shell_kin_left ph_shell_kin_look(struct ph_shell *shell, struct ph_shell_rest *rest)
{
	const struct ph_shell_worker *worker = rest->worker;
	if (worker->cgroup || rest->held)
		return PH_KIN_NONE; /* it held all of them */
	if (!rest->round) {
		if (kill_near(shell, rest))
			return PH_KIN_KILLED;
		if (worker->child && !ph_child_adopted(worker->child))
			return rest->killed.doubts ? PH_KIN_DOUBT : PH_KIN_NONE;
		wait_for_walk(shell->kin, rest);
		return PH_KIN_WAITS;
	}
	if (shell->kin->ended < rest->round)
		return PH_KIN_WAITS;
	ph_shell_kin_leave(shell, rest);
	if (rest->killed.n)
		return PH_KIN_KILLED;
	return rest->killed.doubts ? PH_KIN_DOUBT : PH_KIN_NONE;
}
