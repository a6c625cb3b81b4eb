#include "conf/surrogate.h"
#include "conf/tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

/* What is open while the events come in. */
struct reader {
	const char *file, *text; /* that libyaml reads */
	size_t size;
	struct ph_conf_joined joined; /* what it lacks against the file */
	struct ph_conf_tree tree;
	struct ph_conf_node *open[PH_CONF_DEPTH];
	struct ph_conf_node *key[PH_CONF_DEPTH]; /* waits for its value */
	size_t depth;
	struct anchor {
		char *name;
		struct ph_conf_node *node;
	} * anchors;
	size_t n_anchors, anchors_room;
	unsigned documents;
	struct ph_conf_errors *errors;
};

static struct ph_conf_place place(const struct reader *r, const yaml_mark_t *mark)
{
	return (struct ph_conf_place){r->file, (uint32_t)mark->line + 1,
		(uint32_t)mark->column + 1 +
			ph_conf_joined_shift(&r->joined, mark->index, mark->column)};
}

static int refuse(struct reader *r, const yaml_mark_t *mark, const char *why)
{
	ph_conf_errors_add(r->errors, place(r, mark), "%s", why);
	return -EINVAL;
}

/* libyaml gives no line for a bad byte, only how many bytes came before. */
static struct ph_conf_place place_of_offset(const struct reader *r, size_t offset)
{
	yaml_mark_t at = {0};
	for (size_t i = 0; i < offset && i < r->size; i++) {
		bool begins = ((unsigned char)r->text[i] & 0xc0) != 0x80;
		at.index += begins;
		at.column = r->text[i] == '\n' ? 0 : at.column + begins;
		at.line += r->text[i] == '\n';
	}
	return place(r, &at);
}

/* Its mark is behind "\u". Half a pair is what JSON leaves of a text that was cut. */
static bool bad_escape(struct reader *r, const yaml_parser_t *p)
{
	size_t at = 0;
	if (!p->problem || !strstr(p->problem, "invalid Unicode character escape"))
		return false;
	for (size_t n = 0; at < r->size; at++) {
		n += ((unsigned char)r->text[at] & 0xc0) != 0x80;
		if (n > p->problem_mark.index)
			break;
	}
	if (at < 2 || r->size - at < 4)
		return false;
	const char *escape = r->text + at - 2;
	int digits = escape[1] == 'U' ? 8 : escape[1] == 'x' ? 2 : 4;
	struct ph_conf_place from = place(r, &p->problem_mark);
	from.column -= 2;
	bool half = ph_conf_surrogate(escape) != 0;
	bool pair = half && r->size - at >= 10 && ph_conf_surrogate(escape + 6) != 0;
	ph_conf_errors_add(r->errors, from, "not YAML: '%.*s' is %s%s", digits + 2, escape,
		half ? "half a character" : "no character",
		pair ? " (pairs are JSON's; as YAML it is \\U and 8 digits)" : "");
	return true;
}

/* The commonest slip of all: [${HOME}] ends a plain text at its '{'. */
static bool unquoted_variable(const struct reader *r, const struct ph_conf_place *at)
{
	const char *line = r->text, *end = r->text + r->size;
	for (uint32_t i = 1; i < at->line && line; i++) {
		line = memchr(line, '\n', (size_t)(end - line));
		line = line ? line + 1 : NULL;
	}
	return line && at->column > 1 && (size_t)(end - line) >= at->column &&
	       memcmp(line + at->column - 2, "${", 2) == 0;
}

static int syntax(struct reader *r, const yaml_parser_t *p)
{
	if (p->error == YAML_MEMORY_ERROR)
		return -ENOMEM;
	if (bad_escape(r, p))
		return -EINVAL;
	struct ph_conf_place at = p->error == YAML_READER_ERROR
					  ? place_of_offset(r, p->problem_offset)
					  : place(r, &p->problem_mark);
	if (unquoted_variable(r, &at))
		ph_conf_errors_add(
			r->errors, at, "not YAML: inside [] and {}, \"${...}\" needs its quotes");
	else
		ph_conf_errors_add(r->errors, at, "not YAML: %s%s%s",
			p->problem ? p->problem : "unknown", p->context ? " " : "",
			p->context ? p->context : "");
	return -EINVAL;
}

static struct ph_conf_node *node_new(
	struct reader *r, enum ph_conf_node_kind kind, const yaml_mark_t *mark)
{
	struct ph_conf_node *node = calloc(1, sizeof *node);
	if (!node)
		return NULL;
	struct ph_conf_place at = place(r, mark);
	node->kind = kind;
	node->line = at.line;
	node->column = at.column;
	node->cost = 16; /* so that empty texts count too */
	node->next = r->tree.all;
	r->tree.all = node;
	return node;
}

static int append(struct ph_conf_node *to, struct ph_conf_node *key, struct ph_conf_node *value)
{
	if (to->n == to->room) {
		size_t room = to->room ? to->room * 2 : 4;
		struct ph_conf_item *items = realloc(to->items, room * sizeof *items);
		if (!items)
			return -ENOMEM;
		to->items = items;
		to->room = room;
	}
	to->items[to->n++] = (struct ph_conf_item){.key = key, .value = value};
	to->cost += value->cost + (key ? key->cost : 0);
	return 0;
}

/* Puts a finished value where it belongs. */
static int place_value(struct reader *r, struct ph_conf_node *node, const yaml_mark_t *mark)
{
	if (node->cost > PH_CONF_TREE_MAX)
		return refuse(r, mark, "too large with its aliases written out");
	if (r->depth == 0) {
		r->tree.root = node;
		return 0;
	}
	struct ph_conf_node *to = r->open[r->depth - 1], **key = &r->key[r->depth - 1];
	if (to->kind == PH_CONF_SEQUENCE)
		return append(to, NULL, node);
	if (*key) {
		int rc = append(to, *key, node);
		*key = NULL;
		return rc;
	}
	if (node->kind != PH_CONF_SCALAR)
		return refuse(r, mark, "a key must be a text");
	if (node->plain && strcmp(node->text, "<<") == 0)
		return refuse(r, mark, "merge keys ('<<') are not supported, see 'defaults'");
	*key = node;
	return 0;
}

static int anchor_add(struct reader *r, const yaml_char_t *name, struct ph_conf_node *node)
{
	if (!name)
		return 0;
	if (r->n_anchors == r->anchors_room) {
		size_t room = r->anchors_room ? r->anchors_room * 2 : 8;
		struct anchor *more = realloc(r->anchors, room * sizeof *more);
		if (!more)
			return -ENOMEM;
		r->anchors = more;
		r->anchors_room = room;
	}
	char *copy = strdup((const char *)name);
	if (!copy)
		return -ENOMEM;
	r->anchors[r->n_anchors].name = copy;
	r->anchors[r->n_anchors++].node = node;
	return 0;
}

#define ANCHORS_MAX 256 /* the search for one is linear */

static int on_alias(struct reader *r, const yaml_event_t *e)
{
	const char *name = (const char *)e->data.alias.anchor;
	for (size_t i = r->n_anchors; i > 0; i--) {
		struct anchor *a = &r->anchors[i - 1];
		if (strcmp(a->name, name) != 0)
			continue;
		for (size_t d = 0; d < r->depth; d++)
			if (r->open[d] == a->node)
				return refuse(r, &e->start_mark, "an alias inside its own anchor");
		return place_value(r, a->node, &e->start_mark);
	}
	char shown[PH_CONF_SHOWN_SIZE];
	ph_conf_errors_add(r->errors, place(r, &e->start_mark), "alias '*%s' without an anchor",
		ph_conf_shown(name, shown));
	return -EINVAL;
}

static int on_scalar(struct reader *r, const yaml_event_t *e)
{
	const char *text = (const char *)e->data.scalar.value;
	size_t n = e->data.scalar.length;
	if (memchr(text, '\0', n))
		return refuse(r, &e->start_mark, "a NUL byte in a text");
	struct ph_conf_node *node = node_new(r, PH_CONF_SCALAR, &e->start_mark);
	if (!node)
		return -ENOMEM;
	node->plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	node->text = strndup(text, n);
	node->n = n;
	node->cost += n;
	if (!node->text)
		return -ENOMEM;
	int rc = anchor_add(r, e->data.scalar.anchor, node);
	return rc < 0 ? rc : place_value(r, node, &e->start_mark);
}

static int on_open(struct reader *r, const yaml_event_t *e, enum ph_conf_node_kind kind,
	const yaml_char_t *anchor)
{
	if (r->depth == PH_CONF_DEPTH)
		return refuse(r, &e->start_mark, "nested more than 16 levels deep");
	if (r->depth > 0 && r->open[r->depth - 1]->kind == PH_CONF_MAPPING && !r->key[r->depth - 1])
		return refuse(r, &e->start_mark, "a key must be a text");
	struct ph_conf_node *node = node_new(r, kind, &e->start_mark);
	if (!node)
		return -ENOMEM;
	r->open[r->depth] = node;
	r->key[r->depth] = NULL;
	r->depth++;
	return anchor_add(r, anchor, node);
}

static int on_close(struct reader *r, const yaml_event_t *e)
{
	struct ph_conf_node *node = r->open[--r->depth];
	return place_value(r, node, &e->start_mark);
}

static const yaml_char_t *tag_of(const yaml_event_t *e)
{
	if (e->type == YAML_SCALAR_EVENT)
		return e->data.scalar.tag;
	if (e->type == YAML_SEQUENCE_START_EVENT)
		return e->data.sequence_start.tag;
	return e->type == YAML_MAPPING_START_EVENT ? e->data.mapping_start.tag : NULL;
}

static int on_event(struct reader *r, const yaml_event_t *e)
{
	if (tag_of(e))
		return refuse(r, &e->start_mark, "tags ('!') are not supported");
	if (r->n_anchors > ANCHORS_MAX)
		return refuse(r, &e->start_mark, "more than 256 anchors");
	if (e->type == YAML_DOCUMENT_START_EVENT && ++r->documents > 1)
		return refuse(r, &e->start_mark, "a second document: one file holds one");
	if (e->type == YAML_ALIAS_EVENT)
		return on_alias(r, e);
	if (e->type == YAML_SCALAR_EVENT)
		return on_scalar(r, e);
	if (e->type == YAML_SEQUENCE_START_EVENT)
		return on_open(r, e, PH_CONF_SEQUENCE, e->data.sequence_start.anchor);
	if (e->type == YAML_MAPPING_START_EVENT)
		return on_open(r, e, PH_CONF_MAPPING, e->data.mapping_start.anchor);
	if (e->type == YAML_SEQUENCE_END_EVENT || e->type == YAML_MAPPING_END_EVENT)
		return on_close(r, e);
	return 0;
}

static int read_events(struct reader *r, yaml_parser_t *parser)
{
	for (;;) {
		yaml_event_t e;
		if (!yaml_parser_parse(parser, &e))
			return syntax(r, parser);
		bool end = e.type == YAML_STREAM_END_EVENT;
		int rc = on_event(r, &e);
		yaml_event_delete(&e);
		if (rc < 0 || end)
			return rc;
	}
}

int ph_conf_tree_read(const char *file, const char *text, size_t n, struct ph_conf_tree *ret,
	struct ph_conf_errors *errors)
{
	struct reader r = {.file = file, .text = text, .size = n, .errors = errors};
	yaml_parser_t parser;
	int rc = ph_conf_join(text, n, &r.joined);
	if (rc == 0 && !yaml_parser_initialize(&parser))
		rc = -ENOMEM;
	if (rc < 0) {
		ph_conf_joined_fini(&r.joined);
		return rc;
	}
	if (r.joined.text) {
		r.text = r.joined.text;
		r.size = r.joined.n;
	}
	/* said, not guessed: else two bytes at the start make it UTF-16 */
	yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&parser, (const unsigned char *)r.text, r.size);
	rc = read_events(&r, &parser);
	yaml_parser_delete(&parser);
	ph_conf_joined_fini(&r.joined);
	for (size_t i = 0; i < r.n_anchors; i++)
		free(r.anchors[i].name);
	free(r.anchors);
	if (rc < 0)
		ph_conf_tree_free(&r.tree);
	else
		*ret = r.tree;
	return rc;
}

void ph_conf_tree_free(struct ph_conf_tree *tree)
{
	for (struct ph_conf_node *node = tree->all, *next; node; node = next) {
		next = node->next;
		free(node->text);
		free(node->items);
		free(node);
	}
	*tree = (struct ph_conf_tree){0};
}

bool ph_conf_node_null(const struct ph_conf_node *node)
{
	static const char *const words[] = {"", "~", "null", "Null", "NULL"};
	if (node->kind != PH_CONF_SCALAR || !node->plain)
		return false;
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (strcmp(node->text, words[i]) == 0)
			return true;
	return false;
}

bool ph_conf_node_empty(const struct ph_conf_node *node)
{
	return node->kind == PH_CONF_SCALAR && node->plain && node->text[0] == '\0';
}

static int by_key(const void *a, const void *b)
{
	struct ph_conf_item *const *x = a, *const *y = b;
	int order = strcmp((*x)->key->text, (*y)->key->text);
	if (order)
		return order;
	return *x < *y ? -1 : *x > *y;
}

int ph_conf_node_twice(const char *file, const struct ph_conf_node *map, const char *where,
	struct ph_conf_errors *errors)
{
	if (map->n < 2)
		return 0;
	struct ph_conf_item **sorted = calloc(map->n, sizeof *sorted);
	if (!sorted)
		return -ENOMEM;
	for (size_t i = 0; i < map->n; i++)
		sorted[i] = &map->items[i];
	qsort(sorted, map->n, sizeof *sorted, by_key);
	const struct ph_conf_node *first = sorted[0]->key;
	for (size_t i = 1; i < map->n; i++) {
		const struct ph_conf_node *key = sorted[i]->key;
		if (strcmp(first->text, key->text) != 0) {
			first = key;
			continue;
		}
		sorted[i]->again = true;
		char shown[PH_CONF_SHOWN_SIZE];
		ph_conf_errors_add(errors, (struct ph_conf_place){file, key->line, key->column},
			"%s%s'%s' stands twice, first at %s:%u:%u", where, *where ? ": " : "",
			ph_conf_shown(key->text, shown), file, first->line, first->column);
	}
	free(sorted);
	return 0;
}
