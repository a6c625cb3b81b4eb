/*
 * clock.h - the time that the daemon lives by, and its only timer.
 *
 * Decides nothing. Time is CLOCK_BOOTTIME in ms: it never jumps back and goes on while the machine
 * sleeps. One timerfd is armed for one absolute moment; nothing ticks while it is not armed.
 * Tested in tests/unit/test_io_clock.c.
 */
#ifndef PH_IO_CLOCK_H
#define PH_IO_CLOCK_H

#include "base/err.h"

#include <stdint.h>

struct event_base;
struct ph_clock_timer;

#define PH_CLOCK_NEVER UINT64_MAX

/* CLOCK_BOOTTIME in ms; above 0. */
uint64_t ph_clock_now_ms(void);

/* Wall clock, ms since 1970, for events and incarnations only. */
uint64_t ph_clock_wall_ms(void);

typedef void ph_clock_fn(void *arg);

/*
 * A timer in the loop, not armed. `fn` is called once for each time that it was set.
 * Errors: -errno of timerfd_create (EMFILE, ENFILE, ENOMEM); *ret untouched.
 */
PH_MUST_CHECK int ph_clock_timer_new(
	struct event_base *base, ph_clock_fn *fn, void *arg, struct ph_clock_timer **ret);

/*
 * Arms it for `at_ms` of CLOCK_BOOTTIME in place of what was set before; a moment that has passed
 * fires at the next turn; PH_CLOCK_NEVER disarms. The same value twice costs nothing.
 */
void ph_clock_timer_set(struct ph_clock_timer *timer, uint64_t at_ms);

/* May be called with NULL, and from the timer's own callback. */
void ph_clock_timer_free(struct ph_clock_timer *timer);

#endif
