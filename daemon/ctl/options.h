/*
 * options.h - the options of prochubctl: one table for parser, checks and help.
 *
 * Decides how words become struct ph_ctl. Options may stand anywhere, before or after the verb,
 * as `--x=y` or `--x y`; `--` ends them. Must not know what a verb does with an option.
 * Tested by tests/e2e/test_ctl_fake.py.
 */
#ifndef PH_CTL_OPTIONS_H
#define PH_CTL_OPTIONS_H

#include "base/err.h"
#include "ctl/ctl.h"

/* Options of single verbs, as bits of a command's row; options without a bit go with all. */
enum ph_option_bit {
	PH_OPTION_NO_WAIT = 1 << 0,
	PH_OPTION_FORCE = 1 << 1,
	PH_OPTION_FOR = 1 << 2,
	PH_OPTION_SINCE = 1 << 3,
	PH_OPTION_FOLLOW = 1 << 4,
	PH_OPTION_DRY_RUN = 1 << 5,
	PH_OPTION_LINES = 1 << 10,
	PH_OPTION_KEEP_GOING = 1 << 6,
	PH_OPTION_CLUSTER = 1 << 7,
};

enum ph_option_type {
	PH_OPTION_FLAG,
	PH_OPTION_TEXT,
	PH_OPTION_WORD,
	PH_OPTION_DURATION,
	PH_OPTION_COUNT
};

struct ph_option {
	const char *name;
	char letter;	   /* short form, 0: none */
	const char *value; /* what the help calls the value; WORD: the words, with bars */
	enum ph_option_type type;
	size_t offset;	  /* of the field in struct ph_ctl */
	unsigned bit;	  /* 0: goes with every verb */
	const char *help; /* NULL: not available in this version */
};

/* The rows of the table, one by one; NULL past the end. */
const struct ph_option *ph_options_row(size_t i);

/*
 * Sorts argv (borrowed) into `ret`: options into their fields, the first other word as verb into
 * *ret_verb (NULL: none), the rest into ret->args, which the caller frees. *ret_given gets the bits
 * of the options that were there. Errors: -EINVAL unknown option, bad or missing value; -ENOSYS one
 * of a later version.
 */
PH_MUST_CHECK int ph_options_parse(int argc, char **argv, struct ph_ctl *ret, const char **ret_verb,
	unsigned *ret_given, struct ph_err *err);

/*
 * Refuses options that the verb has not got. `allowed`, `given`: bits.
 * Errors: -EINVAL with the name of the first such option.
 */
PH_MUST_CHECK int ph_options_check(
	const char *verb, unsigned allowed, unsigned given, struct ph_err *err);

/* "10s" as milliseconds. Errors: -EINVAL no duration; -ERANGE not between 1ms and 366 days. */
PH_MUST_CHECK int ph_options_duration(const char *text, uint64_t *ret_ms);

/* Prints help lines: the options with a bit of `bits`, or with bits 0 those that go with all. */
void ph_options_help(unsigned bits);
/* Prints " --cluster" and so on: those of later versions. */
void ph_options_later(void);
/* Prints " [--no-wait]" and so on for the options of `bits`. */
void ph_options_synopsis(unsigned bits);

#endif
