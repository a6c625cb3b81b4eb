/* test_stream_faults.c - state streams over a bad line, and with peers and workers that misbehave.
 */
#include "run_tests.h"
#include "stream_world.h"

static bool source_failed(struct world *w, int k)
{
	return w->rec[0][k].failures > 0;
}

static bool target_failed(struct world *w, int k)
{
	return w->rec[1][k].failures > 0;
}

/* One round of each of the first `k` streams is over on both sides. */
static bool all_over(struct world *w, int k)
{
	for (int i = 0; i < k; i++)
		if (!w->rec[0][i].rounds || !w->rec[1][i].rounds)
			return false;
	return true;
}

/* Where the first connection of a stream is cut: {bytes from the dialer, from the listener}. */
static const uint64_t cuts[][2] = {
	{0, NEVER},
	{1, NEVER},
	{55, NEVER},
	{56, NEVER},
	{57, NEVER},
	{87, NEVER},
	{88, NEVER},
	{89, NEVER},
	{107, NEVER},
	{108, NEVER},
	{109, NEVER},
	{123, NEVER},
	{124, NEVER},
	{16000, NEVER},
	{16500, NEVER},
	{50000, NEVER},
	{100000, NEVER},
	{299999, NEVER},
	{300000, NEVER},
	{300087, NEVER},
	{300120, NEVER},
	{300200, NEVER},
	{300230, NEVER},
	{300240, NEVER},
	{300250, NEVER},
	{300260, NEVER},
	{300270, NEVER},
	{300280, NEVER},
	{300290, NEVER},
	{300300, NEVER},
	{300320, NEVER},
	{300340, NEVER},
	{300360, NEVER},
	{NEVER, 1},
	{NEVER, 71},
	{NEVER, 72},
	{NEVER, 73},
	{NEVER, 91},
	{NEVER, 92},
	{NEVER, 93},
	{NEVER, 107},
	{NEVER, 108},
	{NEVER, 109},
	{NEVER, 124},
	{NEVER, 127},
	{NEVER, 143},
	{NEVER, 144},
	{NEVER, 145},
	{NEVER, 160},
	{NEVER, 180},
};
#define CUTS ((int)(sizeof(cuts) / sizeof(cuts[0])))

/* A cut at any point of the handshake, of a block, of a confirmation: nothing is lost. */
START_TEST(test_cut_anywhere)
{
	struct world *w = world_new((enum ph_stream_seal)_i);
	struct line *line = line_new(w);
	struct worker *o[CUTS], *n[CUTS];
	line->cuts = cuts;
	line->n_cuts = CUTS;
	for (int i = 0; i < CUTS; i++) {
		world_begin(w, i, line->port, 300000);
		o[i] = writer_start(w, i, 0, 300000);
		n[i] = reader_start(w, i, 0, 0);
	}
	ck_assert(world_run(w, all_over, CUTS, 30000));
	world_run(w, world_never, 0, 30);
	for (int i = 0; i < CUTS; i++) {
		ck_assert_int_eq(w->rec[0][i].failures + w->rec[1][i].failures, 0);
		round_equal(w, i, 0, o[i], n[i]);
	}
	ck_assert_int_gt(line->n, CUTS + CUTS / 2);
	world_free(w);
}
END_TEST

/* Cut again and again, with a slow reader, over two rounds. */
START_TEST(test_cut_often)
{
	static const uint64_t often[][2] = {
		{300001, NEVER}, {1500000, NEVER}, {NEVER, 300}, {500000, NEVER}, {89, NEVER}};
	struct world *w = world_new((enum ph_stream_seal)_i);
	struct line *line = line_new(w);
	line->cuts = often;
	line->n_cuts = 5;
	line->cuts_repeat = true;
	world_begin(w, 0, line->port, 6 << 20);
	struct worker *o[2], *n[2];
	for (uint32_t i = 0; i < 2; i++) {
		o[i] = writer_start(w, 0, i, (6 << 20) - i);
		n[i] = reader_start(w, 0, i, i ? 0 : 20);
	}
	while (w->rec[0][0].rounds < 2 && !w->rec[0][0].failures)
		ck_assert(!world_run(w, source_failed, 0, 20));
	world_run(w, world_never, 0, 30);
	for (uint32_t i = 0; i < 2; i++)
		round_equal(w, 0, i, o[i], n[i]);
	ck_assert_int_gt(line->n, 3);
	world_free(w);
}
END_TEST

/* Every connection is cut somewhere, drawn from a seed; many streams share the line. */
START_TEST(test_cut_seeded)
{
	enum {
		N = 16
	};
	static uint64_t drawn[97][2];
	struct world *w = world_new((enum ph_stream_seal)(_i % 3));
	struct line *line = line_new(w);
	struct worker *o[N], *n[N];
	for (uint64_t i = 0; i < 97; i++) {
		uint64_t v = ph_mix64((uint64_t)_i * 1000 + i + 1);
		bool back = v % 8 == 0;
		drawn[i][back] = (v >> 8) % (back ? 400 : v % 8 > 2 ? 900000 : 60000);
		drawn[i][!back] = NEVER;
	}
	line->cuts = (const uint64_t(*)[2])drawn;
	line->n_cuts = 97;
	line->cuts_repeat = true;
	for (int i = 0; i < N; i++) {
		world_begin(w, i, line->port, 1 << 20);
		o[i] = writer_start(w, i, 0, 150000 + ph_mix64((uint64_t)i) % 300000);
		n[i] = reader_start(w, i, 0, i % 2 ? 100 : 0);
	}
	ck_assert(world_run(w, all_over, N, 30000));
	world_run(w, world_never, 0, 50);
	for (int i = 0; i < N; i++)
		round_equal(w, i, 0, o[i], n[i]);
	world_free(w);
}
END_TEST

/* Resumption by the target, where it was the one who dialed. */
START_TEST(test_cut_dial_back)
{
	static const uint64_t once[][2] = {{NEVER, 500000}};
	struct world *w = world_new(PH_STREAM_ENCRYPT);
	struct line *line = line_new(w);
	struct ph_id id = id_of(0);
	uint8_t ticket[PH_STREAM_TICKET_BYTES];
	ticket_of(0, ticket);
	line->to = ph_streams_port(w->side[0]);
	line->cuts = once;
	line->n_cuts = 1;
	ck_assert_int_eq(ph_stream_send(w->side[0], &id, ticket, NULL), 0);
	ck_assert_int_eq(ph_stream_expect(w->side[1], &id, ticket, 2 << 20), 0);
	struct worker *o = writer_start(w, 0, 0, 2 << 20);
	struct worker *n = reader_start(w, 0, 0, 0);
	ck_assert_int_eq(ph_stream_dial_back(w->side[1], &id, address_of(line->port)), 0);
	ck_assert(world_run(w, all_over, 1, 30000));
	world_run(w, world_never, 0, 30);
	round_equal(w, 0, 0, o, n);
	ck_assert_int_eq(line->n, 2);
	world_free(w);
}
END_TEST

START_TEST(test_flipped_bit)
{
	static const uint64_t at[] = {90, 93, 96, 100, 107, 108, 5000, 100000, 150000, 199000};
	const int n_at = (int)(sizeof(at) / sizeof(at[0]));
	enum ph_stream_seal seal = (enum ph_stream_seal)(_i / n_at);
	struct world *w = world_new(seal);
	struct line *line = line_new(w);
	line->flip_at = at[_i % n_at];
	world_begin(w, 0, line->port, 1 << 20);
	writer_start(w, 0, 0, 200000);
	struct worker *n = reader_start(w, 0, 0, 0);
	ck_assert(world_run(w, target_failed, 0, 30000));
	ck_assert_int_eq(w->rec[1][0].rounds, 0);
	ck_assert_int_eq(w->rec[0][0].rounds, 0);
	ck_assert(w->rec[1][0].code == EBADMSG || w->rec[1][0].code == EPROTO ||
		  w->rec[1][0].code == EFBIG);
	if (line->flip_at >= 108)
		ck_assert_int_eq(w->rec[1][0].code, EBADMSG);
	/* nothing that was not checked reached the worker */
	if (seal != PH_STREAM_NONE)
		ck_assert_uint_le(n->bytes, line->flip_at - 108 + 32);
	world_free(w);
}
END_TEST

START_TEST(test_flipped_handshake)
{
	struct world *w = world_new(PH_STREAM_ENCRYPT);
	struct line *line = line_new(w);
	static const uint64_t at[] = {5, 6, 30, 60};
	line->flip_at = at[_i];
	world_begin(w, 0, line->port, 1 << 20);
	struct worker *o = writer_start(w, 0, 0, 200);
	struct worker *n = reader_start(w, 0, 0, 0);
	/* either it fails as not proven, or it is tried again and succeeds */
	while (!source_failed(w, 0) && !all_over(w, 1))
		event_base_loop(w->base, EVLOOP_ONCE);
	if (source_failed(w, 0))
		ck_assert_int_eq(w->rec[0][0].code, EACCES);
	else
		world_run(w, world_never, 0, 20), round_equal(w, 0, 0, o, n);
	world_free(w);
}
END_TEST

START_TEST(test_too_large)
{
	struct world *w = world_new(PH_STREAM_NONE);
	world_begin(w, 0, ph_streams_port(w->side[1]), 99999);
	writer_start(w, 0, 0, 100000);
	if (_i)
		reader_start(w, 0, 0, 0);
	else /* what comes before must be taken, or the excess is never seen */
		reader_start(w, 0, 0, 10);
	ck_assert(world_run(w, target_failed, 0, 30000));
	ck_assert_int_eq(w->rec[1][0].code, EFBIG);
	struct ph_id id = id_of(0);
	int fd;
	reader_make(w, 0, &fd);
	ck_assert_int_eq(ph_stream_drain(w->side[1], &id, 0, fd), -ECANCELED);
	world_free(w);
}
END_TEST

START_TEST(test_wrong_ticket)
{
	struct world *w = world_new(PH_STREAM_AUTH);
	struct ph_id id = id_of(0);
	uint8_t ticket[PH_STREAM_TICKET_BYTES];
	ticket_of(0, ticket);
	ck_assert_int_eq(ph_stream_expect(w->side[1], &id, ticket, 100), 0);
	ticket[31] ^= 1;
	ck_assert_int_eq(
		ph_stream_send(w->side[0], &id, ticket, address_of(ph_streams_port(w->side[1]))),
		0);
	writer_start(w, 0, 0, 10);
	struct worker *n = reader_start(w, 0, 0, 0);
	ck_assert(world_run(w, source_failed, 0, 30000));
	ck_assert_int_eq(w->rec[0][0].code, EACCES);
	/* whoever does not know the ticket cannot harm the one who waits */
	ck_assert_int_eq(w->rec[1][0].failures, 0);
	ph_stream_close(w->side[0], &id);
	ticket[31] ^= 1;
	memset(&w->rec[0][0], 0, sizeof(w->rec[0][0]));
	ck_assert_int_eq(
		ph_stream_send(w->side[0], &id, ticket, address_of(ph_streams_port(w->side[1]))),
		0);
	struct worker *o = writer_start(w, 0, 0, 10);
	ck_assert(world_run(w, all_over, 1, 30000));
	world_run(w, world_never, 0, 20);
	round_equal(w, 0, 0, o, n);
	world_free(w);
}
END_TEST

START_TEST(test_seal_differs)
{
	struct world *w = world_new(PH_STREAM_AUTH);
	ph_streams_set_seal(w->side[1], PH_STREAM_ENCRYPT);
	world_begin(w, 0, ph_streams_port(w->side[1]), 100);
	ck_assert(world_run(w, source_failed, 0, 30000));
	ck_assert_int_eq(w->rec[0][0].code, EACCES);
	ck_assert_ptr_nonnull(strstr(w->rec[0][0].text, "stream_seal"));
	ck_assert_int_eq(w->rec[1][0].failures, 0);
	world_free(w);
}
END_TEST

START_TEST(test_worker_broken)
{
	struct world *w = world_new(PH_STREAM_ENCRYPT);
	struct ph_id id = id_of(0);
	int fds[2];
	world_begin(w, 0, ph_streams_port(w->side[1]), 1 << 20);
	world_begin(w, 1, ph_streams_port(w->side[1]), 1 << 20);
	/* the new worker goes away */
	writer_start(w, 1, 0, 1 << 20);
	struct worker *n = reader_start(w, 1, 0, 500000);
	world_run(w, world_never, 0, 20);
	worker_end(n);
	ck_assert(world_run(w, target_failed, 1, 30000));
	ck_assert_int_eq(w->rec[1][1].code, EPIPE);
	/* the old one's connection is reset */
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	ck_assert_int_eq((int)write(fds[0], "x", 1), 1);
	ck_assert_int_eq(ph_stream_feed(w->side[0], &id, 0, fds[0], NULL, 0), 0);
	close(fds[1]);
	ck_assert(world_run(w, source_failed, 0, 30000));
	ck_assert_int_eq(w->rec[0][0].code, ECONNRESET);
	world_free(w);
}
END_TEST

/* ---- strangers */

static int stranger(struct world *w, const void *bytes, size_t n)
{
	struct sockaddr_in to = {.sin_family = AF_INET};
	to.sin_port = htons(ph_streams_port(w->side[1]));
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	if (n)
		ck_assert_int_eq((int)send(fd, bytes, n, MSG_NOSIGNAL), (int)n);
	return fd;
}

static bool shown_out(int fd)
{
	char byte;
	ssize_t n = recv(fd, &byte, 1, MSG_DONTWAIT);
	return n == 0 || (n < 0 && errno != EAGAIN);
}

START_TEST(test_garbage)
{
	struct world *w = world_new(PH_STREAM_NONE);
	static const struct {
		size_t at;
		uint8_t value;
	} rows[] = {{0, 'X'}, {4, 9}, {5, 2}, {5, 1}, {7, 1}, {20, 99}};
	world_begin(w, 0, ph_streams_port(w->side[1]), 100);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t hello[56] = {'P', 'H', 'S', 'T', 1, 0, PH_STREAM_NONE, 0};
		struct ph_id id = id_of(0);
		memcpy(hello + 8, id.b, sizeof(id.b));
		hello[rows[i].at] = rows[i].value;
		int fd = stranger(w, hello, sizeof(hello));
		world_run(w, world_never, 0, 30);
		ck_assert(shown_out(fd));
		close(fd);
	}
	int fd = stranger(w, world_pattern, 5000);
	world_run(w, world_never, 0, 30);
	ck_assert(shown_out(fd));
	close(fd);
	struct worker *o = writer_start(w, 0, 0, 100), *n = reader_start(w, 0, 0, 0);
	ck_assert(world_run(w, all_over, 1, 30000));
	world_run(w, world_never, 0, 20);
	round_equal(w, 0, 0, o, n);
	world_free(w);
}
END_TEST

/* Streams 0 and `k`. */
static bool all_through(struct world *w, int k)
{
	return w->rec[0][0].rounds && w->rec[1][0].rounds && w->rec[0][k].rounds &&
	       w->rec[1][k].rounds;
}

static bool slow_all_done(struct world *w, int k)
{
	return w->rec[1][3].rounds && source_failed(w, 2) && source_failed(w, 1) &&
	       target_failed(w, 1) && w->rec[1][k].rounds;
}

/*
 * What takes its time, at once: strangers that say nothing; a line that is gone for good (1); an
 * id that the target does not know (2); a reader that comes after 3 s, whose connection must not
 * be taken for dead (3); a line that swallows everything without closing (0).
 */
START_TEST(test_time)
{
	struct world *w = world_new(PH_STREAM_ENCRYPT);
	struct ph_id id = id_of(2);
	uint8_t ticket[PH_STREAM_TICKET_BYTES] = {0};
	int quiet[PH_STREAM_GUESTS_MAX + 8];
	for (size_t i = 0; i < sizeof(quiet) / sizeof(quiet[0]); i++)
		quiet[i] = stranger(w, "PHST", i % 5);
	world_begin(w, 1, line_new(w)->port, 1 << 20);
	world_run(w, world_never, 0, 50);
	line_close(w);
	struct line *line = line_new(w);
	world_begin(w, 0, line->port, 1 << 20);
	world_run(w, world_never, 0, 50);
	world_begin(w, 3, line->port, 40 << 20);
	world_run(w, world_never, 0, 50);
	ck_assert_int_eq(line->n, 2);
	line->links[0].swallow = true;
	struct worker *o0 = writer_start(w, 0, 0, 1 << 20), *n0 = reader_start(w, 0, 0, 0);
	struct worker *o3 = writer_start(w, 3, 0, 40 << 20);
	ck_assert_int_eq(
		ph_stream_send(w->side[0], &id, ticket, address_of(ph_streams_port(w->side[1]))),
		0);
	world_run(w, world_never, 0, 2700);
	for (size_t i = 0; i < sizeof(quiet) / sizeof(quiet[0]); i++) {
		ck_assert(shown_out(quiet[i]));
		close(quiet[i]);
	}
	ck_assert(source_failed(w, 2));
	ck_assert_int_eq(w->rec[0][2].code, EACCES);
	ck_assert_int_eq(line->n, 3); /* only the one that was swallowed has dialed again */
	struct worker *n3 = reader_start(w, 3, 0, 0);
	ck_assert(world_run(w, all_through, 3, 20000));
	world_run(w, world_never, 0, 50);
	round_equal(w, 0, 0, o0, n0);
	round_equal(w, 3, 0, o3, n3);
	ck_assert(source_failed(w, 1));
	ck_assert(world_run(w, slow_all_done, 0, 30000));
	ck_assert_int_eq(w->rec[0][1].code, ETIMEDOUT);
	ck_assert_int_eq(w->rec[1][1].code, ETIMEDOUT);
	world_free(w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("stream_faults");
	TCase *tc = tcase_create("stream_faults");
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, test_cut_anywhere, 0, 3);
	tcase_add_loop_test(tc, test_cut_often, 0, 3);
	tcase_add_loop_test(tc, test_cut_seeded, 0, 3);
	tcase_add_test(tc, test_cut_dial_back);
	tcase_add_loop_test(tc, test_flipped_bit, 0, 30);
	tcase_add_loop_test(tc, test_flipped_handshake, 0, 4);
	tcase_add_loop_test(tc, test_too_large, 0, 2);
	tcase_add_test(tc, test_wrong_ticket);
	tcase_add_test(tc, test_seal_differs);
	tcase_add_test(tc, test_worker_broken);
	tcase_add_test(tc, test_garbage);
	tcase_add_test(tc, test_time);
	suite_add_tcase(suite, tc);
	return run_tests(suite);
}
