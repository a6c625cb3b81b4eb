/* A text that changed on a node where the child does not run: whose is in force then. */
#include "core_puppet.h"

static void reload(struct world *w, unsigned node, const struct w_def *def)
{
	w->nodes[node].n_specs = 0;
	w_declare(w, node, def);
	w_configure(w, node);
	w_drain(w);
}

static const struct w_def *text(struct world *w, const char *text)
{
	struct w_def *def = w_def(w, "room", text);
	def->spec.nodes = "a";
	return def;
}

static bool in_force(struct world *w, unsigned node, const struct w_def *def)
{
	struct ph_name room = ph_name_of("room");
	const struct ph_spec *spec = ph_hub_spec(w->nodes[node].hub, &room);
	return spec && spec->hash == def->spec.hash;
}

static bool in_force_everywhere(struct world *w, const struct w_def *def)
{
	return in_force(w, 0, def) && in_force(w, 1, def) && in_force(w, 2, def);
}

/* b and c know the child by their files, a runs it. 1: a's file knows it too, and is asked. */
static struct world *cluster(const struct w_def **ret_first, bool owner_declares)
{
	struct world *w = w_new(3);
	*ret_first = text(w, "1");
	for (unsigned i = owner_declares ? 0 : 1; i < 3; i++)
		w_declare(w, i, *ret_first);
	w_start_all(w);
	w_run(w, 6000);
	ck_assert_uint_eq(w_only(w, "room", 0)->node, 0);
	return w;
}

START_TEST(changed_where_it_does_not_run)
{
	const struct w_def *first;
	struct world *w = cluster(&first, _i);
	const struct w_def *second = text(w, "2"), *third = text(w, "3");
	w_trace_if(w, _i);
	uint32_t pid = w_only(w, "room", 0)->pid;
	reload(w, 1, second);
	w_run(w, 12000); /* the old one has its retention */
	ck_assert(in_force_everywhere(w, _i ? first : second));
	ck_assert_int_eq(w_only(w, "room", 0)->pid == pid, _i);
	/* Another one's change, then back to what it had been: the newest, and no fight. */
	reload(w, 2, third);
	w_run(w, 15000);
	ck_assert(in_force_everywhere(w, _i ? first : third));
	reload(w, 1, first);
	w_run(w, 15000);
	ck_assert(in_force_everywhere(w, first));
	unsigned said = w->nodes[1].sent[PH_B_PROPOSED] + w->nodes[2].sent[PH_B_PROPOSED];
	w_run(w, 15000);
	ck_assert_uint_eq(w->nodes[1].sent[PH_B_PROPOSED] + w->nodes[2].sent[PH_B_PROPOSED], said);
	w_free(w);
}
END_TEST

/* The file changed while that daemon was away; c, whose file is another one, has no news. */
START_TEST(changed_while_it_was_away)
{
	const struct w_def *first;
	struct world *w = cluster(&first, false);
	const struct w_def *second = text(w, "2");
	w_crash(w, 1);
	w_run(w, 500);
	w->nodes[1].n_specs = 0;
	w_declare(w, 1, second);
	w_start(w, 1);
	w_run(w, 8000);
	ck_assert(in_force_everywhere(w, second));
	w_crash(w, 2);
	w_run(w, 500);
	w_start(w, 2);
	w_run(w, 8000);
	ck_assert(in_force_everywhere(w, second));
	w_free(w);
}
END_TEST

/* No file has it any more, and its owner removes it; meanwhile one has it again. */
START_TEST(declared_again_while_it_is_removed)
{
	const struct w_def *first;
	struct world *w = cluster(&first, true);
	const struct w_def *second = text(w, "2");
	for (unsigned i = 0; i < 3; i++) {
		w->nodes[i].n_specs = 0;
		w_configure(w, i);
	}
	w_drain(w);
	w_run(w, 700);
	reload(w, 1, second);
	w_run(w, 20000);
	ck_assert(in_force_everywhere(w, second));
	(void)w_only(w, "room", 0);
	w_free(w);
}
END_TEST

static bool lose_declared(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)w, (void)from, (void)to;
	return msg->kind != PH_B_DECLARED && msg->kind != PH_B_DROPPED;
}

/*
 * The owner's file has dropped it and another one's has it. What that one answers is lost as it is
 * started again (0), or as the owner's bus is gone for a moment (1): it is asked once more.
 */
START_TEST(asked_once_more_who_declares_it)
{
	const struct w_def *first;
	struct world *w = cluster(&first, true);
	w_crash(w, 2);
	w_run(w, 500);
	w->nodes[2].n_specs = 0;
	w_start(w, 2);
	w_run(w, 8000);
	uint32_t pid = w_only(w, "room", 0)->pid;
	w->nodes[0].n_specs = 0;
	w->pass = lose_declared;
	if (_i == 0)
		w_crash(w, 1);
	w_configure(w, 0);
	w_drain(w);
	if (_i == 0) {
		w_start(w, 1);
	} else {
		(void)w_push(w, 0, PH_EV_BUS_DOWN);
		w_run(w, 400);
		(void)w_push(w, 0, PH_EV_BUS_UP);
	}
	w_drain(w);
	w_run(w, 200);
	w->pass = NULL;
	w_run(w, 6000);
	ck_assert_uint_eq(w_only(w, "room", 0)->pid, pid);
	ck_assert(in_force(w, 0, first));
	w_free(w);
}
END_TEST

/*
 * c got the text from the others, who then drop the child, as c declares it. Its own file drops it
 * while its daemon is away: nobody has it any more. 1: its file had another text; 2: it came to c's
 * file later, with another text.
 */
START_TEST(dropped_last_while_it_was_away)
{
	struct world *w = w_new(3);
	const struct w_def *first = text(w, "1"), *other = text(w, "2");
	for (unsigned i = 0; i < 2; i++)
		w_declare(w, i, first);
	if (_i < 2)
		w_declare(w, 2, _i ? other : first);
	for (unsigned i = 0; i < 3; i++) {
		w_start(w, i);
		w_run(w, 7000);
	}
	if (_i == 2)
		reload(w, 2, other);
	for (unsigned i = 0; i < 2; i++) {
		w->nodes[i].n_specs = 0;
		w_configure(w, i);
	}
	w_run(w, 8000);
	(void)w_only(w, "room", 0); /* c said so */
	w_crash(w, 2);
	w_run(w, 500);
	w->nodes[2].n_specs = 0;
	w_start(w, 2);
	w_run(w, 12000);
	struct ph_name room = ph_name_of("room");
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_uint_eq(w_alive(w, i), 0);
		ck_assert_ptr_null(ph_hub_spec(w->nodes[i].hub, &room));
	}
	w_free(w);
}
END_TEST

/* Its file has had another text all along: c comes to own the child, and a reload is no news. */
START_TEST(a_text_of_old_is_no_news)
{
	struct world *w = w_new(3);
	struct w_def *first = w_def(w, "room", "1"), *other = w_def(w, "room", "2");
	first->spec.nodes = "a,c";
	other->spec.nodes = "a,c";
	for (unsigned i = 0; i < 3; i++)
		w_declare(w, i, i == 2 ? other : first);
	for (unsigned i = 0; i < 3; i++) {
		w_start(w, i);
		w_run(w, 7000);
	}
	w_order(w, 0, PH_VERB_MOVE, "room", "c", NULL);
	w_run(w, 12000);
	ck_assert_uint_eq(w_only(w, "room", 0)->node, 2);
	uint32_t pid = w_only(w, "room", 0)->pid;
	w_configure(w, 2);
	w_run(w, 12000);
	ck_assert_uint_eq(w_only(w, "room", 0)->pid, pid);
	ck_assert(in_force_everywhere(w, first));
	w_free(w);
}
END_TEST

static unsigned losses;

static bool lose_some(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)w, (void)from, (void)to;
	if (msg->kind != (losses % 2 ? PH_B_DROPPED : PH_B_DECLARED) || losses < 2)
		return true;
	losses -= 2;
	return false;
}

/* The owner's file drops it, b's has it; two of the questions (1) or answers (0) are lost. */
START_TEST(a_question_is_lost)
{
	const struct w_def *first;
	struct world *w = cluster(&first, true);
	uint32_t pid = w_only(w, "room", 0)->pid;
	w_crash(w, 2);
	w_run(w, 500);
	w->nodes[2].n_specs = 0;
	w_start(w, 2);
	w_run(w, 8000);
	losses = 4 + (unsigned)_i % 2;
	w->pass = lose_some;
	w->nodes[0].n_specs = 0;
	w_configure(w, 0);
	w_run(w, 8000);
	ck_assert_uint_lt(losses, 2);
	ck_assert_uint_eq(w_only(w, "room", 0)->pid, pid);
	ck_assert(in_force(w, 0, first));
	w_free(w);
}
END_TEST

/*
 * The link between the owner, whose file drops it, and b, whose file has it, is cut: for longer
 * than a silence counts (0), when c hears both, or for as long as the first questions are asked
 * (1).
 */
START_TEST(a_question_across_a_cut)
{
	const struct w_def *first;
	struct world *w = cluster(&first, true);
	uint32_t pid = w_only(w, "room", 0)->pid;
	w_crash(w, 2);
	w_run(w, 500);
	w->nodes[2].n_specs = 0;
	w_start(w, 2);
	w_run(w, 8000);
	w_cut(w, 0, 1, true);
	if (_i == 0)
		w_run(w, 2000);
	w->nodes[0].n_specs = 0;
	w_configure(w, 0);
	w_run(w, _i ? 900 : 9000);
	w_cut(w, 0, 1, false);
	w_run(w, 9000);
	ck_assert_uint_eq(w_only(w, "room", 0)->pid, pid);
	ck_assert(in_force(w, 0, first));
	w_free(w);
}
END_TEST

/* c is the last that has it, and its daemon dies before it has asked anybody who declares it. */
START_TEST(it_dies_before_it_has_asked)
{
	const struct w_def *first;
	struct world *w = cluster(&first, true);
	for (unsigned i = 0; i < 2; i++) {
		w->nodes[i].n_specs = 0;
		w_configure(w, i);
	}
	w_run(w, 8000);
	w_crash(w, 2);
	w_run(w, 500);
	w->nodes[2].n_specs = 0;
	w_start(w, 2);
	w_crash(w, 2);
	w_run(w, 500);
	(void)w_only(w, "room", 0);
	w_start(w, 2);
	w_run(w, 12000);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_uint_eq(w_alive(w, i), 0);
	w_free(w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core_propose");
	W_TEST(suite, changed_where_it_does_not_run, 2);
	W_TEST(suite, changed_while_it_was_away, 1);
	W_TEST(suite, declared_again_while_it_is_removed, 1);
	W_TEST(suite, asked_once_more_who_declares_it, 2);
	W_TEST(suite, dropped_last_while_it_was_away, 3);
	W_TEST(suite, a_text_of_old_is_no_news, 1);
	W_TEST(suite, a_question_is_lost, 2);
	W_TEST(suite, a_question_across_a_cut, 2);
	W_TEST(suite, it_dies_before_it_has_asked, 1);
	return w_main(suite);
}
