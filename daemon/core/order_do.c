/* order_do.c - an order where it is carried out: by the owner of the child, or the node itself. */
#include "core/group.h"
#include "core/instance.h"
#include "core/order.h"
#include "core/swap.h"

#include <errno.h>
#include <string.h>

/* ---- the owner: carry it out ---- */

void ph_order_wish(struct ph_hub *hub, struct ph_slot *slot, bool stopped)
{
	if (slot->wish_stopped != stopped && slot->wishes < UINT16_MAX)
		slot->wishes++;
	slot->wish_stopped = stopped;
	slot->entry.done &= stopped; /* by order it is done again */
	struct ph_record record = ph_slot_record(slot);
	(void)ph_journal(hub, &record);
}

/* Whoever has released it does this too, and tells the others. */
static void wish_one_more(struct ph_hub *hub, struct ph_slot *slot)
{
	bool here = ph_slot_released_here(hub, slot);
	bool there = slot->entered && !here && ph_member_up(hub, &slot->entry.node->name);
	if (slot->wish_stopped || ph_slot_owned(slot) || there)
		return;
	ph_order_wish(hub, slot, true);
	if (here)
		ph_slot_release(hub, slot);
}

void ph_order_wish_more(struct ph_hub *hub, const struct ph_child *child, uint32_t before)
{
	struct ph_key key = {.child = child->name};
	for (; key.instance < before; key.instance++) {
		const struct ph_slot *slot = ph_slot_find(hub, &key, NULL);
		if (!slot || !slot->wish_stopped)
			return;
	}
	for (; before && key.instance < child->spec->instances; key.instance++)
		wish_one_more(hub, ph_slot_get(hub, &key, NULL));
}

/*
 * Owned here, and there is no worker. What others say that this node owns since it was started
 * again may be of before: until it has joined, or where a higher epoch is known, it is asked for
 * first.
 */
static void start_anew(struct ph_hub *hub, struct ph_slot *slot)
{
	if (hub->self_state != PH_MEMBER_ALIVE || hub->away || slot->entry.epoch < slot->seen)
		ph_plan_soon(hub, 0);
	else
		ph_own_start(hub, slot, slot->entry.epoch, PH_LINEAGE_COLD, NULL);
}

static void do_start(struct ph_hub *hub, struct ph_slot *slot)
{
	ph_order_wish(hub, slot, false);
	if (ph_slot_busy(slot))
		ph_instance_step(hub, slot->work->instance, PH_INSTANCE_IN_START);
	else if (slot->work->instance)
		ph_plan_soon(hub, 0); /* it is asked for first */
	else
		start_anew(hub, slot);
	ph_slot_publish(hub, slot);
}

/* Between `commit` and the new owner's word nobody can carry it out yet. */
static bool in_flight(const struct ph_slot *slot)
{
	return slot->work->source && slot->work->source->state >= PH_SOURCE_COMMITTING &&
	       slot->work->source->state <= PH_SOURCE_FINISHING;
}

static void do_stop(struct ph_hub *hub, struct ph_slot *slot)
{
	ph_order_wish(hub, slot, true);
	struct ph_move *move = slot->work->move;
	if (move)
		ph_move_drop(hub, move);
	ph_target_wished(hub, slot);
	/* In this order, so that it is not told to go on first. */
	if (slot->work->instance)
		ph_instance_step(hub, slot->work->instance, PH_INSTANCE_IN_STOP);
	if (slot->work->source)
		ph_source_step(hub, slot->work->source, PH_SOURCE_IN_CANCEL);
	ph_slot_publish(hub, slot);
}

/*
 * Taken by an earlier daemon of this node, which ended before the worker had; or a migration that
 * was under way has brought it back since.
 */
void ph_order_catch_up(struct ph_hub *hub, struct ph_slot *slot)
{
	struct ph_instance *instance = slot->work->instance;
	if (instance && slot->wish_stopped && ph_instance_has_process(instance) &&
		instance->state <= PH_INSTANCE_RUNNING && instance->role == PH_ROLE_ACTIVE &&
		!slot->work->source && !slot->work->target)
		ph_instance_step(hub, instance, PH_INSTANCE_IN_STOP);
}

static int do_restart(struct ph_hub *hub, struct ph_slot *slot, char why[PH_REASON_SIZE])
{
	if (slot->work->source) {
		ph_reason(why, "a migration of it is running");
		return -EAGAIN; /* where it runs then */
	}
	ph_order_wish(hub, slot, false);
	ph_target_wished(hub, slot);
	if (slot->work->instance)
		ph_instance_step(hub, slot->work->instance, PH_INSTANCE_IN_RESTART);
	else
		start_anew(hub, slot);
	return 0;
}

static int do_move(struct ph_hub *hub, struct ph_slot *slot, const struct ph_name *to, bool force,
	uint64_t order, struct ph_id *ret_id, char why[PH_REASON_SIZE])
{
	const struct ph_member *member = ph_member_find(hub, to);
	const struct ph_instance *instance = slot->work->instance;
	if (slot->work->source) {
		ph_reason(why, "a migration of it is running");
		return -EAGAIN; /* from where it is then */
	}
	if (ph_is_self(hub, to)) { /* whatever else was to become of it */
		if (slot->work->move)
			ph_move_drop(hub, slot->work->move);
		ph_reason(why, "it is there already");
		return 0;
	}
	if (instance && instance->spec->local) {
		ph_reason(why, "its placement is local");
		return -EINVAL;
	}
	if (!member || member->state != PH_MEMBER_ALIVE) {
		ph_reason(why, "node %s is not alive", to->s);
		return -EINVAL;
	}
	if (member->info.draining) {
		ph_reason(why, "node %s is being drained", to->s);
		return -EINVAL;
	}
	if (!force && instance && !ph_place_allows(hub, instance->spec, to)) {
		ph_reason(why, "its placement does not allow node %s", to->s);
		return -EINVAL;
	}
	if (instance && instance->never_moves && !force) {
		ph_reason(why, "%s", PH_NEVER_MOVES);
		return -EINVAL;
	}
	if (!ph_plan_movable(hub, slot) || slot->wish_stopped) {
		ph_reason(why, !instance || slot->wish_stopped ? "it is not running"
			       : !instance->spec->swap
				       ? "its migration.strategy is none"
				       : "its worker cannot hand over its state, and "
					 "migration.handover is true");
		return -EINVAL;
	}
	*ret_id = ph_move_add(hub, slot, to, order, force)->id;
	return 0;
}

/* A new worker beside the old one, here, from the newest text. */
static int do_swap(struct ph_hub *hub, struct ph_slot *slot, uint64_t order, struct ph_id *ret_id,
	char why[PH_REASON_SIZE])
{
	const char *objection = ph_swap_objection(hub, slot);
	if (slot->work->source || slot->work->target) {
		ph_reason(why, "a migration of it is running");
		return -EAGAIN;
	}
	if (!objection && slot->work->instance->never_moves)
		objection = PH_NEVER_MOVES;
	if (objection) {
		ph_reason(why, "%s", objection);
		return -EINVAL;
	}
	struct ph_move *move = slot->work->move; /* ordered before, and not begun: the same one */
	bool same = move && move->order && !move->pinned && ph_is_self(hub, &move->to);
	*ret_id = same ? move->id : ph_move_add(hub, slot, &hub->set.node, order, false)->id;
	return 0;
}

int ph_order_signal(struct ph_hub *hub, struct ph_slot *slot, int signal, char why[PH_REASON_SIZE])
{
	if (!slot || !ph_slot_mine(hub, slot) || in_flight(slot)) {
		ph_reason(why, "this node does not own it, or not for long");
		return -EAGAIN;
	}
	const struct ph_instance *instance = slot->work->instance;
	if (!instance || !instance->pid) {
		ph_reason(why, "it is not running");
		return -EINVAL;
	}
	struct ph_action *action = ph_out(hub, PH_ACT_SIGNAL);
	action->wid = instance->wid;
	action->signal = signal;
	return 0;
}

/* Nobody has it, and this node had it last: the others read the wish in what it says of it. */
static int wish_for_released(struct ph_hub *hub, struct ph_slot *slot, bool stopped)
{
	if (slot->wish_stopped != stopped) {
		ph_order_wish(hub, slot, stopped);
		ph_slot_publish(hub, slot);
	}
	return stopped ? 0 : -EAGAIN; /* it is to be started by whoever claims it */
}

int ph_order_carry_out(struct ph_hub *hub, struct ph_slot *slot, enum ph_verb verb,
	const struct ph_name *to, bool force, struct ph_id *ret_id, char why[PH_REASON_SIZE])
{
	bool wish = verb == PH_VERB_START || verb == PH_VERB_STOP;
	if (wish && slot && ph_slot_released_here(hub, slot))
		return wish_for_released(hub, slot, verb == PH_VERB_STOP);
	if (!slot || !ph_slot_mine(hub, slot) || in_flight(slot)) {
		ph_reason(why, "this node does not own it, or not for long");
		return -EAGAIN;
	}
	if (verb == PH_VERB_MOVE)
		return do_move(hub, slot, to, force, ++hub->numbers, ret_id, why);
	if (verb == PH_VERB_SWAP)
		return do_swap(hub, slot, ++hub->numbers, ret_id, why);
	if (verb == PH_VERB_RESTART)
		return do_restart(hub, slot, why);
	if (verb == PH_VERB_REGROUP)
		return ph_group_ordered(hub, slot, force) ? 0 : -EINVAL;
	if (verb == PH_VERB_START)
		do_start(hub, slot);
	else
		do_stop(hub, slot);
	return 0;
}

bool ph_order_set_draining(
	struct ph_hub *hub, bool draining, bool force, char ret_why[PH_REASON_SIZE])
{
	struct ph_move *move, *next;
	if (hub->shutting && !draining) {
		ph_reason(ret_why, "node %s is leaving", hub->set.node.s);
		return false;
	}
	hub->drain_force = force;
	for (struct ph_slot *slot = ph_slot_first(hub); slot; slot = ph_slot_next(hub, slot))
		if (slot->work->move_failures)
			ph_slot_work(hub, slot)->move_failures = 0;
	if (hub->draining == draining) {
		ph_moves_unpin(hub);
		return true;
	}
	hub->draining = hub->drain_wish = draining;
	hub->drained = hub->drain_planned = false;
	if (draining)
		ph_target_turn_away(hub);
	struct ph_record record = {.kind = PH_RECORD_DRAINING, .ok = draining};
	(void)ph_journal(hub, &record);
	DL_FOREACH_SAFE(hub->moves, move, next)
	if (!move->order)
		ph_move_drop(hub, move);
	ph_plan_soon(hub, 0);
	ph_member_heartbeat_now(hub);
	return true;
}

/* ---- an order of another node ---- */

static struct ph_done_order *done_before(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	for (size_t i = 0; i < PH_DONE_ORDERS; i++) {
		struct ph_done_order *done = &hub->done_orders[i];
		if (done->order == msg->order && ph_name_equal(&done->from, &msg->from) &&
			ph_key_equal(&done->key, &msg->key))
			return done;
	}
	return NULL;
}

/* Fills in the answer. -EAGAIN: not now, it is to be asked again. */
static int take(struct ph_hub *hub, const struct ph_bmsg *msg, struct ph_done_order *done)
{
	struct ph_slot *slot;
	int error = 0;
	switch (msg->verb) {
	case PH_VERB_DRAIN:
	case PH_VERB_UNDRAIN:
		done->ok = ph_order_set_draining(
			hub, msg->verb == PH_VERB_DRAIN, msg->force, done->reason);
		return 0;
	case PH_VERB_CANCEL:
		done->id = msg->id;
		error = ph_cancel_carry_out(hub, &msg->key, &done->id, done->reason);
		break;
	case PH_VERB_FORGET:
		error = msg->ask ? ph_forget_check(
					   hub, &msg->target, msg->known_incarnation, done->reason)
				 : ph_forget_carry_out(
					   hub, &msg->target, msg->known_incarnation, done->reason);
		break;
	case PH_VERB_REMOVE:
		error = ph_added_taken(hub, &msg->key.child, msg->known_incarnation, done->reason);
		break;
	case PH_VERB_NONE:
	case PH_VERB_ADD:
	case PH_VERB_WAIT:
	case PH_VERB_RELOAD:
	case PH_VERB_COUNT:
		error = -EINVAL; /* carried out nowhere else */
		break;
	case PH_VERB_START:
	case PH_VERB_STOP:
	case PH_VERB_RESTART:
	case PH_VERB_SIGNAL:
	case PH_VERB_MOVE:
	case PH_VERB_SWAP:
	case PH_VERB_REGROUP:
		slot = ph_slot_find(hub, &msg->key, NULL);
		if (!slot || !(ph_slot_mine(hub, slot) || ph_slot_released_here(hub, slot)))
			/* one a node: this node's */
			slot = ph_slot_find(hub, &msg->key, &hub->set.node);
		if (msg->verb == PH_VERB_SIGNAL)
			error = ph_order_signal(hub, slot, (int)msg->signal, done->reason);
		else
			error = ph_order_carry_out(hub, slot, msg->verb, &msg->target, msg->force,
				&done->id, done->reason);
		break;
	}
	done->ok = error == 0;
	return error;
}

void ph_order_taken(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	struct ph_done_order *done = done_before(hub, msg);
	int error = 0;
	if (!done) {
		done = &hub->done_orders[hub->next_done_order++ % PH_DONE_ORDERS];
		memset(done, 0, sizeof *done);
		done->from = msg->from;
		done->order = msg->order;
		done->key = msg->key;
		error = take(hub, msg, done);
		if (error == -EAGAIN) /* not to be remembered: it is asked again */
			done->order = 0;
	}
	struct ph_bmsg *answer = ph_send(hub, &msg->from, PH_B_ORDER_ACK);
	answer->order = msg->order;
	answer->key = msg->key;
	answer->ok = done->ok;
	answer->busy = error == -EAGAIN;
	answer->id = done->id;
	ph_reason(answer->reason, "%s", done->reason);
}
