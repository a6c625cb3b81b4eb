/*
 * member.c - who is in the cluster, and who lives.
 *
 * A heartbeat proves life only by what it echoes: the newest number of ours that its sender has
 * heard. A member is suspect after four heartbeats without an echo; it is dead when no live member
 * has had an echo from it for failure_timeout. A node whose own loop stood still accuses nobody.
 */
#include "core/conflict.h"
#include "core/member.h"

#include <stdlib.h>
#include <string.h>

#define HELLO_FIRST_MS 100
#define HELLO_MAX_MS 1000
#define TRY_MEMBERS_A_MS 64 /* are looked at to see whether this node is in step */
#define REFUSED_MS 5000	    /* since the last refusal: not joined; it is repeated each HELLO */

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
	ph_history_presume(
		hub, &member->info.name, PH_RESULT_SOURCE_DEAD, "the source node died or left");
	ph_claim_member_gone(hub, member);
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

/* What all nodes must agree in, or their clocks do not fit: who is dead, who may still serve. */
static void compare_settings(struct ph_hub *hub, const struct ph_member *member)
{
	const struct ph_member_info *its = &member->info;
	struct ph_member_info own = ph_member_self(hub);
	if (!its->failure_ms) /* it does not tell */
		return;
	if (its->quorate != own.quorate)
		ph_log(hub, PH_LOG_WARNING,
			"node %s has %s quorum strategy, and this node has %s: a child may run "
			"twice; "
			"cluster.partition must be the same on all nodes",
			its->name.s, its->quorate ? "a" : "no", own.quorate ? "one" : "none");
	if (its->failure_ms != own.failure_ms || its->fence_ms != own.fence_ms)
		ph_log(hub, PH_LOG_WARNING,
			"node %s declares a death after %u ms and stops its children after %u, "
			"this node after %u and %u: cluster.failure_timeout and "
			"cluster.fence_after should be the same on all nodes",
			its->name.s, its->failure_ms, its->fence_ms, own.failure_ms, own.fence_ms);
}

static enum ph_member_state to_alive(struct ph_hub *hub, struct ph_member *member)
{
	ph_emit(hub, PH_EMIT_NODE_JOINED, NULL)->peer = member->info.name;
	compare_settings(hub, member);
	/* To a daemon that is itself just back everybody is new, and its workers have lived on. */
	bool news = !member->restarted && hub->self_state == PH_MEMBER_ALIVE;
	member->newcomer_ms = news ? hub->now_ms : 0;
	ph_plan_soon(hub, hub->set.settle_ms);
	return PH_MEMBER_ALIVE;
}

static enum ph_member_state recover(struct ph_hub *hub, struct ph_member *member)
{
	if (member->state == PH_MEMBER_DEAD) {
		ph_emit(hub, PH_EMIT_NODE_JOINED, NULL)->peer = member->info.name;
		ph_migration_peer_back(hub, &member->info.name);
	}
	ph_tombstones_tell(hub, &member->info.name); /* it may not have heard of the newest */
	ph_plan_soon(hub, 0);
	return PH_MEMBER_ALIVE;
}

/* Not dead, only out of this node's reach. */
static enum ph_member_state revive(struct ph_hub *hub, struct ph_member *member)
{
	ph_migration_peer_back(hub, &member->info.name);
	ph_plan_soon(hub, 0);
	return PH_MEMBER_SUSPECT;
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
	ph_conflict_node_dead(hub, &member->info.name);
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

/* A dead or departed node comes back only with a higher incarnation, which makes it unknown again.
 */
static enum ph_member_state (*const machine[PH_MEMBER_STATE_COUNT][PH_MEMBER_INPUT_COUNT])(
	struct ph_hub *, struct ph_member *) = {
	[PH_MEMBER_UNKNOWN] = {[PH_MEMBER_IN_HEARD] = to_joining,
		[PH_MEMBER_IN_JOINED] = to_alive,
		[PH_MEMBER_IN_ECHO] = keep,
		[PH_MEMBER_IN_SILENT] = keep,
		[PH_MEMBER_IN_MUTE] = keep,
		[PH_MEMBER_IN_VOUCHED] = keep,
		[PH_MEMBER_IN_LEAVE] = to_left},
	[PH_MEMBER_JOINING] = {[PH_MEMBER_IN_HEARD] = keep,
		[PH_MEMBER_IN_JOINED] = to_alive,
		[PH_MEMBER_IN_ECHO] = keep,
		[PH_MEMBER_IN_SILENT] = keep,
		[PH_MEMBER_IN_MUTE] = to_dead,
		[PH_MEMBER_IN_VOUCHED] = keep,
		[PH_MEMBER_IN_LEAVE] = to_left},
	[PH_MEMBER_ALIVE] = {[PH_MEMBER_IN_HEARD] = keep,
		[PH_MEMBER_IN_JOINED] = keep,
		[PH_MEMBER_IN_ECHO] = keep,
		[PH_MEMBER_IN_SILENT] = to_suspect,
		[PH_MEMBER_IN_MUTE] = to_dead,
		[PH_MEMBER_IN_VOUCHED] = keep,
		[PH_MEMBER_IN_LEAVE] = to_left},
	[PH_MEMBER_SUSPECT] = {[PH_MEMBER_IN_HEARD] = keep,
		[PH_MEMBER_IN_JOINED] = keep,
		[PH_MEMBER_IN_ECHO] = recover,
		[PH_MEMBER_IN_SILENT] = keep,
		[PH_MEMBER_IN_MUTE] = to_dead,
		[PH_MEMBER_IN_VOUCHED] = keep,
		[PH_MEMBER_IN_LEAVE] = to_left},
	[PH_MEMBER_DEAD] = {[PH_MEMBER_IN_HEARD] = keep,
		[PH_MEMBER_IN_JOINED] = keep,
		[PH_MEMBER_IN_ECHO] = recover, /* one fresh echo vetoes the verdict */
		[PH_MEMBER_IN_SILENT] = keep,
		[PH_MEMBER_IN_MUTE] = keep,
		[PH_MEMBER_IN_VOUCHED] = revive,
		[PH_MEMBER_IN_LEAVE] = to_left},
	[PH_MEMBER_LEFT] = {[PH_MEMBER_IN_HEARD] = keep,
		[PH_MEMBER_IN_JOINED] = keep,
		[PH_MEMBER_IN_ECHO] = keep,
		[PH_MEMBER_IN_SILENT] = keep,
		[PH_MEMBER_IN_MUTE] = keep,
		[PH_MEMBER_IN_VOUCHED] = keep,
		[PH_MEMBER_IN_LEAVE] = keep},
};

void ph_member_link(struct ph_hub *hub, struct ph_member *member)
{
	if (member->linked || !member->info.address[0])
		return;
	struct ph_action *action = ph_out(hub, PH_ACT_LINK);
	action->to = member->info.name;
	action->address = ph_out_text(hub, member->info.address);
	action->incarnation = member->info.incarnation;
	member->linked = true;
}

bool ph_member_decided(enum ph_member_state state, enum ph_member_input in)
{
	return machine[state][in] != NULL;
}

void ph_member_step(struct ph_hub *hub, struct ph_member *member, enum ph_member_input in)
{
	enum ph_member_state before = member->state;
	member->state = machine[before][in](hub, member);
	if (member->state == before)
		return;
	member->since_ms = hub->now_ms;
	if (ph_member_live(member)) {
		hub->arrivals += before == PH_MEMBER_UNKNOWN || before == PH_MEMBER_DEAD;
		ph_member_link(hub, member);
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
	ph_seat_moves(hub, member, strcmp(member->info.address, info->address) != 0);
	if (member->roll_id && strcmp(member->info.address, info->address) != 0) {
		member->before_id = member->roll_id;
		member->before_incarnation = member->info.incarnation;
	}
	set_info(member, info);
	member->state = PH_MEMBER_UNKNOWN;
	member->first_ms = member->since_ms = hub->now_ms;
	member->echo_at_ms = hub->now_ms;
	member->echo_true_ms = 0;
	member->echoed = member->welcomed = member->drained = member->sweeping = false;
	member->heard_seq = member->told_seq = member->view = 0;
	member->roll_id = ph_roll_id(&info->name, info->incarnation);
	member->list = member->base = member->asked_ms = 0;
	member->hearer = false;
	member->echo_seq = member->sure_seq = member->mark_seq = 0;
	member->lease_at_ms = 0;
	member->proven = member->adrift = false;
	member->answered_ms = member->probed_ms = member->welcomed_ms = 0;
	member->named_ms = 0;
	member->n_reports = 0;
	ph_echo_renewed(hub, member);
	member->hears_me_have = 0;
	member->linked = false;
	ph_registry_forget_node(hub, member);
	ph_migration_peer_restarted(hub, &info->name);
	member->restarted = was == PH_MEMBER_ALIVE || was == PH_MEMBER_SUSPECT ||
			    (was == PH_MEMBER_JOINING && member->restarted);
	if (member->restarted)
		ph_log(hub, PH_LOG_INFO, "node %s came back with a new incarnation", info->name.s);
}

static uint32_t take_no(struct ph_hub *hub)
{
	/* A claim may wait for one of that number who was forgotten. */
	return hub->n_free_nos && !hub->claims ? hub->free_nos[--hub->n_free_nos] : ++hub->last_no;
}

static void free_no(struct ph_hub *hub, uint32_t no)
{
	hub->free_nos =
		ph_must(realloc(hub->free_nos, (hub->n_free_nos + 1) * sizeof *hub->free_nos));
	hub->free_nos[hub->n_free_nos++] = no;
}

struct ph_member *ph_member_learn(
	struct ph_hub *hub, const struct ph_member_info *info, bool proven)
{
	if (ph_is_self(hub, &info->name) || ph_same_slot(hub, info))
		return NULL;
	struct ph_member *member = ph_member_find(hub, &info->name);
	if (!member && ph_tomb_bars(hub, info, proven))
		return NULL;
	if (!member || info->incarnation > member->info.incarnation) {
		ph_tomb_lift(hub, &info->name);
		ph_tomb_moved_in(hub, info->address);
	}
	if (!member) {
		member = ph_must(calloc(1, sizeof *member));
		member->info.name = info->name;
		HASH_ADD_KEYPTR(
			hh, hub->members, member->info.name.s, strlen(info->name.s), member);
		member->no = take_no(hub);
		member->node = ph_node_get(hub, &info->name);
		member->node->member = member;
		member->digest = member->node->digest; /* others may have spoken of it before */
		renew(hub, member, info);
	} else if (info->incarnation > member->info.incarnation) {
		renew(hub, member, info);
	} else if (info->incarnation < member->info.incarnation) {
		return NULL;
	}
	return member;
}

void ph_member_remove(struct ph_hub *hub, struct ph_member *member)
{
	if (member->linked)
		ph_out(hub, PH_ACT_UNLINK)->to = member->info.name;
	ph_tomb_put(hub, member);
	ph_seat_removed(hub, member);
	HASH_DEL(hub->members, member);
	member->node->member = NULL;
	free_no(hub, member->no);
	ph_echo_removed(hub, member);
	free((void *)(uintptr_t)member->info.labels);
	free(member->reports);
	ph_out_bury(hub, member);
}

void ph_member_forget(struct ph_hub *hub, struct ph_member *member)
{
	ph_roll_drop(hub, member->roll_id); /* if others hear it, it is to be named */
	ph_member_remove(hub, member);
}

struct ph_member_info ph_member_self(const struct ph_hub *hub)
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
	info.draining = hub->draining || hub->shutting;
	info.failure_ms = (uint32_t)min_ms(hub->set.failure_timeout_ms, UINT32_MAX);
	info.fence_ms =
		(uint32_t)min_ms(hub->set.fence_after_ms + hub->set.fence_grace_ms, UINT32_MAX);
	info.quorate = ph_quorate(hub);
	return info;
}

bool ph_member_stale(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	struct ph_member *member = ph_member_find(hub, &msg->from);
	if (ph_is_self(hub, &msg->from))
		return true;
	if (msg->kind >= PH_B_HELLO && msg->kind <= PH_B_REFUSED)
		return false;
	return !member || member->info.incarnation != msg->incarnation;
}

/* ---- joining ---- */

enum ph_member_input ph_member_says(const struct ph_member_info *info)
{
	return info->state == PH_MEMBER_ALIVE || info->state == PH_MEMBER_SUSPECT
		       ? PH_MEMBER_IN_JOINED
		       : PH_MEMBER_IN_HEARD;
}

bool ph_member_refused(const struct ph_hub *hub)
{
	return hub->self_state == PH_MEMBER_JOINING && hub->refused_ms &&
	       hub->now_ms < hub->refused_ms + REFUSED_MS;
}

bool ph_peer_at(const struct ph_hub *hub, size_t i, const char *address)
{
	const char *resolved = hub->set.peers_at ? hub->set.peers_at[i] : "";
	return strcmp(address, hub->set.peers[i]) == 0 ||
	       (resolved[0] && strcmp(address, resolved) == 0);
}

/* An operator has forgotten the node that was there. */
static bool is_forgotten(const struct ph_hub *hub, size_t i)
{
	return ph_tomb_at(hub, hub->set.peers[i]) ||
	       (hub->set.peers_at && hub->set.peers_at[i][0] &&
		       ph_tomb_at(hub, hub->set.peers_at[i]));
}

/*
 * A seed that has answered: some live member stands at that address. One that an operator has
 * forgotten is not waited for.
 */
static bool seeds_answered(const struct ph_hub *hub)
{
	for (size_t i = 0; i < hub->set.n_peers; i++) {
		bool found = false;
		for (struct ph_member *m = hub->members; m && !found; m = m->hh.next)
			found = m->welcomed && ph_member_live(m) &&
				ph_peer_at(hub, i, m->info.address);
		if (!found && !is_forgotten(hub, i))
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
	return 2 * echoed >= n; /* and this node is one of them */
}

static void become_alive(struct ph_hub *hub)
{
	ph_renumber_let_in(hub);
	hub->self_state = PH_MEMBER_ALIVE;
	hub->yield_at_ms = 0;
	ph_emit(hub, PH_EMIT_NODE_JOINED, NULL)->peer = hub->set.node;
	if (hub->set.address[0])
		ph_plan_soon(hub, hub->set.settle_ms);
	else
		ph_plan_soon(hub, 0);
	if (!hub->ready_told)
		(void)ph_out(hub, PH_ACT_READY);
	hub->ready_told = true;
}

/* Whoever has the wrong key, cluster name or address hears nothing: it is not to look healthy. */
static void tell_lonely(struct ph_hub *hub)
{
	for (struct ph_member *m = hub->members; m; m = m->hh.next)
		if (ph_member_live(m))
			return;
	if (hub->set.n_peers)
		ph_log(hub, PH_LOG_WARNING,
			"none of the %zu peers has answered within join_timeout (%llu ms), this "
			"node goes on alone: if they live, then cluster.peers, cluster.name, "
			"key_file or a firewall are in the way",
			hub->set.n_peers, (unsigned long long)hub->set.join_timeout_ms);
}

void ph_member_try_join(struct ph_hub *hub)
{
	if (hub->self_state != PH_MEMBER_JOINING)
		return;
	/* Each heartbeat may have been what was missing, and all members are looked at for it. */
	uint64_t gap = HASH_COUNT(hub->members) / TRY_MEMBERS_A_MS;
	if (gap && hub->now_ms < hub->join_tried_ms + gap)
		return;
	hub->join_tried_ms = hub->now_ms;
	bool time_over = hub->now_ms >= hub->join_until_ms;
	bool settled = hub->now_ms >= hub->started_ms + hub->set.settle_ms;
	/* A node that the others refuse, or do not hear yet, must not act as if it were alone. */
	if (!ph_member_refused(hub) && !hub->raising &&
		(time_over || (settled && seeds_answered(hub))) && in_step(hub)) {
		hub->blind = !seeds_answered(hub);
		if (!hub->ready_told)
			tell_lonely(hub);
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

/*
 * They live, as others hear them, and have not echoed this node for so long that they may have
 * forgotten it: another node of its name was a member there, and has left since. Their answer says
 * what they know.
 */
static void greet_the_mute(struct ph_hub *hub)
{
	for (struct ph_member *m = hub->members; m; m = m->hh.next) {
		if (m->state != PH_MEMBER_SUSPECT || hub->bus_down ||
			ph_member_echo_age(hub, m) < hub->set.failure_timeout_ms)
			continue;
		struct ph_bmsg *msg = ph_send(hub, &m->info.name, PH_B_HELLO);
		msg->self = ph_member_self(hub);
		msg->brief = true;
	}
}

void ph_member_hello(struct ph_hub *hub)
{
	if (!hub->set.address[0] || hub->exiting)
		return;
	bool done = all_greeted(hub) && !hub->strangers;
	hub->strangers = false;
	if (!done) {
		hub->hello_at_ms = hub->now_ms;
		struct ph_bmsg *msg = ph_cast(hub, PH_B_HELLO);
		msg->self = ph_member_self(hub);
		msg->brief = ph_join_many(hub);
	} else {
		greet_the_mute(hub);
	}
	hub->hello_wait_ms =
		hub->hello_wait_ms * 2 > HELLO_MAX_MS ? HELLO_MAX_MS : hub->hello_wait_ms * 2;
	/* Once all is well it looks again now and then: a seed may come back as a stranger. */
	uint64_t wait = done ? 5 * HELLO_MAX_MS : hub->hello_wait_ms;
	ph_timer_set(hub, &hub->hello, hub->now_ms + ph_jitter(hub, wait, 20));
}

void ph_member_hello_soon(struct ph_hub *hub)
{
	if (hub->hello.pos)
		ph_timer_set(hub, &hub->hello, hub->now_ms);
}

/* Whoever is dialled only now has had no HELLO yet. */
void ph_member_peers(struct ph_hub *hub)
{
	hub->hello_wait_ms = HELLO_FIRST_MS;
	ph_member_hello_soon(hub);
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
	ph_exchange_start(hub);
	if (!hub->set.n_peers)
		hub->join_until_ms = hub->now_ms;
}

void ph_member_message(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	struct ph_member *member;
	if (msg->kind == PH_B_HEARTBEAT) {
		ph_member_heartbeat(hub, msg);
	} else if (msg->kind == PH_B_LEAVE) {
		member = ph_member_find(hub, &msg->from);
		if (member)
			ph_member_step(hub, member, PH_MEMBER_IN_LEAVE);
	}
}
