/* The listening socket: who is there, what it refuses, and that it never spins. */
#include "io/unixsock.h"

#include "run_tests.h"
#include "tests/unit/io_help.h"

#include <errno.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/un.h>

static struct event_base *base;
static struct ph_unixsock *sock;
static char *dir, path[128];
static int accepted;
static struct ucred last_peer;

static void on_accept(void *arg, int fd, const struct ucred *peer)
{
	(void)arg;
	ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
	ck_assert_int_ne(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
	last_peer = *peer;
	accepted++;
	close(fd);
}

static void close_at_once(void *arg, int fd, const struct ucred *peer)
{
	on_accept(arg, fd, peer);
	ph_unixsock_close(sock);
	sock = NULL;
}

static int dial(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(fd, 0);
	memcpy(address.sun_path, path, strlen(path) + 1);
	if (connect(fd, (const struct sockaddr *)&address, sizeof address) < 0) {
		close(fd);
		return -errno;
	}
	return fd;
}

static int open_socket(mode_t mode, gid_t gid, ph_unixsock_fn *fn, struct ph_err *err)
{
	return ph_unixsock_open(base, path, mode, gid, fn, NULL, &sock, err);
}

static void setup(void)
{
	dir = help_dir();
	(void)snprintf(path, sizeof path, "%s/sock", dir);
	base = event_base_new();
	ck_assert_ptr_nonnull(base);
	sock = NULL;
	accepted = 0;
}

static void teardown(void)
{
	ph_unixsock_close(sock);
	ck_assert_int_eq(access(path, F_OK), -1);
	event_base_free(base);
	help_remove(dir);
}

START_TEST(peers_mode_and_group)
{
	struct ph_err err = {""};
	struct stat st;
	mode_t before = umask(0027);
	ck_assert_msg(open_socket(0666, 4, on_accept, &err) == 0, "%s", err.text);
	ck_assert_uint_eq(umask(before), 0027);
	ck_assert_int_eq(lstat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0666);
	ck_assert_uint_eq(st.st_gid, 4);
	int fd = dial();
	ck_assert_int_ge(fd, 0);
	help_run_until(base, &accepted, 1);
	ck_assert_int_eq(last_peer.pid, getpid());
	ck_assert_uint_eq(last_peer.uid, geteuid());
	close(fd);
}
END_TEST

START_TEST(more_than_a_turn)
{
	struct ph_err err;
	int fds[3 * PH_UNIXSOCK_TURN];
	const int n = 3 * PH_UNIXSOCK_TURN;
	ck_assert_int_eq(open_socket(0600, (gid_t)-1, on_accept, &err), 0);
	for (int i = 0; i < n; i++)
		ck_assert_int_ge(fds[i] = dial(), 0);
	ck_assert_int_ge(event_base_loop(base, EVLOOP_ONCE), 0);
	ck_assert_int_eq(accepted, PH_UNIXSOCK_TURN);
	help_run_until(base, &accepted, n);
	for (int i = 0; i < n; i++)
		close(fds[i]);
}
END_TEST

START_TEST(a_stale_one_is_replaced)
{
	struct ph_err err;
	struct ph_unixsock *first;
	ck_assert_int_eq(open_socket(0600, (gid_t)-1, on_accept, &err), 0);
	first = sock;
	ck_assert_int_eq(open_socket(0600, (gid_t)-1, on_accept, &err), 0);
	int fd = dial();
	ck_assert_int_ge(fd, 0);
	help_run_until(base, &accepted, 1);
	close(fd);
	ph_unixsock_close(first);
}
END_TEST

/* As after an execve(): a duplicate outlives the first one, and what waits in it is accepted. */
START_TEST(one_that_is_taken_over)
{
	struct ph_err err;
	struct stat st;
	ck_assert_int_eq(open_socket(0600, (gid_t)-1, on_accept, &err), 0);
	int kept = dup(ph_unixsock_fd(sock)), waits = dial();
	char aside[160];
	(void)snprintf(aside, sizeof aside, "%s.aside", path);
	ck_assert_int_eq(rename(path, aside), 0);
	ph_unixsock_close(sock);
	ck_assert_int_eq(rename(aside, path), 0);
	ck_assert_int_eq(
		ph_unixsock_take(base, kept, path, 0666, (gid_t)-1, on_accept, NULL, &sock, &err),
		0);
	ck_assert_int_eq(ph_unixsock_fd(sock), kept);
	ck_assert_int_ne(fcntl(kept, F_GETFD) & FD_CLOEXEC, 0);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0666);
	help_run_until(base, &accepted, 1);
	close(waits);
}
END_TEST

START_TEST(what_is_another_one_is_not_taken_over)
{
	struct ph_err err;
	int pair[2];
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	ck_assert_int_eq(ph_unixsock_take(base, pair[0], path, 0600, (gid_t)-1, on_accept, NULL,
				 &sock, &err),
		0);
	close(pair[1]);
	int fd = dial();
	ck_assert_int_ge(fd, 0);
	help_run_until(base, &accepted, 1);
	close(fd);
}
END_TEST

START_TEST(bad_paths)
{
	char expected[512], long_path[160];
	struct ph_err err;
	help_write_file(path, "precious", 0600);
	ck_assert_int_eq(open_socket(0600, (gid_t)-1, on_accept, &err), -EEXIST);
	(void)snprintf(expected, sizeof expected, "'%s' stands there and is not a socket", path);
	ck_assert_str_eq(err.text, expected);
	ck_assert_int_eq(unlink(path), 0);
	memset(long_path, 'x', sizeof long_path);
	memcpy(long_path, "/tmp/", 5);
	long_path[108] = '\0';
	ck_assert_int_eq(
		ph_unixsock_open(base, long_path, 0600, (gid_t)-1, on_accept, NULL, &sock, &err),
		-ENAMETOOLONG);
	ck_assert_ptr_nonnull(strstr(err.text, "has 108 bytes, at most 107 are possible"));
	ck_assert_int_eq(ph_unixsock_open(base, "/no/dir/sock", 0600, (gid_t)-1, on_accept, NULL,
				 &sock, &err),
		-ENOENT);
	ck_assert_int_eq(
		ph_unixsock_open(base, "", 0600, (gid_t)-1, on_accept, NULL, &sock, &err), -EINVAL);
	ck_assert_ptr_null(sock);
}
END_TEST

START_TEST(closing_in_the_callback)
{
	struct ph_err err;
	ck_assert_int_eq(open_socket(0600, (gid_t)-1, close_at_once, &err), 0);
	int one = dial(), two = dial();
	help_run_until(base, &accepted, 1);
	help_run_for(base, 20);
	ck_assert_int_eq(accepted, 1);
	close(one);
	close(two);
}
END_TEST

START_TEST(without_descriptors_it_waits)
{
	struct ph_err err;
	struct rlimit before, few;
	struct rusage used[2];
	ck_assert_int_eq(open_socket(0600, (gid_t)-1, on_accept, &err), 0);
	int fd = dial();
	int next = dup(0);
	close(next);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
	few = before;
	few.rlim_cur = (rlim_t)next;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	(void)getrusage(RUSAGE_SELF, &used[0]);
	help_run_for(base, 350);
	(void)getrusage(RUSAGE_SELF, &used[1]);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	ck_assert_int_eq(accepted, 0);
	struct timeval spent;
	timersub(&used[1].ru_utime, &used[0].ru_utime, &spent);
	ck_assert_int_eq(spent.tv_sec, 0);
	ck_assert_int_lt(spent.tv_usec, 100000);
	help_run_until(base, &accepted, 1);
	close(fd);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("io_unixsock");
	TCase *tc = tcase_create("all");
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, peers_mode_and_group);
	tcase_add_test(tc, more_than_a_turn);
	tcase_add_test(tc, a_stale_one_is_replaced);
	tcase_add_test(tc, one_that_is_taken_over);
	tcase_add_test(tc, what_is_another_one_is_not_taken_over);
	tcase_add_test(tc, bad_paths);
	tcase_add_test(tc, closing_in_the_callback);
	tcase_add_test(tc, without_descriptors_it_waits);
	suite_add_tcase(suite, tc);
	return run_tests(suite);
}
