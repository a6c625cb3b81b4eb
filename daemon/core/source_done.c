/*
 * source_done.c - a migration as its source sees it: B has the child, and O goes.
 *
 * O redirects until its retention is over and all live members look elsewhere. While N as far as is
 * known was never ready B may still give the child back, and O goes on, by a claim.
 */
#include "core/source.h"
#include "core/swap.h"

/*
 * O is told `committed` once N is ready: until then it may have to go on, and it can name N's
 * address. An N that gets ready neither ends nor is ended by its daemon for longer than this
 * beyond its start_timeout: then nothing is heard of it.
 */
#define TELL_SLACK_MS 5000

enum ph_source_state ph_source_active(struct ph_hub *hub, struct ph_source *s)
{
	if (s->slot->work->claim)
		ph_claim_drop(hub, s->slot->work->claim);
	ph_source_cut_stream(hub, s);
	if (!s->peer.s[0] && s->slot->entered) /* the record that named it is lost */
		s->peer = s->info.to = s->slot->entry.node->name;
	s->said = PH_B_NONE;
	s->resend_ms = PH_NEVER_MS;
	if (s->frozen_at_ms && !s->info.has_downtime) {
		s->info.has_downtime = true;
		s->info.downtime_us = (hub->now_ms - s->frozen_at_ms) * 1000;
	}
	s->info.reason[0] = '\0';
	s->elsewhere = !s->peer_active;
	s->taken_over = s->peer_active && ph_epoch_slot(s->new_epoch) != hub->set.slot;
	ph_source_write(hub, s, PH_RECORD_DONE);
	return PH_SOURCE_FINISHING;
}

/* Somebody else owns the child, and the members know it: O is stale. */
enum ph_source_state ph_source_overtaken(struct ph_hub *hub, struct ph_source *s)
{
	s->served = true;
	return ph_source_active(hub, s);
}

static enum ph_source_state old_gone(struct ph_hub *hub, struct ph_source *s)
{
	if (s->elsewhere) { /* it went another way, and B may still wait for the rest */
		ph_source_blame(s, "another node owns the child");
		enum ph_source_state ended = ph_source_finish(hub, s, PH_RESULT_ABORTED);
		ph_source_close_with(hub, s, s->peer.s[0] ? PH_B_ABORT : PH_B_NONE);
		return ended;
	}
	if (s->taken_over)
		ph_source_blame(s, "this node was held for dead");
	enum ph_source_state next =
		ph_source_finish(hub, s, s->taken_over ? PH_RESULT_SOURCE_DEAD : PH_RESULT_DONE);
	ph_source_close_with(hub, s, PH_B_FORGET);
	return next;
}

/* Is O there, not told that it is over, and N as far as this node knows never ready? */
static bool may_go_on(const struct ph_source *s)
{
	return !s->served && s->told != PH_W_COMMITTED && s->old &&
	       s->old->state != PH_INSTANCE_RETIRED && ph_instance_has_process(s->old);
}

/*
 * B gives the child back: as far as it knows N died before it acknowledged anything. A member that
 * knows better objects to the claim.
 */
enum ph_source_state ph_source_released(struct ph_hub *hub, struct ph_source *s)
{
	if (!may_go_on(s)) {
		ph_source_answer_release(hub, s, false);
		return s->state;
	}
	s->back = s->reclaim = s->given_back = true;
	ph_source_blame(s, "the new worker ended before it was ready");
	ph_slot_work(hub, s->slot)->instance = s->old;
	return ph_source_resume(hub, s);
}

/* ... before it was heard that B was active: declined, it owns the child all the same. */
enum ph_source_state ph_source_released_early(struct ph_hub *hub, struct ph_source *s)
{
	enum ph_source_state next = ph_source_released(hub, s);
	if (next != PH_SOURCE_COMMITTED)
		return next;
	s->peer_active = true;
	return ph_source_active(hub, s);
}

/*
 * B has died with an N that nobody has seen ready: what O has is the newest there is. Else O is
 * stale, and there is nobody to send its clients to: the child is claimed as after any death.
 */
enum ph_source_state ph_source_peer_died_late(struct ph_hub *hub, struct ph_source *s)
{
	if (!may_go_on(s)) {
		s->handled = s->served = true;
		s->tell_by_ms = hub->now_ms; /* nothing will be heard of N any more */
		return ph_source_stop_if(hub, s);
	}
	s->peer_dead = true;
	return ph_source_released(hub, s);
}

/* Whoever stands in the registry may have a copy of its own, which is another one. */
uint64_t ph_source_born(const struct ph_hub *hub, const struct ph_source *s)
{
	const struct ph_slot *slot = s->slot;
	if (s->old)
		return s->old->born_ms;
	return s->born_ms || !ph_slot_mine(hub, slot) ? s->born_ms : slot->entry.born_ms;
}

enum ph_source_state ph_source_retain(struct ph_hub *hub, struct ph_source *s)
{
	struct ph_slot *slot = s->slot;
	struct ph_instance *old = s->old;
	/* Where another one is the owner, the registry tells who, and it is not for us to say. */
	bool swap = ph_is_self(hub, &s->peer);
	if (swap)
		; /* B has seen to it */
	else if (s->peer_active && (!slot->entered || slot->entry.epoch < s->new_epoch))
		ph_slot_give(hub, slot, &s->peer, s->new_epoch, ph_source_born(hub, s));
	else
		ph_slot_vouch(hub, slot);
	s->done_version = hub->version;
	s->committed_at_ms = hub->now_ms;
	if (slot->work->instance == old)
		ph_slot_work(hub, slot)->instance = NULL;
	if (!old && !swap && slot->work->instance &&
		!ph_instance_has_process(slot->work->instance)) {
		slot->work->instance->after = PH_AFTER_DISCARD; /* what is left of a stopped O */
		ph_instance_step(hub, slot->work->instance, PH_INSTANCE_IN_STOP);
	}
	if (!old)
		return old_gone(hub, s);
	s->tell_by_ms = hub->now_ms + old->spec->start_timeout_ms + TELL_SLACK_MS;
	if (s->overlap && ph_swap_spec(hub, s)->ready == PH_READY_NONE)
		s->handled = true; /* the retention was B's test of the new worker */
	const struct ph_member *peer = ph_member_find(hub, &s->peer);
	s->served |= slot->entered && slot->entry.ready && slot->entry.epoch >= s->new_epoch;
	if (peer && !ph_member_live(peer) && s->peer_active) /* since `active` */
		return ph_source_peer_died_late(hub, s);
	return ph_source_stop_if(hub, s);
}

/* The sync of `done` failed: it only saves work after a restart, COMMIT is answered again then. */
enum ph_source_state ph_source_done_unsynced(struct ph_hub *hub, struct ph_source *s)
{
	return ph_source_retain(hub, s);
}

enum ph_source_state ph_source_handled(struct ph_hub *hub, struct ph_source *s)
{
	s->handled = true;
	return ph_source_stop_if(hub, s);
}

enum ph_source_state ph_source_not_any_more(struct ph_hub *hub, struct ph_source *s)
{
	ph_source_answer_release(hub, s, s->back); /* a repeat, or too late */
	return s->state;
}

enum ph_source_state ph_source_confirmed(struct ph_hub *hub, struct ph_source *s)
{
	ph_source_say(hub, s, PH_B_FORGET);
	return s->state;
}

enum ph_source_state ph_source_forgotten(struct ph_hub *hub, struct ph_source *s)
{
	ph_source_free(hub, s);
	return PH_SOURCE_ENDED;
}

/* In these states N may hold the only good copy: O is not started again from its spec. */
enum ph_source_state ph_source_copy_is_all(struct ph_hub *hub, struct ph_source *s)
{
	(void)hub;
	if (s->old &&
		s->old->after != PH_AFTER_STOPPED) /* it stays, stopped, where that was wished */
		s->old->after = PH_AFTER_DISCARD;
	if (s->old) {
		s->born_ms = s->old->born_ms;
		s->old->source = NULL;
	}
	s->old = NULL;
	return s->state;
}

enum ph_source_state ph_source_stopping_over(struct ph_hub *hub, struct ph_source *s)
{
	if (s->old)
		s->old->after = PH_AFTER_DISCARD;
	return old_gone(hub, s);
}
