/*
 * dropped.c - a child that files drop: who still declares it, and who removes it where nobody does.
 *
 * A node whose file has dropped the child asks all others; whoever declares it says so, and then it
 * goes on. Who does not says nothing: so all that live must have had the question before their
 * silence counts, and as it may be lost on its way it is asked several times. Where nobody declares
 * it its owner removes it, or, where it has none, whoever has asked.
 *
 * Where the file here does not have it, its text stays as long as the one that has said so last
 * declares it. That one is in doubt when it has dropped the child since, or was started again, with
 * another file perhaps. Then the owner asks again; while there is none each that has the text does:
 * the last one to drop the child need not have had any text of it, and knows of nothing to remove.
 * Where nobody has said so yet, whoever drops it is reason enough. Tested by
 * tests/unit/test_core_dropped.c.
 */
#include "core/state.h"

#define WAIT_MS 1000  /* for the others to say that they declare it */
#define AGAIN_MS 5000 /* ... and while neither they nor its owner have: asked again */
#define ASKS 2	      /* ... and so often again after all have heard of this node since */

/* ---- asking ---- */

void ph_dropped_ask(struct ph_hub *hub, struct ph_child *child)
{
	child->dropped = hub->asking = true;
	child->doubted = false;
	child->declarer.s[0] = '\0'; /* in the journal it stays, until the answer is known */
	child->asks = 0;
	child->dropped_at_ms = hub->now_ms;
	child->dropped_among = hub->arrivals + hub->unheard;
	if (hub->started)
		ph_plan_soon(hub, 0);
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

/* All hear it, and those to whom the link is cut by one who hears both. */
static struct ph_bmsg *question(struct ph_hub *hub)
{
	struct ph_bmsg *msg = ph_cast(hub, PH_B_DROPPED);
	for (const struct ph_member *m = hub->members; m; m = m->hh.next)
		if (ph_member_live(m) && ph_member_relay(hub, &m->info.name))
			ph_send_also(hub, &m->info.name, msg);
	return msg;
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
		if (!msg || msg->n_specs == PH_LIST_MAX) {
			msg = question(hub);
			msg->specs = lines = ph_out_alloc(hub, PH_LIST_MAX * sizeof *lines);
		}
		lines[msg->n_specs++].child = child->name;
		child->asks += all_have_heard(hub, child);
		hub->asking |= child->asks < ASKS;
	}
}

static bool owned_elsewhere(struct ph_hub *hub, const struct ph_child *child)
{
	for (struct ph_slot *slot = ph_slot_first_of(hub, child); slot;
		slot = ph_slot_next_of(hub, slot))
		if (ph_slot_owned(slot) && !ph_slot_mine(hub, slot) &&
			ph_member_up(hub, &slot->entry.node->name))
			return true;
	return false;
}

/* Whoever has declared it is in doubt: its owner decides, and must ask itself; or, where nobody
 * owns it, each that has its text. */
static void ask_if_need_be(struct ph_hub *hub, struct ph_child *child)
{
	if (child->own || child->dropped || ph_child_is_added(child))
		return;
	bool text = child->spec && !child->spec->local;
	if (ph_child_owned_here(hub, child) || (text && !owned_elsewhere(hub, child)))
		ph_dropped_ask(hub, child);
}

void ph_dropped_rival(
	struct ph_hub *hub, struct ph_child *child, uint64_t revision, const struct ph_name *by)
{
	bool rival = ph_epoch_counter(child->spec->revision) == ph_epoch_counter(revision);
	if (child->own || !(rival || ph_name_equal(&child->declarer, by)))
		return;
	child->doubted = true;
	ask_if_need_be(hub, child);
}

/* ---- what others say ---- */

static void hear_dropped(struct ph_hub *hub, struct ph_child *child, const struct ph_name *by)
{
	/* One that is gone does not count against one that is here. */
	bool gone = child->declarer.s[0] && !ph_member_up(hub, &child->declarer);
	child->doubted |= gone || ph_name_equal(&child->declarer, by);
	if (child->doubted || !child->declarer.s[0])
		ask_if_need_be(hub, child);
}

static void on_dropped(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	struct ph_bmsg *answer = NULL;
	struct ph_spec_line *lines = NULL;
	for (size_t i = 0; i < msg->n_specs; i++) {
		struct ph_child *child = ph_child_find(hub, &msg->specs[i].child);
		if (child && !child->own)
			hear_dropped(hub, child, &msg->from);
		if (!child || !child->own)
			continue;
		if (!answer) {
			answer = ph_send(hub, &msg->from, PH_B_DECLARED);
			lines = ph_out_alloc(hub, msg->n_specs * sizeof *lines);
			answer->specs = lines;
		}
		lines[answer->n_specs++].child = child->name;
	}
}

/* Somebody declares it. Where it counts as removed, it lives on above its tombstone. */
static void on_declared(struct ph_hub *hub, struct ph_child *child, const struct ph_bmsg *msg)
{
	bool again = child->declarer.s[0] && !child->doubted; /* one who says so is enough */
	child->dropped = child->proposes = child->doubted = false;
	if (!child->own && !again)
		ph_child_declared_by(hub, child, &msg->from);
	if (!again || ph_name_equal(&child->declarer, &msg->from))
		child->declarer_incarnation = msg->incarnation;
	if (child->disputed && child->spec && ph_child_owned_here(hub, child))
		ph_child_live_on(hub, child);
	child->disputed = false;
}

void ph_dropped_message(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	if (msg->kind == PH_B_DROPPED) {
		on_dropped(hub, msg);
		return;
	}
	for (size_t i = 0; i < msg->n_specs; i++) {
		struct ph_child *child = ph_child_find(hub, &msg->specs[i].child);
		if (child)
			on_declared(hub, child, msg);
	}
}

/* ---- deciding ---- */

static void remove_child(struct ph_hub *hub, struct ph_child *child)
{
	bool owned = ph_child_owned_here(hub, child);
	child->dropped = child->disputed = false;
	for (struct ph_slot *slot = ph_slot_first_of(hub, child); slot;
		slot = ph_slot_next_of(hub, slot))
		if (ph_slot_mine(hub, slot))
			ph_child_end(hub, slot, child->spec ? child->spec->revision : 0);
	if (!child->spec) /* it never was in force, and may have been stopped all the same */
		ph_tombstone_wishes(hub, child, UINT64_MAX);
	ph_child_gone(hub, &child->name, UINT64_MAX);
	/* No entry of an owner tells those who have the text still, and no file with it. */
	if (!owned && ph_tombstone(child))
		ph_tombstone_tell(hub, child, NULL);
	(void)ph_emit(hub, PH_EMIT_CHILD_REMOVED, &(struct ph_key){.child = child->name});
}

static void decide(struct ph_hub *hub, struct ph_child *child)
{
	/* Who has come since was not asked, and what was said meanwhile was not heard. */
	if (child->dropped_among != hub->arrivals + hub->unheard)
		ph_dropped_ask(hub, child);
	if (hub->members && (hub->now_ms < child->dropped_at_ms + WAIT_MS || child->asks < ASKS ||
				    !all_have_heard(hub, child))) {
		ph_plan_soon(hub, WAIT_MS);
	} else if (ph_child_owned_here(hub, child) || !owned_elsewhere(hub, child)) {
		remove_child(hub, child);
	} else if (!child->spec) {
		child->dropped = false; /* it is gone, and its owner knows */
	} else {
		/* Its owner decides; it may not have heard, or be about to be held for dead. */
		if (hub->now_ms >= child->dropped_at_ms + AGAIN_MS)
			ph_dropped_ask(hub, child);
		ph_plan_soon(hub, AGAIN_MS);
	}
}

/* It cannot say that its file has dropped the child where it had no record that it was in it. */
static bool was_restarted(const struct ph_hub *hub, const struct ph_child *child)
{
	const struct ph_member *m =
		child->declarer.s[0] ? ph_member_find(hub, &child->declarer) : NULL;
	return m && ph_member_live(m) && m->info.incarnation != child->declarer_incarnation;
}

void ph_dropped_look(struct ph_hub *hub, struct ph_child *child)
{
	if (child->own)
		return;
	if (ph_child_is_added(child))
		child->dropped = false; /* no file need declare it */
	child->doubted |= was_restarted(hub, child);
	if (child->doubted && hub->now_ms >= child->doubted_ms + AGAIN_MS) {
		child->doubted_ms = hub->now_ms;
		ask_if_need_be(hub, child);
	}
	if (child->dropped)
		decide(hub, child);
}
