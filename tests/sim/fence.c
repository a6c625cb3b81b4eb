/* fence.c - what outlives a daemon: ends the workers of a node whose lease was not renewed. */
#include "sim.h"

#define GRACE_MS 1000

static void look(struct sim *sim, void *arg)
{
	struct sim_node *node = arg;
	node->fence_armed = false;
	if (sim_node_ms(node) < node->lease_ms + GRACE_MS) {
		sim_fence_lease(node, node->lease_ms);
		return;
	}
	for (struct sim_proc *proc = sim->procs; proc; proc = proc->next) {
		if (proc->node != node || !proc->alive)
			continue;
		sim_trace(sim, "%s: the fence ends pid %u of %s/%u", node->name.s, proc->pid,
			proc->key->key.child.s, proc->key->key.instance);
		sim->fenced = true;
		sim_proc_die(proc, DEATH_FAULT, (struct ph_exit){PH_EXIT_SIGNAL, 9});
	}
}

void sim_fence_lease(struct sim_node *node, uint64_t until_ms)
{
	if (!node->sim->opt.partition)
		return;
	node->lease_ms = until_ms;
	if (node->fence_armed || until_ms + GRACE_MS <= sim_node_ms(node))
		return;
	node->fence_armed = true;
	sim_after(node->sim, (until_ms + GRACE_MS - sim_node_ms(node)) * MS, look, node, NULL);
}
