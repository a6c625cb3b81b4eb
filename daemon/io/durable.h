/*
 * durable.h - small files that are there whole or not at all.
 *
 * Decides nothing about what stands in them. The sync may take as long as the disk likes: it is for
 * the start of the daemon and for the journal's thread, not for the loop. Tested in
 * tests/unit/test_io_file.c.
 */
#ifndef PH_IO_DURABLE_H
#define PH_IO_DURABLE_H

#include "base/err.h"

#include <stddef.h>
#include <sys/types.h>

/*
 * Replaces `dir`/`name` by these bytes: temporary file, fsync, rename, fsync of the directory.
 * Errors: -errno of the step that failed (ENOSPC, EROFS, EACCES ...). Then the old file still
 * stands, but after a failed sync of the directory, where either may stand after a power cut.
 */
PH_MUST_CHECK int ph_durable_write(const char *dir, const char *name, const void *bytes, size_t n,
	mode_t mode, struct ph_err *err);

/* The same without any sync: whole for every process, not for a power cut. */
PH_MUST_CHECK int ph_durable_replace(const char *dir, const char *name, const void *bytes, size_t n,
	mode_t mode, struct ph_err *err);

/*
 * Reads the whole regular file; *ret_bytes is the caller's to free() and has a NUL behind its
 * *ret_n bytes. Errors with a sentence: -ENOENT, -EFBIG larger than `max`, -EINVAL not a regular
 * file, -errno.
 */
PH_MUST_CHECK int ph_durable_read(const char *dir, const char *name, size_t max, char **ret_bytes,
	size_t *ret_n, struct ph_err *err);

#endif
