/*
 * story_more.c - the stories `member`, `late` and `own`, each of one to three themes of its seed.
 *
 * A theme is a few deeds that belong together: a machine that was cloned and what becomes of the
 * first one, a removal while somebody is away, a cut and what was sent into it. Their dice are the
 * story's own, so that none of the older seeds changes.
 *
 * What is to be faced, where it comes from, and how often it came in seeds 1..2000 of the story
 * that has it (`--count` tells). "all": the older stories have it too.
 *
 *   join by challenge and proof                    all                          7,000
 *   number made and not synced, slow, failing      START_CRASH, NUMBER_*          510
 *   slot that is taken, and the hint heeded        slot, RESTART                  400
 *   second node of a name                          clone                          370 refused, 240
 * in seeds that are down or wrong                   seeds                          300 joins and
 * leaves within settle                 crowd, joins                   250 tombstones of nodes, of
 * children               tomb; remove                   650 restart under the name all 3,500 hangs,
 * to both sides of each time-out          hang, SUSPEND                  700 fence beside a hung
 * daemon, without a daemon   hang, away                     690 orphans kept away, sim->keep 200
 *   wall clock back, far ahead, number lost        number, CLOCK                  600
 *   clock of this boot jumps, up to an hour        jump                           240
 *   loops that lag; bus process that aborts        lag, bus                       600
 *   cuts one way, for ever; relays; probes         one_way, relay                all
 *   old traffic after a heal, replays, repeats     hold, replay, loss          75,000 late
 *   death or fault at each message                 step                           all
 *   journals lost, damaged, torn; failing syncs    step, JOURNAL_LOST, DAMAGE     all
 *   two joins at once; the target leaving          joins, leaving_target          230
 *   one child moved again and again                move_again                   8,000 moves
 *   removal while a node is away; files differ     remove, files                  540
 *   unfit targets                                  unfit                          800
 *   busy, never, incompatible, rejected            answers                      1,200
 *   placement local                                local                          20 % of `own`
 */
#include "sim.h"

#include <string.h>

static struct sim_deed *on(
	struct sim *sim, enum sim_deed_kind kind, uint64_t at_us, unsigned node, uint64_t x)
{
	struct sim_deed *deed = sim_story_fault(sim, kind, at_us);
	deed->node = node;
	deed->x = x;
	deed->other = (node + 1 + (unsigned)(sim_random(sim) % (sim->n_nodes - 1))) % sim->n_nodes;
	return deed;
}

static uint64_t soon(struct sim *sim)
{
	return sim_between(sim, 8 * SEC, 16 * SEC);
}

static unsigned anybody(struct sim *sim)
{
	return (unsigned)(sim_random(sim) % sim->n_nodes);
}

static bool starts_late(const struct sim *sim, unsigned no)
{
	for (unsigned i = 0; i < sim->n_plan; i++)
		if (sim->plan[i].kind == DEED_NODE_START && sim->plan[i].node == no)
			return sim->plan[i].at_us > 4 * SEC;
	return false;
}

/* ---- member ---- */

/* What becomes of the first of a name, before or after the second one comes. */
static void the_first(struct sim *sim, unsigned first, uint64_t at_us)
{
	uint64_t when_us = at_us + sim_between(sim, 0, 12 * SEC) - 4 * SEC;
	switch (sim_random(sim) % 7) {
	case 0: /* it stays */
		break;
	case 1:
		on(sim, DEED_MACHINE_CRASH, when_us, first, 0);
		break;
	case 2:
		on(sim, DEED_SHUTDOWN, when_us, first, 0);
		break;
	case 3:
		on(sim, DEED_DAEMON_CRASH, when_us, first, sim_between(sim, 200, 9000));
		break;
	case 4:
		on(sim, DEED_SUSPEND, when_us, first, sim_between(sim, 2000, 14000));
		break;
	case 5:
		on(sim, DEED_RESTART, when_us, first, 2 * sim_between(sim, 300, 4000))->k = 0;
		break;
	default:
		on(sim, DEED_CUT, when_us, first, sim_between(sim, 3000, 12000));
		break;
	}
}

static void theme_clone(struct sim *sim)
{
	unsigned last = sim->n_nodes - 1, first = sim->nodes[last].who;
	if (first == last)
		return;
	uint64_t at_us = soon(sim);
	sim_story_add(sim, DEED_NODE_START, at_us)->node = last;
	the_first(sim, first, at_us);
	if (sim_chance(sim, 30)) /* the operator heeds what the second one says */
		on(sim, DEED_SHUTDOWN, at_us + sim_between(sim, 6 * SEC, 14 * SEC), last, 0);
}

/* A number that another node uses: refused with a hint, which is heeded. */
static void theme_slot(struct sim *sim)
{
	unsigned late = sim->n_nodes - 1;
	while (late && !starts_late(sim, late))
		late--;
	if (!late)
		return;
	struct sim_node *first = &sim->nodes[anybody(sim) % late];
	sim->nodes[late].slot = first->slot;
	sim->nodes[late].shares_slot = first->shares_slot = true;
	on(sim, DEED_RESTART, sim_between(sim, 20 * SEC, 26 * SEC), late, 800)->k = 1;
}

static void theme_seeds(struct sim *sim)
{
	static const char *const nobody[] = {"tcp://10.9.9.9:7400", "tcp://10.9.9.8:7400"};
	struct sim_node *node = &sim->nodes[anybody(sim)];
	unsigned n = 1 + (unsigned)(sim_random(sim) % 2);
	for (unsigned i = 0; i < n; i++)
		node->peers[node->n_peers++] = nobody[i];
	bool cloned = sim->nodes[sim->n_nodes - 1].who != sim->n_nodes - 1;
	bool known = true; /* two of whom neither knows the other would never meet */
	for (unsigned i = 0; i < sim->n_nodes; i++)
		known = known && sim->nodes[i].peers[0] != nobody[1];
	if (sim_chance(sim, 30) && !cloned && known) /* its others know it */
		node->peers[0] = nobody[1];
	on(sim, DEED_DAEMON_CRASH, soon(sim), node->no, sim_between(sim, 200, 3000));
}

/* Joins and leaves that are to be planned together. */
static void theme_crowd(struct sim *sim)
{
	uint64_t at_us = soon(sim);
	for (unsigned i = 0; i < sim->n_plan; i++)
		if (sim->plan[i].kind == DEED_NODE_START && sim->plan[i].at_us > 4 * SEC)
			sim->plan[i].at_us = at_us + sim_between(sim, 0, 900 * MS);
	on(sim, DEED_SHUTDOWN, at_us + sim_between(sim, 0, 900 * MS), anybody(sim),
		sim_chance(sim, 60) ? sim_between(sim, 200, 6000) : 0);
	if (sim_chance(sim, 50))
		on(sim, DEED_RESTART, at_us + sim_between(sim, 0, 900 * MS), anybody(sim), 600)->k =
			0;
}

static void theme_number(struct sim *sim)
{
	unsigned node = anybody(sim);
	uint64_t at_us = soon(sim);
	if (sim_chance(sim, 50))
		on(sim, DEED_NUMBER_DISK, at_us - SEC, node, sim_between(sim, 1, 9000));
	if (sim_chance(sim, 40))
		on(sim, DEED_NUMBER_CRASH, at_us - SEC, node, 0);
	if (sim_chance(sim, 30))
		on(sim, DEED_START_CRASH, at_us - 2 * SEC, node, sim_between(sim, 100, 900));
	on(sim, DEED_CLOCK, at_us, node, sim_between(sim, 100, 3000))->k =
		(unsigned)sim_between(sim, 0, 20);
	if (sim_chance(sim, 40)) /* and back again */
		on(sim, DEED_CLOCK, at_us + sim_between(sim, 4 * SEC, 10 * SEC), node,
			sim_between(sim, 100, 3000))
			->k = sim_chance(sim, 50) ? 0 : 1;
}

static void theme_hang(struct sim *sim)
{
	static const uint64_t bounds_ms[] = {300, 2900, 3100, 4900, 5100, 16000};
	unsigned n = 1 + (unsigned)(sim_random(sim) % 2);
	for (unsigned i = 0; i < n; i++) {
		unsigned which = 2 * (unsigned)(sim_random(sim) % 3);
		on(sim, DEED_SUSPEND, soon(sim), anybody(sim),
			sim_between(sim, bounds_ms[which], bounds_ms[which + 1]));
	}
}

static void theme_lag(struct sim *sim)
{
	on(sim, DEED_LAG, soon(sim), anybody(sim), sim_between(sim, 3000, 15000));
}

static void theme_bus(struct sim *sim)
{
	on(sim, DEED_BUS_LOOP, soon(sim), anybody(sim), sim_between(sim, 500, 12000));
}

/* For longer than fence_after, with its workers alive or stopped by the fence. */
static void theme_away(struct sim *sim)
{
	on(sim, DEED_DAEMON_CRASH, soon(sim), anybody(sim), sim_between(sim, 2500, 14000));
	if (sim_chance(sim, 30))
		on(sim, DEED_DAEMON_CRASH, soon(sim), anybody(sim), sim_between(sim, 2500, 14000));
}

/* It leaves, and its old words come again. */
static void theme_tomb(struct sim *sim)
{
	unsigned node = anybody(sim);
	uint64_t at_us = soon(sim);
	on(sim, DEED_SHUTDOWN, at_us, node, sim_chance(sim, 50) ? 0 : sim_between(sim, 500, 9000));
	on(sim, DEED_DAEMON_CRASH, at_us + 2 * SEC, anybody(sim), 300);
	for (unsigned i = 0; i < 3; i++)
		on(sim, DEED_REPLAY, at_us + sim_between(sim, 2 * SEC, 9 * SEC), 0, 300);
}

/* ---- late ---- */

static void theme_hold(struct sim *sim)
{
	unsigned n = 1 + (unsigned)(sim_random(sim) % 3);
	for (unsigned i = 0; i < n; i++)
		on(sim, DEED_HOLD, soon(sim), anybody(sim), sim_between(sim, 200, 14000));
}

static void theme_hold_split(struct sim *sim)
{
	uint64_t at_us = soon(sim), ms = sim_between(sim, 2000, 14000);
	unsigned side = (unsigned)sim_between(sim, 1, (1u << sim->n_nodes) - 2);
	for (unsigned a = 0; a < sim->n_nodes; a++)
		for (unsigned b = a + 1; b < sim->n_nodes; b++) {
			if ((side >> a & 1) == (side >> b & 1))
				continue;
			struct sim_deed *deed = on(sim, DEED_HOLD, at_us, a, ms);
			deed->other = b;
			deed->k = sim_chance(sim, 80) ? 0 : 1;
		}
}

/* Into a hold: those to whom something is on its way are restarted, and there again. */
static void theme_hold_restart(struct sim *sim)
{
	unsigned node = anybody(sim);
	uint64_t at_us = soon(sim);
	on(sim, DEED_HOLD, at_us, node, sim_between(sim, 1000, 9000));
	struct sim_deed *back = on(sim, DEED_HOLD, at_us, node, sim_between(sim, 1000, 9000));
	back->other = node;
	back->node = anybody(sim);
	on(sim, DEED_DAEMON_CRASH, at_us + sim_between(sim, SEC, 6 * SEC), node,
		sim_between(sim, 100, 4000));
}

static void theme_replay(struct sim *sim)
{
	unsigned n = 1 + (unsigned)(sim_random(sim) % 3);
	on(sim, sim_chance(sim, 50) ? DEED_DAEMON_CRASH : DEED_MACHINE_CRASH, soon(sim),
		anybody(sim), sim_between(sim, 200, 3000));
	for (unsigned i = 0; i < n; i++)
		on(sim, DEED_REPLAY, sim_between(sim, 9 * SEC, 22 * SEC), 0,
			sim_between(sim, 10, 400));
}

static void theme_one_way(struct sim *sim)
{
	unsigned n = 1 + (unsigned)(sim_random(sim) % 3);
	for (unsigned i = 0; i < n; i++)
		on(sim, DEED_CUT_ONE_WAY, soon(sim), anybody(sim), sim_between(sim, 500, 15000));
}

static void theme_relay(struct sim *sim)
{
	for (unsigned i = 0; i < sim->n_plan; i++)
		if (sim->plan[i].kind == DEED_CUT_FOREVER)
			return; /* a second one may leave somebody alone */
	if (sim->n_nodes > 2)
		on(sim, DEED_CUT_FOREVER, soon(sim), anybody(sim), sim_random(sim) % 2);
}

static void theme_loss(struct sim *sim)
{
	sim->loss_percent = (unsigned)sim_between(sim, 1, 15);
	sim->dup_percent = (unsigned)sim_between(sim, 1, 30);
}

/* ---- own ---- */

static unsigned any_key(struct sim *sim)
{
	return (unsigned)(sim_random(sim) % sim->n_keys);
}

static struct sim_deed *move(struct sim *sim, uint64_t at_us, unsigned key)
{
	struct sim_deed *deed = sim_story_add(sim, DEED_MOVE, at_us);
	deed->key = key;
	deed->other = anybody(sim);
	return deed;
}

static void theme_moves(struct sim *sim)
{
	unsigned n = 2 + (unsigned)(sim_random(sim) % 4);
	for (unsigned i = 0; i < n; i++)
		move(sim, soon(sim), any_key(sim));
}

/* The same child again and again, while it is under way, and when it has just come. */
static void theme_move_again(struct sim *sim)
{
	unsigned key = any_key(sim), n = 2 + (unsigned)(sim_random(sim) % 3);
	uint64_t at_us = soon(sim);
	for (unsigned i = 0; i < n; i++) {
		move(sim, at_us, key);
		at_us += sim_between(sim, 0, sim_chance(sim, 50) ? 300 * MS : 4 * SEC);
	}
}

/* A fault at a step: of either daemon, machine, worker, bus process, disk. */
static void theme_step(struct sim *sim)
{
	static const enum sim_deed_kind kinds[] = {DEED_DAEMON_CRASH, DEED_MACHINE_CRASH,
		DEED_JOURNAL_LOST, DEED_KILL_OLD, DEED_KILL_NEW, DEED_BUS_RESTART, DEED_DISK_FAIL,
		DEED_SUSPEND, DEED_DAMAGE};
	theme_moves(sim);
	struct sim_deed *deed = sim_story_fault(
		sim, kinds[sim_random(sim) % (sizeof kinds / sizeof kinds[0])], 8 * SEC);
	if (deed->kind == DEED_DAMAGE)
		deed->x = sim_between(sim, 100, 2000);
	deed->when = sim_story_message(sim);
	if (sim_chance(sim, 50))
		on(sim, DEED_DAEMON_CRASH, 8 * SEC, 0, sim_between(sim, 100, 2000))->when =
			sim_story_message(sim);
}

static void theme_leaving_target(struct sim *sim)
{
	theme_moves(sim);
	struct sim_deed *deed = on(sim, DEED_SHUTDOWN, 8 * SEC, 0,
		1 + 2 * sim_between(sim, 200, 3000)); /* odd: whoever the message is for */
	deed->when = sim_chance(sim, 50) ? PH_B_PREPARE : sim_story_message(sim);
}

static void theme_joins(struct sim *sim)
{
	uint64_t at_us = soon(sim);
	for (unsigned i = 0; i < sim->n_plan; i++)
		if (sim->plan[i].kind == DEED_NODE_START && sim->plan[i].at_us > 4 * SEC)
			sim->plan[i].at_us = at_us + sim_between(sim, 0, 2 * SEC);
}

static void file(struct sim *sim, enum sim_deed_kind kind, uint64_t at_us, unsigned node,
	unsigned key, unsigned variant)
{
	struct sim_deed *deed = sim_story_add(sim, kind, at_us);
	deed->node = node;
	deed->key = key;
	deed->x = variant;
}

/* Out of all files, or of one after the other, while somebody is away; and perhaps in again. */
static void theme_remove(struct sim *sim)
{
	unsigned key = any_key(sim), away = anybody(sim);
	uint64_t at_us = soon(sim);
	switch (sim_random(sim) % 4) {
	case 0:
		on(sim, DEED_DAEMON_CRASH, at_us - SEC, away, sim_between(sim, 1500, 9000));
		break;
	case 1:
		on(sim, DEED_MACHINE_CRASH, at_us - SEC, away, sim_between(sim, 1500, 12000));
		break;
	case 2:
		on(sim, DEED_CUT, at_us - SEC, away, sim_between(sim, 1500, 12000));
		break;
	default:
		break;
	}
	if (sim_chance(sim, 50)) {
		file(sim, DEED_FILES, at_us, 0, key, 0);
	} else {
		for (unsigned i = 0; i < sim->n_nodes; i++)
			if (i != away || sim_chance(sim, 60))
				file(sim, DEED_FILE, at_us + sim_between(sim, 0, 3 * SEC), i, key,
					0);
	}
	if (sim_chance(sim, 40))
		file(sim, sim_chance(sim, 50) ? DEED_FILE : DEED_FILES,
			at_us + sim_between(sim, 2 * SEC, 9 * SEC), anybody(sim), key,
			1 + (unsigned)(sim_random(sim) % 2));
}

static void theme_files(struct sim *sim)
{
	unsigned n = 1 + (unsigned)(sim_random(sim) % 4), key = any_key(sim);
	for (unsigned i = 0; i < n; i++)
		file(sim, DEED_FILE, soon(sim), anybody(sim), key,
			1 + (unsigned)(sim_random(sim) % 2));
	if (sim_chance(sim, 50))
		on(sim, DEED_DAEMON_CRASH, soon(sim), anybody(sim), sim_between(sim, 200, 6000));
}

/* Ordered to stop, its owner's last word perhaps. */
static void theme_stop(struct sim *sim)
{
	struct sim_deed *deed = sim_story_add(sim, DEED_STOP, soon(sim));
	uint64_t at_us = deed->at_us;
	deed->key = any_key(sim);
	if (sim_chance(sim, 60))
		on(sim, DEED_MACHINE_CRASH, at_us + sim_between(sim, 0, 300 * MS), anybody(sim),
			sim_chance(sim, 60) ? 0 : sim_between(sim, 3000, 14000));
	if (sim_chance(sim, 30))
		sim_story_add(sim, DEED_BEGIN, at_us + sim_between(sim, SEC, 9 * SEC))->key =
			deed->key;
}

static void theme_unfit(struct sim *sim)
{
	unsigned all = (1u << sim->n_nodes) - 1, fit = anybody(sim);
	unsigned mask = (unsigned)sim_random(sim) & all & ~(1u << fit);
	struct sim_deed *deed = on(sim, DEED_UNFIT, sim_chance(sim, 50) ? 0 : soon(sim), 0, mask);
	move(sim, soon(sim), deed->key);
	if (sim_chance(sim, 50))
		on(sim, DEED_KILL_OLD, soon(sim), 0, 0)->key = deed->key;
}

static void theme_answers(struct sim *sim)
{
	for (unsigned i = 0; i < sim->n_defs; i++) {
		struct sim_traits *traits = &sim->defs[i].traits;
		switch (sim_random(sim) % 6) {
		case 0:
			traits->busy = 1 + (unsigned)(sim_random(sim) % 4);
			break;
		case 1:
			traits->never = true;
			break;
		case 2:
			traits->incompatible = true;
			break;
		case 3:
			traits->reject = 2;
			break;
		default:
			break;
		}
	}
	theme_moves(sim);
}

static void theme_local(struct sim *sim)
{
	struct sim_def *def = &sim->defs[sim_random(sim) % sim->n_defs];
	def->spec.local = true;
	def->spec.instances = 1;
	def->traits.caps = 0;
	unsigned n = 0; /* its other instances are none */
	for (unsigned i = 0; i < sim->n_keys; i++)
		if (sim->keys[i].def != def || sim->keys[i].key.instance == 0)
			sim->keys[n++] = sim->keys[i];
	sim->n_keys = n;
	on(sim, DEED_KILL_OLD, soon(sim), 0, 0);
	on(sim, sim_chance(sim, 50) ? DEED_DAEMON_CRASH : DEED_MACHINE_CRASH, soon(sim),
		anybody(sim), sim_between(sim, 300, 9000));
}

/* Apart from the dice of the story, in one of eight: the others stay as they were. */
static void jump(struct sim *sim)
{
	static const uint64_t by_ms[] = {700, 1500, 3500, 6000, 20000, 3600000};
	uint64_t dice = ph_mix64(sim->seed ^ 0xb007);
	if (dice % 8)
		return;
	struct sim_deed *deed = on(sim, DEED_JUMP, soon(sim), anybody(sim), 0);
	deed->x = by_ms[dice / 8 % (sizeof by_ms / sizeof by_ms[0])];
	deed->k = (unsigned)(dice / 64 % 2);
}

/* ---- stories ---- */

typedef void theme_fn(struct sim *sim);

static theme_fn *const member[] = {theme_clone, theme_clone, theme_slot, theme_seeds, theme_crowd,
	theme_number, theme_hang, theme_lag, theme_bus, theme_away, theme_tomb};
static theme_fn *const late[] = {theme_hold, theme_hold_split, theme_hold_restart, theme_replay,
	theme_one_way, theme_relay, theme_loss, theme_moves};
static theme_fn *const own[] = {theme_moves, theme_move_again, theme_step, theme_step,
	theme_leaving_target, theme_joins, theme_remove, theme_files, theme_stop, theme_unfit,
	theme_answers};

/* A machine that was cloned, with its name and its file, and a state directory of its own. */
void sim_story_more_nodes(struct sim *sim)
{
	if (sim->story != STORY_MEMBER || sim->n_nodes == SIM_NODES || !sim_chance(sim, 40))
		return;
	struct sim_node *node = &sim->nodes[sim->n_nodes];
	const struct sim_node *first = &sim->nodes[sim_random(sim) % sim->n_nodes];
	node->sim = sim;
	node->no = sim->n_nodes++;
	node->who = first->no;
	node->name = first->name;
	node->slot = first->slot;
	node->crash_in = -1;
	node->base_ms = sim_between(sim, 1000, 100000000);
	(void)snprintf(node->address, sizeof node->address, "tcp://10.0.0.%u:7400", node->no + 1);
	memcpy(node->peers, first->peers, sizeof node->peers);
	node->n_peers = first->n_peers;
	memcpy(node->file, first->file, sizeof node->file);
}

static void start(struct sim *sim)
{
	unsigned originals = sim->n_nodes;
	while (sim->nodes[originals - 1].who != originals - 1)
		originals--;
	unsigned at_once = sim_chance(sim, 50) ? originals : originals < 2 ? originals : 2;
	for (unsigned i = 0; i < originals; i++)
		sim_story_add(sim, DEED_NODE_START,
			i < at_once ? sim_between(sim, 0, 300 * MS)
				    : sim_between(sim, 6 * SEC, 12 * SEC))
			->node = i;
}

static void tell(struct sim *sim, theme_fn *const *themes, size_t n, unsigned most)
{
	unsigned wanted = 1 + (unsigned)(sim_random(sim) % most);
	for (unsigned i = 0; i < wanted; i++)
		themes[sim_random(sim) % n](sim);
}

void sim_story_more(struct sim *sim)
{
	start(sim);
	sim->keep = !sim->opt.partition && sim_chance(sim, 30);
	if (sim_chance(sim, 30))
		theme_loss(sim);
	if (sim->story == STORY_OWN && sim_chance(sim, 20))
		theme_local(sim);
	if (sim->nodes[sim->n_nodes - 1].who != sim->n_nodes - 1)
		theme_clone(sim);
	if (sim->story == STORY_MEMBER)
		tell(sim, member, sizeof member / sizeof member[0], 3);
	else if (sim->story == STORY_LATE)
		tell(sim, late, sizeof late / sizeof late[0], 3);
	else
		tell(sim, own, sizeof own / sizeof own[0], 3);
	if (sim->story == STORY_MEMBER)
		jump(sim);
}
