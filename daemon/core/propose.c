/*
 * propose.c - a text that changed in the file of a node where the child does not run.
 *
 * The text in force is its owner's. Where the owner's own file does not know the child, nothing
 * that changes there could ever bring another text: so the node whose file has changed proposes
 * its own, until the owner has taken it, or says that its file declares the child. Where that is
 * not enough an operator has one node's texts put in force for all (ph_spread).
 */
#include "core/state.h"

#define AGAIN_MS \
	5000 /* a proposal may be lost, or meet a node that has just moved the child away */

void ph_spread(struct ph_hub *hub, struct ph_child *child, uint64_t before)
{
	if (!child->spec)
		return;
	if (child->own->hash != child->spec->hash) {
		ph_child_own_in_force(hub, child);
		(void)ph_emit(hub, PH_EMIT_CHILD_CHANGED, &(struct ph_key){.child = child->name});
	}
	/* Also where it counts as this node owns some of it: what it owns may be on its way, and
	 * its entry not tell of the text yet. */
	if (child->spec->revision != before)
		ph_child_put_text(hub, child, ph_cast(hub, PH_B_SPEC));
}

static void say(struct ph_hub *hub, struct ph_child *child)
{
	struct ph_bmsg *msg = ph_cast(hub, PH_B_PROPOSED);
	struct ph_spec_line *line = ph_out_alloc(hub, sizeof *line);
	line->child = child->name;
	line->revision = ph_child_next_revision(hub, child);
	line->text = ph_out_text(hub, child->own->text);
	line->spec = child->own;
	msg->specs = line;
	msg->n_specs = 1;
}

void ph_propose(struct ph_hub *hub, struct ph_child *child)
{
	if (child->own->local || child->spec->local)
		return;
	child->proposes = true;
	hub->proposals_at_ms = hub->now_ms;
}

/* Is there still something to propose? What has come to this node meanwhile is put in force. */
static bool pending(struct ph_hub *hub, struct ph_child *child)
{
	if (!child->proposes)
		return false;
	child->proposes = child->own && child->spec && child->own->hash != child->spec->hash &&
			  !ph_child_own_counts(hub, child);
	return child->proposes;
}

void ph_propose_beat(struct ph_hub *hub)
{
	size_t n = 0;
	if (!hub->proposals_at_ms || hub->now_ms < hub->proposals_at_ms)
		return;
	for (struct ph_child *child = hub->children; child; child = child->hh.next) {
		if (!pending(hub, child))
			continue;
		say(hub, child);
		n++;
	}
	hub->proposals_at_ms = n ? hub->now_ms + AGAIN_MS : 0;
}

static void answer_declared(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	struct ph_bmsg *answer = ph_send(hub, &msg->from, PH_B_DECLARED);
	struct ph_spec_line *line = ph_out_alloc(hub, sizeof *line);
	line->child = msg->specs[0].child;
	answer->specs = line;
	answer->n_specs = 1;
}

void ph_propose_message(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	if (msg->n_specs != 1 || !msg->specs[0].spec)
		return;
	const struct ph_spec_line *line = &msg->specs[0];
	struct ph_child *child = ph_child_find(hub, &line->child);
	if (!child || !child->spec || !ph_child_owned_here(hub, child))
		return;
	if (child->own) {
		answer_declared(hub, msg);
		return;
	}
	if (line->spec->local || child->spec->local || child->spec->revision >= line->revision ||
		child->spec->hash == line->spec->hash)
		return;
	ph_child_in_force(hub, child, line->spec, line->revision, true);
	(void)ph_emit(hub, PH_EMIT_CHILD_CHANGED, &(struct ph_key){.child = child->name});
	ph_plan_soon(hub, 0);
}
