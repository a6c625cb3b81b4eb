/*
 * commands.h - the verbs of prochubctl: one table for dispatch, checks and help.
 *
 * Decides which words a verb takes. A new verb is one row in commands.c and one function.
 * Tested by tests/e2e/test_ctl_fake.py.
 */
#ifndef PH_CTL_COMMANDS_H
#define PH_CTL_COMMANDS_H

#include "base/err.h"
#include "ctl/ctl.h"

struct ph_command {
	const char *verb;
	const char *synopsis; /* of its words, "" for none */
	const char *kinds;    /* a letter a word (commands.c); the last one repeats */
	size_t args_min, args_max;
	unsigned options; /* bits of options.h */
	uint64_t
		patience_ms; /* for an answer where no --timeout is given; 0: as long as it takes */
	const char *help;    /* one line */
	enum ph_exit (*run)(const struct ph_ctl *ctl); /* NULL: not available in this version */
};

/* The rows of the table, one by one; NULL past the end. */
const struct ph_command *ph_commands_row(size_t i);
/* The row of `verb`. Errors: -ENOENT unknown, with the nearest; -ENOSYS not in this version. */
PH_MUST_CHECK int ph_commands_find(
	const char *verb, const struct ph_command **ret, struct ph_err *err);
/* Counts and checks ctl->args against the row. Errors: -EINVAL with what was expected. */
PH_MUST_CHECK int ph_commands_check(const struct ph_ctl *ctl, struct ph_err *err);
/* Prints the help of one verb, or of all with NULL. */
void ph_commands_help(const struct ph_command *command);

/* Whether `word` is NAME or NAME/INSTANCE. */
bool ph_commands_child_valid(const char *word);

#endif
