/*
 * heartbeat.c - who lives: what a heartbeat says, and what its echoes and silences mean.
 *
 * Each heartbeat goes to everybody and echoes everybody (echo.c), so that beyond BEAT_NODES they
 * come less often: a node then sends and hears as many a second as before, up to the period at
 * which a death is still seen within DETECT_MS after failure_timeout. How long a silence may last
 * follows.
 */
#include "core/member.h"

#define MEND_MS 1500 /* suspect for so long: nanomsg itself dials again within a second */
#define SILENT_BEATS 4
#define QUIET_BEATS 3	  /* a good one's echo is two old at most: it may not answer at once */
#define BEAT_NODES 50	  /* up to so many every heartbeat_ms, beyond in proportion ... */
#define DETECT_MS 1000	  /* ... up to this */
#define BEATS_A_TIMEOUT 5 /* ... and to so many within failure_timeout: two may be lost */
#define LAG_BEATS 3	  /* this node's own loop was late by so many heartbeat_ms: accuse nobody */
#define HEARD_WAIT_MS 3000 /* an orderly end waits so long until all have what it has said */

/* ---- heartbeats ---- */

uint64_t ph_member_echo_age(const struct ph_hub *hub, const struct ph_member *member)
{
	return hub->now_ms - member->echo_at_ms;
}

/* Whoever accuses nobody vouches for nobody either: it would keep the dead alive for the others. */
uint64_t ph_member_echo_told(const struct ph_hub *hub, const struct ph_member *member)
{
	return member->echoed ? hub->now_ms - member->echo_true_ms : PH_NEVER_MS;
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
uint64_t ph_member_silent_ms(const struct ph_hub *hub)
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

void ph_member_heartbeat_now(struct ph_hub *hub)
{
	if (!hub->set.address[0])
		return;
	if (ph_quorate(hub))
		ph_grant_mark(hub);
	struct ph_bmsg *msg = ph_cast(hub, PH_B_HEARTBEAT);
	hub->sequence++;
	hub->sent_ms[hub->sequence % PH_SENT_RING] = hub->now_ms;
	hub->sent_version[hub->sequence % PH_SENT_RING] = hub->flushed_version;
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
	ph_echo_put(hub, msg);
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
	hub->unheard++;
	ph_claims_forgive(hub, late);
	if (hub->refused_ms) /* nor is a refusal over that could not be repeated */
		hub->refused_ms += late;
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
		hub->unheard++;
		ph_claims_forgive(hub, hub->now_ms - hub->bus_down_ms);
		if (hub->refused_ms)
			hub->refused_ms += hub->now_ms - hub->bus_down_ms;
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

const struct ph_report *ph_member_report(const struct ph_member *by, const struct ph_member *member)
{
	for (size_t i = 0; i < by->n_reports; i++)
		if (ph_name_equal(&by->reports[i].name, &member->info.name) &&
			by->reports[i].incarnation >= member->info.incarnation)
			return &by->reports[i];
	return NULL;
}

/* How old what it told by then is by now; PH_NEVER_MS: never, which is told as such. */
static uint64_t age_of(
	const struct ph_hub *hub, const struct ph_member *by, const struct ph_report *report)
{
	return report->age_ms < PH_NEVER_MS / 2 ? report->age_ms + (hub->now_ms - by->heard_at_ms)
						: PH_NEVER_MS;
}

/* How long ago `by` had an echo of that incarnation or a newer one, as far as is known; UINT64_MAX:
 * never. */
uint64_t ph_member_heard_by(
	const struct ph_hub *hub, const struct ph_member *by, const struct ph_member *member)
{
	const struct ph_report *report = ph_member_report(by, member);
	return report ? age_of(hub, by, report) : PH_NEVER_MS;
}

static bool has_echo(const struct ph_hub *hub, const struct ph_member *m)
{
	return m->echoed && ph_member_echo_age(hub, m) <= ph_member_silent_ms(hub);
}

static const struct ph_member *hearer_within(
	const struct ph_hub *hub, const struct ph_member *member, uint64_t fresh)
{
	for (struct ph_member *m = hub->members; m; m = m->hh.next)
		if (m->state == PH_MEMBER_ALIVE && ph_member_echo_age(hub, m) <= fresh &&
			ph_member_heard_by(hub, m, member) <= fresh)
			return m;
	return NULL;
}

/* One that is alive, heard here, and hears that member; NULL: none. */
static const struct ph_member *hearer_of(const struct ph_hub *hub, const struct ph_member *member)
{
	return hearer_within(hub, member, ph_member_silent_ms(hub));
}

bool ph_member_heard_elsewhere(
	const struct ph_hub *hub, const struct ph_name *name, uint64_t not_incarnation)
{
	const uint64_t fresh = ph_member_silent_ms(hub);
	for (size_t m = 0; m < hub->n_by_name; m++) {
		const struct ph_member *by = hub->by_name[m].member;
		if (by->state != PH_MEMBER_ALIVE || ph_member_echo_age(hub, by) > fresh)
			continue;
		for (size_t i = 0; i < by->n_reports; i++)
			if (ph_name_equal(&by->reports[i].name, name) &&
				by->reports[i].incarnation != not_incarnation &&
				age_of(hub, by, &by->reports[i]) <= fresh)
				return true;
	}
	return false;
}

bool ph_member_superseded(const struct ph_hub *hub, const struct ph_member *first)
{
	if (has_echo(hub, first))
		return false;
	const struct ph_member *by = hearer_of(hub, first);
	const struct ph_report *report = by ? ph_member_report(by, first) : NULL;
	return report && report->incarnation > first->info.incarnation;
}

const struct ph_member *ph_member_relay(const struct ph_hub *hub, const struct ph_name *to)
{
	const struct ph_member *m = ph_member_find(hub, to);
	bool mute = m && (m->state == PH_MEMBER_SUSPECT ||
				 (m->state == PH_MEMBER_JOINING && !has_echo(hub, m)));
	return mute ? hearer_of(hub, m) : NULL;
}

bool ph_member_awaited(const struct ph_hub *hub, const struct ph_name *but)
{
	const uint64_t quiet = QUIET_BEATS * hub->beat_ms;
	for (struct ph_member *m = hub->members; m; m = m->hh.next) {
		uint64_t since = m->echoed ? m->echo_at_ms : m->first_ms;
		if (ph_member_live(m) && !ph_name_equal(&m->info.name, but) &&
			hub->now_ms > since + quiet && !hearer_within(hub, m, quiet))
			return true;
	}
	return false;
}

static bool nobody_hears(const struct ph_hub *hub, const struct ph_member *mute)
{
	uint64_t limit = hub->set.failure_timeout_ms;
	if (ph_member_echo_age(hub, mute) < limit || ph_probe_answered(hub, mute, limit))
		return false;
	for (struct ph_member *m = hub->members; m; m = m->hh.next) {
		if (m == mute || !ph_member_live(m) || ph_member_echo_age(hub, m) >= limit)
			continue;
		if (ph_member_heard_by(hub, m, mute) < limit)
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
	const struct ph_report *report = by ? ph_member_report(by, m) : NULL;
	m->hearer = report != NULL;
	if (!report)
		return;
	m->said_list = report->flags & PH_ECHO_LIST ? by->list : 0;
	m->said_base = report->flags & PH_ECHO_BASE ? by->base : 0;
	/* A later life, of another node of its name perhaps, says nothing of the dead one. */
	if (m->state == PH_MEMBER_DEAD && report->incarnation > m->info.incarnation)
		return;
	if (m->state == PH_MEMBER_DEAD)
		ph_member_step(hub, m, PH_MEMBER_IN_VOUCHED);
	else if (m->state == PH_MEMBER_JOINING && report->flags & PH_ECHO_JOINED)
		ph_member_step(hub, m, PH_MEMBER_IN_JOINED);
	if (hub->now_ms > m->heard_at_ms + ph_member_silent_ms(hub))
		set_draining(
			hub, m, report->flags & PH_ECHO_DRAINING, report->flags & PH_ECHO_DRAINED);
}

/*
 * A link can be up for the network and dead all the same: nanomsg now and then does not dial again
 * after both ends were restarted. Each side makes its own half anew, less and less often.
 */
static void mend(struct ph_hub *hub, struct ph_member *m)
{
	if (m->state != PH_MEMBER_SUSPECT) {
		m->mend_wait_ms = 0;
		return;
	}
	if (!m->mend_wait_ms)
		m->mend_wait_ms = MEND_MS;
	if (hub->now_ms < m->since_ms + m->mend_wait_ms)
		return;
	m->mend_wait_ms = 2 * (hub->now_ms - m->since_ms);
	ph_out(hub, PH_ACT_MEND)->to = m->info.name;
}

static void judge(struct ph_hub *hub)
{
	if (hub->bus_down) /* the silence is ours */
		return;
	uint64_t silent = ph_member_silent_ms(hub);
	struct ph_member *m, *next;
	HASH_ITER (hh, hub->members, m, next) {
		vouch(hub, m);
		if (!ph_member_live(m))
			continue;
		if (ph_member_echo_age(hub, m) > silent)
			ph_member_step(hub, m, PH_MEMBER_IN_SILENT);
		if (nobody_hears(hub, m))
			ph_member_step(hub, m, PH_MEMBER_IN_MUTE);
		else
			ph_registry_step(hub, m);
		mend(hub, m);
	}
	ph_echo_wanted(hub);
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
	ph_source_beat(hub);
	ph_probe_beat(hub);
	ph_join_beat(hub);
	ph_yield_beat(hub);
	ph_child_beat(hub);
	ph_dropped_beat(hub);
	ph_propose_beat(hub);
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
	ph_forget_beat(hub);
	ph_member_heartbeat_now(hub);
	ph_registry_journal(hub);
}

void ph_member_heartbeat(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	struct ph_member *member = ph_member_find(hub, &msg->from);
	if (!member || msg->sequence <= member->heard_seq || member->state == PH_MEMBER_LEFT ||
		!ph_echo_fits(hub, msg))
		return;
	if (hub->now_ms > member->heard_at_ms + ph_member_silent_ms(hub))
		member->back_ms = hub->now_ms;
	member->heard_seq = msg->sequence;
	member->heard_version = msg->registry_version;
	member->list = msg->list;
	member->base = msg->base;
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
	ph_echo_take(hub, member, msg);
	ph_quorum_heard(hub, member);
	ph_member_step(hub, member, ph_member_says(&msg->self));
	ph_registry_step(hub, member);
	ph_source_confirmations(hub);
	ph_member_try_join(hub);
}

/*
 * Does anybody who is there lack some of what this node has said of its part? Its leave may
 * overtake that, or outlive it, and then nobody is left to ask for it. So it goes once all have
 * said that they have it, or after a while.
 */
bool ph_member_unheard(const struct ph_hub *hub)
{
	if (hub->bus_down || hub->now_ms >= hub->leaving_ms + HEARD_WAIT_MS)
		return false;
	for (const struct ph_member *m = hub->members; m; m = m->hh.next)
		if (ph_member_live(m) && m->state != PH_MEMBER_SUSPECT && m->echoed &&
			m->hears_me_have < hub->version)
			return true;
	return false;
}

void ph_member_leave(struct ph_hub *hub)
{
	if (!hub->set.address[0])
		return;
	struct ph_bmsg *msg = ph_cast(hub, PH_B_LEAVE);
	msg->self = ph_member_self(hub);
}
