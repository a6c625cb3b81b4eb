/*
 * What the counter needs and what has nothing to do with prochub: a port, a line, and filler
 * behind the state ("#", then digits) so that tests can move large ones.
 */
#ifndef PROCHUB_EXAMPLES_PLUMBING_H
#define PROCHUB_EXAMPLES_PLUMBING_H

#include <arpa/inet.h>
#include <prochub/worker.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BALLAST_CHUNK 100000 /* a multiple of 10 */

static size_t ballast_bytes;

static const char *option(int argc, char **argv, const char *name)
{
	for (int i = 1; i + 1 < argc; i++) {
		if (!strcmp(argv[i], name))
			return argv[i + 1];
	}
	return "0";
}

/* Listens on --port of 127.0.0.1 (any by default) and writes that as metadata; reads --ballast. */
static int listen_on(int argc, char **argv, char *meta, size_t size)
{
	struct sockaddr_in a = {
		.sin_family = AF_INET,
		.sin_port = htons((unsigned short)atoi(option(argc, argv, "--port"))),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t n = sizeof a;
	int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ballast_bytes = strtoull(option(argc, argv, "--ballast"), NULL, 10);
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(fd, (void *)&a, n) || listen(fd, 100) || getsockname(fd, (void *)&a, &n)) {
		perror("listen");
		exit(1);
	}
	(void)snprintf(meta, size, "{\"address\":\"127.0.0.1:%d\"}", ntohs(a.sin_port));
	return fd;
}

/* One line with its newline (clients send whole lines); 0 at the end or if it is too long. */
static int read_line(int fd, char *line, size_t size)
{
	size_t n = 0;
	while (n < size - 1 && read(fd, line + n, 1) == 1) {
		if (line[n++] == '\n') {
			line[n] = '\0';
			return 1;
		}
	}
	return 0;
}

/* Goes with the first round alone: it never changes. */
static void ballast_send(struct prochub *p, unsigned round)
{
	static char chunk[BALLAST_CHUNK];
	for (size_t i = 0; i < sizeof chunk; i++)
		chunk[i] = (char)('0' + i % 10);
	if (!ballast_bytes || round > 0)
		return;
	prochub_send_state(p, "#", 1);
	for (size_t at = 0; at < ballast_bytes; at += sizeof chunk)
		prochub_send_state(p, chunk,
			ballast_bytes - at < sizeof chunk ? ballast_bytes - at : sizeof chunk);
}

/* Is `text` nothing, or filler that is whole? Then it becomes this worker's own. */
static int ballast_take(const char *text, size_t n)
{
	if (n == 0)
		return 1;
	for (size_t i = 1; i < n; i++) {
		if (text[i] != (char)('0' + (i - 1) % 10))
			return 0;
	}
	ballast_bytes = n - 1;
	return text[0] == '#';
}

#endif
