/* spawn_resolve.c - which file a command means. */
#include "io/spawn_child.h"

#include <errno.h>
#include <fcntl.h>
#include <paths.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *search_of(const char *path_env)
{
	return path_env ? path_env : _PATH_STDPATH;
}

/* "/usr/bin/NAME", with its NUL, and what follows it in `path_env`; false: the element is none. */
static bool put(const char **path_env, const char *name, char *ret)
{
	const char *element = *path_env, *colon = strchr(element, ':');
	size_t length = colon ? (size_t)(colon - element) : strlen(element);
	*path_env = colon ? colon + 1 : NULL;
	if (*element != '/' || length + strlen(name) + 2 > PATH_MAX)
		return false;
	(void)sprintf(ret, "%.*s/%s", (int)length, element, name);
	return true;
}

char *ph_spawn_candidates(const char *name, const char *path_env)
{
	const char *left = search_of(path_env);
	size_t elements = 1;
	for (const char *at = left; (at = strchr(at, ':')); at++)
		elements++;
	char *all = calloc(1, strlen(left) + elements * (strlen(name) + 2) + 1), *at = all;
	while (all && left)
		if (put(&left, name, at))
			at += strlen(at) + 1;
	return all;
}

int ph_spawn_not_found(const char *name, const char *path_env, int code, struct ph_err *err)
{
	if (code == EACCES)
		return ph_err_set(err, EACCES, "'%s' is in PATH but not an executable file", name);
	return ph_err_set(err, ENOENT, "'%s' is not in PATH (%s)", name, search_of(path_env));
}

int ph_spawn_check_name(const char *name, struct ph_err *err)
{
	size_t n = strlen(name);
	if (!n)
		return ph_err_set(err, EINVAL, "the command is empty");
	if (n >= PATH_MAX)
		return ph_err_set(err, ENAMETOOLONG, "a command of %zu bytes is too long", n);
	return 0;
}

static bool is_program(const char *path, int *ret_code)
{
	struct stat st;
	if (stat(path, &st) < 0)
		return false;
	if (S_ISREG(st.st_mode) && faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) == 0)
		return true;
	*ret_code = EACCES;
	return false;
}

int ph_spawn_resolve(
	const char *argv0, const char *path_env, char ret_path[PATH_MAX], struct ph_err *err)
{
	int code = ENOENT, error = ph_spawn_check_name(argv0, err);
	if (error)
		return error;
	if (strchr(argv0, '/')) {
		memcpy(ret_path, argv0, strlen(argv0) + 1);
		return 0;
	}
	char *all = ph_spawn_candidates(argv0, path_env);
	if (!all)
		return ph_err_set(err, ENOMEM, "out of memory");
	const char *at = all;
	while (*at && !is_program(at, &code))
		at += strlen(at) + 1;
	if (*at)
		memcpy(ret_path, at, strlen(at) + 1);
	else
		error = ph_spawn_not_found(argv0, path_env, code, err);
	free(all);
	return error;
}
