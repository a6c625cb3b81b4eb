/* seal and envelope: key files, what a seal refuses, the replay window. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/envelope.h"
#include "proto/seal.h"
#include "run_tests.h"

#define KEY_A "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define KEY_B "f0e1d2c3b4a5968778695a4b3c2d1e0ff0e1d2c3b4a5968778695a4b3c2d1e0f"

static char dir[] = "/tmp/test_envelope.XXXXXX";
static char path[64];

static void make_dir(void)
{
	strcpy(dir, "/tmp/test_envelope.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/key", dir);
}

static void remove_dir(void)
{
	(void)unlink(path);
	(void)rmdir(path);
	ck_assert_int_eq(rmdir(dir), 0);
}

static void write_file(const char *text, size_t n, mode_t mode)
{
	(void)unlink(path);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, n), (ssize_t)n);
	ck_assert_int_eq(fchmod(fd, mode), 0);
	close(fd);
}

static struct ph_keyring *ring_of(uint8_t first, uint8_t second)
{
	uint8_t keys[2][PH_SEAL_KEY_SIZE];
	struct ph_keyring *ring = NULL;

	memset(keys[0], first, sizeof keys[0]);
	memset(keys[1], second, sizeof keys[1]);
	ck_assert_int_eq(ph_keyring_of((const uint8_t(*)[PH_SEAL_KEY_SIZE])keys, second ? 2 : 1,
				 "main", &ring, NULL),
		0);
	return ring;
}

static struct ph_envelope header_of(enum ph_plane plane, uint64_t sequence)
{
	struct ph_envelope header = {
		.plane = plane,
		.hops = 1,
		.ttl_ms = 5000,
		.cluster = ph_cluster_hash("main"),
		.from = ph_name_of("node-a"),
		.from_incarnation = 7,
		.to = ph_name_of(plane == PH_PLANE_DIRECTED ? "node-b" : ""),
		.to_incarnation = plane == PH_PLANE_DIRECTED ? 9 : 0,
		.sequence = sequence,
		.correlation = 0x123456789abcdef0,
	};
	return header;
}

static size_t seal(const struct ph_keyring *ring, const struct ph_envelope *header,
	const char *body, uint8_t *bytes, size_t size)
{
	size_t n = 0;
	struct ph_err err = {{0}};

	ck_assert_msg(
		ph_envelope_seal(ring, header, body, strlen(body), bytes, size, &n, &err) == 0,
		"%s", err.text);
	return n;
}

static int open_it(const struct ph_keyring *ring, uint8_t *bytes, size_t n)
{
	struct ph_envelope header;
	const char *body;
	size_t body_n;
	struct ph_err err = {{0}};
	int rc = ph_envelope_open(
		ring, ph_cluster_hash("main"), bytes, n, &header, &body, &body_n, &err);

	if (rc < 0)
		ck_assert_uint_gt(strlen(err.text), 0);
	return rc;
}

/* ---- key files */

START_TEST(key_file_good)
{
	static const char text[] = "# cluster\n\n  " KEY_A "  # first\r\n\t" KEY_B;
	struct ph_keyring *ring = NULL, *other = NULL;
	struct ph_err err = {{0}};

	write_file(text, sizeof text - 1, 0600);
	ck_assert_msg(ph_keyring_load(path, "main", &ring, &err) == 0, "%s", err.text);
	ck_assert_uint_eq(ph_keyring_count(ring), 2);
	uint32_t id = ph_keyring_id(ring, 0);
	ck_assert_uint_ne(id, ph_keyring_id(ring, 1));
	ck_assert_ptr_nonnull(ph_keyring_subkey(ring, PH_KEY_USE_BUS, id));
	ck_assert_ptr_null(ph_keyring_subkey(ring, PH_KEY_USE_BUS, id ^ 1));
	ck_assert_int_ne(memcmp(ph_keyring_subkey(ring, PH_KEY_USE_BUS, id),
				 ph_keyring_subkey(ring, PH_KEY_USE_STREAM, id), PH_SEAL_KEY_SIZE),
		0);
	/* another cluster: the same ids, other sub-keys */
	ck_assert_int_eq(ph_keyring_load(path, "test", &other, &err), 0);
	ck_assert_uint_eq(ph_keyring_id(other, 0), id);
	ck_assert_int_ne(memcmp(ph_keyring_subkey(ring, PH_KEY_USE_BUS, id),
				 ph_keyring_subkey(other, PH_KEY_USE_BUS, id), PH_SEAL_KEY_SIZE),
		0);
	ph_keyring_free(ring);
	ph_keyring_free(other);
}
END_TEST

static const struct {
	const char *text;
	mode_t mode;
	int rc;
	const char *says;
} bad_files[] = {
	{KEY_A "\n", 0640, -EACCES, "mode 0640"},
	{KEY_A "\n", 0604, -EACCES, "mode 0604"},
	{KEY_A "\n", 0620, -EACCES, "mode 0620"},
	{"", 0600, -EINVAL, "there is no key"},
	{"# nothing\n\n", 0600, -EINVAL, "there is no key"},
	{KEY_A "\n" KEY_A "\n", 0600, -EINVAL, "the same"},
	{KEY_A "\nabc\n", 0600, -EINVAL, "/key:2:"},
	{KEY_A "0\n", 0600, -EINVAL, "/key:1:"},
	{"\n\n" KEY_A " " KEY_B "\n", 0600, -EINVAL, "/key:3:"},
	{"zz112233445566778899aabbccddeeff00112233445566778899aabbccddeeff", 0600, -EINVAL,
		"/key:1:"},
	{"0011223344556677 8899aabbccddeef00112233445566778899aabbccddeeff", 0600, -EINVAL,
		"/key:1:"},
};

START_TEST(key_file_bad)
{
	struct ph_keyring *untouched = (struct ph_keyring *)dir, *ring = untouched;
	struct ph_err err = {{0}};

	write_file(bad_files[_i].text, strlen(bad_files[_i].text), bad_files[_i].mode);
	ck_assert_int_eq(ph_keyring_load(path, "main", &ring, &err), bad_files[_i].rc);
	ck_assert_msg(strstr(err.text, bad_files[_i].says) != NULL, "%s", err.text);
	ck_assert_msg(strstr(err.text, path) == err.text, "%s", err.text);
	ck_assert_ptr_eq(ring, untouched);
}
END_TEST

START_TEST(key_file_too_many)
{
	struct ph_keyring *ring = NULL;
	struct ph_err err = {{0}};
	char text[17 * 66 + 1] = "";

	for (int i = 0; i < 17; i++)
		sprintf(text + strlen(text), "%02x%s\n", i, &KEY_A[2]);
	write_file(text, strlen(text), 0600);
	ck_assert_int_eq(ph_keyring_load(path, "main", &ring, &err), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.text, "/key:17:"));
	write_file(text, strlen(text) - 65, 0600);
	ck_assert_int_eq(ph_keyring_load(path, "main", &ring, &err), 0);
	ck_assert_uint_eq(ph_keyring_count(ring), 16);
	ph_keyring_free(ring);
}
END_TEST

START_TEST(key_file_odd)
{
	struct ph_keyring *ring = NULL;
	struct ph_err err = {{0}};
	char *big = malloc(70000);

	ck_assert_int_eq(ph_keyring_load(path, "main", &ring, &err), -ENOENT);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	ck_assert_int_eq(ph_keyring_load(path, "main", &ring, &err), -EINVAL);
	ck_assert_int_eq(rmdir(path), 0);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	ck_assert_int_eq(ph_keyring_load(path, "main", &ring, &err), -EINVAL);
	memset(big, '\n', 70000);
	write_file(big, 70000, 0600);
	ck_assert_int_eq(ph_keyring_load(path, "main", &ring, &err), -EFBIG);
	/* NUL bytes are no white space and no end */
	memset(big, 0, 70000);
	write_file(big, 64, 0600);
	ck_assert_int_eq(ph_keyring_load(path, "main", &ring, &err), -EINVAL);
	free(big);
}
END_TEST

START_TEST(small_things)
{
	uint8_t a[32] = {1}, b[32] = {2}, ticket[32] = {3}, out[4][32], zero[32] = {0};

	ck_assert_int_eq(ph_seal_init(NULL), 0);
	ck_assert_uint_lt(ph_slot_of_name("node-a"), 1u << 24);
	ck_assert_uint_ne(ph_slot_of_name("node-a"), ph_slot_of_name("node-b"));
	ck_assert_uint_ne(ph_cluster_hash("main"), ph_cluster_hash("test"));
	ph_seal_proof(ticket, "a", a, b, out[0]);
	ph_seal_proof(ticket, "b", a, b, out[1]);
	ph_seal_proof(ticket, "a", b, a, out[2]);
	ph_seal_proof(ticket, "a", a, b, out[3]);
	ck_assert(ph_seal_equal(out[0], out[3], 32));
	ck_assert(!ph_seal_equal(out[0], out[1], 32));
	ck_assert(!ph_seal_equal(out[0], out[2], 32));
	struct ph_keyring *ring = ring_of(1, 2), *rotated = ring_of(2, 1);
	ph_seal_stream_key(ring, ticket, a, b, 0, out[0]);
	ph_seal_stream_key(ring, ticket, a, b, 1, out[1]);
	ph_seal_stream_key(NULL, ticket, a, b, 0, out[2]);
	ph_seal_stream_key(rotated, ticket, a, b, 0, out[3]);
	ck_assert(!ph_seal_equal(out[0], out[1], 32));
	ck_assert(!ph_seal_equal(out[0], out[2], 32));
	ck_assert_msg(ph_seal_equal(out[0], out[3], 32), "a stream in the middle of a rotation");
	struct ph_id id = {{1}}, other = {{2}};
	struct ph_name peer = ph_name_of("b"), third = ph_name_of("c");
	ph_seal_ticket(a, &id, &peer, out[0]);
	ph_seal_ticket(a, &id, &peer, out[1]);
	ck_assert_msg(ph_seal_equal(out[0], out[1], 32), "PREPARE may be said again");
	ph_seal_ticket(b, &id, &peer, out[1]);
	ph_seal_ticket(a, &other, &peer, out[2]);
	ph_seal_ticket(a, &id, &third, out[3]);
	for (int i = 1; i < 4; i++)
		ck_assert(!ph_seal_equal(out[0], out[i], 32));
	ph_seal_wipe(out[0], 32);
	ck_assert(ph_seal_equal(out[0], zero, 32));
	ph_random_bytes(out[0], 32);
	ck_assert(!ph_seal_equal(out[0], zero, 32));
	ph_keyring_free(ring);
	ph_keyring_free(rotated);
	ph_keyring_free(NULL);
}
END_TEST

/* ---- envelopes */

/* _i: bit 0 sealed, bit 1 directed */
START_TEST(roundtrip)
{
	struct ph_keyring *ring = _i & 1 ? ring_of(1, 0) : NULL;
	struct ph_envelope header = header_of(_i & 2 ? PH_PLANE_DIRECTED : PH_PLANE_BROADCAST, 42);
	static const char *const bodies[] = {"", "{}", "{\"op\":\"heartbeat\"}"};
	uint8_t bytes[512];

	for (size_t i = 0; i < 3; i++) {
		struct ph_envelope got;
		const char *body;
		size_t body_n, n = seal(ring, &header, bodies[i], bytes, sizeof bytes);
		ck_assert_uint_le(n, ph_envelope_size(strlen(bodies[i])));
		if (ring && strlen(bodies[i]) > 2)
			ck_assert_ptr_null(memmem(bytes, n, "heartbeat", 9));
		ck_assert_int_eq(ph_envelope_open(ring, header.cluster, bytes, n, &got, &body,
					 &body_n, NULL),
			0);
		ck_assert_uint_eq(body_n, strlen(bodies[i]));
		ck_assert_int_eq(memcmp(body, bodies[i], body_n), 0);
		ck_assert_int_eq(got.plane, header.plane);
		ck_assert_uint_eq(got.hops, header.hops);
		ck_assert_uint_eq(got.ttl_ms, header.ttl_ms);
		ck_assert_uint_eq(got.cluster, header.cluster);
		ck_assert_str_eq(got.from.s, header.from.s);
		ck_assert_str_eq(got.to.s, header.to.s);
		ck_assert_uint_eq(got.from_incarnation, header.from_incarnation);
		ck_assert_uint_eq(got.to_incarnation, header.to_incarnation);
		ck_assert_uint_eq(got.sequence, header.sequence);
		ck_assert_uint_eq(got.correlation, header.correlation);
	}
	ph_keyring_free(ring);
}
END_TEST

START_TEST(each_bit_flipped_is_refused)
{
	struct ph_keyring *ring = ring_of(1, 0);
	struct ph_envelope header = header_of(PH_PLANE_DIRECTED, 1);
	uint8_t sealed[512], bytes[512];
	size_t n = seal(ring, &header, "{\"op\":\"x\"}", sealed, sizeof sealed);

	for (size_t bit = 0; bit < 8 * n; bit++) {
		memcpy(bytes, sealed, n);
		bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
		ck_assert_msg(open_it(ring, bytes, n) < 0, "bit %zu", bit);
	}
	memcpy(bytes, sealed, n);
	ck_assert_int_eq(open_it(ring, bytes, n), 0);
	ph_keyring_free(ring);
}
END_TEST

START_TEST(each_length_but_one_is_refused)
{
	struct ph_keyring *rings[] = {NULL, ring_of(1, 0)};
	struct ph_envelope header = header_of(PH_PLANE_BROADCAST, 1);
	uint8_t sealed[512] = {0}, bytes[512];

	for (size_t i = 0; i < 2; i++) {
		size_t n = seal(rings[i], &header, "{}", sealed, sizeof sealed);
		for (size_t cut = 0; cut < sizeof sealed; cut++) {
			memcpy(bytes, sealed, sizeof sealed);
			ck_assert_int_eq(open_it(rings[i], bytes, cut), cut == n ? 0 : -EMSGSIZE);
		}
	}
	ph_keyring_free(rings[1]);
}
END_TEST

START_TEST(keys_and_their_absence)
{
	struct ph_keyring *old = ring_of(1, 0), *new = ring_of(2, 0), *both = ring_of(2, 1);
	struct ph_envelope header = header_of(PH_PLANE_BROADCAST, 1);
	const struct {
		struct ph_keyring *seal, *open;
		int rc;
	} rows[] = {
		{old, old, 0},
		{old, both, 0},
		{both, new, 0},
		{both, both, 0},
		{old, new, -ENOKEY},
		{both, old, -ENOKEY},
		{old, NULL, -ENOKEY},
		{NULL, old, -EPERM},
		{NULL, NULL, 0},
	};
	uint8_t bytes[512];

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		size_t n = seal(rows[i].seal, &header, "{}", bytes, sizeof bytes);
		ck_assert_msg(open_it(rows[i].open, bytes, n) == rows[i].rc, "row %zu", i);
	}
	/* the same key in another cluster, and the other cluster's word for this one */
	uint8_t key[1][PH_SEAL_KEY_SIZE];
	struct ph_keyring *foreign = NULL;
	memset(key, 1, sizeof key);
	ck_assert_int_eq(
		ph_keyring_of((const uint8_t(*)[PH_SEAL_KEY_SIZE])key, 1, "other", &foreign, NULL),
		0);
	size_t n = seal(foreign, &header, "{}", bytes, sizeof bytes);
	ck_assert_int_eq(open_it(old, bytes, n), -EBADMSG);
	header.cluster = ph_cluster_hash("other");
	n = seal(foreign, &header, "{}", bytes, sizeof bytes);
	ck_assert_int_eq(open_it(old, bytes, n), -EXDEV);
	ph_keyring_free(foreign);
	ph_keyring_free(old);
	ph_keyring_free(new);
	ph_keyring_free(both);
}
END_TEST

START_TEST(what_no_sender_may_write)
{
	struct ph_envelope good = header_of(PH_PLANE_DIRECTED, 1), bad;
	uint8_t bytes[512], copy[512];
	size_t n;

	for (int i = 0; i < 7; i++) {
		bad = good;
		switch (i) {
		case 0:
			bad.plane = 3;
			break;
		case 1:
			strcpy(bad.from.s, "");
			break;
		case 2:
			strcpy(bad.from.s, "a/b");
			break;
		case 3:
			strcpy(bad.to.s, "");
			break;
		case 4:
			bad.from_incarnation = 0;
			break;
		case 5:
			bad.sequence = 0;
			break;
		case 6:
			bad.hops = 3;
			break;
		}
		ck_assert_int_eq(
			ph_envelope_seal(NULL, &bad, "{}", 2, bytes, sizeof bytes, &n, NULL),
			-EINVAL);
	}
	/* the same by hand, where nothing seals: plane, flags, reserved, key, hops, names, nonce */
	static const struct {
		size_t at;
		uint8_t v;
		int rc;
	} bytes_set[] = {
		{0, 'X', -EPROTO},
		{4, 2, -EPROTO},
		{5, 0, -EPROTO},
		{5, 9, -EPROTO},
		{6, 2, -EPROTO},
		{7, 1, -EPROTO},
		{11, 1, -EPROTO},
		{15, 1, -EMSGSIZE},
		{16, 1, -EXDEV},
		{61, 9, -EPROTO},
		{63, 1, -EPROTO},
		{64, 0, -EPROTO},
		{64, '/', -EPROTO},
		{100, 'x', -EPROTO},
		{127, 'x', -EPROTO},
		{128, 0, -EPROTO},
		{191, 'x', -EPROTO},
		{200, 1, -EPROTO},
	};
	n = seal(NULL, &good, "{}", bytes, sizeof bytes);
	for (size_t i = 0; i < sizeof bytes_set / sizeof bytes_set[0]; i++) {
		memcpy(copy, bytes, n);
		copy[bytes_set[i].at] = bytes_set[i].v;
		ck_assert_msg(open_it(NULL, copy, n) == bytes_set[i].rc, "row %zu", i);
	}
}
END_TEST

START_TEST(sizes)
{
	struct ph_keyring *ring = ring_of(1, 0);
	struct ph_envelope header = header_of(PH_PLANE_BROADCAST, 1);
	size_t size = PH_ENVELOPE_MAX + 64, n = 0;
	uint8_t *bytes = malloc(size);
	char *body = malloc(size);

	memset(body, 'x', size);
	ck_assert_int_eq(ph_envelope_seal(ring, &header, body, PH_ENVELOPE_BODY_MAX + 1, bytes,
				 size, &n, NULL),
		-EMSGSIZE);
	ck_assert_int_eq(ph_envelope_seal(ring, &header, body, 10, bytes, ph_envelope_size(10) - 1,
				 &n, NULL),
		-ENOBUFS);
	ck_assert_uint_eq(n, 0);
	ck_assert_int_eq(
		ph_envelope_seal(ring, &header, body, PH_ENVELOPE_BODY_MAX, bytes, size, &n, NULL),
		0);
	ck_assert_uint_eq(n, PH_ENVELOPE_MAX);
	ck_assert_int_eq(open_it(ring, bytes, PH_ENVELOPE_MAX + 1), -EMSGSIZE);
	ck_assert_int_eq(open_it(ring, bytes, n), 0);
	free(bytes);
	free(body);
	ph_keyring_free(ring);
}
END_TEST

START_TEST(garbage_is_refused)
{
	struct ph_keyring *rings[] = {NULL, ring_of(1, 0)};
	uint8_t bytes[600];

	for (int i = 0; i < 20000; i++) {
		uint32_t size;
		ph_random_bytes(&size, sizeof size);
		size %= sizeof bytes;
		ph_random_bytes(bytes, sizeof bytes);
		/* half of them with a right beginning */
		if (i & 2) {
			memcpy(bytes, "PHUB\1", 5);
			bytes[6] = (uint8_t)(i >> 3 & 1);
			bytes[7] = 0;
		}
		ck_assert_int_lt(open_it(rings[i & 1], bytes, size), 0);
	}
	ph_keyring_free(rings[1]);
}
END_TEST

START_TEST(whom_it_is_for)
{
	struct ph_envelope directed = header_of(PH_PLANE_DIRECTED, 1);
	struct ph_envelope all = header_of(PH_PLANE_BROADCAST, 1);

	ck_assert(ph_envelope_is_for(&directed, "node-b", 9));
	ck_assert(!ph_envelope_is_for(&directed, "node-b", 8));
	ck_assert(!ph_envelope_is_for(&directed, "node-c", 9));
	directed.to_incarnation = 0;
	ck_assert(ph_envelope_is_for(&directed, "node-b", 8));
	ck_assert(ph_envelope_is_for(&all, "node-c", 3));
}
END_TEST

/* ---- windows */

START_TEST(window_edges)
{
	struct ph_window w = {0};

	ck_assert_int_eq(ph_window_check(&w, 0), -ESTALE);
	ck_assert_int_eq(ph_window_check(&w, 1), 0);
	ck_assert_int_eq(ph_window_check(&w, 1), -EALREADY);
	ck_assert_int_eq(ph_window_check(&w, 1024), 0);
	ck_assert_int_eq(ph_window_check(&w, 1), -EALREADY);
	ck_assert_int_eq(ph_window_check(&w, 2), 0);
	ck_assert_int_eq(ph_window_check(&w, 1026), 0);
	ck_assert_int_eq(ph_window_check(&w, 2), -ESTALE);
	ck_assert_int_eq(ph_window_check(&w, 3), 0);
	ck_assert_int_eq(ph_window_check(&w, 1025), 0);
	ck_assert_int_eq(ph_window_check(&w, UINT64_MAX), 0);
	ck_assert_int_eq(ph_window_check(&w, UINT64_MAX), -EALREADY);
	ck_assert_int_eq(ph_window_check(&w, UINT64_MAX - 1023), 0);
	ck_assert_int_eq(ph_window_check(&w, UINT64_MAX - 1024), -ESTALE);
	ck_assert_int_eq(ph_window_check(&w, 1027), -ESTALE);
}
END_TEST

/* Against a model that remembers everything. */
START_TEST(window_property)
{
	enum {
		NUMBERS = 40000
	};
	static bool taken[NUMBERS];
	struct ph_window w = {0};
	uint64_t highest = 0, state = (uint64_t)_i + 1, base = 1;

	memset(taken, 0, sizeof taken);
	for (int i = 0; i < 60000; i++) {
		state = ph_mix64(state + 0x9e3779b97f4a7c15);
		uint64_t spread = state % 7 == 0 ? 3000 : 1100;
		uint64_t s = base + (state >> 32) % spread;
		base += state % 3 == 0;
		if (state % 997 == 0)
			base += 1500;
		if (s >= NUMBERS)
			break;
		int want = 0;
		if (s + PH_WINDOW_SIZE <= highest)
			want = -ESTALE;
		else if (taken[s])
			want = -EALREADY;
		ck_assert_int_eq(ph_window_check(&w, s), want);
		if (want == 0)
			taken[s] = true;
		if (want == 0 && s > highest)
			highest = s;
	}
	ck_assert_uint_gt(highest, 10000);
}
END_TEST

static int check_from(struct ph_windows *windows, const char *from, uint64_t incarnation,
	enum ph_plane plane, uint64_t sequence)
{
	struct ph_envelope header = header_of(plane, sequence);

	header.from = ph_name_of(from);
	header.from_incarnation = incarnation;
	return ph_windows_check(windows, &header, NULL);
}

START_TEST(windows_of_senders)
{
	struct ph_windows *windows = NULL;

	ck_assert_int_eq(ph_windows_new(0, &windows), -EINVAL);
	ck_assert_int_eq(ph_windows_new(PH_WINDOWS_MAX + 1, &windows), -EINVAL);
	ck_assert_int_eq(ph_windows_new(3, &windows), 0);
	ck_assert_int_eq(check_from(windows, "a", 5, PH_PLANE_BROADCAST, 1), 0);
	ck_assert_int_eq(check_from(windows, "a", 5, PH_PLANE_BROADCAST, 1), -EALREADY);
	ck_assert_int_eq(check_from(windows, "a", 5, PH_PLANE_DIRECTED, 1), 0);
	ck_assert_int_eq(check_from(windows, "b", 5, PH_PLANE_BROADCAST, 1), 0);
	/* another incarnation begins anew, on both planes */
	ck_assert_int_eq(check_from(windows, "a", 6, PH_PLANE_DIRECTED, 1), 0);
	ck_assert_int_eq(check_from(windows, "a", 6, PH_PLANE_BROADCAST, 1), 0);
	ck_assert_int_eq(check_from(windows, "a", 6, PH_PLANE_BROADCAST, 2), 0);
	/* bounded: b is silent longest, and a replay does not keep it */
	ck_assert_int_eq(check_from(windows, "c", 1, PH_PLANE_BROADCAST, 1), 0);
	ck_assert_int_eq(check_from(windows, "b", 5, PH_PLANE_BROADCAST, 1), -EALREADY);
	ck_assert_int_eq(check_from(windows, "d", 1, PH_PLANE_BROADCAST, 1), 0);
	ck_assert_uint_eq(ph_windows_count(windows), 3);
	ck_assert_int_eq(check_from(windows, "a", 6, PH_PLANE_BROADCAST, 2), -EALREADY);
	ck_assert_int_eq(check_from(windows, "c", 1, PH_PLANE_BROADCAST, 1), -EALREADY);
	for (int i = 0; i < 5000; i++) {
		char name[16];
		snprintf(name, sizeof name, "n%d", i);
		ck_assert_int_eq(check_from(windows, name, 1, PH_PLANE_BROADCAST, 1), 0);
	}
	ck_assert_uint_eq(ph_windows_count(windows), 3);
	ph_windows_free(windows);
	ph_windows_free(NULL);
}
END_TEST

/* Two lives of one name speak at a time; older ones do not wear out what is known of them. */
START_TEST(windows_of_lives)
{
	struct ph_windows *windows = NULL;

	ck_assert_int_eq(ph_windows_new(3, &windows), 0);
	ck_assert_int_eq(check_from(windows, "a", 7, PH_PLANE_BROADCAST, 1), 0);
	ck_assert_int_eq(check_from(windows, "a", 8, PH_PLANE_BROADCAST, 1), 0);
	for (uint64_t i = 1; i < 7; i++) { /* of long ago, each once */
		ck_assert_int_eq(check_from(windows, "a", i, PH_PLANE_BROADCAST, 9), 0);
		ck_assert_int_eq(check_from(windows, "a", i, PH_PLANE_BROADCAST, 9), -EALREADY);
		ck_assert_int_eq(check_from(windows, "a", 7, PH_PLANE_BROADCAST, 1), -EALREADY);
		ck_assert_int_eq(check_from(windows, "a", 8, PH_PLANE_BROADCAST, 1), -EALREADY);
	}
	/* 8 goes and comes again as 9, while 7 goes on */
	ck_assert_int_eq(check_from(windows, "a", 7, PH_PLANE_BROADCAST, 2), 0);
	ck_assert_int_eq(check_from(windows, "a", 9, PH_PLANE_BROADCAST, 1), 0);
	ck_assert_int_eq(check_from(windows, "a", 7, PH_PLANE_BROADCAST, 2), -EALREADY);
	ck_assert_int_eq(check_from(windows, "a", 7, PH_PLANE_BROADCAST, 3), 0);
	ck_assert_int_eq(check_from(windows, "a", 9, PH_PLANE_BROADCAST, 1), -EALREADY);
	ck_assert_uint_eq(ph_windows_count(windows), 1);
	ph_windows_free(windows);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("envelope");
	TCase *keys = tcase_create("keys"), *envelopes = tcase_create("envelopes");
	TCase *windows = tcase_create("windows");

	tcase_add_checked_fixture(keys, make_dir, remove_dir);
	tcase_add_test(keys, key_file_good);
	tcase_add_loop_test(keys, key_file_bad, 0, sizeof bad_files / sizeof bad_files[0]);
	tcase_add_test(keys, key_file_too_many);
	tcase_add_test(keys, key_file_odd);
	tcase_add_test(keys, small_things);
	suite_add_tcase(suite, keys);
	tcase_add_loop_test(envelopes, roundtrip, 0, 4);
	tcase_add_test(envelopes, each_bit_flipped_is_refused);
	tcase_add_test(envelopes, each_length_but_one_is_refused);
	tcase_add_test(envelopes, keys_and_their_absence);
	tcase_add_test(envelopes, what_no_sender_may_write);
	tcase_add_test(envelopes, sizes);
	tcase_add_test(envelopes, garbage_is_refused);
	tcase_add_test(envelopes, whom_it_is_for);
	suite_add_tcase(suite, envelopes);
	tcase_add_test(windows, window_edges);
	tcase_add_loop_test(windows, window_property, 0, 20);
	tcase_add_test(windows, windows_of_senders);
	tcase_add_test(windows, windows_of_lives);
	suite_add_tcase(suite, windows);
	return run_tests(suite);
}
