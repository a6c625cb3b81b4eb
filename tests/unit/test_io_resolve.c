/* Names become addresses, and whoever asks waits no longer than it wants to. */
#include <poll.h>

#include "io/clock.h"
#include "io/resolve.h"
#include "io_help.h"
#include "resolve_help.h"
#include "run_tests.h"

static struct ph_resolve *ask(const char *const *names, size_t n)
{
	struct ph_resolve *resolve;
	ck_assert_int_eq(ph_resolve_new(names, n, &resolve), 0);
	return resolve;
}

static bool readable(struct ph_resolve *resolve)
{
	struct pollfd poller = {.fd = ph_resolve_fd(resolve), .events = POLLIN};
	return poll(&poller, 1, 0) == 1;
}

START_TEST(each_has_its_answer)
{
	static const char *const names[] = {
		"127-0-0-9.test", "none.test", "127.0.0.3", "::1", "fe80::2"};
	static const char *const at[] = {"127.0.0.9", "", "127.0.0.3", "[::1]", "[fe80::2]"};
	char host[PH_RESOLVE_SIZE];
	struct ph_resolve *resolve = ask(names, 5);
	ck_assert(ph_resolve_wait(resolve, 5000));
	for (size_t i = 0; i < 5; i++) {
		ck_assert(ph_resolve_answer(resolve, i, host));
		ck_assert_str_eq(host, at[i]);
	}
	ph_resolve_free(resolve);
}
END_TEST

/* Many of them at a time are asked for, so one that hangs holds up no other. */
START_TEST(who_is_silent_holds_up_nobody)
{
	static const char *const names[] = {"slow-127-0-0-8.test", "127-0-0-1.test",
		"127-0-0-2.test", "127-0-0-3.test", "127-0-0-4.test", "127-0-0-5.test",
		"127-0-0-6.test", "127-0-0-7.test", "127-0-0-9.test", "127-0-0-10.test"};
	char host[PH_RESOLVE_SIZE] = "as it was";
	atomic_store(&help_silent, true);
	struct ph_resolve *resolve = ask(names, 10);
	uint64_t before_ms = ph_clock_now_ms();
	ck_assert(!ph_resolve_wait(resolve, 100));
	uint64_t took_ms = ph_clock_now_ms() - before_ms;
	ck_assert(took_ms >= 100 && took_ms < 20000);
	ck_assert(!ph_resolve_answer(resolve, 0, host));
	ck_assert_str_eq(host, "as it was");
	for (size_t i = 1; i < 10; i++)
		while (!ph_resolve_answer(resolve, i, host))
			usleep(1000);
	ck_assert_str_eq(host, "127.0.0.10");
	atomic_store(&help_silent, false);
	ck_assert(ph_resolve_wait(resolve, 5000));
	ck_assert(ph_resolve_answer(resolve, 0, host));
	ck_assert_str_eq(host, "127.0.0.8");
	ph_resolve_free(resolve);
}
END_TEST

/* The loop hears of an answer by the descriptor. */
START_TEST(an_answer_is_heard)
{
	static const char *const names[] = {"slow-127-0-0-8.test"};
	struct event_base *base = event_base_new();
	bool up = false;
	atomic_store(&help_silent, true);
	struct ph_resolve *resolve = ask(names, 1);
	struct event *event = event_new(base, ph_resolve_fd(resolve), EV_READ, help_time_up, &up);
	ck_assert_int_eq(event_add(event, NULL), 0);
	(void)event_base_loop(base, EVLOOP_NONBLOCK);
	ck_assert(!up);
	atomic_store(&help_silent, false);
	(void)event_base_loop(base, EVLOOP_ONCE);
	ck_assert(up && readable(resolve));
	ph_resolve_heard(resolve);
	ph_resolve_heard(resolve);
	ck_assert(!readable(resolve));
	event_free(event);
	event_base_free(base);
	ph_resolve_free(resolve);
}
END_TEST

/* Nobody waits for a thread, and the last one takes the descriptor with it. */
START_TEST(freed_while_it_is_asked)
{
	static const char *const names[] = {"slow-127-0-0-8.test", "slow-127-0-0-9.test"};
	int before = help_count_fds();
	atomic_store(&help_silent, true);
	uint64_t before_ms = ph_clock_now_ms();
	ph_resolve_free(ask(names, 2));
	ck_assert_uint_lt(ph_clock_now_ms() - before_ms, 15000);
	atomic_store(&help_silent, false);
	for (int i = 0; i < 15000 && help_count_fds() > before; i++)
		usleep(1000);
	ck_assert_int_eq(help_count_fds(), before);
	ph_resolve_free(NULL);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("io_resolve");
	TCase *tc = tcase_create("all");
	tcase_add_test(tc, each_has_its_answer);
	tcase_add_test(tc, who_is_silent_holds_up_nobody);
	tcase_add_test(tc, an_answer_is_heard);
	tcase_add_test(tc, freed_while_it_is_asked);
	suite_add_tcase(suite, tc);
	return run_tests(suite);
}
