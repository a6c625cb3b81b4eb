#include "shell_logs.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "io/clock.h"
#include "proto/seal.h"
#include "shell_bus.h"
#include "shell_emit.h"
#include "shell_logs_int.h"
#include "shell_view.h"

#define TICK_MS 20
#define REPEAT_MS 500
#define ALIVE_MS 2000 /* between two messages to one who is followed, where nothing comes */
#define BACKLOG_BYTES (256u << 10) /* that one who asks may have untaken and still get more */

/* One node that lines come from. */
struct session {
	struct ph_logs_asker *asker;
	struct ph_name node;
	bool local, over;
	uint64_t watch, unpaid; /* local: its number; bytes that it has not been given credit for */
	struct ph_id id;	/* of the asking, at the other node */
	uint32_t lines;
	uint64_t since_ms; /* moment from which lines are wanted; 0: the last ones */
	uint64_t began_ms, heard_ms, told_ms;
	uint64_t sequence, confirmed; /* of the newest message; of the newest that is told so */
	struct session *prev, *next;
};

struct ph_logs_asker {
	struct ph_shell_logs *logs;
	struct ph_logs_want want;
	uint64_t began_ms;
	uint32_t instances; /* of the child */
	bool starting, over;
	char why[PH_REASON_SIZE]; /* more cannot be had */
	struct session *sessions;
	struct ph_logs_asker *prev, *next;
};

/* ---- the thread */

void ph_logs_watch(struct ph_shell_logs *logs, uint64_t number,
	const struct ph_output_filter *filter, uint32_t lines, uint64_t age_ms, bool follow)
{
	struct ph_output_order *order = ph_shell_output_order_new(PH_OUTPUT_WATCH);
	order->watch = number;
	order->filter = *filter;
	order->lines = lines;
	order->age_ms = age_ms;
	order->follow = follow;
	ph_shell_output_order(logs->shell, order);
}

void ph_logs_unwatch(struct ph_shell_logs *logs, uint64_t number)
{
	struct ph_output_order *order = ph_shell_output_order_new(PH_OUTPUT_UNWATCH);
	order->watch = number;
	ph_shell_output_order(logs->shell, order);
}

void ph_logs_credit(struct ph_shell_logs *logs, uint64_t number, uint64_t bytes)
{
	struct ph_output_order *order = ph_shell_output_order_new(PH_OUTPUT_CREDIT);
	order->watch = number;
	order->bytes = bytes;
	ph_shell_output_order(logs->shell, order);
}

void ph_logs_send(
	struct ph_shell_logs *logs, const struct ph_name *to, const struct ph_bmsg *message)
{
	struct ph_action action = {.kind = PH_ACT_SEND, .to = *to, .message = message};
	if (logs->shell->bus)
		ph_shell_bus_act(logs->shell->bus, &action);
}

/* ---- whose they are */

static bool is_of(const struct ph_output_filter *filter, const struct ph_entry_view *view)
{
	return view->owned && ph_view_shown(view) && view->entry.node.s[0] &&
	       (!filter->has_instance || filter->instance == view->entry.key.instance);
}

struct ownership {
	const struct ph_output_filter *filter;
	const char *node;
	bool found;
};

static bool look(void *arg, const struct ph_entry_view *view)
{
	struct ownership *o = arg;
	o->found = is_of(o->filter, view) && !strcmp(view->entry.node.s, o->node);
	return !o->found;
}

bool ph_logs_owned_by(
	struct ph_shell *shell, const struct ph_output_filter *filter, const char *node)
{
	struct ownership o = {filter, node, false};
	ph_hub_entries(shell->hub, ph_clock_now_ms(), &filter->child, look, &o);
	return o.found;
}

/* ---- lines as they are told */

static const char *const stream_words[] = {"", "stdout", "stderr"};

/* `age_ms` UINT64_MAX: nobody knows when it was. */
static void tell(struct session *session, uint32_t instance, uint64_t age_ms, unsigned stream,
	bool cut, bool gap, json_t *text)
{
	struct ph_logs_asker *asker = session->asker;
	char when[PH_TIME_TEXT_SIZE];
	uint64_t wall_ms = ph_clock_wall_ms();
	if (age_ms <= wall_ms)
		ph_time_text(wall_ms - age_ms, when);
	json_t *line = json_pack("{s:s,s:I,s:s,s:o,s:o}", "child", asker->want.filter.child.s,
		"instance", (json_int_t)instance, "node", session->node.s, "time",
		age_ms <= wall_ms ? json_string(when) : json_null(), "text",
		text ? text : json_string(""));
	if (!line)
		return;
	if (stream == PH_OUTPUT_STDOUT || stream == PH_OUTPUT_STDERR)
		(void)json_object_set_new(line, "stream", json_string(stream_words[stream]));
	if (cut)
		(void)json_object_set_new(line, "cut", json_true());
	if (gap)
		(void)json_object_set_new(line, "gap", json_true());
	if (asker->instances > 1 && !asker->want.filter.has_instance)
		(void)json_object_set_new(
			line, "instances", json_integer((json_int_t)asker->instances));
	asker->want.line(asker->want.arg, line);
}

static void tell_local(struct session *session, const struct ph_output_line *line)
{
	uint64_t now = ph_clock_now_ms();
	uint64_t age = !line->at_ms ? UINT64_MAX : now > line->at_ms ? now - line->at_ms : 0;
	tell(session, line->key.instance, age, line->stream, line->cut, line->gap,
		ph_view_text(line->text));
}

static void tell_remote(struct session *session, const struct ph_log_line *line)
{
	tell(session, line->instance, line->has_age ? line->age_ms : UINT64_MAX, line->stream,
		line->cut, line->gap, ph_view_text(line->text));
}

/* ---- sessions */

static bool has_room(const struct ph_logs_asker *asker)
{
	return asker->want.backlog(asker->want.arg) < BACKLOG_BYTES;
}

static void send_logs(struct session *session, bool final)
{
	const struct ph_logs_asker *asker = session->asker;
	uint64_t now = ph_clock_now_ms();
	uint64_t from = session->sequence ? session->heard_ms : session->since_ms;
	struct ph_bmsg message = {
		.kind = PH_B_LOGS,
		.id = session->id,
		.key = {.child = asker->want.filter.child, .instance = asker->want.filter.instance},
		.all_instances = !asker->want.filter.has_instance,
		.n_last = session->lines,
		.since_ms = from ? now - from + 1 : 0,
		.follow = asker->want.follow,
		.sequence = session->confirmed,
		.final = final,
	};
	session->told_ms = now;
	ph_logs_send(asker->logs, &session->node, &message);
}

static void confirm(struct session *session)
{
	session->confirmed = session->sequence;
	send_logs(session, session->over);
}

static void open_session(struct ph_logs_asker *asker, const struct ph_name *node, uint64_t since_ms)
{
	struct session *session = ph_shell_alloc(sizeof *session);
	struct ph_shell_logs *logs = asker->logs;
	session->asker = asker;
	session->node = *node;
	session->local = !strcmp(node->s, logs->shell->node);
	session->lines = asker->want.lines;
	session->since_ms = since_ms;
	session->began_ms = session->heard_ms = ph_clock_now_ms();
	DL_APPEND(asker->sessions, session);
	if (!session->local) {
		ph_random_bytes(session->id.b, sizeof session->id.b);
		send_logs(session, false);
		return;
	}
	session->watch = ++logs->last_watch;
	ph_logs_watch(logs, session->watch, &asker->want.filter, asker->want.lines,
		since_ms ? ph_clock_now_ms() - since_ms + 1 : 0, asker->want.follow);
}

static void close_session(struct session *session)
{
	if (!session->over && session->local)
		ph_logs_unwatch(session->asker->logs, session->watch);
	else if (!session->over)
		send_logs(session, true);
	session->over = true;
}

static struct session *session_of(struct ph_logs_asker *asker, const struct ph_name *node)
{
	struct session *session;
	DL_FOREACH (asker->sessions, session) {
		if (ph_name_equal(&session->node, node))
			return session;
	}
	return NULL;
}

/* A node that has become an owner: what was written since the asking began, or since it was asked
 * last. */
static bool take_owner(void *arg, const struct ph_entry_view *view)
{
	struct ph_logs_asker *asker = arg;
	if (!is_of(&asker->want.filter, view))
		return true;
	if (!view->reachable) {
		if (!asker->want.follow)
			(void)snprintf(asker->why, sizeof asker->why, "node %s cannot be reached",
				view->entry.node.s);
		return true;
	}
	struct session *known = session_of(asker, &view->entry.node);
	if (known && !known->over)
		return true;
	uint64_t since_ms = known ? known->heard_ms : asker->starting ? 0 : asker->began_ms;
	if (known) {
		DL_DELETE(asker->sessions, known);
		free(known);
	}
	open_session(asker, &view->entry.node, since_ms);
	return true;
}

static void look_for_owners(struct ph_logs_asker *asker)
{
	ph_hub_entries(asker->logs->shell->hub, ph_clock_now_ms(), &asker->want.filter.child,
		take_owner, asker);
}

/* ---- the end */

static void end(struct ph_logs_asker *asker)
{
	if (asker->over)
		return;
	asker->over = true;
	asker->want.end(asker->want.arg, asker->why[0] ? asker->why : NULL);
}

static void end_if_done(struct ph_logs_asker *asker)
{
	const struct session *session;
	bool done = !asker->want.follow || asker->why[0];
	DL_FOREACH (asker->sessions, session) {
		done = done && session->over;
	}
	if (done)
		end(asker);
}

static void session_over(struct session *session, const char *why)
{
	struct ph_logs_asker *asker = session->asker;
	session->over = true;
	if (why && *why && !asker->why[0])
		(void)snprintf(
			asker->why, sizeof asker->why, "node %s: %.80s", session->node.s, why);
}

/* ---- what comes in */

static struct session *by_watch(struct ph_shell_logs *logs, uint64_t watch)
{
	struct ph_logs_asker *asker;
	struct session *session;
	DL_FOREACH (logs->askers, asker) {
		DL_FOREACH (asker->sessions, session) {
			if (session->local && session->watch == watch)
				return session;
		}
	}
	return NULL;
}

void ph_shell_logs_lines(struct ph_shell *shell, const struct ph_output_news *news)
{
	struct ph_shell_logs *logs = shell->logs;
	if (!logs || ph_logs_serve_news(logs, news))
		return;
	struct session *session = by_watch(logs, news->watch);
	if (!session || session->over)
		return;
	for (const struct ph_output_line *line = news->lines; line; line = line->next)
		tell_local(session, line);
	session->heard_ms = ph_clock_now_ms();
	session->unpaid += news->bytes;
	if (news->more && !session->asker->want.follow)
		(void)snprintf(
			session->asker->why, sizeof session->asker->why, "%s", PH_LOGS_TOO_MANY);
	if (!session->asker->want.follow && news->last)
		session_over(session, NULL);
	/* whoever asks may leave for that: not from here */
	ph_logs_set_tick(logs);
}

static void take_lines(struct session *session, const struct ph_bmsg *message)
{
	if (message->sequence == session->sequence + 1) {
		for (size_t i = 0; i < message->n_lines; i++)
			tell_remote(session, &message->lines[i]);
		session->sequence = message->sequence;
		if (message->final)
			session_over(session, message->reason);
	}
	session->heard_ms = ph_clock_now_ms();
	if (session->over || has_room(session->asker))
		confirm(session);
}

static void got_lines(struct ph_shell_logs *logs, const struct ph_bmsg *message)
{
	struct ph_logs_asker *asker;
	struct session *session;
	DL_FOREACH (logs->askers, asker) {
		DL_FOREACH (asker->sessions, session) {
			if (session->local || !ph_id_equal(&session->id, &message->id) ||
				!ph_name_equal(&session->node, &message->from))
				continue;
			if (session->over) /* its last confirmation was lost */
				send_logs(session, true);
			else
				take_lines(session, message);
			return;
		}
	}
	/* nobody here waits for it any more */
	const struct ph_bmsg enough = {.kind = PH_B_LOGS,
		.id = message->id,
		.key = {.child = ph_name_of("none")},
		.sequence = message->sequence,
		.final = true};
	ph_logs_send(logs, &message->from, &enough);
}

void ph_shell_logs_got(struct ph_shell *shell, const struct ph_bmsg *message)
{
	if (!shell->logs)
		return;
	if (message->kind == PH_B_LOGS)
		ph_logs_asked(shell->logs, message);
	else
		got_lines(shell->logs, message);
}

/* ---- the clock */

static void session_tick(struct session *session, uint64_t now)
{
	struct ph_logs_asker *asker = session->asker;
	if (session->over)
		return;
	if (session->local) {
		if (session->unpaid && has_room(asker)) {
			ph_logs_credit(asker->logs, session->watch, session->unpaid);
			session->unpaid = 0;
		}
		return;
	}
	uint64_t every = session->sequence ? ALIVE_MS : REPEAT_MS;
	if (session->confirmed != session->sequence && has_room(asker))
		confirm(session);
	else if (now >= session->told_ms + every)
		send_logs(session, false); /* somebody is here still */
	if (now < session->heard_ms + PH_LOGS_PATIENCE_MS)
		return;
	if (!asker->want.follow)
		session_over(session, "it does not answer");
	else if (!ph_logs_owned_by(asker->logs->shell, &asker->want.filter, session->node.s))
		session_over(session, NULL);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct ph_shell_logs *logs = arg;
	struct ph_logs_asker *asker, *next;
	struct session *session;
	uint64_t now = ph_clock_now_ms();
	(void)fd;
	(void)what;
	DL_FOREACH_SAFE(logs->askers, asker, next)
	{
		if (asker->over)
			continue;
		if (asker->want.follow)
			look_for_owners(asker);
		DL_FOREACH (asker->sessions, session) {
			session_tick(session, now);
		}
		end_if_done(asker);
	}
	ph_logs_serve_tick(logs);
	ph_logs_set_tick(logs);
}

void ph_logs_set_tick(struct ph_shell_logs *logs)
{
	static const struct timeval every = {0, TICK_MS * 1000};
	bool wanted = logs->askers || logs->serving;
	if (wanted && !logs->ticking)
		(void)event_add(logs->tick, &every);
	else if (!wanted && logs->ticking)
		(void)event_del(logs->tick);
	logs->ticking = wanted;
}

/* ---- life */

struct ph_logs_asker *ph_shell_logs_ask(struct ph_shell *shell, const struct ph_logs_want *want)
{
	struct ph_shell_logs *logs = shell->logs;
	struct ph_logs_asker *asker = ph_shell_alloc(sizeof *asker);
	const struct ph_spec *spec = ph_hub_spec(shell->hub, &want->filter.child);
	const struct ph_name here = ph_name_of(shell->node);
	asker->logs = logs;
	asker->want = *want;
	asker->instances = spec ? spec->instances : 1;
	asker->began_ms = ph_clock_now_ms();
	DL_APPEND(logs->askers, asker);
	asker->starting = true;
	look_for_owners(asker);
	asker->starting = false;
	if (!asker->sessions) /* nobody has it; the last one may have been here */
		open_session(asker, &here, 0);
	ph_logs_set_tick(logs);
	return asker;
}

void ph_shell_logs_leave(struct ph_logs_asker *asker)
{
	struct ph_shell_logs *logs = asker->logs;
	struct session *session, *next;
	DL_FOREACH_SAFE(asker->sessions, session, next)
	{
		close_session(session);
		DL_DELETE(asker->sessions, session);
		free(session);
	}
	DL_DELETE(logs->askers, asker);
	free(asker);
	ph_logs_set_tick(logs);
}

int ph_shell_logs_new(struct ph_shell *shell)
{
	struct ph_shell_logs *logs = ph_shell_alloc(sizeof *logs);
	logs->shell = shell;
	logs->tick = event_new(shell->base, -1, EV_PERSIST, on_tick, logs);
	shell->logs = logs;
	return logs->tick ? 0 : -ENOMEM;
}

void ph_shell_logs_free(struct ph_shell *shell)
{
	struct ph_shell_logs *logs = shell->logs;
	if (!logs)
		return;
	shell->logs = NULL;
	ph_logs_serve_free(logs);
	if (logs->tick)
		event_free(logs->tick);
	free(logs);
}
