/*
 * strike.h - the workers of the table, and the signals that stop them.
 *
 * Decides who is hit, never when. What always holds: no signal goes to a process that is not proven
 * to be of a worker of the table: the leader by its pid and start time; others of its session while
 * the leader or the main process is there, which keep the number of the session from anybody else;
 * any other by the worker's token in its environment, or by its cgroup. Allocates nothing. One
 * strike a process. Tested by tests/unit/test_fence.c, with the program itself.
 */
#ifndef PH_FENCE_STRIKE_H
#define PH_FENCE_STRIKE_H

#include <stddef.h>

#include "base/fence.h"

/* Takes what is in the table now; how many there are. */
size_t ph_strike_take(struct ph_fence_map *map);

/*
 * One round over those of whom something lives: SIGTERM to their process groups, SIGKILL to all
 * that is theirs, or 0 only to look. Returns of how many something still lived.
 */
size_t ph_strike_round(int signo);

#endif
