/* Descendants: by parents and by environment; strangers are left alone. */
#include "io/kin.h"

#include "io/proc.h"
#include "io/spawn.h"
#include "run_tests.h"
#include "tests/unit/io_help.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

/* Of this run alone: the walk sees those of others. */
static char token[64] = "PROCHUB_TOKEN=", path[64] = "PROCHUB_SOCKET=";
#define SOCKET (path + sizeof "PROCHUB_SOCKET=" - 1)

static const char *const env[] = {path, token, "PROCHUB_CHILD=web", "PROCHUB_INSTANCE=3",
	"PROCHUB_REPLICA=0", "PATH=/bin:/usr/bin", NULL};
static const char *const without_token[] = {path, "PROCHUB_CHILD=web", "PROCHUB_INSTANCE=3",
	"PROCHUB_REPLICA=0", "PATH=/bin:/usr/bin", NULL};

static struct ph_spawned start(const char *const *environment, const char *script)
{
	const char *const argv[] = {"sh", "-c", script, NULL};
	const struct ph_spawn_spec spec = {.path = "/bin/sh", .argv = argv, .env = environment};
	struct ph_spawned spawned;
	struct ph_err err;
	ck_assert_int_eq(ph_spawn_start(&spec, &spawned, &err), 0);
	ph_kin_own(spawned.pid);
	return spawned;
}

static struct ph_kin kin_of(const struct ph_spawned *spawned)
{
	return (struct ph_kin){spawned->pid, spawned->start_time};
}

/* How it ended: the number of the signal, 0 while it lives. */
static int ended(struct ph_spawned *spawned)
{
	siginfo_t info = {0};
	ck_assert_int_eq(
		waitid(P_PIDFD, (id_t)spawned->pidfd, &info, WEXITED | WNOHANG | WNOWAIT), 0);
	return info.si_pid ? info.si_status : 0;
}

static void finish(struct ph_spawned *spawned)
{
	(void)kill(-spawned->pid, SIGKILL);
	ck_assert_int_eq(waitpid(spawned->pid, NULL, 0), spawned->pid);
	ph_kin_disown(spawned->pid);
	close(spawned->pidfd);
}

static void wait_for(bool (*true_of)(void *), void *arg)
{
	for (int i = 0; i < 2000; i++) {
		if (true_of(arg))
			return;
		usleep(10000);
	}
	ck_abort_msg("that never was");
}

static bool has_two(void *arg)
{
	struct ph_kin_list list = {0};
	ph_kin_note(&list, *(pid_t *)arg);
	return list.n == 2;
}

static bool reaped(void *arg)
{
	(void)arg;
	return ph_kin_reap_orphans() > 0;
}

START_TEST(a_tree_is_killed_whole)
{
	struct ph_spawned root = start(env, "(setsid sleep 100 & wait) & wait");
	struct ph_kin_list list = {0}, killed = {0};
	struct ph_kin kin = kin_of(&root);
	wait_for(has_two, &root.pid);
	ph_kin_note(&list, root.pid);
	ck_assert_uint_eq(list.n, 2);
	ph_kin_note(&list, root.pid); /* each once */
	ck_assert_uint_eq(list.n, 2);
	ck_assert(ph_kin_kill(&kin, &killed));
	ck_assert_uint_eq(killed.n, 3);
	for (size_t i = 0; i < list.n; i++)
		for (int k = 0;
			k < 300 && kill(list.v[i].pid, 0) == 0 && ph_kin_kill(&list.v[i], NULL);
			k++)
			usleep(10000);
	finish(&root);
	ck_assert(!ph_kin_kill(&kin, NULL));
}
END_TEST

START_TEST(another_of_that_pid_is_left_alone)
{
	struct ph_spawned other = start(env, "exec sleep 100");
	struct ph_kin kin = {other.pid, other.start_time + 1};
	ck_assert(!ph_kin_kill(&kin, NULL));
	usleep(20000);
	ck_assert_int_eq(ended(&other), 0);
	finish(&other);
}
END_TEST

static const struct ph_kin_mark mark = {.socket_path = SOCKET,
	.token = token + sizeof "PROCHUB_TOKEN=" - 1,
	.child = "web",
	.instance = 3};

/* While it executes its environment is empty for a moment. */
static bool is_settled(void *arg)
{
	struct ph_kin kin;
	return ph_kin_matches(*(pid_t *)arg, &mark, &kin) == 1;
}

START_TEST(marks)
{
	struct ph_kin kin;
	struct ph_spawned with = start(env, "exec sleep 100"),
			  bare = start(without_token, "exec sleep 100");
	wait_for(is_settled, &with.pid);
	wait_for(is_settled, &bare.pid);
	struct {
		struct ph_kin_mark mark;
		bool with, bare;
	} rows[] = {{mark, true, true}, {mark, true, false}, {mark, false, true},
		{mark, false, false}, {mark, true, false}, {mark, true, false},
		{mark, false, false}};
	rows[1].mark.child = NULL;
	rows[2].mark.token = "0124";
	rows[3].mark.socket_path = "/run/ph-test-kin/worker.sock";
	rows[4].mark.instance = 4;
	rows[5].mark.child = "we";
	rows[6].mark.start_time = with.start_time + 1000;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		ck_assert_msg(
			ph_kin_matches(with.pid, &rows[i].mark, &kin) == rows[i].with, "%zu", i);
		ck_assert_msg(
			ph_kin_matches(bare.pid, &rows[i].mark, &kin) == rows[i].bare, "%zu", i);
	}
	ck_assert_int_eq(ph_kin_matches(with.pid, &mark, &kin), 1);
	ck_assert(kin.pid == with.pid && kin.start_time == with.start_time);
	finish(&with);
	finish(&bare);
}
END_TEST

static pid_t root_pid;

static int is_orphan(void *arg, pid_t pid)
{
	struct ph_proc_stat stat;
	(void)arg;
	return !ph_proc_stat(pid, &stat) && stat.parent == getpid() && pid != root_pid ? (int)pid
										       : 0;
}

/* It executes no more: for a moment it has no environment. */
static bool has_settled_orphan(void *arg)
{
	char name[32] = "";
	root_pid = *(pid_t *)arg;
	pid_t pid = ph_kin_has_orphans() ? (pid_t)ph_proc_each(is_orphan, NULL) : 0;
	if (pid <= 0)
		return false;
	char comm[64];
	(void)snprintf(comm, sizeof comm, "/proc/%d/comm", (int)pid);
	int fd = open(comm, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		help_read_all(fd, name, sizeof name);
		close(fd);
	}
	return strcmp(name, "sleep\n") == 0 && is_settled(&pid);
}

START_TEST(orphans_come_here)
{
	struct ph_kin_list killed = {0};
	struct ph_kin_mark other = mark;
	other.token = "4567";
	ck_assert_int_eq(ph_kin_become_reaper(), 0);
	ck_assert(!ph_kin_has_orphans());
	struct ph_spawned root = start(env, "setsid sleep 100 & exit 0");
	wait_for(has_settled_orphan, &root.pid);
	ck_assert_uint_eq(ph_kin_reap_orphans(), 0);
	ck_assert_uint_eq(ph_kin_kill_orphans(&other, &killed), 0);
	ck_assert_uint_eq(ph_kin_kill_orphans(&mark, &killed), 1);
	ck_assert_uint_eq(killed.n, 1);
	wait_for(reaped, NULL);
	ck_assert(!ph_kin_has_orphans());
	ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
	finish(&root); /* who has started one waits for it himself */
}
END_TEST

static void count_them(void *arg, const struct ph_proc_worker *process)
{
	*(size_t *)arg += ph_kin_is(process, &mark);
}

START_TEST(the_walk_finds_it)
{
	struct ph_spawned one = start(env, "exec sleep 100"), two = start(env, "exec sleep 100");
	size_t count = 0, turns = 0;
	unsigned doubts = 0;
	wait_for(is_settled, &one.pid);
	wait_for(is_settled, &two.pid);
	struct ph_kin_walk *walk = ph_kin_walk_new();
	ck_assert_ptr_nonnull(walk);
	while (ph_kin_walk_on(walk, 3, SOCKET, count_them, &count, &doubts))
		turns++;
	ph_kin_walk_free(walk);
	ck_assert_uint_gt(turns, 0);
	ck_assert_uint_eq(count, 2);
	finish(&one);
	finish(&two);
}
END_TEST

START_TEST(owned_as_often_as_it_is_named)
{
	ck_assert_int_eq(ph_kin_become_reaper(), 0);
	struct ph_spawned root = start(env, "exec sleep 100");
	ph_kin_own(root.pid);
	ph_kin_disown(root.pid);
	ck_assert(!ph_kin_has_orphans());
	ph_kin_disown(root.pid);
	ck_assert(ph_kin_has_orphans());
	ph_kin_disown(root.pid);
	for (pid_t pid = 500; pid > 0; pid--)
		ph_kin_own(pid);
	ph_kin_own(root.pid);
	ck_assert(!ph_kin_has_orphans());
	for (pid_t pid = 1; pid <= 500; pid++)
		ph_kin_disown(pid);
	ck_assert(!ph_kin_has_orphans());
	ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
	finish(&root);
}
END_TEST

int main(void)
{
	(void)snprintf(token, sizeof token, "PROCHUB_TOKEN=%032d", (int)getpid());
	(void)snprintf(path, sizeof path, "PROCHUB_SOCKET=/run/ph-test-kin-%d/x", (int)getpid());
	Suite *suite = suite_create("io_kin");
	TCase *tcase = tcase_create("io_kin");
	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, a_tree_is_killed_whole);
	tcase_add_test(tcase, another_of_that_pid_is_left_alone);
	tcase_add_test(tcase, marks);
	tcase_add_test(tcase, orphans_come_here);
	tcase_add_test(tcase, the_walk_finds_it);
	tcase_add_test(tcase, owned_as_often_as_it_is_named);
	suite_add_tcase(suite, tcase);
	return run_tests(suite);
}
