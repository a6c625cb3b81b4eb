/*
 * forget.c - an operator's `forget` of a node whose machine is switched off for good.
 *
 * All live members are asked first whether they would, and each decides for itself: it holds the
 * node for dead, or left, and the time is over that its fence needs to end what ran there. Only
 * then they are told to. For each it has left from then on: a tombstone keeps it away, it is not
 * waited for by one that has lost its journal, and with a quorum strategy the next view is one
 * without it, which a quorum of the view in force has to choose as always. Whoever speaks of it
 * later, having been away, is told. If it lives after all it comes back under a higher number, as a
 * new member.
 */
#include "core/member.h"
#include "core/order.h"

#include <errno.h>

#define TELL_MS 1000 /* between two who are told of one node */

bool ph_forgotten(const struct ph_hub *hub, const struct ph_name *name)
{
	const struct ph_tomb *tomb = ph_tomb_find(hub, name);
	return tomb && tomb->ordered;
}

int ph_forget_check(struct ph_hub *hub, const struct ph_name *name, uint64_t incarnation,
	char why[PH_REASON_SIZE])
{
	const struct ph_member *m = ph_member_find(hub, name);
	if (ph_is_self(hub, name)) {
		ph_reason(why, "node %s lives: it is this one", name->s);
		return -EBUSY;
	}
	if (m && ph_member_live(m)) {
		ph_reason(why,
			m->state == PH_MEMBER_SUSPECT ? "node %s is suspected only, not dead"
						      : "node %s lives",
			name->s);
		return -EBUSY;
	}
	if (m && incarnation && m->info.incarnation > incarnation) {
		ph_reason(why, "node %s has been back since", name->s);
		return -EBUSY;
	}
	if (hub->self_state != PH_MEMBER_ALIVE || hub->away || hub->bus_down ||
		!ph_fenced(hub, name)) {
		ph_reason(why, "what ran on node %s may still run", name->s);
		return -EAGAIN;
	}
	if (!ph_tomb_room(hub, name)) {
		ph_reason(why,
			"%d nodes are forgotten already, as many as can be: one more fits once the "
			"first of them has been so for a day",
			PH_NODES_MAX);
		return -EBUSY;
	}
	return 0;
}

int ph_forget_carry_out(struct ph_hub *hub, const struct ph_name *name, uint64_t incarnation,
	char why[PH_REASON_SIZE])
{
	struct ph_member *m = ph_member_find(hub, name);
	int error = ph_forget_check(hub, name, incarnation, why);
	if (error)
		return error;
	if (!m && ph_forgotten(hub, name))
		return 0;
	if (m && m->info.incarnation > incarnation)
		incarnation = m->info.incarnation;
	/* Without a quorum nothing is decided from it: what was promised is done when there is one.
	 */
	if (!ph_lease_valid(hub)) {
		ph_tomb_order(hub, name, incarnation, true);
		return 0;
	}
	if (!m || m->state == PH_MEMBER_LEFT) /* else it leaves now */
		ph_emit(hub, PH_EMIT_NODE_LEFT, NULL)->peer = *name;
	if (m) {
		ph_member_step(hub, m, PH_MEMBER_IN_LEAVE);
		ph_member_remove(hub, m);
	}
	ph_tomb_order(hub, name, incarnation, false);
	ph_migration_left(hub, name);
	ph_log(hub, PH_LOG_WARNING, "node %s is forgotten, as an operator has ordered", name->s);
	ph_plan_soon(hub, 0);
	return 0;
}

void ph_forget_beat(struct ph_hub *hub)
{
	struct ph_tomb *tomb, *next;
	char why[PH_REASON_SIZE];
	if (!ph_lease_valid(hub))
		return;
	HASH_ITER (hh, hub->tombs, tomb, next) {
		if (!tomb->owed)
			continue;
		struct ph_name name = tomb->name;
		if (ph_forget_carry_out(hub, &name, tomb->incarnation, why) != -EBUSY)
			continue;
		ph_log(hub, PH_LOG_WARNING, "node %s is not forgotten: %s", name.s, why);
		ph_tomb_lift(hub, &name);
	}
}

/* ---- whoever was away when it was ordered */

static void tell(struct ph_hub *hub, const struct ph_name *to, const struct ph_tomb *tomb)
{
	struct ph_bmsg *msg = ph_send(hub, to, PH_B_ORDER);
	msg->order = ++hub->numbers;
	msg->verb = PH_VERB_FORGET;
	msg->target = tomb->name;
	msg->known_incarnation = tomb->incarnation;
}

void ph_forget_heard(struct ph_hub *hub, const struct ph_name *from, const struct ph_echo *echo)
{
	struct ph_tomb *tomb = hub->tombs ? ph_tomb_find(hub, &echo->name) : NULL;
	if (!tomb || !tomb->ordered || echo->incarnation > tomb->incarnation ||
		hub->now_ms < tomb->told_ms + TELL_MS)
		return;
	tomb->told_ms = hub->now_ms;
	tell(hub, from, tomb);
}

void ph_forget_tell(struct ph_hub *hub, const struct ph_name *to)
{
	for (const struct ph_tomb *tomb = hub->tombs; tomb; tomb = tomb->hh.next)
		if (tomb->ordered)
			tell(hub, to, tomb);
}

/* ---- is it done? */

bool ph_forget_done(const struct ph_hub *hub, const struct ph_name *name)
{
	return !ph_quorate(hub) || !ph_quorum_has(&hub->view, name);
}

/* ---- the node whose operator it is ---- */

static bool no_quorum(const struct ph_hub *hub, char text[PH_REASON_SIZE])
{
	if (!ph_lease_valid(hub))
		ph_reason(text, "this node has no quorum, and the view changes only by one");
	return !ph_lease_valid(hub);
}

int ph_forget_refused(struct ph_hub *hub, const struct ph_name *name, char text[PH_REASON_SIZE])
{
	bool known = ph_is_self(hub, name) || ph_member_find(hub, name) ||
		     ph_forgotten(hub, name) || ph_quorum_has(&hub->view, name);
	if (!known) {
		ph_reason(text, "no node '%s' is known", name->s);
		return ENOENT;
	}
	if (no_quorum(hub, text))
		return EBUSY;
	return ph_forget_check(hub, name, 0, text) == -EBUSY ? EBUSY : 0;
}

void ph_forget_lines(struct ph_hub *hub, struct ph_order *order)
{
	const struct ph_member *m = ph_member_find(hub, &order->command.node);
	order->incarnation = m ? m->info.incarnation : 0;
	for (m = hub->members; m; m = m->hh.next)
		if (ph_member_live(m))
			ph_order_add_line(order)->node = m->info.name;
	ph_order_add_line(order)->node = hub->set.node;
}

static void answered(struct ph_order_line *line, int error)
{
	line->state = !error ? PH_LINE_TAKEN : error == -EAGAIN ? PH_LINE_OPEN : PH_LINE_FAILED;
	line->error = EBUSY;
	if (error == -EAGAIN)
		line->tries = 1; /* it only takes its time */
}

void ph_forget_send(struct ph_hub *hub, struct ph_order *order, struct ph_order_line *line)
{
	const struct ph_name *name = &order->command.node;
	if (ph_is_self(hub, &line->node) && no_quorum(hub, line->text)) {
		answered(line, -EBUSY);
		return;
	}
	if (ph_is_self(hub, &line->node)) {
		int error = order->agreed
				    ? ph_forget_carry_out(hub, name, order->incarnation, line->text)
				    : ph_forget_check(hub, name, order->incarnation, line->text);
		answered(line, error);
		return;
	}
	if (!ph_member_up(hub, &line->node)) { /* since then: it has no word in this any more */
		line->state = PH_LINE_TAKEN;
		return;
	}
	struct ph_bmsg *msg = ph_send(hub, &line->node, PH_B_ORDER);
	line->state = PH_LINE_SENT;
	msg->order = order->number;
	msg->verb = PH_VERB_FORGET;
	msg->target = *name;
	msg->known_incarnation = order->incarnation;
	msg->ask = !order->agreed;
}

void ph_forget_answered(struct ph_order_line *line)
{
	char text[PH_REASON_SIZE];
	ph_reason(text, "node %s says: %s", line->node.s, line->text);
	if (line->state == PH_LINE_FAILED)
		ph_reason(line->text, "%s", text);
	answered(line, line->state == PH_LINE_TAKEN  ? 0
		       : line->state == PH_LINE_OPEN ? -EAGAIN
						     : -EBUSY);
}

bool ph_forget_agreed(struct ph_hub *hub, struct ph_order *order)
{
	for (size_t i = 0; i < order->n_lines; i++)
		if (order->agreed || order->lines[i].state != PH_LINE_TAKEN)
			return false;
	order->agreed = true;
	order->number = ++hub->numbers;
	for (size_t i = 0; i < order->n_lines; i++) {
		order->lines[i].state = PH_LINE_OPEN;
		order->lines[i].tries = 0;
	}
	return true;
}
