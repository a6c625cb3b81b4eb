/*
 * prochub-bus FD: the bus process. It moves whole messages between the socketpair FD to prochubd
 * and nanomsg, and holds no key: what it carries is sealed and opened by prochubd. It ends when
 * the socketpair closes, and never outlives prochubd.
 */
#include <errno.h>
#include <nanomsg/nn.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "bus/listen.h"
#include "bus/peers.h"
#include "bus/pipe.h"

#define POLLFDS (1u + PH_LISTEN_POLLFDS + PH_PEERS_PUSH_MAX)

struct bus {
	struct ph_pipe *pipe;
	struct ph_peers *peers;
	struct ph_listen listen;
	int fd;
};

/* ---- payloads: a reader that never runs past the end */

struct payload {
	const uint8_t *at;
	size_t n;
	bool bad; /* something did not fit; what was read since is 0 */
};

static uint32_t take_u32(struct payload *p)
{
	if (p->n < 4) {
		p->bad = true;
		return 0;
	}
	uint32_t v = ph_get_u32(p->at);
	p->at += 4;
	p->n -= 4;
	return v;
}

static void take_address(struct payload *p, char ret[PH_ADDRESS_SIZE])
{
	size_t n = p->n ? p->at[0] : 0;

	ret[0] = 0;
	if (p->n < 1 + n || n >= PH_ADDRESS_SIZE || memchr(p->at + 1, 0, n)) {
		p->bad = true;
		return;
	}
	memcpy(ret, p->at + 1, n);
	ret[n] = 0;
	p->at += 1 + n;
	p->n -= 1 + n;
}

/* ---- commands */

static void do_bind(struct bus *bus, struct payload *p)
{
	char broadcast[PH_ADDRESS_SIZE], directed[PH_ADDRESS_SIZE];
	struct ph_err err;
	uint8_t code[4];

	take_address(p, broadcast);
	take_address(p, directed);
	if (p->bad || !*broadcast || !*directed)
		return;
	int rc = ph_listen_bind(&bus->listen, broadcast, directed, &err);
	if (rc == 0) {
		ph_pipe_report(bus->pipe, PH_BUSFRAME_BOUND, NULL, 0);
		return;
	}
	ph_put_u32(code, (uint32_t)-rc);
	struct iovec pieces[] = {{code, sizeof code}, {err.text, strlen(err.text)}};
	ph_pipe_report(bus->pipe, PH_BUSFRAME_BIND_FAILED, pieces, 2);
}

static void do_dial(struct bus *bus, struct payload *p)
{
	char broadcast[PH_ADDRESS_SIZE], directed[PH_ADDRESS_SIZE];
	uint32_t id = take_u32(p);

	take_address(p, broadcast);
	take_address(p, directed);
	if (!p->bad && id && (*broadcast || *directed))
		ph_peers_dial(bus->peers, id, broadcast, directed);
}

static void do_hangup(struct bus *bus, struct payload *p)
{
	ph_peers_hangup(bus->peers, take_u32(p));
}

static void do_mend(struct bus *bus, struct payload *p)
{
	ph_peers_mend(bus->peers, take_u32(p));
}

static void do_cast(struct bus *bus, struct payload *p)
{
	if (p->n && p->n <= PH_BUS_MESSAGE_MAX)
		ph_peers_cast(bus->peers, p->at, p->n);
}

static void do_send(struct bus *bus, struct payload *p)
{
	uint32_t id = take_u32(p), ttl_ms = take_u32(p);

	if (!p->bad && p->n && p->n <= PH_BUS_MESSAGE_MAX)
		ph_peers_send(bus->peers, id, p->at, p->n, ttl_ms);
}

static const struct {
	enum ph_busframe kind;
	void (*carry_out)(struct bus *bus, struct payload *p);
} commands[] = {
	{PH_BUSFRAME_SEND, do_send},
	{PH_BUSFRAME_CAST, do_cast},
	{PH_BUSFRAME_BIND, do_bind},
	{PH_BUSFRAME_DIAL, do_dial},
	{PH_BUSFRAME_HANGUP, do_hangup},
	{PH_BUSFRAME_MEND, do_mend},
};

static void take_command(void *arg, uint8_t kind, const uint8_t *bytes, size_t n)
{
	struct payload payload = {.at = bytes, .n = n};

	for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
		if (commands[i].kind == kind)
			commands[i].carry_out(arg, &payload);
}

/* ---- the loop */

static void wait_for_work(const struct bus *bus, struct pollfd fds[POLLFDS])
{
	size_t n = 1;

	fds[0].fd = bus->fd;
	fds[0].events = ph_pipe_events(bus->pipe);
	fds[0].revents = 0;
	if (!ph_pipe_is_full(bus->pipe))
		n += ph_listen_pollfds(&bus->listen, fds + n);
	n += ph_peers_pollfds(bus->peers, fds + n);
	int64_t wait_us = ph_peers_wait_us(bus->peers);
	struct timespec wait = {
		.tv_sec = (time_t)(wait_us / 1000000),
		.tv_nsec = (long)(wait_us % 1000000 * 1000),
	};
	(void)ppoll(fds, (nfds_t)n, wait_us < 0 ? NULL : &wait, NULL);
}

static int run(struct bus *bus)
{
	static struct pollfd fds[POLLFDS];
	int rc = 0;

	ph_pipe_report(bus->pipe, PH_BUSFRAME_READY, NULL, 0);
	while (rc == 0) {
		rc = ph_pipe_flush(bus->pipe);
		if (rc < 0)
			break;
		wait_for_work(bus, fds);
		if (fds[0].revents)
			rc = ph_pipe_read(bus->pipe, take_command, bus);
		ph_listen_turn(&bus->listen, bus->pipe);
		ph_peers_turn(bus->peers, bus->pipe);
	}
	return rc;
}

/* What a process that lives beside the supervisor must be like, whoever has started it. */
static void settle_down(int fd)
{
	struct rlimit files;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)prctl(PR_SET_NAME, "prochub-bus");
	(void)signal(SIGPIPE, SIG_IGN);
	if (fd > 3)
		(void)close_range(3, (unsigned)fd - 1, 0);
	(void)close_range((unsigned)fd + 1, ~0u, 0);
	/* a descriptor each link and socket: without them nanomsg asserts */
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
}

int main(int argc, char **argv)
{
	struct bus bus = {0};
	char *end = NULL;

	if (argc == 2 && strcmp(argv[1], "-V") == 0) {
		puts("prochub-bus " PH_VERSION);
		return 0;
	}
	long fd = argc == 2 ? strtol(argv[1], &end, 10) : -1;
	if (fd < 3 || fd > 1 << 20 || *end) {
		fprintf(stderr,
			"usage: prochub-bus FD\n"
			"Started by prochubd, which passes a socketpair as descriptor FD.\n");
		return 2;
	}
	settle_down((int)fd);
	bus.fd = (int)fd;
	bus.pipe = ph_pipe_new(bus.fd);
	bus.peers = ph_peers_new();
	ph_listen_init(&bus.listen);
	if (!bus.pipe || !bus.peers) {
		fprintf(stderr, "prochub-bus: cannot use descriptor %ld: %s\n", fd,
			strerror(errno));
		return 1;
	}
	int rc = run(&bus);
	if (rc != -EPIPE && rc != -ECONNRESET)
		fprintf(stderr, "prochub-bus: socketpair: %s\n", strerror(-rc));
	fflush(stderr);
	/* without nn_term(), which waits for its threads */
	_exit(rc == -EPIPE || rc == -ECONNRESET ? 0 : 1);
}
