/* disk.c - the journal of a node: batches, syncs that fail, torn ends, new files. */
#include "sim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void forget_from(struct sim_disk *disk, size_t from)
{
	for (size_t i = from; i < disk->n; i++)
		free(disk->v[i].text);
	if (from < disk->n)
		disk->n = from;
}

static struct sim_record *add(struct sim_disk *disk, const struct ph_record *record)
{
	if (disk->n == disk->room) {
		disk->room = disk->room ? 2 * disk->room : 32;
		disk->v = realloc(disk->v, disk->room * sizeof *disk->v);
		if (!disk->v)
			abort();
	}
	struct sim_record *to = &disk->v[disk->n++];
	*to = (struct sim_record){.record = *record};
	to->text = record->text ? strdup(record->text) : NULL;
	to->record.text = to->text;
	to->record.spec = NULL;
	return to;
}

/* ---- answers ---- */

struct batch {
	struct sim_node *node;
	uint32_t gen;
};

static struct batch *batch_new(struct sim_node *node)
{
	struct batch *batch = sim_alloc(sizeof *batch);
	batch->node = node;
	batch->gen = node->gen;
	return batch;
}

static void answered(void *arg)
{
	struct batch *batch = arg;
	if (batch->gen == batch->node->gen)
		batch->node->disk.answers--;
	free(batch);
}

static void answer(struct sim_node *node, uint64_t ticket, int error)
{
	struct ph_event event = {.kind = PH_EV_JOURNALLED, .ticket = ticket, .error = error};
	if (!ticket)
		return;
	node->disk.answers++;
	sim_node_push(node, sim_between(node->sim, 0, 100), &event, answered, batch_new(node));
}

static void note(struct sim_node *node, const struct ph_record *record)
{
	struct sim_mig *mig = sim_mig_of(node->sim, &record->id);
	if (!mig)
		return;
	mig->final_synced |= record->kind == PH_RECORD_FINAL;
	mig->prepared_synced |=
		record->kind == PH_RECORD_PREPARED || record->kind == PH_RECORD_ACTIVE;
	mig->active_synced |= record->kind == PH_RECORD_ACTIVE;
}

static void begin_batch(struct sim_node *node);

static void fail_all(struct sim_node *node)
{
	struct sim_disk *disk = &node->disk;
	disk->failed = true;
	disk->fail_next = false;
	sim_count(node->sim, COUNT_SYNC_FAILED);
	sim_trace(node->sim, "%s: the journal cannot be written", node->name.s);
	for (size_t i = disk->synced; i < disk->n; i++)
		answer(node, disk->v[i].ticket, EIO);
	disk->batch = disk->n;
}

/* A new file begins with what core still stands by. */
static void put(void *arg, const struct ph_record *record)
{
	(void)add(arg, record);
}

static void renew(struct sim_node *node)
{
	struct sim_disk *disk = &node->disk;
	forget_from(disk, 0);
	ph_hub_records(node->hub, put, disk);
	disk->synced = disk->batch = disk->n;
}

static void reopen(struct sim *sim, void *arg)
{
	struct batch *batch = arg;
	struct sim_node *node = batch->node;
	struct sim_disk *disk = &node->disk;
	if (node->gen != batch->gen || !node->hub) {
		free(batch);
		return;
	}
	if (disk->answers || node->suspended_us > sim->now_us) {
		sim_after(sim, 20 * MS, reopen, batch, free);
		return;
	}
	free(batch);
	renew(node);
	disk->failed = false;
	uint64_t words[2] = {sim_random(sim), sim_random(sim)};
	memcpy(disk->id.b, words, sizeof words);
	struct ph_event event = {.kind = PH_EV_JOURNAL_BACK, .id = disk->id};
	sim_node_push(node, 0, &event, NULL, NULL);
}

static void batch_done(struct sim *sim, void *arg)
{
	struct batch *batch = arg;
	struct sim_node *node = batch->node;
	struct sim_disk *disk = &node->disk;
	if (node->gen != batch->gen || !node->hub) {
		free(batch);
		return;
	}
	disk->busy = false;
	if (disk->fail_next) {
		fail_all(node);
		sim_after(sim, SEC, reopen, batch, free);
		return;
	}
	free(batch);
	for (size_t i = disk->synced; i < disk->batch; i++) {
		note(node, &disk->v[i].record);
		answer(node, disk->v[i].ticket, 0);
	}
	disk->synced = disk->batch;
	begin_batch(node);
}

static void begin_batch(struct sim_node *node)
{
	struct sim_disk *disk = &node->disk;
	if (disk->busy || disk->failed || disk->batch == disk->n)
		return;
	disk->busy = true;
	disk->batch = disk->n;
	uint64_t most_us = node->sim->now_us < disk->slow_until_us ? SEC : 5 * MS;
	sim_after(
		node->sim, sim_between(node->sim, 50, most_us), batch_done, batch_new(node), free);
}

void sim_disk_write(struct sim_node *node, const struct ph_action *action)
{
	struct sim_disk *disk = &node->disk;
	const struct ph_record *record = action->record;
	struct sim_mig *mig = sim_mig_of(node->sim, &record->id);
	sim_rules_record(node, record);
	if (mig) {
		mig->voided |= record->kind == PH_RECORD_VOID;
		mig->never |= record->kind == PH_RECORD_NEVER;
	}
	if (disk->failed) {
		answer(node, action->ticket, EIO);
		return;
	}
	add(disk, record)->ticket = action->ticket;
	begin_batch(node);
}

/* ---- crash and restart ---- */

/* A record that nobody can read any more; the shell says that one was passed over. */
static void pass_over(struct sim_disk *disk, size_t at)
{
	free(disk->v[at].text);
	memmove(disk->v + at, disk->v + at + 1, (disk->n - at - 1) * sizeof *disk->v);
	disk->n--;
}

void sim_disk_crash(struct sim_node *node)
{
	struct sim_disk *disk = &node->disk;
	/* What was written and not synced may be found, or a part of it. */
	size_t written = disk->n;
	if (disk->n > disk->synced)
		forget_from(disk, sim_between(node->sim, disk->synced, disk->n));
	if (disk->n < written)
		sim_count(node->sim, COUNT_TORN);
	if (node->damaged && disk->n)
		pass_over(disk, sim_random(node->sim) % disk->n);
	if (disk->lost)
		forget_from(disk, 0);
	/* The shell says that it knows the old one until LOST is in the new one. */
	if (disk->lost)
		add(disk, &(struct ph_record){.kind = PH_RECORD_LOST, .ok = true});
	for (size_t i = disk->synced; i < disk->n; i++)
		note(node, &disk->v[i].record);
	disk->synced = disk->batch = disk->n;
	disk->busy = disk->failed = disk->fail_next = false;
}

void sim_disk_restore(struct sim_node *node)
{
	struct sim_disk *disk = &node->disk;
	for (size_t i = 0; i < disk->n; i++) {
		struct ph_record record = disk->v[i].record;
		struct ph_spec spec;
		if (sim_spec_of_text(node->sim, record.text, &spec)) {
			spec.revision = record.revision;
			record.spec = &spec;
		}
		struct ph_event event = {.kind = PH_EV_RESTORED, .record = &record};
		sim_node_step(node, &event);
	}
}

void sim_disk_compact(struct sim_node *node)
{
	struct sim_disk *disk = &node->disk;
	if (!node->hub || disk->busy || disk->failed || disk->answers || disk->synced != disk->n)
		return;
	sim_trace(node->sim, "%s: the journal is compacted", node->name.s);
	renew(node);
}

void sim_disk_fini(struct sim_node *node)
{
	forget_from(&node->disk, 0);
	free(node->disk.v);
}
