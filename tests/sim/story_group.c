/*
 * story_group.c - the story `group`: children that are started after others and restarted together,
 * many of which crash again and again; and what must hold of that.
 *
 * A child waits for some of those before it, so that there is no circle; some of them are in
 * groups, of which each strategy comes, with a low intensity. Whoever may leave a child to another
 * node does. Beside that there are moves, deaths of daemons, machines and workers, cuts, an orderly
 * end. Always: a process is started only where its node's registry has all that it is started after
 * for ready; a group is not restarted more often than its intensity says; and once nothing crashes
 * any more all run again, which is what the end of every story asks for.
 */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

#define WITHIN_MS 20000

/* ---- the children ---- */

static void add_name(char *list, size_t size, const char *name)
{
	size_t n = strlen(list);
	(void)snprintf(list + n, size - n, "%s%s", n ? "," : "", name);
}

static bool has_name(const char *list, const char *name)
{
	size_t n = strlen(name);
	for (const char *at = list; at && (at = strstr(at, name)); at += n)
		if ((at == list || at[-1] == ',') && (at[n] == ',' || !at[n]))
			return true;
	return false;
}

static void wait_for_some(struct sim *sim, struct sim_def *def)
{
	for (struct sim_def *other = sim->defs; other < def; other++)
		if (sim_chance(sim, 25) && !has_name(def->after, other->spec.child.s))
			add_name(def->after, sizeof def->after, other->spec.child.s);
	def->spec.after = def->after[0] ? def->after : NULL;
}

static void group(struct sim *sim, unsigned first, unsigned n, unsigned no)
{
	struct ph_group_spec spec = {.strategy = (enum ph_group_strategy)(sim_random(sim) % 3),
		.intensity = (uint32_t)sim_between(sim, 1, 5),
		.within_ms = WITHIN_MS};
	(void)snprintf(spec.name.s, sizeof spec.name.s, "g%u", no);
	for (unsigned i = first; i < first + n; i++) {
		struct sim_def *def = &sim->defs[i];
		for (unsigned k = first; k < first + n; k++)
			add_name(def->members, sizeof def->members, sim->defs[k].spec.child.s);
		if (i > first)
			add_name(def->after, sizeof def->after, sim->defs[i - 1].spec.child.s);
		spec.members = def->members;
		def->spec.group = spec;
	}
}

static void arrange(struct sim *sim)
{
	unsigned no = 0;
	for (unsigned i = 0; i < sim->n_defs;) {
		unsigned n = (unsigned)sim_between(sim, 2, 4);
		if (i + n <= sim->n_defs && sim_chance(sim, 60))
			group(sim, i, n, no++);
		i += n;
	}
	for (unsigned i = 0; i < sim->n_defs; i++) {
		struct sim_def *def = &sim->defs[i];
		struct ph_restart *restart = &def->spec.restart;
		wait_for_some(sim, def);
		def->traits.crashy = sim_chance(sim, 40);
		def->traits.deaf = sim_chance(sim, 10);
		restart->backoff_ms = 50;
		restart->backoff_max_ms = 1000;
		restart->intensity = (uint32_t)sim_between(sim, 1, 6);
		restart->within_ms = WITHIN_MS;
		restart->retry_after_ms = sim_between(sim, 500, 3000);
		restart->on_limit = sim_chance(sim, 40) ? PH_LIMIT_ELSEWHERE : PH_LIMIT_RETRY;
	}
}

/* ---- the deeds ---- */

static void add(struct sim *sim, enum sim_deed_kind kind, unsigned percent)
{
	struct sim_deed *deed;
	if (!sim_chance(sim, percent))
		return;
	deed = sim_story_fault(sim, kind, sim_between(sim, 9 * SEC, 18 * SEC));
	if (kind == DEED_SHUTDOWN)
		deed->x = sim_between(sim, 200, 6000);
}

void sim_story_group(struct sim *sim)
{
	arrange(sim);
	for (unsigned i = 0; i < sim->n_nodes; i++)
		sim_story_add(sim, DEED_NODE_START,
			sim_chance(sim, 80) ? sim_between(sim, 0, 300 * MS)
					    : sim_between(sim, 5 * SEC, 9 * SEC))
			->node = i;
	for (unsigned i = 0; i < 4; i++)
		add(sim, DEED_KILL_OLD, 80);
	for (unsigned i = 0; i < 3; i++)
		add(sim, DEED_MOVE, 50);
	add(sim, DEED_SHUTDOWN, 30);
	add(sim, DEED_DAEMON_CRASH, 40);
	add(sim, DEED_MACHINE_CRASH, 20);
	add(sim, DEED_CUT, 30);
}

/* ---- what must hold ---- */

struct waited {
	const struct ph_name *name;
	uint32_t n; /* instances of it that are ready, or have changed in this moment */
};

static bool is_ready(void *arg, const struct ph_entry_view *view)
{
	struct waited *waited = arg;
	const struct ph_entry *e = &view->entry;
	if (ph_name_equal(&e->key.child, waited->name) && view->owned && view->wanted)
		waited->n += e->ready || e->age_ms == 0;
	return true;
}

void sim_group_spawn(struct sim_node *node, const struct ph_spawn *spawn)
{
	const struct ph_spec *spec = spawn->spec;
	for (unsigned i = 0; i < node->sim->n_defs; i++) {
		const struct sim_def *def = &node->sim->defs[i];
		struct waited waited = {.name = &def->spec.child};
		if (!ph_id_none(&spawn->migration) || !has_name(spec->after, def->spec.child.s))
			continue;
		ph_hub_entries(node->hub, sim_node_ms(node), waited.name, is_ready, &waited);
		if (waited.n < def->spec.instances)
			sim_fail(node->sim, "%s starts %s/%u, and of %s %u of %u are ready",
				node->name.s, spawn->key.child.s, spawn->key.instance,
				waited.name->s, waited.n, def->spec.instances);
	}
}

/* The first of a group keeps what is counted for all of it. */
static struct sim_def *head_of(struct sim *sim, const struct ph_name *child)
{
	for (unsigned i = 0; i < sim->n_defs; i++)
		if (has_name(sim->defs[i].members, child->s))
			return &sim->defs[i];
	return NULL;
}

void sim_group_emit(struct sim_node *node, const struct ph_emit *emit)
{
	bool with_others = emit->text && strcmp(emit->text, "its group is restarted") == 0;
	struct sim_def *def = emit->has_key ? head_of(node->sim, &emit->key.child) : NULL;
	struct sim_restarts *r = def ? &def->restarts[node->no] : NULL;
	if (!r)
		return;
	if (r->gen != node->gen || emit->kind == PH_EMIT_CHILD_FAILED)
		*r = (struct sim_restarts){.gen = node->gen};
	if (emit->kind != PH_EMIT_CHILD_RESTARTING || with_others)
		return;
	uint32_t intensity = def->spec.group.intensity;
	uint64_t now_ms = sim_node_ms(node), oldest_ms = r->at_ms[r->n % intensity];
	if (r->n >= intensity && oldest_ms + WITHIN_MS > now_ms)
		sim_fail(node->sim, "%s: more than %u restarts of %s in %d ms", node->name.s,
			intensity, def->spec.group.name.s, WITHIN_MS);
	r->at_ms[r->n++ % intensity] = now_ms;
}
