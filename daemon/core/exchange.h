/* exchange.h - what the files of the exchange share: exchange.c (who is told), exchange_fetch.c
 * (who asks). */
#ifndef PH_CORE_EXCHANGE_H
#define PH_CORE_EXCHANGE_H

#include "core/state.h"

#define PH_FANOUT_MAX 64

/* Entries of one node's part, in the order of its versions. */
struct ph_exchange_part {
	const struct ph_name *to;	/* NULL: all, or some by gossip */
	const struct ph_member *author; /* NULL: this node */
	uint64_t since, total;		/* total: as of when it is here */
	uint64_t migrations_since, digest;
	bool whole, more; /* more: than the page holds */
	size_t n_targets; /* of gossip; 0: cast */
	uint32_t hops;
	struct ph_name targets[PH_FANOUT_MAX];
};

struct ph_exchange_ranked { /* an entry of it */
	uint64_t rank;
	struct ph_slot *slot;
};

/* The version of that part in which the entry changed last; 0: it is no word of the author. */
uint64_t ph_exchange_rank_of(
	const struct ph_hub *hub, const struct ph_member *author, const struct ph_slot *slot);
int ph_exchange_by_rank(const void *a, const void *b); /* for qsort(): the lowest first */
/*
 * Tells that list, which is sorted. Each piece goes on where the one before it ended: one that is
 * lost is missed.
 */
void ph_exchange_send(struct ph_hub *hub, const struct ph_exchange_part *part,
	const struct ph_exchange_ranked *list, size_t n);
/* At most `max` members drawn at random, none of those two; returns from how many. */
size_t ph_exchange_draw(struct ph_hub *hub, const struct ph_name *not_a,
	const struct ph_name *not_b, struct ph_name *targets, size_t max);
/* What was news here goes on to some, as it came; neither to its author nor back. */
void ph_exchange_pass_on(
	struct ph_hub *hub, const struct ph_member *author, const struct ph_bmsg *msg);

#endif
