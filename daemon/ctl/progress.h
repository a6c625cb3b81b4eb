/*
 * progress.h - shows what moves while it moves.
 *
 * Decides how: on a terminal a few lines that are drawn again and again, one a migration, cut to
 * its width; else one line for each new phase or tenth of the bytes. Must not know how a move ends.
 * Tested by tests/e2e/test_ctl_fake.py.
 */
#ifndef PH_CTL_PROGRESS_H
#define PH_CTL_PROGRESS_H

#include <jansson.h>

#include "ctl/ctl.h"
#include "ctl/view.h"

struct ph_progress {
	struct ph_view view;
	json_t *told;	/* piped: id -> what was printed last of it */
	unsigned drawn; /* terminal: lines on the screen that the next drawing replaces */
};

void ph_progress_init(struct ph_progress *progress, const struct ph_ctl *ctl);
void ph_progress_fini(struct ph_progress *progress);
/* Shows a line {"progress":[...],"done":n,"left":m}. False: standard output is gone. */
bool ph_progress_show(struct ph_progress *progress, const json_t *line);
/* How far a migration is: 0 to 100, or -1 where its total is not known. */
int ph_progress_percent(const json_t *entry);
/* Takes what is drawn off the screen. */
void ph_progress_clear(struct ph_progress *progress);

#endif
