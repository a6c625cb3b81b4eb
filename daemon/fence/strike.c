#include "fence/strike.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
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
	bool gone;    /* an earlier round has found nothing of it */
};

/* A process that executes a program has no environment for that moment, and may be anybody's: up to
 * so many are looked at again, so often, each time after so long, 0.2 s in all. */
#define LATER_MAX 1024
#define LATER_ROUNDS 200
#define LATER_NS 1000000
static pid_t later[LATER_MAX];
static size_t n_later;

static struct target targets[PH_FENCE_ENTRIES];
static size_t n_targets;

/* Targets by something of theirs, sorted by that. */
struct index {
	struct entry {
		uint64_t key;
		struct target *target;
	} entries[PH_FENCE_ENTRIES];
	size_t n;
};

static struct index by_pid;
static struct index by_mark; /* what stands in the name of its cgroup; not all have one */
static const char *cgroups;  /* the folder; empty: there are none */

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

static struct target *find(const struct index *index, uint64_t key)
{
	const struct entry *entries = index->entries;
	size_t low = 0, high = index->n;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (entries[middle].key == key)
			return entries[middle].target->gone ? NULL : entries[middle].target;
		if (entries[middle].key < key)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

static struct target *target_of(pid_t session)
{
	return find(&by_pid, (uint64_t)session);
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

/* 1, 0, or -EAGAIN: it executes. */
static int has_token_of(pid_t pid, const struct target *target)
{
	char token[PH_FENCE_TOKEN_TEXT], want[PH_FENCE_TOKEN_TEXT];
	token_text(target, want);
	int r = has_token(target) ? ph_procfs_token(pid, token) : 0;
	return r > 0 ? strcmp(token, want) == 0 : r;
}

/* Whose token it has in its environment: as above. */
static int target_of_token(pid_t pid, struct target **ret)
{
	char token[PH_FENCE_TOKEN_TEXT];
	int r = ph_procfs_token(pid, token);
	*ret = r > 0 ? find(&by_mark, ph_token_mark(token)) : NULL;
	return *ret ? has_token_of(pid, *ret) : r < 0 ? r : 0; /* it may execute by now */
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

/* Is the process of that pidfd, which `was` it, one of that target? 1, 0, or -EAGAIN. */
static int is_member(pid_t pid, const struct ph_proc_stat *was, const struct target *target,
	bool of_session, struct ph_proc_stat *ret)
{
	if (!ph_procfs_is(pid, was->start_time, ret))
		return 0;
	/* in this order: it is of that session, and then that session is still the worker's */
	if (of_session && ret->session == (pid_t)target->worker.pid && number_is_its(target))
		return 1;
	return has_token_of(pid, target);
}

/*
 * Of a session of a worker by its number, as long as that is the worker's; of any other, as of one
 * that has made itself a session, by its environment. -EAGAIN: it executes.
 */
static int strike_member(pid_t pid, int signo)
{
	struct ph_proc_stat stat, again;
	pid_t session = getsid(pid); /* cheaper than the whole line */
	if (session == pid && target_of(pid))
		return 0; /* the leader has had it */
	struct target *of_session = session > 0 ? target_of(session) : NULL, *target = of_session;
	int r = of_session ? 1 : target_of_token(pid, &target);
	if (r <= 0)
		return r;
	if (!ph_procfs_stat(pid, &stat) || !ph_procstat_lives(&stat))
		return 0;
	int pidfd = open_pidfd(pid);
	if (pidfd < 0)
		return 0;
	r = is_member(pid, &stat, target, of_session, &again);
	if (r > 0) {
		bool in_group = of_session && again.group == session;
		target->lives = true;
		if (signo == SIGKILL || (signo && !target->grouped && in_group))
			(void)send_signal(pidfd, signo, 0);
	}
	close(pidfd);
	return r;
}

static void visit(void *arg, pid_t pid)
{
	int signo = *(const int *)arg;
	if (strike_member(pid, signo) == -EAGAIN && n_later < LATER_MAX)
		later[n_later++] = pid;
}

static void strike_members(int signo)
{
	static const struct timespec pause = {.tv_nsec = LATER_NS};
	n_later = 0;
	ph_procfs_each(visit, &signo);
	for (int round = 0; round < LATER_ROUNDS && n_later; round++) {
		size_t n = n_later;
		(void)nanosleep(&pause, NULL);
		n_later = 0;
		for (size_t i = 0; i < n; i++) /* writes behind what it reads */
			visit(&signo, later[i]);
	}
}

/* ---- the cgroups */

/* It holds whatever has made itself a session and has no environment any more. */
static void strike_cgroup(void *arg, const char *path, uint64_t mark)
{
	int signo = *(const int *)arg;
	struct target *target = find(&by_mark, mark);
	if (!target || !ph_procfs_cgroup_lives(path))
		return;
	target->lives = true;
	if (signo == SIGKILL)
		ph_procfs_cgroup_kill(path);
}

/* ---- all */

static void add(struct index *index, uint64_t key, struct target *target)
{
	index->entries[index->n++] = (struct entry){key, target};
}

/* In place: qsort() may allocate. */
static void sort(struct index *index)
{
	struct entry *entries = index->entries;
	size_t gap = 1;
	while (gap < index->n / 3)
		gap = 3 * gap + 1;
	for (; gap > 0; gap /= 3) {
		for (size_t i = gap; i < index->n; i++) {
			struct entry moved = entries[i];
			size_t at = i;
			for (; at >= gap && entries[at - gap].key > moved.key; at -= gap)
				entries[at] = entries[at - gap];
			entries[at] = moved;
		}
	}
}

static void mark(struct target *target)
{
	char token[PH_FENCE_TOKEN_TEXT];
	if (!has_token(target))
		return;
	token_text(target, token);
	add(&by_mark, ph_token_mark(token), target);
}

size_t ph_strike_take(struct ph_fence_map *map)
{
	n_targets = by_pid.n = by_mark.n = 0;
	map->cgroups[PH_FENCE_PATH_SIZE - 1] = '\0';
	cgroups = map->cgroups;
	for (size_t i = 0; i < PH_FENCE_ENTRIES; i++) {
		struct target target = {.lives = true};
		if (!ph_fence_read(&map->entries[i], &target.worker))
			continue;
		targets[n_targets] = target;
		add(&by_pid, target.worker.pid, &targets[n_targets]);
		mark(&targets[n_targets++]);
	}
	sort(&by_pid);
	sort(&by_mark);
	return n_targets;
}

size_t ph_strike_round(int signo)
{
	size_t left = 0;
	for (size_t i = 0; i < n_targets; i++) {
		struct target *target = &targets[i];
		target->lives = target->grouped = false;
		if (target->gone)
			continue;
		strike_leader(target, signo);
		strike_main(target, signo);
	}
	if (n_targets)
		strike_members(signo);
	if (n_targets && *cgroups)
		ph_procfs_each_cgroup(cgroups, strike_cgroup, &signo);
	for (size_t i = 0; i < n_targets; i++) {
		targets[i].gone = !targets[i].lives;
		left += targets[i].lives;
	}
	return left;
}
