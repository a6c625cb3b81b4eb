/* migration.c - what concerns migrations of both roles: slots, the death or return of a partner. */
#include "core/conflict.h"
#include "core/heal.h"
#include "core/source.h"
#include "core/target.h"

size_t ph_migrations_in(const struct ph_hub *hub)
{
	size_t n = 0;
	for (struct ph_target *t = hub->targets; t; t = t->hh.next)
		n += t->state < PH_TARGET_PREPARED;
	return n;
}

size_t ph_migrations_out(const struct ph_hub *hub)
{
	size_t n = 0;
	for (struct ph_source *s = hub->sources; s; s = s->hh.next)
		n += s->state < PH_SOURCE_COMMITTED;
	return n;
}

void ph_target_turn_away(struct ph_hub *hub)
{
	struct ph_target *t, *next;
	HASH_ITER (hh, hub->targets, t, next) {
		if (t->state > PH_TARGET_LOADING)
			continue;
		ph_reason(t->reason, "this node is being drained");
		ph_target_step(hub, t, PH_TARGET_IN_N_REJECTED);
	}
}

void ph_target_wished(struct ph_hub *hub, struct ph_slot *slot)
{
	struct ph_instance *fresh = slot->work->instance;
	if (fresh && fresh->target && fresh->target->state == PH_TARGET_ACTIVE)
		ph_target_step(hub, fresh->target, PH_TARGET_IN_N_READY);
}

void ph_migration_left(struct ph_hub *hub, const struct ph_name *name)
{
	struct ph_source *s, *s_next;
	struct ph_target *t, *t_next;
	HASH_ITER (hh, hub->sources, s, s_next)
		if (ph_name_equal(&s->peer, name) && s->state == PH_SOURCE_ENDED)
			ph_source_free(hub, s);
	HASH_ITER (hh, hub->targets, t, t_next)
		if (ph_name_equal(&t->peer, name) && ph_target_ended(t) && !t->fresh)
			ph_target_free(hub, t);
}

/*
 * A part without a quorum decides nothing from a death that may be its own loneliness: what hangs
 * on it waits for the lease (ph_migration_peers_dead).
 */
static bool unsure(const struct ph_hub *hub, const struct ph_name *name)
{
	const struct ph_member *member = ph_member_find(hub, name);
	return !ph_lease_valid(hub) && !(member && member->state == PH_MEMBER_LEFT);
}

bool ph_migration_decides(const struct ph_slot *slot)
{
	const struct ph_source *s = slot->work->source;
	return s && s->state != PH_SOURCE_RETAINING && s->state != PH_SOURCE_STOPPING &&
	       s->state != PH_SOURCE_ENDED;
}

/* ---- a journal that is lost ---- */

void ph_lost_write(struct ph_hub *hub, bool open)
{
	struct ph_record record = {.kind = PH_RECORD_LOST, .ok = open};
	hub->lost_open = open;
	(void)ph_journal(hub, &record);
}

/*
 * Until what hung on it is settled, a daemon that is started again must know of it as well: a
 * worker that is frozen without a record is not one that never got as far.
 */
void ph_lost_settle(struct ph_hub *hub)
{
	const struct ph_instance *i;
	uint64_t limit = hub->set.join_timeout_ms + 2 * hub->set.failure_timeout_ms;
	if (!hub->lost_open || hub->self_state != PH_MEMBER_ALIVE || hub->away || hub->forgetful ||
		hub->now_ms < hub->started_ms + limit)
		return;
	for (const struct ph_source *s = hub->sources; s; s = s->hh.next)
		if (s->state != PH_SOURCE_ENDED)
			return;
	DL_FOREACH (hub->instances, i)
		if (i->adopted &&
			(i->held || (!i->connected && i->spec->ready == PH_READY_PROTOCOL)))
			return; /* it may still say what it stands in */
	ph_lost_write(hub, false);
}

void ph_migration_peers_dead(struct ph_hub *hub)
{
	for (struct ph_member *m = hub->members; m; m = m->hh.next)
		if (m->state == PH_MEMBER_DEAD)
			ph_migration_peer_dead(hub, &m->info.name);
}

void ph_migration_peer_dead(struct ph_hub *hub, const struct ph_name *name)
{
	struct ph_source *s, *s_next;
	struct ph_target *t, *t_next;
	if (unsure(hub, name))
		return;
	HASH_ITER (hh, hub->sources, s, s_next) {
		ph_source_void_ack(hub, s, name);
		if (s->slot && ph_name_equal(&s->peer, name))
			ph_source_step(hub, s, PH_SOURCE_IN_B_DEAD);
	}
	HASH_ITER (hh, hub->targets, t, t_next)
		if (ph_name_equal(&t->peer, name))
			ph_target_step(hub, t, PH_TARGET_IN_A_DEAD);
	const struct ph_member *member = ph_member_find(hub, name);
	if (member && member->state == PH_MEMBER_LEFT)
		ph_migration_left(hub, name);
}

/* What was not prepared yet ended with the source's daemon: its streams and its memory are gone. */
void ph_migration_peer_restarted(struct ph_hub *hub, const struct ph_name *name)
{
	struct ph_target *t, *next;
	ph_moves_anew(hub, name);
	HASH_ITER (hh, hub->targets, t, next) {
		if (!ph_name_equal(&t->peer, name))
			continue;
		if (t->state == PH_TARGET_CLAIMING) /* it lives, and may know how it ended */
			ph_target_step(hub, t, PH_TARGET_IN_A_BACK);
		if (t->state > PH_TARGET_SETTLING)
			continue;
		ph_reason(t->reason, "the source's daemon was restarted");
		ph_target_step(hub, t, PH_TARGET_IN_A_DEAD);
	}
}

void ph_migration_peer_back(struct ph_hub *hub, const struct ph_name *name)
{
	struct ph_target *t, *next;
	HASH_ITER (hh, hub->targets, t, next)
		if (ph_name_equal(&t->peer, name))
			ph_target_step(hub, t, PH_TARGET_IN_A_BACK);
}

void ph_migration_owned(struct ph_hub *hub, struct ph_slot *slot)
{
	struct ph_target *t = slot->work->target;
	uint64_t epoch = slot->entry.epoch;
	/* A third one: the handover ends first, so that what its old one has is not lost. */
	if (slot->work->source && epoch > slot->work->source->epoch &&
		ph_heal_early(slot->work->source) &&
		!ph_name_equal(&slot->entry.node->name, &slot->work->source->peer))
		ph_source_step(hub, slot->work->source, PH_SOURCE_IN_CANCEL);
	struct ph_source *s = slot->work->source;
	/* It may have come back while the old one of its way out is still being stopped. */
	struct ph_instance *stale =
		s && s->old == slot->work->instance ? NULL : slot->work->instance;
	if (t && epoch > t->epoch && epoch >= t->new_epoch)
		ph_target_step(hub, t, PH_TARGET_IN_OWNED);
	if (s && epoch > s->epoch) {
		bool decided = s->state >= PH_SOURCE_FINISHING && s->state <= PH_SOURCE_STOPPING;
		if (!decided)
			s->peer_active = ph_name_equal(&slot->entry.node->name, &s->peer);
		if (!decided && s->peer_active) /* by this, or after a verdict that A was dead */
			s->new_epoch = epoch;
		ph_source_step(hub, s, PH_SOURCE_IN_ACTIVE);
	}
	if (stale && stale == slot->work->instance && epoch > stale->epoch)
		ph_conflict_begin(hub, stale, &slot->entry.node->name, epoch);
}
