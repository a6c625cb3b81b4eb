/*
 * journal_help.h - a journal in a scratch directory and what came back from it, for test_journal.c
 * and test_journal_disk.c.
 */
#ifndef PH_TESTS_JOURNAL_HELP_H
#define PH_TESTS_JOURNAL_HELP_H

#include "io/journal.h"

#include "tests/unit/io_help.h"

#include <errno.h>

#define RECORDS_MAX 60000

/* what came back from one journal */
struct seen {
	struct event_base *base;
	struct ph_journal *journal;
	struct ph_journal_report report;
	int n_records, n_done, n_good, n_failed, n_rewritten, n_low, n_enough;
	int last_result, failed_result, rewritten_result;
	bool in_order;
	uint64_t last_ticket, kept_ticket;
	int n_kept, kept_result;
	char kept_why[256];
	char records[RECORDS_MAX][24];
};

static struct seen seen;
static char *dir;

static inline void on_record(void *arg, const char *bytes, size_t n)
{
	struct seen *s = arg;
	size_t size = sizeof s->records[0];
	ck_assert_int_lt(s->n_records, RECORDS_MAX);
	(void)snprintf(s->records[s->n_records++], size, "%.*s", (int)n, bytes);
}

static inline void on_done(void *arg, uint64_t ticket, int result)
{
	struct seen *s = arg;
	s->in_order = s->in_order && ticket > s->last_ticket;
	s->last_ticket = ticket;
	s->n_done++;
	s->n_good += result == 0;
	s->last_result = result;
}

static inline void on_failed(void *arg, int result)
{
	struct seen *s = arg;
	s->n_failed++;
	s->failed_result = result;
}

static inline void on_rewritten(void *arg, int result)
{
	struct seen *s = arg;
	s->n_rewritten++;
	s->rewritten_result = result;
}

static inline void on_low(void *arg, bool low)
{
	struct seen *s = arg;
	*(low ? &s->n_low : &s->n_enough) += 1;
}

static inline void on_kept(void *arg, uint64_t ticket, int result, const char *why)
{
	struct seen *s = arg;
	s->n_kept++;
	s->kept_ticket = ticket;
	s->kept_result = result;
	(void)snprintf(s->kept_why, sizeof s->kept_why, "%s", why);
}

static inline int try_open(const struct ph_id *known, const struct ph_journal_ops *ops)
{
	struct event_base *base = seen.base;
	struct ph_err err = {""};
	memset(&seen, 0, sizeof seen);
	seen.base = base;
	seen.in_order = true;
	const struct ph_journal_config config = {dir, known, ops, on_record, on_done, on_failed,
		on_rewritten, on_low, on_kept, &seen};
	return ph_journal_open(base, &config, &seen.journal, &seen.report, &err);
}

static inline void open_journal(
	const struct ph_id *known, const struct ph_journal_ops *ops, enum ph_journal_found found)
{
	ck_assert_int_eq(try_open(known, ops), 0);
	ck_assert_msg(seen.report.found == found, "%s, expected %s: %s",
		ph_journal_found_word(seen.report.found), ph_journal_found_word(found),
		seen.report.why.text);
}

static inline void append(uint64_t ticket)
{
	char text[24];
	int n = snprintf(text, sizeof text, "{\"n\":%llu}", (unsigned long long)ticket);
	ck_assert_int_eq(ph_journal_append(seen.journal, ticket, text, (size_t)n), 0);
}

/* One batch: appended together, waited for. */
static inline void append_batch(uint64_t first, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		append(first + i);
	help_run_until(seen.base, &seen.n_done, (int)(first + count - 1));
}

static inline void expect_records(int count)
{
	char text[24];
	ck_assert_int_eq(seen.n_records, count);
	for (int i = 0; i < count; i++) {
		(void)snprintf(text, sizeof text, "{\"n\":%d}", i + 1);
		ck_assert_str_eq(seen.records[i], text);
	}
}

static inline struct ph_journal_snapshot *snapshot_of(int count)
{
	struct ph_journal_snapshot *snapshot;
	char text[24];
	ck_assert_int_eq(ph_journal_snapshot_new(&snapshot), 0);
	for (int i = 1; i <= count; i++) {
		int n = snprintf(text, sizeof text, "{\"n\":%d}", i);
		ck_assert_int_eq(ph_journal_snapshot_add(snapshot, text, (size_t)n), 0);
	}
	return snapshot;
}

static inline void close_journal(void)
{
	ph_journal_close(seen.journal);
	seen.journal = NULL;
}

static inline const char *path_of(const char *name)
{
	static char path[256];
	(void)snprintf(path, sizeof path, "%s/%s", dir, name);
	return path;
}

static inline size_t read_journal(char *bytes, size_t size)
{
	int fd = open(path_of("journal"), O_RDONLY);
	ck_assert_int_ge(fd, 0);
	ssize_t n = read(fd, bytes, size);
	close(fd);
	ck_assert_int_gt(n, 0);
	return (size_t)n;
}

static inline void write_journal(const char *bytes, size_t n)
{
	int fd = open(path_of("journal"), O_WRONLY | O_CREAT | O_TRUNC, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, bytes, n), (ssize_t)n);
	close(fd);
}

static inline void setup(void)
{
	dir = help_dir();
	seen.base = event_base_new();
	ck_assert_ptr_nonnull(seen.base);
}

static inline void teardown(void)
{
	if (seen.journal)
		close_journal();
	event_base_free(seen.base);
	help_remove(dir);
}

#endif
