/* text.c - a growing string, and how values are written for people. */
#include "ctl/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/ctl.h"

void ph_text_fini(struct ph_text *text)
{
	free(text->s);
	*text = (struct ph_text){0};
}

void ph_text_clear(struct ph_text *text)
{
	text->n = 0;
	if (text->s)
		text->s[0] = '\0';
}

const char *ph_text_string(const struct ph_text *text)
{
	return text->s ? text->s : "";
}

static void text_reserve(struct ph_text *text, size_t more)
{
	size_t size = text->size ? text->size : 64;

	while (size < text->n + more + 1)
		size *= 2;
	if (size == text->size)
		return;
	text->s = ph_ctl_made(realloc(text->s, size));
	text->size = size;
}

void ph_text_add_bytes(struct ph_text *text, const char *bytes, size_t n)
{
	text_reserve(text, n);
	memcpy(text->s + text->n, bytes, n);
	text->n += n;
	text->s[text->n] = '\0';
}

void ph_text_addf(struct ph_text *text, const char *format, ...)
{
	va_list args, again;
	int n;

	va_start(args, format);
	va_copy(again, args);
	n = vsnprintf(NULL, 0, format, args);
	if (n > 0) {
		text_reserve(text, (size_t)n);
		(void)vsnprintf(text->s + text->n, (size_t)n + 1, format, again);
		text->n += (size_t)n;
	}
	va_end(again);
	va_end(args);
}

/*
 * Decodes one character of UTF-8. Returns its length in bytes, 0 where the bytes are none
 * (overlong forms need no refusal: what they could hide is escaped after decoding).
 */
static size_t text_decode(const char *s, uint32_t *ret_character)
{
	unsigned char first = (unsigned char)s[0];
	size_t n = first < 0x80		    ? 1
		   : (first & 0xe0) == 0xc0 ? 2
		   : (first & 0xf0) == 0xe0 ? 3
		   : (first & 0xf8) == 0xf0 ? 4
					    : 0;
	uint32_t character = n == 1 ? first : first & (0xffu >> (n + 1));

	for (size_t i = 1; i < n; i++) {
		if (((unsigned char)s[i] & 0xc0) != 0x80)
			return 0;
		character = character << 6 | ((unsigned char)s[i] & 0x3f);
	}
	*ret_character = character;
	return n;
}

/* What a terminal acts on: C0, DEL, C1, line separators and the marks that turn the writing. */
static bool text_is_hostile(uint32_t c)
{
	static const struct {
		uint32_t first, last;
	} ranges[] = {
		{0x00, 0x1f},
		{0x7f, 0x9f},
		{0x61c, 0x61c},
		{0x200e, 0x200f},
		{0x2028, 0x202e},
		{0x2066, 0x2069},
		{0xfeff, 0xfeff},
	};

	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		if (c >= ranges[i].first && c <= ranges[i].last)
			return true;
	}
	return false;
}

static void text_add_character(struct ph_text *text, uint32_t c)
{
	static const char names[] = {['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};

	if (c < sizeof(names) && names[c])
		ph_text_addf(text, "\\%c", names[c]);
	else if (c < 0x80)
		ph_text_addf(text, "\\x%02x", c);
	else
		ph_text_addf(text, "\\u%04x", c);
}

void ph_text_add_escaped(struct ph_text *text, const char *s, bool keep_newlines)
{
	while (*s) {
		uint32_t c = 0;
		size_t n = text_decode(s, &c);

		if (n == 0) {
			ph_text_addf(text, "\\x%02x", (unsigned char)*s);
			n = 1;
		} else if (text_is_hostile(c) && !(c == '\n' && keep_newlines)) {
			text_add_character(text, c);
		} else {
			ph_text_add_bytes(text, s, n);
		}
		s += n;
	}
}

void ph_text_add_json(struct ph_text *text, const json_t *value)
{
	char *dump = ph_ctl_made(json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY));

	/* jansson escapes C0 itself; the rest can only stand in strings, where \u is JSON too */
	for (const char *s = dump; *s;) {
		uint32_t c = 0;
		size_t n = text_decode(s, &c);

		if (n && text_is_hostile(c))
			ph_text_addf(text, "\\u%04x", c);
		else
			ph_text_add_bytes(text, s, n ? n : 1);
		s += n ? n : 1;
	}
	free(dump);
}

void ph_text_add_value(struct ph_text *text, const json_t *value)
{
	if (!value || json_is_null(value))
		ph_text_addf(text, "-");
	else if (json_is_string(value))
		ph_text_add_escaped(text, json_string_value(value), false);
	else if (json_is_boolean(value))
		ph_text_addf(text, "%s", json_is_true(value) ? "yes" : "no");
	else if (json_is_real(value))
		ph_text_addf(text, "%g", json_real_value(value));
	else
		ph_text_add_json(text, value);
}

void ph_text_add_duration(struct ph_text *text, uint64_t ms)
{
	uint64_t s = ms / 1000;

	if (ms < 1000)
		ph_text_addf(text, "%ums", (unsigned)ms);
	else if (s < 10)
		ph_text_addf(text, "%u.%us", (unsigned)s, (unsigned)(ms % 1000 / 100));
	else if (s < 60)
		ph_text_addf(text, "%us", (unsigned)s);
	else if (s < 3600)
		ph_text_addf(text, "%um%02us", (unsigned)(s / 60), (unsigned)(s % 60));
	else if (s < 86400)
		ph_text_addf(text, "%uh%02um", (unsigned)(s / 3600), (unsigned)(s % 3600 / 60));
	else
		ph_text_addf(text, "%llud%uh", (unsigned long long)(s / 86400),
			(unsigned)(s % 86400 / 3600));
}

void ph_text_add_size(struct ph_text *text, uint64_t bytes)
{
	static const char units[] = "BKMGTPE";
	double size = (double)bytes;
	size_t unit = 0;

	while (size >= 1023.95 && unit + 2 < sizeof(units)) {
		size /= 1024;
		unit++;
	}
	ph_text_addf(text, unit ? "%.1f%c" : "%.0f%c", size, units[unit]);
}
