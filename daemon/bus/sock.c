#include "bus/sock.h"

#include <errno.h>
#include <nanomsg/nn.h>
#include <nanomsg/tcp.h>
#include <string.h>
#include <time.h>

bool ph_sock_is_v6(const char *address)
{
	return strchr(address, '[') != NULL;
}

static int set_int(int sock, int level, int option, int value)
{
	return nn_setsockopt(sock, level, option, &value, sizeof value) < 0 ? -nn_errno() : 0;
}

int ph_sock_open(int protocol, bool v6)
{
	const struct {
		int level, option, value;
	} options[] = {
		{NN_TCP, NN_TCP_NODELAY, 1},
		{NN_SOL_SOCKET, NN_RCVMAXSIZE, (int)PH_BUS_MESSAGE_MAX},
		{NN_SOL_SOCKET, NN_RECONNECT_IVL, PH_SOCK_RECONNECT_MS},
		{NN_SOL_SOCKET, NN_RECONNECT_IVL_MAX, PH_SOCK_RECONNECT_MAX_MS},
		{NN_SOL_SOCKET, NN_IPV4ONLY, v6 ? 0 : 1},
	};
	int sock = nn_socket(AF_SP, protocol);

	if (sock < 0)
		return -nn_errno();
	for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
		int rc = set_int(sock, options[i].level, options[i].option, options[i].value);
		if (rc < 0) {
			nn_close(sock);
			return rc;
		}
	}
	return sock;
}

int ph_sock_fd(int sock, int option)
{
	int fd = -1;
	size_t size = sizeof fd;

	if (nn_getsockopt(sock, NN_SOL_SOCKET, option, &fd, &size) < 0)
		return -nn_errno();
	return fd;
}

void ph_sock_close(int *sock)
{
	if (*sock < 0)
		return;
	nn_close(*sock);
	*sock = -1;
}

uint64_t ph_bus_now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

uint64_t ph_bus_now_ms(void)
{
	return ph_bus_now_us() / 1000u;
}
