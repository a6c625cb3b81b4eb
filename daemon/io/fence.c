#include "io/fence.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/clock.h"
#include "io/fence_impl.h"
#include "io/helper.h"

#define LIVED_MS 1000u /* who lives so long is started again at once */
#define BACKOFF_MIN_MS 100u
#define BACKOFF_MAX_MS 2000u
#define WAIT_MARGIN_MS 1000u /* beyond the grace, for one that has fired to come to its end */
#define WAIT_MAX_MS 10000u
#define OTHERS_MAX 8u /* fences of earlier daemons that are remembered */

/* A place in the table that an earlier daemon has written. */
struct inherited {
	uint32_t pid, place;
	bool taken; /* by a worker that was put since */
};

/* One that has fired, and whose zombie is ours once it has stopped its workers. */
struct fired {
	struct fired *next;
	pid_t pid;
	int pidfd;
	struct event *on_exit;
};

struct ph_fence {
	struct event_base *base;
	char *program, *run_dir;
	char cgroups[PH_FENCE_PATH_SIZE]; /* empty: none */
	void (*ended)(void *arg, const char *why);
	void *arg;
	uint64_t grace_ms;

	int memory;
	struct ph_fence_map *map;
	uint32_t *places; /* free ones, a stack */
	size_t n_places;
	struct inherited *inherited; /* sorted by pid; until all is settled */
	size_t n_inherited;

	pid_t pid; /* 0: none; then the descriptor and the event are not there either */
	int pidfd;
	bool child; /* ours to reap */
	struct event *on_exit, *start_timer;
	uint64_t started_at_ms;
	unsigned backoff_ms;
	uint32_t told; /* processes whose news were told */
	struct fired *fired;

	struct ph_fence_found old[OTHERS_MAX]; /* of another version, until they are replaced */
	size_t n_old;
};

/* ---- memory */

static int memory_new(
	uint64_t lease_until_ms, uint64_t grace_ms, int *ret_fd, struct ph_fence_map **ret_map)
{
	int error = 0;
	int fd = memfd_create(PH_FENCE_NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)PH_FENCE_BYTES) < 0 ||
		fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		error = -errno;
	void *memory =
		error ? MAP_FAILED
		      : mmap(NULL, PH_FENCE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED) {
		error = error ? error : -errno;
		close(fd);
		return error;
	}
	struct ph_fence_map *map = memory;
	map->magic = PH_FENCE_MAGIC;
	map->version = PH_FENCE_VERSION;
	map->n_entries = PH_FENCE_ENTRIES;
	atomic_store(&map->grace_ms, grace_ms);
	atomic_store(&map->lease_until_ms, lease_until_ms);
	*ret_fd = fd;
	*ret_map = map;
	return 0;
}

static void memory_free(struct ph_fence *fence)
{
	if (fence->map)
		(void)munmap(fence->map, PH_FENCE_BYTES);
	if (fence->memory >= 0)
		close(fence->memory);
	fence->map = NULL;
	fence->memory = -1;
}

/* Where it is as it was a fence that fires at this moment does not see it change. */
static void name_cgroups(struct ph_fence *fence)
{
	if (strcmp(fence->map->cgroups, fence->cgroups) != 0)
		memcpy(fence->map->cgroups, fence->cgroups, sizeof fence->map->cgroups);
}

/* The first places are given first. */
static void places_all(struct ph_fence *fence)
{
	fence->n_places = 0;
	for (uint32_t place = PH_FENCE_ENTRIES; place-- > 0;)
		fence->places[fence->n_places++] = place;
}

static int compare_inherited(const void *a, const void *b)
{
	const struct inherited *x = a, *y = b;
	return (x->pid > y->pid) - (x->pid < y->pid);
}

static void places_inherit(struct ph_fence *fence)
{
	struct ph_fence_worker worker;
	fence->n_places = 0;
	for (uint32_t place = PH_FENCE_ENTRIES; place-- > 0;) {
		if (ph_fence_read(&fence->map->entries[place], &worker))
			fence->inherited[fence->n_inherited++] =
				(struct inherited){.pid = worker.pid, .place = place};
		else
			fence->places[fence->n_places++] = place;
	}
	qsort(fence->inherited, fence->n_inherited, sizeof *fence->inherited, compare_inherited);
}

/* ---- the process */

static void on_exit_event(evutil_socket_t fd, short what, void *arg);

static void drop_process(struct ph_fence *fence)
{
	if (fence->on_exit)
		event_free(fence->on_exit);
	if (fence->pidfd >= 0)
		close(fence->pidfd);
	fence->on_exit = NULL;
	fence->pidfd = -1;
	fence->pid = 0;
}

static int watch(struct ph_fence *fence)
{
	fence->on_exit = event_new(fence->base, fence->pidfd, EV_READ, on_exit_event, fence);
	return fence->on_exit && event_add(fence->on_exit, NULL) == 0 ? 0 : -ENOMEM;
}

static int start(struct ph_fence *fence)
{
	fence->started_at_ms = ph_clock_now_ms();
	int error = ph_helper_start(fence->program, PH_FENCE_NAME, fence->run_dir, fence->memory,
		&fence->pid, &fence->pidfd);
	if (error)
		return error;
	fence->child = true;
	error = watch(fence);
	if (error) {
		ph_fence_kill(fence->pidfd);
		(void)ph_helper_reap(fence->pid);
		drop_process(fence);
	}
	return error;
}

static void start_later(struct ph_fence *fence)
{
	if (ph_clock_now_ms() - fence->started_at_ms >= LIVED_MS)
		fence->backoff_ms = 0;
	struct timeval wait = {
		(time_t)(fence->backoff_ms / 1000), (suseconds_t)(fence->backoff_ms % 1000 * 1000)};
	(void)event_add(fence->start_timer, &wait);
	fence->backoff_ms *= 2;
	if (fence->backoff_ms < BACKOFF_MIN_MS)
		fence->backoff_ms = BACKOFF_MIN_MS;
	if (fence->backoff_ms > BACKOFF_MAX_MS)
		fence->backoff_ms = BACKOFF_MAX_MS;
}

static void on_start_timer(evutil_socket_t fd, short what, void *arg)
{
	struct ph_fence *fence = arg;
	(void)fd;
	(void)what;
	if (!fence->pid && start(fence) < 0)
		start_later(fence);
}

static void on_exit_event(evutil_socket_t fd, short what, void *arg)
{
	struct ph_fence *fence = arg;
	char why[128];
	(void)fd;
	(void)what;
	int status = ph_helper_reap(fence->pid); /* no child of ours: that is told at once */
	drop_process(fence);
	if (ph_fence_has_fired(fence))
		return; /* it has done its work; who renews all of it starts another */
	start_later(fence);
	if (!fence->child)
		(void)snprintf(why, sizeof why, "that of an earlier daemon ended");
	else if (WIFSIGNALED(status))
		(void)snprintf(why, sizeof why, "it was ended by signal %d (%s)", WTERMSIG(status),
			strsignal(WTERMSIG(status)));
	else
		(void)snprintf(why, sizeof why, "it ended with status %d", WEXITSTATUS(status));
	if (fence->ended)
		fence->ended(fence->arg, why);
}

/* ---- those that have fired */

static void fired_free(struct fired *fired)
{
	if (fired->on_exit)
		event_free(fired->on_exit);
	if (fired->pidfd >= 0)
		close(fired->pidfd);
	free(fired);
}

static void on_fired_exit(evutil_socket_t fd, short what, void *arg)
{
	struct fired *fired = arg;
	(void)fd;
	(void)what;
	(void)ph_helper_reap(fired->pid); /* no child of ours: that is told at once */
	event_free(fired->on_exit);
	close(fired->pidfd);
	fired->on_exit = NULL;
	fired->pidfd = -1;
}

/* Takes the process; without memory for it its zombie stays. */
static void leave_to_its_work(struct ph_fence *fence)
{
	struct fired *fired = fence->pid ? calloc(1, sizeof *fired) : NULL;
	for (struct fired **at = &fence->fired, *gone; (gone = *at);) {
		if (gone->pidfd >= 0) {
			at = &gone->next;
			continue;
		}
		*at = gone->next;
		fired_free(gone);
	}
	if (fired) {
		*fired = (struct fired){
			.next = fence->fired, .pid = fence->pid, .pidfd = fence->pidfd};
		fence->pidfd = -1;
		fired->on_exit =
			event_new(fence->base, fired->pidfd, EV_READ, on_fired_exit, fired);
		if (fired->on_exit)
			(void)event_add(fired->on_exit, NULL);
		fence->fired = fired;
	}
	drop_process(fence);
}

/* ---- those of earlier daemons */

struct opening {
	struct ph_fence *fence;
	struct ph_fence_found over[OTHERS_MAX]; /* whose lease is over */
	size_t n_over;
};

static bool is_over(const struct ph_fence_found *found)
{
	/* PH_FENCE_FIRED is beyond every moment */
	uint64_t until_ms = atomic_load(&found->map->lease_until_ms);
	return until_ms == PH_FENCE_FIRED || until_ms <= ph_clock_now_ms();
}

static bool consider(void *arg, const struct ph_fence_found *found)
{
	struct opening *opening = arg;
	struct ph_fence *fence = opening->fence;
	if (is_over(found)) {
		if (opening->n_over == OTHERS_MAX)
			return false;
		opening->over[opening->n_over++] = *found;
		return true;
	}
	if (!found->fits && fence->n_old < OTHERS_MAX) {
		fence->old[fence->n_old++] = *found;
		return true;
	}
	if (!found->fits || fence->pid) {
		ph_fence_kill(found->pidfd);
		return false;
	}
	fence->pid = found->pid;
	fence->pidfd = found->pidfd;
	fence->memory = found->memory;
	fence->map = found->map;
	return true;
}

/* Until it has stopped its workers. */
static void wait_for_end(const struct ph_fence_found *found, uint64_t grace_ms)
{
	uint64_t wait_ms = grace_ms + WAIT_MARGIN_MS;
	struct pollfd end = {.fd = found->pidfd, .events = POLLIN};
	if (poll(&end, 1, (int)(wait_ms < WAIT_MAX_MS ? wait_ms : WAIT_MAX_MS)) <= 0)
		ph_fence_kill(found->pidfd);
}

static int take_over(struct ph_fence *fence)
{
	struct opening opening = {.fence = fence};
	ph_fence_find(fence->run_dir, consider, &opening);
	for (size_t i = 0; i < opening.n_over; i++) {
		uint64_t grace_ms = atomic_load(&opening.over[i].map->grace_ms);
		wait_for_end(&opening.over[i], grace_ms);
		ph_fence_found_close(&opening.over[i]);
	}
	if (!fence->pid)
		return 0;
	atomic_store(&fence->map->grace_ms, fence->grace_ms);
	name_cgroups(fence);
	fence->started_at_ms = ph_clock_now_ms();
	places_inherit(fence);
	int error = watch(fence);
	if (error)
		drop_process(fence);
	return error;
}

static bool end_other(void *arg, const struct ph_fence_found *found)
{
	const struct ph_fence *fence = arg;
	if (found->pid != fence->pid && !is_over(found))
		ph_fence_kill(found->pidfd);
	return false;
}

/* The one in place guards: from now on it is the only one. */
static void end_others(struct ph_fence *fence)
{
	for (size_t i = 0; i < fence->n_old; i++) {
		ph_fence_kill(fence->old[i].pidfd);
		ph_fence_found_close(&fence->old[i]);
	}
	fence->n_old = 0;
	ph_fence_find(fence->run_dir, end_other, fence);
}

/* ---- life */

static struct ph_fence *fence_new(struct event_base *base, const struct ph_fence_settings *settings)
{
	struct ph_fence *fence = calloc(1, sizeof *fence);
	if (!fence)
		return NULL;
	*fence = (struct ph_fence){.base = base,
		.program = strdup(settings->program),
		.run_dir = realpath(settings->run_dir, NULL),
		.ended = settings->ended,
		.arg = settings->arg,
		.grace_ms = settings->grace_ms,
		.memory = -1,
		.pidfd = -1,
		.places = calloc(PH_FENCE_ENTRIES, sizeof *fence->places),
		.inherited = calloc(PH_FENCE_ENTRIES, sizeof *fence->inherited),
		.start_timer = evtimer_new(base, on_start_timer, fence)};
	if (settings->cgroups && strlen(settings->cgroups) < sizeof fence->cgroups)
		(void)snprintf(fence->cgroups, sizeof fence->cgroups, "%s", settings->cgroups);
	if (fence->program && fence->run_dir && fence->places && fence->inherited &&
		fence->start_timer)
		return fence;
	ph_fence_close(fence, false);
	return NULL;
}

int ph_fence_open(struct event_base *base, const struct ph_fence_settings *settings,
	struct ph_fence **ret_fence, bool *ret_guarded, struct ph_err *err)
{
	struct ph_fence *fence = fence_new(base, settings);
	if (!fence)
		return ph_err_set(err, ENOMEM, "no memory for the link to " PH_FENCE_NAME);
	int error = take_over(fence);
	bool guarded = fence->pid || fence->n_old;
	if (!error && !fence->pid) {
		error = memory_new(ph_clock_now_ms() + settings->lease_ms, settings->grace_ms,
			&fence->memory, &fence->map);
		places_all(fence);
		if (!error) {
			name_cgroups(fence);
			error = start(fence);
		}
	}
	if (error) {
		ph_fence_close(fence, false);
		return ph_err_set(
			err, -error, "cannot start %s: %s", settings->program, strerror(-error));
	}
	*ret_fence = fence;
	*ret_guarded = guarded;
	return 0;
}

void ph_fence_close(struct ph_fence *fence, bool end)
{
	if (!fence)
		return;
	if (end && fence->pid) {
		ph_fence_kill(fence->pidfd);
		(void)ph_helper_reap(fence->pid);
	}
	drop_process(fence);
	for (struct fired *fired = fence->fired, *next; fired; fired = next) {
		next = fired->next;
		fired_free(fired);
	}
	for (size_t i = 0; i < fence->n_old; i++)
		ph_fence_found_close(&fence->old[i]);
	memory_free(fence);
	if (fence->start_timer)
		event_free(fence->start_timer);
	free(fence->places);
	free(fence->inherited);
	free(fence->program);
	free(fence->run_dir);
	free(fence);
}

int ph_fence_renew_all(struct ph_fence *fence, uint64_t lease_until_ms)
{
	int memory = -1;
	struct ph_fence_map *map = NULL;
	int error = memory_new(lease_until_ms, fence->grace_ms, &memory, &map);
	if (error)
		return error;
	leave_to_its_work(fence);
	memory_free(fence);
	fence->memory = memory;
	fence->map = map;
	fence->told = 0;
	fence->n_inherited = 0;
	name_cgroups(fence);
	places_all(fence);
	(void)event_del(fence->start_timer);
	fence->backoff_ms = 0;
	if (start(fence) < 0)
		start_later(fence);
	return 0;
}

/* ---- the lease and the table */

uint64_t ph_fence_lease_until(const struct ph_fence *fence)
{
	return atomic_load(&fence->map->lease_until_ms);
}

bool ph_fence_has_fired(const struct ph_fence *fence)
{
	return ph_fence_lease_until(fence) == PH_FENCE_FIRED;
}

bool ph_fence_lease(struct ph_fence *fence, uint64_t until_ms)
{
	for (size_t i = 0; i < fence->n_old; i++)
		(void)ph_fence_renew(fence->old[i].map, until_ms);
	return ph_fence_renew(fence->map, until_ms);
}

static int put_inherited(
	struct ph_fence *fence, const struct ph_fence_worker *worker, uint32_t *ret_place)
{
	struct ph_fence_worker there;
	struct inherited key = {.pid = worker->pid};
	struct inherited *at =
		bsearch(&key, fence->inherited, fence->n_inherited, sizeof key, compare_inherited);
	if (!at || at->taken || !ph_fence_read(&fence->map->entries[at->place], &there) ||
		there.start_time != worker->start_time)
		return -ENOENT;
	at->taken = true;
	*ret_place = at->place;
	return 0;
}

int ph_fence_put(struct ph_fence *fence, const struct ph_fence_worker *worker, uint32_t *ret_place)
{
	uint32_t place;
	if (put_inherited(fence, worker, &place)) {
		if (!fence->n_places)
			return -ENOSPC;
		place = fence->places[--fence->n_places];
	}
	ph_fence_write(&fence->map->entries[place], worker);
	*ret_place = place;
	return 0;
}

void ph_fence_change(struct ph_fence *fence, uint32_t place, const struct ph_fence_worker *worker)
{
	ph_fence_write(&fence->map->entries[place], worker);
}

void ph_fence_drop(struct ph_fence *fence, uint32_t place)
{
	static const struct ph_fence_worker none;
	ph_fence_write(&fence->map->entries[place], &none);
	fence->places[fence->n_places++] = place;
}

bool ph_fence_is_empty(const struct ph_fence *fence)
{
	return fence->n_places == PH_FENCE_ENTRIES;
}

void ph_fence_settled(struct ph_fence *fence)
{
	for (size_t i = 0; i < fence->n_inherited; i++)
		if (!fence->inherited[i].taken)
			ph_fence_drop(fence, fence->inherited[i].place);
	fence->n_inherited = 0;
}

bool ph_fence_news(struct ph_fence *fence, int *ret_lock_error, int *ret_realtime_error)
{
	uint32_t ready = atomic_load(&fence->map->ready);
	if (ready == fence->told)
		return false;
	fence->told = ready;
	*ret_lock_error = (int)atomic_load(&fence->map->lock_error);
	*ret_realtime_error = (int)atomic_load(&fence->map->realtime_error);
	end_others(fence);
	return true;
}

pid_t ph_fence_pid(const struct ph_fence *fence)
{
	return fence->pid;
}
