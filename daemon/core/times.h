/* times.h - the core's constants: times in milliseconds, and how many of what is kept or told. */
#ifndef PH_CORE_TIMES_H
#define PH_CORE_TIMES_H

#define PH_RESEND_FIRST_MS 200 /* an unanswered message is repeated after this, doubled ... */
#define PH_RESEND_MAX_MS 2000  /* ... up to this */
#define PH_FLUSH_MS 5	       /* registry changes of one owner are gathered for so long */
#define PH_ASK_MS 2000	       /* plan: how long a worker may think about handover_ask */
#define PH_COPY_IDLE_MS 5000   /* copy: no byte for so long is a failure */
#define PH_RECONNECT_MS 10000  /* a worker that has lost its connection is waited for so long */
#define PH_ABORT_WAIT_MS 250   /* a frozen worker waits for B's word before `void`, at most */
#define PH_CLAIM_WAIT_MS 500   /* somebody goes before a claim: it asks again after so long */
#define PH_TELL_MS 30000       /* the loser's node tells the winner's for so long */
#define PH_SERVICE_MS 10000    /* between two attempts that missed the downtime budget */
#define PH_HISTORY_MAX 1000    /* finished migrations kept */
#define PH_SENT_RING 128       /* heartbeats whose sending time is remembered */
/* In the reason of an abort after which the same move is tried again. */
#define PH_BUSY "busy: "
#define PH_AGAIN "once more: "
#define PH_ATTEMPTS 4 /* downtime budgets that one order is given */
#define PH_CANCELLED "cancelled by an operator"
#define PH_NO_SLOT PH_BUSY "the target takes migrations_max children already"
#define PH_EPOCH_RAISE 4096 /* of an epoch's counter, above what others may have made meanwhile */
#define PH_MERGES_MAX 4	    /* hooks `conflict` at once */
#define PH_LIST_MAX 64	    /* of one message: claims, entries, texts, children dropped */

#endif
