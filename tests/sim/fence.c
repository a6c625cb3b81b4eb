/*
 * fence.c - what outlives a daemon: ends the workers of a node whose lease was not renewed, which
 * that daemon hears first of all, if it lives. Without a quorum strategy the lease is renewed by
 * whatever the daemon does.
 */
#include "sim.h"

#define AFTER_MS 3000
#define GRACE_MS 1000

static void hit(struct sim *sim, void *arg)
{
	struct sim_proc *proc = arg;
	if (!proc->alive)
		return;
	sim_trace(sim, "%s: the fence ends pid %u of %s/%u", proc->node->name.s, proc->pid,
		proc->key->key.child.s, proc->key->key.instance);
	sim_proc_die(proc, DEATH_FENCE, (struct ph_exit){PH_EXIT_SIGNAL, 9});
}

static void look(struct sim *sim, void *arg)
{
	struct sim_node *node = arg;
	node->fence_armed = false;
	if (sim_node_ms(node) < node->lease_ms) {
		sim_fence_lease(node, node->lease_ms);
		return;
	}
	node->spent = !node->hub;
	sim_count(sim, node->hub ? COUNT_FENCED_ALIVE : COUNT_FENCED_DEAD);
	for (struct sim_proc *proc = sim->procs; proc; proc = proc->next) {
		if (proc->node != node || !proc->alive || !proc->claimable)
			continue;
		node->fenced = node->hub != NULL;
		sim->fenced = proc->fenced = true;
		sim_after(sim, GRACE_MS * MS, hit, proc, NULL); /* it ignores SIGTERM */
	}
}

void sim_fence_jumped(struct sim_node *node)
{
	if (node->fence_armed)
		look(node->sim, node);
}

void sim_fence_lease(struct sim_node *node, uint64_t until_ms)
{
	uint64_t life_ms = sim_node_ms(node) + AFTER_MS;
	node->lease_ms = until_ms < life_ms ? until_ms : life_ms;
	if (node->sim->keep)
		return;
	if (node->fence_armed || node->lease_ms <= sim_node_ms(node))
		return;
	node->fence_armed = true;
	sim_after(node->sim, (node->lease_ms - sim_node_ms(node)) * MS, look, node, NULL);
}
