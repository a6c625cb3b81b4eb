/* Who is in the cluster and who lives: every state × input, joins, silence, verdicts. */
#include "core_puppet.h"
#include "core/member.h"

/* ---- every state × input ---- */

#define U PH_MEMBER_UNKNOWN
#define J PH_MEMBER_JOINING
#define A PH_MEMBER_ALIVE
#define S PH_MEMBER_SUSPECT
#define D PH_MEMBER_DEAD
#define L PH_MEMBER_LEFT
static const enum ph_member_state next[PH_MEMBER_STATE_COUNT][PH_MEMBER_INPUT_COUNT] = {
	/* HEARD JOINED ECHO SILENT MUTE VOUCHED LEAVE */
	[U] = {J, A, U, U, U, U, L},
	[J] = {J, A, J, J, D, J, L},
	[A] = {A, A, A, S, D, A, L},
	[S] = {S, S, A, S, D, S, L},
	[D] = {D, D, A, D, D, S, L},
	[L] = {L, L, L, L, L, L, L},
};
#undef U
#undef J
#undef A
#undef S
#undef D
#undef L

static const struct w_def *make(struct world *w)
{
	return w_def(w, "room", "1");
}

static struct ph_member *member(struct world *w, unsigned node)
{
	struct ph_name name = w_name(node);
	return ph_member_find(w->nodes[0].hub, &name);
}

START_TEST(every_pair)
{
	for (int i = 0; i < PH_MEMBER_INPUT_COUNT; i++) {
		enum ph_member_input in = (enum ph_member_input)i;
		ck_assert(ph_member_decided((enum ph_member_state)_i, in));
		struct world *w = p_world(make, true);
		struct ph_member *b = member(w, 1);
		b->state = (enum ph_member_state)_i;
		p_begin(w);
		ph_member_step(w->nodes[0].hub, b, in);
		p_end(w);
		ck_assert_int_eq((int)b->state, (int)next[_i][i]);
		p_left_alone(w, 20000);
		ck_assert(b->state == PH_MEMBER_DEAD || b->state == PH_MEMBER_LEFT ||
			  b->state == PH_MEMBER_UNKNOWN);
		(void)w_only(w, "room", 0);
		w_free(w);
	}
}
END_TEST

/* ---- join ---- */

START_TEST(nodes_meet)
{
	struct world *w = w_new(3);
	w->nodes[1].n_peers = w->nodes[2].n_peers = 1; /* both know a alone */
	w->nodes[0].n_peers = 0;
	for (unsigned i = 0; i < 3; i++)
		w_start(w, i);
	w_run(w, 4000);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert(w->nodes[i].ready);
		ck_assert_uint_eq(HASH_COUNT(w->nodes[i].hub->members), 2);
		for (struct ph_member *m = w->nodes[i].hub->members; m; m = m->hh.next)
			ck_assert_int_eq(m->state, PH_MEMBER_ALIVE);
		ck_assert(!ph_hub_stale(w->nodes[i].hub, w->now_ms));
	}
	w_free(w);
}
END_TEST

START_TEST(without_peers_after_join_timeout)
{
	struct world *w = w_new(2);
	w_declare(w, 0, w_def(w, "room", "1"));
	w_start(w, 0);
	w_run(w, 4500);
	ck_assert(!w->nodes[0].ready);
	ck_assert_uint_eq(w->n_procs, 0);
	w_run(w, 3000);
	ck_assert(w->nodes[0].ready);
	(void)w_only(w, "room", 0);
	w_free(w);
}
END_TEST

START_TEST(a_taken_slot_is_refused)
{
	struct world *w = p_world(make, true);
	struct ph_bmsg *msg = p_msg(w, 2, PH_B_HELLO);
	msg->incarnation = 2;
	msg->self = (struct ph_member_info){
		.name = w_name(2), .incarnation = 2, .slot = _i ? 1 : 2, .state = PH_MEMBER_ALIVE};
	w_drain(w);
	ck_assert_uint_eq(w->nodes[0].sent[PH_B_REFUSED], 1);
	ck_assert_int_ne(member(w, 2)->state, PH_MEMBER_ALIVE);
	w_free(w);
}
END_TEST

/* Of two incarnations the higher counts; what the lower one says is dropped. */
START_TEST(incarnations)
{
	struct world *w = p_world(make, true);
	struct ph_bmsg *msg = p_msg(w, 1, PH_B_HELLO);
	msg->incarnation = 5;
	msg->self = (struct ph_member_info){
		.name = w_name(1), .incarnation = 5, .slot = 2, .state = PH_MEMBER_JOINING};
	w_drain(w);
	ck_assert_uint_eq(member(w, 1)->info.incarnation, 5);
	ck_assert_int_eq(member(w, 1)->state, PH_MEMBER_JOINING);
	(void)p_msg(w, 1, PH_B_LEAVE);
	w_drain(w);
	ck_assert_int_eq(member(w, 1)->state, PH_MEMBER_JOINING);
	p_hello(w, 1);
	w_drain(w);
	ck_assert_uint_eq(member(w, 1)->info.incarnation, 5);
	p_msg(w, 1, PH_B_LEAVE)->incarnation = 5;
	w_drain(w);
	ck_assert_int_eq(member(w, 1)->state, PH_MEMBER_LEFT);
	w_free(w);
}
END_TEST

/* ---- silence ---- */

START_TEST(suspect_then_dead)
{
	struct world *w = w_new(2);
	w_start_all(w);
	w->cut[0][1] = w->cut[1][0] = true;
	w_run(w, 1000);
	ck_assert_int_eq(member(w, 1)->state, PH_MEMBER_ALIVE);
	w_run(w, 1000);
	ck_assert_int_eq(member(w, 1)->state, PH_MEMBER_SUSPECT);
	w_run(w, 2500);
	ck_assert_int_eq(member(w, 1)->state, PH_MEMBER_SUSPECT);
	w_run(w, 1500);
	ck_assert_int_eq(member(w, 1)->state, PH_MEMBER_DEAD);
	ck_assert(ph_hub_stale(w->nodes[0].hub, w->now_ms));
	w->cut[0][1] = w->cut[1][0] = false;
	w_run(w, 6000);
	ck_assert_int_eq(member(w, 1)->state, PH_MEMBER_ALIVE);
	w_free(w);
}
END_TEST

/* Whose own bus process is gone hears nobody, and blames nobody for it. */
START_TEST(a_bus_that_died)
{
	struct world *w = w_new(2);
	w_start_all(w);
	(void)w_push(w, 0, PH_EV_BUS_DOWN);
	w->cut[0][1] = w->cut[1][0] = true;
	w_run(w, 20000);
	ck_assert_int_eq(member(w, 1)->state, PH_MEMBER_ALIVE);
	w->cut[0][1] = w->cut[1][0] = false;
	(void)w_push(w, 0, PH_EV_BUS_UP);
	w_run(w, 6000);
	ck_assert_int_eq(member(w, 1)->state, PH_MEMBER_ALIVE);
	ck_assert(!w->nodes[0].hub->away);
	w_free(w);
}
END_TEST

/* One way is no way: a heartbeat proves life only by its echo. */
START_TEST(cut_one_way)
{
	struct world *w = w_new(2);
	w_start_all(w);
	w->cut[_i][!_i] = true;
	w_run(w, 2000);
	ck_assert_int_eq(member(w, 1)->state, PH_MEMBER_SUSPECT);
	w_free(w);
}
END_TEST

/* Dead only if no live member has had an echo from it. */
START_TEST(others_still_hear_it)
{
	struct world *w = w_new(3);
	w_start_all(w);
	w->cut[0][1] = w->cut[1][0] = true;
	w_run(w, 30000);
	ck_assert_int_eq(member(w, 1)->state, PH_MEMBER_SUSPECT);
	w_power_off(w, 1);
	w_run(w, 7000);
	ck_assert_int_eq(member(w, 1)->state, PH_MEMBER_DEAD);
	w_free(w);
}
END_TEST

/* A node whose own loop stood still accuses nobody. */
START_TEST(a_loop_that_stood_still)
{
	struct world *w = w_new(2);
	w_declare_all(w, w_def(w, "room", "1"));
	w_start_all(w);
	struct ph_hub *b = w->nodes[1].hub;
	w->nodes[1].hub = NULL; /* only a runs */
	w_run(w, _i ? 900 : 60);
	w->nodes[1].hub = b;
	w->now_ms += _i ? 20000 : 0; /* now both stood still */
	w_run(w, 5000);
	ck_assert_uint_eq(w->nodes[0].emitted[PH_EMIT_NODE_DEAD], 0);
	ck_assert_uint_eq(w->nodes[1].emitted[PH_EMIT_NODE_DEAD], 0);
	(void)w_only(w, "room", 0);
	w_free(w);
}
END_TEST

START_TEST(a_leave_is_no_death)
{
	struct world *w = w_new(2);
	w_start_all(w);
	(void)w_push(w, 1, PH_EV_SHUTDOWN);
	w_run(w, 10000);
	ck_assert_int_eq(member(w, 1)->state, PH_MEMBER_LEFT);
	ck_assert_uint_eq(w->nodes[0].emitted[PH_EMIT_NODE_DEAD], 0);
	ck_assert_uint_eq(w->nodes[0].emitted[PH_EMIT_NODE_SUSPECT], 0);
	w_start(w, 1);
	w_run(w, 5000);
	ck_assert_int_eq(member(w, 1)->state, PH_MEMBER_ALIVE);
	w_free(w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core_member");
	W_TEST(suite, every_pair, PH_MEMBER_STATE_COUNT);
	W_TEST(suite, nodes_meet, 1);
	W_TEST(suite, without_peers_after_join_timeout, 1);
	W_TEST(suite, a_taken_slot_is_refused, 2);
	W_TEST(suite, incarnations, 1);
	W_TEST(suite, suspect_then_dead, 1);
	W_TEST(suite, a_bus_that_died, 1);
	W_TEST(suite, cut_one_way, 2);
	W_TEST(suite, others_still_hear_it, 1);
	W_TEST(suite, a_loop_that_stood_still, 2);
	W_TEST(suite, a_leave_is_no_death, 1);
	return w_main(suite);
}
