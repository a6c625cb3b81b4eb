#include "conf/load.h"
#include "conf/value.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const asked[] = {"health.tcp", "health.http", "health.exec"};

void ph_conf_child_free(struct ph_conf_child *child)
{
	if (!child)
		return;
	for (size_t i = 0; i < ph_conf_child_table.n; i++)
		if (ph_conf_child_table.rows[i].here == PH_CONF_YES)
			ph_conf_value_free(&ph_conf_child_table.rows[i], child);
	ph_conf_group_free(child->in_group);
	free(child->origin);
	free(child);
}

static int fill(struct ph_conf_child *child, const struct ph_conf_child *defaults)
{
	for (size_t i = 0; i < ph_conf_child_table.n; i++) {
		const struct ph_conf_option *o = &ph_conf_child_table.rows[i];
		int rc = 0;
		if (o->here != PH_CONF_YES)
			continue;
		if (defaults) {
			rc = ph_conf_value_copy(o, child, defaults);
			child->origin[i] = defaults->origin[i];
			if (child->origin[i].from == PH_CONF_FROM_FILE)
				child->origin[i].from = PH_CONF_FROM_DEFAULTS;
		} else if (o->fallback) {
			rc = ph_conf_value_set(o, child, o->fallback, NULL);
		} else {
			ph_conf_value_unset_number(o, child);
		}
		if (rc < 0)
			return rc;
	}
	return 0;
}

struct ph_conf_child *ph_conf_child_new(const struct ph_conf_child *defaults)
{
	struct ph_conf_child *child = calloc(1, sizeof *child);
	if (!child)
		return NULL;
	child->origin = calloc(ph_conf_child_table.n, sizeof *child->origin);
	if (!child->origin || fill(child, defaults) < 0) {
		if (child->origin)
			ph_conf_child_free(child);
		else
			free(child);
		return NULL;
	}
	return child;
}

static size_t cost(const struct ph_conf_child *child)
{
	size_t sum = 0;
	for (size_t i = 0; i < ph_conf_child_table.n; i++)
		if (ph_conf_child_table.rows[i].here == PH_CONF_YES)
			sum += ph_conf_value_cost(&ph_conf_child_table.rows[i], child);
	return sum;
}

/* In a text of ours a member has its group with it; in a file that is no option. */
static int load_group(
	struct ph_conf_loader *ld, struct ph_conf_child *child, const struct ph_conf_node *value)
{
	for (size_t i = 0; value->kind == PH_CONF_MAPPING && i < value->n; i++)
		if (!value->items[i].again &&
			strcmp(value->items[i].key->text, PH_CONF_IN_GROUP) == 0)
			return ph_conf_group_read(ld, value->items[i].value, &child->in_group);
	return 0;
}

/* What is asked comes from there, tcp, http or exec. */
static bool asks_from(const struct ph_conf_child *child, enum ph_conf_from from)
{
	for (size_t i = 0; i < sizeof asked / sizeof *asked; i++)
		if (child->origin[ph_conf_option_index(&ph_conf_child_table, asked[i])].from ==
			from)
			return true;
	return false;
}

/* What a child asks itself takes the place of what `defaults` asks. */
static void drop_inherited(struct ph_conf_child *child)
{
	if (!asks_from(child, PH_CONF_FROM_FILE))
		return;
	for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
		size_t row = ph_conf_option_index(&ph_conf_child_table, asked[i]);
		if (child->origin[row].from != PH_CONF_FROM_DEFAULTS)
			continue;
		ph_conf_value_free(&ph_conf_child_table.rows[row], child);
		child->origin[row] = (struct ph_conf_origin){0};
	}
}

/*
 * Who writes `health` says what is asked, or nothing ever would be. What `defaults` says of the
 * time between checks does not count for a child that has none: all those are alike.
 */
static int load_health(
	struct ph_conf_loader *ld, struct ph_conf_child *child, const struct ph_conf_node *value)
{
	drop_inherited(child);
	if (asks_from(child, PH_CONF_FROM_FILE) || asks_from(child, PH_CONF_FROM_DEFAULTS))
		return 0;
	for (size_t i = 0; value->kind == PH_CONF_MAPPING && i < value->n; i++)
		if (!value->items[i].again && strcmp(value->items[i].key->text, "health") == 0 &&
			value->items[i].value->kind == PH_CONF_MAPPING)
			ph_conf_errors_add(ld->errors, ph_conf_node_place(ld, value->items[i].key),
				"children.%s.health: expected one of tcp, http and exec",
				child->name.s);
	for (size_t i = 0; i < ph_conf_child_table.n; i++) {
		const struct ph_conf_option *o = &ph_conf_child_table.rows[i];
		if (strncmp(o->path, "health.", 7) != 0 || !o->fallback)
			continue;
		if (ph_conf_value_set(o, child, o->fallback, NULL) < 0)
			return -ENOMEM;
		child->origin[i] = (struct ph_conf_origin){0};
	}
	return 0;
}

static int load_options(
	struct ph_conf_loader *ld, struct ph_conf_child *child, const struct ph_conf_node *value)
{
	char where[PH_CONF_WHERE_SIZE];
	(void)snprintf(where, sizeof where, "children.%s", child->name.s);
	struct ph_conf_scope scope = {
		.table = &ph_conf_child_table,
		.holder = child,
		.origin = child->origin,
		.where = where,
		.only = ld->env ? NULL : "|added|" PH_CONF_IN_GROUP "|",
	};
	for (size_t i = 0; scope.only && value->kind == PH_CONF_MAPPING && i < value->n; i++)
		child->added |= strcmp(value->items[i].key->text, "added") == 0;
	int rc = ph_conf_load_section(ld, &scope, value, "");
	if (rc == 0 && !ld->env)
		rc = load_group(ld, child, value);
	else if (rc == 0)
		rc = load_health(ld, child, value);
	bool nothing = value->kind != PH_CONF_MAPPING && !ph_conf_node_empty(value);
	return rc < 0 || nothing ? rc : ph_conf_check_child(ld, child);
}

int ph_conf_child_load(struct ph_conf_loader *ld, const struct ph_conf_child *defaults,
	const struct ph_conf_node *key, const struct ph_conf_node *value,
	struct ph_conf_child **ret)
{
	struct ph_conf_child *child = ph_conf_child_new(defaults);
	if (!child)
		return -ENOMEM;
	child->name = ph_name_of(key->text);
	child->at = (struct ph_conf_origin){PH_CONF_FROM_FILE, ld->file, key->line, key->column};
	/* what it inherits is copied for each child, so each child pays for it */
	int rc = ph_conf_spend(ld, ph_conf_node_place(ld, key), cost(child));
	if (rc == 0)
		rc = load_options(ld, child, value);
	if (rc < 0)
		ph_conf_child_free(child);
	else
		*ret = child;
	return rc;
}

static void forget_files(struct ph_conf_child *child)
{
	child->at.file = NULL;
	for (size_t i = 0; i < ph_conf_child_table.n; i++)
		child->origin[i].file = NULL;
}

int ph_conf_child_parse(const char *name, const char *text, size_t n, struct ph_conf_child **ret,
	struct ph_conf_errors *errors)
{
	*errors = (struct ph_conf_errors){0};
	struct ph_conf_loader ld = {.errors = errors, .file = "child"};
	if (!ph_name_valid(name) || n > PH_CONF_CHILD_MAX) {
		ph_conf_errors_add(errors, (struct ph_conf_place){.file = "child"}, "%s",
			n > PH_CONF_CHILD_MAX ? "the text is larger than 256 KiB"
					      : "its name is not one");
		ph_conf_errors_finish(errors);
		return -EINVAL;
	}
	struct ph_conf_tree tree = {0};
	struct ph_conf_child *child = NULL;
	union {
		const char *in;
		char *out;
	} borrowed = {name}; /* the node only lends its text */
	struct ph_conf_node key = {.text = borrowed.out, .line = 1, .column = 1};
	int rc = ph_conf_tree_read(ld.file, text, n, &tree, errors);
	if (rc == 0 && !tree.root) {
		ph_conf_errors_add(errors, (struct ph_conf_place){.file = "child"}, "empty");
		rc = -EINVAL;
	}
	if (rc == 0)
		rc = ph_conf_child_load(&ld, NULL, &key, tree.root, &child);
	ph_conf_tree_free(&tree);
	ph_conf_errors_finish(errors);
	if (rc == 0 && errors->n > 0)
		rc = -EINVAL;
	if (rc < 0) {
		ph_conf_child_free(child);
		return rc;
	}
	forget_files(child);
	*ret = child;
	return 0;
}

bool ph_conf_child_equal(const struct ph_conf_child *a, const struct ph_conf_child *b)
{
	for (size_t i = 0; i < ph_conf_child_table.n; i++) {
		const struct ph_conf_option *o = &ph_conf_child_table.rows[i];
		if (o->here == PH_CONF_YES && !ph_conf_value_equal(o, a, b))
			return false;
	}
	return ph_conf_group_equal(a->in_group, b->in_group);
}
