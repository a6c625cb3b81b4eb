/* objects_instance.h - one worker of this node. */
#ifndef PH_CORE_OBJECTS_INSTANCE_H
#define PH_CORE_OBJECTS_INSTANCE_H

#include "core/timer.h"

#define PH_NEVER_MOVES "the worker refused: never" /* why one is not, with `never_moves` */

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
	X(HELD) /* no process: until what it is started after is ready */ \
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
	X(UNWELL)  /* its health checks have failed too often */ \
	X(GIVE_UP) /* without a process: its group was given up */ \
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
	PH_AFTER_GROUP,	 /* again, as its group is restarted ... */
	PH_AFTER_FAILED, /* ... or not, as its group was given up */
	PH_AFTER_CLAIM,	 /* the fence stopped it: again, but only by a claim */
	PH_AFTER_STOPPED,
	PH_AFTER_DISCARD
};

struct ph_instance {
	struct ph_slot *slot;
	struct ph_instance *prev, *next; /* all; beside what walks through all of them look at */
	uint32_t changes;		 /* of state: a step within a step is seen by it */
	const struct ph_spec *spec;	 /* what it was or will be started from; ph_spec_clone() */
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
	bool unheard;	/* ... and may have said READY=1 while none listened */
	bool activated; /* told `activate`, no ready since */
	uint32_t caps;
	bool has_state;
	char format[PH_VERSION_SIZE];
	uint64_t format_version;
	size_t n_accepts;
	struct ph_accepts *accepts; /* owned */
	char *meta;
	uint64_t started_ms, ready_ms, watchdog_ms;
	bool excused;		/* its silence, once, as the loop stood still: due.c */
	uint64_t closed_ms;	/* its control connection ended, or its daemon's life began */
	uint64_t half_grace_ms; /* STOPPING: stop_signal is due; 0: sent */
	uint64_t kill_ms;	/* STOPPING: SIGKILL is due */
	uint64_t resumed_by_ms; /* `resumed` is due, else it counts as hung; 0: not waited for */

	/* health.c */
	uint64_t probe_at_ms;	 /* the next probe; 0: none is due */
	uint64_t probe_number;	 /* of the one that is under way; 0: none is */
	uint32_t probe_failures; /* in a row */

	/* policy */
	char *why;	  /* the last start failed; NULL: it did not; owned */
	bool never_moves; /* this process has said so */
	enum ph_after after;
	struct ph_group
		*regroup;  /* it is being stopped for that one, or is to be: group.c; or NULL */
	bool failed_start; /* the end that follows counts as a failure */
	uint32_t blocked;  /* starts in a row that failed as an address to listen at is taken */
	struct ph_exit exit;
	uint32_t restarts;
	uint32_t streak;     /* restarts without a healthy time between */
	uint64_t *window_ms; /* times of the newest restarts, at most intensity; owned */
	uint32_t n_window, window_cap;

	bool held;	   /* a prepared new one whose record is lost: others may know what it is */
	struct ph_id past; /* a migration that it may still speak of, though it is over here */
	struct ph_source *source;		   /* it is the old worker of */
	struct ph_target *target;		   /* it is the new worker of */
	struct ph_conflict *conflict;		   /* it has lost one */
	UT_hash_handle hh;			   /* by wid, while it has one */
	struct ph_instance *held_prev, *held_next; /* those that are HELD */
};

#endif
