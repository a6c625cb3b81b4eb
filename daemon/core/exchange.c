/*
 * exchange.c - how the registry travels: who is told of a change.
 *
 * Each node numbers the changes of its own part, and tells them to all by a cast, or by gossip to a
 * few, who pass on what was news to them. Whoever has missed something asks for it:
 * exchange_fetch.c.
 */
#include "core/exchange.h"

#include <stdlib.h>
#include <string.h>

#define PIECE_BYTES (160 * 1024) /* of entries; with the migrations it stays below 256 KiB */
#define ENTRY_BYTES 512		 /* of an entry without its meta, at most */
#define MIGRATIONS_MAX 128	 /* of one answer, the newest ones */
#define GOSSIP_FANOUT 3		 /* of what others gossip, where this node itself does not */

/* ---- pieces ---- */

uint64_t ph_exchange_rank_of(
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

int ph_exchange_by_rank(const void *a, const void *b)
{
	const struct ph_exchange_ranked *x = a, *y = b;
	return (x->rank > y->rank) - (x->rank < y->rank);
}

static void put_entry(struct ph_hub *hub, struct ph_entry *to, const struct ph_slot *slot)
{
	*to = ph_slot_entry(slot);
	to->age_ms = hub->now_ms - slot->since_ms;
	to->meta = ph_out_text(hub, slot->work->meta);
}

static size_t put_entries(
	struct ph_hub *hub, struct ph_bmsg *msg, const struct ph_exchange_ranked *list, size_t n)
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

static void put_migrations(
	struct ph_hub *hub, struct ph_bmsg *msg, const struct ph_exchange_part *part)
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

static struct ph_bmsg *new_piece(struct ph_hub *hub, const struct ph_exchange_part *part)
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

void ph_exchange_send(struct ph_hub *hub, const struct ph_exchange_part *part,
	const struct ph_exchange_ranked *list, size_t n)
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

size_t ph_exchange_draw(struct ph_hub *hub, const struct ph_name *not_a,
	const struct ph_name *not_b, struct ph_name *targets, size_t max)
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
	return fanout < PH_FANOUT_MAX ? fanout : PH_FANOUT_MAX;
}

/* ---- telling ---- */

/* With an orderly stop there is nobody left to repair what gossip does not reach. */
static void choose_targets(struct ph_hub *hub, struct ph_exchange_part *part)
{
	size_t fanout = fanout_of(hub);
	if (!hub->set.fanout || hub->shutting || hub->drained)
		return;
	size_t n = ph_exchange_draw(hub, NULL, NULL, part->targets, fanout), reach = fanout;
	if (n <= fanout)
		return; /* all of them: sealed once, by a cast */
	part->n_targets = fanout;
	/* So many hops as a tree needs, and some, as they meet some members twice. */
	for (part->hops = 3; reach < n && part->hops < PH_HOPS_MAX; part->hops++)
		reach *= fanout;
}

static void tell_dirty(struct ph_hub *hub, struct ph_exchange_part *part)
{
	size_t n = hub->dirty.n;
	struct ph_exchange_ranked *list = ph_must(calloc(n + 1, sizeof *list));
	for (size_t i = 0; i < n; i++) {
		struct ph_slot *slot = ph_slot_at(hub, hub->dirty.nos[i]);
		list[i] = (struct ph_exchange_ranked){ph_exchange_rank_of(hub, NULL, slot), slot};
	}
	qsort(list, n, sizeof *list, ph_exchange_by_rank);
	choose_targets(hub, part);
	ph_exchange_send(hub, part, list, n);
	free(list);
}

void ph_registry_flush(struct ph_hub *hub)
{
	struct ph_exchange_part part = {.since = hub->flushed_version,
		.total = hub->version,
		.migrations_since = hub->flushed_migrations};
	ph_timer_set(hub, &hub->flush, PH_NEVER_MS);
	hub->flush_now = false;
	if (!alone(hub))
		tell_dirty(hub, &part);
	for (size_t i = 0; i < hub->dirty.n; i++)
		ph_slot_at(hub, hub->dirty.nos[i])->dirty = false;
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

void ph_exchange_pass_on(
	struct ph_hub *hub, const struct ph_member *author, const struct ph_bmsg *msg)
{
	struct ph_name targets[PH_FANOUT_MAX];
	size_t fanout = fanout_of(hub), n;
	if (msg->hops < 2 ||
		!(n = ph_exchange_draw(hub, &author->info.name, &msg->from, targets, fanout)))
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
