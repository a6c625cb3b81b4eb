/*
 * SPAWN: from a spec to a running process, in slices, as each one stops the loop for a moment.
 *
 * One that takes longer than a moment (its program is on a file system that does not answer, say)
 * is set aside: the loop goes on, and looks at it now and then until it runs or is given up.
 */
#include <errno.h>
#include <event2/event.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utlist.h>

#include "io/child.h"
#include "io/clock.h"
#include "io/hook.h"
#include "io/spawn.h"
#include "io/user.h"
#include "proto/seal.h"
#include "shell_parts.h"

#define SLICE 16    /* processes started in one turn */
#define AHEAD 2	    /* that are begun before the oldest of them is finished */
#define LATE_MAX 14 /* that are set aside; with as many no other is begun */

struct wanted {
	struct ph_shell *shell;
	struct wanted *next, *prev; /* prev: where its user or env_file is waited for */
	uint64_t until_ms;	    /* for its user */
	struct ph_shell_env_read *reading;
	struct ph_shell_env_text file; /* what was read */
	bool has_read;
	uint64_t wid;
	struct ph_key key;
	const struct ph_spec *spec;
	uint64_t epoch;
	enum ph_role role;
	bool claimable;
};

struct ph_shell_spawner {
	struct wanted *head, **tail;
	unsigned started;	    /* in this turn */
	struct start *begun[AHEAD]; /* the oldest first; none between two turns */
	unsigned n_begun;
	struct start *late;    /* set aside */
	struct wanted *unread; /* ... before that, as their user or env_file is waited for */
	unsigned n_late;       /* of both */
	struct event *look;    /* at those */
	struct rlimit nofile;  /* the daemon's before it was raised */
	bool has_nofile;
};

static void on_look(evutil_socket_t fd, short what, void *arg);

int ph_shell_spawner_new(struct ph_shell *shell)
{
	shell->spawner = ph_shell_alloc(sizeof *shell->spawner);
	shell->spawner->tail = &shell->spawner->head;
	shell->spawner->look = evtimer_new(shell->base, on_look, shell);
	return shell->spawner->look ? 0 : -ENOMEM;
}

static void wanted_free(struct wanted *wanted)
{
	ph_shell_env_read_free(wanted->reading);
	free(wanted->file.bytes);
	ph_spec_free(wanted->spec);
	free(wanted);
}

void ph_shell_spawner_free(struct ph_shell *shell)
{
	if (!shell->spawner)
		return;
	for (struct wanted *w = shell->spawner->head, *next; w; w = next) {
		next = w->next;
		wanted_free(w);
	}
	if (shell->spawner->look)
		event_free(shell->spawner->look);
	free(shell->spawner);
	shell->spawner = NULL;
}

int ph_shell_raise_nofile(struct ph_shell *shell, uint64_t soft)
{
	struct rlimit *limit = &shell->spawner->nofile;
	if (getrlimit(RLIMIT_NOFILE, limit))
		return -errno;
	shell->spawner->has_nofile = true;
	struct rlimit raised = {limit->rlim_max, limit->rlim_max};
	if (soft && soft <= limit->rlim_max)
		limit->rlim_cur = soft;
	return setrlimit(RLIMIT_NOFILE, &raised) ? -errno : 0;
}

size_t ph_shell_nofile(const struct ph_shell *shell, struct ph_spawn_limit *ret)
{
	const struct ph_shell_spawner *spawner = shell->spawner;
	*ret = (struct ph_spawn_limit){
		RLIMIT_NOFILE, spawner->nofile.rlim_cur, spawner->nofile.rlim_max};
	return spawner->has_nofile ? 1 : 0;
}

/* ---- one process */

/* What a start needs and what must be freed after it. */
struct start {
	struct wanted *wanted; /* NULL: it is not of the queue */
	/* both belong to what may be loaded anew: not for one that was set aside */
	const struct ph_conf_child *child;
	const struct ph_user *user;
	uid_t uid;
	gid_t *groups;
	const struct ph_conf_list *command; /* NULL: the child's own */
	struct ph_conf_vars vars;
	struct ph_shell_env env;
	char token[PH_TOKEN_SIZE];
	char **argv, *dir;
	struct ph_shell_listens listens;
	int fds[3 + PH_CONF_LISTENERS_MAX];
	struct ph_shell_output output;
	struct ph_spawn_limit limits[2];
	char *cgroup; /* NULL: none */
	struct ph_spawn_spec spec;
	struct ph_spawning *spawning;
	uint64_t begun_at_ms;
	struct start *prev, *next; /* among those set aside */
};

static void make_token(char token[PH_TOKEN_SIZE])
{
	struct ph_id random;
	ph_random_bytes(random.b, sizeof random.b);
	ph_id_text(&random, token);
}

static void start_free(struct start *start)
{
	for (size_t i = 0; start->argv && start->argv[i]; i++)
		free(start->argv[i]);
	free(start->argv);
	free(start->dir);
	free(start->groups);
	ph_shell_cgroup_drop(&start->cgroup);
	ph_shell_listens_drop(&start->listens);
	ph_shell_env_fini(&start->env);
	if (start->wanted)
		wanted_free(start->wanted);
	free(start);
}

static int expand_command(struct start *start, struct ph_err *err)
{
	bool own = !start->command; /* another one is expanded already */
	const struct ph_conf_list *command = own ? &start->child->command : start->command;
	start->argv = ph_shell_alloc((command->n + 1) * sizeof *start->argv);
	for (size_t i = 0; i < command->n; i++) {
		int error = 0;
		if (own)
			error = ph_conf_expand(command->v[i], &start->vars, &start->argv[i]);
		else
			start->argv[i] = ph_shell_strdup(command->v[i]);
		if (error)
			return ph_err_set(
				err, -error, "command: bad template '%.200s'", command->v[i]);
	}
	if (!start->child->dir)
		return 0;
	int error = ph_conf_expand(start->child->dir, &start->vars, &start->dir);
	if (error)
		return ph_err_set(err, -error, "dir: bad template '%.200s'", start->child->dir);
	return 0;
}

static int build_env(
	struct ph_shell *shell, struct wanted *wanted, struct start *start, struct ph_err *err)
{
	if (!start->command)
		make_token(start->token);
	struct ph_shell_env_want want = {
		.child = start->child,
		.vars = &start->vars,
		.inherited = (const char *const *)environ,
		.user = start->user,
		.file = &wanted->file,
		.token = start->command ? NULL : start->token,
		.worker_path = shell->worker_path,
		.notify_path = shell->notify_path,
		.listens = start->child->listen.n > 0,
		.epoch = wanted->epoch,
		.role = wanted->role,
	};
	return ph_shell_env_build(&start->env, &want, err);
}

static int prepare(
	struct ph_shell *shell, struct wanted *wanted, struct start *start, struct ph_err *err)
{
	start->child = ph_shell_specs_find(shell, wanted->spec, err);
	if (!start->child)
		return -EINVAL;
	int error =
		ph_shell_specs_user(shell, wanted->spec, start->command != NULL, &start->user, err);
	if (error)
		return error;
	start->vars = (struct ph_conf_vars){
		.child = wanted->key.child.s,
		.node = shell->node,
		.instance = wanted->key.instance,
		.replica = wanted->key.replica,
	};
	error = expand_command(start, err);
	if (!error)
		error = build_env(shell, wanted, start, err);
	return error;
}

/* Only root can be somebody else; for anyone else it is an error unless it is himself. */
static int want_user(const struct start *start, struct ph_spawn_spec *spec, struct ph_err *err)
{
	if (!start->child->user && !start->child->group)
		return 0;
	if (geteuid() && start->user->uid == geteuid() && start->user->gid == getegid())
		return 0;
	if (geteuid())
		return ph_err_set(err, EPERM, "cannot run as user %s: the daemon is not root",
			start->user->name);
	spec->set_user = true;
	spec->uid = start->user->uid;
	spec->gid = start->user->gid;
	spec->groups = start->user->groups;
	spec->n_groups = start->user->n_groups;
	return 0;
}

/* Descriptors are those that the daemon was started with, where the child does not say. */
static size_t fill_limits(struct ph_shell *shell, struct start *start)
{
	size_t n = ph_shell_limits_of(start->child, start->limits);
	if (start->child->limits.nofile == PH_CONF_UNSET_U32)
		n += ph_shell_nofile(shell, &start->limits[n]);
	return n;
}

/* All but the descriptors and the cgroup; what it points to lives as long as `start`, but for the
 * groups. */
static int fill_spec(
	struct ph_shell *shell, struct start *start, struct ph_spawn_spec *ret, struct ph_err *err)
{
	*ret = (struct ph_spawn_spec){
		.path = start->argv[0],
		.search = ph_shell_env_get(&start->env, "PATH"),
		.argv = (const char *const *)start->argv,
		.env = (const char *const *)start->env.v,
		.dir = start->dir,
		.set_umask = true,
		.umask = start->child->umask,
		.no_new_privileges = start->child->no_new_privileges,
		.limits = start->limits,
		.n_limits = fill_limits(shell, start),
	};
	return want_user(start, ret, err);
}

static void keep_user(struct start *start)
{
	struct ph_spawn_spec *spec = &start->spec;
	size_t n = spec->n_groups * sizeof *spec->groups;
	start->uid = start->child->user || start->child->group ? start->user->uid : geteuid();
	if (n)
		spec->groups = start->groups = memcpy(ph_shell_alloc(n), spec->groups, n);
}

static int prepare_output(
	struct ph_shell *shell, const struct ph_key *key, struct start *start, struct ph_err *err)
{
	bool other = start->child->user || start->child->group;
	const struct ph_shell_output_want want = {
		.key = *key,
		.child = start->child,
		.token = start->token,
		.uid = start->uid,
		.gid = other ? start->user->gid : getegid(),
	};
	start->fds[0] = -1;
	int error = ph_shell_output_prepare(shell, &want, &start->output, start->fds + 1, err);
	start->spec.file = start->output.file;
	start->spec.file_option = "log.path";
	return error;
}

static int prepare_cgroup(
	struct ph_shell *shell, const struct ph_key *key, struct start *start, struct ph_err *err)
{
	int error = ph_shell_cgroup_prepare(
		shell, key, start->child, start->token, &start->cgroup, err);
	if (error || !start->cgroup)
		return error;
	start->spec.cgroup = start->cgroup;
	start->spec.cgroup_optional = !ph_shell_cgroup_limited(start->child);
	if (start->child->limits.memory_bytes != PH_CONF_UNSET_U64)
		start->spec.memory = start->child->limits.memory_bytes;
	return 0;
}

/* It is over, or has to be. */
static int finish(
	struct ph_shell *shell, struct start *start, struct ph_spawned *ret, struct ph_err *err)
{
	int error = ph_spawn_give_up(start->spawning, ret, err);
	if (error) {
		ph_shell_output_abandon(&start->output);
		return error;
	}
	if (ret->cgroup_error) {
		ph_shell_cgroup_lacking(shell, &start->wanted->key, strerror(ret->cgroup_error));
		ph_shell_cgroup_drop(&start->cgroup);
	}
	ph_shell_output_started(shell, &start->output);
	return 0;
}

static void kill_unwatched(pid_t pid)
{
	kill(-pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

static int watch(struct ph_shell *shell, struct start *start, const struct ph_spawned *spawned,
	struct ph_err *err)
{
	const struct wanted *wanted = start->wanted;
	struct ph_shell_worker *worker = ph_shell_alloc(sizeof *worker);
	worker->wid = wanted->wid;
	worker->key = wanted->key;
	memcpy(worker->token, start->token, sizeof worker->token);
	worker->pid = spawned->pid;
	worker->start_time = spawned->start_time;
	worker->uid = start->uid;
	int error = ph_child_new(shell->base, spawned->pid, spawned->pidfd, spawned->start_time,
		ph_shell_exited, shell, &worker->child);
	if (error) {
		free(worker);
		kill_unwatched(spawned->pid);
		return ph_err_set(err, -error, "cannot watch the process: %s", strerror(-error));
	}
	worker->cgroup = start->cgroup;
	start->cgroup = NULL;
	worker->listens = start->listens;
	start->listens = (struct ph_shell_listens){0, NULL};
	ph_shell_workers_add(shell, worker);
	if (wanted->claimable)
		ph_shell_fence_add(worker);
	return 0;
}

static void tell_failed(struct ph_shell *shell, uint64_t wid, int error, const struct ph_err *err)
{
	const struct ph_event event = {
		.kind = PH_EV_SPAWN_FAILED, .wid = wid, .error = -error, .text = err->text};
	ph_shell_push_text(shell, &event);
}

static void conclude(struct ph_shell *shell, struct start *start)
{
	struct ph_spawned spawned;
	struct ph_err err = {{0}};
	int error = finish(shell, start, &spawned, &err);
	if (!error)
		error = watch(shell, start, &spawned, &err);
	if (error) {
		tell_failed(shell, start->wanted->wid, error, &err);
	} else {
		const struct ph_event event = {.kind = PH_EV_SPAWNED,
			.wid = start->wanted->wid,
			.pid = (uint32_t)spawned.pid};
		ph_shell_push(shell, &event, NULL, NULL);
	}
	start_free(start);
}

/* ---- those that take long */

static void one_late(struct ph_shell *shell)
{
	static const struct timeval pause = {0, PH_SPAWN_LOOK_MS * 1000};
	shell->spawner->n_late++;
	if (!evtimer_pending(shell->spawner->look, NULL))
		evtimer_add(shell->spawner->look, &pause);
}

static void set_aside(struct ph_shell *shell, struct start *start)
{
	DL_APPEND(shell->spawner->late, start);
	one_late(shell);
}

static void conclude_late(struct ph_shell *shell, struct start *start)
{
	DL_DELETE(shell->spawner->late, start);
	shell->spawner->n_late--;
	conclude(shell, start);
	ph_shell_outputs_started(shell);
}

static void no_longer_unread(struct wanted *wanted)
{
	DL_DELETE(wanted->shell->spawner->unread, wanted);
	wanted->shell->spawner->n_late--;
}

static void give_up(struct wanted *wanted)
{
	const struct ph_err err = {"its user or env_file did not come before the daemon's end"};
	no_longer_unread(wanted);
	tell_failed(wanted->shell, wanted->wid, -ECANCELED, &err);
	wanted_free(wanted);
}

static void put_first(struct ph_shell_spawner *spawner, struct wanted *wanted)
{
	wanted->next = spawner->head;
	if (!spawner->head)
		spawner->tail = &wanted->next;
	spawner->head = wanted;
}

/* Takes it from those set aside, unless its user is not answered yet. */
static void look_for_user(struct wanted *wanted, bool up)
{
	struct ph_shell *shell = wanted->shell;
	const struct ph_user *user;
	struct ph_err err;
	int error = ph_shell_specs_user(shell, wanted->spec, false, &user, &err);
	if (error == -EINPROGRESS && !up)
		return;
	no_longer_unread(wanted);
	if (error) {
		tell_failed(shell, wanted->wid, error, &err);
		wanted_free(wanted);
	} else {
		put_first(shell->spawner, wanted);
	}
}

bool ph_shell_spawn_look(struct ph_shell *shell)
{
	struct start *start, *next;
	unsigned before = shell->spawner->n_late;
	uint64_t now_ms = before ? ph_clock_now_ms() : 0;
	DL_FOREACH_SAFE(shell->spawner->late, start, next)
	{
		bool up = shell->stopping || now_ms >= start->begun_at_ms + PH_SPAWN_ASIDE_MS;
		if (ph_spawn_wait(start->spawning, 0) || up)
			conclude_late(shell, start);
	}
	struct wanted *wanted, *after;
	DL_FOREACH_SAFE(shell->spawner->unread, wanted, after)
	if (!wanted->reading)
		look_for_user(wanted, now_ms >= wanted->until_ms);
	while (shell->stopping && shell->spawner->unread)
		give_up(shell->spawner->unread);
	bool changed = shell->spawner->n_late != before;
	if (changed && shell->spawner->head)
		ph_shell_wake(shell); /* whoever has looked: there is something to start, or room */
	return changed;
}

static void on_look(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval pause = {0, PH_SPAWN_LOOK_MS * 1000};
	struct ph_shell *shell = arg;
	(void)fd;
	(void)what;
	(void)ph_shell_spawn_look(shell);
	if (shell->spawner->n_late)
		evtimer_add(shell->spawner->look, &pause);
}

void ph_shell_spawn_end(struct ph_shell *shell)
{
	while (shell->spawner && shell->spawner->late)
		conclude_late(shell, shell->spawner->late);
	while (shell->spawner && shell->spawner->unread)
		give_up(shell->spawner->unread);
}

void ph_shell_spawn_cgroups(
	struct ph_shell *shell, void (*each)(void *arg, const char *path), void *arg)
{
	struct start *start;
	DL_FOREACH (shell->spawner->late, start)
		if (start->cgroup)
			each(arg, start->cgroup);
}

/* ---- the beginning */

static void finish_oldest(struct ph_shell *shell)
{
	struct ph_shell_spawner *spawner = shell->spawner;
	struct start *start = spawner->begun[0];
	for (unsigned i = 1; i < spawner->n_begun; i++)
		spawner->begun[i - 1] = spawner->begun[i];
	spawner->n_begun--;
	if (ph_spawn_moment(start->spawning))
		conclude(shell, start);
	else
		set_aside(shell, start);
}

static int begin_prepared(struct ph_shell *shell, struct start *start, struct ph_err *err)
{
	const struct ph_key *key = &start->wanted->key;
	int error = fill_spec(shell, start, &start->spec, err);
	keep_user(start);
	ph_shell_listens_fds(&start->listens, start->fds + 3);
	if (!error)
		error = prepare_output(shell, key, start, err);
	start->spec.fds = start->fds;
	start->spec.n_fds = 3 + start->listens.n;
	if (!error)
		error = prepare_cgroup(shell, key, start, err);
	/* as late as this: all of the above was done while that child ran */
	if (!error && shell->spawner->n_begun == AHEAD)
		finish_oldest(shell);
	start->begun_at_ms = ph_clock_now_ms();
	if (!error)
		error = ph_spawn_begin(&start->spec, &start->spawning, err);
	if (error)
		ph_shell_output_abandon(&start->output);
	return error;
}

/* Takes `wanted`. */
static void begin_one(struct ph_shell *shell, struct wanted *wanted)
{
	struct ph_shell_spawner *spawner = shell->spawner;
	struct start *start = ph_shell_alloc(sizeof *start);
	struct ph_err err = {{0}};
	ph_shell_env_init(&start->env);
	start->wanted = wanted;
	int error = prepare(shell, wanted, start, &err);
	if (!error)
		error = ph_shell_listens_get(shell, &wanted->key, &start->child->listen,
			&start->vars, &start->listens, &err);
	if (!error)
		error = begin_prepared(shell, start, &err);
	if (!error) {
		spawner->begun[spawner->n_begun++] = start;
		return;
	}
	tell_failed(shell, wanted->wid, error, &err);
	start_free(start);
}

int ph_shell_spawn_beside(struct ph_shell *shell, const struct ph_key *key,
	const struct ph_spec *spec, struct ph_shell_env_text *file,
	const struct ph_conf_list *command, const struct ph_hook_ops *ops, void *arg,
	struct ph_hook **ret, struct ph_err *err)
{
	struct ph_spawn_spec how;
	struct start *start = ph_shell_alloc(sizeof *start);
	struct wanted wanted = {.key = *key, .spec = spec, .file = *file};
	ph_shell_env_init(&start->env);
	start->command = command;
	int error = prepare(shell, &wanted, start, err);
	if (!error)
		error = fill_spec(shell, start, &how, err);
	if (!error)
		error = ph_hook_start(shell->base, &how, "", 0, ops, arg, ret, err);
	start_free(start);
	return error;
}

/* ---- the queue */

static void on_read(void *arg, int error, struct ph_shell_env_text *text, const struct ph_err *err)
{
	struct wanted *wanted = arg;
	struct ph_shell *shell = wanted->shell;
	wanted->reading = NULL;
	no_longer_unread(wanted);
	if (error) {
		tell_failed(shell, wanted->wid, error, err);
		wanted_free(wanted);
	} else {
		wanted->file = *text;
		wanted->has_read = true;
		put_first(shell->spawner, wanted);
	}
	ph_shell_wake(shell); /* there is room for another one */
}

/* Takes `wanted`. Has it all that it needs? Else it is set aside, or has failed. */
static bool has_all(struct wanted *wanted)
{
	struct ph_shell *shell = wanted->shell;
	const struct ph_user *user;
	struct ph_err err = {{0}};
	int error = ph_shell_specs_user(shell, wanted->spec, false, &user, &err);
	if (!error && !wanted->has_read)
		error = ph_shell_env_read(shell, &wanted->key, wanted->spec, on_read, wanted,
			&wanted->reading, &wanted->file, &err);
	if (!error && !wanted->reading)
		return true;
	if (error && error != -EINPROGRESS) {
		tell_failed(shell, wanted->wid, error, &err);
		wanted_free(wanted);
	} else {
		wanted->until_ms = ph_clock_now_ms() + PH_SPAWN_ASIDE_MS;
		DL_APPEND(shell->spawner->unread, wanted);
		one_late(shell);
	}
	return false;
}

static void start_slice(struct ph_shell *shell)
{
	struct ph_shell_spawner *spawner = shell->spawner;
	while (spawner->head && spawner->started < SLICE && spawner->n_late < LATE_MAX) {
		struct wanted *wanted = spawner->head;
		spawner->head = wanted->next;
		if (!spawner->head)
			spawner->tail = &spawner->head;
		spawner->started++;
		if (has_all(wanted))
			begin_one(shell, wanted);
	}
}

void ph_shell_spawn_settle(struct ph_shell *shell)
{
	bool any = shell->spawner->n_begun > 0;
	while (shell->spawner->n_begun)
		finish_oldest(shell);
	if (any)
		ph_shell_outputs_started(shell);
}

void ph_shell_spawn_act(struct ph_shell *shell, const struct ph_action *action)
{
	struct wanted *wanted = ph_shell_alloc(sizeof *wanted);
	wanted->shell = shell;
	wanted->wid = action->wid;
	wanted->key = action->spawn->key;
	wanted->epoch = action->spawn->epoch;
	wanted->role = action->spawn->role;
	wanted->claimable = action->spawn->claimable;
	wanted->spec = ph_spec_clone(action->spawn->spec);
	*shell->spawner->tail = wanted;
	shell->spawner->tail = &wanted->next;
	start_slice(shell);
}

void ph_shell_spawn_turn_end(struct ph_shell *shell)
{
	start_slice(shell);
	ph_shell_spawn_settle(shell);
	shell->spawner->started = 0;
	if (!shell->spawner->head)
		return;
	ph_shell_state_touch(shell);
	if (shell->spawner->n_late < LATE_MAX)
		ph_shell_wake(shell);
}
