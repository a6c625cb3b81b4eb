/* How orders end whose child does not stay what it was: it is removed, or its daemon ends first. */
#include "core_puppet.h"

static struct w_def *def;

/* All declare it, `instances` of it. */
static struct world *cluster(uint32_t instances)
{
	struct world *w = w_new(3);
	def = w_def(w, "room", "1");
	def->spec.instances = instances;
	w_declare_all(w, def);
	w_start_all(w);
	w_run(w, 8000);
	return w;
}

static void reload_all(struct world *w, const struct w_def *next)
{
	for (unsigned i = 0; i < w->n_nodes; i++) {
		w->nodes[i].n_specs = 0;
		if (next)
			w_declare(w, i, next);
		w_configure(w, i);
	}
	w_drain(w);
}

static const struct {
	enum ph_verb verb;
	enum ph_wait_for wait_for;
	bool good;
} rows[] = {
	{PH_VERB_START, PH_WAIT_READY, false},
	{PH_VERB_RESTART, PH_WAIT_READY, false},
	{PH_VERB_STOP, PH_WAIT_READY, true},
	{PH_VERB_WAIT, PH_WAIT_READY, false},
	{PH_VERB_WAIT, PH_WAIT_STOPPED, true},
};
#define ROWS ((int)(sizeof rows / sizeof rows[0]))

/*
 * It was taken, and no file has the child any more (0), or its text wants one instance less (1):
 * nobody will ever start it. A stop, and who waits for one, has what it asked for.
 */
START_TEST(what_was_ordered_is_removed)
{
	struct world *w = cluster(2);
	int row = _i % ROWS;
	bool fewer = _i / ROWS;
	w_trace_if(w, _i);
	unsigned owner = w_only(w, "room", 1)->node, at = (owner + 1) % 3;
	const struct ph_command one = {.instance = 1, .wait_for = rows[row].wait_for};
	bool runs = rows[row].good;
	if (!runs) {
		w_order(w, owner, PH_VERB_STOP, "room", NULL, &one);
		w_run(w, 2000);
	}
	def->traits.never_ready = def->traits.deaf = true; /* neither started nor stopped soon */
	w_order(w, at, rows[row].verb, "room", NULL, &one);
	w_run(w, 500);
	ck_assert_uint_eq(w->nodes[at].answers, 0);
	struct w_def *less = w_def(w, "room", "2");
	less->spec.instances = 1;
	reload_all(w, fewer ? less : NULL);
	w_run(w, 9000);
	ck_assert_uint_eq(w->nodes[at].answers, 1);
	ck_assert_int_eq(w->nodes[at].answer.error, rows[row].good ? 0 : EREMOTEIO);
	if (!rows[row].good)
		ck_assert_str_eq(w->nodes[at].outcomes[0].text, "it was removed meanwhile");
	w_free(w);
}
END_TEST

/*
 * The stop was taken, and the daemon ends before the worker has: the next one ends it.
 */
START_TEST(the_daemon_ends_before_the_stop)
{
	struct world *w = cluster(1);
	struct w_proc *p = w_only(w, "room", 0);
	unsigned owner = p->node, at = (owner + 1) % 3;
	const struct ph_command one = {.instance = 0};
	def->traits.deaf = true;
	w_order(w, at, PH_VERB_STOP, "room", NULL, &one);
	w_run(w, 1000);
	w_crash(w, owner);
	w_run(w, 300);
	ck_assert(p->alive);
	w_start(w, owner);
	w_run(w, 14000);
	ck_assert(!p->alive);
	ck_assert_uint_eq(w->nodes[at].answers, 1);
	ck_assert_int_eq(w->nodes[at].answer.error, 0);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(w_slot(w, i, "room", 0)->entry.state, PH_CHILD_STOPPED);
	def->traits.deaf = false;
	w_order(w, at, PH_VERB_START, "room", NULL, &one);
	w_run(w, 2000);
	ck_assert_ptr_ne(w_only(w, "room", 0), p);
	w_free(w);
}
END_TEST

/*
 * The daemon of its owner was started again, and others told it under which epoch it owns what was
 * stopped (1: under an earlier one than stands in its journal). Another one may have had it since:
 * it is asked for first, and started above all that is known.
 */
START_TEST(started_after_an_epoch_that_is_passed)
{
	struct world *w = cluster(1);
	unsigned owner = w_only(w, "room", 0)->node;
	const struct ph_command one = {.instance = 0};
	w_order(w, owner, PH_VERB_STOP, "room", NULL, &one);
	w_run(w, 2000);
	w_crash(w, owner);
	w->nodes[owner].n_adopted = 0; /* nor is it known that it had ended */
	w_start(w, owner);
	w_run(w, 300); /* it has not joined yet */
	struct ph_hub *hub = w->nodes[owner].hub;
	struct ph_slot *slot = w_slot(w, owner, "room", 0);
	struct ph_actions actions;
	uint64_t seen = slot->seen;
	const struct ph_name other = w_name((owner + 1) % 3);
	const struct ph_entry entry = {.key = ph_slot_key(slot),
		.node = w_name(owner),
		.epoch = seen - (_i % 2 ? UINT64_C(1) << PH_EPOCH_SLOT_BITS : 0),
		.state = PH_CHILD_STARTING,
		.role = PH_ROLE_ACTIVE};
	ph_out_begin(hub);
	ck_assert(ph_registry_apply(hub, &other, &other, &entry));
	ph_out_end(hub, &actions);
	ck_assert(ph_slot_mine(hub, slot) && !slot->work->instance);
	w_order(w, owner, _i < 2 ? PH_VERB_START : PH_VERB_RESTART, "room", NULL, &one);
	w_run(w, 9000);
	ck_assert_int_eq(w->nodes[owner].answer.error, 0);
	ck_assert_uint_gt(w_only(w, "room", 0)->epoch, seen);
	w_free(w);
}
END_TEST

/*
 * a has lost its journal, and b has a prepared copy of what a does not know to be under way. What a
 * had serves (0), was stopped by order (1), or is being started (2), as that copy may be all there
 * is.
 */
START_TEST(a_copy_of_what_was_stopped)
{
	struct world *w = p_world(w_room, true);
	w->mute = NULL;
	w->nodes[0].manual_disk = false;
	w_sync_all(w, 0);
	w->defs[0].traits.never_ready = _i == 2;
	if (_i)
		w_order(w, 0, _i == 1 ? PH_VERB_STOP : PH_VERB_RESTART, "room", NULL, NULL);
	w_run(w, 500);
	struct ph_hub *hub = w->nodes[0].hub;
	hub->set.journal_lost = true;
	struct ph_bmsg *msg = p_msg(w, 1, PH_B_QUERY);
	msg->id = (struct ph_id){{7}};
	msg->key = (struct ph_key){.child = ph_name_of("room")};
	msg->epoch = ph_next_epoch(hub, w_slot(w, 0, "room", 0));
	w_drain(w);
	ck_assert_uint_eq(w->nodes[0].sent[PH_B_ABORT], _i < 2);
	w_free(w);
}
END_TEST

/*
 * The daemon of its owner is being started again while it is ordered to run: that it says anew how
 * it was stopped before does not mean that it has run and ended since. _i & 1: a restart.
 */
START_TEST(started_while_its_daemon_comes_back)
{
	struct world *w = cluster(1);
	unsigned owner = w_only(w, "room", 0)->node, at = (owner + 1) % 3;
	const struct ph_command one = {.instance = 0};
	w_order(w, at, PH_VERB_STOP, "room", NULL, &one);
	w_run(w, 2000);
	w_crash(w, owner);
	w_start(w, owner);
	w_run(w, (uint64_t)(50 * (_i / 2)));
	w_order(w, at, _i % 2 ? PH_VERB_RESTART : PH_VERB_START, "room", NULL, &one);
	w_run(w, 9000);
	ck_assert_uint_eq(w->nodes[at].answers, 1);
	ck_assert_msg(w_answer(w, at)->error == 0, "told: %s", w->nodes[at].outcomes[0].text);
	(void)w_only(w, "room", 0);
	w_free(w);
}
END_TEST

static unsigned unheard; /* whose part of the registry nobody hears of */
static bool hear(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)w, (void)to;
	return msg->kind != PH_B_REGISTRY || from != unheard;
}

/* The owner has taken it, and loses it with its daemon and its journal: it is told again. */
START_TEST(a_start_that_is_lost)
{
	struct world *w = cluster(1);
	unsigned owner = w_only(w, "room", 0)->node, at = (owner + 1) % 3;
	const struct ph_command one = {.instance = 0};
	w_order(w, at, PH_VERB_STOP, "room", NULL, &one);
	w_run(w, 2000);
	size_t n_records = w->nodes[owner].n_records;
	unheard = owner;
	w->pass = hear;
	def->traits.never_ready = true;
	w_order(w, at, PH_VERB_START, "room", NULL, &one);
	w_run(w, 100);
	ck_assert(!w_slot(w, owner, "room", 0)->wish_stopped);
	w_power_off(w, owner);
	w->nodes[owner].n_records = n_records; /* of this order nothing had come to the disk */
	def->traits.never_ready = false;
	w->pass = NULL;
	w_start(w, owner);
	w_run(w, 40000);
	ck_assert_uint_eq(w->nodes[at].answers, 1);
	ck_assert_msg(w_answer(w, at)->error == 0, "told: %s", w->nodes[at].outcomes[0].text);
	(void)w_only(w, "room", 0);
	w_free(w);
}
END_TEST

/* Who starts it hears that somebody has stopped it, before it was ready. */
START_TEST(a_start_that_is_taken_back)
{
	struct world *w = cluster(1);
	unsigned owner = w_only(w, "room", 0)->node, at = (owner + 1) % 3;
	const struct ph_command one = {.instance = 0};
	w_order(w, at, PH_VERB_STOP, "room", NULL, &one);
	w_run(w, 2000);
	def->traits.never_ready = true;
	w_order(w, at, PH_VERB_START, "room", NULL, &one);
	w_run(w, 500);
	w_order(w, (at + 1) % 3, PH_VERB_STOP, "room", NULL, &one);
	w_run(w, 9000);
	ck_assert_uint_eq(w->nodes[at].answers, 1);
	ck_assert_int_eq(w_answer(w, at)->error, EREMOTEIO);
	ck_assert_str_eq(w->nodes[at].outcomes[0].text, "it was stopped again meanwhile");
	w_free(w);
}
END_TEST

/*
 * A child that an operator has stopped is stopped, whatever number of instances a reload makes of
 * it: all of them are started together. 1: one of them was started again; 2: the daemons are killed
 * before the reload; 3: it has fewer in between.
 */
START_TEST(more_of_what_is_stopped)
{
	struct world *w = cluster(2);
	const struct ph_command one = {.instance = 1};
	w_order(w, 0, PH_VERB_STOP, "room", NULL, NULL);
	w_run(w, 3000);
	if (_i == 1)
		w_order(w, 1, PH_VERB_START, "room", NULL, &one);
	w_run(w, 3000);
	for (unsigned i = 0; i < w->n_nodes && _i == 2; i++)
		w_crash(w, i);
	struct w_def *fewer = w_def(w, "room", "2"), *more = w_def(w, "room", "3");
	fewer->spec.process = more->spec.process = def->spec.process;
	more->spec.instances = 4;
	if (_i == 3) {
		reload_all(w, fewer);
		w_run(w, 3000);
	}
	for (unsigned i = 0; i < w->n_nodes && _i == 2; i++)
		w_start(w, i);
	reload_all(w, more);
	w_run(w, 20000);
	for (unsigned node = 0; node < 3; node++)
		for (uint32_t i = 2; i < 4; i++) {
			const struct ph_slot *slot = w_slot(w, node, "room", i);
			ck_assert_int_eq(slot->entry.state == PH_CHILD_STOPPED, _i != 1);
			ck_assert_int_eq(slot->entry.stopped_by_wish, _i != 1);
		}
	if (_i == 1) {
		(void)w_only(w, "room", 2);
		ck_assert_ptr_null(w_serving(w, "room", 0));
	}
	w_order(w, 2, PH_VERB_START, "room", NULL, NULL);
	w_run(w, 9000);
	ck_assert_int_eq(w_answer(w, 2)->error, 0);
	for (uint32_t i = 0; i < 4; i++)
		(void)w_only(w, "room", i);
	w_free(w);
}
END_TEST

/*
 * All daemons are killed, and start again. Who is given an order just then has heard of no owner
 * yet: it is carried out by the one that there is, and told to be done no sooner. _i & 1:
 * --no-wait; _i & 2: a start of what was stopped.
 */
START_TEST(ordered_before_it_is_heard_of)
{
	struct world *w = cluster(4);
	unsigned at = (unsigned)_i % 3, serving = 0;
	struct ph_command *all = w_alloc(w, sizeof *all);
	bool stops = !(_i & 2);
	if (!stops) {
		w_order(w, at, PH_VERB_STOP, "room", NULL, NULL);
		w_run(w, 2000);
	}
	for (unsigned i = 0; i < 3; i++)
		w_crash(w, i);
	for (unsigned i = 0; i < 3; i++)
		w_start(w, i);
	w_run(w, (uint64_t)(40 * (_i / 4)));
	*all = (struct ph_command){.verb = stops ? PH_VERB_STOP : PH_VERB_START,
		.child = ph_name_of("room"),
		.all_instances = true,
		.no_wait = _i & 1};
	w_push(w, at, PH_EV_COMMAND)->command = all;
	w->nodes[at].answers = 0;
	for (int i = 0; i < 2000 && !w->nodes[at].answers; i++)
		w_run(w, 10);
	ck_assert_uint_eq(w->nodes[at].answers, 1);
	ck_assert_int_eq(w_answer(w, at)->error, 0);
	for (uint32_t i = 0; i < 4; i++)
		serving += w_serving(w, "room", i) != NULL;
	ck_assert(all->no_wait || serving == (stops ? 0 : 4));
	w_run(w, 20000);
	for (unsigned i = 0; i < 12; i++) {
		ck_assert(stops == !w_serving(w, "room", i % 4));
		ck_assert_int_eq(w_slot(w, i / 4, "room", i % 4)->wish_stopped, stops);
	}
	w_free(w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core_order_end");
	W_TEST(suite, what_was_ordered_is_removed, 2 * ROWS);
	W_TEST(suite, the_daemon_ends_before_the_stop, 1);
	W_TEST(suite, started_after_an_epoch_that_is_passed, 4);
	W_TEST(suite, a_copy_of_what_was_stopped, 3);
	W_TEST(suite, started_while_its_daemon_comes_back, 40);
	W_TEST(suite, a_start_that_is_lost, 1);
	W_TEST(suite, a_start_that_is_taken_back, 1);
	W_TEST(suite, more_of_what_is_stopped, 4);
	W_TEST(suite, ordered_before_it_is_heard_of, 4 * 12);
	return w_main(suite);
}
