#include "io/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Makes the missing parents of `path` (which is changed and put back) and then itself. */
static int make_dirs(char *path, mode_t mode)
{
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		int r = mkdir(path, 0755) < 0 && errno != EEXIST ? -errno : 0;
		*slash = '/';
		/* a parent on a read-only or foreign place may be there all the same */
		if (r && r != -EROFS && r != -EACCES && r != -EPERM)
			return r;
	}
	if (mkdir(path, mode) == 0) /* the mode as asked for, whatever the umask */
		return chmod(path, mode) < 0 ? -errno : 0;
	return errno == EEXIST ? 0 : -errno;
}

int ph_lock_prepare_dir(const char *path, mode_t mode, bool secret, struct ph_err *err)
{
	char copy[PATH_MAX];
	size_t n = strlen(path);
	if (*path != '/')
		return ph_err_set(err, EINVAL, "'%s' is not an absolute path", path);
	if (n >= sizeof copy)
		return ph_err_set(err, ENAMETOOLONG, "a path of %zu bytes is too long", n);
	memcpy(copy, path, n + 1);
	while (n > 1 && copy[n - 1] == '/')
		copy[--n] = '\0';
	int r = make_dirs(copy, mode);
	if (r)
		return ph_err_set(err, -r, "cannot make directory '%s': %s", path, strerror(-r));
	struct stat st;
	if (stat(copy, &st) < 0)
		return ph_err_set(err, errno, "cannot use '%s': %s", path, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return ph_err_set(err, ENOTDIR, "'%s' is not a directory", path);
	unsigned open_bits = (unsigned)st.st_mode & (secret ? 077u : 022u);
	if (!secret && (st.st_mode & S_ISVTX))
		open_bits = 0;
	if (st.st_uid != geteuid())
		return ph_err_set(err, EPERM, "'%s' belongs to uid %u, expected %u", path,
			(unsigned)st.st_uid, (unsigned)geteuid());
	if (open_bits)
		return ph_err_set(err, EPERM, "'%s' has mode %04o, expected %04o: others can %s it",
			path, (unsigned)st.st_mode & 07777u, (unsigned)mode,
			open_bits & 022u ? "write to" : "read");
	return 0;
}

/* The pid that the holder wrote, or 0. */
static long holder_of(int fd)
{
	char text[32];
	long pid = 0;
	ssize_t n = pread(fd, text, sizeof text - 1, 0);
	if (n > 0) {
		text[n] = '\0';
		if (sscanf(text, "%ld", &pid) != 1)
			pid = 0;
	}
	return pid;
}

int ph_lock_take(const char *dir, int *ret_fd, struct ph_err *err)
{
	char path[PATH_MAX], text[32];
	int length = snprintf(path, sizeof path, "%s/lock", dir);
	if (length < 0 || (size_t)length >= sizeof path)
		return ph_err_set(err, ENAMETOOLONG, "the path of the lock is too long");
	int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0)
		return ph_err_set(err, errno, "cannot open '%s': %s", path, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		int code = errno == EWOULDBLOCK ? EBUSY : errno;
		long pid = holder_of(fd);
		close(fd);
		if (code != EBUSY)
			return ph_err_set(err, code, "cannot lock '%s': %s", path, strerror(code));
		if (pid)
			return ph_err_set(err, EBUSY,
				"another prochubd (pid %ld) already runs in '%s'", pid, dir);
		return ph_err_set(err, EBUSY, "another prochubd already runs in '%s'", dir);
	}
	/* only for the other's message: on a full disk the lock is as good without it */
	int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
	bool written = ftruncate(fd, 0) == 0 && pwrite(fd, text, (size_t)n, 0) == n;
	(void)written;
	*ret_fd = fd;
	return 0;
}
