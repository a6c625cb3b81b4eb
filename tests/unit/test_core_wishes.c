/* What operators wish of a child at each moment of its migration, at either of the two nodes. */
#include "core_handover.h"

struct wish {
	enum ph_verb verb;
	bool at_target;
	int to; /* MOVE, DRAIN: 0 the source, 1 the target, 2 another one */
	const char *name;
};

static const struct wish wishes[] = {
	{PH_VERB_STOP, false, 0, "stop at the source"},
	{PH_VERB_STOP, true, 0, "stop at the target"},
	{PH_VERB_START, false, 0, "start at the source"},
	{PH_VERB_START, true, 0, "start at the target"},
	{PH_VERB_RESTART, false, 0, "restart at the source"},
	{PH_VERB_RESTART, true, 0, "restart at the target"},
	{PH_VERB_MOVE, false, 0, "back, at the source"},
	{PH_VERB_MOVE, true, 0, "back, at the target"},
	{PH_VERB_MOVE, false, 2, "elsewhere, at the source"},
	{PH_VERB_MOVE, true, 2, "elsewhere, at the target"},
	{PH_VERB_DRAIN, false, 1, "drain the target, at the source"},
	{PH_VERB_DRAIN, true, 1, "drain the target, at the target"},
	{PH_VERB_DRAIN, true, 0, "drain the source, at the target"},
	{PH_VERB_DRAIN, false, 0, "drain the source, at the source"},
};
#define WISHES ((int)(sizeof wishes / sizeof wishes[0]))

static const struct wish *wish;
static uint32_t pid_before;

static unsigned other_of(const struct h_run *run)
{
	return 3 - run->from - run->to;
}

static unsigned node_of(const struct h_run *run, int which)
{
	return which == 0 ? run->from : which == 1 ? run->to : other_of(run);
}

static void order_it(struct world *w)
{
	struct h_run *run = w->arg;
	unsigned at = wish->at_target ? run->to : run->from;
	struct ph_command *c = w_alloc(w, sizeof *c);
	struct ph_slot *slot = w_slot(w, at, "room", 0);
	bool names_node = wish->verb == PH_VERB_MOVE || wish->verb == PH_VERB_DRAIN;
	c->ticket = 78;
	c->verb = wish->verb;
	c->child = ph_name_of(wish->verb == PH_VERB_DRAIN ? "" : "room");
	c->all_instances = true;
	if (names_node)
		c->node = w->nodes[node_of(run, wish->to)].name;
	pid_before = slot ? slot->entry.pid : 0;
	w_push(w, at, PH_EV_COMMAND)->command = c;
	w->nodes[at].answers = 0;
}

static void is_stopped(struct world *w)
{
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_uint_eq(w_alive(w, i), 0);
		const struct ph_held *e = &w_slot(w, i, "room", 0)->entry;
		ck_assert_int_eq(e->state, PH_CHILD_STOPPED);
		ck_assert(e->stopped_by_wish);
	}
}

/* And it is obeyed: nothing is left half-way, and no state is lost but by a restart. */
START_TEST(a_wish_at_each_moment)
{
	wish = &wishes[_i / H_MOMENTS];
	struct h_run run = h_begin(4 * (_i % H_MOMENTS) + 2 * (_i % 2), order_it);
	struct world *w = run.w;
	unsigned at = wish->at_target ? run.to : run.from;
	w_trace_if(w, _i);
	w->arg = &run;
	w_order(w, run.from, PH_VERB_MOVE, "room", w->nodes[run.to].name.s,
		&(struct ph_command){.no_wait = true, .all_instances = true});
	w_run(w, 90000);
	if (!h_happened(&run)) {
		w_free(w);
		return;
	}
	const struct ph_answer *answer = &w->nodes[at].answer;
	ck_assert_uint_eq(w->nodes[at].answers, 1);
	ck_assert_uint_eq(answer->ticket, 78);
	ck_assert_msg(
		answer->error == 0, "%s at '%s': %s", wish->name, run.moment->name, answer->text);
	if (wish->verb == PH_VERB_STOP) {
		is_stopped(w);
		w_no_leftovers(w);
		w_free(w);
		return;
	}
	struct w_proc *p = h_one_left(&run);
	w_no_leftovers(w);
	if (wish->verb == PH_VERB_RESTART)
		ck_assert_msg(p->pid != pid_before && p->pid != run.old->pid, "not restarted");
	else
		ck_assert_uint_eq(p->value, VALUE);
	if (wish->verb == PH_VERB_MOVE)
		ck_assert_msg(p->node == node_of(&run, wish->to), "%s at '%s': it is on %c",
			wish->name, run.moment->name, (int)('a' + p->node));
	if (wish->verb == PH_VERB_DRAIN)
		ck_assert_uint_ne(p->node, node_of(&run, wish->to));
	w_free(w);
}
END_TEST

static unsigned leaver;

static void leave(struct world *w)
{
	(void)w_push(w, leaver, PH_EV_SHUTDOWN);
}

/* The target, or the source, is stopped in order, without a drain: another one has the child. */
START_TEST(a_node_leaves_at_each_moment)
{
	struct h_run run = h_begin(4 * (_i / 2) + 2 * (_i / 2 % 2), leave);
	struct world *w = run.w;
	leaver = _i % 2 ? run.to : run.from;
	h_go(&run, 60000);
	if (h_happened(&run)) {
		ck_assert(w->nodes[leaver].exited);
		struct w_proc *p = h_one_left(&run);
		ck_assert_uint_ne(p->node, leaver);
		/* What it had owned for good ended with it. */
		if (leaver == run.to && run.no <= h_moment_named("send ACTIVE"))
			ck_assert_uint_eq(p->value, VALUE);
		w_no_leftovers(w);
	}
	w_free(w);
}
END_TEST

static struct w_def *second;

static void reload(struct world *w)
{
	for (unsigned i = 0; i < w->n_nodes; i++) {
		w->nodes[i].specs[0] = second;
		w_configure(w, i);
	}
}

/* Its text changes everywhere meanwhile: in the end the worker is one of the new text. */
START_TEST(it_changes_at_each_moment)
{
	struct h_run run = h_begin(4 * _i + 2 * (_i % 2), reload);
	struct world *w = run.w;
	second = w_def(w, "room", "2");
	second->traits = run.old->def->traits;
	h_go(&run, 90000);
	if (h_happened(&run)) {
		struct w_proc *p = h_one_left(&run);
		ck_assert_msg(p->def == second, "at '%s' it runs on with the text before",
			run.moment->name);
		w_no_leftovers(w);
	}
	w_free(w);
}
END_TEST

static void remove_it(struct world *w)
{
	for (unsigned i = 0; i < w->n_nodes; i++) {
		w->nodes[i].n_specs = 0;
		w_configure(w, i);
	}
}

/* Nobody declares it any more: nothing of it is left, whoever had it at that moment. */
START_TEST(it_is_removed_at_each_moment)
{
	struct h_run run = h_begin(4 * _i + 2 * (_i % 2), remove_it);
	struct world *w = run.w;
	h_go(&run, 90000);
	if (h_happened(&run)) {
		for (unsigned i = 0; i < 3; i++) {
			ck_assert_msg(w_alive(w, i) == 0, "at '%s' a worker lives on at %c",
				run.moment->name, (int)('a' + i));
			ck_assert(!ph_slot_owned(w_slot(w, i, "room", 0)));
		}
		w_no_leftovers(w);
	}
	w_free(w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core_wishes");
	W_TEST(suite, a_wish_at_each_moment, WISHES * H_MOMENTS);
	W_TEST(suite, a_node_leaves_at_each_moment, 2 * H_MOMENTS);
	W_TEST(suite, it_changes_at_each_moment, H_MOMENTS);
	W_TEST(suite, it_is_removed_at_each_moment, H_MOMENTS);
	return w_main(suite);
}
