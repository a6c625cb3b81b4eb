/* Children that are restarted together, and how often. */
#include "core_world.h"
#include "core/after.h"

#define SHOP "db,api,web"
static const char *const names[] = {"db", "api", "web"};

static void in_group(struct world *w, enum ph_group_strategy strategy, uint32_t intensity)
{
	static const char *const after[] = {NULL, "db", "api"};
	for (size_t i = 0; i < 3; i++) {
		struct w_def *def = w_def(w, names[i], "1");
		def->spec.after = after[i];
		def->spec.restart.jitter_percent = 0;
		def->spec.group = (struct ph_group_spec){.name = ph_name_of("shop"),
			.strategy = strategy,
			.members = SHOP,
			.intensity = intensity,
			.within_ms = 60000};
		w_declare_all(w, def);
	}
}

static struct world *shop(enum ph_group_strategy strategy, uint32_t intensity)
{
	struct world *w = w_new(1);
	in_group(w, strategy, intensity);
	w_start(w, 0);
	w_run(w, 1000);
	return w;
}

static size_t started(const struct world *w, const char *name)
{
	size_t n = 0;
	for (size_t i = 0; i < w->n_procs; i++)
		n += strcmp(w->procs[i].key.child.s, name) == 0;
	return n;
}

static struct w_proc *alive(struct world *w, const char *name)
{
	for (size_t i = w->n_procs; i--;)
		if (w->procs[i].alive && strcmp(w->procs[i].key.child.s, name) == 0)
			return &w->procs[i];
	return NULL;
}

static void end(struct world *w, const char *name)
{
	struct w_proc *p = alive(w, name);
	ck_assert_msg(p, "no process of %s", name);
	if (p)
		w_exit(w, p, PH_EXIT_CODE, 1);
	w_drain(w);
}

static enum ph_child_state state(struct world *w, const char *name)
{
	return (enum ph_child_state)w_slot(w, 0, name, 0)->entry.state;
}

/* Which members start anew with the one that failed. */
static const struct {
	enum ph_group_strategy strategy;
	size_t failed;
	size_t starts[3];
} rows[] = {
	{PH_GROUP_ONE_FOR_ONE, 0, {2, 1, 1}},
	{PH_GROUP_ONE_FOR_ONE, 2, {1, 1, 2}},
	{PH_GROUP_ONE_FOR_ALL, 0, {2, 2, 2}},
	{PH_GROUP_ONE_FOR_ALL, 1, {2, 2, 2}},
	{PH_GROUP_ONE_FOR_ALL, 2, {2, 2, 2}},
	{PH_GROUP_REST_FOR_ONE, 0, {2, 2, 2}},
	{PH_GROUP_REST_FOR_ONE, 1, {1, 2, 2}},
	{PH_GROUP_REST_FOR_ONE, 2, {1, 1, 2}},
};

START_TEST(strategies)
{
	struct world *w = shop(rows[_i].strategy, 10);
	end(w, names[rows[_i].failed]);
	w_run(w, 2000);
	for (size_t i = 0; i < 3; i++) {
		ck_assert_uint_eq(started(w, names[i]), rows[_i].starts[i]);
		(void)w_only(w, names[i], 0);
	}
	ck_assert_uint_eq(w->nodes[0].hub->groups->n_regroup, 0);
	w_free(w);
}
END_TEST

/* Those after one in the list are gone before it is told to stop; then they start in its order. */
START_TEST(the_order)
{
	struct world *w = shop(PH_GROUP_ONE_FOR_ALL, 10);
	struct w_proc *old[3];
	for (size_t i = 0; i < 3; i++) {
		w->defs[i].traits.deaf = true;
		old[i] = alive(w, names[i]);
	}
	end(w, "api");
	w_run(w, 1000);
	ck_assert_int_eq(state(w, "web"), PH_CHILD_STOPPING);
	ck_assert_int_eq(state(w, "db"), PH_CHILD_RUNNING);
	ck_assert_int_eq(state(w, "api"), PH_CHILD_WAITING);
	ck_assert_uint_eq(w->n_procs, 3);
	w_kill(w, old[2]);
	w_run(w, 1000);
	ck_assert_int_eq(state(w, "db"), PH_CHILD_STOPPING);
	ck_assert_int_eq(state(w, "web"), PH_CHILD_WAITING);
	ck_assert_uint_eq(w->n_procs, 3);
	w->defs[0].traits.never_ready = true;
	w_kill(w, old[0]);
	w_run(w, 1000);
	ck_assert_uint_eq(started(w, "db"), 2);
	ck_assert_uint_eq(w->n_procs, 4);
	w->defs[0].traits.never_ready = false;
	end(w, "db"); /* a failure of its own, in the midst of that */
	w_run(w, 1000);
	for (size_t i = 0; i < 3; i++)
		(void)w_only(w, names[i], 0);
	w_free(w);
}
END_TEST

/* One that does not even start keeps those after it from starting, and the one before runs. */
START_TEST(back_off)
{
	struct world *w = shop(PH_GROUP_ONE_FOR_ALL, 0);
	w->defs[1].traits.dies_at_start = true;
	end(w, "api");
	w_run(w, 20000);
	ck_assert_uint_gt(started(w, "api"), 5);
	ck_assert_uint_lt(started(w, "api"), 20);
	ck_assert_uint_eq(started(w, "web"), 1);
	ck_assert_uint_le(started(w, "api"), started(w, "db")); /* one waits perhaps */
	w->defs[1].traits.dies_at_start = false;
	w_run(w, 40000);
	for (size_t i = 0; i < 3; i++)
		(void)w_only(w, names[i], 0);
	w_free(w);
}
END_TEST

/* As many restarts as `intensity` says; the next one is the end of all of them. */
START_TEST(given_up)
{
	struct world *w = shop((enum ph_group_strategy)_i, 3);
	for (int i = 0; i < 3; i++) {
		end(w, names[i]);
		w_run(w, 1000);
		for (size_t k = 0; k < 3; k++)
			(void)w_only(w, names[k], 0);
	}
	ck_assert_uint_eq(w->nodes[0].emitted[PH_EMIT_CHILD_FAILED], 0);
	size_t n = w->n_procs;
	end(w, "api");
	w_run(w, 1000);
	for (size_t i = 0; i < 3; i++)
		ck_assert_int_eq(state(w, names[i]), PH_CHILD_FAILED);
	ck_assert_uint_eq(w->nodes[0].emitted[PH_EMIT_CHILD_FAILED], 3);
	w_run(w, 290000);
	ck_assert_uint_eq(w->n_procs, n);
	w_run(w, 20000); /* retry_after is 5m */
	ck_assert_uint_eq(w->n_procs, n + 3);
	for (size_t i = 0; i < 3; i++)
		(void)w_only(w, names[i], 0);
	w_free(w);
}
END_TEST

/* on_limit fail: until an order, and then in their order again. */
START_TEST(given_up_for_good)
{
	struct world *w = w_new(1);
	in_group(w, PH_GROUP_REST_FOR_ONE, 1);
	for (size_t i = 0; i < 3; i++)
		w->defs[i].spec.restart.on_limit = PH_LIMIT_FAIL;
	w_start(w, 0);
	w_run(w, 1000);
	end(w, "web");
	end(w, "web");
	w_run(w, 3600000);
	for (size_t i = 0; i < 3; i++)
		ck_assert_int_eq(state(w, names[i]), PH_CHILD_FAILED);
	w_order(w, 0, PH_VERB_START, "web", NULL, NULL);
	w_run(w, 5000);
	ck_assert_int_eq(state(w, "web"), PH_CHILD_WAITING);
	w_order(w, 0, PH_VERB_START, "api", NULL, NULL);
	w_order(w, 0, PH_VERB_START, "db", NULL, NULL);
	w_run(w, 5000);
	for (size_t i = 0; i < 3; i++)
		(void)w_only(w, names[i], 0);
	w_free(w);
}
END_TEST

/* Restarts that are long past do not count; a member's own intensity does not at all. */
START_TEST(within)
{
	struct world *w = shop(PH_GROUP_ONE_FOR_ONE, 2);
	for (int i = 0; i < 12; i++) {
		w->defs[1].spec.restart.intensity = 1;
		end(w, "api");
		w_run(w, 31000);
		(void)w_only(w, "api", 0);
	}
	ck_assert_uint_eq(w->nodes[0].emitted[PH_EMIT_CHILD_FAILED], 0);
	w_free(w);
}
END_TEST

/* What policies make of it: who failed, and who goes down with it. */
START_TEST(policies)
{
	struct world *w = w_new(1);
	in_group(w, PH_GROUP_ONE_FOR_ALL, 10);
	w->defs[0].spec.restart.policy = PH_RESTART_TRANSIENT;
	w->defs[2].spec.restart.policy = PH_RESTART_TEMPORARY;
	w_start(w, 0);
	w_run(w, 1000);
	/* Done: no failure, and nobody follows it. */
	struct w_proc *db = alive(w, "db");
	ck_assert_ptr_nonnull(db);
	if (db)
		w_exit(w, db, PH_EXIT_CODE, 0);
	w_run(w, 1000);
	ck_assert_uint_eq(w->n_procs, 3);
	ck_assert_int_eq(state(w, "db"), PH_CHILD_STOPPED);
	/* It is done anew with the group; what is temporary is not. */
	end(w, "api");
	w_run(w, 1000);
	(void)w_only(w, "db", 0);
	(void)w_only(w, "api", 0);
	ck_assert_int_eq(state(w, "web"), PH_CHILD_STOPPED);
	ck_assert_uint_eq(started(w, "web"), 1);
	w_free(w);
}
END_TEST

START_TEST(what_an_operator_has_stopped)
{
	struct world *w = shop(PH_GROUP_ONE_FOR_ALL, 10);
	w_order(w, 0, PH_VERB_STOP, "web", NULL, NULL);
	w_run(w, 1000);
	end(w, "db");
	w_run(w, 2000);
	ck_assert_uint_eq(started(w, "api"), 2);
	ck_assert_uint_eq(started(w, "web"), 1);
	/* ... also while it is being stopped for its group. */
	w->defs[1].traits.deaf = true;
	end(w, "db");
	w_run(w, 500);
	ck_assert_int_eq(state(w, "api"), PH_CHILD_STOPPING);
	w_order(w, 0, PH_VERB_STOP, "api", NULL, NULL);
	w_run(w, 20000);
	ck_assert_int_eq(state(w, "api"), PH_CHILD_STOPPED);
	(void)w_only(w, "db", 0);
	w_free(w);
}
END_TEST

/* All instances of all members. */
START_TEST(instances)
{
	struct world *w = w_new(1);
	in_group(w, PH_GROUP_ONE_FOR_ALL, 10);
	w->defs[1].spec.instances = 4;
	w_start(w, 0);
	w_run(w, 1000);
	end(w, "api");
	w_run(w, 2000);
	ck_assert_uint_eq(started(w, "api"), 8);
	ck_assert_uint_eq(started(w, "web"), 2);
	for (uint32_t i = 0; i < 4; i++)
		(void)w_only(w, "api", i);
	w_free(w);
}
END_TEST

/* Another text, without it: the others are as they were, and the next failure is its own. */
START_TEST(a_member_that_leaves)
{
	struct world *w = shop(PH_GROUP_ONE_FOR_ALL, 10);
	struct w_def *alone = w_def(w, "web", "2");
	alone->spec.process = w->defs[2].spec.process;
	w->nodes[0].specs[2] = alone;
	w_configure(w, 0);
	w_run(w, 1000);
	end(w, "web");
	w_run(w, 1000);
	ck_assert_uint_eq(started(w, "web"), 2);
	ck_assert_uint_eq(started(w, "db"), 1);
	w->nodes[0].n_specs = 2; /* and is removed */
	w_configure(w, 0);
	w_run(w, 20000);
	end(w, "db");
	w_run(w, 1000);
	(void)w_only(w, "db", 0);
	(void)w_only(w, "api", 0);
	ck_assert_ptr_null(alive(w, "web"));
	w_free(w);
}
END_TEST

/* Members of other nodes are restarted by an order, in the order of the list all the same. */
START_TEST(over_nodes)
{
	static const char *const nodes[] = {"a", "b", "a"};
	struct world *w = w_new(2);
	in_group(w, PH_GROUP_ONE_FOR_ALL, 2);
	for (size_t i = 0; i < 3; i++)
		w->defs[i].spec.nodes = nodes[i];
	w_start_all(w);
	w_run(w, 5000);
	for (size_t round = 1; round <= 2; round++) {
		end(w, _i ? "db" : "api");
		w_run(w, 5000);
		for (size_t i = 0; i < 3; i++) {
			(void)w_only(w, names[i], 0);
			ck_assert_uint_eq(started(w, names[i]), 1 + round);
			ck_assert_str_eq(w->procs[3 * round + i].key.child.s, names[i]);
		}
	}
	end(w, _i ? "db" : "api");
	w_run(w, 5000);
	for (size_t i = 0; i < 3; i++)
		ck_assert_int_eq(state(w, names[i]), PH_CHILD_FAILED);
	w_run(w, 310000);
	for (size_t i = 0; i < 3; i++)
		(void)w_only(w, names[i], 0);
	ck_assert_ptr_null(w->nodes[0].hub->orders);
	ck_assert_ptr_null(w->nodes[1].hub->orders);
	w_free(w);
}
END_TEST

/* One that is on its way to another node is left alone, and the others do not wait for it. */
START_TEST(a_member_that_is_moved)
{
	struct world *w = w_new(2);
	in_group(w, PH_GROUP_ONE_FOR_ALL, 10);
	w->defs[0].spec.nodes = w->defs[1].spec.nodes = "a";
	w->defs[2].traits.mute_load = true;
	w_start_all(w);
	w_run(w, 5000);
	struct w_proc *web = w_only(w, "web", 0);
	w_order(w, 0, PH_VERB_MOVE, "web", w->nodes[!web->node].name.s, NULL);
	w_run(w, 500);
	end(w, "db");
	w_run(w, 3000);
	ck_assert(web->alive);
	(void)w_only(w, "db", 0);
	(void)w_only(w, "api", 0);
	w_run(w, 60000);
	(void)w_only(w, "web", 0);
	w_free(w);
}
END_TEST

/* The daemon is told to stop in the midst of it. */
START_TEST(an_orderly_end)
{
	struct world *w = shop(PH_GROUP_ONE_FOR_ALL, 10);
	for (size_t i = 0; i < 3; i++)
		w->defs[i].traits.deaf = true;
	end(w, names[_i]);
	w_run(w, 1000);
	(void)w_push(w, 0, PH_EV_SHUTDOWN);
	w_run(w, 60000);
	ck_assert(w->nodes[0].exited);
	ck_assert_uint_eq(w->n_procs, 3);
	w_free(w);
}
END_TEST

/* ---- on_limit elsewhere ---- */

static void crash(struct world *w, int times)
{
	for (int i = 0; i < times; i++) {
		end(w, "room");
		w_run(w, 2000);
	}
}

START_TEST(another_node_takes_it)
{
	struct world *w = w_new(2);
	struct w_def *def = w_def(w, "room", "1");
	def->spec.restart.on_limit = PH_LIMIT_ELSEWHERE;
	def->spec.restart.intensity = 2;
	def->spec.restart.retry_after_ms = 60000;
	w_declare_all(w, def);
	w_start_all(w);
	w_run(w, 2000);
	unsigned first = w_only(w, "room", 0)->node;
	crash(w, 2);
	ck_assert_uint_eq(w_only(w, "room", 0)->node, first);
	crash(w, 1);
	w_run(w, 3000);
	ck_assert_uint_eq(w_only(w, "room", 0)->node, !first);
	ck_assert_uint_eq(w->nodes[first].emitted[PH_EMIT_CHILD_FAILED], 1);
	w_agree(w, "room", 0, !first);
	/* There it fails as well, and the first one still is not fit: it is tried again there. */
	crash(w, 3);
	w_run(w, 10000);
	ck_assert_ptr_null(alive(w, "room"));
	ck_assert_int_eq(state(w, "room"), PH_CHILD_FAILED);
	w_run(w, 60000);
	ck_assert_uint_eq(w_only(w, "room", 0)->node, !first);
	w_free(w);
}
END_TEST

/* Nobody else may, or there is nobody else. */
START_TEST(no_other_node_takes_it)
{
	struct world *w = w_new(_i ? 2 : 1);
	struct w_def *def = w_def(w, "room", "1");
	def->spec.restart.on_limit = PH_LIMIT_ELSEWHERE;
	def->spec.restart.intensity = 2;
	def->spec.nodes = _i ? "a" : NULL;
	w_declare_all(w, def);
	w_start_all(w);
	w_run(w, 2000);
	crash(w, 3);
	ck_assert_int_eq(state(w, "room"), PH_CHILD_FAILED);
	w_run(w, 310000);
	ck_assert_uint_eq(w_only(w, "room", 0)->node, 0);
	w_free(w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core_group");
	W_TEST(suite, strategies, (int)(sizeof rows / sizeof rows[0]));
	W_TEST(suite, the_order, 1);
	W_TEST(suite, back_off, 1);
	W_TEST(suite, given_up, 3);
	W_TEST(suite, given_up_for_good, 1);
	W_TEST(suite, within, 1);
	W_TEST(suite, policies, 1);
	W_TEST(suite, what_an_operator_has_stopped, 1);
	W_TEST(suite, instances, 1);
	W_TEST(suite, a_member_that_leaves, 1);
	W_TEST(suite, over_nodes, 2);
	W_TEST(suite, a_member_that_is_moved, 1);
	W_TEST(suite, an_orderly_end, 3);
	W_TEST(suite, another_node_takes_it, 1);
	W_TEST(suite, no_other_node_takes_it, 2);
	return w_main(suite);
}
