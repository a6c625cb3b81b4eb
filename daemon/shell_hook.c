/* shell_hook.c - see shell_hook.h. */
#include "shell_hook.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "core/hook_queue.h"
#include "io/clock.h"
#include "io/hook.h"
#include "io/user.h"
#include "shell_emit.h"
#include "shell_parts.h"

#define SLICE 4 /* processes started before the loop looks at anything else */

/* As a reload has left it; runs that it has begun, or that wait, hold on to theirs. */
struct hook {
	unsigned holders;
	char *name, **command;
	uint64_t timeout_ms;
	bool on[PH_EMIT_COUNT];
	bool merges;
};

struct run {
	struct ph_shell *shell;
	uint64_t id;
	struct hook *hook;
	const char *event;
	struct ph_key key; /* no child: of none */
	struct ph_shell_env env;
	char *input;
	bool merge;		 /* core waits for its end ... */
	struct ph_id conflict;	 /* ... of this one */
	bool late;		 /* its time was over */
	struct ph_hook *process; /* NULL: it waits */
	UT_hash_handle hh;
};

struct ph_shell_hooks {
	size_t n;
	struct hook **all;
	struct run *runs;
	struct ph_hook_queue queue;
	struct ph_clock_timer *timer;
	bool finishing;
};

#define X(name, word) word,
static const char *const event_words[] = {PH_EMITS(X) NULL};
#undef X

/* ---- the configuration */

static void hook_let_go(struct hook *hook)
{
	if (--hook->holders)
		return;
	for (size_t i = 0; hook->command[i]; i++)
		free(hook->command[i]);
	free(hook->command);
	free(hook->name);
	free(hook);
}

static struct hook *hook_of(const struct ph_conf_hook *conf)
{
	struct hook *hook = ph_shell_alloc(sizeof *hook);
	hook->holders = 1;
	hook->name = ph_shell_strdup(conf->name.s);
	hook->timeout_ms = conf->timeout_ms;
	hook->command = ph_shell_alloc((conf->command.n + 1) * sizeof *hook->command);
	for (size_t i = 0; i < conf->command.n; i++)
		hook->command[i] = ph_shell_strdup(conf->command.v[i]);
	for (size_t i = 0; i < conf->on.n; i++) {
		hook->merges |= !strcmp(conf->on.v[i], PH_CONF_ON_CONFLICT);
		for (size_t k = 0; k < PH_EMIT_COUNT; k++)
			hook->on[k] |= !strcmp(conf->on.v[i], event_words[k]);
	}
	return hook;
}

static void let_all_go(struct ph_shell_hooks *hooks)
{
	for (size_t i = 0; i < hooks->n; i++)
		hook_let_go(hooks->all[i]);
	free(hooks->all);
	hooks->all = NULL;
	hooks->n = 0;
}

void ph_shell_hooks_configure(struct ph_shell *shell, const struct ph_conf *conf)
{
	struct ph_shell_hooks *hooks = shell->hooks;
	let_all_go(hooks);
	if (!conf->n_hooks)
		return;
	hooks->all = ph_shell_alloc(conf->n_hooks * sizeof(struct hook *));
	for (size_t i = 0; i < conf->n_hooks; i++)
		hooks->all[hooks->n++] = hook_of(conf->hooks[i]);
}

static struct hook *merging(const struct ph_shell_hooks *hooks)
{
	for (size_t i = 0; i < hooks->n; i++)
		if (hooks->all[i]->merges)
			return hooks->all[i];
	return NULL;
}

bool ph_shell_hooks_merge(const struct ph_shell *shell)
{
	return shell->hooks && merging(shell->hooks);
}

/* ---- one run */

static void run_free(struct run *run)
{
	HASH_DEL(run->shell->hooks->runs, run);
	ph_hook_free(run->process);
	ph_shell_env_fini(&run->env);
	hook_let_go(run->hook);
	free(run->input);
	free(run);
}

static struct run *find(struct ph_shell_hooks *hooks, uint64_t id)
{
	struct run *run;
	HASH_FIND(hh, hooks->runs, &id, sizeof id, run);
	return run;
}

/* "hook page-me (child_failed web/0)" */
static void told_as(const struct run *run, char *ret, size_t size)
{
	if (run->key.child.s[0])
		(void)snprintf(ret, size, "hook %s (%s %s/%u)", run->hook->name, run->event,
			run->key.child.s, run->key.instance);
	else
		(void)snprintf(ret, size, "hook %s (%s)", run->hook->name, run->event);
}

/* It is over; `error` 0: it has ended with 0. Frees it. */
static void conclude(struct run *run, int error, const char *why)
{
	struct ph_shell *shell = run->shell;
	char text[PH_REASON_SIZE];
	told_as(run, text, sizeof text);
	ph_shell_log(shell, error ? PH_LOG_WARNING : PH_LOG_DEBUG, "%s: %s", text, why);
	if (run->merge && !shell->hooks->finishing) {
		struct ph_event event = {.kind = PH_EV_HOOKED, .id = run->conflict, .error = error};
		ph_shell_push(shell, &event, NULL, NULL);
	}
	ph_hook_queue_end(&shell->hooks->queue, run->id);
	run_free(run);
}

/* It will not be run: of events that is told in one line for many. */
static void give_up(struct run *run)
{
	if (run->merge)
		conclude(run, ECANCELED, "not run");
	else
		run_free(run);
}

static void again(struct ph_shell *shell)
{
	struct ph_shell_hooks *hooks = shell->hooks;
	ph_clock_timer_set(hooks->timer, ph_hook_queue_deadline(&hooks->queue));
	if (hooks->finishing && !hooks->queue.n)
		event_base_loopbreak(shell->base);
}

static void on_line(void *arg, const char *text)
{
	struct run *run = arg;
	ph_shell_log(run->shell, PH_LOG_INFO, "hook %s: %s", run->hook->name, text);
}

static void on_ended(void *arg, const struct ph_child_exit *status, bool left, unsigned long untold)
{
	struct run *run = arg;
	struct ph_shell *shell = run->shell;
	const char *late = run->late ? "its time was over: " : "";
	char why[96] = "done";
	if (untold)
		ph_shell_log(run->shell, PH_LOG_INFO, "hook %s: and %lu more lines",
			run->hook->name, untold);
	if (left)
		ph_shell_log(run->shell, PH_LOG_WARNING,
			"hook %s: processes that it has left cannot be killed", run->hook->name);
	bool well = !status->signal && !status->code && !status->unknown;
	if (status->signal)
		(void)snprintf(why, sizeof why, "%skilled by signal %d", late, status->signal);
	else if (!well)
		(void)snprintf(why, sizeof why, "%sexit code %d", late, status->code);
	conclude(run, well ? 0 : ECANCELED, why);
	again(shell);
}

static void tell_not_started(struct run *run, int error, const char *text)
{
	char why[PH_ERR_MAX + 32];
	(void)snprintf(why, sizeof why, "cannot be started: %s", text);
	conclude(run, -error, why);
}

static void on_failed(void *arg, int error, const char *text)
{
	struct run *run = arg;
	struct ph_shell *shell = run->shell;
	tell_not_started(run, error, text);
	again(shell);
}

static const struct ph_hook_ops ops = {.line = on_line, .failed = on_failed, .ended = on_ended};

static void free_argv(char **argv)
{
	for (size_t i = 0; argv[i]; i++)
		free(argv[i]);
	free(argv);
}

/* The caller's; NULL: a bad template, which cannot be, or no memory. */
static char **expand(const struct run *run)
{
	struct ph_conf_vars vars = {.child = run->key.child.s,
		.node = run->shell->node,
		.instance = run->key.instance,
		.replica = run->key.replica};
	size_t n = 0;
	while (run->hook->command[n])
		n++;
	char **argv = ph_shell_alloc((n + 1) * sizeof *argv);
	int error = 0;
	for (size_t i = 0; i < n && !error; i++)
		error = ph_conf_expand(run->hook->command[i], &vars, &argv[i]);
	if (!error)
		return argv;
	free_argv(argv);
	return NULL;
}

static int start(struct run *run, struct ph_err *err)
{
	char **argv = expand(run);
	struct ph_spawn_limit limit;
	if (!argv)
		return ph_err_set(err, ENOMEM, "its command cannot be written out");
	struct ph_spawn_spec spec = {
		.path = argv[0],
		.search = ph_shell_env_get(&run->env, "PATH"),
		.argv = (const char *const *)argv,
		.env = (const char *const *)run->env.v,
		.limits = &limit,
		.n_limits = ph_shell_nofile(run->shell, &limit),
	};
	int error = ph_hook_start(run->shell->base, &spec, run->input, strlen(run->input), &ops,
		run, &run->process, err);
	free_argv(argv);
	return error;
}

static void begin(struct run *run)
{
	struct ph_err err = {{0}};
	int error = start(run, &err);
	if (error)
		tell_not_started(run, error, err.text);
}

/* ---- when */

/* Has it started a process? */
static bool carry_out(struct ph_shell *shell, const struct ph_run_order *order)
{
	struct run *run = find(shell->hooks, order->id);
	switch (order->what) {
	case PH_RUN_START:
		begin(run);
		return true;
	case PH_RUN_TERM:
	case PH_RUN_KILL:
		run->late = true;
		ph_hook_signal(run->process, order->what == PH_RUN_KILL ? SIGKILL : SIGTERM);
		break;
	case PH_RUN_ABANDON:
		conclude(run, ETIMEDOUT, "it cannot be killed, and is given up");
		break;
	case PH_RUN_DROP:
		give_up(run);
		break;
	case PH_RUN_TELL:
		ph_shell_log(shell, PH_LOG_WARNING, "hooks: %llu events have run no hook: %s",
			(unsigned long long)order->id,
			shell->hooks->finishing ? "the daemon is being stopped"
						: "too many were waiting");
		break;
	}
	return false;
}

static void pump(void *arg)
{
	struct ph_shell *shell = arg;
	struct ph_shell_hooks *hooks = shell->hooks;
	struct ph_run_order order;
	uint64_t now_ms = ph_clock_now_ms();
	int started = 0;
	while (started < SLICE && ph_hook_queue_next(&hooks->queue, now_ms, &order))
		started += carry_out(shell, &order);
	again(shell);
}

/* ---- what a run finds */

static void fill_env(struct run *run)
{
	const struct ph_shell *shell = run->shell;
	const struct ph_user *user;
	struct ph_err err;
	struct ph_shell_env *env = &run->env;
	ph_shell_env_inherit(env, (const char *const *)environ);
	if (!ph_shell_user(run->shell, NULL, NULL, true, &user, &err)) {
		ph_shell_env_set(env, "HOME", user->home);
		ph_shell_env_set(env, "USER", user->name);
		ph_shell_env_set(env, "LOGNAME", user->name);
		ph_shell_env_set(env, "SHELL", user->shell);
	}
	ph_shell_env_set(env, "PROCHUB_EVENT", run->event);
	ph_shell_env_set(env, "PROCHUB_NODE", shell->node);
	ph_shell_env_set(env, "PROCHUB_CONTROL", shell->control_path ? shell->control_path : "");
	if (!run->key.child.s[0])
		return;
	ph_shell_env_set(env, "PROCHUB_CHILD", run->key.child.s);
	ph_shell_env_number(env, "PROCHUB_INSTANCE", run->key.instance);
	ph_shell_env_number(env, "PROCHUB_REPLICA", run->key.replica);
}

static char *line_of(const json_t *json)
{
	char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
	size_t n = text ? strlen(text) : 0;
	char *line = ph_shell_alloc(n + 2);
	if (n)
		memcpy(line, text, n);
	line[n] = '\n';
	free(text);
	return line;
}

/* Not queued yet. */
static struct run *run_new(struct ph_shell *shell, struct hook *hook, const char *event,
	const struct ph_key *key, const json_t *json)
{
	struct run *run = ph_shell_alloc(sizeof *run);
	run->shell = shell;
	run->hook = hook;
	hook->holders++;
	run->event = event;
	if (key)
		run->key = *key;
	run->input = line_of(json);
	ph_shell_env_init(&run->env);
	fill_env(run);
	return run;
}

static void enqueue(struct run *run)
{
	struct ph_shell *shell = run->shell;
	struct ph_shell_hooks *hooks = shell->hooks;
	uint64_t dropped;
	run->id = ph_hook_queue_add(&hooks->queue, run->hook->timeout_ms, run->merge, &dropped);
	HASH_ADD(hh, hooks->runs, id, sizeof run->id, run);
	if (dropped)
		give_up(find(hooks, dropped));
	again(shell);
}

/* Something has happened. */
static void on_event(void *arg, const struct ph_emitted *told)
{
	const struct ph_emit *event = told->event;
	struct ph_shell *shell = arg;
	struct ph_shell_hooks *hooks = shell->hooks;
	char id[PH_ID_TEXT_SIZE];
	for (size_t i = 0; i < hooks->n; i++) {
		if (!hooks->all[i]->on[event->kind])
			continue;
		json_t *json = ph_emitted_json(told);
		struct run *run = run_new(shell, hooks->all[i], event_words[event->kind],
			event->has_key ? &event->key : NULL, json);
		json_decref(json);
		ph_shell_env_number(&run->env, "PROCHUB_SEQ", told->seq);
		if (!ph_id_none(&event->id))
			ph_shell_env_set(
				&run->env, "PROCHUB_MIGRATION", ph_id_text(&event->id, id));
		enqueue(run);
	}
}

static json_t *conflict_json(
	const struct ph_shell *shell, const struct ph_hook_order *order, const char *path)
{
	char time_text[PH_TIME_TEXT_SIZE];
	json_t *meta = order->winner_meta ? json_loads(order->winner_meta, 0, NULL) : json_null();
	ph_time_text(ph_clock_wall_ms(), time_text);
	return json_pack("{s:s,s:s,s:s,s:s,s:I,s:I,s:{s:s,s:I,s:o},s:{s:s,s:I},s:s,s:s,s:I}",
		"event", PH_CONF_ON_CONFLICT, "time", time_text, "node", shell->node, "child",
		order->key.child.s, "instance", (json_int_t)order->key.instance, "replica",
		(json_int_t)order->key.replica, "winner", "node", order->winner.s, "epoch",
		(json_int_t)order->winner_epoch, "meta", meta ? meta : json_null(), "loser", "node",
		shell->node, "epoch", (json_int_t)order->epoch, "state", path, "format",
		order->format, "version", (json_int_t)order->format_version);
}

void ph_shell_hook_act(struct ph_shell *shell, const struct ph_action *action)
{
	const struct ph_hook_order *order = action->hook;
	struct hook *hook = merging(shell->hooks);
	if (!hook) { /* a reload has taken it away meanwhile */
		struct ph_event event = {.kind = PH_EV_HOOKED, .id = order->id, .error = ENOENT};
		ph_shell_push(shell, &event, NULL, NULL);
		return;
	}
	char *path = ph_shell_path(shell->state_dir, order->file);
	json_t *json = conflict_json(shell, order, path);
	struct run *run = run_new(shell, hook, PH_CONF_ON_CONFLICT, &order->key, json);
	run->merge = true;
	run->conflict = order->id;
	ph_shell_env_set(&run->env, "PROCHUB_STATE", path);
	ph_shell_env_set(&run->env, "PROCHUB_STATE_FORMAT", order->format);
	ph_shell_env_number(&run->env, "PROCHUB_STATE_VERSION", order->format_version);
	ph_shell_env_number(&run->env, "PROCHUB_EPOCH", order->epoch);
	ph_shell_env_set(&run->env, "PROCHUB_WINNER_NODE", order->winner.s);
	ph_shell_env_number(&run->env, "PROCHUB_WINNER_EPOCH", order->winner_epoch);
	if (order->winner_meta)
		ph_shell_env_set(&run->env, "PROCHUB_WINNER_META", order->winner_meta);
	json_decref(json);
	free(path);
	enqueue(run);
}

/* ---- over an upgrade */

/* What is only being started does not outlive this program: it waits again. */
static void take_back(struct run *run)
{
	if (!run->process || !ph_hook_give_up(run->process))
		return;
	ph_hook_free(run->process);
	run->process = NULL;
}

/* One of a conflict is not: the next daemon tells its end, as after any other. */
void ph_shell_hooks_save(const struct ph_shell *shell, FILE *to)
{
	const struct ph_hook_queue *queue = &shell->hooks->queue;
	for (size_t i = 0; i < queue->n; i++) {
		struct run *run = find(shell->hooks, queue->runs[i].id);
		if (run)
			take_back(run);
		if (run && !run->process && !run->merge)
			(void)fprintf(to, "hook 0 %s %s", run->hook->name, run->input);
	}
}

static const char *event_word(const json_t *json)
{
	const char *word = json_string_value(json_object_get(json, "event"));
	for (size_t i = 0; word && i < PH_EMIT_COUNT; i++)
		if (!strcmp(word, event_words[i]))
			return event_words[i];
	return NULL;
}

static struct hook *hook_named(const struct ph_shell_hooks *hooks, const char *name, size_t n)
{
	for (size_t i = 0; i < hooks->n; i++)
		if (strlen(hooks->all[i]->name) == n && !memcmp(hooks->all[i]->name, name, n))
			return hooks->all[i];
	return NULL;
}

static uint64_t whole(const json_t *json, const char *name)
{
	return (uint64_t)json_integer_value(json_object_get(json, name));
}

void ph_shell_hooks_restore(struct ph_shell *shell, const char *text)
{
	size_t n = strcspn(text, " ");
	struct hook *hook = hook_named(shell->hooks, text, n);
	json_t *json = text[n] ? json_loads(text + n + 1, 0, NULL) : NULL;
	const char *event = event_word(json);
	const char *child = json_string_value(json_object_get(json, "child"));
	const char *id = json_string_value(json_object_get(json, "migration"));
	if (!hook || !event) {
		ph_shell_log(shell, PH_LOG_WARNING,
			"hook %.*s: an event that waited for it runs none: it is not in the "
			"configuration any more",
			(int)n, text);
		json_decref(json);
		return;
	}
	struct ph_key key = {.child = ph_name_of(child ? child : ""),
		.instance = (uint32_t)whole(json, "instance"),
		.replica = (uint32_t)whole(json, "replica")};
	struct run *run = run_new(shell, hook, event, child ? &key : NULL, json);
	ph_shell_env_number(&run->env, "PROCHUB_SEQ", whole(json, "seq"));
	if (id)
		ph_shell_env_set(&run->env, "PROCHUB_MIGRATION", id);
	enqueue(run);
	json_decref(json);
}

/* ---- life */

int ph_shell_hooks_new(struct ph_shell *shell)
{
	struct ph_shell_hooks *hooks = ph_shell_alloc(sizeof *hooks);
	int error = ph_clock_timer_new(shell->base, pump, shell, &hooks->timer);
	if (error) {
		free(hooks);
		return error;
	}
	shell->hooks = hooks;
	ph_shell_hooks_configure(shell, shell->conf);
	ph_shell_emit_hook(shell->emit, on_event, shell);
	return 0;
}

void ph_shell_hooks_free(struct ph_shell *shell)
{
	struct ph_shell_hooks *hooks = shell->hooks;
	struct run *run, *next;
	if (!hooks)
		return;
	ph_shell_emit_hook(shell->emit, NULL, NULL);
	HASH_ITER (hh, hooks->runs, run, next)
		run_free(run);
	let_all_go(hooks);
	ph_clock_timer_free(hooks->timer);
	free(hooks);
	shell->hooks = NULL;
}

void ph_shell_hooks_stop(struct ph_shell *shell)
{
	ph_hook_queue_stop(&shell->hooks->queue, ph_clock_now_ms());
	again(shell);
}

void ph_shell_hooks_finish(struct ph_shell *shell)
{
	struct ph_shell_hooks *hooks = shell->hooks;
	hooks->finishing = true;
	ph_hook_queue_last(&hooks->queue, ph_clock_now_ms());
	again(shell);
	if (hooks->queue.n)
		(void)event_base_dispatch(shell->base);
	pump(shell); /* what is still to be told */
}

void ph_shell_hooks_hurry(struct ph_shell *shell)
{
	ph_hook_queue_hurry(&shell->hooks->queue, ph_clock_now_ms());
	again(shell);
}
