/* large_story.c - many hubs: all join, one dies, one leaves, one joins; figures of each. */
#include "large.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define LOOK_US (50 * MS)
#define STEADY_US (4 * SEC)
#define CALM_US (4 * SEC)  /* before that: what starts is told of for some heartbeats more */
#define START_US (2 * SEC) /* within this all nodes are started */
#define PATIENCE_US (300 * SEC)
#define FAILURE_TIMEOUT_S 5.0
#define LETTERS_BYTES (8u << 20) /* of messages on their way at once, at most ... */
#define LETTERS_BYTES_PAIR 2048	 /* ... and so many for each two nodes, whatever is in them */
#define TOLD_NODES 500		 /* from so many on each act is told */
#define REST_BYTES 800		 /* of a message, on average ... */
#define REST_BYTES_EACH 3	 /* ... and so many for each node */

static double seconds(uint64_t us)
{
	return (double)us / 1e6;
}

/* ---- what is there ---- */

static void make_def(struct large *large, unsigned no, unsigned instances)
{
	struct sim_def *def = &large->sim.defs[no];
	struct ph_spec *spec = &def->spec;
	(void)snprintf(def->texts[0], sizeof def->texts[0], "{\"child\":%u}", no);
	(void)snprintf(spec->child.s, sizeof spec->child.s, "c%u", no);
	spec->text = def->texts[0];
	spec->hash = ph_hash_bytes(PH_HASH_SEED, spec->text, strlen(spec->text));
	spec->instances = instances;
	spec->ready = PH_READY_NONE;
	spec->start_timeout_ms = 10000;
	spec->stop_signal = 15;
	spec->stop_timeout_ms = 5000;
	spec->restart = (struct ph_restart){.policy = PH_RESTART_PERMANENT,
		.backoff_ms = 100,
		.backoff_max_ms = 5000,
		.within_ms = 60000};
	spec->swap = true;
	spec->handover = PH_HANDOVER_NO;
	spec->retention_ms = 500;
	spec->timeout_ms = 30000;
	spec->downtime_ms = 500;
	spec->defer_max_ms = 600000;
	spec->rounds_max = 8;
	spec->max_state_bytes = UINT64_C(1) << 34;
}

static void make(struct large *large, unsigned nodes, unsigned children, uint64_t seed)
{
	large->n_nodes = nodes;
	large->children = children;
	large->sim.rng = ph_mix64(seed + 1);
	large->sim.n_defs = SIM_DEFS;
	for (unsigned i = 0; i < SIM_DEFS; i++)
		make_def(large, i, children / SIM_DEFS + (i < children % SIM_DEFS));
	large->nodes = sim_alloc((nodes + 1) * sizeof *large->nodes);
	for (unsigned i = 0; i <= nodes; i++) {
		struct large_node *node = &large->nodes[i];
		node->large = large;
		node->no = i;
		node->base_ms = 1000 + sim_random(&large->sim) % 100000000;
		node->linked = sim_alloc((nodes + 1) * sizeof *node->linked);
		node->last_us = sim_alloc((nodes + 1) * sizeof *node->last_us);
		(void)snprintf(node->name.s, sizeof node->name.s, "n%04u", i);
		(void)snprintf(node->address, sizeof node->address, "tcp://10.0.%u.%u:7400",
			i / 256, i % 256);
	}
}

static void clean(struct large *large)
{
	for (size_t i = 0; i < large->n_heap; i++)
		if (large->heap[i].kind == LARGE_MESSAGE)
			sim_letter_drop(large->heap[i].letter);
	free(large->heap);
	for (unsigned i = 0; i <= large->n_nodes; i++) {
		if (large->nodes[i].hub)
			large_stop(&large->nodes[i]);
		free(large->nodes[i].linked);
		free(large->nodes[i].last_us);
	}
	free(large->nodes);
}

/* ---- waiting, and what it takes ---- */

static unsigned n_joined(const struct large *large)
{
	unsigned n = 0;
	for (unsigned i = 0; i <= large->n_nodes; i++)
		n += large->nodes[i].joined;
	return n;
}

/*
 * Until all that is wanted runs once, nothing is on its way, and all registries agree with the word
 * of the owners. Registries may lag two heartbeats behind the last change.
 */
static void settle(struct large *large, unsigned nodes, const char *what)
{
	uint64_t began_us = large->now_us, agreed_us = large->now_us, truth = 0;
	unsigned joined = 0;
	bool agreed = false;
	large->truth = 0;
	for (;;) {
		large_run(large, large->now_us + LOOK_US);
		if (large->why[0])
			return;
		/* Who agreed does so still where nothing has changed: that look takes long. */
		bool same = large_truth(large) == truth && n_joined(large) == joined;
		bool agree = (agreed && same) || !large_lags(large);
		if (agree && !agreed)
			agreed_us = large->now_us;
		agreed = agree;
		truth = large->truth;
		joined = n_joined(large);
		if (agree && joined == nodes && !large_busy(large) && large_complete(large) &&
			!large_lags(large))
			break;
		if (large->now_us >= began_us + PATIENCE_US) {
			const struct large_node *late = large_lags(large);
			large_fail(large,
				"%s: no rest after %.0f s: %u of %u have joined, %u are busy, %s",
				what, seconds(PATIENCE_US), n_joined(large), nodes,
				large_busy(large), !late ? "all registries agree" : late->name.s);
			return;
		}
	}
	double beats = agreed_us < large->changed_us
			       ? 0
			       : (double)(agreed_us - large->changed_us) / 1e3 /
					 (double)large_beat_ms(&large->nodes[0]);
	if (beats > large->result.lag_beats)
		large->result.lag_beats = beats;
	if (beats > 2)
		large_fail(large, "%s: registries agree only %.1f heartbeats after the last change",
			what, beats);
}

static void join_all(struct large *large)
{
	struct large_result *r = &large->result;
	for (unsigned i = 0; i < large->n_nodes; i++) {
		struct large_item item = {.node = &large->nodes[i], .kind = LARGE_START};
		large_push(large, i * START_US / large->n_nodes, &item);
	}
	settle(large, large->n_nodes, "all join");
	uint64_t last_us = 0;
	for (unsigned i = 0; i < large->n_nodes; i++)
		if (large->nodes[i].joined_us > last_us)
			last_us = large->nodes[i].joined_us;
	r->join_s = seconds(last_us) - seconds(START_US);
	r->start_s = seconds(large->now_us) - seconds(START_US);
}

static void weigh(struct large *large)
{
	unsigned most = 0;
	for (unsigned i = 0; i < large->n_nodes && !large->why[0]; i++) {
		unsigned n = large_owned(&large->nodes[i]);
		most = n > most ? n : most;
	}
	large->result.load = most * (double)large->n_nodes / large->children;
	/* The bound of placement, and one for rounding up. */
	if (most > 1 + (unsigned)(1.25 * large->children / large->n_nodes + 1))
		large_fail(large, "a node owns %u of %u children", most, large->children);
}

static void rest(struct large *large)
{
	struct large_result *r = &large->result;
	large_run(large, large->now_us + CALM_US);
	large->measuring = true;
	large_run(large, large->now_us + STEADY_US);
	large->measuring = false;
	for (unsigned i = 0; i < large->n_nodes; i++) {
		double kib = (double)large->nodes[i].bytes / 1024 / seconds(STEADY_US);
		r->messages +=
			(double)large->nodes[i].messages / seconds(STEADY_US) / large->n_nodes;
		r->kib += kib / large->n_nodes;
		r->kib_max = kib > r->kib_max ? kib : r->kib_max;
	}
	/* At rest heartbeats name nobody: they are all that is sent, but for a DIGEST now and then.
	 */
	double each = r->messages > 0 ? r->kib_max * 1024 / r->messages : 0;
	if (each > REST_BYTES + REST_BYTES_EACH * large->n_nodes)
		large_fail(large, "at rest a message has %.0f bytes", each);
	r->beat_ms = large->why[0] ? 0 : large_beat_ms(&large->nodes[0]);
}

/* ---- one dies, one leaves, one joins ---- */

static void die(struct large *large)
{
	struct large_result *r = &large->result;
	struct large_node *victim = &large->nodes[large->n_nodes - 1];
	uint64_t at_us = large->now_us;
	large->victim = victim;
	large_stop(victim);
	settle(large, large->n_nodes - 1, "one dies");
	r->replaced_s = seconds(large->now_us - at_us);
	r->detect_first_s = 1e9;
	for (unsigned i = 0; i < large->n_nodes - 1 && !large->why[0]; i++) {
		const struct large_node *node = &large->nodes[i];
		if (!node->dead_us) {
			large_fail(large, "%s has not seen that %s is dead", node->name.s,
				victim->name.s);
			return;
		}
		double s = seconds(node->dead_us - at_us);
		r->detect_first_s = s < r->detect_first_s ? s : r->detect_first_s;
		r->detect_last_s = s > r->detect_last_s ? s : r->detect_last_s;
	}
	if (r->detect_last_s > FAILURE_TIMEOUT_S + 1)
		large_fail(large, "a death was seen after %.2f s", r->detect_last_s);
}

static void leave(struct large *large)
{
	struct large_node *node = &large->nodes[large->n_nodes - 2];
	struct ph_command drain = {.ticket = 1, .verb = PH_VERB_DRAIN, .node = node->name};
	large->migrated = 0;
	large->result.ideal_leave = large->why[0] ? 0 : large_owned(node);
	large_step(node, &(struct ph_event){.kind = PH_EV_COMMAND, .command = &drain});
	settle(large, large->n_nodes - 1, "one is drained");
	large->result.moved_leave = large->migrated;
	if (!large->why[0] && large_owned(node))
		large_fail(large, "%s was drained and owns children", node->name.s);
	large->victim = node;
	node->shutting = true;
	large_step(node, &(struct ph_event){.kind = PH_EV_SHUTDOWN});
	settle(large, large->n_nodes - 2, "one leaves");
}

static void arrive(struct large *large)
{
	large->migrated = 0;
	large_start(&large->nodes[large->n_nodes]);
	settle(large, large->n_nodes - 1, "one joins");
	large_run(large, large->now_us + 2 * SEC);
	settle(large, large->n_nodes - 1, "one has joined");
	large->result.moved_join = large->migrated;
	large->result.ideal_join = large->children / (large->n_nodes - 1);
	/* As many as the newcomer may hold, and as few as make it worth while. */
	if (large->migrated > 1 + large->result.ideal_join * 5 / 4 + 1)
		large_fail(large, "%u children moved to one node of %u", large->migrated,
			large->n_nodes - 1);
}

/* A run of many takes minutes: how far it has come, for who waits for it. */
static void tell(const struct large *large, const char *act, clock_t began)
{
	struct rusage usage;
	if (large->n_nodes < TOLD_NODES)
		return;
	(void)getrusage(RUSAGE_SELF, &usage);
	(void)fprintf(stderr, "large: %s: %.1f s simulated, %.0f s of CPU, %ld MiB\n", act,
		seconds(large->now_us), (double)(clock() - began) / CLOCKS_PER_SEC,
		usage.ru_maxrss / 1024);
}

/* Where all nodes ask all others at once it is what messages share that counts. */
static void weigh_letters(struct large *large)
{
	size_t most = sim_letters_most();
	if (most > LETTERS_BYTES + (size_t)LETTERS_BYTES_PAIR * large->n_nodes * large->n_nodes)
		large_fail(large, "%zu MiB of messages were on their way at once", most >> 20);
}

int large_play(unsigned nodes, unsigned children, uint64_t seed, struct large_result *ret)
{
	static const struct {
		void (*run)(struct large *);
		const char *name;
	} acts[] = {{join_all, "all have joined"}, {weigh, "loads are weighed"},
		{rest, "all is at rest"}, {die, "one has died"}, {leave, "one has left"},
		{arrive, "one has come"}};
	struct large *large = sim_alloc(sizeof *large);
	clock_t began = clock();
	struct rusage usage;
	make(large, nodes, children, seed);
	(void)sim_letters_most(); /* of an earlier run */
	for (size_t i = 0; i < sizeof acts / sizeof acts[0] && !large->why[0]; i++) {
		acts[i].run(large);
		weigh_letters(large);
		tell(large, acts[i].name, began);
	}
	(void)getrusage(RUSAGE_SELF, &usage);
	*ret = large->result;
	ret->nodes = nodes;
	ret->children = children;
	ret->real_s = (double)(clock() - began) / CLOCKS_PER_SEC;
	ret->memory_mib = (double)usage.ru_maxrss / 1024;
	bool failed = large->why[0] != '\0';
	if (failed)
		printf("large: %u nodes, %u children, at %.3f s: %s\n", nodes, children,
			seconds(large->now_us), large->why);
	clean(large);
	free(large);
	return failed;
}
