#include "fence/procfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ENVIRON_MAX 65536
#define KTHREADD 2 /* the parent of all threads of the kernel */
#define TOKEN_NAME "PROCHUB_TOKEN="
#define CGROUP_NAME "prochub-"
#define CGROUP_FILE_SIZE (PH_FENCE_PATH_SIZE + 512)

/* At most n - 1 bytes, ended by a NUL; 0 where there is nothing to read. */
static size_t read_file(const char *path, char *bytes, size_t n)
{
	size_t got = 0;
	ssize_t r = 1;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && got < n - 1 && r != 0) {
		r = read(fd, bytes + got, n - 1 - got);
		if (r < 0 && errno != EINTR)
			break;
		got += r > 0 ? (size_t)r : 0;
	}
	if (fd >= 0)
		close(fd);
	bytes[got] = '\0';
	return got;
}

static size_t read_all(pid_t pid, const char *what, char *bytes, size_t n)
{
	char path[64];
	(void)snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, what);
	return read_file(path, bytes, n);
}

bool ph_procfs_stat(pid_t pid, struct ph_proc_stat *ret)
{
	char line[1024];
	return read_all(pid, "stat", line, sizeof line) > 0 && ph_procstat_parse(line, ret);
}

bool ph_procfs_is(pid_t pid, uint64_t start_time, struct ph_proc_stat *ret)
{
	return ph_procfs_stat(pid, ret) && ret->start_time == start_time;
}

/* It has neither an environment nor arguments, as threads of the kernel have none ever. */
static bool executes(pid_t pid)
{
	struct ph_proc_stat stat;
	char argument[2];
	return read_all(pid, "cmdline", argument, sizeof argument) == 0 &&
	       ph_procfs_stat(pid, &stat) && ph_procstat_lives(&stat) && pid != KTHREADD &&
	       stat.parent != KTHREADD;
}

int ph_procfs_token(pid_t pid, char ret[PH_FENCE_TOKEN_TEXT])
{
	static char environment[ENVIRON_MAX];
	const size_t name = sizeof TOKEN_NAME - 1;
	size_t n = read_all(pid, "environ", environment, sizeof environment);
	if (!n && executes(pid))
		return -EAGAIN;
	if (!n) /* it may have executed just now */
		n = read_all(pid, "environ", environment, sizeof environment);
	for (const char *at = environment; at < environment + n; at += strlen(at) + 1) {
		if (strncmp(at, TOKEN_NAME, name) != 0 ||
			strlen(at + name) != PH_FENCE_TOKEN_TEXT - 1)
			continue;
		memcpy(ret, at + name, PH_FENCE_TOKEN_TEXT);
		return 1;
	}
	return 0;
}

/* ---- folders */

/* The names in it; `fn` calls nothing of this file that reads a folder. */
static void each_entry(const char *dir, void (*fn)(void *arg, const char *name), void *arg)
{
	static char entries[32768] __attribute__((aligned(8)));
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ssize_t n;
	while (fd >= 0 && (n = getdents64(fd, entries, sizeof entries)) > 0) {
		for (ssize_t at = 0; at < n;) {
			/* readdir() would allocate; the kernel aligns what it writes here */
			const struct dirent64 *entry = (const void *)(entries + at);
			fn(arg, entry->d_name);
			at += entry->d_reclen;
		}
	}
	if (fd >= 0)
		close(fd);
}

struct pids {
	void (*fn)(void *arg, pid_t pid);
	void *arg;
};

static void take_pid(void *arg, const char *name)
{
	const struct pids *pids = arg;
	long pid = strtol(name, NULL, 10);
	if (pid > 0)
		pids->fn(pids->arg, (pid_t)pid);
}

void ph_procfs_each(void (*fn)(void *arg, pid_t pid), void *arg)
{
	struct pids pids = {fn, arg};
	each_entry("/proc", take_pid, &pids);
}

struct cgroups {
	const char *dir;
	void (*fn)(void *arg, const char *path, uint64_t mark);
	void *arg;
};

/* "prochub-0123456789abcdef-web.0.0-0123456789abcdef": whose is in the last digits */
static void take_cgroup(void *arg, const char *name)
{
	const struct cgroups *cgroups = arg;
	char path[PH_FENCE_PATH_SIZE + 256], *end;
	const char *last = strrchr(name, '-');
	if (strncmp(name, CGROUP_NAME, sizeof CGROUP_NAME - 1) != 0 || strlen(last + 1) != 16)
		return;
	uint64_t mark = strtoull(last + 1, &end, 16);
	if (*end || snprintf(path, sizeof path, "%s/%s", cgroups->dir, name) >= (int)sizeof path)
		return;
	cgroups->fn(cgroups->arg, path, mark);
}

void ph_procfs_each_cgroup(
	const char *dir, void (*fn)(void *arg, const char *path, uint64_t mark), void *arg)
{
	struct cgroups cgroups = {dir, fn, arg};
	each_entry(dir, take_cgroup, &cgroups);
}

/* A path of ph_procfs_each_cgroup(), so there is room. */
static void file_of(const char *path, const char *name, char ret[CGROUP_FILE_SIZE])
{
	(void)snprintf(ret, CGROUP_FILE_SIZE, "%s/%s", path, name);
}

bool ph_procfs_cgroup_lives(const char *path)
{
	char file[CGROUP_FILE_SIZE], text[256];
	file_of(path, "cgroup.events", file);
	return read_file(file, text, sizeof text) > 0 && strstr(text, "populated 1") != NULL;
}

void ph_procfs_cgroup_kill(const char *path)
{
	char file[CGROUP_FILE_SIZE];
	file_of(path, "cgroup.kill", file);
	int fd = open(file, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	(void)!write(fd, "1", 1);
	close(fd);
}
