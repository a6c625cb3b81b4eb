/*
 * after.c - the order in which children are started and stopped.
 *
 * An instance is started when all instances of each child that its text names are ready, wherever
 * they run, as the registry tells. Only a start waits: what runs goes on when one of them is
 * restarted or moved, and a migration is no start. One that has ended in good order and is not
 * started again has done its work, and counts as ready; one that an operator has stopped does not.
 * A child that was removed is not waited for; one that was never heard of is, as other nodes may
 * declare it. Of a child with placement local the one on this node counts, where there is one.
 */
#include "core/after.h"

#include <string.h>

static const char *const words[PH_CHILD_STATE_COUNT] = {
#define X(name, word) [PH_CHILD_##name] = word,
	PH_CHILD_STATES(X)
#undef X
};

/* The next of a list joined by ','; false at its end. */
static bool next_name(const char **list, struct ph_name *ret)
{
	size_t n = *list ? strcspn(*list, ",") : 0;
	if (!n || n >= sizeof ret->s)
		return false;
	memset(ret, 0, sizeof *ret);
	memcpy(ret->s, *list, n);
	*list += n + ((*list)[n] == ',');
	return true;
}

/* ---- is it ready? ---- */

/* Why that instance is not, or NULL. */
static const char *lacks(const struct ph_hub *hub, const struct ph_slot *slot)
{
	const struct ph_held *e = slot ? &slot->entry : NULL;
	if (slot && slot->wish_stopped)
		return "stopped by an operator";
	if (!slot || !ph_slot_owned(slot))
		return "not on any node yet";
	if (!ph_member_up(hub, &e->node->name))
		return "on a node that is gone";
	bool done = e->state == PH_CHILD_STOPPED && e->exit.kind == PH_EXIT_CODE && !e->exit.value;
	return e->ready || done ? NULL : words[e->state];
}

struct look {
	const char *lacks; /* NULL: ready */
	uint32_t instance;
	bool vain; /* it has ended, and is not started again by itself */
};

static bool ready(
	struct look *look, const struct ph_hub *hub, const struct ph_slot *slot, uint32_t instance)
{
	look->lacks = lacks(hub, slot);
	look->instance = instance;
	look->vain = look->lacks && slot &&
		     (slot->wish_stopped || slot->entry.state == PH_CHILD_STOPPED ||
			     slot->entry.state == PH_CHILD_FAILED);
	return !look->lacks;
}

/* Placement local: that of this node, or those of all others where it has none. What this node's
 * file says is not in force, perhaps. */
static void look_at_local(const struct ph_hub *hub, const struct ph_child *child,
	const struct ph_spec *spec, struct look *look)
{
	const struct ph_slot *slot;
	struct ph_key key = {.child = child->name};
	if (!child->own)
		look->lacks = "not on any node yet";
	for (; child->own && key.instance < spec->instances; key.instance++)
		if (!ready(look, hub, ph_slot_find(hub, &key, &hub->set.node), key.instance))
			return;
	for (slot = child->own ? NULL : ph_slot_first_of(hub, child); slot;
		slot = ph_slot_next_of(hub, slot))
		if (slot->local && ph_slot_owned(slot) &&
			ph_member_up(hub, &slot->entry.node->name) &&
			!ready(look, hub, slot, slot->number))
			return;
}

static struct look look_at(const struct ph_hub *hub, const struct ph_child *child)
{
	struct look look = {.lacks = "not known to this node"};
	const struct ph_spec *spec = child ? ph_child_spec(child) : NULL;
	if (!child || (!spec && !ph_tombstone(child)))
		return look;
	look.lacks = NULL;
	if (!spec) /* it was removed */
		return look;
	if (spec->local) {
		look_at_local(hub, child, spec, &look);
		return look;
	}
	/* From the one on that was not ready last: most of them become so one after the other. */
	struct ph_key key = {.child = child->name, .instance = child->look_from};
	for (uint32_t i = 0; i < spec->instances; i++, key.instance++) {
		if (key.instance >= spec->instances)
			key.instance = 0;
		if (!ready(&look, hub, ph_slot_find(hub, &key, NULL), key.instance))
			break;
	}
	return look;
}

/* Many instances ask for the same: it is looked at once, until something changes. */
static bool is_ready(struct ph_hub *hub, struct ph_child *child)
{
	if (child->looked_at == hub->looks)
		return child->was_ready;
	child->needed = true;
	child->looked_at = hub->looks;
	struct look look = look_at(hub, child);
	child->was_ready = !look.lacks;
	child->look_from = look.lacks ? look.instance : 0;
	return child->was_ready;
}

bool ph_after_why(const struct ph_hub *hub, const struct ph_spec *of, char why[PH_REASON_SIZE],
	bool *ret_vain)
{
	const char *list = of->after;
	struct ph_name one, *name = &one;
	const struct ph_child *child = NULL;
	struct look look = {0};
	while (!look.lacks && next_name(&list, name)) {
		child = ph_child_find(hub, name);
		look = look_at(hub, child);
	}
	if (!look.lacks)
		return false;
	const struct ph_spec *spec = child ? ph_child_spec(child) : NULL;
	if (ret_vain)
		*ret_vain = look.vain;
	if (spec && spec->instances > 1)
		ph_reason(why, "waits for %s/%u, which is %s", name->s, look.instance, look.lacks);
	else
		ph_reason(why, "waits for %s, which is %s", name->s, look.lacks);
	return true;
}

static bool waits(struct ph_hub *hub, const struct ph_spec *spec)
{
	const char *list = spec->after;
	struct ph_name name;
	while (next_name(&list, &name)) {
		struct ph_child *child = ph_child_find(hub, &name);
		if (!child || !is_ready(hub, child))
			return true;
	}
	return false;
}

bool ph_after_waits(struct ph_hub *hub, const struct ph_spec *spec, char why[PH_REASON_SIZE])
{
	return waits(hub, spec) && ph_after_why(hub, spec, why, NULL);
}

void ph_after_changed(struct ph_hub *hub, const struct ph_slot *slot)
{
	if (!slot->child->needed)
		return;
	hub->looks++;
	hub->look_again = true;
}

void ph_after_enter(struct ph_hub *hub, struct ph_instance *instance, enum ph_instance_state before)
{
	if (before == PH_INSTANCE_HELD)
		DL_DELETE2(hub->waiting, instance, held_prev, held_next);
	if (instance->state == PH_INSTANCE_HELD)
		DL_APPEND2(hub->waiting, instance, held_prev, held_next);
}

void ph_after_run(struct ph_hub *hub)
{
	struct ph_instance *instance, *next;
	hub->looks++; /* members come and go between two steps */
	if (!hub->look_again)
		return;
	hub->look_again = false;
	DL_FOREACH_SAFE2(hub->waiting, instance, next, held_next)
	if (!waits(hub, instance->spec)) /* most do: their step would but say so once more */
		ph_instance_step(hub, instance, PH_INSTANCE_IN_DEADLINE);
}

/* ---- an orderly stop: the other way round ---- */

void ph_after_look(struct ph_hub *hub)
{
	const struct ph_instance *instance;
	struct ph_name name;
	for (struct ph_child *child = hub->children; child; child = child->hh.next)
		child->leaned_on = false;
	DL_FOREACH (hub->instances, instance) {
		const char *list = ph_instance_has_process(instance) ? instance->spec->after : NULL;
		while (next_name(&list, &name)) {
			struct ph_child *child = ph_child_find(hub, &name);
			if (child)
				child->leaned_on = true;
		}
	}
}

bool ph_after_needed(const struct ph_instance *instance)
{
	return instance->slot->child->leaned_on && ph_instance_has_process(instance);
}
