/* One probe of a port or an address: against servers that behave, and others. */
#include "io/probe.h"

#include "run_tests.h"
#include "tests/unit/io_help.h"

#include <arpa/inet.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <sys/socket.h>

#define TIMEOUT_MS 20000

static struct event_base *base;
static struct evconnlistener *server;
static uint16_t port;
static const char *answer; /* of the server; NULL: none, the connection stays open */
static bool hangs_up;
static char asked[4096];
static struct bufferevent *conns[16]; /* of the server, that are open */
static int calls;
static char why[256]; /* "": it serves */

static void on_bytes(struct bufferevent *conn, void *arg)
{
	size_t n = strlen(asked);
	(void)arg;
	n += bufferevent_read(conn, asked + n, sizeof asked - 1 - n);
	asked[n] = '\0';
	if (answer && strstr(asked, "\r\n\r\n"))
		bufferevent_write(conn, answer, strlen(answer));
}

static void on_event(struct bufferevent *conn, short what, void *arg)
{
	(void)arg;
	for (size_t i = 0; what & (BEV_EVENT_EOF | BEV_EVENT_ERROR) && i < 16; i++)
		if (conns[i] == conn) {
			bufferevent_free(conn);
			conns[i] = NULL;
		}
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *from,
	int n, void *arg)
{
	(void)listener, (void)from, (void)n, (void)arg;
	if (hangs_up) {
		close(fd);
		return;
	}
	struct bufferevent *conn = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
	bufferevent_setcb(conn, on_bytes, NULL, on_event, NULL);
	bufferevent_enable(conn, EV_READ | EV_WRITE);
	size_t at = 0;
	while (conns[at])
		ck_assert_uint_lt(++at, 16);
	conns[at] = conn;
}

static void setup(void)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof address;
	base = event_base_new();
	server = evconnlistener_new_bind(base, on_accept, NULL, LEV_OPT_CLOSE_ON_FREE, 16,
		(struct sockaddr *)&address, sizeof address);
	ck_assert_ptr_nonnull(server);
	ck_assert_int_eq(
		getsockname(evconnlistener_get_fd(server), (struct sockaddr *)&address, &n), 0);
	port = ntohs(address.sin_port);
	answer = NULL;
	hangs_up = false;
	calls = 0;
	asked[0] = '\0';
}

static void teardown(void)
{
	if (server)
		evconnlistener_free(server);
	server = NULL;
	for (size_t i = 0; i < 16; i++)
		if (conns[i])
			bufferevent_free(conns[i]);
	memset(conns, 0, sizeof conns);
	event_base_free(base);
}

static void on_done(void *arg, const char *text)
{
	(void)arg;
	calls++;
	(void)snprintf(why, sizeof why, "%s", text ? text : "");
	event_base_loopbreak(base);
}

/* What it ends with. */
static const char *ask(const char *path, uint64_t timeout_ms)
{
	struct ph_probe *probe;
	ck_assert_int_eq(
		ph_probe_net(base, "127.0.0.1", port, path, timeout_ms, on_done, NULL, &probe), 0);
	ck_assert_int_eq(calls, 0); /* never from within the call */
	event_base_dispatch(base);
	ck_assert_int_eq(calls, 1);
	return why;
}

START_TEST(a_port)
{
	ck_assert_str_eq(ask(NULL, TIMEOUT_MS), "");
}
END_TEST

START_TEST(a_closed_port)
{
	evconnlistener_free(server);
	server = NULL;
	ck_assert_str_eq(ask(_i == 0 ? NULL : "/", TIMEOUT_MS),
		_i == 0 ? "Connection refused" : "cannot connect");
}
END_TEST

START_TEST(statuses)
{
	static const struct {
		const char *answer, *why;
	} rows[] = {
		{"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", ""},
		{"HTTP/1.0 204 No Content\r\n\r\n", ""},
		{"HTTP/1.1 302 Found\r\nLocation: http://a.example/\r\n\r\n", ""},
		{"HTTP/1.1 399 X\r\n\r\n", ""},
		{"HTTP/1.1 400 Bad\r\n\r\n", "answered with status 400"},
		{"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy", "answered with status 503"},
		/* a body that never comes is not waited for */
		{"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n", ""},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", ""},
		{"SSH-2.0-OpenSSH_9.2\r\n\r\n", "the answer is no HTTP"},
	};
	answer = rows[_i].answer;
	ck_assert_str_eq(ask("/healthz?deep=1", TIMEOUT_MS), rows[_i].why);
	ck_assert_msg(strncmp(asked, "GET /healthz?deep=1 HTTP/1.1\r\n", 30) == 0, "%s", asked);
	ck_assert_ptr_nonnull(strstr(asked, "\r\nHost: 127.0.0.1:"));
}
END_TEST

START_TEST(no_answer)
{
	ck_assert_str_eq(ask("/", 50), "no answer within 50 ms");
}
END_TEST

START_TEST(a_server_that_hangs_up)
{
	hangs_up = true;
	ck_assert_msg(ask("/", TIMEOUT_MS)[0] != '\0', "it does not serve");
}
END_TEST

START_TEST(headers_without_end)
{
	static char flood[40000];
	memset(flood, 'a', sizeof flood - 1);
	memcpy(flood, "HTTP/1.1 200 OK\r\nX: ", 20);
	answer = flood;
	ck_assert_msg(ask("/", TIMEOUT_MS)[0] != '\0', "it does not serve");
}
END_TEST

START_TEST(ended_early)
{
	struct ph_probe *probe;
	int before = help_count_fds();
	ck_assert_int_eq(ph_probe_net(base, "127.0.0.1", port, _i == 0 ? NULL : "/", TIMEOUT_MS,
				 on_done, NULL, &probe),
		0);
	if (_i == 1) /* the request is out, its answer will never come; a port would have ended */
		(void)event_base_loop(base, EVLOOP_NONBLOCK);
	ph_probe_free(probe);
	ph_probe_free(NULL);
	evconnlistener_disable(server);
	for (int i = 0; i < 20; i++)
		(void)event_base_loop(base, EVLOOP_NONBLOCK);
	ck_assert_int_eq(calls, 0);
	ck_assert_int_eq(help_count_fds(), before);
}
END_TEST

START_TEST(no_address)
{
	struct ph_probe *probe = NULL;
	for (int http = 0; http < 2; http++)
		ck_assert_int_eq(ph_probe_net(base, "nobody", port, http ? "/" : NULL, TIMEOUT_MS,
					 on_done, NULL, &probe),
			-22);
	ck_assert_ptr_null(probe);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("io_probe");
	TCase *tc = tcase_create("probe");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_port);
	tcase_add_loop_test(tc, a_closed_port, 0, 2);
	tcase_add_loop_test(tc, statuses, 0, 9);
	tcase_add_test(tc, no_answer);
	tcase_add_test(tc, a_server_that_hangs_up);
	tcase_add_test(tc, headers_without_end);
	tcase_add_loop_test(tc, ended_early, 0, 2);
	tcase_add_test(tc, no_address);
	suite_add_tcase(suite, tc);
	return run_tests(suite);
}
