/* target.h - what the files of the target share: target.c, target_say.c, target_restart.c. */
#ifndef PH_CORE_TARGET_H
#define PH_CORE_TARGET_H

#include "core/state.h"

/* Says it to A and, where `repeat`, again with back-off until the state changes. */
void ph_target_say(struct ph_hub *hub, struct ph_target *t, enum ph_bkind kind, bool repeat);
void ph_target_tell(struct ph_hub *hub, struct ph_target *t, enum ph_wop op);
void ph_target_write(struct ph_hub *hub, struct ph_target *t, enum ph_record_kind kind);
void ph_target_entered(struct ph_hub *hub, struct ph_target *t, enum ph_target_state before);
/* Found by its id from then on; whoever makes it sets its state, and slot->work where it counts. */
struct ph_target *ph_target_new(struct ph_hub *hub, const struct ph_id *id, struct ph_slot *slot,
	const struct ph_name *peer, uint64_t epoch, uint64_t new_epoch);
void ph_target_free(struct ph_hub *hub, struct ph_target *t);
/* After a restart: `active` stands, N does not live: A knows whether it may take the child back. */
void ph_target_give_back(struct ph_hub *hub, struct ph_target *t);
/* It is decided: ACTIVE or NEVER, and only waits to be forgotten. */
bool ph_target_ended(const struct ph_target *t);
/* For the unit test: is there a decision for this pair? */
bool ph_target_decided(enum ph_target_state state, enum ph_target_input in);

#endif
