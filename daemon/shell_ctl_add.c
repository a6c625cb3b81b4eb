/* shell_ctl_add.c - add, remove and signal: what they ask of core, and what became of it. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shell_ctl_int.h"

#define SOURCE "add" /* stands for the file in errors, where none is named */

/* ---- add: the text */

/* The text of `config`, the caller's (free); NULL: it is neither a text nor an object. */
static char *text_of(const json_t *config)
{
	const char *text = json_string_value(config);
	if (text)
		return ph_shell_strdup(text);
	return json_is_object(config) ? json_dumps(config, JSON_COMPACT) : NULL;
}

/* All mistakes, as `reload` tells them. */
static void refuse_text(struct ph_ctl_request *request, const struct ph_conf_errors *errors)
{
	json_t *list = json_array();
	char text[PH_ERR_MAX];
	size_t more = errors->more + (errors->n ? errors->n - 1 : 0);
	for (size_t i = 0; i < errors->n; i++)
		(void)json_array_append_new(list, ph_view_text(errors->v[i].text.text));
	if (errors->more)
		(void)json_array_append_new(
			list, json_sprintf("and %zu more errors", errors->more));
	(void)snprintf(text, sizeof text, more ? "%.*s (and %zu more)" : "%.*s",
		(int)sizeof text - 40, errors->n ? errors->v[0].text.text : "out of memory", more);
	ph_ctl_refuse(request, "bad_request", text, json_pack("{s:o}", "errors", list));
}

/* What is added may come after a child that no file of this node has. */
static bool is_known(void *arg, const char *name)
{
	struct ph_view_filter filter = {.child = ph_name_of(name)};
	return ph_view_known(arg, &filter);
}

static bool knows_account(void *arg, const char *user, const char *group)
{
	return ph_shell_user_may_be(arg, user, group);
}

/* The children that are meant; NULL: it is refused. */
static struct ph_conf *read_children(struct ph_ctl_request *request, const struct ph_ctl_args *args)
{
	struct ph_conf_errors *errors = ph_shell_alloc(sizeof *errors);
	struct ph_conf *conf = NULL;
	struct ph_conf_env env;
	ph_conf_env_system(&env);
	env.knows_child = is_known;
	env.knows_account = knows_account;
	env.arg = ph_ctl_shell(request);
	ph_shell_users_again(env.arg);
	char *text = text_of(args->config);
	if (!text) {
		ph_ctl_refuse(request, "bad_request",
			"config: expected a text (YAML or JSON) or an object", NULL);
	} else if (ph_conf_load_children(args->file ? args->file : SOURCE, text, strlen(text),
			   ph_ctl_shell(request)->conf, &env, &conf, errors)) {
		refuse_text(request, errors);
	} else if (!conf->n_children) {
		ph_ctl_refuse(request, "bad_request",
			"config: there is no child in it: expected NAME: {command: [...]}", NULL);
		ph_conf_free(conf);
		conf = NULL;
	}
	free(text);
	free(errors);
	return conf;
}

/* Are there keys left for all of them in the cluster? */
static bool has_room(struct ph_ctl_request *request, const struct ph_conf *conf)
{
	struct ph_hub_counts counts;
	uint64_t wanted = 0;
	char text[120];
	ph_hub_count(ph_ctl_shell(request)->hub, &counts);
	for (size_t i = 0; i < conf->n_children; i++)
		wanted += conf->children[i]->instances;
	if (wanted + counts.entries <= PH_CONF_INSTANCES_MAX)
		return true;
	(void)snprintf(text, sizeof text, "more than %d instances of all children together",
		PH_CONF_INSTANCES_MAX);
	ph_ctl_refuse(request, "refused", text, NULL);
	return false;
}

void ph_ctl_run_add(struct ph_ctl_request *request, const struct ph_ctl_args *args)
{
	struct ph_shell *shell = ph_ctl_shell(request);
	struct ph_conf *conf = read_children(request, args);
	if (conf && has_room(request, conf)) {
		const struct ph_spec **specs = ph_shell_alloc(conf->n_children * sizeof(*specs));
		for (size_t i = 0; i < conf->n_children; i++) {
			specs[i] = ph_shell_spec_of_child(conf->children[i]);
			if (!specs[i])
				abort();
			ph_shell_specs_look_up(shell, specs[i]);
		}
		ph_ctl_command_specs(request, args, specs, conf->n_children);
	}
	ph_conf_free(conf);
}

/* ---- add: what became of it */

static const char *result_of(const struct ph_outcome *outcome)
{
	if (outcome->error)
		return ph_ctl_code(outcome->error);
	if (!outcome->ok)
		return "failed";
	return outcome->whole && outcome->text[0] ? outcome->text : "done";
}

void ph_ctl_answered_add(struct ph_ctl_request *request, const struct ph_view_filter *what,
	const struct ph_answer *answer)
{
	(void)what;
	request->rows = json_array();
	request->error = answer->error;
	(void)snprintf(request->text, sizeof request->text, "%s", answer->text);
	for (size_t i = 0; i < answer->n_outcomes; i++) {
		const struct ph_outcome *outcome = &answer->outcomes[i];
		const char *result = result_of(outcome);
		json_t *row = json_pack("{s:s,s:o,s:s}", "child", outcome->key.child.s, "instance",
			outcome->whole ? json_null()
				       : json_integer((json_int_t)outcome->key.instance),
			"result", result);
		if (outcome->text[0] && strcmp(outcome->text, result) != 0)
			(void)json_object_set_new(row, "text", ph_view_text(outcome->text));
		(void)json_array_append_new(request->rows, row);
	}
}

/* The first child that failed: the others were taken back for it. */
static const json_t *culprit(const struct ph_ctl_request *request)
{
	const json_t *row;
	size_t i;
	json_array_foreach(request->rows, i, row)
	{
		const char *result = json_string_value(json_object_get(row, "result"));
		const char *why = json_string_value(json_object_get(row, "text"));
		if (strcmp(result, "failed") == 0 && why && strcmp(why, "removed again") != 0)
			return row;
	}
	return NULL;
}

void ph_ctl_done_add(struct ph_ctl_request *request)
{
	char text[PH_ERR_MAX];
	const json_t *row = culprit(request);
	json_t *fields = json_pack("{s:O}", "children", request->rows);
	if (!request->error) {
		ph_ctl_answer(request, fields);
		return;
	}
	if (request->error == EINPROGRESS)
		(void)snprintf(text, sizeof text, "some children were not added%s%s",
			request->text[0] ? ": " : "", request->text);
	else if (row)
		(void)snprintf(text, sizeof text, "%s: %s; nothing was added",
			json_string_value(json_object_get(row, "child")),
			json_string_value(json_object_get(row, "text")));
	else
		(void)snprintf(text, sizeof text, "%s", request->text);
	ph_ctl_fail(request, request->error, text, fields);
}

/* ---- remove */

/* A child can be removed that was added; that it is in a file is told with its place. */
static bool removable(struct ph_ctl_request *request, const struct ph_view_filter *what)
{
	const struct ph_conf_child *declared =
		ph_conf_child_find(ph_ctl_shell(request)->conf, what->child.s);
	char text[PH_ERR_MAX];
	if (what->has_instance) {
		(void)snprintf(text, sizeof text,
			"%s/%u: a child is removed as a whole, expected %s", what->child.s,
			what->instance, what->child.s);
		ph_ctl_refuse(request, "bad_request", text, NULL);
		return false;
	}
	if (declared) {
		(void)snprintf(text, sizeof text,
			"%s: it stands in %.150s:%u: take it out there, then 'prochubctl reload'",
			what->child.s, declared->at.file ? declared->at.file : "the configuration",
			declared->at.line);
		ph_ctl_refuse(request, "refused", text, NULL);
		return false;
	}
	if (!ph_view_known(ph_ctl_shell(request), what)) {
		(void)snprintf(text, sizeof text, "no child '%s'", what->child.s);
		ph_ctl_refuse(request, "not_found", text, NULL);
		return false;
	}
	return true;
}

static bool stands_before(const struct ph_ctl_args *args, size_t i)
{
	for (size_t j = 0; j < i; j++)
		if (ph_name_equal(&args->filters[j].child, &args->filters[i].child))
			return true;
	return false;
}

/* None is removed where one of them cannot be. */
void ph_ctl_run_remove(struct ph_ctl_request *request, const struct ph_ctl_args *args)
{
	if (args->n_filters == 0) {
		ph_ctl_refuse(request, "bad_request", "children: missing", NULL);
		return;
	}
	for (size_t i = 0; i < args->n_filters; i++)
		if (!removable(request, &args->filters[i]))
			return;
	for (size_t i = 0; i < args->n_filters; i++)
		if (!stands_before(args, i))
			ph_ctl_command(request, args, &args->filters[i]);
}

/* One row a child, whichever instances it had. */
void ph_ctl_answered_remove(struct ph_ctl_request *request, const struct ph_view_filter *what,
	const struct ph_answer *answer)
{
	struct ph_answer whole = *answer;
	whole.n_outcomes = 0;
	ph_ctl_answered_children(request, what, &whole);
}

/* ---- signal */

/* "TERM", "SIGTERM", "term", "15", 15 */
static int signal_of(const json_t *value)
{
	const char *text = json_string_value(value);
	char *end = NULL;
	long number = text ? strtol(text, &end, 10) : (long)json_integer_value(value);
	if (!text || (*text && !*end))
		return number >= 1 && number < NSIG ? (int)number : 0;
	if (strncasecmp(text, "SIG", 3) == 0)
		text += 3;
	for (int i = 1; i < NSIG; i++) {
		const char *name = sigabbrev_np(i);
		if (name && strcasecmp(name, text) == 0)
			return i;
	}
	return 0;
}

void ph_ctl_run_signal(struct ph_ctl_request *request, const struct ph_ctl_args *args)
{
	struct ph_ctl_args sent = *args;
	sent.signal_number = signal_of(args->signal);
	if (sent.signal_number)
		ph_ctl_run_children(request, &sent);
	else
		ph_ctl_refuse(request, "bad_request",
			"signal: expected the name of a signal (TERM, HUP, USR1, ...) or its "
			"number from 1 to 64",
			NULL);
}
