/* The journal: what survives which damage and a kill, and that every ticket is answered in order.
 */
#include "run_tests.h"
#include "tests/unit/journal_help.h"

#include <signal.h>
#include <sys/wait.h>

/* ---- the ordinary life */

START_TEST(new_then_again)
{
	int fds = help_count_fds();
	open_journal(NULL, NULL, PH_JOURNAL_NEW);
	struct ph_id id = ph_journal_id(seen.journal);
	ck_assert(!ph_id_none(&id));
	append_batch(1, 3);
	append_batch(4, 500);
	ck_assert_int_eq(seen.n_good, 503);
	ck_assert(seen.in_order);
	struct stat st;
	ck_assert_int_eq(stat(path_of("journal"), &st), 0);
	ck_assert_uint_eq((uint64_t)st.st_size, ph_journal_bytes(seen.journal));
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	close_journal();
	ck_assert_int_eq(help_count_fds(), fds);
	for (int i = 0; i < 2; i++) {
		open_journal(i ? &id : NULL, NULL, PH_JOURNAL_OK);
		struct ph_id now = ph_journal_id(seen.journal);
		ck_assert(ph_id_equal(&id, &now));
		ck_assert_str_eq(seen.report.why.text, "");
		ck_assert_uint_eq(seen.report.records, 503);
		expect_records(503);
		close_journal();
	}
}
END_TEST

START_TEST(what_is_queued_at_close_is_written)
{
	open_journal(NULL, NULL, PH_JOURNAL_NEW);
	for (uint64_t i = 1; i <= 100; i++)
		append(i);
	close_journal();
	open_journal(NULL, NULL, PH_JOURNAL_OK);
	expect_records(100);
}
END_TEST

START_TEST(the_last_ones_find_a_full_queue)
{
	static char large[PH_JOURNAL_RECORD_MAX];
	memset(large, 'x', sizeof large);
	open_journal(NULL, NULL, PH_JOURNAL_NEW);
	for (uint64_t i = 1; i <= PH_JOURNAL_QUEUE_RECORDS; i++)
		append(i);
	ck_assert_int_eq(ph_journal_append(seen.journal, 0, "x", 1), -ENOSPC);
	for (int i = 0; i < 20000; i++)
		ck_assert_int_eq(ph_journal_append_last(seen.journal, "x", 1), 0);
	for (int i = 0; i < 20; i++)
		ck_assert_int_eq(ph_journal_append_last(seen.journal, large, sizeof large), 0);
	ck_assert_int_eq(ph_journal_append_last(seen.journal, "", 0), -EMSGSIZE);
	close_journal();
	open_journal(NULL, NULL, PH_JOURNAL_OK);
	ck_assert_int_eq(seen.n_records, (int)PH_JOURNAL_QUEUE_RECORDS + 20020);
}
END_TEST

START_TEST(bad_records_are_refused)
{
	static char large[PH_JOURNAL_RECORD_MAX + 1];
	memset(large, 'x', sizeof large);
	open_journal(NULL, NULL, PH_JOURNAL_NEW);
	ck_assert_int_eq(ph_journal_append(seen.journal, 1, "", 0), -EMSGSIZE);
	ck_assert_int_eq(ph_journal_append(seen.journal, 1, "a\nb", 3), -EINVAL);
	ck_assert_int_eq(ph_journal_append(seen.journal, 1, large, sizeof large), -EMSGSIZE);
	ck_assert_int_eq(ph_journal_append(seen.journal, 1, large, sizeof large - 1), 0);
	ck_assert_int_eq(ph_journal_append(seen.journal, 2, "\0\r\x80 ", 4), 0);
	help_run_until(seen.base, &seen.n_done, 2);
	close_journal();
	open_journal(NULL, NULL, PH_JOURNAL_OK);
	ck_assert_int_eq(seen.n_records, 2);
}
END_TEST

START_TEST(the_queue_is_bounded)
{
	static char large[PH_JOURNAL_RECORD_MAX];
	memset(large, 'x', sizeof large);
	open_journal(NULL, NULL, PH_JOURNAL_NEW);
	uint64_t ticket = 0;
	int r;
	while ((r = ph_journal_append(seen.journal, ticket + 1, large, sizeof large)) == 0)
		ticket++;
	ck_assert_int_eq(r, -ENOSPC);
	ck_assert_uint_eq(ticket, PH_JOURNAL_QUEUE_BYTES / PH_JOURNAL_RECORD_MAX);
	help_run_until(seen.base, &seen.n_done, (int)ticket);
	for (uint64_t i = 0; i < PH_JOURNAL_QUEUE_RECORDS; i++)
		append(++ticket);
	ck_assert_int_eq(ph_journal_append(seen.journal, 0, "x", 1), -ENOSPC);
	help_run_until(seen.base, &seen.n_done, (int)ticket);
	ck_assert_int_eq(seen.n_good, (int)ticket);
	ck_assert(seen.in_order);
}
END_TEST

/* ---- damage */

/* Three batches of 2 records, so that six records stand there; brings the file. */
static size_t six_records(char *bytes, size_t size, struct ph_id *ret_id)
{
	open_journal(NULL, NULL, PH_JOURNAL_NEW);
	for (uint64_t i = 0; i < 3; i++)
		append_batch(1 + 2 * i, 2);
	*ret_id = ph_journal_id(seen.journal);
	close_journal();
	return read_journal(bytes, size - 1);
}

static int lines_in(const char *bytes, size_t n)
{
	int lines = 0;
	for (size_t i = 0; i < n; i++)
		lines += bytes[i] == '\n';
	return lines;
}

START_TEST(torn_at_every_byte)
{
	char bytes[1024];
	struct ph_id id;
	size_t n = six_records(bytes, sizeof bytes, &id);
	size_t header = (size_t)((char *)memchr(bytes, '\n', n) - bytes) + 1;
	for (size_t cut = 0; cut < n; cut++) {
		write_journal(bytes, cut);
		int whole = lines_in(bytes, cut) - 1;
		if (cut < header) {
			/* a header is there whole or not at all: this is no crash of ours */
			open_journal(&id, NULL, PH_JOURNAL_UNREADABLE);
			close_journal();
			continue;
		}
		bool clean = bytes[cut - 1] == '\n';
		open_journal(&id, NULL, clean ? PH_JOURNAL_OK : PH_JOURNAL_TORN);
		expect_records(whole);
		/* and it goes on behind the cut */
		append((uint64_t)whole + 1);
		close_journal();
		open_journal(&id, NULL, PH_JOURNAL_OK);
		expect_records(whole + 1);
		close_journal();
	}
}
END_TEST

START_TEST(damage_before_the_last_batch)
{
	char bytes[1024], copy[1024];
	struct ph_id id;
	size_t n = six_records(bytes, sizeof bytes, &id);
	/* where the last batch begins: that of record 5, unless the thread was quick and made two
	 * of it */
	bytes[n] = '\0';
	const char *begin =
		strstr(bytes, " 6 5 ") ? strstr(bytes, " 5 5 ") : strstr(bytes, " 6 6 ");
	ck_assert_ptr_nonnull(begin);
	size_t last = (size_t)(begin - bytes) - 8;
	for (size_t at = 0; at < n; at++) {
		memcpy(copy, bytes, n);
		copy[at] = (char)(copy[at] ^ 1);
		write_journal(copy, n);
		bool in_last = at >= last;
		open_journal(&id, NULL, in_last ? PH_JOURNAL_TORN : PH_JOURNAL_UNREADABLE);
		struct ph_id now = ph_journal_id(seen.journal);
		ck_assert_int_eq(ph_id_equal(&id, &now), in_last);
		if (!in_last)
			ck_assert_int_eq(seen.n_records, 0);
		close_journal();
	}
}
END_TEST

START_TEST(each_record_a_batch_of_its_own)
{
	char bytes[1024], copy[1024];
	struct ph_id id;
	open_journal(NULL, NULL, PH_JOURNAL_NEW);
	for (uint64_t i = 1; i <= 4; i++)
		append_batch(i, 1);
	id = ph_journal_id(seen.journal);
	close_journal();
	size_t n = read_journal(bytes, sizeof bytes - 1);
	bytes[n] = '\0';
	size_t last = (size_t)(strstr(bytes, " 4 4 ") - bytes) - 8;
	for (size_t at = 0; at < n; at++) {
		memcpy(copy, bytes, n);
		copy[at] = (char)(copy[at] ^ 1);
		write_journal(copy, n);
		/* the newline before the last one, too, belongs to what was synced */
		open_journal(&id, NULL, at >= last ? PH_JOURNAL_TORN : PH_JOURNAL_UNREADABLE);
		close_journal();
	}
}
END_TEST

START_TEST(a_batch_torn_in_its_middle)
{
	char bytes[1024];
	struct ph_id id;
	open_journal(NULL, NULL, PH_JOURNAL_NEW);
	append_batch(1, 2);
	close_journal();
	/* one batch for sure: written at close */
	open_journal(NULL, NULL, PH_JOURNAL_OK);
	id = ph_journal_id(seen.journal);
	size_t before = (size_t)ph_journal_bytes(seen.journal);
	for (uint64_t i = 3; i <= 8; i++)
		append(i);
	close_journal();
	size_t n = read_journal(bytes, sizeof bytes - 1);
	bytes[n] = '\0';
	/* blocks reach the disk in any order: zeros in the middle of what nobody synced */
	char *batch = strstr(bytes + before, " 3 3 ");
	ck_assert_ptr_nonnull(batch);
	if (!strstr(bytes + before, " 8 3 "))
		return; /* the thread was quick, and made two of it */
	memset(bytes + before + 30, 0, 40);
	write_journal(bytes, n);
	open_journal(&id, NULL, PH_JOURNAL_TORN);
	ck_assert_int_ge(seen.n_records, 2);
	ck_assert_int_le(seen.n_records, 3);
}
END_TEST

START_TEST(other_id_and_missing_file)
{
	char bytes[1024], expected[512], known[PH_ID_TEXT_SIZE], found[PH_ID_TEXT_SIZE];
	struct ph_id id, other = {{1, 2, 3}};
	size_t n = six_records(bytes, sizeof bytes, &id);
	open_journal(&other, NULL, PH_JOURNAL_UNREADABLE);
	(void)snprintf(expected, sizeof expected, "%s/journal: it has the id %s, expected %s", dir,
		ph_id_text(&id, found), ph_id_text(&other, known));
	ck_assert_str_eq(seen.report.why.text, expected);
	ck_assert_int_eq(seen.n_records, 0);
	ck_assert_int_eq(access(path_of("journal.damaged-1"), F_OK), 0);
	append_batch(1, 1);
	ck_assert_int_eq(seen.n_good, 1);
	close_journal();
	ck_assert_int_eq(unlink(path_of("journal")), 0);
	open_journal(&id, NULL, PH_JOURNAL_UNREADABLE);
	(void)snprintf(expected, sizeof expected, "%s/journal: it is missing", dir);
	ck_assert_str_eq(seen.report.why.text, expected);
	close_journal();
	/* a record of another journal in ours */
	write_journal(bytes, n);
	open_journal(&id, NULL, PH_JOURNAL_OK);
}
END_TEST

START_TEST(three_damaged_ones_are_kept)
{
	for (int i = 1; i <= 6; i++) {
		write_journal("rubbish\n", 8);
		open_journal(NULL, NULL, PH_JOURNAL_UNREADABLE);
		ck_assert_int_eq(seen.report.failed, 0);
		close_journal();
	}
	ck_assert_int_eq(access(path_of("journal.damaged-3"), F_OK), -1);
	ck_assert_int_eq(access(path_of("journal.damaged-4"), F_OK), 0);
	ck_assert_int_eq(access(path_of("journal.damaged-6"), F_OK), 0);
	ck_assert_int_eq(unlink(path_of("journal")), 0);
	ck_assert_int_eq(mkdir(path_of("journal"), 0700), 0);
	open_journal(NULL, NULL, PH_JOURNAL_UNREADABLE);
	append_batch(1, 1);
	ck_assert_int_eq(seen.n_good, 1);
}
END_TEST

START_TEST(rubbish_never_trips)
{
	static char bytes[300000];
	for (unsigned seed = 1; seed <= 20; seed++) {
		srand(seed);
		size_t n = (size_t)rand() % sizeof bytes;
		for (size_t i = 0; i < n; i++)
			bytes[i] = (char)(seed % 3 ? rand() : 0);
		write_journal(bytes, n);
		open_journal(NULL, NULL, PH_JOURNAL_UNREADABLE);
		close_journal();
	}
}
END_TEST

/* ---- a writer that is killed */

/* Tells its parent each number that is safe, until it is killed. */
static void write_for_ever(int out)
{
	open_journal(NULL, NULL, PH_JOURNAL_OK);
	uint64_t ticket = (uint64_t)seen.n_records, told = ticket;
	int base_records = seen.n_records;
	for (;;) {
		while ((int)ticket >= base_records + 2000) /* enough for one life */
			pause();
		for (int i = 0; i < 20; i++)
			append(++ticket);
		if (ticket % 200 == 0 && ph_journal_compact(seen.journal, snapshot_of((int)ticket)))
			_exit(2);
		help_run_until(seen.base, &seen.n_done, (int)told - base_records + 10);
		told = seen.last_ticket;
		if (write(out, &told, sizeof told) != (ssize_t)sizeof told)
			_exit(1);
	}
}

START_TEST(kill_nine_loses_nothing_that_was_answered)
{
	open_journal(NULL, NULL, PH_JOURNAL_NEW);
	close_journal();
	for (int round = 0; round < 8; round++) {
		int ends[2];
		uint64_t told = 0, next;
		ck_assert_int_eq(pipe(ends), 0);
		pid_t pid = fork();
		if (!pid) {
			close(ends[0]);
			(void)event_reinit(seen.base);
			write_for_ever(ends[1]);
		}
		close(ends[1]);
		usleep((useconds_t)(20000 + round * 7001));
		ck_assert_int_eq(kill(pid, SIGKILL), 0);
		while (read(ends[0], &next, sizeof next) == (ssize_t)sizeof next)
			told = next;
		close(ends[0]);
		ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
		ck_assert_int_eq(try_open(NULL, NULL), 0);
		ck_assert_int_ne(seen.report.found, PH_JOURNAL_UNREADABLE);
		ck_assert_uint_ge((uint64_t)seen.n_records, told);
		expect_records(seen.n_records);
		close_journal();
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("journal");
	TCase *tc = tcase_create("all");
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, new_then_again);
	tcase_add_test(tc, what_is_queued_at_close_is_written);
	tcase_add_test(tc, the_last_ones_find_a_full_queue);
	tcase_add_test(tc, bad_records_are_refused);
	tcase_add_test(tc, the_queue_is_bounded);
	tcase_add_test(tc, torn_at_every_byte);
	tcase_add_test(tc, damage_before_the_last_batch);
	tcase_add_test(tc, each_record_a_batch_of_its_own);
	tcase_add_test(tc, a_batch_torn_in_its_middle);
	tcase_add_test(tc, other_id_and_missing_file);
	tcase_add_test(tc, three_damaged_ones_are_kept);
	tcase_add_test(tc, rubbish_never_trips);
	tcase_add_test(tc, kill_nine_loses_nothing_that_was_answered);
	suite_add_tcase(suite, tc);
	return run_tests(suite);
}
