/* The fences of earlier daemons, found in /proc. */
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "io/fence_impl.h"
#include "io/proc.h"

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW)

struct search {
	const char *run_dir;
	bool (*fn)(void *arg, const struct ph_fence_found *found);
	void *arg;
};

void ph_fence_kill(int pidfd)
{
	(void)syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
}

static bool is_text(pid_t pid, const char *what, const char *text, size_t n)
{
	char path[64], got[PATH_MAX + 64];
	(void)snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, what);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? -1 : read(fd, got, sizeof got);
	if (fd >= 0)
		close(fd);
	return length == (ssize_t)n && memcmp(got, text, n) == 0;
}

/* Name, arguments and user are those of a fence of this run_dir. */
static bool is_fence(pid_t pid, const char *run_dir)
{
	static const char comm[] = PH_FENCE_NAME "\n";
	char path[64], arguments[PATH_MAX + 64];
	struct stat owner;
	if (!is_text(pid, "comm", comm, sizeof comm - 1))
		return false;
	int n = snprintf(arguments, sizeof arguments, "%s%c%s%c%s", PH_FENCE_NAME, 0,
		PH_FENCE_FD_TEXT, 0, run_dir);
	if (!is_text(pid, "cmdline", arguments, (size_t)n + 1))
		return false;
	(void)snprintf(path, sizeof path, "/proc/%d", (int)pid);
	return stat(path, &owner) == 0 && owner.st_uid == geteuid();
}

/* Its memory, so that nothing can be cut off under it. */
static bool open_memory(struct ph_fence_found *found)
{
	char path[64];
	struct stat stat;
	(void)snprintf(path, sizeof path, "/proc/%d/fd/" PH_FENCE_FD_TEXT, (int)found->pid);
	found->memory = open(path, O_RDWR | O_CLOEXEC);
	int seals = found->memory < 0 ? -1 : fcntl(found->memory, F_GET_SEALS);
	if (seals < 0 || (seals & SEALS) != SEALS || fstat(found->memory, &stat) < 0 ||
		stat.st_size < (off_t)PH_FENCE_HEAD_BYTES)
		return false;
	bool whole = stat.st_size == (off_t)PH_FENCE_BYTES;
	found->bytes = whole ? PH_FENCE_BYTES : PH_FENCE_HEAD_BYTES;
	void *map = mmap(NULL, found->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, found->memory, 0);
	if (map == MAP_FAILED)
		return false;
	found->map = map;
	found->fits = whole && found->map->version == PH_FENCE_VERSION &&
		      found->map->n_entries == PH_FENCE_ENTRIES;
	return found->map->magic == PH_FENCE_MAGIC;
}

void ph_fence_found_close(const struct ph_fence_found *found)
{
	if (found->map)
		(void)munmap(found->map, found->bytes);
	if (found->memory >= 0)
		close(found->memory);
	if (found->pidfd >= 0)
		close(found->pidfd);
}

static int visit(void *arg, pid_t pid)
{
	const struct search *search = arg;
	struct ph_fence_found found = {.pid = pid, .pidfd = -1, .memory = -1};
	if (!is_fence(pid, search->run_dir))
		return 0;
	found.pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	/* asked once more, now that the pidfd holds on to it */
	if (found.pidfd < 0 || !is_fence(pid, search->run_dir) || !open_memory(&found) ||
		!search->fn(search->arg, &found))
		ph_fence_found_close(&found);
	return 0;
}

void ph_fence_find(
	const char *run_dir, bool (*fn)(void *arg, const struct ph_fence_found *found), void *arg)
{
	struct search search = {run_dir, fn, arg};
	(void)ph_proc_each(visit, &search);
}

static bool end_one(void *arg, const struct ph_fence_found *found)
{
	(void)arg;
	if (atomic_load(&found->map->lease_until_ms) != PH_FENCE_FIRED)
		ph_fence_kill(found->pidfd);
	return false;
}

void ph_fence_end_all(const char *run_dir)
{
	char *real = realpath(run_dir, NULL);
	if (real)
		ph_fence_find(real, end_one, NULL);
	free(real);
}
