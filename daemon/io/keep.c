/* keep.c - see keep.h. */
#include "io/keep.h"

#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define HASH_FUNCTION(key, n, ret) ((ret) = (unsigned)ph_mix64(ph_hash_bytes(PH_HASH_SEED, key, n)))
#include <uthash.h>

#define CHUNK_BYTES (256u * 1024)
#define LOOK_AGAIN_S 10
#define PART ".part" /* of a file that is being written; what a killed daemon left goes as well */
#define NAME_BYTES 160

static const struct timeval each_hour = {3600, 0}, each_second = {1, 0};

struct keep {
	struct ph_keeps *keeps;
	struct ph_id id;
	char name[NAME_BYTES];
	uint64_t max_bytes;
	int fd;	    /* the worker's; -1: none came yet */
	int wakeup; /* eventfd, to the thread: stop */
	char *early;
	size_t n_early;
	bool running, closed; /* closed: nobody asks for it any more */
	uint64_t told_bytes;
	pthread_t thread;
	struct event *done; /* readable: the thread has ended */
	int done_fd;
	atomic_bool stop;
	atomic_uint_fast64_t bytes;
	int error; /* the thread's, until it has ended */
	char text[PH_ERR_MAX];
	bool whole;
	UT_hash_handle hh;
};

struct ph_keeps {
	struct event_base *base;
	char *dir;
	struct ph_keep_limits limits;
	const struct ph_keep_ops *ops;
	void *arg;
	struct keep *all;
	unsigned running;
	size_t files;		    /* whole ones */
	uint64_t looked_s;	    /* when they were counted: not at each of many at once */
	atomic_uint_fast64_t total; /* bytes of all files */
	struct event *hourly, *ticks;
};

/* ---- in the thread ---- */

static int no(struct keep *k, int code, const char *text)
{
	k->error = code;
	(void)snprintf(k->text, sizeof k->text, "%s", text);
	return -code;
}

static int fits(struct keep *k, int file, size_t n)
{
	struct ph_keeps *keeps = k->keeps;
	struct statvfs fs;
	uint64_t total = atomic_fetch_add(&keeps->total, n) + n;
	uint64_t bytes = atomic_fetch_add(&k->bytes, n) + n;
	if (bytes > k->max_bytes)
		return no(k, EFBIG, "its state is larger than max_state");
	if (total > keeps->limits.total_bytes)
		return no(k, EDQUOT, "there are too many kept states already");
	if (fstatvfs(file, &fs) == 0 &&
		(uint64_t)fs.f_bavail * fs.f_frsize < keeps->limits.free_bytes + n)
		return no(k, ENOSPC, "there would not be enough room left on the disk");
	return 0;
}

static int put(struct keep *k, int file, const char *bytes, size_t n)
{
	int error = n ? fits(k, file, n) : 0;
	while (n && !error) {
		ssize_t w = write(file, bytes, n);
		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return no(k, errno, strerror(errno));
		bytes += w;
		n -= (size_t)w;
	}
	return error;
}

/* Until the end of file, or until it is to stop. */
static int copy(struct keep *k, int file, char *buffer)
{
	struct pollfd fds[2] = {
		{.fd = k->fd, .events = POLLIN}, {.fd = k->wakeup, .events = POLLIN}};
	int error = put(k, file, k->early, k->n_early);
	while (!error) {
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return no(k, errno, strerror(errno));
		if (atomic_load(&k->stop))
			return no(k, ECANCELED, "given up");
		ssize_t n = read(k->fd, buffer, CHUNK_BYTES);
		if (n == 0)
			return 0;
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return no(k, errno, strerror(errno));
		if (n > 0)
			error = put(k, file, buffer, (size_t)n);
	}
	return error;
}

static int sync_and_name(struct keep *k, int dir, int file, const char *part)
{
	if (fsync(file) < 0 || renameat(dir, part, dir, k->name) < 0)
		return no(k, errno, strerror(errno));
	k->whole = true; /* it has its name: where this sync fails it goes again */
	return fsync(dir) < 0 ? no(k, errno, strerror(errno)) : 0;
}

static void write_it(struct keep *k)
{
	char part[NAME_BYTES + sizeof PART];
	char *buffer = malloc(CHUNK_BYTES);
	int dir = open(k->keeps->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), file = -1;
	(void)snprintf(part, sizeof part, "%s" PART, k->name);
	if (dir >= 0)
		file = openat(
			dir, part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (file < 0 || !buffer)
		(void)no(k, buffer ? errno : ENOMEM, buffer ? strerror(errno) : "no memory");
	else if (!copy(k, file, buffer))
		(void)sync_and_name(k, dir, file, part);
	if (k->error && file >= 0)
		(void)unlinkat(dir, k->whole ? k->name : part, 0);
	if (k->error)
		(void)atomic_fetch_sub(&k->keeps->total, atomic_load(&k->bytes));
	if (file >= 0)
		close(file);
	if (dir >= 0)
		close(dir);
	free(buffer);
}

static void *run(void *arg)
{
	struct keep *k = arg;
	const uint64_t one = 1;
	(void)pthread_setname_np(pthread_self(), "keep");
	write_it(k);
	/* cannot fail: the counter never gets near its end */
	ssize_t n = write(k->done_fd, &one, sizeof one);
	(void)n;
	return NULL;
}

/* ---- in the loop: what is there ---- */

static bool ends_with_part(const char *name)
{
	size_t n = strlen(name);
	return n > strlen(PART) && !strcmp(name + n - strlen(PART), PART);
}

/* Too old, or left half by a daemon that was killed, goes; the rest is counted. While something is
 * being written nothing is: what is half is somebody's. */
static void purge(struct ph_keeps *keeps)
{
	uint64_t total = 0;
	size_t files = 0;
	time_t now = time(NULL);
	if (keeps->running || keeps->looked_s == (uint64_t)now / LOOK_AGAIN_S)
		return;
	keeps->looked_s = (uint64_t)now / LOOK_AGAIN_S;
	DIR *dir = opendir(keeps->dir);
	struct dirent *entry;
	while (dir && (entry = readdir(dir))) {
		struct stat st;
		if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
			!S_ISREG(st.st_mode))
			continue;
		uint64_t age_s = now > st.st_mtime ? (uint64_t)(now - st.st_mtime) : 0;
		if (ends_with_part(entry->d_name) || age_s >= keeps->limits.age_ms / 1000)
			(void)unlinkat(dirfd(dir), entry->d_name, 0);
		else
			files++, total += (uint64_t)st.st_size;
	}
	keeps->files = files;
	atomic_store(&keeps->total, total);
	if (dir)
		closedir(dir);
}

static void on_hour(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	purge(arg);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct ph_keeps *keeps = arg;
	struct keep *k, *next;
	(void)fd;
	(void)what;
	HASH_ITER (hh, keeps->all, k, next) {
		uint64_t bytes = atomic_load(&k->bytes);
		if (!k->running || k->closed || bytes == k->told_bytes)
			continue;
		k->told_bytes = bytes;
		keeps->ops->progress(keeps->arg, &k->id, bytes);
	}
}

/* ---- in the loop: one state ---- */

static struct keep *find(struct ph_keeps *keeps, const struct ph_id *id)
{
	struct keep *k;
	HASH_FIND(hh, keeps->all, id, sizeof *id, k);
	return k && !k->closed ? k : NULL;
}

static void drop(struct keep *k)
{
	HASH_DEL(k->keeps->all, k);
	if (k->done)
		event_free(k->done);
	if (k->done_fd >= 0)
		close(k->done_fd);
	if (k->wakeup >= 0)
		close(k->wakeup);
	if (k->fd >= 0)
		close(k->fd);
	free(k->early);
	free(k);
}

static void remove_file(struct keep *k)
{
	int dir = k->whole ? open(k->keeps->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (dir < 0)
		return;
	if (unlinkat(dir, k->name, 0) == 0 && k->keeps->files--)
		(void)atomic_fetch_sub(&k->keeps->total, atomic_load(&k->bytes));
	close(dir);
}

static void reap(struct keep *k)
{
	(void)pthread_join(k->thread, NULL);
	k->running = false;
	k->keeps->running--;
	if (!k->keeps->running)
		event_del(k->keeps->ticks);
	k->whole = k->whole && !k->error;
	k->keeps->files += k->whole;
}

static void on_done(evutil_socket_t fd, short what, void *arg)
{
	struct keep *k = arg;
	struct ph_keeps *keeps = k->keeps;
	(void)fd;
	(void)what;
	reap(k);
	close(k->fd); /* the worker sees that it is over */
	k->fd = -1;
	if (k->closed) {
		remove_file(k);
		drop(k);
	} else if (k->error) {
		keeps->ops->failed(keeps->arg, &k->id, k->error, k->text);
	} else {
		keeps->ops->kept(keeps->arg, &k->id, atomic_load(&k->bytes), k->name);
	}
}

int ph_keeps_open(
	struct ph_keeps *keeps, const struct ph_id *id, const char *name, uint64_t max_bytes)
{
	struct keep *k;
	HASH_FIND(hh, keeps->all, id, sizeof *id, k);
	if (k)
		return -EEXIST;
	if (keeps->files >= keeps->limits.files)
		return -EDQUOT;
	k = calloc(1, sizeof *k);
	if (!k)
		return -ENOMEM;
	k->keeps = keeps;
	k->id = *id;
	(void)snprintf(k->name, sizeof k->name, "%s", name);
	k->max_bytes = max_bytes;
	k->fd = k->wakeup = k->done_fd = -1;
	HASH_ADD(hh, keeps->all, id, sizeof k->id, k);
	return 0;
}

static int start(struct keep *k)
{
	sigset_t all, before;
	k->wakeup = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	k->done_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (k->wakeup < 0 || k->done_fd < 0)
		return -errno;
	k->done = event_new(k->keeps->base, k->done_fd, EV_READ, on_done, k);
	if (!k->done || event_add(k->done, NULL) < 0)
		return -ENOMEM;
	/* signals are the loop's */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	int error = pthread_create(&k->thread, NULL, run, k);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -error;
}

int ph_keeps_feed(
	struct ph_keeps *keeps, const struct ph_id *id, int fd, const char *bytes, size_t n)
{
	struct keep *k = find(keeps, id);
	if (!k || k->running || k->done) {
		close(fd);
		return k ? -EEXIST : -ENOENT;
	}
	k->fd = fd;
	k->early = malloc(n + 1);
	if (!k->early)
		return -ENOMEM;
	if (n)
		memcpy(k->early, bytes, n);
	k->n_early = n;
	if (mkdir(keeps->dir, 0700) < 0 && errno != EEXIST)
		return -errno; /* the thread would say no more */
	purge(keeps);
	int error = start(k);
	if (error)
		return error;
	k->running = true;
	if (!keeps->running++)
		event_add(keeps->ticks, &each_second);
	return 0;
}

static void tell_to_stop(struct keep *k)
{
	const uint64_t one = 1;
	atomic_store(&k->stop, true);
	ssize_t n = write(k->wakeup, &one, sizeof one);
	(void)n;
}

void ph_keeps_close(struct ph_keeps *keeps, const struct ph_id *id, bool stays)
{
	struct keep *k = find(keeps, id);
	if (!k)
		return;
	if (k->running) { /* freed when its thread has seen it */
		k->closed = true;
		tell_to_stop(k);
		return;
	}
	if (!stays)
		remove_file(k);
	drop(k);
}

/* ---- birth and death ---- */

struct ph_keeps *ph_keeps_new(struct event_base *base, const char *dir,
	const struct ph_keep_limits *limits, const struct ph_keep_ops *ops, void *arg)
{
	struct ph_keeps *keeps = calloc(1, sizeof *keeps);
	if (!keeps)
		return NULL;
	keeps->base = base;
	keeps->dir = strdup(dir);
	keeps->limits = *limits;
	keeps->ops = ops;
	keeps->arg = arg;
	keeps->hourly = event_new(base, -1, EV_PERSIST, on_hour, keeps);
	keeps->ticks = event_new(base, -1, EV_PERSIST, on_tick, keeps);
	if (!keeps->dir || !keeps->hourly || !keeps->ticks) {
		ph_keeps_free(keeps);
		return NULL;
	}
	event_add(keeps->hourly, &each_hour);
	purge(keeps);
	return keeps;
}

void ph_keeps_set_age(struct ph_keeps *keeps, uint64_t age_ms)
{
	keeps->limits.age_ms = age_ms;
	keeps->looked_s = 0;
	purge(keeps);
}

void ph_keeps_free(struct ph_keeps *keeps)
{
	struct keep *k, *next;
	if (!keeps)
		return;
	HASH_ITER (hh, keeps->all, k, next)
		if (k->running)
			tell_to_stop(k);
	HASH_ITER (hh, keeps->all, k, next) {
		if (k->running) {
			reap(k);
			remove_file(k);
		}
		drop(k);
	}
	if (keeps->hourly)
		event_free(keeps->hourly);
	if (keeps->ticks)
		event_free(keeps->ticks);
	free(keeps->dir);
	free(keeps);
}
