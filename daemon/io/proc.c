#include "io/proc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* a quarter of the default stack: the kernel's own bound */
#define KTHREADD 2 /* the parent of all threads of the kernel, which have no environment */
#define ENVIRON_BYTES_MAX ((size_t)2 << 20)
/* A process that executes a program has no environment until the program is mapped: microseconds,
 * more on a disk that is busy. A search looks at up to so many of them again, so often, each time
 * after so long: 0.2 s in all, and none where nothing executes. */
#define AGAIN_MAX 1024
#define AGAIN_ROUNDS 200
#define AGAIN_NS 1000000

/* Reads at most n - 1 bytes of /proc/PID/`what` and ends them with a NUL. */
static ssize_t read_proc(pid_t pid, const char *what, char *bytes, size_t n)
{
	char path[64];
	(void)snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, what);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	size_t got = 0;
	ssize_t r = 1;
	while (got < n - 1 && (r = read(fd, bytes + got, n - 1 - got)) != 0) {
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			break;
		got += (size_t)r;
	}
	r = r < 0 ? -errno : (ssize_t)got;
	close(fd);
	bytes[got] = '\0';
	return r;
}

int ph_proc_stat(pid_t pid, struct ph_proc_stat *ret)
{
	char line[1024];
	ssize_t n = read_proc(pid, "stat", line, sizeof line);
	if (n < 0)
		return (int)n;
	if (!ph_procstat_parse(line, ret))
		return n ? -EBADMSG : -ESRCH;
	return 0;
}

int ph_proc_name(pid_t pid, char ret[PH_PROC_NAME_SIZE])
{
	char line[PH_PROC_NAME_SIZE + 1]; /* with its newline */
	ssize_t n = read_proc(pid, "comm", line, sizeof line);
	if (n < 0)
		return (int)n;
	(void)snprintf(ret, PH_PROC_NAME_SIZE, "%.*s", (int)strcspn(line, "\n"), line);
	return 0;
}

pid_t ph_proc_session(pid_t pid)
{
	pid_t session = getsid(pid);
	return session < 0 ? -errno : session;
}

int ph_proc_each(ph_proc_each_fn *fn, void *arg)
{
	DIR *dir = opendir("/proc");
	if (!dir)
		return -errno;
	int r = 0;
	struct dirent *entry;
	while (!r && (entry = readdir(dir)) != NULL) {
		char *end;
		if (*entry->d_name < '1' || *entry->d_name > '9')
			continue;
		long pid = strtol(entry->d_name, &end, 10);
		if (!*end)
			r = fn(arg, (pid_t)pid);
	}
	closedir(dir);
	return r;
}

/* The variables that are looked for: X(field, name) */
#define WORKER_VARIABLES(X) \
	X(token, "PROCHUB_TOKEN") \
	X(child, "PROCHUB_CHILD") \
	X(instance, "PROCHUB_INSTANCE") \
	X(replica, "PROCHUB_REPLICA") \
	X(node, "PROCHUB_NODE") \
	X(epoch, "PROCHUB_EPOCH") \
	X(role, "PROCHUB_ROLE")

struct search {
	const char *socket_path;
	bool orphans;
	ph_proc_worker_fn *fn;
	void *arg;
	char *environment;
	size_t n_again;
	pid_t again[AGAIN_MAX]; /* those that were executing when they were looked at */
};

static const char *value_of(const char *entry, const char *name)
{
	size_t n = strlen(name);
	return strncmp(entry, name, n) == 0 && entry[n] == '=' ? entry + n + 1 : NULL;
}

/* True where the environment is one of our workers'. */
static bool read_variables(const struct search *search, size_t n, struct ph_proc_worker *worker)
{
	bool ours = false;
	for (const char *entry = search->environment; entry < search->environment + n;
		entry += strlen(entry) + 1) {
		const char *value = value_of(entry, "PROCHUB_SOCKET");
		if (value)
			ours = strcmp(value, search->socket_path) == 0;
#define X(field, name) \
	if ((value = value_of(entry, name)) != NULL) \
		worker->field = value;
		WORKER_VARIABLES(X)
#undef X
	}
	return ours;
}

static bool runs(pid_t pid, struct ph_proc_stat *ret)
{
	return !ph_proc_stat(pid, ret) && ret->state != 'Z' && ret->state != 'X';
}

static bool is_wanted(const struct search *search, pid_t pid, pid_t session)
{
	struct ph_proc_stat leader;
	if (!search->orphans)
		return session == pid;
	return session > 0 && session != pid && !runs(session, &leader);
}

/* Bytes; 0 it was started with none; -EAGAIN it executes; -errno. While a process executes, or ends
 * (newer kernels say ESRCH), it has neither an environment nor arguments. */
static ssize_t read_environment(const struct search *search, pid_t pid)
{
	struct ph_proc_stat now;
	char argument[2];
	ssize_t n = read_proc(pid, "environ", search->environment, ENVIRON_BYTES_MAX);
	if (!n && read_proc(pid, "cmdline", argument, sizeof argument) > 0)
		return read_proc(pid, "environ", search->environment, ENVIRON_BYTES_MAX);
	if (n && n != -ESRCH)
		return n;
	return runs(pid, &now) ? -EAGAIN : -ESRCH;
}

static int look(const struct search *search, pid_t pid, pid_t session)
{
	struct ph_proc_stat before, after;
	struct stat owner;
	char path[32];
	if (!runs(pid, &before))
		return 0;
	ssize_t n = read_environment(search, pid);
	if (n == -EAGAIN)
		return pid != KTHREADD && before.parent != KTHREADD ? -EAGAIN : 0;
	struct ph_proc_worker worker = {
		.pid = pid, .session = session, .start_time = before.start_time};
	if (n <= 0 || !read_variables(search, (size_t)n, &worker))
		return 0;
	(void)snprintf(path, sizeof path, "/proc/%d", (int)pid);
	if (stat(path, &owner) < 0)
		return 0;
	worker.uid = owner.st_uid;
	if (ph_proc_stat(pid, &after) || after.start_time != before.start_time)
		return 0;
	search->fn(search->arg, &worker);
	return 0;
}

static int visit(void *arg, pid_t pid)
{
	struct search *search = arg;
	pid_t session = getsid(pid);
	if (pid != getpid() && is_wanted(search, pid, session) &&
		look(search, pid, session) == -EAGAIN && search->n_again < AGAIN_MAX)
		search->again[search->n_again++] = pid;
	return 0;
}

static void visit_again(struct search *search)
{
	const struct timespec pause = {.tv_nsec = AGAIN_NS};
	for (int round = 0; round < AGAIN_ROUNDS && search->n_again; round++) {
		size_t n = search->n_again;
		(void)nanosleep(&pause, NULL);
		search->n_again = 0;
		for (size_t i = 0; i < n; i++) /* writes behind what it reads */
			(void)visit(search, search->again[i]);
	}
}

int ph_proc_look(pid_t pid, const char *socket_path, ph_proc_worker_fn *fn, void *arg)
{
	struct search search = {.socket_path = socket_path,
		.fn = fn,
		.arg = arg,
		.environment = malloc(ENVIRON_BYTES_MAX)};
	if (!search.environment)
		return -ENOMEM;
	int r = look(&search, pid, getsid(pid));
	free(search.environment);
	return r;
}

int ph_proc_find_workers(const char *socket_path, bool orphans, ph_proc_worker_fn *fn, void *arg)
{
	struct search search = {.socket_path = socket_path,
		.orphans = orphans,
		.fn = fn,
		.arg = arg,
		.environment = malloc(ENVIRON_BYTES_MAX)};
	if (!search.environment)
		return -ENOMEM;
	int r = ph_proc_each(visit, &search);
	visit_again(&search);
	free(search.environment);
	return r;
}
