/*
 * order.c - what operators order, and how they learn that it is done.
 *
 * An order for a child goes to its owner (ORDER, repeated until ORDER_ACK); whether it is done is
 * read from the registry and from the list of migrations, which every node has (order_look.c).
 */
#include "core/order.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ORDER_AGAIN_MS 500
#define ORDER_TRIES_HASTY 3  /* PH_ORDER_TRIES, where the operator does not want to wait */
#define ORDER_MAX_MS 3600000 /* an order that is followed for longer is let go */
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

void ph_order_add_slot(struct ph_order *order, const struct ph_slot *slot)
{
	struct ph_order_line *line = ph_order_add_line(order);
	line->key = ph_slot_key(slot);
	line->local = slot->work->local_of->name;
	line->pid = slot->entered ? slot->entry.pid : 0;
	line->wishes = slot->wishes;
}

static bool meant(const struct ph_hub *hub, const struct ph_command *c, const struct ph_slot *slot,
	const struct ph_spec *spec)
{
	bool local = slot->local;
	if (local != spec->local || slot->number >= spec->instances)
		return false;
	if (!c->all_instances && slot->number != c->instance)
		return false;
	if (slot->entered && slot->entry.state == PH_CHILD_REMOVED)
		return false;
	return !local || ph_member_up(hub, &slot->work->local_of->name);
}

static void refuse(struct ph_hub *hub, const struct ph_command *c, int error, const char *text)
{
	struct ph_answer *answer = ph_out_alloc(hub, sizeof *answer);
	answer->ticket = c->ticket;
	answer->error = error;
	ph_reason(answer->text, "%s", text);
	ph_out(hub, PH_ACT_ANSWER)->answer = answer;
}

/* Nobody owns it, but who had it last lives: what is wished of it is known by that one's word. */
static bool told_by_last(const struct ph_hub *hub, enum ph_verb verb, const struct ph_slot *slot)
{
	return (verb == PH_VERB_START || verb == PH_VERB_STOP) && ph_slot_released(slot) &&
	       ph_member_up(hub, &slot->entry.node->name);
}

/*
 * Nobody owns it (yet): whoever claims it asks this node, and is told what is wished. Where it had
 * an owner before, who is gone, this node's word alone counts for nothing.
 */
static void wish_for(struct ph_hub *hub, const struct ph_command *c, struct ph_slot *slot,
	struct ph_order_line *line)
{
	line->state = PH_LINE_OPEN; /* looked at again: it may be claimed any moment */
	if (c->verb == PH_VERB_SIGNAL && hub->self_state == PH_MEMBER_ALIVE) {
		line->state = PH_LINE_FAILED;
		ph_reason(line->text, "it is not running");
	}
	if (!slot || (c->verb != PH_VERB_STOP && c->verb != PH_VERB_START))
		return;
	ph_order_wish(hub, slot, c->verb == PH_VERB_STOP);
	/* Before this node has joined somebody may have it: that is to be heard of first. */
	bool joined = hub->self_state == PH_MEMBER_ALIVE;
	if (slot->entered)
		return;
	if (c->no_wait && !joined) {
		line->state = PH_LINE_DONE;
		ph_order_repeat(hub, slot, c->verb == PH_VERB_STOP);
	} else if (c->verb == PH_VERB_STOP && (joined || line->tries >= PH_ORDER_TRIES)) {
		line->state = PH_LINE_DONE;
		slot->wish_untold = !joined;
	}
}

void ph_order_send(struct ph_hub *hub, const struct ph_order *order, struct ph_order_line *line,
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
	msg->signal = (uint32_t)order->command.signal;
	msg->known_incarnation = line->revision;
}

/* To the source of the migration that is meant; one that has ended is no more to be cancelled. */
static void send_cancel(struct ph_hub *hub, struct ph_order *order, struct ph_order_line *line)
{
	const struct ph_history *h = ph_cancel_find(hub, order, line);
	if (!h)
		return;
	if (!ph_is_self(hub, &h->info.from))
		ph_order_send(hub, order, line, &h->info.from);
	else if (ph_cancel_carry_out(hub, &line->key, &line->id, line->text))
		ph_cancel_refused(line);
	else
		line->state = PH_LINE_TAKEN;
}

/* Sends the line's order to whoever owns the key now, or carries it out here. */
static void send_line(struct ph_hub *hub, struct ph_order *order, struct ph_order_line *line)
{
	const struct ph_command *c = &order->command;
	struct ph_slot *slot = ph_order_slot(hub, line);
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
	if (c->verb == PH_VERB_REMOVE) {
		ph_added_send(hub, order, line);
		return;
	}
	if (!node_order) {
		bool free = !slot || !slot->entered || ph_slot_released(slot);
		if (free && !(slot && told_by_last(hub, c->verb, slot))) {
			wish_for(hub, c, slot, line);
			return;
		}
		to = slot->entry.node->name;
	}
	if (!ph_is_self(hub, &to)) {
		ph_order_send(hub, order, line, &to);
		return;
	}
	if (node_order) {
		bool taken =
			ph_order_set_draining(hub, c->verb == PH_VERB_DRAIN, c->force, line->text);
		line->state = taken ? PH_LINE_TAKEN : PH_LINE_FAILED;
		return;
	}
	int r = c->verb == PH_VERB_SIGNAL ? ph_order_signal(hub, slot, c->signal, line->text)
					  : ph_order_carry_out(hub, slot, c->verb, &c->node,
						    c->force, &line->id, line->text);
	line->state = r == 0 ? PH_LINE_TAKEN : r == -EAGAIN ? PH_LINE_OPEN : PH_LINE_FAILED;
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
		bool tired = line->tries >= (c->no_wait ? ORDER_TRIES_HASTY : PH_ORDER_TRIES);
		/* What cannot be while a migration of it runs is done after it. */
		tired = tired && c->verb != PH_VERB_REMOVE;
		if (tired && !c->no_wait && ph_order_moving(hub, &line->key)) {
			line->tries = 1;
			tired = false;
		}
		if (!waits && unheard && again && tired)
			give_up(line);
		else if (!waits && unheard && again)
			send_line(hub, order, line);
		if (waits && c->wait_for == PH_WAIT_MOVED && !ph_order_moving(hub, &line->key))
			line->state = PH_LINE_DONE;
		if (line->state == PH_LINE_TAKEN || (waits && line->state == PH_LINE_OPEN))
			if (!c->no_wait || waits)
				ph_order_look(hub, order, line);
	}
}

/* An ADD that fails takes back first what it has added. */
static void end_order(struct ph_hub *hub, struct ph_order *order, int error, const char *text)
{
	if (ph_added_undo(hub, order, error, text))
		ph_timer_set(hub, &order->timer, hub->now_ms);
	else
		ph_order_finish(hub, order, error, text);
}

static void check_one(struct ph_hub *hub, struct ph_order *order)
{
	const struct ph_command *c = &order->command;
	size_t open = order->unsynced, failed = order->unsyncable;
	advance(hub, order);
	if (c->verb == PH_VERB_FORGET && ph_forget_agreed(hub, order))
		advance(hub, order);
	for (size_t i = order->undo_from; i < order->n_lines; i++) {
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
		end_order(hub, order, ETIMEDOUT, "not done within the time given");
	} else if (!open && (c->verb == PH_VERB_DRAIN || c->verb == PH_VERB_UNDRAIN)) {
		ph_order_finish_drain(hub, order);
	} else if (!open) {
		const char *text = order->unsyncable ? "the journal cannot be written" : "";
		int error = failed ? EREMOTEIO : 0;
		for (size_t i = 0; i < order->n_lines && failed && !text[0]; i++)
			if (order->lines[i].state == PH_LINE_FAILED) {
				text = ph_out_text(hub, order->lines[i].text);
				error = order->lines[i].error ? order->lines[i].error : error;
			}
		end_order(hub, order, error, text);
	} else {
		ph_timer_set(hub, &order->timer, hub->now_ms + LOOK_MS);
	}
}

void ph_order_stir(struct ph_hub *hub)
{
	if (hub->orders && !hub->stir.pos)
		ph_timer_set(hub, &hub->stir, hub->now_ms + STIR_MS);
}

/* An order is ended by its own look, and by no other one's. */
void ph_order_stirred(struct ph_hub *hub)
{
	struct ph_order *order, *next;
	DL_FOREACH_SAFE(hub->orders, order, next)
	check_one(hub, order);
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
	if (c->verb == PH_VERB_ADD || c->verb == PH_VERB_REMOVE) {
		ph_added_open(hub, order);
		return true;
	}
	ensure_slots(hub, &c->child);
	const struct ph_child *child = ph_child_find(hub, &c->child);
	const struct ph_spec *spec = child ? ph_child_spec(child) : NULL;
	for (struct ph_slot *slot = spec ? ph_slot_first_of(hub, child) : NULL; slot;
		slot = ph_slot_next_of(hub, slot))
		if (meant(hub, c, slot, spec))
			ph_order_add_slot(order, slot);
	return order->n_lines > 0;
}

static struct ph_order *order_new(struct ph_hub *hub, const struct ph_command *c)
{
	struct ph_order *order = ph_must(calloc(1, sizeof *order));
	order->command = *c;
	order->number = ++hub->numbers;
	order->started_ms = hub->now_ms;
	order->timer.kind = PH_TIMER_ORDER;
	order->timer.owner = order;
	return order;
}

void ph_order_repeat(struct ph_hub *hub, const struct ph_slot *slot, bool stopped)
{
	struct ph_command c = {.verb = stopped ? PH_VERB_STOP : PH_VERB_START,
		.child = slot->child->name,
		.instance = slot->number};
	struct ph_order *order = order_new(hub, &c);
	order->detached = true;
	ph_order_add_slot(order, slot);
	DL_APPEND(hub->orders, order);
	ph_timer_set(hub, &order->timer, hub->now_ms);
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
	if (c->verb == PH_VERB_ADD || c->verb == PH_VERB_REMOVE)
		error = ph_added_refused(hub, c, text);
	if (error) {
		refuse(hub, c, error, text);
		return;
	}
	struct ph_order *order = order_new(hub, c);
	if (node_order && !c->node.s[0])
		order->command.node = hub->set.node;
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

/* What was asked for goes on to its end, and what an ADD cannot have in time is taken back; only
 * who just waits has nothing more to wait for. */
void ph_order_detach(struct ph_hub *hub, uint64_t ticket)
{
	struct ph_order *order, *next;
	DL_FOREACH_SAFE(hub->orders, order, next)
	{
		if (order->command.ticket != ticket)
			continue;
		order->detached = true;
		if (order->command.verb == PH_VERB_WAIT)
			ph_order_finish(hub, order, 0, "");
	}
}
