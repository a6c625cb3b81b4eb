#include "io/buslink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "io/buslink_impl.h"

#define FREE_WAIT_MS 200

void ph_buslink_free(struct ph_buslink *link)
{
	struct ph_buslink_peer *peer, *next;

	if (!link)
		return;
	if (link->pid) {
		struct pollfd gone = {.fd = link->pidfd, .events = POLLIN};
		(void)shutdown(link->fd, SHUT_RDWR);
		if (poll(&gone, 1, FREE_WAIT_MS) <= 0)
			ph_buslink_put_down(link);
		(void)ph_buslink_reap(link);
	}
	ph_buslink_event_drop(&link->start_timer);
	ph_buslink_event_drop(&link->bind_timer);
	ph_buslink_event_drop(&link->drops_timer);
	ph_busqueue_clear(&link->queue);
	HASH_ITER (hh, link->peers, peer, next) {
		HASH_DEL(link->peers, peer);
		free(peer);
	}
	free(link->program);
	free(link->in);
	free(link);
}

int ph_buslink_new(struct event_base *base, const char *program,
	const struct ph_buslink_callbacks *callbacks, void *arg, struct ph_buslink **ret_link,
	struct ph_err *err)
{
	struct ph_buslink *link = calloc(1, sizeof *link);

	if (!link)
		return ph_err_set(err, ENOMEM, "no memory for the link to prochub-bus");
	link->base = base;
	link->callbacks = *callbacks;
	link->arg = arg;
	link->pidfd = link->fd = -1;
	link->program = strdup(program);
	link->in = malloc(PH_BUSLINK_IN_SIZE);
	int rc = link->program && link->in ? ph_buslink_timers(link) : -ENOMEM;
	if (rc == 0)
		rc = ph_buslink_start(link);
	if (rc < 0) {
		ph_buslink_free(link);
		return ph_err_set(err, -rc, "cannot start %s: %s", program, strerror(-rc));
	}
	*ret_link = link;
	return 0;
}

/* tcp://HOST:PORT with a numeric host: anything else would be looked up, or is not bindable. */
static bool address_valid(const char *address)
{
	char host[PH_ADDRESS_SIZE];
	struct in6_addr ip;
	char *end;

	if (strlen(address) >= PH_ADDRESS_SIZE || strncmp(address, "tcp://", 6) != 0)
		return false;
	const char *colon = strrchr(address + 6, ':');
	if (!colon || colon[1] < '1' || colon[1] > '9')
		return false;
	unsigned long port = strtoul(colon + 1, &end, 10);
	if (*end || port > 65535)
		return false;
	size_t n = (size_t)(colon - address) - 6;
	memcpy(host, address + 6, n);
	host[n] = 0;
	if (host[0] != '[')
		return inet_pton(AF_INET, host, &ip) == 1;
	if (host[n - 1] != ']')
		return false;
	host[n - 1] = 0;
	return inet_pton(AF_INET6, host + 1, &ip) == 1;
}

static int address_check(const char *address, struct ph_err *err)
{
	if (address_valid(address))
		return 0;
	return ph_err_set(err, EINVAL,
		"'%.100s' is no bus address, expected tcp://ADDRESS:PORT with a numeric address",
		address);
}

int ph_buslink_bind(
	struct ph_buslink *link, const char *broadcast, const char *directed, struct ph_err *err)
{
	int rc = address_check(broadcast, err);
	if (rc == 0)
		rc = address_check(directed, err);
	if (rc < 0)
		return rc;
	(void)stpncpy(link->broadcast, broadcast, sizeof link->broadcast - 1);
	(void)stpncpy(link->directed, directed, sizeof link->directed - 1);
	link->bind_told.text[0] = 0;
	(void)event_del(link->bind_timer);
	ph_buslink_control(link, PH_BUSFRAME_BIND, 0, link->broadcast, link->directed);
	return 0;
}

static int peer_add(
	struct ph_buslink *link, uint32_t id, struct ph_buslink_peer **ret, struct ph_err *err)
{
	if (HASH_COUNT(link->peers) >= PH_BUS_PEERS_MAX)
		return ph_err_set(err, ENOSPC, "%u peers are dialled, there can be no more",
			PH_BUS_PEERS_MAX);
	struct ph_buslink_peer *peer = calloc(1, sizeof *peer);
	if (peer) {
		peer->id = id;
		HASH_ADD(hh, link->peers, id, sizeof peer->id, peer);
	}
	if (!peer || !peer->hh.tbl) {
		free(peer);
		return ph_err_set(err, ENOMEM, "no memory for a peer");
	}
	*ret = peer;
	return 0;
}

int ph_buslink_dial(struct ph_buslink *link, uint32_t id, const char *broadcast,
	const char *directed, struct ph_err *err)
{
	struct ph_buslink_peer *peer = ph_buslink_find(link, id);
	int rc = 0;

	if (!directed)
		directed = "";
	if (id == 0)
		return ph_err_set(err, EINVAL, "0 is no peer");
	if (*broadcast || !*directed)
		rc = address_check(broadcast, err);
	if (rc == 0 && *directed)
		rc = address_check(directed, err);
	if (rc == 0 && !peer)
		rc = peer_add(link, id, &peer, err);
	if (rc < 0)
		return rc;
	if (strcmp(peer->broadcast, broadcast) == 0 && strcmp(peer->directed, directed) == 0)
		return 0;
	(void)stpncpy(peer->broadcast, broadcast, sizeof peer->broadcast - 1);
	(void)stpncpy(peer->directed, directed, sizeof peer->directed - 1);
	ph_buslink_control(link, PH_BUSFRAME_DIAL, id, peer->broadcast, peer->directed);
	return 0;
}

void ph_buslink_hangup(struct ph_buslink *link, uint32_t id)
{
	struct ph_buslink_peer *peer = ph_buslink_find(link, id);

	if (!peer)
		return;
	HASH_DEL(link->peers, peer);
	free(peer);
	ph_buslink_control(link, PH_BUSFRAME_HANGUP, id, NULL, NULL);
}

void ph_buslink_mend(struct ph_buslink *link, uint32_t id)
{
	if (ph_buslink_find(link, id))
		ph_buslink_control(link, PH_BUSFRAME_MEND, id, NULL, NULL);
}

/* One message of either plane; `peer` NULL: to all. `head` is what its command begins with. */
static int message(struct ph_buslink *link, struct ph_buslink_peer *peer, struct iovec head,
	const void *bytes, size_t n)
{
	union {
		const void *in;
		void *out;
	} body = {bytes}; /* an iovec has no const */
	struct iovec pieces[] = {head, {body.out, n}};
	struct ph_busframe_item *frame = NULL;
	int rc = 0;

	if (n == 0 || n > PH_BUS_MESSAGE_MAX)
		rc = -EMSGSIZE;
	else if (!peer && !link->pid)
		rc = -ENOTCONN;
	else if (link->queue.bytes + n > PH_BUSLINK_QUEUE_MAX)
		rc = -ENOBUFS;
	else if (!(frame = ph_busqueue_frame(peer ? PH_BUSFRAME_SEND : PH_BUSFRAME_CAST,
			   peer ? peer->id : 0, pieces, 2)))
		rc = -ENOMEM;
	if (rc < 0) {
		ph_buslink_count_drop(link, peer);
		return rc;
	}
	ph_busqueue_append(&link->queue, frame);
	ph_buslink_write(link);
	return 0;
}

int ph_buslink_cast(struct ph_buslink *link, const void *bytes, size_t n)
{
	int rc = message(link, NULL, (struct iovec){NULL, 0}, bytes, n);

	link->stats.casts += rc == 0;
	return rc;
}

int ph_buslink_send(
	struct ph_buslink *link, uint32_t id, const void *bytes, size_t n, uint32_t ttl_ms)
{
	struct ph_buslink_peer *peer = ph_buslink_find(link, id);
	uint8_t head[8];

	if (!peer || !peer->directed[0])
		return -EDESTADDRREQ;
	ph_put_u32(head, id);
	ph_put_u32(head + 4, ttl_ms);
	int rc = message(link, peer, (struct iovec){head, sizeof head}, bytes, n);
	link->stats.sends += rc == 0;
	return rc;
}

pid_t ph_buslink_pid(const struct ph_buslink *link)
{
	return link->pid;
}

bool ph_buslink_is_up(const struct ph_buslink *link)
{
	return link->up;
}

void ph_buslink_stats(const struct ph_buslink *link, struct ph_buslink_stats *ret_stats)
{
	*ret_stats = link->stats;
	ret_stats->queued_bytes = link->queue.bytes;
}
