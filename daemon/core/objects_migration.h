/* objects_migration.h - moves that are wanted, migrations under way, and those that were. */
#ifndef PH_CORE_OBJECTS_MIGRATION_H
#define PH_CORE_OBJECTS_MIGRATION_H

#include "core/timer.h"

/* ---- moves that are wanted and not started ---- */

struct ph_move {
	struct ph_slot *slot;
	struct ph_name to;
	struct ph_id id; /* of the migration to come */
	uint64_t order;	 /* 0: by plan */
	uint64_t added_ms, not_before_ms;
	bool started;
	bool force, pinned; /* pinned: the worker said `never`, say */
	bool cancelled;	    /* by an operator: pinned until something new speaks for it; move.c */
	uint64_t revision;  /* ... of the text in force at that time */
	char why[PH_REASON_SIZE];
	struct ph_move *prev, *next;
};

/* ---- the source's side ---- */

#define PH_SOURCE_STATES(X) \
	X(ASKING)     /* handover_ask is out */ \
	X(PREPARING)  /* PREPARE is out */ \
	X(COPYING)    /* rounds while O serves */ \
	X(FREEZING)   /* the last delta is on its way */ \
	X(CONFIRMING) /* all of it left: waiting for PREPARED */ \
	X(CLAIMING)   /* for B at e+1 */ \
	X(COMMITTING) /* `commit` is being synced */ \
	X(COMMITTED)  /* COMMIT is out */ \
	X(FINISHING)  /* B is active, `done` is being synced */ \
	X(RETAINING)  /* O redirects */ \
	X(STOPPING)   /* O is being stopped */ \
	X(ABORTING)   /* ABORT is out, O waits frozen for B's word */ \
	X(VOIDING)    /* `void` is being synced, then told */ \
	X(RECLAIMING) /* A claims e+2 for itself */ \
	X(ENDED)      /* decided; until B confirmed that it may be forgotten */

enum ph_source_state {
#define X(name) PH_SOURCE_##name,
	PH_SOURCE_STATES(X)
#undef X
	PH_SOURCE_STATE_COUNT
};

#define PH_SOURCE_INPUTS(X) \
	X(ACCEPTED)   /* worker: handover_accept */ \
	X(REFUSED)    /* worker: handover_refuse */ \
	X(STATE_END)  /* worker: a round's end */ \
	X(PROGRESS)   /* worker, or bytes on the stream */ \
	X(HANDLED)    /* worker: retention_handled */ \
	X(RESUMED)    /* worker: answer to resume */ \
	X(READY)      /* B: N can take the state */ \
	X(REJECTED)   /* B: will never activate (REJECT, NACK, ABORTED) */ \
	X(LOADED)     /* B: a round is applied */ \
	X(PREPARED)   /* B: all of it is applied and synced */ \
	X(ACTIVE)     /* B owns the child (or somebody else does, at a higher epoch) */ \
	X(LOST)	      /* B cannot tell */ \
	X(VOID_HEARD) /* all live members know `void` */ \
	X(RELEASE)    /* B gives it back: N died before its first ready */ \
	X(FORGOTTEN) \
	X(STREAMED) /* a round has arrived whole */ \
	X(BROKEN)   /* the stream failed */ \
	X(SYNCED)   /* the record that was waited for is synced */ \
	X(UNSYNCED) /* its sync failed */ \
	X(GRANTED) \
	X(DENIED) \
	X(O_DEAD) /* the old worker ended */ \
	X(B_DEAD) /* B was declared dead or left */ \
	X(CANCEL) \
	X(DEADLINE)

enum ph_source_input {
#define X(name) PH_SOURCE_IN_##name,
	PH_SOURCE_INPUTS(X)
#undef X
	PH_SOURCE_INPUT_COUNT
};

struct ph_source {
	struct ph_id id;
	struct ph_slot *slot;
	struct ph_instance *old; /* NULL: not alive */
	uint64_t born_ms;	 /* then: of the state that it had; 0: not known */
	struct ph_name peer;
	enum ph_source_state state;
	struct ph_timer timer;
	uint64_t deadline_ms; /* of the state */
	uint64_t resend_ms;   /* next repeat, or never */
	uint64_t resend_wait_ms;
	enum ph_bkind said; /* what is repeated */
	uint64_t epoch;	    /* e, of O */
	uint64_t new_epoch; /* e+1, for B; after RECLAIMING the epoch of O */
	bool overlap, rounds, force;
	bool final_asked, final_synced; /* record `final` */
	bool lagged;			/* the deadline was seen too late, and put off once */
	bool final_left;		/* B may have been told that the last delta is complete */
	bool frozen; /* O was told to freeze (or handover_start without rounds) */
	bool claim_asked;
	bool uncommitted;     /* ... by this process, which has not written `commit` since */
	bool unheard;	      /* ABORTING after a restart: O has not said hello yet */
	bool voided, reclaim; /* O resumes only by a claim */
	bool void_unsynced;   /* `void` stands in no file: all live members must know it */
	bool back;	      /* rolled back or taken back */
	bool peer_dead;	      /* B was declared dead after the commit */
	bool elsewhere;	      /* neither O nor B: a third one goes on */
	bool taken_over;      /* B goes on, by a claim, as A was held for dead */
	bool given_back;  /* B does not own new_epoch (any more), or has died with an N never ready
			   */
	bool peer_active; /* B itself said so, or the registry */
	bool served;	  /* N, or another one, serves: O is stale from then on */
	bool handled;	  /* retention_handled, or retention passed in an overlap */
	bool streaming;
	uint64_t ticket_no;   /* journal ticket that is waited for; 0: none */
	struct ph_id journal; /* of B, from PREPARED */
	enum ph_wop told;     /* last unanswered message to O */
	char resume_reason[PH_REASON_SIZE];

	char format[PH_VERSION_SIZE]; /* of O's state, as it last said */
	uint64_t format_version;
	uint32_t round;
	bool have_end, have_read, have_stream, end_sent, end_final;
	uint64_t end_bytes, read_bytes, stream_bytes, stream_digest;
	uint64_t round_at_ms, round_start_bytes, moved_bytes, progress_ms;
	uint64_t dirty_bytes;
	bool has_dirty;
	uint64_t copy_at_ms, frozen_at_ms, committed_at_ms;
	uint64_t held_ms; /* not frozen since, as some member is silent; 0: it is not so */
	uint64_t retention_until_ms; /* 0: it has not begun */
	uint64_t tell_by_ms;
	uint64_t done_version; /* of the registry, that all live members must have */
	uint32_t attempt;      /* downtime budget: doubled each attempt */
	bool refused;	       /* by the worker: */
	bool busy, never;      /* ... how; busy: the target has no slot free, too */
	char refusal[PH_VERSION_SIZE];
	uint64_t retry_after_ms;
	uint64_t order;		     /* the move's order, 0: by plan */
	bool cancelled;		     /* by an operator */
	uint64_t cancelled_revision; /* of the text in force at that time */

	struct ph_migration_info info;
	uint64_t started_ms, ended_ms;
	struct ph_name *void_wait; /* members that have not confirmed `void`; owned */
	size_t n_void_wait;
	UT_hash_handle hh;
};

/* ---- the target's side ---- */

#define PH_TARGET_STATES(X) \
	X(STARTING)  /* N is being started */ \
	X(LOADING)   /* READY is out */ \
	X(SETTLING)  /* overlap without readiness: N must live for the retention */ \
	X(PREPARING) /* `prepared` is being synced */ \
	X(PREPARED) \
	X(CLAIMING)   /* A is dead: B claims e+2 */ \
	X(ACTIVATING) /* `active` is being synced */ \
	X(ACTIVE) \
	X(RELEASING) /* N died before its first ready: A may take the child back */ \
	X(DROPPING)  /* N is being ended */ \
	X(REFUSING)  /* `never` is being synced */ \
	X(NEVER)

enum ph_target_state {
#define X(name) PH_TARGET_##name,
	PH_TARGET_STATES(X)
#undef X
	PH_TARGET_STATE_COUNT
};

#define PH_TARGET_INPUTS(X) \
	X(PREPARE) /* A again */ \
	X(STARTED) /* N said hello; overlap: is ready */ \
	X(N_READY) /* N is ready after activate */ \
	X(N_REJECTED) \
	X(N_LOADED) \
	X(N_DEAD) /* nothing of N is left */ \
	X(ROUND) \
	X(ROUND_END) \
	X(STREAMED) \
	X(BROKEN) \
	X(COMMIT) \
	X(ABORT) \
	X(FORGET) \
	X(RELEASED) \
	X(OWNED) /* somebody else owns the child at an epoch >= e+1 */ \
	X(SYNCED) \
	X(UNSYNCED) \
	X(GRANTED) \
	X(DENIED) \
	X(A_DEAD) \
	X(A_BACK) /* one fresh echo of A vetoes the verdict */ \
	X(DEADLINE)

enum ph_target_input {
#define X(name) PH_TARGET_IN_##name,
	PH_TARGET_INPUTS(X)
#undef X
	PH_TARGET_INPUT_COUNT
};

struct ph_target {
	struct ph_id id;
	struct ph_slot *slot;
	struct ph_instance *fresh; /* N; NULL: none */
	struct ph_name peer;
	enum ph_target_state state;
	struct ph_timer timer;
	uint64_t deadline_ms, resend_ms, resend_wait_ms;
	enum ph_bkind said;
	uint64_t epoch;	    /* e, of O */
	uint64_t new_epoch; /* at which N is or would be active */
	bool overlap, streaming, busy, was_prepared;
	bool restored; /* from the journal: much may have happened since it was written */
	bool a_dead;
	uint64_t ticket_no;
	uint8_t ticket[PH_SECRET_SIZE];
	char format[PH_VERSION_SIZE];
	uint64_t format_version, bytes_estimate;
	uint32_t round;
	bool told_round; /* `handover` for this round was told */
	bool have_end, have_stream, told_end, end_final, loaded;
	uint64_t end_bytes, end_digest, stream_bytes, stream_digest;
	uint64_t told_end_ms; /* `state_end` told, `handover_loaded` not heard; 0: not so */
	uint64_t planned_ms;  /* when A decided that the child is to come here */
	uint64_t alive_ms;    /* last sign of A in this migration */
	uint64_t taken_ms;    /* when N had all of the state; 0: before a restart */
	enum ph_wop told;
	enum ph_bkind answer; /* what `never` is reported as */
	char reason[PH_REASON_SIZE];
	UT_hash_handle hh;
};

/* ---- the list of migrations ---- */

struct ph_history {
	struct ph_migration_info info;
	bool presumed;	/* ended because its source did: the source may know better */
	uint64_t at_ms; /* when info.elapsed_ms was right */
	struct ph_history *prev, *next;
	UT_hash_handle hh;
};

#endif
