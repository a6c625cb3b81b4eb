/*
 * choose.c - which view there should be, as this node sees it: who is to come, to go, or to have
 * another one's place. ballot.c has it chosen.
 */
#include "core/quorum.h"

#include <stdlib.h>
#include <string.h>

#define LEAVE_WAIT_MS 3000 /* an orderly end waits so long until it is out of the view */
#define GOING_MS 6000 /* ... and lives no longer than that until all have heard its last words */

static bool out_of_view(const struct ph_hub *hub, struct ph_member *m)
{
	if (m->state == PH_MEMBER_LEFT)
		return true;
	return hub->set.partition == PH_PARTITION_DYNAMIC_QUORUM && m->state == PH_MEMBER_DEAD &&
	       hub->now_ms >= m->since_ms + hub->set.quorum_hold_ms;
}

static void copy_view(const struct ph_hub *hub, struct ph_view *next)
{
	*next = hub->view;
	next->voters = ph_must(calloc(hub->view.n + 1, sizeof *next->voters));
	if (hub->view.n)
		memcpy(next->voters, hub->view.voters, hub->view.n * sizeof *next->voters);
}

static void with(struct ph_view *next, const struct ph_name *name, uint64_t incarnation)
{
	next->voters[next->n++] = (struct ph_voter){.name = *name, .incarnation = incarnation};
	if (next->size < next->n)
		next->size = (uint32_t)next->n;
	ph_quorum_sort(next);
}

static void without(struct ph_view *next, const struct ph_name *name)
{
	size_t k = 0;
	for (size_t i = 0; i < next->n; i++)
		if (!ph_name_equal(&next->voters[i].name, name))
			next->voters[k++] = next->voters[i];
	next->size -= (uint32_t)(next->n - k);
	next->n = k;
}

/*
 * Has the view without one of them members enough for a quorum of it? Else it could never change
 * again, not even once the one that went is back: members of `peers` whose names are not known yet
 * count in its size.
 */
static bool may_shrink(const struct ph_hub *hub)
{
	return hub->view.n > 1 && hub->view.n - 1 >= ph_quorum_of(hub, hub->view.size - 1);
}

/* A member whose place is an earlier node's of its name: that one's lease is over. */
static bool other_life(const struct ph_hub *hub, struct ph_view *next)
{
	for (struct ph_member *m = hub->members; m; m = m->hh.next) {
		uint32_t size = next->size;
		if (m->state != PH_MEMBER_ALIVE || !m->adrift || m->view != hub->view.number ||
			!ph_quorum_has(&hub->view, &m->info.name) ||
			!ph_seat_free(hub, &m->info.name, m->info.incarnation))
			continue;
		without(next, &m->info.name);
		with(next, &m->info.name, m->info.incarnation);
		next->size = size;
		return true;
	}
	return false;
}

static bool enough_have_places(const struct ph_hub *hub)
{
	uint32_t n = 1;
	for (const struct ph_member *m = hub->members; m; m = m->hh.next)
		n += m->state == PH_MEMBER_ALIVE && !m->adrift &&
		     ph_quorum_has(&hub->view, &m->info.name);
	return n >= ph_quorum_of(hub, hub->view.size);
}

/* It has asked to be taken out, as it ends in order, and is not to be let in again meanwhile. */
static bool is_going(const struct ph_hub *hub, const struct ph_member *m)
{
	return m->went_incarnation == m->info.incarnation && hub->now_ms < m->went_ms + GOING_MS;
}

/* One member comes or goes at a time. False: the view is as it should be. */
static bool next_view(struct ph_hub *hub, struct ph_view *next)
{
	bool may = may_shrink(hub);
	copy_view(hub, next);
	/* All other changes may need its vote. */
	if (!enough_have_places(hub) && other_life(hub, next))
		return true;
	if (may && hub->leaving_ms && ph_quorum_has(&hub->view, &hub->set.node)) {
		without(next, &hub->set.node);
		return true;
	}
	for (size_t i = 0; i < hub->view.n && may; i++)
		if (ph_forgotten(hub, &hub->view.voters[i].name) &&
			ph_seat_free(hub, &hub->view.voters[i].name, 0)) {
			without(next, &hub->view.voters[i].name);
			return true;
		}
	for (struct ph_member *m = hub->members; m; m = m->hh.next) {
		bool in = ph_quorum_has(&hub->view, &m->info.name);
		if (!in && m->state == PH_MEMBER_ALIVE && hub->view.n < PH_NODES_MAX &&
			!is_going(hub, m)) {
			with(next, &m->info.name, m->info.incarnation);
			return true;
		}
		if (in && may && out_of_view(hub, m) && ph_seat_free(hub, &m->info.name, 0)) {
			without(next, &m->info.name);
			return true;
		}
	}
	return other_life(hub, next);
}

void ph_quorum_exists(struct ph_hub *hub, const struct ph_bmsg *proof)
{
	if (!ph_quorate(hub) || !proof->view || hub->view_exists)
		return;
	hub->view_exists = true;
	if (ph_quorum_waits(hub))
		ph_log(hub, PH_LOG_WARNING,
			"node %s at %s is of a cluster that exists: this node waits to be let into "
			"it, "
			"and founds no other one",
			proof->from.s, proof->self.address);
}

bool ph_quorum_waits(const struct ph_hub *hub)
{
	return hub->view_exists && !hub->view.number && !hub->accepted;
}

/* The first view: this node, and those of `peers` that are here. */
static bool first_view(struct ph_hub *hub, struct ph_view *next)
{
	size_t known = 0;
	*next = (struct ph_view){
		.voters = ph_must(calloc(hub->set.n_peers + 1, sizeof(struct ph_voter)))};
	with(next, &hub->set.node, hub->set.incarnation);
	for (struct ph_member *m = hub->members; m; m = m->hh.next) {
		if (m->view && ph_member_live(m))
			return false; /* there is one already */
		for (size_t i = 0; i < hub->set.n_peers; i++)
			if (m->state == PH_MEMBER_ALIVE && known < hub->set.n_peers &&
				ph_peer_at(hub, i, m->info.address)) {
				with(next, &m->info.name, m->info.incarnation);
				known++;
				break;
			}
	}
	next->size = (uint32_t)hub->set.n_peers + 1;
	return next->n >= ph_quorum_of(hub, next->size);
}

/* The first by name that is here proposes; another one only if it does not. */
static bool my_turn(const struct ph_hub *hub)
{
	for (struct ph_member *m = hub->members; m; m = m->hh.next)
		if (m->state == PH_MEMBER_ALIVE && strcmp(m->info.name.s, hub->set.node.s) < 0 &&
			(!hub->view.number || ph_quorum_has(&hub->view, &m->info.name)))
			return false;
	return true;
}

void ph_choose_beat(struct ph_hub *hub)
{
	struct ph_view next = {0};
	bool in = !hub->view.number || ph_quorum_has(&hub->view, &hub->set.node);
	if (hub->self_state != PH_MEMBER_ALIVE || hub->away || hub->bus_down || !in ||
		hub->forgetful || hub->stranger)
		return;
	/* What it has agreed to is brought to its end: it renews no lease by that place. */
	bool other = hub->unseated.s[0] && ph_quorum_read(hub->accepted_value, &next);
	if (!other)
		other = hub->view.number ? next_view(hub, &next)
					 : !ph_quorum_waits(hub) && first_view(hub, &next);
	if (!other) {
		hub->want_ms = 0;
	} else {
		if (!hub->want_ms)
			hub->want_ms = hub->now_ms;
		if (my_turn(hub) || hub->leaving_ms ||
			hub->now_ms >= hub->want_ms + hub->set.failure_timeout_ms)
			ph_ballot_want(hub, &next);
	}
	free(next.voters);
}

/* One that is about to be in the view: with it there are enough to do without this node. */
static bool newcomer(const struct ph_hub *hub)
{
	for (const struct ph_member *m = hub->members; m; m = m->hh.next)
		if (ph_member_live(m) && m->echoed && !ph_quorum_has(&hub->view, &m->info.name))
			return true;
	return false;
}

bool ph_quorum_leaving(struct ph_hub *hub)
{
	bool may = may_shrink(hub) || newcomer(hub);
	if (!ph_quorate(hub) || !ph_quorum_has(&hub->view, &hub->set.node) || !may ||
		!(hub->lease_held || hub->given_up) ||
		hub->now_ms >= hub->leaving_ms + LEAVE_WAIT_MS)
		return false;
	ph_choose_beat(hub);
	return true;
}
