/*
 * unfit.c - nodes that cannot start a child: there is no such file or user on them.
 *
 * A mark is an input of placement, and says nothing about owners. It reaches the members with the
 * release of the child, and ends with that life of the node's daemon, with another text of the
 * child, or after UNFIT_MS. Where all nodes that may have the child are marked, the marks say
 * nothing.
 */
#include "core/unfit.h"

#include <errno.h>
#include <stdlib.h>

#define UNFIT_MS 300000

struct ph_unfit {
	struct ph_name node;
	uint64_t incarnation; /* of the node */
	uint64_t hash;	      /* of the child's text, 0: it was not known yet */
	uint64_t until_ms;
};

static uint64_t incarnation_of(const struct ph_hub *hub, const struct ph_name *node)
{
	const struct ph_member *member = ph_member_find(hub, node);
	if (ph_is_self(hub, node))
		return hub->set.incarnation;
	return member ? member->info.incarnation : 0;
}

static uint64_t hash_of(const struct ph_child *child)
{
	const struct ph_spec *spec = ph_child_spec(child);
	return spec ? spec->hash : 0;
}

static struct ph_unfit *find(const struct ph_child *child, const struct ph_name *node)
{
	for (size_t i = 0; i < child->n_unfit; i++)
		if (ph_name_equal(&child->unfit[i].node, node))
			return &child->unfit[i];
	return NULL;
}

bool ph_unfit(const struct ph_hub *hub, const struct ph_child *child, const struct ph_name *node)
{
	const struct ph_unfit *mark = find(child, node);
	return mark && hub->now_ms < mark->until_ms &&
	       (!mark->hash || mark->hash == hash_of(child)) &&
	       mark->incarnation == incarnation_of(hub, node);
}

void ph_unfit_mark(struct ph_hub *hub, struct ph_child *child, const struct ph_name *node)
{
	struct ph_unfit *mark = find(child, node);
	if (!mark) {
		child->unfit =
			ph_must(realloc(child->unfit, (child->n_unfit + 1) * sizeof *child->unfit));
		mark = &child->unfit[child->n_unfit++];
		mark->node = *node;
	}
	mark->incarnation = incarnation_of(hub, node);
	mark->hash = hash_of(child);
	mark->until_ms = hub->now_ms + UNFIT_MS;
}

static bool another_one_can(struct ph_hub *hub, const struct ph_child *child)
{
	const struct ph_spec *spec = ph_child_spec(child);
	for (const struct ph_member *m = hub->members; m; m = m->hh.next)
		if (m->state == PH_MEMBER_ALIVE && !m->info.draining && m->info.weight > 0 &&
			ph_place_allows(hub, spec, &m->info.name) &&
			!ph_unfit(hub, child, &m->info.name))
			return true;
	return false;
}

/* No process, memory or descriptor left, or somebody has its address: that may be otherwise in a
 * moment. */
static bool passes(int error)
{
	return error == EADDRINUSE || error == EAGAIN || error == ENOMEM || error == EMFILE ||
	       error == ENFILE;
}

bool ph_unfit_pass_on(struct ph_hub *hub, struct ph_instance *instance, int error)
{
	struct ph_slot *slot = instance->slot;
	struct ph_child *child = slot->child;
	if (passes(error) || instance->spec->local || instance->after != PH_AFTER_POLICY ||
		slot->work->instance != instance || slot->work->source || slot->work->target ||
		!ph_slot_mine(hub, slot) || !child || !ph_child_spec(child))
		return false;
	/* It has come back, as nobody took it: it stays, and is tried again here. */
	bool passed_on = slot->work->passed_on_ms && slot->work->passed_on_hash == hash_of(child) &&
			 hub->now_ms < slot->work->passed_on_ms + UNFIT_MS;
	if (hub->self_state != PH_MEMBER_ALIVE || hub->away || slot->wish_stopped || passed_on ||
		!another_one_can(hub, child))
		return false;
	ph_slot_work(hub, slot)->passed_on_ms = hub->now_ms;
	ph_slot_work(hub, slot)->passed_on_hash = hash_of(child);
	ph_unfit_mark(hub, child, &hub->set.node);
	slot->entry.unfit = true;
	ph_log(hub, PH_LOG_WARNING, "%s/%u is left to other nodes", slot->child->name.s,
		slot->number);
	return true;
}
