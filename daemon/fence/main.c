/*
 * prochub-fence 3 RUN_DIR: outlives prochubd, and stops the workers that other nodes may take over
 * when its lease is over: SIGTERM then, SIGKILL after the grace. RUN_DIR only says whose it is.
 *
 * It sleeps until the end of the lease that it has last seen, so that it wakes about once in
 * cluster.fence_after; after it has started it allocates nothing and opens nothing but /proc and
 * the cgroups of workers. It ends when nothing is left to be stopped. Tested by
 * tests/unit/test_fence.c.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "fence/strike.h"

#define PRIORITY 1	  /* of SCHED_FIFO: before all that is not real-time */
#define STACK_BYTES 65536 /* more than anything here takes */
#define LOOK_MS 20	  /* between two looks at what still lives, doubled up to ... */
#define LOOK_MAX_MS 500	  /* ... this */
#define GIVE_UP_MS 60000  /* after SIGKILL: the kernel holds them */
#define SAY_BYTES 512

struct guard {
	struct ph_fence_map *map;
	const char *run_dir;
	int timer;
};

static uint64_t now_ms(void)
{
	struct timespec t;
	(void)clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void sleep_until(const struct guard *guard, uint64_t at_ms)
{
	/* rounded up: a moment too late, never awake for nothing just before it */
	struct itimerspec t = {
		.it_value = {(time_t)(at_ms / 1000), (long)(at_ms % 1000 * 1000000)}};
	struct pollfd fd = {.fd = guard->timer, .events = POLLIN};
	uint64_t count;
	if (!t.it_value.tv_sec && !t.it_value.tv_nsec)
		t.it_value.tv_nsec = 1; /* all zero would disarm it */
	(void)timerfd_settime(guard->timer, TFD_TIMER_ABSTIME, &t, NULL);
	if (ppoll(&fd, 1, NULL, NULL) > 0)
		(void)!read(guard->timer, &count, sizeof count);
}

/* When all is done, and only if nobody makes it wait. */
static void say(const struct guard *guard, const char *text)
{
	char line[SAY_BYTES];
	struct pollfd err = {.fd = STDERR_FILENO, .events = POLLOUT};
	int n = snprintf(line, sizeof line, "prochub-fence: %s: %s\n", guard->run_dir, text);
	if (n > 0 && poll(&err, 1, 0) > 0 && (err.revents & POLLOUT))
		(void)!write(
			STDERR_FILENO, line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
}

/* ---- the lease is over */

static int fire(const struct guard *guard, uint64_t lease_ms)
{
	char text[256];
	uint64_t kill_at_ms = lease_ms + atomic_load(&guard->map->grace_ms);
	uint64_t wait_ms = LOOK_MS, at_ms = now_ms();
	size_t all = ph_strike_take(guard->map), killed = 0, left = all;
	if (left && at_ms < kill_at_ms)
		left = ph_strike_round(SIGTERM);
	while (left && at_ms < kill_at_ms) {
		uint64_t next_ms = at_ms + wait_ms;
		sleep_until(guard, next_ms < kill_at_ms ? next_ms : kill_at_ms);
		left = ph_strike_round(0);
		at_ms = now_ms();
		wait_ms = 2 * wait_ms < LOOK_MAX_MS ? 2 * wait_ms : LOOK_MAX_MS;
	}
	killed = left;
	wait_ms = LOOK_MS;
	while (left && at_ms < kill_at_ms + GIVE_UP_MS) {
		left = ph_strike_round(SIGKILL);
		at_ms = now_ms();
		if (left)
			sleep_until(guard, at_ms + wait_ms);
		wait_ms = 2 * wait_ms < LOOK_MAX_MS ? 2 * wait_ms : LOOK_MAX_MS;
	}
	if (!all)
		return 0;
	(void)snprintf(text, sizeof text,
		"prochubd was away for longer than cluster.fence_after: stopped what other nodes "
		"may take over, %zu workers, %zu of them by SIGKILL%s",
		all, killed, left ? "; some cannot be killed" : "");
	say(guard, text);
	return left ? 1 : 0;
}

static int watch(const struct guard *guard)
{
	_Atomic uint64_t *lease = &guard->map->lease_until_ms;
	for (;;) {
		uint64_t until_ms = atomic_load(lease);
		if (until_ms == PH_FENCE_FIRED) /* by one that was killed in the midst of it */
			return fire(guard, 0);
		if (now_ms() < until_ms)
			sleep_until(guard, until_ms);
		else if (atomic_compare_exchange_strong(lease, &until_ms, PH_FENCE_FIRED))
			return fire(guard, until_ms);
	}
}

/* ---- start */

/* NULL: this is no memory of a prochubd of this version. */
static struct ph_fence_map *take_memory(void)
{
	struct stat stat;
	if (fstat(PH_FENCE_FD, &stat) < 0 || stat.st_size != (off_t)PH_FENCE_BYTES)
		return NULL;
	struct ph_fence_map *map =
		mmap(NULL, PH_FENCE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, PH_FENCE_FD, 0);
	if (map == MAP_FAILED)
		return NULL;
	if (map->magic == PH_FENCE_MAGIC && map->version == PH_FENCE_VERSION &&
		map->n_entries == PH_FENCE_ENTRIES)
		return map;
	(void)munmap(map, PH_FENCE_BYTES);
	return NULL;
}

static void touch_stack(void)
{
	volatile char stack[STACK_BYTES];
	for (size_t i = 0; i < sizeof stack; i += 1024)
		stack[i] = 0;
}

/* Whatever is refused here it does without; prochubd tells people. */
static void settle_down(struct ph_fence_map *map)
{
	struct sched_param priority = {.sched_priority = PRIORITY};
	(void)signal(SIGPIPE, SIG_IGN);
	(void)!chdir("/");
	touch_stack();
	if (mlockall(MCL_CURRENT | MCL_FUTURE) < 0)
		atomic_store(&map->lock_error, (uint32_t)errno);
	if (sched_setscheduler(0, SCHED_FIFO, &priority) < 0)
		atomic_store(&map->realtime_error, (uint32_t)errno);
	atomic_fetch_add(&map->ready, 1);
}

int main(int argc, char **argv)
{
	struct guard guard = {.run_dir = argc > 2 ? argv[2] : ""};
	if (argc == 2 && strcmp(argv[1], "-V") == 0) {
		puts("prochub-fence " PH_VERSION);
		return 0;
	}
	if (argc != 3 || strcmp(argv[1], PH_FENCE_FD_TEXT) != 0) {
		fprintf(stderr,
			"usage: prochub-fence " PH_FENCE_FD_TEXT " RUN_DIR\n"
			"Started by prochubd, which passes shared memory as that descriptor.\n");
		return 2;
	}
	guard.map = take_memory();
	guard.timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC);
	if (!guard.map || guard.timer < 0) {
		fprintf(stderr, "prochub-fence: %s\n",
			guard.map ? strerror(errno) : "descriptor 3 is not prochubd's memory");
		return 1;
	}
	settle_down(guard.map);
	return watch(&guard);
}
