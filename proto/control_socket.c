#include "proto/control_socket.h"

#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	CONNECT_TRIES = 100,
	CONNECT_PAUSE_MS = 50
};

static const char system_path[] = "/run/prochub/control.sock";

static int address_set(char path[PH_CONTROL_PATH_SIZE], const char *directory, const char *rest,
	struct ph_err *err)
{
	size_t n = strlen(directory) + strlen(rest);

	if (n >= PH_CONTROL_PATH_SIZE)
		return ph_err_set(err, EINVAL,
			"the path of the control socket has %zu bytes, at most %zu are possible", n,
			PH_CONTROL_PATH_SIZE - 1);
	memcpy(path, directory, strlen(directory));
	memcpy(path + strlen(directory), rest, strlen(rest) + 1);
	return 0;
}

int ph_control_find(const char *given, char ret_path[PH_CONTROL_PATH_SIZE], struct ph_err *err)
{
	const char *own = getenv("XDG_RUNTIME_DIR");
	int r;

	if (!given || !*given)
		given = getenv("PROCHUB_CONTROL");
	if (given && *given)
		return address_set(ret_path, given, "", err);
	if (geteuid() == 0 || !own || !*own)
		return address_set(ret_path, system_path, "", err);
	r = address_set(ret_path, own, "/prochub/control.sock", err);
	if (r < 0)
		return r;
	/* members of the group `prochub` talk to the system's daemon and run none themselves */
	if (access(ret_path, F_OK) < 0 && access(system_path, F_OK) == 0)
		return address_set(ret_path, system_path, "", err);
	return 0;
}

static int address_fail(const char *path, int code, struct ph_err *err)
{
	struct stat st;
	const struct group *group = NULL;
	int r = ph_err_set(err, code, "cannot reach the daemon at %s: %s", path, strerror(code));
	size_t n = strlen(err->text);

	if (code == ENOENT || code == ECONNREFUSED)
		(void)snprintf(err->text + n, sizeof(err->text) - n, " (is prochubd running?)");
	if (code != EACCES)
		return r;
	if (stat(path, &st) == 0)
		group = getgrgid(st.st_gid);
	(void)snprintf(err->text + n, sizeof(err->text) - n,
		" (it is for root and the members of group '%s')",
		group ? group->gr_name : "prochub");
	return r;
}

/* A full queue of the daemon is told as EAGAIN and cannot be polled for: try again. */
static int address_try(int fd, const struct sockaddr_un *address)
{
	for (int i = 0; i < CONNECT_TRIES; i++) {
		if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0)
			return 0;
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		(void)poll(NULL, 0, CONNECT_PAUSE_MS);
	}
	return -ETIMEDOUT;
}

int ph_control_connect(const char *path, int *ret, struct ph_err *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd, r = address_set(address.sun_path, path, "", err);

	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return address_fail(path, errno, err);
	r = address_try(fd, &address);
	if (r < 0) {
		(void)close(fd);
		return address_fail(path, -r, err);
	}
	*ret = fd;
	return 0;
}
