/*
 * Who is let in: recordings change nothing, of two nodes of one name the first stays while it
 * lives, a number that is too low is raised, and what is over stays over.
 */
#include "core_puppet.h"

static struct ph_hub *hub_of(struct world *w, unsigned node)
{
	return w->nodes[node].hub;
}

static struct ph_member *member(struct world *w, const char *name)
{
	struct ph_name key = ph_name_of(name);
	return ph_member_find(hub_of(w, 0), &key);
}

static struct ph_bmsg *say(struct world *w, enum ph_bkind kind, const char *name,
	uint64_t incarnation, const char *address)
{
	struct ph_bmsg *msg = p_msg(w, 1, kind);
	msg->from = ph_name_of(name);
	msg->incarnation = incarnation;
	msg->self = (struct ph_member_info){.name = msg->from,
		.incarnation = incarnation,
		.slot = 77,
		.weight = 1,
		.state = PH_MEMBER_ALIVE};
	(void)snprintf(msg->self.address, sizeof msg->self.address, "%s", address);
	return msg;
}

static bool pointed; /* something was to be linked or hung up */

/* Runs what is queued at node a, and looks at each action. */
static void watch(struct world *w)
{
	struct ph_actions actions;
	pointed = false;
	while (w->head < w->tail) {
		struct w_item item = w->queue[w->head++];
		ph_step(hub_of(w, 0), &item.event, w->now_ms, &actions);
		for (size_t i = 0; i < actions.n; i++) {
			const struct ph_action *a = &actions.items[i];
			pointed |= a->kind == PH_ACT_LINK || a->kind == PH_ACT_UNLINK;
			w_act(w, 0, a);
		}
	}
}

/* ---- recordings ---- */

static const struct {
	const char *name;
	uint64_t incarnation;
	const char *address;
	unsigned challenges;
} recordings[] = {
	{"x", 1, "tcp://x:1", 1},	  /* nobody knows it */
	{"b", 5, "tcp://b:1", 1},	  /* a later life of a member */
	{"b", 5, "tcp://elsewhere:1", 1}, /* and elsewhere */
	{"b", 0, "tcp://b:1", 1},	  /* an earlier life: told what is known, no more */
	{"b", 0, "tcp://elsewhere:1", 1},
	{"b", 1, "tcp://elsewhere:1", 1},
};

START_TEST(a_recorded_hello_changes_nothing)
{
	struct world *w = p_world(w_room, true);
	unsigned before = HASH_COUNT(hub_of(w, 0)->members);
	for (int i = 0; i < 50; i++)
		(void)say(w, PH_B_HELLO, recordings[_i].name, recordings[_i].incarnation,
			recordings[_i].address);
	watch(w);
	ck_assert(!pointed);
	ck_assert_uint_eq(HASH_COUNT(hub_of(w, 0)->members), before);
	ck_assert_uint_eq(member(w, "b")->info.incarnation, 1);
	ck_assert_int_eq(member(w, "b")->state, PH_MEMBER_ALIVE);
	ck_assert_str_eq(member(w, "b")->info.address, "tcp://b:1");
	ck_assert_uint_eq(w->nodes[0].sent[PH_B_CHALLENGE], 2 + 50 * recordings[_i].challenges);
	ck_assert_uint_eq(w->nodes[0].sent[PH_B_REFUSED], 0);
	ck_assert_uint_le(hub_of(w, 0)->n_challenges, 1);
	w->mute = NULL;
	w->nodes[0].manual_disk = false;
	w_run(w, 6000);
	ck_assert_uint_eq(hub_of(w, 0)->n_challenges, 0);
	w_free(w);
}
END_TEST

enum twist {
	RIGHT,
	WRONG_NONCE,
	NO_NONCE,
	OTHER_ADDRESS,
	OTHER_LIFE,
	OTHER_NAME,
	IN_OTHERS_NAME,
	LATE,
	TWISTS
};

/* The number is to be repeated by the very one that was asked, in time, and once. */
START_TEST(only_the_right_proof)
{
	struct world *w = p_world(w_room, true);
	struct ph_bmsg *hello = say(w, PH_B_HELLO, "x", 3, "tcp://x:1");
	struct ph_bmsg *proof = p_prove(w, hello);
	w->tail--; /* not yet */
	switch ((enum twist)_i) {
	case WRONG_NONCE:
		proof->nonce.b[3] ^= 1;
		break;
	case NO_NONCE:
		proof->nonce = (struct ph_id){0};
		break;
	case OTHER_ADDRESS:
		memcpy(proof->self.address, "tcp://y:1", sizeof "tcp://y:1");
		break;
	case OTHER_LIFE:
		proof->incarnation = proof->self.incarnation = 4;
		break;
	case OTHER_NAME:
		proof->from = proof->self.name = ph_name_of("y");
		break;
	case IN_OTHERS_NAME:
		proof->from = ph_name_of("y");
		break;
	case LATE:
		w->mute = NULL;
		w->nodes[0].manual_disk = false;
		w_run(w, 5000);
		break;
	case RIGHT:
	case TWISTS:
		break;
	}
	w_push(w, 0, PH_EV_MESSAGE)->message = proof;
	watch(w);
	ck_assert(!member(w, "y"));
	ck_assert_int_eq(member(w, "x") != NULL, _i == RIGHT);
	ck_assert_int_eq(pointed, _i == RIGHT);
	if (_i != RIGHT)
		goto end;
	ck_assert_int_eq(member(w, "x")->state, PH_MEMBER_ALIVE);
	ck_assert_ptr_null(ph_join_nonce(hub_of(w, 0), &hello->from, 3));
	/* the same proof again, when its node has left: it is used up */
	say(w, PH_B_LEAVE, "x", 3, "tcp://x:1");
	w_push(w, 0, PH_EV_MESSAGE)->message = proof;
	watch(w);
	ck_assert_int_eq(member(w, "x")->state, PH_MEMBER_LEFT);
end:
	w_free(w);
}
END_TEST

START_TEST(who_is_proven_is_not_asked_again)
{
	struct world *w = p_world(w_room, true);
	unsigned asked = w->nodes[0].sent[PH_B_CHALLENGE];
	unsigned told = w->nodes[0].sent[PH_B_WELCOME];
	w->now_ms += 20;
	p_hello(w, 1);
	w_drain(w);
	ck_assert_uint_eq(w->nodes[0].sent[PH_B_CHALLENGE], asked);
	ck_assert_uint_eq(w->nodes[0].sent[PH_B_WELCOME], told + 1);
	w_free(w);
}
END_TEST

static enum ph_bkind lost;
static unsigned losses;
static bool lose_some(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)w, (void)from, (void)to;
	if (msg->kind != lost || !losses)
		return true;
	losses--;
	return false;
}

/* The next HELLO repairs it; without a loss nothing waits for a timer. */
START_TEST(what_is_lost_is_repaired)
{
	static const enum ph_bkind kinds[] = {
		PH_B_NONE, PH_B_HELLO, PH_B_CHALLENGE, PH_B_PROOF, PH_B_WELCOME};
	struct world *w = w_new(2);
	lost = kinds[_i];
	losses = 4;
	w->pass = lose_some;
	w_start(w, 0);
	w_start(w, 1);
	if (_i == 0) /* not a millisecond has passed */
		ck_assert(member(w, "b") && member(w, "b")->proven);
	w_run(w, 3500);
	ck_assert_uint_eq(losses, _i ? 0 : 4);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert(w->nodes[i].ready);
		ck_assert_int_eq(hub_of(w, i)->members->state, PH_MEMBER_ALIVE);
		ck_assert(!ph_hub_stale(hub_of(w, i), w->now_ms));
	}
	w_free(w);
}
END_TEST

START_TEST(open_challenges_are_bounded)
{
	struct world *w = p_world(w_room, true);
	for (unsigned i = 0; i < PH_NODES_MAX + 50; i++) {
		char name[16];
		(void)snprintf(name, sizeof name, "n%u", i);
		(void)say(w, PH_B_HELLO, name, 1, "tcp://n:1");
	}
	w_drain(w);
	ck_assert_uint_eq(hub_of(w, 0)->n_challenges, PH_NODES_MAX);
	w->mute = NULL;
	w->nodes[0].manual_disk = false;
	w_run(w, 5500);
	ck_assert_uint_eq(hub_of(w, 0)->n_challenges, 0);
	w_free(w);
}
END_TEST

/* ---- two nodes of one name ---- */

/* a and b as ever, and c, which calls itself b. `heir`: with b's state directory. */
static struct world *twins(bool heir, enum ph_partition partition)
{
	struct world *w = w_new(3);
	w->partition = partition;
	const struct w_def *def = w_room(w);
	w_declare_all(w, def);
	w->nodes[0].n_peers = w->nodes[1].n_peers = 1;
	w_start(w, 0);
	w_start(w, 1);
	w_run(w, 4000);
	w->trace = getenv("W_TRACE") != NULL;
	w->nodes[2].name = w_name(1);
	w->nodes[2].n_peers = 1;
	w->nodes[2].incarnation = heir ? 1 : 10;
	ck_assert_int_eq(member(w, "b")->state, PH_MEMBER_ALIVE);
	ck_assert_uint_eq(member(w, "b")->info.incarnation, 1);
	return w;
}

static bool is_refused(struct world *w)
{
	return hub_of(w, 2)->self_state == PH_MEMBER_JOINING && ph_member_refused(hub_of(w, 2)) &&
	       member(w, "b")->info.incarnation == 1 &&
	       strcmp(member(w, "b")->info.address, "tcp://b:1") == 0;
}

START_TEST(the_first_of_a_name_stays_while_it_lives)
{
	struct world *w = twins(_i, PH_PARTITION_DIVERGENCE);
	w_start(w, 2);
	w_run(w, 3000);
	ck_assert(is_refused(w));
	w_run(w, 60000);
	ck_assert(is_refused(w));
	ck_assert(!w->nodes[2].ready);
	ck_assert_int_eq(member(w, "b")->state, PH_MEMBER_ALIVE);
	ck_assert_uint_eq(w->nodes[0].emitted[PH_EMIT_NODE_SUSPECT], 0);
	/* people are told at both ends, and not each second */
	ck_assert_uint_ge(w->nodes[0].emitted[PH_EMIT_NODE_REFUSED], 1);
	ck_assert_uint_le(w->nodes[0].emitted[PH_EMIT_NODE_REFUSED], 2);
	ck_assert_uint_ge(w->nodes[2].emitted[PH_EMIT_NODE_REFUSED], 1);
	ck_assert_uint_le(w->nodes[2].emitted[PH_EMIT_NODE_REFUSED], 2);
	ck_assert_uint_eq(w_alive(w, 2), 0);
	(void)w_only(w, "room", 0);
	w_free(w);
}
END_TEST

/* When the first is dead, the second takes its place; who has its state need not wait so long. */
START_TEST(the_second_takes_over)
{
	struct world *w = twins(_i, PH_PARTITION_DIVERGENCE);
	w_start(w, 2);
	w_run(w, 10000);
	ck_assert(is_refused(w));
	uint64_t dead_ms = w->now_ms;
	w_power_off(w, 1);
	while (is_refused(w) || !w->nodes[2].ready) {
		w_run(w, 100);
		ck_assert_uint_lt(w->now_ms, dead_ms + 20000);
	}
	ck_assert_uint_ge(member(w, "b")->info.incarnation, 2);
	ck_assert_str_eq(member(w, "b")->info.address, "tcp://c:1");
	ck_assert_uint_eq(w->nodes[0].emitted[PH_EMIT_NODE_DEAD], _i ? 0 : 1);
	w_run(w, 6000);
	ck_assert_int_eq(member(w, "b")->state, PH_MEMBER_ALIVE);
	/* now it is the first, even to one that comes with the same number */
	w->nodes[1].incarnation = _i ? 1 : 10;
	w_start(w, 1);
	w_run(w, 5000);
	ck_assert(ph_member_refused(hub_of(w, 1)));
	ck_assert_str_eq(member(w, "b")->info.address, "tcp://c:1");
	(void)w_only(w, "room", 0);
	w_free(w);
}
END_TEST

static void again(struct world *w, unsigned name)
{
	w_power_off(w, 2);
	w->nodes[2].name = w_name(name);
	w_start(w, 2);
}

static bool was_lost(struct world *w)
{
	for (size_t i = 0; i < w->nodes[2].n_records; i++)
		if (w->nodes[2].records[i].r.kind == PH_RECORD_LOST)
			return true;
	return hub_of(w, 2)->set.journal_lost;
}

enum clash {
	RENAMED,
	KEPT_NAME,
	KEPT_AND_RESTARTED,
	ALONE,
	CLASHES
};

/*
 * A name that another one has says nothing of this one's journal. Under a name of its own it goes
 * on with it; in the place of the other one it knows nothing of what that one promised.
 */
START_TEST(a_clash_loses_no_journal)
{
	struct world *w =
		twins(false, _i / CLASHES ? PH_PARTITION_MAJORITY : PH_PARTITION_DIVERGENCE);
	enum clash how = (enum clash)(_i % CLASHES);
	w->nodes[2].blank = true;
	w_start(w, 2);
	w->nodes[2].blank = false;
	w_run(w, 3000);
	ck_assert(is_refused(w));
	ck_assert(!was_lost(w) && !hub_of(w, 2)->forgetful);
	ck_assert_uint_eq(hub_of(w, 2)->clashed, 1);
	if (how == RENAMED) {
		w_compact(w, 2);
		again(w, 2);
		w_run(w, 6000);
		ck_assert(hub_of(w, 2)->self_state == PH_MEMBER_ALIVE && !was_lost(w));
		ck_assert_uint_eq(hub_of(w, 2)->clashed, 0);
		goto end;
	}
	if (how == KEPT_AND_RESTARTED) {
		w_compact(w, 2);
		again(w, 1);
		w_run(w, 3000);
		ck_assert(is_refused(w) && !was_lost(w));
	}
	w_power_off(w, 1);
	if (how == ALONE)
		w_power_off(w, 0);
	w_run(w, 30000);
	ck_assert(hub_of(w, 2)->self_state == PH_MEMBER_ALIVE && was_lost(w));
	ck_assert_uint_eq(hub_of(w, 2)->clashed, 0);
end:
	w_free(w);
}
END_TEST

/* What it may have been told to drain is nobody's: it was never let in. */
START_TEST(who_is_refused_ends_at_once)
{
	struct world *w = twins(false, PH_PARTITION_DIVERGENCE);
	w_start(w, 2);
	w_run(w, 3000);
	ck_assert(is_refused(w));
	(void)w_push(w, 2, PH_EV_SHUTDOWN);
	w_run(w, 1000);
	ck_assert(w->nodes[2].exited);
	w_free(w);
}
END_TEST

/* A member that others refuse for its name, again and again, ends; for its slot, it does not. */
START_TEST(who_is_refused_for_its_name_gives_way)
{
	struct world *w = p_world(w_room, true);
	for (int s = 0; s < 20 && !w->nodes[0].exited; s++) {
		say(w, PH_B_REFUSED, "b", 1, "tcp://b:1")->refused = _i == 0;
		w_run(w, 1000);
	}
	ck_assert_int_eq(w->nodes[0].exited, _i == 0);
	w_free(w);
}
END_TEST

/* ... not if that other one cannot have a lease: only while those that hear it are too few. */
START_TEST(who_is_heard_by_a_quorum_stays)
{
	struct world *w = w_new(3);
	w->partition = PH_PARTITION_MAJORITY;
	w_start_all(w);
	w_run(w, 6000);
	w_cut(w, 0, 2, _i == 0);
	for (int s = 0; s < 20 && !w->nodes[0].exited; s++) {
		say(w, PH_B_REFUSED, "b", 1, "tcp://b:1")->refused = true;
		w_run(w, 1000);
		ck_assert(w->nodes[0].exited || ph_lease_valid(hub_of(w, 0)));
	}
	ck_assert_int_eq(w->nodes[0].exited, _i == 0);
	w_free(w);
}
END_TEST

static uint64_t told_number; /* in the last CHALLENGE of node a */

static void note_numbers(struct world *w)
{
	struct ph_actions actions;
	while (w->head < w->tail) {
		struct w_item item = w->queue[w->head++];
		ph_step(hub_of(w, 0), &item.event, w->now_ms, &actions);
		for (size_t i = 0; i < actions.n; i++) {
			const struct ph_action *a = &actions.items[i];
			if (a->kind == PH_ACT_SEND && a->message->kind == PH_B_CHALLENGE)
				told_number = a->message->known_incarnation;
			w_act(w, 0, a);
		}
	}
}

/* Both have raised their numbers to the same one; also when the first of them has left since. */
START_TEST(two_with_one_number_are_told_apart)
{
	struct world *w = p_world(w_room, true);
	if (_i)
		(void)p_msg(w, 1, PH_B_LEAVE);
	(void)say(w, PH_B_HELLO, "b", 1, "tcp://elsewhere:1");
	note_numbers(w);
	ck_assert_uint_gt(told_number, 1);
	ck_assert_ptr_null(ph_join_nonce(hub_of(w, 0), &member(w, "b")->info.name, 1));
	unsigned asked = w->nodes[0].sent[PH_B_CHALLENGE];
	ck_assert_uint_eq(asked, 3);
	ck_assert_str_eq(member(w, "b")->info.address, "tcp://b:1");
	(void)say(w, PH_B_HELLO, "b", 1, "tcp://b:1"); /* and it itself is not */
	w_drain(w);
	ck_assert_uint_eq(w->nodes[0].sent[PH_B_CHALLENGE], asked);
	w_free(w);
}
END_TEST

/*
 * One with a lower number is refused like any second one, and is not told to raise it: another
 * member may have let it in, and the first would be told the same there.
 */
START_TEST(nobody_is_outbid)
{
	struct world *w = p_world(w_room, true);
	told_number = 7;
	struct ph_bmsg *hello = say(w, PH_B_HELLO, "b", 0, "tcp://elsewhere:1");
	note_numbers(w);
	ck_assert_uint_eq(told_number, 0);
	(void)p_prove(w, hello);
	w_drain(w);
	ck_assert_uint_eq(w->nodes[0].sent[PH_B_REFUSED], 1);
	ck_assert_str_eq(member(w, "b")->info.address, "tcp://b:1");
	ck_assert_uint_eq(member(w, "b")->info.incarnation, 1);
	w_free(w);
}
END_TEST

/* It was away and held for dead, and holds this node for a member still. */
START_TEST(who_was_outlived_is_told)
{
	struct world *w = p_world(w_room, true);
	(void)say(w, PH_B_WELCOME, "b", 0, _i ? "tcp://elsewhere:1" : "tcp://b:1");
	w_drain(w);
	ck_assert_uint_eq(w->nodes[0].sent[PH_B_REFUSED], _i ? 1 : 0);
	ck_assert_uint_eq(w->nodes[0].sent[PH_B_CHALLENGE], _i ? 2 : 3);
	ck_assert_uint_eq(member(w, "b")->info.incarnation, 1);
	w_free(w);
}
END_TEST

/* With a quorum the first may hold a lease for longer than a probe takes: nobody is probed. */
START_TEST(no_probe_ends_a_lease)
{
	struct world *w = twins(true, _i ? PH_PARTITION_MAJORITY : PH_PARTITION_DIVERGENCE);
	w_start(w, 2);
	w_run(w, 3000);
	ck_assert(is_refused(w));
	ck_assert_int_eq(w->nodes[0].sent[PH_B_PROBE] != 0, !_i);
	w_free(w);
}
END_TEST

/* Somebody else's word does not give a living node's name away either. */
START_TEST(no_list_replaces_who_lives)
{
	struct world *w = w_new(2);
	w_start_all(w);
	struct ph_member_info *list = w_alloc(w, sizeof *list);
	*list = (struct ph_member_info){.name = w_name(1),
		.incarnation = 9,
		.slot = 2,
		.weight = 1,
		.state = PH_MEMBER_ALIVE,
		.address = "tcp://elsewhere:1"};
	struct ph_bmsg *msg = say(w, PH_B_WELCOME, "x", 1, "tcp://x:1");
	msg->members = list;
	msg->n_members = 1;
	(void)say(w, PH_B_WELCOME, "b", 9, "tcp://elsewhere:1");
	w_drain(w);
	ck_assert_uint_eq(member(w, "b")->info.incarnation, 1);
	ck_assert_ptr_nonnull(member(w, "x"));
	w_free(w);
}
END_TEST

/* What a node says that others do not let in counts for nothing. */
START_TEST(who_is_refused_elsewhere_is_not_let_in)
{
	struct world *w = p_world(w_room, true);
	struct ph_bmsg *proof = p_prove(w, say(w, PH_B_HELLO, "x", 3, "tcp://x:1"));
	proof->refused = true;
	w_drain(w);
	ck_assert_ptr_null(member(w, "x"));
	(void)p_prove(w, say(w, PH_B_HELLO, "x", 3, "tcp://x:1"));
	w_drain(w);
	ck_assert_ptr_nonnull(member(w, "x"));
	w_free(w);
}
END_TEST

/* ---- numbers ---- */

/* The number is lost and the clock went back: what the others know counts. */
START_TEST(a_number_that_is_too_low_is_raised)
{
	struct world *w = w_new(2);
	w->nodes[1].incarnation = 70;
	w_start_all(w);
	w_crash(w, 1);
	w->nodes[1].incarnation = _i ? 3 : 69;
	w_start(w, 1);
	w_run(w, 1200);
	uint64_t number = w->nodes[1].incarnation;
	ck_assert_uint_gt(number, 71);
	ck_assert_uint_le(number, 71 + PH_INCARNATION_APART);
	ck_assert_uint_eq(member(w, "b")->info.incarnation, number);
	ck_assert_uint_eq(hub_of(w, 1)->set.incarnation, number);
	w_run(w, 2000);
	ck_assert_int_eq(member(w, "b")->state, PH_MEMBER_ALIVE);
	ck_assert(w->nodes[1].ready && !ph_hub_stale(hub_of(w, 1), w->now_ms));
	w_free(w);
}
END_TEST

/* However long the disk takes, and if it fails: until the number is kept the node has not joined.
 */
START_TEST(a_higher_number_counts_once_it_is_kept)
{
	struct world *w = w_new(2);
	w->nodes[1].incarnation = 70;
	w_start_all(w);
	w_crash(w, 1);
	w->nodes[1].incarnation = 3;
	w->nodes[1].ready = false;
	w->nodes[1].hold_number = _i == 0;
	w->nodes[1].fail_number = _i == 1;
	w_start(w, 1);
	w_run(w, 12000);
	ck_assert_uint_eq(hub_of(w, 1)->set.incarnation, 4);
	ck_assert(!ph_hub_joined(hub_of(w, 1)));
	ck_assert_uint_eq(w->nodes[1].numbers, _i ? 3 : 1);
	w->nodes[1].hold_number = w->nodes[1].fail_number = false;
	if (_i == 0) {
		w->nodes[1].incarnation = hub_of(w, 1)->raising;
		w_push(w, 1, PH_EV_INCARNATION)->ticket = w->nodes[1].incarnation;
	}
	w_run(w, 8000);
	ck_assert_uint_gt(w->nodes[1].incarnation, 71);
	ck_assert_uint_eq(hub_of(w, 1)->set.incarnation, w->nodes[1].incarnation);
	ck_assert(ph_hub_joined(hub_of(w, 1)));
	ck_assert_uint_eq(member(w, "b")->info.incarnation, w->nodes[1].incarnation);
	ck_assert_uint_eq(w->nodes[1].numbers, _i ? 4 : 1);
	w_free(w);
}
END_TEST

/* In whichever message it stands; and no number that leaves no room above it. */
START_TEST(what_others_know_of_this_node)
{
	static const enum ph_bkind kinds[] = {PH_B_CHALLENGE, PH_B_WELCOME, PH_B_REFUSED};
	struct world *w = p_world(w_room, true);
	struct ph_bmsg *msg = say(w, kinds[_i], "b", 1, "tcp://b:1");
	msg->known_incarnation = PH_EPOCH_LIMIT - PH_INCARNATION_APART;
	w_drain(w);
	ck_assert_uint_eq(hub_of(w, 0)->set.incarnation, 1);
	msg = say(w, kinds[_i], "b", 1, "tcp://b:1");
	msg->known_incarnation = 8;
	w_drain(w);
	ck_assert_uint_gt(hub_of(w, 0)->set.incarnation, 8);
	ck_assert_uint_le(hub_of(w, 0)->set.incarnation, 8 + PH_INCARNATION_APART);
	w->mute = NULL;
	w->nodes[0].manual_disk = false;
	w_run(w, 100);
	ck_assert_uint_ge(w->nodes[1].got[PH_B_HELLO], 1);
	w_free(w);
}
END_TEST

/*
 * Two of one name are told the same number, at the same moment: they do not come to the same one,
 * whether what they were told or the clock is ahead.
 */
START_TEST(two_do_not_raise_to_the_same_number)
{
	uint64_t wall_ms = _i ? 1700000000000 : 0, number[2];
	for (unsigned i = 0; i < 2; i++) {
		struct world *w = p_world(w_room, true);
		hub_of(w, 0)->rng[0] += i; /* each daemon has a seed of its own */
		w->nodes[0].hold_number = true;
		say(w, PH_B_CHALLENGE, "b", 1, "tcp://b:1")->known_incarnation = 8;
		w_drain(w);
		ck_assert_uint_eq(w->nodes[0].numbers, 1);
		number[i] = ph_incarnation_from(hub_of(w, 0)->raising, wall_ms);
		ck_assert_uint_gt(number[i], wall_ms + (_i ? 0 : 8));
		ck_assert_uint_le(number[i], wall_ms + 8 + PH_INCARNATION_APART);
		w_free(w);
	}
	ck_assert_uint_ne(number[0], number[1]);
}
END_TEST

/* ---- what is over ---- */

START_TEST(who_has_left_is_not_brought_back)
{
	struct world *w = p_world(w_room, true);
	(void)p_msg(w, 1, PH_B_LEAVE);
	w_drain(w);
	ck_assert_int_eq(member(w, "b")->state, PH_MEMBER_LEFT);
	for (int day = 0; day < 2; day++) {
		unsigned asked = w->nodes[0].sent[PH_B_CHALLENGE];
		(void)say(w, PH_B_HELLO, "b", 1, "tcp://b:1");
		say(w, PH_B_HEARTBEAT, "b", 1, "tcp://b:1")->sequence = 900;
		struct ph_bmsg *msg = say(w, PH_B_WELCOME, "c", 1, "tcp://c:1");
		struct ph_member_info *list = w_alloc(w, sizeof *list);
		*list = (struct ph_member_info){.name = w_name(1),
			.incarnation = 1,
			.weight = 1,
			.state = PH_MEMBER_ALIVE,
			.address = "tcp://b:1"};
		msg->members = list;
		msg->n_members = 1;
		w_drain(w);
		ck_assert_uint_eq(w->nodes[0].sent[PH_B_CHALLENGE], asked);
		ck_assert(!member(w, "b") || member(w, "b")->state == PH_MEMBER_LEFT);
		if (day == 0 && _i == 0) { /* forgotten after a day, but for its tombstone */
			w->mute = NULL;
			w->nodes[0].manual_disk = false;
			w->now_ms += UINT64_C(86400000);
			w_run(w, 1000);
		} else if (day == 0) { /* there was no room */
			ph_member_forget(hub_of(w, 0), member(w, "b"));
		}
		if (day == 0)
			ck_assert_ptr_null(member(w, "b"));
	}
	ck_assert_uint_eq(HASH_COUNT(hub_of(w, 0)->tombs), 1);
	struct ph_bmsg *hello = say(w, PH_B_HELLO, "b", 2, "tcp://b:1");
	(void)p_prove(w, hello);
	w_drain(w);
	ck_assert_int_eq(member(w, "b")->state, PH_MEMBER_ALIVE);
	ck_assert_uint_eq(HASH_COUNT(hub_of(w, 0)->tombs), 0);
	w_free(w);
}
END_TEST

/* Dead, and forgotten for want of room: its own proof says that it lives, nobody else's word. */
START_TEST(who_was_held_for_dead_may_prove_that_it_lives)
{
	struct world *w = p_world(w_room, true);
	member(w, "b")->state = PH_MEMBER_DEAD;
	ph_member_forget(hub_of(w, 0), member(w, "b"));
	struct ph_member_info info = {.name = w_name(1), .incarnation = 1};
	ck_assert(ph_tomb_bars(hub_of(w, 0), &info, false));
	info.incarnation = 2;
	ck_assert(!ph_tomb_bars(hub_of(w, 0), &info, false));
	info.incarnation = 0;
	ck_assert(ph_tomb_bars(hub_of(w, 0), &info, true));
	p_hello(w, 1);
	w_drain(w);
	ck_assert_int_eq(member(w, "b")->state, PH_MEMBER_ALIVE);
	w_free(w);
}
END_TEST

/* ---- many ---- */

static struct ph_bmsg heard; /* the last of kind `listened_for` that node a sent to node b */
static enum ph_bkind listened_for;
static unsigned n_heard;

static bool listen(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)w;
	if (from == 0 && to == 1 && msg->kind == listened_for) {
		heard = *msg;
		n_heard++;
	}
	return true;
}

/* Node b names so many others to node a, whose last question to b is then in `heard`. */
static struct world *among(unsigned n)
{
	struct world *w = p_world(w_room, true);
	struct ph_member_info *list = w_alloc(w, n * sizeof *list);
	for (unsigned i = 0; i < n; i++) {
		list[i] = (struct ph_member_info){
			.incarnation = 1, .slot = 100 + i, .weight = 1, .state = PH_MEMBER_ALIVE};
		(void)snprintf(list[i].name.s, sizeof list[i].name.s, "m%02u", i);
		(void)snprintf(list[i].address, sizeof list[i].address, "tcp://m%02u:1", i);
	}
	struct ph_bmsg *msg = say(w, PH_B_WELCOME, "b", 1, "tcp://b:1");
	msg->members = list;
	msg->n_members = n;
	w->pass = listen;
	w_drain(w);
	n_heard = 0;
	return w;
}

static void expect(struct world *w, enum ph_bkind kind)
{
	listened_for = kind;
	n_heard = 0;
	w_drain(w);
	ck_assert_uint_eq(n_heard, 1);
}

static void challenge(struct world *w)
{
	say(w, PH_B_CHALLENGE, "b", 1, "tcp://b:1")->nonce = (struct ph_id){{1}};
	expect(w, PH_B_PROOF);
}

/* One at a time is asked whom it knows; where they are few, each one. */
START_TEST(one_after_another_is_asked_whom_it_knows)
{
	struct world *w = among(_i ? 100 : 10);
	challenge(w);
	ck_assert_int_eq(heard.brief, _i);
	w->now_ms += 2000;
	challenge(w);
	ck_assert(!heard.brief);
	challenge(w);
	ck_assert_int_eq(heard.brief, _i);
	w_free(w);
}
END_TEST

/* Who does not ask is told of nobody, and may ask right after that. */
START_TEST(who_is_many_is_named_where_that_is_asked_for)
{
	struct world *w = among(100);
	w->now_ms += 2000;
	say(w, PH_B_HELLO, "b", 1, "tcp://b:1")->brief = true;
	expect(w, PH_B_WELCOME);
	ck_assert_uint_eq(heard.n_members, 0);
	(void)say(w, PH_B_HELLO, "b", 1, "tcp://b:1");
	expect(w, PH_B_WELCOME);
	ck_assert_uint_eq(heard.n_members, 101);
	w_free(w);
}
END_TEST

/* Others hear somebody who is not known here: one of them is asked, and not all at once. */
START_TEST(who_speaks_of_a_stranger_is_asked)
{
	struct world *w = among(100);
	struct ph_echo *echo = w_alloc(w, sizeof *echo);
	*echo = (struct ph_echo){
		.name = {"x"}, .incarnation = 1, .sequence = 7, .flags = PH_ECHO_JOINED};
	for (unsigned i = 1; i <= 2; i++) {
		w->now_ms += i == 1 ? 2000 : 20;
		struct ph_bmsg *msg = say(w, PH_B_HEARTBEAT, "b", 1, "tcp://b:1");
		msg->sequence = i;
		msg->echoes = echo;
		msg->n_echoes = 1;
		listened_for = PH_B_HELLO;
		n_heard = 0;
		struct ph_actions actions;
		ck_assert_uint_eq(w->head + 1, w->tail);
		ph_step(hub_of(w, 0), &w->queue[w->head++].event, w->now_ms, &actions);
		for (size_t k = 0; k < actions.n; k++)
			if (actions.items[k].kind == PH_ACT_SEND) /* to it alone */
				w_act(w, 0, &actions.items[k]);
		ck_assert_uint_eq(n_heard, i == 1);
		ck_assert(!heard.brief);
	}
	w_free(w);
}
END_TEST

START_TEST(tombstones_are_bounded)
{
	struct world *w = p_world(w_room, true);
	struct ph_member m = {.info = {.incarnation = 1}, .state = PH_MEMBER_DEAD};
	for (unsigned i = 0; i < PH_NODES_MAX + 50; i++) {
		char name[16];
		(void)snprintf(name, sizeof name, "n%u", i);
		m.info.name = ph_name_of(name);
		ph_tomb_put(hub_of(w, 0), &m);
		ph_tomb_put(hub_of(w, 0), &m);
	}
	ck_assert_uint_eq(HASH_COUNT(hub_of(w, 0)->tombs), PH_NODES_MAX);
	ck_assert_ptr_nonnull(ph_tomb_find(hub_of(w, 0), &m.info.name));
	w->mute = NULL;
	w->nodes[0].manual_disk = false;
	w->now_ms += UINT64_C(86400000);
	w_run(w, 1000);
	ck_assert_uint_eq(HASH_COUNT(hub_of(w, 0)->tombs), 0);
	w_free(w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core_join");
	W_TEST(suite, a_recorded_hello_changes_nothing,
		(int)(sizeof recordings / sizeof recordings[0]));
	W_TEST(suite, only_the_right_proof, TWISTS);
	W_TEST(suite, who_is_proven_is_not_asked_again, 1);
	W_TEST(suite, what_is_lost_is_repaired, 5);
	W_TEST(suite, open_challenges_are_bounded, 1);
	W_TEST(suite, the_first_of_a_name_stays_while_it_lives, 2);
	W_TEST(suite, the_second_takes_over, 2);
	W_TEST(suite, a_clash_loses_no_journal, 2 * CLASHES);
	W_TEST(suite, no_probe_ends_a_lease, 2);
	W_TEST(suite, no_list_replaces_who_lives, 1);
	W_TEST(suite, who_is_refused_elsewhere_is_not_let_in, 1);
	W_TEST(suite, who_is_refused_ends_at_once, 1);
	W_TEST(suite, who_is_refused_for_its_name_gives_way, 2);
	W_TEST(suite, who_is_heard_by_a_quorum_stays, 2);
	W_TEST(suite, two_with_one_number_are_told_apart, 2);
	W_TEST(suite, nobody_is_outbid, 1);
	W_TEST(suite, who_was_outlived_is_told, 2);
	W_TEST(suite, a_higher_number_counts_once_it_is_kept, 2);
	W_TEST(suite, a_number_that_is_too_low_is_raised, 2);
	W_TEST(suite, what_others_know_of_this_node, 3);
	W_TEST(suite, two_do_not_raise_to_the_same_number, 2);
	W_TEST(suite, who_has_left_is_not_brought_back, 2);
	W_TEST(suite, who_was_held_for_dead_may_prove_that_it_lives, 1);
	W_TEST(suite, one_after_another_is_asked_whom_it_knows, 2);
	W_TEST(suite, who_is_many_is_named_where_that_is_asked_for, 1);
	W_TEST(suite, who_speaks_of_a_stranger_is_asked, 1);
	W_TEST(suite, tombstones_are_bounded, 1);
	return w_main(suite);
}
