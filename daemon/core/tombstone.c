/*
 * tombstone.c - what was removed stays removed, and is forgotten in the end.
 *
 * The entry of a removed child stays in its owner's part for a day at least, and until all whom
 * this node knows have heard of it; after a week it goes in any case. What stays for good, in the
 * journal too, is the revision that was removed: whoever comes back with that text in force, after
 * however long, is told so, and drops it. A text with a higher revision is a new child of that
 * name: that the old one was stopped by an operator is not so of it.
 */
#include "core/state.h"

#define TOMBSTONE_MS UINT64_C(86400000) /* a day */
#define TOMBSTONE_WATCH_MS 60000	/* ... and before it is over, who has heard is looked at */
#define TOMBSTONE_KEEP_MS (7 * TOMBSTONE_MS) /* ... whoever has not heard of it */
#define LINES_MAX 512			     /* removed children of one message */
#define MESSAGES_MAX 8			     /* ... to one who asks for all */

bool ph_tombstone(const struct ph_child *child)
{
	return child->removed_revision && !child->spec && !child->own;
}

/* Has everybody whom this node knows, and who has not left, heard of it? */
static bool heard_by_all(const struct ph_hub *hub, const struct ph_slot *slot)
{
	const struct ph_held *e = &slot->entry;
	const struct ph_member *author = e->node->member;
	if (!e->version || (!author && e->node != hub->slots.self))
		return false;
	for (const struct ph_member *m = hub->members; m; m = m->hh.next) {
		if (m == author || m->state == PH_MEMBER_LEFT || m->state == PH_MEMBER_UNKNOWN)
			continue;
		const struct ph_report *report = author ? ph_exchange_report(m, author) : NULL;
		uint64_t have =
			author ? report && !report->brief ? report->have : 0 : m->hears_me_have;
		if (!ph_member_live(m) || have < e->version)
			return false;
	}
	return true;
}

void ph_tombstones_drop(struct ph_hub *hub)
{
	for (struct ph_slot *slot = ph_slot_first(hub); slot; slot = ph_slot_next(hub, slot)) {
		if (!slot->entered || slot->entry.state != PH_CHILD_REMOVED ||
			slot->work->instance || slot->dirty)
			continue;
		uint64_t age = hub->now_ms - slot->since_ms;
		struct ph_member *author = slot->entry.node->member;
		if (author && age + TOMBSTONE_WATCH_MS >= TOMBSTONE_MS)
			author->watched = true; /* from the next heartbeats on it is known */
		if (age >= TOMBSTONE_KEEP_MS || (age >= TOMBSTONE_MS && heard_by_all(hub, slot)))
			ph_slot_forget(hub, slot);
	}
}

void ph_tombstone_wish(struct ph_hub *hub, struct ph_slot *slot)
{
	if (!slot->wish_stopped && !slot->wishes)
		return;
	slot->wish_stopped = slot->wish_untold = false;
	slot->wishes = 0;
	struct ph_record record = ph_slot_record(slot);
	(void)ph_journal(hub, &record); /* no later than the removal itself */
}

void ph_tombstone_wishes(struct ph_hub *hub, const struct ph_child *child, uint64_t revision)
{
	for (struct ph_slot *slot = ph_slot_first_of(hub, child); slot;
		slot = ph_slot_next_of(hub, slot)) {
		bool has = ph_slot_owned(slot) || ph_slot_released(slot);
		/* The next one is there already; or a file declares it, and an order was given to
		 * what nobody has yet: that is for the next one, too. */
		bool next = (has && slot->entry.revision > revision) ||
			    (!slot->entered && child->own && !child->spec);
		if (!next)
			ph_tombstone_wish(hub, slot);
	}
}

static void put(struct ph_spec_line *line, const struct ph_child *child)
{
	line->child = child->name;
	line->revision = child->removed_revision;
}

void ph_tombstone_tell(struct ph_hub *hub, const struct ph_child *child, const struct ph_name *to)
{
	struct ph_bmsg *msg = to ? ph_send(hub, to, PH_B_SPEC) : ph_cast(hub, PH_B_SPEC);
	struct ph_spec_line *line = ph_out_alloc(hub, sizeof *line);
	put(line, child);
	msg->specs = line;
	msg->n_specs = 1;
}

void ph_tombstones_tell(struct ph_hub *hub, const struct ph_name *to)
{
	struct ph_bmsg *msg = NULL;
	struct ph_spec_line *lines = NULL;
	size_t messages = 0;
	for (struct ph_child *child = hub->children; child; child = child->hh.next) {
		if (!ph_tombstone(child))
			continue;
		if (!msg || msg->n_specs == LINES_MAX) {
			if (messages++ == MESSAGES_MAX)
				return;
			msg = ph_send(hub, to, PH_B_SPEC);
			msg->specs = lines = ph_out_alloc(hub, LINES_MAX * sizeof *lines);
		}
		put(&lines[msg->n_specs++], child);
	}
}
