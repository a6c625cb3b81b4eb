/*
 * tree.h - a YAML document as a tree with the place of every value.
 *
 * Decides which YAML is accepted at all: one document, no tags, no merge keys, keys are texts, at
 * most PH_CONF_DEPTH levels. Must not know an option. Always: an alias points at a finished value
 * (no cycles), and what a document is worth after all aliases is bounded (PH_CONF_TREE_MAX).
 * Tested in tests/unit/test_conf_hostile.c.
 */
#ifndef PH_CONF_TREE_H
#define PH_CONF_TREE_H

#include "conf/errors.h"

#define PH_CONF_DEPTH 16
#define PH_CONF_TREE_MAX (16 * 1024 * 1024) /* bytes of a document with its aliases written out */

enum ph_conf_node_kind {
	PH_CONF_SCALAR,
	PH_CONF_SEQUENCE,
	PH_CONF_MAPPING
};

struct ph_conf_node;
struct ph_conf_item {
	struct ph_conf_node *key; /* NULL in a sequence */
	struct ph_conf_node *value;
	bool again; /* the key stands earlier in this mapping too */
};

struct ph_conf_node {
	enum ph_conf_node_kind kind;
	uint32_t line, column; /* from 1 */
	bool plain;	       /* a scalar without quotes */
	char *text;	       /* scalar; no NUL inside */
	size_t n, room;
	struct ph_conf_item *items; /* sequence, mapping: in the order of the file */
	size_t cost;		    /* bytes with aliases written out */
	struct ph_conf_node *next;  /* all nodes of the tree */
};

struct ph_conf_tree {
	struct ph_conf_node *root; /* NULL: an empty document */
	struct ph_conf_node *all;
};

/*
 * Reads a document. `file` stands in the errors. 0; -EINVAL: not accepted, one error says why;
 * -ENOMEM. After an error *ret is untouched. The tree is the caller's (ph_conf_tree_free).
 */
PH_MUST_CHECK int ph_conf_tree_read(const char *file, const char *text, size_t n,
	struct ph_conf_tree *ret, struct ph_conf_errors *errors);
void ph_conf_tree_free(struct ph_conf_tree *tree);

/* YAML's null: a plain ~, null or nothing. */
bool ph_conf_node_null(const struct ph_conf_node *node);
/* Only that nothing: a section of which all options are comments. */
bool ph_conf_node_empty(const struct ph_conf_node *node);

/* Marks the keys of a mapping that stand twice (`again`) and adds an error for each. */
PH_MUST_CHECK int ph_conf_node_twice(const char *file, const struct ph_conf_node *map,
	const char *where, struct ph_conf_errors *errors);

/*
 * Reads a file of at most PH_CONF_FILE_MAX bytes whole, without waiting. `*ret` is the caller's
 * (free). Negative errno with an error that names the file: -EINVAL where it is not a regular file,
 * -EFBIG where it is too large, else what open or read said.
 */
PH_MUST_CHECK int ph_conf_file_read(
	const char *file, char **ret, size_t *ret_n, struct ph_conf_errors *errors);

#endif
