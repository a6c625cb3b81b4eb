/*
 * objects.h - what a hub keeps: children, claims, conflicts, and what has a header of its own.
 *
 * Shared by core's own files through state.h, which has the hub itself and what each file offers.
 */
#ifndef PH_CORE_OBJECTS_H
#define PH_CORE_OBJECTS_H

#include "core/objects_instance.h"
#include "core/objects_member.h"
#include "core/objects_migration.h"
#include "core/objects_order.h"
#include "core/objects_quorum.h"

/* ---- children and keys ---- */

struct ph_unfit;

struct ph_child {
	struct ph_name name;
	uint64_t hash;		    /* of the name: the first step of ph_key_hash() */
	const struct ph_spec *spec; /* in force: revision > 0; or NULL */
	const struct ph_spec *own;  /* this node's configuration declares it; or NULL */
	uint64_t declared_hash, declared_revision; /* as journalled */
	bool changed; /* `own` did here, and is not in force: who owns the child has another text */
	struct ph_name fetch_from; /* who has named `wanted_revision` */
	uint64_t wanted_revision;  /* seen in the registry, its text still to be fetched */
	uint64_t removed_revision; /* up to which it was removed; 0: never */
	uint64_t fetch_at_ms, fetch_first_ms;
	uint64_t offered_ms;	/* its text was last offered to whom placement names */
	struct ph_unfit *unfit; /* nodes that cannot start it; owned */
	size_t n_unfit;
	uint32_t slots_first, slots_last; /* of all its slots: no + 1; 0: it has none */
	size_t n_slots;
	uint32_t slots_at; /* where the slot of number 0 is: often the others come after it */
	bool needed;	   /* after.c: somebody was to be started after it */
	bool was_ready;	   /* ... and it was ready at the look of that number */
	bool leaned_on;	   /* by what still runs, in an orderly stop */
	bool named;	   /* by the configuration that is being read */
	uint64_t looked_at;
	uint32_t look_from; /* the instance that was not ready then */
	bool proposes;	    /* its text changed in this node's file: told to its owner */
	bool dropped;	    /* asking who still declares it: dropped.c */
	bool disputed;	    /* owned here, and removed as others know */
	uint64_t dropped_at_ms, dropped_among; /* among: hub->arrivals and hub->unheard then */
	uint32_t asks;			       /* since then */
	struct ph_name declarer;       /* who has said last that its file declares it; or empty */
	uint64_t declarer_incarnation; /* ... and its life then */
	bool doubted;	     /* that one has dropped it since, or was started again and may have */
	uint64_t doubted_ms; /* ... and it was last looked whether to ask */
	UT_hash_handle hh;
};

/* ---- groups whose members have failed ---- */

struct ph_group {
	struct ph_name name;
	uint64_t *window_ms; /* times of its newest restarts, at most intensity; owned */
	uint32_t n_window, window_cap;
	uint32_t n_regroup; /* instances of this node that are stopped for it */
	uint32_t last;	    /* place in its list of the last one of them, at the last look */
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
	struct ph_past past;	 /* as those know it who have answered */
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
	X(LEFT) /* by an earlier daemon, with the state in its file: until this one has joined */ \
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
	bool recorded; /* the journal knows that it is open */
	uint64_t end_bytes, read_bytes;
	char format[PH_VERSION_SIZE]; /* of its state */
	uint64_t format_version;
	char text[PH_REASON_SIZE]; /* the file; not kept: why */
	struct ph_conflict *prev, *next;
};

/* ---- journal tickets that something waits for ---- */

enum ph_wait_kind {
	PH_WAIT_SOURCE,
	PH_WAIT_TARGET,
	PH_WAIT_START,
	PH_WAIT_CLAIM, /* this node's own grant to its claim */
	PH_WAIT_GRANT, /* the grants of an answer */
	PH_WAIT_BALLOT,
	PH_WAIT_ADDED, /* an operator's order to add or remove children */
	PH_WAIT_HEAL
};
struct ph_wait {
	uint64_t ticket;
	uint64_t epoch; /* START, HEAL */
	enum ph_lineage lineage;
	struct ph_past past; /* START by a claim */
	enum ph_wait_kind kind;
	struct ph_id id;      /* SOURCE, TARGET */
	struct ph_slot *slot; /* START, CLAIM, HEAL */
	uint64_t number;      /* CLAIM, GRANT: of the batch; ADDED: of the order */
	struct ph_name to;    /* GRANT, BALLOT: who is answered */
	size_t n_lines;	      /* GRANT */
	struct ph_claim_line *lines;
	enum ph_bkind answer; /* BALLOT */
	UT_hash_handle hh;
};

#endif
