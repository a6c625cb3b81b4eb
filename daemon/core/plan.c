/*
 * plan.c - from where things are to where they should be.
 *
 * Unowned children are claimed by the node that placement names. The owner of a child moves it,
 * and nobody else: to a node that has just joined, where placement now wants it; away from itself
 * when it is drained; where an operator says. Other changes of the placement move nothing. How a
 * move that is wanted comes to be a migration is in move.c.
 */
#include "core/conflict.h"
#include "core/move.h"

#define ADOPT_STRAY_MS 5000 /* unowned for so long: whoever declares it claims it */

void ph_plan_soon(struct ph_hub *hub, uint64_t wait_ms)
{
	uint64_t at = hub->now_ms + wait_ms;
	if (!hub->plan.pos || hub->plan.at_ms > at)
		ph_timer_set(hub, &hub->plan, at);
}

/* ---- the plan ---- */

static bool unowned(struct ph_hub *hub, const struct ph_slot *slot)
{
	/* What was removed and is wanted again starts anew, above its tombstone. */
	if (!ph_slot_owned(slot))
		return true;
	if (slot->entry.node == hub->slots.self)
		return !ph_slot_busy(slot) && !slot->work->source;
	return !slot->entry.node->member || !ph_member_live(slot->entry.node->member);
}

static bool wanted(const struct ph_slot *slot)
{
	const struct ph_spec *spec = ph_child_spec(slot->child);
	return spec && !spec->local && slot->number < spec->instances;
}

static void tell_spec(struct ph_hub *hub, struct ph_child *child, const struct ph_name *to)
{
	child->offered_ms = hub->now_ms;
	ph_child_put_text(hub, child, ph_send(hub, to, PH_B_SPEC));
}

static void offer_spec(struct ph_hub *hub, struct ph_slot *slot)
{
	struct ph_child *child = slot->child;
	if ((child->own || ph_child_is_added(child)) &&
		hub->now_ms >= child->offered_ms + PH_PLAN_AGAIN_MS && ph_child_settle(hub, child))
		tell_spec(hub, child, ph_slot_place(hub, slot));
}

/*
 * Its text changed here while it was on its way to its owner, who may know nothing of that. So it
 * is with one that was ordered to stop: it has no worker that would bring the text along.
 */
static void tell_newer(struct ph_hub *hub, struct ph_slot *slot)
{
	struct ph_child *child = slot->child;
	const struct ph_held *e = &slot->entry;
	if (!child->spec || child->spec->revision <= e->revision || !e->revision ||
		(e->state != PH_CHILD_RUNNING && e->state != PH_CHILD_STOPPED))
		return;
	if (hub->now_ms >= child->offered_ms + PH_PLAN_AGAIN_MS)
		tell_spec(hub, child, &e->node->name);
	ph_plan_soon(hub, PH_PLAN_AGAIN_MS);
}

/* Nobody owns it: claimed here where placement says so, else offered to whom it names. */
static void plan_unowned(struct ph_hub *hub, struct ph_slot *slot, bool first_of_child)
{
	const struct ph_child *child = slot->child;
	if (slot->work->claim || slot->work->target || slot->work->source || slot->starting ||
		ph_slot_busy(slot)) { /* one adopted and about to say what it is */
		ph_plan_soon(hub, PH_PLAN_AGAIN_MS);
		return;
	}
	if (!ph_slot_unowned_ms(slot)) {
		ph_slot_set_unowned(hub, slot, hub->now_ms);
		/* Until then another one owned it, and who has come since may be its place. */
		if (slot->entered && !slot->work->planned_ms)
			ph_slot_work(hub, slot)->planned_ms = hub->planned_ms;
	}
	if (!slot->place)
		ph_slot_work(hub, slot)->placed_ms = hub->now_ms;
	uint64_t placed_ms =
		slot->work->placed_ms ? slot->work->placed_ms : ph_slot_unowned_ms(slot);
	/* ... or waits for this, or what lost to an owner who is gone since lives here */
	bool mine = ph_slot_place(hub, slot) == &hub->slots.self->name || slot->work->instance ||
		    (hub->conflicts && ph_conflict_holds(hub, PH_SLOT_KEY(slot)));
	/* Whoever placement names has had time: another one that may have it takes it. */
	bool stray = (child->own || ph_child_is_added(child)) && slot->place &&
		     hub->now_ms >= placed_ms + ADOPT_STRAY_MS &&
		     ph_place_allows(hub, ph_child_spec(child), &hub->set.node);
	if (mine || (stray && !hub->draining)) {
		(void)ph_claim_start(hub, slot, PH_CLAIM_COLD, &hub->set.node, NULL, 0);
		return;
	}
	/* Others hold this node for its owner, as it was before a restart, and claim nothing. */
	if (ph_slot_mine(hub, slot))
		ph_slot_release(hub, slot);
	if (slot->place && first_of_child &&
		hub->now_ms >= ph_slot_unowned_ms(slot) + PH_PLAN_AGAIN_MS / 2)
		offer_spec(hub, slot);
	ph_plan_soon(hub, PH_PLAN_AGAIN_MS);
}

/*
 * Has the node that placement wants come since this child's place was last decided? While it is
 * being moved nothing is decided anew, so it may go on from there to who came meanwhile.
 */
static bool newcomer(const struct ph_hub *hub, const struct ph_slot *slot)
{
	const struct ph_member *member = ph_member_find(hub, ph_slot_place(hub, slot));
	return member && member->newcomer_ms && member->newcomer_ms >= slot->work->planned_ms;
}

/* Where placement wants it; a drain goes on to the next one where the link to that one is cut. */
static const struct ph_name *drain_to(struct ph_hub *hub, const struct ph_slot *slot)
{
	if (!hub->draining || !ph_move_cut_off(hub, ph_slot_place(hub, slot)))
		return ph_slot_place(hub, slot);
	const struct ph_name *other = ph_place_reached(hub, slot);
	return other ? other : ph_slot_place(hub, slot);
}

static void plan_own(struct ph_hub *hub, struct ph_slot *slot)
{
	const struct ph_name *to = drain_to(hub, slot);
	if (!to->s[0] || ph_is_self(hub, to) || slot->wish_stopped || ph_slot_done(slot))
		return;
	const struct ph_child *child = slot->child;
	bool forbidden = child && child->spec && slot->work->forced != child->spec->revision &&
			 !ph_place_allows(hub, child->spec, &hub->set.node);
	if (!hub->draining && !newcomer(hub, slot) && !forbidden)
		return;
	struct ph_move *move = slot->work->move;
	if (slot->work->source || !ph_plan_movable(hub, slot))
		return;
	if (move && move->cancelled && newcomer(hub, slot)) {
		ph_move_drop(hub, move);
		move = NULL;
	}
	bool swap = move && ph_is_self(hub, &move->to); /* goes with it */
	if (move && (move->order || ph_name_equal(&move->to, to) || (move->pinned && !swap)))
		return;
	move = ph_move_add(hub, slot, to, 0, hub->draining && hub->drain_force);
	move->pinned = slot->work->instance->never_moves && !move->force;
	if (move->pinned)
		ph_reason(move->why, "%s", PH_NEVER_MOVES);
}

/* Most of what is owned is so by others, and no object of its own is made for it. */
static void plan_owned(struct ph_hub *hub, struct ph_slot *slot, bool wait)
{
	bool mine = ph_slot_mine(hub, slot);
	ph_slot_set_unowned(hub, slot, 0);
	if (slot->work->placed_ms)
		ph_slot_work(hub, slot)->placed_ms = 0;
	if (mine)
		plan_own(hub, slot);
	else
		tell_newer(hub, slot);
	if (mine && !wait && !slot->work->source)
		ph_slot_work(hub, slot)->planned_ms = hub->now_ms;
	else if (!mine && !slot->work->source && slot->work->planned_ms)
		ph_slot_work(hub, slot)->planned_ms = 0;
	ph_slot_trim(hub, slot);
}

static void plan_local(struct ph_hub *hub, struct ph_child *child)
{
	bool here = child->own || ph_child_is_added(child); /* what was added is so everywhere */
	const struct ph_spec *spec = here ? ph_child_settle(hub, child) : NULL;
	if (!spec || !spec->local)
		return;
	for (uint32_t i = 0; i < spec->instances; i++) {
		struct ph_key key = {.child = child->name, .instance = i};
		struct ph_slot *slot = ph_slot_get(hub, &key, &hub->set.node);
		if (!slot->work->instance && !hub->shutting)
			ph_own_start(hub, slot, ph_next_epoch(hub, slot), PH_LINEAGE_COLD, NULL);
	}
}

/*
 * It was removed while it was on its way, or while its owner was away: it is no child's. A worker
 * may have come back from its way since, by its source's claim: it goes as the others have gone.
 */
static void bury(struct ph_hub *hub, struct ph_slot *slot)
{
	const struct ph_work *work = slot->work;
	uint64_t removed = slot->child->removed_revision;
	bool mine = ph_slot_mine(hub, slot);
	/* Nothing will come of it, and without a quorum it would not end either. */
	if (work->claim && work->claim->basis == PH_CLAIM_COLD && ph_tombstone(slot->child))
		ph_claim_drop(hub, work->claim);
	work = slot->work;
	if (slot->local || !ph_tombstone(slot->child) || !ph_slot_owned(slot) || work->source ||
		work->target || work->claim || slot->starting)
		return;
	if (work->instance && (!mine || work->instance->spec->revision > removed))
		return;
	if (mine) {
		ph_child_end(hub, slot, removed);
	} else if (!ph_member_up(hub, &slot->entry.node->name)) {
		ph_slot_forget(hub, slot); /* who had it says so if it comes back */
		ph_out(hub, PH_ACT_CHANGED)->key = ph_slot_key(slot);
	} else if (slot->entry.revision && slot->entry.revision <= removed) {
		if (hub->now_ms >= slot->child->offered_ms + PH_PLAN_AGAIN_MS) {
			slot->child->offered_ms = hub->now_ms;
			ph_tombstone_tell(hub, slot->child, &slot->entry.node->name);
		}
		ph_plan_soon(hub, PH_PLAN_AGAIN_MS); /* the word of it may be lost, or late */
	}
}

/*
 * This node owns it, and a text that asks for fewer came while it was on its way, waited or was
 * being started: it ends wherever it stands.
 */
static void end_surplus(struct ph_hub *hub, struct ph_slot *slot)
{
	if (slot->work->move)
		ph_move_drop(hub, slot->work->move);
	if (slot->work->source)
		ph_source_step(hub, slot->work->source, PH_SOURCE_IN_CANCEL);
	if (ph_migration_decides(slot) || slot->work->target || slot->work->claim || slot->starting)
		return; /* it is looked at again when that has ended */
	struct ph_instance *instance = slot->work->instance;
	if (!instance && !slot->work->source) {
		ph_slot_release(hub, slot);
	} else if (instance && !instance->target) {
		instance->after = PH_AFTER_DISCARD;
		if (instance->state < PH_INSTANCE_STOPPING || instance->state > PH_INSTANCE_REAPING)
			ph_instance_step(hub, instance, PH_INSTANCE_IN_STOP);
	}
}

/* What no text asks for, as far as it is known here. */
static void plan_unwanted(struct ph_hub *hub, struct ph_slot *slot)
{
	bury(hub, slot);
	if (!ph_child_surplus(slot))
		return;
	if (slot->work->claim && slot->work->claim->basis == PH_CLAIM_COLD)
		ph_claim_drop(hub, slot->work->claim);
	if (ph_slot_mine(hub, slot))
		end_surplus(hub, slot);
	else if (ph_slot_owned(slot) && ph_member_up(hub, &slot->entry.node->name))
		tell_newer(hub, slot); /* it may know nothing of that text yet */
}

/* Somebody is joining right now: what is unowned waits for its verdict too. */
static bool joiners(const struct ph_hub *hub)
{
	for (struct ph_member *m = hub->members; m; m = m->hh.next)
		if (m->state == PH_MEMBER_JOINING &&
			hub->now_ms < m->first_ms + hub->set.join_timeout_ms)
			return true;
	return false;
}

void ph_plan_run(struct ph_hub *hub)
{
	struct ph_child *child, *next;
	if (hub->self_state != PH_MEMBER_ALIVE || hub->away || hub->exiting)
		return;
	ph_child_tick(hub);
	HASH_ITER (hh, hub->children, child, next)
		plan_local(hub, child);
	if (!ph_place_all(hub)) {
		ph_plan_soon(hub, 0);
		return;
	}
	bool wait = joiners(hub);
	const struct ph_child *offered = NULL;
	for (struct ph_slot *slot = ph_slot_first(hub); slot; slot = ph_slot_next(hub, slot)) {
		if (slot->work->instance && ph_slot_mine(hub, slot)) {
			ph_child_catch_up(hub, slot);
			ph_order_catch_up(hub, slot);
		}
		if (slot->local || !wanted(slot)) {
			plan_unwanted(hub, slot);
			continue;
		}
		if (!unowned(hub, slot)) {
			plan_owned(hub, slot, wait);
			continue;
		}
		if (ph_move_let_go(hub, slot) || hub->shutting)
			continue;
		child = slot->child;
		if (wait)
			ph_plan_soon(hub, hub->set.heartbeat_ms);
		else
			plan_unowned(hub, slot, child != offered);
		offered = child;
	}
	if (!wait)
		hub->planned_ms = hub->now_ms;
	/* Who is joining may be the only one that can take what is here. */
	hub->drain_planned = hub->draining && !wait;
	if (hub->draining && wait)
		ph_plan_soon(hub, hub->set.heartbeat_ms);
}

/* ---- drain ---- */

/* Ended when nothing is on its way and what is left cannot go. */
void ph_plan_drained(struct ph_hub *hub)
{
	struct ph_move *move;
	if (!hub->draining || hub->drained || !hub->drain_planned)
		return;
	for (struct ph_source *s = hub->sources; s; s = s->hh.next)
		if (s->state != PH_SOURCE_ENDED)
			return;
	for (struct ph_target *t = hub->targets; t; t = t->hh.next)
		if (t->state < PH_TARGET_ACTIVE || t->state == PH_TARGET_RELEASING)
			return; /* what comes in yet goes on from here */
	DL_FOREACH (hub->moves, move)
		if (!ph_move_stays(hub, move))
			return;
	for (struct ph_slot *slot = ph_slot_first(hub); slot; slot = ph_slot_next(hub, slot))
		if (ph_plan_movable(hub, slot) && slot->place && !slot->wish_stopped &&
			!ph_slot_done(slot) && !ph_is_self(hub, ph_slot_place(hub, slot)) &&
			!slot->work->move && slot->work->instance->state < PH_INSTANCE_HELD) {
			/* An order's migration of it failed, say: the plan gives it a move. */
			ph_plan_soon(hub, PH_PLAN_AGAIN_MS);
			return;
		}
	hub->drained = true;
	ph_registry_flush(hub); /* so that whoever hears of it knows what has moved */
	ph_member_heartbeat_now(hub);
}
