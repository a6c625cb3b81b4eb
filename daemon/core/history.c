/*
 * history.c - the migrations that this node has heard of, the newest first.
 *
 * The last word on each is its source's. Where that is dead, the registry may tell how it ended:
 * until then it is presumed. Tested by tests/unit/test_core_outcome.c and tests/sim.
 */
#include "core/state.h"

#include <stdlib.h>
#include <string.h>

#define WAITED_MAX 64 /* attempts that found no slot free, kept for a while */

bool ph_history_waited(const struct ph_migration_info *info)
{
	return info->result == PH_RESULT_ABORTED && strcmp(info->reason, PH_NO_SLOT) == 0;
}

static void history_drop(struct ph_hub *hub, struct ph_history *h)
{
	hub->n_waited -= ph_history_waited(&h->info);
	DL_DELETE(hub->history, h);
	HASH_DEL(hub->history_by_id, h);
	free(h);
	hub->n_history--;
}

/* They are kept only until everybody has heard that they run no more. */
static void drop_waited(struct ph_hub *hub)
{
	for (struct ph_history *h = hub->history->prev; hub->n_waited > WAITED_MAX;) {
		struct ph_history *before = h->prev; /* of the newest one: the oldest */
		if (ph_history_waited(&h->info))
			history_drop(hub, h);
		h = before;
	}
}

const struct ph_history *ph_history_of(const struct ph_hub *hub, const struct ph_id *id)
{
	struct ph_history *h;
	HASH_FIND(hh, hub->history_by_id, id->b, sizeof id->b, h);
	return h;
}

void ph_history_put(struct ph_hub *hub, const struct ph_migration_info *info)
{
	struct ph_history *h;
	HASH_FIND(hh, hub->history_by_id, info->id.b, sizeof info->id.b, h);
	/* An older word, late; or what its source knows of it after a restart, which is less. */
	if (h && !h->presumed && h->info.result != PH_RESULT_RUNNING &&
		(info->result == PH_RESULT_RUNNING ||
			(info->result == h->info.result && !ph_plan_tried_again(h->info.reason))))
		return;
	if (!h) {
		h = ph_must(calloc(1, sizeof *h));
		h->info.id = info->id;
		HASH_ADD_KEYPTR(hh, hub->history_by_id, h->info.id.b, sizeof h->info.id.b, h);
		DL_PREPEND(hub->history, h);
		hub->n_history++;
	}
	hub->n_waited -= ph_history_waited(&h->info);
	hub->n_waited += ph_history_waited(info);
	h->info = *info;
	h->presumed = false;
	h->at_ms = hub->now_ms;
	ph_order_stir(hub);
	if (ph_history_waited(info))
		drop_waited(hub);
	for (struct ph_history *last = hub->history->prev; hub->n_history > PH_HISTORY_MAX;) {
		struct ph_history *before = last->prev;
		bool end = last == hub->history;
		if (last->info.result != PH_RESULT_RUNNING || hub->n_history > 2 * PH_HISTORY_MAX)
			history_drop(hub, last);
		if (end)
			break;
		last = before;
	}
}

/* Does the target own the child, under the epoch that the source made for it? */
static bool was_committed(struct ph_hub *hub, const struct ph_migration_info *info)
{
	const struct ph_slot *slot = ph_slot_find(hub, &info->key, NULL);
	const struct ph_member *source = ph_member_find(hub, &info->from);
	return slot && source && ph_slot_owned(slot) &&
	       ph_name_equal(&slot->entry.node->name, &info->to) &&
	       ph_epoch_slot(slot->entry.epoch) == source->info.slot;
}

void ph_history_owned(struct ph_hub *hub, const struct ph_slot *slot)
{
	struct ph_history *h;
	bool left = false;
	if (!hub->sources_died)
		return;
	DL_FOREACH (hub->history, h) {
		if (!h->presumed || h->info.result != PH_RESULT_SOURCE_DEAD)
			continue;
		left = true;
		if (!ph_key_equal(&h->info.key, PH_SLOT_KEY(slot)) || !was_committed(hub, &h->info))
			continue;
		h->info.result = PH_RESULT_DONE;
		h->info.reason[0] = '\0';
	}
	hub->sources_died = left;
}

void ph_history_presume(
	struct ph_hub *hub, const struct ph_name *source, enum ph_result result, const char *reason)
{
	struct ph_history *h;
	DL_FOREACH (hub->history, h) {
		if (!ph_name_equal(&h->info.from, source))
			continue;
		/* Whoever was to try it again does not know of it any more. */
		h->presumed |=
			h->info.result == PH_RESULT_ABORTED && ph_plan_tried_again(h->info.reason);
		if (h->info.result != PH_RESULT_RUNNING)
			continue;
		h->presumed = true;
		/* From then on the target owns the child, whatever becomes of the source. */
		bool decided = h->info.phase >= PH_PHASE_ACTIVE || was_committed(hub, &h->info);
		hub->sources_died |= !decided && result == PH_RESULT_SOURCE_DEAD;
		h->info.result = decided ? PH_RESULT_DONE : result;
		if (!decided)
			ph_reason(h->info.reason, "%s", reason);
	}
}
