/* Two owners meet: which one goes on, how it gets above both, what becomes of the other's state. */
#include "core/conflict.h"
#include "core/heal.h"
#include "core_puppet.h"

#define E(n) ((uint64_t)(n) << PH_EPOCH_SLOT_BITS | 2)

/* ---- the rule ---- */

static struct ph_copy copies[4 * 3 * 4 * 3];
static size_t n_copies;

/* All of them with different epochs, as epochs are. */
static void make_copies(void)
{
	n_copies = 0;
	for (uint64_t born = 0; born < 4; born++)
		for (int lineage = 0; lineage < PH_LINEAGE_COUNT; lineage++)
			for (uint64_t copied = 0; copied < 4; copied++)
				for (uint64_t e = 0; e < 3; e++, n_copies++)
					copies[n_copies] =
						(struct ph_copy){(enum ph_lineage)lineage, born,
							copied, E((n_copies * 37) % 1009 + 1)};
}

START_TEST(all_pairs)
{
	make_copies();
	for (size_t a = 0; a < n_copies; a++) {
		ck_assert(!ph_heal_better(&copies[a], &copies[a]));
		for (size_t b = 0; b < n_copies; b++) {
			bool ab = ph_heal_better(&copies[a], &copies[b]);
			ck_assert(a == b || ab != ph_heal_better(&copies[b], &copies[a]));
			for (size_t c = 0; ab && c < n_copies; c++)
				if (ph_heal_better(&copies[b], &copies[c]))
					ck_assert(ph_heal_better(&copies[a], &copies[c]));
		}
	}
}
END_TEST

/* The better one first. */
static const struct {
	struct ph_copy better, worse;
} pairs[] = {
	/* one beginning: the word, in the order of the text, whatever the epochs */
	{{PH_LINEAGE_CONTINUED, 5, 0, E(1)}, {PH_LINEAGE_FROM_COPY, 5, 9, E(9)}},
	{{PH_LINEAGE_CONTINUED, 5, 0, E(1)}, {PH_LINEAGE_COLD, 5, 0, E(9)}},
	{{PH_LINEAGE_FROM_COPY, 5, 9, E(1)}, {PH_LINEAGE_COLD, 5, 0, E(9)}},
	/* then the newer copy, then the epoch */
	{{PH_LINEAGE_FROM_COPY, 5, 9, E(1)}, {PH_LINEAGE_FROM_COPY, 5, 8, E(9)}},
	{{PH_LINEAGE_FROM_COPY, 5, 9, E(2)}, {PH_LINEAGE_FROM_COPY, 5, 9, E(1)}},
	{{PH_LINEAGE_CONTINUED, 5, 0, E(2)}, {PH_LINEAGE_CONTINUED, 5, 0, E(1)}},
	{{PH_LINEAGE_COLD, 5, 0, E(2)}, {PH_LINEAGE_COLD, 5, 0, E(1)}},
	/* begun from nothing later: cold beside the other, however it came where it is now */
	{{PH_LINEAGE_CONTINUED, 5, 0, E(1)}, {PH_LINEAGE_COLD, 6, 0, E(9)}},
	{{PH_LINEAGE_CONTINUED, 5, 0, E(1)}, {PH_LINEAGE_CONTINUED, 6, 0, E(9)}},
	{{PH_LINEAGE_FROM_COPY, 5, 5, E(1)}, {PH_LINEAGE_CONTINUED, 6, 0, E(9)}},
	{{PH_LINEAGE_COLD, 5, 0, E(1)}, {PH_LINEAGE_COLD, 6, 0, E(9)}},
	/* no state at all */
	{{PH_LINEAGE_COLD, 7, 0, E(1)}, {PH_LINEAGE_CONTINUED, 0, 0, E(9)}},
};

START_TEST(the_better_first)
{
	ck_assert(ph_heal_better(&pairs[_i].better, &pairs[_i].worse));
	ck_assert(!ph_heal_better(&pairs[_i].worse, &pairs[_i].better));
}
END_TEST

/* ---- among puppets ---- */

static struct ph_slot *room(struct world *w, unsigned node)
{
	return w_slot(w, node, "room", 0);
}

static struct w_proc *worker(struct world *w, unsigned node)
{
	size_t i = 0;
	while (w->procs[i].node != node || !w->procs[i].alive)
		ck_assert_uint_lt(++i, w->n_procs);
	return &w->procs[i];
}

static bool answers_claims = true;
static enum ph_verdict verdict;
static uint64_t claimed;
static bool answer_claim(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	if (msg->kind != PH_B_CLAIM || !msg->n_claims || from != 0)
		return true;
	if (msg->claims[0].basis != PH_CLAIM_COMMIT) { /* of a swap */
		ck_assert_int_eq(msg->claims[0].basis, PH_CLAIM_HEAL);
		ck_assert_uint_ne(msg->claims[0].born_ms, 0);
		claimed = msg->claims[0].epoch;
	}
	if (!answers_claims)
		return true;
	struct ph_bmsg *answer = p_msg(w, to, PH_B_CLAIM_ANSWER);
	struct ph_claim_line *line = w_copy(w, msg->claims, sizeof *line);
	line->verdict = verdict;
	line->node = w_name(to);
	answer->claim = msg->claim;
	answer->claims = line;
	answer->n_claims = 1;
	return true;
}

/* From b, of its own or of another one: born `later` ms after the state that a has. */
static void hears_of(
	struct world *w, unsigned node, int64_t later, uint64_t epoch, enum ph_child_state state)
{
	struct ph_bmsg *msg = p_msg(w, 1, PH_B_REGISTRY);
	struct ph_entry *e = w_alloc(w, sizeof *e);
	*e = (struct ph_entry){.key = ph_slot_key(room(w, 0)),
		.node = w_name(node),
		.epoch = epoch,
		.version = 7,
		.state = state,
		.lineage = PH_LINEAGE_CONTINUED,
		.born_ms = (uint64_t)((int64_t)room(w, 0)->entry.born_ms + later),
		.role = PH_ROLE_ACTIVE};
	msg->entries = e;
	msg->n_entries = 1;
	msg->until = 9;
	msg->last = true;
	w_drain(w);
}

static void hears(struct world *w, int64_t later, uint64_t epoch, enum ph_child_state state)
{
	hears_of(w, 1, later, epoch, state);
}

static struct world *with_worker(uint32_t caps)
{
	struct world *w = p_world(w_room_of_a, true);
	w->mute = NULL;
	w->nodes[0].manual_disk = false;
	w->pass = answer_claim;
	w->defs[0].traits.caps = caps;
	w_sync_all(w, 0);
	w_run(w, 500);
	answers_claims = true;
	verdict = PH_VERDICT_FREE;
	claimed = 0;
	return w;
}

/* The other one began later, or has let it go: this one goes on, above both. */
START_TEST(the_winner_goes_above_both)
{
	struct world *w = with_worker(PH_CAP_HANDOVER);
	struct w_proc *p = worker(w, 0);
	uint32_t pid = p->pid;
	w->nodes[0].manual_disk = true;
	hears(w, 1000, E(50), _i ? PH_CHILD_RELEASED : PH_CHILD_RUNNING);
	ck_assert_uint_gt(claimed, E(50));
	/* Nobody hears of it before it is synced; the entry keeps its epoch. */
	ck_assert_str_eq(room(w, 0)->entry.node->name.s, "a");
	ck_assert_uint_lt(room(w, 0)->entry.epoch, E(50));
	p_disk(w, false);
	ck_assert_uint_eq(room(w, 0)->entry.epoch, claimed);
	ck_assert_uint_eq(p->epoch, claimed);
	ck_assert_uint_eq(w_only(w, "room", 0)->pid, pid);
	ck_assert_uint_eq(p->conflicts + p->stops, 0);
	w_free(w);
}
END_TEST

/*
 * Across a cut the other one had a copy, and has removed the child: what lives here does not stop
 * for that. This node's file declares it: it goes on above both (0). It does not, and nobody says
 * that he does: it is removed here, too, but only then (1).
 */
START_TEST(removed_on_the_other_side)
{
	struct world *w = with_worker(PH_CAP_HANDOVER);
	struct ph_child *child = room(w, 0)->child;
	struct w_proc *p = worker(w, 0);
	uint32_t pid = p->pid;
	uint64_t removed = child->spec->revision;
	if (_i) {
		w->nodes[0].n_specs = 0;
		w_configure(w, 0);
		w_drain(w);
		child->dropped = false; /* somebody has said that he declares it */
	}
	struct ph_bmsg *msg = p_msg(w, 1, PH_B_REGISTRY);
	struct ph_entry *e = w_alloc(w, sizeof *e);
	*e = (struct ph_entry){.key = ph_slot_key(room(w, 0)),
		.node = w_name(1),
		.epoch = E(50),
		.version = 7,
		.revision = removed,
		.state = PH_CHILD_REMOVED,
		.role = PH_ROLE_ACTIVE};
	msg->entries = e;
	msg->n_entries = 1;
	msg->until = 9;
	msg->last = true;
	w_run(w, 500);
	ck_assert_uint_eq(p->conflicts + p->stops, 0);
	ck_assert_uint_eq(w_only(w, "room", 0)->pid, pid);
	ck_assert_uint_gt(room(w, 0)->entry.epoch, E(50));
	ck_assert_int_eq(child->disputed, _i);
	ck_assert_int_eq(child->spec->revision > removed, !_i);
	w_run(w, 12000);
	ck_assert_uint_eq(w_alive(w, 0), !_i);
	w_free(w);
}
END_TEST

/* Another node of this one's name had it since, and has gone: others name this one at its epoch. */
START_TEST(a_namesakes_epoch_is_passed)
{
	struct world *w = with_worker(PH_CAP_HANDOVER);
	struct w_proc *p = worker(w, 0);
	uint32_t pid = p->pid;
	hears_of(w, 0, 0, room(w, 0)->entry.epoch, PH_CHILD_RUNNING); /* that is its own */
	ck_assert_uint_eq(claimed, 0);
	hears_of(w, 0, 1000, E(50), _i ? PH_CHILD_RELEASED : PH_CHILD_RUNNING);
	ck_assert_uint_gt(claimed, E(50));
	ck_assert_uint_eq(room(w, 0)->entry.epoch, claimed);
	ck_assert_uint_eq(p->epoch, claimed);
	ck_assert_uint_eq(w_only(w, "room", 0)->pid, pid);
	w_free(w);
}
END_TEST

/* A swap of it is given up for that, and its new worker takes long to end: nobody waits for it. */
START_TEST(a_swap_that_is_given_up_holds_up_nothing)
{
	struct world *w = with_worker(PH_CAP_HANDOVER);
	struct w_proc *p = worker(w, 0);
	w->defs[0].traits.mute_load = w->defs[0].traits.deaf = true;
	w_order(w, 0, PH_VERB_SWAP, "room", NULL, NULL);
	w_run(w, 500);
	ck_assert_uint_eq(w_alive(w, 0), 2);
	hears(w, 1000, E(50), PH_CHILD_RUNNING);
	w_run(w, 500);
	hears(w, 1000, E(50), PH_CHILD_RUNNING); /* it is told again until it goes above that */
	w_run(w, 500);
	ck_assert_uint_eq(w_alive(w, 0), 2);
	ck_assert_uint_gt(claimed, E(50));
	ck_assert_uint_eq(room(w, 0)->entry.epoch, claimed);
	ck_assert_uint_eq(p->epoch, claimed);
	w_run(w, 8000);
	ck_assert_ptr_eq(w_only(w, "room", 0), p);
	w_free(w);
}
END_TEST

/* It is being swapped, and the other one has let its own go: that is no word of the swap's. */
START_TEST(a_release_during_a_swap)
{
	struct world *w = with_worker(PH_CAP_HANDOVER);
	w_order(w, 0, PH_VERB_SWAP, "room", NULL, NULL);
	w_run(w, 1000);
	ck_assert_int_eq(room(w, 0)->work->source->state, PH_SOURCE_RETAINING);
	hears(w, 1000, E(50), PH_CHILD_RELEASED);
	ck_assert_str_eq(room(w, 0)->entry.node->name.s, "a");
	ck_assert_uint_lt(room(w, 0)->entry.epoch, E(50));
	w_run(w, 8000);
	(void)w_only(w, "room", 0);
	w_free(w);
}
END_TEST

/*
 * A migration of it was given up for that, and took its time: before the next one it goes above the
 * other epoch, unless it has done so meanwhile (1).
 */
START_TEST(above_it_before_it_is_moved)
{
	struct world *w = with_worker(PH_CAP_HANDOVER);
	struct ph_slot *slot = room(w, 0);
	uint64_t before = slot->entry.epoch;
	ph_slot_seen(w->nodes[0].hub, slot, E(50));
	ph_slot_work(w->nodes[0].hub, slot)->above = _i ? before : E(50);
	const struct ph_command forced = {.force = true, .no_wait = true};
	w_order(w, 0, PH_VERB_MOVE, "room", "b", &forced);
	ck_assert_int_eq(w->nodes[0].answer.error, 0);
	w_run(w, 2000);
	ck_assert_int_eq(claimed > E(50), !_i);
	ck_assert_uint_gt(w->nodes[0].sent[PH_B_PREPARE], 0);
	ck_assert_int_eq(slot->entry.epoch > E(50), !_i);
	w_free(w);
}
END_TEST

/* A better copy that a does not know of objects: it goes on as before, and asks again when told. */
START_TEST(a_better_one_objects)
{
	struct world *w = with_worker(PH_CAP_HANDOVER);
	uint64_t epoch = room(w, 0)->entry.epoch;
	verdict = PH_VERDICT_OWNED;
	hears(w, 1000, E(50), PH_CHILD_RUNNING);
	ck_assert_uint_ne(claimed, 0);
	ck_assert_uint_eq(room(w, 0)->entry.epoch, epoch);
	(void)w_only(w, "room", 0);
	claimed = 0;
	hears(w, 1000, E(50), PH_CHILD_RUNNING);
	ck_assert_uint_ne(claimed, 0);
	w_free(w);
}
END_TEST

/* What a says to the heal of another one: the worse copy is no veto. */
START_TEST(the_loser_has_no_veto)
{
	struct world *w = with_worker(PH_CAP_HANDOVER);
	struct ph_bmsg *msg = p_msg(w, 1, PH_B_CLAIM);
	struct ph_claim_line line = {.key = ph_slot_key(room(w, 0)),
		.epoch = E(60),
		.basis = PH_CLAIM_HEAL,
		.node = w_name(1),
		.lineage = PH_LINEAGE_CONTINUED,
		.seen = E(50)};
	line.born_ms = (uint64_t)((int64_t)room(w, 0)->entry.born_ms + (_i ? 1 : -1));
	msg->claims = &line;
	msg->n_claims = 1;
	w->pass = NULL;
	w_drain(w);
	ck_assert_uint_eq(w->nodes[0].sent[PH_B_CLAIM_ANSWER], 1);
	ck_assert_uint_eq(room(w, 0)->seen >= E(60), !_i);
	w_free(w);
}
END_TEST

/* What a third node, which owns nothing of it, hears: of b first, then of c at a higher epoch. */
static const struct {
	unsigned author; /* of the second word */
	uint64_t b_born, c_born;
	bool b_dead, stays;
} thirds[] = {
	{2, 100, 200, false, true},  /* b is about to go above both */
	{2, 200, 100, false, false}, /* c has the better copy */
	{2, 100, 100, false, false}, /* a handover */
	{2, 100, 0, false, false},   /* c has none yet: it may have been given the child */
	{1, 100, 200, false, false}, /* b itself says so */
	{2, 0, 200, false, false},   /* b has no process */
	{2, 100, 200, true, false},  /* b will never say more */
};

START_TEST(a_third_one_waits)
{
	struct world *w = with_worker(PH_CAP_HANDOVER);
	struct ph_key key = {.child = ph_name_of("other")};
	for (unsigned n = 1; n <= 2; n++) {
		struct ph_bmsg *msg = p_msg(w, n == 1 ? 1 : thirds[_i].author, PH_B_REGISTRY);
		struct ph_entry *e = w_alloc(w, sizeof *e);
		*e = (struct ph_entry){.key = key,
			.node = w_name(n),
			.epoch = E(10 * n),
			.version = n,
			.state = PH_CHILD_RUNNING,
			.lineage = PH_LINEAGE_CONTINUED,
			.born_ms = n == 1 ? thirds[_i].b_born : thirds[_i].c_born};
		msg->entries = e;
		msg->n_entries = 1;
		msg->until = 9;
		msg->last = true;
		w_drain(w);
		if (thirds[_i].b_dead)
			p_dead(w, 1);
	}
	ck_assert_str_eq(
		w_slot(w, 0, "other", 0)->entry.node->name.s, thirds[_i].stays ? "b" : "c");
	ck_assert_uint_eq(w_slot(w, 0, "other", 0)->seen, E(20));
	w_free(w);
}
END_TEST

/* ---- the loser ---- */

enum ending {
	KEPT,
	NO_ROOM,
	WRONG_LENGTH,
	REFUSED,
	MUTE,
	DIES,
	NO_CAP,
	ENDINGS
};

static bool no_conflict(struct world *w, struct w_proc *p, const struct ph_wmsg *msg)
{
	(void)w;
	p->conflicts += msg->op == PH_W_CONFLICT;
	return msg->op == PH_W_CONFLICT;
}

static const char *const texts[ENDINGS] = {
	[KEPT] = "",
	[NO_ROOM] = "there is no room left",
	[WRONG_LENGTH] = "its state was not as long as its worker said",
	[REFUSED] = "its worker refused to hand over its state",
	[MUTE] = "its worker did not hand over its state in time",
	[DIES] = "its worker ended before its state was there",
	[NO_CAP] = "its worker does not hand over its state",
};

START_TEST(the_loser_is_taken_and_stopped)
{
	struct world *w = with_worker(_i == NO_CAP ? 0 : PH_CAP_HANDOVER);
	struct w_proc *p = worker(w, 0);
	uint64_t epoch = room(w, 0)->entry.epoch;
	w->nodes[0].hub->set.failure_timeout_ms = 60000; /* b is silent, and lives */
	w->keep_fails = _i == NO_ROOM;
	w->keep_more = _i == WRONG_LENGTH;
	w->defs[0].traits.refuses_conflict = _i == REFUSED;
	if (_i == NO_CAP)
		room(w, 0)->work->instance->caps = 0;
	if (_i == MUTE || _i == DIES)
		w->mute = no_conflict;
	hears(w, -1000, E(50), PH_CHILD_RUNNING);
	if (_i == DIES)
		w_kill(w, p);
	w_run(w, 10);
	for (int i = 0; p->alive && i < 120; i++)
		w_run(w, 100);
	ck_assert_uint_eq(p->conflicts, _i != NO_CAP);
	ck_assert(!p->alive);
	ck_assert_uint_eq(p->stops, _i != DIES);
	ck_assert_str_eq(room(w, 0)->entry.node->name.s, "b");
	ck_assert_uint_eq(w->nodes[0].emitted[PH_EMIT_CONFLICT_RESOLVED], 1);
	ck_assert_str_eq(w->resolved_kept, _i == KEPT ? "conflicts/room-0-1" : "");
	ck_assert_str_eq(w->resolved_text, texts[_i]);
	ck_assert_int_eq(w->keeps, _i == KEPT);
	ck_assert_str_eq(w->resolved.from.s, "a");
	ck_assert_str_eq(w->resolved.to.s, "b");
	ck_assert_uint_eq(w->resolved.from_epoch, epoch);
	ck_assert_uint_eq(w->resolved.epoch, E(50));
	w_free(w);
}
END_TEST

enum hook {
	HOOK_ENDS_WELL,
	HOOK_FAILS,
	HOOK_FOR_NOTHING, /* its state was not kept */
	HOOKS
};

/* The hook gets the file and who has won; only if it ends well the file goes. */
START_TEST(the_hook_gets_the_state)
{
	struct world *w = with_worker(PH_CAP_HANDOVER);
	struct w_proc *p = worker(w, 0);
	uint64_t epoch = room(w, 0)->entry.epoch;
	bool well = _i == HOOK_ENDS_WELL, nothing = _i == HOOK_FOR_NOTHING;
	w->nodes[0].hub->set.failure_timeout_ms = 60000;
	w->nodes[0].hub->set.merges = true;
	w->hook_fails = _i == HOOK_FAILS;
	w->keep_fails = nothing;
	memcpy(room(w, 0)->work->instance->format, "rooms", sizeof "rooms");
	room(w, 0)->work->instance->format_version = 3;
	hears(w, -1000, E(50), PH_CHILD_RUNNING);
	w_run(w, 10);
	ck_assert(!p->alive);
	ck_assert_uint_eq(w->hooks, !nothing);
	ck_assert_uint_eq(w->nodes[0].emitted[PH_EMIT_CONFLICT_RESOLVED], 1);
	ck_assert_int_eq(w->resolved.merged, well);
	ck_assert_str_eq(w->resolved_kept, _i == HOOK_FAILS ? "conflicts/room-0-1" : "");
	ck_assert_str_eq(w->resolved_text, nothing ? texts[NO_ROOM] : "");
	ck_assert_int_eq(w->keeps, _i == HOOK_FAILS);
	if (!nothing) {
		ck_assert_str_eq(w->hook.file, "conflicts/room-0-1");
		ck_assert_str_eq(w->hook.winner.s, "b");
		ck_assert_uint_eq(w->hook.winner_epoch, E(50));
		ck_assert_uint_eq(w->hook.epoch, epoch);
		ck_assert_str_eq(w->hook.format, "rooms");
		ck_assert_uint_eq(w->hook.format_version, 3);
		ck_assert_str_eq(w->hook.key.child.s, "room");
		ck_assert_ptr_null(w->hook.winner_meta);
	}
	w_free(w);
}
END_TEST

/* Neither the worker's end nor that of others waits for it; the winner is told when it is over. */
START_TEST(a_hook_holds_up_nothing)
{
	struct world *w = with_worker(PH_CAP_HANDOVER);
	struct ph_hub *hub = w->nodes[0].hub;
	struct w_proc *p = worker(w, 0);
	hub->set.failure_timeout_ms = 60000;
	hub->set.merges = true;
	w->hook_hangs = true;
	hears(w, -1000, E(50), PH_CHILD_RUNNING);
	w_run(w, 3000);
	ck_assert(!p->alive);
	ck_assert_uint_eq(w->hooks, 1);
	ck_assert_int_eq(hub->conflicts->state, PH_CONFLICT_MERGING);
	ck_assert(!ph_conflict_holds(hub, PH_SLOT_KEY(room(w, 0))));
	ck_assert_uint_eq(w->nodes[0].sent[PH_B_CONFLICT], 0);
	struct ph_event *event = w_push(w, 0, PH_EV_HOOKED);
	event->id = hub->conflicts->id;
	w_run(w, 10);
	ck_assert_uint_eq(w->nodes[0].sent[PH_B_CONFLICT], 1);
	ck_assert(w->resolved.merged);
	ck_assert(!w->keeps);
	event = w_push(w, 0, PH_EV_HOOKED); /* as if it had failed, too late */
	event->id = hub->conflicts->id;
	event->error = ECANCELED;
	w_run(w, 10);
	ck_assert_uint_eq(w->nodes[0].emitted[PH_EMIT_CONFLICT_RESOLVED], 1);
	w_free(w);
}
END_TEST

static struct ph_conflict *kept(struct ph_hub *hub, const struct ph_key *key, unsigned i)
{
	struct ph_conflict *c = calloc(1, sizeof *c);
	*c = (struct ph_conflict){.key = *key,
		.winner = w_name(1),
		.state = PH_CONFLICT_KEPT,
		.kept = true,
		.timer = {.kind = PH_TIMER_CONFLICT, .owner = c}};
	c->id.b[0] = (unsigned char)(i + 1);
	DL_APPEND(hub->conflicts, c);
	return c;
}

/* PH_MERGES_MAX at a time, each in its turn; and once more nothing is to be merged (reloaded,
 * stopped), the others are over, with their files. */
START_TEST(hooks_have_their_turns)
{
	struct world *w = with_worker(PH_CAP_HANDOVER);
	struct ph_hub *hub = w->nodes[0].hub;
	struct ph_hub_counts counts;
	struct ph_conflict *all[PH_MERGES_MAX + 4];
	const unsigned n = PH_MERGES_MAX + 4;
	hub->set.failure_timeout_ms = 60000;
	hub->set.merges = w->hook_hangs = true;
	for (unsigned i = 0; i < n; i++)
		all[i] = kept(hub, PH_SLOT_KEY(room(w, 0)), i);
	p_begin(w);
	ph_conflict_step(hub, all[0], PH_CONFLICT_IN_GONE);
	p_end(w);
	ck_assert_uint_eq(w->hooks, PH_MERGES_MAX);
	w_push(w, 0, PH_EV_HOOKED)->id = all[1]->id;
	w_drain(w);
	ck_assert_uint_eq(w->hooks, PH_MERGES_MAX + 1);
	ck_assert_int_eq(all[PH_MERGES_MAX]->state, PH_CONFLICT_MERGING);
	ck_assert_int_eq(all[PH_MERGES_MAX + 1]->state, PH_CONFLICT_KEPT);
	if (_i) {
		w_push(w, 0, PH_EV_SHUTDOWN);
	} else {
		hub->set.merges = false;
		w_push(w, 0, PH_EV_HOOKED)->id = all[0]->id;
	}
	w_run(w, 100);
	ck_assert_uint_eq(w->hooks, PH_MERGES_MAX + 1);
	ck_assert_int_eq(all[n - 1]->state, PH_CONFLICT_TELLING);
	ck_assert_uint_eq(w->nodes[0].emitted[PH_EMIT_CONFLICT_RESOLVED], _i ? 4 : 5);
	w_run(w, 5000);
	ck_assert(!w->nodes[0].exited); /* a stop waits for those that run ... */
	for (unsigned i = _i ? 0 : 2; i <= PH_MERGES_MAX; i++)
		if (i != 1)
			w_push(w, 0, PH_EV_HOOKED)->id = all[i]->id;
	w_drain(w);
	ck_assert_uint_eq(w->nodes[0].emitted[PH_EMIT_CONFLICT_RESOLVED], n);
	ck_assert_int_eq(w->nodes[0].exited, _i); /* ... and no longer */
	if (!_i) {
		w_run(w, 2 * PH_TELL_MS);
		ph_hub_count(hub, &counts);
		ck_assert_uint_eq(counts.conflicts, 0);
	}
	w_free(w);
}
END_TEST

/* The winner dies before the loser has gone: it is all that is left, and goes on, with the newest
 * text. */
START_TEST(the_last_copy_goes_on)
{
	struct world *w = with_worker(PH_CAP_HANDOVER);
	struct w_proc *p = worker(w, 0);
	uint32_t pid = p->pid;
	p->value = 42;
	w->mute = no_conflict;
	w->pass = NULL;
	hears(w, -1000, E(50), PH_CHILD_RUNNING);
	ck_assert_str_eq(room(w, 0)->entry.node->name.s, "b");
	ck_assert_uint_eq(p->conflicts, 1);
	struct ph_hub *hub = w->nodes[0].hub;
	p_begin(w);
	ph_child_live_on(hub, room(w, 0)->child);
	p_end(w);
	w_run(w, 9000); /* b and c are silent, and dead */
	ck_assert_uint_eq(room(w, 0)->entry.revision, room(w, 0)->child->spec->revision);
	ck_assert_uint_eq(w_only(w, "room", 0)->pid, pid);
	ck_assert_str_eq(room(w, 0)->entry.node->name.s, "a");
	ck_assert_uint_gt(room(w, 0)->entry.epoch, E(50));
	ck_assert_uint_eq(p->epoch, room(w, 0)->entry.epoch);
	ck_assert_uint_eq(p->resumes, 1);
	ck_assert_uint_eq(p->stops, 0);
	ck_assert_uint_ne(room(w, 0)->entry.born_ms, 0);
	w_free(w);
}
END_TEST

static unsigned told;
static bool count_told(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)w, (void)from, (void)to;
	told += msg->kind == PH_B_CONFLICT;
	return true;
}

/* The winner's node is told until it confirms, and not for ever. */
START_TEST(the_winner_is_told)
{
	struct world *w = with_worker(PH_CAP_HANDOVER);
	struct ph_hub_counts counts;
	told = 0;
	w->pass = count_told;
	hears(w, -1000, E(50), PH_CHILD_RUNNING);
	ck_assert_uint_eq(told, 1);
	w_run(w, 1000);
	ck_assert_uint_ge(told, 3);
	if (_i)
		p_msg(w, 1, PH_B_CONFLICT_ACK)->id = w->nodes[0].hub->conflicts->id;
	w_run(w, _i ? 10 : PH_TELL_MS + PH_RESEND_MAX_MS);
	ph_hub_count(w->nodes[0].hub, &counts);
	ck_assert_uint_eq(counts.conflicts, 0);
	w_free(w);
}
END_TEST

/* People hear of it once at the winner's, however often it is told. */
START_TEST(it_is_told_once)
{
	struct world *w = with_worker(PH_CAP_HANDOVER);
	for (int i = 0; i < 2; i++) {
		struct ph_bmsg *msg = p_msg(w, 1, PH_B_CONFLICT);
		msg->id.b[0] = 4;
		msg->key = ph_slot_key(room(w, 0));
		msg->epoch = E(60);
		msg->seen = E(50);
		msg->ok = true;
		ph_reason(msg->reason, "conflicts/x");
		w_drain(w);
	}
	ck_assert_uint_eq(w->nodes[0].sent[PH_B_CONFLICT_ACK], 2);
	ck_assert_uint_eq(w->nodes[0].emitted[PH_EMIT_CONFLICT_RESOLVED], 1);
	ck_assert_str_eq(w->resolved.from.s, "b");
	ck_assert_str_eq(w->resolved.to.s, "a");
	ck_assert_str_eq(w->resolved_kept, "conflicts/x");
	w_free(w);
}
END_TEST

/* At most migrations_max are asked at a time, and each has its turn. */
START_TEST(they_are_asked_in_turns)
{
	struct world *w = with_worker(PH_CAP_HANDOVER);
	struct ph_hub *hub = w->nodes[0].hub;
	const struct ph_name winner = w_name(1);
	struct ph_instance *first = room(w, 0)->work->instance, *second;
	hub->set.migrations_max = 1;
	w->mute = no_conflict;
	p_begin(w);
	ph_conflict_begin(hub, first, &winner, E(50));
	second = ph_instance_new(hub, room(w, 0), first->spec, PH_ROLE_ACTIVE, E(49));
	second->caps = PH_CAP_HANDOVER;
	second->state = PH_INSTANCE_RUNNING;
	second->wid = 4711;
	HASH_ADD(hh, hub->by_wid, wid, sizeof second->wid, second);
	w->procs[w->n_procs] = w->procs[0];
	w->procs[w->n_procs++].wid = 4711;
	ph_conflict_begin(hub, second, &winner, E(50));
	p_end(w);
	ck_assert_int_eq(first->conflict->state, PH_CONFLICT_ASKED);
	ck_assert_int_eq(second->conflict->state, PH_CONFLICT_WAITING);
	w_kill(w, &w->procs[0]);
	w_drain(w);
	ck_assert_int_eq(second->conflict->state, PH_CONFLICT_ASKED);
	w_free(w);
}
END_TEST

START_TEST(every_pair_is_decided)
{
	for (int state = 0; state < PH_CONFLICT_STATE_COUNT; state++)
		for (int in = 0; in < PH_CONFLICT_INPUT_COUNT; in++)
			ck_assert_msg(ph_conflict_decided((enum ph_conflict_state)state,
					      (enum ph_conflict_input)in),
				"state %d, input %d", state, in);
}
END_TEST

/* ---- where states begin ---- */

START_TEST(a_restart_in_place_begins_anew)
{
	struct world *w = with_worker(PH_CAP_HANDOVER);
	uint64_t born = room(w, 0)->entry.born_ms;
	ck_assert_uint_ne(born, 0);
	ck_assert_int_eq(room(w, 0)->entry.lineage, PH_LINEAGE_CONTINUED); /* it is ready */
	w_run(w, 1000);
	w_kill(w, worker(w, 0));
	w_drain(w);
	ck_assert_uint_eq(room(w, 0)->work->instance->wid ? 0 : room(w, 0)->entry.born_ms, 0);
	w_run(w, 1000);
	(void)w_only(w, "room", 0);
	ck_assert_uint_gt(room(w, 0)->entry.born_ms, born);
	w_free(w);
}
END_TEST

/* ---- hubs that are cut off from each other ---- */

static unsigned serving(struct world *w)
{
	unsigned n = 0;
	for (size_t i = 0; i < w->n_procs; i++)
		n += w_serves(&w->procs[i]);
	return n;
}

static struct world *cluster(unsigned n)
{
	struct world *w = w_new(n);
	struct w_def *def = w_def(w, "room", "1");
	w_declare_all(w, def);
	w_start_all(w);
	w->double_allowed = true;
	w_only(w, "room", 0)->value = 42;
	return w;
}

/* All sides own it, each other's verdict was wrong: the oldest state goes on, above all. */
START_TEST(sides_meet)
{
	unsigned n = _i & 1 ? 3 : 2;
	struct world *w = cluster(n);
	struct w_proc *old = w_only(w, "room", 0);
	uint32_t pid = old->pid;
	for (unsigned i = 0; i < n; i++)
		w_cut_off(w, i, true);
	w_run(w, 15000);
	ck_assert_uint_eq(serving(w), n);
	uint64_t highest = 0;
	for (unsigned i = 0; i < n; i++)
		if (room(w, i)->seen > highest)
			highest = room(w, i)->seen;
	if (_i & 2) { /* and its daemon is restarted before they meet */
		w_crash(w, old->node);
		w_start(w, old->node);
	}
	for (unsigned i = 0; i < n; i++)
		w_cut_off(w, i, false);
	w_run(w, 12000);
	struct w_proc *now = w_only(w, "room", 0);
	ck_assert_uint_eq(now->pid, pid);
	ck_assert_uint_eq(now->value, 42);
	ck_assert_uint_gt(now->epoch, highest);
	unsigned told_of = 0;
	for (unsigned i = 0; i < n; i++) {
		ck_assert_str_eq(room(w, i)->entry.node->name.s, w_name(now->node).s);
		ck_assert_uint_eq(room(w, i)->entry.epoch, now->epoch);
		told_of += w->nodes[i].emitted[PH_EMIT_CONFLICT_RESOLVED];
	}
	ck_assert_uint_eq(told_of, 2 * (n - 1)); /* at each loser, and of each at the winner */
	w_no_leftovers(w);
	w_free(w);
}
END_TEST

static void crash_the_loser(struct world *w)
{
	w_crash(w, w->when_node);
}

/*
 * The loser's daemon dies while a hook has the state (0; its journal was compacted: 1), or while
 * the worker is still being stopped (2; what stands in run_dir is older: 3): the next one tells
 * people of the file, at both, and neither takes the state once more nor gives it to a hook again.
 */
START_TEST(the_losers_daemon_dies)
{
	struct world *w = cluster(2);
	struct w_proc *old = w_only(w, "room", 0);
	unsigned loser = 1 - old->node;
	w_cut_off(w, 0, true);
	w_run(w, 15000);
	ck_assert_uint_eq(serving(w), 2);
	uint64_t epoch = room(w, loser)->entry.epoch;
	w->hook_hangs = w->nodes[loser].hub->set.merges = true;
	w->when = _i >= 2 ? W_AT_SYNC : W_NEVER;
	w->when_kind = PH_RECORD_CONFLICT;
	w->when_node = loser;
	w->deed = crash_the_loser;
	w_cut_off(w, 0, false);
	w_run(w, 3000);
	ck_assert_uint_eq(w->hooks, _i < 2);
	ck_assert_uint_eq(w_alive(w, loser), _i >= 2);
	if (_i == 1)
		w_compact(w, loser);
	if (_i < 2)
		w_crash(w, loser);
	ck_assert(!w->nodes[loser].up);
	ck_assert_uint_eq(w->nodes[loser].n_adopted, _i >= 2);
	if (_i == 3)
		w->nodes[loser].adopted[0].retired = false;
	for (unsigned i = 0; i < 2; i++)
		ck_assert_uint_eq(w->nodes[i].emitted[PH_EMIT_CONFLICT_RESOLVED], 0);
	for (int twice = 0; twice < 2; twice++) { /* it is told once */
		w_start(w, loser);
		w->nodes[loser].hub->set.merges = true;
		w_run(w, 12000);
		ck_assert_ptr_eq(w_only(w, "room", 0), old);
		for (unsigned i = 0; i < 2; i++)
			ck_assert_uint_eq(w->nodes[i].emitted[PH_EMIT_CONFLICT_RESOLVED], 1);
		ck_assert_str_eq(w->resolved_kept, "conflicts/room-0-1");
		ck_assert_uint_eq(w->resolved.from_epoch, epoch);
		ck_assert(!w->resolved.merged);
		ck_assert_uint_eq(w->hooks, _i < 2);
		w_crash(w, loser);
	}
	w_start(w, loser);
	w_run(w, 12000);
	w_no_leftovers(w);
	w_free(w);
}
END_TEST

/*
 * The loser's machine is lost before (0) or after (1) it has said what became of its state: people
 * hear of it at the winner's, once; and of the file, should the machine come back after all.
 */
START_TEST(the_losers_machine_dies)
{
	struct world *w = cluster(2);
	struct w_proc *old = w_only(w, "room", 0);
	unsigned winner = old->node, loser = 1 - winner;
	unsigned *emitted = &w->nodes[winner].emitted[PH_EMIT_CONFLICT_RESOLVED];
	w_cut_off(w, 0, true);
	w_run(w, 15000);
	uint64_t epoch = room(w, loser)->entry.epoch;
	w->hook_hangs = w->nodes[loser].hub->set.merges = !_i;
	w_cut_off(w, 0, false);
	w_run(w, 3000);
	ck_assert_uint_eq(*emitted, (unsigned)_i);
	w_power_off(w, loser);
	w_run(w, 4000);
	ck_assert_uint_eq(*emitted, (unsigned)_i); /* it may come back */
	w_run(w, 4000);
	ck_assert_ptr_eq(w_only(w, "room", 0), old);
	ck_assert_uint_eq(*emitted, 1);
	ck_assert_str_eq(w->resolved.from.s, w_name(loser).s);
	ck_assert_str_eq(w->resolved.to.s, w_name(winner).s);
	ck_assert_uint_eq(w->resolved.from_epoch, epoch);
	ck_assert_uint_eq(w->resolved.epoch, old->epoch);
	ck_assert_str_eq(w->resolved_kept, _i ? "conflicts/room-0-1" : "");
	ck_assert_int_eq(strstr(w->resolved_text, "its node died") != NULL, !_i);
	w_start(w, loser);
	w_run(w, 12000);
	ck_assert_uint_eq(*emitted, _i ? 1 : 2);
	ck_assert_str_eq(w->resolved_kept, "conflicts/room-0-1");
	w_power_off(w, loser);
	w_run(w, 8000);
	ck_assert_uint_eq(*emitted, _i ? 1 : 2);
	w_no_leftovers(w);
	w_free(w);
}
END_TEST

/* A handover carries its beginning on; so does the one who took the child over. */
START_TEST(a_handover_goes_on)
{
	struct world *w = cluster(2);
	struct w_proc *old = w_only(w, "room", 0);
	unsigned from = old->node, to = 1 - from;
	uint64_t born = room(w, from)->entry.born_ms;
	w_run(w, 500);
	w_order(w, 0, PH_VERB_MOVE, "room", w_name(to).s, NULL);
	w_run(w, 20000);
	struct w_proc *now = w_only(w, "room", 0);
	ck_assert_uint_eq(now->node, to);
	ck_assert_uint_eq(room(w, to)->entry.born_ms, born);
	ck_assert_uint_eq(room(w, from)->entry.born_ms, born);
	ck_assert_int_eq(room(w, to)->entry.lineage, PH_LINEAGE_CONTINUED);
	w_crash(w, to);
	w_start(w, to);
	w_run(w, 3000);
	ck_assert_uint_eq(room(w, to)->entry.born_ms, born);
	w_free(w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core_conflict");
	W_TEST(suite, all_pairs, 1);
	W_TEST(suite, the_better_first, (int)(sizeof pairs / sizeof pairs[0]));
	W_TEST(suite, removed_on_the_other_side, 2);
	W_TEST(suite, the_winner_goes_above_both, 2);
	W_TEST(suite, a_namesakes_epoch_is_passed, 2);
	W_TEST(suite, a_swap_that_is_given_up_holds_up_nothing, 1);
	W_TEST(suite, a_release_during_a_swap, 1);
	W_TEST(suite, above_it_before_it_is_moved, 2);
	W_TEST(suite, a_better_one_objects, 1);
	W_TEST(suite, the_loser_has_no_veto, 2);
	W_TEST(suite, a_third_one_waits, (int)(sizeof thirds / sizeof thirds[0]));
	W_TEST(suite, the_loser_is_taken_and_stopped, ENDINGS);
	W_TEST(suite, the_hook_gets_the_state, HOOKS);
	W_TEST(suite, a_hook_holds_up_nothing, 1);
	W_TEST(suite, hooks_have_their_turns, 2);
	W_TEST(suite, the_last_copy_goes_on, 1);
	W_TEST(suite, the_winner_is_told, 2);
	W_TEST(suite, it_is_told_once, 1);
	W_TEST(suite, they_are_asked_in_turns, 1);
	W_TEST(suite, every_pair_is_decided, 1);
	W_TEST(suite, a_restart_in_place_begins_anew, 1);
	W_TEST(suite, sides_meet, 4);
	W_TEST(suite, the_losers_daemon_dies, 4);
	W_TEST(suite, the_losers_machine_dies, 2);
	W_TEST(suite, a_handover_goes_on, 1);
	return w_main(suite);
}
