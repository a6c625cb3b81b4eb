#include "shell_bus.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/clock.h"
#include "proto/bus.h"
#include "shell_bus_int.h"

#define SEND_TTL_MS 10000 /* core repeats what matters long before */

/* The end of prochub-bus is told at once, so often; after that once a minute, with how many there
 * were: one that cannot live would else fill log and events for ever. */
#define TOLD_EVERY_MS 60000u
#define TOLD_AT_ONCE 10u

static bool is_told(struct ph_shell_bus *bus)
{
	uint64_t now_ms = ph_clock_now_ms(), most_ms = (uint64_t)TOLD_EVERY_MS * TOLD_AT_ONCE;
	uint64_t more_ms = bus->credit_at_ms ? now_ms - bus->credit_at_ms : most_ms;
	bus->credit_at_ms = now_ms;
	bus->credit_ms = bus->credit_ms + more_ms < most_ms ? bus->credit_ms + more_ms : most_ms;
	if (bus->credit_ms < TOLD_EVERY_MS)
		return false;
	bus->credit_ms -= TOLD_EVERY_MS;
	return true;
}

/* ---- what the link tells */

static void link_up(void *arg)
{
	struct ph_shell_bus *bus = arg;
	ph_shell_push(bus->shell, &(struct ph_event){.kind = PH_EV_BUS_UP}, NULL, NULL);
	if (bus->was_up && bus->told_down)
		ph_shell_tell_people(bus->shell, PH_EMIT_BUS_RESTARTED, NULL, bus->why_down);
	bus->was_up = true;
}

static void link_down(void *arg, const char *why)
{
	struct ph_shell_bus *bus = arg;
	bus->told_down = is_told(bus);
	int n = snprintf(bus->why_down, sizeof bus->why_down, "%s", why ? why : "it ended");
	if (bus->told_down && bus->untold && n > 0 && (size_t)n < sizeof bus->why_down)
		(void)snprintf(bus->why_down + n, sizeof bus->why_down - (size_t)n,
			" (it has ended %llu times since the last report)", bus->untold + 1);
	bus->untold = bus->told_down ? 0 : bus->untold + 1;
	ph_shell_push(bus->shell, &(struct ph_event){.kind = PH_EV_BUS_DOWN}, NULL, NULL);
	if (bus->told_down)
		ph_shell_log(bus->shell, PH_LOG_WARNING, "prochub-bus: %s", bus->why_down);
}

static void link_bound(void *arg)
{
	struct ph_shell_bus *bus = arg;
	bus->unbound[0] = '\0';
	ph_shell_log(bus->shell, PH_LOG_INFO, "listening on %s and port %u", bus->listen,
		bus->port + 1u);
}

/* `text` is "ADDRESS: REASON" of the first of the two that cannot be bound. One event an address,
 * until both are bound. */
static void link_bind_failed(void *arg, int code, const char *text)
{
	struct ph_shell_bus *bus = arg;
	char address[PH_ADDRESS_SIZE], sentence[PH_ERR_MAX];
	const char *end = strstr(text, ": ");
	(void)snprintf(address, sizeof address, "%.*s",
		end ? (int)(end - text) : (int)strlen(bus->listen), end ? text : bus->listen);
	if (strcmp(address, bus->unbound) == 0)
		return;
	memcpy(bus->unbound, address, sizeof address);
	(void)snprintf(sentence, sizeof sentence, "%s: %s; tried again every second", address,
		end ? end + 2 : strerror(code));
	ph_shell_tell_people(bus->shell, PH_EMIT_BIND_FAILED, NULL, sentence);
}

static void link_dropped(void *arg, uint32_t peer, uint64_t count)
{
	struct ph_shell_bus *bus = arg;
	const char *name = "all";
	for (struct ph_bus_peer *p = bus->peers; p; p = p->hh.next) {
		if (peer && p->id == peer)
			name = p->name.s;
	}
	ph_shell_log(bus->shell, PH_LOG_DEBUG, "%llu bus messages to %s were dropped",
		(unsigned long long)count, name);
}

/* ---- start */

static int start(struct ph_shell_bus *bus, struct ph_err *err)
{
	static const struct ph_buslink_callbacks callbacks = {
		.up = link_up,
		.down = link_down,
		.bound = link_bound,
		.bind_failed = link_bind_failed,
		.got = ph_bus_got,
		.dropped = link_dropped,
	};
	const struct ph_conf *conf = bus->shell->conf;
	char program[PH_PROGRAM_SIZE], broadcast[PH_ADDRESS_SIZE], directed[PH_ADDRESS_SIZE];

	if (ph_windows_new(PH_WINDOWS_MAX, &bus->windows) || ph_bus_seeds_read(bus))
		return ph_err_set(err, ENOMEM, "out of memory");
	int error = ph_shell_program("prochub-bus", program, sizeof program, err);
	if (!error)
		error = ph_buslink_new(bus->shell->base, program, &callbacks, bus, &bus->link, err);
	if (error)
		return error;
	(void)snprintf(broadcast, sizeof broadcast, "tcp://%s:%u", conf->cluster.host, bus->port);
	memcpy(bus->listen, broadcast, sizeof bus->listen);
	(void)snprintf(
		directed, sizeof directed, "tcp://%s:%u", conf->cluster.host, bus->port + 1u);
	return ph_buslink_bind(bus->link, broadcast, directed, err);
}

int ph_shell_bus_new(struct ph_shell *shell, struct ph_shell_bus **ret, struct ph_err *err)
{
	struct ph_shell_bus *bus = calloc(1, sizeof *bus);
	if (!bus)
		return ph_err_set(err, ENOMEM, "out of memory");
	bus->shell = shell;
	bus->cluster = ph_cluster_hash(shell->conf->cluster.name.s);
	bus->port = shell->conf->cluster.port;
	int error = start(bus, err);
	if (error) {
		ph_shell_bus_free(bus);
		return error;
	}
	*ret = bus;
	return 0;
}

void ph_shell_bus_free(struct ph_shell_bus *bus)
{
	if (!bus)
		return;
	ph_bus_guests_expire(bus, true);
	ph_buslink_free(bus->link);
	ph_windows_free(bus->windows);
	ph_bus_peers_free(bus);
	ph_bus_seeds_free(bus);
	free(bus);
}

/* ---- out */

static void unsent(struct ph_shell_bus *bus, const struct ph_bmsg *message, int code)
{
	uint64_t n;
	if (ph_bus_count_tell(&bus->unsent, PH_BUS_REPORT_MS, &n))
		ph_shell_log(bus->shell, PH_LOG_ERROR,
			"a bus message (%s) could not be made: %s (%llu since the last report)",
			ph_bkind_word(message->kind), strerror(code), (unsigned long long)n);
}

/* The sealed message, the caller's, or NULL. */
static uint8_t *seal(struct ph_shell_bus *bus, const struct ph_envelope *header,
	const struct ph_bmsg *message, size_t *ret_n)
{
	size_t n;
	int error = 0;
	char *body = ph_bmsg_encode(message, &n);
	if (!body) {
		unsent(bus, message, errno);
		return NULL;
	}
	size_t size = ph_envelope_size(n);
	uint8_t *bytes = malloc(size);
	if (bytes)
		error = ph_envelope_seal(
			bus->shell->ring, header, body, n, bytes, size, ret_n, NULL);
	if (error || !bytes) {
		unsent(bus, message, bytes ? -error : ENOMEM);
		free(bytes);
		bytes = NULL;
	}
	free(body);
	return bytes;
}

static struct ph_envelope envelope(struct ph_shell_bus *bus, enum ph_plane plane)
{
	struct ph_envelope header = {
		.plane = plane,
		.cluster = bus->cluster,
		.from = ph_name_of(bus->shell->node),
		.from_incarnation = bus->shell->incarnation,
	};
	header.sequence = plane == PH_PLANE_BROADCAST ? ++bus->cast_no : ++bus->send_no;
	return header;
}

static void act_cast(struct ph_shell_bus *bus, const struct ph_action *action)
{
	size_t n;
	struct ph_envelope header = envelope(bus, PH_PLANE_BROADCAST);
	uint8_t *bytes = seal(bus, &header, action->message, &n);
	if (bytes)
		(void)ph_buslink_cast(bus->link, bytes, n); /* counted there */
	free(bytes);
	ph_bus_guests_expire(bus, false);
}

static void act_send(struct ph_shell_bus *bus, const struct ph_action *action)
{
	size_t n;
	struct ph_bus_peer *peer = ph_bus_peer(bus, &action->to, false);
	uint32_t link = peer && peer->dialled ? peer->id : 0;
	/* A connection to an earlier life waits for its time before it is tried again. */
	bool there = link && action->address && !strcmp(peer->address, action->address) &&
		     peer->incarnation == action->incarnation;
	if (action->address && !there)
		link = ph_bus_there(bus, action->address);
	if (!link && !(peer && action->via.s[0])) {
		ph_shell_log(bus->shell, PH_LOG_DEBUG, "%s to %s: no link",
			ph_bkind_word(action->message->kind), action->to.s);
		return;
	}
	struct ph_envelope header = envelope(bus, PH_PLANE_DIRECTED);
	header.to = action->to;
	header.to_incarnation = action->incarnation;
	header.ttl_ms = SEND_TTL_MS;
	struct ph_bmsg message = *action->message;
	if (message.kind == PH_B_PREPARE)
		ph_shell_flow_ticket(bus->shell, &message.id, &action->to, message.ticket);
	uint8_t *bytes = seal(bus, &header, &message, &n);
	if (bytes && link)
		(void)ph_buslink_send(bus->link, link, bytes, n, SEND_TTL_MS);
	if (bytes && action->via.s[0])
		ph_bus_relay(bus, &action->via, &action->to, bytes, n);
	free(bytes);
}

void ph_shell_bus_act(struct ph_shell_bus *bus, const struct ph_action *action)
{
	if (!bus)
		return;
	if (action->kind == PH_ACT_SEND)
		act_send(bus, action);
	else if (action->kind == PH_ACT_CAST)
		act_cast(bus, action);
	else if (action->kind == PH_ACT_LINK)
		ph_bus_link(bus, action);
	else if (action->kind == PH_ACT_UNLINK)
		ph_bus_unlink(bus, &action->to);
	else if (action->kind == PH_ACT_MEND)
		ph_bus_mend(bus, &action->to);
	else if (action->kind == PH_ACT_SEEDS)
		ph_bus_seeds(bus, action->on);
}
