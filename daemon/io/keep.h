/*
 * keep.h - what a worker hands over is written to a file of its own.
 *
 * Decides nothing about whose state is kept or why. Each is written by a thread of its own, as a
 * disk may be slow and a state large: what the loop does is bounded. A file is there whole or not
 * at all (temporary name, fsync, rename, fsync of the directory), mode 0600. Files are removed
 * when they are older than `age_ms`, and in no other way: beyond `files` or `total_bytes` of them,
 * or where less than `free_bytes` of the disk would be left (the journal is there too), a state is
 * not kept. Tested by tests/unit/test_io_keep.c.
 */
#ifndef PH_IO_KEEP_H
#define PH_IO_KEEP_H

#include "base/err.h"
#include "base/types.h"

#include <stddef.h>

struct event_base;
struct ph_keeps;

struct ph_keep_limits {
	uint64_t age_ms;
	uint64_t total_bytes, free_bytes;
	size_t files;
};

/* Called from the loop; `arg` is that of ph_keeps_new(). */
struct ph_keep_ops {
	/* all of it is in that file, which is synced */
	void (*kept)(void *arg, const struct ph_id *id, uint64_t bytes, const char *name);
	void (*progress)(void *arg, const struct ph_id *id, uint64_t bytes); /* about each second */
	/* nothing is left of it; `code` a positive errno */
	void (*failed)(void *arg, const struct ph_id *id, int code, const char *text);
};

/* `dir` is made (0700) with the first file. NULL without memory. Files that are too old go now, and
 * each hour. */
struct ph_keeps *ph_keeps_new(struct event_base *base, const char *dir,
	const struct ph_keep_limits *limits, const struct ph_keep_ops *ops, void *arg);
/* From now on; what is too old goes now. */
void ph_keeps_set_age(struct ph_keeps *keeps, uint64_t age_ms);
/* Waits for what is being written, of which nothing is left then. NULL is allowed. */
void ph_keeps_free(struct ph_keeps *keeps);

/* Its file is to have that name. Errors: -EEXIST that id is known,
 * -EDQUOT there are too many files, -ENOMEM. */
PH_MUST_CHECK int ph_keeps_open(
	struct ph_keeps *keeps, const struct ph_id *id, const char *name, uint64_t max_bytes);
/*
 * Takes `fd`, on error too, and copies `bytes`, which were read from it already: written up to its
 * end of file. Errors: -ENOENT, -EEXIST it has a descriptor, -errno of the thread.
 */
PH_MUST_CHECK int ph_keeps_feed(
	struct ph_keeps *keeps, const struct ph_id *id, int fd, const char *bytes, size_t n);
/* No more is told of it. What is there whole stays where `stays`; anything else goes. */
void ph_keeps_close(struct ph_keeps *keeps, const struct ph_id *id, bool stays);

#endif
