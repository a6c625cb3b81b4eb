#include "io/resolve.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/clock.h"

#define AT_ONCE 8u
#define STACK_BYTES ((size_t)512 * 1024) /* the C library reads answers of 64 KiB on it */

struct name {
	char *text;
	bool answered;
	char at[PH_RESOLVE_SIZE];
};

struct ph_resolve {
	int eventfd;
	size_t n;
	pthread_mutex_t lock;
	/* under it: */
	unsigned users;	   /* the owner, and each thread */
	size_t n_asked;	   /* the first so many of `names` */
	size_t n_answered; /* of these */
	struct name names[];
};

/* ---- in the threads */

static void first_address(const char *name, char ret[PH_RESOLVE_SIZE])
{
	char host[NI_MAXHOST];
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
	ret[0] = '\0';
	if (getaddrinfo(name, NULL, &hints, &found))
		return;
	int failed = getnameinfo(
		found->ai_addr, found->ai_addrlen, host, sizeof host, NULL, 0, NI_NUMERICHOST);
	bool v6 = found->ai_family == AF_INET6;
	freeaddrinfo(found);
	if (!failed && snprintf(ret, PH_RESOLVE_SIZE, v6 ? "[%s]" : "%s", host) >= PH_RESOLVE_SIZE)
		ret[0] = '\0';
}

static void release(struct ph_resolve *resolve)
{
	(void)pthread_mutex_lock(&resolve->lock);
	unsigned left = --resolve->users;
	(void)pthread_mutex_unlock(&resolve->lock);
	if (left)
		return;
	for (size_t i = 0; i < resolve->n; i++)
		free(resolve->names[i].text);
	(void)pthread_mutex_destroy(&resolve->lock);
	if (resolve->eventfd >= 0)
		close(resolve->eventfd);
	free(resolve);
}

/* The next one that nobody has asked for, or NULL. */
static struct name *next(struct ph_resolve *resolve)
{
	(void)pthread_mutex_lock(&resolve->lock);
	struct name *name =
		resolve->n_asked < resolve->n ? &resolve->names[resolve->n_asked++] : NULL;
	(void)pthread_mutex_unlock(&resolve->lock);
	return name;
}

static void *run(void *arg)
{
	struct ph_resolve *resolve = arg;
	const uint64_t one = 1;
	struct name *name;
	(void)pthread_setname_np(pthread_self(), "resolve");
	while ((name = next(resolve))) {
		char at[PH_RESOLVE_SIZE];
		first_address(name->text, at);
		(void)pthread_mutex_lock(&resolve->lock);
		memcpy(name->at, at, sizeof name->at);
		name->answered = true;
		resolve->n_answered++;
		(void)pthread_mutex_unlock(&resolve->lock);
		ssize_t n = write(resolve->eventfd, &one, sizeof one);
		(void)n; /* the counter never gets near its end */
	}
	release(resolve);
	return NULL;
}

/* ---- outside */

/* One thread is enough to go on with. */
static int start_threads(struct ph_resolve *resolve)
{
	pthread_attr_t attr;
	sigset_t all, before;
	pthread_t thread;
	int error = pthread_attr_init(&attr);
	if (error)
		return -error;
	(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	(void)pthread_attr_setstacksize(&attr, STACK_BYTES);
	/* signals are the loop's */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	unsigned made = 0, want = resolve->n < AT_ONCE ? (unsigned)resolve->n : AT_ONCE;
	(void)pthread_mutex_lock(&resolve->lock);
	while (made < want && !(error = pthread_create(&thread, &attr, run, resolve)))
		made++;
	resolve->users += made;
	(void)pthread_mutex_unlock(&resolve->lock);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	(void)pthread_attr_destroy(&attr);
	return made ? 0 : -error;
}

int ph_resolve_new(const char *const *names, size_t n, struct ph_resolve **ret)
{
	struct ph_resolve *resolve = calloc(1, sizeof *resolve + n * sizeof resolve->names[0]);
	if (!resolve)
		return -ENOMEM;
	(void)pthread_mutex_init(&resolve->lock, NULL);
	resolve->users = 1;
	resolve->n = n;
	resolve->eventfd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	int error = resolve->eventfd < 0 ? -errno : 0;
	for (size_t i = 0; i < n && !error; i++) {
		resolve->names[i].text = strdup(names[i]);
		error = resolve->names[i].text ? 0 : -ENOMEM;
	}
	if (!error)
		error = start_threads(resolve);
	if (error) {
		release(resolve);
		return error;
	}
	*ret = resolve;
	return 0;
}

void ph_resolve_free(struct ph_resolve *resolve)
{
	if (!resolve)
		return;
	(void)pthread_mutex_lock(&resolve->lock);
	resolve->n_asked = resolve->n; /* nobody wants to know the rest */
	(void)pthread_mutex_unlock(&resolve->lock);
	release(resolve);
}

int ph_resolve_fd(const struct ph_resolve *resolve)
{
	return resolve->eventfd;
}

void ph_resolve_heard(struct ph_resolve *resolve)
{
	uint64_t count;
	ssize_t n = read(resolve->eventfd, &count, sizeof count);
	(void)n; /* nothing there: it was read before */
}

static bool all_answered(struct ph_resolve *resolve)
{
	(void)pthread_mutex_lock(&resolve->lock);
	bool all = resolve->n_answered == resolve->n;
	(void)pthread_mutex_unlock(&resolve->lock);
	return all;
}

bool ph_resolve_wait(struct ph_resolve *resolve, uint64_t wait_ms)
{
	struct pollfd poller = {.fd = resolve->eventfd, .events = POLLIN};
	uint64_t until_ms = ph_clock_now_ms() + wait_ms, now_ms;
	while (!all_answered(resolve)) {
		now_ms = ph_clock_now_ms();
		if (now_ms >= until_ms)
			return false;
		(void)poll(&poller, 1, (int)(until_ms - now_ms));
		ph_resolve_heard(resolve);
	}
	return true;
}

bool ph_resolve_answer(struct ph_resolve *resolve, size_t i, char ret[PH_RESOLVE_SIZE])
{
	(void)pthread_mutex_lock(&resolve->lock);
	bool answered = resolve->names[i].answered;
	if (answered)
		memcpy(ret, resolve->names[i].at, PH_RESOLVE_SIZE);
	(void)pthread_mutex_unlock(&resolve->lock);
	return answered;
}
