/*
 * dropped.c - a file has dropped a child: the question who declares it.
 *
 * Who declares it answers; who does not says nothing. So all that live must have had the question
 * before their silence counts, and as it may be lost on its way it is asked several times. What
 * follows from the answers is child.c's business.
 */
#include "core/state.h"

#define WAIT_MS 1000 /* for the answers */
#define ASKS 3	     /* one with each heartbeat, and all before anything is decided */
#define LINES 64     /* of one message */

void ph_dropped_ask(struct ph_hub *hub, struct ph_child *child)
{
	child->dropped = hub->asking = true;
	child->asks = 0;
	child->dropped_at_ms = hub->now_ms;
	child->dropped_among = hub->arrivals + hub->unheard;
	if (hub->started)
		ph_plan_soon(hub, 0);
}

void ph_dropped_beat(struct ph_hub *hub)
{
	struct ph_bmsg *msg = NULL;
	struct ph_spec_line *lines = NULL;
	if (!hub->asking)
		return;
	hub->asking = false;
	for (struct ph_child *child = hub->children; child; child = child->hh.next) {
		if (!child->dropped || child->own || child->asks >= ASKS)
			continue;
		if (!msg || msg->n_specs == LINES) {
			msg = ph_cast(hub, PH_B_DROPPED);
			msg->specs = lines = ph_out_alloc(hub, LINES * sizeof *lines);
		}
		lines[msg->n_specs++].child = child->name;
		child->asks++;
		hub->asking |= child->asks < ASKS;
	}
}

/* One that stands still may declare it, and is asked before its word counts for nothing. */
static bool all_have_heard(const struct ph_hub *hub, const struct ph_child *child)
{
	if (hub->now_ms >= child->dropped_at_ms + hub->set.failure_timeout_ms)
		return true;
	for (const struct ph_member *m = hub->members; m; m = m->hh.next)
		if (ph_member_live(m) && m->echo_at_ms <= child->dropped_at_ms)
			return false;
	return true;
}

bool ph_dropped_waits(struct ph_hub *hub, const struct ph_child *child)
{
	bool waits = hub->members && (hub->now_ms < child->dropped_at_ms + WAIT_MS ||
					     child->asks < ASKS || !all_have_heard(hub, child));
	if (waits)
		ph_plan_soon(hub, WAIT_MS);
	return waits;
}
