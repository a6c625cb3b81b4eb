/*
 * cgroup.h - the part of the cgroup v2 tree that is the daemon's own, and a cgroup for each worker.
 *
 * Decides nothing about workers: what is limited, killed or kept is the caller's business. What
 * always holds: nothing is made, changed or removed outside of the daemon's own cgroup, and there
 * only what carries its mark, which comes from run_dir, so that two daemons may share one. The
 * daemon itself goes to the leaf `prochub-daemon`, as a cgroup whose controllers are handed on may
 * have no processes of its own; the root of the tree may, and there it stays.
 *
 * Nothing here waits. Paths are absolute. Tested in tests/unit/test_io_cgroup.c, with a tree that
 * is only files, and by tests/e2e/test_limits.py and test_kill.py.
 */
#ifndef PH_IO_CGROUP_H
#define PH_IO_CGROUP_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define PH_CGROUP_LEAF "prochub-daemon"

struct ph_cgroups;

/* X(enumerator, name of the controller, file of the limit) */
#define PH_CGROUP_LIMITS(X) \
	X(MEMORY, "memory", "memory.max") /* bytes */ \
	X(CPU, "cpu", "cpu.max")	  /* percent of a processor */ \
	X(TASKS, "pids", "pids.max")	  /* processes and threads */

enum ph_cgroup_limit {
#define X(name, controller, file) PH_CGROUP_##name,
	PH_CGROUP_LIMITS(X)
#undef X
	PH_CGROUP_LIMIT_COUNT
};

/*
 * Finds the daemon's own cgroup, and moves the daemon to its leaf: call it before any process is
 * started. Errors with a sentence: -ENOENT there is no cgroup v2, or this process is in none of it;
 * -EPERM it is systemd's and not delegated; what making a cgroup there says: -EACCES, -EROFS.
 */
PH_MUST_CHECK int ph_cgroups_open(const char *run_dir, struct ph_cgroups **ret, struct ph_err *err);
/* The same with a tree whose folder is `dir`; `root`: it is that of the machine. For tests. */
PH_MUST_CHECK int ph_cgroups_open_at(const char *dir, bool root, const char *run_dir,
	struct ph_cgroups **ret, struct ph_err *err);
/*
 * Takes the controllers back that were handed on in the cgroup of this process, where systemd runs
 * what follows the end of a service (".control" of its cgroup): while they are, systemd cannot put
 * the next daemon there. Limits do not hold until that one sets them again. 0, also where there is
 * nothing to do, or -errno with a sentence.
 */
PH_MUST_CHECK int ph_cgroups_release(struct ph_err *err);
void ph_cgroups_close(struct ph_cgroups *groups); /* NULL is fine; what is there stays */

/* The folder in which they are. */
const char *ph_cgroups_dir(const struct ph_cgroups *groups);
/* The path that a worker of that name has, whether it is there or not; the caller's (free). NULL
 * without memory. */
char *ph_cgroup_path(const struct ph_cgroups *groups, const char *name);
/* Makes it, with its processes as one to the kernel when memory runs out. Errors of mkdir. */
PH_MUST_CHECK int ph_cgroup_make(const char *path, struct ph_err *err);
/*
 * Sets one limit, and hands the controller on where that is not so yet. Errors with a sentence:
 * -EOPNOTSUPP the cgroup has no such controller; -EBUSY other processes are in the daemon's own
 * cgroup; and others of writing.
 */
PH_MUST_CHECK int ph_cgroup_set(struct ph_cgroups *groups, const char *path,
	enum ph_cgroup_limit limit, uint64_t value, struct ph_err *err);

/* SIGKILL to all that is in it and below. -ENOENT: there is no such cgroup, or a kernel before
 * 5.14. */
int ph_cgroup_kill(const char *path);
/* Some of those that are in it, as text; empty where there are none. */
void ph_cgroup_pids(const char *path, char *ret, size_t size);
/* Is a process in it or below? False where it is not there. */
bool ph_cgroup_is_populated(const char *path);
/* How many of its processes have been killed as memory ran out. */
uint64_t ph_cgroup_oom_kills(const char *path);
/* With all that is below. -EBUSY: something lives there; 0 too where it is not there. */
int ph_cgroup_remove(const char *path);

/*
 * The cgroup of that name in which the process is, wherever an earlier daemon has made it; the
 * caller's (free). NULL: it is in none of that name.
 */
char *ph_cgroup_of(const struct ph_cgroups *groups, pid_t pid, const char *name);

/*
 * Kills and removes what earlier daemons of this run_dir have left and `kept` does not want;
 * empty ones of other daemons too, a minute after they were made. Returns how many of its own are
 * still there.
 */
size_t ph_cgroups_sweep(
	struct ph_cgroups *groups, bool (*kept)(void *arg, const char *path), void *arg);

/* Has this machine such a controller in its cgroup v2? For a note when a configuration is checked.
 */
bool ph_cgroup_is_there(enum ph_cgroup_limit limit);
const char *ph_cgroup_controller(enum ph_cgroup_limit limit);

#endif
