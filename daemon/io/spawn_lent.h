/*
 * spawn_lent.h - stacks for the next children, and those that children keep which cannot be ended.
 *
 * Only for spawn.c. A child that was killed while it waited for a file system may have its stack
 * for as long as that does not answer: until then it counts as lost. Tested in
 * tests/unit/test_spawn_ahead.c.
 */
#ifndef PH_IO_SPAWN_LENT_H
#define PH_IO_SPAWN_LENT_H

#include <stdint.h>

struct ph_spawn_lent;

#define PH_SPAWN_LOST_MAX 256	  /* then nothing more is begun ... */
#define PH_SPAWN_LOST_LIKE_MAX 16 /* ... or nothing that is like these */

struct ph_spawn_lent *ph_spawn_lent_get(void);	    /* NULL: no memory */
void ph_spawn_lent_put(struct ph_spawn_lent *lent); /* NULL is fine */
/* Takes the child's pidfd. */
void ph_spawn_lent_lose(struct ph_spawn_lent *lent, int pidfd, uint64_t likeness);
/* How many are lost, after a look at which have ended since. */
unsigned ph_spawn_lost(void);
unsigned ph_spawn_lost_like(uint64_t likeness); /* without a look */
/* A child that has ended; takes its pidfd. */
void ph_spawn_lent_reap(int pidfd);

#endif
