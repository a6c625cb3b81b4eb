/* Adoption: the workers of an earlier daemon, from the state file and from their environments. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/child.h"
#include "io/proc.h"
#include "io/spawn.h"
#include "shell_parts.h"

struct adopted {
	struct ph_adopted adopted;
	const struct ph_spec *spec;
	char *text; /* of `meta` or `why` */
};

static void adopted_free(void *arg)
{
	struct adopted *a = arg;
	ph_spec_free(a->spec);
	free(a->text);
	free(a);
}

/* Takes `worker` and `spec` (may be NULL). */
static void push(struct ph_shell *shell, struct ph_shell_worker *worker,
	const struct ph_adopted *what, const struct ph_spec *spec)
{
	struct adopted *a = ph_shell_alloc(sizeof *a);
	worker->wid = ph_shell_workers_count(shell) + 1;
	worker->key = what->key;
	ph_shell_listens_adopt(
		shell, worker, spec ? spec : ph_hub_spec(shell->hub, &what->key.child));
	ph_shell_workers_add(shell, worker);
	if (ph_hub_claimable(shell->hub, spec, &what->key.child))
		ph_shell_fence_add(worker);
	struct ph_err err;
	const struct ph_spec *known = spec ? spec : ph_hub_spec(shell->hub, &what->key.child);
	const struct ph_conf_child *child = known ? ph_shell_specs_find(shell, known, &err) : NULL;
	ph_shell_output_adopt(shell, worker, child);
	ph_shell_cgroup_adopt(shell, worker, child);
	a->adopted = *what;
	a->spec = spec;
	a->text = what->meta ? ph_shell_strdup(what->meta) : NULL;
	a->adopted.wid = worker->wid;
	a->adopted.spec = spec;
	a->adopted.meta = a->text;
	struct ph_event event = {.kind = PH_EV_ADOPTED, .wid = worker->wid, .adopted = &a->adopted};
	ph_shell_push(shell, &event, adopted_free, a);
}

/* ---- what lives, by the environments: it is newer than the state file */

static bool number_of(const char *text, uint64_t max, uint64_t *ret)
{
	char *end;
	if (!text || *text < '0' || *text > '9')
		return false;
	errno = 0;
	unsigned long long v = strtoull(text, &end, 10);
	if (errno || *end || v > max)
		return false;
	*ret = v;
	return true;
}

static bool understand(const struct ph_proc_worker *p, struct ph_adopted *ret)
{
	uint64_t instance, replica = 0, epoch;
	struct ph_id token;
	if (!p->token || ph_id_parse(p->token, &token) || !ph_name_valid(p->child))
		return false;
	if (!number_of(p->instance, PH_CONF_INSTANCES_MAX - 1, &instance) ||
		!number_of(p->epoch, PH_EPOCH_LIMIT - 1, &epoch))
		return false;
	if (p->replica && !number_of(p->replica, UINT32_MAX, &replica))
		return false;
	memset(ret, 0, sizeof *ret);
	ret->pid = (uint32_t)p->pid;
	ret->key.child = ph_name_of(p->child);
	ret->key.instance = (uint32_t)instance;
	ret->key.replica = (uint32_t)replica;
	ret->epoch = epoch;
	ret->role = p->role && !strcmp(p->role, "standby") ? PH_ROLE_STANDBY : PH_ROLE_ACTIVE;
	return true;
}

struct leader {
	struct ph_proc_worker process; /* without its texts */
	char token[PH_TOKEN_SIZE];
	char child[PH_NAME_SIZE]; /* for people */
	bool understood;
	struct ph_adopted what;
};

struct leaders {
	size_t n, room;
	struct leader *v;
};

static void take_leader(void *arg, const struct ph_proc_worker *p)
{
	struct leaders *all = arg;
	if (all->n == all->room) {
		all->room = all->room ? 2 * all->room : 64;
		all->v = realloc(all->v, all->room * sizeof *all->v);
		if (!all->v)
			abort();
	}
	struct leader *leader = &all->v[all->n++];
	*leader = (struct leader){.process = {.pid = p->pid,
					  .session = p->session,
					  .start_time = p->start_time,
					  .uid = p->uid}};
	(void)snprintf(leader->token, sizeof leader->token, "%s", p->token ? p->token : "");
	(void)snprintf(leader->child, sizeof leader->child, "%s", p->child ? p->child : "");
	leader->understood = understand(p, &leader->what);
}

/* By their key, so that a thousand workers cost no million looks. */
static int compare_leaders(const void *a, const void *b)
{
	const struct leader *x = a, *y = b;
	return ph_key_compare(&x->what.key, &y->what.key);
}

/*
 * The state file is up to 100 ms old: what it says has ended may have been started again since by
 * the daemon before. That one lives, as the owner under that epoch or a later one: it is no end.
 */
static struct leader *started_again(
	const struct leaders *all, const struct ph_shell_found_worker *f)
{
	size_t low = 0, high = all->n;
	while (low < high) {
		size_t middle = (low + high) / 2;
		if (ph_key_compare(&all->v[middle].what.key, &f->key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < all->n && ph_key_equal(&all->v[low].what.key, &f->key); low++) {
		struct leader *leader = &all->v[low];
		if (leader->understood && leader->what.role == PH_ROLE_ACTIVE &&
			leader->what.epoch >= f->epoch &&
			leader->process.start_time >= f->start_time &&
			strcmp(leader->token, f->token) != 0)
			return leader;
	}
	return NULL;
}

/* ---- from the state file */

/* Most workers have the text that is in force: that spec is theirs too. */
static const struct ph_spec *spec_of(struct ph_shell *shell, const struct ph_shell_found *found,
	const struct ph_shell_found_worker *f)
{
	struct ph_err err;
	const struct ph_spec *known = ph_hub_spec(shell->hub, &f->key.child);
	for (size_t i = 0; i < found->n_specs; i++) {
		const struct ph_shell_found_spec *s = &found->specs[i];
		if (s->revision != f->revision || !ph_name_equal(&s->child, &f->key.child))
			continue;
		if (known && known->revision == s->revision && !strcmp(known->text, s->text))
			return ph_spec_clone(known);
		return ph_shell_spec_of_text(shell, &s->child, s->text, s->revision, &err);
	}
	return NULL;
}

/* The first process, and the main one where that is another. 0, or why the main one is not there:
 * then what is left of the session is killed when its end is reported. */
static int adopt_processes(struct ph_shell *shell, const struct ph_shell_found_worker *f,
	struct ph_shell_worker *worker, struct ph_err *err)
{
	int error = ph_child_adopt(shell->base, (pid_t)f->pid, f->start_time, ph_shell_exited,
		shell, &worker->child, err);
	if (!f->main_pid)
		return error;
	return ph_child_adopt(shell->base, (pid_t)f->main_pid, f->main_start_time,
		ph_shell_main_exited, worker, &worker->main, err);
}

static bool adopt_found(struct ph_shell *shell, const struct ph_shell_found *found,
	const struct ph_shell_found_worker *f, const struct leaders *leaders)
{
	struct ph_err err;
	struct ph_shell_worker *worker = ph_shell_alloc(sizeof *worker);
	uint32_t main_pid = f->main_pid ? f->main_pid : f->pid;
	int error = adopt_processes(shell, f, worker, &err);
	const struct ph_spec *spec = spec_of(shell, found, f);
	bool ended = error == -ESRCH || error == -ESTALE;
	struct leader *next = ended && !f->retired && ph_id_none(&f->migration)
				      ? started_again(leaders, f)
				      : NULL;
	bool claimed = ended && ph_shell_fence_may_have_fired(shell) &&
		       ph_hub_claimable(shell->hub, spec, &f->key.child);
	if (next || claimed) {
		/* as after the death of this node: whoever is to have it claims it */
		if (!next)
			ph_shell_log(shell, PH_LOG_INFO,
				"%s/%u: has ended while no daemon was here", f->key.child.s,
				f->key.instance);
		else
			next->what.restarts = f->restarts + 1;
		ph_spec_free(spec);
		ph_shell_worker_free(worker);
		return true;
	}
	if (error && error != -ESRCH && error != -ESTALE)
		ph_shell_log(shell, PH_LOG_ERROR, "%s/%u: cannot watch pid %u: %s", f->key.child.s,
			f->key.instance, main_pid, err.text);
	else
		ph_shell_log(shell, PH_LOG_INFO, "%s/%u: %s pid %u", f->key.child.s,
			f->key.instance, error ? "has ended meanwhile:" : "adopted", main_pid);
	memcpy(worker->token, f->token, sizeof worker->token);
	worker->pid = (pid_t)f->pid;
	worker->start_time = f->start_time;
	worker->uid = f->uid;
	worker->exited = error != 0;
	worker->gone_main_pid = error ? f->main_pid : 0;
	worker->gone_main_start_time = error ? f->main_start_time : 0;
	struct ph_adopted what = {
		.pid = main_pid,
		.key = f->key,
		.epoch = f->epoch,
		.born_ms = f->born_ms,
		.copied_ms = f->copied_ms,
		.revision = f->revision,
		.role = f->role,
		.retired = f->retired,
		.retained_until_ms = f->retained_until_ms,
		.ready = f->ready,
		.unheard = f->unheard || !shell->kept,
		.again = f->again,
		.migration = f->migration,
		.since_ms = f->since_ms,
		.restarts = f->restarts,
		.tally = f->tally,
		.meta = f->meta,
	};
	push(shell, worker, &what, spec);
	return !error;
}

/* Ended before this daemon began, for good or until it is due, and still so. What others may have
 * taken over meanwhile is not kept: whoever is to have it claims it. */
static void adopt_done(struct ph_shell *shell, const struct ph_shell_found *found,
	const struct ph_shell_found_worker *f, const struct leaders *leaders)
{
	const struct ph_spec *spec = spec_of(shell, found, f);
	if (!spec || started_again(leaders, f) || f->exit > PH_EXIT_OOM ||
		(ph_shell_fence_may_have_fired(shell) &&
			ph_hub_claimable(shell->hub, spec, &f->key.child))) {
		ph_spec_free(spec);
		return;
	}
	if (f->due_ms)
		ph_shell_listens_wait(shell, &f->key, spec);
	struct adopted *a = ph_shell_alloc(sizeof *a);
	a->spec = spec;
	a->text = f->why ? ph_shell_strdup(f->why) : NULL;
	a->adopted = (struct ph_adopted){
		.key = f->key,
		.epoch = f->epoch,
		.born_ms = f->born_ms,
		.copied_ms = f->copied_ms,
		.revision = f->revision,
		.role = PH_ROLE_ACTIVE,
		.ready = true,
		.since_ms = f->since_ms,
		.restarts = f->restarts,
		.tally = f->tally,
		.spec = spec,
		.done = true,
		.failed = f->failed,
		.due_ms = f->due_ms,
		.why = a->text,
		.exit = {(enum ph_exit_kind)f->exit, f->exit_value},
	};
	struct ph_event event = {.kind = PH_EV_ADOPTED, .adopted = &a->adopted};
	ph_shell_push(shell, &event, adopted_free, a);
}

static void end_one(void *arg, struct ph_shell_worker *worker)
{
	struct ph_event event = {
		.kind = PH_EV_EXITED, .wid = worker->wid, .exit = {PH_EXIT_UNKNOWN, 0}};
	if (ph_shell_cgroup_oom(worker))
		event.exit = (struct ph_exit){PH_EXIT_OOM, SIGKILL};
	if (worker->exited)
		ph_shell_push(arg, &event, NULL, NULL);
}

void ph_shell_adopt_ended(struct ph_shell *shell)
{
	ph_shell_workers_each(shell, end_one, shell);
}

/* ---- from the environments */

/* A child without a readiness of its own is ready as it runs; any other that has lived for longer
 * than it may take to start must have been, or it would have been stopped. */
static bool was_ready(struct ph_shell *shell, const struct ph_spec *spec, uint64_t start_time)
{
	uint64_t started_ms = start_time * 1000 / (uint64_t)sysconf(_SC_CLK_TCK);
	return spec->ready == PH_READY_NONE || shell->now_ms > started_ms + spec->start_timeout_ms;
}

static void adopt_process(struct ph_shell *shell, const struct ph_proc_worker *p,
	struct ph_adopted *what, const struct ph_spec *spec)
{
	struct ph_err err;
	struct ph_shell_worker *worker = ph_shell_alloc(sizeof *worker);
	int error = p->pid == p->session
			    ? ph_child_adopt(shell->base, p->pid, p->start_time, ph_shell_exited,
				      shell, &worker->child, &err)
			    : ph_child_adopt(shell->base, p->pid, p->start_time,
				      ph_shell_main_exited, worker, &worker->main, &err);
	if (error) {
		free(worker);
		return;
	}
	snprintf(worker->token, sizeof worker->token, "%s", p->token);
	worker->pid = p->session;
	worker->start_time = p->start_time;
	worker->uid = p->uid;
	what->revision = spec->revision;
	what->unheard = true;
	what->ready = what->role == PH_ROLE_ACTIVE && was_ready(shell, spec, p->start_time);
	ph_shell_log(shell, PH_LOG_INFO, "%s/%u: adopted pid %d, which the state file misses",
		what->key.child.s, what->key.instance, (int)p->pid);
	push(shell, worker, what, ph_spec_clone(spec));
}

struct token_search {
	const char *token;
	bool found;
};

static void compare_token(void *arg, struct ph_shell_worker *worker)
{
	struct token_search *search = arg;
	search->found |= strcmp(worker->token, search->token) == 0;
}

/* Each start has a token of its own: what has that of a known worker was started by that one, as
 * was what has none; neither is for us to keep or to end. */
static bool of_a_worker(struct ph_shell *shell, const struct ph_proc_worker *p)
{
	struct token_search search = {p->token, !p->token};
	if (p->token)
		ph_shell_workers_each(shell, compare_token, &search);
	return search.found;
}

static void adopt_leader(struct ph_shell *shell, struct leader *leader)
{
	struct ph_proc_worker *p = &leader->process;
	p->token = *leader->token ? leader->token : NULL;
	if (ph_shell_worker_by_pid(shell, p->pid) || of_a_worker(shell, p))
		return;
	const struct ph_spec *spec = NULL;
	if (leader->understood)
		spec = ph_hub_spec(shell->hub, &leader->what.key.child);
	if (!spec) {
		ph_shell_log(shell, PH_LOG_WARNING,
			"pid %d was started here for child '%.63s', which nobody knows: killed",
			(int)p->pid, leader->child);
		kill(-p->pid, SIGKILL);
		return;
	}
	adopt_process(shell, p, &leader->what, spec);
}

struct key_search {
	const struct ph_key *key;
	bool found;
};

static void compare_key(void *arg, struct ph_shell_worker *worker)
{
	struct key_search *search = arg;
	search->found |= ph_key_compare(&worker->key, search->key) == 0;
}

/* Where there is no worker else it is the main one (MAINPID=), the oldest as a rule: nobody knows
 * better, and a second copy would be worse. What a worker has left in sessions of its own making
 * looks the same. */
static void adopt_orphan(void *arg, const struct ph_proc_worker *p)
{
	struct ph_shell *shell = arg;
	struct ph_adopted what;
	if (!understand(p, &what))
		return;
	const struct ph_spec *spec = ph_hub_spec(shell->hub, &what.key.child);
	struct key_search search = {&what.key, false};
	ph_shell_workers_each(shell, compare_key, &search);
	if (spec && !search.found)
		adopt_process(shell, p, &what, spec);
}

size_t ph_shell_adopt(struct ph_shell *shell, const struct ph_shell_found *found)
{
	size_t ended = 0;
	struct leaders leaders = {0, 0, NULL};
	/* before the search: what executes meanwhile is found by it */
	int left = ph_spawn_kill_marked();
	if (left > 0)
		ph_shell_log(shell, PH_LOG_WARNING,
			"%d starts of an earlier daemon had not come to an end: killed", left);
	int error = ph_proc_find_workers(shell->worker_path, false, take_leader, &leaders);
	if (leaders.n)
		qsort(leaders.v, leaders.n, sizeof *leaders.v, compare_leaders);
	for (size_t i = 0; found && i < found->n_workers; i++)
		ended += !adopt_found(shell, found, &found->workers[i], &leaders);
	for (size_t i = 0; found && i < found->n_done; i++)
		adopt_done(shell, found, &found->done[i], &leaders);
	for (size_t i = 0; found && i < found->n_due; i++)
		adopt_done(shell, found, &found->due[i], &leaders);
	for (size_t i = 0; i < leaders.n; i++)
		adopt_leader(shell, &leaders.v[i]);
	free(leaders.v);
	if (!error && !found) /* a state file names main processes */
		error = ph_proc_find_workers(shell->worker_path, true, adopt_orphan, shell);
	if (error)
		ph_shell_log(shell, PH_LOG_ERROR, "cannot search for workers in /proc: %s",
			strerror(-error));
	ph_shell_fence_settled(shell);
	ph_shell_outputs_settled(shell);
	ph_shell_cgroups_settled(shell);
	return ended;
}
