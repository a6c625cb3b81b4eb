/*
 * listen.h - where this node is reached: the two bound sockets, which only receive.
 *
 * Decides how much is received a turn. It must not know what is in a message. Always holds: both
 * addresses are bound or none; while the reports are full nothing is taken from nanomsg, so that
 * directed senders are held back by TCP and casts are lost at their sender, not here.
 * Tested by tests/unit/test_buslink.c.
 */
#ifndef PH_BUS_LISTEN_H
#define PH_BUS_LISTEN_H

#include <poll.h>

#include "base/err.h"
#include "bus/pipe.h"

#define PH_LISTEN_POLLFDS 2u

struct ph_listen {
	char broadcast[PH_ADDRESS_SIZE],
		directed[PH_ADDRESS_SIZE]; /* bound; "" while they are not */
	int bus, pull;			   /* -1: closed */
	int bus_fd, pull_fd;
};

void ph_listen_init(struct ph_listen *listen);

/* Binds in place of what was bound, and does nothing where it is the same. Negative errno as of
 * bind(), and then nothing is bound. */
PH_MUST_CHECK int ph_listen_bind(
	struct ph_listen *listen, const char *broadcast, const char *directed, struct ph_err *err);

size_t ph_listen_pollfds(const struct ph_listen *listen, struct pollfd *fds);

/* Passes on what has come, within bounds. */
void ph_listen_turn(struct ph_listen *listen, struct ph_pipe *pipe);

#endif
