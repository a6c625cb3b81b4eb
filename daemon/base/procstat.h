/*
 * procstat.h - the line of /proc/PID/stat, as words: for prochubd and for prochub-fence.
 *
 * Reads nothing itself and allocates nothing. Tested in tests/unit/test_io_proc.c.
 */
#ifndef PH_BASE_PROCSTAT_H
#define PH_BASE_PROCSTAT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct ph_proc_stat {
	char state; /* R, S, D, Z ... */
	pid_t parent, group, session;
	uint64_t start_time; /* field 22: clock ticks since boot */
};

/* False, and *ret untouched, where `line` (ended by a NUL) is none. */
bool ph_procstat_parse(const char *line, struct ph_proc_stat *ret);

/* It runs, or could: it is neither a zombie nor on its way out. */
static inline bool ph_procstat_lives(const struct ph_proc_stat *stat)
{
	return stat->state != 'Z' && stat->state != 'X';
}

#endif
