/*
 * echo.c - what a heartbeat says of everybody else, written and read.
 *
 * Of each member it says which of its heartbeats was heard last, how old the newest echo from it
 * is, and how much of its part of the registry is here: in a line with its name, or, where all is
 * as it should be and all can read it, in brief, by its place in a list that the receivers know
 * (roll.c). What is in brief must mean exactly what the line would have meant:
 *
 * - The number is cut to eight bits, and its author alone reads it. The numbers that a sender has
 *   heard of it only rise from one heartbeat to the next, so the author counts upwards from the one
 *   it read last; with fewer than PH_PLACE_NUMBERS sent since, only one can be meant. It never
 *   guesses by what is newest, so a number cannot wrap into looking fresh, in a heartbeat that was
 *   held up for however long neither. For the sender not to leave the author without an echo, it
 *   cuts only what is less than SURE_NUMBERS above one that the author has read for certain: it
 *   has echoed a heartbeat of ours that told of it, or a later one.
 * - The age is the very age, out of a table: members that are echoed by the same one of our
 *   heartbeats have the same.
 * - `have` is the version that the echoed heartbeat announced: its author remembers it. Third ones
 *   do not know it, and ask for lines (PH_ECHO_ASK) where it matters to them.
 *
 * Reading what is in brief takes a look at this node's own place, and at the places of those of
 * whom others' word is wanted.
 */
#include "base/places.h"
#include "core/member.h"

#include <stdlib.h>
#include <string.h>

#define STRANGER_MS 1000      /* between two HELLOs that ask who it is that others hear */
#define SURE_NUMBERS 128      /* with PH_SENT_RING that are looked at: PH_PLACE_NUMBERS */
#define ASKED_BEATS 3	      /* whoever asks does it in each heartbeat */
#define MISFIT_AGAIN_MS 60000 /* between two lines of the log */

_Static_assert(SURE_NUMBERS + PH_SENT_RING <= PH_PLACE_NUMBERS, "a cut number would be ambiguous");

/* ---- members by name ---- */

/* Is what others say of it wanted here? It is silent or gone, or a tombstone of it waits for all.
 */
static bool is_wanted(const struct ph_hub *hub, const struct ph_member *m)
{
	if (m->watched || m->state == PH_MEMBER_DEAD || m->state == PH_MEMBER_LEFT)
		return true;
	return ph_member_live(m) && hub->now_ms > m->first_ms + 2 * hub->beat_ms &&
	       (!m->echoed || ph_member_echo_age(hub, m) > 2 * hub->beat_ms || m->fetch_tries ||
		       hub->now_ms > m->heard_at_ms + 2 * hub->beat_ms);
}

void ph_echo_wanted(struct ph_hub *hub)
{
	hub->n_wanted = 0;
	for (size_t i = 0; i < hub->n_by_name; i++) {
		struct ph_known *known = &hub->by_name[i];
		known->wanted = is_wanted(hub, known->member);
		if (known->wanted)
			hub->wanted[hub->n_wanted++] = known->member;
	}
}

static int compare_names(const void *a, const void *b)
{
	const struct ph_known *x = a, *y = b;
	return strcmp(x->name.s, y->name.s);
}

static void make_room(struct ph_hub *hub, size_t n)
{
	if (hub->by_name_cap >= n)
		return;
	hub->by_name_cap = 2 * n;
	hub->by_name = ph_must(realloc(hub->by_name, hub->by_name_cap * sizeof *hub->by_name));
	hub->wanted = ph_must(realloc(hub->wanted, hub->by_name_cap * sizeof(struct ph_member *)));
}

static struct ph_known known_of(struct ph_member *m)
{
	return (struct ph_known){
		.name = m->info.name, .incarnation = m->info.incarnation, .member = m};
}

/* Its place among them, or that where it is to be. */
static size_t place_of(const struct ph_hub *hub, const struct ph_name *name, bool *ret_there)
{
	size_t at = 0, end = hub->n_by_name;
	while (at < end) {
		size_t middle = at + (end - at) / 2;
		if (strcmp(hub->by_name[middle].name.s, name->s) < 0)
			at = middle + 1;
		else
			end = middle;
	}
	*ret_there = at < hub->n_by_name && ph_name_equal(&hub->by_name[at].name, name);
	return at;
}

/*
 * Lines are told in the order of names, and what they are compared with is kept in it, so that a
 * list of them is read beside it, without a search for each: while a cluster gathers both have
 * hundreds of lines, there are hundreds of lists a second, and a new member at each of them.
 */
void ph_echo_renewed(struct ph_hub *hub, struct ph_member *member)
{
	bool there;
	size_t at = place_of(hub, &member->info.name, &there);
	if (!there) {
		make_room(hub, hub->n_by_name + 1);
		memmove(&hub->by_name[at + 1], &hub->by_name[at],
			(hub->n_by_name++ - at) * sizeof *hub->by_name);
	}
	hub->by_name[at] = known_of(member);
	hub->renewed = true;
}

void ph_echo_removed(struct ph_hub *hub, const struct ph_member *member)
{
	bool there;
	size_t at = place_of(hub, &member->info.name, &there);
	if (there)
		memmove(&hub->by_name[at], &hub->by_name[at + 1],
			(--hub->n_by_name - at) * sizeof *hub->by_name);
	hub->n_wanted = 0;
	hub->renewed = true;
}

static void look_again(struct ph_hub *hub)
{
	if (hub->renewed)
		ph_echo_wanted(hub);
	hub->renewed = false;
}

/* What is known of that name, from place `*at` on where the list is sorted; NULL: nothing. */
static const struct ph_known *next_named(
	const struct ph_hub *hub, const struct ph_name *name, size_t *at)
{
	int order = 1;
	while (*at < hub->n_by_name && (order = strcmp(hub->by_name[*at].name.s, name->s)) < 0)
		++*at;
	if (*at < hub->n_by_name && order == 0)
		return &hub->by_name[(*at)++];
	struct ph_known key = {.name = *name};
	return hub->n_by_name ? bsearch(&key, hub->by_name, hub->n_by_name, sizeof *hub->by_name,
					compare_names)
			      : NULL;
}

/* ---- writing ---- */

/* What others have of its part matters here, and whoever speaks in brief does not say it. */
static bool asks(const struct ph_hub *hub, const struct ph_member *m)
{
	return m->watched || (is_wanted(hub, m) && ph_member_live(m) && !ph_registry_near(hub, m));
}

static uint32_t flags_of(const struct ph_hub *hub, const struct ph_member *m)
{
	const struct {
		bool on;
		uint32_t flag;
	} all[] = {{m->state == PH_MEMBER_SUSPECT, PH_ECHO_SUSPECT},
		{ph_seat_withheld(hub, m), PH_ECHO_WITHHELD}, {hub->stranger, PH_ECHO_ADRIFT},
		{m->adrift && m->seated_view == hub->view.number, PH_ECHO_SEATED},
		{m->state == PH_MEMBER_SUSPECT || m->state == PH_MEMBER_ALIVE, PH_ECHO_JOINED},
		{m->info.draining, PH_ECHO_DRAINING}, {m->drained, PH_ECHO_DRAINED},
		{asks(hub, m), PH_ECHO_ASK}, {m->sure < m->have, PH_ECHO_UNSURE},
		{ph_roll_named(hub, m, hub->list->digest), PH_ECHO_LIST},
		{hub->base && ph_roll_named(hub, m, hub->base->digest), PH_ECHO_BASE}};
	uint32_t flags = 0;
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
		flags |= all[i].on ? all[i].flag : 0;
	return flags;
}

/* Is all that a line would say of it what its place says? */
static bool is_plain(const struct ph_hub *hub, const struct ph_member *m, uint32_t flags)
{
	bool asked = m->asked_ms && hub->now_ms <= m->asked_ms + ASKED_BEATS * hub->beat_ms;
	return m->state == PH_MEMBER_ALIVE && m->echoed && m->have == m->heard_version &&
	       (flags & ~(uint32_t)PH_ECHO_LIST) == (PH_ECHO_JOINED | PH_ECHO_BASE) && !asked &&
	       m->sure_seq && m->heard_seq - m->sure_seq < SURE_NUMBERS;
}

/* Which of the ages it is, counted from 1; 0: there are too many. */
static unsigned age_number(struct ph_age *ages, size_t *n, uint64_t ms)
{
	size_t i = 0;
	while (i < *n && ages[i].ms != ms)
		i++;
	if (i == PH_PLACE_AGES)
		return 0;
	ages[i].ms = ms;
	*n = i < *n ? *n : i + 1;
	return (unsigned)i + 1;
}

static char *new_places(struct ph_hub *hub)
{
	size_t n = hub->base->n * PH_PLACE_CHARS;
	char *places = ph_out_alloc(hub, n + 1);
	const struct ph_place nothing = {0};
	for (size_t i = 0; i < n; i += PH_PLACE_CHARS)
		ph_place_put(places + i, &nothing);
	return places;
}

/* In its place, if there is one and it says all. */
static bool put_place(struct ph_hub *hub, struct ph_bmsg *msg, char *places, struct ph_age *ages,
	const struct ph_member *m)
{
	size_t at = ph_roll_place(hub->base, m->roll_id);
	unsigned age =
		at == PH_NO_PLACE ? 0 : age_number(ages, &msg->n_ages, ph_member_echo_told(hub, m));
	if (!age)
		return false;
	struct ph_place place = {.number = (uint8_t)m->heard_seq, .age = (uint8_t)age};
	ph_place_put(places + PH_PLACE_CHARS * at, &place);
	return true;
}

static struct ph_echo line_of(const struct ph_hub *hub, const struct ph_member *m, uint32_t flags)
{
	return (struct ph_echo){.name = m->info.name,
		.incarnation = m->info.incarnation,
		.sequence = m->heard_seq,
		.age_ms = ph_member_echo_told(hub, m),
		.have = m->have,
		.flags = flags};
}

static void told(struct ph_hub *hub, struct ph_member *m)
{
	if (m->heard_seq > m->told_seq) {
		m->told_seq = m->heard_seq;
		m->told_at_ms = hub->now_ms;
	}
	ph_seat_echoed(hub, m);
	if (m->mark_seq)
		return;
	m->mark_seq = hub->sequence;
	m->mark_heard = m->heard_seq;
}

void ph_echo_put(struct ph_hub *hub, struct ph_bmsg *msg)
{
	struct ph_echo *list = ph_out_alloc(hub, (HASH_COUNT(hub->members) + 1) * sizeof *list);
	struct ph_age *ages = ph_out_alloc(hub, PH_PLACE_AGES * sizeof *ages);
	size_t n = 0;
	bool brief = ph_roll_choose(hub);
	char *places = brief ? new_places(hub) : NULL;
	look_again(hub);
	for (size_t i = 0; i < hub->n_by_name; i++) {
		struct ph_member *m = hub->by_name[i].member;
		if (!ph_member_live(m) && m->state != PH_MEMBER_DEAD)
			continue; /* one held for dead hears its echo all the same, and may object
				   */
		uint32_t flags = flags_of(hub, m);
		if (!brief || !is_plain(hub, m, flags) || !put_place(hub, msg, places, ages, m))
			list[n++] = line_of(hub, m, flags);
		told(hub, m);
	}
	msg->echoes = list;
	msg->n_echoes = n;
	msg->ages = ages;
	msg->places = places;
	msg->list = hub->list->digest;
	msg->base = hub->base ? hub->base->digest : 0;
}

/* ---- reading ---- */

bool ph_echo_fits(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	const struct ph_roll *roll = msg->places ? ph_roll_find(hub, msg->base) : NULL;
	size_t n = roll ? strlen(msg->places) / PH_PLACE_CHARS : 0;
	if (!roll || n == roll->n)
		return true;
	if (!hub->misfit_told_ms || hub->now_ms >= hub->misfit_told_ms + MISFIT_AGAIN_MS) {
		hub->misfit_told_ms = hub->now_ms;
		ph_log(hub, PH_LOG_ERROR,
			"a heartbeat of node %s was dropped: its list has %zu members, expected as "
			"many places, found %zu",
			msg->from.s, roll->n, n);
	}
	return false;
}

static void ask_around(struct ph_hub *hub, const struct ph_member *who)
{
	hub->strangers = true;
	ph_join_ask_names(hub, &who->info.name);
	uint64_t at = hub->hello_at_ms + STRANGER_MS;
	if (hub->hello.pos && hub->hello.at_ms > at)
		ph_timer_set(hub, &hub->hello, at > hub->now_ms ? at : hub->now_ms);
}

/* It hears somebody of whom this node knows nothing, or nothing so new: its WELCOME tells more. */
static void hear_of(struct ph_hub *hub, const struct ph_member *member,
	const struct ph_known *other, const struct ph_echo *echo)
{
	bool heard_now = echo->sequence && echo->age_ms < hub->set.failure_timeout_ms;
	if (heard_now && (!other || other->incarnation < echo->incarnation))
		ask_around(hub, member);
}

static void keep_report(struct ph_member *member, const struct ph_echo *echo, bool brief)
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
		.flags = echo->flags,
		.brief = brief};
}

/*
 * It has read that heartbeat of ours, and so what number of its own we had heard; unless it lacks
 * our echo, for whatever reason, or has met us only now, perhaps again.
 */
static void confirm(struct ph_member *member, const struct ph_echo *echo)
{
	if (echo->flags & PH_ECHO_SUSPECT || !(echo->flags & PH_ECHO_JOINED)) {
		member->sure_seq = member->mark_seq = 0;
	} else if (member->mark_seq && echo->sequence >= member->mark_seq) {
		member->sure_seq = member->mark_heard;
		member->mark_seq = 0;
	}
}

/* What a member has heard from this node. */
static void take_own_echo(struct ph_hub *hub, struct ph_member *member, const struct ph_bmsg *msg,
	const struct ph_echo *echo)
{
	if (echo->incarnation != hub->set.incarnation)
		return;
	ph_seat_heard(hub, member, echo->flags, msg->view);
	if (!(echo->flags & PH_ECHO_UNSURE))
		member->hears_me_have = echo->have;
	member->echo_seq = echo->sequence <= hub->sequence ? echo->sequence : 0;
	if (member->echo_seq)
		confirm(member, echo);
	if (member->echo_seq == 0 || echo->sequence + PH_SENT_RING <= hub->sequence)
		return;
	uint64_t sent = hub->sent_ms[echo->sequence % PH_SENT_RING];
	if (sent > member->echo_at_ms || !member->echoed)
		member->echo_at_ms = sent;
	if (sent > member->echo_true_ms || !member->echoed)
		member->echo_true_ms = sent;
	if (!member->echoed) /* it hears this node, and is joining still */
		ph_tombstones_tell(hub, &member->info.name);
	member->echoed = true;
	if (!(echo->flags & (PH_ECHO_WITHHELD | PH_ECHO_ADRIFT)) && msg->view == hub->view.number &&
		sent > member->lease_at_ms)
		member->lease_at_ms = sent;
	if (ph_member_echo_age(hub, member) <= ph_member_silent_ms(hub))
		ph_member_step(hub, member, PH_MEMBER_IN_ECHO);
}

static bool get_place(
	const struct ph_bmsg *msg, const struct ph_roll *roll, uint64_t id, struct ph_place *ret)
{
	size_t at = ph_roll_place(roll, id);
	return at != PH_NO_PLACE && ph_place_get(msg->places + PH_PLACE_CHARS * at, ret) &&
	       ret->age && ret->age <= msg->n_ages;
}

/* The number of ours that was cut; 0: it is not known which. */
static uint64_t number_of(
	const struct ph_hub *hub, const struct ph_member *member, const struct ph_place *place)
{
	uint64_t least = member->echo_seq;
	uint64_t number = least + (uint8_t)(place->number - (uint8_t)least);
	bool sure = least && hub->sequence - least < PH_PLACE_NUMBERS && number <= hub->sequence;
	return sure ? number : 0;
}

static void take_own_place(struct ph_hub *hub, struct ph_member *member, const struct ph_bmsg *msg,
	const struct ph_place *place)
{
	uint64_t number = number_of(hub, member, place);
	struct ph_echo echo = {.incarnation = hub->set.incarnation,
		.sequence = number,
		.age_ms = msg->ages[place->age - 1].ms,
		.have = hub->sent_version[number % PH_SENT_RING],
		.flags = PH_ECHO_JOINED | PH_ECHO_BASE};
	if (!number)
		return;
	if (number + PH_SENT_RING <= hub->sequence) /* what it announced is not known any more */
		echo.have = member->hears_me_have;
	take_own_echo(hub, member, msg, &echo);
}

static void keep_place(
	struct ph_member *member, const struct ph_member *m, uint64_t incarnation, uint64_t age_ms)
{
	struct ph_echo echo = {.name = m->info.name,
		.incarnation = incarnation,
		.age_ms = age_ms,
		.flags = PH_ECHO_JOINED | PH_ECHO_BASE};
	keep_report(member, &echo, true);
}

static void take_places(struct ph_hub *hub, struct ph_member *member, const struct ph_bmsg *msg)
{
	const struct ph_roll *roll = ph_roll_find(hub, msg->base);
	struct ph_place place;
	if (!roll) { /* it does not know yet that it may not speak so to this node */
		ask_around(hub, member);
		return;
	}
	if (get_place(msg, roll, ph_roll_self(hub), &place))
		take_own_place(hub, member, msg, &place);
	for (size_t i = 0; i < hub->n_wanted; i++) {
		const struct ph_member *m = hub->wanted[i];
		if (get_place(msg, roll, m->roll_id, &place))
			keep_place(member, m, m->info.incarnation, msg->ages[place.age - 1].ms);
		else if (m->before_id && get_place(msg, roll, m->before_id, &place))
			keep_place(member, m, m->before_incarnation, msg->ages[place.age - 1].ms);
	}
}

static void take_lines(struct ph_hub *hub, struct ph_member *member, const struct ph_bmsg *msg)
{
	size_t at = 0;
	for (size_t i = 0; i < msg->n_echoes; i++) {
		const struct ph_echo *echo = &msg->echoes[i];
		const struct ph_known *other = next_named(hub, &echo->name, &at);
		if (!other && ph_is_self(hub, &echo->name)) {
			take_own_echo(hub, member, msg, echo);
			continue;
		}
		hear_of(hub, member, other, echo);
		if (!other)
			ph_forget_heard(hub, &member->info.name, echo);
		if (other && echo->flags & (PH_ECHO_ASK | PH_ECHO_SUSPECT))
			other->member->asked_ms = hub->now_ms;
		/* Where another one has its name, who hears that one is always of interest. */
		if (!other || other->wanted || echo->incarnation > other->incarnation)
			keep_report(member, echo, false);
	}
}

void ph_echo_take(struct ph_hub *hub, struct ph_member *member, const struct ph_bmsg *msg)
{
	look_again(hub);
	member->n_reports = 0;
	if (msg->places)
		take_places(hub, member, msg);
	take_lines(hub, member, msg);
}
