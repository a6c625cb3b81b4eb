/*
 * shutdown.c - the orderly stop: a drain first where it is wanted, then all that runs here, each
 * after what was started after it; undecided commits and last words are waited for.
 */
#include "core/after.h"
#include "core/conflict.h"
#include "core/heal.h"
#include "core/instance.h"
#include "core/member.h"

#define RELEASE_WAIT_MS 5000 /* so long for the other side's word on a child given back */
#define LOOK_MS 1
#define DRAIN_ON_STOP_MS 600000 /* so long for the drain */

/* It has to go, and may now: what was started after it has gone. */
static void stop_one(struct ph_hub *hub, struct ph_instance *i)
{
	struct ph_source *s = i->source;
	if (i->target && (i->activated || i->target->state == PH_TARGET_ACTIVATING)) {
		/* It has acknowledged nothing: A may still take the child back. */
		ph_instance_step(hub, i, PH_INSTANCE_IN_KILL);
		return;
	}
	i->after = PH_AFTER_DISCARD;
	if (i->state < PH_INSTANCE_STOPPING || i->state > PH_INSTANCE_REAPING)
		ph_instance_step(hub, i, PH_INSTANCE_IN_STOP);
	if (s && s->slot && s->state < PH_SOURCE_COMMITTING)
		ph_source_step(hub, s, PH_SOURCE_IN_CANCEL);
}

/* In their order, or, where each of them is needed by another one, all of them. */
static void stop_instances(struct ph_hub *hub, bool in_order)
{
	struct ph_instance *i, *next;
	bool waits = false, going = false;
	ph_after_look(hub);
	DL_FOREACH_SAFE(hub->instances, i, next)
	{
		bool later = in_order && ph_after_needed(i);
		going |= !later && ph_instance_has_process(i);
		if (i->source && i->source->state >= PH_SOURCE_COMMITTING &&
			i->source->state <= PH_SOURCE_FINISHING)
			continue; /* an undecided commit is waited for */
		if (i->target && i->target->state < PH_TARGET_ACTIVATING)
			continue; /* dropped below */
		if (!later) {
			stop_one(hub, i);
			continue;
		}
		i->after = PH_AFTER_DISCARD; /* should it end before */
		waits = true;
		going |= i->state >= PH_INSTANCE_STOPPING;
	}
	if (waits && !going)
		stop_instances(hub, false);
}

static void stop_all(struct ph_hub *hub)
{
	hub->stop_look_ms = hub->now_ms;
	struct ph_claim *claim, *claim_next;
	DL_FOREACH_SAFE(hub->claims, claim, claim_next)
	if (claim->basis == PH_CLAIM_COLD)
		ph_claim_drop(hub, claim);
	stop_instances(hub, !hub->hurry);
	struct ph_target *t, *t_next;
	HASH_ITER (hh, hub->targets, t, t_next)
		if (t->state < PH_TARGET_ACTIVATING)
			ph_target_step(hub, t, PH_TARGET_IN_ABORT);
}

void ph_shutdown_now(struct ph_hub *hub)
{
	hub->shutting = true;
	hub->drain_deadline_ms = 0;
	if (!hub->stopping)
		hub->stopping_ms = hub->now_ms;
	hub->stopping = true;
	stop_all(hub);
}

void ph_shutdown_start(struct ph_hub *hub)
{
	bool again = hub->shutting;
	hub->hurry = again;
	/* Who is not let in, or has nothing yet, has nobody or nothing to drain to or from. */
	bool idle =
		hub->self_state != PH_MEMBER_ALIVE && (ph_member_refused(hub) || !hub->instances);
	hub->shutting = true;
	if (!again && !idle && hub->set.drain_on_stop && hub->set.address[0]) {
		hub->draining = true;
		hub->drained = hub->drain_planned = false;
		hub->drain_deadline_ms = hub->now_ms + DRAIN_ON_STOP_MS;
		ph_target_turn_away(hub);
		ph_moves_unpin(hub);
		ph_plan_soon(hub, 0);
		ph_member_heartbeat_now(hub);
		return;
	}
	ph_shutdown_now(hub);
}

static void tell_of_the_left(struct ph_hub *hub)
{
	const struct ph_instance *i;
	unsigned n = 0;
	DL_FOREACH (hub->instances, i)
		n += i->state == PH_INSTANCE_RUNNING && !i->spec->local && i->spec->swap;
	if (n)
		ph_log(hub, PH_LOG_WARNING,
			"%u children were taken by no other node, and are stopped with their state",
			n);
}

/* A look goes over all that is left: one a moment, as many of them end in the same one. */
static bool just_looked(struct ph_hub *hub)
{
	if (!hub->instances || hub->now_ms >= hub->stop_look_ms + LOOK_MS)
		return false;
	if (!hub->stop.pos)
		ph_timer_set(hub, &hub->stop, hub->stop_look_ms + LOOK_MS);
	return true;
}

void ph_shutdown_check(struct ph_hub *hub)
{
	if (!hub->shutting || hub->exiting)
		return;
	if (!hub->stopping) {
		if (!hub->drained && hub->now_ms < hub->drain_deadline_ms)
			return;
		hub->stopping = true;
		hub->stopping_ms = hub->now_ms;
		tell_of_the_left(hub);
	}
	if (just_looked(hub))
		return;
	stop_all(hub);
	if (hub->instances || ph_conflict_merging(hub))
		return;
	/* Where another one has its name nobody tells it any more how they end. */
	for (struct ph_source *s = hub->sources; s && !ph_yield_over(hub); s = s->hh.next)
		if (s->state != PH_SOURCE_ENDED)
			return;
	if (hub->now_ms < hub->stopping_ms + RELEASE_WAIT_MS)
		for (struct ph_target *t = hub->targets; t; t = t->hh.next)
			if (t->state != PH_TARGET_ACTIVE && t->state != PH_TARGET_NEVER)
				return;
	if (hub->dirty.n || hub->migrations_version != hub->flushed_migrations)
		ph_registry_flush(hub);
	if (!hub->leaving_ms)
		hub->leaving_ms = hub->now_ms;
	if (ph_quorum_leaving(hub) || ph_member_unheard(hub))
		return;
	hub->exiting = true;
	ph_registry_journal(hub);
	ph_lease_end(hub);
	ph_grant_bequeath(hub);
	ph_member_leave(hub);
	(void)ph_out(hub, PH_ACT_EXIT);
}
