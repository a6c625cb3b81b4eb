#include "io/loglines.h"

#include <errno.h>
#include <event2/event.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/clock.h"
#include "io/relay.h"

#define AGAIN_MS 50 /* until one who does not read is tried again */

struct ph_loglines {
	struct ph_relay relay;
	const char *head;
	struct event *again;
	unsigned long lost;
	size_t n;
	char waiting[PH_LOGLINES_BYTES];
};

static bool can_wait(ssize_t error)
{
	return error == -EAGAIN || error == -ENOBUFS || error == -ENOMEM;
}

/* Whole lines, so few that a pipe takes all of them or none: those of who else writes there do not
 * come to stand within one. */
static size_t at_once(const char *text, size_t n)
{
	const char *end = n > PIPE_BUF ? memrchr(text, '\n', PIPE_BUF) : NULL;
	return n <= PIPE_BUF ? n : end ? (size_t)(end - text) + 1 : PIPE_BUF;
}

/* How much of it need not be kept. */
static size_t write_some(struct ph_loglines *lines, const char *text, size_t n)
{
	size_t done = 0;
	while (done < n) {
		ssize_t r =
			ph_relay_put(&lines->relay, text + done, at_once(text + done, n - done));
		if (r < 0)
			return can_wait(r) ? done : n;
		done += (size_t)r;
	}
	return done;
}

static void keep(struct ph_loglines *lines, const char *text, size_t n)
{
	static const struct timeval pause = {0, AGAIN_MS * 1000};
	memcpy(lines->waiting + lines->n, text, n);
	lines->n += n;
	if (lines->n && !evtimer_pending(lines->again, NULL))
		(void)evtimer_add(lines->again, &pause);
}

static bool fits(const struct ph_loglines *lines, size_t n)
{
	return n <= sizeof lines->waiting - lines->n;
}

static void tell_lost(struct ph_loglines *lines)
{
	char line[200];
	int n = snprintf(line, sizeof line,
		"%s%lu lines of this log are missing here: it was not read in time\n", lines->head,
		lines->lost);
	if (!lines->lost || !fits(lines, (size_t)n))
		return;
	lines->lost = 0;
	keep(lines, line, (size_t)n);
}

static void pump(struct ph_loglines *lines)
{
	size_t done = write_some(lines, lines->waiting, lines->n);
	memmove(lines->waiting, lines->waiting + done, lines->n - done);
	lines->n -= done;
	if (done)
		tell_lost(lines);
	keep(lines, "", 0);
}

static void on_again(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	pump(arg);
}

void ph_loglines_put(struct ph_loglines *lines, const char *line, size_t n)
{
	size_t done = lines->n ? 0 : write_some(lines, line, n);
	/* once one is lost those after it are too, until that is told: there is one gap */
	if (done == n)
		return;
	if (lines->lost || !fits(lines, n - done))
		lines->lost++;
	else
		keep(lines, line + done, n - done);
}

int ph_loglines_new(struct event_base *base, int fd, const char *head, struct ph_loglines **ret)
{
	struct ph_loglines *lines = calloc(1, sizeof *lines);
	if (!lines)
		return -ENOMEM;
	lines->head = head;
	lines->again = evtimer_new(base, on_again, lines);
	if (!lines->again) {
		free(lines);
		return -ENOMEM;
	}
	ph_relay_init(&lines->relay, fd);
	*ret = lines;
	return 0;
}

void ph_loglines_flush(struct ph_loglines *lines, unsigned ms)
{
	uint64_t until_ms = ph_clock_now_ms() + ms, now_ms;
	for (pump(lines); lines->n && (now_ms = ph_clock_now_ms()) < until_ms; pump(lines)) {
		struct pollfd room = {.fd = lines->relay.fd, .events = POLLOUT};
		uint64_t left = until_ms - now_ms;
		(void)poll(&room, 1, left < AGAIN_MS ? (int)left : AGAIN_MS);
	}
}

void ph_loglines_free(struct ph_loglines *lines, unsigned ms)
{
	if (!lines)
		return;
	ph_loglines_flush(lines, ms);
	event_free(lines->again);
	ph_relay_fini(&lines->relay);
	free(lines);
}
