#include "fence/procfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ENVIRON_MAX 65536
#define TOKEN_NAME "PROCHUB_TOKEN="

/* At most n - 1 bytes, ended by a NUL; 0 where there is nothing to read. */
static size_t read_all(pid_t pid, const char *what, char *bytes, size_t n)
{
	char path[64];
	size_t got = 0;
	ssize_t r = 1;
	(void)snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, what);
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

bool ph_procfs_stat(pid_t pid, struct ph_proc_stat *ret)
{
	char line[1024];
	return read_all(pid, "stat", line, sizeof line) > 0 && ph_procstat_parse(line, ret);
}

bool ph_procfs_is(pid_t pid, uint64_t start_time, struct ph_proc_stat *ret)
{
	return ph_procfs_stat(pid, ret) && ret->start_time == start_time;
}

bool ph_procfs_has_token(pid_t pid, const uint8_t token[PH_FENCE_TOKEN_SIZE])
{
	static const char digits[] = "0123456789abcdef";
	static char environment[ENVIRON_MAX];
	char want[sizeof TOKEN_NAME + 2 * PH_FENCE_TOKEN_SIZE] = TOKEN_NAME;
	char *at = want + sizeof TOKEN_NAME - 1;
	bool any = false;
	for (size_t i = 0; i < PH_FENCE_TOKEN_SIZE; i++) {
		any |= token[i] != 0;
		*at++ = digits[token[i] >> 4];
		*at++ = digits[token[i] & 15];
	}
	size_t n = any ? read_all(pid, "environ", environment, sizeof environment) : 0;
	/* with the NUL that ends the value; the one before it is that of the entry before */
	return n && memmem(environment, n, want, sizeof want) != NULL;
}

void ph_procfs_each(void (*fn)(void *arg, pid_t pid), void *arg)
{
	static char entries[32768] __attribute__((aligned(8)));
	int fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ssize_t n;
	while (fd >= 0 && (n = getdents64(fd, entries, sizeof entries)) > 0) {
		for (ssize_t at = 0; at < n;) {
			/* readdir() would allocate; the kernel aligns what it writes here */
			const struct dirent64 *entry = (const void *)(entries + at);
			long pid = strtol(entry->d_name, NULL, 10);
			if (pid > 0)
				fn(arg, (pid_t)pid);
			at += entry->d_reclen;
		}
	}
	if (fd >= 0)
		close(fd);
}
