/* The environment of a child: PROTOCOL.md's "Environment of every child", in its order. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "io/spawn.h"
#include "io/user.h"
#include "shell_parts.h"

/* ---- a list of NAME=value, each name once */

void ph_shell_env_init(struct ph_shell_env *env)
{
	memset(env, 0, sizeof *env);
}

void ph_shell_env_fini(struct ph_shell_env *env)
{
	for (size_t i = 0; i < env->n; i++)
		free(env->v[i]);
	free(env->v);
	ph_shell_env_init(env);
}

static char **find(const struct ph_shell_env *env, const char *name, size_t n)
{
	for (size_t i = 0; i < env->n; i++) {
		if (!strncmp(env->v[i], name, n) && env->v[i][n] == '=')
			return &env->v[i];
	}
	return NULL;
}

const char *ph_shell_env_get(const struct ph_shell_env *env, const char *name)
{
	size_t n = strlen(name);
	char **at = find(env, name, n);
	return at ? *at + n + 1 : NULL;
}

void ph_shell_env_set(struct ph_shell_env *env, const char *name, const char *value)
{
	size_t n = strlen(name), size = n + strlen(value) + 2;
	char *entry = ph_shell_alloc(size);
	snprintf(entry, size, "%s=%s", name, value);
	char **at = find(env, name, n);
	if (at) {
		free(*at);
		*at = entry;
		return;
	}
	if (env->n + 2 > env->room) {
		size_t room = env->room ? env->room * 2 : 32;
		char **v = ph_shell_alloc(room * sizeof *v);
		if (env->n)
			memcpy(v, env->v, env->n * sizeof *v);
		free(env->v);
		env->v = v;
		env->room = room;
	}
	env->v[env->n++] = entry;
	env->v[env->n] = NULL;
}

void ph_shell_env_number(struct ph_shell_env *env, const char *name, uint64_t value)
{
	char text[24];
	snprintf(text, sizeof text, "%llu", (unsigned long long)value);
	ph_shell_env_set(env, name, text);
}

static bool inherited(const char *entry)
{
	static const char *const names[] = {"PATH=", "LANG=", "TZ="};
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		if (!strncmp(entry, names[i], strlen(names[i])))
			return true;
	}
	return !strncmp(entry, "LC_", 3) && strchr(entry, '=');
}

void ph_shell_env_inherit(struct ph_shell_env *env, const char *const *from)
{
	for (; from && *from; from++) {
		if (!inherited(*from))
			continue;
		const char *value = strchr(*from, '=') + 1;
		char name[256];
		size_t n = (size_t)(value - *from) - 1;
		if (n >= sizeof name)
			continue;
		memcpy(name, *from, n);
		name[n] = 0;
		ph_shell_env_set(env, name, value);
	}
}

/* ---- env_file */

static bool name_valid(const char *name)
{
	if (!isalpha((unsigned char)*name) && *name != '_')
		return false;
	for (; *name; name++) {
		if (!isalnum((unsigned char)*name) && *name != '_')
			return false;
	}
	return true;
}

static char *trim(char *text)
{
	while (isspace((unsigned char)*text))
		text++;
	size_t n = strlen(text);
	while (n && isspace((unsigned char)text[n - 1]))
		text[--n] = 0;
	return text;
}

static char *unquote(char *value)
{
	size_t n = strlen(value);
	if (n < 2 || (value[0] != '"' && value[0] != '\'') || value[n - 1] != value[0])
		return value;
	value[n - 1] = 0;
	return value + 1;
}

static int take_line(
	struct ph_shell_env *env, const char *path, unsigned number, char *line, struct ph_err *err)
{
	line = trim(line);
	if (!*line || *line == '#' || *line == ';')
		return 0;
	char *equals = strchr(line, '=');
	if (!equals)
		return ph_err_set(err, EINVAL, "%s:%u: expected NAME=value", path, number);
	*equals = 0;
	char *name = trim(line);
	if (!name_valid(name))
		return ph_err_set(
			err, EINVAL, "%s:%u: '%.64s' is no name of a variable", path, number, name);
	ph_shell_env_set(env, name, unquote(trim(equals + 1)));
	return 0;
}

int ph_shell_env_file(
	struct ph_shell_env *env, const char *path, char *text, size_t n, struct ph_err *err)
{
	char *end = text + n;
	unsigned number = 1;
	if (memchr(text, 0, n))
		return ph_err_set(err, EINVAL, "%s: has a NUL byte", path);
	for (char *line = text; line < end; number++) {
		char *newline = memchr(line, '\n', (size_t)(end - line));
		char *next = newline ? newline + 1 : end;
		if (newline)
			*newline = 0;
		int error = take_line(env, path, number, line, err);
		if (error)
			return error;
		line = next;
	}
	return 0;
}

static int read_env_file(struct ph_shell_env *env, const char *path, struct ph_err *err)
{
	const struct ph_spawn_spec spec = {
		.path = path, .read_max = PH_SHELL_ENV_FILE_MAX, .file_option = "env_file"};
	struct ph_spawned spawned;
	int error = ph_spawn_start(&spec, &spawned, err);
	if (error)
		return error;
	error = ph_shell_env_file(env, path, spawned.bytes, spawned.n_bytes, err);
	free(spawned.bytes);
	return error;
}

/* ---- all of it */

static void add_user(struct ph_shell_env *env, const struct ph_user *user)
{
	ph_shell_env_set(env, "HOME", user->home);
	ph_shell_env_set(env, "USER", user->name);
	ph_shell_env_set(env, "LOGNAME", user->name);
	ph_shell_env_set(env, "SHELL", user->shell);
}

static int expand(const char *option, const char *text, const struct ph_conf_vars *vars, char **ret,
	struct ph_err *err)
{
	int error = ph_conf_expand(text, vars, ret);
	if (error)
		return ph_err_set(err, -error, "%s: bad template '%.200s'", option, text);
	return 0;
}

static int add_configured(
	struct ph_shell_env *env, const struct ph_shell_env_want *want, struct ph_err *err)
{
	const struct ph_conf_child *child = want->child;
	char *text = NULL;
	int error = 0;
	if (child->env_file) {
		error = expand("env_file", child->env_file, want->vars, &text, err);
		if (!error && want->file)
			error = ph_shell_env_file(env, text, want->file->bytes, want->file->n, err);
		else if (!error)
			error = read_env_file(env, text, err);
		free(text);
	}
	for (size_t i = 0; !error && i < child->env.n; i++) {
		text = NULL;
		error = expand("env", child->env.v[i].value, want->vars, &text, err);
		if (!error)
			ph_shell_env_set(env, child->env.v[i].name, text);
		free(text);
	}
	return error;
}

/* As sd_listen_fds(3) has it. */
static void add_listeners(struct ph_shell_env *env, const struct ph_conf_pairs *listen)
{
	char names[PH_CONF_LISTENERS_MAX * PH_NAME_SIZE] = "";
	size_t n = 0;
	for (size_t i = 0; i < listen->n && n < sizeof names; i++)
		n += (size_t)snprintf(
			names + n, sizeof names - n, "%s%.63s", i ? ":" : "", listen->v[i].name);
	ph_shell_env_number(env, "LISTEN_FDS", listen->n);
	ph_shell_env_set(env, "LISTEN_FDNAMES", names);
	ph_shell_env_set(env, "LISTEN_PID", ""); /* io/spawn writes the pid */
}

static void add_prochub(struct ph_shell_env *env, const struct ph_shell_env_want *want)
{
	const struct ph_conf_vars *vars = want->vars;
	ph_shell_env_set(env, "PROCHUB_CHILD", vars->child);
	ph_shell_env_number(env, "PROCHUB_INSTANCE", vars->instance);
	ph_shell_env_number(env, "PROCHUB_REPLICA", vars->replica);
	ph_shell_env_set(env, "PROCHUB_NODE", vars->node);
	if (!want->token)
		return;
	ph_shell_env_set(env, "PROCHUB_SOCKET", want->worker_path);
	ph_shell_env_set(env, "PROCHUB_TOKEN", want->token);
	ph_shell_env_number(env, "PROCHUB_EPOCH", want->epoch);
	ph_shell_env_set(env, "PROCHUB_ROLE", want->role == PH_ROLE_STANDBY ? "standby" : "active");
	ph_shell_env_set(env, "NOTIFY_SOCKET", want->notify_path);
	if (want->listens)
		add_listeners(env, &want->child->listen);
	if (want->child->watchdog_ms) {
		ph_shell_env_number(env, "WATCHDOG_USEC", want->child->watchdog_ms * 1000);
		ph_shell_env_set(env, "WATCHDOG_PID", ""); /* io/spawn writes the pid */
	}
}

int ph_shell_env_build(
	struct ph_shell_env *env, const struct ph_shell_env_want *want, struct ph_err *err)
{
	ph_shell_env_inherit(env, want->inherited);
	add_user(env, want->user);
	int error = add_configured(env, want, err);
	if (!error)
		add_prochub(env, want);
	return error;
}
