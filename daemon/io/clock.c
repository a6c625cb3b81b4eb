#include "io/clock.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

struct ph_clock_timer {
	ph_clock_fn *fn;
	void *arg;
	struct event *event;
	uint64_t at_ms;
	int fd;
};

static uint64_t clock_ms(clockid_t clock)
{
	struct timespec t;
	(void)clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

uint64_t ph_clock_now_ms(void)
{
	uint64_t now_ms = clock_ms(CLOCK_BOOTTIME);
	return now_ms ? now_ms : 1;
}

uint64_t ph_clock_wall_ms(void)
{
	return clock_ms(CLOCK_REALTIME);
}

static void timer_fired(evutil_socket_t fd, short what, void *arg)
{
	struct ph_clock_timer *timer = arg;
	uint64_t count;
	(void)what;
	/* nothing to read: it was set anew after the loop had seen it ready */
	if (read(fd, &count, sizeof count) != (ssize_t)sizeof count)
		return;
	timer->at_ms = PH_CLOCK_NEVER;
	timer->fn(timer->arg);
}

int ph_clock_timer_new(
	struct event_base *base, ph_clock_fn *fn, void *arg, struct ph_clock_timer **ret)
{
	struct ph_clock_timer *timer = calloc(1, sizeof *timer);
	if (!timer)
		return -ENOMEM;
	timer->fn = fn;
	timer->arg = arg;
	timer->at_ms = PH_CLOCK_NEVER;
	timer->fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
	int r = timer->fd < 0 ? -errno : 0;
	if (!r) {
		timer->event = event_new(base, timer->fd, EV_READ | EV_PERSIST, timer_fired, timer);
		if (!timer->event || event_add(timer->event, NULL) < 0)
			r = -ENOMEM;
	}
	if (r) {
		ph_clock_timer_free(timer);
		return r;
	}
	*ret = timer;
	return 0;
}

void ph_clock_timer_set(struct ph_clock_timer *timer, uint64_t at_ms)
{
	if (at_ms == timer->at_ms)
		return;
	timer->at_ms = at_ms;
	struct itimerspec t = {0};
	if (at_ms != PH_CLOCK_NEVER) {
		t.it_value.tv_sec = (time_t)(at_ms / 1000);
		t.it_value.tv_nsec = (long)(at_ms % 1000 * 1000000);
		/* all zero would disarm it */
		if (!t.it_value.tv_sec && !t.it_value.tv_nsec)
			t.it_value.tv_nsec = 1;
	}
	(void)timerfd_settime(timer->fd, TFD_TIMER_ABSTIME, &t, NULL);
}

void ph_clock_timer_free(struct ph_clock_timer *timer)
{
	if (!timer)
		return;
	if (timer->event)
		event_free(timer->event);
	if (timer->fd >= 0)
		close(timer->fd);
	free(timer);
}
