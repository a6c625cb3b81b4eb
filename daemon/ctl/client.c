/* client.c - a request to the daemon and its answers, by the control socket. */
#include "ctl/client.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "ctl/commands.h"
#include "ctl/text.h"
#include "ctl/view.h"
#include "proto/control.h"
#include "proto/control_socket.h"
#include "proto/line.h"

/* ACCEPT_MS: how long the daemon may take to accept an order with --no-wait */
enum {
	REQUEST_NUMBER = 1,
	READ_BYTES = 64 * 1024,
	ACCEPT_MS = 30000
};

struct client {
	const struct ph_ctl *ctl;
	const struct ph_ask *ask;
	char path[PH_CONTROL_PATH_SIZE];
	int fd;
	bool timed;
	bool heard;		      /* the daemon has answered something */
	uint64_t until_at_ms;	      /* CLOCK_MONOTONIC, where timed */
	const sigset_t *waiting_mask; /* signals blocked while waiting, NULL: as ever */
	struct ph_line lines;
};

static volatile sig_atomic_t client_interrupted;

static void client_on_signal(int number)
{
	(void)number;
	client_interrupted = 1;
}

static uint64_t now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/*
 * SIGINT comes only while ppoll waits, so that none is missed between a look and a wait.
 * Where whoever started the program has it ignored (a job in the background) it stays so.
 */
static void client_catch_interrupt(struct client *client, sigset_t *mask)
{
	struct sigaction action = {.sa_handler = client_on_signal}, old;
	sigset_t interrupt;

	if (sigaction(SIGINT, NULL, &old) == 0 && old.sa_handler == SIG_IGN)
		return;
	(void)sigemptyset(&interrupt);
	(void)sigaddset(&interrupt, SIGINT);
	(void)sigprocmask(SIG_BLOCK, &interrupt, mask);
	(void)sigdelset(mask, SIGINT);
	(void)sigaction(SIGINT, &action, NULL);
	client->waiting_mask = mask;
}

/* Waits for `events`. 0, or -ETIMEDOUT, or -EINTR where SIGINT ended it. */
static int client_wait(const struct client *client, short events)
{
	for (;;) {
		struct pollfd poll_fd = {.fd = client->fd, .events = events};
		uint64_t now = now_ms(), left = 0;
		struct timespec timeout;

		if (client->timed && now >= client->until_at_ms)
			return -ETIMEDOUT;
		if (client->timed)
			left = client->until_at_ms - now;
		timeout = (struct timespec){
			.tv_sec = (time_t)(left / 1000),
			.tv_nsec = (long)(left % 1000) * 1000000,
		};
		if (ppoll(&poll_fd, 1, client->timed ? &timeout : NULL, client->waiting_mask) > 0)
			return 0;
		if (client_interrupted)
			return -EINTR;
	}
}

static int client_send(struct client *client, const char *bytes, size_t n)
{
	while (n) {
		ssize_t sent = send(client->fd, bytes, n, MSG_NOSIGNAL);
		int r;

		if (sent >= 0) {
			bytes += sent;
			n -= (size_t)sent;
			continue;
		}
		/* a daemon that refuses and closes has answered already: read that first */
		if (errno == EPIPE || errno == ECONNRESET)
			return 0;
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		r = client_wait(client, POLLOUT);
		if (r < 0)
			return r;
	}
	return 0;
}

/* One line (borrowed until the next call). -ECONNRESET where the daemon is gone. */
static int client_read(struct client *client, char **ret_line, size_t *ret_n)
{
	static char bytes[READ_BYTES];
	int r;

	for (;;) {
		ssize_t n;

		r = ph_line_next(&client->lines, ret_line, ret_n);
		if (r != 0)
			return r < 0 ? r : 0;
		n = recv(client->fd, bytes, sizeof(bytes), 0);
		if (n > 0)
			r = ph_line_feed(&client->lines, bytes, (size_t)n);
		else if (n == 0 || errno == ECONNRESET)
			return -ECONNRESET;
		else if (errno == EAGAIN || errno == EINTR)
			r = client_wait(client, POLLIN);
		else
			r = -errno;
		if (r < 0)
			return r;
	}
}

/* Tells why there is no answer; `r` is what client_send() or client_read() returned. */
static enum ph_exit client_fail(const struct client *client, int r)
{
	const char *verb = client->ctl->command->verb;
	struct ph_text text = {0};
	enum ph_exit status;

	switch (r) {
	case -EINTR:
		return ph_ctl_fail(PH_EXIT_DETACHED,
			"detached; the %s goes on, see 'prochubctl migrations' and 'prochubctl "
			"status'",
			verb);
	case -ETIMEDOUT:
		ph_text_add_duration(&text, client->ask->patience_ms);
		if (client->heard)
			status = ph_ctl_fail(PH_EXIT_FAILED, "%s: not done in %s; the work goes on",
				verb, text.s);
		else
			status = ph_ctl_fail(PH_EXIT_FAILED,
				"%s: no answer from the daemon at %s in %s%s", verb, client->path,
				text.s, client->ask->detachable ? "; the work goes on" : "");
		ph_text_fini(&text);
		return status;
	case -ECONNRESET:
		return ph_ctl_fail(PH_EXIT_UNREACHABLE,
			"%s: the daemon at %s closed the connection before the answer", verb,
			client->path);
	case -EMSGSIZE:
		return ph_ctl_fail(PH_EXIT_FAILED, "%s: an answer of more than %u MiB is refused",
			verb, PH_LINE_MAX_ANSWER >> 20);
	default:
		return ph_ctl_fail(PH_EXIT_FAILED, "%s: %s: %s", verb, client->path, strerror(-r));
	}
}

/* The exit status of an error answer: X(code, status); other codes mean FAILED. */
#define CODES(X) \
	X(not_found, UNREACHABLE) \
	X(usage, USAGE) \
	X(bad_request, USAGE) \
	X(partly, PARTLY)

static enum ph_exit client_status(const char *code)
{
	static const struct {
		const char *code;
		enum ph_exit status;
	} codes[] = {
#define X(word, exit) {#word, PH_EXIT_##exit},
		CODES(X)
#undef X
	};

	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		if (!strcmp(codes[i].code, code))
			return codes[i].status;
	}
	return PH_EXIT_FAILED;
}

/* One line each; the sentence of the answer is then the first of them. False: there are none. */
static bool client_tell_errors(const json_t *errors, enum ph_exit status)
{
	const json_t *error;
	bool any = false;
	size_t i;

	json_array_foreach(errors, i, error)
	{
		if (!json_is_string(error))
			continue;
		(void)ph_ctl_fail(status, "%s", json_string_value(error));
		any = true;
	}
	return any;
}

static enum ph_exit client_refused(const struct client *client, const struct ph_answer *answer)
{
	const struct ph_ask *ask = client->ask;
	const char *code = answer->code ? answer->code : "failed";
	enum ph_exit status = client_status(code);

	(void)json_object_del(answer->body, "re");
	(void)json_object_del(answer->body, "more");
	if (client->ctl->json)
		ph_view_print_json(answer->body);
	if (ask->on_refused && ask->on_refused(ask->user, answer->body, status))
		return status;
	if (client_tell_errors(json_object_get(answer->body, "errors"), status))
		return status;
	if (answer->text && *answer->text)
		return ph_ctl_fail(status, "%s", answer->text);
	return ph_ctl_fail(
		status, "%s: the daemon answered '%s'", client->ctl->command->verb, code);
}

static json_t *client_strip(json_t *body)
{
	static const char *const frame[] = {"re", "ok", "more"};

	for (size_t i = 0; i < sizeof(frame) / sizeof(frame[0]); i++)
		(void)json_object_del(body, frame[i]);
	return body;
}

static void client_end(const struct client *client)
{
	if (client->ask->on_end)
		client->ask->on_end(client->ask->user);
}

/* Reads until the last line of our answer. */
static enum ph_exit client_answers(struct client *client, json_t **ret)
{
	for (;;) {
		struct ph_answer answer = {0};
		struct ph_err err = {0};
		char *line = NULL;
		size_t n = 0;
		enum ph_exit status = PH_EXIT_DONE;
		bool going_on = false;
		int r = client_read(client, &line, &n);

		if (r == -ETIMEDOUT && client->ask->endless) {
			*ret = NULL;
			return PH_EXIT_DONE;
		}
		if (r < 0) {
			client_end(client);
			return client_fail(client, r);
		}
		r = ph_answer_decode(line, n, &answer, &err);
		if (r < 0) {
			client_end(client);
			return ph_ctl_fail(PH_EXIT_FAILED, "an answer of the daemon at %s: %s",
				client->path, err.text);
		}
		/* a request that it could not read has no number: it can only be ours */
		if (answer.re != REQUEST_NUMBER && (answer.ok || answer.re != 0)) {
			going_on = true;
		} else if (!answer.ok) {
			client_end(client);
			status = client_refused(client, &answer);
		} else if (answer.more) {
			client->heard = client->ask->detachable;
			going_on = !client->ask->on_more || client->ask->on_more(client->ask->user,
								    client_strip(answer.body));
			if (!going_on)
				*ret = NULL;
		} else {
			client_end(client);
			*ret = client_strip(json_incref(answer.body));
		}
		ph_answer_fini(&answer);
		if (!going_on)
			return status;
	}
}

static enum ph_exit client_talk(struct client *client, json_t *fields, json_t **ret)
{
	const char *verb = client->ctl->command->verb;
	size_t n = 0;
	char *request = ph_request_encode(verb, REQUEST_NUMBER, fields, &n);
	enum ph_exit status;
	int r;

	if (!request && errno == ENOMEM)
		ph_ctl_out_of_memory();
	if (!request || n - 1 > (client->ask->long_request ? PH_LINE_MAX_ADD : PH_LINE_MAX)) {
		free(request);
		return ph_ctl_fail(PH_EXIT_USAGE, "%s: too %s: a request has at most %u bytes",
			verb, client->ask->long_request ? "large" : "many words",
			client->ask->long_request ? PH_LINE_MAX_ADD : PH_LINE_MAX);
	}
	r = client_send(client, request, n);
	free(request);
	if (r < 0)
		return client_fail(client, r);
	ph_line_init(&client->lines, PH_LINE_MAX_ANSWER);
	status = client_answers(client, ret);
	ph_line_fini(&client->lines);
	return status;
}

enum ph_exit ph_client_ask(
	const struct ph_ctl *ctl, json_t *fields, const struct ph_ask *ask, json_t **ret)
{
	struct client client = {.ctl = ctl, .ask = ask, .fd = -1};
	struct ph_err err = {0};
	enum ph_exit status;
	sigset_t mask;
	int r;

	(void)ph_ctl_made(fields);
	if (ask->patience_ms) {
		client.timed = true;
		client.until_at_ms = now_ms() + ask->patience_ms;
	}
	r = ph_control_find(ctl->socket, client.path, &err);
	if (r == 0)
		r = ph_control_connect(client.path, &client.fd, &err);
	if (r < 0) {
		json_decref(fields);
		return ph_ctl_fail(
			r == -EINVAL ? PH_EXIT_USAGE : PH_EXIT_UNREACHABLE, "%s", err.text);
	}
	if (ask->detachable)
		client_catch_interrupt(&client, &mask);
	status = client_talk(&client, fields, ret);
	json_decref(fields);
	(void)close(client.fd);
	return status;
}

uint64_t ph_client_patience_ms(const struct ph_ctl *ctl)
{
	if (ctl->timeout_ms)
		return ctl->timeout_ms;
	return ctl->no_wait ? ACCEPT_MS : ctl->command->patience_ms;
}

enum ph_exit ph_client_ask_once(const struct ph_ctl *ctl, json_t *fields, json_t **ret)
{
	struct ph_ask ask = {
		.patience_ms = ph_client_patience_ms(ctl),
		.detachable = ctl->command->patience_ms == 0,
	};

	return ph_client_ask(ctl, fields, &ask, ret);
}

enum ph_exit ph_client_show(const struct ph_ctl *ctl, json_t *fields,
	void (*print)(const struct ph_ctl *ctl, const json_t *answer))
{
	json_t *answer = NULL;
	enum ph_exit status = ph_client_ask_once(ctl, fields, &answer);

	if (status != PH_EXIT_DONE)
		return status;
	if (ctl->json)
		ph_view_print_json(answer);
	else
		print(ctl, answer);
	json_decref(answer);
	return status;
}

json_t *ph_client_child_fields(const char *word)
{
	const char *slash = strchr(word, '/');
	json_t *fields = ph_ctl_made(json_object());
	int n = slash ? (int)(slash - word) : (int)strlen(word);

	if (json_object_set_new(fields, "child", json_sprintf("%.*s", n, word)) < 0)
		ph_ctl_out_of_memory();
	if (slash && json_object_set_new(
			     fields, "instance", json_integer(strtoll(slash + 1, NULL, 10))) < 0)
		ph_ctl_out_of_memory();
	return fields;
}

const char *ph_client_string(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}
