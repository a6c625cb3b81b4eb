/*
 * claim.c - the one way to become an owner without being given the child: asking.
 *
 * A claim asks every live member what it knows of a key: the highest epoch, an active owner, a
 * prepared copy, a `void`. It is granted when all have answered and none objects; a silent one
 * delays it by at most failure_timeout. Under `divergence` these answers are all there is; the
 * grants of the quorum strategies take the same two messages. This is the side that asks; what is
 * answered is claim_asked.c's business.
 */
#include "core/heal.h"
#include "core/source.h"

#include <stdlib.h>
#include <string.h>

#define ASK_AGAIN_MS 150 /* a member that has not answered is asked again: within any budget */

/* The node by whose death alone the claim can be granted, or nobody. */
static struct ph_name rests_on(const struct ph_hub *hub, const struct ph_claim *claim)
{
	const struct ph_slot *slot = claim->slot;
	struct ph_name nobody = {""};
	switch (claim->basis) {
	case PH_CLAIM_COLD:
		return ph_slot_owned(slot) && !ph_is_self(hub, &slot->entry.node->name)
			       ? slot->entry.node->name
			       : nobody;
	case PH_CLAIM_TAKEOVER:
		return slot->work->target ? slot->work->target->peer : nobody;
	case PH_CLAIM_TAKEBACK:
		return slot->work->source && !slot->work->source->given_back &&
				       !ph_member_up(hub, &slot->work->source->peer)
			       ? slot->work->source->peer
			       : nobody;
	case PH_CLAIM_COMMIT:
	case PH_CLAIM_HEAL:
	case PH_CLAIM_BASIS_COUNT:
		break;
	}
	return nobody;
}

struct ph_claim *ph_claim_start(struct ph_hub *hub, struct ph_slot *slot, enum ph_claim_basis basis,
	const struct ph_name *node, const struct ph_id *id, uint64_t epoch)
{
	if (slot->work->claim)
		ph_claim_drop(hub, slot->work->claim);
	struct ph_claim *claim = ph_must(calloc(1, sizeof *claim));
	claim->slot = slot;
	claim->basis = basis;
	claim->node = *node;
	if (id)
		claim->id = *id;
	uint64_t least = ph_next_epoch(hub, slot);
	claim->epoch = epoch > least ? epoch : least;
	claim->rests_on = rests_on(hub, claim);
	claim->started_ms = hub->now_ms;
	claim->timer.kind = PH_TIMER_CLAIM;
	claim->timer.owner = claim;
	ph_slot_work(hub, slot)->claim = claim;
	DL_APPEND(hub->claims, claim);
	hub->n_unasked++;
	return claim;
}

static void drop(struct ph_hub *hub, struct ph_claim *claim)
{
	ph_timer_set(hub, &claim->timer, PH_NEVER_MS);
	DL_DELETE(hub->claims, claim);
	hub->n_unasked -= !claim->number;
	ph_slot_work(hub, claim->slot)->claim = NULL;
	if (claim->wait)
		ph_out_bury(hub, claim->wait);
	ph_out_bury(hub, claim);
}

void ph_claim_drop(struct ph_hub *hub, struct ph_claim *claim)
{
	ph_grant_given_up(hub, claim);
	drop(hub, claim);
}

/* Is what the claim rests on still so? */
static bool basis_holds(struct ph_hub *hub, const struct ph_claim *claim)
{
	const struct ph_slot *slot = claim->slot;
	if (claim->basis == PH_CLAIM_COLD && ph_tombstone(slot->child))
		return false; /* it was removed meanwhile, and what is left of it goes */
	if (claim->basis == PH_CLAIM_COLD)
		return !ph_slot_owned(slot) || ph_is_self(hub, &slot->entry.node->name) ||
		       !ph_member_up(hub, &slot->entry.node->name);
	if (claim->basis == PH_CLAIM_TAKEOVER)
		return slot->work->target && slot->work->target->a_dead;
	if (claim->basis == PH_CLAIM_HEAL)
		return ph_heal_live(hub, slot) && (!slot->work->source || ph_heal_takes_back(slot));
	return true;
}

/* ---- whose answer is missing ---- */

static bool waits_for(const struct ph_claim *claim, uint32_t no)
{
	return no / 64 < claim->wait_words && (claim->wait[no / 64] >> no % 64 & 1);
}

static void wait_for(struct ph_claim *claim, uint32_t no)
{
	claim->wait[no / 64] |= UINT64_C(1) << no % 64;
	claim->n_wait++;
}

static void wait_for_nobody(struct ph_claim *claim)
{
	if (claim->wait)
		memset(claim->wait, 0, claim->wait_words * sizeof *claim->wait);
	claim->n_wait = 0;
}

static void set_number(struct ph_hub *hub, struct ph_claim *claim, uint64_t number)
{
	hub->n_unasked -= !claim->number;
	hub->n_unasked += !number;
	claim->number = number;
}

static void ask_again(struct ph_hub *hub, struct ph_claim *claim, uint64_t after_ms)
{
	set_number(hub, claim, 0);
	wait_for_nobody(claim);
	claim->again_ms = hub->now_ms + after_ms;
	ph_timer_set(hub, &claim->timer, claim->again_ms);
}

static bool quorum_granted(const struct ph_hub *hub, const struct ph_claim *claim)
{
	return !ph_quorate(hub) || (ph_lease_valid(hub) && hub->view.number &&
					   claim->n_granted >= ph_quorum_of(hub, hub->view.size));
}

/*
 * A frozen worker waits for these. Back to it: nobody can have become the owner instead, as no
 * commit was ever written, and who is silent knows nothing that speaks against going on as before
 * the migration. On to B, with a quorum: whoever could have become the owner instead has asked some
 * of those who have granted this.
 */
static uint64_t patience_ms(const struct ph_hub *hub, const struct ph_claim *claim)
{
	const struct ph_source *s = claim->slot->work->source;
	bool back = claim->basis == PH_CLAIM_TAKEBACK && s && s->old && s->uncommitted;
	bool on = claim->basis == PH_CLAIM_COMMIT && s && s->old && ph_quorate(hub);
	return back || on ? ph_source_abort_wait(s) : hub->set.failure_timeout_ms;
}

/* One without which it is not decided: this node itself, and the one that is to have the child. */
static bool needed(const struct ph_hub *hub, const struct ph_claim *claim)
{
	const struct ph_member *to = ph_member_find(hub, &claim->node);
	return waits_for(claim, 0) || (to && waits_for(claim, to->no));
}

/* Silent for so long: they no longer delay it. */
static bool waited_enough(const struct ph_hub *hub, const struct ph_claim *claim)
{
	if (hub->now_ms >= claim->asked_ms + hub->set.failure_timeout_ms)
		return true;
	return hub->now_ms >= claim->asked_ms + patience_ms(hub, claim) && !needed(hub, claim) &&
	       quorum_granted(hub, claim);
}

static void decide(struct ph_hub *hub, struct ph_claim *claim, bool granted)
{
	struct ph_slot *slot = claim->slot;
	enum ph_claim_basis basis = claim->basis;
	uint64_t epoch = claim->epoch;
	struct ph_past past = claim->past;
	if (granted && claim->arrivals != hub->arrivals) {
		ask_again(hub, claim, 0); /* somebody came meanwhile who may know better */
		return;
	}
	granted = granted && basis_holds(hub, claim);
	if (granted && !quorum_granted(hub, claim)) {
		ask_again(hub, claim, basis == PH_CLAIM_COMMIT ? ASK_AGAIN_MS : PH_CLAIM_WAIT_MS);
		return;
	}
	if (granted)
		drop(hub, claim);
	else
		ph_claim_drop(hub, claim);
	if (granted)
		ph_slot_seen(hub, slot, epoch);
	if (basis == PH_CLAIM_COLD) {
		if (granted)
			ph_own_start(hub, slot, epoch, PH_LINEAGE_COLD, &past);
		else
			ph_plan_soon(hub, PH_CLAIM_WAIT_MS);
		return;
	}
	if (basis == PH_CLAIM_HEAL && !ph_heal_takes_back(slot)) {
		if (granted)
			ph_heal_granted(hub, slot, epoch);
		return; /* refused: what is better goes on, or its word is heard again */
	}
	if (basis == PH_CLAIM_TAKEOVER) {
		if (!slot->work->target)
			return;
		slot->work->target->new_epoch = granted ? epoch : slot->work->target->new_epoch;
		ph_target_step(hub, slot->work->target,
			granted ? PH_TARGET_IN_GRANTED : PH_TARGET_IN_DENIED);
	} else if (slot->work->source) {
		slot->work->source->new_epoch = granted ? epoch : slot->work->source->new_epoch;
		ph_source_step(hub, slot->work->source,
			granted ? PH_SOURCE_IN_GRANTED : PH_SOURCE_IN_DENIED);
	}
}

static void await(struct ph_hub *hub, struct ph_claim *claim)
{
	claim->wait_words = hub->last_no / 64 + 1;
	claim->wait = ph_must(realloc(claim->wait, claim->wait_words * sizeof *claim->wait));
	wait_for_nobody(claim);
	claim->n_granted = 0;
	claim->self_granted = false;
	for (struct ph_member *m = hub->members; m; m = m->hh.next) {
		if (!ph_member_live(m))
			continue;
		/* B has said what it knows in PREPARED. */
		if (claim->basis == PH_CLAIM_COMMIT && !ph_quorate(hub) &&
			ph_name_equal(&m->info.name, &claim->node))
			continue;
		wait_for(claim, m->no);
	}
}

/* ---- asking ---- */

/* Base epoch of a takeover or take-back: what the asked one must know nothing above of. */
static uint64_t base_epoch(const struct ph_claim *claim)
{
	if (claim->basis == PH_CLAIM_TAKEOVER && claim->slot->work->target)
		return claim->slot->work->target->epoch;
	const struct ph_source *s = claim->slot->work->source;
	if (s) /* a release names an epoch, and releases that one too */
		return s->given_back ? s->new_epoch : s->epoch;
	return 0;
}

void ph_claim_put(const struct ph_claim *claim, struct ph_claim_line *line)
{
	*line = (struct ph_claim_line){.key = ph_slot_key(claim->slot),
		.epoch = claim->epoch,
		.basis = claim->basis,
		.node = claim->node,
		.id = claim->id,
		.rests_on = claim->rests_on,
		.seen = base_epoch(claim)};
	if (claim->basis == PH_CLAIM_HEAL)
		ph_heal_put(claim->slot, line);
}

/* The claims of a batch that wait for one member, and the messages that ask them. */
struct batch {
	const struct ph_claim **claims, **before; /* before: of the member before this one */
	size_t n, n_before, n_messages;
	struct ph_bmsg **messages;
};

static void put_messages(struct ph_hub *hub, struct batch *batch, const struct ph_name *to)
{
	struct ph_bmsg *msg = NULL;
	struct ph_claim_line *lines = NULL;
	batch->n_messages = 0;
	for (size_t i = 0; i < batch->n; i++) {
		if (!msg) {
			msg = ph_send(hub, to, PH_B_CLAIM);
			lines = ph_out_alloc(hub, PH_LIST_MAX * sizeof *lines);
			msg->claims = lines;
			msg->claim = batch->claims[i]->number;
			msg->view = hub->view.number;
			batch->messages[batch->n_messages++] = msg;
		}
		ph_claim_put(batch->claims[i], &lines[msg->n_claims++]);
		if (msg->n_claims == PH_LIST_MAX)
			msg = NULL;
	}
}

/* All wait for nearly all: what the one before this was asked is mostly what this one is asked. */
static void ask(
	struct ph_hub *hub, struct batch *batch, const struct ph_member *to, uint64_t number)
{
	batch->n = 0;
	for (const struct ph_claim *claim = hub->claims; claim; claim = claim->next)
		if (claim->number == number && waits_for(claim, to->no))
			batch->claims[batch->n++] = claim;
	bool same = batch->n == batch->n_before;
	for (size_t i = 0; same && i < batch->n; i++)
		same = batch->claims[i] == batch->before[i];
	if (!same) {
		put_messages(hub, batch, &to->info.name);
		const struct ph_claim **claims = batch->before;
		batch->before = batch->claims;
		batch->n_before = batch->n;
		batch->claims = claims;
		return;
	}
	for (size_t i = 0; i < batch->n_messages; i++)
		ph_send_also(hub, &to->info.name, batch->messages[i]);
}

/* Whoever the claims of this batch wait for. */
static void ask_all(struct ph_hub *hub, uint64_t number)
{
	size_t n = 0;
	const struct ph_claim *claim;
	DL_FOREACH (hub->claims, claim)
		n++;
	struct batch batch = {.claims = ph_out_alloc(hub, (n + 1) * sizeof(void *)),
		.before = ph_out_alloc(hub, (n + 1) * sizeof(void *)),
		.messages = ph_out_alloc(hub, (n / PH_LIST_MAX + 1) * sizeof(void *))};
	for (const struct ph_member *m = hub->members; m; m = m->hh.next)
		ask(hub, &batch, m, number);
}

static void begin(struct ph_hub *hub, struct ph_claim *claim, uint64_t number)
{
	set_number(hub, claim, number);
	claim->asked_ms = hub->now_ms;
	claim->arrivals = hub->arrivals;
	ph_slot_seen(hub, claim->slot, claim->epoch);
	claim->rests_on = rests_on(hub, claim);
	await(hub, claim);
	if (ph_grant_self(hub, claim))
		wait_for(claim, 0);
	uint64_t first_ms = patience_ms(hub, claim);
	ph_timer_set(hub, &claim->timer,
		hub->now_ms + (first_ms < ASK_AGAIN_MS ? first_ms : ASK_AGAIN_MS));
}

void ph_claim_run(struct ph_hub *hub)
{
	uint64_t number = 0;
	struct ph_claim *claim, *next;
	if (hub->self_state != PH_MEMBER_ALIVE || hub->away || !ph_lease_valid(hub))
		return;	     /* those who are to be asked are not all known yet */
	if (!hub->n_unasked) /* as in each step while answers come, by the thousand */
		return;
	DL_FOREACH (hub->claims, claim) {
		if (claim->number || claim->again_ms > hub->now_ms)
			continue;
		/* With a quorum it is known to who grants. */
		uint64_t fence_ms = ph_fence_left_ms(hub, &claim->rests_on);
		if (fence_ms && !ph_quorate(hub)) {
			ask_again(hub, claim, fence_ms);
			continue;
		}
		if (!number)
			number = ++hub->numbers;
		begin(hub, claim, number);
	}
	if (!number)
		return;
	ask_all(hub, number);
	DL_FOREACH_SAFE(hub->claims, claim, next)
	if (claim->number == number && claim->n_wait == 0)
		decide(hub, claim, true);
}

void ph_claim_answered(struct ph_hub *hub, struct ph_claim *claim, uint32_t no)
{
	if (waits_for(claim, no)) {
		claim->wait[no / 64] &= ~(UINT64_C(1) << no % 64);
		claim->n_wait--;
	}
	if (claim->number && (claim->n_wait == 0 || waited_enough(hub, claim)))
		decide(hub, claim, true);
}

void ph_claim_member_gone(struct ph_hub *hub, const struct ph_member *member)
{
	struct ph_claim *claim, *next;
	DL_FOREACH_SAFE(hub->claims, claim, next)
	if (waits_for(claim, member->no))
		ph_claim_answered(hub, claim, member->no);
}

/* Nobody was silent while this node could not hear: their time begins anew, less what it was. */
void ph_claims_forgive(struct ph_hub *hub, uint64_t ms)
{
	struct ph_claim *claim;
	DL_FOREACH (hub->claims, claim)
		claim->asked_ms = min_ms(claim->asked_ms + ms, hub->now_ms);
}

void ph_claim_deadline(struct ph_hub *hub, struct ph_claim *claim)
{
	if (!claim->number) /* it was to be asked again later */
		return;
	if (waited_enough(hub, claim)) {
		wait_for_nobody(claim);
		decide(hub, claim, true);
		return;
	}
	ph_timer_set(hub, &claim->timer, hub->now_ms + ASK_AGAIN_MS);
	if (hub->asked_again == claim->number && hub->asked_again_ms == hub->now_ms)
		return; /* with another one of its batch */
	hub->asked_again = claim->number;
	hub->asked_again_ms = hub->now_ms;
	ask_all(hub, claim->number);
}

/* Without an owner: who was told so, or had it last, and may not have said so to all yet. */
static bool may_wish(const struct ph_slot *slot, const struct ph_member *from)
{
	return !slot->entered || (ph_slot_released(slot) && slot->entry.node == from->node);
}

static void on_answer(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	const struct ph_member *from = ph_member_find(hub, &msg->from);
	bool voter =
		ph_quorum_same(hub, &msg->from, msg->view) && ph_quorum_has(&hub->view, &msg->from);
	for (size_t i = 0; from && i < msg->n_claims; i++) {
		const struct ph_claim_line *line = &msg->claims[i];
		struct ph_slot *slot = ph_slot_find(hub, &line->key, NULL);
		struct ph_claim *claim = slot ? slot->work->claim : NULL;
		if (!claim || claim->number != msg->claim || !waits_for(claim, from->no))
			continue;
		if (line->stopped_by_wish && may_wish(slot, from))
			slot->wish_stopped = true;
		ph_past_join(&claim->past, &line->past);
		if (line->verdict == PH_VERDICT_WITHHELD ||
			(line->verdict == PH_VERDICT_FREE && ph_quorate(hub))) {
			claim->n_granted += line->verdict == PH_VERDICT_FREE && voter;
			ph_claim_answered(hub, claim, from->no);
		} else if (line->verdict == PH_VERDICT_LOW) {
			ph_slot_seen(hub, slot, line->seen);
			claim->epoch = ph_next_epoch(hub, slot);
			ask_again(hub, claim, 0);
		} else if (line->verdict == PH_VERDICT_WAIT && claim->basis != PH_CLAIM_COLD) {
			ask_again(hub, claim, PH_CLAIM_WAIT_MS);
		} else if (line->verdict == PH_VERDICT_OWNED && ph_heal_instead(hub, claim, line)) {
			ask_again(hub, claim, 0);
		} else if (line->verdict != PH_VERDICT_FREE) {
			ph_slot_seen(hub, slot, line->seen);
			/* O is stale: whom lookups are to name is in the answer. */
			if (line->verdict == PH_VERDICT_OWNED && slot->work->source &&
				claim->basis != PH_CLAIM_COMMIT && /* a TAKEBACK follows */
				line->epoch > slot->entry.epoch)
				ph_slot_give(hub, slot, &line->node, line->epoch,
					ph_source_born(hub, slot->work->source));
			/* It lives, and has not heard of who died as owner at a higher epoch. */
			if (line->verdict == PH_VERDICT_OWNED && slot->entered &&
				line->epoch < slot->entry.epoch)
				ph_registry_tell(hub, slot, &line->node);
			decide(hub, claim, false);
		} else {
			ph_claim_answered(hub, claim, from->no);
		}
	}
}

void ph_claim_message(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	if (msg->kind == PH_B_CLAIM)
		ph_claim_asked(hub, msg);
	else
		on_answer(hub, msg);
}
