/*
 * calm.c - membership alone, many nodes, for long: who is declared dead in vain, and how soon a
 * death is seen.
 *
 * The hubs have no children and no faults but lost messages (each is lost by itself, on either
 * plane, which is harsher than TCP). Time, chance and the queue are those of world.c.
 */
#include "sim.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define NODES_MAX 256
#define HOUR_US (3600 * SEC)
#define FAILURE_MS 5000
#define WARM_US (9 * SEC) /* all have met by then */
#define SAMPLES_MAX (1u << 20)

struct calm;

struct spot { /* a node */
	struct calm *calm;
	unsigned no;
	struct ph_name name;
	char address[PH_ADDRESS_SIZE];
	struct ph_hub *hub;
	bool linked[NODES_MAX];
	uint64_t tick_us, gone_us; /* gone: hung, or cut off; 0: not */
};

struct calm {
	struct sim *sim;
	unsigned n, loss; /* loss: in 1/1000 */
	struct spot spots[NODES_MAX];
	uint64_t suspects, deaths, messages;
	bool failed;
	uint64_t *samples_us; /* from a death to its verdict */
	size_t n_samples;
};

struct hop {
	struct spot *from, *to;
	struct sim_letter *letter;
};

static void step(struct spot *spot, const struct ph_event *event);

/* ---- the network ---- */

static void hop_drop(void *arg)
{
	struct hop *hop = arg;
	sim_letter_drop(hop->letter);
	free(hop);
}

static void arrive(struct sim *sim, void *arg)
{
	struct hop *hop = arg;
	struct ph_event event = {.kind = PH_EV_MESSAGE, .message = sim_letter_of(hop->letter)};
	(void)sim;
	if (!hop->to->gone_us)
		step(hop->to, &event);
	hop_drop(hop);
}

static void launch(struct spot *from, struct spot *to, struct sim_letter *letter, unsigned legs)
{
	struct calm *calm = from->calm;
	uint64_t delay_us = 0;
	for (unsigned i = 0; i < legs; i++) {
		if (calm->loss && sim_random(calm->sim) % 1000 < calm->loss)
			return;
		delay_us += sim_chance(calm->sim, 90) ? sim_between(calm->sim, 100, 2 * MS)
						      : sim_between(calm->sim, 100, 20 * MS);
	}
	struct hop *hop = sim_alloc(sizeof *hop);
	*hop = (struct hop){from, to, sim_letter_keep(letter)};
	calm->messages++;
	sim_after(calm->sim, delay_us, arrive, hop, hop_drop);
}

static struct spot *spot_of(struct calm *calm, const struct ph_name *name)
{
	unsigned no = (unsigned)strtoul(name->s + 1, NULL, 10);
	return no < calm->n ? &calm->spots[no] : NULL;
}

static void act_send(struct spot *spot, const struct ph_action *action)
{
	struct spot *to = spot_of(spot->calm, &action->to);
	struct spot *via = action->via.s[0] ? spot_of(spot->calm, &action->via) : NULL;
	if (!to || !(spot->linked[to->no] || action->address))
		return;
	struct sim_letter *letter = sim_letter_new(spot->calm->sim, action->message);
	launch(spot, to, letter, 1);
	if (via && !via->gone_us)
		launch(spot, to, letter, 2);
	sim_letter_drop(letter);
}

static void act_cast(struct spot *spot, const struct ph_action *action)
{
	struct calm *calm = spot->calm;
	struct sim_letter *letter = sim_letter_new(calm->sim, action->message);
	sim_letter_means(letter, spot->hub);
	for (unsigned i = 0; i < calm->n; i++)
		if (i != spot->no && (spot->linked[i] || i == 0))
			launch(spot, &calm->spots[i], letter, 1);
	sim_letter_drop(letter);
}

/* ---- the hubs ---- */

static void act_emit(struct spot *spot, const struct ph_emit *emit)
{
	struct calm *calm = spot->calm;
	const struct spot *peer = spot_of(calm, &emit->peer);
	bool gone = peer && peer->gone_us;
	if (emit->kind == PH_EMIT_NODE_SUSPECT && !gone)
		calm->suspects++;
	if (emit->kind != PH_EMIT_NODE_DEAD)
		return;
	if (!gone)
		calm->deaths++;
	else if (calm->n_samples < SAMPLES_MAX)
		calm->samples_us[calm->n_samples++] = calm->sim->now_us - peer->gone_us;
}

static void act(struct spot *spot, const struct ph_action *action)
{
	const struct spot *to = spot_of(spot->calm, &action->to);
	switch ((int)action->kind) {
	case PH_ACT_SEND:
		act_send(spot, action);
		break;
	case PH_ACT_CAST:
		act_cast(spot, action);
		break;
	case PH_ACT_LINK:
	case PH_ACT_UNLINK:
		if (to)
			spot->linked[to->no] = action->kind == PH_ACT_LINK;
		break;
	case PH_ACT_EMIT:
		act_emit(spot, action->emit);
		break;
	default: /* no worker, no child, no order */
		break;
	}
}

static void on_tick(struct sim *sim, void *arg)
{
	struct spot *spot = arg;
	struct ph_event event = {.kind = PH_EV_TICK};
	if (spot->gone_us || sim->now_us < spot->tick_us) /* an earlier one was asked for since */
		return;
	spot->tick_us = UINT64_MAX;
	step(spot, &event);
}

/* Each node has a clock of its own. */
static uint64_t clock_ms(const struct spot *spot)
{
	return spot->calm->sim->now_us / MS + 1000 + spot->no * 7919;
}

static void step(struct spot *spot, const struct ph_event *event)
{
	struct sim *sim = spot->calm->sim;
	struct ph_actions actions;
	uint64_t now_ms = clock_ms(spot);
	char why[256];
	if (!sim_letter_step(spot->hub, event, now_ms, &actions, why, sizeof why))
		sim_fail(sim, "%s", why);
	for (size_t i = 0; i < actions.n; i++)
		act(spot, &actions.items[i]);
	uint64_t next_ms = ph_next_deadline(spot->hub);
	uint64_t wait_us = next_ms > now_ms ? (next_ms - now_ms) * MS : 20;
	if (next_ms == UINT64_MAX || sim->now_us + wait_us >= spot->tick_us)
		return;
	spot->tick_us = sim->now_us + wait_us;
	sim_after(sim, wait_us, on_tick, spot, NULL);
}

static void start(struct sim *sim, void *arg)
{
	struct spot *spot = arg;
	const char *peers[] = {spot->calm->spots[0].address};
	struct ph_settings set = {.node = spot->name,
		.slot = 1 + spot->no,
		.incarnation = 1700000000000 + spot->no,
		.weight = 1,
		.version = "calm",
		.n_peers = spot->no ? 1 : 0,
		.peers = peers,
		.join_timeout_ms = 5000,
		.failure_timeout_ms = FAILURE_MS,
		.settle_ms = 1000,
		.heartbeat_ms = 250,
		.migrations_max = 8,
		.accept_any = true,
		.journal_writable = true,
		.seed = sim_random(sim)};
	struct ph_event event = {.kind = PH_EV_START};
	memcpy(set.address, spot->address, sizeof set.address);
	spot->hub = ph_hub_new(&set);
	if (!spot->hub)
		abort();
	step(spot, &event);
}

static void go(struct sim *sim, void *arg)
{
	struct spot *spot = arg;
	spot->gone_us = sim->now_us;
}

static void over(struct sim *sim, void *arg)
{
	(void)arg;
	sim->over = true;
}

/* A cluster from its first start on, for so long; `victim`: one of them goes at some time. */
static void run(struct calm *calm, uint64_t seed, uint64_t for_us, bool victim)
{
	struct sim *sim = calm->sim = sim_alloc(sizeof *sim);
	sim->rng = ph_mix64(seed + 1);
	for (unsigned i = 0; i < calm->n; i++) {
		struct spot *spot = &calm->spots[i];
		memset(spot, 0, sizeof *spot);
		spot->calm = calm;
		spot->no = i;
		spot->tick_us = UINT64_MAX;
		(void)snprintf(spot->name.s, sizeof spot->name.s, "n%u", i);
		(void)snprintf(spot->address, sizeof spot->address, "tcp://n%u:1", i);
		if (i == 0)
			start(sim, spot);
		else
			sim_after(sim, sim_between(sim, 0, SEC), start, spot, NULL);
	}
	sim_after(sim, for_us, over, NULL, NULL);
	if (victim)
		sim_after(sim, WARM_US + sim_between(sim, 0, 2 * SEC), go,
			&calm->spots[sim_random(sim) % calm->n], NULL);
	sim_loop(sim);
	if (sim->failed)
		printf("%s\n", sim->why);
	calm->failed |= sim->failed;
	sim_fini(sim);
	for (unsigned i = 0; i < calm->n; i++)
		ph_hub_free(calm->spots[i].hub);
	free(sim);
}

/* ---- the two questions ---- */

static int ascending(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;
	return (*x > *y) - (*x < *y);
}

static int detect(struct calm *calm, unsigned runs, uint64_t seed)
{
	for (unsigned i = 0; i < runs; i++)
		run(calm, seed + i, WARM_US + 9 * SEC, true);
	size_t n = calm->n_samples, want = (size_t)runs * (calm->n - 1);
	qsort(calm->samples_us, n, sizeof *calm->samples_us, ascending);
	if (!n)
		return 1;
	uint64_t most = calm->samples_us[n - 1];
	printf("%u nodes, %u runs, loss %.1f %%: a death is seen after min %.2f, median %.2f, "
	       "max %.2f s (%zu of %zu verdicts, %" PRIu64 " false)\n",
		calm->n, runs, calm->loss / 10.0, (double)calm->samples_us[0] / 1e6,
		(double)calm->samples_us[n / 2] / 1e6, (double)most / 1e6, n, want, calm->deaths);
	return !calm->failed && n == want && !calm->deaths && most <= FAILURE_MS * MS + SEC ? 0 : 1;
}

static int idle(struct calm *calm, unsigned hours, uint64_t seed)
{
	run(calm, seed, hours * HOUR_US, false);
	printf("%u nodes, %u h (%u node-hours), loss %.1f %%: %" PRIu64 " messages, %" PRIu64
	       " false suspicions, %" PRIu64 " false deaths\n",
		calm->n, hours, calm->n * hours, calm->loss / 10.0, calm->messages, calm->suspects,
		calm->deaths);
	return calm->failed || calm->deaths ? 1 : 0;
}

static const char usage[] =
	"usage: sim --calm NODES HOURS LOSS SEED    false deaths in so many hours\n"
	"       sim --detect NODES RUNS LOSS SEED   from a death to its verdicts\n"
	"  LOSS is in 1/1000 of the messages; exit 0 none was false, none was late\n";

int sim_calm(int argc, char **argv)
{
	unsigned long v[4] = {0};
	for (int i = 0; i < 4 && i + 2 < argc; i++)
		v[i] = strtoul(argv[i + 2], NULL, 10);
	if (argc != 6 || v[0] < 2 || v[0] > NODES_MAX || !v[1] || v[1] > 100000 || v[2] > 999) {
		fputs(usage, stderr);
		return 2;
	}
	struct calm *calm = sim_alloc(sizeof *calm);
	calm->n = (unsigned)v[0];
	calm->loss = (unsigned)v[2];
	calm->samples_us = sim_alloc(SAMPLES_MAX * sizeof *calm->samples_us);
	bool deaths = strcmp(argv[1], "--detect") == 0;
	int status = deaths ? detect(calm, (unsigned)v[1], v[3]) : idle(calm, (unsigned)v[1], v[3]);
	free(calm->samples_us);
	free(calm);
	return status;
}
