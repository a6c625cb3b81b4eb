/* Listeners: what an address is, and that no two of them are the same. */
#include "tests/unit/test_conf.h"

#include "conf/listen.h"

#include <errno.h>

START_TEST(test_addresses)
{
	static const struct {
		const char *text, *is; /* NULL: refused */
	} rows[] = {
		{"tcp://0.0.0.0:8080", "tcp://0.0.0.0:8080"},
		{"tcp://127.0.0.1:1", "tcp://127.0.0.1:1"},
		{"tcp://localhost:65535", "tcp://127.0.0.1:65535"},
		{"tcp://[::1]:80", "tcp://[::1]:80"},
		{"tcp://[0:0::1]:80", "tcp://[::1]:80"},
		{"tcp://[::]:80", "tcp://[::]:80"},
		{"tcp://127.0.0.1:[8080+%i]", "tcp://127.0.0.1:8083"},
		{"tcp://[::1]:[8080+%i]", "tcp://[::1]:8083"},
		{"tcp://127.0.0.1:[8000+%i+%r]", "tcp://127.0.0.1:8004"},
		{"tcp://127.0.0.[1+%i]:80", "tcp://127.0.0.4:80"},
		{"tcp://127.0.0.1:808%i", "tcp://127.0.0.1:8083"},
		{"unix:/run/%c-%i.sock", "unix:/run/web-3.sock"},
		{"unix:/run/%n/100%%.sock", "unix:/run/alpha/100%.sock"},
		{"tcp://0.0.0.0", NULL},
		{"tcp://0.0.0.0:", NULL},
		{"tcp://0.0.0.0:0", NULL},
		{"tcp://0.0.0.0:65536", NULL},
		{"tcp://0.0.0.0:[65533+%i]", NULL},
		{"tcp://0.0.0.0:[8080+]", NULL},
		{"tcp://0.0.0.0:[+%i]", NULL},
		{"tcp://0.0.0.0:[8080]", NULL},
		{"tcp://0.0.0.0:[99999999999999999999+%i]", NULL},
		{"tcp://::1:80", NULL},
		{"tcp://example.org:80", NULL},
		{"tcp://:80", NULL},
		{"udp://127.0.0.1:80", NULL},
		{"127.0.0.1:80", NULL},
		{"8080", NULL},
		{"unix:", NULL},
		{"unix:/", NULL},
		{"unix:run/x", NULL},
		{"%x", NULL},
		{"", NULL},
	};
	const struct ph_conf_vars vars = {
		.child = "web", .node = "alpha", .instance = 3, .replica = 1};
	for (size_t i = 0; i < LENGTH(rows); i++) {
		struct ph_conf_listener at;
		struct ph_err err = {""};
		char text[PH_CONF_LISTEN_PATH_MAX + 64];
		int rc = ph_conf_listen_of(rows[i].text, &vars, &at, &err);
		ck_assert_msg((rc == 0) == (rows[i].is != NULL), "%s: %s", rows[i].text, err.text);
		if (rc < 0)
			continue;
		ph_conf_listen_text(&at, text, sizeof text);
		ck_assert_str_eq(text, rows[i].is);
	}
}
END_TEST

START_TEST(test_long_paths)
{
	char path[200] = "unix:/";
	struct ph_conf_vars vars = {.child = "web", .node = "alpha"};
	struct ph_conf_listener at;
	struct ph_err err = {""};
	memset(path + 6, 'x', 106);
	ck_assert_int_eq(ph_conf_listen_of(path, &vars, &at, &err), 0);
	path[112] = 'x';
	ck_assert_int_lt(ph_conf_listen_of(path, &vars, &at, &err), 0);
	ck_assert_str_eq(err.text, "a path of 108 bytes, a socket takes at most 107");
}
END_TEST

#define CHILD(name, options) name ": {command: [x], " options "}"
#define A(listen) CHILD("a", "listen: {" listen "}")
#define B(listen) CHILD("b", "listen: {" listen "}")

/* NULL: taken; else part of the first error. */
static void expect(const char *children, const char *part)
{
	char text[1024];
	(void)snprintf(text, sizeof text, "children: {%s}\n", children);
	struct ph_conf *conf = load(text);
	ck_assert_msg((conf != NULL) == (part == NULL), "%s: %s", children,
		errors.n ? errors.v[0].text.text : "taken");
	if (part)
		ck_assert_msg(strstr(errors.v[0].text.text, part) != NULL, "%s: %s", children,
			errors.v[0].text.text);
	ph_conf_free(conf);
}

START_TEST(test_clashes)
{
	static const struct {
		const char *children, *error;
	} rows[] = {
		{A("x: 'tcp://0.0.0.0:1'") ", " B("x: 'tcp://0.0.0.0:2'"), NULL},
		{A("x: 'tcp://127.0.0.1:1'") ", " B("x: 'tcp://127.0.0.2:1'"), NULL},
		{A("x: 'tcp://0.0.0.0:1'") ", " B("x: 'tcp://[::1]:1'"), NULL},
		{A("x: 'unix:/a'") ", " B("x: 'unix:/b'"), NULL},
		{A("x: 'tcp://0.0.0.0:1', y: 'tcp://0.0.0.0:2', z: 'unix:/a'"), NULL},
		{CHILD("a", "instances: 3, listen: {x: 'tcp://0.0.0.0:[80+%i]'}") ", " B(
			 "x: 'tcp://0.0.0.0:83'"),
			NULL},
		{A("x: 'tcp://0.0.0.0:1'") ", " B("x: 'tcp://0.0.0.0:1'"),
			"children.b.listen: x: tcp://0.0.0.0:1 of b is taken by tcp://0.0.0.0:1 of "
			"a, listener x (prochub.yaml:1:"},
		{A("x: 'tcp://0.0.0.0:1'") ", " B("x: 'tcp://127.0.0.1:1'"), "is taken by"},
		{A("x: 'tcp://127.0.0.1:1'") ", " B("x: 'tcp://[::]:1'"), "is taken by"},
		{A("x: 'tcp://[::1]:1'") ", " B("x: 'tcp://[0::1]:1'"), "is taken by"},
		{A("x: 'unix:/a'") ", " B("x: 'unix:/a'"), "unix:/a of b is taken by unix:/a of a"},
		{A("x: 'tcp://0.0.0.0:1', y: 'tcp://localhost:1'"), "is taken by"},
		{CHILD("a", "instances: 3, listen: {x: 'tcp://0.0.0.0:80'}"),
			"tcp://0.0.0.0:80 of all 3 instances is one address"},
		{CHILD("a", "instances: 4, listen: {x: 'tcp://0.0.0.0:[80+%i]'}") ", " B(
			 "x: 'tcp://0.0.0.0:83'"),
			"of b is taken by tcp://0.0.0.0:83 of a/3, listener x"},
		{CHILD("a", "instances: 3, listen: {x: 'tcp://0.0.0.0:[65534+%i]'}"),
			"'tcp://0.0.0.0:65536' is not tcp://ADDRESS:PORT"},
		{A("'x y': 'tcp://0.0.0.0:1'"), "'x y' is not a name"},
		{A("x: 'tcp://example.org:1'"), "children.a.listen: x: 'tcp://example.org:1' is "},
		{A("x: 'tcp://0.0.0.0:1', x: 'tcp://0.0.0.0:2'"), "twice"},
	};
	for (size_t i = 0; i < LENGTH(rows); i++)
		expect(rows[i].children, rows[i].error);
}
END_TEST

START_TEST(test_both_places_are_named)
{
	struct ph_conf *conf = load("children:\n"
				    "  b:\n"
				    "    command: [x]\n"
				    "    listen: {h: 'tcp://0.0.0.0:80'}\n"
				    "  a:\n"
				    "    command: [x]\n"
				    "    listen: {g: 'tcp://10.0.0.1:80'}\n");
	ck_assert_ptr_null(conf);
	ck_assert_uint_eq(errors.n, 1);
	ck_assert_str_eq(errors.v[0].text.text,
		"prochub.yaml:7:5: children.a.listen: g: tcp://10.0.0.1:80 of a is taken by "
		"tcp://0.0.0.0:80 of b, listener h (prochub.yaml:4:5)");
}
END_TEST

START_TEST(test_low_ports)
{
	struct ph_conf_env env = env_root();
	static const char text[] = "children: {a: {command: [x], listen: {h: 'tcp://0.0.0.0:80'}}}";
	env.port_min = 1024;
	ck_assert_ptr_null(load_with(text, sizeof text - 1, &env));
	ck_assert_str_eq(errors.v[0].text.text,
		"prochub.yaml:1:30: children.a.listen: h: port 80 needs root or "
		"CAP_NET_BIND_SERVICE (others begin at 1024)");
	env.port_min = 80;
	struct ph_conf *conf = load_with(text, sizeof text - 1, &env);
	ck_assert_ptr_nonnull(conf);
	ph_conf_free(conf);
}
END_TEST

/* Children that are added: against what is there, but for what they replace. */
START_TEST(test_added)
{
	struct ph_conf *base = load_good("children: {" A("x: 'tcp://0.0.0.0:80'") "}"),
		       *conf = NULL;
	struct ph_conf_env env = env_root();
	static const char b[] = "children: {" B("x: 'tcp://127.0.0.1:80'") "}";
	static const char a[] = "children: {" A("x: 'tcp://127.0.0.1:80'") "}";
	ck_assert_int_eq(
		ph_conf_load_children("-", b, sizeof b - 1, base, &env, &conf, &errors), -EINVAL);
	ck_assert_ptr_nonnull(strstr(errors.v[0].text.text, "is taken by tcp://0.0.0.0:80 of a"));
	ck_assert_int_eq(
		ph_conf_load_children("-", a, sizeof a - 1, base, &env, &conf, &errors), 0);
	ph_conf_free(conf);
	ph_conf_free(base);
}
END_TEST

/* Many instances, and work that grows with their number only. */
START_TEST(test_many)
{
	char text[256];
	(void)snprintf(text, sizeof text,
		"children: {a: {command: [x], instances: %d, listen: {h: 'unix:/run/%%i'}}}",
		PH_CONF_INSTANCES_MAX);
	ph_conf_free(load_good(text));
	(void)snprintf(text, sizeof text,
		"children: {a: {command: [x], instances: %d, listen: {h: 'unix:/run/%%i', "
		"g: 'unix:/run/a%%i', f: 'unix:/run/b%%i'}}}",
		PH_CONF_INSTANCES_MAX);
	ck_assert_ptr_null(load(text));
	ck_assert_ptr_nonnull(strstr(errors.v[0].text.text, "more than 200000 listeners"));
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {test_addresses, test_long_paths, test_clashes,
		test_both_places_are_named, test_low_ports, test_added, test_many};
	return run_suite("conf_listen", tests, LENGTH(tests));
}
