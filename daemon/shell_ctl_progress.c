/* shell_ctl_progress.c - lines about a move or a drain while it goes on. */
#include <string.h>

#include "io/clock.h"
#include "proto/bus.h"
#include "shell_ctl_int.h"

struct measuring {
	const struct ph_ctl_request *request;
	size_t left;
	json_t *list;
	uint64_t hash; /* of what is worth a new line */
};

static bool is_move(const struct ph_ctl_request *request)
{
	return request->verb->order == PH_VERB_MOVE;
}

/* Is that instance still where it is not to be? */
static bool count_left(void *arg, const struct ph_entry_view *view)
{
	struct measuring *m = arg;
	const struct ph_ctl_request *request = m->request;
	bool there = ph_name_equal(&view->entry.node, &request->node);
	if (!view->owned || !ph_view_shown(view) || view->entry.local)
		return true;
	if (is_move(request) ? ph_view_match(&request->what, &view->entry.key) && !there : there)
		m->left++;
	return true;
}

static size_t left_now(const struct ph_ctl_request *request)
{
	struct measuring m = {.request = request};
	ph_hub_entries(ph_ctl_shell(request)->hub, ph_clock_now_ms(),
		is_move(request) ? &request->what.child : NULL, count_left, &m);
	return m.left;
}

void ph_ctl_progress_start(struct ph_ctl_request *request)
{
	request->n_left = left_now(request);
}

/* ---- what was moved */

static void add_detail(const struct ph_migration_info *m, json_t *row)
{
	static const char *const words[] = {
		"id", "from", "to", "bytes", "elapsed_ms", "downtime_ms"};
	json_t *view = ph_view_migration(m);
	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		json_t *value = json_object_get(view, words[i]);
		if (value && !json_is_null(value))
			(void)json_object_set(row, words[i], value);
	}
	json_decref(view);
}

struct wanted {
	const struct ph_id *id;
	json_t *row;
};

static bool detail(void *arg, const struct ph_migration_info *m)
{
	struct wanted *w = arg;
	bool found = ph_id_equal(&m->id, w->id);
	if (found)
		add_detail(m, w->row);
	return !found;
}

void ph_ctl_progress_detail(
	const struct ph_ctl_request *request, const struct ph_id *id, json_t *row)
{
	struct wanted w = {id, row};
	ph_hub_migrations(ph_ctl_shell(request)->hub, ph_clock_now_ms(), detail, &w);
}

/* ---- lines */

static json_t *line_of(const struct ph_migration_info *m)
{
	uint64_t rate = m->elapsed_ms ? m->bytes * 1000 / m->elapsed_ms : 0; /* bytes a second */
	char id[PH_ID_TEXT_SIZE];
	bool known = (unsigned)m->phase < PH_PHASE_COUNT;
	return json_pack("{s:s,s:s,s:I,s:s,s:s,s:s,s:I,s:I,s:o,s:I,s:I}", "id",
		ph_id_text(&m->id, id), "child", m->key.child.s, "instance",
		(json_int_t)m->key.instance, "from", m->from.s, "to", m->to.s, "phase",
		known ? ph_words_phase[m->phase] : "", "round", (json_int_t)m->round, "bytes",
		(json_int_t)m->bytes, "total",
		m->has_total ? json_integer((json_int_t)m->total) : json_null(), "rate",
		(json_int_t)rate, "elapsed_ms", (json_int_t)m->elapsed_ms);
}

static bool gather(void *arg, const struct ph_migration_info *m)
{
	struct measuring *g = arg;
	const struct ph_ctl_request *request = g->request;
	const uint64_t worth[] = {(uint64_t)m->phase, m->round, m->bytes, m->total};
	if (m->result != PH_RESULT_RUNNING)
		return false; /* the finished ones come behind */
	bool ours = is_move(request) ? ph_view_match(&request->what, &m->key)
				     : ph_name_equal(&m->from, &request->node);
	if (!ours)
		return true;
	g->hash = ph_hash_bytes(g->hash, &m->id, sizeof m->id);
	g->hash = ph_hash_bytes(g->hash, worth, sizeof worth);
	json_t *line = line_of(m);
	if (line)
		(void)json_object_set_new(
			line, "instances", ph_view_instances(ph_ctl_shell(request), &m->key.child));
	(void)json_array_append_new(g->list, line);
	return true;
}

void ph_ctl_progress_tell(struct ph_ctl_request *request)
{
	struct measuring g = {.request = request, .list = json_array(), .hash = PH_HASH_SEED};
	size_t left = left_now(request);
	size_t done = request->n_left > left ? request->n_left - left : 0;
	ph_hub_migrations(ph_ctl_shell(request)->hub, ph_clock_now_ms(), gather, &g);
	g.hash = ph_hash_bytes(g.hash, &left, sizeof left);
	if (g.hash == request->told) {
		json_decref(g.list);
		return;
	}
	request->told = g.hash;
	json_t *fields = json_pack("{s:o,s:I,s:I}", "progress", g.list, "done", (json_int_t)done,
		"left", (json_int_t)left);
	if (fields) /* a line about progress may be missed */
		ph_ctl_conn_answer(request->conn, request->re, fields, true);
}
