#include "shell_ctl_conn.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

#include "io/clock.h"
#include "io/unixsock.h"
#include "proto/control.h"
#include "shell_ctl_full.h"
#include "shell_view_text.h"

#define HALF_OPEN_LOOK_MS 1000
#define LONG_OP "add"	       /* its lines may be longer */
#define LOOK_BYTES (32u << 10) /* of a line, before it is looked at whether it is one */

static const char too_long[] = "the line is longer than 65536 bytes";

struct ph_ctl_conn {
	struct ph_ctl_conns *owner;
	struct bufferevent *bev;
	struct ph_line lines;
	struct event *look; /* half open: is the other half still there? */
	unsigned open;	    /* requests without a last answer */
	struct ucred peer;
	uint64_t since_ms; /* of its last request or last answer */
	bool dead;	   /* nothing goes in or out; freed by `reap` */
	bool ending;	   /* reads no more; ends when all is written */
	bool half;	   /* ... and answered: the client has only stopped writing */
	struct ph_ctl_conn *prev, *next;
};

struct ph_ctl_conns {
	struct event_base *base;
	struct ph_unixsock *sock;
	struct ph_ctl_callbacks callbacks;
	void *arg;
	struct event *reap;
	struct ph_ctl_conn *all;
	size_t n; /* that are not dead */
};

/* ---- the end of a connection: always from the loop, since callers are in the middle of things */

static void conn_free(struct ph_ctl_conn *conn)
{
	DL_DELETE(conn->owner->all, conn);
	if (conn->look)
		event_free(conn->look);
	bufferevent_free(conn->bev);
	ph_line_fini(&conn->lines);
	free(conn);
}

static void conn_kill(struct ph_ctl_conn *conn)
{
	if (conn->dead)
		return;
	conn->dead = true;
	conn->owner->n--;
	(void)bufferevent_disable(conn->bev, EV_READ | EV_WRITE);
	event_active(conn->owner->reap, 0, 0);
}

static void on_reap(evutil_socket_t fd, short what, void *arg)
{
	struct ph_ctl_conns *conns = arg;
	struct ph_ctl_conn *conn, *next;
	(void)fd;
	(void)what;
	DL_FOREACH_SAFE(conns->all, conn, next)
	{
		if (!conn->dead)
			continue;
		conns->callbacks.closed(conns->arg, conn);
		conn_free(conn);
	}
}

static size_t waiting(const struct ph_ctl_conn *conn)
{
	return evbuffer_get_length(bufferevent_get_output(conn->bev));
}

size_t ph_ctl_conn_backlog(const struct ph_ctl_conn *conn)
{
	return waiting(conn);
}

static void end_when_done(struct ph_ctl_conn *conn)
{
	if (conn->ending && (!conn->half || conn->open == 0) && waiting(conn) == 0)
		conn_kill(conn);
}

/* ---- out */

static void put(struct ph_ctl_conn *conn, char *line, size_t n)
{
	if (!line || waiting(conn) + n > PH_CTL_OUTPUT || bufferevent_write(conn->bev, line, n))
		conn_kill(conn);
	free(line);
}

static void last_line(struct ph_ctl_conn *conn)
{
	if (conn->open)
		conn->open--;
	conn->since_ms = ph_clock_now_ms();
}

void ph_ctl_conn_answer(struct ph_ctl_conn *conn, uint64_t re, json_t *fields, bool more)
{
	size_t n = 0;
	if (!fields) {
		ph_ctl_conn_refuse(conn, re, "failed", "out of memory", NULL);
		return;
	}
	if (!more)
		last_line(conn);
	if (!conn->dead) {
		char *line = ph_answer_encode(re, fields, more, &n);
		put(conn, line, n);
	}
	json_decref(fields);
}

/* The line of a refusal; text may come from anywhere, so proto/control's own is too strict. */
static char *refusal(uint64_t re, const char *code, const char *text, json_t *fields, size_t *ret_n)
{
	json_t *line = json_pack("{s:I,s:b,s:s,s:o}", "re", (json_int_t)re, "ok", 0, "code", code,
		"text", ph_view_text(text));
	char *bytes = NULL;
	if (line && (!fields || json_object_update_missing(line, fields) == 0))
		bytes = json_dumps(line, JSON_COMPACT);
	json_decref(line);
	if (bytes) { /* the newline takes the place of the NUL */
		*ret_n = strlen(bytes) + 1;
		bytes[*ret_n - 1] = '\n';
	}
	return bytes;
}

void ph_ctl_conn_refuse(
	struct ph_ctl_conn *conn, uint64_t re, const char *code, const char *text, json_t *fields)
{
	size_t n = 0;
	last_line(conn);
	if (!conn->dead) {
		char *line = refusal(re, code, text, fields, &n);
		put(conn, line, n);
	}
	json_decref(fields);
}

/* ---- in */

static void stop_reading(struct ph_ctl_conn *conn)
{
	conn->ending = true;
	(void)bufferevent_disable(conn->bev, EV_READ);
	end_when_done(conn);
}

/* Not a request: said once, and that is the end of it. */
static void bad_line(struct ph_ctl_conn *conn, uint64_t re, const char *text)
{
	conn->open++;
	ph_ctl_conn_refuse(conn, re, "bad_request", text, NULL);
	stop_reading(conn);
}

static void take_line(struct ph_ctl_conn *conn, const char *line, size_t n)
{
	struct ph_request request;
	struct ph_err err = {""};
	int error = ph_request_decode(line, n, &request, &err);
	if (error) {
		bad_line(conn, request.req, err.text);
		return;
	}
	if (n > PH_LINE_MAX && strcmp(request.op, LONG_OP) != 0) {
		bad_line(conn, request.req, too_long);
		ph_request_fini(&request);
		return;
	}
	conn->open++;
	conn->since_ms = ph_clock_now_ms();
	if (conn->open > PH_CTL_OPEN)
		ph_ctl_conn_refuse(conn, request.req, "refused",
			"too many requests of this connection are not answered yet", NULL);
	else
		conn->owner->callbacks.request(
			conn->owner->arg, conn, request.op, request.req, request.args);
	ph_request_fini(&request);
}

/* A line that grows longer than others may only be one that adds children. */
static void allow_long(struct ph_ctl_conn *conn)
{
	static const char *const words[] = {"\"" LONG_OP "\"", "\"config\""};
	const char *bytes;
	size_t n;
	ph_line_rest(&conn->lines, &bytes, &n);
	for (size_t i = 0; n > LOOK_BYTES && i < sizeof words / sizeof words[0]; i++)
		if (memmem(bytes, n < PH_LINE_MAX ? n : PH_LINE_MAX, words[i], strlen(words[i])))
			ph_line_limit(&conn->lines, PH_LINE_MAX_ADD);
}

/* All whole lines that are there; 0, or what ph_line_next() says. */
static int take_lines(struct ph_ctl_conn *conn)
{
	char *line;
	size_t n;
	int r = 0;
	while (!conn->dead && !conn->ending && (r = ph_line_next(&conn->lines, &line, &n)) > 0) {
		take_line(conn, line, n);
		ph_line_limit(&conn->lines, PH_LINE_MAX);
		allow_long(conn);
	}
	return r < 0 ? r : 0;
}

static void on_read(struct bufferevent *bev, void *arg)
{
	struct ph_ctl_conn *conn = arg;
	struct evbuffer *input = bufferevent_get_input(bev);
	char bytes[16384];
	int n, r = 0;

	while (r == 0 && !conn->dead && !conn->ending &&
		(n = evbuffer_remove(input, bytes, sizeof bytes)) > 0) {
		if (conn->lines.max == PH_LINE_MAX)
			allow_long(conn);
		r = ph_line_feed(&conn->lines, bytes, (size_t)n);
		if (r == 0)
			r = take_lines(conn);
	}
	if (r == -EMSGSIZE)
		bad_line(conn, 0,
			conn->lines.max == PH_LINE_MAX ? too_long
						       : "the line is longer than 1048576 bytes");
	else if (r < 0)
		conn_kill(conn);
}

static void on_write(struct bufferevent *bev, void *arg)
{
	(void)bev;
	end_when_done(arg);
}

static bool hung_up(struct ph_ctl_conn *conn)
{
	struct pollfd look = {.fd = bufferevent_getfd(conn->bev)};
	return poll(&look, 1, 0) > 0 && (look.revents & (POLLHUP | POLLERR));
}

static void on_look(evutil_socket_t fd, short what, void *arg)
{
	struct ph_ctl_conn *conn = arg;
	(void)fd;
	(void)what;
	if (hung_up(conn))
		conn_kill(conn);
	else
		end_when_done(conn);
}

/*
 * The client writes no more. One that has only closed that half (`socat`, `nc -N`) still gets its
 * answers; nothing tells when it goes altogether, so that is looked for.
 */
static void half_open(struct ph_ctl_conn *conn)
{
	struct timeval every = {
		HALF_OPEN_LOOK_MS / 1000, (suseconds_t)(HALF_OPEN_LOOK_MS % 1000) * 1000};
	conn->half = true;
	stop_reading(conn);
	if (conn->dead)
		return;
	conn->look = event_new(conn->owner->base, -1, EV_PERSIST, on_look, conn);
	if (hung_up(conn) || !conn->look || event_add(conn->look, &every))
		conn_kill(conn);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	struct ph_ctl_conn *conn = arg;
	(void)bev;
	if ((what & BEV_EVENT_EOF) && (what & BEV_EVENT_READING) && !conn->ending)
		half_open(conn);
	else
		conn_kill(conn);
}

/* ---- connections */

static void say_full(int fd)
{
	static const char full[] = "{\"re\":0,\"ok\":false,\"code\":\"refused\","
				   "\"text\":\"too many connections\"}\n";
	(void)send(fd, full, sizeof full - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* There may be so many and no more: is there one that gives way? */
static bool make_room(struct ph_ctl_conns *conns, const struct ph_ctl_peer *newcomer)
{
	struct ph_ctl_peer peers[PH_CTL_CONNS];
	struct ph_ctl_conn *all[PH_CTL_CONNS], *conn;
	size_t n = 0;
	if (conns->n < PH_CTL_CONNS)
		return true;
	DL_FOREACH (conns->all, conn) {
		if (conn->dead)
			continue;
		peers[n] = (struct ph_ctl_peer){.uid = conn->peer.uid,
			.pid = conn->peer.pid,
			.idle = !conn->open && !waiting(conn),
			.since_ms = conn->since_ms};
		all[n++] = conn;
	}
	size_t i = ph_ctl_gives_way(peers, n, newcomer);
	if (i == n)
		return false;
	if (!waiting(all[i])) /* else it would stand within a line */
		say_full(bufferevent_getfd(all[i]->bev));
	conn_kill(all[i]);
	return true;
}

static void on_accept(void *arg, int fd, const struct ucred *peer)
{
	static const struct timeval patience = {PH_CTL_PATIENCE_MS / 1000, 0};
	struct ph_ctl_conns *conns = arg;
	const struct ph_ctl_peer newcomer = {
		.uid = peer->uid, .pid = peer->pid, .since_ms = ph_clock_now_ms()};
	/* The socket's mode and group have decided who may. */
	struct ph_ctl_conn *conn = make_room(conns, &newcomer) ? calloc(1, sizeof *conn) : NULL;
	if (conn)
		conn->bev = bufferevent_socket_new(conns->base, fd, BEV_OPT_CLOSE_ON_FREE);
	if (!conn || !conn->bev) {
		say_full(fd);
		(void)close(fd);
		free(conn);
		return;
	}
	conn->owner = conns;
	conn->peer = *peer;
	conn->since_ms = newcomer.since_ms;
	ph_line_init(&conn->lines, PH_LINE_MAX);
	DL_APPEND(conns->all, conn);
	conns->n++;
	bufferevent_setcb(conn->bev, on_read, on_write, on_event, conn);
	if (bufferevent_set_timeouts(conn->bev, NULL, &patience) ||
		bufferevent_enable(conn->bev, EV_READ | EV_WRITE))
		conn_kill(conn);
}

static int open_socket(struct ph_ctl_conns *conns, int fd, const char *path, mode_t mode, gid_t gid,
	struct ph_err *err)
{
	if (fd >= 0)
		return ph_unixsock_take(
			conns->base, fd, path, mode, gid, on_accept, conns, &conns->sock, err);
	return ph_unixsock_open(conns->base, path, mode, gid, on_accept, conns, &conns->sock, err);
}

int ph_ctl_conns_new(struct event_base *base, int fd, const char *path, mode_t mode, gid_t gid,
	const struct ph_ctl_callbacks *callbacks, void *arg, struct ph_ctl_conns **ret,
	struct ph_err *err)
{
	struct ph_ctl_conns *conns = calloc(1, sizeof *conns);
	if (!conns)
		return ph_err_set(err, ENOMEM, "out of memory");
	conns->base = base;
	conns->callbacks = *callbacks;
	conns->arg = arg;
	conns->reap = event_new(base, -1, 0, on_reap, conns);
	int error = conns->reap ? open_socket(conns, fd, path, mode, gid, err)
				: ph_err_set(err, ENOMEM, "out of memory");
	if (error) {
		ph_ctl_conns_free(conns);
		return error;
	}
	*ret = conns;
	return 0;
}

int ph_ctl_conns_fd(const struct ph_ctl_conns *conns)
{
	return ph_unixsock_fd(conns->sock);
}

/* What the kernel takes at once: an answer to the order that ended the daemon, say. */
static void flush(struct ph_ctl_conn *conn)
{
	struct evbuffer *output = bufferevent_get_output(conn->bev);
	(void)evbuffer_unfreeze(output, 1);
	if (!conn->dead && evbuffer_get_length(output))
		(void)evbuffer_write(output, bufferevent_getfd(conn->bev));
}

void ph_ctl_conns_free(struct ph_ctl_conns *conns)
{
	struct ph_ctl_conn *conn, *next;
	if (!conns)
		return;
	ph_unixsock_close(conns->sock);
	DL_FOREACH_SAFE(conns->all, conn, next)
	{
		flush(conn);
		conn_free(conn);
	}
	if (conns->reap)
		event_free(conns->reap);
	free(conns);
}
