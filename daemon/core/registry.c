/*
 * registry.c - who owns what, as far as this node knows.
 *
 * One slot a key. An entry with a higher epoch replaces a lower one; with the same epoch only its
 * owner's word counts, the newer version first. Where two owners have met, the better copy's stays
 * until its owner has an epoch above both (heal.c). Each node numbers the changes of its own part;
 * how they get to the others is exchange.c's business.
 */
#include "core/after.h"
#include "core/swap.h"
#include "core/heal.h"
#include "core/unfit.h"

#include <stdlib.h>
#include <string.h>

#define BORN_MAX_MS (PH_EPOCH_LIMIT / 2) /* no clock says so; what comes after it needs room */
#define SEEN_BATCH 2048			 /* records of one batch */

/* To be journalled with the next batch. */
static void seen_changed(struct ph_hub *hub, struct ph_slot *slot)
{
	if (slot->seen_dirty)
		return;
	slot->seen_dirty = true;
	ph_slot_list_add(&hub->seen_dirty, slot);
}

void ph_slot_seen(struct ph_hub *hub, struct ph_slot *slot, uint64_t epoch)
{
	if (epoch <= slot->seen)
		return;
	slot->seen = epoch;
	slot->restored = !hub->started;
	slot->had = false;
	seen_changed(hub, slot);
}

void ph_slot_born(struct ph_hub *hub, struct ph_slot *slot, uint64_t born_ms)
{
	if (born_ms <= slot->born_ms || born_ms >= BORN_MAX_MS)
		return;
	slot->born_ms = born_ms;
	seen_changed(hub, slot);
}

bool ph_slot_busy(const struct ph_slot *slot)
{
	return slot->work->instance && slot->work->instance->state != PH_INSTANCE_WAITING;
}

bool ph_slot_owned(const struct ph_slot *slot)
{
	return slot->entered && slot->entry.state != PH_CHILD_RELEASED &&
	       slot->entry.state != PH_CHILD_REMOVED;
}

bool ph_slot_released(const struct ph_slot *slot)
{
	return slot->entered && slot->entry.state == PH_CHILD_RELEASED;
}

/* Also of an owner whose daemon is a new one and knows nothing of it: `entered` is no matter. */
struct ph_past ph_slot_past(const struct ph_slot *slot)
{
	const struct ph_held *e = &slot->entry;
	if (slot->local || e->state == PH_CHILD_REMOVED)
		return (struct ph_past){0};
	return (struct ph_past){.epoch = e->epoch,
		.version = e->version,
		.revision = e->revision,
		.restarts = e->restarts,
		.exit = {(enum ph_exit_kind)e->exit.kind, e->exit.value},
		.done = e->done};
}

bool ph_slot_done(const struct ph_slot *slot)
{
	return ph_slot_past(slot).done && !slot->wish_stopped;
}

void ph_past_join(struct ph_past *past, const struct ph_past *other)
{
	if (other->epoch > past->epoch ||
		(other->epoch == past->epoch && other->version > past->version))
		*past = *other;
	else if (other->epoch == past->epoch && other->version == past->version)
		past->done &= other->done; /* an order to start it was heard by one of them */
}

bool ph_slot_released_here(const struct ph_hub *hub, const struct ph_slot *slot)
{
	return ph_slot_released(slot) && slot->entry.node == hub->slots.self;
}

bool ph_slot_mine(const struct ph_hub *hub, const struct ph_slot *slot)
{
	return ph_slot_owned(slot) && slot->entry.node == hub->slots.self;
}

/* Without an entry nothing else is told of its slot that has a time. */
uint64_t ph_slot_unowned_ms(const struct ph_slot *slot)
{
	return slot->entered ? slot->work->unowned_ms : slot->since_ms;
}

void ph_slot_set_unowned(struct ph_hub *hub, struct ph_slot *slot, uint64_t at_ms)
{
	if (!slot->entered)
		slot->since_ms = at_ms;
	else if (slot->work->unowned_ms != at_ms)
		ph_slot_work(hub, slot)->unowned_ms = at_ms;
}

uint64_t ph_registry_highest(const struct ph_hub *hub)
{
	uint64_t highest = 0;
	for (const struct ph_slot *slot = ph_slot_first(hub); slot; slot = ph_slot_next(hub, slot))
		if (slot->seen > highest)
			highest = slot->seen;
	return highest;
}

uint64_t ph_next_epoch(struct ph_hub *hub, const struct ph_slot *slot)
{
	uint64_t counter = ph_epoch_counter(slot->seen);
	/* What this node promised before cannot be read any more; or those who would know what was
	 * promised while it was away, or by an earlier one of its name, did not answer. Another one
	 * of its name that raises as well must not come to the same. */
	if (hub->set.journal_lost || (hub->blind && (slot->restored || !slot->seen)))
		counter += PH_EPOCH_RAISE + hub->set.incarnation % PH_EPOCH_RAISE;
	if (hub->blind && counter < ph_epoch_counter(hub->outdone))
		counter = ph_epoch_counter(hub->outdone) + hub->set.incarnation % PH_EPOCH_RAISE;
	return ph_epoch_make(counter + 1, hub->set.slot);
}

/* ---- digests: each entry counts for its owner's part ---- */

static uint64_t digest_of(const struct ph_slot *slot)
{
	return ph_mix64(ph_slot_hash(slot) ^ ph_mix64(slot->entry.epoch + 1) ^
			ph_mix64(slot->entry.version ^ PH_HASH_SEED));
}

/* A tombstone counts for nobody's: each node forgets it in its own time. */
static bool counts(const struct ph_slot *slot)
{
	return slot->entered && slot->entry.state != PH_CHILD_REMOVED;
}

static void digest_toggle(struct ph_hub *hub, const struct ph_slot *slot)
{
	struct ph_node *node = slot->entry.node;
	if (!counts(slot))
		return;
	node->digest ^= digest_of(slot);
	if (node == hub->slots.self)
		hub->digest = node->digest;
	else if (node->member)
		node->member->digest = node->digest;
}

static void set_meta(struct ph_hub *hub, struct ph_slot *slot, const char *meta)
{
	if (slot->work->meta == meta)
		return;
	free((void *)(uintptr_t)slot->work->meta);
	ph_slot_work(hub, slot)->meta = meta ? ph_must(strdup(meta)) : NULL;
}

static void set_copied(struct ph_hub *hub, struct ph_slot *slot, uint64_t copied_ms)
{
	if (slot->work->copied_ms != copied_ms)
		ph_slot_work(hub, slot)->copied_ms = copied_ms;
}

/* All of it but `meta`, which is a copy of its own. */
static void hold(struct ph_hub *hub, struct ph_slot *slot, const struct ph_entry *e)
{
	struct ph_node *node = slot->entry.node;
	if (!ph_name_equal(&node->name, &e->node))
		node = ph_node_get(hub, &e->node);
	node->owner = true;
	slot->entry = (struct ph_held){.node = node,
		.epoch = e->epoch,
		.version = e->version,
		.revision = e->revision,
		.born_ms = e->born_ms,
		.pid = e->pid,
		.restarts = e->restarts,
		.state = (uint8_t)e->state,
		.role = (uint8_t)e->role,
		.lineage = (uint8_t)e->lineage,
		.exit = {(uint8_t)e->exit.kind,
			(uint8_t)(e->exit.value < UINT8_MAX ? e->exit.value : UINT8_MAX)},
		.ready = e->ready,
		.stopped_by_wish = e->stopped_by_wish,
		.unfit = e->unfit,
		.done = e->done,
		.local = e->local};
	set_copied(hub, slot, e->copied_ms);
}

static void changed(struct ph_hub *hub, const struct ph_slot *slot)
{
	ph_out(hub, PH_ACT_CHANGED)->key = ph_slot_key(slot);
	ph_order_stir(hub);
	ph_after_changed(hub, slot);
}

/* To be cast: at once where the owner changed, else gathered for a moment. */
static void touch(struct ph_hub *hub, struct ph_slot *slot, bool now)
{
	if (!slot->dirty)
		ph_slot_list_add(&hub->dirty, slot);
	slot->dirty = true;
	if (now)
		hub->flush_now = true;
	else if (!hub->flush.pos)
		ph_timer_set(hub, &hub->flush, hub->now_ms + PH_FLUSH_MS);
	changed(hub, slot);
}

/* ---- changes that this node makes ---- */

/* What was said of the last owner's worker is not so of the next one's. */
static void forget_worker(struct ph_hub *hub, struct ph_slot *slot, enum ph_child_state state)
{
	slot->entry.state = (uint8_t)state;
	slot->entry.ready = slot->entry.unfit = slot->entry.done = false;
	slot->entry.pid = slot->entry.restarts = 0;
	slot->entry.born_ms = 0;
	slot->entry.exit.kind = PH_EXIT_NONE;
	slot->entry.exit.value = 0;
	set_copied(hub, slot, 0);
	set_meta(hub, slot, NULL);
}

void ph_slot_own(struct ph_hub *hub, struct ph_slot *slot, uint64_t epoch, enum ph_lineage lineage)
{
	digest_toggle(hub, slot);
	/* Until then another one owned it, and who comes from now on may be its place. */
	if (slot->entered && !slot->work->planned_ms)
		ph_slot_work(hub, slot)->planned_ms = hub->planned_ms;
	slot->entered = true;
	slot->entry.local = slot->local;
	slot->entry.node = hub->slots.self;
	slot->entry.epoch = epoch;
	slot->entry.lineage = (uint8_t)lineage;
	slot->entry.role = PH_ROLE_ACTIVE;
	forget_worker(hub, slot, PH_CHILD_WAITING);
	slot->entry.stopped_by_wish = slot->wish_stopped;
	slot->wish_untold = false;
	slot->since_ms = hub->now_ms;
	slot->entry.version = ++hub->version;
	digest_toggle(hub, slot);
	ph_slot_seen(hub, slot, epoch);
	slot->had = true;
	ph_history_owned(hub, slot);
	/* A cold start is no news that somebody waits for: thousands of them are gathered. */
	touch(hub, slot, lineage != PH_LINEAGE_COLD);
}

void ph_slot_give(struct ph_hub *hub, struct ph_slot *slot, const struct ph_name *node,
	uint64_t epoch, uint64_t born_ms)
{
	digest_toggle(hub, slot);
	slot->entered = true;
	slot->entry.node = ph_node_get(hub, node);
	slot->entry.node->owner = true;
	slot->entry.epoch = epoch;
	slot->entry.version = 0; /* whatever its owner says of it is newer */
	slot->entry.lineage = PH_LINEAGE_CONTINUED;
	forget_worker(hub, slot, PH_CHILD_STARTING);
	slot->entry.born_ms = born_ms;
	slot->since_ms = hub->now_ms;
	digest_toggle(hub, slot);
	ph_slot_seen(hub, slot, epoch);
	slot->had = true;
	ph_slot_work(hub, slot)->given_version = ++hub->version;
	touch(hub, slot, true);
}

void ph_slot_vouch(struct ph_hub *hub, struct ph_slot *slot)
{
	ph_slot_work(hub, slot)->given_version = ++hub->version;
	touch(hub, slot, true);
}

void ph_slot_release(struct ph_hub *hub, struct ph_slot *slot)
{
	/* It was removed, and came back from its way since: that stays the last word. */
	if (ph_tombstone(slot->child)) {
		ph_slot_remove(hub, slot, slot->child->removed_revision);
		return;
	}
	digest_toggle(hub, slot);
	slot->entry.state = PH_CHILD_RELEASED;
	slot->entry.stopped_by_wish = slot->wish_stopped;
	slot->entry.ready = false;
	slot->entry.pid = 0;
	slot->entry.born_ms = 0;
	set_copied(hub, slot, 0);
	slot->entry.version = ++hub->version;
	digest_toggle(hub, slot);
	touch(hub, slot, true);
}

void ph_slot_remove(struct ph_hub *hub, struct ph_slot *slot, uint64_t revision)
{
	digest_toggle(hub, slot);
	slot->entry.state = PH_CHILD_REMOVED;
	slot->entry.revision = revision;
	ph_tombstone_wish(hub, slot);
	slot->entry.stopped_by_wish = false;
	slot->entry.ready = slot->entry.done = false;
	slot->entry.pid = 0;
	slot->since_ms = hub->now_ms;
	slot->entry.version = ++hub->version;
	touch(hub, slot, true);
}

void ph_slot_forget(struct ph_hub *hub, struct ph_slot *slot)
{
	digest_toggle(hub, slot);
	slot->since_ms = slot->work->unowned_ms;
	ph_slot_set_unowned(hub, slot, 0);
	slot->entered = false;
	set_meta(hub, slot, NULL);
}

void ph_slot_publish(struct ph_hub *hub, struct ph_slot *slot)
{
	struct ph_instance *instance = slot->work->instance;
	if (!slot->entered || !ph_is_self(hub, &slot->entry.node->name))
		return;
	struct ph_entry next = ph_slot_entry(slot);
	if (instance && next.state != PH_CHILD_RELEASED && next.state != PH_CHILD_REMOVED) {
		next.state = ph_instance_shown(instance);
		next.pid = instance->pid;
		next.ready = next.state == PH_CHILD_RUNNING || next.state == PH_CHILD_FROZEN;
		next.restarts = instance->restarts;
		next.exit = instance->exit;
		next.done = instance->state == PH_INSTANCE_STOPPED && !slot->wish_stopped;
		next.revision = instance->spec->revision;
	} else {
		next.pid = 0;
		next.ready = false;
	}
	/* Without a process it is the text in force that counts: it will be started with that. So
	 * it is where the next worker waits for its swap, and nobody has to tell of it. */
	bool next_one = !instance || !ph_instance_has_process(instance) || ph_swap_waits(hub, slot);
	if (ph_slot_owned(slot) && slot->child->spec &&
		next.revision < slot->child->spec->revision && next_one)
		next.revision = slot->child->spec->revision;
	ph_heal_publish(instance, &next);
	next.stopped_by_wish = slot->wish_stopped;
	next.wishes = slot->wishes;
	const char *meta = instance ? instance->meta : NULL;
	bool same_meta = meta && next.meta ? strcmp(meta, next.meta) == 0 : meta == next.meta;
	if (next.state != slot->entry.state)
		slot->since_ms = hub->now_ms;
	digest_toggle(hub, slot);
	next.version = ++hub->version;
	hold(hub, slot, &next);
	if (!same_meta)
		set_meta(hub, slot, meta);
	digest_toggle(hub, slot);
	touch(hub, slot, false);
}

uint32_t ph_registry_mine(struct ph_hub *hub)
{
	if (hub->mine_version == hub->version)
		return hub->n_mine;
	hub->mine_version = hub->version;
	hub->n_mine = 0;
	for (struct ph_slot *slot = ph_slot_first(hub); slot; slot = ph_slot_next(hub, slot))
		hub->n_mine += ph_slot_mine(hub, slot);
	return hub->n_mine;
}

void ph_registry_forget_node(struct ph_hub *hub, struct ph_member *member)
{
	ph_history_presume(
		hub, &member->info.name, PH_RESULT_ABORTED, "the source's daemon was restarted");
	member->have = member->sure = member->have_migrations = 0;
	member->ahead_since = member->ahead_until = 0;
	member->registry_version = member->registry_digest = member->migrations_version = 0;
	member->fetch_at_ms = member->behind_at_ms = member->helper_at_ms = 0;
	member->told_sure_ms = 0;
	member->helper_tries = 0;
	member->fetch_tries = 0;
	if (!member->node->owner) /* as for all others when a cluster starts */
		return;
	for (struct ph_slot *slot = ph_slot_first(hub); slot; slot = ph_slot_next(hub, slot)) {
		if (!slot->entered || slot->entry.node != member->node)
			continue;
		digest_toggle(hub, slot);
		slot->entry.version = 0; /* its new incarnation counts from the start */
		digest_toggle(hub, slot);
	}
}

/* ---- what others say ---- */

static bool is_news(
	const struct ph_slot *slot, const struct ph_entry *e, const struct ph_name *author)
{
	if (!slot->entered || e->epoch > slot->entry.epoch)
		return true;
	if (e->epoch < slot->entry.epoch || !ph_name_equal(author, &e->node))
		return false;
	/* Whom others named, and who has not said so itself, was never the owner at that epoch. */
	if (!ph_name_equal(&e->node, &slot->entry.node->name))
		return slot->entry.version == 0;
	return e->version > slot->entry.version;
}

/*
 * It lives, and has not heard of who died as the next owner: nobody else may be left to tell it. Or
 * it has lost, with its journal, under which epoch it owns the child itself.
 */
static void tell_author(struct ph_hub *hub, struct ph_slot *slot, const struct ph_name *author,
	const struct ph_entry *e)
{
	const struct ph_name *owner = &slot->entry.node->name;
	if (ph_slot_owned(slot) && e->epoch < slot->entry.epoch && !slot->local &&
		ph_name_equal(author, &e->node) && ph_member_up(hub, author) &&
		(!ph_member_up(hub, owner) || ph_name_equal(author, owner)))
		ph_registry_tell(hub, slot, author);
}

/* Does what is in place stay? */
static bool is_dropped(struct ph_hub *hub, struct ph_slot *slot, const struct ph_name *author,
	const struct ph_entry *e)
{
	/* Of what this node has itself nobody knows better. */
	bool ours = slot->entered && slot->entry.node == hub->slots.self;
	if (ours && ph_is_self(hub, &e->node)) {
		ph_heal_namesake(hub, slot, e);
		return true;
	}
	if (!is_news(slot, e, author)) {
		tell_author(hub, slot, author, e);
		return true;
	}
	/* two owners may have met, and the one in place goes on */
	return ph_heal_keeps(hub, slot, author, e);
}

/* Said by an owner that has not heard yet that its child was removed. */
static bool is_of_removed(const struct ph_slot *slot, const struct ph_entry *e)
{
	return !slot->child->spec && e->revision && e->revision <= slot->child->removed_revision;
}

/*
 * That of the owner counts. Where this node had it and has carried out an order that the new owner
 * has not heard of, since they were cut off from each other, that one is told; and so it is of a
 * stop that was given here before anything was heard of an owner.
 */
static void take_wish(
	struct ph_hub *hub, struct ph_slot *slot, const struct ph_entry *e, bool was_mine)
{
	uint16_t wishes = (uint16_t)(e->wishes < UINT16_MAX ? e->wishes : UINT16_MAX);
	bool differs = slot->wish_stopped != e->stopped_by_wish;
	if (e->state == PH_CHILD_REMOVED || is_of_removed(slot, e)) {
		ph_tombstone_wish(hub, slot);
		return;
	}
	if (differs && (slot->wish_untold || (was_mine && slot->wishes > wishes)))
		ph_order_repeat(hub, slot, slot->wish_stopped);
	if (differs || slot->wishes != wishes)
		seen_changed(hub, slot);
	slot->wish_stopped = e->stopped_by_wish;
	slot->wish_untold = false;
	slot->wishes = wishes;
}

bool ph_registry_apply(struct ph_hub *hub, const struct ph_name *author, const struct ph_name *from,
	const struct ph_entry *e)
{
	struct ph_slot *slot = ph_slot_get(hub, &e->key, e->local ? &e->node : NULL);
	ph_slot_seen(hub, slot, e->epoch);
	slot->had |= e->epoch == slot->seen;
	ph_slot_born(hub, slot, e->born_ms);
	struct ph_member *speaker = ph_member_find(hub, author);
	if (speaker && speaker->sweeping)
		slot->swept = speaker->sweep;
	/* While it lives here: whoever declares it puts it above that, and what was added goes. */
	if (e->state == PH_CHILD_REMOVED && e->epoch > slot->entry.epoch && !slot->local &&
		!ph_quorate(hub) && !ph_is_self(hub, &e->node) && ph_heal_live(hub, slot))
		ph_child_removed(hub, &e->key.child, e->revision, &e->node);
	if (is_dropped(hub, slot, author, e))
		return false;
	bool was_mine = ph_slot_mine(hub, slot);
	if (was_mine)
		hub->mine_version = UINT64_MAX; /* to be counted anew */
	digest_toggle(hub, slot);
	uint64_t unowned_ms = ph_slot_unowned_ms(slot);
	hold(hub, slot, e);
	/* It may count as an earlier life of that node did, which this one's own word must replace.
	 */
	if (!ph_name_equal(author, &e->node) && !ph_is_self(hub, &e->node) &&
		ph_member_up(hub, &e->node))
		slot->entry.version = 0;
	set_meta(hub, slot, e->meta);
	slot->entered = true;
	if (!ph_slot_owned(slot) || !ph_member_up(hub, &e->node))
		ph_slot_set_unowned(hub, slot, unowned_ms); /* as it has been all along */
	slot->since_ms = e->age_ms < hub->now_ms ? hub->now_ms - e->age_ms : 0;
	digest_toggle(hub, slot);
	take_wish(hub, slot, e, was_mine);
	changed(hub, slot);
	ph_history_owned(hub, slot);
	if (e->revision && e->state != PH_CHILD_REMOVED)
		ph_child_revision(hub, &e->key.child, e->revision, from);
	if (e->state == PH_CHILD_REMOVED)
		ph_child_removed(hub, &e->key.child, e->revision, &e->node);
	struct ph_child *child = e->unfit ? ph_child_find(hub, &e->key.child) : NULL;
	if (child && !e->local)
		ph_unfit_mark(hub, child, &e->node);
	/* Who has released it owns nothing: the old one of a handover may go on. */
	bool free = e->state == PH_CHILD_RELEASED && slot->work->source;
	if (!ph_is_self(hub, &e->node) && !free &&
		(was_mine || slot->work->instance || slot->work->source || slot->work->target))
		ph_migration_owned(hub, slot);
	if (slot->work->source && slot->work->source->state == PH_SOURCE_RETAINING)
		ph_source_step(hub, slot->work->source, PH_SOURCE_IN_DEADLINE); /* N may be ready */
	if (ph_is_self(hub, &e->node))
		ph_instance_named(hub, slot);
	if (e->state == PH_CHILD_RELEASED || ph_is_self(hub, &e->node))
		ph_plan_soon(hub, 0);
	return true;
}

void ph_registry_sweep(struct ph_hub *hub, const struct ph_member *member)
{
	for (struct ph_slot *slot = ph_slot_first(hub); slot; slot = ph_slot_next(hub, slot)) {
		if (slot->swept == member->sweep || !counts(slot) ||
			slot->entry.node != member->node || slot->entry.version > member->sweep_at)
			continue;
		ph_slot_forget(hub, slot); /* its owner says that it is not its own */
		changed(hub, slot);
		ph_plan_soon(hub, hub->set.settle_ms);
	}
}

/*
 * ---- the highest epochs, in batches ----
 *
 * What this node itself promises is synced before it is said. This is what it has only heard: where
 * all who know it end at once, and this node restarts before it is on disk, the next epoch may not
 * be above it. So it is to be soon, the oldest first, and before an orderly end at the latest.
 */

struct ph_record ph_slot_record(const struct ph_slot *slot)
{
	return (struct ph_record){.kind = PH_RECORD_SEEN,
		.key = ph_slot_key(slot),
		.peer = slot->work->local_of->name,
		.epoch = slot->seen,
		.born_ms = slot->born_ms,
		.stopped_by_wish = slot->wish_stopped,
		.wishes = slot->wishes,
		.forced = slot->work->forced,
		.granted = slot->work->granted,
		.to = slot->work->granted_to->name,
		.by = slot->work->granted_by->name,
		.past = slot->work->granted_past->name};
}

void ph_registry_journal(struct ph_hub *hub)
{
	struct ph_slot_list *list = &hub->seen_dirty;
	size_t n = list->n;
	if (n > SEEN_BATCH && !hub->exiting) /* then all of them: there is no next one */
		n = SEEN_BATCH;
	for (size_t i = 0; i < n; i++) {
		struct ph_slot *slot = ph_slot_at(hub, list->nos[i]);
		struct ph_record record = ph_slot_record(slot);
		(void)ph_journal(hub, &record);
		slot->seen_dirty = false;
	}
	list->n -= n;
	if (!list->n)
		ph_slot_list_clear(list);
	else if (n)
		memmove(list->nos, list->nos + n, list->n * sizeof *list->nos);
}
