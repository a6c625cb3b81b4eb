/*
 * heartbeat.c - who lives: what a heartbeat says, and what its echoes and silences mean.
 *
 * Each heartbeat goes to everybody and echoes everybody, so that beyond BEAT_NODES they come less
 * often: a node then sends and hears as many a second as before, up to the period at which a death
 * is still seen within DETECT_MS after failure_timeout. How long a silence may last follows.
 */
#include "core/member.h"

#include <stdlib.h>
#include <string.h>

#define SILENT_BEATS 4
#define BEAT_NODES 50	  /* up to so many every heartbeat_ms, beyond in proportion ... */
#define DETECT_MS 1000	  /* ... up to this */
#define BEATS_A_TIMEOUT 5 /* ... and to so many within failure_timeout: two may be lost */
#define STRANGER_MS 1000  /* between two HELLOs that ask who it is that others hear */
#define LAG_BEATS 3	  /* this node's own loop was late by so many heartbeat_ms: accuse nobody */

/* ---- heartbeats ---- */

static uint64_t echo_age(const struct ph_hub *hub, const struct ph_member *member)
{
	return hub->now_ms - member->echo_at_ms;
}

static uint64_t period_ms(const struct ph_hub *hub)
{
	uint64_t least = hub->set.heartbeat_ms, live = 1;
	uint64_t most = min_ms(DETECT_MS, hub->set.failure_timeout_ms / BEATS_A_TIMEOUT);
	for (const struct ph_member *m = hub->members; m; m = m->hh.next)
		live += ph_member_live(m);
	if (live <= BEAT_NODES || most <= least)
		return least;
	return min_ms(least * live / BEAT_NODES, most);
}

/* After so long without an echo a member is suspect; a good one's are up to two periods old. */
static uint64_t silent_ms(const struct ph_hub *hub)
{
	uint64_t beat = hub->beat_ms, five = (SILENT_BEATS + 1) * beat;
	uint64_t half = hub->set.failure_timeout_ms / 2;
	if (beat <= hub->set.heartbeat_ms || five <= half)
		return five;
	return half > 3 * beat ? half : 3 * beat;
}

/* The loop is so late for its next heartbeat that its own silence is all that it hears. */
static uint64_t late_ms(const struct ph_hub *hub)
{
	return hub->beat_ms + LAG_BEATS * hub->set.heartbeat_ms;
}

/* Is what others say of it wanted here? It is silent, or a tombstone of it waits for all. */
static bool is_wanted(const struct ph_hub *hub, const struct ph_member *m)
{
	if (m->watched || m->state == PH_MEMBER_DEAD)
		return true;
	return ph_member_live(m) && hub->now_ms > m->first_ms + 2 * hub->beat_ms &&
	       (!m->echoed || echo_age(hub, m) > 2 * hub->beat_ms || m->fetch_tries ||
		       hub->now_ms > m->heard_at_ms + 2 * hub->beat_ms);
}

static int compare_names(const void *a, const void *b)
{
	const struct ph_known *x = a, *y = b;
	return strcmp(x->name.s, y->name.s);
}

/*
 * Echoes are told in the order of names, and what they are compared with is kept in it, so that a
 * list of them is read beside it, without a search for each: both have hundreds of lines, and there
 * are hundreds of lists a second.
 */
static void sort_members(struct ph_hub *hub)
{
	size_t n = HASH_COUNT(hub->members);
	if (hub->n_by_name == n)
		return;
	if (hub->by_name_cap < n) {
		hub->by_name_cap = 2 * n;
		hub->by_name =
			ph_must(realloc(hub->by_name, hub->by_name_cap * sizeof *hub->by_name));
	}
	hub->n_by_name = 0;
	for (struct ph_member *m = hub->members; m; m = m->hh.next)
		hub->by_name[hub->n_by_name++] = (struct ph_known){.name = m->info.name,
			.incarnation = m->info.incarnation,
			.wanted = is_wanted(hub, m),
			.member = m};
	qsort(hub->by_name, n, sizeof *hub->by_name, compare_names);
}

/* What is known of that name, from place `*at` on where the list is sorted; NULL: nothing. */
static const struct ph_known *next_named(
	const struct ph_hub *hub, const struct ph_name *name, size_t *at)
{
	int order = 1;
	while (*at < hub->n_by_name && (order = strcmp(hub->by_name[*at].name.s, name->s)) < 0)
		++*at;
	if (*at < hub->n_by_name && order == 0)
		return &hub->by_name[*at];
	struct ph_known key = {.name = *name};
	return hub->n_by_name ? bsearch(&key, hub->by_name, hub->n_by_name, sizeof *hub->by_name,
					compare_names)
			      : NULL;
}

static void put_echoes(struct ph_hub *hub, struct ph_bmsg *msg)
{
	struct ph_echo *list = ph_out_alloc(hub, (HASH_COUNT(hub->members) + 1) * sizeof *list);
	size_t n = 0;
	sort_members(hub);
	for (size_t i = 0; i < hub->n_by_name; i++) {
		struct ph_member *m = hub->by_name[i].member;
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
	msg->self.failure_ms = msg->self.fence_ms = 0; /* known since its HELLO */
	msg->self.quorate = false;
	msg->drained = hub->drained;
	msg->registry_version = hub->flushed_version;
	msg->registry_digest = hub->dirty.n ? 0 : hub->digest;
	msg->migrations_version = hub->flushed_migrations;
	msg->children = ph_registry_mine(hub);
	put_echoes(hub, msg);
}

/* This node's own loop stood still: nobody is to be blamed for its silence. */
static void forgive(struct ph_hub *hub)
{
	uint64_t late = hub->now_ms - hub->last_beat_ms;
	if (hub->last_beat_ms == 0 || late < late_ms(hub))
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
	if (hub->beat.pos && hub->now_ms >= hub->last_beat_ms + late_ms(hub))
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
	return m->echoed && echo_age(hub, m) <= silent_ms(hub);
}

/* One that is alive, heard here, and hears that member; NULL: none. */
static const struct ph_member *hearer_of(const struct ph_hub *hub, const struct ph_member *member)
{
	const uint64_t fresh = silent_ms(hub);
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
		if (m == mute || !ph_member_live(m) || echo_age(hub, m) >= limit)
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
	if (hub->now_ms > m->heard_at_ms + silent_ms(hub))
		set_draining(hub, m, report->draining, report->drained);
}

static void judge(struct ph_hub *hub)
{
	if (hub->bus_down) /* the silence is ours */
		return;
	uint64_t silent = silent_ms(hub);
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
	for (size_t i = 0; i < hub->n_by_name; i++)
		hub->by_name[i].wanted = is_wanted(hub, hub->by_name[i].member);
}

/* Itself, or by one that it reaches: the link between the two may be cut for good. */
static bool heard_of(const struct ph_hub *hub, const struct ph_member *m)
{
	return m->heard_at_ms + hub->beat_ms * 2 >= hub->now_ms ||
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
	hub->beat_ms = period_ms(hub);
	ph_timer_set(hub, &hub->beat, hub->now_ms + hub->beat_ms);
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
	ph_lost_settle(hub);
	ph_quorum_beat(hub);
	ph_member_heartbeat_now(hub);
	ph_registry_journal(hub);
}

/* It hears somebody of whom this node knows nothing, or nothing so new: its WELCOME tells more. */
static void hear_of(struct ph_hub *hub, const struct ph_known *other, const struct ph_echo *echo)
{
	bool heard_now = echo->sequence && echo->age_ms < hub->set.failure_timeout_ms;
	if (!heard_now || (other && other->incarnation >= echo->incarnation))
		return;
	hub->strangers = true;
	uint64_t at = hub->hello_at_ms + STRANGER_MS;
	if (hub->hello.pos && hub->hello.at_ms > at)
		ph_timer_set(hub, &hub->hello, at > hub->now_ms ? at : hub->now_ms);
}

static void keep_report(struct ph_member *member, const struct ph_echo *echo)
{
	if (member->n_reports == member->reports_cap) {
		member->reports_cap = member->reports_cap ? 2 * member->reports_cap : 4;
		member->reports = ph_must(
			realloc(member->reports, member->reports_cap * sizeof *member->reports));
	}
	member->reports[member->n_reports++] = (struct ph_report){.name = echo->name,
		.incarnation = echo->incarnation,
		.age_ms = echo->age_ms,
		.have = echo->have,
		.joined = echo->joined,
		.draining = echo->draining,
		.drained = echo->drained};
}

/* What a member has heard from this node. */
static void take_own_echo(struct ph_hub *hub, struct ph_member *member, const struct ph_bmsg *msg,
	const struct ph_echo *echo)
{
	if (echo->incarnation != hub->set.incarnation)
		return;
	member->hears_me_have = echo->have;
	if (echo->sequence == 0 || echo->sequence > hub->sequence ||
		echo->sequence + PH_SENT_RING <= hub->sequence)
		return;
	uint64_t sent = hub->sent_ms[echo->sequence % PH_SENT_RING];
	if (sent > member->echo_at_ms || !member->echoed)
		member->echo_at_ms = sent;
	if (!member->echoed) /* it hears this node, and is joining still */
		ph_tombstones_tell(hub, &member->info.name);
	member->echoed = true;
	if (!echo->withheld && msg->view == hub->view.number && sent > member->lease_at_ms)
		member->lease_at_ms = sent;
	if (echo_age(hub, member) <= silent_ms(hub))
		ph_member_step(hub, member, PH_MEMBER_IN_ECHO);
}

static void take_echoes(struct ph_hub *hub, struct ph_member *member, const struct ph_bmsg *msg)
{
	size_t at = 0;
	sort_members(hub);
	member->n_reports = 0;
	for (size_t i = 0; i < msg->n_echoes; i++) {
		const struct ph_echo *echo = &msg->echoes[i];
		const struct ph_known *other = next_named(hub, &echo->name, &at);
		if (!other && ph_is_self(hub, &echo->name)) {
			take_own_echo(hub, member, msg, echo);
			continue;
		}
		hear_of(hub, other, echo);
		if (!other)
			ph_forget_heard(hub, &member->info.name, echo);
		if (!other || other->wanted)
			keep_report(member, echo);
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
	take_echoes(hub, member, msg);
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
