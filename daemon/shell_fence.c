/* The fence: which workers it may stop, and until when it may not. */
#include <stdlib.h>
#include <string.h>

#include "io/child.h"
#include "io/fence.h"
#include "shell_parts.h"

#define AGAIN_MS 1000

struct ph_shell_fence {
	struct ph_fence *fence;
	uint64_t fence_after_ms;
	uint32_t generation;  /* of the table; places of another one mean nothing */
	uint64_t again_at_ms; /* another fence could not be started */
	bool guarded;	      /* since an earlier daemon: it has stopped nothing */
	bool fired;	      /* and core knows */
	bool told;	      /* what the fence has to do without */
	bool full;	      /* a worker had no place, and people know */
};

/*
 * How long this node may keep what others would take over: with a quorum strategy as long as it has
 * a lease, and with none longer than its daemon lives, which each heartbeat proves anew.
 */
static uint64_t lease_until(const struct ph_shell *shell)
{
	uint64_t lease_ms = ph_lease_until(shell->hub);
	uint64_t life_ms = shell->now_ms + shell->fence->fence_after_ms;
	return lease_ms < life_ms ? lease_ms : life_ms;
}

static void ended(void *arg, const char *why)
{
	ph_shell_log(arg, PH_LOG_WARNING, PH_FENCE_NAME ": %s; it is started again", why);
}

/* ---- life */

static bool is_wanted(const struct ph_conf *conf)
{
	return conf->cluster.listen && (conf->cluster.partition != PH_CONF_PARTITION_DIVERGENCE ||
					       conf->cluster.orphans == PH_CONF_ORPHANS_STOP);
}

int ph_shell_fence_new(struct ph_shell *shell, struct ph_err *err)
{
	const struct ph_conf *conf = shell->conf;
	char program[PH_PROGRAM_SIZE];
	if (!is_wanted(conf)) {
		ph_fence_end_all(shell->run_dir);
		return 0;
	}
	int error = ph_shell_program(PH_FENCE_NAME, program, sizeof program, err);
	if (error)
		return error;
	shell->fence = ph_shell_alloc(sizeof *shell->fence);
	shell->fence->fence_after_ms = conf->cluster.fence_after_ms;
	shell->fence->generation = 1;
	struct ph_fence_settings settings = {
		.program = program,
		.run_dir = shell->run_dir,
		.cgroups = ph_shell_cgroups_dir(shell),
		.lease_ms = conf->cluster.fence_after_ms,
		.grace_ms = conf->cluster.fence_grace_ms,
		.ended = ended,
		.arg = shell,
	};
	error = ph_fence_open(
		shell->base, &settings, &shell->fence->fence, &shell->fence->guarded, err);
	if (error) {
		free(shell->fence);
		shell->fence = NULL;
	}
	return error;
}

void ph_shell_fence_free(struct ph_shell *shell, bool end)
{
	if (!shell->fence)
		return;
	ph_fence_close(shell->fence->fence, end);
	free(shell->fence);
	shell->fence = NULL;
}

bool ph_shell_fence_may_have_fired(const struct ph_shell *shell)
{
	return shell->fence && !shell->fence->guarded;
}

uint64_t ph_shell_fence_known_lease(const struct ph_shell *shell)
{
	uint64_t until_ms = 0;
	if (shell->fence && shell->fence->guarded)
		until_ms = ph_fence_lease_until(shell->fence->fence);
	return until_ms == PH_FENCE_FIRED ? 0 : until_ms;
}

/* ---- the table */

static struct ph_fence_worker describe(const struct ph_shell_worker *worker)
{
	struct ph_fence_worker row = {
		.pid = (uint32_t)worker->pid, .start_time = worker->start_time};
	struct ph_id token;
	_Static_assert(sizeof token.b == sizeof row.token, "a token is 128 bits");
	if (worker->main) {
		row.main_pid = (uint32_t)ph_child_pid(worker->main);
		row.main_start_time = ph_child_start_time(worker->main);
	}
	if (!ph_id_parse(worker->token, &token))
		memcpy(row.token, token.b, sizeof row.token);
	return row;
}

void ph_shell_fence_add(struct ph_shell_worker *worker)
{
	struct ph_shell *shell = worker->shell;
	struct ph_fence_worker row = describe(worker);
	uint32_t place;
	if (!shell->fence)
		return;
	if (!ph_fence_put(shell->fence->fence, &row, &place)) {
		worker->fence_place = place;
		worker->fence_generation = shell->fence->generation;
		return;
	}
	if (!shell->fence->full)
		ph_shell_log(shell, PH_LOG_ERROR,
			PH_FENCE_NAME " knows %u workers, there is no place for more: %s/%u and "
				      "others would live on without this daemon",
			PH_FENCE_ENTRIES, worker->key.child.s, worker->key.instance);
	shell->fence->full = true;
}

/* The fence in whose table the worker is, or NULL. */
static struct ph_fence *fence_of(const struct ph_shell_worker *worker)
{
	struct ph_shell_fence *fence = worker->shell ? worker->shell->fence : NULL;
	return fence && worker->fence_generation == fence->generation ? fence->fence : NULL;
}

void ph_shell_fence_change(struct ph_shell_worker *worker)
{
	struct ph_fence_worker row = describe(worker);
	struct ph_fence *fence = fence_of(worker);
	if (fence)
		ph_fence_change(fence, worker->fence_place, &row);
}

void ph_shell_fence_drop(struct ph_shell_worker *worker)
{
	struct ph_fence *fence = fence_of(worker);
	if (fence)
		ph_fence_drop(fence, worker->fence_place);
	worker->fence_generation = 0;
}

void ph_shell_fence_settled(struct ph_shell *shell)
{
	if (shell->fence)
		ph_fence_settled(shell->fence->fence);
}

/* ---- the lease */

static void tell_news(struct ph_shell *shell)
{
	int lock_error, realtime_error;
	struct ph_shell_fence *fence = shell->fence;
	if (!ph_fence_news(fence->fence, &lock_error, &realtime_error) || fence->told)
		return;
	fence->told = true;
	if (lock_error)
		ph_shell_log(shell, PH_LOG_WARNING, PH_FENCE_NAME " runs without locked memory: %s",
			strerror(lock_error));
	if (realtime_error)
		ph_shell_log(shell, PH_LOG_WARNING,
			PH_FENCE_NAME " runs without real-time priority: %s",
			strerror(realtime_error));
}

void ph_shell_fence_beat(struct ph_shell *shell)
{
	uint64_t until_ms = shell->fence ? lease_until(shell) : 0;
	/* one that is over ends as it was; where the fence has fired the next turn begins with that
	 */
	if (until_ms > shell->now_ms && ph_fence_lease(shell->fence->fence, until_ms))
		tell_news(shell);
}

static void move_on(void *arg, struct ph_shell_worker *worker)
{
	(void)arg;
	if (worker->fence_generation)
		ph_shell_fence_add(worker);
}

/* What the old fence was told to stop it goes on to stop; core is told, and takes it for dead. */
void ph_shell_fence_turn(struct ph_shell *shell)
{
	struct ph_shell_fence *fence = shell->fence;
	struct ph_event event = {.kind = PH_EV_FENCED};
	if (!fence || !shell->begun || !ph_fence_has_fired(fence->fence))
		return;
	if (!fence->fired && !ph_fence_is_empty(fence->fence))
		ph_shell_push_first(shell, &event);
	fence->fired = true;
	/* without a lease nothing is started here that another one would have to guard */
	if (shell->now_ms < fence->again_at_ms || lease_until(shell) <= shell->now_ms)
		return;
	int error = ph_fence_renew_all(fence->fence, lease_until(shell));
	if (error) {
		fence->again_at_ms = shell->now_ms + AGAIN_MS;
		ph_shell_log(shell, PH_LOG_ERROR, PH_FENCE_NAME " cannot be started again: %s",
			strerror(-error));
		return;
	}
	fence->fired = false;
	fence->generation++;
	ph_shell_workers_each(shell, move_on, NULL);
}
