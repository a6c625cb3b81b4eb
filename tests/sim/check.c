/*
 * check.c - PROTOCOL.md, "What must hold", as seen from outside, at the moment it could break.
 *
 * Losses that the text allows are marked at the death that causes them: what a dying process had
 * acknowledged may be lost unless another process that is bound to go on has it too.
 */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

#define CALM_US (17 * SEC)

static bool stateful(const struct sim_key *key)
{
	return key->def->traits.caps & PH_CAP_HANDOVER;
}

struct sim_mig *sim_mig_of(struct sim *sim, const struct ph_id *id)
{
	if (ph_id_none(id))
		return NULL;
	for (struct sim_mig *mig = sim->migs; mig; mig = mig->next)
		if (ph_id_equal(&mig->id, id))
			return mig;
	return NULL;
}

#define KEY_FORMAT "%s/%u"
#define KEY_ARGS(k) (k)->key.child.s, (k)->key.instance
#define EPOCH_FORMAT "%llu/%u"
#define EPOCH_ARGS(e) (unsigned long long)ph_epoch_counter(e), (unsigned)((e)&0xffffff)

/* ---- epochs, owners ---- */

/* With a quorum strategy a wrong verdict excuses nothing. */
static bool sure(const struct sim *sim)
{
	if (sim->story == STORY_ADDED &&
		!sim->opt.partition) /* all are down, one comes back alone */
		return false;
	return !sim->false_verdict || sim->opt.partition;
}

/*
 * Nobody who knew is left, and a clone has come in the place of one of them: it has nothing of what
 * its name had promised, and nobody to hear it from.
 */
static bool cloned_alone(const struct sim_proc *proc)
{
	const struct sim *sim = proc->sim;
	bool gone = false, cloned = false;
	for (unsigned i = 0; i < sim->n_nodes; i++) {
		const struct sim_node *node = &sim->nodes[i];
		gone |= node->gone;
		cloned |= sim_node_twin(node);
		if (!node->gone && (!node->hub || sim_check_knows(node, proc->key)))
			return false;
	}
	return gone && cloned;
}

static uint64_t bit_of(const struct sim_node *node)
{
	return UINT64_C(1) << (node->no < 63 ? node->no : 63);
}

static uint64_t nodes_up(const struct sim *sim)
{
	uint64_t up = 0;
	for (unsigned i = 0; i < sim->n_nodes; i++)
		up |= sim->nodes[i].hub ? bit_of(&sim->nodes[i]) : 0;
	return up;
}

/*
 * Whoever made the highest one is down, nobody who is here has heard of it, and this node did not
 * run when it was made: each is alone in its turn, and there is nothing that would tell it.
 */
bool sim_check_alone(const struct sim_proc *proc)
{
	const struct sim *sim = proc->sim;
	const struct sim_key *key = proc->key;
	for (unsigned i = 0; i < sim->n_nodes; i++)
		if (sim->nodes[i].hub && sim_check_knows(&sim->nodes[i], key))
			return false;
	bool ran = proc->node->gen > 1 && (key->max_epoch_up & bit_of(proc->node));
	return !sim->opt.partition && !ran && !sim->nodes[key->max_epoch_node].hub;
}

/* Are the journals lost, and those gone, that knew how high the epochs were? */
static bool nobody_knows(const struct sim *sim)
{
	bool gone = false;
	for (unsigned i = 0; i < sim->n_nodes; i++)
		gone |= sim->nodes[i].gone;
	return sim->journals_lost > 1 || (sim->journals_lost && gone) || sim->refounded;
}

/* Of two of one name, each of which goes on alone after a wrong verdict, neither knows better. */
static bool same_maker(const struct sim_proc *proc, const struct sim_key *key)
{
	const struct sim *sim = proc->sim;
	return proc->node->who == sim->nodes[key->max_epoch_node].who && !sure(sim);
}

void sim_check_epoch(struct sim_proc *proc)
{
	struct sim *sim = proc->sim;
	struct sim_key *key = proc->key;
	if (proc->role != PH_ROLE_ACTIVE || !stateful(key) || nobody_knows(sim))
		return;
	sim_trace(sim, "%s: pid %u of " KEY_FORMAT " is active at epoch " EPOCH_FORMAT,
		proc->node->name.s, proc->pid, KEY_ARGS(key), EPOCH_ARGS(proc->epoch));
	if (proc->epoch > key->max_epoch) {
		key->max_epoch = proc->epoch;
		key->max_epoch_node = proc->node->no;
		key->max_epoch_up = nodes_up(sim);
	} else if (proc->epoch == key->max_epoch && proc->node->no != key->max_epoch_node &&
		   !same_maker(proc, key)) {
		sim_fail(sim, KEY_FORMAT " was active at epoch " EPOCH_FORMAT " on two nodes",
			KEY_ARGS(key), EPOCH_ARGS(proc->epoch));
	} else if (proc->epoch < key->max_epoch && sure(sim) && !cloned_alone(proc) &&
		   !proc->alone) {
		sim_fail(sim,
			"pid %u of " KEY_FORMAT " became active at epoch " EPOCH_FORMAT
			" after " EPOCH_FORMAT,
			proc->pid, KEY_ARGS(key), EPOCH_ARGS(proc->epoch),
			EPOCH_ARGS(key->max_epoch));
	}
}

void sim_check_state(struct sim_proc *proc)
{
	struct sim_key *key = proc->key;
	size_t at = 0;
	for (size_t i = 1; i < proc->n_items; i++)
		if (proc->items[i] <= proc->items[i - 1]) {
			sim_fail(proc->sim, "update %u of " KEY_FORMAT " is in pid %u twice",
				proc->items[i], KEY_ARGS(key), proc->pid);
			return;
		}
	for (uint32_t u = 1; u < key->next && u < key->n_acks; u++) {
		while (at < proc->n_items && proc->items[at] < u)
			at++;
		bool has = at < proc->n_items && proc->items[at] == u;
		if (has || !key->acks[u].acked || key->acks[u].may_be_lost)
			continue;
		sim_fail(proc->sim,
			"update %u of " KEY_FORMAT " was acknowledged and is not in pid %u", u,
			KEY_ARGS(key), proc->pid);
		return;
	}
}

void sim_check_serving(struct sim_proc *proc)
{
	struct sim *sim = proc->sim;
	struct sim_key *key = proc->key;
	sim_trace(sim, "%s: pid %u of " KEY_FORMAT " serves, %zu updates", proc->node->name.s,
		proc->pid, KEY_ARGS(key), proc->n_items);
	if (!stateful(key))
		return;
	for (struct sim_proc *other = sim->procs; other; other = other->next) {
		if (other == proc || other->key != key || !other->serving)
			continue;
		if (other->epoch == proc->epoch &&
			!(other->node->who == proc->node->who && !sure(sim)))
			sim_fail(sim, "pids %u and %u of " KEY_FORMAT " serve at the same epoch",
				other->pid, proc->pid, KEY_ARGS(key));
		else if (sure(sim))
			sim_fail(sim, "pids %u and %u of " KEY_FORMAT " serve at the same time",
				other->pid, proc->pid, KEY_ARGS(key));
	}
	if (proc->epoch < key->max_epoch && sure(sim) && !nobody_knows(sim) &&
		!cloned_alone(proc) && !proc->alone)
		sim_fail(sim,
			"pid %u of " KEY_FORMAT " serves at epoch " EPOCH_FORMAT
			" after " EPOCH_FORMAT,
			proc->pid, KEY_ARGS(key), EPOCH_ARGS(proc->epoch),
			EPOCH_ARGS(key->max_epoch));
	if (sure(sim))
		sim_check_state(proc);
}

/* ---- what may be lost ---- */

/* Does the text promise that this other process goes on, if `dead` cannot? */
static bool bound_to_go_on(const struct sim_proc *other, const struct sim_proc *dead)
{
	struct sim *sim = dead->sim;
	const struct sim_proc *fresh = dead->role == PH_ROLE_STANDBY ? dead : other;
	struct sim_mig *mig = sim_mig_of(sim, &fresh->id);
	if (!other->alive || !other->node->up || other->misbehaves)
		return false;
	if (other->serving)
		return true;
	struct sim_mig *given = sim_mig_of(sim, &other->id);
	if (other->hand == HAND_COMMITTED)
		return false;
	if (other->frozen && given && given->active_synced) /* O is taken back if N never served */
		return ph_id_equal(&dead->id, &other->id) && !dead->was_ready && dead->node->up &&
		       sim->fired <= 1;
	if (other->frozen)
		return true;
	if (other->role != PH_ROLE_STANDBY || !mig || sim->lax || mig->abort_sent || mig->voided ||
		mig->never || !mig->final_synced || other->hand != HAND_LOADED || !other->final)
		return false;
	bool alone = dead->node->hub && dead->node->up && mig->b && mig->b->hub && sim->fired <= 1;
	return mig->prepared_synced || alone;
}

static bool contains(const struct sim_proc *proc, uint32_t u)
{
	size_t low = 0, high = proc->n_items;
	while (low < high) {
		size_t middle = (low + high) / 2;
		if (proc->items[middle] < u)
			low = middle + 1;
		else
			high = middle;
	}
	return low < proc->n_items && proc->items[low] == u;
}

static bool kept_elsewhere(const struct sim_proc *dead, uint32_t u)
{
	for (struct sim_proc *p = dead->sim->procs; p; p = p->next)
		if (p != dead && p->key == dead->key && bound_to_go_on(p, dead) && contains(p, u))
			return true;
	return false;
}

/* It may be stopped at any time to start anew with its group, but not out of a handover. */
static bool with_group(const struct sim_proc *proc)
{
	return proc->key->def->members[0] && !proc->frozen && proc->hand != HAND_COMMITTED &&
	       proc->role == PH_ROLE_ACTIVE;
}

/* Core has no right to end the only copy, but for an order, a hung worker or a wrong verdict. */
static bool excused(const struct sim_proc *proc)
{
	struct sim *sim = proc->sim;
	struct sim_mig *mig = sim_mig_of(sim, &proc->id);
	if (proc->node->shutting || sim_node_twin(proc->node) || proc->key->stopped_by_order ||
		proc->misbehaves || sim->false_verdict || sim->fenced || sim->lax ||
		proc->key->def->traits.deaf)
		return true;
	if (with_group(proc))
		return true;
	/* What N had before `prepared` was synced binds nobody, nor does it once an abort is under
	 * way that began before A could hear that O is dead. */
	return proc->role == PH_ROLE_STANDBY && mig && mig->old && !mig->old->alive &&
	       (!mig->prepared_synced || mig->abort_unheard);
}

void sim_check_death(struct sim_proc *proc, enum sim_death why)
{
	struct sim_key *key = proc->key;
	if (!stateful(key) || (why == DEATH_CORE && !excused(proc)))
		return;
	size_t lost = 0;
	for (size_t i = 0; i < proc->n_items; i++) {
		uint32_t u = proc->items[i];
		if (u >= key->next || key->acks[u].may_be_lost ||
			(why != DEATH_FENCE && kept_elsewhere(proc, u)))
			continue;
		key->acks[u].may_be_lost = true;
		lost++;
	}
	if (lost)
		sim_trace(proc->sim, "    %zu updates of " KEY_FORMAT " may be lost", lost,
			KEY_ARGS(key));
}

void sim_check_verdict(struct sim_node *node, const struct ph_emit *emit)
{
	struct sim *sim = node->sim;
	struct sim_node *peer = sim_node_named(sim, &emit->peer);
	bool lives = peer && peer->hub;
	for (struct sim_proc *p = sim->procs; p && peer && !lives; p = p->next)
		lives = p->node == peer && p->alive;
	if (!lives)
		return;
	sim_trace(sim, "%s: a false verdict of death about %s", node->name.s, emit->peer.s);
	if (sim->faultless)
		sim_fail(sim, "%s holds %s for dead without a fault", node->name.s, emit->peer.s);
	sim_count(sim, COUNT_FALSE_VERDICT);
	sim->false_verdict = true;
}

struct seen {
	struct sim *sim;
	size_t live;
};

static bool see_live(void *arg, const struct ph_member_view *view)
{
	struct seen *seen = arg;
	seen->live += view->self || view->info.state == PH_MEMBER_JOINING ||
		      view->info.state == PH_MEMBER_ALIVE || view->info.state == PH_MEMBER_SUSPECT;
	return true;
}

/*
 * A restarted daemon that reaches nobody within join_timeout goes on alone: under `divergence` that
 * is a wrong verdict about whoever lives on meanwhile, cut off or suspended, with its workers.
 */
void sim_check_joined(struct sim_node *node)
{
	struct sim *sim = node->sim;
	struct seen seen = {.sim = sim};
	size_t living = 0;
	bool twin = false; /* it takes the place of one that lives: that is a wrong verdict, too */
	for (unsigned i = 0; i < sim->n_nodes; i++) {
		bool lives = false;
		for (unsigned j = i; j < sim->n_nodes && sim->nodes[i].who == i; j++)
			lives |= sim->nodes[j].who == i && sim->nodes[j].hub;
		for (struct sim_proc *p = sim->procs; p && !lives; p = p->next)
			lives = p->node->who == i && p->alive;
		living += lives;
	}
	for (unsigned i = 0; i < sim->n_nodes; i++)
		twin |= i != node->no && sim->nodes[i].who == node->who && sim->nodes[i].hub;
	for (struct sim_proc *p = sim->procs; p; p = p->next)
		twin |= p->node != node && p->node->who == node->who && p->alive;
	ph_hub_members(node->hub, sim_node_ms(node), see_live, &seen);
	if ((seen.live >= living && !twin) || sim->faultless)
		return;
	sim_trace(sim, "%s: joins without some that live", node->name.s);
	sim->false_verdict = true;
}

/* ---- after an abort ---- */

struct later {
	struct sim_mig *mig;
	struct sim_proc *proc;
	uint32_t gen, pid;
};

static void serves_again(struct sim *sim, void *arg)
{
	struct later *later = arg;
	struct sim_proc *old = later->proc;
	bool same_daemon = old->node->gen == later->gen && old->node->suspended_us <= sim->now_us;
	bool stops = old->node->shutting || old->key->stopped_by_order;
	if (old->alive && !old->exiting && !stops && same_daemon && !old->misbehaves &&
		!old->serving && ph_id_equal(&old->id, &later->mig->id) && old->conn)
		sim_fail(sim, "pid %u of " KEY_FORMAT " does not serve 3 s after the abort",
			old->pid, KEY_ARGS(old->key));
	free(later);
}

bool sim_cancelled(const char *text)
{
	return text && strcmp(text, "cancelled by an operator") == 0;
}

void sim_check_aborted(struct sim_node *node, const struct ph_emit *emit)
{
	struct sim *sim = node->sim;
	struct sim_mig *mig = sim_mig_of(sim, &emit->id);
	sim->migrations_aborted++;
	if (sim->faultless && !sim_cancelled(emit->text) && sim->story != STORY_ADDED &&
		sim->story != STORY_TEXTS)
		sim_fail(sim, "a migration of %s/%u was aborted without a fault: %s",
			emit->key.child.s, emit->key.instance, emit->text ? emit->text : "");
	if (!mig || !mig->old || mig->a != node || !mig->old->alive)
		return;
	struct later *later = sim_alloc(sizeof *later);
	*later = (struct later){mig, mig->old, node->gen, mig->old->pid};
	sim_after(sim, 3 * SEC, serves_again, later, free);
}

/* ---- lookups after the end of the old one ---- */

struct names {
	struct sim_proc *stopped;
	bool named;
};

static bool names_it(void *arg, const struct ph_entry_view *view)
{
	struct names *names = arg;
	struct sim_proc *proc = names->stopped;
	if (view->owned && ph_key_equal(&view->entry.key, &proc->key->key) &&
		view->entry.pid == proc->pid)
		names->named = true;
	return true;
}

static void look(struct sim *sim, void *arg)
{
	struct sim_proc *proc = arg;
	for (unsigned i = 0; i < sim->n_nodes; i++) {
		struct sim_node *node = &sim->nodes[i];
		struct names names = {.stopped = proc};
		uint64_t calm_us =
			node->calm_us > proc->node->calm_us ? node->calm_us : proc->node->calm_us;
		if (!node->hub || node->suspended_us > sim->now_us || !ph_hub_joined(node->hub) ||
			(calm_us && sim->now_us < calm_us + CALM_US) || sim->false_verdict)
			continue;
		ph_hub_entries(
			node->hub, sim_node_ms(node), &proc->key->key.child, names_it, &names);
		if (names.named)
			sim_fail(sim,
				"%s names pid %u of " KEY_FORMAT ", which was stopped after its "
				"retention",
				node->name.s, proc->pid, KEY_ARGS(proc->key));
	}
}

void sim_check_stopped(struct sim_proc *proc)
{
	if (!proc->node->hub || proc->node->shutting || proc->key->stopped_by_order)
		return;
	sim_after(proc->sim, 0, look, proc, NULL);
	sim_after(proc->sim, 2 * SEC, look, proc, NULL);
}

struct wish {
	const struct sim_key *key;
	bool wanted;
};

static bool wants_it(void *arg, const struct ph_entry_view *view)
{
	struct wish *wish = arg;
	wish->wanted |= view->wanted && ph_key_equal(&view->entry.key, &wish->key->key);
	return true;
}

/* Stopped by wish, removed, one too many, or of a text for which a new process is started? */
void sim_check_unwanted(struct sim_proc *proc)
{
	struct sim_node *node = proc->node;
	struct wish wish = {.key = proc->key};
	if (!node->hub)
		return;
	const struct ph_name *child = &proc->key->key.child;
	const struct ph_spec *spec = ph_hub_spec(node->hub, child);
	ph_hub_entries(node->hub, sim_node_ms(node), child, wants_it, &wish);
	proc->unwanted =
		!wish.wanted || (spec && (spec->process != proc->process ||
						 proc->key->key.instance >= spec->instances));
}

/*
 * After a heal: never is one that serves, or is frozen, told to go while all that serve beside it
 * began from nothing later than it did, and no other copy lives that is as old. The clocks of the
 * nodes tell what is later, where they agree. It is another matter where people have stopped it,
 * removed it, or given it a text that needs a new process: on their side of a cut that ends the
 * copy that is there, however old it is, and the other side may not have heard of it yet.
 */
void sim_check_replaced(struct sim_proc *proc)
{
	struct sim *sim = proc->sim;
	struct sim_proc *colder = NULL;
	bool had = proc->role == PH_ROLE_ACTIVE && proc->hand != HAND_COMMITTED &&
		   (proc->serving || proc->frozen);
	struct sim_mig *mig = sim_mig_of(sim, &proc->id);
	if (mig && mig->active_synced) /* the new one was, and had all of it, whatever came then */
		return;
	if (mig && sim->lax) /* who was to have it may stand in a journal that is lost */
		return;
	if (!had || proc->fenced || !proc->n_items || !stateful(proc->key) || sim->skewed ||
		proc->node->shutting || proc->misbehaves || sim_node_twin(proc->node) ||
		proc->node->shares_slot)
		return;
	if ((proc->unwanted && proc->key->stopped_by_order) || with_group(proc))
		return;
	if (proc->key->def->spec.added) /* removed, and added again: another child */
		return;
	for (struct sim_proc *p = sim->procs; p; p = p->next) {
		if (p == proc || p->key != proc->key || !p->alive)
			continue;
		/* Of two that begin in one millisecond no clock tells which was first. */
		if (p->root <= proc->root || p->root_us <= proc->root_us + MS)
			return;
		if (p->serving)
			colder = p;
	}
	if (colder)
		sim_fail(sim, "pid %u of " KEY_FORMAT " goes, and pid %u, begun later, stays",
			proc->pid, KEY_ARGS(proc->key), colder->pid);
}
