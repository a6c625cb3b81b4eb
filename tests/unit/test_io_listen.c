/* Listening sockets for others: opened, in the way of each other, taken back from a process. */
#include "io/listen.h"

#include "run_tests.h"
#include "tests/unit/io_help.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

static char *dir, path[100];

static void setup(void)
{
	dir = help_dir();
	(void)snprintf(path, sizeof path, "%s/sock", dir);
}

static void teardown(void)
{
	help_remove(dir);
}

static uint16_t free_port(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(fd, (const struct sockaddr *)&a, sizeof a), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&a, &n), 0);
	close(fd);
	return ntohs(a.sin_port);
}

static int dial(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	(void)snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
	int error = connect(fd, (const struct sockaddr *)&a, sizeof a) < 0 ? -errno : 0;
	close(fd);
	return error;
}

static int open_at(const struct ph_listen_at *at, int expected)
{
	struct ph_err err = {""};
	int fd = -1;
	int rc = ph_listen_open(at, &fd, &err);
	ck_assert_msg(rc == expected, "%d: %s", rc, err.text);
	ck_assert_msg((rc == 0) == (err.text[0] == 0), "%s", err.text);
	return fd;
}

START_TEST(test_tcp)
{
	static const char *const hosts[] = {"127.0.0.1", "0.0.0.0", "::1", "::"};
	struct ph_listen_at at = {.host = hosts[_i], .port = free_port()};
	int fd = open_at(&at, 0);
	struct ph_listen_at other = at;
	other.port++;
	ck_assert(ph_listen_is(fd, &at));
	ck_assert(!ph_listen_is(fd, &other));
	ck_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	ck_assert(!(fcntl(fd, F_GETFL) & O_NONBLOCK));
	(void)open_at(&at, -EADDRINUSE);
	close(fd);
	close(open_at(&at, 0));
}
END_TEST

/* One address of a port where a socket of ours has all, and the other way round. */
START_TEST(test_beside)
{
	static const char *const hosts[][2] = {{"127.0.0.1", "0.0.0.0"}, {"0.0.0.0", "127.0.0.1"},
		{"::", "127.0.0.1"}, {"127.0.0.1", "::"}, {"::1", "::"}};
	struct ph_listen_at at = {.host = hosts[_i][0], .port = free_port()};
	int old = open_at(&at, 0);
	at.host = hosts[_i][1];
	(void)open_at(&at, -EADDRINUSE);
	at.beside = true;
	(void)open_at(&at, -EADDRINUSE);
	ck_assert_int_eq(ph_listen_share(old, true), 0);
	int fd = open_at(&at, 0);
	ck_assert_int_eq(ph_listen_share(old, false), 0);
	ck_assert(ph_listen_is(fd, &at));
	at.beside = false;
	(void)open_at(&at, -EADDRINUSE);
	close(old);
	(void)open_at(&at, -EADDRINUSE);
	close(fd);
	close(open_at(&at, 0));
}
END_TEST

START_TEST(test_errors)
{
	struct ph_err err = {""};
	int fd = -1;
	struct ph_listen_at at = {.host = "192.0.2.1", .port = free_port()};
	ck_assert_int_eq(ph_listen_open(&at, &fd, &err), -EADDRNOTAVAIL);
	ck_assert_ptr_nonnull(strstr(err.text, "cannot listen at tcp://192.0.2.1:"));
	at = (struct ph_listen_at){.path = "/nowhere/at/all"};
	ck_assert_int_eq(ph_listen_open(&at, &fd, &err), -ENOENT);
	ck_assert_ptr_nonnull(strstr(err.text, "cannot listen at unix:/nowhere/at/all: "));
}
END_TEST

START_TEST(test_unix)
{
	struct ph_listen_at at = {.path = path};
	struct stat st;
	int fd = open_at(&at, 0);
	ck_assert(ph_listen_is(fd, &at));
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_mode & 0777, 0666);
	ck_assert_int_eq(dial(), 0);
	(void)open_at(&at, -EADDRINUSE);
	ck_assert_int_eq(dial(), 0);
	struct ph_listen_file file = ph_listen_file(&at);
	close(fd);
	ck_assert_int_eq(dial(), -ECONNREFUSED);
	int next = open_at(&at, 0); /* what nobody listens at is no obstacle */
	ck_assert_int_eq(dial(), 0);
	struct ph_listen_file newer = ph_listen_file(&at);
	ck_assert(file.inode != newer.inode || file.device == newer.device);
	ph_listen_unlink(&at, (struct ph_listen_file){newer.device, newer.inode + 1});
	ck_assert_int_eq(dial(), 0);
	ph_listen_unlink(&at, newer);
	ck_assert_int_eq(stat(path, &st), -1);
	close(next);
}
END_TEST

START_TEST(test_what_is_no_socket_stays)
{
	struct ph_listen_at at = {.path = path};
	int fd = open(path, O_CREAT | O_WRONLY, 0600);
	ck_assert_int_eq(write(fd, "x", 1), 1);
	close(fd);
	(void)open_at(&at, -EEXIST);
	struct stat st;
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_size, 1);
}
END_TEST

/* A process that holds `fd` as that number, and a pidfd of it. */
static pid_t holder(int fd, int number, int *ret_pidfd)
{
	pid_t pid = fork();
	if (pid == 0) {
		dup2(fd, number);
		(void)syscall(SYS_close_range, number + 1, ~0u, 0);
		for (int i = 3; i < number; i++)
			close(i);
		for (;;)
			pause();
	}
	*ret_pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	ck_assert_int_ge(*ret_pidfd, 0);
	return pid;
}

START_TEST(test_taken_back)
{
	struct ph_listen_at at = {.host = "127.0.0.1", .port = free_port()};
	struct ph_listen_at other = {.host = "127.0.0.1", .port = free_port()};
	int fd = open_at(&at, 0), pidfd = -1, back = -1;
	pid_t pid = holder(fd, 7, &pidfd);
	close(fd);
	int guess = _i ? 7 : 3; /* where it is, and where it is not */
	int rc = -ENOENT;
	for (int i = 0; i < 2000 && rc == -ENOENT; i++) { /* until the process has got so far */
		rc = ph_listen_take(pidfd, pid, guess, &at, &back);
		if (rc == -ENOENT)
			usleep(10000);
	}
	ck_assert_int_eq(rc, 0);
	ck_assert(ph_listen_is(back, &at));
	ck_assert(fcntl(back, F_GETFD) & FD_CLOEXEC);
	close(back);
	ck_assert_int_eq(ph_listen_take(pidfd, pid, guess, &other, &back), -ENOENT);
	kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	ck_assert_int_eq(ph_listen_take(pidfd, pid, guess, &at, &back), -ESRCH);
	close(pidfd);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("listen");
	Suite *suite = suite_create("io_listen");
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_loop_test(tcase, test_tcp, 0, 4);
	tcase_add_loop_test(tcase, test_beside, 0, 5);
	tcase_add_test(tcase, test_errors);
	tcase_add_test(tcase, test_unix);
	tcase_add_test(tcase, test_what_is_no_socket_stays);
	tcase_add_loop_test(tcase, test_taken_back, 0, 2);
	suite_add_tcase(suite, tcase);
	return run_tests(suite);
}
