/* core_disk.h - the journal of a node: written, synced, failing, compacted; part of core_world.h.
 */
#ifndef PH_TESTS_CORE_DISK_H
#define PH_TESTS_CORE_DISK_H

static inline void w_settle(struct world *w, unsigned node, struct w_record *record)
{
	struct w_node *n = &w->nodes[node];
	int error = n->disk_broken ? EIO : 0;
	if (!error && w->sync)
		error = w->sync(w, node, &record->r);
	n->disk_broken = error != 0;
	record->synced = !error;
	record->lost = error != 0;
	struct ph_event *event = w_push(w, node, PH_EV_JOURNALLED);
	event->ticket = record->ticket;
	event->error = error;
}

/* A manual disk: everything that was written is synced (or fails). */
static inline void w_sync_all(struct world *w, unsigned node)
{
	struct w_node *n = &w->nodes[node];
	for (size_t i = 0; i < n->n_records; i++)
		if (!n->records[i].synced && !n->records[i].lost)
			w_settle(w, node, &n->records[i]);
}

static inline void w_journal(struct world *w, unsigned node, const struct ph_action *action)
{
	struct w_node *n = &w->nodes[node];
	if (n->n_records == n->room) {
		n->room = n->room ? 2 * n->room : 64;
		n->records = realloc(n->records, n->room * sizeof *n->records);
		ck_assert_ptr_nonnull(n->records);
	}
	struct w_record *record = &n->records[n->n_records++];
	struct w_def *def = w_def_of(w, action->record->text);
	*record = (struct w_record){.r = *action->record, .ticket = action->ticket};
	record->r.text = w_text(w, action->record->text);
	record->r.spec = def ? &def->spec : NULL;
	if (w->when == W_AT_JOURNAL && !w->done && (int)record->r.kind == w->when_kind &&
		node == w->when_node)
		return; /* whatever the deed is, it comes before the sync */
	if (!n->manual_disk)
		w_settle(w, node, record);
}

static inline void w_keep(void *arg, const struct ph_record *from)
{
	struct world *w = ((void **)arg)[0];
	struct w_node *n = ((void **)arg)[1];
	struct ph_action action = {.record = from};
	bool manual = n->manual_disk;
	n->manual_disk = true;
	w_journal(w, (unsigned)(n - w->nodes), &action);
	n->records[n->n_records - 1].synced = true;
	n->manual_disk = manual;
}

/* Compaction: the file now holds what ph_hub_records says, and nothing else. */
static inline void w_compact(struct world *w, unsigned node)
{
	struct w_node *n = &w->nodes[node];
	void *arg[2] = {w, n};
	n->n_records = 0;
	ph_hub_records(n->hub, w_keep, arg);
}

static inline void w_journal_back(struct world *w, unsigned node)
{
	struct w_node *n = &w->nodes[node];
	n->disk_broken = false;
	n->journal.b[15]++;
	w_compact(w, node);
	w_push(w, node, PH_EV_JOURNAL_BACK)->id = n->journal;
}

#endif
