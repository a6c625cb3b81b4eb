/* core_rules.h - which actions a hub may give, whatever happened; part of core_world.h. */
#ifndef PH_TESTS_CORE_RULES_H
#define PH_TESTS_CORE_RULES_H

static const char *const w_bkinds[PH_BKIND_COUNT] = {
#define X(name, word) word,
	PH_BKINDS(X)
#undef X
};
static const char *const w_wops[PH_WOP_COUNT] = {
#define X(name, word) word,
	PH_WOPS(X)
#undef X
};
static const char *const w_records[PH_RECORD_COUNT] = {
#define X(name, word) word,
	PH_RECORDS(X)
#undef X
};
static const char *const w_acts[PH_ACTION_COUNT] = {
#define X(name) #name,
	PH_ACTIONS(X)
#undef X
};

static inline void w_trace(struct world *w, unsigned node, const struct ph_action *a)
{
	char text[256] = "";
	if (a->kind == PH_ACT_SEND || a->kind == PH_ACT_CAST)
		(void)snprintf(text, sizeof text, "%s -> %s v%d", w_bkinds[a->message->kind],
			a->to.s, a->message->n_claims ? (int)a->message->claims[0].verdict : 0);
	else if (a->kind == PH_ACT_TELL || a->kind == PH_ACT_COMPLAIN)
		(void)snprintf(text, sizeof text, "%s wid %llx %s", w_wops[a->worker->op],
			(unsigned long long)a->wid, a->worker->text ? a->worker->text : "");
	else if (a->kind == PH_ACT_JOURNAL)
		(void)snprintf(text, sizeof text, "%s", w_records[a->record->kind]);
	else if (a->kind == PH_ACT_LOG)
		(void)snprintf(text, sizeof text, "%s", a->text);
	else if (a->kind == PH_ACT_EMIT)
		(void)snprintf(text, sizeof text, "%d %s", (int)a->emit->kind,
			a->emit->text ? a->emit->text : "");
	bool beat = a->kind == PH_ACT_CAST && a->message->kind == PH_B_HEARTBEAT;
	if (!beat)
		(void)fprintf(stderr, "%8llu %c %-13s %s\n", (unsigned long long)w->now_ms,
			(char)('a' + node), w_acts[a->kind], text);
}

/* A record must be synced before anything that it protects is said. */
static inline void w_rule_send(struct world *w, unsigned node, const struct ph_bmsg *msg)
{
	struct ph_target *t;
	enum ph_record_kind needs = PH_RECORD_NONE;
	HASH_FIND(hh, w->nodes[node].hub->targets, msg->id.b, sizeof msg->id.b, t);
	if (msg->kind == PH_B_NACK || msg->kind == PH_B_REJECT || msg->kind == PH_B_ABORTED ||
		msg->kind == PH_B_RELEASE)
		needs = PH_RECORD_NEVER;
	else if (msg->kind == PH_B_COMMIT)
		needs = PH_RECORD_COMMIT;
	else if (msg->kind == PH_B_ACTIVE && t)
		needs = PH_RECORD_ACTIVE;
	else if (msg->kind == PH_B_PREPARED)
		needs = PH_RECORD_PREPARED;
	else if (msg->kind == PH_B_ROUND_END && msg->final)
		needs = PH_RECORD_FINAL;
	else if (msg->kind == PH_B_VOID && !w->nodes[node].disk_broken)
		needs = PH_RECORD_VOID;
	if (needs != PH_RECORD_NONE)
		ck_assert_msg(w_synced(w, node, needs, &msg->id), "%s before %s is synced",
			w_bkinds[msg->kind], w_records[needs]);
	if (needs == PH_RECORD_NEVER)
		for (size_t i = 0; i < w->n_procs; i++)
			ck_assert_msg(w->procs[i].node != node || w->procs[i].reaped ||
					      !ph_id_equal(&w->procs[i].id, &msg->id) ||
					      w->procs[i].standing == PH_STANDING_SENDING ||
					      w->procs[i].standing == PH_STANDING_FROZEN,
				"%s while the new worker lives", w_bkinds[msg->kind]);
}

static inline void w_rule_tell(
	struct world *w, unsigned node, const struct w_proc *p, const struct ph_wmsg *msg)
{
	const struct w_node *n = &w->nodes[node];
	if (msg->op == PH_W_ACTIVATE)
		ck_assert_msg(w_synced(w, node, PH_RECORD_ACTIVE, &msg->id),
			"activate before `active` is synced");
	if (msg->op == PH_W_RESUME)
		for (size_t i = 0; i < n->n_records; i++) {
			const struct ph_record *r = &n->records[i].r;
			if (n->records[i].synced && r->kind == PH_RECORD_COMMIT &&
				ph_id_equal(&r->id, &msg->id))
				ck_assert_msg(msg->epoch > r->revision,
					"resume after `commit` without a claim");
		}
	bool resumed = !ph_id_none(&msg->id) && ph_id_equal(&p->resumed_id, &msg->id);
	if (resumed && (msg->op == PH_W_COMMITTED || msg->op == PH_W_FREEZE ||
			       msg->op == PH_W_NEXT_ROUND || msg->op == PH_W_HANDOVER_START))
		ck_abort_msg("%s after resume of the same migration", w_wops[msg->op]);
}

static inline void w_rules(struct world *w, unsigned node, const struct ph_action *a)
{
	const struct w_proc *p = a->wid ? w_proc(w, node, a->wid) : NULL;
	switch ((int)a->kind) {
	case PH_ACT_SPAWN:
		ck_assert_msg(a->wid && !p, "spawn with a number that is taken, or none");
		ck_assert_ptr_nonnull(a->spawn->spec);
		break;
	case PH_ACT_TELL:
	case PH_ACT_COMPLAIN:
	case PH_ACT_SIGNAL:
	case PH_ACT_REAP:
		ck_assert_msg(a->wid != 0, "%s for no process", w_acts[a->kind]);
		ck_assert_msg(p && (!p->reaped || a->kind == PH_ACT_TELL), "%s after its reap",
			w_acts[a->kind]);
		w->late_words += p->reaped;
		if (a->kind == PH_ACT_TELL)
			w_rule_tell(w, node, p, a->worker);
		break;
	case PH_ACT_SEND:
		ck_assert_msg(a->to.s[0] && !ph_name_equal(&a->to, &w->nodes[node].name),
			"%s to itself or nobody", w_bkinds[a->message->kind]);
		w_rule_send(w, node, a->message);
		break;
	default:
		break;
	}
}

/* After each step: never two that serve, unless a false verdict or an overlap says otherwise. */
static inline void w_rules_after(struct world *w)
{
	if (!w->look)
		return;
	w->look = false;
	for (size_t i = 0; i < w->n_procs; i++) {
		const struct w_proc *p = &w->procs[i];
		if (!w_serves(p) || !p->def->spec.swap || p->def->spec.local)
			continue;
		for (size_t j = i + 1; j < w->n_procs; j++) {
			const struct w_proc *q = &w->procs[j];
			bool both = w_serves(q) && ph_key_equal(&p->key, &q->key);
			bool protocol = p->def->traits.caps & PH_CAP_HANDOVER;
			ck_assert_msg(!both || p->epoch != q->epoch || !protocol,
				"two of %s/%u serve with one epoch", p->key.child.s,
				p->key.instance);
			ck_assert_msg(!both || w->double_allowed || !protocol, "two of %s/%u serve",
				p->key.child.s, p->key.instance);
		}
	}
}

/* What must be so of every object of a hub between two steps. */
static inline void w_rules_inside(const struct ph_hub *hub)
{
	const struct ph_instance *i;
	DL_FOREACH (hub->instances, i) {
		bool process = i->state >= PH_INSTANCE_SPAWNING && i->state <= PH_INSTANCE_REAPING;
		bool bounded = i->state == PH_INSTANCE_STARTING ||
			       i->state == PH_INSTANCE_STOPPING ||
			       i->state == PH_INSTANCE_KILLING || i->state == PH_INSTANCE_BACKOFF ||
			       (i->state == PH_INSTANCE_RUNNING && i->spec->watchdog_ms);
		ck_assert(i->state < PH_INSTANCE_STATE_COUNT);
		ck_assert_msg(process == (i->wid != 0), "state %d, wid %llx", (int)i->state,
			(unsigned long long)i->wid);
		ck_assert_msg(
			!bounded || i->timer.pos, "instance state %d has no bound", (int)i->state);
	}
	for (const struct ph_source *s = hub->sources; s; s = s->hh.next) {
		bool bounded = s->state <= PH_SOURCE_COPYING || s->state == PH_SOURCE_RETAINING ||
			       s->state == PH_SOURCE_ABORTING;
		ck_assert(s->state < PH_SOURCE_STATE_COUNT);
		ck_assert_msg(
			!bounded || s->timer.pos, "source state %d has no bound", (int)s->state);
		ck_assert(s->state != PH_SOURCE_RECLAIMING || s->slot->work->claim);
	}
	for (const struct ph_target *t = hub->targets; t; t = t->hh.next) {
		bool bounded = t->state == PH_TARGET_STARTING || t->state == PH_TARGET_LOADING ||
			       t->state == PH_TARGET_SETTLING;
		ck_assert(t->state < PH_TARGET_STATE_COUNT);
		ck_assert_msg(
			!bounded || t->timer.pos, "target state %d has no bound", (int)t->state);
		ck_assert(t->state != PH_TARGET_CLAIMING || t->slot->work->claim);
	}
}

#endif
