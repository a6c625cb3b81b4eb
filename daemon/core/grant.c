/*
 * grant.c - what this node has granted, with a quorum strategy.
 *
 * A member grants (key, epoch, node) only above every epoch that it has granted or seen for the
 * key, and only if the last node that it knows as owner or grantee is that node or the one that
 * asks, or has given it up in writing, or is dead here with its fence passed. The grant is synced
 * before it is answered. A grant that nobody has taken up yet stays open; until the old owner has
 * learned of it, no echo to that owner renews its lease.
 */
#include "core/quorum.h"

#include <stdlib.h>
#include <string.h>

#define TELL_MS 1000	  /* between two reminders of open grants */
#define NEWCOMER_MS 10000 /* known for so long it has the parts of all whom it has met */

/* ---- open grants */

static void open_grant(struct ph_hub *hub, struct ph_slot *slot)
{
	if (slot->work->granted_open)
		return;
	ph_slot_work(hub, slot)->granted_open = true;
	ph_slot_list_add(&hub->grants, slot);
}

void ph_grant_restore(struct ph_hub *hub, const struct ph_record *record)
{
	struct ph_slot *slot = ph_slot_get(hub, &record->key, NULL);
	if (record->peer.s[0] || record->granted < slot->work->granted)
		return;
	ph_slot_work(hub, slot)->granted = record->granted;
	ph_slot_work(hub, slot)->granted_to = ph_node_get(hub, &record->to);
	ph_slot_work(hub, slot)->granted_by = ph_node_get(hub, &record->by);
	ph_slot_work(hub, slot)->granted_past = ph_node_get(hub, &record->past);
	ph_slot_work(hub, slot)->granted_synced = true;
	if (slot->work->granted_to->name.s[0])
		open_grant(hub, slot);
}

static void write_grant(struct ph_hub *hub, struct ph_slot *slot, uint64_t epoch,
	const struct ph_name *to, const struct ph_name *by, uint64_t *ret_ticket)
{
	bool past = ph_slot_owned(slot) && ph_fenced(hub, &slot->entry.node->name);
	ph_slot_work(hub, slot)->granted = epoch;
	ph_slot_work(hub, slot)->granted_to = ph_node_get(hub, to);
	ph_slot_work(hub, slot)->granted_by = ph_node_get(hub, by);
	ph_slot_work(hub, slot)->granted_past = past ? slot->entry.node : &hub->slots.nobody;
	ph_slot_work(hub, slot)->granted_synced = false;
	ph_slot_seen(hub, slot, epoch);
	open_grant(hub, slot);
	struct ph_record record = ph_slot_record(slot);
	*ret_ticket = ph_journal(hub, &record);
}

/* No owner is known to have taken it up. */
static bool still_open(const struct ph_slot *slot)
{
	return slot->work->granted_to->name.s[0] &&
	       (!slot->entered || slot->entry.epoch < slot->work->granted);
}

/* Whom this node holds for the last owner or grantee; NULL: nobody. */
static const struct ph_name *last_of(const struct ph_slot *slot)
{
	if (still_open(slot))
		return &slot->work->granted_to->name;
	return ph_slot_owned(slot) ? &slot->entry.node->name : NULL;
}

/* Does this node itself still want what it was granted? */
static bool in_use(const struct ph_hub *hub, const struct ph_slot *slot, uint64_t epoch)
{
	if (ph_slot_mine(hub, slot) && slot->entry.epoch >= epoch)
		return true;
	if (slot->work->claim && slot->work->claim->epoch == epoch)
		return true;
	const struct ph_target *t = slot->work->target;
	const struct ph_source *s = slot->work->source;
	bool released = t && t->state == PH_TARGET_RELEASING && t->said == PH_B_RELEASE;
	/* What a prepared copy has claimed itself, of a source held for dead, it no longer wants
	 * when its claim is gone: only the source's word activates it then. */
	bool given_up =
		t && ph_epoch_slot(epoch) == hub->set.slot && t->state < PH_TARGET_ACTIVATING;
	return slot->starting ||
	       (t && !released && !given_up && t->state != PH_TARGET_NEVER &&
		       t->state != PH_TARGET_ACTIVE) ||
	       (s && s->state >= PH_SOURCE_CLAIMING && s->state <= PH_SOURCE_FINISHING);
}

/* ---- judging */

/* A message about one key at one epoch. */
static void send_line(struct ph_hub *hub, const struct ph_name *to, enum ph_bkind kind,
	const struct ph_key *key, uint64_t epoch)
{
	struct ph_bmsg *msg = ph_send(hub, to, kind);
	struct ph_claim_line *line = ph_out_alloc(hub, sizeof *line);
	line->key = *key;
	line->epoch = epoch;
	msg->claim = ++hub->numbers;
	msg->claims = line;
	msg->n_claims = 1;
}

static void ask_grantee(struct ph_hub *hub, const struct ph_slot *slot)
{
	if (!ph_member_up(hub, &slot->work->granted_to->name))
		return;
	send_line(hub, &slot->work->granted_to->name, PH_B_GRANT_CHECK, PH_SLOT_KEY(slot),
		slot->work->granted);
}

/* Is the last one that had it out of the way? */
static bool out_of_the_way(struct ph_hub *hub, struct ph_slot *slot,
	const struct ph_claim_line *line, const struct ph_name *from)
{
	const struct ph_name *last = last_of(slot);
	if (!last || ph_name_equal(last, &line->node) || ph_name_equal(last, from))
		return true;
	/* A release in writing names an epoch, and what was granted up to it; a later grant that
	 * was given up is nobody's. */
	bool granted_above = still_open(slot) && line->seen < slot->work->granted;
	if (line->basis == PH_CLAIM_TAKEBACK && !granted_above && line->seen >= slot->entry.epoch)
		return true;
	if (ph_is_self(hub, last))
		return !in_use(hub, slot, slot->work->granted) && !ph_slot_mine(hub, slot);
	if (ph_fenced(hub, last))
		return true;
	if (still_open(slot))
		ask_grantee(hub, slot);
	return false;
}

enum ph_verdict ph_grant_judge(struct ph_hub *hub, struct ph_slot *slot,
	const struct ph_claim_line *line, const struct ph_name *from)
{
	if (!ph_quorate(hub))
		return ph_fence_left_ms(hub, &line->rests_on) ? PH_VERDICT_WAIT : PH_VERDICT_FREE;
	if (hub->forgetful || hub->stranger || !ph_lease_valid(hub))
		return PH_VERDICT_WITHHELD;
	bool again = line->epoch == slot->work->granted &&
		     ph_name_equal(&line->node, &slot->work->granted_to->name);
	if (!again && line->epoch <= slot->work->granted)
		return PH_VERDICT_LOW;
	if (line->rests_on.s[0] && !ph_fenced(hub, &line->rests_on))
		return PH_VERDICT_WITHHELD;
	if (!again && !out_of_the_way(hub, slot, line, from))
		return PH_VERDICT_WITHHELD;
	return PH_VERDICT_FREE;
}

/* It was granted before, and is synced. */
static bool stands(const struct ph_slot *slot, const struct ph_claim_line *line)
{
	return slot->work->granted == line->epoch && slot->work->granted_synced &&
	       ph_name_equal(&slot->work->granted_to->name, &line->node);
}

bool ph_grant_self(struct ph_hub *hub, struct ph_claim *claim)
{
	struct ph_slot *slot = claim->slot;
	uint64_t ticket;
	struct ph_claim_line line;
	ph_claim_put(claim, &line); /* what the others are asked, this node asks itself */
	if (!ph_quorate(hub) || !ph_quorum_has(&hub->view, &hub->set.node) ||
		ph_grant_judge(hub, slot, &line, &hub->set.node) != PH_VERDICT_FREE)
		return false; /* the others may be enough */
	if (stands(slot, &line)) {
		claim->n_granted++;
		claim->self_granted = true;
		return false;
	}
	write_grant(hub, slot, claim->epoch, &claim->node, &hub->set.node, &ticket);
	struct ph_wait *wait = ph_wait_add(hub, ticket, PH_WAIT_CLAIM);
	wait->slot = slot;
	wait->number = claim->number;
	wait->epoch = claim->epoch;
	return true;
}

/* ---- answering */

static void answer(struct ph_hub *hub, const struct ph_name *to, uint64_t number,
	const struct ph_claim_line *lines, size_t n)
{
	struct ph_bmsg *msg = ph_send(hub, to, PH_B_CLAIM_ANSWER);
	struct ph_claim_line *copy = ph_out_alloc(hub, (n + 1) * sizeof *copy);
	memcpy(copy, lines, n * sizeof *copy);
	msg->claim = number;
	msg->view = hub->view.number;
	msg->claims = copy;
	msg->n_claims = n;
}

void ph_grant_answer(struct ph_hub *hub, const struct ph_name *to, uint64_t number,
	const struct ph_claim_line *lines, size_t n)
{
	uint64_t ticket = 0;
	for (size_t i = 0; ph_quorate(hub) && i < n; i++) {
		struct ph_slot *slot = ph_slot_get(hub, &lines[i].key, NULL);
		if (lines[i].verdict == PH_VERDICT_FREE && !stands(slot, &lines[i]))
			write_grant(hub, slot, lines[i].epoch, &lines[i].node, to, &ticket);
	}
	if (!ticket) {
		answer(hub, to, number, lines, n);
		return;
	}
	/* The journal keeps the order: with the last of them all are synced. */
	struct ph_wait *wait = ph_wait_add(hub, ticket, PH_WAIT_GRANT);
	wait->to = *to;
	wait->number = number;
	wait->n_lines = n;
	wait->lines = ph_must(malloc((n + 1) * sizeof *lines));
	memcpy(wait->lines, lines, n * sizeof *lines);
}

static void synced(struct ph_hub *hub, struct ph_slot *slot, uint64_t epoch)
{
	if (slot->work->granted == epoch)
		ph_slot_work(hub, slot)->granted_synced = true;
}

void ph_grant_synced(struct ph_hub *hub, struct ph_wait *wait, bool ok)
{
	struct ph_claim *claim = wait->slot ? wait->slot->work->claim : NULL;
	for (size_t i = 0; ok && i < wait->n_lines; i++)
		synced(hub, ph_slot_get(hub, &wait->lines[i].key, NULL), wait->lines[i].epoch);
	if (wait->kind == PH_WAIT_CLAIM && ok)
		synced(hub, wait->slot, wait->epoch);
	if (wait->kind == PH_WAIT_GRANT && ok)
		answer(hub, &wait->to, wait->number, wait->lines, wait->n_lines);
	free(wait->lines);
	if (wait->kind != PH_WAIT_CLAIM || !ok || !claim || claim->number != wait->number)
		return;
	if (!claim->self_granted)
		claim->n_granted++;
	claim->self_granted = true;
	ph_claim_answered(hub, claim, 0);
}

/* ---- giving up, and whether somebody has */

static void forget_grant(struct ph_hub *hub, struct ph_slot *slot)
{
	ph_slot_work(hub, slot)->granted_to = &hub->slots.nobody;
	ph_slot_work(hub, slot)->granted_past = &hub->slots.nobody;
	struct ph_record record = ph_slot_record(slot);
	(void)ph_journal(hub, &record);
}

void ph_grant_given_up(struct ph_hub *hub, const struct ph_claim *claim)
{
	struct ph_slot *slot = claim->slot;
	if (!ph_quorate(hub))
		return;
	if (slot->work->granted == claim->epoch && ph_is_self(hub, &slot->work->granted_by->name))
		forget_grant(hub, slot);
	for (struct ph_member *m = hub->members; m; m = m->hh.next) {
		if (ph_member_live(m) && ph_quorum_has(&hub->view, &m->info.name))
			send_line(
				hub, &m->info.name, PH_B_UNCLAIM, PH_SLOT_KEY(slot), claim->epoch);
	}
}

static void on_check(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	for (size_t i = 0; i < msg->n_claims; i++) {
		const struct ph_claim_line *asked = &msg->claims[i];
		const struct ph_slot *slot = ph_slot_find(hub, &asked->key, NULL);
		if ((slot && in_use(hub, slot, asked->epoch)) ||
			hub->self_state != PH_MEMBER_ALIVE || hub->away)
			continue;
		send_line(hub, &msg->from, PH_B_UNCLAIM, &asked->key, asked->epoch);
	}
}

static void on_unclaim(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	for (size_t i = 0; i < msg->n_claims; i++) {
		struct ph_slot *slot = ph_slot_find(hub, &msg->claims[i].key, NULL);
		if (slot && slot->work->granted == msg->claims[i].epoch &&
			slot->work->granted_to->name.s[0] &&
			(ph_name_equal(&msg->from, &slot->work->granted_to->name) ||
				ph_name_equal(&msg->from, &slot->work->granted_by->name)))
			forget_grant(hub, slot);
	}
}

/* ---- an owner that was held for dead, and lives */

/* The owner that a grant went past, as long as it does not know of it; NULL: none. */
static struct ph_member *passed_over(const struct ph_hub *hub, const struct ph_slot *slot)
{
	if (!slot->work->granted_to->name.s[0] || !ph_slot_owned(slot) ||
		slot->entry.epoch >= slot->work->granted ||
		!ph_name_equal(&slot->entry.node->name, &slot->work->granted_past->name))
		return NULL;
	return ph_member_find(hub, &slot->entry.node->name);
}

static void remind(
	struct ph_hub *hub, const struct ph_member *m, struct ph_slot *const *slots, size_t n)
{
	struct ph_bmsg *msg = NULL;
	struct ph_claim_line *lines = NULL;
	for (size_t i = 0; i < n; i++) {
		if (passed_over(hub, slots[i]) != m)
			continue;
		if (!msg || msg->n_claims == PH_LIST_MAX) {
			msg = ph_send(hub, &m->info.name, PH_B_GRANTED);
			lines = ph_out_alloc(hub, PH_LIST_MAX * sizeof *lines);
			msg->claim = ++hub->numbers;
			msg->claims = lines;
		}
		struct ph_claim_line *line = &lines[msg->n_claims++];
		line->key = ph_slot_key(slots[i]);
		line->epoch = slots[i]->work->granted;
		line->node = slots[i]->work->granted_to->name;
	}
}

static void fetch_grants(struct ph_hub *hub)
{
	bool all = hub->view.number != 0;
	for (size_t i = 0; i < hub->view.n; i++) {
		struct ph_member *m = ph_member_find(hub, &hub->view.voters[i].name);
		/* Of what a forgotten one granted, the grantee itself knows, if it is not that one.
		 */
		if (ph_is_self(hub, &hub->view.voters[i].name) || (m && m->grants_known) ||
			ph_forgotten(hub, &hub->view.voters[i].name))
			continue;
		all = false;
		if (!m || !ph_member_live(m))
			continue;
		ph_send(hub, &m->info.name, PH_B_GRANTS_FETCH)->view = hub->view.number + 1;
	}
	if (all) /* those without a name have not voted yet */
		hub->forgetful = false;
}

/* Out of the list go those that an owner has taken up, or that were given up; the others' number.
 */
static size_t drop_closed(struct ph_hub *hub)
{
	struct ph_slot_list *list = &hub->grants;
	size_t n = 0;
	for (size_t i = 0; i < list->n; i++) {
		struct ph_slot *slot = ph_slot_at(hub, list->nos[i]);
		if (still_open(slot))
			list->nos[n++] = slot->no;
		else
			ph_slot_work(hub, slot)->granted_open = false;
	}
	return list->n = n;
}

/*
 * What was granted past an owner that lives is taken up, or given up: the one it was granted to
 * says so, who may have done that long ago, unheard. Otherwise that owner would have no lease ever
 * again.
 */
static void ask_grantees(struct ph_hub *hub, struct ph_slot *const *open, size_t n)
{
	size_t asked = 0;
	for (size_t i = 0; i < n && asked < PH_LIST_MAX; i++) {
		struct ph_slot *slot = open[i];
		const struct ph_member *m = passed_over(hub, slot);
		if (!m || !ph_member_live(m))
			continue;
		asked++;
		if (!ph_is_self(hub, &slot->work->granted_to->name))
			ask_grantee(hub, slot);
		else if (!in_use(hub, slot, slot->work->granted))
			forget_grant(hub, slot);
	}
}

/* Whom an echo renews no lease, and what was granted past them: the newest first. */
static struct ph_slot **mark(struct ph_hub *hub, size_t *ret_n)
{
	for (struct ph_member *m = hub->members; m; m = m->hh.next)
		m->withheld = false;
	size_t n = drop_closed(hub);
	struct ph_slot **open = ph_out_alloc(hub, (n + 1) * sizeof(struct ph_slot *));
	for (size_t i = 0; i < n; i++) {
		open[i] = ph_slot_at(hub, hub->grants.nos[n - 1 - i]); /* the newest first */
		struct ph_member *m = passed_over(hub, open[i]);
		if (m)
			m->withheld = true;
	}
	*ret_n = n;
	return open;
}

void ph_grant_mark(struct ph_hub *hub)
{
	size_t n;
	(void)mark(hub, &n);
}

void ph_grant_beat(struct ph_hub *hub)
{
	size_t n;
	struct ph_slot **open = mark(hub, &n);
	if (hub->forgetful)
		fetch_grants(hub);
	if (hub->now_ms < hub->reminded_ms + TELL_MS)
		return;
	hub->reminded_ms = hub->now_ms;
	for (struct ph_member *m = hub->members; m; m = m->hh.next)
		if (m->withheld && ph_member_live(m))
			remind(hub, m, open, n);
	ask_grantees(hub, open, n);
}

/* Others may run it by now: this node's worker ends, and its entry says that it is free. */
static void on_granted(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	for (size_t i = 0; i < msg->n_claims; i++) {
		const struct ph_claim_line *line = &msg->claims[i];
		struct ph_slot *slot = ph_slot_find(hub, &line->key, NULL);
		if (!slot || !ph_slot_mine(hub, slot) || slot->entry.epoch >= line->epoch ||
			slot->work->source)
			continue;
		ph_slot_seen(hub, slot, line->epoch);
		struct ph_instance *instance = slot->work->instance;
		if (!instance) {
			ph_slot_release(hub, slot);
			continue;
		}
		instance->after = PH_AFTER_DISCARD;
		if (instance->state < PH_INSTANCE_STOPPING || instance->state > PH_INSTANCE_REAPING)
			ph_instance_step(hub, instance, PH_INSTANCE_IN_STOP);
	}
}

/* ---- what others granted, for one that has lost its journal */

static void tell_grants(struct ph_hub *hub, const struct ph_name *to)
{
	struct ph_slot *slot = ph_slot_first(hub);
	bool more = true;
	if (hub->forgetful)
		return;
	for (uint64_t piece = 1; more; piece++) {
		struct ph_bmsg *msg = ph_send(hub, to, PH_B_GRANTS);
		msg->sequence = piece;
		struct ph_claim_line *lines = ph_out_alloc(hub, PH_LIST_MAX * sizeof *lines);
		msg->claim = ++hub->numbers;
		msg->claims = lines;
		for (; slot && msg->n_claims < PH_LIST_MAX; slot = ph_slot_next(hub, slot)) {
			if (slot->local || !slot->seen)
				continue;
			struct ph_claim_line *line = &lines[msg->n_claims++];
			line->key = ph_slot_key(slot);
			line->seen = slot->seen;
			line->epoch = still_open(slot) ? slot->work->granted : 0;
			line->node = slot->work->granted_to->name;
		}
		more = slot != NULL;
		msg->last = !more;
		msg->until = hub->vote_view;
		msg->ballot = hub->promised;
		msg->accepted = hub->accepted;
		msg->value = ph_out_text(hub, hub->accepted_value);
	}
}

/*
 * Since when nobody who is there names that epoch in its part of the registry: whoever came before
 * has heard of it. PH_NEVER_MS: somebody does; 0: nobody ever did, as far as is known here.
 */
static uint64_t unnamed_since(const struct ph_hub *hub, const struct ph_slot *slot)
{
	const struct ph_member *m = slot->entry.node->member;
	if (slot->local || !slot->seen)
		return PH_NEVER_MS;
	if (!slot->entered || slot->entry.epoch < slot->seen)
		return 0;
	if (slot->entry.node == hub->slots.self)
		return hub->now_ms;
	return !m ? 0 : ph_member_live(m) ? PH_NEVER_MS : m->since_ms;
}

static void bequeath_to(struct ph_hub *hub, const struct ph_member *m)
{
	struct ph_bmsg *msg = NULL;
	struct ph_claim_line *lines = NULL;
	for (struct ph_slot *slot = ph_slot_first(hub); slot; slot = ph_slot_next(hub, slot)) {
		if (m->first_ms + NEWCOMER_MS < unnamed_since(hub, slot))
			continue;
		if (!msg || msg->n_claims == PH_LIST_MAX) {
			msg = ph_send(hub, &m->info.name, PH_B_GRANTS);
			msg->claim = ++hub->numbers;
			msg->claims = lines = ph_out_alloc(hub, PH_LIST_MAX * sizeof *lines);
		}
		struct ph_claim_line *line = &lines[msg->n_claims++];
		line->key = ph_slot_key(slot);
		line->seen = slot->seen;
	}
}

void ph_grant_bequeath(struct ph_hub *hub)
{
	for (const struct ph_member *m = hub->members; m; m = m->hh.next)
		if (ph_member_live(m))
			bequeath_to(hub, m);
}

static void on_grants(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	struct ph_member *m = ph_member_find(hub, &msg->from);
	for (size_t i = 0; i < msg->n_claims; i++) {
		const struct ph_claim_line *line = &msg->claims[i];
		struct ph_slot *slot = ph_slot_get(hub, &line->key, NULL);
		ph_slot_seen(hub, slot, line->seen);
		if (line->epoch <= slot->work->granted || !ph_quorate(hub))
			continue;
		ph_slot_work(hub, slot)->granted = line->epoch;
		ph_slot_work(hub, slot)->granted_to = ph_node_get(hub, &line->node);
		ph_slot_work(hub, slot)->granted_by = ph_node_get(hub, &msg->from);
		ph_slot_work(hub, slot)->granted_synced = false;
		open_grant(hub, slot);
	}
	if (!m || !hub->forgetful)
		return;
	if (msg->sequence == 1)
		m->grants_next = 1;
	if (msg->sequence != m->grants_next)
		return; /* a piece is missing: all of it is asked for again */
	m->grants_next++;
	if (msg->last) {
		m->grants_known = true;
		ph_ballot_learn(hub, msg);
	}
}

static void on_fetch(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	tell_grants(hub, &msg->from);
	ph_forget_tell(hub, &msg->from); /* it waits for nobody who is not to be waited for */
}

void ph_grant_message(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	static void (*const routes[PH_BKIND_COUNT])(struct ph_hub *, const struct ph_bmsg *) = {
		[PH_B_GRANT_CHECK] = on_check,
		[PH_B_UNCLAIM] = on_unclaim,
		[PH_B_GRANTED] = on_granted,
		[PH_B_GRANTS_FETCH] = on_fetch,
		[PH_B_GRANTS] = on_grants,
	};
	bool all = msg->kind == PH_B_GRANTS; /* of one that leaves */
	if ((ph_quorate(hub) || all) && routes[msg->kind])
		routes[msg->kind](hub, msg);
}
