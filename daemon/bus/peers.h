/*
 * peers.h - whom this node sends to: dialled endpoints, push sockets, queues.
 *
 * Decides when an endpoint is dialled (with jitter, at most PH_PEERS_DIALS_MAX in a tenth of a
 * second: nanomsg listens with a backlog of 100) and which push sockets are open (lazily, one a
 * peer, at most PH_PEERS_PUSH_MAX, the one idle longest makes room: nanomsg has 512 sockets a
 * process). It must not know whether a peer is alive: a dialled endpoint says nothing of that.
 * Always holds: a peer that is away costs its queue and nothing else; a broadcast address that two
 * peers share is dialled once. Tested by tests/unit/test_buslink.c.
 */
#ifndef PH_BUS_PEERS_H
#define PH_BUS_PEERS_H

#include <poll.h>

#include "bus/outbox.h"
#include "bus/pipe.h"

#define PH_PEERS_DIALS_MAX 50u
#define PH_PEERS_DIALS_EACH_MS 100u
#define PH_PEERS_PUSH_MAX 400u

struct ph_peers;

/* NULL without memory. Lives as long as the process. */
struct ph_peers *ph_peers_new(void);

/* The commands of base/busframe.h. Addresses are NUL-terminated. */
void ph_peers_dial(
	struct ph_peers *peers, uint32_t id, const char *broadcast, const char *directed);
void ph_peers_hangup(struct ph_peers *peers, uint32_t id);
void ph_peers_mend(struct ph_peers *peers, uint32_t id);
void ph_peers_cast(struct ph_peers *peers, const uint8_t *bytes, size_t n);
void ph_peers_send(
	struct ph_peers *peers, uint32_t id, const uint8_t *bytes, size_t n, uint32_t ttl_ms);

/* Descriptors to poll, at most PH_PEERS_PUSH_MAX. */
size_t ph_peers_pollfds(const struct ph_peers *peers, struct pollfd *fds);
/* Microseconds until ph_peers_turn() has something to do without any of them; -1: never. */
int64_t ph_peers_wait_us(const struct ph_peers *peers);
/* Dials what is due, sends what can be sent, gives up what is too old, reports what was dropped. */
void ph_peers_turn(struct ph_peers *peers, struct ph_pipe *pipe);

#endif
