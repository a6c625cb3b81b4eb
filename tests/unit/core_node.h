/* core_node.h - daemons that start, crash and come back, and what operators say; core_world.h. */
#ifndef PH_TESTS_CORE_NODE_H
#define PH_TESTS_CORE_NODE_H

static inline struct world *w_new(unsigned n_nodes)
{
	struct world *w = calloc(1, sizeof *w);
	ck_assert_ptr_nonnull(w);
	w->n_nodes = n_nodes;
	w->now_ms = 1000000;
	for (unsigned i = 0; i < n_nodes; i++) {
		w->nodes[i].name = w_name(i);
		w->nodes[i].n_peers = n_nodes - 1;
		w->nodes[i].migrations_max = 8;
		w->nodes[i].journal.b[0] = (uint8_t)(i + 1);
	}
	return w;
}

static inline void w_free(struct world *w)
{
	for (unsigned i = 0; i < w->n_nodes; i++) {
		ph_hub_free(w->nodes[i].hub);
		free(w->nodes[i].records);
	}
	w_free_blocks(&w->blocks);
	w_free_blocks(&w->letters);
	free(w->queue);
	free(w);
}

/* A child with the defaults of the configuration; its workers speak the protocol. */
static inline struct w_def *w_def(struct world *w, const char *child, const char *text)
{
	ck_assert_uint_lt(w->n_defs, W_DEFS);
	struct w_def *def = &w->defs[w->n_defs++];
	(void)snprintf(def->text, sizeof def->text, "%s:%s", child, text);
	def->spec = (struct ph_spec){.child = ph_name_of(child),
		.text = def->text,
		.hash = ph_hash_bytes(PH_HASH_SEED, def->text, strlen(def->text)),
		.process = ph_hash_bytes(PH_HASH_SEED, def->text, strlen(def->text)),
		.instances = 1,
		.ready = PH_READY_PROTOCOL,
		.start_timeout_ms = 10000,
		.stop_signal = 15,
		.stop_timeout_ms = 5000,
		.restart = {.backoff_ms = 100,
			.backoff_max_ms = 30000,
			.jitter_percent = 20,
			.intensity = 5,
			.within_ms = 60000,
			.on_limit = PH_LIMIT_RETRY,
			.retry_after_ms = 300000},
		.swap = true,
		.retention_ms = 5000,
		.timeout_ms = 30000,
		.downtime_ms = 500,
		.defer_max_ms = 600000,
		.rounds_max = 8,
		.max_state_bytes = UINT64_C(1) << 34};
	def->traits.protocol = true;
	def->traits.caps = PH_CAP_HANDOVER;
	return def;
}

static inline void w_declare(struct world *w, unsigned node, const struct w_def *def)
{
	struct w_node *n = &w->nodes[node];
	n->specs[n->n_specs++] = def;
}

static inline void w_declare_all(struct world *w, const struct w_def *def)
{
	for (unsigned i = 0; i < w->n_nodes; i++)
		w_declare(w, i, def);
}

static inline void w_configure(struct world *w, unsigned node)
{
	struct w_node *n = &w->nodes[node];
	const struct ph_spec **specs = w_alloc(w, (n->n_specs + 1) * sizeof(struct ph_spec *));
	struct ph_config *config = w_alloc(w, sizeof *config);
	for (size_t i = 0; i < n->n_specs; i++)
		specs[i] = &n->specs[i]->spec;
	*config = (struct ph_config){.n_specs = n->n_specs,
		.specs = specs,
		.migrations_max = n->migrations_max,
		.settle_ms = 1000,
		.accept_any = true};
	w_push(w, node, PH_EV_CONFIGURED)->config = config;
}

static inline bool w_note(void *arg, const struct ph_worker_view *view)
{
	struct world *w = ((void **)arg)[0];
	struct w_node *n = ((void **)arg)[1];
	if (!view->pid)
		return true;
	ck_assert_uint_lt(n->n_adopted, sizeof n->adopted / sizeof n->adopted[0]);
	struct w_def *def = w_def_of(w, view->spec->text);
	n->adopted[n->n_adopted++] = (struct ph_adopted){.wid = view->wid,
		.pid = view->pid,
		.key = view->key,
		.epoch = view->epoch,
		.born_ms = view->born_ms,
		.copied_ms = view->copied_ms,
		.revision = view->revision,
		.role = view->role,
		.retired = view->retired,
		.retained_until_ms = view->retained_until_ms,
		.ready = view->ready,
		.unheard = true,
		.again = view->again,
		.migration = view->migration,
		.since_ms = view->since_ms,
		.restarts = view->restarts,
		.tally = view->tally,
		.meta = w_text(w, view->meta),
		.spec = &def->spec};
	return true;
}

static inline bool w_note_done(void *arg, const struct ph_worker_view *view)
{
	struct world *w = ((void **)arg)[0];
	struct w_node *n = ((void **)arg)[1];
	ck_assert_uint_lt(n->n_adopted, sizeof n->adopted / sizeof n->adopted[0]);
	n->adopted[n->n_adopted++] = (struct ph_adopted){.key = view->key,
		.epoch = view->epoch,
		.born_ms = view->born_ms,
		.revision = view->revision,
		.role = PH_ROLE_ACTIVE,
		.ready = true,
		.since_ms = view->since_ms,
		.restarts = view->restarts,
		.tally = view->tally,
		.due_ms = view->due_ms,
		.why = w_text(w, view->why),
		.spec = &w_def_of(w, view->spec->text)->spec,
		.done = true,
		.failed = view->failed,
		.exit = view->exit};
	return true;
}

/* The state file is written. */
static inline void w_save(struct world *w, unsigned node)
{
	struct w_node *n = &w->nodes[node];
	void *arg[2] = {w, n};
	n->n_adopted = 0;
	ph_hub_workers(n->hub, w_note, arg);
	ph_hub_done(n->hub, w_note_done, arg);
}

/* The daemon is killed; its workers live on. */
static inline void w_crash(struct world *w, unsigned node)
{
	struct w_node *n = &w->nodes[node];
	if (!n->stale)
		w_save(w, node);
	ph_hub_free(n->hub);
	n->hub = NULL;
	n->up = false;
	n->disk_broken = false;
	n->gen++;
	for (size_t i = 0; i < w->n_procs; i++)
		if (w->procs[i].node == node)
			w->procs[i].connected = false;
	for (size_t i = 0; i < w->n_streams; i++) {
		struct w_stream *s = &w->streams[i];
		bool mine = s->a && s->a_node == node, theirs = s->b && s->b_node == node;
		static const char *const text = "the connection broke";
		struct ph_stream_report *report = w_alloc(w, sizeof *report);
		report->id = s->id;
		if ((mine && s->b) || (theirs && s->a)) {
			struct ph_event *event =
				w_push(w, mine ? s->b_node : s->a_node, PH_EV_STREAM_FAILED);
			event->stream = report;
			event->text = text;
		}
		if (mine || theirs)
			s->a = s->b = false;
	}
}

/* The machine is gone: daemon and workers. */
static inline void w_power_off(struct world *w, unsigned node)
{
	w_crash(w, node);
	for (size_t i = 0; i < w->n_procs; i++)
		if (w->procs[i].node == node && w->procs[i].alive)
			w->procs[i].alive = false, w->procs[i].exited = w->procs[i].reaped = true;
}

static inline struct ph_hub *w_hub(struct world *w, unsigned node)
{
	struct w_node *n = &w->nodes[node];
	const char *peers[W_NODES], *peers_at[W_NODES];
	static char names[W_NODES][sizeof "tcp://node-a:1"];
	uint64_t previous = n->incarnation++;
	uint64_t times = w->slowness[node] ? w->slowness[node] : 1;
	uint64_t failure_ms = (w->failure_ms ? w->failure_ms : 5000) * times;
	struct ph_settings set = {.node = n->name,
		.slot = node + 1,
		.previous = n->blank ? 0 : previous,
		.incarnation = n->incarnation,
		.weight = 1,
		.peers = peers,
		.join_timeout_ms = 5000,
		.failure_timeout_ms = failure_ms,
		.settle_ms = 1000,
		.heartbeat_ms = 250,
		.exchange_ms = w->exchange_ms,
		.fanout = w->fanout,
		.migrations_max = n->migrations_max,
		.accept_any = true,
		.journal = n->journal,
		.journal_writable = true,
		.partition = w->partition,
		.quorum_size = w->quorum_size,
		.quorum_percent = w->quorum_percent,
		.quorum_hold_ms = 10000,
		.fence_after_ms = failure_ms / 5 * 3,
		.fence_grace_ms = failure_ms / 5,
		.lease_until_ms = w->lease_until_ms,
		.seed = node + 17 + n->incarnation * 1000};
	for (unsigned i = 0; i < w->n_nodes && set.n_peers < n->n_peers; i++) {
		if (i == node)
			continue;
		(void)snprintf(names[i], sizeof names[i], "tcp://node-%.1s:1", w_name(i).s);
		peers[set.n_peers] = w->named ? names[i] : w_address(i);
		peers_at[set.n_peers++] = w->unresolved ? "" : w_address(i);
	}
	if (w->named)
		set.peers_at = peers_at;
	if (w->n_nodes > 1)
		memcpy(set.address, w_address(node), strlen(w_address(node)) + 1);
	return ph_hub_new(&set);
}

/* What the state file misses, by the environments. */
static inline void w_adopt_found(struct world *w, unsigned node)
{
	struct w_node *n = &w->nodes[node];
	for (size_t i = 0; i < w->n_procs; i++) {
		struct w_proc *p = &w->procs[i];
		if (!p->alive || p->node != node || p->gen == n->gen)
			continue;
		p->gen = n->gen;
		p->adopted = true;
		const struct ph_adopted adopted = {.wid = p->wid,
			.pid = p->pid,
			.key = p->key,
			.epoch = p->env_epoch,
			.role = p->env_role,
			.unheard = true,
			.spec = &p->def->spec};
		w_push(w, node, PH_EV_ADOPTED)->adopted = w_copy(w, &adopted, sizeof adopted);
	}
}

static inline void w_adopt(struct world *w, unsigned node)
{
	struct w_node *n = &w->nodes[node];
	for (size_t i = 0; i < n->n_adopted; i++) {
		struct w_proc *p = w_proc(w, node, n->adopted[i].wid);
		if (!n->stale && !n->adopted[i].done && (!p || !p->alive))
			continue;
		if (p) {
			p->gen = n->gen;
			p->adopted = true;
		}
		w_push(w, node, PH_EV_ADOPTED)->adopted =
			w_copy(w, &n->adopted[i], sizeof n->adopted[i]);
	}
	if (n->stale)
		w_adopt_found(w, node);
}

/* Those of an old state file that have ended since. */
static inline void w_report_ended(struct world *w, unsigned node)
{
	const struct w_node *n = &w->nodes[node];
	for (size_t i = 0; n->stale && i < n->n_adopted; i++) {
		struct w_proc *p = w_proc(w, node, n->adopted[i].wid);
		if (n->adopted[i].done || !p || p->alive)
			continue;
		p->exited = true;
		p->reaped = false;
		struct ph_event *event = w_push(w, node, PH_EV_EXITED);
		event->wid = p->wid;
		event->exit = (struct ph_exit){PH_EXIT_UNKNOWN, 0};
	}
}

/* A child of one instance, which runs where placement wants it, or on node 0. */
static inline const struct w_def *w_room(struct world *w)
{
	return w_def(w, "room", "1");
}

static inline const struct w_def *w_room_of_a(struct world *w)
{
	struct w_def *def = w_def(w, "room", "1");
	def->spec.nodes = "a";
	return def;
}

/* Starts the daemon, from its records and what still runs. */
static inline void w_start(struct world *w, unsigned node)
{
	struct w_node *n = &w->nodes[node];
	n->hub = w_hub(w, node);
	n->up = true;
	n->exited = n->ready = false;
	w_configure(w, node);
	for (size_t i = 0; i < n->n_records; i++)
		if (n->records[i].synced)
			w_push(w, node, PH_EV_RESTORED)->record =
				w_copy(w, &n->records[i].r, sizeof n->records[i].r);
	w_adopt(w, node);
	(void)w_push(w, node, PH_EV_START);
	w_report_ended(w, node);
	n->n_adopted = 0;
	n->stale = false;
	w_drain(w);
	for (size_t i = 0; i < w->n_procs; i++) {
		struct w_proc *p = &w->procs[i];
		if (p->adopted && p->alive && p->node == node && p->welcomes)
			w_hello(w, p);
		p->adopted = p->adopted && p->node != node;
	}
	w_drain(w);
}

static inline void w_start_all(struct world *w)
{
	for (unsigned i = 0; i < w->n_nodes; i++)
		w_start(w, i);
	w_run(w, 4000);
}

/* ---- orders ---- */

static inline void w_order(struct world *w, unsigned node, enum ph_verb verb, const char *child,
	const char *to, const struct ph_command *more)
{
	struct ph_command *c = w_alloc(w, sizeof *c);
	if (more)
		*c = *more;
	c->ticket = 77;
	c->verb = verb;
	c->child = ph_name_of(child ? child : "");
	c->node = ph_name_of(to ? to : "");
	c->all_instances = child && !more;
	w_push(w, node, PH_EV_COMMAND)->command = c;
	w->nodes[node].answers = 0;
	w_drain(w);
}

/* Everything about migrations is over and forgotten everywhere. */
static inline void w_no_leftovers(struct world *w)
{
	for (unsigned i = 0; i < w->n_nodes; i++) {
		struct ph_hub_counts c;
		if (!w->nodes[i].hub)
			continue;
		ph_hub_count(w->nodes[i].hub, &c);
		w_rules_inside(w->nodes[i].hub);
		ck_assert_msg(!c.sources && !c.targets && !c.claims,
			"node %c still has %zu sources, %zu targets, %zu claims", (int)('a' + i),
			c.sources, c.targets, c.claims);
	}
}

/* Exactly one process of it lives in the cluster, and it serves; returns it. */
static inline struct w_proc *w_only(struct world *w, const char *child, uint32_t instance)
{
	struct w_proc *found = NULL;
	for (size_t i = 0; i < w->n_procs; i++) {
		struct w_proc *p = &w->procs[i];
		if (!p->alive || p->key.instance != instance || strcmp(p->key.child.s, child) != 0)
			continue;
		ck_assert_msg(!found, "two processes of %s/%u live", child, instance);
		found = p;
	}
	ck_assert_msg(found, "no process of %s/%u lives", child, instance);
	ck_assert_msg(w_serves(found), "the process of %s/%u does not serve", child, instance);
	return found;
}

/* All hubs agree that `node` owns it and is running. */
static inline void w_agree(struct world *w, const char *child, uint32_t instance, unsigned node)
{
	for (unsigned i = 0; i < w->n_nodes; i++) {
		if (!w->nodes[i].hub)
			continue;
		const struct ph_slot *slot = w_slot(w, i, child, instance);
		ck_assert_msg(slot && slot->entered, "%c knows no owner", (int)('a' + i));
		ck_assert_str_eq(slot->entry.node->name.s, w->nodes[node].name.s);
		ck_assert_int_eq(slot->entry.state, PH_CHILD_RUNNING);
	}
}

/* What node `at` knows of `node`; NULL: nothing. */
static inline struct ph_member *w_member(struct world *w, unsigned at, unsigned node)
{
	struct ph_name name = w_name(node);
	return ph_member_find(w->nodes[at].hub, &name);
}

/* The only one that its operator has been given. */
static inline const struct ph_answer *w_answer(struct world *w, unsigned node)
{
	ck_assert_uint_eq(w->nodes[node].answers, 1);
	return &w->nodes[node].answer;
}

/* Nothing gets from one to the other. */
static inline void w_cut(struct world *w, unsigned a, unsigned b, bool on)
{
	w->cut[a][b] = w->cut[b][a] = on;
}

static inline void w_cut_off(struct world *w, unsigned node, bool on)
{
	for (unsigned i = 0; i < w->n_nodes; i++)
		w_cut(w, node, i, on && i != node);
}

/* Each migration has ended, and in the same way for all who know of it. */
static inline void w_one_outcome(struct world *w)
{
	const struct ph_history *h, *other;
	for (unsigned i = 0; i < w->n_nodes; i++)
		for (h = w->nodes[i].hub ? w->nodes[i].hub->history : NULL; h; h = h->next)
			for (unsigned j = 0; j < w->n_nodes; j++) {
				if (!w->nodes[j].hub)
					continue;
				HASH_FIND(hh, w->nodes[j].hub->history_by_id, h->info.id.b,
					sizeof h->info.id.b, other);
				ck_assert_msg(h->info.result != PH_RESULT_RUNNING,
					"for %c a migration runs for ever", (int)('a' + i));
				ck_assert_msg(!other || other->info.result == h->info.result,
					"for %c a migration ended as %d (%s), for %c as %d (%s)",
					(int)('a' + i), (int)h->info.result, h->info.reason,
					(int)('a' + j), other ? (int)other->info.result : 0,
					other ? other->info.reason : "");
			}
}

/* A test in a case of its own, so that CK_RUN_CASE names it. W_TRACE=number traces one of its
 * worlds. */
static inline void w_loop(Suite *suite, const char *name, const TTest *test, int n)
{
	TCase *tc = tcase_create(name);
	tcase_add_loop_test(tc, test, 0, n);
	suite_add_tcase(suite, tc);
}
#define W_TEST(suite, test, n) w_loop(suite, #test, test, n)

static inline void w_trace_if(struct world *w, int number)
{
	const char *which = getenv("W_TRACE");
	w->trace = which && atoi(which) == number;
}

/* Runs a suite; the exit status of the program. */
static inline int w_main(Suite *suite)
{
	return run_tests(suite);
}

#endif
