/*
 * journal_file.h - how the journal stands on the disk; only for journal.c and journal_thread.c.
 *
 *   prochub-journal 1 ID FIRST COUNT CRC\n      FIRST: sequence of the first record; COUNT: records
 *                                             that were there when the file was renamed into place
 *   CRC SEQ BATCH PAYLOAD\n                   BATCH: sequence of the first record of its batch
 *
 * CRC: the low 32 bits, in hex, of XXH3-64 over what follows it (in the header: over what stands
 * before it), seeded with the id. A batch is written only after the one before it was synced. So a
 * bad record is a torn end only if it is not among the first COUNT and no intact record of a later
 * batch follows it.
 */
#ifndef PH_IO_JOURNAL_FILE_H
#define PH_IO_JOURNAL_FILE_H

#include "io/journal.h"

#define PH_JOURNAL_NAME "journal"
#define PH_JOURNAL_TEMP ".journal.new"
#define PH_JOURNAL_LINE_EXTRA 56 /* bytes of a line beside its payload, at most */
#define PH_JOURNAL_BUFFER_BYTES \
	(PH_JOURNAL_QUEUE_BYTES + PH_JOURNAL_QUEUE_RECORDS * PH_JOURNAL_LINE_EXTRA)

/* An open file and where it stands. */
struct ph_journal_file {
	int fd; /* for appending, or -1 */
	struct ph_id id;
	uint64_t seq; /* of the last record */
	uint64_t bytes;
};

struct ph_journal_scan {
	struct ph_id id;
	uint64_t first, count;
	uint64_t seq; /* of the last good record, first - 1 where there is none */
	uint64_t records;
	uint64_t good_end; /* bytes up to the end of the last good record */
	bool torn;	   /* something stands behind it */
};

typedef void ph_journal_record_fn(void *arg, const char *bytes, size_t n);

/*
 * Reads a whole file; calls `fn` (may be NULL) for each good record. Errors, with a sentence:
 * -EBADMSG damaged, -ENOMEM, -errno of read.
 */
PH_MUST_CHECK int ph_journal_scan(int fd, ph_journal_record_fn *fn, void *arg,
	struct ph_journal_scan *ret, struct ph_err *err);

/* Writes one line to `out` (n + PH_JOURNAL_LINE_EXTRA bytes); returns its length. */
size_t ph_journal_format(char *out, const struct ph_id *id, uint64_t seq, uint64_t batch,
	const char *bytes, size_t n);

/* All of it, however short the single writes are. 0 or -errno. */
PH_MUST_CHECK int ph_journal_write(
	const struct ph_journal_ops *ops, int fd, const char *bytes, size_t n);

/*
 * Makes a new file with file->id, whose first record is file->seq + 1, and puts it in place of the
 * old. `snapshot` may be NULL. On success *file is the new one; the old descriptor is the caller's
 * to close. Errors: -errno; *ret_replaced tells whether the new file may already stand under the
 * name.
 */
PH_MUST_CHECK int ph_journal_create(const struct ph_journal_ops *ops, const char *dir,
	const struct ph_journal_snapshot *snapshot, char *buffer, struct ph_journal_file *file,
	bool *ret_replaced);

/* Moves an unusable file to journal.damaged-N and removes the oldest of more than 3. 0 or -errno.
 */
PH_MUST_CHECK int ph_journal_set_aside(const char *dir);

/* 128 random bits. 0 or -errno. */
PH_MUST_CHECK int ph_journal_new_id(struct ph_id *ret);

/* Records one behind the other: a uint32_t with the length, then the bytes. */
struct ph_journal_snapshot {
	char *bytes;
	size_t n, capacity;
	uint64_t records;
};

/* 0, or why the bytes cannot be a record: -EMSGSIZE, -EINVAL. */
int ph_journal_check(const void *bytes, size_t n);

#endif
