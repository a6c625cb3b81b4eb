#include "lib/client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "lib/client_wish.h"

#define BACKOFF_MIN_MS 50
#define BACKOFF_MAX_MS 2000
#define READ_BYTES 16384
#define READS_A_TURN 16

uint64_t ph_client_now_ms(void)
{
	struct timespec t;
	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void ph_client_note(struct prochub *p, const char *text)
{
	if (p->cb.note)
		p->cb.note(p, p->arg, text);
}

int ph_client_connect(const struct prochub *p)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	memcpy(a.sun_path, p->socket, sizeof p->socket);
	if (connect(fd, (const struct sockaddr *)&a, sizeof a)) {
		int error = -errno;
		close(fd);
		return error;
	}
	return fd;
}

/* ---- the control connection */

static void watch_control(struct prochub *p)
{
	uint32_t events = EPOLLIN | (p->s.out_n ? EPOLLOUT : 0);
	struct epoll_event e = {.events = events, .data.fd = p->control_fd};
	if (p->control_fd < 0 || events == p->control_events)
		return;
	if (epoll_ctl(p->epoll_fd, EPOLL_CTL_MOD, p->control_fd, &e) == 0)
		p->control_events = events;
}

static void plan_retry(struct prochub *p)
{
	p->seed = ph_mix64(p->seed + 0x9e3779b97f4a7c15u);
	uint32_t jitter = (uint32_t)(p->seed % (p->backoff_ms / 2 + 1));
	p->retry_at_ms = ph_client_now_ms() + p->backoff_ms / 2 + jitter;
	p->backoff_ms = p->backoff_ms * 2 < BACKOFF_MAX_MS ? p->backoff_ms * 2 : BACKOFF_MAX_MS;
}

static int hang_up(struct prochub *p)
{
	if (p->control_fd < 0)
		return 0;
	close(p->control_fd);
	p->control_fd = -1;
	p->control_events = 0;
	ph_line_fini(&p->in);
	ph_line_init(&p->in, PH_LINE_MAX);
	if (p->s.up)
		p->backoff_ms = BACKOFF_MIN_MS;
	plan_retry(p);
	struct ph_session_input lost = {.kind = PH_IN_LOST};
	return ph_client_step(p, &lost);
}

/*
 * Sends what there is room for. Never hangs up, so that it may be called inside a callback: a
 * broken connection is seen by the next turn's read.
 */
static void flush(struct prochub *p)
{
	while (p->control_fd >= 0 && p->s.out_n) {
		ssize_t n = send(p->control_fd, p->s.out, p->s.out_n, MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN && errno != EINTR) {
			(void)shutdown(p->control_fd, SHUT_RDWR);
			p->s.out_n = 0;
		}
		if (n < 0)
			break;
		ph_session_sent(&p->s, (size_t)n);
	}
	watch_control(p);
}

static int reconnect(struct prochub *p)
{
	int fd = ph_client_connect(p);
	if (fd < 0) {
		plan_retry(p);
		return 0;
	}
	struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
	if (epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, fd, &e)) {
		close(fd);
		return -ENOMEM;
	}
	p->control_fd = fd;
	p->control_events = EPOLLIN;
	int error = ph_session_connected(&p->s);
	if (!error)
		flush(p);
	return error;
}

static int wishes(struct prochub *p)
{
	struct ph_wish w;
	while (ph_session_take(&p->s, &w)) {
		if (w.kind == PH_WISH_HANG_UP) {
			flush(p);
			return hang_up(p);
		}
		int error = ph_wish_do(p, &w);
		if (error)
			return error;
	}
	return 0;
}

int ph_client_step(struct prochub *p, const struct ph_session_input *in)
{
	int error = ph_session_step(&p->s, in);
	return error ? error : wishes(p);
}

static int take_lines(struct prochub *p)
{
	char *line;
	size_t n;
	int r = 0;
	while (p->control_fd >= 0 && (r = ph_line_next(&p->in, &line, &n)) > 0) {
		int fd = p->control_fd;
		int error = ph_session_line(&p->s, line, n);
		if (!error)
			error = wishes(p);
		if (error)
			return error;
		if (p->control_fd != fd)
			return 0; /* hung up: the line's memory is gone */
	}
	if (r < 0) {
		ph_client_note(p, "the daemon sent a line that is too long");
		return hang_up(p);
	}
	return 0;
}

static int read_control(struct prochub *p)
{
	char bytes[READ_BYTES];
	for (int i = 0; i < READS_A_TURN && p->control_fd >= 0; i++) {
		ssize_t n = recv(p->control_fd, bytes, sizeof bytes, 0);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return 0;
		if (n <= 0)
			return hang_up(p);
		int error = ph_line_feed(&p->in, bytes, (size_t)n);
		if (error == -ENOMEM)
			return error;
		error = take_lines(p);
		if (error)
			return error;
	}
	return 0;
}

/* ---- the context */

/* What a function of the API returns; what there is to say is sent where there is room. */
static int done(struct prochub *p, int error)
{
	if (!error)
		flush(p);
	if (error) {
		errno = -error;
		return -1;
	}
	return 0;
}

int prochub_dispatch(struct prochub *p)
{
	struct epoll_event events[4];
	int error = 0;
	if (p->control_fd < 0 && ph_client_now_ms() >= p->retry_at_ms)
		error = reconnect(p);
	int n = epoll_wait(p->epoll_fd, events, 4, 0);
	if (n < 0 && errno != EINTR)
		return -1;
	bool readable = false;
	for (int i = 0; i < n; i++)
		readable |= events[i].data.fd == p->control_fd && events[i].events != EPOLLOUT;
	if (!error && readable)
		error = read_control(p);
	return done(p, error ? error : ph_data_pump(p));
}

int prochub_fd(const struct prochub *p)
{
	return p->epoll_fd;
}

short prochub_events(const struct prochub *p)
{
	(void)p;
	return POLLIN;
}

int prochub_timeout_ms(const struct prochub *p)
{
	uint64_t at = UINT64_MAX;
	if (p->control_fd < 0)
		at = p->retry_at_ms;
	bool opening = p->data.kind != PH_DATA_NONE && p->data.fd < 0 && !p->data.ended;
	if (opening && p->data.retry_at_ms < at)
		at = p->data.retry_at_ms;
	if (at == UINT64_MAX)
		return -1;
	uint64_t now = ph_client_now_ms();
	return at <= now ? 0 : (int)(at - now);
}

int prochub_run(struct prochub *p)
{
	while (!p->leave) {
		struct pollfd fd = {.fd = p->epoll_fd, .events = POLLIN};
		if (poll(&fd, 1, prochub_timeout_ms(p)) < 0 && errno != EINTR)
			return -1;
		if (prochub_dispatch(p))
			return -1;
	}
	return p->result;
}

void prochub_leave(struct prochub *p)
{
	p->leave = true;
}

int prochub_is_leaving(const struct prochub *p)
{
	return p->leave;
}

void prochub_close(struct prochub *p)
{
	if (!p)
		return;
	flush(p);
	(void)ph_data_close(p);
	if (p->control_fd >= 0)
		close(p->control_fd);
	if (p->epoll_fd >= 0)
		close(p->epoll_fd);
	ph_line_fini(&p->in);
	ph_session_fini(&p->s);
	explicit_bzero(p, sizeof *p);
	free(p);
}

/* ---- what a worker says */

int prochub_ready(struct prochub *p, const char *meta)
{
	return done(p, ph_session_ready(&p->s, true, meta));
}

int prochub_set_meta(struct prochub *p, const char *meta)
{
	return done(p, meta ? ph_session_ready(&p->s, false, meta) : -EINVAL);
}

int prochub_status(struct prochub *p, const char *text)
{
	struct ph_wmsg m = {.op = PH_W_STATUS, .text = text};
	return done(p, ph_session_say(&p->s, &m));
}

int prochub_watchdog(struct prochub *p)
{
	struct ph_wmsg m = {.op = PH_W_WATCHDOG};
	return done(p, ph_session_say(&p->s, &m));
}

int prochub_retention_handled(struct prochub *p)
{
	return done(p, ph_session_handled(&p->s));
}

void prochub_retry_after(struct prochub *p, uint64_t ms)
{
	p->retry_after_ms = ms;
}

static int64_t want(struct prochub *p, const struct ph_pending *wanted)
{
	int64_t r = ph_session_want(&p->s, wanted);
	return done(p, r < 0 ? (int)r : 0) ? -1 : r;
}

int64_t prochub_lookup(struct prochub *p, const char *child)
{
	struct ph_pending wanted = {.op = PH_W_LOOKUP};
	if (!ph_name_valid(child))
		return done(p, -EINVAL);
	wanted.child = ph_name_of(child);
	return want(p, &wanted);
}

int64_t prochub_watch(struct prochub *p, const char *child, const char *prefix)
{
	struct ph_pending wanted = {.op = PH_W_WATCH, .by_prefix = prefix != NULL};
	if (!child == !prefix || (child && !ph_name_valid(child)) ||
		(prefix && strlen(prefix) >= sizeof wanted.prefix))
		return done(p, -EINVAL);
	if (child)
		wanted.child = ph_name_of(child);
	else
		memcpy(wanted.prefix, prefix, strlen(prefix));
	return want(p, &wanted);
}

int prochub_unwatch(struct prochub *p, int64_t watch)
{
	return done(p, ph_session_unwatch(&p->s, (uint64_t)watch));
}
