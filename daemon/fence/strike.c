#include "fence/strike.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/types.h"
#include "fence/procfs.h"

#ifndef PIDFD_SIGNAL_PROCESS_GROUP
#define PIDFD_SIGNAL_PROCESS_GROUP (1u << 2) /* Linux 6.9 */
#endif

/* A worker, and what this round has found of it. */
struct target {
	struct ph_fence_worker worker;
	bool lives;   /* something of it */
	bool grouped; /* its process group has got the signal */
};

/* sorted by pid; those of whom nothing is left drop out */
static struct target targets[PH_FENCE_ENTRIES];
static size_t n_targets;

/* By what stands in the name of its cgroup; all of them, sorted by that. */
static struct mark {
	uint64_t mark;
	pid_t pid;
} marks[PH_FENCE_ENTRIES];
static size_t n_marks;
static const char *cgroups; /* the folder; empty: there are none */

/* ---- one process */

static int open_pidfd(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

static int send_signal(int pidfd, int signo, unsigned flags)
{
	return syscall(SYS_pidfd_send_signal, pidfd, signo, NULL, flags) < 0 ? -errno : 0;
}

/* To the group of a leader that is proven to be there. */
static void signal_group(int pidfd, pid_t pid, int signo)
{
	if (send_signal(pidfd, signo, PIDFD_SIGNAL_PROCESS_GROUP) == -EINVAL)
		(void)kill(-pid, signo);
}

/* A zombie too holds its number, and so its group is still that of the worker. */
static void strike_leader(struct target *target, int signo)
{
	struct ph_proc_stat stat;
	pid_t pid = (pid_t)target->worker.pid;
	int pidfd = open_pidfd(pid);
	if (pidfd < 0)
		return;
	/* from here on the pidfd names one process: what /proc says now is about it, or it is gone
	 */
	if (ph_procfs_is(pid, target->worker.start_time, &stat)) {
		target->lives = ph_procstat_lives(&stat);
		target->grouped = true;
		if (signo)
			signal_group(pidfd, pid, signo);
	}
	close(pidfd);
}

/* It may live on after the one that was started, and in a group of its own. */
static void strike_main(struct target *target, int signo)
{
	struct ph_proc_stat stat;
	pid_t pid = (pid_t)target->worker.main_pid, session = (pid_t)target->worker.pid;
	int pidfd = pid ? open_pidfd(pid) : -1;
	if (pidfd < 0)
		return;
	if (ph_procfs_is(pid, target->worker.main_start_time, &stat) && stat.session == session &&
		ph_procstat_lives(&stat)) {
		target->lives = true;
		if (signo && !target->grouped) /* the number is its session's as long as it lives */
			(void)kill(-session, signo);
		if (signo && stat.group != session)
			(void)send_signal(pidfd, signo, 0);
		target->grouped = true;
	}
	close(pidfd);
}

/* ---- the sessions */

static struct target *target_of(pid_t session)
{
	size_t low = 0, high = n_targets;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		pid_t pid = (pid_t)targets[middle].worker.pid;
		if (pid == session)
			return &targets[middle];
		if (pid < session)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

static struct target *target_of_mark(uint64_t mark)
{
	size_t low = 0, high = n_marks;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (marks[middle].mark == mark)
			return target_of(marks[middle].pid);
		if (marks[middle].mark < mark)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* One of an earlier version may have none. */
static bool has_token(const struct target *target)
{
	static const uint8_t none[PH_FENCE_TOKEN_SIZE];
	return memcmp(target->worker.token, none, sizeof none) != 0;
}

static void token_text(const struct target *target, char ret[PH_FENCE_TOKEN_TEXT])
{
	static const char digits[] = "0123456789abcdef";
	for (size_t i = 0; i < PH_FENCE_TOKEN_SIZE; i++) {
		*ret++ = digits[target->worker.token[i] >> 4];
		*ret++ = digits[target->worker.token[i] & 15];
	}
	*ret = '\0';
}

static bool has_token_of(pid_t pid, const struct target *target)
{
	char token[PH_FENCE_TOKEN_TEXT], want[PH_FENCE_TOKEN_TEXT];
	token_text(target, want);
	return has_token(target) && ph_procfs_token(pid, token) && strcmp(token, want) == 0;
}

/* Whose token it has in its environment, or NULL. */
static struct target *target_of_token(pid_t pid)
{
	char token[PH_FENCE_TOKEN_TEXT];
	struct target *target =
		ph_procfs_token(pid, token) ? target_of_mark(ph_token_mark(token)) : NULL;
	return target && has_token_of(pid, target) ? target : NULL;
}

/* Is the session that has this number that of the worker, now? */
static bool number_is_its(const struct target *target)
{
	struct ph_proc_stat stat;
	const struct ph_fence_worker *w = &target->worker;
	return ph_procfs_is((pid_t)w->pid, w->start_time, &stat) ||
	       (w->main_pid && ph_procfs_is((pid_t)w->main_pid, w->main_start_time, &stat) &&
		       stat.session == (pid_t)w->pid);
}

/*
 * Of a session of a worker by its number, as long as that is the worker's; of any other, as of one
 * that has made itself a session, by its environment.
 */
static void strike_member(void *arg, pid_t pid)
{
	int signo = *(const int *)arg;
	struct ph_proc_stat stat, again;
	pid_t session = getsid(pid); /* cheaper than the whole line */
	if (session == pid && target_of(pid))
		return; /* the leader has had it */
	struct target *of_session = session > 0 ? target_of(session) : NULL;
	struct target *target = of_session ? of_session : target_of_token(pid);
	if (!target || !ph_procfs_stat(pid, &stat) || !ph_procstat_lives(&stat))
		return;
	int pidfd = open_pidfd(pid);
	if (pidfd < 0)
		return;
	/* in this order: it is of that session, and then that session is still the worker's */
	if (ph_procfs_is(pid, stat.start_time, &again) &&
		((of_session && again.session == session && number_is_its(target)) ||
			has_token_of(pid, target))) {
		bool in_group = of_session && again.group == session;
		target->lives = true;
		if (signo == SIGKILL || (signo && !target->grouped && in_group))
			(void)send_signal(pidfd, signo, 0);
	}
	close(pidfd);
}

/* ---- the cgroups */

/* It holds whatever has made itself a session and has no environment any more. */
static void strike_cgroup(void *arg, const char *path, uint64_t mark)
{
	int signo = *(const int *)arg;
	struct target *target = target_of_mark(mark);
	if (!target || !ph_procfs_cgroup_lives(path))
		return;
	target->lives = true;
	if (signo == SIGKILL)
		ph_procfs_cgroup_kill(path);
}

/* ---- all */

/* In place: qsort() may allocate. */
static void sort(void)
{
	size_t gap = 1;
	while (gap < n_targets / 3)
		gap = 3 * gap + 1;
	for (; gap > 0; gap /= 3) {
		for (size_t i = gap; i < n_targets; i++) {
			struct target moved = targets[i];
			size_t at = i;
			for (; at >= gap && targets[at - gap].worker.pid > moved.worker.pid;
				at -= gap)
				targets[at] = targets[at - gap];
			targets[at] = moved;
		}
	}
}

static void sort_marks(void)
{
	size_t gap = 1;
	while (gap < n_marks / 3)
		gap = 3 * gap + 1;
	for (; gap > 0; gap /= 3) {
		for (size_t i = gap; i < n_marks; i++) {
			struct mark moved = marks[i];
			size_t at = i;
			for (; at >= gap && marks[at - gap].mark > moved.mark; at -= gap)
				marks[at] = marks[at - gap];
			marks[at] = moved;
		}
	}
}

static void mark(const struct target *target)
{
	char token[PH_FENCE_TOKEN_TEXT];
	if (!has_token(target))
		return;
	token_text(target, token);
	marks[n_marks++] = (struct mark){ph_token_mark(token), (pid_t)target->worker.pid};
}

size_t ph_strike_take(struct ph_fence_map *map)
{
	n_targets = n_marks = 0;
	map->cgroups[PH_FENCE_PATH_SIZE - 1] = '\0';
	cgroups = map->cgroups;
	for (size_t i = 0; i < PH_FENCE_ENTRIES; i++) {
		struct target target = {.lives = true};
		if (!ph_fence_read(&map->entries[i], &target.worker))
			continue;
		targets[n_targets++] = target;
		mark(&target);
	}
	sort();
	sort_marks();
	return n_targets;
}

size_t ph_strike_round(int signo)
{
	size_t kept = 0;
	for (size_t i = 0; i < n_targets; i++) {
		struct target *target = &targets[i];
		target->lives = target->grouped = false;
		strike_leader(target, signo);
		strike_main(target, signo);
	}
	if (n_targets)
		ph_procfs_each(strike_member, &signo);
	if (n_targets && *cgroups)
		ph_procfs_each_cgroup(cgroups, strike_cgroup, &signo);
	for (size_t i = 0; i < n_targets; i++)
		if (targets[i].lives)
			targets[kept++] = targets[i];
	n_targets = kept;
	return kept;
}
