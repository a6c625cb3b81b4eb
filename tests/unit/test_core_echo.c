/* Echoes in brief: when they are told so, what they mean, and what nobody may read out of them. */
#define W_NODES 5
#include "core_puppet.h"
#include "base/places.h"
#include "core/member.h"
#include "proto/bus.h"

/* ---- when ---- */

static struct {
	unsigned brief, lines, full; /* heartbeats: in brief without a line, with some; in full */
	unsigned told;		     /* lines beside places */
} seen;

static bool look(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)w, (void)from, (void)to;
	if (msg->kind != PH_B_HEARTBEAT)
		return true;
	seen.full += !msg->places;
	seen.brief += msg->places && !msg->n_echoes;
	seen.lines += msg->places && msg->n_echoes;
	seen.told += msg->places ? (unsigned)msg->n_echoes : 0;
	return true;
}

static void look_for(struct world *w, uint64_t ms)
{
	memset(&seen, 0, sizeof seen);
	w->pass = look;
	w_run(w, ms);
	w->pass = NULL;
}

static void no_verdict(struct world *w)
{
	for (unsigned i = 0; i < w->n_nodes; i++)
		ck_assert_uint_eq(w->nodes[i].emitted[PH_EMIT_NODE_DEAD], 0);
}

START_TEST(at_rest_all_is_in_brief)
{
	struct world *w = w_new(5);
	w_declare_all(w, w_def(w, "room", "1"));
	w_start_all(w);
	w_run(w, 3000);
	look_for(w, 60000);
	ck_assert_uint_eq(seen.full + seen.lines, 0);
	ck_assert_uint_ge(seen.brief, 5 * 4 * 60 * 3);
	no_verdict(w);
	for (unsigned i = 1; i < 5; i++) {
		ck_assert_uint_eq(w_member(w, 0, i)->hears_me_have, w->nodes[0].hub->version);
		ck_assert_uint_le(w->nodes[0].hub->sequence - w_member(w, 0, i)->echo_seq, 2);
	}
	w_free(w);
}
END_TEST

/* A link is cut for good, both ways or one: two lines in each heartbeat, whatever else happens. */
START_TEST(a_cut_link_costs_two_lines)
{
	struct world *w = w_new(5);
	w_start_all(w);
	w->cut[0][1] = true;
	w->cut[1][0] = !_i;
	w_run(w, 8000);
	look_for(w, 60000);
	ck_assert_uint_eq(seen.full + seen.brief, 0);
	ck_assert_uint_le(seen.told, 2 * seen.lines);
	no_verdict(w);
	ck_assert_int_eq(w_member(w, 0, 1)->state, PH_MEMBER_SUSPECT);
	(void)w_push(w, 4, PH_EV_SHUTDOWN); /* all of them learn it, and that the others have */
	w_run(w, 8000);
	look_for(w, 30000);
	ck_assert_uint_eq(seen.full + seen.brief, 0);
	ck_assert_ptr_eq(w->nodes[0].hub->base, w->nodes[0].hub->list);
	ck_assert_uint_eq(w->nodes[0].hub->base->n, 4);
	no_verdict(w);
	w_free(w);
}
END_TEST

/* Neither a death nor a leave makes heartbeats long: the base outlasts the list. */
START_TEST(who_goes_is_a_line)
{
	struct world *w = w_new(5);
	w_start_all(w);
	w_run(w, 3000);
	memset(&seen, 0, sizeof seen);
	w->pass = look;
	if (_i)
		(void)w_push(w, 4, PH_EV_SHUTDOWN);
	else
		w_power_off(w, 4);
	w_run(w, 20000);
	ck_assert_int_eq(w_member(w, 0, 4)->state, _i ? PH_MEMBER_LEFT : PH_MEMBER_DEAD);
	ck_assert_uint_eq(seen.full, 0);
	ck_assert_uint_eq(w->nodes[0].hub->list->n, 4);
	ck_assert_uint_eq(w->nodes[0].hub->base->n, _i ? 4 : 5); /* a dead one may be back */
	w->pass = NULL;
	w_free(w);
}
END_TEST

/* Who comes makes them long until it has named their list; who comes back, until all have. */
START_TEST(who_comes_reads_soon)
{
	struct world *w = w_new(5);
	for (unsigned i = 0; i < 4; i++)
		w_start(w, i);
	w_run(w, 8000);
	if (_i) {
		w_start(w, 4);
		w_run(w, 5000);
		w_crash(w, 4);
	}
	look_for(w, 500);
	ck_assert_uint_eq(seen.full, 0);
	w_start(w, 4);
	look_for(w, 10000);
	ck_assert_uint_gt(seen.full, 0);
	ck_assert_uint_lt(seen.full, (_i ? 5 : 3) * 20);
	look_for(w, 10000);
	ck_assert_uint_eq(seen.full + seen.lines, 0);
	ck_assert_uint_eq(w->nodes[0].hub->base->n, 5);
	no_verdict(w);
	w_free(w);
}
END_TEST

/* Whoever does not hear of its own state of affairs asks, and gets a line with the version. */
START_TEST(who_asks_gets_lines)
{
	struct world *w = w_new(5);
	struct w_def *def = w_def(w, "room", "1");
	def->spec.local = true;
	w_declare_all(w, def);
	w_start_all(w);
	w_cut(w, 0, 1, true);
	w_run(w, 5000);
	w_order(w, 1, PH_VERB_STOP, "room", 0, NULL);
	w_run(w, 3000);
	ck_assert_uint_eq(w_member(w, 0, 1)->have, w->nodes[1].hub->version);
	const struct ph_report *report = ph_member_report(w_member(w, 0, 2), w_member(w, 0, 1));
	ck_assert(report && !report->brief && report->have == w->nodes[1].hub->version);
	ck_assert(ph_registry_in_step(w->nodes[0].hub, w_member(w, 0, 1)));
	w_member(w, 0, 2)->reports[0].brief = true; /* it has not heard the question yet */
	w_member(w, 0, 3)->n_reports = w_member(w, 0, 4)->n_reports = 0;
	ck_assert(!ph_registry_in_step(w->nodes[0].hub, w_member(w, 0, 1)));
	w_free(w);
}
END_TEST

/* ---- what it means: node a is real, b a puppet that speaks in brief ---- */

/* A heartbeat of b in the order of a's list, all places empty. */
static struct ph_bmsg *beat(struct world *w, char places[8])
{
	struct ph_hub *hub = w->nodes[0].hub;
	struct ph_age *ages = w_alloc(w, 2 * sizeof *ages);
	p_begin(w);
	(void)ph_roll_choose(hub);
	p_end(w);
	struct ph_bmsg *msg = p_msg(w, 1, PH_B_HEARTBEAT);
	ck_assert_uint_le(2 * hub->list->n, 6);
	memset(places, 'A', 2 * hub->list->n);
	places[2 * hub->list->n] = '\0';
	ages[0].ms = 40;
	ages[1].ms = 290;
	msg->sequence = w_member(w, 0, 1)->heard_seq + 1;
	msg->self = w_member(w, 0, 1)->info;
	msg->self.state = PH_MEMBER_ALIVE;
	msg->list = msg->base = hub->list->digest;
	msg->ages = ages;
	msg->n_ages = 2;
	msg->places = places;
	return msg;
}

static void set_place(struct world *w, char *places, uint64_t id, uint8_t number, uint8_t age)
{
	struct ph_place place = {number, age};
	size_t at = ph_roll_place(w->nodes[0].hub->list, id);
	ck_assert_uint_ne(at, PH_NO_PLACE);
	ph_place_put(places + 2 * at, &place);
}

/* a has sent `sequence` heartbeats, b is known to have heard number `least` of them. */
static const struct {
	uint64_t sequence, least;
	uint8_t place;
	uint64_t read; /* 0: nothing */
} numbers[] = {
	{40, 38, 40, 40}, {40, 38, 38, 38}, {40, 38, 41, 0}, /* not sent yet */
	{40, 38, 37, 0}, /* it only rises: 293 is not sent yet */
	{300, 200, 44, 300}, {300, 200, 43, 299}, {300, 200, 200, 200}, {300, 200, 45, 0},
	{455, 200, 455 & 255, 455},
	{455, 200, 200, 200},	  /* 255 above it would be 455, 256 above 456: one can be meant */
	{456, 200, 456 & 255, 0}, /* 200 or 456: held up for long, it is not to look fresh */
	{100000, 200, 100000 & 255, 0},
	{UINT64_C(1) << 40, (UINT64_C(1) << 40) - 5, 254, (UINT64_C(1) << 40) - 2},
	{40, 0, 40, 0}, /* no line of b about a was read before */
};

START_TEST(a_number_is_never_guessed)
{
	struct world *w = p_world(w_room, false);
	struct ph_hub *hub = w->nodes[0].hub;
	struct ph_member *b = w_member(w, 0, 1);
	char *places = w_alloc(w, 8);
	hub->sequence = numbers[_i].sequence;
	for (size_t i = 0; i < PH_SENT_RING; i++) {
		uint64_t number = hub->sequence - i;
		hub->sent_ms[number % PH_SENT_RING] = hub->now_ms - 10 * i;
		hub->sent_version[number % PH_SENT_RING] = 1000 + i;
	}
	b->echoed = true;
	b->echo_at_ms = hub->now_ms - 2000;
	b->echo_seq = numbers[_i].least;
	b->hears_me_have = 1;
	(void)beat(w, places);
	set_place(w, places, ph_roll_self(hub), numbers[_i].place, 1);
	w_drain(w);
	uint64_t read = numbers[_i].read, back = hub->sequence - read;
	bool counts = read && back < PH_SENT_RING;
	ck_assert_uint_eq(b->echo_seq, read ? read : numbers[_i].least);
	ck_assert_uint_eq(hub->now_ms - b->echo_at_ms, counts ? 10 * back : 2000);
	ck_assert_uint_eq(b->hears_me_have, counts ? 1000 + back : 1);
	w_free(w);
}
END_TEST

/* What b says of c by its place is what its line would have said; nothing said is nothing. */
START_TEST(a_place_is_a_report)
{
	struct world *w = p_world(w_room, false);
	struct ph_member *b = w_member(w, 0, 1), *c = w_member(w, 0, 2);
	char *places = w_alloc(w, 8);
	w_run(w, 1000); /* c is silent: others' word is wanted */
	c->state = PH_MEMBER_SUSPECT;
	(void)beat(w, places);
	if (_i)
		set_place(w, places, c->roll_id, 77, 2);
	w_drain(w);
	const struct ph_report *report = ph_member_report(b, c);
	ck_assert(!report == !_i);
	if (report) {
		ck_assert(report->brief && report->flags == (PH_ECHO_JOINED | PH_ECHO_BASE));
		ck_assert_uint_eq(ph_member_heard_by(w->nodes[0].hub, b, c), 290);
	}
	w_free(w);
}
END_TEST

/* What b must have read before a cuts numbers of it: a heartbeat that told of them, and b has us.
 */
static const struct {
	uint64_t echoed; /* of a's numbers; marked is 10 */
	uint32_t flags;
	uint64_t sure; /* it was 100, at the mark 150 */
} sures[] = {
	{9, PH_ECHO_JOINED, 100},
	{10, PH_ECHO_JOINED, 150},
	{11, PH_ECHO_JOINED, 150},
	{21, PH_ECHO_JOINED, 100}, /* not sent yet */
	{11, PH_ECHO_JOINED | PH_ECHO_SUSPECT, 0},
	{11, 0, 0},
};

START_TEST(what_is_sure)
{
	struct world *w = p_world(w_room, false);
	struct ph_hub *hub = w->nodes[0].hub;
	struct ph_member *b = w_member(w, 0, 1);
	char *places = w_alloc(w, 8);
	struct ph_echo *line = w_alloc(w, sizeof *line);
	hub->sequence = 20;
	b->sure_seq = 100;
	b->mark_seq = 10;
	b->mark_heard = 150;
	*line = (struct ph_echo){.name = hub->set.node,
		.incarnation = hub->set.incarnation,
		.sequence = sures[_i].echoed,
		.flags = sures[_i].flags};
	struct ph_bmsg *msg = beat(w, places);
	msg->echoes = line;
	msg->n_echoes = 1;
	w_drain(w);
	ck_assert_uint_eq(b->sure_seq, sures[_i].sure);
	w_free(w);
}
END_TEST

/* Lists that cannot be, or are not known here: refused as a whole, or read as far as there are
 * lines; and the one who does not know the list asks who there is. */
START_TEST(strange_lists)
{
	struct world *w = p_world(w_room, false);
	struct ph_hub *hub = w->nodes[0].hub;
	struct ph_member *b = w_member(w, 0, 1);
	char *places = w_alloc(w, 8);
	uint64_t before = b->heard_seq;
	struct ph_bmsg *msg = beat(w, places);
	struct ph_echo *line = w_alloc(w, sizeof *line);
	*line = (struct ph_echo){.name = hub->set.node,
		.incarnation = hub->set.incarnation,
		.sequence = hub->sequence,
		.have = 9};
	msg->echoes = line;
	msg->n_echoes = 1;
	unsigned hellos = w->nodes[0].sent[PH_B_HELLO];
	hub->strangers = false;
	if (_i == 0)
		msg->base++;
	else
		places[_i == 1 ? 4 : 2] = '\0'; /* a, b and c have joined */
	w_drain(w);
	ck_assert_uint_eq(hub->list->n, 3);
	ck_assert_uint_eq(b->heard_seq, _i == 0 ? before + 1 : before);
	ck_assert_uint_eq(b->hears_me_have, _i == 0 ? 9 : 0);
	ck_assert_uint_eq(w->nodes[0].drops, _i == 0 ? 0 : 1);
	bool asked = hub->strangers || w->nodes[0].sent[PH_B_HELLO] > hellos;
	ck_assert(asked == (_i == 0));
	w_free(w);
}
END_TEST

/* What may lack something that this node gave away is no confirmation of it. */
START_TEST(what_is_unsure_confirms_nothing)
{
	struct world *w = p_world(w_room, false);
	struct ph_hub *hub = w->nodes[0].hub;
	struct ph_member *b = w_member(w, 0, 1);
	struct ph_echo *line = w_alloc(w, sizeof *line);
	b->hears_me_have = 3;
	*line = (struct ph_echo){.name = hub->set.node,
		.incarnation = hub->set.incarnation,
		.sequence = hub->sequence,
		.have = 9,
		.flags = PH_ECHO_JOINED | (_i ? PH_ECHO_UNSURE : 0)};
	struct ph_bmsg *msg = p_msg(w, 1, PH_B_HEARTBEAT);
	msg->sequence = b->heard_seq + 1;
	msg->self = b->info;
	msg->echoes = line;
	msg->n_echoes = 1;
	w_drain(w);
	ck_assert_uint_eq(b->echo_seq, hub->sequence);
	ck_assert_uint_eq(b->hears_me_have, _i ? 3 : 9);
	w_free(w);
}
END_TEST

/* Whoever is held for dead, or knows another list, is never spoken to in brief. */
START_TEST(only_to_those_who_read_it)
{
	struct world *w = p_world(w_room, false);
	struct ph_hub *hub = w->nodes[0].hub;
	struct ph_member *b = w_member(w, 0, 1), *c = w_member(w, 0, 2);
	p_begin(w);
	ck_assert(!ph_roll_choose(hub)); /* neither has been heard */
	b->heard_seq = c->heard_seq = 1;
	b->heard_at_ms = c->heard_at_ms = hub->now_ms;
	b->list = c->base = hub->list->digest;
	ck_assert(ph_roll_choose(hub));
	c->base++;
	ck_assert(!ph_roll_choose(hub));
	c->state = PH_MEMBER_LEFT;
	b->base = hub->base->digest;
	ck_assert(ph_roll_choose(hub)); /* by the base: the list is a new one */
	ck_assert_ptr_ne(hub->base, hub->list);
	c->state = PH_MEMBER_DEAD;
	c->since_ms = hub->now_ms;
	ck_assert(!ph_roll_choose(hub));
	hub->now_ms += hub->set.failure_timeout_ms; /* it holds this node for dead by now ... */
	b->heard_at_ms = hub->now_ms;
	ck_assert(ph_roll_choose(hub));
	c->heard_at_ms = c->back_ms = hub->now_ms; /* ... and is back */
	ck_assert(!ph_roll_choose(hub));
	hub->now_ms += 60000; /* it is deaf */
	b->heard_at_ms = c->heard_at_ms = hub->now_ms;
	ck_assert(ph_roll_choose(hub));
	b->heard_at_ms = 0; /* nobody hears it: by its own last word */
	ck_assert(ph_roll_choose(hub));
	p_end(w);
	w_free(w);
}
END_TEST

/* The list that was named longest ago goes, the base never. */
START_TEST(lists_are_remembered)
{
	struct world *w = p_world(w_room, false);
	struct ph_hub *hub = w->nodes[0].hub;
	uint64_t digests[PH_ROLLS + 2];
	p_begin(w);
	hub->base = NULL;
	for (size_t i = 0; i < PH_ROLLS + 2; i++) {
		hub->sequence++;
		w_member(w, 0, 1)->roll_id = i + 1;
		(void)ph_roll_choose(hub);
		digests[i] = hub->list->digest;
		if (i == 0)
			hub->base = hub->list;
	}
	ck_assert_ptr_eq(ph_roll_find(hub, digests[0]), hub->base);
	for (size_t i = 1; i < 3; i++)
		ck_assert_ptr_null(ph_roll_find(hub, digests[i]));
	for (size_t i = 3; i < PH_ROLLS + 2; i++)
		ck_assert_ptr_nonnull(ph_roll_find(hub, digests[i]));
	ck_assert_ptr_null(ph_roll_find(hub, 0));
	ph_roll_drop(hub, w_member(w, 0, 1)->roll_id);
	ck_assert_ptr_null(ph_roll_find(hub, digests[PH_ROLLS + 1]));
	ck_assert_ptr_nonnull(ph_roll_find(hub, digests[PH_ROLLS]));
	p_end(w);
	w_free(w);
}
END_TEST

/*
 * Members come and go with each heartbeat of a, and one of b is late, in the order of a list that a
 * named then: as long as its echo counts, a can read it.
 */
START_TEST(many_changes_leave_no_heartbeat_unread)
{
	struct world *w = p_world(w_room, false);
	struct ph_hub *hub = w->nodes[0].hub;
	struct ph_member *b = w_member(w, 0, 1);
	char *places = w_alloc(w, 8);
	struct ph_bmsg *msg = beat(w, places);
	uint64_t number = hub->sequence, at_ms = hub->now_ms - 5;
	w->tail--; /* not yet */
	hub->sent_ms[number % PH_SENT_RING] = at_ms;
	set_place(w, places, ph_roll_self(hub), (uint8_t)number, 1);
	p_begin(w);
	for (unsigned i = 0; i < PH_SENT_RING - 1 + (unsigned)_i; i++) {
		hub->sequence++;
		w_member(w, 0, 2)->roll_id = 1000 + i;
		(void)ph_roll_choose(hub);
	}
	p_end(w);
	b->echo_seq = number - 1;
	b->echoed = true;
	b->echo_at_ms = 1;
	w_push(w, 0, PH_EV_MESSAGE)->message = msg;
	w_drain(w);
	ck_assert_uint_eq(b->echo_at_ms, _i ? 1 : at_ms);
	w_free(w);
}
END_TEST

/* ---- the hostile: what passes the decoder never harms the hub, and is never a fresh echo ---- */

static uint64_t dice(uint64_t *state)
{
	*state += UINT64_C(0x9e3779b97f4a7c15);
	return ph_mix64(*state);
}

static void spoil(struct ph_bmsg *msg, char *places, struct ph_age *ages, uint64_t *state)
{
	static const char digits[] = "ABCDEgHIJ09-_z!\xff";
	uint64_t how = dice(state);
	for (size_t i = 0, n = 1 + how % 6; i < n; i++)
		places[i] = digits[dice(state) % (sizeof digits - 1)];
	places[how / 8 % 4 ? 6 : how / 32 % 8] = '\0';
	msg->n_ages = how / 256 % (PH_PLACE_AGES + 1);
	for (size_t i = 0; i < msg->n_ages; i++)
		ages[i].ms = how / 4096 % 2 ? dice(state) >> 12 : i;
	msg->base = how / 8192 % 8 ? msg->base : dice(state);
	msg->list = how / 65536 % 8 ? msg->list : dice(state);
}

START_TEST(hostile_places)
{
	struct world *w = p_world(w_room, false);
	struct ph_hub *hub = w->nodes[0].hub;
	struct ph_member *b = w_member(w, 0, 1);
	uint64_t state = 17 + (uint64_t)_i, passed = 0, refused = 0;
	struct ph_age ages[PH_PLACE_AGES];
	char places[8];
	for (unsigned i = 0; i < 2000; i++) {
		struct ph_bmsg *msg = beat(w, places);
		struct ph_doc *doc = NULL;
		struct ph_err err = {""};
		size_t n = 0;
		msg->ages = ages;
		b->echo_seq = 1 + dice(&state) % (hub->sequence + 1);
		uint64_t echo_seq = b->echo_seq;
		spoil(msg, places, ages, &state);
		char *body = ph_bmsg_encode(msg, &n);
		w->head = w->tail = 0; /* what is delivered is what was decoded */
		if (!body || ph_bmsg_decode(body, n, msg, &doc, &err)) {
			refused++;
			free(body);
			continue;
		}
		msg->from = w_name(1);
		msg->incarnation = 1;
		w_push(w, 0, PH_EV_MESSAGE)->message = msg;
		w_drain(w);
		passed++;
		ck_assert_uint_le(b->echo_seq, hub->sequence + 1);
		ck_assert(b->echo_seq >= echo_seq);
		ck_assert_uint_le(b->echo_at_ms, hub->now_ms);
		ck_assert_uint_le(b->n_reports, 2);
		ph_doc_free(doc);
		free(body);
	}
	ck_assert_uint_gt(passed, 100);
	ck_assert_uint_gt(refused, 100);
	w_free(w);
}
END_TEST

/*
 * Node a has let in another node of the name b, which has left since; the others, which hear the
 * first one, have not. Their places say so, though to a it is a life that is over.
 */
START_TEST(a_namesake_is_read_in_brief)
{
	struct world *w = w_new(4);
	struct ph_hub *hub;
	w_start_all(w);
	w_run(w, 8000);
	hub = w->nodes[0].hub;
	struct ph_member_info second = w_member(w, 0, 1)->info;
	second.incarnation += 5;
	(void)snprintf(second.address, sizeof second.address, "tcp://elsewhere:1");
	w_cut(w, 0, 1, true);
	p_begin(w);
	ck_assert(!ph_member_heard_elsewhere(hub, &second.name, second.incarnation));
	ck_assert_ptr_nonnull(ph_member_learn(hub, &second, true));
	w_member(w, 0, 1)->state = PH_MEMBER_LEFT;
	p_end(w);
	look_for(w, 600);
	ck_assert_uint_gt(seen.brief + seen.lines, 0);
	ck_assert(ph_member_heard_elsewhere(hub, &second.name, second.incarnation));
	w_free(w);
}
END_TEST

/* "Never" does not become fresh by growing older. */
START_TEST(never_stays_never)
{
	struct world *w = w_new(3);
	w_start_all(w);
	w_run(w, 8000);
	struct ph_hub *hub = w->nodes[0].hub;
	struct ph_report *report = ph_must(calloc(1, sizeof *report));
	struct ph_member *b = w_member(w, 0, 1);
	free(b->reports);
	b->reports = report;
	b->n_reports = b->reports_cap = 1;
	report->name = ph_name_of("z");
	report->incarnation = 7;
	report->age_ms = _i ? PH_NEVER_MS : 0;
	b->heard_at_ms = hub->now_ms - 1;
	ck_assert(ph_member_heard_elsewhere(hub, &report->name, 8) == !_i);
	w_free(w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core_echo");
	W_TEST(suite, never_stays_never, 2);
	W_TEST(suite, at_rest_all_is_in_brief, 1);
	W_TEST(suite, a_cut_link_costs_two_lines, 2);
	W_TEST(suite, who_goes_is_a_line, 2);
	W_TEST(suite, who_comes_reads_soon, 2);
	W_TEST(suite, who_asks_gets_lines, 1);
	W_TEST(suite, a_number_is_never_guessed, sizeof numbers / sizeof numbers[0]);
	W_TEST(suite, a_place_is_a_report, 2);
	W_TEST(suite, a_namesake_is_read_in_brief, 1);
	W_TEST(suite, what_is_sure, sizeof sures / sizeof sures[0]);
	W_TEST(suite, strange_lists, 3);
	W_TEST(suite, what_is_unsure_confirms_nothing, 2);
	W_TEST(suite, only_to_those_who_read_it, 1);
	W_TEST(suite, lists_are_remembered, 1);
	W_TEST(suite, many_changes_leave_no_heartbeat_unread, 2);
	W_TEST(suite, hostile_places, 4);
	return w_main(suite);
}
