/*
 * yield.c - giving way to another node of the same name, or of the same slot.
 *
 * Whoever is refused, because another one lives that has its name or slot, owns nothing: what it
 * still runs was taken over when it was held for dead, or will be. It is given the time in which a
 * first one that does not live any more is found dead; then its workers that others may take over
 * are stopped, as those of a node whose lease is over. One that had joined, or that somebody holds
 * for a member, stops as a whole, and says so: they may let the other one in. Where each of two is
 * refused by those that hold the other, one is the first to lose patience.
 */
#include "core/member.h"

#define PATIENCE_TIMEOUTS 2 /* failure_timeouts */
#define GAP_MS 5000	    /* no refusal for so long: it is over */

void ph_yield_refused(struct ph_hub *hub)
{
	uint64_t limit = PATIENCE_TIMEOUTS * hub->set.failure_timeout_ms;
	if (!hub->yield_at_ms)
		hub->yield_at_ms =
			hub->now_ms + limit + ph_random(hub) % (hub->set.failure_timeout_ms + 1);
	hub->name_refused_ms = hub->now_ms;
}

static void stop_workers(struct ph_hub *hub)
{
	struct ph_instance *i;
	unsigned n = 0;
	DL_FOREACH (hub->instances, i) {
		if (i->spec->local || !ph_instance_has_process(i) ||
			i->state >= PH_INSTANCE_STOPPING)
			continue;
		ph_instance_step(hub, i, PH_INSTANCE_IN_STOP);
		if (i->after == PH_AFTER_POLICY || i->after == PH_AFTER_AGAIN ||
			i->after == PH_AFTER_GROUP)
			i->after = PH_AFTER_CLAIM;
		n++;
	}
	if (n)
		ph_log(hub, PH_LOG_ERROR,
			"another node has the name or the slot of this one: %u workers are stopped",
			n);
}

/* Does anybody hold this one for the member of its name? Then that one must be told. */
static bool is_held(const struct ph_hub *hub)
{
	for (const struct ph_member *m = hub->members; m; m = m->hh.next)
		if (ph_member_live(m) && m->echoed &&
			hub->now_ms < m->echo_at_ms + hub->set.failure_timeout_ms)
			return true;
	return false;
}

bool ph_yield_over(const struct ph_hub *hub)
{
	/* With such a lease it is the one that a quorum hears. */
	return hub->yield_at_ms && hub->now_ms >= hub->yield_at_ms &&
	       hub->now_ms < hub->name_refused_ms + GAP_MS && !ph_lease_alone(hub);
}

void ph_yield_beat(struct ph_hub *hub)
{
	if (!hub->yield_at_ms)
		return;
	if (hub->now_ms >= hub->name_refused_ms + GAP_MS) {
		hub->yield_at_ms = 0;
		return;
	}
	if (hub->stopping || !ph_yield_over(hub)) /* that it drains helps nobody */
		return;
	if (hub->self_state != PH_MEMBER_ALIVE && !is_held(hub)) {
		stop_workers(hub);
		return;
	}
	ph_log(hub, PH_LOG_ERROR,
		"another node has the name or the slot of this one, which gives way and ends");
	ph_shutdown_now(hub);
}
