/*
 * quorum.h - what quorum.c, choose.c, seat.c, ballot.c and grant.c have of each other.
 *
 * What the rest of core asks of them is in state.h: is there a quorum, is the lease valid, may this
 * be granted. A view is changed by those that are in it: choose.c says to what, ballot.c gets it
 * chosen, seat.c knows whose the place of a name in it is, quorum.c puts it in force and derives
 * the lease from it. Tested by tests/unit/test_core_quorum.c and tests/sim.
 */
#ifndef PH_CORE_QUORUM_H
#define PH_CORE_QUORUM_H

#include "core/state.h"

/* ---- quorum.c: the view, the lease ---- */
const struct ph_voter *ph_quorum_voter(const struct ph_view *view, const struct ph_name *name);
void ph_quorum_sort(struct ph_view *view); /* by name */
/* It does not know what is promised in its place: it counts for nothing until all have told. */
void ph_quorum_forgot(struct ph_hub *hub);
/* So long after the last echo to it the lease of that one is over, and its fence has acted. */
uint64_t ph_fence_bound_ms(const struct ph_hub *hub, const struct ph_member *m);
bool ph_quorum_read(const char *text, struct ph_view *ret); /* false: no such text */
void ph_quorum_write(struct ph_hub *hub);		    /* the view in force, to the journal */
void ph_quorum_take(struct ph_hub *hub, uint64_t number, const char *text); /* a chosen one */

/* ---- choose.c: which view there should be ---- */
void ph_choose_beat(struct ph_hub *hub);
/* This node has none, and has voted for none: it founds no other cluster. */
bool ph_quorum_waits(const struct ph_hub *hub);

/* ---- seat.c: whose is the place of a name in the view ---- */
/* That view is about to be in force. */
void ph_seat_taken(struct ph_hub *hub, uint64_t next_number, const struct ph_view *next);
void ph_seat_start(struct ph_hub *hub);
/* This node asks for that view: where it is not in it, it has no lease any more. False: it has. */
bool ph_seat_given_up(struct ph_hub *hub, const char *text);
/* Nobody but that life can have a lease by that name that rests on this node. */
bool ph_seat_free(const struct ph_hub *hub, const struct ph_name *name, uint64_t successor);
/* May this node accept that view now, as `from` asks? */
bool ph_seat_may(const struct ph_hub *hub, const char *text, const struct ph_name *from);
void ph_seat_hold(struct ph_hub *hub, const char *text); /* it may not: then nothing is renewed */
void ph_seat_vote(struct ph_hub *hub); /* what it has accepted is another view, or none */
bool ph_seat_lost(const struct ph_hub *hub, const struct ph_name *name);
/* That view replaces one member, and all others have said yes: enough where no quorum is. */
bool ph_seat_others(
	const struct ph_hub *hub, const char *text, const struct ph_name *yes, size_t n);

/* ---- ballot.c: choosing the next view ---- */
void ph_ballot_want(struct ph_hub *hub, const struct ph_view *next);
void ph_ballot_beat(struct ph_hub *hub);
void ph_ballot_over(struct ph_hub *hub); /* a view was chosen */
/* What another one has voted, as far as this node's own lost votes may have made it so. */
void ph_ballot_learn(struct ph_hub *hub, const struct ph_bmsg *msg);

/* ---- grant.c: what this node has granted ---- */
void ph_grant_beat(struct ph_hub *hub);

#endif
