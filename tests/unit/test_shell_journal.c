/* shell_journal with a real journal and no core: what core was told it may rely on is there again.
 */
#include <check.h>
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io/journal.h"
#include "run_tests.h"
#include "shell_parts.h"

static struct ph_shell shell;
static unsigned good, bad, restored, logged, states;
static int state_error;

/* ---- the rest of the shell */

void ph_shell_push(
	struct ph_shell *of, const struct ph_event *event, void (*release)(void *), void *owned)
{
	(void)of;
	if (event->kind == PH_EV_JOURNALLED)
		(*(event->error ? &bad : &good))++;
	if (event->kind == PH_EV_RESTORED)
		restored++;
	if (release)
		release(owned);
}

bool ph_shell_queue_empty(const struct ph_shell *of)
{
	(void)of;
	return true;
}

void ph_shell_wake(struct ph_shell *of)
{
	(void)of;
}

void ph_shell_log(struct ph_shell *of, enum ph_log_level level, const char *format, ...)
{
	(void)of;
	(void)format;
	logged += level == PH_LOG_ERROR;
}

void ph_shell_tell_people(
	struct ph_shell *of, enum ph_emit_kind kind, const struct ph_key *key, const char *text)
{
	(void)of;
	(void)kind;
	(void)key;
	(void)text;
}

void *ph_shell_alloc(size_t size)
{
	void *block = calloc(1, size);
	ck_assert_ptr_nonnull(block);
	return block;
}

int ph_shell_state_write(struct ph_shell *of)
{
	(void)of;
	states++;
	return state_error;
}

void ph_shell_renumbered(struct ph_shell *of, uint64_t incarnation, int error, const char *why)
{
	(void)of;
	(void)incarnation;
	(void)error;
	(void)why;
}

const struct ph_spec *ph_shell_spec_of_text(struct ph_shell *of, const struct ph_name *child,
	const char *text, uint64_t revision, struct ph_err *err)
{
	(void)of;
	(void)child;
	(void)text;
	(void)revision;
	(void)err;
	return NULL;
}

/* ---- */

static char dir[64];

static void begin(void)
{
	struct ph_err err;
	good = bad = restored = logged = 0;
	memset(&shell, 0, sizeof shell);
	shell.state_dir = dir;
	shell.base = event_base_new();
	ck_assert_ptr_nonnull(shell.base);
	ck_assert_int_eq(ph_shell_records_new(&shell, NULL, &err), 0);
}

static void end(void)
{
	ph_shell_records_free(&shell);
	event_base_free(shell.base);
}

static void write_records(unsigned n, uint64_t first_ticket)
{
	for (unsigned i = 0; i < n; i++) {
		struct ph_record record = {.kind = PH_RECORD_SEEN, .epoch = i + 1};
		record.key.child = (struct ph_name){"room"};
		record.key.instance = i;
		struct ph_action action = {.kind = PH_ACT_JOURNAL,
			.ticket = first_ticket ? first_ticket + i : 0,
			.record = &record};
		ph_shell_record_act(&shell, &action);
	}
}

static void setup(void)
{
	snprintf(dir, sizeof dir, "/tmp/test_shell_journal.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void teardown(void)
{
	char command[128];
	snprintf(command, sizeof command, "rm -rf %s", dir);
	ck_assert_int_eq(system(command), 0);
}

/* More than the journal's queue holds at once: all of it is answered. */
START_TEST(more_than_the_queue_holds)
{
	const unsigned n = 3 * PH_JOURNAL_QUEUE_RECORDS;
	begin();
	write_records(n, 1);
	while (good + bad < n)
		ck_assert_int_ge(event_base_loop(shell.base, EVLOOP_ONCE), 0);
	ck_assert_uint_eq(bad, 0);
	end();
	begin();
	ph_shell_records_restore(&shell);
	ck_assert_uint_eq(restored, n);
	end();
}
END_TEST

/* The last turn of an orderly end, or of an upgrade: nobody waits for an answer any more. */
START_TEST(at_the_end)
{
	const unsigned n = 3 * PH_JOURNAL_QUEUE_RECORDS;
	begin();
	write_records(n, 0);
	end();
	begin();
	ph_shell_records_restore(&shell);
	ck_assert_uint_eq(restored, n);
	ck_assert_uint_eq(logged, 0);
	end();
}
END_TEST

static long long file_bytes(void)
{
	char path[96];
	struct stat st;
	snprintf(path, sizeof path, "%s/journal", dir);
	ck_assert_int_eq(stat(path, &st), 0);
	return st.st_size;
}

static void write_and_wait(unsigned n)
{
	unsigned all = good + bad + n;
	write_records(n, good + bad + 1);
	while (good + bad < all)
		ck_assert_int_ge(event_base_loop(shell.base, EVLOOP_ONCE), 0);
}

/* What a smaller file leaves out may be all that tells an old state file's owners from those who
 * have followed them: it is made once the state file is a new one, and not (1) where that fails. */
START_TEST(the_state_file_goes_first)
{
	const struct ph_settings settings = {.node = {"a"}};
	begin();
	shell.hub = ph_hub_new(&settings);
	ck_assert_ptr_nonnull(shell.hub);
	while (file_bytes() <= 1 << 20)
		write_and_wait(1000);
	long long before = file_bytes();
	states = 0;
	state_error = _i ? -ENOSPC : 0;
	ph_shell_records_turn_end(&shell);
	ck_assert_uint_eq(states, 1);
	write_and_wait(1); /* after it, in the journal's thread */
	ck_assert_int_eq(file_bytes() > before, _i);
	ck_assert_int_eq(logged, _i);
	ph_hub_free(shell.hub);
	end();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("shell_journal");
	TCase *tc = tcase_create("all");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, more_than_the_queue_holds);
	tcase_add_test(tc, at_the_end);
	tcase_add_loop_test(tc, the_state_file_goes_first, 0, 2);
	suite_add_tcase(suite, tc);
	return run_tests(suite);
}
