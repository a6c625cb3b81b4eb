/* objects_quorum.h - the numbered view of the quorum strategies. */
#ifndef PH_CORE_OBJECTS_QUORUM_H
#define PH_CORE_OBJECTS_QUORUM_H

#include "core/timer.h"

struct ph_voter { /* a place in the view */
	struct ph_name name;
	uint64_t incarnation; /* that was let in: it, or who has its journal; 0: not told */
};

struct ph_view {
	uint64_t number; /* 0: none yet */
	uint32_t size;	 /* at least n: members of `peers` whose names are not known yet count */
	size_t n;
	struct ph_voter *voters; /* sorted by name; owned */
};

struct ph_ballot {	 /* of this node as proposer of the next view */
	uint64_t number; /* 0: none runs */
	uint64_t view;
	uint64_t started_ms; /* the phase, or when the next ballot may begin */
	uint64_t said_ms;    /* its question, last */
	bool proposed;	     /* the second phase */
	uint64_t best;	     /* highest ballot at which a value was accepted before */
	char *value;	     /* owned */
	size_t n_yes;
	struct ph_name *yes; /* owned */
};

#endif
