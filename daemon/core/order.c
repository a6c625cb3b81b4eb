/*
 * order.c - what operators order, and how they learn that it is done.
 *
 * An order for a child goes to its owner (ORDER, repeated until ORDER_ACK); whether it is done is
 * read from the registry and from the list of migrations, which every node has.
 */
#include "core/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ORDER_AGAIN_MS 500
#define ORDER_TRIES 20	     /* ORDER without an answer, or without an owner to send it to */
#define ORDER_MAX_MS 3600000 /* an order that is followed for longer is let go */
#define UNDRAINED_MS 2000    /* its heartbeat has had time to say that it drains */
#define UNHEARD_MS 10000     /* the list of migrations has had time to come here */
#define STIR_MS 5	     /* changes are gathered for so long before an order is looked at */
#define LOOK_MS 200	     /* its state is looked at again, whatever happened */

/* ---- the owner: carry it out ---- */

static void journal_wish(struct ph_hub *hub, struct ph_slot *slot, bool stopped)
{
	slot->wish_stopped = stopped;
	struct ph_record record = {.kind = PH_RECORD_SEEN,
		.key = slot->k.key,
		.peer = slot->k.local,
		.epoch = slot->seen,
		.stopped_by_wish = stopped};
	(void)ph_journal(hub, &record);
}

static void do_start(struct ph_hub *hub, struct ph_slot *slot)
{
	journal_wish(hub, slot, false);
	if (ph_slot_busy(slot))
		ph_instance_step(hub, slot->instance, PH_INSTANCE_IN_START);
	else if (slot->instance)
		ph_plan_soon(hub, 0); /* it is asked for first */
	else
		ph_own_start(hub, slot, slot->entry.epoch, PH_LINEAGE_COLD);
	ph_slot_publish(hub, slot);
}

/* Between `commit` and the new owner's word nobody can carry it out yet. */
static bool in_flight(const struct ph_slot *slot)
{
	return slot->source && slot->source->state >= PH_SOURCE_COMMITTING &&
	       slot->source->state <= PH_SOURCE_FINISHING;
}

static void do_stop(struct ph_hub *hub, struct ph_slot *slot)
{
	journal_wish(hub, slot, true);
	struct ph_move *move = ph_move_of(hub, slot);
	if (move)
		ph_move_drop(hub, move);
	/* In this order, so that it is not told to go on first. */
	if (slot->instance)
		ph_instance_step(hub, slot->instance, PH_INSTANCE_IN_STOP);
	if (slot->source)
		ph_source_step(hub, slot->source, PH_SOURCE_IN_CANCEL);
	ph_slot_publish(hub, slot);
}

static int do_restart(struct ph_hub *hub, struct ph_slot *slot, char why[PH_REASON_SIZE])
{
	if (slot->source) {
		ph_reason(why, "a migration of it is running");
		return -EBUSY;
	}
	journal_wish(hub, slot, false);
	if (slot->instance)
		ph_instance_step(hub, slot->instance, PH_INSTANCE_IN_RESTART);
	else
		ph_own_start(hub, slot, slot->entry.epoch, PH_LINEAGE_COLD);
	return 0;
}

static int do_move(struct ph_hub *hub, struct ph_slot *slot, const struct ph_name *to, bool force,
	uint64_t order, struct ph_id *ret_id, char why[PH_REASON_SIZE])
{
	const struct ph_member *member = ph_member_find(hub, to);
	const struct ph_instance *instance = slot->instance;
	if (!member || member->state != PH_MEMBER_ALIVE) {
		ph_reason(why, "node %s is not alive", to->s);
		return -EINVAL;
	}
	if (member->info.draining) {
		ph_reason(why, "node %s is being drained", to->s);
		return -EINVAL;
	}
	if (!force && instance && !ph_place_allows(hub, instance->spec, to)) {
		ph_reason(why, "its placement does not allow node %s", to->s);
		return -EINVAL;
	}
	if (slot->source) {
		ph_reason(why, "a migration of it is running");
		return -EBUSY;
	}
	if (instance && instance->never_why[0] && !force) {
		ph_reason(why, "%s", instance->never_why);
		return -EINVAL;
	}
	if (!ph_plan_movable(hub, slot) || slot->wish_stopped) {
		ph_reason(why, !instance || slot->wish_stopped ? "it is not running"
			       : instance->spec->local	       ? "its placement is local"
			       : !instance->spec->swap
				       ? "its migration.strategy is none"
				       : "its worker cannot hand over its state, and "
					 "migration.handover is true");
		return -EINVAL;
	}
	*ret_id = ph_move_add(hub, slot, to, order, force)->id;
	return 0;
}

static int carry_out(struct ph_hub *hub, struct ph_slot *slot, enum ph_verb verb,
	const struct ph_name *to, bool force, struct ph_id *ret_id, char why[PH_REASON_SIZE])
{
	if (!slot || !ph_slot_mine(hub, slot) || in_flight(slot)) {
		ph_reason(why, "this node does not own it, or not for long");
		return -EAGAIN;
	}
	if (verb == PH_VERB_MOVE)
		return do_move(hub, slot, to, force, ++hub->numbers, ret_id, why);
	if (verb == PH_VERB_RESTART)
		return do_restart(hub, slot, why);
	if (verb == PH_VERB_START)
		do_start(hub, slot);
	else
		do_stop(hub, slot);
	return 0;
}

static void set_draining(struct ph_hub *hub, bool draining, bool force)
{
	struct ph_move *move, *next;
	hub->drain_force = force;
	for (struct ph_slot *slot = hub->slots; slot; slot = slot->hh.next)
		slot->move_failures = 0;
	if (hub->draining == draining)
		return;
	hub->draining = hub->drain_wish = draining;
	hub->drained = hub->drain_planned = false;
	struct ph_record record = {.kind = PH_RECORD_DRAINING, .ok = draining};
	(void)ph_journal(hub, &record);
	DL_FOREACH_SAFE(hub->moves, move, next)
	if (!move->order)
		ph_move_drop(hub, move);
	ph_plan_soon(hub, 0);
	ph_member_heartbeat_now(hub);
}

/* ---- an order of another node ---- */

static struct ph_done_order *done_before(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	for (size_t i = 0; i < PH_DONE_ORDERS; i++) {
		struct ph_done_order *done = &hub->done_orders[i];
		if (done->order == msg->order && ph_name_equal(&done->from, &msg->from) &&
			ph_key_equal(&done->key, &msg->key))
			return done;
	}
	return NULL;
}

static void on_order(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	struct ph_done_order *done = done_before(hub, msg);
	int error = 0;
	if (!done) {
		done = &hub->done_orders[hub->next_done_order++ % PH_DONE_ORDERS];
		memset(done, 0, sizeof *done);
		done->from = msg->from;
		done->order = msg->order;
		done->key = msg->key;
		if (msg->verb == PH_VERB_DRAIN || msg->verb == PH_VERB_UNDRAIN) {
			set_draining(hub, msg->verb == PH_VERB_DRAIN, msg->force);
			done->ok = true;
		} else {
			struct ph_slot *slot = ph_slot_find(hub, &msg->key, NULL);
			error = carry_out(hub, slot, msg->verb, &msg->target, msg->force,
				&done->id, done->reason);
			done->ok = error == 0;
			if (error == -EAGAIN) /* not to be remembered: it is asked again */
				done->order = 0;
		}
	}
	struct ph_bmsg *answer = ph_send(hub, &msg->from, PH_B_ORDER_ACK);
	answer->order = msg->order;
	answer->key = msg->key;
	answer->ok = done->ok;
	answer->busy = error == -EAGAIN;
	answer->id = done->id;
	ph_reason(answer->reason, "%s", done->reason);
}

static void on_ack(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	for (struct ph_order *order = hub->orders; order; order = order->next) {
		if (order->number != msg->order)
			continue;
		for (size_t i = 0; i < order->n_lines; i++) {
			struct ph_order_line *line = &order->lines[i];
			if (line->state != PH_LINE_SENT || !ph_key_equal(&line->key, &msg->key))
				continue;
			line->state = msg->ok	  ? PH_LINE_TAKEN
				      : msg->busy ? PH_LINE_OPEN /* somebody else's by now */
						  : PH_LINE_FAILED;
			line->id = msg->id;
			ph_reason(line->text, "%s", msg->reason);
		}
	}
}

void ph_order_message(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	if (msg->kind == PH_B_ORDER)
		on_order(hub, msg);
	else
		on_ack(hub, msg);
	ph_order_stir(hub);
}

/* ---- the node whose operator it is ---- */

static void add_line(struct ph_order *order, const struct ph_slot *slot)
{
	order->lines = ph_must(realloc(order->lines, (order->n_lines + 1) * sizeof *order->lines));
	struct ph_order_line *line = &order->lines[order->n_lines++];
	memset(line, 0, sizeof *line);
	if (!slot)
		return;
	line->key = slot->k.key;
	line->owner = slot->k.local; /* until it is sent */
	line->pid = slot->entered ? slot->entry.pid : 0;
}

static bool meant(const struct ph_hub *hub, const struct ph_command *c, const struct ph_slot *slot)
{
	if (!ph_name_equal(&slot->k.key.child, &c->child))
		return false;
	if (!c->all_instances && slot->k.key.instance != c->instance)
		return false;
	if (slot->entered && slot->entry.state == PH_CHILD_REMOVED)
		return false;
	return !slot->k.local.s[0] || ph_is_self(hub, &slot->k.local);
}

static void finish(struct ph_hub *hub, struct ph_order *order, int error, const char *text)
{
	struct ph_answer *answer = ph_out_alloc(hub, sizeof *answer);
	struct ph_outcome *list = ph_out_alloc(hub, (order->n_lines + 1) * sizeof *list);
	bool keyed = order->command.child.s[0] != '\0';
	for (size_t i = 0; keyed && i < order->n_lines; i++) {
		list[i].key = order->lines[i].key;
		list[i].ok = order->lines[i].state == PH_LINE_DONE ||
			     order->lines[i].state == PH_LINE_TAKEN;
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

/* Sends the line's order to whoever owns the key now, or carries it out here. */
static void send_line(struct ph_hub *hub, struct ph_order *order, struct ph_order_line *line)
{
	const struct ph_command *c = &order->command;
	struct ph_slot *slot = ph_slot_find(hub, &line->key,
		line->owner.s[0] && ph_is_self(hub, &line->owner) ? &line->owner : NULL);
	bool node_order = c->verb == PH_VERB_DRAIN || c->verb == PH_VERB_UNDRAIN;
	struct ph_name to = node_order ? c->node : hub->set.node;
	line->sent_ms = hub->now_ms;
	line->tries++;
	if (!node_order) {
		if (!slot || !slot->entered || slot->entry.state == PH_CHILD_RELEASED)
			return; /* nobody's yet: looked at again */
		to = slot->entry.node;
	}
	if (!ph_is_self(hub, &to)) {
		line->state = PH_LINE_SENT;
		struct ph_bmsg *msg = ph_send(hub, &to, PH_B_ORDER);
		msg->order = order->number;
		msg->verb = c->verb;
		msg->key = line->key;
		msg->target = c->node;
		msg->force = c->force;
		return;
	}
	if (node_order) {
		set_draining(hub, c->verb == PH_VERB_DRAIN, c->force);
		line->state = PH_LINE_TAKEN;
		return;
	}
	int r = carry_out(hub, slot, c->verb, &c->node, c->force, &line->id, line->text);
	line->state = r == 0 ? PH_LINE_TAKEN : r == -EAGAIN ? PH_LINE_OPEN : PH_LINE_FAILED;
}

static const struct ph_history *history_of(const struct ph_hub *hub, const struct ph_id *id)
{
	struct ph_history *h;
	HASH_FIND(hh, hub->history_by_id, id->b, sizeof id->b, h);
	return h;
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

static void look_at_move(struct ph_hub *hub, struct ph_order_line *line)
{
	const struct ph_history *h = history_of(hub, &line->id);
	if (!h && hub->now_ms >= line->sent_ms + UNHEARD_MS) {
		line->state = PH_LINE_FAILED;
		ph_reason(line->text, "nothing is heard of the migration");
	}
	if (!h || h->info.result == PH_RESULT_RUNNING)
		return;
	if (h->info.result == PH_RESULT_ABORTED && ph_plan_tried_again(h->info.reason)) {
		h = newest_of(hub, &line->key, &h->info.from);
		line->id = h ? h->info.id : line->id;
		return;
	}
	line->state = h->info.result == PH_RESULT_DONE ? PH_LINE_DONE : PH_LINE_FAILED;
	ph_reason(line->text, "%s", h->info.reason);
}

static bool node_drained(struct ph_hub *hub, const struct ph_name *node)
{
	if (ph_is_self(hub, node))
		return hub->draining && hub->drained;
	const struct ph_member *member = ph_member_find(hub, node);
	return !member || !ph_member_live(member) ||
	       (member->info.draining && member->drained && ph_registry_in_step(hub, member));
}

static bool undrained(const struct ph_hub *hub, const struct ph_name *node)
{
	const struct ph_member *member = ph_member_find(hub, node);
	return ph_is_self(hub, node) ? !hub->draining : member && !member->info.draining;
}

/* Is what the line asked for so? */
static void look(struct ph_hub *hub, struct ph_order *order, struct ph_order_line *line)
{
	const struct ph_command *c = &order->command;
	const struct ph_slot *slot = ph_slot_find(hub, &line->key,
		line->owner.s[0] && ph_is_self(hub, &line->owner) ? &line->owner : NULL);
	const struct ph_entry *e = slot && slot->entered ? &slot->entry : NULL;
	bool ready = e && e->state == PH_CHILD_RUNNING && e->ready;
	bool down = e && (e->state == PH_CHILD_STOPPED || e->state == PH_CHILD_FAILED);
	switch (c->verb) {
	case PH_VERB_START:
		if (ready)
			line->state = PH_LINE_DONE;
		else if (e && e->state == PH_CHILD_FAILED)
			line->state = PH_LINE_FAILED, ph_reason(line->text, "it failed");
		break;
	case PH_VERB_STOP:
		line->state = down ? PH_LINE_DONE : line->state;
		break;
	case PH_VERB_RESTART:
		if (ready && e->pid != line->pid)
			line->state = PH_LINE_DONE;
		else if (e && e->state == PH_CHILD_FAILED)
			line->state = PH_LINE_FAILED, ph_reason(line->text, "it failed");
		break;
	case PH_VERB_MOVE:
		look_at_move(hub, line);
		break;
	case PH_VERB_DRAIN:
		if (node_drained(hub, &c->node)) {
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

/* `wait --for=moved`: no migration of it runs (any more). */
static bool moving(struct ph_hub *hub, const struct ph_key *key)
{
	struct ph_history *h;
	DL_FOREACH (hub->history, h)
		if (h->info.result == PH_RESULT_RUNNING && ph_key_equal(&h->info.key, key))
			return true;
	return false;
}

/* Nobody has taken it in all that time: who gave the order is to know, not to wait. */
static void give_up(struct ph_order_line *line)
{
	ph_reason(line->text, line->state == PH_LINE_SENT
				      ? "the node that owns it does not answer"
				      : "no node has it, and none may start it");
	line->state = PH_LINE_FAILED;
}

static void advance(struct ph_hub *hub, struct ph_order *order)
{
	const struct ph_command *c = &order->command;
	bool waits = c->verb == PH_VERB_WAIT;
	for (size_t i = 0; i < order->n_lines; i++) {
		struct ph_order_line *line = &order->lines[i];
		bool again = hub->now_ms >= line->sent_ms + ORDER_AGAIN_MS || !line->tries;
		bool unheard = line->state == PH_LINE_OPEN || line->state == PH_LINE_SENT;
		if (!waits && unheard && again && line->tries >= ORDER_TRIES)
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

/* What a drained node still has, as lines of the answer. */
static size_t list_left(struct ph_hub *hub, struct ph_order *order)
{
	size_t n = 0;
	for (struct ph_slot *slot = hub->slots; slot; slot = slot->hh.next) {
		if (!slot->entered || slot->k.local.s[0] || slot->wish_stopped ||
			!ph_name_equal(&slot->entry.node, &order->command.node) ||
			slot->entry.state == PH_CHILD_RELEASED ||
			slot->entry.state == PH_CHILD_REMOVED)
			continue;
		add_line(order, slot);
		struct ph_order_line *line = &order->lines[order->n_lines - 1];
		struct ph_move *move = ph_move_of(hub, slot);
		line->state = PH_LINE_FAILED;
		ph_reason(
			line->text, "%s", move && move->why[0] ? move->why : "it cannot be moved");
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
	for (size_t i = 0; i < order->n_lines; i++) {
		enum ph_order_line_state state = order->lines[i].state;
		failed += state == PH_LINE_FAILED;
		open += state == PH_LINE_OPEN || state == PH_LINE_SENT ||
			(state == PH_LINE_TAKEN && !c->no_wait);
	}
	bool timeout = (c->timeout_ms && hub->now_ms >= order->started_ms + c->timeout_ms) ||
		       hub->now_ms >= order->started_ms + ORDER_MAX_MS;
	if (open && timeout) {
		finish(hub, order, ETIMEDOUT, "not done within the time given");
	} else if (!open && (c->verb == PH_VERB_DRAIN || c->verb == PH_VERB_UNDRAIN)) {
		finish_drain(hub, order);
	} else if (!open) {
		const char *text = "";
		for (size_t i = 0; i < order->n_lines && failed && !text[0]; i++)
			if (order->lines[i].state == PH_LINE_FAILED)
				text = ph_out_text(hub, order->lines[i].text);
		finish(hub, order, failed ? EREMOTEIO : 0, text);
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
	if (c->verb == PH_VERB_DRAIN || c->verb == PH_VERB_UNDRAIN) {
		add_line(order, NULL);
		return true;
	}
	ensure_slots(hub, &c->child);
	const struct ph_child *child = ph_child_find(hub, &c->child);
	const struct ph_spec *spec = child ? ph_child_spec(child) : NULL;
	for (struct ph_slot *slot = hub->slots; slot; slot = slot->hh.next)
		if (meant(hub, c, slot) && spec && slot->k.key.instance < spec->instances)
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
	if (node_order && names_node && !ph_member_up(hub, &c->node)) {
		ph_reason(text, "node %s is not alive", c->node.s);
		refuse(hub, c, EBUSY, text);
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
	for (size_t i = 0; i < order->n_lines && c->verb == PH_VERB_MOVE; i++) {
		struct ph_slot *slot = ph_slot_find(hub, &order->lines[i].key, NULL);
		if (slot && slot->entered && ph_name_equal(&slot->entry.node, &c->node)) {
			order->lines[i].state = PH_LINE_DONE;
			ph_reason(order->lines[i].text, "it is there already");
		}
	}
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
