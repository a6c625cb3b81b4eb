/*
 * shell.h - where core meets the world: the inside of prochubd, shared by the files shell*.c.
 *
 * The shell turns what happens into events, gives them to ph_step(), and carries out the actions.
 * It decides nothing: no policy, no time-out of a child, no placement. Main knows ph_shell_run()
 * and the two functions beside it; everything else here is for shell*.c only.
 *
 * A turn: callbacks of the loop only queue events (ph_shell_push). One deferred call per turn reads
 * the clock once, takes what is queued (at most PH_SHELL_TURN_EVENTS, the rest comes with the next
 * turn), and for each event makes a step and carries out its actions in their order. What comes of
 * an action is an event, queued. Action functions (..._act) must not call ph_step();
 * they may push. What an action points to lives until that action function returns.
 *
 * Who carries out what (shell_act.c is the table):
 *	SPAWN SIGNAL REAP			shell_spawn.c, shell_exit.c
 *	PROBE					shell_probe.c
 *	TELL COMPLAIN				shell_worker.c
 *	SEND CAST LINK UNLINK MEND SEEDS	shell_bus.c	ph_shell_bus_act
 *	INCARNATION				shell_start.c
 *	JOURNAL					shell_journal.c
 *	STREAM_*				shell_stream.c
 *	HOOK					shell_hook.c	ph_shell_hook_act
 *	ANSWER CHANGED				shell_ctl.c	ph_shell_ctl_act
 *	(CHANGED too)				shell_lookup.c	watchers on the worker socket
 *	TEXT					shell_output.c
 *	EMIT LOG				shell_emit.c	ph_shell_emit_act
 *	READY EXIT				shell_act.c
 *
 * Of the modules that are opaque here the shell calls only _new, _act and _free, from their own
 * headers; emit is made first of all and freed last. The bus is made only where
 * conf->cluster.listen is set; it reads addresses, names, incarnation and ring from the shell.
 *
 * Tested by tests/unit/test_shell_env.c and, whole, by tests/e2e.
 */
#ifndef PH_SHELL_H
#define PH_SHELL_H

#include <jansson.h>
#include <stdio.h>
#include <sys/types.h>

#include "base/err.h"
#include "conf/conf.h"
#include "core/hub.h"

#define PH_SHELL_TURN_EVENTS 256 /* events of one turn */

struct event;
struct event_base;
struct ph_keyring;
struct ph_clock_timer;
struct ph_streams;

/* One file shell_NAME.c each; each owns its own. */
struct ph_shell_emit;
struct ph_shell_bus;
struct ph_shell_ctl;
struct ph_shell_specs;	 /* shell_conf.c: parsed spec texts */
struct ph_shell_workers; /* shell_worker.c: worker processes by wid, token, pid */
struct ph_shell_conns;	 /* shell_conn.c: the worker socket */
struct ph_shell_spawner; /* shell_spawn.c: what waits to be started or to be gone */
struct ph_shell_records; /* shell_journal.c */
struct ph_shell_flows;	 /* shell_stream.c */
struct ph_shell_notices; /* shell_notify.c: notify.sock */
struct ph_shell_signals; /* shell_signal.c: signals, and the service manager's watchdog */
struct ph_shell_state;	 /* shell_state.c: run_dir/state */
struct ph_shell_hooks;	 /* shell_hook.c: programs that are run when something happens */
struct ph_shell_fence;	 /* shell_fence.c: what stops workers when this daemon does not */
struct ph_shell_listen;	 /* shell_listen.c: what is open for children */
struct ph_shell_stored;	 /* shell_store.c: one that was kept for this daemon */
struct ph_shell_item;	 /* shell.c: a queued event */
struct ph_shell_changed; /* shell_lookup.c: a name */
struct ph_shell_probe;	 /* shell_probe.c: one that is under way */
struct ph_shell_leaving; /* shell_exit.c: a group that is to be gone */
struct ph_shell_logs;	 /* shell_logs.c: who asks for lines of it */
struct ph_shell_outputs; /* shell_output.c: what workers write */
struct ph_shell_kin;	 /* shell_kin.c: what descends from workers, and from nobody any more */
struct ph_shell_cgroups; /* shell_cgroup.c: where workers are limited and found */
struct ph_shell_kept;	 /* shell_kept.c: what a daemon leaves open that executes itself anew */
struct ph_shell_upgrade; /* shell_upgrade.c: that, on SIGUSR2 */

struct ph_shell {
	struct event_base *base;
	/* in force: options that a reload does not bring have the values of the start; replaced by
	 * a reload, so never keep pointers into it */
	struct ph_conf *conf;
	const char *conf_file; /* -c, or NULL */
	char node[PH_NAME_SIZE];
	char *run_dir, *state_dir;	/* of the start: a reload does not move them */
	uint64_t incarnation, previous; /* previous: as stored by the daemon before; 0: none */
	struct ph_hub *hub;
	struct ph_keyring *ring; /* NULL: no key_file. Does not change while the daemon runs */
	uint64_t now_ms;	 /* CLOCK_BOOTTIME, of this turn */
	uint64_t started_at_ms;

	/* sockets of run_dir */
	char *worker_path, *notify_path, *control_path;

	struct ph_shell_emit *emit;
	struct ph_shell_hooks *hooks;
	struct ph_shell_bus *bus; /* NULL: a single node */
	struct ph_shell_ctl *ctl;
	struct ph_shell_specs *specs;
	struct ph_shell_users *users;
	struct ph_shell_workers *workers;
	struct ph_shell_conns *conns;
	struct ph_shell_changed *changed; /* in this turn: for watchers on the worker socket */
	struct ph_shell_spawner *spawner;
	struct ph_shell_leaving *leaving_groups;
	struct ph_shell_probe *probes;
	struct ph_shell_outputs *outputs;
	struct ph_shell_logs *logs;
	struct ph_shell_cgroups *cgroups;
	struct ph_shell_kin *kin;
	struct ph_shell_records *records;
	struct ph_shell_flows *flows;
	struct ph_shell_notices *notices;
	struct ph_shell_signals *signals;
	struct ph_shell_state *state;
	struct ph_shell_listen *listeners;
	struct ph_shell_stored *stored; /* kept by the service manager; NULL: none */
	struct event *store_timer;
	struct ph_shell_kept *kept; /* NULL: this process has begun as a daemon of its own */
	struct ph_shell_upgrade *upgrade;
	struct ph_shell_fence *fence; /* NULL: nobody else may take over what runs here */

	/* shell.c */
	struct ph_shell_item *head, **tail;
	struct event *turn; /* deferred: runs the turn */
	struct ph_clock_timer *timer;
	bool in_turn, ready, leaving;
	bool stopping; /* somebody has asked for it */
	bool begun;    /* core has seen START */
	int lock_fd, state_lock_fd;
	int exit_code;
};

/* ---- main.c: 0 stopped, 1 failed, 2 configuration. Errors are on stderr. */

/* Runs the daemon with the files that ph_conf_load(file) reads, until it is stopped. `argv` is that
 * of the process, which may execute it again. */
int ph_shell_run(const char *file, char **argv);
struct ph_conf;
/* Where a running daemon asks (-t by SIGUSR2) whether this program with `conf` can take its place:
 * says so, or -EINVAL with a sentence. */
PH_MUST_CHECK int ph_shell_upgrade_check(const struct ph_conf *conf, struct ph_err *err);
/* -t and -T: prints all errors, else one sentence (or the effective configuration). */
int ph_shell_check(const char *file, char **argv);
int ph_shell_print(const char *file, char **argv);
/* -R: what the service manager does after each end of a daemon. */
int ph_shell_release(const char *file, char **argv);

/* ---- shell.c: the queue of events */

/*
 * Queues an event for the next turn. The struct is copied; what it points to must live until
 * release(owned) is called, once, after its step (or when the shell ends); `release` may be NULL.
 * Takes `owned`. Ends the process without memory, as core does.
 */
void ph_shell_push(
	struct ph_shell *shell, const struct ph_event *event, void (*release)(void *), void *owned);
/* Before all that is queued; it points to nothing. */
void ph_shell_push_first(struct ph_shell *shell, const struct ph_event *event);
/* The same with a copy of `event->text` (may be NULL), which nobody else has to keep. */
void ph_shell_push_text(struct ph_shell *shell, const struct ph_event *event);
/* The same where the union's pointer aims at one flat struct of `size` bytes without pointers (a
 * ph_command, ph_stream_report, ph_notify): it is copied. */
void ph_shell_push_flat(
	struct ph_shell *shell, const struct ph_event *event, const void *flat, size_t size);

/* For what is to be done at the end of the next turn (the state file) without an event. */
void ph_shell_wake(struct ph_shell *shell);

/* malloc and strdup that end the process without memory. */
void *ph_shell_alloc(size_t size); /* zeroed */
char *ph_shell_strdup(const char *text);
char *ph_shell_path(const char *dir, const char *name);

/* A line for the log, through emit. */
void ph_shell_log(struct ph_shell *shell, enum ph_log_level level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* An event of the shell's own for people; `key` and `text` may be NULL. */
void ph_shell_tell_people(
	struct ph_shell *shell, enum ph_emit_kind kind, const struct ph_key *key, const char *text);

/* ---- shell_program.c */

#define PH_PROGRAM_SIZE 4096
/* The path of one of prochub's own programs. -ENOENT with a sentence. */
PH_MUST_CHECK int ph_shell_program(const char *name, char *ret, size_t size, struct ph_err *err);

/* ---- shell_kept.c */

enum ph_kept { /* sockets of its own, and its locks */
	PH_KEPT_LOCK,
	PH_KEPT_STATE_LOCK,
	PH_KEPT_WORKERS,
	PH_KEPT_NOTICES,
	PH_KEPT_CONTROL,
	PH_KEPT_COUNT,
};
/* The caller's from now on, or -1. */
int ph_shell_kept_take(struct ph_shell *shell, enum ph_kept which);

/* ---- shell_act.c */

void ph_shell_carry_out(struct ph_shell *shell, const struct ph_actions *actions);

/* ---- shell_stream.c */

/* The ticket of the stream that this node sends to `peer` for the migration `id`. */
void ph_shell_flow_ticket(struct ph_shell *shell, const struct ph_id *id,
	const struct ph_name *peer, uint8_t ret_ticket[PH_SECRET_SIZE]);

/* ---- shell_conf.c, shell_reload.c: configuration, and child specifications in core's words */

/*
 * The spec that a text says, as it comes from a peer, the journal or the state file; only parsed:
 * whether user and command exist here is seen at the spawn. The caller frees it (ph_spec_free).
 * NULL with a sentence: not the text of a child, or over PH_CONF_CHILD_MAX.
 */
const struct ph_spec *ph_shell_spec_of_text(struct ph_shell *shell, const struct ph_name *child,
	const char *text, uint64_t revision, struct ph_err *err);
/* The spec of a configured child. NULL without memory. The caller frees it. */
const struct ph_spec *ph_shell_spec_of_child(const struct ph_conf_child *child);
/* The parsed child behind a spec; borrowed until the next call of a function of this part. */
const struct ph_conf_child *ph_shell_specs_find(
	struct ph_shell *shell, const struct ph_spec *spec, struct ph_err *err);

int ph_shell_specs_new(struct ph_shell_specs **ret);
void ph_shell_specs_free(struct ph_shell_specs *specs);
/* shell_user.c: from now on all users are looked up again, and waited for a second in all by: is
 * there that user, or that group (the other one is NULL), as far as that is known? */
void ph_shell_users_again(struct ph_shell *shell);
bool ph_shell_user_may_be(struct ph_shell *shell, const char *user, const char *group);
/* Looks its user up, so that the loop need not wait for a directory of users later. */
void ph_shell_specs_look_up(struct ph_shell *shell, const struct ph_spec *spec);
/* Queues CONFIGURED with the children of `conf`; `spread`: their texts are put in force on all
 * nodes. */
void ph_shell_configure(struct ph_shell *shell, const struct ph_conf *conf, bool spread);

/*
 * ph_conf_load() for this process, which waits for users where `shell` is NULL, with the keys of
 * cluster.key_file (NULL: there is none), whose errors are among `errors`. With an error neither
 * result is touched.
 */
PH_MUST_CHECK int ph_shell_load(struct ph_shell *shell, const char *file, struct ph_conf **ret_conf,
	struct ph_keyring **ret_ring, struct ph_conf_errors *errors);
/*
 * Reads the configuration again. `dry_run`: only what would change, nothing is logged. `spread`:
 * the texts of this node's file are put in force on all nodes. 0, and *ret_json (where not NULL) is
 * the caller's: {"children":[{"child","change":"added|removed|changed","restart","options":[...]}],
 * "options":[{"option","reloadable"}],"differs":[names]}, where `differs` has the children of which
 * the cluster runs another text and none of this node's; with `spread` the list is called so.
 * -EINVAL and others: refused, the old one stays; `err` has the first sentence and how many there
 * are more, and *ret_json is {"errors":[...]} with all of them, or untouched (out of memory).
 */
PH_MUST_CHECK int ph_shell_reload(
	struct ph_shell *shell, bool dry_run, bool spread, json_t **ret_json, struct ph_err *err);

#endif
