/* shell_bus_peers.c - the nodes that are known to the bus, and which of them are dialled. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/address.h"
#include "io/clock.h"
#include "shell_bus_int.h"

/* ---- by name */

/* Forgets the unlinked one that was silent longest. */
static bool make_room(struct ph_shell_bus *bus)
{
	for (struct ph_bus_peer *p = bus->peers; p; p = p->hh.next) {
		if (p->linked)
			continue;
		HASH_DEL(bus->peers, p);
		free(p);
		return true;
	}
	return false;
}

struct ph_bus_peer *ph_bus_peer(struct ph_shell_bus *bus, const struct ph_name *name, bool make)
{
	struct ph_bus_peer *peer;
	size_t n = strlen(name->s);
	HASH_FIND(hh, bus->peers, name->s, n, peer);
	if (!make)
		return peer;
	if (peer) { /* to the end: the list is in order of silence */
		HASH_DEL(bus->peers, peer);
		HASH_ADD_KEYPTR(hh, bus->peers, peer->name.s, n, peer);
		return peer;
	}
	if (HASH_COUNT(bus->peers) >= PH_BUS_KNOWN_MAX && !make_room(bus))
		return NULL;
	peer = calloc(1, sizeof *peer);
	if (!peer)
		return NULL;
	peer->name = *name;
	peer->id = ++bus->last_id;
	peer->tokens = PH_BUS_BURST;
	peer->refilled_at_ms = ph_clock_now_ms();
	HASH_ADD_KEYPTR(hh, bus->peers, peer->name.s, n, peer);
	return peer;
}

void ph_bus_peers_free(struct ph_shell_bus *bus)
{
	struct ph_bus_peer *peer, *next;
	HASH_ITER (hh, bus->peers, peer, next) {
		HASH_DEL(bus->peers, peer);
		free(peer);
	}
}

/* ---- dialling */

#define CAST 1u
#define DIRECTED 2u

static bool dial(struct ph_shell_bus *bus, uint32_t id, const char *broadcast, unsigned planes)
{
	struct ph_err err = {""};
	char second[PH_ADDRESS_SIZE] = "";
	struct ph_conf_address address;
	int error = ph_conf_address_parse(broadcast, &address);
	if (!error && planes & DIRECTED)
		(void)snprintf(
			second, sizeof second, "tcp://%s:%u", address.host, address.port + 1u);
	if (!error)
		error = ph_buslink_dial(
			bus->link, id, planes & CAST ? broadcast : "", second, &err);
	if (error)
		ph_shell_log(bus->shell, PH_LOG_WARNING, "cannot dial %s: %s", broadcast,
			err.text[0] ? err.text : "not an address");
	return !error;
}

static void hang_up(struct ph_shell_bus *bus, uint32_t id, bool *dialled)
{
	if (*dialled)
		ph_buslink_hangup(bus->link, id);
	*dialled = false;
}

void ph_bus_settle(struct ph_shell_bus *bus, const char *address)
{
	struct ph_bus_peer *best = NULL;
	for (struct ph_bus_peer *p = bus->peers; p; p = p->hh.next) {
		if (p->linked && !strcmp(p->address, address) &&
			(!best || p->linked_no > best->linked_no))
			best = p;
	}
	for (struct ph_bus_peer *p = bus->peers; p; p = p->hh.next) {
		if (p != best && !strcmp(p->address, address))
			hang_up(bus, p->id, &p->dialled);
	}
	for (size_t i = 0; i < bus->n_seeds; i++) {
		struct ph_bus_seed *seed = &bus->seeds[i];
		if (strcmp(seed->address, address) != 0)
			continue;
		if (best || !bus->seeds_on || seed->out)
			hang_up(bus, seed->id, &seed->dialled);
		else if (!seed->dialled)
			seed->dialled = dial(bus, seed->id, address, CAST);
	}
	if (best && !best->dialled)
		best->dialled = dial(bus, best->id, address, CAST | DIRECTED);
}

/* ---- guests: answered before they are peers */

static struct ph_bus_guest *guest_find(const struct ph_shell_bus *bus, const char *address)
{
	struct ph_bus_guest *guest;
	DL_FOREACH (bus->guests, guest)
		if (!strcmp(guest->address, address))
			return guest;
	return NULL;
}

static void guest_drop(struct ph_shell_bus *bus, struct ph_bus_guest *guest)
{
	DL_DELETE(bus->guests, guest);
	bus->n_guests--;
	free(guest);
}

void ph_bus_guests_expire(struct ph_shell_bus *bus, bool all)
{
	uint64_t now_ms = ph_clock_now_ms();
	while (bus->guests && (all || now_ms - bus->guests->used_at_ms >= PH_BUS_GUEST_MS)) {
		ph_buslink_hangup(bus->link, bus->guests->id);
		guest_drop(bus, bus->guests);
	}
}

static struct ph_bus_guest *guest_new(struct ph_shell_bus *bus, const char *address)
{
	if (bus->n_guests >= PH_BUS_GUESTS_MAX) {
		ph_buslink_hangup(bus->link, bus->guests->id);
		guest_drop(bus, bus->guests);
	}
	struct ph_bus_guest *guest = calloc(1, sizeof *guest);
	if (!guest)
		return NULL;
	guest->id = ++bus->last_id;
	(void)snprintf(guest->address, sizeof guest->address, "%s", address);
	if (!dial(bus, guest->id, address, DIRECTED)) {
		free(guest);
		return NULL;
	}
	DL_APPEND(bus->guests, guest);
	bus->n_guests++;
	return guest;
}

uint32_t ph_bus_there(struct ph_shell_bus *bus, const char *address)
{
	struct ph_bus_guest *guest = guest_find(bus, address);
	if (guest)
		DL_DELETE(bus->guests, guest);
	if (guest)
		DL_APPEND(bus->guests, guest);
	else
		guest = guest_new(bus, address);
	if (!guest)
		return 0;
	guest->used_at_ms = ph_clock_now_ms();
	return guest->id;
}

/* ---- links */

void ph_bus_unlink(struct ph_shell_bus *bus, const struct ph_name *name)
{
	struct ph_bus_peer *peer = ph_bus_peer(bus, name, false);
	if (!peer || !peer->linked)
		return;
	peer->linked = false;
	ph_bus_settle(bus, peer->address);
}

void ph_bus_mend(struct ph_shell_bus *bus, const struct ph_name *name)
{
	struct ph_bus_peer *peer = ph_bus_peer(bus, name, false);
	if (peer && peer->linked && peer->dialled)
		ph_buslink_mend(bus->link, peer->id);
}

void ph_bus_link(struct ph_shell_bus *bus, const struct ph_action *action)
{
	const char *address = action->address ? action->address : "";
	struct ph_bus_peer *peer = ph_bus_peer(bus, &action->to, true);
	if (!peer)
		return;
	if (peer->linked && strcmp(peer->address, address) != 0)
		ph_bus_unlink(bus, &action->to);
	peer->linked = true;
	peer->linked_no = ++bus->linked_no;
	peer->incarnation = action->incarnation;
	(void)snprintf(peer->address, sizeof peer->address, "%s", address);
	struct ph_bus_guest *guest = guest_find(bus, address);
	if (guest) { /* it has answered over that connection, which stays, with what waits in it */
		hang_up(bus, peer->id, &peer->dialled);
		peer->id = guest->id;
		guest_drop(bus, guest);
	}
	ph_bus_settle(bus, peer->address);
}
