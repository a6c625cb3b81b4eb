/*
 * scalar.h - the syntax of single values: numbers with units, modes, signals, choices, addresses.
 *
 * Each parser writes only on success and leaves a sentence without place on error; ranges are the
 * row's. Used by value.c alone. Tested in tests/unit/test_conf_values.c.
 */
#ifndef PH_CONF_SCALAR_H
#define PH_CONF_SCALAR_H

#include "conf/options.h"

/* BOOL, DURATION, SIZE, COUNT, PERCENT, WEIGHT, MODE, SIGNAL, ENUM. 0 or -EINVAL. */
PH_MUST_CHECK int ph_conf_number_parse(
	const struct ph_conf_option *o, const char *text, uint64_t *ret, struct ph_err *err);
/* The same value as text; what it writes parses to `v` again. */
void ph_conf_number_text(const struct ph_conf_option *o, uint64_t v, char *ret, size_t size);

/*
 * TEXT, PATH, LISTEN, HOST and the items of LIST, COMMAND, LABELS, PATTERNS, PEERS (`first`: the
 * first of its list). *ret is the caller's and in its usual form. 0, -EINVAL or -ENOMEM.
 */
PH_MUST_CHECK int ph_conf_string_parse(const struct ph_conf_option *o, const char *text, bool first,
	char **ret, struct ph_err *err);

#endif
