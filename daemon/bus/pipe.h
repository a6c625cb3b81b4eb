/*
 * pipe.h - the bus process's end of the socketpair: frames in, reports out.
 *
 * Decides when a frame is complete and how much may wait to be written. It must not know what
 * frames mean. Always holds: nothing blocks; at most PH_PIPE_TURN_BYTES are read a turn; reports
 * are never dropped: who makes them asks ph_pipe_is_full() first. Tested by
 * tests/unit/test_buslink.c.
 */
#ifndef PH_BUS_PIPE_H
#define PH_BUS_PIPE_H

#include <sys/uio.h>

#include "base/busframe.h"

#define PH_PIPE_TURN_BYTES (1024u * 1024u)   /* read in one turn */
#define PH_PIPE_OUT_MAX (4u * 1024u * 1024u) /* waiting reports from which on it counts as full */

struct ph_pipe;

/* Takes `fd` and makes it non-blocking. NULL without memory. Lives as long as the process. */
struct ph_pipe *ph_pipe_new(int fd);
/* poll() events that it waits for now. */
short ph_pipe_events(const struct ph_pipe *pipe);
bool ph_pipe_is_full(const struct ph_pipe *pipe);

/* One report of up to four pieces, `kind` first. Written by the next ph_pipe_flush(). */
void ph_pipe_report(
	struct ph_pipe *pipe, enum ph_busframe kind, const struct iovec *pieces, size_t n);

/* Writes what goes. 0, or a negative errno after which there is no reader any more. */
int ph_pipe_flush(struct ph_pipe *pipe);

/*
 * Reads, and calls `take` for each complete frame (the payload lives until it returns).
 * 0; -EPIPE the other end has closed; -EPROTO an impossible length; else a negative errno.
 */
int ph_pipe_read(struct ph_pipe *pipe,
	void (*take)(void *arg, uint8_t kind, const uint8_t *payload, size_t n), void *arg);

#endif
