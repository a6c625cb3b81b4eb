#include "proto/envelope.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

/* uthash's own hash does not pass clang's -Wimplicit-fallthrough, and it exits without memory */
#define HASH_FUNCTION(key, n, ret) ((ret) = (unsigned)ph_hash_bytes(PH_HASH_SEED, key, n))
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/* The header: offsets of its fields. Everything up to the nonce's end is associated data. */
enum {
	AT_MAGIC = 0,	     /* "PHUB" */
	AT_VERSION = 4,	     /* u8 */
	AT_PLANE = 5,	     /* u8 */
	AT_FLAGS = 6,	     /* u8 */
	AT_RESERVED = 7,     /* u8, 0 */
	AT_KEY = 8,	     /* u32, 0 where unsealed */
	AT_LENGTH = 12,	     /* u32, of the body without its tag */
	AT_CLUSTER = 16,     /* u64 */
	AT_FROM_INC = 24,    /* u64 */
	AT_TO_INC = 32,	     /* u64 */
	AT_SEQUENCE = 40,    /* u64 */
	AT_CORRELATION = 48, /* u64 */
	AT_TTL = 56,	     /* u32 */
	AT_HOPS = 60,	     /* u16 */
	AT_RESERVED2 = 62,   /* u16, 0 */
	AT_FROM = 64,	     /* name, padded with NUL */
	AT_TO = 128,	     /* the same, or all NUL */
	AT_NONCE = 192,	     /* all 0 where unsealed */
	AT_BODY = 216,
};

#define FLAG_SEALED 1u
static const uint8_t magic[4] = {'P', 'H', 'U', 'B'};

static_assert(AT_BODY == PH_ENVELOPE_HEADER, "the header's size");
static_assert(AT_BODY - AT_NONCE == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES, "nonce");
static_assert(PH_ENVELOPE_TAG == crypto_aead_xchacha20poly1305_ietf_ABYTES, "tag");
static_assert(PH_SEAL_KEY_SIZE == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "key");

static void put_u16(uint8_t *at, uint16_t v)
{
	at[0] = (uint8_t)(v >> 8);
	at[1] = (uint8_t)v;
}

static uint16_t get_u16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static void put_u64(uint8_t *at, uint64_t v)
{
	ph_put_u32(at, (uint32_t)(v >> 32));
	ph_put_u32(at + 4, (uint32_t)v);
}

static uint64_t get_u64(const uint8_t *at)
{
	return (uint64_t)ph_get_u32(at) << 32 | ph_get_u32(at + 4);
}

/* What a sender may write; both ends ask it. */
static int header_check(const struct ph_envelope *header, struct ph_err *err)
{
	if (header->plane != PH_PLANE_BROADCAST && header->plane != PH_PLANE_DIRECTED)
		return ph_err_set(err, EPROTO, "there is no plane %d", (int)header->plane);
	if (!ph_name_valid(header->from.s))
		return ph_err_set(err, EPROTO, "the sender has no legal name");
	if (header->to.s[0] && !ph_name_valid(header->to.s))
		return ph_err_set(err, EPROTO, "the receiver has no legal name");
	if (header->plane == PH_PLANE_DIRECTED && !header->to.s[0])
		return ph_err_set(err, EPROTO, "a directed message names no receiver");
	if (header->from_incarnation == 0 || header->sequence == 0)
		return ph_err_set(
			err, EPROTO, "incarnation or sequence of %s is 0", header->from.s);
	if (header->hops > PH_ENVELOPE_HOPS_MAX)
		return ph_err_set(err, EPROTO, "%u hops, more than %u", (unsigned)header->hops,
			PH_ENVELOPE_HOPS_MAX);
	return 0;
}

static void header_write(uint8_t *at, const struct ph_envelope *header, size_t n)
{
	memset(at, 0, PH_ENVELOPE_HEADER);
	memcpy(at + AT_MAGIC, magic, sizeof magic);
	at[AT_VERSION] = PH_ENVELOPE_VERSION;
	at[AT_PLANE] = (uint8_t)header->plane;
	ph_put_u32(at + AT_LENGTH, (uint32_t)n);
	put_u64(at + AT_CLUSTER, header->cluster);
	put_u64(at + AT_FROM_INC, header->from_incarnation);
	put_u64(at + AT_TO_INC, header->to_incarnation);
	put_u64(at + AT_SEQUENCE, header->sequence);
	put_u64(at + AT_CORRELATION, header->correlation);
	ph_put_u32(at + AT_TTL, header->ttl_ms);
	put_u16(at + AT_HOPS, header->hops);
	memcpy(at + AT_FROM, header->from.s, strlen(header->from.s));
	memcpy(at + AT_TO, header->to.s, strlen(header->to.s));
}

int ph_envelope_seal(const struct ph_keyring *ring, const struct ph_envelope *header,
	const void *body, size_t n, uint8_t *ret_bytes, size_t size, size_t *ret_n,
	struct ph_err *err)
{
	if (header_check(header, err) < 0)
		return -EINVAL;
	if (n > PH_ENVELOPE_BODY_MAX)
		return ph_err_set(err, EMSGSIZE, "a body of %zu bytes, more than %u", n,
			PH_ENVELOPE_BODY_MAX);
	size_t total = PH_ENVELOPE_HEADER + n + (ring ? PH_ENVELOPE_TAG : 0);
	if (total > size)
		return ph_err_set(
			err, ENOBUFS, "a message of %zu bytes in a buffer of %zu", total, size);
	header_write(ret_bytes, header, n);
	if (!ring) {
		if (n)
			memcpy(ret_bytes + AT_BODY, body, n);
		*ret_n = total;
		return 0;
	}
	uint32_t id = ph_keyring_id(ring, 0);
	ret_bytes[AT_FLAGS] = FLAG_SEALED;
	ph_put_u32(ret_bytes + AT_KEY, id);
	ph_random_bytes(ret_bytes + AT_NONCE, AT_BODY - AT_NONCE);
	crypto_aead_xchacha20poly1305_ietf_encrypt(ret_bytes + AT_BODY, NULL, body, n, ret_bytes,
		PH_ENVELOPE_HEADER, NULL, ret_bytes + AT_NONCE,
		ph_keyring_subkey(ring, PH_KEY_USE_BUS, id));
	*ret_n = total;
	return 0;
}

/* Length, magic, version: what makes the rest of the header readable. */
static int open_length(const uint8_t *bytes, size_t n, struct ph_err *err)
{
	if (n < PH_ENVELOPE_HEADER || n > PH_ENVELOPE_MAX)
		return ph_err_set(err, EMSGSIZE, "%zu bytes, expected %u to %u", n,
			PH_ENVELOPE_HEADER, PH_ENVELOPE_MAX);
	if (memcmp(bytes + AT_MAGIC, magic, sizeof magic) != 0)
		return ph_err_set(err, EPROTO, "not a message of prochub");
	if (bytes[AT_VERSION] != PH_ENVELOPE_VERSION)
		return ph_err_set(err, EPROTO, "version %u of the bus, expected %d",
			(unsigned)bytes[AT_VERSION], PH_ENVELOPE_VERSION);
	if (bytes[AT_FLAGS] & ~FLAG_SEALED || bytes[AT_RESERVED] || get_u16(bytes + AT_RESERVED2))
		return ph_err_set(err, EPROTO, "flags that this version does not know");
	size_t tag = bytes[AT_FLAGS] & FLAG_SEALED ? PH_ENVELOPE_TAG : 0;
	if (n - PH_ENVELOPE_HEADER != tag + ph_get_u32(bytes + AT_LENGTH))
		return ph_err_set(err, EMSGSIZE, "%zu bytes with a body of %" PRIu32, n,
			ph_get_u32(bytes + AT_LENGTH));
	return 0;
}

static bool all_zero(const uint8_t *bytes, size_t n)
{
	uint8_t any = 0;
	for (size_t i = 0; i < n; i++)
		any |= bytes[i];
	return any == 0;
}

/* Key and seal. The body is decrypted in place. */
static int open_seal(const struct ph_keyring *ring, uint8_t *bytes, size_t n, struct ph_err *err)
{
	bool sealed = bytes[AT_FLAGS] & FLAG_SEALED;
	uint32_t id = ph_get_u32(bytes + AT_KEY);

	if (!sealed && ring)
		return ph_err_set(err, EPERM, "not sealed, and this node has a cluster key");
	if (!sealed && (id || !all_zero(bytes + AT_NONCE, AT_BODY - AT_NONCE)))
		return ph_err_set(err, EPROTO, "a key but no seal");
	if (!sealed)
		return 0;
	if (!ring)
		return ph_err_set(err, ENOKEY, "sealed, and this node has no cluster key");
	const uint8_t *key = ph_keyring_subkey(ring, PH_KEY_USE_BUS, id);
	if (!key)
		return ph_err_set(err, ENOKEY,
			"sealed under key %08" PRIx32 ", which this node's key file does not hold",
			id);
	if (crypto_aead_xchacha20poly1305_ietf_decrypt(bytes + AT_BODY, NULL, NULL, bytes + AT_BODY,
		    n - PH_ENVELOPE_HEADER, bytes, PH_ENVELOPE_HEADER, bytes + AT_NONCE, key) != 0)
		return ph_err_set(err, EBADMSG, "the seal does not fit");
	return 0;
}

/* A name in its 64 bytes; false where it is not padded with NUL to the end. */
static bool name_read(const uint8_t *at, struct ph_name *ret)
{
	size_t n = strnlen((const char *)at, PH_NAME_SIZE);
	if (n == PH_NAME_SIZE || !all_zero(at + n, PH_NAME_SIZE - n))
		return false;
	memcpy(ret->s, at, PH_NAME_SIZE);
	return true;
}

static int header_read(const uint8_t *at, struct ph_envelope *ret, struct ph_err *err)
{
	memset(ret, 0, sizeof *ret);
	ret->plane = at[AT_PLANE];
	ret->hops = get_u16(at + AT_HOPS);
	ret->ttl_ms = ph_get_u32(at + AT_TTL);
	ret->cluster = get_u64(at + AT_CLUSTER);
	ret->from_incarnation = get_u64(at + AT_FROM_INC);
	ret->to_incarnation = get_u64(at + AT_TO_INC);
	ret->sequence = get_u64(at + AT_SEQUENCE);
	ret->correlation = get_u64(at + AT_CORRELATION);
	if (!name_read(at + AT_FROM, &ret->from) || !name_read(at + AT_TO, &ret->to))
		return ph_err_set(err, EPROTO, "a name that does not end");
	return header_check(ret, err);
}

int ph_envelope_open(const struct ph_keyring *ring, uint64_t cluster, uint8_t *bytes, size_t n,
	struct ph_envelope *ret_header, const char **ret_body, size_t *ret_n, struct ph_err *err)
{
	struct ph_envelope header;
	int rc = open_length(bytes, n, err);

	if (rc < 0)
		return rc;
	if (get_u64(bytes + AT_CLUSTER) != cluster)
		return ph_err_set(err, EXDEV, "from another cluster");
	rc = open_seal(ring, bytes, n, err);
	if (rc < 0)
		return rc;
	rc = header_read(bytes, &header, err);
	if (rc < 0)
		return rc;
	*ret_header = header;
	*ret_body = (const char *)bytes + AT_BODY;
	*ret_n = ph_get_u32(bytes + AT_LENGTH);
	return 0;
}

bool ph_envelope_is_for(const struct ph_envelope *header, const char *node, uint64_t incarnation)
{
	if (header->to.s[0] && strcmp(header->to.s, node) != 0)
		return false;
	return header->to_incarnation == 0 || header->to_incarnation == incarnation;
}

/* ---- replay window: a ring of bits, that of number s at s modulo the size */

static uint64_t bit_of(uint64_t sequence)
{
	return UINT64_C(1) << (sequence % 64);
}

static uint64_t *word_of(struct ph_window *window, uint64_t sequence)
{
	return &window->seen[sequence % PH_WINDOW_SIZE / 64];
}

int ph_window_check(struct ph_window *window, uint64_t sequence)
{
	if (sequence == 0)
		return -ESTALE;
	if (sequence > window->highest) {
		if (sequence - window->highest >= PH_WINDOW_SIZE)
			memset(window->seen, 0, sizeof window->seen);
		else
			for (uint64_t s = window->highest + 1; s < sequence; s++)
				*word_of(window, s) &= ~bit_of(s);
		window->highest = sequence;
		*word_of(window, sequence) |= bit_of(sequence);
		return 0;
	}
	if (window->highest - sequence >= PH_WINDOW_SIZE)
		return -ESTALE;
	if (*word_of(window, sequence) & bit_of(sequence))
		return -EALREADY;
	*word_of(window, sequence) |= bit_of(sequence);
	return 0;
}

#define LIVES 2

struct life {
	uint64_t incarnation;	     /* 0: none */
	uint64_t turn;		     /* of its last accepted message */
	struct ph_window windows[2]; /* broadcast, directed */
};

/*
 * Two nodes may have one name by mistake, and which of them is the member is not for this file to
 * say: the two lives that spoke last are known, and `stray` is for all that are older than both.
 */
struct sender {
	struct ph_name name; /* key: padded with NUL */
	struct life lives[LIVES], stray;
	uint64_t turn; /* of its last accepted message */
	UT_hash_handle hh;
};

struct ph_windows {
	size_t max;
	uint64_t turn; /* accepted messages */
	struct sender *senders;
};

int ph_windows_new(size_t max, struct ph_windows **ret_windows)
{
	if (max == 0 || max > PH_WINDOWS_MAX)
		return -EINVAL;
	struct ph_windows *windows = calloc(1, sizeof *windows);
	if (!windows)
		return -ENOMEM;
	windows->max = max;
	*ret_windows = windows;
	return 0;
}

void ph_windows_free(struct ph_windows *windows)
{
	struct sender *sender, *next;

	if (!windows)
		return;
	HASH_ITER (hh, windows->senders, sender, next) {
		HASH_DEL(windows->senders, sender);
		free(sender);
	}
	free(windows);
}

size_t ph_windows_count(const struct ph_windows *windows)
{
	return HASH_COUNT(windows->senders);
}

/* The one that is silent longest leaves the table. */
static void sender_evict(struct ph_windows *windows)
{
	struct sender *oldest = windows->senders;

	for (struct sender *s = windows->senders; s; s = s->hh.next)
		if (s->turn < oldest->turn)
			oldest = s;
	if (!oldest)
		return;
	HASH_DEL(windows->senders, oldest);
	free(oldest);
}

static struct sender *sender_add(struct ph_windows *windows, const struct ph_envelope *header)
{
	if (HASH_COUNT(windows->senders) >= windows->max)
		sender_evict(windows);
	struct sender *sender = calloc(1, sizeof *sender);
	if (!sender)
		return NULL;
	sender->name = header->from;
	HASH_ADD(hh, windows->senders, name, sizeof sender->name, sender);
	if (!sender->hh.tbl) {
		free(sender);
		return NULL;
	}
	return sender;
}

/* The life of that incarnation; a new one takes the place of the one that is silent longest. */
static struct life *life_of(struct sender *sender, uint64_t incarnation)
{
	struct life *silent = &sender->lives[0];
	bool older = true;

	for (size_t i = 0; i < LIVES; i++) {
		struct life *life = &sender->lives[i];
		if (life->incarnation == incarnation)
			return life;
		if (incarnation > life->incarnation)
			older = false;
		if (life->turn < silent->turn)
			silent = life;
	}
	if (older) /* replays of long ago must not wear out the windows of those that live */
		silent = &sender->stray;
	if (silent->incarnation != incarnation) {
		memset(silent, 0, sizeof *silent);
		silent->incarnation = incarnation;
	}
	return silent;
}

int ph_windows_check(
	struct ph_windows *windows, const struct ph_envelope *header, struct ph_err *err)
{
	struct sender *sender;

	HASH_FIND(hh, windows->senders, &header->from, sizeof header->from, sender);
	if (!sender)
		sender = sender_add(windows, header);
	if (!sender)
		return ph_err_set(err, ENOMEM, "no memory for the window of %s", header->from.s);
	struct life *life = life_of(sender, header->from_incarnation);
	int rc = ph_window_check(
		&life->windows[header->plane == PH_PLANE_DIRECTED], header->sequence);
	if (rc < 0)
		return ph_err_set(err, -rc, "%s: message %" PRIu64 " %s", header->from.s,
			header->sequence, rc == -EALREADY ? "was there before" : "is too old");
	/* only an accepted message counts as a sign of life: a replay keeps nobody in the table */
	sender->turn = life->turn = ++windows->turn;
	return 0;
}
