/*
 * spec.h - what core knows of a child: the policy, not how to start it.
 *
 * The whole specification is `text` (canonical JSON made by conf/); core carries it from node to
 * node and compares its hash. The shell fills the other fields from the same text. What always
 * holds: a spec that somebody keeps is never changed; another revision of it is another struct,
 * with the same texts. Tested by tests/unit/test_core_spec.c.
 */
#ifndef PH_CORE_SPEC_H
#define PH_CORE_SPEC_H

#include "base/types.h"

enum ph_ready_kind {
	PH_READY_NONE,
	PH_READY_PROTOCOL,
	PH_READY_NOTIFY,
	PH_READY_PROBE /* the shell asks from outside: PH_ACT_PROBE */
};
enum ph_restart_policy {
	PH_RESTART_PERMANENT,
	PH_RESTART_TRANSIENT,
	PH_RESTART_TEMPORARY
};
enum ph_on_limit {
	PH_LIMIT_FAIL,
	PH_LIMIT_RETRY,
	PH_LIMIT_ELSEWHERE /* another node takes it; where none can, as RETRY */
};
enum ph_handover_want {
	PH_HANDOVER_AUTO,
	PH_HANDOVER_YES,
	PH_HANDOVER_NO
};

struct ph_restart {
	enum ph_restart_policy policy;
	uint64_t delay_ms, backoff_ms, backoff_max_ms;
	uint32_t jitter_percent;
	uint32_t intensity; /* restarts within within_ms; 0: no limit */
	uint64_t within_ms;
	enum ph_on_limit on_limit;
	uint64_t retry_after_ms;
};

enum ph_group_strategy {
	PH_GROUP_ONE_FOR_ONE,
	PH_GROUP_ONE_FOR_ALL,
	PH_GROUP_REST_FOR_ONE
};

struct ph_group_spec {
	struct ph_name name; /* empty: in no group */
	enum ph_group_strategy strategy;
	const char *members; /* in the order of their start, joined by ',' */
	uint32_t intensity;  /* restarts of the group within within_ms; 0: no limit */
	uint64_t within_ms;
};

struct ph_health {	      /* asked from outside while it runs */
	uint64_t interval_ms; /* 0: never */
	uint64_t timeout_ms;
	uint32_t failures; /* in a row, before it is restarted */
};

struct ph_spec {
	struct ph_name child;
	uint64_t revision; /* made like an epoch; 0: not in force yet */
	const char *text;  /* canonical JSON */
	uint64_t hash;	   /* of text; equal on all machines for equal texts */
	uint64_t process;  /* hash of what only a new process brings: command, env, user ... */
	uint32_t instances;
	bool added; /* at run time: no file declares it (added.c) */

	bool local;
	const char *nodes;  /* fnmatch patterns joined by ','; NULL: any */
	const char *labels; /* labels that a node must have, joined by ','; NULL: none */

	enum ph_ready_kind ready;
	uint64_t start_timeout_ms;
	int stop_signal;
	uint64_t stop_timeout_ms;
	uint64_t watchdog_ms; /* 0: none */
	const char *after;    /* children that are ready before it starts, joined by ','; or NULL */
	struct ph_group_spec group;
	struct ph_restart restart;
	struct ph_health health;

	bool swap; /* migration.strategy hot-swap; false: none */
	enum ph_handover_want handover;
	uint64_t retention_ms, timeout_ms, downtime_ms, defer_max_ms;
	uint32_t rounds_max;
	uint64_t max_state_bytes;

	/* Both are those of spec.c: of a clone; else 0 and NULL, and the texts are somebody else's.
	 */
	size_t keepers; /* of this struct */
	size_t *copies; /* that have the same texts, which are theirs together */
};

/*
 * The same for one more who keeps it, and frees it: a copy, or, of a clone, that clone itself,
 * which nobody ever changes: a child may have a hundred thousand instances. Ends the process
 * without memory, as all of core does.
 */
const struct ph_spec *ph_spec_clone(const struct ph_spec *spec);
/* The same with another revision. */
const struct ph_spec *ph_spec_revise(const struct ph_spec *spec, uint64_t revision);
void ph_spec_free(const struct ph_spec *spec); /* NULL is allowed */

#endif
