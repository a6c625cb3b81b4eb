/*
 * story_texts.c - the story `texts`: texts of a child with more and with fewer instances, for other
 * nodes, with another process, reloaded on one node or on all, with `--cluster` or without, while
 * daemons die, links are cut, disks and starts are slow, and what the texts speak of moves, starts,
 * waits or is replaced. In the end one text is in force everywhere, and exactly what it wants runs.
 *
 * When the faults are over somebody reloads once more, several times in a row perhaps: the last of
 * those is what all have in the end.
 */
#include "sim.h"

#include <string.h>

#define SETTLE_US (15 * SEC) /* whoever was down is back */
#define APART_US (4 * SEC)   /* the last reload meets nothing that is on its way */

static void nodes_of(const struct sim *sim, unsigned mask, char *to, size_t size)
{
	size_t n = 0;
	for (unsigned i = 0; i < sim->n_nodes; i++)
		if (mask >> i & 1)
			n += (size_t)snprintf(to + n, size - n, "%sn%u", n ? "," : "", i);
}

/* What the other texts of it say; its first one has all instances, on any node. */
void sim_story_texts_children(struct sim *sim, struct sim_def *def, unsigned instances)
{
	unsigned all = (1u << sim->n_nodes) - 1;
	def->traits.deaf |= !sim->faultless && sim_chance(sim, 15);
	for (unsigned i = 2; i < SIM_VARIANTS; i++) {
		struct sim_change *change = &def->changes[i];
		bool elsewhere = i > 3 && sim_chance(sim, 60);
		change->instances = (unsigned)sim_between(sim, 1, instances);
		change->process = sim_chance(sim, 50) ? 0 : i;
		change->no_swap = sim_chance(sim, 20);
		if (elsewhere)
			nodes_of(sim, (unsigned)sim_between(sim, 1, all), change->nodes,
				sizeof change->nodes);
	}
}

static unsigned anybody(struct sim *sim)
{
	return (unsigned)(sim_random(sim) % sim->n_nodes);
}

static unsigned any_key(struct sim *sim)
{
	return (unsigned)(sim_random(sim) % sim->n_keys);
}

static void reload(struct sim *sim, uint64_t at_us, unsigned key)
{
	static const enum sim_deed_kind kinds[] = {DEED_SPREAD, DEED_SPREAD, DEED_FILE, DEED_FILES};
	struct sim_deed *deed = sim_story_add(
		sim, kinds[sim_random(sim) % (sizeof kinds / sizeof kinds[0])], at_us);
	deed->node = anybody(sim);
	deed->key = key;
	deed->x = sim_between(sim, 1, SIM_VARIANTS);
	deed->k = (unsigned)sim_random(sim) % 4;
}

/* What is under way with the child when its text changes. */
static void stir(struct sim *sim, uint64_t at_us, unsigned key)
{
	static const enum sim_deed_kind orders[] = {
		DEED_MOVE, DEED_MOVE, DEED_SWAP, DEED_STOP, DEED_BEGIN, DEED_CANCEL, DEED_DRAIN};
	enum sim_deed_kind kind = orders[sim_random(sim) % (sizeof orders / sizeof orders[0])];
	struct sim_deed *deed = sim_story_add(sim, kind, at_us);
	deed->key = key;
	deed->other = anybody(sim);
	if (kind == DEED_DRAIN)
		sim_story_add(sim, DEED_UNDRAIN, at_us + sim_between(sim, SEC, 8 * SEC))->other =
			deed->other;
}

static void fault(struct sim *sim, uint64_t at_us, unsigned key)
{
	static const enum sim_deed_kind kinds[] = {DEED_DAEMON_CRASH, DEED_DAEMON_CRASH,
		DEED_DAEMON_CRASH, DEED_MACHINE_CRASH, DEED_KILL_OLD, DEED_KILL_OLD, DEED_KILL_NEW,
		DEED_SUSPEND, DEED_SUSPEND, DEED_CUT, DEED_CUT_ONE_WAY, DEED_SPLIT, DEED_DISK_FAIL,
		DEED_BUS_RESTART, DEED_HANG_UP, DEED_SLOW_DISK, DEED_SLOW_DISK, DEED_SLOW_SPAWN,
		DEED_SLOW_SPAWN, DEED_UNFIT, DEED_RESTART};
	enum sim_deed_kind kind = kinds[sim_random(sim) % (sizeof kinds / sizeof kinds[0])];
	struct sim_deed *deed = sim_story_add(sim, kind, at_us);
	deed->node = anybody(sim);
	deed->other = (deed->node + 1) % sim->n_nodes;
	deed->key = key;
	deed->k = (unsigned)sim_between(sim, 0, sim_chance(sim, 50) ? 10 : 90);
	deed->x = sim_between(sim, 100, sim_chance(sim, 50) ? 2000 : 9000);
	if (kind == DEED_SPLIT)
		deed->k = 1u << deed->node;
	if (kind == DEED_UNFIT)
		deed->x = 1u << deed->node;
}

void sim_story_texts(struct sim *sim)
{
	static const unsigned losses[] = {0, 0, 1, 5, 20};
	unsigned n = (unsigned)sim_between(sim, 3, 16), key = any_key(sim);
	uint64_t at_us = 8 * SEC;
	for (unsigned i = 0; i < sim->n_nodes; i++)
		sim_story_add(sim, DEED_NODE_START, sim_between(sim, 0, 300 * MS))->node = i;
	if (!sim->faultless) {
		sim->loss_percent = losses[sim_random(sim) % 5];
		sim->dup_percent = losses[sim_random(sim) % 5];
	}
	for (; n > 0; n--) {
		reload(sim, at_us, key);
		if (sim_chance(sim, 50))
			stir(sim, at_us + sim_between(sim, 0, 2 * SEC) - SEC, key);
		if (!sim->faultless && sim_chance(sim, 50))
			fault(sim, at_us + sim_between(sim, 0, 2 * SEC) - SEC, key);
		at_us += sim_chance(sim, 50) ? sim_between(sim, 0, 300 * MS)
					     : sim_between(sim, 0, 4 * SEC);
		if (sim_chance(sim, 30))
			key = any_key(sim);
	}
}

/* ---- the end ---- */

static void look(struct sim *sim, void *arg)
{
	(void)arg;
	sim->end_us = sim->now_us;
	sim_check_end(sim);
}

/* The order to do so may have come while it was down, and a text may name no other node. */
static void undrain(struct sim *sim, void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < sim->n_nodes; i++) {
		struct sim_deed deed = {.kind = DEED_UNDRAIN, .other = i, .k = i};
		(void)sim_deed_order(sim, &deed, PH_VERB_UNDRAIN);
	}
}

static void last_reload(struct sim *sim, void *arg)
{
	struct sim_deed *deed = arg;
	unsigned up = 0;
	for (unsigned i = 0; i < sim->n_nodes; i++)
		up += sim->nodes[i].hub && !sim->nodes[i].shutting &&
		      ph_hub_joined(sim->nodes[i].hub);
	struct sim_def *def = sim->keys[deed->key].def;
	def->last = up == sim->n_nodes ? (unsigned)deed->x : 0;
	sim_trace(sim, "the last reload of %s on n%u: variant %u", def->spec.child.s, deed->node,
		(unsigned)deed->x);
	sim_more_deeds[DEED_SPREAD](sim, deed);
}

/* In quick succession on any nodes, and once more a little later. */
void sim_texts_last(struct sim *sim)
{
	uint64_t at_us = sim_between(sim, 0, SETTLE_US);
	unsigned n = (unsigned)sim_between(sim, 0, 4), key = any_key(sim);
	for (unsigned i = 0; i < n; i++) {
		struct sim_deed *deed = sim_story_add(sim, DEED_SPREAD, 0);
		deed->node = anybody(sim);
		deed->key = key;
		deed->x = sim_between(sim, 1, SIM_VARIANTS);
		at_us += i + 1 == n ? APART_US : sim_between(sim, 0, SEC);
		sim_after(sim, at_us, last_reload, deed, NULL);
	}
	sim_after(sim, SETTLE_US, undrain, NULL, NULL);
	sim_after(sim, at_us, look, NULL, NULL);
}

bool sim_texts_rest(const struct sim *sim, char *why, size_t size)
{
	for (unsigned i = 0; i < sim->n_nodes; i++)
		for (unsigned d = 0; d < sim->n_defs; d++) {
			const struct sim_node *node = &sim->nodes[i];
			const struct sim_def *def = &sim->defs[d];
			const struct ph_spec *spec =
				node->hub ? ph_hub_spec(node->hub, &def->spec.child) : NULL;
			if (!def->last || !node->hub || sim_node_outside(node) ||
				(spec && strcmp(spec->text, sim_def_text(def, def->last)) == 0))
				continue;
			(void)snprintf(why, size, "%s has %s of %s, the last one was variant %u",
				node->name.s, spec ? spec->text : "no text", def->spec.child.s,
				def->last);
			return false;
		}
	return true;
}
