/*
 * busqueue.h - frames that wait to be written to the bus process; a part of io/buslink.
 *
 * Decides how frames are built and written. It must not know what they mean, nor whether the
 * process lives. Always holds: frames leave whole and in order; `bytes` is what waits.
 * Tested by tests/unit/test_buslink.c.
 */
#ifndef PH_IO_BUSQUEUE_H
#define PH_IO_BUSQUEUE_H

#include <sys/uio.h>

#include "base/busframe.h"
#include "base/err.h"

struct ph_busframe_item {
	struct ph_busframe_item *next;
	enum ph_busframe kind;
	uint32_t peer; /* of a SEND */
	size_t n;
	uint8_t bytes[];
};

struct ph_busqueue {
	struct ph_busframe_item *head, *tail;
	size_t written; /* bytes of the head that are gone */
	size_t bytes;	/* of all frames, the head whole */
};

/* A frame from its pieces; NULL without memory. */
struct ph_busframe_item *ph_busqueue_frame(
	enum ph_busframe kind, uint32_t peer, const struct iovec *pieces, size_t n);
/* Takes the frame. */
void ph_busqueue_append(struct ph_busqueue *queue, struct ph_busframe_item *frame);
/* Takes the first frame out and hands it over; NULL where there is none. */
struct ph_busframe_item *ph_busqueue_pop(struct ph_busqueue *queue);
/* Writes what goes without waiting. 0 all, -EAGAIN more is left, else a negative errno. */
PH_MUST_CHECK int ph_busqueue_write(struct ph_busqueue *queue, int fd);
void ph_busqueue_clear(struct ph_busqueue *queue);

#endif
