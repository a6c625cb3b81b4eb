/*
 * story_swap.c - the story `swap`: workers that are replaced where they run, by order or as their
 * text has changed, on one node alone or in a cluster, and a daemon that dies at any step of it.
 *
 * The two sides say nothing over the network, so faults count the actions of the node on which it
 * happens: a crash after `k` of them is one at each step sooner or later.
 */
#include "sim.h"

#define STEPS 90 /* actions of one swap, and a few more */

/* One node alone in a third of the seeds: nobody answers a claim. */
void sim_story_swap_nodes(struct sim *sim)
{
	if (sim->story != STORY_SWAP || sim->opt.partition || sim->opt.nodes ||
		!sim_chance(sim, 35))
		return;
	sim->n_nodes = 1;
	sim->nodes[0].n_peers = 0;
}

static struct sim_deed *fault(struct sim *sim, enum sim_deed_kind kind, uint64_t at_us)
{
	struct sim_deed *deed = sim_story_add(sim, kind, at_us);
	deed->node = (unsigned)(sim_random(sim) % sim->n_nodes);
	deed->other = (deed->node + 1) % sim->n_nodes;
	deed->key = (unsigned)(sim_random(sim) % sim->n_keys);
	deed->k = (unsigned)sim_between(sim, 0, STEPS);
	deed->x = sim_between(sim, 100, 2000);
	return deed;
}

/* What befalls a swap that begins at that moment; do_swap() makes the node the owner's. */
static void spoil(struct sim *sim, const struct sim_deed *swap)
{
	static const enum sim_deed_kind kinds[] = {DEED_DAEMON_CRASH, DEED_DAEMON_CRASH,
		DEED_DAEMON_CRASH, DEED_DAEMON_CRASH, DEED_MACHINE_CRASH, DEED_JOURNAL_LOST,
		DEED_KILL_OLD, DEED_KILL_NEW, DEED_HANG_UP, DEED_STREAM_BREAK, DEED_DISK_FAIL,
		DEED_SUSPEND, DEED_CUT};
	enum sim_deed_kind kind = kinds[sim_random(sim) % (sizeof kinds / sizeof kinds[0])];
	bool steps = kind == DEED_DAEMON_CRASH || kind == DEED_MACHINE_CRASH ||
		     kind == DEED_JOURNAL_LOST;
	if (kind == DEED_CUT && sim->n_nodes == 1)
		kind = DEED_KILL_NEW;
	uint64_t at_us = swap->at_us + (steps ? 1 : sim_between(sim, 0, 900 * MS));
	struct sim_deed *deed = fault(sim, kind, at_us);
	deed->key = swap->key;
	if (sim_chance(sim, 20)) /* and once more while the first is being mended */
		fault(sim, DEED_DAEMON_CRASH, at_us + sim_between(sim, 0, 3 * SEC))->key =
			swap->key;
}

static void change_file(struct sim *sim, uint64_t at_us, unsigned key, uint64_t variant)
{
	struct sim_deed *deed = sim_story_add(sim, DEED_FILES, at_us);
	deed->key = key;
	deed->x = variant;
}

static void order_swaps(struct sim *sim)
{
	unsigned n = (unsigned)sim_between(sim, 1, 6), first = (unsigned)sim_random(sim);
	for (unsigned i = 0; i < n; i++) {
		uint64_t at_us = sim_between(sim, 8 * SEC, 20 * SEC);
		struct sim_deed *deed = sim_story_add(sim, DEED_SWAP, at_us);
		deed->key = (first + (sim->faultless ? i : i / 2)) % sim->n_keys;
		if (!sim->faultless && sim_chance(sim, 70))
			spoil(sim, deed);
		if (!sim->faultless && sim_chance(sim, 30))
			change_file(sim, at_us + sim_between(sim, 0, 2 * SEC), deed->key,
				1 + sim_random(sim) % 2);
		if (!sim->faultless && sim_chance(sim, 15))
			sim_story_add(sim, DEED_MOVE, at_us + sim_between(sim, 0, SEC))->key =
				deed->key;
		if (!sim->faultless && sim_chance(sim, 15)) {
			deed = sim_story_add(sim, DEED_CANCEL, at_us + sim_between(sim, 0, SEC));
			deed->other = (unsigned)sim_between(sim, 0, 2);
			deed->x = sim_random(sim) % 4;
		}
	}
}

void sim_story_swap(struct sim *sim)
{
	for (unsigned i = 0; i < sim->n_nodes; i++)
		sim_story_add(sim, DEED_NODE_START, sim_between(sim, 0, 300 * MS))->node = i;
	order_swaps(sim);
	if (!sim->faultless && sim->n_nodes > 1 && sim_chance(sim, 20)) {
		struct sim_deed *deed =
			sim_story_add(sim, DEED_SHUTDOWN, sim_between(sim, 9 * SEC, 18 * SEC));
		deed->node = (unsigned)(sim_random(sim) % sim->n_nodes);
		deed->x = sim_between(sim, 200, 6000);
	}
}
