/* Fairness: how long what fails waits, who is asked how often, and what holds a slot. */
#include "core_world.h"

static uint64_t asked_ms[256];
static size_t n_asked;

static bool note_prepare(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)from, (void)to;
	if (msg->kind == PH_B_PREPARE && (!n_asked || w->now_ms > asked_ms[n_asked - 1] + 500))
		asked_ms[n_asked++] = w->now_ms;
	return true;
}

/* Children that belong on b, and stay on a, as their new workers die at once. */
static struct world *rejected(void)
{
	struct world *w = w_new(2);
	struct w_def *def = w_def(w, "room", "1");
	def->spec.instances = 4;
	def->traits.caps |= PH_CAP_ASK;
	w_declare_all(w, def);
	w->nodes[0].n_peers = 0;
	w_start(w, 0);
	w_run(w, 10000);
	def->traits.dies_at_start = true; /* each new one */
	n_asked = 0;
	w->pass = note_prepare;
	return w;
}

static struct ph_slot *first_to_go(struct world *w)
{
	for (uint32_t i = 0; i < 4; i++)
		if (w_slot(w, 0, "room", i)->work->move)
			return w_slot(w, 0, "room", i);
	return NULL;
}

/* 1 s, doubled up to 5 min, and some by chance; a child that goes is not kept waiting by it. */
START_TEST(doubled_up_to_five_minutes)
{
	struct world *w = rejected();
	w_start(w, 1);
	w_run(w, 10000);
	struct ph_slot *slot = first_to_go(w);
	ck_assert_ptr_nonnull(slot);
	uint64_t before = slot->work->move_wait_ms, most = 0;
	ck_assert_uint_ge(before, 1000);
	for (int i = 0; i < 1500; i++) {
		w_run(w, 1000);
		uint64_t now = slot->work->move_wait_ms;
		ck_assert(
			now == before || now == 2 * before || (now == 300000 && before * 2 > now));
		before = now;
		most = now > most ? now : most;
		const struct ph_move *move = slot->work->move;
		if (move)
			ck_assert_uint_le(move->not_before_ms, w->now_ms + now + now / 10 + 1);
	}
	ck_assert_uint_eq(most, 300000);
	w->defs[0].traits.dies_at_start = false;
	w_run(w, 331000);
	ck_assert_uint_eq(slot->work->move_wait_ms, 0); /* it went */
	ck_assert_str_eq(slot->entry.node->name.s, "b");
	w_free(w);
}
END_TEST

/* The target comes back in another life: it is tried again as if nothing had been. */
START_TEST(begun_anew_with_another_life_of_the_target)
{
	struct world *w = rejected();
	w_start(w, 1);
	w_run(w, 600000);
	struct ph_slot *slot = first_to_go(w);
	ck_assert_ptr_nonnull(slot);
	ck_assert_uint_gt(slot->work->move_wait_ms, 60000);
	w_crash(w, 1);
	w_start(w, 1);
	n_asked = 0;
	w_run(w, 15000);
	ck_assert_uint_gt(n_asked, 0);
	ck_assert_uint_le(slot->work->move_wait_ms, 16000);
	w_free(w);
}
END_TEST

static uint64_t prompts_ms[256];
static size_t n_prompts;

static bool note_ask(struct world *w, struct w_proc *p, const struct ph_wmsg *msg)
{
	(void)p;
	if (msg->op == PH_W_HANDOVER_ASK && n_prompts < 256)
		prompts_ms[n_prompts++] = w->now_ms;
	return false;
}

/* One child on `node`, of two nodes, that is drained now. */
static struct w_proc *drained(struct world *w, struct w_def *def)
{
	def->traits.caps |= PH_CAP_ASK;
	w_declare_all(w, def);
	w_start_all(w);
	w_run(w, 10000);
	struct w_proc *p = w_only(w, "room", 0);
	n_prompts = 0;
	w->mute = note_ask;
	w_order(w, p->node, PH_VERB_DRAIN, NULL, NULL, NULL);
	return p;
}

/* `never` is for this process: it is not asked again. */
START_TEST(never_is_asked_once)
{
	struct world *w = w_new(2);
	struct w_def *def = w_def(w, "room", "1");
	def->traits.never = 1000;
	struct w_proc *p = drained(w, def);
	w_run(w, 120000);
	ck_assert_uint_eq(n_prompts, 1);
	ck_assert_ptr_eq(w_only(w, "room", 0), p);
	ck_assert_int_eq(w->nodes[p->node].answer.error, EINPROGRESS);
	w_free(w);
}
END_TEST

/* `busy`: again and again until defer_max, and then it is left. */
START_TEST(busy_is_asked_until_defer_max)
{
	struct world *w = w_new(2);
	struct w_def *def = w_def(w, "room", "1");
	def->traits.busy = 1000000;
	def->spec.defer_max_ms = 20000;
	struct w_proc *p = drained(w, def);
	w_run(w, 120000);
	ck_assert_uint_ge(n_prompts, 4);
	ck_assert_uint_ge(prompts_ms[n_prompts - 1] - prompts_ms[0], 19000);
	ck_assert_uint_le(prompts_ms[n_prompts - 1] - prompts_ms[0], 25000);
	ck_assert_ptr_eq(w_only(w, "room", 0), p);
	ck_assert_int_eq(w->nodes[p->node].answer.error, EINPROGRESS);
	w_free(w);
}
END_TEST

/* With one slot the next one begins when the first is committed, not when its old one is gone. */
START_TEST(a_slot_is_free_from_the_commit_on)
{
	struct world *w = w_new(2);
	struct w_def *def = w_def(w, "room", "1");
	def->spec.instances = 8;
	def->spec.retention_ms = 20000;
	w->nodes[0].migrations_max = w->nodes[1].migrations_max = 1;
	w_declare_all(w, def);
	w_start_all(w);
	w_run(w, 10000);
	n_asked = 0;
	w->pass = note_prepare;
	w_order(w, 0, PH_VERB_DRAIN, NULL, NULL, NULL);
	w_run(w, 15000);
	for (uint32_t i = 0; i < 8; i++)
		ck_assert_str_eq(w_slot(w, 1, "room", i)->entry.node->name.s, "b");
	w_free(w);
}
END_TEST

/* What comes in holds no slot for what goes out. */
START_TEST(slots_are_apart)
{
	struct world *w = w_new(2);
	struct w_def *in = w_def(w, "in", "1"), *out = w_def(w, "out", "1");
	struct ph_command one = {.instance = 0, .no_wait = true};
	w_declare_all(w, in);
	w_declare_all(w, out);
	w_start_all(w);
	w_run(w, 10000);
	w_order(w, 0, PH_VERB_MOVE, "in", "b", &one);
	w_order(w, 0, PH_VERB_MOVE, "out", "a", &one);
	w_run(w, 30000);
	ck_assert_uint_eq(w_only(w, "in", 0)->node, 1);
	ck_assert_uint_eq(w_only(w, "out", 0)->node, 0);
	w->nodes[0].hub->set.migrations_max = w->nodes[1].hub->set.migrations_max = 1;
	in->traits.mute_load = true;
	w_order(w, 0, PH_VERB_MOVE, "in", "a", &one);
	w_run(w, 500);
	ck_assert_uint_eq(ph_migrations_in(w->nodes[0].hub), 1);
	w_order(w, 0, PH_VERB_MOVE, "out", "b", &one);
	w_run(w, 1000);
	ck_assert_uint_eq(ph_migrations_in(w->nodes[0].hub), 1);
	ck_assert_str_eq(w_slot(w, 0, "out", 0)->entry.node->name.s, "b");
	w_free(w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core_backoff");
	W_TEST(suite, doubled_up_to_five_minutes, 1);
	W_TEST(suite, begun_anew_with_another_life_of_the_target, 1);
	W_TEST(suite, never_is_asked_once, 1);
	W_TEST(suite, busy_is_asked_until_defer_max, 1);
	W_TEST(suite, a_slot_is_free_from_the_commit_on, 1);
	W_TEST(suite, slots_are_apart, 1);
	return w_main(suite);
}
