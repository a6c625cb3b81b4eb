#include "shell_emit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/clock.h"
#include "io/journald.h"
#include "io/loglines.h"
#include "shell.h"
#include "shell_emit_kept.h"
#include "shell_parts.h"
#include "shell_view.h"

#define LINE_MAX_BYTES 1024
#define LAST_MS 1000 /* at the end, for who does not read the log */
#define AWAY_MS 500  /* ... or at an upgrade, while workers have no daemon */
#define VIOLATIONS_A_SECOND 10

/* Whoever can connect can violate a protocol as often as it likes. */
struct violations {
	uint64_t from_ms;
	unsigned n;	      /* since then */
	unsigned long untold; /* since the last one that was told */
};

struct ph_shell_emit {
	struct ph_shell *shell;
	bool journal; /* stderr is the journal's: prefixes instead of words, fields of events */
	struct ph_journald journald;
	struct ph_loglines *lines;
	uint64_t seq; /* of the newest event; number n is at ring[n % PH_EMIT_RING] */
	struct ph_emit_kept *ring[PH_EMIT_RING];
	struct violations violations[2]; /* of nobody; of children, which nobody can hide */
	ph_emit_listener_fn *listener;
	void *listener_arg;
	ph_emit_listener_fn *hooks;
	void *hooks_arg;
};

static const struct {
	const char *word, *prefix; /* prefix: syslog's numbers, as sd-daemon(3) has them */
	int priority;
} levels[] = {
	[PH_LOG_ERROR] = {"prochubd: error: ", "<3>", 3},
	[PH_LOG_WARNING] = {"prochubd: warning: ", "<4>", 4},
	[PH_LOG_INFO] = {"prochubd: info: ", "<6>", 6},
	[PH_LOG_DEBUG] = {"prochubd: debug: ", "<7>", 7},
};

/* As systemd.exec(5) has it: whoever was started from a service may have another output since. */
static bool is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	char own[48];
	struct stat st;
	if (!stream || fstat(STDERR_FILENO, &st) < 0)
		return false;
	(void)snprintf(own, sizeof own, "%llu:%llu", (unsigned long long)st.st_dev,
		(unsigned long long)st.st_ino);
	return strcmp(stream, own) == 0;
}

int ph_shell_emit_new(struct ph_shell *shell, struct ph_shell_emit **ret)
{
	struct ph_shell_emit *emit = calloc(1, sizeof *emit);
	if (!emit)
		return -ENOMEM;
	emit->shell = shell;
	emit->journal = is_journal();
	emit->journald.fd = -1;
	if (emit->journal && ph_journald_open(&emit->journald, ph_shell_journal_path()))
		emit->journald.fd = -1; /* then events are lines, as the rest of the log */
	const char *head =
		emit->journal ? levels[PH_LOG_WARNING].prefix : levels[PH_LOG_WARNING].word;
	int error = ph_loglines_new(shell->base, STDERR_FILENO, head, &emit->lines);
	if (error)
		ph_shell_emit_free(emit);
	else
		*ret = emit;
	return error;
}

void ph_shell_emit_free(struct ph_shell_emit *emit)
{
	if (!emit)
		return;
	for (size_t i = 0; i < PH_EMIT_RING; i++)
		free(emit->ring[i]);
	ph_journald_close(&emit->journald);
	ph_loglines_free(emit->lines, LAST_MS);
	free(emit);
}

/* ---- the log */

static enum ph_log_level wanted_level(const struct ph_shell_emit *emit)
{
	static const enum ph_log_level of_conf[] = {
		[PH_CONF_LEVEL_ERROR] = PH_LOG_ERROR,
		[PH_CONF_LEVEL_WARNING] = PH_LOG_WARNING,
		[PH_CONF_LEVEL_INFO] = PH_LOG_INFO,
		[PH_CONF_LEVEL_DEBUG] = PH_LOG_DEBUG,
	};
	return emit->shell->conf ? of_conf[emit->shell->conf->log.level] : PH_LOG_INFO;
}

/* Control characters of a worker or a peer must not forge lines or move a cursor. */
static size_t put_escaped(char *to, size_t size, const char *from)
{
	size_t n = 0;
	for (; *from && n + 5 < size; from++) {
		unsigned char c = (unsigned char)*from;
		if (c < 0x20 || c == 0x7f)
			n += (size_t)snprintf(to + n, size - n, "\\x%02x", c);
		else
			to[n++] = *from;
	}
	return n;
}

static void write_line(struct ph_shell_emit *emit, enum ph_log_level level, const char *text)
{
	char line[LINE_MAX_BYTES];
	if ((unsigned)level > PH_LOG_DEBUG || level > wanted_level(emit))
		return;
	const char *head = emit->journal ? levels[level].prefix : levels[level].word;
	size_t n = strlen(head);
	memcpy(line, head, n);
	n += put_escaped(line + n, sizeof line - n - 1, text);
	line[n++] = '\n';
	ph_loglines_put(emit->lines, line, n);
}

void ph_shell_emit_flush(struct ph_shell_emit *emit)
{
	ph_loglines_flush(emit->lines, AWAY_MS);
}

/* ---- events */

static enum ph_log_level event_level(enum ph_emit_kind kind)
{
	switch (kind) {
	case PH_EMIT_NODE_DEAD:
	case PH_EMIT_NODE_REFUSED:
	case PH_EMIT_CHILD_FAILED:
	case PH_EMIT_CONFIG_REJECTED:
	case PH_EMIT_UPGRADE_REFUSED:
	case PH_EMIT_JOURNAL_FAILED:
	case PH_EMIT_QUORUM_LOST:
		return PH_LOG_ERROR;
	case PH_EMIT_NODE_SUSPECT:
	case PH_EMIT_CHILD_RESTARTING:
	case PH_EMIT_MIGRATION_ABORTED:
	case PH_EMIT_CONFLICT_RESOLVED:
	case PH_EMIT_BUS_AUTH_FAILED:
	case PH_EMIT_BUS_RESTARTED:
	case PH_EMIT_BIND_FAILED:
	case PH_EMIT_WORKER_PROTOCOL_ERROR:
		return PH_LOG_WARNING;
	case PH_EMIT_MIGRATION_PHASE:
		return PH_LOG_DEBUG;
	case PH_EMIT_NODE_JOINED:
	case PH_EMIT_NODE_LEFT:
	case PH_EMIT_CHILD_STARTING:
	case PH_EMIT_CHILD_READY:
	case PH_EMIT_CHILD_EXITED:
	case PH_EMIT_CHILD_STOPPED:
	case PH_EMIT_CHILD_ADDED:
	case PH_EMIT_CHILD_REMOVED:
	case PH_EMIT_CHILD_CHANGED:
	case PH_EMIT_CHILD_MIGRATED:
	case PH_EMIT_MIGRATION_STARTED:
	case PH_EMIT_ROLE_CHANGED:
	case PH_EMIT_QUORUM_GAINED:
	case PH_EMIT_CONFIG_RELOADED:
	case PH_EMIT_COUNT:
		break;
	}
	return PH_LOG_INFO;
}

static void keep(struct ph_shell_emit *emit, const struct ph_emit *event)
{
	uint64_t wall_ms = ph_clock_wall_ms();
	bool known = (unsigned)event->kind < PH_EMIT_COUNT;
	struct ph_emit_kept *kept = known ? ph_emit_kept_new(event, wall_ms) : NULL;
	if (!kept)
		return;
	struct ph_emit_kept **place = &emit->ring[++emit->seq % PH_EMIT_RING];
	free(*place);
	*place = kept;
	const struct ph_emitted told = {event, emit->shell->node, emit->seq, wall_ms};
	if (emit->listener)
		emit->listener(emit->listener_arg, &told);
	if (emit->hooks)
		emit->hooks(emit->hooks_arg, &told);
}

/* Where the log is the journal an event has fields there, by which it is found. */
static bool journal_event(struct ph_shell_emit *emit, const struct ph_emit *event, const char *line)
{
	char text[LINE_MAX_BYTES], id[PH_ID_TEXT_SIZE];
	enum ph_log_level level = event_level(event->kind);
	if (emit->journald.fd < 0 || level > wanted_level(emit) || event->kind >= PH_EMIT_COUNT)
		return false;
	text[put_escaped(text, sizeof text, line)] = '\0';
	const struct ph_journald_event entry = {.text = text,
		.event = ph_emit_word(event->kind),
		.node = emit->shell->node,
		.child = event->has_key ? event->key.child.s : NULL,
		.has_instance = !ph_emit_is_of_child(event->kind),
		.instance = event->key.instance,
		.migration = ph_id_none(&event->id) ? NULL : ph_id_text(&event->id, id),
		.priority = levels[level].priority};
	return !ph_journald_send_event(&emit->journald, &entry);
}

static void tell(struct ph_shell_emit *emit, const struct ph_emit *event)
{
	char line[LINE_MAX_BYTES];
	ph_emit_line(event, line, sizeof line);
	if (!journal_event(emit, event, line))
		write_line(emit, event_level(event->kind), line);
	keep(emit, event);
}

static void tell_violation(struct ph_shell_emit *emit, const struct ph_emit *event)
{
	struct violations *v = &emit->violations[event->has_key];
	struct ph_emit more = *event;
	char text[LINE_MAX_BYTES];
	if (emit->shell->now_ms >= v->from_ms + 1000) {
		v->from_ms = emit->shell->now_ms;
		v->n = 0;
	}
	if (v->n >= VIOLATIONS_A_SECOND) {
		v->untold++;
		return;
	}
	v->n++;
	if (v->untold) {
		(void)snprintf(text, sizeof text, "%.900s (and %lu before it that were not told)",
			event->text ? event->text : "", v->untold);
		more.text = text;
	}
	v->untold = 0;
	tell(emit, &more);
}

void ph_shell_emit_act(struct ph_shell_emit *emit, const struct ph_action *action)
{
	if (!emit)
		return;
	if (action->kind == PH_ACT_LOG)
		write_line(emit, action->level, action->text ? action->text : "");
	else if (action->emit->kind == PH_EMIT_WORKER_PROTOCOL_ERROR)
		tell_violation(emit, action->emit);
	else
		tell(emit, action->emit);
}

void ph_shell_emit_listen(struct ph_shell_emit *emit, ph_emit_listener_fn *fn, void *arg)
{
	emit->listener = fn;
	emit->listener_arg = arg;
}

void ph_shell_emit_hook(struct ph_shell_emit *emit, ph_emit_listener_fn *fn, void *arg)
{
	emit->hooks = fn;
	emit->hooks_arg = arg;
}

json_t *ph_emitted_json(const struct ph_emitted *told)
{
	return ph_emit_json(told->event, told->node, told->seq, told->wall_ms);
}

static json_t *held_json(const struct ph_shell_emit *emit, uint64_t seq)
{
	const struct ph_emit_kept *kept = emit->ring[seq % PH_EMIT_RING];
	struct ph_emit event;
	ph_emit_kept_read(kept, &event);
	return ph_emit_json(&event, emit->shell->node, seq, ph_emit_kept_wall_ms(kept));
}

json_t *ph_shell_emit_held(const struct ph_shell_emit *emit, uint64_t after, uint64_t since_ms)
{
	json_t *list = json_array();
	uint64_t first = emit->seq > PH_EMIT_RING ? emit->seq - PH_EMIT_RING + 1 : 1;
	if (after >= first)
		first = after + 1;
	for (uint64_t n = first; list && n <= emit->seq; n++) {
		if (ph_emit_kept_wall_ms(emit->ring[n % PH_EMIT_RING]) < since_ms)
			continue;
		if (json_array_append_new(list, held_json(emit, n))) {
			json_decref(list);
			list = NULL;
		}
	}
	return list;
}
