/* What /proc says, and the search for workers. */
#include "io/proc.h"

#include "io/spawn.h"
#include "run_tests.h"
#include "tests/unit/io_help.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

/* Of this run alone: the search sees those of others. */
static char socket_path[64], of_ours[96], of_others[98], of_near[96];

static int found;
static struct ph_proc_worker last;
static char token[64], child[64], epoch[64];

static void on_worker(void *arg, const struct ph_proc_worker *worker)
{
	(void)arg;
	found++;
	last = *worker;
	(void)snprintf(token, sizeof token, "%s", worker->token ? worker->token : "-");
	(void)snprintf(child, sizeof child, "%s", worker->child ? worker->child : "-");
	(void)snprintf(epoch, sizeof epoch, "%s", worker->epoch ? worker->epoch : "-");
}

static struct ph_spawned start(const char *const *env, const char *script)
{
	const char *const argv[] = {"sh", "-c", script, NULL};
	const struct ph_spawn_spec spec = {.path = "/bin/sh", .argv = argv, .env = env};
	struct ph_spawned spawned;
	struct ph_err err;
	ck_assert_int_eq(ph_spawn_start(&spec, &spawned, &err), 0);
	return spawned;
}

static void finish(struct ph_spawned *spawned)
{
	(void)kill(-spawned->pid, SIGKILL);
	ck_assert_int_eq(waitpid(spawned->pid, NULL, 0), spawned->pid);
	close(spawned->pidfd);
}

START_TEST(stat_of_myself)
{
	struct ph_proc_stat mine, again;
	ck_assert_int_eq(ph_proc_stat(getpid(), &mine), 0);
	ck_assert_int_eq(mine.parent, getppid());
	ck_assert_int_eq(mine.group, getpgrp());
	ck_assert_int_eq(mine.session, getsid(0));
	ck_assert_int_eq(mine.state, 'R');
	ck_assert_int_eq(ph_proc_session(getpid()), getsid(0));
	ck_assert_int_eq(ph_proc_stat(0x7ffffff, &again), -ESRCH);
	ck_assert_int_eq(ph_proc_session(0x7ffffff), -ESRCH);
}
END_TEST

START_TEST(lines_of_stat)
{
	static const struct {
		const char *line;
		bool good;
	} rows[] = {
		{"7 (a b) S 1 7 7 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 123456789012 0\n", true},
		{"7 (a) R 9) S 1 7 7 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 123456789012", true},
		{"", false},
		{"7 (a", false},
		{"7 (a)", false},
		{"7 (a) ", false},
		{"7 (a) S", false},
		{"7 (a) S 1 7 7 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0", false},
		{"7 (a) S 1 7 x 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 5 0", false},
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct ph_proc_stat stat = {.parent = -5};
		ck_assert_int_eq(ph_procstat_parse(rows[i].line, &stat), rows[i].good);
		ck_assert_int_eq(stat.parent, rows[i].good ? 1 : -5);
		if (!rows[i].good)
			continue;
		ck_assert_int_eq(stat.state, 'S');
		ck_assert(stat.group == 7 && stat.session == 7);
		ck_assert_uint_eq(stat.start_time, 123456789012);
	}
}
END_TEST

START_TEST(a_name_that_looks_like_the_rest)
{
	char *dir = help_dir(), link[128];
	struct ph_proc_stat stat_line;
	(void)snprintf(link, sizeof link, "%s/) Z 1 2 3", dir);
	ck_assert_int_eq(symlink("/bin/sleep", link), 0);
	const char *const argv[] = {"x", "10", NULL}, *const env[] = {NULL};
	const struct ph_spawn_spec spec = {.path = link, .argv = argv, .env = env};
	struct ph_spawned spawned;
	struct ph_err err;
	ck_assert_int_eq(ph_spawn_start(&spec, &spawned, &err), 0);
	ck_assert_int_eq(ph_proc_stat(spawned.pid, &stat_line), 0);
	ck_assert_int_eq(stat_line.parent, getpid());
	ck_assert_int_eq(stat_line.session, spawned.pid);
	finish(&spawned);
	help_remove(dir);
}
END_TEST

START_TEST(finds_its_workers_and_no_others)
{
	static char huge[100000] = "HUGE=";
	memset(huge + 5, 'x', sizeof huge - 6);
	const char *const ours[] = {huge, of_ours, "PROCHUB_TOKEN=cafe", "PROCHUB_CHILD=web",
		"PROCHUB_INSTANCE=3", "PROCHUB_REPLICA=0", "PROCHUB_NODE=a",
		"PROCHUB_EPOCH=16777217", "PROCHUB_ROLE=active", "XPROCHUB_TOKEN=no", NULL};
	const char *const others[] = {of_others, "PROCHUB_TOKEN=cafe", NULL};
	const char *const near[] = {of_near, "PROCHUB_TOKEN=cafe", NULL};
	found = 0;
	ck_assert_int_eq(ph_proc_find_workers(socket_path, false, on_worker, NULL), 0);
	ck_assert_int_eq(found, 0);
	/* its own children have its environment, but lead no session */
	struct ph_spawned a = start(ours, "sleep 100 & exec sleep 100");
	struct ph_spawned b = start(others, "exec sleep 100");
	struct ph_spawned c = start(near, "exec sleep 100");
	struct ph_spawned dead = start(ours, "exit 0");
	siginfo_t info;
	ck_assert_int_eq(waitid(P_PID, (id_t)dead.pid, &info, WEXITED | WNOWAIT), 0);
	ck_assert_int_eq(ph_proc_find_workers(socket_path, false, on_worker, NULL), 0);
	ck_assert_int_eq(found, 1);
	ck_assert_int_eq(last.pid, a.pid);
	ck_assert_uint_eq(last.start_time, a.start_time);
	ck_assert_uint_eq(last.uid, geteuid());
	ck_assert_str_eq(token, "cafe");
	ck_assert_str_eq(child, "web");
	ck_assert_str_eq(epoch, "16777217");
	finish(&a);
	finish(&b);
	finish(&c);
	finish(&dead);
}
END_TEST

/* What a leader that has ended left in its session, and only that. */
START_TEST(finds_orphans)
{
	const char *const ours[] = {of_ours, "PROCHUB_TOKEN=cafe", NULL};
	const char *const others[] = {of_others, "PROCHUB_TOKEN=cafe", NULL};
	siginfo_t info;
	found = 0;
	struct ph_spawned whole = start(ours, "sleep 100 & exec sleep 100");
	struct ph_spawned a = start(ours, "sleep 100 & exit 0");
	struct ph_spawned b = start(others, "sleep 100 & exit 0");
	ck_assert_int_eq(waitid(P_PID, (id_t)a.pid, &info, WEXITED | WNOWAIT), 0);
	ck_assert_int_eq(waitid(P_PID, (id_t)b.pid, &info, WEXITED | WNOWAIT), 0);
	ck_assert_int_eq(ph_proc_find_workers(socket_path, true, on_worker, NULL), 0);
	ck_assert_int_eq(found, 1);
	ck_assert_int_eq(last.session, a.pid);
	ck_assert_int_ne(last.pid, a.pid);
	ck_assert_int_eq(ph_proc_session(last.pid), a.pid);
	ck_assert_str_eq(token, "cafe");
	finish(&whole);
	finish(&a);
	finish(&b);
}
END_TEST

/* For a part of each execution a process has no environment: it is looked at again. */
START_TEST(finds_what_executes)
{
	/* it ends with this test, however that ends: it would take a processor for ever */
	char script[80];
	(void)snprintf(script, sizeof script, "S=kill -0 %d && exec sh -c \"$S\"", (int)getpid());
	const char *const env[] = {of_ours, "PROCHUB_TOKEN=cafe", script, NULL};
	struct ph_spawned busy = start(env, "exec sh -c \"$S\"");
	for (int i = 0; i < 300; i++) {
		found = 0;
		ck_assert_int_eq(ph_proc_find_workers(socket_path, false, on_worker, NULL), 0);
		ck_assert_int_eq(found, 1);
		ck_assert_int_eq(last.pid, busy.pid);
	}
	finish(&busy);
}
END_TEST

/* As a daemon may that was started with env -i. */
START_TEST(passes_over_what_has_no_environment)
{
	static char name[] = "sleep", duration[] = "100";
	static char *const argv[] = {name, duration, NULL}, *const env[] = {NULL};
	pid_t pid = fork();
	if (!pid) {
		(void)setsid();
		(void)execve("/bin/sleep", argv, env);
		_exit(1);
	}
	int r = -EAGAIN;
	found = 0;
	for (int i = 0; i < 5000 && r == -EAGAIN; i++) {
		usleep(1000);
		r = ph_proc_look(pid, socket_path, on_worker, NULL);
	}
	ck_assert_int_eq(r, 0);
	ck_assert_int_eq(found, 0);
	(void)kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}
END_TEST

int main(void)
{
	(void)snprintf(socket_path, sizeof socket_path, "/run/ph-test-%d/x", (int)getpid());
	(void)snprintf(of_ours, sizeof of_ours, "PROCHUB_SOCKET=%s", socket_path);
	(void)snprintf(of_others, sizeof of_others, "PROCHUB_SOCKET=%s2", socket_path);
	(void)snprintf(of_near, sizeof of_near, "PROCHUB_SOCKETS=%s", socket_path);
	Suite *suite = suite_create("io_proc");
	TCase *tc = tcase_create("all");
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, stat_of_myself);
	tcase_add_test(tc, lines_of_stat);
	tcase_add_test(tc, a_name_that_looks_like_the_rest);
	tcase_add_test(tc, finds_its_workers_and_no_others);
	tcase_add_test(tc, finds_orphans);
	tcase_add_test(tc, finds_what_executes);
	tcase_add_test(tc, passes_over_what_has_no_environment);
	suite_add_tcase(suite, tc);
	return run_tests(suite);
}
