/* A text that asks for fewer instances: those that are too many end, wherever they stand then. */
#include "core_world.h"

static struct w_def *rooms(struct world *w, const char *text, uint32_t instances)
{
	struct w_def *def = w_def(w, "room", text);
	def->spec.instances = instances;
	def->spec.process = 1;
	return def;
}

static struct world *cluster(unsigned n, struct w_def **ret_def, uint32_t instances)
{
	struct world *w = w_new(n);
	*ret_def = rooms(w, "1", instances);
	w_declare_all(w, *ret_def);
	w_start_all(w);
	w_run(w, 10000);
	return w;
}

static void reload(struct world *w, unsigned node, const struct w_def *def, bool spread)
{
	struct ph_config *config = w_alloc(w, sizeof *config);
	const struct ph_spec **specs = w_alloc(w, sizeof *specs);
	w->nodes[node].n_specs = 0;
	w_declare(w, node, def);
	specs[0] = &def->spec;
	*config = (struct ph_config){.n_specs = 1,
		.specs = specs,
		.migrations_max = 8,
		.settle_ms = 1000,
		.accept_any = true,
		.spread = spread};
	w_push(w, node, PH_EV_CONFIGURED)->config = config;
	w_drain(w);
}

/* Those from `from` on have neither worker nor owner, the others run once. */
static void only(struct world *w, uint32_t from, uint32_t all)
{
	for (uint32_t i = 0; i < from; i++)
		(void)w_only(w, "room", i);
	for (size_t i = 0; i < w->n_procs; i++)
		ck_assert_msg(!w->procs[i].alive || w->procs[i].key.instance < from,
			"an instance too many runs");
	for (unsigned n = 0; n < w->n_nodes; n++)
		for (uint32_t i = from; i < all && w->nodes[n].hub; i++) {
			const struct ph_slot *slot = w_slot(w, n, "room", i);
			ck_assert_msg(!slot || (!ph_slot_owned(slot) && !slot->work->instance),
				"node %u knows an owner of it", n);
		}
}

/* Its epoch is being synced for its start; more are wanted later, and start. */
START_TEST(while_its_epoch_is_synced)
{
	struct world *w = w_new(1);
	struct w_def *three = rooms(w, "3", 3), *two = rooms(w, "2", 2);
	w->nodes[0].manual_disk = true;
	w_declare_all(w, three);
	w_start_all(w);
	w_run(w, 2000);
	ck_assert(w_slot(w, 0, "room", 2)->starting);
	reload(w, 0, two, true);
	w->nodes[0].manual_disk = false;
	w_sync_all(w, 0);
	w_run(w, 5000);
	only(w, 2, 3);
	ck_assert_uint_eq(w->n_procs, 2); /* it has not been started at all */
	reload(w, 0, three, false);
	w_run(w, 5000);
	only(w, 3, 3);
	w_free(w);
}
END_TEST

static bool no_answers(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)w, (void)from, (void)to;
	return msg->kind != PH_B_CLAIM_ANSWER;
}

/* It is being claimed, and the answers come late, or not at all. */
START_TEST(while_it_is_claimed)
{
	struct w_def *one;
	struct world *w = cluster(2, &one, 1);
	struct w_def *three = rooms(w, "3", 3);
	w->pass = no_answers;
	reload(w, 0, three, true);
	w_run(w, 1500);
	reload(w, 0, one, true);
	w_run(w, 500);
	w->pass = NULL;
	w_run(w, 8000);
	only(w, 1, 3);
	ck_assert_uint_eq(w->n_procs, 1);
	w_free(w);
}
END_TEST

/*
 * On its way to another node, or being replaced where it is (1), and the new one takes long to
 * load; replaced, and the old one has its retention (2).
 */
START_TEST(while_it_moves)
{
	struct w_def *three;
	struct world *w = cluster(2, &three, 3);
	struct w_def *two = rooms(w, "2", 2);
	unsigned owner = w_only(w, "room", 2)->node;
	three->traits.mute_load = _i < 2;
	ck_assert_ptr_null(w_slot(w, owner, "room", 2)->work->source);
	const struct ph_command which = {.instance = 2};
	if (_i)
		w_order(w, owner, PH_VERB_SWAP, "room", NULL, &which);
	else
		w_order(w, owner, PH_VERB_MOVE, "room", owner ? "a" : "b", &which);
	w_run(w, 1000);
	ck_assert_ptr_nonnull(w_slot(w, owner, "room", 2)->work->source);
	reload(w, !owner, two, true);
	w_run(w, 2500); /* far less than migration.timeout */
	ck_assert_ptr_null(w_serving(w, "room", 2));
	w_run(w, 3500); /* and the retention */
	only(w, 2, 3);
	w_free(w);
}
END_TEST

/* Ended by the fence, it waits until it may be claimed. */
START_TEST(while_it_waits_for_a_claim)
{
	struct w_def *three;
	struct world *w = cluster(2, &three, 3);
	struct w_def *two = rooms(w, "2", 2);
	unsigned owner = w_only(w, "room", 2)->node;
	(void)w_push(w, owner, PH_EV_FENCED);
	w_drain(w);
	ck_assert_uint_eq(w_slot(w, owner, "room", 2)->work->instance->state, PH_INSTANCE_WAITING);
	reload(w, owner, two, false);
	w_run(w, 10000);
	only(w, 2, 3);
	w_free(w);
}
END_TEST

/* SIGKILL has not ended all of it, and the plan is looked at every second: it is killed again. */
START_TEST(while_it_does_not_die)
{
	struct w_def *three;
	struct world *w = cluster(2, &three, 3);
	struct w_def *two = rooms(w, "2", 2);
	struct w_proc *p = w_only(w, "room", 2);
	unsigned owner = p->node;
	p->gen += 1000; /* its end is not heard of */
	reload(w, owner, two, true);
	for (int i = 0; i < 15; i++) {
		w_run(w, 1000);
		reload(w, owner, two, false);
	}
	ck_assert_uint_ge(p->kills, 4);
	w_free(w);
}
END_TEST

/* It is wanted again before its stop is over, and no other node may have it. */
START_TEST(not_too_many_any_more)
{
	struct w_def *three;
	struct world *w = cluster(2, &three, 3);
	struct w_def *two = rooms(w, "2", 2), *again = rooms(w, "again", 3);
	unsigned owner = w_only(w, "room", 2)->node;
	again->spec.nodes = owner ? "b" : "a";
	three->traits.deaf = true;
	reload(w, owner, two, true);
	w_run(w, 1000);
	reload(w, owner, again, true);
	w_run(w, 15000);
	only(w, 3, 3);
	w_free(w);
}
END_TEST

static bool no_texts(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)w, (void)from, (void)to;
	return msg->kind != PH_B_SPEC;
}

/*
 * It was stopped by order after its swap, the old one is still there, and its text changes then: as
 * soon as the swap is over its entry tells the other one, who has not heard of it.
 */
START_TEST(a_text_of_one_that_was_stopped)
{
	struct w_def *first;
	struct world *w = cluster(2, &first, 1);
	struct w_def *next = rooms(w, "next", 1);
	struct ph_name room = ph_name_of("room");
	unsigned owner = w_only(w, "room", 0)->node;
	const struct ph_command which = {.instance = 0};
	w_order(w, owner, PH_VERB_SWAP, "room", NULL, &which);
	w_run(w, 500);
	w_order(w, owner, PH_VERB_STOP, "room", NULL, &which);
	w_run(w, 500);
	ck_assert_ptr_nonnull(w_slot(w, owner, "room", 0)->work->source);
	ck_assert_int_eq(w_slot(w, owner, "room", 0)->work->instance->state, PH_INSTANCE_STOPPED);
	w->pass = no_texts;
	reload(w, owner, next, true);
	w->pass = NULL;
	w_run(w, 8000);
	ck_assert_ptr_null(w_slot(w, owner, "room", 0)->work->source);
	ck_assert_str_eq(ph_hub_spec(w->nodes[!owner].hub, &room)->text, next->text);
	ck_assert_uint_eq(w_slot(w, owner, "room", 0)->entry.revision,
		ph_hub_spec(w->nodes[owner].hub, &room)->revision);
	w_free(w);
}
END_TEST

/*
 * With --cluster on a node that owns one of them, so that its text counts at once; what it owns is
 * on its way, and no entry tells of the text: the others hear of it all the same, at once.
 */
START_TEST(a_text_for_all_of_an_owner)
{
	struct w_def *first;
	struct world *w = cluster(2, &first, 1);
	struct w_def *next = rooms(w, "next", 1);
	struct ph_name room = ph_name_of("room");
	unsigned owner = w_only(w, "room", 0)->node;
	first->traits.mute_load = true;
	w_order(w, owner, PH_VERB_SWAP, "room", NULL, &(struct ph_command){.instance = 0});
	w_run(w, 1000);
	ck_assert_ptr_nonnull(w_slot(w, owner, "room", 0)->work->source);
	reload(w, owner, next, true);
	ck_assert_str_eq(ph_hub_spec(w->nodes[!owner].hub, &room)->text, next->text);
	w_free(w);
}
END_TEST

/*
 * One that is wanted again, of a child that an operator has stopped, is stopped as well: so says
 * the node that had it last, as others may hear of it by that alone.
 */
START_TEST(more_of_what_is_stopped)
{
	struct w_def *two;
	struct world *w = cluster(2, &two, 2);
	struct w_def *one = rooms(w, "one", 1), *again = rooms(w, "again", 2);
	unsigned owner = w_only(w, "room", 1)->node;
	reload(w, owner, one, true);
	w_run(w, 5000);
	w_order(w, owner, PH_VERB_STOP, "room", NULL, NULL);
	w_run(w, 5000);
	ck_assert(ph_slot_released_here(w->nodes[owner].hub, w_slot(w, owner, "room", 1)));
	w->pass = no_answers; /* nobody claims it yet */
	reload(w, owner, again, true);
	w_run(w, 500);
	ck_assert(ph_slot_released_here(w->nodes[owner].hub, w_slot(w, owner, "room", 1)));
	for (unsigned n = 0; n < 2; n++) {
		ck_assert(w_slot(w, n, "room", 1)->wish_stopped);
		ck_assert(w_slot(w, n, "room", 1)->entry.stopped_by_wish);
	}
	w_free(w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core_surplus");
	W_TEST(suite, while_its_epoch_is_synced, 1);
	W_TEST(suite, while_it_is_claimed, 1);
	W_TEST(suite, while_it_moves, 3);
	W_TEST(suite, while_it_waits_for_a_claim, 1);
	W_TEST(suite, while_it_does_not_die, 1);
	W_TEST(suite, not_too_many_any_more, 1);
	W_TEST(suite, a_text_of_one_that_was_stopped, 1);
	W_TEST(suite, a_text_for_all_of_an_owner, 1);
	W_TEST(suite, more_of_what_is_stopped, 1);
	return w_main(suite);
}
