#include "core/swap.h"

#include <stdlib.h>

#define TURNS_MAX 10000 /* messages of one step; far beyond what two sides have to say */

/* ---- what one side says to the other ---- */

struct ph_bmsg *ph_swap_say(struct ph_hub *hub, enum ph_bkind kind)
{
	struct ph_bmsg *msg = ph_out_alloc(hub, sizeof *msg);
	msg->kind = kind;
	msg->from = hub->set.node;
	msg->incarnation = hub->set.incarnation;
	if (hub->n_own == hub->own_cap) {
		hub->own_cap = hub->own_cap ? 2 * hub->own_cap : 8;
		hub->own = ph_must(realloc(hub->own, hub->own_cap * sizeof(struct ph_bmsg *)));
	}
	hub->own[hub->n_own++] = msg;
	return msg;
}

static bool of_source(enum ph_bkind kind)
{
	return kind == PH_B_READY || kind == PH_B_REJECT || kind == PH_B_LOADED ||
	       kind == PH_B_PREPARED || kind == PH_B_ACTIVE || kind == PH_B_NACK ||
	       kind == PH_B_LOST || kind == PH_B_ABORTED || kind == PH_B_VOID_ACK ||
	       kind == PH_B_QUERY || kind == PH_B_RELEASE || kind == PH_B_FORGOTTEN;
}

void ph_swap_deliver(struct ph_hub *hub)
{
	for (size_t i = 0; i < hub->n_own && i < TURNS_MAX; i++) {
		const struct ph_bmsg *msg = hub->own[i];
		bool takes = msg->kind == PH_B_COMMIT || msg->kind == PH_B_PREPARE;
		/* As from another node; what is dropped is said again. */
		if (hub->exiting || hub->away || (takes && !ph_lease_valid(hub)))
			continue;
		if (of_source(msg->kind))
			ph_source_message(hub, msg);
		else
			ph_target_message(hub, msg);
	}
	hub->n_own = 0;
}

void ph_swap_free(struct ph_hub *hub)
{
	free(hub->own);
}

/* ---- what it is about ---- */

struct ph_slot *ph_swap_slot(struct ph_hub *hub, const struct ph_name *peer, const struct ph_id *id,
	const struct ph_key *key)
{
	struct ph_source *s = NULL;
	if (!ph_is_self(hub, peer))
		return ph_slot_get(hub, key, NULL);
	HASH_FIND(hh, hub->sources, id->b, sizeof id->b, s);
	if (s)
		return s->slot;
	const struct ph_child *child = ph_child_find(hub, &key->child);
	const struct ph_spec *spec = child ? ph_child_spec(child) : NULL;
	return ph_slot_get(hub, key, spec && spec->local ? &hub->set.node : NULL);
}

const struct ph_spec *ph_swap_spec(const struct ph_hub *hub, const struct ph_source *s)
{
	const struct ph_child *child = s->slot->child;
	const struct ph_spec *newest =
		child && ph_is_self(hub, &s->peer) ? ph_child_spec(child) : NULL;
	return newest ? newest : s->old->spec;
}

const char *ph_swap_objection(struct ph_hub *hub, const struct ph_slot *slot)
{
	const struct ph_instance *instance = slot->work->instance;
	if (hub->draining || hub->shutting)
		return "this node is being drained";
	if (!instance || slot->wish_stopped || !ph_slot_mine(hub, slot))
		return "it is not running";
	if (!instance->spec->swap)
		return "its migration.strategy is none";
	if (!ph_plan_hands_over(hub, instance))
		return "its worker cannot hand over its state, and migration.handover is true";
	return NULL;
}

bool ph_swap_waits(const struct ph_hub *hub, const struct ph_slot *slot)
{
	const struct ph_move *move = slot->work->move;
	const struct ph_source *s = slot->work->source;
	return (move && ph_is_self(hub, &move->to)) || (s && ph_is_self(hub, &s->peer));
}

bool ph_swap_instead(struct ph_hub *hub, struct ph_slot *slot, bool renew)
{
	const struct ph_instance *instance = slot->work->instance;
	const struct ph_spec *next = ph_child_spec(slot->child);
	bool hands_over = instance->state == PH_INSTANCE_RUNNING && instance->connected &&
			  (instance->caps & PH_CAP_HANDOVER) && !instance->never_moves &&
			  instance->spec->handover != PH_HANDOVER_NO;
	if (!hands_over || !next || !next->swap || next->handover == PH_HANDOVER_NO ||
		slot->work->claim || ph_swap_objection(hub, slot))
		return false;
	struct ph_move *move = slot->work->move;
	/* What an operator has cancelled was another one. */
	renew = renew || (move && move->cancelled && move->revision < next->revision);
	if (move && ph_is_self(hub, &move->to) && (!renew || move->order))
		return true;
	move = ph_move_add(hub, slot, &hub->set.node, 0, false);
	if (renew)
		ph_slot_work(hub, slot)->move_wait_ms = 0;
	if (!renew && move->not_before_ms < hub->now_ms + slot->work->move_wait_ms)
		move->not_before_ms = hub->now_ms + slot->work->move_wait_ms;
	ph_slot_publish(hub, slot);
	return true;
}
