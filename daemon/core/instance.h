/* instance.h - what the files of an instance share: instance.c, _event.c and _adopt.c. */
#ifndef PH_CORE_INSTANCE_H
#define PH_CORE_INSTANCE_H

#include "core/state.h"

/* Sets the timer that its state asks for. */
void ph_instance_arm(struct ph_hub *hub, struct ph_instance *instance);
/* Tells the registry, where this instance is the one that stands for the key. */
void ph_instance_publish(struct ph_hub *hub, struct ph_instance *instance);
/* The process is no more and nothing of its group is left, or it never was. */
void ph_instance_drop_process(struct ph_hub *hub, struct ph_instance *instance);
/* For the unit test: is there a decision for this pair? */
bool ph_instance_decided(enum ph_instance_state state, enum ph_instance_input in);

#endif
