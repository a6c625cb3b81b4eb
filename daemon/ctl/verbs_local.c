/* verbs_local.c - check, keygen: no daemon needed. */
#include "ctl/verbs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	KEY_BYTES = 32,
	KEY_LINE = 2 * KEY_BYTES + 1
}; /* of a cluster key; hex and newline */

/* prochubd beside this program, so that a build checks with its own daemon; false: not there */
static bool find_daemon(char path[PATH_MAX])
{
	static const char name[] = "prochubd";
	ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - sizeof(name));
	char *slash;

	if (n <= 0)
		return false;
	path[n] = '\0';
	slash = strrchr(path, '/');
	if (!slash)
		return false;
	memcpy(slash + 1, name, sizeof(name));
	return access(path, X_OK) == 0;
}

enum ph_exit ph_verb_check(const struct ph_ctl *ctl)
{
	char name[] = "prochubd", test[] = "-t", option[] = "-c", path[PATH_MAX], file[PATH_MAX];
	char *plain[] = {name, test, NULL}, *with_file[] = {name, test, option, file, NULL};
	char **argv = ctl->n_args > 0 ? with_file : plain;

	if (ctl->n_args > 0) {
		if (strlen(ctl->args[0]) >= sizeof(file))
			return ph_ctl_fail(PH_EXIT_USAGE, "check: the path is too long");
		(void)strcpy(file, ctl->args[0]);
	}
	(void)signal(SIGPIPE, SIG_DFL);
	if (find_daemon(path))
		(void)execv(path, argv);
	(void)execvp(name, argv);
	return ph_ctl_fail(PH_EXIT_FAILED,
		"check: cannot run prochubd, looked for beside prochubctl and in PATH: %s",
		strerror(errno));
}

static int key_make(char ret_line[KEY_LINE + 1])
{
	unsigned char key[KEY_BYTES];
	size_t have = 0;

	while (have < sizeof(key)) {
		ssize_t n = getrandom(key + have, sizeof(key) - have, 0);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			have += (size_t)n;
	}
	for (size_t i = 0; i < sizeof(key); i++)
		(void)snprintf(ret_line + 2 * i, 3, "%02x", key[i]);
	(void)strcpy(ret_line + KEY_LINE - 1, "\n");
	explicit_bzero(key, sizeof(key));
	return 0;
}

/* A key that is not on the disk whole is removed: half a key is worse than none. */
static int key_store(const char *path, const char line[KEY_LINE + 1])
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	ssize_t n;
	int r = 0;

	if (fd < 0)
		return -errno;
	n = write(fd, line, KEY_LINE);
	if (n != KEY_LINE)
		r = n < 0 ? -errno : -ENOSPC;
	else if (fchmod(fd, 0600) < 0 || fsync(fd) < 0)
		r = -errno;
	if (close(fd) < 0 && r == 0)
		r = -errno;
	if (r < 0)
		(void)unlink(path);
	return r;
}

enum ph_exit ph_verb_keygen(const struct ph_ctl *ctl)
{
	char line[KEY_LINE + 1];
	enum ph_exit status = PH_EXIT_DONE;
	int r = key_make(line);

	if (r < 0)
		return ph_ctl_fail(PH_EXIT_FAILED, "keygen: no random bytes: %s", strerror(-r));
	if (ctl->n_args == 0) {
		(void)fputs(line, stdout);
	} else {
		r = key_store(ctl->args[0], line);
		if (r == -EEXIST)
			status = ph_ctl_fail(PH_EXIT_FAILED,
				"keygen: %s exists and is left as it is", ctl->args[0]);
		else if (r < 0)
			status = ph_ctl_fail(
				PH_EXIT_FAILED, "keygen: %s: %s", ctl->args[0], strerror(-r));
	}
	explicit_bzero(line, sizeof(line));
	return status;
}
