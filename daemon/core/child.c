/*
 * child.c - specifications: which text of a child is in force, and what becomes of it where it was
 * removed. Who still declares a child that files drop: dropped.c.
 *
 * A revision is made like an epoch, so two nodes never make the same one, and the highest wins.
 * The text that is in force was made by an owner; a file makes a new one only where its text for
 * that child changed on the node that owns it, or where no such node lives (stranded.c). Other
 * nodes fetch the text when they see a revision in the registry that they do not know.
 */
#include "core/instance.h"
#include "core/move.h"
#include "core/order.h"
#include "core/swap.h"

#include <stdlib.h>
#include <string.h>

#define FETCH_AGAIN_MS 500
#define FETCH_AGAIN_MAX_MS 30000 /* an answer does not come: doubled up to this */
#define FETCH_PATIENCE_MS 5000	 /* then a text of this node's own is put in force */

static bool is_missing(const struct ph_child *child)
{
	uint64_t known = child->spec ? child->spec->revision : child->removed_revision;
	return child->fetch_from.s[0] && child->wanted_revision > known;
}

struct ph_child *ph_child_find(const struct ph_hub *hub, const struct ph_name *name)
{
	struct ph_child *child;
	HASH_FIND(hh, hub->children, name->s, strlen(name->s), child);
	return child;
}

struct ph_child *ph_child_get(struct ph_hub *hub, const struct ph_name *name)
{
	struct ph_child *child = ph_child_find(hub, name);
	if (child)
		return child;
	child = ph_must(calloc(1, sizeof *child));
	child->name = *name;
	child->hash = ph_hash_bytes(PH_HASH_SEED, name->s, strlen(name->s));
	HASH_ADD_KEYPTR(hh, hub->children, child->name.s, strlen(child->name.s), child);
	return child;
}

const struct ph_spec *ph_child_spec(const struct ph_child *child)
{
	return child->spec ? child->spec : child->own;
}

uint64_t ph_child_text_revision(const struct ph_child *child)
{
	return child && child->spec ? child->spec->revision : 0;
}

static uint64_t journal_spec(struct ph_hub *hub, const struct ph_child *child)
{
	struct ph_record record = {.kind = PH_RECORD_SPEC,
		.key = {.child = child->name},
		.revision = child->spec->revision,
		.text = child->spec->text};
	return ph_journal(hub, &record);
}

static void put_declared(struct ph_hub *hub, const struct ph_child *child)
{
	struct ph_record record = {.kind = PH_RECORD_DECLARED,
		.key = {.child = child->name},
		.hash = child->declared_hash,
		.revision = child->declared_revision,
		.peer = child->declarer};
	(void)ph_journal(hub, &record);
}

static void journal_declared(struct ph_hub *hub, struct ph_child *child)
{
	uint64_t hash = child->own ? child->own->hash : 0;
	uint64_t revision = child->spec ? child->spec->revision : 0;
	if (hash == child->declared_hash && revision == child->declared_revision &&
		!child->declarer.s[0])
		return;
	child->declared_hash = hash;
	child->declared_revision = revision;
	child->declarer.s[0] = '\0'; /* its own file does */
	put_declared(hub, child);
}

void ph_child_declared_by(struct ph_hub *hub, struct ph_child *child, const struct ph_name *node)
{
	bool known = ph_name_equal(&child->declarer, node);
	child->declarer = *node;
	if (!known && child->spec)
		put_declared(hub, child);
}

/*
 * What the file says where it first meets a text in force, whoever made that: should it say
 * something else, or nothing, when this daemon starts again, that is news.
 */
static void journal_met(struct ph_hub *hub, struct ph_child *child)
{
	if (!child->own || !child->spec)
		return;
	bool same = child->own->hash == child->spec->hash;
	if (same ? child->declared_hash != child->own->hash : !child->declared_hash)
		journal_declared(hub, child);
}

bool ph_child_owned_here(const struct ph_hub *hub, const struct ph_child *child)
{
	for (struct ph_slot *slot = ph_slot_first_of(hub, child); slot;
		slot = ph_slot_next_of(hub, slot))
		if (ph_slot_mine(hub, slot))
			return true;
	return false;
}

/* One of an earlier daemon that has not said hello yet may be one that hands over its state. */
static bool awaited(const struct ph_hub *hub, const struct ph_instance *instance)
{
	return instance->adopted && instance->state == PH_INSTANCE_RUNNING &&
	       instance->spec->swap && !ph_move_known_kind(hub, instance) &&
	       hub->now_ms < instance->closed_ms + PH_RECONNECT_MS;
}

bool ph_child_surplus(const struct ph_slot *slot)
{
	const struct ph_spec *spec = slot->child->spec;
	return spec && (slot->number >= spec->instances || spec->local != slot->local);
}

/* A worker goes on under the new text where nothing of its process changed, else it starts anew. */
static void apply_to(struct ph_hub *hub, struct ph_child *child, struct ph_slot *slot, bool renew)
{
	struct ph_instance *instance = slot->work->instance;
	if (slot->work->source || slot->work->target || instance->target)
		return; /* its migration goes on with the text that it began with: then the plan */
	if (ph_child_surplus(slot)) {
		instance->after = PH_AFTER_DISCARD; /* and nobody claims what is not wanted */
		ph_instance_step(hub, instance, PH_INSTANCE_IN_STOP);
	} else if (instance->spec->process == child->spec->process) {
		struct ph_restart before = instance->spec->restart;
		ph_out_bury_spec(hub, instance->spec);
		instance->spec = ph_spec_clone(child->spec);
		if (instance->state == PH_INSTANCE_RUNNING) { /* health may be another one */
			ph_health_enter(hub, instance);
			ph_instance_arm(hub, instance);
		}
		ph_policy_changed(hub, instance, &before);
		ph_slot_publish(hub, slot);
	} else if (!slot->wish_stopped) {
		if (awaited(hub, instance))
			ph_plan_soon(hub, PH_PLAN_AGAIN_MS); /* its hello makes it sooner */
		else if (!ph_swap_instead(hub, slot, renew))
			ph_instance_step(hub, instance, PH_INSTANCE_IN_RESTART);
	} else {
		ph_slot_publish(hub, slot); /* the others hear of the text by its entry */
	}
}

void ph_child_catch_up(struct ph_hub *hub, struct ph_slot *slot)
{
	struct ph_child *child = slot->child;
	const struct ph_instance *instance = slot->work->instance;
	if (!child->spec || !instance || instance->spec->revision >= child->spec->revision)
		return;
	/* What has ended by an older text may be wanted by this one. Of what an operator has
	 * stopped it is the entry that tells of the text. */
	bool behind = ph_instance_has_process(instance)
			      ? instance->state <= PH_INSTANCE_RUNNING
			      : !slot->wish_stopped || slot->entry.revision < child->spec->revision;
	if (behind)
		apply_to(hub, child, slot, false);
}

static void apply_to_instances(struct ph_hub *hub, struct ph_child *child)
{
	for (struct ph_slot *slot = ph_slot_first_of(hub, child); slot;
		slot = ph_slot_next_of(hub, slot)) {
		if (!ph_slot_mine(hub, slot))
			continue;
		if (slot->work->instance)
			apply_to(hub, child, slot, true);
		else
			ph_slot_publish(hub, slot);
	}
}

uint64_t ph_child_in_force(struct ph_hub *hub, struct ph_child *child, const struct ph_spec *spec,
	uint64_t revision, bool journal)
{
	/* What was removed while it was on its way stays so, but where a file declares it again. */
	bool removed = ph_tombstone(child) && child->removed_revision >= revision;
	if (removed || (child->spec && child->spec->revision >= revision))
		return 0;
	const struct ph_spec *copy = ph_spec_revise(spec, revision);
	uint32_t before =
		child->spec && !child->spec->local && !spec->local ? child->spec->instances : 0;
	ph_out_bury_spec(hub, child->spec);
	child->spec = copy;
	if (hub->started)
		ph_order_wish_more(hub, child, before);
	uint64_t ticket = journal ? journal_spec(hub, child) : 0;
	if (journal)
		journal_met(hub, child);
	child->proposes = false; /* it was taken, or there is a newer one */
	if (hub->started) {
		ph_out(hub, PH_ACT_TEXT)->key = (struct ph_key){.child = child->name};
		apply_to_instances(hub, child);
	}
	return ticket;
}

uint64_t ph_child_next_revision(const struct ph_hub *hub, const struct ph_child *child)
{
	uint64_t known = child->spec ? child->spec->revision : 0;
	if (child->wanted_revision > known)
		known = child->wanted_revision;
	if (child->declared_revision > known)
		known = child->declared_revision;
	if (child->removed_revision > known)
		known = child->removed_revision;
	uint64_t counter = ph_epoch_counter(known) + 1;
	if (hub->set.journal_lost) /* it may have made higher ones */
		counter += PH_EPOCH_RAISE;
	return ph_epoch_make(counter, hub->set.slot);
}

bool ph_child_awaited(const struct ph_hub *hub, const struct ph_child *child)
{
	return is_missing(child) && hub->now_ms < child->fetch_first_ms + FETCH_PATIENCE_MS &&
	       ph_member_up(hub, &child->fetch_from);
}

const struct ph_spec *ph_child_settle(struct ph_hub *hub, struct ph_child *child)
{
	if (ph_child_awaited(hub, child))
		return child->spec;
	if (!child->spec && child->own) {
		ph_child_in_force(hub, child, child->own, ph_child_next_revision(hub, child), true);
		journal_declared(hub, child);
	}
	return child->spec;
}

/* ---- the configuration of this node ---- */

void ph_child_make_slots(struct ph_hub *hub, const struct ph_spec *spec)
{
	for (uint32_t i = 0; i < spec->instances; i++) {
		struct ph_key key = {.child = spec->child, .instance = i};
		(void)ph_slot_get(hub, &key, spec->local ? &hub->set.node : NULL);
	}
}

void ph_child_own_in_force(struct ph_hub *hub, struct ph_child *child)
{
	ph_child_in_force(hub, child, child->own, ph_child_next_revision(hub, child), true);
	journal_declared(hub, child);
	child->changed = false;
}

bool ph_child_own_counts(struct ph_hub *hub, struct ph_child *child)
{
	if (!ph_child_owned_here(hub, child))
		return false;
	ph_child_own_in_force(hub, child);
	(void)ph_emit(hub, PH_EMIT_CHILD_CHANGED, &(struct ph_key){.child = child->name});
	apply_to_instances(hub, child);
	ph_plan_soon(hub, 0); /* what is on its way */
	return true;
}

static void declare(struct ph_hub *hub, struct ph_child *child, const struct ph_spec *spec)
{
	bool first = !child->own && !child->spec;
	/* What this file said before, even if it has dropped the child meanwhile. */
	uint64_t before = child->own ? child->own->hash : child->declared_hash;
	bool changed = child->changed || (before && before != spec->hash);
	const struct ph_spec *copy = ph_spec_clone(spec);
	ph_out_bury_spec(hub, child->own);
	child->own = copy;
	child->dropped = false;
	child->changed = changed && child->spec && spec->hash != child->spec->hash &&
			 spec->hash != child->declared_hash;
	ph_child_make_slots(hub, spec);
	if (first && hub->started)
		(void)ph_emit(hub, PH_EMIT_CHILD_ADDED, &(struct ph_key){.child = child->name});
	if (!child->spec || spec->hash == child->spec->hash) {
		journal_met(hub, child);
		return;
	}
	/* A text that this node has had all along is no news, even where another one is in force.
	 */
	bool news = spec->hash != child->declared_hash || child->spec->added;
	if (news && !ph_child_own_counts(hub, child) && (child->changed || child->spec->added))
		ph_propose(hub, child);
	if (hub->started) /* else its worker may be found here yet */
		journal_met(hub, child);
}

void ph_child_redeclare(struct ph_hub *hub)
{
	for (struct ph_child *child = hub->children; child; child = child->hh.next) {
		bool added = ph_child_is_added(child);
		/* Known by its text alone, as it was never owned yet: it is shown. */
		if (child->spec && !child->spec->local)
			ph_child_make_slots(hub, child->spec);
		/* While this daemon was away, or an earlier one may have died before it was told
		 * who declares it. That one may be away now, and could not say so once more. */
		if (!child->own && child->spec && child->declared_hash && !child->declarer.s[0])
			ph_dropped_ask(hub, child);
		if (!child->own || !child->spec)
			continue;
		bool news = child->own->hash != child->spec->hash &&
			    (child->own->hash != child->declared_hash || added);
		if (news && ph_child_owned_here(hub, child)) {
			ph_child_own_in_force(hub, child);
			apply_to_instances(hub, child);
		} else if (news && (child->declared_hash || added)) { /* while it was away */
			child->changed = true;
			ph_propose(hub, child);
		}
		journal_met(hub, child);
	}
}

void ph_child_configure(struct ph_hub *hub, const struct ph_config *config)
{
	struct ph_child *child, *next;
	hub->set.migrations_max = config->migrations_max;
	hub->set.settle_ms = config->settle_ms;
	hub->set.drain_on_stop = config->drain_on_stop;
	hub->set.accept_any = config->accept_any;
	hub->set.merges = config->merges;
	for (child = hub->children; child; child = child->hh.next)
		child->named = false;
	for (size_t i = 0; i < config->n_specs; i++)
		ph_child_get(hub, &config->specs[i]->child)->named = true;
	HASH_ITER (hh, hub->children, child, next) {
		if (child->named || !child->own)
			continue;
		ph_out_bury_spec(hub, child->own);
		child->own = NULL;
		ph_dropped_ask(hub, child);
	}
	for (size_t i = 0; i < config->n_specs; i++) {
		child = ph_child_get(hub, &config->specs[i]->child);
		uint64_t before = ph_child_text_revision(child);
		declare(hub, child, config->specs[i]);
		if (config->spread)
			ph_spread(hub, child, before);
	}
	if (hub->started)
		ph_plan_soon(hub, 0);
}

/* ---- removal ---- */

void ph_child_end(struct ph_hub *hub, struct ph_slot *slot, uint64_t revision)
{
	if (slot->work->move)
		ph_move_drop(hub, slot->work->move);
	ph_slot_remove(hub, slot, revision);
	if (slot->work->instance) {
		slot->work->instance->after = PH_AFTER_DISCARD;
		ph_instance_step(hub, slot->work->instance, PH_INSTANCE_IN_STOP);
	}
	if (slot->work->source)
		ph_source_step(hub, slot->work->source, PH_SOURCE_IN_CANCEL);
}

/* ---- texts between nodes ---- */

void ph_child_put_text(struct ph_hub *hub, const struct ph_child *child, struct ph_bmsg *msg)
{
	struct ph_spec_line *line = ph_out_alloc(hub, sizeof *line);
	line->child = child->name;
	line->revision = child->spec->revision;
	line->text = ph_out_text(hub, child->spec->text);
	line->spec = child->spec;
	msg->specs = line;
	msg->n_specs = 1;
}

void ph_child_revision(struct ph_hub *hub, const struct ph_name *name, uint64_t revision,
	const struct ph_name *from)
{
	struct ph_child *child = ph_child_get(hub, name);
	if (child->spec && child->spec->revision >= revision) {
		if (child->spec->revision > revision) /* its owner is told, if it stays so */
			ph_plan_soon(hub, PH_PLAN_AGAIN_MS);
		return;
	}
	if (ph_tombstone(child) && revision <= child->removed_revision) {
		ph_tombstone_tell(hub, child, from);
		return;
	}
	if (child->wanted_revision >= revision && hub->now_ms < child->fetch_at_ms + FETCH_AGAIN_MS)
		return;
	if (child->wanted_revision < revision)
		child->fetch_first_ms = hub->now_ms;
	child->wanted_revision = revision;
	child->fetch_at_ms = hub->now_ms;
	child->fetch_from = *from;
	hub->texts_wait_ms = FETCH_AGAIN_MS;
	hub->texts_at_ms = hub->now_ms + FETCH_AGAIN_MS;
	struct ph_bmsg *msg = ph_send(hub, from, PH_B_SPEC_FETCH);
	struct ph_spec_line *line = ph_out_alloc(hub, sizeof *line);
	line->child = *name;
	line->revision = revision;
	msg->specs = line;
	msg->n_specs = 1;
}

/* Who named the text last, or whoever lives: some of all. */
static const struct ph_name *text_source(struct ph_hub *hub, const struct ph_child *child)
{
	const struct ph_name *name = &child->fetch_from;
	size_t n = 0;
	if (ph_member_up(hub, name) && ph_random(hub) % 4)
		return name;
	for (const struct ph_member *m = hub->members; m; m = m->hh.next)
		if (m->state == PH_MEMBER_ALIVE && ph_random(hub) % ++n == 0)
			name = &m->info.name;
	return n ? name : NULL;
}

/* Question or answer may have been lost, or come from one that did not have it yet. */
void ph_child_beat(struct ph_hub *hub)
{
	struct ph_bmsg *msg = NULL;
	struct ph_spec_line *lines = NULL;
	const struct ph_name *to = NULL;
	size_t n = 0, first = hub->texts_first;
	if (!hub->texts_at_ms || hub->now_ms < hub->texts_at_ms)
		return;
	/* The next of them each time: what nobody has must not keep the others from being asked
	 * for. */
	hub->texts_first = 0;
	for (struct ph_child *child = hub->children; child; child = child->hh.next) {
		if (!is_missing(child) || n++ < first)
			continue;
		if (!msg && (to = text_source(hub, child))) {
			msg = ph_send(hub, to, PH_B_SPEC_FETCH);
			msg->specs = lines = ph_out_alloc(hub, PH_LIST_MAX * sizeof *lines);
		}
		if (!msg)
			break;
		if (msg->n_specs == PH_LIST_MAX) {
			hub->texts_first = first + PH_LIST_MAX;
			break;
		}
		lines[msg->n_specs].child = child->name;
		lines[msg->n_specs++].revision = child->wanted_revision;
	}
	hub->texts_wait_ms = min_ms(2 * hub->texts_wait_ms, FETCH_AGAIN_MAX_MS);
	hub->texts_at_ms = n ? hub->now_ms + hub->texts_wait_ms : 0;
}

static void answer_fetch(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	for (size_t i = 0; i < msg->n_specs; i++) {
		struct ph_child *child = ph_child_find(hub, &msg->specs[i].child);
		if (!child || !child->spec)
			continue;
		ph_child_put_text(hub, child, ph_send(hub, &msg->from, PH_B_SPEC));
	}
}

void ph_child_live_on(struct ph_hub *hub, struct ph_child *child)
{
	const struct ph_spec *same = ph_spec_clone(child->spec);
	ph_child_in_force(hub, child, same, ph_child_next_revision(hub, child), true);
	ph_spec_free(same);
}

/* No text of it is here, and one up to that revision may be on its way, late; its entries go. */
static void remember_removed(struct ph_hub *hub, struct ph_child *child, uint64_t revision)
{
	if (child->spec || child->removed_revision >= revision)
		return;
	child->removed_revision = revision;
	if (child->wanted_revision < revision)
		child->wanted_revision = revision;
	ph_tombstone_wishes(hub, child, revision);
	struct ph_record record = {
		.kind = PH_RECORD_SPEC, .key = {.child = child->name}, .revision = revision};
	(void)ph_journal(hub, &record);
	ph_plan_soon(hub, 0);
}

/*
 * It was removed while this node was away, or cut off. Whoever owns a worker of it asks before it
 * ends a copy that may be the only one.
 */
static void take_tombstone(
	struct ph_hub *hub, struct ph_child *child, uint64_t revision, const struct ph_name *from)
{
	remember_removed(hub, child, revision);
	if (child->spec && child->spec->revision > revision)
		ph_dropped_rival(hub, child, revision, from);
	if (!child->spec || child->spec->revision > revision)
		return;
	if (child->spec->added && !child->own) { /* it goes wherever it was removed */
		(void)ph_added_remove(hub, child, false);
		return;
	}
	if (!ph_child_owned_here(hub, child)) {
		ph_child_gone(hub, &child->name, revision);
		remember_removed(hub, child, revision);
		if (child->own)
			ph_plan_soon(hub, 0); /* it begins anew, above its tombstone */
		return;
	}
	if (child->wanted_revision < revision)
		child->wanted_revision = revision;
	if (child->own) {
		ph_child_live_on(hub, child);
		return;
	}
	child->disputed = true;
	if (!child->dropped)
		ph_dropped_ask(hub, child);
}

static void take_spec(
	struct ph_hub *hub, const struct ph_spec_line *line, const struct ph_name *from)
{
	struct ph_child *child = ph_child_get(hub, &line->child);
	if (!line->text) {
		take_tombstone(hub, child, line->revision, from);
		return;
	}
	if (ph_tombstone(child) && line->revision <= child->removed_revision) {
		ph_tombstone_tell(hub, child, from);
		return;
	}
	if (!line->spec || (child->spec && child->spec->revision >= line->revision))
		return;
	ph_child_in_force(hub, child, line->spec, line->revision, true);
	if (!child->spec->local)
		ph_child_make_slots(hub, child->spec); /* so that they count against the limit */
	ph_plan_soon(hub, 0);
}

void ph_child_message(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	if (msg->kind == PH_B_SPEC_FETCH) {
		answer_fetch(hub, msg);
	} else if (msg->kind == PH_B_SPEC) {
		for (size_t i = 0; i < msg->n_specs; i++)
			take_spec(hub, &msg->specs[i], &msg->from);
	}
}

void ph_child_forget(struct ph_hub *hub, struct ph_child *child, uint64_t revision)
{
	ph_out_bury_spec(hub, child->spec);
	child->spec = NULL;
	child->wanted_revision = child->removed_revision = revision;
}

void ph_child_removed(
	struct ph_hub *hub, const struct ph_name *name, uint64_t revision, const struct ph_name *by)
{
	struct ph_child *child = ph_child_find(hub, name);
	if (child)
		take_tombstone(hub, child, revision, by);
}

uint64_t ph_child_gone(struct ph_hub *hub, const struct ph_name *name, uint64_t revision)
{
	struct ph_child *child = ph_child_find(hub, name);
	if (!child || !child->spec || child->spec->revision > revision)
		return 0;
	child->wanted_revision = child->removed_revision = child->spec->revision;
	child->dropped = child->doubted = false; /* settled: another text is another child */
	child->declarer.s[0] = '\0';
	ph_tombstone_wishes(hub, child, child->removed_revision);
	struct ph_record record = {.kind = PH_RECORD_SPEC,
		.key = {.child = child->name},
		.revision = child->spec->revision};
	ph_out_bury_spec(hub, child->spec);
	child->spec = NULL;
	return ph_journal(hub, &record); /* without a text: it is gone */
}

void ph_child_tick(struct ph_hub *hub)
{
	for (struct ph_child *child = hub->children; child; child = child->hh.next) {
		if (child->changed)
			ph_child_changed(hub, child);
		ph_dropped_look(hub, child);
	}
}
