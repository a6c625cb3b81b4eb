#include "shell_ctl_full.h"

typedef bool alike(const struct ph_ctl_peer *, const struct ph_ctl_peer *);

static bool same_user(const struct ph_ctl_peer *a, const struct ph_ctl_peer *b)
{
	return a->uid == b->uid;
}

static bool same_process(const struct ph_ctl_peer *a, const struct ph_ctl_peer *b)
{
	return a->uid == b->uid && a->pid == b->pid;
}

static bool old(const struct ph_ctl_peer *peer, const struct ph_ctl_peer *now, uint64_t ms)
{
	return now->since_ms >= peer->since_ms + ms;
}

static size_t count(
	const struct ph_ctl_peer *peers, size_t n, const struct ph_ctl_peer *whose, alike *is)
{
	size_t has = 0;
	for (size_t i = 0; i < n; i++)
		has += is(&peers[i], whose);
	return has;
}

static size_t longest_idle(
	const struct ph_ctl_peer *peers, size_t n, const struct ph_ctl_peer *newcomer)
{
	size_t found = n;
	for (size_t i = 0; i < n; i++)
		if (peers[i].idle && old(&peers[i], newcomer, PH_CTL_IDLE_MS) &&
			(found == n || peers[i].since_ms < peers[found].since_ms))
			found = i;
	return found;
}

static size_t newest_follower(
	const struct ph_ctl_peer *peers, size_t n, const struct ph_ctl_peer *newcomer)
{
	size_t found = n;
	for (size_t i = 0; i < n; i++)
		if (old(&peers[i], newcomer, PH_CTL_FOLLOWS_MS) &&
			(found == n || peers[i].since_ms > peers[found].since_ms))
			found = i;
	return found;
}

/* The newest one of those that have most, among those of one user (NULL: of all). */
static size_t greediest(
	const struct ph_ctl_peer *peers, size_t n, const struct ph_ctl_peer *user, alike *is)
{
	size_t found = n, most = 0;
	for (size_t i = 0; i < n; i++) {
		size_t has = count(peers, n, &peers[i], is);
		if ((user && !same_user(&peers[i], user)) || has < most ||
			(has == most && peers[i].since_ms <= peers[found].since_ms))
			continue;
		found = i;
		most = has;
	}
	return found;
}

size_t ph_ctl_gives_way(
	const struct ph_ctl_peer *peers, size_t n, const struct ph_ctl_peer *newcomer)
{
	size_t found = longest_idle(peers, n, newcomer);
	if (found < n)
		return found;
	found = greediest(peers, n, NULL, same_user);
	if (found < n && count(peers, n, &peers[found], same_user) >
				 count(peers, n, newcomer, same_user) + 1)
		return greediest(peers, n, &peers[found], same_process);
	found = greediest(peers, n, newcomer, same_process);
	if (found < n && count(peers, n, &peers[found], same_process) >
				 count(peers, n, newcomer, same_process) + 1)
		return found;
	return newest_follower(peers, n, newcomer);
}
