/* view.c - reading a hub: what status, lookup, the state file and the journal's compaction need. */
#include "core/after.h"
#include "core/conflict.h"

#include <stdlib.h>
#include <string.h>

/* ---- members ---- */

static int by_name(const void *a, const void *b)
{
	const struct ph_member *const *x = a, *const *y = b;
	return strcmp((*x)->info.name.s, (*y)->info.name.s);
}

static uint32_t owned_by(const struct ph_hub *hub, const struct ph_name *node)
{
	uint32_t n = 0;
	for (const struct ph_slot *slot = ph_slot_first(hub); slot; slot = ph_slot_next(hub, slot))
		n += ph_slot_owned(slot) && ph_name_equal(&slot->entry.node->name, node);
	return n;
}

static void view_self(const struct ph_hub *hub, struct ph_member_view *view)
{
	memset(view, 0, sizeof *view);
	view->self = true;
	view->info.name = hub->set.node;
	view->info.incarnation = hub->set.incarnation;
	view->info.slot = hub->set.slot;
	view->info.weight = hub->set.weight;
	view->info.labels = hub->set.labels;
	view->info.state = hub->self_state;
	view->info.draining = hub->draining;
	memcpy(view->info.address, hub->set.address, sizeof view->info.address);
	memcpy(view->info.version, hub->set.version, sizeof view->info.version);
	view->children = owned_by(hub, &hub->set.node);
}

void ph_hub_members(const struct ph_hub *hub, uint64_t now_ms,
	bool (*each)(void *arg, const struct ph_member_view *member), void *arg)
{
	struct ph_member_view view;
	size_t n = 0;
	view_self(hub, &view);
	if (!each(arg, &view))
		return;
	const struct ph_member **list =
		ph_must(calloc(HASH_COUNT(hub->members) + 1, sizeof(struct ph_member *)));
	for (const struct ph_member *m = hub->members; m; m = m->hh.next)
		list[n++] = m;
	qsort(list, n, sizeof *list, by_name);
	for (size_t i = 0; i < n; i++) {
		memset(&view, 0, sizeof view);
		view.info = list[i]->info;
		view.info.state = list[i]->state;
		view.children = owned_by(hub, &list[i]->info.name);
		view.echo_age_ms = list[i]->echoed ? now_ms - list[i]->echo_true_ms : UINT64_MAX;
		if (!each(arg, &view))
			break;
	}
	free(list);
}

bool ph_hub_stale(const struct ph_hub *hub, uint64_t now_ms)
{
	size_t others = 0;
	bool heard = false;
	for (const struct ph_member *m = hub->members; m && !heard; m = m->hh.next) {
		if (m->state == PH_MEMBER_LEFT || m->state == PH_MEMBER_UNKNOWN)
			continue;
		others++;
		heard = m->echoed && now_ms < m->echo_true_ms + hub->set.failure_timeout_ms;
	}
	/* Who was away is heard again before it has heard what it has missed. */
	return others > 0 && (!heard || hub->away);
}

bool ph_hub_draining(const struct ph_hub *hub)
{
	return hub->draining;
}

bool ph_hub_joined(const struct ph_hub *hub)
{
	return hub->self_state == PH_MEMBER_ALIVE;
}

/* ---- entries ---- */

static int by_key(const void *a, const void *b)
{
	const struct ph_slot *const *x = a, *const *y = b;
	int c = ph_key_compare(PH_SLOT_KEY((*x)), PH_SLOT_KEY((*y)));
	return c ? c : strcmp((*x)->work->local_of->name.s, (*y)->work->local_of->name.s);
}

static bool shown(const struct ph_hub *hub, const struct ph_slot *slot, const struct ph_spec *spec)
{
	if (slot->entered && slot->entry.state == PH_CHILD_REMOVED)
		return false;
	/* One a node: where the node is gone there is none to be. */
	if (slot->local && !ph_member_up(hub, &slot->work->local_of->name))
		return false;
	if (slot->entered && slot->entry.state != PH_CHILD_RELEASED)
		return true;
	bool local = slot->local;
	return spec && slot->number < spec->instances && spec->local == local &&
	       (!local || ph_is_self(hub, &slot->work->local_of->name));
}

static void view_slot(const struct ph_hub *hub, const struct ph_slot *slot, uint64_t now_ms,
	struct ph_entry_view *view)
{
	const struct ph_child *child = slot->child;
	memset(view, 0, sizeof *view);
	view->entry = ph_slot_entry(slot);
	/* What a node had that is gone does not run any more, whoever may have it next. */
	view->owned = slot->entered && slot->entry.state != PH_CHILD_RELEASED &&
		      ph_member_up(hub, &view->entry.node);
	if (!view->owned) {
		memset(&view->entry, 0, sizeof view->entry);
		view->entry.key = ph_slot_key(slot);
		bool rests = slot->wish_stopped || ph_slot_done(slot);
		view->entry.state = rests ? PH_CHILD_STOPPED : PH_CHILD_WAITING;
		uint64_t unowned_ms = ph_slot_unowned_ms(slot);
		if (unowned_ms && now_ms > unowned_ms)
			view->entry.age_ms = now_ms - unowned_ms;
	} else {
		view->entry.age_ms = now_ms > slot->since_ms ? now_ms - slot->since_ms : 0;
	}
	view->entry.stopped_by_wish = slot->wish_stopped;
	/* what its policy does not start again is done, not missing */
	view->wanted =
		!slot->wish_stopped && !(view->owned && view->entry.state == PH_CHILD_STOPPED);
	view->reachable = view->owned;
	const struct ph_spec *spec = child ? ph_child_spec(child) : NULL;
	if (spec && view->wanted && view->entry.state == PH_CHILD_WAITING)
		(void)ph_after_why(hub, spec, view->reason, NULL);
	const struct ph_instance *instance = slot->work->instance;
	if (instance && instance->why && !view->reason[0] && view->owned && ph_slot_mine(hub, slot))
		ph_reason(view->reason, "%s", instance->why);
	view->added = child && ph_child_is_added(child);
	view->differs = child && child->own && child->spec && child->own->hash != child->spec->hash;
}

/* Those of one child, or all. */
static const struct ph_slot *first_of(const struct ph_hub *hub, const struct ph_child *child)
{
	return child ? ph_slot_first_of(hub, child) : ph_slot_first(hub);
}

static const struct ph_slot *next_of(
	const struct ph_hub *hub, const struct ph_child *child, const struct ph_slot *slot)
{
	return child ? ph_slot_next_of(hub, slot) : ph_slot_next(hub, slot);
}

void ph_hub_entries(const struct ph_hub *hub, uint64_t now_ms, const struct ph_name *child,
	bool (*each)(void *arg, const struct ph_entry_view *entry), void *arg)
{
	struct ph_entry_view view;
	size_t n = 0;
	const struct ph_child *one = child ? ph_child_find(hub, child) : NULL;
	if (child && !one)
		return;
	size_t room = one ? one->n_slots : hub->slots.n;
	const struct ph_slot **list = ph_must(calloc(room + 1, sizeof(struct ph_slot *)));
	for (const struct ph_slot *slot = first_of(hub, one); slot; slot = next_of(hub, one, slot))
		if (shown(hub, slot, ph_child_spec(slot->child)))
			list[n++] = slot;
	qsort(list, n, sizeof *list, by_key);
	for (size_t i = 0; i < n; i++) {
		view_slot(hub, list[i], now_ms, &view);
		if (!each(arg, &view))
			break;
	}
	free(list);
}

/* ---- migrations ---- */

void ph_hub_migrations(const struct ph_hub *hub, uint64_t now_ms,
	bool (*each)(void *arg, const struct ph_migration_info *migration), void *arg)
{
	for (int finished = 0; finished <= 1; finished++) {
		const struct ph_history *h;
		DL_FOREACH (hub->history, h) {
			struct ph_migration_info info = h->info;
			if ((info.result != PH_RESULT_RUNNING) != (finished == 1) ||
				ph_history_waited(&info))
				continue;
			if (!finished)
				info.elapsed_ms += now_ms - h->at_ms;
			if (!each(arg, &info))
				return;
		}
	}
}

const struct ph_spec *ph_hub_spec(const struct ph_hub *hub, const struct ph_name *name)
{
	const struct ph_child *child = ph_child_find(hub, name);
	return child ? ph_child_spec(child) : NULL;
}

/* Nobody has it yet, as after the start of this node, and this node may get it. */
static const struct ph_spec *may_come(struct ph_hub *hub, const struct ph_key *key)
{
	const struct ph_child *child = ph_child_find(hub, &key->child);
	const struct ph_spec *spec = child ? ph_child_spec(child) : NULL;
	const struct ph_slot *slot =
		spec ? ph_slot_find(hub, key, spec->local ? &hub->set.node : NULL) : NULL;
	if (!spec || key->instance >= spec->instances || hub->shutting ||
		!ph_place_allows(hub, spec, &hub->set.node))
		return NULL;
	return !slot || (!slot->wish_stopped && !ph_slot_owned(slot)) ? spec : NULL;
}

size_t ph_hub_starts(struct ph_hub *hub, const struct ph_key *key, const struct ph_spec *ret[2])
{
	const struct ph_slot *slots[] = {
		ph_slot_find(hub, key, NULL), ph_slot_find(hub, key, &hub->set.node)};
	const struct ph_child *child = ph_child_find(hub, &key->child);
	for (size_t i = 0; i < 2; i++) {
		const struct ph_instance *instance = slots[i] ? slots[i]->work->instance : NULL;
		size_t n = 0;
		if (!instance || instance->state == PH_INSTANCE_STOPPED ||
			instance->after == PH_AFTER_STOPPED || instance->after == PH_AFTER_DISCARD)
			continue;
		if (instance->state == PH_INSTANCE_FAILED && !instance->timer.pos)
			continue;
		ret[n++] = instance->spec;
		if (child && ph_child_spec(child))
			ret[n++] = ph_child_spec(child);
		return n;
	}
	for (size_t i = 0; i < 2; i++)
		if (slots[i] && slots[i]->work->instance)
			return 0;
	ret[0] = may_come(hub, key);
	return ret[0] ? 1 : 0;
}

/* ---- workers ---- */

static void view_worker(const struct ph_instance *i, struct ph_worker_view *view)
{
	memset(view, 0, sizeof *view);
	view->wid = i->wid;
	view->pid = i->pid;
	view->key = ph_slot_key(i->slot);
	view->epoch = i->epoch;
	view->born_ms = i->born_ms;
	view->copied_ms = i->copied_ms;
	view->revision = i->spec->revision;
	/* The new one of an overlap serves, but nobody's owner is it yet. */
	view->role = i->target && i->target->fresh == i && i->target->state < PH_TARGET_ACTIVATING
			     ? PH_ROLE_STANDBY
			     : i->role;
	view->retired = i->state == PH_INSTANCE_RETIRED ||
			(i->source && i->source->told == PH_W_COMMITTED &&
				i->source->state <= PH_SOURCE_STOPPING) ||
			/* another one owns it: what is left of its stop is to be done */
			(i->slot->work->instance != i && i->after == PH_AFTER_DISCARD &&
				i->role == PH_ROLE_ACTIVE && !i->target &&
				i->state >= PH_INSTANCE_STOPPING);
	if (view->retired && i->source)
		view->retained_until_ms = i->source->retention_until_ms;
	view->ready = i->said_ready || i->state == PH_INSTANCE_RUNNING;
	view->unheard = i->unheard;
	view->active = i->slot->work->instance == i;
	view->again = view->active && i->state >= PH_INSTANCE_STOPPING &&
		      i->state <= PH_INSTANCE_REAPING &&
		      (i->after == PH_AFTER_AGAIN || i->after == PH_AFTER_GROUP);
	view->since_ms = view->active ? i->slot->since_ms : 0;
	view->restarts = i->restarts;
	view->tally = ph_policy_tally(i);
	view->meta = i->meta;
	view->spec = i->spec;
	if (i->source)
		view->migration = i->source->id;
	else if (i->target)
		view->migration = i->target->id;
}

void ph_hub_workers(const struct ph_hub *hub,
	bool (*each)(void *arg, const struct ph_worker_view *worker), void *arg)
{
	struct ph_worker_view view;
	for (const struct ph_instance *i = hub->instances; i; i = i->next) {
		if (!i->wid)
			continue;
		view_worker(i, &view);
		if (!each(arg, &view))
			return;
	}
}

/* Also while the rest of its group is being ended: what comes then is certain, and the worker is
 * none any more that the next daemon could find. */
static bool is_done(const struct ph_instance *i)
{
	bool idle = !i->wid && (i->state == PH_INSTANCE_STOPPED || i->state == PH_INSTANCE_FAILED ||
				       i->state == PH_INSTANCE_BACKOFF);
	bool ends = i->state == PH_INSTANCE_REAPING && i->after == PH_AFTER_POLICY &&
		    i->role == PH_ROLE_ACTIVE && ph_policy_ends(i);
	return (idle || ends) && !i->source && !i->target && i->slot->work->instance == i &&
	       !i->slot->wish_stopped;
}

void ph_hub_done(const struct ph_hub *hub,
	bool (*each)(void *arg, const struct ph_worker_view *worker), void *arg)
{
	struct ph_worker_view view;
	for (const struct ph_instance *i = hub->instances; i; i = i->next) {
		if (!is_done(i))
			continue;
		view_worker(i, &view);
		view.failed = i->state == PH_INSTANCE_FAILED;
		view.due_ms = i->timer.pos ? i->timer.at_ms : 0;
		view.exit = i->exit;
		view.why = i->why;
		if (!each(arg, &view))
			return;
	}
}

bool ph_hub_claimable(
	const struct ph_hub *hub, const struct ph_spec *spec, const struct ph_name *child)
{
	if (!spec)
		spec = ph_hub_spec(hub, child);
	return spec && !spec->local;
}

/* ---- records in force ---- */

typedef void record_fn(void *arg, const struct ph_record *record);

static void child_records(const struct ph_hub *hub, record_fn *each, void *arg)
{
	for (const struct ph_child *c = hub->children; c; c = c->hh.next) {
		if (c->spec)
			each(arg, &(struct ph_record){.kind = PH_RECORD_SPEC,
					  .key = {.child = c->name},
					  .revision = c->spec->revision,
					  .text = c->spec->text,
					  .spec = c->spec});
		else if (c->removed_revision)
			each(arg, &(struct ph_record){.kind = PH_RECORD_SPEC,
					  .key = {.child = c->name},
					  .revision = c->removed_revision});
		if (c->declared_revision || (c->spec && c->declarer.s[0]))
			each(arg, &(struct ph_record){.kind = PH_RECORD_DECLARED,
					  .key = {.child = c->name},
					  .hash = c->declared_hash,
					  .revision = c->declared_revision,
					  .peer = c->declarer});
	}
}

static enum ph_record_kind source_record(const struct ph_source *s)
{
	if (s->state >= PH_SOURCE_FINISHING && s->state <= PH_SOURCE_STOPPING)
		return PH_RECORD_DONE;
	if (s->state == PH_SOURCE_ENDED)
		return s->info.result == PH_RESULT_DONE || s->taken_over ? PH_RECORD_DONE
									 : PH_RECORD_VOID;
	if ((s->state == PH_SOURCE_COMMITTED || s->reclaim) && s->peer.s[0])
		return PH_RECORD_COMMIT;
	return s->voided ? PH_RECORD_VOID : s->final_synced ? PH_RECORD_FINAL : PH_RECORD_BEGUN;
}

static void migration_records(const struct ph_hub *hub, record_fn *each, void *arg)
{
	for (const struct ph_source *s = hub->sources; s; s = s->hh.next) {
		enum ph_record_kind kind = source_record(s);
		if (!(s->final_asked || s->claim_asked || s->voided))
			kind = PH_RECORD_BEGUN;
		if (kind == PH_RECORD_BEGUN && (!s->copy_at_ms || s->state == PH_SOURCE_ENDED))
			continue;
		struct ph_record record = ph_source_record(s, kind);
		each(arg, &record);
	}
	for (const struct ph_target *t = hub->targets; t; t = t->hh.next) {
		enum ph_record_kind kind =
			t->state == PH_TARGET_PREPARED || t->state == PH_TARGET_CLAIMING
				? PH_RECORD_PREPARED
			: t->state == PH_TARGET_ACTIVE ? PH_RECORD_ACTIVE
			: t->state == PH_TARGET_NEVER || t->state == PH_TARGET_RELEASING
				? PH_RECORD_NEVER
				: PH_RECORD_NONE;
		if (kind == PH_RECORD_NONE)
			continue;
		each(arg, &(struct ph_record){.kind = kind,
				  .id = t->id,
				  .key = ph_slot_key(t->slot),
				  .epoch = kind == PH_RECORD_ACTIVE ? t->new_epoch : t->epoch,
				  .revision = t->new_epoch,
				  .overlap = t->overlap,
				  .peer = t->peer});
	}
}

static void conflict_records(const struct ph_hub *hub, record_fn *each, void *arg)
{
	const struct ph_conflict *c;
	DL_FOREACH (hub->conflicts, c)
		if (c->recorded) {
			struct ph_record record = ph_conflict_record(c, true);
			each(arg, &record);
		}
}

static void view_records(const struct ph_hub *hub, record_fn *each, void *arg)
{
	if (hub->view.number) {
		char *text = ph_quorum_text(&hub->view);
		each(arg, &(struct ph_record){.kind = PH_RECORD_VIEW,
				  .epoch = hub->view.number,
				  .revision = hub->seat,
				  .text = text});
		free(text);
	}
	if (hub->promised)
		each(arg, &(struct ph_record){.kind = PH_RECORD_BALLOT,
				  .epoch = hub->vote_view,
				  .hash = hub->promised,
				  .revision = hub->accepted,
				  .text = hub->accepted_value});
}

void ph_hub_records(const struct ph_hub *hub, record_fn *each, void *arg)
{
	if (hub->lost_open)
		each(arg, &(struct ph_record){.kind = PH_RECORD_LOST, .ok = true});
	if (hub->drain_wish)
		each(arg, &(struct ph_record){.kind = PH_RECORD_DRAINING, .ok = true});
	if (hub->clashed)
		each(arg, &(struct ph_record){.kind = PH_RECORD_CLASHED,
				  .peer = hub->set.node,
				  .epoch = hub->clashed,
				  .ok = true});
	ph_tomb_records(hub, each, arg);
	child_records(hub, each, arg);
	for (const struct ph_slot *slot = ph_slot_first(hub); slot; slot = ph_slot_next(hub, slot))
		if (slot->seen || slot->wish_stopped || slot->wishes) {
			struct ph_record record = ph_slot_record(slot);
			each(arg, &record);
		}
	migration_records(hub, each, arg);
	conflict_records(hub, each, arg);
	view_records(hub, each, arg);
}

static size_t list_length(const struct ph_hub *hub, size_t *claims, size_t *orders)
{
	size_t moves = 0;
	const struct ph_move *move;
	const struct ph_claim *claim;
	const struct ph_order *order;
	DL_FOREACH (hub->moves, move)
		moves++;
	DL_FOREACH (hub->claims, claim)
		++*claims;
	DL_FOREACH (hub->orders, order)
		++*orders;
	return moves;
}

void ph_hub_count(const struct ph_hub *hub, struct ph_hub_counts *ret)
{
	const struct ph_instance *i;
	memset(ret, 0, sizeof *ret);
	ret->members = HASH_COUNT(hub->members);
	for (const struct ph_slot *slot = ph_slot_first(hub); slot; slot = ph_slot_next(hub, slot))
		ret->entries += slot->entered;
	DL_FOREACH (hub->instances, i)
		ret->workers += i->wid != 0;
	const struct ph_conflict *c;
	DL_FOREACH (hub->conflicts, c)
		ret->conflicts++;
	ret->sources = HASH_COUNT(hub->sources);
	ret->targets = HASH_COUNT(hub->targets);
	ret->moves = list_length(hub, &ret->claims, &ret->orders);
}
