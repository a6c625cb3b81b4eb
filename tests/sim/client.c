/* client.c - for each key a client that asks some daemon where it is, and never stops writing. */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

struct request {
	struct sim_key *key;
	uint32_t pid;
};

static bool match(void *arg, const struct ph_entry_view *view)
{
	struct sim_key *key = arg;
	if (!view->owned || !ph_key_equal(&view->entry.key, &key->key))
		return true;
	if (view->reachable && view->entry.ready)
		key->target_pid = view->entry.pid;
	return false;
}

static void look_up(struct sim *sim, struct sim_key *key)
{
	struct sim_node *node = &sim->nodes[sim_random(sim) % sim->n_nodes];
	key->target_pid = 0;
	if (node->hub && node->suspended_us <= sim->now_us)
		ph_hub_entries(node->hub, sim_node_ms(node), &key->key.child, match, key);
}

static void acknowledge(struct sim *sim, struct sim_key *key)
{
	if (key->next >= key->n_acks) {
		size_t n = key->n_acks;
		key->n_acks = 2 * n + 256;
		key->acks = realloc(key->acks, key->n_acks * sizeof *key->acks);
		if (!key->acks)
			abort();
		memset(key->acks + n, 0, (key->n_acks - n) * sizeof *key->acks);
	}
	key->acks[key->next].acked = true;
	key->acked_at_us = sim->now_us;
	key->next++;
	sim->acks++;
}

/* At the worker: a repeated update is acknowledged again and not applied again. */
static void request(struct sim *sim, void *arg)
{
	struct request *req = arg;
	struct sim_key *key = req->key;
	struct sim_proc *proc = sim_proc_of_pid(sim, req->pid);
	free(req);
	if (!proc || !proc->serving || proc->key != key) {
		key->target_pid = 0;
		return;
	}
	bool has = proc->n_items && proc->items[proc->n_items - 1] == key->next;
	if (!has)
		sim_proc_apply(proc, &key->next, 1);
	if (!sim_chance(sim, 2)) /* else the answer is lost: it will be repeated */
		acknowledge(sim, key);
}

static void client(struct sim *sim, void *arg)
{
	struct sim_key *key = arg;
	if (!key->target_pid || sim_chance(sim, 5))
		look_up(sim, key);
	if (key->target_pid) {
		struct request *req = sim_alloc(sizeof *req);
		req->key = key;
		req->pid = key->target_pid;
		sim_after(sim, sim_between(sim, 50, 2 * MS), request, req, free);
	}
	sim_after(sim, sim_between(sim, 20 * MS, 80 * MS), client, key, NULL);
}

void sim_clients_start(struct sim *sim)
{
	for (unsigned i = 0; i < sim->n_keys; i++) {
		sim->keys[i].next = 1;
		sim_after(sim, sim_between(sim, 0, SEC), client, &sim->keys[i], NULL);
	}
}
