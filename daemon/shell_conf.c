/* Child specifications: the words of conf/ and those of core, and a cache from text to child. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "conf/probe.h"
#include "shell_hook.h"
#include "shell_parts.h"

#define CACHE_LEAST 4096 /* parsed children; past them the oldest is forgotten */

struct cached {
	uint64_t hash; /* of the text, with the child's name */
	struct ph_conf_child *child;
	UT_hash_handle hh;
};

struct ph_shell_specs {
	struct cached *all;
	size_t most; /* the children of the file twice, as a reload has them, or CACHE_LEAST */
};

int ph_shell_specs_new(struct ph_shell_specs **ret)
{
	*ret = ph_shell_alloc(sizeof **ret);
	(*ret)->most = CACHE_LEAST;
	return 0;
}

static void forget(struct ph_shell_specs *specs, struct cached *cached)
{
	HASH_DEL(specs->all, cached);
	ph_conf_child_free(cached->child);
	free(cached);
}

void ph_shell_specs_free(struct ph_shell_specs *specs)
{
	struct cached *cached, *next;
	if (!specs)
		return;
	HASH_ITER (hh, specs->all, cached, next)
		forget(specs, cached);
	free(specs);
}

/* ---- the words of conf in those of core */

static const enum ph_ready_kind readies[] = {
	[PH_CONF_READY_NONE] = PH_READY_NONE,
	[PH_CONF_READY_PROTOCOL] = PH_READY_PROTOCOL,
	[PH_CONF_READY_NOTIFY] = PH_READY_NOTIFY,
	[PH_CONF_READY_PROBE] = PH_READY_PROBE,
};
static const enum ph_restart_policy policies[] = {
	[PH_CONF_RESTART_PERMANENT] = PH_RESTART_PERMANENT,
	[PH_CONF_RESTART_TRANSIENT] = PH_RESTART_TRANSIENT,
	[PH_CONF_RESTART_TEMPORARY] = PH_RESTART_TEMPORARY,
};
static const enum ph_on_limit on_limits[] = {
	[PH_CONF_LIMIT_FAIL] = PH_LIMIT_FAIL,
	[PH_CONF_LIMIT_RETRY] = PH_LIMIT_RETRY,
	[PH_CONF_LIMIT_ELSEWHERE] = PH_LIMIT_ELSEWHERE,
};
static const enum ph_group_strategy strategies[] = {
	[PH_CONF_ONE_FOR_ONE] = PH_GROUP_ONE_FOR_ONE,
	[PH_CONF_ONE_FOR_ALL] = PH_GROUP_ONE_FOR_ALL,
	[PH_CONF_REST_FOR_ONE] = PH_GROUP_REST_FOR_ONE,
};
static const enum ph_handover_want handovers[] = {
	[PH_CONF_HANDOVER_AUTO] = PH_HANDOVER_AUTO,
	[PH_CONF_HANDOVER_TRUE] = PH_HANDOVER_YES,
	[PH_CONF_HANDOVER_FALSE] = PH_HANDOVER_NO,
};

char *ph_shell_join(const struct ph_conf_list *list)
{
	size_t n = 1;
	for (size_t i = 0; i < list->n; i++)
		n += strlen(list->v[i]) + 1;
	if (!list->n)
		return NULL;
	char *text = ph_shell_alloc(n), *at = text;
	for (size_t i = 0; i < list->n; i++)
		at += sprintf(at, "%s%s", i ? "," : "", list->v[i]);
	return text;
}

/* What is ready before it starts: those in `after`, and the member before it in its group. */
static char *started_after(const struct ph_conf_child *child)
{
	struct ph_conf_list all = {.v = ph_shell_alloc((child->after.n + 1) * sizeof *all.v)};
	const struct ph_conf_group *group = child->in_group;
	for (size_t i = 0; i < child->after.n; i++)
		all.v[all.n++] = child->after.v[i];
	for (size_t i = 1; group && i < group->children.n; i++)
		if (strcmp(group->children.v[i], child->name.s) == 0)
			all.v[all.n++] = group->children.v[i - 1];
	char *text = ph_shell_join(&all);
	free(all.v);
	return text;
}

/* Its members are the caller's to free. */
static void fill_group(struct ph_group_spec *ret, const struct ph_conf_group *group)
{
	if (!group)
		return;
	*ret = (struct ph_group_spec){
		.name = group->name,
		.strategy = strategies[group->strategy],
		.members = ph_shell_join(&group->children),
		.intensity = group->intensity,
		.within_ms = group->within_ms,
	};
}

static void fill_restart(struct ph_restart *ret, const struct ph_conf_child *child)
{
	*ret = (struct ph_restart){
		.policy = policies[child->restart.policy],
		.delay_ms = child->restart.delay_ms,
		.backoff_ms = child->restart.backoff_ms,
		.backoff_max_ms = child->restart.backoff_max_ms,
		.jitter_percent = child->restart.jitter_percent,
		.intensity = child->restart.intensity,
		.within_ms = child->restart.within_ms,
		.on_limit = on_limits[child->restart.on_limit],
		.retry_after_ms = child->restart.retry_after_ms,
	};
}

static void fill_health(struct ph_health *ret, const struct ph_conf_child *child)
{
	bool any = child->health.tcp || child->health.http || child->health.exec;
	*ret = (struct ph_health){
		.interval_ms = any ? child->health.interval_ms : 0,
		.timeout_ms = child->health.timeout_ms,
		.failures = child->health.failures,
	};
}

static void fill_migration(struct ph_spec *ret, const struct ph_conf_child *child)
{
	ret->swap = child->migration.strategy == PH_CONF_MIGRATION_HOT_SWAP;
	ret->handover = handovers[child->migration.handover];
	ret->retention_ms = child->migration.retention_ms;
	ret->timeout_ms = child->migration.timeout_ms;
	ret->downtime_ms = child->migration.downtime_ms;
	ret->defer_max_ms = child->migration.defer_max_ms;
	ret->rounds_max = child->migration.rounds_max;
	ret->max_state_bytes = child->migration.max_state_bytes;
}

/* Each text's hash is the seed of the next one's. */
static void hash_text(uint64_t *hash, const char *text)
{
	*hash = XXH3_64bits_withSeed(text ? text : "", (text ? strlen(text) : 0) + 1, *hash);
}

/*
 * Of the options that the table of conf/ does not call live: they need a new process, as
 * conf/diff.c tells people. One with another placement.strategy is another instance anyway.
 */
static uint64_t process_hash(const struct ph_conf_child *child)
{
	char numbers[96];
	uint64_t hash = 0;
	for (size_t i = 0; i < child->command.n; i++)
		hash_text(&hash, child->command.v[i]);
	hash_text(&hash, NULL);
	for (size_t i = 0; i < child->env.n; i++) {
		hash_text(&hash, child->env.v[i].name);
		hash_text(&hash, child->env.v[i].value);
	}
	for (size_t i = 0; i < child->listen.n; i++) {
		hash_text(&hash, child->listen.v[i].name);
		hash_text(&hash, child->listen.v[i].value);
	}
	hash_text(&hash, NULL);
	hash_text(&hash, child->dir);
	hash_text(&hash, child->env_file);
	hash_text(&hash, child->user);
	hash_text(&hash, child->group);
	/* what is later than the first version adds nothing by default: workers stay at an upgrade
	 */
	(void)snprintf(numbers, sizeof numbers, "%u %d %llu%s%s", child->umask, (int)child->log.to,
		(unsigned long long)child->watchdog_ms, child->no_new_privileges ? " nnp" : "",
		child->placement.strategy == PH_CONF_PLACEMENT_LOCAL ? " local" : "");
	hash_text(&hash, numbers);
	(void)snprintf(numbers, sizeof numbers, "%u %llx %llx %u %u %d", child->limits.nofile,
		(unsigned long long)child->limits.core_bytes,
		(unsigned long long)child->limits.memory_bytes, child->limits.cpu_percent,
		child->limits.tasks, (int)child->limits.missing);
	hash_text(&hash, numbers);
	hash_text(&hash, child->ready);
	return hash;
}

static const struct ph_spec *spec_of(
	const struct ph_conf_child *child, const char *text, uint64_t revision)
{
	char *nodes = ph_shell_join(&child->placement.nodes),
	     *labels = ph_shell_join(&child->placement.labels), *after = started_after(child);
	struct ph_spec spec = {
		.child = child->name,
		.revision = revision,
		.text = text,
		.hash = XXH3_64bits(text, strlen(text)),
		.process = process_hash(child),
		.instances = child->instances,
		.added = child->added,
		.local = child->placement.strategy == PH_CONF_PLACEMENT_LOCAL,
		.nodes = nodes,
		.labels = labels,
		.ready = readies[ph_conf_ready_of(child->ready)],
		.start_timeout_ms = child->start_timeout_ms,
		.stop_signal = child->stop_signal,
		.stop_timeout_ms = child->stop_timeout_ms,
		.watchdog_ms = child->watchdog_ms,
		.after = after,
	};
	fill_group(&spec.group, child->in_group);
	fill_restart(&spec.restart, child);
	fill_health(&spec.health, child);
	fill_migration(&spec, child);
	const struct ph_spec *ret = ph_spec_clone(&spec);
	free(nodes);
	free(labels);
	free(after);
	free((void *)(uintptr_t)spec.group.members);
	return ret;
}

const struct ph_spec *ph_shell_spec_of_child(const struct ph_conf_child *child)
{
	char *text = ph_conf_child_text(child);
	if (!text)
		return NULL;
	const struct ph_spec *spec = spec_of(child, text, 0);
	free(text);
	return spec;
}

/* ---- the cache */

static struct cached *remember(struct ph_shell *shell, uint64_t hash, struct ph_conf_child *child)
{
	struct cached *cached = ph_shell_alloc(sizeof *cached);
	if (HASH_COUNT(shell->specs->all) >= shell->specs->most)
		forget(shell->specs, shell->specs->all);
	cached->hash = hash;
	cached->child = child;
	HASH_ADD(hh, shell->specs->all, hash, sizeof cached->hash, cached);
	return cached;
}

static struct cached *cached_of(
	struct ph_shell *shell, const struct ph_name *name, const char *text, struct ph_err *err)
{
	size_t n = strlen(text);
	uint64_t hash = XXH3_64bits_withSeed(text, n, XXH3_64bits(name->s, strlen(name->s)));
	struct cached *cached;
	HASH_FIND(hh, shell->specs->all, &hash, sizeof hash, cached);
	if (cached)
		return cached;
	struct ph_conf_errors *errors = ph_shell_alloc(sizeof *errors);
	struct ph_conf_child *child = NULL;
	int error = ph_conf_child_parse(name->s, text, n, &child, errors);
	if (error)
		ph_err_set(
			err, -error, "%s", errors->n ? errors->v[0].text.text : strerror(-error));
	else
		cached = remember(shell, hash, child);
	free(errors);
	return cached;
}

const struct ph_spec *ph_shell_spec_of_text(struct ph_shell *shell, const struct ph_name *child,
	const char *text, uint64_t revision, struct ph_err *err)
{
	if (strlen(text) > PH_CONF_CHILD_MAX) {
		ph_err_set(err, EFBIG, "the text of child %s is too long", child->s);
		return NULL;
	}
	const struct cached *cached = cached_of(shell, child, text, err);
	if (!cached)
		return NULL;
	const struct ph_spec *spec = spec_of(cached->child, text, revision);
	if (!spec)
		ph_err_set(err, ENOMEM, "no memory");
	return spec;
}

const struct ph_conf_child *ph_shell_specs_find(
	struct ph_shell *shell, const struct ph_spec *spec, struct ph_err *err)
{
	const struct cached *cached = cached_of(shell, &spec->child, spec->text, err);
	return cached ? cached->child : NULL;
}

int ph_shell_specs_user(struct ph_shell *shell, const struct ph_spec *spec, bool last,
	const struct ph_user **ret, struct ph_err *err)
{
	const struct ph_conf_child *child = ph_shell_specs_find(shell, spec, err);
	return child ? ph_shell_user(shell, child->user, child->group, last, ret, err) : -EINVAL;
}

/* ---- CONFIGURED */

struct configured {
	struct ph_config config;
	const struct ph_spec *specs[];
};

static void configured_free(void *arg)
{
	struct configured *c = arg;
	for (size_t i = 0; i < c->config.n_specs; i++)
		ph_spec_free(c->specs[i]);
	free(c);
}

/* Users are looked up here, at load, so that nobody waits for a directory of users later. A failure
 * is told when such a child is to be started. */
void ph_shell_specs_look_up(struct ph_shell *shell, const struct ph_spec *spec)
{
	const struct ph_user *user;
	struct ph_err err;
	int error = ph_shell_specs_user(shell, spec, false, &user, &err);
	(void)error;
}

void ph_shell_configure(struct ph_shell *shell, const struct ph_conf *conf, bool spread)
{
	struct configured *c = ph_shell_alloc(sizeof *c + conf->n_children * sizeof c->specs[0]);
	c->config.migrations_max = conf->cluster.migrations_max;
	c->config.settle_ms = conf->cluster.settle_ms;
	c->config.drain_on_stop = conf->node.drain_on_stop;
	c->config.accept_any = conf->cluster.accept == PH_CONF_ACCEPT_ANY;
	c->config.merges = ph_shell_hooks_merge(shell);
	c->config.spread = spread;
	if (shell->specs->most < 2 * conf->n_children)
		shell->specs->most = 2 * conf->n_children;
	for (size_t i = 0; i < conf->n_children; i++) {
		const struct ph_spec *spec = ph_shell_spec_of_child(conf->children[i]);
		if (!spec)
			abort();
		ph_shell_specs_look_up(shell, spec);
		c->specs[c->config.n_specs++] = spec;
	}
	c->config.specs = (const struct ph_spec *const *)c->specs;
	struct ph_event event = {.kind = PH_EV_CONFIGURED, .config = &c->config};
	ph_shell_push(shell, &event, configured_free, c);
}
