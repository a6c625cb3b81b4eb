/*
 * claim_asked.c - what a member answers to somebody's claim.
 *
 * It objects where it knows an owner, somebody who goes before, or a higher epoch; whether it may
 * grant it then is grant.c's decision. What always holds: after FREE it makes no epoch up to that
 * of the claim for that key. Tested by tests/unit/test_core_claim.c.
 */
#include "core/conflict.h"
#include "core/heal.h"
#include "core/source.h"

static bool owned_by_other(struct ph_hub *hub, const struct ph_slot *slot,
	const struct ph_claim_line *line, const struct ph_name *from)
{
	const struct ph_held *e = &slot->entry;
	/* From the moment that `active` is being written. */
	if (slot->work->target && slot->work->target->state == PH_TARGET_ACTIVATING)
		return true;
	if (!ph_slot_owned(slot) || ph_name_equal(&e->node->name, from))
		return false;
	switch (line->basis) {
	case PH_CLAIM_COMMIT:
		/* A restarted node may still name the owner before the one that asks. */
		return e->epoch > line->seen && ph_member_up(hub, &e->node->name);
	case PH_CLAIM_COLD:
		return ph_member_up(hub, &e->node->name);
	case PH_CLAIM_TAKEOVER:
		return e->epoch > line->seen;
	case PH_CLAIM_TAKEBACK:
		/* One that has served is no loser, whoever gives it up. */
		return e->epoch > line->seen || (e->epoch == line->seen && e->ready && line->seen);
	case PH_CLAIM_HEAL: /* the one that loses has no say */
		return ph_member_up(hub, &e->node->name) && ph_heal_objects(slot, line);
	case PH_CLAIM_BASIS_COUNT:
		break;
	}
	return false;
}

/* Does somebody go before a claim from the spec? */
static bool others_first(struct ph_hub *hub, struct ph_slot *slot, const struct ph_claim_line *line,
	const struct ph_name *from)
{
	if (line->basis != PH_CLAIM_COLD)
		return false;
	if (slot->work->instance && !ph_slot_mine(hub, slot) && !slot->work->source &&
		!slot->work->target)
		return true; /* an adopted worker that has not said yet what it is */
	if (slot->starting || ph_conflict_holds(hub, &line->key))
		return true; /* granted to this node, which is writing that down */
	if (slot->work->target && slot->work->target->state >= PH_TARGET_PREPARING &&
		slot->work->target->state <= PH_TARGET_ACTIVATING)
		return true;
	if (slot->work->target && slot->work->target->state == PH_TARGET_RELEASING)
		return true;
	if (slot->work->source && slot->work->source->old &&
		slot->work->source->state == PH_SOURCE_RETAINING)
		return true; /* its worker may be given back to it */
	if (slot->work->source && ph_source_undecided(slot->work->source))
		return true;
	return slot->work->claim && slot->work->claim->basis == PH_CLAIM_COLD &&
	       ph_place_before(&line->key, &hub->set.node, from);
}

/* What stood in a journal that this node has lost may be above the asker's: it goes higher, once.
 */
static void raise_for_lost(
	struct ph_hub *hub, struct ph_slot *slot, const struct ph_claim_line *line)
{
	if (!hub->set.journal_lost || line->basis != PH_CLAIM_COLD || slot->raised)
		return;
	slot->raised = true;
	uint64_t counter = ph_epoch_counter(line->epoch) + PH_EPOCH_RAISE;
	ph_slot_seen(hub, slot, ph_epoch_make(counter, ph_epoch_slot(line->epoch)));
}

static enum ph_verdict judge(struct ph_hub *hub, struct ph_slot *slot,
	const struct ph_claim_line *line, const struct ph_name *from)
{
	bool for_copy = line->basis == PH_CLAIM_TAKEOVER || line->basis == PH_CLAIM_COMMIT;
	if (for_copy && !ph_id_none(&slot->work->void_id) &&
		ph_id_equal(&slot->work->void_id, &line->id))
		return PH_VERDICT_REFUSED;
	if (owned_by_other(hub, slot, line, from))
		return PH_VERDICT_OWNED;
	/* A node that has not joined yet may not know whom it would speak against. */
	if (line->basis != PH_CLAIM_COMMIT && (hub->self_state != PH_MEMBER_ALIVE || hub->away))
		return PH_VERDICT_WAIT;
	if (others_first(hub, slot, line, from))
		return PH_VERDICT_WAIT;
	raise_for_lost(hub, slot, line);
	/* Somebody has had it: another node of the name, say, whose epochs are the same ones. */
	bool used = line->basis == PH_CLAIM_COLD && slot->seen == line->epoch &&
		    (slot->had || slot->restored);
	if (slot->seen > line->epoch || used)
		return PH_VERDICT_LOW;
	return ph_grant_judge(hub, slot, line, from);
}

static void name_owner(
	const struct ph_hub *hub, const struct ph_slot *slot, struct ph_claim_line *line)
{
	bool here = slot->work->target && slot->work->target->state == PH_TARGET_ACTIVATING;
	line->node = here ? hub->set.node : slot->entry.node->name;
	line->epoch = here ? slot->work->target->new_epoch : slot->entry.epoch;
}

/*
 * A takes back what it may have given to this node, B, which has not made it active: its `never` is
 * what the grant for B waits for.
 */
static void give_way(struct ph_hub *hub, struct ph_slot *slot, const struct ph_name *from)
{
	struct ph_target *t = slot->work->target;
	if (t && ph_name_equal(&t->peer, from) && t->state < PH_TARGET_ACTIVATING)
		ph_target_step(hub, t, PH_TARGET_IN_ABORT);
}

/*
 * B itself asks for a new worker: N has ended, and with B's journal the record that would have
 * given the child back. What the old one has is the newest there is, unless N was seen ready.
 */
static void take_back(struct ph_hub *hub, struct ph_slot *slot, const struct ph_claim_line *line,
	const struct ph_name *from)
{
	struct ph_source *s = slot->work->source;
	/* Not an old claim that comes late: it asks above what it was given. */
	if (line->basis == PH_CLAIM_COLD && s && s->state == PH_SOURCE_RETAINING &&
		line->epoch > s->new_epoch && ph_name_equal(&s->peer, from))
		ph_source_step(hub, s, PH_SOURCE_IN_RELEASE);
}

void ph_claim_asked(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	struct ph_claim_line *lines = ph_out_alloc(hub, (msg->n_claims + 1) * sizeof *lines);
	bool same_view = ph_quorum_same(hub, &msg->from, msg->view);
	for (size_t i = 0; i < msg->n_claims; i++) {
		const struct ph_claim_line *line = &msg->claims[i];
		struct ph_slot *slot = ph_slot_get(hub, &line->key, NULL);
		lines[i] = *line;
		if (line->basis == PH_CLAIM_TAKEBACK && ph_quorate(hub))
			give_way(hub, slot, &msg->from);
		lines[i].verdict = judge(hub, slot, line, &msg->from);
		take_back(hub, slot, line, &msg->from);
		lines[i].stopped_by_wish = slot->wish_stopped;
		lines[i].past = ph_slot_past(slot);
		lines[i].seen = slot->seen;
		if (lines[i].verdict == PH_VERDICT_OWNED)
			name_owner(hub, slot, &lines[i]);
		if (lines[i].verdict == PH_VERDICT_FREE && !same_view)
			lines[i].verdict = PH_VERDICT_WITHHELD;
		if (lines[i].verdict != PH_VERDICT_FREE)
			continue;
		ph_slot_seen(hub, slot, line->epoch);
		/* Whoever answers a claim that goes before its own withdraws its own. */
		if (slot->work->claim && slot->work->claim->basis == PH_CLAIM_COLD) {
			ph_claim_drop(hub, slot->work->claim);
			ph_plan_soon(hub, 2 * PH_CLAIM_WAIT_MS);
		}
	}
	ph_grant_answer(hub, &msg->from, msg->claim, lines, msg->n_claims);
}
