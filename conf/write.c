#include "conf/write.h"
#include "conf/value.h"

#include <ctype.h>
#include <string.h>

/* Words that YAML readers take for something else than a text. */
static bool reserved(const char *text)
{
	static const char *const words[] = {
		"null", "true", "false", "yes", "no", "on", "off", "y", "n"};
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (strcasecmp(words[i], text) == 0)
			return true;
	return false;
}

static bool plain_is_safe(const char *text)
{
	if (!isalpha((unsigned char)text[0]) && text[0] != '/')
		return false;
	for (const char *p = text; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("/._-=", *p))
			return false;
	return !reserved(text);
}

/*
 * Characters that libyaml refuses in a file, or takes for a line break or a mark of byte order:
 * the rest of UTF-8 stands for itself.
 */
static bool special(uint32_t c)
{
	return (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029 || c == 0xfeff ||
	       (c >= 0xfffe && c <= 0xffff);
}

/* The character at `s` and its length; texts here are valid UTF-8. */
static size_t decode(const unsigned char *s, uint32_t *ret)
{
	size_t n = *s < 0x80 ? 1 : *s < 0xe0 ? 2 : *s < 0xf0 ? 3 : 4;
	uint32_t c = n == 1 ? *s : *s & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return *ret = *s, 1;
		c = c << 6 | (s[i] & 0x3fu);
	}
	*ret = c;
	return n;
}

/* Bytes at the start that stand for themselves, whatever comes after them. */
static size_t ordinary(const unsigned char *s)
{
	size_t n = 0;
	while (s[n] >= 0x20 && s[n] < 0x7f && s[n] != '"' && s[n] != '\\' && s[n] != '$')
		n++;
	return n;
}

static size_t write_character(FILE *out, const unsigned char *s, enum ph_conf_style style)
{
	uint32_t c = 0;
	size_t n = decode(s, &c);
	if (c == '"' || c == '\\')
		(void)fprintf(out, "\\%c", (char)c);
	else if (c == '\n')
		(void)fputs("\\n", out);
	else if (c == '\t')
		(void)fputs("\\t", out);
	else if (c < 0x20 || special(c))
		(void)fprintf(out, "\\u%04x", c);
	else if (c == '$' && s[1] == '{' && style == PH_CONF_YAML)
		(void)fputs("$$", out);
	else
		(void)fwrite(s, 1, n, out);
	return n;
}

static void write_quoted(FILE *out, const char *text, enum ph_conf_style style)
{
	const unsigned char *s = (const unsigned char *)text;
	(void)fputc('"', out);
	while (*s) {
		size_t n = ordinary(s);
		if (n > 0)
			(void)fwrite(s, 1, n, out);
		else
			n = write_character(out, s, style);
		s += n;
	}
	(void)fputc('"', out);
}

void ph_conf_write_string(FILE *out, const char *text, enum ph_conf_style style)
{
	if (style == PH_CONF_YAML && plain_is_safe(text))
		(void)fputs(text, out);
	else
		write_quoted(out, text, style);
}

static void write_list(FILE *out, const struct ph_conf_list *list, enum ph_conf_style style)
{
	(void)fputc('[', out);
	for (size_t i = 0; i < list->n; i++) {
		if (i > 0)
			(void)fputs(style == PH_CONF_JSON ? "," : ", ", out);
		ph_conf_write_string(out, list->v[i], style);
	}
	(void)fputc(']', out);
}

static void write_pairs(FILE *out, const struct ph_conf_pairs *pairs, enum ph_conf_style style)
{
	(void)fputc('{', out);
	for (size_t i = 0; i < pairs->n; i++) {
		if (i > 0)
			(void)fputs(style == PH_CONF_JSON ? "," : ", ", out);
		/* a key is never expanded, so its dollars stand for themselves */
		ph_conf_write_string(out, pairs->v[i].name, PH_CONF_JSON);
		(void)fputs(style == PH_CONF_JSON ? ":" : ": ", out);
		ph_conf_write_string(out, pairs->v[i].value, style);
	}
	(void)fputc('}', out);
}

static bool is_number(enum ph_conf_type type)
{
	return type == PH_CONF_BOOL || type == PH_CONF_COUNT || type == PH_CONF_WEIGHT;
}

void ph_conf_write_value(
	FILE *out, const struct ph_conf_option *o, const void *holder, enum ph_conf_style style)
{
	if (ph_conf_shape(o->type) == PH_CONF_SHAPE_LIST) {
		write_list(out, ph_conf_value_list(o, holder), style);
		return;
	}
	if (ph_conf_shape(o->type) == PH_CONF_SHAPE_PAIRS) {
		write_pairs(out, ph_conf_value_pairs(o, holder), style);
		return;
	}
	char text[128];
	const char *string = ph_conf_value_string(o, holder);
	if (string) {
		ph_conf_write_string(out, string, style);
		return;
	}
	ph_conf_value_text(o, holder, text, sizeof text);
	/* 0660 and 20% are texts to JSON, and digits would be a number to YAML */
	if (is_number(o->type) || (style == PH_CONF_YAML && o->type != PH_CONF_MODE &&
					  o->type != PH_CONF_ENUM && o->type != PH_CONF_NAME))
		(void)fputs(text, out);
	else
		ph_conf_write_string(out, text, style);
}
