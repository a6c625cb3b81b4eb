/* deed.c - orders, faults and the life of nodes, carried out at their time or at their message. */
#include "sim.h"

#include <string.h>

const char *const sim_deed_names[] = {
#define X(name, fault) #name,
	SIM_DEEDS(X) SIM_MORE_DEEDS(X)
#undef X
};

const bool sim_deed_is_fault[] = {
#define X(name, fault) fault,
	SIM_DEEDS(X) SIM_MORE_DEEDS(X)
#undef X
};

/* ---- orders ---- */

struct pick {
	unsigned left;
	struct ph_id id;
};

static bool pick_running(void *arg, const struct ph_migration_info *info)
{
	struct pick *pick = arg;
	if (info->result != PH_RESULT_RUNNING)
		return false;
	pick->id = info->id;
	return pick->left--;
}

/* One that has ended will do as well: then the order must be refused. */
static bool pick_migration(struct sim_node *node, struct sim_deed *deed)
{
	struct sim *sim = node->sim;
	struct sim_mig *mig = sim->migs;
	struct pick pick = {.left = deed->other};
	while (mig && deed->when && mig->key != &sim->keys[deed->key])
		mig = mig->next;
	if (!deed->when)
		ph_hub_migrations(node->hub, sim_node_ms(node), pick_running, &pick);
	if (ph_id_none(&pick.id) && mig)
		pick.id = mig->id;
	deed->id = pick.id;
	deed->ticket = sim->last_ticket;
	return !ph_id_none(&pick.id);
}

bool sim_deed_order(struct sim *sim, struct sim_deed *deed, enum ph_verb verb)
{
	struct sim_node *node = NULL;
	for (unsigned i = 0; i < sim->n_nodes && !node; i++) {
		struct sim_node *n = &sim->nodes[(deed->k + i) % sim->n_nodes];
		if (n->hub && !n->shutting && n->suspended_us <= sim->now_us &&
			ph_hub_joined(n->hub))
			node = n;
	}
	if (!node)
		return false;
	struct ph_command order = {.ticket = ++sim->last_ticket, .verb = verb};
	order.node = sim->nodes[deed->other].name;
	if (verb == PH_VERB_MOVE || verb == PH_VERB_STOP || verb == PH_VERB_START ||
		verb == PH_VERB_SWAP) {
		order.child = sim->keys[deed->key].key.child;
		order.instance = sim->keys[deed->key].key.instance;
	}
	if (verb == PH_VERB_CANCEL) {
		if (!pick_migration(node, deed))
			return false;
		order.id = deed->id;
		order.id_digits = deed->x % 2 ? 32 : 12;
	}
	if (verb == PH_VERB_FORGET)
		order.ticket |= SIM_FORGETS;
	struct ph_event event = {.kind = PH_EV_COMMAND, .command = &order};
	sim->open_answers++;
	sim_node_step(node, &event);
	return true;
}

static void do_start(struct sim *sim, struct sim_deed *deed)
{
	struct sim_node *node = &sim->nodes[deed->node];
	if (!node->hub && !node->gen)
		sim_node_start(node);
	(void)sim;
}

static void do_move(struct sim *sim, struct sim_deed *deed)
{
	(void)sim_deed_order(sim, deed, PH_VERB_MOVE);
}

static void do_drain(struct sim *sim, struct sim_deed *deed)
{
	(void)sim_deed_order(sim, deed, PH_VERB_DRAIN);
}

static void do_undrain(struct sim *sim, struct sim_deed *deed)
{
	(void)sim_deed_order(sim, deed, PH_VERB_UNDRAIN);
}

static void do_cancel(struct sim *sim, struct sim_deed *deed)
{
	(void)sim_deed_order(sim, deed, PH_VERB_CANCEL);
}

#define FORGET_AGAIN (3 * SEC)

static void forget_again(struct sim *sim, void *arg);

static void do_forget(struct sim *sim, struct sim_deed *deed)
{
	if (sim->forgotten)
		return;
	if (sim->nodes[deed->other].gone)
		(void)sim_deed_order(sim, deed, PH_VERB_FORGET);
	deed->k++; /* from another node */
	sim_after(sim, FORGET_AGAIN, forget_again, deed, NULL);
}

static void forget_again(struct sim *sim, void *arg)
{
	do_forget(sim, arg);
}

static void do_shutdown(struct sim *sim, struct sim_deed *deed)
{
	struct sim_node *node = &sim->nodes[deed->node];
	struct ph_event event = {.kind = PH_EV_SHUTDOWN};
	(void)sim;
	if (!node->hub || node->shutting)
		return;
	node->shutting = true;
	node->back_ms = deed->x;
	sim_node_push(node, 0, &event, NULL, NULL);
}

/* ---- faults ---- */

static void do_crash(struct sim *sim, struct sim_deed *deed)
{
	struct sim_node *node = &sim->nodes[deed->node];
	if (!node->hub || node->crash_in >= 0)
		return;
	node->crash = *deed;
	/* A second lost journal, or one beside a node that is gone, may leave no quorum for ever;
	 * unless that one is forgotten. */
	bool forgets = sim->story == STORY_FORGET;
	bool stuck = forgets ? sim->journals_lost > 0 : sim->lax || sim->never_back;
	if (deed->kind == DEED_JOURNAL_LOST && sim->opt.partition && stuck)
		node->crash.kind = DEED_DAEMON_CRASH;
	sim->lax |= node->crash.kind == DEED_JOURNAL_LOST;
	/* One that never comes back is enough; with a lost journal, none. */
	if (!deed->x && (sim->never_back || (sim->opt.partition && sim->lax && !forgets)))
		node->crash.x = 3000;
	node->crash_in = (int)deed->k;
}

static void kill_one(struct sim *sim, struct sim_deed *deed, bool old)
{
	for (struct sim_proc *p = sim->procs; p; p = p->next) {
		bool is_old = p->role == PH_ROLE_ACTIVE;
		if (p->key != &sim->keys[deed->key] || !p->alive || is_old != old)
			continue;
		sim->fired++;
		sim_proc_die(p, DEATH_FAULT, (struct ph_exit){PH_EXIT_SIGNAL, 9});
		return;
	}
}

static void do_kill_old(struct sim *sim, struct sim_deed *deed)
{
	kill_one(sim, deed, true);
}

static void do_kill_new(struct sim *sim, struct sim_deed *deed)
{
	kill_one(sim, deed, false);
}

static void do_bus(struct sim *sim, struct sim_deed *deed)
{
	struct sim_node *node = &sim->nodes[deed->node];
	struct ph_event event = {.kind = PH_EV_BUS_DOWN};
	if (!node->hub || !node->bus_up)
		return;
	sim->fired++;
	node->bus_up = false;
	node->bus_gen++;
	node->calm_us = sim->now_us + 300 * MS;
	sim_node_push(node, 0, &event, NULL, NULL);
	sim_node_bus(node, sim_between(sim, 20 * MS, 300 * MS));
}

static void do_suspend(struct sim *sim, struct sim_deed *deed)
{
	struct sim_node *node = &sim->nodes[deed->node];
	if (!node->hub || node->suspended_us > sim->now_us)
		return;
	sim->fired++;
	sim_count(sim, deed->x < 3000	? COUNT_HANG_SHORT
		       : deed->x < 5000 ? COUNT_HANG_FENCE
					: COUNT_HANG_LONG);
	node->suspended_us = sim->now_us + deed->x * MS;
	node->calm_us = node->suspended_us;
}

static void cut(struct sim *sim, unsigned from, unsigned to, uint64_t until_us)
{
	if (sim->cut_us[from][to] != UINT64_MAX)
		sim->cut_us[from][to] = until_us;
}

static void do_cut_forever(struct sim *sim, struct sim_deed *deed)
{
	sim->fired++;
	cut(sim, deed->node, deed->other, UINT64_MAX);
	if (!deed->x)
		cut(sim, deed->other, deed->node, UINT64_MAX);
	sim->nodes[deed->node].calm_us = sim->nodes[deed->other].calm_us = sim->now_us;
}

static void do_cut(struct sim *sim, struct sim_deed *deed)
{
	unsigned a = deed->node, b = deed->other;
	uint64_t until_us = sim->now_us + deed->x * MS;
	if (a == b)
		return;
	sim->fired++;
	cut(sim, a, b, until_us);
	if (deed->kind == DEED_CUT)
		cut(sim, b, a, until_us);
	sim->nodes[a].calm_us = sim->nodes[b].calm_us = until_us;
}

static void do_split(struct sim *sim, struct sim_deed *deed)
{
	uint64_t until_us = sim->now_us + deed->x * MS;
	sim->fired++;
	for (unsigned a = 0; a < sim->n_nodes; a++)
		for (unsigned b = 0; b < sim->n_nodes; b++) {
			bool out = deed->k >> a & 1, in = deed->k >> b & 1;
			if (out == in || (in && deed->x % 2))
				continue;
			sim->cut_us[a][b] = until_us;
			sim->nodes[a].calm_us = sim->nodes[b].calm_us = until_us;
		}
}

static void do_hang_up(struct sim *sim, struct sim_deed *deed)
{
	for (struct sim_proc *p = sim->procs; p; p = p->next) {
		if (p->key != &sim->keys[deed->key] || !p->alive || !p->conn)
			continue;
		sim->fired++;
		sim_proc_hang_up(p, true);
		return;
	}
}

static void do_stream(struct sim *sim, struct sim_deed *deed)
{
	sim->fired++;
	sim_stream_break(sim, deed->k);
}

static void do_disk(struct sim *sim, struct sim_deed *deed)
{
	sim->fired++;
	sim->lax = true;
	sim->nodes[deed->node].disk.fail_next = true;
}

static void (*const deeds[DEED_COUNT])(struct sim *, struct sim_deed *) = {
	[DEED_NODE_START] = do_start,
	[DEED_MOVE] = do_move,
	[DEED_DRAIN] = do_drain,
	[DEED_UNDRAIN] = do_undrain,
	[DEED_SHUTDOWN] = do_shutdown,
	[DEED_DAEMON_CRASH] = do_crash,
	[DEED_MACHINE_CRASH] = do_crash,
	[DEED_JOURNAL_LOST] = do_crash,
	[DEED_KILL_OLD] = do_kill_old,
	[DEED_KILL_NEW] = do_kill_new,
	[DEED_BUS_RESTART] = do_bus,
	[DEED_SUSPEND] = do_suspend,
	[DEED_CUT] = do_cut,
	[DEED_CUT_ONE_WAY] = do_cut,
	[DEED_SPLIT] = do_split,
	[DEED_CUT_FOREVER] = do_cut_forever,
	[DEED_HANG_UP] = do_hang_up,
	[DEED_STREAM_BREAK] = do_stream,
	[DEED_DISK_FAIL] = do_disk,
	[DEED_CANCEL] = do_cancel,
	[DEED_FORGET] = do_forget,
};

/* ---- when ---- */

void sim_deed_count(struct sim *sim, const struct sim_deed *deed)
{
	sim->counts.deeds[deed->kind]++;
	if (deed->when != PH_B_NONE)
		sim->counts.at[deed->kind][deed->when]++;
}

static void carry_out(struct sim *sim, struct sim_deed *deed)
{
	if (sim->healing && sim_deed_is_fault[deed->kind])
		return;
	sim_trace(sim, "deed %u: %s node n%u other n%u key %u k %u x %llu",
		(unsigned)(deed - sim->plan), sim_deed_names[deed->kind], deed->node, deed->other,
		deed->key, deed->k, (unsigned long long)deed->x);
	sim_mix(sim, 9999, (uint64_t)deed->kind);
	unsigned fired = sim->fired;
	sim_deed_fn *fn = deeds[deed->kind] ? deeds[deed->kind] : sim_more_deeds[deed->kind];
	fn(sim, deed);
	if (sim->fired > fired || !sim_deed_is_fault[deed->kind])
		sim_deed_count(sim, deed);
}

static void now(struct sim *sim, void *arg)
{
	carry_out(sim, arg);
}

static void at_time(struct sim *sim, void *arg)
{
	struct sim_deed *deed = arg;
	if (deed->when == PH_B_NONE)
		carry_out(sim, deed);
	else
		deed->waiting = true;
}

void sim_deed_arm(struct sim *sim, struct sim_deed *deed)
{
	if (!deed->off)
		sim_after(sim, deed->at_us, at_time, deed, NULL);
}

/* A fault that waits for such a message: at one of its ends, at once or a little later. */
void sim_deed_message(struct sim_node *from, const struct ph_name *to, const struct ph_bmsg *msg)
{
	struct sim *sim = from->sim;
	struct sim_node *peer = sim_node_named(sim, to);
	for (unsigned i = 0; i < sim->n_plan; i++) {
		struct sim_deed *deed = &sim->plan[i];
		if (!deed->waiting || deed->when != msg->kind || !peer)
			continue;
		deed->waiting = false;
		bool swap = deed->x % 2;
		deed->node = swap ? peer->no : from->no;
		deed->other = swap ? from->no : peer->no;
		for (unsigned k = 0; k < sim->n_keys; k++)
			if (ph_key_equal(&sim->keys[k].key, &msg->key))
				deed->key = k;
		uint64_t delay = sim_chance(sim, 50) ? 0 : sim_between(sim, 100, 20 * MS);
		sim_after(sim, delay, now, deed, NULL);
		bool crash = deed->kind == DEED_DAEMON_CRASH || deed->kind == DEED_MACHINE_CRASH;
		if (crash && !swap && from->crash_in < 0 && !delay && !sim->healing)
			carry_out(sim, deed); /* between this action and the next ones */
	}
}

/*
 * Two that only a third one connects, which has stopped for good, would be two clusters; and each
 * of them needs a quorum without the other.
 */
static bool by_way_of_a_third(const struct sim *sim, unsigned a, unsigned b)
{
	unsigned thirds = 0, needed = sim->opt.partition ? sim->n_nodes / 2 : 1;
	for (unsigned i = 0; i < sim->n_nodes; i++) {
		const struct sim_node *node = &sim->nodes[i];
		if (i != a && i != b && !node->gone && !(node->shutting && !node->back_ms))
			thirds++;
	}
	return thirds >= needed;
}

/* Nothing bad happens from here on. */
void sim_deed_heal(struct sim *sim)
{
	sim->healing = true;
	sim->loss_percent = sim->dup_percent = 0;
	for (unsigned i = 0; i < SIM_NODES * SIM_NODES; i++) {
		unsigned a = i / SIM_NODES, b = i % SIM_NODES;
		bool kept = sim->cut_us[a][b] == UINT64_MAX && by_way_of_a_third(sim, a, b);
		sim->cut_us[a][b] = kept ? UINT64_MAX : 0;
	}
	for (unsigned i = 0; i < sim->n_plan; i++)
		sim->plan[i].waiting = false;
	for (unsigned i = 0; i < sim->n_nodes; i++) {
		struct sim_node *node = &sim->nodes[i];
		node->crash_in = -1;
		node->disk.fail_next = false;
		node->number_us = 0;
		node->disk.slow_until_us = node->spawn_slow_until_us = 0;
		node->number_fails = node->number_crash = false;
		if (node->suspended_us > sim->now_us)
			node->suspended_us = sim->now_us;
	}
	for (unsigned i = 0; i < sim->n_defs; i++)
		sim->defs[i].traits.unfit = 0;
	memset(sim->hold_us, 0, sizeof sim->hold_us);
	sim_trace(sim, "the faults are over");
}
