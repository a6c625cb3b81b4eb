#include "conf/surrogate.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HALF 6			 /* bytes of \ud83d */
#define PAIR ((size_t)2 * HALF)	 /* of \ud83d\ude00 */
#define JOINED ((size_t)10)	 /* of \U0001f600 */
#define LOW UINT32_C(0xdc00)	 /* the second half from here, the first below */
#define FIRST UINT32_C(0xd800)	 /* of the first halves */
#define BEYOND UINT32_C(0x10000) /* what a pair of zeros stands for */

/* Walks over the tokens of one flow mapping and notes the pairs. */
struct scan {
	const char *at, *end;
	unsigned depth;
	bool unsure, full; /* where tokens end; no memory */
	size_t *pairs;	   /* pointers as offsets from `start` */
	size_t n, room;
	const char *start;
};

uint32_t ph_conf_surrogate(const char *s)
{
	uint32_t code = 0;
	if (s[0] != '\\' || s[1] != 'u')
		return 0;
	for (int i = 2; i < HALF; i++) {
		static const char digits[] = "0123456789abcdef";
		const char *digit = s[i] ? strchr(digits, s[i] | 0x20) : NULL;
		if (!digit || (s[i] < '0' || (s[i] > '9' && s[i] < 'A')))
			return 0;
		code = code << 4 | (uint32_t)(digit - digits);
	}
	return code >= FIRST && code < 0xe000 ? code : 0;
}

static bool is_pair(const char *s, const char *end)
{
	if ((size_t)(end - s) < PAIR)
		return false;
	uint32_t first = ph_conf_surrogate(s);
	return first && first < LOW && ph_conf_surrogate(s + HALF) >= LOW;
}

static bool note(struct scan *s)
{
	if (s->n == s->room) {
		size_t room = s->room ? s->room * 2 : 64;
		size_t *more = realloc(s->pairs, room * sizeof *more);
		if (!more) {
			s->full = true;
			return false;
		}
		s->pairs = more;
		s->room = room;
	}
	s->pairs[s->n++] = (size_t)(s->at - s->start);
	return true;
}

static bool is_white(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void double_quoted(struct scan *s)
{
	for (s->at++; s->at < s->end && *s->at != '"'; s->at++) {
		if (*s->at != '\\')
			continue;
		if (is_pair(s->at, s->end)) {
			if (!note(s))
				return;
			s->at += PAIR - 2;
		}
		s->at++; /* what is escaped ends nothing */
	}
	s->at++;
}

static void single_quoted(struct scan *s)
{
	for (s->at++; s->at < s->end; s->at++) {
		if (*s->at != '\'')
			continue;
		if (s->at + 1 == s->end || s->at[1] != '\'')
			break;
		s->at++;
	}
	s->at++;
}

static void comment(struct scan *s)
{
	while (s->at < s->end && *s->at != '\n' && *s->at != '\r')
		s->at++;
}

/* Ends at a flow indicator, at ": " and before " #"; quotes inside are no quotes. */
static void plain(struct scan *s)
{
	for (; s->at < s->end; s->at++) {
		char next = s->at + 1 < s->end ? s->at[1] : '\n';
		if (strchr(",[]{}", *s->at) && *s->at)
			return;
		if (*s->at == ':' && (is_white(next) || (next && strchr(",[]{}", next))))
			return;
		if (is_white(*s->at) && next == '#') {
			s->at++;
			return;
		}
		if (*s->at == '?' || !*s->at) { /* which versions take differently */
			s->unsure = true;
			return;
		}
	}
}

static void token(struct scan *s)
{
	char c = *s->at;
	if (s->depth == 0 && c != '#') {
		s->unsure = true;
	} else if (c == '"') {
		double_quoted(s);
	} else if (c == '\'') {
		single_quoted(s);
	} else if (c == '#') {
		comment(s);
	} else if (c == '{' || c == '[') {
		s->depth++;
		s->at++;
	} else if (c == '}' || c == ']') {
		s->depth--;
		s->at++;
	} else if (c == ',' || c == ':') {
		s->at++;
	} else if (!c || strchr("?|>%@`!&*", c)) {
		s->unsure = true;
	} else {
		plain(s);
	}
}

/* libyaml ends lines at these three too. */
static bool has_odd_break(const char *text, size_t n)
{
	static const char *const breaks[] = {"\xc2\x85", "\xe2\x80\xa8", "\xe2\x80\xa9"};
	for (size_t i = 0; i < sizeof breaks / sizeof *breaks; i++)
		if (memmem(text, n, breaks[i], strlen(breaks[i])))
			return true;
	return false;
}

static int find(struct scan *s)
{
	static const char mark[] = "\xef\xbb\xbf"; /* of byte order */
	if (s->end - s->at >= 3 && memcmp(s->at, mark, 3) == 0)
		s->at += 3;
	while (s->at < s->end && is_white(*s->at))
		s->at++;
	if (s->at == s->end || *s->at != '{' || has_odd_break(s->at, (size_t)(s->end - s->at)))
		return 0;
	s->depth = 1;
	s->at++;
	while (s->at < s->end && !s->unsure && !s->full) {
		if (is_white(*s->at))
			s->at++;
		else
			token(s);
	}
	if (s->unsure)
		s->n = 0;
	return s->full ? -ENOMEM : 0;
}

static size_t characters(const char *text, size_t n)
{
	size_t count = 0;
	for (size_t i = 0; i < n; i++)
		count += ((unsigned char)text[i] & 0xc0) != 0x80;
	return count;
}

static int rewrite(const char *text, size_t n, const struct scan *s, struct ph_conf_joined *ret)
{
	char *to = malloc(n + 1);
	size_t *ends = calloc(s->n, sizeof *ends), from = 0, written = 0, count = 0;
	if (!to || !ends) {
		free(to);
		free(ends);
		return -ENOMEM;
	}
	for (size_t i = 0; i < s->n; i++) {
		const char *pair = text + s->pairs[i];
		size_t between = s->pairs[i] - from;
		uint32_t code = BEYOND + ((ph_conf_surrogate(pair) - FIRST) << 10) +
				(ph_conf_surrogate(pair + HALF) - LOW);
		memcpy(to + written, text + from, between);
		(void)snprintf(to + written + between, JOINED + 1, "\\U%08x", code);
		count += characters(text + from, between) + JOINED;
		ends[i] = count;
		written += between + JOINED;
		from = s->pairs[i] + PAIR;
	}
	memcpy(to + written, text + from, n - from);
	*ret = (struct ph_conf_joined){to, written + n - from, ends, s->n};
	return 0;
}

int ph_conf_join(const char *text, size_t n, struct ph_conf_joined *ret)
{
	struct scan s = {.at = text, .end = text + n, .start = text};
	*ret = (struct ph_conf_joined){0};
	int rc = find(&s);
	if (rc == 0 && s.n > 0)
		rc = rewrite(text, n, &s, ret);
	free(s.pairs);
	return rc;
}

void ph_conf_joined_fini(struct ph_conf_joined *joined)
{
	free(joined->text);
	free(joined->ends);
	*joined = (struct ph_conf_joined){0};
}

/* How many of the escapes end within the first `index` characters. */
static size_t ended(const struct ph_conf_joined *joined, size_t index)
{
	size_t low = 0, high = joined->n_ends;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (joined->ends[middle] <= index)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

uint32_t ph_conf_joined_shift(const struct ph_conf_joined *joined, size_t index, size_t column)
{
	size_t line = index > column ? index - column : 0;
	return (uint32_t)((ended(joined, index) - ended(joined, line)) * (PAIR - JOINED));
}
