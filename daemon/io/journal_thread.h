/*
 * journal_thread.h - the journal's thread and the two lists between it and the loop; only for
 * journal.c.
 *
 * Always holds: items are answered in the order in which they were put in. The thread owns the
 * file; what the loop wants to know of it comes with the answers.
 */
#ifndef PH_IO_JOURNAL_THREAD_H
#define PH_IO_JOURNAL_THREAD_H

#include "io/journal_file.h"

#include <pthread.h>

#define PH_JOURNAL_KEEP_NAME 32 /* with its NUL */

enum ph_journal_kind {
	PH_JOURNAL_RECORD,
	PH_JOURNAL_COMPACT,
	PH_JOURNAL_REOPEN,
	PH_JOURNAL_PROBE,
	PH_JOURNAL_KEEP
};

struct ph_journal_item {
	struct ph_journal_item *next;
	enum ph_journal_kind kind;
	uint64_t ticket;
	struct ph_journal_snapshot *snapshot; /* of a rewrite; owned */
	char name[PH_JOURNAL_KEEP_NAME];      /* of the file of a KEEP */
	struct ph_err *why;		      /* its sentence; owned */

	/* the answer */
	int result;
	int broken; /* -errno where the journal failed with this item, else 0 */
	struct ph_id id;
	uint64_t bytes; /* of the file */
	bool low;

	size_t n;
	char payload[];
};

struct ph_journal_list {
	struct ph_journal_item *first, **end;
};

struct ph_journal_thread {
	pthread_t thread;
	bool started;
	int eventfd; /* readable when there are answers */

	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct ph_journal_list queue, answers; /* under the lock, as `stop` */
	bool stop;

	/* the loop's own */
	bool holding;
	struct ph_journal_list held; /* until the release */

	/* the thread's own, once it runs */
	struct ph_journal_file file;
	struct ph_journal_ops ops;
	char *dir;
	char *buffer;	   /* PH_JOURNAL_BUFFER_BYTES */
	int broken;	   /* 0, or the -errno with which everything but a reopening is answered */
	uint64_t reserved; /* blocks are there up to this offset; UINT64_MAX: it cannot be told */
	bool low;
};

/* `dir` is copied. Errors: -ENOMEM, -errno of eventfd. fini() after any of them, too. */
PH_MUST_CHECK int ph_journal_thread_init(
	struct ph_journal_thread *t, const char *dir, const struct ph_journal_ops *ops);
/* Sees to the reserve, and sets `low`; before the start, else in the thread. */
void ph_journal_thread_reserve(struct ph_journal_thread *t);
/* With file and broken set. Errors: -errno of pthread_create. */
PH_MUST_CHECK int ph_journal_thread_start(struct ph_journal_thread *t);
/* Works off the queue, joins, closes the file and frees all items. */
void ph_journal_thread_fini(struct ph_journal_thread *t);

/* Takes `item`. */
void ph_journal_thread_put(struct ph_journal_thread *t, struct ph_journal_item *item);
/* What is put in until the release comes to the thread as one. */
void ph_journal_thread_hold(struct ph_journal_thread *t);
void ph_journal_thread_release(struct ph_journal_thread *t);
/* All answers so far, first one first; the caller's to free with ph_journal_item_free(). */
struct ph_journal_item *ph_journal_thread_take(struct ph_journal_thread *t);

void ph_journal_item_free(struct ph_journal_item *item);

#endif
