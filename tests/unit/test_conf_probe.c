/* What `ready` and `health` can ask: the syntax of tcp:, http: and exec:. */
#include "tests/unit/test_conf.h"

#include "conf/probe.h"

START_TEST(test_net)
{
	static const struct {
		const char *text, *host;
		unsigned port;
		const char *path; /* NULL: tcp */
	} rows[] = {
		{"tcp:80", "127.0.0.1", 80, NULL},
		{"tcp:65535", "127.0.0.1", 65535, NULL},
		{"tcp:[8080+3]", "127.0.0.1", 8083, NULL},
		{"tcp:[::1]:[8080+3+1]", "::1", 8084, NULL},
		{"http:http://10.0.0.1:[8080+3]/x", "10.0.0.1", 8083, "/x"},
		{"tcp:10.1.2.3:8080", "10.1.2.3", 8080, NULL},
		{"tcp:localhost:1", "127.0.0.1", 1, NULL},
		{"tcp:[fe80::1]:22", "fe80::1", 22, NULL},
		{"http:http://127.0.0.1", "127.0.0.1", 80, "/"},
		{"http:http://127.0.0.1/", "127.0.0.1", 80, "/"},
		{"http:http://localhost:81/a/b?c=d:e", "127.0.0.1", 81, "/a/b?c=d:e"},
		{"http:http://[::1]/x", "::1", 80, "/x"},
		{"http:http://[::1]:9000", "::1", 9000, "/"},
	};
	for (size_t i = 0; i < LENGTH(rows); i++) {
		struct ph_conf_probe probe;
		struct ph_err err = {""};
		ck_assert_msg(ph_conf_probe_parse(rows[i].text, &probe, &err) == 0, "%s: %s",
			rows[i].text, err.text);
		ck_assert_str_eq(probe.host, rows[i].host);
		ck_assert_uint_eq(probe.port, rows[i].port);
		ck_assert_int_eq(probe.kind, rows[i].path ? PH_CONF_PROBE_HTTP : PH_CONF_PROBE_TCP);
		if (rows[i].path)
			ck_assert_str_eq(probe.path, rows[i].path);
		ph_conf_probe_fini(&probe);
	}
}
END_TEST

START_TEST(test_commands)
{
	static const struct {
		const char *text;
		size_t n;
		const char *words[4];
	} rows[] = {
		{"exec:true", 1, {"true"}},
		{"exec:  /bin/check  -a\t b ", 3, {"/bin/check", "-a", "b"}},
		{"exec:a 'b c' \"d 'e'\"", 3, {"a", "b c", "d 'e'"}},
		{"exec:a b\\ c '' \\\\", 4, {"a", "b c", "", "\\"}},
		{"exec:a x'y'\"z\" 'q\\r'", 3, {"a", "xyz", "q\\r"}},
		{"exec:sh -c 'exit $N; true'", 3, {"sh", "-c", "exit $N; true"}},
	};
	for (size_t i = 0; i < LENGTH(rows); i++) {
		struct ph_conf_probe probe;
		struct ph_err err = {""};
		ck_assert_msg(ph_conf_probe_parse(rows[i].text, &probe, &err) == 0, "%s: %s",
			rows[i].text, err.text);
		ck_assert_int_eq(probe.kind, PH_CONF_PROBE_EXEC);
		ck_assert_uint_eq(probe.argv.n, rows[i].n);
		for (size_t k = 0; k < rows[i].n; k++)
			ck_assert_str_eq(probe.argv.v[k], rows[i].words[k]);
		ph_conf_probe_fini(&probe);
	}
}
END_TEST

START_TEST(test_wrong)
{
	static const struct {
		const char *text, *says;
	} rows[] = {
		{"", "is not tcp:PORT, http:URL or exec:COMMAND"},
		{"udp:53", "is not tcp:PORT, http:URL or exec:COMMAND"},
		{"tcp:", "is not PORT or ADDRESS:PORT"},
		{"tcp:0", "is not PORT or ADDRESS:PORT"},
		{"tcp:65536", "is not PORT or ADDRESS:PORT"},
		{"tcp:80x", "is not PORT or ADDRESS:PORT"},
		{"tcp:+80", "is not PORT or ADDRESS:PORT"},
		{"tcp:host.example:80", "is not PORT or ADDRESS:PORT"},
		{"tcp:::1:80", "is not PORT or ADDRESS:PORT"},
		{"tcp:[::1]", "is not PORT or ADDRESS:PORT"},
		{"tcp:[127.0.0.1]:80", "is not PORT or ADDRESS:PORT"},
		{"http:127.0.0.1", "is not http://ADDRESS"},
		{"http:https://127.0.0.1/", "no https"},
		{"http:http://", "is not http://ADDRESS"},
		{"http:http:///x", "is not http://ADDRESS"},
		{"http:http://a.example/", "is not http://ADDRESS"},
		{"http:http://127.0.0.1:0/", "is not http://ADDRESS"},
		{"http:http://127.0.0.1:/", "is not http://ADDRESS"},
		{"http:http://127.0.0.1:99999999999/", "is not http://ADDRESS"},
		{"http:http://127.0.0.1?x", "is not http://ADDRESS"},
		{"http:http://127.0.0.1/a b", "is not http://ADDRESS"},
		{"http:http://127.0.0.1/a\r\nX: y", "is not http://ADDRESS"},
		{"http:http://u@127.0.0.1/", "is not http://ADDRESS"},
		{"exec:", "is not a program and its arguments"},
		{"exec:   ", "is not a program and its arguments"},
		{"exec:'' a", "is not a program and its arguments"},
		{"exec:a 'b", "is not closed by its quote"},
		{"exec:bin/a", "is not an absolute path, or a name without '/'"},
	};
	for (size_t i = 0; i < LENGTH(rows); i++) {
		struct ph_conf_probe probe;
		struct ph_err err = {""};
		ck_assert_msg(
			ph_conf_probe_parse(rows[i].text, &probe, &err) < 0, "%s", rows[i].text);
		ck_assert_msg(
			strstr(err.text, rows[i].says) != NULL, "%s: %s", rows[i].text, err.text);
	}
}
END_TEST

START_TEST(test_templates)
{
	struct ph_err err = {""};
	ck_assert_int_eq(ph_conf_probe_check("tcp:80%i", &err), 0);
	ck_assert_int_eq(ph_conf_probe_check("http:http://127.0.0.1:9000/%c/%n/%r", &err), 0);
	ck_assert_int_eq(ph_conf_probe_check("exec:check %i '100%%'", &err), 0);
	ck_assert(ph_conf_probe_check("tcp:%n", &err) < 0);
	ck_assert(ph_conf_probe_check("exec:check %x", &err) < 0);
	ck_assert_int_eq(ph_conf_ready_of("none"), PH_CONF_READY_NONE);
	ck_assert_int_eq(ph_conf_ready_of("protocol"), PH_CONF_READY_PROTOCOL);
	ck_assert_int_eq(ph_conf_ready_of("notify"), PH_CONF_READY_NOTIFY);
	ck_assert_int_eq(ph_conf_ready_of("tcp:1"), PH_CONF_READY_PROBE);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {test_net, test_commands, test_wrong, test_templates};
	return run_suite("conf_probe", tests, LENGTH(tests));
}
