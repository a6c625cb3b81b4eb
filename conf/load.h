/*
 * load.h - from trees to structs: what the files of conf/ that build a configuration share.
 *
 * load.c knows sections and options, child.c a child, hook.c hooks, conf.c files and documents,
 * check.c what options mean together. Always: mistakes go to `errors` and the work goes on, so that
 * one run shows them all; a negative return is -ENOMEM or the end of the budget. Tested in
 * tests/unit/test_conf.c and test_conf_hostile.c.
 */
#ifndef PH_CONF_LOAD_H
#define PH_CONF_LOAD_H

#include "conf/errors.h"
#include "conf/options.h"
#include "conf/tree.h"

#define PH_CONF_BUDGET (128 * 1024 * 1024) /* bytes of all values, after ${...} and `defaults` */

struct ph_conf_loader {
	const struct ph_conf_env *env; /* NULL: a text of ours, nothing is expanded or looked up */
	struct ph_conf_errors *errors;
	const char *file; /* of the nodes at hand; lives as long as the configuration */
	size_t spent;	  /* of the budget */
	const struct ph_conf_node **values; /* of the daemon's options, one a row; NULL: not set */
	char user[64], group[64];	    /* the last ones that exist: most children share one */
};

/* Where options go. */
struct ph_conf_scope {
	const struct ph_conf_table *table;
	void *holder;
	struct ph_conf_origin *origin;	    /* one a row */
	const struct ph_conf_node **values; /* one a row, filled with what is written; or NULL */
	const char *where;		    /* before the path in errors: "children.web", or "" */
	const char *only; /* keys at the top that belong to others, "|a|b|", or NULL */
};

#define PH_CONF_WHERE_SIZE 160
#define PH_CONF_IN_GROUP "in_group" /* the key of a member's group in its text */

/* Loads a mapping; `section` is "" at the top. Where nothing is written it is empty; a
 * null that is written is refused: it may have been meant for an option. */
PH_MUST_CHECK int ph_conf_load_section(struct ph_conf_loader *ld, struct ph_conf_scope *scope,
	const struct ph_conf_node *node, const char *section);
/* Sets what no file has set to the default of its row. */
PH_MUST_CHECK int ph_conf_load_fallbacks(struct ph_conf_loader *ld, struct ph_conf_scope *scope);

/* Takes `bytes` from the budget: 0, or -EINVAL with an error at `at`. */
PH_MUST_CHECK int ph_conf_spend(struct ph_conf_loader *ld, struct ph_conf_place at, size_t bytes);

static inline struct ph_conf_place ph_conf_place_of(const struct ph_conf_origin *o)
{
	return (struct ph_conf_place){o->file, o->line, o->column};
}
static inline struct ph_conf_place ph_conf_node_place(
	const struct ph_conf_loader *ld, const struct ph_conf_node *node)
{
	return (struct ph_conf_place){ld->file, node->line, node->column};
}

/* A child with the table's defaults, or those of `defaults`. NULL without memory. */
struct ph_conf_child *ph_conf_child_new(const struct ph_conf_child *defaults);
/* Loads and checks one child; 0 with *ret even where errors were added. */
PH_MUST_CHECK int ph_conf_child_load(struct ph_conf_loader *ld,
	const struct ph_conf_child *defaults, const struct ph_conf_node *key,
	const struct ph_conf_node *value, struct ph_conf_child **ret);

/* ---- named.c: sections of names that the user chooses ---- */
/* Is there anything in it? What is no mapping gets an error. */
bool ph_conf_named_section(
	struct ph_conf_loader *ld, const char *section, const struct ph_conf_node *value);
/* Is `key` a name, that no `other` has (NULL: none has it), with fewer than `max` there? Else it
 * adds an error. */
bool ph_conf_named_admits(struct ph_conf_loader *ld, const char *section,
	const struct ph_conf_node *key, const struct ph_conf_origin *other, size_t n, size_t max);

/* ---- hook.c ---- */
/* Adds the hooks of one document's section `hooks`, which all documents share. */
PH_MUST_CHECK int ph_conf_hooks_load(
	struct ph_conf_loader *ld, struct ph_conf *conf, const struct ph_conf_node *section);
/* All documents are read: sorts them, and looks what they are together. */
void ph_conf_hooks_end(struct ph_conf_loader *ld, struct ph_conf *conf);
void ph_conf_hooks_free(struct ph_conf *conf);
bool ph_conf_hooks_equal(const struct ph_conf *a, const struct ph_conf *b);

/* ---- group.c ---- */
/* Adds the groups of one document's section `groups`, which all documents share. */
PH_MUST_CHECK int ph_conf_groups_load(
	struct ph_conf_loader *ld, struct ph_conf *conf, const struct ph_conf_node *section);
/* All children are there: each member gets a copy of its group. */
PH_MUST_CHECK int ph_conf_groups_end(struct ph_conf_loader *ld, struct ph_conf *conf);
void ph_conf_groups_free(struct ph_conf *conf);
void ph_conf_group_free(struct ph_conf_group *group); /* NULL is allowed */
/* The name and options of the group of a child, as ph_conf_child_text has them. */
PH_MUST_CHECK int ph_conf_group_read(
	struct ph_conf_loader *ld, const struct ph_conf_node *node, struct ph_conf_group **ret);
struct ph_conf_place ph_conf_group_place(const struct ph_conf_group *group); /* of `children` */
bool ph_conf_group_equal(const struct ph_conf_group *a, const struct ph_conf_group *b);

/* ---- after.c ---- */
/*
 * Adds an error for a name in `after` or in a group that no child has (`base`, which may be NULL,
 * has children too), and for children that wait for each other in a circle. -ENOMEM.
 */
PH_MUST_CHECK int ph_conf_check_after(
	struct ph_conf_loader *ld, const struct ph_conf *conf, const struct ph_conf *base);
/* ", did you mean 'NAME'?" with the child whose name is nearest to `word`; else "". */
void ph_conf_child_near(const struct ph_conf *conf, const char *word, char *ret, size_t size);

/* What a child's options mean together. */
PH_MUST_CHECK int ph_conf_check_size(struct ph_conf_loader *ld, const struct ph_conf_child *child);
PH_MUST_CHECK int ph_conf_check_child(struct ph_conf_loader *ld, const struct ph_conf_child *child);
/* ---- check_limits.c ---- */
void ph_conf_check_limits(struct ph_conf_loader *ld, const struct ph_conf_child *child);
/* ---- check_log.c ---- */
void ph_conf_check_log(struct ph_conf_loader *ld, const struct ph_conf_child *child);
/* No two children, and no two instances of one, write to one file; `base` (or NULL): to whose
 * children those of `conf` are added. */
PH_MUST_CHECK int ph_conf_check_logs(
	struct ph_conf_loader *ld, const struct ph_conf *conf, const struct ph_conf *base);

/* Works out what depends on other options, then checks node, cluster and control. */
PH_MUST_CHECK int ph_conf_check_daemon(struct ph_conf_loader *ld, struct ph_conf *conf);

/* A variable of the environment that is set and not empty, or NULL. */
const char *ph_conf_env_get(const struct ph_conf_env *env, const char *name);

#endif
