/* Watching, signalling, groups and adoption, with real processes. */
#include "io/child.h"

#include "io/kin.h"
#include "io/proc.h"
#include "io/spawn.h"
#include "run_tests.h"
#include "tests/unit/io_help.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

static struct event_base *base;
static struct ph_child_exit last;
static int exits;
static int fds_before;

static void on_exit_seen(void *arg, struct ph_child *child, const struct ph_child_exit *status)
{
	(void)arg;
	(void)child;
	last = *status;
	exits++;
}

static void free_at_exit(void *arg, struct ph_child *child, const struct ph_child_exit *status)
{
	on_exit_seen(arg, child, status);
	ph_child_free(child);
}

static void setup(void)
{
	base = event_base_new();
	ck_assert_ptr_nonnull(base);
	exits = 0;
	fds_before = help_count_fds();
}

static void teardown(void)
{
	ck_assert_int_eq(help_count_fds(), fds_before);
	event_base_free(base);
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1); /* no zombie, no child */
}

static struct ph_child *start(const char *script, ph_child_fn *fn)
{
	static const char *const env[] = {"PATH=/usr/bin:/bin", NULL};
	const char *const argv[] = {"sh", "-c", script, NULL};
	const struct ph_spawn_spec spec = {.path = "/bin/sh", .argv = argv, .env = env};
	struct ph_spawned spawned;
	struct ph_child *child;
	struct ph_err err = {""};
	ck_assert_msg(ph_spawn_start(&spec, &spawned, &err) == 0, "%s", err.text);
	ck_assert_int_eq(ph_child_new(base, spawned.pid, spawned.pidfd, spawned.start_time, fn,
				 NULL, &child),
		0);
	return child;
}

static bool gone(pid_t pid)
{
	for (int i = 0; i < 3000; i++) {
		if (kill(pid, 0) < 0 && errno == ESRCH)
			return true;
		usleep(10000);
	}
	return false;
}

static const struct {
	const char *script;
	struct ph_child_exit status;
} endings[] = {
	{"exit 0", {.code = 0}},
	{"exit 42", {.code = 42}},
	{"exit 255", {.code = 255}},
	{"kill -TERM $$", {.signal = SIGTERM}},
	{"kill -KILL $$", {.signal = SIGKILL}},
};

START_TEST(each_ending)
{
	struct ph_child *child = start(endings[_i].script, on_exit_seen);
	help_run_until(base, &exits, 1);
	ck_assert(!last.unknown && !last.core);
	ck_assert_int_eq(last.code, endings[_i].status.code);
	ck_assert_int_eq(last.signal, endings[_i].status.signal);
	/* once, and the zombie is there until it is let go */
	help_run_for(base, 20);
	ck_assert_int_eq(exits, 1);
	struct ph_proc_stat stat_line;
	ck_assert_int_eq(ph_proc_stat(ph_child_pid(child), &stat_line), 0);
	ck_assert_int_eq(stat_line.state, 'Z');
	ck_assert_int_eq(ph_child_kill_group(child, SIGKILL), 0);
	ck_assert(!ph_child_group_alive(child));
	ph_child_reap(child);
	ph_child_reap(child);
	ck_assert_int_eq(ph_child_signal(child, SIGTERM), -ESRCH);
	ck_assert_int_eq(ph_child_kill_group(child, SIGTERM), -ESRCH);
	ck_assert(!ph_child_group_alive(child));
	ph_child_free(child);
}
END_TEST

START_TEST(a_core_is_told)
{
	char place[256] = "";
	FILE *pattern = fopen("/proc/sys/kernel/core_pattern", "r");
	if (pattern) {
		ck_assert_ptr_nonnull(fgets(place, sizeof place, pattern));
		fclose(pattern);
	}
	if (*place == '|' || *place == '/')
		return; /* whether there is one is somebody else's decision */
	struct rlimit before, wide;
	ck_assert_int_eq(getrlimit(RLIMIT_CORE, &before), 0);
	char *dir = help_dir(), script[128];
	wide = before;
	wide.rlim_cur = wide.rlim_max;
	ck_assert_int_eq(setrlimit(RLIMIT_CORE, &wide), 0);
	(void)snprintf(script, sizeof script, "cd %s; kill -ABRT $$", dir);
	struct ph_child *child = start(script, free_at_exit);
	(void)child;
	help_run_until(base, &exits, 1);
	ck_assert_int_eq(setrlimit(RLIMIT_CORE, &before), 0);
	ck_assert_int_eq(last.signal, SIGABRT);
	ck_assert_int_eq(last.core, wide.rlim_cur != 0);
	help_remove(dir);
}
END_TEST

START_TEST(signals_reach_the_main_process)
{
	char *dir = help_dir(), script[160], path[96];
	(void)snprintf(path, sizeof path, "%s/set", dir);
	(void)snprintf(script, sizeof script,
		"trap 'exit 9' USR1; : >%s; while :; do sleep 0.02; done", path);
	struct ph_child *child = start(script, free_at_exit);
	for (int i = 0; i < 2000 && access(path, F_OK) < 0; i++)
		usleep(10000); /* until its trap is set */
	help_remove(dir);
	ck_assert_int_eq(ph_child_signal(child, 12345), -EINVAL);
	ck_assert(ph_child_group_alive(child));
	ck_assert_int_eq(ph_child_signal(child, SIGUSR1), 0);
	help_run_until(base, &exits, 1);
	ck_assert_int_eq(last.code, 9);
}
END_TEST

START_TEST(the_group_dies_with_its_leader)
{
	struct ph_child *child = start("sleep 100 & sleep 100 & wait", on_exit_seen);
	usleep(50000);
	ck_assert_int_eq(ph_child_kill_group(child, SIGKILL), 0);
	help_run_until(base, &exits, 1);
	pid_t pid = ph_child_pid(child);
	ph_child_reap(child);
	ck_assert(gone(-pid));
	ck_assert(!ph_child_group_alive(child));
	ph_child_free(child);
}
END_TEST

START_TEST(what_a_dead_leader_left_behind)
{
	/* before the reap */
	struct ph_child *child = start("sleep 100 & exit 3", on_exit_seen);
	help_run_until(base, &exits, 1);
	pid_t pid = ph_child_pid(child);
	ck_assert(ph_child_group_alive(child));
	ck_assert_int_eq(ph_child_kill_group(child, SIGKILL), 0);
	for (int i = 0; i < 3000 && ph_child_group_alive(child); i++)
		usleep(10000);
	ck_assert(!ph_child_group_alive(child));
	ph_child_free(child);
	ck_assert(gone(-pid));
	/* and after it: the number stays ours while a member lives */
	child = start("sleep 100 & exit 3", on_exit_seen);
	help_run_until(base, &exits, 2);
	pid = ph_child_pid(child);
	ph_child_reap(child);
	ck_assert(ph_child_group_alive(child));
	ck_assert_int_eq(ph_child_kill_group(child, SIGTERM), 0);
	ck_assert(gone(-pid));
	ck_assert(!ph_child_group_alive(child));
	ck_assert_int_eq(ph_child_kill_group(child, SIGTERM), -ESRCH);
	ph_child_free(child);
}
END_TEST

START_TEST(freeing_leaves_it_alive)
{
	struct ph_child *child = start("exec sleep 100", on_exit_seen);
	pid_t pid = ph_child_pid(child);
	ph_child_free(child);
	ck_assert_int_eq(kill(pid, 0), 0);
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	ck_assert_int_eq(exits, 0);
	ph_child_free(NULL);
}
END_TEST

/* ---- adoption */

/* A session leader that is a grandchild, left to init: as after a daemon that was killed. */
static pid_t start_orphan(const char *script)
{
	int ends[2];
	pid_t orphan;
	ck_assert_int_eq(pipe(ends), 0);
	pid_t middle = fork();
	if (!middle) {
		orphan = fork();
		if (!orphan) {
			(void)setsid();
			(void)!write(ends[1], &(pid_t){getpid()}, sizeof orphan);
			close(ends[0]);
			close(ends[1]);
			execl("/bin/sh", "sh", "-c", script, (char *)NULL);
		}
		_exit(0);
	}
	ck_assert_int_eq(read(ends[0], &orphan, sizeof orphan), sizeof orphan);
	close(ends[0]);
	close(ends[1]);
	ck_assert_int_eq(waitpid(middle, NULL, 0), middle);
	return orphan;
}

static uint64_t start_time_of(pid_t pid)
{
	struct ph_proc_stat stat_line;
	ck_assert_int_eq(ph_proc_stat(pid, &stat_line), 0);
	return stat_line.start_time;
}

/* After an execve() of ours, say: who was started before it, and has ended in between. */
START_TEST(adopts_a_zombie_of_ours_with_its_status)
{
	siginfo_t info;
	struct ph_child *child = NULL;
	struct ph_err err = {""};
	pid_t pid = fork();
	if (!pid)
		_exit(7);
	ck_assert_int_eq(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	ck_assert_int_eq(
		ph_child_adopt(base, pid, start_time_of(pid), on_exit_seen, NULL, &child, &err), 0);
	ck_assert_int_eq(exits, 0);
	help_run_until(base, &exits, 1);
	ck_assert(!last.unknown);
	ck_assert_int_eq(last.code, 7);
	ph_child_free(child);
	ck_assert(gone(pid));
}
END_TEST

START_TEST(adopts_what_is_no_child_of_ours)
{
	pid_t pid = start_orphan("sleep 100 & exec sleep 100");
	uint64_t start_time = start_time_of(pid);
	struct ph_child *child = NULL;
	struct ph_err err = {""};
	struct ph_kin_list below = {0};
	for (int i = 0; i < 2000 && !below.n; i++) { /* until it has its own child */
		usleep(10000);
		ph_kin_note(&below, pid);
	}
	ck_assert_uint_eq(below.n, 1);
	ck_assert_int_eq(
		ph_child_adopt(base, pid, start_time + 1, on_exit_seen, NULL, &child, &err),
		-ESTALE);
	ck_assert_ptr_nonnull(strstr(err.text, "belongs to another process now"));
	ck_assert_ptr_null(child);
	ck_assert_int_eq(
		ph_child_adopt(base, pid, start_time, on_exit_seen, NULL, &child, &err), 0);
	ck_assert(ph_child_adopted(child));
	ck_assert_uint_eq(ph_child_start_time(child), start_time);
	ck_assert_int_eq(ph_child_signal(child, SIGTERM), 0);
	help_run_until(base, &exits, 1);
	ck_assert(last.unknown);
	/* its leader is reaped by somebody else, and the rest of the session is still found */
	ck_assert(gone(pid));
	ck_assert(ph_child_group_alive(child));
	ck_assert_int_eq(ph_child_kill_group(child, SIGKILL), 0);
	ck_assert(gone(-pid));
	ck_assert(!ph_child_group_alive(child));
	ph_child_free(child);
	ck_assert_int_eq(
		ph_child_adopt(base, pid, start_time, on_exit_seen, NULL, &child, &err), -ESRCH);
}
END_TEST

START_TEST(adopts_its_own_child_after_an_exec)
{
	/* the same process id after a re-exec of the daemon: the status is known */
	struct ph_child *first = start("sleep 0.1; exit 6", on_exit_seen), *second;
	struct ph_err err;
	pid_t pid = ph_child_pid(first);
	uint64_t start_time = ph_child_start_time(first);
	ph_child_free(first);
	ck_assert_int_eq(
		ph_child_adopt(base, pid, start_time, free_at_exit, NULL, &second, &err), 0);
	help_run_until(base, &exits, 1);
	ck_assert(!last.unknown);
	ck_assert_int_eq(last.code, 6);
}
END_TEST

START_TEST(refuses_what_has_ended)
{
	struct ph_child *first = start("exit 0", on_exit_seen), *second;
	struct ph_err err;
	help_run_until(base, &exits, 1);
	pid_t pid = ph_child_pid(first);
	uint64_t start_time = ph_child_start_time(first);
	ph_child_free(first);
	ck_assert_int_eq(
		ph_child_adopt(base, pid, start_time, on_exit_seen, NULL, &second, &err), -ESRCH);
	ck_assert_int_eq(ph_child_adopt(base, 0, 1, on_exit_seen, NULL, &second, &err), -ESRCH);
	ck_assert_int_eq(ph_child_adopt(base, -5, 1, on_exit_seen, NULL, &second, &err), -ESRCH);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("io_child");
	TCase *tc = tcase_create("all");
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, each_ending, 0, sizeof endings / sizeof *endings);
	tcase_add_test(tc, a_core_is_told);
	tcase_add_test(tc, signals_reach_the_main_process);
	tcase_add_test(tc, the_group_dies_with_its_leader);
	tcase_add_test(tc, what_a_dead_leader_left_behind);
	tcase_add_test(tc, freeing_leaves_it_alive);
	tcase_add_test(tc, adopts_a_zombie_of_ours_with_its_status);
	tcase_add_test(tc, adopts_what_is_no_child_of_ours);
	tcase_add_test(tc, adopts_its_own_child_after_an_exec);
	tcase_add_test(tc, refuses_what_has_ended);
	suite_add_tcase(suite, tc);
	return run_tests(suite);
}
