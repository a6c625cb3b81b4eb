#include "conf/value.h"
#include "conf/errors.h"
#include "conf/expand.h"
#include "conf/listen.h"
#include "conf/scalar.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum field {
	FIELD_NAME,
	FIELD_TEXT,
	FIELD_BOOL,
	FIELD_U32,
	FIELD_U64,
	FIELD_LIST,
	FIELD_PAIRS
};

static enum field field_of(const struct ph_conf_option *o)
{
	static const enum field fields[] = {
#define X(name, field, what) FIELD_##field,
		PH_CONF_TYPES(X)
#undef X
	};
	return fields[o->type];
}

enum ph_conf_shape ph_conf_shape(enum ph_conf_type type)
{
	enum field f = field_of(&(struct ph_conf_option){.type = type});
	if (f == FIELD_LIST)
		return PH_CONF_SHAPE_LIST;
	return f == FIELD_PAIRS ? PH_CONF_SHAPE_PAIRS : PH_CONF_SHAPE_TEXT;
}

/* Rows are the only ones who know where a field is, so the pointer is made here and nowhere else.
 */
static void *at(const struct ph_conf_option *o, void *holder)
{
	return (char *)holder + o->offset;
}

static const void *at_const(const struct ph_conf_option *o, const void *holder)
{
	return (const char *)holder + o->offset;
}

static int name_set(
	const struct ph_conf_option *o, struct ph_name *to, const char *text, struct ph_err *err)
{
	char shown[PH_CONF_SHOWN_SIZE];
	if (!ph_name_valid(text))
		return ph_err_set(err, EINVAL, "'%s' is not %s", ph_conf_shown(text, shown),
			ph_conf_type_words(o->type));
	*to = ph_name_of(text);
	return 0;
}

int ph_conf_value_set(
	const struct ph_conf_option *o, void *holder, const char *text, struct ph_err *err)
{
	enum field field = field_of(o);
	void *to = at(o, holder);
	if (field == FIELD_NAME)
		return name_set(o, to, text, err);
	if (field == FIELD_TEXT) {
		char *string, **old = to;
		int rc = ph_conf_string_parse(o, text, true, &string, err);
		if (rc < 0)
			return rc;
		free(*old);
		*old = string;
		return 0;
	}
	uint64_t v = 0;
	int rc = ph_conf_number_parse(o, text, &v, err);
	if (rc < 0)
		return rc;
	if (field == FIELD_BOOL)
		*(bool *)to = v != 0;
	else if (field == FIELD_U32)
		*(uint32_t *)to = (uint32_t)v;
	else
		*(uint64_t *)to = v;
	return 0;
}

/* Room for item n of an array that is at least doubled. */
static int grow(void **v, size_t n, size_t item)
{
	if (n & (n - 1))
		return 0; /* full only at powers of two */
	void *more = realloc(*v, (n ? n * 2 : 1) * item);
	if (!more)
		return -ENOMEM;
	*v = more;
	return 0;
}

static int list_push(struct ph_conf_list *list, char *takes)
{
	void *v = list->v;
	if (grow(&v, list->n, sizeof *list->v) < 0) {
		free(takes);
		return -ENOMEM;
	}
	list->v = v;
	list->v[list->n++] = takes;
	return 0;
}

int ph_conf_value_add(
	const struct ph_conf_option *o, void *holder, const char *text, struct ph_err *err)
{
	struct ph_conf_list *list = at(o, holder);
	if (list->n >= o->max)
		return ph_err_set(err, EINVAL, "more than %llu", (unsigned long long)o->max);
	char *item;
	int rc = ph_conf_string_parse(o, text, list->n == 0, &item, err);
	return rc < 0 ? rc : list_push(list, item);
}

#define VARIABLE_BYTES 255

static bool variable_name(const char *name)
{
	size_t n = 0;
	for (; name[n]; n++)
		if ((unsigned char)name[n] <= ' ' || (unsigned char)name[n] >= 0x7f ||
			name[n] == '=')
			return false;
	return n >= 1 && n <= VARIABLE_BYTES;
}

/* Takes both. */
static int pairs_push(struct ph_conf_pairs *pairs, char *name, char *value)
{
	void *v = pairs->v;
	if (!name || !value || grow(&v, pairs->n, sizeof *pairs->v) < 0) {
		free(name);
		free(value);
		return -ENOMEM;
	}
	pairs->v = v;
	pairs->v[pairs->n++] = (struct ph_conf_pair){name, value};
	return 0;
}

int ph_conf_value_pair(const struct ph_conf_option *o, void *holder, const char *name,
	const char *text, struct ph_err *err)
{
	struct ph_conf_pairs *pairs = at(o, holder);
	char shown[PH_CONF_SHOWN_SIZE];
	if (pairs->n >= o->max)
		return ph_err_set(err, EINVAL, "more than %llu", (unsigned long long)o->max);
	if (o->type == PH_CONF_LISTENERS) {
		int rc = ph_conf_listen_check(name, text, err);
		return rc < 0 ? rc : pairs_push(pairs, strdup(name), strdup(text));
	}
	if (!variable_name(name))
		return ph_err_set(err, EINVAL,
			"'%s' is not the name of a variable (1-255 characters of ASCII, no space "
			"or '=')",
			ph_conf_shown(name, shown));
	int rc = (o->flags & PH_CONF_TEMPLATE) ? ph_conf_template_check(text, err) : 0;
	return rc < 0 ? rc : pairs_push(pairs, strdup(name), strdup(text));
}

static int by_name(const void *a, const void *b)
{
	const struct ph_conf_pair *x = a, *y = b;
	return strcmp(x->name, y->name);
}

int ph_conf_value_end(const struct ph_conf_option *o, void *holder, struct ph_err *err)
{
	size_t n;
	if (field_of(o) == FIELD_PAIRS) {
		struct ph_conf_pairs *pairs = at(o, holder);
		n = pairs->n;
		if (n > 1)
			qsort(pairs->v, n, sizeof *pairs->v, by_name);
	} else {
		n = ((struct ph_conf_list *)at(o, holder))->n;
	}
	if (n < o->min)
		return ph_err_set(err, EINVAL, "the list is empty");
	return 0;
}

bool ph_conf_value_unset(const struct ph_conf_option *o, const void *holder)
{
	if (field_of(o) == FIELD_TEXT)
		return !ph_conf_value_string(o, holder);
	if (o->fallback)
		return false;
	if (field_of(o) == FIELD_U32)
		return *(const uint32_t *)at_const(o, holder) == PH_CONF_UNSET_U32;
	return field_of(o) == FIELD_U64 &&
	       *(const uint64_t *)at_const(o, holder) == PH_CONF_UNSET_U64;
}

void ph_conf_value_unset_number(const struct ph_conf_option *o, void *holder)
{
	if (!o->fallback && field_of(o) == FIELD_U32)
		*(uint32_t *)at(o, holder) = PH_CONF_UNSET_U32;
	else if (!o->fallback && field_of(o) == FIELD_U64)
		*(uint64_t *)at(o, holder) = PH_CONF_UNSET_U64;
}

static bool string_equal(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static bool list_equal(const struct ph_conf_list *a, const struct ph_conf_list *b)
{
	bool same = a->n == b->n;
	for (size_t i = 0; same && i < a->n; i++)
		same = strcmp(a->v[i], b->v[i]) == 0;
	return same;
}

static bool pairs_equal(const struct ph_conf_pairs *a, const struct ph_conf_pairs *b)
{
	bool same = a->n == b->n;
	for (size_t i = 0; same && i < a->n; i++)
		same = strcmp(a->v[i].name, b->v[i].name) == 0 &&
		       strcmp(a->v[i].value, b->v[i].value) == 0;
	return same;
}

static size_t field_size(enum field field)
{
	if (field == FIELD_BOOL)
		return sizeof(bool);
	if (field == FIELD_U32)
		return sizeof(uint32_t);
	return field == FIELD_U64 ? sizeof(uint64_t) : sizeof(struct ph_name);
}

bool ph_conf_value_equal(const struct ph_conf_option *o, const void *a, const void *b)
{
	const void *x = at_const(o, a), *y = at_const(o, b);
	switch (field_of(o)) {
	case FIELD_TEXT:
		return string_equal(ph_conf_value_string(o, a), ph_conf_value_string(o, b));
	case FIELD_LIST:
		return list_equal(x, y);
	case FIELD_PAIRS:
		return pairs_equal(x, y);
	case FIELD_NAME:
		return ph_name_equal(x, y);
	case FIELD_BOOL:
	case FIELD_U32:
	case FIELD_U64:
		break;
	}
	return memcmp(x, y, field_size(field_of(o))) == 0;
}

static int list_copy(struct ph_conf_list *to, const struct ph_conf_list *from)
{
	for (size_t i = 0; i < from->n; i++) {
		char *item = strdup(from->v[i]);
		if (!item || list_push(to, item) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int pairs_copy(struct ph_conf_pairs *to, const struct ph_conf_pairs *from)
{
	for (size_t i = 0; i < from->n; i++)
		if (pairs_push(to, strdup(from->v[i].name), strdup(from->v[i].value)) < 0)
			return -ENOMEM;
	return 0;
}

int ph_conf_value_copy(const struct ph_conf_option *o, void *to, const void *from)
{
	enum field field = field_of(o);
	int rc = 0;
	ph_conf_value_free(o, to);
	if (field == FIELD_LIST) {
		rc = list_copy(at(o, to), at_const(o, from));
	} else if (field == FIELD_PAIRS) {
		rc = pairs_copy(at(o, to), at_const(o, from));
	} else if (field == FIELD_TEXT) {
		const char *text = ph_conf_value_string(o, from);
		char **copy = at(o, to);
		*copy = text ? strdup(text) : NULL;
		rc = text && !*copy ? -ENOMEM : 0;
	} else {
		memcpy(at(o, to), at_const(o, from), field_size(field));
	}
	if (rc < 0)
		ph_conf_value_free(o, to);
	return rc;
}

void ph_conf_value_free(const struct ph_conf_option *o, void *holder)
{
	enum field field = field_of(o);
	void *to = at(o, holder);
	if (field == FIELD_TEXT) {
		char **text = to;
		free(*text);
		*text = NULL;
	} else if (field == FIELD_LIST) {
		struct ph_conf_list *list = to;
		for (size_t i = 0; i < list->n; i++)
			free(list->v[i]);
		free(list->v);
		*list = (struct ph_conf_list){0};
	} else if (field == FIELD_PAIRS) {
		struct ph_conf_pairs *pairs = to;
		for (size_t i = 0; i < pairs->n; i++) {
			free(pairs->v[i].name);
			free(pairs->v[i].value);
		}
		free(pairs->v);
		*pairs = (struct ph_conf_pairs){0};
	}
}

#define ITEM_COST 48 /* pointers and what malloc adds */

size_t ph_conf_value_cost(const struct ph_conf_option *o, const void *holder)
{
	enum field field = field_of(o);
	size_t cost = 0;
	if (field == FIELD_TEXT && !ph_conf_value_unset(o, holder)) {
		cost = ITEM_COST + strlen(ph_conf_value_string(o, holder));
	} else if (field == FIELD_LIST) {
		const struct ph_conf_list *list = at_const(o, holder);
		for (size_t i = 0; i < list->n; i++)
			cost += ITEM_COST + strlen(list->v[i]);
	} else if (field == FIELD_PAIRS) {
		const struct ph_conf_pairs *pairs = at_const(o, holder);
		for (size_t i = 0; i < pairs->n; i++)
			cost += 2 * ITEM_COST + strlen(pairs->v[i].name) +
				strlen(pairs->v[i].value);
	}
	return cost;
}

void ph_conf_value_text(const struct ph_conf_option *o, const void *holder, char *ret, size_t size)
{
	const void *from = at_const(o, holder);
	enum field field = field_of(o);
	if (field == FIELD_NAME)
		(void)snprintf(ret, size, "%s", ((const struct ph_name *)from)->s);
	else if (field == FIELD_BOOL)
		ph_conf_number_text(o, *(const bool *)from, ret, size);
	else if (field == FIELD_U32)
		ph_conf_number_text(o, *(const uint32_t *)from, ret, size);
	else if (field == FIELD_U64)
		ph_conf_number_text(o, *(const uint64_t *)from, ret, size);
	else
		ret[0] = '\0';
}

const struct ph_conf_list *ph_conf_value_list(const struct ph_conf_option *o, const void *holder)
{
	return at_const(o, holder);
}

const struct ph_conf_pairs *ph_conf_value_pairs(const struct ph_conf_option *o, const void *holder)
{
	return at_const(o, holder);
}

const char *ph_conf_value_string(const struct ph_conf_option *o, const void *holder)
{
	const char *const *text = at_const(o, holder);
	return field_of(o) == FIELD_TEXT ? *text : NULL;
}
