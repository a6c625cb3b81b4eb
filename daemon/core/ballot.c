/*
 * ballot.c - choosing the next view: single-decree Paxos for each view number.
 *
 * Acceptors are the members of the view in force; for the first view, those that stand at the
 * addresses of `peers`. A proposer asks with a ballot number that no other node can make, takes
 * over what a quorum says was accepted before, and proposes it; once a quorum has accepted, it is
 * the view. Promises and acceptances are synced before they are answered, so two different views
 * with one number cannot be chosen, whoever dies (Lamport, "Paxos Made Simple", 2001).
 */
#include "core/quorum.h"

#include <stdlib.h>
#include <string.h>

#define PATIENCE_MS 1500 /* a phase that no quorum has answered by then ends the ballot ... */
#define PAUSE_MS 400	 /* ... and the next one begins after this and as much again by chance */
#define AGAIN_MS 200	 /* who has not answered by then is asked once more with the next beat */

static bool first(const struct ph_hub *hub)
{
	return hub->view.number == 0;
}

static bool may_vote(const struct ph_hub *hub, const struct ph_name *name)
{
	const struct ph_member *m = ph_member_find(hub, name);
	if (!first(hub))
		return ph_quorum_has(&hub->view, name);
	if (ph_is_self(hub, name))
		return true;
	for (size_t i = 0; m && i < hub->set.n_peers; i++)
		if (ph_peer_at(hub, i, m->info.address))
			return true;
	return false;
}

static uint32_t needed(const struct ph_hub *hub)
{
	return ph_quorum_of(hub, first(hub) ? (uint32_t)hub->set.n_peers + 1 : hub->view.size);
}

/* ---- the acceptor */

static void write_vote(struct ph_hub *hub, const struct ph_name *to, enum ph_bkind answer)
{
	struct ph_record record = {.kind = PH_RECORD_BALLOT,
		.epoch = hub->vote_view,
		.hash = hub->promised,
		.revision = hub->accepted,
		.text = hub->accepted_value};
	struct ph_wait *wait = ph_wait_add(hub, ph_journal(hub, &record), PH_WAIT_BALLOT);
	wait->to = *to;
	wait->number = hub->promised;
	wait->answer = answer;
}

/* What is not for the view that comes next here is no question. */
static bool concerns(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	if (msg->view <= hub->view.number) {
		ph_quorum_message(hub, msg); /* it is chosen: told so */
		return false;
	}
	if (msg->view > hub->view.number + 1 || hub->forgetful || hub->stranger ||
		!ph_quorate(hub) || ph_quorum_waits(hub))
		return false;
	if (hub->vote_view != msg->view) {
		hub->vote_view = msg->view;
		hub->promised = hub->accepted = 0;
		free(hub->accepted_value);
		hub->accepted_value = NULL;
		ph_seat_vote(hub);
	}
	if (ph_epoch_counter(msg->ballot) > hub->ballots)
		hub->ballots = ph_epoch_counter(msg->ballot);
	return true;
}

static void refuse(struct ph_hub *hub, const struct ph_bmsg *msg, enum ph_bkind answer)
{
	struct ph_bmsg *no = ph_send(hub, &msg->from, answer);
	no->view = msg->view;
	no->ballot = msg->ballot;
	no->accepted = hub->promised;
}

static void on_ask(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	if (!concerns(hub, msg))
		return;
	if (msg->value && !ph_seat_may(hub, msg->value, &msg->from))
		return; /* it would not accept that: it is asked again */
	if (msg->ballot < hub->promised) {
		refuse(hub, msg, PH_B_VIEW_PROMISE);
		return;
	}
	hub->promised = msg->ballot;
	write_vote(hub, &msg->from, PH_B_VIEW_PROMISE);
}

static void on_propose(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	struct ph_view view;
	if (!concerns(hub, msg) || !ph_quorum_read(msg->value, &view))
		return;
	free(view.voters);
	if (msg->ballot < hub->promised) {
		refuse(hub, msg, PH_B_VIEW_ACCEPTED);
		return;
	}
	if (!ph_seat_may(hub, msg->value, &msg->from)) {
		ph_seat_hold(hub, msg->value); /* so that it may, in the end */
		return;
	}
	hub->promised = hub->accepted = msg->ballot;
	free(hub->accepted_value);
	hub->accepted_value = ph_must(strdup(msg->value));
	ph_seat_vote(hub);
	write_vote(hub, &msg->from, PH_B_VIEW_ACCEPTED);
}

static void on_answer(struct ph_hub *hub, const struct ph_bmsg *msg);

/* A vote is on disk: it is said, unless a later one has overtaken it. */
void ph_ballot_synced(struct ph_hub *hub, const struct ph_wait *wait, bool ok)
{
	if (!ok || hub->promised != wait->number || hub->vote_view != hub->view.number + 1)
		return;
	bool self = ph_is_self(hub, &wait->to);
	struct ph_bmsg own = {.kind = wait->answer, .from = hub->set.node};
	struct ph_bmsg *yes = self ? &own : ph_send(hub, &wait->to, wait->answer);
	yes->ok = true;
	yes->view = hub->vote_view;
	yes->ballot = wait->number;
	yes->accepted = hub->accepted;
	yes->value = ph_out_text(hub, hub->accepted_value);
	if (self)
		on_answer(hub, yes);
}

void ph_ballot_learn(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	if (msg->until < hub->vote_view || msg->until <= hub->view.number)
		return;
	if (msg->until > hub->vote_view)
		hub->promised = hub->accepted = 0;
	hub->vote_view = msg->until;
	if (msg->ballot > hub->promised)
		hub->promised = msg->ballot;
	if (msg->value && msg->accepted > hub->accepted) {
		hub->accepted = msg->accepted;
		free(hub->accepted_value);
		hub->accepted_value = ph_must(strdup(msg->value));
	}
	ph_seat_vote(hub);
	if (ph_epoch_counter(hub->promised) > hub->ballots)
		hub->ballots = ph_epoch_counter(hub->promised);
}

/* ---- the proposer */

static void give_up(struct ph_hub *hub)
{
	hub->ballot.number = 0;
	hub->ballot.n_yes = 0;
	hub->ballot.started_ms = hub->now_ms + PAUSE_MS + ph_random(hub) % PAUSE_MS;
}

void ph_ballot_over(struct ph_hub *hub)
{
	hub->ballot.number = 0;
	hub->ballot.n_yes = 0;
	hub->want_ms = 0;
}

static bool has_answered(const struct ph_ballot *ballot, const struct ph_name *name)
{
	for (size_t i = 0; i < ballot->n_yes; i++)
		if (ph_name_equal(&ballot->yes[i], name))
			return true;
	return false;
}

/*
 * The question of this phase, to all others who have not answered it. In the first one those who
 * would not accept the view do not answer, so that nobody accepts what cannot be chosen; where this
 * node itself has accepted it, it must be: they are to get ready for it.
 */
static void to_others(struct ph_hub *hub)
{
	struct ph_ballot *ballot = &hub->ballot;
	bool told = ballot->proposed || !hub->unseated.s[0];
	enum ph_bkind kind = ballot->proposed ? PH_B_VIEW_PROPOSE : PH_B_VIEW_ASK;
	ballot->said_ms = hub->now_ms;
	for (struct ph_member *m = hub->members; m; m = m->hh.next) {
		if (!ph_member_live(m) || !may_vote(hub, &m->info.name) ||
			has_answered(ballot, &m->info.name))
			continue;
		struct ph_bmsg *msg = ph_send(hub, &m->info.name, kind);
		msg->view = ballot->view;
		msg->ballot = ballot->number;
		msg->value = told ? ph_out_text(hub, ballot->value) : NULL;
	}
}

static void begin_phase(struct ph_hub *hub, bool proposed)
{
	struct ph_ballot *ballot = &hub->ballot;
	struct ph_bmsg own = {.kind = proposed ? PH_B_VIEW_PROPOSE : PH_B_VIEW_ASK,
		.from = hub->set.node,
		.view = ballot->view,
		.ballot = ballot->number,
		.value = ballot->value};
	if (!ph_seat_given_up(hub, ballot->value)) {
		give_up(hub); /* this node would be out of the view, and has a lease still */
		return;
	}
	ballot->proposed = proposed;
	ballot->n_yes = 0;
	ballot->started_ms = hub->now_ms;
	to_others(hub);
	if (proposed)
		on_propose(hub, &own);
	else
		on_ask(hub, &own);
}

void ph_ballot_want(struct ph_hub *hub, const struct ph_view *next)
{
	struct ph_ballot *ballot = &hub->ballot;
	if (ballot->number || hub->now_ms < ballot->started_ms)
		return;
	free(ballot->value);
	ballot->value = ph_quorum_text(next);
	ballot->yes = ph_must(realloc(ballot->yes, (PH_NODES_MAX + 1) * sizeof *ballot->yes));
	ballot->number = ph_epoch_make(++hub->ballots, hub->set.slot);
	ballot->view = hub->view.number + 1;
	ballot->best = 0;
	begin_phase(hub, false);
}

void ph_ballot_beat(struct ph_hub *hub)
{
	if (!hub->ballot.number)
		return;
	if (hub->now_ms >= hub->ballot.started_ms + PATIENCE_MS)
		give_up(hub);
	else if (hub->now_ms >= hub->ballot.said_ms + AGAIN_MS)
		to_others(hub); /* a question or its answer was lost */
}

static void chosen(struct ph_hub *hub)
{
	for (struct ph_member *m = hub->members; m; m = m->hh.next) {
		if (!ph_member_live(m))
			continue;
		struct ph_bmsg *msg = ph_send(hub, &m->info.name, PH_B_VIEW);
		msg->view = hub->ballot.view;
		msg->value = ph_out_text(hub, hub->ballot.value);
	}
	char *value = hub->ballot.value;
	hub->ballot.value = NULL;
	ph_quorum_take(hub, hub->ballot.view, value);
	free(value);
}

static void on_answer(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	struct ph_ballot *ballot = &hub->ballot;
	bool second = msg->kind == PH_B_VIEW_ACCEPTED;
	if (!ballot->number || msg->ballot != ballot->number || msg->view != ballot->view ||
		second != ballot->proposed || !may_vote(hub, &msg->from))
		return;
	if (!msg->ok) {
		if (ph_epoch_counter(msg->accepted) > hub->ballots)
			hub->ballots = ph_epoch_counter(msg->accepted);
		give_up(hub);
		return;
	}
	if (!second && msg->value && msg->accepted > ballot->best) {
		ballot->best = msg->accepted;
		free(ballot->value);
		ballot->value = ph_must(strdup(msg->value));
	}
	if (has_answered(ballot, &msg->from))
		return;
	ballot->yes[ballot->n_yes++] = msg->from;
	if (ballot->n_yes < needed(hub) &&
		!ph_seat_others(hub, ballot->value, ballot->yes, ballot->n_yes))
		return;
	if (second)
		chosen(hub);
	else
		begin_phase(hub, true);
}

void ph_ballot_message(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	if (msg->kind == PH_B_VIEW_ASK)
		on_ask(hub, msg);
	else if (msg->kind == PH_B_VIEW_PROPOSE)
		on_propose(hub, msg);
	else
		on_answer(hub, msg);
}
