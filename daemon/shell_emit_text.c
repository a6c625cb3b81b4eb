/* shell_emit_text.c - an event as JSON and as a line, and times as text. */
#include "shell_emit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "proto/bus.h"
#include "shell_view.h"

#define X(name, word) word,
static const char *const event_words[] = {PH_EMITS(X) NULL};
#undef X

/* ---- times */

void ph_time_text(uint64_t wall_ms, char ret[PH_TIME_TEXT_SIZE])
{
	struct tm utc = {0};
	char date[24] = "";
	time_t seconds = (time_t)(wall_ms / 1000);
	(void)gmtime_r(&seconds, &utc);
	(void)strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &utc);
	(void)snprintf(ret, PH_TIME_TEXT_SIZE, "%s.%03uZ", date, (unsigned)(wall_ms % 1000));
}

/* ".25" and what follows it; ms of the fraction. */
static const char *parse_fraction(const char *text, uint64_t *ret_ms)
{
	uint64_t scale = 100, ms = 0;
	*ret_ms = 0;
	if (*text != '.')
		return text;
	if (text[1] < '0' || text[1] > '9')
		return NULL;
	for (text++; *text >= '0' && *text <= '9'; text++, scale /= 10)
		ms += (uint64_t)(*text - '0') * scale;
	*ret_ms = ms;
	return text;
}

/* "Z", "+01:00" */
static int parse_offset(const char *text, int64_t *ret_seconds)
{
	unsigned hours, minutes;
	char end;
	if (!strcmp(text, "Z") || !strcmp(text, "z")) {
		*ret_seconds = 0;
		return 0;
	}
	if ((*text != '+' && *text != '-') || strlen(text) != 6 ||
		sscanf(text + 1, "%2u:%2u%c", &hours, &minutes, &end) != 2 || hours > 23 ||
		minutes > 59)
		return -EINVAL;
	*ret_seconds = (int64_t)(hours * 3600 + minutes * 60) * (*text == '-' ? -1 : 1);
	return 0;
}

int ph_time_parse(const char *text, uint64_t *ret_wall_ms)
{
	struct tm utc = {0};
	uint64_t ms = 0;
	int64_t offset = 0;
	const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &utc);
	if (rest)
		rest = parse_fraction(rest, &ms);
	if (!rest || parse_offset(rest, &offset))
		return -EINVAL;
	int64_t seconds = (int64_t)timegm(&utc) - offset;
	if (seconds < 0)
		return -EINVAL;
	*ret_wall_ms = (uint64_t)seconds * 1000 + ms;
	return 0;
}

/* ---- JSON */

struct filling {
	json_t *object;
	bool failed;
};

/* Takes `value`; NULL: no memory. */
static void put(struct filling *f, const char *name, json_t *value)
{
	if (!value || json_object_set_new(f->object, name, value))
		f->failed = true;
}

static void put_name(struct filling *f, const char *name, const struct ph_name *value)
{
	if (value->s[0])
		put(f, name, json_string(value->s));
}

static void put_migration(struct filling *f, const struct ph_emit *e)
{
	char text[PH_ID_TEXT_SIZE];
	bool ended = e->kind == PH_EMIT_CHILD_MIGRATED || e->kind == PH_EMIT_MIGRATION_ABORTED;
	bool phased = e->kind == PH_EMIT_MIGRATION_PHASE || e->kind == PH_EMIT_MIGRATION_STARTED ||
		      e->kind == PH_EMIT_MIGRATION_ABORTED;
	put_name(f, "from", &e->from);
	put_name(f, "to", &e->to);
	if (ph_id_none(&e->id))
		return;
	put(f, "migration", json_string(ph_id_text(&e->id, text)));
	if (phased && (unsigned)e->phase < PH_PHASE_COUNT)
		put(f, "phase", json_string(ph_words_phase[e->phase]));
	if (ended && (unsigned)e->result < PH_RESULT_COUNT)
		put(f, "result", json_string(ph_words_result[e->result]));
}

/* Who goes on, who does not, and what became of the loser's state: in which file of its node it is,
 * or whether its hook has merged it. */
static void put_conflict(struct filling *f, const struct ph_emit *e)
{
	put(f, "winner", json_pack("{s:s,s:I}", "node", e->to.s, "epoch", (json_int_t)e->epoch));
	put(f, "loser",
		json_pack("{s:s,s:I}", "node", e->from.s, "epoch", (json_int_t)e->from_epoch));
	put(f, "kept", e->kept ? ph_view_text(e->kept) : json_null());
	put(f, "merged", json_boolean(e->merged));
}

json_t *ph_emit_json(const struct ph_emit *event, const char *node, uint64_t seq, uint64_t wall_ms)
{
	char time_text[PH_TIME_TEXT_SIZE];
	if ((unsigned)event->kind >= PH_EMIT_COUNT)
		return NULL;
	ph_time_text(wall_ms, time_text);
	struct filling f = {json_pack("{s:s,s:s,s:s,s:I}", "event", event_words[event->kind],
				    "time", time_text, "node", node, "seq", (json_int_t)seq),
		false};
	if (!f.object)
		return NULL;
	if (event->has_key) {
		put(&f, "child", json_string(event->key.child.s));
		put(&f, "instance", json_integer((json_int_t)event->key.instance));
		put(&f, "replica", json_integer((json_int_t)event->key.replica));
	}
	put_name(&f, "peer", &event->peer);
	bool conflict = event->kind == PH_EMIT_CONFLICT_RESOLVED;
	if (conflict)
		put_conflict(&f, event);
	else
		put_migration(&f, event);
	if (event->epoch && !conflict)
		put(&f, "epoch", json_integer((json_int_t)event->epoch));
	if (event->pid)
		put(&f, "pid", json_integer((json_int_t)event->pid));
	if (event->exit.kind != PH_EXIT_NONE)
		put(&f, "exit", ph_view_exit(&event->exit));
	if (event->delay_ms || event->kind == PH_EMIT_CHILD_RESTARTING)
		put(&f, "delay_ms", json_integer((json_int_t)event->delay_ms));
	if (event->text && event->text[0])
		put(&f, "text", ph_view_text(event->text));
	if (f.failed) {
		json_decref(f.object);
		return NULL;
	}
	return f.object;
}

/* ---- the line for people */

const char *ph_emit_word(enum ph_emit_kind kind)
{
	return (unsigned)kind < PH_EMIT_COUNT ? event_words[kind] : "event";
}

struct line {
	char *at;
	size_t n, size;
};

static void add(struct line *l, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(struct line *l, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int n = vsnprintf(l->at + l->n, l->size - l->n, format, args);
	va_end(args);
	if (n > 0)
		l->n += (size_t)n < l->size - l->n ? (size_t)n : l->size - l->n - 1;
}

static void add_exit(struct line *l, const struct ph_exit *ended)
{
	switch (ended->kind) {
	case PH_EXIT_CODE:
		add(l, ", exit code %u", ended->value);
		return;
	case PH_EXIT_SIGNAL:
	case PH_EXIT_CORE:
		add(l, ", killed by signal %u%s", ended->value,
			ended->kind == PH_EXIT_CORE ? " (core dumped)" : "");
		return;
	case PH_EXIT_OOM:
		add(l, ", killed by signal %u (out of memory)", ended->value);
		return;
	case PH_EXIT_UNKNOWN:
		add(l, ", ended unseen");
		return;
	case PH_EXIT_NONE:
		return;
	}
}

/* Its key is a child, with all instances that it has. */
bool ph_emit_is_of_child(enum ph_emit_kind kind)
{
	return kind == PH_EMIT_CHILD_ADDED || kind == PH_EMIT_CHILD_REMOVED ||
	       kind == PH_EMIT_CHILD_CHANGED;
}

/* "child_exited web/0, pid 17, exit code 1: text" */
void ph_emit_line(const struct ph_emit *event, char *ret, size_t size)
{
	struct line l = {ret, 0, size};
	add(&l, "%s", ph_emit_word(event->kind));
	if (event->has_key)
		add(&l, " %s", event->key.child.s);
	if (event->has_key && !ph_emit_is_of_child(event->kind))
		add(&l, "/%u", event->key.instance);
	if (event->peer.s[0])
		add(&l, " %s", event->peer.s);
	if (event->kind == PH_EMIT_CONFLICT_RESOLVED)
		add(&l, " of %s gives way to that of %s", event->from.s, event->to.s);
	else if (event->from.s[0] || event->to.s[0])
		add(&l, " from %s to %s", event->from.s, event->to.s);
	if (event->kind == PH_EMIT_MIGRATION_PHASE && (unsigned)event->phase < PH_PHASE_COUNT)
		add(&l, " %s", ph_words_phase[event->phase]);
	if (event->kind == PH_EMIT_CHILD_MIGRATED && (unsigned)event->result < PH_RESULT_COUNT)
		add(&l, " %s", ph_words_result[event->result]);
	if (event->pid)
		add(&l, ", pid %u", event->pid);
	if (event->epoch)
		add(&l, ", epoch %llu", (unsigned long long)ph_epoch_counter(event->epoch));
	add_exit(&l, &event->exit);
	if (event->kept)
		add(&l, ", its state is kept in %s", event->kept);
	if (event->merged)
		add(&l, ", a hook has taken care of its state");
	if (event->delay_ms)
		add(&l, ", in %llu ms", (unsigned long long)event->delay_ms);
	if (event->text && event->text[0])
		add(&l, ": %s", event->text);
}
