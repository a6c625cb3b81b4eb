/* The newest lines of each instance, and who asks for them. */
#include <stdlib.h>
#include <string.h>

#include "io/output_int.h"

#define LEAST_RING (8u << 10)
#define PIECE_BYTES (64u << 10) /* of lines in one piece of news */
#define MEMORIES 4096u		/* instances that are remembered; those that run here always are */

/* ---- memories */

static void memory_free(struct ph_output *output, struct ph_output_memory *memory)
{
	HASH_DEL(output->memories, memory);
	output->bytes -= memory->ring.bytes;
	ph_outring_free(&memory->ring);
	free(memory->file);
	free(memory);
}

/* The one that was made first of those whose workers are gone. */
static void forget_one(struct ph_output *output)
{
	struct ph_output_memory *memory, *next;
	HASH_ITER (hh, output->memories, memory, next) {
		if (memory->fifos)
			continue;
		memory_free(output, memory);
		return;
	}
}

struct ph_output_memory *ph_output_memory_get(struct ph_output *output, const struct ph_key *key)
{
	struct ph_output_memory *memory;
	HASH_FIND(hh, output->memories, key, sizeof *key, memory);
	if (memory)
		return memory;
	if (HASH_COUNT(output->memories) >= MEMORIES)
		forget_one(output);
	memory = calloc(1, sizeof *memory);
	if (!memory)
		return NULL;
	memory->key = *key;
	HASH_ADD(hh, output->memories, key, sizeof memory->key, memory);
	return memory;
}

void ph_output_memories_free(struct ph_output *output)
{
	struct ph_output_memory *memory, *next;
	HASH_ITER (hh, output->memories, memory, next)
		memory_free(output, memory);
}

/* Of many talkative children each is remembered less. */
static size_t cap(const struct ph_output *output)
{
	size_t share = PH_OUTPUT_RINGS / (HASH_COUNT(output->memories) + 1u);
	return share > PH_OUTPUT_RING ? PH_OUTPUT_RING : share < LEAST_RING ? LEAST_RING : share;
}

void ph_output_remember(struct ph_output_fifo *fifo, const struct ph_piece *piece)
{
	struct ph_output *output = fifo->output;
	struct ph_outring *ring = &fifo->memory->ring;
	const struct ph_outline line = {.seq = ++output->seq,
		.at_ms = output->now_ms,
		.stream = fifo->stream,
		.cut = piece->cut,
		.n = piece->n};
	output->bytes -= ring->bytes;
	/* a line of the longest kind always finds its place */
	ph_outring_add(ring, &line, piece->text, cap(output) + piece->n);
	output->bytes += ring->bytes;
}

static bool matches(const struct ph_output_filter *filter, const struct ph_key *key)
{
	return ph_name_equal(&filter->child, &key->child) &&
	       (!filter->has_instance || filter->instance == key->instance);
}

/* ---- lines for a watch */

/* Lines on their way to a watch: several pieces of news, none of which keeps the loop for long. */
struct batch {
	struct ph_output *output;
	struct ph_output_watch *watch;
	struct ph_output_news *news; /* the newest */
	struct ph_output_line **tail;
	size_t bytes; /* of all */
};

static bool batch_begin(struct batch *batch)
{
	batch->news = ph_output_tell(batch->output, PH_OUTPUT_LINES);
	if (!batch->news)
		return false;
	batch->news->watch = batch->watch->number;
	batch->news->open = batch->watch->open;
	batch->tail = &batch->news->lines;
	return true;
}

/* Nothing where there is no memory. */
static struct ph_output_line *batch_add(
	struct batch *batch, const struct ph_key *key, const char *text, size_t n)
{
	bool begin = !batch->news || batch->news->bytes >= PIECE_BYTES;
	struct ph_output_line *line = calloc(1, sizeof *line + n + 1);
	if (!line || (begin && !batch_begin(batch))) {
		free(line);
		return NULL;
	}
	line->key = *key;
	line->n = n;
	memcpy(line->text, text, n);
	for (size_t i = 0; i < n; i++)
		if (!line->text[i])
			line->text[i] = '?'; /* so that it is a text */
	*batch->tail = line;
	batch->tail = &line->next;
	batch->news->bytes += sizeof *line + n;
	batch->bytes += sizeof *line + n;
	batch->watch->unpaid += sizeof *line + n;
	return line;
}

static void add_remembered(
	struct batch *batch, const struct ph_key *key, const struct ph_outline *from, bool gap)
{
	struct ph_output_line *line = batch_add(batch, key, from->text, from->n);
	if (!line)
		return;
	line->at_ms = from->at_ms;
	line->stream = from->stream;
	line->cut = from->cut;
	line->gap = gap;
}

/* Lines of files that are older than what is remembered. */
static void add_from_file(
	struct batch *batch, const struct ph_output_memory *memory, size_t n, size_t known)
{
	struct ph_logfile file = {.path = memory->file, .fd = -1, .keep = memory->keep};
	size_t bytes = 0, lines = 0, at = 0;
	char *text = ph_logfile_tail(&file, n, PH_OUTPUT_TAIL_BYTES, &bytes);
	for (size_t i = 0; text && i < bytes; i++)
		lines += text[i] == '\n';
	for (size_t old = lines > known ? lines - known : 0; old;) {
		struct ph_piece piece;
		if (!ph_piece_next(text + at, bytes - at, true, false, &piece))
			break;
		struct ph_output_line *line = batch_add(batch, &memory->key, piece.text, piece.n);
		if (line)
			line->cut = piece.cut;
		at += piece.taken;
		old -= !piece.cut;
	}
	free(text);
}

static void add_tail(struct batch *batch, const struct ph_output_memory *memory, size_t n)
{
	size_t known = memory->ring.n;
	if (memory->file && known < n)
		add_from_file(batch, memory, n, known);
	for (const struct ph_outline *line = ph_outring_tail(&memory->ring, n); line;
		line = line->next)
		add_remembered(batch, &memory->key, line, false);
}

static void add_recent(struct batch *batch, const struct ph_output_memory *memory, uint64_t from_ms)
{
	for (const struct ph_outline *line = memory->ring.first; line; line = line->next)
		if (line->at_ms >= from_ms)
			add_remembered(batch, &memory->key, line, false);
}

static int by_key(const struct ph_output_memory *a, const struct ph_output_memory *b)
{
	return ph_key_compare(&a->key, &b->key);
}

static size_t count_open(struct ph_output *output, const struct ph_output_filter *filter)
{
	struct ph_output_fifo *fifo;
	size_t n = 0;
	DL_FOREACH (output->fifos, fifo) {
		n += matches(filter, &fifo->key);
	}
	return n;
}

static void start(struct ph_output *output, struct ph_output_watch *watch,
	const struct ph_output_order *order)
{
	struct ph_output_memory *memory, *next;
	struct batch batch = {.output = output, .watch = watch};
	size_t lines = order->lines > PH_OUTPUT_TAIL_LINES ? PH_OUTPUT_TAIL_LINES : order->lines;
	uint64_t from_ms = order->age_ms < output->now_ms ? output->now_ms - order->age_ms : 0;
	bool more = false;
	watch->open = count_open(output, &watch->filter);
	watch->cursor = output->seq;
	HASH_SORT(output->memories, by_key);
	HASH_ITER (hh, output->memories, memory, next) {
		if (!matches(&watch->filter, &memory->key))
			continue;
		more = batch.bytes > PH_OUTPUT_TAILS;
		if (!more && order->age_ms)
			add_recent(&batch, memory, from_ms);
		else if (!more)
			add_tail(&batch, memory, lines);
	}
	if (!batch.news && !batch_begin(&batch))
		return;
	batch.news->last = true;
	batch.news->more = more;
}

/* ---- what comes from now on */

/* The oldest line that the watch has not got. */
static const struct ph_outline *next_line(const struct ph_output_watch *watch,
	const struct ph_outline **at, size_t n, size_t *ret_place)
{
	const struct ph_outline *best = NULL;
	for (size_t i = 0; i < n; i++) {
		while (at[i] && at[i]->seq <= watch->cursor)
			at[i] = at[i]->next;
		if (at[i] && (!best || at[i]->seq < best->seq)) {
			best = at[i];
			*ret_place = i;
		}
	}
	return best;
}

static void add_new(struct ph_output *output, struct ph_output_watch *watch, struct batch *batch)
{
	size_t room = HASH_COUNT(output->memories), n = 0, place = 0;
	struct ph_output_memory *memory, *next;
	struct ph_output_memory **memories = calloc(room + 1, sizeof(struct ph_output_memory *));
	const struct ph_outline **at = calloc(room + 1, sizeof(const struct ph_outline *)), *line;
	bool *gap = calloc(room + 1, sizeof *gap);
	HASH_ITER (hh, output->memories, memory, next) {
		if (!memories || !at || !gap || !matches(&watch->filter, &memory->key))
			continue;
		memories[n] = memory;
		gap[n] = memory->ring.dropped > watch->cursor;
		at[n++] = memory->ring.first;
	}
	while (watch->unpaid < PH_OUTPUT_BATCH && (line = next_line(watch, at, n, &place))) {
		add_remembered(batch, &memories[place]->key, line, gap[place]);
		gap[place] = false;
		watch->cursor = line->seq;
	}
	if (watch->unpaid < PH_OUTPUT_BATCH)
		watch->cursor = output->seq;
	free(memories);
	free(at);
	free(gap);
}

static bool has_new(struct ph_output *output, const struct ph_output_watch *watch)
{
	struct ph_output_memory *memory, *next;
	HASH_ITER (hh, output->memories, memory, next)
		if (memory->ring.last && memory->ring.last->seq > watch->cursor &&
			matches(&watch->filter, &memory->key))
			return true;
	return false;
}

static void serve(struct ph_output *output, struct ph_output_watch *watch)
{
	struct batch batch = {.output = output, .watch = watch};
	size_t open = output->changed ? count_open(output, &watch->filter) : watch->open;
	bool changed = open != watch->open;
	watch->open = open;
	if (watch->unpaid < PH_OUTPUT_BATCH && output->seq > watch->cursor &&
		has_new(output, watch))
		add_new(output, watch, &batch);
	if (changed && !batch.news)
		(void)batch_begin(&batch);
}

void ph_output_watches_serve(struct ph_output *output)
{
	struct ph_output_watch *watch;
	DL_FOREACH (output->watches, watch) {
		serve(output, watch);
	}
	output->changed = false;
}

/* ---- orders */

static struct ph_output_watch *find(struct ph_output *output, uint64_t number)
{
	struct ph_output_watch *watch;
	DL_FOREACH (output->watches, watch) {
		if (watch->number == number)
			return watch;
	}
	return NULL;
}

static void drop(struct ph_output *output, struct ph_output_watch *watch)
{
	DL_DELETE(output->watches, watch);
	free(watch);
}

void ph_output_watch_order(struct ph_output *output, const struct ph_output_order *order)
{
	struct ph_output_watch *watch = find(output, order->watch), once = {0};
	if (order->kind == PH_OUTPUT_CREDIT) {
		if (watch)
			watch->unpaid -=
				order->bytes < watch->unpaid ? order->bytes : watch->unpaid;
		return;
	}
	if (watch)
		drop(output, watch);
	if (order->kind == PH_OUTPUT_UNWATCH)
		return;
	watch = order->follow ? calloc(1, sizeof *watch) : &once;
	if (!watch)
		return;
	watch->number = order->watch;
	watch->filter = order->filter;
	watch->follow = order->follow;
	start(output, watch, order);
	if (order->follow)
		DL_APPEND(output->watches, watch);
}

void ph_output_watches_free(struct ph_output *output)
{
	while (output->watches)
		drop(output, output->watches);
}
