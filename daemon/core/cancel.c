/*
 * cancel.c - an operator's `cancel` of a migration: which one is meant, whether it may still be
 * aborted, and how it ended.
 *
 * The order travels to the source, which alone decides: before its commit record is being written
 * it aborts as for any other reason, and O goes on; from then on only the other side's word counts,
 * and the order is refused. An id that was tried and is to be tried again stands for the next try.
 */
#include "core/order.h"
#include "core/swap.h"

#include <errno.h>
#include <string.h>

#define FIND_MS 1000	 /* an id that another node has just made is on its way here */
#define UNHEARD_MS 10000 /* as in order_look.c: its end has had time to come here */

/* ---- which one ---- */

/* This attempt is over, and another one follows, or has begun. */
static bool goes_on(const struct ph_history *h)
{
	return h->info.result == PH_RESULT_ABORTED && !h->presumed &&
	       ph_plan_tried_again(h->info.reason);
}

static bool begins_with(const struct ph_id *id, const struct ph_id *prefix, uint32_t digits)
{
	uint32_t whole = digits / 2;
	if (memcmp(id->b, prefix->b, whole) != 0)
		return false;
	return digits % 2 == 0 || id->b[whole] >> 4 == prefix->b[whole] >> 4;
}

static void fail(struct ph_order_line *line, int error)
{
	line->state = PH_LINE_FAILED;
	line->error = error;
}

static void tell_ended(const struct ph_migration_info *info, char text[PH_REASON_SIZE])
{
	static const char *const words[PH_RESULT_COUNT] = {
#define X(name, word) [PH_RESULT_##name] = word,
		PH_RESULTS(X)
#undef X
	};
	ph_reason(text, "it has ended already: %s%s%s", words[info->result],
		info->reason[0] ? ": " : "", info->reason);
}

void ph_cancel_refused(struct ph_order_line *line)
{
	fail(line, EBUSY);
}

/* That is what was wanted. */
static bool was_cancelled(const struct ph_history *h)
{
	return h->info.result == PH_RESULT_ABORTED && strcmp(h->info.reason, PH_CANCELLED) == 0;
}

static bool ended(struct ph_order_line *line, const struct ph_history *h)
{
	if (h->info.result == PH_RESULT_RUNNING || goes_on(h))
		return false;
	tell_ended(&h->info, line->text);
	if (was_cancelled(h))
		line->state = PH_LINE_DONE;
	else
		fail(line, EBUSY);
	return true;
}

const struct ph_history *ph_cancel_find(
	struct ph_hub *hub, const struct ph_order *order, struct ph_order_line *line)
{
	const struct ph_command *command = &order->command;
	/* By gossip not everybody hears of everything before the next full exchange. */
	uint64_t wait_ms = FIND_MS + (hub->set.fanout ? hub->set.exchange_ms : 0);
	const struct ph_history *h, *found = NULL;
	size_t n = 0;
	DL_FOREACH (hub->history, h)
		if (begins_with(&h->info.id, &command->id, command->id_digits) &&
			!ph_history_waited(&h->info)) {
			found = h;
			n++;
		}
	if (n > 1) {
		ph_reason(line->text, "the ids of %zu migrations begin so: give more digits", n);
		fail(line, ENOTUNIQ);
		return NULL;
	}
	if (!found) {
		line->state = PH_LINE_OPEN;
		ph_reason(line->text, "no such migration is known");
		line->tries = 0; /* it is looked for again as soon as anything has come */
		if (hub->now_ms >= order->started_ms + wait_ms)
			fail(line, ENOENT);
		return NULL;
	}
	line->key = found->info.key;
	line->id = found->info.id;
	line->text[0] = '\0';
	return ended(line, found) ? NULL : found;
}

/* ---- at the source ---- */

/*
 * Why a migration that stands there is not aborted by an operator; NULL: it is, or goes back
 * already. While it goes back the order only waits for its end.
 */
static const char *const committed[PH_SOURCE_STATE_COUNT] = {
	[PH_SOURCE_COMMITTING] = "it is being committed: the new worker takes over",
	[PH_SOURCE_COMMITTED] = "it is committed: the new worker takes over",
	[PH_SOURCE_FINISHING] = "it is committed: the new worker has taken over",
	[PH_SOURCE_RETAINING] = "it is committed: the new worker has taken over, the old one stops",
	[PH_SOURCE_STOPPING] = "it is committed: the new worker has taken over, the old one stops",
};

/* Without a living O what N has (or is about to have) is all there is. */
static bool lives(const struct ph_source *s)
{
	return s->old && s->old->state != PH_INSTANCE_REAPING;
}

static int cancel(struct ph_hub *hub, struct ph_source *s, char why[PH_REASON_SIZE])
{
	if (committed[s->state]) {
		ph_reason(why, "%s", committed[s->state]);
		return -EBUSY;
	}
	if (s->state > PH_SOURCE_STOPPING)
		return 0;
	if (!lives(s)) {
		ph_reason(why, "its old worker has ended: what the new one has is all there is");
		return -EBUSY;
	}
	s->cancelled = true;
	s->cancelled_revision = ph_child_text_revision(s->slot->child);
	ph_reason(s->info.reason, "%s", PH_CANCELLED);
	ph_source_step(hub, s, PH_SOURCE_IN_CANCEL);
	return 0;
}

int ph_cancel_carry_out(
	struct ph_hub *hub, const struct ph_key *key, struct ph_id *id, char why[PH_REASON_SIZE])
{
	struct ph_source *s;
	const struct ph_history *h = ph_history_of(hub, id);
	struct ph_slot *slot = ph_slot_find(hub, key, NULL);
	if (h && ph_is_self(hub, &h->info.to)) /* a swap */
		slot = ph_swap_slot(hub, &h->info.to, id, key);
	struct ph_move *move = slot ? slot->work->move : NULL;
	HASH_FIND(hh, hub->sources, id->b, sizeof id->b, s);
	if (s && s->state != PH_SOURCE_ENDED)
		return cancel(hub, s, why);
	bool again = h && goes_on(h);
	if (move && !move->pinned &&
		(ph_id_equal(&move->id, id) || (again && ph_name_equal(&move->to, &h->info.to)))) {
		*id = move->order ? move->id : *id; /* that of a plan is told to nobody */
		ph_move_cancel(hub, move);
		return 0;
	}
	if (again && slot && slot->work->source &&
		ph_name_equal(&slot->work->source->peer, &h->info.to)) {
		*id = slot->work->source->id;
		return cancel(hub, slot->work->source, why);
	}
	if (h && was_cancelled(h))
		return 0;
	if (h && h->info.result != PH_RESULT_RUNNING)
		tell_ended(&h->info, why);
	else
		ph_reason(why, "it does not go on any more");
	return -EBUSY;
}

/* ---- its end ---- */

void ph_cancel_look(struct ph_hub *hub, struct ph_order_line *line)
{
	const struct ph_history *h = ph_history_of(hub, &line->id);
	if (!h && hub->now_ms >= line->sent_ms + UNHEARD_MS) {
		ph_reason(line->text, "nothing is heard of the migration");
		fail(line, 0);
	}
	if (!h || h->info.result == PH_RESULT_RUNNING)
		return;
	ph_reason(line->text, "%s", h->info.reason);
	if (h->info.result == PH_RESULT_ABORTED || h->info.result == PH_RESULT_ROLLED_BACK) {
		line->state = PH_LINE_DONE;
		return;
	}
	tell_ended(&h->info, line->text);
	fail(line, EBUSY);
}
