/* slot.c - the slots of a hub, found by their keys, and the names of nodes that they share. */
#include "core/state.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_ROOM 256u	    /* of the table; at most half of it is in use */
#define NODES_LEAST 64u	    /* names of nodes that are kept without a look */
#define LIST_FIRST_ROOM 16u /* of a list of slots */

/* A hundred thousand of them are kept: whatever is set for few belongs in struct ph_work. */
_Static_assert(sizeof(struct ph_slot) <= 120, "a slot is small");

/* ---- names of nodes ---- */

struct ph_node *ph_node_get(struct ph_hub *hub, const struct ph_name *name)
{
	struct ph_slots *slots = &hub->slots;
	size_t n = strlen(name->s);
	struct ph_node *node;
	if (!n)
		return &slots->nobody;
	HASH_FIND(hh, slots->nodes, name->s, n, node);
	if (node)
		return node;
	node = ph_must(calloc(1, sizeof *node));
	node->name = ph_name_of(name->s);
	node->hash = ph_mix64(ph_hash_bytes(PH_HASH_SEED, node->name.s, n));
	node->digest = PH_HASH_SEED; /* of nothing; 0 on the wire means "not now" */
	HASH_ADD_KEYPTR(hh, slots->nodes, node->name.s, n, node);
	return node;
}

static void mark_used(const struct ph_hub *hub)
{
	hub->slots.self->used = true;
	for (const struct ph_slot *slot = ph_slot_first(hub); slot;
		slot = ph_slot_next(hub, slot)) {
		slot->entry.node->used = true;
		slot->work->local_of->used = true;
		slot->work->granted_to->used = true;
		slot->work->granted_by->used = true;
		slot->work->granted_past->used = true;
		slot->work->rival->used = true;
	}
	ph_place_mark(hub);
}

void ph_nodes_forget(struct ph_hub *hub)
{
	struct ph_slots *slots = &hub->slots;
	struct ph_node *node, *next;
	if (HASH_COUNT(slots->nodes) <= slots->nodes_most)
		return;
	for (node = slots->nodes; node; node = node->hh.next)
		node->used = node->member != NULL;
	mark_used(hub);
	HASH_ITER (hh, slots->nodes, node, next) {
		if (node->used)
			continue;
		HASH_DEL(slots->nodes, node);
		free(node);
	}
	/* So often that a look at all slots is made for as many new names as it may find. */
	slots->nodes_most = 2 * HASH_COUNT(slots->nodes) + NODES_LEAST;
}

/* ---- birth and death ---- */

void ph_slots_init(struct ph_hub *hub)
{
	struct ph_slots *slots = &hub->slots;
	slots->nobody.digest = PH_HASH_SEED;
	slots->no_work.local_of = &slots->nobody;
	slots->no_work.granted_to = &slots->nobody;
	slots->no_work.granted_by = &slots->nobody;
	slots->no_work.granted_past = &slots->nobody;
	slots->no_work.rival = &slots->nobody;
	slots->nodes_most = NODES_LEAST;
	slots->self = ph_node_get(hub, &hub->set.node);
}

static void free_text(const char *text)
{
	free((void *)(uintptr_t)text);
}

void ph_slots_free(struct ph_hub *hub)
{
	struct ph_slots *slots = &hub->slots;
	struct ph_node *node, *next;
	for (struct ph_slot *slot = ph_slot_first(hub); slot; slot = ph_slot_next(hub, slot)) {
		free_text(slot->work->meta);
		if (slot->work != &slots->no_work)
			free((void *)(uintptr_t)slot->work);
	}
	for (uint32_t i = 0; i < slots->n; i += PH_SLOT_BLOCK)
		free(slots->blocks[i / PH_SLOT_BLOCK]);
	free(slots->blocks);
	free(slots->siblings);
	free(slots->table);
	HASH_ITER (hh, slots->nodes, node, next) {
		HASH_DEL(slots->nodes, node);
		free(node);
	}
}

/* ---- all of them ---- */

struct ph_slot *ph_slot_at(const struct ph_hub *hub, uint32_t no)
{
	return &hub->slots.blocks[no / PH_SLOT_BLOCK][no % PH_SLOT_BLOCK];
}

struct ph_slot *ph_slot_first(const struct ph_hub *hub)
{
	return hub->slots.n ? hub->slots.blocks[0] : NULL;
}

struct ph_slot *ph_slot_next(const struct ph_hub *hub, const struct ph_slot *slot)
{
	return slot->no + 1 < hub->slots.n ? ph_slot_at(hub, slot->no + 1) : NULL;
}

static struct ph_slot *numbered(const struct ph_hub *hub, uint32_t no_and_one)
{
	return no_and_one ? ph_slot_at(hub, no_and_one - 1) : NULL;
}

struct ph_slot *ph_slot_first_of(const struct ph_hub *hub, const struct ph_child *child)
{
	return numbered(hub, child->slots_first);
}

struct ph_slot *ph_slot_next_of(const struct ph_hub *hub, const struct ph_slot *slot)
{
	return numbered(hub, hub->slots.siblings[slot->no]);
}

/* ---- by their keys ---- */

static uint64_t hash_of(const struct ph_child *child, uint32_t number, uint32_t replica)
{
	return ph_mix64(child->hash ^ ((uint64_t)number << 32 | replica));
}

uint64_t ph_slot_hash(const struct ph_slot *slot)
{
	return hash_of(slot->child, slot->number, slot->replica);
}

static uint32_t first_try(const struct ph_slots *slots, uint64_t hash, const struct ph_name *local)
{
	if (local) /* all nodes have one */
		hash = ph_mix64(ph_hash_bytes(hash, local->s, strlen(local->s)));
	return (uint32_t)hash & (slots->room - 1);
}

static bool is_it(const struct ph_slot *slot, const struct ph_child *child,
	const struct ph_key *key, const struct ph_name *local)
{
	return slot->child == child && slot->number == key->instance &&
	       slot->replica == key->replica && slot->local == (local != NULL) &&
	       (!local || ph_name_equal(&slot->work->local_of->name, local));
}

struct ph_slot *ph_slot_find(
	const struct ph_hub *hub, const struct ph_key *key, const struct ph_name *local)
{
	const struct ph_slots *slots = &hub->slots;
	const struct ph_child *child = ph_child_find(hub, &key->child);
	if (!child || !slots->n)
		return NULL;
	/* A child's are mostly made one after another: then no table is needed to find one. */
	uint32_t guess = child->slots_at + key->instance;
	if (guess < slots->n && is_it(ph_slot_at(hub, guess), child, key, local))
		return ph_slot_at(hub, guess);
	uint32_t at = first_try(slots, hash_of(child, key->instance, key->replica), local);
	for (; slots->table[at]; at = (at + 1) & (slots->room - 1)) {
		struct ph_slot *slot = ph_slot_at(hub, slots->table[at] - 1);
		if (is_it(slot, child, key, local))
			return slot;
	}
	return NULL;
}

static void enter(struct ph_slots *slots, const struct ph_slot *slot)
{
	const struct ph_name *local = slot->local ? &slot->work->local_of->name : NULL;
	uint32_t at = first_try(slots, ph_slot_hash(slot), local);
	while (slots->table[at])
		at = (at + 1) & (slots->room - 1);
	slots->table[at] = slot->no + 1;
}

static void grow(struct ph_hub *hub)
{
	struct ph_slots *slots = &hub->slots;
	slots->room = slots->room ? 2 * slots->room : FIRST_ROOM;
	free(slots->table);
	slots->table = ph_must(calloc(slots->room, sizeof *slots->table));
	for (struct ph_slot *slot = ph_slot_first(hub); slot; slot = ph_slot_next(hub, slot))
		enter(slots, slot);
}

static struct ph_slot *new_slot(struct ph_slots *slots)
{
	uint32_t block = slots->n / PH_SLOT_BLOCK;
	if (slots->n % PH_SLOT_BLOCK == 0) {
		slots->blocks =
			ph_must(realloc(slots->blocks, (block + 1) * sizeof(struct ph_slot *)));
		slots->blocks[block] = ph_must(calloc(PH_SLOT_BLOCK, sizeof(struct ph_slot)));
		slots->siblings = ph_must(realloc(
			slots->siblings, (slots->n + PH_SLOT_BLOCK) * sizeof *slots->siblings));
	}
	struct ph_slot *slot = &slots->blocks[block][slots->n % PH_SLOT_BLOCK];
	slot->no = slots->n++;
	slots->siblings[slot->no] = 0;
	slot->work = &slots->no_work;
	slot->entry.node = &slots->nobody;
	return slot;
}

static void join_siblings(struct ph_slots *slots, const struct ph_slot *slot)
{
	struct ph_child *child = slot->child;
	if (child->slots_last)
		slots->siblings[child->slots_last - 1] = slot->no + 1;
	else
		child->slots_first = slot->no + 1;
	child->slots_last = slot->no + 1;
	child->n_slots++;
}

struct ph_slot *ph_slot_get(
	struct ph_hub *hub, const struct ph_key *key, const struct ph_name *local)
{
	struct ph_slots *slots = &hub->slots;
	struct ph_slot *slot = ph_slot_find(hub, key, local);
	if (slot)
		return slot;
	if (2 * (slots->n + 1) > slots->room)
		grow(hub);
	slot = new_slot(slots);
	slot->child = ph_child_get(hub, &key->child);
	slot->number = key->instance;
	slot->replica = key->replica;
	slot->local = local != NULL;
	if (!slot->number && !slot->replica && !local)
		slot->child->slots_at = slot->no;
	if (local)
		ph_slot_work(hub, slot)->local_of = ph_node_get(hub, local);
	enter(slots, slot);
	join_siblings(slots, slot);
	hub->placed = 0; /* it has no place yet */
	return slot;
}

/* ---- one of them ---- */

struct ph_key ph_slot_key(const struct ph_slot *slot)
{
	return (struct ph_key){
		.child = slot->child->name, .instance = slot->number, .replica = slot->replica};
}

struct ph_entry ph_slot_entry(const struct ph_slot *slot)
{
	const struct ph_held *held = &slot->entry;
	return (struct ph_entry){.key = ph_slot_key(slot),
		.local = held->local,
		.node = held->node->name,
		.epoch = held->epoch,
		.version = held->version,
		.revision = held->revision,
		.state = (enum ph_child_state)held->state,
		.ready = held->ready,
		.stopped_by_wish = held->stopped_by_wish,
		.wishes = slot->wishes,
		.unfit = held->unfit,
		.done = held->done,
		.role = (enum ph_role)held->role,
		.lineage = (enum ph_lineage)held->lineage,
		.born_ms = held->born_ms,
		.copied_ms = slot->work->copied_ms,
		.pid = held->pid,
		.restarts = held->restarts,
		.exit = {.kind = (enum ph_exit_kind)held->exit.kind, .value = held->exit.value},
		.meta = slot->work->meta};
}

struct ph_work *ph_slot_work(struct ph_hub *hub, struct ph_slot *slot)
{
	if (slot->work == &hub->slots.no_work) {
		struct ph_work *work = ph_must(malloc(sizeof *work));
		memcpy(work, &hub->slots.no_work, sizeof *work); /* and what lies between */
		slot->work = work;
	}
	return (struct ph_work *)(uintptr_t)slot->work;
}

void ph_slot_trim(struct ph_hub *hub, struct ph_slot *slot)
{
	const struct ph_work *none = &hub->slots.no_work;
	if (slot->work == none || memcmp(slot->work, none, sizeof *none) != 0)
		return;
	free((void *)(uintptr_t)slot->work);
	slot->work = none;
}

/* ---- lists ---- */

void ph_slot_list_add(struct ph_slot_list *list, const struct ph_slot *slot)
{
	if (list->n == list->room) {
		list->room = list->room ? 2 * list->room : LIST_FIRST_ROOM;
		list->nos = ph_must(realloc(list->nos, list->room * sizeof *list->nos));
	}
	list->nos[list->n++] = slot->no;
}

void ph_slot_list_clear(struct ph_slot_list *list)
{
	free(list->nos);
	*list = (struct ph_slot_list){0};
}
