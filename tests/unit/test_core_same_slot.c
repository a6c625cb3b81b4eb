/*
 * Two nodes whose names differ and whose slots do not would make the same epochs: no two of them
 * are members of one table, and of two that meet one gives way.
 */
#include "core_puppet.h"

static const struct ph_member *member(struct world *w, const char *name)
{
	struct ph_name key = ph_name_of(name);
	return ph_member_find(w->nodes[0].hub, &key);
}

/* Another node, d, with somebody's slot. */
static struct ph_member_info info_of_d(uint64_t incarnation, uint32_t slot)
{
	struct ph_member_info info = {.name = ph_name_of("d"),
		.incarnation = incarnation,
		.slot = slot,
		.weight = 1,
		.state = PH_MEMBER_ALIVE};
	memcpy(info.address, "tcp://d:1", sizeof "tcp://d:1");
	return info;
}

static struct ph_bmsg *say(struct world *w, enum ph_bkind kind, const struct ph_member_info *self)
{
	struct ph_bmsg *msg = p_msg(w, 1, kind);
	msg->from = self->name;
	msg->incarnation = self->incarnation;
	msg->self = *self;
	return msg;
}

static void join(struct world *w, const struct ph_member_info *self)
{
	struct ph_bmsg *hello = say(w, PH_B_HELLO, self);
	w_drain(w);
	if (ph_join_nonce(w->nodes[0].hub, &self->name, self->incarnation))
		(void)p_prove(w, hello);
	w_drain(w);
}

enum way {
	BY_PROOF,
	BY_WELCOME,
	BY_NAME, /* in another one's WELCOME */
	WAYS
};

/* However it is heard of: with the slot of this node (1) or of c (3) it is no member, else it is.
 */
START_TEST(no_two_are_members)
{
	static const uint32_t slots[] = {1, 3, 9};
	uint32_t slot = slots[_i % 3];
	struct world *w = p_world(w_room, true);
	struct ph_member_info d = info_of_d(1, slot);
	unsigned refused = w->nodes[0].sent[PH_B_REFUSED];
	enum way way = (enum way)(_i / 3);
	if (way == BY_PROOF) {
		join(w, &d);
	} else if (way == BY_WELCOME) {
		(void)say(w, PH_B_WELCOME, &d);
	} else {
		struct ph_bmsg *msg = say(w, PH_B_WELCOME, &member(w, "b")->info);
		msg->self.state = PH_MEMBER_ALIVE;
		msg->members = &d;
		msg->n_members = 1;
	}
	w_drain(w);
	ck_assert_int_eq(member(w, "d") != NULL, slot == 9);
	if (way != BY_NAME)
		ck_assert_uint_ge(w->nodes[0].sent[PH_B_REFUSED], refused + (slot != 9));
	ck_assert(member(w, "c") && ph_member_live(member(w, "c")));
	w_free(w);
}
END_TEST

/* Who asks it to prove itself, and has a slot that is taken here, gets no proof: it would let it
 * in.
 */
START_TEST(no_proof_for_one_that_is_not_let_in)
{
	struct world *w = p_world(w_room, true);
	struct ph_member_info d = info_of_d(1, _i ? 3 : 9);
	unsigned proofs = w->nodes[0].sent[PH_B_PROOF];
	say(w, PH_B_CHALLENGE, &d)->nonce = (struct ph_id){.b = {1}};
	w_drain(w);
	ck_assert_uint_eq(w->nodes[0].sent[PH_B_PROOF], proofs + !_i);
	w_free(w);
}
END_TEST

/* A slot is free when its node has left (0), and not when it is held for dead (1). */
START_TEST(when_a_slot_is_free)
{
	struct world *w = p_world(w_room, true);
	if (_i == 0)
		(void)p_msg(w, 2, PH_B_LEAVE);
	else
		w_run(w, 30000);
	w_drain(w);
	ck_assert_int_eq(member(w, "c")->state, _i ? PH_MEMBER_DEAD : PH_MEMBER_LEFT);
	struct ph_member_info d = info_of_d(1, 3);
	join(w, &d);
	ck_assert_int_eq(member(w, "d") != NULL, _i == 0);
	/* the same node, with another name since */
	memcpy(d.address, member(w, "c")->info.address, sizeof d.address);
	d.name = ph_name_of("e");
	join(w, &d);
	ck_assert_int_eq(member(w, "e") != NULL, _i == 1);
	w_free(w);
}
END_TEST

/*
 * Another one of this node's slot, which it has been refused for: the younger one of two that have
 * joined ends. One that has not joined makes nobody go, however old it is.
 */
START_TEST(the_younger_one_gives_way)
{
	struct world *w = p_world(w_room, true);
	uint64_t own = w->nodes[0].hub->set.incarnation;
	struct ph_member_info d = info_of_d(_i == 0 ? own - 1 : _i == 1 ? own + 1 : own - 1, 1);
	d.state = _i == 2 ? PH_MEMBER_JOINING : PH_MEMBER_ALIVE;
	for (int s = 0; s < 30 && !w->nodes[0].exited; s++) {
		(void)say(w, PH_B_WELCOME, &d);
		w_run(w, 1000);
	}
	ck_assert_int_eq(w->nodes[0].exited, _i == 0);
	w_free(w);
}
END_TEST

/* Who goes on without those that refused it makes its epochs above all that they knew. */
START_TEST(epochs_above_those_of_who_refused_it)
{
	struct world *w = w_new(2);
	w_declare(w, 0, w_room(w));
	w_cut(w, 0, 1, true);
	w_start(w, 0);
	struct ph_member_info b = info_of_d(1, 1);
	if (_i)
		say(w, PH_B_REFUSED, &b)->epoch = ph_epoch_make(40000, 1);
	w_run(w, 20000);
	uint64_t counter = ph_epoch_counter(w_slot(w, 0, "room", 0)->seen);
	ck_assert_int_eq(counter > 40000, _i);
	w_free(w);
}
END_TEST

/* A cluster that exists says so, though who says it is not let in: no other one is founded. */
START_TEST(no_second_cluster)
{
	struct world *w = w_new(3);
	w->partition = PH_PARTITION_MAJORITY;
	w_start(w, 0);
	w_run(w, 200);
	struct ph_member_info d = info_of_d(1, 1); /* of this node's slot: refused */
	struct ph_bmsg *hello = say(w, PH_B_HELLO, &d);
	w_drain(w);
	p_prove(w, hello)->view = (uint64_t)_i;
	w_drain(w);
	w_start(w, 1);
	w_run(w, 20000);
	ck_assert_ptr_null(member(w, "d"));
	ck_assert_int_eq(w->nodes[0].hub->view.number != 0, _i == 0);
	w_free(w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core_same_slot");
	W_TEST(suite, no_two_are_members, 3 * WAYS);
	W_TEST(suite, no_proof_for_one_that_is_not_let_in, 2);
	W_TEST(suite, when_a_slot_is_free, 2);
	W_TEST(suite, the_younger_one_gives_way, 3);
	W_TEST(suite, epochs_above_those_of_who_refused_it, 2);
	W_TEST(suite, no_second_cluster, 2);
	return w_main(suite);
}
