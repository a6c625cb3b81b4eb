/*
 * due.c - a deadline has come: whose it is, and whether it may count yet.
 *
 * A node whose loop stood still finds its deadlines passed, and in its queues what would have come
 * in time; one that was away does not know what the others have decided meanwhile. Such a deadline
 * is looked at again a heartbeat later; that of a worker's silence a moment later, however short
 * the standstill was. Tested by tests/unit/test_core_away.c.
 */
#include "core/conflict.h"
#include "core/instance.h"
#include "core/member.h"

#define LATE_BEATS 3 /* a deadline that is looked at so many heartbeat_ms after it */
#define LATE_MS 5    /* or so late, where it is a worker's silence ... */
#define MOMENT_MS 50 /* ... and then so much later: all sockets are looked at once more */

/* Until its registry is in step again, a node that was away acts on no deadline of these. */
static bool held_back(const struct ph_hub *hub, const struct ph_timer *timer)
{
	static const bool decides[PH_TIMER_COUNT] = {
		[PH_TIMER_SOURCE] = true,
		[PH_TIMER_TARGET] = true,
		[PH_TIMER_CLAIM] = true,
		[PH_TIMER_MOVES] = true,
		[PH_TIMER_PLAN] = true,
	};
	return decides[timer->kind] && (hub->away || hub->bus_down);
}

/*
 * It is looked at so late that this node's loop stood still: what would have come in time, a
 * worker's READY, an answer, waits in a queue, and goes first.
 */
static bool overslept(const struct ph_hub *hub, const struct ph_timer *timer)
{
	static const bool judges[PH_TIMER_COUNT] = {
		[PH_TIMER_INSTANCE] = true,
		[PH_TIMER_SOURCE] = true,
		[PH_TIMER_TARGET] = true,
		[PH_TIMER_CLAIM] = true,
		[PH_TIMER_ORDER] = true,
		[PH_TIMER_STIR] = true,
		[PH_TIMER_CONFLICT] = true,
	};
	bool slept = judges[timer->kind] && timer->at_ms &&
		     hub->now_ms >= timer->at_ms + LATE_BEATS * hub->set.heartbeat_ms;
	if (slept && timer->kind == PH_TIMER_INSTANCE)
		((struct ph_instance *)timer->owner)->excused = true;
	return slept;
}

/*
 * A worker is not ended for its silence before the loop has gone round once more: a standstill that
 * is none of the above is long enough for a word that has come in time to wait behind the deadline.
 */
static bool excused(const struct ph_hub *hub, const struct ph_timer *timer)
{
	if (timer->kind != PH_TIMER_INSTANCE)
		return false;
	struct ph_instance *instance = timer->owner;
	bool silent = instance->state == PH_INSTANCE_STARTING ||
		      instance->state == PH_INSTANCE_STANDING ||
		      instance->state == PH_INSTANCE_RUNNING;
	bool late = timer->at_ms && hub->now_ms >= timer->at_ms + LATE_MS;
	instance->excused = silent && late && !instance->excused;
	return instance->excused;
}

void ph_due_run(struct ph_hub *hub, struct ph_timer *timer)
{
	if (held_back(hub, timer) || overslept(hub, timer)) {
		ph_timer_set(hub, timer, hub->now_ms + hub->set.heartbeat_ms);
		return;
	}
	if (excused(hub, timer)) {
		ph_timer_set(hub, timer, hub->now_ms + MOMENT_MS);
		return;
	}
	switch (timer->kind) {
	case PH_TIMER_HEARTBEAT:
		ph_member_beat(hub);
		break;
	case PH_TIMER_HELLO:
		ph_member_hello(hub);
		break;
	case PH_TIMER_PLAN:
		ph_plan_run(hub);
		break;
	case PH_TIMER_FLUSH:
		hub->flush_now = true;
		break;
	case PH_TIMER_INSTANCE:
		ph_instance_step(hub, timer->owner, PH_INSTANCE_IN_DEADLINE);
		break;
	case PH_TIMER_SOURCE:
		ph_source_deadline(hub, timer->owner);
		break;
	case PH_TIMER_TARGET:
		ph_target_deadline(hub, timer->owner);
		break;
	case PH_TIMER_CLAIM:
		ph_claim_deadline(hub, timer->owner);
		break;
	case PH_TIMER_MOVES:
		ph_moves_run(hub);
		break;
	case PH_TIMER_EXCHANGE:
		ph_exchange_run(hub);
		break;
	case PH_TIMER_ORDER:
		ph_order_deadline(hub, timer->owner);
		break;
	case PH_TIMER_STIR:
		ph_order_stirred(hub);
		break;
	case PH_TIMER_CONFLICT:
		ph_conflict_step(hub, timer->owner, PH_CONFLICT_IN_DEADLINE);
		break;
	case PH_TIMER_STOP: /* what it is for is looked at after every step */
	case PH_TIMER_COUNT:
		break;
	}
}
