/* stream_net.c - addresses, connections, listening and dialing. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/stream_int.h"

/* as many may dial at once: the largest migrations_max; past it a dial takes a second, and fails */
#define BACKLOG 1024
#define ACCEPTS_A_TURN 16

static void on_read(evutil_socket_t fd, short what, void *arg);
static void on_write(evutil_socket_t fd, short what, void *arg);

/* ---- addresses */

/* Splits "tcp://host:port"; the host without its brackets. */
static int address_split(const char *address, char host[PH_ADDRESS_SIZE], uint16_t *ret_port)
{
	static const char scheme[] = "tcp://";
	if (!address || strncmp(address, scheme, sizeof(scheme) - 1) != 0)
		return -EINVAL;
	address += sizeof(scheme) - 1;
	const char *colon = strrchr(address, ':');
	size_t n = colon ? (size_t)(colon - address) : 0;
	size_t digits = colon ? strspn(colon + 1, "0123456789") : 0;
	if (n == 0 || n >= PH_ADDRESS_SIZE || digits < 1 || digits > 5 || colon[1 + digits])
		return -EINVAL;
	unsigned long port = strtoul(colon + 1, NULL, 10);
	if (port > UINT16_MAX)
		return -EINVAL;
	if (address[0] == '[' && address[n - 1] == ']' && n > 2) {
		address++;
		n -= 2;
	}
	memcpy(host, address, n);
	host[n] = '\0';
	*ret_port = (uint16_t)port;
	return 0;
}

int ph_stream_parse(const char *address, struct sockaddr_storage *ret, socklen_t *ret_length)
{
	char host[PH_ADDRESS_SIZE];
	uint16_t port;
	if (address_split(address, host, &port) < 0)
		return -EINVAL;
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	memset(ret, 0, sizeof(*ret));
	if (strcmp(host, "*") == 0 || inet_pton(AF_INET, host, &v4.sin_addr) == 1) {
		memcpy(ret, &v4, sizeof(v4));
		*ret_length = sizeof(v4);
		return 0;
	}
	if (inet_pton(AF_INET6, host, &v6.sin6_addr) == 1) {
		memcpy(ret, &v6, sizeof(v6));
		*ret_length = sizeof(v6);
		return 0;
	}
	return -EINVAL;
}

int ph_stream_address(const char *address, char ret_address[PH_ADDRESS_SIZE])
{
	char host[PH_ADDRESS_SIZE], text[2 * PH_ADDRESS_SIZE];
	uint16_t port;
	if (address_split(address, host, &port) < 0 || port > UINT16_MAX - 2)
		return -EINVAL;
	bool v6 = strchr(host, ':') != NULL;
	int n = snprintf(text, sizeof(text), "tcp://%s%s%s:%u", v6 ? "[" : "", host, v6 ? "]" : "",
		port + 2u);
	if (n < 0 || n >= PH_ADDRESS_SIZE)
		return -EINVAL;
	memcpy(ret_address, text, (size_t)n + 1);
	return 0;
}

/* ---- connections */

static void guest_link(struct ph_stream_conn *c)
{
	struct ph_streams *streams = c->streams;
	c->prev = streams->guests_tail;
	if (c->prev)
		c->prev->next = c;
	else
		streams->guests = c;
	streams->guests_tail = c;
	streams->n_guests++;
}

void ph_stream_guest_unlink(struct ph_stream_conn *c)
{
	struct ph_streams *streams = c->streams;
	*(c->prev ? &c->prev->next : &streams->guests) = c->next;
	*(c->next ? &c->next->prev : &streams->guests_tail) = c->prev;
	c->prev = c->next = NULL;
	streams->n_guests--;
}

/* Takes `fd`. `s` NULL: a guest. */
static struct ph_stream_conn *conn_new(struct ph_streams *streams, struct ph_stream *s, int fd)
{
	struct ph_stream_conn *c = calloc(1, sizeof(*c));
	if (!c) {
		close(fd);
		return NULL;
	}
	/*
	 * No TCP_USER_TIMEOUT: it also counts the time for which a living peer's window is closed
	 * because its worker reads slowly. Pings and PH_STREAM_SILENCE_MS find the half-open ones.
	 */
	int on = 1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	c->streams = streams;
	c->stream = s;
	c->fd = fd;
	c->state = s ? PH_STREAM_CONN_DIALING : PH_STREAM_CONN_GUEST;
	c->since_ms = c->heard_ms = c->sent_ms = ph_stream_now_ms();
	c->ev_read = event_new(streams->base, fd, EV_READ | EV_PERSIST, on_read, c);
	c->ev_write = event_new(streams->base, fd, EV_WRITE | EV_PERSIST, on_write, c);
	if (!s)
		guest_link(c);
	if (!c->ev_read || !c->ev_write) {
		ph_stream_conn_free(c);
		return NULL;
	}
	return c;
}

void ph_stream_conn_free(struct ph_stream_conn *c)
{
	if (!c)
		return;
	if (!c->stream)
		ph_stream_guest_unlink(c);
	if (c->ev_read)
		event_free(c->ev_read);
	if (c->ev_write)
		event_free(c->ev_write);
	close(c->fd);
	free(c->in.body);
	free(c->out.scratch);
	ph_seal_wipe(c, sizeof(*c));
	free(c);
}

int ph_stream_conn_cut(struct ph_stream_conn *c, const char *format, ...)
{
	if (!c->cut && c->stream) {
		va_list ap;
		va_start(ap, format);
		vsnprintf(c->stream->cut_text, sizeof(c->stream->cut_text), format, ap);
		va_end(ap);
	}
	c->cut = true;
	return -1;
}

/* ---- from the loop */

static void on_guest(struct ph_stream_conn *c)
{
	struct ph_streams *streams = c->streams;
	if (ph_stream_shake_guest(c) < 0)
		ph_stream_conn_free(c);
	else if (c->stream)
		ph_stream_settle(c->stream);
	ph_streams_tick_set(streams);
}

static void on_read(evutil_socket_t fd, short what, void *arg)
{
	struct ph_stream_conn *c = arg;
	(void)fd;
	(void)what;
	if (!c->stream) {
		on_guest(c);
		return;
	}
	struct ph_stream *s = c->stream;
	if (c->state != PH_STREAM_CONN_OPEN) {
		ph_stream_shake_dialer(c);
	} else if (s->role == PH_STREAM_SOURCE) {
		ph_stream_source_heed(s);
	} else {
		ph_stream_target_take(s);
	}
	ph_stream_settle(s);
}

static void on_write(evutil_socket_t fd, short what, void *arg)
{
	struct ph_stream_conn *c = arg;
	struct ph_stream *s = c->stream;
	(void)fd;
	(void)what;
	if (!s) {
		if (ph_stream_shake_flush(c) < 0)
			ph_stream_conn_free(c);
		return;
	}
	if (c->state == PH_STREAM_CONN_DIALING) {
		ph_stream_shake_hello(c);
	} else if (c->state != PH_STREAM_CONN_OPEN) {
		ph_stream_shake_flush(c);
	} else if (s->role == PH_STREAM_SOURCE) {
		ph_stream_source_push(s);
	} else {
		ph_stream_target_flush(s);
	}
	ph_stream_settle(s);
}

static void guest_admit(struct ph_streams *streams, int fd);

/* The other end comes in as a guest, which proves the ticket like any other. */
static void dial_here(struct ph_stream *s)
{
	int fds[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0) {
		ph_stream_doom(s, errno, "socketpair: %s", strerror(errno));
		return;
	}
	guest_admit(s->streams, fds[1]);
	s->conn = conn_new(s->streams, s, fds[0]);
	if (!s->conn)
		ph_stream_doom(s, ENOMEM, "no memory for a connection");
	else
		event_add(s->conn->ev_write, NULL);
}

void ph_stream_dial(struct ph_stream *s)
{
	s->dialed = true;
	s->redial_at_ms = 0;
	if (!s->lost_at_ms)
		s->lost_at_ms = ph_stream_now_ms();
	if (s->here) {
		dial_here(s);
		return;
	}
	int fd = socket(s->peer.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		ph_stream_doom(s, errno, "socket: %s", strerror(errno));
		return;
	}
	s->conn = conn_new(s->streams, s, fd);
	if (!s->conn) {
		ph_stream_doom(s, ENOMEM, "no memory for a connection");
		return;
	}
	const struct sockaddr *peer = (const struct sockaddr *)&s->peer;
	if (connect(fd, peer, s->peer_length) < 0 && errno != EINPROGRESS)
		ph_stream_conn_cut(s->conn, "connecting to the peer: %s", strerror(errno));
	else
		event_add(s->conn->ev_write, NULL);
}

/* ---- listening */

static void guest_admit(struct ph_streams *streams, int fd)
{
	/* an honest one is through in a round trip, so the oldest is the likeliest to be none */
	if (streams->n_guests >= PH_STREAM_GUESTS_MAX)
		ph_stream_conn_free(streams->guests);
	struct ph_stream_conn *c = conn_new(streams, NULL, fd);
	if (c)
		event_add(c->ev_read, NULL);
}

static void on_listen(evutil_socket_t listen_fd, short what, void *arg)
{
	struct ph_streams *streams = arg;
	(void)what;
	for (int i = 0; i < ACCEPTS_A_TURN; i++) {
		int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			guest_admit(streams, fd);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			event_del(streams->ev_listen);
			streams->listen_paused = true;
		}
		break;
	}
	ph_streams_tick_set(streams);
}

void ph_streams_guests_tick(struct ph_streams *streams, int64_t now_ms)
{
	while (streams->guests && now_ms - streams->guests->since_ms >= PH_STREAM_PROOF_MS)
		ph_stream_conn_free(streams->guests);
	if (streams->listen_paused) {
		streams->listen_paused = false;
		event_add(streams->ev_listen, NULL);
	}
}

void ph_streams_unlisten(struct ph_streams *streams)
{
	if (streams->ev_listen)
		event_free(streams->ev_listen);
	if (streams->listen_fd >= 0)
		close(streams->listen_fd);
	streams->ev_listen = NULL;
	streams->listen_fd = -1;
	streams->listen_paused = false;
}

/* A bound, listening socket, or the negative errno. */
static int listen_open(const struct sockaddr_storage *address, socklen_t n)
{
	int on = 1;
	int fd = socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (const struct sockaddr *)address, n) < 0 || listen(fd, BACKLOG) < 0) {
		int code = errno;
		close(fd);
		return -code;
	}
	return fd;
}

int ph_streams_listen(struct ph_streams *streams, const char *address, struct ph_err *err)
{
	struct sockaddr_storage at;
	socklen_t n = 0;
	if (ph_stream_parse(address, &at, &n) < 0)
		return ph_err_set(err, EINVAL, "stream address '%s': expected tcp://ADDRESS:PORT",
			address ? address : "");
	int fd = listen_open(&at, n);
	if (fd < 0)
		return ph_err_set(err, -fd, "stream address %s: %s", address, strerror(-fd));
	struct event *ev = event_new(streams->base, fd, EV_READ | EV_PERSIST, on_listen, streams);
	if (!ev) {
		close(fd);
		return ph_err_set(err, ENOMEM, "stream address %s: no memory", address);
	}
	ph_streams_unlisten(streams);
	streams->listen_fd = fd;
	streams->ev_listen = ev;
	event_add(ev, NULL);
	return 0;
}

uint16_t ph_streams_port(const struct ph_streams *streams)
{
	struct sockaddr_storage at;
	socklen_t n = sizeof(at);
	if (streams->listen_fd < 0)
		return 0;
	if (getsockname(streams->listen_fd, (struct sockaddr *)&at, &n) < 0)
		return 0;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
	memcpy(&v4, &at, sizeof(v4));
	memcpy(&v6, &at, sizeof(v6));
	return ntohs(at.ss_family == AF_INET6 ? v6.sin6_port : v4.sin_port);
}
