/*
 * order.c - what operators order, and how they learn that it is done.
 *
 * An order for a child goes to its owner (ORDER, repeated until ORDER_ACK); whether it is done is
 * read from the registry and from the list of migrations, which every node has.
 */
#include "core/order.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ORDER_AGAIN_MS 500
#define ORDER_TRIES 20	     /* ORDER without an answer, or without an owner to send it to */
#define ORDER_TRIES_HASTY 3  /* ... where the operator does not want to wait */
#define ORDER_MAX_MS 3600000 /* an order that is followed for longer is let go */
#define UNDRAINED_MS 2000    /* its heartbeat has had time to say that it drains */
#define UNWISHED_MS 2000     /* ... and the registry, that it is to be stopped */
#define UNHEARD_MS 10000     /* the list of migrations has had time to come here */
#define STIR_MS 5	     /* changes are gathered for so long before an order is looked at */
#define LOOK_MS 200	     /* its state is looked at again, whatever happened */

/* ---- what the owner answers ---- */

/* With placement local one key has a line for each node, and each node answers for its own. */
static bool answered_by(const struct ph_order_line *line, const struct ph_bmsg *msg)
{
	const struct ph_name *asked = line->node.s[0] ? &line->node : &line->local;
	return line->state == PH_LINE_SENT && ph_key_equal(&line->key, &msg->key) &&
	       (!asked->s[0] || ph_name_equal(asked, &msg->from));
}

static void on_ack(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	for (struct ph_order *order = hub->orders; order; order = order->next) {
		if (order->number != msg->order)
			continue;
		for (size_t i = 0; i < order->n_lines; i++) {
			struct ph_order_line *line = &order->lines[i];
			if (!answered_by(line, msg))
				continue;
			line->state = msg->ok	  ? PH_LINE_TAKEN
				      : msg->busy ? PH_LINE_OPEN /* somebody else's by now */
						  : PH_LINE_FAILED;
			line->id = msg->id;
			ph_reason(line->text, "%s", msg->reason);
			if (order->command.verb == PH_VERB_CANCEL && !msg->ok)
				ph_cancel_refused(line);
			if (order->command.verb == PH_VERB_FORGET)
				ph_forget_answered(line);
		}
	}
}

void ph_order_message(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	if (msg->kind == PH_B_ORDER)
		ph_order_taken(hub, msg);
	else
		on_ack(hub, msg);
	ph_order_stir(hub);
}

/* ---- the node whose operator it is ---- */

struct ph_order_line *ph_order_add_line(struct ph_order *order)
{
	order->lines = ph_must(realloc(order->lines, (order->n_lines + 1) * sizeof *order->lines));
	struct ph_order_line *line = &order->lines[order->n_lines++];
	memset(line, 0, sizeof *line);
	return line;
}

static void add_line(struct ph_order *order, const struct ph_slot *slot)
{
	struct ph_order_line *line = ph_order_add_line(order);
	line->key = ph_slot_key(slot);
	line->local = slot->work->local_of->name;
	line->pid = slot->entered ? slot->entry.pid : 0;
}

static struct ph_slot *slot_of(struct ph_hub *hub, const struct ph_order_line *line)
{
	return ph_slot_find(hub, &line->key, line->local.s[0] ? &line->local : NULL);
}

static bool meant(const struct ph_hub *hub, const struct ph_command *c, const struct ph_slot *slot,
	const struct ph_spec *spec)
{
	bool local = slot->local;
	if (!ph_name_equal(&slot->child->name, &c->child) || local != spec->local ||
		slot->number >= spec->instances)
		return false;
	if (!c->all_instances && slot->number != c->instance)
		return false;
	if (slot->entered && slot->entry.state == PH_CHILD_REMOVED)
		return false;
	return !local || ph_member_up(hub, &slot->work->local_of->name);
}

static void finish(struct ph_hub *hub, struct ph_order *order, int error, const char *text)
{
	struct ph_answer *answer = ph_out_alloc(hub, sizeof *answer);
	struct ph_outcome *list = ph_out_alloc(hub, (order->n_lines + 1) * sizeof *list);
	bool keyed = order->command.child.s[0] ||
		     (order->command.verb == PH_VERB_CANCEL && order->lines[0].key.child.s[0]);
	for (size_t i = 0; keyed && i < order->n_lines; i++) {
		list[i].key = order->lines[i].key;
		list[i].ok = order->lines[i].state == PH_LINE_DONE ||
			     (order->lines[i].state == PH_LINE_TAKEN && order->command.no_wait);
		if (order->lines[i].state != PH_LINE_DONE && error == ETIMEDOUT &&
			!order->lines[i].text[0])
			ph_reason(order->lines[i].text, "it is still under way");
		list[i].id = order->lines[i].id;
		ph_reason(list[i].text, "%s", order->lines[i].text);
	}
	answer->ticket = order->command.ticket;
	answer->error = error;
	answer->outcomes = list;
	answer->n_outcomes = keyed ? order->n_lines : 0;
	ph_reason(answer->text, "%s", text);
	ph_out(hub, PH_ACT_ANSWER)->answer = answer;
	ph_timer_set(hub, &order->timer, PH_NEVER_MS);
	DL_DELETE(hub->orders, order);
	free(order->lines);
	ph_out_bury(hub, order);
}

static void refuse(struct ph_hub *hub, const struct ph_command *c, int error, const char *text)
{
	struct ph_answer *answer = ph_out_alloc(hub, sizeof *answer);
	answer->ticket = c->ticket;
	answer->error = error;
	ph_reason(answer->text, "%s", text);
	ph_out(hub, PH_ACT_ANSWER)->answer = answer;
}

/* Nobody owns it (yet): whoever claims it asks this node, and is told what is wished. */
static void wish_for(struct ph_hub *hub, const struct ph_command *c, struct ph_slot *slot,
	struct ph_order_line *line)
{
	line->state = PH_LINE_OPEN; /* looked at again: it may be claimed any moment */
	if (!slot || (c->verb != PH_VERB_STOP && c->verb != PH_VERB_START))
		return;
	ph_order_wish(hub, slot, c->verb == PH_VERB_STOP);
	if (c->verb == PH_VERB_STOP)
		line->state = PH_LINE_DONE;
}

static void send_order(struct ph_hub *hub, const struct ph_order *order, struct ph_order_line *line,
	const struct ph_name *to)
{
	struct ph_bmsg *msg = ph_send(hub, to, PH_B_ORDER);
	line->state = PH_LINE_SENT;
	msg->order = order->number;
	msg->verb = order->command.verb;
	msg->key = line->key;
	msg->target = order->command.node;
	msg->force = order->command.force;
	msg->id = line->id;
}

/* To the source of the migration that is meant; one that has ended is no more to be cancelled. */
static void send_cancel(struct ph_hub *hub, struct ph_order *order, struct ph_order_line *line)
{
	const struct ph_history *h = ph_cancel_find(hub, order, line);
	if (!h)
		return;
	if (!ph_is_self(hub, &h->info.from))
		send_order(hub, order, line, &h->info.from);
	else if (ph_cancel_carry_out(hub, &line->key, &line->id, line->text))
		ph_cancel_refused(line);
	else
		line->state = PH_LINE_TAKEN;
}

/* Sends the line's order to whoever owns the key now, or carries it out here. */
static void send_line(struct ph_hub *hub, struct ph_order *order, struct ph_order_line *line)
{
	const struct ph_command *c = &order->command;
	struct ph_slot *slot = slot_of(hub, line);
	bool node_order = c->verb == PH_VERB_DRAIN || c->verb == PH_VERB_UNDRAIN;
	struct ph_name to = node_order ? c->node : hub->set.node;
	line->sent_ms = hub->now_ms;
	line->tries++;
	if (c->verb == PH_VERB_CANCEL) {
		send_cancel(hub, order, line);
		return;
	}
	if (c->verb == PH_VERB_FORGET) {
		ph_forget_send(hub, order, line);
		return;
	}
	if (!node_order) {
		if (!slot || !slot->entered || slot->entry.state == PH_CHILD_RELEASED) {
			wish_for(hub, c, slot, line);
			return;
		}
		to = slot->entry.node->name;
	}
	if (!ph_is_self(hub, &to)) {
		send_order(hub, order, line, &to);
		return;
	}
	if (node_order) {
		bool taken =
			ph_order_set_draining(hub, c->verb == PH_VERB_DRAIN, c->force, line->text);
		line->state = taken ? PH_LINE_TAKEN : PH_LINE_FAILED;
		return;
	}
	int r = ph_order_carry_out(hub, slot, c->verb, &c->node, c->force, &line->id, line->text);
	line->state = r == 0 ? PH_LINE_TAKEN : r == -EAGAIN ? PH_LINE_OPEN : PH_LINE_FAILED;
}

/*
 * The newest migration of that key from that node: a busy worker is asked again under another id.
 * The list is in the order of arrival; the source's version tells the order in which it happened.
 */
static const struct ph_history *newest_of(
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

/* A migration of it runs, as far as is known. */
static bool moving(struct ph_hub *hub, const struct ph_key *key)
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
		const struct ph_history *newest = newest_of(hub, &line->key, &h->info.from);
		line->id = newest ? newest->info.id : line->id;
		if ((newest && newest != h) || !let_go(hub, line, &h->info.from))
			return;
	}
	line->state = h->info.result == PH_RESULT_DONE ? PH_LINE_DONE : PH_LINE_FAILED;
	ph_reason(line->text, "%s", h->info.reason);
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

/* It was to run, and has come to an end since: a job that is done, or one that failed. */
static void look_at_end(
	const struct ph_order *order, struct ph_order_line *line, const struct ph_slot *slot)
{
	const struct ph_held *e = slot && slot->entered ? &slot->entry : NULL;
	bool since = slot && slot->since_ms >= order->started_ms;
	if (!e || (e->state != PH_CHILD_FAILED && !(e->state == PH_CHILD_STOPPED && since)))
		return;
	const char *why = slot->work->instance ? slot->work->instance->why : "";
	bool good = e->state == PH_CHILD_STOPPED && e->exit.kind == PH_EXIT_CODE && !e->exit.value;
	line->state = good ? PH_LINE_DONE : PH_LINE_FAILED;
	if (why[0])
		ph_reason(line->text, "%s", why);
	else if (e->exit.kind == PH_EXIT_CODE)
		ph_reason(line->text, "it ended with exit code %u", e->exit.value);
	else if (e->exit.kind == PH_EXIT_SIGNAL || e->exit.kind == PH_EXIT_CORE)
		ph_reason(line->text, "it was ended by signal %u", e->exit.value);
	else
		ph_reason(line->text, e->state == PH_CHILD_FAILED ? "it failed" : "it ended");
}

/*
 * Taken, but whoever took it may be lost before anybody else heard of the wish, or its journal with
 * it: then it is given to the owner again, which one that has it answers only. Who has kept the
 * wish and does so no more was told to start it.
 */
static void look_at_stop(struct ph_hub *hub, struct ph_order_line *line, const struct ph_slot *slot)
{
	const struct ph_held *e = slot && slot->entered ? &slot->entry : NULL;
	const struct ph_member *m = e ? ph_member_find(hub, &e->node->name) : NULL;
	if (e && (e->state == PH_CHILD_STOPPED || e->state == PH_CHILD_FAILED)) {
		line->state = PH_LINE_DONE;
	} else if (slot && slot->wish_stopped) {
		line->wisher = e ? e->node->name : hub->set.node;
		line->wished_ms = hub->now_ms;
	} else if (e && ph_name_equal(&e->node->name, &line->wisher) &&
		   (!m || m->first_ms <= line->wished_ms)) {
		line->state = PH_LINE_FAILED;
		ph_reason(line->text, "it was started again meanwhile");
	} else if (hub->now_ms >= line->sent_ms + UNWISHED_MS && !moving(hub, &line->key) &&
		   (!m || !ph_member_live(m) || ph_registry_in_step(hub, m))) {
		bool tired = line->tries >= ORDER_TRIES;
		line->state = tired ? PH_LINE_FAILED : PH_LINE_OPEN;
		ph_reason(line->text, "%s", tired ? "its owner does not keep it stopped" : "");
	}
}

/* Is what the line asked for so? */
static void look(struct ph_hub *hub, struct ph_order *order, struct ph_order_line *line)
{
	const struct ph_command *c = &order->command;
	const struct ph_slot *slot = slot_of(hub, line);
	const struct ph_held *e = slot && slot->entered ? &slot->entry : NULL;
	bool ready =
		e && e->state == PH_CHILD_RUNNING && e->ready && ph_member_up(hub, &e->node->name);
	bool down = e && (e->state == PH_CHILD_STOPPED || e->state == PH_CHILD_FAILED);
	switch (c->verb) {
	case PH_VERB_START:
		if (ready)
			line->state = PH_LINE_DONE;
		else
			look_at_end(order, line, slot);
		break;
	case PH_VERB_STOP:
		look_at_stop(hub, line, slot);
		break;
	case PH_VERB_RESTART:
		if (ready && e->pid != line->pid)
			line->state = PH_LINE_DONE;
		else
			look_at_end(order, line, slot);
		break;
	case PH_VERB_MOVE: /* no id: it was there already */
		if (!ph_id_none(&line->id))
			look_at_move(hub, line);
		else if (e && ph_name_equal(&e->node->name, &c->node))
			line->state = PH_LINE_DONE;
		break;
	case PH_VERB_DRAIN:
		if (node_drained(hub, &c->node, line)) {
			line->state = PH_LINE_DONE;
		} else if (undrained(hub, &c->node) &&
			   hub->now_ms >= line->sent_ms + UNDRAINED_MS) {
			line->state = PH_LINE_FAILED;
			ph_reason(line->text, "the node was undrained meanwhile");
		}
		break;
	case PH_VERB_UNDRAIN:
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
		if (c->wait_for == PH_WAIT_READY	 ? ready
			: c->wait_for == PH_WAIT_STOPPED ? down
							 : false)
			line->state = PH_LINE_DONE;
		break;
	case PH_VERB_NONE:
	case PH_VERB_RELOAD:
	case PH_VERB_COUNT:
		break;
	}
}

/* Nobody has taken it in all that time: who gave the order is to know, not to wait. */
static void give_up(struct ph_order_line *line)
{
	if (line->node.s[0])
		ph_reason(line->text, "node %s does not answer", line->node.s);
	else if (line->state == PH_LINE_SENT)
		ph_reason(line->text, "the node that owns it does not answer");
	else if (!line->text[0])
		ph_reason(line->text, "no node has it, and none may start it");
	line->state = PH_LINE_FAILED;
}

/* What runs on one node only is nobody else's when that one is gone: nothing will be heard of it.
 */
static void node_gone(const struct ph_hub *hub, struct ph_order_line *line)
{
	if (!line->local.s[0] || line->state == PH_LINE_DONE || line->state == PH_LINE_FAILED ||
		ph_member_up(hub, &line->local))
		return;
	line->state = PH_LINE_FAILED;
	ph_reason(line->text, "node %s is gone", line->local.s);
}

static void advance(struct ph_hub *hub, struct ph_order *order)
{
	const struct ph_command *c = &order->command;
	bool waits = c->verb == PH_VERB_WAIT;
	for (size_t i = 0; i < order->n_lines; i++) {
		struct ph_order_line *line = &order->lines[i];
		if (!waits)
			node_gone(hub, line);
		bool again = hub->now_ms >= line->sent_ms + ORDER_AGAIN_MS || !line->tries;
		bool unheard = line->state == PH_LINE_OPEN || line->state == PH_LINE_SENT;
		bool tired = line->tries >= (c->no_wait ? ORDER_TRIES_HASTY : ORDER_TRIES);
		/* What cannot be while a migration of it runs is done after it. */
		tired = tired && (c->no_wait || !moving(hub, &line->key));
		if (!waits && unheard && again && tired)
			give_up(line);
		else if (!waits && unheard && again)
			send_line(hub, order, line);
		if (waits && c->wait_for == PH_WAIT_MOVED && !moving(hub, &line->key))
			line->state = PH_LINE_DONE;
		if (line->state == PH_LINE_TAKEN || (waits && line->state == PH_LINE_OPEN))
			if (!c->no_wait || waits)
				look(hub, order, line);
	}
}

/* What every node can see of it. */
static const char *seen_why_left(struct ph_hub *hub, const struct ph_slot *slot)
{
	const struct ph_spec *spec = slot->child ? ph_child_spec(slot->child) : NULL;
	bool here = spec && !ph_is_self(hub, &slot->entry.node->name) && !hub->draining &&
		    ph_place_allows(hub, spec, &hub->set.node);
	if (spec && !spec->swap)
		return "its migration.strategy is none";
	if (spec && !here && !ph_place_reached(hub, slot))
		return "no other node may have it";
	return slot->entry.state == PH_CHILD_STOPPED || slot->entry.state == PH_CHILD_FAILED
		       ? "it is not running"
		       : "it cannot be moved";
}

/* Why it is where it is: as its node knows, or as its last migration tells everybody. */
static const char *why_left(
	struct ph_hub *hub, const struct ph_order *order, const struct ph_slot *slot)
{
	const struct ph_move *move = slot->work->move;
	if (move && move->why[0])
		return move->why;
	const struct ph_history *h = newest_of(hub, PH_SLOT_KEY(slot), &order->command.node);
	bool since = h && h->at_ms >= order->started_ms;
	return since && h->info.result == PH_RESULT_ABORTED && h->info.reason[0]
		       ? h->info.reason
		       : seen_why_left(hub, slot);
}

/* What a drained node still has, as lines of the answer. */
static size_t list_left(struct ph_hub *hub, struct ph_order *order)
{
	size_t n = 0;
	for (struct ph_slot *slot = ph_slot_first(hub); slot; slot = ph_slot_next(hub, slot)) {
		if (!ph_slot_owned(slot) || slot->local || slot->wish_stopped ||
			!ph_name_equal(&slot->entry.node->name, &order->command.node))
			continue;
		add_line(order, slot);
		struct ph_order_line *line = &order->lines[order->n_lines - 1];
		line->state = PH_LINE_FAILED;
		ph_reason(line->text, "%s", why_left(hub, order, slot));
		n++;
	}
	return n;
}

/* What has left the node since the order was given. */
static void list_moved(struct ph_hub *hub, struct ph_order *order)
{
	const struct ph_history *h;
	DL_FOREACH (hub->history, h) {
		const struct ph_migration_info *info = &h->info;
		const struct ph_slot *slot = ph_slot_find(hub, &info->key, NULL);
		if (!slot || info->result != PH_RESULT_DONE ||
			!ph_name_equal(&info->from, &order->command.node) ||
			h->at_ms < order->started_ms)
			continue;
		add_line(order, slot);
		order->lines[order->n_lines - 1].state = PH_LINE_DONE;
		order->lines[order->n_lines - 1].id = info->id;
	}
}

static void finish_drain(struct ph_hub *hub, struct ph_order *order)
{
	bool failed = order->lines[0].state == PH_LINE_FAILED;
	char text[PH_REASON_SIZE];
	ph_reason(text, "%s", order->lines[0].text);
	order->n_lines = 0;
	size_t left = failed || order->command.no_wait || order->command.verb == PH_VERB_UNDRAIN
			      ? 0
			      : list_left(hub, order);
	if (!failed && !order->command.no_wait && order->command.verb == PH_VERB_DRAIN)
		list_moved(hub, order);
	order->command.child = ph_name_of("*"); /* so that the lines are reported */
	if (failed)
		finish(hub, order, EREMOTEIO, text);
	else
		finish(hub, order, left ? EINPROGRESS : 0, left ? "some children are left" : "");
}

static void check_one(struct ph_hub *hub, struct ph_order *order)
{
	const struct ph_command *c = &order->command;
	size_t open = 0, failed = 0;
	advance(hub, order);
	if (c->verb == PH_VERB_FORGET && ph_forget_agreed(hub, order))
		advance(hub, order);
	for (size_t i = 0; i < order->n_lines; i++) {
		enum ph_order_line_state state = order->lines[i].state;
		failed += state == PH_LINE_FAILED;
		open += state == PH_LINE_OPEN || state == PH_LINE_SENT ||
			(state == PH_LINE_TAKEN && !c->no_wait);
	}
	if (c->verb == PH_VERB_FORGET && failed)
		open = 0; /* nobody does it, then */
	bool timeout = (c->timeout_ms && hub->now_ms >= order->started_ms + c->timeout_ms) ||
		       hub->now_ms >= order->started_ms + ORDER_MAX_MS;
	if (open && timeout) {
		finish(hub, order, ETIMEDOUT, "not done within the time given");
	} else if (!open && (c->verb == PH_VERB_DRAIN || c->verb == PH_VERB_UNDRAIN)) {
		finish_drain(hub, order);
	} else if (!open) {
		const char *text = "";
		int error = failed ? EREMOTEIO : 0;
		for (size_t i = 0; i < order->n_lines && failed && !text[0]; i++)
			if (order->lines[i].state == PH_LINE_FAILED) {
				text = ph_out_text(hub, order->lines[i].text);
				error = order->lines[i].error ? order->lines[i].error : error;
			}
		finish(hub, order, error, text);
	} else {
		ph_timer_set(hub, &order->timer, hub->now_ms + LOOK_MS);
	}
}

void ph_order_stir(struct ph_hub *hub)
{
	for (struct ph_order *order = hub->orders; order; order = order->next)
		if (!order->timer.pos || order->timer.at_ms > hub->now_ms + STIR_MS)
			ph_timer_set(hub, &order->timer, hub->now_ms + STIR_MS);
}

void ph_order_deadline(struct ph_hub *hub, struct ph_order *order)
{
	check_one(hub, order);
}

static void ensure_slots(struct ph_hub *hub, const struct ph_name *name)
{
	const struct ph_child *child = ph_child_find(hub, name);
	const struct ph_spec *spec = child ? ph_child_spec(child) : NULL;
	for (uint32_t i = 0; spec && !spec->local && i < spec->instances; i++) {
		struct ph_key key = {.child = *name, .instance = i};
		(void)ph_slot_get(hub, &key, NULL);
	}
}

static bool open_lines(struct ph_hub *hub, struct ph_order *order)
{
	const struct ph_command *c = &order->command;
	if (c->verb == PH_VERB_DRAIN || c->verb == PH_VERB_UNDRAIN || c->verb == PH_VERB_CANCEL) {
		const struct ph_member *member = ph_member_find(hub, &c->node);
		ph_order_add_line(order)->drained_before = member && member->drained;
		return true;
	}
	if (c->verb == PH_VERB_FORGET) {
		ph_forget_lines(hub, order);
		return true;
	}
	ensure_slots(hub, &c->child);
	const struct ph_child *child = ph_child_find(hub, &c->child);
	const struct ph_spec *spec = child ? ph_child_spec(child) : NULL;
	for (struct ph_slot *slot = ph_slot_first(hub); slot; slot = ph_slot_next(hub, slot))
		if (spec && meant(hub, c, slot, spec))
			add_line(order, slot);
	return order->n_lines > 0;
}

void ph_order_command(struct ph_hub *hub, const struct ph_command *c)
{
	char text[PH_REASON_SIZE];
	bool node_order = c->verb == PH_VERB_DRAIN || c->verb == PH_VERB_UNDRAIN;
	bool names_node = c->verb == PH_VERB_MOVE || (node_order && c->node.s[0]);
	if (names_node && !ph_is_self(hub, &c->node) && !ph_member_find(hub, &c->node)) {
		ph_reason(text, "no node '%s' is known", c->node.s);
		refuse(hub, c, ENOENT, text);
		return;
	}
	if (names_node && !ph_member_up(hub, &c->node)) {
		ph_reason(text, "node %s is not alive", c->node.s);
		refuse(hub, c, EBUSY, text);
		return;
	}
	int error = c->verb == PH_VERB_FORGET ? ph_forget_refused(hub, &c->node, text) : 0;
	if (error) {
		refuse(hub, c, error, text);
		return;
	}
	struct ph_order *order = ph_must(calloc(1, sizeof *order));
	order->command = *c;
	if (node_order && !c->node.s[0])
		order->command.node = hub->set.node;
	order->number = ++hub->numbers;
	order->started_ms = hub->now_ms;
	order->timer.kind = PH_TIMER_ORDER;
	order->timer.owner = order;
	if (!open_lines(hub, order)) {
		free(order->lines);
		free(order);
		ph_reason(text, c->all_instances ? "no child '%s'" : "no child '%s/%u'", c->child.s,
			c->instance);
		refuse(hub, c, ENOENT, text);
		return;
	}
	DL_APPEND(hub->orders, order);
	ph_timer_set(hub, &order->timer, hub->now_ms);
}

void ph_order_detach(struct ph_hub *hub, uint64_t ticket)
{
	struct ph_order *order, *next;
	DL_FOREACH_SAFE(hub->orders, order, next)
	{
		if (order->command.ticket != ticket)
			continue;
		ph_timer_set(hub, &order->timer, PH_NEVER_MS);
		DL_DELETE(hub->orders, order);
		free(order->lines);
		ph_out_bury(hub, order);
	}
}
