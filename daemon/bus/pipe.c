#include "bus/pipe.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define IN_SIZE (PH_BUSFRAME_MAX + 4u + 65536u)
#define OUT_IOV 64

struct out {
	struct out *next;
	size_t n;
	uint8_t bytes[];
};

struct ph_pipe {
	int fd;
	uint8_t *in;
	size_t in_n;
	struct out *head, **tail;
	size_t out_at;	  /* bytes of the head that are written */
	size_t out_bytes; /* of all that wait */
};

struct ph_pipe *ph_pipe_new(int fd)
{
	struct ph_pipe *pipe = calloc(1, sizeof *pipe);

	if (!pipe)
		return NULL;
	pipe->in = malloc(IN_SIZE);
	int flags = fcntl(fd, F_GETFL);
	if (!pipe->in || flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
		free(pipe->in);
		free(pipe);
		return NULL;
	}
	pipe->fd = fd;
	pipe->tail = &pipe->head;
	return pipe;
}

short ph_pipe_events(const struct ph_pipe *pipe)
{
	return pipe->head ? POLLIN | POLLOUT : POLLIN;
}

bool ph_pipe_is_full(const struct ph_pipe *pipe)
{
	return pipe->out_bytes >= PH_PIPE_OUT_MAX;
}

void ph_pipe_report(
	struct ph_pipe *pipe, enum ph_busframe kind, const struct iovec *pieces, size_t n)
{
	size_t total = 1;

	for (size_t i = 0; i < n; i++)
		total += pieces[i].iov_len;
	struct out *out = malloc(sizeof *out + 4 + total);
	if (!out)
		return;
	out->next = NULL;
	out->n = 4 + total;
	ph_put_u32(out->bytes, (uint32_t)total);
	out->bytes[4] = (uint8_t)kind;
	size_t at = PH_BUSFRAME_HEADER;
	for (size_t i = 0; i < n; i++) {
		if (pieces[i].iov_len)
			memcpy(out->bytes + at, pieces[i].iov_base, pieces[i].iov_len);
		at += pieces[i].iov_len;
	}
	*pipe->tail = out;
	pipe->tail = &out->next;
	pipe->out_bytes += out->n;
}

/* Removes `n` written bytes from the front of the queue. */
static void out_written(struct ph_pipe *pipe, size_t n)
{
	pipe->out_bytes -= n;
	pipe->out_at += n;
	while (pipe->head && pipe->out_at >= pipe->head->n) {
		struct out *out = pipe->head;
		pipe->out_at -= out->n;
		pipe->head = out->next;
		if (!pipe->head)
			pipe->tail = &pipe->head;
		free(out);
	}
}

int ph_pipe_flush(struct ph_pipe *pipe)
{
	while (pipe->head) {
		struct iovec iov[OUT_IOV];
		size_t n = 0, skip = pipe->out_at;

		for (struct out *out = pipe->head; out && n < OUT_IOV; out = out->next) {
			iov[n].iov_base = out->bytes + skip;
			iov[n++].iov_len = out->n - skip;
			skip = 0;
		}
		struct msghdr message = {.msg_iov = iov, .msg_iovlen = n};
		ssize_t written = sendmsg(pipe->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return errno == EAGAIN ? 0 : -errno;
		out_written(pipe, (size_t)written);
	}
	return 0;
}

/* Hands out the complete frames at the front of the buffer and moves the rest there. */
static int in_take(struct ph_pipe *pipe,
	void (*take)(void *arg, uint8_t kind, const uint8_t *payload, size_t n), void *arg)
{
	size_t at = 0;

	while (pipe->in_n - at >= 4) {
		size_t length = ph_get_u32(pipe->in + at);
		if (length == 0 || length > PH_BUSFRAME_MAX)
			return -EPROTO;
		if (pipe->in_n - at < 4 + length)
			break;
		take(arg, pipe->in[at + 4], pipe->in + at + PH_BUSFRAME_HEADER, length - 1);
		at += 4 + length;
	}
	memmove(pipe->in, pipe->in + at, pipe->in_n - at);
	pipe->in_n -= at;
	return 0;
}

int ph_pipe_read(struct ph_pipe *pipe,
	void (*take)(void *arg, uint8_t kind, const uint8_t *payload, size_t n), void *arg)
{
	size_t turn = 0;

	while (turn < PH_PIPE_TURN_BYTES) {
		ssize_t got = read(pipe->fd, pipe->in + pipe->in_n, IN_SIZE - pipe->in_n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && errno == EAGAIN)
			return 0;
		if (got < 0)
			return -errno;
		if (got == 0)
			return -EPIPE;
		pipe->in_n += (size_t)got;
		turn += (size_t)got;
		int rc = in_take(pipe, take, arg);
		if (rc < 0)
			return rc;
	}
	return 0;
}
