/* How the registry travels: from third ones, in pages, by gossip; a link that stays cut. */
#define W_NODES 50
#include "core_puppet.h"
#include "proto/bus.h"

#define E(n) (UINT64_C(n) << PH_EPOCH_SLOT_BITS | 2)

/* ---- one link of three is cut for good ---- */

static void cut(struct world *w, unsigned from, unsigned to, int ways)
{
	w->cut[from][to] = ways != 1;
	w->cut[to][from] = ways != 2;
}

static struct world *three(bool gossip)
{
	struct world *w = w_new(3);
	struct w_def *def = w_def(w, "room", "1");
	def->spec.instances = 6;
	w->fanout = gossip;
	w->exchange_ms = 5000;
	w_declare_all(w, def);
	return w;
}

static void all_agree(struct world *w)
{
	for (uint32_t i = 0; i < 6; i++) {
		struct w_proc *p = w_only(w, "room", i);
		w_agree(w, "room", i, p->node);
		for (unsigned n = 0; n < w->n_nodes; n++)
			if (w->nodes[n].hub)
				ck_assert_uint_eq(w_slot(w, n, "room", i)->entry.pid, p->pid);
	}
}

/* Both ways and one way each, with broadcast and gossip: what changes comes by way of the third. */
START_TEST(a_cut_link_hides_nothing)
{
	struct world *w = three(_i / 3);
	w_start_all(w);
	w_run(w, 4000);
	cut(w, 0, 2, _i % 3);
	w_run(w, 8000);
	for (uint32_t i = 0; i < 6; i++)
		w_kill(w, w_only(w, "room", i));
	w_run(w, 3000);
	all_agree(w);
	for (unsigned n = 0; n < 3; n++)
		ck_assert_uint_eq(w->nodes[n].emitted[PH_EMIT_NODE_DEAD], 0);
	w_free(w);
}
END_TEST

/* It is cut before they meet, and stays so over a restart of one, and the death of the third. */
START_TEST(two_that_never_meet)
{
	struct world *w = three(false);
	cut(w, 0, 2, 0);
	w_start_all(w);
	w_run(w, 10000);
	all_agree(w);
	for (unsigned n = 0; n < 3; n++)
		ck_assert(w->nodes[n].ready && ph_hub_joined(w->nodes[n].hub));
	w_crash(w, 2);
	w_run(w, 500);
	w_start(w, 2);
	w_run(w, 10000);
	ck_assert(ph_hub_joined(w->nodes[2].hub));
	all_agree(w);
	w->double_allowed = true;
	w_power_off(w, 1);
	w_run(w, 10000);
	ck_assert(w->nodes[0].emitted[PH_EMIT_NODE_DEAD] && w->nodes[2].emitted[PH_EMIT_NODE_DEAD]);
	w_start(w, 1);
	w_run(w, 40000);
	struct ph_name c = w_name(2);
	ck_assert_int_eq(ph_member_find(w->nodes[0].hub, &c)->state, PH_MEMBER_SUSPECT);
	all_agree(w);
	w_free(w);
}
END_TEST

/* A drain of the one behind the cut link is ordered, followed and answered. */
START_TEST(orders_pass_a_cut_link)
{
	struct world *w = three(false);
	w_start_all(w);
	w_run(w, 4000);
	cut(w, 0, 2, _i);
	w_run(w, 8000);
	w_order(w, 0, PH_VERB_DRAIN, NULL, "c", NULL);
	w_run(w, 30000);
	ck_assert_uint_eq(w->nodes[0].answers, 1);
	ck_assert(ph_hub_draining(w->nodes[2].hub));
	all_agree(w);
	w_free(w);
}
END_TEST

/* ---- who is believed: a hears b and c, who are puppets ---- */

static struct ph_entry entry_of(unsigned node, uint32_t instance, uint64_t epoch, uint64_t version)
{
	return (struct ph_entry){.key = {.child = ph_name_of("x"), .instance = instance},
		.node = w_name(node),
		.epoch = epoch,
		.version = version,
		.state = PH_CHILD_RUNNING,
		.pid = (uint32_t)version,
		.role = PH_ROLE_ACTIVE};
}

static struct ph_bmsg *registry(struct world *w, unsigned from, unsigned author,
	const struct ph_entry *entries, size_t n, uint64_t until)
{
	struct ph_bmsg *msg = p_msg(w, from, PH_B_REGISTRY);
	if (author != from)
		msg->node = w_name(author);
	msg->known_incarnation = 1;
	msg->entries = w_copy(w, entries, n * sizeof *entries);
	msg->n_entries = n;
	msg->until = msg->registry_version = until;
	msg->last = true;
	return msg;
}

static const struct {
	unsigned node;
	uint64_t incarnation, epoch, version;
	enum ph_member_state state; /* of c */
	bool news, asked;
} believed[] = {
	{2, 1, E(5), 6, PH_MEMBER_ALIVE, true, false},
	{2, 1, E(5), 5, PH_MEMBER_ALIVE, false, false},
	{2, 2, E(5), 6, PH_MEMBER_ALIVE, false, false}, /* another incarnation of c */
	{2, 2, E(6), 6, PH_MEMBER_ALIVE, false, false},
	{2, 1, E(5), 6, PH_MEMBER_SUSPECT, true, false},
	{2, 1, E(5), 6, PH_MEMBER_DEAD, false, false}, /* late words, ... */
	{2, 1, E(5), 6, PH_MEMBER_DEAD, true, true},   /* ... that were asked for */
	{2, 1, E(4), 6, PH_MEMBER_LEFT, false, true},
	{1, 1, E(5), 9, PH_MEMBER_ALIVE, false, false}, /* c does not say that c's is b's */
};

START_TEST(only_the_authors_own_words)
{
	struct world *w = p_world(w_room_of_a, true);
	struct ph_entry first = entry_of(2, 0, E(5), 5);
	struct ph_entry second =
		entry_of(believed[_i].node, 0, believed[_i].epoch, believed[_i].version);
	second.pid = 4711;
	registry(w, 2, 2, &first, 1, 5);
	w_drain(w);
	w_member(w, 0, 2)->state = believed[_i].state;
	struct ph_bmsg *msg = registry(w, 1, 2, &second, 1, 9);
	msg->known_incarnation = believed[_i].incarnation;
	msg->fetched = believed[_i].asked;
	w_drain(w);
	ck_assert_int_eq(w_slot(w, 0, "x", 0)->entry.pid == 4711, believed[_i].news);
	w_free(w);
}
END_TEST

/* It waited behind a cut, and has less than what has come since: nothing is forgotten for it. */
START_TEST(a_whole_answer_that_comes_late)
{
	struct world *w = p_world(w_room_of_a, true);
	struct ph_entry first = entry_of(2, 0, E(5), 5);
	(void)registry(w, 2, 2, &first, 1, 5);
	w_drain(w);
	ck_assert_uint_eq(w_member(w, 0, 2)->have, 5);
	struct ph_bmsg *late = registry(w, 2, 2, NULL, 0, _i ? 5 : 3);
	late->whole = late->fetched = true;
	w_drain(w);
	const struct ph_slot *slot = ph_slot_find(w->nodes[0].hub, &first.key, NULL);
	ck_assert_int_eq(slot->entered, _i == 0);
	ck_assert(!w_member(w, 0, 2)->sweeping);
	w_free(w);
}
END_TEST

/* What a third one has of a part sweeps only where it has what the author has. */
START_TEST(a_third_ones_sweep)
{
	struct world *w = p_world(w_room_of_a, true);
	struct ph_entry e[2] = {entry_of(2, 0, E(5), 4), entry_of(2, 1, E(5), 5)};
	registry(w, 2, 2, e, 2, 5);
	w_drain(w);
	struct ph_bmsg *answer = registry(w, 1, 2, e, 1, 5);
	answer->whole = answer->fetched = true;
	answer->registry_digest = _i ? 4711 : 0;
	w_drain(w);
	ck_assert(w_slot(w, 0, "x", 0)->entered);
	ck_assert_int_eq(w_slot(w, 0, "x", 1)->entered, !_i);
	ck_assert(!w_member(w, 0, 2)->sweeping);
	w_free(w);
}
END_TEST

/*
 * The last words of c come to a before what c had said earlier, which b tells: a has all of it
 * then, and others may ask it. Not where there is a hole between the two.
 */
START_TEST(last_words_before_earlier_ones)
{
	struct world *w = p_world(w_room_of_a, true);
	struct ph_entry e[3] = {
		entry_of(2, 0, E(5), 4), entry_of(2, 1, E(5), 8), entry_of(2, 2, E(5), 9)};
	for (unsigned piece = 1; piece < 3; piece++) /* 6 to 8, and 8 to 9 */
		registry(w, 2, 2, &e[piece], 1, 7 + piece)->since = piece == 1 ? 6 : 8;
	w_drain(w);
	ck_assert(w_slot(w, 0, "x", 2)->entered);
	ck_assert_uint_eq(w_member(w, 0, 2)->have, 0);
	(void)p_msg(w, 2, PH_B_LEAVE);
	registry(w, 1, 2, e, 1, _i ? 5 : 6)->fetched = true;
	w_drain(w);
	ck_assert_uint_eq(w_member(w, 0, 2)->have, _i ? 5 : 9);
	w_free(w);
}
END_TEST

/*
 * c has given x/1 away with its version 7, as b knows, and a hears of it by way of b alone: a
 * confirms 7 to c only once it does not name c any more. What b has may not be all that c has.
 */
static const struct {
	bool proves, differs; /* b's copy is c's; a's is another one than b's */
	uint64_t sure;
	unsigned fetches;
} helped[] = {{true, false, 7, 0}, {true, true, 5, 1}, {false, false, 5, 0}};

static unsigned wholes;
static bool count_wholes(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)w;
	wholes += from == 0 && to == 1 && msg->kind == PH_B_FETCH && msg->since == 0;
	return true;
}

static struct ph_bmsg *answer_of_b(
	struct world *w, const struct ph_entry *e, size_t n, bool whole, uint64_t digest)
{
	struct ph_bmsg *msg = registry(w, 1, 2, e, n, 7);
	msg->fetched = true;
	msg->whole = whole;
	msg->since = whole ? 0 : 5;
	msg->registry_digest = digest;
	w_drain(w);
	return msg;
}

START_TEST(a_helpers_copy_confirms_nothing_by_itself)
{
	struct world *w = p_world(w_room_of_a, true);
	struct ph_entry e[2] = {entry_of(2, 0, E(5), 4), entry_of(2, 1, E(5), 5)};
	struct ph_member *c = w_member(w, 0, 2);
	registry(w, 2, 2, e, 2, 5);
	w_drain(w);
	ck_assert_uint_eq(c->sure, 5);
	c->state = PH_MEMBER_SUSPECT;
	wholes = 0;
	w->pass = count_wholes;
	uint64_t digest = helped[_i].differs ? c->digest ^ 4711 : c->digest;
	(void)answer_of_b(w, NULL, 0, false, helped[_i].proves ? digest : 0);
	ck_assert_uint_eq(c->have, 7);
	ck_assert_uint_eq(c->sure, helped[_i].sure);
	ck_assert_uint_eq(wholes, helped[_i].fetches);
	/* The whole of it lacks x/1: then nothing is left that names c, and 7 may be confirmed. */
	(void)answer_of_b(w, e, 1, true, helped[_i].proves ? 4711 : 0);
	uint64_t without = c->digest;
	ck_assert_int_eq(w_slot(w, 0, "x", 1)->entered, !helped[_i].proves);
	(void)answer_of_b(w, e, 1, true, helped[_i].proves ? without : 0);
	ck_assert_uint_eq(c->sure, helped[_i].proves ? 7 : 5);
	ck_assert_uint_eq(wholes, helped[_i].fetches);
	w_free(w);
}
END_TEST

/* It was behind, by b's words alone; heard again, c itself is asked for what it gave away. */
START_TEST(the_author_is_asked_for_what_it_gave_away)
{
	struct world *w = p_world(w_room_of_a, true);
	struct ph_entry e = entry_of(2, 0, E(5), 5), given = entry_of(1, 0, E(6), 0);
	struct ph_member *c = w_member(w, 0, 2);
	registry(w, 2, 2, &e, 1, 5);
	w_drain(w);
	c->state = PH_MEMBER_SUSPECT;
	(void)answer_of_b(w, NULL, 0, false, 0);
	ck_assert(c->sure == 5 && c->have == 7);
	struct ph_bmsg *beat = p_msg(w, 2, PH_B_HEARTBEAT);
	beat->sequence = 1000;
	beat->registry_version = 7;
	beat->self = c->info;
	c->state = PH_MEMBER_ALIVE;
	w_drain(w);
	ck_assert_uint_eq(c->fetch_since, 5);
	struct ph_bmsg *answer = registry(w, 2, 2, &given, 1, 7);
	answer->fetched = true;
	answer->since = 5;
	w_drain(w);
	ck_assert_uint_eq(c->sure, 7);
	ck_assert_str_eq(w_slot(w, 0, "x", 0)->entry.node->name.s, "b");
	w_free(w);
}
END_TEST

/* ---- pages and pieces ---- */

static unsigned fetches, pieces, pieces_now, pieces_max, lose_piece;
static size_t bytes_max;
static bool watch(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	size_t n;
	(void)w, (void)to, (void)from;
	if (msg->kind == PH_B_FETCH) {
		fetches++;
		pieces_now = 0;
	}
	if (msg->kind != PH_B_REGISTRY || !msg->fetched)
		return true;
	pieces++;
	if (++pieces_now > pieces_max)
		pieces_max = pieces_now;
	ck_assert_uint_le(msg->n_entries, PH_LIST_MAX);
	char *body = ph_bmsg_encode(msg, &n);
	ck_assert_ptr_nonnull(body);
	free(body);
	bytes_max = n > bytes_max ? n : bytes_max;
	return pieces != lose_piece;
}

static void watch_from(struct world *w, unsigned lose)
{
	fetches = pieces = pieces_now = pieces_max = 0;
	bytes_max = 0;
	lose_piece = lose;
	w->pass = watch;
}

/* A newcomer fetches 1300 entries page by page; a piece that is lost is fetched again. */
START_TEST(page_by_page)
{
	struct world *w = w_new(2);
	w_declare_all(w, w_def(w, "room", "1"));
	w_start(w, 0);
	w_run(w, 6500);
	p_begin(w);
	for (uint32_t i = 0; i < 1300; i++) {
		struct ph_key key = {.child = ph_name_of("x"), .instance = i};
		ph_slot_own(w->nodes[0].hub, ph_slot_get(w->nodes[0].hub, &key, NULL), E(1),
			PH_LINEAGE_COLD);
	}
	p_end(w);
	w_run(w, 500);
	watch_from(w, (unsigned)_i);
	w_start(w, 1);
	w_run(w, 3000);
	struct ph_name a = w_name(0);
	struct ph_member *m = ph_member_find(w->nodes[1].hub, &a);
	ck_assert_uint_eq(m->digest, w->nodes[0].hub->digest);
	ck_assert_uint_eq(m->have, w->nodes[0].hub->version);
	ck_assert(!m->sweeping && !m->fetch_at_ms);
	ck_assert_uint_ge(fetches, 2);
	ck_assert_uint_le(pieces_max, 8);
	ck_assert_uint_le(fetches, _i ? 6 : 4);
	w_free(w);
}
END_TEST

static struct ph_bmsg *ask(struct world *w, uint64_t since)
{
	struct ph_bmsg *msg = p_msg(w, 2, PH_B_FETCH);
	msg->node = w_name(1);
	msg->known_incarnation = 1;
	msg->since = since;
	return msg;
}

/* The worst that can be said of a child: names, numbers and meta of the greatest length. */
static void fill(struct world *w, uint32_t n, bool worst)
{
	char meta[PH_META_MAX + 1] = "{\"a\":\"", name[PH_NAME_SIZE];
	memset(name, 'x', sizeof name - 1);
	name[sizeof name - 1] = '\0';
	memset(meta + 6, 'y', sizeof meta - 9);
	memcpy(meta + sizeof meta - 3, "\"}", 3);
	for (uint32_t i = 0; i < n; i += PH_LIST_MAX) {
		struct ph_entry list[PH_LIST_MAX];
		size_t k = 0;
		for (; k < PH_LIST_MAX && i + k < n; k++) {
			list[k] = entry_of(1, i + (uint32_t)k, PH_EPOCH_LIMIT - 2, i + k + 1);
			list[k].revision = PH_EPOCH_LIMIT - 1;
			list[k].restarts = list[k].pid = UINT32_MAX;
			list[k].stopped_by_wish = list[k].ready = list[k].unfit = worst;
			list[k].meta = worst ? meta : NULL;
			if (worst)
				list[k].key.child = ph_name_of(name);
		}
		struct ph_bmsg *msg = registry(w, 1, 1, list, k, i + k);
		msg->since = i;
		w_drain(w);
	}
}

START_TEST(pieces_have_a_size)
{
	struct world *w = p_world(w_room_of_a, true);
	fill(w, 200, true);
	watch_from(w, 0);
	ask(w, 0);
	w_drain(w);
	ck_assert_uint_ge(pieces, 5);
	ck_assert_uint_le(bytes_max, 256 * 1024);
	ck_assert_uint_ge(bytes_max, 100 * 1024);
	w_free(w);
}
END_TEST

static uint64_t got_until;
static uint32_t got_entries;
static bool note(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	if (from != 0 || to != 2 || msg->kind != PH_B_REGISTRY || !msg->fetched)
		return true;
	ck_assert_str_eq(msg->node.s, "b");
	ck_assert_uint_eq(msg->known_incarnation, 1);
	ck_assert_uint_eq(msg->since, got_until);
	got_until = msg->until;
	got_entries += (uint32_t)msg->n_entries;
	(void)w;
	return true;
}

/* As many children as a cluster may have; W_CHILDREN says how many. */
START_TEST(another_ones_part)
{
	const char *set = getenv("W_CHILDREN");
	uint32_t n = set ? (uint32_t)atoi(set) : 3000;
	unsigned pages = 0;
	struct world *w = p_world(w_room_of_a, true);
	fill(w, n, false);
	ck_assert_uint_eq(w_member(w, 0, 1)->have, n);
	got_until = got_entries = 0;
	w->pass = note;
	while (got_until < n) {
		uint64_t before = got_until;
		ask(w, got_until);
		w_drain(w);
		ck_assert_uint_gt(got_until, before);
		ck_assert_uint_le(got_until, before + 512);
		pages++;
	}
	ck_assert_uint_eq(got_entries, n);
	if (set)
		printf("%u children in %u pages\n", n, pages);
	ask(w, 0)->known_incarnation = 2; /* of another life of b nothing is known here */
	w_drain(w);
	ck_assert_uint_eq(got_entries, n);
	w_free(w);
}
END_TEST

/* ---- gossip ---- */

static struct {
	unsigned by_author, all, fetches, reached;
	size_t bytes, bytes_by_author;
	bool got[W_NODES];
} sum;

static bool count(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	size_t n;
	(void)w;
	sum.fetches += msg->kind == PH_B_FETCH;
	if (msg->kind != PH_B_REGISTRY)
		return true;
	char *body = ph_bmsg_encode(msg, &n);
	ck_assert_ptr_nonnull(body);
	free(body);
	sum.all++;
	sum.bytes += n;
	if (from == 0) {
		sum.by_author++;
		sum.bytes_by_author += n;
	}
	sum.reached += !sum.got[to] && to != 0;
	sum.got[to] = true;
	ck_assert_uint_lt(msg->hops, PH_HOPS_MAX);
	return true;
}

static void change(struct world *w)
{
	memset(sum.got, 0, sizeof sum.got);
	sum.reached = 0;
	p_begin(w);
	ph_slot_publish(w->nodes[0].hub, w_slot(w, 0, "room", 0));
	p_end(w);
}

static void all_have(struct world *w)
{
	struct ph_name a = w_name(0);
	for (unsigned i = 1; i < w->n_nodes; i++)
		ck_assert_uint_eq(ph_member_find(w->nodes[i].hub, &a)->have,
			w->nodes[0].hub->flushed_version);
}

#define CHANGES 10

/* Few are told by whom it changed; most hear of it at once, all with the next heartbeats. */
START_TEST(told_to_all_or_to_a_few)
{
	unsigned n = _i % 2 ? 50 : 10, fanout = _i / 2 ? 3 : 0, reached = 0;
	struct world *w = w_new(n);
	w->fanout = fanout;
	w_declare_all(w, w_room_of_a(w));
	for (unsigned i = 0; i < n; i++) {
		w->nodes[i].n_peers = i ? 1 : 0;
		w_start(w, i);
	}
	w_run(w, 7000);
	ck_assert_uint_eq(w_only(w, "room", 0)->node, 0);
	all_have(w);
	memset(&sum, 0, sizeof sum);
	w->pass = count;
	for (unsigned i = 0; i < CHANGES; i++) {
		change(w);
		w_run(w, 20);
		reached += sum.reached;
		w_run(w, 680);
		all_have(w);
	}
	if (getenv("W_FIGURES"))
		printf("%u nodes, fanout %u: a change is %.1f messages (%.0f bytes) of its author, "
		       "%.1f (%.0f) of all, reaches %.1f %% at once; %.2f fetches\n",
			n, fanout, sum.by_author / (double)CHANGES,
			(double)sum.bytes_by_author / CHANGES, sum.all / (double)CHANGES,
			(double)sum.bytes / CHANGES, 100.0 * reached / (CHANGES * (n - 1)),
			sum.fetches / (double)CHANGES);
	if (!fanout) {
		ck_assert_uint_eq(sum.by_author, CHANGES * (n - 1));
		ck_assert_uint_eq(sum.fetches, 0);
	} else {
		ck_assert_uint_ge(sum.by_author, CHANGES * fanout);
		ck_assert_uint_le(sum.by_author, CHANGES * fanout + sum.fetches);
		ck_assert_uint_le(sum.all, CHANGES * fanout * n + sum.fetches);
		ck_assert_uint_ge(reached, CHANGES * (n - 1) * 8 / 10);
	}
	w_free(w);
}
END_TEST

/* Nobody passes on what it has heard before, or what has come far enough. */
START_TEST(only_news_is_passed_on)
{
	struct world *w = p_world(w_room_of_a, true);
	struct ph_entry e = entry_of(1, 0, E(5), 5);
	w->nodes[0].hub->set.fanout = 3;
	unsigned before = w->nodes[0].sent[PH_B_REGISTRY];
	registry(w, 1, 1, &e, 1, 5)->hops = _i == 1 ? 1 : 4;
	w_drain(w);
	ck_assert_uint_eq(w->nodes[0].sent[PH_B_REGISTRY], before + (_i != 1)); /* to c */
	registry(w, 2, 1, &e, 1, 5)->hops = 4;
	w_drain(w);
	ck_assert_uint_eq(w->nodes[0].sent[PH_B_REGISTRY], before + (_i != 1));
	w_free(w);
}
END_TEST

/* What it says last, as it goes, it says to all: nobody is left to repair what gossip misses. */
static bool nobody_asks(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	(void)w, (void)from, (void)to;
	return msg->kind != PH_B_FETCH && msg->kind != PH_B_DIGEST && msg->kind != PH_B_CLAIM &&
	       !(msg->kind == PH_B_REGISTRY && msg->hops);
}

START_TEST(last_words_go_to_all)
{
	struct world *w = w_new(6);
	w->fanout = 1;
	w_declare_all(w, w_room_of_a(w));
	w_start_all(w);
	w_run(w, 10000);
	unsigned owner = w_only(w, "room", 0)->node;
	w->pass = nobody_asks;
	(void)w_push(w, owner, PH_EV_SHUTDOWN);
	w_run(w, 400);
	for (unsigned i = 0; i < 6; i++)
		if (i != owner)
			ck_assert_int_eq(w_slot(w, i, "room", 0)->entry.state, PH_CHILD_RELEASED);
	w_free(w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core_exchange");
	W_TEST(suite, a_cut_link_hides_nothing, 6);
	W_TEST(suite, two_that_never_meet, 1);
	W_TEST(suite, orders_pass_a_cut_link, 3);
	W_TEST(suite, only_the_authors_own_words, (int)(sizeof believed / sizeof believed[0]));
	W_TEST(suite, a_whole_answer_that_comes_late, 2);
	W_TEST(suite, a_third_ones_sweep, 2);
	W_TEST(suite, last_words_before_earlier_ones, 2);
	W_TEST(suite, a_helpers_copy_confirms_nothing_by_itself,
		(int)(sizeof helped / sizeof helped[0]));
	W_TEST(suite, the_author_is_asked_for_what_it_gave_away, 1);
	W_TEST(suite, page_by_page, 4);
	W_TEST(suite, pieces_have_a_size, 1);
	W_TEST(suite, another_ones_part, 1);
	TCase *gossip = tcase_create("told_to_all_or_to_a_few");
	tcase_set_timeout(gossip, 60); /* fifty hubs */
	tcase_add_loop_test(gossip, told_to_all_or_to_a_few, 0, 4);
	suite_add_tcase(suite, gossip);
	W_TEST(suite, only_news_is_passed_on, 2);
	W_TEST(suite, last_words_go_to_all, 1);
	return w_main(suite);
}
