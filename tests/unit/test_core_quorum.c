/* Views, leases and grants of the quorum strategies; that two never serve, core_rules.h watches. */
#include "core_world.h"
#include "core/quorum.h"

static struct world *majority(unsigned n_nodes)
{
	struct world *w = w_new(n_nodes);
	w->partition = PH_PARTITION_MAJORITY;
	w_declare_all(w, w_def(w, "room", "1"));
	w->defs[0].spec.instances = 6;
	return w;
}

static const struct ph_view *view(struct world *w, unsigned node)
{
	return &w->nodes[node].hub->view;
}

static unsigned long long life(struct world *w, unsigned node)
{
	return w->nodes[node].hub->set.incarnation;
}

static unsigned served(struct world *w, unsigned node)
{
	unsigned n = 0;
	for (size_t i = 0; i < w->n_procs; i++)
		n += w_serves(&w->procs[i]) && (node == W_NODES || w->procs[i].node == node);
	return n;
}

/* ---- the pure parts */

START_TEST(texts)
{
	static const char *const bad[] = {NULL, "", "a", "0 a", "1", "1 ", "2 a,", "2 a,,b", "1 a@",
		"1 @7", "1 a@7x", "1 a@7@8", "1 a@9999999999999999999", "1 a@-7", "1 a,b", "9999 a",
		"-1 a", "2 ,a"};
	struct ph_view v;
	ck_assert(ph_quorum_read("3 b,a", &v));
	ck_assert_uint_eq(v.size, 3);
	ck_assert_uint_eq(v.n, 2);
	struct ph_name a = ph_name_of("a"), c = ph_name_of("c");
	ck_assert(ph_quorum_has(&v, &a) && !ph_quorum_has(&v, &c));
	char *text = ph_quorum_text(&v);
	ck_assert_str_eq(text, "3 a,b");
	free(text);
	free(v.voters);
	ck_assert(ph_quorum_read("3 b@170,a", &v));
	text = ph_quorum_text(&v);
	ck_assert_str_eq(text, "3 a,b@170");
	free(text);
	free(v.voters);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		ck_assert_msg(!ph_quorum_read(bad[i], &v), "'%s' is no view", bad[i]);
}
END_TEST

START_TEST(sizes)
{
	static const struct {
		enum ph_partition partition;
		uint32_t least, size, want;
	} rows[] = {
		{PH_PARTITION_MAJORITY, 0, 1, 1},
		{PH_PARTITION_MAJORITY, 0, 2, 2},
		{PH_PARTITION_MAJORITY, 0, 3, 2},
		{PH_PARTITION_MAJORITY, 0, 4, 3},
		{PH_PARTITION_MAJORITY, 0, 5, 3},
		{PH_PARTITION_STATIC_QUORUM, 1, 5, 3}, /* never less than a majority */
		{PH_PARTITION_STATIC_QUORUM, 4, 5, 4},
		{PH_PARTITION_STATIC_QUORUM, 4, 3, 4}, /* out of reach: nothing runs */
		{PH_PARTITION_DYNAMIC_QUORUM, 30, 5, 3},
		{PH_PARTITION_DYNAMIC_QUORUM, 80, 5, 4},
		{PH_PARTITION_DYNAMIC_QUORUM, 81, 5, 5},
	};
	struct world *w = majority(3);
	w_start(w, 0);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct ph_settings *set = &w->nodes[0].hub->set;
		set->partition = rows[i].partition;
		set->quorum_size = set->quorum_percent = rows[i].least;
		ck_assert_uint_eq(ph_quorum_of(w->nodes[0].hub, rows[i].size), rows[i].want);
	}
	w_free(w);
}
END_TEST

/* ---- the view */

START_TEST(first_view)
{
	struct world *w = majority(3);
	w_start_all(w);
	w_run(w, 6000);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_uint_eq(view(w, i)->n, 3);
		ck_assert_uint_eq(view(w, i)->size, 3);
		ck_assert_uint_eq(view(w, i)->number, view(w, 0)->number);
		ck_assert_int_eq(ph_hub_quorum(w->nodes[i].hub), 1);
	}
	ck_assert_uint_eq(served(w, W_NODES), 6);
	w_free(w);
}
END_TEST

/* Two of the three that `peers` speaks of are enough; one is not, however long it waits. */
START_TEST(a_part_of_peers)
{
	struct world *w = majority(3);
	w_start(w, 0);
	w_run(w, 60000);
	ck_assert_uint_eq(view(w, 0)->number, 0);
	ck_assert_uint_eq(w->n_procs, 0);
	ck_assert_int_eq(ph_hub_quorum(w->nodes[0].hub), 0);
	w_start(w, 1);
	w_run(w, 9000);
	ck_assert_uint_eq(view(w, 1)->size, 3);
	ck_assert_uint_eq(served(w, W_NODES), 6);
	w_start(w, 2);
	w_run(w, 9000);
	ck_assert_uint_eq(view(w, 0)->n, 3);
	ck_assert_uint_eq(view(w, 2)->number, view(w, 0)->number);
	w_free(w);
}
END_TEST

/* A view of three never becomes one of six: what is missing of it is filled up. */
START_TEST(an_orderly_end_leaves_the_view)
{
	struct world *w = majority(3);
	w_start_all(w);
	w_run(w, 5000);
	(void)w_push(w, 2, PH_EV_SHUTDOWN);
	w_run(w, 8000);
	ck_assert(w->nodes[2].exited);
	ck_assert_uint_eq(view(w, 0)->n, 2);
	ck_assert_uint_eq(view(w, 0)->size, 2);
	ck_assert_uint_eq(served(w, W_NODES), 6);
	w_start(w, 2);
	w_run(w, 8000);
	ck_assert_uint_eq(view(w, 0)->n, 3);
	ck_assert_uint_eq(view(w, 2)->n, 3);
	ck_assert_int_eq(ph_hub_quorum(w->nodes[2].hub), 1);
	w_free(w);
}
END_TEST

/* A dead one stays in the view; a dynamic quorum forgets it after `hold`, and then lives with one
 * less. */
START_TEST(the_dead_stay_or_go)
{
	struct world *w = majority(3);
	w->partition = _i ? PH_PARTITION_DYNAMIC_QUORUM : PH_PARTITION_MAJORITY;
	w->quorum_percent = 51;
	w_start_all(w);
	w_run(w, 5000);
	w_power_off(w, 2);
	w_run(w, 12000);
	ck_assert_uint_eq(view(w, 0)->size, 3);
	w_run(w, 10000);
	ck_assert_uint_eq(view(w, 0)->size, _i ? 2 : 3);
	ck_assert_uint_eq(served(w, W_NODES), 6);
	w_free(w);
}
END_TEST

static bool no_proposals(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)to;
	return msg->kind != PH_B_VIEW_PROPOSE || from != 0 || w->arg;
}

/* What one member has accepted is taken over by whoever proposes next. */
START_TEST(a_ballot_is_finished_by_another)
{
	struct world *w = majority(3);
	struct ph_view next;
	w_start_all(w);
	w_run(w, 5000);
	uint64_t number = view(w, 1)->number;
	struct ph_hub *c = w->nodes[2].hub;
	char text[128];
	(void)snprintf(
		text, sizeof text, "4 a@%llu,b@%llu,c@%llu", life(w, 0), life(w, 1), life(w, 2));
	/* c has accepted that there is room for a fourth, and nobody else has heard of it. */
	c->vote_view = number + 1;
	c->promised = c->accepted = ph_epoch_make(900, 1);
	free(c->accepted_value);
	c->accepted_value = strdup(text);
	text[0] = '3';
	ck_assert(ph_quorum_read(text, &next));
	ph_out_begin(w->nodes[1].hub);
	w->nodes[1].hub->ballots = 1000;
	ph_ballot_want(w->nodes[1].hub, &next);
	struct ph_actions actions;
	ph_out_end(w->nodes[1].hub, &actions);
	w->cut[0][1] = true; /* so that c is in the quorum */
	for (size_t i = 0; i < actions.n; i++)
		w_act(w, 1, &actions.items[i]);
	w_drain(w);
	ck_assert_uint_eq(view(w, 1)->number, number + 1);
	ck_assert_uint_eq(view(w, 1)->size, 4);
	ck_assert_uint_eq(view(w, 2)->size, 4);
	free(next.voters);
	w_free(w);
}
END_TEST

START_TEST(another_one_proposes_where_the_first_does_not)
{
	struct world *w = majority(3);
	w->pass = no_proposals;
	w_start_all(w);
	w_run(w, 20000);
	ck_assert_uint_eq(served(w, W_NODES), 6);
	ck_assert_uint_ge(view(w, 0)->number, 1);
	w_free(w);
}
END_TEST

static bool lose_answers(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	bool *lost = w->arg;
	bool promise = msg->kind == PH_B_VIEW_PROMISE;
	if (from == to || !(promise || msg->kind == PH_B_VIEW_ACCEPTED) || lost[promise])
		return true;
	lost[promise] = true;
	return false;
}

/* The question goes out again: a lost answer, in either phase, does not cost the ballot. */
START_TEST(a_lost_answer_is_asked_for_again)
{
	struct world *w = majority(3);
	bool lost[2] = {false, false};
	w_start(w, 0);
	w_start(w, 1);
	w->pass = lose_answers;
	w->arg = lost;
	for (unsigned i = 0; i < 900 && !view(w, 0)->number; i++)
		w_run(w, 10);
	ck_assert(lost[0] && lost[1]);
	ck_assert_uint_eq(view(w, 0)->number, 1);
	ck_assert_uint_eq(w->nodes[0].hub->ballots, 1);
	ck_assert_uint_eq(w->nodes[1].hub->ballots, 1);
	w_free(w);
}
END_TEST

/* ---- an orderly end */

static bool lose_last_words(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	unsigned *n = w->arg;
	struct ph_name leaver = w_name(2);
	struct ph_hub *hub = w->nodes[2].hub;
	if (from != 2 || to != 0)
		return true;
	if (msg->kind == PH_B_LEAVE) {
		ck_assert_uint_ge(
			ph_member_find(w->nodes[0].hub, &leaver)->have, hub->flushed_version);
		n[1]++;
	}
	if (msg->kind != PH_B_REGISTRY || msg->fetched || !hub->shutting)
		return true;
	n[0]++;
	return false;
}

/* What it casts last is lost on its way to one of them: it stays until that one has asked for it.
 */
START_TEST(who_leaves_is_heard_out)
{
	struct world *w = majority(3);
	unsigned n[2] = {0, 0};
	w->partition = _i ? PH_PARTITION_MAJORITY : PH_PARTITION_DIVERGENCE;
	w_start_all(w);
	w_run(w, 6000);
	w->pass = lose_last_words;
	w->arg = n;
	(void)w_push(w, 2, PH_EV_SHUTDOWN);
	w_run(w, 8000);
	ck_assert(w->nodes[2].exited);
	ck_assert_uint_gt(n[0], 0);
	ck_assert_uint_eq(n[1], 1);
	w_free(w);
}
END_TEST

static bool lose_leave(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)w;
	(void)to;
	return from != 1 || msg->kind != PH_B_LEAVE;
}

/* It lives on for a moment once it is out of the view, as far as the other one can tell: let in
 * again, it would leave a view behind that has no quorum. */
START_TEST(who_has_asked_to_go_is_not_let_in_again)
{
	struct world *w = majority(2);
	w_start_all(w);
	w_run(w, 6000);
	w->pass = lose_leave;
	(void)w_push(w, 1, PH_EV_SHUTDOWN);
	w_run(w, 20000);
	ck_assert(w->nodes[1].exited);
	ck_assert_uint_eq(view(w, 0)->n, 1);
	ck_assert_int_eq(ph_hub_quorum(w->nodes[0].hub), 1);
	w->pass = NULL;
	w_start(w, 1); /* another life of it is, at once */
	w_run(w, 4000);
	ck_assert_uint_eq(view(w, 0)->n, 2);
	ck_assert_int_eq(ph_hub_quorum(w->nodes[1].hub), 1);
	w_free(w);
}
END_TEST

/* Of two of three one ends while the third is joining: it stays until that one is in the view. */
START_TEST(who_leaves_waits_for_its_successor)
{
	struct world *w = majority(3);
	w_start(w, 0);
	w_start(w, 1);
	w_run(w, 12000);
	w_start(w, 2);
	w_run(w, 500);
	ck_assert_uint_eq(view(w, 0)->n, 2);
	(void)w_push(w, 1, PH_EV_SHUTDOWN);
	w_run(w, 12000);
	ck_assert(w->nodes[1].exited);
	ck_assert_uint_eq(view(w, 0)->n, 2);
	ck_assert_uint_eq(view(w, 0)->size, 2);
	ck_assert_int_eq(ph_hub_quorum(w->nodes[0].hub), 1);
	ck_assert_uint_eq(served(w, W_NODES), 6);
	w_free(w);
}
END_TEST

/* ---- whose place it is */

/* A view that names another life: this one does not know what that one has promised. */
START_TEST(a_place_is_for_one_life)
{
	struct world *w = majority(3);
	char text[128];
	w_start_all(w);
	w_run(w, 6000);
	struct ph_hub *b = w->nodes[1].hub;
	unsigned long long own = b->set.incarnation;
	(void)snprintf(text, sizeof text, "3 a@1,b@%llu,c@1", own);
	ph_out_begin(b);
	ph_quorum_take(b, b->view.number + 1, text);
	ck_assert(!b->forgetful);
	(void)snprintf(text, sizeof text, "3 a@1,b@%llu,c@1", own + 7);
	ph_quorum_take(b, b->view.number + 1, text);
	ck_assert(b->forgetful && b->stranger && b->lost_open);
	ph_quorum_take(b, b->view.number + 1, "2 a@1,c@1");
	ck_assert(!ph_lease_valid(b)); /* it has no place at all */
	struct ph_actions actions;
	ph_out_end(b, &actions);
	w_free(w);
}
END_TEST

/* The view in force names another life of b, everywhere: what a second node of its name finds. */
static void b_is_a_stranger(struct world *w)
{
	char text[128];
	(void)snprintf(text, sizeof text, "3 a@%llu,b@%llu,c@%llu", life(w, 0), life(w, 1) + 7,
		life(w, 2));
	for (unsigned i = 0; i < 3; i++) {
		struct ph_hub *hub = w->nodes[i].hub;
		struct ph_actions actions;
		ph_out_begin(hub);
		ph_quorum_take(hub, hub->view.number + 1, text);
		ph_out_end(hub, &actions);
	}
	ck_assert(w->nodes[1].hub->stranger);
}

static bool no_questions(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)w, (void)from, (void)to;
	return msg->kind != PH_B_VIEW_ASK;
}

/* One that has another one's place counts for nothing, not even for itself, until it is let in. */
START_TEST(a_stranger_counts_for_nothing)
{
	struct world *w = majority(3);
	w_start_all(w);
	w_run(w, 6000);
	w->pass = no_questions;
	b_is_a_stranger(w);
	w_power_off(w, 2);
	w_run(w, 5000);
	ck_assert_int_eq(ph_hub_quorum(w->nodes[1].hub), 0);
	ck_assert_int_eq(ph_hub_quorum(w->nodes[0].hub), 0); /* its echo counts for nothing */
	w->pass = NULL;
	w_run(w, 5000);
	ck_assert(w->nodes[1].hub->stranger); /* one of three cannot let it in */
	w_start(w, 2);
	w_run(w, 12000);
	ck_assert(!w->nodes[1].hub->stranger);
	ck_assert(!w->nodes[1].hub->forgetful);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(ph_hub_quorum(w->nodes[i].hub), 1);
	w_free(w);
}
END_TEST

/* Where a lease of the old one may rest on c's echo, c waits for its end. */
START_TEST(a_place_changes_hands_when_its_lease_is_over)
{
	struct world *w = majority(3);
	w_start_all(w);
	w_run(w, 6000);
	b_is_a_stranger(w);
	uint64_t number = view(w, 0)->number;
	w_member(w, 2, 1)->others_until_ms = w->now_ms + 3000;
	w_run(w, 2900);
	ck_assert_uint_eq(view(w, 0)->number, number);
	ck_assert(!ph_lease_valid(w->nodes[1].hub));
	w_run(w, 2500);
	ck_assert_uint_eq(view(w, 0)->number, number + 1);
	ck_assert(!w->nodes[1].hub->stranger);
	ck_assert(ph_lease_valid(w->nodes[1].hub));
	w_free(w);
}
END_TEST

/* Its own next daemon is no stranger, and waits for nobody's lease. */
START_TEST(a_restart_keeps_the_place)
{
	struct world *w = majority(3);
	w_start_all(w);
	w_run(w, 6000);
	uint64_t number = view(w, 0)->number;
	for (unsigned i = 0; i < 3; i++) {
		w_crash(w, 1);
		w_start(w, 1);
		w_run(w, 1500);
		ck_assert(!w->nodes[1].hub->stranger && !w->nodes[1].hub->forgetful);
		ck_assert(ph_lease_valid(w->nodes[1].hub));
	}
	ck_assert_uint_eq(view(w, 0)->number, number);
	w_free(w);
}
END_TEST

/* Where its journal is lost, the others know that it stands where the old life stood. */
START_TEST(a_lost_journal_does_not_cost_the_place)
{
	struct world *w = majority(3);
	w_start_all(w);
	w_run(w, 6000);
	uint64_t number = view(w, 0)->number;
	w_crash(w, 1);
	w_start(w, 1);
	w_run(w, 1500);
	w_power_off(w, 2);
	w_crash(w, 1);
	w->nodes[1].n_records = 0;
	w_start(w, 1); /* the life that the view names is the one before the last */
	w_run(w, 8000);
	ck_assert(!w->nodes[1].hub->stranger && w->nodes[1].hub->forgetful);
	ck_assert_int_eq(ph_hub_quorum(w->nodes[0].hub), 1);
	ck_assert_uint_eq(view(w, 0)->number, number);
	w_crash(w, 1);
	w_start(w, 1);
	ck_assert(!w->nodes[1].hub->stranger); /* and it is in the new journal */
	w_free(w);
}
END_TEST

static bool none_of_c(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)from;
	bool cast = msg->kind == PH_B_VIEW;
	if (cast && to < 2 && msg->view > *(uint64_t *)w->arg) /* chosen: c has no lease */
		ck_assert(!ph_lease_valid(w->nodes[2].hub));
	return true;
}

/* Who has accepted a view without c renews no lease of c, and brings that view to its end. */
START_TEST(what_is_accepted_is_kept)
{
	struct world *w = majority(3);
	char text[128];
	w_start_all(w);
	w_run(w, 6000);
	uint64_t number = view(w, 0)->number;
	struct ph_hub *a = w->nodes[0].hub;
	(void)snprintf(text, sizeof text, "2 a@%llu,b@%llu", life(w, 0), life(w, 1));
	a->vote_view = number + 1;
	a->promised = a->accepted = ph_epoch_make(900, 1);
	a->ballots = 900;
	free(a->accepted_value);
	a->accepted_value = strdup(text);
	ph_seat_vote(a);
	ck_assert(
		ph_seat_withheld(a, w_member(w, 0, 2)) && !ph_seat_withheld(a, w_member(w, 0, 1)));
	uint64_t renewed_ms = w_member(w, 2, 0)->lease_at_ms;
	w->pass = none_of_c;
	w->arg = &number;
	w_run(w, 1500);
	ck_assert_uint_le(w_member(w, 2, 0)->lease_at_ms, renewed_ms + 250);
	w_run(w, 20000);
	ck_assert_uint_ge(view(w, 0)->number, number + 2); /* it is out, and in again */
	ck_assert_uint_eq(view(w, 0)->n, 3);
	ck_assert_int_eq(ph_hub_quorum(w->nodes[2].hub), 1);
	w_free(w);
}
END_TEST

static bool asks_without_lease(
	struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)to;
	if (msg->kind == PH_B_VIEW_ASK && from == 2 && w->nodes[2].hub->stopping) {
		ck_assert(!ph_lease_valid(w->nodes[2].hub));
		++*(unsigned *)w->arg;
	}
	return true;
}

START_TEST(who_asks_for_its_own_end_has_no_lease)
{
	struct world *w = majority(3);
	unsigned n = 0;
	w_start_all(w);
	w_run(w, 6000);
	w->pass = asks_without_lease;
	w->arg = &n;
	(void)w_push(w, 2, PH_EV_SHUTDOWN);
	w_run(w, 6000);
	ck_assert(w->nodes[2].exited);
	ck_assert_uint_gt(n, 0);
	ck_assert_uint_eq(view(w, 0)->n, 2);
	w_free(w);
}
END_TEST

/* b's place is asked for by life 7, at 100,000 ms, when the last daemon started long ago. */
START_TEST(when_a_place_is_free)
{
	static const struct {
		enum ph_member_state state;
		uint64_t incarnation, told_ms, others_ms, started_ms;
		bool adrift, want;
	} rows[] = {
		{PH_MEMBER_ALIVE, 5, 99000, 0, 1, false, false}, /* it lives */
		{PH_MEMBER_SUSPECT, 5, 95551, 0, 1, false, false},
		{PH_MEMBER_SUSPECT, 5, 95550, 0, 1, false, true}, /* its lease is over */
		{PH_MEMBER_DEAD, 5, 95551, 0, 1, false, false},
		{PH_MEMBER_DEAD, 5, 95550, 0, 1, false, true},
		{PH_MEMBER_LEFT, 5, 99000, 0, 1, false, true},	     /* it has given it up ... */
		{PH_MEMBER_LEFT, 5, 99000, 0, 1, true, false},	     /* ... or never had it */
		{PH_MEMBER_ALIVE, 7, 99000, 0, 1, true, true},	     /* the new one itself */
		{PH_MEMBER_ALIVE, 7, 99000, 100001, 1, true, false}, /* an earlier one's lasts */
		{PH_MEMBER_ALIVE, 7, 99000, 100000, 1, true, true},
		{PH_MEMBER_ALIVE, 7, 99000, 0, 95551, true, false}, /* what was before? */
		{PH_MEMBER_ALIVE, 7, 99000, 0, 95550, true, true},
	};
	struct world *w = majority(3);
	struct ph_name b = w_name(1);
	w_start_all(w);
	w_run(w, 6000);
	struct ph_hub *hub = w->nodes[0].hub;
	struct ph_member *m = w_member(w, 0, 1);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		hub->now_ms = 100000;
		hub->started_ms = rows[i].started_ms;
		m->state = rows[i].state;
		m->info.incarnation = rows[i].incarnation;
		m->lease_told_ms = rows[i].told_ms;
		m->others_until_ms = rows[i].others_ms;
		m->adrift = rows[i].adrift;
		ck_assert_msg(ph_seat_free(hub, &b, 7) == rows[i].want, "row %zu", i);
	}
	ck_assert(!ph_seat_free(hub, &hub->set.node, 7) == ph_lease_valid(hub));
	w_free(w);
}
END_TEST

/* Who may do without the vote of the one whose place it is. */
START_TEST(all_others_are_enough)
{
	static const struct {
		const char *view, *next;
		const char *yes[3];
		bool seed, want;
	} rows[] = {
		{"2 b@1,c@1", "2 b@1,c@7", {"b"}, false, true}, /* the first by name */
		{"2 a@1,b@1", "2 a@7,b@1", {"b"}, false, false},
		{"2 a@1,b@1", "2 a@7,b@1", {"b"}, true, true},	 /* it stands where a stood */
		{"2 a@1,b@1", "1 b@1", {"b"}, true, false},	 /* nobody comes for it */
		{"2 b@1,c@1", "2 b@7,c@1", {"b"}, false, false}, /* its own */
		{"1 b@1", "1 b@7", {"b"}, false, false},
		{"3 a@1,b@1,c@1", "3 a@7,b@1,c@1", {"b", "c"}, false, true},
		{"3 a@1,b@1,c@1", "3 a@7,b@1,c@1", {"b"}, true, false},
		{"3 a@1,b@1,c@1", "3 a@7,b@1,c@1", {"a", "b"}, true, false},
		{"3 a@1,b@1,c@1", "3 a@7,b@7,c@1", {"b", "c"}, true, false}, /* two at once */
	};
	struct world *w = majority(3);
	w_start_all(w);
	w_run(w, 6000);
	struct ph_hub *hub = w->nodes[1].hub;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct ph_name yes[3];
		size_t n = 0;
		for (; n < 3 && rows[i].yes[n]; n++)
			yes[n] = ph_name_of(rows[i].yes[n]);
		free(hub->view.voters);
		ck_assert(ph_quorum_read(rows[i].view, &hub->view));
		hub->view.number = 9;
		w_member(w, 1, 0)->info.incarnation = rows[i].seed ? 7 : 8;
		ck_assert_msg(
			ph_seat_others(hub, rows[i].next, yes, n) == rows[i].want, "row %zu", i);
	}
	w_free(w);
}
END_TEST

static bool no_vote(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)w, (void)from, (void)to;
	bool vote = msg->kind == PH_B_VIEW_PROMISE || msg->kind == PH_B_VIEW_ACCEPTED;
	ck_assert(!vote || !msg->ok);
	return true;
}

START_TEST(votes_are_synced_first)
{
	struct world *w = majority(3);
	w->pass = no_vote;
	for (unsigned i = 0; i < 3; i++)
		w->nodes[i].manual_disk = true;
	w_start_all(w);
	w_run(w, 3000);
	ck_assert_uint_ge(w->nodes[0].sent[PH_B_VIEW_ASK], 2);
	w->pass = NULL;
	for (unsigned i = 0; i < 3; i++)
		w->nodes[i].manual_disk = false, w_sync_all(w, i);
	w_run(w, 8000);
	ck_assert_uint_ge(view(w, 0)->number, 1);
	w_free(w);
}
END_TEST

/* ---- the lease */

START_TEST(a_node_that_is_cut_off_stops_first)
{
	struct world *w = majority(3);
	w_start_all(w);
	w_run(w, 5000);
	unsigned there = served(w, 2);
	ck_assert_uint_gt(there, 0);
	w_cut_off(w, 2, true);
	w_run(w, 2500);
	ck_assert_uint_eq(served(w, 2), there); /* its lease lasts */
	w_run(w, 1000);
	ck_assert_uint_eq(served(w, 2), 0);
	ck_assert_uint_eq(w->nodes[2].emitted[PH_EMIT_QUORUM_LOST], 1);
	ck_assert_uint_eq(served(w, W_NODES), 6 - there); /* nobody has taken them over yet */
	w_run(w, 5000);
	ck_assert_uint_eq(served(w, W_NODES), 6);
	ck_assert_uint_eq(served(w, 2), 0);
	w_cut_off(w, 2, false);
	w_run(w, 5000);
	ck_assert_uint_eq(w->nodes[2].emitted[PH_EMIT_QUORUM_GAINED], 2);
	for (uint32_t i = 0; i < 6; i++)
		(void)w_only(w, "room", i);
	w_free(w);
}
END_TEST

/* One that ignores its stop is killed when the grace is over, not after its stop_timeout. */
START_TEST(the_deaf_are_killed_in_time)
{
	struct world *w = majority(3);
	w->defs[0].traits.deaf = true;
	w->defs[0].spec.stop_timeout_ms = 60000;
	w_start_all(w);
	w_run(w, 5000);
	w_cut_off(w, 2, true);
	w_run(w, 4300); /* fence_after and fence_grace, and a heartbeat */
	ck_assert_uint_eq(w_alive(w, 2), 0);
	w_free(w);
}
END_TEST

/* Its lease is longer than those of the others: they wait for it, and not by their own settings. */
START_TEST(a_node_with_longer_times)
{
	struct world *w = majority(3);
	w->slowness[2] = 4;
	w_start_all(w);
	w_run(w, 5000);
	unsigned there = served(w, 2);
	ck_assert_uint_gt(there, 0);
	w_cut_off(w, 2, true);
	w_run(w, 11000);
	ck_assert_uint_eq(served(w, 2), there);
	ck_assert_uint_eq(served(w, W_NODES), 6);
	w_run(w, 10000);
	ck_assert_uint_eq(served(w, 2), 0);
	ck_assert_uint_eq(served(w, W_NODES), 6);
	w_free(w);
}
END_TEST

START_TEST(a_restart_alone_has_the_stored_view)
{
	struct world *w = majority(3);
	w_start_all(w);
	w_run(w, 5000);
	for (unsigned i = 0; i < 3; i++)
		w_power_off(w, i);
	w_start(w, 1);
	w_run(w, 30000);
	ck_assert_uint_eq(view(w, 1)->n, 3);
	ck_assert_uint_eq(served(w, W_NODES), 0);
	w_start(w, 0);
	w_run(w, 15000);
	ck_assert_uint_eq(served(w, W_NODES), 6);
	w_free(w);
}
END_TEST

/* A daemon that is back before its lease is over goes on with its workers; later it ends them. */
START_TEST(a_restart_goes_on_with_the_lease)
{
	struct world *w = majority(3);
	w_start_all(w);
	w_run(w, 5000);
	unsigned there = served(w, 2);
	uint64_t until = ph_lease_until(w->nodes[2].hub);
	ck_assert_uint_gt(until, w->now_ms + 2000);
	w_crash(w, 2);
	w->lease_until_ms = _i ? w->now_ms - 1 : until;
	w_start(w, 2);
	w_run(w, 300);
	ck_assert_uint_eq(served(w, 2), _i ? 0 : there);
	w_run(w, 8000);
	for (uint32_t i = 0; i < 6; i++)
		(void)w_only(w, "room", i);
	w_free(w);
}
END_TEST

/* ---- grants */

static struct ph_bmsg *claim_of(struct world *w, unsigned from, uint32_t counter, unsigned whose)
{
	struct ph_claim_line *line = w_alloc(w, sizeof *line);
	struct ph_bmsg *msg = w_alloc(w, sizeof *msg);
	*line = (struct ph_claim_line){.key = {.child = ph_name_of("other")},
		.epoch = ph_epoch_make(counter, from + 1),
		.basis = PH_CLAIM_COLD,
		.node = w_name(whose)};
	msg->kind = PH_B_CLAIM;
	msg->from = w_name(from);
	msg->incarnation = w->nodes[from].incarnation;
	msg->claim = 1000 + counter;
	msg->view = view(w, 0)->number;
	msg->claims = line;
	msg->n_claims = 1;
	return msg;
}

static enum ph_verdict said;
static uint64_t answered;

static bool hear(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)w, (void)to;
	if (from == 0 && msg->kind == PH_B_CLAIM_ANSWER && msg->claim > 1000) {
		said = msg->claims[0].verdict;
		answered = msg->claim;
	}
	return true;
}

static void ask(struct world *w, const struct ph_bmsg *msg)
{
	answered = 0;
	w->pass = hear;
	w_push(w, 0, PH_EV_MESSAGE)->message = msg;
	w_drain(w);
}

START_TEST(a_grant_is_synced_first)
{
	struct world *w = majority(3);
	w_start_all(w);
	w_run(w, 5000);
	w->nodes[0].manual_disk = true;
	ask(w, claim_of(w, 1, 5, 1));
	ck_assert_uint_eq(answered, 0);
	w->nodes[0].disk_broken = _i;
	w_sync_all(w, 0);
	w_drain(w);
	ck_assert_uint_eq(answered, _i ? 0 : 1005);
	if (!_i)
		ck_assert_int_eq(said, PH_VERDICT_FREE);
	w_free(w);
}
END_TEST

START_TEST(one_grant_at_a_time)
{
	struct world *w = majority(3);
	w_start_all(w);
	w_run(w, 5000);
	ask(w, claim_of(w, 1, 5, 1));
	ck_assert_int_eq(said, PH_VERDICT_FREE);
	ask(w, claim_of(w, 1, 5, 1)); /* a repeat */
	ck_assert_int_eq(said, PH_VERDICT_FREE);
	ask(w, claim_of(w, 2, 4, 2)); /* below */
	ck_assert_int_eq(said, PH_VERDICT_LOW);
	w->nodes[1].hub->self_state = PH_MEMBER_JOINING; /* so that it does not say: given up */
	ask(w, claim_of(w, 2, 6, 2));
	ck_assert_int_eq(said, PH_VERDICT_WITHHELD);
	w->nodes[1].hub->self_state = PH_MEMBER_ALIVE;
	ask(w, claim_of(w, 2, 6, 2)); /* b is asked, and does not want it any more */
	ask(w, claim_of(w, 2, 6, 2));
	ck_assert_int_eq(said, PH_VERDICT_FREE);
	w_free(w);
}
END_TEST

START_TEST(no_grant_in_another_view_or_without_lease)
{
	struct world *w = majority(3);
	w_start_all(w);
	w_run(w, 5000);
	struct ph_bmsg *old = claim_of(w, 1, 5, 1);
	old->view--;
	ask(w, old);
	ck_assert_int_eq(said, PH_VERDICT_WITHHELD);
	w->nodes[0].hub->lease_until_ms = w->now_ms;
	ask(w, claim_of(w, 1, 6, 1));
	ck_assert_int_eq(said, PH_VERDICT_WITHHELD);
	w_free(w);
}
END_TEST

/* A claim that rests on c's death is granted only by who holds c dead, and its fence passed. */
START_TEST(a_death_must_be_ones_own_verdict)
{
	struct world *w = majority(3);
	w_start_all(w);
	w_run(w, 5000);
	struct ph_bmsg *msg = claim_of(w, 1, 5, 1);
	((struct ph_claim_line *)(uintptr_t)msg->claims)->rests_on = w_name(2);
	ask(w, msg);
	ck_assert_int_eq(said, PH_VERDICT_WITHHELD);
	struct ph_name name = w_name(2);
	struct ph_member *c = ph_member_find(w->nodes[0].hub, &name);
	c->state = PH_MEMBER_DEAD;
	ask(w, msg);
	ck_assert_int_eq(said, PH_VERDICT_WITHHELD); /* it was told a moment ago that it is heard */
	c->told_at_ms = w->now_ms - 4450;
	ask(w, msg);
	ck_assert_int_eq(said, PH_VERDICT_FREE);
	w_free(w);
}
END_TEST

static bool no_reminders(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)w, (void)from, (void)to;
	return msg->kind != PH_B_GRANTED;
}

static bool no_words_of_grants(
	struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	return no_reminders(w, from, to, msg) && msg->kind != PH_B_GRANT_CHECK;
}

/* An instance of c's, which a has granted to `to` past c at a higher epoch. */
static struct ph_slot *grant_past_c(struct world *w, unsigned to)
{
	struct ph_slot *slot = NULL;
	for (uint32_t i = 0; i < 6 && !(slot && strcmp(slot->entry.node->name.s, "c") == 0); i++)
		slot = w_slot(w, 0, "room", i);
	ck_assert_str_eq(slot->entry.node->name.s, "c");
	struct ph_hub *hub = w->nodes[0].hub;
	struct ph_work *work = ph_slot_work(hub, slot);
	struct ph_name grantee = w_name(to), c = w_name(2);
	work->granted = slot->entry.epoch + (UINT64_C(1) << 24);
	work->granted_to = work->granted_by = ph_node_get(hub, &grantee);
	work->granted_past = ph_node_get(hub, &c);
	work->granted_open = true;
	ph_slot_list_add(&hub->grants, slot);
	return slot;
}

/* What was granted past an owner that is back after all renews no lease until it knows of it. */
START_TEST(echoes_are_withheld)
{
	struct world *w = majority(3);
	w_start_all(w);
	w_run(w, 5000);
	struct ph_slot *slot = grant_past_c(w, 1);
	uint64_t before = slot->entry.epoch;
	w->pass = no_words_of_grants;
	w_run(w, 300);
	struct ph_name a = w_name(0);
	const struct ph_member *of_c = ph_member_find(w->nodes[2].hub, &a);
	uint64_t renewed_ms = of_c->lease_at_ms;
	w_run(w, 1300);
	ck_assert_uint_eq(of_c->lease_at_ms, renewed_ms);
	w->pass = NULL;
	ck_assert_uint_ge(w->nodes[0].sent[PH_B_GRANTED], 1);
	w_run(w, 8000);
	ck_assert_uint_gt(of_c->lease_at_ms, renewed_ms);
	ck_assert_uint_gt(slot->entry.epoch, before); /* c has let go, and it was claimed anew */
	struct ph_name name = w_name(2);
	ck_assert(!ph_member_find(w->nodes[0].hub, &name)->withheld);
	for (uint32_t i = 0; i < 6; i++)
		(void)w_only(w, "room", i);
	w_free(w);
}
END_TEST

/* ... or until the one it was granted to, b or a itself, has given it up: then c goes on. */
START_TEST(what_was_given_up_withholds_no_echo)
{
	struct world *w = majority(3);
	w_start_all(w);
	w_run(w, 5000);
	struct ph_slot *slot = grant_past_c(w, _i ? 0 : 1);
	uint64_t before = slot->entry.epoch;
	struct ph_name a = w_name(0), c = w_name(2);
	const struct ph_member *of_c = ph_member_find(w->nodes[2].hub, &a);
	const struct ph_member *c_of_a = ph_member_find(w->nodes[0].hub, &c);
	w->pass = no_words_of_grants;
	w_run(w, 300);
	ck_assert(c_of_a->withheld);
	w->pass = no_reminders;
	w_run(w, 2000);
	ck_assert(!c_of_a->withheld);
	uint64_t renewed_ms = of_c->lease_at_ms;
	w_run(w, 1000);
	ck_assert_uint_gt(of_c->lease_at_ms, renewed_ms);
	ck_assert_uint_eq(slot->entry.epoch, before);
	for (uint32_t i = 0; i < 6; i++)
		(void)w_only(w, "room", i);
	w_free(w);
}
END_TEST

START_TEST(who_lost_its_journal_asks_first)
{
	struct world *w = majority(3);
	w_start_all(w);
	w_run(w, 5000);
	ask(w, claim_of(w, 1, 5, 1));
	w_power_off(w, 0);
	w->nodes[0].n_records = 0;
	for (unsigned i = 0; i < 2; i++) /* else b would pass on what the two say */
		w_cut(w, i, 2, true);
	w_start(w, 0);
	w_run(w, 8000);
	ck_assert(
		w->nodes[0].hub->forgetful); /* its name stands in the view: it has voted before */
	ask(w, claim_of(w, 1, 9, 1));
	ck_assert_int_ne(said, PH_VERDICT_FREE);
	for (unsigned i = 0; i < 2; i++)
		w_cut(w, i, 2, false);
	w_run(w, 3000);
	ck_assert(!w->nodes[0].hub->forgetful);
	w_free(w);
}
END_TEST

/* ---- migrations */

START_TEST(a_move)
{
	struct world *w = majority(3);
	w_start_all(w);
	w_run(w, 5000);
	struct w_proc *p = w_only(w, "room", 0);
	unsigned to = p->node == 1 ? 2 : 1;
	struct ph_command one = {.instance = 0};
	w_order(w, 0, PH_VERB_MOVE, "room", w_name(to).s, &one);
	w_run(w, 12000);
	ck_assert_uint_eq(w_only(w, "room", 0)->node, to);
	w_agree(w, "room", 0, to);
	w_no_leftovers(w);
	w_free(w);
}
END_TEST

static bool no_commit(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)w, (void)from, (void)to;
	return msg->kind != PH_B_COMMIT;
}

/* Without a lease nothing stays prepared: `never` is synced, and the new worker has gone. */
START_TEST(what_is_prepared_is_given_up)
{
	struct world *w = majority(3);
	w_start_all(w);
	w_run(w, 5000);
	struct w_proc *p = w_only(w, "room", 0);
	unsigned to = p->node == 1 ? 2 : 1;
	struct ph_command one = {.instance = 0, .no_wait = true};
	w->pass = no_commit;
	w_order(w, 0, PH_VERB_MOVE, "room", w_name(to).s, &one);
	w_run(w, 200);
	struct ph_target *t = w->nodes[to].hub->targets;
	ck_assert(t && t->state == PH_TARGET_PREPARED);
	struct ph_id id = t->id;
	uint32_t pid = t->fresh->pid;
	w_cut_off(w, to, true);
	w_run(w, 4500); /* fence_after, fence_grace, and some */
	HASH_FIND(hh, w->nodes[to].hub->targets, id.b, sizeof id.b, t);
	ck_assert(t && t->state == PH_TARGET_NEVER);
	ck_assert(w_synced(w, to, PH_RECORD_NEVER, &id));
	for (size_t i = 0; i < w->n_procs; i++)
		ck_assert(!w->procs[i].alive || w->procs[i].pid != pid);
	w_free(w);
}
END_TEST

/* What no other node may have lives on without a quorum, for as long as it takes. */
START_TEST(local_children_live_on)
{
	struct world *w = majority(3);
	struct w_def *def = w_def(w, "agent", "1");
	def->spec.local = true;
	w_declare_all(w, def);
	w_start_all(w);
	w_run(w, 5000);
	struct w_proc *agent = w->procs;
	while (agent->def != def || agent->node)
		ck_assert(++agent < w->procs + w->n_procs);
	w_cut_off(w, 0, true);
	w_run(w, 60000);
	ck_assert(!ph_lease_valid(w->nodes[0].hub));
	ck_assert_uint_eq(w_alive(w, 0), 1);
	ck_assert(agent->alive && !agent->stops);
	w_free(w);
}
END_TEST

static bool no_view(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)w, (void)from, (void)to;
	return msg->kind != PH_B_VIEW;
}

/* Those who are in another view renew no lease by what they echo. */
START_TEST(an_echo_of_another_view_renews_nothing)
{
	struct world *w = majority(3);
	w_start_all(w);
	w_run(w, 5000);
	ck_assert(ph_lease_valid(w->nodes[0].hub));
	w->pass = no_view;
	for (unsigned i = 1; i < 3 && !_i; i++)
		w->nodes[i].hub->view.number++;
	w_run(w, 3500);
	ck_assert_int_eq(ph_lease_valid(w->nodes[0].hub), _i);
	w_free(w);
}
END_TEST

/* ---- what is given back */

static bool no_answers(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)w, (void)from, (void)to;
	return msg->kind != PH_B_CLAIM_ANSWER;
}

/*
 * B had it at epoch 5 and has given it up, though the registry names it still: it has lost its
 * journal. Whoever takes it back grants that itself as any other does, for its own is needed where
 * B grants nothing. 0: B has not given it up.
 */
START_TEST(what_was_given_back_is_granted_to_oneself)
{
	struct world *w = majority(3);
	w_start_all(w);
	w_run(w, 5000);
	struct ph_hub *hub = w->nodes[0].hub;
	const struct ph_name b = w_name(1);
	const struct ph_key key = {.child = ph_name_of("other")};
	struct ph_slot *slot = ph_slot_get(hub, &key, NULL);
	struct ph_source source = {.slot = slot, .peer = b};
	source.epoch = ph_epoch_make(4, 1);
	source.new_epoch = ph_epoch_make(5, 1);
	source.given_back = _i;
	ph_slot_give(hub, slot, &b, source.new_epoch, 0);
	ph_slot_work(hub, slot)->source = &source;
	(void)ph_claim_start(hub, slot, PH_CLAIM_TAKEBACK, &hub->set.node, &source.id, 0);
	w->pass = no_answers;
	w_run(w, 300);
	ck_assert_ptr_nonnull(slot->work->claim);
	ck_assert_int_eq(slot->work->claim->self_granted, _i);
	ph_claim_drop(hub, slot->work->claim);
	ph_slot_work(hub, slot)->source = NULL;
	w_free(w);
}
END_TEST

/* It would have no quorum, whoever came back: a third one, never seen, counts in its size. */
START_TEST(no_view_without_a_possible_quorum)
{
	struct world *w = majority(3);
	w_start(w, 0);
	w_start(w, 1);
	w_run(w, 12000);
	ck_assert_uint_eq(view(w, 0)->n, 2);
	ck_assert_uint_eq(view(w, 0)->size, 3);
	(void)w_push(w, 1, PH_EV_SHUTDOWN);
	w_run(w, 12000);
	ck_assert(w->nodes[1].exited);
	ck_assert_uint_eq(view(w, 0)->n, 2);
	ck_assert_int_eq(ph_hub_quorum(w->nodes[0].hub), 0);
	w_start(w, 1);
	w_run(w, 12000);
	ck_assert_int_eq(ph_hub_quorum(w->nodes[0].hub), 1);
	ck_assert_uint_eq(served(w, W_NODES), 6);
	w_free(w);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("core_quorum");
	W_TEST(s, texts, 1);
	W_TEST(s, sizes, 1);
	W_TEST(s, first_view, 1);
	W_TEST(s, a_part_of_peers, 1);
	W_TEST(s, an_orderly_end_leaves_the_view, 1);
	W_TEST(s, no_view_without_a_possible_quorum, 1);
	W_TEST(s, the_dead_stay_or_go, 2);
	W_TEST(s, a_ballot_is_finished_by_another, 1);
	W_TEST(s, another_one_proposes_where_the_first_does_not, 1);
	W_TEST(s, a_lost_answer_is_asked_for_again, 1);
	W_TEST(s, who_leaves_is_heard_out, 2);
	W_TEST(s, who_has_asked_to_go_is_not_let_in_again, 1);
	W_TEST(s, who_leaves_waits_for_its_successor, 1);
	W_TEST(s, a_place_is_for_one_life, 1);
	W_TEST(s, a_stranger_counts_for_nothing, 1);
	W_TEST(s, a_place_changes_hands_when_its_lease_is_over, 1);
	W_TEST(s, a_restart_keeps_the_place, 1);
	W_TEST(s, a_lost_journal_does_not_cost_the_place, 1);
	W_TEST(s, what_is_accepted_is_kept, 1);
	W_TEST(s, who_asks_for_its_own_end_has_no_lease, 1);
	W_TEST(s, when_a_place_is_free, 1);
	W_TEST(s, all_others_are_enough, 1);
	W_TEST(s, votes_are_synced_first, 1);
	W_TEST(s, a_node_that_is_cut_off_stops_first, 1);
	W_TEST(s, the_deaf_are_killed_in_time, 1);
	W_TEST(s, a_node_with_longer_times, 1);
	W_TEST(s, a_restart_alone_has_the_stored_view, 1);
	W_TEST(s, a_restart_goes_on_with_the_lease, 2);
	W_TEST(s, a_grant_is_synced_first, 2);
	W_TEST(s, one_grant_at_a_time, 1);
	W_TEST(s, no_grant_in_another_view_or_without_lease, 1);
	W_TEST(s, a_death_must_be_ones_own_verdict, 1);
	W_TEST(s, echoes_are_withheld, 1);
	W_TEST(s, what_was_given_up_withholds_no_echo, 2);
	W_TEST(s, who_lost_its_journal_asks_first, 1);
	W_TEST(s, a_move, 1);
	W_TEST(s, what_is_prepared_is_given_up, 1);
	W_TEST(s, local_children_live_on, 1);
	W_TEST(s, an_echo_of_another_view_renews_nothing, 2);
	W_TEST(s, what_was_given_back_is_granted_to_oneself, 2);
	return w_main(s);
}
