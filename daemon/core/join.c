/*
 * join.c - who is let in: HELLO, CHALLENGE, PROOF, WELCOME, REFUSED.
 *
 * A HELLO may be a recording, or the late word of a life that is over; so nothing is learned from
 * it. Its answer goes to the address that it names, and asks for a fresh number to be repeated;
 * only who repeats it, in time and once, is learned. What is addressed to this incarnation of this
 * node (CHALLENGE, WELCOME, REFUSED) cannot be older than it.
 *
 * A WELCOME names all members, and in a cluster that starts each node is welcomed by each: where
 * they are many, a node asks one after another whom it knows, and the others say nothing of that.
 *
 * Of two nodes of one name the first stays for as long as it lives. A higher incarnation replaces
 * it at once where it answers at the same address (so that the old one cannot be there any more),
 * after a probe that stayed unanswered where it has the state directory of the old one, and else
 * only when the old one is dead or has left: its children may still run.
 */
#include "core/member.h"

#include <stdlib.h>
#include <string.h>

#define OPEN_MS 5000		/* a challenge is answered within */
#define OPEN_MAX PH_NODES_MAX	/* challenges at a time */
#define WELCOME_GAP_MS 5	/* between two WELCOMEs to one, for each member there is ... */
#define WELCOME_GAP_MAX_MS 1000 /* ... up to this */
#define MANY 64			/* from so many members on not each one is asked whom it knows */
#define PROBE_BEATS 4		/* for an answer of the one whose place is wanted */
#define REFUSED_SAY_MS 60000	/* between two lines of the log about it */
#define APART 1024		/* between the numbers of two who are asked for more */

/* ---- open challenges ---- */

static struct ph_challenge *challenge_find(
	const struct ph_hub *hub, const struct ph_name *name, uint64_t incarnation)
{
	struct ph_challenge *c;
	DL_FOREACH (hub->challenges, c)
		if (c->incarnation == incarnation && ph_name_equal(&c->name, name))
			return c;
	return NULL;
}

static void challenge_drop(struct ph_hub *hub, struct ph_challenge *c)
{
	DL_DELETE(hub->challenges, c);
	hub->n_challenges--;
	free(c);
}

/* NULL: there are too many. */
static struct ph_challenge *challenge_get(struct ph_hub *hub, const struct ph_member_info *who)
{
	struct ph_challenge *c = challenge_find(hub, &who->name, who->incarnation);
	if (c || hub->n_challenges >= OPEN_MAX)
		return c;
	c = ph_must(calloc(1, sizeof *c));
	c->name = who->name;
	c->incarnation = who->incarnation;
	DL_APPEND(hub->challenges, c);
	hub->n_challenges++;
	return c;
}

const struct ph_id *ph_join_nonce(
	const struct ph_hub *hub, const struct ph_name *name, uint64_t incarnation)
{
	const struct ph_challenge *c = challenge_find(hub, name, incarnation);
	return c ? &c->nonce : NULL;
}

void ph_join_free(struct ph_hub *hub)
{
	while (hub->challenges)
		challenge_drop(hub, hub->challenges);
}

static uint64_t known_of(const struct ph_hub *hub, const struct ph_name *name)
{
	const struct ph_member *member = ph_member_find(hub, name);
	const struct ph_tomb *tomb = ph_tomb_find(hub, name);
	return member ? member->info.incarnation : tomb ? tomb->incarnation : 0;
}

static bool same_address(const struct ph_member *member, const struct ph_member_info *info)
{
	return strcmp(member->info.address, info->address) == 0;
}

/*
 * Another node of its name lives, with a higher number. To take a still higher one would be of no
 * use: where each of two is let in by others they would outbid each other for ever, and neither be
 * refused.
 */
static bool outbid(const struct ph_hub *hub, const struct ph_member_info *info)
{
	const struct ph_member *first = ph_member_find(hub, &info->name);
	return first && ph_member_live(first) && first->info.incarnation > info->incarnation &&
	       !same_address(first, info);
}

static uint64_t told_of(const struct ph_hub *hub, const struct ph_member_info *to)
{
	return outbid(hub, to) ? 0 : known_of(hub, &to->name);
}

/* Another one has its name, and lives: what is known of that one is not of this one. */
static bool clashes(const struct ph_hub *hub, const struct ph_member_info *info)
{
	const struct ph_member *first = ph_member_find(hub, &info->name);
	return first && ph_member_live(first) && !same_address(first, info);
}

static void challenge(
	struct ph_hub *hub, const struct ph_member_info *to, const struct ph_id *nonce)
{
	struct ph_bmsg *msg = ph_send_there(hub, to, PH_B_CHALLENGE);
	msg->self = ph_member_self(hub);
	msg->known_incarnation = told_of(hub, to);
	msg->refused = clashes(hub, to);
	if (nonce)
		msg->nonce = *nonce;
}

/*
 * Whoever hears that takes a higher number than that; two of one name that are asked at the same
 * time do not come to the same one.
 */
static void ask_for_more(struct ph_hub *hub, const struct ph_member_info *to)
{
	struct ph_bmsg *msg = ph_send_there(hub, to, PH_B_CHALLENGE);
	msg->self = ph_member_self(hub);
	msg->known_incarnation = to->incarnation + 1 + ph_random(hub) % APART;
	msg->refused = clashes(hub, to);
}

static struct ph_member_info info_of(const struct ph_challenge *c)
{
	struct ph_member_info info;
	memset(&info, 0, sizeof info);
	info.name = c->name;
	info.incarnation = c->incarnation;
	memcpy(info.address, c->address, sizeof info.address);
	return info;
}

/* ---- HELLO ---- */

/* Known, fresh, and where it was. */
static bool is_proven(const struct ph_member *member, const struct ph_member_info *info)
{
	return member && ph_member_live(member) && (member->proven || member->echoed) &&
	       member->info.incarnation == info->incarnation && same_address(member, info);
}

/*
 * Two nodes of one name have raised their numbers above that of the same dead one, and have come to
 * the same: as long as it is so, the words of both are taken for those of one, and where one has
 * left the other one stays out.
 */
static bool is_twin(const struct ph_member *member, const struct ph_member_info *info)
{
	return member && (!ph_member_live(member) || member->proven || member->echoed) &&
	       member->info.incarnation == info->incarnation && !same_address(member, info);
}

static void name_all(struct ph_hub *hub, struct ph_member *member, struct ph_bmsg *msg)
{
	size_t n = HASH_COUNT(hub->members), k = 0;
	struct ph_member_info *list = ph_out_alloc(hub, (n + 1) * sizeof *list);
	for (struct ph_member *m = hub->members; m; m = m->hh.next) {
		if (!ph_member_live(m) || m == member)
			continue;
		list[k] = m->info;
		list[k].state = m->state;
		list[k++].labels = ph_out_text(hub, m->info.labels);
	}
	member->named_ms = hub->now_ms;
	msg->members = list;
	msg->n_members = k;
}

static void welcome(struct ph_hub *hub, struct ph_member *member, bool brief)
{
	struct ph_bmsg *msg = ph_send(hub, &member->info.name, PH_B_WELCOME);
	member->welcomed_ms = hub->now_ms;
	msg->self = ph_member_self(hub);
	msg->known_incarnation = member->info.incarnation;
	if (!brief)
		name_all(hub, member, msg);
}

/* A cluster that starts at once says hello a lot, and a WELCOME names everybody. */
static bool just_now(const struct ph_hub *hub, uint64_t at_ms)
{
	uint64_t gap = WELCOME_GAP_MS * HASH_COUNT(hub->members);
	return at_ms && hub->now_ms < at_ms + min_ms(gap, WELCOME_GAP_MAX_MS);
}

bool ph_join_many(const struct ph_hub *hub)
{
	return HASH_COUNT(hub->members) >= MANY;
}

/* What it says to one alone; false: that one is asked whom it knows. */
static bool briefly(struct ph_hub *hub)
{
	if (ph_join_many(hub) && just_now(hub, hub->names_ms))
		return true;
	hub->names_ms = hub->now_ms;
	return false;
}

static void greet(struct ph_hub *hub, const struct ph_name *to)
{
	struct ph_bmsg *msg = ph_send(hub, to, PH_B_HELLO);
	msg->self = ph_member_self(hub);
	msg->brief = briefly(hub);
}

void ph_join_ask_names(struct ph_hub *hub, const struct ph_name *to)
{
	if (ph_join_many(hub) && !just_now(hub, hub->names_ms))
		greet(hub, to);
}

static void let_in(struct ph_hub *hub, struct ph_member *member, const struct ph_bmsg *msg)
{
	ph_member_step(hub, member, ph_member_says(&msg->self));
	ph_member_link(hub, member);
	if (just_now(hub, msg->brief ? member->welcomed_ms : member->named_ms))
		return;
	welcome(hub, member, msg->brief);
	if (!member->welcomed) /* let it tell us as soon; it alone, not all the others as well */
		greet(hub, &member->info.name);
}

static void on_hello(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	const struct ph_member_info *info = &msg->self;
	struct ph_member *member = ph_member_find(hub, &info->name);
	const struct ph_tomb *tomb = ph_tomb_find(hub, &info->name);
	uint64_t known = known_of(hub, &info->name);
	bool left = member ? member->state == PH_MEMBER_LEFT : tomb && tomb->left;
	if (ph_member_refused(hub)) /* its word counts for nothing now */
		return;
	if (is_proven(member, info)) {
		let_in(hub, member, msg);
		return;
	}
	if (is_twin(member, info)) {
		ask_for_more(hub, info);
		return;
	}
	if (known > info->incarnation && !outbid(hub, info)) {
		challenge(hub, info, NULL);
		return;
	}
	if (left && known == info->incarnation) {
		if (tomb && tomb->ordered) /* it lives after all: as a new member, then */
			ask_for_more(hub, info);
		return;
	}
	struct ph_challenge *c = challenge_get(hub, info);
	if (!c || (c->probe_ms && ph_id_none(&c->nonce)))
		return;
	if (ph_id_none(&c->nonce) || strcmp(c->address, info->address) != 0 ||
		hub->now_ms >= c->at_ms + OPEN_MS) {
		c->nonce = ph_random_id(hub);
		c->at_ms = hub->now_ms;
		memcpy(c->address, info->address, sizeof c->address);
	}
	challenge(hub, info, &c->nonce);
}

static void on_challenge(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	ph_renumber_told(hub, msg);
	if (ph_id_none(&msg->nonce) || hub->raising)
		return;
	/* Who is not let in here lets nobody in from here; one that joins hears first who it is. */
	if (hub->self_state == PH_MEMBER_ALIVE && ph_same_slot_refuse(hub, &msg->self))
		return;
	struct ph_bmsg *answer = ph_send_there(hub, &msg->self, PH_B_PROOF);
	answer->self = ph_member_self(hub);
	answer->nonce = msg->nonce;
	answer->previous = hub->set.previous;
	answer->view = hub->view.number;
	answer->refused = ph_member_refused(hub);
	answer->brief = briefly(hub);
}

/* ---- PROOF ---- */

void ph_join_refuse(struct ph_hub *hub, const struct ph_member_info *info, uint64_t known,
	bool give_way, const char *text)
{
	struct ph_bmsg *answer = ph_send_there(hub, info, PH_B_REFUSED);
	ph_reason(answer->reason, "%s", text);
	answer->self = ph_member_self(hub);
	answer->known_incarnation = known;
	answer->refused = give_way;
	answer->epoch = ph_registry_highest(hub);
	if (hub->refuse_said_ms && hub->now_ms < hub->refuse_said_ms + REFUSED_SAY_MS)
		return;
	hub->refuse_said_ms = hub->now_ms;
	char line[PH_REASON_SIZE];
	ph_reason(line, "%s is refused: %s", info->address, text);
	struct ph_emit *emit = ph_emit(hub, PH_EMIT_NODE_REFUSED, NULL);
	emit->peer = info->name;
	emit->text = ph_out_text(hub, line);
}

static void refuse_second(
	struct ph_hub *hub, const struct ph_member *first, const struct ph_member_info *info)
{
	char text[PH_REASON_SIZE];
	ph_reason(text,
		"another node of the name %s lives at %s: give one of the two another node.name, "
		"or stop one",
		info->name.s, first->info.address);
	ph_join_refuse(hub, info, told_of(hub, info), true, text);
}

bool ph_join_replaces(const struct ph_hub *hub, const struct ph_member_info *info)
{
	const struct ph_member *member = ph_member_find(hub, &info->name);
	return !member || !ph_member_live(member) || same_address(member, info) ||
	       info->incarnation < member->info.incarnation; /* which is not learned */
}

/* Has the first one said anything since it is probed? */
static bool answered(const struct ph_member *first, const struct ph_challenge *c)
{
	return first->answered_ms >= c->probe_ms || first->echo_true_ms > c->probe_ms;
}

static uint64_t probe_time(const struct ph_hub *hub)
{
	return PROBE_BEATS * hub->set.heartbeat_ms;
}

/* May this one have the place of the first? True: yes. Else it is refused, or waits for a probe. */
static bool may_replace(struct ph_hub *hub, struct ph_challenge *c, const struct ph_bmsg *msg)
{
	struct ph_member *first = ph_member_find(hub, &msg->self.name);
	if (ph_join_replaces(hub, &msg->self) ||
		(ph_member_superseded(hub, first) && ph_lease_over(hub, first)))
		return true;
	/* With a quorum strategy the first may hold a lease for longer than a probe takes. */
	bool heir = !ph_quorate(hub) && msg->previous == first->info.incarnation;
	if (!heir || (c->probe_ms && answered(first, c))) {
		refuse_second(hub, first, &msg->self);
		return false;
	}
	if (c->probe_ms)
		return hub->now_ms >= c->probe_ms + probe_time(hub);
	c->probe_ms = hub->now_ms;
	c->nonce = (struct ph_id){0};
	ph_probe(hub, first);
	return false;
}

/* It is not known here, or is dead, and others hear one of its name that is another one. */
static bool heard_elsewhere(const struct ph_hub *hub, const struct ph_member_info *info)
{
	const struct ph_member *known = ph_member_find(hub, &info->name);
	bool lives = known && ph_member_live(known);
	return !lives && ph_member_heard_elsewhere(hub, &info->name, info->incarnation);
}

static void on_proof(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	const struct ph_member_info *info = &msg->self;
	struct ph_challenge *c = challenge_find(hub, &info->name, info->incarnation);
	bool right = c && !ph_id_none(&c->nonce) && ph_id_equal(&c->nonce, &msg->nonce) &&
		     strcmp(c->address, info->address) == 0 && hub->now_ms < c->at_ms + OPEN_MS;
	if (right && outbid(hub, info)) {
		challenge_drop(hub, c);
		refuse_second(hub, ph_member_find(hub, &info->name), info);
		return;
	}
	if (!right || known_of(hub, &info->name) > info->incarnation)
		return;
	ph_quorum_exists(hub, msg);
	/* Others may know a first one of its name. */
	const struct ph_member *known = ph_member_find(hub, &info->name);
	bool left = known && known->state == PH_MEMBER_LEFT;
	bool doubtful = ((!known || left) && msg->refused) || heard_elsewhere(hub, info);
	bool in = may_replace(hub, c, msg) && !doubtful;
	if (c->probe_ms && ph_id_none(&c->nonce))
		return; /* it waits for the probe */
	challenge_drop(hub, c);
	in = in && !ph_same_slot_refuse(hub, info);
	struct ph_member *member = in ? ph_member_learn(hub, info, true) : NULL;
	if (!member)
		return;
	member->proven = true;
	let_in(hub, member, msg);
}

/* ---- WELCOME, REFUSED ---- */

/*
 * It holds this node for a member, and another one has its place: that one was let in while it was
 * held for dead. It is told so, and may ask to be let in again.
 */
static void outlived(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	const struct ph_member *other = ph_member_find(hub, &msg->from);
	if (outbid(hub, &msg->self))
		refuse_second(hub, other, &msg->self);
	else if (known_of(hub, &msg->from) > msg->self.incarnation)
		challenge(hub, &msg->self, NULL);
}

static void on_welcome(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	ph_renumber_told(hub, msg);
	if (ph_same_slot_refuse(hub, &msg->self))
		return;
	/* That it lets this node in is no reason to let it in behind the back of the first one. */
	bool may = ph_join_replaces(hub, &msg->self) && !heard_elsewhere(hub, &msg->self);
	struct ph_member *member = may ? ph_member_learn(hub, &msg->self, true) : NULL;
	if (!member) {
		outlived(hub, msg);
		return;
	}
	struct ph_challenge *c = challenge_find(hub, &msg->from, msg->self.incarnation);
	if (c)
		challenge_drop(hub, c);
	if (ph_name_equal(&hub->refused_by, &msg->from))
		hub->refused_ms = 0;
	if (!member->welcomed) /* whoever refuses it still says so again */
		hub->yield_at_ms = 0;
	ph_renumber_let_in(hub);
	member->proven = true;
	ph_member_step(hub, member, ph_member_says(&msg->self));
	ph_member_link(hub, member);
	member->welcomed = true;
	if (msg->n_members)
		hub->names_ms = hub->now_ms;
	for (size_t i = 0; i < msg->n_members; i++) {
		const struct ph_member_info *info = &msg->members[i];
		const struct ph_member *known = ph_member_find(hub, &info->name);
		if (known && known->info.incarnation == info->incarnation && known->linked &&
			known->state != PH_MEMBER_UNKNOWN)
			continue; /* most of them, and a cluster that starts hears them a lot */
		struct ph_member *other =
			ph_join_replaces(hub, info) ? ph_member_learn(hub, info, false) : NULL;
		if (!other)
			continue;
		if (other->state == PH_MEMBER_UNKNOWN)
			ph_member_step(hub, other, PH_MEMBER_IN_HEARD);
		ph_member_link(hub, other);
	}
}

static void on_refused(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	ph_renumber_told(hub, msg);
	if (!hub->refused_said_ms || hub->now_ms >= hub->refused_said_ms + REFUSED_SAY_MS) {
		char line[PH_REASON_SIZE];
		ph_reason(line, "node %s refuses this node: %s", msg->from.s, msg->reason);
		struct ph_emit *emit = ph_emit(hub, PH_EMIT_NODE_REFUSED, NULL);
		emit->peer = hub->set.node;
		emit->text = ph_out_text(hub, line);
		hub->refused_said_ms = hub->now_ms;
	}
	if (msg->epoch > hub->outdone)
		hub->outdone = msg->epoch;
	hub->refused_ms = hub->now_ms;
	hub->refused_by = msg->from;
	if (msg->refused)
		ph_yield_refused(hub);
}

void ph_join_message(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	static void (*const routes[PH_BKIND_COUNT])(struct ph_hub *, const struct ph_bmsg *) = {
		[PH_B_HELLO] = on_hello,
		[PH_B_CHALLENGE] = on_challenge,
		[PH_B_PROOF] = on_proof,
		[PH_B_WELCOME] = on_welcome,
		[PH_B_REFUSED] = on_refused,
	};
	bool own = ph_name_equal(&msg->self.name, &msg->from) &&
		   msg->self.incarnation == msg->incarnation;
	if (own || msg->kind == PH_B_REFUSED) /* nobody speaks for another one */
		routes[msg->kind](hub, msg);
}

/* ---- time ---- */

/* The one whose place is wanted has answered, or had its time: its heir is asked once more. */
static void probed(struct ph_hub *hub, struct ph_challenge *c)
{
	const struct ph_member *first = ph_member_find(hub, &c->name);
	struct ph_member_info info = info_of(c);
	if (first && ph_member_live(first) && first->info.incarnation < c->incarnation &&
		answered(first, c)) {
		refuse_second(hub, first, &info);
		challenge_drop(hub, c);
		return;
	}
	if (!ph_id_none(&c->nonce) || hub->now_ms < c->probe_ms + probe_time(hub))
		return;
	c->nonce = ph_random_id(hub);
	c->at_ms = hub->now_ms;
	challenge(hub, &info, &c->nonce);
}

void ph_join_beat(struct ph_hub *hub)
{
	struct ph_challenge *c, *next;
	ph_renumber_beat(hub);
	DL_FOREACH_SAFE(hub->challenges, c, next)
	{
		bool open = !ph_id_none(&c->nonce);
		if (open && hub->now_ms >= c->at_ms + OPEN_MS)
			challenge_drop(hub, c);
		else if (c->probe_ms)
			probed(hub, c);
	}
}
