#include "io/output.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "io/clock.h"
#include "io/output_int.h"

#define EVENTS 64
#define TURN_FIFOS 8	   /* looked at before the next look who else has something */
#define PARTIAL_BYTES 4096 /* half a line of so many bytes is not looked at all the time */
#define PARTIAL_MS 5
#define ENDED_MAX 16 /* FIFOs of one instance, but for the newest of workers that have ended */
#define PAUSE_MAX_MS 1024

/* ---- news */

struct ph_output_news *ph_output_tell(struct ph_output *output, enum ph_output_news_kind kind)
{
	struct ph_output_news *news = calloc(1, sizeof *news);
	if (!news)
		return NULL;
	news->kind = kind;
	news->fd = news->made_fd = -1;
	*output->news_tail = news;
	output->news_tail = &news->next;
	return news;
}

void ph_output_note(struct ph_output *output, bool bad, const char *format, ...)
{
	struct ph_output_news *news = ph_output_tell(output, PH_OUTPUT_NOTE);
	va_list args;
	if (!news)
		return;
	news->bad = bad;
	va_start(args, format);
	if (vasprintf(&news->text, format, args) < 0)
		news->text = NULL;
	va_end(args);
}

void ph_output_news_free(struct ph_output_news *news)
{
	while (news) {
		struct ph_output_news *next = news->next;
		struct ph_output_line *line = news->lines, *after;
		for (; line; line = after) {
			after = line->next;
			free(line);
		}
		free(news->text);
		if (news->fd >= 0)
			close(news->fd);
		if (news->made_fd >= 0)
			close(news->made_fd);
		free(news);
		news = next;
	}
}

struct ph_output_news *ph_output_news(struct ph_output *output)
{
	struct ph_output_news *news = output->news;
	output->news = NULL;
	output->news_tail = &output->news;
	return news;
}

/* ---- FIFOs */

static void enqueue(struct ph_output *output, struct ph_output_fifo *fifo)
{
	if (fifo->queued)
		return;
	fifo->queued = true;
	fifo->run_next = NULL;
	*output->tail = fifo;
	output->tail = &fifo->run_next;
}

static void fifo_free(struct ph_output *output, struct ph_output_fifo *fifo)
{
	DL_DELETE(output->fifos, fifo);
	output->n_fifos--;
	ph_output_sink_drop(output, fifo);
	fifo->memory->fifos--;
	output->changed = true;
	close(fifo->fd);
	free(fifo->path);
	free(fifo);
}

static void fifo_end(struct ph_output *output, struct ph_output_fifo *fifo)
{
	(void)unlink(fifo->path);
	fifo_free(output, fifo);
}

static bool hung_up(int fd)
{
	struct pollfd look = {.fd = fd, .events = POLLIN};
	return poll(&look, 1, 0) > 0 && (look.revents & POLLHUP);
}

/* Nothing can be written to it: its writer waits. Only a writing end can tell. */
static bool is_full(int fd)
{
	char path[64];
	(void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	int end = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	struct pollfd look = {.fd = end, .events = POLLOUT};
	bool room = end < 0 || (poll(&look, 1, 0) > 0 && (look.revents & POLLOUT));
	if (end >= 0)
		close(end);
	return !room;
}

/* What is at its head, which stays there: how many bytes, 0 at the end, or -errno. */
static ssize_t peek(struct ph_output *output, const struct ph_output_fifo *fifo)
{
	ssize_t n = tee(fifo->fd, output->peek[1], PH_OUTPUT_TURN, SPLICE_F_NONBLOCK);
	ssize_t got = 0;
	if (n <= 0)
		return n < 0 ? -errno : 0;
	while (got < n) {
		ssize_t r = read(output->peek[0], output->buffer + got, (size_t)(n - got));
		if (r <= 0 && errno != EINTR)
			return -EIO;
		got += r > 0 ? r : 0;
	}
	return n;
}

/* Bytes of whole lines of which none is too long. */
static size_t whole_lines(const char *bytes, size_t n)
{
	struct ph_piece piece;
	size_t at = 0;
	while (at < n && ph_piece_next(bytes + at, n - at, false, false, &piece) && !piece.cut)
		at += piece.taken;
	return at;
}

/* What is at the head of a FIFO, and whether more can come. */
struct look {
	const char *bytes;
	size_t n;
	bool end, full;
};

/* `n` bytes of it have gone: their lines are remembered, each once. */
static void remember(struct ph_output_fifo *fifo, const struct look *look, size_t n)
{
	struct ph_piece piece;
	size_t at = fifo->skip < n ? fifo->skip : n;
	fifo->skip -= at;
	while (at < n &&
		ph_piece_next(look->bytes + at, look->n - at, look->end, look->full, &piece)) {
		ph_output_remember(fifo, &piece);
		at += piece.taken;
	}
	if (at > n)
		fifo->skip += at - n;
}

static ssize_t deliver(struct ph_output_fifo *fifo, struct look *look)
{
	struct ph_piece piece;
	size_t lines = whole_lines(look->bytes, look->n);
	ssize_t took = 0;
	if (lines)
		took = ph_output_sink_lines(fifo, look->bytes, lines);
	else if (ph_piece_next(look->bytes, look->n, look->end, look->full, &piece))
		took = ph_output_sink_piece(fifo, &piece);
	if (took <= 0)
		return took;
	ph_output_sink_works(fifo);
	fifo->partial = 0;
	remember(fifo, look, (size_t)took);
	look->bytes += took;
	look->n -= (size_t)took;
	return took;
}

/*
 * Half a line stays where it is. Where there is much of it, it is not looked at for each byte. One
 * that is in the middle of a large write makes no event before its end, unless the FIFO was empty:
 * so it is looked at again, less and less often as long as nothing changes.
 */
static bool half_line(struct ph_output *output, struct ph_output_fifo *fifo, struct look *look)
{
	int there = 0;
	size_t before = fifo->partial;
	bool unseen = fifo->unseen;
	fifo->partial = look->n;
	fifo->unseen = false;
	fifo->pause_ms = before != look->n		 ? 1
			 : fifo->pause_ms < PAUSE_MAX_MS ? 2 * fifo->pause_ms
							 : PAUSE_MAX_MS;
	fifo->look_at = output->now_ms + fifo->pause_ms;
	if (look->n < PARTIAL_BYTES)
		return true;
	look->full = is_full(fifo->fd);
	(void)ioctl(fifo->fd, FIONREAD, &there);
	fifo->unseen = (size_t)there > look->n;
	/* more may have come since the look, which has the end of the line: so it is looked at
	 * first; or it is more than can be seen: so many small pieces are not copied */
	if (fifo->unseen)
		look->full = unseen && before == look->n;
	fifo->not_before = output->now_ms + PARTIAL_MS;
	return !look->full;
}

static void serve(struct ph_output *output, struct ph_output_fifo *fifo)
{
	struct look look = {.bytes = output->buffer, .end = hung_up(fifo->fd)};
	ssize_t n = peek(output, fifo), took = 1;
	if (n == 0 || (n < 0 && n != -EAGAIN && n != -EINTR)) {
		fifo_end(output, fifo);
		return;
	}
	if (n < 0)
		return;
	look.n = (size_t)n;
	if (look.end) {
		int there = 0;
		look.end = ioctl(fifo->fd, FIONREAD, &there) == 0 && there == n;
	}
	while (look.n && (took = deliver(fifo, &look)) > 0)
		;
	if (look.n && took == 0 && !half_line(output, fifo, &look))
		took = deliver(fifo, &look);
	if (took < 0)
		ph_output_sink_failed(fifo, (int)-took);
	/* an edge is seen once: what is left, or has come since, is to be looked for */
	if (took != 0)
		fifo->look_at = 0;
	if (look.n || took)
		enqueue(output, fifo);
}

/* Many may wait for one disk or reader: it is asked once for all of them. */
static uint64_t due(const struct ph_output_fifo *fifo)
{
	if (fifo->ended)
		return 0;
	uint64_t at = fifo->not_before > fifo->look_at ? fifo->not_before : fifo->look_at;
	return at > fifo->sink->not_before ? at : fifo->sink->not_before;
}

static void turn(struct ph_output *output)
{
	struct ph_output_fifo *fifo, *later = NULL, **later_tail = &later;
	for (int served = 0; served < TURN_FIFOS && (fifo = output->head);) {
		output->head = fifo->run_next;
		if (!output->head)
			output->tail = &output->head;
		if (due(fifo) > output->now_ms) {
			*later_tail = fifo;
			later_tail = &fifo->run_next;
			fifo->run_next = NULL;
			continue;
		}
		fifo->queued = false;
		if (fifo->ended)
			fifo_end(output, fifo);
		else
			serve(output, fifo);
		served++;
	}
	if (later) {
		*output->tail = later;
		output->tail = later_tail;
	}
}

/* ---- waiting */

static int time_left(const struct ph_output *output, int timeout_ms)
{
	uint64_t now = ph_clock_now_ms();
	for (const struct ph_output_fifo *fifo = output->head; fifo; fifo = fifo->run_next) {
		uint64_t left = due(fifo) > now ? due(fifo) - now : 0;
		if (!left)
			return 0;
		if (timeout_ms < 0 || left < (uint64_t)timeout_ms)
			timeout_ms = (int)left;
	}
	return timeout_ms;
}

void ph_output_pump(struct ph_output *output, int timeout_ms)
{
	struct epoll_event events[EVENTS];
	int n = epoll_wait(output->epoll, events, EVENTS, time_left(output, timeout_ms));
	output->now_ms = ph_clock_now_ms();
	for (int i = 0; i < n; i++) {
		struct ph_output_fifo *fifo = events[i].data.ptr;
		uint64_t count;
		if (fifo) {
			fifo->look_at = 0;
			enqueue(output, fifo);
		} else if (read(output->wake, &count, sizeof count) < 0) {
			continue; /* somebody else was faster */
		}
	}
	turn(output);
	ph_output_watches_serve(output);
}

void ph_output_wake(struct ph_output *output)
{
	const uint64_t one = 1;
	ssize_t n = write(output->wake, &one, sizeof one);
	(void)n; /* the counter never gets near its end */
}

/* ---- orders */

struct ph_output_order *ph_output_order_new(enum ph_output_order_kind kind)
{
	struct ph_output_order *order = calloc(1, sizeof *order);
	if (order)
		*order = (struct ph_output_order){.kind = kind, .fd = -1, .file_fd = -1};
	return order;
}

void ph_output_order_free(struct ph_output_order *order)
{
	if (order->fd >= 0)
		close(order->fd);
	if (order->file_fd >= 0)
		close(order->file_fd);
	free(order->fifo);
	free(order->file);
	free(order->made);
	free(order);
}

/* A child that ends again and again while nothing can be written is not to fill the daemon. */
static void limit(struct ph_output *output, const struct ph_output_memory *memory)
{
	struct ph_output_fifo *fifo;
	if (memory->fifos <= ENDED_MAX)
		return;
	DL_FOREACH (output->fifos, fifo) {
		if (fifo->memory != memory || fifo->ended || !hung_up(fifo->fd))
			continue;
		ph_output_note(output, true,
			"%s/%u: the output of a worker that ended long ago cannot be written, and "
			"is lost",
			fifo->key.child.s, fifo->key.instance);
		fifo->ended = true;
		enqueue(output, fifo);
		return;
	}
}

static int watch_fifo(struct ph_output *output, struct ph_output_fifo *fifo)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = fifo};
	return epoll_ctl(output->epoll, EPOLL_CTL_ADD, fifo->fd, &event) < 0 ? -errno : 0;
}

static void open_fifo(struct ph_output *output, struct ph_output_order *order)
{
	struct ph_output_memory *memory = ph_output_memory_get(output, &order->key);
	struct ph_output_fifo *fifo = memory ? calloc(1, sizeof *fifo) : NULL;
	struct ph_output_sink *sink = fifo ? ph_output_sink_get(output, order) : NULL;
	if (!sink) {
		free(fifo);
		ph_output_note(output, true, "%s/%u: no memory for its output", order->key.child.s,
			order->key.instance);
		return;
	}
	*fifo = (struct ph_output_fifo){.output = output,
		.key = order->key,
		.fd = order->fd,
		.path = order->fifo,
		.stream = order->stream,
		.sink = sink,
		.memory = memory};
	order->fd = -1;
	order->fifo = NULL;
	free(memory->file);
	memory->file = order->to == PH_OUTPUT_FILE ? strdup(order->file) : NULL;
	memory->keep = order->keep;
	memory->fifos++;
	DL_APPEND(output->fifos, fifo);
	ph_output_sink_met(output, fifo);
	output->n_fifos++;
	output->changed = true;
	int error = watch_fifo(output, fifo);
	if (error) {
		ph_output_note(output, true, "%s/%u: its output cannot be read: %s",
			order->key.child.s, order->key.instance, strerror(-error));
		fifo_free(output, fifo);
		return;
	}
	enqueue(output, fifo);
	limit(output, memory);
}

void ph_output_order(struct ph_output *output, struct ph_output_order *order)
{
	switch (order->kind) {
	case PH_OUTPUT_OPEN:
		open_fifo(output, order);
		break;
	case PH_OUTPUT_OPTIONS:
		ph_output_sink_options(output, order);
		break;
	case PH_OUTPUT_REOPEN:
		ph_output_files_look(output);
		break;
	case PH_OUTPUT_COMPRESSED:
		ph_output_compressed(output, order);
		break;
	case PH_OUTPUT_WATCH:
	case PH_OUTPUT_CREDIT:
	case PH_OUTPUT_UNWATCH:
		ph_output_watch_order(output, order);
		break;
	}
	ph_output_order_free(order);
}

/* ---- life */

static int open_all(struct ph_output *output)
{
	struct epoll_event event = {.events = EPOLLIN};
	output->epoll = epoll_create1(EPOLL_CLOEXEC);
	output->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (output->epoll < 0 || output->wake < 0 ||
		pipe2(output->peek, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	/* so many slots as a FIFO may have; fewer only make smaller turns */
	(void)fcntl(output->peek[0], F_SETPIPE_SZ, (int)PH_OUTPUT_TURN);
	return epoll_ctl(output->epoll, EPOLL_CTL_ADD, output->wake, &event) < 0 ? -errno : 0;
}

int ph_output_new(const struct ph_output_settings *settings, struct ph_output **ret)
{
	struct ph_output *output = calloc(1, sizeof *output);
	if (!output)
		return -ENOMEM;
	output->epoll = output->wake = output->peek[0] = output->peek[1] = -1;
	output->node = settings->node;
	output->tail = &output->head;
	output->news_tail = &output->news;
	output->now_ms = ph_clock_now_ms();
	output->buffer = malloc(PH_OUTPUT_TURN + 1);
	int error = ph_output_sinks_init(output, settings);
	if (!error)
		error = output->buffer ? open_all(output) : -ENOMEM;
	if (error)
		ph_output_free(output);
	else
		*ret = output;
	return error;
}

void ph_output_free(struct ph_output *output)
{
	while (output->fifos)
		fifo_free(output, output->fifos);
	const int fds[] = {output->epoll, output->wake, output->peek[0], output->peek[1]};
	for (size_t i = 0; i < 4; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	ph_output_watches_free(output);
	ph_output_memories_free(output);
	ph_output_sinks_fini(output);
	ph_output_news_free(output->news);
	free(output->buffer);
	free(output);
}

size_t ph_output_open_count(const struct ph_output *output)
{
	return output->n_fifos;
}
