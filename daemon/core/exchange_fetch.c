/*
 * exchange_fetch.c - how the registry travels: who fetches what it missed, and who answers.
 *
 * Each heartbeat carries the number and a digest of its sender's part: whoever has missed something
 * fetches it from its author or, where that one cannot be heard, from a member that has it. Now and
 * then two members compare what they have of all parts (DIGEST), also of those that are gone, whose
 * last words not all may have heard. Of a third one only its own words are believed, under its own
 * version and incarnation.
 *
 * What the author gave away belongs to another one's part by now, and is missing in what a helper
 * tells of the author's. So `have` is how far that part has come, by whatever way, and `sure` how
 * far by the author's own words, or by a helper's copy that is the author's and is the same here.
 * Only that confirms a change to the author, who waits for it before it stops an old worker.
 */
#include "core/exchange.h"

#include <stdlib.h>

#define FETCH_AGAIN_MS 300 /* an unanswered fetch is repeated after this */
#define FETCH_TRIES 3	   /* fetches without an answer, then others are asked */
#define FETCHES_MAX 16	   /* parts that are being fetched at once */
#define HELPER_MS 500	   /* between two looks for who has a part; doubled where ... */
#define HELPER_DOUBLINGS 3 /* ... it brought nothing, so often at most */
#define PAGE_MAX 512	   /* entries of one answer: the next is asked for after it */
#define HEARD_BEATS 5	   /* silent for longer: others are asked for its part */
#define TELL_AGAIN_MS 2000 /* what is here of its part, to one that cannot be heard */

/* ---- asking ---- */

bool ph_registry_near(const struct ph_hub *hub, const struct ph_member *m)
{
	return m->state != PH_MEMBER_SUSPECT && m->fetch_tries < FETCH_TRIES &&
	       hub->now_ms <= m->heard_at_ms + HEARD_BEATS * hub->beat_ms;
}

/* Up to which version it has come, for a helper or for its author; a sweep begins anew. */
static uint64_t cursor(const struct ph_member *m, bool helped)
{
	return m->sweeping ? m->sweep_at : helped ? m->have : m->sure;
}

static bool may_fetch(const struct ph_hub *hub, const struct ph_member *member)
{
	size_t out = 0;
	if (member->fetch_at_ms && hub->now_ms < member->fetch_at_ms + FETCH_AGAIN_MS)
		return false;
	for (struct ph_member *m = hub->members; m; m = m->hh.next)
		out += m->fetch_at_ms && hub->now_ms < m->fetch_at_ms + FETCH_AGAIN_MS;
	return out < FETCHES_MAX;
}

static void fetch(struct ph_hub *hub, struct ph_member *m, const struct ph_name *from, bool whole)
{
	if (!may_fetch(hub, m))
		return;
	bool helped = !ph_name_equal(from, &m->info.name);
	struct ph_bmsg *msg = ph_send(hub, from, PH_B_FETCH);
	m->sweeping = m->sweeping && !whole;
	m->fetch_at_ms = hub->now_ms;
	m->fetch_since = whole ? 0 : cursor(m, helped);
	m->fetch_tries++;
	msg->since = m->fetch_since;
	msg->migrations_version = m->have_migrations;
	if (!helped)
		return;
	msg->node = m->info.name;
	msg->known_incarnation = m->info.incarnation;
}

const struct ph_report *ph_exchange_report(const struct ph_member *by, const struct ph_member *m)
{
	for (size_t i = 0; i < by->n_reports; i++)
		if (by->reports[i].incarnation == m->info.incarnation &&
			ph_name_equal(&by->reports[i].name, &m->info.name))
			return &by->reports[i];
	return NULL;
}

/*
 * A member that is heard and has more of that part than this node, or could confirm it; `perhaps`:
 * has more, or has not said yet how much it has, as it speaks in brief until it hears that this is
 * asked.
 */
static const struct ph_member *who_has_more(
	const struct ph_hub *hub, const struct ph_member *m, bool perhaps)
{
	for (const struct ph_member *by = hub->members; by; by = by->hh.next) {
		const struct ph_report *report =
			by != m && by->state == PH_MEMBER_ALIVE && ph_registry_near(hub, by)
				? ph_exchange_report(by, m)
				: NULL;
		if (!report)
			continue;
		bool more = report->have > m->have || (m->sweeping && report->have > m->sweep_at) ||
			    (!perhaps && m->sure < m->have && report->have == m->have);
		if (report->brief ? perhaps : more)
			return by;
	}
	return NULL;
}

bool ph_registry_in_step(const struct ph_hub *hub, const struct ph_member *member)
{
	return member->have >= member->registry_version &&
	       member->have_migrations >= member->migrations_version &&
	       (ph_registry_near(hub, member) || !who_has_more(hub, member, true));
}

/*
 * Echoes say to an author what is here of its part, and none gets through to it: that it does
 * know, as it may stop no old worker before, a third one that hears both passes on.
 */
static void confirm_by_relay(struct ph_hub *hub, struct ph_member *author)
{
	bool told = author->told_sure_ms && author->told_sure == author->sure &&
		    hub->now_ms < author->told_sure_ms + TELL_AGAIN_MS;
	if (told || !author->sure || !ph_member_relay(hub, &author->info.name))
		return;
	struct ph_bmsg *msg = ph_send(hub, &author->info.name, PH_B_HAVE);
	struct ph_part *part = ph_out_alloc(hub, sizeof *part);
	part->name = author->info.name;
	part->incarnation = author->info.incarnation;
	part->have = author->sure;
	msg->parts = part;
	msg->n_parts = 1;
	author->told_sure = author->sure;
	author->told_sure_ms = hub->now_ms;
}

static void on_have(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	struct ph_member *from = ph_member_find(hub, &msg->from);
	const struct ph_part *part = msg->n_parts == 1 ? &msg->parts[0] : NULL;
	if (!from || !part || !ph_is_self(hub, &part->name) ||
		part->incarnation != hub->set.incarnation || part->have > hub->version ||
		part->have <= from->hears_me_have)
		return;
	from->hears_me_have = part->have;
	ph_source_confirmations(hub);
}

void ph_registry_step(struct ph_hub *hub, struct ph_member *member)
{
	confirm_by_relay(hub, member);
	bool behind = member->have < member->registry_version || member->sure < member->have ||
		      member->have_migrations < member->migrations_version;
	bool differs = member->heard_seq && member->have == member->registry_version &&
		       member->digest != member->registry_digest;
	bool direct = ph_registry_near(hub, member);
	const struct ph_member *helper = NULL;
	uint64_t pause_ms = UINT64_C(1) * HELPER_MS
			    << min_ms(member->helper_tries, HELPER_DOUBLINGS);
	if (!direct && hub->now_ms >= member->helper_at_ms + pause_ms) {
		member->helper_at_ms = hub->now_ms;
		helper = who_has_more(hub, member, false);
		member->helper_tries += helper != NULL;
	}
	if (!behind && !differs && !member->sweeping && !helper) {
		member->helper_tries = 0;
		member->behind_at_ms = 0;
		member->fetch_tries = 0;
		return;
	}
	if (!member->behind_at_ms)
		member->behind_at_ms = hub->now_ms;
	/* By gossip a change may come later than the heartbeat that counts it. */
	if (hub->set.fanout && direct && !differs &&
		hub->now_ms < member->behind_at_ms + hub->set.heartbeat_ms)
		return;
	if (!helper && member->state == PH_MEMBER_SUSPECT)
		return; /* it would not answer; whoever compares parts with this node may have it */
	fetch(hub, member, helper ? &helper->info.name : &member->info.name,
		differs && !member->sweeping && !helper);
}

/* ---- answering ---- */

/* Is what this node has of its part what its author has? */
static bool confirmed(const struct ph_hub *hub, const struct ph_member *m)
{
	return ph_registry_near(hub, m) && m->heard_seq && !m->sweeping && m->sure == m->have &&
	       m->have == m->registry_version && m->digest == m->registry_digest;
}

/* That of a part without entries is 0, which is said where it is not known. */
static uint64_t told_digest(uint64_t digest)
{
	return digest ? digest : 1;
}

/* The PAGE_MAX lowest ranks above `since`: a heap, its highest on top. */
static void heap_down(struct ph_exchange_ranked *heap, size_t n)
{
	size_t at = 0;
	for (;;) {
		size_t child = 2 * at + 1;
		if (child >= n)
			return;
		if (child + 1 < n && heap[child + 1].rank > heap[child].rank)
			child++;
		if (heap[child].rank <= heap[at].rank)
			return;
		struct ph_exchange_ranked swap = heap[at];
		heap[at] = heap[child];
		heap[child] = swap;
		at = child;
	}
}

static void heap_up(struct ph_exchange_ranked *heap, size_t at)
{
	for (; at && heap[(at - 1) / 2].rank < heap[at].rank; at = (at - 1) / 2) {
		struct ph_exchange_ranked swap = heap[at];
		heap[at] = heap[(at - 1) / 2];
		heap[(at - 1) / 2] = swap;
	}
}

static size_t take_page(
	const struct ph_hub *hub, struct ph_exchange_part *part, struct ph_exchange_ranked *page)
{
	size_t n = 0;
	for (struct ph_slot *slot = ph_slot_first(hub); slot; slot = ph_slot_next(hub, slot)) {
		struct ph_exchange_ranked one = {
			ph_exchange_rank_of(hub, part->author, slot), slot};
		if (one.rank <= part->since)
			continue;
		if (n < PAGE_MAX) {
			page[n] = one;
			heap_up(page, n++);
			continue;
		}
		part->more = true;
		if (one.rank >= page[0].rank)
			continue;
		page[0] = one;
		heap_down(page, n);
	}
	qsort(page, n, sizeof *page, ph_exchange_by_rank);
	return n;
}

static void answer_fetch(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	struct ph_exchange_ranked page[PAGE_MAX];
	const struct ph_member *author = NULL;
	if (msg->node.s[0] && !ph_is_self(hub, &msg->node)) {
		author = ph_member_find(hub, &msg->node);
		if (!author || author->info.incarnation != msg->known_incarnation ||
			!(author->have || (ph_member_live(author) && confirmed(hub, author))))
			return;
	}
	uint64_t total = author ? author->have : hub->version;
	struct ph_exchange_part part = {.to = &msg->from,
		.author = author,
		.since = msg->since > total ? 0 : msg->since,
		.total = total,
		.migrations_since = msg->migrations_version};
	/* Who has more than this node asks the author; what it gets here must not end its sweep. */
	if (author && msg->since > total)
		return;
	part.whole = part.since == 0;
	part.digest = !author ? hub->digest
		      : ph_member_live(author) && confirmed(hub, author)
			      ? told_digest(author->digest)
			      : 0;
	size_t n = take_page(hub, &part, page);
	ph_exchange_send(hub, &part, page, n);
}

/* ---- hearing ---- */

/* The author of what was said; NULL: it is not to be believed. */
static struct ph_member *author_of(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	struct ph_member *from = ph_member_find(hub, &msg->from);
	if (!from || !ph_member_live(from))
		return NULL; /* late words of one that left or died would bring back what was
				settled */
	if (!msg->node.s[0] || ph_name_equal(&msg->node, &msg->from))
		return from;
	/* The last words of one that is gone are what is known of it: for whoever asks for them. */
	struct ph_member *author = ph_member_find(hub, &msg->node);
	return author && author->info.incarnation == msg->known_incarnation &&
			       (ph_member_live(author) || msg->fetched)
		       ? author
		       : NULL;
}

/*
 * All of a helper's answer is here. Where its copy is the author's, and differs from this one, all
 * of it is asked for, so that what the author gave away is missed in it; but not again at once.
 */
static void helper_ended(
	struct ph_hub *hub, struct ph_member *author, const struct ph_bmsg *msg, bool swept)
{
	author->fetch_tries = 0;
	if (!msg->registry_digest || author->have != msg->registry_version)
		return;
	if (told_digest(author->digest) == msg->registry_digest)
		author->sure = author->have;
	else if (!swept)
		fetch(hub, author, &msg->from, true);
}

/* A page of an answer has ended: what follows is asked for at once, if this one brought anything.
 */
static void page_ended(struct ph_hub *hub, struct ph_member *author, const struct ph_bmsg *msg)
{
	bool by_helper = msg->node.s[0], swept = false;
	bool moved = cursor(author, by_helper) > author->fetch_since;
	author->fetch_at_ms = 0;
	if (moved)
		author->fetch_tries = 0;
	if (author->sweeping && msg->registry_version >= author->have &&
		author->sweep_at >= msg->registry_version) {
		swept = true;
		if (!by_helper || msg->registry_digest)
			ph_registry_sweep(hub, author);
		author->sweeping = false;
		author->fetch_tries = 0;
	}
	if (moved && cursor(author, by_helper) < msg->registry_version)
		fetch(hub, author, &msg->from, false);
	else if (by_helper && !author->sweeping)
		helper_ended(hub, author, msg, swept);
}

/*
 * A change that was told long ago and comes only now, when all of the author's own words up to it
 * are here, brings nothing back that is gone here: it was released or given away since, and where
 * this node was restarted meanwhile no entry says so any more.
 */
static bool is_gone(struct ph_hub *hub, const struct ph_member *author, const struct ph_bmsg *msg,
	const struct ph_entry *e)
{
	bool late = !msg->fetched && !author->sweeping && msg->since < msg->until &&
		    msg->until <= author->sure;
	const struct ph_slot *slot =
		late ? ph_slot_find(hub, &e->key, e->local ? &e->node : NULL) : NULL;
	return late && !(slot && slot->entered);
}

/*
 * What came before the changes below it is here all the same, once those are: who fetches them of
 * another one may be the only one who has it, as its author has left or died, and must know so.
 */
static void join_ahead(struct ph_member *author, const struct ph_bmsg *msg)
{
	if (!msg->fetched && msg->since > author->have && msg->since < msg->until) {
		if (msg->since != author->ahead_until)
			author->ahead_since = msg->since;
		author->ahead_until = msg->until;
	}
	if (author->ahead_since <= author->have && author->ahead_until > author->have)
		author->have = author->ahead_until;
}

static bool take_part(struct ph_hub *hub, struct ph_member *author, const struct ph_bmsg *msg)
{
	bool news = false;
	/* One that comes late, with less than is here, says nothing of what is not in it. */
	if (msg->fetched && msg->whole && msg->registry_version >= author->have) {
		author->sweeping = true;
		author->sweep = ++hub->sweeps;
		author->sweep_at = 0;
	}
	for (size_t i = 0; i < msg->n_entries; i++)
		news |= !is_gone(hub, author, msg, &msg->entries[i]) &&
			ph_registry_apply(hub, &author->info.name, &msg->from, &msg->entries[i]);
	if (msg->since <= author->have && msg->until > author->have) {
		author->have = msg->until;
		author->helper_tries = 0;
		news = true;
	}
	join_ahead(author, msg);
	bool by_helper = msg->fetched && msg->node.s[0];
	if (!by_helper && msg->since <= author->sure && msg->until > author->sure)
		author->sure = msg->until;
	if (author->sweeping && msg->since <= author->sweep_at && msg->until > author->sweep_at)
		author->sweep_at = msg->until;
	return news;
}

static void on_registry(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	struct ph_member *author = author_of(hub, msg);
	if (!author)
		return;
	bool news = take_part(hub, author, msg);
	if (news && !ph_member_live(author))
		ph_plan_soon(hub, 0); /* it owned what nobody may have taken over yet */
	for (size_t i = 0; i < msg->n_migrations; i++)
		if (ph_name_equal(&msg->migrations[i].from, &author->info.name) &&
			msg->migrations[i].version > author->have_migrations &&
			/* what ran when it went has been given its end here */
			(ph_member_live(author) || msg->migrations[i].result != PH_RESULT_RUNNING))
			ph_history_put(hub, &msg->migrations[i]);
	if (msg->last && msg->sequence <= author->have_migrations &&
		msg->migrations_version > author->have_migrations) {
		author->have_migrations = msg->migrations_version;
		news = true;
	}
	if (msg->fetched && msg->last)
		page_ended(hub, author, msg);
	else if (msg->fetched)
		author->fetch_at_ms = hub->now_ms;
	else if (news)
		ph_exchange_pass_on(hub, author, msg);
}

/* ---- the full exchange ---- */

static void send_digest(struct ph_hub *hub, const struct ph_name *to, bool ask)
{
	struct ph_bmsg *msg = ph_send(hub, to, PH_B_DIGEST);
	struct ph_part *list = ph_out_alloc(hub, (HASH_COUNT(hub->members) + 1) * sizeof *list);
	msg->parts = list;
	msg->ask = ask;
	for (struct ph_member *m = hub->members; m && msg->n_parts < PH_NODES_MAX; m = m->hh.next)
		if (m->have || (ph_member_live(m) && confirmed(hub, m)))
			list[msg->n_parts++] = (struct ph_part){.name = m->info.name,
				.incarnation = m->info.incarnation,
				.have = m->have,
				.have_migrations = m->have_migrations,
				.digest = confirmed(hub, m) ? m->digest : 0};
}

/* Whoever hears the author itself asks that one. */
static void compare(struct ph_hub *hub, const struct ph_name *from, const struct ph_part *part)
{
	struct ph_member *m = ph_member_find(hub, &part->name);
	if (!m || m->info.incarnation != part->incarnation || ph_name_equal(from, &part->name) ||
		(ph_member_live(m) && ph_registry_near(hub, m)))
		return;
	bool behind = part->have > cursor(m, true) || part->have_migrations > m->have_migrations;
	bool differs = part->have == m->have && part->digest && part->digest != m->digest;
	if (behind || differs)
		fetch(hub, m, from, differs);
}

static void on_digest(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	const struct ph_member *from = ph_member_find(hub, &msg->from);
	if (!from || !ph_member_live(from))
		return;
	for (size_t i = 0; i < msg->n_parts; i++)
		compare(hub, &msg->from, &msg->parts[i]);
	if (msg->ask)
		send_digest(hub, &msg->from, false);
}

void ph_exchange_message(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	if (msg->kind == PH_B_REGISTRY)
		on_registry(hub, msg);
	else if (msg->kind == PH_B_FETCH)
		answer_fetch(hub, msg);
	else if (msg->kind == PH_B_DIGEST)
		on_digest(hub, msg);
	else if (msg->kind == PH_B_HAVE)
		on_have(hub, msg);
}

void ph_exchange_start(struct ph_hub *hub)
{
	if (hub->set.exchange_ms)
		ph_timer_set(hub, &hub->exchange,
			hub->now_ms + ph_jitter(hub, hub->set.exchange_ms, 20));
}

void ph_exchange_run(struct ph_hub *hub)
{
	struct ph_name to;
	if (ph_exchange_draw(hub, NULL, NULL, &to, 1))
		send_digest(hub, &to, true);
	ph_tombstones_drop(hub);
	ph_exchange_start(hub);
}
