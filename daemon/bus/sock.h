/*
 * sock.h - nanomsg sockets as the bus needs them: every option in one place.
 *
 * What libnanomsg 1.1.5 needs, found by trying it:
 * - TCP_NODELAY is off by default; NN_RCVMAXSIZE must stay bounded, or a hostile length aborts.
 * - NN_IPV4ONLY=0 is needed for a "[...]" address, and aborts the process on the second attempt to
 *   dial an IPv4 one: so a socket is of one family, and the caller keeps the families apart.
 * - NN_RCVFD and NN_SNDFD are level-triggered: readable as long as a call would not block.
 * Tested by tests/unit/test_buslink.c.
 */
#ifndef PH_BUS_SOCK_H
#define PH_BUS_SOCK_H

#include "base/busframe.h"

#define PH_SOCK_RECONNECT_MS 100      /* first pause before a connection is tried again */
#define PH_SOCK_RECONNECT_MAX_MS 1000 /* it is doubled up to this */

/* Whether the address is an IPv6 one. */
bool ph_sock_is_v6(const char *address);

/* A socket of that nanomsg protocol with all options set; negative errno: -EMFILE, -ENOMEM. */
int ph_sock_open(int protocol, bool v6);
/* The descriptor to poll for reading: `option` is NN_RCVFD or NN_SNDFD. Negative errno. */
int ph_sock_fd(int sock, int option);
/* Closes it and sets -1; fine where it is -1. */
void ph_sock_close(int *sock);

uint64_t ph_bus_now_ms(void);
uint64_t ph_bus_now_us(void);

#endif
