/*
 * member.c - who is in the cluster, and who lives.
 *
 * A heartbeat proves life only by what it echoes: the newest number of ours that its sender has
 * heard. A member is suspect after four heartbeats without an echo; it is dead when no live member
 * has had an echo from it for failure_timeout. A node whose own loop stood still accuses nobody.
 */
#include "core/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMBER_INPUTS(X)                                                                           \
	X(HEARD)  /* a HELLO, WELCOME or heartbeat of this incarnation, not joined yet */          \
	X(JOINED) /* it says that it is alive */                                                   \
	X(ECHO)   /* a fresh echo */                                                               \
	X(SILENT) /* no echo for four heartbeats */                                                \
	X(MUTE)   /* nobody has had an echo for failure_timeout */                                 \
	X(LEAVE)

enum member_input {
#define X(name) IN_##name,
	MEMBER_INPUTS(X)
#undef X
		IN_COUNT
};

#define HELLO_FIRST_MS 100
#define HELLO_MAX_MS 1000
#define SILENT_BEATS 4
#define LAG_BEATS 4 /* this node's own loop was late by so many: accuse nobody */

struct ph_member *ph_member_find(const struct ph_hub *hub, const struct ph_name *name)
{
	struct ph_member *member;
	HASH_FIND(hh, hub->members, name->s, strlen(name->s), member);
	return member;
}

bool ph_member_live(const struct ph_member *member)
{
	return member->state == PH_MEMBER_JOINING || member->state == PH_MEMBER_ALIVE ||
	       member->state == PH_MEMBER_SUSPECT;
}

bool ph_member_up(const struct ph_hub *hub, const struct ph_name *name)
{
	if (ph_is_self(hub, name))
		return true;
	struct ph_member *member = ph_member_find(hub, name);
	return member && ph_member_live(member);
}

/* ---- the machine: each cell gives the next state ---- */

static void gone(struct ph_hub *hub, struct ph_member *member)
{
	ph_claim_member_gone(hub, &member->info.name);
	ph_migration_peer_dead(hub, &member->info.name);
	ph_plan_soon(hub, 0);
}

static enum ph_member_state keep(struct ph_hub *hub, struct ph_member *member)
{
	(void)hub;
	return member->state;
}

static enum ph_member_state to_joining(struct ph_hub *hub, struct ph_member *member)
{
	(void)hub, (void)member;
	return PH_MEMBER_JOINING;
}

static enum ph_member_state to_alive(struct ph_hub *hub, struct ph_member *member)
{
	ph_emit(hub, PH_EMIT_NODE_JOINED, NULL)->peer = member->info.name;
	member->joined_since_plan = !member->restarted; /* its workers have lived on */
	ph_plan_soon(hub, hub->set.settle_ms);
	return PH_MEMBER_ALIVE;
}

static enum ph_member_state recover(struct ph_hub *hub, struct ph_member *member)
{
	(void)member;
	ph_plan_soon(hub, 0);
	return PH_MEMBER_ALIVE;
}

static enum ph_member_state to_suspect(struct ph_hub *hub, struct ph_member *member)
{
	ph_emit(hub, PH_EMIT_NODE_SUSPECT, NULL)->peer = member->info.name;
	return PH_MEMBER_SUSPECT;
}

static enum ph_member_state to_dead(struct ph_hub *hub, struct ph_member *member)
{
	ph_emit(hub, PH_EMIT_NODE_DEAD, NULL)->peer = member->info.name;
	member->state = PH_MEMBER_DEAD;
	gone(hub, member);
	return PH_MEMBER_DEAD;
}

static enum ph_member_state to_left(struct ph_hub *hub, struct ph_member *member)
{
	ph_emit(hub, PH_EMIT_NODE_LEFT, NULL)->peer = member->info.name;
	member->state = PH_MEMBER_LEFT;
	ph_out(hub, PH_ACT_UNLINK)->to = member->info.name;
	member->linked = false;
	gone(hub, member);
	return PH_MEMBER_LEFT;
}

/* A dead or departed node comes back only with a higher incarnation, which makes it unknown again. */
static enum ph_member_state (*const machine[PH_MEMBER_STATE_COUNT][IN_COUNT])(
	struct ph_hub *, struct ph_member *) = {
	[PH_MEMBER_UNKNOWN] = {[IN_HEARD] = to_joining,
		[IN_JOINED] = to_alive,
		[IN_ECHO] = keep,
		[IN_SILENT] = keep,
		[IN_MUTE] = keep,
		[IN_LEAVE] = to_left},
	[PH_MEMBER_JOINING] = {[IN_HEARD] = keep,
		[IN_JOINED] = to_alive,
		[IN_ECHO] = keep,
		[IN_SILENT] = keep,
		[IN_MUTE] = to_dead,
		[IN_LEAVE] = to_left},
	[PH_MEMBER_ALIVE] = {[IN_HEARD] = keep,
		[IN_JOINED] = keep,
		[IN_ECHO] = keep,
		[IN_SILENT] = to_suspect,
		[IN_MUTE] = to_dead,
		[IN_LEAVE] = to_left},
	[PH_MEMBER_SUSPECT] = {[IN_HEARD] = keep,
		[IN_JOINED] = keep,
		[IN_ECHO] = recover,
		[IN_SILENT] = keep,
		[IN_MUTE] = to_dead,
		[IN_LEAVE] = to_left},
	[PH_MEMBER_DEAD] = {[IN_HEARD] = keep,
		[IN_JOINED] = keep,
		[IN_ECHO] = recover, /* one fresh echo vetoes the verdict */
		[IN_SILENT] = keep,
		[IN_MUTE] = keep,
		[IN_LEAVE] = to_left},
	[PH_MEMBER_LEFT] = {[IN_HEARD] = keep,
		[IN_JOINED] = keep,
		[IN_ECHO] = keep,
		[IN_SILENT] = keep,
		[IN_MUTE] = keep,
		[IN_LEAVE] = keep},
};

static void link_member(struct ph_hub *hub, struct ph_member *member)
{
	if (member->linked || !member->info.address[0])
		return;
	struct ph_action *action = ph_out(hub, PH_ACT_LINK);
	action->to = member->info.name;
	action->address = ph_out_text(hub, member->info.address);
	member->linked = true;
}

static void step(struct ph_hub *hub, struct ph_member *member, enum member_input in)
{
	enum ph_member_state before = member->state;
	member->state = machine[before][in](hub, member);
	if (member->state == before)
		return;
	member->since_ms = hub->now_ms;
	if (ph_member_live(member)) {
		hub->arrivals += before == PH_MEMBER_UNKNOWN || before == PH_MEMBER_DEAD;
		link_member(hub, member);
	}
}

/* ---- what is known of a member ---- */

static void set_info(struct ph_member *member, const struct ph_member_info *info)
{
	char *labels = info->labels ? ph_must(strdup(info->labels)) : NULL;
	free((void *)(uintptr_t)member->info.labels);
	if (strcmp(member->info.address, info->address) != 0)
		member->linked = false;
	member->info = *info;
	member->info.labels = labels;
}

/* A new incarnation starts from nothing, but what it owned stays its own. */
static void renew(struct ph_hub *hub, struct ph_member *member, const struct ph_member_info *info)
{
	enum ph_member_state was = member->state;
	set_info(member, info);
	member->state = PH_MEMBER_UNKNOWN;
	member->first_ms = member->since_ms = hub->now_ms;
	member->echo_at_ms = hub->now_ms;
	member->echoed = member->welcomed = member->drained = member->sweeping = false;
	member->heard_seq = 0;
	member->n_reports = 0;
	member->hears_me_have = 0;
	member->linked = false;
	ph_registry_forget_node(hub, member);
	member->restarted = was == PH_MEMBER_ALIVE || was == PH_MEMBER_SUSPECT ||
			    (was == PH_MEMBER_JOINING && member->restarted);
	if (member->restarted)
		ph_log(hub, PH_LOG_INFO, "node %s came back with a new incarnation",
			info->name.s);
}

/* NULL where this incarnation is older than the one that is known. */
static struct ph_member *learn(struct ph_hub *hub, const struct ph_member_info *info)
{
	if (ph_is_self(hub, &info->name))
		return NULL;
	struct ph_member *member = ph_member_find(hub, &info->name);
	if (!member) {
		member = ph_must(calloc(1, sizeof *member));
		member->info.name = info->name;
		HASH_ADD_KEYPTR(hh, hub->members, member->info.name.s, strlen(info->name.s), member);
		renew(hub, member, info);
	} else if (info->incarnation > member->info.incarnation) {
		renew(hub, member, info);
	} else if (info->incarnation < member->info.incarnation) {
		return NULL;
	}
	return member;
}

static struct ph_member_info self_info(const struct ph_hub *hub)
{
	struct ph_member_info info;
	memset(&info, 0, sizeof info);
	info.name = hub->set.node;
	info.incarnation = hub->set.incarnation;
	info.slot = hub->set.slot;
	memcpy(info.address, hub->set.address, sizeof info.address);
	memcpy(info.version, hub->set.version, sizeof info.version);
	info.weight = hub->set.weight;
	info.labels = hub->set.labels;
	info.state = hub->self_state;
	info.draining = hub->draining;
	return info;
}

bool ph_member_stale(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	struct ph_member *member = ph_member_find(hub, &msg->from);
	if (ph_is_self(hub, &msg->from))
		return true;
	if (msg->kind == PH_B_HELLO || msg->kind == PH_B_WELCOME || msg->kind == PH_B_REFUSED)
		return false;
	return !member || member->info.incarnation != msg->incarnation;
}

/* ---- HELLO, WELCOME ---- */

static bool slot_taken(const struct ph_hub *hub, const struct ph_member_info *info)
{
	if (info->slot == hub->set.slot)
		return true;
	for (struct ph_member *m = hub->members; m; m = m->hh.next)
		if (ph_member_live(m) && m->info.slot == info->slot &&
			!ph_name_equal(&m->info.name, &info->name))
			return true;
	return false;
}

static void refuse(struct ph_hub *hub, const struct ph_bmsg *msg, struct ph_member *member,
	const char *text)
{
	link_member(hub, member);
	struct ph_bmsg *answer = ph_send(hub, &msg->from, PH_B_REFUSED);
	ph_reason(answer->reason, "%s", text);
	answer->self = self_info(hub);
}

static void welcome(struct ph_hub *hub, struct ph_member *member)
{
	struct ph_bmsg *msg = ph_send(hub, &member->info.name, PH_B_WELCOME);
	size_t n = HASH_COUNT(hub->members), k = 0;
	struct ph_member_info *list = ph_out_alloc(hub, (n + 1) * sizeof *list);
	for (struct ph_member *m = hub->members; m; m = m->hh.next) {
		if (!ph_member_live(m) || m == member)
			continue;
		list[k] = m->info;
		list[k].state = m->state;
		list[k++].labels = ph_out_text(hub, m->info.labels);
	}
	msg->self = self_info(hub);
	msg->members = list;
	msg->n_members = k;
	msg->known_incarnation = member->info.incarnation;
}

static enum member_input says(const struct ph_member_info *info)
{
	return info->state == PH_MEMBER_ALIVE || info->state == PH_MEMBER_SUSPECT ? IN_JOINED
										   : IN_HEARD;
}

static void on_hello(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	struct ph_member *member = learn(hub, &msg->self);
	if (!member)
		return;
	if (slot_taken(hub, &msg->self)) {
		refuse(hub, msg, member,
			"this node's slot is taken by another name: set node.slot to a number that no "
			"other node uses");
		return;
	}
	step(hub, member, says(&msg->self));
	link_member(hub, member);
	welcome(hub, member);
	if (!member->welcomed && hub->hello.pos)
		ph_timer_set(hub, &hub->hello, hub->now_ms); /* let it learn of us as soon */
}

static void on_welcome(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	struct ph_member *member = learn(hub, &msg->self);
	if (!member)
		return;
	step(hub, member, says(&msg->self));
	link_member(hub, member);
	member->welcomed = true;
	for (size_t i = 0; i < msg->n_members; i++) {
		struct ph_member *other = learn(hub, &msg->members[i]);
		if (!other)
			continue;
		if (other->state == PH_MEMBER_UNKNOWN)
			step(hub, other, IN_HEARD);
		link_member(hub, other);
	}
}

static void on_refused(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	ph_log(hub, PH_LOG_ERROR, "node %s refuses this node: %s", msg->from.s, msg->reason);
}

/* A seed that has answered: some live member stands at that address. */
static bool seeds_answered(const struct ph_hub *hub)
{
	for (size_t i = 0; i < hub->set.n_peers; i++) {
		bool found = false;
		for (struct ph_member *m = hub->members; m && !found; m = m->hh.next)
			found = strcmp(m->info.address, hub->set.peers[i]) == 0 && m->welcomed &&
				ph_member_live(m);
		if (!found)
			return false;
	}
	return true;
}

/* Echoes both ways with a majority of the members, and their parts of the registry are here. */
static bool in_step(const struct ph_hub *hub)
{
	size_t n = 0, echoed = 0;
	for (struct ph_member *m = hub->members; m; m = m->hh.next) {
		if (!ph_member_live(m))
			continue;
		n++;
		echoed += m->echoed && m->heard_seq;
		if (m->heard_seq && !ph_registry_in_step(hub, m))
			return false;
	}
	return n == 0 || 2 * echoed >= n + 1;
}

static void become_alive(struct ph_hub *hub)
{
	hub->self_state = PH_MEMBER_ALIVE;
	ph_emit(hub, PH_EMIT_NODE_JOINED, NULL)->peer = hub->set.node;
	hub->joined_set = true;
	if (hub->set.address[0])
		ph_plan_soon(hub, hub->set.settle_ms);
	else
		ph_plan_soon(hub, 0);
	if (!hub->ready_told)
		(void)ph_out(hub, PH_ACT_READY);
	hub->ready_told = true;
}

static void try_join(struct ph_hub *hub)
{
	if (hub->self_state != PH_MEMBER_JOINING)
		return;
	bool time_over = hub->now_ms >= hub->join_until_ms;
	bool settled = hub->now_ms >= hub->started_ms + hub->set.settle_ms;
	if (time_over || (settled && seeds_answered(hub) && in_step(hub))) {
		become_alive(hub);
		ph_member_heartbeat_now(hub);
	}
}

static bool all_greeted(const struct ph_hub *hub)
{
	for (struct ph_member *m = hub->members; m; m = m->hh.next)
		if (ph_member_live(m) && !m->echoed)
			return false;
	return seeds_answered(hub);
}

void ph_member_hello(struct ph_hub *hub)
{
	if (!hub->set.address[0] || hub->exiting)
		return;
	bool done = all_greeted(hub);
	if (!done) {
		struct ph_bmsg *msg = ph_cast(hub, PH_B_HELLO);
		msg->self = self_info(hub);
	}
	hub->hello_wait_ms = hub->hello_wait_ms * 2 > HELLO_MAX_MS ? HELLO_MAX_MS
								    : hub->hello_wait_ms * 2;
	/* Once all is well it looks again now and then: a seed may come back as a stranger. */
	uint64_t wait = done ? 5 * HELLO_MAX_MS : hub->hello_wait_ms;
	ph_timer_set(hub, &hub->hello, hub->now_ms + ph_jitter(hub, wait, 20));
}

void ph_member_start(struct ph_hub *hub)
{
	hub->started_ms = hub->now_ms;
	hub->self_state = PH_MEMBER_JOINING;
	hub->last_beat_ms = hub->now_ms;
	hub->join_until_ms = hub->now_ms + hub->set.join_timeout_ms;
	if (!hub->set.address[0]) {
		become_alive(hub);
		return;
	}
	ph_out(hub, PH_ACT_SEEDS)->on = true;
	hub->hello_wait_ms = HELLO_FIRST_MS;
	ph_timer_set(hub, &hub->hello, hub->now_ms);
	ph_timer_set(hub, &hub->beat, hub->now_ms);
	if (!hub->set.n_peers)
		hub->join_until_ms = hub->now_ms;
}

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
		if (!ph_member_live(m))
			continue;
		list[n++] = (struct ph_echo){.name = m->info.name,
			.incarnation = m->info.incarnation,
			.sequence = m->heard_seq,
			.age_ms = echo_age(hub, m),
			.have = m->have,
			.suspect = m->state == PH_MEMBER_SUSPECT};
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
	msg->self = self_info(hub);
	msg->drained = hub->drained;
	msg->registry_version = hub->flushed_version;
	msg->registry_digest = hub->n_dirty ? 0 : hub->digest;
	msg->migrations_version = hub->flushed_migrations;
	for (struct ph_slot *slot = hub->slots; slot; slot = slot->hh.next)
		msg->children += ph_slot_mine(hub, slot);
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

void ph_member_woke(struct ph_hub *hub)
{
	if (hub->beat.pos && hub->now_ms >= hub->last_beat_ms + LAG_BEATS * hub->set.heartbeat_ms)
		ph_member_beat(hub);
}

static bool nobody_hears(const struct ph_hub *hub, const struct ph_member *mute)
{
	uint64_t limit = hub->set.failure_timeout_ms;
	if (echo_age(hub, mute) < limit)
		return false;
	for (struct ph_member *m = hub->members; m; m = m->hh.next) {
		if (m == mute || m->state != PH_MEMBER_ALIVE || echo_age(hub, m) >= limit)
			continue;
		for (size_t i = 0; i < m->n_reports; i++)
			if (ph_name_equal(&m->reports[i].name, &mute->info.name) &&
				m->reports[i].age_ms + (hub->now_ms - m->heard_at_ms) < limit)
				return false;
	}
	return true;
}

static void judge(struct ph_hub *hub)
{
	uint64_t silent = (SILENT_BEATS + 1) * hub->set.heartbeat_ms;
	struct ph_member *m, *next;
	HASH_ITER (hh, hub->members, m, next) {
		if (!ph_member_live(m))
			continue;
		if (echo_age(hub, m) > silent)
			step(hub, m, IN_SILENT);
		if (nobody_hears(hub, m))
			step(hub, m, IN_MUTE);
		else
			ph_registry_step(hub, m);
	}
}

static bool back_in_step(const struct ph_hub *hub)
{
	for (struct ph_member *m = hub->members; m; m = m->hh.next)
		if (ph_member_live(m) &&
			(m->heard_at_ms + hub->set.heartbeat_ms * 2 < hub->now_ms ||
				!ph_registry_in_step(hub, m)))
			return false;
	return true;
}

void ph_member_beat(struct ph_hub *hub)
{
	forgive(hub);
	hub->last_beat_ms = hub->now_ms;
	ph_timer_set(hub, &hub->beat, hub->now_ms + hub->set.heartbeat_ms);
	judge(hub);
	if (hub->away && back_in_step(hub)) {
		hub->away = false;
		ph_plan_soon(hub, 0);
	}
	try_join(hub);
	ph_member_heartbeat_now(hub);
	ph_registry_journal(hub);
	ph_child_tick(hub);
}

static void take_reports(struct ph_hub *hub, struct ph_member *member, const struct ph_bmsg *msg)
{
	if (msg->n_echoes > member->n_reports)
		member->reports = ph_must(
			realloc(member->reports, msg->n_echoes * sizeof *member->reports));
	member->n_reports = msg->n_echoes;
	for (size_t i = 0; i < msg->n_echoes; i++) {
		const struct ph_echo *echo = &msg->echoes[i];
		member->reports[i].name = echo->name;
		member->reports[i].age_ms = echo->age_ms;
		if (!ph_is_self(hub, &echo->name) || echo->incarnation != hub->set.incarnation)
			continue;
		member->hears_me_have = echo->have;
		if (echo->sequence == 0 || echo->sequence > hub->sequence ||
			echo->sequence + PH_SENT_RING <= hub->sequence)
			continue;
		uint64_t sent = hub->sent_ms[echo->sequence % PH_SENT_RING];
		if (sent > member->echo_at_ms || !member->echoed)
			member->echo_at_ms = sent;
		member->echoed = true;
		if (echo_age(hub, member) <= (SILENT_BEATS + 1) * hub->set.heartbeat_ms)
			step(hub, member, IN_ECHO);
	}
}

static void on_heartbeat(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	struct ph_member *member = ph_member_find(hub, &msg->from);
	if (!member || msg->sequence <= member->heard_seq || member->state == PH_MEMBER_LEFT)
		return;
	member->heard_seq = msg->sequence;
	member->heard_at_ms = hub->now_ms;
	member->registry_version = msg->registry_version;
	member->registry_digest = msg->registry_digest;
	if (!msg->registry_digest)
		member->registry_digest = member->digest; /* it has changes that it has not cast yet */
	member->migrations_version = msg->migrations_version;
	member->children = msg->children;
	bool replan = member->info.draining && !msg->self.draining;
	if (replan)
		member->joined_since_plan = true; /* its children may return */
	if (member->info.draining != msg->self.draining)
		ph_plan_soon(hub, replan ? hub->set.settle_ms : 0);
	member->info.draining = msg->self.draining;
	member->drained = msg->drained;
	take_reports(hub, member, msg);
	step(hub, member, says(&msg->self));
	ph_registry_step(hub, member);
	ph_source_confirmations(hub);
	try_join(hub);
}

void ph_member_leave(struct ph_hub *hub)
{
	if (!hub->set.address[0])
		return;
	struct ph_bmsg *msg = ph_cast(hub, PH_B_LEAVE);
	msg->self = self_info(hub);
}

void ph_member_message(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	struct ph_member *member;
	if (msg->kind == PH_B_HELLO) {
		on_hello(hub, msg);
	} else if (msg->kind == PH_B_WELCOME) {
		on_welcome(hub, msg);
	} else if (msg->kind == PH_B_REFUSED) {
		on_refused(hub, msg);
	} else if (msg->kind == PH_B_HEARTBEAT) {
		on_heartbeat(hub, msg);
	} else if (msg->kind == PH_B_LEAVE) {
		member = ph_member_find(hub, &msg->from);
		if (member)
			step(hub, member, IN_LEAVE);
	}
}
