/*
 * shell_emit_kept.h - an event in few bytes, as many of them are kept.
 *
 * A struct ph_emit has room for the longest names; most have two short ones. Decides nothing.
 * Tested by tests/unit/test_view.c.
 */
#ifndef PH_SHELL_EMIT_KEPT_H
#define PH_SHELL_EMIT_KEPT_H

#include <stdint.h>

#include "core/action.h"

struct ph_emit_kept;

/* All of it and the time of it, in one block that the caller frees with free(); NULL: no memory. */
struct ph_emit_kept *ph_emit_kept_new(const struct ph_emit *event, uint64_t wall_ms);
uint64_t ph_emit_kept_wall_ms(const struct ph_emit_kept *kept);
/* The texts of *ret are `kept`'s. */
void ph_emit_kept_read(const struct ph_emit_kept *kept, struct ph_emit *ret);

#endif
