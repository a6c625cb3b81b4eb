/* spawn_explain.c - why a start has failed, in a sentence. */
#include "io/spawn_child.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

/* " '/x'", where the step has something to name. */
static void subject(const struct ph_spawn_task *task, char *text, size_t n)
{
	const struct ph_spawn_spec *spec = task->spec;
	*text = '\0';
	if (task->step == PH_SPAWN_DIR)
		(void)snprintf(text, n, " '%s'", spec->dir);
	else if (task->step == PH_SPAWN_EXECUTE || task->step == PH_SPAWN_SEARCH ||
		 task->step == PH_SPAWN_OPEN || task->step == PH_SPAWN_READ)
		(void)snprintf(text, n, " '%s'", task->path);
	else if (task->step == PH_SPAWN_FILE)
		(void)snprintf(text, n, " '%s'", spec->file);
	else if (task->step == PH_SPAWN_CGROUP)
		(void)snprintf(text, n, " '%s'", spec->cgroup);
	else if (task->step == PH_SPAWN_UID)
		(void)snprintf(text, n, " to uid %u", (unsigned)spec->uid);
	else if (task->step == PH_SPAWN_GID)
		(void)snprintf(text, n, " to gid %u", (unsigned)spec->gid);
	else if (task->step == PH_SPAWN_LIMITS && task->resource == RLIMIT_NOFILE)
		(void)snprintf(text, n, " (open files)");
	else if (task->step == PH_SPAWN_LIMITS && task->resource == RLIMIT_CORE)
		(void)snprintf(text, n, " (core file)");
	else if (task->step == PH_SPAWN_LIMITS)
		(void)snprintf(text, n, " (number %d)", task->resource);
}

static const char *why_not(const struct ph_spawn_task *task, int code)
{
	if (task->step == PH_SPAWN_EXECUTE && code == ENOENT && *task->path == '/' &&
		task->not_a_program)
		return "its interpreter (after #!) or program loader does not exist";
	if (task->step == PH_SPAWN_EXECUTE && code == ENOEXEC)
		return "it is neither a program nor a script that begins with #!";
	if (task->step == PH_SPAWN_FILE && code == ELOOP)
		return "it is a symbolic link";
	if (task->step == PH_SPAWN_FILE && code == EINVAL)
		return "it is not a regular file";
	return strerror(code);
}

static int not_to_be_read(const struct ph_spawn_task *task, int code, struct ph_err *err)
{
	if (code == EFBIG)
		(void)ph_err_set(err, code, "'%s' has %zu bytes, at most %zu are read", task->path,
			task->n_bytes, task->spec->read_max);
	else
		(void)ph_err_set(err, code, "'%s' is not a regular file", task->path);
	ph_err_prefix(err, "%s", task->spec->file_option);
	return -code;
}

int ph_spawn_explain(const struct ph_spawn_task *task, int code, struct ph_err *err)
{
	static const char *const steps[] = {
#define X(name, text) [PH_SPAWN_##name] = text,
		PH_SPAWN_STEPS(X)
#undef X
	};
	char what[PH_ERR_MAX];
	const struct ph_spawn_spec *spec = task->spec;
	bool late = code == ETIMEDOUT && !task->code;
	if (task->step == PH_SPAWN_SEARCH && !late)
		return ph_spawn_not_found(spec->path, spec->search, code, err);
	if (task->step == PH_SPAWN_READ && (code == EINVAL || code == EFBIG))
		return not_to_be_read(task, code, err);
	subject(task, what, sizeof what);
	(void)ph_err_set(err, code, "cannot %s%s: %s", steps[task->step], what,
		late ? "not done in time, as where a file system does not answer"
		     : why_not(task, code));
	if (task->bytes || task->step == PH_SPAWN_FILE)
		ph_err_prefix(err, "%s", spec->file_option);
	return -code;
}
