/* member.h - what the files of membership share: member.c, join.c, heartbeat.c, echo.c, roll.c, ...
 */
#ifndef PH_CORE_MEMBER_H
#define PH_CORE_MEMBER_H

#include "core/state.h"

#define PH_MEMBER_INPUTS(X) \
	X(HEARD)   /* a HELLO, WELCOME or heartbeat of this incarnation, not joined yet */ \
	X(JOINED)  /* it says that it is alive */ \
	X(ECHO)	   /* a fresh echo */ \
	X(SILENT)  /* no echo for four heartbeats */ \
	X(MUTE)	   /* nobody has had an echo for failure_timeout */ \
	X(VOUCHED) /* a member that is heard has a fresh echo of it */ \
	X(LEAVE)

enum ph_member_input {
#define X(name) PH_MEMBER_IN_##name,
	PH_MEMBER_INPUTS(X)
#undef X
	PH_MEMBER_INPUT_COUNT
};

void ph_member_step(struct ph_hub *hub, struct ph_member *member, enum ph_member_input in);
struct ph_member_info ph_member_self(const struct ph_hub *hub);
/*
 * Frees it, as ph_member_forget; but lists that name it are still read: it is nobody of whom others
 * would have to speak.
 */
void ph_member_remove(struct ph_hub *hub, struct ph_member *member);
/* Which input a member's own word about its state is. */
enum ph_member_input ph_member_says(const struct ph_member_info *info);
/*
 * The member of that name and incarnation, made or renewed. NULL: this node itself, or a life that
 * is over. `proven`: it has said so itself, just now.
 */
struct ph_member *ph_member_learn(
	struct ph_hub *hub, const struct ph_member_info *info, bool proven);
void ph_member_link(struct ph_hub *hub, struct ph_member *member);
void ph_member_hello_soon(struct ph_hub *hub);
/* Some member hears a life of that name that is another one. */
bool ph_member_heard_elsewhere(
	const struct ph_hub *hub, const struct ph_name *name, uint64_t not_incarnation);
/* It is silent here, and others hear a later life of it: they have let that one in. */
bool ph_member_superseded(const struct ph_hub *hub, const struct ph_member *first);
void ph_member_heartbeat(struct ph_hub *hub, const struct ph_bmsg *msg);
/* Alive as soon as all peers have answered and it is in step, or the time is over. */
void ph_member_try_join(struct ph_hub *hub);
/* For the unit test: is there a decision for this pair? */
bool ph_member_decided(enum ph_member_state state, enum ph_member_input in);

/* ---- heartbeat.c ---- */
/* After so long without an echo a member is suspect; a good one's are up to two periods old. */
uint64_t ph_member_silent_ms(const struct ph_hub *hub);
uint64_t ph_member_echo_age(const struct ph_hub *hub, const struct ph_member *member);
/* What others are told of it: nothing is forgiven there. PH_NEVER_MS: it has not echoed us. */
uint64_t ph_member_echo_told(const struct ph_hub *hub, const struct ph_member *member);
/* What `by` said last of that incarnation or a newer one; NULL: nothing. */
const struct ph_report *ph_member_report(
	const struct ph_member *by, const struct ph_member *member);
/* How long ago `by` had an echo of it, as far as is known; UINT64_MAX: never. */
uint64_t ph_member_heard_by(
	const struct ph_hub *hub, const struct ph_member *by, const struct ph_member *member);

/* ---- echo.c ---- */
void ph_echo_put(struct ph_hub *hub, struct ph_bmsg *msg);
void ph_echo_take(struct ph_hub *hub, struct ph_member *member, const struct ph_bmsg *msg);
/* False: its list is known, and has not so many members as there are places. */
bool ph_echo_fits(struct ph_hub *hub, const struct ph_bmsg *msg);
void ph_echo_renewed(struct ph_hub *hub, struct ph_member *member); /* it is new, or its life is */
void ph_echo_removed(struct ph_hub *hub, const struct ph_member *member);
void ph_echo_wanted(struct ph_hub *hub); /* of whom others' word is wanted from now on */

/* ---- roll.c ---- */
uint64_t ph_roll_id(const struct ph_name *name, uint64_t incarnation);
uint64_t ph_roll_self(const struct ph_hub *hub);
/* Makes the list and chooses the base. True: all can read it whom a heartbeat concerns. */
bool ph_roll_choose(struct ph_hub *hub);
const struct ph_roll *ph_roll_find(const struct ph_hub *hub, uint64_t digest); /* or NULL */
size_t ph_roll_place(const struct ph_roll *roll, uint64_t id);
/* Is it heard, and did it name that list as one of its two? */
bool ph_roll_named(const struct ph_hub *hub, const struct ph_member *m, uint64_t digest);
void ph_roll_drop(struct ph_hub *hub, uint64_t id); /* lists with that member are forgotten */
void ph_roll_free(struct ph_hub *hub);

/* ---- join.c ---- */
/* May it have its name at once? Not from another node that lives elsewhere under that name. */
bool ph_join_replaces(const struct ph_hub *hub, const struct ph_member_info *info);
void ph_join_beat(struct ph_hub *hub);
/* `known`: which incarnation of its name is known here, 0: none. */
void ph_join_refuse(struct ph_hub *hub, const struct ph_member_info *info, uint64_t known,
	bool give_way, const char *text);
/* Are there so many members that not each one is asked whom it knows? */
bool ph_join_many(const struct ph_hub *hub);
/* Asks that one whom it knows, where there are many; one at a time. */
void ph_join_ask_names(struct ph_hub *hub, const struct ph_name *to);
/* For the tests: what this life of that node is to repeat; NULL: nothing was asked. */
const struct ph_id *ph_join_nonce(
	const struct ph_hub *hub, const struct ph_name *name, uint64_t incarnation);

/* ---- same_slot.c ---- */
/* Another one, of this table or this node itself, has its slot: it is no member here. */
bool ph_same_slot(const struct ph_hub *hub, const struct ph_member_info *info);
/* ... and is told so, or the other one is. */
bool ph_same_slot_refuse(struct ph_hub *hub, const struct ph_member_info *info);

/* ---- renumber.c ---- */
/* A CHALLENGE, WELCOME or REFUSED says which incarnation of this node is known. */
void ph_renumber_told(struct ph_hub *hub, const struct ph_bmsg *msg);
/* This node is in the place of its name, or acts alone: if another one was kept from it by that. */
void ph_renumber_let_in(struct ph_hub *hub);
void ph_renumber_beat(struct ph_hub *hub);

/* ---- probe.c ---- */
void ph_probe(struct ph_hub *hub, struct ph_member *member);
void ph_probe_beat(struct ph_hub *hub); /* whoever is suspect is asked, now and then */
/* Has it answered a probe that was sent less than `limit` ms ago? */
bool ph_probe_answered(const struct ph_hub *hub, const struct ph_member *member, uint64_t limit);

/* ---- tomb.c ---- */
struct ph_tomb *ph_tomb_find(const struct ph_hub *hub, const struct ph_name *name);
void ph_tomb_put(struct ph_hub *hub, const struct ph_member *member);
/* Is there room for one more that an operator orders? */
bool ph_tomb_room(const struct ph_hub *hub, const struct ph_name *name);
/* ... and there is. `owed`: it is to be carried out once this node has a lease again. */
void ph_tomb_order(struct ph_hub *hub, const struct ph_name *name, uint64_t incarnation, bool owed);
void ph_tomb_lift(struct ph_hub *hub, const struct ph_name *name);
/* Had a node that address of whom an operator says that it is switched off for good? */
bool ph_tomb_at(const struct ph_hub *hub, const char *address);
void ph_tomb_moved_in(struct ph_hub *hub, const char *address); /* another node has it now */
/* Is this the word of a life that is over? */
bool ph_tomb_bars(const struct ph_hub *hub, const struct ph_member_info *info, bool proven);
void ph_tomb_beat(struct ph_hub *hub);

#endif
