#include "io/durable.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int write_all(int fd, const char *bytes, size_t n)
{
	while (n) {
		ssize_t r = write(fd, bytes, n);
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return r < 0 ? -errno : -EIO;
		bytes += r;
		n -= (size_t)r;
	}
	return 0;
}

static int sync_dir(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int r = fsync(fd) < 0 ? -errno : 0;
	close(fd);
	return r;
}

/* Fills the temporary file, which was just made. */
static int fill(int fd, const void *bytes, size_t n, mode_t mode, bool sync)
{
	if (fchmod(fd, mode) < 0)
		return -errno;
	int r = write_all(fd, bytes, n);
	if (!r && sync && fsync(fd) < 0)
		r = -errno;
	return r;
}

static int replace(const char *dir, const char *name, const void *bytes, size_t n, mode_t mode,
	bool sync, struct ph_err *err)
{
	char path[PATH_MAX], temp[PATH_MAX];
	int length = snprintf(path, sizeof path, "%s/%s", dir, name);
	int temp_length = snprintf(temp, sizeof temp, "%s/.%s.new", dir, name);
	if (length < 0 || temp_length < 0 || (size_t)temp_length >= sizeof temp ||
		(size_t)length >= sizeof path)
		return ph_err_set(err, ENAMETOOLONG, "the path of '%s' is too long", name);
	/* what an earlier process left half-written, or a link that somebody put there */
	(void)unlink(temp);
	int fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return ph_err_set(err, errno, "cannot create '%s': %s", temp, strerror(errno));
	int r = fill(fd, bytes, n, mode, sync);
	if (close(fd) < 0 && !r)
		r = -errno;
	if (!r && rename(temp, path) < 0)
		r = -errno;
	if (r) {
		(void)unlink(temp);
		return ph_err_set(err, -r, "cannot write '%s': %s", path, strerror(-r));
	}
	r = sync ? sync_dir(dir) : 0;
	if (r)
		return ph_err_set(err, -r, "cannot sync '%s': %s", dir, strerror(-r));
	return 0;
}

int ph_durable_write(const char *dir, const char *name, const void *bytes, size_t n, mode_t mode,
	struct ph_err *err)
{
	return replace(dir, name, bytes, n, mode, true, err);
}

int ph_durable_replace(const char *dir, const char *name, const void *bytes, size_t n, mode_t mode,
	struct ph_err *err)
{
	return replace(dir, name, bytes, n, mode, false, err);
}

/* Reads up to `n` bytes; fewer where the file shrinks meanwhile. */
static int read_all(int fd, char *bytes, size_t n, size_t *ret_n)
{
	size_t got = 0;
	while (got < n) {
		ssize_t r = read(fd, bytes + got, n - got);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (!r)
			break;
		got += (size_t)r;
	}
	*ret_n = got;
	return 0;
}

int ph_durable_read(const char *dir, const char *name, size_t max, char **ret_bytes, size_t *ret_n,
	struct ph_err *err)
{
	char path[PATH_MAX];
	int length = snprintf(path, sizeof path, "%s/%s", dir, name);
	if (length < 0 || (size_t)length >= sizeof path)
		return ph_err_set(err, ENAMETOOLONG, "the path of '%s' is too long", name);
	/* non-blocking: somebody may have put a FIFO there */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return ph_err_set(err, errno, "cannot open '%s': %s", path, strerror(errno));
	struct stat st;
	int r = 0;
	char *bytes = NULL;
	size_t n = 0;
	if (fstat(fd, &st) < 0)
		r = ph_err_set(err, errno, "cannot read '%s': %s", path, strerror(errno));
	else if (!S_ISREG(st.st_mode))
		r = ph_err_set(err, EINVAL, "'%s' is not a regular file", path);
	else if ((uint64_t)st.st_size > max)
		r = ph_err_set(err, EFBIG, "'%s' has %lld bytes, at most %zu are read", path,
			(long long)st.st_size, max);
	else if (!(bytes = malloc((size_t)st.st_size + 1)))
		r = ph_err_set(err, ENOMEM, "out of memory for '%s'", path);
	else if ((r = read_all(fd, bytes, (size_t)st.st_size, &n)) != 0)
		(void)ph_err_set(err, -r, "cannot read '%s': %s", path, strerror(-r));
	close(fd);
	if (r) {
		free(bytes);
		return r;
	}
	bytes[n] = '\0';
	*ret_bytes = bytes;
	*ret_n = n;
	return 0;
}
