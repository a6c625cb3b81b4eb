/* Where the programs are that the daemon starts for itself. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "shell.h"

/* Beside the daemon, else where it is installed. */
int ph_shell_program(const char *name, char *ret, size_t size, struct ph_err *err)
{
	ssize_t n = readlink("/proc/self/exe", ret, size - 1);
	if (n > 0) {
		ret[n] = '\0';
		char *slash = strrchr(ret, '/');
		size_t room = slash ? size - (size_t)(slash - ret) : 0;
		if (slash && snprintf(slash, room, "/%s", name) < (int)room &&
			access(ret, X_OK) == 0)
			return 0;
	}
	(void)snprintf(ret, size, "%s/%s", PH_LIBEXEC, name);
	if (access(ret, X_OK) == 0)
		return 0;
	return ph_err_set(err, ENOENT, "%s was found neither beside prochubd nor as %s", name, ret);
}
