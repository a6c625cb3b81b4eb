/* The old worker after the commit: when it is stopped, and who is named as not having heard. */
#define W_NODES 4
#include "core_handover.h"
#include "core/source.h"

#define CONFIRM_MAX_MS 15000 /* members that have not confirmed by then are not waited for */

static uint64_t committed_ms, stop_ms;
static bool unconfirmed; /* no confirmation finds its way round a cut */

static bool note_times(struct world *w, struct w_proc *p, const struct ph_wmsg *msg)
{
	struct h_run *run = w->arg;
	if (p == run->old && msg->op == PH_W_COMMITTED && !committed_ms)
		committed_ms = w->now_ms;
	if (p == run->old && msg->op == PH_W_STOP && !stop_ms)
		stop_ms = w->now_ms;
	return false;
}

static bool pass(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)w, (void)from, (void)to;
	return !unconfirmed || msg->kind != PH_B_HAVE;
}

static void cut_link(struct world *w)
{
	struct h_run *run = w->arg;
	w_cut(w, run->from, run->to, true);
}

static void cut_from(struct world *w)
{
	struct h_run *run = w->arg;
	w->cut[run->from][run->to] = true;
}

static void cut_to(struct world *w)
{
	struct h_run *run = w->arg;
	w->cut[run->to][run->from] = true;
}

static void (*const cuts[])(struct world *w) = {cut_link, cut_from, cut_to};
#define CUTS 3

static struct ph_migration_info *outcome(struct h_run *run)
{
	struct ph_migration_info *info = &run->w->nodes[run->from].hub->history->info;
	ck_assert_int_eq(info->result, PH_RESULT_DONE);
	return info;
}

/*
 * Only the two partners lose each other: nobody is dead, and others tell the source that the new
 * owner has heard of itself.
 */
START_TEST(a_cut_link_keeps_no_old_worker)
{
	int moment = h_moment_named("send READY") + _i / CUTS;
	struct h_run run = h_begin(4 * moment, cuts[_i % CUTS]);
	struct world *w = run.w;
	w->mute = note_times;
	committed_ms = stop_ms = 0;
	h_go(&run, 60000);
	if (!h_happened(&run)) {
		w_free(w);
		return;
	}
	ck_assert_uint_ne(committed_ms, 0);
	ck_assert_uint_eq(stop_ms - committed_ms, run.old->def->spec.retention_ms);
	ck_assert_str_eq(outcome(&run)->reason, "");
	(void)w_only(w, "room", 0);
	w_free(w);
}
END_TEST

/* ... and where none of them can, it is stopped in time, and who has not confirmed is named. */
START_TEST(stopped_in_time_though_nobody_confirms)
{
	struct h_run run = h_begin(4 * (h_moment_named("send READY") + _i), cut_link);
	struct world *w = run.w;
	w->mute = note_times;
	w->pass = pass;
	unconfirmed = true;
	committed_ms = stop_ms = 0;
	h_go(&run, 60000);
	unconfirmed = false;
	if (!h_happened(&run)) {
		w_free(w);
		return;
	}
	ck_assert_uint_ne(committed_ms, 0);
	if (run.no <= h_moment_named("tell committed")) {
		char name[] = " has not confirmed the new owner: ?";
		name[sizeof name - 2] = w->nodes[run.to].name.s[0];
		ck_assert_uint_eq(stop_ms - committed_ms, CONFIRM_MAX_MS);
		ck_assert_ptr_nonnull(strstr(outcome(&run)->reason, name));
	} else {
		ck_assert_uint_eq(stop_ms - committed_ms, run.old->def->spec.retention_ms);
		ck_assert_str_eq(outcome(&run)->reason, "");
	}
	(void)w_only(w, "room", 0);
	w_free(w);
}
END_TEST

/* What is said of another life, of more than there is, or of another one's part, is no word. */
START_TEST(what_confirms_nothing)
{
	struct world *w = w_new(2);
	w_declare_all(w, w_def(w, "room", "1"));
	w_start_all(w);
	unsigned author = w_only(w, "room", 0)->node, other = !author;
	struct ph_hub *hub = w->nodes[author].hub;
	struct ph_member *m = ph_member_find(hub, &w->nodes[other].name);
	w->cut[other][author] = true; /* its echoes */
	w_order(w, author, PH_VERB_RESTART, "room", NULL, NULL);
	w_run(w, 500);
	const uint64_t before = m->hears_me_have;
	ck_assert_uint_lt(before, hub->version);
	struct ph_part good = {.name = w->nodes[author].name,
		.incarnation = hub->set.incarnation,
		.have = hub->version};
	struct ph_part parts[5][2] = {{good, good}, {good}, {good}, {good}, {good}};
	parts[1][0].incarnation--;
	parts[2][0].have++;
	parts[3][0].name = w->nodes[other].name;
	for (size_t i = 0; i < 5; i++) {
		struct ph_bmsg msg = {.kind = PH_B_HAVE,
			.from = w->nodes[other].name,
			.incarnation = m->info.incarnation,
			.parts = parts[i],
			.n_parts = i ? 1 : 2};
		ph_hub_message(hub, &msg);
		ck_assert_uint_eq(m->hears_me_have, i < 4 ? before : hub->version);
	}
	w_free(w);
}
END_TEST

/* One that hears both of them; the others hear nothing of the source any more. */
START_TEST(all_who_have_not_confirmed_are_named)
{
	struct world *w = w_new(4);
	w_declare_all(w, w_def(w, "room", "1"));
	w_start_all(w);
	struct h_run run = {.w = w, .old = w_only(w, "room", 0)};
	run.from = run.old->node;
	run.to = (run.from + 1) % 4;
	unsigned hears = (run.from + 2) % 4, other = (run.from + 3) % 4;
	w->arg = &run;
	w->mute = note_times;
	w->pass = pass;
	unconfirmed = true;
	committed_ms = stop_ms = 0;
	w_order(w, run.from, PH_VERB_MOVE, "room", w->nodes[run.to].name.s, NULL);
	w_run(w, 0);
	w_cut(w, run.from, run.to, true);
	w_cut(w, run.from, other, true);
	w_run(w, 60000);
	unconfirmed = false;
	ck_assert_uint_eq(stop_ms - committed_ms, CONFIRM_MAX_MS);
	const char *reason = outcome(&run)->reason;
	ck_assert_ptr_nonnull(strstr(reason, "2 nodes have not confirmed the new owner: "));
	const char *names = strchr(reason, ':');
	ck_assert_ptr_nonnull(strchr(names, w->nodes[run.to].name.s[0]));
	ck_assert_ptr_nonnull(strchr(names, w->nodes[other].name.s[0]));
	ck_assert_ptr_null(strchr(names, w->nodes[hears].name.s[0]));
	w_free(w);
}
END_TEST

/* The retention goes on where it was, however often its daemon is killed meanwhile. */
START_TEST(the_daemon_dies_in_the_retention)
{
	struct world *w = w_new(3);
	struct w_def *def = w_def(w, "room", "1");
	def->spec.retention_ms = 8000;
	w_declare_all(w, def);
	w_start_all(w);
	struct h_run run = {.w = w, .old = w_only(w, "room", 0)};
	run.from = run.old->node;
	run.to = _i ? run.from : (run.from + 1) % 3; /* 1: a swap, on its node */
	w->arg = &run;
	w->mute = note_times;
	committed_ms = stop_ms = 0;
	w_order(w, run.from, _i ? PH_VERB_SWAP : PH_VERB_MOVE, "room",
		_i ? NULL : w->nodes[run.to].name.s, NULL);
	w_run(w, 1000);
	ck_assert_uint_ne(committed_ms, 0);
	for (int i = 0; i < 3; i++) {
		w_crash(w, run.from);
		w_start(w, run.from);
		w_run(w, 2000);
		ck_assert(run.old->alive && !stop_ms);
	}
	w_run(w, 10000);
	ck_assert_uint_eq(stop_ms - committed_ms, 8000);
	(void)w_only(w, "room", 0);
	w_free(w);
}
END_TEST

/* Nobody who is in step may name the old one, whatever becomes of the new one. */
static void old_is_not_named(const struct h_run *run)
{
	for (unsigned i = 0; i < run->w->n_nodes; i++) {
		const struct ph_slot *slot =
			run->w->nodes[i].hub ? w_slot(run->w, i, "room", 0) : NULL;
		ck_assert_msg(!slot || slot->entry.pid != run->old->pid, "%c names the old one",
			(int)('a' + i));
	}
}

/*
 * The target's machine dies in the retention, after its worker has served: what the old one has is
 * stale. It has nobody to send its clients to, and nobody waits for the end of a long retention.
 */
START_TEST(the_target_dies_in_the_retention)
{
	struct world *w = w_new(2 + (unsigned)_i % 2);
	struct w_def *def = w_def(w, "room", "1");
	def->spec.retention_ms = 120000;
	def->traits.caps |= _i < 2 ? 0 : PH_CAP_ROUNDS;
	w_declare_all(w, def);
	w_start_all(w);
	struct h_run run = {.w = w, .old = w_only(w, "room", 0)};
	run.from = run.old->node;
	run.to = (run.from + 1) % w->n_nodes;
	w->mute = note_times;
	committed_ms = stop_ms = 0;
	h_go(&run, 2000);
	ck_assert_uint_ne(committed_ms, 0);
	w_power_off(w, run.to);
	struct w_proc *p = NULL;
	uint64_t died_ms = w->now_ms;
	for (int i = 0; i < 400 && !p; i++) {
		w_run(w, 50);
		old_is_not_named(&run);
		p = w_serving(w, "room", 0);
	}
	ck_assert_ptr_nonnull(p);
	ck_assert_uint_le(w->now_ms - died_ms, 5000 + 2500); /* failure_timeout, a claim */
	w_run(w, 20000);
	p = w_only(w, "room", 0);
	ck_assert_ptr_ne(p, run.old);
	w_agree(w, "room", 0, p->node);
	ck_assert_int_eq(outcome(&run)->result, PH_RESULT_DONE);
	w_free(w);
}
END_TEST

static bool hears_nothing(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	const struct h_run *run = w->arg;
	(void)from;
	return to != run->from || msg->kind != PH_B_REGISTRY;
}

static struct ph_name heir;

static bool note_heir(struct world *w, struct w_proc *p, const struct ph_wmsg *msg)
{
	if (msg->op == PH_W_COMMITTED)
		heir = msg->target;
	return note_times(w, p, msg);
}

/*
 * The new worker goes on to a third node before the source has heard that it was ready: the old one
 * is told at once, and where it is now.
 */
START_TEST(the_new_one_has_gone_on)
{
	struct world *w = w_new(3);
	w_declare_all(w, w_def(w, "room", "1"));
	w_start_all(w);
	struct h_run run = {.w = w, .old = w_only(w, "room", 0)};
	run.from = run.old->node;
	run.to = (run.from + 1) % 3;
	unsigned third = (run.from + 2) % 3;
	committed_ms = stop_ms = 0;
	w->mute = note_heir;
	w->pass = hears_nothing;
	h_go(&run, 2000);
	w_order(w, run.to, PH_VERB_MOVE, "room", w->nodes[third].name.s, NULL);
	w_run(w, 2000);
	ck_assert_str_eq(w_slot(w, run.to, "room", 0)->entry.node->name.s, w->nodes[third].name.s);
	ck_assert_uint_eq(committed_ms, 0);
	w->pass = NULL;
	uint64_t heard_ms = w->now_ms;
	w_run(w, 20000);
	ck_assert_uint_le(committed_ms - heard_ms, 2000); /* an exchange of what was missed */
	ck_assert_str_eq(heir.s, w->nodes[third].name.s);
	ck_assert_uint_eq(stop_ms - committed_ms, run.old->def->spec.retention_ms);
	ck_assert_uint_eq(w_only(w, "room", 0)->node, third);
	w_free(w);
}
END_TEST

/*
 * The target's machine dies, and only a third node has heard that its worker was ready: that one
 * objects to the old worker's return, which is stopped at once and holds up nobody's claim.
 */
START_TEST(only_a_third_one_has_heard_of_it)
{
	struct world *w = w_new(3);
	w_declare_all(w, w_def(w, "room", "1"));
	w_start_all(w);
	struct h_run run = {.w = w, .old = w_only(w, "room", 0)};
	run.from = run.old->node;
	run.to = (run.from + 1) % 3;
	committed_ms = stop_ms = 0;
	w->mute = note_times;
	w->pass = hears_nothing;
	h_go(&run, 2000);
	ck_assert_uint_eq(committed_ms, 0);
	w_power_off(w, run.to);
	w_run(w, 5000 + 2500);
	ck_assert_uint_ne(stop_ms, 0);
	ck_assert_ptr_ne(w_only(w, "room", 0), run.old);
	w_free(w);
}
END_TEST

/*
 * Across a cut another copy of it has begun, and stands in the registry by now. What is told of the
 * new worker is when its own state began (0: the old one lives; 1: it has ended; 2: nothing is
 * known).
 */
START_TEST(whose_state_the_new_one_has)
{
	struct world *w = w_new(3);
	w_declare_all(w, w_def(w, "room", "1"));
	w_start_all(w);
	struct w_proc *p = w_only(w, "room", 0);
	struct ph_hub *hub = w->nodes[p->node].hub;
	struct ph_slot *slot = w_slot(w, p->node, "room", 0);
	const struct ph_name to = w_name((p->node + 1) % 3), other = w_name((p->node + 2) % 3);
	uint64_t born_ms = slot->work->instance->born_ms;
	const struct ph_id id = {{1}};
	struct ph_actions actions;
	ck_assert_uint_ne(born_ms, 0);
	ph_out_begin(hub);
	struct ph_source *s = ph_source_new(hub, &id, slot, &to, slot->entry.epoch);
	s->peer_active = true;
	s->new_epoch = ph_epoch_make(9, p->node + 1);
	s->old = _i < 2 ? slot->work->instance : NULL;
	if (_i == 1)
		(void)ph_source_copy_is_all(hub, s);
	slot->entry.node = ph_node_get(hub, &other);
	slot->entry.epoch = ph_epoch_make(7, 3);
	slot->entry.born_ms = born_ms - 1000;
	(void)ph_source_retain(hub, s);
	ph_out_end(hub, &actions);
	ck_assert_str_eq(slot->entry.node->name.s, to.s);
	ck_assert_uint_eq(slot->entry.born_ms, _i < 2 ? born_ms : 0);
	w_free(w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core_retention");
	W_TEST(suite, a_cut_link_keeps_no_old_worker, CUTS * (H_MOMENTS - 2));
	W_TEST(suite, stopped_in_time_though_nobody_confirms, H_MOMENTS - 2);
	W_TEST(suite, what_confirms_nothing, 1);
	W_TEST(suite, all_who_have_not_confirmed_are_named, 1);
	W_TEST(suite, the_target_dies_in_the_retention, 4);
	W_TEST(suite, the_new_one_has_gone_on, 1);
	W_TEST(suite, only_a_third_one_has_heard_of_it, 1);
	W_TEST(suite, whose_state_the_new_one_has, 3);
	W_TEST(suite, the_daemon_dies_in_the_retention, 2);
	return w_main(suite);
}
