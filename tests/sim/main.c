/*
 * sim - runs the production core against many seeds; exit 0 all held, 1 some failed, 2 wrong usage.
 */
#include "large.h"

#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SEED_SECONDS 20 /* of the real clock; a seed takes milliseconds */

static const char usage[] =
	"usage: sim [--seed N | --seeds FIRST..LAST | --list FILE] [--nodes 2..5] [--children N] "
	"[--trace]\n"
	"           [--partition divergence|static-quorum|dynamic-quorum|majority]\n"
	"           [--story "
	"join|cold|drain|move|crash|mixed|heal|cancel|forget|member|late|own|swap|group|added|"
	"texts]\n"
	"           [--faults MASK] [--shrink] [--twice] [--count]\n"
	"  --faults MASK  only those faults of the plan whose bit is set (hexadecimal)\n"
	"  --shrink       looks for the fewest faults with which a failing seed still fails\n"
	"  --twice        runs each seed twice and compares\n"
	"  --count        how often each kind of deed and of consequence has happened\n"
	"       sim --calm | --detect: membership alone, each with a usage of its own\n"
	"usage: sim --steady NODES[,NODES...] [--each N] [--seed N]\n"
	"  many hubs (4..1023) with N children each (10): all join, one dies, one leaves, one "
	"joins\n";

static const char *const partitions[] = {
	"divergence", "static-quorum", "dynamic-quorum", "majority"};

struct args {
	struct sim_options opt;
	uint64_t first, last, failed;
	const char *list, *steady;
	uint64_t each;
	bool shrink, twice, count;
	struct sim_counts counts;
};

struct result {
	bool failed;
	char why[256];
	uint64_t hash, virtual_us, steps, acks, done, aborted;
	enum sim_story story;
	bool faultless;
	unsigned n_faults;
	struct sim_counts counts;
};

static void list_faults(const struct sim *sim)
{
	unsigned no = 0;
	for (unsigned i = 0; i < sim->n_plan; i++) {
		const struct sim_deed *deed = &sim->plan[i];
		if (!sim_deed_is_fault[deed->kind])
			continue;
		if (!deed->off)
			printf("  fault %u at %.3f s: %s n%u n%u key %u k %u x %" PRIu64 "%s\n", no,
				(double)deed->at_us / 1e6, sim_deed_names[deed->kind], deed->node,
				deed->other, deed->key, deed->k, deed->x,
				deed->when ? ", at the next message of its kind" : "");
		no++;
	}
}

static void run(const struct sim_options *opt, uint64_t seed, bool list, struct result *ret)
{
	struct sim *sim = sim_alloc(sizeof *sim);
	sim->opt = *opt;
	sim->seed = seed;
	sim->rng = ph_mix64(seed + 1);
	sim->last_pid = 100;
	sim_story_make(sim);
	sim_loop(sim);
	memset(ret, 0, sizeof *ret);
	ret->failed = sim->failed;
	memcpy(ret->why, sim->why, sizeof ret->why);
	ret->hash = sim->hash;
	ret->virtual_us = sim->now_us;
	ret->steps = sim->steps;
	ret->acks = sim->acks;
	ret->done = sim->migrations_done;
	ret->aborted = sim->migrations_aborted;
	ret->story = sim->story;
	ret->faultless = sim->faultless;
	ret->counts = sim->counts;
	for (unsigned i = 0; i < sim->n_plan; i++)
		ret->n_faults += sim_deed_is_fault[sim->plan[i].kind];
	if (list)
		list_faults(sim);
	sim_fini(sim);
	free(sim);
}

/* The same words, whatever the names and numbers? */
static bool alike(const char *a, const char *b)
{
	for (; *a && *b; a++, b++) {
		a += strcspn(a, " ");
		b += strcspn(b, " ");
		while (*a == ' ' && strcspn(a + 1, "/0123456789") < strcspn(a + 1, " "))
			a += 1 + strcspn(a + 1, " ");
		while (*b == ' ' && strcspn(b + 1, "/0123456789") < strcspn(b + 1, " "))
			b += 1 + strcspn(b + 1, " ");
		size_t n = strcspn(a + (*a == ' '), " ");
		if (!*a || !*b)
			break;
		if (strncmp(a + 1, b + 1, n + 1) != 0)
			return false;
	}
	return !*a == !*b;
}

/* Leaves out one fault after the other for as long as it fails in the same way. */
static void shrink(struct args *args, uint64_t seed, unsigned n_faults, const char *why)
{
	struct sim_options opt = args->opt;
	struct result result;
	opt.trace = false;
	for (unsigned i = 0; i < n_faults && i < 64; i++) {
		struct sim_options fewer = opt;
		fewer.fault_mask &= ~(UINT64_C(1) << i);
		run(&fewer, seed, false, &result);
		if (result.failed && alike(result.why, why))
			opt = fewer;
	}
	run(&opt, seed, true, &result);
	printf("  enough: --seed %" PRIu64 " --faults %" PRIx64 ": %s\n", seed,
		opt.fault_mask & ((UINT64_C(1) << (n_faults % 64)) - 1), result.why);
}

static void report(const struct args *args, uint64_t seed, const struct result *result)
{
	printf("seed %" PRIu64 " (%s%s, %.1f s): %s\n", seed, sim_story_names[result->story],
		result->faultless ? ", faultless" : "", (double)result->virtual_us / 1e6,
		result->why);
	printf("  replay: sim --trace --seed %" PRIu64, seed);
	if (args->opt.nodes)
		printf(" --nodes %u", args->opt.nodes);
	if (args->opt.children)
		printf(" --children %u", args->opt.children);
	if (args->opt.story >= 0)
		printf(" --story %s", sim_story_names[args->opt.story]);
	if (args->opt.partition)
		printf(" --partition %s", partitions[args->opt.partition]);
	printf("\n");
}

/* A step that never ends cannot be left: the run ends with the seed's name. */
static volatile sig_atomic_t running_high, running_low;

static void stuck(int number)
{
	char text[] = "seed ......................: a step does not end\n0 passed, 1 failed\n";
	uint64_t seed = (uint64_t)(uint32_t)running_high << 32 | (uint32_t)running_low;
	(void)number;
	for (size_t i = 26; i > 4; i--, seed /= 10)
		text[i] = seed || i == 26 ? (char)('0' + seed % 10) : ' ';
	ssize_t written = write(STDOUT_FILENO, text, sizeof text - 1);
	_exit(written < 0 ? 3 : 1);
}

static void watch(uint64_t seed)
{
	running_high = (sig_atomic_t)(seed >> 32);
	running_low = (sig_atomic_t)seed;
	fflush(stdout);
	(void)alarm(SEED_SECONDS);
}

static int run_all(struct args *args)
{
	uint64_t passed = 0, failed = 0, steps = 0, acks = 0, done = 0, aborted = 0;
	for (uint64_t seed = args->first; seed <= args->last; seed++) {
		struct result result, second;
		watch(seed);
		run(&args->opt, seed, false, &result);
		if (args->twice) {
			run(&args->opt, seed, false, &second);
			if (second.hash != result.hash || second.steps != result.steps) {
				result.failed = true;
				(void)snprintf(result.why, sizeof result.why,
					"a second run with the same seed went another way");
			}
		}
		steps += result.steps;
		acks += result.acks;
		done += result.done;
		aborted += result.aborted;
		sim_count_add(&args->counts, &result.counts);
		passed += !result.failed;
		failed += result.failed;
		if (!result.failed)
			continue;
		report(args, seed, &result);
		if (args->shrink)
			shrink(args, seed, result.n_faults, result.why);
		fflush(stdout);
	}
	if (args->count)
		sim_count_show(&args->counts);
	printf("%" PRIu64 " steps, %" PRIu64 " updates acknowledged, %" PRIu64
	       " migrations done, %" PRIu64 " aborted\n",
		steps, acks, done, aborted);
	printf("%" PRIu64 " passed, %" PRIu64 " failed\n", passed, failed);
	return failed ? 1 : 0;
}

static bool number(const char *text, uint64_t low, uint64_t high, uint64_t *ret)
{
	char *end;
	uint64_t v = strtoull(text, &end, 10);
	if (end == text || *end || v < low || v > high)
		return false;
	*ret = v;
	return true;
}

static bool range(const char *text, struct args *args)
{
	char *end;
	args->first = strtoull(text, &end, 10);
	if (end == text || strncmp(end, "..", 2) != 0)
		return false;
	return number(end + 2, args->first, UINT64_MAX - 1, &args->last);
}

/* One seed a line; what follows a `#` is for people. */
static int run_list(struct args *args)
{
	char line[256];
	uint64_t passed = 0;
	FILE *file = fopen(args->list, "r");
	if (!file) {
		perror(args->list);
		return 2;
	}
	while (fgets(line, sizeof line, file)) {
		struct result result;
		char *end;
		uint64_t seed = strtoull(line, &end, 10);
		if (end == line)
			continue;
		watch(seed);
		run(&args->opt, seed, false, &result);
		passed += !result.failed;
		args->failed += result.failed;
		if (result.failed)
			report(args, seed, &result);
	}
	fclose(file);
	printf("%s: %" PRIu64 " passed, %" PRIu64 " failed\n", args->list, passed, args->failed);
	return args->failed ? 1 : 0;
}

/* ---- many hubs ---- */

static void show(const struct large_result *r)
{
	printf("%5u %8u %5" PRIu64 " %6.1f %6.1f %5.2f %7.0f %8.0f %8.0f  %4.2f-%4.2f %6.1f %5.1f "
	       "%5u/%-5u %5u/%-5u %6.1f %6.0f\n",
		r->nodes, r->children, r->beat_ms, r->join_s, r->start_s, r->load, r->messages,
		r->kib, r->kib_max, r->detect_first_s, r->detect_last_s, r->replaced_s,
		r->lag_beats, r->moved_join, r->ideal_join, r->moved_leave, r->ideal_leave,
		r->real_s, r->memory_mib);
	fflush(stdout);
}

static int run_steady(const struct args *args)
{
	printf("nodes children  beat joined  owned  load   msg/s    KiB/s  largest   dead seen   "
	       "again   lag  join/ideal leave/ideal  CPU s    MiB\n");
	printf("                  ms      s      s           sent     sent     node           s    "
	       "   "
	       "s beats\n");
	for (const char *at = args->steady; at;) {
		struct large_result result;
		char *end;
		uint64_t nodes = strtoull(at, &end, 10);
		if (end == at || (*end && *end != ',') || nodes < 4 || nodes >= LARGE_NODES ||
			nodes * args->each > PH_KEYS_MAX) {
			fputs(usage, stderr);
			return 2;
		}
		if (large_play(
			    (unsigned)nodes, (unsigned)(nodes * args->each), args->first, &result))
			return 1;
		show(&result);
		at = *end ? end + 1 : NULL;
	}
	return 0;
}

static bool story(const char *text, struct args *args)
{
	for (int i = 0; i < STORY_COUNT; i++)
		if (strcmp(text, sim_story_names[i]) == 0) {
			args->opt.story = i;
			return true;
		}
	return false;
}

static bool partition(const char *text, struct args *args)
{
	for (unsigned i = 0; i < sizeof partitions / sizeof partitions[0]; i++)
		if (strcmp(text, partitions[i]) == 0) {
			args->opt.partition = (enum ph_partition)i;
			return true;
		}
	return false;
}

static bool take(struct args *args, int c)
{
	uint64_t v = 0;
	char *end;
	bool ok = true;
	switch (c) {
	case 's':
		ok = number(optarg, 0, UINT64_MAX - 1, &args->first);
		args->last = args->first;
		return ok;
	case 'r':
		return range(optarg, args);
	case 'n':
		ok = number(optarg, 2, SIM_NODES, &v);
		args->opt.nodes = (unsigned)v;
		return ok;
	case 'c':
		ok = number(optarg, 1, SIM_KEYS, &v);
		args->opt.children = (unsigned)v;
		return ok;
	case 'p':
		return partition(optarg, args);
	case 'y':
		return story(optarg, args);
	case 'f':
		args->opt.fault_mask = strtoull(optarg, &end, 16);
		return end != optarg && !*end;
	case 't':
		return args->opt.trace = true;
	case 'l':
		args->list = optarg;
		return true;
	case 'k':
		return args->shrink = true;
	case 'o':
		return args->count = true;
	case '2':
		return args->twice = true;
	case 'm':
		args->steady = optarg;
		return true;
	case 'e':
		return number(optarg, 1, PH_KEYS_MAX, &args->each);
	default:
		return false;
	}
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"seed", 1, NULL, 's'}, {"seeds", 1, NULL, 'r'},
		{"nodes", 1, NULL, 'n'}, {"children", 1, NULL, 'c'}, {"trace", 0, NULL, 't'},
		{"story", 1, NULL, 'y'}, {"faults", 1, NULL, 'f'}, {"shrink", 0, NULL, 'k'},
		{"list", 1, NULL, 'l'}, {"partition", 1, NULL, 'p'}, {"twice", 0, NULL, '2'},
		{"count", 0, NULL, 'o'}, {"steady", 1, NULL, 'm'}, {"each", 1, NULL, 'e'},
		{NULL, 0, NULL, 0}};
	struct args args = {.opt = {.story = -1, .fault_mask = UINT64_MAX},
		.first = 1,
		.last = 100,
		.each = 10};
	int c;
	if (argc > 1 && (!strcmp(argv[1], "--calm") || !strcmp(argv[1], "--detect")))
		return sim_calm(argc, argv);
	(void)signal(SIGALRM, stuck);
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		if (!take(&args, c)) {
			fputs(usage, stderr);
			return 2;
		}
	if (optind < argc) {
		fputs(usage, stderr);
		return 2;
	}
	if (args.steady)
		return run_steady(&args);
	return args.list ? run_list(&args) : run_all(&args);
}
