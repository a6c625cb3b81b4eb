#include "io/listen.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#define LOOKED_AT_MAX 65536 /* descriptors of one process */

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
	struct sockaddr_un un;
	struct sockaddr_storage room;
};

static int make_address(const struct ph_listen_at *at, union address *ret, socklen_t *ret_n)
{
	memset(ret, 0, sizeof *ret);
	if (at->path) {
		size_t n = strlen(at->path);
		if (n >= sizeof ret->un.sun_path)
			return -ENAMETOOLONG;
		ret->un.sun_family = AF_UNIX;
		memcpy(ret->un.sun_path, at->path, n + 1);
		*ret_n = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + 1);
		return 0;
	}
	if (inet_pton(AF_INET, at->host, &ret->v4.sin_addr) == 1) {
		ret->v4.sin_family = AF_INET;
		ret->v4.sin_port = htons(at->port);
		*ret_n = sizeof ret->v4;
		return 0;
	}
	if (inet_pton(AF_INET6, at->host, &ret->v6.sin6_addr) != 1)
		return -EINVAL;
	ret->v6.sin6_family = AF_INET6;
	ret->v6.sin6_port = htons(at->port);
	*ret_n = sizeof ret->v6;
	return 0;
}

/* 0: there is nothing, or nothing any more; -EADDRINUSE, -EEXIST. */
static int make_room(const char *path, const union address *address, socklen_t n)
{
	struct stat st;
	if (lstat(path, &st) < 0)
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	int error = connect(fd, &address->any, n) < 0 ? errno : 0;
	close(fd);
	if (error != ECONNREFUSED && error != ENOENT)
		return -EADDRINUSE;
	return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}

int ph_listen_share(int fd, bool on)
{
	const int value = on;
	return setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &value, sizeof value) < 0 ? -errno : 0;
}

static int listen_at(
	int fd, const struct ph_listen_at *at, const union address *address, socklen_t n)
{
	const int one = 1;
	int error = 0;
	if (at->path)
		error = make_room(at->path, address, n);
	else if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0)
		error = -errno;
	if (!error && at->beside)
		error = ph_listen_share(fd, true);
	if (!error && bind(fd, &address->any, n) < 0)
		error = -errno;
	if (error)
		return error;
	if ((at->path && chmod(at->path, 0666) < 0) || listen(fd, PH_LISTEN_BACKLOG) < 0) {
		error = -errno;
		if (at->path)
			(void)unlink(at->path);
	}
	if (at->beside)
		(void)ph_listen_share(fd, false);
	return error;
}

static int explain(const struct ph_listen_at *at, int error, struct ph_err *err)
{
	const char *why = error == -EEXIST ? "something else than a socket stands there"
			  : error == -EACCES && !at->path && at->port < 1024
				  ? "not permitted: low ports need root or CAP_NET_BIND_SERVICE"
				  : strerror(-error);
	if (at->path)
		return ph_err_set(err, -error, "cannot listen at unix:%s: %s", at->path, why);
	return ph_err_set(err, -error,
		strchr(at->host, ':') ? "cannot listen at tcp://[%s]:%u: %s"
				      : "cannot listen at tcp://%s:%u: %s",
		at->host, at->port, why);
}

int ph_listen_open(const struct ph_listen_at *at, int *ret_fd, struct ph_err *err)
{
	union address address;
	socklen_t n = 0;
	int error = make_address(at, &address, &n);
	if (error)
		return explain(at, error, err);
	int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	error = fd < 0 ? -errno : listen_at(fd, at, &address, n);
	if (error) {
		if (fd >= 0)
			close(fd);
		return explain(at, error, err);
	}
	*ret_fd = fd;
	return 0;
}

bool ph_listen_is(int fd, const struct ph_listen_at *at)
{
	union address want, have;
	socklen_t want_n = 0, have_n = sizeof have, size = sizeof(int);
	int accepts = 0;
	if (make_address(at, &want, &want_n))
		return false;
	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &accepts, &size) < 0 || !accepts)
		return false;
	memset(&have, 0, sizeof have);
	if (getsockname(fd, &have.any, &have_n) < 0 || have_n > sizeof have ||
		have.any.sa_family != want.any.sa_family)
		return false;
	if (at->path) /* the kernel may count the NUL or not */
		return strncmp(have.un.sun_path, at->path, sizeof have.un.sun_path) == 0;
	return have_n == want_n && memcmp(&have, &want, want_n) == 0;
}

/* 0, -ENOENT it is another one, -EPERM, -ESRCH. */
static int take_one(int pidfd, int number, const struct ph_listen_at *at, int *ret_fd)
{
	long fd = syscall(SYS_pidfd_getfd, pidfd, number, 0);
	if (fd < 0)
		return errno == EPERM || errno == ESRCH ? -errno : -ENOENT;
	if (!ph_listen_is((int)fd, at)) {
		close((int)fd);
		return -ENOENT;
	}
	*ret_fd = (int)fd;
	return 0;
}

static bool is_socket(DIR *dir, const char *name)
{
	static const char word[] = "socket:[";
	char link[64];
	ssize_t n = readlinkat(dirfd(dir), name, link, sizeof link);
	return n >= (ssize_t)sizeof word - 1 && memcmp(link, word, sizeof word - 1) == 0;
}

int ph_listen_take(int pidfd, pid_t pid, int guess, const struct ph_listen_at *at, int *ret_fd)
{
	char path[64];
	int r = take_one(pidfd, guess, at, ret_fd);
	if (r != -ENOENT)
		return r;
	(void)snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
	DIR *dir = opendir(path);
	const struct dirent *entry;
	for (int i = 0; dir && r == -ENOENT && i < LOOKED_AT_MAX; i++) {
		entry = readdir(dir);
		if (!entry)
			break;
		if (entry->d_name[0] != '.' && is_socket(dir, entry->d_name))
			r = take_one(pidfd, atoi(entry->d_name), at, ret_fd);
	}
	if (dir)
		(void)closedir(dir);
	return r;
}

struct ph_listen_file ph_listen_file(const struct ph_listen_at *at)
{
	struct stat st;
	if (!at->path || lstat(at->path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return (struct ph_listen_file){0, 0};
	return (struct ph_listen_file){st.st_dev, st.st_ino};
}

void ph_listen_unlink(const struct ph_listen_at *at, struct ph_listen_file file)
{
	struct ph_listen_file now = ph_listen_file(at);
	if (file.inode && now.inode == file.inode && now.device == file.device)
		(void)unlink(at->path);
}
