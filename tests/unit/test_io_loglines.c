/* The daemon's own log at a pipe or socket that is not read, or by nobody any more. */
#include "io/loglines.h"

#include "io/clock.h"
#include "run_tests.h"
#include "tests/unit/io_help.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define LINES 6000 /* more than there is room for */
#define MISSING "lines of this log are missing here"

static struct event_base *base;
static struct ph_loglines *lines;
static int ends[2];

/* 0: a pipe; 1: a socket, as systemd's. */
static void begin(int kind)
{
	base = event_base_new();
	if (kind)
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	else
		ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	ck_assert_int_eq(ph_loglines_new(base, ends[1], "<4>", &lines), 0);
}

static void end(void)
{
	ph_loglines_free(lines, 0);
	close(ends[1]);
	event_base_free(base);
}

/* "17 ...\n", of 100 bytes */
static void put(unsigned number)
{
	char line[101];
	(void)snprintf(line, sizeof line, "%-99u\n", number);
	ph_loglines_put(lines, line, 100);
}

/* Reads what there is, and what comes of it; until the last line is there. */
static char *read_all(void)
{
	size_t n = 0, max = 4u << 20;
	char *text = calloc(1, max), last[20];
	(void)snprintf(last, sizeof last, "\n%u ", LINES);
	ck_assert_int_eq(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
	for (int i = 0; i < 2000 && !strstr(text, last); i++) {
		ssize_t r;
		while ((r = read(ends[0], text + n, max - n - 1)) > 0)
			n += (size_t)r;
		help_run_for(base, 5);
		if (strstr(text, MISSING))
			put(LINES);
	}
	return text;
}

START_TEST(nobody_waits)
{
	unsigned next = 0, lost = 0;
	begin(_i);
	uint64_t from_ms = ph_clock_now_ms();
	for (unsigned i = 0; i < LINES; i++)
		put(i);
	ck_assert_uint_lt(ph_clock_now_ms() - from_ms, 5000);
	ck_assert_int_eq(fcntl(ends[1], F_GETFL) & O_NONBLOCK, 0); /* it is not ours alone */
	char *text = read_all(), *line = text;
	for (; !lost && line; line = strchr(line, '\n') + 1)
		if (strncmp(line, "<4>", 3) == 0)
			ck_assert_int_eq(sscanf(line, "<4>%u " MISSING, &lost), 1);
		else
			ck_assert_uint_eq((unsigned)atoi(line), next++);
	ck_assert_uint_eq(next + lost, LINES);
	ck_assert_uint_eq((unsigned)atoi(line), LINES);
	ck_assert_uint_ge(next, PH_LOGLINES_BYTES / 100);
	end();
	close(ends[0]);
	free(text);
}
END_TEST

START_TEST(nobody_is_there)
{
	(void)signal(SIGPIPE, SIG_IGN);
	begin(_i);
	for (unsigned i = 0; i < LINES; i++)
		put(i);
	close(ends[0]);
	help_run_for(base, 100);
	for (unsigned i = 0; i < LINES; i++)
		put(i);
	end();
}
END_TEST

/* What waits at the end is written as far as somebody reads it. */
START_TEST(at_the_end)
{
	char text[4096];
	begin(_i);
	for (unsigned i = 0; i < 1500; i++)
		put(i);
	pid_t reader = fork();
	if (!reader) {
		size_t all = 0;
		close(ends[1]);
		for (ssize_t n; all < 1500 * 100 && (n = read(ends[0], text, sizeof text)) > 0;)
			all += (size_t)n;
		_exit(all == 1500 * 100 ? 0 : 1);
	}
	ph_loglines_free(lines, 20000);
	lines = NULL;
	end();
	int status;
	ck_assert_int_eq(waitpid(reader, &status, 0), reader);
	ck_assert_int_eq(status, 0);
	close(ends[0]);
	begin(_i);
	for (unsigned i = 0; i < LINES; i++)
		put(i);
	uint64_t from_ms = ph_clock_now_ms();
	ph_loglines_free(lines, 100);
	ck_assert_uint_ge(ph_clock_now_ms() - from_ms, 90);
	lines = NULL;
	end();
	close(ends[0]);
}
END_TEST

/* Who else writes to that pipe has his lines between ours, not within one. */
START_TEST(lines_stay_whole)
{
	const unsigned n_lines = 1000;
	char path[64], *text = calloc(1, 1u << 20), *line = text;
	size_t n = 0, others = 0;
	begin(0);
	ck_assert_int_eq(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
	(void)snprintf(path, sizeof path, "/proc/self/fd/%d", ends[1]);
	int other = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	ck_assert_int_ge(other, 0);
	for (unsigned i = 0; i < n_lines; i++)
		put(i);
	for (int i = 0; i < 1000 && n < n_lines * 100 + others * 6; i++) {
		ssize_t r = read(ends[0], text + n, 5000);
		n += r > 0 ? (size_t)r : 0;
		if (others < 100)
			others += write(other, "other\n", 6) == 6;
		help_run_for(base, 60);
	}
	for (unsigned next = 0; next < n_lines; line = strchr(line, '\n') + 1) {
		if (strncmp(line, "other\n", 6) == 0)
			continue;
		ck_assert_uint_eq((unsigned)atoi(line), next++);
		ck_assert_ptr_eq(strchr(line, '\n'), line + 99);
	}
	ck_assert_uint_gt(others, 0);
	close(other);
	end();
	close(ends[0]);
	free(text);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("io_loglines");
	TCase *t = tcase_create("loglines");
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, nobody_waits, 0, 2);
	tcase_add_loop_test(t, nobody_is_there, 0, 2);
	tcase_add_loop_test(t, at_the_end, 0, 2);
	tcase_add_test(t, lines_stay_whole);
	suite_add_tcase(suite, t);
	return run_tests(suite);
}
