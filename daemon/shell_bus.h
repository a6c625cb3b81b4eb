/*
 * shell_bus.h - between core and the bus process: messages sealed on the way out, opened on the
 * way in.
 *
 * Decides nothing about members: it dials whom core links. It must not know what a message is for.
 * Always holds: a message reaches core only if it came sealed under a key of the ring (where there
 * is one), for this node in this incarnation, for the first time, and with a legal body; a peer
 * that sends more than 2000 messages a second is thinned out; nothing of a refused message stays.
 * The order of the checks is that of proto/envelope.h. Tested by tests/unit/test_shell_bus.c with
 * real bus processes, and by tests/unit/test_bus_msg.c (bodies).
 */
#ifndef PH_SHELL_BUS_H
#define PH_SHELL_BUS_H

#include "base/err.h"
#include "base/types.h"

struct ph_action;
struct ph_shell;
struct ph_shell_bus;

#define PH_BUS_RATE 2000u  /* messages a second of one peer */
#define PH_BUS_BURST 4000u /* that may come at once after a silence */

/*
 * Starts the bus process and binds the addresses of shell->conf->cluster, which has a `listen`;
 * also reads node, incarnation, ring and peers there. Names in `peers` are resolved without waiting
 * for a name server that does not answer, and until they are; one that has no address is a log
 * line. An address that cannot be bound yet is retried every second, with
 * one event. Errors with a sentence: what ph_buslink_new() and ph_buslink_bind() say; -ENOENT no
 * prochub-bus was found; -ENOMEM.
 */
PH_MUST_CHECK int ph_shell_bus_new(
	struct ph_shell *shell, struct ph_shell_bus **ret, struct ph_err *err);

/*
 * The entries of `peers` that are not this node's own, each once: as they are configured, and with
 * their names resolved (empty where one has no address, or none yet: a PEERS event tells when).
 * Room for shell->conf->cluster.peers.n each; they live as long as the bus. Returns how many they
 * are.
 */
size_t ph_shell_bus_peers(
	const struct ph_shell_bus *bus, const char **ret_texts, const char **ret_addresses);

/* Ends the bus process (200 ms at most). NULL is fine. */
void ph_shell_bus_free(struct ph_shell_bus *bus);

/* Carries out SEND, CAST, LINK, UNLINK, SEEDS. `bus` NULL (a single node): nothing. What cannot be
 * sent is lost, as anything on a network. */
void ph_shell_bus_act(struct ph_shell_bus *bus, const struct ph_action *action);

#endif
