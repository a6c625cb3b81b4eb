/* world.c - virtual time, chance, and what is remembered of a run. */
#include "sim.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

struct sim_item {
	uint64_t at_us, seq;
	sim_fn *fn;
	void *arg;
	void (*drop)(void *);
};

void *sim_alloc(size_t n)
{
	void *p = calloc(1, n ? n : 1);
	if (!p)
		abort();
	return p;
}

/* splitmix64 by Sebastiano Vigna (public domain) */
uint64_t sim_random(struct sim *sim)
{
	uint64_t z = (sim->rng += UINT64_C(0x9e3779b97f4a7c15));
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

uint64_t sim_between(struct sim *sim, uint64_t low, uint64_t high)
{
	return low + sim_random(sim) % (high - low + 1);
}

bool sim_chance(struct sim *sim, unsigned percent)
{
	return sim_random(sim) % 100 < percent;
}

/* ---- the queue: a heap by time, then by order of arrival ---- */

static bool before(const struct sim_item *a, const struct sim_item *b)
{
	return a->at_us != b->at_us ? a->at_us < b->at_us : a->seq < b->seq;
}

void sim_after(struct sim *sim, uint64_t delay_us, sim_fn *fn, void *arg, void (*drop)(void *))
{
	if (sim->n_heap == sim->heap_room) {
		sim->heap_room = sim->heap_room ? 2 * sim->heap_room : 1024;
		sim->heap = realloc(sim->heap, sim->heap_room * sizeof *sim->heap);
		if (!sim->heap)
			abort();
	}
	struct sim_item item = {sim->now_us + delay_us, ++sim->seq, fn, arg, drop};
	size_t i = sim->n_heap++;
	while (i && before(&item, &sim->heap[(i - 1) / 2])) {
		sim->heap[i] = sim->heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	sim->heap[i] = item;
}

static struct sim_item pop(struct sim *sim)
{
	struct sim_item top = sim->heap[0], last = sim->heap[--sim->n_heap];
	size_t i = 0;
	for (;;) {
		size_t child = 2 * i + 1;
		if (child >= sim->n_heap)
			break;
		if (child + 1 < sim->n_heap && before(&sim->heap[child + 1], &sim->heap[child]))
			child++;
		if (!before(&sim->heap[child], &last))
			break;
		sim->heap[i] = sim->heap[child];
		i = child;
	}
	sim->heap[i] = last;
	return top;
}

void sim_loop(struct sim *sim)
{
	while (sim->n_heap && !sim->failed && !sim->over) {
		struct sim_item item = pop(sim);
		sim->now_us = item.at_us;
		item.fn(sim, item.arg);
	}
}

void sim_fini(struct sim *sim)
{
	for (size_t i = 0; i < sim->n_heap; i++)
		if (sim->heap[i].drop)
			sim->heap[i].drop(sim->heap[i].arg);
	free(sim->heap);
	sim_late_fini(sim);
	for (unsigned i = 0; i < sim->n_nodes; i++) {
		ph_hub_free(sim->nodes[i].hub);
		sim_disk_fini(&sim->nodes[i]);
	}
	while (sim->procs) {
		struct sim_proc *proc = sim->procs;
		sim->procs = proc->next;
		sim_proc_free(proc);
	}
	while (sim->streams) {
		struct sim_stream *stream = sim->streams;
		sim->streams = stream->next;
		for (unsigned i = 0; i < SIM_ROUNDS; i++)
			free(stream->rounds[i].items);
		free(stream);
	}
	while (sim->migs) {
		struct sim_mig *mig = sim->migs;
		sim->migs = mig->next;
		free(mig);
	}
	for (unsigned i = 0; i < sim->n_keys; i++)
		free(sim->keys[i].acks);
}

/* ---- what is remembered ---- */

void sim_fail(struct sim *sim, const char *format, ...)
{
	va_list args;
	if (sim->failed)
		return;
	sim->failed = true;
	va_start(args, format);
	(void)vsnprintf(sim->why, sizeof sim->why, format, args);
	va_end(args);
	sim_trace(sim, "FAILED: %s", sim->why);
}

void sim_trace(struct sim *sim, const char *format, ...)
{
	va_list args;
	if (!sim->opt.trace)
		return;
	printf("%10.6f ", (double)sim->now_us / 1e6);
	va_start(args, format);
	(void)vprintf(format, args);
	va_end(args);
	putchar('\n');
}

void sim_mix(struct sim *sim, uint64_t a, uint64_t b)
{
	sim->hash = ph_mix64(sim->hash ^ sim->now_us) + ph_mix64(a * 31 + b);
}
