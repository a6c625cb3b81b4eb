/*
 * shell_parts.h - what the files of the shell offer each other: workers, connections, spawns.
 *
 * Only for shell*.c of the process side (the bus, the control socket and the events know shell.h
 * alone). Decides nothing. What always holds: a worker is found by wid, token and pid from its
 * spawn or adoption until its REAP, and by none of them after it.
 */
#ifndef PH_SHELL_PARTS_H
#define PH_SHELL_PARTS_H

#include "base/types.h"

/* not uthash's own, whose switch falls through in a way that clang warns of */
#define HASH_FUNCTION(key, n, hashv) \
	((hashv) = (unsigned)ph_mix64(ph_hash_bytes(PH_HASH_SEED, (key), (n))))
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wconversion"
#include <uthash.h>
#pragma GCC diagnostic pop

#include "io/kin.h"
#include "proto/line.h"
#include "shell.h"

struct evbuffer;
struct ph_child;
struct ph_child_exit;
struct ph_doc;
struct ph_shell_conn;
struct ph_spawn_limit;
struct ph_user;

/* ---- shell_listen.c: listeners that the daemon opens and keeps for its children */

struct ph_shell_listener;
struct ph_shell_worker;
struct ph_shell_listens { /* of one worker, in the order of their names */
	size_t n;
	struct ph_shell_listener **v;
};
int ph_shell_listeners_new(struct ph_shell *shell);
/* `remove`: the paths of Unix sockets too. */
void ph_shell_listeners_free(struct ph_shell *shell, bool remove);
/*
 * All of `listen` for a worker of that key: those that are there, the others are opened. Errors as
 * ph_listen_open(), with the name of the listener; then *ret is empty.
 */
PH_MUST_CHECK int ph_shell_listens_get(struct ph_shell *shell, const struct ph_key *key,
	const struct ph_conf_pairs *listen, const struct ph_conf_vars *vars,
	struct ph_shell_listens *ret, struct ph_err *err);
void ph_shell_listens_fds(const struct ph_shell_listens *listens, int *ret);
void ph_shell_listens_drop(struct ph_shell_listens *listens);
/* Open again where nobody has them, as who had them has ended: what waits for its next start. */
void ph_shell_listens_wait(
	struct ph_shell *shell, const struct ph_key *key, const struct ph_spec *spec);
/* Those that an adopted worker has, as far as it may be looked into; `spec` may be NULL. */
void ph_shell_listens_adopt(
	struct ph_shell *shell, struct ph_shell_worker *worker, const struct ph_spec *spec);
/* Something may have ended for good: what is needed no more is closed at the end of the turn. */
void ph_shell_listeners_touch(struct ph_shell *shell);
void ph_shell_listeners_turn_end(struct ph_shell *shell);
/* For the next daemon: a line for each, "listen FD ID". */
void ph_shell_listeners_save(const struct ph_shell *shell, FILE *to);
/* Takes `fd`, which ph_shell_listeners_save() has described by `id`; what is none is closed. Closed
 * once all has begun, where nobody has it or is to be started with it. */
void ph_shell_listeners_restore(struct ph_shell *shell, int fd, const char *id);

/* ---- shell_store.c: listeners that the service manager keeps between two lives of the daemon */

/* First of all: takes what came with the start, and closes what is none of ours. */
void ph_shell_store_take(struct ph_shell *shell);
/* The descriptor that was kept under that id, the caller's; -1: none. */
int ph_shell_store_find(struct ph_shell *shell, const char *id);
void ph_shell_store_put(const char *id, int fd);
void ph_shell_store_drop(const char *id);
/* Closes what nobody has wanted; `drop`: the manager is to keep it no longer. */
void ph_shell_store_free(struct ph_shell *shell, bool drop);

/* ---- shell_worker.c: the worker processes of this node */

struct ph_shell_worker {
	struct ph_shell *shell;
	uint64_t wid;
	struct ph_key key;
	char token[PH_TOKEN_SIZE];
	pid_t pid; /* the process that was started: the number of its session, and of its group */
	uint64_t start_time;
	uid_t uid;		/* that its connections must come from */
	struct ph_child *child; /* that process; NULL: it ended while no daemon was there */
	struct ph_child *main;	/* another one of the session, by MAINPID=; NULL: it is `child` */
	bool exited;		/* the main process */
	uint32_t gone_main_pid; /* it had ended before this daemon began, and was not `child`; or 0
				 */
	uint64_t gone_main_start_time;
	struct ph_shell_conn *control;		/* or NULL */
	struct ph_id stream_id;			/* its newest one, which may be over */
	struct ph_id asked_id;			/* of its newest handover_ask */
	uint32_t fence_place, fence_generation; /* in its table; generation 0: it is not there */
	struct ph_shell_listens listens;
	char *cgroup;		 /* of all that it starts; NULL: it has none */
	struct ph_kin_list *kin; /* what was below it when it was asked to stop; or NULL */
	uint64_t status_at_ms;	 /* since then it has said its status so often: some are told */
	uint32_t n_status;
	UT_hash_handle by_wid, by_token, by_pid;
};

int ph_shell_workers_new(struct ph_shell_workers **ret);
void ph_shell_workers_free(struct ph_shell *shell); /* processes live on */
void ph_shell_worker_free(struct ph_shell_worker *worker);
/* Takes `worker`. */
void ph_shell_workers_add(struct ph_shell *shell, struct ph_shell_worker *worker);
/* Out of all maps, its connection closed; the caller owns it. */
void ph_shell_workers_take(struct ph_shell *shell, struct ph_shell_worker *worker);
struct ph_shell_worker *ph_shell_worker_by_wid(struct ph_shell *shell, uint64_t wid);
struct ph_shell_worker *ph_shell_worker_by_token(struct ph_shell *shell, const char *token);
struct ph_shell_worker *ph_shell_worker_by_pid(struct ph_shell *shell, pid_t pid);
/* The worker that `pid` is, or in whose session it is; NULL: none of ours. */
struct ph_shell_worker *ph_shell_worker_of_process(struct ph_shell *shell, pid_t pid);
void ph_shell_workers_each(
	struct ph_shell *shell, void (*each)(void *arg, struct ph_shell_worker *worker), void *arg);
size_t ph_shell_workers_count(const struct ph_shell *shell);
void ph_shell_worker_act(struct ph_shell *shell, const struct ph_action *action);

/* ---- shell_conn.c: connections to worker.sock, as bytes and lines */

struct ph_shell_watch {
	struct ph_shell_watch *next;
	struct ph_ref req;
	struct ph_name child; /* empty: by prefix */
	char prefix[PH_NAME_SIZE];
};

enum ph_conn_state {
	PH_CONN_NEW,	 /* has to say hello or data, soon */
	PH_CONN_CONTROL, /* of the worker `wid` */
	PH_CONN_PARKED,	 /* a data connection of `wid` that waits for its stream, briefly */
	PH_CONN_CLOSED,	 /* freed at the end of the turn */
};

struct ph_shell_conn {
	struct ph_shell *shell;
	struct ph_shell_conn *prev, *next;
	enum ph_conn_state state;
	int fd; /* -1: closed or given away */
	pid_t pid;
	uid_t uid; /* of the peer when it connected */
	uint64_t wid;
	struct event *readable, *writable, *deadline;
	struct evbuffer *out;
	struct ph_line in;
	struct ph_id id; /* PARKED */
	uint32_t round;
	struct ph_shell_watch *watches;
	unsigned n_watches;
};

int ph_shell_conns_new(struct ph_shell *shell, struct ph_err *err);
int ph_shell_conns_fd(const struct ph_shell *shell); /* borrowed */
void ph_shell_conns_free(struct ph_shell *shell);
/* It is the control connection of that worker from now on. */
void ph_shell_conn_adopt(struct ph_shell_conn *conn, uint64_t wid);
/* It is a data connection of that worker, and waits for its stream. */
void ph_shell_conn_park(struct ph_shell_conn *conn, uint64_t wid);
/* Encodes and queues. A connection that does not take it is ended. */
void ph_shell_conn_send(struct ph_shell_conn *conn, const struct ph_wmsg *msg);
/* Closes without an event; the memory goes at the end of the turn. */
void ph_shell_conn_close(struct ph_shell_conn *conn);
/* The same with WORKER_CLOSED, where it was a control connection. */
void ph_shell_conn_end(struct ph_shell_conn *conn);
/* Reads and takes what has come in, before its worker's end is reported. */
void ph_shell_conn_drain(struct ph_shell_conn *conn);
void ph_shell_conns_each(
	struct ph_shell *shell, void (*each)(void *arg, struct ph_shell_conn *conn), void *arg);
void ph_shell_conns_turn_end(struct ph_shell *shell);

/* ---- shell_conn_take.c: connections to worker.sock, as messages */

/* One line of a connection. */
void ph_shell_conn_take(struct ph_shell_conn *conn, const char *line, size_t n);
/* Sends `error`; `re` NULL: not an answer; `text` may be NULL. */
void ph_shell_conn_error(
	struct ph_shell_conn *conn, const struct ph_ref *re, const char *code, const char *text);
/* A violation of the protocol: told to the worker and to people; the connection is ended. */
void ph_shell_conn_violation(struct ph_shell_conn *conn, const char *code, const char *text);
/* The parked connection waited too long. */
void ph_shell_conn_unparked(struct ph_shell_conn *conn);
/* The stream of `id` is there now: data connections that waited for it are taken. */
void ph_shell_conns_unpark(struct ph_shell *shell, const struct ph_id *id);

/* ---- shell_lookup.c: lookup, watch, unwatch, changed */

void ph_shell_lookup_take(struct ph_shell_conn *conn, const struct ph_wmsg *msg);
void ph_shell_lookup_changed(struct ph_shell *shell, const struct ph_name *child);
void ph_shell_lookup_turn_end(struct ph_shell *shell);
void ph_shell_watches_free(struct ph_shell_watch *head);

/* ---- shell_conf.c */

/* "a,b", the caller's; NULL for an empty list. */
char *ph_shell_join(const struct ph_conf_list *list);

/* ---- shell_check.c: what of a configuration this machine does not have, a line each */

void ph_shell_check_notes(const struct ph_conf *conf);

/* ---- shell_env.c: the environment of a child */

struct ph_shell_env {
	size_t n, room;
	char **v; /* NAME=value, then NULL */
};
void ph_shell_env_init(struct ph_shell_env *env);
void ph_shell_env_fini(struct ph_shell_env *env);
/* Sets or replaces; a replaced one keeps its place. */
void ph_shell_env_set(struct ph_shell_env *env, const char *name, const char *value);
void ph_shell_env_number(struct ph_shell_env *env, const char *name, uint64_t value);
const char *ph_shell_env_get(const struct ph_shell_env *env, const char *name);
/* PATH, LANG, LC_*, TZ of `environ`. */
void ph_shell_env_inherit(struct ph_shell_env *env, const char *const *from);
/*
 * Lines KEY=VALUE, where white space around the line and one pair of quotes around the value are
 * dropped; empty lines and lines that begin with '#' or ';' are skipped. -EINVAL with a sentence
 * "FILE:LINE: ..."; `text` has n bytes and may be written to.
 */
PH_MUST_CHECK int ph_shell_env_file(
	struct ph_shell_env *env, const char *path, char *text, size_t n, struct ph_err *err);

#define PH_SHELL_ENV_FILE_MAX (256 * 1024)

/* What is in env_file; `bytes` NULL: the child has none, or it was not read yet. */
struct ph_shell_env_text {
	char *bytes;
	size_t n;
};

/* What the environment of one process is made of. */
struct ph_shell_env_want {
	const struct ph_conf_child *child;
	const struct ph_conf_vars *vars;
	const char *const *inherited;
	const struct ph_user *user;
	struct ph_shell_env_text
		*file;	   /* NULL: it is read now, which may take a second. Written to */
	const char *token; /* NULL: it is no worker, and gets nothing that only a worker needs */
	const char *worker_path, *notify_path;
	bool listens; /* the descriptors of child->listen follow the third one */
	uint64_t epoch;
	enum ph_role role;
};
/*
 * All of it, in the order of PROTOCOL.md. -EINVAL a template or a line of env_file is bad, or what
 * opening env_file says; the sentence names it. `env` is initialised by the caller.
 */
PH_MUST_CHECK int ph_shell_env_build(
	struct ph_shell_env *env, const struct ph_shell_env_want *want, struct ph_err *err);

/* ---- shell_env_read.c: env_file, without waiting for its file system */

struct ph_shell_env_read;
/* `text` is the callee's. The read is gone after the call. */
typedef void ph_shell_env_read_fn(
	void *arg, int error, struct ph_shell_env_text *text, const struct ph_err *err);
/*
 * 0: *ret is NULL, and *ret_text, the caller's, is all that there is; or *ret is set, and `fn` is
 * called later, from the loop. -EINVAL a bad template; else as ph_launch_new(), with a sentence.
 */
PH_MUST_CHECK int ph_shell_env_read(struct ph_shell *shell, const struct ph_key *key,
	const struct ph_spec *spec, ph_shell_env_read_fn *fn, void *arg,
	struct ph_shell_env_read **ret, struct ph_shell_env_text *ret_text, struct ph_err *err);
/* Does not wait any longer: `fn` is called at the next turn. */
void ph_shell_env_read_hurry(struct ph_shell_env_read *read);
/* Without a call of `fn`. NULL is allowed. */
void ph_shell_env_read_free(struct ph_shell_env_read *read);

/* ---- shell_spawn.c */

int ph_shell_spawner_new(struct ph_shell *shell);
void ph_shell_spawner_free(struct ph_shell *shell);
void ph_shell_spawn_act(struct ph_shell *shell, const struct ph_action *action);
/* Nothing is begun any more, but what takes long: that is set aside, and concluded later. */
void ph_shell_spawn_settle(struct ph_shell *shell);
/* Concludes those of them that are over, or given up. Were there any? Whoever looks for a worker
 * that he does not find asks first. */
bool ph_shell_spawn_look(struct ph_shell *shell);
/* All of them: this daemon's time is over. */
void ph_shell_spawn_end(struct ph_shell *shell);
/* The cgroups of them. */
void ph_shell_spawn_cgroups(
	struct ph_shell *shell, void (*each)(void *arg, const char *path), void *arg);
void ph_shell_spawn_turn_end(struct ph_shell *shell);
struct ph_hook;
struct ph_hook_ops;
/*
 * Starts another command as that child's user, in its folder and environment (without the token),
 * with nothing to read. `file`: what is in env_file, written to. Errors as ph_hook_start(), and
 * what the child's options have wrong.
 */
PH_MUST_CHECK int ph_shell_spawn_beside(struct ph_shell *shell, const struct ph_key *key,
	const struct ph_spec *spec, struct ph_shell_env_text *file,
	const struct ph_conf_list *command, const struct ph_hook_ops *ops, void *arg,
	struct ph_hook **ret, struct ph_err *err);
/* The soft limit of descriptors is raised; `soft`: that which children get back, 0: that of now. */
int ph_shell_raise_nofile(struct ph_shell *shell, uint64_t soft);
/* Those of the child's own options: at most two. */
size_t ph_shell_limits_of(const struct ph_conf_child *child, struct ph_spawn_limit *ret);
/* That limit, for a process that is started: how many limits there are (0 or 1). */
size_t ph_shell_nofile(const struct ph_shell *shell, struct ph_spawn_limit *ret);
/* The user of a spec, as ph_shell_user(). */
PH_MUST_CHECK int ph_shell_specs_user(struct ph_shell *shell, const struct ph_spec *spec, bool last,
	const struct ph_user **ret, struct ph_err *err);

/* ---- shell_user.c */

int ph_shell_users_new(struct ph_shell *shell);
void ph_shell_users_free(struct ph_shell *shell);
/*
 * As ph_user_lookup(), without waiting for longer than a moment; *ret is borrowed, until the loop
 * goes on. `last`: what was answered last will do. -EINPROGRESS it is not answered yet: ask
 * again, in PH_SPAWN_LOOK_MS; -EAGAIN as ph_user_ask_new().
 */
PH_MUST_CHECK int ph_shell_user(struct ph_shell *shell, const char *user, const char *group,
	bool last, const struct ph_user **ret, struct ph_err *err);

/* ---- shell_output.c: what workers write */

struct ph_output_order;
struct ph_shell_output_want {
	struct ph_key key;
	const struct ph_conf_child *child;
	const char *token;
	uid_t uid; /* that it runs as */
	gid_t gid;
};
/* The FIFOs of a worker that is about to be started. */
struct ph_shell_output {
	unsigned n; /* 0, 1 or 2 */
	bool two;
	char *file; /* log.path; NULL: none. One that cannot be opened is the start's failure, not a
		       line in the log: the child is to try, before it executes */
	int ends[2];
	struct ph_output_order *orders[2];
};
int ph_shell_outputs_new(struct ph_shell *shell, struct ph_err *err);
/* `orderly`: no worker is left; what they wrote is written first. */
void ph_shell_outputs_free(struct ph_shell *shell, bool orderly);
/*
 * Its standard output and error as its options say, -1 for nowhere; they are `output`'s. Errors
 * with a sentence: a bad template, no FIFO. Then _started or _abandon.
 */
PH_MUST_CHECK int ph_shell_output_prepare(struct ph_shell *shell,
	const struct ph_shell_output_want *want, struct ph_shell_output *output, int ret_fds[2],
	struct ph_err *err);
void ph_shell_output_started(struct ph_shell *shell, struct ph_shell_output *output);
void ph_shell_outputs_started(struct ph_shell *shell); /* some or many of them: they are read now */
void ph_shell_output_abandon(struct ph_shell_output *output);
/* Reads on where an earlier daemon has ended; `child` NULL: its options are not known. */
void ph_shell_output_adopt(struct ph_shell *shell, const struct ph_shell_worker *worker,
	const struct ph_conf_child *child);
/* All workers of an earlier daemon are adopted: what is left of others goes. */
void ph_shell_outputs_settled(struct ph_shell *shell);
/* For the next daemon: a line "hold FD" for each FIFO, opened so that what stands in it stays,
 * whoever ends meanwhile. */
void ph_shell_outputs_save(const struct ph_shell *shell, FILE *to);
/* Another text of it is in force: what goes to files goes by it from now on. */
void ph_shell_outputs_changed(struct ph_shell *shell, const struct ph_name *child);
/* Does its thread, which is not held up by a file? Waits for half a second at most. */
bool ph_shell_outputs_answer(struct ph_shell *shell);
/* Files may have been moved away. */
void ph_shell_outputs_reopen(struct ph_shell *shell);

/* ---- shell_output_notes.c */

/* Where the journal listens. */
const char *ph_shell_journal_path(void);
/* Prints what will not go as written on this machine, though it is no mistake. */
void ph_shell_output_notes(const struct ph_conf *conf);

/* ---- shell_cgroup.c: a cgroup for each worker, where the daemon has one to make it in */

/* Before any process is started; the daemon may do without. -ENOMEM. */
int ph_shell_cgroups_new(struct ph_shell *shell);
void ph_shell_cgroups_free(struct ph_shell *shell);
/* The folder in which they are, or NULL. */
const char *ph_shell_cgroups_dir(const struct ph_shell *shell);
/* Are there limits that only a cgroup can hold? */
bool ph_shell_cgroup_limited(const struct ph_conf_child *child);
/*
 * A cgroup with the child's limits for a process that is about to be started; *ret_path is the
 * caller's (ph_shell_cgroup_drop), NULL where there is none and none is needed. Errors with a
 * sentence that names the limit which cannot be set, where limits.missing is `refuse`.
 */
PH_MUST_CHECK int ph_shell_cgroup_prepare(struct ph_shell *shell, const struct ph_key *key,
	const struct ph_conf_child *child, const char *token, char **ret_path, struct ph_err *err);
/* Tells, once, that workers run in no cgroup of their own. */
void ph_shell_cgroup_lacking(struct ph_shell *shell, const struct ph_key *key, const char *why);
/* Nothing is left of the worker: it is removed, and *path is NULL. */
void ph_shell_cgroup_drop(char **path);
/* Finds that of an adopted worker, and sets its limits again; `child` NULL: they are not known. */
void ph_shell_cgroup_adopt(
	struct ph_shell *shell, struct ph_shell_worker *worker, const struct ph_conf_child *child);
/* Has one of its processes been killed because memory ran out? */
bool ph_shell_cgroup_oom(const struct ph_shell_worker *worker);
/* All workers of an earlier daemon are adopted: what is left of others is killed and removed. */
void ph_shell_cgroups_settled(struct ph_shell *shell);

/* ---- shell_exit.c: signals, the end of a process and of its group */

/* Of the process that was started; `arg` is the shell. */
void ph_shell_exited(void *arg, struct ph_child *child, const struct ph_child_exit *status);
/* Of a main process that MAINPID= has named; `arg` is the worker. */
void ph_shell_main_exited(void *arg, struct ph_child *child, const struct ph_child_exit *status);
void ph_shell_exit_act(struct ph_shell *shell, const struct ph_action *action);
void ph_shell_exit_free(struct ph_shell *shell);
/* Each worker that was reaped, and of which something may be left. */
void ph_shell_leaving_each(
	struct ph_shell *shell, void (*each)(void *arg, struct ph_shell_worker *worker), void *arg);

/* ---- shell_kin.c: what descends from a worker, where no cgroup holds it */

/* Orphans come to this daemon from now on. -ENOMEM, -errno. */
int ph_shell_kin_new(struct ph_shell *shell);
void ph_shell_kin_free(struct ph_shell *shell);
/* The worker (may be NULL) is asked to stop: what is below it now is remembered. */
void ph_shell_kin_note(struct ph_shell_worker *worker);
/* SIGKILL to the process that was started and to all below it. */
void ph_shell_kin_kill(struct ph_shell_worker *worker);
enum ph_shell_kin_left {
	PH_KIN_NONE,
	PH_KIN_KILLED, /* there was something: look again */
	PH_KIN_DOUBT,  /* something could not be told: look again, a few times */
	PH_KIN_WAITS   /* for a walk through /proc: look again */
};
/* What is still looked for of a worker whose main process has ended; zeroed but for `worker`. */
struct ph_shell_rest {
	struct ph_shell_worker *worker;
	bool held;	/* by a cgroup in which nobody is any more */
	uint64_t round; /* the walk whose end it waits for; 0: none */
	struct ph_kin_list killed;
	struct ph_shell_rest *prev, *next;
};
/* Kills what is left of it, as far as it is found at once; all is looked for in a while. */
enum ph_shell_kin_left ph_shell_kin_look(struct ph_shell *shell, struct ph_shell_rest *rest);
/* It is looked for no longer. */
void ph_shell_kin_leave(struct ph_shell *shell, struct ph_shell_rest *rest);

/* ---- shell_probe.c: asking from outside whether a worker serves */

void ph_shell_probe_act(struct ph_shell *shell, const struct ph_action *action);
/* The worker is no more: its probe ends, and nobody hears of it. */
void ph_shell_probe_drop(struct ph_shell *shell, uint64_t wid);
void ph_shell_probes_free(struct ph_shell *shell);

/* ---- shell_stream.c */

int ph_shell_flows_new(struct ph_shell *shell);
void ph_shell_flows_free(struct ph_shell *shell);
/* `conf` is in force from now on. */
void ph_shell_flows_configure(struct ph_shell *shell, const struct ph_conf *conf);
void ph_shell_flow_act(struct ph_shell *shell, const struct ph_action *action);
/* Which way the stream of `id` goes through that worker: -ENOENT there is none (yet). */
PH_MUST_CHECK int ph_shell_flow_find(
	struct ph_shell *shell, const struct ph_id *id, uint64_t wid, bool *ret_incoming);
/* Takes `fd`, a data connection of `id`, and copies the `n` bytes read ahead. Errors as
 * ph_stream_feed(). */
PH_MUST_CHECK int ph_shell_flow_take(struct ph_shell *shell, const struct ph_id *id, uint32_t round,
	bool incoming, int fd, const char *bytes, size_t n);

/* ---- shell_journal.c */

int ph_shell_records_new(struct ph_shell *shell, const struct ph_id *known_id, struct ph_err *err);
void ph_shell_records_free(struct ph_shell *shell);
/* Queues RESTORED for each record that was read. */
void ph_shell_records_restore(struct ph_shell *shell);
void ph_shell_records_settings(struct ph_shell *shell, struct ph_settings *settings);
void ph_shell_record_act(struct ph_shell *shell, const struct ph_action *action);
/* The records of one step are written in one piece. */
void ph_shell_records_hold(struct ph_shell *shell, bool hold);
void ph_shell_records_turn_end(struct ph_shell *shell);
/* A small file in state_dir, by the journal's thread; ph_shell_renumbered() is told. 0 or -errno.
 */
int ph_shell_records_keep(
	struct ph_shell *shell, uint64_t ticket, const char *name, const void *bytes, size_t n);
struct ph_id ph_shell_records_id(const struct ph_shell *shell);

/* ---- shell_notify.c */

int ph_shell_notices_new(struct ph_shell *shell, struct ph_err *err);
int ph_shell_notices_fd(const struct ph_shell *shell); /* borrowed */
void ph_shell_notices_free(struct ph_shell *shell);
/* Takes what has come in, before a process's end is reported. */
void ph_shell_notices_drain(struct ph_shell *shell);
/* What a worker is about, for people; one that says it all the time does not fill the log. */
void ph_shell_status(struct ph_shell_worker *worker, const char *text);

/* ---- shell_signal.c */

/* First of all, and again before the handlers go: what comes waits, or has come too late. */
void ph_shell_signals_block(void);
/* The loop runs now and takes them, whatever mask the daemon was started with. */
void ph_shell_signals_unblock(void);
int ph_shell_signals_new(struct ph_shell *shell, struct ph_err *err);
void ph_shell_signals_free(struct ph_shell *shell);
/* STATUS= to the service manager, where it has changed. */
void ph_shell_signals_turn_end(struct ph_shell *shell);

/* ---- shell_state.c: run_dir/state */

/* A worker as the state file has it; its texts live in the struct ph_shell_found. */
struct ph_shell_found_worker {
	uint32_t pid;
	uint64_t start_time;
	uint32_t main_pid; /* 0: it is `pid` */
	uint64_t main_start_time;
	uint32_t uid;
	char token[PH_TOKEN_SIZE];
	struct ph_key key;
	uint64_t epoch, revision, born_ms, copied_ms;
	enum ph_role role;
	bool retired, ready, unheard, again;
	uint64_t retained_until_ms;
	struct ph_id migration;
	uint64_t since_ms;
	uint32_t restarts;
	struct ph_tally tally;
	const char *meta;
	/* of one that is done (its policy starts it no more, or not yet): */
	bool failed;
	uint64_t due_ms;
	const char *why;
	uint32_t exit, exit_value; /* struct ph_exit */
};
struct ph_shell_found_spec {
	struct ph_name child;
	uint64_t revision;
	const char *text;
};
struct ph_shell_found {
	struct ph_doc *doc;
	struct ph_id journal;
	struct ph_name node;
	size_t n_workers;
	const struct ph_shell_found_worker *workers;
	size_t n_done;
	const struct ph_shell_found_worker *done; /* no process: pid 0 */
	size_t n_due;
	const struct ph_shell_found_worker
		*due; /* the same, but for good; older daemons start them */
	size_t n_specs;
	const struct ph_shell_found_spec *specs;
};
int ph_shell_state_new(struct ph_shell *shell);
void ph_shell_state_free(struct ph_shell *shell, bool remove);
/* 0; -ENOENT there is none; others with a sentence. */
PH_MUST_CHECK int ph_shell_state_read(
	const char *run_dir, struct ph_shell_found *ret, struct ph_err *err);
void ph_shell_found_fini(struct ph_shell_found *found);
/* Something in it may have changed: it is compared, and written, at the end of the turn. */
void ph_shell_state_touch(struct ph_shell *shell);
void ph_shell_state_turn_end(struct ph_shell *shell);
/* Now, whatever the turn. */
int ph_shell_state_write(struct ph_shell *shell);

/* ---- shell_kept.c: what a daemon that executes itself anew leaves open for itself */

/* Reads what the one before has left; nothing in any other start. Sockets of the shell's own are
 * then there for ph_shell_kept_take(). First of all. */
void ph_shell_kept_new(struct ph_shell *shell);
void ph_shell_kept_free(struct ph_shell *shell);
/* The soft limit of descriptors before it was raised; 0: that of now. */
uint64_t ph_shell_kept_nofile(const struct ph_shell *shell);
/* Gives the listeners to shell_listen.c. */
void ph_shell_kept_listeners(struct ph_shell *shell);
/* Gives the hooks that wait to shell_hook.c. */
void ph_shell_kept_hooks(struct ph_shell *shell);
/* All workers are adopted: what was held for that is closed, and other processes that the one
 * before has started are reaped when they end. */
void ph_shell_kept_settled(struct ph_shell *shell);
/* Opens, and describes in the environment, all that the next one is to have. -errno. */
PH_MUST_CHECK int ph_shell_kept_save(struct ph_shell *shell);

/* ---- shell_upgrade.c: SIGUSR2 */

/* What this process is to execute in its place is checked, then executed; or refused, with the
 * event upgrade_refused. `argv` is that of the process. */
void ph_shell_upgrade_new(struct ph_shell *shell, char **argv);
void ph_shell_upgrade_free(struct ph_shell *shell);
void ph_shell_upgrade_begin(struct ph_shell *shell);
/* After the loop, where that is what has ended it. Does not return. */
bool ph_shell_upgrade_due(const struct ph_shell *shell);
/* To a signal to stop that was caught just before, and would be lost: the loop is to go on. */
bool ph_shell_upgrade_gives_way(struct ph_shell *shell);
void ph_shell_upgrade_run(struct ph_shell *shell) __attribute__((noreturn));

/* ---- shell_adopt.c */

/*
 * Adopts what the state file names (`found` NULL: there is none), then what lives and only its
 * environment tells of, and queues ADOPTED for each; core must know all specs by then. What a
 * worker's own environment describes badly, or whose child nobody knows, is killed. Returns how
 * many of those named have ended meanwhile: they are adopted too, and ph_shell_adopt_ended(), after
 * START, reports their end.
 */
size_t ph_shell_adopt(struct ph_shell *shell, const struct ph_shell_found *found);
void ph_shell_adopt_ended(struct ph_shell *shell);

/* ---- shell_start.c */

/* Carries out INCARNATION: that number, or a higher one, is this node's once it is synced. */
void ph_shell_renumber(struct ph_shell *shell, uint64_t incarnation);
/* It is, or (-errno) could not be kept: core is told. */
void ph_shell_renumbered(struct ph_shell *shell, uint64_t incarnation, int error, const char *why);

/* ---- shell_fence.c: all of them do nothing where there is no fence */

/* Takes over or starts the fence where others may take over what runs here; else ends one that an
 * earlier daemon has left. */
int ph_shell_fence_new(struct ph_shell *shell, struct ph_err *err);
/* `end`: the process too. */
void ph_shell_fence_free(struct ph_shell *shell, bool end);
/* Others may take this worker over: from now on it is in the table. */
void ph_shell_fence_add(struct ph_shell_worker *worker);
/* Its main process is another one. */
void ph_shell_fence_change(struct ph_shell_worker *worker);
void ph_shell_fence_drop(struct ph_shell_worker *worker);
/* All workers of an earlier daemon that live are known. */
void ph_shell_fence_settled(struct ph_shell *shell);
/* Did the fence stop the workers of an earlier daemon, before this one came? It is gone then, and
 * so nobody can be asked: it may have wherever none was found on guard. */
bool ph_shell_fence_may_have_fired(const struct ph_shell *shell);
/* The lease of an earlier daemon, whose workers a fence has guarded since; 0: there is none. */
uint64_t ph_shell_fence_known_lease(const struct ph_shell *shell);
/* A heartbeat leaves: this node lives, and others hear of it. */
void ph_shell_fence_beat(struct ph_shell *shell);
/* First of all in a turn: has the fence fired meanwhile? */
void ph_shell_fence_turn(struct ph_shell *shell);

/* ---- shell.c */

int ph_shell_queue_new(struct ph_shell *shell);
void ph_shell_queue_free(struct ph_shell *shell);
/* One turn, now: for the loop, and when it has ended. */
void ph_shell_queue_turn(struct ph_shell *shell);
/* All that is queued, at once: for the start only. */
void ph_shell_queue_drain(struct ph_shell *shell);
bool ph_shell_queue_empty(const struct ph_shell *shell);

#endif
