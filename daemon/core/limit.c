/*
 * limit.c - how much of this node's memory what other nodes say may take.
 *
 * Asked before a message reaches anybody: whatever it names that is not known yet must fit, else it
 * is dropped as a whole, so that nobody has to live with half of it. The source of a migration that
 * gets no answer gives it up by VOID, which is answered: nothing of it is here. What this node's
 * own configuration, journal and operators name is not counted against.
 */
#include "core/state.h"

#define SAY_AGAIN_MS 60000 /* between two lines of the log; two looks for who may be forgotten */

/* ---- members ---- */

static void keep_member(struct ph_hub *hub, const struct ph_name *name)
{
	struct ph_member *member = ph_member_find(hub, name);
	if (member)
		member->kept = true;
}

/* Dead, left, or never let in. */
static bool not_live(const struct ph_hub *hub, const struct ph_member *member)
{
	(void)hub;
	return !ph_member_live(member);
}

void ph_limit_forget(
	struct ph_hub *hub, bool (*old)(const struct ph_hub *, const struct ph_member *))
{
	struct ph_member *m, *next;
	for (m = hub->members; m; m = m->hh.next)
		m->kept = !old(hub, m);
	for (struct ph_slot *slot = ph_slot_first(hub); slot; slot = ph_slot_next(hub, slot))
		if (slot->entered)
			keep_member(hub, &slot->entry.node->name);
	for (struct ph_source *s = hub->sources; s; s = s->hh.next)
		keep_member(hub, &s->peer);
	for (struct ph_target *t = hub->targets; t; t = t->hh.next)
		keep_member(hub, &t->peer);
	for (struct ph_move *move = hub->moves; move; move = move->next)
		keep_member(hub, &move->to);
	HASH_ITER (hh, hub->members, m, next)
		if (!m->kept)
			ph_member_forget(hub, m);
}

static size_t new_members(const struct ph_hub *hub, const struct ph_bmsg *msg)
{
	size_t n = 0;
	if (msg->kind != PH_B_PROOF && msg->kind != PH_B_WELCOME)
		return 0;
	n += !ph_is_self(hub, &msg->self.name) && !ph_member_find(hub, &msg->self.name);
	for (size_t i = 0; i < msg->n_members; i++)
		n += !ph_is_self(hub, &msg->members[i].name) &&
		     !ph_member_find(hub, &msg->members[i].name);
	return n;
}

/* ---- instances ---- */

static size_t new_instances(struct ph_hub *hub, const struct ph_spec *spec)
{
	size_t n = 0;
	if (!spec || spec->local) /* those are made where they are declared */
		return 0;
	for (uint32_t i = 0; i < spec->instances; i++) {
		struct ph_key key = {.child = spec->child, .instance = i};
		n += !ph_slot_find(hub, &key, NULL);
	}
	return n;
}

/* Of a migration that would be remembered by its key. */
static bool remembered(enum ph_bkind kind)
{
	return kind == PH_B_PREPARE || kind == PH_B_ROUND || kind == PH_B_ROUND_END ||
	       kind == PH_B_COMMIT || kind == PH_B_ABORT || kind == PH_B_VOID ||
	       kind == PH_B_DIAL_BACK || kind == PH_B_PREPARED; /* which may be all that is left */
}

/* Whose keys are remembered, whatever is answered. */
static bool claims(const struct ph_bmsg *msg)
{
	return msg->kind == PH_B_CLAIM || msg->kind == PH_B_GRANTS;
}

static size_t new_slots(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	size_t n = 0;
	bool texts =
		msg->kind == PH_B_SPEC || msg->kind == PH_B_PROPOSED || msg->kind == PH_B_PREPARE;
	for (size_t i = 0; msg->kind == PH_B_REGISTRY && i < msg->n_entries; i++) {
		const struct ph_entry *e = &msg->entries[i];
		n += !ph_slot_find(hub, &e->key, e->local ? &e->node : NULL);
	}
	for (size_t i = 0; claims(msg) && i < msg->n_claims; i++)
		n += !ph_slot_find(hub, &msg->claims[i].key, NULL);
	for (size_t i = 0; texts && i < msg->n_specs; i++)
		n += new_instances(hub, msg->specs[i].spec);
	return n + (remembered(msg->kind) && !ph_slot_find(hub, &msg->key, NULL));
}

/* A child is known with its first instance, or with its text, and each of the two has its bound. */
static size_t new_children(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	size_t n = 0;
	for (size_t i = 0; msg->kind == PH_B_REGISTRY && i < msg->n_entries; i++)
		n += !ph_child_find(hub, &msg->entries[i].key.child);
	for (size_t i = 0; claims(msg) && i < msg->n_claims; i++)
		n += !ph_child_find(hub, &msg->claims[i].key.child);
	for (size_t i = 0; msg->kind == PH_B_SPEC && i < msg->n_specs; i++)
		n += msg->specs[i].text && !ph_child_find(hub, &msg->specs[i].child);
	return n + (remembered(msg->kind) && !ph_child_find(hub, &msg->key.child));
}

/* At most so many could be new: a look at each is needed only near the limit. */
static size_t named(const struct ph_bmsg *msg)
{
	size_t n = 1 + msg->n_entries + msg->n_claims + msg->n_specs;
	for (size_t i = 0; i < msg->n_specs; i++)
		n += msg->specs[i].spec ? msg->specs[i].spec->instances : 0;
	return n;
}

static bool keys_fit(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	size_t slots = hub->slots.n, children = HASH_COUNT(hub->children);
	size_t most = named(msg), n;
	if (slots + most > PH_KEYS_MAX && (n = new_slots(hub, msg)) && slots + n > PH_KEYS_MAX)
		return false;
	return children + most <= PH_KEYS_MAX || !(n = new_children(hub, msg)) ||
	       children + n <= PH_KEYS_MAX;
}

/* ---- what is said of it ---- */

static void answer_void(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	struct ph_bmsg *answer = ph_send(hub, &msg->from, PH_B_VOID_ACK);
	answer->id = msg->id;
	answer->key = msg->key;
}

static void complain(
	struct ph_hub *hub, const struct ph_bmsg *msg, unsigned limit, const char *what)
{
	hub->dropped++;
	if (hub->dropped_told_ms && hub->now_ms < hub->dropped_told_ms + SAY_AGAIN_MS)
		return;
	ph_log(hub, PH_LOG_ERROR,
		"a message of node %s was dropped: with what it names there would be more than the "
		"%u %s that a cluster may have (%llu such messages since the last report)",
		msg->from.s, limit, what, (unsigned long long)hub->dropped);
	hub->dropped = 0;
	hub->dropped_told_ms = hub->now_ms;
}

static bool members_fit(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	size_t n = new_members(hub, msg);
	if (!n || HASH_COUNT(hub->members) + n < PH_NODES_MAX)
		return true;
	if (hub->forgot_ms && hub->now_ms < hub->forgot_ms + SAY_AGAIN_MS)
		return false;
	hub->forgot_ms = hub->now_ms;
	ph_limit_forget(hub, not_live);
	return HASH_COUNT(hub->members) + new_members(hub, msg) < PH_NODES_MAX;
}

bool ph_limit_pass(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	if (!members_fit(hub, msg)) {
		complain(hub, msg, PH_NODES_MAX, "nodes");
		return false;
	}
	if (!keys_fit(hub, msg)) {
		complain(hub, msg, PH_KEYS_MAX, "children");
		if (msg->kind == PH_B_VOID)
			answer_void(hub, msg);
		return false;
	}
	return true;
}
