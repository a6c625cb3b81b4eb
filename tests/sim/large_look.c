/* large_look.c - many hubs, seen from inside: who owns what, by each one's word. */
#include "core/state.h"
#include "large.h"

/* ---- by digests, which core keeps: at each look ---- */

uint64_t large_truth(struct large *large)
{
	uint64_t sum = 0;
	for (unsigned i = 0; i <= large->n_nodes; i++)
		if (large->nodes[i].hub)
			sum ^= ph_mix64(large->nodes[i].hub->digest + i);
	if (sum != large->truth)
		large->changed_us = large->now_us;
	return large->truth = sum;
}

/* Has it of each one that lives what that one says? */
static bool agrees(const struct large *large, const struct large_node *node, unsigned living)
{
	unsigned n = 1;
	for (const struct ph_member *m = node->hub->members; m; m = m->hh.next) {
		const struct large_node *other = large_node_named(large, &m->info.name);
		if (!other || !other->hub)
			continue;
		if (m->digest != other->hub->digest)
			return false;
		n++;
	}
	return n == living;
}

/* The one that lagged at the last look is looked at first, as mostly it does so still. */
struct large_node *large_lags(struct large *large)
{
	unsigned living = 0;
	for (unsigned i = 0; i <= large->n_nodes; i++)
		living += large->nodes[i].hub != NULL;
	for (unsigned i = 0; i <= large->n_nodes; i++) {
		unsigned no = (large->laggard + i) % (large->n_nodes + 1);
		if (large->nodes[no].joined && !agrees(large, &large->nodes[no], living)) {
			large->laggard = no;
			return &large->nodes[no];
		}
	}
	return NULL;
}

/* ---- entry by entry: where the digests agree ---- */

static uint64_t mix(const struct ph_slot *slot)
{
	const struct ph_held *e = &slot->entry;
	return ph_mix64(ph_slot_hash(slot) ^ ph_mix64(e->epoch) ^ e->node->hash);
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
		if (!ph_slot_owned(slot))
			continue;
		uint64_t digest = mix(slot);
		sight->all ^= digest;
		if (!ph_slot_mine(hub, slot))
			continue;
		const struct ph_instance *instance = slot->work->instance;
		sight->own ^= digest;
		sight->owned++;
		sight->running += instance && instance->state == PH_INSTANCE_RUNNING;
	}
	return sight;
}

unsigned large_owned(struct large_node *node)
{
	return look(node)->owned;
}

bool large_complete(struct large *large)
{
	unsigned n = 0, running = 0;
	uint64_t all = 0;
	for (unsigned i = 0; i <= large->n_nodes; i++) {
		if (!large->nodes[i].hub)
			continue;
		const struct large_sight *sight = look(&large->nodes[i]);
		n += sight->owned;
		running += sight->running;
		all ^= sight->own;
	}
	for (unsigned i = 0; i <= large->n_nodes; i++)
		if (large->nodes[i].hub && look(&large->nodes[i])->all != all)
			return false;
	return n == large->children && running == n && HASH_COUNT(large->procs) == n;
}

/* ---- others ---- */

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
