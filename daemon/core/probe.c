/*
 * probe.c - is a member that is silent here really silent?
 *
 * A suspect is asked over the directed plane, straight and by way of three random members that
 * hear and are heard, so that a link that is cut or loses much costs nobody's life. An answer names
 * the probe, and so the moment from which on the suspect was known to live. It is no echo: whether
 * heartbeats get through is another matter, and as long as they do not the member stays suspect.
 */
#include "core/member.h"

#define VIAS 3
#define AGAIN_BEATS 2
#define FRESH_BEATS 5

bool ph_probe_answered(const struct ph_hub *hub, const struct ph_member *member, uint64_t limit)
{
	return member->answered_ms && hub->now_ms - member->answered_ms < limit;
}

static bool may_pass_on(
	const struct ph_hub *hub, const struct ph_member *via, const struct ph_member *to)
{
	return via != to && via->state == PH_MEMBER_ALIVE && via->linked &&
	       hub->now_ms - via->echo_at_ms <= FRESH_BEATS * hub->beat_ms;
}

/* Each of those that may has the same chance (reservoir sampling, Vitter's R). */
static size_t pick_vias(
	struct ph_hub *hub, const struct ph_member *to, const struct ph_member *ret[VIAS])
{
	size_t seen = 0;
	for (const struct ph_member *m = hub->members; m; m = m->hh.next) {
		if (!may_pass_on(hub, m, to))
			continue;
		size_t at = seen < VIAS ? seen : (size_t)(ph_random(hub) % (seen + 1));
		if (at < VIAS)
			ret[at] = m;
		seen++;
	}
	return seen < VIAS ? seen : VIAS;
}

static void ask(struct ph_hub *hub, const struct ph_member *member, const struct ph_member *via)
{
	const struct ph_name *by = via ? &via->info.name : NULL;
	struct ph_bmsg *msg = ph_send_via(hub, &member->info.name, by, PH_B_PROBE);
	msg->sequence = hub->now_ms;
	if (by)
		msg->target = *by;
}

void ph_probe(struct ph_hub *hub, struct ph_member *member)
{
	const struct ph_member *vias[VIAS];
	size_t n = pick_vias(hub, member, vias);
	member->probed_ms = hub->now_ms;
	if (n == 0)
		ask(hub, member, NULL);
	for (size_t i = 0; i < n; i++)
		ask(hub, member, vias[i]);
}

void ph_probe_beat(struct ph_hub *hub)
{
	const uint64_t again = AGAIN_BEATS * hub->set.heartbeat_ms;
	for (struct ph_member *m = hub->members; m; m = m->hh.next)
		if (m->state == PH_MEMBER_SUSPECT && hub->now_ms >= m->probed_ms + again)
			ph_probe(hub, m);
}

void ph_probe_message(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	struct ph_member *member = ph_member_find(hub, &msg->from);
	if (!member || member->state == PH_MEMBER_LEFT)
		return;
	if (msg->kind == PH_B_PROBE) {
		bool by = msg->target.s[0] && !ph_is_self(hub, &msg->target);
		struct ph_bmsg *answer =
			ph_send_via(hub, &msg->from, by ? &msg->target : NULL, PH_B_PROBE_ACK);
		answer->sequence = msg->sequence;
		return;
	}
	/* A number of ours; what cannot be one is of another life, or nonsense. */
	if (msg->sequence <= hub->now_ms && msg->sequence > member->answered_ms &&
		msg->sequence >= member->first_ms)
		member->answered_ms = msg->sequence;
}
