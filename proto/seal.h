/*
 * seal.h - keys: the cluster's key ring, what is derived from it, and random bytes.
 *
 * Decides how a key file is read and how every other secret follows from its keys; it is the only
 * place, with envelope.c, that knows libsodium's names. It must not know what is sealed, nor why.
 * Always holds: key material lives in locked memory (where the limit allows) and is wiped when it
 * is freed; a refused key file changes nothing. Tested by tests/unit/test_envelope.c.
 */
#ifndef PH_PROTO_SEAL_H
#define PH_PROTO_SEAL_H

#include "base/err.h"
#include "base/types.h"

#define PH_SEAL_KEY_SIZE 32   /* bytes of every key, ticket and proof */
#define PH_SEAL_NONCE_SIZE 32 /* bytes of a nonce in a proof */
#define PH_KEYRING_MAX 16     /* keys in a ring: the first seals, all open */

struct ph_keyring; /* immutable once made */

/* What a sub-key is for: no two purposes share one. */
enum ph_key_use {
	PH_KEY_USE_BUS,
	PH_KEY_USE_STREAM,
	PH_KEY_USE_COUNT
};

/*
 * Makes libsodium ready; harmless when repeated. The functions below call it themselves, so it
 * need be called only to learn of a failure at start: -ENOSYS where there is no random source.
 */
PH_MUST_CHECK int ph_seal_init(struct ph_err *err);

/*
 * Reads a key file: one key a line, 64 hex digits; blank lines and `#` comments are skipped.
 * `cluster` is mixed into every sub-key, so that one file used by two clusters gives two sets.
 * -ENOENT and whatever open() says; -EINVAL not a regular file, no key, more than
 * PH_KEYRING_MAX, the same key twice, or a bad line ("FILE:LINE: ..."); -EACCES group or others
 * may read or write it; -EFBIG over 64 KiB; -ENOMEM. The caller frees with ph_keyring_free().
 */
PH_MUST_CHECK int ph_keyring_load(
	const char *path, const char *cluster, struct ph_keyring **ret_ring, struct ph_err *err);

/* The same from `n` keys in memory (copied). -EINVAL none, too many or one twice; -ENOMEM. */
PH_MUST_CHECK int ph_keyring_of(const uint8_t (*keys)[PH_SEAL_KEY_SIZE], size_t n,
	const char *cluster, struct ph_keyring **ret_ring, struct ph_err *err);

/* Wipes and frees; NULL is fine. */
void ph_keyring_free(struct ph_keyring *ring);

size_t ph_keyring_count(const struct ph_keyring *ring);
/* The id of key `i` (0 is the one that seals): 32 bits of its BLAKE2b, safe to show. */
uint32_t ph_keyring_id(const struct ph_keyring *ring, size_t i);
/* The sub-key of the key with that id, borrowed from the ring; NULL where it has no such key. */
const uint8_t *ph_keyring_subkey(const struct ph_keyring *ring, enum ph_key_use use, uint32_t id);

/* Fills `n` bytes from the kernel's generator. */
void ph_random_bytes(void *bytes, size_t n);

/* 24 bits of BLAKE2b of a node's name: its slot in epochs, where the configuration names none. */
uint32_t ph_slot_of_name(const char *name);

/* 64 bits of BLAKE2b of a cluster's name, as envelopes carry it. */
uint64_t ph_cluster_hash(const char *name);

/*
 * The ticket that proves the stream of migration `id` to node `peer`: BLAKE2b keyed with 256 random
 * bits of this daemon's own (`key`), over both. Who has seen others can tell nothing about it.
 */
void ph_seal_ticket(const uint8_t key[PH_SEAL_KEY_SIZE], const struct ph_id *id,
	const struct ph_name *peer, uint8_t ret_ticket[PH_SEAL_KEY_SIZE]);

/*
 * A proof that the other side's ticket is known, without sending it: BLAKE2b keyed with the
 * ticket, over a domain string, `context` (a word: which side proves what) and both nonces.
 */
void ph_seal_proof(const uint8_t ticket[PH_SEAL_KEY_SIZE], const char *context,
	const uint8_t nonce_a[PH_SEAL_NONCE_SIZE], const uint8_t nonce_b[PH_SEAL_NONCE_SIZE],
	uint8_t ret_proof[PH_SEAL_KEY_SIZE]);

/*
 * The key of one direction of one stream connection: keyed with the ticket, over both nonces and
 * `direction` (0: from A to B, 1: from B to A); fresh for each connection because the nonces are.
 * The ring gives its cluster only (NULL where there is no key): in the middle of a rotation two
 * nodes seal with different keys, and the ticket itself has come sealed under one of them.
 */
void ph_seal_stream_key(const struct ph_keyring *ring, const uint8_t ticket[PH_SEAL_KEY_SIZE],
	const uint8_t nonce_a[PH_SEAL_NONCE_SIZE], const uint8_t nonce_b[PH_SEAL_NONCE_SIZE],
	uint8_t direction, uint8_t ret_key[PH_SEAL_KEY_SIZE]);

/* Whether two secrets are equal, in a time that does not tell where they differ. */
bool ph_seal_equal(const void *a, const void *b, size_t n);
/* Overwrites a secret, and is not optimised away. */
void ph_seal_wipe(void *bytes, size_t n);

#endif
