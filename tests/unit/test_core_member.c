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

START_TEST(every_pair)
{
	for (int i = 0; i < PH_MEMBER_INPUT_COUNT; i++) {
		enum ph_member_input in = (enum ph_member_input)i;
		ck_assert(ph_member_decided((enum ph_member_state)_i, in));
		struct world *w = p_world(w_room, true);
		struct ph_member *b = w_member(w, 0, 1);
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
	ck_assert_uint_eq(w->nodes[0].warnings, 1);
	(void)w_only(w, "room", 0);
	w_free(w);
}
END_TEST

/* Said by both, of each other; once, and not where all is equal. */
START_TEST(other_settings_are_told)
{
	struct world *w = w_new(3);
	w->slowness[1] = _i ? 2 : 0;
	w_start_all(w);
	w_run(w, 12000);
	ck_assert_uint_eq(w->nodes[0].warnings, (unsigned)_i);
	ck_assert_uint_eq(w->nodes[1].warnings, 2u * (unsigned)_i);
	ck_assert_uint_eq(w->nodes[2].warnings, (unsigned)_i);
	w->partition = PH_PARTITION_MAJORITY;
	w_power_off(w, 2);
	w_run(w, 12000);
	unsigned before = w->nodes[0].warnings;
	w_start(w, 2);
	w_run(w, 12000);
	ck_assert_uint_eq(w->nodes[0].warnings, before + 1);
	w_free(w);
}
END_TEST

START_TEST(a_taken_slot_is_refused)
{
	struct world *w = p_world(w_room, true);
	struct ph_bmsg *msg = p_msg(w, 2, PH_B_HELLO);
	msg->incarnation = 2;
	msg->self = (struct ph_member_info){
		.name = w_name(2), .incarnation = 2, .slot = _i ? 1 : 2, .state = PH_MEMBER_ALIVE};
	memcpy(msg->self.address, "tcp://c:1", sizeof "tcp://c:1");
	(void)p_prove(w, msg);
	w_drain(w);
	ck_assert_uint_eq(w->nodes[0].sent[PH_B_REFUSED], 1);
	ck_assert_uint_eq(w_member(w, 0, 2)->info.incarnation, 1);
	w_free(w);
}
END_TEST

/* Of two incarnations the higher counts; what the lower one says is dropped. */
START_TEST(incarnations)
{
	struct world *w = p_world(w_room, true);
	struct ph_bmsg *msg = p_msg(w, 1, PH_B_HELLO);
	msg->incarnation = 5;
	msg->self = (struct ph_member_info){
		.name = w_name(1), .incarnation = 5, .slot = 2, .state = PH_MEMBER_JOINING};
	memcpy(msg->self.address, "tcp://b:1", sizeof "tcp://b:1");
	(void)p_prove(w, msg);
	w_drain(w);
	ck_assert_uint_eq(w_member(w, 0, 1)->info.incarnation, 5);
	ck_assert_int_eq(w_member(w, 0, 1)->state, PH_MEMBER_JOINING);
	(void)p_msg(w, 1, PH_B_LEAVE);
	w_drain(w);
	ck_assert_int_eq(w_member(w, 0, 1)->state, PH_MEMBER_JOINING);
	p_hello(w, 1);
	w_drain(w);
	ck_assert_uint_eq(w_member(w, 0, 1)->info.incarnation, 5);
	p_msg(w, 1, PH_B_LEAVE)->incarnation = 5;
	w_drain(w);
	ck_assert_int_eq(w_member(w, 0, 1)->state, PH_MEMBER_LEFT);
	w_free(w);
}
END_TEST

/* ---- silence ---- */

START_TEST(suspect_then_dead)
{
	struct world *w = w_new(2);
	w_start_all(w);
	w_cut(w, 0, 1, true);
	w_run(w, 1000);
	ck_assert_int_eq(w_member(w, 0, 1)->state, PH_MEMBER_ALIVE);
	w_run(w, 1000);
	ck_assert_int_eq(w_member(w, 0, 1)->state, PH_MEMBER_SUSPECT);
	w_run(w, 2500);
	ck_assert_int_eq(w_member(w, 0, 1)->state, PH_MEMBER_SUSPECT);
	w_run(w, 1500);
	ck_assert_int_eq(w_member(w, 0, 1)->state, PH_MEMBER_DEAD);
	ck_assert(ph_hub_stale(w->nodes[0].hub, w->now_ms));
	unsigned joined = w->nodes[0].emitted[PH_EMIT_NODE_JOINED];
	w_cut(w, 0, 1, false);
	w_run(w, 6000);
	ck_assert_int_eq(w_member(w, 0, 1)->state, PH_MEMBER_ALIVE);
	ck_assert_uint_eq(w->nodes[0].emitted[PH_EMIT_NODE_JOINED], joined + 1);
	w_free(w);
}
END_TEST

/* What a suspect has said of others counts until it is dead itself: its link is bad, not its word.
 */
START_TEST(the_word_of_a_suspect)
{
	struct world *w = w_new(3);
	w_start_all(w);
	w_cut(w, 0, 1, true);
	w_run(w, 3500);
	w_cut(w, 0, 2, true);
	w_run(w, 2000);
	ck_assert_int_eq(w_member(w, 0, 2)->state, PH_MEMBER_SUSPECT);
	ck_assert_int_eq(w_member(w, 0, 1)->state, PH_MEMBER_SUSPECT);
	w_cut(w, 0, 2, _i);
	w_run(w, 6000);
	ck_assert_int_eq(w_member(w, 0, 1)->state, _i ? PH_MEMBER_DEAD : PH_MEMBER_SUSPECT);
	ck_assert_int_eq(w_member(w, 0, 2)->state, _i ? PH_MEMBER_DEAD : PH_MEMBER_ALIVE);
	w_free(w);
}
END_TEST

/* Whose own bus process is gone hears nobody, and blames nobody for it. */
START_TEST(a_bus_that_died)
{
	struct world *w = w_new(2);
	w_start_all(w);
	(void)w_push(w, 0, PH_EV_BUS_DOWN);
	w_cut(w, 0, 1, true);
	w_run(w, 20000);
	ck_assert_int_eq(w_member(w, 0, 1)->state, PH_MEMBER_ALIVE);
	w_cut(w, 0, 1, false);
	(void)w_push(w, 0, PH_EV_BUS_UP);
	w_run(w, 6000);
	ck_assert_int_eq(w_member(w, 0, 1)->state, PH_MEMBER_ALIVE);
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
	ck_assert_int_eq(w_member(w, 0, 1)->state, PH_MEMBER_SUSPECT);
	w_free(w);
}
END_TEST

/* Dead only if no live member has had an echo from it. */
START_TEST(others_still_hear_it)
{
	struct world *w = w_new(3);
	w_start_all(w);
	w_cut(w, 0, 1, true);
	w_run(w, 30000);
	ck_assert_int_eq(w_member(w, 0, 1)->state, PH_MEMBER_SUSPECT);
	w_power_off(w, 1);
	w_run(w, 7000);
	ck_assert_int_eq(w_member(w, 0, 1)->state, PH_MEMBER_DEAD);
	w_free(w);
}
END_TEST

/* A node whose own loop stood still accuses nobody. */
/* Its link is made anew by both, again and again but less often; and by nobody where all is well.
 */
START_TEST(a_silent_link_is_mended)
{
	struct world *w = w_new(3);
	w_start_all(w);
	w_run(w, 20000);
	ck_assert_uint_eq(w->nodes[0].mends, 0);
	w_cut(w, 0, 1, true);
	w_run(w, 2000);
	ck_assert_uint_eq(w->nodes[0].mends, 0); /* nanomsg dials again by itself */
	w_run(w, 2000);
	for (unsigned i = 0; i < 2; i++)
		ck_assert_uint_eq(w->nodes[i].mends, 1);
	w_run(w, 100000);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_uint_ge(w->nodes[i].mends, 4);
		ck_assert_uint_le(w->nodes[i].mends, 8);
	}
	ck_assert_uint_eq(w->nodes[2].mends, 0);
	w_cut(w, 0, 1, false);
	w_run(w, 5000);
	unsigned before = w->nodes[0].mends;
	w_run(w, 100000);
	ck_assert_uint_eq(w->nodes[0].mends, before);
	w_cut(w, 0, 1, true); /* and it begins anew */
	w_run(w, 4000);
	ck_assert_uint_eq(w->nodes[0].mends, before + 1);
	w_free(w);
}
END_TEST

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
	ck_assert_int_eq(w_member(w, 0, 1)->state, PH_MEMBER_LEFT);
	ck_assert_uint_eq(w->nodes[0].emitted[PH_EMIT_NODE_DEAD], 0);
	ck_assert_uint_eq(w->nodes[0].emitted[PH_EMIT_NODE_SUSPECT], 0);
	w_start(w, 1);
	w_run(w, 5000);
	ck_assert_int_eq(w_member(w, 0, 1)->state, PH_MEMBER_ALIVE);
	w_free(w);
}
END_TEST

/* ---- probes ---- */

static enum ph_bkind dropped;
static bool drop_kind(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)w, (void)from, (void)to;
	return msg->kind != dropped;
}

/* No heartbeat gets through, but what is directed does: suspect, for as long as that lasts. */
START_TEST(who_answers_probes_is_not_dead)
{
	struct world *w = w_new(2);
	w_start_all(w);
	dropped = PH_B_HEARTBEAT;
	w->pass = drop_kind;
	w_run(w, 30000);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_int_eq(w->nodes[i].hub->members->state, PH_MEMBER_SUSPECT);
		ck_assert_uint_eq(w->nodes[i].emitted[PH_EMIT_NODE_DEAD], 0);
		ck_assert_uint_eq(w->nodes[i].emitted[PH_EMIT_NODE_SUSPECT], 1);
	}
	if (_i) { /* the answers end */
		uint64_t end_ms = w->now_ms;
		w_power_off(w, 1);
		while (w_member(w, 0, 1)->state != PH_MEMBER_DEAD)
			w_run(w, 10);
		ck_assert_uint_ge(w->now_ms - end_ms, 4400);
		ck_assert_uint_le(w->now_ms - end_ms, 6000);
	} else {
		w->pass = NULL;
		w_run(w, 1000);
		ck_assert_int_eq(w_member(w, 0, 1)->state, PH_MEMBER_ALIVE);
	}
	w_free(w);
}
END_TEST

/* Not a word passes between a and b, yet each hears by way of c that the other lives. */
START_TEST(probes_by_way_of_others)
{
	struct world *w = w_new(3);
	w_start_all(w);
	w_cut(w, 0, 1, true);
	w_run(w, 6000);
	unsigned acks = w->nodes[0].got[PH_B_PROBE_ACK];
	w_run(w, 10000);
	ck_assert_int_eq(w_member(w, 0, 1)->state, PH_MEMBER_SUSPECT);
	ck_assert_uint_ge(w->nodes[0].got[PH_B_PROBE_ACK], acks + 18); /* two a second */
	ck_assert_uint_le(w->nodes[0].got[PH_B_PROBE_ACK], acks + 22);
	ck_assert_uint_gt(w_member(w, 0, 1)->answered_ms, w->now_ms - 1000);
	w_free(w);
}
END_TEST

/* Three of those that hear and are heard, others each time, never the suspect itself. */
START_TEST(whom_a_probe_goes_by)
{
	struct world *w = p_world(w_room, true);
	bool used[26] = {false};
	for (unsigned i = 0; i < 8; i++) {
		char name[2] = {(char)('k' + i), '\0'};
		struct ph_bmsg *hello = p_msg(w, 1, PH_B_HELLO);
		hello->from = ph_name_of(name);
		hello->self = (struct ph_member_info){.name = hello->from,
			.incarnation = 1,
			.slot = 100 + i,
			.weight = 1,
			.state = PH_MEMBER_ALIVE,
			.address = "tcp://k:1"};
		hello->self.address[6] = name[0];
		(void)p_prove(w, hello);
	}
	w_drain(w);
	struct ph_name k = ph_name_of("k"), l = ph_name_of("l");
	ph_member_find(w->nodes[0].hub, &k)->state = PH_MEMBER_SUSPECT;
	ph_member_find(w->nodes[0].hub, &l)->echo_at_ms = w->now_ms - 2000;
	w_member(w, 0, 2)->state = PH_MEMBER_DEAD;
	for (unsigned i = 0; i < 100; i++) {
		struct ph_actions actions;
		p_begin(w);
		ph_probe(w->nodes[0].hub, w_member(w, 0, 1));
		ph_out_end(w->nodes[0].hub, &actions);
		ck_assert_uint_eq(actions.n, 3);
		for (size_t j = 0; j < actions.n; j++) {
			const struct ph_action *a = &actions.items[j];
			ck_assert_str_eq(a->to.s, "b");
			ck_assert_str_eq(a->via.s, a->message->target.s);
			used[a->via.s[0] - 'a'] = true;
			for (size_t n = 0; n < j; n++)
				ck_assert_str_ne(a->via.s, actions.items[n].via.s);
		}
	}
	for (char c = 'a'; c <= 'z'; c++)
		ck_assert_int_eq(used[c - 'a'], c >= 'm' && c <= 'r');
	w_free(w);
}
END_TEST

/* An answer from another life, of the future, or older than one that came counts for nothing. */
START_TEST(answers_that_cannot_be)
{
	struct world *w = p_world(w_room, true);
	struct ph_member *b = w_member(w, 0, 1);
	w->mute = NULL;
	w->nodes[0].manual_disk = false;
	w_run(w, 1000);
	p_msg(w, 1, PH_B_PROBE_ACK)->sequence = w->now_ms + 1;
	p_msg(w, 1, PH_B_PROBE_ACK)->sequence = b->first_ms - 1;
	w_drain(w);
	ck_assert_uint_eq(b->answered_ms, 0);
	p_msg(w, 1, PH_B_PROBE_ACK)->sequence = w->now_ms - 100;
	p_msg(w, 1, PH_B_PROBE_ACK)->sequence = w->now_ms - 200;
	w_drain(w);
	ck_assert_uint_eq(b->answered_ms, w->now_ms - 100);
	w_free(w);
}
END_TEST

/* ---- what waits in queues ---- */

#define HELD 4096
static const struct ph_bmsg *held[HELD];
static unsigned held_from[HELD], held_to[HELD], n_held;
static bool hold(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	if (from == 1 || to == 1) {
		ck_assert_uint_lt(n_held, HELD);
		held_from[n_held] = from;
		held_to[n_held] = to;
		held[n_held++] = w_kept_letter(w, msg);
		return false;
	}
	return true;
}

/*
 * nanomsg delivers up to a minute later what was queued before a cut, or during it. None of it
 * proves life, none of it turns anything back, whether the cut is over by then or not.
 */
START_TEST(old_traffic_after_a_cut)
{
	struct world *w = w_new(2);
	struct w_def *def = w_def(w, "room", "1");
	def->spec.instances = 4;
	def->spec.local = true;
	w_declare_all(w, def);
	w_start_all(w);
	n_held = 0;
	w->pass = hold;
	w_run(w, 9000);
	ck_assert_int_eq(w_member(w, 0, 1)->state, PH_MEMBER_DEAD);
	uint64_t sent = w->nodes[0].hub->sequence;
	w->pass = _i ? NULL : drop_kind;
	dropped = PH_B_HEARTBEAT;
	if (_i) { /* it is over, and all is well again */
		w_run(w, 3000);
		ck_assert_int_eq(w_member(w, 0, 1)->state, PH_MEMBER_ALIVE);
	}
	for (unsigned i = 0; i < n_held; i++)
		w_arrive(w, held_to[i], held[i]);
	w_drain(w);
	ck_assert_int_eq(w_member(w, 0, 1)->state, _i ? PH_MEMBER_ALIVE : PH_MEMBER_DEAD);
	ck_assert_uint_le(w_member(w, 0, 1)->heard_seq, w->nodes[1].hub->sequence);
	ck_assert_uint_gt(w->nodes[0].hub->sequence, sent - 1);
	w->pass = NULL;
	w_run(w, 3000);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_int_eq(w->nodes[i].hub->members->state, PH_MEMBER_ALIVE);
		ck_assert_uint_le(w->nodes[i].emitted[PH_EMIT_NODE_DEAD], 1);
		ck_assert(ph_registry_in_step(w->nodes[i].hub, w->nodes[i].hub->members));
	}
	ck_assert_uint_eq(w_alive(w, 0) + w_alive(w, 1), 8);
	w_free(w);
}
END_TEST

/* ---- settle ---- */

static unsigned started(const struct world *w)
{
	unsigned n = 0;
	for (unsigned i = 0; i < w->n_nodes; i++)
		n += w->nodes[i].sent[PH_B_PREPARE];
	return n;
}

/* Two nodes that come within `settle` get what is theirs at once: no child is moved twice. */
START_TEST(joins_are_planned_together)
{
	struct world *w = w_new(3);
	struct w_def *def = w_def(w, "room", "1");
	def->spec.instances = 24;
	w_declare_all(w, def);
	w->nodes[0].n_peers = 0;
	w->nodes[1].n_peers = w->nodes[2].n_peers = 1;
	w_start(w, 0);
	w_run(w, 4000);
	ck_assert_uint_eq(w_alive(w, 0), 24);
	w_start(w, 1);
	w_run(w, 700);
	w_start(w, 2);
	uint64_t before_ms = w->now_ms;
	while (!started(w)) {
		w_run(w, 10);
		ck_assert_uint_lt(w->now_ms, before_ms + 5000);
	}
	ck_assert_int_eq(w_member(w, 0, 1)->state, PH_MEMBER_ALIVE);
	ck_assert_int_eq(w_member(w, 0, 2)->state, PH_MEMBER_ALIVE);
	w_run(w, 30000);
	w_no_leftovers(w);
	unsigned away = w_alive(w, 1) + w_alive(w, 2);
	ck_assert_uint_ge(w_alive(w, 1), 6);
	ck_assert_uint_ge(w_alive(w, 2), 6);
	ck_assert_uint_eq(w_alive(w, 0), 24 - away);
	ck_assert_uint_eq(started(w), away);
	w_free(w);
}
END_TEST

/* One goes and one comes: what was lost goes straight to where it belongs now. */
START_TEST(a_leave_and_a_join_are_planned_together)
{
	struct world *w = w_new(3);
	struct w_def *def = w_def(w, "room", "1");
	def->spec.instances = 24;
	w_declare_all(w, def);
	w->nodes[0].n_peers = 0;
	w->nodes[1].n_peers = w->nodes[2].n_peers = 1;
	w_start(w, 0);
	w_start(w, 1);
	w_run(w, 10000);
	unsigned before = started(w), at_a = w_alive(w, 0);
	ck_assert_uint_ge(w_alive(w, 1), 8);
	w_start(w, 2);
	w_run(w, 300);
	(void)w_push(w, 1, PH_EV_SHUTDOWN);
	w_run(w, 30000);
	w_no_leftovers(w);
	ck_assert_uint_eq(w_alive(w, 1), 0);
	ck_assert_uint_eq(w_alive(w, 0) + w_alive(w, 2), 24);
	ck_assert_uint_ge(w_alive(w, 2), 8);
	/* at most those that were at a from the start are moved, each once */
	ck_assert_uint_le(started(w) - before, at_a);
	for (uint32_t i = 0; i < 24; i++)
		(void)w_only(w, "room", i);
	w_free(w);
}
END_TEST

/* ---- hundreds of nodes ---- */

/* b tells a of so many others. */
static void tell_of(struct world *w, unsigned n)
{
	struct ph_member_info *list = w_alloc(w, n * sizeof *list);
	for (unsigned i = 0; i < n; i++) {
		list[i] = (struct ph_member_info){
			.incarnation = 1, .slot = 100 + i, .weight = 1, .state = PH_MEMBER_ALIVE};
		(void)snprintf(list[i].name.s, sizeof list[i].name.s, "m%u", i);
	}
	struct ph_bmsg *msg = p_msg(w, 1, PH_B_WELCOME);
	msg->self = w_member(w, 0, 1)->info;
	msg->members = list;
	msg->n_members = n;
	w_drain(w);
}

static const struct {
	unsigned nodes;
	uint64_t failure_timeout_ms, beat_ms;
} periods[] = {{3, 5000, 250}, {50, 5000, 250}, {51, 5000, 255}, {100, 5000, 500},
	{200, 5000, 1000}, {300, 5000, 1000}, {1000, 5000, 1000}, {300, 2000, 400}, {300, 500, 250},
	{300, 60000, 1000}};

/* As many messages a second as with 50, and five heartbeats within failure_timeout. */
START_TEST(many_beat_less_often)
{
	struct world *w = p_world(w_room, false);
	struct ph_hub *hub = w->nodes[0].hub;
	hub->set.failure_timeout_ms = periods[_i].failure_timeout_ms;
	tell_of(w, periods[_i].nodes - 3);
	p_begin(w);
	ph_member_beat(hub);
	p_end(w);
	ck_assert_uint_eq(hub->beat_ms, periods[_i].beat_ms);
	unsigned before = w->nodes[0].sent[PH_B_HEARTBEAT];
	w_run(w, periods[_i].beat_ms);
	ck_assert_uint_gt(w->nodes[0].sent[PH_B_HEARTBEAT], before);
	ck_assert_uint_le(w->nodes[0].sent[PH_B_HEARTBEAT], before + periods[_i].nodes);
	w_free(w);
}
END_TEST

/* However the sender has sorted them, each echo is its member's. */
START_TEST(echoes_in_any_order)
{
	struct world *w = p_world(w_room, false);
	struct ph_hub *hub = w->nodes[0].hub;
	const char *const names[] = {"m3", "c", "m1", "a", "zz", "m2"};
	struct ph_echo *list = w_alloc(w, 6 * sizeof *list);
	tell_of(w, 5);
	for (size_t i = 0; i < 6; i++)
		list[i] = (struct ph_echo){.name = ph_name_of(names[i]),
			.incarnation = i == 3 ? hub->set.incarnation : 1,
			.sequence = hub->sequence,
			.have = 7};
	ph_member_find(hub, &(struct ph_name){"m2"})->echoed =
		true; /* heard: nobody's word is wanted */
	ph_member_find(hub, &(struct ph_name){"m2"})->heard_at_ms = hub->now_ms;
	for (struct ph_member *m = hub->members; m; m = m->hh.next)
		m->first_ms = 0; /* known for long enough to have been heard */
	p_begin(w);
	ph_member_beat(hub);
	p_end(w);
	hub->strangers = false;
	unsigned hellos = w->nodes[0].sent[PH_B_HELLO];
	struct ph_bmsg *msg = p_msg(w, 1, PH_B_HEARTBEAT);
	msg->sequence = w_member(w, 0, 1)->heard_seq + 1;
	msg->self = w_member(w, 0, 1)->info;
	msg->self.state = PH_MEMBER_ALIVE;
	msg->echoes = list;
	msg->n_echoes = 6;
	w_drain(w);
	ck_assert_uint_eq(w_member(w, 0, 1)->hears_me_have, 7);
	const struct ph_member *b = w_member(w, 0, 1);
	ck_assert_uint_eq(b->n_reports, 4);
	for (unsigned i = 0; i < 4; i++) {
		static const char *const wanted[] = {"m3", "c", "m1", "zz"};
		ck_assert_str_eq(b->reports[i].name.s, wanted[i]);
		ck_assert_uint_eq(b->reports[i].have, 7);
	}
	ck_assert(hub->strangers || w->nodes[0].sent[PH_B_HELLO] > hellos); /* who is zz? */
	w_free(w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core_member");
	W_TEST(suite, every_pair, PH_MEMBER_STATE_COUNT);
	W_TEST(suite, nodes_meet, 1);
	W_TEST(suite, without_peers_after_join_timeout, 1);
	W_TEST(suite, other_settings_are_told, 2);
	W_TEST(suite, a_taken_slot_is_refused, 2);
	W_TEST(suite, incarnations, 1);
	W_TEST(suite, suspect_then_dead, 1);
	W_TEST(suite, the_word_of_a_suspect, 2);
	W_TEST(suite, a_bus_that_died, 1);
	W_TEST(suite, cut_one_way, 2);
	W_TEST(suite, others_still_hear_it, 1);
	W_TEST(suite, a_silent_link_is_mended, 1);
	W_TEST(suite, a_loop_that_stood_still, 2);
	W_TEST(suite, a_leave_is_no_death, 1);
	W_TEST(suite, who_answers_probes_is_not_dead, 2);
	W_TEST(suite, probes_by_way_of_others, 1);
	W_TEST(suite, whom_a_probe_goes_by, 1);
	W_TEST(suite, answers_that_cannot_be, 1);
	W_TEST(suite, old_traffic_after_a_cut, 2);
	W_TEST(suite, joins_are_planned_together, 1);
	W_TEST(suite, a_leave_and_a_join_are_planned_together, 1);
	W_TEST(suite, many_beat_less_often, 10);
	W_TEST(suite, echoes_in_any_order, 1);
	return w_main(suite);
}
