/*
 * tomb.c - what is remembered of members that are forgotten: name and incarnation.
 *
 * A member that is dead or has left stays in the table with its incarnation, and so nothing late
 * brings it back. Who has left goes from there after a day, and others where there is no room; of
 * them a tombstone stays, so that a list in somebody's late WELCOME does not make them new.
 *
 * One that an operator has ordered (forget.c) stands in the journal too, and stays until its node
 * comes back as a new member. Where there are too many, the others go first, and an ordered one
 * only when it has been so for a day and the view does not name its node any more.
 */
#include "core/member.h"

#include <stdlib.h>
#include <string.h>

#define KEEP_MS UINT64_C(86400000)
#define SWEEP_MS 60000
#define TOMBS_MAX PH_NODES_MAX

/* An operator has ordered it. */
static bool lasting(const struct ph_tomb *tomb)
{
	return tomb->ordered || tomb->owed;
}

/* ---- the journal ---- */

static struct ph_record record_of(const struct ph_tomb *tomb, bool ok)
{
	return (struct ph_record){.kind = PH_RECORD_FORGOTTEN,
		.peer = tomb->name,
		.epoch = tomb->incarnation,
		.text = tomb->address[0] ? tomb->address : NULL,
		.ok = ok};
}

static void journal(struct ph_hub *hub, const struct ph_tomb *tomb, bool ok)
{
	struct ph_record record = record_of(tomb, ok);
	(void)ph_journal(hub, &record);
}

void ph_tomb_records(const struct ph_hub *hub,
	void (*each)(void *arg, const struct ph_record *record), void *arg)
{
	for (const struct ph_tomb *tomb = hub->tombs; tomb; tomb = tomb->hh.next)
		if (lasting(tomb)) {
			struct ph_record record = record_of(tomb, true);
			each(arg, &record);
		}
}

/* ---- the table ---- */

struct ph_tomb *ph_tomb_find(const struct ph_hub *hub, const struct ph_name *name)
{
	struct ph_tomb *tomb;
	HASH_FIND(hh, hub->tombs, name->s, strlen(name->s), tomb);
	return tomb;
}

static void erase(struct ph_hub *hub, struct ph_tomb *tomb)
{
	HASH_DEL(hub->tombs, tomb);
	free(tomb);
}

static void drop(struct ph_hub *hub, struct ph_tomb *tomb)
{
	if (lasting(tomb))
		journal(hub, tomb, false);
	erase(hub, tomb);
}

/* The one that goes where there are too many; NULL: none may. */
static struct ph_tomb *spare(const struct ph_hub *hub)
{
	struct ph_tomb *tomb;
	for (tomb = hub->tombs; tomb; tomb = tomb->hh.next)
		if (!lasting(tomb))
			return tomb;
	for (tomb = hub->tombs; tomb; tomb = tomb->hh.next)
		if (hub->now_ms >= tomb->at_ms + KEEP_MS && !ph_quorum_has(&hub->view, &tomb->name))
			return tomb;
	return NULL;
}

static bool is_full(const struct ph_hub *hub)
{
	return HASH_COUNT(hub->tombs) >= TOMBS_MAX;
}

bool ph_tomb_room(const struct ph_hub *hub, const struct ph_name *name)
{
	return !is_full(hub) || ph_tomb_find(hub, name) || spare(hub);
}

/* As the newest one. NULL: there is no room, since all others were ordered. */
static struct ph_tomb *put(struct ph_hub *hub, const struct ph_name *name, uint64_t incarnation)
{
	struct ph_tomb *tomb = ph_tomb_find(hub, name);
	if (tomb) {
		HASH_DEL(hub->tombs, tomb);
	} else {
		struct ph_tomb *other = is_full(hub) ? spare(hub) : NULL;
		if (other)
			drop(hub, other);
		if (is_full(hub))
			return NULL;
		tomb = ph_must(calloc(1, sizeof *tomb));
		tomb->name = *name;
	}
	tomb->incarnation = incarnation;
	tomb->at_ms = hub->now_ms;
	HASH_ADD_KEYPTR(hh, hub->tombs, tomb->name.s, strlen(tomb->name.s), tomb);
	return tomb;
}

static void set_address(struct ph_tomb *tomb, const char *address)
{
	size_t n = address ? strlen(address) : 0;
	if (n && n < sizeof tomb->address)
		memcpy(tomb->address, address, n + 1);
}

void ph_tomb_put(struct ph_hub *hub, const struct ph_member *member)
{
	struct ph_tomb *tomb = put(hub, &member->info.name, member->info.incarnation);
	if (!tomb)
		return;
	set_address(tomb, member->info.address);
	tomb->left = member->state == PH_MEMBER_LEFT;
}

void ph_tomb_order(struct ph_hub *hub, const struct ph_name *name, uint64_t incarnation, bool owed)
{
	const struct ph_member *member = ph_member_find(hub, name);
	struct ph_tomb *tomb = put(hub, name, incarnation);
	if (!tomb)
		return;
	if (member)
		set_address(tomb, member->info.address);
	tomb->left = tomb->ordered = !owed;
	tomb->owed = owed;
	journal(hub, tomb, true);
}

/* Whether it was only owed is not told apart: who restarts knows no members to take it off. */
void ph_tomb_restore(struct ph_hub *hub, const struct ph_record *record)
{
	struct ph_tomb *tomb = ph_tomb_find(hub, &record->peer);
	if (!record->ok) {
		if (tomb)
			erase(hub, tomb);
		return;
	}
	tomb = put(hub, &record->peer, record->epoch);
	if (!tomb)
		return;
	tomb->address[0] = '\0';
	set_address(tomb, record->text);
	tomb->left = tomb->ordered = true;
}

void ph_tomb_lift(struct ph_hub *hub, const struct ph_name *name)
{
	struct ph_tomb *tomb = ph_tomb_find(hub, name);
	if (tomb)
		drop(hub, tomb);
}

/* ---- where they were ---- */

static struct ph_tomb *ordered_at(const struct ph_hub *hub, const char *address)
{
	for (struct ph_tomb *tomb = hub->tombs; tomb; tomb = tomb->hh.next)
		if (lasting(tomb) && strcmp(tomb->address, address) == 0)
			return tomb;
	return NULL;
}

bool ph_tomb_at(const struct ph_hub *hub, const char *address)
{
	const struct ph_tomb *tomb = ordered_at(hub, address);
	return tomb && tomb->ordered;
}

void ph_tomb_moved_in(struct ph_hub *hub, const char *address)
{
	struct ph_tomb *tomb;
	while (address[0] && (tomb = ordered_at(hub, address))) {
		tomb->address[0] = '\0';
		journal(hub, tomb, true);
	}
}

/* ---- what they are for ---- */

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
	struct ph_tomb *tomb, *next;
	bool busy = hub->sources || hub->targets;
	for (tomb = hub->tombs; tomb && busy; tomb = tomb->hh.next)
		if (tomb->ordered) /* what has ended since */
			ph_migration_left(hub, &tomb->name);
	if (hub->now_ms < hub->swept_ms + SWEEP_MS)
		return;
	hub->swept_ms = hub->now_ms;
	HASH_ITER (hh, hub->tombs, tomb, next)
		if (!lasting(tomb) && hub->now_ms >= tomb->at_ms + KEEP_MS)
			erase(hub, tomb);
	for (const struct ph_member *m = hub->members; m; m = m->hh.next)
		if (left_long_ago(hub, m)) {
			ph_limit_forget(hub, left_long_ago);
			return;
		}
}

void ph_tomb_free(struct ph_hub *hub)
{
	while (hub->tombs)
		erase(hub, hub->tombs);
}
