/*
 * shell_bus_int.h - what the five files of shell_bus share; for nobody else.
 *
 * shell_bus.c: start, addresses, actions; shell_bus_peers.c: who is known and dialled;
 * shell_bus_seeds.c: the entries of `peers` and their names; shell_bus_got.c: what comes in;
 * shell_bus_relay.c: by way of a third member. What always holds: of all peers and seeds with one
 * address at most one is dialled, so that no cast arrives twice.
 */
#ifndef PH_SHELL_BUS_INT_H
#define PH_SHELL_BUS_INT_H

/* uthash's own does not pass clang's warnings */
#define HASH_FUNCTION(bytes, n, ret) \
	((ret) = (unsigned)ph_mix64(ph_hash_bytes(PH_HASH_SEED, (bytes), (n))))
#include <uthash.h>
#include <utlist.h>

#include "conf/address.h"
#include "io/buslink.h"
#include "proto/envelope.h"
#include "shell.h"
#include "shell_bus.h"

#define PH_BUS_KNOWN_MAX 2048u /* nodes of whom something is remembered */
#define PH_BUS_GUESTS_MAX 128u
#define PH_BUS_GUEST_MS 10000  /* unused for so long, a guest is hung up */
#define PH_BUS_REPORT_MS 10000 /* between two reports of refused messages */
#define PH_BUS_RATE_REPORT_MS 1000

/* A node that core has linked, or that was heard of. */
struct ph_bus_peer {
	struct ph_name name;
	uint32_t id; /* for the link */
	char address[PH_ADDRESS_SIZE];
	bool linked, dialled;
	uint64_t linked_no;   /* the newer one of two with one address is dialled */
	uint64_t incarnation; /* that is linked */
	uint64_t tokens;      /* messages that may come now */
	uint64_t refilled_at_ms;
	UT_hash_handle hh;
};

/* Who is at an address and is no linked peer (yet), and was sent something directed: it alone is
 * dialled. */
struct ph_bus_guest {
	uint32_t id;
	char address[PH_ADDRESS_SIZE];
	uint64_t used_at_ms;
	struct ph_bus_guest *prev, *next;
};

/* An entry of `peers`. */
struct ph_bus_seed {
	uint32_t id;
	char *text;		      /* as it is configured */
	char host[PH_CONF_HOST_SIZE]; /* of that, and its port */
	uint16_t port;
	char address[PH_ADDRESS_SIZE]; /* numeric; empty: its name has none, or none yet */
	bool out;		       /* it is this node itself, or there twice: none */
	bool told;		       /* people know that it has no address */
	bool dialled;
};

/* Messages that were dropped for one kind of reason, told of now and then. */
struct ph_bus_count {
	uint64_t n;
	uint64_t told_at_ms; /* 0: never */
};

struct ph_shell_bus {
	struct ph_shell *shell;
	struct ph_buslink *link;
	struct ph_windows *windows;
	uint64_t cluster; /* hash of its name */
	char listen[PH_ADDRESS_SIZE];
	char unbound[PH_ADDRESS_SIZE]; /* the address that people know cannot be bound yet */
	uint16_t port;
	uint64_t cast_no, send_no; /* sequences */
	uint64_t linked_no;
	uint32_t last_id;
	bool seeds_on, was_up;
	bool told_down;		   /* people hear of this end of the process */
	uint64_t credit_ms;	   /* for telling: an end costs TOLD_EVERY_MS, see shell_bus.c */
	uint64_t credit_at_ms;	   /* when it was counted last */
	unsigned long long untold; /* ends since the last one that was told */
	bool in_relay;		   /* what is being opened has come inside a RELAY */
	char why_down[PH_REASON_SIZE];
	struct ph_bus_peer *peers; /* hash by name, the one longest silent first */
	size_t n_seeds;
	struct ph_bus_seed *seeds;
	struct ph_bus_names *names;  /* of these */
	struct ph_bus_guest *guests; /* the one used longest ago first */
	size_t n_guests;
	struct ph_bus_count auth, foreign, rate, unsent;
};

/* ---- shell_bus_peers.c */

/* The peer of that name; made where `make`, NULL where there is none or no room. */
struct ph_bus_peer *ph_bus_peer(struct ph_shell_bus *bus, const struct ph_name *name, bool make);
void ph_bus_peers_free(struct ph_shell_bus *bus);
void ph_bus_link(struct ph_shell_bus *bus, const struct ph_action *action);
void ph_bus_unlink(struct ph_shell_bus *bus, const struct ph_name *name);
/* Its link is dialled anew. */
void ph_bus_mend(struct ph_shell_bus *bus, const struct ph_name *name);
/* For the link: whoever is at that address, dialled now if need be; 0: it cannot be. */
uint32_t ph_bus_there(struct ph_shell_bus *bus, const char *address);
void ph_bus_guests_expire(struct ph_shell_bus *bus, bool all);
/* Dials who is to be dialled of those with `address`, the peer linked last, else a seed, and no
 * other. */
void ph_bus_settle(struct ph_shell_bus *bus, const char *address);

/* ---- shell_bus_seeds.c */

/*
 * Reads conf->cluster.peers, and waits half a second at most for the addresses of names. Later ones
 * come with a PEERS event; a name that has none is asked for again now and then. -ENOMEM.
 */
PH_MUST_CHECK int ph_bus_seeds_read(struct ph_shell_bus *bus);
void ph_bus_seeds_free(struct ph_shell_bus *bus);
void ph_bus_seeds(struct ph_shell_bus *bus, bool on);

/* ---- shell_bus_got.c */

void ph_bus_got(void *arg, enum ph_plane plane, uint8_t *bytes, size_t n);
/* Counts one; true, and *ret_n of them, where it is time to tell of them. */
bool ph_bus_count_tell(struct ph_bus_count *count, uint64_t every_ms, uint64_t *ret_n);

/* ---- shell_bus_relay.c */

/* Sends `bytes`, sealed for `to`, to `via`; too large or no memory: not sent. */
void ph_bus_relay(struct ph_shell_bus *bus, const struct ph_name *via, const struct ph_name *to,
	const uint8_t *bytes, size_t n);
/* Passes it on, or opens it where it is for this node. */
void ph_bus_relay_got(struct ph_shell_bus *bus, const struct ph_bmsg *message);

#endif
