/*
 * io_help.h - what the unit tests of daemon/io share: a scratch directory, a loop with an end,
 * descriptors counted, the output of a process.
 */
#ifndef PH_TESTS_IO_HELP_H
#define PH_TESTS_IO_HELP_H

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <event2/event.h>

static inline char *help_dir(void)
{
	static char path[64];
	memcpy(path, "/tmp/ph-io-XXXXXX", sizeof "/tmp/ph-io-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(path));
	ck_assert_int_eq(chmod(path, 0755), 0);
	return path;
}

static inline int help_remove_one(
	const char *path, const struct stat *st, int kind, struct FTW *place)
{
	(void)st;
	(void)kind;
	(void)place;
	return remove(path);
}

static inline void help_remove(const char *dir)
{
	(void)nftw(dir, help_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline int help_count_fds(void)
{
	int n = 0;
	DIR *dir = opendir("/proc/self/fd");
	ck_assert_ptr_nonnull(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static inline void help_time_up(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	*(bool *)arg = true;
}

/* Turns the loop until *flag is at least `wanted`, or `ms` have passed. */
static inline void help_run(struct event_base *base, const int *flag, int wanted, int ms)
{
	const struct timeval limit = {ms / 1000, ms % 1000 * 1000};
	bool up = false;
	struct event *timer = event_new(base, -1, 0, help_time_up, &up);
	ck_assert_int_eq(event_add(timer, &limit), 0);
	while (!up && *flag < wanted)
		ck_assert_int_ge(event_base_loop(base, EVLOOP_ONCE), 0);
	event_free(timer);
}

/* Turns the loop until *flag is at least `wanted`; fails the test after 25 s. */
static inline void help_run_until(struct event_base *base, const int *flag, int wanted)
{
	help_run(base, flag, wanted, 25000);
	ck_assert_int_ge(*flag, wanted);
}

/* Turns the loop for so long, whatever happens. */
static inline void help_run_for(struct event_base *base, int ms)
{
	const int never = 0;
	help_run(base, &never, 1, ms);
}

/* From now on this process is on a kernel without that system call, as under a container's filter.
 * For root. */
static inline void help_forbid(unsigned number)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = sizeof code / sizeof *code, .filter = code};
	ck_assert_int_eq(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program), 0);
}

/* Reads up to end of file; `text` gets a NUL. */
static inline void help_read_all(int fd, char *text, size_t n)
{
	size_t got = 0;
	ssize_t r;
	while (got < n - 1 && (r = read(fd, text + got, n - 1 - got)) > 0)
		got += (size_t)r;
	text[got] = '\0';
}

static inline void help_write_file(const char *path, const char *text, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	ck_assert_int_eq(fchmod(fd, mode), 0);
	close(fd);
}

#endif
