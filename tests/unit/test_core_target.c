/* A migration as its target sees it: what happens when N or B fails at each moment. */
#include "core/member.h"
#include "core/target.h"
#include "core_handover.h"
#include "core_puppet.h"

/* ---- every state × input ---- */

#define EPOCH ph_epoch_make(7, 2)

static const struct w_def *make_plain(struct world *w)
{
	struct w_def *def = w_def(w, "room", "1");
	def->spec.ready = PH_READY_NONE;
	def->traits = (struct w_traits){0};
	return def;
}

static struct ph_bmsg *from_source(struct world *w, enum ph_bkind kind)
{
	struct ph_bmsg *msg = p_msg(w, 1, kind);
	msg->id.b[3] = 9;
	msg->key.child = ph_name_of("room");
	msg->epoch = kind == PH_B_PREPARE ? EPOCH : ph_epoch_make(8, 2);
	msg->seen = ph_epoch_make(8, 2);
	msg->journal = w->nodes[0].journal;
	return msg;
}

static struct ph_spec_line *the_spec(struct world *w)
{
	struct ph_spec_line *line = w_alloc(w, sizeof *line);
	line->child = ph_name_of("room");
	line->revision = ph_epoch_make(1, 2);
	line->text = w->defs[0].text;
	line->spec = &w->defs[0].spec;
	return line;
}

static void owned_by_source(struct world *w)
{
	struct ph_entry *entry = w_alloc(w, sizeof *entry);
	*entry = (struct ph_entry){.key = {.child = ph_name_of("room")},
		.node = w_name(1),
		.epoch = EPOCH,
		.version = 1,
		.state = PH_CHILD_RUNNING,
		.ready = true,
		.role = PH_ROLE_ACTIVE};
	struct ph_bmsg *msg = p_msg(w, 1, PH_B_REGISTRY);
	msg->entries = entry;
	msg->n_entries = 1;
	msg->until = 1;
	msg->last = true;
	struct ph_bmsg *spec = p_msg(w, 1, PH_B_SPEC);
	spec->specs = the_spec(w);
	spec->n_specs = 1;
}

static void begin(struct world *w, bool overlap)
{
	owned_by_source(w);
	struct ph_bmsg *msg = from_source(w, PH_B_PREPARE);
	msg->specs = the_spec(w);
	msg->n_specs = 1;
	msg->overlap = overlap;
	w->defs[0].traits.mute_hello = true;
	w_drain(w);
}

/* A says that 10 bytes with digest 5 have left; so much has arrived here. */
static struct ph_id arrive(struct world *w, uint64_t bytes, uint64_t digest)
{
	struct ph_stream_report *report = w_alloc(w, sizeof *report);
	struct ph_bmsg *end = from_source(w, PH_B_ROUND_END);
	end->final = true;
	end->bytes = 10;
	end->digest = 5;
	*report = (struct ph_stream_report){.id = end->id, .bytes = bytes, .digest = digest};
	w_push(w, 0, PH_EV_STREAM_ROUND)->stream = report;
	return end->id;
}

static void load(struct world *w)
{
	struct w_proc *fresh = &w->procs[0];
	fresh->id = arrive(w, 10, 5);
	w_say(w, fresh, PH_W_HANDOVER_LOADED)->bytes = 10;
}

/* Leads on from `state` to the next of the good case. */
static void lead_on(struct world *w, enum ph_target_state state)
{
	switch ((int)state) {
	case PH_TARGET_STARTING:
		w_hello(w, &w->procs[0]);
		break;
	case PH_TARGET_LOADING:
		load(w);
		break;
	case PH_TARGET_PREPARED:
		(void)from_source(w, PH_B_COMMIT);
		break;
	case PH_TARGET_PREPARING:
	case PH_TARGET_ACTIVATING:
	case PH_TARGET_REFUSING:
		w_sync_all(w, 0);
		break;
	case PH_TARGET_ACTIVE:
		w_kill(w, &w->procs[0]);
		break;
	case PH_TARGET_DROPPING:
		w_kill(w, &w->procs[0]);
		break;
	default:
		ck_abort_msg("nothing follows state %d", (int)state);
	}
	w_drain(w);
}

static struct ph_target *reach(struct world *w, enum ph_target_state state)
{
	bool refused = state >= PH_TARGET_DROPPING;
	begin(w, state == PH_TARGET_SETTLING);
	struct ph_target *t = w->nodes[0].hub->targets;
	ck_assert_ptr_nonnull(t);
	enum ph_target_state until = refused			   ? PH_TARGET_LOADING
				     : state == PH_TARGET_CLAIMING ? PH_TARGET_PREPARED
								   : state;
	while (t->state != until)
		lead_on(w, t->state);
	if (state == PH_TARGET_CLAIMING) {
		p_dead(w, 1);
		p_begin(w);
		ph_target_step(w->nodes[0].hub, t, PH_TARGET_IN_A_DEAD);
		p_end(w);
	}
	if (refused) {
		w->defs[0].traits.deaf = true;
		(void)from_source(w, PH_B_ABORT);
		w_drain(w);
	}
	while (t->state != state)
		lead_on(w, t->state);
	return t;
}

START_TEST(every_pair_is_decided)
{
	for (int i = 0; i < PH_TARGET_INPUT_COUNT; i++)
		ck_assert_msg(ph_target_decided((enum ph_target_state)_i, (enum ph_target_input)i),
			"state %d, input %d", _i, i);
}
END_TEST

static void give(struct world *w, struct ph_target *t, enum ph_target_input in)
{
	if (in == PH_TARGET_IN_N_DEAD) {
		w_kill(w, &w->procs[0]);
		return;
	}
	if (in == PH_TARGET_IN_SYNCED || in == PH_TARGET_IN_UNSYNCED) {
		p_disk(w, in == PH_TARGET_IN_UNSYNCED);
		return;
	}
	if (in == PH_TARGET_IN_A_DEAD)
		p_dead(w, 1);
	p_begin(w);
	ph_target_step(w->nodes[0].hub, t, in);
	p_end(w);
}

/* Whatever comes, in the end, when b and c are dead, the child is served here by one worker. */
START_TEST(every_pair_is_survived)
{
	for (int i = 0; i < PH_TARGET_INPUT_COUNT; i++) {
		struct world *w = p_world(_i == PH_TARGET_SETTLING ? make_plain : w_room, false);
		w_trace_if(w, _i * 100 + i);
		struct ph_target *t = reach(w, (enum ph_target_state)_i);
		ck_assert_int_eq((int)t->state, _i);
		give(w, t, (enum ph_target_input)i);
		p_left_alone(w, 60000);
		ck_assert_msg(w_serving(w, "room", 0) && w_alive(w, 0) == 1,
			"state %d, input %d: %u processes, %s", _i, i, w_alive(w, 0),
			w_serving(w, "room", 0) ? "too many" : "none serves");
		w_free(w);
	}
}
END_TEST

/* ---- equal means equal: what was sent, what has arrived, what N has applied ---- */

static const struct {
	uint64_t bytes, digest; /* arrived */
	bool told;		/* N is told that the state is complete */
} arrivals[] = {{10, 5, true}, {9, 5, false}, {11, 5, false}, {10, 6, false}, {0, 0, false}};

static bool state_end_told;
static bool note_state_end(struct world *w, struct w_proc *p, const struct ph_wmsg *msg)
{
	(void)w, (void)p;
	state_end_told |= msg->op == PH_W_STATE_END;
	return true;
}

START_TEST(what_arrived_is_compared)
{
	struct world *w = p_world(w_room, false);
	struct ph_target *t = reach(w, PH_TARGET_LOADING);
	w->mute = note_state_end;
	state_end_told = false;
	(void)arrive(w, arrivals[_i].bytes, arrivals[_i].digest);
	w_drain(w);
	ck_assert_int_eq(state_end_told, arrivals[_i].told);
	ck_assert_int_eq(
		(int)t->state, (int)(arrivals[_i].told ? PH_TARGET_LOADING : PH_TARGET_DROPPING));
	w_free(w);
}
END_TEST

static const struct {
	uint64_t bytes;
	bool has_digest;
	uint64_t digest;
	enum ph_target_state state;
} applied[] = {{10, false, 0, PH_TARGET_PREPARING}, {10, true, 5, PH_TARGET_PREPARING},
	{9, false, 0, PH_TARGET_DROPPING}, {10, true, 6, PH_TARGET_DROPPING}};

START_TEST(what_was_applied_is_compared)
{
	struct world *w = p_world(w_room, false);
	struct ph_target *t = reach(w, PH_TARGET_LOADING);
	struct w_proc *fresh = &w->procs[0];
	fresh->id = arrive(w, 10, 5);
	struct ph_wmsg *msg = w_say(w, fresh, PH_W_HANDOVER_LOADED);
	msg->bytes = applied[_i].bytes;
	msg->has_digest = applied[_i].has_digest;
	msg->digest = applied[_i].digest;
	w_drain(w);
	ck_assert_int_eq((int)t->state, (int)applied[_i].state);
	w_free(w);
}
END_TEST

/* A is heard again while B claims on the strength of its death: that claim must not be granted. */
static void all_answer(struct world *w)
{
	struct ph_claim *claim = w_slot(w, 0, "room", 0)->work->claim;
	if (!claim)
		return;
	for (unsigned from = 1; from <= 2; from++) {
		struct ph_claim_line *line = w_alloc(w, sizeof *line);
		*line = (struct ph_claim_line){
			.key = ph_slot_key(claim->slot), .epoch = claim->epoch};
		struct ph_bmsg *msg = p_msg(w, from, PH_B_CLAIM_ANSWER);
		msg->claim = claim->number;
		msg->claims = line;
		msg->n_claims = 1;
	}
	w_run(w, 1);
}

START_TEST(a_source_that_is_heard_again)
{
	struct world *w = p_world(w_room, false);
	struct ph_target *t = reach(w, PH_TARGET_CLAIMING);
	struct ph_name name = w_name(1);
	p_begin(w);
	ph_member_step(w->nodes[0].hub, ph_member_find(w->nodes[0].hub, &name), PH_MEMBER_IN_ECHO);
	p_end(w);
	w->nodes[1].up = true;
	all_answer(w);
	all_answer(w);
	ck_assert_int_ne((int)t->state, PH_TARGET_ACTIVATING);
	w_free(w);
}
END_TEST

/* ---- what is said, and in which order ---- */

static struct { /* in the order in which it was said */
	enum ph_bkind kind;
	unsigned to;
	enum ph_wop op;
} words[64];
static size_t n_words;

static bool note_message(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)w, (void)from;
	if (n_words < 64 && msg->kind != PH_B_HEARTBEAT) {
		words[n_words].kind = msg->kind;
		words[n_words].op = PH_W_NONE;
		words[n_words++].to = to;
	}
	return true;
}

static bool note_word(struct world *w, struct w_proc *p, const struct ph_wmsg *msg)
{
	(void)w, (void)p;
	if (n_words < 64) {
		words[n_words].kind = PH_B_NONE;
		words[n_words++].op = msg->op;
	}
	return true;
}

/* The place of that word, or one that is not there fails. */
static size_t said(enum ph_bkind kind, unsigned to, enum ph_wop op)
{
	for (size_t i = 0; i < n_words; i++)
		if (words[i].kind == kind && words[i].op == op && (!kind || words[i].to == to))
			return i;
	ck_abort_msg("kind %d, op %d was not said to %u", (int)kind, (int)op, to);
	return 0;
}

/* `active` is synced: one member besides A knows of it before A does, and then N is told. */
START_TEST(who_hears_of_active)
{
	struct world *w = p_world(w_room, false);
	struct ph_target *t = reach(w, PH_TARGET_ACTIVATING);
	w->pass = note_message;
	w->mute = note_word;
	n_words = 0;
	w_run(w, 1000);
	for (size_t i = 0; i < n_words; i++) /* before the sync nobody hears of it */
		ck_assert(words[i].kind != PH_B_ACTIVE && words[i].op != PH_W_ACTIVATE);
	n_words = 0;
	w_sync_all(w, 0);
	w_drain(w);
	ck_assert_int_eq((int)t->state, PH_TARGET_ACTIVE);
	size_t other = said(PH_B_REGISTRY, 2, PH_W_NONE), a = said(PH_B_ACTIVE, 1, PH_W_NONE);
	ck_assert_uint_lt(other, a);
	ck_assert_uint_lt(a, said(PH_B_NONE, 0, PH_W_ACTIVATE));
	w_free(w);
}
END_TEST

/* A COMMIT (or ABORT) of an id that is not known here. */
static const struct {
	bool owned;	    /* the registry names this node as owner at the epoch of the claim */
	bool other_journal; /* it names another journal than this one */
	bool lost;	    /* this daemon has lost its journal */
	enum ph_bkind asked, answer;
	bool never; /* synced before that is said */
} unknown[] = {
	{false, false, false, PH_B_COMMIT, PH_B_NACK, true},
	{false, true, false, PH_B_COMMIT, PH_B_LOST, false},
	{false, false, true, PH_B_COMMIT, PH_B_LOST, false},
	{true, false, false, PH_B_COMMIT, PH_B_ACTIVE, false},
	{true, true, true, PH_B_COMMIT, PH_B_ACTIVE, false},
	{false, false, false, PH_B_ABORT, PH_B_ABORTED, true},
	{false, true, true, PH_B_ABORT, PH_B_ABORTED, true},
};

START_TEST(what_an_unknown_id_is_answered)
{
	struct world *w = p_world(w_room, false);
	struct ph_hub *hub = w->nodes[0].hub;
	owned_by_source(w);
	w_drain(w);
	w->pass = note_message;
	if (unknown[_i].owned) {
		p_begin(w);
		ph_slot_own(
			hub, w_slot(w, 0, "room", 0), ph_epoch_make(8, 2), PH_LINEAGE_CONTINUED);
		p_end(w);
	}
	hub->set.journal_lost = unknown[_i].lost;
	n_words = 0;
	struct ph_bmsg *msg = from_source(w, unknown[_i].asked);
	msg->journal.b[0] = (uint8_t)(msg->journal.b[0] + unknown[_i].other_journal);
	w_drain(w);
	for (size_t i = 0; unknown[_i].never && i < n_words; i++)
		ck_assert_int_ne((int)words[i].kind, (int)unknown[_i].answer);
	w_sync_all(w, 0);
	w_drain(w);
	(void)said(unknown[_i].answer, 1, PH_W_NONE);
	for (size_t i = 0; i < n_words; i++)
		ck_assert(words[i].kind == unknown[_i].answer || words[i].kind < PH_B_PREPARE ||
			  words[i].kind > PH_B_FORGOTTEN);
	ck_assert_int_eq(w_synced(w, 0, PH_RECORD_NEVER, &msg->id), unknown[_i].never);
	w_free(w);
}
END_TEST

/* Slots for what comes in are held until B has it all, and busy is no refusal for good. */
START_TEST(one_more_than_there_is_room_for)
{
	struct world *w = p_world(w_room, false);
	w->nodes[0].hub->set.migrations_max = 1;
	(void)reach(w, _i ? PH_TARGET_PREPARED : PH_TARGET_LOADING);
	struct ph_bmsg *msg = from_source(w, PH_B_PREPARE);
	msg->id.b[3]++;
	msg->key.instance = 1;
	msg->specs = the_spec(w);
	msg->n_specs = 1;
	w_drain(w);
	struct ph_target *t;
	HASH_FIND(hh, w->nodes[0].hub->targets, msg->id.b, sizeof msg->id.b, t);
	ck_assert_ptr_nonnull(t);
	ck_assert_int_eq((int)t->state, (int)(_i ? PH_TARGET_STARTING : PH_TARGET_REFUSING));
	ck_assert_int_eq(t->busy, !_i);
	w_free(w);
}
END_TEST

/* ---- faults at every moment of a handover ---- */

static void kill_new(struct world *w)
{
	w_kill(w, h_new_worker(w->arg));
}

/* Until it was ready it has acknowledged nothing: the old one goes on with all it has. */
START_TEST(new_worker_dies)
{
	struct h_run run = h_begin(_i, kill_new);
	h_go(&run, 60000);
	if (h_happened(&run)) {
		struct w_proc *p = h_one_left(&run);
		if (run.no < h_moment_named("tell activate"))
			ck_assert_uint_eq(p->value, VALUE);
		w_no_leftovers(run.w);
	}
	w_free(run.w);
}
END_TEST

static void crash_target(struct world *w)
{
	struct h_run *run = w->arg;
	w_crash(w, run->to);
	run->crash_to = true;
}

/* Back before anybody misses it: nothing is lost, one of the two workers is left. */
START_TEST(target_daemon_is_back_soon)
{
	bool stale = _i >= H_MOMENTS * H_VARIANTS;
	struct h_run run = h_begin(_i % (H_MOMENTS * H_VARIANTS), crash_target);
	if (stale)
		h_old_state_file(&run, run.to);
	run.w->arg = &run;
	w_order(run.w, run.from, PH_VERB_MOVE, "room", run.w->nodes[run.to].name.s, NULL);
	for (int i = 0; i < 200 && !run.crash_to; i++)
		w_run(run.w, 100);
	if (h_happened(&run)) {
		h_came_back(&run, run.to, 300, 60000);
		ck_assert_uint_eq(h_one_left(&run)->value, VALUE);
		w_no_leftovers(run.w);
	}
	w_free(run.w);
}
END_TEST

static void power_off_target(struct world *w)
{
	struct h_run *run = w->arg;
	w_power_off(w, run->to);
}

START_TEST(target_machine_dies)
{
	struct h_run run = h_begin(_i, power_off_target);
	h_go(&run, 60000);
	if (h_happened(&run)) {
		struct w_proc *p = w_only(run.w, "room", 0);
		ck_assert_uint_ne(p->node, run.to);
		if (run.no < h_moment_named("send ACTIVE"))
			ck_assert_uint_eq(p->value, VALUE);
		/* Once it was told to commit, N may have been told something that O does not know.
		 */
		bool may_lack = run.no >= h_moment_named("send PREPARED");
		const struct ph_held *e = &w_slot(run.w, run.from, "room", 0)->entry;
		const struct ph_migration_info *info = &run.w->nodes[run.from].hub->history->info;
		if (p == run.old) {
			ck_assert_int_eq((int)e->lineage,
				(int)(may_lack ? PH_LINEAGE_FROM_COPY : PH_LINEAGE_CONTINUED));
			ck_assert_int_eq(info->result == PH_RESULT_TARGET_DEAD, may_lack);
			ck_assert_uint_eq(e->epoch, run.old->epoch);
		}
		w_agree(run.w, "room", 0, p->node);
	}
	w_free(run.w);
}
END_TEST

/* With the new worker the record is lost that it was active: its node asks for one from the spec,
 * and the old one, which has everything, goes on instead. */
START_TEST(target_has_lost_all)
{
	int no = h_moment_named(_i & 1 ? "tell activate" : "send ACTIVE");
	struct h_run run = h_begin(no * H_VARIANTS + _i / 2, power_off_target);
	h_go(&run, 0);
	while (!run.w->done)
		w_run(run.w, 10);
	struct w_node *n = &run.w->nodes[run.to];
	n->n_records = 0;
	n->journal.b[15]++;
	h_came_back(&run, run.to, 1000, 60000);
	ck_assert_uint_eq(h_one_left(&run)->value, VALUE);
	w_no_leftovers(run.w);
	w_free(run.w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core_target");
	W_TEST(suite, every_pair_is_decided, PH_TARGET_STATE_COUNT);
	W_TEST(suite, every_pair_is_survived, PH_TARGET_STATE_COUNT);
	W_TEST(suite, a_source_that_is_heard_again, 1);
	W_TEST(suite, what_arrived_is_compared, 5);
	W_TEST(suite, what_was_applied_is_compared, 4);
	W_TEST(suite, who_hears_of_active, 1);
	W_TEST(suite, what_an_unknown_id_is_answered, (int)(sizeof unknown / sizeof unknown[0]));
	W_TEST(suite, one_more_than_there_is_room_for, 2);
	int n = H_MOMENTS * H_VARIANTS;
	W_TEST(suite, new_worker_dies, n);
	W_TEST(suite, target_daemon_is_back_soon, 2 * n);
	W_TEST(suite, target_machine_dies, n);
	W_TEST(suite, target_has_lost_all, 2 * H_VARIANTS);
	return w_main(suite);
}
