/*
 * plan.c - from where things are to where they should be.
 *
 * Unowned children are claimed by the node that placement names. The owner of a child moves it,
 * and nobody else: to a node that has just joined, where placement now wants it; away from itself
 * when it is drained; where an operator says. Other changes of the placement move nothing.
 */
#include "core/conflict.h"

#include <stdlib.h>
#include <string.h>

#define LOOK_AGAIN_MS 1000	/* while something is unowned */
#define ADOPT_STRAY_MS 5000	/* unowned for so long: whoever declares it claims it */
#define MOVE_WAIT_MS 1000	/* back-off of a failed (child, target) ... */
#define MOVE_WAIT_MAX_MS 300000 /* ... doubled up to this */
#define MOVE_BUSY_MS 200	/* the target has no slot free: asked again, doubled up to ... */
#define MOVE_BUSY_MAX_MS 5000
#define DRAIN_FAILURES 3   /* a drain leaves what has failed so often where it is */
#define HELLO_WAIT_MS 2000 /* a worker without protocol is told by its silence */

void ph_plan_soon(struct ph_hub *hub, uint64_t wait_ms)
{
	uint64_t at = hub->now_ms + wait_ms;
	if (!hub->plan.pos || hub->plan.at_ms > at)
		ph_timer_set(hub, &hub->plan, at);
}

/* ---- moves ---- */

/*
 * Is it known whether the worker hands over its state? One that has lost its connection (or whose
 * daemon was restarted) says hello again; one that is new may still be on its way to it.
 */
static bool known_kind(const struct ph_hub *hub, const struct ph_instance *instance)
{
	if (instance->connected || instance->spec->handover == PH_HANDOVER_NO)
		return true;
	if (instance->caps || instance->spec->ready == PH_READY_PROTOCOL)
		return false;
	return hub->now_ms >= instance->started_ms + HELLO_WAIT_MS;
}

/* It would hand over its state, but has been without a connection for too long to wait for it. */
static bool out_of_reach(const struct ph_hub *hub, const struct ph_move *move)
{
	const struct ph_instance *instance = move->slot->work->instance;
	return instance && instance->state == PH_INSTANCE_RUNNING && !known_kind(hub, instance) &&
	       hub->now_ms >= instance->closed_ms + PH_RECONNECT_MS &&
	       hub->now_ms >= move->added_ms + PH_RECONNECT_MS;
}

/* Others hear it, and this node has not for as long as a death takes: it is not waited for. */
static bool cut_off(const struct ph_hub *hub, const struct ph_name *node)
{
	const struct ph_member *member = ph_member_find(hub, node);
	return member && member->state == PH_MEMBER_SUSPECT &&
	       hub->now_ms >= member->since_ms + hub->set.failure_timeout_ms;
}

/* Nothing runs that could be moved, and it is not just being restarted. */
static bool at_rest(const struct ph_hub *hub, const struct ph_move *move)
{
	const struct ph_instance *instance = move->slot->work->instance;
	if (!instance || instance->state == PH_INSTANCE_RUNNING)
		return false;
	bool soon = instance->state < PH_INSTANCE_RUNNING || instance->state == PH_INSTANCE_BACKOFF;
	uint64_t limit = instance->spec->start_timeout_ms;
	return instance->state >= PH_INSTANCE_STOPPED ||
	       (soon && hub->now_ms >= move->added_ms + limit);
}

/* Nothing can be moved without a journal: for too long to wait for it, a full disk, say. */
static bool unwritten(const struct ph_hub *hub, const struct ph_move *move)
{
	return !hub->set.journal_writable && hub->now_ms >= move->added_ms + PH_RECONNECT_MS;
}

/* Why an order is given up before it begins, or NULL; what placement wants waits. */
static const char *hopeless(const struct ph_hub *hub, const struct ph_move *move)
{
	if (at_rest(hub, move))
		return "it is not running";
	if (out_of_reach(hub, move))
		return "its worker has no connection to hand over its state";
	if (!ph_lease_valid(hub))
		return "this node has no quorum";
	if (cut_off(hub, &move->to))
		return "the target cannot be reached from this node";
	return hub->set.journal_writable ? NULL : "the journal of this node cannot be written";
}

/* An ordered move is in the list of migrations from the start, so that it can be followed. */
static void show_waiting(struct ph_hub *hub, const struct ph_move *move, enum ph_result result)
{
	struct ph_migration_info info = {.id = move->id,
		.key = ph_slot_key(move->slot),
		.from = hub->set.node,
		.to = move->to,
		.result = result,
		.version = ++hub->migrations_version};
	const char *why = hopeless(hub, move);
	if (result == PH_RESULT_RUNNING || move->cancelled)
		why = move->why;
	ph_reason(info.reason, "%s", why ? why : "it cannot be moved any more");
	ph_history_put(hub, &info);
	if (!hub->flush.pos)
		ph_timer_set(hub, &hub->flush, hub->now_ms + PH_FLUSH_MS);
}

void ph_move_drop(struct ph_hub *hub, struct ph_move *move)
{
	if (move->order && !move->started)
		show_waiting(hub, move, PH_RESULT_ABORTED);
	ph_slot_work(hub, move->slot)->move = NULL;
	DL_DELETE(hub->moves, move);
	free(move);
}

struct ph_move *ph_move_add(struct ph_hub *hub, struct ph_slot *slot, const struct ph_name *to,
	uint64_t order, bool force)
{
	struct ph_move *old = slot->work->move;
	if (old)
		ph_move_drop(hub, old);
	struct ph_move *move = ph_must(calloc(1, sizeof *move));
	move->slot = slot;
	move->to = *to;
	move->order = order;
	move->force = force;
	move->added_ms = hub->now_ms;
	move->not_before_ms = slot->work->service_until_ms;
	move->id = ph_random_id(hub);
	ph_slot_work(hub, slot)->move = move;
	DL_APPEND(hub->moves, move);
	if (order)
		show_waiting(hub, move, PH_RESULT_RUNNING);
	if (!hub->moves_timer.pos)
		ph_timer_set(hub, &hub->moves_timer, hub->now_ms);
	return move;
}

/*
 * What an operator has cancelled stays where it is until something new speaks for its move: another
 * order, a drain that is ordered (again), a node that comes later.
 */
static void pin_cancelled(struct ph_hub *hub, struct ph_slot *slot, const struct ph_name *to)
{
	struct ph_move *move = ph_move_add(hub, slot, to, 0, false);
	move->pinned = move->cancelled = true;
	ph_reason(move->why, "%s", PH_CANCELLED);
	ph_slot_work(hub, slot)->planned_ms = hub->now_ms;
}

void ph_moves_unpin(struct ph_hub *hub)
{
	struct ph_move *move, *next;
	DL_FOREACH_SAFE(hub->moves, move, next)
	{
		if (!move->cancelled)
			continue;
		ph_move_drop(hub, move);
		hub->drained = hub->drain_planned = false;
		ph_plan_soon(hub, 0);
	}
}

void ph_move_cancel(struct ph_hub *hub, struct ph_move *move)
{
	struct ph_slot *slot = move->slot;
	struct ph_name to = move->to;
	move->cancelled = true;
	ph_reason(move->why, "%s", PH_CANCELLED);
	ph_slot_work(hub, slot)->move_attempt = 0;
	ph_slot_work(hub, slot)->busy_since_ms = 0;
	ph_move_drop(hub, move);
	pin_cancelled(hub, slot, &to);
}

static bool can_go(const struct ph_hub *hub, const struct ph_slot *slot)
{
	const struct ph_instance *instance = slot->work->instance;
	return instance && !slot->work->source && !slot->work->target &&
	       instance->state == PH_INSTANCE_RUNNING && known_kind(hub, instance);
}

bool ph_plan_movable(struct ph_hub *hub, const struct ph_slot *slot)
{
	const struct ph_instance *instance = slot->work->instance;
	if (!ph_slot_mine(hub, slot) || !instance || instance->spec->local || !instance->spec->swap)
		return false;
	/* `handover: true` refuses to swap a worker that cannot hand over. */
	if (instance->spec->handover != PH_HANDOVER_YES || (instance->caps & PH_CAP_HANDOVER))
		return true;
	if (instance->connected)
		return false;
	return instance->spec->ready == PH_READY_PROTOCOL ||
	       hub->now_ms < instance->started_ms + HELLO_WAIT_MS;
}

static bool target_ready(const struct ph_hub *hub, const struct ph_move *move)
{
	const struct ph_member *member = ph_member_find(hub, &move->to);
	return member && member->state == PH_MEMBER_ALIVE && !member->info.draining &&
	       (!ph_quorate(hub) || ph_quorum_has(&hub->view, &move->to));
}

/* The move cannot be any more: its child or its target went away. */
static bool pointless(struct ph_hub *hub, const struct ph_move *move)
{
	const struct ph_member *member = ph_member_find(hub, &move->to);
	if (!ph_slot_mine(hub, move->slot) || move->slot->wish_stopped ||
		(move->slot->work->instance && !ph_plan_movable(hub, move->slot)))
		return true;
	return !member || !ph_member_live(member) || member->info.draining;
}

/* It does not run, so there is no state to carry: whoever is next in line starts it afresh. */
static bool let_go(struct ph_hub *hub, struct ph_slot *slot)
{
	struct ph_instance *instance = slot->work->instance;
	if (!(hub->draining || hub->shutting) || !instance || slot->work->source ||
		ph_instance_has_process(instance))
		return false;
	instance->after = PH_AFTER_DISCARD;
	ph_instance_step(hub, instance, PH_INSTANCE_IN_STOP);
	return true;
}

void ph_moves_run(struct ph_hub *hub)
{
	struct ph_move *move, *next;
	uint64_t again = PH_NEVER_MS;
	DL_FOREACH_SAFE(hub->moves, move, next)
	{
		if (pointless(hub, move) || (!move->order && let_go(hub, move->slot))) {
			ph_move_drop(hub, move);
			ph_plan_soon(hub, 0);
			continue;
		}
		if (move->pinned)
			continue;
		const char *why = hopeless(hub, move);
		if (why) {
			ph_reason(move->why, "%s", why);
			if (move->order) {
				ph_move_drop(hub, move);
				continue;
			}
			if (hub->draining && cut_off(hub, &move->to))
				ph_plan_soon(hub, LOOK_AGAIN_MS); /* somewhere else, then */
		}
		uint64_t at = move->not_before_ms;
		if (at <= hub->now_ms) {
			at = hub->now_ms + MOVE_BUSY_MS;
			if (can_go(hub, move->slot) && target_ready(hub, move) &&
				hub->set.journal_writable && ph_lease_valid(hub) &&
				ph_migrations_out(hub) < hub->set.migrations_max) {
				move->started = true;
				(void)ph_source_start(hub, move);
				ph_move_drop(hub, move);
				continue;
			}
		}
		if (at < again)
			again = at;
	}
	ph_timer_set(hub, &hub->moves_timer, again);
}

/* ---- after a migration ---- */

static uint64_t next_wait(struct ph_hub *hub, struct ph_source *s)
{
	struct ph_slot *slot = s->slot;
	const struct ph_member *member = ph_member_find(hub, &s->peer);
	if (slot->work->move_attempt != s->attempt) { /* a downtime budget was missed */
		ph_slot_work(hub, slot)->service_until_ms = hub->now_ms + PH_SERVICE_MS;
		return PH_SERVICE_MS;
	}
	if (s->busy && member && !s->refused) { /* the target said so: it has no slot free */
		uint64_t again =
			slot->work->move_wait_ms ? slot->work->move_wait_ms * 2 : MOVE_BUSY_MS;
		ph_slot_work(hub, slot)->move_wait_ms =
			again > MOVE_BUSY_MAX_MS ? MOVE_BUSY_MAX_MS : again;
		return ph_jitter(hub, slot->work->move_wait_ms, 10);
	}
	uint64_t least = s->retry_after_ms > MOVE_WAIT_MS ? s->retry_after_ms : MOVE_WAIT_MS;
	uint64_t wait = slot->work->move_wait_ms * 2 < MOVE_WAIT_MAX_MS
				? slot->work->move_wait_ms * 2
				: MOVE_WAIT_MAX_MS;
	ph_slot_work(hub, slot)->move_wait_ms = wait = wait > least ? wait : least;
	/* A busy worker is asked once more when its time is over, and not before it said. */
	if (s->busy && slot->work->busy_since_ms && slot->work->instance) {
		uint64_t end = slot->work->busy_since_ms + slot->work->instance->spec->defer_max_ms;
		if (hub->now_ms < end && hub->now_ms + wait > end)
			wait = end - hub->now_ms > least ? end - hub->now_ms : least;
	}
	return wait + ph_random(hub) % (wait / 10 + 1);
}

static bool starts(const char *reason, const char *mark)
{
	return strncmp(reason, mark, strlen(mark)) == 0;
}

bool ph_plan_tried_again(const char *reason)
{
	return starts(reason, PH_BUSY) || starts(reason, PH_AGAIN);
}

bool ph_plan_busy_for_good(struct ph_hub *hub, struct ph_source *s)
{
	if (!s->busy || !s->old)
		return false;
	if (!s->slot->work->busy_since_ms)
		ph_slot_work(hub, s->slot)->busy_since_ms = hub->now_ms;
	return hub->now_ms >= s->slot->work->busy_since_ms + s->old->spec->defer_max_ms;
}

/* An operator's order is tried once, but a busy worker asked again, and more time given. */
static bool moved_again(const struct ph_hub *hub, const struct ph_source *s)
{
	const struct ph_slot *slot = s->slot;
	if (!slot->work->instance || !ph_slot_mine(hub, slot) || slot->wish_stopped ||
		hub->exiting || s->cancelled || strcmp(s->info.reason, "cancelled") == 0)
		return false;
	return !s->order || ph_plan_tried_again(s->info.reason);
}

void ph_plan_last_word(const struct ph_hub *hub, struct ph_source *s)
{
	static const char *const marks[] = {PH_BUSY, PH_AGAIN};
	if (!s->order || moved_again(hub, s))
		return;
	for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
		char *at = s->info.reason;
		if (starts(at, marks[i]))
			memmove(at, at + strlen(marks[i]), strlen(at + strlen(marks[i])) + 1);
	}
}

void ph_plan_migrated(struct ph_hub *hub, struct ph_source *s)
{
	struct ph_slot *slot = s->slot;
	/* Is it owned then, by one who lives, and where it belongs? */
	ph_plan_soon(hub, LOOK_AGAIN_MS);
	if (s->info.result == PH_RESULT_DONE) {
		struct ph_work *work = ph_slot_work(hub, slot);
		work->move_wait_ms = work->busy_since_ms = 0;
		work->move_attempt = work->move_failures = 0;
		ph_timer_set(hub, &hub->moves_timer, hub->now_ms);
		return;
	}
	ph_timer_set(hub, &hub->moves_timer, hub->now_ms);
	if (!moved_again(hub, s)) {
		ph_slot_work(hub, slot)->move_attempt = 0; /* the next order has its own */
		if (s->cancelled)
			ph_slot_work(hub, slot)->busy_since_ms = 0;
		if (s->cancelled && slot->work->instance && ph_slot_mine(hub, slot))
			pin_cancelled(hub, slot, &s->peer);
		return;
	}
	bool given_up = s->busy && !starts(s->info.reason, PH_BUSY);
	struct ph_move *move = ph_move_add(hub, slot, &s->peer, s->order, s->force);
	ph_slot_work(hub, slot)->move_failures += !s->busy;
	move->pinned = s->never || given_up ||
		       (!s->order && hub->draining && slot->work->move_failures >= DRAIN_FAILURES);
	ph_reason(move->why, "%s", s->info.reason);
	move->not_before_ms = hub->now_ms + next_wait(hub, s);
	if (!s->busy || given_up)
		ph_slot_work(hub, slot)->busy_since_ms = 0;
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
	if (child->own && hub->now_ms >= child->offered_ms + LOOK_AGAIN_MS &&
		ph_child_settle(hub, child))
		tell_spec(hub, child, ph_slot_place(hub, slot));
}

/* Its text changed here while it was on its way to its owner, who may know nothing of that. */
static void tell_newer(struct ph_hub *hub, struct ph_slot *slot)
{
	struct ph_child *child = slot->child;
	const struct ph_held *e = &slot->entry;
	if (!child->spec || child->spec->revision <= e->revision || !e->revision ||
		e->state != PH_CHILD_RUNNING)
		return;
	if (hub->now_ms >= child->offered_ms + LOOK_AGAIN_MS)
		tell_spec(hub, child, &e->node->name);
	ph_plan_soon(hub, LOOK_AGAIN_MS);
}

/* Nobody owns it: claimed here where placement says so, else offered to whom it names. */
static void plan_unowned(struct ph_hub *hub, struct ph_slot *slot, bool first_of_child)
{
	const struct ph_child *child = slot->child;
	if (slot->work->claim || slot->work->target || slot->work->source || slot->starting ||
		ph_slot_busy(slot)) { /* one adopted and about to say what it is */
		ph_plan_soon(hub, LOOK_AGAIN_MS);
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
	bool stray = child->own && slot->place && hub->now_ms >= placed_ms + ADOPT_STRAY_MS &&
		     ph_place_allows(hub, ph_child_spec(child), &hub->set.node);
	if (mine || (stray && !hub->draining)) {
		(void)ph_claim_start(hub, slot, PH_CLAIM_COLD, &hub->set.node, NULL, 0);
		return;
	}
	/* Others hold this node for its owner, as it was before a restart, and claim nothing. */
	if (ph_slot_mine(hub, slot))
		ph_slot_release(hub, slot);
	if (slot->place && first_of_child &&
		hub->now_ms >= ph_slot_unowned_ms(slot) + LOOK_AGAIN_MS / 2)
		offer_spec(hub, slot);
	ph_plan_soon(hub, LOOK_AGAIN_MS);
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
	if (!hub->draining || !cut_off(hub, ph_slot_place(hub, slot)))
		return ph_slot_place(hub, slot);
	const struct ph_name *other = ph_place_reached(hub, slot);
	return other ? other : ph_slot_place(hub, slot);
}

static void plan_own(struct ph_hub *hub, struct ph_slot *slot)
{
	const struct ph_name *to = drain_to(hub, slot);
	if (!to->s[0] || ph_is_self(hub, to) || slot->wish_stopped)
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
	if (move && (move->order || ph_name_equal(&move->to, to) || move->pinned))
		return;
	move = ph_move_add(hub, slot, to, 0, hub->draining && hub->drain_force);
	const char *never = slot->work->instance->never_why;
	move->pinned = never[0] && !move->force;
	if (move->pinned)
		ph_reason(move->why, "%s", never);
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
	const struct ph_spec *spec = child->own ? ph_child_settle(hub, child) : NULL;
	if (!spec || !spec->local)
		return;
	for (uint32_t i = 0; i < spec->instances; i++) {
		struct ph_key key = {.child = child->name, .instance = i};
		struct ph_slot *slot = ph_slot_get(hub, &key, &hub->set.node);
		if (!slot->work->instance && !hub->shutting)
			ph_own_start(hub, slot, ph_next_epoch(hub, slot), PH_LINEAGE_COLD);
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
	}
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
		if (slot->work->instance && ph_slot_mine(hub, slot))
			ph_child_catch_up(hub, slot);
		if (slot->local || !wanted(slot)) {
			bury(hub, slot);
			continue;
		}
		if (!unowned(hub, slot)) {
			plan_owned(hub, slot, wait);
			continue;
		}
		if (let_go(hub, slot) || hub->shutting)
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
		if (!move->pinned && !out_of_reach(hub, move) && !unwritten(hub, move) &&
			!(cut_off(hub, &move->to) && !ph_place_reached(hub, move->slot)))
			return;
	for (struct ph_slot *slot = ph_slot_first(hub); slot; slot = ph_slot_next(hub, slot))
		if (ph_plan_movable(hub, slot) && slot->place && !slot->wish_stopped &&
			!ph_is_self(hub, ph_slot_place(hub, slot)) && !slot->work->move &&
			slot->work->instance->state < PH_INSTANCE_STOPPED) {
			/* An order's migration of it failed, say: the plan gives it a move. */
			ph_plan_soon(hub, LOOK_AGAIN_MS);
			return;
		}
	hub->drained = true;
	ph_registry_flush(hub); /* so that whoever hears of it knows what has moved */
	ph_member_heartbeat_now(hub);
}
