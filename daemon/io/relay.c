#include "io/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

void ph_relay_init(struct ph_relay *relay, int fd)
{
	char path[64];
	struct stat st;
	*relay = (struct ph_relay){.fd = fd};
	if (fstat(fd, &st) < 0)
		return; /* each write says why it cannot be */
	relay->socket = S_ISSOCK(st.st_mode);
	relay->plain = !S_ISFIFO(st.st_mode) && !S_ISREG(st.st_mode);
	if (!S_ISFIFO(st.st_mode) && !S_ISCHR(st.st_mode))
		return;
	(void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	int again = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	relay->own = again >= 0;
	relay->may_wait = again < 0;
	if (again >= 0)
		relay->fd = again;
}

void ph_relay_fini(struct ph_relay *relay)
{
	if (relay->own)
		close(relay->fd);
	relay->own = false;
	relay->fd = -1;
}

void ph_pipe_discard(int pipe, size_t n)
{
	char sink[16384];
	while (n) {
		ssize_t r = read(pipe, sink, n < sizeof sink ? n : sizeof sink);
		if (r == 0 || (r < 0 && errno != EINTR))
			return;
		n -= r > 0 ? (size_t)r : 0;
	}
}

/* A pipe that can be written to takes PIPE_BUF bytes. */
static bool would_wait(const struct ph_relay *relay, size_t *n)
{
	struct pollfd look = {.fd = relay->fd, .events = POLLOUT};
	if (!relay->may_wait)
		return false;
	if (*n > PIPE_BUF)
		*n = PIPE_BUF;
	return poll(&look, 1, 0) <= 0 || !(look.revents & (POLLOUT | POLLERR));
}

ssize_t ph_relay_put(struct ph_relay *relay, const char *text, size_t n)
{
	if (would_wait(relay, &n))
		return -EAGAIN;
	ssize_t written = relay->socket ? send(relay->fd, text, n, MSG_NOSIGNAL | MSG_DONTWAIT)
					: write(relay->fd, text, n);
	if (written >= 0)
		return written ? written : -EAGAIN;
	return errno == EINTR ? -EAGAIN : -errno;
}

ssize_t ph_relay_take(struct ph_relay *relay, int pipe, const char *bytes, size_t n)
{
	if (would_wait(relay, &n))
		return -EAGAIN;
	if (!relay->plain) {
		ssize_t moved = splice(pipe, NULL, relay->fd, NULL, n, SPLICE_F_NONBLOCK);
		if (moved > 0)
			return moved;
		if (moved == 0 || errno != EINVAL) /* one that is open to append, say */
			return moved == 0 || errno == EINTR ? -EAGAIN : -errno;
		relay->plain = true;
	}
	ssize_t written = ph_relay_put(relay, bytes, n);
	if (written > 0)
		ph_pipe_discard(pipe, (size_t)written);
	return written;
}
