/* Who owns what: epochs, whose word counts, digests, pieces, what was lost and is fetched. */
#include "core_puppet.h"

#define E(n) (UINT64_C(n) << PH_EPOCH_SLOT_BITS | 2)

static struct ph_bmsg *registry(struct world *w, unsigned from, const struct ph_entry *entries,
	size_t n, uint64_t since, uint64_t until)
{
	struct ph_bmsg *msg = p_msg(w, from, PH_B_REGISTRY);
	msg->entries = w_copy(w, entries, n * sizeof *entries);
	msg->n_entries = n;
	msg->since = since;
	msg->until = until;
	msg->last = true;
	return msg;
}

static struct ph_entry entry_of(unsigned node, uint64_t epoch, uint64_t version)
{
	return (struct ph_entry){.key = {.child = ph_name_of("x")},
		.node = w_name(node),
		.epoch = epoch,
		.version = version,
		.state = PH_CHILD_RUNNING,
		.pid = (uint32_t)version,
		.role = PH_ROLE_ACTIVE};
}

/* Known is an entry of b with epoch 5 and version 5; then comes another one. */
static const struct {
	unsigned author, node;
	uint64_t epoch, version;
	bool news;
} rows[] = {
	{1, 1, E(5), 6, true}, {1, 1, E(5), 4, false}, {1, 1, E(5), 5, false},
	{1, 1, E(4), 9, false}, {1, 1, E(6), 1, true}, {2, 2, E(6), 1, true},
	{2, 2, E(4), 9, false}, {2, 1, E(5), 9, false}, /* c speaks of what is b's */
	{2, 1, E(7), 9, true},				/* ... and knows of a newer epoch */
	{1, 2, E(6), 0, true},				/* given away */
};

START_TEST(whose_word_counts)
{
	struct world *w = p_world(w_room_of_a, true);
	struct ph_entry first = entry_of(1, E(5), 5);
	struct ph_entry second = entry_of(rows[_i].node, rows[_i].epoch, rows[_i].version);
	second.pid = 4711;
	registry(w, 1, &first, 1, 0, 5);
	registry(w, rows[_i].author, &second, 1, 5, 9);
	w_drain(w);
	ck_assert_int_eq(w_slot(w, 0, "x", 0)->entry.pid == 4711, rows[_i].news);
	ck_assert_uint_ge(w_slot(w, 0, "x", 0)->seen, rows[_i].epoch);
	w_free(w);
}
END_TEST

/* What c has of b is from an earlier life of b, whose own word of now has a lower number. */
START_TEST(an_earlier_life_is_replaced)
{
	struct world *w = p_world(w_room_of_a, true);
	struct ph_entry old = entry_of(1, E(5), 19), now = entry_of(1, E(5), 10);
	registry(w, 2, &old, 1, 0, 3);
	w_drain(w);
	ck_assert_uint_eq(w_slot(w, 0, "x", 0)->entry.epoch, E(5));
	registry(w, 1, &now, 1, 0, 10);
	w_drain(w);
	ck_assert_uint_eq(w_slot(w, 0, "x", 0)->entry.version, 10);
	ck_assert_uint_eq(w_slot(w, 0, "x", 0)->entry.pid, 10);
	w_free(w);
}
END_TEST

static unsigned told_to_b;
static bool hear_entry(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)w;
	for (size_t i = 0; msg->kind == PH_B_REGISTRY && i < msg->n_entries; i++)
		told_to_b += from == 0 && to == 1 && msg->entries[i].epoch == E(6);
	return true;
}

/* b has not heard that c had it after b: whoever knows it says so. 0: c lives, and says it itself.
 */
START_TEST(who_died_as_the_next_owner_is_told)
{
	struct world *w = p_world(w_room_of_a, true);
	struct ph_entry newer = entry_of(2, E(6), 3), older = entry_of(1, E(5), 3);
	registry(w, 2, &newer, 1, 0, 3);
	w_drain(w);
	if (_i)
		p_dead(w, 2);
	told_to_b = 0;
	w->pass = hear_entry;
	registry(w, 1, &older, 1, 0, 3);
	w_drain(w);
	ck_assert_uint_eq(told_to_b, (unsigned)_i);
	ck_assert_uint_eq(w_slot(w, 0, "x", 0)->entry.epoch, E(6));
	w_free(w);
}
END_TEST

/* Nobody else changes what this node knows to be its own, but by a higher epoch. */
START_TEST(its_own_part_is_its_own)
{
	struct world *w = p_world(w_room_of_a, true);
	struct ph_slot *slot = w_slot(w, 0, "room", 0);
	struct ph_entry e = entry_of(_i ? 0 : 1, slot->entry.epoch, 99);
	e.key = ph_slot_key(slot);
	registry(w, 1, &e, 1, 0, 5);
	w->mute = NULL;
	w_run(w, 1000);
	ck_assert_str_eq(slot->entry.node->name.s, "a");
	(void)w_only(w, "room", 0);
	e.node = w_name(1);
	e.epoch += 1 << PH_EPOCH_SLOT_BITS;
	e.born_ms = slot->entry.born_ms; /* the same state: no other copy that might be better */
	registry(w, 1, &e, 1, 5, 6);
	w_run(w, 2000);
	ck_assert_str_eq(slot->entry.node->name.s, "b");
	ck_assert_uint_eq(w_alive(w, 0), 0);
	w_free(w);
}
END_TEST

static uint64_t fetched_since;
static bool see_fetch(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)w, (void)from, (void)to;
	if (msg->kind == PH_B_FETCH)
		fetched_since = msg->since;
	return true;
}

static void heartbeat(struct world *w, uint64_t sequence, uint64_t version, uint64_t digest)
{
	struct ph_bmsg *msg = p_msg(w, 1, PH_B_HEARTBEAT);
	msg->sequence = sequence;
	msg->self = w_member(w, 0, 1)->info;
	msg->self.labels = NULL;
	msg->self.state = PH_MEMBER_ALIVE;
	msg->registry_version = version;
	msg->registry_digest = digest;
	w_drain(w);
}

/* What was wished while another one owned it is said with the first word of its own: 0 owned, 1
 * released; 2 removed: with that it ends. */
START_TEST(a_wish_is_told_with_its_own_word)
{
	struct world *w = p_world(w_room_of_a, true);
	struct ph_hub *hub = w->nodes[0].hub;
	struct ph_key key = {.child = ph_name_of("x")};
	struct ph_slot *slot = ph_slot_get(hub, &key, NULL);
	p_begin(w);
	slot->wish_stopped = true;
	ph_slot_own(hub, slot, E(5), PH_LINEAGE_COLD);
	if (_i)
		slot->entry.stopped_by_wish = false;
	if (_i == 1)
		ph_slot_release(hub, slot);
	else if (_i == 2)
		ph_slot_remove(hub, slot, 1);
	ck_assert_int_eq(slot->wish_stopped, _i != 2);
	ck_assert_int_eq(ph_slot_entry(slot).stopped_by_wish, _i != 2);
	p_end(w);
	w_free(w);
}
END_TEST

START_TEST(a_gap_is_fetched)
{
	struct world *w = p_world(w_room_of_a, true);
	struct ph_entry e = entry_of(1, E(5), 5);
	fetched_since = 999;
	registry(w, 1, &e, 1, 0, 5);
	w_drain(w);
	w->pass = see_fetch;
	heartbeat(w, 1, 5, w_member(w, 0, 1)->digest);
	ck_assert_uint_eq(fetched_since, 999);
	heartbeat(w, 2, 8, 1);
	ck_assert_uint_eq(fetched_since, 5);
	w_free(w);
}
END_TEST

/* The same version with another digest: the whole part, and what is not in it goes. */
START_TEST(a_digest_that_differs_repairs_all)
{
	struct world *w = p_world(w_room_of_a, true);
	struct ph_entry e[2] = {entry_of(1, E(5), 5), entry_of(1, E(5), 4)};
	e[1].key.instance = 1;
	registry(w, 1, e, 2, 0, 5);
	w_drain(w);
	w->pass = see_fetch;
	fetched_since = 999;
	heartbeat(w, 1, 5, w_member(w, 0, 1)->digest ^ 1);
	ck_assert_uint_eq(fetched_since, 0);
	struct ph_bmsg *answer = registry(w, 1, e, 1, 0, 5);
	answer->whole = answer->fetched = true;
	answer->registry_version = 5;
	w_drain(w);
	ck_assert(w_slot(w, 0, "x", 0)->entered);
	ck_assert(!w_slot(w, 0, "x", 1)->entered);
	heartbeat(w, 2, 5, w_member(w, 0, 1)->digest);
	fetched_since = 999;
	w_run(w, 1000);
	ck_assert_uint_eq(fetched_since, 999);
	w_free(w);
}
END_TEST

static unsigned losing;
static bool lose(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)w, (void)from;
	if (msg->kind != PH_B_REGISTRY || to != 0 || !losing)
		return true;
	losing--;
	return false;
}

/* Whatever broadcasts are lost, two heartbeats later all know what is so. */
START_TEST(lost_casts_are_repaired)
{
	struct world *w = w_new(3);
	struct w_def *def = w_def(w, "room", "1");
	def->spec.instances = 6;
	w_declare_all(w, def);
	w_start_all(w);
	w_run(w, 4000);
	losing = (unsigned)_i;
	w->pass = lose;
	for (uint32_t i = 0; i < 6; i++)
		w_kill(w, w_only(w, "room", i));
	w_run(w, 10);
	losing = 0;
	w_run(w, 1000);
	for (uint32_t i = 0; i < 6; i++) {
		struct w_proc *p = w_only(w, "room", i);
		w_agree(w, "room", i, p->node);
		ck_assert_uint_eq(w_slot(w, 0, "room", i)->entry.pid, p->pid);
	}
	w_free(w);
}
END_TEST

/* More entries than fit into a piece. */
START_TEST(many_pieces)
{
	struct world *w = w_new(2);
	struct w_def *def = w_def(w, "room", "1");
	def->spec.instances = 140;
	def->spec.nodes = "a";
	w_declare_all(w, def);
	w_start(w, 0);
	w_run(w, 6500);
	ck_assert_uint_eq(w_alive(w, 0), 140);
	w_start(w, 1);
	w_run(w, 3000);
	for (uint32_t i = 0; i < 140; i++)
		w_agree(w, "room", i, 0);
	ck_assert_uint_eq(w_alive(w, 1), 0);
	struct ph_name a = w_name(0);
	ck_assert_uint_eq(ph_member_find(w->nodes[1].hub, &a)->digest, w->nodes[0].hub->digest);
	w_free(w);
}
END_TEST

/* Epochs grow, carry this node's slot, and are raised once where the journal is lost. */
START_TEST(epochs)
{
	struct world *w = p_world(w_room_of_a, true);
	struct ph_slot *slot = w_slot(w, 0, "room", 0);
	slot->seen = E(41);
	ck_assert_uint_eq(ph_next_epoch(w->nodes[0].hub, slot), ph_epoch_make(42, 1));
	w->nodes[0].hub->set.journal_lost = true;
	ck_assert_uint_ge(ph_next_epoch(w->nodes[0].hub, slot), ph_epoch_make(42 + 4096, 1));
	w_free(w);
}
END_TEST

/* ---- the highest epochs that were heard of */

#define HEARD 5000u

static unsigned journalled(struct world *w, uint32_t below)
{
	const struct w_node *n = &w->nodes[0];
	unsigned k = 0;
	for (size_t i = 0; i < n->n_records; i++)
		k += n->records[i].r.kind == PH_RECORD_SEEN && n->records[i].r.epoch == E(5) &&
		     n->records[i].r.key.instance < below;
	return k;
}

static void all_of_it(struct world *w)
{
	const struct ph_hub *hub = w->nodes[0].hub;
	while (hub->out_done < hub->n_out)
		p_end(w);
}

static struct world *hears_of_many(void)
{
	struct world *w = p_world(w_room_of_a, true);
	struct ph_entry *entries = w_alloc(w, HEARD * sizeof *entries);
	for (uint32_t i = 0; i < HEARD; i++) {
		entries[i] = entry_of(1, E(5), i + 1);
		entries[i].key.instance = i;
	}
	registry(w, 1, entries, HEARD, 0, HEARD);
	w_drain(w);
	return w;
}

/* Soon, the oldest first, and each one once; before an orderly end at the latest. */
START_TEST(what_was_heard_of_is_journalled)
{
	struct world *w = hears_of_many();
	struct ph_hub *hub = w->nodes[0].hub;
	all_of_it(w);
	ck_assert_uint_eq(journalled(w, HEARD), 0);
	hub->exiting = _i == 1;
	p_begin(w);
	ph_registry_journal(hub);
	all_of_it(w);
	unsigned batch = journalled(w, HEARD);
	ck_assert_uint_eq(batch, _i ? HEARD : 2048);
	ck_assert_uint_eq(journalled(w, batch), batch);
	hub->exiting = false;
	w_run(w, 1000);
	ck_assert_uint_eq(journalled(w, HEARD), HEARD);
	w_free(w);
}
END_TEST

/* a restarts, b is gone for good and none of its peers: a's next epoch is above b's all the same.
 */
START_TEST(what_was_heard_of_outlasts_both)
{
	struct world *w = hears_of_many();
	w->mute = NULL;
	w->nodes[0].manual_disk = false;
	w_run(w, 1000);
	w_sync_all(w, 0);
	w_crash(w, 0);
	w_start(w, 0);
	for (uint32_t i = 0; i < HEARD; i++) {
		const struct ph_slot *slot = w_slot(w, 0, "x", i);
		ck_assert_ptr_nonnull(slot);
		ck_assert_uint_gt(ph_next_epoch(w->nodes[0].hub, slot), E(5));
	}
	w_free(w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core_registry");
	W_TEST(suite, whose_word_counts, (int)(sizeof rows / sizeof rows[0]));
	W_TEST(suite, an_earlier_life_is_replaced, 1);
	W_TEST(suite, who_died_as_the_next_owner_is_told, 2);
	W_TEST(suite, its_own_part_is_its_own, 2);
	W_TEST(suite, a_wish_is_told_with_its_own_word, 3);
	W_TEST(suite, a_gap_is_fetched, 1);
	W_TEST(suite, a_digest_that_differs_repairs_all, 1);
	W_TEST(suite, lost_casts_are_repaired, 8);
	W_TEST(suite, many_pieces, 1);
	W_TEST(suite, epochs, 1);
	W_TEST(suite, what_was_heard_of_is_journalled, 2);
	W_TEST(suite, what_was_heard_of_outlasts_both, 1);
	return w_main(suite);
}
