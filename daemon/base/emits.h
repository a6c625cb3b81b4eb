/*
 * emits.h - the events for people, by number and word: what happens on a node, as `events`, hooks
 * and the log name it. What each of them says: struct ph_emit (core/action.h).
 */
#ifndef PH_BASE_EMITS_H
#define PH_BASE_EMITS_H

#define PH_EMITS(X) \
	X(NODE_JOINED, "node_joined") \
	X(NODE_SUSPECT, "node_suspect") \
	X(NODE_LEFT, "node_left") \
	X(NODE_DEAD, "node_dead") \
	X(NODE_REFUSED, "node_refused") \
	X(CHILD_STARTING, "child_starting") \
	X(CHILD_READY, "child_ready") \
	X(CHILD_EXITED, "child_exited") \
	X(CHILD_RESTARTING, "child_restarting") \
	X(CHILD_FAILED, "child_failed") \
	X(CHILD_STOPPED, "child_stopped") \
	X(CHILD_ADDED, "child_added") \
	X(CHILD_REMOVED, "child_removed") \
	X(CHILD_CHANGED, "child_changed") \
	X(CHILD_MIGRATED, "child_migrated") \
	X(MIGRATION_STARTED, "migration_started") \
	X(MIGRATION_PHASE, "migration_phase") \
	X(MIGRATION_ABORTED, "migration_aborted") \
	X(ROLE_CHANGED, "role_changed") \
	X(QUORUM_LOST, "quorum_lost") \
	X(QUORUM_GAINED, "quorum_gained") \
	X(CONFLICT_RESOLVED, "conflict_resolved") \
	X(CONFIG_RELOADED, "config_reloaded") \
	X(CONFIG_REJECTED, "config_rejected") \
	X(UPGRADE_REFUSED, "upgrade_refused") \
	X(BUS_AUTH_FAILED, "bus_auth_failed") \
	X(BUS_RESTARTED, "bus_restarted") \
	X(BIND_FAILED, "bind_failed") \
	X(WORKER_PROTOCOL_ERROR, "worker_protocol_error") \
	X(JOURNAL_FAILED, "journal_failed")

#endif
