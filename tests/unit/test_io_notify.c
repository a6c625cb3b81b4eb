/* Both ends of the sd_notify protocol: the socket of the workers, and what the daemon itself sends.
 */
#include "io/notify.h"

#include "io/proc.h"
#include "io/sdnotify.h"
#include "run_tests.h"
#include "tests/unit/io_help.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

static struct event_base *base;
static struct ph_notify *notify;
static char *dir, path[128];
static int received;
static struct ph_notify_message last;
static char last_status[PH_NOTIFY_BYTES_MAX];

static void on_message(void *arg, const struct ph_notify_message *message)
{
	(void)arg;
	last = *message;
	(void)snprintf(last_status, sizeof last_status, "%s",
		message->status ? message->status : "(none)");
	received++;
}

static void setup(void)
{
	struct ph_err err = {""};
	dir = help_dir();
	(void)snprintf(path, sizeof path, "%s/notify", dir);
	base = event_base_new();
	received = 0;
	ck_assert_int_eq(ph_notify_open(base, path, 0666, on_message, NULL, &notify, &err), 0);
	ck_assert_int_eq(setenv("NOTIFY_SOCKET", path, 1), 0);
}

static void teardown(void)
{
	ph_notify_close(notify);
	ck_assert_int_eq(access(path, F_OK), -1);
	event_base_free(base);
	help_remove(dir);
	(void)unsetenv("NOTIFY_SOCKET");
	(void)unsetenv("WATCHDOG_USEC");
	(void)unsetenv("WATCHDOG_PID");
}

/* Sends bytes and up to n_fds copies of `fd`. */
static void send_datagram(const void *bytes, size_t n, int fd, size_t n_fds)
{
	static union {
		char bytes[CMSG_SPACE(253 * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char copy[PH_NOTIFY_BYTES_MAX + 100];
	memcpy(copy, bytes, n);
	struct iovec part = {copy, n};
	struct msghdr header = {.msg_name = &address,
		.msg_namelen = sizeof address,
		.msg_iov = &part,
		.msg_iovlen = 1};
	memcpy(address.sun_path, path, strlen(path) + 1);
	if (n_fds) {
		header.msg_control = &control;
		header.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&header);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		for (size_t i = 0; i < n_fds; i++)
			memcpy(CMSG_DATA(c) + i * sizeof fd, &fd, sizeof fd);
	}
	int out = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(sendmsg(out, &header, 0), (ssize_t)n);
	close(out);
}

static void send_text(const char *text)
{
	send_datagram(text, strlen(text), -1, 0);
	help_run_until(base, &received, received + 1);
}

START_TEST(all_variables)
{
	send_text("READY=1\nSTATUS=Serving 3 rooms\nMAINPID=4711\nWATCHDOG=1\n"
		  "EXTEND_TIMEOUT_USEC=1500\nSTOPPING=1\nRELOADING=1\nX=y\nnonsense\n\nERRNO=2\n");
	ck_assert(last.ready && last.stopping && last.reloading && last.watchdog && !last.trigger);
	ck_assert_str_eq(last_status, "Serving 3 rooms");
	ck_assert_int_eq(last.main_pid, 4711);
	ck_assert_uint_eq(last.extend_ms, 2);
	ck_assert_int_eq(last.pid, getpid());
	ck_assert_uint_eq(last.uid, geteuid());
	ck_assert_int_eq(ph_proc_session(last.pid), getsid(0));
	send_text("WATCHDOG=trigger");
	ck_assert(last.trigger && !last.watchdog && !last.ready);
	ck_assert_str_eq(last_status, "(none)");
}
END_TEST

static const char *const nonsense[] = {"READY=0", "READY=", "READY=11", "READY", "=", "\n\n\n",
	"MAINPID=0", "MAINPID=-4", "MAINPID=x", "MAINPID=99999999999999999999", "READY =1",
	" READY=1", "ready=1", "EXTEND_TIMEOUT_USEC=1e3", "WATCHDOG=2", "FDSTORE=1",
	"WATCHDOG_USEC=5"};

START_TEST(nonsense_says_nothing)
{
	send_text(nonsense[_i]);
	ck_assert(!last.ready && !last.stopping && !last.reloading && !last.watchdog);
	ck_assert(!last.trigger);
	ck_assert_int_eq(last.main_pid, 0);
	ck_assert_uint_eq(last.extend_ms, 0);
}
END_TEST

START_TEST(a_status_is_made_clean)
{
	send_text("STATUS=\xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80");
	ck_assert_str_eq(last_status, "\xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80");
	send_text("STATUS=a\tb\x01\x7f\xff\xc0\x80\xed\xa0\x80\xf5\x80\xc3");
	ck_assert_str_eq(last_status, "a b???????????");
	send_text("STATUS=");
	ck_assert_str_eq(last_status, "");
	send_datagram("STATUS=x\0READY=1", 16, -1, 0);
	help_run_until(base, &received, received + 1);
	ck_assert(!last.ready);
}
END_TEST

START_TEST(large_and_empty_datagrams)
{
	static char large[PH_NOTIFY_BYTES_MAX + 1];
	memset(large, 'x', sizeof large);
	memcpy(large, "READY=1\nSTATUS=", 15);
	send_datagram(large, sizeof large, -1, 0);
	send_datagram("", 0, -1, 0);
	send_datagram(large, sizeof large - 1, -1, 0);
	help_run_until(base, &received, 2);
	help_run_for(base, 10);
	ck_assert_int_eq(received, 2); /* the empty one and that of exactly 8 KiB */
	ck_assert(last.ready);
	ck_assert_uint_eq(strlen(last_status), PH_NOTIFY_BYTES_MAX - 15);
}
END_TEST

START_TEST(a_flood_is_taken_in_turns)
{
	int before = help_count_fds();
	for (int i = 0; i < 1000; i++) {
		send_datagram("WATCHDOG=1", 10, -1, 0);
		if (i % 8 == 7)
			help_run_until(base, &received, i + 1);
	}
	ck_assert_int_eq(received, 1000);
	ck_assert_int_eq(help_count_fds(), before);
}
END_TEST

START_TEST(a_barrier_made_by_hand)
{
	int ends[2], before = help_count_fds();
	char c;
	ck_assert_int_eq(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	send_datagram("BARRIER=1", 9, ends[1], 1);
	send_datagram("READY=1", 7, ends[1], 253);
	close(ends[1]);
	ck_assert_int_eq(read(ends[0], &c, 1), -1);
	ck_assert_int_eq(errno, EAGAIN);
	help_run_until(base, &received, 2);
	ck_assert_int_eq(read(ends[0], &c, 1), 0); /* end of file: all of them are closed */
	close(ends[0]);
	ck_assert_int_eq(help_count_fds(), before);
	ck_assert(last.ready);
}
END_TEST

START_TEST(systemd_notify_does_not_hang)
{
	if (access("/usr/bin/systemd-notify", X_OK) < 0)
		return;
	pid_t pid = fork();
	if (!pid) {
		execl("/usr/bin/systemd-notify", "systemd-notify", "--ready", "--status=up",
			(char *)NULL);
		_exit(127);
	}
	/* its text, and its barrier */
	help_run_until(base, &received, 2);
	int status;
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0); /* else its barrier was waited for in vain, 5 s */
}
END_TEST

/* ---- the daemon's own */

START_TEST(what_the_daemon_sends)
{
	ck_assert_int_eq(ph_sdnotify_ready(), 0);
	help_run_until(base, &received, 1);
	ck_assert(last.ready);
	ck_assert_int_eq(ph_sdnotify_status("12 children,\nall well"), 0);
	help_run_until(base, &received, 2);
	ck_assert_str_eq(last_status, "12 children, all well");
	ck_assert_int_eq(ph_sdnotify_watchdog(), 0);
	help_run_until(base, &received, 3);
	ck_assert(last.watchdog);
	ck_assert_int_eq(ph_sdnotify_stopping(), 0);
	help_run_until(base, &received, 4);
	ck_assert(last.stopping);
	ck_assert_int_eq(ph_sdnotify_reloading(), 0);
	help_run_until(base, &received, 5);
	ck_assert(last.reloading);
	ck_assert_int_eq(ph_sdnotify_store("listen-1", STDIN_FILENO), 0);
	help_run_until(base, &received, 6);
	ck_assert_int_eq(ph_sdnotify_unstore("listen-1"), 0);
	help_run_until(base, &received, 7);
	char large[5000];
	memset(large, 'x', sizeof large - 1);
	large[sizeof large - 1] = '\0';
	ck_assert_int_eq(ph_sdnotify_status(large), -EINVAL);
}
END_TEST

START_TEST(nobody_to_tell)
{
	(void)unsetenv("NOTIFY_SOCKET");
	ck_assert_int_eq(ph_sdnotify_ready(), 0);
	(void)setenv("NOTIFY_SOCKET", "relative", 1);
	ck_assert_int_eq(ph_sdnotify_ready(), -EINVAL);
	(void)setenv("NOTIFY_SOCKET", "/", 1);
	ck_assert_int_eq(ph_sdnotify_ready(), -EINVAL);
	(void)setenv("NOTIFY_SOCKET", "/no/such/socket", 1);
	ck_assert_int_eq(ph_sdnotify_ready(), -ENOENT);
}
END_TEST

START_TEST(an_abstract_socket)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char name[64], text[256];
	int n = snprintf(name, sizeof name, "@ph-test-%d", (int)getpid());
	memcpy(address.sun_path, name, (size_t)n);
	address.sun_path[0] = '\0';
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	socklen_t length = (socklen_t)(sizeof address.sun_family + (size_t)n);
	ck_assert_int_eq(bind(fd, (const struct sockaddr *)&address, length), 0);
	(void)setenv("NOTIFY_SOCKET", name, 1);
	ck_assert_int_eq(ph_sdnotify_reloading(), 0);
	ssize_t got = recv(fd, text, sizeof text - 1, 0);
	ck_assert_int_gt(got, 0);
	text[got] = '\0';
	ck_assert_ptr_nonnull(strstr(text, "RELOADING=1\nMONOTONIC_USEC="));
	/* nobody reads: an answer in place of a wait */
	int r = 0;
	for (int i = 0; !r && i < 100000; i++)
		r = ph_sdnotify_watchdog();
	ck_assert_int_eq(r, -EAGAIN);
	close(fd);
}
END_TEST

START_TEST(watchdog_period)
{
	char pid[32];
	ck_assert_uint_eq(ph_sdnotify_watchdog_ms(), 0);
	(void)setenv("WATCHDOG_USEC", "10000000", 1);
	ck_assert_uint_eq(ph_sdnotify_watchdog_ms(), 10000);
	(void)setenv("WATCHDOG_PID", "1", 1);
	ck_assert_uint_eq(ph_sdnotify_watchdog_ms(), 0);
	(void)snprintf(pid, sizeof pid, "%d", (int)getpid());
	(void)setenv("WATCHDOG_PID", pid, 1);
	ck_assert_uint_eq(ph_sdnotify_watchdog_ms(), 10000);
	(void)setenv("WATCHDOG_USEC", "5s", 1);
	ck_assert_uint_eq(ph_sdnotify_watchdog_ms(), 0);
	(void)setenv("WATCHDOG_USEC", "0", 1);
	ck_assert_uint_eq(ph_sdnotify_watchdog_ms(), 0);
	(void)setenv("WATCHDOG_USEC", "7", 1);
	ck_assert_uint_eq(ph_sdnotify_watchdog_ms(), 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("io_notify");
	TCase *tc = tcase_create("all");
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, all_variables);
	tcase_add_loop_test(tc, nonsense_says_nothing, 0, sizeof nonsense / sizeof *nonsense);
	tcase_add_test(tc, a_status_is_made_clean);
	tcase_add_test(tc, large_and_empty_datagrams);
	tcase_add_test(tc, a_flood_is_taken_in_turns);
	tcase_add_test(tc, a_barrier_made_by_hand);
	tcase_add_test(tc, systemd_notify_does_not_hang);
	tcase_add_test(tc, what_the_daemon_sends);
	tcase_add_test(tc, nobody_to_tell);
	tcase_add_test(tc, an_abstract_socket);
	tcase_add_test(tc, watchdog_period);
	suite_add_tcase(suite, tc);
	return run_tests(suite);
}
