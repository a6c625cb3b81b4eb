/*
 * exchange.c - how the registry travels: who is told of a change, and who fetches what it missed.
 *
 * Each node numbers the changes of its own part, and tells them to all by a cast, or by gossip to a
 * few, who pass on what was news to them. Each heartbeat carries the number and a digest of its
 * sender's part: whoever has missed something fetches it from its author or, where that one cannot
 * be heard, from a member that has it. Now and then two members compare what they have of all parts
 * (DIGEST), also of those that are gone, whose last words not all may have heard. Of a third one
 * only its own words are believed, under its own version and incarnation.
 *
 * What the author gave away belongs to another one's part by now, and is missing in what a helper
 * tells of the author's. So `have` is how far that part has come, by whatever way, and `sure` how
 * far by the author's own words, or by a helper's copy that is the author's and is the same here.
 * Only that confirms a change to the author, who waits for it before it stops an old worker.
 */
#include "core/state.h"

#include <stdlib.h>
#include <string.h>

#define FETCH_AGAIN_MS 300	 /* an unanswered fetch is repeated after this */
#define FETCH_TRIES 3		 /* fetches without an answer, then others are asked */
#define FETCHES_MAX 16		 /* parts that are being fetched at once */
#define HELPER_MS 500		 /* between two looks for who has a part; doubled where ... */
#define HELPER_DOUBLINGS 3	 /* ... it brought nothing, so often at most */
#define PAGE_MAX 512		 /* entries of one answer: the next is asked for after it */
#define PIECE_BYTES (160 * 1024) /* of entries; with the migrations it stays below 256 KiB */
#define ENTRY_BYTES 512		 /* of an entry without its meta, at most */
#define MIGRATIONS_MAX 128	 /* of one answer, the newest ones */
#define HEARD_BEATS 5		 /* silent for longer: others are asked for its part */
#define FANOUT_MAX 64
#define GOSSIP_FANOUT 3 /* of what others gossip, where this node itself does not */

/* ---- pieces ---- */

/* Entries of one node's part, in the order of its versions. */
struct part {
	const struct ph_name *to;	/* NULL: all, or some by gossip */
	const struct ph_member *author; /* NULL: this node */
	uint64_t since, total;		/* total: as of when it is here */
	uint64_t migrations_since, digest;
	bool whole, more; /* more: than the page holds */
	size_t n_targets; /* of gossip; 0: cast */
	uint32_t hops;
	struct ph_name targets[FANOUT_MAX];
};

struct ranked {
	uint64_t rank;
	struct ph_slot *slot;
};

/* The version of that part in which the entry changed last; 0: it is no word of the author. */
static uint64_t rank_of(
	const struct ph_hub *hub, const struct ph_member *author, const struct ph_slot *slot)
{
	if (!slot->entered)
		return 0;
	if (author)
		return slot->entry.node == author->node ? slot->entry.version : 0;
	/* What was given away is told as well: its new owner may have died before it was heard. */
	return slot->entry.node == hub->slots.self ? slot->entry.version
						   : slot->work->given_version;
}

static int by_rank(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;
	return (x->rank > y->rank) - (x->rank < y->rank);
}

static void put_entry(struct ph_hub *hub, struct ph_entry *to, const struct ph_slot *slot)
{
	*to = ph_slot_entry(slot);
	to->age_ms = hub->now_ms - slot->since_ms;
	to->meta = ph_out_text(hub, slot->work->meta);
}

static size_t put_entries(
	struct ph_hub *hub, struct ph_bmsg *msg, const struct ranked *list, size_t n)
{
	size_t bytes = 0, k = 0;
	struct ph_entry *entries = ph_out_alloc(hub, PH_LIST_MAX * sizeof *entries);
	while (k < n && k < PH_LIST_MAX && bytes <= PIECE_BYTES - ENTRY_BYTES - PH_META_MAX) {
		const char *meta = list[k].slot->work->meta;
		bytes += ENTRY_BYTES + (meta ? strlen(meta) : 0);
		put_entry(hub, &entries[k], list[k].slot);
		k++;
	}
	msg->entries = entries;
	msg->n_entries = k;
	return k;
}

/*
 * What is presumed of another one's migrations is no word of that one; that an attempt ended was,
 * and only that there is a next one is presumed not to be so any more.
 */
static bool told(const struct ph_hub *hub, const struct ph_history *h, const struct ph_name *source,
	uint64_t since)
{
	return ph_name_equal(&h->info.from, source) && h->info.version > since &&
	       (!h->presumed || ph_is_self(hub, source) || ph_plan_tried_again(h->info.reason));
}

static void put_migrations(struct ph_hub *hub, struct ph_bmsg *msg, const struct part *part)
{
	const struct ph_member *author = part->author;
	const struct ph_name *source = author ? &author->info.name : &hub->set.node;
	struct ph_migration_info *list = ph_out_alloc(hub, MIGRATIONS_MAX * sizeof *list);
	struct ph_history *h;
	DL_FOREACH (hub->history, h) {
		if (msg->n_migrations == MIGRATIONS_MAX ||
			!told(hub, h, source, part->migrations_since))
			continue;
		struct ph_migration_info *info = &list[msg->n_migrations++];
		*info = h->info;
		if (info->result == PH_RESULT_RUNNING)
			info->elapsed_ms += hub->now_ms - h->at_ms;
	}
	msg->migrations = list;
	msg->sequence = part->migrations_since;
	msg->migrations_version = author ? author->have_migrations : hub->migrations_version;
}

static struct ph_bmsg *new_piece(struct ph_hub *hub, const struct part *part)
{
	if (part->to)
		return ph_send(hub, part->to, PH_B_REGISTRY);
	if (!part->n_targets)
		return ph_cast(hub, PH_B_REGISTRY);
	struct ph_bmsg *msg = ph_send(hub, &part->targets[0], PH_B_REGISTRY);
	for (size_t i = 1; i < part->n_targets; i++)
		ph_send_also(hub, &part->targets[i], msg);
	msg->hops = part->hops;
	return msg;
}

/* Each piece goes on where the one before it ended: one that is lost is missed. */
static void send_pieces(
	struct ph_hub *hub, const struct part *part, const struct ranked *list, size_t n)
{
	size_t at = 0;
	uint64_t since = part->since;
	do {
		struct ph_bmsg *msg = new_piece(hub, part);
		msg->whole = part->whole && at == 0;
		at += put_entries(hub, msg, list + at, n - at);
		msg->last = at == n;
		bool end = msg->last && !part->more;
		msg->since = since;
		if (at && list[at - 1].rank > since)
			since = list[at - 1].rank;
		if (end || since > part->total)
			since = part->total;
		msg->until = since;
		if (end)
			put_migrations(hub, msg, part);
		if (part->author) {
			msg->node = part->author->info.name;
			msg->known_incarnation = part->author->info.incarnation;
		}
		if (!part->to)
			continue;
		msg->fetched = true;
		msg->registry_version = part->total;
		msg->registry_digest = part->digest;
	} while (at < n);
}

/* ---- who is there ---- */

static bool alone(const struct ph_hub *hub)
{
	for (struct ph_member *m = hub->members; m; m = m->hh.next)
		if (ph_member_live(m))
			return false;
	return true;
}

static bool may_be_told(
	const struct ph_member *m, const struct ph_name *not_a, const struct ph_name *not_b)
{
	return (m->state == PH_MEMBER_ALIVE || m->state == PH_MEMBER_JOINING) &&
	       !(not_a && ph_name_equal(&m->info.name, not_a)) &&
	       !(not_b && ph_name_equal(&m->info.name, not_b));
}

/* At most `max` members drawn at random; returns from how many. */
static size_t draw(struct ph_hub *hub, const struct ph_name *not_a, const struct ph_name *not_b,
	struct ph_name *targets, size_t max)
{
	size_t n = 0;
	for (struct ph_member *m = hub->members; m; m = m->hh.next) {
		if (!may_be_told(m, not_a, not_b))
			continue;
		size_t at = n < max ? n : (size_t)(ph_random(hub) % (n + 1));
		if (at < max)
			targets[at] = m->info.name;
		n++;
	}
	return n;
}

static size_t fanout_of(const struct ph_hub *hub)
{
	uint32_t fanout = hub->set.fanout ? hub->set.fanout : GOSSIP_FANOUT;
	return fanout < FANOUT_MAX ? fanout : FANOUT_MAX;
}

bool ph_registry_near(const struct ph_hub *hub, const struct ph_member *m)
{
	return m->state != PH_MEMBER_SUSPECT && m->fetch_tries < FETCH_TRIES &&
	       hub->now_ms <= m->heard_at_ms + HEARD_BEATS * hub->beat_ms;
}

/* ---- telling ---- */

/* With an orderly stop there is nobody left to repair what gossip does not reach. */
static void choose_targets(struct ph_hub *hub, struct part *part)
{
	size_t fanout = fanout_of(hub);
	if (!hub->set.fanout || hub->shutting || hub->drained)
		return;
	size_t n = draw(hub, NULL, NULL, part->targets, fanout), reach = fanout;
	if (n <= fanout)
		return; /* all of them: sealed once, by a cast */
	part->n_targets = fanout;
	/* So many hops as a tree needs, and some, as they meet some members twice. */
	for (part->hops = 3; reach < n && part->hops < PH_HOPS_MAX; part->hops++)
		reach *= fanout;
}

static void tell_dirty(struct ph_hub *hub, struct part *part)
{
	size_t n = hub->dirty.n;
	struct ranked *list = ph_must(calloc(n + 1, sizeof *list));
	for (size_t i = 0; i < n; i++)
		list[i] = (struct ranked){
			rank_of(hub, NULL, hub->dirty.slots[i]), hub->dirty.slots[i]};
	qsort(list, n, sizeof *list, by_rank);
	choose_targets(hub, part);
	send_pieces(hub, part, list, n);
	free(list);
}

void ph_registry_flush(struct ph_hub *hub)
{
	struct part part = {.since = hub->flushed_version,
		.total = hub->version,
		.migrations_since = hub->flushed_migrations};
	ph_timer_set(hub, &hub->flush, PH_NEVER_MS);
	hub->flush_now = false;
	if (!alone(hub))
		tell_dirty(hub, &part);
	for (size_t i = 0; i < hub->dirty.n; i++)
		hub->dirty.slots[i]->dirty = false;
	ph_slot_list_clear(&hub->dirty);
	hub->flushed_version = hub->version;
	hub->flushed_migrations = hub->migrations_version;
}

void ph_registry_tell(struct ph_hub *hub, struct ph_slot *slot, const struct ph_name *to)
{
	struct ph_entry e;
	put_entry(hub, &e, slot);
	ph_registry_tell_of(hub, &e, to);
}

void ph_registry_tell_of(struct ph_hub *hub, const struct ph_entry *entry, const struct ph_name *to)
{
	struct ph_bmsg *msg = ph_send(hub, to, PH_B_REGISTRY);
	struct ph_entry *list = ph_out_alloc(hub, sizeof *list);
	*list = *entry;
	list->meta = ph_out_text(hub, entry->meta);
	msg->entries = list;
	msg->n_entries = 1;
	msg->since = msg->until = PH_EPOCH_LIMIT - 1; /* one entry, no part: never contiguous */
	msg->sequence = msg->migrations_version = 0;
}

/* What was news here goes on, as it came. */
static void pass_on(struct ph_hub *hub, const struct ph_member *author, const struct ph_bmsg *msg)
{
	struct ph_name targets[FANOUT_MAX];
	size_t fanout = fanout_of(hub), n;
	if (msg->hops < 2 || !(n = draw(hub, &author->info.name, &msg->from, targets, fanout)))
		return;
	struct ph_bmsg *copy = ph_send(hub, &targets[0], PH_B_REGISTRY);
	struct ph_entry *entries = ph_out_alloc(hub, (msg->n_entries + 1) * sizeof *entries);
	struct ph_migration_info *migrations =
		ph_out_alloc(hub, (msg->n_migrations + 1) * sizeof *migrations);
	for (size_t i = 0; i < msg->n_entries; i++) {
		entries[i] = msg->entries[i];
		entries[i].meta = ph_out_text(hub, msg->entries[i].meta);
	}
	for (size_t i = 0; i < msg->n_migrations; i++)
		migrations[i] = msg->migrations[i];
	copy->node = author->info.name;
	copy->known_incarnation = author->info.incarnation;
	copy->hops = (msg->hops < PH_HOPS_MAX ? msg->hops : PH_HOPS_MAX) - 1;
	copy->since = msg->since;
	copy->until = msg->until;
	copy->last = msg->last;
	copy->sequence = msg->sequence;
	copy->migrations_version = msg->migrations_version;
	copy->entries = entries;
	copy->n_entries = msg->n_entries;
	copy->migrations = migrations;
	copy->n_migrations = msg->n_migrations;
	for (size_t i = 1; i < n && i < fanout; i++)
		ph_send_also(hub, &targets[i], copy);
}

/* ---- asking ---- */

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

void ph_registry_step(struct ph_hub *hub, struct ph_member *member)
{
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
static void heap_down(struct ranked *heap, size_t n)
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
		struct ranked swap = heap[at];
		heap[at] = heap[child];
		heap[child] = swap;
		at = child;
	}
}

static void heap_up(struct ranked *heap, size_t at)
{
	for (; at && heap[(at - 1) / 2].rank < heap[at].rank; at = (at - 1) / 2) {
		struct ranked swap = heap[at];
		heap[at] = heap[(at - 1) / 2];
		heap[(at - 1) / 2] = swap;
	}
}

static size_t take_page(const struct ph_hub *hub, struct part *part, struct ranked *page)
{
	size_t n = 0;
	for (struct ph_slot *slot = ph_slot_first(hub); slot; slot = ph_slot_next(hub, slot)) {
		struct ranked one = {rank_of(hub, part->author, slot), slot};
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
	qsort(page, n, sizeof *page, by_rank);
	return n;
}

static void answer_fetch(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	struct ranked page[PAGE_MAX];
	const struct ph_member *author = NULL;
	if (msg->node.s[0] && !ph_is_self(hub, &msg->node)) {
		author = ph_member_find(hub, &msg->node);
		if (!author || author->info.incarnation != msg->known_incarnation ||
			!(author->have || (ph_member_live(author) && confirmed(hub, author))))
			return;
	}
	uint64_t total = author ? author->have : hub->version;
	struct part part = {.to = &msg->from,
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
	send_pieces(hub, &part, page, n);
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
		news |= ph_registry_apply(hub, &author->info.name, &msg->from, &msg->entries[i]);
	if (msg->since <= author->have && msg->until > author->have) {
		author->have = msg->until;
		author->helper_tries = 0;
		news = true;
	}
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
		pass_on(hub, author, msg);
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
	if (draw(hub, NULL, NULL, &to, 1))
		send_digest(hub, &to, true);
	ph_tombstones_drop(hub);
	ph_exchange_start(hub);
}
