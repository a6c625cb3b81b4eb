/* worker.c - what the fake workers say: PROTOCOL.md as a worker reads it. */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

static const struct sim_traits *traits_of(const struct sim_proc *proc)
{
	return &proc->key->def->traits;
}

static uint64_t thinking_us(struct sim_proc *proc)
{
	uint64_t ms = proc->sim->healing ? 2 : traits_of(proc)->think_ms;
	return sim_between(proc->sim, 20, ms * MS + 20);
}

static bool same(const struct sim_proc *proc, const struct ph_wmsg *msg)
{
	return ph_id_equal(&proc->id, &msg->id);
}

/* An answer that is repeated after a reconnection. */
static void answer(struct sim_proc *proc, struct ph_wmsg *msg)
{
	msg->id = proc->id;
	msg->epoch = proc->id_epoch;
	msg->round = proc->round;
	proc->last = *msg;
	sim_proc_say(proc, msg);
}

static void forget_handover(struct sim_proc *proc)
{
	proc->task++;
	proc->streaming = proc->whole = proc->ended = proc->final = false;
	proc->last.op = PH_W_NONE;
	proc->round = 0;
	proc->frozen = false;
	proc->hand = HAND_IDLE;
	memset(&proc->id, 0, sizeof proc->id);
}

static void begin(struct sim_proc *proc, const struct ph_wmsg *msg)
{
	forget_handover(proc);
	proc->id = msg->id;
	proc->id_epoch = msg->epoch;
}

/* ---- hello and ready ---- */

static enum ph_standing standing_of(const struct sim_proc *proc)
{
	switch (proc->hand) {
	case HAND_SENDING:
		return proc->frozen ? PH_STANDING_FROZEN : PH_STANDING_SENDING;
	case HAND_FROZEN:
		return PH_STANDING_FROZEN;
	case HAND_COMMITTED:
		return PH_STANDING_COMMITTED;
	case HAND_LOADING:
	case HAND_REJECTED:
		return PH_STANDING_LOADING;
	case HAND_LOADED:
		return PH_STANDING_LOADED;
	case HAND_IDLE:
	case HAND_GRANTED:
		break;
	}
	return PH_STANDING_NONE;
}

void sim_worker_hello(struct sim_proc *proc)
{
	struct ph_wmsg msg = {.op = PH_W_HELLO, .v1 = true, .caps = traits_of(proc)->caps};
	if (msg.caps & PH_CAP_HANDOVER) {
		msg.has_state = true;
		msg.version = 1;
		memcpy(msg.format, "sim", 4);
		msg.n_accepts = 1;
		msg.accepts[0].min = msg.accepts[0].max = 1;
		memcpy(msg.accepts[0].format, "sim", 4);
	}
	msg.has_standing = proc->greeted;
	msg.standing_role = proc->role;
	msg.standing_epoch = proc->epoch;
	msg.standing = standing_of(proc);
	if (msg.standing != PH_STANDING_NONE)
		msg.standing_id = proc->id;
	sim_proc_say(proc, &msg);
}

static void say_ready(struct sim_proc *proc)
{
	struct ph_wmsg msg = {.op = PH_W_READY, .meta = proc->meta};
	if (proc->role != PH_ROLE_ACTIVE || proc->hand == HAND_COMMITTED)
		return;
	proc->was_ready = true;
	sim_proc_say(proc, &msg);
}

static void say_ready_later(struct sim *sim, void *arg)
{
	struct sim_proc *proc = arg;
	(void)sim;
	if (proc->alive && !proc->exiting)
		say_ready(proc);
}

static void owe_ready(struct sim_proc *proc)
{
	sim_after(proc->sim, thinking_us(proc), say_ready_later, proc, NULL);
}

/* ---- the old one ---- */

static void end_round(struct sim_proc *proc)
{
	struct ph_wmsg msg = {.op = PH_W_STATE_END, .final = proc->final};
	size_t from = proc->n_sent, n = (size_t)(proc->bytes / 4);
	sim_stream_feed(proc, proc->round, proc->items + from, n);
	msg.bytes = proc->bytes;
	proc->streaming = false;
	proc->hand = proc->final ? HAND_FROZEN : HAND_SENDING;
	answer(proc, &msg);
}

/* `bytes` is what there is to send now; what is applied meanwhile belongs to the next round. */
static void save_round(struct sim_proc *proc, uint32_t round, bool final)
{
	if (round != proc->round)
		proc->n_sent += (size_t)(proc->bytes / 4);
	if (round == 0)
		proc->n_sent = 0;
	proc->bytes = 4 * (proc->n_items - proc->n_sent);
	proc->round = round;
	proc->final = final;
	proc->streaming = true;
	proc->hand = HAND_SENDING;
	proc->task++;
	sim_proc_think(proc, thinking_us(proc) + sim_between(proc->sim, 100, 10 * MS), end_round);
}

static void accept(struct sim_proc *proc)
{
	struct ph_wmsg msg = {.op = PH_W_HANDOVER_ACCEPT, .version = 1};
	memcpy(msg.format, "sim", 4);
	answer(proc, &msg);
}

static void refuse(struct sim_proc *proc, const char *code, uint64_t again_ms)
{
	struct ph_wmsg msg = {.op = PH_W_HANDOVER_REFUSE, .code = code, .retry_after_ms = again_ms};
	msg.id = proc->id;
	msg.epoch = proc->id_epoch;
	forget_handover(proc);
	sim_proc_say(proc, &msg);
}

static bool verdict(struct sim_proc *proc)
{
	struct sim_traits *traits = &proc->key->def->traits;
	if (proc->sim->healing)
		return true;
	if (traits->incompatible) {
		sim_count(proc->sim, COUNT_INCOMPATIBLE);
		refuse(proc, "incompatible", 0);
		return false;
	}
	if (traits->never) {
		sim_count(proc->sim, COUNT_NEVER);
		refuse(proc, "never", 0);
		return false;
	}
	if (traits->busy) {
		traits->busy--;
		sim_count(proc->sim, COUNT_BUSY);
		refuse(proc, "busy", 500);
		return false;
	}
	return true;
}

static void start_now(struct sim_proc *proc)
{
	bool rounds = traits_of(proc)->caps & PH_CAP_ROUNDS;
	accept(proc);
	if (!rounds)
		proc->frozen = true;
	sim_proc_serve(proc);
	save_round(proc, 0, !rounds);
}

static void decide_ask(struct sim_proc *proc)
{
	if (!verdict(proc))
		return;
	proc->hand = HAND_GRANTED;
	accept(proc);
}

static void decide_start(struct sim_proc *proc)
{
	if (verdict(proc))
		start_now(proc);
}

static void on_ask(struct sim_proc *proc, const struct ph_wmsg *msg)
{
	if (same(proc, msg)) {
		if (proc->last.op != PH_W_NONE)
			sim_proc_say(proc, &proc->last);
		return;
	}
	begin(proc, msg);
	sim_proc_think(proc, thinking_us(proc), decide_ask);
}

static void on_start(struct sim_proc *proc, const struct ph_wmsg *msg)
{
	if (traits_of(proc)->mute && !proc->sim->healing) {
		proc->muted = proc->misbehaves = true;
		return;
	}
	if (same(proc, msg) && proc->hand == HAND_GRANTED) {
		start_now(proc);
		return;
	}
	if (same(proc, msg)) {
		if (proc->last.op != PH_W_NONE)
			sim_proc_say(proc, &proc->last);
		return;
	}
	begin(proc, msg);
	sim_proc_think(proc, thinking_us(proc), decide_start);
}

static void on_next_round(struct sim_proc *proc, const struct ph_wmsg *msg)
{
	if (!same(proc, msg) || msg->round < proc->round)
		return;
	if (msg->round > proc->round)
		save_round(proc, msg->round, false);
	else if (!proc->streaming)
		sim_proc_say(proc, &proc->last);
}

static void on_freeze(struct sim_proc *proc, const struct ph_wmsg *msg)
{
	if (!same(proc, msg))
		return;
	if (proc->frozen) {
		if (!proc->streaming)
			sim_proc_say(proc, &proc->last);
		return;
	}
	proc->frozen = true;
	sim_proc_serve(proc);
	save_round(proc, proc->round + 1, true);
}

static void on_resume(struct sim_proc *proc, const struct ph_wmsg *msg)
{
	struct ph_wmsg resumed = {.op = PH_W_RESUMED, .id = msg->id, .epoch = msg->epoch};
	if (same(proc, msg)) {
		forget_handover(proc);
		if (msg->epoch != proc->epoch)
			sim_fail(proc->node->sim, "pid %u is told to go on before its epoch",
				proc->pid);
		sim_proc_serve(proc);
	}
	sim_proc_say(proc, &resumed);
}

static void say_handled(struct sim_proc *proc)
{
	struct ph_wmsg msg = {
		.op = PH_W_RETENTION_HANDLED, .id = proc->id, .epoch = proc->id_epoch};
	if (proc->hand != HAND_COMMITTED)
		return;
	proc->handled = true;
	sim_proc_say(proc, &msg);
}

static void on_committed(struct sim_proc *proc, const struct ph_wmsg *msg)
{
	if (!ph_id_none(&proc->id) && !same(proc, msg))
		return;
	if (proc->hand == HAND_COMMITTED)
		return;
	sim_check_replaced(proc);
	begin(proc, msg);
	proc->frozen = true;
	proc->hand = HAND_COMMITTED;
	sim_proc_serve(proc);
	if (traits_of(proc)->handles)
		sim_proc_think(proc, sim_between(proc->sim, MS, SEC), say_handled);
}

/* Another copy goes on: what this one has is handed over, and kept. */
static void on_conflict(struct sim_proc *proc, const struct ph_wmsg *msg)
{
	if (proc->hand == HAND_COMMITTED)
		return;
	if (same(proc, msg)) {
		if (!proc->streaming && proc->last.op != PH_W_NONE)
			sim_proc_say(proc, &proc->last);
		return;
	}
	sim_check_replaced(proc);
	begin(proc, msg);
	proc->frozen = true;
	sim_proc_serve(proc);
	accept(proc);
	save_round(proc, 0, true);
}

/* ---- the new one ---- */

static void reject(struct sim_proc *proc, const char *code)
{
	struct ph_wmsg msg = {.op = PH_W_HANDOVER_REJECT, .code = code};
	sim_count(proc->sim, COUNT_REJECT);
	proc->hand = HAND_REJECTED;
	answer(proc, &msg);
}

static void apply(struct sim_proc *proc)
{
	struct ph_wmsg msg = {.op = PH_W_HANDOVER_LOADED, .bytes = proc->bytes};
	struct sim_mig *mig = sim_mig_of(proc->sim, &proc->id);
	if (mig && mig->old) {
		proc->root = mig->old->root;
		proc->root_us = mig->old->root_us;
	}
	if (proc->round == 0)
		proc->n_items = 0;
	sim_proc_apply(proc, proc->got, proc->n_got);
	msg.has_digest = proc->pid % 2;
	msg.digest = sim_digest(proc->got, proc->n_got);
	proc->hand = HAND_LOADED;
	answer(proc, &msg);
}

static void try_apply(struct sim_proc *proc)
{
	if (!proc->whole || !proc->ended || proc->hand != HAND_LOADING)
		return;
	if (proc->n_got * 4 != proc->bytes) {
		reject(proc, "format");
		return;
	}
	sim_proc_think(proc, thinking_us(proc), apply);
}

void sim_worker_eof(struct sim_proc *proc, const struct ph_id *id, uint32_t round,
	const uint32_t *items, size_t n)
{
	if (!proc->alive || proc->hand != HAND_LOADING || proc->round != round || proc->ended ||
		!ph_id_equal(id, &proc->id))
		return;
	free(proc->got);
	proc->got = sim_alloc(n * sizeof *items);
	if (n)
		memcpy(proc->got, items, n * sizeof *items);
	proc->n_got = n;
	proc->ended = true;
	try_apply(proc);
}

static void take(struct sim_proc *proc)
{
	struct sim_traits *traits = &proc->key->def->traits;
	if (traits->reject && !proc->sim->healing) {
		traits->reject--;
		reject(proc, "no_memory");
		return;
	}
	proc->hand = HAND_LOADING;
	sim_stream_want(proc, proc->round);
}

static void on_handover(struct sim_proc *proc, const struct ph_wmsg *msg)
{
	if (proc->role == PH_ROLE_ACTIVE)
		return;
	bool known = same(proc, msg) && proc->hand != HAND_IDLE;
	if (known && proc->round == msg->round) {
		if (proc->last.op != PH_W_NONE)
			sim_proc_say(proc, &proc->last);
		return;
	}
	if (!known)
		begin(proc, msg);
	proc->task++;
	proc->last.op = PH_W_NONE;
	proc->whole = proc->ended = false;
	proc->round = msg->round;
	proc->hand = HAND_LOADING;
	sim_proc_think(proc, thinking_us(proc), take);
}

static void on_state_end(struct sim_proc *proc, const struct ph_wmsg *msg)
{
	if (!same(proc, msg) || msg->round != proc->round)
		return;
	if (proc->hand == HAND_LOADED || proc->hand == HAND_REJECTED) {
		sim_proc_say(proc, &proc->last);
		return;
	}
	if (proc->hand != HAND_LOADING || proc->whole)
		return;
	proc->whole = true;
	proc->bytes = msg->bytes;
	proc->final = msg->final;
	try_apply(proc);
}

static void on_activate(struct sim_proc *proc, const struct ph_wmsg *msg)
{
	forget_handover(proc);
	proc->role = PH_ROLE_ACTIVE;
	if (msg->epoch > proc->epoch)
		proc->epoch = msg->epoch;
	sim_check_epoch(proc);
	sim_proc_serve(proc);
	owe_ready(proc);
}

static void on_abort(struct sim_proc *proc, const struct ph_wmsg *msg)
{
	(void)msg;
	sim_check_death(proc, DEATH_CORE); /* of what it holds */
	forget_handover(proc);
	proc->n_items = 0;
	if (traits_of(proc)->leaves)
		sim_proc_leave(proc, sim_between(proc->sim, 100, 20 * MS));
}

/* ---- both ---- */

static void on_welcome(struct sim_proc *proc, const struct ph_wmsg *msg)
{
	bool first = !proc->greeted;
	proc->greeted = true;
	if (proc->hand == HAND_IDLE &&
		(first || proc->role != msg->role || proc->epoch != msg->epoch)) {
		proc->role = msg->role;
		proc->epoch = msg->epoch;
		sim_check_epoch(proc);
		sim_proc_serve(proc);
		owe_ready(proc);
		return;
	}
	if (proc->was_ready)
		say_ready(proc);
	if (proc->streaming) /* the stream ended with the old connection: the round once more */
		save_round(proc, proc->round, proc->final);
	else if (proc->last.op != PH_W_NONE)
		sim_proc_say(proc, &proc->last);
}

static void on_stop(struct sim_proc *proc, const struct ph_wmsg *msg)
{
	(void)msg;
	if (!traits_of(proc)->deaf || proc->sim->healing)
		sim_proc_leave(proc, sim_between(proc->sim, 100, 100 * MS));
}

static void on_role(struct sim_proc *proc, const struct ph_wmsg *msg)
{
	proc->role = msg->role;
	proc->epoch = msg->epoch;
	sim_proc_serve(proc);
}

/* What it was reading is lost; what it was sending is sent again after the next welcome. */
void sim_worker_lost(struct sim_proc *proc)
{
	if (proc->hand == HAND_LOADING) {
		proc->task++;
		proc->ended = proc->whole = false;
		proc->hand = HAND_IDLE;
		memset(&proc->id, 0, sizeof proc->id);
		proc->last.op = PH_W_NONE;
	} else if (proc->streaming) {
		proc->task++;
	}
}

static void (*const hears[PH_WOP_COUNT])(struct sim_proc *, const struct ph_wmsg *) = {
	[PH_W_WELCOME] = on_welcome,
	[PH_W_ROLE] = on_role,
	[PH_W_STOP] = on_stop,
	[PH_W_HANDOVER_ASK] = on_ask,
	[PH_W_HANDOVER_START] = on_start,
	[PH_W_NEXT_ROUND] = on_next_round,
	[PH_W_FREEZE] = on_freeze,
	[PH_W_RESUME] = on_resume,
	[PH_W_COMMITTED] = on_committed,
	[PH_W_CONFLICT] = on_conflict,
	[PH_W_HANDOVER] = on_handover,
	[PH_W_STATE_END] = on_state_end,
	[PH_W_ACTIVATE] = on_activate,
	[PH_W_ABORT] = on_abort,
};

void sim_worker_hears(struct sim_proc *proc, const struct ph_wmsg *msg)
{
	if (proc->exiting || (proc->muted && msg->op != PH_W_STOP) || !hears[msg->op])
		return;
	hears[msg->op](proc, msg);
}
