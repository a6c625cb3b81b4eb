/* deed_more.c - what the stories `member`, `late` and `own` do beside the deeds of deed.c. */
#include "sim.h"

#include <string.h>

#define HOUR_MS INT64_C(3600000)

/* ---- the life of daemons ---- */

static void crash(struct sim_node *node, uint64_t back_ms)
{
	if (!node->hub || node->shutting)
		return;
	node->crash = (struct sim_deed){
		.sim = node->sim, .kind = DEED_DAEMON_CRASH, .x = back_ms ? back_ms : 1000};
	sim_node_crash(node);
}

static void do_restart(struct sim *sim, struct sim_deed *deed)
{
	struct sim_node *node = &sim->nodes[deed->node];
	struct ph_event event = {.kind = PH_EV_SHUTDOWN};
	if (deed->k % 2)
		node->slot = 100 + node->no;
	if (!node->hub || node->shutting)
		return;
	node->shutting = true;
	node->back_ms = deed->x ? deed->x : 1000;
	sim_node_push(node, 0, &event, NULL, NULL);
}

static void do_clock(struct sim *sim, struct sim_deed *deed)
{
	struct sim_node *node = &sim->nodes[deed->node];
	sim->skewed = true; /* when a state began is told by the wall clock */
	node->clock_ms = ((int64_t)(deed->k % 4) - 1) * 24 * HOUR_MS * (deed->k % 7 ? 1 : 365);
	if (deed->x % 2)
		node->stored = 0;
	crash(node, deed->x);
}

/* As one of a guest that its host puts aside; its workers have seen nothing of it. */
static void do_jump(struct sim *sim, struct sim_deed *deed)
{
	struct sim_node *node = &sim->nodes[deed->node];
	struct ph_event event = {.kind = PH_EV_TICK};
	if (!node->hub)
		return;
	sim->fired++;
	sim_count(sim, COUNT_JUMPED);
	node->base_ms += deed->x;
	sim->skewed = true; /* how old a state is the same clock tells */
	node->calm_us = sim->now_us;
	if (deed->k % 2)
		sim_fence_jumped(node);
	sim_node_push(node, 0, &event, NULL, NULL);
	if (!(deed->k % 2))
		sim_fence_jumped(node);
}

static void do_number_disk(struct sim *sim, struct sim_deed *deed)
{
	struct sim_node *node = &sim->nodes[deed->node];
	node->number_us = deed->x * MS;
	node->number_fails = deed->k % 2;
}

static void do_number_crash(struct sim *sim, struct sim_deed *deed)
{
	sim->nodes[deed->node].number_crash = true;
}

static void do_start_crash(struct sim *sim, struct sim_deed *deed)
{
	sim->nodes[deed->node].start_crash = true;
	crash(&sim->nodes[deed->node], deed->x);
}

static void do_damage(struct sim *sim, struct sim_deed *deed)
{
	struct sim_node *node = &sim->nodes[deed->node];
	if (!node->hub || node->shutting || (sim->opt.partition && (sim->lax || sim->never_back)))
		return;
	sim->lax = node->damaged = true;
	sim->journals_lost++;
	crash(node, deed->x);
}

/* ---- loops and bus processes ---- */

static void lag(struct sim *sim, void *arg)
{
	struct sim_node *node = arg;
	if (sim->now_us >= node->lag_until_us || sim->healing)
		return;
	uint64_t still_us = sim_between(sim, 150 * MS, 1500 * MS);
	if (node->hub && node->suspended_us <= sim->now_us) {
		node->suspended_us = sim->now_us + still_us;
		node->calm_us = node->suspended_us;
	}
	sim_after(sim, still_us + sim_between(sim, 50 * MS, 800 * MS), lag, node, NULL);
}

static void do_lag(struct sim *sim, struct sim_deed *deed)
{
	struct sim_node *node = &sim->nodes[deed->node];
	sim->fired++;
	node->lag_until_us = sim->now_us + deed->x * MS;
	lag(sim, node);
}

static void abort_again(struct sim *sim, void *arg)
{
	struct sim_node *node = arg;
	struct ph_event event = {.kind = PH_EV_BUS_DOWN};
	if (sim->now_us >= node->bus_loop_us || sim->healing)
		return;
	if (node->hub && node->bus_up) {
		node->bus_up = false;
		node->bus_gen++;
		node->calm_us = sim->now_us + 500 * MS;
		sim_node_push(node, 0, &event, NULL, NULL);
		sim_node_bus(node, sim_between(sim, 20 * MS, 300 * MS));
	}
	sim_after(sim, sim_between(sim, 10 * MS, 400 * MS), abort_again, node, NULL);
}

static void do_bus_loop(struct sim *sim, struct sim_deed *deed)
{
	struct sim_node *node = &sim->nodes[deed->node];
	sim->fired++;
	node->bus_loop_us = sim->now_us + deed->x * MS;
	abort_again(sim, node);
}

/* ---- the network ---- */

static void hold(struct sim *sim, unsigned from, unsigned to, uint64_t until_us)
{
	if (sim->cut_us[from][to] != UINT64_MAX)
		sim->cut_us[from][to] = sim->hold_us[from][to] = until_us;
}

static void do_hold(struct sim *sim, struct sim_deed *deed)
{
	unsigned a = deed->node, b = deed->other;
	uint64_t until_us = sim->now_us + deed->x * MS;
	if (a == b)
		return;
	sim->fired++;
	hold(sim, a, b, until_us);
	if (deed->k % 2 == 0)
		hold(sim, b, a, until_us);
	sim->nodes[a].calm_us = sim->nodes[b].calm_us = until_us;
}

static void do_replay(struct sim *sim, struct sim_deed *deed)
{
	sim->fired++;
	sim_late_replay(sim, deed->x);
}

/* ---- files and orders ---- */

static void read_file(struct sim *sim, void *arg)
{
	struct sim_node *node = arg;
	if (!node->hub || node->shutting)
		return; /* it reads it when it starts */
	if (node->suspended_us > sim->now_us)
		sim_after(sim, node->suspended_us - sim->now_us, read_file, node, NULL);
	else
		sim_node_configure(node, false);
}

static void spread_file(struct sim *sim, void *arg)
{
	struct sim_node *node = arg;
	if (!node->hub || node->shutting)
		return; /* nobody is there who could be told to */
	if (node->suspended_us > sim->now_us)
		sim_after(sim, node->suspended_us - sim->now_us, spread_file, node, NULL);
	else
		sim_node_configure(node, true);
}

static void edit_file(struct sim *sim, struct sim_node *node, const struct sim_deed *deed)
{
	struct sim_key *key = &sim->keys[deed->key];
	unsigned def = (unsigned)(key->def - sim->defs);
	key->def->removable = true;
	for (unsigned i = 0; i < sim->n_keys; i++)
		if (sim->keys[i].def == key->def)
			sim->keys[i].stopped_by_order = true;
	node->file[def] = (uint8_t)(deed->x % (SIM_VARIANTS + 1));
}

static void change_file(struct sim *sim, struct sim_node *node, const struct sim_deed *deed)
{
	edit_file(sim, node, deed);
	read_file(sim, node);
}

static void do_file(struct sim *sim, struct sim_deed *deed)
{
	change_file(sim, &sim->nodes[deed->node], deed);
}

static void do_files(struct sim *sim, struct sim_deed *deed)
{
	for (unsigned i = 0; i < sim->n_nodes; i++)
		change_file(sim, &sim->nodes[i], deed);
}

static void do_spread(struct sim *sim, struct sim_deed *deed)
{
	for (unsigned i = 0; i < sim->n_nodes; i++)
		if (i == deed->node || deed->k % 2)
			edit_file(sim, &sim->nodes[i], deed);
	spread_file(sim, &sim->nodes[deed->node]);
}

static void do_slow_disk(struct sim *sim, struct sim_deed *deed)
{
	sim->fired++;
	sim->nodes[deed->node].disk.slow_until_us = sim->now_us + deed->x * MS;
}

static void do_slow_spawn(struct sim *sim, struct sim_deed *deed)
{
	sim->fired++;
	sim->nodes[deed->node].spawn_slow_until_us = sim->now_us + deed->x * MS;
}

static void do_stop(struct sim *sim, struct sim_deed *deed)
{
	if (sim_deed_order(sim, deed, PH_VERB_STOP))
		sim->keys[deed->key].stopped_by_order = sim->keys[deed->key].ordered = true;
}

static void do_begin(struct sim *sim, struct sim_deed *deed)
{
	(void)sim_deed_order(sim, deed, PH_VERB_START);
}

/* Crashes that are to befall it are for the node that has it now. */
static void do_swap(struct sim *sim, struct sim_deed *deed)
{
	const struct sim_node *owner = NULL;
	for (const struct sim_proc *p = sim->procs; p; p = p->next)
		if (p->alive && p->serving && p->key == &sim->keys[deed->key])
			owner = p->node;
	for (unsigned i = 0; owner && i < sim->n_plan; i++)
		if (sim_deed_is_fault[sim->plan[i].kind] && sim->plan[i].key == deed->key &&
			sim->plan[i].at_us >= deed->at_us)
			sim->plan[i].node = owner->no;
	(void)sim_deed_order(sim, deed, PH_VERB_SWAP);
}

static void do_unfit(struct sim *sim, struct sim_deed *deed)
{
	sim->fired++;
	sim->keys[deed->key].def->traits.unfit |= (unsigned)deed->x;
}

sim_deed_fn *const sim_more_deeds[DEED_COUNT] = {
	[DEED_RESTART] = do_restart,
	[DEED_CLOCK] = do_clock,
	[DEED_NUMBER_DISK] = do_number_disk,
	[DEED_NUMBER_CRASH] = do_number_crash,
	[DEED_START_CRASH] = do_start_crash,
	[DEED_JUMP] = do_jump,
	[DEED_LAG] = do_lag,
	[DEED_BUS_LOOP] = do_bus_loop,
	[DEED_HOLD] = do_hold,
	[DEED_REPLAY] = do_replay,
	[DEED_DAMAGE] = do_damage,
	[DEED_FILE] = do_file,
	[DEED_FILES] = do_files,
	[DEED_SPREAD] = do_spread,
	[DEED_SLOW_DISK] = do_slow_disk,
	[DEED_SLOW_SPAWN] = do_slow_spawn,
	[DEED_STOP] = do_stop,
	[DEED_BEGIN] = do_begin,
	[DEED_UNFIT] = do_unfit,
	[DEED_SWAP] = do_swap,
	[DEED_ADD] = sim_added_add,
	[DEED_REMOVE] = sim_added_remove,
};
