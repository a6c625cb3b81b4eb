/* What operators order, here and elsewhere, and what they are answered. */
#include "core_puppet.h"

static struct world *cluster(unsigned n)
{
	struct world *w = w_new(n);
	struct w_def *def = w_def(w, "room", "1");
	def->spec.instances = 2;
	w_declare_all(w, def);
	w_start_all(w);
	w_run(w, 8000);
	return w;
}

/* ---- what cannot be ---- */

START_TEST(unknown_names)
{
	static const struct {
		enum ph_verb verb;
		const char *child, *node;
		int error;
	} rows[] = {
		{PH_VERB_START, "rom", NULL, ENOENT},
		{PH_VERB_STOP, "rom", NULL, ENOENT},
		{PH_VERB_RESTART, "rom", NULL, ENOENT},
		{PH_VERB_WAIT, "rom", NULL, ENOENT},
		{PH_VERB_MOVE, "rom", "a", ENOENT},
		{PH_VERB_MOVE, "room", "z", ENOENT},
		{PH_VERB_DRAIN, NULL, "z", ENOENT},
		{PH_VERB_UNDRAIN, NULL, "z", ENOENT},
	};
	struct world *w = cluster(2);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		w_order(w, 0, rows[i].verb, rows[i].child, rows[i].node, NULL);
		ck_assert_int_eq(w_answer(w, 0)->error, rows[i].error);
		ck_assert_str_ne(w_answer(w, 0)->text, "");
	}
	const struct ph_command one = {.instance = 2};
	w_order(w, 0, PH_VERB_STOP, "room", NULL, &one);
	ck_assert_int_eq(w_answer(w, 0)->error, ENOENT);
	for (uint32_t i = 0; i < 2; i++)
		(void)w_only(w, "room", i);
	w_free(w);
}
END_TEST

/* ---- stop, start, restart: of children of this node and of others ---- */

START_TEST(stop_start_restart)
{
	struct world *w = cluster(3);
	struct w_proc *p = w_only(w, "room", 0);
	unsigned owner = p->node, at = _i ? (owner + 1) % 3 : owner;
	const struct ph_command one = {.instance = 0};
	w_order(w, at, PH_VERB_RESTART, "room", NULL, &one);
	w_run(w, 2000);
	ck_assert_int_eq(w_answer(w, at)->error, 0);
	ck_assert_uint_eq(w_answer(w, at)->n_outcomes, 1);
	ck_assert(w->nodes[at].outcomes[0].ok);
	ck_assert_uint_ne(w_only(w, "room", 0)->pid, p->pid);

	w_order(w, at, PH_VERB_STOP, "room", NULL, &one);
	w_run(w, 8000);
	ck_assert_int_eq(w_answer(w, at)->error, 0);
	ck_assert_ptr_null(w_serving(w, "room", 0));
	(void)w_only(w, "room", 1);
	/* The whole cluster keeps the wish, whoever dies. */
	w_power_off(w, owner);
	w_run(w, 20000);
	ck_assert_ptr_null(w_serving(w, "room", 0));
	at = (owner + 1) % 3;
	w_order(w, at, PH_VERB_START, "room", NULL, &one);
	w_run(w, 8000);
	ck_assert_int_eq(w_answer(w, at)->error, 0);
	(void)w_only(w, "room", 0);
	w_free(w);
}
END_TEST

/* An order that is repeated because its answer was lost has one effect. */
static unsigned lost;
static bool lose_answers(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)w, (void)from, (void)to;
	if (msg->kind != PH_B_ORDER_ACK || lost >= 3)
		return true;
	lost++;
	return false;
}

START_TEST(a_repeated_order_has_one_effect)
{
	struct world *w = cluster(2);
	unsigned owner = w_only(w, "room", 0)->node;
	size_t n = w->n_procs;
	const struct ph_command one = {.instance = 0};
	lost = 0;
	w->pass = lose_answers;
	w_order(w, !owner, PH_VERB_RESTART, "room", NULL, &one);
	w_run(w, 10000);
	ck_assert_uint_eq(lost, 3);
	ck_assert_int_eq(w_answer(w, !owner)->error, 0);
	ck_assert_uint_eq(w->n_procs, n + 1);
	w_free(w);
}
END_TEST

/* ---- move ---- */

START_TEST(move_to_where_it_is)
{
	struct world *w = cluster(2);
	struct w_proc *p = w_only(w, "room", 0);
	const struct ph_command one = {.instance = 0};
	w_order(w, 0, PH_VERB_MOVE, "room", w->nodes[p->node].name.s, &one);
	w_run(w, 100);
	ck_assert_int_eq(w_answer(w, 0)->error, 0);
	ck_assert_ptr_eq(w_only(w, "room", 0), p);
	w_free(w);
}
END_TEST

START_TEST(moves_that_cannot_be)
{
	struct world *w = w_new(2);
	struct w_def *def = w_def(w, "room", "1");
	def->spec.swap = _i != 0;
	def->spec.local = _i == 1;
	def->spec.handover = _i == 2 ? PH_HANDOVER_YES : PH_HANDOVER_AUTO;
	def->traits.caps = _i == 2 ? 0 : PH_CAP_HANDOVER;
	w_declare_all(w, def);
	w_start_all(w);
	w_run(w, 8000);
	unsigned owner = w->procs[0].node;
	if (_i == 3)
		w_order(w, 0, PH_VERB_STOP, "room", NULL, NULL);
	w_run(w, 8000);
	size_t n = w->n_procs;
	w_order(w, owner, PH_VERB_MOVE, "room", w->nodes[!owner].name.s, NULL);
	w_run(w, 2000);
	ck_assert_int_eq(w_answer(w, owner)->error, EREMOTEIO);
	ck_assert_str_ne(w_answer(w, owner)->text, "");
	ck_assert_uint_eq(w->n_procs, n);
	w_free(w);
}
END_TEST

static void crash_b(struct world *w)
{
	w_crash(w, 1);
}

/*
 * It stays there, as it was ordered, until another text says where it belongs; over a restart of
 * that daemon (1), and one that comes before anybody is told that the child is there (2), too.
 */
START_TEST(a_forced_move_stays)
{
	static const struct ph_command forced = {.force = true, .instance = 0};
	struct world *w = w_new(2);
	struct w_def *def = w_def(w, "room", "1");
	def->spec.nodes = "a";
	w_declare_all(w, def);
	w_start_all(w);
	w_run(w, 8000);
	w_order(w, 0, PH_VERB_MOVE, "room", "b", NULL);
	w_run(w, 1000);
	ck_assert_int_eq(w_answer(w, 0)->error, EREMOTEIO);
	if (_i == 2) {
		w->when = W_AT_SYNC;
		w->when_kind = PH_RECORD_ACTIVE;
		w->when_node = 1;
		w->deed = crash_b;
	}
	w_order(w, 0, PH_VERB_MOVE, "room", "b", &forced);
	w_run(w, 2000);
	ck_assert_uint_eq(w->nodes[1].up, _i != 2);
	if (_i == 1)
		crash_b(w);
	if (_i)
		w_start(w, 1);
	w_run(w, 60000);
	ck_assert_int_eq(w_answer(w, 0)->error, 0);
	w_agree(w, "room", 0, 1);
	w_order(w, 0, PH_VERB_RESTART, "room", NULL, NULL);
	w_run(w, 60000);
	w_agree(w, "room", 0, 1);
	(void)snprintf(def->text, sizeof def->text, "room:2");
	def->spec.hash = ph_hash_bytes(PH_HASH_SEED, def->text, strlen(def->text));
	for (unsigned i = 0; i < 2; i++)
		w_configure(w, i);
	w_run(w, 60000);
	w_agree(w, "room", 0, 0);
	w_free(w);
}
END_TEST

/* Stopped by its policy, failed, or in a long back-off: there is nothing that could be moved. */
START_TEST(a_move_of_what_does_not_run)
{
	static const char *const states[] = {"stopped", "failed", "backoff"};
	unsigned state = (unsigned)_i % 3;
	struct world *w = w_new(2);
	struct w_def *def = w_def(w, "room", "1");
	def->traits.dies_at_start = true;
	def->spec.restart.policy = state == 0 ? PH_RESTART_TEMPORARY : PH_RESTART_PERMANENT;
	def->spec.restart.on_limit = PH_LIMIT_FAIL;
	def->spec.restart.intensity = state == 1;
	def->spec.restart.backoff_ms = def->spec.restart.backoff_max_ms = state == 2 ? 60000 : 100;
	w_declare_all(w, def);
	w_start_all(w);
	w_run(w, 8000);
	unsigned owner = w->procs[0].node, at = _i / 3 ? !owner : owner;
	w_order(w, at, PH_VERB_MOVE, "room", w->nodes[!owner].name.s, NULL);
	w_run(w, 12000);
	ck_assert_msg(w->nodes[at].answers == 1, "%s: no answer", states[state]);
	ck_assert_int_eq(w_answer(w, at)->error, EREMOTEIO);
	ck_assert_str_eq(w_answer(w, at)->text, "it is not running");
	w_free(w);
}
END_TEST

START_TEST(no_wait)
{
	struct world *w = cluster(2);
	struct w_proc *p = w_only(w, "room", 0);
	const struct ph_command c = {.instance = 0, .no_wait = true};
	w_order(w, _i ? p->node : !p->node, PH_VERB_MOVE, "room", w->nodes[!p->node].name.s, &c);
	w_run(w, 10);
	ck_assert_int_eq(w_answer(w, _i ? p->node : !p->node)->error, 0);
	ck_assert(!ph_id_none(&w->nodes[_i ? p->node : !p->node].outcomes[0].id));
	w_run(w, 30000);
	ck_assert_uint_eq(w_only(w, "room", 0)->node, !p->node);
	w_free(w);
}
END_TEST

/* ---- time, wait, detach ---- */

START_TEST(not_done_in_time)
{
	struct world *w = cluster(2);
	struct w_proc *p = w_only(w, "room", 0);
	p->def->traits.deaf = true;
	const struct ph_command c = {.instance = 0, .timeout_ms = 1000};
	w_order(w, p->node, PH_VERB_STOP, "room", NULL, &c);
	w_run(w, 900);
	ck_assert_uint_eq(w->nodes[p->node].answers, 0);
	w_run(w, 400);
	ck_assert_int_eq(w_answer(w, p->node)->error, ETIMEDOUT);
	w_free(w);
}
END_TEST

START_TEST(wait_for_it)
{
	struct world *w = cluster(2);
	struct w_proc *p = w_only(w, "room", 0);
	unsigned at = _i & 1 ? p->node : !p->node;
	struct ph_command c = {.instance = 0, .wait_for = PH_WAIT_READY};
	w_order(w, at, PH_VERB_WAIT, "room", NULL, &c);
	w_run(w, 300);
	ck_assert_int_eq(w_answer(w, at)->error, 0);
	c.wait_for = PH_WAIT_STOPPED;
	w_order(w, at, PH_VERB_WAIT, "room", NULL, &c);
	w_run(w, 5000);
	ck_assert_uint_eq(w->nodes[at].answers, 0);
	struct ph_command *stop = w_alloc(w, sizeof *stop);
	*stop = (struct ph_command){
		.ticket = 5, .verb = PH_VERB_STOP, .child = ph_name_of("room"), .no_wait = true};
	w_push(w, p->node, PH_EV_COMMAND)->command = stop;
	w_run(w, 8000);
	ck_assert_uint_ge(w->nodes[at].answers, 1);
	ck_assert_uint_eq(w->nodes[at].answer.ticket, 77);
	w_free(w);
}
END_TEST

static bool see(void *arg, const struct ph_entry_view *view)
{
	*(struct ph_entry_view *)arg = *view;
	return true;
}

/* Nobody else may have it: it does not run, and nobody is told that it does. */
START_TEST(what_a_dead_node_had)
{
	struct world *w = w_new(3);
	struct w_def *def = w_def(w, "room", "1");
	struct ph_entry_view seen = {0};
	const struct ph_command c = {.wait_for = PH_WAIT_READY};
	def->spec.nodes = "a";
	w_declare_all(w, def);
	w_start_all(w);
	w_run(w, 8000);
	ph_hub_entries(w->nodes[1].hub, w->now_ms, NULL, see, &seen);
	ck_assert(seen.owned && seen.entry.state == PH_CHILD_RUNNING);
	w_power_off(w, 0);
	w_run(w, 8000);
	ph_hub_entries(w->nodes[1].hub, w->now_ms, NULL, see, &seen);
	ck_assert(!seen.owned && seen.wanted);
	ck_assert_int_eq(seen.entry.state, PH_CHILD_WAITING);
	ck_assert(!seen.entry.ready && !seen.entry.pid && !seen.entry.node.s[0]);
	w_order(w, 1, PH_VERB_WAIT, "room", NULL, &c);
	w_run(w, 2000);
	ck_assert_uint_eq(w->nodes[1].answers, 0);
	w_start(w, 0);
	w_run(w, 12000);
	ck_assert_int_eq(w_answer(w, 1)->error, 0);
	w_free(w);
}
END_TEST

START_TEST(a_client_goes_away)
{
	struct world *w = cluster(2);
	struct w_proc *p = w_only(w, "room", 0);
	const struct ph_command c = {.instance = 0};
	w_order(w, p->node, PH_VERB_MOVE, "room", w->nodes[!p->node].name.s, &c);
	w_push(w, p->node, PH_EV_DETACHED)->ticket = 77;
	w_run(w, 30000);
	ck_assert_uint_eq(w->nodes[p->node].answers, 0);
	ck_assert_uint_eq(w_only(w, "room", 0)->node, !p->node);
	struct ph_hub_counts counts;
	ph_hub_count(w->nodes[p->node].hub, &counts);
	ck_assert_uint_eq(counts.orders, 0);
	w_free(w);
}
END_TEST

/* What cannot be while a migration runs is done after it, also where nobody waits for it. */
START_TEST(a_client_goes_away_before_it_is_done)
{
	struct world *w = cluster(2);
	struct w_proc *p = w_only(w, "room", 0);
	const struct ph_command c = {.instance = 0};
	p->def->traits.mute_load = true;
	w_order(w, p->node, PH_VERB_MOVE, "room", w->nodes[!p->node].name.s, &c);
	w_run(w, 1);
	ck_assert_ptr_nonnull(w_slot(w, p->node, "room", 0)->work->source);
	w_order(w, p->node, PH_VERB_RESTART, "room", NULL, &c);
	w_push(w, p->node, PH_EV_DETACHED)->ticket = 77;
	w_run(w, 30000);
	ck_assert_uint_eq(w->nodes[p->node].answers, 0);
	size_t lives = 0;
	for (size_t i = 0; i < w->n_procs; i++)
		lives += ph_key_equal(&w->procs[i].key, &p->key);
	ck_assert_uint_eq(lives, 3); /* the old one, that which was to take over, the new one */
	ck_assert_uint_eq(w_only(w, "room", 0)->node, p->node);
	/* whoever only waits is forgotten at once */
	w_order(w, p->node, PH_VERB_WAIT, "room", NULL, &c);
	w_push(w, p->node, PH_EV_DETACHED)->ticket = 77;
	w_run(w, 1);
	struct ph_hub_counts counts;
	ph_hub_count(w->nodes[p->node].hub, &counts);
	ck_assert_uint_eq(counts.orders, 0);
	w_free(w);
}
END_TEST

/* ---- drain ---- */

/* What cannot go is named: partly done. */
START_TEST(a_drain_that_leaves_some)
{
	struct world *w = cluster(2);
	struct w_proc *p = w_only(w, "room", 0);
	p->def->traits.never = 100;
	w_order(w, p->node, PH_VERB_DRAIN, NULL, NULL, NULL);
	w_run(w, 20000);
	ck_assert_int_eq(w_answer(w, p->node)->error, EINPROGRESS);
	ck_assert_ptr_eq(w_only(w, "room", 0), p);
	w_free(w);
}
END_TEST

static bool says(struct world *w, unsigned node, const char *text)
{
	for (size_t i = 0; i < w->nodes[node].answer.n_outcomes; i++)
		if (strcmp(w->nodes[node].outcomes[i].text, text) == 0)
			return true;
	return false;
}

/* On a full disk nothing can go; who drains is told so, and a stop that drains first comes to its
 * end. */
START_TEST(a_drain_without_a_journal)
{
	struct world *w = cluster(2);
	struct w_proc *p = w_only(w, "room", 0);
	unsigned node = p->node;
	w->nodes[node].disk_broken = true;
	w_order(w, node, PH_VERB_DRAIN, NULL, NULL, NULL);
	w_run(w, 8000);
	ck_assert_uint_eq(w->nodes[node].answers, 0); /* it may be over in a moment */
	w_run(w, 4000);
	ck_assert_int_eq(w_answer(w, node)->error, EINPROGRESS);
	ck_assert(says(w, node, "the journal of this node cannot be written"));
	ck_assert_ptr_eq(w_only(w, "room", 0), p);
	w_journal_back(w, node);
	w_run(w, 20000);
	ck_assert_uint_eq(w_only(w, "room", 0)->node, !node);
	w_free(w);
}
END_TEST

/* Why something was left is said on whatever node one asks. */
START_TEST(why_a_drain_leaves_something)
{
	static const char *const why[] = {
		"its migration.strategy is none", "no other node may have it"};
	struct world *w = w_new(2);
	struct w_def *def = w_def(w, "room", "1");
	def->spec.swap = _i % 2 != 0;
	def->spec.nodes = _i % 2 ? "a" : NULL;
	w_declare_all(w, def);
	w_start_all(w);
	w_run(w, 8000);
	unsigned node = w_only(w, "room", 0)->node, at = _i / 2 ? node : !node;
	w_order(w, at, PH_VERB_DRAIN, NULL, w->nodes[node].name.s, NULL);
	w_run(w, 20000);
	ck_assert_int_eq(w_answer(w, at)->error, EINPROGRESS);
	ck_assert_msg(says(w, at, why[_i % 2]), "%s", w->nodes[at].outcomes[0].text);
	w_free(w);
}
END_TEST

/* ---- a link that is cut, between two that a third one sees ---- */

/* Node 0 has it, and placement wants it on node 1 as soon as 0 drains; or on no other (_i). */
START_TEST(a_drain_past_a_cut_link)
{
	struct world *w = w_new(3);
	struct w_def *def = w_def(w, "room", "1");
	def->spec.nodes = _i ? "a,b" : NULL;
	w_declare_all(w, def);
	w_start_all(w);
	w_run(w, 8000);
	const struct ph_command one = {.instance = 0};
	w_order(w, 0, PH_VERB_MOVE, "room", "a", &one);
	w_run(w, 20000);
	struct w_proc *p = w_only(w, "room", 0);
	ck_assert_uint_eq(p->node, 0);
	struct ph_name first = ph_name_of("b"), second = ph_name_of("c");
	unsigned near = _i || ph_place_before(&p->key, &first, &second) ? 1 : 2;
	w_cut(w, 0, near, true);
	w_order(w, 0, PH_VERB_DRAIN, NULL, NULL, NULL);
	w_run(w, 60000);
	ck_assert_int_eq(w_answer(w, 0)->error, _i ? EINPROGRESS : 0);
	ck_assert_uint_eq(w_only(w, "room", 0)->node, _i ? 0 : 3 - near);
	w_cut(w, 0, near, false);
	w_run(w, 30000);
	ck_assert_uint_eq(w_only(w, "room", 0)->node, _i ? 1 : 3 - near);
	w_no_leftovers(w);
	w_free(w);
}
END_TEST

/* A busy worker is asked again; meanwhile the link is cut, and the order does not wait for it. */
START_TEST(an_order_across_a_link_that_is_cut)
{
	struct world *w = cluster(3);
	struct w_proc *p = w_only(w, "room", 0);
	unsigned to = (p->node + 1) % 3;
	p->def->traits.busy = 4;
	const struct ph_command one = {.instance = 0};
	w_order(w, p->node, PH_VERB_MOVE, "room", w->nodes[to].name.s, &one);
	w_run(w, 1500); /* it is asked a third time after two more seconds */
	w_cut(w, p->node, to, true);
	w_run(w, 30000);
	ck_assert_int_eq(w_answer(w, p->node)->error, EREMOTEIO);
	ck_assert_str_eq(
		w->nodes[p->node].outcomes[0].text, "the target cannot be reached from this node");
	ck_assert_ptr_eq(w_only(w, "room", 0), p);
	w_no_leftovers(w);
	w_free(w);
}
END_TEST

START_TEST(a_drained_node_stays_so)
{
	struct world *w = cluster(2);
	unsigned node = w_only(w, "room", 0)->node;
	w_order(w, node, PH_VERB_DRAIN, NULL, NULL, NULL);
	w_run(w, 30000);
	ck_assert_uint_eq(w_alive(w, node), 0);
	w_crash(w, node);
	w_run(w, 300);
	w_start(w, node);
	w_run(w, 30000);
	ck_assert(ph_hub_draining(w->nodes[node].hub));
	ck_assert_uint_eq(w_alive(w, node), 0);
	w_free(w);
}
END_TEST

/* Its worker is slow to hand over, so that it is still there when the order comes. */
START_TEST(a_node_that_leaves_is_not_undrained)
{
	struct world *w = cluster(2);
	unsigned node = w_only(w, "room", 0)->node, other = 1 - node;
	struct w_node *leaving = &w->nodes[node];
	leaving->hub->set.drain_on_stop = true;
	w_only(w, "room", 0)->def->traits.mute_start = true;
	(void)w_push(w, node, PH_EV_SHUTDOWN);
	w_run(w, 500);
	ck_assert(leaving->up && !leaving->exited);
	unsigned from = _i ? other : node;
	w_order(w, from, PH_VERB_UNDRAIN, NULL, leaving->name.s, NULL);
	w_run(w, 5000);
	ck_assert_uint_eq(w->nodes[from].answers, 1);
	ck_assert_int_ne(w_answer(w, from)->error, 0);
	ck_assert(ph_hub_draining(leaving->hub));
	w_only(w, "room", 0)->def->traits.mute_start = false;
	w_run(w, 60000);
	ck_assert(leaving->exited);
	ck_assert_uint_eq(w_alive(w, other), 2);
	w_free(w);
}
END_TEST

/* ---- placement local: a line for each node ---- */

static struct world *one_a_node(unsigned n)
{
	struct world *w = w_new(n);
	struct w_def *def = w_def(w, "room", "1");
	def->spec.local = true;
	w_declare_all(w, def);
	w_start_all(w);
	w_run(w, 8000);
	return w;
}

/* The one that has it already answers for itself only. */
START_TEST(each_answers_for_its_own)
{
	struct world *w = one_a_node(3);
	w_order(w, 0, PH_VERB_MOVE, "room", w->nodes[1].name.s, NULL);
	w_run(w, 2000);
	ck_assert_int_eq(w_answer(w, 0)->error, EREMOTEIO);
	ck_assert_uint_eq(w_answer(w, 0)->n_outcomes, 3);
	unsigned refused = 0;
	for (size_t i = 0; i < 3; i++) {
		const struct ph_outcome *o = &w->nodes[0].outcomes[i];
		ck_assert(o->ok || strcmp(o->text, "its placement is local") == 0);
		refused += !o->ok;
	}
	ck_assert_uint_eq(refused, 2);
	w_free(w);
}
END_TEST

/* 0: after it has taken the order, 1: before. */
START_TEST(its_node_goes_meanwhile)
{
	struct world *w = one_a_node(3);
	w->defs[0].traits.never_ready = true; /* what is started again is not done soon */
	if (_i)
		w_power_off(w, 2);
	w_order(w, 0, PH_VERB_RESTART, "room", NULL, NULL);
	w_run(w, 1000);
	ck_assert_uint_eq(w->nodes[0].answers, 0);
	if (!_i)
		w_power_off(w, 2);
	w->defs[0].traits.never_ready = false;
	w_run(w, 30000);
	ck_assert_int_eq(w_answer(w, 0)->error, EREMOTEIO);
	ck_assert_uint_eq(w_answer(w, 0)->n_outcomes, 3);
	unsigned gone = 0;
	for (size_t i = 0; i < 3; i++) {
		const struct ph_outcome *o = &w->nodes[0].outcomes[i];
		ck_assert(o->ok || strcmp(o->text, "node c is gone") == 0);
		gone += !o->ok;
	}
	ck_assert_uint_eq(gone, 1);
	w_free(w);
}
END_TEST

/* ---- an order that was taken by one who is lost, or was taken back ---- */

static unsigned unheard; /* whose part of the registry nobody hears of */
static bool hear(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)w, (void)to;
	return msg->kind != PH_B_REGISTRY || from != unheard;
}

/* The machine of its owner goes; _i & 1: it comes back. Nobody has heard of the wish, or all. */
START_TEST(a_stop_that_is_lost)
{
	struct world *w = cluster(3);
	struct w_proc *p = w_only(w, "room", 0);
	unsigned owner = p->node, at = (owner + 1) % 3;
	const struct ph_command one = {.instance = 0};
	unheard = owner;
	w->pass = _i & 2 ? NULL : hear;
	p->def->traits.deaf = true;
	w_order(w, at, PH_VERB_STOP, "room", NULL, &one);
	w_run(w, 100);
	ck_assert(ph_slot_find(w->nodes[owner].hub, &p->key, NULL)->wish_stopped);
	bool heard = ph_slot_find(w->nodes[at].hub, &p->key, NULL)->wish_stopped;
	ck_assert(heard == !w->pass);
	w_power_off(w, owner);
	w->nodes[owner].n_records = 0; /* nothing of it had come to the disk */
	p->def->traits.deaf = false;
	w->pass = NULL;
	if (_i & 1)
		w_start(w, owner);
	w_run(w, 40000);
	ck_assert_int_eq(w_answer(w, at)->error, 0);
	ck_assert_ptr_null(w_serving(w, "room", 0));
	(void)w_only(w, "room", 1);
	w_free(w);
}
END_TEST

/* The daemon of its owner is killed while the worker is still on its way out. */
START_TEST(a_stop_outlives_its_daemon)
{
	struct world *w = cluster(2);
	struct w_proc *p = w_only(w, "room", 0);
	const struct ph_command one = {.instance = 0};
	p->def->traits.deaf = true;
	w_order(w, p->node, PH_VERB_STOP, "room", NULL, &one);
	w_run(w, 100);
	w_crash(w, p->node);
	w_start(w, p->node);
	w_run(w, 1000);
	ck_assert(p->alive);
	w_run(w, 20000);
	ck_assert(!p->alive);
	ck_assert_ptr_null(w_serving(w, "room", 0));
	ck_assert_int_eq(w_slot(w, !p->node, "room", 0)->entry.state, PH_CHILD_STOPPED);
	(void)w_only(w, "room", 1);
	w_order(w, p->node, PH_VERB_START, "room", NULL, &one);
	w_run(w, 5000);
	(void)w_only(w, "room", 0);
	w_free(w);
}
END_TEST

/* Who stops it hears that somebody else has started it, on its node (1) or on another one. */
START_TEST(a_stop_that_is_taken_back)
{
	struct world *w = cluster(3);
	struct w_proc *p = w_only(w, "room", 0);
	unsigned at = _i ? p->node : (p->node + 1) % 3;
	const struct ph_command one = {.instance = 0};
	p->def->traits.deaf = true;
	w_order(w, at, PH_VERB_STOP, "room", NULL, &one);
	w_run(w, 500);
	w_order(w, (p->node + 2) % 3, PH_VERB_START, "room", NULL, &one);
	w_run(w, 30000);
	ck_assert_int_eq(w_answer(w, (p->node + 2) % 3)->error, 0);
	ck_assert_int_eq(w_answer(w, at)->error, EREMOTEIO);
	ck_assert_str_eq(w_answer(w, at)->text, "it was started again meanwhile");
	(void)w_only(w, "room", 0);
	w_free(w);
}
END_TEST

static bool hear_of_none(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)w, (void)from;
	return msg->kind != PH_B_REGISTRY || to != unheard;
}

/* A busy one was to be asked again, by a daemon that is another one by now; _i 1: that is gone. */
START_TEST(a_move_that_is_let_go)
{
	struct world *w = cluster(3);
	struct w_proc *p = w_only(w, "room", 0);
	unsigned owner = p->node, at = (owner + 1) % 3, to = (owner + 2) % 3;
	const struct ph_command one = {.instance = 0};
	unheard = at;
	w->pass = hear_of_none;
	p->def->traits.mute_start = true;
	w_order(w, at, PH_VERB_MOVE, "room", w->nodes[to].name.s, &one);
	w_run(w, 500);
	ck_assert_ptr_nonnull(w->nodes[owner].hub->history);
	struct ph_migration_info busy = w->nodes[owner].hub->history->info;
	busy.result = PH_RESULT_ABORTED;
	ph_reason(busy.reason, PH_BUSY "its worker");
	if (_i) {
		w_power_off(w, owner);
		w_run(w, 8000);
	} else {
		w_crash(w, owner);
		w_start(w, owner);
		w_run(w, 3000);
	}
	ck_assert_uint_eq(w->nodes[at].answers, 0);
	/* Only now it hears, by some other node, of what the earlier one had said. */
	ph_history_put(w->nodes[at].hub, &busy);
	w_run(w, 1000);
	ck_assert_int_eq(w_answer(w, at)->error, EREMOTEIO);
	ck_assert_str_eq(w->nodes[at].outcomes[0].text, busy.reason);
	w_free(w);
}
END_TEST

static bool lose_claims(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)w, (void)from, (void)to;
	return msg->kind != PH_B_CLAIM;
}

/* Its owner, `unheard`, was cut off and has let go of it, and nobody has claimed it since. */
static struct world *released(void)
{
	struct world *w = w_new(3);
	w->partition = PH_PARTITION_MAJORITY;
	w_declare_all(w, w_def(w, "room", "1"));
	w_start_all(w);
	w_run(w, 8000);
	unheard = w_only(w, "room", 0)->node;
	w->pass = lose_claims;
	for (unsigned i = 1; i <= 2; i++)
		w_cut(w, unheard, (unheard + i) % 3, true);
	w_run(w, 4500);
	for (unsigned i = 0; i < 3; i++)
		for (unsigned j = 0; j < 3; j++)
			w->cut[i][j] = false;
	w_run(w, 4000);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(w_slot(w, i, "room", 0)->entry.state, PH_CHILD_RELEASED);
	return w;
}

/* The whole cluster keeps the wish, whoever was told of it. */
START_TEST(wishes_for_what_is_released)
{
	struct world *w = released();
	unsigned at = (unheard + (unsigned)_i % 3) % 3;
	w_order(w, at, PH_VERB_STOP, "room", NULL, NULL);
	w_run(w, 1000);
	ck_assert_int_eq(w_answer(w, at)->error, 0);
	for (unsigned i = 0; i < 3; i++)
		ck_assert(w_slot(w, i, "room", 0)->wish_stopped);
	if (_i >= 3) {
		w_order(w, at, PH_VERB_START, "room", NULL, NULL);
		w_run(w, 1000);
		for (unsigned i = 0; i < 3; i++)
			ck_assert(!w_slot(w, i, "room", 0)->wish_stopped);
	}
	w->pass = NULL;
	w_run(w, 12000);
	ck_assert_uint_eq(w->nodes[0].answers + w->nodes[1].answers + w->nodes[2].answers, 1);
	ck_assert_int_eq(w_answer(w, at)->error, 0);
	ck_assert((w_serving(w, "room", 0) != NULL) == (_i >= 3));
	w_free(w);
}
END_TEST

/* ... and is gone: it is not done before whoever owns it next does it. */
START_TEST(a_stop_of_what_a_dead_node_released)
{
	struct world *w = released();
	unsigned at = (unheard + 1 + (unsigned)_i) % 3;
	w_power_off(w, unheard);
	w_run(w, 8000);
	w_order(w, at, PH_VERB_STOP, "room", NULL, NULL);
	w_run(w, 1000);
	ck_assert_uint_eq(w->nodes[at].answers, 0);
	w->pass = NULL;
	w_run(w, 12000);
	ck_assert_int_eq(w_answer(w, at)->error, 0);
	ck_assert_ptr_null(w_serving(w, "room", 0));
	w_free(w);
}
END_TEST

static const struct ph_bmsg *late_ack;

static bool keep_ack(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)from, (void)to;
	if (msg->kind == PH_B_ORDER_ACK && !late_ack)
		late_ack = w_kept_letter(w, msg);
	return msg->kind != PH_B_ORDER_ACK;
}

/* Its owner says that it is there already, and has lost it since; _i 1: and does not come back. */
START_TEST(a_move_to_where_it_is_no_more)
{
	struct world *w = cluster(3);
	struct w_proc *p = w_only(w, "room", 0);
	unsigned owner = p->node, at = (owner + 1) % 3;
	const struct ph_command one = {.instance = 0};
	const struct ph_slot *slot = w_slot(w, at, "room", 0);
	late_ack = NULL;
	w->pass = keep_ack;
	w_order(w, at, PH_VERB_MOVE, "room", w->nodes[owner].name.s, &one);
	ck_assert_ptr_nonnull(late_ack);
	w_power_off(w, owner);
	while (ph_name_equal(&slot->entry.node->name, &w->nodes[owner].name))
		w_run(w, 50);
	w_arrive(w, at, late_ack);
	w_drain(w);
	ck_assert_int_eq(w->nodes[at].hub->orders->lines[0].state, PH_LINE_TAKEN);
	w->pass = NULL;
	if (!_i)
		w_start(w, owner);
	w_run(w, 40000);
	ck_assert_int_eq(w_answer(w, at)->error, _i ? EREMOTEIO : 0);
	ck_assert(_i || w_only(w, "room", 0)->node == owner);
	w_free(w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core_order");
	W_TEST(suite, unknown_names, 1);
	W_TEST(suite, stop_start_restart, 2);
	W_TEST(suite, a_repeated_order_has_one_effect, 1);
	W_TEST(suite, move_to_where_it_is, 1);
	W_TEST(suite, moves_that_cannot_be, 4);
	W_TEST(suite, a_forced_move_stays, 3);
	W_TEST(suite, a_move_of_what_does_not_run, 6);
	W_TEST(suite, no_wait, 2);
	W_TEST(suite, not_done_in_time, 1);
	W_TEST(suite, wait_for_it, 2);
	W_TEST(suite, what_a_dead_node_had, 1);
	W_TEST(suite, a_stop_outlives_its_daemon, 1);
	W_TEST(suite, a_client_goes_away, 1);
	W_TEST(suite, a_client_goes_away_before_it_is_done, 1);
	W_TEST(suite, a_drain_that_leaves_some, 1);
	W_TEST(suite, a_drain_without_a_journal, 1);
	W_TEST(suite, why_a_drain_leaves_something, 4);
	W_TEST(suite, a_drain_past_a_cut_link, 2);
	W_TEST(suite, an_order_across_a_link_that_is_cut, 1);
	W_TEST(suite, a_drained_node_stays_so, 1);
	W_TEST(suite, a_node_that_leaves_is_not_undrained, 2);
	W_TEST(suite, each_answers_for_its_own, 1);
	W_TEST(suite, its_node_goes_meanwhile, 2);
	W_TEST(suite, a_stop_that_is_lost, 4);
	W_TEST(suite, a_stop_that_is_taken_back, 2);
	W_TEST(suite, a_move_that_is_let_go, 2);
	W_TEST(suite, wishes_for_what_is_released, 6);
	W_TEST(suite, a_stop_of_what_a_dead_node_released, 2);
	W_TEST(suite, a_move_to_where_it_is_no_more, 2);
	return w_main(suite);
}
