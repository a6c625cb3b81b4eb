#include "io/logfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/relay.h"
#include "io/spawn.h"

#define LOOK_MS 1000 /* between two looks whether it is still in its place */

int ph_logfile_open_fd(const char *path, int *ret_fd, struct ph_err *err)
{
	struct stat st;
	int fd = open(path, PH_SPAWN_FILE_FLAGS, 0640);
	if (fd < 0)
		return ph_err_set(err, errno, "cannot open '%s': %s", path,
			errno == ELOOP ? "it is a symbolic link" : strerror(errno));
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return ph_err_set(err, EINVAL, "cannot open '%s': it is not a regular file", path);
	}
	*ret_fd = fd;
	return 0;
}

/* ---- names of old files */

void ph_logfile_name(const struct ph_logfile *file, unsigned number, const char *end, char *ret)
{
	int n = snprintf(ret, PATH_MAX, "%s.%u%s", file->path, number, end);
	if (n < 0 || n >= PATH_MAX)
		ret[0] = '\0'; /* then nothing is there, and nothing can be made */
}

static const char *const ends[] = {"", ".gz"};

static bool is_free(const struct ph_logfile *file, unsigned number)
{
	char name[PATH_MAX];
	struct stat st;
	for (size_t i = 0; i < 2; i++) {
		ph_logfile_name(file, number, ends[i], name);
		if (lstat(name, &st) == 0)
			return false;
	}
	return true;
}

/* Takes `fd` as the file in place. */
static int take_fd(struct ph_logfile *file, int fd)
{
	struct stat st;
	if (fstat(fd, &st) < 0) {
		int error = -errno;
		close(fd);
		return error;
	}
	if (file->fd >= 0)
		close(file->fd);
	file->fd = fd;
	file->bytes = (uint64_t)st.st_size;
	file->dev = st.st_dev;
	file->ino = st.st_ino;
	return 0;
}

/* A daemon that was killed may have left half a compressed file, or one in both forms. */
static void tidy(const struct ph_logfile *file)
{
	char name[PATH_MAX];
	int n = snprintf(name, sizeof name, "%s" PH_LOGFILE_MADE, file->path);
	if (n > 0 && (size_t)n < sizeof name)
		(void)unlink(name);
	for (unsigned i = 1; i <= file->keep && !is_free(file, i); i++) {
		ph_logfile_name(file, i, ".gz", name);
		if (access(name, F_OK) < 0)
			continue;
		ph_logfile_name(file, i, "", name);
		(void)unlink(name);
	}
}

int ph_logfile_init(struct ph_logfile *file, const char *path, int fd, uint64_t size, unsigned keep)
{
	*file = (struct ph_logfile){.fd = -1, .size = size, .keep = keep};
	file->path = strdup(path);
	if (!file->path) {
		close(fd);
		return -ENOMEM;
	}
	tidy(file);
	return take_fd(file, fd);
}

void ph_logfile_fini(struct ph_logfile *file)
{
	if (file->fd >= 0)
		close(file->fd);
	free(file->path);
	file->fd = -1;
	file->path = NULL;
}

void ph_logfile_look(struct ph_logfile *file)
{
	file->looked_at_ms = 0;
}

static int reopen(struct ph_logfile *file)
{
	int fd, error = ph_logfile_open_fd(file->path, &fd, NULL);
	return error ? error : take_fd(file, fd);
}

/* A file that was moved or removed by others is theirs; its size may have changed as well. */
static int in_place(struct ph_logfile *file, uint64_t now_ms)
{
	struct stat st;
	if (file->fd >= 0 && file->looked_at_ms && now_ms < file->looked_at_ms + LOOK_MS)
		return 0;
	bool same = file->fd >= 0 && stat(file->path, &st) == 0 && st.st_dev == file->dev &&
		    st.st_ino == file->ino;
	if (same)
		file->bytes = (uint64_t)st.st_size;
	int error = same ? 0 : reopen(file);
	if (!error)
		file->looked_at_ms = now_ms ? now_ms : 1;
	return error;
}

/* ---- old files */

static void remove_old(const struct ph_logfile *file, unsigned number)
{
	char name[PATH_MAX];
	for (size_t i = 0; i < 2; i++) {
		ph_logfile_name(file, number, ends[i], name);
		(void)unlink(name);
	}
}

static void shift_one(const struct ph_logfile *file, unsigned number)
{
	char from[PATH_MAX], to[PATH_MAX];
	for (size_t i = 0; i < 2; i++) {
		ph_logfile_name(file, number, ends[i], from);
		ph_logfile_name(file, number + 1, ends[i], to);
		(void)rename(from, to);
	}
}

void ph_logfile_limit(struct ph_logfile *file, uint64_t size, unsigned keep)
{
	for (unsigned i = keep + 1; file->size && i <= file->keep; i++)
		remove_old(file, i);
	file->size = size;
	file->keep = keep;
	if (file->compressing > keep)
		file->compressing = keep + 1; /* as in shift() */
}

/* Number 1 is free after it. */
static void shift(struct ph_logfile *file)
{
	unsigned gap = 1;
	while (gap < file->keep && !is_free(file, gap))
		gap++;
	remove_old(file, gap);
	for (unsigned i = gap; i > 1; i--)
		shift_one(file, i - 1);
	if (file->compressing && file->compressing <= gap)
		file->compressing++;
	if (file->compressing > file->keep)
		file->compressing = file->keep + 1; /* it is gone, and so will be its other form */
}

/* 1: it is there, plain; 0: compressed; -1: it is not there, or something else is. */
static int old_file(const struct ph_logfile *file, unsigned number, struct stat *ret)
{
	char name[PATH_MAX];
	ph_logfile_name(file, number, "", name);
	if (lstat(name, ret) == 0)
		return S_ISREG(ret->st_mode) ? 1 : -1;
	return is_free(file, number) ? -1 : 0;
}

/* The newest one that is not needed by who asks for the last lines. Those after it were before, as
 * a rule: not those that were begun while another one was being compressed. */
static void want_compression(struct ph_logfile *file)
{
	struct stat st;
	uint64_t newer = 0;
	for (unsigned i = 1; !file->compressing && i <= file->keep; i++) {
		int plain = old_file(file, i, &st);
		if (plain < 0)
			return;
		if (plain && newer >= PH_LOGFILE_PLAIN_BYTES &&
			st.st_size >= PH_LOGFILE_COMPRESS_BYTES) {
			file->wants = i;
			return;
		}
		newer += plain ? (uint64_t)st.st_size : PH_LOGFILE_PLAIN_BYTES;
	}
}

static int rotate(struct ph_logfile *file)
{
	char name[PATH_MAX];
	if (file->keep)
		shift(file);
	ph_logfile_name(file, 1, "", name);
	int error = file->keep ? rename(file->path, name) : unlink(file->path);
	if (error < 0)
		error = -errno;
	if (!error)
		error = reopen(file);
	if (!error)
		want_compression(file);
	return error;
}

void ph_logfile_compressed(struct ph_logfile *file, const char *made, bool ok)
{
	char plain[PATH_MAX], packed[PATH_MAX];
	unsigned number = file->compressing;
	file->compressing = 0;
	ph_logfile_name(file, number, "", plain);
	ph_logfile_name(file, number, ".gz", packed);
	if (ok && number && number <= file->keep && rename(made, packed) == 0)
		(void)unlink(plain);
	else
		(void)unlink(made);
	if (ok) /* one that fails is tried again with the next rotation */
		want_compression(file);
}

/* ---- writing */

/* How many of the bytes go into this file: whole lines that fit, and always the first one. */
static size_t fitting(const struct ph_logfile *file, const char *bytes, size_t n)
{
	if (!file->size)
		return n;
	size_t room = file->bytes < file->size ? (size_t)(file->size - file->bytes) : 0;
	if (n <= room)
		return n;
	const char *last = room ? memrchr(bytes, '\n', room) : NULL;
	if (last)
		return (size_t)(last - bytes) + 1;
	const char *first = memchr(bytes, '\n', n);
	return first ? (size_t)(first - bytes) + 1 : n;
}

static size_t first_line(const char *bytes, size_t n)
{
	const char *end = memchr(bytes, '\n', n);
	return end ? (size_t)(end - bytes) + 1 : n;
}

static ssize_t move(struct ph_logfile *file, int pipe, const char *bytes, size_t n)
{
	off_t at = (off_t)file->bytes;
	if (!file->plain) {
		ssize_t moved = splice(pipe, NULL, file->fd, &at, n, SPLICE_F_NONBLOCK);
		if (moved >= 0 || errno != EINVAL)
			return moved < 0 ? -errno : moved;
		file->plain = true;
	}
	ssize_t written = pwrite(file->fd, bytes, n, at);
	if (written > 0)
		ph_pipe_discard(pipe, (size_t)written);
	return written < 0 ? -errno : written;
}

ssize_t ph_logfile_take(
	struct ph_logfile *file, int pipe, const char *bytes, size_t n, uint64_t now_ms)
{
	int error = in_place(file, now_ms);
	if (error)
		return error;
	bool over = file->size && file->bytes && file->bytes + first_line(bytes, n) > file->size;
	if (over) {
		file->failed = -rotate(file);
		if (file->fd < 0)
			return -file->failed;
	}
	ssize_t moved = move(file, pipe, bytes, fitting(file, bytes, n));
	if (moved > 0)
		file->bytes += (uint64_t)moved;
	return moved == 0 ? -EAGAIN : moved;
}

int ph_logfile_put(struct ph_logfile *file, const char *text, size_t n)
{
	ssize_t written = file->fd < 0 ? -EBADF : pwrite(file->fd, text, n, (off_t)file->bytes);
	if (written < 0)
		return file->fd < 0 ? -EBADF : -errno;
	file->bytes += (uint64_t)written;
	return (size_t)written == n ? 0 : -ENOSPC;
}

/* ---- reading */

/* Up to `max` bytes at the end of a file, put in front of the text; false: nothing older counts. */
static bool prepend(const char *path, size_t max, char **text, size_t *n)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return false;
	bool ok = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
	size_t want = ok && (uint64_t)st.st_size < max ? (size_t)st.st_size : max;
	char *more = ok ? malloc(want + *n + 1) : NULL;
	ssize_t r = more ? pread(fd, more, want, st.st_size - (off_t)want) : -1;
	close(fd);
	if (r < 0) {
		free(more);
		return false;
	}
	if (*n)
		memcpy(more + r, *text, *n);
	free(*text);
	*text = more;
	*n += (size_t)r;
	return (uint64_t)st.st_size <= (uint64_t)r;
}

static size_t count_lines(const char *text, size_t n)
{
	size_t lines = 0;
	for (const char *at = text; n && (at = memchr(at, '\n', (size_t)(text + n - at))); at++)
		lines++;
	return lines;
}

/* Where the last `lines` lines begin; what is before the first newline may be half a line. */
static size_t last_lines(const char *text, size_t n, size_t lines)
{
	size_t at = n;
	while (at > 0 && lines) {
		const char *newline = at > 1 ? memrchr(text, '\n', at - 1) : NULL;
		at = newline ? (size_t)(newline - text) + 1 : 0;
		lines--;
	}
	return at;
}

char *ph_logfile_tail(const struct ph_logfile *file, size_t n, size_t max, size_t *ret_bytes)
{
	char name[PATH_MAX], *text = malloc(1);
	size_t bytes = 0;
	bool whole = prepend(file->path, max, &text, &bytes);
	for (unsigned i = 1; whole && i <= file->keep && count_lines(text, bytes) < n; i++) {
		ph_logfile_name(file, i, "", name);
		whole = bytes < max && prepend(name, max - bytes, &text, &bytes);
	}
	if (!text)
		return NULL;
	size_t from = last_lines(text, bytes, n);
	memmove(text, text + from, bytes - from);
	*ret_bytes = bytes - from;
	return text;
}
