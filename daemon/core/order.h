/* order.h - what the two files of orders share: order.c (who gives them) and order_do.c. */
#ifndef PH_CORE_ORDER_H
#define PH_CORE_ORDER_H

#include "core/state.h"

/*
 * Carries out START, STOP, RESTART or MOVE of a key that this node owns. `ret_id` gets the
 * migration of a MOVE, `why` the reason of an error: -EAGAIN another node owns it, or is about to:
 * to be asked again; -EBUSY a migration of it is running; -EINVAL it cannot be done.
 */
int ph_order_carry_out(struct ph_hub *hub, struct ph_slot *slot, enum ph_verb verb,
	const struct ph_name *to, bool force, struct ph_id *ret_id, char why[PH_REASON_SIZE]);
/* False, and why: a node that is leaving is drained. */
bool ph_order_set_draining(
	struct ph_hub *hub, bool draining, bool force, char ret_why[PH_REASON_SIZE]);
/* ORDER of another node: carried out, answered, and remembered for a repeat. */
void ph_order_taken(struct ph_hub *hub, const struct ph_bmsg *msg);
/* An operator's wish, kept here until somebody owns the key, and over restarts. */
void ph_order_wish(struct ph_hub *hub, struct ph_slot *slot, bool stopped);

#endif
