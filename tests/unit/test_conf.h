/*
 * test_conf.h - what the tests of conf/ share: a directory of their own and short ways to load.
 */
#ifndef PH_TEST_CONF_H
#define PH_TEST_CONF_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/conf.h"
#include "run_tests.h"

#define LENGTH(array) (sizeof(array) / sizeof *(array))

static struct ph_conf_errors errors;

/* Root of a machine called alpha, where no user is looked up. */
static inline struct ph_conf_env env_root(void)
{
	static const char *const variables[] = {
		"HOME=/root", "EMPTY=", "PORT=8080", "BAD=\xff", NULL};
	return (struct ph_conf_env){
		.environ = variables, .hostname = "alpha.example.org", .etc = "etc", .uid = 0};
}

static inline void write_file(const char *name, const char *text, size_t n)
{
	FILE *out = fopen(name, "w");
	ck_assert_ptr_nonnull(out);
	ck_assert_uint_eq(fwrite(text, 1, n, out), n);
	ck_assert_int_eq(fclose(out), 0);
}

/* Loads a text as prochub.yaml of the directory at hand. NULL: refused, see errors. */
static inline struct ph_conf *load_with(const char *text, size_t n, const struct ph_conf_env *env)
{
	struct ph_conf *conf = NULL;
	write_file("prochub.yaml", text, n);
	int rc = ph_conf_load("prochub.yaml", env, &conf, &errors);
	ck_assert_int_eq(rc == 0, conf != NULL);
	ck_assert_int_eq(rc == 0, errors.n == 0);
	return conf;
}

static inline struct ph_conf *load(const char *text)
{
	struct ph_conf_env env = env_root();
	return load_with(text, strlen(text), &env);
}

static inline struct ph_conf *load_good(const char *text)
{
	struct ph_conf *conf = load(text);
	ck_assert_msg(conf != NULL, "refused: %s", errors.v[0].text.text);
	return conf;
}

/* Refused, with this sentence first. */
static inline void refuse(const char *text, const char *sentence)
{
	ck_assert_msg(load(text) == NULL, "accepted: %s", text);
	ck_assert_str_eq(errors.v[0].text.text, sentence);
}

static inline void directory_new(void)
{
	char name[] = "/tmp/test_conf.XXXXXX";
	ck_assert_ptr_nonnull(mkdtemp(name));
	ck_assert_int_eq(chdir(name), 0);
}

static inline void directory_remove(void)
{
	char name[256];
	ck_assert_ptr_nonnull(getcwd(name, sizeof name));
	ck_assert_int_eq(strncmp(name, "/tmp/test_conf.", 15), 0);
	char command[300];
	(void)snprintf(command, sizeof command, "rm -rf '%s'", name);
	ck_assert_int_eq(chdir("/"), 0);
	ck_assert_int_eq(system(command), 0);
}

/* Runs the tests of one suite, each in a directory of its own. */
static inline int run_suite(const char *name, const TTest *const *tests, size_t n)
{
	Suite *suite = suite_create(name);
	TCase *tc = tcase_create(name);
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, directory_new, directory_remove);
	for (size_t i = 0; i < n; i++)
		tcase_add_test(tc, tests[i]);
	suite_add_tcase(suite, tc);
	return run_tests(suite);
}

#endif
