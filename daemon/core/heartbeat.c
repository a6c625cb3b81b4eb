/*
 * heartbeat.c - who lives: what a heartbeat says, and what its echoes and silences mean.
 */
#include "core/member.h"

#include <stdlib.h>
#include <string.h>

#define SILENT_BEATS 4
#define STRANGER_MS 1000 /* between two HELLOs that ask who it is that others hear */
#define LAG_BEATS 4	 /* this node's own loop was late by so many: accuse nobody */

/* ---- heartbeats ---- */

static uint64_t echo_age(const struct ph_hub *hub, const struct ph_member *member)
{
	return hub->now_ms - member->echo_at_ms;
}

static void put_echoes(struct ph_hub *hub, struct ph_bmsg *msg)
{
	struct ph_echo *list = ph_out_alloc(hub, (HASH_COUNT(hub->members) + 1) * sizeof *list);
	size_t n = 0;
	for (struct ph_member *m = hub->members; m; m = m->hh.next) {
		if (!ph_member_live(m) && m->state != PH_MEMBER_DEAD)
			continue; /* one held for dead hears its echo all the same, and may object
				   */
		list[n++] = (struct ph_echo){.name = m->info.name,
			.incarnation = m->info.incarnation,
			.sequence = m->heard_seq,
			.age_ms = echo_age(hub, m),
			.have = m->have,
			.suspect = m->state == PH_MEMBER_SUSPECT,
			.withheld = m->withheld,
			.joined = m->state == PH_MEMBER_SUSPECT || m->state == PH_MEMBER_ALIVE,
			.draining = m->info.draining,
			.drained = m->drained};
		if (m->heard_seq > m->told_seq) {
			m->told_seq = m->heard_seq;
			m->told_at_ms = hub->now_ms;
		}
	}
	msg->echoes = list;
	msg->n_echoes = n;
}

void ph_member_heartbeat_now(struct ph_hub *hub)
{
	if (!hub->set.address[0])
		return;
	struct ph_bmsg *msg = ph_cast(hub, PH_B_HEARTBEAT);
	hub->sequence++;
	hub->sent_ms[hub->sequence % PH_SENT_RING] = hub->now_ms;
	msg->sequence = hub->sequence;
	msg->view = hub->view.number;
	msg->self = ph_member_self(hub);
	msg->drained = hub->drained;
	msg->registry_version = hub->flushed_version;
	msg->registry_digest = hub->dirty ? 0 : hub->digest;
	msg->migrations_version = hub->flushed_migrations;
	msg->children = ph_registry_mine(hub);
	put_echoes(hub, msg);
}

/* This node's own loop stood still: nobody is to be blamed for its silence. */
static void forgive(struct ph_hub *hub)
{
	uint64_t late = hub->now_ms - hub->last_beat_ms;
	if (hub->last_beat_ms == 0 || late < LAG_BEATS * hub->set.heartbeat_ms)
		return;
	ph_log(hub, PH_LOG_WARNING, "this node's loop stood still for %llu ms",
		(unsigned long long)late);
	for (struct ph_member *m = hub->members; m; m = m->hh.next)
		m->echo_at_ms = hub->now_ms;
	if (late >= hub->set.failure_timeout_ms)
		hub->away = true;
}

/* Without its bus process this node hears nobody and says nothing: no verdict, no decision. */
void ph_member_bus(struct ph_hub *hub, bool up)
{
	if (!up && !hub->bus_down)
		hub->bus_down_ms = hub->now_ms;
	if (up && hub->bus_down) {
		for (struct ph_member *m = hub->members; m; m = m->hh.next)
			m->echo_at_ms = hub->now_ms;
		hub->away =
			hub->away || hub->now_ms >= hub->bus_down_ms + hub->set.failure_timeout_ms;
	}
	hub->bus_down = !up;
}

void ph_member_woke(struct ph_hub *hub)
{
	if (hub->beat.pos && hub->now_ms >= hub->last_beat_ms + LAG_BEATS * hub->set.heartbeat_ms)
		ph_member_beat(hub);
}

static const struct ph_report *report_on(const struct ph_member *by, const struct ph_member *member)
{
	for (size_t i = 0; i < by->n_reports; i++)
		if (ph_name_equal(&by->reports[i].name, &member->info.name) &&
			by->reports[i].incarnation >= member->info.incarnation)
			return &by->reports[i];
	return NULL;
}

/* How long ago `by` had an echo of that incarnation or a newer one, as far as is known; UINT64_MAX:
 * never. */
static uint64_t heard_by(
	const struct ph_hub *hub, const struct ph_member *by, const struct ph_member *member)
{
	const struct ph_report *report = report_on(by, member);
	return report && report->age_ms < PH_NEVER_MS / 2
		       ? report->age_ms + (hub->now_ms - by->heard_at_ms)
		       : PH_NEVER_MS;
}

static bool has_echo(const struct ph_hub *hub, const struct ph_member *m)
{
	return m->echoed && echo_age(hub, m) <= (SILENT_BEATS + 1) * hub->set.heartbeat_ms;
}

/* One that is alive, heard here, and hears that member; NULL: none. */
static const struct ph_member *hearer_of(const struct ph_hub *hub, const struct ph_member *member)
{
	const uint64_t fresh = (SILENT_BEATS + 1) * hub->set.heartbeat_ms;
	for (struct ph_member *m = hub->members; m; m = m->hh.next)
		if (m->state == PH_MEMBER_ALIVE && echo_age(hub, m) <= fresh &&
			heard_by(hub, m, member) <= fresh)
			return m;
	return NULL;
}

const struct ph_member *ph_member_relay(const struct ph_hub *hub, const struct ph_name *to)
{
	const struct ph_member *m = ph_member_find(hub, to);
	bool mute = m && (m->state == PH_MEMBER_SUSPECT ||
				 (m->state == PH_MEMBER_JOINING && !has_echo(hub, m)));
	return mute ? hearer_of(hub, m) : NULL;
}

static bool nobody_hears(const struct ph_hub *hub, const struct ph_member *mute)
{
	uint64_t limit = hub->set.failure_timeout_ms;
	if (echo_age(hub, mute) < limit || ph_probe_answered(hub, mute, limit))
		return false;
	for (struct ph_member *m = hub->members; m; m = m->hh.next) {
		if (m == mute || m->state != PH_MEMBER_ALIVE || echo_age(hub, m) >= limit)
			continue;
		if (heard_by(hub, m, mute) < limit)
			return false;
	}
	return true;
}

static void set_draining(struct ph_hub *hub, struct ph_member *m, bool draining, bool drained)
{
	bool replan = m->info.draining && !draining;
	if (replan)
		m->newcomer_ms = hub->now_ms; /* its children may return */
	if (m->info.draining != draining)
		ph_plan_soon(hub, replan ? hub->set.settle_ms : 0);
	m->info.draining = draining;
	m->drained = drained;
}

/* What others know of one that this node does not hear itself. */
static void vouch(struct ph_hub *hub, struct ph_member *m)
{
	bool mute = (ph_member_live(m) && !has_echo(hub, m)) || m->state == PH_MEMBER_DEAD;
	const struct ph_member *by = mute ? hearer_of(hub, m) : NULL;
	const struct ph_report *report = by ? report_on(by, m) : NULL;
	if (!report)
		return;
	if (m->state == PH_MEMBER_DEAD)
		ph_member_step(hub, m, PH_MEMBER_IN_VOUCHED);
	else if (m->state == PH_MEMBER_JOINING && report->joined)
		ph_member_step(hub, m, PH_MEMBER_IN_JOINED);
	if (hub->now_ms > m->heard_at_ms + (SILENT_BEATS + 1) * hub->set.heartbeat_ms)
		set_draining(hub, m, report->draining, report->drained);
}

static void judge(struct ph_hub *hub)
{
	if (hub->bus_down) /* the silence is ours */
		return;
	uint64_t silent = (SILENT_BEATS + 1) * hub->set.heartbeat_ms;
	struct ph_member *m, *next;
	HASH_ITER (hh, hub->members, m, next) {
		vouch(hub, m);
		if (!ph_member_live(m))
			continue;
		if (echo_age(hub, m) > silent)
			ph_member_step(hub, m, PH_MEMBER_IN_SILENT);
		if (nobody_hears(hub, m))
			ph_member_step(hub, m, PH_MEMBER_IN_MUTE);
		else
			ph_registry_step(hub, m);
	}
}

/* Itself, or by one that it reaches: the link between the two may be cut for good. */
static bool heard_of(const struct ph_hub *hub, const struct ph_member *m)
{
	return m->heard_at_ms + hub->set.heartbeat_ms * 2 >= hub->now_ms ||
	       ph_member_relay(hub, &m->info.name);
}

static bool back_in_step(const struct ph_hub *hub)
{
	for (struct ph_member *m = hub->members; m; m = m->hh.next)
		if (ph_member_live(m) && (!heard_of(hub, m) || !ph_registry_in_step(hub, m)))
			return false;
	return true;
}

/*
 * A restart found migrations with nodes that are no members any more: nobody will ever declare them
 * dead here, so their absence for as long as a death takes is the verdict.
 */
static void miss_the_absent(struct ph_hub *hub)
{
	uint64_t limit = hub->set.join_timeout_ms + hub->set.failure_timeout_ms;
	if (hub->missed_absent || hub->now_ms < hub->started_ms + limit || !ph_lease_valid(hub))
		return;
	hub->missed_absent = true;
	struct ph_source *s, *s_next;
	struct ph_target *t, *t_next;
	HASH_ITER (hh, hub->sources, s, s_next)
		if (s->peer.s[0] && !ph_member_up(hub, &s->peer))
			ph_source_step(hub, s, PH_SOURCE_IN_B_DEAD);
	HASH_ITER (hh, hub->targets, t, t_next)
		if (!ph_member_up(hub, &t->peer))
			ph_target_step(hub, t, PH_TARGET_IN_A_DEAD);
}

void ph_member_beat(struct ph_hub *hub)
{
	forgive(hub);
	hub->last_beat_ms = hub->now_ms;
	ph_timer_set(hub, &hub->beat, hub->now_ms + hub->set.heartbeat_ms);
	judge(hub);
	ph_probe_beat(hub);
	ph_join_beat(hub);
	ph_tomb_beat(hub);
	if (hub->away && back_in_step(hub)) {
		hub->away = false;
		ph_migration_peers_dead(hub);
		ph_plan_soon(hub, 0);
	}
	ph_member_try_join(hub);
	miss_the_absent(hub);
	ph_quorum_beat(hub);
	ph_member_heartbeat_now(hub);
	ph_registry_journal(hub);
}

/* It hears somebody of whom this node knows nothing, or nothing so new: its WELCOME tells more. */
static void hear_of(struct ph_hub *hub, const struct ph_echo *echo)
{
	const struct ph_member *other = ph_member_find(hub, &echo->name);
	bool heard_now = echo->sequence && echo->age_ms < hub->set.failure_timeout_ms;
	if (!heard_now || (other && other->info.incarnation >= echo->incarnation))
		return;
	hub->strangers = true;
	uint64_t at = hub->hello_at_ms + STRANGER_MS;
	if (hub->hello.pos && hub->hello.at_ms > at)
		ph_timer_set(hub, &hub->hello, at > hub->now_ms ? at : hub->now_ms);
}

static void take_reports(struct ph_hub *hub, struct ph_member *member, const struct ph_bmsg *msg)
{
	if (msg->n_echoes > member->n_reports)
		member->reports =
			ph_must(realloc(member->reports, msg->n_echoes * sizeof *member->reports));
	member->n_reports = msg->n_echoes;
	for (size_t i = 0; i < msg->n_echoes; i++) {
		const struct ph_echo *echo = &msg->echoes[i];
		member->reports[i].name = echo->name;
		member->reports[i].incarnation = echo->incarnation;
		member->reports[i].age_ms = echo->age_ms;
		member->reports[i].have = echo->have;
		member->reports[i].joined = echo->joined;
		member->reports[i].draining = echo->draining;
		member->reports[i].drained = echo->drained;
		if (!ph_is_self(hub, &echo->name))
			hear_of(hub, echo);
		if (!ph_is_self(hub, &echo->name) || echo->incarnation != hub->set.incarnation)
			continue;
		member->hears_me_have = echo->have;
		if (echo->sequence == 0 || echo->sequence > hub->sequence ||
			echo->sequence + PH_SENT_RING <= hub->sequence)
			continue;
		uint64_t sent = hub->sent_ms[echo->sequence % PH_SENT_RING];
		if (sent > member->echo_at_ms || !member->echoed)
			member->echo_at_ms = sent;
		if (!member->echoed) /* it hears this node, and is joining still */
			ph_tombstones_tell(hub, &member->info.name);
		member->echoed = true;
		if (!echo->withheld && msg->view == hub->view.number && sent > member->lease_at_ms)
			member->lease_at_ms = sent;
		if (echo_age(hub, member) <= (SILENT_BEATS + 1) * hub->set.heartbeat_ms)
			ph_member_step(hub, member, PH_MEMBER_IN_ECHO);
	}
}

void ph_member_heartbeat(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	struct ph_member *member = ph_member_find(hub, &msg->from);
	if (!member || msg->sequence <= member->heard_seq || member->state == PH_MEMBER_LEFT)
		return;
	member->heard_seq = msg->sequence;
	member->heard_at_ms = hub->now_ms;
	member->view = msg->view;
	member->registry_version = msg->registry_version;
	member->registry_digest = msg->registry_digest;
	if (!msg->registry_digest)
		member->registry_digest =
			member->digest; /* it has changes that it has not cast yet */
	member->migrations_version = msg->migrations_version;
	member->children = msg->children;
	set_draining(hub, member, msg->self.draining, msg->drained);
	take_reports(hub, member, msg);
	ph_quorum_heard(hub, member);
	ph_member_step(hub, member, ph_member_says(&msg->self));
	ph_registry_step(hub, member);
	ph_source_confirmations(hub);
	ph_member_try_join(hub);
}

void ph_member_leave(struct ph_hub *hub)
{
	if (!hub->set.address[0])
		return;
	struct ph_bmsg *msg = ph_cast(hub, PH_B_LEAVE);
	msg->self = ph_member_self(hub);
}
