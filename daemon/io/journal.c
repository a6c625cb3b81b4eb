#include "io/journal.h"

#include "io/durable.h"
#include "io/journal_thread.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <event2/event.h>

enum phase {
	WORKING,
	FAILED,
	REOPENING, /* asked for: appends wait behind it */
};

struct ph_journal {
	struct ph_journal_thread thread;
	struct event *event;
	enum phase phase;
	bool rewriting;
	struct ph_id id;
	uint64_t bytes;	     /* of the file, as the last answer told */
	size_t queued_bytes; /* undecided */
	size_t queued_records;
	void (*done)(void *arg, uint64_t ticket, int result);
	void (*failed)(void *arg, int result);
	void (*rewritten)(void *arg, int result);
	void (*told_low)(void *arg, bool low);
	void (*kept)(void *arg, uint64_t ticket, int result, const char *why);
	void *arg;
	bool low, probing;
};

const char *ph_journal_found_word(enum ph_journal_found found)
{
	static const char *const words[] = {
#define X(name, word) [PH_JOURNAL_##name] = word,
		PH_JOURNAL_FOUND(X)
#undef X
	};
	return words[found];
}

/* ---- answers */

static void handle_answer(struct ph_journal *journal, const struct ph_journal_item *item)
{
	journal->bytes = item->bytes;
	if (item->broken) {
		journal->phase = FAILED;
		journal->failed(journal->arg, item->broken);
	}
	if (item->low != journal->low) {
		journal->low = item->low;
		if (journal->told_low)
			journal->told_low(journal->arg, item->low);
	}
	if (item->kind == PH_JOURNAL_PROBE) {
		journal->probing = false;
		return;
	}
	if (item->kind == PH_JOURNAL_KEEP) {
		if (journal->kept)
			journal->kept(journal->arg, item->ticket, item->result, item->why->text);
		return;
	}
	if (item->kind == PH_JOURNAL_RECORD) {
		journal->queued_bytes -= item->n;
		journal->queued_records--;
		journal->done(journal->arg, item->ticket, item->result);
		return;
	}
	journal->rewriting = false;
	if (!item->result)
		journal->id = item->id;
	if (item->kind == PH_JOURNAL_REOPEN)
		journal->phase = item->result ? FAILED : WORKING;
	journal->rewritten(journal->arg, item->result);
}

static void answered(evutil_socket_t fd, short what, void *arg)
{
	struct ph_journal *journal = arg;
	(void)fd;
	(void)what;
	struct ph_journal_item *item = ph_journal_thread_take(&journal->thread);
	while (item) {
		struct ph_journal_item *next = item->next;
		handle_answer(journal, item);
		ph_journal_item_free(item);
		item = next;
	}
}

/* ---- open */

static int reserve(int fd, off_t at, off_t n)
{
	return fallocate(fd, FALLOC_FL_KEEP_SIZE, at, n);
}

static const struct ph_journal_ops real_ops = {
	write, fdatasync, fsync, rename, reserve, ph_durable_write};

/* Opens what is there. 0, or -errno; *ret_writable 0 or why only reading was possible. */
static int open_file(const char *path, int *ret_fd, int *ret_writable)
{
	struct stat st;
	*ret_writable = 0;
	int fd = open(path, O_RDWR | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
	if (fd < 0 && (errno == EROFS || errno == EACCES || errno == ETXTBSY)) {
		*ret_writable = -errno;
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
	}
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return -EBADMSG;
	}
	*ret_fd = fd;
	return 0;
}

/*
 * What an earlier process wrote may still be on its way to the disk: it is synced before anybody
 * acts on it. 0 or -errno.
 */
static int settle(int fd, const struct ph_journal_scan *scan, const struct ph_journal_ops *ops)
{
	if (scan->torn && ftruncate(fd, (off_t)scan->good_end) < 0)
		return -errno;
	return ops->sync(fd) < 0 ? -errno : 0;
}

/* Checks all of the file, then delivers. 0; -EBADMSG and others: it is not to be used. */
static int read_file(const struct ph_journal_config *config, int fd, struct ph_journal_scan *scan,
	struct ph_err *err)
{
	int r = ph_journal_scan(fd, NULL, NULL, scan, err);
	if (r)
		return r;
	if (config->known_id && !ph_id_equal(config->known_id, &scan->id)) {
		char found[PH_ID_TEXT_SIZE], known[PH_ID_TEXT_SIZE];
		return ph_err_set(err, EBADMSG, "it has the id %s, expected %s",
			ph_id_text(&scan->id, found), ph_id_text(config->known_id, known));
	}
	return ph_journal_scan(fd, config->record, config->arg, scan, err);
}

static void report_failure(struct ph_journal_report *report, int code, const char *what)
{
	report->failed = code;
	(void)ph_err_set(&report->why, -code, "%s: %s", what, strerror(-code));
}

/* Uses the file that stands there. 0, or -errno: it is missing or not to be used. */
static int use_existing(struct ph_journal *journal, const struct ph_journal_config *config,
	const char *path, struct ph_journal_report *report)
{
	struct ph_journal_thread *t = &journal->thread;
	struct ph_journal_scan scan;
	int fd = -1, writable = 0;
	int r = open_file(path, &fd, &writable);
	if (r)
		return ph_err_set(&report->why, -r, "cannot be opened: %s", strerror(-r));
	r = read_file(config, fd, &scan, &report->why);
	if (r) {
		close(fd);
		return r;
	}
	report->found = scan.torn ? PH_JOURNAL_TORN : PH_JOURNAL_OK;
	if (scan.torn)
		(void)ph_err_set(&report->why, 0, "an unfinished record at byte %llu was cut off",
			(unsigned long long)scan.good_end);
	report->records = scan.records;
	t->file = (struct ph_journal_file){fd, scan.id, scan.seq, scan.good_end};
	r = writable ? writable : settle(fd, &scan, &t->ops);
	if (r) {
		report_failure(report, r, "the journal cannot be written");
		close(fd);
		t->file.fd = -1;
	}
	return 0;
}

/* Begins a new file where there is none, or none to be used. */
static void begin_new(struct ph_journal *journal, bool aside, struct ph_journal_report *report)
{
	struct ph_journal_thread *t = &journal->thread;
	struct ph_journal_file made = {.fd = -1};
	bool replaced;
	int r = aside ? ph_journal_set_aside(t->dir) : 0;
	if (!r)
		r = ph_journal_new_id(&made.id);
	if (!r)
		r = ph_journal_create(&t->ops, t->dir, NULL, t->buffer, &made, &replaced);
	if (r)
		report_failure(report, r, "no new journal can be made");
	else
		t->file = made;
}

static int load(struct ph_journal *journal, const struct ph_journal_config *config,
	struct ph_journal_report *report)
{
	char path[PATH_MAX];
	int n = snprintf(path, sizeof path, "%s/" PH_JOURNAL_NAME, config->dir);
	if (n < 0 || (size_t)n >= sizeof path)
		return -ENAMETOOLONG;
	int r = use_existing(journal, config, path, report);
	if (r == -ENOMEM || r == -EMFILE || r == -ENFILE)
		return r;
	if (r == -ENOENT && !config->known_id) {
		report->found = PH_JOURNAL_NEW;
		report->why.text[0] = '\0';
	} else if (r) {
		report->found = PH_JOURNAL_UNREADABLE;
		if (r == -ENOENT)
			(void)ph_err_set(&report->why, 0, "it is missing");
		ph_err_prefix(&report->why, "%s", path);
	}
	if (r)
		begin_new(journal, r != -ENOENT, report);
	journal->id = journal->thread.file.id;
	journal->bytes = report->bytes = journal->thread.file.bytes;
	if (report->failed) {
		journal->phase = FAILED;
		journal->thread.broken = report->failed;
	}
	return 0;
}

int ph_journal_open(struct event_base *base, const struct ph_journal_config *config,
	struct ph_journal **ret, struct ph_journal_report *ret_report, struct ph_err *err)
{
	struct ph_journal_report report;
	struct ph_journal *journal = calloc(1, sizeof *journal);
	if (!journal)
		return ph_err_set(err, ENOMEM, "no memory for the journal");
	memset(&report, 0, sizeof report);
	journal->done = config->done;
	journal->failed = config->failed;
	journal->rewritten = config->rewritten;
	journal->told_low = config->low;
	journal->kept = config->kept;
	journal->arg = config->arg;
	int r = ph_journal_thread_init(
		&journal->thread, config->dir, config->ops ? config->ops : &real_ops);
	if (!r) {
		journal->event = event_new(
			base, journal->thread.eventfd, EV_READ | EV_PERSIST, answered, journal);
		r = journal->event && event_add(journal->event, NULL) == 0 ? 0 : -ENOMEM;
	}
	if (!r)
		r = load(journal, config, &report);
	if (!r) {
		ph_journal_thread_reserve(&journal->thread);
		journal->low = journal->thread.low;
		r = ph_journal_thread_start(&journal->thread);
	}
	if (r) {
		ph_journal_close(journal);
		return ph_err_set(
			err, -r, "cannot open the journal in '%s': %s", config->dir, strerror(-r));
	}
	*ret_report = report;
	*ret = journal;
	return 0;
}

void ph_journal_close(struct ph_journal *journal)
{
	if (!journal)
		return;
	if (journal->event)
		event_free(journal->event);
	ph_journal_thread_fini(&journal->thread);
	free(journal);
}

struct ph_id ph_journal_id(const struct ph_journal *journal)
{
	return journal->id;
}

bool ph_journal_failed(const struct ph_journal *journal)
{
	return journal->phase != WORKING;
}

bool ph_journal_low(const struct ph_journal *journal)
{
	return journal->low;
}

void ph_journal_probe(struct ph_journal *journal)
{
	struct ph_journal_item *item = journal->probing ? NULL : calloc(1, sizeof *item);
	if (!item)
		return; /* one is on its way; or the next probe finds memory */
	item->kind = PH_JOURNAL_PROBE;
	journal->probing = true;
	ph_journal_thread_put(&journal->thread, item);
}

uint64_t ph_journal_bytes(const struct ph_journal *journal)
{
	return journal->bytes;
}

/* ---- orders */

static int put_record(struct ph_journal *journal, uint64_t ticket, const void *bytes, size_t n)
{
	if (journal->phase == FAILED)
		return -EIO;
	struct ph_journal_item *item = calloc(1, sizeof *item + n);
	if (!item)
		return -ENOMEM;
	item->kind = PH_JOURNAL_RECORD;
	item->ticket = ticket;
	item->n = n;
	memcpy(item->payload, bytes, n);
	journal->queued_bytes += n;
	journal->queued_records++;
	ph_journal_thread_put(&journal->thread, item);
	return 0;
}

int ph_journal_append(struct ph_journal *journal, uint64_t ticket, const void *bytes, size_t n)
{
	int r = ph_journal_check(bytes, n);
	if (!r && journal->phase != FAILED &&
		(journal->queued_records >= PH_JOURNAL_QUEUE_RECORDS ||
			journal->queued_bytes + n > PH_JOURNAL_QUEUE_BYTES))
		return -ENOSPC;
	return r ? r : put_record(journal, ticket, bytes, n);
}

int ph_journal_append_last(struct ph_journal *journal, const void *bytes, size_t n)
{
	int r = ph_journal_check(bytes, n);
	return r ? r : put_record(journal, 0, bytes, n);
}

void ph_journal_hold(struct ph_journal *journal)
{
	ph_journal_thread_hold(&journal->thread);
}

void ph_journal_release(struct ph_journal *journal)
{
	ph_journal_thread_release(&journal->thread);
}

int ph_journal_keep(
	struct ph_journal *journal, uint64_t ticket, const char *name, const void *bytes, size_t n)
{
	if (n > PH_JOURNAL_KEEP_MAX)
		return -EMSGSIZE;
	if (strlen(name) >= PH_JOURNAL_KEEP_NAME)
		return -ENAMETOOLONG;
	struct ph_journal_item *item = calloc(1, sizeof *item + n);
	if (!item)
		return -ENOMEM;
	item->why = calloc(1, sizeof *item->why);
	if (!item->why) {
		free(item);
		return -ENOMEM;
	}
	item->kind = PH_JOURNAL_KEEP;
	item->ticket = ticket;
	(void)snprintf(item->name, sizeof item->name, "%s", name);
	item->n = n;
	memcpy(item->payload, bytes, n);
	ph_journal_thread_put(&journal->thread, item);
	return 0;
}

int ph_journal_snapshot_new(struct ph_journal_snapshot **ret)
{
	struct ph_journal_snapshot *snapshot = calloc(1, sizeof *snapshot);
	if (!snapshot)
		return -ENOMEM;
	*ret = snapshot;
	return 0;
}

int ph_journal_snapshot_add(struct ph_journal_snapshot *snapshot, const void *bytes, size_t n)
{
	int r = ph_journal_check(bytes, n);
	uint32_t length = (uint32_t)n;
	if (r)
		return r;
	size_t wanted = snapshot->n + sizeof length + n;
	if (wanted > PH_JOURNAL_SNAPSHOT_BYTES)
		return -ENOSPC;
	if (wanted > snapshot->capacity) {
		size_t capacity = wanted < 4096 ? 4096 : wanted * 2;
		char *grown = realloc(snapshot->bytes, capacity);
		if (!grown)
			return -ENOMEM;
		snapshot->bytes = grown;
		snapshot->capacity = capacity;
	}
	memcpy(snapshot->bytes + snapshot->n, &length, sizeof length);
	memcpy(snapshot->bytes + snapshot->n + sizeof length, bytes, n);
	snapshot->n = wanted;
	snapshot->records++;
	return 0;
}

void ph_journal_snapshot_free(struct ph_journal_snapshot *snapshot)
{
	if (!snapshot)
		return;
	free(snapshot->bytes);
	free(snapshot);
}

static int put_rewrite(
	struct ph_journal *journal, enum ph_journal_kind kind, struct ph_journal_snapshot *snapshot)
{
	struct ph_journal_item *item = journal->rewriting ? NULL : calloc(1, sizeof *item);
	if (!item) {
		ph_journal_snapshot_free(snapshot);
		return journal->rewriting ? -EBUSY : -ENOMEM;
	}
	item->kind = kind;
	item->snapshot = snapshot;
	journal->rewriting = true;
	ph_journal_thread_put(&journal->thread, item);
	return 0;
}

int ph_journal_compact(struct ph_journal *journal, struct ph_journal_snapshot *snapshot)
{
	if (journal->phase == WORKING)
		return put_rewrite(journal, PH_JOURNAL_COMPACT, snapshot);
	ph_journal_snapshot_free(snapshot);
	return journal->phase == FAILED ? -EIO : -EBUSY;
}

int ph_journal_reopen(struct ph_journal *journal, struct ph_journal_snapshot *snapshot)
{
	if (journal->phase != FAILED) {
		ph_journal_snapshot_free(snapshot);
		return journal->phase == REOPENING ? -EBUSY : -EINVAL;
	}
	int r = put_rewrite(journal, PH_JOURNAL_REOPEN, snapshot);
	if (!r)
		journal->phase = REOPENING;
	return r;
}
