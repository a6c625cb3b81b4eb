#include "io/busqueue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define WRITE_IOV 64

struct ph_busframe_item *ph_busqueue_frame(
	enum ph_busframe kind, uint32_t peer, const struct iovec *pieces, size_t n)
{
	size_t total = 1;

	for (size_t i = 0; i < n; i++)
		total += pieces[i].iov_len;
	struct ph_busframe_item *frame = malloc(sizeof *frame + 4 + total);
	if (!frame)
		return NULL;
	frame->next = NULL;
	frame->kind = kind;
	frame->peer = peer;
	frame->n = 4 + total;
	ph_put_u32(frame->bytes, (uint32_t)total);
	frame->bytes[4] = (uint8_t)kind;
	uint8_t *at = frame->bytes + PH_BUSFRAME_HEADER;
	for (size_t i = 0; i < n; i++) {
		if (pieces[i].iov_len)
			memcpy(at, pieces[i].iov_base, pieces[i].iov_len);
		at += pieces[i].iov_len;
	}
	return frame;
}

void ph_busqueue_append(struct ph_busqueue *queue, struct ph_busframe_item *frame)
{
	frame->next = NULL;
	if (queue->tail)
		queue->tail->next = frame;
	else
		queue->head = frame;
	queue->tail = frame;
	queue->bytes += frame->n;
}

struct ph_busframe_item *ph_busqueue_pop(struct ph_busqueue *queue)
{
	struct ph_busframe_item *frame = queue->head;

	if (!frame)
		return NULL;
	queue->head = frame->next;
	if (!queue->head)
		queue->tail = NULL;
	queue->bytes -= frame->n;
	return frame;
}

int ph_busqueue_write(struct ph_busqueue *queue, int fd)
{
	while (queue->head) {
		struct iovec iov[WRITE_IOV];
		size_t n = 0, skip = queue->written;

		for (struct ph_busframe_item *f = queue->head; f && n < WRITE_IOV; f = f->next) {
			iov[n].iov_base = f->bytes + skip;
			iov[n++].iov_len = f->n - skip;
			skip = 0;
		}
		struct msghdr message = {.msg_iov = iov, .msg_iovlen = n};
		ssize_t written = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return -errno;
		queue->written += (size_t)written;
		while (queue->head && queue->written >= queue->head->n) {
			queue->written -= queue->head->n;
			free(ph_busqueue_pop(queue));
		}
	}
	return 0;
}

void ph_busqueue_clear(struct ph_busqueue *queue)
{
	while (queue->head)
		free(ph_busqueue_pop(queue));
	queue->written = 0;
}
