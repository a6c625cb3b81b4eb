#include "conf/load.h"
#include "conf/expand.h"
#include "conf/value.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int ph_conf_spend(struct ph_conf_loader *ld, struct ph_conf_place at, size_t bytes)
{
	ld->spent += bytes;
	if (ld->spent <= PH_CONF_BUDGET)
		return 0;
	ph_conf_errors_add(ld->errors, at,
		"the configuration is larger than 128 MiB here, with "
		"variables, aliases and defaults written out");
	return -EINVAL;
}

/* "children.web" and "migration.timeout" as one path. */
static const char *full_path(
	const struct ph_conf_scope *scope, const char *path, char ret[PH_CONF_WHERE_SIZE])
{
	bool both = *scope->where && *path;
	(void)snprintf(
		ret, PH_CONF_WHERE_SIZE, "%.90s%s%.64s", scope->where, both ? "." : "", path);
	return ret;
}

static void complain(struct ph_conf_loader *ld, const struct ph_conf_scope *scope, const char *path,
	const struct ph_conf_node *node, const char *what)
{
	char full[PH_CONF_WHERE_SIZE];
	full_path(scope, path, full);
	ph_conf_errors_add(
		ld->errors, ph_conf_node_place(ld, node), "%s%s%s", full, *full ? ": " : "", what);
}

static void unknown(struct ph_conf_loader *ld, const struct ph_conf_scope *scope,
	const char *section, const struct ph_conf_node *key)
{
	char near[PH_CONF_WHERE_SIZE], at[PH_CONF_WHERE_SIZE], text[PH_ERR_MAX];
	char shown[PH_CONF_SHOWN_SIZE];
	ph_conf_nearest(scope->table, section, key->text, near, sizeof near);
	(void)snprintf(text, sizeof text, "unknown option '%s'%s%s%s",
		ph_conf_shown(key->text, shown), *near ? ", did you mean '" : "", near,
		*near ? "'?" : "");
	(void)snprintf(at, sizeof at, "%.*s", (int)(strlen(section) - (*section != '\0')), section);
	complain(ld, scope, at, key, text);
}

/* Names and texts in a file: ${...} is expanded, unless the text is one of ours. */
static int expanded(
	struct ph_conf_loader *ld, const struct ph_conf_node *node, char **ret, struct ph_err *err)
{
	if (node->kind != PH_CONF_SCALAR)
		return ph_err_set(err, EINVAL, "expected a text, not a %s",
			node->kind == PH_CONF_MAPPING ? "mapping" : "list");
	if (ph_conf_node_null(node))
		return ph_err_set(err, EINVAL,
			"expected a value, not null (quote it if it is a "
			"text)");
	char *text;
	int rc = 0;
	if (ld->env)
		rc = ph_conf_substitute(node->text, ld->env, &text, err);
	else
		text = strdup(node->text);
	if (rc == 0 && !text)
		rc = -ENOMEM;
	if (rc == 0) {
		rc = ph_conf_spend(ld, ph_conf_node_place(ld, node), 48 + strlen(text));
		if (rc < 0) {
			free(text);
			return -E2BIG;
		}
		*ret = text;
	}
	return rc;
}

/* One option while it is loaded. */
struct leaf {
	struct ph_conf_scope *scope;
	const struct ph_conf_option *o;
	const struct ph_conf_node *key, *value;
};

/* 0 where the work can go on. A budget that is spent has had its error. */
static int outcome(struct ph_conf_loader *ld, const struct leaf *leaf,
	const struct ph_conf_node *at, int rc, const struct ph_err *err)
{
	if (rc == -ENOMEM || rc == -E2BIG)
		return rc == -E2BIG ? -EINVAL : rc;
	if (rc < 0) {
		complain(ld, leaf->scope, leaf->o->path, at, err->text);
		if (leaf->o->fallback) /* so that checks of other options have something to see */
			(void)!ph_conf_value_set(
				leaf->o, leaf->scope->holder, leaf->o->fallback, NULL);
	}
	return 0;
}

static bool is_null_choice(const struct ph_conf_option *o, const struct ph_conf_node *node)
{
	return o->type == PH_CONF_ENUM && node->kind == PH_CONF_SCALAR &&
	       strcmp(node->text, "null") == 0;
}

static int load_scalar(struct ph_conf_loader *ld, const struct leaf *leaf)
{
	struct ph_err err = {""};
	char *text;
	const struct ph_conf_node *node = leaf->value;
	/* "etcd: {...}" and "file {...}": the choice is the key */
	if (leaf->o->type == PH_CONF_ENUM && node->kind == PH_CONF_MAPPING && node->n > 0)
		node = node->items[0].key;
	int rc = is_null_choice(leaf->o, node) ? 0 : expanded(ld, node, &text, &err);
	if (rc < 0)
		return outcome(ld, leaf, leaf->value, rc, &err);
	if (is_null_choice(leaf->o, node))
		return outcome(ld, leaf, leaf->value,
			ph_conf_value_set(leaf->o, leaf->scope->holder, "null", &err), &err);
	rc = ph_conf_value_set(leaf->o, leaf->scope->holder, text, &err);
	free(text);
	if (rc == 0 && node != leaf->value)
		rc = ph_err_set(&err, EINVAL, "expected a text, not a mapping");
	return outcome(ld, leaf, leaf->value, rc, &err);
}

static int load_list(struct ph_conf_loader *ld, const struct leaf *leaf)
{
	struct ph_err err = {""};
	const struct ph_conf_node *list = leaf->value;
	ph_conf_value_free(leaf->o, leaf->scope->holder);
	if (list->kind != PH_CONF_SEQUENCE) {
		int rc = ph_err_set(&err, EINVAL, "expected %s", ph_conf_type_words(leaf->o->type));
		return outcome(ld, leaf, list, rc, &err);
	}
	for (size_t i = 0; i < list->n; i++) {
		char *text;
		int rc = expanded(ld, list->items[i].value, &text, &err);
		if (rc == 0) {
			rc = ph_conf_value_add(leaf->o, leaf->scope->holder, text, &err);
			free(text);
		}
		if (rc < 0)
			return outcome(ld, leaf, list->items[i].value, rc, &err);
	}
	int rc = ph_conf_value_end(leaf->o, leaf->scope->holder, &err);
	return outcome(ld, leaf, list, rc, &err);
}

static int load_pair(
	struct ph_conf_loader *ld, const struct leaf *leaf, const struct ph_conf_item *item)
{
	struct ph_err err = {""};
	char *text;
	if (item->again)
		return 0;
	int rc = expanded(ld, item->value, &text, &err);
	if (rc == 0) {
		rc = ph_conf_value_pair(leaf->o, leaf->scope->holder, item->key->text, text, &err);
		free(text);
		return outcome(ld, leaf, item->key, rc, &err);
	}
	return outcome(ld, leaf, item->value, rc, &err);
}

static int load_pairs(struct ph_conf_loader *ld, const struct leaf *leaf)
{
	struct ph_err err = {""};
	char full[PH_CONF_WHERE_SIZE];
	ph_conf_value_free(leaf->o, leaf->scope->holder);
	if (leaf->value->kind != PH_CONF_MAPPING) {
		int rc = ph_err_set(&err, EINVAL, "expected a mapping of %s",
			ph_conf_type_words(leaf->o->type));
		return outcome(ld, leaf, leaf->value, rc, &err);
	}
	int rc = ph_conf_node_twice(
		ld->file, leaf->value, full_path(leaf->scope, leaf->o->path, full), ld->errors);
	for (size_t i = 0; rc == 0 && i < leaf->value->n; i++)
		rc = load_pair(ld, leaf, &leaf->value->items[i]);
	if (rc < 0)
		return rc;
	rc = ph_conf_value_end(leaf->o, leaf->scope->holder, &err);
	return outcome(ld, leaf, leaf->value, rc, &err);
}

/* An option of which only the value that is in force anyway is known. */
static int load_fixed(struct ph_conf_loader *ld, const struct leaf *leaf)
{
	_Alignas(max_align_t) char want[PH_CONF_LOOSE] = {0}, have[PH_CONF_LOOSE] = {0};
	struct ph_err err = {""};
	char *text;
	int rc = expanded(ld, leaf->value, &text, &err);
	if (rc == 0) {
		char shown[PH_CONF_SHOWN_SIZE];
		rc = ph_conf_value_set(leaf->o, want, leaf->o->fallback, &err);
		if (rc == 0)
			rc = ph_conf_value_set(leaf->o, have, text, &err);
		if (rc == 0 && !ph_conf_value_equal(leaf->o, want, have))
			rc = ph_err_set(&err, EINVAL, "'%s' is not available in this version",
				ph_conf_shown(text, shown));
		free(text);
	}
	if (rc == -ENOMEM || rc == -E2BIG)
		return rc == -E2BIG ? -EINVAL : rc;
	if (rc < 0)
		complain(ld, leaf->scope, leaf->o->path, leaf->value, err.text);
	return 0;
}

static int load_option(struct ph_conf_loader *ld, const struct leaf *leaf)
{
	struct ph_conf_scope *scope = leaf->scope;
	if (leaf->o->here == PH_CONF_NO) {
		complain(ld, scope, leaf->o->path, leaf->key, "not available in this version");
		return 0;
	}
	if (leaf->o->here == PH_CONF_ONLY_DEFAULT)
		return load_fixed(ld, leaf);
	struct ph_conf_origin *origin = &scope->origin[leaf->o - scope->table->rows];
	if (origin->from == PH_CONF_FROM_FILE) {
		char text[PH_ERR_MAX];
		(void)snprintf(text, sizeof text, "stands twice, first at %s:%u:%u", origin->file,
			origin->line, origin->column);
		complain(ld, scope, leaf->o->path, leaf->key, text);
		return 0;
	}
	*origin = (struct ph_conf_origin){
		PH_CONF_FROM_FILE, ld->file, leaf->key->line, leaf->key->column};
	if (scope->values)
		scope->values[leaf->o - scope->table->rows] = leaf->value;
	switch (ph_conf_shape(leaf->o->type)) {
	case PH_CONF_SHAPE_LIST:
		return load_list(ld, leaf);
	case PH_CONF_SHAPE_PAIRS:
		return load_pairs(ld, leaf);
	case PH_CONF_SHAPE_TEXT:
		break;
	}
	return load_scalar(ld, leaf);
}

#define PATH_SIZE 64 /* the longest path of the table fits */

static int load_key(struct ph_conf_loader *ld, struct ph_conf_scope *scope, const char *section,
	const struct ph_conf_item *item)
{
	char path[PATH_SIZE];
	int n = snprintf(path, sizeof path, "%s%s", section, item->key->text);
	/* a dot in a key would reach into another section */
	if (n < 0 || (size_t)n >= sizeof path || strpbrk(item->key->text, ".*|")) {
		unknown(ld, scope, section, item->key);
		return 0;
	}
	const struct ph_conf_option *o = ph_conf_option_find(scope->table, path);
	if (o)
		return load_option(ld, &(struct leaf){scope, o, item->key, item->value});
	enum ph_conf_section found = ph_conf_section_find(scope->table, path);
	if (found == PH_CONF_SECTION_NONE)
		unknown(ld, scope, section, item->key);
	if (found == PH_CONF_SECTION_NOT_AVAILABLE)
		complain(ld, scope, path, item->key, "not available in this version");
	if (found != PH_CONF_SECTION_OPEN)
		return 0;
	if ((size_t)n + 1 < sizeof path)
		memcpy(path + n, ".", 2);
	return ph_conf_load_section(ld, scope, item->value, path);
}

static bool of_others(const struct ph_conf_scope *scope, const char *section, const char *key)
{
	char word[PATH_SIZE];
	int n = snprintf(word, sizeof word, "|%s|", key);
	return scope->only && *section == '\0' && n > 2 && (size_t)n < sizeof word &&
	       strstr(scope->only, word);
}

int ph_conf_load_section(struct ph_conf_loader *ld, struct ph_conf_scope *scope,
	const struct ph_conf_node *node, const char *section)
{
	char at[PH_CONF_WHERE_SIZE], full[PH_CONF_WHERE_SIZE];
	(void)snprintf(at, sizeof at, "%.*s", (int)(strlen(section) - (*section != '\0')), section);
	if (ph_conf_node_empty(node))
		return 0;
	if (node->kind != PH_CONF_MAPPING) {
		complain(ld, scope, at, node,
			ph_conf_node_null(node) ? "expected a mapping (name: value), found null"
						: "expected a mapping (name: value)");
		return 0;
	}
	int rc = ph_conf_node_twice(ld->file, node, full_path(scope, at, full), ld->errors);
	for (size_t i = 0; rc == 0 && i < node->n; i++) {
		const struct ph_conf_item *item = &node->items[i];
		if (!item->again && !of_others(scope, section, item->key->text))
			rc = load_key(ld, scope, section, item);
	}
	return rc;
}

int ph_conf_load_fallbacks(struct ph_conf_loader *ld, struct ph_conf_scope *scope)
{
	for (size_t i = 0; i < scope->table->n; i++) {
		const struct ph_conf_option *o = &scope->table->rows[i];
		if (o->here != PH_CONF_YES || !o->fallback ||
			scope->origin[i].from != PH_CONF_FROM_DEFAULT)
			continue;
		struct ph_err err = {""};
		char *text = NULL;
		int rc = ld->env ? ph_conf_substitute(o->fallback, ld->env, &text, &err) : 0;
		if (rc == 0)
			rc = ph_conf_value_set(o, scope->holder, text ? text : o->fallback, &err);
		free(text);
		if (rc == -ENOMEM)
			return rc;
		if (rc < 0)
			ph_conf_errors_add(
				ld->errors, (struct ph_conf_place){0}, "%s: %s", o->path, err.text);
	}
	return 0;
}
