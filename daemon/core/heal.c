/* heal.c - see heal.h. */
#include "core/heal.h"
#include "core/conflict.h"

/* ---- the rule ---- */

bool ph_heal_better(const struct ph_copy *a, const struct ph_copy *b)
{
	if (a->born_ms != b->born_ms) /* 0: nothing is worse than that */
		return a->born_ms && (!b->born_ms || a->born_ms < b->born_ms);
	if (a->lineage != b->lineage)
		return a->lineage < b->lineage; /* in the order of PH_LINEAGES */
	if (a->lineage == PH_LINEAGE_FROM_COPY && a->copied_ms != b->copied_ms)
		return a->copied_ms > b->copied_ms;
	return a->epoch > b->epoch;
}

struct ph_copy ph_heal_copy(const struct ph_slot *slot)
{
	return (struct ph_copy){(enum ph_lineage)slot->entry.lineage, slot->entry.born_ms,
		slot->work->copied_ms, slot->entry.epoch};
}

/* ---- where states begin ---- */

/* An incarnation is a wall clock's time; between nodes it need not be exact. */
static uint64_t clock_ms(const struct ph_hub *hub)
{
	return hub->set.incarnation + (hub->started ? hub->now_ms - hub->started_ms : 0);
}

static void born_now(struct ph_hub *hub, struct ph_instance *instance)
{
	struct ph_slot *slot = instance->slot;
	uint64_t now = clock_ms(hub);
	/* Whatever the clocks say, it is later than all that was heard of. */
	instance->born_ms = now > slot->born_ms ? now : slot->born_ms + 1;
	instance->copied_ms = 0;
	ph_slot_born(hub, slot, instance->born_ms);
}

void ph_heal_begin(struct ph_hub *hub, struct ph_instance *instance)
{
	const struct ph_target *t = instance->target;
	bool fresh = t && t->fresh == instance && t->state < PH_TARGET_ACTIVE;
	if (!fresh || !instance->born_ms)
		born_now(hub, instance);
	instance->lineage = !fresh		  ? PH_LINEAGE_COLD
			    : instance->copied_ms ? PH_LINEAGE_FROM_COPY
						  : PH_LINEAGE_CONTINUED;
}

void ph_heal_adopt(
	struct ph_hub *hub, struct ph_instance *instance, const struct ph_adopted *adopted)
{
	bool cold = !adopted->ready && adopted->role == PH_ROLE_ACTIVE;
	instance->born_ms = adopted->born_ms;
	instance->copied_ms = adopted->copied_ms;
	if (!instance->born_ms)
		born_now(hub, instance);
	ph_slot_born(hub, instance->slot, instance->born_ms);
	instance->lineage = instance->copied_ms ? PH_LINEAGE_FROM_COPY
			    : cold		? PH_LINEAGE_COLD
						: PH_LINEAGE_CONTINUED;
}

void ph_heal_from_copy(struct ph_hub *hub, struct ph_instance *instance, uint64_t at_ms)
{
	uint64_t age_ms = at_ms && at_ms < hub->now_ms ? hub->now_ms - at_ms : 0;
	uint64_t now = clock_ms(hub);
	instance->lineage = PH_LINEAGE_FROM_COPY;
	instance->copied_ms = age_ms < now ? now - age_ms : 1;
}

void ph_heal_publish(const struct ph_instance *instance, struct ph_entry *entry)
{
	bool state = instance && entry->state != PH_CHILD_RELEASED &&
		     entry->state != PH_CHILD_REMOVED && instance->state >= PH_INSTANCE_SPAWNING &&
		     instance->state <= PH_INSTANCE_FROZEN;
	entry->born_ms = state ? instance->born_ms : 0;
	entry->copied_ms = state ? instance->copied_ms : 0;
	if (state)
		entry->lineage = instance->lineage;
}

/* ---- the meeting ---- */

bool ph_heal_live(const struct ph_hub *hub, const struct ph_slot *slot)
{
	const struct ph_instance *mine = slot->work->instance;
	return ph_slot_mine(hub, slot) && mine && mine->role == PH_ROLE_ACTIVE && mine->born_ms &&
	       mine->state >= PH_INSTANCE_STARTING && mine->state <= PH_INSTANCE_FROZEN;
}

bool ph_heal_early(const struct ph_source *s)
{
	return !s->claim_asked && !s->reclaim && s->state < PH_SOURCE_CLAIMING;
}

/*
 * The owner in place, another node, is about to go above both, or is no more: until that is heard
 * it stays. Its own word that it has given the child away counts at once.
 */
static bool others_keep(const struct ph_hub *hub, const struct ph_slot *slot,
	const struct ph_name *author, const struct ph_entry *e)
{
	const struct ph_held *held = &slot->entry;
	return !ph_is_self(hub, &e->node) && held->node != hub->slots.self &&
	       !ph_name_equal(author, &held->node->name) && ph_member_up(hub, &held->node->name) &&
	       held->version && held->born_ms && e->born_ms > held->born_ms;
}

/* The other side of a handover, with what was handed over: the handover itself decides. Of a swap
 * both are here. */
static bool of_handover(const struct ph_hub *hub, const struct ph_source *s,
	const struct ph_entry *e, uint64_t born_ms)
{
	if (ph_is_self(hub, &s->peer))
		return false;
	if (e->state == PH_CHILD_RELEASED)
		return true;
	return ph_name_equal(&e->node, &s->peer) &&
	       (e->epoch == s->new_epoch || (e->born_ms && e->born_ms <= born_ms));
}

/* This node's own copy goes on, above both; what is on its way elsewhere stays here. */
static void go_above(struct ph_hub *hub, struct ph_slot *slot, const struct ph_entry *e)
{
	if (e->born_ms && !ph_is_self(hub, &e->node))
		ph_conflict_met(hub, slot, &e->node, e->epoch);
	if (slot->work->source && ph_heal_early(slot->work->source)) {
		ph_source_step(hub, slot->work->source, PH_SOURCE_IN_CANCEL);
		if (slot->work->source) /* it takes its time */
			ph_slot_work(hub, slot)->above = e->epoch;
	}
	if (!slot->work->source && !slot->work->claim && !slot->starting)
		(void)ph_claim_start(hub, slot, PH_CLAIM_HEAL, &hub->set.node, NULL, 0);
}

bool ph_heal_keeps(struct ph_hub *hub, struct ph_slot *slot, const struct ph_name *author,
	const struct ph_entry *e)
{
	struct ph_copy mine = ph_heal_copy(slot);
	struct ph_copy other = {e->lineage, e->born_ms, e->copied_ms, e->epoch};
	const struct ph_source *s = slot->work->source;
	/* With a quorum there is one owner: the one with the highest epoch. */
	if (ph_quorate(hub) || !slot->entered || e->epoch <= slot->entry.epoch || slot->local ||
		ph_name_equal(&e->node, &slot->entry.node->name))
		return false;
	bool removed = e->state == PH_CHILD_REMOVED;
	if (!ph_heal_live(hub, slot) && removed)
		return false;
	if (!ph_heal_live(hub, slot)) {
		bool keep = others_keep(hub, slot, author, e);
		if (keep) /* the two may never hear each other, and this node tells only of one */
			ph_registry_tell_of(hub, e, &slot->entry.node->name);
		return keep;
	}
	if (ph_is_self(hub, &e->node) || hub->stopping ||
		(s && of_handover(hub, s, e, mine.born_ms)))
		return false;
	/* A copy that is no more, or may be, is worse than one that is. */
	if (removed || !ph_member_up(hub, &e->node))
		other.born_ms = 0;
	if (!ph_heal_better(&mine, &other))
		return false;
	go_above(hub, slot, e);
	return true;
}

/*
 * With a quorum only what was lost with this node's journal can have had a higher epoch of this
 * name, and no member takes a lower one again: the claim is granted as to the owner that it is.
 */
void ph_heal_namesake(struct ph_hub *hub, struct ph_slot *slot, const struct ph_entry *e)
{
	if ((!ph_quorate(hub) || hub->set.journal_lost) && !hub->stopping && !slot->local &&
		e->epoch > slot->entry.epoch && ph_heal_live(hub, slot))
		go_above(hub, slot, e);
}

bool ph_heal_first(struct ph_hub *hub, struct ph_slot *slot)
{
	uint64_t above = slot->work->above;
	if (!above)
		return false;
	ph_slot_work(hub, slot)->above = 0;
	if (above <= slot->entry.epoch || !ph_heal_live(hub, slot))
		return false;
	(void)ph_claim_start(hub, slot, PH_CLAIM_HEAL, &hub->set.node, NULL, 0);
	return true;
}

/* ---- the claim ---- */

void ph_heal_put(const struct ph_slot *slot, struct ph_claim_line *line)
{
	line->lineage = slot->entry.lineage;
	line->born_ms = slot->entry.born_ms;
	line->copied_ms = slot->work->copied_ms;
	line->seen = slot->entry.epoch;
	if (!ph_heal_takes_back(slot))
		return;
	/* It stands frozen: whoever has taken over from it knows all that it knows, and more. */
	line->lineage = PH_LINEAGE_FROM_COPY;
	line->copied_ms = 1;
}

bool ph_heal_takes_back(const struct ph_slot *slot)
{
	return slot->work->source && slot->work->source->state == PH_SOURCE_RECLAIMING;
}

bool ph_heal_instead(struct ph_hub *hub, struct ph_claim *claim, const struct ph_claim_line *answer)
{
	const struct ph_source *s = claim->slot->work->source;
	/* Where the record is lost that named the peer, the owner may be it. */
	if (ph_quorate(hub) || claim->basis != PH_CLAIM_TAKEBACK ||
		!ph_heal_takes_back(claim->slot) || !s->peer.s[0] ||
		(ph_name_equal(&answer->node, &s->peer) && answer->epoch <= s->new_epoch) ||
		!ph_heal_live(hub, claim->slot))
		return false;
	claim->basis = PH_CLAIM_HEAL;
	ph_conflict_met(hub, claim->slot, &answer->node, answer->epoch);
	return true;
}

bool ph_heal_objects(const struct ph_slot *slot, const struct ph_claim_line *line)
{
	struct ph_copy theirs = ph_heal_copy(slot);
	struct ph_copy asks = {line->lineage, line->born_ms, line->copied_ms, line->seen};
	return ph_heal_better(&theirs, &asks);
}

/*
 * Kept and synced before anybody hears of it. The worker counts as one of that epoch from here on:
 * if this daemon ends before the registry has it, the next one goes on from there.
 */
void ph_heal_granted(struct ph_hub *hub, struct ph_slot *slot, uint64_t epoch)
{
	if (slot->starting)
		return;
	ph_slot_seen(hub, slot, epoch);
	struct ph_record record = ph_slot_record(slot);
	slot->starting = true;
	slot->work->instance->epoch = epoch;
	ph_out(hub, PH_ACT_CHANGED)->key = ph_slot_key(slot);
	struct ph_wait *wait = ph_wait_add(hub, ph_journal(hub, &record), PH_WAIT_HEAL);
	wait->slot = slot;
	wait->epoch = epoch;
}

void ph_heal_own(struct ph_hub *hub, struct ph_slot *slot, uint64_t epoch)
{
	struct ph_instance *mine = slot->work->instance;
	bool overtaken = slot->entered && slot->entry.epoch > epoch;
	/* A target of it can only be that of a swap that was given up for this. */
	if (!mine || mine->epoch != epoch || overtaken)
		return;
	ph_slot_own(hub, slot, epoch, mine->lineage);
	ph_slot_publish(hub, slot);
	struct ph_wmsg *msg = ph_tell(hub, mine, PH_W_ROLE);
	msg->role = PH_ROLE_ACTIVE;
	msg->epoch = epoch;
	if (slot->work->rival->name.s[0])
		ph_log(hub, PH_LOG_INFO,
			"%s/%u goes on here at a higher epoch: its state is better than that on "
			"node %s",
			slot->child->name.s, slot->number, slot->work->rival->name.s);
	else /* this node's own, of before its journal was lost, or of another one of its name */
		ph_log(hub, PH_LOG_INFO,
			"%s/%u goes on here at a higher epoch: others have heard of one above its "
			"own",
			slot->child->name.s, slot->number);
}
