/* source.h - what the three files of the source share: source.c, source_say.c, source_hear.c. */
#ifndef PH_CORE_SOURCE_H
#define PH_CORE_SOURCE_H

#include "core/state.h"

/* Says it to B and repeats it, with back-off, until the state changes. */
void ph_source_say(struct ph_hub *hub, struct ph_source *s, enum ph_bkind kind);
/* Tells it to O, and again when O reconnects without having answered. */
void ph_source_tell(struct ph_hub *hub, struct ph_source *s, enum ph_wop op);
/* Journals; SYNCED or UNSYNCED follows. */
void ph_source_write(struct ph_hub *hub, struct ph_source *s, enum ph_record_kind kind);
void ph_source_answer_release(struct ph_hub *hub, struct ph_source *s, bool ok);
/* The state is new: deadline, phase, event. */
void ph_source_entered(struct ph_hub *hub, struct ph_source *s, enum ph_source_state before);
void ph_source_result(struct ph_hub *hub, struct ph_source *s, enum ph_result result);
void ph_source_free(struct ph_hub *hub, struct ph_source *s);
uint64_t ph_source_budget(const struct ph_source *s); /* downtime of this attempt, ms */
/* Stops O where its retention is over and all live members look elsewhere. */
enum ph_source_state ph_source_stop_if(struct ph_hub *hub, struct ph_source *s);
enum ph_source_state ph_source_void(struct ph_hub *hub, struct ph_source *s);
struct ph_source *ph_source_new(struct ph_hub *hub, const struct ph_id *id, struct ph_slot *slot,
	const struct ph_name *peer, uint64_t epoch);
struct ph_bmsg *ph_source_compose(struct ph_hub *hub, struct ph_source *s, enum ph_bkind kind);
void ph_source_repeat(struct ph_hub *hub, struct ph_source *s); /* to B: the last word */
void ph_source_retell(struct ph_hub *hub, struct ph_source *s); /* to O: the last word */
void ph_source_show(struct ph_hub *hub, struct ph_source *s);	 /* to the list of migrations */
/* For the unit test: is there a decision for this pair? */
bool ph_source_decided(enum ph_source_state state, enum ph_source_input in);

#endif
