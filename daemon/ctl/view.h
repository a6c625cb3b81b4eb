/*
 * view.h - a list of JSON objects as a table for people.
 *
 * Decides how cells look: colours of states, "-" for what is unknown, room/17 or web. A table is an
 * array of columns; a new column is one row. Must not know where the list comes from.
 * Always holds: cells are escaped (text.h); nothing is cut where the output is no terminal.
 * Tested by tests/e2e/test_ctl_fake.py.
 */
#ifndef PH_CTL_VIEW_H
#define PH_CTL_VIEW_H

#include <jansson.h>

#include "ctl/ctl.h"
#include "ctl/text.h"

/* What the cells need beside their own object. */
struct ph_view {
	const struct ph_ctl *ctl;
	json_t *numbered; /* set of the children that are shown with their instance */
};

struct ph_cell {
	struct ph_text text; /* reused from cell to cell */
	const char *color;   /* escape sequence, NULL: none */
};

struct ph_column {
	const char *title;
	const char *key;
	bool right; /* aligned to the right: numbers */
	void (*write)(const struct ph_view *view, const json_t *entry, const char *key,
		struct ph_cell *cell);
};

/* Escape sequences; ph_view_paint() and the table leave them out where colours are off. */
#define PH_COLOR_GOOD "\033[32m"
#define PH_COLOR_MOVING "\033[33m"
#define PH_COLOR_BAD "\033[31m"
#define PH_COLOR_QUIET "\033[2m"
#define PH_COLOR_STRONG "\033[1m"
#define PH_COLOR_NONE "\033[0m"

/* Opens the view; children of which the words or ph_view_number() name an instance are numbered. */
void ph_view_init(struct ph_view *view, const struct ph_ctl *ctl);
void ph_view_fini(struct ph_view *view);
/* Numbers each child of `list` of which an instance above 0 is in it, or that has several. */
void ph_view_number(struct ph_view *view, const json_t *list);

/* Prints the table; a list that is none is an empty one. */
void ph_view_print(const struct ph_view *view, const struct ph_column *columns, size_t n_columns,
	const json_t *list);

/* Columns of the terminal, 80 where it does not say. */
unsigned ph_view_width(void);

/* Prints the object as --json does: one line. */
void ph_view_print_json(const json_t *object);

/* Adds `room/17` or `web` of an object with "child" and "instance". */
void ph_view_add_child(const struct ph_view *view, struct ph_text *text, const json_t *entry);
/* The colour of a state, phase or result; NULL: none. */
const char *ph_view_state_color(const char *word);
/* `color` where colours are on, else "". */
const char *ph_view_paint(const struct ph_ctl *ctl, const char *color);

/* Cell writers for columns. */
void ph_cell_value(const struct ph_view *, const json_t *, const char *, struct ph_cell *);
void ph_cell_child(const struct ph_view *, const json_t *, const char *, struct ph_cell *);
void ph_cell_state(const struct ph_view *, const json_t *, const char *, struct ph_cell *);
void ph_cell_flag(const struct ph_view *, const json_t *, const char *, struct ph_cell *);
void ph_cell_epoch(const struct ph_view *, const json_t *, const char *, struct ph_cell *);
void ph_cell_duration(const struct ph_view *, const json_t *, const char *, struct ph_cell *);
void ph_cell_size(const struct ph_view *, const json_t *, const char *, struct ph_cell *);

#endif
