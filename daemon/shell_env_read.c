/* env_file, read beside the loop: its file system may not answer. */
#include <errno.h>
#include <stdlib.h>

#include "io/launch.h"
#include "shell_parts.h"

/* How a start or a check asks for it. */
struct ph_shell_env_read {
	struct ph_launch *launch;
	ph_shell_env_read_fn *fn;
	void *arg;
};

static void on_launched(
	void *arg, int error, const struct ph_spawned *spawned, const struct ph_err *err)
{
	struct ph_shell_env_read *read = arg;
	struct ph_shell_env_text text = {NULL, 0};
	if (!error)
		text = (struct ph_shell_env_text){spawned->bytes, spawned->n_bytes};
	read->fn(read->arg, error, &text, err);
	free(read);
}

static int begin(struct ph_shell *shell, struct ph_shell_env_read *read, const char *path,
	struct ph_shell_env_text *ret_text, struct ph_err *err)
{
	const struct ph_spawn_spec spec = {
		.path = path, .read_max = PH_SHELL_ENV_FILE_MAX, .file_option = "env_file"};
	struct ph_spawned spawned;
	int error =
		ph_launch_new(shell->base, &spec, on_launched, read, &read->launch, &spawned, err);
	if (!error && !read->launch)
		*ret_text = (struct ph_shell_env_text){spawned.bytes, spawned.n_bytes};
	return error;
}

int ph_shell_env_read(struct ph_shell *shell, const struct ph_key *key, const struct ph_spec *spec,
	ph_shell_env_read_fn *fn, void *arg, struct ph_shell_env_read **ret,
	struct ph_shell_env_text *ret_text, struct ph_err *err)
{
	const struct ph_conf_child *child = ph_shell_specs_find(shell, spec, err);
	char *path = NULL;
	*ret = NULL;
	*ret_text = (struct ph_shell_env_text){NULL, 0};
	if (!child || !child->env_file)
		return child ? 0 : -EINVAL;
	const struct ph_conf_vars vars = {.child = key->child.s,
		.node = shell->node,
		.instance = key->instance,
		.replica = key->replica};
	int error = ph_conf_expand(child->env_file, &vars, &path);
	if (error)
		return ph_err_set(err, -error, "env_file: bad template '%.200s'", child->env_file);
	struct ph_shell_env_read *read = ph_shell_alloc(sizeof *read);
	read->fn = fn;
	read->arg = arg;
	error = begin(shell, read, path, ret_text, err);
	if (!error && read->launch)
		*ret = read;
	else
		free(read);
	free(path);
	return error;
}

void ph_shell_env_read_hurry(struct ph_shell_env_read *read)
{
	ph_launch_hurry(read->launch);
}

void ph_shell_env_read_free(struct ph_shell_env_read *read)
{
	struct ph_spawned spawned;
	struct ph_err err;
	if (!read)
		return;
	if (!ph_launch_give_up(read->launch, &spawned, &err))
		free(spawned.bytes);
	free(read);
}
