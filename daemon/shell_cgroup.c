/*
 * Cgroups of workers, by which their limits hold and all of their processes are found.
 *
 * Each process that is started has one of its own, where the daemon has a cgroup to make it in. Its
 * name comes from the worker's token, so that the next daemon finds it by what it knows anyway; it
 * is removed when nothing of the worker is left.
 */
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/cgroup.h"
#include "io/child.h"
#include "shell_parts.h"

#define SWEEP_MS 50 /* between two looks at what earlier daemons have left */
#define SWEEPS 40   /* then it is given up, with a line */

struct ph_shell_cgroups {
	struct ph_cgroups *groups; /* NULL: there is none, for this reason: */
	struct ph_err why;
	bool told; /* that a worker is in none */
	unsigned sweeps;
	struct event *again;
};

/* ---- life */

static void on_again(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	ph_shell_cgroups_settled(arg);
}

int ph_shell_cgroups_new(struct ph_shell *shell)
{
	struct ph_shell_cgroups *all = shell->cgroups = ph_shell_alloc(sizeof *shell->cgroups);
	all->again = evtimer_new(shell->base, on_again, shell);
	if (!all->again)
		return -ENOMEM;
	if (ph_cgroups_open(shell->run_dir, &all->groups, &all->why))
		ph_shell_log(shell, PH_LOG_INFO, "workers get no cgroups: %s", all->why.text);
	return 0;
}

void ph_shell_cgroups_free(struct ph_shell *shell)
{
	struct ph_shell_cgroups *all = shell->cgroups;
	if (!all)
		return;
	ph_cgroups_close(all->groups);
	if (all->again)
		event_free(all->again);
	free(all);
	shell->cgroups = NULL;
}

int ph_shell_release(const char *file, char **argv)
{
	struct ph_err err;
	(void)file;
	(void)argv;
	if (!ph_cgroups_release(&err))
		return 0;
	fprintf(stderr, "prochubd: %s\n", err.text);
	return 1;
}

const char *ph_shell_cgroups_dir(const struct ph_shell *shell)
{
	return shell->cgroups->groups ? ph_cgroups_dir(shell->cgroups->groups) : NULL;
}

/* ---- limits */

/* X(option, limit, field, what says that it is not set) */
#define LIMITS(X) \
	X("limits.memory", PH_CGROUP_MEMORY, memory_bytes, PH_CONF_UNSET_U64) \
	X("limits.cpu", PH_CGROUP_CPU, cpu_percent, PH_CONF_UNSET_U32) \
	X("limits.tasks", PH_CGROUP_TASKS, tasks, PH_CONF_UNSET_U32)

struct wanted_limit {
	const char *option;
	enum ph_cgroup_limit limit;
	uint64_t value;
};

static size_t wanted_limits(const struct ph_conf_child *child, struct wanted_limit ret[3])
{
	size_t n = 0;
#define X(option, limit, field, unset) \
	if (child->limits.field != unset) \
		ret[n++] = (struct wanted_limit){option, limit, child->limits.field};
	LIMITS(X)
#undef X
	return n;
}

bool ph_shell_cgroup_limited(const struct ph_conf_child *child)
{
	struct wanted_limit limits[3];
	return wanted_limits(child, limits) > 0;
}

/* What cannot be limited refuses the start or is told, as limits.missing says. */
static int cannot(struct ph_shell *shell, const struct ph_key *key,
	const struct ph_conf_child *child, const char *option, int error, struct ph_err *err)
{
	if (child->limits.missing == PH_CONF_MISSING_REFUSE) {
		ph_err_prefix(err, "%s", option);
		return error;
	}
	ph_shell_log(shell, PH_LOG_WARNING, "%s/%u: runs without %s: %s", key->child.s,
		key->instance, option, err->text);
	return 0;
}

static int set_limits(struct ph_shell *shell, const struct ph_key *key,
	const struct ph_conf_child *child, const char *path, struct ph_err *err)
{
	struct wanted_limit limits[3];
	size_t n = wanted_limits(child, limits);
	int result = 0;
	for (size_t i = 0; !result && i < n; i++) {
		int error = -EOPNOTSUPP;
		if (path)
			error = ph_cgroup_set(shell->cgroups->groups, path, limits[i].limit,
				limits[i].value, err);
		else
			*err = shell->cgroups->why;
		if (error)
			result = cannot(shell, key, child, limits[i].option, error, err);
	}
	return result;
}

/* ---- one worker */

static char *path_of(const struct ph_shell *shell, const struct ph_key *key, const char *token,
	char *name, size_t size)
{
	(void)snprintf(name, size, "%s.%u.%u-%016llx", key->child.s, key->instance, key->replica,
		(unsigned long long)ph_token_mark(token));
	char *path = ph_cgroup_path(shell->cgroups->groups, name);
	if (!path)
		abort();
	return path;
}

int ph_shell_cgroup_prepare(struct ph_shell *shell, const struct ph_key *key,
	const struct ph_conf_child *child, const char *token, char **ret_path, struct ph_err *err)
{
	char name[PH_NAME_SIZE + 64], *path = NULL;
	*ret_path = NULL;
	if (shell->cgroups->groups) {
		path = path_of(shell, key, token, name, sizeof name);
		if (ph_cgroup_make(path, &shell->cgroups->why)) {
			free(path);
			path = NULL;
			ph_shell_cgroup_lacking(shell, key, shell->cgroups->why.text);
		}
	}
	int error = set_limits(shell, key, child, path, err);
	if (error && path) {
		(void)ph_cgroup_remove(path);
		free(path);
		return error;
	}
	*ret_path = path;
	return error;
}

void ph_shell_cgroup_lacking(struct ph_shell *shell, const struct ph_key *key, const char *why)
{
	if (!shell->cgroups->told)
		ph_shell_log(shell, PH_LOG_WARNING, "%s/%u and maybe others run in no cgroup: %s",
			key->child.s, key->instance, why);
	shell->cgroups->told = true;
}

void ph_shell_cgroup_drop(char **path)
{
	if (*path)
		(void)ph_cgroup_remove(*path);
	free(*path);
	*path = NULL;
}

void ph_shell_cgroup_adopt(
	struct ph_shell *shell, struct ph_shell_worker *worker, const struct ph_conf_child *child)
{
	char name[PH_NAME_SIZE + 64];
	struct ph_err err;
	const struct ph_child *main = worker->main ? worker->main : worker->child;
	if (!shell->cgroups->groups)
		return;
	char *usual = path_of(shell, &worker->key, worker->token, name, sizeof name);
	if (main)
		worker->cgroup = ph_cgroup_of(shell->cgroups->groups, ph_child_pid(main), name);
	if (!worker->cgroup && access(usual, F_OK) == 0)
		worker->cgroup = ph_shell_strdup(usual);
	free(usual);
	/* a service manager may have taken the controllers back before it started this daemon */
	if (worker->cgroup && child && !worker->exited &&
		set_limits(shell, &worker->key, child, worker->cgroup, &err))
		ph_shell_log(shell, PH_LOG_WARNING, "%s/%u: runs on without it: %s",
			worker->key.child.s, worker->key.instance, err.text);
}

bool ph_shell_cgroup_oom(const struct ph_shell_worker *worker)
{
	return worker->cgroup && ph_cgroup_oom_kills(worker->cgroup) > 0;
}

/* ---- what earlier daemons have left */

struct paths {
	const char **v;
	size_t n, room;
};

static void note_path(void *arg, const char *path)
{
	struct paths *paths = arg;
	if (paths->n == paths->room) {
		size_t room = paths->room ? 2 * paths->room : 64;
		const char **v = ph_shell_alloc(room * sizeof *v);
		if (paths->n)
			memcpy(v, paths->v, paths->n * sizeof *v);
		free(paths->v);
		paths->v = v;
		paths->room = room;
	}
	paths->v[paths->n++] = path;
}

static void note_worker(void *arg, struct ph_shell_worker *worker)
{
	if (worker->cgroup)
		note_path(arg, worker->cgroup);
}

static int compare_paths(const void *a, const void *b)
{
	const char *const *x = a, *const *y = b;
	return strcmp(*x, *y);
}

static bool is_kept(void *arg, const char *path)
{
	const struct paths *paths = arg;
	return paths->n && bsearch(&path, paths->v, paths->n, sizeof *paths->v, compare_paths);
}

void ph_shell_cgroups_settled(struct ph_shell *shell)
{
	static const struct timeval pause = {0, SWEEP_MS * 1000};
	struct ph_shell_cgroups *all = shell->cgroups;
	struct paths paths = {0};
	if (!all->groups)
		return;
	ph_shell_workers_each(shell, note_worker, &paths);
	ph_shell_leaving_each(shell, note_worker, &paths);
	ph_shell_spawn_cgroups(shell, note_path, &paths);
	if (paths.n)
		qsort(paths.v, paths.n, sizeof *paths.v, compare_paths);
	size_t left = ph_cgroups_sweep(all->groups, is_kept, &paths);
	free(paths.v);
	if (left && ++all->sweeps < SWEEPS)
		evtimer_add(all->again, &pause);
	else if (left)
		ph_shell_log(shell, PH_LOG_ERROR,
			"%zu cgroups of workers of an earlier daemon cannot be removed", left);
}
