/*
 * outbox.h - messages that wait in the bus process, for one peer or for all.
 *
 * Decides which one is given up when there are too many: the oldest; and when one is too old.
 * It must not know where they go. Always holds: at most PH_OUTBOX_MAX messages and
 * PH_OUTBOX_BYTES_MAX bytes; each one that is given up is counted once in `dropped`, which the
 * owner reads and resets. Tested by tests/unit/test_buslink.c.
 */
#ifndef PH_BUS_OUTBOX_H
#define PH_BUS_OUTBOX_H

#include "base/busframe.h"

#define PH_OUTBOX_MAX 1024u
#define PH_OUTBOX_BYTES_MAX (4u * 1024u * 1024u)

struct ph_letter {
	struct ph_letter *next;
	uint64_t expires_at_ms; /* 0: never */
	size_t n;
	uint8_t bytes[];
};

struct ph_outbox {
	struct ph_letter *head, *tail;
	size_t n, bytes;
	uint32_t dropped;
};

/* Copies a message to the end; the oldest ones make room. Dropped where there is no memory. */
void ph_outbox_put(struct ph_outbox *box, const uint8_t *bytes, size_t n, uint64_t expires_at_ms);
/* Removes the first message; fine where there is none. */
void ph_outbox_pop(struct ph_outbox *box);
/* Drops what has expired from the front, so that the first message may be sent. */
void ph_outbox_expire(struct ph_outbox *box, uint64_t now_ms);
/* Removes all, uncounted. */
void ph_outbox_clear(struct ph_outbox *box);

#endif
