/*
 * health.c - when a worker is asked from outside whether it serves, and what the answers mean.
 *
 * Two reasons: `ready` is a probe (STARTING: asked again and again until it succeeds or
 * start_timeout is over), and `health` (RUNNING: asked every interval; so many failures in a row
 * and it is restarted by its policy). One probe a worker is under way at most; its answer names its
 * number, so one that comes late, for a process that is no more, counts for nothing. A worker that
 * is frozen, retired or on its way out is never asked.
 */
#include "core/instance.h"

#include <inttypes.h>

#define READY_FIRST_MS 50    /* between two probes of one that is starting: doubled ... */
#define READY_MOST_MS 1000   /* ... up to this */
#define READY_PROBE_MS 10000 /* longest one; start_timeout cuts it shorter */

enum reason {
	NONE,
	READY,
	HEALTH
};

static enum reason reason_of(const struct ph_instance *instance)
{
	const struct ph_spec *spec = instance->spec;
	if (instance->state == PH_INSTANCE_STARTING && spec->ready == PH_READY_PROBE)
		return READY;
	if (instance->state == PH_INSTANCE_RUNNING && spec->health.interval_ms)
		return HEALTH;
	return NONE;
}

void ph_health_enter(struct ph_hub *hub, struct ph_instance *instance)
{
	enum reason reason = reason_of(instance);
	instance->probe_number = 0;
	instance->probe_failures = 0;
	instance->probe_at_ms = reason == READY ? hub->now_ms
				: reason == HEALTH
					? hub->now_ms + instance->spec->health.interval_ms
					: 0;
}

uint64_t ph_health_at(const struct ph_instance *instance)
{
	return instance->probe_at_ms ? instance->probe_at_ms : PH_NEVER_MS;
}

void ph_health_due(struct ph_hub *hub, struct ph_instance *instance)
{
	enum reason reason = reason_of(instance);
	if (reason == NONE || !instance->probe_at_ms || hub->now_ms < instance->probe_at_ms)
		return;
	struct ph_action *action = ph_out(hub, PH_ACT_PROBE);
	struct ph_probe_order *order = ph_out_alloc(hub, sizeof *order);
	uint64_t start_by_ms = instance->since_ms + instance->spec->start_timeout_ms;
	instance->probe_at_ms = 0;
	instance->probe_number = ++hub->numbers;
	order->key = ph_slot_key(instance->slot);
	order->spec = instance->spec;
	order->health = reason == HEALTH;
	order->number = instance->probe_number;
	order->timeout_ms = reason == HEALTH ? instance->spec->health.timeout_ms
					     : min_ms(READY_PROBE_MS, start_by_ms - hub->now_ms);
	action->wid = instance->wid;
	action->probe = order;
}

static uint64_t wait_ms(const struct ph_instance *instance, enum reason reason)
{
	uint64_t wait = READY_FIRST_MS;
	if (reason == HEALTH)
		return instance->spec->health.interval_ms;
	for (uint32_t i = 1; i < instance->probe_failures && wait < READY_MOST_MS; i++)
		wait *= 2;
	return min_ms(wait, READY_MOST_MS);
}

static void failed(struct ph_hub *hub, struct ph_instance *instance, const char *text)
{
	const struct ph_slot *slot = instance->slot;
	if (reason_of(instance) == READY) {
		ph_reason_keep(&instance->why, "not ready: %s", text);
		return;
	}
	ph_log(hub, PH_LOG_WARNING, "%s/%u: health check failed (%" PRIu32 " of %" PRIu32 "): %s",
		slot->child->name.s, slot->number, instance->probe_failures,
		instance->spec->health.failures, text);
	if (instance->probe_failures < instance->spec->health.failures)
		return;
	ph_reason_keep(&instance->why, "health checks failed: %s", text);
	ph_instance_step(hub, instance, PH_INSTANCE_IN_UNWELL);
}

void ph_health_probed(
	struct ph_hub *hub, struct ph_instance *instance, const struct ph_event *event)
{
	enum reason reason = reason_of(instance);
	if (reason == NONE || !instance->probe_number || event->ticket != instance->probe_number)
		return;
	instance->probe_number = 0;
	instance->probe_failures = event->error ? instance->probe_failures + 1 : 0;
	instance->probe_at_ms = hub->now_ms + wait_ms(instance, reason);
	if (event->error)
		failed(hub, instance, event->text ? event->text : "no answer");
	else if (reason == READY)
		ph_instance_step(hub, instance, PH_INSTANCE_IN_READY);
	ph_instance_arm(hub, instance);
}
