/* shell_view_hub.c - the views of a whole hub: status, nodes, show, migrations, lookup. */
#include "shell_view.h"

#include <stdlib.h>
#include <string.h>

#include "io/clock.h"
#include "shell.h"

/* A list that is being filled from one of the hub's iterators. */
struct gathering {
	const struct ph_shell *shell; /* migrations */
	json_t *list;		      /* NULL: no memory */
	const struct ph_view_filter *filters;
	size_t n;
	const char *id;
	bool seen, differs;
};

static uint64_t now_ms(void)
{
	return ph_clock_now_ms();
}

bool ph_view_match(const struct ph_view_filter *filter, const struct ph_key *key)
{
	return ph_name_equal(&filter->child, &key->child) &&
	       (!filter->has_instance || filter->instance == key->instance);
}

static bool wanted(const struct gathering *g, const struct ph_key *key)
{
	for (size_t i = 0; i < g->n; i++) {
		if (ph_view_match(&g->filters[i], key))
			return true;
	}
	return g->n == 0;
}

/* Takes `value`. Returns false where there is no sense in going on. */
static bool gather(struct gathering *g, json_t *value)
{
	if (g->list && value && json_array_append_new(g->list, value) == 0)
		return true;
	json_decref(g->list);
	g->list = NULL;
	return false;
}

static bool gather_entry(void *arg, const struct ph_entry_view *entry)
{
	struct gathering *g = arg;
	if (!ph_view_shown(entry) || !wanted(g, &entry->entry.key))
		return true;
	g->seen = true;
	g->differs |= entry->differs;
	return gather(g, ph_view_entry(entry));
}

static json_t *children(struct ph_shell *shell, struct gathering *g)
{
	const struct ph_name *one = g->n == 1 ? &g->filters[0].child : NULL;
	g->list = json_array();
	ph_hub_entries(shell->hub, now_ms(), one, gather_entry, g);
	return g->list;
}

json_t *ph_view_instances(const struct ph_shell *shell, const struct ph_name *child)
{
	const struct ph_spec *spec = ph_hub_spec(shell->hub, child);
	return spec ? json_integer((json_int_t)spec->instances) : json_null();
}

static bool gather_migration(void *arg, const struct ph_migration_info *migration)
{
	struct gathering *g = arg;
	char id[PH_ID_TEXT_SIZE];
	if (!wanted(g, &migration->key))
		return true;
	if (g->id && strcmp(ph_id_text(&migration->id, id), g->id) != 0)
		return true;
	json_t *row = ph_view_migration(migration);
	if (row)
		(void)json_object_set_new(
			row, "instances", ph_view_instances(g->shell, &migration->key.child));
	return gather(g, row);
}

json_t *ph_view_migrations(
	struct ph_shell *shell, const char *id, const struct ph_view_filter *filters, size_t n)
{
	struct gathering g = {
		.shell = shell, .list = json_array(), .filters = filters, .n = n, .id = id};
	ph_hub_migrations(shell->hub, now_ms(), gather_migration, &g);
	return g.list;
}

static bool gather_member(void *arg, const struct ph_member_view *member)
{
	return gather(arg, ph_view_member(member));
}

static int by_name(const void *a, const void *b)
{
	json_t *const *x = a, *const *y = b;
	return strcmp(json_string_value(json_object_get(*x, "name")),
		json_string_value(json_object_get(*y, "name")));
}

/* The hub gives itself first; people get the list by name. Takes `list`. */
static json_t *sorted(json_t *list)
{
	size_t n = json_array_size(list);
	json_t **items = calloc(n + 1, sizeof(json_t *));
	json_t *result = json_array();
	for (size_t i = 0; items && i < n; i++)
		items[i] = json_array_get(list, i);
	if (items)
		qsort(items, n, sizeof(json_t *), by_name);
	for (size_t i = 0; items && i < n; i++)
		(void)json_array_append(result, items[i]);
	if (!items || json_array_size(result) != n) {
		json_decref(result);
		result = NULL;
	}
	free(items);
	json_decref(list);
	return result;
}

json_t *ph_view_nodes(struct ph_shell *shell)
{
	struct gathering g = {.list = json_array()};
	ph_hub_members(shell->hub, now_ms(), gather_member, &g);
	json_t *nodes = g.list ? sorted(g.list) : NULL;
	return nodes ? json_pack("{s:s,s:s,s:o}", "node", shell->node, "cluster",
			       shell->conf->cluster.name.s, "nodes", nodes)
		     : NULL;
}

json_t *ph_view_status(struct ph_shell *shell, const struct ph_view_filter *filters, size_t n)
{
	struct gathering g = {.filters = filters, .n = n};
	json_t *o = ph_view_nodes(shell);
	json_t *list = children(shell, &g);
	json_t *migrations = ph_view_migrations(shell, NULL, filters, n);
	int quorum = ph_hub_quorum(shell->hub);
	json_t *has = quorum < 0 ? json_null() : json_boolean(quorum);
	bool ok = o && list && migrations && json_object_set_new(o, "quorum", has) == 0 &&
		  json_object_set(o, "children", list) == 0 &&
		  json_object_set(o, "migrations", migrations) == 0;
	json_decref(list);
	json_decref(migrations);
	if (!ok) {
		json_decref(o);
		o = NULL;
	}
	return o;
}

static const struct ph_spec *spec_of(struct ph_shell *shell, const struct ph_name *child)
{
	return ph_hub_spec(shell->hub, child);
}

static bool see_entry(void *arg, const struct ph_entry_view *entry)
{
	struct gathering *g = arg;
	g->seen = ph_view_shown(entry) && wanted(g, &entry->entry.key);
	return !g->seen;
}

bool ph_view_known(struct ph_shell *shell, const struct ph_view_filter *filter)
{
	struct gathering g = {.filters = filter, .n = 1};
	const struct ph_spec *spec = spec_of(shell, &filter->child);
	if (spec && (!filter->has_instance || filter->instance < spec->instances))
		return true;
	ph_hub_entries(shell->hub, now_ms(), &filter->child, see_entry, &g);
	return g.seen;
}

json_t *ph_view_show(struct ph_shell *shell, const struct ph_view_filter *filter)
{
	struct gathering g = {.filters = filter, .n = 1};
	json_t *instances = children(shell, &g);
	json_t *migrations = ph_view_migrations(shell, NULL, filter, 1);
	const struct ph_spec *spec = spec_of(shell, &filter->child);
	json_t *text = spec && spec->text ? json_loads(spec->text, 0, NULL) : NULL;
	(void)json_object_del(text, "added"); /* no option: `origin` says so */
	return json_pack("{s:s,s:s,s:o?,s:o,s:b,s:o,s:o}", "child", filter->child.s, "origin",
		ph_view_origin(spec && spec->added), "spec", text, "revision",
		spec && spec->revision ? json_integer((json_int_t)spec->revision) : json_null(),
		"differs", g.differs, "instances", instances, "migrations", migrations);
}

static bool gather_instance(void *arg, const struct ph_entry_view *entry)
{
	struct gathering *g = arg;
	if (!wanted(g, &entry->entry.key) || !ph_view_found(entry))
		return true;
	return gather(g, ph_view_instance(entry));
}

json_t *ph_view_lookup(
	struct ph_shell *shell, const struct ph_name *child, bool has_instance, uint32_t instance)
{
	struct ph_view_filter filter = {*child, has_instance, instance};
	struct gathering g = {.filters = &filter, .n = 1};
	if (!ph_view_known(shell, &filter))
		return NULL;
	g.list = json_array();
	ph_hub_entries(shell->hub, now_ms(), child, gather_instance, &g);
	json_t *o = json_pack("{s:s,s:o}", "child", child->s, "instances", g.list);
	if (o && ph_hub_stale(shell->hub, now_ms()))
		(void)json_object_set_new(o, "stale", json_true());
	return o;
}
