/*
 * swap.h - a worker that is replaced where it runs: a migration whose two sides are this node.
 *
 * The machines of source and target are those of a move between two nodes, with their records and
 * their bounds; what the two say to each other stays within the step in which it is said. So it
 * survives what a move survives, and needs no cluster. Where they differ: the new worker is started
 * from the newest text, the old one does not stand in its way, and a child with placement local,
 * which nobody else may claim, is asked for nowhere. Tested in tests/unit/test_core_swap.c and by
 * the simulator's story `swap`.
 */
#ifndef PH_CORE_SWAP_H
#define PH_CORE_SWAP_H

#include "core/state.h"

/* Something for the other side, which is here: it is delivered at the end of this step. */
struct ph_bmsg *ph_swap_say(struct ph_hub *hub, enum ph_bkind kind);
void ph_swap_deliver(struct ph_hub *hub);
void ph_swap_free(struct ph_hub *hub);

/* The slot that a message or a record of a migration with that peer means. */
struct ph_slot *ph_swap_slot(struct ph_hub *hub, const struct ph_name *peer, const struct ph_id *id,
	const struct ph_key *key);

/* What the new worker is started from. */
const struct ph_spec *ph_swap_spec(const struct ph_hub *hub, const struct ph_source *s);

/* Can it be replaced, as far as this node knows? NULL, or why not. */
const char *ph_swap_objection(struct ph_hub *hub, const struct ph_slot *slot);

/* It is to be replaced, or is being. */
bool ph_swap_waits(const struct ph_hub *hub, const struct ph_slot *slot);

/*
 * The worker is to have the text in force, which needs a new process: replaced where its state can
 * be handed over. `renew`: that text is new, else one that was tried before waits for its time.
 * False: it has to be restarted.
 */
bool ph_swap_instead(struct ph_hub *hub, struct ph_slot *slot, bool renew);

#endif
