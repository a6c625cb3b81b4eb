/* Which hook runs when, by a clock that the test sets. */
#include "core/hook_queue.h"
#include "run_tests.h"

#include <check.h>
#include <stdlib.h>

#define NEVER UINT64_MAX

static struct ph_hook_queue q;
static uint64_t now;

static void setup(void)
{
	q = (struct ph_hook_queue){0};
	now = 1000;
}

static uint64_t add(uint64_t timeout_ms, bool first)
{
	uint64_t dropped;
	uint64_t id = ph_hook_queue_add(&q, timeout_ms, first, &dropped);
	ck_assert_uint_eq(dropped, 0);
	return id;
}

/* The next order is this one. */
static void expect(enum ph_run_what what, uint64_t id)
{
	struct ph_run_order order;
	ck_assert_uint_le(ph_hook_queue_deadline(&q), now);
	ck_assert(ph_hook_queue_next(&q, now, &order));
	ck_assert_int_eq(order.what, what);
	ck_assert_uint_eq(order.id, id);
}

/* There is none, until `at`. */
static void quiet(uint64_t at)
{
	struct ph_run_order order;
	ck_assert(!ph_hook_queue_next(&q, now, &order));
	ck_assert_uint_eq(ph_hook_queue_deadline(&q), at);
}

START_TEST(nothing_to_do)
{
	quiet(NEVER);
	ph_hook_queue_end(&q, 7);
	ph_hook_queue_stop(&q, now);
	ph_hook_queue_last(&q, now);
	ph_hook_queue_hurry(&q, now);
	quiet(NEVER);
}
END_TEST

START_TEST(so_many_at_once)
{
	uint64_t ids[PH_HOOKS_AT_ONCE + 2];
	for (int i = 0; i < PH_HOOKS_AT_ONCE + 2; i++)
		ids[i] = add(10000, false);
	for (int i = 0; i < PH_HOOKS_AT_ONCE; i++)
		expect(PH_RUN_START, ids[i]);
	quiet(now + 10000);
	ph_hook_queue_end(&q, ids[3]);
	expect(PH_RUN_START, ids[PH_HOOKS_AT_ONCE]);
	quiet(now + 10000);
	ph_hook_queue_end(&q, ids[3]); /* a second time */
	quiet(now + 10000);
	for (int i = 0; i < PH_HOOKS_AT_ONCE + 1; i++)
		ph_hook_queue_end(&q, ids[i]);
	expect(PH_RUN_START, ids[PH_HOOKS_AT_ONCE + 1]);
	ph_hook_queue_end(&q, ids[PH_HOOKS_AT_ONCE + 1]);
	quiet(NEVER);
}
END_TEST

/* SIGTERM at its time, SIGKILL after the grace, again and again, then it is given up. */
START_TEST(a_time_is_over)
{
	uint64_t id = add(300, false), other = add(5000, false);
	expect(PH_RUN_START, id);
	expect(PH_RUN_START, other);
	quiet(now + 300);
	now += 299;
	quiet(now + 1);
	now += 1;
	expect(PH_RUN_TERM, id);
	quiet(now + PH_HOOK_GRACE_MS);
	now += PH_HOOK_GRACE_MS;
	for (int i = 0; i < PH_HOOK_KILLS; i++) {
		if (_i == i) { /* it has ended */
			ph_hook_queue_end(&q, id);
			quiet(1000 + 5000);
			return;
		}
		if (now >= 6000)
			break;
		expect(PH_RUN_KILL, id);
		quiet(now + PH_HOOK_GRACE_MS < 6000 ? now + PH_HOOK_GRACE_MS : 6000);
		now += PH_HOOK_GRACE_MS;
	}
}
END_TEST

START_TEST(what_cannot_be_killed_is_given_up)
{
	uint64_t id = add(100, false);
	expect(PH_RUN_START, id);
	now += 100;
	expect(PH_RUN_TERM, id);
	for (int i = 0; i < PH_HOOK_KILLS; i++) {
		now += PH_HOOK_GRACE_MS;
		expect(PH_RUN_KILL, id);
	}
	quiet(now + PH_HOOK_GRACE_MS);
	now += PH_HOOK_GRACE_MS;
	expect(PH_RUN_ABANDON, id);
	quiet(NEVER);
}
END_TEST

/* Of a storm the newest stay; it is told at once, then not more often than that. */
START_TEST(the_oldest_give_way)
{
	uint64_t ids[PH_HOOKS_AT_ONCE + PH_HOOKS_QUEUE], dropped;
	for (int i = 0; i < PH_HOOKS_AT_ONCE; i++) {
		ids[i] = add(10000, false);
		expect(PH_RUN_START, ids[i]);
	}
	for (int i = PH_HOOKS_AT_ONCE; i < PH_HOOKS_AT_ONCE + PH_HOOKS_QUEUE; i++)
		ids[i] = add(10000, false);
	uint64_t conflict = add(10000, true);
	for (int i = 0; i < 10; i++) {
		(void)ph_hook_queue_add(&q, 10000, false, &dropped);
		ck_assert_uint_eq(dropped, ids[PH_HOOKS_AT_ONCE + i]);
	}
	expect(PH_RUN_TELL, 10);
	quiet(now + 10000);
	(void)ph_hook_queue_add(&q, 10000, false, &dropped);
	ck_assert_uint_eq(dropped, ids[PH_HOOKS_AT_ONCE + 10]);
	quiet(now + PH_HOOK_TELL_MS);
	ph_hook_queue_end(&q, ids[0]);
	expect(PH_RUN_START, conflict); /* before all events */
	ph_hook_queue_end(&q, ids[1]);
	expect(PH_RUN_START, ids[PH_HOOKS_AT_ONCE + 11]);
	now += PH_HOOK_TELL_MS - 1;
	quiet(now + 1);
	now++;
	for (int i = 2; i < PH_HOOKS_AT_ONCE; i++)
		expect(PH_RUN_TERM, ids[i]);
	expect(PH_RUN_TERM, conflict);
	expect(PH_RUN_TERM, ids[PH_HOOKS_AT_ONCE + 11]);
	expect(PH_RUN_TELL, 1);
	quiet(now + PH_HOOK_GRACE_MS);
}
END_TEST

/* Whatever is asked of it, no more than it has room for. */
START_TEST(it_never_overflows)
{
	uint64_t dropped;
	unsigned drops = 0;
	for (int i = 0; i < 500; i++) {
		bool first = _i == 0 || (_i > 1 && i % _i == 0);
		uint64_t id = ph_hook_queue_add(&q, 1000, first, &dropped);
		drops += dropped != 0;
		ck_assert(dropped == 0 || dropped <= id);
		ck_assert_uint_le(q.n, PH_HOOK_RUNS_MAX);
	}
	ck_assert_uint_eq(q.n + drops, 500);
	ck_assert_uint_eq(q.dropped, drops);
}
END_TEST

/* From the signal on nobody has more than that; the last ones have it together. */
START_TEST(a_stop)
{
	uint64_t slow = add(3600000, false), fast = add(200, false), late;
	expect(PH_RUN_START, slow);
	expect(PH_RUN_START, fast);
	ph_hook_queue_stop(&q, now);
	quiet(now + 200);
	ph_hook_queue_end(&q, fast);
	quiet(now + PH_HOOK_STOP_MS);
	now += 100;
	ph_hook_queue_stop(&q, now); /* no longer by being said twice */
	quiet(now + PH_HOOK_STOP_MS - 100);
	ph_hook_queue_end(&q, slow);
	now += 3 * PH_HOOK_STOP_MS;
	late = add(3600000, false);
	expect(PH_RUN_START, late);
	quiet(now + PH_HOOK_STOP_MS);
	now += 100;
	ph_hook_queue_last(&q, now);
	quiet(now + PH_HOOK_STOP_MS - 100);
	ph_hook_queue_end(&q, late);
	now += 1000;
	late = add(3600000, false);
	expect(PH_RUN_START, late);
	quiet(now + PH_HOOK_STOP_MS - 1000);
	now += PH_HOOK_STOP_MS - 1000;
	expect(PH_RUN_TERM, late);
	late = add(3600000, false);
	expect(PH_RUN_DROP, late);
	expect(PH_RUN_TELL, 1);
	quiet(now + PH_HOOK_GRACE_MS);
}
END_TEST

START_TEST(all_over_at_once)
{
	uint64_t ids[PH_HOOKS_AT_ONCE + 3];
	for (int i = 0; i < PH_HOOKS_AT_ONCE + 3; i++)
		ids[i] = add(i == 1 ? 500 : 10000, false);
	for (int i = 0; i < PH_HOOKS_AT_ONCE; i++)
		expect(PH_RUN_START, ids[i]);
	now += 500;
	expect(PH_RUN_TERM, ids[1]);
	ph_hook_queue_hurry(&q, now);
	for (int i = 0; i < PH_HOOKS_AT_ONCE; i++)
		expect(PH_RUN_KILL, ids[i]);
	for (int i = 0; i < 3; i++)
		expect(PH_RUN_DROP, ids[PH_HOOKS_AT_ONCE + i]);
	for (int i = 0; i < PH_HOOKS_AT_ONCE; i++)
		ph_hook_queue_end(&q, ids[i]);
	expect(PH_RUN_TELL, 3);
	quiet(NEVER);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core_hook_queue");
	TCase *t = tcase_create("queue");
	tcase_add_checked_fixture(t, setup, NULL);
	tcase_add_test(t, nothing_to_do);
	tcase_add_test(t, so_many_at_once);
	tcase_add_loop_test(t, a_time_is_over, 0, 4);
	tcase_add_test(t, what_cannot_be_killed_is_given_up);
	tcase_add_test(t, the_oldest_give_way);
	tcase_add_loop_test(t, it_never_overflows, 0, 5);
	tcase_add_test(t, a_stop);
	tcase_add_test(t, all_over_at_once);
	suite_add_tcase(suite, t);
	return run_tests(suite);
}
