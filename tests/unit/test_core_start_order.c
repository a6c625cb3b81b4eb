/* What is started after what, and stopped before it. */
#include "core_world.h"
#include "core/after.h"

static struct w_def *child(struct world *w, const char *name, const char *after)
{
	struct w_def *def = w_def(w, name, "1");
	def->spec.after = after;
	w_declare_all(w, def);
	return def;
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
		w_kill(w, p);
}

static const char *reason(struct world *w, unsigned node, const char *name)
{
	static char why[PH_REASON_SIZE];
	const struct ph_hub *hub = w->nodes[node].hub;
	struct ph_name n = ph_name_of(name);
	why[0] = '\0';
	(void)ph_after_why(hub, ph_hub_spec(hub, &n), why, NULL);
	return why;
}

START_TEST(a_chain)
{
	struct world *w = w_new(1);
	struct w_def *db = child(w, "db", NULL), *api = child(w, "api", "db");
	(void)child(w, "web", "api,db");
	db->traits.never_ready = api->traits.never_ready = true;
	w_start(w, 0);
	w_run(w, 5000);
	ck_assert_uint_eq(w->n_procs, 1);
	ck_assert_int_eq(w_slot(w, 0, "web", 0)->entry.state, PH_CHILD_WAITING);
	ck_assert_str_eq(reason(w, 0, "web"), "waits for api, which is waiting");
	ck_assert_str_eq(reason(w, 0, "api"), "waits for db, which is starting");
	db->traits.never_ready = false;
	end(w, "db");
	w_run(w, 1000);
	ck_assert_uint_eq(started(w, "api"), 1);
	ck_assert_uint_eq(started(w, "web"), 0);
	api->traits.never_ready = false;
	end(w, "api");
	w_run(w, 1000);
	(void)w_only(w, "web", 0);
	ck_assert_str_eq(reason(w, 0, "web"), "");
	w_free(w);
}
END_TEST

/* All of them, and a restart of one stops nobody; who ends meanwhile waits. */
START_TEST(all_instances)
{
	struct world *w = w_new(1);
	struct w_def *db = child(w, "db", NULL);
	(void)child(w, "web", "db");
	db->spec.instances = 3;
	w_start(w, 0);
	w_run(w, 1000);
	struct w_proc *web = w_only(w, "web", 0);
	db->traits.never_ready = true;
	end(w, "db");
	w_run(w, 1000);
	ck_assert(web->alive);
	w_kill(w, web);
	w_run(w, 1000);
	ck_assert_uint_eq(started(w, "web"), 1);
	ck_assert_ptr_nonnull(strstr(reason(w, 0, "web"), "waits for db/"));
	db->traits.never_ready = false;
	end(w, "db");
	w_run(w, 1000);
	(void)w_only(w, "web", 0);
	w_free(w);
}
END_TEST

START_TEST(stopped_by_an_operator)
{
	struct world *w = w_new(1);
	(void)child(w, "db", NULL);
	(void)child(w, "web", "db");
	w_start(w, 0);
	w_run(w, 1000);
	w_order(w, 0, PH_VERB_STOP, "db", NULL, NULL);
	w_run(w, 1000);
	(void)w_only(w, "web", 0); /* it goes on */
	w_order(w, 0, PH_VERB_RESTART, "web", NULL, NULL);
	w_run(w, 10000);
	ck_assert_ptr_null(alive(w, "web"));
	ck_assert_str_eq(reason(w, 0, "web"), "waits for db, which is stopped by an operator");
	ck_assert_int_eq(w->nodes[0].answer.error, EREMOTEIO);
	w_order(w, 0, PH_VERB_START, "db", NULL, NULL);
	w_run(w, 1000);
	(void)w_only(w, "web", 0);
	/* Ordered together, in whatever order: nothing is in vain. */
	w_order(w, 0, PH_VERB_STOP, "db", NULL, NULL);
	w_order(w, 0, PH_VERB_STOP, "web", NULL, NULL);
	w_run(w, 1000);
	w_order(w, 0, PH_VERB_START, "web", NULL, NULL);
	w_order(w, 0, PH_VERB_START, "db", NULL, NULL);
	w_run(w, 5000);
	(void)w_only(w, "web", 0);
	ck_assert_int_eq(w->nodes[0].answer.error, 0);
	w_free(w);
}
END_TEST

/* A job that is done is as good as ready; one that failed is not. */
START_TEST(a_job)
{
	struct world *w = w_new(1);
	struct w_def *job = child(w, "job", NULL);
	(void)child(w, "web", "job");
	job->spec.restart.policy = PH_RESTART_TEMPORARY;
	job->traits.never_ready = true;
	w_start(w, 0);
	w_run(w, 1000);
	ck_assert_uint_eq(started(w, "web"), 0);
	struct w_proc *p = alive(w, "job");
	ck_assert_ptr_nonnull(p);
	if (p)
		w_exit(w, p, PH_EXIT_CODE, (uint32_t)_i);
	w_run(w, 2000);
	ck_assert_uint_eq(started(w, "web"), _i ? 0 : 1);
	if (_i)
		ck_assert_str_eq(reason(w, 0, "web"), "waits for job, which is stopped");
	w_free(w);
}
END_TEST

/* Unknown to this node: somebody may still declare it. Removed: nobody does. */
START_TEST(unknown_and_removed)
{
	struct world *w = w_new(1);
	(void)child(w, "web", "db");
	w_start(w, 0);
	w_run(w, 5000);
	ck_assert_uint_eq(w->n_procs, 0);
	ck_assert_str_eq(reason(w, 0, "web"), "waits for db, which is not known to this node");
	struct w_def *db = child(w, "db", NULL);
	db->traits.never_ready = true;
	w_configure(w, 0);
	w_run(w, 5000);
	ck_assert_uint_eq(started(w, "db"), 1);
	ck_assert_uint_eq(started(w, "web"), 0);
	w->nodes[0].n_specs = 1;
	w_configure(w, 0);
	w_run(w, 20000);
	(void)w_only(w, "web", 0);
	w_free(w);
}
END_TEST

/* The one before it is on the other node: the registry tells, also that that node is gone. */
START_TEST(over_nodes)
{
	struct world *w = w_new(2);
	struct w_def *db = child(w, "db", NULL), *web = child(w, "web", "db");
	db->spec.nodes = "b";
	web->spec.nodes = "a";
	db->traits.never_ready = true;
	w_start_all(w);
	w_run(w, 5000);
	ck_assert_uint_eq(started(w, "db"), 1);
	ck_assert_uint_eq(started(w, "web"), 0);
	ck_assert_str_eq(reason(w, 0, "web"), "waits for db, which is starting");
	db->traits.never_ready = false;
	end(w, "db");
	w_run(w, 2000);
	(void)w_only(w, "web", 0);
	w_power_off(w, 1);
	w_run(w, 20000);
	end(w, "web");
	w_run(w, 5000);
	ck_assert_uint_eq(started(w, "web"), 1);
	ck_assert_str_eq(reason(w, 0, "web"), "waits for db, which is on a node that is gone");
	w_start(w, 1);
	w_run(w, 20000);
	(void)w_only(w, "web", 0);
	w_free(w);
}
END_TEST

/* This node's file has more instances of it, one in the cluster each, than the text in force has on
 * each node: those of the text in force are waited for. */
START_TEST(another_text_of_the_one_before)
{
	struct world *w = w_new(2);
	struct w_def *ours = w_def(w, "db", "1"), *theirs = w_def(w, "db", "2");
	struct w_def *web = w_def(w, "web", "1");
	w->double_allowed = true; /* local ones are so many */
	ours->spec.instances = 5;
	theirs->spec.instances = 2;
	theirs->spec.local = true;
	web->spec.after = "db";
	web->spec.local = true;
	w_declare(w, 0, ours);
	w_declare(w, 0, web);
	w_declare(w, 1, ours);
	w_start_all(w);
	w_run(w, 5000);
	const struct ph_spec *spec = &theirs->spec;
	w_push(w, 1, PH_EV_CONFIGURED)->config = &(struct ph_config){.n_specs = 1,
		.specs = &spec,
		.migrations_max = 8,
		.settle_ms = 1000,
		.accept_any = true,
		.spread = true};
	w_run(w, 10000);
	ck_assert(ph_hub_spec(w->nodes[0].hub, &theirs->spec.child)->local);
	ck_assert_str_eq(reason(w, 0, "web"), "");
	end(w, "web");
	w_run(w, 5000);
	(void)w_only(w, "web", 0);
	w_free(w);
}
END_TEST

/* A move of what runs is no start: it waits for nobody. */
START_TEST(a_move_does_not_wait)
{
	struct world *w = w_new(2);
	(void)child(w, "db", NULL);
	struct w_def *web = child(w, "web", "db");
	web->spec.retention_ms = 0;
	w_start_all(w);
	w_run(w, 2000);
	w_order(w, 0, PH_VERB_STOP, "db", NULL, NULL);
	w_run(w, 2000);
	unsigned from = w_only(w, "web", 0)->node;
	w_order(w, 0, PH_VERB_MOVE, "web", w->nodes[!from].name.s, NULL);
	w_run(w, 20000);
	ck_assert_uint_eq(w_only(w, "web", 0)->node, !from);
	w_free(w);
}
END_TEST

/* ---- the end of a daemon ---- */

START_TEST(stopped_the_other_way_round)
{
	static const char *const order[] = {"web", "api", "db"};
	struct world *w = w_new(1);
	(void)child(w, "db", NULL);
	(void)child(w, "api", "db");
	(void)child(w, "web", "api");
	for (size_t i = 0; i < 3; i++)
		w->defs[i].traits.deaf = true;
	w_start(w, 0);
	w_run(w, 1000);
	(void)w_push(w, 0, PH_EV_SHUTDOWN);
	w_drain(w);
	for (size_t i = 0; i < 3; i++) {
		w_run(w, 1000);
		for (size_t k = 0; k < 3; k++) {
			struct w_proc *p = alive(w, order[k]);
			ck_assert_int_eq(p != NULL, k >= i);
			ck_assert_int_eq(p && p->node == 0 &&
						 w_slot(w, 0, order[k], 0)->work->instance->state ==
							 PH_INSTANCE_STOPPING,
				k == i);
		}
		end(w, order[i]);
		w_drain(w);
	}
	w_run(w, 1000);
	ck_assert(w->nodes[0].exited);
	w_free(w);
}
END_TEST

/* What ends before its turn is not started again, and a second signal ends the patience. */
START_TEST(an_end_before_its_turn)
{
	struct world *w = w_new(1);
	(void)child(w, "db", NULL);
	struct w_def *web = child(w, "web", "db");
	web->traits.deaf = true;
	w_start(w, 0);
	w_run(w, 1000);
	(void)w_push(w, 0, PH_EV_SHUTDOWN);
	w_drain(w);
	if (_i)
		end(w, "db");
	else
		(void)w_push(w, 0, PH_EV_SHUTDOWN);
	w_run(w, 1000);
	ck_assert_ptr_null(alive(w, "db"));
	ck_assert_ptr_nonnull(alive(w, "web"));
	ck_assert_uint_eq(started(w, "db"), 1);
	w_run(w, 10000);
	ck_assert(w->nodes[0].exited);
	w_free(w);
}
END_TEST

/* Different files on different nodes can come to a circle: nobody of it is started, all end. */
START_TEST(a_circle_ends)
{
	struct world *w = w_new(1);
	struct w_def *db = child(w, "db", NULL), *web = child(w, "web", "db");
	w_start(w, 0);
	w_run(w, 1000);
	struct ph_instance *one = w_slot(w, 0, "db", 0)->work->instance;
	/* its texts are not its own: nothing else frees it */
	w_own_spec(one)->after = w_text(w, "web");
	(void)db, (void)web;
	(void)w_push(w, 0, PH_EV_SHUTDOWN);
	w_run(w, 1000);
	ck_assert(w->nodes[0].exited);
	w_free(w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core_start_order");
	W_TEST(suite, a_chain, 1);
	W_TEST(suite, all_instances, 1);
	W_TEST(suite, stopped_by_an_operator, 1);
	W_TEST(suite, a_job, 2);
	W_TEST(suite, unknown_and_removed, 1);
	W_TEST(suite, over_nodes, 1);
	W_TEST(suite, another_text_of_the_one_before, 1);
	W_TEST(suite, a_move_does_not_wait, 1);
	W_TEST(suite, stopped_the_other_way_round, 1);
	W_TEST(suite, an_end_before_its_turn, 2);
	W_TEST(suite, a_circle_ends, 1);
	return w_main(suite);
}
