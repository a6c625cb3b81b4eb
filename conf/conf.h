/*
 * conf.h - the configuration: what the files say, as one typed struct.
 *
 * Decides what a legal configuration is and what every option means; all options stand in one
 * table (conf/options.h). Must not know how a child is run, what a socket is, or what a key file
 * holds: paths are only text here, and who knows it is asked (struct ph_conf_env).
 * Always: a struct ph_conf that a function returned is complete and has passed all checks; a bad
 * file returns none, and the sentences in struct ph_conf_errors name its every mistake (the first
 * 20) with file, line and column. Work and memory are bounded whatever a file holds.
 * Tested in tests/unit/test_conf*.c.
 */
#ifndef PH_CONF_CONF_H
#define PH_CONF_CONF_H

#include <stdio.h>

#include "base/err.h"
#include "base/types.h"

#define PH_CONF_FILE_MAX (1024 * 1024) /* bytes of one file */
#define PH_CONF_CHILD_MAX (256 * 1024) /* bytes of a child as text (ph_conf_child_text) */
#define PH_CONF_INSTANCES_MAX 100000   /* of all children together */
#define PH_CONF_PEERS_MAX 64
#define PH_CONF_HOOKS_MAX 64
#define PH_CONF_LISTENERS_MAX 64 /* of a child */
#define PH_CONF_LOG_KEEP_MAX 1000
#define PH_CONF_AFTER_MAX 64 /* names of a child's `after` */
#define PH_CONF_GROUPS_MAX 1024
#define PH_CONF_GROUP_CHILDREN_MAX 64
#define PH_CONF_ERRORS_MAX 20
#define PH_CONF_ETC "/etc/prochub"

/* A number of a child that is not set, as 0 may be a value. */
#define PH_CONF_UNSET_U32 UINT32_MAX
#define PH_CONF_UNSET_U64 UINT64_MAX

/* The choices, in the order of the words in conf/options.h. */
enum ph_conf_accept {
	PH_CONF_ACCEPT_ANY,
	PH_CONF_ACCEPT_DECLARED
};
enum ph_conf_seal {
	PH_CONF_SEAL_ENCRYPT,
	PH_CONF_SEAL_AUTH,
	PH_CONF_SEAL_NONE
};
enum ph_conf_coordination {
	PH_CONF_COORDINATION_BUS
};
enum ph_conf_partition { /* in the order of enum ph_partition */
	PH_CONF_PARTITION_DIVERGENCE,
	PH_CONF_PARTITION_STATIC_QUORUM,
	PH_CONF_PARTITION_DYNAMIC_QUORUM,
	PH_CONF_PARTITION_MAJORITY
};
enum ph_conf_synchronization {
	PH_CONF_SYNCHRONIZATION_BROADCAST,
	PH_CONF_SYNCHRONIZATION_GOSSIP
};
enum ph_conf_level {
	PH_CONF_LEVEL_ERROR,
	PH_CONF_LEVEL_WARNING,
	PH_CONF_LEVEL_INFO,
	PH_CONF_LEVEL_DEBUG,
};
enum ph_conf_ready {
	PH_CONF_READY_NONE,
	PH_CONF_READY_PROTOCOL,
	PH_CONF_READY_NOTIFY,
	PH_CONF_READY_PROBE /* tcp:, http:, exec: */
};
enum ph_conf_orphans {
	PH_CONF_ORPHANS_STOP,
	PH_CONF_ORPHANS_KEEP
};
enum ph_conf_restart {
	PH_CONF_RESTART_PERMANENT, /* whatever the exit */
	PH_CONF_RESTART_TRANSIENT, /* after a failure only */
	PH_CONF_RESTART_TEMPORARY, /* never */
};
enum ph_conf_limit {
	PH_CONF_LIMIT_FAIL,
	PH_CONF_LIMIT_RETRY,
	PH_CONF_LIMIT_ELSEWHERE
};
enum ph_conf_strategy { /* in the order of enum ph_group_strategy */
	PH_CONF_ONE_FOR_ONE,
	PH_CONF_ONE_FOR_ALL,
	PH_CONF_REST_FOR_ONE
};
enum ph_conf_placement {
	PH_CONF_PLACEMENT_HASH,
	PH_CONF_PLACEMENT_LOCAL
};
enum ph_conf_migration {
	PH_CONF_MIGRATION_HOT_SWAP,
	PH_CONF_MIGRATION_NONE
};
enum ph_conf_handover {
	PH_CONF_HANDOVER_AUTO,
	PH_CONF_HANDOVER_TRUE,
	PH_CONF_HANDOVER_FALSE
};
enum ph_conf_missing {
	PH_CONF_MISSING_REFUSE,
	PH_CONF_MISSING_WARN
};
enum ph_conf_log_to {
	PH_CONF_LOG_INHERIT,
	PH_CONF_LOG_NULL,
	PH_CONF_LOG_JOURNAL,
	PH_CONF_LOG_FILE
};

struct ph_conf_list {
	size_t n;
	char **v; /* n texts; not NULL-terminated */
};

struct ph_conf_pair {
	char *name, *value;
};

/* Sorted by name, each name once. */
struct ph_conf_pairs {
	size_t n;
	struct ph_conf_pair *v;
};

struct ph_conf_group;

/* Where a value comes from. */
enum ph_conf_from {
	PH_CONF_FROM_DEFAULT,
	PH_CONF_FROM_DEFAULTS,
	PH_CONF_FROM_FILE
};
struct ph_conf_origin {
	enum ph_conf_from from; /* the table, the section `defaults`, or the place itself */
	const char *file;	/* borrowed from the struct ph_conf; NULL for the table */
	uint32_t line, column;	/* from 1 */
};

/*
 * A child. Texts are after ${...} and before %i, %r, %n, %c, which ph_conf_expand does for each
 * instance in command, env, dir, env_file, listen and log.path. A text that is not set is NULL.
 */
struct ph_conf_child {
	struct ph_name name;
	struct ph_conf_list command; /* at least one; the first has a leading '/' or no '/' */
	char *dir;		     /* absolute, or NULL */
	struct ph_conf_pairs env;
	char *env_file; /* absolute, or NULL */
	char *user, *group;
	uint32_t umask;
	bool no_new_privileges;
	uint32_t instances;	     /* 1 ... PH_CONF_INSTANCES_MAX */
	struct ph_conf_pairs listen; /* addresses by name: conf/listen.h */
	char *ready;		     /* probe.h; never NULL */
	struct {
		char *tcp, *http, *exec; /* at most one of them; all NULL: no health checks */
		uint64_t interval_ms, timeout_ms;
		uint32_t failures;
	} health;
	uint64_t start_timeout_ms;
	int stop_signal;
	uint64_t stop_timeout_ms;
	uint64_t watchdog_ms; /* 0: none */
	struct ph_conf_list after;
	struct ph_conf_group *in_group; /* a copy of it, without origins; NULL: in none */
	struct {
		enum ph_conf_restart policy;
		uint64_t delay_ms, backoff_ms, backoff_max_ms;
		uint32_t jitter_percent;
		uint32_t intensity; /* 0: no limit */
		uint64_t within_ms;
		enum ph_conf_limit on_limit;
		uint64_t retry_after_ms;
	} restart;
	struct { /* each may be unset */
		uint32_t nofile;
		uint64_t core_bytes, memory_bytes;
		uint32_t cpu_percent, tasks;
		enum ph_conf_missing missing;
	} limits;
	struct {
		enum ph_conf_log_to to;
		char *path; /* FILE only: absolute, else NULL */
		uint64_t size_bytes;
		uint32_t keep;
	} log;
	struct {
		enum ph_conf_placement strategy;
		struct ph_conf_list nodes;  /* fnmatch patterns; none: any node */
		struct ph_conf_list labels; /* all of them are wanted */
	} placement;
	struct {
		enum ph_conf_migration strategy;
		enum ph_conf_handover handover;
		uint64_t retention_ms, timeout_ms, downtime_ms;
		uint32_t rounds_max;
		uint64_t max_state_bytes;
		uint64_t defer_max_ms;
	} migration;

	bool added; /* at run time: it is in no file. No option: only texts of our own say so */

	struct ph_conf_origin at;      /* where the child itself stands */
	struct ph_conf_origin *origin; /* one an option, in the order of the table */
};

#define PH_CONF_ON_CONFLICT "conflict" /* in `on`: no event, a state to be merged */

/* Texts are before %i, %r, %n, %c, which ph_conf_expand does in command for each event. */
struct ph_conf_hook {
	struct ph_name name;
	struct ph_conf_list on; /* words of base/emits.h, and PH_CONF_ON_CONFLICT: of one hook */
	struct ph_conf_list command; /* as that of a child */
	uint64_t timeout_ms;

	struct ph_conf_origin at;      /* where the hook itself stands */
	struct ph_conf_origin *origin; /* one an option, in the order of the table */
};

/* Children that are restarted together. It travels from node to node in the text of each member. */
struct ph_conf_group {
	struct ph_name name;
	enum ph_conf_strategy strategy;
	struct ph_conf_list children; /* in the order of their start; each in one group at most */
	uint32_t intensity;	      /* 0: no limit */
	uint64_t within_ms;

	struct ph_conf_origin at;      /* where the group itself stands */
	struct ph_conf_origin *origin; /* one an option, in the order of the table */
};

struct ph_conf {
	struct {
		struct ph_name name;
		uint32_t weight_milli; /* 1000 is a weight of 1.0 */
		bool has_slot;
		uint32_t slot; /* 24 bits; read only where has_slot */
		struct ph_conf_list labels;
		char *run_dir, *state_dir; /* absolute, never NULL */
		bool drain_on_stop;
	} node;
	struct {
		struct ph_name name;
		char *listen;	 /* tcp://A:PORT, numeric; NULL: a single node */
		char *host;	 /* of listen, IPv6 in brackets; NULL without listen */
		uint16_t port;	 /* of listen; requests on port+1, streams on port+2 */
		char *advertise; /* host that others dial, IPv6 in brackets; NULL without listen */
		struct ph_conf_list peers; /* tcp://HOST:PORT, at most PH_CONF_PEERS_MAX */
		uint64_t join_timeout_ms;
		char *key_file; /* absolute, or NULL */
		uint64_t failure_timeout_ms, fence_after_ms;
		uint64_t fence_grace_ms; /* 0.2 of failure_timeout; no option */
		enum ph_conf_orphans orphans;
		enum ph_conf_seal stream_seal; /* decided: NONE where there is no key_file */
		uint64_t settle_ms;
		enum ph_conf_accept accept;
		uint32_t migrations_max;
		uint64_t conflict_keep_ms;
		enum ph_conf_coordination coordination;
		enum ph_conf_partition partition;
		uint32_t quorum_size, quorum_percent;
		uint64_t quorum_hold_ms;
		enum ph_conf_synchronization synchronization;
		uint64_t synchronization_interval_ms;
		uint32_t synchronization_fanout;
	} cluster;
	struct {
		char *group; /* of control.sock; a default that does not exist is no error */
		uint32_t mode;
	} control;
	struct {
		enum ph_conf_level level;
	} log;

	size_t n_hooks;
	struct ph_conf_hook **hooks; /* sorted by name (strcmp), at most PH_CONF_HOOKS_MAX */
	size_t n_groups;
	struct ph_conf_group **groups; /* the same, at most PH_CONF_GROUPS_MAX */

	struct ph_conf_child
		*defaults; /* the section `defaults`; nameless, not checked as a child */
	size_t n_children;
	struct ph_conf_child **children; /* sorted by name (strcmp) */

	struct ph_conf_origin *origin; /* one an option of the daemon, in the order of the table */
	size_t n_files;
	char **files; /* that were read, in order */
	bool blank;   /* nothing stands in any of them, as after a write that was cut short; an
			 empty mapping is something */
};

/* What the outside contributes to a load; ph_conf_env_system fills it for this process. */
struct ph_conf_env {
	const char *const *environ; /* NAME=value, NULL-terminated; NULL: no variables */
	char hostname[256];	    /* for ${HOSTNAME} where it is not in environ */
	const char *etc;	    /* where no file is named: etc/prochub.yaml, etc/conf.d */
	uint32_t uid;		    /* effective; 0 may set user and group of children */
	bool check_users;	    /* look users and groups up (only uid 0 does) */
	uint16_t port_min;	    /* the lowest TCP port that this process may bind; 0: any */
	uint64_t nofile_max;	    /* the highest limit of descriptors it may set; 0: any */
	/* Is cluster.key_file good? Negative with a sentence, which gets the place of the value;
	 * NULL: nobody looks. Called at most once a load, with the name of the cluster. */
	int (*check_key)(void *arg, const char *path, const char *cluster, struct ph_err *err);
	/* Children that are added at run time may come after one that no file has: is it known?
	 * NULL: only what files have is. */
	bool (*knows_child)(void *arg, const char *name);
	/* Is there that user, or that group (the other one is NULL)? Where it is not known in time
	 * it may be. NULL: they are looked up here, whatever that takes. */
	bool (*knows_account)(void *arg, const char *user, const char *group);
	void *arg;
};
void ph_conf_env_system(struct ph_conf_env *ret);

/* The mistakes of a configuration, in the order of their places. */
struct ph_conf_error {
	const char *file; /* borrowed during a load, NULL afterwards */
	uint32_t line, column;
	struct ph_err text; /* FILE:LINE:COLUMN: path: what is wrong */
};
struct ph_conf_errors {
	size_t n;
	size_t more; /* that did not fit */
	struct ph_conf_error v[PH_CONF_ERRORS_MAX];
};

/*
 * Reads `file` alone or, where it is NULL, env->etc/prochub.yaml and env->etc/conf.d/?*.yaml in the
 * order of their names, as far as they exist. `env` may be NULL: that of this process.
 * `errors` is emptied first. The result is the caller's (ph_conf_free).
 * -EINVAL: the configuration is bad (errors say how); -ENOENT, -EACCES, ...: a file cannot be read
 * (one error says which); -ENOMEM. With an error *ret is untouched and errors->n is at least 1.
 */
PH_MUST_CHECK int ph_conf_load(const char *file, const struct ph_conf_env *env,
	struct ph_conf **ret, struct ph_conf_errors *errors);

/*
 * Children that are added at run time: a document of which only `children` is allowed, or that is
 * what stands below `children` (name: options), in the words of a file, with the `defaults` of
 * `base` (may be NULL). `source` stands for the file in errors and must outlive nothing. The result
 * holds these children, each `added`; the rest is at its defaults and means nothing. Errors as
 * ph_conf_load. That a child is there already is the caller's to see.
 * ${VAR} is expanded from `env`: whoever may add children can read these variables.
 */
PH_MUST_CHECK int ph_conf_load_children(const char *source, const char *text, size_t n,
	const struct ph_conf *base, const struct ph_conf_env *env, struct ph_conf **ret,
	struct ph_conf_errors *errors);

void ph_conf_free(struct ph_conf *conf); /* NULL is fine */

/* What is legal and may still surprise: a static sentence for people, or NULL. */
const char *ph_conf_advice(const struct ph_conf *conf);

/* The child of that name, borrowed, or NULL. */
const struct ph_conf_child *ph_conf_child_find(const struct ph_conf *conf, const char *name);

/*
 * The effective configuration as YAML, each value with its origin in a comment; it loads again to
 * the same configuration. 0, -ENOMEM, or -EIO when writing failed.
 */
PH_MUST_CHECK int ph_conf_print(const struct ph_conf *conf, FILE *out);

/* The whole configuration as compact JSON in the order of the table, the caller's (free); NULL
 * without memory. */
char *ph_conf_text(const struct ph_conf *conf);

/*
 * All options of a child (not its name), and "added":true where it is, as compact JSON, the
 * caller's (free), NULL without memory.
 * The same child gives the same bytes on every node, so hashes of them can be compared.
 */
char *ph_conf_child_text(const struct ph_conf_child *child);
/*
 * Reads that back: nothing is expanded, users are not looked up (they are those of the machine
 * where it runs; the caller checks). The result is the caller's (ph_conf_child_free).
 * -EINVAL: not such a text or a bad name (errors say how), -ENOMEM.
 */
PH_MUST_CHECK int ph_conf_child_parse(const char *name, const char *text, size_t n,
	struct ph_conf_child **ret, struct ph_conf_errors *errors);
void ph_conf_child_free(struct ph_conf_child *child); /* NULL is fine */

/* The variables of one instance. */
struct ph_conf_vars {
	const char *child, *node;
	uint32_t instance, replica;
};
/*
 * Expands %i (instance), %r (replica), %n (node), %c (child) and %%; the result is the caller's
 * (free). -EINVAL: another letter after '%', or '%' at the end; -ENOMEM.
 */
PH_MUST_CHECK int ph_conf_expand(const char *text, const struct ph_conf_vars *vars, char **ret);

/* What a reload would change. */
enum ph_conf_change_kind {
	PH_CONF_ADDED,
	PH_CONF_REMOVED,
	PH_CONF_CHANGED
};
struct ph_conf_change {
	enum ph_conf_change_kind kind;
	struct ph_name child;
	bool restart; /* CHANGED: a running worker needs a restart or a swap to follow */
	size_t n_options;
	const char **options; /* CHANGED: paths as in the table ("restart.policy"); "groups": its
				 group */
};
struct ph_conf_option_change {
	const char *path; /* "cluster.listen" */
	bool reloadable;  /* false: only a restart of the daemon brings it */
};
struct ph_conf_diff {
	size_t n_children;
	struct ph_conf_change *children; /* sorted by name */
	size_t n_options;
	/* of node, cluster, control, log in table order; "hooks" where any of them differs */
	struct ph_conf_option_change *options;
};
/* The result is the caller's (ph_conf_diff_free); its paths are static. 0 or -ENOMEM. */
PH_MUST_CHECK int ph_conf_diff(
	const struct ph_conf *before, const struct ph_conf *after, struct ph_conf_diff **ret);
void ph_conf_diff_free(struct ph_conf_diff *diff); /* NULL is fine */
/*
 * Gives the options of node, cluster, control and log that only a restart brings, with what is
 * worked out from them, the values of `in_force`: then `conf` is what a reload brings, and the next
 * difference is one against what runs. 0, or -ENOMEM and `conf` is good for ph_conf_free only.
 */
PH_MUST_CHECK int ph_conf_hold(struct ph_conf *conf, const struct ph_conf *in_force);
/* True where the two have the same options (names and origins do not count). */
bool ph_conf_child_equal(const struct ph_conf_child *a, const struct ph_conf_child *b);

#endif
