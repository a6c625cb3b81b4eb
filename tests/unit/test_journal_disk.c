/* The journal on disks that fail, and its compaction: nothing is written after a failure, nothing
 * is lost. */
#include "io/durable.h"
#include "run_tests.h"
#include "tests/unit/journal_help.h"

#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>

/* ---- failing disks */

static int fail_writes, fail_syncs, fail_renames, fail_file_syncs, short_writes, slow_syncs;
static int fail_reserves; /* the errno */

static int n_writes;

static ssize_t test_write(int fd, const void *bytes, size_t n)
{
	int limit = __atomic_load_n(&short_writes, __ATOMIC_SEQ_CST);
	if (limit && n > (size_t)limit)
		n = (size_t)limit;
	errno = ENOSPC;
	(void)__atomic_add_fetch(&n_writes, 1, __ATOMIC_SEQ_CST);
	return __atomic_load_n(&fail_writes, __ATOMIC_SEQ_CST) ? -1 : write(fd, bytes, n);
}

static int test_datasync(int fd)
{
	if (__atomic_load_n(&slow_syncs, __ATOMIC_SEQ_CST))
		usleep(20000);
	errno = EIO;
	return __atomic_load_n(&fail_syncs, __ATOMIC_SEQ_CST) ? -1 : fdatasync(fd);
}

static int test_sync(int fd)
{
	int left = __atomic_load_n(&fail_file_syncs, __ATOMIC_SEQ_CST);
	errno = EIO;
	if (left && __atomic_sub_fetch(&fail_file_syncs, 1, __ATOMIC_SEQ_CST) == 0)
		return -1;
	return fsync(fd);
}

static int test_rename(const char *from, const char *to)
{
	errno = EROFS;
	return __atomic_load_n(&fail_renames, __ATOMIC_SEQ_CST) ? -1 : rename(from, to);
}

static int test_reserve(int fd, off_t at, off_t n)
{
	if (__atomic_load_n(&fail_reserves, __ATOMIC_SEQ_CST)) {
		errno = fail_reserves;
		return -1;
	}
	return fallocate(fd, FALLOC_FL_KEEP_SIZE, at, n);
}

static int fail_keeps; /* the errno */
static int held_keeps; /* they wait */

static int test_keep(const char *in, const char *name, const void *bytes, size_t n, mode_t mode,
	struct ph_err *err)
{
	while (__atomic_load_n(&held_keeps, __ATOMIC_SEQ_CST))
		usleep(1000);
	int error = __atomic_load_n(&fail_keeps, __ATOMIC_SEQ_CST);
	return error ? ph_err_set(err, error, "cannot keep '%s'", name)
		     : ph_durable_write(in, name, bytes, n, mode, err);
}

static const struct ph_journal_ops test_ops = {
	test_write, test_datasync, test_sync, test_rename, test_reserve, test_keep};

/* Half of the reserve is gone before it is filled up again. */
START_TEST(low_reserve_is_told_and_written_to)
{
	open_journal(NULL, &test_ops, PH_JOURNAL_NEW);
	ck_assert(!ph_journal_low(seen.journal));
	__atomic_store_n(&fail_reserves, ENOSPC, __ATOMIC_SEQ_CST);
	append_batch(1, 100);
	ck_assert_int_eq(seen.n_low, 0);
	append_batch(101, 1400);
	ck_assert_int_eq(seen.n_low, 1);
	ck_assert(ph_journal_low(seen.journal));
	ck_assert_int_eq(seen.n_good, 1500);
	ck_assert_int_eq(seen.n_failed, 0);
	ph_journal_probe(seen.journal);
	append_batch(1501, 1);
	ck_assert(ph_journal_low(seen.journal));
	__atomic_store_n(&fail_reserves, 0, __ATOMIC_SEQ_CST);
	ph_journal_probe(seen.journal);
	help_run_until(seen.base, &seen.n_enough, 1);
	ck_assert(!ph_journal_low(seen.journal));
	close_journal();
	open_journal(NULL, NULL, PH_JOURNAL_OK);
	expect_records(1501);
}
END_TEST

START_TEST(low_from_the_start)
{
	fail_reserves = EDQUOT;
	open_journal(NULL, &test_ops, PH_JOURNAL_NEW);
	ck_assert(ph_journal_low(seen.journal));
	append_batch(1, 5);
	ck_assert_int_eq(seen.n_good, 5);
	close_journal();
	fail_reserves = 0;
}
END_TEST

START_TEST(no_reserve_on_this_file_system)
{
	fail_reserves = EOPNOTSUPP;
	open_journal(NULL, &test_ops, PH_JOURNAL_NEW);
	append_batch(1, 1500);
	ck_assert(!ph_journal_low(seen.journal));
	ck_assert_int_eq(seen.n_low, 0);
	close_journal();
	fail_reserves = 0;
}
END_TEST

/* However slowly they come, and not before the release. */
START_TEST(held_records_are_one_write)
{
	open_journal(NULL, &test_ops, PH_JOURNAL_NEW);
	int before = __atomic_load_n(&n_writes, __ATOMIC_SEQ_CST);
	ph_journal_hold(seen.journal);
	for (uint64_t i = 1; i <= 30; i++) {
		append(i);
		(void)usleep(1000);
	}
	ck_assert_int_eq(__atomic_load_n(&n_writes, __ATOMIC_SEQ_CST), before);
	ph_journal_release(seen.journal);
	help_run_until(seen.base, &seen.n_good, 30);
	ck_assert_int_eq(__atomic_load_n(&n_writes, __ATOMIC_SEQ_CST), before + 1);
	ph_journal_hold(seen.journal);
	append(31);
	close_journal(); /* it is not forgotten */
	open_journal(NULL, NULL, PH_JOURNAL_OK);
	expect_records(31);
}
END_TEST

START_TEST(short_writes_are_continued)
{
	short_writes = 7;
	open_journal(NULL, &test_ops, PH_JOURNAL_NEW);
	append_batch(1, 100);
	ck_assert_int_eq(seen.n_good, 100);
	close_journal();
	short_writes = 0;
	open_journal(NULL, NULL, PH_JOURNAL_OK);
	expect_records(100);
}
END_TEST

static void fail_and_reopen(int *flag, int code)
{
	open_journal(NULL, &test_ops, PH_JOURNAL_NEW);
	struct ph_id id = ph_journal_id(seen.journal);
	append_batch(1, 5);
	off_t size;
	struct stat st;
	__atomic_store_n(flag, 1, __ATOMIC_SEQ_CST);
	for (uint64_t i = 6; i <= 205; i++)
		append(i);
	help_run_until(seen.base, &seen.n_done, 205);
	ck_assert_int_eq(seen.n_failed, 1);
	ck_assert_int_eq(seen.failed_result, code);
	ck_assert_int_eq(seen.n_good, 5);
	ck_assert_int_eq(seen.last_result, code);
	ck_assert(ph_journal_failed(seen.journal));
	ck_assert_int_eq(ph_journal_append(seen.journal, 999, "x", 1), -EIO);
	ck_assert_int_eq(ph_journal_compact(seen.journal, snapshot_of(1)), -EIO);
	/* nothing more goes to that file, even when the disk is well again */
	ck_assert_int_eq(stat(path_of("journal"), &st), 0);
	size = st.st_size;
	__atomic_store_n(flag, 0, __ATOMIC_SEQ_CST);
	help_run_for(seen.base, 20);
	ck_assert_int_eq(stat(path_of("journal"), &st), 0);
	ck_assert_int_eq(st.st_size, size);
	/* a new file that begins with what the caller knows */
	ck_assert_int_eq(ph_journal_reopen(seen.journal, snapshot_of(5)), 0);
	ck_assert_int_eq(ph_journal_reopen(seen.journal, snapshot_of(5)), -EBUSY);
	int done = seen.n_done;
	seen.last_ticket = 5;
	append(6);
	help_run_until(seen.base, &seen.n_done, done + 1);
	ck_assert_int_eq(seen.n_rewritten, 1);
	ck_assert_int_eq(seen.rewritten_result, 0);
	ck_assert_int_eq(seen.last_result, 0);
	ck_assert(!ph_journal_failed(seen.journal));
	ck_assert_int_eq(ph_journal_reopen(seen.journal, snapshot_of(5)), -EINVAL);
	struct ph_id now = ph_journal_id(seen.journal);
	ck_assert(!ph_id_equal(&id, &now));
	close_journal();
	open_journal(&now, NULL, PH_JOURNAL_OK);
	expect_records(6);
}

START_TEST(a_failing_sync)
{
	fail_and_reopen(&fail_syncs, -EIO);
}
END_TEST

START_TEST(a_full_disk)
{
	fail_and_reopen(&fail_writes, -ENOSPC);
}
END_TEST

START_TEST(reopening_may_fail_again)
{
	open_journal(NULL, &test_ops, PH_JOURNAL_NEW);
	struct ph_id id = ph_journal_id(seen.journal);
	append_batch(1, 1);
	__atomic_store_n(&fail_writes, 1, __ATOMIC_SEQ_CST);
	append(2);
	help_run_until(seen.base, &seen.n_failed, 1);
	for (int i = 1; i <= 3; i++) {
		ck_assert_int_eq(ph_journal_reopen(seen.journal, snapshot_of(1)), 0);
		append((uint64_t)i + 2);
		help_run_until(seen.base, &seen.n_done, i + 2);
		ck_assert_int_eq(seen.n_rewritten, i);
		ck_assert_int_eq(seen.rewritten_result, -ENOSPC);
		ck_assert_int_ne(seen.last_result, 0);
	}
	ck_assert_int_eq(seen.n_failed, 1);
	struct ph_id now = ph_journal_id(seen.journal);
	ck_assert(ph_id_equal(&id, &now));
	__atomic_store_n(&fail_writes, 0, __ATOMIC_SEQ_CST);
	close_journal();
	open_journal(&id, NULL, PH_JOURNAL_OK);
	expect_records(1);
}
END_TEST

START_TEST(a_disk_that_cannot_be_written_at_start)
{
	fail_writes = 1;
	open_journal(NULL, &test_ops, PH_JOURNAL_NEW);
	ck_assert_int_eq(seen.report.failed, -ENOSPC);
	ck_assert_str_eq(
		seen.report.why.text, "no new journal can be made: No space left on device");
	ck_assert(ph_journal_failed(seen.journal));
	ck_assert_int_eq(ph_journal_append(seen.journal, 1, "x", 1), -EIO);
	__atomic_store_n(&fail_writes, 0, __ATOMIC_SEQ_CST);
	ck_assert_int_eq(ph_journal_reopen(seen.journal, NULL), 0);
	append(1);
	help_run_until(seen.base, &seen.n_done, 1);
	ck_assert_int_eq(seen.n_good, 1);
	close_journal();
	/* what is there is read, though nothing can be written */
	fail_file_syncs = 1;
	open_journal(NULL, &test_ops, PH_JOURNAL_OK);
	ck_assert_int_eq(seen.report.failed, -EIO);
	expect_records(1);
}
END_TEST

START_TEST(a_file_size_limit)
{
	struct rlimit before, small;
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
	(void)signal(SIGXFSZ, SIG_IGN);
	open_journal(NULL, NULL, PH_JOURNAL_NEW);
	append_batch(1, 10);
	small = before;
	small.rlim_cur = (rlim_t)ph_journal_bytes(seen.journal) + 100;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
	for (uint64_t i = 11; i <= 30; i++)
		append(i);
	help_run_until(seen.base, &seen.n_done, 30);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
	ck_assert_int_eq(seen.failed_result, -EFBIG);
	close_journal();
	open_journal(NULL, NULL, PH_JOURNAL_TORN);
	ck_assert_int_ge(seen.n_records, 10);
	expect_records(seen.n_records);
}
END_TEST

START_TEST(a_small_file_system)
{
	/* mounted and gone in this test; without the right to mount the two before say the same */
	if (mount("none", dir, "tmpfs", 0, "size=64k") < 0)
		return;
	static char large[20000];
	memset(large, 'x', sizeof large);
	open_journal(NULL, NULL, PH_JOURNAL_NEW);
	for (uint64_t i = 1; i <= 10; i++)
		ck_assert_int_eq(ph_journal_append(seen.journal, i, large, sizeof large), 0);
	help_run_until(seen.base, &seen.n_done, 10);
	int failed = seen.failed_result, good = seen.n_good;
	close_journal();
	open_journal(NULL, NULL, PH_JOURNAL_TORN);
	int found = seen.n_records;
	close_journal();
	ck_assert_int_eq(umount(dir), 0);
	ck_assert_int_eq(failed, -ENOSPC);
	ck_assert_int_ge(found, good);
}
END_TEST

/* ---- compaction */

START_TEST(compaction_with_appends_around_it)
{
	open_journal(NULL, NULL, PH_JOURNAL_NEW);
	struct ph_id id = ph_journal_id(seen.journal);
	append_batch(1, 2000);
	uint64_t large = ph_journal_bytes(seen.journal);
	/* two that the snapshot stands for, still undecided; then it; then more */
	append(2001);
	append(2002);
	ck_assert_int_eq(ph_journal_compact(seen.journal, snapshot_of(3)), 0);
	ck_assert_int_eq(ph_journal_compact(seen.journal, snapshot_of(3)), -EBUSY);
	for (uint64_t i = 4; i <= 100; i++) {
		char text[24];
		int n = snprintf(text, sizeof text, "{\"n\":%d}", (int)i);
		ck_assert_int_eq(ph_journal_append(seen.journal, 3000 + i, text, (size_t)n), 0);
	}
	help_run_until(seen.base, &seen.n_done, 2002 + 97);
	ck_assert_int_eq(seen.n_good, 2002 + 97);
	ck_assert(seen.in_order);
	ck_assert_int_eq(seen.n_rewritten, 1);
	ck_assert_int_eq(seen.rewritten_result, 0);
	ck_assert_uint_lt(ph_journal_bytes(seen.journal), large / 4);
	struct ph_id now = ph_journal_id(seen.journal);
	ck_assert(ph_id_equal(&id, &now));
	close_journal();
	open_journal(&id, NULL, PH_JOURNAL_OK);
	expect_records(100);
	ck_assert_int_eq(access(path_of(".journal.new"), F_OK), -1);
}
END_TEST

START_TEST(a_failed_compaction_changes_nothing)
{
	open_journal(NULL, &test_ops, PH_JOURNAL_NEW);
	append_batch(1, 10);
	__atomic_store_n(&fail_renames, 1, __ATOMIC_SEQ_CST);
	ck_assert_int_eq(ph_journal_compact(seen.journal, snapshot_of(1)), 0);
	append(11);
	help_run_until(seen.base, &seen.n_done, 11);
	ck_assert_int_eq(seen.rewritten_result, -EROFS);
	ck_assert_int_eq(seen.n_good, 11);
	ck_assert_int_eq(seen.n_failed, 0);
	__atomic_store_n(&fail_renames, 0, __ATOMIC_SEQ_CST);
	/* the second sync is the directory's */
	__atomic_store_n(&fail_file_syncs, 2, __ATOMIC_SEQ_CST);
	ck_assert_int_eq(ph_journal_compact(seen.journal, snapshot_of(11)), 0);
	append(12);
	help_run_until(seen.base, &seen.n_done, 12);
	ck_assert_int_eq(seen.n_failed, 1);
	ck_assert_int_eq(seen.rewritten_result, -EIO);
	ck_assert_int_eq(seen.last_result, -EIO);
	close_journal();
	open_journal(NULL, NULL, PH_JOURNAL_OK);
	expect_records(11);
}
END_TEST

static void expect_file(const char *name, const char *text)
{
	char *bytes;
	size_t n;
	struct ph_err err;
	ck_assert_int_eq(ph_durable_read(dir, name, 100, &bytes, &n, &err), 0);
	ck_assert_str_eq(bytes, text);
	free(bytes);
}

/* The loop goes on while the disk takes its time, and what was queued before is answered before. */
START_TEST(a_file_beside_it_on_a_slow_disk)
{
	open_journal(NULL, &test_ops, PH_JOURNAL_NEW);
	__atomic_store_n(&held_keeps, 1, __ATOMIC_SEQ_CST);
	append(1);
	ck_assert_int_eq(ph_journal_keep(seen.journal, 77, "number", "77\n", 3), 0);
	append(2);
	help_run_until(seen.base, &seen.n_done, 1);
	help_run_for(seen.base, 20);
	ck_assert_int_eq(seen.n_kept, 0);
	ck_assert_int_eq(seen.n_done, 1);
	__atomic_store_n(&held_keeps, 0, __ATOMIC_SEQ_CST);
	help_run_until(seen.base, &seen.n_done, 2);
	ck_assert_int_eq(seen.n_kept, 1);
	ck_assert_int_eq(seen.kept_result, 0);
	ck_assert_uint_eq(seen.kept_ticket, 77);
	expect_file("number", "77\n");
}
END_TEST

/* It has nothing to do with the journal's own file, whether that one can be written or not. */
START_TEST(a_file_beside_it_on_a_failing_disk)
{
	open_journal(NULL, &test_ops, PH_JOURNAL_NEW);
	__atomic_store_n(&fail_keeps, EROFS, __ATOMIC_SEQ_CST);
	ck_assert_int_eq(ph_journal_keep(seen.journal, 5, "number", "5\n", 2), 0);
	help_run_until(seen.base, &seen.n_kept, 1);
	ck_assert_int_eq(seen.kept_result, -EROFS);
	ck_assert_str_eq(seen.kept_why, "cannot keep 'number'");
	ck_assert(!ph_journal_failed(seen.journal));
	append_batch(1, 3);
	ck_assert_int_eq(seen.n_good, 3);
	__atomic_store_n(&fail_keeps, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&fail_syncs, 1, __ATOMIC_SEQ_CST);
	append_batch(4, 1);
	ck_assert(ph_journal_failed(seen.journal));
	ck_assert_int_eq(ph_journal_keep(seen.journal, 6, "number", "6\n", 2), 0);
	help_run_until(seen.base, &seen.n_kept, 2);
	ck_assert_int_eq(seen.kept_result, 0);
	expect_file("number", "6\n");
}
END_TEST

START_TEST(a_file_beside_it_is_bounded)
{
	static char bytes[PH_JOURNAL_KEEP_MAX + 1];
	open_journal(NULL, &test_ops, PH_JOURNAL_NEW);
	ck_assert_int_eq(
		ph_journal_keep(seen.journal, 1, "number", bytes, sizeof bytes), -EMSGSIZE);
	ck_assert_int_eq(
		ph_journal_keep(seen.journal, 1, "a-name-of-thirty-two-characters-", bytes, 1),
		-ENAMETOOLONG);
	ck_assert_int_eq(ph_journal_keep(seen.journal, 1, "number", bytes, sizeof bytes - 1), 0);
	help_run_until(seen.base, &seen.n_kept, 1);
	ck_assert_int_eq(seen.kept_result, 0);
}
END_TEST

START_TEST(damage_in_a_snapshot_is_never_a_torn_end)
{
	char bytes[4096];
	open_journal(NULL, NULL, PH_JOURNAL_NEW);
	ck_assert_int_eq(ph_journal_compact(seen.journal, snapshot_of(5)), 0);
	help_run_until(seen.base, &seen.n_rewritten, 1);
	close_journal();
	size_t n = read_journal(bytes, sizeof bytes);
	write_journal(bytes, n - 3);
	open_journal(NULL, NULL, PH_JOURNAL_UNREADABLE);
}
END_TEST

START_TEST(snapshots_are_bounded)
{
	static char large[PH_JOURNAL_RECORD_MAX];
	struct ph_journal_snapshot *snapshot = snapshot_of(0);
	memset(large, 'x', sizeof large);
	ck_assert_int_eq(ph_journal_snapshot_add(snapshot, "a\n", 2), -EINVAL);
	ck_assert_int_eq(ph_journal_snapshot_add(snapshot, "", 0), -EMSGSIZE);
	int r = 0;
	for (size_t i = 0; !r && i <= PH_JOURNAL_SNAPSHOT_BYTES / sizeof large; i++)
		r = ph_journal_snapshot_add(snapshot, large, sizeof large);
	ck_assert_int_eq(r, -ENOSPC);
	ph_journal_snapshot_free(snapshot);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("journal_disk");
	TCase *tc = tcase_create("all");
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, held_records_are_one_write);
	tcase_add_test(tc, short_writes_are_continued);
	tcase_add_test(tc, low_reserve_is_told_and_written_to);
	tcase_add_test(tc, low_from_the_start);
	tcase_add_test(tc, no_reserve_on_this_file_system);
	tcase_add_test(tc, a_failing_sync);
	tcase_add_test(tc, a_full_disk);
	tcase_add_test(tc, reopening_may_fail_again);
	tcase_add_test(tc, a_disk_that_cannot_be_written_at_start);
	tcase_add_test(tc, a_file_size_limit);
	tcase_add_test(tc, a_small_file_system);
	tcase_add_test(tc, compaction_with_appends_around_it);
	tcase_add_test(tc, a_failed_compaction_changes_nothing);
	tcase_add_test(tc, damage_in_a_snapshot_is_never_a_torn_end);
	tcase_add_test(tc, snapshots_are_bounded);
	tcase_add_test(tc, a_file_beside_it_on_a_slow_disk);
	tcase_add_test(tc, a_file_beside_it_on_a_failing_disk);
	tcase_add_test(tc, a_file_beside_it_is_bounded);
	suite_add_tcase(suite, tc);
	return run_tests(suite);
}
