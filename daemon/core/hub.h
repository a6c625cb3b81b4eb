/*
 * hub.h - one node's whole mind: membership, registry, children, migrations, orders.
 *
 * Pure: events in, actions out. It must not know clocks, descriptors, threads, random sources, the
 * environment, logs, or JSON: time and events are arguments, and random bits come from a generator
 * seeded by the caller; secrets it makes none. The same seed and the same events give the same
 * actions. Tested by tests/unit/test_core_*.c and, under faults, by tests/sim.
 *
 * What always holds: a step never blocks and is bounded; `now_ms` (milliseconds since boot) never
 * goes back; no action is given for a worker after REAP of it; nothing that a record must protect
 * is done before its JOURNALLED.
 */
#ifndef PH_CORE_HUB_H
#define PH_CORE_HUB_H

#include "core/action.h"
#include "core/event.h"

struct ph_hub;

/* README, "Limits". What other nodes name beyond them is dropped (limit.c). */
#define PH_NODES_MAX 1024   /* of a cluster, this one included; as PH_BMSG_MEMBERS_MAX */
#define PH_KEYS_MAX 100000u /* children with all their instances; as PH_CONF_INSTANCES_MAX */

/* What the parts of a cut network do; README, "When the network splits". */
enum ph_partition {
	PH_PARTITION_DIVERGENCE,     /* each part goes on, and they agree when they meet again */
	PH_PARTITION_STATIC_QUORUM,  /* only a part of at least `quorum_size` goes on */
	PH_PARTITION_DYNAMIC_QUORUM, /* `quorum_percent` of a view that shrinks after a while */
	PH_PARTITION_MAJORITY
};

struct ph_settings {
	struct ph_name node;
	uint32_t slot;	      /* 24 bits */
	uint64_t incarnation; /* synced by the caller before use */
	uint64_t previous;    /* the one before it, as stored; 0: none */
	double weight;
	const char *labels; /* joined by ','; NULL: none */
	char version[PH_VERSION_SIZE];
	char address[PH_ADDRESS_SIZE]; /* advertised broadcast address; empty: a single node */
	size_t n_peers;
	const char *const *peers;    /* broadcast addresses of `peers`, without this node's own */
	const char *const *peers_at; /* the same with their names resolved, empty: it has no
				      * address (yet); NULL: there are no names */
	uint64_t join_timeout_ms, failure_timeout_ms, settle_ms;
	uint64_t heartbeat_ms; /* 250 */
	uint64_t exchange_ms;  /* between two full exchanges with somebody; 0: never */
	uint32_t fanout;       /* members that are told a change; 0: all, by a cast */
	uint32_t migrations_max;
	enum ph_partition partition;
	uint32_t quorum_size, quorum_percent;
	uint64_t quorum_hold_ms; /* a dead member stays in a dynamic quorum's view for so long */
	uint64_t fence_after_ms, fence_grace_ms; /* a lease lasts; workers are given to end */
	uint64_t lease_until_ms; /* of an earlier daemon whose workers live; 0: none is known */
	bool drain_on_stop;
	bool accept_any;
	bool merges;	      /* there is a hook `conflict` */
	struct ph_id journal; /* id of the journal in place */
	bool journal_lost;    /* what an earlier daemon promised cannot be read */
	bool journal_writable;
	uint64_t seed; /* of ids and jitter; not secret */
};

/* A hub that has seen no event yet; NULL without memory. Copies what it needs. */
struct ph_hub *ph_hub_new(const struct ph_settings *settings);
void ph_hub_free(struct ph_hub *hub);

/*
 * One step. `ret` gets what is to be done; it and all that it points to are the hub's and live
 * until the next call. Running out of memory ends the process: a hub that lost half a step would
 * decide from what is not so.
 */
void ph_step(
	struct ph_hub *hub, const struct ph_event *event, uint64_t now_ms, struct ph_actions *ret);

/* When it wants its next TICK at the latest: absolute ms, UINT64_MAX: never. */
uint64_t ph_next_deadline(const struct ph_hub *hub);

/* ---- reading: nothing here changes the hub; pointers live until the next ph_step ---- */

/* The node's members, itself first, sorted by name after that. `each` returns false to stop. */
struct ph_member_view {
	struct ph_member_info info;
	bool self;
	uint32_t children;    /* entries that it owns */
	uint64_t echo_age_ms; /* since its newest echo of ours; UINT64_MAX: never */
};
void ph_hub_members(const struct ph_hub *hub, uint64_t now_ms,
	bool (*each)(void *arg, const struct ph_member_view *member), void *arg);

/*
 * May it name who is gone? It had no echo from any other member for failure_timeout, or was away as
 * long and is not in step again.
 */
bool ph_hub_stale(const struct ph_hub *hub, uint64_t now_ms);
/* Has it a quorum? 1 yes, 0 no, -1 without a quorum strategy. */
int ph_hub_quorum(const struct ph_hub *hub);
/*
 * Until when (absolute ms) this node may let run what others could take over; UINT64_MAX without a
 * quorum strategy, where only the daemon's own life counts.
 */
uint64_t ph_lease_until(const struct ph_hub *hub);
bool ph_hub_draining(const struct ph_hub *hub);
bool ph_hub_joined(const struct ph_hub *hub);

/*
 * Entries of the registry sorted by key (then node), and one WAITING entry for each wanted key that
 * nobody owns. `child` NULL: all. `differs`: this node's own text of the child is another one.
 */
struct ph_entry_view {
	struct ph_entry entry; /* age_ms is as of `now_ms` */
	bool wanted;	       /* should run: not stopped by wish, not done, not removed */
	bool differs;
	bool added;	/* at run time: no file declares it */
	bool reachable; /* its node is not dead, and has not left */
	bool owned;	/* false: nobody's, or of a node that is gone; `node` is empty */
	char reason[PH_REASON_SIZE]; /* what it waits for, or, of this node's own, what its start
					lacks; or empty */
};
void ph_hub_entries(const struct ph_hub *hub, uint64_t now_ms, const struct ph_name *child,
	bool (*each)(void *arg, const struct ph_entry_view *entry), void *arg);

/* Running migrations of the whole cluster, then the last 1000 finished ones, newest first. */
void ph_hub_migrations(const struct ph_hub *hub, uint64_t now_ms,
	bool (*each)(void *arg, const struct ph_migration_info *migration), void *arg);

/* The spec in force of a child, or this node's own where none is in force yet, or NULL. */
const struct ph_spec *ph_hub_spec(const struct ph_hub *hub, const struct ph_name *child);

/*
 * What a worker of that key would be started from here, with the one that has ended and with the
 * newest text: as many as there are, none where it is not to be started here (again). One that
 * nobody owns yet may be.
 */
size_t ph_hub_starts(struct ph_hub *hub, const struct ph_key *key, const struct ph_spec *ret[2]);

/*
 * May other nodes take over a worker of that spec, so that it must not outlive this node's lease?
 * `spec` NULL: of the one in force; where none is known, not.
 */
bool ph_hub_claimable(
	const struct ph_hub *hub, const struct ph_spec *spec, const struct ph_name *child);

/* The worker processes of this node, for the state file. */
struct ph_worker_view {
	uint64_t wid;
	uint32_t pid;
	struct ph_key key;
	uint64_t epoch, revision, born_ms, copied_ms;
	enum ph_role role;
	bool retired, ready, unheard, active;
	bool again; /* it is being stopped to be started again */
	uint64_t
		retained_until_ms; /* retired: its retention is over then; 0: it is being stopped */
	struct ph_id migration;
	uint64_t since_ms; /* as its child in this state; 0: it is not that one */
	uint32_t restarts;
	const char *meta;
	const struct ph_spec *spec;
	struct ph_tally tally;
	bool failed;	     /* ph_hub_done(): too often */
	uint64_t due_ms;     /* ... it is started then; 0: it has ended for good */
	struct ph_exit exit; /* ... its end */
	const char *why;     /* ... why it could not be started, or NULL */
};
void ph_hub_workers(const struct ph_hub *hub,
	bool (*each)(void *arg, const struct ph_worker_view *worker), void *arg);
/* Those of this node that have ended and wait for their next start, or that have ended for good by
 * their policy, an operator's wish apart: wid 0. */
void ph_hub_done(const struct ph_hub *hub,
	bool (*each)(void *arg, const struct ph_worker_view *worker), void *arg);

/* Every record that is still in force, for the compaction of the journal, oldest first. */
void ph_hub_records(const struct ph_hub *hub,
	void (*each)(void *arg, const struct ph_record *record), void *arg);

/* Counts for a simulator's and a test's invariants. */
struct ph_hub_counts {
	size_t members, entries, workers, sources, targets, claims, moves, orders, conflicts;
};
void ph_hub_count(const struct ph_hub *hub, struct ph_hub_counts *ret);

#endif
