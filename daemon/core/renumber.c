/*
 * renumber.c - what others know of this node's name: a higher incarnation, or a life that is not
 * its own.
 *
 * A higher incarnation counts only once it is synced. Until then the others drop what this node
 * says, as the late word of an earlier life, and so it has not joined, however long its disk takes.
 */
#include "core/member.h"

#define RAISE_AGAIN_MS 5000 /* a higher incarnation could not be kept */

/*
 * The cluster knows a life of this node that its state directory does not: the directory was lost,
 * or another node of its name had it. What was promised then cannot be read here.
 */
static void hold_for_lost(struct ph_hub *hub)
{
	hub->set.journal_lost = true;
	hub->forgetful = ph_quorate(hub);
	ph_lost_write(hub, true);
}

static void write_clash(struct ph_hub *hub, uint64_t incarnation, bool open)
{
	struct ph_record record = {
		.kind = PH_RECORD_CLASHED, .peer = hub->set.node, .epoch = incarnation, .ok = open};
	hub->clashed = open ? incarnation : 0;
	(void)ph_journal(hub, &record);
}

/* Under another name it is nobody's second. */
void ph_renumber_restore(struct ph_hub *hub, const struct ph_record *record)
{
	if (ph_is_self(hub, &record->peer))
		hub->clashed = record->ok ? record->epoch : 0;
}

/*
 * Where another node has that life, and lives, nothing of this one is lost: its name is what is
 * wrong. But once it is let in, in the place of that one, it answers for what that one promised; so
 * it is kept in mind, over restarts too.
 */
static void unknown_life(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	uint64_t known = msg->known_incarnation;
	if (known <= hub->set.previous || known == hub->set.incarnation || hub->set.journal_lost ||
		hub->self_state != PH_MEMBER_JOINING)
		return;
	if (msg->refused) {
		if (known > hub->clashed)
			write_clash(hub, known, true);
		return;
	}
	ph_log(hub, PH_LOG_WARNING,
		"node %s knows incarnation %llu of this node, of which nothing is stored here: "
		"what it promised is held for lost",
		msg->from.s, (unsigned long long)known);
	hold_for_lost(hub);
}

void ph_renumber_let_in(struct ph_hub *hub)
{
	if (!hub->clashed)
		return;
	ph_log(hub, PH_LOG_WARNING,
		"this node has the place of another one of its name, whose incarnation was %llu: "
		"what that one promised is held for lost",
		(unsigned long long)hub->clashed);
	if (!hub->set.journal_lost)
		hold_for_lost(hub);
	write_clash(hub, hub->clashed, false);
}

/* The cluster knows a later life of this node than this one: its number was lost, or its clock. */
void ph_renumber_told(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	uint64_t known = msg->known_incarnation;
	unknown_life(hub, msg);
	if (known <= hub->set.incarnation || hub->raising)
		return;
	if (known >= PH_EPOCH_LIMIT - PH_INCARNATION_APART) {
		ph_log(hub, PH_LOG_ERROR, "node %s knows incarnation %llu of this node: impossible",
			msg->from.s, (unsigned long long)known);
		return;
	}
	hub->raising = known + 1 + ph_random(hub) % PH_INCARNATION_APART;
	ph_log(hub, PH_LOG_WARNING,
		"node %s knows incarnation %llu of this node, which has %llu: it takes a higher "
		"one",
		msg->from.s, (unsigned long long)known, (unsigned long long)hub->set.incarnation);
	ph_out(hub, PH_ACT_INCARNATION)->incarnation = hub->raising;
}

/* A disk that could not keep it is asked again. */
void ph_renumber_beat(struct ph_hub *hub)
{
	if (!hub->raise_again_ms || hub->now_ms < hub->raise_again_ms)
		return;
	hub->raise_again_ms = 0;
	ph_out(hub, PH_ACT_INCARNATION)->incarnation = hub->raising;
}

void ph_renumbered(struct ph_hub *hub, uint64_t incarnation, int error)
{
	if (error) {
		hub->raise_again_ms = hub->raising ? hub->now_ms + RAISE_AGAIN_MS : 0;
		return;
	}
	hub->raising = hub->raise_again_ms = 0;
	hub->set.incarnation = incarnation;
	for (struct ph_member *m = hub->members; m; m = m->hh.next) {
		m->echoed = m->welcomed = false; /* they know another one */
		m->hears_me_have = m->echo_seq = 0;
	}
	ph_member_hello_soon(hub);
}
