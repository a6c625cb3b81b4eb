/* An operator's `cancel`: at every moment of a handover, while it waits, by which id, twice. */
#include "core_handover.h"

static struct world *cluster(unsigned n)
{
	struct world *w = w_new(n);
	struct w_def *def = w_def(w, "room", "1");
	def->spec.instances = 2;
	def->traits.caps |= PH_CAP_ASK;
	w_declare_all(w, def);
	w_start_all(w);
	w_run(w, 8000);
	return w;
}

static void cancel(struct world *w, unsigned node, const struct ph_id *id, uint32_t digits)
{
	const struct ph_command c = {.id = *id, .id_digits = digits};
	w_order(w, node, PH_VERB_CANCEL, NULL, NULL, &c);
}

/* An order to move room/0 away from its node, which does not wait for its end. */
static struct ph_id start_move(struct world *w, struct w_proc *p)
{
	const struct ph_command c = {.no_wait = true};
	w_order(w, p->node, PH_VERB_MOVE, "room", w_name((p->node + 1) % w->n_nodes).s, &c);
	w_run(w, 20);
	ck_assert_int_eq(w_answer(w, p->node)->error, 0);
	return w->nodes[p->node].outcomes[0].id;
}

static const struct ph_migration_info *info(struct world *w, unsigned node, const struct ph_id *id)
{
	const struct ph_history *h = ph_history_of(w->nodes[node].hub, id);
	return h ? &h->info : NULL;
}

/* ---- at every moment ---- */

static struct ph_id meant;

/* From the source's own operator, or from the target's. */
static void push_cancel(struct world *w, unsigned node, uint64_t ticket)
{
	struct h_run *run = w->arg;
	const struct ph_source *s = w->nodes[run->from].hub->sources;
	struct ph_command *c = w_alloc(w, sizeof *c);
	ck_assert_ptr_nonnull(s);
	meant = s->id;
	*c = (struct ph_command){
		.ticket = ticket, .verb = PH_VERB_CANCEL, .id = meant, .id_digits = 32};
	w_push(w, node, PH_EV_COMMAND)->command = c;
}

static void cancel_here(struct world *w)
{
	push_cancel(w, ((struct h_run *)w->arg)->from, 88);
}

static void cancel_there_twice(struct world *w)
{
	push_cancel(w, ((struct h_run *)w->arg)->to, 88);
	push_cancel(w, ((struct h_run *)w->arg)->to, 89);
}

/* It is the old one that goes on, or it is refused and the new one has taken over. */
static void either_way(struct h_run *run, unsigned at)
{
	struct world *w = run->w;
	w_run(w, 60000);
	struct w_proc *p = h_one_left(run);
	const struct ph_migration_info *m = info(w, at, &meant);
	ck_assert_uint_eq(p->value, VALUE);
	ck_assert_uint_ge(w->nodes[at].answers, 1);
	ck_assert_ptr_nonnull(m);
	if (w->nodes[at].answer.error) {
		ck_assert_int_eq(w->nodes[at].answer.error, EBUSY);
		const char *text = w->nodes[at].answer.text;
		ck_assert_msg(
			strstr(text, "committed") || strstr(text, "already: done"), "%s", text);
		ck_assert_uint_eq(p->node, run->to);
		ck_assert_int_eq((int)m->result, PH_RESULT_DONE);
	} else {
		ck_assert_ptr_eq(p, run->old);
		ck_assert_int_eq((int)m->result, PH_RESULT_ABORTED);
		ck_assert_str_eq(m->reason, PH_CANCELLED);
		ck_assert_uint_eq(w_alive(w, run->to), 0);
	}
	w_no_leftovers(w);
}

static bool is_before(const struct h_run *run, const char *moment)
{
	return run->no < h_moment_named(moment);
}

START_TEST(at_every_moment)
{
	struct h_run run = h_begin(_i, cancel_here);
	struct world *w = run.w;
	w->arg = &run;
	const struct ph_command c = {.no_wait = true};
	w_order(w, run.from, PH_VERB_MOVE, "room", w_name(run.to).s, &c);
	w_run(w, 15000);
	if (h_happened(&run)) {
		either_way(&run, run.from);
		/* With two nodes nobody is asked, and `commit` is written as soon as PREPARED comes
		 */
		bool late = w->nodes[run.from].answer.error != 0;
		if (is_before(&run, "send PREPARED"))
			ck_assert(!late);
		else if (!is_before(&run, "write commit"))
			ck_assert(late);
	}
	w_free(w);
}
END_TEST

START_TEST(at_every_moment_from_the_other_side_twice)
{
	struct h_run run = h_begin(_i, cancel_there_twice);
	struct world *w = run.w;
	w->arg = &run;
	const struct ph_command c = {.no_wait = true};
	w_order(w, run.from, PH_VERB_MOVE, "room", w_name(run.to).s, &c);
	w_run(w, 15000);
	if (h_happened(&run)) {
		ck_assert_uint_eq(w->nodes[run.to].answers, 2);
		either_way(&run, run.to);
	}
	w_free(w);
}
END_TEST

/* Whoever follows the move is told, and it is not tried again. */
START_TEST(the_move_is_told)
{
	struct world *w = cluster(2);
	struct w_proc *p = w_only(w, "room", 0);
	const struct ph_command one = {.instance = 0};
	p->def->traits.mute_load = true;
	w_order(w, p->node, PH_VERB_MOVE, "room", w_name(!p->node).s, &one);
	w_run(w, 500);
	struct ph_command *c = w_alloc(w, sizeof *c);
	*c = (struct ph_command){.ticket = 5,
		.verb = PH_VERB_CANCEL,
		.id = w->nodes[p->node].hub->sources->id,
		.id_digits = 32};
	w_push(w, !p->node, PH_EV_COMMAND)->command = c;
	w_run(w, 1000);
	ck_assert_int_eq(w_answer(w, !p->node)->error, 0);
	ck_assert_int_eq(w_answer(w, p->node)->error, EREMOTEIO);
	ck_assert_str_eq(w->nodes[p->node].outcomes[0].text, PH_CANCELLED);
	p->def->traits.mute_load = false;
	w_run(w, 60000);
	ck_assert_ptr_eq(w_only(w, "room", 0), p);
	w_no_leftovers(w);
	w_free(w);
}
END_TEST

/* ---- before it begins ---- */

/* It has not begun (_i 0, 1), or waits for a busy worker and has another id by then (2, 3). */
START_TEST(while_it_waits)
{
	struct world *w = cluster(2);
	struct w_proc *p = w_only(w, "room", 0);
	unsigned at = _i & 1 ? !p->node : p->node;
	if (_i >= 2)
		p->def->traits.busy = 3;
	else
		w->nodes[p->node].hub->set.migrations_max = 0;
	struct ph_id id = start_move(w, p);
	w_run(w, 500);
	ck_assert_ptr_nonnull(w_slot(w, p->node, "room", 0)->work->move);
	cancel(w, at, &id, 32);
	w_run(w, 1000);
	ck_assert_int_eq(w_answer(w, at)->error, 0);
	const struct ph_migration_info *m = info(w, at, &w->nodes[at].outcomes[0].id);
	ck_assert_int_eq((int)m->result, PH_RESULT_ABORTED);
	ck_assert_str_eq(m->reason, PH_CANCELLED);
	w->nodes[p->node].hub->set.migrations_max = 8;
	p->def->traits.busy = 0;
	w_run(w, 60000);
	ck_assert_ptr_eq(w_only(w, "room", 0), p);
	w_no_leftovers(w);
	/* ... and another order moves it. */
	(void)start_move(w, p);
	w_run(w, 20000);
	ck_assert_uint_eq(w_only(w, "room", 0)->node, !p->node);
	w_free(w);
}
END_TEST

/* ---- by which id ---- */

START_TEST(by_the_first_digits)
{
	struct world *w = cluster(2);
	struct w_proc *p = w_only(w, "room", 0);
	p->def->traits.mute_load = true;
	struct ph_id id = start_move(w, p), wrong = id;
	/* Another one of which only the last of seven digits differs. */
	struct ph_migration_info other = *info(w, 0, &id);
	other.id.b[3] ^= 0xf0;
	ck_assert_int_eq((int)other.result, PH_RESULT_RUNNING);
	other.result = PH_RESULT_DONE;
	ph_out_begin(w->nodes[0].hub);
	ph_history_put(w->nodes[0].hub, &other);
	wrong.b[1] ^= 0x10;
	cancel(w, 0, &wrong, 4);
	w_run(w, 2000);
	ck_assert_int_eq(w_answer(w, 0)->error, ENOENT);
	cancel(w, 0, &id, 6);
	ck_assert_int_eq(w_answer(w, 0)->error, ENOTUNIQ);
	cancel(w, 0, &other.id, 7);
	ck_assert_int_eq(w_answer(w, 0)->error, EBUSY);
	ck_assert_str_eq(w_answer(w, 0)->text, "it has ended already: done");
	ck_assert_int_eq((int)info(w, 0, &id)->result, PH_RESULT_RUNNING);
	cancel(w, 0, &id, 7);
	w_run(w, 2000);
	ck_assert_int_eq(w_answer(w, 0)->error, 0);
	ck_assert_ptr_eq(w_only(w, "room", 0), p);
	cancel(w, 0, &id, 32); /* once more: it is as was wanted */
	ck_assert_int_eq(w_answer(w, 0)->error, 0);
	w_free(w);
}
END_TEST

static unsigned lost;
static bool lose_answers(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)w, (void)from, (void)to;
	if (lost >= 3 || (msg->kind != PH_B_ORDER_ACK && msg->kind != PH_B_REGISTRY))
		return true;
	lost += msg->kind == PH_B_ORDER_ACK; /* nor does the list of migrations tell its end */
	return false;
}

START_TEST(a_repeat_has_one_effect)
{
	struct world *w = cluster(2);
	struct w_proc *p = w_only(w, "room", 0);
	p->def->traits.mute_load = true;
	struct ph_id id = start_move(w, p);
	lost = 0;
	w->pass = lose_answers;
	cancel(w, !p->node, &id, 32);
	w_run(w, 10000);
	ck_assert_uint_eq(lost, 3);
	ck_assert_int_eq(w_answer(w, !p->node)->error, 0);
	ck_assert_uint_eq(w->nodes[p->node].emitted[PH_EMIT_MIGRATION_ABORTED], 1);
	ck_assert_ptr_eq(w_only(w, "room", 0), p);
	w_free(w);
}
END_TEST

/* O has ended, and N has all of it: it is refused, and nothing is lost. */
START_TEST(not_without_the_old_worker)
{
	struct h_run run = h_begin(H_VARIANTS * h_moment_named("send PREPARED"), NULL);
	struct world *w = run.w;
	w->when = W_NEVER;
	w->nodes[run.to].manual_disk = true; /* `prepared` is not synced yet */
	const struct ph_command c = {.no_wait = true};
	w_order(w, run.from, PH_VERB_MOVE, "room", w_name(run.to).s, &c);
	w_run(w, 100);
	struct ph_source *s = w_slot(w, run.from, "room", 0)->work->source;
	ck_assert_ptr_nonnull(s);
	ck_assert_int_eq((int)s->state, PH_SOURCE_CONFIRMING);
	w_kill(w, run.old);
	w_drain(w);
	struct ph_id id = s->id;
	cancel(w, run.from, &id, 32);
	w_run(w, 100);
	ck_assert_int_eq(w_answer(w, run.from)->error, EBUSY);
	w->nodes[run.to].manual_disk = false;
	w_sync_all(w, run.to);
	w_run(w, 30000);
	ck_assert_uint_eq(h_one_left(&run)->value, VALUE);
	w_free(w);
}
END_TEST

/* ---- what was planned ---- */

/* A drain tells it as left and ends; only a drain that is ordered again moves it. */
START_TEST(of_a_drain)
{
	struct world *w = cluster(2);
	struct w_proc *p = w_only(w, "room", 0);
	unsigned from = p->node, at = _i ? !from : from;
	p->def->traits.mute_load = true;
	w_order(w, at, PH_VERB_DRAIN, NULL, w_name(from).s, NULL);
	w_run(w, 500);
	struct ph_id id = w_slot(w, from, "room", 0)->work->source->id;
	struct ph_command *c = w_alloc(w, sizeof *c);
	*c = (struct ph_command){
		.ticket = 5, .verb = PH_VERB_CANCEL, .id = id, .id_digits = 32, .no_wait = true};
	w_push(w, !at, PH_EV_COMMAND)->command = c;
	w_run(w, 200);
	ck_assert_int_eq(w_answer(w, !at)->error, 0);
	p->def->traits.mute_load = false;
	w_run(w, 60000);
	ck_assert_int_eq(w_answer(w, at)->error, EINPROGRESS);
	bool told = false;
	for (size_t i = 0; i < w_answer(w, at)->n_outcomes; i++) {
		const struct ph_outcome *o = &w->nodes[at].outcomes[i];
		told |= !o->ok && o->key.instance == 0 && strcmp(o->text, PH_CANCELLED) == 0;
	}
	ck_assert(told);
	ck_assert_ptr_eq(w_only(w, "room", 0), p);
	ck_assert_uint_eq(w_alive(w, from), 1);
	w_no_leftovers(w);
	w_order(w, at, PH_VERB_DRAIN, NULL, w_name(from).s, NULL);
	w_run(w, 20000);
	ck_assert_int_eq(w_answer(w, at)->error, 0);
	ck_assert_uint_eq(w_alive(w, from), 0);
	w_free(w);
}
END_TEST

/* What goes to a node that has joined stays, until the next one comes that placement prefers. */
START_TEST(of_a_join)
{
	struct world *w = w_new(3);
	struct w_def *def = w_def(w, "room", "1");
	def->spec.instances = 12;
	def->traits.mute_load = true;
	w_declare_all(w, def);
	w_start(w, 0);
	w_start(w, 1);
	w_run(w, 10000);
	w_start(w, 2);
	struct ph_source *s = NULL;
	for (unsigned i = 0; i < 100 && !s; i++) {
		w_run(w, 100);
		s = w->nodes[0].hub->sources;
	}
	ck_assert_ptr_nonnull(s);
	uint32_t instance = s->slot->number;
	struct w_proc *p = w_proc(w, 0, s->old->wid);
	struct ph_id id = s->id;
	cancel(w, 2, &id, 8);
	w_run(w, 3000);
	ck_assert_int_eq(w_answer(w, 2)->error, 0);
	def->traits.mute_load = false;
	w_run(w, 60000);
	ck_assert_ptr_eq(w_only(w, "room", instance), p);
	ck_assert_uint_gt(w_alive(w, 2), 0); /* the others have moved */
	w_power_off(w, 2);
	w_run(w, 20000);
	w_start(w, 2);
	w_run(w, 60000);
	ck_assert_uint_eq(w_only(w, "room", instance)->node, 2);
	w_free(w);
}
END_TEST

/* An orderly stop with drain_on_stop leaves nothing behind for its sake. */
START_TEST(before_an_orderly_stop)
{
	struct world *w = cluster(2);
	struct w_proc *p = w_only(w, "room", 0);
	unsigned from = p->node;
	w->nodes[from].hub->set.drain_on_stop = true;
	p->def->traits.mute_load = true;
	struct ph_id id = start_move(w, p);
	p->value = VALUE;
	cancel(w, from, &id, 32);
	w_run(w, 500);
	ck_assert_int_eq(w_answer(w, from)->error, 0);
	p->def->traits.mute_load = false;
	(void)w_push(w, from, PH_EV_SHUTDOWN);
	w_run(w, 60000);
	ck_assert(w->nodes[from].exited);
	ck_assert_uint_eq(w_only(w, "room", 0)->node, !from);
	ck_assert_uint_eq(w_only(w, "room", 0)->value, VALUE);
	w_free(w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core_cancel");
	int n = H_MOMENTS * H_VARIANTS;
	W_TEST(suite, at_every_moment, n);
	W_TEST(suite, at_every_moment_from_the_other_side_twice, n);
	W_TEST(suite, the_move_is_told, 1);
	W_TEST(suite, while_it_waits, 4);
	W_TEST(suite, by_the_first_digits, 1);
	W_TEST(suite, a_repeat_has_one_effect, 1);
	W_TEST(suite, not_without_the_old_worker, 1);
	W_TEST(suite, of_a_drain, 2);
	W_TEST(suite, of_a_join, 1);
	W_TEST(suite, before_an_orderly_stop, 1);
	return w_main(suite);
}
