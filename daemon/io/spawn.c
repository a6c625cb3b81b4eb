#include "io/spawn.h"

#include "io/kin.h"
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

/* a start that is under way */
struct ph_spawning {
	bool used;
	struct ph_spawn_task task;
	char pid_entries[2][16 + PH_SPAWN_PID_DIGITS]; /* of the prepared environment */
	int null_fd;
	int n_lent; /* descriptors: of the numbers that are its own so many are in use */
	struct ph_spawn_lent lent;
	struct ph_spawned spawned;
	int unnamed; /* why its start time is not known, or 0 */
};

/* The last one is for ph_spawn_start() while others are under way. */
#define STARTS (PH_SPAWN_BEGUN_MAX + 1)
static struct ph_spawning starts[STARTS];

static const char *const pid_names[2] = {"LISTEN_PID=", "WATCHDOG_PID="};

/* Consecutive numbers that nothing but a start uses: they are /dev/null meanwhile. Each start has
 * its own; the last one is never lent. */
#define LENT_EACH 3
#define RESERVED (STARTS * LENT_EACH + 1)
static int reserved = -1;
static bool undumpable; /* since a child's change of user */

static void close_from_to(int first, int last)
{
	for (int fd = first; fd <= last; fd++)
		close(fd);
}

/* The first run of free numbers that is long enough: whoever started us may have left some open. */
void ph_spawn_reserve(void)
{
	int first = reserved < 0 ? open(_PATH_DEVNULL, O_RDWR | O_CLOEXEC) : -1;
	int last = first;
	while (first >= 0 && last - first < RESERVED - 1) {
		int next = fcntl(last, F_DUPFD_CLOEXEC, last + 1);
		if (next != last + 1) {
			close_from_to(first, last);
			first = next;
		}
		last = next;
	}
	reserved = first >= 0 ? first : reserved;
}

static int first_lent(const struct ph_spawning *start)
{
	return reserved + (int)(start - starts) * LENT_EACH;
}

/* The end of a FIFO that stayed here would keep it open. */
static void take_fds_back(const struct ph_spawning *start)
{
	int first = first_lent(start);
	for (int i = 0; i < start->n_lent; i++)
		(void)dup3(reserved + RESERVED - 1, first + i, O_CLOEXEC);
}

/* In a dry run none is wanted. What is no descriptor is left for the child to tell of. */
static void lend_fds(struct ph_spawning *start)
{
	struct ph_spawn_task *task = &start->task;
	int first = first_lent(start);
	if (reserved < 0 || task->dry || task->n_fds > LENT_EACH)
		return;
	for (; start->n_lent < task->n_fds; start->n_lent++)
		if (dup3(task->fds[start->n_lent], first + start->n_lent, O_CLOEXEC) < 0)
			return;
	for (int i = 0; i < task->n_fds; i++)
		task->fds[i] = first + i;
	task->first_lent = reserved;
	task->first_unwanted = (unsigned)reserved + RESERVED;
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
static int prepare_env(struct ph_spawning *start)
{
	const char *const *env = start->task.spec->env;
	size_t n = 0;
	while (env[n])
		n++;
	start->task.env = calloc(n + 1, sizeof *start->task.env);
	if (!start->task.env)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		/* execve takes char *const *, and writes to none of it */
		memcpy(&start->task.env[i], &env[i], sizeof env[i]);
		for (size_t k = 0; k < 2; k++) {
			if (strcmp(env[i], pid_names[k]) != 0)
				continue;
			char *entry = start->pid_entries[k];
			memcpy(entry, env[i], strlen(env[i]) + 1);
			start->task.pid_digits[k] = entry + strlen(entry);
			start->task.env[i] = entry;
		}
	}
	return 0;
}

static int get_null(struct ph_spawning *start)
{
	if (reserved >= 0)
		return reserved + RESERVED - 1;
	if (start->null_fd < 0)
		start->null_fd = open(_PATH_DEVNULL, O_RDWR | O_CLOEXEC);
	return start->null_fd < 0 ? -errno : start->null_fd;
}

static int prepare_fds(struct ph_spawning *start)
{
	const struct ph_spawn_spec *spec = start->task.spec;
	int n = spec->n_fds < 3 ? 3 : (int)spec->n_fds;
	for (int i = 0; i < n; i++) {
		int fd = (size_t)i < spec->n_fds && !start->task.dry ? spec->fds[i] : -1;
		if (fd < 0)
			fd = get_null(start);
		if (fd < 0)
			return fd;
		start->task.fds[i] = fd;
	}
	start->task.n_fds = n;
	return 0;
}

static void release(struct ph_spawning *start)
{
	if (start->null_fd >= 0)
		close(start->null_fd);
	if (start->task.cgroup_fd >= 0)
		close(start->task.cgroup_fd);
	free(start->task.env);
	start->used = false;
}

static int prepare(
	struct ph_spawning *start, const struct ph_spawn_spec *spec, bool dry, struct ph_err *err)
{
	struct ph_spawn_lent lent = start->lent;
	memset(start, 0, sizeof *start);
	start->used = true;
	start->lent = lent;
	start->null_fd = -1;
	start->task.cgroup_fd = -1;
	start->task.spec = spec;
	start->task.dry = dry;
	int r = prepare_env(start);
	if (!r)
		r = prepare_fds(start);
	return r ? ph_err_set(err, -r, "cannot prepare a process: %s", strerror(-r)) : 0;
}

/* All signals are blocked, those that the C library keeps to itself too, so that no handler runs on
 * the child's stack. */
static int clone_child(struct ph_spawning *start, const char *cgroup)
{
	unsigned long all[8 / sizeof(unsigned long)], before[8 / sizeof(unsigned long)];
	memset(all, 0xff, sizeof all);
	if (syscall(SYS_rt_sigprocmask, SIG_SETMASK, all, before, sizeof all) < 0)
		return -errno;
	int error = ph_spawn_clone(
		&start->task, cgroup, &start->lent, &start->spawned.pid, &start->spawned.pidfd);
	(void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, before, NULL, sizeof before);
	return error;
}

/* For a child that enters it by itself. */
static int open_cgroup(struct ph_spawning *start, struct ph_err *err)
{
	const struct ph_spawn_spec *spec = start->task.spec;
	char path[PATH_MAX];
	if (!spec->cgroup || start->task.dry)
		return 0;
	int n = snprintf(path, sizeof path, "%s/cgroup.procs", spec->cgroup);
	int fd = n < (int)sizeof path ? open(path, O_WRONLY | O_CLOEXEC) : -1;
	int code = n < (int)sizeof path ? errno : ENAMETOOLONG;
	start->task.cgroup_fd = fd;
	if (fd < 0 && !spec->cgroup_optional)
		return ph_err_set(err, code, "cannot open '%s': %s", path, strerror(code));
	start->task.cgroup_error = fd < 0 ? code : 0;
	return 0;
}

static int make_child(struct ph_spawning *start, struct ph_err *err)
{
	const char *cgroup = start->task.dry ? NULL : start->task.spec->cgroup;
	int r = cgroup ? clone_child(start, cgroup) : -EOPNOTSUPP;
	if (r == -EOPNOTSUPP) {
		r = open_cgroup(start, err);
		if (r)
			return r;
		r = clone_child(start, NULL);
	}
	return r ? ph_err_set(err, -r, "cannot create a process: %s", strerror(-r)) : 0;
}

/* The child has ended or is about to. */
static void reap(int pidfd)
{
	siginfo_t info;
	while (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED) < 0 && errno == EINTR)
		;
	close(pidfd);
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

/* A change of user in memory that is shared makes all who have it undumpable, and they stay so
 * while one of that user could still trace its way into the daemon by a child that has not
 * executed. */
static void note_dumpable(const struct ph_spawn_spec *spec)
{
	if (spec->set_user && prctl(PR_GET_DUMPABLE) == 1)
		undumpable = true;
}

static void restore_dumpable(void)
{
	for (size_t i = 0; i < STARTS; i++)
		if (starts[i].used)
			return;
	if (undumpable)
		(void)prctl(PR_SET_DUMPABLE, 1);
	undumpable = false;
}

/* After an error there is nothing to finish. */
static int begin(
	struct ph_spawning *start, const struct ph_spawn_spec *spec, bool dry, struct ph_err *err)
{
	int r = check_spec(spec, err);
	if (r)
		return r;
	r = prepare(start, spec, dry, err);
	if (!r) {
		note_dumpable(spec);
		lend_fds(start);
		uint64_t before = ticks_now();
		r = make_child(start, err);
		if (r) {
			take_fds_back(start);
		} else {
			ph_kin_own(start->spawned.pid); /* it is no orphan that may be reaped */
			start->unnamed = get_start_time(
				start->spawned.pid, before, &start->spawned.start_time);
		}
	}
	if (r)
		release(start);
	return r;
}

/* Why it is none that runs, or 0. */
static int judge(const struct ph_spawning *start, int waited, struct ph_err *err)
{
	const struct ph_spawn_task *task = &start->task;
	if (waited)
		return ph_err_set(err, -waited, "cannot execute '%s': not done within %d ms",
			task->spec->path, PH_SPAWN_PATIENCE_MS);
	if (task->code)
		return explain(task, err);
	/* without its start time it could never be told from another of its pid */
	if (start->unnamed)
		return ph_err_set(err, -start->unnamed, "cannot read /proc/%d/stat: %s",
			(int)start->spawned.pid, strerror(-start->unnamed));
	return 0;
}

int ph_spawn_finish(struct ph_spawning *start, struct ph_spawned *ret, struct ph_err *err)
{
	struct ph_spawned spawned = start->spawned;
	int waited = ph_spawn_clone_wait(&start->lent, spawned.pidfd);
	int r = judge(start, waited, err);
	take_fds_back(start);
	if (r || start->task.dry) {
		(void)kill(-spawned.pid, SIGKILL);
		reap(spawned.pidfd);
	} else {
		spawned.cgroup_error = start->task.cgroup_error;
		*ret = spawned;
	}
	ph_kin_disown(spawned.pid);
	release(start);
	restore_dumpable();
	return r;
}

int ph_spawn_begin(const struct ph_spawn_spec *spec, struct ph_spawning **ret, struct ph_err *err)
{
	for (size_t i = 0; i < PH_SPAWN_BEGUN_MAX; i++) {
		if (starts[i].used)
			continue;
		*ret = &starts[i];
		return begin(&starts[i], spec, false, err);
	}
	return ph_err_set(
		err, EBUSY, "%d starts are under way, no more are possible", PH_SPAWN_BEGUN_MAX);
}

static int at_once(
	const struct ph_spawn_spec *spec, bool dry, struct ph_spawned *ret, struct ph_err *err)
{
	struct ph_spawning *start = &starts[STARTS - 1];
	int r = begin(start, spec, dry, err);
	return r ? r : ph_spawn_finish(start, ret, err);
}

int ph_spawn_start(const struct ph_spawn_spec *spec, struct ph_spawned *ret, struct ph_err *err)
{
	return at_once(spec, false, ret, err);
}

int ph_spawn_check(const struct ph_spawn_spec *spec, struct ph_err *err)
{
	return at_once(spec, true, NULL, err);
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
