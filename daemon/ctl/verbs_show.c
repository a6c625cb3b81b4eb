/* verbs_show.c - status, nodes, show, migrations, lookup. */
#include "ctl/verbs.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "ctl/client.h"
#include "ctl/progress.h"
#include "ctl/view.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static bool is_word(const json_t *entry, const char *key, const char *word)
{
	const char *s = ph_client_string(entry, key);

	return s && !strcmp(s, word);
}

/* A worker that runs and is not ready is what somebody looks for. */
static void cell_ready(
	const struct ph_view *view, const json_t *entry, const char *key, struct ph_cell *cell)
{
	ph_cell_value(view, entry, key, cell);
	if (json_is_false(json_object_get(entry, key)) && is_word(entry, "state", "running"))
		cell->color = PH_COLOR_MOVING;
}

static void add_remark(struct ph_text *text)
{
	if (text->n)
		ph_text_addf(text, ", ");
}

static void add_exit(struct ph_text *text, const json_t *ended)
{
	const json_t *code = json_object_get(ended, "code");
	const json_t *number = json_object_get(ended, "signal");
	const char *name = NULL;

	if (json_is_integer(number))
		name = sigabbrev_np((int)json_integer_value(number));
	if (number && !json_is_null(number)) {
		ph_text_addf(text, "killed by %s", name ? "SIG" : "signal ");
		if (name)
			ph_text_addf(text, "%s", name);
		else
			ph_text_add_value(text, number);
		if (json_is_true(json_object_get(ended, "core")))
			ph_text_addf(text, " (core dumped)");
		if (json_is_true(json_object_get(ended, "oom")))
			ph_text_addf(text, " (out of memory)");
	} else if (code && !json_is_null(code)) {
		ph_text_addf(text, "exit code ");
		ph_text_add_value(text, code);
	} else {
		ph_text_addf(text, "ended unseen");
	}
}

static void cell_note(
	const struct ph_view *view, const json_t *entry, const char *key, struct ph_cell *cell)
{
	const json_t *ended = json_object_get(entry, "exit");
	const json_t *reason = json_object_get(entry, "reason");
	json_int_t replica = json_integer_value(json_object_get(entry, "replica"));

	(void)view;
	(void)key;
	if (replica > 0)
		ph_text_addf(&cell->text, "replica %" JSON_INTEGER_FORMAT, replica);
	if (json_is_object(ended)) {
		add_remark(&cell->text);
		if (is_word(entry, "state", "running") || is_word(entry, "state", "standby"))
			ph_text_addf(&cell->text, "before: ");
		add_exit(&cell->text, ended);
	}
	if (json_is_string(reason)) {
		add_remark(&cell->text);
		ph_text_add_value(&cell->text, reason);
	}
	if (json_is_true(json_object_get(entry, "differs"))) {
		add_remark(&cell->text);
		ph_text_addf(&cell->text, "differs");
	}
}

static void cell_id(
	const struct ph_view *view, const json_t *entry, const char *key, struct ph_cell *cell)
{
	ph_cell_value(view, entry, key, cell);
	if (cell->text.n > 8) {
		cell->text.n = 8;
		cell->text.s[8] = '\0';
	}
}

static bool is_running(const json_t *migration)
{
	return !ph_client_string(migration, "result") || is_word(migration, "result", "running");
}

static void cell_phase(
	const struct ph_view *view, const json_t *entry, const char *key, struct ph_cell *cell)
{
	ph_cell_state(view, entry, is_running(entry) ? "phase" : key, cell);
}

static void cell_bytes(
	const struct ph_view *view, const json_t *entry, const char *key, struct ph_cell *cell)
{
	ph_cell_size(view, entry, key, cell);
	if (is_running(entry) && json_integer_value(json_object_get(entry, "total")) > 0) {
		ph_text_addf(&cell->text, " of ");
		ph_cell_size(view, entry, "total", cell);
		ph_text_addf(&cell->text, " %d%%", ph_progress_percent(entry));
	}
}

static const struct ph_column child_columns[] = {
	{"CHILD", NULL, false, ph_cell_child},
	{"NODE", "node", false, ph_cell_value},
	{"STATE", "state", false, ph_cell_state},
	{"READY", "ready", false, cell_ready},
	{"EPOCH", "epoch", true, ph_cell_epoch},
	{"PID", "pid", true, ph_cell_value},
	{"SINCE", "since_ms", true, ph_cell_duration},
	{"RESTARTS", "restarts", true, ph_cell_value},
	{"NOTE", NULL, false, cell_note},
};

static const struct ph_column node_columns[] = {
	{"NAME", "name", false, ph_cell_value},
	{"STATE", "state", false, ph_cell_state},
	{"DRAINING", "draining", false, ph_cell_flag},
	{"CHILDREN", "children", true, ph_cell_value},
	{"ADDRESS", "address", false, ph_cell_value},
	{"INCARNATION", "incarnation", true, ph_cell_value},
	{"VERSION", "version", false, ph_cell_value},
};

static const struct ph_column migration_columns[] = {
	{"ID", "id", false, cell_id},
	{"CHILD", NULL, false, ph_cell_child},
	{"FROM", "from", false, ph_cell_value},
	{"TO", "to", false, ph_cell_value},
	{"PHASE/RESULT", "result", false, cell_phase},
	{"ROUND", "round", true, ph_cell_value},
	{"BYTES", "bytes", true, cell_bytes},
	{"ELAPSED", "elapsed_ms", true, ph_cell_duration},
	{"DOWNTIME", "downtime_ms", true, ph_cell_duration},
	{"REASON", "reason", false, ph_cell_value},
};

static const struct ph_column lookup_columns[] = {
	{"INSTANCE", "instance", true, ph_cell_value},
	{"NODE", "node", false, ph_cell_value},
	{"STATE", "state", false, ph_cell_state},
	{"READY", "ready", false, cell_ready},
	{"EPOCH", "epoch", true, ph_cell_epoch},
	{"META", "meta", false, ph_cell_value},
};

static const struct ph_column option_columns[] = {
	{"OPTION", "option", false, ph_cell_value},
	{"VALUE", "value", false, ph_cell_value},
};

/* A table, or a word that there is nothing in it. */
static void print_list(const struct ph_view *view, const struct ph_column *columns, size_t n,
	const json_t *list, const char *nothing)
{
	if (json_array_size(list) > 0)
		ph_view_print(view, columns, n, list);
	else if (!view->ctl->no_legend)
		puts(nothing);
}

static json_t *running_migrations(const json_t *answer)
{
	json_t *running = ph_ctl_made(json_array());
	size_t i;
	json_t *migration;

	json_array_foreach(json_object_get(answer, "migrations"), i, migration)
	{
		if (is_running(migration) && json_array_append(running, migration) < 0)
			ph_ctl_out_of_memory();
	}
	return running;
}

/* "nodes 2 alive, 1 dead": the states in the order in which they come. */
static void add_node_states(struct ph_text *text, const json_t *nodes)
{
	json_t *counts = ph_ctl_made(json_object());
	const char *state, *separator = "   nodes ";
	const json_t *node;
	json_t *count;
	size_t i;

	json_array_foreach(nodes, i, node)
	{
		state = ph_client_string(node, "state");
		if (state)
			(void)json_object_set_new(counts, state,
				json_integer(
					json_integer_value(json_object_get(counts, state)) + 1));
	}
	json_object_foreach(counts, state, count)
	{
		ph_text_addf(
			text, "%s%" JSON_INTEGER_FORMAT " ", separator, json_integer_value(count));
		ph_text_add_escaped(text, state, false);
		separator = ", ";
	}
	json_decref(counts);
}

static void print_status_header(const struct ph_ctl *ctl, const json_t *answer)
{
	const json_t *cluster = json_object_get(answer, "cluster");
	const json_t *quorum = json_object_get(answer, "quorum");
	struct ph_text text = {0};

	ph_text_addf(&text, "node %s", ph_view_paint(ctl, PH_COLOR_STRONG));
	ph_text_add_value(&text, json_object_get(answer, "node"));
	ph_text_addf(&text, "%s", ph_view_paint(ctl, PH_COLOR_NONE));
	if (json_string_length(cluster) > 0) {
		ph_text_addf(&text, "   cluster ");
		ph_text_add_value(&text, cluster);
	}
	if (json_is_boolean(quorum))
		ph_text_addf(&text, "   quorum %s%s%s",
			ph_view_paint(ctl, json_is_true(quorum) ? PH_COLOR_GOOD : PH_COLOR_BAD),
			json_is_true(quorum) ? "yes" : "no", ph_view_paint(ctl, PH_COLOR_NONE));
	add_node_states(&text, json_object_get(answer, "nodes"));
	puts(ph_text_string(&text));
	ph_text_fini(&text);
}

static void print_status(const struct ph_ctl *ctl, const json_t *answer)
{
	const json_t *children = json_object_get(answer, "children");
	json_t *running = running_migrations(answer);
	struct ph_view view;

	ph_view_init(&view, ctl);
	ph_view_number(&view, children);
	ph_view_number(&view, running);
	if (!ctl->no_legend) {
		print_status_header(ctl, answer);
		puts("");
	}
	print_list(&view, child_columns, COUNT(child_columns), children, "no children");
	/* with --no-legend all rows have one shape */
	if (json_array_size(running) > 0 && !ctl->no_legend) {
		puts("");
		ph_view_print(&view, migration_columns, COUNT(migration_columns), running);
	}
	ph_view_fini(&view);
	json_decref(running);
}

/* A frozen worker is being moved and counts as running; a stopped one is nobody's wish. */
static bool is_missing(const json_t *child)
{
	static const char *const running[] = {"running", "standby", "frozen"};
	const json_t *wanted = json_object_get(child, "wanted");

	if (json_is_false(wanted))
		return false;
	if (is_word(child, "state", "stopped"))
		return json_is_true(wanted);
	for (size_t i = 0; i < COUNT(running); i++) {
		if (is_word(child, "state", running[i]))
			return false;
	}
	return true;
}

enum ph_exit ph_verb_status(const struct ph_ctl *ctl)
{
	json_t *fields = ph_ctl_made(json_object()), *names, *answer = NULL;
	enum ph_exit status;
	const json_t *child;
	size_t i;

	if (ctl->n_args > 0) {
		names = ph_ctl_made(json_array());
		for (i = 0; i < ctl->n_args; i++)
			(void)json_array_append_new(names, json_string(ctl->args[i]));
		(void)json_object_set_new(fields, "children", names);
	}
	status = ph_client_ask_once(ctl, fields, &answer);
	if (status != PH_EXIT_DONE)
		return status;
	if (ctl->json)
		ph_view_print_json(answer);
	else
		print_status(ctl, answer);
	json_array_foreach(json_object_get(answer, "children"), i, child)
	{
		if (is_missing(child))
			status = PH_EXIT_NOT_RUNNING;
	}
	json_decref(answer);
	return status;
}

static void print_nodes(const struct ph_ctl *ctl, const json_t *answer)
{
	struct ph_view view;

	ph_view_init(&view, ctl);
	print_list(&view, node_columns, COUNT(node_columns), json_object_get(answer, "nodes"),
		"no nodes");
	ph_view_fini(&view);
}

enum ph_exit ph_verb_nodes(const struct ph_ctl *ctl)
{
	return ph_client_show(ctl, json_object(), print_nodes);
}

static void print_spec(const struct ph_view *view, json_t *spec)
{
	json_t *rows = ph_ctl_made(json_array());
	const char *option;
	json_t *value;

	json_object_foreach(spec, option, value)
	{
		(void)json_array_append_new(
			rows, json_pack("{s:s, s:O}", "option", option, "value", value));
	}
	if (json_array_size(rows) > 0)
		ph_view_print(view, option_columns, COUNT(option_columns), rows);
	json_decref(rows);
}

static void print_show(const struct ph_ctl *ctl, const json_t *answer)
{
	const json_t *instances = json_object_get(answer, "instances");
	const json_t *migrations = json_object_get(answer, "migrations");
	struct ph_view view;

	ph_view_init(&view, ctl);
	ph_view_number(&view, instances);
	ph_view_number(&view, migrations);
	print_spec(&view, json_object_get(answer, "spec"));
	puts("");
	print_list(&view, child_columns, COUNT(child_columns), instances, "no instances");
	if (json_array_size(migrations) > 0) {
		puts("");
		ph_view_print(&view, migration_columns, COUNT(migration_columns), migrations);
	}
	ph_view_fini(&view);
}

enum ph_exit ph_verb_show(const struct ph_ctl *ctl)
{
	return ph_client_show(ctl, ph_client_child_fields(ctl->args[0]), print_show);
}

/* Keeps the migrations whose id starts with `id`: the table shows eight digits, and they do. */
static void keep_migrations(json_t *answer, const char *id)
{
	json_t *kept = ph_ctl_made(json_array()), *migration;
	size_t i;

	json_array_foreach(json_object_get(answer, "migrations"), i, migration)
	{
		const char *known = ph_client_string(migration, "id");

		if (known && !strncmp(known, id, strlen(id)))
			(void)json_array_append(kept, migration);
	}
	(void)json_object_set_new(answer, "migrations", kept);
}

enum ph_exit ph_verb_migrations(const struct ph_ctl *ctl)
{
	const char *id = ctl->n_args > 0 ? ctl->args[0] : NULL;
	const json_t *list;
	json_t *answer = NULL;
	/* always all: the daemon knows whole ids only */
	enum ph_exit status = ph_client_ask_once(ctl, json_object(), &answer);
	struct ph_view view;

	if (status != PH_EXIT_DONE)
		return status;
	if (id)
		keep_migrations(answer, id);
	list = json_object_get(answer, "migrations");
	ph_view_init(&view, ctl);
	ph_view_number(&view, list);
	if (ctl->json)
		ph_view_print_json(answer);
	if (id && json_array_size(list) == 0)
		status = ph_ctl_fail(PH_EXIT_UNREACHABLE, "no migration '%s'", id);
	else if (!ctl->json)
		print_list(
			&view, migration_columns, COUNT(migration_columns), list, "no migrations");
	ph_view_fini(&view);
	json_decref(answer);
	return status;
}

static void print_lookup(const struct ph_ctl *ctl, const json_t *answer)
{
	struct ph_view view;

	ph_view_init(&view, ctl);
	print_list(&view, lookup_columns, COUNT(lookup_columns),
		json_object_get(answer, "instances"), "no instance can be reached now");
	ph_view_fini(&view);
}

enum ph_exit ph_verb_lookup(const struct ph_ctl *ctl)
{
	return ph_client_show(ctl, ph_client_child_fields(ctl->args[0]), print_lookup);
}
