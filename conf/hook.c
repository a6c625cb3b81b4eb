/* hook.c - the section `hooks`: each is a name with its options, from all documents together. */
#include "conf/load.h"
#include "conf/value.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void hook_free(struct ph_conf_hook *hook)
{
	for (size_t i = 0; i < ph_conf_hook_table.n; i++)
		ph_conf_value_free(&ph_conf_hook_table.rows[i], hook);
	free(hook->origin);
	free(hook);
}

void ph_conf_hooks_free(struct ph_conf *conf)
{
	for (size_t i = 0; i < conf->n_hooks; i++)
		hook_free(conf->hooks[i]);
	free(conf->hooks);
	conf->hooks = NULL;
	conf->n_hooks = 0;
}

static struct ph_conf_hook *hook_new(struct ph_conf *conf, const char *name)
{
	struct ph_conf_hook *hook = calloc(1, sizeof *hook);
	if (!conf->hooks)
		conf->hooks = calloc(PH_CONF_HOOKS_MAX, sizeof *conf->hooks);
	if (hook)
		hook->origin = calloc(ph_conf_hook_table.n, sizeof *hook->origin);
	if (!conf->hooks || !hook || !hook->origin) {
		free(hook);
		return NULL;
	}
	hook->name = ph_name_of(name);
	return hook;
}

static bool is_set(const struct ph_conf_hook *hook, const char *path)
{
	return hook->origin[ph_conf_option_index(&ph_conf_hook_table, path)].from ==
	       PH_CONF_FROM_FILE;
}

static int load_options(
	struct ph_conf_loader *ld, struct ph_conf_hook *hook, const struct ph_conf_node *value)
{
	static const char *const needed[] = {"on", "command"};
	char where[PH_CONF_WHERE_SIZE];
	(void)snprintf(where, sizeof where, "hooks.%s", hook->name.s);
	struct ph_conf_scope scope = {
		.table = &ph_conf_hook_table,
		.holder = hook,
		.origin = hook->origin,
		.where = where,
	};
	int rc = ph_conf_load_section(ld, &scope, value, "");
	if (rc == 0)
		rc = ph_conf_load_fallbacks(ld, &scope);
	if (value->kind != PH_CONF_MAPPING && !ph_conf_node_empty(value))
		return rc;
	for (size_t i = 0; rc == 0 && i < sizeof needed / sizeof *needed; i++)
		if (!is_set(hook, needed[i]))
			ph_conf_errors_add(ld->errors, ph_conf_place_of(&hook->at),
				"%s: '%s' is missing", where, needed[i]);
	return rc;
}

/* Is that a name which no hook has, and is there room? */
static bool admitted(
	struct ph_conf_loader *ld, const struct ph_conf *conf, const struct ph_conf_node *key)
{
	const struct ph_conf_origin *other = NULL;
	for (size_t i = 0; i < conf->n_hooks && !other; i++)
		if (strcmp(conf->hooks[i]->name.s, key->text) == 0)
			other = &conf->hooks[i]->at;
	return ph_conf_named_admits(ld, "hooks", key, other, conf->n_hooks, PH_CONF_HOOKS_MAX);
}

int ph_conf_hooks_load(
	struct ph_conf_loader *ld, struct ph_conf *conf, const struct ph_conf_node *section)
{
	if (!ph_conf_named_section(ld, "hooks", section))
		return 0;
	int rc = ph_conf_node_twice(ld->file, section, "hooks", ld->errors);
	for (size_t i = 0; rc == 0 && i < section->n; i++) {
		const struct ph_conf_item *item = &section->items[i];
		if (item->again || !admitted(ld, conf, item->key))
			continue;
		struct ph_conf_hook *hook = hook_new(conf, item->key->text);
		if (!hook)
			return -ENOMEM;
		hook->at = (struct ph_conf_origin){
			PH_CONF_FROM_FILE, ld->file, item->key->line, item->key->column};
		conf->hooks[conf->n_hooks++] = hook;
		rc = load_options(ld, hook, item->value);
	}
	return rc;
}

static int by_name(const void *a, const void *b)
{
	const struct ph_conf_hook *const *x = a, *const *y = b;
	return strcmp((*x)->name.s, (*y)->name.s);
}

static bool merges(const struct ph_conf_hook *hook)
{
	for (size_t i = 0; i < hook->on.n; i++)
		if (strcmp(hook->on.v[i], PH_CONF_ON_CONFLICT) == 0)
			return true;
	return false;
}

void ph_conf_hooks_end(struct ph_conf_loader *ld, struct ph_conf *conf)
{
	const struct ph_conf_hook *first = NULL;
	size_t on = ph_conf_option_index(&ph_conf_hook_table, "on");
	for (size_t i = 0; i < conf->n_hooks; i++) {
		const struct ph_conf_hook *hook = conf->hooks[i];
		if (!merges(hook))
			continue;
		if (first)
			ph_conf_errors_add(ld->errors, ph_conf_place_of(&hook->origin[on]),
				"hooks.%s.on: '" PH_CONF_ON_CONFLICT
				"' is that of the hook '%s': one decides what becomes of a state",
				hook->name.s, first->name.s);
		else
			first = hook;
	}
	if (conf->n_hooks > 1)
		qsort(conf->hooks, conf->n_hooks, sizeof(struct ph_conf_hook *), by_name);
}

bool ph_conf_hooks_equal(const struct ph_conf *a, const struct ph_conf *b)
{
	bool same = a->n_hooks == b->n_hooks;
	for (size_t i = 0; same && i < a->n_hooks; i++) {
		same = ph_name_equal(&a->hooks[i]->name, &b->hooks[i]->name);
		for (size_t k = 0; same && k < ph_conf_hook_table.n; k++)
			same = ph_conf_value_equal(
				&ph_conf_hook_table.rows[k], a->hooks[i], b->hooks[i]);
	}
	return same;
}
