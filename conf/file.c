#include "conf/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int refuse(struct ph_conf_errors *errors, const char *file, int code, const char *why)
{
	ph_conf_errors_add(errors, (struct ph_conf_place){.file = file}, "%s", why);
	return -code;
}

/* A file may grow while it is read: what counts is what arrives, not what fstat said. */
static int read_all(int fd, char *to, size_t room, size_t *ret_n)
{
	size_t n = 0;
	while (n < room) {
		ssize_t got = read(fd, to + n, room - n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		n += (size_t)got;
	}
	*ret_n = n;
	return 0;
}

static int read_regular(
	const char *file, int fd, char **ret, size_t *ret_n, struct ph_conf_errors *errors)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return refuse(errors, file, errno, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return refuse(errors, file, EINVAL, "not a regular file");
	char *text = malloc(PH_CONF_FILE_MAX + 1);
	if (!text)
		return -ENOMEM;
	size_t n = 0;
	int rc = read_all(fd, text, PH_CONF_FILE_MAX + 1, &n);
	if (rc < 0)
		rc = refuse(errors, file, -rc, strerror(-rc));
	else if (n > PH_CONF_FILE_MAX)
		rc = refuse(errors, file, EFBIG, "larger than 1 MiB");
	if (rc < 0) {
		free(text);
		return rc;
	}
	*ret = text;
	*ret_n = n;
	return 0;
}

int ph_conf_file_read(const char *file, char **ret, size_t *ret_n, struct ph_conf_errors *errors)
{
	/* a FIFO or a device must neither block the open nor become our terminal */
	int fd = open(file, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return refuse(errors, file, errno, strerror(errno));
	int rc = read_regular(file, fd, ret, ret_n, errors);
	(void)close(fd);
	return rc;
}
