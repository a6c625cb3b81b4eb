/*
 * net.c - the network and the bus processes: delay, loss, repetition, reordering, cuts.
 *
 * As the shell does it: a directed message is for one incarnation; a cast reaches whoever the
 * sender has linked, and its seeds.
 */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

struct flight {
	struct sim_node *from, *via, *to; /* via: on its first leg, or NULL */
	uint32_t bus_from, bus_to, gen_to;
	uint64_t to_incarnation, left_us; /* 0: any */
	bool relayed;			  /* the link that counts is not that of its sender */
	struct sim_letter *letter;
};

#define TTL_US (10 * SEC)

bool sim_net_passes(const struct sim *sim, const struct sim_node *from, const struct sim_node *to)
{
	return sim->cut_us[from->no][to->no] <= sim->now_us;
}

static void flight_drop(void *arg)
{
	struct flight *flight = arg;
	sim_letter_drop(flight->letter);
	free(flight);
}

/* Into the queue of a daemon that may be suspended: its bus process runs on. */
static void arrive(struct sim *sim, void *arg)
{
	struct flight *flight = arg;
	struct sim_node *to = flight->to;
	const struct ph_bmsg *msg = sim_letter_of(flight->letter);
	bool fits = to->hub && to->bus_up && flight->bus_to == to->bus_gen &&
		    (flight->relayed || sim_net_passes(sim, flight->from, to)) &&
		    sim->now_us - flight->left_us < TTL_US;
	if (fits && flight->to_incarnation && flight->to_incarnation != to->incarnation)
		fits = false;
	if (fits) {
		struct ph_event event = {.kind = PH_EV_MESSAGE, .message = msg};
		sim_node_push(to, 0, &event, sim_letter_drop, sim_letter_keep(flight->letter));
		if (flight->relayed)
			sim_count(sim, COUNT_RELAYED);
	}
	sim_late_record(
		flight->from, to, flight->letter, flight->to_incarnation, fits ? to->gen : 0);
	flight_drop(flight);
}

static uint64_t leg_us(struct sim *sim)
{
	return sim_chance(sim, 90) ? sim_between(sim, 100, 2 * MS) : sim_between(sim, 100, 20 * MS);
}

/* At the node that passes it on: its daemon must run, and reach the receiver. */
static void pass_on(struct sim *sim, void *arg)
{
	struct flight *flight = arg;
	struct sim_node *via = flight->via;
	bool runs = via->hub && via->bus_up && via->suspended_us <= sim->now_us &&
		    sim_net_passes(sim, flight->from, via) && sim_net_passes(sim, via, flight->to);
	if (!runs || sim_chance(sim, sim->loss_percent)) {
		flight_drop(flight);
		return;
	}
	flight->via = NULL;
	sim_after(sim, leg_us(sim), arrive, flight, flight_drop);
}

static void launch(
	struct sim_node *from, struct sim_node *to, struct sim_letter *letter, uint64_t incarnation)
{
	struct sim *sim = from->sim;
	unsigned copies = sim_chance(sim, sim->dup_percent) ? 2 : 1;
	if (!from->bus_up)
		return;
	if (!sim_net_passes(sim, from, to)) {
		if (!sim_late_hold(from, to, letter, incarnation))
			sim_late_record(from, to, letter, incarnation, 0);
		return;
	}
	if (sim_chance(sim, sim->loss_percent)) {
		sim_late_record(from, to, letter, incarnation, 0);
		return;
	}
	if (copies > 1)
		sim_count(sim, COUNT_DUPLICATE);
	while (copies--) {
		struct flight *flight = sim_alloc(sizeof *flight);
		uint64_t delay = leg_us(sim);
		flight->from = from;
		flight->to = to;
		flight->bus_to = to->bus_gen;
		flight->to_incarnation = incarnation;
		flight->left_us = sim->now_us;
		flight->letter = sim_letter_keep(letter);
		sim_after(sim, delay, arrive, flight, flight_drop);
	}
}

static void relay(struct sim_node *from, struct sim_node *via, struct sim_node *to,
	struct sim_letter *letter, uint64_t incarnation)
{
	struct sim *sim = from->sim;
	if (!from->bus_up || !sim_net_passes(sim, from, via) || sim_chance(sim, sim->loss_percent))
		return;
	struct flight *flight = sim_alloc(sizeof *flight);
	flight->from = from;
	flight->via = via;
	flight->to = to;
	flight->bus_to = to->bus_gen;
	flight->to_incarnation = incarnation;
	flight->left_us = sim->now_us;
	flight->relayed = true;
	flight->letter = sim_letter_keep(letter);
	sim_after(sim, leg_us(sim), pass_on, flight, flight_drop);
}

/* The one of that name at that address, or else the one to which there is a link; or NULL. */
static struct sim_node *at(
	const struct sim_node *from, const struct ph_name *to, const char *address)
{
	struct sim *sim = from->sim;
	for (unsigned i = 0; i < sim->n_nodes; i++) {
		struct sim_node *node = &sim->nodes[i];
		bool there = address && strcmp(address, node->address) == 0;
		if ((there || (!address && from->linked[i])) && ph_name_equal(&node->name, to))
			return node;
	}
	return address ? at(from, to, NULL) : NULL;
}

void sim_net_send(struct sim_node *from, const struct ph_action *action, const struct ph_bmsg *msg)
{
	const struct ph_name *via = &action->via;
	struct sim_node *node = at(from, &action->to, action->address);
	struct sim_node *by = via->s[0] ? at(from, via, NULL) : NULL;
	if (!node)
		return;
	struct sim_letter *letter = sim_letter_new(from->sim, msg);
	launch(from, node, letter, action->incarnation);
	if (by)
		relay(from, by, node, letter, action->incarnation);
	sim_letter_drop(letter);
}

static bool is_seed(const struct sim_node *from, const struct sim_node *to)
{
	for (unsigned i = 0; from->seeds_on && i < from->n_peers; i++)
		if (strcmp(from->peers[i], to->address) == 0)
			return true;
	return false;
}

void sim_net_cast(struct sim_node *from, const struct ph_bmsg *msg)
{
	struct sim *sim = from->sim;
	struct sim_letter *letter = sim_letter_new(sim, msg);
	if (!from->hearing) /* else that message may have changed it since */
		sim_letter_means(letter, from->hub);
	for (unsigned i = 0; i < sim->n_nodes; i++) {
		struct sim_node *to = &sim->nodes[i];
		bool linked = from->linked[i] && from->link_us[i] <= sim->now_us;
		if (to != from && (linked || is_seed(from, to)))
			launch(from, to, letter, 0);
	}
	sim_letter_drop(letter);
}

void sim_net_link(struct sim_node *from, const struct ph_name *to, const char *address)
{
	struct sim *sim = from->sim;
	for (unsigned i = 0; address && i < sim->n_nodes; i++) {
		struct sim_node *node = &sim->nodes[i];
		if (!ph_name_equal(&node->name, to))
			continue;
		from->linked[i] = strcmp(node->address, address) == 0; /* instead of another one */
		if (from->linked[i])
			from->link_us[i] = sim->now_us + sim_between(sim, MS, 30 * MS);
	}
}

void sim_net_unlink(struct sim_node *from, const struct ph_name *to)
{
	for (unsigned i = 0; i < from->sim->n_nodes; i++)
		if (ph_name_equal(&from->sim->nodes[i].name, to))
			from->linked[i] = false;
}
