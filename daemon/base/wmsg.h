/*
 * wmsg.h - what a worker and its daemon say to each other, as one plain struct.
 *
 * proto/worker.* turns it into a line of JSON and back; core sends and receives it as it is.
 * One struct with every field: which of them an op uses is the table's business
 * (proto/worker.c), and unused ones are zero. Text pointers are borrowed from whoever made the
 * message and live as long as it does.
 */
#ifndef PH_BASE_WMSG_H
#define PH_BASE_WMSG_H

#include "base/types.h"

/* ops: X(enumerator, word on the wire) */
#define PH_WOPS(X) \
	X(NONE, "") \
	X(HELLO, "hello") \
	X(WELCOME, "welcome") \
	X(READY, "ready") \
	X(META, "meta") \
	X(STATUS, "status") \
	X(WATCHDOG, "watchdog") \
	X(PING, "ping") \
	X(PONG, "pong") \
	X(ROLE, "role") \
	X(LOOKUP, "lookup") \
	X(FOUND, "found") \
	X(WATCH, "watch") \
	X(UNWATCH, "unwatch") \
	X(CHANGED, "changed") \
	X(STOP, "stop") \
	X(ERROR, "error") \
	X(DATA, "data") \
	X(HANDOVER_ASK, "handover_ask") \
	X(HANDOVER_START, "handover_start") \
	X(HANDOVER_ACCEPT, "handover_accept") \
	X(HANDOVER_REFUSE, "handover_refuse") \
	X(PROGRESS, "progress") \
	X(STATE_END, "state_end") \
	X(NEXT_ROUND, "next_round") \
	X(FREEZE, "freeze") \
	X(RESUME, "resume") \
	X(RESUMED, "resumed") \
	X(COMMITTED, "committed") \
	X(RETENTION_HANDLED, "retention_handled") \
	X(CONFLICT, "conflict") \
	X(HANDOVER, "handover") \
	X(HANDOVER_REJECT, "handover_reject") \
	X(HANDOVER_LOADED, "handover_loaded") \
	X(ACTIVATE, "activate") \
	X(ABORT, "abort")

enum ph_wop {
#define X(name, word) PH_W_##name,
	PH_WOPS(X)
#undef X
	PH_WOP_COUNT
};

/* caps of a hello, as bits */
enum ph_cap {
	PH_CAP_HANDOVER = 1 << 0,
	PH_CAP_ASK = 1 << 1,
	PH_CAP_ROUNDS = 1 << 2,
	PH_CAP_REDIRECT = 1 << 3,
	PH_CAP_ROLE = 1 << 4,
};

/* `state` of a worker's standing in a handover (hello after a reconnect) */
enum ph_standing {
	PH_STANDING_NONE,
	PH_STANDING_SENDING,
	PH_STANDING_FROZEN,
	PH_STANDING_LOADING,
	PH_STANDING_LOADED,
	PH_STANDING_COMMITTED,
};

#define PH_ACCEPTS_MAX 8 /* state formats that a worker may list */

/* A state format and the versions of it that a worker can load. */
struct ph_accepts {
	char format[PH_VERSION_SIZE];
	uint64_t min, max;
};

struct ph_wmsg {
	enum ph_wop op;
	bool has_req, has_re;
	struct ph_ref req, re;

	char token[PH_TOKEN_SIZE]; /* hello, data */
	bool v1;		   /* hello: `v` lists 1 */
	uint32_t caps;		   /* hello: bits of enum ph_cap; unknown words are ignored */

	/* hello.state; handover_accept and handover use format and version alone */
	bool has_state;
	char format[PH_VERSION_SIZE];
	uint64_t version;
	size_t n_accepts;
	struct ph_accepts accepts[PH_ACCEPTS_MAX];

	/* hello.standing */
	bool has_standing;
	enum ph_role standing_role;
	uint64_t standing_epoch;
	struct ph_id standing_id; /* none: not in a handover */
	enum ph_standing standing;

	/* welcome, role */
	struct ph_name node;
	struct ph_name child; /* welcome, lookup, watch */
	bool has_instance;
	uint32_t instance;
	enum ph_role role;
	bool has_migration; /* welcome.migration: id, epoch (below) and phase */
	struct ph_id migration_id;
	uint64_t migration_epoch;
	const char *phase;

	/* handovers */
	struct ph_id id;
	uint64_t epoch;
	uint32_t round;
	uint64_t bytes; /* state_end, handover_loaded, progress */
	bool has_bytes_estimate;
	uint64_t bytes_estimate;
	uint64_t dirty_bytes;
	bool final;
	uint64_t max_bytes;
	uint64_t timeout_ms, downtime_ms, deadline_ms, retention_ms, grace_ms, retry_after_ms;
	uint32_t rounds_max;
	bool overlap;	 /* handover_start.mode: false exclusive, true overlap */
	bool startup_ok; /* handover_start.startup.ok */
	bool has_digest;
	uint64_t digest;       /* handover_loaded: XXH3-64; 16 hex digits on the wire */
	struct ph_name target; /* handover_ask.target.node, handover_start.startup.node,
				  committed.new.node, conflict.winner.node */
	struct ph_name from;   /* handover */
	uint64_t winner_epoch; /* conflict.winner.epoch */

	const char *code; /* error, handover_refuse, handover_reject; a word of at most 63 bytes */
	const char *text; /* status, error, handover_reject, or NULL */
	const char *reason; /* stop, resume, abort, or NULL */
	const char *meta;   /* ready, meta; committed.new.meta: compact JSON object, or NULL */
	const char *prefix; /* watch, unwatch, or NULL */

	/* found, changed: compact JSON list of INTERFACE.md's `instances`; `more`: not the last
	 * line */
	const char *instances;
	bool more;
	bool stale; /* the sender is cut off: no echo from any member for failure_timeout */
};

#endif
