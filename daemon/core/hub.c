/* hub.c - one step: the event is given to whom it concerns, due timers are run, actions go out. */
#include "core/after.h"
#include "core/group.h"
#include "core/conflict.h"
#include "core/heal.h"
#include "core/instance.h"
#include "core/member.h"
#include "core/settled.h"
#include "core/swap.h"

#include <stdlib.h>
#include <string.h>

#define TIMERS_A_STEP 20000 /* due timers that one step runs */

/* ---- birth and death ---- */

static const char *const *copy_of(const char *const *list, size_t n)
{
	char **copy = list ? ph_must(calloc(n + 1, sizeof(char *))) : NULL;
	for (size_t i = 0; list && i < n; i++)
		copy[i] = ph_must(strdup(list[i]));
	return (const char *const *)copy;
}

static void free_copy(const char *const *list)
{
	for (size_t i = 0; list && list[i]; i++)
		free((void *)(uintptr_t)list[i]);
	free((void *)(uintptr_t)list);
}

static void take_peers(struct ph_hub *hub, const struct ph_peers *peers)
{
	free_copy(hub->set.peers);
	free_copy(hub->set.peers_at);
	hub->set.n_peers = peers->n;
	hub->set.peers = copy_of(peers->texts, peers->n);
	hub->set.peers_at = copy_of(peers->addresses, peers->n);
}

struct ph_hub *ph_hub_new(const struct ph_settings *settings)
{
	struct ph_hub *hub = calloc(1, sizeof *hub);
	if (!hub)
		return NULL;
	hub->set = *settings;
	hub->set.labels = settings->labels ? ph_must(strdup(settings->labels)) : NULL;
	hub->set.peers = hub->set.peers_at = NULL;
	take_peers(hub, &(struct ph_peers){settings->n_peers, settings->peers, settings->peers_at});
	hub->rng[0] = ph_mix64(settings->seed + 1);
	hub->rng[1] = ph_mix64(settings->seed ^ PH_HASH_SEED) | 1;
	hub->done_orders = ph_must(calloc(PH_DONE_ORDERS, sizeof *hub->done_orders));
	hub->digest = PH_HASH_SEED;
	ph_slots_init(hub);
	ph_places_init(hub);
	hub->mine_version = UINT64_MAX;
	hub->beat_ms = settings->heartbeat_ms;
	hub->beat.kind = PH_TIMER_HEARTBEAT;
	hub->hello.kind = PH_TIMER_HELLO;
	hub->plan.kind = PH_TIMER_PLAN;
	hub->flush.kind = PH_TIMER_FLUSH;
	hub->moves_timer.kind = PH_TIMER_MOVES;
	hub->exchange.kind = PH_TIMER_EXCHANGE;
	hub->stir.kind = PH_TIMER_STIR;
	hub->stop.kind = PH_TIMER_STOP;
	hub->self_state = PH_MEMBER_UNKNOWN;
	/* Numbers of two lives of this node differ, so that a late answer finds nobody. */
	hub->numbers = (settings->incarnation & 0xffffff) << 24;
	return hub;
}

static void free_members(struct ph_hub *hub)
{
	struct ph_member *m, *next;
	HASH_ITER (hh, hub->members, m, next) {
		HASH_DEL(hub->members, m);
		free((void *)(uintptr_t)m->info.labels);
		free(m->reports);
		free(m);
	}
	ph_join_free(hub);
	ph_tomb_free(hub);
}

static void free_work(struct ph_hub *hub)
{
	struct ph_source *s, *s_next;
	struct ph_target *t, *t_next;
	struct ph_wait *w, *w_next;
	struct ph_claim *c, *c_next;
	struct ph_move *v, *v_next;
	struct ph_order *o, *o_next;
	struct ph_history *h, *h_next;
	HASH_ITER (hh, hub->sources, s, s_next) {
		HASH_DEL(hub->sources, s);
		free(s->void_wait);
		free(s);
	}
	HASH_ITER (hh, hub->targets, t, t_next) {
		HASH_DEL(hub->targets, t);
		free(t);
	}
	HASH_ITER (hh, hub->waits, w, w_next) {
		HASH_DEL(hub->waits, w);
		free(w->lines);
		free(w);
	}
	DL_FOREACH_SAFE(hub->claims, c, c_next)
	{
		free(c->wait);
		free(c);
	}
	struct ph_conflict *k, *k_next;
	DL_FOREACH_SAFE(hub->conflicts, k, k_next)
	free(k);
	DL_FOREACH_SAFE(hub->moves, v, v_next)
	free(v);
	DL_FOREACH_SAFE(hub->orders, o, o_next)
	{
		free(o->lines);
		free(o);
	}
	HASH_CLEAR(hh, hub->history_by_id);
	DL_FOREACH_SAFE(hub->history, h, h_next)
	free(h);
}

static void free_children(struct ph_hub *hub)
{
	struct ph_instance *i, *i_next;
	struct ph_child *child, *child_next;
	HASH_CLEAR(hh, hub->by_wid);
	DL_FOREACH_SAFE(hub->instances, i, i_next)
	{
		ph_spec_free(i->spec);
		free(i->meta);
		ph_instance_free_owned(i);
		free(i);
	}
	ph_slots_free(hub);
	ph_places_free(hub);
	ph_slot_list_clear(&hub->grants);
	ph_slot_list_clear(&hub->dirty);
	ph_slot_list_clear(&hub->seen_dirty);
	HASH_ITER (hh, hub->children, child, child_next) {
		HASH_DEL(hub->children, child);
		ph_spec_free(child->spec);
		ph_spec_free(child->own);
		free(child->unfit);
		free(child);
	}
}

void ph_hub_free(struct ph_hub *hub)
{
	if (!hub)
		return;
	free_work(hub);
	free_children(hub);
	free_members(hub);
	ph_group_free(hub);
	free(hub->by_name);
	free(hub->free_nos);
	free(hub->wanted);
	ph_roll_free(hub);
	ph_quorum_free(hub);
	ph_out_free(hub);
	free_copy(hub->set.peers);
	free_copy(hub->set.peers_at);
	free((void *)(uintptr_t)hub->set.labels);
	free(hub->done_orders);
	ph_swap_free(hub);
	ph_settled_free(hub);
	free(hub);
}

/* ---- journal tickets ---- */

struct ph_wait *ph_wait_add(struct ph_hub *hub, uint64_t ticket, enum ph_wait_kind kind)
{
	struct ph_wait *wait = ph_must(calloc(1, sizeof *wait));
	wait->ticket = ticket;
	wait->kind = kind;
	HASH_ADD(hh, hub->waits, ticket, sizeof wait->ticket, wait);
	return wait;
}

/* The epoch of a claim is synced: the key is ours and its worker may be started. */
static void own_now(struct ph_hub *hub, const struct ph_wait *wait)
{
	struct ph_slot *slot = wait->slot;
	uint64_t epoch = wait->epoch;
	struct ph_child *child = slot->child;
	const struct ph_spec *spec = child ? ph_child_settle(hub, child) : NULL;
	bool overtaken = slot->entered && slot->entry.epoch > epoch;
	if (spec && !spec->local && !ph_lease_valid(hub))
		return; /* the plan asks again when there is one */
	if (!spec || ph_child_surplus(slot))
		ph_plan_soon(hub, 0); /* it was removed meanwhile: what is left of it goes */
	if (!spec || ph_child_surplus(slot) || overtaken || ph_slot_busy(slot) ||
		slot->work->target || ph_migration_decides(slot) || hub->shutting)
		return;
	struct ph_instance *back =
		slot->work->instance ? NULL : ph_conflict_give_back(hub, slot, epoch);
	struct ph_past past = ph_slot_past(slot);
	ph_past_join(&past, &wait->past);
	ph_slot_own(hub, slot, epoch, back ? back->lineage : wait->lineage);
	if (back) {
		ph_slot_publish(hub, slot);
		ph_plan_soon(hub, 0); /* its text may have changed while it was no owner's */
		return;
	}
	if (!slot->work->instance)
		ph_slot_work(hub, slot)->instance =
			ph_instance_new(hub, slot, spec, PH_ROLE_ACTIVE, epoch);
	slot->work->instance->epoch = epoch;
	/* Elsewhere, perhaps: an order starts it again, or another text. */
	bool done = past.done && spec->revision <= past.revision;
	if (done) {
		slot->work->instance->exit = past.exit;
		slot->work->instance->restarts = past.restarts;
	}
	ph_instance_step(hub, slot->work->instance,
		slot->wish_stopped || done ? PH_INSTANCE_IN_STOP : PH_INSTANCE_IN_START);
	ph_slot_publish(hub, slot);
	ph_plan_soon(hub, hub->set.settle_ms); /* somebody may have come while it was asked for */
}

void ph_own_start(struct ph_hub *hub, struct ph_slot *slot, uint64_t epoch, enum ph_lineage lineage,
	const struct ph_past *past)
{
	ph_slot_seen(hub, slot, epoch);
	struct ph_record record = ph_slot_record(slot);
	if (slot->starting || ph_migration_decides(slot))
		return;
	slot->starting = true;
	struct ph_wait *wait = ph_wait_add(hub, ph_journal(hub, &record), PH_WAIT_START);
	wait->slot = slot;
	wait->epoch = epoch;
	wait->lineage = lineage;
	if (past)
		wait->past = *past;
}

static void on_journalled(struct ph_hub *hub, const struct ph_event *event)
{
	struct ph_wait *wait;
	if (event->error && hub->set.journal_writable) {
		hub->set.journal_writable = false;
		ph_emit(hub, PH_EMIT_JOURNAL_FAILED, NULL)->text = ph_out_text(hub, event->text);
	}
	HASH_FIND(hh, hub->waits, &event->ticket, sizeof event->ticket, wait);
	if (!wait)
		return;
	HASH_DEL(hub->waits, wait);
	if (wait->kind == PH_WAIT_START) {
		/* A child is started even where its epoch cannot be kept: supervision goes on. */
		wait->slot->starting = false;
		if (!event->error || !ph_quorate(hub))
			own_now(hub, wait);
	} else if (wait->kind == PH_WAIT_CLAIM || wait->kind == PH_WAIT_GRANT) {
		ph_grant_synced(hub, wait, !event->error);
	} else if (wait->kind == PH_WAIT_BALLOT) {
		ph_ballot_synced(hub, wait, !event->error);
	} else if (wait->kind == PH_WAIT_ADDED) {
		ph_added_synced(hub, wait->number, !event->error);
	} else if (wait->kind == PH_WAIT_HEAL) {
		wait->slot->starting = false;
		ph_heal_own(hub, wait->slot, wait->epoch);
	} else if (wait->kind == PH_WAIT_SOURCE) {
		struct ph_source *s;
		HASH_FIND(hh, hub->sources, wait->id.b, sizeof wait->id.b, s);
		if (s && s->ticket_no == wait->ticket)
			ph_source_step(
				hub, s, event->error ? PH_SOURCE_IN_UNSYNCED : PH_SOURCE_IN_SYNCED);
	} else {
		struct ph_target *t;
		HASH_FIND(hh, hub->targets, wait->id.b, sizeof wait->id.b, t);
		if (t && t->ticket_no == wait->ticket)
			ph_target_step(
				hub, t, event->error ? PH_TARGET_IN_UNSYNCED : PH_TARGET_IN_SYNCED);
	}
	free(wait);
}

static void on_journal_back(struct ph_hub *hub, const struct ph_event *event)
{
	hub->set.journal = event->id;
	hub->set.journal_writable = true;
	ph_timer_set(hub, &hub->moves_timer, hub->now_ms);
}

/* ---- start ---- */

static void restore_seen(struct ph_hub *hub, const struct ph_record *record)
{
	struct ph_slot *slot =
		ph_slot_get(hub, &record->key, record->peer.s[0] ? &record->peer : NULL);
	/* It stands in the journal already. */
	slot->seen = record->epoch > slot->seen ? record->epoch : slot->seen;
	slot->restored = true;
	slot->born_ms = record->born_ms;
	slot->wish_stopped = record->stopped_by_wish;
	slot->wishes = (uint16_t)(record->wishes < UINT16_MAX ? record->wishes : UINT16_MAX);
	if (slot->work->forced != record->forced)
		ph_slot_work(hub, slot)->forced = record->forced;
	ph_grant_restore(hub, record);
}

static void on_restored(struct ph_hub *hub, const struct ph_event *event)
{
	const struct ph_record *record = event->record;
	struct ph_child *child;
	switch (record->kind) {
	case PH_RECORD_SEEN:
		restore_seen(hub, record);
		break;
	case PH_RECORD_VIEW:
	case PH_RECORD_BALLOT:
		ph_quorum_restore(hub, record);
		break;
	case PH_RECORD_SPEC:
		child = ph_child_get(hub, &record->key.child);
		if (record->spec)
			ph_child_in_force(hub, child, record->spec, record->revision, false);
		else if (!record->text)
			ph_child_forget(hub, child, record->revision);
		break;
	case PH_RECORD_DECLARED:
		child = ph_child_get(hub, &record->key.child);
		child->declared_hash = record->hash;
		child->declared_revision = record->revision;
		child->declarer = record->peer;
		break;
	case PH_RECORD_LOST: /* and this daemon's predecessor died before that was settled */
		hub->set.journal_lost |= record->ok;
		break;
	case PH_RECORD_DRAINING:
		hub->draining = hub->drain_wish = record->ok;
		break;
	case PH_RECORD_CLASHED:
		ph_renumber_restore(hub, record);
		break;
	case PH_RECORD_FORGOTTEN:
		ph_tomb_restore(hub, record);
		break;
	case PH_RECORD_BEGUN:
	case PH_RECORD_FINAL:
	case PH_RECORD_VOID:
	case PH_RECORD_COMMIT:
	case PH_RECORD_DONE:
	case PH_RECORD_PREPARED:
	case PH_RECORD_ACTIVE:
	case PH_RECORD_NEVER:
	case PH_RECORD_FORGET:
		ph_settled_restore(hub, record);
		ph_source_restore(hub, record);
		ph_target_restore(hub, record);
		break;
	case PH_RECORD_CONFLICT:
		ph_conflict_restore(hub, record);
		break;
	case PH_RECORD_NONE:
	case PH_RECORD_COUNT:
		break;
	}
}

/*
 * Workers that no record speaks of. One that was started as the new one of a handover may have been
 * activated since: its own hello says so, and is waited for. The others were never prepared.
 */
static void end_strays(struct ph_hub *hub)
{
	struct ph_instance *i, *next;
	DL_FOREACH_SAFE(hub->instances, i, next)
	{
		if (i->source || i->target || i->slot->work->instance == i)
			continue;
		if (i->state == PH_INSTANCE_STANDING && !i->slot->work->instance) {
			ph_slot_work(hub, i->slot)->instance = i;
			ph_instance_arm(hub, i);
			continue;
		}
		i->after = PH_AFTER_DISCARD;
		ph_instance_step(hub, i, PH_INSTANCE_IN_STOP);
	}
}

/* A text that changed while this daemon was away makes a new revision where it owns the child. */
static void on_start(struct ph_hub *hub)
{
	hub->started = true;
	if (hub->set.journal_lost)
		ph_lost_write(hub, true);
	ph_quorum_start(hub);
	ph_source_restart(hub);
	ph_target_restart(hub);
	end_strays(hub);
	ph_settled_free(hub);
	ph_child_redeclare(hub);
	ph_member_start(hub);
}

static void on_peers(struct ph_hub *hub, const struct ph_event *event)
{
	take_peers(hub, event->peers);
	ph_member_peers(hub);
}

static void on_stream(struct ph_hub *hub, const struct ph_event *event)
{
	struct ph_source *s;
	struct ph_target *t;
	const struct ph_id *id = &event->stream->id;
	HASH_FIND(hh, hub->sources, id->b, sizeof id->b, s);
	HASH_FIND(hh, hub->targets, id->b, sizeof id->b, t);
	if (s && !(t && event->stream->incoming)) /* both: a swap */
		ph_source_stream(hub, s, event);
	else if (t)
		ph_target_stream(hub, t, event);
	else
		ph_conflict_stream(hub, event);
}

/* ---- one step ---- */

typedef void event_fn(struct ph_hub *hub, const struct ph_event *event);

/* Handlers that want a part of the event alone, or nothing of it. */
#define ONLY(name, call) \
	static void name(struct ph_hub *hub, const struct ph_event *event) \
	{ \
		(void)event; \
		call; \
	}
ONLY(adopted, ph_instance_adopt(hub, event->adopted))
ONLY(started, on_start(hub))
ONLY(configured, ph_child_configure(hub, event->config))
ONLY(heard, ph_hub_message(hub, event->message))
ONLY(renumbered, ph_renumbered(hub, event->ticket, event->error))
ONLY(bus, ph_member_bus(hub, event->kind == PH_EV_BUS_UP))
ONLY(commanded, ph_order_command(hub, event->command))
ONLY(detached, ph_order_detach(hub, event->ticket))
ONLY(shut_down, ph_shutdown_start(hub))
ONLY(ticked, (void)hub)
#undef ONLY

static event_fn *const handlers[PH_EVENT_COUNT] = {
	[PH_EV_RESTORED] = on_restored,
	[PH_EV_ADOPTED] = adopted,
	[PH_EV_START] = started,
	[PH_EV_CONFIGURED] = configured,
	[PH_EV_TICK] = ticked, /* what is due is seen to after every event */
	[PH_EV_MESSAGE] = heard,
	[PH_EV_INCARNATION] = renumbered,
	[PH_EV_PEERS] = on_peers,
	[PH_EV_BUS_UP] = bus,
	[PH_EV_BUS_DOWN] = bus,
	[PH_EV_SPAWNED] = ph_instance_event,
	[PH_EV_SPAWN_FAILED] = ph_instance_event,
	[PH_EV_EXITED] = ph_instance_event,
	[PH_EV_GONE] = ph_instance_event,
	[PH_EV_WORKER] = ph_instance_event,
	[PH_EV_WORKER_CLOSED] = ph_instance_event,
	[PH_EV_NOTIFIED] = ph_instance_event,
	[PH_EV_PROBED] = ph_instance_event,
	[PH_EV_FENCED] = ph_instance_event,
	[PH_EV_STREAM_READ] = on_stream,
	[PH_EV_STREAM_ROUND] = on_stream,
	[PH_EV_STREAM_PROGRESS] = on_stream,
	[PH_EV_STREAM_FAILED] = on_stream,
	[PH_EV_STREAM_NO_DIAL] = on_stream,
	[PH_EV_HOOKED] = ph_conflict_hooked,
	[PH_EV_JOURNALLED] = on_journalled,
	[PH_EV_JOURNAL_BACK] = on_journal_back,
	[PH_EV_COMMAND] = commanded,
	[PH_EV_DETACHED] = detached,
	[PH_EV_SHUTDOWN] = shut_down,
};

void ph_step(
	struct ph_hub *hub, const struct ph_event *event, uint64_t now_ms, struct ph_actions *ret)
{
	if (now_ms > hub->now_ms)
		hub->now_ms = now_ms;
	ph_out_begin(hub);
	ph_nodes_forget(hub);
	if (hub->started)
		ph_member_woke(hub); /* before anything that was queued meanwhile */
	handlers[event->kind](hub, event);
	ph_swap_deliver(hub);
	struct ph_timer *timer;
	/* What is left is due in the next step, at once. */
	for (int i = 0; i < TIMERS_A_STEP && hub->started && (timer = ph_timer_due(hub)); i++)
		ph_due_run(hub, timer);
	ph_swap_deliver(hub);
	if (hub->started) {
		ph_claim_run(hub);
		ph_plan_drained(hub);
		ph_group_run(hub);
		ph_after_run(hub);
		ph_shutdown_check(hub);
		ph_swap_deliver(hub);
		if (hub->flush_now)
			ph_registry_flush(hub);
	}
	ph_out_end(hub, ret);
}
