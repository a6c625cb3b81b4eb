#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "io/buslink_impl.h"
#include "io/helper.h"

#define CONTROL_QUEUE_MAX (PH_BUSLINK_QUEUE_MAX + 4u * 1024u * 1024u)
#define LIVED_MS 1000u /* who lives so long is restarted at once */
#define BACKOFF_MIN_MS 100u
#define BACKOFF_MAX_MS 2000u
#define STALL_MS 3000 /* a bus process that reads nothing for so long is stuck */
#define BIND_AGAIN_MS 1000
#define DROPS_EACH_MS 100

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000u + (uint64_t)ts.tv_nsec / 1000000u;
}

static void arm(struct event *event, unsigned ms)
{
	struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};

	(void)event_add(event, &tv);
}

struct ph_buslink_peer *ph_buslink_find(const struct ph_buslink *link, uint32_t id)
{
	struct ph_buslink_peer *peer;

	HASH_FIND(hh, link->peers, &id, sizeof id, peer);
	return peer;
}

void ph_buslink_count_drop(struct ph_buslink *link, struct ph_buslink_peer *peer)
{
	if (peer)
		peer->dropped++;
	else
		link->casts_dropped++;
	link->stats.drops++;
	if (!event_pending(link->drops_timer, EV_TIMEOUT, NULL))
		arm(link->drops_timer, DROPS_EACH_MS);
}

/* Ends the process; what follows is on_exit_event()'s. */
void ph_buslink_put_down(struct ph_buslink *link)
{
	if (link->pid)
		(void)syscall(SYS_pidfd_send_signal, link->pidfd, SIGKILL, NULL, 0);
}

/* ---- towards the bus process */

void ph_buslink_write(struct ph_buslink *link)
{
	if (!link->pid)
		return;
	int rc = ph_busqueue_write(&link->queue, link->fd);
	/* other errors: it has died, and on_exit_event() comes */
	if (rc == -EAGAIN && !event_pending(link->on_write, EV_WRITE, NULL))
		arm(link->on_write, STALL_MS);
}

static void on_write(evutil_socket_t fd, short what, void *arg)
{
	struct ph_buslink *link = arg;

	(void)fd;
	if (what & EV_TIMEOUT)
		ph_buslink_put_down(link);
	else
		ph_buslink_write(link);
}

void ph_buslink_control(struct ph_buslink *link, enum ph_busframe kind, uint32_t id,
	const char *broadcast, const char *directed)
{
	uint8_t head[4], lengths[2];
	struct iovec pieces[5];
	size_t n = 0;

	if (!link->pid)
		return;
	ph_put_u32(head, id);
	if (kind != PH_BUSFRAME_BIND)
		pieces[n++] = (struct iovec){head, sizeof head};
	const char *const addresses[2] = {broadcast, directed};
	for (size_t i = 0; i < 2 && broadcast; i++) {
		union {
			const char *in;
			void *out;
		} text = {addresses[i]}; /* an iovec has no const */
		lengths[i] = (uint8_t)strlen(addresses[i]);
		pieces[n++] = (struct iovec){&lengths[i], 1};
		pieces[n++] = (struct iovec){text.out, lengths[i]};
	}
	struct ph_busframe_item *frame = ph_busqueue_frame(kind, id, pieces, n);
	if (!frame || link->queue.bytes + frame->n > CONTROL_QUEUE_MAX) {
		free(frame);
		ph_buslink_put_down(link);
		return;
	}
	ph_busqueue_append(&link->queue, frame);
	ph_buslink_write(link);
}

/* ---- from the bus process */

static void got_ready(struct ph_buslink *link, uint8_t *bytes, size_t n)
{
	(void)bytes;
	(void)n;
	link->up = true;
	if (link->callbacks.up)
		link->callbacks.up(link->arg);
}

static void got_bound(struct ph_buslink *link, uint8_t *bytes, size_t n)
{
	(void)bytes;
	(void)n;
	link->bind_told.text[0] = 0;
	if (link->callbacks.bound)
		link->callbacks.bound(link->arg);
}

static void got_bind_failed(struct ph_buslink *link, uint8_t *bytes, size_t n)
{
	struct ph_err err;

	if (n < 4)
		return;
	int code = (int)(ph_get_u32(bytes) & INT32_MAX);
	(void)ph_err_set(&err, code, "%.*s", (int)(n - 4), (const char *)bytes + 4);
	arm(link->bind_timer, BIND_AGAIN_MS);
	if (strcmp(err.text, link->bind_told.text) == 0)
		return;
	link->bind_told = err;
	if (link->callbacks.bind_failed)
		link->callbacks.bind_failed(link->arg, code, err.text);
}

static void got_message(struct ph_buslink *link, uint8_t *bytes, size_t n)
{
	if (n < 2 || (bytes[0] != PH_PLANE_BROADCAST && bytes[0] != PH_PLANE_DIRECTED))
		return;
	link->stats.gots++;
	if (link->callbacks.got)
		link->callbacks.got(link->arg, bytes[0], bytes + 1, n - 1);
}

static void got_dropped(struct ph_buslink *link, uint8_t *bytes, size_t n)
{
	if (n != 8)
		return;
	uint32_t count = ph_get_u32(bytes + 4);
	link->stats.drops += count;
	if (link->callbacks.dropped)
		link->callbacks.dropped(link->arg, ph_get_u32(bytes), count);
}

static const struct {
	enum ph_busframe kind;
	void (*take)(struct ph_buslink *link, uint8_t *bytes, size_t n);
} reports[] = {
	{PH_BUSFRAME_GOT, got_message},
	{PH_BUSFRAME_DROPPED, got_dropped},
	{PH_BUSFRAME_READY, got_ready},
	{PH_BUSFRAME_BOUND, got_bound},
	{PH_BUSFRAME_BIND_FAILED, got_bind_failed},
};

static void report_take(struct ph_buslink *link, uint8_t *frame, size_t n)
{
	for (size_t i = 0; i < sizeof reports / sizeof reports[0]; i++)
		if (reports[i].kind == frame[0])
			reports[i].take(link, frame + 1, n - 1);
}

static void on_read(evutil_socket_t fd, short what, void *arg)
{
	struct ph_buslink *link = arg;
	size_t at = 0;

	(void)what;
	ssize_t got = read(fd, link->in + link->in_n, PH_BUSLINK_READ_A_TURN);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		(void)event_del(link->on_read); /* on_exit_event() does the rest */
		ph_buslink_put_down(link);
		return;
	}
	link->in_n += (size_t)got;
	while (link->in_n - at >= 4) {
		size_t length = ph_get_u32(link->in + at);
		if (length == 0 || length > PH_BUSFRAME_MAX) {
			(void)event_del(link->on_read);
			ph_buslink_put_down(link);
			return;
		}
		if (link->in_n - at < 4 + length)
			break;
		report_take(link, link->in + at + 4, length);
		at += 4 + length;
	}
	memmove(link->in, link->in + at, link->in_n - at);
	link->in_n -= at;
}

/* ---- the process */

void ph_buslink_event_drop(struct event **event)
{
	if (*event)
		event_free(*event);
	*event = NULL;
}

int ph_buslink_reap(struct ph_buslink *link)
{
	ph_buslink_event_drop(&link->on_read);
	ph_buslink_event_drop(&link->on_write);
	ph_buslink_event_drop(&link->on_exit);
	int status = ph_helper_reap(link->pid);
	close(link->pidfd);
	close(link->fd);
	link->pid = 0;
	link->pidfd = link->fd = -1;
	link->up = false;
	link->in_n = 0;
	return status;
}

/*
 * What may go to the next process: directed messages to peers that are still known. Commands are
 * made anew, and casts are old by then. A frame that was written in part has not been acted on.
 */
static void queue_sift(struct ph_buslink *link)
{
	struct ph_busqueue kept = {0};
	struct ph_busframe_item *frame;

	while ((frame = ph_busqueue_pop(&link->queue))) {
		struct ph_buslink_peer *peer = ph_buslink_find(link, frame->peer);
		if (frame->kind == PH_BUSFRAME_SEND && peer) {
			ph_busqueue_append(&kept, frame);
			continue;
		}
		if (frame->kind == PH_BUSFRAME_CAST)
			ph_buslink_count_drop(link, NULL);
		free(frame);
	}
	link->queue = kept;
}

static void start_later(struct ph_buslink *link)
{
	if (now_ms() - link->started_at_ms >= LIVED_MS)
		link->backoff_ms = 0;
	arm(link->start_timer, link->backoff_ms);
	link->backoff_ms *= 2;
	if (link->backoff_ms < BACKOFF_MIN_MS)
		link->backoff_ms = BACKOFF_MIN_MS;
	if (link->backoff_ms > BACKOFF_MAX_MS)
		link->backoff_ms = BACKOFF_MAX_MS;
}

static void on_exit_event(evutil_socket_t fd, short what, void *arg)
{
	struct ph_buslink *link = arg;
	struct ph_err why;

	(void)fd;
	(void)what;
	int status = ph_buslink_reap(link);
	queue_sift(link);
	(void)event_del(link->bind_timer);
	start_later(link);
	if (WIFSIGNALED(status))
		(void)ph_err_set(&why, EPIPE, "prochub-bus was ended by signal %d (%s)",
			WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		(void)ph_err_set(
			&why, EPIPE, "prochub-bus ended with status %d", WEXITSTATUS(status));
	if (link->callbacks.down)
		link->callbacks.down(link->arg, why.text);
}

static int process_watch(struct ph_buslink *link)
{
	link->on_read = event_new(link->base, link->fd, EV_READ | EV_PERSIST, on_read, link);
	link->on_write = event_new(link->base, link->fd, EV_WRITE, on_write, link);
	link->on_exit = event_new(link->base, link->pidfd, EV_READ, on_exit_event, link);
	if (link->on_read && link->on_write && link->on_exit &&
		event_add(link->on_read, NULL) == 0 && event_add(link->on_exit, NULL) == 0)
		return 0;
	ph_buslink_put_down(link);
	(void)ph_buslink_reap(link);
	return -ENOMEM;
}

/* Tells a new process all addresses, in front of the messages that still wait. */
static void process_tell(struct ph_buslink *link)
{
	struct ph_busqueue waiting = link->queue;
	struct ph_busframe_item *frame;

	memset(&link->queue, 0, sizeof link->queue);
	if (link->broadcast[0])
		ph_buslink_control(link, PH_BUSFRAME_BIND, 0, link->broadcast, link->directed);
	for (struct ph_buslink_peer *p = link->peers; p; p = p->hh.next)
		ph_buslink_control(link, PH_BUSFRAME_DIAL, p->id, p->broadcast, p->directed);
	while ((frame = ph_busqueue_pop(&waiting)))
		ph_busqueue_append(&link->queue, frame);
	ph_buslink_write(link);
}

int ph_buslink_start(struct ph_buslink *link)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return -errno;
	link->started_at_ms = now_ms();
	int rc = ph_helper_start(
		link->program, "prochub-bus", NULL, pair[1], &link->pid, &link->pidfd);
	close(pair[1]);
	if (rc < 0) {
		close(pair[0]);
		return rc;
	}
	link->fd = pair[0];
	link->stats.starts++;
	return process_watch(link);
}

/* ---- timers */

static void on_start_timer(evutil_socket_t fd, short what, void *arg)
{
	struct ph_buslink *link = arg;

	(void)fd;
	(void)what;
	if (ph_buslink_start(link) < 0)
		start_later(link);
	else
		process_tell(link);
}

static void on_bind_timer(evutil_socket_t fd, short what, void *arg)
{
	struct ph_buslink *link = arg;

	(void)fd;
	(void)what;
	ph_buslink_control(link, PH_BUSFRAME_BIND, 0, link->broadcast, link->directed);
}

static void tell_dropped(struct ph_buslink *link, uint32_t id, uint64_t *count)
{
	uint64_t n = *count;

	*count = 0;
	if (n && link->callbacks.dropped)
		link->callbacks.dropped(link->arg, id, n);
}

static void on_drops_timer(evutil_socket_t fd, short what, void *arg)
{
	struct ph_buslink *link = arg;
	uint32_t ids[PH_BUS_PEERS_MAX];
	size_t n = 0;

	(void)fd;
	(void)what;
	tell_dropped(link, 0, &link->casts_dropped);
	/* the callback may hang up: so the table is not walked while it is called */
	for (struct ph_buslink_peer *p = link->peers; p; p = p->hh.next)
		if (p->dropped)
			ids[n++] = p->id;
	for (size_t i = 0; i < n; i++) {
		struct ph_buslink_peer *peer = ph_buslink_find(link, ids[i]);
		if (peer)
			tell_dropped(link, peer->id, &peer->dropped);
	}
}

int ph_buslink_timers(struct ph_buslink *link)
{
	link->start_timer = evtimer_new(link->base, on_start_timer, link);
	link->bind_timer = evtimer_new(link->base, on_bind_timer, link);
	link->drops_timer = evtimer_new(link->base, on_drops_timer, link);
	return link->start_timer && link->bind_timer && link->drops_timer ? 0 : -ENOMEM;
}
