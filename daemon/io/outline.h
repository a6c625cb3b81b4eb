/*
 * outline.h - the output of a child as lines, and the newest of them kept in memory.
 *
 * Decides what a line is: bytes up to a newline, at most PH_OUTPUT_LINE of them; what is longer
 * comes in pieces, each but the last marked `cut`, and no byte is lost. It must not know where
 * lines come from or go. Always: a ring holds at most what its cap says, the oldest lines go first.
 * Tested in tests/unit/test_output.c.
 */
#ifndef PH_IO_OUTLINE_H
#define PH_IO_OUTLINE_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define PH_OUTPUT_LINE 65536u /* bytes of a line, without its newline */

struct ph_piece {
	const char *text;
	size_t n;     /* without the newline */
	size_t taken; /* with it */
	bool cut;     /* the line goes on in the next piece */
};
/*
 * The first line of `n` bytes. False: it is not whole yet. `end`: nothing more will come, so what
 * there is is a line; `full`: nothing more can come before some of it is taken.
 */
bool ph_piece_next(const char *bytes, size_t n, bool end, bool full, struct ph_piece *ret);

/* The syslog priority 0-7 of "<N>text", whose text follows; -1: there is none. */
int ph_piece_priority(const char *text, size_t n);

/* Where it was written, where that is known. */
enum ph_output_stream {
	PH_OUTPUT_BOTH,
	PH_OUTPUT_STDOUT,
	PH_OUTPUT_STDERR
};

struct ph_outline {
	struct ph_outline *next;
	uint64_t seq; /* grows, over all rings of one owner */
	uint64_t at_ms;
	enum ph_output_stream stream;
	bool cut;
	size_t n;
	char text[]; /* n bytes and a NUL */
};

/* Zeroed it is empty. */
struct ph_outring {
	struct ph_outline *first, *last;
	size_t n, bytes;
	uint64_t dropped; /* seq of the newest line that has gone */
};
/* A copy of the line; then the oldest go until there are at most `cap` bytes. No memory: it is
 * left out, as an old one. */
void ph_outring_add(
	struct ph_outring *ring, const struct ph_outline *line, const char *text, size_t cap);
void ph_outring_free(struct ph_outring *ring);
/* The first of its last `n` lines, or NULL. */
const struct ph_outline *ph_outring_tail(const struct ph_outring *ring, size_t n);

#endif
