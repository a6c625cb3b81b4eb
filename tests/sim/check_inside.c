/* check_inside.c - the one look behind core's face: is every key where placement wants it? */
#include "core/state.h"
#include "sim.h"

/* Which node came last: its children must have come to it; others may stay where they were. */
static unsigned newest(const struct sim *sim)
{
	const struct sim_deed *last = NULL;
	for (unsigned i = 0; i < sim->n_plan; i++)
		if (sim->plan[i].kind == DEED_NODE_START &&
			(!last || sim->plan[i].at_us > last->at_us))
			last = &sim->plan[i];
	return last ? last->node : 0;
}

bool sim_check_quorate(const struct sim *sim)
{
	for (unsigned i = 0; i < sim->n_nodes; i++) {
		const struct ph_hub *hub = sim->nodes[i].hub;
		uint32_t live = 0;
		if (!hub || !ph_quorate(hub))
			continue;
		for (unsigned j = 0; j < sim->n_nodes; j++)
			live += sim->nodes[j].hub &&
				ph_quorum_has(&hub->view, &sim->nodes[j].name) &&
				!sim->nodes[j].hub->forgetful;
		if (!hub->view.number || live < ph_quorum_of(hub, hub->view.size))
			return false;
	}
	return true;
}

bool sim_check_placed(struct sim_node *node, char *why, size_t size)
{
	struct sim *sim = node->sim;
	bool draining = ph_hub_draining(node->hub);
	const struct ph_name *to = &sim->nodes[newest(sim)].name;
	uint64_t last_ms = 0;
	/* With a quorum strategy it comes with its view, not with its start. */
	for (struct ph_member *m = node->hub->members; m && sim->opt.partition; m = m->hh.next)
		if (m->newcomer_ms > last_ms) {
			last_ms = m->newcomer_ms;
			to = &m->info.name;
		}
	if (sim->story != STORY_JOIN && !draining)
		return true;
	for (struct ph_slot *slot = node->hub->slots; slot; slot = slot->hh.next) {
		if (!ph_slot_mine(node->hub, slot) || ph_name_equal(&slot->place, &node->name) ||
			!(draining || ph_name_equal(&slot->place, to)))
			continue;
		(void)snprintf(why, size, "%s/%u is on %s and belongs on %s", slot->k.key.child.s,
			slot->k.key.instance, node->name.s, slot->place.s);
		return false;
	}
	return true;
}
