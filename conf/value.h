/*
 * value.h - one value of one option: from text into its field, back, copied, compared, freed.
 *
 * Decides the syntax of every type and checks the range of the row. `holder` is the struct ph_conf
 * or struct ph_conf_child that the row's field is in; rows are those with `here` YES (parsing a
 * scalar of another row works with a holder of PH_CONF_LOOSE bytes, whose offset is 0).
 * Must not know files or places. Tested in tests/unit/test_conf_values.c.
 */
#ifndef PH_CONF_VALUE_H
#define PH_CONF_VALUE_H

#include "conf/options.h"

enum ph_conf_shape {
	PH_CONF_SHAPE_TEXT,
	PH_CONF_SHAPE_LIST,
	PH_CONF_SHAPE_PAIRS
};
enum ph_conf_shape ph_conf_shape(enum ph_conf_type type);

#define PH_CONF_LOOSE 64

/*
 * All three: 0; -EINVAL with a sentence, the field as it was; -ENOMEM. `text` is after ${...}.
 * set: a scalar replaces the field. add: one more item of a list. pair: one more name and text.
 */
PH_MUST_CHECK int ph_conf_value_set(
	const struct ph_conf_option *o, void *holder, const char *text, struct ph_err *err);
PH_MUST_CHECK int ph_conf_value_add(
	const struct ph_conf_option *o, void *holder, const char *text, struct ph_err *err);
PH_MUST_CHECK int ph_conf_value_pair(const struct ph_conf_option *o, void *holder, const char *name,
	const char *text, struct ph_err *err);
/* When a list or pairs are complete: their length, and pairs in order. 0 or -EINVAL. */
PH_MUST_CHECK int ph_conf_value_end(
	const struct ph_conf_option *o, void *holder, struct ph_err *err);

/* A text, or a number of a child without a default, that is not set; all others always are. */
bool ph_conf_value_unset(const struct ph_conf_option *o, const void *holder);
/* Makes a number that has no default unset; other fields stay as they are. */
void ph_conf_value_unset_number(const struct ph_conf_option *o, void *holder);
bool ph_conf_value_equal(const struct ph_conf_option *o, const void *a, const void *b);
/* Replaces the value in `to`. 0 or -ENOMEM (then it is empty). */
PH_MUST_CHECK int ph_conf_value_copy(const struct ph_conf_option *o, void *to, const void *from);
void ph_conf_value_free(const struct ph_conf_option *o, void *holder); /* and empties it */
/* About how many bytes it takes beside its field. */
size_t ph_conf_value_cost(const struct ph_conf_option *o, const void *holder);

/* A scalar that is set, as the loader reads it; for types other than TEXT it fits 128 bytes. */
void ph_conf_value_text(const struct ph_conf_option *o, const void *holder, char *ret, size_t size);

/* Fields, for printing. */
const struct ph_conf_list *ph_conf_value_list(const struct ph_conf_option *o, const void *holder);
const struct ph_conf_pairs *ph_conf_value_pairs(const struct ph_conf_option *o, const void *holder);
const char *ph_conf_value_string(const struct ph_conf_option *o, const void *holder);

#endif
