/* An operator's `forget` of a node that is switched off for good. */
#include "core/member.h"
#include "core/order.h"
#include "core_world.h"

static struct world *cluster(unsigned n, enum ph_partition partition)
{
	struct world *w = w_new(n);
	w->partition = partition;
	w_declare_all(w, w_def(w, "room", "1"));
	w->defs[0].spec.instances = 6;
	w_start_all(w);
	w_run(w, 6000);
	return w;
}

static void forget(struct world *w, unsigned node, const char *name)
{
	w_order(w, node, PH_VERB_FORGET, NULL, name, NULL);
}

static const struct ph_view *view(struct world *w, unsigned node)
{
	return &w->nodes[node].hub->view;
}

static unsigned served(struct world *w)
{
	unsigned n = 0;
	for (size_t i = 0; i < w->n_procs; i++)
		n += w_serves(&w->procs[i]);
	return n;
}

static const enum ph_partition partitions[] = {PH_PARTITION_DIVERGENCE, PH_PARTITION_MAJORITY};

/* ---- what is refused */

START_TEST(who_lives_is_not_forgotten)
{
	struct world *w = cluster(3, partitions[_i]);
	static const struct {
		const char *name;
		int error;
	} rows[] = {{"z", ENOENT}, {"a", EBUSY}, {"b", EBUSY}, {"c", EBUSY}};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		forget(w, 0, rows[i].name);
		ck_assert_int_eq(w_answer(w, 0)->error, rows[i].error);
		ck_assert_ptr_nonnull(strstr(w_answer(w, 0)->text, rows[i].name));
	}
	w_power_off(w, 2);
	w_run(w, 1500); /* suspected, and that is not enough */
	forget(w, 0, "c");
	ck_assert_int_eq(w_answer(w, 0)->error, EBUSY);
	ck_assert_ptr_nonnull(w_member(w, 0, 2));
	w_free(w);
}
END_TEST

/* b alone hears c: a holds it for dead because it does not hear b's word in time, say. */
START_TEST(one_who_hears_it_objects)
{
	struct world *w = cluster(3, PH_PARTITION_DIVERGENCE);
	((struct ph_member *)(uintptr_t)w_member(w, 0, 2))->state = PH_MEMBER_DEAD;
	((struct ph_member *)(uintptr_t)w_member(w, 0, 2))->told_at_ms = 1;
	w_cut(w, 0, 2, true);
	forget(w, 0, "c");
	w_run(w, 20);
	ck_assert_int_eq(w_answer(w, 0)->error, EBUSY);
	ck_assert_str_eq(w_answer(w, 0)->text, "node b says: node c lives");
	w_run(w, 1000);
	for (unsigned i = 0; i < 2; i++) { /* and nobody has done anything */
		ck_assert(ph_member_live(w_member(w, i, 2)));
		ck_assert_uint_eq(w->nodes[i].emitted[PH_EMIT_NODE_LEFT], 0);
	}
	w_free(w);
}
END_TEST

static bool no_answer_of_b(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)w, (void)to;
	return from != 1 || msg->kind != PH_B_ORDER_ACK;
}

START_TEST(all_must_agree)
{
	struct world *w = cluster(3, partitions[_i]);
	w_power_off(w, 2);
	w_run(w, 12000);
	w->pass = no_answer_of_b;
	forget(w, 0, "c");
	w_run(w, 20000);
	ck_assert_int_eq(w_answer(w, 0)->error, EREMOTEIO);
	ck_assert_str_eq(w_answer(w, 0)->text, "node b does not answer");
	for (unsigned i = 0; i < 2; i++)
		ck_assert_int_eq((int)w_member(w, i, 2)->state, PH_MEMBER_DEAD);
	w_free(w);
}
END_TEST

/* The one that is left of three is no quorum of the view: it cannot be changed, whatever is said.
 */
START_TEST(not_without_a_quorum_of_the_old_view)
{
	struct world *w = cluster(3, PH_PARTITION_MAJORITY);
	w_power_off(w, 1);
	w_power_off(w, 2);
	w_run(w, 20000);
	forget(w, 0, "c");
	ck_assert_int_eq(w_answer(w, 0)->error, EBUSY);
	ck_assert_ptr_nonnull(strstr(w_answer(w, 0)->text, "no quorum"));
	ck_assert_uint_eq(view(w, 0)->n, 3);
	w_free(w);
}
END_TEST

/* What ran there may run until its fence has ended it: a waits for that, and then goes on. */
START_TEST(not_before_its_fence_has_passed)
{
	struct world *w = cluster(3, partitions[_i]);
	w_power_off(w, 2);
	w_run(w, 12000);
	((struct ph_member *)(uintptr_t)w_member(w, 1, 2))->told_at_ms = w->now_ms - 1000;
	forget(w, 0, "c");
	w_run(w, 3000);
	ck_assert_uint_eq(w->nodes[0].answers, 0);
	for (unsigned i = 0; i < 2; i++)
		ck_assert_int_eq((int)w_member(w, i, 2)->state, PH_MEMBER_DEAD);
	w_run(w, 3000);
	ck_assert_int_eq(w_answer(w, 0)->error, 0);
	ck_assert_ptr_null(w_member(w, 1, 2));
	w_free(w);
}
END_TEST

/* ---- what is done */

START_TEST(it_is_gone_everywhere)
{
	struct world *w = cluster(3, partitions[_i / 2]);
	unsigned at = (unsigned)_i % 2;
	w_power_off(w, 2);
	w_run(w, 12000);
	ck_assert_int_eq((int)w_member(w, 0, 2)->state, PH_MEMBER_DEAD);
	forget(w, at, "c");
	w_run(w, 3000);
	ck_assert_int_eq(w_answer(w, at)->error, 0);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_ptr_null(w_member(w, i, 2));
		ck_assert_uint_eq(w->nodes[i].emitted[PH_EMIT_NODE_LEFT], 1);
		if (w->partition)
			ck_assert_uint_eq(view(w, i)->size, 2);
	}
	ck_assert_uint_eq(served(w), 6);
	/* Once more: it is so already. */
	forget(w, !at, "c");
	w_run(w, 3000);
	ck_assert_int_eq(w_answer(w, !at)->error, 0);
	ck_assert_uint_eq(w->nodes[0].emitted[PH_EMIT_NODE_LEFT], 1);
	/* ... and with a higher number it is a new member. */
	w_start(w, 2);
	w_run(w, 20000);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_int_eq((int)w_member(w, i, 2)->state, PH_MEMBER_ALIVE);
		if (w->partition)
			ck_assert_uint_eq(view(w, i)->n, 3);
	}
	ck_assert_uint_eq(served(w), 6);
	w_free(w);
}
END_TEST

/* It was only cut off: it comes back by itself, under a higher number, and nothing runs twice. */
START_TEST(if_it_lives_after_all)
{
	struct world *w = cluster(3, partitions[_i]);
	uint64_t incarnation = w_member(w, 0, 2)->info.incarnation;
	w_cut(w, 0, 2, true);
	w_cut(w, 1, 2, true);
	w->double_allowed = _i == 0;
	w_run(w, 15000);
	forget(w, 0, "c");
	w_run(w, 3000);
	ck_assert_int_eq(w_answer(w, 0)->error, 0);
	w_cut(w, 0, 2, false);
	w_cut(w, 1, 2, false);
	w_run(w, 30000);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_ptr_nonnull(w_member(w, i, 2));
		ck_assert_int_eq((int)w_member(w, i, 2)->state, PH_MEMBER_ALIVE);
		ck_assert_uint_gt(w_member(w, i, 2)->info.incarnation, incarnation);
	}
	for (uint32_t i = 0; i < 6; i++)
		(void)w_only(w, "room", i);
	w_free(w);
}
END_TEST

/* c is dead for good and b has lost its journal: b waits for what c has granted, until it hears
 * that c is forgotten. */
START_TEST(one_that_lost_its_journal_waits_no_longer)
{
	struct world *w = cluster(3, PH_PARTITION_MAJORITY);
	unsigned at = (unsigned)_i;
	w_power_off(w, 2);
	w_run(w, 12000);
	ck_assert_uint_eq(served(w), 6);
	w_power_off(w, 1);
	w->nodes[1].n_records = 0;
	w_run(w, 300);
	w_start(w, 1);
	w_run(w, 30000);
	ck_assert(w->nodes[1].hub->forgetful);
	ck_assert_uint_lt(served(w), 6); /* what ran on b is started by nobody */
	forget(w, at, "c");
	w_run(w, 20000);
	ck_assert_int_eq(w_answer(w, at)->error, 0);
	ck_assert(!w->nodes[1].hub->forgetful);
	for (unsigned i = 0; i < 2; i++)
		ck_assert_uint_eq(view(w, i)->size, 2);
	ck_assert_uint_eq(served(w), 6);
	w_free(w);
}
END_TEST

/* Of a migration that has ended its partner never says that it may be forgotten. */
START_TEST(what_was_kept_for_it_goes)
{
	struct world *w = cluster(3, partitions[_i]);
	struct w_proc *p = NULL;
	for (uint32_t i = 0; i < 6 && !(p && p->node == 0); i++)
		p = w_only(w, "room", i);
	ck_assert_uint_eq(p->node, 0);
	p->def->traits.mute_load = true;
	const struct ph_command one = {.instance = p->key.instance, .no_wait = true};
	w_order(w, 0, PH_VERB_MOVE, "room", "c", &one);
	w_run(w, 300);
	w_power_off(w, 2);
	p->def->traits.mute_load = false;
	w_run(w, 30000);
	struct ph_hub_counts counts;
	ph_hub_count(w->nodes[0].hub, &counts);
	ck_assert_uint_eq(counts.sources, 1);
	forget(w, 1, "c");
	w_run(w, 3000);
	ck_assert_int_eq(w_answer(w, 1)->error, 0);
	w_no_leftovers(w);
	ck_assert_uint_eq(served(w), 6);
	w_free(w);
}
END_TEST

/* What was stopped on it is claimed when it is started, though nobody knows that owner any more. */
START_TEST(its_children_are_taken)
{
	struct world *w = w_new(3);
	struct w_def *def = w_def(w, "room", "1");
	w->partition = partitions[_i];
	w_declare_all(w, def);
	w_start_all(w);
	w_run(w, 6000);
	const struct ph_command one = {.instance = 0};
	w_order(w, 0, PH_VERB_MOVE, "room", "c", &one);
	w_run(w, 12000);
	ck_assert_uint_eq(w_only(w, "room", 0)->node, 2);
	w_order(w, 0, PH_VERB_STOP, "room", NULL, &one);
	w_run(w, 6000);
	ck_assert_int_eq(w_answer(w, 0)->error, 0);
	w_power_off(w, 2);
	w_run(w, 12000);
	forget(w, 0, "c");
	w_run(w, 3000);
	ck_assert_int_eq(w_answer(w, 0)->error, 0);
	w_order(w, 1, PH_VERB_START, "room", NULL, &one);
	w_run(w, 12000);
	ck_assert_int_eq(w_answer(w, 1)->error, 0);
	w_agree(w, "room", 0, w_only(w, "room", 0)->node);
	w_free(w);
}
END_TEST

/* One that left in order stays in the list for a day, and then by this for no longer. */
START_TEST(one_that_left)
{
	struct world *w = cluster(3, partitions[_i]);
	(void)w_push(w, 2, PH_EV_SHUTDOWN);
	w_run(w, 15000);
	ck_assert_int_eq((int)w_member(w, 0, 2)->state, PH_MEMBER_LEFT);
	forget(w, 0, "c");
	w_run(w, 2000);
	ck_assert_int_eq(w_answer(w, 0)->error, 0);
	ck_assert_ptr_null(w_member(w, 0, 2));
	ck_assert_ptr_null(w_member(w, 1, 2));
	w_free(w);
}
END_TEST

/* ---- over a restart */

static bool forgotten(struct world *w, unsigned node, unsigned other)
{
	struct ph_name name = w_name(other);
	return ph_forgotten(w->nodes[node].hub, &name);
}

static void restart(struct world *w, bool compact)
{
	for (unsigned i = 0; i < 2; i++) {
		if (compact)
			w_compact(w, i);
		w_power_off(w, i);
		w->nodes[i].ready = false;
	}
	for (unsigned i = 0; i < 2; i++)
		w_start(w, i);
}

/* All daemons that know of it are restarted: they do not wait for it, though `peers` names it. */
START_TEST(it_stays_forgotten)
{
	struct world *w = cluster(3, partitions[_i / 2]);
	bool compact = _i % 2;
	w_power_off(w, 2);
	w_run(w, 12000);
	forget(w, 0, "c");
	w_run(w, 3000);
	ck_assert_int_eq(w_answer(w, 0)->error, 0);
	restart(w, compact);
	w_run(w, 3000); /* join_timeout is 5 s */
	for (unsigned i = 0; i < 2; i++) {
		ck_assert(forgotten(w, i, 2));
		ck_assert(w->nodes[i].ready && !w->nodes[i].hub->blind);
	}
	/* A new member is none that was forgotten, and from then on it is waited for again. */
	w_start(w, 2);
	w_run(w, 20000);
	for (unsigned i = 0; i < 2; i++)
		ck_assert_int_eq((int)w_member(w, i, 2)->state, PH_MEMBER_ALIVE);
	w_power_off(w, 2);
	w_run(w, 12000);
	restart(w, compact);
	w_run(w, 3000);
	for (unsigned i = 0; i < 2; i++)
		ck_assert(!forgotten(w, i, 2) && !w->nodes[i].ready);
	w_run(w, 6000);
	for (unsigned i = 0; i < 2; i++)
		ck_assert(w->nodes[i].ready && w->nodes[i].hub->blind);
	w_free(w);
}
END_TEST

static bool no_ballot(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)w, (void)from, (void)to;
	return msg->kind != PH_B_VIEW_ASK;
}

/* They end before the view without it is chosen, and choose it when they are back. */
START_TEST(the_view_follows_after_a_restart)
{
	struct world *w = cluster(3, PH_PARTITION_MAJORITY);
	w_power_off(w, 2);
	w_run(w, 12000);
	w->pass = no_ballot;
	forget(w, 0, "c");
	w_run(w, 3000);
	ck_assert_uint_eq(view(w, 0)->n, 3);
	w->pass = NULL;
	restart(w, _i);
	w_run(w, 12000);
	for (unsigned i = 0; i < 2; i++)
		ck_assert_uint_eq(view(w, i)->n, 2);
	w_free(w);
}
END_TEST

/* Another node has moved to where it was, and is waited for. */
START_TEST(its_address_may_be_another_ones)
{
	struct world *w = cluster(3, PH_PARTITION_DIVERGENCE);
	w_power_off(w, 2);
	w_run(w, 12000);
	forget(w, 0, "c");
	w_run(w, 3000);
	struct ph_member_info info = {.name = {"d"}, .incarnation = 1};
	(void)snprintf(info.address, sizeof info.address, "%s", w_address(2));
	ck_assert(ph_tomb_at(w->nodes[0].hub, info.address));
	ck_assert_ptr_nonnull(ph_member_learn(w->nodes[0].hub, &info, true));
	ck_assert(!ph_tomb_at(w->nodes[0].hub, info.address));
	ck_assert(forgotten(w, 0, 2));
	w_free(w);
}
END_TEST

/* ---- without a lease */

/* b says yes while it has none: it does so once it has one, also when it was restarted meanwhile.
 */
START_TEST(what_was_promised_without_a_lease_is_done)
{
	struct world *w = cluster(3, PH_PARTITION_MAJORITY);
	w_power_off(w, 2);
	w_run(w, 12000);
	const struct ph_bmsg order = {.kind = PH_B_ORDER,
		.from = w_name(0),
		.incarnation = w_member(w, 1, 0)->info.incarnation,
		.order = 99,
		.verb = PH_VERB_FORGET,
		.target = w_name(2),
		.known_incarnation = w_member(w, 1, 2)->info.incarnation};
	w->nodes[1].hub->lease_until_ms = 0;
	unsigned answers = w->nodes[1].sent[PH_B_ORDER_ACK];
	w_push(w, 1, PH_EV_MESSAGE)->message = &order;
	w_drain(w);
	ck_assert_uint_eq(w->nodes[1].sent[PH_B_ORDER_ACK], answers + 1);
	ck_assert_ptr_nonnull(w_member(w, 1, 2)); /* not without a quorum */
	ck_assert(!forgotten(w, 1, 2));
	if (_i) {
		w_power_off(w, 1);
		w_start(w, 1);
	}
	w_run(w, _i ? 12000 : 1000);
	ck_assert_ptr_null(w_member(w, 1, 2));
	ck_assert(forgotten(w, 1, 2));
	w_free(w);
}
END_TEST

/* ... unless that one has been back since. */
START_TEST(what_was_promised_may_be_out_of_date)
{
	struct world *w = cluster(3, PH_PARTITION_MAJORITY);
	char why[PH_REASON_SIZE];
	struct ph_name c = w_name(2);
	w_power_off(w, 2);
	w_run(w, 12000);
	struct ph_hub *hub = w->nodes[1].hub;
	hub->lease_until_ms = 0;
	ck_assert_int_eq(ph_forget_carry_out(hub, &c, w_member(w, 1, 2)->info.incarnation, why), 0);
	ck_assert(ph_tomb_find(hub, &c)->owed);
	struct ph_member_info info = w_member(w, 1, 2)->info;
	info.incarnation++;
	(void)ph_member_learn(hub, &info, true);
	ck_assert_ptr_null(ph_tomb_find(hub, &c));
	w_run(w, 1000);
	ck_assert_ptr_nonnull(w_member(w, 1, 2));
	w_free(w);
}
END_TEST

/* ---- many */

static struct ph_name numbered(unsigned i)
{
	char name[16];
	(void)snprintf(name, sizeof name, "n%u", i);
	return ph_name_of(name);
}

/* What an operator ordered outlasts what was only remembered, and is refused where none fits. */
START_TEST(what_was_ordered_goes_last)
{
	struct world *w = cluster(3, PH_PARTITION_DIVERGENCE);
	char why[PH_REASON_SIZE];
	struct ph_hub *hub = w->nodes[0].hub;
	struct ph_member m = {.info = {.incarnation = 1}, .state = PH_MEMBER_DEAD};
	struct ph_name first = numbered(0), last = numbered(3 * PH_NODES_MAX);
	ph_tomb_order(hub, &first, 1, false);
	for (unsigned i = 1; i < PH_NODES_MAX + 50; i++) {
		m.info.name = numbered(i);
		ph_tomb_put(hub, &m);
	}
	ck_assert_uint_eq(HASH_COUNT(hub->tombs), PH_NODES_MAX);
	ck_assert(ph_forgotten(hub, &first));
	ck_assert_int_eq(ph_forget_check(hub, &last, 1, why), 0);
	for (unsigned i = 0; i < PH_NODES_MAX - 1; i++) {
		struct ph_name name = numbered(PH_NODES_MAX + 50 + i);
		ph_tomb_order(hub, &name, 1, false);
	}
	m.info.name = last;
	ph_tomb_put(hub, &m);
	ck_assert_uint_eq(HASH_COUNT(hub->tombs), PH_NODES_MAX);
	ck_assert(ph_forgotten(hub, &first) && !ph_tomb_find(hub, &last));
	ck_assert_int_eq(ph_forget_check(hub, &last, 1, why), -EBUSY);
	ck_assert_ptr_nonnull(strstr(why, "1024 nodes are forgotten already"));
	ck_assert_int_eq(ph_forget_carry_out(hub, &last, 1, why), -EBUSY);
	ck_assert_int_eq(ph_forget_check(hub, &first, 1, why), 0); /* it is so already */
	hub->now_ms += UINT64_C(86400000);
	ck_assert_int_eq(ph_forget_carry_out(hub, &last, 1, why), 0);
	ck_assert(ph_forgotten(hub, &last) && !ph_forgotten(hub, &first));
	w_free(w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core_forget");
	W_TEST(suite, who_lives_is_not_forgotten, 2);
	W_TEST(suite, one_who_hears_it_objects, 1);
	W_TEST(suite, all_must_agree, 2);
	W_TEST(suite, not_without_a_quorum_of_the_old_view, 1);
	W_TEST(suite, not_before_its_fence_has_passed, 2);
	W_TEST(suite, it_is_gone_everywhere, 4);
	W_TEST(suite, if_it_lives_after_all, 2);
	W_TEST(suite, one_that_lost_its_journal_waits_no_longer, 2);
	W_TEST(suite, what_was_kept_for_it_goes, 2);
	W_TEST(suite, its_children_are_taken, 2);
	W_TEST(suite, one_that_left, 2);
	W_TEST(suite, it_stays_forgotten, 4);
	W_TEST(suite, the_view_follows_after_a_restart, 2);
	W_TEST(suite, its_address_may_be_another_ones, 1);
	W_TEST(suite, what_was_promised_without_a_lease_is_done, 2);
	W_TEST(suite, what_was_promised_may_be_out_of_date, 1);
	W_TEST(suite, what_was_ordered_goes_last, 1);
	return w_main(suite);
}
