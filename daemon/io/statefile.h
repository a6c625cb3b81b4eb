/*
 * statefile.h - run_dir/state: what the next daemon must know to adopt this one's workers.
 *
 * Opaque bytes; what they mean is the caller's business. Mode 0600, written whole by rename, not
 * synced: it lives as long as the processes that it names. Tested in tests/unit/test_io_file.c.
 */
#ifndef PH_IO_STATEFILE_H
#define PH_IO_STATEFILE_H

#include "base/err.h"

#include <stddef.h>

#define PH_STATEFILE_NAME "state"
#define PH_STATEFILE_BYTES_MAX ((size_t)64 << 20)

/* Errors: -EFBIG over 64 MiB, -errno of open, write, rename. The old file still stands then. */
PH_MUST_CHECK int ph_statefile_write(
	const char *run_dir, const char *bytes, size_t n, struct ph_err *err);

/* As ph_durable_read(). Errors: also -EPERM where the file is not ours alone (owner, mode). */
PH_MUST_CHECK int ph_statefile_read(
	const char *run_dir, char **ret_bytes, size_t *ret_n, struct ph_err *err);

#endif
