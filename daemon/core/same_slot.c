/*
 * same_slot.c - two nodes whose names differ and whose slots do not.
 *
 * They would make the same epochs, and nothing could tell any more whose is whose. So no two of
 * them are members of one table, by whatever way they are heard of. A slot is its node's until that
 * one has left or is forgotten: who is only held for dead may live, and makes epochs.
 *
 * Of two that meet, as each was let in on a side of its own, the first stays, and the other one
 * gives way as one does for its name. Whoever holds the younger one tells both. But one that has
 * not joined yet, for however long it has been refused, makes nobody go who has.
 */
#include "core/member.h"

#include <string.h>

static bool joined(const struct ph_member_info *info)
{
	return info->state == PH_MEMBER_ALIVE || info->state == PH_MEMBER_SUSPECT;
}

/* Of the two it is the one that stays. */
static bool goes_before(const struct ph_member_info *a, const struct ph_member_info *b)
{
	if (joined(a) != joined(b))
		return joined(a);
	return a->incarnation != b->incarnation ? a->incarnation < b->incarnation
						: strcmp(a->name.s, b->name.s) < 0;
}

static bool clash(const struct ph_member_info *a, const struct ph_member_info *b)
{
	return a->slot == b->slot && !ph_name_equal(&a->name, &b->name);
}

/* It is held for dead, and was where that one is: a node that has another name since. */
static bool renamed(const struct ph_member *m, const struct ph_member_info *info)
{
	return m->state == PH_MEMBER_DEAD && strcmp(m->info.address, info->address) == 0;
}

/* The member that has its slot; NULL: none. */
static const struct ph_member *holder_of(
	const struct ph_hub *hub, const struct ph_member_info *info)
{
	for (size_t i = 0; i < hub->n_by_name; i++) {
		const struct ph_member *m = hub->by_name[i].member;
		if (m->state != PH_MEMBER_LEFT && clash(&m->info, info) && !renamed(m, info))
			return m;
	}
	return NULL;
}

bool ph_same_slot(const struct ph_hub *hub, const struct ph_member_info *info)
{
	struct ph_member_info self = ph_member_self(hub);
	return clash(&self, info) || holder_of(hub, info);
}

static void refuse(
	struct ph_hub *hub, const struct ph_member_info *info, const struct ph_member_info *other)
{
	bool dead = other->state == PH_MEMBER_DEAD;
	char text[PH_REASON_SIZE];
	ph_reason(text,
		"this node's slot is taken by another name, %s: set node.slot to a number that no "
		"other node uses%s",
		other->name.s, dead ? ", or forget that node, which is dead" : "");
	ph_join_refuse(hub, info, 0, !dead && goes_before(other, info), text);
}

bool ph_same_slot_refuse(struct ph_hub *hub, const struct ph_member_info *info)
{
	struct ph_member_info self = ph_member_self(hub);
	const struct ph_member *holder = holder_of(hub, info);
	if (clash(&self, info)) {
		if (goes_before(info, &self))
			ph_yield_refused(hub);
		/* One that is in nobody's way yet keeps no other one out. */
		if (goes_before(&self, info) || hub->self_state == PH_MEMBER_ALIVE)
			refuse(hub, info, &self);
		return true;
	}
	if (!holder)
		return false;
	struct ph_member_info held = holder->info;
	held.state = holder->state;
	refuse(hub, info, &held);
	if (ph_member_live(holder) && goes_before(info, &held))
		refuse(hub, &held, info);
	return true;
}
