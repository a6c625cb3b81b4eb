#include "shell_ctl.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "shell_ctl_int.h"
#include "shell_emit.h"
#include "shell_logs.h"

/* A command that core has, and whose it is. */
struct ticket {
	uint64_t number;
	struct ph_ctl_request *request;
	struct ph_view_filter what;
	struct ticket *prev, *next;
};

struct ph_shell_ctl {
	struct ph_shell *shell;
	struct ph_ctl_conns *conns;
	struct event *tick; /* only while somebody wants progress */
	bool ticking;
	uint64_t last_ticket;
	struct ticket *tickets; /* in the order of their numbers, mostly answered in it */
	struct ph_ctl_request *requests;
};

struct ph_shell *ph_ctl_shell(const struct ph_ctl_request *request)
{
	return request->ctl->shell;
}

/* ---- answers */

const char *ph_ctl_code(int error)
{
	switch (error) {
	case ENOENT:
		return "not_found";
	case EINVAL:
		return "bad_request";
	case ETIMEDOUT:
		return "timeout";
	case EEXIST:
		return "exists";
	case EINPROGRESS:
		return "partly";
	case ENOTSUP:
	case EBUSY:
		return "refused";
	default:
		return "failed";
	}
}

void ph_ctl_what_text(const struct ph_view_filter *what, char *ret, size_t size)
{
	if (what->has_instance)
		(void)snprintf(ret, size, "%s/%u", what->child.s, what->instance);
	else
		(void)snprintf(ret, size, "%s", what->child.s);
}

void ph_ctl_answer(struct ph_ctl_request *request, json_t *fields)
{
	request->over = true;
	ph_ctl_conn_answer(request->conn, request->re, fields, false);
}

void ph_ctl_refuse(
	struct ph_ctl_request *request, const char *code, const char *text, json_t *fields)
{
	request->over = true;
	ph_ctl_conn_refuse(request->conn, request->re, code, text, fields);
}

void ph_ctl_fail(struct ph_ctl_request *request, int error, const char *text, json_t *fields)
{
	ph_ctl_refuse(request, ph_ctl_code(error), text && *text ? text : strerror(error), fields);
}

/* ---- requests */

static void set_ticking(struct ph_shell_ctl *ctl)
{
	static const struct timeval every = {0, PH_CTL_PROGRESS_MS * 1000};
	struct ph_ctl_request *request;
	bool wanted = false;
	DL_FOREACH (ctl->requests, request) {
		wanted |= request->progress;
	}
	if (wanted && !ctl->ticking)
		(void)event_add(ctl->tick, &every);
	else if (!wanted && ctl->ticking)
		(void)event_del(ctl->tick);
	ctl->ticking = wanted;
}

static void request_free(struct ph_ctl_request *request)
{
	struct ph_shell_ctl *ctl = request->ctl;
	DL_DELETE(ctl->requests, request);
	if (request->logs)
		ph_shell_logs_leave(request->logs);
	json_decref(request->rows);
	json_decref(request->left);
	free(request);
	set_ticking(ctl);
}

void ph_ctl_over(struct ph_ctl_request *request)
{
	request_free(request);
}

static struct ph_command command_of(struct ph_ctl_request *request, const struct ph_ctl_args *args)
{
	return (struct ph_command){
		.ticket = ++request->ctl->last_ticket,
		.verb = request->verb->order,
		.node = args->node,
		.force = args->force,
		.no_wait = args->no_wait,
		.keep_going = args->keep_going,
		.timeout_ms = args->timeout_ms,
		.wait_for = args->wait_for,
		.id = args->migration,
		.id_digits = args->migration_digits,
		.signal = args->signal_number,
	};
}

static struct ticket *ticket_add(struct ph_ctl_request *request, uint64_t number)
{
	struct ticket *ticket = ph_shell_alloc(sizeof *ticket);
	ticket->number = number;
	ticket->request = request;
	DL_APPEND(request->ctl->tickets, ticket);
	request->pending++;
	request->sent++;
	return ticket;
}

void ph_ctl_command(struct ph_ctl_request *request, const struct ph_ctl_args *args,
	const struct ph_view_filter *what)
{
	struct ph_command command = command_of(request, args);
	struct ticket *ticket = ticket_add(request, command.ticket);
	if (what) {
		ticket->what = *what;
		command.child = what->child;
		command.all_instances = !what->has_instance;
		command.instance = what->instance;
	}
	struct ph_event event = {
		.kind = PH_EV_COMMAND, .ticket = command.ticket, .command = &command};
	ph_shell_push_flat(request->ctl->shell, &event, &command, sizeof command);
}

struct added {
	struct ph_command command;
	const struct ph_spec **specs;
};

static void added_free(void *arg)
{
	struct added *added = arg;
	for (size_t i = 0; i < added->command.n_specs; i++)
		ph_spec_free(added->specs[i]);
	free(added->specs);
	free(added);
}

void ph_ctl_command_specs(struct ph_ctl_request *request, const struct ph_ctl_args *args,
	const struct ph_spec **specs, size_t n)
{
	struct added *added = ph_shell_alloc(sizeof *added);
	added->command = command_of(request, args);
	added->specs = specs;
	added->command.specs = (const struct ph_spec *const *)specs;
	added->command.n_specs = n;
	(void)ticket_add(request, added->command.ticket);
	struct ph_event event = {
		.kind = PH_EV_COMMAND, .ticket = added->command.ticket, .command = &added->command};
	ph_shell_push(request->ctl->shell, &event, added_free, added);
}

static void on_request(
	void *arg, struct ph_ctl_conn *conn, const char *op, uint64_t re, json_t *object)
{
	struct ph_shell_ctl *ctl = arg;
	struct ph_ctl_args args;
	struct ph_err err = {""};
	const struct ph_ctl_verb *verb = ph_ctl_verb_find(op);
	if (!verb) {
		const char *code = ph_ctl_verb_unknown(op, &err);
		ph_ctl_conn_refuse(conn, re, code, err.text, NULL);
		return;
	}
	int error = ph_ctl_args_read(object, verb->known, verb->required, &args, &err);
	if (!error)
		error = ph_ctl_names_expand(ctl->shell, &args, &err);
	if (error) {
		const char *code = error == -EBADMSG  ? "bad_request"
				   : error == -ENOENT ? "not_found"
						      : "failed";
		ph_ctl_conn_refuse(conn, re, code, err.text, NULL);
	} else {
		struct ph_ctl_request *request = ph_shell_alloc(sizeof *request);
		request->ctl = ctl;
		request->conn = conn;
		request->re = re;
		request->verb = verb;
		DL_APPEND(ctl->requests, request);
		verb->run(request, &args);
		if (request->over)
			request_free(request);
		else
			set_ticking(ctl);
	}
	ph_ctl_args_fini(&args);
}

static void on_closed(void *arg, struct ph_ctl_conn *conn)
{
	struct ph_shell_ctl *ctl = arg;
	struct ticket *ticket, *next_ticket;
	struct ph_ctl_request *request, *next;
	DL_FOREACH_SAFE(ctl->tickets, ticket, next_ticket)
	{
		if (ticket->request->conn != conn)
			continue;
		struct ph_event event = {.kind = PH_EV_DETACHED, .ticket = ticket->number};
		ph_shell_push(ctl->shell, &event, NULL, NULL);
		DL_DELETE(ctl->tickets, ticket);
		free(ticket);
	}
	DL_FOREACH_SAFE(ctl->requests, request, next)
	{
		if (request->conn == conn)
			request_free(request);
	}
}

/* ---- what goes on by itself */

static void on_event(void *arg, const struct ph_emitted *told)
{
	struct ph_shell_ctl *ctl = arg;
	struct ph_ctl_request *request;
	json_t *event = NULL;
	DL_FOREACH (ctl->requests, request) {
		if (!request->follow)
			continue;
		if (!event)
			event = ph_emitted_json(told);
		if (event)
			ph_ctl_conn_answer(request->conn, request->re, json_incref(event), true);
	}
	json_decref(event);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct ph_shell_ctl *ctl = arg;
	struct ph_ctl_request *request;
	(void)fd;
	(void)what;
	DL_FOREACH (ctl->requests, request) {
		if (request->progress)
			ph_ctl_progress_tell(request);
	}
}

void ph_shell_ctl_act(struct ph_shell_ctl *ctl, const struct ph_action *action)
{
	struct ticket *ticket;
	/* CHANGED concerns watchers on the worker socket; nobody watches here in this version */
	if (!ctl || action->kind != PH_ACT_ANSWER)
		return;
	DL_FOREACH (ctl->tickets, ticket) {
		if (ticket->number == action->answer->ticket)
			break;
	}
	if (!ticket) /* the client has left */
		return;
	struct ph_ctl_request *request = ticket->request;
	DL_DELETE(ctl->tickets, ticket);
	request->pending--;
	request->verb->answered(request, &ticket->what, action->answer);
	free(ticket);
	if (request->pending == 0)
		request->verb->done(request);
	if (request->over)
		request_free(request);
}

/* ---- life */

int ph_shell_ctl_new(struct ph_shell *shell, const char *path, mode_t mode, gid_t gid,
	struct ph_shell_ctl **ret, struct ph_err *err)
{
	static const struct ph_ctl_callbacks callbacks = {on_request, on_closed};
	struct ph_shell_ctl *ctl = calloc(1, sizeof *ctl);
	if (!ctl)
		return ph_err_set(err, ENOMEM, "out of memory");
	ctl->shell = shell;
	ctl->tick = event_new(shell->base, -1, EV_PERSIST, on_tick, ctl);
	int error = ctl->tick ? ph_ctl_conns_new(shell->base,
					ph_shell_kept_take(shell, PH_KEPT_CONTROL), path, mode, gid,
					&callbacks, ctl, &ctl->conns, err)
			      : ph_err_set(err, ENOMEM, "out of memory");
	if (error) {
		ph_shell_ctl_free(ctl);
		return error;
	}
	ph_shell_emit_listen(shell->emit, on_event, ctl);
	*ret = ctl;
	return 0;
}

int ph_shell_ctl_fd(const struct ph_shell *shell)
{
	return ph_ctl_conns_fd(shell->ctl->conns);
}

void ph_shell_ctl_free(struct ph_shell_ctl *ctl)
{
	struct ticket *ticket, *next;
	if (!ctl)
		return;
	if (ctl->shell->emit)
		ph_shell_emit_listen(ctl->shell->emit, NULL, NULL);
	DL_FOREACH_SAFE(ctl->tickets, ticket, next)
	{
		DL_DELETE(ctl->tickets, ticket);
		free(ticket);
	}
	while (ctl->requests)
		request_free(ctl->requests);
	ph_ctl_conns_free(ctl->conns);
	if (ctl->tick)
		event_free(ctl->tick);
	free(ctl);
}
