#include "io/spawn.h"

#include "base/types.h"
#include "io/clock.h"
#include "io/kin.h"
#include "io/proc.h"
#include "io/spawn_child.h"
#include "io/spawn_clone.h"
#include "io/spawn_lent.h"

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
	struct ph_spawn_task task;
	char pid_entries[2][16 + PH_SPAWN_PID_DIGITS]; /* of the prepared environment */
	int null_fd;
	int run;    /* of the kept numbers, which it has been lent; -1: none */
	int n_lent; /* descriptors: so many numbers of the run are in use */
	struct ph_spawn_lent *lent;
	struct ph_spawned spawned;
	int unnamed;	   /* why its start time is not known, or 0 */
	uint64_t likeness; /* the same for all with the same files */
	bool late;	   /* it was set aside */
};

static const char *const pid_names[2] = {"LISTEN_PID=", "WATCHDOG_PID="};

/* Consecutive numbers that nothing but a start uses: they are /dev/null meanwhile. Each run of them
 * is lent to one start at a time; the last number is never lent. */
#define RUNS 3
#define LENT_EACH 3
#define RESERVED (RUNS * LENT_EACH + 1)
static int reserved = -1;
static struct ph_spawning *runs[RUNS]; /* who has it */

#define END_MS 20      /* for the end of what was killed: most of them need none */
#define AGAIN_MS 10000 /* after one that was given up others are, sooner */

#define MARK "prochub+"
static char mark[PH_PROC_NAME_SIZE] = MARK;

static unsigned under_way, n_late; /* late: of these */
static bool undumpable;		   /* since a child's change of user */
static uint64_t gave_up_at_ms;

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

/* The end of a FIFO that stayed here would keep it open. */
static void take_fds_back(struct ph_spawning *start)
{
	int first = reserved + start->run * LENT_EACH;
	for (int i = 0; i < start->n_lent; i++)
		(void)dup3(reserved + RESERVED - 1, first + i, O_CLOEXEC);
	if (start->run >= 0)
		runs[start->run] = NULL;
	start->run = -1;
	start->n_lent = 0;
}

/* A run that nobody has; or one that is not needed any more, as the start only takes long. */
static int get_run(void)
{
	for (int i = 0; i < RUNS; i++)
		if (!runs[i])
			return i;
	for (int i = 0; i < RUNS; i++) {
		if (!__atomic_load_n(&runs[i]->task.has_own, __ATOMIC_ACQUIRE))
			continue;
		take_fds_back(runs[i]);
		return i;
	}
	return -1;
}

/* In a dry run none is wanted. What is no descriptor is left for the child to tell of. */
static void lend_fds(struct ph_spawning *start)
{
	struct ph_spawn_task *task = &start->task;
	if (reserved < 0 || task->dry || task->n_fds > LENT_EACH)
		return;
	start->run = get_run();
	if (start->run < 0)
		return;
	int first = reserved + start->run * LENT_EACH;
	runs[start->run] = start;
	for (; start->n_lent < task->n_fds; start->n_lent++)
		if (dup3(task->fds[start->n_lent], first + start->n_lent, O_CLOEXEC) < 0)
			return;
	for (int i = 0; i < task->n_fds; i++)
		task->fds[i] = first + i;
	task->first_lent = reserved;
	task->first_unwanted = (unsigned)reserved + RESERVED;
}

/* ---- those that an earlier one has begun */

int ph_spawn_set_mark(const char *dir)
{
	struct stat st;
	if (stat(dir, &st) < 0)
		return -errno;
	uint64_t hash = ph_mix64(ph_mix64(st.st_dev) ^ st.st_ino);
	(void)snprintf(mark, sizeof mark, MARK "%07x", (unsigned)(hash & 0xfffffff));
	return 0;
}

static bool is_marked(pid_t pid)
{
	char name[PH_PROC_NAME_SIZE];
	return !ph_proc_name(pid, name) && strcmp(name, mark) == 0;
}

static int kill_marked(void *arg, pid_t pid)
{
	int pidfd = is_marked(pid) ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
	/* asked once more, now that the pidfd holds on to it */
	if (pidfd >= 0 && is_marked(pid) &&
		syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0) == 0)
		++*(int *)arg;
	if (pidfd >= 0)
		close(pidfd);
	return 0;
}

int ph_spawn_kill_marked(void)
{
	int n = 0;
	int r = strcmp(mark, MARK) != 0 ? ph_proc_each(kill_marked, &n) : 0;
	return r ? r : n;
}

/* ---- */

static int check_spec(const struct ph_spawn_spec *spec, struct ph_err *err)
{
	if (spec->read_max)
		return 0;
	if (!spec->path || !spec->argv || !spec->argv[0] || !spec->env)
		return ph_err_set(err, EINVAL, "no command to execute");
	int error = ph_spawn_check_name(spec->path, err);
	if (error)
		return error;
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

/* With what is lent: the kernel may still write there when a child that was killed wakes up. */
static int prepare_bytes(struct ph_spawning *start)
{
	start->lent->bytes = start->task.bytes = malloc(start->task.spec->read_max + 1);
	return start->task.bytes ? 0 : -ENOMEM;
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

/* The child has ended or is about to: where the kernel cannot end it (it waits for a file system)
 * its stack stays with it. It never again executes an instruction. */
static void end_child(struct ph_spawning *start)
{
	pid_t pid = start->spawned.pid;
	int pidfd = start->spawned.pidfd;
	(void)syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
	(void)kill(-pid, SIGKILL);
	if (ph_spawn_clone_has_ended(pidfd, END_MS)) {
		ph_spawn_lent_reap(pidfd);
		return;
	}
	ph_spawn_lent_lose(start->lent, pidfd, start->likeness);
	start->lent = NULL;
}

static void release(struct ph_spawning *start)
{
	take_fds_back(start);
	if (start->null_fd >= 0)
		close(start->null_fd);
	if (start->task.cgroup_fd >= 0)
		close(start->task.cgroup_fd);
	ph_spawn_lent_put(start->lent);
	free(start->task.env);
	free(start->task.candidates);
	n_late -= start->late;
	free(start);
	under_way--;
}

static int prepare(
	struct ph_spawning *start, const struct ph_spawn_spec *spec, bool dry, struct ph_err *err)
{
	start->null_fd = -1;
	start->run = -1;
	start->task.cgroup_fd = -1;
	start->task.spec = spec;
	start->task.name = mark;
	start->task.dry = dry;
	start->task.path = spec->path;
	start->lent = ph_spawn_lent_get();
	int r = !start->lent ? -ENOMEM : spec->read_max ? prepare_bytes(start) : prepare_env(start);
	if (!r && !spec->read_max && !strchr(spec->path, '/')) {
		start->task.candidates = ph_spawn_candidates(spec->path, spec->search);
		r = start->task.candidates ? 0 : -ENOMEM;
	}
	if (!r)
		r = prepare_fds(start);
	return r ? ph_err_set(err, -r, "cannot prepare a process: %s", strerror(-r)) : 0;
}

/* ---- making it */

/* All signals are blocked, those that the C library keeps to itself too, so that no handler runs on
 * the child's stack. */
static int clone_child(struct ph_spawning *start, const char *cgroup)
{
	unsigned long all[8 / sizeof(unsigned long)], before[8 / sizeof(unsigned long)];
	memset(all, 0xff, sizeof all);
	if (syscall(SYS_rt_sigprocmask, SIG_SETMASK, all, before, sizeof all) < 0)
		return -errno;
	int error = ph_spawn_clone(
		&start->task, cgroup, start->lent, &start->spawned.pid, &start->spawned.pidfd);
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
	if (under_way || ph_spawn_lost())
		return;
	if (undumpable)
		(void)prctl(PR_SET_DUMPABLE, 1);
	undumpable = false;
}

static int make(struct ph_spawning *start, const struct ph_spawn_spec *spec, struct ph_err *err)
{
	note_dumpable(spec);
	lend_fds(start);
	uint64_t before = ticks_now();
	int r = make_child(start, err);
	if (r)
		return r;
	ph_kin_own(start->spawned.pid); /* it is no orphan that may be reaped */
	start->unnamed = get_start_time(start->spawned.pid, before, &start->spawned.start_time);
	return 0;
}

static uint64_t hash_text(uint64_t hash, const char *text)
{
	return ph_mix64(ph_hash_bytes(hash, text ? text : "", text ? strlen(text) : 0));
}

static uint64_t hash_folder(const char *file)
{
	const char *name = file ? strrchr(file, '/') : NULL;
	return ph_hash_bytes(PH_HASH_SEED, file ? file : "", name ? (size_t)(name - file) : 0);
}

/* Those with the same program, working directory and folder of its file have the same fate; and
 * those that read in the same folder. */
static uint64_t likeness_of(const struct ph_spawn_spec *spec)
{
	if (spec->read_max)
		return hash_text(hash_folder(spec->path), "read");
	return hash_text(hash_text(hash_folder(spec->file), spec->path), spec->dir);
}

/* One program that hangs is not to use up what there is for all. */
static int check_lost(const struct ph_spawn_spec *spec, uint64_t likeness, struct ph_err *err)
{
	unsigned all = ph_spawn_lost(), like = ph_spawn_lost_like(likeness);
	if (all < PH_SPAWN_LOST_MAX && like < PH_SPAWN_LOST_LIKE_MAX)
		return 0;
	return ph_err_set(err, EAGAIN,
		"%u processes that were killed before they %s have not ended yet",
		all < PH_SPAWN_LOST_MAX ? like : all,
		all >= PH_SPAWN_LOST_MAX ? "executed anything"
		: spec->read_max	 ? "had read such a file"
					 : "executed this program");
}

/* After an error there is nothing to finish. */
static int begin(
	const struct ph_spawn_spec *spec, bool dry, struct ph_spawning **ret, struct ph_err *err)
{
	int r = check_spec(spec, err);
	if (r)
		return r;
	uint64_t likeness = likeness_of(spec);
	r = check_lost(spec, likeness, err);
	if (r)
		return r;
	struct ph_spawning *start = calloc(1, sizeof *start);
	if (!start)
		return ph_err_set(err, ENOMEM, "cannot prepare a process: out of memory");
	start->likeness = likeness;
	under_way++;
	r = prepare(start, spec, dry, err);
	if (!r)
		r = make(start, spec, err);
	if (r) {
		release(start);
		restore_dumpable();
		return r;
	}
	*ret = start;
	return 0;
}

bool ph_spawn_wait(struct ph_spawning *start, unsigned ms)
{
	return ph_spawn_clone_wait(start->lent, start->spawned.pidfd, ms);
}

bool ph_spawn_moment(struct ph_spawning *start)
{
	unsigned others = n_late - start->late;
	bool over = ph_spawn_wait(start, others ? PH_SPAWN_LOOK_MS : PH_SPAWN_MOMENT_MS);
	if (!over && !start->late) {
		start->late = true;
		n_late++;
	}
	return over;
}

/* Why it is none that runs, or 0. */
static int judge(const struct ph_spawning *start, bool over, struct ph_err *err)
{
	const struct ph_spawn_task *task = &start->task;
	if (!over)
		return ph_spawn_explain(task, ETIMEDOUT, err);
	if (task->code)
		return ph_spawn_explain(task, task->code, err);
	/* without its start time it could never be told from another of its pid */
	if (start->unnamed)
		return ph_err_set(err, -start->unnamed, "cannot read /proc/%d/stat: %s",
			(int)start->spawned.pid, strerror(-start->unnamed));
	return 0;
}

/* What does not answer once is not waited for again and again: the caller has a loop to turn. */
static unsigned patience_ms(void)
{
	bool again = gave_up_at_ms && ph_clock_now_ms() < gave_up_at_ms + AGAIN_MS;
	return again ? PH_SPAWN_AGAIN_MS : PH_SPAWN_PATIENCE_MS;
}

static int conclude(
	struct ph_spawning *start, bool over, struct ph_spawned *ret, struct ph_err *err)
{
	int r = judge(start, over, err);
	if (!r && start->task.bytes) {
		*ret = (struct ph_spawned){
			.pidfd = -1, .bytes = start->task.bytes, .n_bytes = start->task.n_bytes};
		ret->bytes[ret->n_bytes] = '\0';
		start->lent->bytes = NULL;
	}
	if (r || start->task.dry || start->task.bytes) {
		end_child(start);
	} else {
		start->spawned.cgroup_error = start->task.cgroup_error;
		*ret = start->spawned;
	}
	ph_kin_disown(start->spawned.pid);
	release(start);
	restore_dumpable();
	return r;
}

int ph_spawn_finish(struct ph_spawning *start, struct ph_spawned *ret, struct ph_err *err)
{
	bool over = ph_spawn_wait(start, patience_ms());
	if (!over)
		gave_up_at_ms = ph_clock_now_ms();
	return conclude(start, over, ret, err);
}

int ph_spawn_give_up(struct ph_spawning *start, struct ph_spawned *ret, struct ph_err *err)
{
	return conclude(start, ph_spawn_wait(start, 0), ret, err);
}

int ph_spawn_begin(const struct ph_spawn_spec *spec, struct ph_spawning **ret, struct ph_err *err)
{
	if (under_way >= PH_SPAWN_BEGUN_MAX)
		return ph_err_set(err, EBUSY, "%d starts are under way, no more are possible",
			PH_SPAWN_BEGUN_MAX);
	return begin(spec, false, ret, err);
}

static int at_once(
	const struct ph_spawn_spec *spec, bool dry, struct ph_spawned *ret, struct ph_err *err)
{
	struct ph_spawning *start;
	int r = begin(spec, dry, &start, err);
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
