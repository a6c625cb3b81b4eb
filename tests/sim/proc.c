/* proc.c - worker processes: birth, death, signals, the control connection. */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

struct sim_proc *sim_proc_of_wid(struct sim_node *node, uint64_t wid)
{
	for (struct sim_proc *proc = node->sim->procs; proc; proc = proc->next)
		if (proc->node == node && proc->gen == node->gen && proc->wid == wid &&
			!proc->forgotten)
			return proc;
	return NULL;
}

struct sim_proc *sim_proc_of_pid(struct sim *sim, uint32_t pid)
{
	for (struct sim_proc *proc = sim->procs; proc; proc = proc->next)
		if (proc->pid == pid)
			return proc;
	return NULL;
}

void sim_proc_free(struct sim_proc *proc)
{
	free(proc->items);
	free(proc->got);
	free(proc);
}

void sim_proc_apply(struct sim_proc *proc, const uint32_t *items, size_t n)
{
	if (proc->n_items + n > proc->room) {
		proc->room = 2 * proc->room + n + 64;
		proc->items = realloc(proc->items, proc->room * sizeof *proc->items);
		if (!proc->items)
			abort();
	}
	if (n)
		memcpy(proc->items + proc->n_items, items, n * sizeof *items);
	proc->n_items += n;
}

void sim_proc_serve(struct sim_proc *proc)
{
	bool knows = proc->greeted || proc->key->def->traits.plain;
	bool serving = proc->alive && !proc->exiting && proc->role == PH_ROLE_ACTIVE && knows &&
		       !proc->frozen && proc->hand != HAND_COMMITTED;
	bool begins = serving && !proc->serving;
	proc->serving = serving;
	if (begins)
		sim_check_serving(proc);
}

/* ---- what it does a little later ---- */

struct thought {
	struct sim_proc *proc;
	uint32_t task;
	void (*fn)(struct sim_proc *proc);
};

static void think(struct sim *sim, void *arg)
{
	struct thought *thought = arg;
	struct sim_proc *proc = thought->proc;
	(void)sim;
	if (proc->alive && proc->task == thought->task)
		thought->fn(proc);
	free(thought);
}

void sim_proc_think(struct sim_proc *proc, uint64_t delay_us, void (*fn)(struct sim_proc *proc))
{
	struct thought *thought = sim_alloc(sizeof *thought);
	*thought = (struct thought){proc, proc->task, fn};
	sim_after(proc->sim, delay_us, think, thought, free);
}

/* ---- the control connection ---- */

struct line {
	struct sim_proc *proc;
	uint32_t conn;
	struct ph_wmsg msg;
};

static void at_daemon(struct sim *sim, void *arg)
{
	struct line *line = arg;
	struct sim_proc *proc = line->proc;
	struct sim_node *node = proc->node;
	(void)sim;
	if (proc->conn != line->conn || proc->gen != node->gen || !node->hub || proc->forgotten) {
		free(line);
		return;
	}
	struct ph_event event = {.kind = PH_EV_WORKER, .wid = proc->wid, .worker = &line->msg};
	sim_node_push(node, 0, &event, free, line);
}

void sim_proc_say(struct sim_proc *proc, const struct ph_wmsg *msg)
{
	struct sim *sim = proc->sim;
	if (!proc->conn || proc->muted)
		return;
	struct line *line = sim_alloc(sizeof *line);
	uint64_t at_us = sim->now_us + sim_between(sim, 20, 500);
	line->proc = proc;
	line->conn = proc->conn;
	line->msg = *msg;
	if (at_us <= proc->to_daemon_us)
		at_us = proc->to_daemon_us + 1;
	proc->to_daemon_us = at_us;
	sim_after(sim, at_us - sim->now_us, at_daemon, line, free);
}

static void at_worker(struct sim *sim, void *arg)
{
	struct line *line = arg;
	(void)sim;
	if (line->proc->alive && line->proc->conn == line->conn)
		sim_worker_hears(line->proc, &line->msg);
	free(line);
}

void sim_proc_hear(struct sim_proc *proc, const struct ph_wmsg *msg)
{
	struct sim *sim = proc->sim;
	if (!proc->conn || !proc->alive)
		return;
	struct line *line = sim_alloc(sizeof *line);
	uint64_t at_us = sim->now_us + sim_between(sim, 20, 300);
	line->proc = proc;
	line->conn = proc->conn;
	line->msg = *msg;
	line->msg.reason = line->msg.meta = line->msg.text = line->msg.code = NULL;
	if (at_us <= proc->to_worker_us)
		at_us = proc->to_worker_us + 1;
	proc->to_worker_us = at_us;
	sim_after(sim, at_us - sim->now_us, at_worker, line, free);
}

static void connect_now(struct sim *sim, void *arg)
{
	struct sim_proc *proc = arg;
	if (!proc->alive || proc->exiting || proc->conn)
		return;
	if (!proc->node->hub || proc->gen != proc->node->gen || proc->forgotten) {
		sim_proc_connect(proc, sim_between(sim, 50 * MS, 200 * MS));
		return;
	}
	proc->conn = ++proc->conns;
	proc->to_daemon_us = proc->to_worker_us = 0;
	sim_worker_hello(proc);
}

void sim_proc_connect(struct sim_proc *proc, uint64_t delay_us)
{
	sim_after(proc->sim, delay_us, connect_now, proc, NULL);
}

/* `tell`: the daemon lives and sees the end of the connection. */
void sim_proc_hang_up(struct sim_proc *proc, bool tell)
{
	struct sim *sim = proc->sim;
	struct sim_node *node = proc->node;
	if (!proc->conn)
		return;
	proc->conn = 0;
	if (tell && node->hub && proc->gen == node->gen && !proc->forgotten) {
		struct ph_event event = {.kind = PH_EV_WORKER_CLOSED, .wid = proc->wid};
		sim_node_push(node, 10, &event, NULL, NULL);
	}
	sim_worker_lost(proc);
	sim_proc_connect(proc, sim_between(sim, 5 * MS, 300 * MS));
}

/* ---- birth and death ---- */

static void crash_soon(struct sim *sim, void *arg)
{
	struct sim_proc *proc = arg;
	if (proc->alive && !sim->healing)
		sim_proc_die(proc, DEATH_SELF, (struct ph_exit){PH_EXIT_CODE, 1});
}

static void boot(struct sim *sim, void *arg)
{
	struct sim_proc *proc = arg;
	const struct sim_traits *traits = &proc->key->def->traits;
	if (!proc->alive || proc->exiting)
		return;
	sim_proc_serve(proc); /* a plain one just runs */
	if (traits->plain && traits->notify && proc->gen == proc->node->gen) {
		struct ph_notify *notify = sim_alloc(sizeof *notify);
		notify->ready = true;
		struct ph_event event = {
			.kind = PH_EV_NOTIFIED, .wid = proc->wid, .notify = notify};
		sim_node_push(proc->node, sim_between(sim, MS, 50 * MS), &event, free, notify);
	}
	if (traits->plain)
		return;
	if (traits->shy && proc->role == PH_ROLE_STANDBY && !sim->healing)
		return;
	sim_proc_connect(proc, 0);
}

struct sim_proc *sim_proc_new(
	struct sim_node *node, uint64_t wid, const struct ph_spawn *spawn, uint64_t slow_us)
{
	struct sim *sim = node->sim;
	struct sim_key *key = NULL;
	for (unsigned i = 0; i < sim->n_keys; i++)
		if (ph_key_equal(&sim->keys[i].key, &spawn->key))
			key = &sim->keys[i];
	if (key && key->def->traits.unfit >> node->no & 1) {
		sim_count(sim, COUNT_UNFIT);
		key = NULL;
	}
	if (!key)
		return NULL;
	struct sim_proc *proc = sim_alloc(sizeof *proc);
	proc->sim = sim;
	proc->pid = ++sim->last_pid;
	proc->node = node;
	proc->key = key;
	proc->wid = wid;
	proc->gen = node->gen;
	proc->alive = true;
	proc->claimable = spawn->claimable;
	proc->process = spawn->spec->process;
	proc->root = proc->pid;
	proc->root_us = proc->sim->now_us;
	proc->alone = sim_check_alone(proc);
	proc->role = proc->env_role = spawn->role;
	proc->epoch = proc->env_epoch = spawn->epoch;
	proc->next = sim->procs;
	sim->procs = proc;
	(void)snprintf(proc->meta, sizeof proc->meta, "{\"pid\":%u}", proc->pid);
	uint64_t boot_ms = sim->healing ? 20 : key->def->traits.boot_ms;
	sim_trace(sim, "%s: pid %u of %s/%u starts as %s at epoch %llu/%u", node->name.s, proc->pid,
		key->key.child.s, key->key.instance,
		proc->role == PH_ROLE_ACTIVE ? "active" : "standby",
		(unsigned long long)ph_epoch_counter(proc->epoch),
		(unsigned)(proc->epoch & 0xffffff));
	sim_after(
		sim, slow_us + sim_between(sim, boot_ms * MS / 2, boot_ms * MS), boot, proc, NULL);
	if (key->def->traits.crashy && !sim->healing && sim_chance(sim, 70))
		sim_after(sim, slow_us + sim_between(sim, MS, 3 * SEC), crash_soon, proc, NULL);
	return proc;
}

static void tell_exit(struct sim_proc *proc, struct ph_exit exit)
{
	struct sim *sim = proc->sim;
	struct sim_node *node = proc->node;
	if (!node->hub || proc->gen != node->gen || proc->forgotten)
		return;
	struct ph_event event = {.kind = PH_EV_EXITED, .wid = proc->wid, .exit = exit};
	uint64_t delay = sim_between(sim, 10, 2 * MS); /* its last words come before */
	if (proc->to_daemon_us >= sim->now_us + delay)
		delay = proc->to_daemon_us - sim->now_us + 1;
	if (proc->adopted)
		event.exit = (struct ph_exit){PH_EXIT_UNKNOWN, 0};
	sim_node_push(node, delay, &event, NULL, NULL);
}

void sim_proc_die(struct sim_proc *proc, enum sim_death why, struct ph_exit exit)
{
	static const char *const whys[] = {"a fault", "itself", "order", "the fence"};
	if (!proc->alive)
		return;
	sim_trace(proc->sim, "%s: pid %u of %s/%u ends by %s (%zu updates)", proc->node->name.s,
		proc->pid, proc->key->key.child.s, proc->key->key.instance, whys[why],
		proc->n_items);
	sim_mix(proc->sim, 5555, proc->pid);
	bool was_serving = proc->serving;
	proc->alive = proc->serving = false;
	sim_check_death(proc, why);
	if (proc->hand == HAND_COMMITTED && why == DEATH_CORE)
		sim_check_stopped(proc);
	(void)was_serving;
	tell_exit(proc, exit);
}

static void killed(struct sim *sim, void *arg)
{
	(void)sim;
	sim_proc_die(arg, DEATH_CORE, (struct ph_exit){PH_EXIT_SIGNAL, 9});
}

static void left(struct sim *sim, void *arg)
{
	(void)sim;
	sim_proc_die(arg, DEATH_CORE, (struct ph_exit){PH_EXIT_CODE, 0});
}

void sim_proc_leave(struct sim_proc *proc, uint64_t delay_us)
{
	if (proc->exiting)
		return;
	sim_check_replaced(proc);
	proc->exiting = true;
	sim_proc_serve(proc);
	sim_after(proc->sim, delay_us, left, proc, NULL);
}

void sim_proc_signal(struct sim_proc *proc, int number)
{
	struct sim *sim = proc->sim;
	if (!proc->alive)
		return;
	if (number == 9)
		sim_after(sim, sim_between(sim, 10, MS), killed, proc, NULL);
	else if (!proc->key->def->traits.deaf || sim->healing)
		sim_proc_leave(proc, sim_between(sim, 100, 50 * MS));
}

void sim_proc_reap(struct sim_node *node, uint64_t wid)
{
	struct sim_proc *proc = sim_proc_of_wid(node, wid);
	struct ph_event event = {.kind = PH_EV_GONE, .wid = wid};
	if (proc) {
		proc->forgotten = true;
		proc->conn = 0;
		sim_proc_die(proc, DEATH_CORE, (struct ph_exit){PH_EXIT_SIGNAL, 9});
	}
	sim_node_push(node, sim_between(node->sim, 10, 5 * MS), &event, NULL, NULL);
}
