#include "bus/peers.h"

#include <errno.h>
#include <nanomsg/bus.h>
#include <nanomsg/nn.h>
#include <nanomsg/pipeline.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "bus/sock.h"

/* uthash's own hash does not pass clang's -Wimplicit-fallthrough, and it exits without memory */
#define HASH_FUNCTION(key, n, ret) ((ret) = (unsigned)ph_hash_bytes(PH_HASH_SEED, key, n))
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#define JITTER_MAX_MS 1000u
#define DIAL_AGAIN_MS 1000u /* after nn_connect itself has failed */
#define PUSH_IDLE_MS 1000u  /* unused for so long, a push socket holds nothing unsent */
#define PUSH_AGAIN_MS 50u   /* no push socket was free */
#define SENDS_A_TURN 64u    /* to one peer, so that none starves the others */
#define DROPS_EACH_MS 100u  /* reports of dropped messages */
/* NN_BUS drops what comes while the last cast is still being written; so casts keep a distance */
#define CAST_GAP_US 100u
#define CAST_BYTES_A_US 50u

struct peer {
	uint32_t id;
	char broadcast[PH_ADDRESS_SIZE], directed[PH_ADDRESS_SIZE];
	int endpoint;	      /* at dialer[v6]; -1: not dialled, or another peer's does for both */
	uint64_t dial_at_ms;  /* 0: nothing to dial */
	int push, push_fd;    /* -1: closed */
	uint64_t used_at_ms;  /* the push socket: opened, or took a message */
	struct ph_outbox box; /* of the directed plane */
	UT_hash_handle hh;
};

struct ph_peers {
	struct peer *table;
	int dialer[2]; /* NN_BUS that only sends: IPv4, IPv6; -1 until one is needed */
	size_t n_push;
	size_t n_due;	      /* peers with dial_at_ms */
	uint64_t dials_at_ms; /* when the running tenth of a second began */
	unsigned dials;	      /* in it */
	uint64_t push_at_ms;  /* 0, or when a free push socket is looked for again */
	struct ph_outbox casts;
	uint64_t cast_at_us;  /* not before */
	uint64_t drops_at_ms; /* not before */
	uint64_t random;
};

struct ph_peers *ph_peers_new(void)
{
	struct ph_peers *peers = calloc(1, sizeof *peers);

	if (!peers)
		return NULL;
	peers->dialer[0] = peers->dialer[1] = -1;
	if (getrandom(&peers->random, sizeof peers->random, GRND_NONBLOCK) < 0)
		peers->random = ph_bus_now_us();
	return peers;
}

static struct peer *find(const struct ph_peers *peers, uint32_t id)
{
	struct peer *peer;

	HASH_FIND(hh, peers->table, &id, sizeof id, peer);
	return peer;
}

/* ---- broadcast endpoints */

static void dial_cancel(struct ph_peers *peers, struct peer *peer)
{
	if (peer->dial_at_ms)
		peers->n_due--;
	peer->dial_at_ms = 0;
}

static void dial_later(struct ph_peers *peers, struct peer *peer, uint64_t delay_ms)
{
	if (!peer->dial_at_ms)
		peers->n_due++;
	peer->dial_at_ms = ph_bus_now_ms() + delay_ms;
}

/* Few are dialled at once, many are spread: all nodes may have started at this moment. */
static uint64_t jitter_ms(struct ph_peers *peers)
{
	uint64_t range = 2 * (uint64_t)peers->n_due + 1;

	peers->random = ph_mix64(peers->random + UINT64_C(0x9e3779b97f4a7c15));
	return peers->random % (range < JITTER_MAX_MS ? range : JITTER_MAX_MS);
}

/* The other peer whose endpoint (or turn to dial) covers the same broadcast address. */
static struct peer *twin_of(const struct ph_peers *peers, const struct peer *peer, bool dialled)
{
	for (struct peer *p = peers->table; p; p = p->hh.next)
		if (p != peer && (p->endpoint >= 0 || p->dial_at_ms) == dialled &&
			strcmp(p->broadcast, peer->broadcast) == 0)
			return p;
	return NULL;
}

/* Gives up the peer's endpoint, or hands it to a peer with the same address. */
static void endpoint_drop(struct ph_peers *peers, struct peer *peer)
{
	struct peer *heir = twin_of(peers, peer, false);
	int dialer = peers->dialer[ph_sock_is_v6(peer->broadcast)];

	if (heir && peer->endpoint >= 0)
		heir->endpoint = peer->endpoint;
	else if (heir && peer->dial_at_ms)
		dial_later(peers, heir, 0);
	else if (peer->endpoint >= 0)
		(void)nn_shutdown(dialer, peer->endpoint);
	peer->endpoint = -1;
	dial_cancel(peers, peer);
}

static void endpoint_dial(struct ph_peers *peers, struct peer *peer)
{
	bool v6 = ph_sock_is_v6(peer->broadcast);
	int *dialer = &peers->dialer[v6];

	if (*dialer < 0)
		*dialer = ph_sock_open(NN_BUS, v6);
	if (*dialer >= 0)
		peer->endpoint = nn_connect(*dialer, peer->broadcast);
	dial_cancel(peers, peer);
	if (peer->endpoint >= 0)
		return;
	fprintf(stderr, "prochub-bus: cannot dial %s: %s\n", peer->broadcast,
		nn_strerror(nn_errno()));
	dial_later(peers, peer, DIAL_AGAIN_MS);
}

static void dial_due(struct ph_peers *peers, uint64_t now_ms)
{
	if (now_ms - peers->dials_at_ms >= PH_PEERS_DIALS_EACH_MS) {
		peers->dials_at_ms = now_ms;
		peers->dials = 0;
	}
	for (struct peer *peer = peers->table; peer && peers->n_due; peer = peer->hh.next) {
		if (peers->dials >= PH_PEERS_DIALS_MAX)
			return;
		if (!peer->dial_at_ms || peer->dial_at_ms > now_ms)
			continue;
		endpoint_dial(peers, peer);
		peers->dials++;
	}
}

/* ---- push sockets */

static void push_close(struct ph_peers *peers, struct peer *peer)
{
	if (peer->push < 0)
		return;
	ph_sock_close(&peer->push);
	peer->push_fd = -1;
	peers->n_push--;
}

/* Makes room by closing the one that was used least recently, an empty queue before a full one. */
static bool push_room(struct ph_peers *peers, uint64_t now_ms)
{
	struct peer *oldest = NULL;

	if (peers->n_push < PH_PEERS_PUSH_MAX)
		return true;
	for (struct peer *p = peers->table; p; p = p->hh.next) {
		if (p->push < 0 || now_ms - p->used_at_ms < PUSH_IDLE_MS)
			continue;
		if (!oldest || (!p->box.head && oldest->box.head) ||
			(!p->box.head == !oldest->box.head && p->used_at_ms < oldest->used_at_ms))
			oldest = p;
	}
	if (oldest)
		push_close(peers, oldest);
	return oldest;
}

static bool push_open(struct ph_peers *peers, struct peer *peer, uint64_t now_ms)
{
	if (peer->push >= 0)
		return true;
	if (!push_room(peers, now_ms))
		return false;
	int sock = ph_sock_open(NN_PUSH, ph_sock_is_v6(peer->directed));
	if (sock < 0)
		return false;
	int fd = ph_sock_fd(sock, NN_SNDFD);
	if (fd < 0 || nn_connect(sock, peer->directed) < 0) {
		nn_close(sock);
		return false;
	}
	peer->push = sock;
	peer->push_fd = fd;
	peer->used_at_ms = now_ms;
	peers->n_push++;
	return true;
}

/* Sends from the peer's queue until it is empty, the link is full, or its turn is over. */
static void push_send(struct ph_peers *peers, struct peer *peer, uint64_t now_ms)
{
	ph_outbox_expire(&peer->box, now_ms);
	if (!peer->box.head)
		return;
	if (!push_open(peers, peer, now_ms)) {
		peers->push_at_ms = now_ms + PUSH_AGAIN_MS;
		return;
	}
	for (unsigned i = 0; i < SENDS_A_TURN && peer->box.head; i++) {
		struct ph_letter *letter = peer->box.head;
		if (nn_send(peer->push, letter->bytes, letter->n, NN_DONTWAIT) < 0)
			return;
		peer->used_at_ms = now_ms;
		ph_outbox_pop(&peer->box);
		ph_outbox_expire(&peer->box, now_ms);
	}
}

/* ---- commands */

static struct peer *peer_add(struct ph_peers *peers, uint32_t id)
{
	if (HASH_COUNT(peers->table) >= PH_BUS_PEERS_MAX)
		return NULL;
	struct peer *peer = calloc(1, sizeof *peer);
	if (!peer)
		return NULL;
	peer->id = id;
	peer->endpoint = peer->push = peer->push_fd = -1;
	HASH_ADD(hh, peers->table, id, sizeof peer->id, peer);
	if (peer->hh.tbl)
		return peer;
	free(peer);
	return NULL;
}

void ph_peers_dial(struct ph_peers *peers, uint32_t id, const char *broadcast, const char *directed)
{
	struct peer *peer = find(peers, id);

	if (!peer)
		peer = peer_add(peers, id);
	if (!peer)
		return;
	if (strcmp(peer->directed, directed) != 0) {
		push_close(peers, peer);
		(void)stpncpy(peer->directed, directed, sizeof peer->directed - 1);
	}
	if (strcmp(peer->broadcast, broadcast) == 0)
		return;
	endpoint_drop(peers, peer);
	(void)stpncpy(peer->broadcast, broadcast, sizeof peer->broadcast - 1);
	if (!twin_of(peers, peer, true))
		dial_later(peers, peer, jitter_ms(peers));
}

void ph_peers_hangup(struct ph_peers *peers, uint32_t id)
{
	struct peer *peer = find(peers, id);

	if (!peer)
		return;
	endpoint_drop(peers, peer);
	push_close(peers, peer);
	ph_outbox_clear(&peer->box);
	HASH_DEL(peers->table, peer);
	free(peer);
}

void ph_peers_mend(struct ph_peers *peers, uint32_t id)
{
	struct peer *peer = find(peers, id);

	if (!peer)
		return;
	push_close(peers, peer);
	struct peer *owner = peer->endpoint >= 0 ? peer : twin_of(peers, peer, true);
	if (!owner || owner->endpoint < 0)
		return;
	(void)nn_shutdown(peers->dialer[ph_sock_is_v6(owner->broadcast)], owner->endpoint);
	owner->endpoint = -1;
	dial_later(peers, owner, 0);
}

void ph_peers_cast(struct ph_peers *peers, const uint8_t *bytes, size_t n)
{
	if (peers->dialer[0] >= 0 || peers->dialer[1] >= 0)
		ph_outbox_put(&peers->casts, bytes, n, 0);
}

void ph_peers_send(
	struct ph_peers *peers, uint32_t id, const uint8_t *bytes, size_t n, uint32_t ttl_ms)
{
	struct peer *peer = find(peers, id);

	if (peer && peer->directed[0])
		ph_outbox_put(&peer->box, bytes, n, ttl_ms ? ph_bus_now_ms() + ttl_ms : 0);
}

/* ---- the loop's side */

size_t ph_peers_pollfds(const struct ph_peers *peers, struct pollfd *fds)
{
	size_t n = 0;

	for (struct peer *peer = peers->table; peer; peer = peer->hh.next) {
		if (!peer->box.head || peer->push < 0)
			continue;
		fds[n].fd = peer->push_fd;
		fds[n++].events = POLLIN;
	}
	return n;
}

/* Lowers a waiting time (-1: for ever) to the time until `at`. */
static void wait_until(int64_t *wait_us, uint64_t at_us, uint64_t now_us)
{
	int64_t left = at_us > now_us ? (int64_t)(at_us - now_us) : 0;

	if (*wait_us < 0 || left < *wait_us)
		*wait_us = left;
}

int64_t ph_peers_wait_us(const struct ph_peers *peers)
{
	uint64_t now_us = ph_bus_now_us();
	int64_t wait_us = -1;

	if (peers->casts.head)
		wait_until(&wait_us, peers->cast_at_us, now_us);
	if (peers->casts.dropped)
		wait_until(&wait_us, peers->drops_at_ms * 1000, now_us);
	if (peers->push_at_ms)
		wait_until(&wait_us, peers->push_at_ms * 1000, now_us);
	for (struct peer *peer = peers->table; peer; peer = peer->hh.next) {
		uint64_t dial_at_ms = peer->dial_at_ms;
		if (dial_at_ms && peers->dials >= PH_PEERS_DIALS_MAX &&
			dial_at_ms < peers->dials_at_ms + PH_PEERS_DIALS_EACH_MS)
			dial_at_ms = peers->dials_at_ms + PH_PEERS_DIALS_EACH_MS;
		if (dial_at_ms)
			wait_until(&wait_us, dial_at_ms * 1000, now_us);
		if (peer->box.head && peer->box.head->expires_at_ms)
			wait_until(&wait_us, peer->box.head->expires_at_ms * 1000, now_us);
		if (peer->box.dropped)
			wait_until(&wait_us, peers->drops_at_ms * 1000, now_us);
	}
	return wait_us;
}

static void report_dropped(struct ph_pipe *pipe, uint32_t id, struct ph_outbox *box)
{
	uint8_t payload[8];
	struct iovec piece = {payload, sizeof payload};

	if (!box->dropped)
		return;
	ph_put_u32(payload, id);
	ph_put_u32(payload + 4, box->dropped);
	ph_pipe_report(pipe, PH_BUSFRAME_DROPPED, &piece, 1);
	box->dropped = 0;
}

/* One cast, if it is time for one. */
static void cast_send(struct ph_peers *peers)
{
	uint64_t now_us = ph_bus_now_us();
	struct ph_letter *letter = peers->casts.head;

	if (!letter || now_us < peers->cast_at_us)
		return;
	for (int v6 = 0; v6 < 2; v6++)
		if (peers->dialer[v6] >= 0)
			(void)nn_send(peers->dialer[v6], letter->bytes, letter->n, NN_DONTWAIT);
	peers->cast_at_us = now_us + CAST_GAP_US + letter->n / CAST_BYTES_A_US;
	ph_outbox_pop(&peers->casts);
}

void ph_peers_turn(struct ph_peers *peers, struct ph_pipe *pipe)
{
	uint64_t now_ms = ph_bus_now_ms();
	bool due = now_ms >= peers->drops_at_ms;
	bool report = due && !ph_pipe_is_full(pipe);

	dial_due(peers, now_ms);
	cast_send(peers);
	peers->push_at_ms = 0;
	for (struct peer *peer = peers->table; peer; peer = peer->hh.next) {
		push_send(peers, peer, now_ms);
		if (report)
			report_dropped(pipe, peer->id, &peer->box);
	}
	if (report)
		report_dropped(pipe, 0, &peers->casts);
	if (due)
		peers->drops_at_ms = now_ms + DROPS_EACH_MS;
}
