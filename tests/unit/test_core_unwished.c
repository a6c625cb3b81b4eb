/* An operator's wish ends with the child that it was said of, and counts over restarts until then.
 */
#include "core_puppet.h"

static void restart(struct world *w, unsigned node)
{
	w_crash(w, node);
	w_start(w, node);
}

static void wished(struct world *w, unsigned node, bool stopped, unsigned wishes)
{
	const struct ph_slot *slot = w_slot(w, node, "room", 0);
	ck_assert_int_eq(slot->wish_stopped, stopped);
	ck_assert_uint_eq(slot->wishes, wishes);
}

static void order(struct world *w, unsigned node, enum ph_verb verb, const struct w_def *def)
{
	struct ph_command *c = w_alloc(w, sizeof *c);
	const struct ph_spec **specs = w_alloc(w, sizeof *specs);
	if (def) {
		specs[0] = &def->spec;
		c->specs = specs;
		c->n_specs = 1;
	}
	c->all_instances = true;
	w_order(w, node, verb, def ? NULL : "room", NULL, c);
	w_run(w, 8000);
	ck_assert_uint_eq(w->nodes[node].answers, 1);
	ck_assert_msg(w->nodes[node].answer.error == 0, "%s", w->nodes[node].answer.text);
}

static struct ph_entry entry_of_b(enum ph_child_state state, uint64_t version, uint64_t revision)
{
	return (struct ph_entry){.key = {.child = ph_name_of("room")},
		.node = w_name(1),
		.epoch = ph_epoch_make(3, 2),
		.version = version,
		.revision = revision,
		.state = state,
		.stopped_by_wish = true,
		.wishes = 3,
		.role = PH_ROLE_ACTIVE};
}

static void hear(struct world *w, struct ph_entry e)
{
	struct ph_name b = w_name(1);
	p_begin(w);
	(void)ph_registry_apply(w->nodes[0].hub, &b, &b, &e);
	p_end(w);
	w_drain(w);
}

static void text_from(struct world *w, unsigned from, const struct ph_spec *spec, uint64_t revision)
{
	struct ph_spec_line *line = w_alloc(w, sizeof *line);
	struct ph_bmsg *msg = p_msg(w, from, PH_B_SPEC);
	*line = (struct ph_spec_line){
		.child = ph_name_of("room"), .revision = revision, .spec = spec};
	line->text = spec ? spec->text : NULL;
	msg->specs = line;
	msg->n_specs = 1;
	w_drain(w);
}

static const struct learned {
	bool has_text;	/* a has the text of it ... */
	bool entry;	/* ... and b says that it has removed it, else c that it was removed */
	bool restarted; /* a's daemon, before it hears so */
} learned[] = {
	{true, true, false},
	{true, false, false},
	{false, true, false},
	{false, false, false},
	{true, false, true},
	{false, false, true},
	{true, true, true},
};

/* b has stopped it. What is said of the old one still does not count, of the next one it does. */
START_TEST(a_removal_ends_it)
{
	const struct learned *how = &learned[_i];
	struct world *w = p_world(w_room, false);
	uint64_t removed = ph_epoch_make(7, 2);
	w->nodes[0].manual_disk = false;
	if (how->has_text)
		text_from(w, 1, &w->defs[0].spec, removed);
	hear(w, entry_of_b(PH_CHILD_STOPPED, 1, removed));
	wished(w, 0, true, 3);
	w_run(w, 3000);
	if (how->restarted) {
		restart(w, 0);
		p_hello(w, 1);
		p_hello(w, 2);
		wished(w, 0, true, 3);
	}
	if (how->entry)
		hear(w, entry_of_b(PH_CHILD_REMOVED, 2, removed));
	else
		text_from(w, 2, NULL, removed);
	wished(w, 0, false, 0);
	hear(w, entry_of_b(how->entry ? PH_CHILD_REMOVED : PH_CHILD_STOPPED, 3, removed));
	wished(w, 0, false, 0);
	restart(w, 0);
	wished(w, 0, false, 0);
	p_hello(w, 1);
	p_hello(w, 2);
	struct ph_entry next = entry_of_b(PH_CHILD_STOPPED, 4, ph_epoch_make(8, 2));
	next.epoch = ph_epoch_make(4, 2);
	hear(w, next);
	wished(w, 0, true, 3);
	text_from(w, 2, NULL, removed);
	wished(w, 0, true, 3);
	w_free(w);
}
END_TEST

/* a hears of the next one, which was stopped, and only then that the old one was removed. */
START_TEST(the_next_one_is_there_already)
{
	struct world *w = p_world(w_room, false);
	uint64_t removed = ph_epoch_make(7, 2);
	w->nodes[0].manual_disk = false;
	if (_i)
		text_from(w, 1, &w->defs[0].spec, removed);
	hear(w, entry_of_b(PH_CHILD_STOPPED, 1, ph_epoch_make(8, 2)));
	text_from(w, 2, NULL, removed);
	ck_assert(ph_tombstone(w_slot(w, 0, "room", 0)->child));
	wished(w, 0, true, 3);
	w_free(w);
}
END_TEST

/*
 * a's file declares it, and it is stopped before its text is in force: a late word of the end of an
 * older one is not meant (0). It is dropped before its text ever was in force (1).
 */
START_TEST(the_next_one_was_stopped)
{
	struct world *w = w_new(3);
	struct w_def *def = w_def(w, "room", "1");
	w_declare(w, 0, def);
	w_start(w, 0);
	p_hello(w, 1);
	w_order(w, 0, PH_VERB_STOP, "room", NULL, NULL);
	ck_assert_ptr_null(w_slot(w, 0, "room", 0)->child->spec);
	wished(w, 0, true, 1);
	if (_i) {
		w->nodes[0].n_specs = 0;
		w_configure(w, 0);
		w_run(w, 15000);
		ck_assert_ptr_null(w_slot(w, 0, "room", 0)->child->spec);
		wished(w, 0, false, 0);
	} else {
		text_from(w, 1, NULL, ph_epoch_make(7, 2));
		w_run(w, 8000);
		ck_assert_ptr_nonnull(w_slot(w, 0, "room", 0)->child->spec);
		ck_assert_uint_eq(w_alive(w, 0), 0);
		wished(w, 0, true, 1);
	}
	restart(w, 0);
	wished(w, 0, _i == 0, _i == 0);
	w_free(w);
}
END_TEST

/* On each node: an order to add it (0-5), or files that declare it (6, 7), start it anew. */
START_TEST(the_next_one_runs)
{
	struct world *w = w_new(3);
	struct w_def *def = w_def(w, "room", "1");
	bool file = _i >= 6;
	unsigned at = (unsigned)_i % 3;
	def->spec.nodes = "b";
	def->spec.added = !file;
	w->exchange_ms = 2000;
	for (unsigned i = 0; i < 2 && file; i++)
		w_declare(w, i, def);
	w_start_all(w);
	w_run(w, 6000);
	if (!file)
		order(w, 0, PH_VERB_ADD, def);
	(void)w_only(w, "room", 0);
	order(w, at, PH_VERB_STOP, NULL);
	ck_assert_ptr_null(w_serving(w, "room", 0));
	if (!file)
		order(w, at, PH_VERB_REMOVE, NULL);
	for (unsigned i = 0; i < 3 && file; i++)
		w->nodes[i].n_specs = 0;
	for (unsigned i = 0; i < 3 && file; i++)
		w_configure(w, i);
	w_run(w, 12000);
	for (unsigned i = 0; i < 3; i++)
		if (_i % 2)
			restart(w, i);
	w_run(w, 12000);
	for (unsigned i = 0; i < 2 && file; i++) {
		w_declare(w, i, def);
		w_configure(w, i);
	}
	if (!file)
		order(w, 2 - at, PH_VERB_ADD, def);
	w_run(w, 12000);
	(void)w_only(w, "room", 0);
	for (unsigned i = 0; i < 3; i++)
		wished(w, i, false, 0);
	w_free(w);
}
END_TEST

/* a has it and is told to stop it; its daemon is started again before it hears of the other side,
 * which has had fewer orders and goes on: that one is told. */
START_TEST(counted_over_restarts)
{
	struct world *w = p_world(w_room, true);
	w->nodes[0].manual_disk = false;
	w->mute = NULL;
	w_run(w, 2000);
	order(w, 0, PH_VERB_STOP, NULL);
	wished(w, 0, true, 1);
	if (_i)
		restart(w, 0);
	w_run(w, 8000);
	wished(w, 0, true, 1);
	ck_assert(ph_slot_mine(w->nodes[0].hub, w_slot(w, 0, "room", 0)));
	p_hello(w, 1);
	struct ph_entry e = entry_of_b(PH_CHILD_RUNNING, 1, 0);
	e.epoch = ph_epoch_make(4000, 2);
	e.stopped_by_wish = false;
	e.wishes = 0;
	unsigned sent = w->nodes[0].sent[PH_B_ORDER];
	hear(w, e);
	w_run(w, 500);
	ck_assert_uint_gt(w->nodes[0].sent[PH_B_ORDER], sent);
	w_free(w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core_unwished");
	W_TEST(suite, a_removal_ends_it, sizeof learned / sizeof *learned);
	W_TEST(suite, the_next_one_is_there_already, 2);
	W_TEST(suite, the_next_one_was_stopped, 2);
	W_TEST(suite, the_next_one_runs, 8);
	W_TEST(suite, counted_over_restarts, 2);
	return w_main(suite);
}
