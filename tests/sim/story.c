/* story.c - what happens in a run: its nodes, children, orders and faults, all from the seed. */
#include "sim.h"

#include <string.h>

#define FOREVER_PERCENT 10 /* of the seeds: one link stays cut */

const char *const sim_story_names[] = {
#define X(name, word) word,
	SIM_STORIES(X)
#undef X
};

struct sim_deed *sim_story_add(struct sim *sim, enum sim_deed_kind kind, uint64_t at_us)
{
	static struct sim_deed spill;
	if (sim->n_plan == SIM_PLAN)
		return &spill;
	struct sim_deed *deed = &sim->plan[sim->n_plan++];
	memset(deed, 0, sizeof *deed);
	deed->sim = sim;
	deed->kind = kind;
	deed->at_us = at_us;
	deed->k = (unsigned)sim_between(sim, 0, 1000);
	return deed;
}

/* ---- children ---- */

static void behave(struct sim *sim, struct sim_traits *traits)
{
	static const uint32_t caps[] = {PH_CAP_HANDOVER, PH_CAP_HANDOVER | PH_CAP_ASK,
		PH_CAP_HANDOVER | PH_CAP_ROUNDS, PH_CAP_HANDOVER | PH_CAP_ROUNDS | PH_CAP_ASK};
	traits->boot_ms = sim_chance(sim, 80) ? 50 : 400;
	traits->think_ms = sim_chance(sim, 80) ? 2 : 20;
	traits->handles = sim_chance(sim, 50);
	traits->leaves = sim_chance(sim, 50);
	traits->caps = caps[sim_random(sim) % 4];
	if (sim_chance(sim, 10)) {
		traits->caps = 0;
		traits->plain = sim_chance(sim, 70);
		traits->notify = sim_chance(sim, 50);
	}
}

static void misbehave(struct sim *sim, struct sim_traits *traits)
{
	switch (sim_random(sim) % 10) {
	case 0:
		traits->boot_ms = 2500;
		break;
	case 1:
		traits->busy = 3;
		break;
	case 2:
		traits->never = true;
		break;
	case 3:
		traits->crashy = true;
		break;
	case 4:
		traits->deaf = true;
		break;
	case 5:
		traits->mute = true;
		break;
	case 6:
		traits->shy = true;
		break;
	case 7:
		traits->reject = 2;
		break;
	case 8:
		traits->think_ms = 300;
		break;
	default:
		break;
	}
}

static void make_def(struct sim *sim, struct sim_def *def, unsigned no, unsigned instances)
{
	struct ph_spec *spec = &def->spec;
	behave(sim, &def->traits);
	if (!sim->faultless && sim_chance(sim, 25))
		misbehave(sim, &def->traits);
	(void)snprintf(def->texts[0], sizeof def->texts[0], "{\"child\":%u}", no);
	for (unsigned i = 1; i < SIM_VARIANTS; i++)
		(void)snprintf(
			def->texts[i], sizeof def->texts[i], "{\"child\":%u,\"v\":%u}", no, i + 1);
	/* The other text of every second child needs another process as well. */
	def->changes[1].process = no % 2;
	(void)snprintf(spec->child.s, sizeof spec->child.s, "c%u", no);
	spec->text = def->texts[0];
	spec->hash = ph_hash_bytes(PH_HASH_SEED, spec->text, strlen(spec->text));
	spec->instances = instances;
	spec->ready = def->traits.plain ? def->traits.notify ? PH_READY_NOTIFY : PH_READY_NONE
					: PH_READY_PROTOCOL;
	spec->start_timeout_ms = 10000;
	spec->stop_signal = 15;
	spec->stop_timeout_ms = 5000;
	spec->restart = (struct ph_restart){.policy = PH_RESTART_PERMANENT,
		.backoff_ms = 100,
		.backoff_max_ms = 5000,
		.jitter_percent = 20,
		.within_ms = 60000};
	spec->swap = true;
	spec->handover = PH_HANDOVER_AUTO;
	spec->retention_ms = sim_between(sim, 500, 5000);
	spec->timeout_ms = 30000;
	spec->downtime_ms = 500;
	spec->defer_max_ms = 600000;
	spec->rounds_max = (uint32_t)sim_between(sim, 2, 8);
	spec->max_state_bytes = UINT64_C(1) << 34;
}

static void make_children(struct sim *sim)
{
	unsigned wanted = sim->opt.children ? sim->opt.children : (unsigned)sim_between(sim, 2, 10);
	while (sim->n_keys < wanted && sim->n_keys < SIM_KEYS && sim->n_defs < SIM_DEFS) {
		struct sim_def *def = &sim->defs[sim->n_defs];
		unsigned instances = sim->n_defs + 1 == SIM_DEFS ? wanted - sim->n_keys
								 : (unsigned)sim_between(sim, 1, 3);
		if (sim->story == STORY_TEXTS)
			instances++;
		if (sim->n_keys + instances > SIM_KEYS)
			instances = SIM_KEYS - sim->n_keys;
		make_def(sim, def, sim->n_defs++, instances);
		if (sim->story == STORY_TEXTS)
			sim_story_texts_children(sim, def, instances);
		for (unsigned i = 0; i < instances; i++) {
			struct sim_key *key = &sim->keys[sim->n_keys++];
			key->def = def;
			key->key.child = def->spec.child;
			key->key.instance = i;
		}
	}
}

/* ---- nodes ---- */

static void make_nodes(struct sim *sim)
{
	bool all = sim_chance(sim, 70);
	sim->n_nodes = sim->opt.nodes ? sim->opt.nodes : (unsigned)sim_between(sim, 2, 4);
	if (sim->opt.partition ||
		sim->story == STORY_FORGET) /* two of two are a quorum, and show little */
		sim->n_nodes += !sim->opt.nodes;
	for (unsigned i = 0; i < sim->n_nodes; i++) {
		struct sim_node *node = &sim->nodes[i];
		node->sim = sim;
		node->no = node->who = i;
		node->slot = 100 + i;
		memset(node->file, 1, sizeof node->file);
		node->crash_in = -1;
		node->base_ms = sim_between(sim, 1000, 100000000);
		(void)snprintf(node->name.s, sizeof node->name.s, "n%u", i);
		(void)snprintf(node->address, sizeof node->address, "tcp://10.0.0.%u:7400", i + 1);
	}
	for (unsigned i = 0; i < sim->n_nodes; i++)
		for (unsigned j = 0; j < sim->n_nodes; j++)
			if (i != j && (all || j <= 1 || (i <= 1 && j == 2)))
				sim->nodes[i].peers[sim->nodes[i].n_peers++] =
					sim->nodes[j].address;
	for (unsigned i = 0; i < sim->n_nodes; i++)
		for (unsigned j = i + 1; j < sim->n_nodes; j++)
			sim->no_dial[i][j] = sim_chance(sim, 10);
}

static void start_nodes(struct sim *sim, unsigned at_once)
{
	for (unsigned i = 0; i < sim->n_nodes; i++) {
		uint64_t at = i < at_once ? sim_between(sim, 0, 300 * MS)
					  : sim_between(sim, 6 * SEC, 12 * SEC);
		sim_story_add(sim, DEED_NODE_START, at)->node = i;
	}
}

/* ---- orders ---- */

static void order_moves(struct sim *sim, unsigned max)
{
	unsigned n = sim->n_keys < max ? sim->n_keys : max, first = (unsigned)sim_random(sim);
	for (unsigned i = 0; i < n;
		i++) { /* each key once: a second move may find the first's rest */
		struct sim_deed *deed =
			sim_story_add(sim, DEED_MOVE, sim_between(sim, 9 * SEC, 18 * SEC));
		deed->key = (first + i) % sim->n_keys;
		deed->other = (unsigned)(sim_random(sim) % sim->n_nodes);
	}
}

static void order_drain(struct sim *sim)
{
	uint64_t at = sim_between(sim, 9 * SEC, 11 * SEC);
	unsigned node = (unsigned)(sim_random(sim) % sim->n_nodes);
	sim_story_add(sim, DEED_DRAIN, at)->other = node;
	if (sim_chance(sim, 70))
		sim_story_add(sim, DEED_UNDRAIN, at + sim_between(sim, 16 * SEC, 20 * SEC))->other =
			node;
}

static void order_shutdown(struct sim *sim)
{
	struct sim_deed *deed =
		sim_story_add(sim, DEED_SHUTDOWN, sim_between(sim, 10 * SEC, 18 * SEC));
	deed->node = (unsigned)(sim_random(sim) % sim->n_nodes);
	deed->x = sim_chance(sim, 60) ? sim_between(sim, 200, 12000) : 0;
}

/* At some moment of a handover, or at any time: what runs then, or has ended. */
static void order_cancels(struct sim *sim, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct sim_deed *deed =
			sim_story_add(sim, DEED_CANCEL, sim_between(sim, 6 * SEC, 18 * SEC));
		deed->other = (unsigned)sim_between(sim, 0, 3);
		deed->key = (unsigned)(sim_random(sim) % sim->n_keys);
		deed->x = sim_random(sim) % 4;
		if (sim_chance(sim, 75))
			deed->when = sim_story_message(sim);
	}
}

/* ---- faults ---- */

enum ph_bkind sim_story_message(struct sim *sim)
{
	static const enum ph_bkind kinds[] = {PH_B_PREPARE, PH_B_READY, PH_B_ROUND, PH_B_ROUND_END,
		PH_B_LOADED, PH_B_PREPARED, PH_B_CLAIM, PH_B_CLAIM_ANSWER, PH_B_COMMIT, PH_B_ACTIVE,
		PH_B_COMMIT, PH_B_ACTIVE, PH_B_ABORT, PH_B_ABORTED, PH_B_FORGET, PH_B_VOID,
		PH_B_RELEASE, PH_B_NACK};
	return kinds[sim_random(sim) % (sizeof kinds / sizeof kinds[0])];
}

static uint64_t span_of(struct sim *sim, enum sim_deed_kind kind)
{
	switch ((int)kind) {
	case DEED_DAEMON_CRASH:
	case DEED_JOURNAL_LOST:
		return sim_between(sim, 100, 2000);
	case DEED_MACHINE_CRASH:
		return sim_chance(sim, 60) ? sim_between(sim, 1000, 15000) : 0;
	case DEED_SUSPEND:
		return sim_chance(sim, 80) ? sim_between(sim, 50, 4000)
					   : sim_between(sim, 5000, 9000);
	default:
		return sim_chance(sim, 85) ? sim_between(sim, 50, 4000)
					   : sim_between(sim, 5000, 10000);
	}
}

static enum sim_deed_kind any_fault(struct sim *sim)
{
	static const enum sim_deed_kind crashes[] = {DEED_DAEMON_CRASH, DEED_DAEMON_CRASH,
		DEED_MACHINE_CRASH, DEED_KILL_OLD, DEED_KILL_NEW};
	static const enum sim_deed_kind all[] = {DEED_DAEMON_CRASH, DEED_DAEMON_CRASH,
		DEED_MACHINE_CRASH, DEED_JOURNAL_LOST, DEED_KILL_OLD, DEED_KILL_NEW,
		DEED_BUS_RESTART, DEED_SUSPEND, DEED_CUT, DEED_CUT_ONE_WAY, DEED_HANG_UP,
		DEED_HANG_UP, DEED_STREAM_BREAK, DEED_DISK_FAIL};
	if (sim->story == STORY_CRASH)
		return crashes[sim_random(sim) % (sizeof crashes / sizeof crashes[0])];
	return all[sim_random(sim) % (sizeof all / sizeof all[0])];
}

struct sim_deed *sim_story_fault(struct sim *sim, enum sim_deed_kind kind, uint64_t at_us)
{
	struct sim_deed *deed = sim_story_add(sim, kind, at_us);
	deed->node = (unsigned)(sim_random(sim) % sim->n_nodes);
	deed->other =
		(deed->node + 1 + (unsigned)(sim_random(sim) % (sim->n_nodes - 1))) % sim->n_nodes;
	deed->key = (unsigned)(sim_random(sim) % sim->n_keys);
	deed->k = (unsigned)sim_between(sim, 0, 6);
	deed->x = span_of(sim, kind);
	return deed;
}

static void add_faults(struct sim *sim, unsigned n)
{
	static const unsigned losses[] = {0, 0, 1, 5, 10};
	sim->loss_percent = losses[sim_random(sim) % 5];
	sim->dup_percent = losses[sim_random(sim) % 5];
	for (unsigned i = 0; i < n; i++) {
		enum sim_deed_kind kind = any_fault(sim);
		struct sim_deed *deed =
			sim_story_fault(sim, kind, sim_between(sim, 5 * SEC, 20 * SEC));
		if (sim_chance(sim, 75))
			deed->when = sim_story_message(sim);
		if (sim->opt.partition && sim_chance(sim, 50)) {
			deed->kind = DEED_SPLIT;
			deed->k = (unsigned)sim_between(sim, 1, (1u << sim->n_nodes) - 2);
			deed->x = sim_between(sim, 1000, 16000);
		}
	}
}

/* One link that stays cut: everybody still reaches everybody, if not directly. */
static void cut_forever(struct sim *sim)
{
	uint64_t dice = ph_mix64(sim->seed ^ 0x11f0);
	if (sim->n_nodes < 3 || dice % 100 >= FOREVER_PERCENT)
		return;
	struct sim_deed *deed =
		sim_story_add(sim, DEED_CUT_FOREVER, sim_between(sim, 5 * SEC, 20 * SEC));
	deed->node = (unsigned)(dice / 100 % sim->n_nodes);
	deed->other =
		(deed->node + 1 + (unsigned)(dice / 1000 % (sim->n_nodes - 1))) % sim->n_nodes;
	deed->x = dice / 10000 % 2;
}

/* Apart from the dice of the story: what was added later leaves the older stories as they were. */
static void choose_synchronization(struct sim *sim)
{
	uint64_t dice = ph_mix64(sim->seed ^ 0x5e);
	sim->fanout = dice % 3 ? 0 : 1 + (unsigned)(dice / 3 % 2);
	sim->exchange_ms = 2000 + dice / 6 % 13001;
}

/* Two sides that do not hear each other for longer than a verdict takes: both may own all. */
void sim_story_partition(struct sim *sim, uint64_t at_us)
{
	uint64_t ms = sim_between(sim, 5500, 14000);
	unsigned side = (unsigned)sim_between(sim, 1, (1u << sim->n_nodes) - 2); /* a bit a node */
	for (unsigned a = 0; a < sim->n_nodes; a++)
		for (unsigned b = a + 1; b < sim->n_nodes; b++) {
			if ((side >> a & 1) == (side >> b & 1))
				continue;
			struct sim_deed *deed = sim_story_add(sim, DEED_CUT, at_us);
			deed->node = a;
			deed->other = b;
			deed->x = ms + sim_between(sim, 0, 300);
		}
}

static void heal(struct sim *sim, void *arg)
{
	(void)arg;
	sim_deed_heal(sim);
	if (sim->story == STORY_TEXTS)
		sim_texts_last(sim);
	else
		sim_check_end(sim);
}

static void compact(struct sim *sim, void *arg)
{
	(void)arg;
	struct sim_node *node = &sim->nodes[sim_random(sim) % sim->n_nodes];
	if (node->suspended_us <= sim->now_us)
		sim_disk_compact(node);
	sim_after(sim, sim_between(sim, SEC, 5 * SEC), compact, NULL, NULL);
}

/* Moves beside a drain or a join may be refused: without a fault only one of them. */
static void tell_cancel(struct sim *sim, bool staged)
{
	bool drain = !(staged && sim->faultless) && sim_chance(sim, 40);
	if (drain)
		order_drain(sim);
	if (!sim->faultless || !(staged || drain))
		order_moves(sim, (unsigned)sim_between(sim, 1, 6));
	order_cancels(sim, (unsigned)sim_between(sim, 1, 8));
}

/* One dies for good, another one loses its journal, perhaps; the first one is forgotten. */
static void tell_forget(struct sim *sim)
{
	unsigned gone = (unsigned)(sim_random(sim) % sim->n_nodes);
	uint64_t at = sim_between(sim, 6 * SEC, 10 * SEC);
	struct sim_deed *deed = sim_story_add(sim, DEED_MACHINE_CRASH, at);
	deed->node = gone;
	deed->k = (unsigned)sim_between(sim, 0, 6);
	if (sim_chance(sim, 70)) {
		deed = sim_story_add(sim, DEED_JOURNAL_LOST, at + sim_between(sim, 0, 12 * SEC));
		deed->node = (gone + 1 + (unsigned)(sim_random(sim) % (sim->n_nodes - 1))) %
			     sim->n_nodes;
		deed->k = (unsigned)sim_between(sim, 0, 6);
		deed->x = sim_between(sim, 100, 8000);
	}
	if (sim_chance(sim, 50))
		order_moves(sim, 4);
	sim_story_add(sim, DEED_FORGET, at + sim_between(sim, SEC, 14 * SEC))->other = gone;
	if (sim_chance(sim, 50))
		add_faults(sim, (unsigned)sim_between(sim, 1, 2));
}

static void tell_story(struct sim *sim)
{
	bool staged = sim->story == STORY_JOIN || sim->story == STORY_CRASH ||
		      (sim->story == STORY_CANCEL && sim_chance(sim, 30)) ||
		      (sim->story == STORY_MIXED && sim_chance(sim, 60));
	start_nodes(sim, staged ? 2 : sim->n_nodes);
	if (sim->story == STORY_MOVE || (sim->story == STORY_CRASH && sim_chance(sim, 50)))
		order_moves(sim, 6);
	if (sim->story == STORY_DRAIN)
		order_drain(sim);
	if (sim->story == STORY_HEAL) {
		sim_story_partition(sim, sim_between(sim, 7 * SEC, 10 * SEC));
		if (sim_chance(sim, 40))
			sim_story_partition(sim, sim_between(sim, 12 * SEC, 22 * SEC));
		if (sim_chance(sim, 50)) /* some of them while the sides meet */
			order_moves(sim, 6);
	}
	if (sim->story == STORY_MIXED) {
		order_moves(sim, (unsigned)sim_between(sim, 0, 6));
		if (sim_chance(sim, 40))
			order_drain(sim);
		if (sim_chance(sim, 40))
			order_shutdown(sim);
	}
	if (sim->story == STORY_CANCEL)
		tell_cancel(sim, staged);
	if (sim->story == STORY_FORGET) {
		tell_forget(sim);
		return;
	}
	if (sim->story == STORY_HEAL && sim_chance(sim, 50))
		return; /* nothing but the partition */
	if (!sim->faultless)
		add_faults(sim, (unsigned)sim_between(sim, 1, sim->story == STORY_MIXED ? 6 : 3));
	if (!sim->faultless)
		cut_forever(sim);
}

void sim_story_make(struct sim *sim)
{
	uint64_t last = 0;
	unsigned no = 0;
	sim->story = sim->opt.story >= 0 ? (enum sim_story)sim->opt.story
					 : (enum sim_story)(sim_random(sim) % STORY_HEAL);
	bool faulty =
		sim->story == STORY_SWAP || sim->story == STORY_ADDED || sim->story == STORY_TEXTS;
	sim->faultless = sim->story != STORY_CRASH && sim->story != STORY_MIXED &&
			 sim->story != STORY_HEAL && sim->story != STORY_FORGET &&
			 (sim->story < STORY_MEMBER || faulty) && sim_chance(sim, faulty ? 20 : 50);
	sim->skewed = sim->seed % 4 == 0;
	choose_synchronization(sim);
	make_nodes(sim);
	sim_story_more_nodes(sim);
	sim_story_swap_nodes(sim);
	make_children(sim);
	if (sim->story == STORY_JOIN && sim->n_nodes == 2)
		sim->story = sim->opt.story >= 0 ? STORY_JOIN : STORY_COLD;
	if (sim->story == STORY_ADDED)
		sim_story_added(sim);
	else if (sim->story == STORY_TEXTS)
		sim_story_texts(sim);
	else if (sim->story == STORY_SWAP)
		sim_story_swap(sim);
	else if (sim->story == STORY_GROUP)
		sim_story_group(sim);
	else if (sim->story >= STORY_MEMBER)
		sim_story_more(sim);
	else
		tell_story(sim);
	for (unsigned i = 0; i < sim->n_plan; i++) {
		struct sim_deed *deed = &sim->plan[i];
		if (sim_deed_is_fault[deed->kind])
			deed->off = no < 64 && !(sim->opt.fault_mask >> no++ & 1);
		if (deed->at_us > last && !deed->off)
			last = deed->at_us;
		sim_deed_arm(sim, deed);
	}
	sim->end_us = last + 8 * SEC;
	sim_after(sim, sim->end_us, heal, NULL, NULL);
	if (sim_chance(sim, 50))
		sim_after(sim, 3 * SEC, compact, NULL, NULL);
	sim_clients_start(sim);
}
