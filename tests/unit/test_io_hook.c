/* One run of a hook, with real processes: what it finds, what it says, what is left of it. */
#include "io/hook.h"

#include "run_tests.h"
#include "tests/unit/io_help.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char nap[40] = "W="; /* of this process alone: how long its hooks sleep */
static const char *const env_plain[] = {"PATH=/usr/bin:/bin", "PROCHUB_EVENT=x", nap, NULL};

struct heard {
	int ended, failed;
	struct ph_child_exit status;
	bool left;
	unsigned long untold;
	unsigned lines;
	size_t longest;
	char text[64 * 1024]; /* all lines */
	size_t n;
};

static struct event_base *base;
static struct heard heard;
static struct ph_hook *hook;

static void on_line(void *arg, const char *text)
{
	struct heard *h = arg;
	size_t n = strlen(text);
	h->lines++;
	if (n > h->longest)
		h->longest = n;
	if (h->n + n + 2 < sizeof h->text)
		h->n += (size_t)snprintf(h->text + h->n, sizeof h->text - h->n, "%s\n", text);
}

static void on_ended(void *arg, const struct ph_child_exit *status, bool left, unsigned long untold)
{
	struct heard *h = arg;
	h->ended++;
	h->status = *status;
	h->left = left;
	h->untold = untold;
	ph_hook_free(hook);
	hook = NULL;
}

static void on_failed(void *arg, int error, const char *text)
{
	struct heard *h = arg;
	h->failed = error;
	(void)snprintf(h->text, sizeof h->text, "%s", text);
	ph_hook_free(hook);
	hook = NULL;
	h->ended++;
}

static const struct ph_hook_ops ops = {.line = on_line, .failed = on_failed, .ended = on_ended};

static void setup(void)
{
	base = event_base_new();
	heard = (struct heard){0};
	hook = NULL;
	(void)snprintf(nap, sizeof nap, "W=7000.%d", (int)getpid());
}

static void teardown(void)
{
	ph_hook_free(hook);
	event_base_free(base);
}

static void begin(const char *script, const char *input)
{
	const char *const argv[] = {"sh", "-c", script, NULL};
	const struct ph_spawn_spec spec = {.path = "/bin/sh", .argv = argv, .env = env_plain};
	struct ph_err err = {""};
	int r = ph_hook_start(base, &spec, input, strlen(input), &ops, &heard, &hook, &err);
	ck_assert_msg(r == 0, "%s", err.text);
}

static void run(const char *script, const char *input)
{
	begin(script, input);
	help_run_until(base, &heard.ended, 1);
	ck_assert(!heard.left);
}

/* Does a process sleep for so long? */
static bool lives(void)
{
	char command[200];
	(void)snprintf(command, sizeof command, "pgrep -fx 'sleep %s' >/dev/null", nap + 2);
	return system(command) == 0;
}

START_TEST(it_gets_the_text)
{
	int fds = help_count_fds();
	run("cat; echo; env | grep -v ^W= | sort; ls /proc/self/fd | tr '\\n' ' '; exit 3",
		"{\"a\":1}\n");
	ck_assert_int_eq(heard.status.code, 3);
	ck_assert_int_eq(heard.status.signal, 0);
	ck_assert_msg(strncmp(heard.text, "{\"a\":1}\n\nPATH=/usr/bin:/bin\nPROCHUB_EVENT=x\n",
			      sizeof "{\"a\":1}\n\nPATH=/usr/bin:/bin\nPROCHUB_EVENT=x\n" - 1) == 0,
		"%s", heard.text);
	ck_assert_ptr_nonnull(strstr(heard.text, "\n0 1 2 3 ")); /* 3: the directory */
	ck_assert_ptr_null(strstr(heard.text, " 4"));
	ck_assert_int_eq(help_count_fds(), fds);
}
END_TEST

/* A text that would not fit in any pipe, and a program that does not read it. */
START_TEST(nobody_waits_for_the_text)
{
	size_t n = 4u << 20;
	char *text = malloc(n + 1);
	memset(text, 'x', n);
	text[n] = '\0';
	run(_i ? "wc -c" : "exit 0", text);
	ck_assert_int_eq(heard.status.code, 0);
	ck_assert_str_eq(heard.text, _i ? "4194304\n" : "");
	free(text);
}
END_TEST

START_TEST(lines)
{
	run("printf 'a\\nb'; printf 'c\\n\\n\\000d' >&2", "");
	ck_assert_str_eq(heard.text, "a\nbc\n\n?d\n");
	ck_assert_uint_eq(heard.untold, 0);
}
END_TEST

static void say_much(const char *script, unsigned long untold)
{
	run(script, "");
	ck_assert_int_eq(heard.status.code, 0);
	ck_assert_uint_le(heard.longest, PH_HOOK_LINE_BYTES);
	ck_assert_uint_eq(heard.lines + heard.untold, untold);
	ck_assert_uint_le(heard.lines, PH_HOOK_LINES);
}

START_TEST(much_is_counted)
{
	if (_i == 0)
		say_much("seq 1 50000", 50000);
	else if (_i == 1)
		say_much("head -c 1000000 /dev/zero | tr '\\0' y", 1);
	else
		say_much("for i in 1 2 3; do head -c 5000 /dev/zero; echo; done", 3);
}
END_TEST

/* It is not stopped by being told much and never ends by itself; the loop goes on meanwhile. */
START_TEST(a_flood)
{
	begin("exec yes", "");
	for (int i = 0; i < 2000 && heard.lines < PH_HOOK_LINES; i++)
		help_run_for(base, 10);
	help_run_for(base, 300);
	ck_assert_int_eq(heard.ended, 0);
	ck_assert_uint_eq(heard.lines, PH_HOOK_LINES);
	ph_hook_signal(hook, SIGTERM);
	help_run_until(base, &heard.ended, 1);
	ck_assert_int_eq(heard.status.signal, SIGTERM);
	ck_assert_uint_gt(heard.untold, 1000);
	ck_assert_uint_lt(heard.untold, 40u << 20); /* read slowly */
}
END_TEST

START_TEST(closed_output_is_no_end)
{
	begin("exec >&- 2>&-; sleep 0.3; exit 4", "");
	help_run_until(base, &heard.ended, 1);
	ck_assert_int_eq(heard.status.code, 4);
}
END_TEST

/* What it leaves in its group goes; what it has given its output to keeps nobody waiting. */
START_TEST(what_it_leaves)
{
	static const char *const scripts[] = {
		"sleep $W & echo x",
		"(sleep $W &) & wait; echo x",
		"trap '' TERM HUP; sleep $W & echo x",
	};
	run(scripts[_i], "");
	ck_assert_str_eq(heard.text, "x\n");
	ck_assert(!lives());
}
END_TEST

/* A daemon of its own session is left alone, and holds up nothing with the output it holds. */
START_TEST(who_leaves_the_session)
{
	run("setsid sleep $W & echo $!; until pgrep -fx \"sleep $W\" >/dev/null; do :; done", "");
	ck_assert(lives());
	pid_t pid = (pid_t)atoi(heard.text);
	ck_assert_int_gt(pid, 1);
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	for (int i = 0; lives() && i < 100; i++)
		help_run_for(base, 20);
}
END_TEST

START_TEST(signals_reach_the_group)
{
	begin("trap 'echo term' TERM; sleep $W & wait; wait; exit 5", "");
	help_run_for(base, 100);
	while (!lives())
		help_run_for(base, 20);
	ph_hook_signal(hook, SIGTERM);
	help_run_until(base, &heard.ended, 1);
	ck_assert_str_eq(heard.text, "term\n");
	ck_assert_int_eq(heard.status.code, 5);
	ck_assert(!lives());
}
END_TEST

START_TEST(kill_ends_whoever_ignores)
{
	begin("trap '' TERM; echo x; while :; do sleep $W; done", "");
	while (!heard.lines || !lives())
		help_run_for(base, 20);
	ph_hook_signal(hook, SIGKILL);
	help_run_until(base, &heard.ended, 1);
	ck_assert_int_eq(heard.status.signal, SIGKILL);
	ck_assert(!lives());
}
END_TEST

/* A zombie is one too. */
static bool has_children(void)
{
	siginfo_t info;
	return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

START_TEST(freed_while_it_runs)
{
	int fds = help_count_fds();
	begin("echo x; sleep $W", "");
	while (!lives())
		help_run_for(base, 20);
	ph_hook_free(hook);
	hook = NULL;
	for (int i = 0; lives() && i < 1000; i++)
		help_run_for(base, 20);
	ck_assert(!lives());
	for (int i = 0; has_children() && i < 1000; i++)
		help_run_for(base, 20);
	ck_assert(!has_children()); /* it is reaped */
	ck_assert_int_eq(heard.ended, 0);
	ck_assert_int_eq(help_count_fds(), fds);
}
END_TEST

START_TEST(cannot_be_started)
{
	static const char *const argv[] = {"x", NULL};
	const struct ph_spawn_spec spec = {.path = "/no/such", .argv = argv, .env = env_plain};
	struct ph_err err = {""};
	int fds = help_count_fds();
	ck_assert_int_eq(ph_hook_start(base, &spec, "", 0, &ops, &heard, &hook, &err), -ENOENT);
	ck_assert_ptr_nonnull(strstr(err.text, "/no/such"));
	ck_assert_int_eq(help_count_fds(), fds);
	ck_assert_ptr_null(hook);
}
END_TEST

/* A FIFO that is full stops a child before it executes, as a file system that does not answer. */
static int begin_slowly(char *dir)
{
	static const char *const argv[] = {"sh", "-c", "echo x; exit 6", NULL};
	char path[128], bytes[4096] = {0};
	struct ph_err err = {""};
	(void)snprintf(path, sizeof path, "%s/cgroup.procs", dir);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	int fifo = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	while (write(fifo, bytes, sizeof bytes) > 0)
		;
	const struct ph_spawn_spec spec = {
		.path = "/bin/sh", .argv = argv, .env = env_plain, .cgroup = dir};
	ck_assert_int_eq(ph_hook_start(base, &spec, "", 0, &ops, &heard, &hook, &err), 0);
	ck_assert(!ph_hook_runs(hook));
	help_run_for(base, 100);
	ck_assert_int_eq(heard.ended, 0);
	ck_assert(!ph_hook_runs(hook));
	return fifo;
}

START_TEST(its_start_takes_long)
{
	char *dir = help_dir(), bytes[4096];
	int fds = help_count_fds(), fifo = begin_slowly(dir);
	ck_assert_int_eq(read(fifo, bytes, sizeof bytes), sizeof bytes);
	help_run_until(base, &heard.ended, 1);
	ck_assert_int_eq(heard.failed, 0);
	ck_assert_int_eq(heard.status.code, 6);
	ck_assert_str_eq(heard.text, "x\n");
	close(fifo);
	ck_assert_int_eq(help_count_fds(), fds);
	help_remove(dir);
}
END_TEST

/* Asked to end, freed, or after a while. */
START_TEST(its_start_is_given_up)
{
	char *dir = help_dir();
	int fds = help_count_fds(), fifo = begin_slowly(dir);
	if (_i == 0)
		ph_hook_signal(hook, SIGTERM);
	if (_i == 1) {
		ph_hook_free(hook);
		hook = NULL;
	} else {
		help_run_until(base, &heard.ended, 1);
		ck_assert_int_eq(heard.failed, -ETIMEDOUT);
		ck_assert_ptr_nonnull(strstr(heard.text, "not done in time"));
	}
	help_run_for(base, 50);
	ck_assert_int_eq(heard.ended, _i != 1);
	ck_assert(!has_children());
	close(fifo);
	ck_assert_int_eq(help_count_fds(), fds);
	help_remove(dir);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("io_hook");
	TCase *t = tcase_create("hook");
	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, it_gets_the_text);
	tcase_add_loop_test(t, nobody_waits_for_the_text, 0, 2);
	tcase_add_test(t, lines);
	tcase_add_loop_test(t, much_is_counted, 0, 3);
	tcase_add_test(t, a_flood);
	tcase_add_test(t, closed_output_is_no_end);
	tcase_add_loop_test(t, what_it_leaves, 0, 3);
	tcase_add_test(t, who_leaves_the_session);
	tcase_add_test(t, signals_reach_the_group);
	tcase_add_test(t, kill_ends_whoever_ignores);
	tcase_add_test(t, freed_while_it_runs);
	tcase_add_test(t, cannot_be_started);
	tcase_add_test(t, its_start_takes_long);
	tcase_add_loop_test(t, its_start_is_given_up, 0, 3);
	suite_add_tcase(suite, t);
	return run_tests(suite);
}
