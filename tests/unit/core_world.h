/*
 * core_world.h - up to W_NODES real hubs in one process, for the tests of daemon/core.
 *
 * A loss-free world: what is sent arrives in order and at once, records are synced at once,
 * processes start at once and follow the script of core_worker.h. A test bends it by its hooks:
 * messages that are dropped, records whose sync fails, deeds that are done at a certain action. A
 * node without a hub is a puppet: what it is sent is counted and shown to `pass`, its answers are
 * the test's. After each action core_rules.h says whether it may be given.
 */
#ifndef PH_TESTS_CORE_WORLD_H
#define PH_TESTS_CORE_WORLD_H

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/state.h"
#include "run_tests.h"

#ifndef W_NODES
#define W_NODES 3
#endif
#define W_PROCS 1024
#define W_DEFS 8
#define W_STREAMS 64
#define W_ROUNDS 16

struct world;

struct w_traits {	       /* what the workers of a child do */
	bool protocol, notify; /* neither: a plain program */
	uint32_t caps;
	unsigned busy, never, reject; /* answers so, so many times */
	bool mute_ask, mute_start, mute_load, mute_freeze, mute_hello; /* no answer to these */
	bool never_ready, deaf; /* deaf: ends only by SIGKILL */
	bool handles;		/* says retention_handled */
	bool refuses_conflict;
	bool dies_active; /* as soon as it is told `activate` */
	bool dies_at_start;
	const char *format;   /* of its accept, where it is another one than hello's */
	unsigned absent;      /* bits: nodes on which it cannot be started, ... */
	int absent_error;     /* ... and why */
	uint64_t dirty_bytes; /* says so before the end of a round; 0: says nothing */
};

struct w_def {
	struct ph_spec spec;
	char text[64];
	struct w_traits traits;
};

struct w_proc {
	uint64_t wid;
	unsigned node;
	uint32_t pid, gen; /* gen: of the daemon that knows it under this wid */
	struct w_def *def;
	struct ph_key key;
	uint64_t epoch;
	enum ph_role role;
	uint64_t env_epoch; /* as it was started */
	enum ph_role env_role;
	struct ph_id id; /* of the handover it stands in */
	bool alive, exited, reaped, adopted, connected, active, frozen, retired;
	enum ph_standing standing;
	uint64_t value, loaded; /* updates that it has applied */
	uint32_t round;
	uint64_t resumed_epoch;
	unsigned stops, terms, kills, freezes, resumes, commits, activates, aborts, welcomes,
		complaints, conflicts, probes;
	struct ph_probe_order probe; /* the newest; its pointers are of no use later */
	struct ph_id resumed_id, committed_id;
};

struct w_round {
	bool fed, wanted, told_a, told_b;
	uint64_t value, bytes;
};

struct w_stream {
	struct ph_id id;
	bool a, b, keep; /* keep: of a conflict */
	unsigned a_node, b_node;
	uint64_t a_wid, b_wid;
	struct w_round rounds[W_ROUNDS];
};

struct w_record {
	struct ph_record r;
	uint64_t ticket;
	bool synced, lost; /* lost: its sync failed */
};

struct w_node {
	struct ph_hub *hub; /* NULL: down, or a puppet */
	struct ph_name name;
	bool up, manual_disk, disk_broken, exited, ready;
	uint32_t gen;
	uint64_t incarnation;
	const struct w_def *specs[W_DEFS];
	size_t n_specs;
	unsigned n_peers;
	uint32_t migrations_max;
	uint64_t retry_at_ms; /* of a step that still has actions to give */
	struct w_record *records;
	size_t n_records, room;
	struct ph_id journal;
	struct ph_adopted adopted[64];
	size_t n_adopted;
	bool stale; /* `adopted` is what a state file said some time before the crash */
	unsigned sent[PH_BKIND_COUNT], got[PH_BKIND_COUNT], emitted[PH_EMIT_COUNT];
	unsigned warnings;
	struct ph_answer answer; /* the last one; its outcomes below */
	struct ph_outcome outcomes[128];
	unsigned answers, bugs, drops;
	bool hold_number, fail_number;	/* a higher incarnation is not answered; cannot be kept */
	unsigned numbers;		/* so often one was to be kept */
	unsigned mends;			/* links dialled anew */
	bool blank;			/* its state directory is new: no earlier number is known */
	char last_text[PH_REASON_SIZE]; /* of the last migration_aborted */
	char again_text[PH_REASON_SIZE]; /* of the last child_restarting */
};

struct w_item {
	unsigned node;
	uint32_t gen;
	struct ph_event event;
};

enum w_when {
	W_NEVER,
	W_AT_SEND,
	W_AT_TELL,
	W_AT_JOURNAL,
	W_AT_SYNC
};

struct w_block {
	struct w_block *next;
	_Alignas(16) unsigned char bytes[];
};

struct world {
	uint64_t now_ms;
	unsigned n_nodes;
	struct w_node nodes[W_NODES];
	struct w_def defs[W_DEFS];
	size_t n_defs;
	struct w_proc procs[W_PROCS];
	size_t n_procs;
	struct w_stream streams[W_STREAMS];
	size_t n_streams;
	struct w_item *queue;
	size_t head, tail, room;
	struct w_block *blocks, *letters; /* letters: until all of them are delivered */
	uint32_t last_pid;
	bool cut[W_NODES][W_NODES];
	unsigned late_words; /* to a worker after its reap */
	bool trace, look;    /* look: somebody may have begun to serve */
	bool named;	     /* `peers` gives names, which lead to the addresses */
	bool unresolved;     /* these, by a name server that has not answered yet */
	bool double_allowed; /* a false verdict or an overlap: two may serve */
	unsigned steps;
	enum ph_partition partition;
	uint32_t quorum_size, quorum_percent;
	uint64_t slowness[W_NODES]; /* its times of failure and fence are so many times longer; 0: 1
				     */
	uint64_t ahead_ms[W_NODES]; /* its clock is so far ahead of now_ms */
	uint64_t lease_until_ms;    /* what a restarted daemon knows of its lease */
	uint32_t fanout;	    /* of gossip; 0: broadcast */
	uint64_t exchange_ms;
	uint64_t failure_ms;	 /* failure_timeout; 0: 5 s */
	bool keep_fails, keeps;	 /* the file of a conflict cannot be written; is left in place */
	uint64_t keep_more;	 /* bytes that are in it beyond what its worker said */
	struct ph_emit resolved; /* the last conflict_resolved, its texts in ... */
	char resolved_kept[PH_REASON_SIZE], resolved_text[PH_REASON_SIZE];

	bool hook_fails, hook_hangs; /* that of a conflict */
	unsigned hooks;
	struct ph_hook_order hook; /* the last one */

	/* hooks; NULL: nothing special */
	bool (*pass)(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg);
	int (*sync)(struct world *w, unsigned node, const struct ph_record *record);
	bool (*mute)(struct world *w, struct w_proc *proc, const struct ph_wmsg *msg);

	/* one deed, done right after that action of that node; the node's later actions are lost
	   where the deed crashes it */
	enum w_when when;
	int when_kind;
	unsigned when_node;
	void (*deed)(struct world *w);
	bool done;
	void *arg;
};

/* ---- memory that lives as long as the world ---- */

static inline void w_free_blocks(struct w_block **blocks)
{
	while (*blocks) {
		struct w_block *next = (*blocks)->next;
		free(*blocks);
		*blocks = next;
	}
}

static inline void *w_alloc(struct world *w, size_t n)
{
	struct w_block *block = calloc(1, sizeof *block + n);
	ck_assert_ptr_nonnull(block);
	block->next = w->blocks;
	w->blocks = block;
	return block->bytes;
}

static inline void *w_copy(struct world *w, const void *from, size_t n)
{
	return n ? memcpy(w_alloc(w, n), from, n) : NULL;
}

static inline char *w_text(struct world *w, const char *text)
{
	return text ? w_copy(w, text, strlen(text) + 1) : NULL;
}

static inline struct w_def *w_def_of(struct world *w, const char *text)
{
	for (size_t i = 0; text && i < w->n_defs; i++)
		if (strcmp(w->defs[i].text, text) == 0)
			return &w->defs[i];
	return NULL;
}

/* A copy that lives as long as the world. */
static inline const struct ph_bmsg *w_kept_letter(struct world *w, const struct ph_bmsg *from)
{
	struct ph_bmsg *msg = w_copy(w, from, sizeof *from);
	struct ph_member_info *members =
		w_copy(w, from->members, from->n_members * sizeof *members);
	struct ph_entry *entries = w_copy(w, from->entries, from->n_entries * sizeof *entries);
	struct ph_spec_line *specs = w_copy(w, from->specs, from->n_specs * sizeof *specs);
	for (size_t i = 0; i < from->n_members; i++)
		members[i].labels = w_text(w, members[i].labels);
	for (size_t i = 0; i < from->n_entries; i++)
		entries[i].meta = w_text(w, entries[i].meta);
	for (size_t i = 0; i < from->n_specs; i++) {
		struct w_def *def = w_def_of(w, specs[i].text);
		specs[i].text = w_text(w, specs[i].text);
		specs[i].spec = def ? &def->spec : NULL;
	}
	msg->members = members;
	msg->entries = entries;
	msg->specs = specs;
	msg->echoes = w_copy(w, from->echoes, from->n_echoes * sizeof *from->echoes);
	msg->ages = w_copy(w, from->ages, from->n_ages * sizeof *from->ages);
	msg->places = w_text(w, from->places);
	msg->migrations =
		w_copy(w, from->migrations, from->n_migrations * sizeof *from->migrations);
	msg->claims = w_copy(w, from->claims, from->n_claims * sizeof *from->claims);
	msg->parts = w_copy(w, from->parts, from->n_parts * sizeof *from->parts);
	msg->self.labels = w_text(w, from->self.labels);
	msg->meta = w_text(w, from->meta);
	msg->value = w_text(w, from->value);
	return msg;
}

/* One that lives until it is delivered. */
static inline const struct ph_bmsg *w_letter(struct world *w, const struct ph_bmsg *from)
{
	struct w_block *kept = w->blocks;
	w->blocks = w->letters;
	const struct ph_bmsg *msg = w_kept_letter(w, from);
	w->letters = w->blocks;
	w->blocks = kept;
	return msg;
}

/* ---- names, epochs, lookups ---- */

static inline struct ph_name w_name(unsigned node)
{
	char s[2] = {(char)(node < 26 ? 'a' + node : 'A' + node - 26), '\0'};
	return ph_name_of(s);
}

static inline const char *w_address(unsigned node)
{
	static char addresses[W_NODES][sizeof "tcp://a:1"];
	(void)snprintf(addresses[node], sizeof addresses[node], "tcp://%.1s:1", w_name(node).s);
	return addresses[node];
}

static inline unsigned w_node_of(const struct ph_name *name)
{
	char c = name->s[0];
	unsigned node = (unsigned)(c >= 'a' ? c - 'a' : c - 'A' + 26);
	return name->s[1] == '\0' && node < W_NODES ? node : W_NODES;
}

static inline struct w_proc *w_proc(struct world *w, unsigned node, uint64_t wid)
{
	for (size_t i = w->n_procs; i-- > 0;)
		if (w->procs[i].node == node && w->procs[i].wid == wid)
			return &w->procs[i];
	return NULL;
}

static inline bool w_serves(const struct w_proc *p)
{
	return p->alive && p->active && !p->frozen && !p->retired;
}

/* The process that serves that instance of any child of that name, or NULL. */
static inline struct w_proc *w_serving(struct world *w, const char *child, uint32_t instance)
{
	struct w_proc *found = NULL;
	for (size_t i = 0; i < w->n_procs; i++) {
		struct w_proc *p = &w->procs[i];
		if (w_serves(p) && p->key.instance == instance &&
			strcmp(p->key.child.s, child) == 0)
			found = p;
	}
	return found;
}

static inline unsigned w_alive(const struct world *w, unsigned node)
{
	unsigned n = 0;
	for (size_t i = 0; i < w->n_procs; i++)
		n += w->procs[i].alive && w->procs[i].node == node;
	return n;
}

/* The spec of it alone, to be written to. */
static inline struct ph_spec *w_own_spec(struct ph_instance *instance)
{
	uint64_t revision = instance->spec->revision;
	if (instance->spec->keepers > 1) /* else it is its own already */
		ph_instance_revise(instance, revision + 1);
	struct ph_spec *own = (struct ph_spec *)(uintptr_t)instance->spec;
	own->revision = revision;
	return own;
}

static inline struct ph_slot *w_slot(struct world *w, unsigned node, const char *child, uint32_t i)
{
	struct ph_key key = {.child = ph_name_of(child), .instance = i};
	return ph_slot_find(w->nodes[node].hub, &key, NULL);
}

static inline bool w_synced(
	const struct world *w, unsigned node, enum ph_record_kind kind, const struct ph_id *id)
{
	const struct w_node *n = &w->nodes[node];
	for (size_t i = 0; i < n->n_records; i++)
		if (n->records[i].synced && n->records[i].r.kind == kind &&
			(!id || ph_id_equal(id, &n->records[i].r.id)))
			return true;
	return false;
}

/* ---- the queue ---- */

static inline struct ph_event *w_push(struct world *w, unsigned node, enum ph_event_kind kind)
{
	if (w->tail == w->room) {
		w->room = w->room ? 2 * w->room : 256;
		w->queue = realloc(w->queue, w->room * sizeof *w->queue);
		ck_assert_ptr_nonnull(w->queue);
	}
	struct w_item *item = &w->queue[w->tail++];
	memset(item, 0, sizeof *item);
	item->node = node;
	item->gen = w->nodes[node].gen;
	item->event.kind = kind;
	return &item->event;
}

/* `msg` lives until it is delivered. */
static inline void w_arrive(struct world *w, unsigned to, const struct ph_bmsg *msg)
{
	struct w_node *n = &w->nodes[to];
	n->got[msg->kind]++;
	if (n->hub)
		w_push(w, to, PH_EV_MESSAGE)->message = msg;
}

static inline void w_post(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	bool own = from < W_NODES && ph_name_equal(&w->nodes[from].name, &w->nodes[to].name);
	if (!own && w->nodes[to].up && !w->cut[from][to] &&
		!(w->pass && !w->pass(w, from, to, msg)))
		w_arrive(w, to, msg);
}

/* By way of a third one, whose daemon must run. */
static inline void w_relay(
	struct world *w, unsigned from, unsigned via, unsigned to, const struct ph_bmsg *msg)
{
	if (w->nodes[via].hub && w->nodes[to].up && !w->cut[from][via] && !w->cut[via][to] &&
		!(w->pass && !w->pass(w, from, to, msg)))
		w_arrive(w, to, msg);
}

#include "core_rules.h"
#include "core_worker.h"
#include "core_disk.h"

/* ---- one action, one event ---- */

static inline bool w_is_time(const struct world *w, unsigned node, const struct ph_action *a)
{
	if (w->done || node != w->when_node)
		return false;
	switch (w->when) {
	case W_AT_SEND:
		return a->kind == PH_ACT_SEND && (int)a->message->kind == w->when_kind;
	case W_AT_TELL:
		return a->kind == PH_ACT_TELL && (int)a->worker->op == w->when_kind;
	case W_AT_JOURNAL:
	case W_AT_SYNC:
		return a->kind == PH_ACT_JOURNAL && (int)a->record->kind == w->when_kind;
	case W_NEVER:
		break;
	}
	return false;
}

static inline void w_answered(struct w_node *n, const struct ph_answer *answer)
{
	n->answers++;
	n->answer = *answer;
	size_t room = sizeof n->outcomes / sizeof n->outcomes[0];
	if (n->answer.n_outcomes > room)
		n->answer.n_outcomes = room;
	if (n->answer.n_outcomes)
		memcpy(n->outcomes, answer->outcomes, n->answer.n_outcomes * sizeof *n->outcomes);
	n->answer.outcomes = n->outcomes;
}

/* To every node of that name (there may be two by mistake) whose life is meant. */
static inline void w_send(struct world *w, unsigned node, const struct ph_action *a)
{
	const struct ph_bmsg *letter = w_letter(w, a->message);
	for (unsigned to = 0; to < w->n_nodes; to++) {
		const struct w_node *n = &w->nodes[to];
		bool meant = !n->hub || !a->incarnation || a->incarnation == n->incarnation;
		bool there = !a->address || strcmp(a->address, w_address(to)) == 0;
		if (!meant || !there || !ph_name_equal(&n->name, &a->to))
			continue;
		w_post(w, node, to, letter);
		if (a->via.s[0])
			w_relay(w, node, w_node_of(&a->via), to, letter);
	}
}

static inline void w_resolved(struct world *w, const struct ph_emit *emit)
{
	w->resolved = *emit;
	(void)snprintf(
		w->resolved_kept, sizeof w->resolved_kept, "%s", emit->kept ? emit->kept : "");
	(void)snprintf(
		w->resolved_text, sizeof w->resolved_text, "%s", emit->text ? emit->text : "");
}

static inline void w_act(struct world *w, unsigned node, const struct ph_action *a)
{
	struct w_node *n = &w->nodes[node];
	const struct ph_bmsg *letter;
	w_rules(w, node, a);
	switch ((int)a->kind) {
	case PH_ACT_SEND:
		n->sent[a->message->kind]++;
		w_send(w, node, a);
		break;
	case PH_ACT_MEND:
		n->mends++;
		break;
	case PH_ACT_INCARNATION:
		n->numbers++;
		if (n->hold_number)
			break;
		struct ph_event *kept = w_push(w, node, PH_EV_INCARNATION);
		kept->ticket = a->incarnation;
		kept->error = n->fail_number ? EIO : 0;
		if (!kept->error)
			n->incarnation = a->incarnation;
		break;
	case PH_ACT_CAST:
		n->sent[a->message->kind]++;
		letter = w_letter(w, a->message);
		for (unsigned i = 0; i < w->n_nodes; i++)
			if (i != node)
				w_post(w, node, i, letter);
		break;
	case PH_ACT_JOURNAL:
		w_journal(w, node, a);
		break;
	case PH_ACT_ANSWER:
		w_answered(n, a->answer);
		break;
	case PH_ACT_EMIT:
		n->emitted[a->emit->kind]++;
		if (a->emit->kind == PH_EMIT_CONFLICT_RESOLVED)
			w_resolved(w, a->emit);
		if (a->emit->kind == PH_EMIT_CHILD_RESTARTING)
			(void)snprintf(n->again_text, sizeof n->again_text, "%s",
				a->emit->text ? a->emit->text : "");
		if (a->emit->kind == PH_EMIT_MIGRATION_ABORTED && a->emit->text)
			(void)snprintf(n->last_text, sizeof n->last_text, "%s", a->emit->text);
		break;
	case PH_ACT_LOG:
		n->bugs += strncmp(a->text, "bug:", 4) == 0;
		n->drops += strstr(a->text, " was dropped: ") != NULL;
		n->warnings += a->level == PH_LOG_WARNING;
		break;
	case PH_ACT_READY:
		n->ready = true;
		break;
	case PH_ACT_EXIT:
		n->exited = true;
		break;
	default:
		w_worker_act(w, node, a);
	}
}

static inline void w_step(struct world *w, unsigned node, const struct ph_event *event)
{
	struct w_node *n = &w->nodes[node];
	struct ph_actions actions;
	uint32_t gen = n->gen;
	if (!n->hub)
		return;
	w->steps++;
	ph_step(n->hub, event, w->now_ms + w->ahead_ms[node], &actions);
	for (size_t i = 0; i < actions.n; i++) {
		bool now = w_is_time(w, node, &actions.items[i]);
		if (w->trace)
			w_trace(w, node, &actions.items[i]);
		w_act(w, node, &actions.items[i]);
		if (!now)
			continue;
		w->done = true;
		w->deed(w);
		if (n->gen != gen)
			return; /* it crashed right there */
		if (w->when == W_AT_JOURNAL)
			w_settle(w, node, &n->records[n->n_records - 1]);
	}
	w_rules_after(w);
	if (n->exited && n->hub) {
		ph_hub_free(n->hub);
		n->hub = NULL;
		n->up = false;
		n->gen++;
	}
}

static inline void w_drain(struct world *w)
{
	unsigned count = 0;
	while (w->head < w->tail) {
		struct w_item item = w->queue[w->head++];
		if (w->head == w->tail)
			w->head = w->tail = 0;
		ck_assert_msg(++count < 200000, "the world does not come to rest");
		if (item.gen == w->nodes[item.node].gen)
			w_step(w, item.node, &item.event);
	}
	w_free_blocks(&w->letters);
}

/* Lets `ms` pass, with everything that happens meanwhile. */
static inline void w_run(struct world *w, uint64_t ms)
{
	struct ph_event tick = {.kind = PH_EV_TICK};
	uint64_t until = w->now_ms + ms;
	unsigned still = 0;
	w_drain(w);
	for (;;) {
		uint64_t next = PH_NEVER_MS;
		unsigned node = 0;
		for (unsigned i = 0; i < w->n_nodes; i++) {
			uint64_t at =
				w->nodes[i].hub ? ph_next_deadline(w->nodes[i].hub) : PH_NEVER_MS;
			if (at != PH_NEVER_MS)
				at = at < w->ahead_ms[i] ? 0 : at - w->ahead_ms[i];
			if (at < next)
				next = at, node = i;
		}
		if (next > until)
			break;
		ck_assert_msg(++still < 5000 || next > w->now_ms, "a timer spins");
		if (next > w->now_ms)
			w->now_ms = next, still = 0;
		w_step(w, node, &tick);
		w_drain(w);
	}
	w->now_ms = until;
}
#include "core_node.h"

#endif
