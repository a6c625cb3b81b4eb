/* stream.c - state streams: dial, rounds, cuts, the end of either side, as io/stream.h tells it. */
#include "core/times.h"
#include "sim.h"

#include <stdlib.h>
#include <string.h>

#define PATIENCE_US (4 * SEC) /* a cut that lasts longer is a failure */

uint64_t sim_digest(const uint32_t *items, size_t n)
{
	return ph_hash_bytes(PH_HASH_SEED, items, n * sizeof *items);
}

static struct sim_stream *find(struct sim *sim, const struct ph_id *id, bool make)
{
	for (struct sim_stream *s = sim->streams; s; s = s->next)
		if (ph_id_equal(&s->id, id))
			return s;
	if (!make)
		return NULL;
	struct sim_stream *s = sim_alloc(sizeof *s);
	s->sim = sim;
	s->id = *id;
	s->next = sim->streams;
	sim->streams = s;
	return s;
}

static void report(struct sim_stream *s, struct sim_end *end, enum ph_event_kind kind,
	const struct ph_stream_report *flat, uint64_t delay_us)
{
	if (!end->open || end->failed || end->gen != end->node->gen || !end->node->hub)
		return;
	struct ph_stream_report *copy = sim_alloc(sizeof *copy);
	*copy = *flat;
	copy->id = s->id;
	copy->incoming = end == &s->b;
	struct ph_event event = {.kind = kind, .stream = copy, .text = "simulated"};
	end->failed = kind == PH_EV_STREAM_FAILED;
	sim_node_push(end->node, delay_us, &event, free, copy);
}

static void fail(struct sim_stream *s)
{
	struct ph_stream_report flat = {.round = 0};
	report(s, &s->a, PH_EV_STREAM_FAILED, &flat, sim_between(s->sim, 10, 50 * MS));
	report(s, &s->b, PH_EV_STREAM_FAILED, &flat, sim_between(s->sim, 10, 50 * MS));
}

static void pump(struct sim *sim, void *arg);

static void again(struct sim_stream *s, uint64_t delay_us)
{
	if (s->busy)
		return;
	s->busy = true;
	sim_after(s->sim, delay_us, pump, s, NULL);
}

static bool end_lives(const struct sim_end *end)
{
	return end->open && !end->failed && end->node->hub && end->gen == end->node->gen;
}

static bool passes(struct sim_stream *s)
{
	return end_lives(&s->a) && end_lives(&s->b) &&
	       sim_net_passes(s->sim, s->a.node, s->b.node) &&
	       sim_net_passes(s->sim, s->b.node, s->a.node);
}

static struct sim_round *next_round(struct sim_stream *s, uint32_t *ret)
{
	for (uint32_t i = 0; i < SIM_ROUNDS; i++) {
		if (s->rounds[i].done)
			continue;
		*ret = i;
		return s->rounds[i].fed && s->rounds[i].wanted ? &s->rounds[i] : NULL;
	}
	return NULL;
}

static void deliver(struct sim_stream *s, uint32_t no, struct sim_round *round)
{
	struct sim *sim = s->sim;
	struct sim_proc *fresh = sim_proc_of_wid(s->b.node, s->b.wid);
	struct ph_stream_report flat = {
		.round = no, .bytes = 4 * round->n, .digest = sim_digest(round->items, round->n)};
	if (!fresh || !fresh->alive) {
		fail(s);
		return;
	}
	round->done = true;
	report(s, &s->b, PH_EV_STREAM_ROUND, &flat, sim_between(sim, 10, 500));
	report(s, &s->a, PH_EV_STREAM_ROUND, &flat, sim_between(sim, 10, 5 * MS));
	sim_worker_eof(fresh, &s->id, no, round->items, round->n);
}

static void pump(struct sim *sim, void *arg)
{
	struct sim_stream *s = arg;
	uint32_t no = 0;
	s->busy = false;
	if (!s->connected || (!end_lives(&s->a) && !end_lives(&s->b)))
		return;
	if (!passes(s)) {
		if (!s->cut_us)
			s->cut_us = sim->now_us;
		if (sim->now_us >= s->cut_us + PATIENCE_US)
			fail(s);
		else
			again(s, 100 * MS);
		return;
	}
	s->cut_us = 0;
	struct sim_round *round = next_round(s, &no);
	if (round)
		deliver(s, no, round);
	if (next_round(s, &no))
		again(s, sim_between(sim, 100, 5 * MS));
	else
		again(s, SEC); /* to see a cut */
}

static void kick(struct sim_stream *s)
{
	uint32_t no;
	if (!s->connected || !next_round(s, &no))
		return;
	sim_after(s->sim, sim_between(s->sim, 100, 8 * MS), pump, s, NULL);
}

static void connected(struct sim_stream *s)
{
	s->connected = true;
	s->cut_us = 0;
	kick(s);
	again(s, SEC);
}

/* From `from` to `to`, which must let it in. */
static void dial(struct sim *sim, void *arg)
{
	struct sim_stream *s = arg;
	struct ph_stream_report flat = {.round = 0};
	if (s->connected || !end_lives(&s->a))
		return;
	if (!s->b.open || !passes(s) || sim->no_dial[s->a.node->no][s->b.node->no]) {
		report(s, &s->a, PH_EV_STREAM_NO_DIAL, &flat, 0);
		return;
	}
	if (memcmp(s->a.ticket, s->b.ticket, sizeof s->a.ticket) != 0)
		fail(s);
	else
		connected(s);
}

static void dial_back(struct sim *sim, void *arg)
{
	struct sim_stream *s = arg;
	struct ph_stream_report flat = {.round = 0};
	if (s->connected || !end_lives(&s->b))
		return;
	if (!end_lives(&s->a) || !passes(s) || sim->no_dial[s->b.node->no][s->a.node->no]) {
		report(s, &s->b, PH_EV_STREAM_NO_DIAL, &flat, 0);
		return;
	}
	connected(s);
}

/* All of it goes to a file, or none: the disk is full now and then. */
static void write_file(struct sim *sim, void *arg)
{
	struct sim_stream *s = arg;
	struct ph_stream_report flat = {.bytes = 4 * s->rounds[0].n};
	bool full = !sim->healing && sim_chance(sim, 10);
	report(s, &s->a, full ? PH_EV_STREAM_FAILED : PH_EV_STREAM_READ, &flat, 0);
}

static void open_end(
	struct sim_node *node, struct sim_end *end, const struct ph_stream_order *order)
{
	end->open = true;
	end->failed = false;
	end->node = node;
	end->gen = node->gen;
	end->wid = order->wid;
	memcpy(end->ticket, order->ticket, sizeof end->ticket);
}

void sim_stream_ticket(
	const struct sim_node *node, const struct ph_id *id, uint8_t ret_ticket[PH_SECRET_SIZE])
{
	for (size_t i = 0; i < PH_SECRET_SIZE; i++)
		ret_ticket[i] = node->secret[i] ^ id->b[i % sizeof id->b];
}

void sim_stream_act(struct sim_node *node, const struct ph_action *action)
{
	struct sim *sim = node->sim;
	const struct ph_stream_order *order = action->stream;
	struct sim_stream *s = find(sim, &order->id, true);
	if (action->kind == PH_ACT_STREAM_SEND) {
		s->b.node = s->b.node ? s->b.node : sim_node_named(sim, &order->peer);
		open_end(node, &s->a, order);
		sim_stream_ticket(node, &order->id, s->a.ticket);
		bool cut = !sim_net_passes(sim, node, s->b.node) ||
			   !sim_net_passes(sim, s->b.node, node);
		sim_after(sim, cut ? SEC : sim_between(sim, 200, 5 * MS), dial, s, NULL);
	} else if (action->kind == PH_ACT_STREAM_EXPECT) {
		s->a.node = s->a.node ? s->a.node : sim_node_named(sim, &order->peer);
		open_end(node, &s->b, order);
		if (s->a.node == node) /* a swap: nothing has left this node */
			sim_stream_ticket(node, &order->id, s->b.ticket);
	} else if (action->kind == PH_ACT_STREAM_KEEP) {
		open_end(node, &s->a, order);
		s->kept = true;
	} else if (action->kind == PH_ACT_STREAM_DIAL) {
		sim_after(sim, sim_between(sim, 200, 5 * MS), dial_back, s, NULL);
	} else {
		struct sim_end *end = order->incoming ? &s->b : &s->a;
		end->open = false;
		if (s->hooked && action->on == s->merged)
			sim_fail(sim, "%s: a file %s though its hook ended %s", node->name.s,
				action->on ? "stays" : "goes", s->merged ? "well" : "badly");
	}
}

/* ---- the hook `conflict`: it takes its time, and may fail; no seed's other draws change by it */

static void hook_ends(struct sim *sim, void *arg)
{
	struct sim_stream *s = arg;
	struct ph_event event = {.kind = PH_EV_HOOKED, .id = s->id, .error = s->id.b[0] & 1};
	(void)sim;
	if (!end_lives(&s->a))
		return;
	s->merged = !event.error;
	sim_node_push(s->a.node, 0, &event, NULL, NULL);
}

void sim_stream_hook(struct sim_node *node, const struct ph_action *action)
{
	struct sim *sim = node->sim;
	const struct ph_hook_order *order = action->hook;
	struct sim_stream *s = find(sim, &order->id, false);
	unsigned running = 0;
	for (const struct sim_stream *o = sim->streams; o; o = o->next)
		running += o->hooked && o->a.open && o->a.node == node && o->a.gen == node->gen;
	if (!s || !s->kept || s->hooked || !end_lives(&s->a) || !order->file[0] ||
		!order->winner.s[0] || running >= PH_MERGES_MAX)
		sim_fail(sim, "%s: a hook for %s/%u that cannot be, %u run", node->name.s,
			order->key.child.s, order->key.instance, running);
	else
		sim_after(sim, MS << (s->id.b[1] % 14), hook_ends, s, NULL);
	if (s)
		s->hooked = true;
}

void sim_stream_feed(struct sim_proc *proc, uint32_t round, const uint32_t *items, size_t n)
{
	struct sim_stream *s = find(proc->sim, &proc->id, true);
	if (round >= SIM_ROUNDS || s->rounds[round].fed)
		return;
	s->rounds[round].fed = true;
	s->rounds[round].n = n;
	s->rounds[round].items = sim_alloc(n * sizeof *items);
	if (n)
		memcpy(s->rounds[round].items, items, n * sizeof *items);
	if (s->kept)
		sim_after(s->sim, sim_between(s->sim, 100, 30 * MS), write_file, s, NULL);
	else
		kick(s);
}

void sim_stream_want(struct sim_proc *proc, uint32_t round)
{
	struct sim_stream *s = find(proc->sim, &proc->id, true);
	if (round >= SIM_ROUNDS)
		return;
	s->rounds[round].wanted = true;
	kick(s);
}

void sim_stream_node_lost(struct sim_node *node)
{
	for (struct sim_stream *s = node->sim->streams; s; s = s->next) {
		if (s->a.node == node)
			s->a.open = false;
		if (s->b.node == node)
			s->b.open = false;
	}
}

void sim_stream_break(struct sim *sim, unsigned pick)
{
	(void)pick;
	for (struct sim_stream *s = sim->streams; s; s = s->next)
		if (end_lives(&s->a) && end_lives(&s->b)) {
			fail(s);
			return;
		}
}
