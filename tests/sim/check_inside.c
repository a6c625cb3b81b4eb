/* check_inside.c - the one look behind core's face: is every key where placement wants it? */
#include "core/state.h"
#include "sim.h"

bool sim_check_placed(struct sim_node *node, char *why, size_t size)
{
	struct sim *sim = node->sim;
	if (sim->story == STORY_MOVE)
		return true; /* an operator's order stands until the next change of members */
	for (struct ph_slot *slot = node->hub->slots; slot; slot = slot->hh.next) {
		if (!ph_slot_mine(node->hub, slot) || ph_name_equal(&slot->place, &node->name))
			continue;
		(void)snprintf(why, size, "%s/%u is on %s and belongs on %s", slot->k.key.child.s,
			slot->k.key.instance, node->name.s, slot->place.s);
		return false;
	}
	return true;
}
