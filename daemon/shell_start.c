/* From nothing to a running daemon, always by one path; and back. */
#include "shell.h"

#include <errno.h>
#include <event2/event.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "io/clock.h"
#include "io/durable.h"
#include "io/lock.h"
#include "io/spawn.h"
#include "io/user.h"
#include "proto/seal.h"
#include "shell_bus.h"
#include "shell_ctl.h"
#include "shell_emit.h"
#include "shell_hook.h"
#include "shell_logs.h"
#include "shell_parts.h"

#define HEARTBEAT_MS 250
#define LOCK_TRIES 50 /* of 20 ms */
#define INCARNATION_NAME "incarnation"

enum {
	EXIT_STOPPED = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2
};

/* ---- configuration, before anything else */

static int load(const char *file, struct ph_conf **ret_conf, struct ph_keyring **ret_ring)
{
	struct ph_conf_errors *errors = ph_shell_alloc(sizeof *errors);
	int error = ph_shell_load(NULL, file, ret_conf, ret_ring, errors);
	for (size_t i = 0; error && i < errors->n; i++)
		fprintf(stderr, "prochubd: %s\n", errors->v[i].text.text);
	if (error && errors->more)
		fprintf(stderr, "prochubd: and %zu more errors\n", errors->more);
	free(errors);
	return error;
}

int ph_shell_check(const char *file, char **argv)
{
	struct ph_conf *conf;
	struct ph_keyring *ring = NULL;
	struct ph_err err;
	(void)argv;
	if (load(file, &conf, &ring))
		return EXIT_USAGE;
	int error = ph_shell_upgrade_check(conf, &err);
	if (error)
		fprintf(stderr, "prochubd: %s\n", err.text);
	else
		puts("configuration is correct");
	ph_shell_check_notes(conf);
	ph_shell_output_notes(conf);
	ph_keyring_free(ring);
	ph_conf_free(conf);
	return error ? EXIT_USAGE : EXIT_STOPPED;
}

int ph_shell_print(const char *file, char **argv)
{
	struct ph_conf *conf;
	struct ph_keyring *ring = NULL;
	(void)argv;
	if (load(file, &conf, &ring))
		return EXIT_USAGE;
	int error = ph_conf_print(conf, stdout);
	if (!error && fflush(stdout))
		error = -errno;
	if (error)
		fprintf(stderr, "prochubd: cannot print: %s\n", strerror(-error));
	ph_keyring_free(ring);
	ph_conf_free(conf);
	return error ? EXIT_FAILED : EXIT_STOPPED;
}

/* ---- directories, incarnation */

/* A daemon that was killed holds the lock until the kernel has taken it apart, and so does a
 * program that it was about to start, until that execs: on a busy machine a while. */
static int take_lock(const char *dir, int *ret_fd, struct ph_err *err)
{
	static const struct timespec moment = {0, 20 * 1000 * 1000};
	int error = ph_lock_take(dir, ret_fd, err);
	for (int i = 0; error == -EBUSY && i < LOCK_TRIES; i++) {
		nanosleep(&moment, NULL);
		error = ph_lock_take(dir, ret_fd, err);
	}
	return error;
}

static int prepare_dirs(struct ph_shell *shell, struct ph_err *err)
{
	shell->lock_fd = ph_shell_kept_take(shell, PH_KEPT_LOCK);
	shell->state_lock_fd = ph_shell_kept_take(shell, PH_KEPT_STATE_LOCK);
	int error = ph_lock_prepare_dir(shell->run_dir, 0755, false, err);
	if (!error)
		error = ph_lock_prepare_dir(shell->state_dir, 0700, true, err);
	if (!error && shell->lock_fd < 0)
		error = take_lock(shell->run_dir, &shell->lock_fd, err);
	if (!error && shell->state_lock_fd < 0)
		error = take_lock(shell->state_dir, &shell->state_lock_fd, err);
	int marked = error ? 0 : ph_spawn_set_mark(shell->run_dir);
	if (marked)
		error = ph_err_set(err, -marked, "'%s': %s", shell->run_dir, strerror(-marked));
	shell->worker_path = ph_shell_path(shell->run_dir, "worker.sock");
	shell->notify_path = ph_shell_path(shell->run_dir, "notify.sock");
	shell->control_path = ph_shell_path(shell->run_dir, "control.sock");
	return error;
}

static int incarnation_line(char line[32], uint64_t incarnation)
{
	return snprintf(line, 32, "%llu\n", (unsigned long long)incarnation);
}

static void keep_incarnation(struct ph_shell *shell)
{
	char line[32];
	struct ph_err err;
	int length = incarnation_line(line, shell->incarnation);
	if (ph_durable_write(shell->state_dir, INCARNATION_NAME, line, (size_t)length, 0600, &err))
		ph_shell_log(shell, PH_LOG_ERROR, "incarnation: %s", err.text);
}

/*
 * Above the stored one, a random part above it where the clock is behind it: two machines may have
 * been given the same directory. A disk that cannot keep it is no reason not to supervise.
 */
static uint64_t next_incarnation(uint64_t stored, uint64_t wall)
{
	uint16_t part;
	_Static_assert(PH_INCARNATION_APART == UINT16_MAX + 1u, "the random part is a uint16_t");
	ph_random_bytes(&part, sizeof part);
	return stored + 1 > wall ? stored + 1 + part : wall;
}

static void take_incarnation(struct ph_shell *shell)
{
	char *text = NULL;
	size_t n = 0;
	struct ph_err err;
	uint64_t stored = 0, wall = ph_clock_wall_ms();
	int error = ph_durable_read(shell->state_dir, INCARNATION_NAME, 64, &text, &n, &err);
	if (!error)
		stored = strtoull(text, NULL, 10);
	else if (error != -ENOENT)
		ph_shell_log(shell, PH_LOG_ERROR, "incarnation: %s", err.text);
	free(text);
	if (stored >= PH_EPOCH_LIMIT - PH_INCARNATION_APART)
		stored = 0;
	shell->previous = stored;
	shell->incarnation = next_incarnation(stored, wall);
	keep_incarnation(shell);
}

/* The journal's thread writes it: the loop does not wait for the disk, but core does. */
void ph_shell_renumber(struct ph_shell *shell, uint64_t incarnation)
{
	char line[32];
	incarnation = ph_incarnation_from(incarnation, ph_clock_wall_ms());
	int length = incarnation_line(line, incarnation);
	int error =
		ph_shell_records_keep(shell, incarnation, INCARNATION_NAME, line, (size_t)length);
	if (error)
		ph_shell_renumbered(shell, incarnation, error, strerror(-error));
}

void ph_shell_renumbered(struct ph_shell *shell, uint64_t incarnation, int error, const char *why)
{
	struct ph_event event = {.kind = PH_EV_INCARNATION, .ticket = incarnation, .error = -error};
	if (error)
		ph_shell_log(shell, PH_LOG_ERROR, "incarnation: %s", why);
	else
		shell->incarnation = incarnation;
	ph_shell_push(shell, &event, NULL, NULL);
}

/* ---- the hub */

static int make_hub(struct ph_shell *shell)
{
	const struct ph_conf *conf = shell->conf;
	bool keeps =
		conf->cluster.orphans == PH_CONF_ORPHANS_KEEP; /* there is no fence to wait for */
	char *labels = ph_shell_join(&conf->node.labels);
	struct ph_settings settings = {
		.node = conf->node.name,
		.slot = conf->node.has_slot ? conf->node.slot : ph_slot_of_name(conf->node.name.s),
		.incarnation = shell->incarnation,
		.previous = shell->previous,
		.weight = conf->node.weight_milli / 1000.0,
		.labels = labels,
		.version = PH_VERSION,
		.join_timeout_ms = conf->cluster.join_timeout_ms,
		.failure_timeout_ms = conf->cluster.failure_timeout_ms,
		.settle_ms = conf->cluster.settle_ms,
		.heartbeat_ms = HEARTBEAT_MS,
		.partition = (enum ph_partition)conf->cluster.partition,
		.quorum_size = conf->cluster.quorum_size,
		.quorum_percent = conf->cluster.quorum_percent,
		.quorum_hold_ms = conf->cluster.quorum_hold_ms,
		.fence_after_ms = keeps ? 0 : conf->cluster.fence_after_ms,
		.fence_grace_ms = keeps ? 0 : conf->cluster.fence_grace_ms,
		.lease_until_ms = ph_shell_fence_known_lease(shell),
		.exchange_ms = conf->cluster.synchronization_interval_ms,
		.fanout = conf->cluster.synchronization == PH_CONF_SYNCHRONIZATION_GOSSIP
				  ? conf->cluster.synchronization_fanout
				  : 0,
		.migrations_max = conf->cluster.migrations_max,
		.drain_on_stop = conf->node.drain_on_stop,
		.accept_any = conf->cluster.accept == PH_CONF_ACCEPT_ANY,
	};
	const char **peers = ph_shell_alloc(2 * (conf->cluster.peers.n + 1) * sizeof *peers);
	if (conf->cluster.listen) {
		snprintf(settings.address, sizeof settings.address, "tcp://%s:%u",
			conf->cluster.advertise, conf->cluster.port);
		settings.peers = peers;
		settings.peers_at = peers + conf->cluster.peers.n;
		settings.n_peers =
			ph_shell_bus_peers(shell->bus, peers, peers + conf->cluster.peers.n);
	}
	ph_shell_records_settings(shell, &settings);
	ph_random_bytes(&settings.seed, sizeof settings.seed);
	shell->hub = ph_hub_new(&settings);
	free(peers);
	free(labels);
	return shell->hub ? 0 : -ENOMEM;
}

/* ---- the parts, in the order in which they need each other */

static int start_basics(struct ph_shell *shell, struct ph_err *err)
{
	umask(022);
	shell->base = event_base_new();
	if (!shell->base)
		return ph_err_set(err, ENOMEM, "cannot make an event loop");
	int error = ph_shell_queue_new(shell);
	if (!error)
		error = ph_shell_emit_new(shell, &shell->emit);
	if (!error)
		error = ph_shell_specs_new(&shell->specs);
	if (!error)
		error = ph_shell_users_new(shell);
	if (!error)
		error = ph_shell_workers_new(&shell->workers);
	if (!error)
		error = ph_shell_spawner_new(shell);
	if (!error)
		error = ph_shell_hooks_new(shell);
	if (!error)
		error = ph_shell_state_new(shell);
	if (!error)
		error = ph_shell_listeners_new(shell);
	if (!error)
		return ph_seal_init(err);
	return ph_err_set(err, -error, "cannot start: %s", strerror(-error));
}

static int open_control(struct ph_shell *shell, struct ph_err *err)
{
	const struct ph_conf *conf = shell->conf;
	gid_t gid = (gid_t)-1;
	struct ph_err why;
	if (ph_user_group(conf->control.group, &gid, &why))
		ph_shell_log(shell, PH_LOG_DEBUG, "control.group: %s", why.text);
	int error = ph_shell_ctl_new(
		shell, shell->control_path, (mode_t)conf->control.mode, gid, &shell->ctl, err);
	if (error == -EPERM && gid != (gid_t)-1 && geteuid()) /* not root, not in that group */
		error = ph_shell_ctl_new(shell, shell->control_path, (mode_t)conf->control.mode,
			(gid_t)-1, &shell->ctl, err);
	return error;
}

static int start_sockets(struct ph_shell *shell, struct ph_err *err)
{
	int error = ph_shell_conns_new(shell, err);
	if (!error)
		error = ph_shell_notices_new(shell, err);
	if (!error)
		error = open_control(shell, err);
	if (!error && ph_shell_flows_new(shell))
		error = ph_err_set(err, ENOMEM, "cannot prepare state streams");
	if (!error)
		error = ph_shell_signals_new(shell, err);
	return error;
}

/* What was, then what is: core sees the same in the same order after every kind of end. */
static int start_core(struct ph_shell *shell, struct ph_err *err)
{
	struct ph_shell_found found = {0};
	struct ph_err why;
	/* first of all: what it is stopping is to be gone before this daemon looks what lives */
	int error = ph_shell_fence_new(shell, err);
	if (error)
		return error;
	int read = ph_shell_state_read(shell->run_dir, &found, &why);
	if (read && read != -ENOENT)
		ph_shell_log(shell, PH_LOG_ERROR, "state file: %s", why.text);
	error = ph_shell_logs_new(shell);
	if (!error)
		error = ph_shell_outputs_new(shell, err);
	if (!error)
		error = ph_shell_records_new(
			shell, !read && !ph_id_none(&found.journal) ? &found.journal : NULL, err);
	if (!error && shell->conf->cluster.listen)
		error = ph_shell_bus_new(shell, &shell->bus, err); /* it knows where peers are */
	if (!error)
		error = make_hub(shell);
	if (!error)
		error = start_sockets(shell, err);
	if (!error) {
		ph_shell_configure(shell, shell->conf, false);
		ph_shell_records_restore(shell);
		ph_shell_queue_drain(shell);
		ph_shell_kept_listeners(shell);
		ph_shell_kept_hooks(shell);
		size_t ended = ph_shell_adopt(shell, read ? NULL : &found);
		ph_shell_kept_settled(shell);
		struct ph_event event = {.kind = PH_EV_START};
		ph_shell_push(shell, &event, NULL, NULL);
		if (ended)
			ph_shell_adopt_ended(shell);
		ph_shell_state_touch(shell);
	}
	ph_shell_found_fini(&found);
	(void)malloc_trim(0); /* all that was read lay below what is kept of it */
	return error;
}

static void stop(struct ph_shell *shell, bool orderly)
{
	ph_shell_spawn_end(shell);
	if (shell->workers)
		orderly = orderly && !ph_shell_workers_count(shell);
	if (!orderly) /* its table stays as it is: the next daemon is awaited */
		ph_shell_fence_free(shell, false);
	ph_shell_ctl_free(shell->ctl);
	ph_shell_bus_free(shell->bus);
	ph_shell_conns_free(shell);
	ph_shell_notices_free(shell);
	ph_shell_flows_free(shell);
	ph_shell_probes_free(shell);
	ph_shell_exit_free(shell);
	ph_shell_workers_free(shell);
	ph_shell_listeners_free(shell, orderly);
	ph_shell_logs_free(shell);
	ph_shell_outputs_free(shell, orderly);
	ph_shell_records_free(shell);
	ph_shell_state_free(shell, orderly);
	ph_shell_queue_free(shell);
	if (shell->hooks && orderly)
		ph_shell_hooks_finish(shell);
	ph_shell_signals_free(shell);
	ph_shell_hooks_free(shell);
	ph_shell_spawner_free(shell);
	ph_shell_kin_free(shell);
	ph_shell_cgroups_free(shell);
	ph_shell_specs_free(shell->specs);
	ph_shell_users_free(shell);
	ph_hub_free(shell->hub);
	ph_shell_emit_free(shell->emit);
	ph_keyring_free(shell->ring);
	ph_conf_free(shell->conf);
	ph_shell_fence_free(shell, true);
	ph_shell_upgrade_free(shell);
	ph_shell_kept_free(shell);
	if (shell->base)
		event_base_free(shell->base);
	free(shell->worker_path);
	free(shell->notify_path);
	free(shell->control_path);
	free(shell->run_dir);
	free(shell->state_dir);
	if (shell->lock_fd >= 0)
		close(shell->lock_fd);
	if (shell->state_lock_fd >= 0)
		close(shell->state_lock_fd);
}

static void live(struct ph_shell *shell)
{
	do {
		if (event_base_dispatch(shell->base) < 0)
			ph_shell_log(shell, PH_LOG_ERROR, "the event loop failed");
		if (!ph_shell_upgrade_due(shell))
			return;
		if (!ph_shell_upgrade_gives_way(shell))
			ph_shell_upgrade_run(shell);
	} while (!event_base_got_exit(shell->base)); /* it may have come to its end by now */
}

int ph_shell_run(const char *file, char **argv)
{
	struct ph_shell *shell = ph_shell_alloc(sizeof *shell);
	struct ph_err err = {{0}};
	ph_shell_signals_block();
	ph_spawn_reserve();
	ph_shell_kept_new(shell);
	ph_shell_upgrade_new(shell, argv);
	shell->conf_file = file;
	shell->lock_fd = shell->state_lock_fd = -1;
	shell->tail = &shell->head;
	if (load(file, &shell->conf, &shell->ring)) {
		free(shell);
		return EXIT_USAGE;
	}
	snprintf(shell->node, sizeof shell->node, "%s", shell->conf->node.name.s);
	shell->run_dir = ph_shell_strdup(shell->conf->node.run_dir);
	shell->state_dir = ph_shell_strdup(shell->conf->node.state_dir);
	shell->started_at_ms = shell->now_ms = ph_clock_now_ms();
	int error = start_basics(shell, &err);
	if (!error)
		error = prepare_dirs(shell, &err);
	if (!error) {
		(void)ph_shell_raise_nofile(shell, ph_shell_kept_nofile(shell));
		if (ph_shell_cgroups_new(shell) || ph_shell_kin_new(shell))
			error = ph_err_set(&err, ENOMEM, "cannot start: out of memory");
	}
	if (!error) {
		take_incarnation(shell);
		error = start_core(shell, &err);
	}
	if (!error)
		ph_shell_signals_unblock();
	if (error)
		fprintf(stderr, "prochubd: %s\n", err.text[0] ? err.text : strerror(-error));
	else
		live(shell);
	bool orderly = shell->leaving;
	stop(shell, orderly);
	free(shell);
	return orderly ? EXIT_STOPPED : EXIT_FAILED;
}
