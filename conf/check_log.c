/* The files of children's outputs: one child and instance each, and none that would take another
 * one's old files. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conf/load.h"

static void complain(struct ph_conf_loader *ld, const struct ph_conf_child *child, const char *path,
	const char *text)
{
	const struct ph_conf_origin *o =
		&child->origin[ph_conf_option_index(&ph_conf_child_table, path)];
	bool set = o->from != PH_CONF_FROM_DEFAULT;
	ph_conf_errors_add(ld->errors, ph_conf_place_of(set ? o : &child->at), "children.%s.%s: %s",
		child->name.s, path, text);
}

void ph_conf_check_log(struct ph_conf_loader *ld, const struct ph_conf_child *child)
{
	if (child->log.to == PH_CONF_LOG_FILE && !child->log.path)
		complain(ld, child, "log.to", "'file' needs log.path");
	else if (child->log.to != PH_CONF_LOG_FILE && child->log.path)
		complain(ld, child, "log.path", "only log.to: file has it");
	if (!child->log.path)
		return;
	size_t n = strlen(child->log.path);
	if (child->log.path[n - 1] == '/')
		complain(ld, child, "log.path", "expected a file, not a folder");
}

/* A file, and whose it is. */
struct user {
	char *path;
	const struct ph_conf_child *child;
	uint32_t instance;
};

static int compare(const void *a, const void *b)
{
	const struct user *x = a, *y = b;
	int order = strcmp(x->path, y->path);
	if (order == 0)
		order = strcmp(x->child->name.s, y->child->name.s);
	return order ? order : (x->instance > y->instance) - (x->instance < y->instance);
}

/* Slashes that stand twice name the same file; dots and links are the operator's to see. */
static void squeeze(char *path)
{
	char *to = path;
	for (const char *from = path; *from; from++)
		if (*from != '/' || to == path || to[-1] != '/')
			*to++ = *from;
	*to = '\0';
}

static int gather(
	const struct ph_conf_child *child, const char *node, struct user *users, size_t *n)
{
	struct ph_conf_vars vars = {.child = child->name.s, .node = node};
	for (uint32_t i = 0; i < child->instances; i++) {
		struct user *user = &users[*n];
		vars.instance = i;
		int rc = ph_conf_expand(child->log.path, &vars, &user->path);
		if (rc < 0)
			return rc == -ENOMEM ? rc : 0; /* a bad template has had its error */
		squeeze(user->path);
		user->child = child;
		user->instance = i;
		(*n)++;
	}
	return 0;
}

static bool is_of(const struct ph_conf *conf, const struct ph_conf_child *child)
{
	return ph_conf_child_find(conf, child->name.s) == child;
}

/* The mistake is that of the child which is being read. */
static void tell(struct ph_conf_loader *ld, const struct ph_conf *conf, const struct user *one,
	const struct user *other)
{
	char text[PH_ERR_MAX];
	bool ours = is_of(conf, other->child);
	if (one->child == other->child)
		(void)snprintf(text, sizeof text,
			"all instances would write to '%.300s': put %%i into it", one->path);
	else
		(void)snprintf(text, sizeof text, "'%.300s' is that of children.%s as well",
			one->path, ours ? one->child->name.s : other->child->name.s);
	complain(ld, ours ? other->child : one->child, "log.path", text);
}

static void compare_all(
	struct ph_conf_loader *ld, const struct ph_conf *conf, struct user *users, size_t n)
{
	const struct ph_conf_child *told = NULL;
	qsort(users, n, sizeof *users, compare);
	for (size_t i = 1; i < n; i++) {
		const struct user *one = &users[i - 1], *other = &users[i];
		if (strcmp(one->path, other->path) != 0 || other->child == told ||
			(!is_of(conf, one->child) && !is_of(conf, other->child)))
			continue;
		told = other->child; /* once a child, however many instances it has */
		tell(ld, conf, one, other);
	}
}

/* Counts (`users` NULL) or gathers those of `from`, but for children that `conf` has as well. */
static int each(const struct ph_conf *from, const struct ph_conf *conf, const char *node,
	struct user *users, size_t *n)
{
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < from->n_children; i++) {
		const struct ph_conf_child *child = from->children[i];
		if (!child->log.path || (from != conf && ph_conf_child_find(conf, child->name.s)))
			continue;
		if (users)
			rc = gather(child, node, users, n);
		else
			*n += child->instances;
	}
	return rc;
}

int ph_conf_check_logs(
	struct ph_conf_loader *ld, const struct ph_conf *conf, const struct ph_conf *base)
{
	const char *node = base ? base->node.name.s : conf->node.name.s;
	size_t room = 0, n = 0;
	(void)each(conf, conf, node, NULL, &room);
	if (base)
		(void)each(base, conf, node, NULL, &room);
	if (room < 2 || room > 2 * PH_CONF_INSTANCES_MAX)
		return 0; /* too many have had their error */
	struct user *users = calloc(room, sizeof *users);
	if (!users)
		return -ENOMEM;
	int rc = each(conf, conf, node, users, &n);
	if (rc == 0 && base)
		rc = each(base, conf, node, users, &n);
	if (rc == 0 && n)
		compare_all(ld, conf, users, n);
	for (size_t i = 0; i < n; i++)
		free(users[i].path);
	free(users);
	return rc;
}
