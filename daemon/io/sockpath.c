#include "io/sockpath.h"

#include "io/unixsock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int remove_stale(const char *path, struct ph_err *err)
{
	struct stat st;
	if (lstat(path, &st) < 0)
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return ph_err_set(err, EEXIST, "'%s' stands there and is not a socket", path);
	if (unlink(path) < 0)
		return ph_err_set(
			err, errno, "cannot remove the old '%s': %s", path, strerror(errno));
	return 0;
}

/* Under a umask that lets nobody in, until chmod says who may. */
static int bind_closed(int fd, const struct sockaddr_un *address, mode_t mode, gid_t gid)
{
	mode_t before = umask(0777);
	int r = bind(fd, (const struct sockaddr *)address, sizeof *address) < 0 ? -errno : 0;
	(void)umask(before);
	if (r)
		return r;
	if (gid != (gid_t)-1 && chown(address->sun_path, (uid_t)-1, gid) < 0)
		r = -errno;
	if (!r && chmod(address->sun_path, mode) < 0)
		r = -errno;
	if (r)
		(void)unlink(address->sun_path);
	return r;
}

int ph_sockpath_bind(
	const char *path, int type, mode_t mode, gid_t gid, int *ret_fd, struct ph_err *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t n = strlen(path);
	if (!n)
		return ph_err_set(err, EINVAL, "the path of a socket is empty");
	if (n > PH_UNIXSOCK_PATH_MAX)
		return ph_err_set(err, ENAMETOOLONG,
			"the socket path '%.200s' has %zu bytes, at most %d are possible", path, n,
			PH_UNIXSOCK_PATH_MAX);
	memcpy(address.sun_path, path, n + 1);
	int r = remove_stale(path, err);
	if (r)
		return r;
	int fd = socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	r = fd < 0 ? -errno : bind_closed(fd, &address, mode, gid);
	if (r) {
		if (fd >= 0)
			close(fd);
		return ph_err_set(err, -r, "cannot make the socket '%s': %s", path, strerror(-r));
	}
	*ret_fd = fd;
	return 0;
}

static bool is_bound(int fd, const char *path, int type)
{
	struct sockaddr_un address = {.sun_family = 0};
	struct stat st;
	int kind = 0;
	socklen_t n = sizeof kind, length = sizeof address;
	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &kind, &n) < 0 || kind != type)
		return false;
	if (getsockname(fd, (struct sockaddr *)&address, &length) < 0 ||
		address.sun_family != AF_UNIX)
		return false;
	return strncmp(address.sun_path, path, sizeof address.sun_path) == 0 &&
	       lstat(path, &st) == 0 && S_ISSOCK(st.st_mode);
}

int ph_sockpath_take(int fd, const char *path, int type, mode_t mode, gid_t gid)
{
	if (!is_bound(fd, path, type))
		return -ENOTSOCK;
	if (gid != (gid_t)-1 && chown(path, (uid_t)-1, gid) < 0)
		return -errno;
	if (chmod(path, mode) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ||
		fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

void ph_sockpath_close(int fd, const char *path)
{
	(void)unlink(path);
	close(fd);
}
