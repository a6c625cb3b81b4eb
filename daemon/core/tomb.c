/*
 * tomb.c - what is remembered of members that are forgotten: name and incarnation.
 *
 * A member that is dead or has left stays in the table with its incarnation, and so nothing late
 * brings it back. Who has left goes from there after a day, and others where there is no room; of
 * them a tombstone stays, so that a list in somebody's late WELCOME does not make them new.
 */
#include "core/member.h"

#include <stdlib.h>

#define KEEP_MS UINT64_C(86400000)
#define SWEEP_MS 60000
#define TOMBS_MAX PH_NODES_MAX

static void drop(struct ph_hub *hub, struct ph_tomb *tomb)
{
	DL_DELETE(hub->tombs, tomb);
	hub->n_tombs--;
	free(tomb);
}

struct ph_tomb *ph_tomb_find(const struct ph_hub *hub, const struct ph_name *name)
{
	struct ph_tomb *tomb;
	DL_FOREACH (hub->tombs, tomb)
		if (ph_name_equal(&tomb->name, name))
			return tomb;
	return NULL;
}

static struct ph_tomb *put(struct ph_hub *hub, const struct ph_name *name, uint64_t incarnation)
{
	ph_tomb_lift(hub, name);
	if (hub->n_tombs >= TOMBS_MAX)
		drop(hub, hub->tombs);
	struct ph_tomb *tomb = ph_must(calloc(1, sizeof *tomb));
	tomb->name = *name;
	tomb->incarnation = incarnation;
	tomb->at_ms = hub->now_ms;
	DL_APPEND(hub->tombs, tomb);
	hub->n_tombs++;
	return tomb;
}

void ph_tomb_put(struct ph_hub *hub, const struct ph_member *member)
{
	put(hub, &member->info.name, member->info.incarnation)->left =
		member->state == PH_MEMBER_LEFT;
}

void ph_tomb_order(struct ph_hub *hub, const struct ph_name *name, uint64_t incarnation)
{
	struct ph_tomb *tomb = put(hub, name, incarnation);
	tomb->left = tomb->ordered = true;
}

void ph_tomb_lift(struct ph_hub *hub, const struct ph_name *name)
{
	struct ph_tomb *tomb = ph_tomb_find(hub, name);
	if (tomb)
		drop(hub, tomb);
}

bool ph_tomb_bars(const struct ph_hub *hub, const struct ph_member_info *info, bool proven)
{
	const struct ph_tomb *tomb = ph_tomb_find(hub, &info->name);
	if (!tomb || info->incarnation > tomb->incarnation)
		return false;
	/* Held for dead, and it lives: only it can have proved that. */
	return !proven || tomb->left || info->incarnation < tomb->incarnation;
}

static bool left_long_ago(const struct ph_hub *hub, const struct ph_member *member)
{
	return member->state == PH_MEMBER_LEFT && hub->now_ms >= member->since_ms + KEEP_MS;
}

void ph_tomb_beat(struct ph_hub *hub)
{
	bool busy = hub->sources || hub->targets;
	for (const struct ph_tomb *tomb = hub->tombs; tomb && busy; tomb = tomb->next)
		if (tomb->ordered) /* what has ended since */
			ph_migration_left(hub, &tomb->name);
	if (hub->now_ms < hub->swept_ms + SWEEP_MS)
		return;
	hub->swept_ms = hub->now_ms;
	while (hub->tombs && hub->now_ms >= hub->tombs->at_ms + KEEP_MS)
		drop(hub, hub->tombs);
	for (const struct ph_member *m = hub->members; m; m = m->hh.next)
		if (left_long_ago(hub, m)) {
			ph_limit_forget(hub, left_long_ago);
			return;
		}
}

void ph_tomb_free(struct ph_hub *hub)
{
	while (hub->tombs)
		drop(hub, hub->tombs);
}
