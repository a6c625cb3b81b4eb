/* group.c - the section `groups`: children that are restarted together, from all documents. */
#include "conf/load.h"
#include "conf/value.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TABLE ph_conf_group_table

void ph_conf_group_free(struct ph_conf_group *group)
{
	if (!group)
		return;
	for (size_t i = 0; i < TABLE.n; i++)
		ph_conf_value_free(&TABLE.rows[i], group);
	free(group->origin);
	free(group);
}

void ph_conf_groups_free(struct ph_conf *conf)
{
	for (size_t i = 0; i < conf->n_groups; i++)
		ph_conf_group_free(conf->groups[i]);
	free(conf->groups);
	conf->groups = NULL;
	conf->n_groups = 0;
}

static struct ph_conf_group *group_new(const char *name)
{
	struct ph_conf_group *group = calloc(1, sizeof *group);
	if (group)
		group->origin = calloc(TABLE.n, sizeof *group->origin);
	if (!group || !group->origin) {
		free(group);
		return NULL;
	}
	group->name = ph_name_of(name);
	return group;
}

static int group_copy(const struct ph_conf_group *from, struct ph_conf_group **ret)
{
	struct ph_conf_group *copy = calloc(1, sizeof *copy);
	int rc = copy ? 0 : -ENOMEM;
	for (size_t i = 0; rc == 0 && i < TABLE.n; i++)
		rc = ph_conf_value_copy(&TABLE.rows[i], copy, from);
	if (rc < 0) {
		ph_conf_group_free(copy);
		return rc;
	}
	copy->name = from->name;
	*ret = copy;
	return 0;
}

bool ph_conf_group_equal(const struct ph_conf_group *a, const struct ph_conf_group *b)
{
	if (!a || !b)
		return a == b;
	bool same = ph_name_equal(&a->name, &b->name);
	for (size_t i = 0; same && i < TABLE.n; i++)
		same = ph_conf_value_equal(&TABLE.rows[i], a, b);
	return same;
}

static const struct ph_conf_origin *members_at(const struct ph_conf_group *group)
{
	return &group->origin[ph_conf_option_index(&TABLE, "children")];
}

struct ph_conf_place ph_conf_group_place(const struct ph_conf_group *group)
{
	return ph_conf_place_of(members_at(group));
}

static int load_options(
	struct ph_conf_loader *ld, struct ph_conf_group *group, const struct ph_conf_node *value)
{
	char where[PH_CONF_WHERE_SIZE];
	(void)snprintf(where, sizeof where, "groups.%s", group->name.s);
	struct ph_conf_scope scope = {
		.table = &TABLE, .holder = group, .origin = group->origin, .where = where};
	int rc = ph_conf_load_section(ld, &scope, value, "");
	if (rc == 0)
		rc = ph_conf_load_fallbacks(ld, &scope);
	bool nothing = value->kind != PH_CONF_MAPPING && !ph_conf_node_empty(value);
	if (rc == 0 && !nothing && members_at(group)->from != PH_CONF_FROM_FILE)
		ph_conf_errors_add(ld->errors, ph_conf_place_of(&group->at),
			"%s: 'children' is missing", where);
	return rc;
}

/* Is that a name which no group has, and is there room? */
static bool admitted(
	struct ph_conf_loader *ld, const struct ph_conf *conf, const struct ph_conf_node *key)
{
	const struct ph_conf_origin *other = NULL;
	for (size_t i = 0; i < conf->n_groups && !other; i++)
		if (strcmp(conf->groups[i]->name.s, key->text) == 0)
			other = &conf->groups[i]->at;
	return ph_conf_named_admits(ld, "groups", key, other, conf->n_groups, PH_CONF_GROUPS_MAX);
}

static int load_group(struct ph_conf_loader *ld, const struct ph_conf_node *key,
	const struct ph_conf_node *value, struct ph_conf_group **ret)
{
	struct ph_conf_group *group = group_new(key->text);
	if (!group)
		return -ENOMEM;
	group->at = (struct ph_conf_origin){PH_CONF_FROM_FILE, ld->file, key->line, key->column};
	int rc = load_options(ld, group, value);
	if (rc < 0)
		ph_conf_group_free(group);
	else
		*ret = group;
	return rc;
}

int ph_conf_groups_load(
	struct ph_conf_loader *ld, struct ph_conf *conf, const struct ph_conf_node *section)
{
	if (!ph_conf_named_section(ld, "groups", section))
		return 0;
	if (!conf->groups)
		conf->groups = calloc(PH_CONF_GROUPS_MAX, sizeof *conf->groups);
	if (!conf->groups)
		return -ENOMEM;
	int rc = ph_conf_node_twice(ld->file, section, "groups", ld->errors);
	for (size_t i = 0; rc == 0 && i < section->n; i++) {
		const struct ph_conf_item *item = &section->items[i];
		if (item->again || !admitted(ld, conf, item->key))
			continue;
		rc = load_group(ld, item->key, item->value, &conf->groups[conf->n_groups]);
		conf->n_groups += rc == 0;
	}
	return rc;
}

int ph_conf_group_read(
	struct ph_conf_loader *ld, const struct ph_conf_node *node, struct ph_conf_group **ret)
{
	bool one = node->kind == PH_CONF_MAPPING && node->n == 1 &&
		   ph_name_valid(node->items[0].key->text);
	if (!one) {
		ph_conf_errors_add(ld->errors, ph_conf_node_place(ld, node),
			PH_CONF_IN_GROUP ": expected one group");
		return 0;
	}
	int rc = load_group(ld, node->items[0].key, node->items[0].value, ret);
	if (rc == 0) { /* a text of ours has no places */
		free((*ret)->origin);
		(*ret)->origin = NULL;
		(*ret)->at = (struct ph_conf_origin){0};
	}
	return rc;
}

/* ---- the members ---- */

static int add_member(struct ph_conf_loader *ld, const struct ph_conf *conf,
	const struct ph_conf_group *group, const char *name)
{
	struct ph_conf_place at = ph_conf_group_place(group);
	const struct ph_conf_child *found = ph_conf_child_find(conf, name);
	if (!found) {
		char near[PH_CONF_WHERE_SIZE];
		ph_conf_child_near(conf, name, near, sizeof near);
		ph_conf_errors_add(ld->errors, at,
			"groups.%s.children: '%s' is not a child of this configuration%s",
			group->name.s, name, near);
		return 0;
	}
	/* It is one of conf's own, found by its name. */
	struct ph_conf_child *child = (struct ph_conf_child *)(uintptr_t)found;
	if (child->in_group) {
		bool twice = ph_name_equal(&child->in_group->name, &group->name);
		ph_conf_errors_add(ld->errors, at, "groups.%s.children: '%s' %s%s%s", group->name.s,
			name, twice ? "stands twice" : "is a member of the group '",
			twice ? "" : child->in_group->name.s,
			twice ? "" : "', and a child is in one group at most");
		return 0;
	}
	int rc = group_copy(group, &child->in_group);
	return rc < 0 ? rc : ph_conf_check_size(ld, child);
}

static int by_name(const void *a, const void *b)
{
	const struct ph_conf_group *const *x = a, *const *y = b;
	return strcmp((*x)->name.s, (*y)->name.s);
}

int ph_conf_groups_end(struct ph_conf_loader *ld, struct ph_conf *conf)
{
	int rc = 0;
	if (conf->n_groups > 1)
		qsort(conf->groups, conf->n_groups, sizeof(struct ph_conf_group *), by_name);
	for (size_t i = 0; i < conf->n_groups; i++) {
		const struct ph_conf_group *group = conf->groups[i];
		for (size_t k = 0; rc == 0 && k < group->children.n; k++)
			rc = add_member(ld, conf, group, group->children.v[k]);
	}
	return rc;
}
