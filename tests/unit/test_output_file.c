/* Output in files: rotation at whole lines, old ones, files that others move, full disks. */
#include "tests/unit/output_help.h"

#include <sys/mount.h>
#include <sys/wait.h>

#include "io/logfile.h"
#include "run_tests.h"

static void teardown_files(void)
{
	output_teardown();
}

START_TEST(test_lines_and_rest)
{
	int fifo = fifo_open("one", path_of("log"), 0, 0);
	say(fifo, "a\nb");
	expect(path_of("log"), "a\n");
	close(fifo);
	pump();
	expect(path_of("log"), "a\nb\n");
	fifo = fifo_open("one", path_of("log"), 0, 0);
	say(fifo, "c\n");
	expect(path_of("log"), "a\nb\nc\n"); /* an old file goes on */
	close(fifo);
}
END_TEST

START_TEST(test_rotation)
{
	int fifo = fifo_open("one", path_of("log"), 10, 2);
	say(fifo, "aaaa\nbbbb\ncccc\n"); /* 10 bytes fit, the third does not */
	expect(path_of("log"), "cccc\n");
	expect(path_of("log.1"), "aaaa\nbbbb\n");
	say(fifo, "dddddd\n"); /* 7: it would not fit whole */
	expect(path_of("log"), "dddddd\n");
	expect(path_of("log.1"), "cccc\n");
	expect(path_of("log.2"), "aaaa\nbbbb\n");
	say(fifo, "a line that is longer than a file\ne\n");
	expect(path_of("log"), "e\n");
	expect(path_of("log.1"), "a line that is longer than a file\n");
	expect(path_of("log.2"), "dddddd\n");
	ck_assert_int_eq(access(path_of("log.3"), F_OK), -1);
	close(fifo);
}
END_TEST

START_TEST(test_nothing_is_kept)
{
	int fifo = fifo_open("one", path_of("log"), 4, 0);
	say(fifo, "aaa\nbbb\n");
	expect(path_of("log"), "bbb\n");
	ck_assert_int_eq(access(path_of("log.1"), F_OK), -1);
	close(fifo);
}
END_TEST

static bool notes_say(const char *words)
{
	bool found = false;
	struct ph_output_news *news = ph_output_news(output);
	for (const struct ph_output_news *each = news; each; each = each->next)
		found |= each->text && strstr(each->text, words);
	ph_output_news_free(news);
	return found;
}

static void options(const char *child, const char *file, uint64_t size, unsigned keep)
{
	struct ph_output_order *order = ph_output_order_new(PH_OUTPUT_OPTIONS);
	order->key = key_of(child, 0);
	order->file = strdup(file);
	order->size = size;
	order->keep = keep;
	ph_output_order(output, order);
}

/* Size, number and path count from the moment that they are told; what is kept no more goes. */
START_TEST(test_other_options)
{
	int fifo = fifo_open("one", path_of("log"), 4, 3), other = fifo_open("two", NULL, 0, 0);
	say(fifo, "aaa\nbbb\nccc\nddd\n");
	expect(path_of("log.3"), "aaa\n");
	options("one", path_of("log"), 8, 1);
	ck_assert_int_eq(access(path_of("log.3"), F_OK), -1);
	ck_assert_int_eq(access(path_of("log.2"), F_OK), -1);
	expect(path_of("log.1"), "ccc\n");
	say(fifo, "eee\nfff\n");
	expect(path_of("log"), "fff\n");
	expect(path_of("log.1"), "ddd\neee\n");
	say(fifo, "half");
	options("one", path_of("new"), 8, 1);
	say(fifo, " a line\n");
	expect(path_of("log"), "fff\n");
	expect(path_of("new"), "half a line\n");
	/* what cannot be opened changes nothing, nor does what goes elsewhere */
	options("one", path_of("no/log"), 8, 1);
	options("two", path_of("new"), 8, 1);
	ck_assert(notes_say("its output goes on to"));
	say(other, "other\n");
	say(fifo, "g\n");
	expect(path_of("new"), "g\n");
	expect(path_of("out"), "other\n");
	close(fifo);
	close(other);
}
END_TEST

/* Two of one file are told, once; an old worker and its successor are one. */
START_TEST(test_one_file_for_two)
{
	int one = fifo_open("one", path_of("log"), 0, 0),
	    next = fifo_open("one", path_of("log"), 0, 0);
	ck_assert(!notes_say("one file"));
	int two = fifo_open("two", path_of("log"), 0, 0);
	ck_assert(notes_say("one/0 and two/0 write to one file"));
	int three = fifo_open("three", path_of("new"), 0, 0);
	options("three", path_of("log"), 0, 0);
	ck_assert(!notes_say("one file"));
	say(one, "half");
	say(two, "whole\n");
	say(one, " a line\n");
	pump();
	expect(path_of("log"), "whole\nhalf a line\n");
	close(one), close(next), close(two), close(three);
}
END_TEST

/* A line that is longer than a FIFO stays whole, whoever else writes to that file meanwhile. */
START_TEST(test_nobody_interrupts_a_line)
{
	int one = fifo_open("one", path_of("log"), 0, 0),
	    next = fifo_open("one", path_of("log"), 0, 0);
	char *line = malloc(200001), *both = malloc(200020);
	memset(line, 'x', 200000);
	line[200000] = '\0';
	say(one, line);
	say(next, "whole\n");
	say(one, "end\n");
	for (int i = 0; i < 20; i++)
		ph_output_pump(output, 20);
	(void)snprintf(both, 200020, "%send\nwhole\n", line);
	expect(path_of("log"), both);
	free(line), free(both);
	close(one), close(next);
}
END_TEST

/* Old files that others make of one that never begins anew are theirs. */
START_TEST(test_files_of_others)
{
	int fifo = fifo_open("one", path_of("log"), 0, 3);
	ck_assert_int_eq(close(open(path_of("log.2"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600)), 0);
	options("one", path_of("log"), 0, 1);
	ck_assert_int_eq(access(path_of("log.2"), F_OK), 0);
	close(fifo);
}
END_TEST

/* A flood of numbered lines through many files: each of them once, in order, each file whole. */
START_TEST(test_flood)
{
	enum {
		LINES = 200000
	};
	size_t n = 0, next = 0;
	char *text = malloc(32u * LINES), name[256];
	for (int i = 0; i < LINES; i++)
		n += (size_t)snprintf(text + n, 32, "line %d\n", i);
	int fifo = fifo_open("one", path_of("log"), 100000, 1000);
	ck_assert_int_eq(fcntl(fifo, F_SETFL, O_NONBLOCK), 0);
	write_all(fifo, text, n);
	close(fifo);
	while (ph_output_open_count(output))
		ph_output_pump(output, 10);
	for (int i = 1000; i >= 0; i--) {
		size_t bytes;
		(void)snprintf(name, sizeof name, i ? "%s.%d" : "%s", path_of("log"), i);
		char *found = content_of(name, &bytes);
		ck_assert_uint_le(bytes, 100000);
		ck_assert(!bytes || found[bytes - 1] == '\n');
		ck_assert(memcmp(found, text + next, bytes) == 0);
		next += bytes;
		free(found);
	}
	ck_assert_uint_eq(next, n);
	free(text);
}
END_TEST

/* A writer that is in the middle of one large write makes no event, unless the FIFO was empty. */
START_TEST(test_one_large_write)
{
	size_t n = 0, bytes;
	char *text = malloc(4u << 20), filling[98];
	memset(filling, 'x', sizeof filling);
	for (int i = 0; n < (3u << 20); i++)
		n += (size_t)snprintf(text + n, 256, "line %d %.*s\n", i, i % 97, filling);
	int fifo = fifo_open("one", path_of("log"), 0, 0);
	pid_t writer = fork();
	if (!writer)
		_exit(write(fifo, text, n) == (ssize_t)n ? 0 : 1);
	close(fifo);
	uint64_t until = ph_clock_now_ms() + 10000;
	while (ph_output_open_count(output) && ph_clock_now_ms() < until)
		ph_output_pump(output, 100);
	ck_assert_uint_eq(ph_output_open_count(output), 0);
	char *found = content_of(path_of("log"), &bytes);
	ck_assert_uint_eq(bytes, n);
	ck_assert(memcmp(found, text, n) == 0);
	ck_assert_int_eq(waitpid(writer, NULL, 0), writer);
	free(found);
	free(text);
}
END_TEST

START_TEST(test_moved_away)
{
	int fifo = fifo_open("one", path_of("log"), 0, 0);
	say(fifo, "a\n");
	ck_assert_int_eq(rename(path_of("log"), path_of("moved")), 0);
	ph_output_order(output, ph_output_order_new(PH_OUTPUT_REOPEN));
	say(fifo, "b\n");
	expect(path_of("moved"), "a\n");
	expect(path_of("log"), "b\n");
	ck_assert_int_eq(truncate(path_of("log"), 0), 0); /* logrotate's copytruncate */
	ph_output_order(output, ph_output_order_new(PH_OUTPUT_REOPEN));
	say(fifo, "c\n");
	expect(path_of("log"), "c\n");
	ck_assert_int_eq(unlink(path_of("log")), 0);
	usleep(1100000); /* without an order it is seen a second later */
	say(fifo, "d\n");
	expect(path_of("log"), "d\n");
	close(fifo);
}
END_TEST

START_TEST(test_no_link_no_device)
{
	struct ph_err err;
	int fd;
	ck_assert_int_eq(symlink("/etc/passwd", path_of("link")), 0);
	ck_assert_int_eq(mkfifo(path_of("pipe"), 0600), 0);
	static const struct {
		const char *name, *why;
	} rows[] = {{"link", "symbolic link"}, {"pipe", ""}, {"none/log", "No such file"}};
	for (size_t i = 0; i < 3; i++) {
		ck_assert_int_lt(ph_logfile_open_fd(path_of(rows[i].name), &fd, &err), 0);
		ck_assert_msg(strstr(err.text, rows[i].why) != NULL, "%s", err.text);
	}
	ck_assert_int_lt(ph_logfile_open_fd("/dev/null", &fd, &err), 0);
	ck_assert_ptr_nonnull(strstr(err.text, "not a regular file"));
}
END_TEST

/* What is older than a MiB is for a helper; numbers may change while that is at work. */
START_TEST(test_compression)
{
	size_t n = PH_LOGFILE_COMPRESS_BYTES;
	char *line = malloc(n + 1);
	memset(line, 'x', n);
	for (size_t i = 999; i < n; i += 1000)
		line[i] = '\n';
	line[n - 1] = '\n';
	line[n] = '\0';
	int fifo = fifo_open("one", path_of("log"), n, 6);
	for (int i = 0; i < 5; i++)
		say(fifo, line);
	ck_assert_ptr_null(ph_output_news(output)); /* a MiB of old ones, log.1 to log.4 */
	say(fifo, line);
	struct ph_output_news *news = ph_output_news(output);
	ck_assert_ptr_nonnull(news);
	ck_assert_int_eq(news->kind, PH_OUTPUT_COMPRESS);
	say(fifo, line); /* log.5 is log.6 now, and that is what is compressed */
	struct stat st, is;
	ck_assert_int_eq(fstat(news->fd, &st), 0);
	ck_assert_int_eq(stat(path_of("log.6"), &is), 0);
	ck_assert_uint_eq(st.st_ino, is.st_ino);
	ph_output_news_free(news);
	ck_assert_int_eq(close(open(path_of("made"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600)), 0);
	struct ph_output_order *order = ph_output_order_new(PH_OUTPUT_COMPRESSED);
	order->file = strdup(path_of("log"));
	order->made = strdup(path_of("made"));
	order->ok = true;
	ph_output_order(output, order);
	ck_assert_int_eq(access(path_of("log.6.gz"), F_OK), 0);
	ck_assert_int_eq(access(path_of("log.6"), F_OK), -1);
	ck_assert_int_eq(access(path_of("made"), F_OK), -1);
	/* the one that became old meanwhile is next */
	news = ph_output_news(output);
	ck_assert_ptr_nonnull(news);
	ck_assert_int_eq(fstat(news->fd, &st), 0);
	ck_assert_int_eq(stat(path_of("log.5"), &is), 0);
	ck_assert_uint_eq(st.st_ino, is.st_ino);
	ph_output_news_free(news);
	say(fifo, line);
	ck_assert_int_eq(access(path_of("log.6.gz"), F_OK), -1); /* it was the oldest */
	ck_assert_int_eq(access(path_of("log.6"), F_OK), 0);
	ph_output_news_free(ph_output_news(output));
	free(line);
	close(fifo);
}
END_TEST

static void watch(const char *child, uint32_t lines)
{
	struct ph_output_order *order = ph_output_order_new(PH_OUTPUT_WATCH);
	order->watch = 1;
	order->filter.child = ph_name_of(child);
	order->lines = lines;
	ph_output_order(output, order);
}

/* Lines of an earlier daemon come from the files, those of this one from memory. */
START_TEST(test_tail_of_files)
{
	char got[256] = "";
	int fifo = fifo_open("one", path_of("log"), 8, 3);
	say(fifo, "a\nb\nc\nd\ne\nf\n");
	close(fifo);
	pump();
	ph_output_free(output);
	output_begin(out_file, path_of("nobody"));
	fifo = fifo_open("one", path_of("log"), 8, 3);
	say(fifo, "g\n");
	watch("one", 6);
	struct ph_output_news *news = ph_output_news(output);
	for (const struct ph_output_line *l = news->lines; l; l = l->next)
		(void)snprintf(got + strlen(got), sizeof got - strlen(got), "%s%s|", l->text,
			l->at_ms ? "!" : "");
	ck_assert_str_eq(got, "b|c|d|e|f|g!|");
	ph_output_news_free(news);
	close(fifo);
}
END_TEST

/* ---- a disk that is full */

START_TEST(test_disk_full)
{
	char line[64], *text = malloc(2u << 20);
	size_t n = 0, wrote = 0, bytes;
	ck_assert_int_eq(mkdir(path_of("disk"), 0700), 0);
	if (mount("none", path_of("disk"), "tmpfs", 0, "size=65536") < 0) {
		free(text);
		return; /* only root can */
	}
	for (int i = 0; n < 400000; i++)
		n += (size_t)snprintf(text + n, sizeof line, "line %d\n", i);
	int fifo = fifo_open("one", path_of("disk/log"), 0, 0);
	ck_assert_int_eq(fcntl(fifo, F_SETFL, O_NONBLOCK), 0);
	for (int i = 0; i < 50; i++) {
		ssize_t w = write(fifo, text + wrote, n - wrote);
		wrote += w > 0 ? (size_t)w : 0;
		ph_output_pump(output, 10);
	}
	ck_assert_uint_lt(wrote, 65536 * 3); /* the writer waits */
	ck_assert(notes_say("No space left on device"));
	ck_assert_int_eq(mount("none", path_of("disk"), NULL, MS_REMOUNT, "size=1048576"), 0);
	write_all(fifo, text + wrote, n - wrote);
	close(fifo);
	while (ph_output_open_count(output))
		ph_output_pump(output, 10);
	char *found = content_of(path_of("disk/log"), &bytes);
	ck_assert_uint_eq(bytes, n);
	ck_assert(memcmp(found, text, n) == 0); /* nothing lost, nothing doubled */
	ck_assert(notes_say("again"));
	ck_assert_int_eq(umount2(path_of("disk"), MNT_DETACH), 0);
	free(found);
	free(text);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("output_file");
	TCase *t = tcase_create("output_file");
	tcase_add_checked_fixture(t, output_setup, teardown_files);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_lines_and_rest);
	tcase_add_test(t, test_rotation);
	tcase_add_test(t, test_nothing_is_kept);
	tcase_add_test(t, test_other_options);
	tcase_add_test(t, test_files_of_others);
	tcase_add_test(t, test_nobody_interrupts_a_line);
	tcase_add_test(t, test_one_file_for_two);
	tcase_add_test(t, test_flood);
	tcase_add_test(t, test_one_large_write);
	tcase_add_test(t, test_moved_away);
	tcase_add_test(t, test_no_link_no_device);
	tcase_add_test(t, test_compression);
	tcase_add_test(t, test_tail_of_files);
	tcase_add_test(t, test_disk_full);
	suite_add_tcase(s, t);
	return run_tests(s);
}
