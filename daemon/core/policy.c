/*
 * policy.c - whether and when an instance is started again.
 *
 * The first restart is at once (or after `delay`), the next ones after a back-off that doubles up
 * to its cap, with jitter; a process that stayed ready for backoff_max (at least 10 s) ends the
 * streak. More than `intensity` restarts within `within` is the limit, healthy or not between. A
 * start that failed because an address to listen at is taken is tried again, at least every second,
 * whatever the policy.
 */
#include "core/state.h"

#include <stdlib.h>

#define BLOCKED_MIN_MS 10
#define BLOCKED_MS 1000
#define HEALTHY_MS 10000 /* ready for at least so long ends a streak of failures */

struct ph_tally ph_policy_tally(const struct ph_instance *instance)
{
	struct ph_tally tally = {.streak = instance->streak, .counted = instance->n_window};
	if (tally.counted) {
		tally.first_ms = instance->window_ms[0];
		tally.last_ms = instance->window_ms[tally.counted - 1];
	}
	return tally;
}

/* Those between the first and the last one are spread evenly. */
void ph_policy_resume(
	struct ph_hub *hub, struct ph_instance *instance, const struct ph_tally *tally)
{
	uint64_t last = min_ms(tally->last_ms, hub->now_ms), first = min_ms(tally->first_ms, last);
	uint32_t intensity = instance->spec->restart.intensity;
	uint32_t n = tally->counted < intensity ? tally->counted : intensity;
	instance->streak = tally->streak;
	if (!n)
		return;
	instance->window_ms = ph_must(realloc(instance->window_ms, n * sizeof(uint64_t)));
	instance->n_window = instance->window_cap = n;
	for (uint32_t i = 0; i < n; i++)
		instance->window_ms[i] = n > 1 ? first + (last - first) * i / (n - 1) : last;
}

static bool wants_restart(const struct ph_instance *instance)
{
	const struct ph_exit *exit = &instance->exit;
	switch (instance->spec->restart.policy) {
	case PH_RESTART_PERMANENT:
		return true;
	case PH_RESTART_TRANSIENT:
		return instance->failed_start || exit->kind != PH_EXIT_CODE || exit->value != 0;
	case PH_RESTART_TEMPORARY:
		return false;
	}
	return false;
}

bool ph_policy_ends(const struct ph_instance *instance)
{
	return !instance->blocked && !wants_restart(instance);
}

/* Counts this restart; true where it is one too many. */
static bool over_limit(struct ph_hub *hub, struct ph_instance *instance)
{
	const struct ph_restart *policy = &instance->spec->restart;
	uint32_t kept = 0;
	if (!policy->intensity || instance->spec->group.name.s[0]) /* the group's counts */
		return false;
	for (uint32_t i = 0; i < instance->n_window; i++)
		if (instance->window_ms[i] + policy->within_ms > hub->now_ms)
			instance->window_ms[kept++] = instance->window_ms[i];
	instance->n_window = kept;
	if (kept >= policy->intensity)
		return true;
	if (kept == instance->window_cap) {
		instance->window_cap = kept ? 2 * kept : 8;
		instance->window_ms = ph_must(realloc(
			instance->window_ms, instance->window_cap * sizeof *instance->window_ms));
	}
	instance->window_ms[instance->n_window++] = hub->now_ms;
	return false;
}

/* Somebody else is in the way: that is no failure of the child's, and ends by itself. */
static uint64_t blocked(struct ph_hub *hub, struct ph_instance *instance)
{
	uint64_t wait = instance->spec->restart.backoff_ms;
	for (uint32_t i = 1; i < instance->blocked && wait < BLOCKED_MS; i++)
		wait *= 2;
	if (wait < BLOCKED_MIN_MS)
		wait = BLOCKED_MIN_MS;
	return ph_jitter(
		hub, wait < BLOCKED_MS ? wait : BLOCKED_MS, instance->spec->restart.jitter_percent);
}

static uint64_t backoff(struct ph_hub *hub, struct ph_instance *instance)
{
	const struct ph_restart *policy = &instance->spec->restart;
	if (instance->streak == 0)
		return policy->delay_ms;
	uint64_t wait = policy->backoff_ms;
	for (uint32_t i = 1; i < instance->streak && wait < policy->backoff_max_ms; i++)
		wait *= 2;
	if (wait > policy->backoff_max_ms)
		wait = policy->backoff_max_ms;
	wait = ph_jitter(hub, wait, policy->jitter_percent);
	if (wait > policy->backoff_max_ms) /* it is the longest: at the cap jitter only shortens */
		wait = 2 * policy->backoff_max_ms - wait;
	return wait > policy->delay_ms ? wait : policy->delay_ms;
}

uint64_t ph_policy_next(struct ph_hub *hub, struct ph_instance *instance, bool *failed)
{
	const struct ph_restart *policy = &instance->spec->restart;
	uint64_t healthy =
		policy->backoff_max_ms > HEALTHY_MS ? policy->backoff_max_ms : HEALTHY_MS;
	*failed = false;
	if (instance->blocked)
		return blocked(hub, instance);
	if (!wants_restart(instance))
		return PH_NEVER_MS;
	if (instance->ready_ms && instance->ready_ms + healthy <= hub->now_ms)
		instance->streak = 0;
	if (over_limit(hub, instance)) {
		*failed = true;
		instance->streak = 0;
		instance->n_window = 0;
		return policy->on_limit == PH_LIMIT_FAIL ? PH_NEVER_MS : policy->retry_after_ms;
	}
	uint64_t wait = backoff(hub, instance);
	instance->streak++;
	return wait;
}

/* Given up, it is tried again after `retry_after` from now on, or not any more. */
static void limit_changed(struct ph_hub *hub, struct ph_instance *instance)
{
	const struct ph_restart *policy = &instance->spec->restart;
	if (policy->on_limit == PH_LIMIT_FAIL || policy->policy == PH_RESTART_TEMPORARY)
		ph_timer_set(hub, &instance->timer, PH_NEVER_MS);
	else if (!instance->timer.pos)
		ph_timer_set(hub, &instance->timer, hub->now_ms + policy->retry_after_ms);
}

void ph_policy_changed(
	struct ph_hub *hub, struct ph_instance *instance, const struct ph_restart *before)
{
	const struct ph_restart *policy = &instance->spec->restart;
	bool other = policy->policy != before->policy, again = wants_restart(instance);
	if (instance->state == PH_INSTANCE_STOPPED) {
		if (other && again && !instance->slot->wish_stopped)
			ph_instance_step(hub, instance, PH_INSTANCE_IN_START);
		return;
	}
	if (instance->state != PH_INSTANCE_BACKOFF && instance->state != PH_INSTANCE_FAILED)
		return;
	if (instance->state == PH_INSTANCE_BACKOFF && other && !again && !instance->blocked) {
		ph_instance_step(hub, instance, PH_INSTANCE_IN_STOP);
		return;
	}
	if (instance->state == PH_INSTANCE_FAILED &&
		(other || policy->on_limit != before->on_limit))
		limit_changed(hub, instance);
	if (instance->timer.pos)
		ph_instance_wait_on(hub, instance, instance->timer.at_ms);
}
