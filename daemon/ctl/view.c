/* view.c - a list of JSON objects as a table for people. */
#include "ctl/view.h"

#include <libsmartcols.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/types.h"

/* What a terminal must have at least, beside so much a column, for the last column to wrap. */
enum {
	WRAP_LEFT = 40,
	WRAP_COLUMN = 7
};

/* States of children, nodes and migrations: X(word, colour) */
#define STATES(X) \
	X("running", GOOD) \
	X("alive", GOOD) \
	X("standby", GOOD) \
	X("done", GOOD) \
	X("started", GOOD) \
	X("restarted", GOOD) \
	X("waiting", MOVING) \
	X("starting", MOVING) \
	X("frozen", MOVING) \
	X("stopping", MOVING) \
	X("joining", MOVING) \
	X("suspect", MOVING) \
	X("plan", MOVING) \
	X("prepare", MOVING) \
	X("copy", MOVING) \
	X("freeze", MOVING) \
	X("prepared", MOVING) \
	X("commit", MOVING) \
	X("active", MOVING) \
	X("retention", MOVING) \
	X("stop", MOVING) \
	X("partly", MOVING) \
	X("backoff", BAD) \
	X("failed", BAD) \
	X("dead", BAD) \
	X("aborted", BAD) \
	X("rolled-back", BAD) \
	X("source-dead", BAD) \
	X("target-dead", BAD) \
	X("timeout", BAD) \
	X("refused", BAD) \
	X("stopped", QUIET) \
	X("left", QUIET)

void ph_view_init(struct ph_view *view, const struct ph_ctl *ctl)
{
	view->ctl = ctl;
	view->numbered = ph_ctl_made(json_object());
	for (size_t i = 0; i < ctl->n_args; i++) {
		const char *slash = strchr(ctl->args[i], '/');
		struct ph_name child;

		if (!slash)
			continue;
		child = ph_name_of(ctl->args[i]);
		if ((size_t)(slash - ctl->args[i]) < sizeof(child.s))
			child.s[slash - ctl->args[i]] = '\0';
		(void)json_object_set_new(view->numbered, child.s, json_true());
	}
}

void ph_view_fini(struct ph_view *view)
{
	json_decref(view->numbered);
}

void ph_view_number(struct ph_view *view, const json_t *list)
{
	size_t i;
	const json_t *entry;

	json_array_foreach(list, i, entry)
	{
		const char *child = json_string_value(json_object_get(entry, "child"));

		if (child && (json_integer_value(json_object_get(entry, "instance")) > 0 ||
				     json_integer_value(json_object_get(entry, "instances")) > 1))
			(void)json_object_set_new(view->numbered, child, json_true());
	}
}

void ph_view_add_child(const struct ph_view *view, struct ph_text *text, const json_t *entry)
{
	const json_t *child = json_object_get(entry, "child");
	const json_t *instance = json_object_get(entry, "instance");

	ph_text_add_value(text, child);
	if (json_is_integer(instance) && json_is_string(child) &&
		json_object_get(view->numbered, json_string_value(child)))
		ph_text_addf(text, "/%" JSON_INTEGER_FORMAT, json_integer_value(instance));
}

const char *ph_view_state_color(const char *word)
{
	static const struct {
		const char *word, *color;
	} states[] = {
#define X(state, color) {state, PH_COLOR_##color},
		STATES(X)
#undef X
	};

	for (size_t i = 0; word && i < sizeof(states) / sizeof(states[0]); i++) {
		if (!strcmp(states[i].word, word))
			return states[i].color;
	}
	return NULL;
}

const char *ph_view_paint(const struct ph_ctl *ctl, const char *color)
{
	return ctl->colored && color ? color : "";
}

unsigned ph_view_width(void)
{
	struct winsize size = {.ws_col = 0};

	(void)ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
	return size.ws_col ? size.ws_col : 80;
}

static struct libscols_table *view_table(
	const struct ph_view *view, const struct ph_column *columns, size_t n_columns)
{
	struct libscols_table *table = ph_ctl_made(scols_new_table());
	/* in a sliver of a column nobody can read: then the terminal folds the line */
	bool wrap = view->ctl->terminal &&
		    ph_view_width() >= WRAP_LEFT + WRAP_COLUMN * (unsigned)n_columns;

	(void)scols_table_enable_noheadings(table, view->ctl->no_legend);
	(void)scols_table_enable_colors(table, view->ctl->colored);
	/* cells are escaped already, and once is enough */
	(void)scols_table_enable_noencoding(table, 1);
	(void)scols_table_set_column_separator(table, "  ");
	(void)scols_table_set_stream(table, stdout);
	if (!view->ctl->terminal)
		(void)scols_table_set_termforce(table, SCOLS_TERMFORCE_NEVER);
	for (size_t i = 0; i < n_columns; i++) {
		int flags = columns[i].right ? SCOLS_FL_RIGHT : 0;

		/* the last column is for remarks: it goes on below rather than at the left edge */
		if (i + 1 == n_columns && wrap)
			flags = SCOLS_FL_WRAP;
		(void)ph_ctl_made(scols_table_new_column(table, columns[i].title, 0, flags));
	}
	return table;
}

void ph_view_print(const struct ph_view *view, const struct ph_column *columns, size_t n_columns,
	const json_t *list)
{
	struct libscols_table *table = view_table(view, columns, n_columns);
	struct ph_cell cell = {0};
	size_t i;
	const json_t *entry;

	json_array_foreach(list, i, entry)
	{
		struct libscols_line *line = ph_ctl_made(scols_table_new_line(table, NULL));

		for (size_t c = 0; c < n_columns; c++) {
			ph_text_clear(&cell.text);
			cell.color = NULL;
			columns[c].write(view, entry, columns[c].key, &cell);
			if (scols_line_set_data(line, c, ph_text_string(&cell.text)) < 0)
				ph_ctl_out_of_memory();
			if (cell.color)
				(void)scols_cell_set_color(
					scols_line_get_cell(line, c), cell.color);
		}
	}
	(void)scols_print_table(table);
	scols_unref_table(table);
	ph_text_fini(&cell.text);
}

void ph_view_print_json(const json_t *object)
{
	struct ph_text text = {0};

	ph_text_add_json(&text, object);
	puts(ph_text_string(&text));
	ph_text_fini(&text);
}

void ph_cell_value(
	const struct ph_view *view, const json_t *entry, const char *key, struct ph_cell *cell)
{
	(void)view;
	ph_text_add_value(&cell->text, json_object_get(entry, key));
}

void ph_cell_child(
	const struct ph_view *view, const json_t *entry, const char *key, struct ph_cell *cell)
{
	(void)key;
	ph_view_add_child(view, &cell->text, entry);
}

void ph_cell_state(
	const struct ph_view *view, const json_t *entry, const char *key, struct ph_cell *cell)
{
	ph_cell_value(view, entry, key, cell);
	cell->color = ph_view_state_color(json_string_value(json_object_get(entry, key)));
}

/* A flag whose "no" is the usual thing is shown only when it is set. */
void ph_cell_flag(
	const struct ph_view *view, const json_t *entry, const char *key, struct ph_cell *cell)
{
	bool on = json_is_true(json_object_get(entry, key));

	(void)view;
	ph_text_addf(&cell->text, "%s", on ? "yes" : "-");
	cell->color = on ? PH_COLOR_MOVING : NULL;
}

void ph_cell_epoch(
	const struct ph_view *view, const json_t *entry, const char *key, struct ph_cell *cell)
{
	const json_t *epoch = json_object_get(entry, key);

	if (!json_is_integer(epoch) || json_integer_value(epoch) < 0) {
		ph_cell_value(view, entry, key, cell);
		return;
	}
	ph_text_addf(&cell->text, "%llu",
		(unsigned long long)ph_epoch_counter((uint64_t)json_integer_value(epoch)));
}

void ph_cell_duration(
	const struct ph_view *view, const json_t *entry, const char *key, struct ph_cell *cell)
{
	const json_t *value = json_object_get(entry, key);
	double ms = json_number_value(value);

	/* downtimes may come with fractions; a year-long one comes from a confused clock */
	if (!json_is_number(value) || ms < 0 || ms > 1e15)
		ph_cell_value(view, entry, key, cell);
	else if (json_is_real(value) && ms < 10)
		ph_text_addf(&cell->text, "%.1fms", ms);
	else
		ph_text_add_duration(&cell->text, (uint64_t)ms);
}

void ph_cell_size(
	const struct ph_view *view, const json_t *entry, const char *key, struct ph_cell *cell)
{
	const json_t *value = json_object_get(entry, key);

	if (!json_is_integer(value) || json_integer_value(value) < 0)
		ph_cell_value(view, entry, key, cell);
	else
		ph_text_add_size(&cell->text, (uint64_t)json_integer_value(value));
}
