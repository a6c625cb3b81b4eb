/* move.h - what plan.c and move.c share. */
#ifndef PH_CORE_MOVE_H
#define PH_CORE_MOVE_H

#include "core/state.h"

#define PH_PLAN_AGAIN_MS 1000 /* the plan is looked at again, while something is unowned, say */

/* Others hear it, and this node has not for as long as a death takes: it is not waited for. */
bool ph_move_cut_off(const struct ph_hub *hub, const struct ph_name *node);
/*
 * Is it known whether the worker hands over its state? One that has lost its connection (or whose
 * daemon was restarted) says hello again; one that is new may still be on its way to it.
 */
bool ph_move_known_kind(const struct ph_hub *hub, const struct ph_instance *instance);
/*
 * It does not run, so there is no state to carry: whoever is next in line starts it afresh. False:
 * it stays here, as it runs, or as this node is not leaving it to others.
 */
bool ph_move_let_go(struct ph_hub *hub, struct ph_slot *slot);
/* A drain does not wait for it: it cannot begin, and nothing that could change that is awaited. */
bool ph_move_stays(struct ph_hub *hub, const struct ph_move *move);

#endif
