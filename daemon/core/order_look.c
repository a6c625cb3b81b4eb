/*
 * order_look.c - is what an operator ordered so? As the registry and the list of migrations tell.
 */
#include "core/after.h"
#include "core/order.h"

#define HELD_BACK_MS 2000 /* what it is started after may have been ordered with it */
#define UNDRAINED_MS 2000 /* its heartbeat has had time to say that it drains */
#define UNWISHED_MS 2000  /* ... and the registry, that it is to be stopped, or to run */
#define MISPLACED_MS 2000 /* ... or that it is where its owner said that it is */
#define UNHEARD_MS 10000  /* the list of migrations has had time to come here */

struct ph_slot *ph_order_slot(struct ph_hub *hub, const struct ph_order_line *line)
{
	return ph_slot_find(hub, &line->key, line->local.s[0] ? &line->local : NULL);
}

const struct ph_history *ph_order_newest(
	const struct ph_hub *hub, const struct ph_key *key, const struct ph_name *from)
{
	struct ph_history *h, *newest = NULL;
	DL_FOREACH (hub->history, h)
		if (ph_key_equal(&h->info.key, key) && ph_name_equal(&h->info.from, from) &&
			(!newest || h->info.version > newest->info.version))
			newest = h;
	return newest;
}

/* What is only presumed of it: its source has been started again, and has not told its list yet. */
static bool source_says_more(const struct ph_hub *hub, const struct ph_history *h)
{
	const struct ph_member *m = h->presumed ? ph_member_find(hub, &h->info.from) : NULL;
	return m && ph_member_live(m) &&
	       hub->now_ms < m->first_ms + hub->set.join_timeout_ms + UNHEARD_MS &&
	       (m->state == PH_MEMBER_JOINING || !m->heard_seq || !ph_registry_in_step(hub, m));
}

bool ph_order_moving(struct ph_hub *hub, const struct ph_key *key)
{
	struct ph_history *h;
	const struct ph_slot *slot = ph_slot_find(hub, key, NULL);
	if (slot &&
		(slot->work->source || slot->work->target)) /* the list comes with the next flush */
		return true;
	DL_FOREACH (hub->history, h)
		if (h->info.result == PH_RESULT_RUNNING && ph_key_equal(&h->info.key, key))
			return true;
	return false;
}

/* Who was to try it again is gone, or was started again since: it does not know of it any more. */
static bool let_go(
	struct ph_hub *hub, const struct ph_order_line *line, const struct ph_name *source)
{
	const struct ph_member *m = ph_member_find(hub, source);
	return !ph_is_self(hub, source) &&
	       (!m || !ph_member_live(m) || m->first_ms > line->sent_ms);
}

static void look_at_move(struct ph_hub *hub, struct ph_order_line *line)
{
	const struct ph_history *h = ph_history_of(hub, &line->id);
	if (!h && hub->now_ms >= line->sent_ms + UNHEARD_MS) {
		line->state = PH_LINE_FAILED;
		ph_reason(line->text, "nothing is heard of the migration");
	}
	if (!h || h->info.result == PH_RESULT_RUNNING || source_says_more(hub, h))
		return;
	if (h->info.result == PH_RESULT_ABORTED && !h->presumed &&
		ph_plan_tried_again(h->info.reason)) {
		const struct ph_history *newest = ph_order_newest(hub, &line->key, &h->info.from);
		line->id = newest ? newest->info.id : line->id;
		if ((newest && newest != h) || !let_go(hub, line, &h->info.from))
			return;
	}
	line->state = h->info.result == PH_RESULT_DONE ? PH_LINE_DONE : PH_LINE_FAILED;
	ph_reason(line->text, "%s", h->info.reason);
}

/*
 * It was there already, as its owner said, which may have lost it since: then whoever has it now is
 * told to move it.
 */
static void look_at_place(struct ph_hub *hub, const struct ph_name *node,
	struct ph_order_line *line, const struct ph_slot *slot)
{
	if (slot && slot->entered && ph_name_equal(&slot->entry.node->name, node)) {
		line->state = PH_LINE_DONE;
	} else if (hub->now_ms >= line->sent_ms + MISPLACED_MS &&
		   !ph_order_moving(hub, &line->key)) {
		bool tired = line->tries >= PH_ORDER_TRIES;
		line->state = tired ? PH_LINE_FAILED : PH_LINE_OPEN;
		ph_reason(line->text, "%s", tired ? "it does not stay there" : "");
	}
}

/* What it said of an earlier drain before this order came to it does not count. */
static bool node_drained(
	struct ph_hub *hub, const struct ph_name *node, const struct ph_order_line *line)
{
	if (ph_is_self(hub, node))
		return hub->draining && hub->drained;
	const struct ph_member *member = ph_member_find(hub, node);
	bool again = member && member->info.draining && line->drained_before;
	if (again && hub->now_ms < line->sent_ms + UNDRAINED_MS)
		return false;
	return !member || !ph_member_live(member) ||
	       (member->info.draining && member->drained && ph_registry_in_step(hub, member));
}

static bool undrained(const struct ph_hub *hub, const struct ph_name *node)
{
	const struct ph_member *member = ph_member_find(hub, node);
	return ph_is_self(hub, node) ? !hub->draining : member && !member->info.draining;
}

static void look_at_drain(
	struct ph_hub *hub, const struct ph_name *node, struct ph_order_line *line)
{
	if (node_drained(hub, node, line)) {
		line->state = PH_LINE_DONE;
	} else if (undrained(hub, node) && hub->now_ms >= line->sent_ms + UNDRAINED_MS) {
		line->state = PH_LINE_FAILED;
		ph_reason(line->text, "the node was undrained meanwhile");
	}
}

/* It is to run, and will not before something else does that nothing starts: that is told. */
static void look_at_wait(struct ph_hub *hub, const struct ph_order *order,
	struct ph_order_line *line, const struct ph_slot *slot)
{
	bool vain = false;
	const struct ph_spec *spec = slot ? ph_child_spec(slot->child) : NULL;
	if (!spec || !ph_slot_owned(slot) || slot->entry.state != PH_CHILD_WAITING ||
		hub->now_ms < order->started_ms + HELD_BACK_MS)
		return;
	char why[PH_REASON_SIZE];
	if (!ph_after_why(hub, spec, why, &vain) || !vain)
		return;
	line->state = PH_LINE_FAILED;
	ph_reason(line->text, "it %s", why);
}

/* Removed, or one instance more than its text wants by now: nobody will start it. */
static bool is_gone(const struct ph_slot *slot)
{
	const struct ph_spec *spec = slot ? ph_child_spec(slot->child) : NULL;
	return !spec || spec->local != slot->local || slot->number >= spec->instances ||
	       (slot->local && slot->entered && slot->entry.state == PH_CHILD_REMOVED);
}

static bool gone(struct ph_order_line *line, const struct ph_slot *slot, bool good)
{
	if (!is_gone(slot) || (slot && slot->work->instance))
		return false; /* ... and what is left of it here ends first */
	line->state = good ? PH_LINE_DONE : PH_LINE_FAILED;
	ph_reason(line->text, "it was removed meanwhile");
	return true;
}

/* Has the owner had time to tell what it keeps of a wish that it has taken? */
static bool wish_is_told(
	struct ph_hub *hub, const struct ph_order_line *line, const struct ph_slot *slot)
{
	const struct ph_held *e = slot && slot->entered ? &slot->entry : NULL;
	const struct ph_member *m = e ? ph_member_find(hub, &e->node->name) : NULL;
	return hub->now_ms >= line->sent_ms + UNWISHED_MS && !ph_order_moving(hub, &line->key) &&
	       (!m || !ph_member_live(m) || ph_registry_in_step(hub, m));
}

/* Who has taken it does not keep the wish: it is given to whoever owns the child now. */
static void give_again(struct ph_order_line *line, const char *tired)
{
	bool last = line->tries >= PH_ORDER_TRIES;
	line->state = last ? PH_LINE_FAILED : PH_LINE_OPEN;
	ph_reason(line->text, "%s", last ? tired : "");
}

/*
 * Its owner keeps it stopped. Where that is no newer wish, it has not told yet that it has taken
 * this order, or has lost it with its journal.
 */
static void look_at_stopped(
	struct ph_hub *hub, struct ph_order_line *line, const struct ph_slot *slot)
{
	if (slot->wishes > line->wishes) {
		line->state = PH_LINE_FAILED;
		ph_reason(line->text, "it was stopped again meanwhile");
	} else if (wish_is_told(hub, line, slot)) {
		give_again(line, "its owner keeps it stopped");
	}
}

/* It was to run, and has come to an end since: a job that is done, or one that failed. */
static void look_at_end(struct ph_hub *hub, const struct ph_order *order,
	struct ph_order_line *line, const struct ph_slot *slot)
{
	look_at_wait(hub, order, line, slot);
	const struct ph_held *e = slot && slot->entered ? &slot->entry : NULL;
	bool since = e && slot->since_ms >= order->started_ms;
	if (!e || (e->state != PH_CHILD_FAILED && !(e->state == PH_CHILD_STOPPED && since)))
		return;
	if (e->state == PH_CHILD_STOPPED && slot->wish_stopped &&
		order->command.verb != PH_VERB_ADD) { /* which is nothing to be given again */
		look_at_stopped(hub, line, slot);
		return;
	}
	const char *why = slot->work->instance ? slot->work->instance->why : NULL;
	bool good = e->state == PH_CHILD_STOPPED && e->exit.kind == PH_EXIT_CODE && !e->exit.value;
	line->state = good ? PH_LINE_DONE : PH_LINE_FAILED;
	if (why)
		ph_reason(line->text, "%s", why);
	else if (e->exit.kind == PH_EXIT_CODE)
		ph_reason(line->text, "it ended with exit code %u", e->exit.value);
	else if (e->exit.kind == PH_EXIT_SIGNAL || e->exit.kind == PH_EXIT_CORE)
		ph_reason(line->text, "it was ended by signal %u", e->exit.value);
	else if (e->exit.kind == PH_EXIT_OOM)
		ph_reason(line->text, "its memory ran out");
	else
		ph_reason(line->text, e->state == PH_CHILD_FAILED ? "it failed" : "it ended");
}

/*
 * Taken, but whoever took it may be lost before anybody else heard of the wish, or its journal with
 * it: then it is given to the owner again, which one that has it answers only. Who has kept the
 * wish and does so no more was told to start it, and so was who has had more wishes since and keeps
 * none.
 */
static void look_at_stop(struct ph_hub *hub, struct ph_order_line *line, const struct ph_slot *slot)
{
	const struct ph_held *e = slot && slot->entered ? &slot->entry : NULL;
	const struct ph_member *m = e ? ph_member_find(hub, &e->node->name) : NULL;
	bool released = slot && ph_slot_released(slot) && slot->wish_stopped;
	if (released || (e && (e->state == PH_CHILD_STOPPED || e->state == PH_CHILD_FAILED))) {
		line->state = PH_LINE_DONE;
	} else if (slot && slot->wish_stopped) {
		line->wisher = e ? e->node->name : hub->set.node;
		line->wished_ms = hub->now_ms;
	} else if (e && (slot->wishes > line->wishes ||
				(ph_name_equal(&e->node->name, &line->wisher) &&
					(!m || m->first_ms <= line->wished_ms)))) {
		line->state = PH_LINE_FAILED;
		ph_reason(line->text, "it was started again meanwhile");
	} else if (wish_is_told(hub, line, slot)) {
		give_again(line, "its owner does not keep it stopped");
	}
}

void ph_order_look(struct ph_hub *hub, struct ph_order *order, struct ph_order_line *line)
{
	const struct ph_command *c = &order->command;
	const struct ph_slot *slot = ph_order_slot(hub, line);
	const struct ph_held *e = slot && slot->entered ? &slot->entry : NULL;
	bool ready =
		e && e->state == PH_CHILD_RUNNING && e->ready && ph_member_up(hub, &e->node->name);
	bool down = e && (e->state == PH_CHILD_STOPPED || e->state == PH_CHILD_FAILED);
	switch (c->verb) {
	case PH_VERB_ADD:
	case PH_VERB_START:
	case PH_VERB_RESTART:
		if (ready && (c->verb != PH_VERB_RESTART || e->pid != line->pid))
			line->state = PH_LINE_DONE;
		else if (!gone(line, slot, false))
			look_at_end(hub, order, line, slot);
		break;
	case PH_VERB_STOP:
		if (!gone(line, slot, true))
			look_at_stop(hub, line, slot);
		break;
	case PH_VERB_MOVE: /* no id: it was there already */
	case PH_VERB_SWAP:
		if (!ph_id_none(&line->id))
			look_at_move(hub, line);
		else
			look_at_place(hub, &c->node, line, slot);
		break;
	case PH_VERB_DRAIN:
		look_at_drain(hub, &c->node, line);
		break;
	case PH_VERB_UNDRAIN:
	case PH_VERB_REMOVE: /* its node has said that nothing of it is left */
	case PH_VERB_SIGNAL:
		line->state = PH_LINE_DONE;
		break;
	case PH_VERB_CANCEL:
		ph_cancel_look(hub, line);
		break;
	case PH_VERB_FORGET:
		if (order->agreed && ph_forget_done(hub, &c->node))
			line->state = PH_LINE_DONE;
		break;
	case PH_VERB_WAIT:
		if ((c->wait_for == PH_WAIT_READY && ready) ||
			(c->wait_for == PH_WAIT_STOPPED && down))
			line->state = PH_LINE_DONE;
		else
			(void)gone(line, slot, c->wait_for == PH_WAIT_STOPPED);
		break;
	case PH_VERB_REGROUP:
		if (!ready || e->pid != line->pid)
			line->state = PH_LINE_DONE;
		break;
	case PH_VERB_NONE:
	case PH_VERB_RELOAD:
	case PH_VERB_COUNT:
		break;
	}
}
