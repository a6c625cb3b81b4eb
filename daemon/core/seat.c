/*
 * seat.c - whose is the place of a name in the view.
 *
 * The view names the life of each member that was let in. Its place is that life's, and belongs to
 * those after it that have its journal: they go on at once. Any other node of that name, a machine
 * that was set up anew or the second of two, is a stranger there: it has no lease, renews nobody's,
 * and votes for nothing, until a view names it instead, which is chosen by a ballot of the view in
 * force as any change is. One that has lost its journal, and stands where the old life stood, is no
 * stranger, once somebody says so who knows that; what that one promised it asks for (grant.c).
 *
 * What always holds: a member accepts a view that takes away a place only when no lease of whoever
 * has that place can rest on its echoes any more, and its echoes renew none from then on. A lease
 * rests on a quorum of the view, and each quorum that chooses the next one has a member in common
 * with it; so once a place is taken away, nobody has a lease by it.
 */
#include "core/quorum.h"

#include <stdlib.h>
#include <string.h>

#define HELD_MORE_MS 4000 /* for the next ballot to ask again */

/* What a view lets go of, seen from the one in force. */
struct loss {
	size_t n;
	struct ph_name name; /* the first of them ... */
	uint64_t successor;  /* ... and the life that is named instead; 0: none */
};

static struct loss loss_of(const struct ph_hub *hub, const char *text)
{
	struct loss loss = {0};
	struct ph_view next;
	if (!hub->view.number || !ph_quorum_read(text, &next))
		return loss;
	for (size_t i = 0; i < hub->view.n; i++) {
		const struct ph_voter *was = &hub->view.voters[i];
		const struct ph_voter *voter = ph_quorum_voter(&next, &was->name);
		if ((voter && voter->incarnation == was->incarnation) || loss.n++)
			continue;
		loss.name = was->name;
		loss.successor = voter ? voter->incarnation : 0;
	}
	free(next.voters);
	return loss;
}

/* ---- this node's own place */

/* That life was this node's; 0: of a time when it was not told. */
static bool is_own(const struct ph_hub *hub, uint64_t incarnation)
{
	return !incarnation || incarnation == hub->seat || incarnation == hub->set.incarnation ||
	       incarnation == hub->set.previous || incarnation == hub->first_life;
}

/* An earlier life was let in, and what it promised is not in the journal: that is another one. */
static bool is_lost(const struct ph_hub *hub, uint64_t incarnation)
{
	return incarnation != hub->seat && incarnation != hub->set.incarnation &&
	       incarnation != hub->first_life && !hub->view.number && !hub->promised;
}

void ph_seat_taken(struct ph_hub *hub, uint64_t next_number, const struct ph_view *next)
{
	const struct ph_voter *voter = ph_quorum_voter(next, &hub->set.node);
	hub->stranger = voter && !is_own(hub, voter->incarnation);
	if (hub->stranger || (voter && is_lost(hub, voter->incarnation)))
		ph_quorum_forgot(hub);
	if (hub->stranger || !voter)
		ph_lease_end(hub);
	else if (voter->incarnation)
		hub->seat = voter->incarnation;
	/* Who has another one's place, or a new one, is not the one that echoed before. */
	for (struct ph_member *m = hub->members; m; m = m->hh.next) {
		const struct ph_voter *was = ph_quorum_voter(&hub->view, &m->info.name);
		const struct ph_voter *now = ph_quorum_voter(next, &m->info.name);
		if (!was || !now || was->incarnation != now->incarnation)
			m->lease_at_ms = m->seated_view = 0;
		else if (m->seated_view == hub->view.number)
			m->seated_view = next_number;
		if (was && !now && m->state == PH_MEMBER_ALIVE) {
			m->went_ms = hub->now_ms;
			m->went_incarnation = m->info.incarnation;
		}
	}
}

void ph_seat_start(struct ph_hub *hub)
{
	const struct ph_voter *voter = ph_quorum_voter(&hub->view, &hub->set.node);
	hub->first_life = hub->set.incarnation;
	hub->stranger = voter && !is_own(hub, voter->incarnation);
	ph_seat_vote(hub);
	if (!hub->stranger)
		return;
	hub->forgetful = true;
	hub->lease_until_ms = 0;
}

bool ph_seat_given_up(struct ph_hub *hub, const char *text)
{
	struct loss loss = loss_of(hub, text);
	if (!loss.n || !ph_is_self(hub, &loss.name))
		return true;
	if (hub->leaving_ms) {
		hub->given_up = true;
		ph_lease_end(hub);
	}
	return !ph_lease_valid(hub);
}

/* ---- places of others */

/* Before that no lease can be over that rested on the echoes to this one. */
static uint64_t rests_until(const struct ph_hub *hub, const struct ph_member *m)
{
	return m->lease_told_ms ? m->lease_told_ms + ph_fence_bound_ms(hub, m) : 0;
}

void ph_seat_moves(struct ph_hub *hub, struct ph_member *m, bool elsewhere)
{
	uint64_t until_ms = rests_until(hub, m);
	m->lease_seq = 0;
	if (!elsewhere) /* the same node: it may go on with that lease */
		return;
	if (until_ms > m->others_until_ms && m->state != PH_MEMBER_LEFT)
		m->others_until_ms = until_ms;
	m->lease_told_ms = m->seated_view = 0;
}

/*
 * Where it has lost its journal, this node cannot know that the life that the view names was its
 * own. Others can: that one stood at its address, and so is not there any more.
 */
static void find_seat(struct ph_hub *hub)
{
	const struct ph_voter *voter = ph_quorum_voter(&hub->view, &hub->set.node);
	hub->stranger = false;
	hub->seat = voter->incarnation;
	ph_quorum_write(hub);
}

void ph_seat_heard(struct ph_hub *hub, struct ph_member *m, uint32_t flags, uint64_t view)
{
	m->adrift = flags & PH_ECHO_ADRIFT;
	if (!view || view != hub->view.number)
		return;
	if (!m->adrift)
		m->seated_view = view;
	if (flags & PH_ECHO_SEATED && hub->stranger)
		find_seat(hub);
}

void ph_seat_removed(struct ph_hub *hub, const struct ph_member *m)
{
	uint64_t until_ms = rests_until(hub, m);
	if (m->others_until_ms > until_ms)
		until_ms = m->others_until_ms;
	if (until_ms > hub->removed_until_ms)
		hub->removed_until_ms = until_ms;
}

void ph_seat_echoed(struct ph_hub *hub, struct ph_member *m)
{
	if (m->heard_seq <= m->lease_seq || ph_seat_withheld(hub, m))
		return;
	m->lease_seq = m->heard_seq;
	m->lease_told_ms = hub->now_ms;
}

bool ph_seat_free(const struct ph_hub *hub, const struct ph_name *name, uint64_t successor)
{
	const struct ph_member *m = ph_member_find(hub, name);
	uint64_t until_ms = m ? m->others_until_ms : hub->removed_until_ms;
	/* What an earlier daemon of this node echoed is not known: as if it had just done so. */
	uint64_t start_ms = hub->started_ms + ph_fence_bound_ms(hub, m);
	if (ph_is_self(hub, name))
		return hub->given_up || !ph_lease_valid(hub);
	if (m && m->state == PH_MEMBER_LEFT && !m->adrift && m->view == hub->view.number)
		return true; /* it had that place, and gave it up */
	if (m && m->info.incarnation != successor && rests_until(hub, m) > until_ms)
		until_ms = rests_until(hub, m);
	return hub->now_ms >= until_ms && hub->now_ms >= start_ms;
}

bool ph_seat_may(const struct ph_hub *hub, const char *text, const struct ph_name *from)
{
	struct loss loss = loss_of(hub, text);
	bool again = hub->vote_view == hub->view.number + 1 && hub->accepted_value &&
		     strcmp(hub->accepted_value, text) == 0;
	if (!loss.n || again)
		return true;
	/* Whoever asks for its own end has no lease any more. */
	bool own = ph_name_equal(&loss.name, from) && !ph_is_self(hub, from);
	return loss.n == 1 && (own || ph_seat_free(hub, &loss.name, loss.successor));
}

void ph_seat_hold(struct ph_hub *hub, const char *text)
{
	struct loss loss = loss_of(hub, text);
	const struct ph_member *m = ph_member_find(hub, &loss.name);
	hub->held = loss.name;
	hub->held_until_ms = hub->now_ms + ph_fence_bound_ms(hub, m) + HELD_MORE_MS;
}

void ph_seat_vote(struct ph_hub *hub)
{
	bool next = hub->vote_view == hub->view.number + 1 && hub->accepted_value;
	hub->unseated = next ? loss_of(hub, hub->accepted_value).name : (struct ph_name){0};
}

bool ph_seat_lost(const struct ph_hub *hub, const struct ph_name *name)
{
	return ph_name_equal(&hub->unseated, name) ||
	       (hub->now_ms < hub->held_until_ms && ph_name_equal(&hub->held, name));
}

bool ph_seat_withheld(const struct ph_hub *hub, const struct ph_member *m)
{
	return m->withheld || ph_seat_lost(hub, &m->info.name);
}

/* ---- where a quorum needs the one that is replaced */

static bool is_seed(const struct ph_hub *hub, const struct ph_name *name, uint64_t incarnation)
{
	const struct ph_member *m = ph_member_find(hub, name);
	for (size_t i = 0; m && i < hub->set.n_peers; i++)
		if (m->info.incarnation == incarnation && ph_peer_at(hub, i, m->info.address))
			return true;
	return false;
}

/*
 * All others have a member in common with each quorum of two or more, and with all others than
 * another one, where there are three. Of two each could replace the other: only the first by name
 * may, or where the new one stands at an address of `peers`, so that it has replaced the old one
 * there already.
 */
bool ph_seat_others(const struct ph_hub *hub, const char *text, const struct ph_name *yes, size_t n)
{
	struct loss loss = loss_of(hub, text);
	uint32_t need = ph_quorum_of(hub, hub->view.size);
	size_t forgotten = 0;
	if (loss.n != 1 || !loss.successor || ph_is_self(hub, &loss.name) || need < 2 ||
		need > hub->view.n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (ph_name_equal(&yes[i], &loss.name))
			return false;
	for (size_t i = 0; i < hub->view.n; i++) /* are switched off for good */
		forgotten += !ph_name_equal(&hub->view.voters[i].name, &loss.name) &&
			     ph_forgotten(hub, &hub->view.voters[i].name);
	bool first = strcmp(hub->set.node.s, loss.name.s) < 0;
	return n + forgotten + 1 == hub->view.n &&
	       (n > 1 || first || is_seed(hub, &loss.name, loss.successor));
}
