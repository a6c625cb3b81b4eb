/* Small files that are whole or not there, the state file, the directories and the lock. */
#include "io/durable.h"
#include "io/lock.h"
#include "io/statefile.h"
#include "run_tests.h"
#include "tests/unit/io_help.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

static char *dir;
static struct ph_err err;

static void setup(void)
{
	dir = help_dir();
	err.text[0] = '\0';
}

static void teardown(void)
{
	help_remove(dir);
}

static const char *path_of(const char *name)
{
	static char path[256];
	(void)snprintf(path, sizeof path, "%s/%s", dir, name);
	return path;
}

static void expect_file(const char *name, const char *text)
{
	char *bytes;
	size_t n;
	ck_assert_int_eq(ph_durable_read(dir, name, 1000, &bytes, &n, &err), 0);
	ck_assert_uint_eq(n, strlen(text));
	ck_assert_str_eq(bytes, text);
	free(bytes);
}

static int count_entries(void)
{
	int n = 0;
	DIR *d = opendir(dir);
	while (readdir(d))
		n++;
	closedir(d);
	return n - 2;
}

START_TEST(written_and_replaced)
{
	struct stat st;
	mode_t before = umask(077);
	ck_assert_int_eq(ph_durable_write(dir, "a", "one", 3, 0640, &err), 0);
	(void)umask(before);
	ck_assert_int_eq(stat(path_of("a"), &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0640);
	expect_file("a", "one");
	ck_assert_int_eq(ph_durable_write(dir, "a", "", 0, 0600, &err), 0);
	expect_file("a", "");
	ck_assert_int_eq(ph_durable_replace(dir, "a", "three", 5, 0600, &err), 0);
	expect_file("a", "three");
	ck_assert_int_eq(count_entries(), 1);
}
END_TEST

START_TEST(what_was_left_half_written_does_not_matter)
{
	help_write_file(path_of("precious"), "x", 0600);
	ck_assert_int_eq(symlink("precious", path_of(".a.new")), 0);
	ck_assert_int_eq(ph_durable_write(dir, "a", "one", 3, 0600, &err), 0);
	expect_file("a", "one");
	expect_file("precious", "x");
}
END_TEST

START_TEST(a_failed_write_keeps_the_old)
{
	struct rlimit before, small;
	(void)signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(ph_durable_write(dir, "a", "old", 3, 0600, &err), 0);
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
	small = before;
	small.rlim_cur = 100;
	static char large[10000];
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
	int r = ph_durable_write(dir, "a", large, sizeof large, 0600, &err);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
	ck_assert_int_eq(r, -EFBIG);
	expect_file("a", "old");
	ck_assert_int_eq(count_entries(), 1);
	ck_assert_int_eq(ph_durable_write("/no/dir", "a", "x", 1, 0600, &err), -ENOENT);
	ck_assert_str_eq(err.text, "cannot create '/no/dir/.a.new': No such file or directory");
}
END_TEST

START_TEST(what_cannot_be_read)
{
	char *bytes = NULL;
	size_t n = 7;
	ck_assert_int_eq(ph_durable_read(dir, "a", 10, &bytes, &n, &err), -ENOENT);
	ck_assert_int_eq(mkfifo(path_of("f"), 0600), 0);
	ck_assert_int_eq(ph_durable_read(dir, "f", 10, &bytes, &n, &err), -EINVAL);
	ck_assert_int_eq(ph_durable_read("/", "tmp", 10, &bytes, &n, &err), -EINVAL);
	help_write_file(path_of("b"), "12345678901", 0600);
	ck_assert_int_eq(ph_durable_read(dir, "b", 10, &bytes, &n, &err), -EFBIG);
	ck_assert_ptr_nonnull(strstr(err.text, "has 11 bytes, at most 10 are read"));
	ck_assert_ptr_null(bytes);
	ck_assert_uint_eq(n, 7);
}
END_TEST

START_TEST(state_file)
{
	char *bytes;
	size_t n;
	ck_assert_int_eq(ph_statefile_read(dir, &bytes, &n, &err), -ENOENT);
	ck_assert_int_eq(ph_statefile_write(dir, "{\"a\":1}\n", 8, &err), 0);
	ck_assert_int_eq(ph_statefile_read(dir, &bytes, &n, &err), 0);
	ck_assert_uint_eq(n, 8);
	ck_assert_str_eq(bytes, "{\"a\":1}\n");
	free(bytes);
	struct stat st;
	ck_assert_int_eq(stat(path_of("state"), &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	ck_assert_int_eq(chmod(path_of("state"), 0644), 0);
	ck_assert_int_eq(ph_statefile_read(dir, &bytes, &n, &err), -EPERM);
	ck_assert_ptr_nonnull(strstr(err.text, "with mode 644, expected uid"));
	ck_assert_int_eq(ph_statefile_write(dir, "x", PH_STATEFILE_BYTES_MAX + 1, &err), -EFBIG);
}
END_TEST

START_TEST(directories_are_made)
{
	struct stat st;
	char deep[300];
	(void)snprintf(deep, sizeof deep, "%s/x/y/z/", dir);
	mode_t before = umask(077);
	ck_assert_int_eq(ph_lock_prepare_dir(deep, 0755, false, &err), 0);
	(void)umask(before);
	ck_assert_int_eq(stat(deep, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0755);
	ck_assert_int_eq(ph_lock_prepare_dir(deep, 0755, false, &err), 0);
	ck_assert_int_eq(ph_lock_prepare_dir(deep, 0700, true, &err), -EPERM);
	ck_assert_ptr_nonnull(strstr(err.text, "has mode 0755, expected 0700: others can read it"));
	ck_assert_int_eq(chmod(deep, 0777), 0);
	ck_assert_int_eq(ph_lock_prepare_dir(deep, 0755, false, &err), -EPERM);
	ck_assert_ptr_nonnull(strstr(err.text, "others can write to it"));
	ck_assert_int_eq(ph_lock_prepare_dir(path_of("secret"), 0700, true, &err), 0);
	ck_assert_int_eq(ph_lock_prepare_dir("/tmp", 0755, false, &err), 0); /* sticky */
	ck_assert_int_eq(ph_lock_prepare_dir("relative", 0755, false, &err), -EINVAL);
	ck_assert_int_eq(ph_lock_prepare_dir("/dev/null", 0755, false, &err), -ENOTDIR);
	ck_assert_int_eq(ph_lock_prepare_dir("/dev/null/x", 0755, false, &err), -ENOTDIR);
	if (geteuid() == 0) {
		ck_assert_int_eq(chown(path_of("secret"), 65534, 65534), 0);
		ck_assert_int_eq(ph_lock_prepare_dir(path_of("secret"), 0700, true, &err), -EPERM);
		ck_assert_ptr_nonnull(strstr(err.text, "belongs to uid 65534, expected 0"));
	}
}
END_TEST

START_TEST(one_daemon_a_directory)
{
	int fd, second = -7, ends[2];
	char expected[256], c;
	ck_assert_int_eq(ph_lock_take(dir, &fd, &err), 0);
	ck_assert_int_eq(ph_lock_take(dir, &second, &err), -EBUSY);
	ck_assert_int_eq(second, -7);
	(void)snprintf(expected, sizeof expected, "another prochubd (pid %d) already runs in '%s'",
		(int)getpid(), dir);
	ck_assert_str_eq(err.text, expected);
	close(fd);
	/* it goes with its holder, however that ends */
	ck_assert_int_eq(pipe(ends), 0);
	pid_t pid = fork();
	if (!pid) {
		if (ph_lock_take(dir, &fd, &err) == 0)
			(void)!write(ends[1], "x", 1);
		pause();
	}
	ck_assert_int_eq(read(ends[0], &c, 1), 1);
	ck_assert_int_eq(ph_lock_take(dir, &fd, &err), -EBUSY);
	(void)snprintf(expected, sizeof expected, "(pid %d)", (int)pid);
	ck_assert_ptr_nonnull(strstr(err.text, expected));
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	ck_assert_int_eq(ph_lock_take(dir, &fd, &err), 0);
	close(fd);
	close(ends[0]);
	close(ends[1]);
	ck_assert_int_eq(ph_lock_take("/no/dir", &fd, &err), -ENOENT);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("io_file");
	TCase *tc = tcase_create("all");
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, written_and_replaced);
	tcase_add_test(tc, what_was_left_half_written_does_not_matter);
	tcase_add_test(tc, a_failed_write_keeps_the_old);
	tcase_add_test(tc, what_cannot_be_read);
	tcase_add_test(tc, state_file);
	tcase_add_test(tc, directories_are_made);
	tcase_add_test(tc, one_daemon_a_directory);
	suite_add_tcase(suite, tc);
	return run_tests(suite);
}
