/* Who may run a child is dead, and others are named in the files of those that live. */
#include "core_world.h"

static const enum ph_partition partitions[] = {PH_PARTITION_DIVERGENCE, PH_PARTITION_MAJORITY};

static void reload(struct world *w, unsigned node, const struct w_def *def)
{
	w->nodes[node].n_specs = 0;
	w_declare(w, node, def);
	w_configure(w, node);
	w_drain(w);
}

/* It runs on c, and may run nowhere else. */
static struct world *cluster(enum ph_partition partition)
{
	struct world *w = w_new(3);
	struct w_def *def = w_def(w, "room", "1"), *other = w_def(w, "room", "2");
	w->partition = partition;
	def->spec.nodes = "c";
	other->spec.nodes = "a,b";
	w_declare_all(w, def);
	w_start_all(w);
	w_run(w, 8000);
	ck_assert_uint_eq(w_only(w, "room", 0)->node, 2);
	return w;
}

static const struct w_def *other(struct world *w)
{
	return &w->defs[1];
}

static bool has_other(struct world *w, unsigned node)
{
	struct ph_name room = ph_name_of("room");
	return ph_child_find(w->nodes[node].hub, &room)->spec->hash == other(w)->spec.hash;
}

enum when {
	AFTER_THE_VERDICT,
	BEFORE_THE_VERDICT,
	WHILE_DAEMONS_ARE_DOWN,
	WHENS
};

static void change(struct world *w, unsigned node, enum when when)
{
	if (when != WHILE_DAEMONS_ARE_DOWN) {
		reload(w, node, other(w));
		return;
	}
	w_crash(w, node);
	w->nodes[node].n_specs = 0;
	w_declare(w, node, other(w));
	w_start(w, node);
}

/* On both, on one that is to run it, or on one that is not: that one tells it. */
START_TEST(the_files_of_the_living_count)
{
	struct world *w = cluster(partitions[_i % 2]);
	enum when when = (enum when)(_i / 2 % WHENS);
	unsigned on = (unsigned)_i / (2 * WHENS);
	w_power_off(w, 2);
	if (when != BEFORE_THE_VERDICT)
		w_run(w, 12000);
	ck_assert_ptr_null(w_serving(w, "room", 0));
	if (on != 1)
		change(w, 0, when);
	if (on != 0)
		change(w, 1, when);
	w_run(w, 25000);
	struct w_proc *p = w_only(w, "room", 0);
	ck_assert_uint_lt(p->node, 2);
	w_agree(w, "room", 0, p->node);
	ck_assert(has_other(w, 0) && has_other(w, 1));
	/* c is back with its old file: that is no news, and the child stays where it is. */
	w_start(w, 2);
	w_run(w, 20000);
	ck_assert_ptr_eq(w_only(w, "room", 0), p);
	for (unsigned i = 0; i < 3; i++)
		ck_assert(has_other(w, i));
	w_free(w);
}
END_TEST

enum against {
	THE_OWNER_LIVES,
	NO_LEASE,
	IT_DID_NOT_CHANGE,
	IT_WAS_CHANGED_BACK,
	SOMEBODY_MAY_RUN_IT,
	NOBODY_COULD,
	AGAINSTS
};

START_TEST(where_they_do_not_count)
{
	enum against against = (enum against)_i;
	struct world *w =
		cluster(against == NO_LEASE ? PH_PARTITION_MAJORITY : PH_PARTITION_DIVERGENCE);
	if (against == SOMEBODY_MAY_RUN_IT) {
		struct ph_spec *spec = (struct ph_spec *)(uintptr_t)w->nodes[0].hub->children->spec;
		free((void *)(uintptr_t)spec->nodes);
		spec->nodes = ph_must(strdup("b,c"));
	}
	if (against == NOBODY_COULD)
		w->defs[1].spec.nodes = "d";
	if (against == IT_WAS_CHANGED_BACK) {
		reload(w, 0, other(w));
		reload(w, 0, &w->defs[0]);
	}
	if (against == IT_DID_NOT_CHANGE) {
		w_power_off(w, 0);
		w->nodes[0].n_records = 0; /* its file was another one from the beginning */
		w->nodes[0].n_specs = 0;
		w_declare(w, 0, other(w));
		w_start(w, 0);
		w_run(w, 6000);
	}
	if (against == NO_LEASE)
		w_cut_off(w, 0, true);
	else if (against != THE_OWNER_LIVES)
		w_power_off(w, 2);
	w_run(w, 12000);
	if (against != IT_WAS_CHANGED_BACK)
		reload(w, 0, other(w));
	w_run(w, 12000);
	if (against == SOMEBODY_MAY_RUN_IT)
		ck_assert(!has_other(w, 0));
	else if (against == NO_LEASE || against == THE_OWNER_LIVES)
		ck_assert_uint_eq(w_only(w, "room", 0)->node, 2);
	else
		ck_assert_ptr_null(w_serving(w, "room", 0));
	ck_assert(!has_other(w, 1));
	w_free(w);
}
END_TEST

/* Once it has a lease again, and c lives: nothing has changed for c. */
START_TEST(an_isolated_node_changes_nothing)
{
	struct world *w = cluster(PH_PARTITION_MAJORITY);
	w_cut_off(w, 0, true);
	w_run(w, 12000);
	reload(w, 0, other(w));
	w_run(w, 12000);
	w_cut_off(w, 0, false);
	w_run(w, 20000);
	ck_assert_uint_eq(w_only(w, "room", 0)->node, 2);
	for (unsigned i = 0; i < 3; i++)
		ck_assert(!has_other(w, i));
	w_free(w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core_stranded");
	W_TEST(suite, the_files_of_the_living_count, 2 * WHENS * 3);
	W_TEST(suite, where_they_do_not_count, AGAINSTS);
	W_TEST(suite, an_isolated_node_changes_nothing, 1);
	return w_main(suite);
}
