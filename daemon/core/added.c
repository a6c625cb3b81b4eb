/*
 * added.c - children that an operator adds and removes while the cluster runs.
 *
 * The text of such a child is in force from the start, says itself that it was added, and is told
 * to all; every node keeps it in its journal. No file declares it, so nobody is asked who does:
 * wherever it is removed a tombstone is left, and whoever has the text or a worker still lets both
 * go. A file that comes to declare a child of that name takes it over, text and worker.
 *
 * An order to add is all or nothing, unless it is to keep going: what did not become ready within
 * its time is the reason for which all that the order added is removed again.
 */
#include "core/order.h"

#include <errno.h>

#define ADD_TIMEOUT_MS 60000 /* where none is given; or twice the longest start_timeout */

bool ph_child_is_added(const struct ph_child *child)
{
	return child->spec && child->spec->added;
}

/* ---- removing ---- */

uint64_t ph_added_remove(struct ph_hub *hub, struct ph_child *child, bool tell)
{
	uint64_t revision = child->spec->revision;
	if (child->own) { /* a file of this node declares it meanwhile: so it goes on */
		ph_child_own_in_force(hub, child);
		return 0;
	}
	child->dropped = child->disputed = child->proposes = false;
	for (struct ph_slot *slot = ph_slot_first_of(hub, child); slot;
		slot = ph_slot_next_of(hub, slot))
		if (ph_slot_mine(hub, slot))
			ph_child_end(hub, slot, revision);
	uint64_t ticket = ph_child_gone(hub, &child->name, UINT64_MAX);
	if (tell)
		ph_tombstone_tell(hub, child, NULL);
	ph_plan_soon(hub, 0);
	return ticket;
}

/* Is there still a process of it here? */
static bool runs_here(const struct ph_hub *hub, const struct ph_child *child, uint64_t revision)
{
	const struct ph_instance *i;
	DL_FOREACH (hub->instances, i)
		if (i->slot->child == child && i->spec->revision <= revision)
			return true;
	return false;
}

int ph_added_taken(
	struct ph_hub *hub, const struct ph_name *name, uint64_t revision, char why[PH_REASON_SIZE])
{
	struct ph_child *child = ph_child_find(hub, name);
	if (child && ph_child_is_added(child) && child->spec->revision <= revision)
		(void)ph_added_remove(hub, child, true);
	if (!child || child->own || !runs_here(hub, child, revision))
		return 0;
	ph_reason(why, "it is being stopped");
	return -EAGAIN;
}

/* ---- the order: what it is about ---- */

static int refuse(char ret[PH_REASON_SIZE], int error, const char *why)
{
	ph_reason(ret, "%s", why);
	return error;
}

/* Why a child cannot be removed; 0: it can. */
static int remove_refused(const struct ph_child *child, char ret[PH_REASON_SIZE])
{
	if (!child || (!child->spec && !child->own))
		return refuse(ret, ENOENT, "no such child");
	if (child->own)
		return refuse(ret, EBUSY,
			"the configuration of this node declares it: it goes when it is taken out "
			"there");
	if (!child->spec->added)
		return refuse(ret, EBUSY,
			"the configuration of another node declares it: it goes when it is taken "
			"out there");
	return 0;
}

/* Why a child cannot be added; 0: it can, or is there already, with that very text. */
static int add_refused(
	const struct ph_child *child, const struct ph_spec *spec, char ret[PH_REASON_SIZE])
{
	if (!child || (!child->spec && !child->own))
		return 0;
	if (child->own)
		return refuse(ret, EEXIST,
			"it exists already: the configuration of this node declares it");
	if (!child->spec->added)
		return refuse(ret, EEXIST,
			"it exists already: the configuration of another node declares it");
	if (child->spec->hash != spec->hash)
		return refuse(ret, EEXIST, "it exists already, with other options");
	return 0;
}

int ph_added_refused(struct ph_hub *hub, const struct ph_command *c, char text[PH_REASON_SIZE])
{
	char why[PH_REASON_SIZE] = "";
	if (c->verb == PH_VERB_REMOVE) {
		int error = remove_refused(ph_child_find(hub, &c->child), why);
		if (error == ENOENT)
			ph_reason(text, "no child '%s'", c->child.s);
		else
			ph_reason(text, "%s: %s", c->child.s, why);
		return error;
	}
	for (size_t i = 0; i < c->n_specs && !c->keep_going; i++) {
		const struct ph_spec *spec = c->specs[i];
		int error = add_refused(ph_child_find(hub, &spec->child), spec, why);
		if (!error)
			continue;
		ph_reason(text, "%s: %s", spec->child.s, why);
		return error;
	}
	return 0;
}

/* ---- the order: its lines ---- */

static struct ph_order_line *add_line(
	struct ph_order *order, const struct ph_name *child, uint32_t instance)
{
	struct ph_order_line *line = ph_order_add_line(order);
	line->key = (struct ph_key){.child = *child, .instance = instance};
	return line;
}

/* One for the child as a whole, of which nothing is waited for. */
static void settled_line(struct ph_order *order, const struct ph_name *child,
	enum ph_order_line_state state, int error, const char *text)
{
	struct ph_order_line *line = add_line(order, child, 0);
	line->state = state;
	line->whole = true;
	line->error = error;
	ph_reason(line->text, "%s", text);
}

static void await(struct ph_hub *hub, struct ph_order *order, uint64_t ticket)
{
	if (!ticket)
		return;
	ph_wait_add(hub, ticket, PH_WAIT_ADDED)->number = order->number;
	order->unsynced++;
}

static void add_one(struct ph_hub *hub, struct ph_order *order, const struct ph_spec *spec)
{
	struct ph_child *child = ph_child_get(hub, &spec->child);
	char why[PH_REASON_SIZE] = "";
	int error = add_refused(child, spec, why);
	if (error || child->spec) {
		settled_line(order, &spec->child, error ? PH_LINE_FAILED : PH_LINE_DONE, error,
			error ? why : "unchanged");
		return;
	}
	await(hub, order,
		ph_child_in_force(hub, child, spec, ph_child_next_revision(hub, child), true));
	ph_child_make_slots(hub, child->spec);
	(void)ph_emit(hub, PH_EMIT_CHILD_ADDED, &(struct ph_key){.child = child->name});
	for (uint32_t i = 0; i < spec->instances; i++) {
		struct ph_order_line *line = add_line(order, &spec->child, i);
		line->state = PH_LINE_TAKEN;
		line->revision = child->spec->revision;
		if (spec->local)
			line->local = hub->set.node;
	}
}

/* All of it is on the disk: now others hear of it, and it is started. If this daemon is killed
 * before, the next one has all of it or nothing, and nobody else has a part. */
static void in_force(struct ph_hub *hub, const struct ph_order *order)
{
	for (size_t i = 0; i < order->n_lines; i++) {
		const struct ph_order_line *line = &order->lines[i];
		struct ph_child *child = line->revision && !line->key.instance
						 ? ph_child_find(hub, &line->key.child)
						 : NULL;
		if (child && child->spec && child->spec->revision == line->revision)
			ph_child_put_text(hub, child, ph_cast(hub, PH_B_SPEC));
	}
	ph_plan_soon(hub, 0);
}

static void open_add(struct ph_hub *hub, struct ph_order *order)
{
	const struct ph_command *c = &order->command;
	uint64_t patience_ms = ADD_TIMEOUT_MS;
	for (size_t i = 0; i < c->n_specs; i++) {
		add_one(hub, order, c->specs[i]);
		if (2 * c->specs[i]->start_timeout_ms > patience_ms)
			patience_ms = 2 * c->specs[i]->start_timeout_ms;
	}
	if (!c->timeout_ms)
		order->command.timeout_ms = patience_ms;
	if (!order->unsynced)
		in_force(hub, order);
}

/* A line for each node and key that may have a worker of it: looked at until there is none. */
static void open_remove(struct ph_hub *hub, struct ph_order *order, struct ph_child *child)
{
	uint64_t revision = child->spec->revision;
	size_t before = order->n_lines;
	for (struct ph_slot *slot = ph_slot_first_of(hub, child); slot;
		slot = ph_slot_next_of(hub, slot)) {
		if (!ph_slot_owned(slot) && !slot->work->instance)
			continue;
		ph_order_add_slot(order, slot);
		order->lines[order->n_lines - 1].revision = revision;
		order->lines[order->n_lines - 1].local.s[0] = '\0';
		order->lines[order->n_lines - 1].node = slot->entry.node->name;
	}
	if (order->n_lines == before)
		settled_line(order, &child->name, PH_LINE_DONE, 0, "");
	await(hub, order, ph_added_remove(hub, child, true));
	(void)ph_emit(hub, PH_EMIT_CHILD_REMOVED, &(struct ph_key){.child = child->name});
}

void ph_added_open(struct ph_hub *hub, struct ph_order *order)
{
	if (order->command.verb == PH_VERB_REMOVE)
		open_remove(hub, order, ph_child_find(hub, &order->command.child));
	else
		open_add(hub, order);
	order->command.specs = NULL; /* they live as long as the step */
	order->command.n_specs = 0;
}

/* ---- the order: how it goes on ---- */

void ph_added_synced(struct ph_hub *hub, uint64_t number, bool ok)
{
	struct ph_order *order = hub->orders;
	while (order && order->number != number)
		order = order->next;
	if (!order)
		return;
	order->unsynced--;
	order->unsyncable |= !ok;
	if (!order->unsynced && !order->unsyncable && order->command.verb == PH_VERB_ADD)
		in_force(hub, order);
	ph_timer_set(hub, &order->timer, hub->now_ms);
}

/* To whoever had a worker of it: whoever is held for dead has none, or is told when it is back. */
void ph_added_send(struct ph_hub *hub, struct ph_order *order, struct ph_order_line *line)
{
	if (!ph_is_self(hub, &line->node)) {
		if (ph_member_up(hub, &line->node))
			ph_order_send(hub, order, line, &line->node);
		else
			line->state = PH_LINE_DONE;
	} else if (ph_added_taken(hub, &line->key.child, line->revision, line->text)) {
		line->state = PH_LINE_OPEN;
		line->sent_ms = 0; /* whenever the order is looked at */
	} else {
		line->state = PH_LINE_DONE;
		line->text[0] = '\0';
	}
	if (order->command.no_wait)
		line->state = PH_LINE_DONE;
}

/* ---- the order: taken back ---- */

bool ph_added_undo(struct ph_hub *hub, struct ph_order *order, int error, const char *text)
{
	if (order->command.verb != PH_VERB_ADD || order->command.keep_going || !error)
		return false;
	size_t n = order->n_lines, removed = 0;
	order->undo_error = error;
	ph_reason(order->undo_text, "%s", text);
	for (size_t i = 0; i < n; i++) {
		struct ph_order_line *line = &order->lines[i];
		struct ph_child *child = ph_child_find(hub, &line->key.child);
		bool ours = line->revision && child && child->spec &&
			    child->spec->revision == line->revision;
		if (!line->revision)
			continue;
		if (line->state != PH_LINE_FAILED)
			ph_reason(line->text, "%s",
				line->state == PH_LINE_DONE ? "removed again"
							    : "it was not ready in time");
		line->state = PH_LINE_FAILED;
		if (!ours)
			continue;
		open_remove(hub, order, child);
		removed++;
	}
	order->undo_from = n;
	order->command.verb = PH_VERB_REMOVE;
	order->command.timeout_ms = 0;
	order->command.no_wait = false;
	order->started_ms = hub->now_ms;
	return removed > 0;
}
