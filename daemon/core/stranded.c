/*
 * stranded.c - a child that can run nowhere as it is, and a text of it that would help.
 *
 * A file makes a new revision where its text changed on the node that owns the child. Where the
 * only nodes that may run it are dead there is no such node, and an operator who names others in
 * the files of those that live must be heard all the same: there a text that changed counts if
 * nobody who lives owns any of the child, nobody who lives may run it by the text in force, and
 * somebody may by the new one. Starting it is a claim like any other, by the rules of the partition
 * strategy.
 */
#include "core/state.h"

/* May a node that lives run it? One that is joining counts: what it has is not known yet. */
static bool runs_somewhere(struct ph_hub *hub, const struct ph_spec *spec)
{
	if (ph_place_allows(hub, spec, &hub->set.node))
		return true;
	for (const struct ph_member *m = hub->members; m; m = m->hh.next)
		if (ph_member_live(m) && ph_place_allows(hub, spec, &m->info.name))
			return true;
	return false;
}

/* This node does something about it, or somebody who lives owns it. */
static bool in_hand(const struct ph_hub *hub, const struct ph_slot *slot)
{
	const struct ph_work *work = slot->work;
	if (work->instance || work->source || work->target || work->claim || slot->starting)
		return true;
	return ph_slot_owned(slot) && ph_member_up(hub, &slot->entry.node->name);
}

static bool is_stranded(struct ph_hub *hub, const struct ph_child *child)
{
	const struct ph_spec *spec = child->spec, *own = child->own;
	if (spec->local || own->local || hub->bus_down || !ph_lease_valid(hub))
		return false;
	for (struct ph_slot *slot = ph_slot_first_of(hub, child); slot;
		slot = ph_slot_next_of(hub, slot))
		if (in_hand(hub, slot))
			return false;
	return !runs_somewhere(hub, spec) && runs_somewhere(hub, own);
}

void ph_child_changed(struct ph_hub *hub, struct ph_child *child)
{
	if (!child->own || !child->spec || child->own->hash == child->spec->hash) {
		child->changed = false;
	} else if (!ph_child_awaited(hub, child) && is_stranded(hub, child)) {
		ph_child_own_in_force(hub, child);
		(void)ph_emit(hub, PH_EMIT_CHILD_CHANGED, &(struct ph_key){.child = child->name});
	}
}
