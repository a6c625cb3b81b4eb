/*
 * conflict_left.c - conflicts that an earlier daemon of this node had begun and not told the end
 * of.
 *
 * From the moment on at which the loser's state stands in its file, the journal knows of it, until
 * people were told. A daemon that is started in between gives the state to no hook again, since
 * nobody knows how far that one got: it tells people that it is in its file.
 */
#include "core/conflict.h"

#include <stdlib.h>

struct ph_record ph_conflict_record(const struct ph_conflict *c, bool open)
{
	return (struct ph_record){.kind = PH_RECORD_CONFLICT,
		.id = c->id,
		.key = c->key,
		.epoch = c->epoch,
		.revision = c->winner_epoch,
		.peer = c->winner,
		.ok = open,
		.text = open ? c->text : NULL};
}

void ph_conflict_restore(struct ph_hub *hub, const struct ph_record *record)
{
	struct ph_conflict *c = ph_conflict_find(hub, &record->id);
	if (c) { /* the newer word */
		ph_timer_set(hub, &c->timer, PH_NEVER_MS);
		DL_DELETE(hub->conflicts, c);
		free(c);
	}
	if (!record->ok || !record->text)
		return;
	c = ph_must(calloc(1, sizeof *c));
	c->id = record->id;
	c->key = record->key;
	c->epoch = record->epoch;
	c->winner = record->peer;
	c->winner_epoch = record->revision;
	c->state = PH_CONFLICT_LEFT;
	c->kept = c->recorded = true;
	ph_reason(c->text, "%s", record->text);
	c->timer.kind = PH_TIMER_CONFLICT;
	c->timer.owner = c;
	DL_APPEND(hub->conflicts, c);
	ph_timer_set(hub, &c->timer, hub->now_ms + PH_CONFLICT_LOOK_MS);
}

bool ph_conflict_taken(const struct ph_hub *hub, const struct ph_key *key, uint64_t epoch)
{
	const struct ph_conflict *c;
	DL_FOREACH (hub->conflicts, c)
		if (c->kept && !c->loser && c->epoch == epoch && ph_key_equal(&c->key, key))
			return true;
	return false;
}
