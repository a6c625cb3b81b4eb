/*
 * spawn_child.h - what happens between clone and execve, in the daemon's own memory.
 *
 * Only for spawn.c. The child may touch nothing but this struct and its stack, and may call nothing
 * but the kernel: the daemon's thread goes on in the same memory, and errno is that thread's. The
 * steps and their order are the table below.
 */
#ifndef PH_IO_SPAWN_CHILD_H
#define PH_IO_SPAWN_CHILD_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <sys/types.h>

#include "io/spawn.h"

/* The daemon goes on while the child runs. Elsewhere it waits: the child then calls the kernel by
 * the C library, and errno is the thread's. */
#if defined(__x86_64__) && defined(SYS_clone3)
#define PH_SPAWN_AHEAD 1
#endif

/*
 * Steps in order: X(enumerator, what could not be done). Descriptors are in place before anything
 * that may take long, and before the limits, which may forbid more of them; everything that wants
 * privileges comes before the user, and the folder after it, so that one that is closed to the user
 * is told.
 */
#define PH_SPAWN_STEPS(X) \
	X(SESSION, "start a session") \
	X(SIGNALS, "reset the signals") \
	X(CGROUP, "enter cgroup") \
	X(FDS, "pass the descriptors") \
	X(OPEN, "open") \
	X(READ, "read") \
	X(SEARCH, "search PATH for") \
	X(FILE, "open") \
	X(LIMITS, "set the limits") \
	X(GROUPS, "set the supplementary groups") \
	X(GID, "set the group") \
	X(UID, "set the user") \
	X(DIR, "change to directory") \
	X(PRIVILEGES, "give up new privileges") \
	X(EXECUTE, "execute")

enum ph_spawn_step {
#define X(name, text) PH_SPAWN_##name,
	PH_SPAWN_STEPS(X)
#undef X
};

#define PH_SPAWN_PID_DIGITS 12 /* of a pid, with its NUL */

struct ph_spawn_task {
	/* prepared by the parent */
	const struct ph_spawn_spec *spec;
	const char *name; /* until it executes */
	char *bytes;	  /* of a file that it reads in place of executing it; or NULL */
	char *candidates; /* texts, and an empty one; NULL: the path of the spec is one */
	char **env;
	char *pid_digits[2];	 /* where the pid goes in LISTEN_PID= and WATCHDOG_PID=, or NULL */
	int cgroup_fd;		 /* or -1 */
	bool dry;		 /* ph_spawn_check(): do not execute */
	unsigned first_unwanted; /* the table of descriptors is shared: from here on it is not
				    copied. 0: it is a copy already */
	int first_lent;		 /* from here to there are those of all starts; `fds` is one run */
	int n_fds;
	int fds[PH_SPAWN_FDS_MAX]; /* no -1 any more; the child moves them about */

	/* written by the child */
	const char *path; /* that it executes */
	int read_fd;
	size_t n_bytes;		 /* that it has read; of a file that is too large: that it has */
	bool not_a_program;	 /* ... or that there is, though it is none */
	int code;		 /* errno, or 0: it went well, or is under way */
	enum ph_spawn_step step; /* that it takes, or that has failed */
	bool has_own;		 /* a table of descriptors: what was lent is not used any more */
	int resource;		 /* of LIMITS */
	int cgroup_error;	 /* of an optional cgroup */
};

/* ---- spawn_explain.c, in the parent: -code; ETIMEDOUT and no code of the child's: it is not done
 */
int ph_spawn_explain(const struct ph_spawn_task *task, int code, struct ph_err *err);

/* ---- spawn_resolve.c, in the parent */

/* What `name` may mean in `path_env`, one text after the other, then an empty one. NULL: no memory.
 */
char *ph_spawn_candidates(const char *name, const char *path_env);
/* Sets the sentence for EACCES, or that it is not there. */
int ph_spawn_not_found(const char *name, const char *path_env, int code, struct ph_err *err);
PH_MUST_CHECK int ph_spawn_check_name(const char *name, struct ph_err *err);

/* The function for clone(); `task` is a struct ph_spawn_task. Does not return where it executes. */
int ph_spawn_child(void *task);

#endif
