/* spawn_resolve.c - which file a command means: ph_spawn_resolve() of spawn.h. */
#include "io/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <paths.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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
	size_t n = strlen(argv0);
	if (!n)
		return ph_err_set(err, EINVAL, "the command is empty");
	if (n >= PATH_MAX)
		return ph_err_set(err, ENAMETOOLONG, "a command of %zu bytes is too long", n);
	if (strchr(argv0, '/')) {
		memcpy(ret_path, argv0, n + 1);
		return 0;
	}
	int code = ENOENT;
	const char *element = path_env ? path_env : _PATH_STDPATH;
	while (element) {
		const char *colon = strchr(element, ':');
		size_t length = colon ? (size_t)(colon - element) : strlen(element);
		char path[PATH_MAX];
		if (*element == '/' && length + n + 2 <= sizeof path) {
			(void)snprintf(path, sizeof path, "%.*s/%s", (int)length, element, argv0);
			if (is_program(path, &code)) {
				memcpy(ret_path, path, strlen(path) + 1);
				return 0;
			}
		}
		element = colon ? colon + 1 : NULL;
	}
	if (code == EACCES)
		return ph_err_set(err, EACCES, "'%s' is in PATH but not an executable file", argv0);
	return ph_err_set(err, ENOENT, "'%s' is not in PATH (%s)", argv0,
		path_env ? path_env : _PATH_STDPATH);
}
