/* Children that files drop: who is asked who still declares them, and when they are removed. */
#define W_NODES 4
#include "core_puppet.h"

static void drop(struct world *w, unsigned node)
{
	w->nodes[node].n_specs = 0;
	w_configure(w, node);
	w_drain(w);
}

static bool lose_dropped(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)w, (void)from, (void)to;
	return msg->kind != PH_B_DROPPED;
}

/* Its file drops it; 1: nobody hears so; 2: while its daemon is away, and its journal is lost. */
static void let_go(struct world *w, unsigned node, int how)
{
	if (how == 2) {
		w_crash(w, node);
		w_run(w, 500);
		w->nodes[node].n_records = w->nodes[node].n_specs = 0;
		w_start(w, node);
	} else {
		w->pass = how ? lose_dropped : NULL;
		drop(w, node);
		w->pass = NULL;
	}
	w_run(w, 8000);
}

/*
 * a has dropped it, and goes on with the newest text of it, as c has said that it declares it; then
 * c drops it, and b at last. 0 to 2: nobody owns it; 3 to 5: a does.
 */
START_TEST(the_last_who_declares_it_drops_it)
{
	struct world *w = w_new(3);
	struct w_def *def = w_def(w, "room", "1");
	struct ph_name room = ph_name_of("room");
	def->spec.nodes = _i < 3 ? "x" : "a";
	w_declare_all(w, def);
	w_start_all(w);
	w_run(w, 6000);
	for (unsigned i = 0; i < 2 && _i < 3; i++)
		(void)ph_child_settle(w->nodes[i].hub, ph_child_find(w->nodes[i].hub, &room));
	struct ph_child *child = ph_child_find(w->nodes[0].hub, &room);
	const struct ph_spec *newer =
		ph_spec_revise(child->spec, child->spec->revision + ph_epoch_make(1, 0));
	ph_spec_free(child->spec);
	child->spec = newer;
	let_go(w, 0, 0);
	let_go(w, 2, _i % 3 == 2 ? 2 : 0);
	ck_assert_ptr_nonnull(child->spec);
	let_go(w, 1, _i % 3);
	ck_assert_ptr_null(child->spec);
	ck_assert_uint_eq(w_alive(w, 0), 0);
	w_free(w);
}
END_TEST

static const struct ph_bmsg *late;

static bool keep_b_from_a(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	if (msg->kind != PH_B_DROPPED || from != 1 || to != 0)
		return true;
	late = w_kept_letter(w, msg);
	return false;
}

/*
 * a and b own an instance each, and no file of theirs has it. c drops it, and d goes on declaring
 * it: both owners ask, and are told. That b has asked comes to a only then: a does not ask again,
 * or b would, for ever.
 */
START_TEST(two_owners_ask_once)
{
	struct world *w = w_new(4);
	struct w_def *def = w_def(w, "room", "1");
	def->spec.instances = 2;
	def->spec.nodes = "a,b";
	w_declare(w, 2, def);
	w_declare(w, 3, def);
	w_start_all(w);
	w_run(w, 8000);
	ck_assert_uint_eq(w_alive(w, 0), 1);
	ck_assert_uint_eq(w_alive(w, 1), 1);
	late = NULL;
	w->pass = keep_b_from_a;
	drop(w, 2);
	w_run(w, 3000);
	ck_assert_uint_eq(w->nodes[0].sent[PH_B_DROPPED], 1);
	ck_assert_uint_eq(w->nodes[1].sent[PH_B_DROPPED], 1);
	w->pass = NULL;
	ck_assert_ptr_nonnull(late);
	w_arrive(w, 0, late);
	w_run(w, 20000);
	ck_assert_uint_eq(w->nodes[0].sent[PH_B_DROPPED], 1);
	ck_assert_uint_eq(w->nodes[1].sent[PH_B_DROPPED], 1);
	(void)w_only(w, "room", 0);
	(void)w_only(w, "room", 1);
	drop(w, 3);
	w_run(w, 12000);
	ck_assert_uint_eq(w_alive(w, 0) + w_alive(w, 1), 0);
	w_free(w);
}
END_TEST

/* It was added, by an operator: whose file drops one of that name is of no interest to its owners.
 */
START_TEST(no_file_need_declare_what_was_added)
{
	struct world *w = w_new(2);
	struct w_def *def = w_def(w, "room", "1");
	def->spec.added = true;
	def->spec.instances = 2;
	w_start_all(w);
	const struct ph_spec **specs = w_alloc(w, sizeof *specs);
	specs[0] = &def->spec;
	w_order(w, 0, PH_VERB_ADD, NULL, NULL, &(struct ph_command){.specs = specs, .n_specs = 1});
	w_run(w, 8000);
	ck_assert_uint_eq(w_alive(w, 0), 1);
	for (int i = 0; i < 3; i++) {
		struct ph_spec_line *line = w_alloc(w, sizeof *line);
		line->child = ph_name_of("room");
		struct ph_bmsg *msg = p_msg(w, 1, PH_B_DROPPED);
		msg->specs = line;
		msg->n_specs = 1;
		w_run(w, 2000);
	}
	ck_assert_uint_eq(w->nodes[0].sent[PH_B_DROPPED] + w->nodes[1].sent[PH_B_DROPPED], 0);
	(void)w_only(w, "room", 0);
	(void)w_only(w, "room", 1);
	w_free(w);
}
END_TEST

/*
 * a owns it, its file has dropped it, and c has said that it declares it. Then c's machine is off,
 * and a's daemon is started again: that is no reason to ask once more, as nobody could say so.
 */
START_TEST(the_one_who_declares_it_is_away)
{
	struct world *w = w_new(3);
	struct w_def *def = w_def(w, "room", "1");
	def->spec.nodes = "a";
	w_declare(w, 0, def);
	w_declare(w, 2, def);
	w_start_all(w);
	w_run(w, 8000);
	let_go(w, 0, 0);
	struct w_proc *p = w_only(w, "room", 0);
	w_power_off(w, 2);
	w_run(w, 8000);
	w_crash(w, 0);
	w_run(w, 500);
	w_start(w, 0);
	w_run(w, 12000);
	ck_assert_ptr_eq(w_only(w, "room", 0), p);
	w->nodes[2].n_specs = (size_t)_i;
	w_start(w, 2);
	w_run(w, 12000);
	ck_assert(p->alive == _i);
	w_free(w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core_dropped");
	W_TEST(suite, the_last_who_declares_it_drops_it, 6);
	W_TEST(suite, two_owners_ask_once, 1);
	W_TEST(suite, the_one_who_declares_it_is_away, 2);
	W_TEST(suite, no_file_need_declare_what_was_added, 1);
	return w_main(suite);
}
