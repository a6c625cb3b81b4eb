#include "io/sdnotify.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define TEXT_BYTES_MAX 4096

/* `passed` -1: no descriptor goes along. */
static int send_with(const char *state, int passed)
{
	const char *path = getenv("NOTIFY_SOCKET");
	if (!path || !*path)
		return 0;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t n = strlen(path);
	if ((*path != '/' && *path != '@') || n < 2 || n >= sizeof address.sun_path)
		return -EINVAL;
	memcpy(address.sun_path, path, n);
	/* an abstract name begins with a NUL and is not ended by one */
	socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
	if (*path == '@')
		address.sun_path[0] = '\0';
	else
		length++;
	/* kept open: a watchdog must go out when descriptors have run out, too */
	static int fd = -1;
	if (fd < 0)
		fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/* sendmsg() only reads it, and has no const in its struct */
	struct iovec text = {(void *)(uintptr_t)state, strlen(state)};
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr msg = {
		.msg_name = &address, .msg_namelen = length, .msg_iov = &text, .msg_iovlen = 1};
	if (passed >= 0) {
		memset(&control, 0, sizeof control);
		msg.msg_control = &control;
		msg.msg_controllen = sizeof control;
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.header), &passed, sizeof passed);
	}
	return sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int send_state(const char *state)
{
	return send_with(state, -1);
}

int ph_sdnotify_store(const char *name, int fd)
{
	char state[300];
	int n = snprintf(state, sizeof state, "FDSTORE=1\nFDNAME=%s", name);
	return n < (int)sizeof state ? send_with(state, fd) : -EINVAL;
}

int ph_sdnotify_unstore(const char *name)
{
	char state[300];
	int n = snprintf(state, sizeof state, "FDSTOREREMOVE=1\nFDNAME=%s", name);
	return n < (int)sizeof state ? send_state(state) : -EINVAL;
}

int ph_sdnotify_ready(void)
{
	char state[48];
	(void)snprintf(state, sizeof state, "READY=1\nMAINPID=%d", (int)getpid());
	return send_state(state);
}

int ph_sdnotify_status(const char *text)
{
	char state[TEXT_BYTES_MAX + sizeof "STATUS="];
	if (strlen(text) > TEXT_BYTES_MAX)
		return -EINVAL;
	int n = snprintf(state, sizeof state, "STATUS=%s", text);
	for (int i = 0; i < n; i++) {
		if (state[i] == '\n')
			state[i] = ' ';
	}
	return send_state(state);
}

int ph_sdnotify_watchdog(void)
{
	return send_state("WATCHDOG=1");
}

int ph_sdnotify_stopping(void)
{
	return send_state("STOPPING=1");
}

int ph_sdnotify_reloading(void)
{
	char state[80];
	struct timespec t;
	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	(void)snprintf(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%lld",
		(long long)t.tv_sec * 1000000 + t.tv_nsec / 1000);
	return send_state(state);
}

uint64_t ph_sdnotify_watchdog_ms(void)
{
	const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
	if (!usec || *usec < '0' || *usec > '9')
		return 0;
	if (pid && *pid && strtoll(pid, NULL, 10) != getpid())
		return 0;
	char *end;
	errno = 0;
	unsigned long long value = strtoull(usec, &end, 10);
	if (*end || errno)
		return 0;
	/* a period under 1 ms is one all the same */
	return value && value < 1000 ? 1 : value / 1000;
}
