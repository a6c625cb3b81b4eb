/*
 * proc.h - what /proc says about one process, and the search for workers of an earlier daemon.
 *
 * Decides nothing: whether a process found is adopted is the caller's business. All reads are
 * bounded. Tested in tests/unit/test_io_proc.c.
 */
#ifndef PH_IO_PROC_H
#define PH_IO_PROC_H

#include "base/err.h"
#include "base/procstat.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Errors: -ESRCH no such process, -EBADMSG a line that is none, -EMFILE and others of open. */
PH_MUST_CHECK int ph_proc_stat(pid_t pid, struct ph_proc_stat *ret);

#define PH_PROC_NAME_SIZE 16
/* Its name as the kernel has it: of its program, or what it calls itself. Errors as above. */
PH_MUST_CHECK int ph_proc_name(pid_t pid, char ret[PH_PROC_NAME_SIZE]);

/* The session that `pid` belongs to, or -ESRCH. */
pid_t ph_proc_session(pid_t pid);

/* Calls `fn` for every pid in /proc until it returns other than 0; returns that, or -errno, or 0.
 */
typedef int ph_proc_each_fn(void *arg, pid_t pid);
int ph_proc_each(ph_proc_each_fn *fn, void *arg);

/* A worker as its own environment describes it. NULL: the variable is not there. Borrowed for the
 * call. */
struct ph_proc_worker {
	pid_t pid;
	pid_t session; /* `pid`, or that of a leader that has ended */
	uint64_t start_time;
	uid_t uid;
	const char *token;    /* PROCHUB_TOKEN */
	const char *child;    /* PROCHUB_CHILD */
	const char *instance; /* PROCHUB_INSTANCE */
	const char *replica;  /* PROCHUB_REPLICA */
	const char *node;     /* PROCHUB_NODE */
	const char *epoch;    /* PROCHUB_EPOCH: that of its start */
	const char *role;     /* PROCHUB_ROLE: that of its start */
};

typedef void ph_proc_worker_fn(void *arg, const struct ph_proc_worker *worker);

/* The same of one process, where it lives and its environment has that socket. 0; -ENOMEM; -EAGAIN
 * it executes a program, and has no environment for that moment. */
PH_MUST_CHECK int ph_proc_look(
	pid_t pid, const char *socket_path, ph_proc_worker_fn *fn, void *arg);

/*
 * Finds the living session leaders (`orphans`: instead, the living members of sessions whose leader
 * has ended) whose environment carries PROCHUB_SOCKET=`socket_path`; the
 * start time is read before and after, so that it belongs to that environment. Processes that end
 * meanwhile or may not be read are passed over. One that executes a program is waited for, for 0.2
 * s in all. The environment is that of the start; of what the program has written over it nothing
 * is believed but names that fit. 0, or -ENOMEM, or -errno of reading /proc.
 */
PH_MUST_CHECK int ph_proc_find_workers(
	const char *socket_path, bool orphans, ph_proc_worker_fn *fn, void *arg);

#endif
