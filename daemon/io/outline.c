#include "io/outline.h"

#include <stdlib.h>
#include <string.h>

/* A character that is cut in the middle would be two that are none. */
static size_t whole_characters(const char *bytes, size_t n)
{
	size_t back = 0;
	while (back < 3 && back < n && ((unsigned char)bytes[n - back] & 0xc0) == 0x80)
		back++;
	return ((unsigned char)bytes[n - back] & 0xc0) == 0xc0 ? n - back : n;
}

bool ph_piece_next(const char *bytes, size_t n, bool end, bool full, struct ph_piece *ret)
{
	size_t look = n > PH_OUTPUT_LINE ? PH_OUTPUT_LINE + 1 : n;
	const char *newline = look ? memchr(bytes, '\n', look) : NULL;
	struct ph_piece piece = {.text = bytes};
	if (newline) {
		piece.n = (size_t)(newline - bytes);
		piece.taken = piece.n + 1;
	} else if (n > PH_OUTPUT_LINE) {
		piece.n = piece.taken = whole_characters(bytes, PH_OUTPUT_LINE);
		piece.cut = true;
	} else if (n && (end || full)) {
		piece.n = piece.taken = n;
		piece.cut = !end;
	} else {
		return false;
	}
	*ret = piece;
	return true;
}

int ph_piece_priority(const char *text, size_t n)
{
	bool there = n >= 3 && text[0] == '<' && text[1] >= '0' && text[1] <= '7' && text[2] == '>';
	return there ? text[1] - '0' : -1;
}

/* ---- rings */

static size_t cost(const struct ph_outline *line)
{
	return sizeof *line + line->n + 1;
}

static void drop_first(struct ph_outring *ring)
{
	struct ph_outline *line = ring->first;
	ring->first = line->next;
	if (!ring->first)
		ring->last = NULL;
	ring->n--;
	ring->bytes -= cost(line);
	ring->dropped = line->seq;
	free(line);
}

void ph_outring_add(
	struct ph_outring *ring, const struct ph_outline *line, const char *text, size_t cap)
{
	struct ph_outline *copy = malloc(cost(line));
	if (copy) {
		*copy = *line;
		copy->next = NULL;
		memcpy(copy->text, text, line->n);
		copy->text[line->n] = '\0';
		if (ring->last)
			ring->last->next = copy;
		else
			ring->first = copy;
		ring->last = copy;
		ring->n++;
		ring->bytes += cost(copy);
	} else {
		ring->dropped = line->seq;
	}
	while (ring->first && ring->bytes > cap)
		drop_first(ring);
}

void ph_outring_free(struct ph_outring *ring)
{
	while (ring->first)
		drop_first(ring);
}

const struct ph_outline *ph_outring_tail(const struct ph_outring *ring, size_t n)
{
	const struct ph_outline *line = ring->first;
	for (size_t skip = ring->n > n ? ring->n - n : 0; line && skip; skip--)
		line = line->next;
	return n ? line : NULL;
}
