/* large.c - many hubs: their queue, their network, their processes, their journals. */
#include "large.h"

#include "proto/bus.h"
#include "proto/envelope.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define NONCE_BYTES 24u /* of the seal, beside the envelope's header and tag */
#define ENCODE_EACH 16u /* heartbeats: one of so many is encoded for its length */
#define CHECKED 100	/* up to so many nodes what heartbeats mean is checked */

void large_fail(struct large *large, const char *format, ...)
{
	va_list args;
	if (large->why[0])
		return;
	va_start(args, format);
	(void)vsnprintf(large->why, sizeof large->why, format, args);
	va_end(args);
}

/* ---- the queue ---- */

static bool before(const struct large_item *a, const struct large_item *b)
{
	return a->at_us != b->at_us ? a->at_us < b->at_us : a->seq < b->seq;
}

void large_push(struct large *large, uint64_t delay_us, const struct large_item *from)
{
	if (large->n_heap == large->room) {
		large->room = large->room ? 2 * large->room : 4096;
		large->heap = realloc(large->heap, large->room * sizeof *large->heap);
		if (!large->heap)
			abort();
	}
	struct large_item item = *from;
	item.at_us = large->now_us + delay_us;
	item.seq = ++large->seq;
	size_t i = large->n_heap++;
	while (i && before(&item, &large->heap[(i - 1) / 2])) {
		large->heap[i] = large->heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	large->heap[i] = item;
}

static struct large_item pop(struct large *large)
{
	struct large_item top = large->heap[0], last = large->heap[--large->n_heap];
	size_t i = 0;
	for (;;) {
		size_t child = 2 * i + 1;
		if (child >= large->n_heap)
			break;
		if (child + 1 < large->n_heap &&
			before(&large->heap[child + 1], &large->heap[child]))
			child++;
		if (!before(&large->heap[child], &last))
			break;
		large->heap[i] = large->heap[child];
		i = child;
	}
	if (large->n_heap)
		large->heap[i] = last;
	return top;
}

static void push_to(
	struct large_node *node, uint64_t delay_us, enum large_item_kind kind, uint64_t number)
{
	struct large_item item = {.node = node, .gen = node->gen, .kind = kind, .number = number};
	large_push(node->large, delay_us, &item);
}

/* ---- processes ---- */

static struct large_proc *proc_of(struct large_node *node, uint64_t wid)
{
	struct large_proc_id id = {node->no, wid};
	struct large_proc *proc;
	HASH_FIND(hh, node->large->procs, &id, sizeof id, proc);
	return proc;
}

static void act_spawn(struct large_node *node, const struct ph_action *action)
{
	struct large *large = node->large;
	struct large_proc *proc = sim_alloc(sizeof *proc);
	proc->id = (struct large_proc_id){node->no, action->wid};
	proc->pid = ++large->last_pid;
	HASH_ADD(hh, large->procs, id, sizeof proc->id, proc);
	struct large_item item = {.node = node,
		.gen = node->gen,
		.kind = LARGE_SPAWNED,
		.number = action->wid,
		.pid = proc->pid};
	large_push(large, 200, &item);
}

static void end_proc(struct large_node *node, uint64_t wid)
{
	struct large_proc *proc = proc_of(node, wid);
	if (!proc)
		return;
	HASH_DEL(node->large->procs, proc);
	free(proc);
}

static void act_signal(struct large_node *node, const struct ph_action *action)
{
	if (!proc_of(node, action->wid))
		return;
	end_proc(node, action->wid);
	push_to(node, 5 * MS, LARGE_EXITED, action->wid);
}

/* ---- the network ---- */

/* Bytes on the wire of one copy. The length of heartbeats is that of one in ENCODE_EACH. */
static uint64_t length_of(struct large *large, const struct ph_bmsg *msg)
{
	bool beat = msg->kind == PH_B_HEARTBEAT;
	if (beat && large->beats_seen++ % ENCODE_EACH)
		return large->beat_bytes;
	size_t n = 0;
	char *body = ph_bmsg_encode(msg, &n);
	if (!body || n > PH_ENVELOPE_BODY_MAX)
		large_fail(large, "a message of kind %s does not fit: %zu bytes",
			ph_bkind_word(msg->kind), n);
	free(body);
	n += PH_ENVELOPE_HEADER + PH_ENVELOPE_TAG + NONCE_BYTES;
	if (beat)
		large->beat_bytes = n;
	return n;
}

static void count(struct large_node *node, const struct ph_bmsg *msg, unsigned copies)
{
	if (!node->large->measuring || !copies)
		return;
	node->messages += copies;
	node->bytes += copies * length_of(node->large, msg);
}

/* As on a connection: what one sends to another arrives in the order in which it was sent. */
static void launch(struct large_node *from, struct large_node *to, struct sim_letter *letter)
{
	struct large *large = to->large;
	uint64_t at_us = large->now_us + sim_between(&large->sim, 100, 3 * MS);
	struct large_item item = {.node = to, .gen = to->gen, .kind = LARGE_MESSAGE};
	if (!to->hub)
		return;
	item.letter = sim_letter_keep(letter);
	if (at_us < from->last_us[to->no])
		at_us = from->last_us[to->no];
	from->last_us[to->no] = at_us;
	large_push(large, at_us - large->now_us, &item);
}

struct large_node *large_node_named(const struct large *large, const struct ph_name *name)
{
	unsigned no = 0; /* "n0042"; asked so often that strtoul() is seen */
	for (const char *digit = name->s + 1; *digit; digit++)
		no = 10 * no + (unsigned)(*digit - '0');
	return no <= large->n_nodes ? &large->nodes[no] : NULL;
}

/* What is sent to many is copied once: `posts` are of the messages sent last in this step. */
static struct sim_letter *letter_of(struct large *large, const struct ph_bmsg *msg)
{
	for (unsigned i = 0; i < LARGE_POSTS && large->posts[i].letter; i++)
		if (large->posts[i].msg == msg)
			return large->posts[i].letter;
	struct large_post *post = &large->posts[large->n_posts++ % LARGE_POSTS];
	if (post->letter)
		sim_letter_drop(post->letter);
	*post = (struct large_post){msg, sim_letter_new(&large->sim, msg)};
	return post->letter;
}

static void forget_posts(struct large *large)
{
	for (unsigned i = 0; i < LARGE_POSTS && large->posts[i].letter; i++) {
		sim_letter_drop(large->posts[i].letter);
		large->posts[i].letter = NULL;
	}
	large->n_posts = 0;
}

static void act_send(struct large_node *node, const struct ph_action *action)
{
	struct large_node *to = large_node_named(node->large, &action->to);
	if (!to || !(node->linked[to->no] || action->address))
		return;
	launch(node, to, letter_of(node->large, action->message));
	count(node, action->message, 1);
}

static void act_cast(struct large_node *node, const struct ph_action *action)
{
	struct large *large = node->large;
	unsigned copies = 0;
	struct sim_letter *letter = sim_letter_new(&large->sim, action->message);
	if (large->n_nodes <= CHECKED)
		sim_letter_means(letter, node->hub);
	for (unsigned i = 0; i <= large->n_nodes; i++) {
		bool seed = node->seeds_on && i < LARGE_SEEDS;
		if (i == node->no || !(node->linked[i] || seed))
			continue;
		launch(node, &large->nodes[i], letter);
		copies++;
	}
	sim_letter_drop(letter);
	count(node, action->message, copies);
}

/* ---- actions ---- */

static void act_emit(struct large_node *node, const struct ph_emit *emit)
{
	struct large *large = node->large;
	if (emit->kind == PH_EMIT_CHILD_MIGRATED)
		large->migrated++;
	if (emit->kind == PH_EMIT_MIGRATION_ABORTED)
		large_fail(large, "a migration was aborted: %s", emit->text ? emit->text : "");
	if (emit->kind == PH_EMIT_NODE_JOINED && ph_name_equal(&emit->peer, &node->name)) {
		node->joined = true;
		node->joined_us = large->now_us;
	}
	if (emit->kind != PH_EMIT_NODE_DEAD)
		return;
	if (large->victim && ph_name_equal(&emit->peer, &large->victim->name))
		node->dead_us = large->now_us;
	else
		large_fail(large, "%s holds %s for dead, which lives", node->name.s, emit->peer.s);
}

static void act(struct large_node *node, const struct ph_action *action)
{
	struct large_node *peer;
	switch ((int)action->kind) {
	case PH_ACT_SPAWN:
		act_spawn(node, action);
		break;
	case PH_ACT_SIGNAL:
		act_signal(node, action);
		break;
	case PH_ACT_REAP:
		end_proc(node, action->wid);
		push_to(node, MS, LARGE_GONE, action->wid);
		break;
	case PH_ACT_SEND:
		act_send(node, action);
		break;
	case PH_ACT_CAST:
		act_cast(node, action);
		break;
	case PH_ACT_LINK:
	case PH_ACT_UNLINK:
		peer = large_node_named(node->large, &action->to);
		if (peer)
			node->linked[peer->no] = action->kind == PH_ACT_LINK;
		break;
	case PH_ACT_SEEDS:
		node->seeds_on = action->on;
		break;
	case PH_ACT_JOURNAL:
		if (action->ticket)
			push_to(node, 2 * MS, LARGE_JOURNALLED, action->ticket);
		break;
	case PH_ACT_CHANGED:
		node->changes++;
		break;
	case PH_ACT_EMIT:
		act_emit(node, action->emit);
		break;
	case PH_ACT_LOG:
		if (strncmp(action->text, "bug:", 4) == 0)
			large_fail(node->large, "%s logs %s", node->name.s, action->text);
		break;
	case PH_ACT_EXIT:
		if (!node->shutting)
			large_fail(node->large, "%s exits without an order", node->name.s);
		large_stop(node);
		break;
	default:
		break;
	}
}

static void want_tick(struct large_node *node)
{
	uint64_t at_ms = ph_next_deadline(node->hub);
	if (at_ms == UINT64_MAX)
		return;
	uint64_t now_us = node->large->now_us, at_us = (at_ms - node->base_ms) * MS;
	if (at_ms <= node->base_ms || at_us <= now_us)
		at_us = now_us + 20;
	if (at_us >= node->tick_us)
		return;
	node->tick_us = at_us;
	push_to(node, at_us - now_us, LARGE_TICK, at_us);
}

void large_step(struct large_node *node, const struct ph_event *event)
{
	struct ph_actions actions = {0, NULL};
	uint32_t gen = node->gen;
	if (!node->hub || node->large->why[0])
		return;
	char why[256];
	uint64_t now_ms = node->base_ms + node->large->now_us / MS;
	if (!sim_letter_step(node->hub, event, now_ms, &actions, why, sizeof why))
		large_fail(node->large, "%s", why);
	for (size_t i = 0; i < actions.n && node->gen == gen; i++)
		act(node, &actions.items[i]);
	forget_posts(node->large);
	if (node->hub && node->gen == gen)
		want_tick(node);
}

/* ---- the life of a daemon ---- */

void large_start(struct large_node *node)
{
	struct large *large = node->large;
	const char *peers[LARGE_SEEDS];
	const struct ph_spec *specs[SIM_DEFS];
	struct ph_settings set = {.node = node->name,
		.slot = 100 + node->no,
		.weight = 1.0,
		.version = "sim",
		.peers = peers,
		.incarnation = UINT64_C(1700000000000) + large->now_us / MS,
		.join_timeout_ms = 5000,
		.failure_timeout_ms = 5000,
		.settle_ms = 1000,
		.heartbeat_ms = 250,
		.migrations_max = 8,
		.accept_any = true,
		.journal_writable = true,
		.seed = sim_random(&large->sim)};
	struct ph_config config = {
		.specs = specs, .migrations_max = 8, .settle_ms = 1000, .accept_any = true};
	for (unsigned i = 0; i < LARGE_SEEDS; i++)
		if (i != node->no)
			peers[set.n_peers++] = large->nodes[i].address;
	memcpy(set.address, node->address, sizeof set.address);
	memset(set.journal.b, (int)node->no + 1, sizeof set.journal.b);
	for (unsigned i = 0; i < large->sim.n_defs; i++)
		specs[config.n_specs++] = &large->sim.defs[i].spec;
	node->gen++;
	node->changes++;
	node->tick_us = UINT64_MAX;
	node->joined = node->shutting = false;
	node->hub = ph_hub_new(&set);
	if (!node->hub)
		abort();
	large_step(node, &(struct ph_event){.kind = PH_EV_CONFIGURED, .config = &config});
	large_step(node, &(struct ph_event){.kind = PH_EV_START});
	push_to(node, 5 * MS, LARGE_BUS_UP, 0);
}

void large_stop(struct large_node *node)
{
	struct large_proc *proc, *next;
	HASH_ITER (hh, node->large->procs, proc, next)
		if (proc->id.node == node->no) {
			HASH_DEL(node->large->procs, proc);
			free(proc);
		}
	ph_hub_free(node->hub);
	node->hub = NULL;
	node->joined = false;
	node->gen++;
	memset(node->linked, 0, (node->large->n_nodes + 1) * sizeof *node->linked);
}

/* ---- time ---- */

static void happen(struct large *large, struct large_item *item)
{
	static const enum ph_event_kind events[] = {[LARGE_TICK] = PH_EV_TICK,
		[LARGE_MESSAGE] = PH_EV_MESSAGE,
		[LARGE_SPAWNED] = PH_EV_SPAWNED,
		[LARGE_EXITED] = PH_EV_EXITED,
		[LARGE_GONE] = PH_EV_GONE,
		[LARGE_JOURNALLED] = PH_EV_JOURNALLED,
		[LARGE_BUS_UP] = PH_EV_BUS_UP};
	struct large_node *node = item->node;
	bool now = node->gen == item->gen && node->hub;
	struct ph_event event = {.kind = events[item->kind], .pid = item->pid};
	if (item->kind == LARGE_TICK) {
		now = now && node->tick_us == item->number;
		node->tick_us = now ? UINT64_MAX : node->tick_us;
	} else if (item->kind == LARGE_MESSAGE) {
		event.message = sim_letter_of(item->letter);
	} else if (item->kind == LARGE_JOURNALLED) {
		event.ticket = item->number;
	} else {
		event.wid = item->number;
	}
	if (now)
		large_step(node, &event);
	if (item->kind == LARGE_MESSAGE)
		sim_letter_drop(item->letter);
	(void)large;
}

void large_run(struct large *large, uint64_t until_us)
{
	while (!large->why[0] && large->n_heap && large->heap[0].at_us <= until_us) {
		struct large_item item = pop(large);
		large->now_us = item.at_us;
		if (item.kind == LARGE_START)
			large_start(item.node);
		else
			happen(large, &item);
	}
	large->now_us = until_us;
}
