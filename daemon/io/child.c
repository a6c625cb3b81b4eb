#include "io/child.h"

#include "io/kin.h"
#include "io/proc.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <event2/event.h>

enum phase {
	RUNNING,
	ENDED, /* its zombie, if it is ours, still holds the number */
	REAPED,
};

struct ph_child {
	pid_t pid;
	int pidfd;
	uint64_t start_time;
	bool adopted;
	enum phase phase;
	ph_child_fn *fn;
	void *arg;
	struct event *event;
};

static int open_pidfd(pid_t pid)
{
	long fd = syscall(SYS_pidfd_open, pid, 0);
	return fd < 0 ? -errno : (int)fd;
}

static int send_signal(int pidfd, int signo)
{
	return syscall(SYS_pidfd_send_signal, pidfd, signo, NULL, 0) < 0 ? -errno : 0;
}

/* Reads the status and leaves the zombie; `unknown` where it is no child of ours. */
static struct ph_child_exit read_status(int pidfd)
{
	struct ph_child_exit status = {0};
	siginfo_t info;
	int r;
	memset(&info, 0, sizeof info);
	do {
		r = waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG | WNOWAIT);
	} while (r < 0 && errno == EINTR);
	if (r < 0 || !info.si_pid)
		status.unknown = true;
	else if (info.si_code == CLD_EXITED)
		status.code = info.si_status;
	else
		status.signal = info.si_status;
	status.core = !status.unknown && info.si_code == CLD_DUMPED;
	return status;
}

static void ended(evutil_socket_t fd, short what, void *arg)
{
	struct ph_child *child = arg;
	(void)what;
	struct ph_child_exit status = read_status(fd);
	/* who is not ours leaves no zombie that we could keep */
	child->phase = status.unknown ? REAPED : ENDED;
	if (status.unknown)
		ph_kin_disown(child->pid);
	child->fn(child->arg, child, &status);
}

int ph_child_new(struct event_base *base, pid_t pid, int pidfd, uint64_t start_time,
	ph_child_fn *fn, void *arg, struct ph_child **ret)
{
	struct ph_child *child = calloc(1, sizeof *child);
	if (!child) {
		close(pidfd);
		return -ENOMEM;
	}
	*child = (struct ph_child){.pid = pid,
		.pidfd = pidfd,
		.start_time = start_time,
		.phase = RUNNING,
		.fn = fn,
		.arg = arg};
	ph_kin_own(pid); /* an adopted one too: it may become ours when its parent ends */
	child->event = event_new(base, pidfd, EV_READ, ended, child);
	if (!child->event || event_add(child->event, NULL) < 0) {
		ph_child_free(child);
		return -ENOMEM;
	}
	*ret = child;
	return 0;
}

int ph_child_adopt(struct event_base *base, pid_t pid, uint64_t start_time, ph_child_fn *fn,
	void *arg, struct ph_child **ret, struct ph_err *err)
{
	struct ph_proc_stat now;
	int pidfd = pid > 0 ? open_pidfd(pid) : -ESRCH;
	if (pidfd < 0)
		return ph_err_set(
			err, -pidfd, "cannot adopt pid %d: %s", (int)pid, strerror(-pidfd));
	/* from here on the pidfd names one process: what /proc says now is about it, or it is gone
	 */
	int r = ph_proc_stat(pid, &now);
	if (!r && now.start_time == start_time)
		r = send_signal(pidfd, 0);
	if (!r && (now.state == 'X' || (now.state == 'Z' && now.parent != getpid())))
		r = -ESRCH;
	if (!r && now.start_time != start_time) {
		close(pidfd);
		return ph_err_set(err, ESTALE,
			"pid %d belongs to another process now (started at %llu, expected %llu)",
			(int)pid, (unsigned long long)now.start_time,
			(unsigned long long)start_time);
	}
	if (r) {
		close(pidfd);
		return ph_err_set(err, -r, "cannot adopt pid %d: %s", (int)pid, strerror(-r));
	}
	r = ph_child_new(base, pid, pidfd, start_time, fn, arg, ret);
	if (r)
		return ph_err_set(err, -r, "cannot adopt pid %d: %s", (int)pid, strerror(-r));
	(*ret)->adopted = true;
	return 0;
}

int ph_child_signal(struct ph_child *child, int signo)
{
	return child->phase == REAPED ? -ESRCH : send_signal(child->pidfd, signo);
}

/*
 * Does the number still mean our group and session? The kernel gives it to nobody while a member
 * lives. So a living process of that pid which is not our leader proves that all of ours are gone.
 */
static bool number_is_ours(const struct ph_child *child)
{
	return child->phase != REAPED || (kill(child->pid, 0) < 0 && errno == ESRCH);
}

/* a walk through /proc for the members of a session or group */
struct members {
	const struct ph_child *child;
	int signo; /* to send, or -1: only look */
	int found;
	int result;
};

static bool is_member(const struct members *members, pid_t pid)
{
	struct ph_proc_stat now;
	const struct ph_child *child = members->child;
	if (getsid(pid) != child->pid || pid == child->pid || ph_proc_stat(pid, &now))
		return false;
	return now.state != 'Z' && now.state != 'X' && now.session == child->pid &&
	       now.start_time >= child->start_time;
}

static int visit_member(void *arg, pid_t pid)
{
	struct members *members = arg;
	if (!is_member(members, pid))
		return 0;
	if (members->signo < 0) {
		members->found++;
		return 1;
	}
	int pidfd = open_pidfd(pid);
	if (pidfd < 0)
		return 0;
	/* asked once more, now that the pidfd holds on to it */
	if (is_member(members, pid)) {
		int r = send_signal(pidfd, members->signo);
		members->found++;
		if (r && r != -ESRCH)
			members->result = r;
	}
	close(pidfd);
	return 0;
}

int ph_child_kill_group(struct ph_child *child, int signo)
{
	if (child->phase != REAPED)
		return kill(-child->pid, signo) < 0 ? -errno : 0;
	if (!number_is_ours(child))
		return -ESRCH;
	struct members members = {.child = child, .signo = signo};
	int r = ph_proc_each(visit_member, &members);
	if (r < 0)
		return r;
	return members.found ? members.result : -ESRCH;
}

bool ph_child_group_alive(struct ph_child *child)
{
	if (child->phase == RUNNING)
		return true;
	if (!number_is_ours(child))
		return false;
	/* the leader's own zombie answers too: only /proc tells the living from it */
	struct members members = {.child = child, .signo = -1};
	if (child->phase == REAPED && kill(-child->pid, 0) < 0 && errno == ESRCH)
		return false;
	(void)ph_proc_each(visit_member, &members);
	return members.found > 0;
}

void ph_child_reap(struct ph_child *child)
{
	siginfo_t info;
	if (child->phase != ENDED)
		return;
	while (waitid(P_PIDFD, (id_t)child->pidfd, &info, WEXITED | WNOHANG) < 0 && errno == EINTR)
		;
	child->phase = REAPED;
	ph_kin_disown(child->pid);
}

void ph_child_free(struct ph_child *child)
{
	if (!child)
		return;
	ph_child_reap(child);
	if (child->phase == RUNNING)
		ph_kin_disown(child->pid);
	if (child->event)
		event_free(child->event);
	close(child->pidfd);
	free(child);
}

pid_t ph_child_pid(const struct ph_child *child)
{
	return child->pid;
}

int ph_child_pidfd(const struct ph_child *child)
{
	return child->pidfd;
}

uint64_t ph_child_start_time(const struct ph_child *child)
{
	return child->start_time;
}

bool ph_child_adopted(const struct ph_child *child)
{
	return child->adopted;
}
