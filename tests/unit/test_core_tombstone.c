/* What was removed: until when its entry is kept, and who comes back with it. */
#include "core_puppet.h"

#define DAY_MS UINT64_C(86400000)

static void reload(struct world *w, unsigned node, const struct w_def *def)
{
	w->nodes[node].n_specs = 0;
	if (def)
		w_declare(w, node, def);
	w_configure(w, node);
	w_drain(w);
}

/* a and b declare the child, c only runs it where it must. */
static struct world *cluster(const char *nodes)
{
	struct world *w = w_new(3);
	struct w_def *def = w_def(w, "room", "1");
	def->spec.nodes = nodes;
	w->exchange_ms = 2000;
	w_declare(w, 0, def);
	w_declare(w, 1, def);
	w_start_all(w);
	w_run(w, 6000);
	(void)w_only(w, "room", 0);
	return w;
}

static void drop_it(struct world *w)
{
	for (unsigned i = 0; i < 2; i++)
		reload(w, i, NULL);
	w_run(w, 8000);
	for (size_t i = 0; i < w->n_procs; i++)
		ck_assert(!w->procs[i].alive);
}

static void age(struct world *w, uint64_t ms)
{
	for (unsigned i = 0; i < 3; i++)
		if (w->nodes[i].hub)
			w_slot(w, i, "room", 0)->since_ms = w->now_ms - ms;
	w_run(w, 5000);
}

static bool kept(struct world *w, unsigned node)
{
	const struct ph_slot *slot = w_slot(w, node, "room", 0);
	return slot->entered && slot->entry.state == PH_CHILD_REMOVED;
}

/* A day, where all have heard of it; a week, where one has not. Nobody fetches it again. */
START_TEST(kept_for_a_time)
{
	struct world *w = cluster("a");
	drop_it(w);
	if (_i) {
		w_power_off(w, 2);
		w_run(w, 10000);
	}
	age(w, DAY_MS - 10000);
	ck_assert(kept(w, 0) && kept(w, 1));
	age(w, DAY_MS);
	ck_assert_int_eq(kept(w, 0), _i);
	ck_assert_int_eq(kept(w, 1), _i);
	age(w, 7 * DAY_MS);
	ck_assert(!kept(w, 0) && !kept(w, 1));
	unsigned before = w->nodes[1].sent[PH_B_FETCH];
	w_run(w, 5000);
	ck_assert_uint_eq(w->nodes[1].sent[PH_B_FETCH], before);
	w_free(w);
}
END_TEST

/*
 * c was away when it was removed, and has the text in its journal. The owner is restarted meanwhile
 * (1: at once; 2: from a compacted journal), or the entry has been forgotten (3).
 */
START_TEST(who_was_away_drops_it)
{
	struct world *w = cluster("a,c");
	w_power_off(w, 2);
	w_run(w, 12000);
	drop_it(w);
	if (_i == 3)
		age(w, 8 * DAY_MS);
	if (_i == 2)
		w_compact(w, 0);
	if (_i == 1 || _i == 2) {
		w_crash(w, 0);
		w_run(w, 100);
		w_start(w, 0);
	}
	size_t started = w->n_procs;
	w_start(w, 2);
	w_run(w, 15000);
	ck_assert_uint_eq(w->n_procs, started);
	struct ph_name room = ph_name_of("room");
	for (unsigned i = 0; i < 3; i++)
		ck_assert_ptr_null(ph_hub_spec(w->nodes[i].hub, &room));
	/* Who declares it anew makes a new child of that name. */
	for (unsigned i = 0; i < 2; i++)
		reload(w, i, &w->defs[0]);
	w_run(w, 10000);
	(void)w_only(w, "room", 0);
	w_free(w);
}
END_TEST

static bool declares;
static bool answer(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)from;
	if (msg->kind != PH_B_DROPPED || to != 1 || !declares)
		return true;
	struct ph_bmsg *said = p_msg(w, 1, PH_B_DECLARED);
	said->specs = w_copy(w, msg->specs, msg->n_specs * sizeof *msg->specs);
	said->n_specs = msg->n_specs;
	return true;
}

/* a runs what b declares, and c has heard that it was removed: b is asked before it is ended. */
START_TEST(a_removed_one_that_runs)
{
	struct world *w = p_world(w_room, true);
	w->nodes[0].manual_disk = false;
	declares = true;
	w->pass = answer;
	w->mute = NULL;
	w_sync_all(w, 0);
	reload(w, 0, NULL);
	w_run(w, 2000);
	struct w_proc *p = w_only(w, "room", 0);
	declares = _i;
	struct ph_name room = ph_name_of("room");
	uint64_t revision = ph_hub_spec(w->nodes[0].hub, &room)->revision;
	struct ph_bmsg *msg = p_msg(w, 2, PH_B_SPEC);
	struct ph_spec_line line = {.child = room, .revision = revision};
	msg->specs = w_copy(w, &line, sizeof line);
	msg->n_specs = 1;
	w_run(w, 4000);
	ck_assert_int_eq(p->alive, _i);
	ck_assert(!_i || ph_hub_spec(w->nodes[0].hub, &room)->revision > revision);
	ck_assert(_i || !ph_hub_spec(w->nodes[0].hub, &room));
	w_free(w);
}
END_TEST

/* It had been on its way when a removed the child, and has come back: it goes as well. */
START_TEST(what_comes_back_to_a_tombstone)
{
	struct world *w = p_world(w_room, true);
	struct ph_hub *hub = w->nodes[0].hub;
	struct ph_name room = ph_name_of("room");
	w->nodes[0].manual_disk = false;
	w->mute = NULL;
	w_sync_all(w, 0);
	w_drain(w);
	struct w_proc *p = w_only(w, "room", 0);
	struct ph_instance *instance = w_slot(w, 0, "room", 0)->work->instance;
	ph_instance_revise(instance, instance->spec->revision + (uint64_t)_i);
	struct ph_child *child = ph_child_find(hub, &room); /* no file declares it any more */
	ph_spec_free(child->own);
	child->own = NULL;
	p_begin(w);
	ph_child_gone(hub, &room, UINT64_MAX);
	ph_plan_soon(hub, 0);
	p_end(w);
	w_run(w, 3000);
	ck_assert_int_eq(p->alive, _i); /* 1: it is of a text above the one that was removed */
	ck_assert_int_eq(kept(w, 0), !_i);
	w_free(w);
}
END_TEST

/* It was removed, a's file declares it, and a late message has the text of before. */
START_TEST(a_late_text_of_what_is_declared_again)
{
	struct world *w = p_world(w_room, true);
	struct ph_hub *hub = w->nodes[0].hub;
	struct ph_name room = ph_name_of("room");
	w->nodes[0].manual_disk = false;
	w->mute = NULL;
	w_sync_all(w, 0);
	w_drain(w);
	p_begin(w);
	ph_child_gone(hub, &room, UINT64_MAX);
	p_end(w);
	struct ph_child *child = ph_child_find(hub, &room);
	ck_assert(child->own && !child->spec);
	uint64_t removed = child->removed_revision;
	/* Another one has named a lower one since, and this file never had it before. */
	child->wanted_revision = child->declared_revision = 0;
	ck_assert_uint_gt(ph_child_next_revision(hub, child), removed);
	struct ph_bmsg *msg = p_msg(w, 2, PH_B_SPEC);
	struct ph_spec_line line = {.child = room,
		.revision = removed,
		.text = w->defs[0].spec.text,
		.spec = &w->defs[0].spec};
	msg->specs = w_copy(w, &line, sizeof line);
	msg->n_specs = 1;
	w_drain(w);
	ck_assert_ptr_nonnull(ph_hub_spec(hub, &room));
	(void)w_only(w, "room", 0);
	w_free(w);
}
END_TEST

/* ---- texts that are to be heard of ---- */

static void all_have(struct world *w, const struct w_def *def)
{
	struct ph_name room = ph_name_of("room");
	const struct ph_spec *first = ph_hub_spec(w->nodes[0].hub, &room);
	for (unsigned i = 0; i < 3; i++) {
		const struct ph_spec *spec = ph_hub_spec(w->nodes[i].hub, &room);
		ck_assert_ptr_nonnull(spec);
		ck_assert_str_eq(spec->text, def->spec.text);
		ck_assert_uint_eq(spec->revision, first->revision);
	}
}

/* a's file changes while the child is stopped by order: the others hear of it, and it stays so. */
START_TEST(a_text_of_what_is_stopped)
{
	struct world *w = cluster("a");
	struct w_def *second = w_def(w, "room", "2");
	second->spec.nodes = "a";
	second->spec.process = w->defs[0].spec.process + (uint64_t)_i;
	w_order(w, 0, PH_VERB_STOP, "room", NULL, NULL);
	w_run(w, 2000);
	ck_assert_uint_eq(w_alive(w, 0), 0);
	reload(w, 0, second);
	w_run(w, 3000);
	all_have(w, second);
	ck_assert_uint_eq(w_alive(w, 0), 0);
	w_free(w);
}
END_TEST

/* It is stopped on b, and a has a newer text of which b was not told: b hears of it all the same.
 */
START_TEST(a_newer_text_of_what_is_stopped_elsewhere)
{
	struct world *w = cluster("b");
	struct ph_name room = ph_name_of("room");
	struct ph_hub *hub = w->nodes[0].hub;
	struct w_def *second = w_def(w, "room", "2");
	second->spec.nodes = "b";
	w_order(w, 0, PH_VERB_STOP, "room", NULL, NULL);
	w_run(w, 2000);
	ck_assert_uint_eq(w_alive(w, 1), 0);
	p_begin(w);
	struct ph_child *child = ph_child_find(hub, &room);
	(void)ph_child_in_force(
		hub, child, &second->spec, ph_child_next_revision(hub, child), true);
	ph_plan_soon(hub, 0);
	p_end(w);
	w_run(w, 3000);
	all_have(w, second);
	ck_assert_uint_eq(w_alive(w, 1), 0);
	w_free(w);
}
END_TEST

/* a's journal is lost and its file does not have the child; the state file has what runs. */
START_TEST(a_text_that_only_the_worker_has)
{
	struct world *w = cluster("a");
	struct w_proc *p = w_only(w, "room", 0);
	w_crash(w, 0);
	w->nodes[0].n_records = w->nodes[0].n_specs = 0;
	ck_assert_uint_eq(w->nodes[0].n_adopted, 1);
	w_start(w, 0);
	w_run(w, 8000);
	ck_assert(p->alive);
	all_have(w, &w->defs[0]);
	w_crash(w, 0); /* and now its journal has it */
	w_start(w, 0);
	w_run(w, 8000);
	all_have(w, &w->defs[0]);
	w_free(w);
}
END_TEST

#define MISSED 150

static unsigned again[MISSED];

static bool count_asked(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)w, (void)to;
	for (size_t i = 0; from == 0 && msg->kind == PH_B_SPEC_FETCH && i < msg->n_specs; i++) {
		int at = atoi(msg->specs[i].child.s + 1);
		ck_assert_int_lt(at, MISSED);
		again[at]++;
	}
	return true;
}

/* Nobody has so many texts that are spoken of: each of them is asked for again all the same. */
START_TEST(texts_that_nobody_has)
{
	struct world *w = cluster("a");
	struct ph_hub *hub = w->nodes[0].hub;
	struct ph_name b = w_name(1);
	char name[16];
	p_begin(w);
	for (unsigned i = 0; i < MISSED; i++) {
		(void)snprintf(name, sizeof name, "x%u", i);
		struct ph_name child = ph_name_of(name);
		ph_child_revision(hub, &child, ph_epoch_make(1, 1), &b);
	}
	p_end(w);
	w_drain(w);
	memset(again, 0, sizeof again);
	w->pass = count_asked;
	w_run(w, 60000);
	for (unsigned i = 0; i < MISSED; i++)
		ck_assert_msg(again[i] > 0, "x%u was not asked for again", i);
	w_free(w);
}
END_TEST

/*
 * b has dropped it while c still declared it; then c does, and its owner is gone for good. 1: the
 * text that b has is another one, made when neither of the two knew of the other.
 */
START_TEST(nobody_is_left_who_wants_it)
{
	struct world *w = cluster("a");
	struct ph_name room = ph_name_of("room");
	w_declare(w, 2, &w->defs[0]);
	w_configure(w, 2);
	w_run(w, 2000);
	w_power_off(w, 0);
	w_run(w, 1000);
	reload(w, 1, NULL);
	w_run(w, 500);
	ck_assert(!ph_child_find(w->nodes[1].hub, &room)->dropped);
	struct ph_child *child = ph_child_find(w->nodes[1].hub, &room);
	const struct ph_spec *spec = child->spec;
	child->spec = ph_spec_revise(spec, spec->revision + (uint64_t)_i);
	ph_spec_free(spec);
	reload(w, 2, NULL);
	w_run(w, 15000);
	for (unsigned i = 1; i < 3; i++)
		ck_assert_ptr_null(ph_hub_spec(w->nodes[i].hub, &room));
	w_free(w);
}
END_TEST

static bool lose_claims(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)w, (void)from, (void)to;
	return msg->kind != PH_B_CLAIM;
}

/*
 * Its owner is gone, and it is removed while a claims it (0), or is about to start it (1); 2:
 * nobody answers the claim.
 */
START_TEST(removed_while_it_is_claimed)
{
	struct world *w = cluster("b");
	struct ph_name room = ph_name_of("room");
	struct ph_hub *hub = w->nodes[0].hub;
	struct ph_slot *slot = w_slot(w, 0, "room", 0);
	w_power_off(w, 1);
	w_run(w, 12000);
	ck_assert(slot->entered && !slot->work->claim);
	w->nodes[0].manual_disk = true;
	w->pass = _i == 2 ? lose_claims : NULL;
	p_begin(w);
	if (_i == 1)
		ph_own_start(hub, slot, ph_next_epoch(hub, slot), PH_LINEAGE_COLD, NULL);
	else
		(void)ph_claim_start(hub, slot, PH_CLAIM_COLD, &hub->set.node, NULL, 0);
	struct ph_child *child = ph_child_find(hub, &room);
	ph_out_bury_spec(hub, child->own);
	child->own = NULL;
	ph_child_gone(hub, &room, UINT64_MAX);
	ph_plan_soon(hub, 0);
	p_end(w);
	w_run(w, 2000);
	ck_assert_int_eq(slot->entered, _i == 1);
	w->nodes[0].manual_disk = false;
	w_sync_all(w, 0);
	w_run(w, 2000);
	ck_assert(!w_slot(w, 0, "room", 0)->entered);
	w_free(w);
}
END_TEST

/*
 * Only c has it in its file, and drops it. Who had it last, as c knows, lives, and has given it up
 * (0) or removed it (1): there is no owner who would decide, so c does.
 */
START_TEST(dropped_where_nobody_owns_it)
{
	struct world *w = w_new(3);
	struct w_def *def = w_def(w, "room", "1");
	def->spec.nodes = "x";
	w_declare(w, 2, def);
	w_start_all(w);
	w_run(w, 6000);
	struct ph_hub *hub = w->nodes[2].hub;
	struct ph_name room = ph_name_of("room"), b = w_name(1);
	struct ph_slot *slot = w_slot(w, 2, "room", 0);
	slot->entered = true;
	slot->entry.node = ph_node_get(hub, &b);
	slot->entry.epoch = ph_epoch_make(1, 2);
	slot->entry.state = _i ? PH_CHILD_REMOVED : PH_CHILD_RELEASED;
	struct ph_child *child = ph_child_find(hub, &room);
	(void)ph_child_settle(hub, child);
	ck_assert_ptr_nonnull(child->spec);
	reload(w, 2, NULL);
	w_run(w, 8000);
	ck_assert(ph_tombstone(child));
	w_free(w);
}
END_TEST

/*
 * b has dropped it and asks who declares it; it is removed meanwhile, and c's file declares it
 * anew. What b asks is settled by then: the new text is another child's.
 */
START_TEST(declared_anew_while_one_still_asks)
{
	struct world *w = cluster("a");
	struct ph_name room = ph_name_of("room");
	struct ph_child *at_b = ph_child_find(w->nodes[1].hub, &room);
	w_declare(w, 2, &w->defs[0]);
	w_configure(w, 2);
	w_run(w, 1000);
	reload(w, 1, NULL);
	ck_assert(at_b->dropped);
	struct ph_bmsg *msg = w_alloc(w, sizeof *msg);
	struct ph_spec_line *line = w_alloc(w, sizeof *line);
	line->child = room;
	line->revision = at_b->spec->revision;
	msg->kind = PH_B_SPEC;
	msg->from = w_name(0);
	msg->incarnation = w->nodes[0].incarnation;
	msg->specs = line;
	msg->n_specs = 1;
	w_push(w, 1, PH_EV_MESSAGE)->message = msg;
	w_drain(w);
	ck_assert(ph_tombstone(at_b));
	ck_assert(!at_b->dropped);
	w_free(w);
}
END_TEST

/* It was removed on its way back to a, by a's claim: whoever hears only the end of it hears that.
 */
START_TEST(a_release_of_what_was_removed)
{
	struct world *w = cluster("a");
	struct ph_hub *hub = w->nodes[0].hub;
	struct ph_slot *slot = w_slot(w, 0, "room", 0);
	drop_it(w);
	struct ph_actions actions;
	uint64_t removed = slot->child->removed_revision;
	ph_out_begin(hub);
	ph_slot_own(hub, slot, ph_next_epoch(hub, slot), PH_LINEAGE_CONTINUED);
	ph_slot_release(hub, slot);
	ph_out_end(hub, &actions);
	ck_assert_uint_ne(removed, 0);
	ck_assert_int_eq(slot->entry.state, PH_CHILD_REMOVED);
	ck_assert_uint_eq(slot->entry.revision, removed);
	w_free(w);
}
END_TEST

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

/* a never had the text of it, and hears that it was removed: a late text of it is not taken. */
START_TEST(removed_before_its_text_came)
{
	struct world *w = p_world(w_room, false);
	struct ph_name room = ph_name_of("room");
	struct ph_hub *hub = w->nodes[0].hub;
	uint64_t removed = ph_epoch_make(7, 2);
	w->nodes[0].manual_disk = false;
	text_from(w, 1, NULL, removed);
	text_from(w, 2, &w->defs[0].spec, _i ? ph_epoch_make(5, 3) : removed);
	ck_assert_ptr_null(ph_hub_spec(hub, &room));
	w_crash(w, 0);
	w_start(w, 0);
	hub = w->nodes[0].hub;
	p_hello(w, 2);
	w_drain(w);
	text_from(w, 2, &w->defs[0].spec, removed);
	ck_assert_ptr_null(ph_hub_spec(hub, &room));
	text_from(w, 2, &w->defs[0].spec, ph_epoch_make(8, 3));
	ck_assert_ptr_nonnull(ph_hub_spec(hub, &room));
	w_free(w);
}
END_TEST

static const struct w_def *make_elsewhere(struct world *w)
{
	struct w_def *def = w_def(w, "room", "1");
	def->spec.nodes = "x";
	return def;
}

/*
 * a's file declares it, and nobody owns it. b has removed the text that a has in force, or a newer
 * one (1), and says so when it hears of a's: a's goes, and what comes after it is above the
 * tombstone.
 */
START_TEST(removed_where_a_file_has_it)
{
	struct world *w = p_world(make_elsewhere, true);
	struct ph_name room = ph_name_of("room");
	struct ph_hub *hub = w->nodes[0].hub;
	struct ph_child *child = ph_child_find(hub, &room);
	w->nodes[0].manual_disk = false;
	p_begin(w);
	uint64_t removed = ph_child_settle(hub, child)->revision + (uint64_t)_i;
	p_end(w);
	text_from(w, 1, NULL, removed);

	p_begin(w);
	ck_assert_uint_gt(ph_child_settle(hub, child)->revision, removed);
	p_end(w);
	w_free(w);
}
END_TEST

/* ... and what it has of an owner that is gone goes with it. */
START_TEST(removed_and_its_owner_gone)
{
	struct world *w = p_world(w_room, false);
	struct ph_hub *hub = w->nodes[0].hub;
	struct ph_name b = w_name(1);
	const struct ph_key key = {.child = ph_name_of("room")};
	struct ph_slot *slot = ph_slot_get(hub, &key, NULL);
	const struct ph_entry entry = {.key = key,
		.node = b,
		.epoch = ph_epoch_make(3, 2),
		.version = 1,
		.state = PH_CHILD_RUNNING,
		.role = PH_ROLE_ACTIVE};
	w->nodes[0].manual_disk = false;
	p_begin(w);
	ck_assert(ph_registry_apply(hub, &b, &b, &entry));
	p_end(w);
	p_dead(w, 1);
	text_from(w, 2, NULL, ph_epoch_make(7, 2));
	w_run(w, 300);
	ck_assert(!slot->entered);
	w_free(w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core_tombstone");
	W_TEST(suite, kept_for_a_time, 2);
	W_TEST(suite, who_was_away_drops_it, 4);
	W_TEST(suite, a_removed_one_that_runs, 2);
	W_TEST(suite, what_comes_back_to_a_tombstone, 2);
	W_TEST(suite, a_late_text_of_what_is_declared_again, 1);
	W_TEST(suite, a_text_of_what_is_stopped, 2);
	W_TEST(suite, a_newer_text_of_what_is_stopped_elsewhere, 1);
	W_TEST(suite, a_text_that_only_the_worker_has, 1);
	W_TEST(suite, texts_that_nobody_has, 1);
	W_TEST(suite, nobody_is_left_who_wants_it, 2);
	W_TEST(suite, removed_while_it_is_claimed, 3);
	W_TEST(suite, dropped_where_nobody_owns_it, 2);
	W_TEST(suite, declared_anew_while_one_still_asks, 1);
	W_TEST(suite, a_release_of_what_was_removed, 1);
	W_TEST(suite, removed_before_its_text_came, 2);
	W_TEST(suite, removed_where_a_file_has_it, 2);
	W_TEST(suite, removed_and_its_owner_gone, 1);
	return w_main(suite);
}
