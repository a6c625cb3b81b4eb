/* Counts for its clients ("inc CLIENT SEQ", each SEQ once), and moves without losing a count. */
#include <errno.h>
#include <poll.h>
#include <prochub/worker.h>
#include "plumbing.h"
#pragma GCC diagnostic ignored "-Wunused-parameter" /* callbacks */
#define MAX 1000
static struct count {
	char client[64];
	unsigned long long seq, n;
	unsigned round; /* in which it changed last */
} counts[MAX + 1];
static unsigned n_counts, round_now;
static char *text; /* the state that comes in */
static size_t text_n;
static struct count *find(const char *client)
{
	unsigned i;
	for (i = 0; i < n_counts && strcmp(counts[i].client, client); i++)
		;
	if (i == n_counts && n_counts < MAX)
		strcpy(counts[n_counts++].client, client);
	return &counts[i];
}
static int answer(struct prochub *p, int fd) /* 0: close */
{
	char line[128], op[8] = "", client[64] = "";
	unsigned long long seq = 0;
	if (!read_line(fd, line, sizeof line))
		return 0;
	if (p && !prochub_is_active(p))
		return dprintf(fd, prochub_is_committed(p) ? "moved\n" : "busy\n") == 5;
	sscanf(line, "%7s %63s %llu", op, client, &seq);
	struct count *c = find(client);
	if (!strcmp(op, "inc") && seq > c->seq)
		c->seq = seq, c->n++, c->round = round_now;
	return dprintf(fd, "ok %llu %llu\n", c->n, p ? 0ULL + prochub_epoch(p) : 0ULL) > 0;
}
static uint64_t estimate(struct prochub *p, void *arg) /* about so much, for people */
{
	return ballast_bytes + 1 + 40 * n_counts;
}
static void save(struct prochub *p, void *arg, unsigned round, int final)
{
	char line[128];
	round_now = round + 1;
	for (struct count *c = counts; c < counts + n_counts; c++)
		if (round == 0 || c->round >= round)
			prochub_send_state(p, line,
				(size_t)snprintf(line, sizeof line, "%s %llu %llu\n", c->client,
					c->seq, c->n));
	ballast_send(p, round);
}
static int load(struct prochub *p, void *arg, unsigned round, const void *bytes, size_t n)
{
	char *grown = realloc(text, text_n + n + 1);
	if (grown)
		memcpy(grown + text_n, bytes, n), text = grown, text[text_n += n] = '\0';
	return grown ? 0 : PROCHUB_REJECT_NO_MEMORY;
}
static int loaded(struct prochub *p, void *arg, unsigned round, int final, uint64_t n, int ok)
{
	struct count c = {.round = 0};
	char *line = text, *end;
	for (; ok && text_n && (end = strchr(line, '\n')); line = end + 1) {
		*end = '\0';
		if (sscanf(line, "%63s %llu %llu", c.client, &c.seq, &c.n) == 3)
			*find(c.client) = c;
	}
	int good = !ok || !text_n || ballast_take(line, (size_t)(text + text_n - line));
	free(text), text = NULL, text_n = 0;
	return good ? 0 : PROCHUB_REJECT_FORMAT;
}
int main(int argc, char **argv)
{
	struct prochub_options o = {.size = sizeof o,
		.format = "counter",
		.version = 1,
		.caps = PROCHUB_CAP_HANDOVER | PROCHUB_CAP_ASK | PROCHUB_CAP_ROUNDS,
		.callbacks = {.estimate = estimate, .save = save, .load = load, .loaded = loaded}};
	struct pollfd fds[MAX] = {{.events = POLLIN}, {.events = POLLIN}};
	char meta[64];
	nfds_t n = 2;
	fds[1].fd = listen_on(argc, argv, meta, sizeof meta);
	struct prochub *p = prochub_open(&o);
	if (p ? prochub_ready(p, meta) : errno != ENOENT || dprintf(1, "%s\n", meta) < 0)
		return 1;
	for (fds[0].fd = p ? prochub_fd(p) : -1; !p || !prochub_is_leaving(p);) {
		if (poll(fds, n, p ? prochub_timeout_ms(p) : -1) < 0 || (p && prochub_dispatch(p)))
			return 1;
		for (nfds_t i = n; i-- > 2;)
			if (fds[i].revents && !answer(p, fds[i].fd))
				close(fds[i].fd), fds[i] = fds[--n];
		if (fds[1].revents && n < MAX && (fds[n].fd = accept(fds[1].fd, NULL, NULL)) >= 0)
			fds[n].events = POLLIN, fds[n++].revents = 0;
	}
	prochub_close(p);
	return 0;
}
