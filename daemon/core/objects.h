/*
 * objects.h - what a hub keeps: members, children, slots, workers, migrations, claims, orders.
 *
 * Shared by core's own files through state.h, which has the hub itself and what each file offers.
 */
#ifndef PH_CORE_OBJECTS_H
#define PH_CORE_OBJECTS_H

#define HASH_FUNCTION(key, n, hash) \
	((hash) = (unsigned)ph_mix64(ph_hash_bytes(PH_HASH_SEED, key, n)))
#include <uthash.h>
#include <utlist.h>

#include "core/hub.h"
#include "core/slot.h"
#include "core/times.h"

#define PH_NEVER_MS UINT64_MAX
/* ---- timers: a heap; `pos` 0 is idle ---- */

#define PH_TIMERS(X) \
	X(HEARTBEAT) \
	X(HELLO) \
	X(PLAN) \
	X(FLUSH) \
	X(INSTANCE) \
	X(SOURCE) \
	X(TARGET) \
	X(CLAIM) \
	X(MOVES) \
	X(EXCHANGE) \
	X(ORDER) \
	X(CONFLICT)

enum ph_timer_kind {
#define X(name) PH_TIMER_##name,
	PH_TIMERS(X)
#undef X
	PH_TIMER_COUNT
};

struct ph_timer {
	uint64_t at_ms;
	size_t pos;
	enum ph_timer_kind kind;
	void *owner;
};

/* ---- members ---- */

struct ph_known { /* of a member, what each heartbeat of another one is compared with */
	struct ph_name name;
	uint64_t incarnation;
	bool wanted; /* what others say of it */
	struct ph_member *member;
};

struct ph_report { /* what one member says of another */
	struct ph_name name;
	uint64_t incarnation, age_ms;
	uint64_t have;	/* of that one's part of the registry */
	uint32_t flags; /* enum ph_echo_flag */
	bool brief;	/* told in brief: `have` is not known */
};

#define PH_ROLLS 16	     /* lists of members that are remembered: those named last */
#define PH_NO_PLACE SIZE_MAX /* it is not in that list */

struct ph_roll {	 /* such a list; roll.c */
	uint64_t digest; /* 0: none */
	uint64_t named;	 /* number of our newest heartbeat that named it */
	size_t n, cap;
	uint64_t *ids; /* sorted; owned */
};

struct ph_member {
	UT_hash_handle hh; /* first, and beside the state: all are looked at often */
	enum ph_member_state state;
	bool linked;
	uint64_t mend_wait_ms; /* suspect for so long: its link is made anew; 0: it is not suspect
				*/
	bool proven;	       /* this incarnation has answered something fresh of ours */
	struct ph_member_info info; /* labels: owned */
	struct ph_node *node;
	uint32_t no; /* from 1 on, this node's own one is 0; while claims run no other has had it */
	uint64_t since_ms;	/* in this state */
	uint64_t first_ms;	/* this incarnation first heard of */
	uint64_t heard_seq;	/* newest heartbeat heard */
	uint64_t heard_version; /* of its part, as that one said */
	uint64_t heard_at_ms;
	uint64_t back_ms;	/* when it was heard again after a silence */
	uint64_t echo_at_ms;	/* when the newest heartbeat of ours that it echoed was sent */
	bool echoed;		/* this incarnation has echoed us at least once */
	uint64_t answered_ms;	/* when the newest probe that it answered was sent; 0: none */
	uint64_t probed_ms;	/* last probed */
	uint64_t welcomed_ms;	/* when we last welcomed it ... */
	uint64_t named_ms;	/* ... and told it whom we know */
	uint64_t hears_me_have; /* version of our part that it has */
	uint64_t registry_version, registry_digest, migrations_version; /* as it says */
	uint64_t have, have_migrations; /* what we have of its part */
	uint64_t sure;	 /* ... of which nothing that it gave away is missing; never above `have` */
	uint64_t digest; /* of its part as we have it */
	uint64_t fetch_at_ms;  /* last asked, or answered in part; 0: no fetch is out */
	uint64_t fetch_since;  /* ... from there on */
	uint32_t fetch_tries;  /* in a row that brought nothing */
	uint64_t behind_at_ms; /* since when something of it is missing; 0: nothing is */
	uint64_t helper_at_ms; /* last looked for who has its part */
	uint32_t helper_tries; /* ... in a row, and what came was no news */
	bool sweeping;	       /* a whole part is coming */
	uint32_t sweep;	       /* number of that sweep */
	uint64_t sweep_at;     /* ... which has come up to that version */
	bool drained, welcomed;
	bool restarted;	      /* alive under an earlier incarnation a moment ago */
	uint64_t newcomer_ms; /* since when children may move to it; 0: they stay where they are */
	uint32_t children;
	bool kept; /* limit.c: somebody still needs it */
	/* quorum strategies */
	uint64_t view;	      /* number of its view, as it last said */
	uint64_t lease_at_ms; /* when the newest heartbeat was sent whose echo renews our lease */
	uint64_t told_seq;    /* newest number of it that we have echoed ... */
	uint64_t told_at_ms;  /* ... first at; 0: never */
	bool withheld;	      /* our echo renews no lease of it */
	bool grants_known;    /* it has told all that it granted, to us who lost our journal ... */
	uint64_t grants_next; /* ... piece by piece: the next one */
	size_t n_reports;
	size_t reports_cap;
	struct ph_report *reports; /* on those only of whom it is wanted: heartbeat.c */
	uint64_t roll_id;	   /* its place in lists: name and incarnation */
	uint64_t before_id, before_incarnation; /* of the node of its name whose place it took, or
						   0: others may hear that one still */
	uint64_t list, base;			/* digests that it named last; 0: none */
	bool hearer; /* it has no echo for us, another one hears it, and says which lists it named:
		      */
	uint64_t said_list, said_base; /* 0: others */
	uint64_t echo_seq;	       /* number of ours that it echoed last; 0: none is known */
	uint64_t sure_seq;	       /* it knows that we have heard this number of it; 0: none */
	uint64_t mark_seq, mark_heard; /* it will, once it echoes our number `mark_seq`; 0: none */
	uint64_t asked_ms;	       /* somebody wants lines about it, last; 0: nobody ever */
	bool watched;		       /* what others have of its part is wanted: tombstone.c */
};

struct ph_challenge { /* of a HELLO that is not proven yet; join.c */
	struct ph_name name;
	uint64_t incarnation;
	char address[PH_ADDRESS_SIZE];
	struct ph_id nonce; /* none: used */
	uint64_t at_ms;	    /* asked first */
	uint64_t probe_ms;  /* since when the one that has its name is probed; 0: it is not */
	struct ph_challenge *prev, *next;
};

struct ph_tomb { /* of a member that is forgotten; tomb.c */
	struct ph_name name;
	uint64_t incarnation, at_ms;
	char address[PH_ADDRESS_SIZE]; /* empty: not known, or another node's by now */
	bool left;
	bool ordered;	  /* by an operator: it is switched off for good; forget.c */
	bool owed;	  /* ... and this node had no lease then: once it has one again */
	uint64_t told_ms; /* ... and somebody who still spoke of it was told so */
	UT_hash_handle hh;
};

/* ---- children and keys ---- */

struct ph_unfit;

struct ph_child {
	struct ph_name name;
	uint64_t hash;	      /* of the name: the first step of ph_key_hash() */
	struct ph_spec *spec; /* in force: revision > 0; or NULL */
	struct ph_spec *own;  /* this node's configuration declares it; or NULL */
	uint64_t declared_hash, declared_revision; /* as journalled */
	struct ph_name fetch_from;		   /* who has named `wanted_revision` */
	uint64_t wanted_revision;  /* seen in the registry, its text still to be fetched */
	uint64_t removed_revision; /* up to which it was removed; 0: never */
	uint64_t fetch_at_ms, fetch_first_ms;
	uint64_t offered_ms;	/* its text was last offered to whom placement names */
	struct ph_unfit *unfit; /* nodes that cannot start it; owned */
	size_t n_unfit;
	bool dropped;  /* asking who still declares it */
	bool disputed; /* owned here, and removed as others know */
	uint64_t dropped_at_ms;
	UT_hash_handle hh;
};

/* ---- one worker of this node ---- */

#define PH_INSTANCE_STATES(X) \
	X(WAITING) /* no process: until a claim for the child is granted */ \
	X(SPAWNING) \
	X(STARTING) /* runs, not ready */ \
	X(STANDING) /* the new one of a handover: said hello (overlap: is ready) */ \
	X(RUNNING)  /* ready and active */ \
	X(FROZEN)   /* the old one of a handover: serves nothing */ \
	X(RETIRED)  /* was told `committed` */ \
	X(STOPPING) \
	X(KILLING) \
	X(REAPING) /* main process ended, the rest of its group is being ended */ \
	X(BACKOFF) \
	X(STOPPED) \
	X(FAILED)

enum ph_instance_state {
#define X(name) PH_INSTANCE_##name,
	PH_INSTANCE_STATES(X)
#undef X
	PH_INSTANCE_STATE_COUNT
};

#define PH_INSTANCE_INPUTS(X) \
	X(START) /* may run now */ \
	X(SPAWNED) \
	X(SPAWN_FAILED) \
	X(HELLO) \
	X(READY) \
	X(ACTIVATE) /* the new one of a handover becomes the owner's */ \
	X(FREEZE) \
	X(THAW) \
	X(RETIRE) \
	X(STOP)	   /* by wish, or because it is not needed any more */ \
	X(RESTART) /* by an operator */ \
	X(KILL) \
	X(EXITED) \
	X(GONE) \
	X(UNWELL) /* its health checks have failed too often */ \
	X(DEADLINE)

enum ph_instance_input {
#define X(name) PH_INSTANCE_IN_##name,
	PH_INSTANCE_INPUTS(X)
#undef X
	PH_INSTANCE_INPUT_COUNT
};

/* What follows when the process of an instance is gone. */
enum ph_after {
	PH_AFTER_POLICY,
	PH_AFTER_AGAIN,
	PH_AFTER_CLAIM, /* the fence stopped it: again, but only by a claim */
	PH_AFTER_STOPPED,
	PH_AFTER_DISCARD
};

struct ph_instance {
	struct ph_slot *slot;
	uint32_t changes;     /* of state: a step within a step is seen by it */
	struct ph_spec *spec; /* own copy: what it was or will be started from */
	enum ph_instance_state state;
	uint64_t since_ms;
	struct ph_timer timer;
	uint64_t epoch;
	enum ph_role role;
	enum ph_lineage lineage; /* of what its process has, as in the entry; heal.h */
	uint64_t born_ms, copied_ms;

	/* the process; wid 0: none */
	uint64_t wid;
	uint32_t pid;
	bool connected, said_ready;
	bool adopted;	/* by this daemon: it may speak of what an earlier one told it */
	bool activated; /* told `activate`, no ready since */
	uint32_t caps;
	bool has_state;
	char format[PH_VERSION_SIZE];
	uint64_t format_version;
	size_t n_accepts;
	struct ph_accepts accepts[PH_ACCEPTS_MAX];
	char *meta;
	uint64_t started_ms, ready_ms, watchdog_ms;
	uint64_t closed_ms;	/* its control connection ended, or its daemon's life began */
	uint64_t half_grace_ms; /* STOPPING: stop_signal is due; 0: sent */
	uint64_t kill_ms;	/* STOPPING: SIGKILL is due */
	uint64_t resumed_by_ms; /* `resumed` is due, else it counts as hung; 0: not waited for */

	/* health.c */
	uint64_t probe_at_ms;	 /* the next probe; 0: none is due */
	uint64_t probe_number;	 /* of the one that is under way; 0: none is */
	uint32_t probe_failures; /* in a row */

	/* policy */
	char why[PH_REASON_SIZE];	/* the last start failed; empty: it did not */
	char never_why[PH_REASON_SIZE]; /* this process has said that it is never moved */
	enum ph_after after;
	bool failed_start; /* the end that follows counts as a failure */
	struct ph_exit exit;
	uint32_t restarts;
	uint32_t streak;     /* restarts without a healthy time between */
	uint64_t *window_ms; /* times of the newest restarts, at most intensity; owned */
	uint32_t n_window, window_cap;

	bool held;	   /* a prepared new one whose record is lost: others may know what it is */
	struct ph_id past; /* a migration that it may still speak of, though it is over here */
	struct ph_source *source;	 /* it is the old worker of */
	struct ph_target *target;	 /* it is the new worker of */
	struct ph_conflict *conflict;	 /* it has lost one */
	UT_hash_handle hh;		 /* by wid, while it has one */
	struct ph_instance *prev, *next; /* all */
};

/* ---- migrations ---- */

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
	uint64_t retention_until_ms, tell_by_ms;
	uint64_t done_version; /* of the registry, that all live members must have */
	uint32_t attempt;      /* downtime budget: doubled each attempt */
	bool refused;	       /* by the worker: */
	bool busy, never;      /* ... how; busy: the target has no slot free, too */
	char refusal[PH_VERSION_SIZE];
	uint64_t retry_after_ms;
	uint64_t order; /* the move's order, 0: by plan */
	bool cancelled; /* by an operator */

	struct ph_migration_info info;
	uint64_t started_ms, ended_ms;
	struct ph_name *void_wait; /* members that have not confirmed `void`; owned */
	size_t n_void_wait;
	UT_hash_handle hh;
};

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

/* ---- claims: one object a key; asked together in batches ---- */

struct ph_claim {
	struct ph_slot *slot;
	enum ph_claim_basis basis;
	struct ph_name node; /* who would own it */
	struct ph_id id;     /* of the migration */
	uint64_t number;     /* of the batch in which it was asked last */
	uint64_t epoch;
	uint64_t asked_ms, started_ms, again_ms;
	uint64_t arrivals; /* hub->arrivals when it was asked */
	struct ph_timer timer;
	uint32_t n_granted;	 /* quorum strategies: members of the view that granted it ... */
	bool self_granted;	 /* ... this one too, synced */
	struct ph_name rests_on; /* the node whose death it rests on, or empty */
	size_t n_wait;		 /* nodes whose answer is missing; ... */
	uint64_t *wait;		 /* ... their numbers are bits of this; owned */
	uint32_t wait_words;
	struct ph_claim *prev, *next;
};

/* ---- workers whose copy does not go on after a heal ---- */

#define PH_CONFLICT_STATES(X) \
	X(WAITING) /* for its turn: those before it have deadlines */ \
	X(ASKED)   /* told `conflict`: frozen from then on */ \
	X(TAKING)  /* its state is being written to a file */ \
	X(KEPT)	   /* there it is, the worker is being stopped: for its turn with the hook */ \
	X(MERGING) /* the hook `conflict` has it: the shell ends each within its time */ \
	X(TELLING) /* decided, the worker is being stopped: the winner's node is told */

enum ph_conflict_state {
#define X(name) PH_CONFLICT_##name,
	PH_CONFLICT_STATES(X)
#undef X
	PH_CONFLICT_STATE_COUNT
};

#define PH_CONFLICT_INPUTS(X) \
	X(TURN) \
	X(HELLO)    /* the worker has (again) a connection */ \
	X(ACCEPTED) /* worker: handover_accept, or progress */ \
	X(REFUSED)  /* worker: handover_refuse */ \
	X(STATE_END) \
	X(READ)	  /* all that came stands in the file */ \
	X(FAILED) /* the file cannot be written, or the connection broke */ \
	X(GONE)	  /* the worker has ended */ \
	X(HOOKED) /* the hook has ended */ \
	X(ACKED)  /* the winner's node knows */ \
	X(DEADLINE)

enum ph_conflict_input {
#define X(name) PH_CONFLICT_IN_##name,
	PH_CONFLICT_INPUTS(X)
#undef X
	PH_CONFLICT_INPUT_COUNT
};

struct ph_conflict {
	struct ph_id id;
	struct ph_key key;
	struct ph_instance *loser; /* NULL: it has ended */
	struct ph_name winner;
	uint64_t winner_epoch, epoch; /* epoch: the loser's */
	enum ph_conflict_state state;
	struct ph_timer timer;
	uint64_t until_ms; /* TAKING, TELLING: not longer than that in all */
	uint64_t resend_wait_ms;
	bool have_end, have_read, kept, merged;
	uint64_t end_bytes, read_bytes;
	char format[PH_VERSION_SIZE]; /* of its state */
	uint64_t format_version;
	char text[PH_REASON_SIZE]; /* the file; not kept: why */
	struct ph_conflict *prev, *next;
};

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
	char why[PH_REASON_SIZE];
	struct ph_move *prev, *next;
};

/* ---- operators' orders ---- */

enum ph_order_line_state {
	PH_LINE_OPEN,
	PH_LINE_SENT,
	PH_LINE_TAKEN,
	PH_LINE_DONE,
	PH_LINE_FAILED
};

struct ph_order_line {
	struct ph_key key;
	struct ph_name node;  /* FORGET: who is asked; else empty */
	struct ph_name local; /* placement local: whose it is; else empty */
	enum ph_order_line_state state;
	struct ph_id id;
	bool drained_before;   /* a drain: of an earlier one its node says so still */
	int error;	       /* FAILED: what the whole answer says; 0: EREMOTEIO */
	uint32_t pid;	       /* before a restart */
	struct ph_name wisher; /* STOP: who was last seen to keep the wish; empty: nobody yet ... */
	uint64_t wished_ms;    /* ... and when */
	uint64_t sent_ms;
	uint32_t tries;
	char text[PH_REASON_SIZE];
};

struct ph_order {
	uint64_t number; /* repeated in ORDER and ORDER_ACK */
	struct ph_command command;
	uint64_t started_ms;
	struct ph_timer timer;
	bool agreed;	      /* FORGET: all would, now they are to */
	uint64_t incarnation; /* FORGET: of the node, as far as it is known here */
	size_t n_lines;
	struct ph_order_line *lines;
	struct ph_order *prev, *next;
};

/* ---- journal tickets that something waits for ---- */

enum ph_wait_kind {
	PH_WAIT_SOURCE,
	PH_WAIT_TARGET,
	PH_WAIT_START,
	PH_WAIT_CLAIM, /* this node's own grant to its claim */
	PH_WAIT_GRANT, /* the grants of an answer */
	PH_WAIT_BALLOT,
	PH_WAIT_HEAL
};
struct ph_wait {
	uint64_t ticket;
	uint64_t epoch; /* START, HEAL */
	enum ph_lineage lineage;
	enum ph_wait_kind kind;
	struct ph_id id;      /* SOURCE, TARGET */
	struct ph_slot *slot; /* START, CLAIM, HEAL */
	uint64_t number;      /* CLAIM, GRANT: of the batch */
	struct ph_name to;    /* GRANT, BALLOT: who is answered */
	size_t n_lines;	      /* GRANT */
	struct ph_claim_line *lines;
	enum ph_bkind answer; /* BALLOT */
	UT_hash_handle hh;
};

/* ---- the numbered view of the quorum strategies ---- */

struct ph_view {
	uint64_t number; /* 0: none yet */
	uint32_t size;	 /* at least n: members of `peers` whose names are not known yet count */
	size_t n;
	struct ph_name *names; /* sorted; owned */
};

struct ph_ballot {	 /* of this node as proposer of the next view */
	uint64_t number; /* 0: none runs */
	uint64_t view;
	uint64_t started_ms;
	bool proposed; /* the second phase */
	uint64_t best; /* highest ballot at which a value was accepted before */
	char *value;   /* owned */
	size_t n_yes;
	struct ph_name *yes; /* owned */
};

struct ph_history {
	struct ph_migration_info info;
	bool presumed;	/* ended because its source did: the source may know better */
	uint64_t at_ms; /* when info.elapsed_ms was right */
	struct ph_history *prev, *next;
	UT_hash_handle hh;
};

#define PH_DONE_ORDERS 256

struct ph_done_order { /* the answer to an order of another node, for a repeat of it */
	struct ph_name from;
	uint64_t order;
	struct ph_key key;
	bool ok;
	struct ph_id id;
	char reason[PH_REASON_SIZE];
};

#endif
