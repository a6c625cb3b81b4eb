/* Other nodes that ask for lines of this one's children. */
#include <stdlib.h>
#include <string.h>

#include "io/clock.h"
#include "shell_logs_int.h"

#define REPEAT_MS 500
#define SETTLE_MS 2000 /* before it is believed that no line will come any more */
#define LINES_MAX 2000 /* in one message */
#define PACE_MS 20u    /* between two messages of all that are served */

static struct ph_logs_serving *find(struct ph_shell_logs *logs, const struct ph_bmsg *message)
{
	struct ph_logs_serving *serving;
	DL_FOREACH (logs->serving, serving) {
		if (ph_id_equal(&serving->id, &message->id) &&
			ph_name_equal(&serving->node, &message->from))
			return serving;
	}
	return NULL;
}

static void drop_lines(struct ph_logs_serving *serving, size_t n)
{
	for (; n && serving->lines; n--) {
		struct ph_output_line *line = serving->lines;
		serving->lines = line->next;
		free(line);
	}
	if (!serving->lines)
		serving->tail = &serving->lines;
}

static void serving_free(struct ph_shell_logs *logs, struct ph_logs_serving *serving)
{
	ph_logs_unwatch(logs, serving->watch);
	drop_lines(serving, SIZE_MAX);
	DL_DELETE(logs->serving, serving);
	logs->n_serving--;
	free(serving);
}

/* ---- out */

static struct ph_log_line as_sent(const struct ph_output_line *line, uint64_t now)
{
	return (struct ph_log_line){
		.instance = line->key.instance,
		.replica = line->key.replica,
		.has_age = line->at_ms != 0,
		.age_ms = now > line->at_ms ? now - line->at_ms : 0,
		.stream = (uint32_t)line->stream,
		.cut = line->cut,
		.gap = line->gap,
		.text = line->text,
	};
}

/* Those at the head that fit into a message, at least one. */
static size_t count_piece(const struct ph_logs_serving *serving)
{
	size_t n = 0, bytes = 0;
	for (const struct ph_output_line *line = serving->lines; line && n < LINES_MAX;
		line = line->next, n++) {
		bytes += line->n + 64;
		if (n && bytes > PH_LOGS_PIECE)
			break;
	}
	return n;
}

static void send_piece(struct ph_shell_logs *logs, struct ph_logs_serving *serving)
{
	uint64_t now = ph_clock_now_ms();
	struct ph_log_line *lines = ph_shell_alloc((serving->n_sent + 1) * sizeof *lines);
	const struct ph_output_line *line = serving->lines;
	for (size_t i = 0; i < serving->n_sent; i++, line = line->next)
		lines[i] = as_sent(line, now);
	struct ph_bmsg message = {.kind = PH_B_LINES,
		.id = serving->id,
		.sequence = serving->sequence,
		.final = serving->final,
		.n_lines = serving->n_sent,
		.lines = lines};
	if (serving->final && serving->more)
		(void)snprintf(message.reason, sizeof message.reason, "%s", PH_LOGS_TOO_MANY);
	ph_logs_send(logs, &serving->node, &message);
	serving->sent_ms = now;
	free(lines);
}

/* Nothing of the filter runs here any more, nor is it to. */
static bool is_over(struct ph_shell_logs *logs, const struct ph_logs_serving *serving)
{
	if (!serving->follow)
		return serving->complete;
	return !serving->open && ph_clock_now_ms() > serving->began_ms + SETTLE_MS &&
	       !ph_logs_owned_by(logs->shell, &serving->filter, logs->shell->node);
}

static void go_on(struct ph_shell_logs *logs, struct ph_logs_serving *serving)
{
	/* heartbeats have their place, whatever is written here */
	uint64_t pace_ms = PACE_MS * logs->n_serving;
	if (serving->waiting || !serving->complete ||
		ph_clock_now_ms() < serving->sent_ms + pace_ms)
		return;
	serving->n_sent = count_piece(serving);
	const struct ph_output_line *line = serving->lines;
	for (size_t i = 0; i < serving->n_sent; i++)
		line = line->next;
	serving->final = !line && is_over(logs, serving);
	if (!serving->n_sent && !serving->final && serving->sequence)
		return;
	/* the first one comes even where there is nothing to say */
	serving->sequence++;
	serving->waiting = true;
	send_piece(logs, serving);
}

/* ---- in */

static void refuse(struct ph_shell_logs *logs, const struct ph_bmsg *message, const char *why)
{
	struct ph_bmsg answer = {.kind = PH_B_LINES,
		.id = message->id,
		.sequence = message->sequence + 1,
		.final = true};
	(void)snprintf(answer.reason, sizeof answer.reason, "%s", why);
	ph_logs_send(logs, &message->from, &answer);
}

static struct ph_logs_serving *begin(struct ph_shell_logs *logs, const struct ph_bmsg *message)
{
	if (logs->n_serving >= PH_LOGS_SERVED) {
		refuse(logs, message, "too many ask for lines there");
		return NULL;
	}
	struct ph_logs_serving *serving = ph_shell_alloc(sizeof *serving);
	serving->id = message->id;
	serving->node = message->from;
	serving->filter = (struct ph_output_filter){.child = message->key.child,
		.has_instance = !message->all_instances,
		.instance = message->key.instance};
	serving->follow = message->follow;
	serving->watch = ++logs->last_watch;
	serving->began_ms = ph_clock_now_ms();
	serving->sequence = message->sequence;
	serving->open = 1; /* until the thread says otherwise */
	serving->tail = &serving->lines;
	DL_APPEND(logs->serving, serving);
	logs->n_serving++;
	ph_logs_watch(logs, serving->watch, &serving->filter, message->n_last, message->since_ms,
		serving->follow);
	ph_logs_set_tick(logs);
	return serving;
}

void ph_logs_asked(struct ph_shell_logs *logs, const struct ph_bmsg *message)
{
	struct ph_logs_serving *serving = find(logs, message);
	if (!serving && message->final)
		return;
	if (!serving)
		serving = begin(logs, message);
	if (!serving)
		return;
	serving->heard_ms = ph_clock_now_ms();
	bool confirmed = serving->waiting && message->sequence == serving->sequence;
	if (message->final || (confirmed && serving->final)) {
		serving_free(logs, serving);
		return;
	}
	if (!confirmed)
		return;
	uint64_t bytes = 0;
	const struct ph_output_line *line = serving->lines;
	for (size_t i = 0; i < serving->n_sent; i++, line = line->next)
		bytes += sizeof *line + line->n;
	drop_lines(serving, serving->n_sent);
	serving->n_sent = 0;
	serving->waiting = false;
	if (bytes)
		ph_logs_credit(logs, serving->watch, bytes);
	go_on(logs, serving);
}

bool ph_logs_serve_news(struct ph_shell_logs *logs, const struct ph_output_news *news)
{
	struct ph_logs_serving *serving;
	DL_FOREACH (logs->serving, serving) {
		if (serving->watch == news->watch)
			break;
	}
	if (!serving)
		return false;
	for (const struct ph_output_line *line = news->lines; line; line = line->next) {
		struct ph_output_line *copy = ph_shell_alloc(sizeof *copy + line->n + 1);
		memcpy(copy, line, sizeof *line + line->n + 1);
		copy->next = NULL;
		*serving->tail = copy;
		serving->tail = &copy->next;
	}
	serving->open = news->open;
	serving->complete = serving->complete || news->last;
	serving->more = serving->more || news->more;
	go_on(logs, serving);
	return true;
}

void ph_logs_serve_tick(struct ph_shell_logs *logs)
{
	uint64_t now = ph_clock_now_ms();
	struct ph_logs_serving *serving, *next;
	DL_FOREACH_SAFE(logs->serving, serving, next)
	{
		if (now > serving->heard_ms + PH_LOGS_PATIENCE_MS)
			serving_free(logs, serving);
		else if (serving->waiting && now > serving->sent_ms + REPEAT_MS)
			send_piece(logs, serving);
		else
			go_on(logs, serving);
	}
}

void ph_logs_serve_free(struct ph_shell_logs *logs)
{
	while (logs->serving)
		serving_free(logs, logs->serving);
}
