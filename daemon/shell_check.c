/*
 * What -t says beyond the configuration: what of it this machine does not have.
 *
 * Another node may have the program, the folder or the controller, and a file may be there later,
 * so these are notes and no errors: the daemon starts, and the child is refused then, with the same
 * words.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/options.h"
#include "conf/listen.h"
#include "conf/probe.h"
#include "io/cgroup.h"
#include "io/spawn.h"
#include "io/user.h"
#include "shell_parts.h"

#define CHILDREN_MAX 1000 /* that are tried: each costs a process */

static void note(const struct ph_conf_child *child, const char *option, const char *text)
{
	const struct ph_conf_origin *at =
		&child->origin[ph_conf_option_index(&ph_conf_child_table, option)];
	printf("note: %s:%u:%u: children.%s.%s: %s\n", at->file ? at->file : "", at->line,
		at->column, child->name.s, option, text);
}

/* ---- limits */

static void note_limit(const struct ph_conf_child *child, const char *option,
	enum ph_cgroup_limit limit, bool wanted)
{
	char text[160];
	bool refuse = child->limits.missing == PH_CONF_MISSING_REFUSE;
	if (!wanted || ph_cgroup_is_there(limit))
		return;
	(void)snprintf(text, sizeof text,
		"this machine has no cgroup v2 controller '%s': the child is %s",
		ph_cgroup_controller(limit), refuse ? "not started here" : "started without it");
	note(child, option, text);
}

static void note_limits(const struct ph_conf_child *child)
{
	note_limit(child, "limits.memory", PH_CGROUP_MEMORY,
		child->limits.memory_bytes != PH_CONF_UNSET_U64);
	note_limit(
		child, "limits.cpu", PH_CGROUP_CPU, child->limits.cpu_percent != PH_CONF_UNSET_U32);
	note_limit(
		child, "limits.tasks", PH_CGROUP_TASKS, child->limits.tasks != PH_CONF_UNSET_U32);
}

/* ---- user, folder, files: as a start of the first instance would find them */

struct
try {
	const struct ph_conf_child *child;
	struct ph_conf_vars vars;
	struct ph_user user;
	struct ph_shell_env env;
	struct ph_spawn_limit limits[2];
	char *command, *dir;
};

static void try_fini(struct try *try)
{
	ph_shell_env_fini(&try->env);
	ph_user_fini(&try->user);
	free(try->command);
	free(try->dir);
}

static int try_env(struct try *try, struct ph_err *err)
{
	const struct ph_shell_env_want want = {
		.child = try->child,
		.vars = &try->vars,
		.inherited = (const char *const *)environ,
		.user = &try->user,
	};
	return ph_shell_env_build(&try->env, &want, err);
}

static int try_program(struct try *try, const char *program, struct ph_err *err)
{
	const struct ph_conf_child *child = try->child;
	const char *const argv[] = {program, NULL};
	bool other = geteuid() == 0 && (child->user || child->group);
	struct ph_spawn_spec spec = {
		.path = program,
		.search = ph_shell_env_get(&try->env, "PATH"),
		.argv = argv,
		.env = (const char *const *)try->env.v,
		.dir = try->dir,
		.set_user = other,
		.uid = try->user.uid,
		.gid = try->user.gid,
		.groups = try->user.groups,
		.n_groups = try->user.n_groups,
		.no_new_privileges = child->no_new_privileges,
		.limits = try->limits,
		.n_limits = ph_shell_limits_of(child, try->limits),
	};
	return ph_spawn_check(&spec, err);
}

static const char *without(const char *text, const char *prefix)
{
	size_t n = strlen(prefix);
	return strncmp(text, prefix, n) == 0 ? text + n : text;
}

/* The option that the sentence is about. */
static const char *option_of(const char *text)
{
	static const struct {
		const char *words, *option;
	} rows[] = {
		{"cannot change to directory", "dir"},
		{"cannot set the limits (open files)", "limits.nofile"},
		{"cannot set the limits", "limits.core"},
		{"cannot set the user", "user"},
		{"cannot set the", "group"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (strncmp(text, rows[i].words, strlen(rows[i].words)) == 0)
			return rows[i].option;
	return "command";
}

/* What listens at the address is the daemon, for this child. */
static bool is_own_listener(const struct try *try, const struct ph_conf_probe *probe)
{
	const struct ph_conf_pairs *listen = &try->child->listen;
	struct ph_conf_listener at;
	struct ph_err err;
	for (size_t i = 0; i < listen->n; i++)
		if (!ph_conf_listen_of(listen->v[i].value, &try->vars, &at, &err) && !at.path[0] &&
			at.port == probe->port &&
			(at.wildcard || strcmp(at.host, probe->host) == 0))
			return true;
	return false;
}

/* What a check asks: its program runs as the child does, and in its folder. */
static void note_check(struct try *try, const char *option, const char *kind, const char *text)
{
	char *whole = NULL, *expanded = NULL;
	struct ph_conf_probe probe;
	struct ph_err err;
	if (!text)
		return;
	if (asprintf(&whole, "%s%s", kind, text) < 0 ||
		ph_conf_expand(whole, &try->vars, &expanded))
		abort(); /* it was checked when it was read */
	if (ph_conf_ready_of(expanded) == PH_CONF_READY_PROBE &&
		!ph_conf_probe_parse(expanded, &probe, &err)) {
		if (probe.kind == PH_CONF_PROBE_EXEC && try_program(try, probe.argv.v[0], &err))
			note(try->child, option, err.text);
		if (probe.kind == PH_CONF_PROBE_TCP && is_own_listener(try, &probe))
			note(try->child, option,
				"always succeeds, as the daemon itself listens there; http and "
				"exec ask the child");
		ph_conf_probe_fini(&probe);
	}
	free(whole);
	free(expanded);
}

static void note_start(const struct ph_conf *conf, const struct ph_conf_child *child)
{
	struct ph_err err = {{0}};
	struct try *try = ph_shell_alloc(sizeof *try);
	try->child = child;
	try->vars = (struct ph_conf_vars){.child = child->name.s, .node = conf->node.name.s};
	ph_shell_env_init(&try->env);
	if (ph_conf_expand(child->command.v[0], &try->vars, &try->command) ||
		(child->dir && ph_conf_expand(child->dir, &try->vars, &try->dir)))
		abort(); /* they were checked when they were read */
	if (ph_user_lookup(child->user, child->group, &try->user, &err)) {
		note(child, child->user ? "user" : "group", err.text);
	} else if (try_env(try, &err)) {
		note(child, "env_file", without(err.text, "env_file: "));
	} else if (try_program(try, try->command, &err)) {
		note(child, option_of(err.text), err.text);
	} else {
		note_check(try, "ready", "", child->ready);
		note_check(try, "health.exec", "exec:", child->health.exec);
		note_check(try, "health.tcp", "tcp:", child->health.tcp);
	}
	try_fini(try);
	free(try);
}

void ph_shell_check_notes(const struct ph_conf *conf)
{
	if (ph_conf_advice(conf))
		printf("note: %s\n", ph_conf_advice(conf));
	for (size_t i = 0; i < conf->n_children && i < CHILDREN_MAX; i++) {
		note_limits(conf->children[i]);
		note_start(conf, conf->children[i]);
	}
}
