/*
 * event.h - what happened: the only way anything reaches core.
 *
 * Every pointer in an event is borrowed for the time of the step. `wid` is the number that core
 * gave a worker process in its SPAWN action (or, at the start, the shell in ADOPTED).
 */
#ifndef PH_CORE_EVENT_H
#define PH_CORE_EVENT_H

#include "base/bmsg.h"
#include "base/record.h"
#include "base/wmsg.h"
#include "core/spec.h"

#define PH_EVENTS(X) \
	/* start, in this order: CONFIGURED*, RESTORED*, ADOPTED*, START */ \
	X(RESTORED)	   /* `record`: read from the journal */ \
	X(ADOPTED)	   /* `adopted`: a worker process of an earlier daemon that still lives */ \
	X(START)	   /* all that was is known: compare with what should be, and act */ \
	X(CONFIGURED)	   /* `config`: a whole set of children (start, reload) */ \
	X(TICK)		   /* nothing but time */ \
	X(MESSAGE)	   /* `message` from another daemon, decoded, not a replay */ \
	X(INCARNATION)	   /* `ticket`: this node's number from now on; or `error` */ \
	X(PEERS)	   /* `peers`: what is known of them now, in place of the settings' */ \
	X(BUS_UP)	   /* the bus process runs: links are being made */ \
	X(BUS_DOWN)	   /* it died; says nothing about peers */ \
	X(SPAWNED)	   /* `wid`, `pid` */ \
	X(SPAWN_FAILED)	   /* `wid`, `text` */ \
	X(EXITED)	   /* `wid`, `exit`: the main process ended */ \
	X(GONE)		   /* `wid`: answer to REAP: nothing of its group is left */ \
	X(WORKER)	   /* `wid`, `worker`: a message on its control connection */ \
	X(WORKER_CLOSED)   /* `wid`: its control connection ended */ \
	X(NOTIFIED)	   /* `wid`, `notify` */ \
	X(PROBED)	   /* `wid`, `ticket` of the order; `error` 0: it serves, else `text` */ \
	X(STREAM_ROUND)	   /* `stream`: a round is complete (A: confirmed; B: written to N) */ \
	X(STREAM_READ)	   /* A: `stream`: O's end of file, bytes of that round; \
			      KEEP: `text`: the file, which has them */ \
	X(STREAM_PROGRESS) /* `stream`: bytes of all rounds so far */ \
	X(STREAM_FAILED)   /* `stream`, `text` */ \
	X(STREAM_NO_DIAL)  /* `stream`: the peer's stream address cannot be dialled */ \
	X(HOOKED)	   /* `id`: the hook that had it has ended: `error` 0: with 0, \
			      and nothing of it is left */ \
	X(JOURNALLED)	   /* `ticket`, `error` 0: that record is synced; \
			      else nothing is known of it. `ticket` 0: there is no room, `text` */ \
	X(JOURNAL_BACK)	   /* a new journal is in place, `id` its id: records count again */ \
	X(COMMAND)	   /* `command` */ \
	X(DETACHED)	   /* `ticket`: the client of that command is gone */ \
	X(SHUTDOWN)	   /* orderly stop; a second one: at once, without drain */ \
	X(FENCED) /* this node's lease was over, while its loop stood still or before: the \
		     fence stops its workers that others may take over */

enum ph_event_kind {
#define X(name) PH_EV_##name,
	PH_EVENTS(X)
#undef X
	PH_EVENT_COUNT
};

/* What restarts have been counted, for the next daemon: so many within `within`, the oldest and the
 * newest of them then. */
struct ph_tally {
	uint32_t streak, counted;
	uint64_t first_ms, last_ms;
};

/* A worker process found alive at the start, from the state file or from its environment. */
struct ph_adopted {
	uint64_t wid;
	uint32_t pid;
	struct ph_key key;
	uint64_t epoch, revision;
	uint64_t born_ms, copied_ms; /* of its state; 0: not known, not from a copy */
	enum ph_role role;	     /* STANDBY: a new worker that was not activated */
	bool retired;		     /* it had been told `committed`, ... */
	uint64_t retained_until_ms;  /* ... and its retention is over then; 0: not known */
	bool ready, unheard;	/* unheard: it may have said READY=1 while no daemon listened */
	bool again;		/* it was being stopped to be started again */
	struct ph_id migration; /* the one it took part in, or none */
	uint64_t since_ms;	/* it has been in its state since then; 0: not known */
	uint32_t restarts;
	const char *meta;
	const struct ph_spec *spec; /* what it was started from, or NULL */
	bool done;		    /* no process, wid 0: its policy does not start it again ... */
	bool failed;		    /* ... as it has failed too often */
	uint64_t due_ms;	    /* `done`: not for good, it is started then; 0: for good */
	struct ph_exit exit;	    /* `done`: its end */
	const char *why;	    /* `done`: why it could not be started, or NULL */
	struct ph_tally tally;
};

struct ph_config {
	size_t n_specs;
	const struct ph_spec *const *specs; /* sorted by name; revision 0 */
	uint32_t migrations_max;
	uint64_t settle_ms;
	bool drain_on_stop;
	bool accept_any;
	bool merges; /* there is a hook `conflict` */
	bool spread; /* what differs from the texts in force takes their place, on all nodes */
};

struct ph_notify {
	bool ready, stopping, watchdog;
	bool trigger;	    /* it found out itself that it is broken */
	uint64_t extend_ms; /* 0: none; from now on */
	uint32_t main_pid;  /* 0: none; the shell has checked the session, and watches it */
};

struct ph_stream_report {
	struct ph_id id;
	bool incoming; /* of the end that the new worker reads from */
	uint32_t round;
	uint64_t bytes;
	uint64_t digest;
};

struct ph_command {
	uint64_t ticket; /* the shell's number for the answer */
	enum ph_verb verb;
	struct ph_name child;
	bool all_instances; /* every instance of `child` */
	uint32_t instance;
	struct ph_name node; /* MOVE, FORGET; DRAIN, UNDRAIN: empty for this node */
	struct ph_id id;     /* CANCEL: of the migration, of which ... */
	uint32_t id_digits;  /* ... so many hex digits are given */
	bool force, no_wait, keep_going;
	size_t n_specs; /* ADD: what is to be added, sorted by name, revision 0 ... */
	const struct ph_spec *const *specs; /* ... as long as the step */
	int signal;			    /* SIGNAL */
	uint64_t timeout_ms;		    /* 0: none */
	enum ph_wait_for {
		PH_WAIT_READY,
		PH_WAIT_STOPPED,
		PH_WAIT_MOVED
	} wait_for;
};

/* As in the settings. */
struct ph_peers {
	size_t n;
	const char *const *texts, *const *addresses;
};

struct ph_event {
	enum ph_event_kind kind;
	uint64_t wid;
	uint64_t ticket;
	int error; /* positive errno */
	uint32_t pid;
	const char *text;
	struct ph_id id;
	struct ph_exit exit;
	union {
		const struct ph_record *record;
		const struct ph_adopted *adopted;
		const struct ph_config *config;
		const struct ph_bmsg *message;
		const struct ph_peers *peers;
		const struct ph_wmsg *worker;
		const struct ph_notify *notify;
		const struct ph_stream_report *stream;
		const struct ph_command *command;
	};
};

#endif
