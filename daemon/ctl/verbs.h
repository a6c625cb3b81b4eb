/*
 * verbs.h - the functions behind the rows of commands.c.
 *
 * Each carries out one verb whose words are checked, tells its failures itself and returns the
 * exit status. Grouped by file. Tested by tests/e2e/test_ctl_fake.py.
 */
#ifndef PH_CTL_VERBS_H
#define PH_CTL_VERBS_H

#include <jansson.h>

#include "ctl/ctl.h"

/* verbs_show.c: tables */
enum ph_exit ph_verb_status(const struct ph_ctl *ctl);
enum ph_exit ph_verb_nodes(const struct ph_ctl *ctl);
enum ph_exit ph_verb_show(const struct ph_ctl *ctl);
enum ph_exit ph_verb_migrations(const struct ph_ctl *ctl);
enum ph_exit ph_verb_lookup(const struct ph_ctl *ctl);

/* verbs_do.c: orders with one answer, and the event stream; name the op by ctl->command */
enum ph_exit ph_verb_children(const struct ph_ctl *ctl); /* start, stop, ... */
enum ph_exit ph_verb_wait(const struct ph_ctl *ctl);
enum ph_exit ph_verb_forget(const struct ph_ctl *ctl);
enum ph_exit ph_verb_reload(const struct ph_ctl *ctl);
enum ph_exit ph_verb_events(const struct ph_ctl *ctl);

/* verbs_logs.c */
enum ph_exit ph_verb_logs(const struct ph_ctl *ctl);

/* Asks it, with the words from `first` on as children, and tells what became of each. Takes
 * `fields`; NULL: out of memory. */
enum ph_exit ph_verb_children_ask(const struct ph_ctl *ctl, json_t *fields, size_t first);
/* The rows of such an answer, told one by one; the exit status that they come to. */
enum ph_exit ph_verb_children_told(const struct ph_ctl *ctl, const json_t *children);
/* The same for a whole answer, taken, which --json prints. */
enum ph_exit ph_verb_children_end(const struct ph_ctl *ctl, json_t *answer);

/* verbs_add.c: children that are in no file, and signals */
enum ph_exit ph_verb_add(const struct ph_ctl *ctl);
enum ph_exit ph_verb_signal(const struct ph_ctl *ctl);

/* verbs_move.c: orders that are followed to their end */
enum ph_exit ph_verb_move(const struct ph_ctl *ctl);
enum ph_exit ph_verb_drain(const struct ph_ctl *ctl); /* drain, undrain */
enum ph_exit ph_verb_cancel(const struct ph_ctl *ctl);

/* completion.c: no daemon needed, but its output asks one for names */
enum ph_exit ph_verb_completion(const struct ph_ctl *ctl);

/* verbs_local.c: no daemon needed */
enum ph_exit ph_verb_check(const struct ph_ctl *ctl);
enum ph_exit ph_verb_keygen(const struct ph_ctl *ctl);

#endif
