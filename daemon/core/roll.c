/*
 * roll.c - lists of members that all know alike, so that a heartbeat need not name whom it echoes.
 *
 * A node's list is the name and incarnation of all that have joined, itself included. Its
 * heartbeats name the digest of that list, and of the base: the list in whose order the sender
 * tells its echoes in brief. Whoever names a list remembers it, as long as an echo of a heartbeat
 * in which it did so counts: however often members come and go meanwhile, it can read what is told
 * in the order of that list. In brief is told only what all can read whom the heartbeat concerns:
 * each has named the base in the newest heartbeat that was heard of it, by this node or, where a
 * link is cut, by one that hears it and says so. The base follows the list as soon as all have
 * named that, and outlasts it until then: a join, a leave and a death cost no long heartbeats.
 */
#include "core/member.h"

#include <stdlib.h>
#include <string.h>

/*
 * One that is held for dead may be about to object, and then needs the echoes of others at once: as
 * long as it may not hold this node for dead in turn, and as long as it is heard. If it is for so
 * long and does not object, it hears nobody, and would make all others' heartbeats long for ever.
 */
#define DEAF_MS 60000

uint64_t ph_roll_id(const struct ph_name *name, uint64_t incarnation)
{
	return ph_mix64(
		ph_hash_bytes(PH_HASH_SEED, name->s, strlen(name->s)) ^ ph_mix64(incarnation));
}

uint64_t ph_roll_self(const struct ph_hub *hub)
{
	return ph_roll_id(&hub->set.node, hub->set.incarnation);
}

/* ---- the list */

static bool joined(const struct ph_member *m)
{
	return m->state == PH_MEMBER_ALIVE || m->state == PH_MEMBER_SUSPECT;
}

/* A sum, so that nothing need be sorted to see whether it has changed. */
static uint64_t digest_of(const struct ph_hub *hub, size_t *ret_n)
{
	uint64_t sum = 0;
	size_t n = hub->self_state == PH_MEMBER_ALIVE;
	if (n)
		sum += ph_mix64(ph_roll_self(hub));
	for (const struct ph_member *m = hub->members; m; m = m->hh.next)
		if (joined(m)) {
			sum += ph_mix64(m->roll_id);
			n++;
		}
	uint64_t digest = ph_mix64(sum + n);
	*ret_n = n;
	return digest ? digest : 1;
}

static int by_id(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;
	return (*x > *y) - (*x < *y);
}

static void fill(struct ph_hub *hub, struct ph_roll *roll, uint64_t digest, size_t n)
{
	if (!roll->ids || roll->cap < n) {
		roll->cap = n + n / 4 + 4;
		roll->ids = ph_must(realloc(roll->ids, roll->cap * sizeof *roll->ids));
	}
	roll->digest = digest;
	roll->n = 0;
	if (hub->self_state == PH_MEMBER_ALIVE)
		roll->ids[roll->n++] = ph_roll_self(hub);
	for (const struct ph_member *m = hub->members; m; m = m->hh.next)
		if (joined(m))
			roll->ids[roll->n++] = m->roll_id;
	if (roll->n)
		qsort(roll->ids, roll->n, sizeof *roll->ids, by_id);
}

const struct ph_roll *ph_roll_find(const struct ph_hub *hub, uint64_t digest)
{
	for (size_t i = 0; digest && i < PH_ROLLS; i++)
		if (hub->rolls[i].digest == digest)
			return &hub->rolls[i];
	return NULL;
}

size_t ph_roll_place(const struct ph_roll *roll, uint64_t id)
{
	const uint64_t *at = roll->n ? bsearch(&id, roll->ids, roll->n, sizeof id, by_id) : NULL;
	return at ? (size_t)(at - roll->ids) : PH_NO_PLACE;
}

/* The list as it is now, in the place of the one that was named longest ago. */
static struct ph_roll *list_now(struct ph_hub *hub)
{
	size_t n;
	uint64_t digest = digest_of(hub, &n);
	struct ph_roll *oldest = &hub->rolls[hub->base == hub->rolls];
	for (struct ph_roll *roll = hub->rolls; roll < hub->rolls + PH_ROLLS; roll++) {
		if (roll->digest == digest)
			return roll;
		if (roll != hub->base && roll->named < oldest->named)
			oldest = roll;
	}
	fill(hub, oldest, digest, n);
	return oldest;
}

/* ---- who can read it */

static bool heard(const struct ph_hub *hub, const struct ph_member *m)
{
	return m->heard_seq && hub->now_ms <= m->heard_at_ms + ph_member_silent_ms(hub);
}

bool ph_roll_named(const struct ph_hub *hub, const struct ph_member *m, uint64_t digest)
{
	return heard(hub, m) && (m->list == digest || m->base == digest);
}

/*
 * `dead`: and whoever is held for dead, whenever it will hear of it; the base is left as it is for
 * their sake as long as no other one has to be chosen.
 */
static bool concerns(const struct ph_hub *hub, const struct ph_member *m, bool dead)
{
	uint64_t since = m->since_ms > m->back_ms ? m->since_ms : m->back_ms;
	if (m->state != PH_MEMBER_DEAD)
		return ph_member_live(m);
	return dead || hub->now_ms < m->since_ms + hub->set.failure_timeout_ms ||
	       (heard(hub, m) && hub->now_ms < since + DEAF_MS);
}

/* One that is not heard here: by the word of one that hears it; if nobody does, by its own last. */
static bool reads_it_seems(const struct ph_member *m, uint64_t digest)
{
	if (m->hearer)
		return m->said_list == digest || m->said_base == digest;
	return m->heard_seq && (m->list == digest || m->base == digest);
}

static bool all_read(const struct ph_hub *hub, uint64_t digest, bool dead)
{
	for (const struct ph_member *m = hub->members; m; m = m->hh.next)
		if (concerns(hub, m, dead) && !(heard(hub, m) ? ph_roll_named(hub, m, digest)
							      : reads_it_seems(m, digest)))
			return false;
	return true;
}

bool ph_roll_choose(struct ph_hub *hub)
{
	struct ph_roll *list = list_now(hub);
	bool brief = false;
	for (int dead = 1; dead >= 0 && !brief; dead--) {
		if ((brief = all_read(hub, list->digest, dead)))
			hub->base = list;
		else if (hub->base && hub->base != list)
			brief = all_read(hub, hub->base->digest, dead);
	}
	hub->list = list;
	list->named = hub->sequence;
	if (hub->base)
		hub->base->named = hub->sequence;
	return brief && list->n > 1;
}

/* ---- the end */

void ph_roll_drop(struct ph_hub *hub, uint64_t id)
{
	for (struct ph_roll *roll = hub->rolls; roll < hub->rolls + PH_ROLLS; roll++)
		if (roll->digest && ph_roll_place(roll, id) != PH_NO_PLACE) {
			roll->digest = roll->named = roll->n = 0;
			hub->base = hub->base == roll ? NULL : hub->base;
		}
}

void ph_roll_free(struct ph_hub *hub)
{
	for (size_t i = 0; i < PH_ROLLS; i++)
		free(hub->rolls[i].ids);
}
