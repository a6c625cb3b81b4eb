/* objects_order.h - operators' orders, under way and done. */
#ifndef PH_CORE_OBJECTS_ORDER_H
#define PH_CORE_OBJECTS_ORDER_H

#include "core/timer.h"

/* ---- operators' orders ---- */

enum ph_order_line_state {
	PH_LINE_OPEN,
	PH_LINE_SENT,
	PH_LINE_TAKEN,
	PH_LINE_DONE,
	PH_LINE_FAILED
};

struct ph_order_line {
	struct ph_key key;
	struct ph_name node;  /* FORGET, REMOVE: who is asked; else empty */
	struct ph_name local; /* placement local: whose it is; else empty */
	enum ph_order_line_state state;
	struct ph_id id;
	bool drained_before;   /* a drain: of an earlier one its node says so still */
	int error;	       /* FAILED: what the whole answer says; 0: EREMOTEIO */
	uint32_t pid;	       /* before a restart */
	struct ph_name wisher; /* STOP: who was last seen to keep the wish; empty: nobody yet ... */
	uint64_t wished_ms;    /* ... and when */
	uint16_t wishes;       /* of the slot, when the order was given */
	uint64_t sent_ms;
	uint32_t tries;
	uint64_t revision; /* ADD: that it put in force; REMOVE: up to which */
	bool whole;	   /* about the child, not about one of its instances */
	char text[PH_REASON_SIZE];
};

struct ph_order {
	uint64_t number; /* repeated in ORDER and ORDER_ACK */
	struct ph_command command;
	uint64_t started_ms;
	struct ph_timer timer;
	bool detached;	      /* who gave it is gone: nobody is answered */
	bool agreed;	      /* FORGET: all would, now they are to */
	uint64_t incarnation; /* FORGET: of the node, as far as it is known here */
	size_t unsynced;      /* ADD, REMOVE: records that are not in the journal yet */
	bool unsyncable;      /* ... and one that did not get there */
	int undo_error;	      /* ADD: what it added is being removed again, for this reason ... */
	size_t undo_from;     /* ... by the lines from this one on, which nobody is told of */
	char undo_text[PH_REASON_SIZE];
	size_t n_lines;
	struct ph_order_line *lines;
	struct ph_order *prev, *next;
};

#define PH_DONE_ORDERS 256

struct ph_done_order { /* the answer to an order of another node, for a repeat of it */
	struct ph_name from;
	uint64_t order;
	struct ph_key key;
	bool ok;
	struct ph_id id;
	char reason[PH_REASON_SIZE];
};

#endif
