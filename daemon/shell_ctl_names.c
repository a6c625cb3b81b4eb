/* shell_ctl_names.c - names with wildcards: the children that they mean. */
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "io/clock.h"
#include "shell_ctl_int.h"

struct matching {
	const char *pattern;
	struct ph_view_filter *filters;
	size_t n, room;
};

static void take(struct matching *m, const struct ph_view_filter *filter)
{
	if (m->n == m->room) {
		m->room = 2 * m->room + 8;
		m->filters = realloc(m->filters, m->room * sizeof *m->filters);
		if (!m->filters)
			abort();
	}
	m->filters[m->n++] = *filter;
}

static bool match(void *arg, const struct ph_entry_view *entry)
{
	struct matching *m = arg;
	const struct ph_view_filter filter = {.child = entry->entry.key.child};
	bool again = m->n && ph_name_equal(&m->filters[m->n - 1].child, &filter.child);
	if (!again && fnmatch(m->pattern, filter.child.s, 0) == 0)
		take(m, &filter);
	return true;
}

static int compare(const void *a, const void *b)
{
	const struct ph_view_filter *x = a, *y = b;
	return strcmp(x->child.s, y->child.s);
}

/* Each child once, however many instances it has. */
static size_t unique(struct ph_view_filter *filters, size_t n)
{
	size_t kept = 0;
	qsort(filters, n, sizeof *filters, compare);
	for (size_t i = 0; i < n; i++)
		if (!kept || compare(&filters[kept - 1], &filters[i]) != 0)
			filters[kept++] = filters[i];
	return kept;
}

int ph_ctl_names_expand(struct ph_shell *shell, struct ph_ctl_args *args, struct ph_err *err)
{
	struct matching m = {.n = 0};
	for (size_t i = 0; i < args->n_filters; i++) {
		const struct ph_view_filter *filter = &args->filters[i];
		size_t before = m.n;
		if (!ph_name_is_pattern(filter->child.s)) {
			take(&m, filter);
			continue;
		}
		m.pattern = filter->child.s;
		ph_hub_entries(shell->hub, ph_clock_now_ms(), NULL, match, &m);
		if (m.n == before) {
			free(m.filters);
			return ph_err_set(err, ENOENT, "no child matches '%s'", filter->child.s);
		}
		m.n = before + unique(m.filters + before, m.n - before);
	}
	free(args->filters);
	args->filters = m.filters;
	args->n_filters = m.n;
	return 0;
}
