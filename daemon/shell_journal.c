/* JOURNAL: records to io/journal and back; a failed journal is replaced, a large one made small. */
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "io/journal.h"
#include "proto/record.h"
#include "shell_parts.h"

#define COMPACT_BYTES (1u << 20) /* a file is not compacted below this ... */
#define COMPACT_TIMES 4u	 /* ... nor before it is so many times what it was */

#define HELD_BYTES (64u << 20) /* that wait for room in the journal's own queue */

static const struct timeval again = {1, 0};

/* A record that the journal's queue had no room for: a thousand children may be new at once. */
struct held {
	struct held *next;
	uint64_t ticket;
	size_t n;
	char *line;
};

struct restored {
	struct restored *next;
	struct ph_record record;
	struct ph_doc *doc;
	const struct ph_spec *spec;
};

struct ph_shell_records {
	struct ph_journal *journal;
	struct ph_journal_report found;
	struct restored *head, **tail; /* read, not yet given to core */
	struct event *retry;
	struct held *held, **held_tail;
	size_t held_bytes;
	uint64_t in_flight;   /* taken and not answered */
	uint64_t small_bytes; /* after the last compaction */
	bool damaged;	      /* a record was passed over: a promise may be missing */
	struct ph_id known;   /* of the journal that is lost: so says the state file, until ... */
	bool kept;	      /* ... something, LOST first of all, is in the new one */
	bool rewriting;
	bool reopening; /* the rewrite is to replace a failed journal */
	bool told;	/* that it has failed */
	bool due;	/* a reopening waits for the end of a turn */
};

struct ph_id ph_shell_records_id(const struct ph_shell *shell)
{
	const struct ph_shell_records *records = shell->records;
	bool lost = records->found.found == PH_JOURNAL_UNREADABLE && !ph_id_none(&records->known);
	return lost && !records->kept ? records->known : ph_journal_id(records->journal);
}

/* ---- reading at the start */

static void restored_free(void *arg)
{
	struct restored *restored = arg;
	ph_spec_free(restored->spec);
	ph_doc_free(restored->doc);
	free(restored);
}

static void on_record(void *arg, const char *bytes, size_t n)
{
	struct ph_shell *shell = arg;
	struct restored *restored = ph_shell_alloc(sizeof *restored);
	struct ph_err err;
	if (ph_record_decode(bytes, n, &restored->record, &restored->doc, &err)) {
		ph_shell_log(shell, PH_LOG_ERROR, "journal: a record is passed over: %s", err.text);
		shell->records->damaged = true;
		free(restored);
		return;
	}
	struct ph_record *record = &restored->record;
	if (record->kind == PH_RECORD_SPEC && record->text) {
		restored->spec = ph_shell_spec_of_text(
			shell, &record->key.child, record->text, record->revision, &err);
		if (!restored->spec)
			ph_shell_log(shell, PH_LOG_ERROR, "journal: the spec of child %s: %s",
				record->key.child.s, err.text);
		record->spec = restored->spec;
	}
	*shell->records->tail = restored;
	shell->records->tail = &restored->next;
}

void ph_shell_records_restore(struct ph_shell *shell)
{
	struct ph_shell_records *records = shell->records;
	while (records->head) {
		struct restored *restored = records->head;
		records->head = restored->next;
		struct ph_event event = {.kind = PH_EV_RESTORED, .record = &restored->record};
		ph_shell_push(shell, &event, restored_free, restored);
	}
	records->tail = &records->head;
}

void ph_shell_records_settings(struct ph_shell *shell, struct ph_settings *settings)
{
	const struct ph_shell_records *records = shell->records;
	settings->journal = ph_journal_id(records->journal);
	settings->journal_lost = records->found.found == PH_JOURNAL_UNREADABLE || records->damaged;
	settings->journal_writable = !records->found.failed && !ph_journal_low(records->journal);
}

/* ---- writing */

static void answer(struct ph_shell *shell, uint64_t ticket, int result)
{
	struct ph_event event = {.kind = PH_EV_JOURNALLED, .ticket = ticket, .error = -result};
	if (ticket)
		ph_shell_push(shell, &event, NULL, NULL);
}

static struct held *next_held(struct ph_shell_records *records)
{
	struct held *held = records->held;
	records->held = held->next;
	if (!records->held)
		records->held_tail = &records->held;
	records->held_bytes -= held->n;
	return held;
}

static void hold(struct ph_shell_records *records, uint64_t ticket, char *line, size_t n)
{
	struct held *held = ph_shell_alloc(sizeof *held);
	held->ticket = ticket;
	held->line = line;
	held->n = n;
	*records->held_tail = held;
	records->held_tail = &held->next;
	records->held_bytes += n;
}

/* What was held goes on as there is room; with a failed journal it fails as the rest did. */
static void append_held(struct ph_shell *shell)
{
	struct ph_shell_records *records = shell->records;
	while (records->held) {
		struct held *held = records->held;
		int error = ph_journal_append(records->journal, held->ticket, held->line, held->n);
		if (error == -ENOSPC)
			return;
		held = next_held(records);
		if (error) {
			records->in_flight--;
			answer(shell, held->ticket, error);
		}
		free(held->line);
		free(held);
	}
}

static void on_done(void *arg, uint64_t ticket, int result)
{
	struct ph_shell *shell = arg;
	shell->records->in_flight--;
	shell->records->kept |= result == 0;
	answer(shell, ticket, result);
	append_held(shell);
	ph_shell_wake(shell);
}

void ph_shell_records_hold(struct ph_shell *shell, bool hold)
{
	if (!shell->records || !shell->records->journal)
		return;
	if (hold)
		ph_journal_hold(shell->records->journal);
	else
		ph_journal_release(shell->records->journal);
}

void ph_shell_record_act(struct ph_shell *shell, const struct ph_action *action)
{
	struct ph_shell_records *records = shell->records;
	size_t n = 0;
	char *line = ph_record_encode(action->record, &n);
	int error = line ? 0 : -errno;
	if (!error && !records->held)
		error = ph_journal_append(records->journal, action->ticket, line, n);
	else if (!error)
		error = -ENOSPC;
	if (error == -ENOSPC && line && records->held_bytes + n <= HELD_BYTES) {
		hold(records, action->ticket, line, n);
		line = NULL;
		error = 0;
	}
	free(line);
	if (!error) {
		records->in_flight++;
		return;
	}
	if (error != -EIO) /* a failed journal was told of once */
		ph_shell_log(shell, PH_LOG_ERROR, "journal: a record of '%s' cannot be written: %s",
			ph_record_word(action->record->kind), strerror(-error));
	answer(shell, action->ticket, error);
}

/* ---- replacing the file */

static void add_to_snapshot(void *arg, const struct ph_record *record)
{
	struct ph_journal_snapshot **snapshot = arg;
	size_t n = 0;
	if (!*snapshot)
		return;
	char *line = ph_record_encode(record, &n);
	if (!line || ph_journal_snapshot_add(*snapshot, line, n)) {
		ph_journal_snapshot_free(*snapshot);
		*snapshot = NULL; /* rather no new file than one that forgets a promise */
	}
	free(line);
}

/* A smaller file leaves out what is settled. An older state file names workers that others have
 * followed since, and only those records tell: it is brought up to date first. */
static void rewrite(struct ph_shell *shell, bool reopen)
{
	struct ph_shell_records *records = shell->records;
	struct ph_journal_snapshot *snapshot = NULL;
	int error = reopen ? 0 : ph_shell_state_write(shell);
	if (!error)
		error = ph_journal_snapshot_new(&snapshot);
	if (!error) {
		ph_hub_records(shell->hub, add_to_snapshot, &snapshot);
		error = !snapshot ? -ENOSPC
			: reopen  ? ph_journal_reopen(records->journal, snapshot)
				  : ph_journal_compact(records->journal, snapshot);
	}
	records->due = false;
	records->rewriting = !error;
	records->reopening = !error && reopen;
	if (!error)
		return;
	if (!records->told)
		ph_shell_log(shell, PH_LOG_ERROR, "journal: cannot be written anew: %s",
			strerror(-error));
	if (reopen)
		evtimer_add(records->retry, &again);
	else
		records->small_bytes = ph_journal_bytes(records->journal);
}

static void on_rewritten(void *arg, int result)
{
	struct ph_shell *shell = arg;
	struct ph_shell_records *records = shell->records;
	bool reopened = records->reopening;
	records->rewriting = records->reopening = false;
	records->small_bytes = ph_journal_bytes(records->journal);
	if (!reopened)
		return;
	if (result) {
		evtimer_add(records->retry, &again);
		return;
	}
	records->told = false;
	ph_shell_log(shell, PH_LOG_INFO, "journal: a new file is in use");
	/* the state file must name it before anything relies on it */
	(void)ph_shell_state_write(shell);
	struct ph_event event = {.kind = PH_EV_JOURNAL_BACK, .id = ph_journal_id(records->journal)};
	ph_shell_push(shell, &event, NULL, NULL);
}

static void on_kept(void *arg, uint64_t ticket, int result, const char *why)
{
	struct ph_shell *shell = arg;
	ph_shell_renumbered(shell, ticket, result, why);
	ph_shell_wake(shell);
}

int ph_shell_records_keep(
	struct ph_shell *shell, uint64_t ticket, const char *name, const void *bytes, size_t n)
{
	return ph_journal_keep(shell->records->journal, ticket, name, bytes, n);
}

static void on_failed(void *arg, int result)
{
	struct ph_shell *shell = arg;
	char text[128];
	snprintf(text, sizeof text, "cannot be written: %s", strerror(-result));
	if (!shell->records->told)
		ph_shell_tell_people(shell, PH_EMIT_JOURNAL_FAILED, NULL, text);
	shell->records->told = true;
	evtimer_add(shell->records->retry, &again);
}

/* It is written to as before, but nothing begins that might not find room for its end. */
static void on_low(void *arg, bool low)
{
	struct ph_shell *shell = arg;
	struct ph_shell_records *records = shell->records;
	struct ph_event event = {.kind = PH_EV_JOURNAL_BACK, .id = ph_journal_id(records->journal)};
	if (low) {
		event = (struct ph_event){.kind = PH_EV_JOURNALLED,
			.error = ENOSPC,
			.text = "no room is left in reserve: no migration begins"};
		evtimer_add(records->retry, &again);
	}
	ph_shell_push(shell, &event, NULL, NULL);
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	struct ph_shell *shell = arg;
	struct ph_shell_records *records = shell->records;
	if (ph_journal_low(records->journal)) {
		ph_journal_probe(records->journal);
		evtimer_add(records->retry, &again);
		return;
	}
	records->due = ph_journal_failed(records->journal);
	ph_shell_wake(shell);
}

/* A snapshot says what core knows, so it is made only while no answer is on its way to core. */
void ph_shell_records_turn_end(struct ph_shell *shell)
{
	struct ph_shell_records *records = shell->records;
	if (records->rewriting || records->in_flight || !ph_shell_queue_empty(shell))
		return;
	if (ph_journal_failed(records->journal)) {
		if (records->due)
			rewrite(shell, true);
		return;
	}
	uint64_t bytes = ph_journal_bytes(records->journal);
	if (bytes > COMPACT_BYTES && bytes > COMPACT_TIMES * records->small_bytes)
		rewrite(shell, false);
}

/* ---- life */

int ph_shell_records_new(struct ph_shell *shell, const struct ph_id *known_id, struct ph_err *err)
{
	struct ph_shell_records *records = shell->records = ph_shell_alloc(sizeof *records);
	struct ph_journal_config config = {
		.dir = shell->state_dir,
		.known_id = known_id,
		.record = on_record,
		.done = on_done,
		.failed = on_failed,
		.rewritten = on_rewritten,
		.low = on_low,
		.kept = on_kept,
		.arg = shell,
	};
	records->known = known_id ? *known_id : (struct ph_id){{0}};
	records->tail = &records->head;
	records->held_tail = &records->held;
	records->retry = evtimer_new(shell->base, on_retry, shell);
	if (!records->retry)
		return ph_err_set(err, ENOMEM, "no memory");
	int error = ph_journal_open(shell->base, &config, &records->journal, &records->found, err);
	if (error)
		return error;
	if (records->found.why.text[0])
		ph_shell_log(shell, PH_LOG_WARNING, "journal (%s): %s",
			ph_journal_found_word(records->found.found), records->found.why.text);
	if (records->found.failed)
		on_failed(shell, records->found.failed);
	else if (ph_journal_low(records->journal))
		on_low(shell, true);
	return 0;
}

/* What had no room in the queue is no less promised than what had. */
static void append_last(struct ph_shell *shell)
{
	struct ph_shell_records *records = shell->records;
	while (records->held) {
		struct held *held = next_held(records);
		int error = ph_journal_append_last(records->journal, held->line, held->n);
		if (error && error != -EIO)
			ph_shell_log(shell, PH_LOG_ERROR, "journal: a record cannot be written: %s",
				strerror(-error));
		free(held->line);
		free(held);
	}
}

void ph_shell_records_free(struct ph_shell *shell)
{
	struct ph_shell_records *records = shell->records;
	if (!records)
		return;
	for (struct restored *r = records->head, *next; r; r = next) {
		next = r->next;
		restored_free(r);
	}
	append_last(shell);
	ph_journal_close(records->journal); /* written, synced */
	if (records->retry)
		event_free(records->retry);
	free(records);
	shell->records = NULL;
}
