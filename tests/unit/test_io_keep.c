/* What a worker hands over is in a file, whole, or nowhere; old files go, others never. */
#include "io/keep.h"
#include "run_tests.h"
#include "tests/unit/io_help.h"

#include <errno.h>
#include <sys/socket.h>
#include <time.h>

static char *dir, path[300];
static struct event_base *base;
static struct ph_keeps *keeps;
static struct ph_keep_limits limits;
static const struct ph_id id = {{7}};

static struct {
	unsigned kept, failed, progress;
	uint64_t bytes;
	int code;
	char name[200], text[200];
} seen;

static void on_kept(void *arg, const struct ph_id *of, uint64_t bytes, const char *name)
{
	ck_assert_ptr_eq(arg, &seen);
	ck_assert(ph_id_equal(of, &id));
	seen.kept++;
	seen.bytes = bytes;
	(void)snprintf(seen.name, sizeof seen.name, "%s", name);
}

static void on_progress(void *arg, const struct ph_id *of, uint64_t bytes)
{
	(void)arg, (void)of;
	seen.progress += bytes != 0;
}

static void on_failed(void *arg, const struct ph_id *of, int code, const char *text)
{
	(void)arg, (void)of;
	seen.failed++;
	seen.code = code;
	(void)snprintf(seen.text, sizeof seen.text, "%s", text);
}

static const struct ph_keep_ops ops = {on_kept, on_progress, on_failed};

static void setup(void)
{
	memset(&seen, 0, sizeof seen);
	dir = help_dir();
	(void)snprintf(path, sizeof path, "%s/conflicts", dir);
	limits = (struct ph_keep_limits){.age_ms = 3600000, .total_bytes = 1 << 20, .files = 3};
	base = event_base_new();
	keeps = ph_keeps_new(base, path, &limits, &ops, &seen);
	ck_assert_ptr_nonnull(keeps);
}

static void teardown(void)
{
	ph_keeps_free(keeps);
	event_base_free(base);
	help_remove(dir);
}

static void again(const struct ph_keep_limits *other)
{
	ph_keeps_free(keeps);
	keeps = ph_keeps_new(base, path, other, &ops, &seen);
	ck_assert_ptr_nonnull(keeps);
}

static const char *file(const char *name)
{
	static char text[500];
	(void)snprintf(text, sizeof text, "%s/%s", path, name);
	return text;
}

static unsigned entries(void)
{
	unsigned n = 0;
	DIR *d = opendir(path);
	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return d ? n - 2 : 0;
}

/* Until something was told of it. */
static void wait_told(void)
{
	while (!seen.kept && !seen.failed)
		ck_assert_int_eq(event_base_loop(base, EVLOOP_ONCE), 0);
}

/* The worker's side of a connection that is being kept; `head` was read with its first line. */
static int feed(const char *name, uint64_t max, const char *head)
{
	int fds[2];
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	ck_assert_int_eq(fcntl(fds[0], F_SETFL, 0), 0); /* the worker's blocks */
	ck_assert_int_eq(ph_keeps_open(keeps, &id, name, max), 0);
	ck_assert_int_eq(ph_keeps_feed(keeps, &id, fds[1], head, strlen(head)), 0);
	return fds[0];
}

static void put_file(const char *name, size_t n, time_t age_s)
{
	(void)mkdir(path, 0700);
	FILE *f = fopen(file(name), "w");
	ck_assert_ptr_nonnull(f);
	for (size_t i = 0; i < n; i++)
		(void)fputc('x', f);
	(void)fclose(f);
	struct timespec times[2] = {{.tv_sec = time(NULL) - age_s}, {.tv_sec = time(NULL) - age_s}};
	ck_assert_int_eq(utimensat(AT_FDCWD, file(name), times, 0), 0);
}

START_TEST(all_of_it_and_closed_to_others)
{
	struct stat st;
	char text[16] = "";
	int fd = feed("web-0-5", 100, "head ");
	ck_assert_int_eq(write(fd, "and tail", 8), 8);
	close(fd);
	wait_told();
	ck_assert_uint_eq(seen.kept, 1);
	ck_assert_uint_eq(seen.bytes, 13);
	ck_assert_str_eq(seen.name, "web-0-5");
	ck_assert_int_eq(stat(file("web-0-5"), &st), 0);
	ck_assert_int_eq(st.st_mode & 07777, 0600);
	FILE *f = fopen(file("web-0-5"), "r");
	ck_assert_ptr_nonnull(f);
	ck_assert_ptr_nonnull(fgets(text, sizeof text, f));
	(void)fclose(f);
	ck_assert_str_eq(text, "head and tail");
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_mode & 07777, 0700);
	ph_keeps_close(keeps, &id, _i == 0);
	ck_assert_uint_eq(entries(), _i == 0); /* not as long as was said: it goes */
}
END_TEST

enum limit {
	ITS_OWN,
	TOTAL,
	DISK,
	LIMITS
};

/* Beyond a limit nothing is left, and what was kept before stays. */
START_TEST(limits_hold)
{
	static const int codes[LIMITS] = {EFBIG, EDQUOT, ENOSPC};
	char block[1000];
	memset(block, 'y', sizeof block);
	put_file("old", 1500, 60);
	limits.total_bytes = _i == TOTAL ? 2000 : 1 << 20;
	limits.free_bytes = _i == DISK ? UINT64_C(1) << 60 : 0;
	again(&limits);
	int fd = feed("new", _i == ITS_OWN ? 999 : 5000, "");
	ck_assert_int_eq(write(fd, block, sizeof block), sizeof block);
	wait_told();
	ck_assert_uint_eq(seen.failed, 1);
	ck_assert_int_eq(seen.code, codes[_i]);
	ck_assert_str_ne(seen.text, "");
	ck_assert_uint_eq(entries(), 1);
	ck_assert_int_eq(access(file("old"), F_OK), 0);
	close(fd);
}
END_TEST

START_TEST(a_directory_that_cannot_be_written)
{
	ck_assert_int_eq(mkdir(path, 0700), 0);
	(void)snprintf(path, sizeof path, "%s/conflicts/x", dir);
	FILE *f = fopen(path, "w"); /* a file in its place */
	ck_assert_ptr_nonnull(f);
	(void)fclose(f);
	again(&limits);
	int fd = feed("new", 100, "text");
	close(fd);
	wait_told();
	ck_assert_uint_eq(seen.failed, 1);
	ck_assert_int_eq(seen.code, ENOTDIR);
}
END_TEST

/* Too old, and what a daemon that was killed left half; nothing else. */
START_TEST(old_ones_go)
{
	put_file("older", 10, 3601);
	put_file("younger", 10, 3500);
	put_file("half.part", 10, 1);
	again(&limits);
	ck_assert_uint_eq(entries(), 1);
	ck_assert_int_eq(access(file("younger"), F_OK), 0);
}
END_TEST

START_TEST(so_many_files)
{
	put_file("a", 1, 1);
	put_file("b", 1, 1);
	put_file("c", 1, 1);
	again(&limits);
	ck_assert_int_eq(ph_keeps_open(keeps, &id, "d", 100), -EDQUOT);
}
END_TEST

/* Given up in the middle: nothing is left, and nothing is told any more. */
START_TEST(given_up)
{
	int fds = help_count_fds(), fd = feed("web-0-5", 100, "head ");
	if (_i)
		ph_keeps_free(keeps), keeps = NULL;
	else
		ph_keeps_close(keeps, &id, true);
	for (int i = 0; !_i && i < 20000 && entries(); i++) {
		event_base_loop(base, EVLOOP_NONBLOCK);
		usleep(1000);
	}
	ck_assert_uint_eq(entries(), 0);
	ck_assert_uint_eq(seen.kept + seen.failed, 0);
	close(fd);
	for (int i = 0; !_i && i < 1000 && help_count_fds() > fds; i++) {
		event_base_loop(base, EVLOOP_NONBLOCK);
		usleep(1000);
	}
	ck_assert_int_le(help_count_fds(), fds);
}
END_TEST

START_TEST(what_cannot_be)
{
	int fds[2];
	const struct ph_id other = {{8}};
	int fd = feed("web-0-5", 100, "");
	ck_assert_int_eq(ph_keeps_open(keeps, &id, "x", 1), -EEXIST);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	ck_assert_int_eq(ph_keeps_feed(keeps, &id, fds[1], "", 0), -EEXIST);
	ck_assert_int_lt(fcntl(fds[1], F_GETFD), 0); /* it was taken all the same */
	close(fds[0]);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	ck_assert_int_eq(ph_keeps_feed(keeps, &other, fds[1], "", 0), -ENOENT);
	close(fds[0]);
	ph_keeps_close(keeps, &other, true);
	close(fd);
	wait_told();
	ck_assert_uint_eq(seen.bytes, 0); /* a state of no bytes is one */
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("io_keep");
	TCase *tcase = tcase_create("io_keep");
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_loop_test(tcase, all_of_it_and_closed_to_others, 0, 2);
	tcase_add_loop_test(tcase, limits_hold, 0, LIMITS);
	tcase_add_test(tcase, a_directory_that_cannot_be_written);
	tcase_add_test(tcase, old_ones_go);
	tcase_add_test(tcase, so_many_files);
	tcase_add_loop_test(tcase, given_up, 0, 2);
	tcase_add_test(tcase, what_cannot_be);
	suite_add_tcase(suite, tcase);
	return run_tests(suite);
}
