#include "proto/codec.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/codec_member.h"

/* Text that grows; the first error sticks and everything after it does nothing. */
struct writing {
	char *bytes;
	size_t n, size, max;
	int error; /* positive errno */
};

static void write_object(
	struct writing *w, const struct ph_field *table, const char *base, const char *op);
static void write_value(struct writing *w, const struct ph_field *f, const char *base);

static void fail(struct writing *w, int code)
{
	if (!w->error)
		w->error = code;
}

static void put(struct writing *w, const char *bytes, size_t n)
{
	if (w->error)
		return;
	if (n > w->max - w->n) {
		fail(w, EMSGSIZE);
		return;
	}
	if (w->size - w->n <= n) { /* one byte more, for the NUL */
		size_t size = w->size;
		while (size - w->n <= n)
			size *= 2;
		char *grown = realloc(w->bytes, size);
		if (!grown) {
			fail(w, ENOMEM);
			return;
		}
		w->bytes = grown;
		w->size = size;
	}
	memcpy(w->bytes + w->n, bytes, n);
	w->n += n;
}

static void put_char(struct writing *w, char c)
{
	put(w, &c, 1);
}

static void put_text(struct writing *w, const char *s)
{
	put(w, s, strlen(s));
}

static void put_whole(struct writing *w, uint64_t v)
{
	char digits[24];
	size_t at = sizeof digits;
	do
		digits[--at] = (char)('0' + v % 10);
	while (v /= 10);
	put(w, digits + at, sizeof digits - at);
}

/* Bytes of the well-formed UTF-8 sequence at `s` (Unicode 15, table 3-7), or 0. */
static size_t utf8_length(const unsigned char *s)
{
	if (s[0] < 0x80)
		return 1;
	size_t n = s[0] >= 0xc2 && s[0] <= 0xdf	  ? 2
		   : s[0] >= 0xe0 && s[0] <= 0xef ? 3
		   : s[0] >= 0xf0 && s[0] <= 0xf4 ? 4
						  : 0;
	unsigned char low = s[0] == 0xe0 ? 0xa0 : s[0] == 0xf0 ? 0x90 : 0x80;
	unsigned char high = s[0] == 0xed ? 0x9f : s[0] == 0xf4 ? 0x8f : 0xbf;
	for (size_t i = 1; i < n; i++) {
		if (s[i] < low || s[i] > high)
			return 0; /* the NUL at the end stops here too */
		low = 0x80;
		high = 0xbf;
	}
	return n;
}

static void put_escaped(struct writing *w, unsigned char c)
{
	static const char hex[] = "0123456789abcdef";
	char second = c == '\n' ? 'n' : c == '\t' ? 't' : c < 0x20 ? 'u' : (char)c;
	char escaped[] = {'\\', second, '0', '0', hex[c >> 4], hex[c & 15]};
	put(w, escaped, second == 'u' ? sizeof escaped : 2);
}

/* So many bytes from `p` on are characters that stand for themselves: most of most texts. */
static size_t plain_length(const unsigned char *p)
{
	size_t n = 0;
	while (p[n] >= 0x20 && p[n] < 0x80 && p[n] != '"' && p[n] != '\\')
		n++;
	return n;
}

/* The character at `p`; returns its bytes there. */
static size_t put_character(struct writing *w, const unsigned char *p, size_t length)
{
	if (!length)
		put_text(w, "\xef\xbf\xbd");
	else if (length == 1)
		put_escaped(w, *p);
	else
		put(w, (const char *)p, length);
	return length ? length : 1;
}

/* A string literal of at most `max` bytes of `s` (0: all), whole characters. */
static void put_string(struct writing *w, const char *s, uint64_t max)
{
	const unsigned char *p = (const unsigned char *)s;
	uint64_t left = max ? max : UINT64_MAX;
	put_char(w, '"');
	while (*p) {
		size_t n = plain_length(p);
		if (n > left)
			n = (size_t)left;
		put(w, (const char *)p, n);
		p += n;
		left -= n;
		if (!*p)
			break;
		n = utf8_length(p);
		size_t written = n ? n : 3; /* U+FFFD */
		if (written > left)
			break;
		left -= written;
		p += put_character(w, p, n);
	}
	put_char(w, '"');
}

/* ---- one value each; `at` is the member */

static void write_bool(struct writing *w, const struct ph_field *f, const char *at)
{
	put_text(w, ph_member_load(at, f->size) ? "true" : "false");
}

static void write_unsigned(struct writing *w, const struct ph_field *f, const char *at)
{
	uint64_t v = ph_member_load(at, f->size);
	if (v > ph_member_max(f))
		fail(w, EINVAL);
	put_whole(w, v);
}

static void write_signed(struct writing *w, const struct ph_field *f, const char *at)
{
	int64_t v;
	memcpy(&v, at, sizeof v);
	uint64_t size = v < 0 ? -(uint64_t)v : (uint64_t)v;
	if (size > ph_member_max(f))
		fail(w, EINVAL);
	if (v < 0)
		put_char(w, '-');
	put_whole(w, size);
}

static void write_num(struct writing *w, const struct ph_field *f, const char *at)
{
	(void)f;
	double v;
	memcpy(&v, at, sizeof v);
	if (!isfinite(v)) {
		fail(w, EINVAL);
		return;
	}
	char digits[40];
	int n = snprintf(digits, sizeof digits, "%.15g", v);
	if (strtod(digits, NULL) - v !=
		0.0) /* 15 digits where they are enough: 0.1, not 0.1000... */
		n = snprintf(digits, sizeof digits, "%.17g", v);
	for (int i = 0; i < n; i++) {
		if (digits[i] == ',') /* a locale that writes it so */
			digits[i] = '.';
	}
	put(w, digits, (size_t)n);
}

static void write_name(struct writing *w, const struct ph_field *f, const char *at)
{
	(void)f;
	if (!ph_name_valid(at))
		fail(w, EINVAL);
	put_string(w, at, 0);
}

static void write_str(struct writing *w, const struct ph_field *f, const char *at)
{
	if (strnlen(at, f->size) == f->size || (f->required && !*at)) {
		fail(w, EINVAL);
		return;
	}
	put_string(w, at, f->max);
}

static void write_hex(struct writing *w, const struct ph_field *f, const char *at)
{
	if (strnlen(at, f->size) != f->size - 1 || !ph_member_hex(at)) {
		fail(w, EINVAL);
		return;
	}
	put_string(w, at, 0);
}

static const char *pointed(const char *at)
{
	const char *s;
	memcpy(&s, at, sizeof s);
	return s;
}

static void write_text(struct writing *w, const struct ph_field *f, const char *at)
{
	const char *s = pointed(at);
	if (!s || (f->words && ph_codec_word(f->words, s) < 0)) {
		fail(w, EINVAL);
		return;
	}
	put_string(w, s, f->max);
}

static void write_json(struct writing *w, const struct ph_field *f, const char *at)
{
	const char *s = pointed(at);
	size_t n = s ? strlen(s) : 0;
	const char *ends = f->type == PH_F_JSON_OBJ ? "{}" : "[]";
	if (n < 2 || s[0] != ends[0] || s[n - 1] != ends[1]) {
		fail(w, EINVAL);
		return;
	}
	if (f->max && n > f->max)
		fail(w, EMSGSIZE);
	for (size_t i = 0; i < n; i++) {
		if ((unsigned char)s[i] < 0x20) /* not compact, and it would break the line */
			fail(w, EINVAL);
	}
	put(w, s, n);
}

static void write_ref(struct writing *w, const struct ph_field *f, const char *at)
{
	(void)f;
	struct ph_ref ref;
	memcpy(&ref, at, sizeof ref);
	if (ref.n > PH_CODEC_WHOLE_MAX)
		fail(w, EINVAL);
	if (ref.json[0])
		put_text(w, ref.json); /* as it was read */
	else
		put_whole(w, ref.n);
}

static void write_id(struct writing *w, const struct ph_field *f, const char *at)
{
	(void)f;
	struct ph_id id;
	char text[PH_ID_TEXT_SIZE];
	memcpy(&id, at, sizeof id);
	put_string(w, ph_id_text(&id, text), 0);
}

static void write_hex64(struct writing *w, const struct ph_field *f, const char *at)
{
	(void)f;
	char text[24];
	int n = snprintf(text, sizeof text, "\"%016llx\"",
		(unsigned long long)ph_member_load(at, sizeof(uint64_t)));
	put(w, text, (size_t)n);
}

static const char *enum_word(const struct ph_field *f, const char *at)
{
	uint64_t v = ph_member_load(at, f->size);
	uint64_t n = 0;
	while (f->words[n] && n < v)
		n++;
	return f->words[n]; /* NULL: out of range */
}

static void write_enum(struct writing *w, const struct ph_field *f, const char *at)
{
	const char *word = enum_word(f, at);
	if (!word || !*word) {
		fail(w, EINVAL);
		return;
	}
	put_string(w, word, 0);
}

static void write_flags(struct writing *w, const struct ph_field *f, const char *at)
{
	uint64_t bits = ph_member_load(at, sizeof(uint32_t));
	const char *before = "";
	put_char(w, '[');
	for (unsigned i = 0; i < 32 && f->words[i]; i++) {
		if (!(bits >> i & 1) || !*f->words[i])
			continue;
		put_text(w, before);
		put_string(w, f->words[i], 0);
		before = ",";
	}
	put_char(w, ']');
}

static void write_lists(struct writing *w, const struct ph_field *f, const char *at)
{
	put_char(w, '[');
	if (ph_member_load(at, f->size))
		put_whole(w, f->max);
	put_char(w, ']');
}

static void write_is(struct writing *w, const struct ph_field *f, const char *at)
{
	put_whole(w, ph_member_load(at, f->size) ? f->max : 0);
}

static void write_obj(struct writing *w, const struct ph_field *f, const char *at)
{
	write_object(w, f->sub, at, NULL);
}

static size_t list_count(const struct ph_field *f, const char *at)
{
	return (size_t)ph_member_load(at - f->offset + f->count_at - 1, f->count_size);
}

static void write_tuple(struct writing *w, const struct ph_field *f, const char *element)
{
	const char *before = "[";
	for (const struct ph_field *row = f->sub; row->name; row++) {
		put_text(w, before);
		write_value(w, row, element);
		before = ",";
	}
	put_char(w, ']');
}

static void write_list(struct writing *w, const struct ph_field *f, const char *at)
{
	size_t n = list_count(f, at);
	const char *elements = f->type == PH_F_LIST ? pointed(at) : at;
	if (f->max && n > f->max) {
		fail(w, EINVAL);
		return;
	}
	put_char(w, '[');
	for (size_t i = 0; i < n && !w->error; i++) {
		const char *element = elements + i * f->element_size;
		if (i)
			put_char(w, ',');
		if (f->shape == PH_SHAPE_TUPLE)
			write_tuple(w, f, element);
		else if (f->shape == PH_SHAPE_BARE)
			write_value(w, f->sub, element);
		else
			write_object(w, f->sub, element, NULL);
	}
	put_char(w, ']');
}

typedef void write_fn(struct writing *w, const struct ph_field *f, const char *at);

static write_fn *const writers[] = {
	[PH_F_BOOL] = write_bool,
	[PH_F_U32] = write_unsigned,
	[PH_F_U64] = write_unsigned,
	[PH_F_I64] = write_signed,
	[PH_F_NUM] = write_num,
	[PH_F_NAME] = write_name,
	[PH_F_STR] = write_str,
	[PH_F_HEX] = write_hex,
	[PH_F_TEXT] = write_text,
	[PH_F_JSON_OBJ] = write_json,
	[PH_F_JSON_LIST] = write_json,
	[PH_F_REF] = write_ref,
	[PH_F_ID] = write_id,
	[PH_F_HEX64] = write_hex64,
	[PH_F_ENUM] = write_enum,
	[PH_F_FLAGS] = write_flags,
	[PH_F_LISTS] = write_lists,
	[PH_F_IS] = write_is,
	[PH_F_OBJ] = write_obj,
	[PH_F_LIST] = write_list,
	[PH_F_ARRAY] = write_list,
};

/* ---- which fields are there */

static bool all_zero(const char *at, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (at[i])
			return false;
	}
	return true;
}

static bool present(const struct ph_field *f, const char *base)
{
	const char *at = base + f->offset;
	if (f->has_at)
		return ph_member_load(base + f->has_at - 1, sizeof(bool)) != 0;
	if (f->type == PH_F_LIST || f->type == PH_F_ARRAY)
		return list_count(f, at) > 0;
	if (f->type == PH_F_NAME || f->type == PH_F_STR || f->type == PH_F_HEX)
		return *at != '\0'; /* bytes behind the NUL say nothing */
	if (f->type == PH_F_ENUM) {
		const char *word = enum_word(f, at);
		return !word || (*word && !all_zero(at, f->size));
	}
	if (f->type != PH_F_OBJ)
		return !all_zero(at, f->size);
	for (const struct ph_field *row = f->sub; row->name; row++) {
		if (present(row, at))
			return true;
	}
	return false;
}

/* Has it a text even when it is absent? (`always`) */
static bool has_zero(const struct ph_field *f, const char *base)
{
	const char *at = base + f->offset;
	switch (f->type) {
	case PH_F_NAME:
	case PH_F_HEX:
	case PH_F_TEXT:
	case PH_F_JSON_OBJ:
	case PH_F_JSON_LIST:
	case PH_F_ID:
		return false;
	case PH_F_ENUM: {
		const char *word = enum_word(f, at);
		return word && *word;
	}
	case PH_F_NONE:
	case PH_F_BOOL:
	case PH_F_U32:
	case PH_F_U64:
	case PH_F_I64:
	case PH_F_NUM:
	case PH_F_STR:
	case PH_F_REF:
	case PH_F_HEX64:
	case PH_F_FLAGS:
	case PH_F_LISTS:
	case PH_F_IS:
	case PH_F_OBJ:
	case PH_F_LIST:
	case PH_F_ARRAY:
		break;
	}
	return true;
}

static void write_value(struct writing *w, const struct ph_field *f, const char *base)
{
	writers[f->type](w, f, base + f->offset);
}

static void write_object(
	struct writing *w, const struct ph_field *table, const char *base, const char *op)
{
	const char *before = "";
	put_char(w, '{');
	if (op) {
		put_text(w, "\"op\":");
		put_string(w, op, 0);
		before = ",";
	}
	for (const struct ph_field *f = table; f->name && !w->error; f++) {
		if (!f->required && !present(f, base) && !(f->always && has_zero(f, base)))
			continue;
		put_text(w, before);
		put_string(w, f->name, 0);
		put_char(w, ':');
		write_value(w, f, base);
		before = ",";
	}
	put_char(w, '}');
}

char *ph_codec_write(const struct ph_field *table, const void *from, const char *op, char end,
	size_t max_bytes, size_t *ret_n)
{
	struct writing w = {.size = 256, .max = max_bytes ? max_bytes : (size_t)1 << 30};
	w.bytes = malloc(w.size);
	if (!w.bytes) {
		errno = ENOMEM;
		return NULL;
	}
	write_object(&w, table, from, op);
	if (end)
		put_char(&w, end);
	if (w.error) {
		free(w.bytes);
		errno = w.error;
		return NULL;
	}
	w.bytes[w.n] = '\0';
	*ret_n = w.n;
	return w.bytes;
}
