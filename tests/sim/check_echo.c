/*
 * check_echo.c - does a receiver know of a heartbeat in brief what one in full would have told it?
 *
 * Beside each heartbeat the simulator keeps the line that its sender would have written of each
 * member, out of the sender's hub at that moment. After the receiver's step its member must have
 * exactly that of its own echo, and of each third one whose report it wants; only how much a sender
 * has of a third one's part may be unknown, where core says so itself (`brief`).
 */
#include "core/member.h"
#include "sim.h"

#include <stdlib.h>

#define TOLD \
	(PH_ECHO_SUSPECT | PH_ECHO_WITHHELD | PH_ECHO_JOINED | PH_ECHO_DRAINING | \
		PH_ECHO_DRAINED | PH_ECHO_UNSURE)

#define LONG_DEAD (1u << 31) /* in the lines that are kept here: for its sender */

/*
 * Held for dead for that long, and silent: lists are chosen without it (roll.c). How old the echo
 * from it is does not tell: a heartbeat of before its death that is late, or is replayed, brings a
 * newer one, which nobody lives by.
 */
static bool long_dead(const struct ph_hub *hub, const struct ph_member *m)
{
	return m->state == PH_MEMBER_DEAD &&
	       hub->now_ms >= m->since_ms + hub->set.failure_timeout_ms &&
	       hub->now_ms > m->heard_at_ms + ph_member_silent_ms(hub);
}

struct ph_echo *sim_echo_lines(const struct ph_hub *hub, size_t *ret_n)
{
	struct ph_echo *list = sim_alloc((HASH_COUNT(hub->members) + 1) * sizeof *list);
	size_t n = 0;
	for (const struct ph_member *m = hub->members; m; m = m->hh.next) {
		bool suspect = m->state == PH_MEMBER_SUSPECT;
		if (!ph_member_live(m) && m->state != PH_MEMBER_DEAD)
			continue;
		list[n++] = (struct ph_echo){.name = m->info.name,
			.incarnation = m->info.incarnation,
			.sequence = m->heard_seq,
			.age_ms = ph_member_echo_told(hub, m),
			.have = m->have,
			.flags = (suspect ? PH_ECHO_SUSPECT : 0) |
				 (ph_seat_withheld(hub, m) ? PH_ECHO_WITHHELD : 0) |
				 (suspect || m->state == PH_MEMBER_ALIVE ? PH_ECHO_JOINED : 0) |
				 (m->info.draining ? PH_ECHO_DRAINING : 0) |
				 (m->drained ? PH_ECHO_DRAINED : 0) |
				 (long_dead(hub, m) ? LONG_DEAD : 0) |
				 (m->sure < m->have ? PH_ECHO_UNSURE : 0)};
	}
	*ret_n = n;
	return list;
}

bool sim_echo_news(const struct ph_hub *hub, const struct ph_bmsg *msg)
{
	const struct ph_member *m = ph_member_find(hub, &msg->from);
	return msg->kind == PH_B_HEARTBEAT && !hub->exiting && m &&
	       m->info.incarnation == msg->incarnation && m->state != PH_MEMBER_LEFT &&
	       msg->sequence > m->heard_seq;
}

/*
 * Two nodes of one name that have come to the same incarnation are one for all others, until one of
 * them has taken a higher one: what is said in brief to the one need not be what the other can
 * read.
 */
bool sim_echo_shared(const struct sim_node *node)
{
	const struct sim *sim = node->sim;
	for (unsigned i = 0; i < sim->n_nodes; i++)
		if (i != node->no && sim->nodes[i].who == node->who &&
			sim->nodes[i].incarnation == node->incarnation)
			return true;
	return false;
}

static const struct ph_echo *line_on(
	const struct ph_echo *lines, size_t n, const struct ph_name *name)
{
	for (size_t i = 0; i < n; i++)
		if (ph_name_equal(&lines[i].name, name))
			return &lines[i];
	return NULL;
}

static bool own_told(const struct ph_hub *hub, const struct ph_member *from,
	const struct ph_echo *line, char *why, size_t size)
{
	if (line->sequence > hub->sequence || hub->sequence - line->sequence >= PH_SENT_RING ||
		(from->echo_seq == line->sequence &&
			(line->flags & PH_ECHO_UNSURE || from->hears_me_have == line->have)))
		return true;
	(void)snprintf(why, size,
		"%s reads that %s has heard its number %llu and has version %llu of it, and meant "
		"were %llu and %llu",
		hub->set.node.s, from->info.name.s, (unsigned long long)from->echo_seq,
		(unsigned long long)from->hears_me_have, (unsigned long long)line->sequence,
		(unsigned long long)line->have);
	return false;
}

static bool report_told(const struct ph_hub *hub, const struct ph_member *from,
	const struct ph_member *on, const struct ph_echo *line, char *why, size_t size)
{
	const struct ph_report *r = ph_member_report(from, on);
	if (r && r->incarnation == line->incarnation && r->age_ms == line->age_ms &&
		(r->flags & TOLD) == (line->flags & TOLD) && (r->brief || r->have == line->have))
		return true;
	(void)snprintf(why, size, "%s is told by %s of %s %s%s, expected age %llu, flags %x",
		hub->set.node.s, from->info.name.s, on->info.name.s,
		r ? "something else" : "nothing", r && r->brief ? " in brief" : "",
		(unsigned long long)line->age_ms, line->flags);
	return false;
}

bool sim_check_echo(const struct ph_hub *hub, const struct ph_bmsg *msg,
	const struct ph_echo *lines, size_t n, char *why, size_t size)
{
	const struct ph_member *from = ph_member_find(hub, &msg->from);
	const struct ph_echo *own = line_on(lines, n, &hub->set.node);
	if (!from || from->info.incarnation != msg->incarnation || !own ||
		own->incarnation != hub->set.incarnation)
		return true; /* its sender does not know that this life of it listens */
	if (from->heard_seq != msg->sequence) {
		(void)snprintf(why, size, "%s has refused a heartbeat of %s", hub->set.node.s,
			msg->from.s);
		return false;
	}
	if (!own_told(hub, from, own, why, size))
		return false;
	/* It could not know that one that it has held for dead for long hears this. */
	if (own->flags & LONG_DEAD ||
		(!(own->flags & PH_ECHO_JOINED) && own->age_ms >= 2 * hub->set.failure_timeout_ms))
		return true;
	/* Its reports count while it lives and is heard; whom they are wanted of may have been
	   judged in the same step, after it was read. */
	if (!ph_member_live(from) || hub->last_beat_ms == hub->now_ms ||
		hub->now_ms - from->echo_at_ms >= hub->set.failure_timeout_ms)
		return true;
	for (size_t i = 0; hub->n_by_name && i < hub->n_wanted; i++) {
		const struct ph_member *on = hub->wanted[i];
		const struct ph_echo *line = line_on(lines, n, &on->info.name);
		if (line && line->incarnation >= on->info.incarnation &&
			!report_told(hub, from, on, line, why, size))
			return false;
	}
	return true;
}
