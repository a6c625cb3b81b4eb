/* What children write: lines, rings, FIFOs, the daemon's own output, and who asks for lines. */
#include "tests/unit/output_help.h"

#include "io/output_thread.h"
#include "run_tests.h"

#include <signal.h>
#include <sys/wait.h>

/* ---- lines */

START_TEST(test_pieces)
{
	static const struct {
		const char *bytes;
		bool end, full, is;
		size_t n, taken;
		bool cut;
	} rows[] = {
		{"", false, false, false, 0, 0, false},
		{"", true, false, false, 0, 0, false},
		{"a\nb", false, false, true, 1, 2, false},
		{"\n", false, false, true, 0, 1, false},
		{"ab", false, false, false, 0, 0, false},
		{"ab", true, false, true, 2, 2, false},
		{"ab", false, true, true, 2, 2, true},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct ph_piece piece;
		bool is = ph_piece_next(
			rows[i].bytes, strlen(rows[i].bytes), rows[i].end, rows[i].full, &piece);
		ck_assert_msg(is == rows[i].is, "%zu", i);
		if (is)
			ck_assert_msg(piece.n == rows[i].n && piece.taken == rows[i].taken &&
					      piece.cut == rows[i].cut,
				"%zu", i);
	}
}
END_TEST

START_TEST(test_longest_line)
{
	char *bytes = malloc(PH_OUTPUT_LINE + 8);
	struct ph_piece piece;
	memset(bytes, 'x', PH_OUTPUT_LINE + 8);
	bytes[PH_OUTPUT_LINE] = '\n';
	ck_assert(ph_piece_next(bytes, PH_OUTPUT_LINE + 1, false, false, &piece));
	ck_assert_uint_eq(piece.n, PH_OUTPUT_LINE);
	ck_assert(!piece.cut);
	bytes[PH_OUTPUT_LINE] = 'x';
	ck_assert(!ph_piece_next(bytes, PH_OUTPUT_LINE, false, false, &piece));
	ck_assert(ph_piece_next(bytes, PH_OUTPUT_LINE + 1, false, false, &piece));
	ck_assert_uint_eq(piece.taken, PH_OUTPUT_LINE);
	ck_assert(piece.cut);
	/* a character of three bytes is not cut */
	memcpy(bytes + PH_OUTPUT_LINE - 2, "\xe2\x82\xac", 3);
	ck_assert(ph_piece_next(bytes, PH_OUTPUT_LINE + 4, false, false, &piece));
	ck_assert_uint_eq(piece.taken, PH_OUTPUT_LINE - 2);
	free(bytes);
}
END_TEST

START_TEST(test_priority)
{
	ck_assert_int_eq(ph_piece_priority("<3>x", 4), 3);
	ck_assert_int_eq(ph_piece_priority("<7>", 3), 7);
	ck_assert_int_eq(ph_piece_priority("<8>x", 4), -1);
	ck_assert_int_eq(ph_piece_priority("<3", 2), -1);
	ck_assert_int_eq(ph_piece_priority("x<3>", 4), -1);
}
END_TEST

START_TEST(test_ring)
{
	struct ph_outring ring = {0};
	struct ph_outline line = {.n = 10};
	size_t one = sizeof line + 11;
	for (line.seq = 1; line.seq <= 10; line.seq++)
		ph_outring_add(&ring, &line, "0123456789", 3 * one);
	ck_assert_uint_eq(ring.n, 3);
	ck_assert_uint_eq(ring.bytes, 3 * one);
	ck_assert_uint_eq(ring.dropped, 7);
	ck_assert_uint_eq(ring.first->seq, 8);
	ck_assert_uint_eq(ph_outring_tail(&ring, 2)->seq, 9);
	ck_assert_uint_eq(ph_outring_tail(&ring, 9)->seq, 8);
	ck_assert_ptr_null(ph_outring_tail(&ring, 0));
	ph_outring_add(&ring, &line, "0123456789", one - 1);
	ck_assert_uint_eq(ring.n, 0);
	ck_assert_ptr_null(ring.last);
	ph_outring_free(&ring);
}
END_TEST

/* ---- lines that are asked for */

static void watch(uint64_t number, const char *child, uint32_t lines, bool follow)
{
	struct ph_output_order *order = ph_output_order_new(PH_OUTPUT_WATCH);
	order->watch = number;
	order->filter.child = ph_name_of(child);
	order->lines = lines;
	order->follow = follow;
	ph_output_order(output, order);
}

/* All lines of that watch so far: "a|b|" */
static const char *heard(uint64_t number)
{
	static char text[4096];
	struct ph_output_news *news = ph_output_news(output);
	text[0] = '\0';
	for (const struct ph_output_news *each = news; each; each = each->next)
		for (const struct ph_output_line *l = each->watch == number ? each->lines : NULL; l;
			l = l->next)
			(void)snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s|",
				l->gap ? "..." : "", l->n < 100 ? l->text : "long");
	ph_output_news_free(news);
	return text;
}

/* ---- the daemon's output */

START_TEST(test_whole_lines_are_relayed)
{
	int one = fifo_open("one", NULL, 0, 0), two = fifo_open("two", NULL, 0, 0);
	say(one, "a");
	expect(path_of("out"), "");
	say(two, "b\n");
	expect(path_of("out"), "b\n");
	say(one, "c\nd");
	expect(path_of("out"), "b\nac\n");
	close(one);
	pump();
	expect(path_of("out"), "b\nac\nd\n");
	ck_assert_uint_eq(ph_output_open_count(output), 1);
	close(two);
	pump();
	ck_assert_uint_eq(ph_output_open_count(output), 0);
}
END_TEST

/* Nobody reads: the writer waits, and others with it, but no call does; nothing is lost. */
START_TEST(test_reader_that_does_not_read)
{
	int ends[2];
	char *text = calloc(1, 4u << 20);
	size_t n = 0, at = 0, wrote = 0;
	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	ph_output_free(output);
	output_begin(ends[1], path_of("nobody"));
	int fifo = fifo_open("one", NULL, 0, 0);
	ck_assert_int_eq(fcntl(fifo, F_SETFL, O_NONBLOCK), 0);
	for (int i = 0; i < 10000; i++)
		n += (size_t)snprintf(text + n, 128, "line %d of the output of one\n", i);
	char *got = calloc(1, n + 1);
	ck_assert_int_eq(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
	for (int idle = 0; idle < 200;) {
		ssize_t w = write(fifo, text + wrote, n - wrote);
		wrote += w > 0 ? (size_t)w : 0;
		ph_output_pump(output, 1);
		if (idle++ < 20 && !at)
			continue; /* nobody reads yet */
		ssize_t r = read(ends[0], got + at, n - at < 4096 ? n - at : 4096);
		at += r > 0 ? (size_t)r : 0;
		if (at == n)
			break;
		idle = 20;
	}
	ck_assert_str_eq(got, text);
	free(got);
	free(text);
	close(fifo);
	pump();
	/* a line that went in two parts is remembered once */
	size_t lines = 0;
	ph_output_news_free(ph_output_news(output));
	watch(1, "one", 10000, false);
	struct ph_output_news *news = ph_output_news(output);
	for (const struct ph_output_news *each = news; each; each = each->next)
		for (const struct ph_output_line *l = each->lines; l; l = l->next) {
			char want[64];
			(void)snprintf(want, sizeof want, "line %zu of the output of one", lines++);
			ck_assert_str_eq(l->text, want);
		}
	ck_assert_uint_eq(lines, 10000);
	ph_output_news_free(news);
	close(ends[0]);
	close(ends[1]);
}
END_TEST

/* Workers that end one after the other while nothing can be written: a few are kept. */
START_TEST(test_many_that_have_ended)
{
	int ends[2];
	char block[4096];
	memset(block, 'x', sizeof block);
	ck_assert_int_eq(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	while (write(ends[1], block, sizeof block) > 0)
		;
	ph_output_free(output);
	output_begin(ends[1], path_of("nobody"));
	for (int i = 0; i < 40; i++) {
		int fifo = fifo_open("one", NULL, 0, 0);
		say(fifo, "last words\n");
		close(fifo);
		pump();
	}
	ck_assert_uint_eq(ph_output_open_count(output), 16);
	struct ph_output_news *news = ph_output_news(output);
	ck_assert_ptr_nonnull(news);
	ck_assert_ptr_nonnull(strstr(news->text, "is lost"));
	ph_output_news_free(news);
	close(ends[0]);
	close(ends[1]);
}
END_TEST

START_TEST(test_reader_that_is_gone)
{
	int ends[2];
	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	ph_output_free(output);
	output_begin(ends[1], path_of("nobody"));
	int fifo = fifo_open("one", NULL, 0, 0);
	close(ends[0]);
	for (int i = 0; i < 100; i++)
		say(fifo, "a\n"); /* and nobody waits */
	struct ph_output_news *news = ph_output_news(output);
	ck_assert_ptr_nonnull(news);
	ck_assert_ptr_nonnull(strstr(news->text, "is lost"));
	ck_assert_ptr_null(news->next);
	ph_output_news_free(news);
	watch(1, "one", 3, false);
	ck_assert_str_eq(heard(1), "a|a|a|"); /* they are remembered all the same */
	close(fifo);
	close(ends[1]);
}
END_TEST

/* A line of 1 MB in pieces: each is marked, and no byte is missing. */
START_TEST(test_endless_line)
{
	size_t n = 1u << 20, found, marks = 0, letters = 0;
	char *text = malloc(n + 1);
	memset(text, 'x', n);
	text[n] = '\n';
	int one = fifo_open("one", NULL, 0, 0), two = fifo_open("two", NULL, 0, 0);
	ck_assert_int_eq(fcntl(one, F_SETFL, O_NONBLOCK), 0);
	write_all(one, text, n / 2);
	say(two, "between\n");
	write_all(one, text + n / 2, n + 1 - n / 2);
	usleep(10000);
	pump();
	char *out = content_of(path_of("out"), &found);
	for (size_t i = 0; i < found; i++) {
		letters += out[i] == 'x';
		marks += out[i] == '\\';
		ck_assert(out[i] != '\\' || out[i + 1] == '\n');
	}
	ck_assert_uint_eq(letters, n);
	ck_assert_uint_ge(marks, n / PH_OUTPUT_LINE - 1);
	ck_assert_uint_le(marks, 2 * n / PH_OUTPUT_LINE);
	ck_assert_ptr_nonnull(strstr(out, "between\n"));
	free(out);
	free(text);
	close(one);
	close(two);
}
END_TEST

/* Lines that fit are whole, however many come while the ones before them are taken. */
START_TEST(test_long_lines_are_whole)
{
	enum {
		LINES = 120,
		LINE = 60000
	};
	char *text = malloc(LINE + 1);
	memset(text, 'x', LINE);
	text[LINE] = '\n';
	int fd = fifo_open("one", NULL, 0, 0);
	ck_assert_int_ge(fcntl(fd, F_SETPIPE_SZ, 128 << 10), 0);
	pid_t writer = fork();
	ck_assert_int_ge(writer, 0);
	if (!writer) {
		for (int i = 0; i < LINES; i++)
			if (write(fd, text, LINE + 1) != LINE + 1)
				_exit(1);
		_exit(0);
	}
	close(fd);
	for (int i = 0; i < 10000 && ph_output_open_count(output); i++)
		ph_output_pump(output, 10);
	int status;
	ck_assert_int_eq(waitpid(writer, &status, 0), writer);
	ck_assert_int_eq(status, 0);
	size_t n;
	char *out = content_of(path_of("out"), &n);
	ck_assert_uint_eq(n, (size_t)LINES * (LINE + 1));
	for (size_t i = 0; i < LINES; i++)
		ck_assert_mem_eq(out + i * (LINE + 1), text, LINE + 1);
	free(out);
	free(text);
}
END_TEST

/* A child that floods takes its turn: another one's line is there after a bounded number of them.
 */
START_TEST(test_flood_starves_nobody)
{
	int flood = fifo_open("flood", NULL, 0, 0), quiet = fifo_open("quiet", NULL, 0, 0);
	char block[4096], *at = NULL;
	memset(block, 'f', sizeof block);
	block[63] = block[4095] = '\n';
	ck_assert_int_eq(fcntl(flood, F_SETFL, O_NONBLOCK), 0);
	ck_assert_int_eq(write(quiet, "here\n", 5), 5);
	for (int i = 0; i < 3 && !at; i++) {
		while (write(flood, block, sizeof block) > 0)
			;
		size_t n;
		ph_output_pump(output, 0);
		char *out = content_of(path_of("out"), &n);
		at = strstr(out, "here\n");
		free(out);
	}
	ck_assert_ptr_nonnull(at);
	close(flood);
	close(quiet);
}
END_TEST

/* ---- who asks for lines */

START_TEST(test_tail_and_follow)
{
	int one = fifo_open("one", NULL, 0, 0), two = fifo_open("two", NULL, 0, 0);
	say(one, "a\nb\nc\n");
	say(two, "x\n");
	watch(1, "one", 2, false);
	ck_assert_str_eq(heard(1), "b|c|");
	watch(2, "one", 0, true);
	say(two, "y\n");
	say(one, "d\n");
	ck_assert_str_eq(heard(2), "d|");
	say(one, "e");
	ck_assert_str_eq(heard(2), "");
	close(one);
	pump();
	struct ph_output_news *news = ph_output_news(output), *last = news;
	ck_assert_ptr_nonnull(news);
	ck_assert_str_eq(news->lines->text, "e");
	while (last->next)
		last = last->next;
	ck_assert_uint_eq(last->open, 0);
	ph_output_news_free(news);
	close(two);
}
END_TEST

/* A reader that takes nothing costs no more than its credit, and hears what it has missed. */
START_TEST(test_slow_reader)
{
	char *text = malloc(60001);
	memset(text, 'z', 60000);
	text[59999] = '\n';
	text[60000] = '\0';
	int one = fifo_open("one", NULL, 0, 0);
	watch(7, "one", 0, true);
	for (int i = 0; i < 100; i++)
		say(one, text);
	size_t bytes = 0, lines = 0;
	struct ph_output_news *news = ph_output_news(output);
	for (const struct ph_output_news *each = news; each; each = each->next) {
		bytes += each->bytes;
		for (const struct ph_output_line *l = each->lines; l; l = l->next)
			lines++;
	}
	ph_output_news_free(news);
	ck_assert_uint_ge(lines, 2);
	ck_assert_uint_le(lines, 4);
	say(one, "last\n");
	bool gap = false, last = false;
	for (int i = 0; i < 20 && !last; i++) {
		struct ph_output_order *order = ph_output_order_new(PH_OUTPUT_CREDIT);
		order->watch = 7;
		order->bytes = bytes;
		ph_output_order(output, order);
		pump();
		const char *rest = heard(7);
		gap = gap || strncmp(rest, "...long|", 8) == 0;
		last = strstr(rest, "|last|") != NULL;
	}
	ck_assert(gap && last);
	free(text);
	close(one);
}
END_TEST

/* ---- in a thread */

static size_t notes;

static void on_news(void *arg, const struct ph_output_news *news)
{
	(void)arg;
	notes += news->kind == PH_OUTPUT_LINES && news->lines;
}

START_TEST(test_thread)
{
	struct event_base *base = event_base_new();
	struct ph_output_thread *thread;
	const struct ph_output_settings settings = {.node = ph_name_of("a"),
		.out = out_file,
		.err = out_file,
		.journal = path_of("nobody")};
	ck_assert_int_eq(ph_output_thread_new(base, &settings, on_news, NULL, &thread), 0);
	/* orders are taken one after the other: it is watched before it is read */
	struct ph_output_order *order = ph_output_order_new(PH_OUTPUT_WATCH);
	order->filter.child = ph_name_of("one");
	order->follow = true;
	ph_output_thread_put(thread, order);
	order = ph_output_order_new(PH_OUTPUT_OPEN);
	order->fifo = strdup(path_of("fifo"));
	ck_assert_int_eq(mkfifo(order->fifo, 0600), 0);
	order->fd = open(order->fifo, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	int end = open(order->fifo, O_RDWR | O_CLOEXEC);
	order->key = key_of("one", 0);
	ph_output_thread_put(thread, order);
	ck_assert_int_eq(write(end, "a\n", 2), 2);
	notes = 0;
	for (int i = 0; i < 100 && !notes; i++)
		(void)event_base_loop(base, EVLOOP_ONCE);
	ck_assert_uint_eq(notes, 1);
	/* an answer does not wait for something else to happen */
	order = ph_output_order_new(PH_OUTPUT_WATCH);
	order->filter.child = ph_name_of("one");
	order->lines = 5;
	ph_output_thread_put(thread, order);
	for (int i = 0; i < 100 && notes < 2; i++)
		(void)event_base_loop(base, EVLOOP_ONCE);
	ck_assert_uint_eq(notes, 2);
	ck_assert_int_eq(write(end, "b", 1), 1);
	close(end);
	ck_assert_uint_eq(ph_output_thread_free(thread, 20000), 0);
	expect(path_of("out"), "a\nb\n");
	ck_assert_int_eq(access(path_of("fifo"), F_OK), -1);
	event_base_free(base);
}
END_TEST

int main(void)
{
	(void)signal(SIGPIPE, SIG_IGN); /* as the daemon does */
	Suite *s = suite_create("output");
	TCase *t = tcase_create("output");
	tcase_add_checked_fixture(t, output_setup, output_teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_pieces);
	tcase_add_test(t, test_longest_line);
	tcase_add_test(t, test_priority);
	tcase_add_test(t, test_ring);
	tcase_add_test(t, test_whole_lines_are_relayed);
	tcase_add_test(t, test_reader_that_does_not_read);
	tcase_add_test(t, test_many_that_have_ended);
	tcase_add_test(t, test_reader_that_is_gone);
	tcase_add_test(t, test_endless_line);
	tcase_add_test(t, test_long_lines_are_whole);
	tcase_add_test(t, test_flood_starves_nobody);
	tcase_add_test(t, test_tail_and_follow);
	tcase_add_test(t, test_slow_reader);
	tcase_add_test(t, test_thread);
	suite_add_tcase(s, t);
	return run_tests(s);
}
