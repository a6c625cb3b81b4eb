/* hook_queue.c - see hook_queue.h. */
#include "core/hook_queue.h"

#include <string.h>

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void forget(struct ph_hook_queue *q, size_t i)
{
	q->n--;
	memmove(&q->runs[i], &q->runs[i + 1], (q->n - i) * sizeof *q->runs);
}

static size_t running(const struct ph_hook_queue *q)
{
	size_t n = 0;
	for (size_t i = 0; i < q->n; i++)
		n += q->runs[i].state != PH_RUN_QUEUED;
	return n;
}

/* The first that waits; q->n: none. `events`: one that may be dropped. */
static size_t waiting(const struct ph_hook_queue *q, bool events)
{
	size_t i = 0;
	while (i < q->n && (q->runs[i].state != PH_RUN_QUEUED || (events && q->runs[i].first)))
		i++;
	return i;
}

static size_t events_waiting(const struct ph_hook_queue *q)
{
	size_t n = 0;
	for (size_t i = 0; i < q->n; i++)
		n += q->runs[i].state == PH_RUN_QUEUED && !q->runs[i].first;
	return n;
}

static uint64_t drop(struct ph_hook_queue *q, size_t i)
{
	uint64_t id = q->runs[i].id;
	forget(q, i);
	q->dropped++;
	return id;
}

uint64_t ph_hook_queue_add(
	struct ph_hook_queue *q, uint64_t timeout_ms, bool first, uint64_t *ret_dropped)
{
	size_t oldest = waiting(q, true);
	bool full = q->n == PH_HOOK_RUNS_MAX || (!first && events_waiting(q) >= PH_HOOKS_QUEUE);
	*ret_dropped = 0;
	q->last_id++;
	if (full && oldest == q->n) { /* of more conflicts than there can be */
		q->dropped++;
		*ret_dropped = q->last_id;
		return q->last_id;
	}
	if (full)
		*ret_dropped = drop(q, oldest);
	size_t at = first ? waiting(q, true) : q->n;
	memmove(&q->runs[at + 1], &q->runs[at], (q->n - at) * sizeof *q->runs);
	q->runs[at] = (struct ph_run){.id = q->last_id, .first = first, .timeout_ms = timeout_ms};
	q->n++;
	return q->last_id;
}

/* Its time is over: the next of SIGTERM, SIGKILL ..., or it is given up. */
static struct ph_run_order harder(struct ph_hook_queue *q, size_t i, uint64_t now_ms)
{
	struct ph_run *run = &q->runs[i];
	struct ph_run_order order = {PH_RUN_TERM, run->id};
	run->until_ms = now_ms + PH_HOOK_GRACE_MS;
	if (run->state == PH_RUN_RUNNING) {
		run->state = PH_RUN_ASKED;
		return order;
	}
	order.what = run->kills++ < PH_HOOK_KILLS ? PH_RUN_KILL : PH_RUN_ABANDON;
	run->state = PH_RUN_KILLED;
	if (order.what == PH_RUN_ABANDON)
		forget(q, i);
	return order;
}

static struct ph_run_order start(struct ph_hook_queue *q, struct ph_run *run, uint64_t now_ms)
{
	uint64_t most = q->stopping ? PH_HOOK_STOP_MS : UINT64_MAX;
	run->state = PH_RUN_RUNNING;
	run->until_ms = now_ms + least(run->timeout_ms, most);
	if (q->last)
		run->until_ms = least(run->until_ms, q->last_at_ms);
	return (struct ph_run_order){PH_RUN_START, run->id};
}

bool ph_hook_queue_next(struct ph_hook_queue *q, uint64_t now_ms, struct ph_run_order *ret)
{
	size_t next = waiting(q, false);
	for (size_t i = 0; i < q->n; i++) {
		if (q->runs[i].state == PH_RUN_QUEUED || q->runs[i].until_ms > now_ms)
			continue;
		*ret = harder(q, i, now_ms);
		return true;
	}
	if (q->last && next < q->n && now_ms >= q->last_at_ms) {
		*ret = (struct ph_run_order){PH_RUN_DROP, drop(q, next)};
		return true;
	}
	if (next < q->n && running(q) < PH_HOOKS_AT_ONCE) {
		*ret = start(q, &q->runs[next], now_ms);
		return true;
	}
	if (q->dropped && (now_ms >= q->tell_at_ms || (q->last && !q->n))) {
		*ret = (struct ph_run_order){PH_RUN_TELL, q->dropped};
		q->dropped = 0;
		q->tell_at_ms = now_ms + PH_HOOK_TELL_MS;
		return true;
	}
	return false;
}

void ph_hook_queue_end(struct ph_hook_queue *q, uint64_t id)
{
	for (size_t i = 0; i < q->n; i++)
		if (q->runs[i].id == id) {
			forget(q, i);
			return;
		}
}

uint64_t ph_hook_queue_deadline(const struct ph_hook_queue *q)
{
	uint64_t at = q->dropped ? q->tell_at_ms : UINT64_MAX;
	size_t n = 0;
	for (size_t i = 0; i < q->n; i++) {
		if (q->runs[i].state == PH_RUN_QUEUED)
			continue;
		at = least(at, q->runs[i].until_ms);
		n++;
	}
	if (n == q->n)
		return at;
	if (n < PH_HOOKS_AT_ONCE)
		return 0;
	return q->last ? least(at, q->last_at_ms) : at;
}

static void shorten(struct ph_hook_queue *q, uint64_t until_ms)
{
	for (size_t i = 0; i < q->n; i++)
		if (q->runs[i].state == PH_RUN_RUNNING)
			q->runs[i].until_ms = least(q->runs[i].until_ms, until_ms);
}

void ph_hook_queue_stop(struct ph_hook_queue *q, uint64_t now_ms)
{
	if (q->stopping)
		return;
	q->stopping = true;
	shorten(q, now_ms + PH_HOOK_STOP_MS);
}

void ph_hook_queue_last(struct ph_hook_queue *q, uint64_t now_ms)
{
	if (q->last)
		return;
	q->stopping = q->last = true;
	q->last_at_ms = now_ms + PH_HOOK_STOP_MS;
	shorten(q, q->last_at_ms);
}

void ph_hook_queue_hurry(struct ph_hook_queue *q, uint64_t now_ms)
{
	q->stopping = q->last = true;
	q->last_at_ms = now_ms;
	for (size_t i = 0; i < q->n; i++) {
		if (q->runs[i].state == PH_RUN_QUEUED)
			continue;
		if (q->runs[i].state == PH_RUN_RUNNING)
			q->runs[i].state = PH_RUN_ASKED; /* which it has been by now */
		if (q->runs[i].state == PH_RUN_ASKED)
			q->runs[i].until_ms = now_ms;
	}
}
