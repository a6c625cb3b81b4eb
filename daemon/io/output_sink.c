/* Where the output of children goes: files, the journal, the daemon's own output. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/output_int.h"

#define BUSY_MS 5   /* until a line of somebody else is looked for its end */
#define FULL_MS 200 /* until a disk that was full is tried again, and a reader at the latest */

/* ---- life */

int ph_output_sinks_init(struct ph_output *output, const struct ph_output_settings *settings)
{
	output->out.to = output->err.to = PH_OUTPUT_RELAY;
	output->journal.to = PH_OUTPUT_JOURNAL;
	ph_relay_init(&output->out.relay, settings->out);
	ph_relay_init(&output->err.relay, settings->err);
	return ph_journald_open(&output->journald, settings->journal);
}

static void file_free(struct ph_output *output, struct ph_output_sink *sink)
{
	DL_DELETE(output->files, sink);
	ph_logfile_fini(&sink->file);
	free(sink);
}

void ph_output_sinks_fini(struct ph_output *output)
{
	while (output->files)
		file_free(output, output->files);
	ph_relay_fini(&output->out.relay);
	ph_relay_fini(&output->err.relay);
	ph_journald_close(&output->journald);
}

static struct ph_output_sink *file_find(struct ph_output *output, const char *path)
{
	struct ph_output_sink *sink;
	DL_FOREACH (output->files, sink) {
		if (!strcmp(sink->file.path, path))
			return sink;
	}
	return NULL;
}

/* An old worker and its successor share one; what the newer one's options say counts. */
static struct ph_output_sink *file_get(struct ph_output *output, struct ph_output_order *order)
{
	struct ph_output_sink *sink = file_find(output, order->file);
	struct ph_err err;
	if (sink) {
		ph_logfile_limit(&sink->file, order->size, order->keep);
		return sink;
	}
	sink = calloc(1, sizeof *sink);
	if (!sink)
		return NULL;
	int fd = order->file_fd;
	order->file_fd = -1;
	sink->to = PH_OUTPUT_FILE;
	if (fd < 0 && ph_logfile_open_fd(order->file, &fd, &err))
		ph_output_note(output, true, "%s/%u: %s: its output waits", order->key.child.s,
			order->key.instance, err.text);
	int error = ph_logfile_init(&sink->file, order->file, fd, order->size, order->keep);
	if (error && !sink->file.path) {
		free(sink);
		return NULL;
	}
	DL_APPEND(output->files, sink);
	return sink;
}

struct ph_output_sink *ph_output_sink_get(struct ph_output *output, struct ph_output_order *order)
{
	struct ph_output_sink *sink = NULL;
	if (order->to == PH_OUTPUT_FILE)
		sink = file_get(output, order);
	else if (order->to == PH_OUTPUT_JOURNAL)
		sink = &output->journal;
	else
		sink = order->stream == PH_OUTPUT_STDERR ? &output->err : &output->out;
	if (sink)
		sink->users++;
	return sink;
}

/* Texts of other nodes were never compared with those of this one, so check cannot find them. */
void ph_output_sink_met(struct ph_output *output, const struct ph_output_fifo *fifo)
{
	const struct ph_output_fifo *other;
	struct ph_output_sink *sink = fifo->sink;
	if (sink->to != PH_OUTPUT_FILE || sink->users < 2 || sink->shared_told)
		return;
	DL_FOREACH (output->fifos, other) {
		if (other->sink == sink && !ph_key_equal(&other->key, &fifo->key))
			break;
	}
	if (!other)
		return;
	sink->shared_told = true;
	ph_output_note(output, true,
		"%s/%u and %s/%u write to one file, '%s': one of them needs another log.path",
		other->key.child.s, other->key.instance, fifo->key.child.s, fifo->key.instance,
		sink->file.path);
}

/* ---- what is owed: the end of a line that had none */

static int pay(struct ph_output_sink *sink)
{
	while (sink->n_owed) {
		ssize_t n = sink->to == PH_OUTPUT_FILE
				    ? ph_logfile_put(&sink->file, sink->owed, sink->n_owed)
				    : ph_relay_put(&sink->relay, sink->owed, sink->n_owed);
		if (n < 0)
			return (int)n;
		size_t done = sink->to == PH_OUTPUT_FILE ? sink->n_owed : (size_t)n;
		memmove(sink->owed, sink->owed + done, sink->n_owed - done);
		sink->n_owed -= done;
	}
	return 0;
}

static void owe(struct ph_output_sink *sink, const char *text)
{
	sink->n_owed = strlen(text);
	memcpy(sink->owed, text, sink->n_owed);
	(void)pay(sink); /* what cannot be paid now comes before what is next */
}

void ph_output_sink_drop(struct ph_output *output, struct ph_output_fifo *fifo)
{
	struct ph_output_sink *sink = fifo->sink;
	if (sink->owner == fifo) {
		/* it has ended within a line, which nobody else is to continue */
		sink->owner = NULL;
		if (!sink->n_owed && sink->to != PH_OUTPUT_JOURNAL)
			owe(sink, "\n");
	}
	sink->users--;
	if (sink->to == PH_OUTPUT_FILE && !sink->users && !sink->file.compressing)
		file_free(output, sink);
}

/* ---- the daemon's own output */

static bool can_wait(int error)
{
	return error == ENOSPC || error == EDQUOT || error == EIO || error == ENOMEM ||
	       error == EROFS || error == EFBIG;
}

/* Where nobody reads it a child is not to wait: its lines are remembered, and that is all. */
static ssize_t relay(
	struct ph_output_fifo *fifo, struct ph_output_sink *sink, const char *bytes, size_t n)
{
	ssize_t took = ph_relay_take(&sink->relay, fifo->fd, bytes, n);
	if (took >= 0 || took == -EAGAIN || can_wait((int)-took)) {
		sink->lost = took > 0 ? 0 : sink->lost;
		return took;
	}
	if (sink->lost != (int)-took)
		ph_output_note(fifo->output, true,
			"cannot write to the daemon's own output: %s: what children write there is "
			"lost",
			strerror((int)-took));
	sink->lost = (int)-took;
	sink->n_owed = 0;
	ph_pipe_discard(fifo->fd, n);
	return (ssize_t)n;
}

/* ---- the journal */

static ssize_t instead(struct ph_output_fifo *fifo, const char *bytes, size_t n, int error)
{
	struct ph_output *output = fifo->output;
	if (!output->journal_told)
		ph_output_note(output, true,
			"no journal at %s (%s): what children write for it goes to the output of "
			"the daemon",
			output->journald.path, strerror(error));
	output->journal_told = true;
	return relay(fifo, &output->out, bytes, n);
}

static int send_piece(struct ph_output_fifo *fifo, const struct ph_piece *piece)
{
	const struct ph_journald_line line = {
		.text = piece->text,
		.n = piece->n,
		.child = fifo->key.child.s,
		.instance = fifo->key.instance,
		.node = fifo->output->node.s,
		.cut = piece->cut,
	};
	return piece->n ? ph_journald_send(&fifo->output->journald, &line) : 0;
}

static bool nobody_there(int error)
{
	return error && error != -EAGAIN && error != -ENOBUFS && error != -ENOMEM &&
	       error != -EINTR && error != -EMFILE && error != -ENFILE;
}

/* Each line leaves the FIFO when it is there, so that at most one is there twice. */
static ssize_t journal_lines(struct ph_output_fifo *fifo, const char *bytes, size_t n)
{
	struct ph_piece piece;
	size_t at = 0;
	int error = 0;
	while (at < n && ph_piece_next(bytes + at, n - at, true, false, &piece)) {
		error = send_piece(fifo, &piece);
		if (error)
			break;
		ph_pipe_discard(fifo->fd, piece.taken);
		at += piece.taken;
	}
	if (at) {
		if (!error && fifo->output->journal_told)
			ph_output_note(fifo->output, false, "the journal is there again");
		fifo->output->journal_told = fifo->output->journal_told && error;
		return (ssize_t)at;
	}
	return nobody_there(error) ? instead(fifo, bytes, n, -error) : error ? -EAGAIN : 0;
}

static ssize_t journal_piece(struct ph_output_fifo *fifo, const struct ph_piece *piece)
{
	int error = send_piece(fifo, piece);
	if (nobody_there(error))
		return instead(fifo, piece->text, piece->n, -error);
	if (error)
		return -EAGAIN;
	ph_pipe_discard(fifo->fd, piece->taken);
	return (ssize_t)piece->taken;
}

/* ---- files and the daemon's output */

static ssize_t take(struct ph_output_fifo *fifo, const char *bytes, size_t n)
{
	struct ph_output_sink *sink = fifo->sink;
	if (sink->owner && sink->owner != fifo)
		return -EBUSY;
	int error = pay(sink);
	if (error == -EAGAIN || (error && can_wait(-error)))
		return error;
	if (error)
		sink->n_owed = 0; /* a file that could not be opened, a reader that is gone */
	return sink->to == PH_OUTPUT_FILE
		       ? ph_logfile_take(&sink->file, fifo->fd, bytes, n, fifo->output->now_ms)
		       : relay(fifo, sink, bytes, n);
}

/* Where the helper is to write: here, as the loop asks this file system for nothing. */
static int open_made(struct ph_output *output, const char *path)
{
	char made[PATH_MAX];
	int n = snprintf(made, sizeof made, "%s" PH_LOGFILE_MADE, path);
	if (n < 0 || n >= PATH_MAX)
		return -1;
	(void)unlink(made);
	int fd = open(made, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0640);
	if (fd < 0 && !output->made_told)
		ph_output_note(output, true, "old files of output stay uncompressed: '%s': %s",
			made, strerror(errno));
	output->made_told = output->made_told || fd < 0;
	return fd;
}

/* The newest old file but one is for a helper to compress, which only the loop can start. */
static void want_compression(struct ph_output *output, struct ph_output_sink *sink)
{
	char name[PATH_MAX];
	unsigned number = sink->file.wants;
	sink->file.wants = 0;
	ph_logfile_name(&sink->file, number, "", name);
	int fd = open(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	int made = fd < 0 ? -1 : open_made(output, sink->file.path);
	struct ph_output_news *news = made < 0 ? NULL : ph_output_tell(output, PH_OUTPUT_COMPRESS);
	char *path = news ? strdup(sink->file.path) : NULL;
	if (!path) {
		if (fd >= 0)
			close(fd);
		if (made >= 0)
			close(made);
		return;
	}
	news->text = path;
	news->fd = fd;
	news->made_fd = made;
	sink->file.compressing = number;
}

static void after_file(struct ph_output_fifo *fifo)
{
	struct ph_output_sink *sink = fifo->sink;
	if (sink->file.failed && !sink->failed)
		ph_output_note(fifo->output, true,
			"%s/%u: no new file can be begun for '%s': %s: the old one goes on",
			fifo->key.child.s, fifo->key.instance, sink->file.path,
			strerror(sink->file.failed));
	sink->file.failed = 0;
	if (sink->file.wants)
		want_compression(fifo->output, sink);
}

ssize_t ph_output_sink_lines(struct ph_output_fifo *fifo, const char *bytes, size_t n)
{
	struct ph_output_sink *sink = fifo->sink;
	if (sink->to == PH_OUTPUT_JOURNAL)
		return journal_lines(fifo, bytes, n);
	ssize_t took = take(fifo, bytes, n);
	if (took > 0)
		sink->owner = bytes[took - 1] == '\n' ? NULL : fifo;
	if (took > 0 && sink->to == PH_OUTPUT_FILE)
		after_file(fifo);
	return took;
}

ssize_t ph_output_sink_piece(struct ph_output_fifo *fifo, const struct ph_piece *piece)
{
	struct ph_output_sink *sink = fifo->sink;
	if (sink->to == PH_OUTPUT_JOURNAL)
		return journal_piece(fifo, piece);
	ssize_t took = take(fifo, piece->text, piece->n);
	if (took <= 0)
		return took;
	bool all = (size_t)took == piece->n;
	/* in a file a line stays whole, however long it is: nobody else writes there */
	bool goes_on = !all || (piece->cut && sink->to == PH_OUTPUT_FILE);
	sink->owner = goes_on ? fifo : NULL;
	if (!goes_on)
		owe(sink, piece->cut ? "\\\n" : "\n");
	if (sink->to == PH_OUTPUT_FILE)
		after_file(fifo);
	return took;
}

/* ---- what goes wrong */

void ph_output_sink_failed(struct ph_output_fifo *fifo, int error)
{
	struct ph_output_sink *sink = fifo->sink;
	uint64_t now = fifo->output->now_ms;
	if (error == EBUSY) { /* another one is in the middle of a line */
		fifo->not_before = now + BUSY_MS;
		return;
	}
	if (error == EAGAIN || error == EINTR) {
		sink->pause_ms = !sink->pause_ms	    ? 1
				 : sink->pause_ms < FULL_MS ? 2 * sink->pause_ms
							    : FULL_MS;
		sink->not_before = now + sink->pause_ms;
		return;
	}
	sink->not_before = now + FULL_MS;
	if (!sink->failed && sink->to == PH_OUTPUT_FILE)
		ph_output_note(fifo->output, true,
			"%s/%u: cannot write to '%s': %s: its output waits", fifo->key.child.s,
			fifo->key.instance, sink->file.path, strerror(error));
	else if (!sink->failed)
		ph_output_note(fifo->output, true,
			"cannot write to the daemon's own output: %s: what children write waits",
			strerror(error));
	sink->failed = error;
}

void ph_output_sink_works(struct ph_output_fifo *fifo)
{
	struct ph_output_sink *sink = fifo->sink;
	if (sink->failed && sink->to == PH_OUTPUT_FILE)
		ph_output_note(fifo->output, false, "%s/%u: writes to '%s' again",
			fifo->key.child.s, fifo->key.instance, sink->file.path);
	sink->failed = 0;
	sink->pause_ms = 0;
}

/* ---- orders */

/* It goes on where it was if the new file cannot be had. */
static void move_to(
	struct ph_output *output, struct ph_output_fifo *fifo, struct ph_output_order *order)
{
	struct ph_err err;
	if (!file_find(output, order->file) && order->file_fd < 0 &&
		ph_logfile_open_fd(order->file, &order->file_fd, &err)) {
		ph_output_note(output, true, "%s/%u: %s: its output goes on to '%s'",
			order->key.child.s, order->key.instance, err.text, fifo->sink->file.path);
		return;
	}
	order->to = PH_OUTPUT_FILE;
	char *path = strdup(order->file);
	struct ph_output_sink *sink = path ? ph_output_sink_get(output, order) : NULL;
	if (!sink) {
		free(path);
		ph_output_note(output, true, "%s/%u: no memory for another file of its output",
			order->key.child.s, order->key.instance);
		return;
	}
	ph_output_sink_drop(output, fifo);
	fifo->sink = sink;
	ph_output_sink_met(output, fifo);
	free(fifo->memory->file);
	fifo->memory->file = path;
}

void ph_output_sink_options(struct ph_output *output, struct ph_output_order *order)
{
	struct ph_output_fifo *fifo;
	DL_FOREACH (output->fifos, fifo) {
		if (fifo->sink->to != PH_OUTPUT_FILE || !ph_key_equal(&fifo->key, &order->key) ||
			!order->file)
			continue;
		if (strcmp(fifo->sink->file.path, order->file) != 0)
			move_to(output, fifo, order);
		else
			ph_logfile_limit(&fifo->sink->file, order->size, order->keep);
		fifo->memory->keep = order->keep;
	}
}

void ph_output_files_look(struct ph_output *output)
{
	struct ph_output_sink *sink;
	DL_FOREACH (output->files, sink) {
		ph_logfile_look(&sink->file);
	}
}

void ph_output_compressed(struct ph_output *output, const struct ph_output_order *order)
{
	struct ph_output_sink *sink = file_find(output, order->file);
	if (!sink || !sink->file.compressing) {
		(void)unlink(order->made);
		return;
	}
	ph_logfile_compressed(&sink->file, order->made, order->ok);
	if (sink->file.wants)
		want_compression(output, sink);
	if (!sink->users && !sink->file.compressing)
		file_free(output, sink);
}
