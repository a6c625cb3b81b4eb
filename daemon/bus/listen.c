#include "bus/listen.h"

#include <errno.h>
#include <nanomsg/bus.h>
#include <nanomsg/nn.h>
#include <nanomsg/pipeline.h>
#include <string.h>

#include "bus/sock.h"

#define RECEIVE_A_TURN 64u /* messages of each plane */

void ph_listen_init(struct ph_listen *listen)
{
	memset(listen, 0, sizeof *listen);
	listen->bus = listen->pull = listen->bus_fd = listen->pull_fd = -1;
}

static void unbind(struct ph_listen *listen)
{
	ph_sock_close(&listen->bus);
	ph_sock_close(&listen->pull);
	ph_listen_init(listen);
}

static int bind_one(
	int protocol, const char *address, int *ret_sock, int *ret_fd, struct ph_err *err)
{
	int sock = ph_sock_open(protocol, ph_sock_is_v6(address));
	if (sock < 0)
		return ph_err_set(err, -sock, "%s: %s", address, nn_strerror(-sock));
	int fd = ph_sock_fd(sock, NN_RCVFD);
	if (fd < 0 || nn_bind(sock, address) < 0) {
		int code = fd < 0 ? -fd : nn_errno();
		nn_close(sock);
		return ph_err_set(err, code, "%s: %s", address, nn_strerror(code));
	}
	*ret_sock = sock;
	*ret_fd = fd;
	return 0;
}

int ph_listen_bind(
	struct ph_listen *listen, const char *broadcast, const char *directed, struct ph_err *err)
{
	if (strcmp(listen->broadcast, broadcast) == 0 && strcmp(listen->directed, directed) == 0)
		return 0;
	unbind(listen);
	int rc = bind_one(NN_BUS, broadcast, &listen->bus, &listen->bus_fd, err);
	if (rc == 0)
		rc = bind_one(NN_PULL, directed, &listen->pull, &listen->pull_fd, err);
	if (rc < 0) {
		unbind(listen);
		return rc;
	}
	(void)stpncpy(listen->broadcast, broadcast, sizeof listen->broadcast - 1);
	(void)stpncpy(listen->directed, directed, sizeof listen->directed - 1);
	return 0;
}

size_t ph_listen_pollfds(const struct ph_listen *listen, struct pollfd *fds)
{
	if (listen->bus < 0)
		return 0;
	fds[0].fd = listen->bus_fd;
	fds[1].fd = listen->pull_fd;
	fds[0].events = fds[1].events = POLLIN;
	return 2;
}

static void receive(int sock, enum ph_plane plane, struct ph_pipe *pipe)
{
	uint8_t byte = (uint8_t)plane;

	for (unsigned i = 0; i < RECEIVE_A_TURN && !ph_pipe_is_full(pipe); i++) {
		void *bytes;
		int n = nn_recv(sock, &bytes, NN_MSG, NN_DONTWAIT);
		if (n < 0)
			return;
		struct iovec pieces[] = {{&byte, 1}, {bytes, (size_t)n}};
		if (n > 0 && (unsigned)n <= PH_BUS_MESSAGE_MAX)
			ph_pipe_report(pipe, PH_BUSFRAME_GOT, pieces, 2);
		nn_freemsg(bytes);
	}
}

void ph_listen_turn(struct ph_listen *listen, struct ph_pipe *pipe)
{
	if (listen->bus < 0)
		return;
	receive(listen->bus, PH_PLANE_BROADCAST, pipe);
	receive(listen->pull, PH_PLANE_DIRECTED, pipe);
}
