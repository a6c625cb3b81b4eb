/*
 * loglines.h - the daemon's own log: lines to its standard error, for which nobody waits.
 *
 * Decides what happens where they are not read: up to PH_LOGLINES_BYTES wait, in their order; lines
 * beyond that are lost, and a line says how many, once there is room. Where nobody will ever read
 * them they are lost at once. A file takes them at once, as long as that lasts. Tested in
 * tests/unit/test_io_loglines.c and tests/e2e/test_output.py.
 */
#ifndef PH_IO_LOGLINES_H
#define PH_IO_LOGLINES_H

#include "base/err.h"

#include <stddef.h>

struct event_base;
struct ph_loglines;

#define PH_LOGLINES_BYTES (256u << 10)

/* `head` is what the line about lost ones begins with. -ENOMEM. */
PH_MUST_CHECK int ph_loglines_new(
	struct event_base *base, int fd, const char *head, struct ph_loglines **ret);
/* `n` bytes with a newline at their end, of which there are few enough for one write to a pipe. */
void ph_loglines_put(struct ph_loglines *lines, const char *line, size_t n);
/* What waits is written, for at most `ms`. */
void ph_loglines_flush(struct ph_loglines *lines, unsigned ms);
/* The same before the end. NULL is allowed. */
void ph_loglines_free(struct ph_loglines *lines, unsigned ms);

#endif
