/*
 * surrogate.h - characters that JSON writes as two escapes, in the one escape that YAML has.
 *
 * JSON is YAML, but for "\ud83d\ude00": YAML (and libyaml) wants "\U0001f600". Where a document is
 * one flow mapping, as every JSON object is, these pairs are rewritten before libyaml reads it, and
 * what that has moved is known. Must not know what a document says. Always: only what libyaml takes
 * for the inside of a double-quoted scalar is touched; a document of which that is not sure (block
 * style, tags, '?', odd line breaks) is left as it is, and half a pair always is.
 * Tested in tests/unit/test_conf_surrogate.c.
 */
#ifndef PH_CONF_SURROGATE_H
#define PH_CONF_SURROGATE_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct ph_conf_joined {
	char *text; /* NULL: nothing to join */
	size_t n;
	size_t *ends; /* of the joined escapes: characters before each end, ascending */
	size_t n_ends;
};

/* 0 with *ret, to be freed (_fini); -ENOMEM. */
PH_MUST_CHECK int ph_conf_join(const char *text, size_t n, struct ph_conf_joined *ret);
void ph_conf_joined_fini(struct ph_conf_joined *joined);

/*
 * How many columns further right something stood in the original: it is behind `index` characters
 * of the joined text, `column` of them in its line.
 */
uint32_t ph_conf_joined_shift(const struct ph_conf_joined *joined, size_t index, size_t column);

/* The code of a UTF-16 surrogate "\udXXX" at `s` (at least 6 bytes), else 0. */
uint32_t ph_conf_surrogate(const char *s);

#endif
