/*
 * options.h - the one table of all options: loader, -T, JSON, difference and documentation read it.
 *
 * Decides name, type, range, default and help of every option, and whether this version has it.
 * Must not know how a file is read. Always: a path stands once; options of one section stand
 * together; every default passes its own type and range.
 * Tested in tests/unit/test_conf_options.c, row by row.
 *
 * OPT(path, type, field, default, min, max, choices, flags, help) an option that works.
 * NOT(path, type, here, default, choices, help) one that this version has not got; ONLY_DEFAULT
 * accepts the value that is in force anyway, NO accepts nothing.
 *
 * `default` NULL: not set (a number of a child: PH_CONF_UNSET_U32, PH_CONF_UNSET_U64), or worked
 * out from others (conf/check.c). Ranges are in ms, bytes, percent, thousandths (WEIGHT). Choices
 * are in the order of the enumeration in conf.h; those with
 * '!' are not available, those with ':' take more text. LIVE: a reload brings it (daemon: without
 * a restart; child: without touching a running worker). TEMPLATE: %i, %r, %n, %c are expanded.
 */
#ifndef PH_CONF_OPTIONS_H
#define PH_CONF_OPTIONS_H

#include "conf/conf.h"

/* clang-format off */
#define PH_CONF_DAEMON_OPTIONS(OPT, NOT)                                                           \
	OPT("node.name", NAME, node.name, "${HOSTNAME}", 0, 0, NULL, PLAIN,                        \
	    "name of this node in the cluster")                                                    \
	OPT("node.weight", WEIGHT, node.weight_milli, "1.0", 1, 1000000, NULL, PLAIN,              \
	    "share of the children that this node takes, against the others")                      \
	OPT("node.slot", COUNT, node.slot, NULL, 0, 0xffffff, NULL, PLAIN,                         \
	    "only where a join says that two names collide")                                       \
	OPT("node.labels", LABELS, node.labels, NULL, 0, 64, NULL, PLAIN,                          \
	    "what children can ask for with placement.labels")                                     \
	OPT("node.run_dir", PATH, node.run_dir, NULL, 0, 0, NULL, PLAIN,                           \
	    "sockets, FIFOs and the state of running workers")                                     \
	OPT("node.state_dir", PATH, node.state_dir, NULL, 0, 0, NULL, PLAIN,                       \
	    "journal, incarnation and children added at run time")                                 \
	OPT("node.drain_on_stop", BOOL, node.drain_on_stop, "false", 0, 0, NULL, LIVE,             \
	    "move children to other nodes before an orderly stop")                                 \
	OPT("cluster.name", NAME, cluster.name, "main", 0, 0, NULL, PLAIN,                         \
	    "nodes of another cluster are not heard")                                              \
	OPT("cluster.listen", LISTEN, cluster.listen, NULL, 0, 0, NULL, PLAIN,                     \
	    "tcp://ADDRESS:PORT of the bus; the next two ports are used too; absent: single node") \
	OPT("cluster.advertise", HOST, cluster.advertise, NULL, 0, 0, NULL, PLAIN,                 \
	    "host that others dial; default: that of listen")                                      \
	OPT("cluster.peers", PEERS, cluster.peers, NULL, 0, PH_CONF_PEERS_MAX, NULL, PLAIN,        \
	    "tcp://HOST:PORT of other nodes, any live ones; the rest are learned, and this "       \
	    "node's own entry is passed over; a name is resolved once, as soon as a name "         \
	    "server answers")                                                                      \
	OPT("cluster.join_timeout", DURATION, cluster.join_timeout_ms, "5s", 0, PH_CONF_DAY,       \
	    NULL, PLAIN, "no cluster child starts before a peer answered or this has passed")      \
	OPT("cluster.key_file", PATH, cluster.key_file, NULL, 0, 0, NULL, PLAIN,                   \
	    "keys that seal the bus; required as soon as an address is not loopback")              \
	OPT("cluster.failure_timeout", DURATION, cluster.failure_timeout_ms, "5s", 500,            \
	    PH_CONF_HOUR, NULL, PLAIN, "no echo to any live member for so long: declared dead")    \
	OPT("cluster.fence_after", DURATION, cluster.fence_after_ms, NULL, 100, PH_CONF_HOUR,      \
	    NULL, PLAIN, "a node without lease stops then what others may take over; default: "    \
	    "0.6 of failure_timeout")                                                              \
	OPT("cluster.orphans", ENUM, cluster.orphans, "stop", 0, 0, "stop|keep", PLAIN,            \
	    "what the fence does when only the daemon is away")                                    \
	OPT("cluster.stream_seal", ENUM, cluster.stream_seal, "encrypt", 0, 0,                     \
	    "encrypt|auth|none", PLAIN, "how state on its way is protected; none without a key")   \
	OPT("cluster.settle", DURATION, cluster.settle_ms, "1s", 0, PH_CONF_HOUR, NULL, LIVE,      \
	    "joins and leaves within it are planned together")                                     \
	OPT("cluster.accept", ENUM, cluster.accept, "any", 0, 0, "any|declared", LIVE,             \
	    "children of others that this node runs: any, or those of its own configuration")      \
	OPT("cluster.migrations_max", COUNT, cluster.migrations_max, "8", 1, 1024, NULL, LIVE,     \
	    "migrations at once, in and out, of this node")                                        \
	OPT("cluster.conflict_keep", DURATION, cluster.conflict_keep_ms, "168h", 60000,            \
	    365 * PH_CONF_DAY, NULL, LIVE, "the state of what lost a conflict is kept so long")    \
	OPT("cluster.coordination", ENUM, cluster.coordination, "bus", 0, 0, "bus|!etcd", PLAIN,   \
	    "who decides claims")                                                                  \
	NOT("cluster.etcd.endpoints", LIST, NO, NULL, NULL, "addresses of etcd")                   \
	NOT("cluster.etcd.ttl", DURATION, NO, "5s", NULL, "time to live of a lease in etcd")       \
	OPT("cluster.partition.strategy", ENUM, cluster.partition, "divergence", 0, 0,             \
	    "divergence|static-quorum|dynamic-quorum|majority", PLAIN,                             \
	    "what the parts of a cut network do")                                                  \
	OPT("cluster.partition.size", COUNT, cluster.quorum_size, NULL, 1, 1024, NULL, PLAIN,      \
	    "nodes of a static quorum; never fewer than a majority of the view")                   \
	OPT("cluster.partition.percent", PERCENT, cluster.quorum_percent, "51%", 1, 100, NULL,     \
	    PLAIN, "part of the view that a dynamic quorum is; never less than a majority")        \
	OPT("cluster.partition.hold", DURATION, cluster.quorum_hold_ms, "30s", 1000, PH_CONF_DAY,  \
	    NULL, PLAIN, "a dynamic quorum forgets a dead node after it")                          \
	OPT("cluster.synchronization.strategy", ENUM, cluster.synchronization, "broadcast", 0, 0,  \
	    "broadcast|gossip", PLAIN, "changes of the registry are told to all, or to a few")     \
	OPT("cluster.synchronization.interval", DURATION, cluster.synchronization_interval_ms,     \
	    "15s", 100, PH_CONF_DAY, NULL, PLAIN, "a full exchange with one random peer")          \
	OPT("cluster.synchronization.fanout", COUNT, cluster.synchronization_fanout, "3", 1, 64,   \
	    NULL, PLAIN, "gossip: members that are told a change, and pass it on")                 \
	OPT("control.group", TEXT, control.group, "prochub", 0, 0, NULL, PLAIN,                    \
	    "group that may use the control socket")                                               \
	OPT("control.mode", MODE, control.mode, "0660", 0, 0777, NULL, PLAIN,                      \
	    "mode of the control socket")                                                          \
	NOT("http.listen", LISTEN, NO, NULL, NULL, "metrics, health, events and the page")         \
	OPT("log.level", ENUM, log.level, "info", 0, 0, "error|warning|info|debug", LIVE,          \
	    "least important messages that are logged")

#define PH_CONF_GROUP_OPTIONS(OPT, NOT)                                                            \
	OPT("strategy", ENUM, strategy, "one-for-one", 0, 0,                                       \
	    "one-for-one|one-for-all|rest-for-one", LIVE,                                          \
	    "which members are restarted with one that failed: none, all, or those after it")      \
	OPT("children", NAMES, children, NULL, 1, PH_CONF_GROUP_CHILDREN_MAX, NULL, LIVE,          \
	    "members, in the order of their start: each is ready before the next one is started")  \
	OPT("intensity", COUNT, intensity, "10", 0, 1000000, NULL, LIVE,                           \
	    "restarts of the group within `within` before on_limit of its members; 0: no limit")   \
	OPT("within", DURATION, within_ms, "1m", 1, PH_CONF_DAY, NULL, LIVE, "time for intensity")

#define PH_CONF_HOOK_OPTIONS(OPT, NOT)                                                             \
	OPT("on", EVENTS, on, NULL, 1, 64, NULL, LIVE,                                             \
	    "events that run it; conflict: what lost when two owners met is its to merge")         \
	OPT("command", COMMAND, command, NULL, 1, 1024, NULL, TEMPLATE,                            \
	    "program (absolute, or a name looked up in PATH) and its arguments")                   \
	OPT("timeout", DURATION, timeout_ms, "10s", 100, PH_CONF_HOUR, NULL, LIVE,                 \
	    "it has ended within it, or is killed")

#define PH_CONF_CHILD_OPTIONS(OPT, NOT)                                                            \
	OPT("command", COMMAND, command, NULL, 1, 1024, NULL, TEMPLATE,                            \
	    "program (absolute, or a name looked up in PATH) and its arguments")                   \
	OPT("dir", PATH, dir, NULL, 0, 0, NULL, TEMPLATE, "working directory")                     \
	OPT("env", ENV, env, NULL, 0, 1024, NULL, TEMPLATE, "environment variables")               \
	OPT("env_file", PATH, env_file, NULL, 0, 0, NULL, TEMPLATE,                                \
	    "file of NAME=value lines, read before env")                                           \
	OPT("user", TEXT, user, NULL, 0, 0, NULL, PLAIN, "user that it runs as")                   \
	OPT("group", TEXT, group, NULL, 0, 0, NULL, PLAIN, "group that it runs as")                \
	OPT("umask", MODE, umask, "022", 0, 0777, NULL, PLAIN, "file mode bits that are removed")  \
	OPT("no_new_privileges", BOOL, no_new_privileges, "false", 0, 0, NULL, PLAIN,              \
	    "neither it nor what it starts gains any by setuid programs or file capabilities")     \
	OPT("instances", COUNT, instances, "1", 1, PH_CONF_INSTANCES_MAX, NULL, LIVE,              \
	    "how many in the cluster; %i is the number, from 0")                                   \
	OPT("listen", LISTENERS, listen, NULL, 0, PH_CONF_LISTENERS_MAX, NULL, TEMPLATE,           \
	    "tcp://ADDRESS:PORT or unix:PATH by name: opened by the daemon, passed as LISTEN_FDS " \
	    "and kept over restarts; [8080+%i] adds")                                              \
	OPT("ready", READY, ready, "none", 0, 0, "none|protocol|notify|tcp:|http:|exec:",          \
	    TEMPLATE, "what tells that it can serve: that it runs, its own word, or a probe that " \
	    "is repeated until it succeeds")                                                       \
	OPT("start_timeout", DURATION, start_timeout_ms, "10s", 1, PH_CONF_DAY, NULL, LIVE,        \
	    "it is ready within it, or the start has failed")                                      \
	OPT("stop_signal", SIGNAL, stop_signal, "TERM", 0, 0, NULL, LIVE,                          \
	    "asks it to stop; CONT follows, so that one that is suspended hears it")               \
	OPT("stop_timeout", DURATION, stop_timeout_ms, "5s", 0, PH_CONF_DAY, NULL, LIVE,           \
	    "it has stopped within it, or is killed")                                              \
	OPT("watchdog", DURATION, watchdog_ms, "0s", 0, PH_CONF_DAY, NULL, PLAIN,                  \
	    "a sign of life is due within it; 0: none")                                            \
	OPT("after", NAMES, after, NULL, 0, PH_CONF_AFTER_MAX, NULL, LIVE,                         \
	    "children that are ready, all their instances, before it is started")                  \
	OPT("restart.policy", ENUM, restart.policy, "permanent", 0, 0,                             \
	    "permanent|transient|temporary", LIVE,                                                 \
	    "restarted after every exit, after a failure, or never")                               \
	OPT("restart.delay", DURATION, restart.delay_ms, "0s", 0, PH_CONF_DAY, NULL, LIVE,         \
	    "before the first restart, and the least before the next ones")                                                            \
	OPT("restart.backoff", DURATION, restart.backoff_ms, "100ms", 0, PH_CONF_DAY, NULL, LIVE,  \
	    "before the next ones, doubled each time")                                             \
	OPT("restart.backoff_max", DURATION, restart.backoff_max_ms, "30s", 0, PH_CONF_DAY, NULL,  \
	    LIVE, "longest back-off")                                                              \
	OPT("restart.jitter", PERCENT, restart.jitter_percent, "20%", 0, 100, NULL, LIVE,          \
	    "part of the back-off that is random")                                                 \
	OPT("restart.intensity", COUNT, restart.intensity, "5", 0, 1000000, NULL, LIVE,            \
	    "restarts within `within` before on_limit; 0: no limit")                               \
	OPT("restart.within", DURATION, restart.within_ms, "1m", 1, PH_CONF_DAY, NULL, LIVE,       \
	    "time for intensity")                                                                  \
	OPT("restart.on_limit", ENUM, restart.on_limit, "retry", 0, 0, "fail|retry|elsewhere",     \
	    LIVE, "given up, tried again after retry_after, or left to another node (where none "  \
	    "can take it, as retry)")                                                              \
	OPT("restart.retry_after", DURATION, restart.retry_after_ms, "5m", 1, PH_CONF_DAY, NULL,   \
	    LIVE, "pause after too many restarts")                                                 \
	OPT("health.tcp", PROBE, health.tcp, NULL, 0, 0, NULL, LIVE_TEMPLATE,                           \
	    "PORT or ADDRESS:PORT that must accept connections while it runs")                     \
	OPT("health.http", PROBE, health.http, NULL, 0, 0, NULL, LIVE_TEMPLATE,                         \
	    "http://ADDRESS:PORT/PATH that must answer with 200 to 399 while it runs")             \
	OPT("health.exec", PROBE, health.exec, NULL, 0, 0, NULL, LIVE_TEMPLATE,                         \
	    "command that must end with 0 while it runs")                                          \
	OPT("health.interval", DURATION, health.interval_ms, "5s", 10, PH_CONF_DAY, NULL, LIVE,    \
	    "between two checks")                                                                  \
	OPT("health.timeout", DURATION, health.timeout_ms, "1s", 10, PH_CONF_HOUR, NULL, LIVE,     \
	    "for one check")                                                                       \
	OPT("health.failures", COUNT, health.failures, "3", 1, 1000, NULL, LIVE,                   \
	    "failed checks in a row before it is restarted")                                       \
	OPT("limits.nofile", COUNT, limits.nofile, NULL, 8, 1 << 30, NULL, PLAIN,                  \
	    "open files of each of its processes; not set: as the daemon was started with")        \
	OPT("limits.core", SIZE, limits.core_bytes, NULL, 0, UINT64_C(1) << 50, NULL, PLAIN,       \
	    "size of a core file; 0: none is written; not set: as the daemon's")                   \
	OPT("limits.memory", SIZE, limits.memory_bytes, NULL, 1 << 20, UINT64_C(1) << 50, NULL,    \
	    PLAIN, "memory of all its processes together, without swap, by cgroup v2")             \
	OPT("limits.cpu", PERCENT, limits.cpu_percent, NULL, 1, 1000000, NULL, PLAIN,              \
	    "processor time of all its processes together, 100% is one processor, by cgroup v2")   \
	OPT("limits.tasks", COUNT, limits.tasks, NULL, 1, 1 << 22, NULL, PLAIN,                    \
	    "processes and threads, by cgroup v2")                                                 \
	OPT("limits.missing", ENUM, limits.missing, "refuse", 0, 0, "refuse|warn", PLAIN,          \
	    "where memory, cpu or tasks cannot be limited: it is not started, or without the "     \
	    "limit and with a warning")                                                            \
	OPT("log.to", ENUM, log.to, "inherit", 0, 0, "inherit|null|journal|file", PLAIN,           \
	    "where its output goes: that of the daemon, nowhere, systemd's journal, or a file")    \
	OPT("log.path", PATH, log.path, NULL, 0, 0, NULL, LIVE_TEMPLATE,                           \
	    "file of the output, of this child (and instance) alone")                              \
	OPT("log.size", SIZE, log.size_bytes, "10M", 0, UINT64_C(1) << 50, NULL, LIVE,             \
	    "size at which a new file begins; 0: never")                                           \
	OPT("log.keep", COUNT, log.keep, "5", 0, PH_CONF_LOG_KEEP_MAX, NULL, LIVE,                 \
	    "old files that are kept: PATH.1 is the newest; but for the newest MiB large ones "    \
	    "are compressed")                                                                      \
	OPT("placement.strategy", ENUM, placement.strategy, "hash", 0, 0,                          \
	    "hash|local|!guided|!load", PLAIN,                                                     \
	    "one in the cluster by weighted hash, or one on each node that declares it")           \
	OPT("placement.nodes", PATTERNS, placement.nodes, NULL, 0, 256, NULL, LIVE,                \
	    "patterns of the nodes that it may run on")                                            \
	OPT("placement.labels", LABELS, placement.labels, NULL, 0, 64, NULL, LIVE,                 \
	    "labels that a node must have to run it")                                              \
	NOT("redundancy.replicas", COUNT, ONLY_DEFAULT, "1", NULL, "copies on different nodes")    \
	NOT("redundancy.mode", ENUM, ONLY_DEFAULT, "active-active",                                \
	    "active-active|active-passive", "whether all copies serve, or one")                    \
	OPT("migration.strategy", ENUM, migration.strategy, "hot-swap", 0, 0,                      \
	    "hot-swap|none|!cold-swap", LIVE, "moved with its state while it runs, or never")      \
	OPT("migration.handover", ENUM, migration.handover, "auto", 0, 0, "auto|true|false", LIVE, \
	    "state is handed over: if the worker can, always, or never")                           \
	OPT("migration.retention", DURATION, migration.retention_ms, "5s", 0, PH_CONF_DAY, NULL,   \
	    LIVE, "the old worker lives so long beside the new one")                               \
	OPT("migration.timeout", DURATION, migration.timeout_ms, "30s", 1, PH_CONF_DAY, NULL,      \
	    LIVE, "for the whole transfer")                                                        \
	OPT("migration.downtime", DURATION, migration.downtime_ms, "500ms", 1, PH_CONF_HOUR, NULL, \
	    LIVE, "longest pause of the first attempt to freeze")                                  \
	OPT("migration.rounds_max", COUNT, migration.rounds_max, "8", 1, 1000, NULL, LIVE,         \
	    "rounds of copying before the freeze")                                                 \
	OPT("migration.max_state", SIZE, migration.max_state_bytes, "16G", 1,                      \
	    UINT64_C(1) << 50, NULL, LIVE, "largest state")                                        \
	OPT("migration.defer_max", DURATION, migration.defer_max_ms, "10m", 0, 30 * PH_CONF_DAY,   \
	    NULL, LIVE, "a worker that says busy is asked again so long")                          \
	NOT("state.freeze", COMMAND, NO, NULL, NULL, "pauses a program without the protocol")      \
	NOT("state.export", COMMAND, NO, NULL, NULL, "writes its state")                           \
	NOT("state.import", COMMAND, NO, NULL, NULL, "reads its state")                            \
	NOT("state.thaw", COMMAND, NO, NULL, NULL, "lets it go on")
/* clang-format on */

#define PH_CONF_HOUR UINT64_C(3600000)
#define PH_CONF_DAY (24 * PH_CONF_HOUR)

/* types: X(enumerator, what the field holds, what an error says was expected) */
#define PH_CONF_TYPES(X) \
	X(NAME, NAME, "a name ([A-Za-z0-9._-], 1-63, not starting with '.' or '-')") \
	X(TEXT, TEXT, "a text") \
	X(PATH, TEXT, "an absolute path") \
	X(LISTEN, TEXT, "tcp://ADDRESS:PORT (IPv4 or [IPv6], port 1-65533)") \
	X(HOST, TEXT, "a host (IPv4, [IPv6] or a name)") \
	X(BOOL, BOOL, "true or false") \
	X(DURATION, U64, "a duration (a number with ms, s, m or h)") \
	X(SIZE, U64, "a size (a number, or one with K, M or G)") \
	X(COUNT, U32, "a whole number") \
	X(PERCENT, U32, "a percentage (a number with %)") \
	X(WEIGHT, U32, "a number (at most three digits after the point)") \
	X(MODE, U32, "an octal mode (0000-0777)") \
	X(SIGNAL, U32, "a signal (TERM, INT, HUP, ...)") \
	X(ENUM, U32, "one of") \
	X(READY, TEXT, "one of") \
	X(PROBE, TEXT, "what can be probed") \
	X(LIST, LIST, "a list of texts") \
	X(COMMAND, LIST, "a list of a program and its arguments") \
	X(LABELS, LIST, "a list of labels (1-63 characters, no space or comma)") \
	X(PATTERNS, LIST, "a list of patterns of names (1-63 characters, no space or comma)") \
	X(PEERS, LIST, "a list of tcp://HOST:PORT") \
	X(EVENTS, LIST, "a list of events") \
	X(NAMES, LIST, "a list of names of children") \
	X(ENV, PAIRS, "names with their texts") \
	X(LISTENERS, PAIRS, "names with tcp://ADDRESS:PORT or unix:PATH")

enum ph_conf_type {
#define X(name, field, what) PH_CONF_##name,
	PH_CONF_TYPES(X)
#undef X
	PH_CONF_TYPE_COUNT
};

enum ph_conf_here {
	PH_CONF_YES,
	PH_CONF_ONLY_DEFAULT,
	PH_CONF_NO
};

enum ph_conf_flags {
	PH_CONF_PLAIN = 0,
	PH_CONF_LIVE = 1,
	PH_CONF_TEMPLATE = 2,
	PH_CONF_LIVE_TEMPLATE = PH_CONF_LIVE | PH_CONF_TEMPLATE
};

struct ph_conf_option {
	const char *path; /* dotted; '*' stands for any name */
	enum ph_conf_type type;
	enum ph_conf_here here;
	size_t offset; /* of the field; meaningless unless here is YES */
	const char *fallback;
	uint64_t min, max; /* of the value, or of a list's length */
	const char *choices;
	unsigned flags;
	const char *help;
};

struct ph_conf_table {
	const struct ph_conf_option *rows;
	size_t n;
};
extern const struct ph_conf_table ph_conf_daemon_table; /* fields in struct ph_conf */
extern const struct ph_conf_table ph_conf_child_table;	/* fields in struct ph_conf_child */
extern const struct ph_conf_table ph_conf_hook_table;	/* fields in struct ph_conf_hook */
extern const struct ph_conf_table ph_conf_group_table;	/* fields in struct ph_conf_group */

/* What the type expects, in words. */
const char *ph_conf_type_words(enum ph_conf_type type);

/* The row of that path, or NULL; and its place in the table, where it exists. */
const struct ph_conf_option *ph_conf_option_find(
	const struct ph_conf_table *table, const char *path);
size_t ph_conf_option_index(const struct ph_conf_table *table, const char *path);

/* A section is what some paths begin with. */
enum ph_conf_section {
	PH_CONF_SECTION_NONE,
	PH_CONF_SECTION_OPEN,
	PH_CONF_SECTION_NOT_AVAILABLE
};
enum ph_conf_section ph_conf_section_find(const struct ph_conf_table *table, const char *path);

/* One choice of a row, by number; false past the end. `*available` and `*open` (takes more text)
 * may be NULL. */
bool ph_conf_choice(const struct ph_conf_option *o, unsigned i, struct ph_name *ret_word,
	bool *available, bool *open);

/*
 * The known word nearest to `word` among those below `section` ("" or "restart."), or "" where
 * none is near. A word that is right but belongs deeper comes with its path.
 */
void ph_conf_nearest(const struct ph_conf_table *table, const char *section, const char *word,
	char *ret, size_t size);

/* Edit distance (insert, delete, change, swap neighbours); more than 64 bytes are far (1000). */
unsigned ph_conf_distance(const char *a, const char *b);
/* Whether two words at that distance are near enough to ask "did you mean". */
bool ph_conf_near(const char *word, unsigned distance);

#endif
