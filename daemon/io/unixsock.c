#include "io/unixsock.h"

#include "io/sockpath.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include <event2/event.h>

struct ph_unixsock {
	int fd;
	char path[PH_UNIXSOCK_PATH_MAX + 1];
	ph_unixsock_fn *fn;
	void *arg;
	struct event *event;
	struct event *pause;
	bool *freed; /* set where a callback closes us in the middle of a turn */
};

/* Full tables empty by themselves; the kernel would call us in every turn until then. */
static void pause_accepting(struct ph_unixsock *sock)
{
	const struct timeval wait = {0, PH_UNIXSOCK_PAUSE_MS * 1000};
	if (event_add(sock->pause, &wait) == 0)
		(void)event_del(sock->event);
}

static void resume_accepting(evutil_socket_t fd, short what, void *arg)
{
	struct ph_unixsock *sock = arg;
	(void)fd;
	(void)what;
	if (event_add(sock->event, NULL) < 0)
		pause_accepting(sock);
}

/* One connection. 0, or -errno of accept. */
static int accept_one(struct ph_unixsock *sock)
{
	int fd = accept4(sock->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0)
		return -errno;
	struct ucred peer;
	socklen_t n = sizeof peer;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) < 0 || n != sizeof peer) {
		close(fd);
		return 0;
	}
	sock->fn(sock->arg, fd, &peer);
	return 0;
}

static void acceptable(evutil_socket_t fd, short what, void *arg)
{
	struct ph_unixsock *sock = arg;
	bool freed = false;
	(void)fd;
	(void)what;
	sock->freed = &freed;
	for (int i = 0; i < PH_UNIXSOCK_TURN; i++) {
		int r = accept_one(sock);
		if (freed)
			return;
		if (r == -EMFILE || r == -ENFILE || r == -ENOBUFS || r == -ENOMEM)
			pause_accepting(sock);
		/* a connection that was given up meanwhile says nothing about the next */
		if (r && r != -ECONNABORTED && r != -EINTR)
			break;
	}
	sock->freed = NULL;
}

/* Takes `fd`, which is bound to `path`. */
static int listen_with(struct event_base *base, int fd, const char *path, ph_unixsock_fn *fn,
	void *arg, struct ph_unixsock **ret, struct ph_err *err)
{
	int r = 0;
	struct ph_unixsock *sock = calloc(1, sizeof *sock);
	if (!sock) {
		ph_sockpath_close(fd, path);
		return ph_err_set(err, ENOMEM, "out of memory for '%s'", path);
	}
	sock->fd = fd;
	sock->fn = fn;
	sock->arg = arg;
	memcpy(sock->path, path, strlen(path) + 1);
	sock->event = event_new(base, fd, EV_READ | EV_PERSIST, acceptable, sock);
	sock->pause = event_new(base, -1, 0, resume_accepting, sock);
	if (listen(fd, PH_UNIXSOCK_BACKLOG) < 0)
		r = ph_err_set(err, errno, "cannot listen at '%s': %s", path, strerror(errno));
	else if (!sock->event || !sock->pause || event_add(sock->event, NULL) < 0)
		r = ph_err_set(err, ENOMEM, "out of memory for '%s'", path);
	if (r) {
		ph_unixsock_close(sock);
		return r;
	}
	*ret = sock;
	return 0;
}

int ph_unixsock_open(struct event_base *base, const char *path, mode_t mode, gid_t gid,
	ph_unixsock_fn *fn, void *arg, struct ph_unixsock **ret, struct ph_err *err)
{
	int fd;
	int r = ph_sockpath_bind(path, SOCK_STREAM, mode, gid, &fd, err);
	return r ? r : listen_with(base, fd, path, fn, arg, ret, err);
}

int ph_unixsock_take(struct event_base *base, int fd, const char *path, mode_t mode, gid_t gid,
	ph_unixsock_fn *fn, void *arg, struct ph_unixsock **ret, struct ph_err *err)
{
	if (ph_sockpath_take(fd, path, SOCK_STREAM, mode, gid) == 0)
		return listen_with(base, fd, path, fn, arg, ret, err);
	close(fd);
	return ph_unixsock_open(base, path, mode, gid, fn, arg, ret, err);
}

int ph_unixsock_fd(const struct ph_unixsock *sock)
{
	return sock->fd;
}

void ph_unixsock_close(struct ph_unixsock *sock)
{
	if (!sock)
		return;
	if (sock->freed)
		*sock->freed = true;
	if (sock->event)
		event_free(sock->event);
	if (sock->pause)
		event_free(sock->pause);
	ph_sockpath_close(sock->fd, sock->path);
	free(sock);
}
