/* place.h - what placement keeps from one time to the next; see place.c. */
#ifndef PH_CORE_PLACE_H
#define PH_CORE_PLACE_H

#include "core/slot.h"

struct ph_seat { /* of a node that takes children; slots name it by its number */
	struct ph_node *node;
	double weight;
	uint32_t load, room; /* keys: that it is to have, that it may have */
	bool taken;
	bool kept; /* in the run that goes on or was the last: as before it */
};

/* A node as a key looks at it. */
struct ph_choice {
	uint64_t hash;
	double weight;
	const struct ph_node *node;
	const char *labels; /* owned, or NULL */
	uint32_t end;	    /* the first one after it that has a larger weight, or their number */
	uint16_t seat;
};

struct ph_places {
	struct ph_seat *seats; /* [0]: nowhere */
	size_t n_seats;
	uint32_t *order; /* wanted slots by the hashes of their keys: their numbers */
	size_t n_order;
	uint64_t order_sum; /* digest of what `order` was made from */
	/* the run that goes on: its inputs, and how far it has come */
	struct ph_choice *nodes, *fresh;      /* by weight and name; fresh: not there before it */
	uint64_t *node_hashes, *fresh_hashes; /* theirs, side by side */
	size_t n_nodes, n_fresh;
	uint64_t sum; /* digest of its inputs; 0: none goes on */
	size_t at;
	bool seated; /* favourites are known: places are being given */
};

#endif
