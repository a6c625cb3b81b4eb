/*
 * core_puppet.h - one hub (node a) among puppets: the test speaks for b and c.
 *
 * For the tests of all states × inputs: a machine is led by events into a state, gets one input,
 * and is then left to itself among neighbours that never say a word again.
 */
#ifndef PH_TESTS_CORE_PUPPET_H
#define PH_TESTS_CORE_PUPPET_H

#include "core_world.h"
#include "core/member.h"

static inline bool p_deaf_to_all(struct world *w, struct w_proc *p, const struct ph_wmsg *msg)
{
	(void)w, (void)p;
	return msg->op != PH_W_WELCOME;
}

static inline struct ph_bmsg *p_msg(struct world *w, unsigned from, enum ph_bkind kind)
{
	struct ph_bmsg *msg = w_alloc(w, sizeof *msg);
	msg->kind = kind;
	msg->from = w_name(from);
	msg->incarnation = 1;
	w_push(w, 0, PH_EV_MESSAGE)->message = msg;
	return msg;
}

/* The hub has heard that HELLO: it is proven. */
static inline struct ph_bmsg *p_prove(struct world *w, const struct ph_bmsg *hello)
{
	w_drain(w);
	const struct ph_id *nonce =
		ph_join_nonce(w->nodes[0].hub, &hello->from, hello->incarnation);
	ck_assert_msg(nonce != NULL, "the HELLO of %s was not answered", hello->from.s);
	struct ph_bmsg *msg = w_copy(w, hello, sizeof *hello);
	msg->kind = PH_B_PROOF;
	msg->nonce = *nonce;
	w_push(w, 0, PH_EV_MESSAGE)->message = msg;
	return msg;
}

/* A node that is new here joins, or one that is known says hello once more. */
static inline void p_hello(struct world *w, unsigned from)
{
	struct ph_bmsg *msg = p_msg(w, from, PH_B_HELLO);
	msg->self = (struct ph_member_info){.name = w_name(from),
		.incarnation = 1,
		.slot = from + 1,
		.weight = 1,
		.state = PH_MEMBER_ALIVE};
	(void)snprintf(msg->self.address, sizeof msg->self.address, "tcp://%s:1", msg->from.s);
	w->nodes[from].up = true;
	w_drain(w);
	if (ph_join_nonce(w->nodes[0].hub, &msg->from, 1))
		(void)p_prove(w, msg);
}

/* Node a is alone at first, and owns what it declares; then b and c appear. */
static inline struct world *p_world(const struct w_def *(*make)(struct world *w), bool declare)
{
	struct world *w = w_new(3);
	const struct w_def *def = make(w);
	w->nodes[0].n_peers = 0;
	if (declare)
		w_declare(w, 0, def);
	w_start(w, 0);
	w_run(w, 2000);
	p_hello(w, 1);
	p_hello(w, 2);
	w_drain(w);
	w->mute = p_deaf_to_all;
	w->nodes[0].manual_disk = true;
	return w;
}

/* Gives actions outside of ph_step the same way into the world. */
static inline void p_begin(struct world *w)
{
	ph_out_begin(w->nodes[0].hub);
}

static inline void p_end(struct world *w)
{
	struct ph_actions actions;
	ph_out_end(w->nodes[0].hub, &actions);
	for (size_t i = 0; i < actions.n; i++)
		w_act(w, 0, &actions.items[i]);
	w_rules_after(w);
	w_rules_inside(w->nodes[0].hub);
}

/* The answer of the disk: to what waits for it, if anything does. */
static inline void p_disk(struct world *w, bool fails)
{
	w->nodes[0].disk_broken = fails;
	w_sync_all(w, 0);
	w_drain(w);
	w_rules_inside(w->nodes[0].hub);
}

static inline void p_dead(struct world *w, unsigned node)
{
	struct ph_name name = w_name(node);
	ph_member_find(w->nodes[0].hub, &name)->state = PH_MEMBER_DEAD;
	w->nodes[node].up = false;
}

/* Workers and the disk answer again; b and c are silent and die. */
static inline void p_left_alone(struct world *w, uint64_t ms)
{
	w->mute = NULL;
	w->nodes[0].manual_disk = false;
	if (w->nodes[0].disk_broken)
		w_journal_back(w, 0);
	else
		w_sync_all(w, 0);
	for (size_t i = 0; i < w->n_procs; i++)
		w->procs[i].def->traits =
			(struct w_traits){.protocol = w->procs[i].def->traits.protocol,
				.caps = w->procs[i].def->traits.caps};
	w_run(w, ms);
	w_rules_inside(w->nodes[0].hub);
}

#endif
