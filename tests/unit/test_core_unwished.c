/* How often an operator has wished something of a child counts over restarts. */
#include "core_puppet.h"

static const struct w_def *make(struct world *w)
{
	return w_def(w, "room", "1");
}

static void restart(struct world *w, unsigned node)
{
	w_crash(w, node);
	w_start(w, node);
}

static void wished(struct world *w, unsigned node, bool stopped, unsigned wishes)
{
	const struct ph_slot *slot = w_slot(w, node, "room", 0);
	ck_assert_int_eq(slot->wish_stopped, stopped);
	ck_assert_uint_eq(slot->wishes, wishes);
}

static void order(struct world *w, unsigned node, enum ph_verb verb, const struct w_def *def)
{
	struct ph_command *c = w_alloc(w, sizeof *c);
	const struct ph_spec **specs = w_alloc(w, sizeof *specs);
	if (def) {
		specs[0] = &def->spec;
		c->specs = specs;
		c->n_specs = 1;
	}
	c->all_instances = true;
	w_order(w, node, verb, def ? NULL : "room", NULL, c);
	w_run(w, 8000);
	ck_assert_uint_eq(w->nodes[node].answers, 1);
	ck_assert_msg(w->nodes[node].answer.error == 0, "%s", w->nodes[node].answer.text);
}

static struct ph_entry entry_of_b(enum ph_child_state state, uint64_t version, uint64_t revision)
{
	return (struct ph_entry){.key = {.child = ph_name_of("room")},
		.node = w_name(1),
		.epoch = ph_epoch_make(3, 2),
		.version = version,
		.revision = revision,
		.state = state,
		.stopped_by_wish = true,
		.wishes = 3,
		.role = PH_ROLE_ACTIVE};
}

static void hear(struct world *w, struct ph_entry e)
{
	struct ph_name b = w_name(1);
	p_begin(w);
	(void)ph_registry_apply(w->nodes[0].hub, &b, &b, &e);
	p_end(w);
	w_drain(w);
}

/* a has it and is told to stop it; its daemon is started again before it hears of the other side,
 * which has had fewer orders and goes on: that one is told. */
START_TEST(counted_over_restarts)
{
	struct world *w = p_world(make, true);
	w->nodes[0].manual_disk = false;
	w->mute = NULL;
	w_run(w, 2000);
	order(w, 0, PH_VERB_STOP, NULL);
	wished(w, 0, true, 1);
	if (_i)
		restart(w, 0);
	w_run(w, 8000);
	wished(w, 0, true, 1);
	ck_assert(ph_slot_mine(w->nodes[0].hub, w_slot(w, 0, "room", 0)));
	p_hello(w, 1);
	struct ph_entry e = entry_of_b(PH_CHILD_RUNNING, 1, 0);
	e.epoch = ph_epoch_make(4000, 2);
	e.stopped_by_wish = false;
	e.wishes = 0;
	unsigned sent = w->nodes[0].sent[PH_B_ORDER];
	hear(w, e);
	w_run(w, 500);
	ck_assert_uint_gt(w->nodes[0].sent[PH_B_ORDER], sent);
	w_free(w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core_unwished");
	W_TEST(suite, counted_over_restarts, 2);
	return w_main(suite);
}
