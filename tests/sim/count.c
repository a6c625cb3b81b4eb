/* count.c - how often each kind of thing has happened: what never happens is not tested. */
#include "sim.h"

#include <inttypes.h>

static const char *const words[COUNT_COUNT] = {
#define X(name, text) [COUNT_##name] = text,
	SIM_COUNTS(X)
#undef X
};

static const char *const kinds[PH_BKIND_COUNT] = {
#define X(name, word) [PH_B_##name] = word,
	PH_BKINDS(X)
#undef X
};

/* What dies at a step of a migration. */
static const enum sim_deed_kind ends[] = {DEED_DAEMON_CRASH, DEED_MACHINE_CRASH, DEED_JOURNAL_LOST,
	DEED_KILL_OLD, DEED_KILL_NEW, DEED_BUS_RESTART, DEED_SHUTDOWN, DEED_DISK_FAIL,
	DEED_SUSPEND};
#define N_ENDS (sizeof ends / sizeof ends[0])

void sim_count(struct sim *sim, enum sim_count what)
{
	sim->counts.of[what]++;
}

void sim_count_add(struct sim_counts *to, const struct sim_counts *from)
{
	for (unsigned i = 0; i < DEED_COUNT; i++)
		to->deeds[i] += from->deeds[i];
	for (unsigned i = 0; i < COUNT_COUNT; i++)
		to->of[i] += from->of[i];
	for (unsigned i = 0; i < DEED_COUNT; i++)
		for (unsigned k = 0; k < PH_BKIND_COUNT; k++)
			to->at[i][k] += from->at[i][k];
}

static void show_steps(const struct sim_counts *counts)
{
	printf("%-14s", "at message");
	for (unsigned i = 0; i < N_ENDS; i++)
		printf(" %13s", sim_deed_names[ends[i]]);
	printf("\n");
	for (unsigned k = 0; k < PH_BKIND_COUNT; k++) {
		uint64_t sum = 0;
		for (unsigned i = 0; i < N_ENDS; i++)
			sum += counts->at[ends[i]][k];
		if (!sum)
			continue;
		printf("%-14s", kinds[k]);
		for (unsigned i = 0; i < N_ENDS; i++)
			printf(" %13" PRIu64, counts->at[ends[i]][k]);
		printf("\n");
	}
}

void sim_count_show(const struct sim_counts *counts)
{
	for (unsigned i = 0; i < DEED_COUNT; i++)
		printf("%10" PRIu64 "  %s\n", counts->deeds[i], sim_deed_names[i]);
	for (unsigned i = 0; i < COUNT_COUNT; i++)
		printf("%10" PRIu64 "  %s\n", counts->of[i], words[i]);
	show_steps(counts);
}
