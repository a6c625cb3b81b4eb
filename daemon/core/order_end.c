/*
 * order_end.c - how an order ends: what its operator is answered, and what a drain has left.
 */
#include "core/order.h"

#include <errno.h>
#include <stdlib.h>

static void tell(struct ph_hub *hub, struct ph_order *order, int error, const char *text)
{
	struct ph_answer *answer = ph_out_alloc(hub, sizeof *answer);
	struct ph_outcome *list = ph_out_alloc(hub, (order->n_lines + 1) * sizeof *list);
	bool partly = false;
	size_t n_lines = order->undo_error ? order->undo_from : order->n_lines;
	if (order->undo_error) {
		error = order->undo_error;
		text = order->undo_text;
	}
	bool keyed = order->command.child.s[0] || order->command.verb == PH_VERB_ADD ||
		     order->undo_error ||
		     (order->command.verb == PH_VERB_CANCEL && order->lines[0].key.child.s[0]);
	for (size_t i = 0; keyed && i < n_lines; i++) {
		list[i].key = order->lines[i].key;
		list[i].ok = order->lines[i].state == PH_LINE_DONE ||
			     (order->lines[i].state == PH_LINE_TAKEN && order->command.no_wait);
		if (order->lines[i].state != PH_LINE_DONE && error == ETIMEDOUT &&
			!order->lines[i].text[0])
			ph_reason(order->lines[i].text, "it is still under way");
		list[i].whole = order->lines[i].whole;
		list[i].error = order->lines[i].error;
		partly |= list[i].ok && order->command.keep_going;
		list[i].id = order->lines[i].id;
		ph_reason(list[i].text, "%s", order->lines[i].text);
	}
	answer->ticket = order->command.ticket;
	answer->error = error && partly ? EINPROGRESS : error;
	answer->outcomes = list;
	answer->n_outcomes = keyed ? n_lines : 0;
	ph_reason(answer->text, "%s", text);
	ph_out(hub, PH_ACT_ANSWER)->answer = answer;
}

void ph_order_finish(struct ph_hub *hub, struct ph_order *order, int error, const char *text)
{
	if (!order->detached)
		tell(hub, order, error, text);
	if (order->command.verb == PH_VERB_REGROUP) /* those here may be started */
		hub->look_again = true;
	ph_timer_set(hub, &order->timer, PH_NEVER_MS);
	DL_DELETE(hub->orders, order);
	free(order->lines);
	ph_out_bury(hub, order);
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
	const struct ph_history *h = ph_order_newest(hub, PH_SLOT_KEY(slot), &order->command.node);
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
			ph_slot_done(slot) ||
			!ph_name_equal(&slot->entry.node->name, &order->command.node))
			continue;
		ph_order_add_slot(order, slot);
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
		ph_order_add_slot(order, slot);
		order->lines[order->n_lines - 1].state = PH_LINE_DONE;
		order->lines[order->n_lines - 1].id = info->id;
	}
}

void ph_order_finish_drain(struct ph_hub *hub, struct ph_order *order)
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
		ph_order_finish(hub, order, EREMOTEIO, text);
	else
		ph_order_finish(
			hub, order, left ? EINPROGRESS : 0, left ? "some children are left" : "");
}
