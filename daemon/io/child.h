/*
 * child.h - watches one process by its pidfd, and signals it and its group.
 *
 * Decides nothing: that a process ended goes up once, by callback. Signals go through the pidfd or
 * to a group whose number is known to be still ours, so they never reach a stranger.
 *
 * A child's end has two steps. The callback brings the status, but the process stays a zombie,
 * which keeps its pid and with it the number of its process group reserved: ph_child_kill_group()
 * then reaches exactly what is left of the group. After that ph_child_reap() lets it go. A reaped
 * leader's number stays reserved by the kernel while a member of the group or session lives.
 *
 * An adopted process is in general no child of ours: its status is unknown, and somebody else reaps
 * it. After an execve() of ours it is: then its status is known, even where it has ended meanwhile.
 * Tested in tests/unit/test_io_child.c.
 */
#ifndef PH_IO_CHILD_H
#define PH_IO_CHILD_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct event_base;
struct ph_child;

struct ph_child_exit {
	bool unknown; /* not our child: nobody told us */
	int code;     /* where signal is 0 */
	int signal;   /* the signal that ended it, or 0 */
	bool core;
};

/* Called once, from the loop. The callback may kill the group, reap, and free the child. */
typedef void ph_child_fn(void *arg, struct ph_child *child, const struct ph_child_exit *status);

/*
 * Watches a process that ph_spawn_start() made. Takes `pidfd` (closed on error too).
 * Errors: -ENOMEM.
 */
PH_MUST_CHECK int ph_child_new(struct event_base *base, pid_t pid, int pidfd, uint64_t start_time,
	ph_child_fn *fn, void *arg, struct ph_child **ret);

/*
 * Adopts a running process: opens a pidfd, then compares the start time, so that a reused pid is
 * never taken for it. One that has ended is adopted only as a zombie of ours, whose end the
 * callback tells soon. Errors with a sentence: -ESRCH gone, or already ended; -ESTALE the pid
 * belongs to another process now; -EMFILE, -ENOMEM.
 */
PH_MUST_CHECK int ph_child_adopt(struct event_base *base, pid_t pid, uint64_t start_time,
	ph_child_fn *fn, void *arg, struct ph_child **ret, struct ph_err *err);

/* To the main process alone. 0, -ESRCH once it has ended, -EPERM, -EINVAL no such signal. */
int ph_child_signal(struct ph_child *child, int signo);

/*
 * To all of its process group; once the leader was reaped, to every member of its session (found in
 * /proc, each by a pidfd of its own). 0, also where only a zombie was left; -ESRCH nobody there;
 * -EPERM.
 */
int ph_child_kill_group(struct ph_child *child, int signo);

/*
 * Does anything but zombies live in its process group? Cheap while the leader runs, and after
 * ph_child_reap() where the group is empty; otherwise it walks /proc once.
 */
bool ph_child_group_alive(struct ph_child *child);

/* Lets an ended child's zombie go. No effect before the callback, twice, or on what is not our
 * child. */
void ph_child_reap(struct ph_child *child);

/*
 * Stops watching; the process itself is left alone. Reaps where the callback has been and nobody
 * reaped. May be called with NULL, and from the child's own callback.
 */
void ph_child_free(struct ph_child *child);

pid_t ph_child_pid(const struct ph_child *child);
int ph_child_pidfd(const struct ph_child *child); /* borrowed */
uint64_t ph_child_start_time(const struct ph_child *child);
bool ph_child_adopted(const struct ph_child *child);

#endif
