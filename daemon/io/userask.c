#include "io/userask.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define STACK_BYTES ((size_t)512 * 1024)

struct ph_user_ask {
	char *user, *group;
	pthread_mutex_t lock;
	pthread_cond_t answer;
	/* under it: */
	unsigned users; /* who asks, and the thread */
	bool answered;
	int error;
	struct ph_user found;
	struct ph_err err;
};

static atomic_uint running;

static void release(struct ph_user_ask *ask)
{
	(void)pthread_mutex_lock(&ask->lock);
	unsigned left = --ask->users;
	(void)pthread_mutex_unlock(&ask->lock);
	if (left)
		return;
	if (ask->answered && !ask->error)
		ph_user_fini(&ask->found);
	(void)pthread_cond_destroy(&ask->answer);
	(void)pthread_mutex_destroy(&ask->lock);
	free(ask->user);
	free(ask->group);
	free(ask);
}

static void *run(void *arg)
{
	struct ph_user_ask *ask = arg;
	struct ph_user found;
	struct ph_err err = {{0}};
	(void)pthread_setname_np(pthread_self(), "user");
	int error = ph_user_lookup(ask->user, ask->group, &found, &err);
	(void)pthread_mutex_lock(&ask->lock);
	if (!error)
		ask->found = found;
	ask->error = error;
	ask->err = err;
	ask->answered = true;
	(void)pthread_cond_signal(&ask->answer);
	(void)pthread_mutex_unlock(&ask->lock);
	release(ask);
	(void)atomic_fetch_sub(&running, 1);
	return NULL;
}

static int start(struct ph_user_ask *ask)
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
	ask->users++;
	(void)atomic_fetch_add(&running, 1);
	error = pthread_create(&thread, &attr, run, ask);
	if (error) {
		ask->users--;
		(void)atomic_fetch_sub(&running, 1);
	}
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	(void)pthread_attr_destroy(&attr);
	return -error;
}

int ph_user_ask_new(
	const char *user, const char *group, struct ph_user_ask **ret, struct ph_err *err)
{
	if (atomic_load(&running) >= PH_USER_ASK_MAX)
		return ph_err_set(err, EAGAIN,
			"%d look-ups of users have not been answered yet, no more are possible",
			PH_USER_ASK_MAX);
	struct ph_user_ask *ask = calloc(1, sizeof *ask);
	if (!ask)
		return ph_err_set(err, ENOMEM, "out of memory");
	pthread_condattr_t attr;
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&ask->answer, &attr);
	(void)pthread_condattr_destroy(&attr);
	(void)pthread_mutex_init(&ask->lock, NULL);
	ask->users = 1;
	ask->user = user ? strdup(user) : NULL;
	ask->group = group ? strdup(group) : NULL;
	int error = (user && !ask->user) || (group && !ask->group) ? -ENOMEM : start(ask);
	if (error) {
		release(ask);
		return ph_err_set(err, -error, "a user cannot be looked up: %s", strerror(-error));
	}
	*ret = ask;
	return 0;
}

bool ph_user_ask_wait(struct ph_user_ask *ask, unsigned ms)
{
	struct timespec by;
	int error = 0;
	(void)clock_gettime(CLOCK_MONOTONIC, &by);
	by.tv_sec += ms / 1000;
	by.tv_nsec += ms % 1000 * 1000000L;
	if (by.tv_nsec >= 1000000000L) {
		by.tv_sec++;
		by.tv_nsec -= 1000000000L;
	}
	(void)pthread_mutex_lock(&ask->lock);
	while (!ask->answered && !error && ms)
		error = pthread_cond_timedwait(&ask->answer, &ask->lock, &by);
	bool answered = ask->answered;
	(void)pthread_mutex_unlock(&ask->lock);
	return answered;
}

int ph_user_ask_take(struct ph_user_ask *ask, struct ph_user *ret, struct ph_err *err)
{
	(void)pthread_mutex_lock(&ask->lock);
	int error = ask->error;
	if (error) {
		*err = ask->err;
	} else {
		*ret = ask->found;
		ask->found = (struct ph_user){0};
	}
	(void)pthread_mutex_unlock(&ask->lock);
	release(ask);
	return error;
}

void ph_user_ask_free(struct ph_user_ask *ask)
{
	if (ask)
		release(ask);
}
