/*
 * launch.h - starts a process beside the loop: one that takes long is set aside.
 *
 * Decides nothing but how long that is: PH_SPAWN_ASIDE_MS, or until the caller has no more
 * patience. Always: nobody waits for a start for longer than a moment (ph_spawn_moment()), and
 * whoever began it hears once what has become of it. Tested in tests/unit/test_io_hook.c and
 * tests/e2e/test_silent.py.
 */
#ifndef PH_IO_LAUNCH_H
#define PH_IO_LAUNCH_H

#include "io/spawn.h"

struct event_base;
struct ph_launch;

#define PH_LAUNCH_MAX 64 /* that are under way */

/* Of one that was set aside; the launch is gone. `error` 0: it runs, and `spawned` is the callee's;
 * else `err` says why it does not. */
typedef void ph_launch_fn(
	void *arg, int error, const struct ph_spawned *spawned, const struct ph_err *err);

/*
 * 0: *ret is NULL, and *ret_spawned runs; or *ret is set, and `fn` is called later, from the loop.
 * `spec` is copied, descriptors are the caller's to close again. Errors, with a sentence: those of
 * ph_spawn_begin() and ph_spawn_finish(); -EAGAIN PH_LAUNCH_MAX are under way; -ENOMEM.
 */
PH_MUST_CHECK int ph_launch_new(struct event_base *base, const struct ph_spawn_spec *spec,
	ph_launch_fn *fn, void *arg, struct ph_launch **ret, struct ph_spawned *ret_spawned,
	struct ph_err *err);
/* Does not wait any longer: `fn` is called at the next turn. */
void ph_launch_hurry(struct ph_launch *launch);
/* Gives it up without a call of `fn`; as ph_spawn_give_up(). It is gone. */
PH_MUST_CHECK int ph_launch_give_up(
	struct ph_launch *launch, struct ph_spawned *ret, struct ph_err *err);

#endif
