/* after.h - the order in which children are started and stopped; see after.c. */
#ifndef PH_CORE_AFTER_H
#define PH_CORE_AFTER_H

#include "core/state.h"

/* Is something that it is started after not ready? Then `why` says what. */
bool ph_after_waits(struct ph_hub *hub, const struct ph_spec *spec, char why[PH_REASON_SIZE]);
/* The same for people, at any time; `ret_vain`, which may be NULL: and will not be without them. */
bool ph_after_why(const struct ph_hub *hub, const struct ph_spec *spec, char why[PH_REASON_SIZE],
	bool *ret_vain);
/* What is told of the slot has changed: somebody may wait for that. */
void ph_after_changed(struct ph_hub *hub, const struct ph_slot *slot);
/* It has another state: one that waits for what it is started after, or does so no more. */
void ph_after_enter(
	struct ph_hub *hub, struct ph_instance *instance, enum ph_instance_state before);
void ph_after_run(struct ph_hub *hub); /* at the end of a step: those that wait look again */

/* For an orderly stop: looks which children others need that still have a process, ... */
void ph_after_look(struct ph_hub *hub);
/* ... and says so of one of its instances. */
bool ph_after_needed(const struct ph_instance *instance);

#endif
