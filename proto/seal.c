#include "proto/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEY_FILE_MAX 65536
#define KEY_DIGITS (2 * PH_SEAL_KEY_SIZE)

/* One key as it is used: the key of the file itself is not kept. */
struct ring_key {
	uint32_t id;
	uint8_t subkey[PH_KEY_USE_COUNT][PH_SEAL_KEY_SIZE];
};

struct ph_keyring {
	size_t n;
	char cluster[PH_NAME_SIZE];
	struct ring_key keys[PH_KEYRING_MAX];
};

/* A key file as it is read: in locked memory, wiped after use. */
struct key_file {
	char text[KEY_FILE_MAX + 1];
	size_t n;
	uint8_t keys[PH_KEYRING_MAX][PH_SEAL_KEY_SIZE];
};

static const char *const use_domains[PH_KEY_USE_COUNT] = {
	[PH_KEY_USE_BUS] = "prochub 1 bus",
	[PH_KEY_USE_STREAM] = "prochub 1 stream",
};

int ph_seal_init(struct ph_err *err)
{
	if (sodium_init() < 0)
		return ph_err_set(err, ENOSYS, "libsodium cannot be initialised");
	return 0;
}

/* libsodium fails only where the kernel has no random source, and nothing secret works then. */
static void need_sodium(void)
{
	if (sodium_init() < 0)
		abort();
}

static void *secret_alloc(size_t n)
{
	need_sodium();
	void *p = calloc(1, n);
	if (p)
		(void)sodium_mlock(p, n); /* best effort: the limit may be too low */
	return p;
}

static void secret_free(void *p, size_t n)
{
	if (!p)
		return;
	sodium_memzero(p, n);
	(void)sodium_munlock(p, n);
	free(p);
}

/* BLAKE2b over a domain string (with its NUL) and pieces. */
struct piece {
	const void *bytes;
	size_t n;
};

static void hash(uint8_t *ret, size_t size, const uint8_t *key, const char *domain,
	const struct piece *pieces, size_t n)
{
	crypto_generichash_state state;

	need_sodium();
	crypto_generichash_init(&state, key, key ? PH_SEAL_KEY_SIZE : 0, size);
	crypto_generichash_update(&state, (const uint8_t *)domain, strlen(domain) + 1);
	for (size_t i = 0; i < n; i++)
		crypto_generichash_update(&state, pieces[i].bytes, pieces[i].n);
	crypto_generichash_final(&state, ret, size);
	sodium_memzero(&state, sizeof state);
}

/* The first four bytes of a hash of at least 16, the shortest that BLAKE2b gives here. */
static uint32_t hash_u32(const char *domain, const void *bytes, size_t n)
{
	uint8_t out[crypto_generichash_BYTES_MIN];
	struct piece piece = {bytes, n};

	hash(out, sizeof out, NULL, domain, &piece, 1);
	return (uint32_t)out[0] << 24 | (uint32_t)out[1] << 16 | (uint32_t)out[2] << 8 | out[3];
}

int ph_keyring_of(const uint8_t (*keys)[PH_SEAL_KEY_SIZE], size_t n, const char *cluster,
	struct ph_keyring **ret_ring, struct ph_err *err)
{
	if (n == 0)
		return ph_err_set(err, EINVAL, "there is no key");
	if (n > PH_KEYRING_MAX)
		return ph_err_set(
			err, EINVAL, "there are %zu keys, more than %d", n, PH_KEYRING_MAX);
	struct ph_keyring *ring = secret_alloc(sizeof *ring);
	if (!ring)
		return ph_err_set(err, ENOMEM, "no memory for a key ring");
	ring->n = n;
	(void)stpncpy(ring->cluster, cluster, sizeof ring->cluster - 1);
	struct piece piece = {cluster, strlen(cluster)};
	for (size_t i = 0; i < n; i++) {
		struct ring_key *key = &ring->keys[i];
		key->id = hash_u32("prochub 1 key id", keys[i], PH_SEAL_KEY_SIZE);
		for (size_t j = 0; j < i; j++) {
			if (ring->keys[j].id != key->id)
				continue;
			ph_keyring_free(ring);
			return ph_err_set(
				err, EINVAL, "keys %zu and %zu are the same", j + 1, i + 1);
		}
		for (size_t use = 0; use < PH_KEY_USE_COUNT; use++)
			hash(key->subkey[use], PH_SEAL_KEY_SIZE, keys[i], use_domains[use], &piece,
				1);
	}
	*ret_ring = ring;
	return 0;
}

void ph_keyring_free(struct ph_keyring *ring)
{
	secret_free(ring, sizeof *ring);
}

size_t ph_keyring_count(const struct ph_keyring *ring)
{
	return ring->n;
}

uint32_t ph_keyring_id(const struct ph_keyring *ring, size_t i)
{
	return i < ring->n ? ring->keys[i].id : 0;
}

const uint8_t *ph_keyring_subkey(const struct ph_keyring *ring, enum ph_key_use use, uint32_t id)
{
	for (size_t i = 0; i < ring->n; i++)
		if (ring->keys[i].id == id)
			return ring->keys[i].subkey[use];
	return NULL;
}

/* Refuses what is not a regular file of the reader's alone, before anything of it is read. */
static int key_file_check(int fd, const char *path, struct ph_err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return ph_err_set(err, errno, "%s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return ph_err_set(err, EINVAL, "%s: not a regular file", path);
	if (st.st_mode & 077)
		return ph_err_set(err, EACCES,
			"%s: group or others may access the keys (mode %04o), expected 0600", path,
			(unsigned)(st.st_mode & 07777));
	if (st.st_size > KEY_FILE_MAX)
		return ph_err_set(
			err, EFBIG, "%s: larger than %d bytes, no key file", path, KEY_FILE_MAX);
	return 0;
}

static int key_file_read(const char *path, struct key_file *file, struct ph_err *err)
{
	/* O_NONBLOCK: a FIFO in place of the file must not stop the daemon */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return ph_err_set(err, errno, "%s: %s", path, strerror(errno));
	int rc = key_file_check(fd, path, err);
	while (rc == 0 && file->n < KEY_FILE_MAX) {
		ssize_t got = read(fd, file->text + file->n, KEY_FILE_MAX - file->n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			rc = ph_err_set(err, errno, "%s: %s", path, strerror(errno));
		if (got <= 0)
			break;
		file->n += (size_t)got;
	}
	close(fd);
	return rc;
}

/* One line of `n` bytes without its newline: 1 a key, 0 nothing, -1 neither. */
static int key_line(const char *line, size_t n, uint8_t key[PH_SEAL_KEY_SIZE])
{
	const char *comment = memchr(line, '#', n);
	size_t size;

	if (comment)
		n = (size_t)(comment - line);
	while (n && strchr(" \t\r", line[n - 1]) && line[n - 1])
		n--;
	while (n && (*line == ' ' || *line == '\t')) {
		line++;
		n--;
	}
	if (n == 0)
		return 0;
	if (n != KEY_DIGITS)
		return -1;
	if (sodium_hex2bin(key, PH_SEAL_KEY_SIZE, line, n, NULL, &size, NULL) != 0 ||
		size != PH_SEAL_KEY_SIZE)
		return -1;
	return 1;
}

static int key_file_parse(
	const char *path, struct key_file *file, size_t *ret_n, struct ph_err *err)
{
	const char *at = file->text, *end = file->text + file->n;
	uint8_t key[PH_SEAL_KEY_SIZE];
	size_t n = 0;

	for (unsigned line = 1; at < end; line++) {
		const char *stop = memchr(at, '\n', (size_t)(end - at));
		if (!stop)
			stop = end;
		int rc = key_line(at, (size_t)(stop - at), key);
		if (rc < 0)
			return ph_err_set(err, EINVAL,
				"%s:%u: not a key: expected %d hexadecimal digits", path, line,
				KEY_DIGITS);
		if (rc > 0 && n == PH_KEYRING_MAX)
			return ph_err_set(err, EINVAL, "%s:%u: more than %d keys", path, line,
				PH_KEYRING_MAX);
		if (rc > 0)
			memcpy(file->keys[n++], key, sizeof key);
		at = stop + 1;
	}
	sodium_memzero(key, sizeof key);
	*ret_n = n;
	return 0;
}

int ph_keyring_load(
	const char *path, const char *cluster, struct ph_keyring **ret_ring, struct ph_err *err)
{
	struct key_file *file = secret_alloc(sizeof *file);
	size_t n = 0;

	if (!file)
		return ph_err_set(err, ENOMEM, "%s: no memory to read it", path);
	int rc = key_file_read(path, file, err);
	if (rc == 0)
		rc = key_file_parse(path, file, &n, err);
	if (rc == 0) {
		rc = ph_keyring_of(
			(const uint8_t(*)[PH_SEAL_KEY_SIZE])file->keys, n, cluster, ret_ring, err);
		if (rc < 0)
			ph_err_prefix(err, "%s", path);
	}
	secret_free(file, sizeof *file);
	return rc;
}

void ph_random_bytes(void *bytes, size_t n)
{
	need_sodium();
	randombytes_buf(bytes, n);
}

uint32_t ph_slot_of_name(const char *name)
{
	return hash_u32("prochub 1 slot", name, strlen(name)) >> 8;
}

uint64_t ph_cluster_hash(const char *name)
{
	uint8_t out[crypto_generichash_BYTES_MIN];
	struct piece piece = {name, strlen(name)};
	uint64_t v = 0;

	hash(out, sizeof out, NULL, "prochub 1 cluster", &piece, 1);
	for (size_t i = 0; i < 8; i++)
		v = v << 8 | out[i];
	return v;
}

void ph_seal_ticket(const uint8_t key[PH_SEAL_KEY_SIZE], const struct ph_id *id,
	const struct ph_name *peer, uint8_t ret_ticket[PH_SEAL_KEY_SIZE])
{
	const struct piece pieces[] = {{id->b, sizeof id->b}, {peer->s, strlen(peer->s)}};

	hash(ret_ticket, PH_SEAL_KEY_SIZE, key, "prochub 1 stream ticket", pieces, 2);
}

void ph_seal_proof(const uint8_t ticket[PH_SEAL_KEY_SIZE], const char *context,
	const uint8_t nonce_a[PH_SEAL_NONCE_SIZE], const uint8_t nonce_b[PH_SEAL_NONCE_SIZE],
	uint8_t ret_proof[PH_SEAL_KEY_SIZE])
{
	/* the nonces come first: of fixed size, they cannot run into the context */
	const struct piece pieces[] = {
		{nonce_a, PH_SEAL_NONCE_SIZE},
		{nonce_b, PH_SEAL_NONCE_SIZE},
		{context, strlen(context)},
	};

	hash(ret_proof, PH_SEAL_KEY_SIZE, ticket, "prochub 1 stream proof", pieces, 3);
}

void ph_seal_stream_key(const struct ph_keyring *ring, const uint8_t ticket[PH_SEAL_KEY_SIZE],
	const uint8_t nonce_a[PH_SEAL_NONCE_SIZE], const uint8_t nonce_b[PH_SEAL_NONCE_SIZE],
	uint8_t direction, uint8_t ret_key[PH_SEAL_KEY_SIZE])
{
	const char *cluster = ring ? ring->cluster : "";
	const struct piece pieces[] = {
		{nonce_a, PH_SEAL_NONCE_SIZE},
		{nonce_b, PH_SEAL_NONCE_SIZE},
		{&direction, 1},
		{cluster, strlen(cluster)},
	};

	hash(ret_key, PH_SEAL_KEY_SIZE, ticket, "prochub 1 stream key", pieces, 4);
}

bool ph_seal_equal(const void *a, const void *b, size_t n)
{
	return sodium_memcmp(a, b, n) == 0;
}

void ph_seal_wipe(void *bytes, size_t n)
{
	sodium_memzero(bytes, n);
}
