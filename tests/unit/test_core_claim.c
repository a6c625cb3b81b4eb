/* Becoming an owner by asking: what the claimant does with answers, what the asked one answers. */
#include "core_puppet.h"

#define MANY 70

/* Node a has a claim for room/0 and has asked b and c. */
static struct ph_claim *claim(struct world *w, enum ph_claim_basis basis)
{
	struct ph_hub *hub = w->nodes[0].hub;
	struct ph_key key = {.child = ph_name_of("room")};
	struct ph_slot *slot = ph_slot_get(hub, &key, NULL);
	p_begin(w);
	struct ph_claim *c = ph_claim_start(hub, slot, basis, &hub->set.node, NULL, 0);
	ph_claim_run(hub);
	p_end(w);
	ck_assert_ptr_eq(slot->work->claim, c);
	return c;
}

static bool to_be_stopped; /* by the next answer */

static void answer(struct world *w, unsigned from, enum ph_verdict verdict, uint64_t seen)
{
	struct ph_claim *c = w_slot(w, 0, "room", 0)->work->claim;
	struct ph_claim_line *line = w_alloc(w, sizeof *line);
	ck_assert_ptr_nonnull(c);
	*line = (struct ph_claim_line){.key = ph_slot_key(c->slot),
		.epoch = c->epoch,
		.verdict = verdict,
		.seen = seen,
		.stopped_by_wish = to_be_stopped};
	struct ph_bmsg *msg = p_msg(w, from, PH_B_CLAIM_ANSWER);
	msg->claim = c->number;
	msg->claims = line;
	msg->n_claims = 1;
	w_drain(w);
}

static struct world *unowned(void)
{
	struct world *w = p_world(w_room, false);
	struct ph_hub *hub = w->nodes[0].hub;
	struct ph_name name = ph_name_of("room");
	ph_child_get(hub, &name)->own = ph_spec_clone(&w->defs[0].spec);
	w->nodes[0].manual_disk = false;
	w->mute = NULL;
	return w;
}

/* ---- the claimant ---- */

START_TEST(all_must_agree)
{
	struct world *w = unowned();
	(void)claim(w, PH_CLAIM_COLD);
	ck_assert_uint_eq(w->nodes[0].sent[PH_B_CLAIM], 2);
	answer(w, 1, PH_VERDICT_FREE, 0);
	ck_assert_uint_eq(w->n_procs, 0);
	answer(w, 1, PH_VERDICT_FREE, 0); /* a repeat is no second voice */
	ck_assert_uint_eq(w->n_procs, 0);
	answer(w, 2, PH_VERDICT_FREE, 0);
	(void)w_only(w, "room", 0);
	w_free(w);
}
END_TEST

START_TEST(an_objection_ends_it)
{
	static const enum ph_verdict verdicts[] = {
		PH_VERDICT_OWNED, PH_VERDICT_REFUSED, PH_VERDICT_WAIT};
	struct world *w = unowned();
	(void)claim(w, PH_CLAIM_COLD);
	answer(w, 1, verdicts[_i], ph_epoch_make(9, 2));
	ck_assert_uint_eq(w->n_procs, 0);
	ck_assert_ptr_null(w_slot(w, 0, "room", 0)->work->claim);
	ck_assert_uint_eq(w_slot(w, 0, "room", 0)->seen, ph_epoch_make(9, 2));
	w_free(w);
}
END_TEST

START_TEST(a_low_epoch_is_raised)
{
	struct world *w = unowned();
	struct ph_claim *c = claim(w, PH_CLAIM_COLD);
	answer(w, 1, PH_VERDICT_LOW, ph_epoch_make(100, 2));
	w_run(w, 1);
	ck_assert_ptr_eq(w_slot(w, 0, "room", 0)->work->claim, c);
	ck_assert_uint_eq(c->epoch, ph_epoch_make(101, 1));
	ck_assert_uint_eq(w->nodes[0].sent[PH_B_CLAIM], 4);
	answer(w, 1, PH_VERDICT_FREE, 0);
	answer(w, 2, PH_VERDICT_FREE, 0);
	ck_assert_uint_eq(w_only(w, "room", 0)->epoch, ph_epoch_make(101, 1));
	w_free(w);
}
END_TEST

/* ... by b: nobody ever owned it (0), b has released it (1), c has (2) and has said all of it. */
START_TEST(a_wish_is_heard_with_the_answer)
{
	struct world *w = unowned();
	struct ph_slot *slot = claim(w, PH_CLAIM_COLD)->slot;
	if (_i) {
		struct ph_name name = w_name((unsigned)_i);
		slot->entered = true;
		slot->entry.node = ph_node_get(w->nodes[0].hub, &name);
		slot->entry.state = PH_CHILD_RELEASED;
	}
	to_be_stopped = true;
	answer(w, 1, PH_VERDICT_FREE, 0);
	to_be_stopped = false;
	answer(w, 2, PH_VERDICT_FREE, 0);
	ck_assert_uint_eq(w->n_procs, _i == 2);
	ck_assert(ph_slot_mine(w->nodes[0].hub, slot));
	ck_assert(slot->wish_stopped == (_i < 2));
	w_free(w);
}
END_TEST

/* A silent member delays by at most failure_timeout; it is asked again meanwhile. */
START_TEST(a_silent_member)
{
	struct world *w = unowned();
	(void)claim(w, PH_CLAIM_COLD);
	answer(w, 1, PH_VERDICT_FREE, 0);
	w_run(w, 4000);
	ck_assert_uint_eq(w->n_procs, 0);
	ck_assert_uint_ge(w->nodes[0].sent[PH_B_CLAIM], 6);
	w_run(w, 1500);
	(void)w_only(w, "room", 0);
	w_free(w);
}
END_TEST

/* Whoever came while it was asked is asked too. */
START_TEST(a_newcomer_is_asked_too)
{
	struct world *w = unowned();
	w_member(w, 0, 2)->state = PH_MEMBER_DEAD;
	(void)claim(w, PH_CLAIM_COLD);
	ck_assert_uint_eq(w->nodes[0].sent[PH_B_CLAIM], 1);
	struct ph_bmsg *hello = p_msg(w, 2, PH_B_HELLO);
	hello->incarnation = 2;
	hello->self = (struct ph_member_info){
		.name = w_name(2), .incarnation = 2, .slot = 3, .state = PH_MEMBER_ALIVE};
	(void)p_prove(w, hello);
	w_drain(w);
	answer(w, 1, PH_VERDICT_FREE, 0);
	w_run(w, 1);
	ck_assert_uint_eq(w->n_procs, 0);
	ck_assert_uint_eq(w->nodes[0].sent[PH_B_CLAIM], 3);
	w_free(w);
}
END_TEST

START_TEST(every_member_is_asked)
{
	struct world *w = unowned();
	for (unsigned i = 0; i < MANY; i++) {
		char name[16];
		(void)snprintf(name, sizeof name, "m%u", i);
		struct ph_bmsg *hello = p_msg(w, 1, PH_B_HELLO);
		hello->from = ph_name_of(name);
		hello->self = (struct ph_member_info){.name = hello->from,
			.incarnation = 1,
			.slot = 100 + i,
			.weight = 1,
			.state = PH_MEMBER_ALIVE};
		(void)p_prove(w, hello);
	}
	w_drain(w);
	(void)claim(w, PH_CLAIM_COLD);
	ck_assert_uint_eq(w->nodes[0].sent[PH_B_CLAIM], MANY + 2);
	w_free(w);
}
END_TEST

static size_t lines_asked;
static bool count_lines(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)w, (void)from;
	if (msg->kind != PH_B_CLAIM || to != 1)
		return true;
	ck_assert_uint_le(msg->n_claims, PH_LIST_MAX);
	lines_asked += msg->n_claims;
	return true;
}

START_TEST(batches)
{
	struct world *w = unowned();
	struct ph_hub *hub = w->nodes[0].hub;
	w->pass = count_lines;
	lines_asked = 0;
	p_begin(w);
	for (uint32_t i = 0; i < 150; i++) {
		struct ph_key key = {.child = ph_name_of("room"), .instance = i};
		(void)ph_claim_start(
			hub, ph_slot_get(hub, &key, NULL), PH_CLAIM_COLD, &hub->set.node, NULL, 0);
	}
	ph_claim_run(hub);
	p_end(w);
	ck_assert_uint_eq(lines_asked, 150);
	ck_assert_uint_eq(w->nodes[0].sent[PH_B_CLAIM], 2 * 3);
	w_free(w);
}
END_TEST

/* ---- the one who is asked ---- */

static enum ph_verdict verdict;
static bool take_verdict(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)w, (void)from;
	if (msg->kind == PH_B_CLAIM_ANSWER && to == 1)
		verdict = msg->claims[0].verdict;
	return true;
}

#define E(n) (UINT64_C(n) << PH_EPOCH_SLOT_BITS | 3)
static const struct {
	enum ph_claim_basis basis;
	uint64_t asked, base;
	const char *owner; /* NULL: no entry */
	uint64_t epoch, seen;
	bool owner_dead, released, voided, own_claim;
	enum ph_verdict verdict;
} rows[] = {
	{.basis = PH_CLAIM_COLD, .asked = E(5), .verdict = PH_VERDICT_FREE},
	{.basis = PH_CLAIM_COLD, .asked = E(5), .seen = E(9), .verdict = PH_VERDICT_LOW},
	{.basis = PH_CLAIM_COLD,
		.asked = E(5),
		.owner = "c",
		.epoch = E(4),
		.verdict = PH_VERDICT_OWNED},
	{.basis = PH_CLAIM_COLD,
		.asked = E(5),
		.owner = "c",
		.epoch = E(4),
		.owner_dead = true,
		.verdict = PH_VERDICT_FREE},
	{.basis = PH_CLAIM_COLD,
		.asked = E(5),
		.owner = "c",
		.epoch = E(4),
		.released = true,
		.verdict = PH_VERDICT_FREE},
	{.basis = PH_CLAIM_COLD,
		.asked = E(5),
		.owner = "b",
		.epoch = E(4),
		.verdict = PH_VERDICT_FREE},
	{.basis = PH_CLAIM_COMMIT,
		.asked = E(5),
		.owner = "b",
		.epoch = E(4),
		.verdict = PH_VERDICT_FREE},
	{.basis = PH_CLAIM_COMMIT,
		.asked = E(5),
		.owner = "c",
		.epoch = E(4),
		.verdict = PH_VERDICT_OWNED},
	{.basis = PH_CLAIM_TAKEOVER,
		.asked = E(6),
		.base = E(4),
		.owner = "c",
		.epoch = E(4),
		.verdict = PH_VERDICT_FREE},
	{.basis = PH_CLAIM_TAKEOVER,
		.asked = E(6),
		.base = E(4),
		.owner = "c",
		.epoch = E(5),
		.verdict = PH_VERDICT_OWNED},
	{.basis = PH_CLAIM_TAKEOVER,
		.asked = E(6),
		.base = E(4),
		.voided = true,
		.verdict = PH_VERDICT_REFUSED},
	{.basis = PH_CLAIM_TAKEBACK,
		.asked = E(6),
		.base = E(4),
		.voided = true,
		.verdict = PH_VERDICT_FREE},
	{.basis = PH_CLAIM_TAKEBACK,
		.asked = E(6),
		.base = E(4),
		.owner = "c",
		.epoch = E(5),
		.verdict = PH_VERDICT_OWNED},
	{.basis = PH_CLAIM_TAKEBACK,
		.asked = E(6),
		.base = E(4),
		.owner = "b",
		.epoch = E(4),
		.verdict = PH_VERDICT_FREE},
	{.basis = PH_CLAIM_TAKEBACK,
		.asked = E(5),
		.base = E(4),
		.seen = E(7),
		.verdict = PH_VERDICT_LOW},
	/* it goes before a cold claim, and withdraws its own */
	{.basis = PH_CLAIM_TAKEOVER,
		.asked = E(6),
		.base = E(4),
		.own_claim = true,
		.verdict = PH_VERDICT_FREE},
};

START_TEST(answers)
{
	struct world *w = unowned();
	struct ph_hub *hub = w->nodes[0].hub;
	struct ph_id id = {.b = {1, 2, 3}};
	struct ph_key key = {.child = ph_name_of("room")};
	struct ph_slot *slot = ph_slot_get(hub, &key, NULL);
	struct ph_claim_line *line = w_alloc(w, sizeof *line);
	w->pass = take_verdict;
	if (rows[_i].owner) {
		slot->entered = true;
		slot->entry.node = ph_node_get(hub, (struct ph_name[]){ph_name_of(rows[_i].owner)});
		slot->entry.epoch = slot->seen = rows[_i].epoch;
		slot->entry.state = rows[_i].released ? PH_CHILD_RELEASED : PH_CHILD_RUNNING;
	}
	if (rows[_i].owner_dead)
		p_dead(w, 2);
	if (rows[_i].voided) {
		struct ph_bmsg *said = p_msg(w, 2, PH_B_VOID);
		said->id = id;
		said->key = key;
		w_drain(w);
	}
	if (rows[_i].own_claim)
		(void)claim(w, PH_CLAIM_COLD);
	slot->seen = rows[_i].seen > slot->seen ? rows[_i].seen : slot->seen;
	*line = (struct ph_claim_line){.key = key,
		.epoch = rows[_i].asked,
		.basis = rows[_i].basis,
		.node = w_name(1),
		.id = id,
		.seen = rows[_i].base};
	struct ph_bmsg *msg = p_msg(w, 1, PH_B_CLAIM);
	msg->claims = line;
	msg->n_claims = 1;
	verdict = PH_VERDICT_COUNT;
	w_drain(w);
	ck_assert_int_eq(verdict, rows[_i].verdict);
	if (verdict == PH_VERDICT_FREE) {
		ck_assert_uint_ge(slot->seen, rows[_i].asked);
		ck_assert_ptr_null(slot->work->claim);
	}
	w_free(w);
}
END_TEST

/* What b is told of a claim for the child from its spec, whose basis is the death of c. */
static enum ph_verdict asked_for_an_empty_one(struct world *w, const struct ph_slot *slot)
{
	struct ph_claim_line *line = w_alloc(w, sizeof *line);
	*line = (struct ph_claim_line){.key = ph_slot_key(slot),
		.epoch = E(99),
		.basis = PH_CLAIM_COLD,
		.node = w_name(1),
		.rests_on = w_name(2)};
	struct ph_bmsg *msg = p_msg(w, 1, PH_B_CLAIM);
	msg->claims = line;
	msg->n_claims = 1;
	verdict = PH_VERDICT_COUNT;
	w->pass = take_verdict;
	w_drain(w);
	return verdict;
}

/* As long as a worker with a state may be all that there is, nobody begins with an empty one. */
START_TEST(what_goes_before_an_empty_one)
{
	static const enum ph_source_state undecided[] = {PH_SOURCE_CONFIRMING, PH_SOURCE_CLAIMING,
		PH_SOURCE_COMMITTING, PH_SOURCE_COMMITTED, PH_SOURCE_ABORTING, PH_SOURCE_VOIDING,
		PH_SOURCE_RECLAIMING};
	static const enum ph_target_state kept[] = {
		PH_TARGET_PREPARING, PH_TARGET_PREPARED, PH_TARGET_CLAIMING, PH_TARGET_RELEASING};
	struct world *w = unowned();
	struct ph_hub *hub = w->nodes[0].hub;
	struct ph_key key = {.child = ph_name_of("room")};
	struct ph_slot *slot = ph_slot_get(hub, &key, NULL);
	struct ph_source source = {.slot = slot};
	struct ph_target target = {.slot = slot};
	for (size_t i = 0; i < sizeof undecided / sizeof *undecided; i++) {
		source.state = undecided[i];
		ph_slot_work(hub, slot)->source = &source;
		ck_assert_int_eq((int)asked_for_an_empty_one(w, slot), (int)PH_VERDICT_WAIT);
	}
	ph_slot_work(hub, slot)->source = NULL;
	for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
		target.state = kept[i];
		ph_slot_work(hub, slot)->target = &target;
		ck_assert_int_eq((int)asked_for_an_empty_one(w, slot), (int)PH_VERDICT_WAIT);
	}
	target.state = PH_TARGET_ACTIVATING; /* it is this node's by now */
	ck_assert_int_eq((int)asked_for_an_empty_one(w, slot), (int)PH_VERDICT_OWNED);
	ph_slot_work(hub, slot)->target = NULL;
	ck_assert_int_eq((int)asked_for_an_empty_one(w, slot), (int)PH_VERDICT_FREE);
	w_free(w);
}
END_TEST

/* Whoever is asked goes by its own clock: what the fence of the dead one ends may live still. */
START_TEST(not_before_the_fence_by_ones_own_clock)
{
	struct world *w = unowned();
	struct ph_hub *hub = w->nodes[0].hub;
	struct ph_key key = {.child = ph_name_of("room")};
	struct ph_slot *slot = ph_slot_get(hub, &key, NULL);
	struct ph_name c = w_name(2);
	p_dead(w, 2);
	ph_member_find(hub, &c)->told_at_ms = w->now_ms;
	ck_assert_int_eq((int)asked_for_an_empty_one(w, slot), (int)PH_VERDICT_WAIT);
	uint64_t bound = (hub->set.fence_after_ms + hub->set.fence_grace_ms) * 105 / 100 + 250;
	ph_member_find(hub, &c)->told_at_ms = w->now_ms - bound + 1;
	ck_assert_int_eq((int)asked_for_an_empty_one(w, slot), (int)PH_VERDICT_WAIT);
	ph_member_find(hub, &c)->told_at_ms = w->now_ms - bound;
	ck_assert_int_eq((int)asked_for_an_empty_one(w, slot), (int)PH_VERDICT_FREE);
	w_free(w);
}
END_TEST

/* Of two cold claims one goes before: exactly one of the two nodes is told to wait. */
START_TEST(one_of_two_goes_before)
{
	struct ph_name a = w_name(0), b = w_name(1);
	for (uint32_t i = 0; i < 50; i++) {
		struct ph_key key = {.child = ph_name_of("room"), .instance = i};
		ck_assert(ph_place_before(&key, &a, &b) != ph_place_before(&key, &b, &a));
	}
}
END_TEST

/* ---- what a claim rests on is looked at again when it acts ---- */

/* Cold because its owner was dead; the owner echoes again before the last answer is there. */
START_TEST(a_dead_owner_comes_back)
{
	struct world *w = unowned();
	struct ph_hub *hub = w->nodes[0].hub;
	struct ph_key key = {.child = ph_name_of("room")};
	struct ph_slot *slot = ph_slot_get(hub, &key, NULL);
	slot->entered = true;
	slot->entry.node = ph_node_get(hub, (struct ph_name[]){w_name(2)});
	slot->entry.epoch = slot->seen = E(4);
	slot->entry.state = PH_CHILD_RUNNING;
	w_member(w, 0, 2)->state = PH_MEMBER_DEAD;
	w_member(w, 0, 2)->told_at_ms = 1; /* its fence has done its work long ago */
	(void)claim(w, PH_CLAIM_COLD);
	w_member(w, 0, 2)->state = PH_MEMBER_ALIVE;
	answer(w, 1, PH_VERDICT_FREE, 0);
	ck_assert_uint_eq(w->n_procs, 0);
	w_free(w);
}
END_TEST

/* ---- the epochs that only one knows ---- */

/* Known for long, a member has the parts of all; but an epoch that is in no part it may not know.
 */
static const struct {
	bool newcomer, entered;
	unsigned told;
} heirs[] = {{true, true, 2}, {false, true, 0}, {true, false, 2}, {false, false, 2}};

START_TEST(who_leaves_tells_of_epochs)
{
	struct world *w = p_world(w_room, true);
	w->nodes[0].manual_disk = false;
	w->mute = NULL;
	struct ph_slot *slot = w_slot(w, 0, "room", 0);
	ck_assert(ph_slot_mine(w->nodes[0].hub, slot));
	if (!heirs[_i].entered)
		ph_slot_seen(w->nodes[0].hub, slot, E(99));
	if (!heirs[_i].newcomer)
		w_member(w, 0, 1)->first_ms = w_member(w, 0, 2)->first_ms = 0;
	w->now_ms += heirs[_i].newcomer ? 0 : 20000;
	for (unsigned i = 1; i < 3; i++) /* ... has been heard all along */
		w_member(w, 0, i)->echo_at_ms = w->now_ms;
	ph_shutdown_now(w->nodes[0].hub);
	w_run(w, 3000);
	ck_assert(w->nodes[0].exited);
	ck_assert_uint_eq(w->nodes[0].sent[PH_B_GRANTS], heirs[_i].told);
	w_free(w);
}
END_TEST

START_TEST(what_one_that_leaves_has_seen_counts)
{
	struct world *w = unowned();
	struct ph_bmsg *msg = p_msg(w, 1, PH_B_GRANTS);
	struct ph_claim_line *line = w_alloc(w, sizeof *line);
	*line = (struct ph_claim_line){.key = {.child = ph_name_of("room")}, .seen = E(99)};
	msg->claims = line;
	msg->n_claims = 1;
	w_drain(w);
	ck_assert_uint_eq(w_slot(w, 0, "room", 0)->seen, E(99));
	ck_assert_uint_eq(w_slot(w, 0, "room", 0)->work->granted, 0);
	ck_assert_uint_gt(claim(w, PH_CLAIM_COLD)->epoch, E(99));
	w_free(w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core_claim");
	W_TEST(suite, all_must_agree, 1);
	W_TEST(suite, an_objection_ends_it, 3);
	W_TEST(suite, a_low_epoch_is_raised, 1);
	W_TEST(suite, a_wish_is_heard_with_the_answer, 3);
	W_TEST(suite, a_silent_member, 1);
	W_TEST(suite, a_newcomer_is_asked_too, 1);
	W_TEST(suite, every_member_is_asked, 1);
	W_TEST(suite, batches, 1);
	W_TEST(suite, what_goes_before_an_empty_one, 1);
	W_TEST(suite, not_before_the_fence_by_ones_own_clock, 1);
	W_TEST(suite, answers, (int)(sizeof rows / sizeof rows[0]));
	W_TEST(suite, one_of_two_goes_before, 1);
	W_TEST(suite, a_dead_owner_comes_back, 1);
	W_TEST(suite, who_leaves_tells_of_epochs, (int)(sizeof heirs / sizeof heirs[0]));
	W_TEST(suite, what_one_that_leaves_has_seen_counts, 1);
	return w_main(suite);
}
