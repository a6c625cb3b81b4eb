#include "base/procstat.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_NUMBER 4 /* parent; the fields before it are pid, name and state */
#define START_TIME 22

bool ph_procstat_parse(const char *line, struct ph_proc_stat *ret)
{
	/* the name is in parentheses and may hold any, so the last one ends it */
	const char *at = strrchr(line, ')');
	long long numbers[START_TIME + 1] = {0};
	if (!at || at[1] != ' ' || !at[2] || at[3] != ' ')
		return false;
	char state = at[2];
	at += 3;
	for (int i = FIRST_NUMBER; i <= START_TIME; i++) {
		char *end;
		numbers[i] = strtoll(at, &end, 10);
		if (end == at)
			return false;
		at = end;
	}
	*ret = (struct ph_proc_stat){.state = state,
		.parent = (pid_t)numbers[FIRST_NUMBER],
		.group = (pid_t)numbers[FIRST_NUMBER + 1],
		.session = (pid_t)numbers[FIRST_NUMBER + 2],
		.start_time = (uint64_t)numbers[START_TIME]};
	return true;
}
