/*
 * state.h - the inside of a hub, shared by core's own files and by nobody else.
 *
 * What always holds: objects name each other by id or by a pointer that the owner clears; an
 * object is freed only when no action can name it any more (ph_out_bury). One record (struct
 * ph_slot) stands for each key that was ever heard of; everything that this node does about the key
 * hangs off it.
 */
#ifndef PH_CORE_STATE_H
#define PH_CORE_STATE_H

#define HASH_FUNCTION(key, n, hash) \
	((hash) = (unsigned)ph_mix64(ph_hash_bytes(PH_HASH_SEED, key, n)))
#include <uthash.h>
#include <utlist.h>

#include "core/hub.h"
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
	X(ORDER)

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

struct ph_report { /* what one member says of another */
	struct ph_name name;
	uint64_t age_ms;
};

struct ph_member {
	struct ph_member_info info; /* labels: owned */
	enum ph_member_state state;
	bool linked, refused;
	uint64_t since_ms;  /* in this state */
	uint64_t first_ms;  /* this incarnation first heard of */
	uint64_t heard_seq; /* newest heartbeat heard */
	uint64_t heard_at_ms;
	uint64_t echo_at_ms;	/* when the newest heartbeat of ours that it echoed was sent */
	bool echoed;		/* this incarnation has echoed us at least once */
	uint64_t hears_me_have; /* version of our part that it has */
	uint64_t registry_version, registry_digest, migrations_version; /* as it says */
	uint64_t have, have_migrations; /* what we have of its part */
	uint64_t digest;		/* of its part as we have it */
	uint64_t fetch_at_ms;		/* last asked */
	bool sweeping;			/* a whole part is coming */
	uint32_t sweep;			/* number of that sweep */
	bool drained, welcomed;
	bool restarted;	      /* alive under an earlier incarnation a moment ago */
	uint64_t newcomer_ms; /* since when children may move to it; 0: they stay where they are */
	uint32_t children;
	bool kept; /* limit.c: somebody still needs it */
	size_t n_reports;
	struct ph_report *reports;
	UT_hash_handle hh;
};

/* ---- children and keys ---- */

struct ph_unfit;

struct ph_child {
	struct ph_name name;
	struct ph_spec *spec; /* in force: revision > 0; or NULL */
	struct ph_spec *own;  /* this node's configuration declares it; or NULL */
	uint64_t declared_hash, declared_revision; /* as journalled */
	uint64_t wanted_revision; /* seen in the registry, its text still to be fetched */
	uint64_t fetch_at_ms;
	uint64_t offered_ms;	/* its text was last offered to whom placement names */
	struct ph_unfit *unfit; /* nodes that cannot start it; owned */
	size_t n_unfit;
	bool dropped; /* asking who still declares it */
	uint64_t dropped_at_ms;
	UT_hash_handle hh;
};

struct ph_slot_key {
	struct ph_key key;
	struct ph_name local; /* the node, for placement local; else empty */
};

struct ph_instance;
struct ph_source;
struct ph_target;

struct ph_slot {
	struct ph_slot_key k;
	uint64_t seen;			       /* highest epoch known, granted or journalled */
	uint64_t passed_on_ms, passed_on_hash; /* left to others: when, and with which text */
	bool restored; /* `seen` is what an earlier daemon knew; nothing was heard since */
	bool wish_stopped;
	bool seen_dirty, dirty; /* to be journalled with the next batch, cast with the next flush */
	bool raised;		/* ... above what the lost journal may have said, once */
	bool entered;		/* `entry` is in the registry */
	bool starting;		/* its epoch is being synced before the start */
	uint32_t swept;		/* sweep in which its owner spoke of it last */
	struct ph_entry entry;	/* meta: owned */
	uint64_t given_version; /* of our part, when we gave it away; 0: we did not */
	uint64_t since_ms;	/* entry.state since */
	struct ph_instance *instance; /* this node's worker of it, active or to be */
	struct ph_source *source;     /* this node gives it away */
	struct ph_target *target;     /* this node takes it */
	struct ph_claim *claim;	      /* this node asks for it */
	struct ph_move *move;	      /* it is to go, and does not yet */
	struct ph_slot *dirty_next;   /* while `dirty`; the list ends with NULL */
	struct ph_slot *seen_next;    /* while `seen_dirty` */
	struct ph_name place;	      /* where placement wants it; empty: nowhere */
	uint64_t planned_ms;	      /* its owner, here, last asked whether it is to follow */
	uint64_t unowned_ms;	      /* since when nobody owns it, as far as is known; 0: owned */
	uint64_t placed_ms;	      /* ... and placement names somebody who may have it */
	uint64_t move_wait_ms;	      /* back-off of its failed migrations */
	uint32_t move_failures;	      /* of its migrations since the last that went well */
	uint32_t move_attempt;	      /* downtime budgets missed */
	uint64_t busy_since_ms;	      /* its worker has said `busy` since */
	uint64_t service_until_ms;    /* after a missed downtime budget: not moved before */
	struct ph_id void_id;
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
	size_t n_wait;	      /* members whose answer is missing */
	struct ph_name *wait; /* owned */
	struct ph_claim *prev, *next;
};

/* ---- moves that are wanted and not started ---- */

struct ph_move {
	struct ph_slot *slot;
	struct ph_name to;
	struct ph_id id; /* of the migration to come */
	uint64_t order;	 /* 0: by plan */
	uint64_t added_ms, not_before_ms;
	bool started;
	bool force, pinned; /* pinned: the worker said `never` */
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
	struct ph_name local; /* placement local: whose it is; else empty */
	enum ph_order_line_state state;
	struct ph_id id;
	uint32_t pid; /* before a restart */
	uint64_t sent_ms;
	uint32_t tries;
	char text[PH_REASON_SIZE];
};

struct ph_order {
	uint64_t number; /* repeated in ORDER and ORDER_ACK */
	struct ph_command command;
	uint64_t started_ms;
	struct ph_timer timer;
	size_t n_lines;
	struct ph_order_line *lines;
	struct ph_order *prev, *next;
};

/* ---- journal tickets that something waits for ---- */

enum ph_wait_kind {
	PH_WAIT_SOURCE,
	PH_WAIT_TARGET,
	PH_WAIT_START
};
struct ph_wait {
	uint64_t ticket;
	uint64_t epoch; /* START */
	enum ph_lineage lineage;
	enum ph_wait_kind kind;
	struct ph_id id;      /* SOURCE, TARGET */
	struct ph_slot *slot; /* START */
	UT_hash_handle hh;
};

struct ph_history {
	struct ph_migration_info info;
	bool presumed;	/* ended because its source did: the source may know better */
	uint64_t at_ms; /* when info.elapsed_ms was right */
	struct ph_history *prev, *next;
	UT_hash_handle hh;
};

struct ph_chunk;
struct ph_done_order;
#define PH_DONE_ORDERS 256

struct ph_hub {
	struct ph_settings set;
	uint64_t now_ms;
	uint64_t rng[2];
	uint64_t numbers; /* tickets, claim and order numbers, wids */

	/* outbox */
	struct ph_chunk *arena;
	struct ph_action *out;
	size_t n_out, out_cap, out_done;
	void **graves;
	struct ph_spec **spec_graves;
	size_t n_spec_graves, spec_graves_cap;
	size_t n_graves, graves_cap;

	struct ph_timer **heap;
	size_t n_heap, heap_cap;

	bool started, shutting, stopping, exiting, ready_told;
	uint64_t drain_deadline_ms, stopping_ms;
	enum ph_member_state self_state;
	bool draining, drained, drain_planned;
	uint32_t sweeps; /* of members' parts, so far */
	bool bus_down;
	uint64_t bus_down_ms;
	bool drain_force;
	bool drain_wish;    /* an operator's, kept over restarts */
	bool missed_absent; /* heartbeat.c: once after a restart */
	bool blind;	    /* not all of `peers` had answered when this node joined */
	uint64_t started_ms, join_until_ms;
	struct ph_member *members; /* without this node */
	uint64_t sequence;
	uint64_t sent_ms[PH_SENT_RING];
	uint64_t last_beat_ms;
	struct ph_timer beat, hello, plan, flush, moves_timer;
	uint64_t hello_wait_ms, hello_at_ms; /* at: the last one */
	bool strangers;			     /* others hear somebody whom this node does not know */
	uint64_t arrivals;		     /* how often a member became live */
	uint64_t refused_ms, refused_said_ms; /* by another node; 0: never */
	bool away; /* the loop stood still: in step again only after a fetch */

	uint64_t version, digest, migrations_version; /* of this node's part */
	struct ph_child *children;
	struct ph_slot *slots;
	struct ph_slot *dirty, *dirty_last; /* whose entries are to be cast, in order */
	struct ph_slot *seen_dirty;	    /* whose epochs are to be journalled */
	uint32_t n_mine;		    /* entries that this node owns, at `mine_version` */
	uint64_t mine_version;
	uint64_t flushed_version, flushed_migrations; /* what was cast */
	bool flush_now;
	struct ph_instance *instances; /* all */
	struct ph_instance *by_wid;
	struct ph_source *sources;
	struct ph_target *targets;
	struct ph_claim *claims;
	uint64_t asked_again, asked_again_ms; /* batch of claims, and when */
	struct ph_move *moves;
	struct ph_order *orders;
	struct ph_done_order *done_orders; /* ring of PH_DONE_ORDERS */
	size_t next_done_order;
	struct ph_wait *waits;
	struct ph_history *history, *history_by_id; /* newest first */
	size_t n_history;
	uint64_t dropped; /* messages that named too much, since that was told ... */
	uint64_t dropped_told_ms, forgot_ms; /* ... and when; when members were last forgotten */
};

/* Are these two the same node? */
static inline bool ph_is_self(const struct ph_hub *hub, const struct ph_name *node)
{
	return ph_name_equal(&hub->set.node, node);
}

/* ---- out.c: actions, memory of a step, random bits, timers ---- */
void *ph_out_alloc(struct ph_hub *hub, size_t n);	 /* zeroed, lives until the next step */
char *ph_out_text(struct ph_hub *hub, const char *text); /* NULL stays NULL */
struct ph_action *ph_out(struct ph_hub *hub, enum ph_action_kind kind);
void ph_out_bury(struct ph_hub *hub, void *object); /* free() once all actions are delivered */
void ph_out_bury_spec(struct ph_hub *hub, struct ph_spec *spec); /* NULL is allowed */
void ph_out_begin(struct ph_hub *hub);
void ph_out_end(struct ph_hub *hub, struct ph_actions *ret);
void ph_out_free(struct ph_hub *hub);
void *ph_must(void *p); /* ends the process where p is NULL */
uint64_t ph_random(struct ph_hub *hub);
struct ph_id ph_random_id(struct ph_hub *hub);
uint64_t ph_jitter(struct ph_hub *hub, uint64_t ms, uint32_t percent);	       /* ms +- percent */
void ph_timer_set(struct ph_hub *hub, struct ph_timer *timer, uint64_t at_ms); /* NEVER: off */
struct ph_timer *ph_timer_due(struct ph_hub *hub); /* taken off the heap, or NULL */
struct ph_bmsg *ph_send(struct ph_hub *hub, const struct ph_name *to, enum ph_bkind kind);
struct ph_bmsg *ph_cast(struct ph_hub *hub, enum ph_bkind kind);
struct ph_wmsg *ph_tell(struct ph_hub *hub, struct ph_instance *instance, enum ph_wop op);
void ph_complain(struct ph_hub *hub, struct ph_instance *instance, const char *code,
	const char *format, ...) __attribute__((format(printf, 4, 5)));
struct ph_emit *ph_emit(struct ph_hub *hub, enum ph_emit_kind kind, const struct ph_key *key);
void ph_log(struct ph_hub *hub, enum ph_log_level level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Writes and syncs; the ticket comes back in JOURNALLED. */
uint64_t ph_journal(struct ph_hub *hub, const struct ph_record *record);
static inline uint64_t min_ms(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

void ph_reason(char to[PH_REASON_SIZE], const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/*
 * ---- limit.c: does what the message names fit? If not, people and where need be its sender are
 * told, and it is to be dropped. ----
 */
bool ph_limit_pass(struct ph_hub *hub, const struct ph_bmsg *msg);

/* ---- registry.c ---- */
struct ph_slot *ph_slot_find(
	struct ph_hub *hub, const struct ph_key *key, const struct ph_name *local);
struct ph_slot *ph_slot_get(
	struct ph_hub *hub, const struct ph_key *key, const struct ph_name *local);
void ph_slot_seen(struct ph_hub *hub, struct ph_slot *slot, uint64_t epoch);
/* It has a worker here, or one about to be; not one that waits for a claim. */
bool ph_slot_busy(const struct ph_slot *slot);
bool ph_slot_mine(const struct ph_hub *hub, const struct ph_slot *slot);
/* This node owns it from now on. */
void ph_slot_own(struct ph_hub *hub, struct ph_slot *slot, uint64_t epoch, enum ph_lineage lineage);
/* This node has learned (or decided) that somebody else owns it. */
void ph_slot_give(
	struct ph_hub *hub, struct ph_slot *slot, const struct ph_name *node, uint64_t epoch);
/* Its new owner's word is here already: it is passed on as part of ours, in case that owner dies.
 */
void ph_slot_vouch(struct ph_hub *hub, struct ph_slot *slot);
void ph_slot_release(struct ph_hub *hub, struct ph_slot *slot);
/* The entry follows the instance; cast with the next flush. */
void ph_slot_publish(struct ph_hub *hub, struct ph_slot *slot);
void ph_registry_flush(struct ph_hub *hub);
uint32_t ph_registry_mine(struct ph_hub *hub); /* entries that this node owns */
void ph_registry_message(struct ph_hub *hub, const struct ph_bmsg *msg);
void ph_registry_fetch_message(struct ph_hub *hub, const struct ph_bmsg *msg);
void ph_registry_step(struct ph_hub *hub, struct ph_member *member); /* fetch what is missing */
bool ph_registry_in_step(const struct ph_hub *hub, const struct ph_member *member);
void ph_registry_count(struct ph_hub *hub, struct ph_member *member);	    /* its digest, anew */
void ph_registry_forget_node(struct ph_hub *hub, struct ph_member *member); /* new incarnation */
void ph_registry_journal(struct ph_hub *hub); /* a batch of SEEN records */
void ph_registry_tell(struct ph_hub *hub, struct ph_slot *slot, const struct ph_name *to);
uint64_t ph_next_epoch(struct ph_hub *hub, const struct ph_slot *slot);
/* The source of these migrations is gone: none of them runs any more, as far as is known. */
void ph_history_presume(struct ph_hub *hub, const struct ph_name *source, enum ph_result result,
	const char *reason);
/* An attempt that only found no slot free: no migration that failed, and shown to nobody. */
bool ph_history_waited(const struct ph_migration_info *info);
void ph_history_put(struct ph_hub *hub, const struct ph_migration_info *info);

/* ---- member.c ---- */
struct ph_member *ph_member_find(const struct ph_hub *hub, const struct ph_name *name);
bool ph_member_up(const struct ph_hub *hub, const struct ph_name *name); /* or this node */
bool ph_member_live(const struct ph_member *member); /* joining, alive or suspect */
/* Of one that is suspect here: a member that hears it, and is heard; NULL: none, or no need. */
const struct ph_member *ph_member_relay(const struct ph_hub *hub, const struct ph_name *to);
void ph_member_forget(struct ph_hub *hub, struct ph_member *member); /* frees it */
void ph_member_start(struct ph_hub *hub);
void ph_member_message(struct ph_hub *hub, const struct ph_bmsg *msg);
void ph_member_beat(struct ph_hub *hub);
void ph_member_hello(struct ph_hub *hub);
void ph_member_bus(struct ph_hub *hub, bool up);
void ph_member_woke(struct ph_hub *hub); /* did the loop stand still? */
void ph_member_heartbeat_now(struct ph_hub *hub);
void ph_member_leave(struct ph_hub *hub);
/* A message from this incarnation is to be dropped. */
bool ph_member_stale(struct ph_hub *hub, const struct ph_bmsg *msg);

/* ---- child.c: specs ---- */
struct ph_child *ph_child_find(const struct ph_hub *hub, const struct ph_name *name);
struct ph_child *ph_child_get(struct ph_hub *hub, const struct ph_name *name);
const struct ph_spec *ph_child_spec(const struct ph_child *child);
void ph_child_configure(struct ph_hub *hub, const struct ph_config *config);
void ph_child_in_force(struct ph_hub *hub, struct ph_child *child, const struct ph_spec *spec,
	uint64_t revision, bool journal);
/* Its own text, made the one in force if nothing is. NULL: this node knows no text of it. */
const struct ph_spec *ph_child_settle(struct ph_hub *hub, struct ph_child *child);
void ph_child_message(struct ph_hub *hub, const struct ph_bmsg *msg);
void ph_child_redeclare(struct ph_hub *hub); /* START: files that changed meanwhile */
void ph_child_tick(struct ph_hub *hub);	     /* children that nobody declares any more go */
void ph_child_forget(struct ph_hub *hub, struct ph_child *child,
	uint64_t revision);					    /* restored: it was removed */
void ph_child_gone(struct ph_hub *hub, const struct ph_name *name); /* a tombstone was seen */
void ph_child_revision(struct ph_hub *hub, const struct ph_name *name, uint64_t revision,
	const struct ph_name *from);

/* ---- instance.c ---- */
struct ph_instance *ph_instance_new(struct ph_hub *hub, struct ph_slot *slot,
	const struct ph_spec *spec, enum ph_role role, uint64_t epoch);
void ph_instance_step(struct ph_hub *hub, struct ph_instance *instance, enum ph_instance_input in);
void ph_instance_event(struct ph_hub *hub, const struct ph_event *event);
void ph_instance_free(struct ph_hub *hub, struct ph_instance *instance);
/* It was told `resume`: it answers within stop_timeout, and without a connection a while later. */
void ph_instance_await_resumed(struct ph_hub *hub, struct ph_instance *instance);
bool ph_instance_has_process(const struct ph_instance *instance);
/* The registry names this node for a worker that an earlier daemon prepared: it is activated. */
void ph_instance_named(struct ph_hub *hub, struct ph_slot *slot);
void ph_instance_adopt(struct ph_hub *hub, const struct ph_adopted *adopted);
enum ph_child_state ph_instance_shown(const struct ph_instance *instance);

/* ---- policy.c ---- */
/* Wait before the next start, in ms; PH_NEVER_MS: not again (`*failed` tells why). */
uint64_t ph_policy_next(struct ph_hub *hub, struct ph_instance *instance, bool *failed);

/* ---- place.c ---- */
/* Sets `place` of every wanted slot of a placed (not local) child. */
void ph_place_all(struct ph_hub *hub);
/* May a worker of this spec run on that member (or this node)? */
bool ph_place_allows(struct ph_hub *hub, const struct ph_spec *spec, const struct ph_name *name);
/* Does `a` come before `b` in the key's own order of nodes? */
bool ph_place_before(const struct ph_key *key, const struct ph_name *a, const struct ph_name *b);

/* ---- plan.c ---- */
void ph_plan_soon(struct ph_hub *hub, uint64_t wait_ms);
void ph_plan_run(struct ph_hub *hub);
void ph_moves_run(struct ph_hub *hub);
struct ph_move *ph_move_add(struct ph_hub *hub, struct ph_slot *slot, const struct ph_name *to,
	uint64_t order, bool force);
void ph_move_drop(struct ph_hub *hub, struct ph_move *move);
/* A migration ended: what was wanted is wanted again later, or done. */
void ph_plan_migrated(struct ph_hub *hub, struct ph_source *source);
void ph_plan_drained(struct ph_hub *hub);
/* Whoever follows an order reads in the reason whether it goes on: it must not say so in vain. */
void ph_plan_last_word(const struct ph_hub *hub, struct ph_source *source);
bool ph_plan_tried_again(const char *reason); /* of an abort: an order of it goes on */
/* Its worker has said `busy` for defer_max: it is not asked again before the next plan. */
bool ph_plan_busy_for_good(struct ph_hub *hub, struct ph_source *source);
bool ph_plan_movable(struct ph_hub *hub, const struct ph_slot *slot);

/* ---- claim.c ---- */
struct ph_claim *ph_claim_start(struct ph_hub *hub, struct ph_slot *slot, enum ph_claim_basis basis,
	const struct ph_name *node, const struct ph_id *id, uint64_t epoch);
void ph_claim_drop(struct ph_hub *hub, struct ph_claim *claim);
void ph_claim_run(struct ph_hub *hub); /* ask, in batches, what was started in this step */
void ph_claim_deadline(struct ph_hub *hub, struct ph_claim *claim);
void ph_claim_message(struct ph_hub *hub, const struct ph_bmsg *msg);
void ph_claim_member_gone(struct ph_hub *hub, const struct ph_name *name);

/* ---- source.c, target.c ---- */
struct ph_source *ph_source_start(struct ph_hub *hub, struct ph_move *move);
void ph_source_step(struct ph_hub *hub, struct ph_source *source, enum ph_source_input in);
void ph_source_message(struct ph_hub *hub, const struct ph_bmsg *msg);
void ph_source_worker(struct ph_hub *hub, struct ph_source *source, const struct ph_wmsg *msg);
void ph_source_hello(struct ph_hub *hub, struct ph_source *source);
void ph_source_stream(struct ph_hub *hub, struct ph_source *source, const struct ph_event *event);
void ph_source_restore(struct ph_hub *hub, const struct ph_record *record);
void ph_source_restart(struct ph_hub *hub); /* START: go on from what was restored */
void ph_source_deadline(struct ph_hub *hub, struct ph_source *source);
/*
 * O says that it is in a handover, and the journal that would tell how far it got is lost: it stays
 * frozen until a claim gives it back, or shows who owns the child now.
 */
void ph_source_lost(struct ph_hub *hub, struct ph_instance *old, const struct ph_id *id);
bool ph_source_undecided(const struct ph_source *source);
void ph_source_confirmations(struct ph_hub *hub); /* heartbeats have brought `have` forward */
void ph_source_void_ack(struct ph_hub *hub, struct ph_source *source, const struct ph_name *from);

void ph_target_step(struct ph_hub *hub, struct ph_target *target, enum ph_target_input in);
void ph_target_message(struct ph_hub *hub, const struct ph_bmsg *msg);
void ph_target_worker(struct ph_hub *hub, struct ph_target *target, const struct ph_wmsg *msg);
void ph_target_hello(struct ph_hub *hub, struct ph_target *target, const struct ph_wmsg *msg);
void ph_target_stream(struct ph_hub *hub, struct ph_target *target, const struct ph_event *event);
void ph_target_restore(struct ph_hub *hub, const struct ph_record *record);
void ph_target_restart(struct ph_hub *hub);
void ph_target_deadline(struct ph_hub *hub, struct ph_target *target);
size_t ph_migrations_in(const struct ph_hub *hub); /* slots taken */
size_t ph_migrations_out(const struct ph_hub *hub);
void ph_migration_peer_dead(struct ph_hub *hub, const struct ph_name *name);
void ph_migration_peer_restarted(struct ph_hub *hub, const struct ph_name *name);
void ph_migration_peer_back(struct ph_hub *hub, const struct ph_name *name);
void ph_migration_owned(struct ph_hub *hub, struct ph_slot *slot); /* the entry has a new owner */

/* ---- order.c ---- */
void ph_order_command(struct ph_hub *hub, const struct ph_command *command);
void ph_order_detach(struct ph_hub *hub, uint64_t ticket);
void ph_order_message(struct ph_hub *hub, const struct ph_bmsg *msg);
/* Something that orders may wait for has changed: they are looked at in a moment. */
void ph_order_stir(struct ph_hub *hub);
void ph_order_deadline(struct ph_hub *hub, struct ph_order *order);

struct ph_done_order { /* the answer to an order of another node, for a repeat of it */
	struct ph_name from;
	uint64_t order;
	struct ph_key key;
	bool ok;
	struct ph_id id;
	char reason[PH_REASON_SIZE];
};

/* ---- hub.c ---- */
/* A claim was granted: sync the epoch, then own the key and start its worker. */
void ph_own_start(
	struct ph_hub *hub, struct ph_slot *slot, uint64_t epoch, enum ph_lineage lineage);
/* Remember that something waits for this journal ticket. */
struct ph_wait *ph_wait_add(struct ph_hub *hub, uint64_t ticket, enum ph_wait_kind kind);
void ph_shutdown_check(struct ph_hub *hub);

#endif
