#include "io/journal_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include <xxhash.h>

#define MAGIC "prochub-journal 1"
#define HEADER_BYTES_MAX 128
#define DAMAGED_PREFIX PH_JOURNAL_NAME ".damaged-"

static uint32_t checksum(const struct ph_id *id, const char *bytes, size_t n)
{
	uint64_t seed;
	memcpy(&seed, id->b, sizeof seed);
	return (uint32_t)XXH3_64bits_withSeed(bytes, n, seed);
}

int ph_journal_check(const void *bytes, size_t n)
{
	if (!n || n > PH_JOURNAL_RECORD_MAX)
		return -EMSGSIZE;
	return memchr(bytes, '\n', n) ? -EINVAL : 0;
}

int ph_journal_new_id(struct ph_id *ret)
{
	struct ph_id id;
	do {
		ssize_t n = getrandom(id.b, sizeof id.b, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n != (ssize_t)sizeof id.b)
			return n < 0 ? -errno : -EIO;
	} while (ph_id_none(&id));
	*ret = id;
	return 0;
}

/* ---- writing */

size_t ph_journal_format(char *out, const struct ph_id *id, uint64_t seq, uint64_t batch,
	const char *bytes, size_t n)
{
	char head[PH_JOURNAL_LINE_EXTRA];
	int length = snprintf(head, sizeof head, "%" PRIu64 " %" PRIu64 " ", seq, batch);
	size_t m = (size_t)length;
	memcpy(out + 9, head, m);
	memcpy(out + 9 + m, bytes, n);
	(void)snprintf(head, sizeof head, "%08" PRIx32 " ", checksum(id, out + 9, m + n));
	memcpy(out, head, 9);
	out[9 + m + n] = '\n';
	return 9 + m + n + 1;
}

static size_t format_header(
	char out[HEADER_BYTES_MAX], const struct ph_id *id, uint64_t first, uint64_t count)
{
	char text[PH_ID_TEXT_SIZE];
	int n = snprintf(out, HEADER_BYTES_MAX, MAGIC " %s %" PRIu64 " %" PRIu64 " ",
		ph_id_text(id, text), first, count);
	uint32_t sum = checksum(id, out, (size_t)n);
	n += snprintf(out + n, HEADER_BYTES_MAX - (size_t)n, "%08" PRIx32 "\n", sum);
	return (size_t)n;
}

int ph_journal_write(const struct ph_journal_ops *ops, int fd, const char *bytes, size_t n)
{
	while (n) {
		ssize_t r = ops->write(fd, bytes, n);
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return r < 0 ? -errno : -EIO;
		bytes += r;
		n -= (size_t)r;
	}
	return 0;
}

/* Header and snapshot; file->seq and file->bytes go on as it is written. */
static int write_content(const struct ph_journal_ops *ops,
	const struct ph_journal_snapshot *snapshot, char *buffer, struct ph_journal_file *file)
{
	uint64_t first = file->seq + 1;
	size_t used = format_header(buffer, &file->id, first, snapshot ? snapshot->records : 0);
	size_t at = 0, end = snapshot ? snapshot->n : 0;
	file->bytes = 0;
	for (;;) {
		uint32_t n = 0;
		if (at < end)
			memcpy(&n, snapshot->bytes + at, sizeof n);
		if (at >= end || used + n + PH_JOURNAL_LINE_EXTRA > PH_JOURNAL_BUFFER_BYTES) {
			int r = ph_journal_write(ops, file->fd, buffer, used);
			if (r)
				return r;
			file->bytes += used;
			used = 0;
		}
		if (at >= end)
			return 0;
		file->seq++;
		used += ph_journal_format(buffer + used, &file->id, file->seq, first,
			snapshot->bytes + at + sizeof n, n);
		at += sizeof n + n;
	}
}

static int sync_dir(const struct ph_journal_ops *ops, const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int r = ops->sync(fd) < 0 ? -errno : 0;
	close(fd);
	return r;
}

static int join(char path[PATH_MAX], const char *dir, const char *name)
{
	int n = snprintf(path, PATH_MAX, "%s/%s", dir, name);
	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

int ph_journal_create(const struct ph_journal_ops *ops, const char *dir,
	const struct ph_journal_snapshot *snapshot, char *buffer, struct ph_journal_file *file,
	bool *ret_replaced)
{
	char path[PATH_MAX], temp[PATH_MAX];
	*ret_replaced = false;
	if (join(path, dir, PH_JOURNAL_NAME) || join(temp, dir, PH_JOURNAL_TEMP))
		return -ENAMETOOLONG;
	(void)unlink(temp);
	struct ph_journal_file made = *file;
	made.fd = open(temp, O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (made.fd < 0)
		return -errno;
	int r = write_content(ops, snapshot, buffer, &made);
	if (!r && ops->sync(made.fd) < 0)
		r = -errno;
	if (!r && ops->rename(temp, path) < 0)
		r = -errno;
	if (r) {
		(void)unlink(temp);
	} else {
		*ret_replaced = true;
		r = sync_dir(ops, dir);
	}
	if (r) {
		close(made.fd);
		return r;
	}
	*file = made;
	return 0;
}

/* The number of a file that was set aside, or 0: it is none. */
static unsigned long damaged_number(const char *name)
{
	size_t n = strlen(DAMAGED_PREFIX);
	if (strncmp(name, DAMAGED_PREFIX, n) != 0 || name[n] < '1' || name[n] > '9')
		return 0;
	char *end;
	errno = 0;
	unsigned long number = strtoul(name + n, &end, 10);
	return *end || errno || number == ULONG_MAX ? 0 : number;
}

static int list_damaged(
	const char *dir, size_t *ret_count, unsigned long *ret_least, unsigned long *ret_most)
{
	DIR *d = opendir(dir);
	if (!d)
		return -errno;
	*ret_count = 0;
	*ret_least = ULONG_MAX;
	*ret_most = 0;
	struct dirent *entry;
	while ((entry = readdir(d)) != NULL) {
		unsigned long number = damaged_number(entry->d_name);
		if (!number)
			continue;
		++*ret_count;
		*ret_least = number < *ret_least ? number : *ret_least;
		*ret_most = number > *ret_most ? number : *ret_most;
	}
	closedir(d);
	return 0;
}

int ph_journal_set_aside(const char *dir)
{
	char path[PATH_MAX], aside[PATH_MAX];
	size_t count;
	unsigned long least, most;
	int r = list_damaged(dir, &count, &least, &most);
	if (r)
		return r;
	int n = snprintf(aside, sizeof aside, "%s/" DAMAGED_PREFIX "%lu", dir, most + 1);
	if (n < 0 || n >= PATH_MAX || join(path, dir, PH_JOURNAL_NAME))
		return -ENAMETOOLONG;
	if (rename(path, aside) < 0)
		return -errno;
	while ((r = list_damaged(dir, &count, &least, &most)) == 0 &&
		count > PH_JOURNAL_DAMAGED_KEPT) {
		(void)snprintf(aside, sizeof aside, "%s/" DAMAGED_PREFIX "%lu", dir, least);
		if (unlink(aside) < 0)
			return -errno;
	}
	return r;
}
