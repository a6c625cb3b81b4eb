/* Syntax of single values, both kinds of variables, addresses. */
#include "tests/unit/test_conf.h"

#include <errno.h>

#include "conf/address.h"
#include "conf/expand.h"
#include "conf/scalar.h"

START_TEST(test_numbers)
{
	static const struct {
		enum ph_conf_type type;
		const char *text;
		bool good;
		uint64_t value;
		const char *again; /* how it is written; NULL: as it was */
	} rows[] = {
		{PH_CONF_DURATION, "0", true, 0, "0s"},
		{PH_CONF_DURATION, "0s", true, 0, NULL},
		{PH_CONF_DURATION, "0ms", true, 0, "0s"},
		{PH_CONF_DURATION, "5s", true, 5000, NULL},
		{PH_CONF_DURATION, "100ms", true, 100, NULL},
		{PH_CONF_DURATION, "1m", true, 60000, NULL},
		{PH_CONF_DURATION, "2h", true, 7200000, NULL},
		{PH_CONF_DURATION, "120s", true, 120000, "2m"},
		{PH_CONF_DURATION, "1500ms", true, 1500, NULL},
		{PH_CONF_DURATION, "5", false, 0, NULL},
		{PH_CONF_DURATION, "5 s", false, 0, NULL},
		{PH_CONF_DURATION, "1.5s", false, 0, NULL},
		{PH_CONF_DURATION, "-5s", false, 0, NULL},
		{PH_CONF_DURATION, "+5s", false, 0, NULL},
		{PH_CONF_DURATION, "s", false, 0, NULL},
		{PH_CONF_DURATION, "", false, 0, NULL},
		{PH_CONF_DURATION, "5d", false, 0, NULL},
		{PH_CONF_DURATION, "5S", false, 0, NULL},
		{PH_CONF_DURATION, "18446744073709551615ms", true, UINT64_MAX, NULL},
		{PH_CONF_DURATION, "18446744073709551616ms", false, 0, NULL},
		{PH_CONF_DURATION, "18446744073709551615s", false, 0, NULL},
		{PH_CONF_DURATION, "5124095576031h", false, 0, NULL},
		{PH_CONF_SIZE, "64K", true, 65536, NULL},
		{PH_CONF_SIZE, "16G", true, UINT64_C(16) << 30, NULL},
		{PH_CONF_SIZE, "1024M", true, UINT64_C(1) << 30, "1G"},
		{PH_CONF_SIZE, "1000", true, 1000, NULL},
		{PH_CONF_SIZE, "64k", false, 0, NULL},
		{PH_CONF_SIZE, "64KB", false, 0, NULL},
		{PH_CONF_SIZE, "18446744073709551615G", false, 0, NULL},
		{PH_CONF_PERCENT, "20%", true, 20, NULL},
		{PH_CONF_PERCENT, "20", false, 0, NULL},
		{PH_CONF_PERCENT, "20%%", false, 0, NULL},
		{PH_CONF_COUNT, "8", true, 8, NULL},
		{PH_CONF_COUNT, "08", true, 8, "8"},
		{PH_CONF_COUNT, "8.0", false, 0, NULL},
		{PH_CONF_COUNT, "0x8", false, 0, NULL},
		{PH_CONF_COUNT, "1e3", false, 0, NULL},
		{PH_CONF_WEIGHT, "1.0", true, 1000, NULL},
		{PH_CONF_WEIGHT, "1", true, 1000, "1.0"},
		{PH_CONF_WEIGHT, "0.25", true, 250, NULL},
		{PH_CONF_WEIGHT, "0.001", true, 1, NULL},
		{PH_CONF_WEIGHT, "0.0001", false, 0, NULL},
		{PH_CONF_WEIGHT, "1.", false, 0, NULL},
		{PH_CONF_WEIGHT, ".5", false, 0, NULL},
		{PH_CONF_WEIGHT, "18446744073709551615", false, 0, NULL},
		{PH_CONF_MODE, "0660", true, 0660, NULL},
		{PH_CONF_MODE, "22", true, 022, "0022"},
		{PH_CONF_MODE, "0888", false, 0, NULL},
		{PH_CONF_MODE, "rw-", false, 0, NULL},
		{PH_CONF_BOOL, "true", true, 1, NULL},
		{PH_CONF_BOOL, "false", true, 0, NULL},
		{PH_CONF_BOOL, "yes", false, 0, NULL},
		{PH_CONF_BOOL, "True", false, 0, NULL},
		{PH_CONF_BOOL, "1", false, 0, NULL},
		{PH_CONF_SIGNAL, "TERM", true, 15, NULL},
		{PH_CONF_SIGNAL, "SIGHUP", true, 1, "HUP"},
		{PH_CONF_SIGNAL, "SIG", false, 0, NULL},
		{PH_CONF_SIGNAL, "15", false, 0, NULL},
	};
	for (size_t i = 0; i < LENGTH(rows); i++) {
		struct ph_conf_option o = {.type = rows[i].type};
		struct ph_err err = {""};
		uint64_t v = 77;
		char again[64];
		int rc = ph_conf_number_parse(&o, rows[i].text, &v, &err);
		ck_assert_msg((rc == 0) == rows[i].good, "%s: %s", rows[i].text, err.text);
		ck_assert_uint_eq(v, rows[i].good ? rows[i].value : 77);
		ck_assert_msg(rows[i].good || err.text[0], "%s", rows[i].text);
		if (rc < 0)
			continue;
		ph_conf_number_text(&o, v, again, sizeof again);
		ck_assert_str_eq(again, rows[i].again ? rows[i].again : rows[i].text);
	}
}
END_TEST

START_TEST(test_addresses)
{
	static const struct {
		const char *text, *host; /* NULL: refused */
		uint16_t port;
		bool numeric, loopback, wildcard;
	} rows[] = {
		{"tcp://127.0.0.1:7400", "127.0.0.1", 7400, true, true, false},
		{"tcp://127.9.8.7:1", "127.9.8.7", 1, true, true, false},
		{"tcp://10.0.0.1:65533", "10.0.0.1", 65533, true, false, false},
		{"tcp://0.0.0.0:7400", "0.0.0.0", 7400, true, false, true},
		{"tcp://[::1]:7400", "[::1]", 7400, true, true, false},
		{"tcp://[0:0::1]:7400", "[::1]", 7400, true, true, false},
		{"tcp://[::]:7400", "[::]", 7400, true, false, true},
		{"tcp://[fd00::17]:7400", "[fd00::17]", 7400, true, false, false},
		{"tcp://localhost:7400", "localhost", 7400, false, true, false},
		{"tcp://node-1.example:7400", "node-1.example", 7400, false, false, false},
		{"tcp://10.0.0.1:65534", NULL, 0, false, false, false},
		{"tcp://10.0.0.1:0", NULL, 0, false, false, false},
		{"tcp://10.0.0.1:", NULL, 0, false, false, false},
		{"tcp://10.0.0.1", NULL, 0, false, false, false},
		{"tcp://10.0.0.1:7400/", NULL, 0, false, false, false},
		{"tcp://10.0.0.1:+740", NULL, 0, false, false, false},
		{"tcp://10.0.0.1:999999999999", NULL, 0, false, false, false},
		{"tcp://10.0.0.256:7400", NULL, 0, false, false, false},
		{"tcp://10.0.0:7400", NULL, 0, false, false, false},
		{"tcp://::1:7400", NULL, 0, false, false, false},
		{"tcp://[::1:7400", NULL, 0, false, false, false},
		{"tcp://[]:7400", NULL, 0, false, false, false},
		{"tcp://:7400", NULL, 0, false, false, false},
		{"tcp://a b:7400", NULL, 0, false, false, false},
		{"tcp://-a:7400", NULL, 0, false, false, false},
		{"tcp://a..b:7400", NULL, 0, false, false, false},
		{"ipc://x:7400", NULL, 0, false, false, false},
		{"10.0.0.1:7400", NULL, 0, false, false, false},
		{"", NULL, 0, false, false, false},
	};
	for (size_t i = 0; i < LENGTH(rows); i++) {
		struct ph_conf_address a = {.port = 9};
		int rc = ph_conf_address_parse(rows[i].text, &a);
		ck_assert_msg((rc == 0) == (rows[i].host != NULL), "%s", rows[i].text);
		if (rc < 0)
			continue;
		ck_assert_str_eq(a.host, rows[i].host);
		ck_assert_uint_eq(a.port, rows[i].port);
		ck_assert(a.numeric == rows[i].numeric && a.loopback == rows[i].loopback &&
			  a.wildcard == rows[i].wildcard);
	}
}
END_TEST

START_TEST(test_variables)
{
	static const struct {
		const char *text, *result; /* result NULL: refused with `error` */
		const char *error;
	} rows[] = {
		{"", "", NULL},
		{"plain $HOME $ $$ %i", "plain $HOME $ $$ %i", NULL},
		{"${HOME}", "/root", NULL},
		{"a${HOME}b${PORT}c", "a/rootb8080c", NULL},
		{"${HOSTNAME}", "alpha", NULL},
		{"${EMPTY}", "", NULL},
		{"${EMPTY:-x}", "x", NULL},
		{"${NONE:-}", "", NULL},
		{"${NONE:-a:b-c d}", "a:b-c d", NULL},
		{"${PORT:-1}", "8080", NULL},
		{"$${HOME}", "${HOME}", NULL},
		{"$$${HOME}", "$${HOME}", NULL},
		{"${NONE}", NULL, "'${NONE}' is not set"},
		{"${HOM}", NULL, "'${HOM}' is not set"},
		{"${}", NULL,
			"'${}' is neither ${NAME} nor ${NAME:-text} ('$${' is a literal '${')"},
		{"${HOME-x}", NULL,
			"'${HOME-x}' is neither ${NAME} nor ${NAME:-text} ('$${' is a literal "
			"'${')"},
		{"${1}", NULL,
			"'${1}' is neither ${NAME} nor ${NAME:-text} ('$${' is a literal '${')"},
		{"x${HOME", NULL, "'${HOME' has no closing '}' ('$${' is a literal '${')"},
		{"${BAD}", NULL, "not UTF-8 after its variables are expanded"},
	};
	struct ph_conf_env env = env_root();
	for (size_t i = 0; i < LENGTH(rows); i++) {
		struct ph_err err = {""};
		char *text = NULL;
		int rc = ph_conf_substitute(rows[i].text, &env, &text, &err);
		ck_assert_msg((rc == 0) == (rows[i].result != NULL), "%s", rows[i].text);
		ck_assert_str_eq(
			rc == 0 ? text : err.text, rc == 0 ? rows[i].result : rows[i].error);
		free(text);
	}
}
END_TEST

START_TEST(test_host_name_of_environment_goes_first)
{
	static const char *const variables[] = {"HOSTNAME=beta.example.org", NULL};
	struct ph_conf_env env = {.environ = variables, .hostname = "alpha"};
	char *text;
	ck_assert_int_eq(ph_conf_substitute("${HOSTNAME}", &env, &text, NULL), 0);
	ck_assert_str_eq(text, "beta");
	free(text);
}
END_TEST

START_TEST(test_long_values_end)
{
	char *big = malloc(PH_CONF_VALUE_MAX), *text, doc[64 * 8];
	memset(big, 'x', PH_CONF_VALUE_MAX);
	memcpy(big, "BIG=", 4);
	big[PH_CONF_VALUE_MAX - 1] = '\0';
	const char *const variables[] = {big, NULL};
	struct ph_conf_env env = {.environ = variables};
	struct ph_err err;
	ck_assert_int_eq(ph_conf_substitute("${BIG}", &env, &text, &err), 0);
	free(text);
	(void)snprintf(doc, sizeof doc, "%s%s", "${BIG}", "${BIG}");
	ck_assert_int_eq(ph_conf_substitute(doc, &env, &text, &err), -EINVAL);
	ck_assert_str_eq(err.text, "longer than 128 KiB");
	free(big);
}
END_TEST

START_TEST(test_templates)
{
	static const struct {
		const char *text, *result;
	} rows[] = {
		{"", ""},
		{"x", "x"},
		{"%i", "17"},
		{"%r-%n-%c", "1-alpha-room"},
		{"100%%", "100%"},
		{"%%i", "%i"},
		{"a%ib%i", "a17b17"},
		{"%", NULL},
		{"a%", NULL},
		{"%x", NULL},
		{"%%%", NULL},
		{"% i", NULL},
	};
	struct ph_conf_vars vars = {"room", "alpha", 17, 1};
	for (size_t i = 0; i < LENGTH(rows); i++) {
		struct ph_err err = {""};
		char *text = NULL;
		int rc = ph_conf_expand(rows[i].text, &vars, &text);
		ck_assert_int_eq(rc, rows[i].result ? 0 : -EINVAL);
		ck_assert_int_eq(ph_conf_template_check(rows[i].text, &err), rc);
		if (rows[i].result)
			ck_assert_str_eq(text, rows[i].result);
		else
			ck_assert_str_ne(err.text, "");
		free(text);
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {test_numbers, test_addresses, test_variables,
		test_host_name_of_environment_goes_first, test_long_values_end, test_templates};
	return run_suite("conf_values", tests, LENGTH(tests));
}
