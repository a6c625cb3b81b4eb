/*
 * conflict.h - the worker of this node whose copy does not go on after a heal.
 *
 * heal.h says who goes on. The loser is told `conflict`, freezes, hands its state over as in a
 * handover, and that is kept in a file (the shell's, STREAM_KEEP); then it is stopped, whatever
 * became of that. One that does not hand over its state, or is not ready, is stopped at once. At
 * most `migrations_max` are asked at a time; the others go on until their turn. The winner's node
 * is told of it, so that people hear of it on both: event `conflict_resolved`. If the winner dies
 * before the loser was stopped, the loser's node claims the child and it goes on.
 *
 * Where there is a hook `conflict`, it gets the file, PH_MERGES_MAX at a time; the worker's end
 * does not wait for it. Only a hook that ends well removes the file: if it fails, the daemon ends
 * or is being stopped, the file stays, as without a hook. A daemon that is started after one that
 * was killed meanwhile knows of it by the journal, and tells people.
 *
 * An object lives from the verdict until the winner's node has confirmed, or PH_TELL_MS after the
 * end; the worker's process may end earlier or later. Tested by test_core_conflict.c and tests/sim.
 */
#ifndef PH_CORE_CONFLICT_H
#define PH_CORE_CONFLICT_H

#include "core/state.h"

/* `winner` owns what `loser`, this node's and taken off its slot here, was started for. */
void ph_conflict_begin(struct ph_hub *hub, struct ph_instance *loser, const struct ph_name *winner,
	uint64_t epoch);
struct ph_conflict *ph_conflict_find(const struct ph_hub *hub, const struct ph_id *id);
void ph_conflict_step(struct ph_hub *hub, struct ph_conflict *c, enum ph_conflict_input in);
void ph_conflict_worker(struct ph_hub *hub, struct ph_conflict *c, const struct ph_wmsg *msg);
void ph_conflict_stream(struct ph_hub *hub, const struct ph_event *event);
/* Has a worker of it that lost not been stopped yet? Nothing begins anew while it lives. */
bool ph_conflict_holds(const struct ph_hub *hub, const struct ph_key *key);
/*
 * The winner is gone, and this node owns the key from now on: what lost goes on, and is the slot's
 * instance again. NULL: it holds none.
 */
struct ph_instance *ph_conflict_give_back(struct ph_hub *hub, struct ph_slot *slot, uint64_t epoch);
void ph_conflict_hooked(struct ph_hub *hub, const struct ph_event *event);
/* This daemon is being stopped: no hook begins. Has one not ended yet? */
bool ph_conflict_merging(struct ph_hub *hub);
void ph_conflict_gone(struct ph_hub *hub, struct ph_instance *loser); /* it is being freed */
void ph_conflict_message(struct ph_hub *hub, const struct ph_bmsg *msg);
/* ---- at the winner's ---- */
/* The copy of `slot` here goes on: `loser`, which had another one, is to say what became of it. */
void ph_conflict_met(
	struct ph_hub *hub, struct ph_slot *slot, const struct ph_name *loser, uint64_t epoch);
/* A node is dead: people hear of those copies of it of which it has not said that. */
void ph_conflict_node_dead(struct ph_hub *hub, const struct ph_name *name);
/* ---- conflict_left.c: what an earlier daemon has left ---- */

#define PH_CONFLICT_LOOK_MS 1000 /* whether this node has joined, and can tell of it */

struct ph_record ph_conflict_record(const struct ph_conflict *c, bool open);
void ph_conflict_restore(struct ph_hub *hub, const struct ph_record *record);
/* Is the state of the worker that had it at that epoch in a file already? */
bool ph_conflict_taken(const struct ph_hub *hub, const struct ph_key *key, uint64_t epoch);

/* For the unit test: is there a decision for this pair? */
bool ph_conflict_decided(enum ph_conflict_state state, enum ph_conflict_input in);

#endif
