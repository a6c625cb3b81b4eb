/*
 * spawn.h - starts one process, exactly as it is told.
 *
 * Decides nothing: which file, user, limits and descriptors is the caller's business. The child
 * shares the daemon's memory until it executes (clone3 with CLONE_VM|CLONE_PIDFD), on a stack of
 * its own, with all signals blocked and everything prepared beforehand, and makes only raw system
 * calls. Always holds: no descriptor but those named reaches the program; its signal mask is
 * empty and its dispositions are the default; it leads a session and a process group of its own,
 * whose number is its pid. A start takes a few hundred microseconds, most of them in the child:
 * who begins the next one before he finishes the last has the child's on another processor. Call it
 * from the loop's thread only.
 * Tested in tests/unit/test_spawn.c and test_spawn_ahead.c.
 */
#ifndef PH_IO_SPAWN_H
#define PH_IO_SPAWN_H

#include "base/err.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#define PH_SPAWN_FDS_MAX 256
#define PH_SPAWN_LIMITS_MAX 16

struct ph_spawn_limit {
	int resource; /* RLIMIT_... */
	rlim_t soft, hard;
};

/* All borrowed until the start is finished. Zero it first: 0 and NULL mean "leave it as it is" but
 * where said. */
struct ph_spawn_spec {
	const char *path;   /* file to execute, relative ones from `dir`; without '/': the first
			       regular,   executable file of that name in `search` */
	const char *search; /* as PATH: elements that are not absolute are skipped; NULL: the
			       system's default path */
	const char *const *argv; /* ends with NULL; at least one */
	const char *const *env;	 /* ends with NULL; the whole environment. An entry that is exactly
				    "LISTEN_PID=" or "WATCHDOG_PID=" gets the child's pid */
	const char *dir;	 /* working directory, or NULL: the daemon's */
	bool set_user;		 /* then uid, gid and groups are set (needs root) */
	uid_t uid;
	gid_t gid;
	const gid_t *groups;
	size_t n_groups;
	bool no_new_privileges; /* for it and all that it starts */
	bool set_umask;		/* else 022 */
	mode_t umask;
	const int *fds; /* becomes descriptors 0, 1, 2, 3 ... in this order; at most
			   PH_SPAWN_FDS_MAX. -1 at 0, 1 or 2, and those not given: /dev/null */
	size_t n_fds;
	const struct ph_spawn_limit *limits; /* at most PH_SPAWN_LIMITS_MAX */
	size_t n_limits;
	size_t read_max;  /* not 0: the regular file `path` is read, by the daemon's user and with
			     nothing else of this, in place of executed */
	const char *file; /* must be a regular file, and is made (0640) where it is not there: one
			     that its output is to go to, say; NULL: none */
	const char *file_option; /* what a sentence about it, or what is read, begins with */
	const char *cgroup;	 /* folder of the cgroup v2 tree that it is to be in, or NULL */
	bool cgroup_optional;	 /* where that fails it is started all the same */
	uint64_t memory;	 /* bytes that its cgroup may have, or 0: as much as there is */
};

struct ph_spawned {
	pid_t pid; /* also its process group and session */
	int pidfd; /* close-on-exec; the caller's to close, or to give to ph_child_new() */
	uint64_t start_time; /* field 22 of /proc/PID/stat: clock ticks since boot; with the pid it
				names the process for as long as the machine runs */
	int cgroup_error;    /* why it is not in its optional cgroup: an errno, or 0 */
	char *bytes; /* with read_max: there is no process, but what was read, and a NUL; to free()
		      */
	size_t n_bytes;
};

/*
 * Keeps a few low numbers of descriptors for the starts to come: a child then takes over only those
 * below, where it would else copy and close each descriptor that the daemon has, a few for every
 * other child. Call it early in the life of a process; one that has not starts children all the
 * same, as does a start with more descriptors.
 */
void ph_spawn_reserve(void);

/*
 * What a child is called (comm of proc(5)) until it executes: "prochub+" and what marks this folder
 * on this machine, once it was set. A process that is killed leaves behind what it has begun, and
 * that would go on when its file system answers again: whoever comes after it, for the same folder,
 * kills all of that name. Returns how many there were. -errno of stat(), or of reading /proc.
 */
PH_MUST_CHECK int ph_spawn_set_mark(const char *dir);
int ph_spawn_kill_marked(void);

#define PH_SPAWN_BEGUN_MAX 80
struct ph_spawning; /* a start that is under way */

/*
 * Makes the process. On 0 *ret is to be given to ph_spawn_finish() or ph_spawn_give_up(), whatever
 * else fails; *spec and what it points to must last until then, but the descriptors are the
 * caller's to close again. Errors, with a sentence: -EINVAL a spec out of bounds; -EAGAIN, -ENOMEM,
 * -EMFILE no process, memory or descriptor left, or too many that cannot be ended (of all, or of
 * those with the same program and folder); -EBUSY
 * PH_SPAWN_BEGUN_MAX are under way. Nothing is left of it then.
 */
PH_MUST_CHECK int ph_spawn_begin(
	const struct ph_spawn_spec *spec, struct ph_spawning **ret, struct ph_err *err);

/* Waits, but no longer than that, until the program runs (or has already ended), or a step has
 * failed. False: it is not so far. 0 ms: only looks. */
bool ph_spawn_wait(struct ph_spawning *spawning, unsigned ms);

/* The same for a loop: waits PH_SPAWN_MOMENT_MS, or PH_SPAWN_LOOK_MS while another one takes long.
 * False: it is to be set aside, and looked at each PH_SPAWN_LOOK_MS; the loop goes on. */
#define PH_SPAWN_MOMENT_MS 100
#define PH_SPAWN_LOOK_MS 10
#define PH_SPAWN_ASIDE_MS 5000 /* until one that was set aside is given up */
bool ph_spawn_moment(struct ph_spawning *spawning);

/*
 * Waits like ph_spawn_wait(), and takes the result. Until then the process is the daemon's own
 * (kin.h), from then on that is the caller's to say. 0, or an error with a sentence such as "cannot
 * change to directory '/x': No such file or directory": the errno of the failed step (setsid,
 * cgroup, descriptors, search, file, limits, user, chdir, execute); -ETIMEDOUT it is not so far
 * within PH_SPAWN_PATIENCE_MS, or, where that was so in the last 10 s already, PH_SPAWN_AGAIN_MS:
 * its files are on a file system that does not answer, say. It is killed then. After an error there
 * is no descriptor of it and no zombie, and *ret is untouched; nor is there a process, unless it is
 * one that the kernel cannot end yet: that never executes anything. `spawning` is gone.
 *
 * On other machines than x86_64, where clone3(2) is forbidden, and with `memory` of less than
 * PH_SPAWN_SCARCE_BYTES, ph_spawn_begin() does all of the waiting, and without end. The last is for
 * the kernel, which ends all who share the memory of what has run out of it in its cgroup, but for
 * a child of vfork(): arguments and environment have at most 6 MiB (execve(2)), and after them the
 * child has a memory of its own.
 */
#define PH_SPAWN_SCARCE_BYTES ((uint64_t)32 << 20)
#define PH_SPAWN_PATIENCE_MS 1000
#define PH_SPAWN_AGAIN_MS 100
PH_MUST_CHECK int ph_spawn_finish(
	struct ph_spawning *spawning, struct ph_spawned *ret, struct ph_err *err);
/* The same without waiting. */
PH_MUST_CHECK int ph_spawn_give_up(
	struct ph_spawning *spawning, struct ph_spawned *ret, struct ph_err *err);

/*
 * Both, with the errors of both; possible while others are under way, too.
 */
PH_MUST_CHECK int ph_spawn_start(
	const struct ph_spawn_spec *spec, struct ph_spawned *ret, struct ph_err *err);

/*
 * Would it start? Makes every step in a child but entering the cgroup, and in place of executing
 * asks the kernel whether that user may execute a regular file of that name. Descriptors are not
 * used. 0, or the same errors and sentences as ph_spawn_start(). What it cannot see: a file that
 * the kernel refuses to run (wrong format, missing interpreter).
 */
PH_MUST_CHECK int ph_spawn_check(const struct ph_spawn_spec *spec, struct ph_err *err);

/* How `file` is opened: somebody may have put a link, a FIFO or a device there. */
#define PH_SPAWN_FILE_FLAGS (O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)

/*
 * At once, so never in the loop: the file that `argv0` means. With a '/' it is itself; else the
 * first regular, executable file of that name in `path_env` (colons; elements that are not absolute
 * are skipped; NULL: the system's default path). ret_path has PATH_MAX bytes. Errors with a
 * sentence: -ENOENT not found, -EACCES found but not executable, -ENAMETOOLONG, -EINVAL empty.
 */
PH_MUST_CHECK int ph_spawn_resolve(
	const char *argv0, const char *path_env, char ret_path[PATH_MAX], struct ph_err *err);

#endif
