/*
 * bmsg.h - what the daemons of a cluster say to each other, as one plain struct.
 *
 * proto/bus.* turns it into the JSON body of an envelope and back; core makes and reads it as it
 * is. One struct with every field: which of them a kind uses is the table's business. Text and
 * list pointers are borrowed and live as long as the step (or the decoded document) they came with.
 * Every message may be lost, repeated, late or out of order; (id, kind) tells a repeat.
 */
#ifndef PH_BASE_BMSG_H
#define PH_BASE_BMSG_H

#include "base/types.h"

#define PH_HOPS_MAX 16 /* of gossip */

/* X(enumerator, word on the wire) */
#define PH_BKINDS(X) \
	X(NONE, "") \
	X(HELLO, "hello")	    /* cast: who I am, to `peers` and all members */ \
	X(CHALLENGE, "challenge")   /* answer to HELLO: repeat this `nonce` */ \
	X(PROOF, "proof")	    /* answer to CHALLENGE: the HELLO is no recording */ \
	X(WELCOME, "welcome")	    /* answer to PROOF (or HELLO): who I am, whom I know */ \
	X(REFUSED, "refused")	    /* answer to PROOF: `reason` */ \
	X(PROBE, "probe")	    /* are you there? `sequence`; the way back: by `target` */ \
	X(PROBE_ACK, "probe_ack")   /* its `sequence` */ \
	X(HEARTBEAT, "heartbeat")   /* cast */ \
	X(LEAVE, "leave")	    /* cast: orderly end of this incarnation */ \
	X(REGISTRY, "registry")	    /* cast, or answer to FETCH: entries and migrations */ \
	X(FETCH, "fetch")	    /* asks for a node's part of the registry since a version */ \
	X(DIGEST, "digest")	    /* whose parts the sender has, and as of which version */ \
	X(HAVE, "have")		    /* the receiver's part, to where no heartbeat can say so */ \
	X(SPEC_FETCH, "spec_fetch") /* asks for the specs named in `specs` */ \
	X(SPEC, "spec")		    /* specs with their text */ \
	X(CLAIM, "claim")	    /* asks what the receiver knows of `claims` */ \
	X(CLAIM_ANSWER, "claim_answer") \
	X(PREPARE, "prepare") \
	X(READY, "ready") \
	X(REJECT, "reject")	  /* `never` is synced, N is dead */ \
	X(DIAL_BACK, "dial_back") /* A cannot dial B's stream address: B dials A's */ \
	X(ROUND, "round")	  /* bytes of a round are coming */ \
	X(ROUND_END, "round_end") /* that round is complete at A */ \
	X(LOADED, "loaded")	  /* N applied a round that was not the last */ \
	X(PREPARED, "prepared") \
	X(COMMIT, "commit") \
	X(ACTIVE, "active") \
	X(NACK, "nack") /* `never` is synced, N is dead */ \
	X(LOST, "lost") /* B lost its journal and cannot tell */ \
	X(ABORT, "abort") \
	X(ABORTED, "aborted") /* `never` is synced, N is dead */ \
	X(VOID, "void")	      /* to all members: A resumed O, `id` must not be taken over */ \
	X(VOID_ACK, "void_ack") \
	X(QUERY, "query")	/* B asks A what became of `id` */ \
	X(RELEASE, "release")	/* B gives the child back: N died before its first ready */ \
	X(RELEASED, "released") /* A has taken it back, or B may go on (`ok` false) */ \
	X(FORGET, "forget")	/* A's outcome is synced: B may forget it */ \
	X(FORGOTTEN, "forgotten") \
	X(PROPOSED, "proposed") /* to the owner: a text that changed in the sender's file */ \
	X(DROPPED, "dropped")	/* asks who declares the children named in `specs` */ \
	X(DECLARED, "declared") /* answer: those of them that this node declares */ \
	X(ORDER, "order")	/* an operator's order for the receiver's children */ \
	X(ORDER_ACK, "order_ack") \
	X(VIEW_FETCH, "view_fetch") /* asks for the view, or for a ballot's outcome */ \
	X(VIEW, "view")		    /* a numbered view that a quorum has chosen */ \
	X(VIEW_ASK, "view_ask")	    /* ballot `ballot` for view `view`: who accepts no lower? */ \
	X(VIEW_PROMISE, "view_promise") \
	X(VIEW_PROPOSE, "view_propose") /* `value` for that ballot */ \
	X(VIEW_ACCEPTED, "view_accepted") \
	X(GRANTS_FETCH, "grants_fetch") /* from one that lost its journal: what was granted? */ \
	X(GRANTS, "grants") /* the answer; or of one that leaves, the epochs it has seen */ \
	X(GRANT_CHECK, "grant_check") /* does the receiver still claim what it was granted? */ \
	X(UNCLAIM, "unclaim")	      /* the sender does not claim these (any more) */ \
	X(GRANTED, "granted")	/* to an owner held for dead: these were granted to others */ \
	X(CONFLICT, "conflict") /* the loser of a heal: what became of its state */ \
	X(CONFLICT_ACK, "conflict_ack") \
	X(LOGS, "logs")	  /* the shell's: asks for lines of a child, and says which have come */ \
	X(LINES, "lines") /* ... answer: some of them, repeated until they have come */ \
	X(RELAY, "relay") /* the shell's: a message for `target`, sealed, to be passed on */

enum ph_bkind {
#define X(name, word) PH_B_##name,
	PH_BKINDS(X)
#undef X
	PH_BKIND_COUNT
};

/* the state of a member, as people see it: X(enumerator, word) */
#define PH_MEMBER_STATES(X) \
	X(UNKNOWN, "unknown") \
	X(JOINING, "joining") \
	X(ALIVE, "alive") \
	X(SUSPECT, "suspect") \
	X(DEAD, "dead") \
	X(LEFT, "left")

enum ph_member_state {
#define X(name, word) PH_MEMBER_##name,
	PH_MEMBER_STATES(X)
#undef X
	PH_MEMBER_STATE_COUNT
};

/* the state of a child, as people see it: X(enumerator, word) */
#define PH_CHILD_STATES(X) \
	X(WAITING, "waiting") \
	X(STARTING, "starting") \
	X(RUNNING, "running") \
	X(STANDBY, "standby") \
	X(FROZEN, "frozen") \
	X(STOPPING, "stopping") \
	X(BACKOFF, "backoff") \
	X(STOPPED, "stopped") \
	X(FAILED, "failed") \
	X(RELEASED, "released") /* owned by nobody: may be claimed; never shown */ \
	X(REMOVED, "removed")	/* a tombstone; never shown */

enum ph_child_state {
#define X(name, word) PH_CHILD_##name,
	PH_CHILD_STATES(X)
#undef X
	PH_CHILD_STATE_COUNT
};

/* the phase of a migration: X(enumerator, word) */
#define PH_PHASES(X) \
	X(PLAN, "plan") \
	X(PREPARE, "prepare") \
	X(COPY, "copy") \
	X(FREEZE, "freeze") \
	X(PREPARED, "prepared") \
	X(COMMIT, "commit") \
	X(ACTIVE, "active") \
	X(RETENTION, "retention") \
	X(STOP, "stop")

enum ph_phase {
#define X(name, word) PH_PHASE_##name,
	PH_PHASES(X)
#undef X
	PH_PHASE_COUNT
};

#define PH_RESULTS(X) \
	X(RUNNING, "running") \
	X(DONE, "done") \
	X(ABORTED, "aborted") \
	X(ROLLED_BACK, "rolled-back") \
	X(SOURCE_DEAD, "source-dead") \
	X(TARGET_DEAD, "target-dead")

enum ph_result {
#define X(name, word) PH_RESULT_##name,
	PH_RESULTS(X)
#undef X
	PH_RESULT_COUNT
};

/* where the state of an owner's copy came from: better ones first */
#define PH_LINEAGES(X) \
	X(CONTINUED, "continued") \
	X(FROM_COPY, "from-copy") \
	X(COLD, "cold")

enum ph_lineage {
#define X(name, word) PH_LINEAGE_##name,
	PH_LINEAGES(X)
#undef X
	PH_LINEAGE_COUNT
};

/* How a worker ended. */
enum ph_exit_kind {
	PH_EXIT_NONE,
	PH_EXIT_CODE,
	PH_EXIT_SIGNAL,
	PH_EXIT_CORE,
	PH_EXIT_UNKNOWN,
	PH_EXIT_OOM /* by SIGKILL, as its memory ran out */
};
struct ph_exit {
	enum ph_exit_kind kind;
	uint32_t value; /* exit code, or signal number */
};

/* What a daemon says of itself or of a member. */
struct ph_member_info {
	struct ph_name name;
	uint64_t incarnation;
	uint32_t slot;
	char address[PH_ADDRESS_SIZE]; /* tcp://host:port of the broadcast plane */
	double weight;
	const char *labels; /* joined by ','; NULL: none */
	char version[PH_VERSION_SIZE];
	enum ph_member_state state;
	bool draining;
	/* Its settings, where they are told (not in heartbeats); 0: unknown. */
	uint32_t failure_ms; /* failure_timeout */
	uint32_t fence_ms;   /* fence_after and its grace: then its last worker is gone */
	bool quorate;	     /* it has a quorum strategy */
};

/* What a heartbeat's sender says of a member; in brief a place says JOINED and BASE. */
enum ph_echo_flag {
	PH_ECHO_SUSPECT = 1,  /* the sender has no fresh echo from it */
	PH_ECHO_WITHHELD = 2, /* the echo renews no lease: something of it was granted to another */
	PH_ECHO_JOINED = 4,   /* it is not joining any more */
	PH_ECHO_DRAINING = 8,
	PH_ECHO_DRAINED = 16,
	PH_ECHO_ASK = 32, /* what others have of its part matters to the sender: no places for it */
	PH_ECHO_LIST = 64,    /* it is heard, and has named what is here `list` ... */
	PH_ECHO_BASE = 128,   /* ... or what is here `base`, as either of its two */
	PH_ECHO_UNSURE = 256, /* `have` may lack what its author gave away: it confirms nothing */
	PH_ECHO_ADRIFT =
		512, /* the sender's place in the view is another one's: it renews no lease */
	PH_ECHO_SEATED =
		1024 /* it has said so, and an earlier life at its address had that place */
};

/* In a heartbeat: what its sender has heard from one member. */
struct ph_echo {
	struct ph_name name;
	uint64_t incarnation;
	uint64_t sequence; /* newest heartbeat number heard from it */
	uint64_t age_ms;   /* since its newest echo of the sender's own heartbeat */
	uint64_t have;	   /* version of its part of the registry that the sender has */
	uint32_t flags;	   /* enum ph_echo_flag */
};

struct ph_age {
	uint64_t ms;
};

/* One line of the registry: an owner of a key. */
struct ph_entry {
	struct ph_key key;
	bool local; /* placement local: one a node, keyed by the node too */
	struct ph_name node;
	uint64_t epoch;
	uint64_t version;  /* of the author's part, when it was last changed */
	uint64_t revision; /* of the spec it runs */
	enum ph_child_state state;
	bool ready;
	bool stopped_by_wish; /* an operator's `stop` is in force */
	uint32_t wishes;      /* so often it was stopped and started by order, at most 65535 */
	bool unfit;	      /* released because its node cannot start it */
	bool done;	      /* its worker has ended, and its policy starts no other */
	enum ph_role role;
	enum ph_lineage lineage;
	uint64_t born_ms;   /* when its state began from nothing; 0: no process, so no state */
	uint64_t copied_ms; /* from-copy: when the copy was taken; both as core/heal.h has them */
	uint32_t pid;	    /* 0: none */
	uint32_t restarts;
	struct ph_exit exit; /* of its last process, or NONE */
	uint64_t age_ms;     /* in this state, at the moment of sending */
	const char *meta;    /* compact JSON object, or NULL */
};

/* In a DIGEST: what its sender has of one node's part of the registry. */
struct ph_part {
	struct ph_name name;
	uint64_t incarnation;
	uint64_t have, have_migrations; /* versions */
	uint64_t digest; /* of that part as the sender has it; 0: it may not be the whole of it */
};

/* A migration as everybody can see it; its source is the author. */
struct ph_migration_info {
	struct ph_id id;
	struct ph_key key;
	struct ph_name from, to;
	uint64_t version; /* of the source's list, when it was last changed */
	enum ph_phase phase;
	enum ph_result result;
	uint32_t round;
	uint64_t bytes;
	bool has_total;
	uint64_t total;
	uint64_t elapsed_ms;
	bool has_downtime;
	uint64_t downtime_us;
	char reason[PH_REASON_SIZE];
};

/* Why somebody asks for a child. */
#define PH_CLAIM_BASES(X) \
	X(COLD, "cold")		/* unowned, or its owner is dead or gone: start from the spec */ \
	X(COMMIT, "commit")	/* A for B, at the end of a handover */ \
	X(TAKEOVER, "takeover") /* B holds a prepared copy, A is dead */ \
	X(TAKEBACK, "takeback") /* A takes back what it may have given to B */ \
	X(HEAL, "heal") /* two owners have met: the one with the better copy goes on above both */

enum ph_claim_basis {
#define X(name, word) PH_CLAIM_##name,
	PH_CLAIM_BASES(X)
#undef X
	PH_CLAIM_BASIS_COUNT
};

/* What a member answers to a claim. */
#define PH_VERDICTS(X) \
	X(FREE, "free")	  /* nothing here speaks against it */ \
	X(OWNED, "owned") /* an active owner that this node does not hold for dead: `node` */ \
	X(LOW, "low")	  /* `seen` is not below the epoch asked for: ask above it */ \
	X(WAIT, "wait")	  /* somebody goes before: ask again later */ \
	X(WITHHELD, "withheld") /* nothing known speaks against it, but it is not granted (yet) */ \
	X(REFUSED, "refused")	/* `void` is known for the migration */

enum ph_verdict {
#define X(name, word) PH_VERDICT_##name,
	PH_VERDICTS(X)
#undef X
	PH_VERDICT_COUNT
};

/* What is known of the last owner of a key that nobody has now. */
struct ph_past {
	uint64_t epoch;	  /* 0: nothing */
	uint64_t version; /* as that of its entry, and so on */
	uint64_t revision;
	uint32_t restarts;
	struct ph_exit exit;
	bool done;
};

/* One key of a CLAIM or CLAIM_ANSWER. */
struct ph_claim_line {
	struct ph_key key;
	uint64_t epoch; /* asked for; ANSWER OWNED: the owner's */
	enum ph_claim_basis basis;
	struct ph_name node;	 /* CLAIM: who would own it; ANSWER OWNED: who owns it */
	struct ph_id id;	 /* of the migration, or none */
	struct ph_name rests_on; /* CLAIM: the node whose death it rests on; empty: on none */
	enum ph_lineage lineage; /* HEAL: of the claimant's copy, and `seen` is its epoch so far */
	uint64_t born_ms, copied_ms;
	enum ph_verdict verdict;
	uint64_t seen;	      /* ANSWER: highest epoch known */
	bool stopped_by_wish; /* ANSWER: an operator's stop is known */
	struct ph_past past;  /* ANSWER */
};

struct ph_spec; /* core/spec.h */

/* A child's specification: the name alone, or all of it. */
struct ph_spec_line {
	struct ph_name child;
	uint64_t revision;
	const char *text;	    /* canonical JSON, or NULL */
	const struct ph_spec *spec; /* what `text` says, filled in by the receiving shell; NULL if
				       it refused the text */
};

#define PH_VERBS(X) \
	X(NONE, "") \
	X(START, "start") \
	X(STOP, "stop") \
	X(RESTART, "restart") \
	X(MOVE, "move") \
	X(DRAIN, "drain") \
	X(UNDRAIN, "undrain") \
	X(WAIT, "wait") \
	X(RELOAD, "reload") \
	X(CANCEL, "cancel") \
	X(FORGET, "forget") \
	X(SWAP, "swap") \
	X(REGROUP, "regroup") /* between daemons only; `force`: it is given up */ \
	X(ADD, "add") \
	X(REMOVE, "remove") \
	X(SIGNAL, "signal")

enum ph_verb {
#define X(name, word) PH_VERB_##name,
	PH_VERBS(X)
#undef X
	PH_VERB_COUNT
};

/* In LINES: a line that a worker wrote. */
struct ph_log_line {
	uint32_t instance, replica;
	bool has_age;
	uint64_t age_ms; /* at the moment of sending */
	uint32_t stream; /* enum ph_output_stream */
	bool cut, gap;
	const char *text;
};

#define PH_SECRET_SIZE 32 /* bytes of a ticket, which proves a stream; A's shell draws it */

struct ph_bmsg {
	enum ph_bkind kind;
	/* from the envelope */
	struct ph_name from;
	uint64_t incarnation;

	/* HELLO, CHALLENGE, PROOF, WELCOME, HEARTBEAT, LEAVE */
	struct ph_member_info self;
	size_t n_members;
	const struct ph_member_info *members;
	uint64_t known_incarnation; /* CHALLENGE, WELCOME, REFUSED: the receiver's, as known;
				       ORDER to REMOVE: the revision */
	struct ph_id nonce;	    /* CHALLENGE, PROOF; none: only `known` matters */
	uint64_t previous;	    /* PROOF: incarnation that this state_dir had before; 0: none */
	bool refused;		    /* PROOF: somebody has refused the sender just now;
					 CHALLENGE: its name is another one's, which lives:
					 `known_incarnation` is that one's; REFUSED: as there,
					 or its slot is: it is to give way */
	bool brief;		    /* HELLO, PROOF: the WELCOME need not name whom it knows */
	uint64_t sequence;	    /* HEARTBEAT, PROBE */
	bool drained;		    /* HEARTBEAT: a drain has ended */
	uint64_t registry_version, registry_digest, migrations_version;
	uint32_t children;
	size_t n_echoes;
	const struct ph_echo *echoes; /* those that `places` does not tell */
	/*
	 * HEARTBEAT: digests of the sender's list of members, and of the one in whose order it
	 * tells its echoes in brief; base/places.h, core/roll.c. What a place does not say: `have`
	 * is the version that the echoed heartbeat announced.
	 */
	uint64_t list, base; /* 0: none */
	size_t n_ages;
	const struct ph_age *ages; /* those that places name */
	const char *places;	   /* NULL: all echoes are lines */

	/*
	 * REGISTRY: a node's part, from (exclusive) and up to a version; its migrations likewise
	 * from `sequence` up to `migrations_version` (both also carried by REGISTRY). Answer to a
	 * FETCH: `registry_version`: as of when the sender has that part; `registry_digest` of it,
	 * 0 where its author may say otherwise.
	 * FETCH: `since` and `migrations_version`: what the asker has.
	 */
	struct ph_name node; /* whose part, and `known_incarnation` is its; empty: the sender's
				(REGISTRY), the receiver's (FETCH) */
	bool fetched;	     /* REGISTRY: answer to a FETCH */
	uint32_t hops;	     /* REGISTRY: by gossip, to be passed on so often */
	uint64_t since, until;
	bool whole; /* REGISTRY: first piece of the whole part: forget what was known of it */
	bool last;  /* REGISTRY: last piece */
	size_t n_entries;
	const struct ph_entry *entries;
	size_t n_migrations;
	const struct ph_migration_info *migrations;

	/* DIGEST */
	size_t n_parts;
	const struct ph_part *parts;
	bool ask; /* the receiver's own is wanted as answer; ORDER: would it do so? nothing more */

	/* SPEC_FETCH, SPEC, DROPPED, DECLARED; PREPARE and PROPOSED have exactly one */
	size_t n_specs;
	const struct ph_spec_line *specs;

	/* CLAIM, CLAIM_ANSWER */
	uint64_t claim; /* number of the claimant's, repeated in the answer */
	size_t n_claims;
	const struct ph_claim_line *claims;

	/* migrations */
	struct ph_id id;
	struct ph_key key;
	uint64_t epoch;
	bool overlap;		      /* PREPARE: no handover, both may serve */
	char format[PH_VERSION_SIZE]; /* PREPARE: as O's hello says; ROUND: as O hands it over */
	uint64_t format_version;
	uint64_t born_ms, copied_ms; /* PREPARE: of O's state, as in its entry */
	uint64_t age_ms;	     /* PREPARE: since A last decided where the child is to be */
	uint64_t bytes_estimate;
	uint8_t ticket[PH_SECRET_SIZE];
	uint32_t round;
	uint64_t bytes;
	uint64_t digest;
	bool final;
	struct ph_id journal; /* PREPARED, COMMIT: id of B's journal */
	uint64_t seen; /* PREPARED: highest epoch that B knows of the key; CONFLICT: loser's */
	bool ok;       /* RELEASED, ORDER_ACK, READY (state can be taken), CONFLICT (kept) */
	bool merged;   /* CONFLICT: a hook has taken care of its state */
	bool busy;     /* REJECT, ORDER_ACK: try again later */
	char reason[PH_REASON_SIZE];
	const char *meta; /* ACTIVE: N's metadata, if known */

	/* ORDER, ORDER_ACK */
	uint64_t order; /* number of the sender's, repeated in the answer */
	enum ph_verb verb;
	bool all_instances;
	uint32_t signal;       /* SIGNAL: its number */
	struct ph_name target; /* MOVE, FORGET: the node (of `known_incarnation`); RELAY: for whom
				  it is; PROBE: by whom */
	bool force;

	/* quorum strategies: HEARTBEAT, CLAIM, CLAIM_ANSWER, VIEW..., GRANTS */
	uint64_t view;		   /* number of the sender's; VIEW_ASK...: of the one to choose */
	uint64_t ballot, accepted; /* PROMISE: `value` was accepted at `accepted`, 0: none */
	const char *value;	   /* a view as text: "SIZE NAME@INCARNATION,..." */

	/*
	 * LOGS: `id` of the asking, `key` and `all_instances`, `sequence` of the newest LINES that
	 * have come, `final`: no more are wanted. LINES: `id`, `sequence`, `final`: the last ones,
	 * with a `reason` where there can be none.
	 */
	uint32_t n_last;   /* so many lines of each instance ... */
	uint64_t since_ms; /* ... or, not 0, those of this time */
	bool follow;
	size_t n_lines;
	const struct ph_log_line *lines;

	/* RELAY */
	const char *frame; /* the whole sealed message, in hex */
	bool passed_on;	   /* by the one in between */
};

#endif
