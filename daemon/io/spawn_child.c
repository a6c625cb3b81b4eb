#include "io/spawn_child.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/stat.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * No sanitizer may keep books here: this stack is none that it knows, and its parent goes on.
 * And no C library wrapper: setresuid() would wake the parent's other threads.
 */
#define RAW __attribute__((no_sanitize("address", "undefined"), noinline))

#define KERNEL_SIGNALS 64
#define KERNEL_SIGSET_BYTES (KERNEL_SIGNALS / 8)

/* As the kernel has it; SIG_DFL without flags is all zero on every architecture. */
struct kernel_sigaction {
	unsigned long words[4];
};

#ifdef PH_SPAWN_AHEAD

/* The result, or -errno. Here, and not by syscall(), which leaves errno in the parent's thread: it
 * runs meanwhile. */
RAW static long call_kernel(long number, const long arguments[6])
{
	long result;
	register long fourth __asm__("r10") = arguments[3];
	register long fifth __asm__("r8") = arguments[4];
	register long sixth __asm__("r9") = arguments[5];
	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(arguments[0]), "S"(arguments[1]), "d"(arguments[2]),
			 "r"(fourth), "r"(fifth), "r"(sixth)
			 : "rcx", "r11", "memory");
	return result;
}

#else

RAW static long call_kernel(long number, const long arguments[6])
{
	long result = syscall(number, arguments[0], arguments[1], arguments[2], arguments[3],
		arguments[4], arguments[5]);
	return result < 0 ? -errno : result;
}

#endif

/* At least one argument; a pointer is converted by ADDRESS. */
#define CALL(number, ...) call_kernel(number, (const long[6]){__VA_ARGS__})
#define ADDRESS(pointer) ((long)(pointer))

/* 0 or -errno, for what has no other result that counts. */
#define TRY(...) failed(CALL(__VA_ARGS__))

RAW static int failed(long result)
{
	return result < 0 ? (int)result : 0;
}

RAW static int reset_signals(void)
{
	struct kernel_sigaction standard = {{0, 0, 0, 0}};
	for (int signo = 1; signo <= KERNEL_SIGNALS; signo++) {
		if (signo == SIGKILL || signo == SIGSTOP)
			continue;
		int r = TRY(SYS_rt_sigaction, signo, ADDRESS(&standard), 0, KERNEL_SIGSET_BYTES);
		if (r)
			return r;
	}
	return 0;
}

/* Handlers are gone and the mask was full until now: a signal that came meanwhile ends the child.
 */
RAW static int unblock_signals(void)
{
	unsigned long none[KERNEL_SIGSET_BYTES / sizeof(unsigned long)] = {0};
	return TRY(SYS_rt_sigprocmask, SIG_SETMASK, ADDRESS(none), 0, KERNEL_SIGSET_BYTES);
}

/* What is below is copied, and the parent's is left alone. Without close_range (before Linux 5.9)
 * all of it is. Those lent to other starts are closed now: this one may take long to execute. */
RAW static int own_fds(const struct ph_spawn_task *task)
{
	if (!task->first_unwanted)
		return 0;
	int r = TRY(SYS_close_range, task->first_unwanted, ~0u, CLOSE_RANGE_UNSHARE);
	if (r)
		return TRY(SYS_unshare, CLONE_FILES);
	if (task->first_lent < task->fds[0])
		r = TRY(SYS_close_range, task->first_lent, task->fds[0] - 1, 0);
	return r ? r
		 : TRY(SYS_close_range, task->fds[task->n_fds - 1] + 1, task->first_unwanted - 1,
			   0);
}

/* Out of the way first, so that no target overwrites a source; dup leaves close-on-exec off. */
RAW static int place_fds(struct ph_spawn_task *task)
{
	int error = own_fds(task);
	if (error)
		return error;
	__atomic_store_n(&task->has_own, true, __ATOMIC_RELEASE);
	for (int i = 0; i < task->n_fds; i++) {
		long fd = task->fds[i];
		if (fd >= task->n_fds)
			continue;
		fd = CALL(SYS_fcntl, task->fds[i], F_DUPFD_CLOEXEC, task->n_fds);
		if (fd < 0)
			return (int)fd;
		task->fds[i] = (int)fd;
	}
	for (int i = 0; i < task->n_fds; i++) {
		int r = TRY(SYS_dup3, task->fds[i], i, 0);
		if (r)
			return r;
	}
	/* not only on executing, which may take long: a lock, say, is to be free when the daemon is
	 * gone */
	return TRY(SYS_close_range, task->n_fds, ~0u, 0);
}

RAW static int set_limits(struct ph_spawn_task *task)
{
	for (size_t i = 0; i < task->spec->n_limits; i++) {
		const struct ph_spawn_limit *limit = &task->spec->limits[i];
		struct {
			unsigned long long soft, hard;
		} values = {limit->soft, limit->hard};
		task->resource = limit->resource;
		int r = TRY(SYS_prlimit64, 0, limit->resource, ADDRESS(&values), 0);
		if (r)
			return r;
	}
	return 0;
}

RAW static void write_pid(const struct ph_spawn_task *task)
{
	for (size_t i = 0; i < 2; i++) {
		char digits[PH_SPAWN_PID_DIGITS], *out = task->pid_digits[i];
		if (!out)
			continue;
		long pid = CALL(SYS_getpid, 0);
		int n = 0;
		for (; pid; pid /= 10)
			digits[n++] = (char)('0' + pid % 10);
		while (n)
			*out++ = digits[--n];
		*out = '\0';
	}
}

RAW static int try_execute(const char *path, bool *ret_there)
{
	struct statx st;
	int r = TRY(SYS_statx, AT_FDCWD, ADDRESS(path), 0, STATX_TYPE, ADDRESS(&st));
	*ret_there = !r;
	if (!r && !S_ISREG(st.stx_mode))
		return -EACCES;
	/* faccessat takes the real ids, which are the effective ones */
	return r ? r : TRY(SYS_faccessat, AT_FDCWD, ADDRESS(path), X_OK);
}

RAW static int search(struct ph_spawn_task *task)
{
	int code = ENOENT;
	if (!task->candidates)
		return 0;
	for (const char *at = task->candidates; *at; at++) {
		bool there;
		if (!try_execute(at, &there)) {
			task->path = at;
			return 0;
		}
		if (there)
			code = EACCES;
		while (*at)
			at++;
	}
	return -code;
}

/* Somebody may have put a FIFO there. */
RAW static int open_it(struct ph_spawn_task *task)
{
	if (!task->bytes)
		return 0;
	long fd = CALL(
		SYS_openat, AT_FDCWD, ADDRESS(task->path), O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
	task->read_fd = (int)fd;
	return fd < 0 ? (int)fd : 0;
}

RAW static int read_it(struct ph_spawn_task *task)
{
	static const char none[1];
	struct statx st;
	if (!task->bytes)
		return 0;
	int r = TRY(SYS_statx, task->read_fd, ADDRESS(none), AT_EMPTY_PATH, STATX_TYPE | STATX_SIZE,
		ADDRESS(&st));
	if (r || !S_ISREG(st.stx_mode))
		return r ? r : -EINVAL;
	if (st.stx_size > task->spec->read_max) {
		task->n_bytes = st.stx_size;
		return -EFBIG;
	}
	while (task->n_bytes < st.stx_size) {
		long n = CALL(SYS_read, task->read_fd, ADDRESS(task->bytes + task->n_bytes),
			(long)(st.stx_size - task->n_bytes));
		if (n <= 0)
			return (int)n; /* it has become smaller */
		task->n_bytes += (size_t)n;
	}
	return 0;
}

/* Neither a FIFO nor a link of somebody who may write to the folder leads us astray. */
RAW static int make_file(const char *path)
{
	static const char none[1];
	struct statx st;
	long fd = path ? CALL(SYS_openat, AT_FDCWD, ADDRESS(path), PH_SPAWN_FILE_FLAGS, 0640) : -1;
	if (fd < 0)
		return path ? (int)fd : 0;
	int r = TRY(SYS_statx, fd, ADDRESS(none), AT_EMPTY_PATH, STATX_TYPE, ADDRESS(&st));
	(void)CALL(SYS_close, fd);
	return r ? r : S_ISREG(st.stx_mode) ? 0 : -EINVAL;
}

RAW static int execute(struct ph_spawn_task *task)
{
	bool there;
	if (task->dry)
		return try_execute(task->path, &there);
	write_pid(task);
	int r = unblock_signals();
	if (!r)
		r = TRY(SYS_execve, ADDRESS(task->path), ADDRESS(task->spec->argv),
			ADDRESS(task->env));
	if (r == -ENOENT)
		(void)try_execute(task->path, &task->not_a_program);
	return r;
}

RAW static int enter_cgroup(struct ph_spawn_task *task)
{
	int r = task->cgroup_fd < 0 ? 0 : TRY(SYS_write, task->cgroup_fd, ADDRESS("0"), 1);
	if (!task->spec->cgroup_optional)
		return r;
	if (r)
		task->cgroup_error = -r;
	return 0;
}

RAW static int take_step(struct ph_spawn_task *task, enum ph_spawn_step step)
{
	const struct ph_spawn_spec *spec = task->spec;
	switch (step) {
	case PH_SPAWN_SESSION:
		return TRY(SYS_setsid, 0);
	case PH_SPAWN_SIGNALS:
		return reset_signals();
	case PH_SPAWN_CGROUP:
		return enter_cgroup(task);
	case PH_SPAWN_DIR:
		(void)CALL(SYS_umask, spec->set_umask ? spec->umask : 022);
		return spec->dir ? TRY(SYS_chdir, ADDRESS(spec->dir)) : 0;
	case PH_SPAWN_FDS:
		return place_fds(task);
	case PH_SPAWN_OPEN:
		return open_it(task);
	case PH_SPAWN_READ:
		return read_it(task);
	case PH_SPAWN_SEARCH:
		return search(task);
	case PH_SPAWN_FILE:
		return make_file(spec->file);
	case PH_SPAWN_LIMITS:
		return set_limits(task);
	case PH_SPAWN_GROUPS:
		return spec->set_user
			       ? TRY(SYS_setgroups, (long)spec->n_groups, ADDRESS(spec->groups))
			       : 0;
	case PH_SPAWN_GID:
		return spec->set_user ? TRY(SYS_setresgid, spec->gid, spec->gid, spec->gid) : 0;
	case PH_SPAWN_UID:
		return spec->set_user ? TRY(SYS_setresuid, spec->uid, spec->uid, spec->uid) : 0;
	case PH_SPAWN_PRIVILEGES:
		return spec->no_new_privileges ? TRY(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1) : 0;
	case PH_SPAWN_EXECUTE:
		return execute(task);
	}
	return -EINVAL;
}

RAW int ph_spawn_child(void *arg)
{
	struct ph_spawn_task *task = arg;
	(void)CALL(SYS_prctl, PR_SET_NAME, ADDRESS(task->name));
	int last = task->bytes ? PH_SPAWN_READ : PH_SPAWN_EXECUTE;
	for (int step = PH_SPAWN_SESSION; step <= last; step++) {
		__atomic_store_n(&task->step, (enum ph_spawn_step)step, __ATOMIC_RELAXED);
		int r = take_step(task, (enum ph_spawn_step)step);
		if (r) {
			task->code = -r;
			break;
		}
	}
	/* no exit handlers, no flushing: they are the parent's */
	for (;;)
		(void)CALL(SYS_exit_group, task->code ? 127 : 0);
}
