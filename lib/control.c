/*
 * control.c - requests by the control socket, one at a time, each with a deadline.
 *
 * Whatever goes wrong with a connection ends it, a missing answer too: what comes later is not to
 * be taken for the answer to something else. The next request makes a new one.
 */
#include "prochub/control.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "proto/control.h"
#include "proto/control_socket.h"
#include "proto/line.h"

#define READ_BYTES (64u * 1024)
#define ADD_GRACE_MS 120000 /* what add takes back is stopped first */
#define ACCEPT_MS 30000	    /* with NO_WAIT: until the daemon has it on its disk */
#define LINES_MAX 100000    /* lines before the last one that are kept of an answer */

struct prochub_control {
	char path[PH_CONTROL_PATH_SIZE];
	int fd; /* -1: no connection */
	uint64_t req;
	uint64_t until_ms; /* CLOCK_MONOTONIC; 0: never */
	struct ph_line lines;
	char *answer; /* JSON, or NULL */
	char code[32];
	struct ph_err text;
	char bytes[READ_BYTES];
};

/* X(code, errno): what the daemon says, but `failed`, which is every other */
#define CODES(X) \
	X("exists", EEXIST) \
	X("not_found", ENOENT) \
	X("bad_request", EINVAL) \
	X("unknown_op", EINVAL) \
	X("refused", EBUSY) \
	X("timeout", ETIMEDOUT) \
	X("partly", EINPROGRESS)

static int errno_of(const char *code)
{
	static const struct {
		const char *code;
		int error;
	} rows[] = {
#define X(word, number) {word, number},
		CODES(X)
#undef X
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (strcmp(rows[i].code, code) == 0)
			return rows[i].error;
	return EIO;
}

/* ---- the connection */

static uint64_t now_ms(void)
{
	struct timespec t;
	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void disconnect(struct prochub_control *c)
{
	if (c->fd >= 0)
		(void)close(c->fd);
	c->fd = -1;
	ph_line_fini(&c->lines);
	ph_line_init(&c->lines, PH_LINE_MAX_ANSWER);
}

/* -1 with errno `error` */
static int fail(struct prochub_control *c, int error, const char *code)
{
	(void)snprintf(c->code, sizeof c->code, "%s", code);
	errno = error;
	return -1;
}

/* Why the connection is of no use; `error` positive. */
static int fail_io(struct prochub_control *c, int error)
{
	static const struct {
		int error;
		const char *code, *text;
	} rows[] = {
		{ETIMEDOUT, "no_answer", "no answer from the daemon in time; it may go on"},
		{ECONNRESET, "closed", "the daemon closed the connection before the answer"},
		{EMSGSIZE, "too_large", "an answer of more than 256 MiB is refused"},
		{ENOMEM, "no_memory", "out of memory"},
	};
	disconnect(c);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		if (rows[i].error != error)
			continue;
		(void)ph_err_set(&c->text, error, "%s", rows[i].text);
		return fail(c, error, rows[i].code);
	}
	(void)ph_err_set(&c->text, error, "%s: %s", c->path, strerror(error));
	return fail(c, error, "closed");
}

/* 0, or -ETIMEDOUT */
static int wait_for(const struct prochub_control *c, short events)
{
	struct pollfd ready = {.fd = c->fd, .events = events};
	for (;;) {
		uint64_t now = now_ms(), left = c->until_ms - now;
		if (c->until_ms && now >= c->until_ms)
			return -ETIMEDOUT;
		int most = !c->until_ms || left > 1000000 ? 1000000 : (int)left;
		if (poll(&ready, 1, most) > 0)
			return 0;
	}
}

static int send_all(const struct prochub_control *c, const char *bytes, size_t n)
{
	while (n) {
		ssize_t sent = send(c->fd, bytes, n, MSG_NOSIGNAL);
		int r = 0;
		if (sent >= 0) {
			bytes += sent;
			n -= (size_t)sent;
		} else if (errno == EPIPE || errno == ECONNRESET) {
			return 0; /* a daemon that refuses and closes has said why: it is read */
		} else if (errno == EAGAIN || errno == EINTR) {
			r = wait_for(c, POLLOUT);
		} else {
			r = -errno;
		}
		if (r < 0)
			return r;
	}
	return 0;
}

static int read_line(struct prochub_control *c, char **ret_line, size_t *ret_n)
{
	for (;;) {
		int r = ph_line_next(&c->lines, ret_line, ret_n);
		if (r != 0)
			return r < 0 ? r : 0;
		ssize_t n = recv(c->fd, c->bytes, sizeof c->bytes, 0);
		if (n > 0)
			r = ph_line_feed(&c->lines, c->bytes, (size_t)n);
		else if (n == 0 || errno == ECONNRESET)
			r = -ECONNRESET;
		else if (errno == EAGAIN || errno == EINTR)
			r = wait_for(c, POLLIN);
		else
			r = -errno;
		if (r < 0)
			return r;
	}
}

/* A daemon that was restarted since the last call has closed it: that is not to cost an answer. */
static int connect_anew(struct prochub_control *c)
{
	char byte;
	if (c->fd >= 0) {
		ssize_t n = recv(c->fd, &byte, 1, MSG_PEEK);
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			disconnect(c);
	}
	if (c->fd >= 0)
		return 0;
	int r = ph_control_connect(c->path, &c->fd, &c->text);
	return r < 0 ? fail(c, -r, "unreachable") : 0;
}

/* ---- a request */

static void drop_frame(json_t *body)
{
	static const char *const frame[] = {"re", "ok", "more"};
	for (size_t i = 0; i < sizeof frame / sizeof frame[0]; i++)
		(void)json_object_del(body, frame[i]);
}

/* The last line: kept, without its frame, and with those before it. 0, or -1 with errno. */
static int take_answer(struct prochub_control *c, const struct ph_answer *answer, json_t *lines)
{
	char code[sizeof c->code] = "";
	if (!answer->ok) {
		(void)snprintf(code, sizeof code, "%s", answer->code ? answer->code : "failed");
		(void)ph_err_set(
			&c->text, EIO, "%s", answer->text && *answer->text ? answer->text : code);
	}
	drop_frame(answer->body);
	if (json_array_size(lines))
		(void)json_object_set(answer->body, "lines", lines);
	c->answer = json_dumps(answer->body, JSON_COMPACT);
	if (!c->answer)
		return fail_io(c, ENOMEM);
	return answer->ok ? 0 : fail(c, errno_of(code), code);
}

/* One line that is ours. 1: it is not the last. */
static int take_line(struct prochub_control *c, const struct ph_answer *answer, json_t *lines)
{
	/* a request that it could not read has no number: it can only be ours */
	if (answer->re != c->req && (answer->ok || answer->re != 0))
		return 1;
	if (!answer->ok || !answer->more)
		return take_answer(c, answer, lines);
	if (json_array_size(lines) < LINES_MAX) {
		drop_frame(answer->body);
		(void)json_array_append(lines, answer->body);
	}
	return 1;
}

static int await(struct prochub_control *c, json_t *lines)
{
	int r;
	do {
		struct ph_answer answer = {0};
		char *line = NULL;
		size_t n = 0;
		r = read_line(c, &line, &n);
		if (r < 0)
			return fail_io(c, -r);
		r = ph_answer_decode(line, n, &answer, &c->text);
		if (r < 0) {
			disconnect(c);
			return fail(c, EIO, "failed");
		}
		r = take_line(c, &answer, lines);
		ph_answer_fini(&answer);
	} while (r > 0);
	return r;
}

/* `fields` is taken, and may be NULL where there was no memory for it. */
static int request(struct prochub_control *c, const char *verb, json_t *fields, uint64_t timeout_ms)
{
	size_t n = 0;
	json_t *lines = json_array();
	char *line = fields && lines ? ph_request_encode(verb, c->req + 1, fields, &n) : NULL;
	int r;
	if (!fields || !lines)
		errno = ENOMEM;
	if (!line && errno == EMSGSIZE) {
		(void)ph_err_set(&c->text, EMSGSIZE, "a request has at most 1 MiB");
		r = fail(c, EMSGSIZE, "too_large");
	} else if (!line) {
		(void)ph_err_set(&c->text, ENOMEM, "out of memory");
		r = fail(c, ENOMEM, "no_memory");
	} else {
		c->until_ms = timeout_ms ? now_ms() + timeout_ms : 0;
		r = connect_anew(c);
		if (r == 0) {
			c->req++;
			r = send_all(c, line, n);
			r = r < 0 ? fail_io(c, -r) : await(c, lines);
		}
	}
	free(line);
	json_decref(fields);
	json_decref(lines);
	return r;
}

/* What the last call has left. */
static void forget(struct prochub_control *c)
{
	free(c->answer);
	c->answer = NULL;
	memset(c->code, 0, sizeof c->code);
	c->text.text[0] = '\0';
}

static int refuse(struct prochub_control *c, const char *what)
{
	(void)ph_err_set(&c->text, EINVAL, "%s", what);
	return fail(c, EINVAL, "bad_request");
}

/* ---- what is public */

struct prochub_control *prochub_control_open(const char *path)
{
	struct ph_err err;
	struct prochub_control *c = calloc(1, sizeof *c);
	if (!c)
		return NULL;
	c->fd = -1;
	ph_line_init(&c->lines, PH_LINE_MAX_ANSWER);
	int r = ph_control_find(path, c->path, &err);
	if (r == 0)
		return c;
	free(c);
	errno = -r;
	return NULL;
}

void prochub_control_close(struct prochub_control *c)
{
	if (!c)
		return;
	disconnect(c);
	forget(c);
	free(c);
}

int prochub_control_add(
	struct prochub_control *c, const char *config, unsigned flags, uint64_t timeout_ms)
{
	bool no_wait = flags & PROCHUB_CONTROL_NO_WAIT;
	uint64_t patience_ms = timeout_ms ? timeout_ms + ADD_GRACE_MS : 0;
	forget(c);
	json_t *text = json_string(config);
	if (!text)
		return refuse(c, "config: not UTF-8 text");
	json_t *fields = json_pack("{s:o,s:b,s:b}", "config", text, "no_wait", no_wait,
		"keep_going", (flags & PROCHUB_CONTROL_KEEP_GOING) != 0);
	if (fields && timeout_ms)
		(void)json_object_set_new(
			fields, "timeout_ms", json_integer((json_int_t)timeout_ms));
	return request(c, "add", fields, no_wait ? ACCEPT_MS : patience_ms);
}

/* {"child":NAME,"instance":N} of NAME or NAME/N; NULL: no memory, or it is neither. */
static json_t *child_fields(const char *child)
{
	const char *slash = strchr(child, '/');
	char *end = NULL;
	unsigned long instance = slash ? strtoul(slash + 1, &end, 10) : 0;
	json_t *name = slash ? json_stringn(child, (size_t)(slash - child)) : json_string(child);
	json_t *fields = name ? json_pack("{s:o}", "child", name) : NULL;
	if (slash && (slash[1] < '0' || slash[1] > '9' || *end)) {
		json_decref(fields);
		return NULL;
	}
	if (slash)
		(void)json_object_set_new(fields, "instance", json_integer((json_int_t)instance));
	return fields;
}

int prochub_control_remove(
	struct prochub_control *c, const char *child, unsigned flags, uint64_t timeout_ms)
{
	bool no_wait = flags & PROCHUB_CONTROL_NO_WAIT;
	forget(c);
	json_t *fields = child_fields(child);
	if (!fields)
		return refuse(c, "child: expected a name");
	(void)json_object_set_new(fields, "no_wait", json_boolean(no_wait));
	return request(c, "remove", fields, timeout_ms || !no_wait ? timeout_ms : ACCEPT_MS);
}

int prochub_control_wait(
	struct prochub_control *c, const char *child, const char *state, uint64_t timeout_ms)
{
	forget(c);
	json_t *fields = child_fields(child), *word = json_string(state);
	if (!fields || !word) {
		json_decref(fields);
		json_decref(word);
		return refuse(c, "expected NAME or NAME/INSTANCE, and ready, stopped or moved");
	}
	(void)json_object_set_new(fields, "for", word);
	if (timeout_ms)
		(void)json_object_set_new(
			fields, "timeout_ms", json_integer((json_int_t)timeout_ms));
	return request(c, "wait", fields, timeout_ms ? timeout_ms + ACCEPT_MS : 0);
}

int prochub_control_call(
	struct prochub_control *c, const char *verb, const char *fields, uint64_t timeout_ms)
{
	forget(c);
	json_t *object = fields ? json_loads(fields, JSON_REJECT_DUPLICATES, NULL) : json_object();
	if (!json_is_object(object)) {
		json_decref(object);
		return refuse(c, "fields: expected a JSON object");
	}
	return request(c, verb, object, timeout_ms);
}

const char *prochub_control_answer(const struct prochub_control *c)
{
	return c->answer ? c->answer : "{}";
}

const char *prochub_control_code(const struct prochub_control *c)
{
	return c->code;
}

const char *prochub_control_text(const struct prochub_control *c)
{
	return c->text.text;
}
