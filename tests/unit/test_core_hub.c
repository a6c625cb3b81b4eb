/* One, two and three hubs together: children start, move, are drained, come back. */
#include "core_world.h"

/* A cluster of which node `late` is not there yet. */
static struct world *cluster(unsigned n, uint32_t instances, int late)
{
	struct world *w = w_new(n);
	struct w_def *def = w_def(w, "room", "1");
	def->spec.instances = instances;
	w_declare_all(w, def);
	for (unsigned i = 0; i < n; i++)
		if ((int)i != late)
			w_start(w, i);
	w_run(w, 12000);
	for (uint32_t i = 0; i < instances; i++)
		w_only(w, "room", i)->value = i + 1;
	return w;
}

/* All of them run, once, with their state; how many on that node. */
static unsigned check_all(struct world *w, uint32_t instances, unsigned node)
{
	unsigned n = 0;
	for (uint32_t i = 0; i < instances; i++) {
		struct w_proc *p = w_only(w, "room", i);
		ck_assert_uint_eq(p->value, i + 1);
		w_agree(w, "room", i, p->node);
		n += p->node == node;
	}
	w_no_leftovers(w);
	return n;
}

START_TEST(one_node_starts_its_children)
{
	struct world *w = cluster(1, 3, -1);
	ck_assert_uint_eq(check_all(w, 3, 0), 3);
	ck_assert(w->nodes[0].ready);
	w_free(w);
}
END_TEST

START_TEST(cold_start_of_all)
{
	struct world *w = cluster((unsigned)_i, 12, -1);
	(void)check_all(w, 12, 0);
	ck_assert_uint_eq(w->n_procs, 12);
	w_free(w);
}
END_TEST

/* Rounds, ask, retention_handled; the order comes from any node. */
START_TEST(move_carries_the_state)
{
	struct world *w = w_new(3);
	struct w_def *def = w_def(w, "room", "1");
	def->traits.caps |= _i & 1 ? PH_CAP_ROUNDS : 0;
	def->traits.caps |= _i & 2 ? PH_CAP_ASK : 0;
	def->traits.handles = (_i & 4) != 0;
	w_declare_all(w, def);
	w_start_all(w);
	struct w_proc *old = w_only(w, "room", 0);
	old->value = 41;
	unsigned from = old->node, to = (from + 1) % 3, at = _i & 8 ? from : (from + 2) % 3;
	uint64_t start = w->now_ms;
	w_order(w, at, PH_VERB_MOVE, "room", w->nodes[to].name.s, NULL);
	w_run(w, 1000);
	ck_assert(old->alive == !(_i & 4));
	w_run(w, 29000);
	struct w_proc *now = w_only(w, "room", 0);
	ck_assert_uint_eq(now->node, to);
	ck_assert_uint_eq(now->value, 41);
	ck_assert_uint_gt(now->epoch, old->epoch);
	ck_assert_uint_eq(old->freezes, _i & 1);
	ck_assert_uint_eq(w->nodes[at].answers, 1);
	ck_assert_int_eq(w->nodes[at].answer.error, 0);
	ck_assert_uint_ge(w->now_ms, start);
	w_agree(w, "room", 0, to);
	w_no_leftovers(w);
	w_free(w);
}
END_TEST

START_TEST(a_join_takes_its_share)
{
	struct world *w = cluster(3, 12, 2);
	ck_assert_uint_eq(check_all(w, 12, 2), 0);
	w_start(w, 2);
	w_run(w, 60000);
	unsigned n = check_all(w, 12, 2);
	ck_assert_msg(n >= 1 && n <= 6, "%u of 12 moved", n);
	w_free(w);
}
END_TEST

START_TEST(drain_and_return)
{
	struct world *w = cluster(3, 12, -1);
	unsigned node = w_only(w, "room", 0)->node, other = (node + 1) % 3;
	unsigned before = check_all(w, 12, node);
	w_order(w, _i ? other : node, PH_VERB_DRAIN, NULL, w->nodes[node].name.s, NULL);
	w_run(w, 60000);
	ck_assert_uint_eq(w->nodes[_i ? other : node].answers, 1);
	ck_assert_int_eq(w->nodes[_i ? other : node].answer.error, 0);
	ck_assert_uint_eq(w->nodes[_i ? other : node].answer.n_outcomes, before);
	ck_assert_uint_eq(check_all(w, 12, node), 0);
	w_order(w, _i ? other : node, PH_VERB_UNDRAIN, NULL, w->nodes[node].name.s, NULL);
	w_run(w, 60000);
	ck_assert_uint_eq(check_all(w, 12, node), before);
	w_free(w);
}
END_TEST

/* With a leave, what it had goes on elsewhere; with a death, from its spec. */
START_TEST(a_node_goes)
{
	struct world *w = cluster(3, 12, -1);
	unsigned node = w_only(w, "room", 0)->node;
	if (_i)
		w_power_off(w, node);
	else
		(void)w_push(w, node, PH_EV_SHUTDOWN);
	w_run(w, 60000);
	ck_assert_uint_eq(w_alive(w, node), 0);
	for (uint32_t i = 0; i < 12; i++)
		(void)w_only(w, "room", i);
	w_free(w);
}
END_TEST

/* Nobody is told that a child can be had while it stands frozen or unowned for nothing. */
START_TEST(all_daemons_are_killed_at_once)
{
	struct world *w = cluster(3, 12, -1);
	for (unsigned i = 0; i < 3; i++)
		w_crash(w, i);
	w_run(w, 200);
	for (unsigned i = 0; i < 3; i++)
		w_start(w, i);
	w_run(w, 30000);
	(void)check_all(w, 12, 0);
	ck_assert_uint_eq(w->n_procs, 12);
	w_free(w);
}
END_TEST

START_TEST(a_compacted_journal_is_as_good)
{
	struct world *w = cluster(3, 12, -1);
	for (unsigned i = 0; i < 3; i++)
		w_compact(w, i);
	for (unsigned i = 0; i < 3; i++)
		w_crash(w, i);
	for (unsigned i = 0; i < 3; i++)
		w_start(w, i);
	w_run(w, 30000);
	(void)check_all(w, 12, 0);
	w_free(w);
}
END_TEST

/* ---- refusals ---- */

START_TEST(a_busy_worker_is_asked_again)
{
	struct world *w = cluster(2, 1, -1);
	struct w_proc *old = w_only(w, "room", 0);
	unsigned to = !old->node;
	old->def->traits.caps |= _i ? PH_CAP_ASK : 0;
	old->def->traits.busy = 2;
	w_hello(w, old);
	w_order(w, old->node, PH_VERB_MOVE, "room", w->nodes[to].name.s, NULL);
	w_run(w, 30000);
	ck_assert_uint_eq(check_all(w, 1, to), 1);
	ck_assert_int_eq(w->nodes[old->node].answer.error, 0);
	ck_assert_uint_eq(old->freezes, 0);
	w_free(w);
}
END_TEST

START_TEST(a_worker_that_says_never_stays)
{
	struct world *w = cluster(2, 1, -1);
	struct w_proc *old = w_only(w, "room", 0);
	old->def->traits.never = 1;
	w_order(w, old->node, PH_VERB_MOVE, "room", w->nodes[!old->node].name.s, NULL);
	w_run(w, 30000);
	ck_assert_ptr_eq(w_only(w, "room", 0), old);
	ck_assert_uint_eq(w->nodes[old->node].answers, 1);
	ck_assert_int_eq(w->nodes[old->node].answer.error, EREMOTEIO);
	w_no_leftovers(w);
	w_free(w);
}
END_TEST

/* Rejected state, broken stream, a worker that is silent at some point: O goes on, untouched. */
static void break_stream(struct world *w)
{
	static struct ph_stream_report report;
	report.id = w->streams[0].id;
	struct ph_event *event = w_push(w, w->streams[0].b_node, PH_EV_STREAM_FAILED);
	event->stream = &report;
	event->text = "cut";
}

START_TEST(a_failed_handover_leaves_no_trace)
{
	struct world *w = cluster(3, 1, -1);
	struct w_proc *old = w_only(w, "room", 0);
	struct w_traits *t = &old->def->traits;
	unsigned to = (old->node + 1) % 3;
	t->caps |= PH_CAP_ROUNDS;
	w_hello(w, old);
	t->reject = _i == 0;
	t->mute_start = _i == 1;
	t->mute_load = _i == 2;
	t->mute_freeze = _i == 3;
	t->mute_hello = _i == 4;
	t->dies_at_start = _i == 5;
	if (_i == 6) {
		w->when = W_AT_TELL;
		w->when_kind = PH_W_HANDOVER;
		w->when_node = to;
		w->deed = break_stream;
	}
	uint32_t pid = old->pid;
	w_order(w, old->node, PH_VERB_MOVE, "room", w->nodes[to].name.s, NULL);
	w_run(w, 60000);
	ck_assert_ptr_eq(w_only(w, "room", 0), old);
	ck_assert_uint_eq(old->pid, pid);
	ck_assert_uint_eq(w_alive(w, to), 0);
	ck_assert_uint_eq(old->commits, 0);
	ck_assert_uint_eq(w->nodes[old->node].answers, 1);
	ck_assert_int_eq(w->nodes[old->node].answer.error, EREMOTEIO);
	ck_assert_uint_eq(check_all(w, 1, old->node), 1);
	w_free(w);
}
END_TEST

/* A worker whose connection is away for a moment still has its state: it is not overlapped. */
START_TEST(a_reconnecting_worker_keeps_its_state)
{
	struct world *w = cluster(2, 1, -1);
	struct w_proc *old = w_only(w, "room", 0);
	unsigned to = !old->node;
	w_hang_up(w, old);
	w_order(w, old->node, PH_VERB_MOVE, "room", w->nodes[to].name.s, NULL);
	w_run(w, 500);
	w_hello(w, old);
	w_run(w, 60000);
	ck_assert_uint_eq(check_all(w, 1, to), 1);
	w_free(w);
}
END_TEST

/* `ready: none` without the protocol: the old one goes when the new one has lived. */
START_TEST(overlap)
{
	struct world *w = w_new(2);
	struct w_def *def = w_def(w, "room", "1");
	def->spec.ready = _i ? PH_READY_NOTIFY : PH_READY_NONE;
	def->traits = (struct w_traits){.notify = _i};
	w->double_allowed = true;
	w_declare_all(w, def);
	w_start_all(w);
	w_run(w, 8000);
	struct w_proc *old = w_only(w, "room", 0);
	unsigned from = old->node;
	w_order(w, from, PH_VERB_MOVE, "room", w->nodes[!from].name.s, NULL);
	w_run(w, 4900);
	ck_assert(old->alive);
	w_run(w, 20000);
	ck_assert_uint_eq(w_only(w, "room", 0)->node, !from);
	w_agree(w, "room", 0, !from);
	w_no_leftovers(w);
	w_free(w);
}
END_TEST

/* ... and stays where the new one does not. */
START_TEST(overlap_fails)
{
	struct world *w = w_new(2);
	struct w_def *def = w_def(w, "room", "1");
	def->spec.ready = PH_READY_NONE;
	def->traits = (struct w_traits){0};
	w->double_allowed = true;
	w_declare_all(w, def);
	w_start_all(w);
	w_run(w, 8000);
	struct w_proc *old = w_only(w, "room", 0);
	def->traits.dies_at_start = true;
	w_order(w, old->node, PH_VERB_MOVE, "room", w->nodes[!old->node].name.s, NULL);
	w_run(w, 30000);
	ck_assert_ptr_eq(w_only(w, "room", 0), old);
	w_no_leftovers(w);
	w_free(w);
}
END_TEST

/* ---- specs ---- */

static void reload(struct world *w, unsigned node, const struct w_def *def)
{
	w->nodes[node].n_specs = 0;
	if (def)
		w_declare(w, node, def);
	w_configure(w, node);
	w_run(w, 5000);
}

START_TEST(a_changed_text_counts_at_the_owner)
{
	struct world *w = cluster(2, 1, -1);
	struct w_proc *old = w_only(w, "room", 0);
	struct w_def *text = w_def(w, "room", "2");
	unsigned owner = old->node;
	reload(w, !owner, text);
	ck_assert_ptr_eq(w_only(w, "room", 0), old);
	reload(w, owner, text);
	struct w_proc *now = w_only(w, "room", 0);
	ck_assert_ptr_ne(now, old);
	ck_assert_ptr_eq(now->def, text);
	ck_assert_uint_eq(now->node, owner);
	struct ph_name name = ph_name_of("room");
	ck_assert_str_eq(ph_hub_spec(w->nodes[0].hub, &name)->text, text->text);
	ck_assert_str_eq(ph_hub_spec(w->nodes[1].hub, &name)->text, text->text);
	w_free(w);
}
END_TEST

/* What one owner's file says reaches the instances of all owners. */
START_TEST(a_changed_text_reaches_all_owners)
{
	struct world *w = cluster(2, 8, -1);
	struct w_def *text = w_def(w, "room", "2");
	text->spec.instances = 8;
	unsigned owner = w_only(w, "room", 0)->node, others = 0;
	for (uint32_t i = 0; i < 8; i++)
		others += w_only(w, "room", i)->node != owner;
	ck_assert_uint_gt(others, 0);
	reload(w, owner, text);
	for (uint32_t i = 0; i < 8; i++)
		ck_assert_ptr_eq(w_only(w, "room", i)->def, text);
	w_free(w);
}
END_TEST

/* A child goes when the last node that declares it drops it, and can come back. */
START_TEST(removed_and_added_again)
{
	struct world *w = cluster((unsigned)_i, 1, -1);
	struct w_def *def = &w->defs[0];
	for (unsigned i = 0; i < w->n_nodes; i++) {
		(void)w_only(w, "room", 0);
		reload(w, i, NULL);
	}
	w_run(w, 5000);
	for (unsigned i = 0; i < w->n_nodes; i++)
		ck_assert_msg(!w_alive(w, i), "node %c still runs it", (int)('a' + i));
	for (unsigned i = 0; i < w->n_nodes; i++)
		reload(w, i, def);
	w_run(w, 20000);
	(void)w_only(w, "room", 0);
	w_free(w);
}
END_TEST

START_TEST(fewer_instances_and_more_again)
{
	struct world *w = cluster(1, 3, -1);
	struct w_def *two = w_def(w, "room", "2"), *three = w_def(w, "room", "3");
	two->spec.instances = 2;
	three->spec.instances = 3;
	reload(w, 0, two);
	w_run(w, 10000);
	ck_assert_uint_eq(w_alive(w, 0), 2);
	reload(w, 0, three);
	w_run(w, 10000);
	for (uint32_t i = 0; i < 3; i++)
		(void)w_only(w, "room", i);
	w_free(w);
}
END_TEST

START_TEST(local_children_run_everywhere)
{
	struct world *w = w_new(3);
	struct w_def *def = w_def(w, "agent", "1");
	def->spec.local = true;
	w_declare_all(w, def);
	w_start_all(w);
	w_run(w, 8000);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_uint_eq(w_alive(w, i), 1);
	w_power_off(w, 1);
	w_run(w, 20000);
	ck_assert_uint_eq(w_alive(w, 0) + w_alive(w, 2), 2);
	w_free(w);
}
END_TEST

/* ---- the journal fails ---- */

static int failing(struct world *w, unsigned node, const struct ph_record *record)
{
	return (int)record->kind == w->when_kind && node == w->when_node ? EIO : 0;
}

/* Whatever record cannot be synced: nothing is lost, and it goes on when the disk is back. */
START_TEST(a_record_cannot_be_synced)
{
	static const struct {
		enum ph_record_kind kind;
		bool target;
	} rows[] = {{PH_RECORD_FINAL, false}, {PH_RECORD_COMMIT, false}, {PH_RECORD_DONE, false},
		{PH_RECORD_PREPARED, true}, {PH_RECORD_ACTIVE, true}, {PH_RECORD_FORGET, true}};
	struct world *w = cluster(3, 1, -1);
	struct w_proc *old = w_only(w, "room", 0);
	unsigned from = old->node, to = (from + 1) % 3;
	w->when_kind = (int)rows[_i].kind;
	w->when_node = rows[_i].target ? to : from;
	w->sync = failing;
	w_order(w, from, PH_VERB_MOVE, "room", w->nodes[to].name.s, NULL);
	w_run(w, 20000);
	w->sync = NULL;
	ck_assert_uint_ge(w->nodes[w->when_node].emitted[PH_EMIT_JOURNAL_FAILED], 1);
	w_journal_back(w, w->when_node);
	w_run(w, 30000);
	(void)check_all(w, 1, 0);
	w_free(w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core_hub");
	W_TEST(suite, one_node_starts_its_children, 1);
	TCase *tc = tcase_create("cold_start_of_all");
	tcase_add_loop_test(tc, cold_start_of_all, 2, 4);
	tcase_add_loop_test(tc, removed_and_added_again, 1, 4);
	tcase_add_test(tc, a_changed_text_reaches_all_owners);
	suite_add_tcase(suite, tc);
	W_TEST(suite, move_carries_the_state, 16);
	W_TEST(suite, a_join_takes_its_share, 1);
	W_TEST(suite, drain_and_return, 2);
	W_TEST(suite, a_node_goes, 2);
	W_TEST(suite, all_daemons_are_killed_at_once, 1);
	W_TEST(suite, a_compacted_journal_is_as_good, 1);
	W_TEST(suite, a_busy_worker_is_asked_again, 2);
	W_TEST(suite, a_worker_that_says_never_stays, 1);
	W_TEST(suite, a_failed_handover_leaves_no_trace, 7);
	W_TEST(suite, a_reconnecting_worker_keeps_its_state, 1);
	W_TEST(suite, overlap, 2);
	W_TEST(suite, overlap_fails, 1);
	W_TEST(suite, a_changed_text_counts_at_the_owner, 1);
	W_TEST(suite, fewer_instances_and_more_again, 1);
	W_TEST(suite, local_children_run_everywhere, 1);
	W_TEST(suite, a_record_cannot_be_synced, 6);
	return w_main(suite);
}
