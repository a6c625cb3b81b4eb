/*
 * settled.h - which owners of an earlier daemon of this node have given their child away, or have
 * taken it back under another epoch.
 *
 * The state file is up to 100 ms old, and a whole handover can be shorter: then it has as the owner
 * whom another worker has followed, here or elsewhere, or with an epoch that it has no more, and no
 * migration is known any more. Always: known from the records until the hub has started, also of
 * ids that are forgotten. Tested in tests/unit/test_core_swap.c.
 */
#ifndef PH_CORE_SETTLED_H
#define PH_CORE_SETTLED_H

#include "core/state.h"

/* Takes note of a record, in their order. */
void ph_settled_restore(struct ph_hub *hub, const struct ph_record *record);
/* The owner of that epoch, which ran here, is none any more. */
bool ph_settled_given(const struct ph_hub *hub, const struct ph_slot *slot, uint64_t epoch);
/* The epoch that an owner of that one, which runs here, has by now: it was taken back since. */
uint64_t ph_settled_epoch(const struct ph_hub *hub, const struct ph_slot *slot, uint64_t epoch);
void ph_settled_free(struct ph_hub *hub);

#endif
