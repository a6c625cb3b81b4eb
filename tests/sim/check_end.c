/* check_end.c - once the faults are over everything must come to rest, and agree. */
#include "sim.h"
#include "proto/bus.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define POLL_US (500 * MS)
#define CALM_POLLS 4
#define HEALING_US (60 * SEC)
#define FORGET_US (10 * SEC)  /* whatever comes to rest by itself has */
#define TELLING_US (10 * SEC) /* a drop that was not heard has been told again */
#define FORGET_POLLS 6	      /* between two tries */

struct look {
	struct sim *sim;
	struct sim_node *node;
	struct sim_key *key;
	struct ph_name owner;
	uint64_t epoch;
	uint32_t pid;
	unsigned owned;
	bool wanted, known, runs;
	struct ph_migration_info running;
	uint64_t done, aborted;
};

static char why[256];

#define REVISION "%llu/%u"
#define REVISION_ARGS(s) \
	(unsigned long long)((s) ? ph_epoch_counter((s)->revision) : 0), \
		(unsigned)((s) ? (s)->revision & 0xffffff : 0)

static bool no(const char *format, ...) __attribute__((format(printf, 1, 2)));
static bool no(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	(void)vsnprintf(why, sizeof why, format, args);
	va_end(args);
	return false;
}

static bool see_entry(void *arg, const struct ph_entry_view *view)
{
	struct look *look = arg;
	if (!ph_key_equal(&view->entry.key, &look->key->key))
		return true;
	look->wanted = view->wanted;
	if (!view->owned)
		return true;
	look->owned++;
	look->owner = view->entry.node;
	look->epoch = view->entry.epoch;
	look->pid = view->entry.pid;
	return true;
}

static bool see_migration(void *arg, const struct ph_migration_info *info)
{
	struct look *look = arg;
	if (info->result == PH_RESULT_RUNNING)
		look->running = *info, look->runs = true;
	else if (info->result == PH_RESULT_DONE)
		look->done++;
	else
		look->aborted++;
	return true;
}

static bool see_worker(void *arg, const struct ph_worker_view *view)
{
	struct look *look = arg;
	if (view->pid == look->pid)
		look->known = true;
	return true;
}

/* Only drained nodes are left: nobody may take anything. */
static bool all_drained(const struct sim *sim)
{
	bool ordered = false;
	for (unsigned i = 0; i < sim->n_plan; i++)
		ordered |= sim->plan[i].kind == DEED_DRAIN;
	for (unsigned i = 0; i < sim->n_nodes; i++)
		if (sim->nodes[i].hub && !ph_hub_draining(sim->nodes[i].hub))
			return false;
	return ordered;
}

/* One of it serves on each node. */
static bool local_rests(struct sim *sim, const struct sim_key *key)
{
	for (unsigned i = 0; i < sim->n_nodes; i++) {
		const struct sim_node *node = &sim->nodes[i];
		unsigned serving = 0;
		if (!node->hub || sim_node_outside(node))
			continue;
		for (const struct sim_proc *p = sim->procs; p; p = p->next)
			serving += p->key == key && p->node == node && p->serving;
		if (serving != 1)
			return no("%u processes of %s serve on %s, where one is to be", serving,
				key->key.child.s, node->name.s);
	}
	return true;
}

/* Does the file of any node have it, or was it added? */
static bool declared(const struct sim *sim, const struct sim_def *def)
{
	if (def->spec.added)
		return sim_added_there(sim, def);
	for (unsigned i = 0; i < sim->n_nodes; i++)
		if (sim->nodes[i].hub && !sim_node_outside(&sim->nodes[i]) &&
			sim->nodes[i].file[def - sim->defs])
			return true;
	return false;
}

/*
 * Somebody's file had it who has died since, for good, and had not told all that it has no more.
 * Who dropped it meanwhile was told that it has, and a death is no removal: it goes on, but where
 * it was dropped after that death.
 */
static bool bequeathed(const struct sim *sim, const struct sim_def *def)
{
	for (unsigned i = 0; i < sim->n_nodes; i++) {
		const struct sim_node *node = &sim->nodes[i];
		uint64_t had_us = node->had_us[def - sim->defs];
		bool told = had_us != UINT64_MAX && node->ended_us > had_us + TELLING_US;
		if (node->gone && had_us && !told)
			return true;
	}
	return false;
}

static bool removal_rests(struct sim *sim, struct sim_key *key)
{
	for (unsigned i = 0; i < sim->n_nodes; i++) {
		struct sim_node *node = &sim->nodes[i];
		struct look look = {.key = key};
		if (!node->hub || sim_node_outside(node))
			continue;
		ph_hub_entries(node->hub, sim_node_ms(node), &key->key.child, see_entry, &look);
		if (look.owned || look.wanted)
			return no("%s still knows %s/%u, which is in no file, of %s", node->name.s,
				key->key.child.s, key->key.instance,
				look.owned ? look.owner.s : "nobody");
	}
	for (const struct sim_proc *p = sim->procs; p; p = p->next)
		if (p->key == key && p->alive)
			return no("pid %u of %s/%u, which is in no file, lives on %s", p->pid,
				key->key.child.s, key->key.instance, p->node->name.s);
	return true;
}

static bool spec_rests(const struct sim *sim, const struct sim_def *def, bool must_be)
{
	const struct ph_spec *first = NULL;
	bool any = false;
	for (unsigned i = 0; i < sim->n_nodes; i++) {
		const struct sim_node *node = &sim->nodes[i];
		if (!node->hub || sim_node_outside(node))
			continue;
		const struct ph_spec *spec = ph_hub_spec(node->hub, &def->spec.child);
		bool other = any && (!spec != !first || (spec && spec->hash != first->hash));
		if ((must_be && !spec) || other)
			return no("%s has revision " REVISION " of %s, another one " REVISION,
				node->name.s, REVISION_ARGS(spec), def->spec.child.s,
				REVISION_ARGS(first));
		first = spec;
		any = true;
	}
	return true;
}

/* Whatever stands in the files: one text of a child is in force everywhere. */
static bool specs_rest(const struct sim *sim)
{
	/* Without a quorum nobody owns it whose text it could be. */
	for (unsigned d = 0; d < sim->n_defs && sim_check_quorate(sim); d++) {
		const struct sim_def *def = &sim->defs[d];
		bool removable = def->removable && !def->spec.local;
		if (removable && declared(sim, def) && !spec_rests(sim, def, true))
			return false;
		if (removable && bequeathed(sim, def) && !spec_rests(sim, def, false))
			return false;
	}
	return true;
}

/* All hubs name the same owner, and its one process serves. */
static bool key_rests(struct sim *sim, struct sim_key *key)
{
	struct look first = {.owned = 0};
	bool any = false;
	if (all_drained(sim) || !sim_check_quorate(sim))
		return true;
	if (key->def->spec.local)
		return key->def->removable || key->ordered || local_rests(sim, key);
	if (key->def->removable && !declared(sim, key->def) && !bequeathed(sim, key->def))
		return removal_rests(sim, key);
	for (unsigned i = 0; i < sim->n_nodes; i++) {
		struct sim_node *node = &sim->nodes[i];
		struct look look = {.key = key};
		if (!node->hub || sim_node_outside(node))
			continue;
		ph_hub_entries(node->hub, sim_node_ms(node), &key->key.child, see_entry, &look);
		const struct ph_spec *spec = ph_hub_spec(node->hub, &key->key.child);
		if (spec && key->key.instance >= spec->instances && look.owned)
			return no("%s has %s for the owner of %s/%u, of which its text wants %u",
				node->name.s, look.owner.s, key->key.child.s, key->key.instance,
				spec->instances);
		if (any && look.wanted != first.wanted)
			return no("%s %s %s/%u, another one does not", node->name.s,
				look.wanted ? "wants" : "does not want", key->key.child.s,
				key->key.instance);
		if (look.owned != 1 && (look.owned || look.wanted))
			return no("%s knows %u owners of %s/%u", node->name.s, look.owned,
				key->key.child.s, key->key.instance);
		if (any && (!ph_name_equal(&look.owner, &first.owner) || look.epoch != first.epoch))
			return no("%s holds %s for the owner of %s/%u, another one %s",
				node->name.s, look.owner.s, key->key.child.s, key->key.instance,
				first.owner.s);
		first = look;
		any = true;
	}
	unsigned serving = 0;
	for (struct sim_proc *p = sim->procs; p; p = p->next) {
		if (p->key != key || !p->serving)
			continue;
		serving++;
		if (any && (p->pid != first.pid || !ph_name_equal(&p->node->name, &first.owner)))
			return no("pid %u of %s/%u serves on %s, the registry says pid %u on %s",
				p->pid, key->key.child.s, key->key.instance, p->node->name.s,
				first.pid, first.owner.s);
		bool hears = p->conn && !p->muted && (key->def->traits.caps & PH_CAP_HANDOVER);
		if (any && hears && p->epoch != first.epoch)
			return no("pid %u of %s/%u serves at another epoch than the registry says",
				p->pid, key->key.child.s, key->key.instance);
	}
	if (any && serving != (first.wanted ? 1 : 0))
		return no("%u processes of %s/%u serve", serving, key->key.child.s,
			key->key.instance);
	return true;
}

/*
 * Of a handover: where those who have lost their journals are so many that there is no quorum that
 * may grant, though there are leases, neither side of it may go on.
 */
static bool undecided(const struct sim *sim, const struct sim_proc *p)
{
	return (p->frozen || p->role == PH_ROLE_STANDBY) && !sim_check_quorate(sim);
}

static bool procs_rest(struct sim *sim)
{
	for (struct sim_proc *p = sim->procs; p; p = p->next) {
		struct look look = {.pid = p->pid};
		if (!p->alive)
			continue;
		if (!p->node->hub)
			return no(
				"pid %u lives on %s, which has no daemon", p->pid, p->node->name.s);
		ph_hub_workers(p->node->hub, see_worker, &look);
		if (!look.known)
			return no("pid %u of %s/%u is an orphan on %s", p->pid, p->key->key.child.s,
				p->key->key.instance, p->node->name.s);
		if (!p->serving && !undecided(sim, p))
			return no("pid %u of %s/%u on %s lives and does not serve (%s)", p->pid,
				p->key->key.child.s, p->key->key.instance, p->node->name.s,
				p->hand == HAND_COMMITTED    ? "retired"
				: p->frozen		     ? "frozen"
				: p->role == PH_ROLE_STANDBY ? "standby"
							     : "starting");
	}
	return true;
}

static bool node_rests(struct sim *sim, struct sim_node *node)
{
	struct ph_hub_counts counts;
	struct look look = {.sim = sim};
	if (!node->hub)
		return node->gone ? true : no("%s has no daemon yet", node->name.s);
	if (sim_node_outside(node)) /* its name is another one's; what it has is looked at below */
		return true;
	if (!ph_hub_joined(node->hub))
		return no("%s has not joined", node->name.s);
	ph_hub_migrations(node->hub, sim_node_ms(node), see_migration, &look);
	if (look.runs && sim_check_quorate(sim))
		return no("%s knows a migration of %s/%u from %s that still runs", node->name.s,
			look.running.key.child.s, look.running.key.instance, look.running.from.s);
	if (look.done > sim->migrations_done)
		sim->migrations_done = look.done;
	ph_hub_count(node->hub, &counts);
	if (sim_check_quorate(sim) && (counts.claims || counts.orders || counts.conflicts))
		return no("%s has %zu claims, %zu orders and %zu conflicts", node->name.s,
			counts.claims, counts.orders, counts.conflicts);
	if (!sim->never_back && sim_check_quorate(sim) && (counts.sources || counts.targets))
		return no("%s keeps %zu sources and %zu targets", node->name.s, counts.sources,
			counts.targets);
	return true;
}

#define OUTCOMES_MAX 1024 /* what is more is not compared */

struct outcomes {
	struct ph_migration_info list[OUTCOMES_MAX]; /* as their sources tell them */
	size_t n;
	const struct sim_node *node, *other; /* of whose list; who tells it otherwise */
	struct ph_migration_info told, otherwise;
};

static bool see_own(void *arg, const struct ph_migration_info *info)
{
	struct outcomes *o = arg;
	if (ph_name_equal(&info->from, &o->node->name) && o->n < OUTCOMES_MAX)
		o->list[o->n++] = *info;
	return true;
}

static bool see_others(void *arg, const struct ph_migration_info *info)
{
	struct outcomes *o = arg;
	for (size_t i = 0; i < o->n && !o->other; i++)
		if (ph_id_equal(&o->list[i].id, &info->id) && o->list[i].result != info->result) {
			o->other = o->node;
			o->told = o->list[i];
			o->otherwise = *info;
		}
	return true;
}

/*
 * How a migration has ended is told by its source, and the others tell the same; but for one that
 * is refused for its name: what it has decided since it was held for dead nobody hears.
 */
static bool outcomes_rest(struct sim *sim)
{
	struct outcomes *o = calloc(1, sizeof *o);
	for (unsigned i = 0; o && i < 2 * sim->n_nodes; i++) {
		const struct sim_node *node = &sim->nodes[i % sim->n_nodes];
		o->node = node;
		if (node->hub && !sim_node_outside(node))
			ph_hub_migrations(node->hub, sim_node_ms(node),
				i < sim->n_nodes ? see_own : see_others, o);
	}
	bool same = o && !o->other;
	if (o && o->other)
		(void)no("a migration of %s/%u is %s for %s, its source, and %s for %s",
			o->told.key.child.s, o->told.key.instance, ph_words_result[o->told.result],
			o->told.from.s, ph_words_result[o->otherwise.result], o->other->name.s);
	free(o);
	return same;
}

/* Nothing waits for the one that is gone, and the others have a quorum without it. */
static bool forgotten(struct sim *sim)
{
	const struct sim_node *gone = NULL;
	for (unsigned i = 0; i < sim->n_plan; i++)
		if (sim->plan[i].kind == DEED_FORGET)
			gone = &sim->nodes[sim->plan[i].other];
	if (!gone || !gone->gone || !sim_check_votes(sim))
		return true;
	for (unsigned i = 0; i < sim->n_nodes; i++) {
		struct ph_hub_counts counts;
		if (!sim->nodes[i].hub)
			continue;
		ph_hub_count(sim->nodes[i].hub, &counts);
		if (!sim_check_forgotten(&sim->nodes[i], gone) || counts.sources || counts.targets)
			return no("%s still knows something of %s", sim->nodes[i].name.s,
				gone->name.s);
	}
	return sim_check_quorate(sim) ? true : no("there is no quorum");
}

static bool rests(struct sim *sim)
{
	if (sim->story == STORY_FORGET && !forgotten(sim))
		return false;

	for (unsigned i = 0; i < sim->n_nodes; i++)
		if (!node_rests(sim, &sim->nodes[i]))
			return false;
	for (unsigned i = 0; i < sim->n_keys; i++)
		if (!key_rests(sim, &sim->keys[i]))
			return false;
	if (!procs_rest(sim) || !specs_rest(sim) || (sim_check_quorate(sim) && !outcomes_rest(sim)))
		return false;
	if (sim->story == STORY_TEXTS && sim_check_quorate(sim) &&
		!sim_texts_rest(sim, why, sizeof why))
		return false;
	for (unsigned i = 0; sim->faultless && i < sim->n_nodes; i++)
		if (sim->nodes[i].hub && !sim_check_placed(&sim->nodes[i], why, sizeof why))
			return false;
	if (sim->faultless && sim->open_answers)
		return no("%u commands were not answered", sim->open_answers);
	return true;
}

/* The last node was told to stop for good while the others were down. */
static bool nobody_left(const struct sim *sim)
{
	for (unsigned i = 0; i < sim->n_nodes; i++)
		if (sim->nodes[i].hub)
			return false;
	return true;
}

/* Its READY=1 came while no daemon listened: it is looked up again after its start_timeout. */
static bool ready_unheard(const struct sim *sim, const struct sim_key *key)
{
	for (struct sim_proc *p = sim->procs; p; p = p->next)
		if (p->key == key && p->serving && p->adopted && key->def->traits.notify)
			return true;
	return false;
}

static void count_differing(struct sim *sim)
{
	for (unsigned i = 0; i < sim->n_nodes; i++)
		for (unsigned d = 0; d < sim->n_defs; d++) {
			const struct sim_node *node = &sim->nodes[i];
			const struct ph_spec *spec = NULL;
			if (node->hub && node->file[d])
				spec = ph_hub_spec(node->hub, &sim->defs[d].spec.child);
			if (spec &&
				strcmp(spec->text, sim_def_text(&sim->defs[d], node->file[d])) != 0)
				sim_count(sim, COUNT_DIFFERS);
		}
}

static void last_look(struct sim *sim)
{
	count_differing(sim);
	sim_added_look(sim);
	for (struct sim_proc *p = sim->procs; p && !sim->false_verdict; p = p->next)
		if (p->serving && (p->key->def->traits.caps & PH_CAP_HANDOVER))
			sim_check_state(p);
	if (all_drained(sim) || nobody_left(sim) || !sim_check_quorate(sim))
		return;
	for (unsigned i = 0; i < sim->n_keys; i++)
		if (!sim->keys[i].def->removable && !sim->keys[i].ordered &&
			!ready_unheard(sim, &sim->keys[i]) &&
			sim->now_us > sim->keys[i].acked_at_us + 5 * SEC)
			sim_fail(sim, "no client of %s/%u has been served for 5 s",
				sim->keys[i].key.child.s, sim->keys[i].key.instance);
}

/* Two of one name are members at a time, until one gives way. */
static bool disputed(const struct sim_node *node)
{
	return node->hub && ph_hub_joined(node->hub) &&
	       sim_node_named(node->sim, &node->name) != node;
}

/*
 * However the changes travel: two intervals after the last fault everybody has what was said then,
 * and two intervals after anything that is said later, as the sides meet and what was lost is
 * started again, that as well; and two intervals after the last change all have the same. That
 * changes end, and children run, is another matter, and has HEALING_US.
 */
static bool registry_rests(struct sim *sim)
{
	uint64_t sum, limit_us = 2 * sim->exchange_ms * MS + SEC;
	char text[128];
	bool same = sim_check_registry(sim, &sum, text, sizeof text);
	/* Without one that comes back two others may not hear of each other. */
	bool away = false;
	for (unsigned i = 0; i < sim->n_nodes; i++)
		away |= (!sim->nodes[i].hub && !sim->nodes[i].gone) || disputed(&sim->nodes[i]);
	if (sum != sim->registry_sum || away)
		sim->changed_us = sim->now_us;
	sim->registry_sum = sum;
	char late[128];
	if (!sim_check_heard(sim, limit_us, away || sim->now_us < sim->late_us, late, sizeof late))
		sim_fail(sim, "the registry is not told in time: %s", late);
	if (!same && sim->now_us > sim->changed_us + limit_us)
		sim_fail(sim, "the registry has not come to agree: %s", text);
	return same ? true : no("%s", text);
}

/* Two of one name, each alone: whoever could refuse one of them is gone. */
static bool nobody_to_tell(const struct sim *sim)
{
	bool any = false;
	for (unsigned i = 0; i < sim->n_nodes; i++) {
		const struct sim_node *node = &sim->nodes[i];
		if (node->hub && ph_hub_joined(node->hub) && !sim_node_twin(node))
			return false;
		any |= disputed(node);
	}
	return any;
}

/*
 * One that is gone for good, and another one that has lost its journal and may not vote before it
 * has heard that one: no claim is granted, and what a handover has frozen stays so, until an
 * operator says that nobody is to wait for it.
 */
static void operator_forgets(struct sim *sim)
{
	const struct sim_node *gone = NULL;
	for (unsigned i = 0; i < sim->n_nodes; i++)
		if (sim->nodes[i].gone)
			gone = &sim->nodes[i];
	if (!gone || sim->forgotten || sim->story == STORY_FORGET || !sim_check_votes(sim) ||
		sim_check_quorate(sim) || sim->now_us < sim->end_us + FORGET_US ||
		sim->now_us / POLL_US % FORGET_POLLS)
		return;
	struct sim_deed deed = {.kind = DEED_FORGET,
		.other = gone->no,
		.k = (unsigned)(sim->now_us / POLL_US /
				FORGET_POLLS)}; /* by another one each time */
	(void)sim_deed_order(sim, &deed, PH_VERB_FORGET);
}

static void poll(struct sim *sim, void *arg)
{
	(void)arg;
	if (nobody_to_tell(sim)) {
		sim->over = true;
		return;
	}
	operator_forgets(sim);
	bool same = registry_rests(sim);
	uint64_t from_us = sim->late_us > sim->end_us ? sim->late_us : sim->end_us;
	uint64_t limit_us = from_us + HEALING_US;
	sim->calm_polls = same && rests(sim) ? sim->calm_polls + 1 : 0;
	if (sim->calm_polls >= CALM_POLLS && sim->now_us > sim->late_us) {
		last_look(sim);
		sim->over = true;
	} else if (sim->calm_polls < CALM_POLLS && sim->now_us >= limit_us) {
		sim_fail(sim, "no rest after 60 s: %s", why);
	} else {
		sim_after(sim, POLL_US, poll, NULL, NULL);
	}
}

void sim_check_end(struct sim *sim)
{
	sim_after(sim, POLL_US, poll, NULL, NULL);
}
