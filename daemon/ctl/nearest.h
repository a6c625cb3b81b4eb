/*
 * nearest.h - the known word that somebody who mistyped most likely meant.
 *
 * Pure. Tested by tests/e2e/test_ctl_fake.py.
 */
#ifndef PH_CTL_NEAREST_H
#define PH_CTL_NEAREST_H

#include <stddef.h>

struct ph_nearest {
	const char *word; /* what was typed; borrowed */
	const char *best; /* the nearest word so far, NULL while none is near enough */
	size_t distance;
};

/* Begins a search for the neighbour of `word`. */
struct ph_nearest ph_nearest_start(const char *word);
/*
 * Offers one known word (borrowed). Distance: insertions, deletions, changes, and swaps of two
 * neighbours (optimal string alignment); a third of the typed word's length may differ.
 */
void ph_nearest_offer(struct ph_nearest *nearest, const char *known);

#endif
