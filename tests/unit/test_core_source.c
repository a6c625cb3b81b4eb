/* A migration as its source sees it: what happens when O or A fails at each moment. */
#include "core/order.h"
#include "core/source.h"
#include "core_handover.h"
#include "core_puppet.h"

/* ---- every state × input ---- */

static const struct w_def *make(struct world *w)
{
	struct w_def *def = w_def(w, "room", "1");
	def->spec.nodes = "a";
	def->traits.caps |= PH_CAP_ASK | PH_CAP_ROUNDS;
	return def;
}

static struct ph_bmsg *from_target(struct world *w, enum ph_bkind kind)
{
	struct ph_source *s = w_slot(w, 0, "room", 0)->work->source;
	struct ph_bmsg *msg = p_msg(w, 1, kind);
	ck_assert_ptr_nonnull(s);
	msg->id = s->id;
	msg->key = ph_slot_key(s->slot);
	msg->epoch = s->new_epoch;
	msg->round = s->round;
	return msg;
}

static void round_is_over(struct world *w, uint32_t round)
{
	struct w_proc *old = &w->procs[0];
	struct ph_stream_report *report = w_alloc(w, sizeof *report);
	*report = (struct ph_stream_report){.id = old->id, .round = round, .bytes = 10};
	old->round = round;
	struct ph_wmsg *end = w_say(w, old, PH_W_STATE_END);
	end->bytes = 10;
	end->final = round == 1;
	w_push(w, 0, PH_EV_STREAM_ROUND)->stream = report;
}

static void other_grants(struct world *w)
{
	struct ph_claim *claim = w_slot(w, 0, "room", 0)->work->claim;
	struct ph_claim_line *line = w_alloc(w, sizeof *line);
	ck_assert_ptr_nonnull(claim);
	*line = (struct ph_claim_line){.key = ph_slot_key(claim->slot), .epoch = claim->epoch};
	struct ph_bmsg *msg = p_msg(w, 2, PH_B_CLAIM_ANSWER);
	msg->claim = claim->number;
	msg->claims = line;
	msg->n_claims = 1;
}

static void new_one_is_ready(struct world *w)
{
	const struct ph_source *s = w_slot(w, 0, "room", 0)->work->source;
	struct ph_entry *e = w_alloc(w, sizeof *e);
	*e = (struct ph_entry){.key = ph_slot_key(s->slot),
		.node = w_name(1),
		.epoch = s->new_epoch,
		.version = 1,
		.state = PH_CHILD_RUNNING,
		.ready = true};
	struct ph_bmsg *msg = p_msg(w, 1, PH_B_REGISTRY);
	msg->entries = e;
	msg->n_entries = 1;
	msg->last = true;
	msg->until = 1;
}

/* Leads on from `state` to the next of the good case. */
static void lead_on(struct world *w, enum ph_source_state state)
{
	struct w_proc *old = &w->procs[0];
	switch ((int)state) {
	case PH_SOURCE_ASKING:
		old->id = w_slot(w, 0, "room", 0)->work->source->id;
		(void)w_say(w, old, PH_W_HANDOVER_ACCEPT);
		break;
	case PH_SOURCE_PREPARING:
		(void)from_target(w, PH_B_READY);
		break;
	case PH_SOURCE_COPYING:
		(void)w_say(w, old, PH_W_HANDOVER_ACCEPT);
		round_is_over(w, 0);
		w_drain(w);
		(void)from_target(w, PH_B_LOADED);
		break;
	case PH_SOURCE_FREEZING:
		w_sync_all(w, 0);
		round_is_over(w, 1);
		break;
	case PH_SOURCE_CONFIRMING:
		from_target(w, PH_B_PREPARED)->seen = 1;
		break;
	case PH_SOURCE_CLAIMING:
		other_grants(w);
		break;
	case PH_SOURCE_COMMITTED:
		(void)from_target(w, PH_B_ACTIVE);
		break;
	case PH_SOURCE_COMMITTING:
	case PH_SOURCE_FINISHING:
		w_sync_all(w, 0);
		break;
	case PH_SOURCE_RETAINING:
		new_one_is_ready(w);
		old->def->traits.deaf = true;
		(void)w_say(w, old, PH_W_RETENTION_HANDLED);
		for (int i = 0; i < 100 && w->nodes[0].hub->sources->state == state; i++)
			w_run(w, 200);
		break;
	default:
		ck_abort_msg("nothing follows state %d", (int)state);
	}
	w_drain(w);
}

static struct ph_source *reach(struct world *w, enum ph_source_state state)
{
	static const enum ph_source_state before[PH_SOURCE_STATE_COUNT] = {
		[PH_SOURCE_ABORTING] = PH_SOURCE_CONFIRMING,
		[PH_SOURCE_VOIDING] = PH_SOURCE_CONFIRMING,
		[PH_SOURCE_RECLAIMING] = PH_SOURCE_COMMITTED,
		[PH_SOURCE_ENDED] = PH_SOURCE_CONFIRMING,
	};
	enum ph_source_state until = state > PH_SOURCE_STOPPING ? before[state] : state;
	w_order(w, 0, PH_VERB_MOVE, "room", "b", &(struct ph_command){.force = true});
	w_run(w, 0);
	struct ph_source *s = w_slot(w, 0, "room", 0)->work->source;
	ck_assert_ptr_nonnull(s);
	while (s->state != until) {
		enum ph_source_state was = s->state;
		lead_on(w, was);
		ck_assert_int_eq(s->state, was + 1);
	}
	if (state == PH_SOURCE_RECLAIMING)
		(void)from_target(w, PH_B_NACK);
	w_drain(w);
	if (until != PH_SOURCE_CONFIRMING || state == until)
		return s;
	p_begin(w);
	ph_source_step(w->nodes[0].hub, s, PH_SOURCE_IN_CANCEL);
	p_end(w);
	if (state == PH_SOURCE_ENDED)
		(void)from_target(w, PH_B_ABORTED);
	w_run(w, state == PH_SOURCE_VOIDING ? PH_ABORT_WAIT_MS : 0);
	return s;
}

START_TEST(every_pair_is_decided)
{
	for (int i = 0; i < PH_SOURCE_INPUT_COUNT; i++)
		ck_assert_msg(ph_source_decided((enum ph_source_state)_i, (enum ph_source_input)i),
			"state %d, input %d", _i, i);
}
END_TEST

static void give(struct world *w, struct ph_source *s, enum ph_source_input in)
{
	if (in == PH_SOURCE_IN_O_DEAD) {
		w_kill(w, &w->procs[0]);
	} else if (in == PH_SOURCE_IN_SYNCED || in == PH_SOURCE_IN_UNSYNCED) {
		p_disk(w, in == PH_SOURCE_IN_UNSYNCED);
	} else {
		if (in == PH_SOURCE_IN_B_DEAD)
			p_dead(w, 1);
		p_begin(w);
		if (in == PH_SOURCE_IN_GRANTED && s->slot->work->claim) {
			s->new_epoch = s->slot->work->claim->epoch;
			ph_claim_drop(w->nodes[0].hub, s->slot->work->claim);
		}
		ph_source_step(w->nodes[0].hub, s, in);
		p_end(w);
	}
}

/* Whatever comes, the worker that is left in the end is one that serves. */
START_TEST(every_pair_is_survived)
{
	for (int i = 0; i < PH_SOURCE_INPUT_COUNT; i++) {
		struct world *w = p_world(make, true);
		w_trace_if(w, _i * 100 + i);
		struct ph_source *s = reach(w, (enum ph_source_state)_i);
		ck_assert_int_eq((int)s->state, _i);
		give(w, s, (enum ph_source_input)i);
		p_left_alone(w, 60000);
		struct ph_hub_counts counts;
		ph_hub_count(w->nodes[0].hub, &counts);
		ck_assert_msg(w_serving(w, "room", 0) && w_alive(w, 0) == 1,
			"state %d, input %d: %u processes, %s", _i, i, w_alive(w, 0),
			w_serving(w, "room", 0) ? "too many" : "none serves");
		ck_assert_uint_eq(counts.claims, 0);
		w_free(w);
	}
}
END_TEST

/* Before `commit` is being written O goes on; from then on it is refused, and changes nothing. */
START_TEST(an_operator_cancels)
{
	enum ph_source_state state = (enum ph_source_state)_i;
	bool early = state<PH_SOURCE_COMMITTING, back = state> PH_SOURCE_STOPPING;
	struct world *w = p_world(make, true);
	w_trace_if(w, _i);
	struct ph_source *s = reach(w, state);
	const struct ph_command c = {.id = s->id, .id_digits = 32, .no_wait = true};
	uint32_t pid = w->procs[0].pid;
	struct ph_id id = s->id;
	w->mute = NULL; /* O answers `resume` */
	w_order(w, 0, PH_VERB_CANCEL, NULL, NULL, &c);
	ck_assert_uint_eq(w->nodes[0].answers, 1);
	if (early || (back && state != PH_SOURCE_ENDED)) {
		ck_assert_int_eq(w->nodes[0].answer.error, 0);
	} else {
		ck_assert_int_eq(w->nodes[0].answer.error, EBUSY);
		ck_assert_str_ne(w->nodes[0].answer.text, "");
		HASH_FIND(hh, w->nodes[0].hub->sources, id.b, sizeof id.b, s);
		ck_assert(s && (int)s->state == _i);
	}
	p_left_alone(w, 60000);
	ck_assert(w_serving(w, "room", 0) && w_alive(w, 0) == 1);
	const struct ph_history *h = ph_history_of(w->nodes[0].hub, &id);
	if (early) {
		ck_assert(w->procs[0].alive && w->procs[0].pid == pid);
		ck_assert_int_eq((int)h->info.result, PH_RESULT_ABORTED);
		ck_assert_str_eq(h->info.reason, PH_CANCELLED);
	}
	w_free(w);
}
END_TEST

static unsigned resumes;
static bool note_resume(struct world *w, struct w_proc *p, const struct ph_wmsg *msg)
{
	(void)w, (void)p;
	resumes += msg->op == PH_W_RESUME;
	return true;
}

/* While the end of the last delta has not left O goes on at once; then B's word is waited for. */
START_TEST(an_abort_waits_for_nothing_that_has_not_left)
{
	enum ph_source_state state = (enum ph_source_state)_i;
	struct world *w = p_world(make, true);
	struct ph_source *s = reach(w, state);
	bool told = state == PH_SOURCE_COPYING || state == PH_SOURCE_FREEZING;
	bool waits = state == PH_SOURCE_CONFIRMING;
	w->mute = note_resume;
	resumes = 0;
	p_begin(w);
	ph_source_step(w->nodes[0].hub, s, PH_SOURCE_IN_CANCEL);
	p_end(w);
	ck_assert_uint_eq(resumes, told);
	if (waits)
		(void)from_target(w, PH_B_ABORTED);
	ck_assert_int_eq(w_slot(w, 0, "room", 0)->work->source != NULL, waits);
	w_drain(w);
	ck_assert_uint_eq(resumes, told || waits);
	w_free(w);
}
END_TEST

/*
 * O ends when it has said its last word, and what it wrote is on its way still: that may be all
 * that there is, and the handover goes on. 1: its word comes, and less than it said: it is aborted.
 */
START_TEST(it_ends_behind_its_last_word)
{
	struct world *w = p_world(make, true);
	struct ph_source *s = reach(w, PH_SOURCE_FREEZING);
	struct w_proc *old = &w->procs[0];
	w_sync_all(w, 0);
	old->round = 1;
	struct ph_wmsg *end = w_say(w, old, PH_W_STATE_END);
	end->bytes = 10;
	end->final = true;
	w_drain(w);
	w_kill(w, old);
	w_drain(w);
	ck_assert_int_eq((int)s->state, PH_SOURCE_FREEZING);
	ck_assert_ptr_null(s->old);
	struct ph_stream_report *report = w_alloc(w, sizeof *report);
	*report = (struct ph_stream_report){.id = s->id, .round = 1, .bytes = _i ? 9 : 10};
	w_push(w, 0, PH_EV_STREAM_ROUND)->stream = report;
	w_drain(w);
	if (!_i)
		ck_assert_int_eq((int)s->state, PH_SOURCE_CONFIRMING);
	ck_assert_uint_eq(w->n_procs, 1); /* nothing begins from the spec */
	p_left_alone(w, 60000);
	ck_assert(w_serving(w, "room", 0) && w_alive(w, 0) == 1);
	w_free(w);
}
END_TEST

/* O is no more, without a word to the migration: nothing is left of it, or what was stopped. */
static void without_old(struct world *w, struct ph_source *s, bool stopped)
{
	struct ph_instance *old = s->old;
	if (!old)
		return;
	s->old = NULL;
	old->source = NULL;
	old->after = stopped ? PH_AFTER_STOPPED : PH_AFTER_DISCARD;
	s->slot->wish_stopped = stopped;
	w_kill(w, &w->procs[0]);
	w_drain(w);
	ck_assert_uint_eq(w_alive(w, 0), 0);
}

/* Whatever is ordered while it is undecided who has the child, nothing is started here. */
START_TEST(an_order_starts_nothing_meanwhile)
{
	static const enum ph_verb verbs[] = {
		PH_VERB_START, PH_VERB_RESTART, PH_VERB_STOP, PH_VERB_MOVE};
	enum ph_source_state state = (enum ph_source_state)(_i / 2);
	bool decided = state == PH_SOURCE_RETAINING || state == PH_SOURCE_STOPPING ||
		       state == PH_SOURCE_ENDED;
	for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
		struct world *w = p_world(make, true);
		struct ph_source *s = reach(w, state);
		struct ph_slot *slot = s->slot;
		char why[PH_REASON_SIZE] = "";
		struct ph_name to = w_name(2);
		struct ph_id id = {{0}};
		without_old(w, s, _i % 2);
		ck_assert_int_eq(ph_migration_decides(slot), !decided);
		size_t procs = w->n_procs;
		p_begin(w);
		(void)ph_order_carry_out(w->nodes[0].hub, slot, verbs[i], &to, false, &id, why);
		p_end(w);
		p_disk(w, false);
		ck_assert_msg(decided || (!slot->starting && w->n_procs == procs),
			"state %d, verb %d: it was started", (int)state, (int)verbs[i]);
		w_free(w);
	}
}
END_TEST

/*
 * A member is silent when the claim for B is asked: O serves again within its budget, whether B
 * answers meanwhile (0) or is silent too (1). It is another matter once `commit` was written (2).
 */
START_TEST(a_silent_member_costs_no_more_than_the_budget)
{
	struct world *w = p_world(make, true);
	w_trace_if(w, _i);
	struct ph_source *s = reach(w, _i == 2 ? PH_SOURCE_COMMITTED : PH_SOURCE_CLAIMING);
	const struct ph_instance *old = s->old;
	uint64_t until_ms = s->frozen_at_ms + ph_source_budget(s);
	w->nodes[0].manual_disk = false;
	if (_i == 0) {
		w_run(w, 330);
		ck_assert_int_eq((int)s->state, PH_SOURCE_ABORTING);
		(void)from_target(w, PH_B_ABORTED);
	} else if (_i == 2) {
		(void)from_target(w, PH_B_NACK);
		until_ms = w->now_ms + 2 * ph_source_budget(s);
	}
	w_run(w, until_ms - w->now_ms);
	ck_assert_int_eq(old->state == PH_INSTANCE_RUNNING, _i < 2);
	ck_assert_int_eq(old->epoch > s->epoch, _i < 2);
	w_free(w);
}
END_TEST

/*
 * O ends while the claim that takes it back is undecided, by itself (2) or as it is stopped by an
 * order. Whether it is ordered to start before the claim is granted (1, 2) or after it (0), it is
 * started after it, and serves under the epoch that was granted.
 */
START_TEST(ended_while_it_is_taken_back)
{
	struct world *w = p_world(make, true);
	const struct ph_command all = {.all_instances = true, .no_wait = true};
	w_trace_if(w, _i);
	struct ph_source *s = reach(w, PH_SOURCE_RECLAIMING);
	const struct ph_slot *slot = s->slot;
	uint64_t before = s->epoch;
	if (_i < 2)
		w_order(w, 0, PH_VERB_STOP, "room", NULL, &all);
	w_kill(w, &w->procs[0]);
	w_drain(w);
	ck_assert_int_eq((int)s->state, PH_SOURCE_RECLAIMING);
	ck_assert_ptr_null(s->old);
	ck_assert(_i == 2 ? !slot->work->instance
			  : slot->work->instance->state == PH_INSTANCE_STOPPED);
	if (_i)
		w_order(w, 0, PH_VERB_START, "room", NULL, &all);
	p_disk(w, false);
	ck_assert_int_eq((int)s->state, PH_SOURCE_RECLAIMING);
	ck_assert_uint_eq(w->n_procs, 1);
	p_left_alone(w, 60000);
	ck_assert_ptr_null(slot->work->source);
	ck_assert_uint_gt(slot->entry.epoch, before);
	if (!_i) {
		ck_assert_uint_eq(w_alive(w, 0), 0);
		w_order(w, 0, PH_VERB_START, "room", NULL, &all);
		w_run(w, 5000);
	}
	ck_assert(w_serving(w, "room", 0));
	const struct w_proc *p = w_only(w, "room", 0);
	ck_assert_uint_eq(p->epoch, slot->entry.epoch);
	ck_assert_uint_eq(slot->work->instance->epoch, slot->entry.epoch);
	w_free(w);
}
END_TEST

/* COMMIT's answer is lost, and B already gives the child away again: it was active. */
START_TEST(a_prepare_from_the_target_counts_as_active)
{
	struct world *w = p_world(make, true);
	struct ph_source *s = reach(w, PH_SOURCE_COMMITTED);
	struct ph_bmsg *msg = p_msg(w, 1, PH_B_PREPARE);
	msg->id.b[0] = 1;
	msg->key = ph_slot_key(s->slot);
	msg->epoch = s->new_epoch;
	msg->seen = s->new_epoch + (1 << PH_EPOCH_SLOT_BITS);
	w_drain(w);
	ck_assert_int_eq((int)s->state, PH_SOURCE_FINISHING);
	w_free(w);
}
END_TEST

/* ---- faults at every moment of a handover ---- */

static void kill_old(struct world *w)
{
	struct h_run *run = w->arg;
	w_kill(w, run->old);
}

/* What O had is lost with it, unless N was prepared by then. */
START_TEST(old_worker_dies)
{
	struct h_run run = h_begin(_i, kill_old);
	h_go(&run, 60000);
	if (h_happened(&run)) {
		struct w_proc *p = h_one_left(&run);
		if (run.no >= h_moment_named("sync prepared"))
			ck_assert_uint_eq(p->value, VALUE);
		w_no_leftovers(run.w);
	}
	w_free(run.w);
}
END_TEST

static void crash_source(struct world *w)
{
	struct h_run *run = w->arg;
	w_crash(w, run->from);
	run->crash_from = true;
}

START_TEST(source_daemon_is_back_soon)
{
	bool stale = _i >= H_MOMENTS * H_VARIANTS;
	struct h_run run = h_begin(_i % (H_MOMENTS * H_VARIANTS), crash_source);
	if (stale)
		h_old_state_file(&run, run.from);
	run.w->arg = &run;
	w_order(run.w, run.from, PH_VERB_MOVE, "room", run.w->nodes[run.to].name.s, NULL);
	for (int i = 0; i < 200 && !run.crash_from; i++)
		w_run(run.w, 100);
	if (h_happened(&run)) {
		h_came_back(&run, run.from, 300, 60000);
		ck_assert_uint_eq(h_one_left(&run)->value, VALUE);
		w_no_leftovers(run.w);
	}
	w_free(run.w);
}
END_TEST

static void cut_link(struct world *w)
{
	struct h_run *run = w->arg;
	w_cut(w, run->from, run->to, true);
}

/*
 * The link between A and B breaks for good, C hears both: nobody is dead, and the handover comes to
 * its end by way of C, wherever it was.
 */
START_TEST(cut_off_from_the_target)
{
	struct h_run run = h_begin(4 * _i, cut_link); /* three nodes, without rounds */
	h_go(&run, 60000);
	if (h_happened(&run)) {
		struct w_proc *p = w_only(run.w, "room", 0);
		ck_assert_uint_eq(p->value, VALUE);
		for (unsigned i = 0; i < 3; i++)
			ck_assert_uint_eq(run.w->nodes[i].emitted[PH_EMIT_NODE_DEAD], 0);
		struct ph_hub_counts counts;
		ph_hub_count(run.w->nodes[run.from].hub, &counts);
		ck_assert_uint_eq(counts.sources, 0);
		ph_hub_count(run.w->nodes[run.to].hub, &counts);
		ck_assert_uint_eq(counts.targets, 0);
	}
	w_free(run.w);
}
END_TEST

static void fill_disks(struct world *w)
{
	struct h_run *run = w->arg;
	w->nodes[run->from].disk_broken = w->nodes[run->to].disk_broken = true;
}

/* Neither `void` nor `never` can be written: O must not stand frozen until somebody makes room. */
START_TEST(both_disks_fill_up)
{
	struct h_run run = h_begin(_i, fill_disks);
	h_go(&run, 45000); /* without rounds the budget is the whole timeout, 30 s */
	if (h_happened(&run) && run.no < h_moment_named("sync commit")) {
		ck_assert_ptr_eq(w_only(run.w, "room", 0), run.old);
		ck_assert(w_serving(run.w, "room", 0));
		ck_assert_uint_eq(run.old->value, VALUE);
	}
	w_journal_back(run.w, run.from);
	w_journal_back(run.w, run.to);
	w_run(run.w, 60000);
	(void)h_one_left(&run);
	w_no_leftovers(run.w);
	w_free(run.w);
}
END_TEST

static void power_off_source(struct world *w)
{
	struct h_run *run = w->arg;
	w_power_off(w, run->from);
}

/* From `prepared` on the copy at B is as good as O; it is told where it came from. */
START_TEST(source_machine_dies)
{
	struct h_run run = h_begin(_i, power_off_source);
	h_go(&run, 60000);
	if (h_happened(&run)) {
		struct w_proc *p = w_only(run.w, "room", 0);
		ck_assert_uint_ne(p->node, run.from);
		if (run.no >= h_moment_named("sync prepared")) {
			bool taken_over = run.no < h_moment_named("send COMMIT");
			const struct ph_held *e = &w_slot(run.w, run.to, "room", 0)->entry;
			ck_assert_uint_eq(p->value, VALUE);
			ck_assert_int_eq((int)e->lineage,
				(int)(taken_over ? PH_LINEAGE_FROM_COPY : PH_LINEAGE_CONTINUED));
		}
		w_agree(run.w, "room", 0, p->node);
	}
	w_free(run.w);
}
END_TEST

/*
 * A is back soon, and B cannot be asked at once; O has ended meanwhile (0), or ends before B is
 * heard (1). Where B has all of it, that is gone on with, and nobody starts an empty one.
 */
START_TEST(source_daemon_is_back_without_the_old_one)
{
	int no = h_moment_named("sync final") + _i / 2 / H_VARIANTS;
	struct h_run run = h_begin(no * H_VARIANTS + _i / 2 % H_VARIANTS, crash_source);
	struct world *w = run.w;
	h_go(&run, 0);
	for (int i = 0; i < 2000 && !run.crash_from; i++)
		w_run(w, 10);
	if (!h_happened(&run)) {
		w_free(w);
		return;
	}
	w_cut(w, run.from, run.to, true);
	if (!(_i & 1))
		w_kill(w, run.old);
	w_run(w, 300);
	w_start(w, run.from);
	w_run(w, 700);
	if (_i & 1)
		w_kill(w, run.old);
	w_run(w, 1000);
	w_cut(w, run.from, run.to, false);
	w_run(w, 60000);
	struct w_proc *p = h_one_left(&run);
	/* Before `commit` it may be that B has been told to abort, as O lived. */
	if (run.no >= h_moment_named(_i & 1 ? "sync commit" : "sync prepared"))
		ck_assert_uint_eq(p->value, VALUE);
	w_no_leftovers(w);
	w_free(w);
}
END_TEST

/* A comes back when it was held for dead, and B goes on with its copy: A comes to tell that, too.
 */
START_TEST(source_daemon_is_back_late)
{
	int no = h_moment_named(_i & 1 ? "send PREPARED" : "sync prepared");
	struct h_run run = h_begin(no * H_VARIANTS + _i / 2, crash_source);
	struct world *w = run.w;
	h_go(&run, 0);
	while (!run.crash_from)
		w_run(w, 10);
	h_came_back(&run, run.from, 12000, 60000);
	struct w_proc *p = h_one_left(&run);
	ck_assert_uint_eq(p->node, run.to);
	ck_assert_uint_eq(p->value, VALUE);
	ck_assert_int_eq(
		(int)w_slot(w, run.from, "room", 0)->entry.lineage, (int)PH_LINEAGE_FROM_COPY);
	for (unsigned i = 0; i < w->n_nodes; i++) /* the first; the plan may move it since */
		ck_assert_int_eq((int)w->nodes[i].hub->history->prev->info.result,
			(int)PH_RESULT_SOURCE_DEAD);
	w_no_leftovers(w);
	w_free(w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core_source");
	W_TEST(suite, every_pair_is_decided, PH_SOURCE_STATE_COUNT);
	W_TEST(suite, every_pair_is_survived, PH_SOURCE_STATE_COUNT);
	W_TEST(suite, an_operator_cancels, PH_SOURCE_STATE_COUNT);
	W_TEST(suite, an_order_starts_nothing_meanwhile, 2 * PH_SOURCE_STATE_COUNT);
	W_TEST(suite, an_abort_waits_for_nothing_that_has_not_left, PH_SOURCE_CLAIMING);
	W_TEST(suite, it_ends_behind_its_last_word, 2);
	W_TEST(suite, a_silent_member_costs_no_more_than_the_budget, 3);
	W_TEST(suite, ended_while_it_is_taken_back, 3);
	W_TEST(suite, a_prepare_from_the_target_counts_as_active, 1);
	int n = H_MOMENTS * H_VARIANTS;
	W_TEST(suite, old_worker_dies, n);
	W_TEST(suite, source_daemon_is_back_soon, 2 * n);
	W_TEST(suite, both_disks_fill_up, n);
	W_TEST(suite, cut_off_from_the_target, H_MOMENTS);
	W_TEST(suite, source_daemon_is_back_without_the_old_one,
		2 * H_VARIANTS * (h_moment_named("write active") - h_moment_named("sync final")));
	W_TEST(suite, source_machine_dies, n);
	W_TEST(suite, source_daemon_is_back_late, 2 * H_VARIANTS);
	return w_main(suite);
}
