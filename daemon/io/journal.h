/*
 * journal.h - records that survive a crash: an append-only file, written by a thread of its own.
 *
 * Decides nothing about what records mean; a record is bytes without a newline. `dir`/journal is
 * text: a header line with a random 128-bit id, then one line a record, each with checksum and
 * sequence. One thread takes what is queued, writes and fdatasyncs it as one batch, answers through
 * an eventfd, and touches nothing else; a busy disk never stops the loop.
 *
 * Always holds:
 * - a ticket is answered exactly once, from the loop, in the order of the appends; 0 means that the
 * record and all before it are on the disk;
 * - a torn end (of a batch that nobody was told is safe) is cut off at open; any other damage makes
 * the journal UNREADABLE, and none of its records is delivered;
 * - after a failed write or sync nothing more is written to that file. What it carried is
 * undecided: a later open may find those records or not. Everything queued fails, and appends are
 * refused, until ph_journal_reopen() has made a new file with a new id;
 * - small files beside the journal (ph_journal_keep) are written by the same thread, in their place
 * in the queue, whether the journal has failed or not;
 * - room for what is under way is reserved behind the end of the file, where the file system can.
 * Where it cannot be reserved any more the journal is LOW: it can still be written, and whoever
 * uses it begins nothing new until there is room again.
 *
 * Not detected: damage inside the last batch of a file looks like a torn end.
 * Tested in tests/unit/test_journal.c and test_journal_disk.c.
 */
#ifndef PH_IO_JOURNAL_H
#define PH_IO_JOURNAL_H

#include "base/err.h"
#include "base/types.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PH_JOURNAL_RECORD_MAX (512u * 1024) /* bytes of one record: a child's text, quoted */
#define PH_JOURNAL_QUEUE_BYTES (4u << 20)   /* queued and undecided, together */
#define PH_JOURNAL_QUEUE_RECORDS 16384u
#define PH_JOURNAL_SNAPSHOT_BYTES (64u << 20) /* of one rewrite */
#define PH_JOURNAL_DAMAGED_KEPT 3
#define PH_JOURNAL_KEEP_MAX 4096u /* bytes of a small file beside it */
/* In reserve: three records of 0.5 KiB for each of 16 migrations at once, and some to spare. */
#define PH_JOURNAL_RESERVE_BYTES (64u << 10)

struct event_base;
struct ph_journal;
struct ph_journal_snapshot;

/* What open found: X(enumerator, word) */
#define PH_JOURNAL_FOUND(X) \
	X(NEW, "new") /* no file, and none was expected: made */ \
	X(OK, "ok") \
	X(TORN, "torn")		    /* ok, after an unfinished batch at the end was cut off */ \
	X(UNREADABLE, "unreadable") /* damaged, missing or another's: a new one was begun */

enum ph_journal_found {
#define X(name, word) PH_JOURNAL_##name,
	PH_JOURNAL_FOUND(X)
#undef X
};

const char *ph_journal_found_word(enum ph_journal_found found);

struct ph_journal_report {
	enum ph_journal_found found;
	int failed;	  /* 0, or -errno: what was found holds, but nothing can be written now; the
			     journal is in the failed state: ph_journal_reopen() */
	uint64_t records; /* delivered */
	uint64_t bytes;	  /* of the file */
	struct ph_err why; /* the sentence for TORN, UNREADABLE and failed; else empty */
};

/* The system calls of the thread; tests put failing ones here. As their namesakes: -1 and errno. */
struct ph_journal_ops {
	ssize_t (*write)(int fd, const void *bytes, size_t n);
	int (*datasync)(int fd);
	int (*sync)(int fd); /* of a new file, and of the directory */
	int (*rename)(const char *from, const char *to);
	int (*reserve)(int fd, off_t at, off_t n); /* blocks behind the end; NULL: it cannot */
	int (*keep)(const char *dir, const char *name, const void *bytes, size_t n, mode_t mode,
		struct ph_err *err); /* ph_durable_write() */
};

struct ph_journal_config {
	const char *dir; /* exists; borrowed for the open only, as everything here but ops */
	const struct ph_id *known_id;	  /* that run_dir/state names, or NULL */
	const struct ph_journal_ops *ops; /* NULL: the real ones */

	/* each record of an OK or TORN journal, in order, during open */
	void (*record)(void *arg, const char *bytes, size_t n);
	/* result 0: safe; -errno: undecided (it may or may not be found by the next open) */
	void (*done)(void *arg, uint64_t ticket, int result);
	/* the journal has failed (-errno); comes before the `done` of the tickets that fail with it
	 */
	void (*failed)(void *arg, int result);
	/* a compaction or reopening has ended: 0, or -errno */
	void (*rewritten)(void *arg, int result);
	/* it has become low, or is not any more; may be NULL */
	void (*low)(void *arg, bool low);
	/* the answer to ph_journal_keep(): 0, or -errno and the sentence; may be NULL */
	void (*kept)(void *arg, uint64_t ticket, int result, const char *why);
	void *arg;
};

/*
 * Opens or begins the journal of a directory; reads the disk, so it is for the start. A file
 * that cannot be used is renamed to journal.damaged-N, of which the last 3 are kept.
 * Errors: -ENOMEM, -EMFILE, -EAGAIN (no thread). A disk that cannot be written is no error: see
 * report.failed.
 */
PH_MUST_CHECK int ph_journal_open(struct event_base *base, const struct ph_journal_config *config,
	struct ph_journal **ret, struct ph_journal_report *ret_report, struct ph_err *err);

/* The id of the file in use; none while no file could be made. It changes by a successful
 * reopening. */
struct ph_id ph_journal_id(const struct ph_journal *journal);

bool ph_journal_failed(const struct ph_journal *journal);

/* Is there no room in reserve? ph_journal_probe() looks again; `low` tells if that has changed. */
bool ph_journal_low(const struct ph_journal *journal);
void ph_journal_probe(struct ph_journal *journal);

/* Bytes of the file as far as answered for: when to compact is the caller's decision. */
uint64_t ph_journal_bytes(const struct ph_journal *journal);

/*
 * Queues one record; `done` answers with `ticket` (the caller's own number). Errors, upon which
 * nothing was queued and no answer comes: -ENOSPC the queue is full, -EMSGSIZE over the limit or
 * empty, -EINVAL has a newline, -EIO the journal has failed, -ENOMEM.
 */
PH_MUST_CHECK int ph_journal_append(
	struct ph_journal *journal, uint64_t ticket, const void *bytes, size_t n);

/*
 * What is appended between the two is written in one piece: whatever kills this process, it is
 * there as a whole or not at all (but for a large one, in the middle of its write).
 */
void ph_journal_hold(struct ph_journal *journal);
void ph_journal_release(struct ph_journal *journal);

/*
 * As ph_journal_append() for what is still to be written before ph_journal_close(): the queue is
 * never full, and no answer comes. Errors: -EMSGSIZE, -EINVAL, -EIO, -ENOMEM as above.
 */
PH_MUST_CHECK int ph_journal_append_last(struct ph_journal *journal, const void *bytes, size_t n);

/*
 * Queues `dir`/`name`, to be replaced by these bytes as ph_durable_write() does it; `kept` answers
 * with `ticket`. It has nothing to do with the journal's own file but the disk. Errors, upon which
 * no answer comes: -EMSGSIZE more than PH_JOURNAL_KEEP_MAX, -ENAMETOOLONG, -ENOMEM.
 */
PH_MUST_CHECK int ph_journal_keep(
	struct ph_journal *journal, uint64_t ticket, const char *name, const void *bytes, size_t n);

/* Records that stand for everything appended so far. -EMSGSIZE, -EINVAL as above, -ENOSPC over 64
 * MiB. */
PH_MUST_CHECK int ph_journal_snapshot_new(struct ph_journal_snapshot **ret);
PH_MUST_CHECK int ph_journal_snapshot_add(
	struct ph_journal_snapshot *snapshot, const void *bytes, size_t n);
void ph_journal_snapshot_free(struct ph_journal_snapshot *snapshot);

/*
 * Replaces the file by one with the same id that begins with `snapshot` (taken), in its place in
 * the queue: what was appended before it is answered first, what is appended after it follows it in
 * the new file. `rewritten` answers. A failure leaves the old file in use, but for one of the
 * directory's sync, after which the journal has failed. Errors (taken all the same): -EIO has
 * failed, -EBUSY a rewrite is under way, -ENOMEM.
 */
PH_MUST_CHECK int ph_journal_compact(
	struct ph_journal *journal, struct ph_journal_snapshot *snapshot);

/*
 * After a failure: a new file with a new id that begins with `snapshot` (taken). `rewritten`
 * answers; on success ph_journal_id() is the new one, which run_dir/state must name before it is
 * relied upon. Appends are accepted as soon as this returned 0 and fail with it if it fails. Errors
 * (taken all the same): -EINVAL has not failed, -EBUSY, -ENOMEM.
 */
PH_MUST_CHECK int ph_journal_reopen(
	struct ph_journal *journal, struct ph_journal_snapshot *snapshot);

/*
 * Writes what is queued, ends the thread and closes; waits for the disk; answers nobody any more.
 * Not from a callback of its own. May be NULL.
 */
void ph_journal_close(struct ph_journal *journal);

#endif
