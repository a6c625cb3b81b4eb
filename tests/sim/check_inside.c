/*
 * check_inside.c - the one look behind core's face: is every key where placement wants it, and is
 * the registry everywhere the same?
 */
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

static bool has_lease(const struct sim_node *node)
{
	const struct ph_hub *hub = node->hub;
	return hub && ph_quorate(hub) && !hub->exiting && sim_node_ms(node) < hub->lease_until_ms;
}

/* Whoever has the place of a name in the view has it alone. */
void sim_check_lease(struct sim_node *node)
{
	struct sim *sim = node->sim;
	if (!has_lease(node))
		return;
	for (unsigned i = 0; i < sim->n_nodes; i++)
		if (i != node->no && sim->nodes[i].who == node->who && has_lease(&sim->nodes[i]))
			sim_fail(sim,
				"two nodes of the name %s have a lease: n%u for %llu ms, n%u for "
				"%llu",
				node->name.s, node->no,
				(unsigned long long)(node->hub->lease_until_ms - sim_node_ms(node)),
				i,
				(unsigned long long)(sim->nodes[i].hub->lease_until_ms -
						     sim_node_ms(&sim->nodes[i])));
}

bool sim_check_hears(const struct sim_node *node, const struct ph_bmsg *msg)
{
	return !ph_member_stale(node->hub, msg);
}

bool sim_check_quorate(const struct sim *sim)
{
	for (unsigned i = 0; i < sim->n_nodes; i++) {
		const struct ph_hub *hub = sim->nodes[i].hub;
		uint32_t live = 0;
		if (!hub || !ph_quorate(hub) || sim_node_outside(&sim->nodes[i]))
			continue;
		for (unsigned j = 0; j < sim->n_nodes; j++)
			live += sim->nodes[j].hub && !sim_node_outside(&sim->nodes[j]) &&
				ph_quorum_has(&hub->view, &sim->nodes[j].name) &&
				!sim->nodes[j].hub->forgetful && !sim->nodes[j].hub->stranger;
		if (!hub->view.number || live < ph_quorum_of(hub, hub->view.size))
			return false;
	}
	return true;
}

bool sim_check_votes(const struct sim *sim)
{
	const struct ph_hub *newest = NULL;
	uint32_t votes = 0, forgetful = 0;
	for (unsigned i = 0; i < sim->n_nodes; i++) {
		const struct ph_hub *hub = sim->nodes[i].hub;
		if (hub && (!newest || hub->view.number > newest->view.number))
			newest = hub;
	}
	if (!newest || !ph_quorate(newest))
		return true;
	for (unsigned i = 0; i < sim->n_nodes; i++) {
		const struct ph_hub *hub = sim->nodes[i].hub;
		bool voter =
			hub && ph_quorum_has(&newest->view, &sim->nodes[i].name) && !hub->stranger;
		votes += voter;
		forgetful += voter && hub->forgetful;
	}
	/* Of two that have lost their journals each would have to be told by the other. */
	if (forgetful > 1)
		votes -= forgetful;
	return votes >= ph_quorum_of(newest, newest->view.size);
}

bool sim_check_forgotten(const struct sim_node *node, const struct sim_node *gone)
{
	return !ph_member_find(node->hub, &gone->name) &&
	       !ph_quorum_has(&node->hub->view, &gone->name) && !node->hub->forgetful;
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
	for (struct ph_slot *slot = ph_slot_first(node->hub); slot;
		slot = ph_slot_next(node->hub, slot)) {
		const struct ph_name *place = ph_slot_place(node->hub, slot);
		if (slot->work->move && slot->work->move->cancelled)
			continue; /* an operator wants it to stay */
		if (!ph_slot_mine(node->hub, slot) || ph_name_equal(place, &node->name) ||
			!(draining || ph_name_equal(place, to)))
			continue;
		(void)snprintf(why, size, "%s/%u is on %s and belongs on %s", slot->child->name.s,
			slot->number, node->name.s, place->s);
		return false;
	}
	return true;
}

/* Has it heard of the highest epoch of that key? */
bool sim_check_knows(const struct sim_node *node, const struct sim_key *key)
{
	const struct ph_slot *slot = ph_slot_find(node->hub, &key->key, NULL);
	return slot && slot->seen >= key->max_epoch;
}

/* ---- the registry ---- */

static bool lives(const struct sim *sim, const struct ph_name *name)
{
	const struct sim_node *node = sim_node_named((struct sim *)(uintptr_t)sim, name);
	return node && node->hub;
}

/* What the owner says of an entry, another one must have word for word. */
static bool same_entry(
	const struct ph_slot *slot, const struct sim_node *other, char *why, size_t size)
{
	const struct ph_held *e = &slot->entry;
	bool local = slot->local;
	const struct ph_slot *copy = ph_slot_find(
		other->hub, PH_SLOT_KEY(slot), local ? &slot->work->local_of->name : NULL);
	const struct ph_held *c = copy && copy->entered ? &copy->entry : NULL;
	const char *meta = slot->work->meta, *other_meta = copy ? copy->work->meta : NULL;
	if (c && ph_name_equal(&c->node->name, &e->node->name) && c->epoch == e->epoch &&
		c->version == e->version && c->state == e->state && c->pid == e->pid &&
		c->ready == e->ready && c->restarts == e->restarts && c->revision == e->revision &&
		copy->wish_stopped == slot->wish_stopped &&
		(other_meta && meta ? strcmp(other_meta, meta) == 0 : other_meta == meta))
		return true;
	(void)snprintf(why, size, "%s does not have what %s says of %s/%u (version %llu, has %llu)",
		other->name.s, e->node->name.s, slot->child->name.s, slot->number,
		(unsigned long long)e->version, c ? (unsigned long long)c->version : 0);
	return false;
}

/* Of a node that lives nobody names anything that it does not say itself. */
static bool same_part(const struct sim *sim, const struct sim_node *node, char *why, size_t size)
{
	for (struct ph_slot *slot = ph_slot_first(node->hub); slot;
		slot = ph_slot_next(node->hub, slot)) {
		/* Version 0: others have named it, and it has not said so itself. */
		if (!slot->entered || !slot->entry.version || !lives(sim, &slot->entry.node->name))
			continue;
		if (!ph_is_self(node->hub, &slot->entry.node->name)) {
			const struct sim_node *owner = sim_node_named(
				(struct sim *)(uintptr_t)sim, &slot->entry.node->name);
			const struct ph_slot *own = ph_slot_find(owner->hub, PH_SLOT_KEY(slot),
				slot->local ? &slot->work->local_of->name : NULL);
			if (own && own->entered && ph_is_self(owner->hub, &own->entry.node->name))
				continue;
			(void)snprintf(why, size, "%s names %s for %s/%u, and that one does not",
				node->name.s, owner->name.s, slot->child->name.s, slot->number);
			return false;
		}
		for (unsigned i = 0; i < sim->n_nodes; i++)
			if (sim->nodes[i].hub && &sim->nodes[i] != node &&
				!sim_node_outside(&sim->nodes[i]) &&
				!same_entry(slot, &sim->nodes[i], why, size))
				return false;
	}
	return true;
}

/*
 * What a node said last before it died, and told only some: all who survive it have it, or newer.
 * Whoever was not there then, and never had anything of its part, asks the others when it claims.
 */
static bool survived(const struct sim_node *node, const struct ph_name *gone)
{
	const struct ph_member *m = ph_member_find(node->hub, gone);
	return m && m->have;
}

static bool same_last_words(
	const struct sim *sim, const struct sim_node *node, char *why, size_t size)
{
	for (struct ph_slot *slot = ph_slot_first(node->hub); slot;
		slot = ph_slot_next(node->hub, slot)) {
		const struct ph_held *e = &slot->entry;
		const struct ph_key key = ph_slot_key(slot);
		if (!slot->entered || !e->version || lives(sim, &e->node->name) || slot->local)
			continue;
		for (unsigned i = 0; i < sim->n_nodes; i++) {
			const struct sim_node *other = &sim->nodes[i];
			if (!other->hub || other == node || sim_node_outside(other) ||
				!survived(other, &e->node->name))
				continue;
			const struct ph_slot *copy = ph_slot_find(other->hub, &key, NULL);
			if (copy && copy->entered &&
				(copy->entry.epoch > e->epoch ||
					(copy->entry.epoch == e->epoch &&
						copy->entry.version >= e->version)))
				continue;
			(void)snprintf(why, size,
				"%s has not heard what %s, which is gone, said of %s/%u to %s",
				other->name.s, e->node->name.s, key.child.s, key.instance,
				node->name.s);
			return false;
		}
	}
	return true;
}

bool sim_check_registry(struct sim *sim, uint64_t *ret_sum, char *why, size_t size)
{
	bool same = true;
	*ret_sum = 0;
	for (unsigned i = 0; i < sim->n_nodes; i++) {
		const struct sim_node *node = &sim->nodes[i];
		if (!node->hub || sim_node_outside(node))
			continue;
		*ret_sum = ph_mix64(*ret_sum ^ (node->hub->version + node->incarnation));
		same = same && same_part(sim, node, why, size) &&
		       same_last_words(sim, node, why, size);
	}
	return same;
}

/* ---- how soon it is told ---- */

/* As long as two daemons of one name run, some may hear the one, and others the other one. */
static bool takes_part(const struct sim_node *node)
{
	const struct sim *sim = node->sim;
	for (unsigned i = 0; i < sim->n_nodes; i++)
		if (i != node->no && sim->nodes[i].who == node->who && sim->nodes[i].hub)
			return false;
	return node->hub && ph_hub_joined(node->hub) && !node->hub->exiting &&
	       !sim_node_outside(node);
}

/* How much of it has it? */
static uint64_t has_of(const struct sim_node *node, const struct sim_node *author)
{
	const struct ph_member *m = ph_member_find(node->hub, &author->name);
	return m && m->info.incarnation == author->incarnation ? m->have : 0;
}

bool sim_check_heard(struct sim *sim, uint64_t limit_us, bool anew, char *why, size_t size)
{
	for (unsigned i = 0; i < sim->n_nodes; i++)
		for (unsigned j = 0; j < sim->n_nodes; j++) {
			const struct sim_node *node = &sim->nodes[i], *author = &sim->nodes[j];
			struct sim_heard *h = &sim->heard[i][j];
			bool both = i != j && takes_part(node) && takes_part(author);
			if (anew || !both || h->gens[0] != node->gen || h->gens[1] != author->gen ||
				has_of(node, author) >= h->version) {
				h->version = both ? author->hub->flushed_version : 0;
				h->since_us = sim->now_us;
				h->gens[0] = node->gen;
				h->gens[1] = author->gen;
			} else if (sim->now_us > h->since_us + limit_us) {
				(void)snprintf(why, size,
					"%s has version %llu of the part of %s, which had come to "
					"%llu before %llu ms",
					node->name.s, (unsigned long long)has_of(node, author),
					author->name.s, (unsigned long long)h->version,
					(unsigned long long)(sim->now_us - h->since_us) / MS);
				return false;
			}
		}
	return true;
}
