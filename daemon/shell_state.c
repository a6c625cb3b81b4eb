/* run_dir/state: what the next daemon must know to adopt the workers of this one. */
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "io/child.h"
#include "io/clock.h"
#include "io/statefile.h"
#include "proto/codec.h"
#include "shell_parts.h"

/* Writing it takes time that grows with the workers: this many times as long passes before it is
 * written again, but no more; what is missing meanwhile, the environments tell. */
#define GAP_FACTOR 50
#define GAP_MAX_MS 100

struct ph_shell_state {
	bool touched;
	bool failed; /* the last write: told once */
	uint64_t written_hash, written_at_ms;
	uint64_t gap_ms; /* from the last write to the next one */
	struct event *late;
};

/* ---- its words */

/* clang-format off */
static const char *const role_words[] = {"", "active", "standby", NULL};

#define W(word, kind, member) PH_FIELD(word, kind, ph_shell_found_worker, member)
#define TALLY \
	{W("streak", U32, tally.streak)}, {W("counted", U32, tally.counted)}, \
	{W("counted_from", U64, tally.first_ms)}, {W("counted_to", U64, tally.last_ms)}
static const struct ph_field worker_fields[] = {
	{W("pid", U32, pid), .required = true},
	{W("start_time", U64, start_time), .required = true},
	{W("main_pid", U32, main_pid)},
	{W("main_start_time", U64, main_start_time)},
	{W("uid", U32, uid), .required = true},
	{W("token", HEX, token)},
	{W("child", NAME, key.child), .required = true},
	{W("instance", U32, key.instance), .always = true},
	{W("replica", U32, key.replica)},
	{W("epoch", U64, epoch), .required = true},
	{W("born", U64, born_ms)},
	{W("copied", U64, copied_ms)},
	{W("revision", U64, revision)},
	{W("role", ENUM, role), .words = role_words},
	{W("retired", BOOL, retired)},
	{W("retained_until", U64, retained_until_ms)},
	{W("ready", BOOL, ready)},
	{W("unheard", BOOL, unheard)},
	{W("again", BOOL, again)},
	{W("migration", ID, migration)},
	{W("since", U64, since_ms)},
	{W("restarts", U32, restarts)},
	TALLY,
	{W("meta", JSON_OBJ, meta), .max = PH_META_MAX},
	{0},
};

static const struct ph_field done_fields[] = {
	{W("child", NAME, key.child), .required = true},
	{W("instance", U32, key.instance), .always = true},
	{W("replica", U32, key.replica)},
	{W("epoch", U64, epoch), .required = true},
	{W("born", U64, born_ms)},
	{W("copied", U64, copied_ms)},
	{W("revision", U64, revision)},
	{W("since", U64, since_ms)},
	{W("restarts", U32, restarts)},
	TALLY,
	{W("failed", BOOL, failed)},
	{W("due_at", U64, due_ms)},
	{W("exit", U32, exit)},
	{W("exit_value", U32, exit_value)},
	{W("why", TEXT, why), .max = PH_REASON_SIZE},
	{0},
};

#define S(word, kind, member) PH_FIELD(word, kind, ph_shell_found_spec, member)
static const struct ph_field spec_fields[] = {
	{S("child", NAME, child), .required = true},
	{S("revision", U64, revision)},
	{S("text", TEXT, text), .required = true},
	{0},
};

#define F(word, kind, member) PH_FIELD(word, kind, ph_shell_found, member)
static const struct ph_field state_fields[] = {
	{F("node", NAME, node), .required = true},
	{F("journal", ID, journal)},
	{F("workers", LIST, workers), PH_COUNT(ph_shell_found, n_workers), .always = true,
		.sub = worker_fields, .element_size = sizeof(struct ph_shell_found_worker)},
	{F("done", LIST, done), PH_COUNT(ph_shell_found, n_done), .sub = done_fields,
		.element_size = sizeof(struct ph_shell_found_worker)},
	{F("due", LIST, due), PH_COUNT(ph_shell_found, n_due), .sub = done_fields,
		.element_size = sizeof(struct ph_shell_found_worker)},
	{F("specs", LIST, specs), PH_COUNT(ph_shell_found, n_specs), .always = true,
		.sub = spec_fields, .element_size = sizeof(struct ph_shell_found_spec)},
	{0},
};
/* clang-format on */

/* ---- writing */

struct gathering {
	struct ph_shell *shell;
	struct ph_shell_found_worker *workers;
	struct ph_shell_found_worker *done; /* from its end: those that are not for good */
	struct ph_shell_found_spec *specs;
	size_t n, room, n_done, n_due, room_done, n_specs;
};

static int compare_specs(const void *a, const void *b)
{
	const struct ph_shell_found_spec *x = a, *y = b;
	int order = strcmp(x->child.s, y->child.s);
	return order ? order : (x->revision > y->revision) - (x->revision < y->revision);
}

/* Many instances share a spec: each is written once. */
static size_t unique_specs(struct ph_shell_found_spec *specs, size_t n)
{
	size_t kept = 0;
	qsort(specs, n, sizeof *specs, compare_specs);
	for (size_t i = 0; i < n; i++) {
		if (!kept || compare_specs(&specs[kept - 1], &specs[i]))
			specs[kept++] = specs[i];
	}
	return kept;
}

static void put_spec(struct gathering *g, const struct ph_worker_view *view)
{
	if (view->spec)
		g->specs[g->n_specs++] = (struct ph_shell_found_spec){.child = view->key.child,
			.revision = view->spec->revision,
			.text = view->spec->text};
}

static bool gather(void *arg, const struct ph_worker_view *view)
{
	struct gathering *g = arg;
	const struct ph_shell_worker *worker = ph_shell_worker_by_wid(g->shell, view->wid);
	if (!worker || g->n == g->room)
		return true;
	/* One that has ended is in no map any more once core has heard of it, and knows what
	 * follows.
	 */
	struct ph_shell_found_worker *to = &g->workers[g->n++];
	*to = (struct ph_shell_found_worker){
		.pid = (uint32_t)worker->pid,
		.start_time = worker->start_time,
		.main_pid =
			worker->main ? (uint32_t)ph_child_pid(worker->main) : worker->gone_main_pid,
		.main_start_time = worker->main ? ph_child_start_time(worker->main)
						: worker->gone_main_start_time,
		.uid = worker->uid,
		.key = view->key,
		.epoch = view->epoch,
		.born_ms = view->born_ms,
		.copied_ms = view->copied_ms,
		.revision = view->spec ? view->spec->revision : view->revision,
		.role = view->role,
		.retired = view->retired,
		.retained_until_ms = view->retained_until_ms,
		.ready = view->ready,
		.unheard = view->unheard,
		.again = view->again,
		.migration = view->migration,
		.since_ms = view->since_ms,
		.restarts = view->restarts,
		.tally = view->tally,
		.meta = view->meta,
	};
	memcpy(to->token, worker->token, sizeof to->token);
	put_spec(g, view);
	return true;
}

static bool count_done(void *arg, const struct ph_worker_view *view)
{
	struct gathering *g = arg;
	(void)view;
	g->room_done++;
	return true;
}

static bool gather_done(void *arg, const struct ph_worker_view *view)
{
	struct gathering *g = arg;
	if (g->n_done + g->n_due == g->room_done)
		return false;
	struct ph_shell_found_worker *to =
		view->due_ms ? &g->done[g->room_done - ++g->n_due] : &g->done[g->n_done++];
	*to = (struct ph_shell_found_worker){
		.key = view->key,
		.epoch = view->epoch,
		.born_ms = view->born_ms,
		.copied_ms = view->copied_ms,
		.revision = view->spec ? view->spec->revision : view->revision,
		.since_ms = view->since_ms,
		.restarts = view->restarts,
		.tally = view->tally,
		.failed = view->failed,
		.due_ms = view->due_ms,
		.exit = (uint32_t)view->exit.kind,
		.exit_value = view->exit.value,
		.why = view->why,
	};
	put_spec(g, view);
	return true;
}

static char *encode(struct ph_shell *shell, size_t *ret_n)
{
	struct gathering g = {.shell = shell, .room = ph_shell_workers_count(shell)};
	g.workers = ph_shell_alloc((g.room + 1) * sizeof *g.workers);
	ph_hub_done(shell->hub, count_done, &g);
	g.done = ph_shell_alloc((g.room_done + 1) * sizeof *g.done);
	g.specs = ph_shell_alloc((g.room + g.room_done + 1) * sizeof *g.specs);
	ph_hub_workers(shell->hub, gather, &g);
	ph_hub_done(shell->hub, gather_done, &g);
	struct ph_shell_found all = {
		.node = ph_name_of(shell->node),
		.journal = ph_shell_records_id(shell),
		.n_workers = g.n,
		.workers = g.workers,
		.n_done = g.n_done,
		.done = g.done,
		.n_due = g.n_due,
		.due = g.done + g.room_done - g.n_due,
		.n_specs = unique_specs(g.specs, g.n_specs),
		.specs = g.specs,
	};
	char *text = ph_codec_write(state_fields, &all, NULL, '\n', PH_STATEFILE_BYTES_MAX, ret_n);
	free(g.workers);
	free(g.done);
	free(g.specs);
	return text;
}

static uint64_t now_us(void)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

int ph_shell_state_write(struct ph_shell *shell)
{
	struct ph_shell_state *state = shell->state;
	struct ph_err err = {{0}};
	size_t n = 0;
	int error = 0;
	uint64_t began_us = now_us();
	char *text = encode(shell, &n);
	if (!text)
		error = ph_err_set(&err, errno, "%s", strerror(errno));
	uint64_t hash = text ? XXH3_64bits(text, n) : 0;
	state->touched = false;
	state->written_at_ms = shell->now_ms;
	if (!error && (state->failed || hash != state->written_hash))
		error = ph_statefile_write(shell->run_dir, text, n, &err);
	free(text);
	if (error && !state->failed)
		ph_shell_log(shell, PH_LOG_ERROR, "state file: %s", err.text);
	uint64_t gap_ms = (now_us() - began_us) * GAP_FACTOR / 1000;
	state->gap_ms = gap_ms < GAP_MAX_MS ? gap_ms : GAP_MAX_MS;
	state->failed = error != 0;
	if (!error)
		state->written_hash = hash;
	return error;
}

void ph_shell_state_touch(struct ph_shell *shell)
{
	shell->state->touched = true;
}

static void on_late(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	struct ph_shell *shell = arg;
	shell->now_ms = ph_clock_now_ms();
	if (shell->state->touched)
		(void)ph_shell_state_write(shell);
}

void ph_shell_state_turn_end(struct ph_shell *shell)
{
	struct ph_shell_state *state = shell->state;
	if (!state->touched)
		return;
	if (shell->now_ms >= state->written_at_ms + state->gap_ms) {
		(void)ph_shell_state_write(shell);
	} else if (!evtimer_pending(state->late, NULL)) {
		struct timeval gap = {0, (suseconds_t)state->gap_ms * 1000};
		evtimer_add(state->late, &gap);
	}
}

/* ---- reading */

int ph_shell_state_read(const char *run_dir, struct ph_shell_found *ret, struct ph_err *err)
{
	struct ph_shell_found found;
	char *text = NULL;
	size_t n = 0;
	memset(&found, 0, sizeof found);
	int error = ph_statefile_read(run_dir, &text, &n, err);
	if (error)
		return error;
	error = ph_codec_read(text, n, state_fields, &found, &found.doc, err);
	free(text);
	if (!error)
		*ret = found;
	return error;
}

void ph_shell_found_fini(struct ph_shell_found *found)
{
	ph_doc_free(found->doc);
	found->doc = NULL;
}

/* ---- life */

int ph_shell_state_new(struct ph_shell *shell)
{
	shell->state = ph_shell_alloc(sizeof *shell->state);
	shell->state->late = evtimer_new(shell->base, on_late, shell);
	return shell->state->late ? 0 : -ENOMEM;
}

void ph_shell_state_free(struct ph_shell *shell, bool remove)
{
	if (!shell->state)
		return;
	if (remove) {
		char *path = ph_shell_path(shell->run_dir, PH_STATEFILE_NAME);
		unlink(path);
		free(path);
	}
	event_free(shell->state->late);
	free(shell->state);
	shell->state = NULL;
}
