/*
 * fence_impl.h - what fence.c (the memory and the process) and fence_find.c (those of earlier
 * daemons) share; for nobody else.
 */
#ifndef PH_IO_FENCE_IMPL_H
#define PH_IO_FENCE_IMPL_H

#include "io/fence.h"

/* A fence that runs, as /proc shows it. */
struct ph_fence_found {
	pid_t pid;
	int pidfd;
	int memory;		  /* its memfd, opened anew */
	size_t bytes;		  /* of the memory */
	struct ph_fence_map *map; /* all of it where `fits`, else only its head */
	bool fits;		  /* of this version */
};

/*
 * Calls `fn` for each fence of that run_dir (as realpath() has it) with a memory that can be read.
 * `fn` returns true to keep what was found; otherwise it is closed.
 */
void ph_fence_find(
	const char *run_dir, bool (*fn)(void *arg, const struct ph_fence_found *found), void *arg);
void ph_fence_found_close(const struct ph_fence_found *found);
void ph_fence_kill(int pidfd);

#endif
