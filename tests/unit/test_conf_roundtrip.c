/* What is printed loads again to the same; a child as text; the difference of two. */
#include "tests/unit/test_conf.h"

#include <errno.h>

#include "conf/options.h"
#include "conf/value.h"

/* Texts that a careless writer or reader would change. */
static const char *const awkward[] = {
	"plain",
	"",
	" ",
	"  two  ",
	"null",
	"~",
	"true",
	"no",
	"1e3",
	"0x10",
	"- a",
	"a: b",
	"a #b",
	"#",
	"[x]",
	"{x}",
	"\"",
	"\\",
	"\\n",
	"'",
	"''",
	"%i%%",
	"*a",
	"&a",
	"!t",
	"|",
	">",
	"@",
	"`",
	"$",
	"$$",
	"$$$",
	"${HOME}",
	"$${HOME}",
	"$$${HOME}",
	"a\nb",
	"\n",
	"a\tb",
	"\r",
	"\x01",
	"\x7f",
	"\xc2\x80",
	"\xc2\x85",
	"\xc2\xa0",
	"\xc3\xa9",
	"\xe2\x80\xa8",
	"\xe2\x80\xa9",
	"\xef\xbb\xbf",
	"\xef\xbf\xbe",
	"\xef\xbf\xbf",
	"\xf0\x9f\x98\x80",
	"\xf4\x8f\xbf\xbf",
	"---",
	"...",
	"<<",
	"?",
	":",
	",",
	"key: [a, b]",
	"=",
	"/a-b_c.d=e",
	"\xed\x9f\xbf",
	"\xee\x80\x80",
};

/* A configuration whose child has all of these as arguments and variables, made without YAML. */
static struct ph_conf *awkward_conf(void)
{
	struct ph_conf *conf = load_good("children: {web: {command: [web]}}\n"
					 "cluster: {listen: tcp://10.0.0.1:7400, key_file: /k}\n"
					 "node: {slot: 7, labels: [a=b, c]}\n");
	struct ph_conf_child *c = conf->children[0];
	const struct ph_conf_option *command = ph_conf_option_find(&ph_conf_child_table, "command");
	const struct ph_conf_option *env = ph_conf_option_find(&ph_conf_child_table, "env");
	for (size_t i = 0; i < LENGTH(awkward); i++) {
		char name[32];
		struct ph_err err;
		(void)snprintf(name, sizeof name, "${V}#%zu:\"", i);
		ck_assert_int_eq(ph_conf_value_add(command, c, awkward[i], &err), 0);
		ck_assert_int_eq(ph_conf_value_pair(env, c, name, awkward[i], &err), 0);
	}
	ck_assert_int_eq(ph_conf_value_end(env, c, NULL), 0);
	return conf;
}

static char *printed(const struct ph_conf *conf)
{
	char *text = NULL;
	size_t n = 0;
	FILE *out = open_memstream(&text, &n);
	ck_assert_int_eq(ph_conf_print(conf, out), 0);
	ck_assert_int_eq(fclose(out), 0);
	return text;
}

/* Loads what is printed and compares all of it. */
static void check_print(struct ph_conf *conf)
{
	char *text = printed(conf);
	struct ph_conf *again = load_good(text);
	char *a = ph_conf_text(conf), *b = ph_conf_text(again), *second = printed(again);
	struct ph_conf_diff *diff;
	ck_assert_str_eq(a, b);
	ck_assert_int_eq(ph_conf_diff(conf, again, &diff), 0);
	ck_assert_uint_eq(diff->n_children + diff->n_options, 0);
	ph_conf_diff_free(diff);
	free(text);
	free(second);
	free(a);
	free(b);
	ph_conf_free(again);
}

START_TEST(test_print_loads_again)
{
	static const char *const texts[] = {"",
		"defaults: {health: {interval: 1s, failures: 9}}\nchildren: {a: {command: [x]}, "
		"b: {command: [x], health: {tcp: 80}}}",
		"defaults: {health: {exec: x}}\nchildren: {a: {command: [x]}, "
		"b: {command: [x], health: {timeout: 2s}}}",
		"defaults: {stop_timeout: 1500ms, env: {A: b}}\nchildren: {\"true\": {command: "
		"[x]}, "
		"1e3: {command: [x]}, a: {command: [x, \"%i\"], log: {to: file, path: /x/%c, size: "
		"1K, keep: 0}, placement: "
		"{nodes: "
		"[a, \"b*\"]}}}",
		"cluster: {listen: \"tcp://[::1]:7400\", failure_timeout: 1s, peers: "
		"[tcp://localhost:1]}\nnode: {weight: 0.125, name: \"007\", drain_on_stop: true}\n"
		"control: {group: root, mode: \"0600\"}\nlog: {level: debug}",
		/* one text, in two lines */
		("hooks: {b: {on: [node_dead, conflict], command: [x, \"%c\"]}, \"no\": {on: "
		 "[child_ready], command: [/y], timeout: 1500ms}}\ncluster: {conflict_keep: 36h}")};
	for (size_t i = 0; i < LENGTH(texts); i++) {
		struct ph_conf *conf = load_good(texts[i]);
		check_print(conf);
		ph_conf_free(conf);
	}
	struct ph_conf *conf = awkward_conf();
	check_print(conf);
	ph_conf_free(conf);
}
END_TEST

START_TEST(test_print_says_where_from)
{
	struct ph_conf *conf =
		load_good("node:\n  weight: 2\n"
			  "defaults:\n  stop_timeout: 9s\n"
			  "children:\n  web:\n    command: [a]\n    restart: {delay: 1s}\n");
	char *text = printed(conf);
	static const char *const lines[] = {
		"\n  name: alpha  # default\n",
		"\n  weight: 2.0  # prochub.yaml:2\n",
		"\n  web:  # prochub.yaml:6\n",
		"\n    command: [a]  # prochub.yaml:7\n",
		"\n    stop_timeout: 9s  # defaults (prochub.yaml:4)\n",
		"\n    restart:\n      policy: permanent  # default\n",
		"\n      delay: 1s  # prochub.yaml:8\n",
	};
	for (size_t i = 0; i < LENGTH(lines); i++)
		ck_assert_msg(strstr(text, lines[i]) != NULL, "%s", lines[i]);
	free(text);
	ph_conf_free(conf);
}
END_TEST

START_TEST(test_child_text)
{
	struct ph_conf *conf = awkward_conf();
	char *text = ph_conf_child_text(conf->children[0]);
	struct ph_conf_child *again;
	ck_assert_ptr_null(strchr(text, '\n'));
	ck_assert_msg(ph_conf_child_parse("web", text, strlen(text), &again, &errors) == 0, "%s",
		errors.v[0].text.text);
	ck_assert_str_eq(again->name.s, "web");
	ck_assert(ph_conf_child_equal(conf->children[0], again));
	char *second = ph_conf_child_text(again);
	ck_assert_str_eq(text, second);
	free(text);
	free(second);
	ph_conf_child_free(again);
	ph_conf_free(conf);
}
END_TEST

/* The bytes are compared between machines, so they are fixed here. */
START_TEST(test_child_text_is_canonical)
{
	static const char want[] =
		"{\"command\":[\"web\",\"%i\"],\"env\":{\"A\":\"1\",\"B\":\"2\"},\"user\":\"www\","
		"\"umask\":\"0022\",\"no_new_privileges\":false,\"instances\":2,\"listen\":{},"
		"\"ready\":\"none\",\"start_"
		"timeout\":\"10s\","
		"\"stop_signal\":\"TERM\",\"stop_timeout\":\"5s\",\"watchdog\":\"0s\",\"after\":[],"
		"\"restart\":{"
		"\"policy\":\"permanent\",\"delay\":\"0s\",\"backoff\":\"100ms\",\"backoff_max\":"
		"\"30s\",\"jitter\":\"20%\",\"intensity\":5,\"within\":\"1m\",\"on_limit\":"
		"\"retry\","
		"\"retry_after\":\"5m\"},\"health\":{\"interval\":\"5s\",\"timeout\":\"1s\","
		"\"failures\":3},\"limits\":{\"missing\":\"refuse\"},\"log\":{\"to\":\"inherit\","
		"\"size\":\"10M\",\"keep\":5},"
		"\"placement\":{\"strategy\":"
		"\"hash\",\"nodes\":[],\"labels\":[]},\"migration\":{\"strategy\":\"hot-swap\","
		"\"handover\":\"auto\",\"retention\":\"5s\",\"timeout\":\"30s\",\"downtime\":"
		"\"500ms\",\"rounds_max\":8,\"max_state\":\"16G\",\"defer_max\":\"10m\"}}";
	static const char *const texts[] = {"children: {web: {instances: 2, command: [web, "
					    "\"%i\"], env: {B: 2, A: 1}, user: www}}",
		"defaults: {user: www, restart: {within: 60s}}\n"
		"children:\n  web:\n    env:\n      A: '1'\n      B: \"2\"\n"
		"    command:\n    - web\n    - '%i'\n    instances: 2\n    umask: 22\n"
		"    migration: {max_state: 16384M}\n"};
	for (size_t i = 0; i < LENGTH(texts); i++) {
		struct ph_conf *conf = load_good(texts[i]);
		char *text = ph_conf_child_text(conf->children[0]);
		ck_assert_str_eq(text, want);
		free(text);
		ph_conf_free(conf);
	}
}
END_TEST

START_TEST(test_child_parse_refuses)
{
	static const struct {
		const char *name, *text, *sentence;
	} rows[] = {
		{"a b", "{\"command\":[\"x\"]}", "child: its name is not one"},
		{"web", "", "child: empty"},
		{"web", "{}", "child:1:1: children.web: 'command' is missing"},
		{"web", "[]", "child:1:1: children.web: expected a mapping (name: value)"},
		{"web", "{\"command\":[\"x\"],\"state\":{}}",
			"child:1:18: children.web.state: not available in this version"},
		{"web", "{\"command\":[\"x\"],\"instances\":0}",
			"child:1:30: children.web.instances: '0' is out of range (1 to 100000)"},
	};
	for (size_t i = 0; i < LENGTH(rows); i++) {
		struct ph_conf_child *child;
		ck_assert_int_eq(ph_conf_child_parse(rows[i].name, rows[i].text,
					 strlen(rows[i].text), &child, &errors),
			-EINVAL);
		ck_assert_str_eq(errors.v[0].text.text, rows[i].sentence);
	}
	struct ph_conf_child *child;
	static const char as_it_is[] = "{command: [\"${HOME}\", \"$${A}\"], user: no-such-user}";
	ck_assert_int_eq(
		ph_conf_child_parse("web", as_it_is, strlen(as_it_is), &child, &errors), 0);
	ck_assert_str_eq(child->command.v[0], "${HOME}");
	ck_assert_str_eq(child->command.v[1], "$${A}");
	ph_conf_child_free(child);
}
END_TEST

/* Every option, when it alone changes, is seen by the difference under its own path. */
START_TEST(test_diff_sees_every_option)
{
	static const struct {
		const char *path, *text;
	} rows[] = {
		{"node.name", "node: {name: other}"},
		{"node.weight", "node: {weight: 3}"},
		{"node.labels", "node: {labels: [x]}"},
		{"node.run_dir", "node: {run_dir: /x}"},
		{"node.drain_on_stop", "node: {drain_on_stop: true}"},
		{"cluster.name", "cluster: {name: x}"},
		{"cluster.settle", "cluster: {settle: 9s}"},
		{"cluster.accept", "cluster: {accept: declared}"},
		{"cluster.migrations_max", "cluster: {migrations_max: 9}"},
		{"control.mode", "control: {mode: \"0600\"}"},
		{"log.level", "log: {level: debug}"},
	};
	struct ph_conf *before = load_good("");
	for (size_t i = 0; i < LENGTH(rows); i++) {
		struct ph_conf *after = load_good(rows[i].text);
		struct ph_conf_diff *diff;
		ck_assert_int_eq(ph_conf_diff(before, after, &diff), 0);
		ck_assert_uint_eq(diff->n_options, 1);
		ck_assert_str_eq(diff->options[0].path, rows[i].path);
		const struct ph_conf_option *o =
			ph_conf_option_find(&ph_conf_daemon_table, rows[i].path);
		bool live = (o->flags & PH_CONF_LIVE) != 0;
		ck_assert(diff->options[0].reloadable == live);
		ph_conf_diff_free(diff);
		ck_assert_int_eq(ph_conf_hold(after, before), 0); /* what is in force then */
		ck_assert_int_eq(ph_conf_diff(before, after, &diff), 0);
		ck_assert_uint_eq(diff->n_options, live);
		ph_conf_diff_free(diff);
		ph_conf_free(after);
	}
	ph_conf_free(before);
}
END_TEST

START_TEST(test_hold)
{
	struct ph_conf *before = load_good("cluster: {listen: tcp://127.0.0.1:7400, settle: 2s}");
	struct ph_conf *after = load_good("cluster: {listen: tcp://127.0.0.2:7500, settle: 3s}\n"
					  "node: {slot: 7}\nchildren: {a: {command: [a]}}");
	ck_assert_int_eq(ph_conf_hold(after, before), 0);
	ck_assert_str_eq(after->cluster.listen, "tcp://127.0.0.1:7400");
	ck_assert_str_eq(after->cluster.host, "127.0.0.1");
	ck_assert_str_eq(after->cluster.advertise, "127.0.0.1");
	ck_assert_uint_eq(after->cluster.port, 7400);
	ck_assert_uint_eq(after->cluster.settle_ms, 3000);
	ck_assert(!after->node.has_slot);
	ck_assert_uint_eq(after->n_children, 1);
	ph_conf_free(before);
	before = load_good("");
	ck_assert_int_eq(ph_conf_hold(after, before), 0);
	ck_assert_ptr_null(after->cluster.listen);
	ck_assert_ptr_null(after->cluster.host);
	ph_conf_free(before);
	ph_conf_free(after);
}
END_TEST

START_TEST(test_diff_of_children)
{
	struct ph_conf *before = load_good("children: {a: {command: [a]}, b: {command: [b]}, c: "
					   "{command: [c]}, e: {command: [e]}}");
	struct ph_conf *after =
		load_good("children: {b: {command: [b, x], stop_timeout: 1s}, c: "
			  "{command: [c], restart: {delay: 1s}}, d: {command: [d]}, "
			  "e: {command: [e], stop_timeout: 5000ms}}");
	struct ph_conf_diff *diff;
	ck_assert_int_eq(ph_conf_diff(before, after, &diff), 0);
	ck_assert_uint_eq(diff->n_options, 0);
	ck_assert_uint_eq(diff->n_children, 4);
	const struct ph_conf_change *c = diff->children;
	ck_assert(c[0].kind == PH_CONF_REMOVED && strcmp(c[0].child.s, "a") == 0);
	ck_assert(c[1].kind == PH_CONF_CHANGED && c[1].restart && c[1].n_options == 2);
	ck_assert_str_eq(c[1].options[0], "command");
	ck_assert_str_eq(c[1].options[1], "stop_timeout");
	ck_assert(c[2].kind == PH_CONF_CHANGED && !c[2].restart && c[2].n_options == 1);
	ck_assert_str_eq(c[2].options[0], "restart.delay");
	ck_assert(c[3].kind == PH_CONF_ADDED && strcmp(c[3].child.s, "d") == 0);
	ph_conf_diff_free(diff);
	ph_conf_free(before);
	ph_conf_free(after);
}
END_TEST

START_TEST(test_many_children)
{
	size_t room = PH_CONF_FILE_MAX, n = 0;
	char *text = malloc(room);
	n += (size_t)snprintf(text, room, "children:\n");
	unsigned count = 0;
	while (n < room - 64)
		n += (size_t)snprintf(text + n, room - n, " c%u: {command: [a]}\n", count++);
	struct ph_conf_env env = env_root();
	struct ph_conf *conf = load_with(text, n, &env);
	ck_assert_msg(conf != NULL, "%s", errors.v[0].text.text);
	ck_assert_uint_eq(conf->n_children, count);
	ck_assert_ptr_nonnull(ph_conf_child_find(conf, "c12345"));
	ck_assert_ptr_null(ph_conf_child_find(conf, "d"));
	ph_conf_free(conf);
	free(text);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {test_print_loads_again, test_print_says_where_from,
		test_child_text, test_child_text_is_canonical, test_child_parse_refuses,
		test_diff_sees_every_option, test_hold, test_diff_of_children, test_many_children};
	return run_suite("conf_roundtrip", tests, LENGTH(tests));
}
