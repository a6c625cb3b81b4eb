/* Cgroups, with a folder of plain files in place of the kernel's. */
#include "io/cgroup.h"

#include "run_tests.h"
#include "tests/unit/io_help.h"

#include <errno.h>

static char *dir;
static struct ph_cgroups *groups;
static struct ph_err err;

static void put(const char *folder, const char *name, const char *text)
{
	char path[512];
	(void)snprintf(path, sizeof path, "%s/%s", folder, name);
	FILE *out = fopen(path, "w");
	ck_assert_ptr_nonnull(out);
	(void)fputs(text, out);
	(void)fclose(out);
}

static void is(const char *folder, const char *name, const char *want)
{
	char path[512], text[256] = "";
	(void)snprintf(path, sizeof path, "%s/%s", folder, name);
	FILE *in = fopen(path, "r");
	ck_assert_ptr_nonnull(in);
	size_t n = fread(text, 1, sizeof text - 1, in);
	text[n] = '\0';
	(void)fclose(in);
	ck_assert_str_eq(text, want);
}

static void setup(void)
{
	dir = help_dir();
	put(dir, "cgroup.controllers", "cpuset cpu io memory pids\n");
	put(dir, "cgroup.subtree_control", "");
	ck_assert_int_eq(ph_cgroups_open_at(dir, true, "/nowhere/run", &groups, &err), 0);
}

static void teardown(void)
{
	ph_cgroups_close(groups);
	help_remove(dir);
}

static char *make(const char *name)
{
	char *path = ph_cgroup_path(groups, name);
	ck_assert_ptr_nonnull(path);
	ck_assert_int_eq(ph_cgroup_make(path, &err), 0);
	return path;
}

START_TEST(limits_are_written)
{
	static const struct {
		enum ph_cgroup_limit limit;
		uint64_t value;
		const char *file, *want, *handed_on;
	} rows[] = {
		{PH_CGROUP_MEMORY, 512 << 20, "memory.max", "536870912", "+memory"},
		{PH_CGROUP_CPU, 150, "cpu.max", "150000 100000", "+cpu"},
		{PH_CGROUP_CPU, 1, "cpu.max", "1000 100000", ""}, /* it is already */
		{PH_CGROUP_TASKS, 64, "pids.max", "64", "+pids"},
	};
	char *path = make("web.0.0-1");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		put(path, rows[i].file, "");
		put(dir, "cgroup.subtree_control", "");
		put(path, "memory.oom.group", "");
		ck_assert_int_eq(
			ph_cgroup_set(groups, path, rows[i].limit, rows[i].value, &err), 0);
		is(path, rows[i].file, rows[i].want);
		is(dir, "cgroup.subtree_control", rows[i].handed_on);
		is(path, "memory.oom.group", rows[i].limit == PH_CGROUP_MEMORY ? "1" : "");
	}
	free(path);
}
END_TEST

START_TEST(what_is_missing_is_named)
{
	char *path = make("web.0.0-1"), want[600];
	put(dir, "cgroup.controllers", "cpuset cpu pidsx\n");
	ck_assert_int_eq(ph_cgroup_set(groups, path, PH_CGROUP_TASKS, 3, &err), -EOPNOTSUPP);
	(void)snprintf(want, sizeof want, "there is no cgroup v2 controller 'pids' in %s", dir);
	ck_assert_str_eq(err.text, want);
	/* handed on, but the file is not there: written nowhere else */
	ck_assert_int_eq(ph_cgroup_set(groups, path, PH_CGROUP_CPU, 3, &err), -ENOENT);
	ck_assert_ptr_nonnull(strstr(err.text, "cpu.max cannot be written in "));
	free(path);
}
END_TEST

START_TEST(counts_are_read)
{
	char *path = make("web.0.0-1");
	ck_assert(!ph_cgroup_is_populated(path));
	ck_assert_uint_eq(ph_cgroup_oom_kills(path), 0);
	put(path, "cgroup.events", "populated 1\nfrozen 0\n");
	put(path, "memory.events", "low 0\nhigh 0\nmax 7\noom 2\noom_kill 3\noom_group_kill 1\n");
	ck_assert(ph_cgroup_is_populated(path));
	ck_assert_uint_eq(ph_cgroup_oom_kills(path), 3);
	put(path, "cgroup.events", "populated 0\nfrozen 0\n");
	ck_assert(!ph_cgroup_is_populated(path));
	put(path, "cgroup.kill", "");
	ck_assert_int_eq(ph_cgroup_kill(path), 0);
	is(path, "cgroup.kill", "1");
	free(path);
}
END_TEST

START_TEST(made_once_and_removed)
{
	char *path = make("web.0.0-1");
	ck_assert_int_eq(ph_cgroup_make(path, &err), -EEXIST);
	ck_assert_int_eq(ph_cgroup_remove(path), 0);
	ck_assert_int_eq(access(path, F_OK), -1);
	ck_assert_int_eq(ph_cgroup_remove(path), 0);
	ck_assert_int_eq(ph_cgroup_kill(path), -ENOENT);
	free(path);
}
END_TEST

static char *wanted;

static bool is_wanted(void *arg, const char *path)
{
	(void)arg;
	return strcmp(path, wanted) == 0;
}

/* What is not of this daemon stays, whatever it is called. */
START_TEST(sweep_takes_only_its_own)
{
	struct ph_cgroups *other;
	char name[600];
	wanted = make("web.0.0-1");
	char *left = make("web.1.0-2");
	ck_assert_int_eq(ph_cgroups_open_at(dir, true, "/other/run", &other, &err), 0);
	char *foreign = ph_cgroup_path(other, "web.1.0-2");
	ck_assert_int_eq(ph_cgroup_make(foreign, &err), 0);
	(void)snprintf(name, sizeof name, "%s/system.slice", dir);
	ck_assert_int_eq(mkdir(name, 0755), 0);
	ck_assert_uint_eq(ph_cgroups_sweep(groups, is_wanted, NULL), 0);
	ck_assert_int_eq(access(left, F_OK), -1);
	ck_assert_int_eq(access(wanted, F_OK), 0);
	ck_assert_int_eq(access(foreign, F_OK), 0); /* it is not a minute old */
	ck_assert_int_eq(access(name, F_OK), 0);
	ph_cgroups_close(other);
	free(foreign);
	free(left);
	free(wanted);
}
END_TEST

START_TEST(the_daemon_goes_to_its_leaf)
{
	struct ph_cgroups *none;
	char leaf[600];
	(void)snprintf(leaf, sizeof leaf, "%s/" PH_CGROUP_LEAF, dir);
	/* a folder makes no cgroup.procs of its own */
	ck_assert_int_eq(ph_cgroups_open_at(dir, false, "/nowhere/run", &none, &err), -ENOENT);
	ck_assert_ptr_nonnull(strstr(err.text, "no cgroup can be made in "));
	put(leaf, "cgroup.procs", "");
	ck_assert_int_eq(ph_cgroups_open_at(dir, false, "/nowhere/run", &none, &err), 0);
	is(leaf, "cgroup.procs", "0");
	ph_cgroups_close(none);
}
END_TEST

START_TEST(nowhere)
{
	struct ph_cgroups *none;
	ck_assert_int_eq(
		ph_cgroups_open_at("/proc/self", true, "/nowhere/run", &none, &err), -ENOENT);
	ck_assert_ptr_null(ph_cgroup_of(groups, getpid(), "web.0.0-1"));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("io_cgroup");
	TCase *tcase = tcase_create("io_cgroup");
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, limits_are_written);
	tcase_add_test(tcase, what_is_missing_is_named);
	tcase_add_test(tcase, counts_are_read);
	tcase_add_test(tcase, made_once_and_removed);
	tcase_add_test(tcase, sweep_takes_only_its_own);
	tcase_add_test(tcase, the_daemon_goes_to_its_leaf);
	tcase_add_test(tcase, nowhere);
	suite_add_tcase(suite, tcase);
	return run_tests(suite);
}
