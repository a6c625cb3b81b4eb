/* Names of users and groups, from what every Debian has: root, nobody, daemon, adm. */
#include "io/userask.h"

#include "run_tests.h"
#include "tests/unit/io_help.h"

#include <errno.h>

START_TEST(by_name_and_number)
{
	static const char *const names[] = {"root", "0"};
	for (int i = 0; i < 2; i++) {
		struct ph_user user;
		struct ph_err err = {""};
		ck_assert_msg(ph_user_lookup(names[i], NULL, &user, &err) == 0, "%s", err.text);
		ck_assert_uint_eq(user.uid, 0);
		ck_assert_uint_eq(user.gid, 0);
		ck_assert_str_eq(user.name, "root");
		ck_assert_str_eq(user.home, "/root");
		ck_assert_int_eq(user.shell[0], '/');
		ck_assert_uint_ge(user.n_groups, 1);
		ph_user_fini(&user);
		ck_assert_ptr_null(user.name);
	}
}
END_TEST

START_TEST(with_another_group)
{
	struct ph_user user;
	struct ph_err err;
	ck_assert_int_eq(ph_user_lookup("nobody", "adm", &user, &err), 0);
	ck_assert_uint_eq(user.uid, 65534);
	ck_assert_uint_eq(user.gid, 4);
	bool there = false;
	for (size_t i = 0; i < user.n_groups; i++)
		there = there || user.groups[i] == 4;
	ck_assert(there);
	ph_user_fini(&user);
	ck_assert_int_eq(ph_user_lookup("nobody", "4321", &user, &err), 0);
	ck_assert_uint_eq(user.gid, 4321);
	ph_user_fini(&user);
}
END_TEST

START_TEST(myself)
{
	struct ph_user user;
	struct ph_err err;
	ck_assert_int_eq(ph_user_lookup(NULL, NULL, &user, &err), 0);
	ck_assert_uint_eq(user.uid, geteuid());
	ph_user_fini(&user);
}
END_TEST

/* A number that a container was given. */
START_TEST(myself_without_an_entry)
{
	struct ph_user user;
	struct ph_err err;
	if (geteuid() != 0)
		return;
	ck_assert_int_eq(setenv("HOME", _i ? "/srv" : "none", 1), 0);
	ck_assert_int_eq(setresgid(3999998, 3999998, 0), 0);
	ck_assert_int_eq(setresuid(3999999, 3999999, 0), 0);
	ck_assert_int_eq(ph_user_lookup(NULL, NULL, &user, &err), 0);
	ck_assert_int_eq(setresuid(0, 0, 0), 0);
	ck_assert_int_eq(setresgid(0, 0, 0), 0);
	ck_assert_uint_eq(user.uid, 3999999);
	ck_assert_uint_eq(user.gid, 3999998);
	ck_assert_str_eq(user.name, "3999999");
	ck_assert_str_eq(user.home, _i ? "/srv" : "/");
	ck_assert_str_eq(user.shell, "/bin/sh");
	ck_assert_uint_eq(user.n_groups, 1);
	ph_user_fini(&user);
}
END_TEST

static const struct {
	const char *user, *group, *text;
} unknown[] = {
	{"no-such-user", NULL, "no such user 'no-such-user'"},
	{"3999999", NULL, "no such user '3999999'"},
	{"-1", NULL, "no such user '-1'"},
	{"4294967295", NULL, "no such user '4294967295'"},
	{"", NULL, "no such user ''"},
	{"root", "no-such-group", "no such group 'no-such-group'"},
	{"root", "4294967295", "no such group '4294967295'"},
	{"root", "1x", "no such group '1x'"},
};

START_TEST(who_does_not_exist)
{
	struct ph_user user = {.uid = 77};
	struct ph_err err;
	ck_assert_int_eq(ph_user_lookup(unknown[_i].user, unknown[_i].group, &user, &err), -ENOENT);
	ck_assert_str_eq(err.text, unknown[_i].text);
	ck_assert_uint_eq(user.uid, 77);
}
END_TEST

START_TEST(asking)
{
	struct ph_user_ask *ask, *many[PH_USER_ASK_MAX];
	struct ph_user user;
	struct ph_err err = {""};
	ck_assert_int_eq(ph_user_ask_new("nobody", "4321", &ask, &err), 0);
	ck_assert(ph_user_ask_wait(ask, 20000));
	ck_assert(ph_user_ask_wait(ask, 0));
	ck_assert_int_eq(ph_user_ask_take(ask, &user, &err), 0);
	ck_assert_str_eq(user.name, "nobody");
	ck_assert_uint_eq(user.gid, 4321);
	ph_user_fini(&user);
	ck_assert_int_eq(ph_user_ask_new("nosuch", NULL, &ask, &err), 0);
	ck_assert(ph_user_ask_wait(ask, 20000));
	ck_assert_int_eq(ph_user_ask_take(ask, &user, &err), -ENOENT);
	ck_assert_str_eq(err.text, "no such user 'nosuch'");
	/* whether they are answered or not */
	for (int i = 0; i < PH_USER_ASK_MAX; i++)
		if (ph_user_ask_new(NULL, NULL, &many[i], &err))
			many[i] = NULL;
	ck_assert_ptr_nonnull(many[0]);
	for (int i = 0; i < PH_USER_ASK_MAX; i++)
		ph_user_ask_free(many[i]);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("io_user");
	TCase *tc = tcase_create("all");
	tcase_add_test(tc, asking);
	tcase_add_test(tc, by_name_and_number);
	tcase_add_test(tc, with_another_group);
	tcase_add_test(tc, myself);
	tcase_add_loop_test(tc, myself_without_an_entry, 0, 2);
	tcase_add_loop_test(tc, who_does_not_exist, 0, sizeof unknown / sizeof *unknown);
	suite_add_tcase(suite, tc);
	return run_tests(suite);
}
