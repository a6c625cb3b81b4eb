/* member.h - what the two files of membership share: member.c and heartbeat.c. */
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
/* Which input a member's own word about its state is. */
enum ph_member_input ph_member_says(const struct ph_member_info *info);
void ph_member_heartbeat(struct ph_hub *hub, const struct ph_bmsg *msg);
/* Alive as soon as all peers have answered and it is in step, or the time is over. */
void ph_member_try_join(struct ph_hub *hub);
/* For the unit test: is there a decision for this pair? */
bool ph_member_decided(enum ph_member_state state, enum ph_member_input in);

#endif
