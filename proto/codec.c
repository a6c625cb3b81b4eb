#include "proto/codec.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/codec_member.h"

#define PATH_BYTES 96

/* A decode under way: the document, where we are in it, and where the sentence goes. */
struct reading {
	struct ph_doc *doc;
	struct ph_err *err;
	char path[PATH_BYTES]; /* "" or "state." or "members[3]." */
};

static int read_object(
	struct reading *r, const struct ph_field *table, const json_t *object, char *base);
static int read_value(struct reading *r, const struct ph_field *f, const json_t *value, char *base);

/* ---- what was found, for people */

static const char *found(const json_t *value)
{
	static const char *const kinds[] = {
		[JSON_OBJECT] = "an object",
		[JSON_ARRAY] = "a list",
		[JSON_STRING] = "a text",
		[JSON_INTEGER] = "a whole number",
		[JSON_REAL] = "a number with a fraction",
		[JSON_TRUE] = "true",
		[JSON_FALSE] = "false",
		[JSON_NULL] = "null",
	};
	return kinds[json_typeof(value)];
}

static bool printable(const char *s)
{
	size_t n = 0;
	while (s[n] >= ' ' && s[n] <= '~')
		n++;
	return n < 48 && !s[n];
}

/* The found value itself where it is short, else what kind of value it is. */
static int wrong(
	struct reading *r, const struct ph_field *f, const json_t *value, const char *expected)
{
	char shown[64];
	if (json_is_integer(value))
		(void)snprintf(shown, sizeof shown, "%lld", (long long)json_integer_value(value));
	else if (json_is_string(value) && printable(json_string_value(value)))
		(void)snprintf(shown, sizeof shown, "\"%s\"", json_string_value(value));
	else
		(void)snprintf(shown, sizeof shown, "%s", found(value));
	return ph_err_set(
		r->err, EBADMSG, "%s%s: expected %s, found %s", r->path, f->name, expected, shown);
}

static int wrong_words(struct reading *r, const struct ph_field *f, const json_t *value)
{
	char expected[160] = "one of";
	size_t n = strlen(expected);
	for (const char *const *w = f->words; *w && n < sizeof expected; w++) {
		if (**w)
			n += (size_t)snprintf(expected + n, sizeof expected - n, " %s", *w);
	}
	return wrong(r, f, value, expected);
}

static int no_memory(struct reading *r)
{
	return ph_err_set(r->err, ENOMEM, "out of memory");
}

/* ---- one value each */

static int read_bool(struct reading *r, const struct ph_field *f, const json_t *value, char *at)
{
	if (!json_is_boolean(value))
		return wrong(r, f, value, "true or false");
	bool v = json_is_true(value);
	memcpy(at, &v, sizeof v);
	return 0;
}

static int read_unsigned(struct reading *r, const struct ph_field *f, const json_t *value, char *at)
{
	uint64_t max = ph_member_max(f);
	json_int_t v = json_integer_value(value);
	if (!json_is_integer(value) || v < 0 || (uint64_t)v > max) {
		char expected[64];
		(void)snprintf(expected, sizeof expected, "a whole number from 0 to %llu",
			(unsigned long long)max);
		return wrong(r, f, value, expected);
	}
	ph_member_store(at, f->size, (uint64_t)v);
	return 0;
}

static int read_signed(struct reading *r, const struct ph_field *f, const json_t *value, char *at)
{
	json_int_t v = json_integer_value(value);
	json_int_t max = (json_int_t)ph_member_max(f);
	if (!json_is_integer(value) || v < -max || v > max) {
		char expected[64];
		(void)snprintf(expected, sizeof expected, "a whole number from %lld to %lld",
			(long long)-max, (long long)max);
		return wrong(r, f, value, expected);
	}
	int64_t stored = v;
	memcpy(at, &stored, sizeof stored);
	return 0;
}

static int read_num(struct reading *r, const struct ph_field *f, const json_t *value, char *at)
{
	if (!json_is_number(value))
		return wrong(r, f, value, "a number");
	double v = json_number_value(value);
	if (!isfinite(v))
		return wrong(r, f, value, "a finite number");
	memcpy(at, &v, sizeof v);
	return 0;
}

static int read_name(struct reading *r, const struct ph_field *f, const json_t *value, char *at)
{
	const char *s = json_string_value(value);
	if (!ph_name_valid(s))
		return wrong(r, f, value,
			"a name (1-63 of A-Z a-z 0-9 . _ -, not starting with . or -)");
	struct ph_name name = ph_name_of(s);
	memcpy(at, &name, sizeof name);
	return 0;
}

static int read_str(struct reading *r, const struct ph_field *f, const json_t *value, char *at)
{
	size_t max = f->max && f->max < f->size ? (size_t)f->max : f->size - 1;
	size_t n = json_string_length(value);
	if (!json_is_string(value) || n > max || (f->required && n == 0)) {
		char expected[64];
		(void)snprintf(expected, sizeof expected, "a text of %s%zu bytes",
			f->required ? "1 to " : "at most ", max);
		return wrong(r, f, value, expected);
	}
	memset(at, 0, f->size);
	memcpy(at, json_string_value(value), n);
	return 0;
}

static int read_hex(struct reading *r, const struct ph_field *f, const json_t *value, char *at)
{
	const char *s = json_string_value(value);
	if (!s || strlen(s) != f->size - 1 || !ph_member_hex(s)) {
		/* not shown: it may be a secret */
		return ph_err_set(r->err, EBADMSG, "%s%s: expected %zu lower-case hex digits",
			r->path, f->name, f->size - 1);
	}
	memcpy(at, s, f->size);
	return 0;
}

static int read_text(struct reading *r, const struct ph_field *f, const json_t *value, char *at)
{
	const char *s = json_string_value(value);
	if (!s)
		return wrong(r, f, value, "a text");
	if (f->max && json_string_length(value) > f->max) {
		char expected[64];
		(void)snprintf(expected, sizeof expected, "a text of at most %llu bytes",
			(unsigned long long)f->max);
		return wrong(r, f, value, expected);
	}
	if (f->words && ph_codec_word(f->words, s) < 0)
		return wrong_words(r, f, value);
	memcpy(at, &s, sizeof s);
	return 0;
}

static int read_json(struct reading *r, const struct ph_field *f, const json_t *value, char *at)
{
	bool object = f->type == PH_F_JSON_OBJ;
	if (object ? !json_is_object(value) : !json_is_array(value))
		return wrong(r, f, value, object ? "an object" : "a list");
	size_t n = json_dumpb(value, NULL, 0, JSON_COMPACT);
	if (f->max && n > f->max)
		return ph_err_set(r->err, EBADMSG,
			"%s%s: expected at most %llu bytes of compact JSON, found %zu", r->path,
			f->name, (unsigned long long)f->max, n);
	char *text = ph_doc_alloc(r->doc, n + 1);
	if (!n || !text || json_dumpb(value, text, n, JSON_COMPACT) != n)
		return no_memory(r);
	memcpy(at, &text, sizeof text);
	return 0;
}

static int read_ref(struct reading *r, const struct ph_field *f, const json_t *value, char *at)
{
	struct ph_ref ref = {0};
	json_int_t v = json_integer_value(value);
	size_t n = 1;
	if (json_is_integer(value) && v >= 0 && (uint64_t)v <= PH_CODEC_WHOLE_MAX)
		ref.n = (uint64_t)v;
	else if (json_is_number(value) || json_is_string(value))
		n = json_dumpb(value, ref.json, PH_REF_MAX, JSON_COMPACT | JSON_ENCODE_ANY);
	else
		n = 0;
	if (!n || n > PH_REF_MAX)
		return wrong(r, f, value, "a number or a text, of at most 64 bytes as JSON");
	memcpy(at, &ref, sizeof ref);
	return 0;
}

static int read_id(struct reading *r, const struct ph_field *f, const json_t *value, char *at)
{
	struct ph_id id;
	if (!json_is_string(value) || ph_id_parse(json_string_value(value), &id))
		return wrong(r, f, value, "32 lower-case hex digits");
	memcpy(at, &id, sizeof id);
	return 0;
}

static int read_hex64(struct reading *r, const struct ph_field *f, const json_t *value, char *at)
{
	const char *s = json_string_value(value);
	if (!s || strlen(s) != 16 || !ph_member_hex(s))
		return wrong(r, f, value, "16 lower-case hex digits");
	uint64_t v = strtoull(s, NULL, 16);
	memcpy(at, &v, sizeof v);
	return 0;
}

static int read_enum(struct reading *r, const struct ph_field *f, const json_t *value, char *at)
{
	const char *s = json_string_value(value);
	int i = s ? ph_codec_word(f->words, s) : -1;
	if (i < 0)
		return wrong_words(r, f, value);
	ph_member_store(at, f->size, (uint64_t)i);
	return 0;
}

static int read_flags(struct reading *r, const struct ph_field *f, const json_t *value, char *at)
{
	if (!json_is_array(value))
		return wrong(r, f, value, "a list of words");
	uint32_t bits = 0;
	for (size_t i = 0; i < json_array_size(value); i++) {
		const json_t *element = json_array_get(value, i);
		if (!json_is_string(element))
			return wrong(r, f, element, "words in the list");
		int bit = ph_codec_word(f->words, json_string_value(element));
		if (bit >= 0 && bit < 32)
			bits |= UINT32_C(1) << bit;
	}
	memcpy(at, &bits, sizeof bits);
	return 0;
}

static bool is_max(const struct ph_field *f, const json_t *value)
{
	return json_is_integer(value) && json_integer_value(value) == (json_int_t)f->max;
}

static int read_lists(struct reading *r, const struct ph_field *f, const json_t *value, char *at)
{
	if (!json_is_array(value))
		return wrong(r, f, value, "a list of whole numbers");
	bool listed = false;
	for (size_t i = 0; i < json_array_size(value); i++) {
		const json_t *element = json_array_get(value, i);
		if (!json_is_integer(element))
			return wrong(r, f, element, "whole numbers in the list");
		listed |= is_max(f, element);
	}
	memcpy(at, &listed, sizeof listed);
	return 0;
}

static int read_is(struct reading *r, const struct ph_field *f, const json_t *value, char *at)
{
	if (!json_is_integer(value))
		return wrong(r, f, value, "a whole number");
	bool is = is_max(f, value);
	memcpy(at, &is, sizeof is);
	return 0;
}

/* ---- nesting */

/* Appends to the path and returns the length to cut it back to; a long path is cut at its end. */
static size_t path_push(struct reading *r, const char *name, size_t index)
{
	size_t n = strlen(r->path);
	if (index == SIZE_MAX)
		(void)snprintf(r->path + n, sizeof r->path - n, "%s.", name);
	else
		(void)snprintf(r->path + n, sizeof r->path - n, "%s[%zu].", name, index);
	return n;
}

static int read_obj(struct reading *r, const struct ph_field *f, const json_t *value, char *at)
{
	if (!json_is_object(value))
		return wrong(r, f, value, "an object");
	size_t n = path_push(r, f->name, SIZE_MAX);
	int error = read_object(r, f->sub, value, at);
	r->path[n] = '\0';
	return error;
}

static int read_tuple(
	struct reading *r, const struct ph_field *f, const json_t *value, size_t i, char *at)
{
	size_t rows = 0;
	while (f->sub[rows].name)
		rows++;
	if (!json_is_array(value) || json_array_size(value) != rows)
		return ph_err_set(r->err, EBADMSG,
			"%s%s[%zu]: expected a list of %zu values, found %s", r->path, f->name, i,
			rows, found(value));
	int error = 0;
	size_t n = path_push(r, f->name, i);
	for (size_t row = 0; row < rows && !error; row++)
		error = read_value(r, &f->sub[row], json_array_get(value, row), at);
	r->path[n] = '\0';
	return error;
}

static int read_element(
	struct reading *r, const struct ph_field *f, const json_t *value, size_t i, char *at)
{
	if (f->shape == PH_SHAPE_TUPLE)
		return read_tuple(r, f, value, i, at);
	if (f->shape == PH_SHAPE_OBJECT && !json_is_object(value))
		return ph_err_set(r->err, EBADMSG, "%s%s[%zu]: expected an object, found %s",
			r->path, f->name, i, found(value));
	size_t n = path_push(r, f->name, i);
	int error = f->shape == PH_SHAPE_BARE ? read_value(r, f->sub, value, at)
					      : read_object(r, f->sub, value, at);
	r->path[n] = '\0';
	return error;
}

static int read_list(struct reading *r, const struct ph_field *f, const json_t *value, char *at)
{
	size_t n = json_array_size(value);
	if (!json_is_array(value) || (f->max && n > f->max)) {
		char expected[64] = "a list";
		if (f->max)
			(void)snprintf(expected, sizeof expected, "a list of at most %llu",
				(unsigned long long)f->max);
		return wrong(r, f, value, expected);
	}
	char *elements = at;
	if (f->type == PH_F_LIST) {
		if (n > SIZE_MAX / 4 / f->element_size)
			return no_memory(r);
		elements = n ? ph_doc_alloc(r->doc, n * f->element_size) : NULL;
		if (n && !elements)
			return no_memory(r);
		memcpy(at, &elements, sizeof elements);
	}
	for (size_t i = 0; i < n; i++) {
		int error = read_element(
			r, f, json_array_get(value, i), i, elements + i * f->element_size);
		if (error)
			return error;
	}
	ph_member_store(at - f->offset + f->count_at - 1, f->count_size, n);
	return 0;
}

typedef int read_fn(struct reading *r, const struct ph_field *f, const json_t *value, char *at);

static read_fn *const readers[] = {
	[PH_F_BOOL] = read_bool,
	[PH_F_U32] = read_unsigned,
	[PH_F_U64] = read_unsigned,
	[PH_F_I64] = read_signed,
	[PH_F_NUM] = read_num,
	[PH_F_NAME] = read_name,
	[PH_F_STR] = read_str,
	[PH_F_HEX] = read_hex,
	[PH_F_TEXT] = read_text,
	[PH_F_JSON_OBJ] = read_json,
	[PH_F_JSON_LIST] = read_json,
	[PH_F_REF] = read_ref,
	[PH_F_ID] = read_id,
	[PH_F_HEX64] = read_hex64,
	[PH_F_ENUM] = read_enum,
	[PH_F_FLAGS] = read_flags,
	[PH_F_LISTS] = read_lists,
	[PH_F_IS] = read_is,
	[PH_F_OBJ] = read_obj,
	[PH_F_LIST] = read_list,
	[PH_F_ARRAY] = read_list,
};

static int read_value(struct reading *r, const struct ph_field *f, const json_t *value, char *base)
{
	int error = readers[f->type](r, f, value, base + f->offset);
	if (!error && f->has_at) {
		bool has = true;
		memcpy(base + f->has_at - 1, &has, sizeof has);
	}
	return error;
}

static int read_object(
	struct reading *r, const struct ph_field *table, const json_t *object, char *base)
{
	for (const struct ph_field *f = table; f->name; f++) {
		const json_t *value = json_object_get(object, f->name);
		if (!value && f->required)
			return ph_err_set(r->err, EBADMSG, "%s%s: missing", r->path, f->name);
		if (!value)
			continue;
		int error = read_value(r, f, value, base);
		if (error)
			return error;
	}
	return 0;
}

int ph_codec_decode(struct ph_doc *doc, const struct ph_field *table, void *ret, struct ph_err *err)
{
	struct reading r = {.doc = doc, .err = err, .path = ""};
	return read_object(&r, table, ph_doc_root(doc), ret);
}

int ph_codec_read(const char *text, size_t n, const struct ph_field *table, void *ret,
	struct ph_doc **ret_doc, struct ph_err *err)
{
	struct ph_doc *doc = NULL;
	int error = ph_doc_parse(text, n, &doc, err);
	if (!error)
		error = ph_codec_decode(doc, table, ret, err);
	if (error)
		ph_doc_free(doc);
	else
		*ret_doc = doc;
	return error;
}
