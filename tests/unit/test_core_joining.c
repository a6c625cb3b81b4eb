/*
 * When a node may call itself joined, when it starts what is its own, and what may or may not turn
 * a verdict of death.
 */
#define W_NODES 5
#include "core_puppet.h"

/* ---- joined ---- */

/* However soon all its peers answer: others that start with it are waited for. */
START_TEST(not_before_settle)
{
	struct world *w = w_new(3);
	w_declare_all(w, w_room(w));
	for (unsigned i = 0; i < 3; i++)
		w_start(w, i);
	w_run(w, 980);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_uint_eq(HASH_COUNT(w->nodes[i].hub->members), 2);
		ck_assert(!w->nodes[i].ready);
	}
	ck_assert_uint_eq(w->n_procs, 0);
	w_run(w, 520);
	for (unsigned i = 0; i < 3; i++)
		ck_assert(w->nodes[i].ready);
	w_free(w);
}
END_TEST

/* All its peers have answered, or it waits for the one that does not, up to join_timeout. */
START_TEST(each_peer_is_waited_for)
{
	struct world *w = w_new(4);
	for (unsigned i = 0; i < 4; i++)
		w->nodes[i].n_peers = 3;
	for (unsigned i = 0; i < 3; i++) /* d is down */
		w_start(w, i);
	w_run(w, 4700);
	for (unsigned i = 0; i < 3; i++)
		ck_assert(!w->nodes[i].ready);
	if (_i)
		w_start(w, 3);
	w_run(w, 250);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(w->nodes[i].ready, _i);
	w_run(w, 800);
	for (unsigned i = 0; i < 3; i++)
		ck_assert(w->nodes[i].ready);
	w_free(w);
}
END_TEST

/* An entry that is a name leads to an address: who stands there has answered, and may vote. */
START_TEST(a_peer_has_a_name)
{
	struct world *w = w_new(3);
	w->named = true;
	w->partition = _i ? PH_PARTITION_MAJORITY : PH_PARTITION_DIVERGENCE;
	w_declare_all(w, w_room(w));
	for (unsigned i = 0; i < 3; i++)
		w_start(w, i);
	w_run(w, 1500);
	for (unsigned i = 0; i < 3; i++)
		ck_assert(w->nodes[i].ready && !w->nodes[i].hub->blind);
	w_run(w, 4000);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(ph_hub_quorum(w->nodes[i].hub), _i ? 1 : -1);
	(void)w_only(w, "room", 0);
	w_free(w);
}
END_TEST

/* What a name server says late counts as if it had been known at the start: that there is an
 * address whose node has answered, or that the entry is this node itself. */
START_TEST(a_name_is_resolved_late)
{
	struct world *w = w_new(2);
	const char *texts[] = {"tcp://node-b:1"}, *addresses[] = {w_address(1)};
	const struct ph_peers peers = {_i != 1, texts, addresses};
	w->named = w->unresolved = true;
	w_start(w, 0);
	if (_i != 1)
		w_start(w, 1);
	w_run(w, 2000);
	ck_assert(!w->nodes[0].ready);
	if (_i < 2)
		w_push(w, 0, PH_EV_PEERS)->peers = &peers;
	w_run(w, 500);
	ck_assert_int_eq(w->nodes[0].ready, _i < 2);
	w_run(w, 3000);
	ck_assert(w->nodes[0].ready);
	ck_assert_int_eq(w->nodes[0].hub->blind, _i == 2);
	w_free(w);
}
END_TEST

/* Heartbeats that are echoed both ways, with a majority: with one of four members, it is none. */
START_TEST(who_hears_too_few_has_not_joined)
{
	struct world *w = w_new(5);
	for (unsigned i = 0; i < 5; i++)
		w->nodes[i].n_peers = i ? 1 : 0;
	for (unsigned i = 0; i < 4; i++)
		w_start(w, i);
	w_run(w, 6000);
	for (unsigned i = _i == 1 ? 2 : 1; i < 4; i++) {
		w->cut[4][i] = true;
		w->cut[i][4] = _i != 2; /* heard, and not hearing */
	}
	w_start(w, 4);
	w_run(w, 15000);
	ck_assert_uint_eq(HASH_COUNT(w->nodes[4].hub->members), 4);
	ck_assert_int_eq(w->nodes[4].ready, _i == 1);
	if (_i == 2)
		w->cut[4][1] = false; /* b hears it as well: half of them, and itself */
	else
		w_cut(w, 4, 1, false);
	w_run(w, 4000);
	ck_assert(w->nodes[4].ready);
	w_free(w);
}
END_TEST

/* It is not joined before it has what the others own, and starts nothing of theirs meanwhile. */
static bool no_parts(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)w, (void)from;
	return to != 2 || msg->kind != PH_B_REGISTRY;
}

START_TEST(not_before_it_is_in_step)
{
	struct world *w = w_new(3);
	struct w_def *def = w_def(w, "room", "1");
	def->spec.instances = 6;
	w_declare_all(w, def);
	w->nodes[0].n_peers = w->nodes[1].n_peers = 1;
	w_start(w, 0);
	w_start(w, 1);
	w_run(w, 8000);
	ck_assert_uint_eq(w_alive(w, 0) + w_alive(w, 1), 6);
	w->pass = no_parts;
	w_start(w, 2);
	w_run(w, 12000);
	ck_assert(w_member(w, 2, 0)->echoed && w_member(w, 2, 1)->echoed);
	ck_assert(!w->nodes[2].ready);
	ck_assert_int_eq(w_member(w, 0, 2)->state, PH_MEMBER_JOINING);
	ck_assert_uint_eq(w_alive(w, 2), 0);
	w->pass = NULL;
	w_run(w, 20000);
	ck_assert(w->nodes[2].ready);
	for (uint32_t i = 0; i < 6; i++)
		w_agree(w, "room", i, w_only(w, "room", i)->node);
	w_free(w);
}
END_TEST

/* ---- verdicts ---- */

/* What a says about c to the puppet world: a line of a heartbeat of b. */
static void b_says_of_c(struct world *w, uint64_t incarnation, uint64_t age_ms)
{
	struct ph_hub *hub = w->nodes[0].hub;
	struct ph_echo *list = w_alloc(w, 2 * sizeof *list);
	list[0] = (struct ph_echo){.name = hub->set.node,
		.incarnation = hub->set.incarnation,
		.sequence = hub->sequence,
		.flags = PH_ECHO_JOINED};
	list[1] = (struct ph_echo){.name = w_name(2),
		.incarnation = incarnation,
		.sequence = 5,
		.age_ms = age_ms,
		.flags = PH_ECHO_JOINED};
	struct ph_bmsg *msg = p_msg(w, 1, PH_B_HEARTBEAT);
	msg->self = w_member(w, 0, 1)->info;
	msg->self.state = PH_MEMBER_ALIVE;
	msg->sequence = w_member(w, 0, 1)->heard_seq + 1;
	msg->echoes = list;
	msg->n_echoes = 2;
}

/*
 * Whom b hears is not dead, but that very one, and lately: a verdict names the incarnation, and a
 * later life, of another node of its name perhaps, says nothing of it.
 */
static const struct {
	uint64_t incarnation, age_ms;
	enum ph_member_state then;
} words[] = {{1, 0, PH_MEMBER_SUSPECT}, {2, 0, PH_MEMBER_DEAD}, {0, 0, PH_MEMBER_DEAD},
	{1, 2000, PH_MEMBER_DEAD}, {1, PH_NEVER_MS, PH_MEMBER_DEAD}};

START_TEST(whose_word_turns_a_verdict)
{
	struct world *w = p_world(w_room, true);
	w->mute = NULL;
	w->nodes[0].manual_disk = false;
	for (unsigned i = 0; i < 8; i++) { /* b lives, c is silent */
		w_run(w, 250);
		b_says_of_c(w, 1, PH_NEVER_MS);
		w_drain(w);
	}
	p_dead(w, 2);
	for (unsigned i = 0; i < 4; i++) {
		b_says_of_c(w, words[_i].incarnation, words[_i].age_ms);
		w_run(w, 250);
	}
	ck_assert_int_eq(w_member(w, 0, 1)->state, PH_MEMBER_ALIVE);
	ck_assert_int_eq(w_member(w, 0, 2)->state, words[_i].then);
	w_free(w);
}
END_TEST

/*
 * The word of one that is only suspect counts for failure_timeout: a loses b first and then c, of
 * which b had an echo just before. It is dead for a when that one, too, is old enough.
 */
START_TEST(a_suspects_word_counts)
{
	struct world *w = p_world(w_room, true);
	w->mute = NULL;
	w->nodes[0].manual_disk = false;
	for (unsigned i = 0; i < 12; i++) {
		w_run(w, 250);
		b_says_of_c(w, 1, _i ? 0 : PH_NEVER_MS);
		w_drain(w);
	}
	uint64_t said_ms = w->now_ms;
	w_run(w, 2000);
	ck_assert_int_eq(w_member(w, 0, 1)->state, PH_MEMBER_SUSPECT);
	uint64_t met_ms = w_member(w, 0, 2)->first_ms; /* a itself has never had an echo of c */
	while (w_member(w, 0, 2)->state != PH_MEMBER_DEAD)
		w_run(w, 10);
	ck_assert_uint_ge(w->now_ms, _i ? said_ms + 5000 : met_ms + 5000);
	ck_assert_uint_le(w->now_ms, _i ? said_ms + 5500 : met_ms + 5500);
	w_free(w);
}
END_TEST

/* ---- who has a name ---- */

/* a, b and c; d has b's name and a higher number, and a has let it in while it held b for dead. */
static struct world *let_in_by_a(enum ph_partition partition)
{
	struct world *w = w_new(4);
	w->partition = partition;
	for (unsigned i = 0; i < 4; i++)
		w->nodes[i].n_peers = i == 0 ? 0 : 2;
	for (unsigned i = 0; i < 3; i++)
		w_start(w, i);
	w_run(w, 6000);
	w->nodes[3].name = w_name(1);
	w->nodes[3].incarnation = 10;
	w->nodes[3].n_peers = 1; /* a */
	return w;
}

/*
 * a has come back, and does not hear b, or does not know any more that there is one: c hears it,
 * and so d is not let in behind its back.
 */
START_TEST(who_is_heard_elsewhere_has_its_name)
{
	struct world *w = let_in_by_a(PH_PARTITION_DIVERGENCE);
	w_cut(w, 0, 1, true);
	w_cut(w, 3, 2, true);
	w_crash(w, 0);
	w->nodes[0].n_peers = 2;
	w_start(w, 0);
	w_run(w, 8000);
	ck_assert(w_member(w, 0, 1) && !w_member(w, 0, 1)->echoed);
	if (_i)
		ph_member_forget(w->nodes[0].hub, w_member(w, 0, 1)); /* there was no room */
	w_run(w, 1500);
	ck_assert_int_eq(w_member(w, 0, 1) == NULL, _i);
	w_start(w, 3);
	w_run(w, 4000);
	ck_assert(!w->nodes[3].ready);
	ck_assert_uint_eq(w_member(w, 2, 1)->info.incarnation, 1);
	ck_assert(!w_member(w, 0, 1) || w_member(w, 0, 1)->info.incarnation == 1);
	w_free(w);
}
END_TEST

/*
 * c is silent here, and not dead yet, and b hears a later life of it: b has let that one in, in its
 * place, and so does a; with a quorum strategy once the lease is over that the first one may have.
 */
static const struct {
	uint64_t heard; /* incarnation of c that b speaks of */
	enum ph_partition partition;
	uint64_t known;
} later[] = {{2, PH_PARTITION_DIVERGENCE, 2}, {1, PH_PARTITION_DIVERGENCE, 1},
	{2, PH_PARTITION_MAJORITY, 1}};

START_TEST(who_was_let_in_elsewhere)
{
	struct world *w = p_world(w_room, true);
	w->mute = NULL;
	w->nodes[0].manual_disk = false;
	struct ph_hub *hub = w->nodes[0].hub;
	for (unsigned i = 0; i < 9; i++) {
		w_run(w, 250);
		b_says_of_c(w, later[_i].heard, 0);
		w_drain(w);
	}
	ck_assert_int_eq(w_member(w, 0, 2)->state, PH_MEMBER_SUSPECT);
	hub->set.partition = later[_i].partition;
	struct ph_bmsg *hello = p_msg(w, 2, PH_B_HELLO);
	hello->incarnation = 2;
	hello->self = (struct ph_member_info){.name = w_name(2),
		.incarnation = 2,
		.slot = 3,
		.weight = 1,
		.state = PH_MEMBER_JOINING,
		.address = "tcp://elsewhere:1"};
	(void)p_prove(w, hello);
	w_drain(w);
	ck_assert_uint_eq(w_member(w, 0, 2)->info.incarnation, later[_i].known);
	ck_assert_uint_eq(w->nodes[0].sent[PH_B_REFUSED], later[_i].known == 1);
	w_free(w);
}
END_TEST

/* ---- going ---- */

/* Nobody is left to ask for what its leave overtook: it waits until all have it, for a while. */
START_TEST(its_last_words_are_heard)
{
	struct world *w = w_new(3);
	struct w_def *def = w_def(w, "room", "1");
	def->spec.instances = 6;
	w_declare_all(w, def);
	w_start_all(w);
	w_run(w, 10000);
	ck_assert_uint_gt(w_alive(w, 1), 0);
	w->pass = no_parts;
	(void)w_push(w, 1, PH_EV_SHUTDOWN);
	w_run(w, 1500);
	ck_assert_uint_eq(w_alive(w, 1), 0);
	ck_assert(!w->nodes[1].exited);
	ck_assert_int_eq(w_member(w, 0, 1)->state, PH_MEMBER_ALIVE);
	if (_i)
		w->pass = NULL;
	w_run(w, _i ? 600 : 1400);
	ck_assert_int_eq(w->nodes[1].exited, _i);
	w_run(w, 500); /* it does not wait for ever */
	ck_assert(w->nodes[1].exited);
	ck_assert_int_eq(w_member(w, 2, 1)->state, PH_MEMBER_LEFT);
	w_free(w);
}
END_TEST

/* Nobody dials any more who has left. */
START_TEST(who_has_left_is_not_dialled)
{
	struct world *w = p_world(w_room, true);
	struct ph_actions actions;
	unsigned hung_up = 0;
	(void)p_msg(w, 1, PH_B_LEAVE);
	ph_step(w->nodes[0].hub, &w->queue[w->head++].event, w->now_ms, &actions);
	for (size_t i = 0; i < actions.n; i++)
		hung_up += actions.items[i].kind == PH_ACT_UNLINK &&
			   strcmp(actions.items[i].to.s, "b") == 0;
	ck_assert_uint_eq(hung_up, 1);
	ck_assert(!w_member(w, 0, 1)->linked);
	w_free(w);
}
END_TEST

/* ---- a link that is cut for ever ---- */

/* What b wants is heard by way of c: a plans nothing for a node that drains. */
START_TEST(a_drain_is_heard_of_others)
{
	struct world *w = w_new(3);
	w_declare_all(w, w_room(w));
	w_start_all(w);
	w_cut(w, 0, 1, true);
	w_run(w, 3000);
	for (unsigned turn = 0; turn < 2; turn++) {
		w_order(w, 1, turn ? PH_VERB_UNDRAIN : PH_VERB_DRAIN, NULL, "b", NULL);
		w_run(w, 3000);
		ck_assert_int_eq(w_member(w, 0, 1)->state, PH_MEMBER_SUSPECT);
		ck_assert_int_eq(w_member(w, 0, 1)->info.draining, turn == 0);
	}
	w_free(w);
}
END_TEST

/* Whom others hear, and who has long not echoed a, may have forgotten it: now and then it is
 * greeted; nobody else is. */
START_TEST(who_is_mute_is_greeted)
{
	struct world *w = w_new(3);
	w_start_all(w);
	w_run(w, 10000);
	unsigned before = w->nodes[0].sent[PH_B_HELLO];
	w_run(w, 30000);
	ck_assert_uint_eq(w->nodes[0].sent[PH_B_HELLO], before);
	w_cut(w, 0, 1, true);
	w_run(w, 4500);
	ck_assert_uint_eq(w->nodes[0].sent[PH_B_HELLO], before);
	w_run(w, 30000);
	ck_assert_uint_ge(w->nodes[0].sent[PH_B_HELLO], before + 5);
	ck_assert_uint_le(w->nodes[0].sent[PH_B_HELLO], before + 8);
	w_free(w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core_joining");
	W_TEST(suite, not_before_settle, 1);
	W_TEST(suite, each_peer_is_waited_for, 2);
	W_TEST(suite, a_peer_has_a_name, 2);
	W_TEST(suite, a_name_is_resolved_late, 3);
	W_TEST(suite, who_hears_too_few_has_not_joined, 3);
	W_TEST(suite, not_before_it_is_in_step, 1);
	W_TEST(suite, whose_word_turns_a_verdict, (int)(sizeof words / sizeof words[0]));
	W_TEST(suite, a_suspects_word_counts, 2);
	W_TEST(suite, who_is_heard_elsewhere_has_its_name, 2);
	W_TEST(suite, who_was_let_in_elsewhere, (int)(sizeof later / sizeof later[0]));
	W_TEST(suite, its_last_words_are_heard, 2);
	W_TEST(suite, who_has_left_is_not_dialled, 1);
	W_TEST(suite, a_drain_is_heard_of_others, 1);
	W_TEST(suite, who_is_mute_is_greeted, 1);
	return w_main(suite);
}
