#include "io/spawn_lent.h"

#include "io/spawn_clone.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define SPARE_MAX 4
static struct ph_spawn_lent *spare;
static unsigned n_spare;
static struct ph_spawn_lent *lost;
static unsigned n_lost;

struct ph_spawn_lent *ph_spawn_lent_get(void)
{
	struct ph_spawn_lent *lent = spare;
	if (!lent)
		return ph_spawn_lent_new();
	spare = lent->next;
	n_spare--;
	return lent;
}

void ph_spawn_lent_put(struct ph_spawn_lent *lent)
{
	if (lent) {
		free(lent->bytes);
		lent->bytes = NULL;
	}
	if (!lent || n_spare == SPARE_MAX) {
		ph_spawn_lent_free(lent);
		return;
	}
	lent->next = spare;
	spare = lent;
	n_spare++;
}

void ph_spawn_lent_lose(struct ph_spawn_lent *lent, int pidfd, uint64_t likeness)
{
	lent->pidfd = pidfd;
	lent->likeness = likeness;
	lent->next = lost;
	lost = lent;
	n_lost++;
}

/* Who reaps orphans may have had it already. */
void ph_spawn_lent_reap(int pidfd)
{
	siginfo_t info;
	while (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG) < 0 && errno == EINTR)
		;
	close(pidfd);
}

unsigned ph_spawn_lost(void)
{
	struct ph_spawn_lent **at = &lost;
	while (*at) {
		struct ph_spawn_lent *lent = *at;
		if (!ph_spawn_clone_has_ended(lent->pidfd, 0)) {
			at = &lent->next;
			continue;
		}
		*at = lent->next;
		n_lost--;
		ph_spawn_lent_reap(lent->pidfd);
		ph_spawn_lent_put(lent);
	}
	return n_lost;
}

unsigned ph_spawn_lost_like(uint64_t likeness)
{
	unsigned n = 0;
	for (const struct ph_spawn_lent *lent = lost; lent; lent = lent->next)
		n += lent->likeness == likeness;
	return n;
}
