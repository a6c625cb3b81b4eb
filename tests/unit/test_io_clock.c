/* The clock and its one timer. */
#include "io/clock.h"

#include "run_tests.h"
#include "tests/unit/io_help.h"

static struct event_base *base;
static struct ph_clock_timer *timer;
static int fired;

static void on_time(void *arg)
{
	(void)arg;
	fired++;
}

static void free_it(void *arg)
{
	on_time(arg);
	ph_clock_timer_free(timer);
	timer = NULL;
}

static void setup(void)
{
	base = event_base_new();
	fired = 0;
	ck_assert_int_eq(ph_clock_timer_new(base, on_time, NULL, &timer), 0);
}

static void teardown(void)
{
	ph_clock_timer_free(timer);
	event_base_free(base);
}

START_TEST(clocks_go_on)
{
	uint64_t a = ph_clock_now_ms(), wall = ph_clock_wall_ms();
	usleep(5000);
	ck_assert_uint_ge(ph_clock_now_ms(), a + 5);
	ck_assert_uint_lt(ph_clock_now_ms(), a + 5000);
	ck_assert_uint_gt(wall, UINT64_C(1700000000000));
}
END_TEST

START_TEST(fires_once_and_not_before)
{
	uint64_t start = ph_clock_now_ms();
	ph_clock_timer_set(timer, start + 30);
	ph_clock_timer_set(timer, start + 30);
	help_run_until(base, &fired, 1);
	ck_assert_uint_ge(ph_clock_now_ms(), start + 30);
	help_run_for(base, 30);
	ck_assert_int_eq(fired, 1);
	/* the same moment again is a new order, and it has passed */
	ph_clock_timer_set(timer, start + 30);
	help_run_until(base, &fired, 2);
	ph_clock_timer_set(timer, 0);
	help_run_until(base, &fired, 3);
}
END_TEST

START_TEST(moved_and_disarmed)
{
	uint64_t start = ph_clock_now_ms();
	ph_clock_timer_set(timer, start + 10);
	ph_clock_timer_set(timer, PH_CLOCK_NEVER);
	help_run_for(base, 30);
	ck_assert_int_eq(fired, 0);
	ph_clock_timer_set(timer, ph_clock_now_ms() + 100000);
	ph_clock_timer_set(timer, ph_clock_now_ms() + 5);
	help_run_until(base, &fired, 1);
}
END_TEST

START_TEST(freed_in_its_callback)
{
	ph_clock_timer_free(timer);
	ck_assert_int_eq(ph_clock_timer_new(base, free_it, NULL, &timer), 0);
	ph_clock_timer_set(timer, 1);
	help_run_until(base, &fired, 1);
	ck_assert_ptr_null(timer);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("io_clock");
	TCase *tc = tcase_create("all");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, clocks_go_on);
	tcase_add_test(tc, fires_once_and_not_before);
	tcase_add_test(tc, moved_and_disarmed);
	tcase_add_test(tc, freed_in_its_callback);
	suite_add_tcase(suite, tc);
	return run_tests(suite);
}
