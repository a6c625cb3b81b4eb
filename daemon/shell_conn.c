/* Connections to worker.sock: accepted, read as lines, written, closed; all of it bounded. */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

#include "io/unixsock.h"
#include "proto/worker.h"
#include "shell_parts.h"

#define NEW_MAX 256	/* connections that have not said who they are */
#define LINES_A_CALL 64 /* so that one chatty worker does not hold up the others */
#define READ_BYTES 65536
#define OUT_MAX (1024 * 1024) /* bytes that a worker may leave unread */
#define DRAIN_READS 64

static const struct timeval patience = {10, 0};		   /* for the first line */
static const struct timeval parked_patience = {1, 500000}; /* for a stream */

struct ph_shell_conns {
	struct ph_unixsock *sock;
	struct ph_shell_conn *all; /* oldest first; closed ones until the end of the turn, so that
				      a walk may close any of them */
	unsigned n_new, n_closed;
};

/* ---- the end of a connection */

static void forget_events(struct ph_shell_conn *conn)
{
	struct event **events[] = {&conn->readable, &conn->writable, &conn->deadline};
	for (size_t i = 0; i < sizeof events / sizeof events[0]; i++) {
		if (*events[i])
			event_free(*events[i]);
		*events[i] = NULL;
	}
}

void ph_shell_conn_close(struct ph_shell_conn *conn)
{
	struct ph_shell_conns *conns = conn->shell->conns;
	if (conn->state == PH_CONN_CLOSED)
		return;
	if (conn->state == PH_CONN_CONTROL) {
		struct ph_shell_worker *worker = ph_shell_worker_by_wid(conn->shell, conn->wid);
		if (worker && worker->control == conn)
			worker->control = NULL;
	} else {
		conns->n_new--;
	}
	conn->state = PH_CONN_CLOSED;
	forget_events(conn);
	if (conn->fd >= 0)
		close(conn->fd);
	conn->fd = -1;
	ph_shell_watches_free(conn->watches);
	conn->watches = NULL;
	conns->n_closed++;
	ph_shell_wake(conn->shell);
}

void ph_shell_conn_end(struct ph_shell_conn *conn)
{
	struct ph_event event = {.kind = PH_EV_WORKER_CLOSED, .wid = conn->wid};
	bool control = conn->state == PH_CONN_CONTROL;
	ph_shell_conn_close(conn);
	if (control)
		ph_shell_push(conn->shell, &event, NULL, NULL);
}

void ph_shell_conns_turn_end(struct ph_shell *shell)
{
	struct ph_shell_conns *conns = shell->conns;
	struct ph_shell_conn *conn, *next;
	if (!conns->n_closed)
		return;
	DL_FOREACH_SAFE(conns->all, conn, next)
	{
		if (conn->state != PH_CONN_CLOSED)
			continue;
		DL_DELETE(conns->all, conn);
		evbuffer_free(conn->out);
		ph_line_fini(&conn->in);
		free(conn);
	}
	conns->n_closed = 0;
}

void ph_shell_conn_adopt(struct ph_shell_conn *conn, uint64_t wid)
{
	if (conn->state == PH_CONN_NEW) {
		conn->shell->conns->n_new--;
		event_del(conn->deadline);
	}
	conn->state = PH_CONN_CONTROL;
	conn->wid = wid;
}

void ph_shell_conn_park(struct ph_shell_conn *conn, uint64_t wid)
{
	conn->state = PH_CONN_PARKED;
	conn->wid = wid;
	event_del(conn->readable);
	event_add(conn->deadline, &parked_patience);
}

/* ---- writing */

static void write_out(struct ph_shell_conn *conn)
{
	int n = evbuffer_write(conn->out, conn->fd);
	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		ph_shell_conn_end(conn);
		return;
	}
	if (evbuffer_get_length(conn->out))
		event_add(conn->writable, NULL);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	write_out(arg);
}

void ph_shell_conn_send(struct ph_shell_conn *conn, const struct ph_wmsg *msg)
{
	size_t n;
	if (conn->state == PH_CONN_CLOSED)
		return;
	char *line = ph_wmsg_encode(msg, &n);
	if (!line) {
		ph_shell_log(conn->shell, PH_LOG_ERROR, "cannot encode '%s' for a worker: %s",
			ph_wmsg_word(msg->op), strerror(errno));
		return;
	}
	size_t waiting = evbuffer_get_length(conn->out);
	int error = waiting + n > OUT_MAX ? -1 : evbuffer_add(conn->out, line, n);
	free(line);
	if (error) {
		ph_shell_log(conn->shell, PH_LOG_WARNING,
			"pid %d leaves %zu bytes unread: disconnected", (int)conn->pid, waiting);
		ph_shell_conn_end(conn);
		return;
	}
	if (!waiting)
		write_out(conn);
}

/* ---- reading */

/* Takes lines until none is left (true) or the call has had its share. */
static bool take_lines(struct ph_shell_conn *conn, unsigned max)
{
	for (unsigned i = 0; i < max; i++) {
		char *line;
		size_t n;
		if (conn->state != PH_CONN_NEW && conn->state != PH_CONN_CONTROL)
			return true;
		int r = ph_line_next(&conn->in, &line, &n);
		if (r < 0)
			ph_shell_conn_violation(conn, "too_long", "a line is longer than 64 KiB");
		if (r <= 0)
			return true;
		ph_shell_conn_take(conn, line, n);
	}
	return false;
}

/* One read: 1 there were bytes, 0 nothing now, -1 the connection has ended. */
static int read_some(struct ph_shell_conn *conn)
{
	char bytes[READ_BYTES];
	ssize_t n = recv(conn->fd, bytes, sizeof bytes, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) {
		ph_shell_conn_end(conn);
		return -1;
	}
	int error = ph_line_feed(&conn->in, bytes, (size_t)n);
	if (error == -EMSGSIZE)
		ph_shell_conn_violation(conn, "too_long", "a line is longer than 64 KiB");
	else if (error)
		ph_shell_conn_end(conn);
	return error ? -1 : 1;
}

/* EV_TIMEOUT: called by itself for the lines that are left; it reads no more then, so that a
 * connection cannot keep the loop from the others. */
static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	struct ph_shell_conn *conn = arg;
	bool all = take_lines(conn, LINES_A_CALL);
	if (all && what & EV_READ && conn->fd >= 0 && conn->state != PH_CONN_PARKED &&
		read_some(conn) > 0)
		all = take_lines(conn, LINES_A_CALL);
	if (!all && conn->readable)
		event_active(conn->readable, EV_TIMEOUT, 1);
}

void ph_shell_conn_drain(struct ph_shell_conn *conn)
{
	for (int i = 0; i < DRAIN_READS && conn->state == PH_CONN_CONTROL; i++) {
		(void)take_lines(conn, UINT32_MAX);
		if (conn->state != PH_CONN_CONTROL || read_some(conn) <= 0)
			return;
	}
}

/* ---- accepting */

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	struct ph_shell_conn *conn = arg;
	if (conn->state == PH_CONN_PARKED)
		ph_shell_conn_unparked(conn);
	ph_shell_conn_close(conn);
}

/* Who is silent longest makes room: an honest worker says hello at once. */
static void make_room(struct ph_shell_conns *conns)
{
	struct ph_shell_conn *conn;
	if (conns->n_new < NEW_MAX)
		return;
	DL_FOREACH (conns->all, conn) {
		if (conn->state == PH_CONN_NEW || conn->state == PH_CONN_PARKED) {
			ph_shell_conn_close(conn);
			return;
		}
	}
}

static void on_accept(void *arg, int fd, const struct ucred *peer)
{
	struct ph_shell *shell = arg;
	struct ph_shell_conn *conn = ph_shell_alloc(sizeof *conn);
	make_room(shell->conns);
	conn->shell = shell;
	conn->fd = fd;
	conn->pid = peer->pid;
	conn->uid = peer->uid;
	ph_line_init(&conn->in, PH_LINE_MAX);
	conn->out = evbuffer_new();
	conn->readable = event_new(shell->base, fd, EV_READ | EV_PERSIST, on_readable, conn);
	conn->writable = event_new(shell->base, fd, EV_WRITE, on_writable, conn);
	conn->deadline = evtimer_new(shell->base, on_deadline, conn);
	if (!conn->out || !conn->readable || !conn->writable || !conn->deadline)
		abort();
	DL_APPEND(shell->conns->all, conn);
	shell->conns->n_new++;
	event_add(conn->readable, NULL);
	event_add(conn->deadline, &patience);
}

/* ---- all of them */

int ph_shell_conns_new(struct ph_shell *shell, struct ph_err *err)
{
	shell->conns = ph_shell_alloc(sizeof *shell->conns);
	int fd = ph_shell_kept_take(shell, PH_KEPT_WORKERS);
	if (fd >= 0)
		return ph_unixsock_take(shell->base, fd, shell->worker_path, 0666, (gid_t)-1,
			on_accept, shell, &shell->conns->sock, err);
	return ph_unixsock_open(shell->base, shell->worker_path, 0666, (gid_t)-1, on_accept, shell,
		&shell->conns->sock, err);
}

int ph_shell_conns_fd(const struct ph_shell *shell)
{
	return ph_unixsock_fd(shell->conns->sock);
}

void ph_shell_conns_free(struct ph_shell *shell)
{
	struct ph_shell_conn *conn, *next;
	if (!shell->conns)
		return;
	DL_FOREACH_SAFE(shell->conns->all, conn, next)
	ph_shell_conn_close(conn);
	ph_shell_conns_turn_end(shell);
	ph_unixsock_close(shell->conns->sock);
	free(shell->conns);
	shell->conns = NULL;
}

void ph_shell_conns_each(
	struct ph_shell *shell, void (*each)(void *arg, struct ph_shell_conn *conn), void *arg)
{
	struct ph_shell_conn *conn, *next;
	DL_FOREACH_SAFE(shell->conns->all, conn, next)
	each(arg, conn);
}
