#include "io/output_thread.h"

#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "io/clock.h"

#define LAST_TURN_MS 50
#define NEWS_A_TURN 2
#define GRACE_MS 1000 /* for the turn that it is in when its time is over */

struct ph_output_thread {
	pthread_t thread;
	struct ph_output *output; /* the thread's, while it runs */
	int eventfd;		  /* readable when there is news */
	struct event *event;
	ph_output_news_fn *fn;
	void *arg;

	pthread_mutex_t lock;
	/* under it: */
	struct ph_output_order *orders, **orders_tail;
	struct ph_output_news *news, **news_tail;
	bool stop;
	uint64_t stop_at_ms;
	unsigned asked, seen; /* whether it looks here */
};

/* ---- in the thread */

static void give_news(struct ph_output_thread *t)
{
	const uint64_t one = 1;
	struct ph_output_news *news = ph_output_news(t->output), *last = news;
	if (!news)
		return;
	while (last->next)
		last = last->next;
	(void)pthread_mutex_lock(&t->lock);
	*t->news_tail = news;
	t->news_tail = &last->next;
	(void)pthread_mutex_unlock(&t->lock);
	ssize_t n = write(t->eventfd, &one, sizeof one);
	(void)n; /* the counter never gets near its end */
}

static void *run(void *arg)
{
	struct ph_output_thread *t = arg;
	(void)pthread_setname_np(pthread_self(), "output");
	for (;;) {
		(void)pthread_mutex_lock(&t->lock);
		struct ph_output_order *order = t->orders, *next;
		t->orders = NULL;
		t->orders_tail = &t->orders;
		bool stop = t->stop;
		t->seen = t->asked;
		uint64_t until = t->stop_at_ms;
		(void)pthread_mutex_unlock(&t->lock);
		bool busy = order != NULL;
		for (; order; order = next) {
			next = order->next;
			ph_output_order(t->output, order);
		}
		if (stop && (!ph_output_open_count(t->output) || ph_clock_now_ms() >= until))
			return NULL;
		ph_output_pump(t->output, busy ? 0 : stop ? LAST_TURN_MS : -1);
		give_news(t);
	}
}

/* ---- in the loop */

/* At most `max` of them; returns whether there are more. */
static bool take_news(struct ph_output_thread *t, size_t max)
{
	(void)pthread_mutex_lock(&t->lock);
	struct ph_output_news *news = t->news, **end = &t->news;
	for (; *end && max; max--)
		end = &(*end)->next;
	t->news = *end;
	*end = NULL;
	if (!t->news)
		t->news_tail = &t->news;
	bool more = t->news != NULL;
	(void)pthread_mutex_unlock(&t->lock);
	for (const struct ph_output_news *each = news; each; each = each->next)
		t->fn(t->arg, each);
	ph_output_news_free(news);
	return more;
}

static void on_news(evutil_socket_t fd, short what, void *arg)
{
	uint64_t count, again = 1;
	(void)what;
	/* the loop has other things to do in between */
	if (read(fd, &count, sizeof count) > 0 && take_news(arg, NEWS_A_TURN) &&
		write(fd, &again, sizeof again) < 0)
		(void)take_news(arg, SIZE_MAX);
}

static int start(struct ph_output_thread *t, struct event_base *base)
{
	sigset_t all, before;
	t->eventfd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (t->eventfd < 0)
		return -errno;
	t->event = event_new(base, t->eventfd, EV_READ | EV_PERSIST, on_news, t);
	if (!t->event || event_add(t->event, NULL))
		return -ENOMEM;
	/* signals are the loop's */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	int r = pthread_create(&t->thread, NULL, run, t);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -r;
}

static void release(struct ph_output_thread *t)
{
	for (struct ph_output_order *order = t->orders, *next; order; order = next) {
		next = order->next;
		ph_output_order_free(order);
	}
	ph_output_news_free(t->news);
	if (t->output)
		ph_output_free(t->output);
	if (t->event)
		event_free(t->event);
	if (t->eventfd >= 0)
		close(t->eventfd);
	(void)pthread_mutex_destroy(&t->lock);
	free(t);
}

int ph_output_thread_new(struct event_base *base, const struct ph_output_settings *settings,
	ph_output_news_fn *fn, void *arg, struct ph_output_thread **ret)
{
	struct ph_output_thread *t = calloc(1, sizeof *t);
	if (!t)
		return -ENOMEM;
	t->eventfd = -1;
	t->fn = fn;
	t->arg = arg;
	t->orders_tail = &t->orders;
	t->news_tail = &t->news;
	(void)pthread_mutex_init(&t->lock, NULL);
	int error = ph_output_new(settings, &t->output);
	if (!error)
		error = start(t, base);
	if (error)
		release(t);
	else
		*ret = t;
	return error;
}

/* Ended, by then? */
static bool join(struct ph_output_thread *t, unsigned ms)
{
	struct timespec by;
	(void)clock_gettime(CLOCK_MONOTONIC, &by);
	by.tv_sec += ms / 1000;
	by.tv_nsec += ms % 1000 * 1000000L;
	if (by.tv_nsec >= 1000000000L) {
		by.tv_sec++;
		by.tv_nsec -= 1000000000L;
	}
	return !pthread_clockjoin_np(t->thread, NULL, CLOCK_MONOTONIC, &by);
}

size_t ph_output_thread_free(struct ph_output_thread *t, unsigned patience_ms)
{
	(void)pthread_mutex_lock(&t->lock);
	t->stop = true;
	t->stop_at_ms = ph_clock_now_ms() + patience_ms;
	(void)pthread_mutex_unlock(&t->lock);
	ph_output_wake(t->output);
	if (!join(t, patience_ms + GRACE_MS)) {
		event_free(t->event);
		return PH_OUTPUT_STUCK;
	}
	(void)take_news(t, SIZE_MAX);
	size_t left = ph_output_open_count(t->output);
	release(t);
	return left;
}

bool ph_output_thread_answers(struct ph_output_thread *t, unsigned ms)
{
	static const struct timespec pause = {0, 1000000};
	uint64_t until_ms = ph_clock_now_ms() + ms;
	(void)pthread_mutex_lock(&t->lock);
	unsigned number = ++t->asked;
	(void)pthread_mutex_unlock(&t->lock);
	ph_output_wake(t->output);
	for (;;) {
		(void)pthread_mutex_lock(&t->lock);
		bool seen = t->seen == number;
		(void)pthread_mutex_unlock(&t->lock);
		if (seen || ph_clock_now_ms() >= until_ms)
			return seen;
		(void)nanosleep(&pause, NULL);
	}
}

void ph_output_thread_add(struct ph_output_thread *t, struct ph_output_order *order)
{
	order->next = NULL;
	(void)pthread_mutex_lock(&t->lock);
	*t->orders_tail = order;
	t->orders_tail = &order->next;
	(void)pthread_mutex_unlock(&t->lock);
}

void ph_output_thread_wake(struct ph_output_thread *t)
{
	ph_output_wake(t->output);
}

void ph_output_thread_put(struct ph_output_thread *t, struct ph_output_order *order)
{
	ph_output_thread_add(t, order);
	ph_output_thread_wake(t);
}
