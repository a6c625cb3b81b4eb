/* conflict.c - see conflict.h. */
#include "core/conflict.h"

#include <stdlib.h>
#include <string.h>

#define RIVAL_MS 3600000 /* a loser that has not said by then what became of it never will */

typedef enum ph_conflict_state cell(struct ph_hub *, struct ph_conflict *);

static enum ph_conflict_state ignore(struct ph_hub *hub, struct ph_conflict *c)
{
	(void)hub;
	return c->state;
}

/* ---- the end ---- */

static void tell_people(struct ph_hub *hub, const struct ph_key *key, const struct ph_bmsg *msg,
	const struct ph_name *loser, const struct ph_name *winner)
{
	struct ph_emit *emit = ph_emit(hub, PH_EMIT_CONFLICT_RESOLVED, key);
	emit->from = *loser;
	emit->from_epoch = msg->seen;
	emit->to = *winner;
	emit->epoch = msg->epoch;
	emit->merged = msg->merged;
	*(msg->ok ? &emit->kept : &emit->text) = ph_out_text(hub, msg->reason);
}

static void put(const struct ph_conflict *c, struct ph_bmsg *msg)
{
	msg->id = c->id;
	msg->key = c->key;
	msg->epoch = c->winner_epoch;
	msg->seen = c->epoch;
	msg->ok = c->kept;
	msg->merged = c->merged;
	ph_reason(msg->reason, "%s", c->text);
}

static void close_stream(struct ph_hub *hub, struct ph_conflict *c)
{
	struct ph_stream_order *order = ph_out_alloc(hub, sizeof *order);
	order->id = c->id;
	struct ph_action *action = ph_out(hub, PH_ACT_STREAM_CLOSE);
	action->stream = order;
	action->on = c->kept;
}

static void record(struct ph_hub *hub, struct ph_conflict *c, bool open)
{
	struct ph_record record = ph_conflict_record(c, open);
	if (c->recorded == open)
		return;
	c->recorded = open;
	(void)ph_journal(hub, &record);
}

/* Decided: people hear of it, the worker goes, and the winner's node is told. */
static enum ph_conflict_state end(struct ph_hub *hub, struct ph_conflict *c)
{
	struct ph_instance *loser = c->state <= PH_CONFLICT_TAKING ? c->loser : NULL;
	struct ph_bmsg msg = {.kind = PH_B_CONFLICT};
	if (c->state > PH_CONFLICT_WAITING && c->state != PH_CONFLICT_LEFT)
		close_stream(hub, c);
	record(hub, c, false);
	put(c, &msg);
	tell_people(hub, &c->key, &msg, &hub->set.node, &c->winner);
	c->until_ms = hub->now_ms + PH_TELL_MS;
	c->resend_wait_ms = PH_RESEND_FIRST_MS;
	put(c, ph_send(hub, &c->winner, PH_B_CONFLICT));
	c->state = PH_CONFLICT_TELLING; /* before its end can come back here */
	if (loser)
		ph_instance_step(hub, loser, PH_INSTANCE_IN_STOP);
	return PH_CONFLICT_TELLING;
}

static enum ph_conflict_state fail(struct ph_hub *hub, struct ph_conflict *c, const char *why)
{
	if (!c->text[0])
		ph_reason(c->text, "%s", why);
	return end(hub, c);
}

/* ---- asking ---- */

static bool hands_over(const struct ph_instance *i)
{
	return (i->caps & PH_CAP_HANDOVER) && i->state == PH_INSTANCE_RUNNING &&
	       i->spec->handover != PH_HANDOVER_NO;
}

static void tell_loser(struct ph_hub *hub, struct ph_conflict *c)
{
	struct ph_wmsg *msg = ph_tell(hub, c->loser, PH_W_CONFLICT);
	msg->id = c->id;
	msg->epoch = c->winner_epoch;
	msg->target = c->winner;
	msg->winner_epoch = c->winner_epoch;
}

static enum ph_conflict_state ask(struct ph_hub *hub, struct ph_conflict *c)
{
	struct ph_stream_order *order = ph_out_alloc(hub, sizeof *order);
	order->id = c->id;
	order->wid = c->loser->wid;
	order->max_bytes = c->loser->spec->max_state_bytes;
	order->key = c->key;
	order->epoch = c->epoch;
	ph_out(hub, PH_ACT_STREAM_KEEP)->stream = order;
	memcpy(c->format, c->loser->format, sizeof c->format);
	c->format_version = c->loser->format_version;
	tell_loser(hub, c);
	ph_instance_step(hub, c->loser, PH_INSTANCE_IN_FREEZE);
	return PH_CONFLICT_ASKED;
}

static enum ph_conflict_state turn(struct ph_hub *hub, struct ph_conflict *c)
{
	if (hub->stopping || !hands_over(c->loser))
		return fail(hub, c, "its worker does not hand over its state");
	return ask(hub, c);
}

static enum ph_conflict_state ask_again(struct ph_hub *hub, struct ph_conflict *c)
{
	tell_loser(hub, c);
	return c->state;
}

static enum ph_conflict_state refused(struct ph_hub *hub, struct ph_conflict *c)
{
	return fail(hub, c, "its worker refused to hand over its state");
}

static enum ph_conflict_state died(struct ph_hub *hub, struct ph_conflict *c)
{
	return fail(hub, c, "its worker ended before its state was there");
}

static enum ph_conflict_state too_slow(struct ph_hub *hub, struct ph_conflict *c)
{
	return fail(hub, c, "its worker did not hand over its state in time");
}

/* ---- merging ---- */

/* It stands in the file: what its worker still does is of no use to anybody. */
static enum ph_conflict_state hold(struct ph_hub *hub, struct ph_conflict *c)
{
	c->state = PH_CONFLICT_KEPT; /* before its end can come back here */
	record(hub, c, true);
	if (c->loser)
		ph_instance_step(hub, c->loser, PH_INSTANCE_IN_STOP);
	return c->state; /* it may have had its turn already */
}

/* Whoever owns it by now is the one to merge it into. */
static enum ph_conflict_state merge(struct ph_hub *hub, struct ph_conflict *c)
{
	struct ph_hook_order *order = ph_out_alloc(hub, sizeof *order);
	const struct ph_slot *slot = ph_slot_find(hub, &c->key, NULL);
	bool known = slot && slot->entered && slot->entry.epoch >= c->winner_epoch &&
		     slot->entry.node->name.s[0];
	if (!hub->set.merges || hub->stopping)
		return end(hub, c);
	order->id = c->id;
	order->key = c->key;
	order->epoch = c->epoch;
	order->file = ph_out_text(hub, c->text);
	order->format = ph_out_text(hub, c->format);
	order->format_version = c->format_version;
	order->winner = known ? slot->entry.node->name : c->winner;
	order->winner_epoch = known ? slot->entry.epoch : c->winner_epoch;
	order->winner_meta = known ? ph_out_text(hub, slot->work->meta) : NULL;
	ph_out(hub, PH_ACT_HOOK)->hook = order;
	return PH_CONFLICT_MERGING;
}

static enum ph_conflict_state hooked(struct ph_hub *hub, struct ph_conflict *c)
{
	if (c->merged) {
		c->kept = false;
		c->text[0] = '\0'; /* the file goes */
	}
	return end(hub, c);
}

/* The winner is not known before this node has joined. */
static enum ph_conflict_state left(struct ph_hub *hub, struct ph_conflict *c)
{
	return hub->self_state == PH_MEMBER_ALIVE && !hub->stopping ? end(hub, c) : c->state;
}

/* ---- taking ---- */

static enum ph_conflict_state taking(struct ph_hub *hub, struct ph_conflict *c)
{
	if (c->state == PH_CONFLICT_ASKED && c->loser)
		c->until_ms = hub->now_ms + c->loser->spec->timeout_ms;
	return PH_CONFLICT_TAKING;
}

static enum ph_conflict_state part(struct ph_hub *hub, struct ph_conflict *c)
{
	if (!c->have_end || !c->have_read)
		return taking(hub, c);
	c->kept = c->end_bytes == c->read_bytes;
	if (c->kept)
		return hub->set.merges && !hub->stopping ? hold(hub, c) : end(hub, c);
	c->text[0] = '\0'; /* the file goes again */
	return fail(hub, c, "its state was not as long as its worker said");
}

/* What it wrote may still be on its way to the file. */
static enum ph_conflict_state died_taking(struct ph_hub *hub, struct ph_conflict *c)
{
	return c->have_end ? c->state : died(hub, c);
}

static enum ph_conflict_state broken(struct ph_hub *hub, struct ph_conflict *c)
{
	return fail(hub, c, "the transfer of its state failed");
}

/* ---- telling ---- */

/* No more is to be done; the caller frees it. */
static enum ph_conflict_state done(struct ph_hub *hub, struct ph_conflict *c)
{
	c->until_ms = hub->now_ms;
	return c->state;
}

static enum ph_conflict_state repeat(struct ph_hub *hub, struct ph_conflict *c)
{
	if (!ph_member_up(hub, &c->winner)) /* it will never know */
		return done(hub, c);
	c->resend_wait_ms = min_ms(2 * c->resend_wait_ms, PH_RESEND_MAX_MS);
	put(c, ph_send(hub, &c->winner, PH_B_CONFLICT));
	return c->state;
}

/* ---- every state x input; an empty cell is found by the unit test ---- */

#define IN(name) [PH_CONFLICT_IN_##name]
static cell *const machine[PH_CONFLICT_STATE_COUNT][PH_CONFLICT_INPUT_COUNT] = {
	[PH_CONFLICT_WAITING] = {IN(TURN) = turn, IN(HELLO) = ignore, IN(ACCEPTED) = ignore,
		IN(REFUSED) = ignore, IN(STATE_END) = ignore, IN(READ) = ignore,
		IN(FAILED) = ignore, IN(GONE) = died, IN(HOOKED) = ignore, IN(ACKED) = ignore,
		IN(DEADLINE) = ignore},
	[PH_CONFLICT_ASKED] = {IN(TURN) = ignore, IN(HELLO) = ask_again, IN(ACCEPTED) = taking,
		IN(REFUSED) = refused, IN(STATE_END) = part, IN(READ) = part, IN(FAILED) = broken,
		IN(GONE) = died, IN(HOOKED) = ignore, IN(ACKED) = ignore, IN(DEADLINE) = too_slow},
	[PH_CONFLICT_TAKING] = {IN(TURN) = ignore, IN(HELLO) = ask_again, IN(ACCEPTED) = ignore,
		IN(REFUSED) = refused, IN(STATE_END) = part, IN(READ) = part, IN(FAILED) = broken,
		IN(GONE) = died_taking, IN(HOOKED) = ignore, IN(ACKED) = ignore,
		IN(DEADLINE) = too_slow},
	[PH_CONFLICT_KEPT] = {IN(TURN) = merge, IN(HELLO) = ignore, IN(ACCEPTED) = ignore,
		IN(REFUSED) = ignore, IN(STATE_END) = ignore, IN(READ) = ignore,
		IN(FAILED) = ignore, IN(GONE) = ignore, IN(HOOKED) = ignore, IN(ACKED) = ignore,
		IN(DEADLINE) = ignore},
	[PH_CONFLICT_MERGING] = {IN(TURN) = ignore, IN(HELLO) = ignore, IN(ACCEPTED) = ignore,
		IN(REFUSED) = ignore, IN(STATE_END) = ignore, IN(READ) = ignore,
		IN(FAILED) = ignore, IN(GONE) = ignore, IN(HOOKED) = hooked, IN(ACKED) = ignore,
		IN(DEADLINE) = ignore},
	[PH_CONFLICT_LEFT] = {IN(TURN) = ignore, IN(HELLO) = ignore, IN(ACCEPTED) = ignore,
		IN(REFUSED) = ignore, IN(STATE_END) = ignore, IN(READ) = ignore,
		IN(FAILED) = ignore, IN(GONE) = ignore, IN(HOOKED) = ignore, IN(ACKED) = ignore,
		IN(DEADLINE) = left},
	[PH_CONFLICT_TELLING] = {IN(TURN) = ignore, IN(HELLO) = ignore, IN(ACCEPTED) = ignore,
		IN(REFUSED) = ignore, IN(STATE_END) = ignore, IN(READ) = ignore,
		IN(FAILED) = ignore, IN(GONE) = ignore, IN(HOOKED) = ignore, IN(ACKED) = done,
		IN(DEADLINE) = repeat},
};
#undef IN

bool ph_conflict_decided(enum ph_conflict_state state, enum ph_conflict_input in)
{
	return machine[state][in] != NULL;
}

static void arm(struct ph_hub *hub, struct ph_conflict *c)
{
	uint64_t at = PH_NEVER_MS;
	switch (c->state) {
	case PH_CONFLICT_WAITING: /* for those before it */
	case PH_CONFLICT_KEPT:
	case PH_CONFLICT_MERGING: /* the shell has the deadline */
	case PH_CONFLICT_STATE_COUNT:
		break;
	case PH_CONFLICT_ASKED: /* it may have lost its connection just now */
		at = hub->now_ms + PH_RECONNECT_MS;
		break;
	case PH_CONFLICT_TAKING:
		at = min_ms(c->until_ms, hub->now_ms + PH_COPY_IDLE_MS);
		break;
	case PH_CONFLICT_LEFT:
		at = hub->now_ms + PH_CONFLICT_LOOK_MS;
		break;
	case PH_CONFLICT_TELLING:
		at = hub->now_ms + c->resend_wait_ms;
		break;
	}
	ph_timer_set(hub, &c->timer, at);
}

static void drop(struct ph_hub *hub, struct ph_conflict *c)
{
	ph_timer_set(hub, &c->timer, PH_NEVER_MS);
	DL_DELETE(hub->conflicts, c);
	if (c->loser) {
		c->loser->conflict = NULL;
		c->loser->past = c->id; /* it may still speak of it */
	}
	ph_out_bury(hub, c);
}

static void take_turns(struct ph_hub *hub)
{
	struct ph_conflict *c, *next;
	size_t busy = 0;
	DL_FOREACH (hub->conflicts, c)
		busy += c->state == PH_CONFLICT_ASKED || c->state == PH_CONFLICT_TAKING;
	DL_FOREACH_SAFE(hub->conflicts, c, next)
	{
		if (c->state != PH_CONFLICT_WAITING)
			continue;
		if (busy && busy >= hub->set.migrations_max)
			return;
		ph_conflict_step(hub, c, PH_CONFLICT_IN_TURN);
		return; /* that step has looked for the next one */
	}
}

/* Many may wait, and all at once are none any more in a stop: no step within a step. */
static void take_turns_with_hook(struct ph_hub *hub)
{
	struct ph_conflict *c;
	size_t busy = 0;
	DL_FOREACH (hub->conflicts, c)
		busy += c->state == PH_CONFLICT_MERGING;
	DL_FOREACH (hub->conflicts, c) {
		if (busy >= PH_MERGES_MAX && !hub->stopping)
			return;
		if (c->state != PH_CONFLICT_KEPT)
			continue;
		c->state = machine[c->state][PH_CONFLICT_IN_TURN](hub, c);
		arm(hub, c);
		busy += c->state == PH_CONFLICT_MERGING;
	}
}

void ph_conflict_step(struct ph_hub *hub, struct ph_conflict *c, enum ph_conflict_input in)
{
	c->state = machine[c->state][in](hub, c);
	if (c->state == PH_CONFLICT_TELLING && hub->now_ms >= c->until_ms)
		drop(hub, c);
	else
		arm(hub, c);
	take_turns(hub);
	take_turns_with_hook(hub);
}

void ph_conflict_begin(
	struct ph_hub *hub, struct ph_instance *loser, const struct ph_name *winner, uint64_t epoch)
{
	struct ph_conflict *c;
	ph_log(hub, PH_LOG_WARNING, "%s/%u is owned by node %s at a higher epoch: stopped here",
		loser->slot->child->name.s, loser->slot->number, winner->s);
	ph_slot_work(hub, loser->slot)->instance = NULL;
	loser->after = PH_AFTER_DISCARD;
	/* There is nothing to resolve; and with a quorum none that others may own lives on. */
	if (!ph_instance_has_process(loser) || ph_quorate(hub) ||
		ph_conflict_taken(hub, PH_SLOT_KEY(loser->slot), loser->epoch)) {
		ph_instance_step(hub, loser, PH_INSTANCE_IN_STOP);
		return;
	}
	loser->conflict = c = ph_must(calloc(1, sizeof *c));
	c->id = ph_random_id(hub);
	c->key = ph_slot_key(loser->slot);
	c->loser = loser;
	c->winner = *winner;
	c->winner_epoch = epoch;
	c->epoch = loser->epoch;
	c->timer.kind = PH_TIMER_CONFLICT;
	c->timer.owner = c;
	DL_APPEND(hub->conflicts, c);
	take_turns(hub);
}

/* ---- what is heard ---- */

void ph_conflict_worker(struct ph_hub *hub, struct ph_conflict *c, const struct ph_wmsg *msg)
{
	if (!ph_id_equal(&msg->id, &c->id))
		return; /* of a migration that is over */
	if (msg->format[0]) {
		memcpy(c->format, msg->format, sizeof c->format);
		c->format_version = msg->version;
	}
	if (msg->op == PH_W_STATE_END && msg->final) {
		c->have_end = true;
		c->end_bytes = msg->bytes;
		ph_conflict_step(hub, c, PH_CONFLICT_IN_STATE_END);
	} else if (msg->op == PH_W_HANDOVER_ACCEPT || msg->op == PH_W_PROGRESS) {
		ph_conflict_step(hub, c, PH_CONFLICT_IN_ACCEPTED);
	} else if (msg->op == PH_W_HANDOVER_REFUSE) {
		ph_conflict_step(hub, c, PH_CONFLICT_IN_REFUSED);
	}
}

struct ph_conflict *ph_conflict_find(const struct ph_hub *hub, const struct ph_id *id)
{
	struct ph_conflict *c;
	DL_FOREACH (hub->conflicts, c)
		if (ph_id_equal(&c->id, id))
			return c;
	return NULL;
}

static struct ph_conflict *held(const struct ph_hub *hub, const struct ph_key *key)
{
	struct ph_conflict *c;
	DL_FOREACH (hub->conflicts, c)
		if (c->state <= PH_CONFLICT_TAKING && c->loser &&
			c->loser->state <= PH_INSTANCE_FROZEN && ph_key_equal(&c->key, key))
			return c;
	return NULL;
}

bool ph_conflict_holds(const struct ph_hub *hub, const struct ph_key *key)
{
	return held(hub, key) != NULL;
}

struct ph_instance *ph_conflict_give_back(struct ph_hub *hub, struct ph_slot *slot, uint64_t epoch)
{
	struct ph_conflict *c = held(hub, PH_SLOT_KEY(slot));
	if (!c)
		return NULL;
	struct ph_instance *loser = c->loser;
	bool asked = c->state != PH_CONFLICT_WAITING;
	struct ph_wmsg *msg = ph_tell(hub, loser, PH_W_ROLE); /* before it is told to go on */
	msg->epoch = loser->epoch = epoch;
	msg->role = PH_ROLE_ACTIVE;
	ph_slot_work(hub, slot)->instance = loser;
	loser->after = PH_AFTER_POLICY;
	if (asked) {
		msg = ph_tell(hub, loser, PH_W_RESUME);
		msg->epoch = epoch;
		msg->id = c->id;
		msg->reason = "the owner of the other copy is gone";
		close_stream(hub, c);
		ph_instance_await_resumed(hub, loser);
		ph_instance_step(hub, loser, PH_INSTANCE_IN_THAW);
	}
	ph_log(hub, PH_LOG_INFO, "%s/%u goes on here: node %s, whose copy was better, is gone",
		c->key.child.s, c->key.instance, c->winner.s);
	drop(hub, c);
	take_turns(hub);
	return loser;
}

void ph_conflict_stream(struct ph_hub *hub, const struct ph_event *event)
{
	struct ph_conflict *c = ph_conflict_find(hub, &event->stream->id);
	if (!c)
		return;
	if (event->kind == PH_EV_STREAM_READ && c->state <= PH_CONFLICT_TAKING) {
		c->have_read = true;
		c->read_bytes = event->stream->bytes;
		ph_reason(c->text, "%s", event->text ? event->text : "");
		ph_conflict_step(hub, c, PH_CONFLICT_IN_READ);
	} else if (event->kind == PH_EV_STREAM_FAILED && c->state <= PH_CONFLICT_TAKING) {
		ph_reason(c->text, "%s", event->text ? event->text : "");
		ph_conflict_step(hub, c, PH_CONFLICT_IN_FAILED);
	} else if (event->kind == PH_EV_STREAM_PROGRESS) {
		ph_conflict_step(hub, c, PH_CONFLICT_IN_ACCEPTED);
	}
}

void ph_conflict_hooked(struct ph_hub *hub, const struct ph_event *event)
{
	struct ph_conflict *c = ph_conflict_find(hub, &event->id);
	if (!c || c->state != PH_CONFLICT_MERGING)
		return;
	c->merged = !event->error;
	ph_conflict_step(hub, c, PH_CONFLICT_IN_HOOKED);
}

bool ph_conflict_merging(struct ph_hub *hub)
{
	struct ph_conflict *c;
	take_turns_with_hook(hub); /* there are none any more */
	DL_FOREACH (hub->conflicts, c)
		if (c->state == PH_CONFLICT_MERGING)
			return true;
	return false;
}

void ph_conflict_gone(struct ph_hub *hub, struct ph_instance *loser)
{
	struct ph_conflict *c = loser->conflict;
	loser->conflict = NULL;
	c->loser = NULL;
	ph_conflict_step(hub, c, PH_CONFLICT_IN_GONE);
}

/* ---- at the winner's ---- */

static void no_rival(struct ph_hub *hub, struct ph_slot *slot)
{
	struct ph_work *work = ph_slot_work(hub, slot);
	work->rival = &hub->slots.nobody;
	work->rival_epoch = work->rival_ms = 0;
}

void ph_conflict_met(
	struct ph_hub *hub, struct ph_slot *slot, const struct ph_name *loser, uint64_t epoch)
{
	struct ph_work *work = ph_slot_work(hub, slot);
	work->rival = ph_node_get(hub, loser);
	work->rival_epoch = epoch;
	work->rival_ms = hub->now_ms;
}

void ph_conflict_node_dead(struct ph_hub *hub, const struct ph_name *name)
{
	for (struct ph_slot *slot = ph_slot_first(hub); slot; slot = ph_slot_next(hub, slot)) {
		const struct ph_work *work = slot->work;
		if (!ph_name_equal(&work->rival->name, name))
			continue;
		struct ph_bmsg msg = {.seen = work->rival_epoch, .epoch = slot->entry.epoch};
		ph_reason(msg.reason, "its node died before it said what became of its state");
		if (ph_slot_mine(hub, slot) && hub->now_ms < work->rival_ms + RIVAL_MS)
			tell_people(hub, PH_SLOT_KEY(slot), &msg, name, &hub->set.node);
		no_rival(hub, slot);
		ph_slot_trim(hub, slot);
	}
}

/* Told to people once. */
static void on_told(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	struct ph_slot *slot = ph_slot_find(hub, &msg->key, NULL);
	ph_send(hub, &msg->from, PH_B_CONFLICT_ACK)->id = msg->id;
	if (!slot || slot->work->conflict_told == msg->seen)
		return;
	if (ph_name_equal(&slot->work->rival->name, &msg->from))
		no_rival(hub, slot);
	ph_slot_work(hub, slot)->conflict_told = msg->seen;
	tell_people(hub, &msg->key, msg, &msg->from, &hub->set.node);
}

void ph_conflict_message(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	struct ph_conflict *c = ph_conflict_find(hub, &msg->id);
	if (msg->kind == PH_B_CONFLICT)
		on_told(hub, msg);
	else if (c && ph_name_equal(&c->winner, &msg->from))
		ph_conflict_step(hub, c, PH_CONFLICT_IN_ACKED);
}
