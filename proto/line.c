#include "proto/line.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_BYTES 4096

void ph_line_init(struct ph_line *l, size_t max)
{
	*l = (struct ph_line){.max = max};
}

void ph_line_fini(struct ph_line *l)
{
	free(l->bytes);
	ph_line_init(l, l->max);
}

void ph_line_limit(struct ph_line *l, size_t max)
{
	l->max = max;
}

static int reserve(struct ph_line *l, size_t n)
{
	if (l->size - l->end >= n)
		return 0;
	if (n > SIZE_MAX / 4)
		return -ENOMEM;
	size_t held = l->end - l->start;
	if (l->start) {
		memmove(l->bytes, l->bytes + l->start, held);
		l->scanned -= l->start;
		l->end = held;
		l->start = 0;
	}
	size_t size = l->size ? l->size : FIRST_BYTES;
	while (size - held < n)
		size *= 2;
	if (size == l->size)
		return 0;
	char *grown = realloc(l->bytes, size);
	if (!grown)
		return -ENOMEM;
	l->bytes = grown;
	l->size = size;
	return 0;
}

int ph_line_feed(struct ph_line *l, const void *bytes, size_t n)
{
	if (l->failed)
		return l->failed;
	if (l->start == l->end)
		l->start = l->scanned = l->end = 0;
	if (!n)
		return 0;
	size_t unfinished = l->end - l->start;
	bool whole = memchr(l->bytes ? l->bytes + l->scanned : "", '\n', l->end - l->scanned) ||
		     memchr(bytes, '\n', n);
	if (!whole && unfinished + n > l->max)
		return l->failed = -EMSGSIZE;
	int error = reserve(l, n);
	if (error)
		return l->failed = error;
	memcpy(l->bytes + l->end, bytes, n);
	l->end += n;
	return 0;
}

int ph_line_next(struct ph_line *l, char **ret_line, size_t *ret_n)
{
	if (l->failed)
		return l->failed;
	if (l->start == l->end)
		return 0;
	char *at = memchr(l->bytes + l->scanned, '\n', l->end - l->scanned);
	size_t n = (at ? (size_t)(at - l->bytes) : l->end) - l->start;
	if (n > l->max)
		return l->failed = -EMSGSIZE;
	if (!at) {
		l->scanned = l->end;
		return 0;
	}
	*ret_line = l->bytes + l->start;
	*ret_n = n;
	l->start += n + 1;
	l->scanned = l->start;
	return 1;
}

void ph_line_rest(const struct ph_line *l, const char **ret_bytes, size_t *ret_n)
{
	*ret_bytes = l->bytes ? l->bytes + l->start : "";
	*ret_n = l->end - l->start;
}

void ph_line_drop(struct ph_line *l)
{
	l->start = l->scanned = l->end = 0;
}
