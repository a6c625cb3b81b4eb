#include "io/journal_thread.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void list_init(struct ph_journal_list *list)
{
	list->first = NULL;
	list->end = &list->first;
}

static void list_add(struct ph_journal_list *list, struct ph_journal_item *item)
{
	item->next = NULL;
	*list->end = item;
	list->end = &item->next;
}

static void list_free(struct ph_journal_list *list)
{
	for (struct ph_journal_item *item = list->first; item;) {
		struct ph_journal_item *next = item->next;
		ph_journal_item_free(item);
		item = next;
	}
	list_init(list);
}

void ph_journal_item_free(struct ph_journal_item *item)
{
	ph_journal_snapshot_free(item->snapshot);
	free(item->why);
	free(item);
}

/* ---- in the thread */

static void answer(struct ph_journal_thread *t, struct ph_journal_list *items)
{
	const uint64_t one = 1;
	if (!items->first)
		return;
	(void)pthread_mutex_lock(&t->lock);
	*t->answers.end = items->first;
	t->answers.end = items->end;
	(void)pthread_mutex_unlock(&t->lock);
	list_init(items);
	/* cannot fail: the counter never gets near its end */
	ssize_t n = write(t->eventfd, &one, sizeof one);
	(void)n;
}

/* From here on nothing more is written to this file. */
static int break_down(struct ph_journal_thread *t, int code)
{
	t->broken = code;
	t->low = false;
	if (t->file.fd >= 0)
		close(t->file.fd);
	t->file.fd = -1;
	return code;
}

/* Half of the reserve is always there; a file system that has no such thing is taken at its word.
 */
void ph_journal_thread_reserve(struct ph_journal_thread *t)
{
	t->low = false;
	if (t->broken || t->reserved >= t->file.bytes + PH_JOURNAL_RESERVE_BYTES / 2)
		return;
	if (!t->ops.reserve ||
		t->ops.reserve(t->file.fd, (off_t)t->file.bytes, PH_JOURNAL_RESERVE_BYTES) == 0)
		t->reserved =
			t->ops.reserve ? t->file.bytes + PH_JOURNAL_RESERVE_BYTES : UINT64_MAX;
	else if (errno == ENOSPC || errno == EDQUOT)
		t->low = true;
	else
		t->reserved = UINT64_MAX;
}

static int write_batch(struct ph_journal_thread *t, const struct ph_journal_item *first)
{
	size_t used = 0;
	uint64_t seq = t->file.seq;
	if (t->broken)
		return t->broken;
	for (const struct ph_journal_item *item = first; item; item = item->next)
		used += ph_journal_format(t->buffer + used, &t->file.id, ++seq, t->file.seq + 1,
			item->payload, item->n);
	int r = ph_journal_write(&t->ops, t->file.fd, t->buffer, used);
	if (!r && t->ops.datasync(t->file.fd) < 0)
		r = -errno;
	if (r)
		return r;
	t->file.seq = seq;
	t->file.bytes += used;
	ph_journal_thread_reserve(t);
	return 0;
}

/* Takes the records at the head of the list, up to the first rewrite and as many as the buffer
 * holds, and writes them as one batch. */
static struct ph_journal_item *handle_records(
	struct ph_journal_thread *t, struct ph_journal_item *first)
{
	struct ph_journal_list batch, done;
	struct ph_journal_item *item = first, *next;
	bool was_broken = t->broken != 0;
	size_t records = 0, bytes = 0;
	list_init(&batch);
	list_init(&done);
	for (; item && item->kind == PH_JOURNAL_RECORD; item = next) {
		bytes += item->n;
		if (++records > PH_JOURNAL_QUEUE_RECORDS || bytes > PH_JOURNAL_QUEUE_BYTES)
			break;
		next = item->next;
		list_add(&batch, item);
	}
	int r = write_batch(t, batch.first);
	if (r && !was_broken) {
		(void)break_down(t, r);
		batch.first->broken = r;
	}
	for (struct ph_journal_item *each = batch.first; each; each = next) {
		next = each->next;
		each->result = r;
		each->bytes = t->file.bytes;
		each->low = t->low;
		list_add(&done, each);
	}
	answer(t, &done);
	return item;
}

static int rewrite(struct ph_journal_thread *t, struct ph_journal_item *item)
{
	struct ph_journal_file made = t->file;
	bool replaced = false;
	int r = 0;
	if (item->kind == PH_JOURNAL_COMPACT && t->broken)
		return t->broken;
	if (item->kind == PH_JOURNAL_REOPEN)
		r = ph_journal_new_id(&made.id);
	if (!r)
		r = ph_journal_create(&t->ops, t->dir, item->snapshot, t->buffer, &made, &replaced);
	if (!r) {
		if (t->file.fd >= 0)
			close(t->file.fd);
		t->file = made;
		t->broken = 0;
		t->reserved = 0;
		ph_journal_thread_reserve(t);
	} else if (replaced && !t->broken) {
		/* nobody knows which of the two files the next open will find */
		item->broken = break_down(t, r);
	}
	return r;
}

static void handle_all(struct ph_journal_thread *t, struct ph_journal_item *item)
{
	while (item) {
		if (item->kind == PH_JOURNAL_RECORD) {
			item = handle_records(t, item);
			continue;
		}
		struct ph_journal_item *next = item->next;
		struct ph_journal_list done;
		if (item->kind == PH_JOURNAL_PROBE)
			ph_journal_thread_reserve(t);
		else if (item->kind == PH_JOURNAL_KEEP)
			item->result = t->ops.keep(
				t->dir, item->name, item->payload, item->n, 0600, item->why);
		else
			item->result = rewrite(t, item);
		ph_journal_snapshot_free(item->snapshot);
		item->snapshot = NULL;
		item->id = t->file.id;
		item->bytes = t->file.bytes;
		item->low = t->low;
		list_init(&done);
		list_add(&done, item);
		answer(t, &done);
		item = next;
	}
}

static void *run(void *arg)
{
	struct ph_journal_thread *t = arg;
	(void)pthread_setname_np(pthread_self(), "journal");
	for (;;) {
		(void)pthread_mutex_lock(&t->lock);
		while (!t->queue.first && !t->stop)
			(void)pthread_cond_wait(&t->wake, &t->lock);
		struct ph_journal_item *items = t->queue.first;
		list_init(&t->queue);
		(void)pthread_mutex_unlock(&t->lock);
		if (!items)
			return NULL;
		handle_all(t, items);
	}
}

/* ---- in the loop */

int ph_journal_thread_init(
	struct ph_journal_thread *t, const char *dir, const struct ph_journal_ops *ops)
{
	memset(t, 0, sizeof *t);
	t->file.fd = -1;
	t->ops = *ops;
	list_init(&t->queue);
	list_init(&t->answers);
	list_init(&t->held);
	(void)pthread_mutex_init(&t->lock, NULL);
	(void)pthread_cond_init(&t->wake, NULL);
	t->eventfd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (t->eventfd < 0)
		return -errno;
	t->dir = strdup(dir);
	t->buffer = malloc(PH_JOURNAL_BUFFER_BYTES);
	return t->dir && t->buffer ? 0 : -ENOMEM;
}

int ph_journal_thread_start(struct ph_journal_thread *t)
{
	sigset_t all, before;
	/* signals are the loop's */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	int r = pthread_create(&t->thread, NULL, run, t);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	t->started = r == 0;
	return -r;
}

void ph_journal_thread_fini(struct ph_journal_thread *t)
{
	ph_journal_thread_release(t);
	if (t->started) {
		(void)pthread_mutex_lock(&t->lock);
		t->stop = true;
		(void)pthread_cond_signal(&t->wake);
		(void)pthread_mutex_unlock(&t->lock);
		(void)pthread_join(t->thread, NULL);
	}
	list_free(&t->queue);
	list_free(&t->answers);
	(void)pthread_cond_destroy(&t->wake);
	(void)pthread_mutex_destroy(&t->lock);
	if (t->file.fd >= 0)
		close(t->file.fd);
	if (t->eventfd >= 0)
		close(t->eventfd);
	free(t->dir);
	free(t->buffer);
}

void ph_journal_thread_put(struct ph_journal_thread *t, struct ph_journal_item *item)
{
	list_add(&t->held, item);
	if (!t->holding)
		ph_journal_thread_release(t);
}

void ph_journal_thread_hold(struct ph_journal_thread *t)
{
	t->holding = true;
}

void ph_journal_thread_release(struct ph_journal_thread *t)
{
	t->holding = false;
	if (!t->held.first)
		return;
	(void)pthread_mutex_lock(&t->lock);
	bool idle = !t->queue.first;
	*t->queue.end = t->held.first;
	t->queue.end = t->held.end;
	if (idle)
		(void)pthread_cond_signal(&t->wake);
	(void)pthread_mutex_unlock(&t->lock);
	list_init(&t->held);
}

struct ph_journal_item *ph_journal_thread_take(struct ph_journal_thread *t)
{
	uint64_t count;
	ssize_t n = read(t->eventfd, &count, sizeof count);
	(void)n; /* nothing there: then there are no answers either */
	(void)pthread_mutex_lock(&t->lock);
	struct ph_journal_item *items = t->answers.first;
	list_init(&t->answers);
	(void)pthread_mutex_unlock(&t->lock);
	return items;
}
