/*
 * prochub/control.h against a real prochubd, and against one that this file plays where a real one
 * does not do such things.
 */
#include <check.h>
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <prochub/control.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "io_help.h"
#include "run_tests.h"

/* What a test that fails leaves ends by itself. */
#define JOB "{command: [sleep, '50']}"
#define NEVER "{command: [sleep, '50'], ready: notify, start_timeout: 60s}"

static char *dir, path[128], program[PATH_MAX + 16], file[128];
static pid_t daemon_pid;
static struct prochub_control *c;

static uint64_t now_ms(void)
{
	struct timespec t;
	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- a real one */

static void start_daemon(void)
{
	daemon_pid = fork();
	ck_assert_int_ge(daemon_pid, 0);
	if (daemon_pid == 0) {
		int null = open("/dev/null", O_RDWR);
		(void)setpgid(0, 0);			/* the runner kills its own group */
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves none */
		(void)dup2(null, 1);
		(void)dup2(null, 2);
		(void)execl(program, program, "-c", file, NULL);
		_exit(127);
	}
	for (int i = 0; prochub_control_call(c, "ping", NULL, 2000) < 0; i++) {
		ck_assert_int_lt(i, 500);
		ck_assert_int_eq(waitpid(daemon_pid, NULL, WNOHANG), 0);
		(void)poll(NULL, 0, 20);
	}
}

static void end_daemon(int signal)
{
	ck_assert_int_eq(kill(daemon_pid, signal), 0);
	ck_assert_int_eq(waitpid(daemon_pid, NULL, 0), daemon_pid);
}

static void make_dir(void)
{
	dir = help_dir();
	(void)snprintf(path, sizeof path, "%s/run/control.sock", dir);
	(void)snprintf(file, sizeof file, "%s/prochub.yaml", dir);
	c = prochub_control_open(path);
	ck_assert_ptr_nonnull(c);
}

static void set_up(void)
{
	char self[PATH_MAX] = "";
	make_dir();
	ck_assert_int_gt(readlink("/proc/self/exe", self, sizeof self - 1), 0);
	(void)snprintf(program, sizeof program, "%s/prochubd", dirname(dirname(self)));
	FILE *f = fopen(file, "w");
	ck_assert_ptr_nonnull(f);
	(void)fprintf(f,
		"node: {name: a, run_dir: %s/run, state_dir: %s/state}\n"
		"defaults: {stop_timeout: 1s}\nchildren: {web: " JOB "}\n",
		dir, dir);
	(void)fclose(f);
	start_daemon();
}

static void tear_down(void)
{
	end_daemon(SIGTERM);
	prochub_control_close(c);
	help_remove(dir);
}

static void ok(int r)
{
	ck_assert_msg(r == 0, "%s: %s", prochub_control_code(c), prochub_control_text(c));
	ck_assert_str_eq(prochub_control_code(c), "");
	ck_assert_str_eq(prochub_control_text(c), "");
}

static void refused(int r, int error, const char *code, const char *text)
{
	ck_assert_int_eq(r, -1);
	ck_assert_int_eq(errno, error);
	ck_assert_str_eq(prochub_control_code(c), code);
	ck_assert_msg(strstr(prochub_control_text(c), text), "'%s' has no '%s'",
		prochub_control_text(c), text);
}

/* Is that child there, running and ready? */
static bool runs(const char *child)
{
	char fields[80], *answer;
	(void)snprintf(fields, sizeof fields, "{\"child\":\"%s\"}", child);
	if (prochub_control_call(c, "status", fields, 5000) < 0) {
		ck_assert_str_eq(prochub_control_code(c), "not_found");
		return false;
	}
	answer = strdup(prochub_control_answer(c));
	bool ready = strstr(answer, "\"ready\":true") && strstr(answer, "\"state\":\"running\"");
	free(answer);
	return ready;
}

START_TEST(test_added_is_ready_and_removed_is_gone)
{
	ok(prochub_control_add(c, "job: {command: [sleep, '50'], instances: 3}", 0, 10000));
	ck_assert_ptr_nonnull(strstr(prochub_control_answer(c), "\"child\":\"job\""));
	ck_assert(runs("job"));
	ok(prochub_control_add(c, "{\"children\":{\"k\":" JOB "}}", 0, 0));
	ck_assert(runs("k"));
	ok(prochub_control_remove(c, "job", 0, 10000));
	ck_assert(!runs("job") && runs("k"));
	refused(prochub_control_remove(c, "job", 0, 0), ENOENT, "not_found", "job");
	refused(prochub_control_remove(c, "web", 0, 0), EBUSY, "refused", file);
	refused(prochub_control_remove(c, "k/0", 0, 0), EINVAL, "bad_request", "as a whole");
	ck_assert(runs("web") && runs("k"));
}
END_TEST

START_TEST(test_what_exists)
{
	ok(prochub_control_add(c, "job: " JOB, 0, 10000));
	ok(prochub_control_add(c, "job: " JOB, 0, 10000));
	ck_assert_ptr_nonnull(strstr(prochub_control_answer(c), "unchanged"));
	refused(prochub_control_add(c, "new: " JOB "\njob: {command: [sleep, '7']}\n", 0, 10000),
		EEXIST, "exists", "job: it exists already, with other options");
	ck_assert(!runs("new"));
	refused(prochub_control_add(c, "new: " JOB "\njob: {command: [sleep, '7']}\n",
			PROCHUB_CONTROL_KEEP_GOING, 10000),
		EINPROGRESS, "partly", "");
	ck_assert_ptr_nonnull(strstr(prochub_control_answer(c), "\"result\":\"exists\""));
	ck_assert(runs("new"));
	ok(prochub_control_remove(c, "job", PROCHUB_CONTROL_NO_WAIT, 0));
}
END_TEST

START_TEST(test_all_or_nothing_in_time)
{
	uint64_t began = now_ms();
	refused(prochub_control_add(c, "good: " JOB "\nbad: " NEVER "\n", 0, 700), ETIMEDOUT,
		"timeout", "bad: it was not ready in time; nothing was added");
	ck_assert(now_ms() - began >= 700 && now_ms() - began < 20000);
	ck_assert(!runs("good") && !runs("bad"));
	refused(prochub_control_add(
			c, "good: " JOB "\nbad: " NEVER "\n", PROCHUB_CONTROL_KEEP_GOING, 3000),
		EINPROGRESS, "partly", "");
	ck_assert(runs("good") && !runs("bad"));
	refused(prochub_control_add(c, "x: {command: [a], comand: [a]}", 0, 0), EINVAL,
		"bad_request", "did you mean 'command'?");
	refused(prochub_control_add(c, "x: \xff", 0, 0), EINVAL, "bad_request", "UTF-8");
}
END_TEST

START_TEST(test_awaited_later)
{
	char config[512], go[128];
	(void)snprintf(go, sizeof go, "%s/go", dir);
	(void)snprintf(config, sizeof config,
		"slow: {command: [sh, -c, 'until test -e %s; do sleep 0.05; done; "
		"systemd-notify --ready; exec sleep 50'], ready: notify, start_timeout: 60s}\n"
		"once: {command: [sleep, '0.5'], restart: {policy: temporary}}",
		go);
	ok(prochub_control_add(c, config, PROCHUB_CONTROL_NO_WAIT, 0));
	ck_assert(!runs("slow"));
	refused(prochub_control_wait(c, "slow", "stopped", 100), ETIMEDOUT, "timeout", "");
	help_write_file(go, "", 0600);
	ok(prochub_control_wait(c, "slow/0", "ready", 10000));
	ck_assert(runs("slow"));
	ok(prochub_control_wait(c, "once", "stopped", 10000));
	refused(prochub_control_wait(c, "nope", "ready", 100), ENOENT, "not_found", "nope");
	refused(prochub_control_wait(c, "slow/x", "ready", 100), EINVAL, "bad_request", "NAME");
	refused(prochub_control_wait(c, "slow", "rady", 100), EINVAL, "bad_request", "ready");
}
END_TEST

START_TEST(test_any_verb)
{
	ok(prochub_control_call(c, "events", NULL, 5000));
	ck_assert_ptr_nonnull(strstr(prochub_control_answer(c), "\"lines\":[{\"event\""));
	ok(prochub_control_call(c, "lookup", "{\"child\":\"web\",\"instance\":0}", 5000));
	refused(prochub_control_call(c, "statu", NULL, 5000), EINVAL, "unknown_op", "status");
	refused(prochub_control_call(c, "status", "[]", 5000), EINVAL, "bad_request", "object");
	refused(prochub_control_call(c, "status", "{\"child\":7}", 5000), EINVAL, "bad_request",
		"child");
}
END_TEST

/* Does the journal name that child? */
static bool is_written(const char *child)
{
	static char text[1 << 16];
	char name[96], quoted[40];
	(void)snprintf(name, sizeof name, "%s/state/journal", dir);
	(void)snprintf(quoted, sizeof quoted, "\"%s\"", child);
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	help_read_all(fd, text, sizeof text);
	(void)close(fd);
	return memmem(text, sizeof text, quoted, strlen(quoted));
}

/* One context goes on over daemons that die between its calls, and within them. */
START_TEST(test_the_daemon_dies)
{
	ok(prochub_control_add(c, "job: " JOB, 0, 10000));
	end_daemon(SIGKILL);
	refused(prochub_control_add(c, "k: " JOB, 0, 10000), ECONNREFUSED, "unreachable", path);
	start_daemon();
	end_daemon(SIGTERM);
	refused(prochub_control_add(c, "k: " JOB, 0, 10000), ENOENT, "unreachable", path);
	start_daemon();
	ok(prochub_control_wait(c, "job", "ready", 10000));
	pid_t killer = fork(), daemon = daemon_pid;
	ck_assert_int_ge(killer, 0);
	if (killer == 0) {
		for (int i = 0; i < 500 && !is_written("bad"); i++)
			(void)poll(NULL, 0, 20);
		_exit(kill(daemon, SIGKILL));
	}
	refused(prochub_control_add(c, "bad: " NEVER, 0, 30000), ECONNRESET, "closed", "before");
	ck_assert_int_eq(waitpid(killer, NULL, 0), killer);
	ck_assert_int_eq(waitpid(daemon_pid, NULL, 0), daemon_pid);
	start_daemon();
	/* it had been taken, so it is there; and may be said again */
	ok(prochub_control_call(c, "status", "{\"child\":\"bad\"}", 5000));
	ok(prochub_control_add(c, "bad: " NEVER, PROCHUB_CONTROL_NO_WAIT, 0));
}
END_TEST

START_TEST(test_the_daemon_stands_still)
{
	uint64_t began = now_ms();
	ck_assert_int_eq(kill(daemon_pid, SIGSTOP), 0);
	refused(prochub_control_remove(c, "web", 0, 300), ETIMEDOUT, "no_answer", "in time");
	ck_assert(now_ms() - began >= 300 && now_ms() - began < 20000);
	ck_assert_int_eq(kill(daemon_pid, SIGCONT), 0);
	/* the late answer is not taken for this one's */
	ok(prochub_control_call(c, "status", "{\"child\":\"web\"}", 5000));
	ck_assert_ptr_nonnull(strstr(prochub_control_answer(c), "\"nodes\""));
}
END_TEST

/* What was given up by its asker is still all or nothing. */
START_TEST(test_who_asked_is_gone)
{
	struct prochub_control *other = prochub_control_open(path);
	ck_assert_ptr_nonnull(other);
	ck_assert_int_eq(
		prochub_control_call(other, "add",
			"{\"config\":\"good: " JOB "\\nbad: " NEVER "\",\"timeout_ms\":4000}",
			1000),
		-1);
	ck_assert_str_eq(prochub_control_code(other), "no_answer");
	prochub_control_close(other);
	ok(prochub_control_wait(c, "good", "ready", 5000));
	for (int i = 0; runs("good"); i++) {
		ck_assert_int_lt(i, 200);
		(void)poll(NULL, 0, 50);
	}
}
END_TEST

START_TEST(test_too_large)
{
	size_t n = 1100000;
	char *text = malloc(n + 1);
	ck_assert_ptr_nonnull(text);
	memset(text, '#', n);
	text[n] = '\0';
	refused(prochub_control_add(c, text, 0, 1000), EMSGSIZE, "too_large", "1 MiB");
	memcpy(text, "job: " JOB "\n", strlen("job: " JOB "\n"));
	text[1000000] = '\0';
	ok(prochub_control_add(c, text, 0, 10000));
	free(text);
}
END_TEST

/* ---- one that is played: it answers any request with `said`, then closes or stays */

static pid_t play(const char *said, size_t n, bool stays)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char run[64], byte;
	(void)snprintf(run, sizeof run, "%s/run", dir);
	ck_assert_int_eq(mkdir(run, 0700), 0);
	memcpy(address.sun_path, path, strlen(path) + 1);
	int server = socket(AF_UNIX, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(server, (struct sockaddr *)&address, sizeof address), 0);
	ck_assert_int_eq(listen(server, 8), 0);
	pid_t pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid > 0) {
		(void)close(server);
		return pid;
	}
	(void)alarm(20);
	int fd = accept(server, NULL, NULL);
	while (read(fd, &byte, 1) == 1 && byte != '\n')
		;
	if (write(fd, said, n) != (ssize_t)n)
		_exit(1);
	if (stays)
		(void)pause();
	_exit(0);
}

static const struct {
	const char *said;
	bool stays;
	int error;
	const char *code;
} odd[] = {
	{"", false, ECONNRESET, "closed"},
	{"{\"re\":1,\"ok\":tr", false, ECONNRESET, "closed"},
	{"", true, ETIMEDOUT, "no_answer"},
	{"{\"re\":7,\"ok\":true}\n", true, ETIMEDOUT, "no_answer"},
	{"{\"re\":1,\"ok\":true,\"more\":true}\n", true, ETIMEDOUT, "no_answer"},
	{"nonsense\n", true, EIO, "failed"},
	{"{\"re\":1}\n", true, EIO, "failed"},
	{"{\"re\":0,\"ok\":false,\"code\":\"bad_request\"}\n", false, EINVAL, "bad_request"},
	{"{\"re\":1,\"ok\":false}\n", true, EIO, "failed"},
	{"{\"re\":1,\"ok\":false,\"code\":\"of a later version, and far too long\"}\n", true, EIO,
		"of a later version, and far too"},
};

START_TEST(test_odd_answers)
{
	make_dir();
	pid_t pid = play(odd[_i].said, strlen(odd[_i].said), odd[_i].stays);
	uint64_t patience_ms = odd[_i].error == ETIMEDOUT ? 400 : 15000;
	refused(prochub_control_call(c, "ping", NULL, patience_ms), odd[_i].error, odd[_i].code,
		"");
	ck_assert_str_ne(prochub_control_text(c), "");
	prochub_control_close(c);
	(void)kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	help_remove(dir);
}
END_TEST

START_TEST(test_where_it_is)
{
	char own[200];
	int fds = help_count_fds();
	(void)memset(own, 'x', sizeof own - 1);
	own[sizeof own - 1] = '\0';
	ck_assert_ptr_null(prochub_control_open(own));
	ck_assert_int_eq(errno, EINVAL);
	make_dir();
	prochub_control_close(c);
	/* by the environment */
	ck_assert_int_eq(setenv("PROCHUB_CONTROL", path, 1), 0);
	pid_t pid = play("{\"re\":1,\"ok\":true,\"x\":7}\n", 25, true);
	c = prochub_control_open(NULL);
	ok(prochub_control_call(c, "ping", NULL, 5000));
	ck_assert_str_eq(prochub_control_answer(c), "{\"x\":7}");
	prochub_control_close(c);
	prochub_control_close(NULL);
	(void)kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	ck_assert_int_eq(help_count_fds(), fds);
	help_remove(dir);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("control");
	TCase *real = tcase_create("real"), *played = tcase_create("played");
	tcase_add_checked_fixture(real, set_up, tear_down);
	tcase_add_test(real, test_added_is_ready_and_removed_is_gone);
	tcase_add_test(real, test_what_exists);
	tcase_add_test(real, test_all_or_nothing_in_time);
	tcase_add_test(real, test_awaited_later);
	tcase_add_test(real, test_any_verb);
	tcase_add_test(real, test_the_daemon_dies);
	tcase_add_test(real, test_the_daemon_stands_still);
	tcase_add_test(real, test_who_asked_is_gone);
	tcase_add_test(real, test_too_large);
	tcase_add_loop_test(played, test_odd_answers, 0, sizeof odd / sizeof odd[0]);
	tcase_add_test(played, test_where_it_is);
	suite_add_tcase(suite, real);
	suite_add_tcase(suite, played);
	return run_tests(suite);
}
