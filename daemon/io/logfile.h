/*
 * logfile.h - a file that a child's output goes to, and the old ones beside it.
 *
 * Decides when a new file begins and how old ones are called: PATH.1 is the newest, then PATH.2 or
 * PATH.2.gz and so on, at most `keep`. A new one begins before the line that would not fit, so that
 * each holds whole lines; only a line that is larger than `size` makes a larger file. It must not
 * know processes: who compresses is asked for by `wants`. Always: bytes of a pipe are moved by
 * splice() where the file system can, so that they are in exactly one of the two whatever kills
 * the process; where it cannot, they leave the pipe after they were written. A file that somebody
 * has moved or removed is opened anew. Not for the loop: a file system may keep its caller waiting.
 * Tested in tests/unit/test_output_file.c.
 */
#ifndef PH_IO_LOGFILE_H
#define PH_IO_LOGFILE_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define PH_LOGFILE_COMPRESS_BYTES (256u << 10) /* a smaller one would save less than it costs */
#define PH_LOGFILE_PLAIN_BYTES (1u << 20)      /* of the newest old files, which stay as they are */
#define PH_LOGFILE_MADE ".new.gz"	       /* behind PATH: what is being made of an old file */

struct ph_logfile {
	char *path;
	int fd; /* -1: it could not be opened (again) */
	uint64_t size, bytes;
	unsigned keep;
	dev_t dev;
	ino_t ino;
	uint64_t looked_at_ms; /* when it was last seen to be in its place */
	bool plain;	       /* splice() does not work here */
	int failed;	       /* errno of the last rotation, told once; 0: it went well */
	unsigned compressing;  /* number of the old file that is being compressed; 0: none */
	unsigned wants;	       /* ... that should be */
};

/*
 * Opens `path` to add to it, made (0640) where it is not there; a link, a device, a FIFO is
 * refused. *ret_fd is the caller's. Errors with a sentence.
 */
PH_MUST_CHECK int ph_logfile_open_fd(const char *path, int *ret_fd, struct ph_err *err);
/* Takes `fd`. -ENOMEM, or -errno of fstat. */
PH_MUST_CHECK int ph_logfile_init(
	struct ph_logfile *file, const char *path, int fd, uint64_t size, unsigned keep);
/* From now on. Old files beyond `keep` go, where it had made them itself. */
void ph_logfile_limit(struct ph_logfile *file, uint64_t size, unsigned keep);
void ph_logfile_fini(struct ph_logfile *file);

/*
 * Moves up to `n` bytes from the head of `pipe`, which are `bytes`, into the file: whole lines as
 * far as the file takes them before a new one begins, at least one; or, where there is no newline
 * in them, all. Returns how many were moved, which may be less; -errno: none (-ENOSPC, -EDQUOT,
 * -EIO, ...).
 */
PH_MUST_CHECK ssize_t ph_logfile_take(
	struct ph_logfile *file, int pipe, const char *bytes, size_t n, uint64_t now_ms);
/* Writes text that is in no pipe (the end of a last line): 0 or -errno. */
PH_MUST_CHECK int ph_logfile_put(struct ph_logfile *file, const char *text, size_t n);
/* Looks at the next write whether the file is still in its place. */
void ph_logfile_look(struct ph_logfile *file);
/* The name of old file `number`, plain or compressed; `ret` has PATH_MAX bytes. */
void ph_logfile_name(const struct ph_logfile *file, unsigned number, const char *end, char *ret);
/* The compressed form of old file file->compressing is in `made`: it takes its place. `ok` false:
 * it stays as it is. Another one may be wanted then. */
void ph_logfile_compressed(struct ph_logfile *file, const char *made, bool ok);

/*
 * The last `n` lines, of this file and of old ones, oldest first, at most `max` bytes of them (up
 * to PH_LOGFILE_PLAIN_BYTES all that there are, as these are not compressed); returns the text, the
 * caller's, ending with a newline unless it is empty. NULL without memory. Reads, so it may wait
 * for the disk.
 */
char *ph_logfile_tail(const struct ph_logfile *file, size_t n, size_t max, size_t *ret_bytes);

#endif
