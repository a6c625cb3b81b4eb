/* group.h - children that are restarted together; see group.c. */
#ifndef PH_CORE_GROUP_H
#define PH_CORE_GROUP_H

#include "core/state.h"

/*
 * A process of this node has ended, and its policy starts it again: what becomes of the others of
 * its group. True: it was one restart too many, and all of them are given up, this one too.
 */
bool ph_group_failed(struct ph_hub *hub, struct ph_instance *instance);
/* Given up for now, with its group: says so; for how long, PH_NEVER_MS: until an order. */
uint64_t ph_group_give_up(struct ph_hub *hub, const struct ph_instance *instance);
/* Its group is being stopped before all of it starts anew: it does not start meanwhile. */
bool ph_group_stops(const struct ph_hub *hub, const struct ph_instance *instance);
/* Another node says so, as a member of that group has failed there. False: it is left alone. */
bool ph_group_ordered(struct ph_hub *hub, struct ph_slot *slot, bool give_up);
/* Its process is gone, or it is to be left alone after all. */
void ph_group_let(struct ph_hub *hub, struct ph_instance *instance);
void ph_group_run(struct ph_hub *hub); /* at the end of a step: stops whose turn it is */
void ph_group_free(struct ph_hub *hub);

#endif
