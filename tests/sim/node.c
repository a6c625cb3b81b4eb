/* node.c - the life of a daemon: start, steps, crashes between any two actions, state file. */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

struct mail {
	struct sim_node *node;
	uint32_t gen;
	struct ph_event event;
	void (*release)(void *);
	void *owned;
};

struct sim_node *sim_node_named(struct sim *sim, const struct ph_name *name)
{
	struct sim_node *best = NULL;
	for (unsigned i = 0; i < sim->n_nodes; i++) {
		struct sim_node *node = &sim->nodes[i];
		if (!ph_name_equal(&node->name, name))
			continue;
		bool in = node->hub && ph_hub_joined(node->hub);
		bool other_in = best && best->hub && ph_hub_joined(best->hub);
		if (!best || (in && (!other_in || node->incarnation > best->incarnation)))
			best = node;
	}
	return best;
}

bool sim_node_twin(const struct sim_node *node)
{
	const struct sim *sim = node->sim;
	for (unsigned i = 0; i < sim->n_nodes; i++)
		if (i != node->no && sim->nodes[i].who == node->who && sim->nodes[i].gen)
			return true;
	return false;
}

bool sim_node_outside(const struct sim_node *node)
{
	const struct sim *sim = node->sim;
	if (!node->hub || ph_hub_joined(node->hub))
		return false;
	for (unsigned i = 0; i < sim->n_nodes; i++)
		if (i != node->no && sim->nodes[i].who == node->who && sim->nodes[i].hub)
			return true;
	return false;
}

struct sim_key *sim_key_of(struct sim *sim, const struct ph_key *key)
{
	for (unsigned i = 0; i < sim->n_keys; i++)
		if (ph_key_equal(&sim->keys[i].key, key))
			return &sim->keys[i];
	return NULL;
}

uint64_t sim_node_ms(const struct sim_node *node)
{
	return node->base_ms + node->sim->now_us / MS;
}

/* ---- events ---- */

static void mail_drop(void *arg)
{
	struct mail *mail = arg;
	if (mail->release)
		mail->release(mail->owned);
	free(mail);
}

static void deliver(struct sim *sim, void *arg)
{
	struct mail *mail = arg;
	struct sim_node *node = mail->node;
	if (node->gen == mail->gen && node->hub) {
		if (node->suspended_us > sim->now_us) {
			sim_after(sim, node->suspended_us - sim->now_us, deliver, mail, mail_drop);
			return;
		}
		sim_node_step(node, &mail->event);
	}
	mail_drop(mail);
}

void sim_node_push(struct sim_node *node, uint64_t delay_us, const struct ph_event *event,
	void (*release)(void *), void *owned)
{
	struct mail *mail = sim_alloc(sizeof *mail);
	mail->node = node;
	mail->gen = node->gen;
	mail->event = *event;
	mail->release = release;
	mail->owned = owned;
	sim_after(node->sim, delay_us, deliver, mail, mail_drop);
}

struct tick {
	struct sim_node *node;
	uint32_t gen;
	uint64_t at_us;
};

static void on_tick(struct sim *sim, void *arg)
{
	struct tick *tick = arg;
	struct sim_node *node = tick->node;
	if (node->gen == tick->gen && node->hub && node->tick_us == tick->at_us) {
		if (node->suspended_us > sim->now_us) {
			sim_after(sim, node->suspended_us - sim->now_us, on_tick, tick, free);
			return;
		}
		struct ph_event event = {.kind = PH_EV_TICK};
		node->tick_us = UINT64_MAX;
		sim_node_step(node, &event);
	}
	free(tick);
}

static void want_tick(struct sim_node *node)
{
	struct sim *sim = node->sim;
	uint64_t at_ms = ph_next_deadline(node->hub), now_ms = sim_node_ms(node);
	if (at_ms == UINT64_MAX)
		return;
	uint64_t at_us = at_ms <= now_ms ? sim->now_us + 20 : (at_ms - node->base_ms) * MS + 30;
	if (at_us >= node->tick_us)
		return;
	struct tick *tick = sim_alloc(sizeof *tick);
	*tick = (struct tick){node, node->gen, at_us};
	node->tick_us = at_us;
	sim_after(sim, at_us - sim->now_us, on_tick, tick, free);
}

/* ---- the state file ---- */

static bool see(void *arg, const struct ph_worker_view *view)
{
	struct sim_node *node = arg;
	struct sim_proc *proc = sim_proc_of_wid(node, view->wid);
	size_t cap = sizeof node->seen / sizeof node->seen[0];
	if (!proc || node->n_seen == cap) /* one whose end core has not heard of is in it still */
		return true;
	struct sim_seen *seen = &node->seen[node->n_seen++];
	memset(seen, 0, sizeof *seen);
	seen->adopted = (struct ph_adopted){.pid = view->pid ? view->pid : proc->pid,
		.key = view->key,
		.epoch = view->epoch,
		.born_ms = view->born_ms,
		.copied_ms = view->copied_ms,
		.revision = view->spec ? view->spec->revision : view->revision,
		.role = view->role,
		.retired = view->retired,
		.retained_until_ms = view->retained_until_ms,
		.ready = view->ready,
		.unheard = true,
		.again = view->again,
		.migration = view->migration,
		.since_ms = view->since_ms,
		.restarts = view->restarts};
	(void)snprintf(seen->meta, sizeof seen->meta, "%s", view->meta ? view->meta : "");
	seen->def = view->spec ? sim_def_of_text(node->sim, view->spec->text) : NULL;
	if (seen->def) /* the spec itself lives no longer than its hub */
		seen->text = sim_def_kept(seen->def, view->spec->text);
	return true;
}

void sim_node_see(struct sim_node *node)
{
	node->n_seen = 0;
	ph_hub_workers(node->hub, see, node);
}

/* A daemon with many workers writes it ten times a second, at most; here every fourth one does. */
#define LATE_US (100 * MS)

struct late {
	struct sim_node *node;
	uint32_t gen;
};

static void see_late(struct sim *sim, void *arg)
{
	struct late *late = arg;
	struct sim_node *node = late->node;
	if (node->gen == late->gen && node->hub && !node->starting) {
		node->seen_late = false;
		node->seen_us = sim->now_us;
		sim_node_see(node);
	}
	free(late);
}

static void touch(struct sim_node *node)
{
	struct sim *sim = node->sim;
	uint64_t at_us = node->seen_us + LATE_US;
	if ((sim->seed + node->no) % 4 || sim->now_us >= at_us) {
		node->seen_us = sim->now_us;
		sim_node_see(node);
	} else if (!node->seen_late) {
		struct late *late = sim_alloc(sizeof *late);
		*late = (struct late){node, node->gen};
		node->seen_late = true;
		sim_after(sim, at_us - sim->now_us, see_late, late, free);
	}
}

static bool touches(const struct ph_action *action)
{
	return action->kind == PH_ACT_TELL || action->kind == PH_ACT_SPAWN ||
	       action->kind == PH_ACT_REAP || action->kind == PH_ACT_CHANGED;
}

/* ---- a step ---- */

void sim_node_step(struct sim_node *node, const struct ph_event *event)
{
	struct sim *sim = node->sim;
	struct ph_actions actions = {0, NULL};
	char why[256];
	if (!node->hub || sim->failed)
		return;
	if (node->fenced) { /* before anything that is queued */
		struct ph_event fenced = {.kind = PH_EV_FENCED};
		node->fenced = false;
		sim_node_step(node, &fenced);
		if (!node->hub || sim->failed)
			return;
	}
	sim->steps++;
	sim_mix(sim, node->no * 64u + (unsigned)event->kind, event->wid ^ event->ticket);
	if (event->kind == PH_EV_MESSAGE)
		sim_rules_heard(node, event->message);
	node->hearing = event->kind == PH_EV_MESSAGE;
	if (!sim_letter_step(node->hub, event, sim_node_ms(node), &actions, why, sizeof why) &&
		!sim_echo_shared(node))
		sim_fail(sim, "%s", why);
	bool touched = false;
	for (size_t i = 0; i < actions.n && !sim->failed; i++) {
		bool counts = actions.items[i].kind != PH_ACT_MEND; /* seeds keep their moments */
		if (node->crash_in == 0 && counts) {
			sim_node_crash(node);
			return;
		}
		if (node->crash_in > 0 && counts)
			node->crash_in--;
		touched |= touches(&actions.items[i]);
		sim_act(node, &actions.items[i]);
	}
	if (sim->failed)
		return;
	sim_fence_lease(node, ph_lease_until(node->hub));
	sim_check_lease(node);
	if (touched && !node->starting) /* at the end of the turn: a crash within it finds the file
					   of the last one */
		touch(node);
	want_tick(node);
}

/* ---- the end ---- */

static void on_restart(struct sim *sim, void *arg)
{
	struct sim_node *node = arg;
	(void)sim;
	if (node->hub || node->gone)
		return;
	node->up = true;
	sim_node_start(node);
}

static void lose_processes(struct sim_node *node)
{
	struct sim *sim = node->sim;
	struct ph_exit exit = {.kind = PH_EXIT_SIGNAL, .value = 9};
	for (struct sim_proc *proc = sim->procs; proc; proc = proc->next) {
		if (proc->node != node || !proc->alive)
			continue;
		if (!node->up)
			sim_proc_die(proc, DEATH_FAULT, exit);
		else
			sim_proc_hang_up(proc, false);
	}
}

static void end_daemon(struct sim_node *node)
{
	struct sim *sim = node->sim;
	ph_hub_free(node->hub);
	node->hub = NULL;
	node->ended_us = sim->now_us;
	node->gen++;
	node->crash_in = -1;
	node->bus_up = false;
	node->bus_gen++;
	node->suspended_us = 0;
	node->fenced = false;
	node->calm_us = sim->now_us;
	node->disk.answers = 0;
	memset(node->linked, 0, sizeof node->linked);
	sim_stream_node_lost(node);
}

void sim_node_crash(struct sim_node *node)
{
	struct sim *sim = node->sim;
	bool machine = node->crash.kind == DEED_MACHINE_CRASH;
	uint64_t back_ms = node->crash.x;
	sim_trace(sim, "%s: %s dies", node->name.s, machine ? "the machine" : "the daemon");
	sim_mix(sim, 7777, node->no);
	sim->fired++;
	end_daemon(node);
	sim_deed_count(sim, &node->crash);
	node->disk.lost = node->crash.kind == DEED_JOURNAL_LOST;
	if (node->disk.lost)
		sim_count(sim, COUNT_LOST);
	if (node->damaged)
		sim_count(sim, COUNT_DAMAGED);
	node->sim->journals_lost += node->disk.lost;
	/* What a new worker has, and no record any more: nobody is bound to make it active. */
	for (struct sim_proc *p = node->sim->procs; p && (node->disk.lost || node->damaged);
		p = p->next)
		if (p->node == node && p->alive && p->role == PH_ROLE_STANDBY)
			sim_check_death(p, DEATH_FAULT);
	if (machine)
		node->up = false;
	if (machine)
		node->n_seen = 0;
	lose_processes(node);
	sim_disk_crash(node);
	if (back_ms) {
		sim_after(sim, back_ms * MS, on_restart, node, NULL);
	} else {
		node->gone = true;
		sim->never_back = true;
	}
}

static void leave(struct sim *sim, void *arg)
{
	struct sim_node *node = arg;
	for (struct sim_proc *proc = sim->procs; proc; proc = proc->next)
		if (proc->node == node && proc->alive)
			sim_fail(sim, "%s left pid %u of %s/%u behind when it stopped",
				node->name.s, proc->pid, proc->key->key.child.s,
				proc->key->key.instance);
	sim_trace(sim, "%s: the daemon has stopped", node->name.s);
	sim->left_us = sim->now_us;
	end_daemon(node);
	node->n_seen = 0;
	sim_disk_crash(node);
	node->shutting = false;
	if (node->back_ms)
		sim_after(sim, node->back_ms * MS, on_restart, node, NULL);
	else
		node->gone = sim->never_back = true;
}

void sim_node_exit(struct sim_node *node)
{
	sim_after(node->sim, 100 * MS, leave, node, NULL);
}

/* ---- the start ---- */

void sim_node_configure(struct sim_node *node, bool spread)
{
	struct sim *sim = node->sim;
	struct ph_spec own[SIM_DEFS];
	const struct ph_spec *specs[SIM_DEFS];
	struct ph_config config = {.specs = specs,
		.migrations_max = 8,
		.settle_ms = 1000,
		.drain_on_stop = sim->seed % 2,
		.accept_any = true,
		.spread = spread,
		.merges = sim->seed % 3 != 0};
	for (unsigned i = 0; i < sim->n_defs; i++) {
		if (node->file[i])
			node->had_us[i] = UINT64_MAX;
		else if (node->had_us[i] == UINT64_MAX)
			node->had_us[i] = sim->now_us;
		if (!node->file[i])
			continue;
		(void)sim_spec_of_text(sim, sim_def_text(&sim->defs[i], node->file[i]), &own[i]);
		specs[config.n_specs++] = &own[i];
	}
	struct ph_event event = {.kind = PH_EV_CONFIGURED, .config = &config};
	sim_node_step(node, &event);
}

static void adopt(
	struct sim_node *node, struct ph_adopted *adopted, const char *text, struct sim_proc *proc)
{
	struct ph_spec spec;
	struct ph_event event = {.kind = PH_EV_ADOPTED, .wid = adopted->wid, .adopted = adopted};
	if (sim_spec_of_text(node->sim, text, &spec)) {
		spec.revision = adopted->revision;
		adopted->spec = &spec;
	}
	proc->wid = adopted->wid;
	proc->gen = node->gen;
	proc->forgotten = false;
	proc->adopted = true;
	sim_trace(node->sim, "%s: adopts pid %u of %s/%u%s", node->name.s, proc->pid,
		proc->key->key.child.s, proc->key->key.instance, proc->alive ? "" : " (ended)");
	sim_node_step(node, &event);
}

/* From the environments: what the state file misses. */
static void adopt_found(struct sim_node *node, uint64_t *wid)
{
	struct sim *sim = node->sim;
	for (struct sim_proc *proc = sim->procs; proc; proc = proc->next) {
		if (proc->node != node || !proc->alive || proc->gen == node->gen || !node->hub)
			continue;
		const struct ph_spec *spec = ph_hub_spec(node->hub, &proc->key->key.child);
		if (!spec) {
			sim_proc_die(proc, DEATH_CORE, (struct ph_exit){PH_EXIT_SIGNAL, 9});
			continue;
		}
		struct ph_adopted adopted = {.wid = ++*wid,
			.pid = proc->pid,
			.key = proc->key->key,
			.epoch = proc->env_epoch,
			.role = proc->env_role,
			.revision = spec->revision};
		adopt(node, &adopted, spec->text, proc);
	}
}

/* What an old state file says has ended may have been started again since, as the owner. */
static bool started_again(const struct sim_node *node, const struct sim_seen *seen)
{
	if (seen->adopted.retired || !ph_id_none(&seen->adopted.migration))
		return false;
	for (const struct sim_proc *p = node->sim->procs; p; p = p->next)
		if (p->node == node && p->alive && ph_key_equal(&p->key->key, &seen->adopted.key) &&
			p->env_role == PH_ROLE_ACTIVE && p->env_epoch >= seen->adopted.epoch)
			return true;
	return false;
}

static void adopt_all(struct sim_node *node)
{
	struct sim *sim = node->sim;
	uint64_t wid = 0, ended[256];
	size_t n_ended = 0;
	for (size_t i = 0; i < node->n_seen; i++) {
		struct sim_seen *seen = &node->seen[i];
		struct sim_proc *proc = sim_proc_of_pid(sim, seen->adopted.pid);
		/* as after the death of this node: whoever is to have it claims it */
		if (!proc || (node->spent && !proc->alive && proc->claimable) ||
			(!proc->alive && started_again(node, seen)))
			continue;
		seen->adopted.wid = ++wid;
		seen->adopted.meta = seen->meta[0] ? seen->meta : NULL;
		adopt(node, &seen->adopted, seen->text, proc);
		if (!proc->alive)
			ended[n_ended++] = wid;
	}
	adopt_found(node, &wid);
	node->spent = false;
	struct ph_event event = {.kind = PH_EV_START};
	sim_node_step(node, &event);
	for (size_t i = 0; i < n_ended; i++) {
		event = (struct ph_event){
			.kind = PH_EV_EXITED, .wid = ended[i], .exit = {PH_EXIT_UNKNOWN, 0}};
		sim_node_step(node, &event);
	}
}

struct bus_start {
	struct sim_node *node;
	uint32_t gen;
};

static void bus_up(struct sim *sim, void *arg)
{
	struct bus_start *start = arg;
	struct ph_event event = {.kind = PH_EV_BUS_UP};
	(void)sim;
	if (start->node->gen == start->gen) {
		start->node->bus_up = true;
		sim_node_push(start->node, 0, &event, NULL, NULL);
	}
	free(start);
}

void sim_node_bus(struct sim_node *node, uint64_t delay_us)
{
	struct bus_start *start = sim_alloc(sizeof *start);
	start->node = node;
	start->gen = node->gen;
	sim_after(node->sim, delay_us, bus_up, start, free);
}

/* ---- its number ---- */

static uint64_t wall(const struct sim_node *node)
{
	struct sim *sim = node->sim;
	uint64_t skew_ms = sim->seed % 4 == 0 ? node->no * UINT64_C(5000) : 0;
	return UINT64_C(1700000000000) + sim->now_us / MS + skew_ms + (uint64_t)node->clock_ms;
}

struct number {
	struct sim_node *node;
	uint32_t gen;
	uint64_t incarnation;
};

static void number_kept(struct sim *sim, void *arg)
{
	struct number *number = arg;
	struct sim_node *node = number->node;
	struct ph_event event = {.kind = PH_EV_INCARNATION, .ticket = number->incarnation};
	if (node->gen == number->gen && node->hub) {
		event.error = node->number_fails ? 5 : 0;
		sim_count(sim, event.error ? COUNT_RAISE_FAILED : COUNT_RAISED);
		if (event.error)
			sim_deed_count(sim, &(struct sim_deed){.kind = DEED_NUMBER_DISK});
		else
			node->stored = node->incarnation = number->incarnation;
		node->number_fails = false;
		sim_node_push(node, 0, &event, NULL, NULL);
	}
	free(number);
}

void sim_node_raise(struct sim_node *node, uint64_t incarnation)
{
	struct sim *sim = node->sim;
	struct number *number = sim_alloc(sizeof *number);
	uint64_t wall_ms = wall(node);
	*number = (struct number){node, node->gen, ph_incarnation_from(incarnation, wall_ms)};
	if (node->number_crash) { /* made, and gone before it was synced */
		node->number_crash = false;
		node->crash = (struct sim_deed){.sim = sim, .kind = DEED_DAEMON_CRASH, .x = 1000};
		node->crash_in = 0;
		sim_deed_count(sim, &(struct sim_deed){.kind = DEED_NUMBER_CRASH});
	}
	sim_after(sim, node->number_us ? node->number_us : 20, number_kept, number, free);
}

/* The number of this start is made, and the daemon dies before it is synced. */
static bool starts_in_vain(struct sim_node *node)
{
	if (!node->start_crash)
		return false;
	node->start_crash = false;
	node->gen++;
	sim_after(node->sim, 500 * MS, on_restart, node, NULL);
	return true;
}

static void count_start(struct sim_node *node)
{
	struct sim *sim = node->sim;
	if (node->clock_ms)
		sim_count(sim, node->clock_ms < 0 ? COUNT_BACK : COUNT_AHEAD);
	if (node->gen > 1 && !node->stored)
		sim_count(sim, COUNT_NUMBER_LOST);
	/* Its fence has had its time, and has kept its hands off. */
	if (sim->keep && node->gen > 1 && node->lease_ms && sim_node_ms(node) >= node->lease_ms)
		sim_count(sim, COUNT_KEPT);
}

static void make_hub(struct sim_node *node)
{
	struct sim *sim = node->sim;
	uint64_t wall_ms = wall(node);
	struct ph_settings set = {.node = node->name,
		.slot = node->slot,
		.weight = 1.0,
		.version = "sim",
		.n_peers = node->n_peers,
		.peers = node->peers,
		.join_timeout_ms = 5000,
		.failure_timeout_ms = 5000,
		.settle_ms = 1000,
		.heartbeat_ms = 250,
		.exchange_ms = sim->exchange_ms,
		.fanout = sim->fanout,
		.migrations_max = 8,
		.drain_on_stop = sim->seed % 2,
		.accept_any = true,
		.journal_lost = node->disk.lost || node->damaged,
		.partition = sim->opt.partition,
		.quorum_size = sim->n_nodes / 2 + 1,
		.quorum_percent = 51,
		.quorum_hold_ms = 3000,
		.fence_after_ms = 3000,
		.fence_grace_ms = 1000,
		.lease_until_ms = node->lease_ms,
		.journal_writable = true};
	set.previous = node->stored;
	node->incarnation = node->stored + 1 > wall_ms ? node->stored + 1 : wall_ms;
	set.incarnation = node->stored = node->incarnation;
	set.seed = sim_random(sim);
	memcpy(set.address, node->address, sizeof set.address);
	for (size_t i = 0; i < sizeof node->secret; i++)
		node->secret[i] = (uint8_t)sim_random(sim);
	if (node->disk.lost || ph_id_none(&node->disk.id)) {
		uint64_t words[2] = {sim_random(sim), sim_random(sim)};
		memcpy(node->disk.id.b, words, sizeof words);
	}
	set.journal = node->disk.id;
	node->disk.lost = node->damaged = false;
	node->hub = ph_hub_new(&set);
	if (!node->hub)
		abort();
}

void sim_node_start(struct sim_node *node)
{
	struct sim *sim = node->sim;
	if (starts_in_vain(node))
		return;
	node->gen++;
	node->up = true;
	node->crash_in = -1;
	node->shutting = false;
	node->tick_us = UINT64_MAX;
	node->calm_us = sim->now_us;
	node->starting = true;
	node->seen_late = false;
	count_start(node);
	make_hub(node);
	sim_trace(sim, "%s: a daemon starts", node->name.s);
	sim_node_configure(node, false);
	sim_disk_restore(node);
	adopt_all(node);
	node->starting = false;
	if (!node->hub)
		return;
	sim_node_see(node);
	sim_node_bus(node, sim_between(sim, 2 * MS, 30 * MS));
}
