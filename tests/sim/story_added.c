/*
 * story_added.c - the story `added`: children that are in no file, added and removed on any node
 * while nodes die, are cut off and come back. In the end all agree on which there are, and what was
 * removed, and was known to be, has not come back.
 *
 * A removal counts as known once its node has lived on for a while: what died with it was answered
 * to nobody.
 */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

#define KNOWN_AFTER (2 * SEC)

static struct sim_node *somebody(struct sim *sim, unsigned from)
{
	for (unsigned i = 0; i < sim->n_nodes; i++) {
		struct sim_node *node = &sim->nodes[(from + i) % sim->n_nodes];
		if (node->hub && !node->shutting && node->suspended_us <= sim->now_us &&
			ph_hub_joined(node->hub))
			return node;
	}
	return NULL;
}

void sim_added_add(struct sim *sim, struct sim_deed *deed)
{
	struct sim_node *node = somebody(sim, deed->node);
	const struct sim_def *def = sim->keys[deed->key].def;
	struct ph_spec spec;
	const struct ph_spec *specs[] = {&spec};
	if (!node)
		return;
	(void)sim_spec_of_text(sim, sim_def_text(def, 1 + (unsigned)deed->x % 2), &spec);
	struct ph_command order = {.ticket = ++sim->last_ticket,
		.verb = PH_VERB_ADD,
		.specs = specs,
		.n_specs = 1,
		.no_wait = deed->k % 2,
		.keep_going = deed->k % 3 == 0,
		.timeout_ms = 1000 + deed->k * 40};
	struct ph_event event = {.kind = PH_EV_COMMAND, .command = &order};
	sim->open_answers++;
	sim_node_step(node, &event);
}

struct removal {
	struct sim_node *node;
	struct sim_def *def;
	uint32_t gen;
	uint64_t revision;
};

static void known(struct sim *sim, void *arg)
{
	struct removal *removal = arg;
	(void)sim;
	if (removal->node->hub && removal->node->gen == removal->gen &&
		removal->def->removed < removal->revision)
		removal->def->removed = removal->revision;
	free(removal);
}

void sim_added_remove(struct sim *sim, struct sim_deed *deed)
{
	struct sim_node *node = somebody(sim, deed->node);
	struct sim_def *def = sim->keys[deed->key].def;
	if (!node)
		return;
	const struct ph_spec *spec = ph_hub_spec(node->hub, &def->spec.child);
	struct removal removal = {node, def, node->gen, spec ? spec->revision : 0};
	struct ph_command order = {.ticket = ++sim->last_ticket,
		.verb = PH_VERB_REMOVE,
		.child = def->spec.child,
		.all_instances = true,
		.no_wait = deed->k % 2};
	struct ph_event event = {.kind = PH_EV_COMMAND, .command = &order};
	sim->open_answers++;
	sim_node_step(node, &event);
	if (!removal.revision)
		return;
	struct removal *kept = sim_alloc(sizeof *kept);
	*kept = removal;
	sim_after(sim, KNOWN_AFTER, known, kept, free);
}

/* Somebody has it who may stay: then all are to have it. */
bool sim_added_there(const struct sim *sim, const struct sim_def *def)
{
	for (unsigned i = 0; i < sim->n_nodes; i++)
		if (sim->nodes[i].hub && !sim_node_outside(&sim->nodes[i]) &&
			ph_hub_spec(sim->nodes[i].hub, &def->spec.child))
			return true;
	return false;
}

void sim_added_look(struct sim *sim)
{
	for (unsigned i = 0; i < sim->n_nodes; i++)
		for (unsigned d = 0; d < sim->n_defs; d++) {
			struct sim_node *node = &sim->nodes[i];
			struct sim_def *def = &sim->defs[d];
			if (!node->hub || sim_node_outside(node) || !def->spec.added)
				continue;
			const struct ph_spec *spec = ph_hub_spec(node->hub, &def->spec.child);
			if (spec && spec->revision == def->removed)
				sim_fail(sim, "%s has %s, which was removed, once more",
					node->name.s, def->spec.child.s);
		}
}

static void fault(struct sim *sim, uint64_t at_us)
{
	static const enum sim_deed_kind kinds[] = {DEED_DAEMON_CRASH, DEED_DAEMON_CRASH,
		DEED_MACHINE_CRASH, DEED_MACHINE_CRASH, DEED_KILL_OLD, DEED_SUSPEND, DEED_CUT,
		DEED_CUT_ONE_WAY, DEED_SPLIT, DEED_SPLIT, DEED_BUS_RESTART};
	struct sim_deed *deed = sim_story_add(
		sim, kinds[sim_random(sim) % (sizeof kinds / sizeof kinds[0])], at_us);
	deed->node = (unsigned)(sim_random(sim) % sim->n_nodes);
	deed->other = (deed->node + 1) % sim->n_nodes;
	deed->key = (unsigned)(sim_random(sim) % sim->n_keys);
	deed->k = (unsigned)sim_between(sim, 0, 60);
	deed->x = sim_between(sim, 100, 9000);
	if (deed->kind == DEED_SPLIT)
		deed->k = 1u << deed->node;
}

void sim_story_added(struct sim *sim)
{
	for (unsigned d = 0; d < sim->n_defs; d++)
		sim->defs[d].spec.added = sim->defs[d].removable = true;
	for (unsigned i = 0; i < sim->n_keys; i++)
		sim->keys[i].stopped_by_order = true;
	for (unsigned i = 0; i < sim->n_nodes; i++) {
		memset(sim->nodes[i].file, 0, sizeof sim->nodes[i].file);
		sim_story_add(sim, DEED_NODE_START, sim_between(sim, 0, 300 * MS))->node = i;
	}
	for (unsigned n = (unsigned)sim_between(sim, 4, 24); n > 0; n--) {
		uint64_t at_us = sim_between(sim, 7 * SEC, 25 * SEC);
		struct sim_deed *deed =
			sim_story_add(sim, sim_chance(sim, 60) ? DEED_ADD : DEED_REMOVE, at_us);
		deed->node = (unsigned)(sim_random(sim) % sim->n_nodes);
		deed->key = (unsigned)(sim_random(sim) % sim->n_keys);
		deed->k = (unsigned)sim_between(sim, 0, 200);
		deed->x = sim_random(sim) % 4;
		if (!sim->faultless && sim_chance(sim, 40))
			fault(sim, at_us + sim_between(sim, 0, 2 * SEC) - SEC);
	}
}
