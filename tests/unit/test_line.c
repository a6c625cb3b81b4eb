/* Lines out of a stream, whatever the pieces it comes in, and never too long. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/line.h"
#include "run_tests.h"

#define MAX 16

struct row {
	const char *stream;
	const char *lines[6]; /* what comes out, in order */
	int error;
};

static const struct row rows[] = {
	{"a\nbc\n\nd\n", {"a", "bc", "", "d"}, 0},
	{"unfinished", {NULL}, 0},
	{"0123456789abcdef\nx\n", {"0123456789abcdef", "x"}, 0},
	{"0123456789abcdefg\n", {NULL}, -EMSGSIZE},
	{"a\n0123456789abcdefg", {"a"}, -EMSGSIZE},
	{"a\nb\n0123456789abcdefg\nz\n", {"a", "b"}, -EMSGSIZE},
};

/* Feeds the stream in pieces of `step`; an error must be seen by the end of the stream. */
static void feed_in_steps(const struct row *row, size_t step)
{
	struct ph_line l;
	size_t n = strlen(row->stream), out = 0, len = 0;
	int error = 0;
	char *line = NULL;

	ph_line_init(&l, MAX);
	for (size_t at = 0; at < n && !error; at += step) {
		error = ph_line_feed(&l, row->stream + at, n - at < step ? n - at : step);
		while (!error) {
			int r = ph_line_next(&l, &line, &len);
			if (r == 0)
				break;
			if (r < 0) {
				error = r;
				break;
			}
			ck_assert_uint_lt(out, 6);
			ck_assert_ptr_nonnull(row->lines[out]);
			ck_assert_uint_eq(len, strlen(row->lines[out]));
			ck_assert_int_eq(memcmp(line, row->lines[out], len), 0);
			out++;
		}
	}
	ck_assert_int_eq(error, row->error);
	ck_assert_ptr_null(row->lines[out]);
	if (error) {
		ck_assert_int_eq(ph_line_feed(&l, "x", 1), error);
		ck_assert_int_eq(ph_line_next(&l, &line, &len), error);
	}
	ph_line_fini(&l);
}

START_TEST(test_pieces)
{
	for (size_t step = 1; step <= 24; step++)
		feed_in_steps(&rows[_i], step);
}
END_TEST

START_TEST(test_rest)
{
	struct ph_line l;
	char *line;
	const char *rest;
	size_t n;
	ph_line_init(&l, 8);
	ck_assert_int_eq(ph_line_feed(&l, "head\nraw \0 bytes, many more than 8", 33), 0);
	ck_assert_int_eq(ph_line_next(&l, &line, &n), 1);
	ph_line_rest(&l, &rest, &n);
	ck_assert_uint_eq(n, 28);
	ck_assert_int_eq(memcmp(rest, "raw \0 bytes", 11), 0);
	ph_line_drop(&l);
	ph_line_rest(&l, &rest, &n);
	ck_assert_uint_eq(n, 0);
	ph_line_fini(&l);
}
END_TEST

START_TEST(test_over_long_is_refused_at_once)
{
	struct ph_line l;
	char *big = calloc(1, PH_LINE_MAX + 1);
	ph_line_init(&l, PH_LINE_MAX);
	memset(big, 'x', PH_LINE_MAX + 1);
	ck_assert_int_eq(ph_line_feed(&l, big, PH_LINE_MAX), 0);
	ck_assert_int_eq(ph_line_feed(&l, big, 1), -EMSGSIZE);
	ck_assert_uint_le(l.size, 2 * PH_LINE_MAX);
	ph_line_fini(&l);
	free(big);
}
END_TEST

/* A byte at a time to the bound, many lines: quadratic work would take minutes. */
START_TEST(test_linear)
{
	struct ph_line l;
	char *line;
	size_t n, lines = 0;
	ph_line_init(&l, PH_LINE_MAX);
	for (size_t i = 0; i < 4 * (size_t)PH_LINE_MAX; i++) {
		ck_assert_int_eq(
			ph_line_feed(&l, i % PH_LINE_MAX == PH_LINE_MAX - 1 ? "\n" : "x", 1), 0);
		while (ph_line_next(&l, &line, &n) > 0)
			lines++;
	}
	ck_assert_uint_eq(lines, 4);
	ph_line_fini(&l);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("line");
	TCase *t = tcase_create("line");
	tcase_add_loop_test(t, test_pieces, 0, sizeof rows / sizeof *rows);
	tcase_add_test(t, test_rest);
	tcase_add_test(t, test_over_long_is_refused_at_once);
	tcase_add_test(t, test_linear);
	tcase_set_timeout(t, 60);
	suite_add_tcase(s, t);
	return run_tests(s);
}
