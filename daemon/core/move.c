/*
 * move.c - moves that are wanted: until they begin as migrations, and again after one that failed.
 */
#include "core/move.h"
#include "core/heal.h"
#include "core/swap.h"

#include <stdlib.h>
#include <string.h>

#define MOVE_WAIT_MS 1000	/* back-off of a failed (child, target) ... */
#define MOVE_WAIT_MAX_MS 300000 /* ... doubled up to this */
#define MOVE_BUSY_MS 200	/* the target has no slot free: asked again, doubled up to ... */
#define MOVE_BUSY_MAX_MS 5000
#define DRAIN_FAILURES 3   /* a drain leaves what has failed so often where it is */
#define HELLO_WAIT_MS 2000 /* a worker without protocol is told by its silence */

bool ph_move_known_kind(const struct ph_hub *hub, const struct ph_instance *instance)
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
	return instance && instance->state == PH_INSTANCE_RUNNING &&
	       !ph_move_known_kind(hub, instance) &&
	       hub->now_ms >= instance->closed_ms + PH_RECONNECT_MS &&
	       hub->now_ms >= move->added_ms + PH_RECONNECT_MS;
}

bool ph_move_cut_off(const struct ph_hub *hub, const struct ph_name *node)
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
	return instance->state >= PH_INSTANCE_HELD ||
	       (soon && hub->now_ms >= move->added_ms + limit);
}

/* Nothing can be moved without a journal: for too long to wait for it, a full disk, say. */
static bool unwritten(const struct ph_hub *hub, const struct ph_move *move)
{
	return !hub->set.journal_writable && hub->now_ms >= move->added_ms + PH_RECONNECT_MS;
}

bool ph_move_stays(struct ph_hub *hub, const struct ph_move *move)
{
	return move->pinned || out_of_reach(hub, move) || unwritten(hub, move) ||
	       (ph_move_cut_off(hub, &move->to) && !ph_place_reached(hub, move->slot));
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
	if (ph_move_cut_off(hub, &move->to))
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
	if (!why && ph_is_self(hub, &move->to))
		why = ph_swap_objection(hub, move->slot);
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
 * order, a drain that is ordered (again), a node that comes later; for a swap, a newer text.
 */
static void pin_cancelled(
	struct ph_hub *hub, struct ph_slot *slot, const struct ph_name *to, uint64_t revision)
{
	struct ph_move *move = ph_move_add(hub, slot, to, 0, false);
	move->pinned = move->cancelled = true;
	move->revision = revision;
	ph_reason(move->why, "%s", PH_CANCELLED);
	ph_slot_publish(hub, slot);
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
	pin_cancelled(hub, slot, &to, ph_child_text_revision(slot->child));
	ph_plan_soon(hub, 0); /* it may have stood in for the swap to a newer text */
}

static bool can_go(const struct ph_hub *hub, const struct ph_slot *slot)
{
	const struct ph_instance *instance = slot->work->instance;
	bool asks = slot->work->claim || slot->starting; /* for a higher epoch: heal.c */
	return instance && !slot->work->source && !slot->work->target && !asks &&
	       instance->state == PH_INSTANCE_RUNNING && ph_move_known_kind(hub, instance);
}

bool ph_plan_movable(struct ph_hub *hub, const struct ph_slot *slot)
{
	const struct ph_instance *instance = slot->work->instance;
	return ph_slot_mine(hub, slot) && instance && !instance->spec->local &&
	       instance->spec->swap && ph_plan_hands_over(hub, instance);
}

bool ph_plan_hands_over(const struct ph_hub *hub, const struct ph_instance *instance)
{
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
	if (ph_is_self(hub, &move->to))
		return true;
	return member && member->state == PH_MEMBER_ALIVE && !member->info.draining &&
	       (!ph_quorate(hub) || ph_quorum_has(&hub->view, &move->to));
}

/* The move cannot be any more: its child or its target went away. */
static bool pointless(struct ph_hub *hub, const struct ph_move *move)
{
	const struct ph_member *member = ph_member_find(hub, &move->to);
	if (ph_is_self(hub, &move->to))
		return !ph_slot_mine(hub, move->slot) || move->slot->wish_stopped ||
		       (move->slot->work->instance && ph_swap_objection(hub, move->slot));
	if (!ph_slot_mine(hub, move->slot) || move->slot->wish_stopped ||
		(move->slot->work->instance && !ph_plan_movable(hub, move->slot)))
		return true;
	return !member || !ph_member_live(member) || member->info.draining;
}

bool ph_move_let_go(struct ph_hub *hub, struct ph_slot *slot)
{
	struct ph_instance *instance = slot->work->instance;
	if (!(hub->draining || hub->shutting) || !instance || slot->work->source ||
		ph_instance_has_process(instance))
		return false;
	instance->after = PH_AFTER_DISCARD;
	ph_instance_step(hub, instance, PH_INSTANCE_IN_STOP);
	return true;
}

void ph_moves_room(struct ph_hub *hub)
{
	if (hub->moves)
		ph_timer_set(hub, &hub->moves_timer, hub->now_ms);
}

void ph_moves_run(struct ph_hub *hub)
{
	struct ph_move *move, *next;
	size_t under_way = ph_migrations_out(hub);
	uint64_t again = PH_NEVER_MS;
	DL_FOREACH_SAFE(hub->moves, move, next)
	{
		if (pointless(hub, move) || (!move->order && ph_move_let_go(hub, move->slot))) {
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
			if (hub->draining && ph_move_cut_off(hub, &move->to))
				ph_plan_soon(hub, PH_PLAN_AGAIN_MS); /* somewhere else, then */
		}
		uint64_t at = move->not_before_ms;
		if (at <= hub->now_ms) {
			at = hub->now_ms + MOVE_BUSY_MS;
			if (under_way < hub->set.migrations_max && can_go(hub, move->slot) &&
				target_ready(hub, move) && hub->set.journal_writable &&
				ph_lease_valid(hub) && !ph_heal_first(hub, move->slot)) {
				move->started = true;
				(void)ph_source_start(hub, move);
				under_way++;
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

void ph_moves_anew(struct ph_hub *hub, const struct ph_name *to)
{
	for (struct ph_slot *slot = ph_slot_first(hub); slot; slot = ph_slot_next(hub, slot)) {
		struct ph_move *move = slot->work->move;
		const struct ph_name *wanted = move ? &move->to : ph_slot_place(hub, slot);
		if (!slot->work->move_failures || !ph_name_equal(wanted, to))
			continue;
		struct ph_work *work = ph_slot_work(hub, slot);
		if (move && !move->cancelled && work->move_failures >= DRAIN_FAILURES &&
			!(work->instance && work->instance->never_moves))
			move->pinned = false;
		if (move && !work->busy_since_ms)
			move->not_before_ms = work->service_until_ms;
		work->move_wait_ms = 0;
		work->move_failures = 0;
	}
	ph_timer_set(hub, &hub->moves_timer, hub->now_ms);
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
	if (!s->order && ph_is_self(hub, &s->peer)) /* a swap, for a text that it has not got yet */
		return slot->child->spec &&
		       slot->child->spec->revision > slot->work->instance->spec->revision;
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
	ph_plan_soon(hub, PH_PLAN_AGAIN_MS);
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
			pin_cancelled(hub, slot, &s->peer, s->cancelled_revision);
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
