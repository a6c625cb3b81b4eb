/* route.c - which part of core a message is for, and what is dropped before it gets there. */
#include "core/conflict.h"

static void (*const routes[PH_BKIND_COUNT])(struct ph_hub *, const struct ph_bmsg *) = {
	[PH_B_HELLO] = ph_join_message,
	[PH_B_CHALLENGE] = ph_join_message,
	[PH_B_PROOF] = ph_join_message,
	[PH_B_WELCOME] = ph_join_message,
	[PH_B_REFUSED] = ph_join_message,
	[PH_B_PROBE] = ph_probe_message,
	[PH_B_PROBE_ACK] = ph_probe_message,
	[PH_B_HEARTBEAT] = ph_member_message,
	[PH_B_LEAVE] = ph_member_message,
	[PH_B_REGISTRY] = ph_exchange_message,
	[PH_B_FETCH] = ph_exchange_message,
	[PH_B_DIGEST] = ph_exchange_message,
	[PH_B_HAVE] = ph_exchange_message,
	[PH_B_SPEC_FETCH] = ph_child_message,
	[PH_B_SPEC] = ph_child_message,
	[PH_B_PROPOSED] = ph_propose_message,
	[PH_B_DROPPED] = ph_dropped_message,
	[PH_B_DECLARED] = ph_dropped_message,
	[PH_B_CLAIM] = ph_claim_message,
	[PH_B_CLAIM_ANSWER] = ph_claim_message,
	[PH_B_PREPARE] = ph_target_message,
	[PH_B_ROUND] = ph_target_message,
	[PH_B_ROUND_END] = ph_target_message,
	[PH_B_COMMIT] = ph_target_message,
	[PH_B_ABORT] = ph_target_message,
	[PH_B_FORGET] = ph_target_message,
	[PH_B_VOID] = ph_target_message,
	[PH_B_RELEASED] = ph_target_message,
	[PH_B_DIAL_BACK] = ph_target_message,
	[PH_B_READY] = ph_source_message,
	[PH_B_REJECT] = ph_source_message,
	[PH_B_LOADED] = ph_source_message,
	[PH_B_PREPARED] = ph_source_message,
	[PH_B_ACTIVE] = ph_source_message,
	[PH_B_NACK] = ph_source_message,
	[PH_B_LOST] = ph_source_message,
	[PH_B_ABORTED] = ph_source_message,
	[PH_B_VOID_ACK] = ph_source_message,
	[PH_B_QUERY] = ph_source_message,
	[PH_B_RELEASE] = ph_source_message,
	[PH_B_FORGOTTEN] = ph_source_message,
	[PH_B_ORDER] = ph_order_message,
	[PH_B_ORDER_ACK] = ph_order_message,
	[PH_B_VIEW_FETCH] = ph_quorum_message,
	[PH_B_VIEW] = ph_quorum_message,
	[PH_B_VIEW_ASK] = ph_ballot_message,
	[PH_B_VIEW_PROMISE] = ph_ballot_message,
	[PH_B_VIEW_PROPOSE] = ph_ballot_message,
	[PH_B_VIEW_ACCEPTED] = ph_ballot_message,
	[PH_B_GRANTS_FETCH] = ph_grant_message,
	[PH_B_GRANTS] = ph_grant_message,
	[PH_B_GRANT_CHECK] = ph_grant_message,
	[PH_B_UNCLAIM] = ph_grant_message,
	[PH_B_GRANTED] = ph_grant_message,
	[PH_B_CONFLICT] = ph_conflict_message,
	[PH_B_CONFLICT_ACK] = ph_conflict_message,
};

static bool repeated(enum ph_bkind kind)
{
	return (kind >= PH_B_PREPARE && kind <= PH_B_FORGOTTEN) || kind == PH_B_CLAIM_ANSWER;
}

void ph_hub_message(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	bool dropped = hub->exiting || ph_member_stale(hub, msg) || !routes[msg->kind];
	if (dropped || (hub->away && repeated(msg->kind)))
		return; /* when this node is in step again */
	if ((msg->kind == PH_B_COMMIT || msg->kind == PH_B_PREPARE) && !ph_lease_valid(hub))
		return; /* repeated, too: this node may take nothing */
	if (ph_limit_pass(hub, msg))
		routes[msg->kind](hub, msg);
}
