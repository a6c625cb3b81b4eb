#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/client.h"
#include "proto/worker.h"

#define RETRY_MS 20 /* the daemon's backlog is full */

enum ph_data_kind ph_data_close(struct prochub *p)
{
	enum ph_data_kind kind = p->data.kind;
	if (p->data.fd >= 0)
		close(p->data.fd);
	free(p->data.saved);
	free(p->data.chunk);
	p->data = (struct ph_data){.fd = -1};
	return kind;
}

void ph_data_begin(struct prochub *p, enum ph_data_kind kind)
{
	(void)ph_data_close(p);
	p->data.kind = kind;
	p->data.round = p->s.round;
}

/* The connection with its first line; -EAGAIN: later. */
static int open_data(struct prochub *p)
{
	struct ph_wmsg m = {.op = PH_W_DATA, .id = p->s.id, .round = p->data.round};
	memcpy(m.token, p->s.hello.token, sizeof m.token);
	size_t n = 0;
	char *line = ph_wmsg_encode(&m, &n);
	if (!line)
		return -errno;
	int fd = ph_client_connect(p);
	/* a new socket has room for so short a line: less is a failure */
	if (fd >= 0 && send(fd, line, n, MSG_NOSIGNAL) != (ssize_t)n) {
		close(fd);
		fd = -EIO;
	}
	free(line);
	if (fd < 0)
		return fd;
	struct epoll_event e = {
		.events = p->data.kind == PH_DATA_SEND ? EPOLLOUT : EPOLLIN, .data.fd = fd};
	if (epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, fd, &e)) {
		int error = -errno;
		close(fd);
		return error;
	}
	p->data.fd = fd;
	return 0;
}

static int broken(struct prochub *p, const char *why)
{
	char text[160];
	(void)snprintf(text, sizeof text, "state connection of round %u: %s", p->data.round, why);
	ph_client_note(p, text);
	struct ph_session_input in = {.kind = PH_IN_BROKEN};
	int error = ph_client_step(p, &in);
	(void)ph_data_close(p);
	return error;
}

/* Watches a sender that waits for its worker no longer, or again. */
static void watch_sender(struct prochub *p, bool writable)
{
	struct epoll_event e = {.events = writable ? EPOLLOUT : 0, .data.fd = p->data.fd};
	(void)epoll_ctl(p->epoll_fd, EPOLL_CTL_MOD, p->data.fd, &e);
}

/* The next bytes to send: 1 there are some, 0 the end, PROCHUB_FAILED, PROCHUB_NOT_YET. */
static int next_bytes(struct prochub *p, const char **ret, size_t *ret_n)
{
	struct ph_data *d = &p->data;
	if (d->saved_at < d->saved_n) {
		*ret = d->saved + d->saved_at;
		*ret_n = d->saved_n - d->saved_at;
		return 1;
	}
	if (d->chunk_at == d->chunk_n && !d->ended && p->cb.read) {
		if (!d->chunk && !(d->chunk = malloc(PH_CLIENT_CHUNK_BYTES)))
			return PROCHUB_FAILED;
		ssize_t n = p->cb.read(p, p->arg, d->round, d->chunk, PH_CLIENT_CHUNK_BYTES);
		if (n < 0)
			return n == PROCHUB_NOT_YET ? PROCHUB_NOT_YET : PROCHUB_FAILED;
		d->ended = n == 0;
		d->chunk_at = 0;
		d->chunk_n = (size_t)n;
	}
	*ret = d->chunk ? d->chunk + d->chunk_at : "";
	*ret_n = d->chunk_n - d->chunk_at;
	return *ret_n ? 1 : 0;
}

static void take_bytes(struct ph_data *d, size_t n)
{
	d->bytes += n;
	if (d->saved_at < d->saved_n)
		d->saved_at += n;
	else
		d->chunk_at += n;
}

static int finish_sending(struct prochub *p)
{
	struct ph_session_input in = {.kind = PH_IN_ENDED, .bytes = p->data.bytes};
	(void)shutdown(p->data.fd, SHUT_WR);
	(void)ph_data_close(p);
	return ph_client_step(p, &in);
}

static void tell_progress(struct prochub *p)
{
	uint64_t now = ph_client_now_ms();
	if (!p->data.progress_at_ms)
		p->data.progress_at_ms = now + PH_CLIENT_PROGRESS_MS;
	if (now < p->data.progress_at_ms)
		return;
	struct ph_wmsg m = {.op = PH_W_PROGRESS,
		.id = p->s.id,
		.epoch = p->s.id_epoch,
		.round = p->data.round,
		.bytes = p->data.bytes};
	p->data.progress_at_ms = now + PH_CLIENT_PROGRESS_MS;
	if (ph_session_say(&p->s, &m) < 0)
		return; /* it is only for people */
}

static int pump_out(struct prochub *p)
{
	for (size_t moved = 0; moved < PH_CLIENT_TURN_BYTES;) {
		const char *bytes = NULL;
		size_t n = 0;
		int r = next_bytes(p, &bytes, &n);
		if (r == 0)
			return finish_sending(p);
		if (r == PROCHUB_NOT_YET) {
			p->data.not_yet = true;
			watch_sender(p, false);
			return 0;
		}
		if (r == PROCHUB_FAILED)
			return broken(p, "given up by the worker");
		ssize_t sent = send(p->data.fd, bytes, n, MSG_NOSIGNAL);
		if (sent < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (sent < 0)
			return broken(p, strerror(errno));
		take_bytes(&p->data, (size_t)sent);
		moved += (size_t)sent;
	}
	tell_progress(p);
	return 0;
}

static int pump_in(struct prochub *p)
{
	struct ph_data *d = &p->data;
	if (!d->chunk && !(d->chunk = malloc(PH_CLIENT_CHUNK_BYTES)))
		return -ENOMEM;
	for (size_t moved = 0; moved < PH_CLIENT_TURN_BYTES;) {
		ssize_t n = recv(d->fd, d->chunk, PH_CLIENT_CHUNK_BYTES, 0);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return 0;
		if (n < 0)
			return broken(p, strerror(errno));
		if (n == 0) {
			struct ph_session_input end = {.kind = PH_IN_ENDED, .bytes = d->bytes};
			close(d->fd); /* stays READ: `loaded` is still owed */
			d->fd = -1;
			d->ended = true;
			return ph_client_step(p, &end);
		}
		d->bytes += (uint64_t)n;
		moved += (size_t)n;
		int code = 0;
		if (p->s.max_bytes && d->bytes > p->s.max_bytes)
			code = PROCHUB_REJECT_TOO_LARGE;
		else if (p->cb.load)
			code = p->cb.load(p, p->arg, d->round, d->chunk, (size_t)n);
		if (code) {
			struct ph_session_input no = {.kind = PH_IN_REFUSED, .code = code};
			return ph_client_step(p, &no);
		}
	}
	return 0;
}

int ph_data_pump(struct prochub *p)
{
	struct ph_data *d = &p->data;
	if (d->kind == PH_DATA_NONE || d->ended || d->not_yet)
		return 0;
	if (d->fd < 0) {
		uint64_t now = ph_client_now_ms();
		if (now < d->retry_at_ms)
			return 0;
		int error = open_data(p);
		if (error == -EAGAIN) {
			d->retry_at_ms = now + RETRY_MS;
			return 0;
		}
		if (error)
			return broken(p, strerror(-error));
	}
	return d->kind == PH_DATA_SEND ? pump_out(p) : pump_in(p);
}

int prochub_send_state(struct prochub *p, const void *bytes, size_t n)
{
	struct ph_data *d = &p->data;
	if (!d->saving) {
		errno = EINVAL;
		return -1;
	}
	if (n > SIZE_MAX / 4 - d->saved_n) {
		errno = ENOMEM;
		return -1;
	}
	if (d->saved_n + n > d->saved_size) {
		size_t size = 2 * (d->saved_n + n);
		char *grown = realloc(d->saved, size);
		if (!grown) {
			errno = ENOMEM;
			return -1;
		}
		d->saved = grown;
		d->saved_size = size;
	}
	if (n)
		memcpy(d->saved + d->saved_n, bytes, n);
	d->saved_n += n;
	return 0;
}

void prochub_read_more(struct prochub *p)
{
	if (!p->data.not_yet)
		return;
	p->data.not_yet = false;
	watch_sender(p, true);
}
