/* The control socket's connections: framing, bounds, and clients of every kind of manners. */
#include <check.h>
#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/clock.h"
#include "run_tests.h"
#include "shell_ctl_conn.h"
#include "shell_ctl_full.h"

#define WAIT_MS 20000

static struct event_base *base;
static struct ph_ctl_conns *conns;
static char dir[] = "/tmp/prochub-ctl-XXXXXX", path[64];
static unsigned requests, closes;
static struct ph_ctl_conn *held; /* of the last request `hold` */
static uint64_t held_req;

/* ---- a daemon of three verbs: echo answers, hold does not yet, flood answers too much */

static void on_request(
	void *arg, struct ph_ctl_conn *conn, const char *op, uint64_t req, json_t *args)
{
	(void)arg;
	requests++;
	if (!strcmp(op, "hold")) {
		held = conn;
		held_req = req;
	} else if (!strcmp(op, "echo")) {
		ph_ctl_conn_answer(conn, req, json_pack("{s:O}", "said", args), false);
	} else if (!strcmp(op, "flood")) {
		char *filling = calloc(1, (1u << 20) + 1);
		ck_assert_ptr_nonnull(filling);
		memset(filling, 'x', 1u << 20);
		for (int i = 0; i < 80; i++)
			ph_ctl_conn_answer(conn, req, json_pack("{s:s}", "x", filling), true);
		free(filling);
	} else {
		ph_ctl_conn_refuse(conn, req, "unknown_op", "what\xff", NULL);
	}
}

static void on_closed(void *arg, struct ph_ctl_conn *conn)
{
	(void)arg;
	closes++;
	if (held == conn)
		held = NULL;
}

/* ---- clients */

static void nothing(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
}

static void turn(void)
{
	struct timeval wait = {0, 10000};
	struct event *timer = evtimer_new(base, nothing, NULL);
	evtimer_add(timer, &wait);
	event_base_loop(base, EVLOOP_ONCE);
	event_free(timer);
}

#define UNTIL(condition) \
	do { \
		uint64_t end_ms_ = ph_clock_now_ms() + WAIT_MS; \
		while (!(condition)) { \
			ck_assert_msg(ph_clock_now_ms() < end_ms_, "waited for " #condition); \
			turn(); \
		} \
	} while (0)

static int dial(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	(void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
	return fd;
}

static void say(int fd, const char *bytes, size_t n)
{
	while (n) {
		ssize_t sent = send(fd, bytes, n, MSG_NOSIGNAL);
		if (sent < 0 && errno == EAGAIN) {
			turn();
			continue;
		}
		if (sent < 0)
			return; /* the daemon has closed: what it answered is still to be read */
		bytes += sent;
		n -= (size_t)sent;
	}
}

static void say_line(int fd, const char *line)
{
	say(fd, line, strlen(line));
	say(fd, "\n", 1);
}

/* Until a newline; "" at the end of file. */
static const char *hear(int fd)
{
	static char line[4096];
	size_t n = 0;
	uint64_t end_ms = ph_clock_now_ms() + WAIT_MS;
	while (n + 1 < sizeof line) {
		ssize_t got = recv(fd, line + n, 1, 0);
		if (got == 0 || (got < 0 && errno != EAGAIN))
			break;
		if (got < 0) {
			ck_assert_msg(ph_clock_now_ms() < end_ms, "no answer");
			turn();
		} else if (line[n++] == '\n') {
			n--;
			break;
		}
	}
	line[n] = '\0';
	return line;
}

static void set_up(void)
{
	static const struct ph_ctl_callbacks callbacks = {on_request, on_closed};
	struct ph_err err = {""};
	requests = closes = 0;
	held = NULL;
	strcpy(strrchr(dir, '-'), "-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	(void)snprintf(path, sizeof path, "%s/c", dir);
	base = event_base_new();
	int error =
		ph_ctl_conns_new(base, -1, path, 0600, (gid_t)-1, &callbacks, NULL, &conns, &err);
	ck_assert_msg(error == 0, "%s", err.text);
}

static void tear_down(void)
{
	ph_ctl_conns_free(conns);
	event_base_free(base);
	ck_assert_int_eq(access(path, F_OK), -1);
	(void)rmdir(dir);
}

/* ---- tests */

START_TEST(answers)
{
	int fd = dial();
	say_line(fd, "{\"op\":\"hold\",\"req\":1}");
	say_line(fd, "{\"op\":\"echo\",\"req\":2}");
	say_line(fd, "{\"op\":\"xyz\",\"req\":3}");
	ck_assert_str_eq(hear(fd), "{\"re\":2,\"ok\":true,\"said\":{\"op\":\"echo\",\"req\":2}}");
	ck_assert_str_eq(
		hear(fd), "{\"re\":3,\"ok\":false,\"code\":\"unknown_op\",\"text\":\"what?\"}");
	ph_ctl_conn_answer(held, held_req, json_pack("{s:i}", "n", 1), true);
	ph_ctl_conn_refuse(held, held_req, "partly", "some", json_pack("{s:[]}", "left"));
	ck_assert_str_eq(hear(fd), "{\"re\":1,\"ok\":true,\"more\":true,\"n\":1}");
	ck_assert_str_eq(hear(fd),
		"{\"re\":1,\"ok\":false,\"code\":\"partly\",\"text\":\"some\",\"left\":[]}");
	close(fd);
	UNTIL(closes == 1);
}
END_TEST

/* Only `add` may have longer lines, in pieces too, and another line behind it may not. */
START_TEST(long_lines)
{
	static char line[(1 << 20) + 200];
	static const char *const heads[] = {"{\"op\":\"add\",\"req\":1,\"config\":\"",
		"{\"config\":\"", "{\"op\":\"echo\",\"req\":1,\"config\":\""};
	static const char *const tails[] = {"\"}", "\",\"op\":\"add\",\"req\":1}", "\"}"};
	size_t size = _i < 2 ? 1 << 20 : 70000, head = strlen(heads[_i]), tail = strlen(tails[_i]);
	int fd = dial();
	memset(line, 'x', size);
	memcpy(line, heads[_i], head);
	memcpy(line + size - tail, tails[_i], tail);
	line[size] = '\n';
	say(fd, line, size + 1);
	if (_i < 2) {
		ck_assert_ptr_nonnull(
			strstr(hear(fd), "{\"re\":1,\"ok\":false,\"code\":\"unknown_op\""));
		ck_assert_uint_eq(requests, 1);
		memset(line + head, 'x', size + 1 - head);
		say(fd, line, _i ? 70000 : size + 1); /* too long now; or one that is no `add` */
		if (_i)
			say(fd, "\"}\n", 3);
	}
	ck_assert_ptr_nonnull(
		strstr(hear(fd), _i ? "\"bad_request\"" : "longer than 1048576 bytes"));
	ck_assert_str_eq(hear(fd), "");
	close(fd);
}
END_TEST

static const char *const bad_lines[] = {"", "hello", "[]", "{\"req\":1}", "{\"op\":\"echo\"}",
	"{\"op\":\"echo\",\"req\":-1}", "{\"op\":1,\"req\":1}",
	"{\"op\":\"echo\",\"req\":1,\"req\":2}", "{\"op\":\"echo\",\"req\":1,\"x\":\"\xff\"}"};

START_TEST(bad_line)
{
	int other = dial(), fd = dial();
	say_line(fd, "{\"op\":\"hold\",\"req\":9}");
	say_line(fd, bad_lines[_i]);
	say_line(fd, "{\"op\":\"echo\",\"req\":5}"); /* not looked at any more */
	ck_assert_ptr_nonnull(strstr(hear(fd), "\"ok\":false,\"code\":\"bad_request\""));
	ck_assert_str_eq(hear(fd), "");
	UNTIL(closes == 1);
	ck_assert_uint_eq(requests, 1);
	ck_assert_ptr_null(held);
	say_line(other, "{\"op\":\"echo\",\"req\":6}");
	ck_assert_ptr_nonnull(strstr(hear(other), "\"re\":6"));
	close(fd);
	close(other);
}
END_TEST

START_TEST(long_line)
{
	int fd = dial();
	char *line = malloc(70000);
	ck_assert_ptr_nonnull(line);
	memset(line, ' ', 70000);
	memcpy(line, "{\"op\":\"echo\",\"req\":1}", 21);
	say(fd, line, 65536);
	say(fd, "\n", 1);
	ck_assert_ptr_nonnull(strstr(hear(fd), "\"re\":1,\"ok\":true"));
	say(fd, line, 70000); /* no newline ever comes */
	ck_assert_ptr_nonnull(strstr(hear(fd), "longer than 65536"));
	UNTIL(closes == 1);
	free(line);
	close(fd);
}
END_TEST

/* Half closed: answered all the same. Gone: noticed, though nothing is read. */
START_TEST(half_closed)
{
	int fd = dial();
	say_line(fd, "{\"op\":\"hold\",\"req\":1}");
	shutdown(fd, SHUT_WR);
	UNTIL(held);
	for (int i = 0; i < 10; i++)
		turn();
	ck_assert_uint_eq(closes, 0);
	ph_ctl_conn_answer(held, held_req, json_object(), false);
	ck_assert_str_eq(hear(fd), "{\"re\":1,\"ok\":true}");
	ck_assert_str_eq(hear(fd), "");
	UNTIL(closes == 1);
	close(fd);

	fd = dial();
	say_line(fd, "{\"op\":\"hold\",\"req\":1}");
	shutdown(fd, SHUT_WR);
	UNTIL(held);
	for (int i = 0; i < 10; i++)
		turn();
	close(fd);
	UNTIL(closes == 2);
}
END_TEST

START_TEST(too_much)
{
	int fd = dial();
	say_line(fd, "{\"op\":\"flood\",\"req\":1}");
	UNTIL(closes == 1);
	close(fd);
	/* requests that nobody answers */
	fd = dial();
	for (unsigned i = 0; i < PH_CTL_OPEN; i++)
		say_line(fd, "{\"op\":\"hold\",\"req\":1}");
	say_line(fd, "{\"op\":\"hold\",\"req\":7}");
	ck_assert_ptr_nonnull(strstr(hear(fd), "{\"re\":7,\"ok\":false,\"code\":\"refused\""));
	close(fd);
	UNTIL(closes == 2);
}
END_TEST

/* Each waits for an answer: no process takes the place of another one of its own. */
START_TEST(many)
{
	int fds[PH_CTL_CONNS + 1];
	for (unsigned i = 0; i <= PH_CTL_CONNS; i++) {
		fds[i] = dial();
		say_line(fds[i], "{\"op\":\"hold\",\"req\":1}");
		turn();
	}
	ck_assert_ptr_nonnull(strstr(hear(fds[PH_CTL_CONNS]), "too many connections"));
	close(fds[0]);
	UNTIL(closes == 1);
	close(fds[PH_CTL_CONNS]);
	fds[0] = dial();
	say_line(fds[0], "{\"op\":\"echo\",\"req\":1}");
	ck_assert_ptr_nonnull(strstr(hear(fds[0]), "\"re\":1,\"ok\":true"));
	/* an answer that was given and not yet written when the daemon ends */
	say_line(fds[0], "{\"op\":\"hold\",\"req\":2}");
	UNTIL(held_req == 2);
	ph_ctl_conn_answer(held, 2, json_object(), false);
	ph_ctl_conns_free(conns);
	conns = NULL;
	ck_assert_str_eq(hear(fds[0]), "{\"re\":2,\"ok\":true}");
	for (unsigned i = 0; i < PH_CTL_CONNS; i++)
		close(fds[i]);
}
END_TEST

/* The one that has been idle for longest gives way, and hears why. */
START_TEST(idle)
{
	int fds[PH_CTL_CONNS + 1];
	for (unsigned i = 0; i < PH_CTL_CONNS; i++)
		fds[i] = dial();
	uint64_t until_ms = ph_clock_now_ms() + PH_CTL_IDLE_MS + 100;
	while (ph_clock_now_ms() < until_ms)
		turn();
	say_line(fds[0], "{\"op\":\"hold\",\"req\":1}");
	say_line(fds[1], "{\"op\":\"echo\",\"req\":1}");
	ck_assert_ptr_nonnull(strstr(hear(fds[1]), "\"ok\":true"));
	fds[PH_CTL_CONNS] = dial();
	say_line(fds[PH_CTL_CONNS], "{\"op\":\"echo\",\"req\":1}");
	ck_assert_ptr_nonnull(strstr(hear(fds[PH_CTL_CONNS]), "\"re\":1,\"ok\":true"));
	ck_assert_ptr_nonnull(strstr(hear(fds[2]), "too many connections"));
	ck_assert_str_eq(hear(fds[2]), "");
	ck_assert_uint_eq(closes, 1);
	for (unsigned i = 0; i <= PH_CTL_CONNS; i++)
		close(fds[i]);
}
END_TEST

/* Another process holds them all, with requests that are open: one of those gives way. */
START_TEST(held_by_another)
{
	int held_fds[PH_CTL_CONNS], ends[2];
	ck_assert_int_eq(pipe(ends), 0);
	pid_t child = fork();
	if (child == 0) {
		for (unsigned i = 0; i < PH_CTL_CONNS; i++) {
			held_fds[i] = dial();
			(void)!write(held_fds[i], "{\"op\":\"hold\",\"req\":1}\n", 22);
		}
		close(ends[1]);
		(void)pause();
		_exit(0);
	}
	close(ends[1]);
	UNTIL(requests == PH_CTL_CONNS);
	int fd = dial();
	say_line(fd, "{\"op\":\"echo\",\"req\":1}");
	ck_assert_ptr_nonnull(strstr(hear(fd), "\"re\":1,\"ok\":true"));
	ck_assert_uint_eq(closes, 1);
	(void)kill(child, SIGKILL);
	ck_assert_int_eq(waitpid(child, NULL, 0), child);
	close(ends[0]);
	close(fd);
}
END_TEST

#define NOBODY 9 /* an index that is none */

/* a letter: its process and user, in lower case idle; the digits: since how many s, from 0 to 9 */
static const struct {
	const char *peers, *times;
	char newcomer;
	size_t gives_way;
} rows[] = {
	{"AbcD", "1325", 'A', 2}, /* the longest idle one, whoever comes */
	{"AAAB", "1325", 'B', 1}, /* the newest of whoever has more */
	{"AAAB", "1325", 'A', NOBODY}, {"ABCD", "1325", 'E', NOBODY}, {"AB", "12", 'A', NOBODY},
	{"XYZA", "6978", 'A', 1}, /* X, Y and Z are of one user */
	{"XXXYZ", "13254", 'Z', 1}, {"XYZ", "132", 'X', NOBODY},
	{"ABCD", "\001\0025\001", 'E', 1}, /* who follows something, the newest of them */
	{"AAB", "55\001", 'B', 2}, {"aBC", "912", 'D', NOBODY}, /* its request may be on its way */
};

static struct ph_ctl_peer peer_of(char letter, char time)
{
	char upper = (char)(letter & ~0x20);
	return (struct ph_ctl_peer){.uid = upper >= 'X' ? 1 : 100u + (unsigned char)upper,
		.pid = upper,
		.idle = letter != upper,
		.since_ms =
			1000000 - 1000 * (time < '0' ? 20 - (uint64_t)time : '9' - (uint64_t)time)};
}

START_TEST(gives_way)
{
	struct ph_ctl_peer peers[NOBODY], newcomer = peer_of(rows[_i].newcomer, '9');
	size_t n = strlen(rows[_i].peers);
	for (size_t i = 0; i < n; i++)
		peers[i] = peer_of(rows[_i].peers[i], rows[_i].times[i]);
	size_t found = ph_ctl_gives_way(peers, n, &newcomer);
	ck_assert_uint_eq(found, rows[_i].gives_way == NOBODY ? n : rows[_i].gives_way);
}
END_TEST

int main(void)
{
	(void)signal(SIGPIPE, SIG_IGN); /* as the daemon does */
	Suite *s = suite_create("ctl_conn");
	TCase *t = tcase_create("ctl_conn");
	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_test(t, answers);
	tcase_add_loop_test(t, long_lines, 0, 3);
	tcase_add_loop_test(t, bad_line, 0, sizeof bad_lines / sizeof *bad_lines);
	tcase_add_test(t, long_line);
	tcase_add_test(t, half_closed);
	tcase_add_test(t, too_much);
	tcase_add_test(t, many);
	tcase_add_test(t, idle);
	tcase_add_test(t, held_by_another);
	tcase_add_loop_test(t, gives_way, 0, sizeof rows / sizeof *rows);
	tcase_set_timeout(t, 60);
	suite_add_tcase(s, t);
	return run_tests(s);
}
