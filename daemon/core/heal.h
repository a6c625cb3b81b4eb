/*
 * heal.h - two owners of one key meet after a partition or a wrong verdict: which one goes on.
 *
 * Decides from two entries alone, so that every node decides the same. The state of a copy has a
 * beginning: `born_ms`, the time at which some worker was started from the spec with nothing. A
 * handover carries it on; a restart in place without state, and a claim from the spec, make a new
 * one, later than any that was heard of for the key (journalled, as the highest epoch is). The
 * clocks of two nodes are compared only where neither has heard of the other's. So of two owners
 * the one whose state began later is the cold one beside the other, however long it may have
 * served. Where both go back to one beginning, `continued` (handed over, or never restarted since)
 * goes before `from-copy` (taken over from a copy: the newer copy first), and that before `cold`
 * (started, and not ready yet); then the higher epoch. The words of an entry tell only how its
 * owner came to its state.
 *
 * The winner claims an epoch above both (claim.c, basis HEAL: the loser's word is no veto), syncs
 * it, and goes on under it; its worker is told by `role`. Until then its entry keeps its epoch, and
 * is not replaced by the loser's. Tested by test_core_conflict.c and tests/sim.
 */
#ifndef PH_CORE_HEAL_H
#define PH_CORE_HEAL_H

#include "core/state.h"

struct ph_copy {
	enum ph_lineage lineage;
	uint64_t born_ms;   /* 0: there is no state */
	uint64_t copied_ms; /* of FROM_COPY alone */
	uint64_t epoch;
};

/* Does `a` go on where the two meet? Of two copies with different epochs exactly one does. */
bool ph_heal_better(const struct ph_copy *a, const struct ph_copy *b);
struct ph_copy ph_heal_copy(const struct ph_slot *slot);

/* ---- where states begin ---- */
/* Its process is being started: from nothing, unless it is the new one of a handover. */
void ph_heal_begin(struct ph_hub *hub, struct ph_instance *instance);
/* What an earlier daemon knew; where it is not known the state counts as begun just now. */
void ph_heal_adopt(
	struct ph_hub *hub, struct ph_instance *instance, const struct ph_adopted *adopted);
/* It goes on from a copy taken at `at_ms` (of now_ms), though another one had gone on from it. */
void ph_heal_from_copy(struct ph_hub *hub, struct ph_instance *instance, uint64_t at_ms);
/* What the entry of an owner with that worker (NULL: none) says of its state. */
void ph_heal_publish(const struct ph_instance *instance, struct ph_entry *entry);

/* ---- the meeting ---- */
/* Does this node own it, with a worker that has a state? */
bool ph_heal_live(const struct ph_hub *hub, const struct ph_slot *slot);
/*
 * `e`, of a higher epoch, is heard of from `author`: does the entry in place stay all the same?
 * Where it is this node's, what makes it go on is begun.
 */
bool ph_heal_keeps(struct ph_hub *hub, struct ph_slot *slot, const struct ph_name *author,
	const struct ph_entry *e);
/*
 * This node is named as the owner at an epoch of which it knows nothing: another node of its name
 * had it, and has gone. As long as its own entry is below that nobody takes it for news.
 */
void ph_heal_namesake(struct ph_hub *hub, struct ph_slot *slot, const struct ph_entry *e);
/* A migration of it was given up so that it goes above another epoch: that is asked for now. */
bool ph_heal_first(struct ph_hub *hub, struct ph_slot *slot);
/* Nothing of it can be active: to give up this handover costs nothing. */
bool ph_heal_early(const struct ph_source *s);

/* ---- the claim ---- */
void ph_heal_put(const struct ph_slot *slot, struct ph_claim_line *line);
/* Of a migration whose old worker is to go on: its end waits for this claim. */
bool ph_heal_takes_back(const struct ph_slot *slot);
/*
 * A TAKEBACK is refused for the owner that `answer` names. Where it did not come by the handover:
 * true, and the claim is now one for a heal, in which only a better copy objects.
 */
bool ph_heal_instead(
	struct ph_hub *hub, struct ph_claim *claim, const struct ph_claim_line *answer);
/* Is its owner better than the claimant? */
bool ph_heal_objects(const struct ph_slot *slot, const struct ph_claim_line *line);
void ph_heal_granted(struct ph_hub *hub, struct ph_slot *slot, uint64_t epoch);
void ph_heal_own(struct ph_hub *hub, struct ph_slot *slot, uint64_t epoch); /* it is synced */

#endif
