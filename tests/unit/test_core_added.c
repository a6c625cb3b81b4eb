/* Children that operators add and remove while the cluster runs, and signals to any. */
#include "core/order.h"
#include "core_puppet.h"

#define ADD_MS 70000 /* until an order to add has given up, and has taken back what it added */

static struct w_def *added(struct world *w, const char *child, const char *text)
{
	struct w_def *def = w_def(w, child, text);
	def->spec.added = true;
	return def;
}

static void add(struct world *w, unsigned node, struct w_def *one, struct w_def *two,
	struct ph_command more)
{
	const struct ph_spec **specs = w_alloc(w, 2 * sizeof(struct ph_spec *));
	specs[0] = &one->spec;
	specs[1] = two ? &two->spec : NULL;
	more.specs = specs;
	more.n_specs = two ? 2 : 1;
	w_order(w, node, PH_VERB_ADD, NULL, NULL, &more);
}

static void answered(struct world *w, unsigned node, int error)
{
	const struct w_node *n = &w->nodes[node];
	ck_assert_uint_eq(n->answers, 1);
	ck_assert_msg(n->answer.error == error, "%d: %s", n->answer.error, n->answer.text);
}

static unsigned alive_of(struct world *w, const char *child)
{
	unsigned n = 0;
	for (size_t i = 0; i < w->n_procs; i++)
		n += w->procs[i].alive && strcmp(w->procs[i].key.child.s, child) == 0;
	return n;
}

/* Nobody has the text, nothing of it runs, and it is shown nowhere. */
static void gone(struct world *w, const char *child)
{
	struct ph_name name = ph_name_of(child);
	ck_assert_uint_eq(alive_of(w, child), 0);
	for (unsigned i = 0; i < w->n_nodes; i++) {
		if (!w->nodes[i].hub)
			continue;
		ck_assert_ptr_null(ph_hub_spec(w->nodes[i].hub, &name));
		const struct ph_slot *slot = w_slot(w, i, child, 0);
		ck_assert(!slot || !ph_slot_owned(slot));
	}
}

static void there(struct world *w, const char *child, bool is_added)
{
	struct ph_name name = ph_name_of(child);
	for (unsigned i = 0; i < w->n_nodes; i++) {
		if (!w->nodes[i].hub)
			continue;
		const struct ph_spec *spec = ph_hub_spec(w->nodes[i].hub, &name);
		ck_assert_ptr_nonnull(spec);
		ck_assert_int_eq(spec->added, is_added);
	}
	(void)w_only(w, child, 0);
}

static struct world *cluster(void)
{
	struct world *w = w_new(3);
	w->exchange_ms = 2000;
	w_start_all(w);
	w_run(w, 6000);
	return w;
}

/* ---- adding ---- */

/* Wherever placement wants it; the answer comes when it is ready, and the text is everywhere. */
START_TEST(runs_where_placement_says)
{
	struct world *w = cluster();
	struct w_def *def = added(w, "room", "1");
	def->spec.nodes = (const char *[]){"a", "b", "c"}[_i];
	add(w, 0, def, NULL, (struct ph_command){0});
	w_run(w, 8000);
	answered(w, 0, 0);
	ck_assert_uint_eq(w->nodes[0].answer.n_outcomes, 1);
	ck_assert(w->nodes[0].outcomes[0].ok);
	there(w, "room", true);
	ck_assert_uint_eq(w_only(w, "room", 0)->node, (unsigned)_i);
	ck_assert_uint_eq(w->nodes[0].emitted[PH_EMIT_CHILD_ADDED], 1);
	w_no_leftovers(w);
	w_free(w);
}
END_TEST

/* One on each node, wherever it was added, and on one that comes later. */
START_TEST(one_a_node)
{
	struct world *w = w_new(3);
	w_start(w, 0);
	w_start(w, 1);
	w_run(w, 10000);
	struct w_def *def = added(w, "room", "1");
	def->spec.local = true;
	add(w, 0, def, NULL, (struct ph_command){0});
	w_run(w, 4000);
	answered(w, 0, 0);
	ck_assert_uint_eq(w->nodes[0].answer.n_outcomes, 1);
	ck_assert_uint_eq(alive_of(w, "room"), 2);
	w_start(w, 2);
	w_run(w, 10000);
	ck_assert_uint_eq(alive_of(w, "room"), 3);
	w_order(w, 1, PH_VERB_REMOVE, "room", NULL, NULL);
	w_run(w, 4000);
	answered(w, 1, 0);
	gone(w, "room");
	w_free(w);
}
END_TEST

/* A name that exists is refused, and all that comes with it; the same text once more is fine. */
START_TEST(a_name_that_exists)
{
	struct world *w = cluster();
	struct w_def *file = w_def(w, "web", "1"), *web = added(w, "web", "2"),
		     *room = added(w, "room", "1"), *other = added(w, "room", "2"),
		     *fine = added(w, "fine", "1");
	w_declare(w, 1, file);
	w_configure(w, 1);
	w_run(w, 8000);
	for (unsigned i = 0; i < 2;
		i++) { /* declared by the file of another node, or of this one */
		add(w, i, fine, web, (struct ph_command){0});
		answered(w, i, EEXIST);
	}
	add(w, 0, room, NULL, (struct ph_command){0});
	w_run(w, 8000);
	answered(w, 0, 0);
	struct w_proc *p = w_only(w, "room", 0);
	add(w, 2, other, NULL, (struct ph_command){0});
	answered(w, 2, EEXIST);
	add(w, 2, room, NULL, (struct ph_command){0});
	w_run(w, 1000);
	answered(w, 2, 0);
	ck_assert_str_eq(w->nodes[2].outcomes[0].text, "unchanged");
	gone(w, "fine");
	add(w, 2, fine, other, (struct ph_command){.keep_going = true});
	w_run(w, 8000);
	answered(w, 2, EINPROGRESS);
	ck_assert(w->nodes[2].outcomes[0].ok && w->nodes[2].outcomes[1].error == EEXIST);
	there(w, "fine", true);
	ck_assert_ptr_eq(w_only(w, "room", 0), p);
	w_free(w);
}
END_TEST

/* Also where who asked does not wait for the answer. */
START_TEST(all_or_nothing_for_who_is_gone)
{
	struct world *w = cluster();
	struct w_def *good = added(w, "good", "1"), *bad = added(w, "bad", "1");
	bad->traits.never_ready = true;
	add(w, 0, good, bad, (struct ph_command){.timeout_ms = 4000});
	w_push(w, 0, PH_EV_DETACHED)->ticket = 77;
	w_run(w, 2000);
	there(w, "good", true);
	w_run(w, 12000);
	gone(w, "good");
	gone(w, "bad");
	ck_assert_uint_eq(w->nodes[0].answers, 0);
	w_free(w);
}
END_TEST

/* One does not get ready (1: it fails for good at once): the other one is removed again. */
START_TEST(all_or_nothing)
{
	struct world *w = cluster();
	struct w_def *good = added(w, "good", "1"), *bad = added(w, "bad", "1");
	bad->traits.never_ready = !_i;
	bad->traits.dies_at_start = _i;
	bad->spec.restart.policy = _i ? PH_RESTART_TEMPORARY : PH_RESTART_PERMANENT;
	add(w, 0, good, bad, (struct ph_command){.timeout_ms = 4000});
	w_run(w, 2000);
	if (!_i)
		there(w, "good", true);
	w_run(w, 12000);
	answered(w, 0, _i ? EREMOTEIO : ETIMEDOUT);
	ck_assert_uint_eq(w->nodes[0].answer.n_outcomes, 2);
	ck_assert(!w->nodes[0].outcomes[0].ok && !w->nodes[0].outcomes[1].ok);
	ck_assert_str_eq(w->nodes[0].outcomes[0].text, "removed again");
	gone(w, "good");
	gone(w, "bad");
	w_run(w, 10000);
	gone(w, "good");
	w_free(w);
}
END_TEST

START_TEST(as_far_as_it_goes)
{
	struct world *w = cluster();
	struct w_def *good = added(w, "good", "1"), *bad = added(w, "bad", "1");
	bad->traits.never_ready = true;
	add(w, 0, good, bad, (struct ph_command){.keep_going = true, .timeout_ms = 4000});
	w_run(w, 8000);
	answered(w, 0, EINPROGRESS);
	there(w, "good", true);
	w_free(w);
}
END_TEST

/* Without a time of the operator's own it does not wait for ever. */
START_TEST(gives_up)
{
	struct world *w = cluster();
	struct w_def *bad = added(w, "bad", "1");
	bad->traits.never_ready = true;
	add(w, 0, bad, NULL, (struct ph_command){0});
	w_run(w, 50000);
	ck_assert_uint_eq(w->nodes[0].answers, 0);
	w_run(w, ADD_MS - 50000);
	answered(w, 0, ETIMEDOUT);
	gone(w, "bad");
	w_free(w);
}
END_TEST

static bool fails;
static int no_disk(struct world *w, unsigned node, const struct ph_record *record)
{
	(void)w, (void)node;
	return fails && record->kind == PH_RECORD_SPEC ? EIO : 0;
}

static unsigned told;
static bool count_told(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)w, (void)from, (void)to;
	told += msg->kind == PH_B_SPEC;
	return true;
}

/* It is answered once it is in the journal, and not added where it cannot get there; until all of
 * it is there nobody else hears of a part, and nothing runs. */
START_TEST(synced_before_the_answer)
{
	struct world *w = cluster();
	struct w_def *def = added(w, "room", "1");
	fails = _i;
	w->sync = no_disk;
	w->nodes[0].manual_disk = true;
	told = 0;
	w->pass = count_told;
	add(w, 0, def, added(w, "other", "1"), (struct ph_command){.no_wait = true});
	w_run(w, 100);
	ck_assert_uint_eq(w->nodes[0].answers, 0);
	ck_assert_uint_eq(told + alive_of(w, "room") + alive_of(w, "other"), 0);
	w_sync_all(w, 0);
	w->nodes[0].manual_disk = false;
	w_run(w, 8000);
	answered(w, 0, _i ? EREMOTEIO : 0);
	if (_i)
		gone(w, "room");
	else
		there(w, "room", true);
	w_free(w);
}
END_TEST

/* The only node is killed before it has even asked for the child, or while it runs. */
START_TEST(kept_over_restarts)
{
	struct world *w = w_new(1);
	w_start_all(w);
	add(w, 0, added(w, "room", "1"), NULL, (struct ph_command){.no_wait = true});
	w_run(w, _i ? 5000 : 0);
	if (_i == 2)
		w_compact(w, 0);
	w_power_off(w, 0);
	for (size_t i = 0; i < w->nodes[0].n_records && !_i; i++)
		w->nodes[0].records[i].synced &= w->nodes[0].records[i].r.kind == PH_RECORD_SPEC;
	w_start(w, 0);
	w_run(w, 8000);
	there(w, "room", true);
	w_order(w, 0, PH_VERB_REMOVE, "room", NULL, NULL);
	w_run(w, 2000);
	answered(w, 0, 0);
	if (_i == 2)
		w_compact(w, 0);
	w_crash(w, 0);
	w_start(w, 0);
	w_run(w, 8000);
	gone(w, "room");
	w_free(w);
}
END_TEST

/* All are killed as soon as it is on one disk: whoever asks that one is shown that it waits, before
 * anybody else is heard of. */
START_TEST(known_by_its_text)
{
	struct world *w = cluster();
	add(w, 0, added(w, "room", "1"), NULL, (struct ph_command){.no_wait = true});
	for (unsigned i = 0; i < 3; i++)
		w_power_off(w, i);
	for (size_t i = 0; i < w->nodes[0].n_records; i++)
		w->nodes[0].records[i].synced &= w->nodes[0].records[i].r.kind == PH_RECORD_SPEC;
	w_start(w, 0);
	ck_assert_ptr_nonnull(w_slot(w, 0, "room", 0));
	for (unsigned i = 1; i < 3; i++)
		w_start(w, i);
	w_run(w, 12000);
	there(w, "room", true);
	w_free(w);
}
END_TEST

static unsigned lost_words;
static bool no_first_texts(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)w, (void)to;
	return from != 0 || msg->kind != PH_B_SPEC || lost_words++ >= 2;
}

/* Nobody has heard of it when it was added: whoever is to run it is offered the text. */
START_TEST(offered_where_the_word_was_lost)
{
	struct world *w = cluster();
	struct w_def *def = added(w, "room", "1");
	def->spec.nodes = "b";
	lost_words = 0;
	w->pass = no_first_texts;
	add(w, 0, def, NULL, (struct ph_command){0});
	w_run(w, 15000);
	ck_assert_uint_ge(lost_words, 3);
	answered(w, 0, 0);
	there(w, "room", true);
	w_free(w);
}
END_TEST

/* A file of this node had a child of that name once: that it has it no more does not count. */
START_TEST(a_name_that_a_file_had)
{
	struct world *w = cluster();
	w_declare(w, 0, w_def(w, "room", "file"));
	w_configure(w, 0);
	w_run(w, 8000);
	w->nodes[0].n_specs = 0;
	w_configure(w, 0);
	w_run(w, 8000);
	gone(w, "room");
	add(w, 0, added(w, "room", "1"), NULL, (struct ph_command){0});
	w_run(w, 8000);
	there(w, "room", true);
	w_crash(w, 0);
	w_start(w, 0);
	w_run(w, 15000);
	there(w, "room", true);
	w_free(w);
}
END_TEST

/* ---- removing ---- */

/* On any node, the owner or not; a worker that ignores its signals is waited for. */
START_TEST(removed_anywhere)
{
	struct world *w = cluster();
	struct w_def *def = added(w, "room", "1");
	def->traits.deaf = _i >= 3;
	add(w, 0, def, NULL, (struct ph_command){0});
	w_run(w, 8000);
	unsigned at = (unsigned)_i % 3;
	w_order(w, at, PH_VERB_REMOVE, "room", NULL, NULL);
	w_run(w, 1500);
	if (_i >= 3) {
		ck_assert_uint_eq(w->nodes[at].answers, 0);
		ck_assert_uint_eq(alive_of(w, "room"), 1);
		w_run(w, 5000);
	}
	answered(w, at, 0);
	gone(w, "room");
	ck_assert_uint_eq(w->nodes[at].emitted[PH_EMIT_CHILD_REMOVED], 1);
	w_run(w, 20000);
	gone(w, "room");
	/* A new one of that name is another child. */
	add(w, 1, added(w, "room", "2"), NULL, (struct ph_command){0});
	w_run(w, 8000);
	answered(w, 1, 0);
	there(w, "room", true);
	w_free(w);
}
END_TEST

/* The answer comes when nothing of the last process is left, not with the next look later on. */
START_TEST(removed_when_it_has_gone)
{
	struct world *w = w_new(1);
	struct w_def *def = added(w, "room", "1");
	def->traits.deaf = true;
	w_start(w, 0);
	add(w, 0, def, NULL, (struct ph_command){0});
	w_run(w, 3000);
	w_order(w, 0, PH_VERB_REMOVE, "room", NULL, NULL);
	w_run(w, 10);
	w_kill(w, w_only(w, "room", 0));
	w_step(w, 0, &w->queue[w->head++].event); /* it has ended ... */
	struct ph_event event = w->queue[w->head++].event;
	w_run(w, 10); /* ... and its children not yet */
	ck_assert_uint_eq(w->nodes[0].answers, 0);
	*w_push(w, 0, PH_EV_GONE) = event;
	w_run(w, 10);
	answered(w, 0, 0);
	gone(w, "room");
	w_free(w);
}
END_TEST

/* It never ran anywhere, so no entry tells the others; and a late word does not end a newer one. */
START_TEST(what_nobody_may_run)
{
	struct world *w = cluster();
	struct w_def *def = added(w, "room", "1");
	def->spec.nodes = "nobody";
	add(w, 0, def, NULL, (struct ph_command){.no_wait = true});
	w_run(w, 3000);
	answered(w, 0, 0);
	struct ph_name room = ph_name_of("room");
	uint64_t before = ph_hub_spec(w->nodes[1].hub, &room)->revision;
	w_order(w, 1, PH_VERB_REMOVE, "room", NULL, NULL);
	w_run(w, 1000);
	answered(w, 1, 0);
	gone(w, "room");
	add(w, 0, def, NULL, (struct ph_command){.no_wait = true});
	w_run(w, 3000);
	char why[PH_REASON_SIZE];
	p_begin(w);
	ck_assert_int_eq(ph_added_taken(w->nodes[0].hub, &room, before, why), 0);
	p_end(w);
	w_run(w, 1000);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_ptr_nonnull(ph_hub_spec(w->nodes[i].hub, &room));
	w_free(w);
}
END_TEST

START_TEST(what_cannot_be_removed)
{
	struct world *w = cluster();
	w_declare(w, 1, w_def(w, "web", "1"));
	w_configure(w, 1);
	w_run(w, 8000);
	for (unsigned i = 0; i < 3; i++) {
		w_order(w, i, PH_VERB_REMOVE, "web", NULL, NULL);
		answered(w, i, EBUSY);
		w_order(w, i, PH_VERB_REMOVE, "nope", NULL, NULL);
		answered(w, i, ENOENT);
	}
	there(w, "web", false);
	w_free(w);
}
END_TEST

/* c was away or cut off when it was removed: with the text only (0, 1), or with the worker (2). */
START_TEST(who_was_away_drops_it)
{
	struct world *w = cluster();
	struct w_def *def = added(w, "room", "1");
	def->spec.nodes = _i == 2 ? "c" : "a,c";
	w->double_allowed = true;
	add(w, 0, def, NULL, (struct ph_command){0});
	w_run(w, 8000);
	answered(w, 0, 0);
	if (_i)
		for (unsigned i = 0; i < 2; i++)
			w_cut(w, i, 2, true);
	else
		w_power_off(w, 2);
	w_run(w, 12000);
	w_order(w, 0, PH_VERB_REMOVE, "room", NULL, NULL);
	w_run(w, 8000);
	answered(w, 0, 0);
	if (_i)
		memset(w->cut, 0, sizeof w->cut);
	else
		w_start(w, 2);
	w_run(w, 30000);
	gone(w, "room");
	w_free(w);
}
END_TEST

static bool no_texts(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)w, (void)from;
	return to == 0 || msg->kind != PH_B_SPEC;
}

/* The word of it is lost on its way to the owner, who is asked by the order all the same. */
START_TEST(a_lost_word)
{
	struct world *w = cluster();
	struct w_def *def = added(w, "room", "1");
	def->spec.nodes = "b";
	add(w, 0, def, NULL, (struct ph_command){0});
	w_run(w, 8000);
	w->pass = no_texts;
	w_order(w, 0, PH_VERB_REMOVE, "room", NULL, NULL);
	w_run(w, 3000);
	answered(w, 0, 0);
	ck_assert_uint_eq(alive_of(w, "room"), 0);
	w->pass = NULL;
	w_run(w, 20000);
	gone(w, "room");
	w_free(w);
}
END_TEST

/* ---- a file that comes to declare it ---- */

/* On the owner (0, 1) or on another node (2): the worker goes on, and it is the file's from then
 * on. */
START_TEST(a_file_takes_it_over)
{
	struct world *w = cluster();
	struct w_def *def = added(w, "room", "1"), *file = w_def(w, "room", "file");
	unsigned at = _i == 2;
	def->spec.nodes = file->spec.nodes = "a";
	file->spec.process = def->spec.process;
	add(w, 0, def, NULL, (struct ph_command){0});
	w_run(w, 8000);
	struct w_proc *p = w_only(w, "room", 0);
	if (_i == 1)
		w_crash(w, 0);
	w_declare(w, at, file);
	if (_i == 1)
		w_start(w, 0);
	else
		w_configure(w, at);
	w_run(w, 12000);
	there(w, "room", false);
	ck_assert_ptr_eq(w_only(w, "room", 0), p);
	w->nodes[at].n_specs = 0;
	w_configure(w, at);
	w_run(w, 12000);
	gone(w, "room");
	w_free(w);
}
END_TEST

static unsigned lost_texts;
static bool no_texts_from_casts(
	struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)w, (void)to;
	return from != 1 || msg->kind != PH_B_SPEC || lost_texts++ >= 2;
}

/* ---- a file whose texts all are to have ---- */

static void spread(struct world *w, unsigned node)
{
	struct w_node *n = &w->nodes[node];
	struct ph_config *config = w_alloc(w, sizeof *config);
	const struct ph_spec **specs = w_alloc(w, n->n_specs * sizeof(struct ph_spec *));
	for (size_t i = 0; i < n->n_specs; i++)
		specs[i] = &n->specs[i]->spec;
	*config = (struct ph_config){.n_specs = n->n_specs,
		.specs = specs,
		.migrations_max = 8,
		.settle_ms = 1000,
		.accept_any = true,
		.spread = true};
	w_push(w, node, PH_EV_CONFIGURED)->config = config;
	w_drain(w);
}

/*
 * The owner's file says otherwise: b's counts all the same, with the word of it lost (1) too, and
 * with a node away (2). Without that only the owner's own counts (3).
 */
START_TEST(a_text_for_all)
{
	struct world *w = w_new(3);
	struct w_def *first = w_def(w, "room", "1"), *second = w_def(w, "room", "2");
	struct ph_name room = ph_name_of("room");
	first->spec.nodes = second->spec.nodes = "a";
	w->exchange_ms = 2000;
	w_declare(w, 0, first);
	w_start_all(w);
	w_run(w, 6000);
	for (unsigned i = 1; i < 3; i++) {
		w_declare(w, i, i == 1 ? second : first);
		w_configure(w, i);
	}
	w_run(w, 6000);
	(void)w_only(w, "room", 0);
	ck_assert_str_eq(ph_hub_spec(w->nodes[1].hub, &room)->text, first->text);
	if (_i == 1)
		w->pass = no_texts_from_casts;
	if (_i == 2)
		w_power_off(w, 2);
	if (_i == 3)
		w_configure(w, 1);
	else
		spread(w, 1);
	w_run(w, 12000);
	w->pass = NULL;
	if (_i == 2)
		w_start(w, 2);
	w_run(w, 15000);
	const struct w_def *wins = _i == 3 ? first : second;
	for (unsigned i = 0; i < 3; i++)
		ck_assert_str_eq(ph_hub_spec(w->nodes[i].hub, &room)->text, wins->text);
	ck_assert_ptr_eq(w_only(w, "room", 0)->def, wins);
	ck_assert_uint_eq(w->nodes[1].emitted[PH_EMIT_CHILD_CHANGED], _i != 3);
	/* It stays so, over a restart of the owner with the file that it has. */
	w_crash(w, 0);
	w_start(w, 0);
	w_run(w, 10000);
	ck_assert_str_eq(ph_hub_spec(w->nodes[0].hub, &room)->text, wins->text);
	w_free(w);
}
END_TEST

/* ---- signals ---- */

START_TEST(a_signal_goes_to_its_node)
{
	struct world *w = cluster();
	struct w_def *def = added(w, "room", "1");
	def->traits.deaf = true;
	add(w, 0, def, NULL, (struct ph_command){0});
	w_run(w, 8000);
	struct w_proc *p = w_only(w, "room", 0);
	struct ph_command c = {.all_instances = true, .signal = 15};
	w_order(w, (unsigned)_i, PH_VERB_SIGNAL, "room", NULL, &c);
	w_run(w, 1000);
	answered(w, (unsigned)_i, 0);
	ck_assert_uint_eq(p->terms, 1);
	ck_assert(p->alive);
	for (unsigned i = 0; i < 3; i++)
		w_crash(w, i);
	for (unsigned i = 0; i < 3; i++)
		w_start(w, i);
	w_order(w, (unsigned)_i, PH_VERB_SIGNAL, "room", NULL, &c); /* nobody is heard of yet */
	w_run(w, 8000);
	answered(w, (unsigned)_i, 0);
	ck_assert_uint_eq(p->terms, 2);
	w_order(w, 0, PH_VERB_STOP, "room", NULL, NULL);
	w_run(w, 8000);
	ck_assert(!p->alive);
	w_order(w, (unsigned)_i, PH_VERB_SIGNAL, "room", NULL, &c);
	w_run(w, 3000);
	answered(w, (unsigned)_i, EREMOTEIO);
	ck_assert_str_eq(w->nodes[_i].answer.text, "it is not running");
	w_free(w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core_added");
	W_TEST(suite, runs_where_placement_says, 3);
	W_TEST(suite, one_a_node, 1);
	W_TEST(suite, a_name_that_exists, 1);
	W_TEST(suite, all_or_nothing, 2);
	W_TEST(suite, all_or_nothing_for_who_is_gone, 1);
	W_TEST(suite, as_far_as_it_goes, 1);
	W_TEST(suite, gives_up, 1);
	W_TEST(suite, synced_before_the_answer, 2);
	W_TEST(suite, kept_over_restarts, 3);
	W_TEST(suite, known_by_its_text, 1);
	W_TEST(suite, offered_where_the_word_was_lost, 1);
	W_TEST(suite, a_name_that_a_file_had, 1);
	W_TEST(suite, removed_anywhere, 6);
	W_TEST(suite, removed_when_it_has_gone, 1);
	W_TEST(suite, what_nobody_may_run, 1);
	W_TEST(suite, what_cannot_be_removed, 1);
	W_TEST(suite, who_was_away_drops_it, 3);
	W_TEST(suite, a_lost_word, 1);
	W_TEST(suite, a_file_takes_it_over, 3);
	W_TEST(suite, a_text_for_all, 4);
	W_TEST(suite, a_signal_goes_to_its_node, 3);
	return w_main(suite);
}
