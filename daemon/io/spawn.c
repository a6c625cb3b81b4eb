#include "io/spawn.h"

#include "io/proc.h"
#include "io/spawn_child.h"
#include "io/spawn_clone.h"

#include <errno.h>
#include <fcntl.h>
#include <paths.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* a struct with the bytes of the prepared environment's pids beside it */
struct run {
	struct ph_spawn_task task;
	char pid_entries[2][16 + PH_SPAWN_PID_DIGITS];
	int null_fd;
};

static const char *const pid_names[2] = {"LISTEN_PID=", "WATCHDOG_PID="};

/* Consecutive numbers that nothing but a start uses: they are /dev/null meanwhile. */
#define RESERVED 4 /* the last one is never lent */
static int reserved = -1;

void ph_spawn_reserve(void)
{
	int fds[RESERVED], n = 0;
	int null_fd = reserved < 0 ? open(_PATH_DEVNULL, O_RDWR | O_CLOEXEC) : -1;
	if (null_fd < 0)
		return;
	fds[n++] = null_fd;
	while (n < RESERVED && (fds[n] = fcntl(null_fd, F_DUPFD_CLOEXEC, null_fd + n)) >= 0)
		n++;
	if (n == RESERVED && fds[RESERVED - 1] == null_fd + RESERVED - 1)
		reserved = null_fd;
	while (reserved < 0 && n)
		close(fds[--n]);
}

/* In a dry run none is wanted. What is no descriptor is left for the child to tell of. */
static void lend_fds(struct ph_spawn_task *task)
{
	if (reserved < 0 || task->dry || task->n_fds >= RESERVED)
		return;
	for (int i = 0; i < task->n_fds; i++)
		if (dup3(task->fds[i], reserved + i, O_CLOEXEC) < 0)
			return;
	for (int i = 0; i < task->n_fds; i++)
		task->fds[i] = reserved + i;
	task->first_unwanted = (unsigned)reserved + RESERVED;
}

/* The end of a FIFO that stayed here would keep it open. */
static void take_fds_back(const struct ph_spawn_task *task)
{
	for (int i = 0; task->first_unwanted && i < task->n_fds; i++)
		(void)dup3(reserved + RESERVED - 1, reserved + i, O_CLOEXEC);
}

static int check_spec(const struct ph_spawn_spec *spec, struct ph_err *err)
{
	if (!spec->path || !*spec->path || !spec->argv || !spec->argv[0] || !spec->env)
		return ph_err_set(err, EINVAL, "no command to execute");
	if (spec->n_fds > PH_SPAWN_FDS_MAX)
		return ph_err_set(err, EINVAL, "%zu descriptors to pass, at most %d are possible",
			spec->n_fds, PH_SPAWN_FDS_MAX);
	if (spec->n_limits > PH_SPAWN_LIMITS_MAX)
		return ph_err_set(err, EINVAL, "%zu limits to set, at most %d are possible",
			spec->n_limits, PH_SPAWN_LIMITS_MAX);
	for (size_t i = 3; i < spec->n_fds; i++) {
		if (spec->fds[i] < 0)
			return ph_err_set(err, EINVAL, "descriptor %zu to pass is not open", i);
	}
	return 0;
}

/* A copy of the environment's pointers, in which the entries for pids have room for one. */
static int prepare_env(struct run *run)
{
	const char *const *env = run->task.spec->env;
	size_t n = 0;
	while (env[n])
		n++;
	run->task.env = calloc(n + 1, sizeof *run->task.env);
	if (!run->task.env)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		/* execve takes char *const *, and writes to none of it */
		memcpy(&run->task.env[i], &env[i], sizeof env[i]);
		for (size_t k = 0; k < 2; k++) {
			if (strcmp(env[i], pid_names[k]) != 0)
				continue;
			char *entry = run->pid_entries[k];
			memcpy(entry, env[i], strlen(env[i]) + 1);
			run->task.pid_digits[k] = entry + strlen(entry);
			run->task.env[i] = entry;
		}
	}
	return 0;
}

static int get_null(struct run *run)
{
	if (reserved >= 0)
		return reserved + RESERVED - 1;
	if (run->null_fd < 0)
		run->null_fd = open(_PATH_DEVNULL, O_RDWR | O_CLOEXEC);
	return run->null_fd < 0 ? -errno : run->null_fd;
}

static int prepare_fds(struct run *run)
{
	const struct ph_spawn_spec *spec = run->task.spec;
	int n = spec->n_fds < 3 ? 3 : (int)spec->n_fds;
	for (int i = 0; i < n; i++) {
		int fd = (size_t)i < spec->n_fds && !run->task.dry ? spec->fds[i] : -1;
		if (fd < 0)
			fd = get_null(run);
		if (fd < 0)
			return fd;
		run->task.fds[i] = fd;
	}
	run->task.n_fds = n;
	return 0;
}

static void run_fini(struct run *run)
{
	if (run->null_fd >= 0)
		close(run->null_fd);
	if (run->task.cgroup_fd >= 0)
		close(run->task.cgroup_fd);
	free(run->task.env);
}

static int run_init(struct run *run, const struct ph_spawn_spec *spec, bool dry, struct ph_err *err)
{
	int r = check_spec(spec, err);
	memset(run, 0, sizeof *run);
	run->null_fd = -1;
	run->task.cgroup_fd = -1;
	run->task.spec = spec;
	run->task.dry = dry;
	if (r)
		return r;
	r = prepare_env(run);
	if (!r)
		r = prepare_fds(run);
	return r ? ph_err_set(err, -r, "cannot prepare a process: %s", strerror(-r)) : 0;
}

/*
 * Returns when the child has executed or ended: the calling thread sleeps meanwhile. All signals
 * are blocked, those that the C library keeps to itself too, so that no handler runs on the child's
 * stack.
 */
static int clone_child(struct run *run, const char *cgroup, struct ph_spawned *ret)
{
	unsigned long all[8 / sizeof(unsigned long)], before[8 / sizeof(unsigned long)];
	memset(all, 0xff, sizeof all);
	/* a change of user in shared memory makes us undumpable: taken back below */
	int dumpable = run->task.spec->set_user ? prctl(PR_GET_DUMPABLE) : -1;
	if (syscall(SYS_rt_sigprocmask, SIG_SETMASK, all, before, sizeof all) < 0)
		return -errno;
	lend_fds(&run->task);
	int error = ph_spawn_clone(&run->task, cgroup, &ret->pid, &ret->pidfd);
	take_fds_back(&run->task);
	(void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, before, NULL, sizeof before);
	if (dumpable == 1)
		(void)prctl(PR_SET_DUMPABLE, 1);
	return error;
}

/* For a child that enters it by itself. */
static int open_cgroup(struct run *run, struct ph_err *err)
{
	const struct ph_spawn_spec *spec = run->task.spec;
	char path[PATH_MAX];
	if (!spec->cgroup || run->task.dry)
		return 0;
	int n = snprintf(path, sizeof path, "%s/cgroup.procs", spec->cgroup);
	int fd = n < (int)sizeof path ? open(path, O_WRONLY | O_CLOEXEC) : -1;
	int code = n < (int)sizeof path ? errno : ENAMETOOLONG;
	run->task.cgroup_fd = fd;
	if (fd < 0 && !spec->cgroup_optional)
		return ph_err_set(err, code, "cannot open '%s': %s", path, strerror(code));
	run->task.cgroup_error = fd < 0 ? code : 0;
	return 0;
}

static int make_child(struct run *run, struct ph_spawned *ret, struct ph_err *err)
{
	const char *cgroup = run->task.dry ? NULL : run->task.spec->cgroup;
	int r = cgroup ? clone_child(run, cgroup, ret) : -EOPNOTSUPP;
	if (r == -EOPNOTSUPP) {
		r = open_cgroup(run, err);
		if (r)
			return r;
		r = clone_child(run, NULL, ret);
	}
	return r ? ph_err_set(err, -r, "cannot create a process: %s", strerror(-r)) : 0;
}

/* The child has ended or is about to: its memory was given back before it became a zombie. */
static void reap(int pidfd)
{
	siginfo_t info;
	while (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED) < 0 && errno == EINTR)
		;
}

/* " '/x'", where the step has something to name. */
static void subject(const struct ph_spawn_task *task, char *text, size_t n)
{
	const struct ph_spawn_spec *spec = task->spec;
	*text = '\0';
	if (task->step == PH_SPAWN_DIR)
		(void)snprintf(text, n, " '%s'", spec->dir);
	else if (task->step == PH_SPAWN_EXECUTE)
		(void)snprintf(text, n, " '%s'", spec->path);
	else if (task->step == PH_SPAWN_CGROUP)
		(void)snprintf(text, n, " '%s'", spec->cgroup);
	else if (task->step == PH_SPAWN_UID)
		(void)snprintf(text, n, " to uid %u", (unsigned)spec->uid);
	else if (task->step == PH_SPAWN_GID)
		(void)snprintf(text, n, " to gid %u", (unsigned)spec->gid);
	else if (task->step == PH_SPAWN_LIMITS && task->resource == RLIMIT_NOFILE)
		(void)snprintf(text, n, " (open files)");
	else if (task->step == PH_SPAWN_LIMITS && task->resource == RLIMIT_CORE)
		(void)snprintf(text, n, " (core file)");
	else if (task->step == PH_SPAWN_LIMITS)
		(void)snprintf(text, n, " (number %d)", task->resource);
}

static int explain(const struct ph_spawn_task *task, struct ph_err *err)
{
	static const char *const steps[] = {
#define X(name, text) [PH_SPAWN_##name] = text,
		PH_SPAWN_STEPS(X)
#undef X
	};
	char what[PH_ERR_MAX];
	const char *why = strerror(task->code);
	struct stat st;
	subject(task, what, sizeof what);
	if (task->step == PH_SPAWN_EXECUTE && task->code == ENOENT && *task->spec->path == '/' &&
		stat(task->spec->path, &st) == 0)
		why = "its interpreter (after #!) or program loader does not exist";
	else if (task->step == PH_SPAWN_EXECUTE && task->code == ENOEXEC)
		why = "it is neither a program nor a script that begins with #!";
	return ph_err_set(err, task->code, "cannot %s%s: %s", steps[task->step], what, why);
}

/* CLOCK_BOOTTIME in the unit of /proc/PID/stat. */
static uint64_t ticks_now(void)
{
	struct timespec now;
	uint64_t hz = (uint64_t)sysconf(_SC_CLK_TCK);
	(void)clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * hz + (uint64_t)now.tv_nsec * hz / 1000000000u;
}

/*
 * Between the tick `before` and now the process was made. Where that is one tick, nobody need be
 * asked: /proc is slow. It has the last word at first, and each time that a tick ends meanwhile; if
 * it once says something else, always.
 */
static int get_start_time(pid_t pid, uint64_t before, uint64_t *ret)
{
	static bool agreed, differed;
	uint64_t after = ticks_now();
	if (before == after && agreed && !differed) {
		*ret = after;
		return 0;
	}
	struct ph_proc_stat stat_line;
	int r = ph_proc_stat(pid, &stat_line);
	if (r)
		return r;
	agreed = true;
	differed |= stat_line.start_time < before || stat_line.start_time > after;
	*ret = stat_line.start_time;
	return 0;
}

/* *ret NULL: a dry run */
static int run_once(struct run *run, struct ph_spawned *ret, struct ph_err *err)
{
	struct ph_spawned spawned = {0};
	uint64_t before = ticks_now();
	int r = make_child(run, &spawned, err);
	if (r)
		return r;
	if (!ret || run->task.code) {
		reap(spawned.pidfd);
		close(spawned.pidfd);
		return run->task.code ? explain(&run->task, err) : 0;
	}
	r = get_start_time(spawned.pid, before, &spawned.start_time);
	if (r) {
		/* without its start time it could never be told from another of its pid */
		(void)kill(-spawned.pid, SIGKILL);
		reap(spawned.pidfd);
		close(spawned.pidfd);
		return ph_err_set(
			err, -r, "cannot read /proc/%d/stat: %s", (int)spawned.pid, strerror(-r));
	}
	spawned.cgroup_error = run->task.cgroup_error;
	*ret = spawned;
	return 0;
}

int ph_spawn_start(const struct ph_spawn_spec *spec, struct ph_spawned *ret, struct ph_err *err)
{
	struct run run;
	int r = run_init(&run, spec, false, err);
	if (!r)
		r = run_once(&run, ret, err);
	run_fini(&run);
	return r;
}

int ph_spawn_check(const struct ph_spawn_spec *spec, struct ph_err *err)
{
	struct run run;
	int r = run_init(&run, spec, true, err);
	if (!r)
		r = run_once(&run, NULL, err);
	run_fini(&run);
	return r;
}

static bool is_program(const char *path, int *ret_code)
{
	struct stat st;
	if (stat(path, &st) < 0)
		return false;
	if (S_ISREG(st.st_mode) && faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) == 0)
		return true;
	*ret_code = EACCES;
	return false;
}

int ph_spawn_resolve(
	const char *argv0, const char *path_env, char ret_path[PATH_MAX], struct ph_err *err)
{
	size_t n = strlen(argv0);
	if (!n)
		return ph_err_set(err, EINVAL, "the command is empty");
	if (n >= PATH_MAX)
		return ph_err_set(err, ENAMETOOLONG, "a command of %zu bytes is too long", n);
	if (strchr(argv0, '/')) {
		memcpy(ret_path, argv0, n + 1);
		return 0;
	}
	int code = ENOENT;
	const char *element = path_env ? path_env : _PATH_STDPATH;
	while (element) {
		const char *colon = strchr(element, ':');
		size_t length = colon ? (size_t)(colon - element) : strlen(element);
		char path[PATH_MAX];
		if (*element == '/' && length + n + 2 <= sizeof path) {
			(void)snprintf(path, sizeof path, "%.*s/%s", (int)length, element, argv0);
			if (is_program(path, &code)) {
				memcpy(ret_path, path, strlen(path) + 1);
				return 0;
			}
		}
		element = colon ? colon + 1 : NULL;
	}
	if (code == EACCES)
		return ph_err_set(err, EACCES, "'%s' is in PATH but not an executable file", argv0);
	return ph_err_set(err, ENOENT, "'%s' is not in PATH (%s)", argv0,
		path_env ? path_env : _PATH_STDPATH);
}
