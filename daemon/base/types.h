/*
 * types.h - the words that every layer shares: names, keys, ids, epochs.
 *
 * Plain values, copied freely; no ownership, no I/O.
 */
#ifndef PH_BASE_TYPES_H
#define PH_BASE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PH_NAME_SIZE 64	    /* a name of 1-63 bytes and its NUL */
#define PH_ADDRESS_SIZE 128 /* "tcp://host:port" and its NUL */
#define PH_REASON_SIZE 160  /* a short sentence or code and its NUL; longer ones are cut */
#define PH_VERSION_SIZE 32  /* a state format or a version, with its NUL */
#define PH_META_MAX 4096    /* bytes of a worker's metadata as compact JSON */
#define PH_TOKEN_SIZE 33    /* 128 bits in hex and its NUL */

/* A name as in the configuration: [A-Za-z0-9._-], 1-63, not starting with '.' or '-'. */
struct ph_name {
	char s[PH_NAME_SIZE];
};

/* One worker of the cluster: what an owner owns. */
struct ph_key {
	struct ph_name child;
	uint32_t instance; /* 0 ... instances-1 */
	uint32_t replica;  /* 0 ... replicas-1 */
};

/* A migration, 128 random bits; 32 hex digits in text. All zero means "none". */
struct ph_id {
	uint8_t b[16];
};

/* True for a legal name. `s` may be NULL (then false). */
bool ph_name_valid(const char *s);
/* True for a pattern of names, as fnmatch(3) has them, that is no name. `s` may be NULL. */
bool ph_name_is_pattern(const char *s);
/* Copies `s`, cut at 63 bytes; the caller has checked it. */
struct ph_name ph_name_of(const char *s);
bool ph_name_equal(const struct ph_name *a, const struct ph_name *b);

bool ph_key_equal(const struct ph_key *a, const struct ph_key *b);
/* Order by child, instance, replica: -1, 0, 1. */
int ph_key_compare(const struct ph_key *a, const struct ph_key *b);
/* A 64-bit hash (FNV-1a, finalised by murmur3's mixer); the same on every machine. */
uint64_t ph_key_hash(const struct ph_key *key);

bool ph_id_equal(const struct ph_id *a, const struct ph_id *b);
bool ph_id_none(const struct ph_id *id);
#define PH_ID_TEXT_SIZE 33
/* Writes 32 hex digits and a NUL; returns `text`. */
char *ph_id_text(const struct ph_id *id, char text[PH_ID_TEXT_SIZE]);
/* 0, or -EINVAL where `text` is not exactly 32 lower-case hex digits (then *ret is untouched). */
int ph_id_parse(const char *text, struct ph_id *ret);

/* What a request is known by to who made it: a whole number below 2^53, or else what it is. */
#define PH_REF_MAX 64
struct ph_ref {
	uint64_t n;
	char json[PH_REF_MAX + 1]; /* another number or a text, as compact JSON; empty: `n` */
};

enum ph_role {
	PH_ROLE_NONE,
	PH_ROLE_ACTIVE,
	PH_ROLE_STANDBY
};

/* All but the last step of ph_mix64(), which changes the lower 31 bits alone. */
static inline uint64_t ph_mix64_upper(uint64_t v)
{
	v ^= v >> 33;
	v *= 0xff51afd7ed558ccdu;
	v ^= v >> 33;
	v *= 0xc4ceb9fe1a85ec53u;
	return v;
}

/* The bits of a 64-bit value, mixed (murmur3's finaliser): placement does it for each key and node.
 */
static inline uint64_t ph_mix64(uint64_t v)
{
	v = ph_mix64_upper(v);
	return v ^ v >> 33;
}

/* FNV-1a over `n` bytes, going on from `seed` (start with PH_HASH_SEED). */
uint64_t ph_hash_bytes(uint64_t seed, const void *bytes, size_t n);
#define PH_HASH_SEED 0xcbf29ce484222325u
/* What stands, as 16 hex digits, at the end of the name of a worker's cgroup: the token itself is
 * nobody else's. */
uint64_t ph_token_mark(const char *token);

/*
 * Epoch: counter x 2^24 + slot, below 2^53, so that every language's number holds it. The slot is
 * that of the node that made the epoch: no two nodes make the same one, and there are no ties.
 */
#define PH_EPOCH_SLOT_BITS 24
#define PH_EPOCH_LIMIT (UINT64_C(1) << 53)
static inline uint64_t ph_epoch_make(uint64_t counter, uint32_t slot)
{
	return counter << PH_EPOCH_SLOT_BITS | (slot & 0xffffffu);
}
static inline uint64_t ph_epoch_counter(uint64_t epoch)
{
	return epoch >> PH_EPOCH_SLOT_BITS;
}
static inline uint32_t ph_epoch_slot(uint64_t epoch) /* of the node that made it */
{
	return (uint32_t)(epoch & 0xffffffu);
}

/*
 * Incarnations: a life of a node has a higher number than each before it. Two nodes that have one
 * name by mistake, and raise their numbers above the same one at the same moment, come to the same
 * only once in so many times: a part of it is random.
 */
#define PH_INCARNATION_APART 65536u
/* The least number, with its random part, or else the time with that part. */
static inline uint64_t ph_incarnation_from(uint64_t least, uint64_t wall_ms)
{
	return least > wall_ms ? least : wall_ms + least % PH_INCARNATION_APART;
}

#endif
