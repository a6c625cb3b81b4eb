/* The fence: its memory, the program itself with real processes, and prochubd's end of it. */
#include "io/fence.h"

#include "io/clock.h"
#include "io/fence_impl.h"
#include "io/proc.h"
#include "io/spawn.h"
#include "base/types.h"
#include "run_tests.h"
#include "tests/unit/io_help.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define FAR_MS 600000 /* a lease that no test sees the end of */
#define WAIT_MS 20000
#define GRACE_MS 2000 /* in which who obeys SIGTERM has ended, on any machine */
#define TOKEN help_token('0')
#define OTHER_TOKEN help_token('1')
#define IGNORANT "trap '' TERM; echo; while :; do sleep 100; done"

static struct event_base *base;
static char *dir;
static char program[512];
static struct ph_fence *fence;
static int ended;

/* This test's own, whoever runs the same one beside it. */
static const char *help_token(char first)
{
	static char tokens[2][40];
	char *token = tokens[first - '0'];
	(void)snprintf(token, sizeof tokens[0], "%c00000000000000000000000%08x", first,
		(unsigned)getpid());
	return token;
}

static void on_ended(void *arg, const char *why)
{
	(void)arg;
	ended++;
	ck_assert(strstr(why, "signal 9") || strstr(why, "an earlier daemon"));
}

/* True: one was there, on guard. */
static bool open_fence(uint64_t lease_ms, uint64_t grace_ms)
{
	struct ph_fence_settings settings = {.program = program,
		.run_dir = dir,
		.lease_ms = lease_ms,
		.grace_ms = grace_ms,
		.ended = on_ended};
	struct ph_err err = {""};
	bool guarded = false;
	int error = ph_fence_open(base, &settings, &fence, &guarded, &err);
	ck_assert_msg(error == 0, "%s", err.text);
	return guarded;
}

static void set_up(void)
{
	ssize_t n = readlink("/proc/self/exe", program, sizeof program - 32);
	ck_assert_int_gt(n, 0);
	program[n] = '\0';
	strcpy(strrchr(program, '/'), "/../prochub-fence");
	ck_assert_msg(access(program, X_OK) == 0, "%s is not built", program);
	base = event_base_new();
	dir = help_dir();
	fence = NULL;
	ended = 0;
}

static void tear_down(void)
{
	ph_fence_close(fence, true);
	ph_fence_end_all(dir);
	event_base_free(base);
	help_remove(dir);
}

#define UNTIL(condition) \
	do { \
		uint64_t end_ms_ = ph_clock_now_ms() + WAIT_MS; \
		while (!(condition)) { \
			ck_assert_msg(ph_clock_now_ms() < end_ms_, "waited for " #condition); \
			help_run_for(base, 5); \
		} \
	} while (0)

/*
 * The lease ends now. A fence sleeps to the end of the lease that it saw, and here that is far, so
 * that no test runs against the clock: the one that is started in its place sees the new one.
 */
static void end_lease(void)
{
	(void)ph_fence_lease(fence, ph_clock_now_ms());
	ck_assert_int_eq(kill(ph_fence_pid(fence), SIGKILL), 0);
	UNTIL(ph_fence_has_fired(fence));
}

/* And the fence has stopped all that it may. */
static void fire(void)
{
	end_lease();
	UNTIL(!ph_fence_pid(fence));
}

/* It runs, and /proc shows its arguments: exec tells its parent a moment before that. */
static void open_ready(uint64_t grace_ms)
{
	int lock_error, realtime_error;
	ck_assert(!open_fence(FAR_MS, grace_ms));
	UNTIL(ph_fence_news(fence, &lock_error, &realtime_error));
}

/* ---- workers */

struct worker {
	struct ph_spawned spawned;
	int out;
	bool reaped;
	int status;
};

/* A session of its own; returns when it has written a line, so that its traps are set. */
static struct worker start(const char *token, const char *script)
{
	char variable[64], line[8];
	int pair[2];
	(void)snprintf(variable, sizeof variable, "PROCHUB_TOKEN=%s", token);
	const char *const env[] = {"A=b", variable, "PATH=/usr/bin:/bin", NULL};
	const char *const argv[] = {"sh", "-c", script, NULL};
	ck_assert_int_eq(pipe(pair), 0);
	const int fds[] = {-1, pair[1], -1};
	const struct ph_spawn_spec spec = {
		.path = "/bin/sh", .argv = argv, .env = env, .fds = fds, .n_fds = 3};
	struct worker worker = {.out = pair[0]};
	struct ph_err err;
	ck_assert_int_eq(ph_spawn_start(&spec, &worker.spawned, &err), 0);
	close(pair[1]);
	ck_assert_int_gt(read(pair[0], line, sizeof line), 0);
	return worker;
}

static struct ph_fence_worker row_of(const struct worker *worker, const char *token)
{
	struct ph_id id;
	struct ph_fence_worker row = {
		.pid = (uint32_t)worker->spawned.pid, .start_time = worker->spawned.start_time};
	ck_assert_int_eq(ph_id_parse(token, &id), 0);
	memcpy(row.token, id.b, sizeof row.token);
	return row;
}

static struct ph_fence_worker row(const struct worker *worker)
{
	return row_of(worker, TOKEN);
}

static uint32_t put(const struct ph_fence_worker *worker)
{
	uint32_t place = 0;
	ck_assert_int_eq(ph_fence_put(fence, worker, &place), 0);
	return place;
}

static int reap(struct worker *worker)
{
	if (!worker->reaped)
		ck_assert_int_eq(
			waitpid(worker->spawned.pid, &worker->status, 0), worker->spawned.pid);
	worker->reaped = true;
	return worker->status;
}

static bool lives(const struct worker *worker)
{
	siginfo_t info = {0};
	return !worker->reaped &&
	       waitid(P_PID, (id_t)worker->spawned.pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	       info.si_pid == 0;
}

/* Its end was that signal. */
static void check_ended(struct worker *worker, int signo)
{
	int status = reap(worker);
	ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == signo, "status %x, not signal %d",
		(unsigned)status, signo);
	close(worker->out);
	close(worker->spawned.pidfd);
}

static void finish(struct worker *worker)
{
	(void)kill(-worker->spawned.pid, SIGKILL);
	(void)reap(worker);
	close(worker->out);
	close(worker->spawned.pidfd);
}

/* ---- the memory */

START_TEST(an_entry_is_never_torn)
{
	struct ph_fence_entry entry = {0};
	struct ph_fence_worker a = {1, 2, 3, 4, {5}}, b = {6, 7, 8, 9, {10}}, got;
	ck_assert(!ph_fence_read(&entry, &got));
	ph_fence_write(&entry, &a);
	ck_assert(ph_fence_read(&entry, &got));
	ck_assert_mem_eq(&got, &a, sizeof a);
	/* killed after any number of words: what was before is in force */
	for (unsigned n = 0; n < PH_FENCE_WORDS; n++) {
		atomic_store(&entry.copies[(entry.sequence + 1) % 2][n], 0xbadbad);
		ck_assert(ph_fence_read(&entry, &got));
		ck_assert_mem_eq(&got, &a, sizeof a);
	}
	ph_fence_write(&entry, &b);
	ck_assert(ph_fence_read(&entry, &got));
	ck_assert_mem_eq(&got, &b, sizeof b);
	ph_fence_write(&entry, &(struct ph_fence_worker){0});
	ck_assert(!ph_fence_read(&entry, &got));
}
END_TEST

/* Another process writes all the time, and is killed in the midst of it. */
START_TEST(an_entry_is_never_torn_by_a_writer)
{
	struct ph_fence_worker got;
	struct ph_fence_entry *entry = mmap(
		NULL, sizeof *entry, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(entry, MAP_FAILED);
	pid_t pid = fork();
	if (pid == 0) {
		for (uint32_t i = 1;; i = i % 1000000 + 1)
			ph_fence_write(entry, &(struct ph_fence_worker){i, i, i, i, {0}});
	}
	for (unsigned i = 0; i < 200000; i++) {
		if (i == 180000)
			(void)kill(pid, SIGKILL);
		if (!ph_fence_read(entry, &got))
			continue;
		ck_assert(got.pid == got.main_pid && got.pid == got.start_time &&
			  got.pid == got.main_start_time);
	}
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	(void)munmap(entry, sizeof *entry);
}
END_TEST

START_TEST(a_lease_that_has_fired_is_not_renewed)
{
	struct ph_fence_map map = {.lease_until_ms = 100};
	ck_assert(ph_fence_renew(&map, 200));
	ck_assert_uint_eq(map.lease_until_ms, 200);
	map.lease_until_ms = PH_FENCE_FIRED;
	ck_assert(!ph_fence_renew(&map, 300));
	ck_assert_uint_eq(map.lease_until_ms, PH_FENCE_FIRED);
}
END_TEST

/* ---- who is stopped, and how */

START_TEST(stops_what_is_in_the_table)
{
	struct worker a = start(TOKEN, "echo; exec sleep 100"), b = start("-", "echo; sleep 100"),
		      other = start("-", "echo; exec sleep 100");
	(void)open_fence(FAR_MS, FAR_MS);
	struct ph_fence_worker rows[] = {row(&a), row(&b), row(&other)};
	(void)put(&rows[0]);
	(void)put(&rows[1]);
	ph_fence_drop(fence, put(&rows[2]));
	fire();
	check_ended(&a, SIGTERM);
	check_ended(&b, SIGTERM);
	ck_assert(lives(&other));
	finish(&other);
}
END_TEST

/* The group of what ignores SIGTERM, and members whose leader has obeyed it. */
START_TEST(kills_what_stays)
{
	struct worker deaf = start(TOKEN, IGNORANT), split = start(TOKEN, "(" IGNORANT ") & wait");
	(void)open_fence(FAR_MS, GRACE_MS);
	struct ph_fence_worker rows[] = {row(&deaf), row(&split)};
	(void)put(&rows[0]);
	(void)put(&rows[1]);
	uint64_t began_ms = ph_clock_now_ms();
	fire();
	ck_assert_uint_ge(ph_clock_now_ms(), began_ms + GRACE_MS);
	check_ended(&deaf, SIGKILL);
	check_ended(&split, SIGTERM);
	/* of whom nothing is left: the pipe that they held is closed */
	UNTIL(kill(-split.spawned.pid, 0) < 0 && errno == ESRCH);
}
END_TEST

/* What is killed in the grace has no part in the next one: this one ends at once. */
START_TEST(ends_when_all_is_gone)
{
	struct worker a = start(TOKEN, "echo; exec sleep 100");
	(void)open_fence(FAR_MS, FAR_MS);
	struct ph_fence_worker one = row(&a);
	(void)put(&one);
	fire(); /* far sooner than its grace */
	check_ended(&a, SIGTERM);
}
END_TEST

START_TEST(never_a_recycled_pid)
{
	struct worker a = start("-", "echo; exec sleep 100"),
		      b = start("-", "echo; exec sleep 100"),
		      c = start("-", "sleep 100 & echo; exec sleep 100");
	(void)open_fence(FAR_MS, 0);
	struct ph_fence_worker rows[] = {row(&a), row(&b), row(&c)};
	rows[0].start_time++;
	rows[1].start_time--;
	rows[2].start_time = 0; /* the session has its number, and is another one's */
	rows[2].main_pid = rows[0].pid;
	rows[2].main_start_time = a.spawned.start_time; /* of another session */
	for (int i = 0; i < 3; i++)
		(void)put(&rows[i]);
	fire();
	ck_assert(lives(&a) && lives(&b) && lives(&c));
	finish(&a);
	finish(&b);
	finish(&c);
}
END_TEST

/* A leader that is gone: its session is known by the token, and by nothing else. */
START_TEST(a_session_without_its_leader)
{
	struct worker ours = start(TOKEN, "(" IGNORANT ") & exit 0"),
		      strange = start("112233", "(" IGNORANT ") & exit 0");
	(void)open_fence(FAR_MS, 0);
	struct ph_fence_worker rows[] = {row(&ours), row(&strange)};
	(void)reap(&ours);
	(void)reap(&strange);
	(void)put(&rows[0]);
	(void)put(&rows[1]);
	fire();
	UNTIL(kill(-ours.spawned.pid, 0) < 0 && errno == ESRCH); /* its zombie is another one's */
	ck_assert_int_eq(kill(-strange.spawned.pid, SIGKILL), 0);
	close(ours.out);
	close(strange.out);
	close(ours.spawned.pidfd);
	close(strange.spawned.pidfd);
}
END_TEST

/* One that has made itself a session, and whose parent is gone: it goes with its worker, at the end
 * of the grace, though the worker has obeyed; one of another worker does not. */
START_TEST(a_session_of_its_own)
{
	static const char script[] =
		"setsid -f sh -c \"trap '' TERM; echo; sleep 55\"; exec sleep 100";
	struct worker ours = start(TOKEN, script), other = start(OTHER_TOKEN, script);
	(void)open_fence(FAR_MS, GRACE_MS);
	struct ph_fence_worker one = row(&ours);
	(void)put(&one);
	uint64_t began_ms = ph_clock_now_ms();
	fire();
	ck_assert_uint_ge(ph_clock_now_ms(), began_ms + GRACE_MS);
	/* the pipe that it held is closed, that of the other is not */
	struct pollfd ends[] = {{.fd = ours.out}, {.fd = other.out}};
	ck_assert_int_eq(poll(ends, 2, 10000), 1);
	ck_assert(ends[0].revents & POLLHUP);
	check_ended(&ours, SIGTERM);
	ck_assert(lives(&other));
	finish(&other);
}
END_TEST

/* What executes all the time has no environment in a part of it, and is found all the same. */
START_TEST(a_session_that_executes)
{
	char script[200];
	(void)snprintf(script, sizeof script,
		"export S='kill -0 %d && exec sh -c \"$S\"'; (trap '' TERM; echo; exec sh -c "
		"\"$S\")"
		" & exit 0",
		(int)getpid());
	struct worker ours = start(TOKEN, script);
	(void)open_fence(FAR_MS, 1000);
	struct ph_fence_worker one = row(&ours);
	(void)reap(&ours);
	(void)put(&one);
	fire();
	UNTIL(kill(-ours.spawned.pid, 0) < 0 && errno == ESRCH);
	close(ours.out);
	close(ours.spawned.pidfd);
}
END_TEST

static pid_t session_of;

static int is_member(void *arg, pid_t pid)
{
	(void)arg;
	return pid != session_of && getsid(pid) == session_of ? (int)pid : 0;
}

/* MAINPID=: another process of the session is the one that counts; it has no token to show. */
START_TEST(a_main_process_that_is_another_one)
{
	struct ph_proc_stat stat;
	struct worker a = start("-", "env -i /bin/sh -c 'echo; exec sleep 100' & wait");
	struct ph_fence_worker one = row(&a);
	session_of = a.spawned.pid;
	one.main_pid = (uint32_t)ph_proc_each(is_member, NULL);
	ck_assert_uint_ne(one.main_pid, 0);
	ck_assert_int_eq(ph_proc_stat((pid_t)one.main_pid, &stat), 0);
	one.main_start_time = stat.start_time;
	ck_assert_int_eq(kill(a.spawned.pid, SIGKILL), 0);
	(void)reap(&a);
	(void)open_fence(FAR_MS, FAR_MS);
	(void)put(&one);
	fire();
	ck_assert(ph_proc_stat((pid_t)one.main_pid, &stat) || stat.state == 'Z');
	close(a.out);
	close(a.spawned.pidfd);
}
END_TEST

/* ---- the lease */

static unsigned long wakes(pid_t pid)
{
	char path[64], text[4096];
	(void)snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
	int fd = open(path, O_RDONLY);
	ck_assert_int_ge(fd, 0);
	help_read_all(fd, text, sizeof text);
	close(fd);
	const char *at = strstr(text, "\nvoluntary_ctxt_switches:");
	ck_assert_ptr_nonnull(at);
	return strtoul(strchr(at, ':') + 1, NULL, 10);
}

/* Renewed many times as often as it would end, nobody is stopped, and it hardly ever wakes. */
START_TEST(a_lease_that_is_renewed)
{
	const uint64_t lease_ms = 3000;
	int lock_error, realtime_error;
	struct worker a = start(TOKEN, "echo; exec sleep 100");
	(void)open_fence(lease_ms, 0);
	struct ph_fence_worker one = row(&a);
	(void)put(&one);
	UNTIL(ph_fence_news(fence, &lock_error, &realtime_error));
	ck_assert(!ph_fence_news(fence, &lock_error, &realtime_error));
	unsigned long before = wakes(ph_fence_pid(fence));
	uint64_t began_ms = ph_clock_now_ms();
	while (ph_clock_now_ms() < began_ms + 4500) {
		ck_assert(ph_fence_lease(fence, ph_clock_now_ms() + lease_ms));
		help_run_for(base, 100);
	}
	ck_assert(lives(&a));
	/* it sleeps to the end of the lease that it saw, which was renewed last 100 ms ago */
	unsigned long most = (unsigned long)((ph_clock_now_ms() - began_ms) / (lease_ms / 2)) + 2;
	ck_assert_uint_le(wakes(ph_fence_pid(fence)) - before, most);
	ph_fence_close(fence, true);
	fence = NULL;
	ck_assert(lives(&a));
	finish(&a);
}
END_TEST

START_TEST(another_one_after_it_has_fired)
{
	struct worker deaf = start(TOKEN, IGNORANT),
		      next = start(OTHER_TOKEN, "echo; exec sleep 100");
	(void)open_fence(FAR_MS, 1000);
	struct ph_fence_worker rows[] = {row(&deaf), row_of(&next, OTHER_TOKEN)};
	(void)put(&rows[0]);
	end_lease();
	pid_t old = ph_fence_pid(fence);
	ck_assert_int_eq(ph_fence_renew_all(fence, ph_clock_now_ms() + FAR_MS), 0);
	ck_assert(!ph_fence_has_fired(fence));
	ck_assert_int_ne(ph_fence_pid(fence), old);
	(void)put(&rows[1]);
	UNTIL(!lives(&deaf)); /* the old one goes on */
	check_ended(&deaf, SIGKILL);
	UNTIL(kill(old, 0) < 0 && errno == ESRCH); /* and is reaped */
	ck_assert(lives(&next) && ph_fence_pid(fence));
	fire();
	check_ended(&next, SIGTERM);
	ck_assert_int_eq(ended, 2); /* by end_lease() */
}
END_TEST

/* ---- the process */

START_TEST(a_killed_fence_is_started_again)
{
	struct worker a = start(TOKEN, "echo; exec sleep 100");
	(void)open_fence(FAR_MS, FAR_MS);
	struct ph_fence_worker one = row(&a);
	(void)put(&one);
	for (int i = 1; i <= 3; i++) { /* the last two soon after their start: with a pause */
		pid_t old = ph_fence_pid(fence);
		ck_assert_int_eq(kill(old, SIGKILL), 0);
		UNTIL(ended == i && ph_fence_pid(fence));
		ck_assert_int_ne(ph_fence_pid(fence), old);
	}
	fire(); /* it has the same table */
	check_ended(&a, SIGTERM);
}
END_TEST

/* That is: by this process, or by one that was its parent. */
START_TEST(the_next_daemon_finds_it)
{
	struct worker a = start(TOKEN, "echo; exec sleep 100"),
		      gone = start(OTHER_TOKEN, "echo; exec sleep 100");
	open_ready(FAR_MS);
	struct ph_fence_worker rows[] = {row(&a), row_of(&gone, OTHER_TOKEN)};
	uint32_t place = put(&rows[0]);
	(void)put(&rows[1]);
	pid_t pid = ph_fence_pid(fence);
	int fds = help_count_fds();
	for (int i = 0; i < 3; i++) {
		ph_fence_close(fence, false);
		ck_assert(open_fence(100, FAR_MS));
		ck_assert_int_eq(ph_fence_pid(fence), pid);
	}
	ck_assert_int_eq(help_count_fds(), fds);
	ck_assert_uint_eq(put(&rows[0]), place); /* the same one: it was never out of the table */
	ph_fence_settled(fence);
	fire();
	check_ended(&a, SIGTERM);
	ck_assert(lives(&gone)); /* nobody put it again */
	finish(&gone);
	ck_assert_int_eq(waitpid(pid, NULL, WNOHANG), -1); /* reaped */
}
END_TEST

START_TEST(the_next_daemon_waits_for_what_it_stops)
{
	struct worker deaf = start(TOKEN, IGNORANT);
	(void)open_fence(FAR_MS, 500);
	struct ph_fence_worker one = row(&deaf);
	(void)put(&one);
	end_lease();
	pid_t pid = ph_fence_pid(fence);
	ph_fence_close(fence, false);
	ck_assert(!open_fence(FAR_MS, 0)); /* it is over */
	ck_assert(!lives(&deaf));
	check_ended(&deaf, SIGKILL);
	ck_assert_int_ne(ph_fence_pid(fence), pid);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}
END_TEST

static pid_t found_pid;
static uint64_t found_lease_ms;

static bool make_old(void *arg, const struct ph_fence_found *found)
{
	(void)arg;
	found->map->version++;
	return false;
}

static bool look(void *arg, const struct ph_fence_found *found)
{
	if (found->pid != *(const pid_t *)arg)
		return false;
	found_pid = found->pid;
	found_lease_ms = atomic_load(&found->map->lease_until_ms);
	return false;
}

/* Of another version: its lease is renewed until the new one guards. */
START_TEST(an_old_fence_is_replaced)
{
	int lock_error, realtime_error;
	open_ready(0);
	pid_t old = ph_fence_pid(fence);
	ph_fence_find(dir, make_old, NULL);
	ph_fence_close(fence, false);
	ck_assert(open_fence(FAR_MS, 0));
	ck_assert_int_ne(ph_fence_pid(fence), old);
	ck_assert(ph_fence_lease(fence, ph_clock_now_ms() + 2 * FAR_MS));
	ph_fence_find(dir, look, &old);
	ck_assert_int_eq(found_pid, old);
	ck_assert_uint_gt(found_lease_ms, ph_clock_now_ms() + FAR_MS);
	UNTIL(ph_fence_news(fence, &lock_error, &realtime_error));
	int status;
	ck_assert_int_eq(waitpid(old, &status, 0), old);
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	ck_assert(ph_fence_pid(fence) && !ph_fence_has_fired(fence));
}
END_TEST

START_TEST(another_run_dir_is_another_fence)
{
	open_ready(0);
	pid_t pid = ph_fence_pid(fence);
	ph_fence_close(fence, false);
	ph_fence_end_all("/tmp");
	ck_assert_int_eq(waitpid(pid, NULL, WNOHANG), 0);
	ph_fence_end_all(dir);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	fence = NULL;
}
END_TEST

START_TEST(a_table_that_is_full)
{
	struct ph_fence_worker nobody = {.pid = 0x7ffffff};
	uint32_t place = 0, last = 0;
	(void)open_fence(FAR_MS, 0);
	for (unsigned i = 0; i < PH_FENCE_ENTRIES; i++)
		last = put(&nobody);
	ck_assert_int_eq(ph_fence_put(fence, &nobody, &place), -ENOSPC);
	ph_fence_drop(fence, last);
	ck_assert_uint_eq(put(&nobody), last);
	fire(); /* all of them are looked for, and none is there */
}
END_TEST

START_TEST(a_program_that_is_not_there)
{
	struct ph_fence_settings settings = {
		.program = "/nonesuch/prochub-fence", .run_dir = dir, .lease_ms = FAR_MS};
	struct ph_err err = {""};
	bool guarded;
	int fds = help_count_fds();
	ck_assert_int_eq(ph_fence_open(base, &settings, &fence, &guarded, &err), -ENOENT);
	ck_assert_ptr_nonnull(strstr(err.text, "/nonesuch/prochub-fence"));
	ck_assert_int_eq(help_count_fds(), fds);
}
END_TEST

static TCase *add_case(Suite *suite, const char *name)
{
	TCase *tc = tcase_create(name);
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, set_up, tear_down);
	suite_add_tcase(suite, tc);
	return tc;
}

int main(void)
{
	Suite *suite = suite_create("fence");
	TCase *memory = add_case(suite, "memory");
	tcase_add_test(memory, an_entry_is_never_torn);
	tcase_add_test(memory, an_entry_is_never_torn_by_a_writer);
	tcase_add_test(memory, a_lease_that_has_fired_is_not_renewed);
	TCase *stops = add_case(suite, "stops");
	tcase_add_test(stops, stops_what_is_in_the_table);
	tcase_add_test(stops, kills_what_stays);
	tcase_add_test(stops, ends_when_all_is_gone);
	tcase_add_test(stops, never_a_recycled_pid);
	tcase_add_test(stops, a_session_without_its_leader);
	tcase_add_test(stops, a_session_of_its_own);
	tcase_add_loop_test(stops, a_session_that_executes, 0, 3);
	tcase_add_test(stops, a_main_process_that_is_another_one);
	TCase *life = add_case(suite, "life");
	tcase_add_test(life, a_lease_that_is_renewed);
	tcase_add_test(life, another_one_after_it_has_fired);
	tcase_add_test(life, a_killed_fence_is_started_again);
	tcase_add_test(life, the_next_daemon_finds_it);
	tcase_add_test(life, the_next_daemon_waits_for_what_it_stops);
	tcase_add_test(life, an_old_fence_is_replaced);
	tcase_add_test(life, another_run_dir_is_another_fence);
	tcase_add_test(life, a_table_that_is_full);
	tcase_add_test(life, a_program_that_is_not_there);
	return run_tests(suite);
}
