/* large_look.c - many hubs, seen from inside: who owns what, by each one's word. */
#include "core/state.h"
#include "large.h"

static uint64_t mix(const struct ph_slot *slot)
{
	const struct ph_held *e = &slot->entry;
	return ph_mix64(ph_slot_hash(slot) ^ ph_mix64(e->epoch) ^ e->node->hash);
}

static bool owned(const struct ph_slot *slot)
{
	return slot->entered && slot->entry.state != PH_CHILD_RELEASED &&
	       slot->entry.state != PH_CHILD_REMOVED;
}

/* Looked at anew only where something has changed since the last look. */
static const struct large_sight *look(struct large_node *node)
{
	struct large_sight *sight = &node->sight;
	struct ph_hub *hub = node->hub;
	if (sight->gen == node->gen && sight->changes == node->changes)
		return sight;
	*sight = (struct large_sight){.gen = node->gen, .changes = node->changes};
	for (const struct ph_slot *slot = ph_slot_first(hub); slot;
		slot = ph_slot_next(hub, slot)) {
		if (!owned(slot))
			continue;
		uint64_t digest = mix(slot);
		sight->all ^= digest;
		if (!ph_slot_mine(hub, slot))
			continue;
		sight->own ^= digest;
		sight->owned++;
		sight->running +=
			slot->work->instance && slot->work->instance->state == PH_INSTANCE_RUNNING;
	}
	return sight;
}

uint64_t large_truth(struct large *large)
{
	uint64_t sum = 0;
	for (unsigned i = 0; i <= large->n_nodes; i++)
		if (large->nodes[i].hub)
			sum ^= look(&large->nodes[i])->own;
	if (sum != large->truth)
		large->changed_us = large->now_us;
	return large->truth = sum;
}

struct large_node *large_differs(struct large *large)
{
	for (unsigned i = 0; i <= large->n_nodes; i++)
		if (large->nodes[i].joined && look(&large->nodes[i])->all != large->truth)
			return &large->nodes[i];
	return NULL;
}

unsigned large_owned(struct large_node *node)
{
	return look(node)->owned;
}

unsigned large_busy(struct large *large)
{
	unsigned n = 0;
	for (unsigned i = 0; i <= large->n_nodes; i++) {
		const struct ph_hub *hub = large->nodes[i].hub;
		if (!hub)
			continue;
		for (const struct ph_source *s = hub->sources; s; s = s->hh.next)
			n += s->state != PH_SOURCE_ENDED;
		n += hub->claims != NULL;
		n += hub->moves != NULL;
	}
	return n;
}

uint64_t large_beat_ms(const struct large_node *node)
{
	return node->hub->beat_ms;
}

bool large_complete(struct large *large)
{
	unsigned n = 0, running = 0;
	for (unsigned i = 0; i <= large->n_nodes; i++) {
		if (!large->nodes[i].hub)
			continue;
		const struct large_sight *sight = look(&large->nodes[i]);
		n += sight->owned;
		running += sight->running;
	}
	return n == large->children && running == n && HASH_COUNT(large->procs) == n;
}
