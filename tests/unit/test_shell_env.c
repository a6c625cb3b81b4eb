/* The environment of a child, and specs from texts and from configurations. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/user.h"
#include "run_tests.h"
#include "shell_parts.h"

static struct ph_shell_env env;

static void setup(void)
{
	ph_shell_env_init(&env);
}

static void teardown(void)
{
	ph_shell_env_fini(&env);
}

static void expect(const char *name, const char *value)
{
	const char *found = ph_shell_env_get(&env, name);
	if (value)
		ck_assert_pstr_eq(found, value);
	else
		ck_assert_msg(!found, "%s is %s", name, found);
}

/* ---- the list */

START_TEST(set_replaces_in_place)
{
	ph_shell_env_set(&env, "A", "1");
	ph_shell_env_set(&env, "AB", "2");
	ph_shell_env_set(&env, "A", "3");
	ck_assert_uint_eq(env.n, 2);
	ck_assert_str_eq(env.v[0], "A=3");
	ck_assert_str_eq(env.v[1], "AB=2");
	ck_assert_ptr_null(env.v[2]);
	expect("B", NULL);
}
END_TEST

START_TEST(many_entries_stay_terminated)
{
	char name[16];
	for (int i = 0; i < 500; i++) {
		snprintf(name, sizeof name, "N%d", i);
		ph_shell_env_set(&env, name, "x");
		ck_assert_ptr_null(env.v[env.n]);
	}
	ck_assert_uint_eq(env.n, 500);
}
END_TEST

START_TEST(only_the_list_is_inherited)
{
	static const char *const from[] = {"PATH=/bin:/usr/bin", "LANG=C", "LC_ALL=C.UTF-8",
		"TZ=UTC", "HOME=/elsewhere", "PATHS=1", "LD_PRELOAD=/x.so", "NOTIFY_SOCKET=/y",
		NULL};
	ph_shell_env_inherit(&env, from);
	ck_assert_uint_eq(env.n, 4);
	expect("PATH", "/bin:/usr/bin");
	expect("LANG", "C");
	expect("LC_ALL", "C.UTF-8");
	expect("TZ", "UTC");
}
END_TEST

/* ---- env_file */

static int read_text(const char *text, struct ph_err *err)
{
	char *copy = strdup(text);
	int error = ph_shell_env_file(&env, "/e", copy, strlen(text), err);
	free(copy);
	return error;
}

START_TEST(env_file_is_read)
{
	struct ph_err err;
	ck_assert_int_eq(read_text("# comment\n; too\n\n  A = 1 \nB=\"two words\"\nC='x'\n"
				   "D=\nE=a=b\r\nF=\"open\nG=last",
				 &err),
		0);
	expect("A", "1");
	expect("B", "two words");
	expect("C", "x");
	expect("D", "");
	expect("E", "a=b");
	expect("F", "\"open");
	expect("G", "last");
	ck_assert_uint_eq(env.n, 7);
}
END_TEST

START_TEST(env_file_errors_name_the_line)
{
	struct ph_err err;
	ck_assert_int_eq(read_text("A=1\nnonsense\n", &err), -EINVAL);
	ck_assert_str_eq(err.text, "/e:2: expected NAME=value");
	ck_assert_int_eq(read_text("A=1\n\n9=x\n", &err), -EINVAL);
	ck_assert_str_eq(err.text, "/e:3: '9' is no name of a variable");
	char nul[] = "A=\0";
	ck_assert_int_eq(ph_shell_env_file(&env, "/e", nul, 3, &err), -EINVAL);
}
END_TEST

/* ---- all of it */

static struct ph_conf *conf;

static const struct ph_conf_child *child_of(const char *yaml)
{
	struct ph_conf_errors errors;
	int error = ph_conf_load_children("t", yaml, strlen(yaml), NULL, NULL, &conf, &errors);
	ck_assert_msg(!error, "%s", errors.v[0].text.text);
	return conf->children[0];
}

static char home[] = "/home/u", name_u[] = "u", shell_u[] = "/bin/zsh";
static const struct ph_user user = {
	.uid = 1, .gid = 1, .name = name_u, .home = home, .shell = shell_u};
static const char *const outer[] = {"PATH=/bin", "HOME=/root", "SECRET=1", NULL};
static const struct ph_conf_vars vars = {.child = "room", .node = "n1", .instance = 17};

static struct ph_shell_env_want want_of(const struct ph_conf_child *child)
{
	return (struct ph_shell_env_want){
		.child = child,
		.vars = &vars,
		.inherited = outer,
		.user = &user,
		.token = "00112233445566778899aabbccddeeff",
		.worker_path = "/run/x/worker.sock",
		.notify_path = "/run/x/notify.sock",
		.epoch = 16777233,
		.role = PH_ROLE_STANDBY,
	};
}

START_TEST(build_has_everything_in_order)
{
	char path[] = "/tmp/prochub-env-XXXXXX", yaml[256];
	int fd = mkstemp(path);
	struct ph_err err = {{0}};
	ck_assert_int_eq(write(fd, "FROM=file\nBOTH=file\nHOME=/file\n", 31), 31);
	close(fd);
	snprintf(yaml, sizeof yaml,
		"children: {room: {command: [/bin/true], instances: 20, watchdog: 2s, env_file: "
		"%s, "
		"env: {BOTH: env, ROOM: 'room-%%i on %%n', PROCHUB_CHILD: fake}}}",
		path);
	struct ph_shell_env_want want = want_of(child_of(yaml));
	ck_assert_msg(!ph_shell_env_build(&env, &want, &err), "%s", err.text);
	unlink(path);
	expect("PATH", "/bin");
	expect("SECRET", NULL);
	expect("HOME", "/file");
	expect("USER", "u");
	expect("LOGNAME", "u");
	expect("SHELL", "/bin/zsh");
	expect("FROM", "file");
	expect("BOTH", "env");
	expect("ROOM", "room-17 on n1");
	expect("PROCHUB_SOCKET", "/run/x/worker.sock");
	expect("PROCHUB_TOKEN", "00112233445566778899aabbccddeeff");
	expect("PROCHUB_CHILD", "room");
	expect("PROCHUB_INSTANCE", "17");
	expect("PROCHUB_REPLICA", "0");
	expect("PROCHUB_NODE", "n1");
	expect("PROCHUB_EPOCH", "16777233");
	expect("PROCHUB_ROLE", "standby");
	expect("NOTIFY_SOCKET", "/run/x/notify.sock");
	expect("WATCHDOG_USEC", "2000000");
	expect("WATCHDOG_PID", "");
	ph_conf_free(conf);
}
END_TEST

START_TEST(build_with_listeners)
{
	struct ph_err err = {{0}};
	struct ph_shell_env_want want = want_of(child_of(
		"children: {room: {command: [/bin/true], env: {LISTEN_FDS: '9'}, instances: 20, "
		"listen: {b: 'tcp://[::1]:[8000+%i]', a: 'unix:/run/%i'}}}"));
	want.listens = true;
	ck_assert_int_eq(ph_shell_env_build(&env, &want, &err), 0);
	expect("LISTEN_FDS", "2");
	expect("LISTEN_FDNAMES", "a:b");
	expect("LISTEN_PID", "");
	want.token = NULL; /* a probe beside it gets no descriptors */
	ph_shell_env_fini(&env);
	ck_assert_int_eq(ph_shell_env_build(&env, &want, &err), 0);
	expect("LISTEN_PID", NULL);
	ph_conf_free(conf);
}
END_TEST

START_TEST(build_without_watchdog_and_with_a_missing_file)
{
	struct ph_err err = {{0}};
	struct ph_shell_env_want want =
		want_of(child_of("children: {room: {command: [/bin/true]}}"));
	ck_assert_int_eq(ph_shell_env_build(&env, &want, &err), 0);
	expect("WATCHDOG_USEC", NULL);
	expect("HOME", "/home/u");
	ph_conf_free(conf);
	want = want_of(child_of(
		"children: {room: {command: [/bin/true], env_file: /nonexistent/%i.env}}"));
	ck_assert_int_eq(ph_shell_env_build(&env, &want, &err), -ENOENT);
	ck_assert_msg(strstr(err.text, "/nonexistent/17.env") != NULL, "%s", err.text);
	ph_conf_free(conf);
}
END_TEST

/* ---- specs */

static const char full[] =
	"children: {c: {command: [/bin/sleep, '1'], instances: 3, ready: notify, start_timeout: 7s,"
	" stop_signal: INT, stop_timeout: 8s, watchdog: 9s,"
	" restart: {policy: transient, delay: 1s, backoff: 2s, backoff_max: 4s, jitter: 5%,"
	" intensity: 6, within: 7s, on_limit: fail, retry_after: 8s},"
	" placement: {strategy: local, nodes: [a, 'b*'], labels: [ssd, zone=x]},"
	" migration: {strategy: none, handover: true, retention: 1s, timeout: 2s, downtime: 3ms,"
	" rounds_max: 4, max_state: 5K, defer_max: 6s}}}";

static void check_full(const struct ph_spec *s)
{
	ck_assert_str_eq(s->child.s, "c");
	ck_assert_uint_eq(s->instances, 3);
	ck_assert_int_eq(s->ready, PH_READY_NOTIFY);
	ck_assert_uint_eq(s->start_timeout_ms, 7000);
	ck_assert_int_eq(s->stop_signal, 2);
	ck_assert_uint_eq(s->stop_timeout_ms, 8000);
	ck_assert_uint_eq(s->watchdog_ms, 9000);
	ck_assert_int_eq(s->restart.policy, PH_RESTART_TRANSIENT);
	ck_assert_uint_eq(s->restart.delay_ms, 1000);
	ck_assert_uint_eq(s->restart.backoff_ms, 2000);
	ck_assert_uint_eq(s->restart.backoff_max_ms, 4000);
	ck_assert_uint_eq(s->restart.jitter_percent, 5);
	ck_assert_uint_eq(s->restart.intensity, 6);
	ck_assert_uint_eq(s->restart.within_ms, 7000);
	ck_assert_int_eq(s->restart.on_limit, PH_LIMIT_FAIL);
	ck_assert_uint_eq(s->restart.retry_after_ms, 8000);
	ck_assert(s->local);
	ck_assert_str_eq(s->nodes, "a,b*");
	ck_assert_str_eq(s->labels, "ssd,zone=x");
	ck_assert(!s->swap);
	ck_assert_int_eq(s->handover, PH_HANDOVER_YES);
	ck_assert_uint_eq(s->retention_ms, 1000);
	ck_assert_uint_eq(s->timeout_ms, 2000);
	ck_assert_uint_eq(s->downtime_ms, 3);
	ck_assert_uint_eq(s->rounds_max, 4);
	ck_assert_uint_eq(s->max_state_bytes, 5120);
	ck_assert_uint_eq(s->defer_max_ms, 6000);
}

START_TEST(spec_goes_to_text_and_back)
{
	struct ph_shell shell = {0};
	struct ph_err err = {{0}};
	ck_assert_int_eq(ph_shell_specs_new(&shell.specs), 0);
	const struct ph_spec *spec = ph_shell_spec_of_child(child_of(full));
	check_full(spec);
	ck_assert_uint_eq(spec->revision, 0);
	const struct ph_spec *back =
		ph_shell_spec_of_text(&shell, &spec->child, spec->text, 42, &err);
	ck_assert_msg(back != NULL, "%s", err.text);
	check_full(back);
	ck_assert_uint_eq(back->revision, 42);
	ck_assert_uint_eq(back->hash, spec->hash);
	ck_assert_str_eq(back->text, spec->text);
	const struct ph_conf_child *child = ph_shell_specs_find(&shell, back, &err);
	ck_assert_str_eq(child->command.v[0], "/bin/sleep");
	ck_assert_ptr_eq(ph_shell_specs_find(&shell, spec, &err), child);
	ph_spec_free(spec);
	ph_spec_free(back);
	ph_shell_specs_free(shell.specs);
	ph_conf_free(conf);
}
END_TEST

START_TEST(bad_texts_are_refused_with_a_sentence)
{
	static const char *const texts[] = {"", "{", "[]", "{\"command\":5}", "{\"nonsense\":1}"};
	struct ph_shell shell = {0};
	struct ph_name child = ph_name_of("c");
	struct ph_err err = {{0}};
	ck_assert_int_eq(ph_shell_specs_new(&shell.specs), 0);
	ck_assert_ptr_null(ph_shell_spec_of_text(&shell, &child, texts[_i], 1, &err));
	ck_assert_str_ne(err.text, "");
	ph_shell_specs_free(shell.specs);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("shell_env");
	TCase *t = tcase_create("all");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, set_replaces_in_place);
	tcase_add_test(t, many_entries_stay_terminated);
	tcase_add_test(t, only_the_list_is_inherited);
	tcase_add_test(t, env_file_is_read);
	tcase_add_test(t, env_file_errors_name_the_line);
	tcase_add_test(t, build_has_everything_in_order);
	tcase_add_test(t, build_with_listeners);
	tcase_add_test(t, build_without_watchdog_and_with_a_missing_file);
	tcase_add_test(t, spec_goes_to_text_and_back);
	tcase_add_loop_test(t, bad_texts_are_refused_with_a_sentence, 0, 5);
	suite_add_tcase(s, t);
	return run_tests(s);
}
