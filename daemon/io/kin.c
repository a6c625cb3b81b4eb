#include "io/kin.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/proc.h"

#define DEPTH_MAX 64  /* generations below a process that is killed */
#define BROOD_MAX 512 /* children of one process that are looked at in one round */

/* ---- the daemon's own children */

/* Who is waited for, and by how many: a number that is given anew may be named twice for a moment.
 */
struct own {
	pid_t pid;
	unsigned n;
};

/* sorted; one for the process, as its children are */
static struct {
	struct own *v;
	size_t n, room;
} own;

static size_t place_of(pid_t pid)
{
	size_t low = 0, high = own.n;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (own.v[middle].pid < pid)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool is_own(pid_t pid)
{
	size_t at = place_of(pid);
	return at < own.n && own.v[at].pid == pid;
}

void ph_kin_own(pid_t pid)
{
	size_t at = place_of(pid);
	if (is_own(pid)) {
		own.v[at].n++;
		return;
	}
	if (own.n == own.room) {
		size_t room = own.room ? 2 * own.room : 64;
		struct own *v = realloc(own.v, room * sizeof *v);
		if (!v)
			abort(); /* it would be taken for an orphan */
		own.v = v;
		own.room = room;
	}
	memmove(own.v + at + 1, own.v + at, (own.n - at) * sizeof *own.v);
	own.v[at] = (struct own){pid, 1};
	own.n++;
}

void ph_kin_disown(pid_t pid)
{
	size_t at = place_of(pid);
	if (!is_own(pid) || --own.v[at].n > 0)
		return;
	own.n--;
	memmove(own.v + at, own.v + at + 1, (own.n - at) * sizeof *own.v);
	if (own.n)
		return;
	free(own.v);
	own.v = NULL;
	own.room = 0;
}

int ph_kin_become_reaper(void)
{
	return prctl(PR_SET_CHILD_SUBREAPER, 1) < 0 ? -errno : 0;
}

/* ---- children of a process */

struct brood {
	bool orphans; /* only those that this process has not started */
	size_t n;
	pid_t v[BROOD_MAX];
};

static void add_child(struct brood *brood, pid_t pid)
{
	if (pid > 0 && brood->n < BROOD_MAX && !(brood->orphans && is_own(pid)))
		brood->v[brood->n++] = pid;
}

/* "12 345 6789 " */
static void read_children(int fd, struct brood *brood)
{
	char bytes[4096];
	ssize_t n;
	pid_t pid = 0;
	while ((n = read(fd, bytes, sizeof bytes)) > 0)
		for (ssize_t i = 0; i < n; i++) {
			if (isdigit((unsigned char)bytes[i])) {
				pid = pid * 10 + (bytes[i] - '0');
				continue;
			}
			add_child(brood, pid);
			pid = 0;
		}
	add_child(brood, pid);
}

struct parent {
	struct brood *brood;
	pid_t pid;
};

static int compare_parent(void *arg, pid_t pid)
{
	const struct parent *parent = arg;
	struct ph_proc_stat stat;
	if (!ph_proc_stat(pid, &stat) && stat.parent == parent->pid)
		add_child(parent->brood, pid);
	return 0;
}

/* Of all its threads. A kernel without CONFIG_PROC_CHILDREN is asked for each process. */
static void children_of(pid_t pid, struct brood *ret)
{
	char path[64];
	struct dirent *entry;
	bool known = true;
	(void)snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
	DIR *dir = opendir(path);
	while (dir && known && (entry = readdir(dir)) != NULL) {
		char file[64 + NAME_MAX];
		if (!isdigit((unsigned char)*entry->d_name))
			continue;
		(void)snprintf(file, sizeof file, "%s/children", entry->d_name);
		int fd = openat(dirfd(dir), file, O_RDONLY | O_CLOEXEC);
		if (fd >= 0) {
			read_children(fd, ret);
			close(fd);
		} else if (errno == ENOENT) { /* unless it is the thread that has gone */
			known = faccessat(dirfd(dir), entry->d_name, F_OK, 0) < 0;
		}
	}
	if (dir)
		closedir(dir);
	struct parent parent = {ret, pid};
	if (!known)
		(void)ph_proc_each(compare_parent, &parent);
}

size_t ph_kin_reap_orphans(void)
{
	struct brood brood = {.orphans = true};
	size_t reaped = 0;
	children_of(getpid(), &brood);
	for (size_t i = 0; i < brood.n; i++)
		reaped += waitpid(brood.v[i], NULL, WNOHANG) > 0;
	return reaped;
}

/* ---- descendants */

static bool lives(pid_t pid, struct ph_proc_stat *ret)
{
	return !ph_proc_stat(pid, ret) && ph_procstat_lives(ret);
}

static bool lists(const struct ph_kin_list *list, const struct ph_kin *kin)
{
	for (size_t i = 0; i < list->n; i++)
		if (list->v[i].pid == kin->pid && list->v[i].start_time == kin->start_time)
			return true;
	return false;
}

static void add_kin(struct ph_kin_list *list, const struct ph_kin *kin)
{
	if (list && list->n < PH_KIN_MAX && !lists(list, kin))
		list->v[list->n++] = *kin;
}

static void note_below(struct ph_kin_list *list, pid_t root, int depth)
{
	struct ph_proc_stat stat;
	struct brood *brood = depth < DEPTH_MAX ? calloc(1, sizeof *brood) : NULL;
	if (!brood)
		return;
	children_of(root, brood);
	for (size_t i = 0; i < brood->n && list->n < PH_KIN_MAX; i++) {
		if (!lives(brood->v[i], &stat) || stat.parent != root)
			continue;
		add_kin(list, &(struct ph_kin){brood->v[i], stat.start_time});
		note_below(list, brood->v[i], depth + 1);
	}
	free(brood);
}

void ph_kin_note(struct ph_kin_list *list, pid_t root)
{
	note_below(list, root, 0);
}

static int open_pidfd(pid_t pid)
{
	return pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
}

static bool send_signal(int pidfd, int signo)
{
	return syscall(SYS_pidfd_send_signal, pidfd, signo, NULL, 0) == 0;
}

static void kill_below(int pidfd, pid_t pid, struct ph_kin_list *killed, int depth);

/* The pidfd names a process that is of the worker. While it is stopped it makes no children, and
 * waits for none, so that their numbers stay theirs. */
static void kill_tree(int pidfd, const struct ph_kin *kin, struct ph_kin_list *killed, int depth)
{
	(void)send_signal(pidfd, SIGSTOP);
	kill_below(pidfd, kin->pid, killed, depth);
	(void)send_signal(pidfd, SIGKILL);
	add_kin(killed, kin);
}

static void kill_below(int parent_fd, pid_t parent, struct ph_kin_list *killed, int depth)
{
	struct ph_proc_stat stat;
	struct brood *brood = depth < DEPTH_MAX ? calloc(1, sizeof *brood) : NULL;
	if (!brood)
		return;
	children_of(parent, brood);
	for (size_t i = 0; i < brood->n; i++) {
		int pidfd = open_pidfd(brood->v[i]);
		/* its parent has that number still, so it is the one that was meant */
		if (pidfd >= 0 && lives(brood->v[i], &stat) && stat.parent == parent &&
			send_signal(parent_fd, 0)) {
			struct ph_kin kin = {brood->v[i], stat.start_time};
			kill_tree(pidfd, &kin, killed, depth + 1);
		}
		if (pidfd >= 0)
			close(pidfd);
	}
	free(brood);
}

bool ph_kin_kill(const struct ph_kin *kin, struct ph_kin_list *killed)
{
	struct ph_proc_stat stat;
	int pidfd = open_pidfd(kin->pid);
	bool there = pidfd >= 0 && lives(kin->pid, &stat) && stat.start_time == kin->start_time;
	if (there)
		kill_tree(pidfd, kin, killed, 0);
	if (pidfd >= 0)
		close(pidfd);
	return there;
}

/* ---- by environment */

static bool number_is(const char *text, uint32_t number)
{
	char digits[16];
	(void)snprintf(digits, sizeof digits, "%u", number);
	return text && strcmp(text, digits) == 0;
}

struct match {
	const struct ph_kin_mark *mark;
	struct ph_kin kin;
	bool found;
};

bool ph_kin_is(const struct ph_proc_worker *process, const struct ph_kin_mark *mark)
{
	if (process->start_time < mark->start_time)
		return false;
	if (process->token)
		return strcmp(process->token, mark->token) == 0;
	return mark->child && process->child && strcmp(process->child, mark->child) == 0 &&
	       number_is(process->instance, mark->instance) &&
	       number_is(process->replica, mark->replica);
}

static void compare_mark(void *arg, const struct ph_proc_worker *process)
{
	struct match *match = arg;
	match->kin = (struct ph_kin){process->pid, process->start_time};
	match->found = ph_kin_is(process, match->mark);
}

int ph_kin_matches(pid_t pid, const struct ph_kin_mark *mark, struct ph_kin *ret)
{
	struct match match = {.mark = mark};
	int r = ph_proc_look(pid, mark->socket_path, compare_mark, &match);
	if (r || !match.found)
		return r == -EAGAIN ? r : 0;
	*ret = match.kin;
	return 1;
}

static size_t kill_match(pid_t pid, const struct ph_kin_mark *mark, struct ph_kin_list *killed)
{
	struct ph_kin kin;
	int r = ph_kin_matches(pid, mark, &kin);
	killed->doubts += r < 0;
	return r > 0 && ph_kin_kill(&kin, killed);
}

bool ph_kin_has_orphans(void)
{
	struct brood brood = {.orphans = true};
	children_of(getpid(), &brood);
	return brood.n > 0;
}

size_t ph_kin_kill_orphans(const struct ph_kin_mark *mark, struct ph_kin_list *killed)
{
	struct brood brood = {.orphans = true};
	size_t n = 0;
	children_of(getpid(), &brood);
	for (size_t i = 0; i < brood.n; i++)
		n += kill_match(brood.v[i], mark, killed);
	return n;
}

struct ph_kin_walk {
	DIR *dir;
};

struct ph_kin_walk *ph_kin_walk_new(void)
{
	struct ph_kin_walk *walk = calloc(1, sizeof *walk);
	if (walk)
		walk->dir = opendir("/proc");
	if (walk && !walk->dir) {
		free(walk);
		walk = NULL;
	}
	return walk;
}

void ph_kin_walk_free(struct ph_kin_walk *walk)
{
	if (!walk)
		return;
	closedir(walk->dir);
	free(walk);
}

bool ph_kin_walk_on(struct ph_kin_walk *walk, unsigned n, const char *socket_path,
	ph_proc_worker_fn *fn, void *arg, unsigned *doubts)
{
	struct dirent *entry = NULL;
	for (; n > 0 && (entry = readdir(walk->dir)) != NULL; n--) {
		char *end;
		long pid = strtol(entry->d_name, &end, 10);
		if (pid > 0 && !*end && pid != getpid())
			*doubts += ph_proc_look((pid_t)pid, socket_path, fn, arg) == -EAGAIN;
	}
	return n == 0;
}
