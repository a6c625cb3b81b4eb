/* act.c - what the simulated shell makes of each action. */
#include "sim.h"

#include <errno.h>
#include <string.h>

typedef void act_fn(struct sim_node *node, const struct ph_action *action);

static struct sim_mig *mig_new(struct sim_node *a, const struct ph_id *id, const struct ph_name *b,
	const struct ph_key *key)
{
	struct sim *sim = a->sim;
	struct sim_mig *mig = sim_alloc(sizeof *mig);
	mig->id = *id;
	mig->a = a;
	mig->b = sim_node_named(sim, b);
	mig->key = sim_key_of(sim, key);
	mig->next = sim->migs;
	sim->migs = mig;
	return mig;
}

static uint64_t epoch_before(const struct sim_node *node, const struct ph_key *key)
{
	uint64_t epoch = 0;
	for (const struct sim_proc *p = node->sim->procs; p; p = p->next)
		if (p->alive && p->node == node && p->role == PH_ROLE_ACTIVE &&
			ph_key_equal(&p->key->key, key) && p->epoch > epoch)
			epoch = p->epoch;
	return epoch;
}

static void act_spawn(struct sim_node *node, const struct ph_action *action)
{
	struct sim *sim = node->sim;
	const struct ph_spawn *spawn = action->spawn;
	if (!ph_id_none(&spawn->migration) && !sim_mig_of(sim, &spawn->migration)) /* a swap */
		mig_new(node, &spawn->migration, &node->name, &spawn->key)->epoch =
			epoch_before(node, &spawn->key);
	struct ph_event event = {.kind = PH_EV_SPAWNED, .wid = action->wid};
	sim_group_spawn(node, spawn);
	uint64_t slow_us =
		sim->now_us < node->spawn_slow_until_us ? sim_between(sim, 0, 3 * SEC) : 0;
	struct sim_proc *proc = sim_proc_new(node, action->wid, action->spawn, slow_us);
	if (!proc) {
		event.kind = PH_EV_SPAWN_FAILED;
		event.text = "no such file in the simulation";
		event.error = ENOENT;
	} else {
		event.pid = proc->pid;
	}
	uint64_t delay = slow_us + sim_between(sim, 10, 500);
	if (proc) /* what it says and its end come after */
		proc->to_daemon_us = sim->now_us + delay;
	sim_node_push(node, delay, &event, NULL, NULL);
}

static void act_signal(struct sim_node *node, const struct ph_action *action)
{
	struct sim_proc *proc = sim_proc_of_wid(node, action->wid);
	if (!proc)
		return;
	sim_rules_stop(proc);
	sim_proc_signal(proc, action->signal);
}

static void act_reap(struct sim_node *node, const struct ph_action *action)
{
	sim_proc_reap(node, action->wid);
}

/* Core reaps a worker in the step in which it hears of its end. */
static void abort_begins(struct sim_mig *mig)
{
	const struct sim_proc *old = mig->old;
	if (!mig->abort_sent && old && !old->alive && !old->forgotten)
		mig->abort_unheard = true;
	mig->abort_sent = true;
}

static void act_tell(struct sim_node *node, const struct ph_action *action)
{
	struct sim_proc *proc = sim_proc_of_wid(node, action->wid);
	if (!proc)
		return;
	struct sim_mig *mig = sim_mig_of(node->sim, &action->worker->id);
	enum ph_wop op = action->worker->op;
	if (mig && op == PH_W_HANDOVER_START)
		mig->old = proc;
	if (mig && mig->a == mig->b && (op == PH_W_RESUME || op == PH_W_ABORT))
		abort_begins(mig); /* within its node */
	sim_rules_tell(proc, action->worker);
	sim_proc_hear(proc, action->worker);
}

static void act_complain(struct sim_node *node, const struct ph_action *action)
{
	struct sim_proc *proc = sim_proc_of_wid(node, action->wid);
	if (!proc || !proc->conn)
		return;
	if (!proc->misbehaves)
		sim_fail(node->sim,
			"pid %u of %s/%u did nothing wrong and was disconnected: %s: %s", proc->pid,
			proc->key->key.child.s, proc->key->key.instance, action->worker->code,
			action->worker->text);
	sim_proc_hang_up(proc, true);
}

static void count_send(struct sim_node *node, const struct ph_action *action)
{
	struct sim *sim = node->sim;
	const struct ph_bmsg *msg = action->message;
	if (msg->kind == PH_B_REFUSED)
		sim_count(
			sim, strstr(msg->reason, "slot") ? COUNT_SLOT_REFUSED : COUNT_NAME_REFUSED);
	else if (msg->kind == PH_B_PROOF)
		sim_count(sim, COUNT_PROOF);
	else if (msg->kind == PH_B_PROBE)
		sim_count(sim, COUNT_PROBE);
	else if (msg->kind == PH_B_SPEC && msg->n_specs && !msg->specs[0].text)
		sim_count(sim, COUNT_TOMBSTONE);
	else if (msg->kind == PH_B_FETCH && msg->node.s[0]) {
		const struct sim_node *author = sim_node_named(sim, &msg->node);
		if (author && !author->hub)
			sim_count(sim, COUNT_LAST_WORDS);
	} else if (msg->kind == PH_B_PREPARE) {
		const struct sim_node *b = sim_node_named(sim, &action->to);
		if (b && b->shutting)
			sim_count(sim, COUNT_LEFT_TARGET);
	}
}

static void act_send(struct sim_node *node, const struct ph_action *action)
{
	struct sim *sim = node->sim;
	const struct ph_bmsg *msg = action->message;
	struct sim_mig *mig = sim_mig_of(sim, &msg->id);
	if (!mig && msg->kind == PH_B_PREPARE)
		mig = mig_new(node, &msg->id, &action->to, &msg->key);
	if (mig && msg->kind == PH_B_ABORT)
		abort_begins(mig);
	sim_rules_send(node, &action->to, msg);
	count_send(node, action);
	struct ph_bmsg sealed = *msg;
	if (msg->kind == PH_B_PREPARE)
		sim_stream_ticket(node, &msg->id, sealed.ticket);
	sim_net_send(node, action, &sealed);
	sim_deed_message(node, &action->to, msg);
}

static void act_cast(struct sim_node *node, const struct ph_action *action)
{
	sim_net_cast(node, action->message);
}

static void act_link(struct sim_node *node, const struct ph_action *action)
{
	sim_net_link(node, &action->to, action->address);
}

static void act_unlink(struct sim_node *node, const struct ph_action *action)
{
	sim_net_unlink(node, &action->to);
}

static void act_seeds(struct sim_node *node, const struct ph_action *action)
{
	node->seeds_on = action->on;
}

static void act_incarnation(struct sim_node *node, const struct ph_action *action)
{
	sim_node_raise(node, action->incarnation);
}

static bool was_cancel(const struct sim *sim, uint64_t ticket)
{
	for (unsigned i = 0; i < sim->n_plan; i++)
		if (sim->plan[i].kind == DEED_CANCEL && sim->plan[i].ticket == ticket)
			return true;
	return false;
}

/* It may come too late, and then is refused; what it has stopped must not be committed. */
static void cancel_answered(struct sim *sim, const struct ph_answer *answer)
{
	bool told = answer->n_outcomes == 1 && !ph_id_none(&answer->outcomes[0].id);
	struct sim_mig *mig = told ? sim_mig_of(sim, &answer->outcomes[0].id) : NULL;
	if (!answer->error && mig && mig->a->hub)
		mig->cancelled_gen = mig->a->gen;
	if (answer->error && sim->faultless && answer->error != EBUSY)
		sim_fail(sim, "a cancel failed without a fault: %s", answer->text);
}

/* Whoever follows a move, or a drain, hears that it was cancelled: that is no failure. */
static bool only_cancelled(const struct ph_answer *answer)
{
	for (size_t i = 0; i < answer->n_outcomes; i++)
		if (!answer->outcomes[i].ok && !sim_cancelled(answer->outcomes[i].text))
			return false;
	return answer->n_outcomes > 0;
}

static void act_answer(struct sim_node *node, const struct ph_action *action)
{
	struct sim *sim = node->sim;
	const struct ph_answer *answer = action->answer;
	sim_trace(sim, "%s: answer %u: error %d %s", node->name.s, (unsigned)answer->ticket,
		answer->error, answer->text);
	for (size_t i = 0; i < answer->n_outcomes; i++)
		sim_trace(sim, "    %s/%u %s %s", answer->outcomes[i].key.child.s,
			answer->outcomes[i].key.instance, answer->outcomes[i].ok ? "ok" : "FAILED",
			answer->outcomes[i].text);
	if (sim->open_answers)
		sim->open_answers--;
	if (answer->error)
		sim->bad_answers++;
	if (answer->ticket & SIM_FORGETS)
		sim->forgotten |= !answer->error;
	else if (was_cancel(sim, answer->ticket))
		cancel_answered(sim, answer);
	else if (sim->story == STORY_ADDED || sim->story == STORY_TEXTS)
		; /* a name exists, there is none, or somebody removes what is to get ready */
	else if (answer->error && sim->faultless && !only_cancelled(answer))
		sim_fail(sim, "a command failed without a fault: %s%s%s", answer->text,
			answer->n_outcomes ? ": " : "",
			answer->n_outcomes ? answer->outcomes[0].text : "");
}

static const char *const emit_words[PH_EMIT_COUNT] = {
#define X(name, word) [PH_EMIT_##name] = word,
	PH_EMITS(X)
#undef X
};

static void count_emit(struct sim_node *node, const struct ph_emit *emit)
{
	struct sim *sim = node->sim;
	bool self = ph_name_equal(&emit->peer, &node->name);
	if (emit->kind == PH_EMIT_CHILD_REMOVED)
		sim_count(sim, COUNT_REMOVED);
	else if (emit->kind == PH_EMIT_CONFLICT_RESOLVED)
		sim_count(sim, COUNT_CONFLICT);
	else if (emit->kind == PH_EMIT_NODE_DEAD)
		sim_count(sim, COUNT_VERDICT);
	if (emit->kind != PH_EMIT_NODE_JOINED || !self)
		return;
	if (node->no != node->who)
		sim_count(sim, COUNT_SECOND_IN);
	if ((sim->joined_us && sim->now_us < sim->joined_us + SEC && sim->now_us > 9 * SEC) ||
		(sim->left_us && sim->now_us < sim->left_us + SEC))
		sim_count(sim, COUNT_JOINS_TOGETHER);
	sim->joined_us = sim->now_us;
}

static void act_emit(struct sim_node *node, const struct ph_action *action)
{
	const struct ph_emit *emit = action->emit;
	char id[PH_ID_TEXT_SIZE];
	sim_mix(node->sim, 100u + (unsigned)emit->kind, emit->epoch);
	if (node->sim->opt.trace)
		sim_trace(node->sim,
			"%s: [%s] %s/%u %s%s->%s phase %d result %d epoch %llu/%u %.8s %s",
			node->name.s, emit_words[emit->kind],
			emit->has_key ? emit->key.child.s : "", emit->key.instance, emit->peer.s,
			emit->from.s, emit->to.s, (int)emit->phase, (int)emit->result,
			(unsigned long long)ph_epoch_counter(emit->epoch),
			(unsigned)(emit->epoch & 0xffffff), ph_id_text(&emit->id, id),
			emit->text ? emit->text : "");
	count_emit(node, emit);
	sim_group_emit(node, emit);
	if (emit->kind == PH_EMIT_MIGRATION_ABORTED)
		sim_check_aborted(node, emit);
	else if (emit->kind == PH_EMIT_QUORUM_LOST)
		node->sim->fenced = true;
	else if (emit->kind == PH_EMIT_NODE_DEAD)
		sim_check_verdict(node, emit);
	else if (emit->kind == PH_EMIT_NODE_JOINED && ph_name_equal(&emit->peer, &node->name))
		sim_check_joined(node);
}

static void act_log(struct sim_node *node, const struct ph_action *action)
{
	sim_trace(node->sim, "%s: log: %s", node->name.s, action->text);
	if (strstr(action->text, "stood still"))
		sim_count(node->sim, COUNT_STOOD_STILL);
	if (strncmp(action->text, "bug:", 4) == 0)
		sim_fail(node->sim, "%s logs %s", node->name.s, action->text);
}

static void act_changed(struct sim_node *node, const struct ph_action *action)
{
	sim_rules_changed(node, &action->key);
}

static void act_nothing(struct sim_node *node, const struct ph_action *action)
{
	(void)node, (void)action;
}

static void act_exit(struct sim_node *node, const struct ph_action *action)
{
	(void)action;
	if (!node->shutting && (sim_node_twin(node) || node->shares_slot)) {
		/* it has given way, and is started again, with the hint heeded */
		sim_count(node->sim, COUNT_YIELDED);
		node->shutting = true;
		node->back_ms = 300;
		node->slot = node->shares_slot ? 100 + node->no : node->slot;
	}
	if (!node->shutting)
		sim_fail(node->sim, "%s exits without an order", node->name.s);
	sim_node_exit(node);
}

static act_fn *const acts[PH_ACTION_COUNT] = {
	[PH_ACT_SPAWN] = act_spawn,
	[PH_ACT_SIGNAL] = act_signal,
	[PH_ACT_REAP] = act_reap,
	[PH_ACT_TELL] = act_tell,
	[PH_ACT_COMPLAIN] = act_complain,
	[PH_ACT_SEND] = act_send,
	[PH_ACT_CAST] = act_cast,
	[PH_ACT_LINK] = act_link,
	[PH_ACT_UNLINK] = act_unlink,
	[PH_ACT_MEND] = act_nothing, /* links of the simulator are what they seem */
	[PH_ACT_SEEDS] = act_seeds,
	[PH_ACT_INCARNATION] = act_incarnation,
	[PH_ACT_JOURNAL] = sim_disk_write,
	[PH_ACT_STREAM_SEND] = sim_stream_act,
	[PH_ACT_STREAM_EXPECT] = sim_stream_act,
	[PH_ACT_STREAM_DIAL] = sim_stream_act,
	[PH_ACT_STREAM_KEEP] = sim_stream_act,
	[PH_ACT_STREAM_CLOSE] = sim_stream_act,
	[PH_ACT_HOOK] = sim_stream_hook,
	[PH_ACT_ANSWER] = act_answer,
	[PH_ACT_EMIT] = act_emit,
	[PH_ACT_CHANGED] = act_changed,
	[PH_ACT_TEXT] = act_nothing, /* what is not decided by core */
	[PH_ACT_LOG] = act_log,
	[PH_ACT_READY] = act_nothing,
	[PH_ACT_EXIT] = act_exit,
};

static const char *const names[PH_ACTION_COUNT] = {
#define X(name) [PH_ACT_##name] = #name,
	PH_ACTIONS(X)
#undef X
};

static const char *const kinds[PH_BKIND_COUNT] = {
#define X(name, word) [PH_B_##name] = word,
	PH_BKINDS(X)
#undef X
};

static const char *const words[PH_WOP_COUNT] = {
#define X(name, word) [PH_W_##name] = word,
	PH_WOPS(X)
#undef X
};

static const char *const records[PH_RECORD_COUNT] = {
#define X(name, word) [PH_RECORD_##name] = word,
	PH_RECORDS(X)
#undef X
};

static const char *what(const struct ph_action *action)
{
	if (action->kind == PH_ACT_SEND || action->kind == PH_ACT_CAST)
		return kinds[action->message->kind];
	if (action->kind == PH_ACT_TELL)
		return words[action->worker->op];
	if (action->kind == PH_ACT_JOURNAL)
		return records[action->record->kind];
	return "";
}

static bool dull(const struct ph_action *action)
{
	if (action->kind == PH_ACT_SEND || action->kind == PH_ACT_CAST)
		return action->message->kind == PH_B_HEARTBEAT ||
		       action->message->kind == PH_B_HELLO;
	return action->kind == PH_ACT_EMIT || action->kind == PH_ACT_LOG ||
	       action->kind == PH_ACT_CHANGED || action->kind == PH_ACT_ANSWER;
}

static const struct ph_key *key_of(struct sim_node *node, const struct ph_action *action)
{
	if (action->kind == PH_ACT_SPAWN)
		return &action->spawn->key;
	if (action->kind == PH_ACT_JOURNAL)
		return &action->record->key;
	if (action->kind == PH_ACT_SEND && action->message->n_claims)
		return &action->message->claims[0].key;
	if (action->kind == PH_ACT_SEND)
		return &action->message->key;
	if (action->kind != PH_ACT_TELL && action->kind != PH_ACT_SIGNAL &&
		action->kind != PH_ACT_REAP)
		return NULL;
	struct sim_proc *proc = sim_proc_of_wid(node, action->wid);
	return proc ? &proc->key->key : NULL;
}

static void show(struct sim_node *node, const struct ph_action *action)
{
	char id[PH_ID_TEXT_SIZE] = "";
	if (dull(action))
		return;
	if (action->kind == PH_ACT_SEND || action->kind == PH_ACT_CAST)
		(void)ph_id_text(&action->message->id, id);
	else if (action->kind == PH_ACT_TELL)
		(void)ph_id_text(&action->worker->id, id);
	else if (action->kind == PH_ACT_JOURNAL)
		(void)ph_id_text(&action->record->id, id);
	else if (action->kind >= PH_ACT_STREAM_SEND && action->kind <= PH_ACT_STREAM_CLOSE)
		(void)ph_id_text(&action->stream->id, id);
	const struct ph_key *key = key_of(node, action);
	char of[PH_NAME_SIZE + 16] = "";
	if (key && key->child.s[0])
		(void)snprintf(of, sizeof of, "%s/%u", key->child.s, key->instance);
	sim_trace(node->sim, "%s: %s %s %s %s %.8s", node->name.s, names[action->kind],
		what(action), action->to.s, of, id);
}

void sim_act(struct sim_node *node, const struct ph_action *action)
{
	uint64_t detail = 0;
	if (action->kind == PH_ACT_SEND || action->kind == PH_ACT_CAST)
		detail = (uint64_t)action->message->kind;
	else if (action->kind == PH_ACT_TELL)
		detail = (uint64_t)action->worker->op;
	else if (action->kind == PH_ACT_JOURNAL)
		detail = (uint64_t)action->record->kind;
	sim_mix(node->sim, 200u + (unsigned)action->kind, detail + action->wid * 64);
	if (node->sim->opt.trace)
		show(node, action);
	acts[action->kind](node, action);
}
