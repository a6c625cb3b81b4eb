/* Connections to worker.sock: who speaks, and what becomes of a message. */
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "io/proc.h"
#include "proto/worker.h"
#include "shell_parts.h"

/* ---- words to the worker */

void ph_shell_conn_error(
	struct ph_shell_conn *conn, const struct ph_ref *re, const char *code, const char *text)
{
	struct ph_wmsg msg = {.op = PH_W_ERROR, .has_re = re != NULL, .code = code, .text = text};
	if (re)
		msg.re = *re;
	ph_shell_conn_send(conn, &msg);
}

/* Whose connection it is: by what it has proved, else by its process; NULL: none of ours. */
static struct ph_shell_worker *owner(const struct ph_shell_conn *conn)
{
	if (conn->state == PH_CONN_CONTROL || conn->state == PH_CONN_PARKED)
		return ph_shell_worker_by_wid(conn->shell, conn->wid);
	return ph_shell_worker_of_process(conn->shell, conn->pid);
}

/* `worker` NULL: nobody's. */
static void tell_people(const struct ph_shell_conn *conn, const struct ph_shell_worker *worker,
	const char *code, const char *text)
{
	char who[64] = "", line[PH_ERR_MAX + 128];
	if (!worker || worker->uid != conn->uid)
		snprintf(
			who, sizeof who, "pid %d of uid %u: ", (int)conn->pid, (unsigned)conn->uid);
	snprintf(line, sizeof line, "%s%s: %s", who, code, text);
	ph_shell_tell_people(
		conn->shell, PH_EMIT_WORKER_PROTOCOL_ERROR, worker ? &worker->key : NULL, line);
}

void ph_shell_conn_violation(struct ph_shell_conn *conn, const char *code, const char *text)
{
	if (conn->state == PH_CONN_CLOSED)
		return;
	tell_people(conn, owner(conn), code, text);
	ph_shell_conn_error(conn, NULL, code, text);
	ph_shell_conn_end(conn);
}

/* ---- who speaks */

static bool session_fits(const struct ph_shell_conn *conn, const struct ph_shell_worker *worker)
{
	if (conn->pid <= 0)
		return true; /* of another pid namespace: token and uid must do */
	pid_t session = ph_proc_session(conn->pid);
	return session < 0 || session == worker->pid;
}

static struct ph_shell_worker *who(
	struct ph_shell_conn *conn, const char *token, const char **ret_text)
{
	struct ph_shell_worker *worker = ph_shell_worker_by_token(conn->shell, token);
	if (!worker)
		*ret_text = "no child of this node has this token";
	else if (worker->uid != conn->uid)
		*ret_text = "the connection does not come from the user of the child";
	else if (!session_fits(conn, worker))
		*ret_text = "the connection does not come from the session of the child";
	else
		return worker;
	return NULL;
}

struct said {
	struct ph_wmsg msg;
	struct ph_doc *doc;
};

static void said_free(void *arg)
{
	struct said *said = arg;
	ph_doc_free(said->doc);
	free(said);
}

/* Takes `doc`. */
static void push(struct ph_shell_conn *conn, const struct ph_wmsg *msg, struct ph_doc *doc)
{
	struct said *said = ph_shell_alloc(sizeof *said);
	said->msg = *msg;
	said->doc = doc;
	struct ph_event event = {.kind = PH_EV_WORKER, .wid = conn->wid, .worker = &said->msg};
	ph_shell_push(conn->shell, &event, said_free, said);
}

/* ---- data connections: never an answer on them */

/* Told on the control connection, which has done nothing wrong and goes on. `worker` NULL: whose
 * it is the process alone says. `ordinary`: too late, or once more, as happens after an abort or a
 * reconnection; no event then. */
static void refuse_data(struct ph_shell_conn *conn, struct ph_shell_worker *worker, bool ordinary,
	const char *code, const char *text)
{
	char line[PH_ERR_MAX + 32];
	if (!worker)
		worker = owner(conn);
	snprintf(line, sizeof line, "data connection: %s", text);
	if (!ordinary)
		tell_people(conn, worker, code, line);
	if (worker && worker->control && worker->uid == conn->uid)
		ph_shell_conn_error(worker->control, NULL, code, line);
	ph_shell_conn_close(conn);
}

static void unknown_id(struct ph_shell_conn *conn, struct ph_shell_worker *worker, bool ordinary)
{
	char id[PH_ID_TEXT_SIZE], text[96];
	snprintf(text, sizeof text, "no state of this worker goes by the id %s",
		ph_id_text(&conn->id, id));
	refuse_data(conn, worker, ordinary, "unknown_id", text);
}

static const char *why_not(int error)
{
	switch (-error) {
	case EEXIST:
		return "the round is over, or has its data connection already";
	case EINVAL:
		return "the round is not the next one";
	case ECANCELED:
		return "the stream has failed";
	default:
		return strerror(-error);
	}
}

static void give_away(struct ph_shell_conn *conn, struct ph_shell_worker *worker, bool incoming)
{
	const char *bytes;
	size_t n;
	int fd = conn->fd;
	ph_line_rest(&conn->in, &bytes, &n);
	event_del(conn->readable);
	event_del(conn->deadline);
	conn->fd = -1;
	int error = ph_shell_flow_take(conn->shell, &conn->id, conn->round, incoming, fd, bytes, n);
	if (error)
		refuse_data(conn, worker, error != -EINVAL, "bad_round", why_not(error));
	else
		ph_shell_conn_close(conn);
}

/* Core opens a stream before it tells the worker to connect. Only a worker that was asked about it
 * or that has lost its daemon can know of one that is not there yet. */
static bool may_come(const struct ph_shell_conn *conn, const struct ph_shell_worker *worker)
{
	return !worker->control || (ph_id_equal(&conn->id, &worker->asked_id) &&
					   !ph_id_equal(&conn->id, &worker->stream_id));
}

static void try_data(struct ph_shell_conn *conn, struct ph_shell_worker *worker)
{
	bool incoming = false;
	if (!ph_shell_flow_find(conn->shell, &conn->id, worker->wid, &incoming))
		give_away(conn, worker, incoming);
	else if (may_come(conn, worker))
		ph_shell_conn_park(conn, worker->wid);
	else
		unknown_id(conn, worker, ph_id_equal(&conn->id, &worker->stream_id));
}

static void take_data(struct ph_shell_conn *conn, const struct ph_wmsg *msg)
{
	const char *text = NULL;
	struct ph_shell_worker *worker = who(conn, msg->token, &text);
	if (!worker) {
		refuse_data(conn, NULL, false, "bad_token", text);
		return;
	}
	conn->id = msg->id;
	conn->round = msg->round;
	try_data(conn, worker);
}

void ph_shell_conn_unparked(struct ph_shell_conn *conn)
{
	unknown_id(conn, NULL, true);
}

static void unpark_one(void *arg, struct ph_shell_conn *conn)
{
	if (conn->state != PH_CONN_PARKED || !ph_id_equal(&conn->id, arg))
		return;
	struct ph_shell_worker *worker = ph_shell_worker_by_wid(conn->shell, conn->wid);
	if (worker)
		try_data(conn, worker);
	else
		ph_shell_conn_close(conn);
}

void ph_shell_conns_unpark(struct ph_shell *shell, const struct ph_id *id)
{
	struct ph_id copy = *id;
	ph_shell_conns_each(shell, unpark_one, &copy);
}

/* ---- control connections */

static void take_hello(struct ph_shell_conn *conn, const struct ph_wmsg *msg, struct ph_doc *doc)
{
	const char *text = NULL;
	struct ph_shell_worker *worker = who(conn, msg->token, &text);
	if (worker && conn->state == PH_CONN_CONTROL && worker->wid != conn->wid) {
		worker = NULL;
		text = "the token of another child";
	}
	if (!worker)
		ph_shell_conn_violation(conn, "bad_token", text);
	else if (!msg->v1)
		ph_shell_conn_violation(conn, "version", "this daemon speaks version 1 alone");
	if (!worker || !msg->v1) {
		ph_doc_free(doc);
		return;
	}
	if (worker->control && worker->control != conn)
		ph_shell_conn_close(worker->control);
	worker->control = conn;
	ph_shell_conn_adopt(conn, worker->wid);
	push(conn, msg, doc);
}

static void take_message(struct ph_shell_conn *conn, const struct ph_wmsg *msg, struct ph_doc *doc)
{
	struct ph_wmsg pong = {.op = PH_W_PONG, .has_re = true, .re = msg->req};
	struct ph_shell_worker *worker = ph_shell_worker_by_wid(conn->shell, conn->wid);
	switch ((int)msg->op) {
	case PH_W_PING:
		ph_shell_conn_send(conn, &pong);
		break;
	case PH_W_PONG:
		break;
	case PH_W_STATUS:
		if (worker)
			ph_shell_status(worker, msg->text);
		break;
	case PH_W_LOOKUP:
	case PH_W_WATCH:
	case PH_W_UNWATCH:
		ph_shell_lookup_take(conn, msg);
		break;
	case PH_W_DATA:
		ph_shell_conn_violation(conn, "protocol", "data: has a connection of its own");
		break;
	default:
		push(conn, msg, doc);
		return;
	}
	ph_doc_free(doc);
}

/* A first line that was to be `data`: whoever reads that connection takes all bytes for state. */
static bool looks_like_data(const struct ph_shell_conn *conn, const char *line, size_t n)
{
	return conn->state == PH_CONN_NEW && memmem(line, n, "\"data\"", 6);
}

static void take_error(
	struct ph_shell_conn *conn, int error, const struct ph_wmsg *msg, const struct ph_err *err)
{
	if (error == -ENOMSG && conn->state == PH_CONN_CONTROL) {
		if (msg->has_req)
			ph_shell_conn_error(conn, &msg->req, "unknown_op", NULL);
		return;
	}
	ph_shell_conn_violation(conn, error == -EBADMSG ? "malformed" : "protocol", err->text);
}

void ph_shell_conn_take(struct ph_shell_conn *conn, const char *line, size_t n)
{
	struct ph_wmsg msg;
	struct ph_doc *doc = NULL;
	struct ph_err err = {{0}};
	memset(&msg, 0, sizeof msg);
	int error = ph_wmsg_decode(line, n, PH_FROM_WORKER, &msg, &doc, &err);
	if (error && looks_like_data(conn, line, n)) {
		refuse_data(conn, NULL, false, "malformed", err.text);
	} else if (error) {
		take_error(conn, error, &msg, &err);
	} else if (msg.op == PH_W_HELLO) {
		take_hello(conn, &msg, doc);
	} else if (conn->state == PH_CONN_CONTROL) {
		take_message(conn, &msg, doc);
	} else if (msg.op == PH_W_DATA) {
		take_data(conn, &msg);
		ph_doc_free(doc);
	} else {
		ph_shell_conn_violation(conn, "protocol", "expected hello or data first");
		ph_doc_free(doc);
	}
}
