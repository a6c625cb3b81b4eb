/* shell_ctl_orders.c - requests that core carries out: what they ask, what became of them. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "proto/bus.h"
#include "shell_ctl_int.h"

/* Takes `value`; without memory the list is one shorter. */
static void append(json_t **list, json_t *value)
{
	if (!*list)
		*list = json_array();
	(void)json_array_append_new(*list, value);
}

static json_t *list_or_empty(json_t *list)
{
	return list ? json_incref(list) : json_array();
}

static json_t *row_of_key(const struct ph_key *key)
{
	return json_pack("{s:s,s:I}", "child", key->child.s, "instance", (json_int_t)key->instance);
}

static json_t *row_of_filter(const struct ph_view_filter *what)
{
	return json_pack("{s:s,s:o}", "child", what->child.s, "instance",
		what->has_instance ? json_integer((json_int_t)what->instance) : json_null());
}

static void add_text(json_t *row, const char *name, const char *text)
{
	if (*text)
		(void)json_object_set_new(row, name, ph_view_text(text));
}

static void remember_error(struct ph_ctl_request *request, const struct ph_answer *answer)
{
	if (!answer->error)
		return;
	request->error = answer->error;
	(void)snprintf(request->text, sizeof request->text, "%s", answer->text);
}

/* ---- start, stop, restart */

void ph_ctl_run_children(struct ph_ctl_request *request, const struct ph_ctl_args *args)
{
	if (args->n_filters == 0) {
		ph_ctl_refuse(request, "bad_request", "children: missing", NULL);
		return;
	}
	for (size_t i = 0; i < args->n_filters; i++)
		ph_ctl_command(request, args, &args->filters[i]);
}

void ph_ctl_answered_children(struct ph_ctl_request *request, const struct ph_view_filter *what,
	const struct ph_answer *answer)
{
	remember_error(request, answer);
	for (size_t i = 0; i < answer->n_outcomes; i++) {
		const struct ph_outcome *outcome = &answer->outcomes[i];
		json_t *row = row_of_key(&outcome->key);
		add_text(row, "result", outcome->ok ? "done" : "failed");
		add_text(row, "text", outcome->text);
		append(&request->rows, row);
	}
	if (answer->n_outcomes)
		return;
	json_t *row = row_of_filter(what);
	add_text(row, "result", answer->error ? ph_ctl_code(answer->error) : "done");
	add_text(row, "text", answer->text);
	append(&request->rows, row);
}

/* An order for one name that nothing was done about is refused as a whole. */
static bool refused_whole(const struct ph_ctl_request *request)
{
	const json_t *row = json_array_get(request->rows, 0);
	return request->error && request->sent == 1 && json_array_size(request->rows) == 1 &&
	       !strcmp(json_string_value(json_object_get(row, "result")),
		       ph_ctl_code(request->error)) &&
	       strcmp(ph_ctl_code(request->error), "failed") != 0;
}

static const json_t *first_failure(const struct ph_ctl_request *request, size_t *ret_n)
{
	const json_t *row, *first = NULL;
	size_t i;
	*ret_n = 0;
	json_array_foreach(request->rows, i, row)
	{
		if (!strcmp(json_string_value(json_object_get(row, "result")), "done"))
			continue;
		first = first ? first : row;
		(*ret_n)++;
	}
	return first;
}

/* "room/1: exit code 1", or "start: 2 done, 1 failed: room/1: exit code 1" */
static void failure_text(const struct ph_ctl_request *request, const json_t *first, size_t failed,
	char *ret, size_t size)
{
	size_t all = json_array_size(request->rows);
	const json_t *instance = json_object_get(first, "instance");
	const char *why = json_string_value(json_object_get(first, "text"));
	char number[24] = "", counts[PH_NAME_SIZE + 64] = "";
	if (json_is_integer(instance))
		(void)snprintf(
			number, sizeof number, "/%lld", (long long)json_integer_value(instance));
	if (all > 1)
		(void)snprintf(counts, sizeof counts,
			"%s: %zu done, %zu failed: ", request->verb->name, all - failed, failed);
	(void)snprintf(ret, size, "%s%s%s: %s", counts,
		json_string_value(json_object_get(first, "child")), number,
		why ? why : json_string_value(json_object_get(first, "result")));
}

/* Whatever is asked for and does not come about is no success: who looks at `ok` alone knows. */
void ph_ctl_done_children(struct ph_ctl_request *request)
{
	char text[PH_ERR_MAX];
	size_t failed;
	if (refused_whole(request)) {
		ph_ctl_fail(request, request->error, request->text, NULL);
		return;
	}
	json_t *fields = json_pack("{s:o}", "children", list_or_empty(request->rows));
	const json_t *first = first_failure(request, &failed);
	if (!first) {
		ph_ctl_answer(request, fields);
		return;
	}
	failure_text(request, first, failed, text, sizeof text);
	ph_ctl_refuse(request, failed < json_array_size(request->rows) ? "partly" : "failed", text,
		fields);
}

/* ---- move, drain, undrain */

void ph_ctl_run_move(struct ph_ctl_request *request, const struct ph_ctl_args *args)
{
	struct ph_ctl_args sent = *args;
	if (!sent.node.s[0])
		sent.node = ph_name_of(ph_ctl_shell(request)->node);
	request->node = sent.node;
	if (request->verb->order == PH_VERB_MOVE)
		request->what = args->filters[0];
	if (request->verb->order != PH_VERB_UNDRAIN && !args->no_wait) {
		request->progress = true;
		ph_ctl_progress_start(request);
	}
	ph_ctl_command(request, &sent, args->n_filters ? args->filters : NULL);
}

void ph_ctl_answered_move(struct ph_ctl_request *request, const struct ph_view_filter *what,
	const struct ph_answer *answer)
{
	char id[PH_ID_TEXT_SIZE];
	(void)what;
	remember_error(request, answer);
	for (size_t i = 0; i < answer->n_outcomes; i++) {
		const struct ph_outcome *outcome = &answer->outcomes[i];
		json_t *row = row_of_key(&outcome->key);
		if (!ph_id_none(&outcome->id))
			add_text(row, "id", ph_id_text(&outcome->id, id));
		if (outcome->ok && !ph_id_none(&outcome->id))
			ph_ctl_progress_detail(request, &outcome->id, row);
		add_text(row, "text", outcome->text);
		append(outcome->ok ? &request->rows : &request->left, row);
	}
}

/* "drain: 2 moved, 1 left where it is: web/0: busy" */
static void partly_text(const struct ph_ctl_request *request, char *ret, size_t size)
{
	const json_t *first = json_array_get(request->left, 0);
	const char *child = json_string_value(json_object_get(first, "child"));
	const char *why = json_string_value(json_object_get(first, "text"));
	int n = snprintf(ret, size, "%s: %zu moved, %zu left", request->verb->name,
		json_array_size(request->rows), json_array_size(request->left));
	if (child && n > 0 && (size_t)n < size)
		(void)snprintf(ret + n, size - (size_t)n, ": %s/%lld%s%s", child,
			(long long)json_integer_value(json_object_get(first, "instance")),
			why ? ": " : "", why ? why : "");
}

/* Why nothing moved: what core says, else what it says of the first child. */
static const char *reason(const struct ph_ctl_request *request)
{
	const char *first =
		json_string_value(json_object_get(json_array_get(request->left, 0), "text"));
	return request->text[0] || !first ? request->text : first;
}

void ph_ctl_done_move(struct ph_ctl_request *request)
{
	char text[PH_ERR_MAX];
	const char *result = !request->error		     ? "done"
			     : request->error == EINPROGRESS ? "partly"
							     : "aborted";
	json_t *fields = json_pack("{s:o,s:o,s:s}", "moved", list_or_empty(request->rows), "left",
		list_or_empty(request->left), "result", result);
	if (!request->error) {
		ph_ctl_answer(request, fields);
		return;
	}
	if (request->error == EINPROGRESS)
		partly_text(request, text, sizeof text);
	else
		(void)snprintf(text, sizeof text, "%s", reason(request));
	if (fields && *reason(request))
		add_text(fields, "reason", reason(request));
	ph_ctl_fail(request, request->error, text, fields);
}

/* ---- cancel */

void ph_ctl_run_cancel(struct ph_ctl_request *request, const struct ph_ctl_args *args)
{
	ph_ctl_command(request, args, NULL);
}

/* The migration as it stands then, as the list of migrations has it. */
void ph_ctl_answered_cancel(struct ph_ctl_request *request, const struct ph_view_filter *what,
	const struct ph_answer *answer)
{
	char id[PH_ID_TEXT_SIZE];
	(void)what;
	remember_error(request, answer);
	if (answer->n_outcomes)
		request->rows = ph_view_migrations(
			ph_ctl_shell(request), ph_id_text(&answer->outcomes[0].id, id), NULL, 0);
}

void ph_ctl_done_cancel(struct ph_ctl_request *request)
{
	char text[PH_ERR_MAX];
	json_t *found = json_array_get(request->rows, 0);
	json_t *fields = found ? json_incref(found) : json_object();
	if (!request->error) {
		ph_ctl_answer(request, fields);
		return;
	}
	(void)snprintf(text, sizeof text, "%s", request->text);
	if (found)
		(void)snprintf(text, sizeof text, "%s/%lld: %s",
			json_string_value(json_object_get(found, "child")),
			(long long)json_integer_value(json_object_get(found, "instance")),
			request->text);
	ph_ctl_fail(request, request->error, text, fields);
}

/* ---- forget */

void ph_ctl_run_forget(struct ph_ctl_request *request, const struct ph_ctl_args *args)
{
	request->node = args->node;
	ph_ctl_command(request, args, NULL);
}

void ph_ctl_answered_forget(struct ph_ctl_request *request, const struct ph_view_filter *what,
	const struct ph_answer *answer)
{
	(void)what;
	remember_error(request, answer);
}

void ph_ctl_done_forget(struct ph_ctl_request *request)
{
	if (request->error)
		ph_ctl_fail(request, request->error, request->text, NULL);
	else
		ph_ctl_answer(request, json_pack("{s:s}", "node", request->node.s));
}

/* ---- wait */

void ph_ctl_run_wait(struct ph_ctl_request *request, const struct ph_ctl_args *args)
{
	request->what = args->filters[0];
	ph_ctl_command(request, args, args->filters);
}

void ph_ctl_done_wait(struct ph_ctl_request *request)
{
	if (request->error)
		ph_ctl_fail(request, request->error, reason(request), NULL);
	else
		ph_ctl_answer(request, row_of_filter(&request->what));
}
