/*
 * line.h - a stream of bytes into lines, bounded.
 *
 * Decides where a line ends ('\n'; it is not part of the line) and when it is too long. Knows
 * nothing of JSON: NUL and invalid UTF-8 are for the codec to refuse. Never holds more than `max`
 * bytes of an unfinished line plus what was fed at once; every byte is looked at once and copied
 * at most twice. After an error the splitter stays in error: the connection is to be closed.
 *
 *	ph_line_feed(&l, bytes, n);
 *	while ((r = ph_line_next(&l, &line, &len)) > 0)
 *		...;
 *	if (r < 0)
 *		close the connection;
 *
 * Tests: tests/unit/test_line.c.
 */
#ifndef PH_PROTO_LINE_H
#define PH_PROTO_LINE_H

#include "base/err.h"

#define PH_LINE_MAX (64u * 1024)	/* bytes of a line that the daemon reads, without '\n' */
#define PH_LINE_MAX_ADD (1024u * 1024)	/* the same on the control socket, for `add` */
#define PH_LINE_MAX_ANSWER (256u << 20) /* of an answer: 100,000 children and more */

struct ph_line {
	char *bytes;
	size_t size, start, scanned, end; /* start <= scanned <= end <= size */
	size_t max;
	int failed; /* 0, or the error that every later call returns */
};

/* `max`: bytes that a line may have. Allocates nothing. */
void ph_line_init(struct ph_line *l, size_t max);
void ph_line_fini(struct ph_line *l);

/* Changes the bound for the line that is being read and all after it. */
void ph_line_limit(struct ph_line *l, size_t max);

/*
 * Takes `n` more bytes (copied). Drain with ph_line_next() before the next feed: lines handed out
 * earlier are gone after it. -ENOMEM; -EMSGSIZE as soon as the unfinished first line is too long
 * (nothing more is buffered then).
 */
PH_MUST_CHECK int ph_line_feed(struct ph_line *l, const void *bytes, size_t n);

/*
 * 1 and the next line (not NUL-terminated, valid until the next feed or fini; may be written to);
 * 0 no whole line yet; -EMSGSIZE the line is too long, whole or not.
 */
PH_MUST_CHECK int ph_line_next(struct ph_line *l, char **ret_line, size_t *ret_n);

/*
 * What was fed and not handed out: the raw bytes behind the first line of a data connection.
 * Valid until the next feed or fini. ph_line_drop() forgets them.
 */
void ph_line_rest(const struct ph_line *l, const char **ret_bytes, size_t *ret_n);
void ph_line_drop(struct ph_line *l);

#endif
