/*
 * stream_world.h - two daemons' streams in one process, with workers and a bad line between them.
 *
 * Side 0 is the source, side 1 the target. Streams are numbered; workers are ends of socketpairs
 * driven by the same loop; the line is a relay that cuts, swallows or flips where it is told.
 */
#ifndef PH_TEST_STREAM_WORLD_H
#define PH_TEST_STREAM_WORLD_H

#include <arpa/inet.h>
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "io/stream.h"
#include "proto/seal.h"

#define STREAMS_MAX 256
#define ROUNDS_MAX 4
#define LINKS_MAX 512
#define PATTERN_BYTES 1048573u /* prime: no two blocks begin alike */
#define NEVER UINT64_MAX

struct record { /* what one side was told of one stream */
	int reads, rounds, progresses, dial_failures, failures;
	uint64_t read_bytes[ROUNDS_MAX], bytes[ROUNDS_MAX], digest[ROUNDS_MAX];
	uint64_t progress_bytes;
	int code;
	char text[PH_REASON_SIZE];
};

struct worker { /* one data connection: writes `total` bytes, or reads to the end */
	struct world *world;
	struct event *ev;
	bool writes, eof;
	uint64_t total, bytes;
	uint32_t seed;
	unsigned int pause_us; /* a reader that sleeps after each read */
	XXH3_state_t *hash;
	struct worker *next;
};

struct link {
	struct line *line;
	struct bufferevent *end[2]; /* of the source, of the target */
	uint64_t passed[2];
	uint64_t cut_at[2]; /* after so many bytes from that end */
	uint64_t flip_at;   /* this byte from the dialer */
	bool swallow;
};

struct line {
	struct world *world;
	int fd;
	uint16_t port, to;
	struct event *ev;
	int n;
	struct link links[LINKS_MAX];
	/* for the links to come; [n % n_cuts], 0 entries: never */
	const uint64_t (*cuts)[2];
	int n_cuts;
	bool cuts_repeat;
	uint64_t flip_at;
};

struct world {
	struct event_base *base;
	struct ph_streams *side[2];
	struct record rec[2][STREAMS_MAX]; /* [side][number of the stream] */
	struct line *line;
	struct worker *workers;
	int fds; /* open before it began */
};

static inline struct ph_id id_of(int k)
{
	struct ph_id id = {{(uint8_t)k, 0, 7}};
	return id;
}

static inline void ticket_of(int k, uint8_t ticket[PH_STREAM_TICKET_BYTES])
{
	memset(ticket, k ^ 0x5a, PH_STREAM_TICKET_BYTES);
}

static inline int count_fds(void)
{
	int n = 0;
	DIR *dir = opendir("/proc/self/fd");
	ck_assert_ptr_nonnull(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static inline int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static inline const char *address_of(uint16_t port)
{
	static char text[64];
	snprintf(text, sizeof(text), "tcp://127.0.0.1:%u", port);
	return text;
}

/* ---- what is told */

struct told {
	struct world *world;
	int side;
};

static inline struct record *told_record(void *arg, const struct ph_id *id)
{
	struct told *told = arg;
	struct record *r = &told->world->rec[told->side][id->b[0]];
	ck_assert_int_eq(r->failures, 0); /* nothing after `failed` */
	return r;
}

static inline void on_source_read(void *arg, const struct ph_id *id, uint32_t round, uint64_t bytes)
{
	struct record *r = told_record(arg, id);
	ck_assert_int_eq(r->reads, (int)round);
	r->read_bytes[r->reads++] = bytes;
}

static inline void on_round(
	void *arg, const struct ph_id *id, uint32_t round, uint64_t bytes, uint64_t digest)
{
	struct record *r = told_record(arg, id);
	ck_assert_int_eq(r->rounds, (int)round);
	ck_assert_int_lt(r->rounds, ROUNDS_MAX);
	r->bytes[round] = bytes;
	r->digest[round] = digest;
	r->rounds++;
}

static inline void on_progress(void *arg, const struct ph_id *id, uint64_t bytes)
{
	struct record *r = told_record(arg, id);
	ck_assert_uint_ge(bytes, r->progress_bytes);
	r->progress_bytes = bytes;
	r->progresses++;
}

static inline void on_dial_failed(void *arg, const struct ph_id *id)
{
	told_record(arg, id)->dial_failures++;
}

static inline void on_failed(void *arg, const struct ph_id *id, int code, const char *text)
{
	struct record *r = told_record(arg, id);
	r->failures++;
	r->code = code;
	snprintf(r->text, sizeof(r->text), "%s", text);
}

static const struct ph_stream_ops world_ops = {
	.source_read = on_source_read,
	.source_round = on_round,
	.target_round = on_round,
	.progress = on_progress,
	.dial_failed = on_dial_failed,
	.failed = on_failed,
};

/* ---- workers */

static uint8_t world_pattern[2 * PATTERN_BYTES];

static inline void worker_end(struct worker *k)
{
	if (!k->ev)
		return;
	close(event_get_fd(k->ev));
	event_free(k->ev);
	k->ev = NULL;
}

static inline void worker_write(struct worker *k, int fd)
{
	const uint8_t *from = world_pattern + (k->bytes + k->seed) % PATTERN_BYTES;
	uint64_t left = k->total - k->bytes;
	ssize_t n = left ? send(fd, from, left > 262144 ? 262144 : (size_t)left,
				   MSG_NOSIGNAL | MSG_DONTWAIT)
			 : 0;
	if (n < 0 && errno == EAGAIN)
		return;
	if (n > 0) {
		XXH3_64bits_update(k->hash, from, (size_t)n);
		k->bytes += (uint64_t)n;
	}
	if (n < 0 || k->bytes == k->total)
		worker_end(k);
}

static inline void worker_read(struct worker *k, int fd)
{
	static uint8_t buffer[262144];
	ssize_t n = read(fd, buffer, sizeof(buffer));
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		k->eof = n == 0;
		worker_end(k);
		return;
	}
	XXH3_64bits_update(k->hash, buffer, (size_t)n);
	k->bytes += (uint64_t)n;
}

static inline void on_worker(evutil_socket_t fd, short what, void *arg)
{
	struct worker *k = arg;
	(void)what;
	if (k->writes)
		worker_write(k, fd);
	else
		worker_read(k, fd);
	if (k->ev && k->pause_us) {
		struct timeval pause = {.tv_usec = k->pause_us};
		event_add(k->ev, &pause);
	}
}

static inline struct worker *worker_new(struct world *w, bool writes, int fds[2])
{
	struct worker *k = calloc(1, sizeof(*k));
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	fcntl(fds[1], F_SETFL, O_NONBLOCK);
	k->world = w;
	k->writes = writes;
	k->hash = XXH3_createState();
	XXH3_64bits_reset(k->hash);
	k->next = w->workers;
	w->workers = k;
	return k;
}

/* A writer of `total` bytes, whose other end is not yet given to anybody. */
static inline struct worker *writer_make(
	struct world *w, uint64_t total, uint32_t seed, int *ret_fd)
{
	int fds[2];
	struct worker *k = worker_new(w, true, fds);
	k->total = total;
	k->seed = seed;
	k->ev = event_new(w->base, fds[1], EV_WRITE | EV_PERSIST, on_worker, k);
	event_add(k->ev, NULL);
	*ret_fd = fds[0];
	return k;
}

static inline struct worker *writer_start(struct world *w, int k, uint32_t round, uint64_t total)
{
	int fd;
	struct ph_id id = id_of(k);
	struct worker *o = writer_make(w, total, (uint32_t)k * 4099 + round, &fd);
	ck_assert_int_eq(ph_stream_feed(w->side[0], &id, round, fd, NULL, 0), 0);
	return o;
}

static inline struct worker *reader_make(struct world *w, unsigned int pause_us, int *ret_fd)
{
	int fds[2];
	struct worker *k = worker_new(w, false, fds);
	k->pause_us = pause_us;
	k->ev = event_new(w->base, fds[1], (short)(pause_us ? EV_TIMEOUT : EV_READ | EV_PERSIST),
		on_worker, k);
	struct timeval pause = {.tv_usec = pause_us};
	event_add(k->ev, pause_us ? &pause : NULL);
	*ret_fd = fds[0];
	return k;
}

static inline struct worker *reader_start(
	struct world *w, int k, uint32_t round, unsigned int pause_us)
{
	int fd;
	struct ph_id id = id_of(k);
	struct worker *n = reader_make(w, pause_us, &fd);
	ck_assert_int_eq(ph_stream_drain(w->side[1], &id, round, fd), 0);
	return n;
}

/* ---- the line */

static inline void link_cut(struct link *l)
{
	for (int i = 0; i < 2; i++)
		if (l->end[i])
			bufferevent_free(l->end[i]);
	l->end[0] = l->end[1] = NULL;
}

static inline void on_link_read(struct bufferevent *bev, void *arg)
{
	struct link *l = arg;
	static uint8_t buffer[65536];
	int from = bev == l->end[0] ? 0 : 1;
	size_t n;
	while ((n = bufferevent_read(bev, buffer, sizeof(buffer))) > 0) {
		uint64_t room = l->cut_at[from] - l->passed[from];
		bool cut = n >= room;
		if (cut)
			n = (size_t)room;
		if (from == 0 && l->flip_at >= l->passed[0] && l->flip_at - l->passed[0] < n)
			buffer[l->flip_at - l->passed[0]] ^= 0x10;
		l->passed[from] += n;
		if (!l->swallow)
			bufferevent_write(l->end[!from], buffer, n);
		if (cut) {
			/* what the cut let through shall arrive */
			int fd = bufferevent_getfd(l->end[!from]);
			evbuffer_write(bufferevent_get_output(l->end[!from]), fd);
			link_cut(l);
			return;
		}
	}
}

static inline void on_link_event(struct bufferevent *bev, short what, void *arg)
{
	struct link *l = arg;
	(void)bev;
	if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
		link_cut(l);
}

static inline void on_line(evutil_socket_t listen_fd, short what, void *arg)
{
	struct line *line = arg;
	(void)what;
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(line->to)};
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_lt(line->n, LINKS_MAX);
	struct link *l = &line->links[line->n];
	bool cuts = line->n_cuts && (line->cuts_repeat || line->n < line->n_cuts);
	for (int i = 0; i < 2; i++)
		l->cut_at[i] = cuts ? line->cuts[line->n % line->n_cuts][i] : NEVER;
	l->flip_at = line->n == 0 ? line->flip_at : NEVER;
	l->line = line;
	line->n++;
	int flags = BEV_OPT_CLOSE_ON_FREE;
	l->end[0] = bufferevent_socket_new(line->world->base, fd, flags);
	l->end[1] = bufferevent_socket_new(line->world->base, -1, flags);
	for (int i = 0; i < 2; i++) {
		bufferevent_setcb(l->end[i], on_link_read, NULL, on_link_event, l);
		bufferevent_enable(l->end[i], EV_READ | EV_WRITE);
		bufferevent_setwatermark(l->end[i], EV_READ, 0, 262144);
	}
	bufferevent_socket_connect(l->end[1], (struct sockaddr *)&to, sizeof(to));
}

static inline struct line *line_new(struct world *w)
{
	struct line *line = calloc(1, sizeof(*line));
	struct sockaddr_in at = {.sin_family = AF_INET};
	socklen_t n = sizeof(at);
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	line->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(line->fd, (struct sockaddr *)&at, n), 0);
	ck_assert_int_eq(listen(line->fd, 128), 0);
	getsockname(line->fd, (struct sockaddr *)&at, &n);
	line->world = w;
	line->port = ntohs(at.sin_port);
	line->to = ph_streams_port(w->side[1]);
	line->flip_at = NEVER;
	line->ev = event_new(w->base, line->fd, EV_READ | EV_PERSIST, on_line, line);
	event_add(line->ev, NULL);
	w->line = line;
	return line;
}

/* Nobody answers there any more, and what stood is cut. */
static inline void line_close(struct world *w)
{
	if (!w->line)
		return;
	for (int i = 0; i < w->line->n; i++)
		link_cut(&w->line->links[i]);
	event_free(w->line->ev);
	close(w->line->fd);
	free(w->line);
	w->line = NULL;
}

/* ---- the world */

static inline struct world *world_new(enum ph_stream_seal seal)
{
	static struct told told[2];
	struct world *w = calloc(1, sizeof(*w));
	struct ph_err err;
	for (size_t i = 0; i < sizeof(world_pattern); i++)
		world_pattern[i] = (uint8_t)(ph_mix64(i % PATTERN_BYTES) >> 20);
	w->fds = count_fds();
	w->base = event_base_new();
	for (int i = 0; i < 2; i++) {
		told[i] = (struct told){w, i};
		w->side[i] = ph_streams_new(w->base, NULL, seal, &world_ops, &told[i]);
		ck_assert_ptr_nonnull(w->side[i]);
		ck_assert_int_eq(ph_streams_listen(w->side[i], "tcp://127.0.0.1:0", &err), 0);
	}
	return w;
}

static inline void world_free(struct world *w)
{
	ph_streams_free(w->side[0]);
	ph_streams_free(w->side[1]);
	while (w->workers) {
		struct worker *k = w->workers;
		w->workers = k->next;
		worker_end(k);
		XXH3_freeState(k->hash);
		free(k);
	}
	line_close(w);
	event_base_free(w->base);
	ck_assert_int_eq(count_fds(), w->fds);
	free(w);
}

/* The source, on side 0, dials `port`; the target on side 1 expects it. */
static inline void world_begin(struct world *w, int k, uint16_t port, uint64_t max_bytes)
{
	struct ph_id id = id_of(k);
	uint8_t ticket[PH_STREAM_TICKET_BYTES];
	ticket_of(k, ticket);
	ck_assert_int_eq(ph_stream_expect(w->side[1], &id, ticket, max_bytes), 0);
	ck_assert_int_eq(ph_stream_send(w->side[0], &id, ticket, address_of(port)), 0);
}

/* Turns the loop until done(w, k), at most `ms`; returns whether it was. */
static inline bool world_run(struct world *w, bool (*done)(struct world *, int), int k, int ms)
{
	int64_t end_ms = now_ms() + ms;
	while (!done(w, k)) {
		struct timeval nap = {.tv_usec = 10000};
		if (now_ms() > end_ms)
			return false;
		event_base_loopexit(w->base, &nap);
		event_base_loop(w->base, EVLOOP_ONCE);
	}
	return true;
}

static inline bool world_never(struct world *w, int k)
{
	(void)w;
	(void)k;
	return false;
}

/* Asserts that the round came over whole, on both sides and in both workers. */
static inline void round_equal(
	struct world *w, int k, uint32_t round, struct worker *o, struct worker *n)
{
	uint64_t digest = XXH3_64bits_digest(o->hash);
	ck_assert_uint_eq(o->bytes, o->total);
	ck_assert_uint_eq(n->bytes, o->total);
	ck_assert(n->eof);
	ck_assert_uint_eq(XXH3_64bits_digest(n->hash), digest);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_gt(w->rec[i][k].rounds, (int)round);
		ck_assert_uint_eq(w->rec[i][k].bytes[round], o->total);
		ck_assert_uint_eq(w->rec[i][k].digest[round], digest);
	}
	ck_assert_uint_eq(w->rec[0][k].read_bytes[round], o->total);
}

#endif
