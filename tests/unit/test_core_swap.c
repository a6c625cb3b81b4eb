/* A worker that is replaced where it runs: what goes along, and what each fault leaves behind. */
#include "core_world.h"

#define VALUE 41 /* what the old worker has acknowledged */

enum variant { /* bits */
	ROUNDS = 1,
	LOCAL = 2,
	CLUSTER = 4, /* another node answers the claim */
	VARIANTS = 8
};

static const struct {
	enum w_when when;
	int kind;
	const char *name;
	bool committed; /* from here on the new one goes on */
} moments[] = {
	{W_AT_TELL, PH_W_HANDOVER_START, "tell handover_start", false},
	{W_AT_TELL, PH_W_HANDOVER, "tell handover", false},
	{W_AT_JOURNAL, PH_RECORD_FINAL, "write final", false},
	{W_AT_SYNC, PH_RECORD_FINAL, "sync final", false},
	{W_AT_TELL, PH_W_STATE_END, "tell state_end", false},
	{W_AT_JOURNAL, PH_RECORD_PREPARED, "write prepared", false},
	{W_AT_SYNC, PH_RECORD_PREPARED, "sync prepared", false},
	{W_AT_JOURNAL, PH_RECORD_COMMIT, "write commit", false},
	{W_AT_SYNC, PH_RECORD_COMMIT, "sync commit", true},
	{W_AT_JOURNAL, PH_RECORD_ACTIVE, "write active", true},
	{W_AT_SYNC, PH_RECORD_ACTIVE, "sync active", true},
	{W_AT_TELL, PH_W_ACTIVATE, "tell activate", true},
	{W_AT_JOURNAL, PH_RECORD_DONE, "write done", true},
	{W_AT_SYNC, PH_RECORD_DONE, "sync done", true},
	{W_AT_TELL, PH_W_COMMITTED, "tell committed", true},
	{W_AT_TELL, PH_W_STOP, "tell stop", true},
};
#define ACTIVATED 11
#define MOMENTS ((int)(sizeof moments / sizeof moments[0]))

static struct w_proc *old;
static unsigned owner;

static struct world *begin(int variant, int no)
{
	struct world *w = w_new(variant & CLUSTER ? 2 : 1);
	struct w_def *def = w_def(w, "room", "1");
	w_trace_if(w, no * VARIANTS + variant);
	def->traits.caps |= variant & ROUNDS ? PH_CAP_ROUNDS : 0;
	def->spec.local = variant & LOCAL;
	w_declare(w, 0, def);
	if ((variant & CLUSTER) && !(variant & LOCAL))
		w_declare(w, 1, def);
	w_start_all(w);
	old = w_only(w, "room", 0);
	old->value = VALUE;
	owner = old->node;
	return w;
}

/* A program without the protocol. */
static struct world *begin_plain(enum ph_ready_kind ready)
{
	struct world *w = w_new(1);
	struct w_def *def = w_def(w, "room", "1");
	def->traits = (struct w_traits){.notify = ready == PH_READY_NOTIFY};
	def->spec.ready = ready;
	w->double_allowed = true;
	w_declare(w, 0, def);
	w_start_all(w);
	owner = 0;
	old = w_only(w, "room", 0);
	w_run(w, 3000);
	return w;
}

static void swap(struct world *w)
{
	w_order(w, owner, PH_VERB_SWAP, "room", NULL, NULL);
}

static const struct ph_slot *slot_of(struct world *w)
{
	const struct ph_hub *hub = w->nodes[owner].hub;
	struct ph_key key = {.child = ph_name_of("room")};
	const struct ph_slot *slot = ph_slot_find(hub, &key, &hub->set.node);
	return slot ? slot : ph_slot_find(hub, &key, NULL);
}

/* One is left, it serves, and nothing of the swap is kept. */
static struct w_proc *one_left(struct world *w)
{
	struct w_proc *p = w_only(w, "room", 0);
	const struct ph_slot *slot = slot_of(w);
	ck_assert_uint_eq(p->node, owner);
	ck_assert_uint_eq(slot->entry.pid, p->pid);
	ck_assert_int_eq(slot->entry.state, PH_CHILD_RUNNING);
	ck_assert_uint_eq(slot->entry.epoch, p->epoch);
	ck_assert_msg(!w->late_words, "a worker is spoken to after its reap");
	ck_assert_uint_eq(w->nodes[owner].bugs, 0);
	w_one_outcome(w);
	w_no_leftovers(w);
	return p;
}

static enum ph_result result_of(const struct world *w)
{
	const struct ph_history *h = w->nodes[owner].hub->history;
	ck_assert_ptr_nonnull(h);
	ck_assert_str_eq(h->info.from.s, w->nodes[owner].name.s);
	ck_assert_str_eq(h->info.to.s, h->info.from.s);
	return h->info.result;
}

START_TEST(state_goes_along)
{
	struct world *w = begin(_i, 0);
	uint64_t epoch = old->epoch;
	swap(w);
	w_run(w, 20000);
	struct w_proc *p = one_left(w);
	ck_assert_ptr_ne(p, old);
	ck_assert_uint_eq(p->value, VALUE);
	ck_assert_uint_gt(p->epoch, epoch);
	ck_assert_uint_eq(ph_epoch_counter(p->epoch), ph_epoch_counter(epoch) + 1);
	ck_assert_int_eq(w->nodes[owner].answer.error, 0);
	ck_assert_uint_eq(w->nodes[owner].emitted[PH_EMIT_CHILD_MIGRATED], 1);
	ck_assert_int_eq(result_of(w), PH_RESULT_DONE);
	w_free(w);
}
END_TEST

/* The old one redirects its clients as soon as the new one is ready, and not before. */
START_TEST(told_when_the_new_one_is_ready)
{
	struct world *w = begin(_i, 0);
	w->defs[0].traits.never_ready = true;
	swap(w);
	w_run(w, 2000);
	ck_assert(ph_id_none(&old->committed_id));
	w->defs[0].traits.never_ready = false;
	w_ready(w, &w->procs[w->n_procs - 1]);
	w_run(w, 10);
	ck_assert(!ph_id_none(&old->committed_id));
	w_run(w, 20000);
	ck_assert_ptr_ne(one_left(w), old);
	w_free(w);
}
END_TEST

static struct w_proc *fresh_of(struct world *w)
{
	for (size_t i = w->n_procs; i-- > 0;)
		if (w->procs[i].alive && &w->procs[i] != old)
			return &w->procs[i];
	return NULL;
}

static void crash(struct world *w)
{
	w_crash(w, owner);
}

/* kill -9 of the daemon right after each step: the old one goes on, or the new one. */
START_TEST(a_crash_at_each_moment)
{
	int no = _i / VARIANTS;
	struct world *w = begin(_i % VARIANTS, no);
	w->when = moments[no].when;
	w->when_kind = moments[no].kind;
	w->when_node = owner;
	w->deed = crash;
	swap(w);
	for (int i = 0; i < 200 && !w->done; i++)
		w_run(w, 100);
	ck_assert_msg(w->done, "the moment '%s' never came", moments[no].name);
	w_run(w, 300);
	w_start(w, owner);
	w_run(w, 90000);
	struct w_proc *p = one_left(w);
	ck_assert_uint_eq(p->value, VALUE);
	ck_assert_msg((p != old) == moments[no].committed, "at '%s' the %s one is left",
		moments[no].name, p == old ? "old" : "new");
	w_free(w);
}
END_TEST

/*
 * The same with a state file that was written before the swap, as it is up to 100 ms old: what it
 * misses is found by its environment, where every new one of a handover has the role standby.
 */
START_TEST(a_crash_with_an_old_state_file)
{
	int no = _i / VARIANTS;
	struct world *w = begin(_i % VARIANTS, no);
	w->when = moments[no].when;
	w->when_kind = moments[no].kind;
	w->when_node = owner;
	w->deed = crash;
	w_save(w, owner);
	w->nodes[owner].stale = true;
	swap(w);
	for (int i = 0; i < 200 && !w->done; i++)
		w_run(w, 100);
	ck_assert_msg(w->done, "the moment '%s' never came", moments[no].name);
	w_run(w, 300);
	w_start(w, owner);
	w_run(w, 90000);
	struct w_proc *p = one_left(w);
	ck_assert_uint_eq(p->value, VALUE);
	ck_assert_msg((p != old) == moments[no].committed, "at '%s' the %s one is left",
		moments[no].name, p == old ? "old" : "new");
	w_free(w);
}
END_TEST

/* ... and the swap is over: no record of it is left but those that the id was dropped after. */
START_TEST(a_crash_after_all_with_an_old_state_file)
{
	enum {
		PLAIN = 2,
		LATER = 1
	};
	struct world *w = _i & PLAIN ? begin_plain(PH_READY_NOTIFY) : begin(_i & CLUSTER, 0);
	struct w_proc *fresh = NULL;
	old->def->traits.handles = true;
	w->nodes[owner].stale = !(_i & LATER);
	w_save(w, owner);
	swap(w);
	for (int i = 0; i < 30000 && (!fresh || old->alive); i++) {
		w_run(w, 1);
		if (!fresh && (fresh = fresh_of(w)) && (_i & LATER)) {
			w_save(w, owner); /* both are there, and in a migration */
			w->nodes[owner].stale = true;
		}
	}
	ck_assert_ptr_nonnull(fresh);
	w_run(w, 100);
	w_crash(w, owner);
	w_run(w, 300);
	w_start(w, owner);
	w_run(w, 20000);
	ck_assert_ptr_eq(one_left(w), fresh);
	w_free(w);
}
END_TEST

static void never_less(struct world *w, uint64_t *top, int ms)
{
	for (int i = 0; i < ms; i++) {
		w_run(w, 1);
		ck_assert_uint_ge(old->epoch, *top);
		*top = old->epoch;
	}
}

/*
 * The next daemon has the old one go on, above the epoch that was asked for the new one, and is
 * killed in its turn before the state file has that: no worker hears of a lower epoch than it had,
 * and none is given to two.
 */
START_TEST(a_second_crash_with_an_old_state_file)
{
	int no = _i / VARIANTS;
	struct world *w = begin(_i % VARIANTS, no);
	uint64_t top = old->epoch;
	w->when = moments[no].when;
	w->when_kind = moments[no].kind;
	w->when_node = owner;
	w->deed = crash;
	swap(w);
	for (int i = 0; i < 200 && !w->done; i++)
		w_run(w, 100);
	w_run(w, 300);
	w_start(w, owner);
	w_save(w, owner);
	w->nodes[owner].stale = true;
	for (int i = 0; i < 5000 && old->epoch == top; i++)
		w_run(w, 1);
	if (!moments[no].committed) {
		never_less(w, &top, 1 + 40 * (_i % 2));
		w_crash(w, owner);
		w_run(w, 300);
		w_start(w, owner);
		never_less(w, &top, 5000);
		swap(w);
		w_run(w, 30000);
		ck_assert_uint_gt(one_left(w)->epoch, top);
	}
	w_free(w);
}
END_TEST

static void kill_fresh(struct world *w)
{
	w_kill(w, fresh_of(w));
}

/* The new one dies: before it was ready the old one goes on, with all that it has. */
START_TEST(the_new_one_dies_at_each_moment)
{
	int no = _i / VARIANTS;
	struct world *w = begin(_i % VARIANTS, no);
	w->when = moments[no].when;
	w->when_kind = moments[no].kind;
	w->when_node = owner;
	w->deed = kill_fresh;
	swap(w);
	w_run(w, 90000);
	ck_assert_msg(w->done, "the moment '%s' never came", moments[no].name);
	struct w_proc *p = one_left(w);
	if (no < ACTIVATED) /* from then on it has said `ready`, and is restarted by its policy */
		ck_assert_msg(p == old && p->value == VALUE, "at '%s' what the old one had is lost",
			moments[no].name);
	w_free(w);
}
END_TEST

static void kill_old(struct world *w)
{
	w_kill(w, old);
}

/* The old one dies: from `prepared` on the new one has all of it. */
START_TEST(the_old_one_dies_at_each_moment)
{
	int no = _i / VARIANTS;
	struct world *w = begin(_i % VARIANTS, no);
	w->when = moments[no].when;
	w->when_kind = moments[no].kind;
	w->when_node = owner;
	w->deed = kill_old;
	swap(w);
	w_run(w, 90000);
	ck_assert_msg(w->done, "the moment '%s' never came", moments[no].name);
	struct w_proc *p = one_left(w);
	ck_assert_ptr_ne(p, old);
	if (no >= 5)
		ck_assert_msg(p->value == VALUE, "at '%s' the state is lost", moments[no].name);
	w_free(w);
}
END_TEST

static void cancel(struct world *w)
{
	const struct ph_history *h = w->nodes[owner].hub->history;
	struct ph_command *c = w_alloc(w, sizeof *c);
	*c = (struct ph_command){
		.ticket = 78, .verb = PH_VERB_CANCEL, .id = h->info.id, .id_digits = 32};
	w_push(w, owner, PH_EV_COMMAND)->command = c;
}

START_TEST(cancelled_at_each_moment)
{
	int no = _i / VARIANTS;
	struct world *w = begin(_i % VARIANTS, no);
	w->when = moments[no].when;
	w->when_kind = moments[no].kind;
	w->when_node = owner;
	w->deed = cancel;
	swap(w);
	w_run(w, 90000);
	struct w_proc *p = one_left(w);
	ck_assert_uint_eq(p->value, VALUE);
	if (no < 6 || no > 7) /* between them the order comes too late, or does not */
		ck_assert_msg((p == old) == (no < 6), "at '%s' the %s one is left",
			moments[no].name, p == old ? "old" : "new");
	w_free(w);
}
END_TEST

static void reload(struct world *w, const struct w_def *def)
{
	for (unsigned i = 0; i < w->n_nodes; i++) {
		if (w->nodes[i].n_specs)
			w->nodes[i].specs[0] = def;
		w_configure(w, i);
	}
	w_drain(w);
}

/* A text that needs a new process: the worker is replaced, and loses nothing. */
START_TEST(a_changed_text)
{
	struct world *w = begin(_i, 0);
	struct w_def *text = w_def(w, "room", "2");
	text->spec.local = w->defs[0].spec.local;
	reload(w, text);
	w_run(w, 20000);
	struct w_proc *p = one_left(w);
	ck_assert_ptr_eq(p->def, text);
	ck_assert_uint_eq(p->value, VALUE);
	w_free(w);
}
END_TEST

/* The file changed while no daemon was there: its hello shows that it can hand over its state. */
START_TEST(a_text_that_changed_meanwhile)
{
	bool plain = _i == VARIANTS;
	struct world *w = plain ? begin_plain(PH_READY_NOTIFY) : begin(_i, 0);
	struct w_def *text = w_def(w, "room", "2");
	text->spec.local = w->defs[0].spec.local;
	text->traits = w->defs[0].traits;
	text->spec.ready = w->defs[0].spec.ready;
	w_crash(w, owner);
	for (unsigned i = 0; i < w->n_nodes; i++)
		w->nodes[i].specs[0] = text;
	w->double_allowed = false;
	w_run(w, 300);
	w_start(w, owner);
	w_run(w, 20000);
	struct w_proc *p = one_left(w);
	ck_assert_ptr_eq(p->def, text);
	ck_assert_uint_eq(p->value, plain ? 0 : VALUE);
	w_free(w);
}
END_TEST

/* One that cannot be started: the old one goes on, and the order tells why. */
START_TEST(a_broken_text)
{
	struct world *w = begin(_i, 0);
	struct w_def *text = w_def(w, "room", "2"), *good = w_def(w, "room", "3");
	text->spec.local = good->spec.local = w->defs[0].spec.local;
	text->traits.dies_at_start = true;
	reload(w, text);
	w_run(w, 3000);
	ck_assert(old->alive);
	ck_assert(w_serves(old));
	swap(w);
	w_run(w, 20000);
	ck_assert(old->alive);
	ck_assert(w_serves(old));
	ck_assert_uint_eq(old->value, VALUE);
	ck_assert_int_ne(w->nodes[owner].answer.error, 0);
	ck_assert_str_ne(w->nodes[owner].answer.text, "");
	reload(w, good); /* what is mended counts at once */
	w_run(w, 20000);
	struct w_proc *p = one_left(w);
	ck_assert_ptr_eq(p->def, good);
	ck_assert_uint_eq(p->value, VALUE);
	w_free(w);
}
END_TEST

/* Without the protocol the new one is started first; without readiness it has to live a while. */
START_TEST(by_overlap)
{
	bool none = _i & 1, dies = _i & 2;
	struct world *w = begin_plain(none ? PH_READY_NONE : PH_READY_NOTIFY);
	swap(w);
	w_run(w, none ? 3000 : 100);
	struct w_proc *fresh = fresh_of(w);
	ck_assert_ptr_nonnull(fresh);
	ck_assert(old->alive);
	if (dies) {
		w_kill(w, fresh);
		w->defs[0].traits.dies_at_start = none;
	}
	w_run(w, 20000);
	struct w_proc *p = one_left(w);
	if (dies && none)
		ck_assert_ptr_eq(p, old);
	else
		ck_assert_ptr_ne(p, old);
	w_free(w);
}
END_TEST

/* The old one goes on, and the order tells what was wrong. */
START_TEST(one_that_is_never_ready)
{
	struct world *w = w_new(1);
	struct w_def *def = w_def(w, "room", "1");
	def->traits = (struct w_traits){.notify = true};
	def->spec.ready = PH_READY_NOTIFY;
	w_declare(w, 0, def);
	w_start_all(w);
	owner = 0;
	old = w_only(w, "room", 0);
	w_run(w, 3000);
	def->traits.never_ready = true;
	swap(w);
	w_run(w, 20000);
	ck_assert_ptr_eq(one_left(w), old);
	ck_assert_ptr_nonnull(strstr(w->nodes[0].answer.text,
		"the new worker: it was not ready within its start_timeout of 10000 ms"));
	w_free(w);
}
END_TEST

static const struct {
	bool strategy_none, must, stopped, draining;
	const char *text;
} objections[] = {
	{true, false, false, false, "its migration.strategy is none"},
	{false, true, false, false,
		"its worker cannot hand over its state, and migration.handover is true"},
	{false, false, true, false, "it is not running"},
	{false, false, false, true, "this node is being drained"},
};

START_TEST(what_cannot_be_swapped)
{
	struct world *w = w_new(1);
	struct w_def *def = w_def(w, "room", "1");
	def->spec.swap = !objections[_i].strategy_none;
	if (objections[_i].must) {
		def->spec.handover = PH_HANDOVER_YES;
		def->traits.caps = 0;
	}
	w_declare(w, 0, def);
	w_start_all(w);
	owner = 0;
	if (objections[_i].stopped)
		w_order(w, 0, PH_VERB_STOP, "room", NULL, NULL);
	if (objections[_i].draining)
		w_order(w, 0, PH_VERB_DRAIN, NULL, NULL, NULL);
	w_run(w, 8000);
	swap(w);
	w_run(w, 30000);
	ck_assert_int_ne(w->nodes[0].answer.error, 0);
	ck_assert_str_eq(w->nodes[0].answer.text, objections[_i].text);
	w_free(w);
}
END_TEST

/* Two orders before the first has begun are one; one while it runs is carried out after it. */
START_TEST(ordered_again)
{
	struct world *w = begin(CLUSTER, 0);
	swap(w);
	if (_i)
		w_run(w, 1000);
	swap(w);
	w_run(w, 60000);
	struct w_proc *p = one_left(w);
	ck_assert_uint_eq(p->value, VALUE);
	ck_assert_int_eq(w->nodes[owner].answer.error, 0);
	w_free(w);
}
END_TEST

/* Where migrations_max lets few of them go at once, the next one goes as soon as there is room. */
START_TEST(many_in_turn)
{
	struct world *w = w_new(1);
	w->nodes[0].migrations_max = 2;
	struct w_def *def = w_def(w, "room", "1");
	def->spec.instances = 40;
	w_declare(w, 0, def);
	w_start_all(w);
	uint64_t before = w_only(w, "room", 0)->epoch;
	w_order(w, 0, PH_VERB_SWAP, "room", NULL, NULL);
	w_run(w, 100);
	size_t n = 0;
	for (size_t i = 0; i < w->n_procs; i++)
		n += w_serves(&w->procs[i]) && w->procs[i].epoch > before;
	ck_assert_uint_eq(n, 40);
	w_run(w, 20000);
	w_no_leftovers(w);
	w_free(w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core_swap");
	W_TEST(suite, state_goes_along, VARIANTS);
	W_TEST(suite, told_when_the_new_one_is_ready, VARIANTS);
	W_TEST(suite, a_crash_at_each_moment, MOMENTS * VARIANTS);
	W_TEST(suite, a_crash_with_an_old_state_file, MOMENTS * VARIANTS);
	W_TEST(suite, a_second_crash_with_an_old_state_file, MOMENTS * VARIANTS);
	W_TEST(suite, a_crash_after_all_with_an_old_state_file, VARIANTS);
	W_TEST(suite, the_new_one_dies_at_each_moment, MOMENTS * VARIANTS);
	W_TEST(suite, the_old_one_dies_at_each_moment, MOMENTS * VARIANTS);
	W_TEST(suite, cancelled_at_each_moment, MOMENTS * VARIANTS);
	W_TEST(suite, a_changed_text, VARIANTS);
	W_TEST(suite, a_text_that_changed_meanwhile, VARIANTS + 1);
	W_TEST(suite, a_broken_text, VARIANTS);
	W_TEST(suite, by_overlap, 4);
	W_TEST(suite, one_that_is_never_ready, 1);
	W_TEST(suite, what_cannot_be_swapped, (int)(sizeof objections / sizeof objections[0]));
	W_TEST(suite, ordered_again, 2);
	W_TEST(suite, many_in_turn, 1);
	return w_main(suite);
}
