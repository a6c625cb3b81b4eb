/*
 * action.h - what the shell is to do: the only thing that core gives.
 *
 * Actions of a step are carried out in order, after the step; what comes of them are events. All
 * pointers live until the next call of ph_step.
 */
#ifndef PH_CORE_ACTION_H
#define PH_CORE_ACTION_H

#include "base/bmsg.h"
#include "base/emits.h"
#include "base/record.h"
#include "base/wmsg.h"
#include "core/spec.h"

#define PH_ACTIONS(X) \
	X(SPAWN)    /* `spawn`: start a process -> SPAWNED or SPAWN_FAILED */ \
	X(SIGNAL)   /* `wid`, `signal`: to the main process; KILL: to the whole group */ \
	X(PROBE)    /* `wid`, `probe`: ask from outside whether it serves -> PROBED */ \
	X(REAP)	    /* `wid`: it has exited: kill what is left of its group, forget its \
		       pid, token and connection -> GONE when nothing is left */ \
	X(TELL)	    /* `wid`, `worker`: on its control connection; dropped without one */ \
	X(COMPLAIN) /* `wid`, `worker` (op ERROR, code, text): tell, close the connection */ \
	X(SEND)	    /* `to`, `incarnation`, `message`, `via`: directed; into PREPARE goes the \
		       ticket of its id. With `address`: to the one that is there, linked or not */ \
	X(CAST)	    /* `message`: to all linked members and, for HELLO, to `peers` */ \
	X(LINK)	    /* `to`, `address`, `incarnation`: dial a member; again, where they differ */ \
	X(UNLINK)   /* `to` */ \
	X(MEND)	    /* `to`: nothing comes over the link to it: dial it anew */ \
	X(SEEDS)    /* `on`: dial the configured peers, or hang up those that are no member */ \
	X(INCARNATION)	 /* `incarnation`: keep it, or one that is as high as the time is (see \
			    ph_incarnation_from()), as this node's; synced -> INCARNATION */ \
	X(JOURNAL)	 /* `record`, `ticket`: write and sync -> JOURNALLED; ticket 0: none */ \
	X(STREAM_SEND)	 /* `stream`: A dials B's stream address, relays O's data connections */ \
	X(STREAM_EXPECT) /* `stream`: B accepts that id and relays to N's data connections */ \
	X(STREAM_DIAL)	 /* `stream`: B dials A's stream address */ \
	X(STREAM_KEEP)	 /* `stream`: write the worker's data connection to a file of its own \
			    -> STREAM_READ with its name, when it is synced; or STREAM_FAILED */ \
	X(STREAM_CLOSE)	 /* `stream` id: drop all of it; `on`: the file that was kept stays */ \
	X(HOOK)		 /* `hook`: the file that was kept is for the hook `conflict` -> HOOKED */ \
	X(ANSWER)	 /* `answer`: to a command */ \
	X(EMIT)		 /* `emit`: an event for people, hooks, logs */ \
	X(CHANGED)	 /* `key`: what a lookup answers has changed */ \
	X(TEXT)		 /* `key`: another text of that child is in force */ \
	X(LOG)		 /* `text`: a line for the log, `level` */ \
	X(READY)	 /* the node has joined or is alone: sd_notify READY */ \
	X(EXIT)		 /* everything is stopped: leave the loop */

enum ph_action_kind {
#define X(name) PH_ACT_##name,
	PH_ACTIONS(X)
#undef X
	PH_ACTION_COUNT
};

struct ph_spawn {
	struct ph_key key;
	const struct ph_spec *spec;
	uint64_t epoch;
	enum ph_role role;
	struct ph_id migration; /* none unless it is the new worker of a handover */
	uint32_t restarts;
	bool claimable; /* others may take it over: the fence is to know it */
};

struct ph_probe_order {
	struct ph_key key;
	const struct ph_spec *spec;
	bool health;	 /* by the spec's health; else by its ready */
	uint64_t number; /* `ticket` of the answer */
	uint64_t timeout_ms;
};

struct ph_stream_order {
	struct ph_id id;
	struct ph_name peer;
	uint64_t wid;			/* the worker whose data connections belong to it */
	bool incoming;			/* EXPECT, DIAL, CLOSE: the end of the new worker */
	uint8_t ticket[PH_SECRET_SIZE]; /* EXPECT: that of PREPARE. SEND: the shell's own */
	uint64_t max_bytes;
	struct ph_key key; /* KEEP: whose state, ... */
	uint64_t epoch;	   /* ... and of which epoch */
};

/* What lost a conflict, and who goes on. */
struct ph_hook_order {
	struct ph_id id; /* that of STREAM_KEEP */
	struct ph_key key;
	uint64_t epoch;	  /* of the loser */
	const char *file; /* in the state_dir */
	const char *format;
	uint64_t format_version;
	struct ph_name winner; /* who owns the key now */
	uint64_t winner_epoch;
	const char *winner_meta; /* or NULL */
};

/* One line of an answer to start, stop, restart, move, drain, wait. */
struct ph_outcome {
	struct ph_key key;
	bool ok;
	bool whole;	 /* of the child, not of one of its instances */
	int error;	 /* not ok: a positive errno that says more, or 0 */
	struct ph_id id; /* of the migration, or none */
	char text[PH_REASON_SIZE];
};

struct ph_answer {
	uint64_t ticket; /* of the command; this is the last word on it */
	int error;	 /* 0, or a positive errno: ENOENT no such child or node, ETIMEDOUT, EINVAL,
			    EREMOTEIO failed (see outcomes), EINPROGRESS partly done */
	char text[PH_REASON_SIZE];
	size_t n_outcomes;
	const struct ph_outcome *outcomes;
};

enum ph_emit_kind {
#define X(name, word) PH_EMIT_##name,
	PH_EMITS(X)
#undef X
	PH_EMIT_COUNT
};

/* An event for people; fields that do not apply are empty, zero or NULL. */
struct ph_emit {
	enum ph_emit_kind kind;
	bool has_key;
	struct ph_key key;
	struct ph_name peer; /* the node that it is about */
	struct ph_id id;     /* of the migration */
	struct ph_name from, to;
	enum ph_phase phase;
	enum ph_result result;
	uint64_t epoch;
	uint64_t from_epoch; /* CONFLICT_RESOLVED: of the loser, `from`; `to` goes on at `epoch` */
	const char *kept;    /* ... and the file in its state_dir with the loser's state, or NULL */
	bool merged;	     /* ... or a hook has taken care of it */
	uint32_t pid;
	struct ph_exit exit;
	uint64_t delay_ms;
	const char *text;
};

enum ph_log_level {
	PH_LOG_ERROR,
	PH_LOG_WARNING,
	PH_LOG_INFO,
	PH_LOG_DEBUG
};

struct ph_action {
	enum ph_action_kind kind;
	uint64_t wid;
	int signal;
	bool wake; /* SIGNAL: and SIGCONT, so that one that is stopped gets it */
	bool on;
	enum ph_log_level level;
	uint64_t ticket;
	struct ph_name to;
	uint64_t incarnation; /* SEND: the receiver's; 0: whichever it is. INCARNATION: the new one
			       */
	struct ph_name via;   /* SEND: a copy by way of this member, sealed for `to`; or empty */
	const char *address;
	const char *text;
	struct ph_key key;
	union {
		const struct ph_spawn *spawn;
		const struct ph_probe_order *probe;
		const struct ph_wmsg *worker;
		const struct ph_bmsg *message;
		const struct ph_record *record;
		const struct ph_stream_order *stream;
		const struct ph_hook_order *hook;
		const struct ph_answer *answer;
		const struct ph_emit *emit;
	};
};

struct ph_actions {
	size_t n; /* at most PH_ACTIONS_MAX; what did not fit comes with the next step, for which
		     ph_next_deadline then asks at once */
	const struct ph_action *items;
};
#define PH_ACTIONS_MAX 1024

#endif
