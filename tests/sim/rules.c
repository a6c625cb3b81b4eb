/*
 * rules.c - OWNERSHIP.md in the order of its sentences: what must have happened before something is
 * said, told or written.
 *
 * Consequences of a broken order need several faults at the right moment; the order itself shows in
 * any run. All of it is seen from outside: messages, words to workers, and the records on the disk.
 */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

#define CONFIRM_MAX_US (15 * SEC) /* members that have not confirmed by then are not waited for */
#define ANSWER_US (8 * SEC) /* a stop_timeout, a sync and some: COMMIT and ABORT are answered */
#define ASKS_US (3 * SEC)   /* whoever still wants to know has asked again within this */

static const char *const kinds[PH_BKIND_COUNT] = {
#define X(name, word) [PH_B_##name] = word,
	PH_BKINDS(X)
#undef X
};

static const char *const records[PH_RECORD_COUNT] = {
#define X(name, word) [PH_RECORD_##name] = word,
	PH_RECORDS(X)
#undef X
};

static uint64_t bit(unsigned n)
{
	return UINT64_C(1) << n;
}

static bool synced(const struct sim_node *node, const struct ph_id *id, enum ph_record_kind kind)
{
	const struct sim_disk *disk = &node->disk;
	for (size_t i = disk->synced; i-- > 0;)
		if (disk->v[i].record.kind == kind && ph_id_equal(&disk->v[i].record.id, id))
			return true;
	return false;
}

/* ---- which members a node holds for alive ---- */

struct live {
	struct sim *sim;
	uint64_t mask; /* without itself */
};

static bool see_live(void *arg, const struct ph_member_view *view)
{
	struct live *live = arg;
	const struct sim_node *node = sim_node_named(live->sim, &view->info.name);
	bool is = view->info.state == PH_MEMBER_JOINING || view->info.state == PH_MEMBER_ALIVE ||
		  view->info.state == PH_MEMBER_SUSPECT;
	if (node && is && !view->self)
		live->mask |= bit(node->who);
	return true;
}

static uint64_t live_members(const struct sim_node *node)
{
	struct live live = {.sim = node->sim};
	ph_hub_members(node->hub, sim_node_ms(node), see_live, &live);
	return live.mask;
}

/* ---- claims: who was asked, who has answered ---- */

static struct sim_claim *claim_of(struct sim_key *key, const struct sim_node *node, uint64_t epoch)
{
	for (unsigned i = 0; i < SIM_CLAIMS; i++)
		if (key->claims[i].node == node && key->claims[i].gen == node->gen &&
			key->claims[i].epoch == epoch)
			return &key->claims[i];
	return NULL;
}

static void note_claims(struct sim_node *node, const struct sim_node *to, const struct ph_bmsg *msg)
{
	for (size_t i = 0; i < msg->n_claims; i++) {
		const struct ph_claim_line *line = &msg->claims[i];
		struct sim_key *key = sim_key_of(node->sim, &line->key);
		struct sim_claim *claim = key ? claim_of(key, node, line->epoch) : NULL;
		if (key && !claim) {
			claim = &key->claims[key->next_claim++ % SIM_CLAIMS];
			*claim = (struct sim_claim){.node = node,
				.gen = node->gen,
				.epoch = line->epoch,
				.asked_us = node->sim->now_us};
		}
		if (claim)
			claim->asked |= bit(to->who);
	}
}

static void note_answers(
	struct sim_node *node, const struct sim_node *from, const struct ph_bmsg *msg)
{
	for (size_t i = 0; i < msg->n_claims; i++) {
		const struct ph_claim_line *line = &msg->claims[i];
		struct sim_key *key = sim_key_of(node->sim, &line->key);
		struct sim_claim *claim = key ? claim_of(key, node, line->epoch) : NULL;
		if (claim && line->verdict == PH_VERDICT_FREE)
			claim->free |= bit(from->who);
		else if (claim &&
			 (line->verdict == PH_VERDICT_OWNED || line->verdict == PH_VERDICT_REFUSED))
			claim->against |= bit(from->who);
	}
}

/* All whom it holds for alive were asked, and had a moment to object: nobody else can own it. */
static void must_be_asked(struct sim_node *node, struct sim_key *key, uint64_t epoch)
{
	const struct sim_claim *claim = claim_of(key, node, epoch);
	if (ph_hub_quorum(node->hub) >= 0)
		return;
	if (live_members(node) & ~(claim ? claim->asked : 0))
		sim_fail(node->sim, "%s: a return of %s/%u that not all members were asked for",
			node->name.s, key->key.child.s, key->key.instance);
	if (claim && live_members(node) & claim->against)
		sim_fail(node->sim, "%s: a return of %s/%u that a member was against", node->name.s,
			key->key.child.s, key->key.instance);
}

/* It acts on a claim: have all whom it holds for alive said that nothing is against it? */
static void must_be_granted(struct sim_node *node, struct sim_key *key, uint64_t epoch,
	uint64_t spared, const char *what)
{
	struct sim *sim = node->sim;
	if (ph_hub_quorum(node->hub) >= 0) /* a quorum of the view is enough */
		return;
	const struct sim_claim *claim = claim_of(key, node, epoch);
	uint64_t wanted = live_members(node) & ~spared;
	if (claim && sim->now_us + MS >= claim->asked_us + 5 * SEC)
		return; /* silent for failure_timeout */
	if (wanted & ~(claim ? claim->free : 0))
		sim_fail(sim, "%s: %s of %s/%u before all members have granted the claim",
			node->name.s, what, key->key.child.s, key->key.instance);
}

/* ---- what daemons say ---- */

/* A record must be synced before anything that it protects is said. */
static void must_be_synced(struct sim_node *node, const struct ph_bmsg *msg)
{
	enum ph_record_kind needs = PH_RECORD_NONE;
	if (msg->kind == PH_B_NACK || msg->kind == PH_B_REJECT || msg->kind == PH_B_ABORTED ||
		msg->kind == PH_B_RELEASE)
		needs = PH_RECORD_NEVER;
	else if (msg->kind == PH_B_COMMIT)
		needs = PH_RECORD_COMMIT;
	else if (msg->kind == PH_B_PREPARED)
		needs = PH_RECORD_PREPARED;
	else if (msg->kind == PH_B_ROUND_END && msg->final)
		needs = PH_RECORD_FINAL;
	else if (msg->kind == PH_B_VOID && !node->sim->lax)
		needs = PH_RECORD_VOID;
	if (needs != PH_RECORD_NONE && !synced(node, &msg->id, needs))
		sim_fail(node->sim, "%s says %s before %s is synced", node->name.s,
			kinds[msg->kind], records[needs]);
}

/* A prepared copy goes before a claim from the spec, and `void` ends every takeover. */
static void grants(struct sim_node *node, const struct ph_bmsg *msg)
{
	struct sim *sim = node->sim;
	for (size_t i = 0; i < msg->n_claims; i++) {
		const struct ph_claim_line *line = &msg->claims[i];
		struct sim_key *key = sim_key_of(sim, &line->key);
		if (!key || line->verdict != PH_VERDICT_FREE)
			continue;
		bool for_copy = line->basis == PH_CLAIM_TAKEOVER || line->basis == PH_CLAIM_COMMIT;
		/* A grant is synced before it is answered: `void` may come between. */
		bool at_once = ph_hub_quorum(node->hub) < 0;
		if (for_copy && at_once && key->void_gen[node->no] == node->gen &&
			ph_id_equal(&key->void_id[node->no], &line->id))
			sim_fail(sim, "%s grants %s/%u to a copy of which it has heard void",
				node->name.s, key->key.child.s, key->key.instance);
		for (struct sim_proc *p = sim->procs; p && line->basis == PH_CLAIM_COLD;
			p = p->next) {
			struct sim_mig *mig = sim_mig_of(sim, &p->id);
			bool holds = p->node == node && p->key == key && p->alive && mig &&
				     p->role == PH_ROLE_STANDBY && p->hand == HAND_LOADED &&
				     p->final && !mig->dropped;
			if (holds && !sim->lax && synced(node, &mig->id, PH_RECORD_PREPARED))
				sim_fail(sim,
					"%s grants %s/%u to an empty one and has a prepared copy",
					node->name.s, key->key.child.s, key->key.instance);
		}
	}
}

static bool is_answer(enum ph_bkind kind)
{
	return kind == PH_B_ACTIVE || kind == PH_B_NACK || kind == PH_B_ABORTED ||
	       kind == PH_B_REJECT || kind == PH_B_LOST || kind == PH_B_RELEASE;
}

void sim_rules_send(struct sim_node *node, const struct ph_name *to, const struct ph_bmsg *msg)
{
	struct sim *sim = node->sim;
	struct sim_mig *mig = sim_mig_of(sim, &msg->id);
	const struct sim_node *peer = sim_node_named(sim, to);
	if (!sim->lax)
		must_be_synced(node, msg);
	if (msg->kind == PH_B_CLAIM && peer)
		note_claims(node, peer, msg);
	if (msg->kind == PH_B_CLAIM_ANSWER)
		grants(node, msg);
	if (!mig)
		return;
	if (msg->kind == PH_B_PREPARE)
		mig->epoch = msg->epoch;
	mig->final_left |= msg->kind == PH_B_ROUND_END && msg->final;
	mig->commit_left |= msg->kind == PH_B_COMMIT;
	if (msg->kind == PH_B_COMMIT && mig->cancelled_gen == mig->a->gen)
		sim_fail(node->sim, "%s commits a migration that was cancelled", mig->a->name.s);
	mig->void_told |= msg->kind == PH_B_VOID;
	if (node->who == mig->b->who && is_answer(msg->kind))
		mig->asked_us = 0;
}

/* ---- what daemons hear ---- */

static void is_answered(struct sim *sim, void *arg)
{
	struct sim_mig *mig = arg;
	struct sim_node *b = mig->b;
	bool calm = b->calm_us <= mig->asked_us && mig->a->calm_us <= mig->asked_us && mig->a->hub;
	if (!mig->asked_us || sim->now_us < mig->asked_us + ANSWER_US || sim->lax || !b->hub ||
		sim->now_us > mig->asked_last_us + ASKS_US || b->gen != mig->asked_gen || !calm ||
		b->shutting || mig->key->def->traits.deaf)
		return;
	sim_fail(sim, "%s has not answered %s of %s/%u for 8 s", b->name.s, kinds[mig->asked],
		mig->key->key.child.s, mig->key->key.instance);
}

void sim_rules_heard(struct sim_node *node, const struct ph_bmsg *msg)
{
	struct sim *sim = node->sim;
	struct sim_mig *mig = sim_mig_of(sim, &msg->id);
	const struct sim_node *from = sim_node_named(sim, &msg->from);
	if (msg->kind == PH_B_CLAIM_ANSWER && from)
		note_answers(node, from, msg);
	if (msg->kind == PH_B_VOID) {
		struct sim_key *key = sim_key_of(sim, &msg->key);
		if (key) {
			key->void_id[node->no] = msg->id;
			key->void_gen[node->no] = node->gen;
		}
	}
	if (!mig)
		return;
	mig->heard[node->who == mig->b->who] |= bit((unsigned)msg->kind);
	bool question = msg->kind == PH_B_COMMIT || msg->kind == PH_B_ABORT;
	/* Its sender has not synced its number yet, and counts as an earlier life until then. */
	question = question && sim_check_hears(node, msg);
	if (question && node->who == mig->b->who)
		mig->asked_last_us = sim->now_us;
	if (question && node->who == mig->b->who && mig->key && !mig->asked_us) {
		mig->asked = msg->kind;
		mig->asked_us = sim->now_us;
		mig->asked_gen = node->gen;
		sim_after(sim, ANSWER_US, is_answered, mig, NULL);
	}
}

/* ---- what is written ---- */

static bool heard(const struct sim_mig *mig, bool b, enum ph_bkind kind)
{
	return mig->heard[b] >> kind & 1;
}

static void forgets(struct sim_node *node, const struct sim_mig *mig)
{
	const struct sim_node *peer = node->who == mig->a->who ? mig->b : mig->a;
	bool refused = heard(mig, false, PH_B_NACK) || heard(mig, false, PH_B_REJECT) ||
		       heard(mig, false, PH_B_ABORTED);
	bool confirmed = node->who == mig->a->who
				 ? !mig->final_left || refused || heard(mig, false, PH_B_FORGOTTEN)
				 : heard(mig, true, PH_B_FORGET);
	/* One that has left, by this node's view, will never ask again. */
	if (!confirmed && peer->hub && live_members(node) >> peer->who & 1)
		sim_fail(node->sim, "%s forgets the outcome of %s/%u, which %s has not confirmed",
			node->name.s, mig->key->key.child.s, mig->key->key.instance, peer->name.s);
}

/*
 * There is one first view. Only where a clone, which has nothing of what its name has promised, met
 * others that are new, and nobody else was there to tell, can there be another one.
 */
static void founds(struct sim_node *node, const struct ph_record *record)
{
	struct sim *sim = node->sim;
	uint64_t digest = ph_hash_bytes(PH_HASH_SEED, record->text, strlen(record->text));
	bool cloned = sim->journals_lost > 0;
	if (!sim->founded)
		sim->founded = digest;
	if (sim->founded == digest)
		return;
	for (unsigned i = 0; i < sim->n_nodes; i++)
		cloned |= sim_node_twin(&sim->nodes[i]);
	sim->refounded = true;
	if (!cloned)
		sim_fail(sim, "%s is of a second first view: %s", node->name.s, record->text);
}

void sim_rules_record(struct sim_node *node, const struct ph_record *record)
{
	struct sim *sim = node->sim;
	if (record->kind == PH_RECORD_VIEW && record->epoch == 1)
		founds(node, record);
	struct sim_mig *mig = sim_mig_of(sim, &record->id);
	if (!mig || !mig->key || sim->lax || !mig->b)
		return;
	if (record->kind == PH_RECORD_FORGET && mig->a != mig->b)
		forgets(node, mig);
	else if (mig->key->def->spec.local)
		return; /* nobody else may have it: there is nobody to ask */
	else if (record->kind == PH_RECORD_COMMIT && node->who == mig->a->who)
		must_be_granted(node, mig->key, record->revision, bit(mig->b->who), "commit");
	else if (record->kind == PH_RECORD_ACTIVE && node->who == mig->b->who &&
		 !heard(mig, true, PH_B_COMMIT) &&
		 !(mig->a == mig->b && synced(node, &mig->id, PH_RECORD_COMMIT)))
		must_be_granted(node, mig->key, record->revision, 0, "a takeover");
}

/* ---- what workers are told ---- */

/* O may go on only where nobody else can have become the owner. */
static void resumes(struct sim_node *node, const struct sim_mig *mig, const struct ph_wmsg *msg)
{
	struct sim *sim = node->sim;
	bool refused = heard(mig, false, PH_B_NACK) || heard(mig, false, PH_B_REJECT) ||
		       heard(mig, false, PH_B_ABORTED);
	bool commits = mig->commit_left || synced(node, &mig->id, PH_RECORD_COMMIT);
	bool swap = mig->a == mig->b; /* what its two sides say to each other is not seen here */
	if (mig->key->def->spec.local)
		return;
	if (msg->epoch > mig->epoch && !commits)
		must_be_asked(node, mig->key, msg->epoch);
	else if (msg->epoch > mig->epoch)
		must_be_granted(node, mig->key, msg->epoch, 0, "a return");
	else if (swap && (synced(node, &mig->id, PH_RECORD_COMMIT) || mig->active_synced))
		sim_fail(sim, "%s resumes %s/%u after commit without a claim", node->name.s,
			mig->key->key.child.s, mig->key->key.instance);
	else if (swap)
		return;
	else if (mig->commit_left)
		sim_fail(sim, "%s resumes %s/%u after commit without a claim", node->name.s,
			mig->key->key.child.s, mig->key->key.instance);
	else if (mig->final_left && !refused && !synced(node, &mig->id, PH_RECORD_VOID))
		sim_fail(sim, "%s resumes %s/%u after final without the target's word or void",
			node->name.s, mig->key->key.child.s, mig->key->key.instance);
	else if (mig->final_left && !refused && !mig->void_told && live_members(node))
		sim_fail(sim, "%s resumes %s/%u by a void that nobody was told", node->name.s,
			mig->key->key.child.s, mig->key->key.instance);
}

struct names {
	const struct sim_proc *proc;
	bool found;
};

static bool names_it(void *arg, const struct ph_entry_view *view)
{
	struct names *names = arg;
	names->found |= view->owned && view->entry.pid == names->proc->pid &&
			ph_key_equal(&view->entry.key, &names->proc->key->key);
	return true;
}

/* There is nobody (any more) to whom it could send its clients. */
static bool heir_is_gone(const struct sim_proc *proc)
{
	return !proc->heir ||
	       (proc->node->hub && !(live_members(proc->node) & bit(proc->heir->no)));
}

/* O has been told `committed`, and is stopped now. */
void sim_rules_stop(struct sim_proc *proc)
{
	struct sim_node *node = proc->node;
	struct sim *sim = node->sim;
	bool ordered = node->shutting || proc->key->stopped_by_order || proc->misbehaves;
	sim_check_unwanted(proc);
	if (!proc->committed_us || proc->stop_seen)
		return;
	proc->stop_seen = true;
	/* All of it is stopped; what the fence has begun it ends, though there is a quorum again.
	 */
	bool fenced = proc->fenced || (node->hub && ph_hub_quorum(node->hub) == 0);
	if (ordered || fenced || sim->false_verdict || sim->lax)
		return;
	/* Without readiness the retention was the new one's test, before the commit. */
	bool tested = proc->key->def->spec.ready == PH_READY_NONE;
	if (!proc->handled && !tested && !heir_is_gone(proc) &&
		sim_node_ms(node) + 1 < proc->committed_ms + proc->retention_ms)
		sim_fail(sim, "%s stops pid %u of %s/%u before its retention is over", node->name.s,
			proc->pid, proc->key->key.child.s, proc->key->key.instance);
	if (sim->now_us >= proc->committed_us + CONFIRM_MAX_US)
		return;
	uint64_t live = live_members(node);
	for (unsigned i = 0; i < sim->n_nodes; i++) {
		struct sim_node *other = &sim->nodes[i];
		struct names names = {.proc = proc};
		if (!(live >> i & 1) || !other->hub || !ph_hub_joined(other->hub))
			continue;
		ph_hub_entries(
			other->hub, sim_node_ms(other), &proc->key->key.child, names_it, &names);
		if (names.found)
			sim_fail(sim, "%s stops pid %u of %s/%u, for which %s still names it",
				node->name.s, proc->pid, proc->key->key.child.s,
				proc->key->key.instance, other->name.s);
	}
}

void sim_rules_tell(struct sim_proc *proc, const struct ph_wmsg *msg)
{
	struct sim_node *node = proc->node;
	struct sim *sim = node->sim;
	struct sim_mig *mig = sim_mig_of(sim, &msg->id);
	if (msg->op == PH_W_STOP)
		sim_rules_stop(proc);
	if (msg->op == PH_W_COMMITTED && !proc->committed_us) {
		proc->committed_us = sim->now_us;
		proc->committed_ms = sim_node_ms(node);
		proc->heir = mig ? mig->b : NULL;
		proc->retention_ms = msg->retention_ms;
	}
	if (!mig || !mig->key || sim->lax)
		return;
	mig->dropped |= msg->op == PH_W_ABORT;
	if (msg->op == PH_W_ACTIVATE && !synced(node, &msg->id, PH_RECORD_ACTIVE))
		sim_fail(sim, "%s activates pid %u before active is synced", node->name.s,
			proc->pid);
	if (msg->op == PH_W_RESUME && node->who == mig->a->who && proc == mig->old)
		resumes(node, mig, msg);
}

/* ---- what a lookup answers ---- */

struct epoch {
	const struct ph_key *key;
	uint64_t epoch; /* 0: nobody's */
};

static bool see_epoch(void *arg, const struct ph_entry_view *view)
{
	struct epoch *now = arg;
	if (view->owned && ph_key_equal(&view->entry.key, now->key))
		now->epoch = view->entry.epoch;
	return true;
}

/* A registry goes from one owner to a later one, or to none. */
void sim_rules_changed(struct sim_node *node, const struct ph_key *name)
{
	struct sim_key *key = sim_key_of(node->sim, name);
	struct epoch now = {.key = name};
	if (!key || !node->hub || key->def->spec.local)
		return;
	if (key->known_gen[node->no] != node->gen)
		key->known[node->no] = 0;
	ph_hub_entries(node->hub, sim_node_ms(node), &name->child, see_epoch, &now);
	if (now.epoch && now.epoch < key->known[node->no])
		sim_fail(node->sim, "the registry of %s goes back to an earlier owner of %s/%u",
			node->name.s, name->child.s, name->instance);
	key->known[node->no] = now.epoch;
	key->known_gen[node->no] = node->gen;
}
