/*
 * core_handover.h - one handover from `from` to `to`, with one fault at one moment of it.
 *
 * For test_core_source.c and test_core_target.c. A moment is an action of one of the two; the
 * fault comes right after it (before the sync for W_AT_JOURNAL). Whatever it is, in the end one
 * process is left, it serves, everybody agrees where, and nobody keeps anything of the migration.
 */
#ifndef PH_TESTS_CORE_HANDOVER_H
#define PH_TESTS_CORE_HANDOVER_H

#include "core_world.h"

#define VALUE 41 /* what the old worker has acknowledged */

struct h_moment {
	enum w_when when;
	int kind;
	bool at_target;
	const char *name;
};

#define H_SEND(kind) W_AT_SEND, PH_B_##kind
#define H_TELL(op) W_AT_TELL, PH_W_##op
#define H_WRITE(kind) W_AT_JOURNAL, PH_RECORD_##kind
#define H_SYNC(kind) W_AT_SYNC, PH_RECORD_##kind

/* in the order in which they happen */
static const struct h_moment h_moments[] = {
	{H_TELL(HANDOVER_ASK), false, "tell handover_ask"},
	{H_SEND(PREPARE), false, "send PREPARE"},
	{H_SEND(READY), true, "send READY"},
	{H_TELL(HANDOVER_START), false, "tell handover_start"},
	{H_SEND(ROUND), false, "send ROUND"},
	{H_TELL(HANDOVER), true, "tell handover"},
	{H_WRITE(FINAL), false, "write final"},
	{H_SYNC(FINAL), false, "sync final"},
	{H_TELL(FREEZE), false, "tell freeze"},
	{H_SEND(ROUND_END), false, "send ROUND_END"},
	{H_TELL(STATE_END), true, "tell state_end"},
	{H_WRITE(PREPARED), true, "write prepared"},
	{H_SYNC(PREPARED), true, "sync prepared"},
	{H_SEND(PREPARED), true, "send PREPARED"},
	{H_SEND(CLAIM), false, "send CLAIM"},
	{H_WRITE(COMMIT), false, "write commit"},
	{H_SYNC(COMMIT), false, "sync commit"},
	{H_SEND(COMMIT), false, "send COMMIT"},
	{H_WRITE(ACTIVE), true, "write active"},
	{H_SYNC(ACTIVE), true, "sync active"},
	{H_SEND(ACTIVE), true, "send ACTIVE"},
	{H_TELL(ACTIVATE), true, "tell activate"},
	{H_WRITE(DONE), false, "write done"},
	{H_SYNC(DONE), false, "sync done"},
	{H_TELL(COMMITTED), false, "tell committed"},
	{H_TELL(STOP), false, "tell stop"},
	{H_SEND(FORGET), false, "send FORGET"},
	{H_SEND(FORGOTTEN), true, "send FORGOTTEN"},
};
#define H_MOMENTS ((int)(sizeof h_moments / sizeof h_moments[0]))
#define H_VARIANTS 4 /* two or three nodes, with or without rounds */

static inline int h_moment_named(const char *name)
{
	for (int i = 0; i < H_MOMENTS; i++)
		if (strcmp(h_moments[i].name, name) == 0)
			return i;
	ck_abort_msg("no moment '%s'", name);
	return -1;
}

struct h_run {
	struct world *w;
	const struct h_moment *moment;
	int no; /* of the moment */
	unsigned from, to;
	struct w_proc *old;
	uint64_t restart_ms;
	bool crash_from, crash_to;
};

static inline struct w_proc *h_new_worker(struct h_run *run)
{
	for (size_t i = run->w->n_procs; i-- > 0;)
		if (run->w->procs[i].node == run->to && run->w->procs[i].alive)
			return &run->w->procs[i];
	return NULL;
}

/* Loop numbers of a test: moment × variant. */
static inline struct h_run h_begin(int loop, void (*deed)(struct world *w))
{
	int variant = loop % H_VARIANTS;
	struct h_run run = {.no = loop / H_VARIANTS, .moment = &h_moments[loop / H_VARIANTS]};
	struct world *w = w_new(variant & 1 ? 2 : 3);
	w_trace_if(w, loop);
	struct w_def *def = w_def(w, "room", "1");
	def->traits.caps |= PH_CAP_ASK | (variant & 2 ? PH_CAP_ROUNDS : 0);
	w_declare_all(w, def);
	w_start_all(w);
	run.w = w;
	run.old = w_only(w, "room", 0);
	run.old->value = VALUE;
	run.from = run.old->node;
	run.to = (run.from + 1) % w->n_nodes;
	w->when = run.moment->when;
	w->when_kind = run.moment->kind;
	w->when_node = run.moment->at_target ? run.to : run.from;
	w->deed = deed;
	return run;
}

/* What the daemon of that node leaves, if it dies, is older than the handover. */
static inline void h_old_state_file(struct h_run *run, unsigned node)
{
	w_save(run->w, node);
	run->w->nodes[node].stale = true;
}

static inline void h_go(struct h_run *run, uint64_t ms)
{
	struct world *w = run->w;
	w->arg = run;
	w_order(w, run->from, PH_VERB_MOVE, "room", w->nodes[run->to].name.s, NULL);
	w_run(w, ms);
}

/* In a variant without rounds nobody is told `freeze`, with two nodes nobody asks for a claim. */
static inline bool h_happened(const struct h_run *run)
{
	bool rounds = (run->old->def->traits.caps & PH_CAP_ROUNDS) != 0;
	bool never =
		(run->moment->kind == PH_W_FREEZE && run->moment->when == W_AT_TELL && !rounds) ||
		(run->moment->kind == PH_B_CLAIM && run->moment->when == W_AT_SEND &&
			run->w->n_nodes == 2);
	ck_assert_msg(run->w->done != never, "the moment '%s' %s", run->moment->name,
		never ? "came" : "never came");
	return !never;
}

static inline struct w_proc *h_one_left(struct h_run *run)
{
	struct w_proc *p = w_only(run->w, "room", 0);
	w_agree(run->w, "room", 0, p->node);
	w_one_outcome(run->w);
	ck_assert_msg(!run->w->late_words, "a worker is spoken to after its reap");
	for (unsigned i = 0; i < run->w->n_nodes; i++)
		ck_assert_msg(!run->w->nodes[i].bugs, "%c logged a bug", (int)('a' + i));
	return p;
}

static inline void h_came_back(struct h_run *run, unsigned node, uint64_t after_ms, uint64_t run_ms)
{
	w_run(run->w, after_ms);
	w_start(run->w, node);
	w_run(run->w, run_ms);
}

#endif
