/* test_stream.c - state streams when all goes well, and when the callers err. */
#include "run_tests.h"
#include "stream_world.h"

static bool worker_done(struct worker *n)
{
	return n->ev == NULL;
}

/* `k` rounds of stream 0 are over on both sides. */
static bool rounds_over(struct world *w, int k)
{
	return w->rec[0][0].rounds >= k && w->rec[1][0].rounds >= k;
}

static void transfer(enum ph_stream_seal seal, uint64_t total)
{
	struct world *w = world_new(seal);
	world_begin(w, 0, ph_streams_port(w->side[1]), total);
	struct worker *o = writer_start(w, 0, 0, total);
	struct worker *n = reader_start(w, 0, 0, 0);
	struct ph_id id = id_of(0);
	ck_assert(world_run(w, rounds_over, 1, 20000));
	ck_assert(worker_done(o));
	while (!worker_done(n))
		event_base_loop(w->base, EVLOOP_ONCE);
	round_equal(w, 0, 0, o, n);
	ck_assert_uint_eq(ph_stream_bytes(w->side[0], &id), total);
	ck_assert_uint_eq(ph_stream_bytes(w->side[1], &id), total);
	ck_assert_int_eq(w->rec[0][0].failures + w->rec[1][0].failures, 0);
	world_free(w);
}

static const uint64_t sizes[] = {0, 1, 1000, 300000, 64u << 20};
#define SIZES ((int)(sizeof(sizes) / sizeof(sizes[0])))

START_TEST(test_sizes)
{
	transfer((enum ph_stream_seal)(_i / SIZES), sizes[_i % SIZES]);
}
END_TEST

START_TEST(test_rounds)
{
	static const uint64_t totals[] = {700000, 0, 5};
	struct world *w = world_new(PH_STREAM_ENCRYPT);
	struct worker *o[3], *n[3];
	world_begin(w, 0, ph_streams_port(w->side[1]), 700000);
	o[0] = writer_start(w, 0, 0, totals[0]);
	n[0] = reader_start(w, 0, 0, 0);
	/* those of the next round may be there before the present one is over */
	o[1] = writer_start(w, 0, 1, totals[1]);
	n[1] = reader_start(w, 0, 1, 0);
	ck_assert(world_run(w, rounds_over, 2, 30000));
	/* again, of one that is over; and of one too far ahead */
	struct ph_id id = id_of(0);
	ck_assert_int_eq(ph_stream_feed(w->side[0], &id, 0, dup(0), NULL, 0), -EEXIST);
	ck_assert_int_eq(ph_stream_drain(w->side[1], &id, 0, dup(0)), -EEXIST);
	ck_assert_int_eq(ph_stream_feed(w->side[0], &id, 4, dup(0), NULL, 0), -EINVAL);
	o[2] = writer_start(w, 0, 2, totals[2]);
	n[2] = reader_start(w, 0, 2, 0);
	ck_assert(world_run(w, rounds_over, 3, 30000));
	world_run(w, world_never, 0, 30);
	for (uint32_t i = 0; i < 3; i++)
		round_equal(w, 0, i, o[i], n[i]);
	world_free(w);
}
END_TEST

/* Bytes that came with the first line, of the present round and of the next. */
START_TEST(test_early)
{
	struct world *w = world_new(PH_STREAM_AUTH);
	struct ph_id id = id_of(0);
	int fds[2][2];
	world_begin(w, 0, ph_streams_port(w->side[1]), 100);
	for (uint32_t i = 0; i < 2; i++) {
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds[i]), 0);
		ck_assert_int_eq(
			ph_stream_feed(w->side[0], &id, i, fds[i][0], "abcdefg", 7 - i), 0);
	}
	struct worker *n = reader_start(w, 0, 0, 0);
	world_run(w, world_never, 0, 60);
	ck_assert_uint_eq(n->bytes, 7);
	ck_assert_int_eq((int)write(fds[0][1], "hij", 3), 3);
	close(fds[0][1]);
	ck_assert(world_run(w, rounds_over, 1, 30000));
	ck_assert_uint_eq(w->rec[1][0].bytes[0], 10);
	ck_assert_uint_eq(w->rec[1][0].digest[0], XXH3_64bits("abcdefghij", 10));
	reader_start(w, 0, 1, 0);
	close(fds[1][1]);
	ck_assert(world_run(w, rounds_over, 2, 30000));
	ck_assert_uint_eq(w->rec[1][0].digest[1], XXH3_64bits("abcdef", 6));
	world_free(w);
}
END_TEST

static size_t peak[2];

static bool rounds_over_watching(struct world *w, int k)
{
	struct ph_id id = id_of(0);
	for (int i = 0; i < 2; i++) {
		size_t bytes = ph_stream_memory(w->side[i], &id);
		if (bytes > peak[i])
			peak[i] = bytes;
	}
	return rounds_over(w, k);
}

/* A reader that comes late and is slow: the memory of both sides stays bounded. */
START_TEST(test_slow_reader)
{
	const uint64_t total = 28u << 20;
	struct world *w = world_new(_i ? PH_STREAM_ENCRYPT : PH_STREAM_NONE);
	peak[0] = peak[1] = 0;
	world_begin(w, 0, ph_streams_port(w->side[1]), total);
	struct worker *o = writer_start(w, 0, 0, total);
	world_run(w, rounds_over_watching, 1, 150);
	ck_assert_int_eq(w->rec[0][0].rounds, 0);
	struct worker *n = reader_start(w, 0, 0, 50);
	ck_assert(world_run(w, rounds_over_watching, 1, 20000));
	while (!worker_done(n))
		event_base_loop(w->base, EVLOOP_ONCE);
	round_equal(w, 0, 0, o, n);
	ck_assert_uint_le(peak[0], PH_STREAM_WINDOW_BYTES + 2 * PH_STREAM_BLOCK_BYTES);
	ck_assert_uint_ge(peak[0], PH_STREAM_WINDOW_BYTES / 2);
	ck_assert_uint_le(peak[1], 2 * PH_STREAM_BLOCK_BYTES);
	struct ph_id id = id_of(0);
	ck_assert_uint_le(ph_stream_memory(w->side[0], &id), 2 * PH_STREAM_BLOCK_BYTES);
	ck_assert_int_gt(w->rec[0][0].progresses, 0);
	ck_assert_int_gt(w->rec[1][0].progresses, 0);
	world_free(w);
}
END_TEST

START_TEST(test_small_is_cheap)
{
	struct world *w = world_new(PH_STREAM_ENCRYPT);
	peak[0] = peak[1] = 0;
	world_begin(w, 0, ph_streams_port(w->side[1]), 1024);
	writer_start(w, 0, 0, 1024);
	reader_start(w, 0, 0, 0);
	ck_assert(world_run(w, rounds_over_watching, 1, 30000));
	ck_assert_uint_le(peak[0], 32768);
	ck_assert_uint_le(peak[1], 32768);
	world_free(w);
}
END_TEST

static bool all_over(struct world *w, int k)
{
	for (int i = 0; i < k; i++)
		if (!w->rec[0][i].rounds || !w->rec[1][i].rounds)
			return false;
	return true;
}

START_TEST(test_many)
{
	enum {
		N = 200
	};
	struct world *w = world_new(PH_STREAM_ENCRYPT);
	struct worker *o[N], *n[N];
	for (int i = 0; i < N; i++) {
		world_begin(w, i, ph_streams_port(w->side[1]), 1 << 20);
		o[i] = writer_start(w, i, 0, 100000 + (uint64_t)i);
		n[i] = reader_start(w, i, 0, 0);
	}
	ck_assert(world_run(w, all_over, N, 20000));
	world_run(w, world_never, 0, 30);
	for (int i = 0; i < N; i++)
		round_equal(w, i, 0, o[i], n[i]);
	ck_assert_uint_eq(ph_streams_count(w->side[1]), N);
	world_free(w);
}
END_TEST

static bool source_undialed(struct world *w, int k)
{
	return w->rec[0][k].dial_failures > 0;
}

static bool target_undialed(struct world *w, int k)
{
	return w->rec[1][k].dial_failures > 0;
}

/* A port on which nobody listens. */
static uint16_t dead_port(struct world *w)
{
	struct line *line = line_new(w);
	uint16_t port = line->port;
	line_close(w);
	return port;
}

START_TEST(test_dial_back)
{
	struct world *w = world_new(PH_STREAM_ENCRYPT);
	struct ph_id id = id_of(0);
	uint16_t dead = dead_port(w);
	world_begin(w, 0, dead, 1 << 20);
	struct worker *o = writer_start(w, 0, 0, 1 << 20);
	struct worker *n = reader_start(w, 0, 0, 0);
	ck_assert_int_eq(w->rec[0][0].dial_failures, 0); /* from the loop only */
	ck_assert(world_run(w, source_undialed, 0, 30000));
	ck_assert_int_eq(ph_stream_dial_back(w->side[1], &id, address_of(dead)), 0);
	ck_assert(world_run(w, target_undialed, 0, 30000));
	ck_assert_int_eq(
		ph_stream_dial_back(w->side[1], &id, address_of(ph_streams_port(w->side[0]))), 0);
	ck_assert(world_run(w, rounds_over, 1, 30000));
	world_run(w, world_never, 0, 30);
	round_equal(w, 0, 0, o, n);
	ck_assert_int_eq(w->rec[0][0].dial_failures, 1);
	ck_assert_int_eq(w->rec[1][0].dial_failures, 1);
	world_free(w);
}
END_TEST

static bool moving(struct world *w, int k)
{
	(void)k;
	return w->rec[1][0].progresses > 0;
}

static bool fds_are(struct world *w, int k)
{
	(void)w;
	return count_fds() == k;
}

/* In each phase a close leaves no descriptor and no memory (counted, and under ASan). */
START_TEST(test_close)
{
	struct world *w = world_new(PH_STREAM_ENCRYPT);
	struct ph_id id = id_of(0);
	int before = count_fds();
	world_begin(w, 0, ph_streams_port(w->side[1]), 1 << 30);
	if (_i & 1)
		writer_start(w, 0, 0, 40 << 20);
	if (_i & 2)
		reader_start(w, 0, 0, 2000);
	if (_i & 4)
		world_run(w, world_never, 0, 5);
	if (_i & 8)
		ck_assert(world_run(w, moving, 0, (_i & 3) == 3 ? 1000 : 20) == ((_i & 3) == 3));
	if (_i & 16)
		writer_start(w, 0, (_i & 1) ? 1 : 0, 10);
	for (int i = 0; i < 2; i++) {
		for (int twice = 0; twice < 2; twice++)
			ph_stream_close(w->side[i], &id);
		ck_assert_uint_eq(ph_streams_count(w->side[i]), 0);
	}
	ck_assert_uint_eq(ph_stream_bytes(w->side[0], &id), 0);
	world_run(w, world_never, 0, 10);
	for (struct worker *k = w->workers; k; k = k->next)
		worker_end(k);
	/* one that was not accepted yet is shown out when it is */
	ck_assert(world_run(w, fds_are, before, 30000));
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(w->rec[i][0].failures, 0);
	world_free(w);
}
END_TEST

/* What the callers may do wrong, and that a descriptor is taken all the same. */
START_TEST(test_misuse)
{
	struct world *w = world_new(PH_STREAM_NONE);
	struct ph_id id = id_of(0), other = id_of(1);
	uint8_t ticket[PH_STREAM_TICKET_BYTES] = {0};
	int fd;
	ck_assert_int_eq(ph_stream_send(w->side[0], &id, ticket, "tcp://nowhere:1"), -EINVAL);
	ck_assert_uint_eq(ph_streams_count(w->side[0]), 0);
	ck_assert_int_eq(ph_stream_dial_back(w->side[0], &id, "tcp://127.0.0.1:1"), -ENOENT);
	world_begin(w, 0, ph_streams_port(w->side[1]), 10);
	ck_assert_int_eq(ph_stream_send(w->side[0], &id, ticket, NULL), -EEXIST);
	ck_assert_int_eq(ph_stream_expect(w->side[1], &id, ticket, 1), -EEXIST);
	writer_start(w, 0, 0, 0);
	int before = count_fds();
	const struct {
		int side, rc;
		uint32_t round;
		const struct ph_id *id;
		size_t n;
	} rows[] = {
		{0, -ENOENT, 0, &other, 0},
		{1, -EINVAL, 0, &id, 0},
		{0, -EINVAL, 2, &id, 0},
		{0, -EINVAL, 0, &id, PH_STREAM_BLOCK_BYTES + 1},
		{0, -EEXIST, 0, &id, 1},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct worker *k = writer_make(w, 0, 0, &fd);
		ck_assert_int_eq(ph_stream_feed(w->side[rows[i].side], rows[i].id, rows[i].round,
					 fd, world_pattern, rows[i].n),
			rows[i].rc);
		worker_end(k);
		ck_assert_int_eq(count_fds(), before);
	}
	struct worker *k = reader_make(w, 0, &fd);
	ck_assert_int_eq(ph_stream_drain(w->side[0], &id, 0, fd), -EINVAL);
	worker_end(k);
	world_free(w);
}
END_TEST

START_TEST(test_addresses)
{
	static const char *const rows[][2] = {
		{"tcp://10.0.0.1:7400", "tcp://10.0.0.1:7402"},
		{"tcp://host.name:1", "tcp://host.name:3"},
		{"tcp://[::1]:65533", "tcp://[::1]:65535"},
		{"tcp://*:7400", "tcp://*:7402"},
		{"tcp://a:65534", NULL},
		{"tcp://a:", NULL},
		{"tcp://a:1x", NULL},
		{"tcp://:1", NULL},
		{"tcp://a:123456", NULL},
		{"udp://a:1", NULL},
		{"", NULL},
	};
	char text[PH_ADDRESS_SIZE];
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int rc = ph_stream_address(rows[i][0], text);
		ck_assert_int_eq(rc, rows[i][1] ? 0 : -EINVAL);
		if (rows[i][1])
			ck_assert_str_eq(text, rows[i][1]);
	}
}
END_TEST

START_TEST(test_listen)
{
	struct world *w = world_new(PH_STREAM_NONE);
	struct ph_err err;
	uint16_t port = ph_streams_port(w->side[0]);
	ck_assert_uint_gt(port, 0);
	/* the port of the other side is taken: nothing changes */
	ck_assert_int_eq(
		ph_streams_listen(w->side[0], address_of(ph_streams_port(w->side[1])), &err),
		-EADDRINUSE);
	ck_assert_uint_eq(ph_streams_port(w->side[0]), port);
	ck_assert_int_eq(ph_streams_listen(w->side[0], "tcp://name:1", &err), -EINVAL);
	ck_assert_int_eq(ph_streams_listen(w->side[0], "tcp://[::1]:0", &err), 0);
	ck_assert_uint_gt(ph_streams_port(w->side[0]), 0);
	world_free(w);
}
END_TEST

static bool both_over(struct world *w, int k)
{
	return w->rec[0][0].rounds >= k && w->rec[0][1].rounds >= k;
}

static bool failed(struct world *w, int k)
{
	return w->rec[0][0].failures >= k;
}

/* Both ends in one daemon, without an address: through a socketpair, and proven all the same. */
START_TEST(test_within_one_daemon)
{
	static const uint64_t totals[] = {0, 5, 3u << 20};
	const uint64_t total = totals[_i % 3];
	struct world *w = world_new((enum ph_stream_seal)(_i / 3));
	struct ph_id from = id_of(0), to = id_of(1);
	uint8_t ticket[PH_STREAM_TICKET_BYTES];
	int fd;
	ticket_of(0, ticket);
	ck_assert_int_eq(ph_stream_expect(w->side[0], &to, ticket, total), 0);
	ck_assert_int_eq(ph_stream_send_here(w->side[0], &from, ticket, &to), 0);
	ck_assert_int_eq(ph_stream_send_here(w->side[0], &from, ticket, &to), -EEXIST);
	struct worker *o = writer_start(w, 0, 0, total), *n = reader_make(w, 0, &fd);
	ck_assert_int_eq(ph_stream_drain(w->side[0], &to, 0, fd), 0);
	ck_assert(world_run(w, both_over, 1, 30000));
	while (!worker_done(n))
		event_base_loop(w->base, EVLOOP_ONCE);
	ck_assert_uint_eq(n->bytes, total);
	ck_assert_uint_eq(w->rec[0][0].digest[0], XXH3_64bits_digest(o->hash));
	ck_assert_uint_eq(w->rec[0][1].digest[0], XXH3_64bits_digest(n->hash));
	ck_assert_uint_eq(w->rec[0][0].digest[0], w->rec[0][1].digest[0]);
	ck_assert_int_eq(w->rec[0][0].failures + w->rec[0][1].failures, 0);
	ph_stream_close(w->side[0], &from);
	ph_stream_close(w->side[0], &to);
	ck_assert_uint_eq(ph_streams_count(w->side[0]), 0);
	world_free(w);
}
END_TEST

START_TEST(test_another_ticket_within_one_daemon)
{
	struct world *w = world_new(PH_STREAM_NONE);
	struct ph_id from = id_of(0), to = id_of(1);
	uint8_t ticket[PH_STREAM_TICKET_BYTES];
	ticket_of(1, ticket);
	ck_assert_int_eq(ph_stream_expect(w->side[0], &to, ticket, 10), 0);
	ticket_of(0, ticket);
	ck_assert_int_eq(ph_stream_send_here(w->side[0], &from, ticket, &to), 0);
	ck_assert(world_run(w, failed, 1, 30000));
	ck_assert_int_eq(w->rec[0][0].code, EACCES);
	world_free(w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("stream");
	TCase *tc = tcase_create("stream");
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, test_sizes, 0, 3 * SIZES);
	tcase_add_test(tc, test_rounds);
	tcase_add_test(tc, test_early);
	tcase_add_loop_test(tc, test_slow_reader, 0, 2);
	tcase_add_test(tc, test_small_is_cheap);
	tcase_add_test(tc, test_many);
	tcase_add_test(tc, test_dial_back);
	tcase_add_loop_test(tc, test_close, 0, 32);
	tcase_add_test(tc, test_misuse);
	tcase_add_test(tc, test_addresses);
	tcase_add_test(tc, test_listen);
	tcase_add_loop_test(tc, test_within_one_daemon, 0, 9);
	tcase_add_test(tc, test_another_ticket_within_one_daemon);
	suite_add_tcase(suite, tc);
	return run_tests(suite);
}
