/* source.h - what the files of the source share: source.c, source_done.c, source_end.c,
 * source_say.c, source_hear.c. */
#ifndef PH_CORE_SOURCE_H
#define PH_CORE_SOURCE_H

#include "core/state.h"

/* Says it to B and repeats it, with back-off, until the state changes. */
void ph_source_say(struct ph_hub *hub, struct ph_source *s, enum ph_bkind kind);
/* Tells it to O, and again when O reconnects without having answered. */
void ph_source_tell(struct ph_hub *hub, struct ph_source *s, enum ph_wop op);
/* How it ends where O goes on. */
enum ph_result ph_source_outcome(const struct ph_source *s);
/* Journals; SYNCED or UNSYNCED follows. */
void ph_source_write(struct ph_hub *hub, struct ph_source *s, enum ph_record_kind kind);
/* When the state began that O has, or had, and B goes on with; 0: not known. */
uint64_t ph_source_born(const struct ph_hub *hub, const struct ph_source *s);
void ph_source_answer_release(struct ph_hub *hub, struct ph_source *s, bool ok);
/* The state is new: deadline, phase, event. */
void ph_source_entered(struct ph_hub *hub, struct ph_source *s, enum ph_source_state before);
void ph_source_result(struct ph_hub *hub, struct ph_source *s, enum ph_result result);
void ph_source_free(struct ph_hub *hub, struct ph_source *s);
uint64_t ph_source_budget(const struct ph_source *s);	  /* downtime of this attempt, ms */
uint64_t ph_source_abort_wait(const struct ph_source *s); /* for each step of an abort, ms */
/* Stops O where its retention is over and all live members look elsewhere. */
enum ph_source_state ph_source_stop_if(struct ph_hub *hub, struct ph_source *s);
enum ph_source_state ph_source_void(struct ph_hub *hub, struct ph_source *s);
struct ph_source *ph_source_new(struct ph_hub *hub, const struct ph_id *id, struct ph_slot *slot,
	const struct ph_name *peer, uint64_t epoch);
struct ph_bmsg *ph_source_compose(struct ph_hub *hub, struct ph_source *s, enum ph_bkind kind);
void ph_source_repeat(struct ph_hub *hub, struct ph_source *s); /* to B: the last word */
void ph_source_retell(struct ph_hub *hub, struct ph_source *s); /* to O: the last word */
void ph_source_show(struct ph_hub *hub, struct ph_source *s);	/* to the list of migrations */
/* ---- source_end.c: cells of the table, and what they share ---- */
void ph_source_cut_stream(struct ph_hub *hub, struct ph_source *s);
void ph_source_close_with(struct ph_hub *hub, struct ph_source *s, enum ph_bkind kind);
enum ph_source_state ph_source_finish(
	struct ph_hub *hub, struct ph_source *s, enum ph_result result);
enum ph_source_state ph_source_resume(struct ph_hub *hub, struct ph_source *s);
/* O goes on under an epoch of its own, above all that were given away. */
enum ph_source_state ph_source_reclaim(struct ph_hub *hub, struct ph_source *s);
/* O goes on, and no end of its state has left: what a restart would ask about goes. */
void ph_source_unfinal(struct ph_hub *hub, struct ph_source *s);
void ph_source_blame(struct ph_source *s, const char *reason);
enum ph_source_state ph_source_abort(struct ph_hub *hub, struct ph_source *s, const char *reason);
enum ph_source_state ph_source_old_died(struct ph_hub *hub, struct ph_source *s);
enum ph_source_state ph_source_peer_died(struct ph_hub *hub, struct ph_source *s);
enum ph_source_state ph_source_rejected(struct ph_hub *hub, struct ph_source *s);
enum ph_source_state ph_source_ask_peer(struct ph_hub *hub, struct ph_source *s);
void ph_source_heard(struct ph_hub *hub, struct ph_source *s);
enum ph_source_state ph_source_aborting_over(struct ph_hub *hub, struct ph_source *s);
enum ph_source_state ph_source_aborting_died(struct ph_hub *hub, struct ph_source *s);
enum ph_source_state ph_source_void_synced(struct ph_hub *hub, struct ph_source *s);
enum ph_source_state ph_source_void_known(struct ph_hub *hub, struct ph_source *s);
enum ph_source_state ph_source_void_too_long(struct ph_hub *hub, struct ph_source *s);
enum ph_source_state ph_source_void_unsynced(struct ph_hub *hub, struct ph_source *s);
enum ph_source_state ph_source_taken_back(struct ph_hub *hub, struct ph_source *s);
/* ---- source_done.c: cells of the table, from B's word that it is active to the end of O ---- */
/* Writes `done`: another one owns the child, B if `peer_active`. */
enum ph_source_state ph_source_active(struct ph_hub *hub, struct ph_source *s);
/* ... and serves: a claim of ours was denied. */
enum ph_source_state ph_source_overtaken(struct ph_hub *hub, struct ph_source *s);
/* `done` stands: the registry tells who owns the child, and O redirects, where there is an O. */
enum ph_source_state ph_source_retain(struct ph_hub *hub, struct ph_source *s);
/* `done` is not written: the same, as COMMIT is answered again after a restart. */
enum ph_source_state ph_source_done_unsynced(struct ph_hub *hub, struct ph_source *s);
/* O has done all that its retention was for: it may be stopped. */
enum ph_source_state ph_source_handled(struct ph_hub *hub, struct ph_source *s);
/* B gives the child back: O goes on, by a claim, or it is declined. */
enum ph_source_state ph_source_released(struct ph_hub *hub, struct ph_source *s);
/* ... before it was heard that B was active: declined, B owns it all the same. */
enum ph_source_state ph_source_released_early(struct ph_hub *hub, struct ph_source *s);
/* B gives it back too late, or again: it is told what was answered before. */
enum ph_source_state ph_source_not_any_more(struct ph_hub *hub, struct ph_source *s);
/* B is dead: O goes on by a claim where N was never ready, else it is to be stopped. */
enum ph_source_state ph_source_peer_died_late(struct ph_hub *hub, struct ph_source *s);
/* Nothing is left of O: it ends, and B may forget it. */
enum ph_source_state ph_source_stopping_over(struct ph_hub *hub, struct ph_source *s);
/* ENDED: B has said its last word, so it is told to forget; and it has. */
enum ph_source_state ph_source_confirmed(struct ph_hub *hub, struct ph_source *s);
enum ph_source_state ph_source_forgotten(struct ph_hub *hub, struct ph_source *s);
/* N may hold the only good copy: O is not started again from its spec. */
enum ph_source_state ph_source_copy_is_all(struct ph_hub *hub, struct ph_source *s);
/* For the unit test: is there a decision for this pair? */
bool ph_source_decided(enum ph_source_state state, enum ph_source_input in);

#endif
