/*
 * group.c - children that are restarted together, as the supervisors of OTP do.
 *
 * When a member's process has ended and its policy starts it again, one-for-all restarts all
 * instances of all members, rest-for-one those of the members after it in the list: they are
 * stopped in the reverse order of the list, each when those after it are gone, and started in its
 * order, each when the one before it is ready (after.c: the list stands in each member's `after`).
 * What is stopped for its group does not count as a failure. A `temporary` member is not started
 * again; what an operator has stopped, and what is being migrated, is left alone.
 *
 * More than `intensity` restarts within `within`, and the group is given up: all that runs is
 * stopped, and is failed until its own retry_after has passed, or, with on_limit fail, until an
 * order. That takes the place of the members' own intensity.
 *
 * Failures are counted, and the order of a stop is kept, on each node for itself. Where placement
 * has put members on other nodes, their owners are ordered to do the same with theirs.
 */
#include "core/group.h"
#include "core/order.h"

#include <stdlib.h>
#include <string.h>

#define NOWHERE UINT32_MAX
#define ORDERED_MS 10000 /* other nodes have had time to stop theirs */

/* The place of that child in a list joined by ','. */
static uint32_t place_of(const char *list, const struct ph_name *child)
{
	size_t n = strlen(child->s);
	for (uint32_t place = 0; list && *list; place++) {
		size_t length = strcspn(list, ",");
		if (length == n && memcmp(list, child->s, n) == 0)
			return place;
		list += length + (list[length] == ',');
	}
	return NOWHERE;
}

static bool together(const struct ph_spec *a, const struct ph_spec *b)
{
	return a->group.name.s[0] && ph_name_equal(&a->group.name, &b->group.name);
}

/* ---- how often ---- */

static struct ph_group *find(struct ph_hub *hub, const struct ph_name *name)
{
	struct ph_group *group;
	HASH_FIND(hh, hub->groups, name->s, strlen(name->s), group);
	if (group)
		return group;
	group = ph_must(calloc(1, sizeof *group));
	group->name = *name;
	HASH_ADD_KEYPTR(hh, hub->groups, group->name.s, strlen(group->name.s), group);
	return group;
}

void ph_group_free(struct ph_hub *hub)
{
	struct ph_group *group, *next;
	HASH_ITER (hh, hub->groups, group, next) {
		HASH_DEL(hub->groups, group);
		free(group->window_ms);
		free(group);
	}
}

/* Counts this restart; true where it is one too many, and all is counted anew. */
static bool over_limit(struct ph_hub *hub, const struct ph_group_spec *spec)
{
	struct ph_group *group = find(hub, &spec->name);
	uint32_t kept = 0;
	if (!spec->intensity)
		return false;
	for (uint32_t i = 0; i < group->n_window; i++)
		if (group->window_ms[i] + spec->within_ms > hub->now_ms)
			group->window_ms[kept++] = group->window_ms[i];
	group->n_window = kept;
	if (kept >= spec->intensity) {
		group->n_window = 0;
		return true;
	}
	if (kept == group->window_cap) {
		group->window_cap = kept ? 2 * kept : 8;
		group->window_ms = ph_must(
			realloc(group->window_ms, group->window_cap * sizeof *group->window_ms));
	}
	group->window_ms[group->n_window++] = hub->now_ms;
	return false;
}

/* ---- those of this node ---- */

static bool any_of(const struct ph_hub *hub, const struct ph_child *child)
{
	for (const struct ph_slot *slot = ph_slot_first_of(hub, child); slot;
		slot = ph_slot_next_of(hub, slot))
		if (slot->work->instance && slot->work->instance->regroup)
			return true;
	return false;
}

void ph_group_let(struct ph_hub *hub, struct ph_instance *instance)
{
	struct ph_group *group = instance->regroup;
	if (!group)
		return;
	instance->regroup = NULL;
	if (--group->n_regroup == 0)
		hub->look_again = true; /* others may have waited for the end of the stop */
	if (!any_of(hub, instance->slot->child))
		hub->group_look = true;
}

uint64_t ph_group_give_up(struct ph_hub *hub, const struct ph_instance *instance)
{
	const struct ph_restart *policy = &instance->spec->restart;
	char why[PH_REASON_SIZE];
	ph_reason(why, "more restarts of its group %s than groups.%s.intensity allows",
		instance->spec->group.name.s, instance->spec->group.name.s);
	ph_emit(hub, PH_EMIT_CHILD_FAILED, PH_SLOT_KEY(instance->slot))->text =
		ph_out_text(hub, why);
	return policy->on_limit == PH_LIMIT_FAIL ? PH_NEVER_MS : policy->retry_after_ms;
}

/* Somebody else's business: an operator's, a migration's, of a claim that is open, of a child that
 * goes. */
static bool left_alone(const struct ph_instance *instance)
{
	const struct ph_work *work = instance->slot->work;
	return instance->slot->wish_stopped || work->instance != instance || work->source ||
	       work->target || work->claim || instance->target || instance->conflict ||
	       instance->after == PH_AFTER_CLAIM || instance->after == PH_AFTER_STOPPED ||
	       instance->after == PH_AFTER_DISCARD;
}

/* A transient one that had done its work does it again, as a supervisor of OTP has it. */
static void begin_again(struct ph_hub *hub, struct ph_instance *instance)
{
	if (instance->state == PH_INSTANCE_STOPPED && !instance->slot->wish_stopped &&
		instance->slot->work->instance == instance &&
		instance->spec->restart.policy != PH_RESTART_TEMPORARY)
		ph_instance_step(hub, instance, PH_INSTANCE_IN_START);
}

/* True: it is to be stopped now, or is stopped already. */
static bool touch(struct ph_hub *hub, struct ph_instance *instance, bool give_up)
{
	bool temporary = instance->spec->restart.policy == PH_RESTART_TEMPORARY;
	bool idle = instance->state == PH_INSTANCE_BACKOFF || instance->state == PH_INSTANCE_HELD;
	if (left_alone(instance))
		return false;
	if (idle && give_up) {
		instance->after = PH_AFTER_FAILED;
		ph_instance_step(hub, instance, PH_INSTANCE_IN_GIVE_UP);
	}
	if (!ph_instance_has_process(instance))
		return true;
	if (!instance->regroup) {
		instance->regroup = find(hub, &instance->spec->group.name);
		instance->regroup->n_regroup++;
	}
	hub->group_look = true;
	instance->after = give_up ? PH_AFTER_FAILED : temporary ? PH_AFTER_STOPPED : PH_AFTER_GROUP;
	return true;
}

/* The one that failed is not meant: its own policy says when it is started again. */
static bool meant(
	const struct ph_instance *instance, const struct ph_instance *failed, uint32_t from)
{
	uint32_t place = place_of(failed->spec->group.members, &instance->slot->child->name);
	return instance != failed && place != NOWHERE && place >= from &&
	       together(failed->spec, instance->spec);
}

/* None is started before it is known of each whether it has to be stopped first. */
static void touch_all(
	struct ph_hub *hub, const struct ph_instance *failed, uint32_t from, bool give_up)
{
	struct ph_instance *instance, *next;
	DL_FOREACH_SAFE(hub->instances, instance, next)
	if (meant(instance, failed, from))
		(void)touch(hub, instance, give_up);
	DL_FOREACH_SAFE(hub->instances, instance, next)
	if (!give_up && meant(instance, failed, from))
		begin_again(hub, instance);
}

bool ph_group_stops(const struct ph_hub *hub, const struct ph_instance *instance)
{
	const struct ph_name *name = &instance->spec->group.name;
	const struct ph_group *group = NULL;
	const struct ph_order *order;
	if (!name->s[0])
		return false;
	DL_FOREACH (hub->orders, order) /* other nodes have not heard of it */
		if (order->command.verb == PH_VERB_REGROUP &&
			ph_name_equal(&order->command.child, name))
			return true;
	HASH_FIND(hh, hub->groups, name->s, strlen(name->s), group);
	return group && group->n_regroup > (instance->regroup == group);
}

/* Where in the list of its group it stands now; a reload may have taken it out. */
static uint32_t place_now(const struct ph_instance *instance)
{
	return place_of(instance->spec->group.members, &instance->slot->child->name);
}

static void find_the_last(struct ph_hub *hub)
{
	struct ph_group *group;
	struct ph_instance *instance;
	for (group = hub->groups; group; group = group->hh.next)
		group->last = 0;
	DL_FOREACH (hub->instances, instance) {
		uint32_t place = instance->regroup ? place_now(instance) : NOWHERE;
		if (place != NOWHERE && place > instance->regroup->last)
			instance->regroup->last = place;
	}
}

/* Looks at all of them: so no more often than when the last one of a child has gone. */
void ph_group_run(struct ph_hub *hub)
{
	struct ph_instance *instance, *next;
	if (!hub->group_look)
		return;
	hub->group_look = false;
	find_the_last(hub);
	DL_FOREACH_SAFE(hub->instances, instance, next)
	{
		enum ph_after after = instance->after;
		if (!instance->regroup || instance->state >= PH_INSTANCE_STOPPING)
			continue;
		if (instance->slot->work->source || instance->slot->work->target) {
			ph_group_let(hub, instance); /* since a moment ago */
			instance->after = PH_AFTER_POLICY;
		} else if (place_now(instance) >= instance->regroup->last) {
			ph_instance_step(hub, instance, PH_INSTANCE_IN_STOP);
			if (instance->slot && instance->regroup)
				instance->after = after;
		}
	}
}

/* ---- those of other nodes ---- */

bool ph_group_ordered(struct ph_hub *hub, struct ph_slot *slot, bool give_up)
{
	struct ph_instance *instance = slot->work->instance;
	if (!instance || !instance->spec->group.name.s[0])
		return false;
	bool stops = touch(hub, instance, give_up);
	if (!give_up)
		begin_again(hub, instance);
	hub->flush_now = true; /* who waits for that reads it in the registry */
	return stops;
}

static void add_lines(struct ph_hub *hub, struct ph_order *order, const struct ph_child *child)
{
	const struct ph_spec *spec = child ? ph_child_spec(child) : NULL;
	struct ph_key key;
	if (!spec || spec->local) /* one a node: each node has its own */
		return;
	key = (struct ph_key){.child = child->name};
	for (; key.instance < spec->instances; key.instance++) {
		const struct ph_slot *slot = ph_slot_find(hub, &key, NULL);
		if (slot && ph_slot_owned(slot) && !ph_slot_mine(hub, slot) &&
			!slot->wish_stopped && ph_member_up(hub, &slot->entry.node->name))
			ph_order_add_slot(order, slot);
	}
}

/*
 * What the registry has of the one that failed goes before it, and nobody of the group is started
 * here before the registry says that those have stopped, or for a while: so all keep the order.
 */
static void order_others(
	struct ph_hub *hub, const struct ph_instance *failed, uint32_t from, bool give_up)
{
	struct ph_order *order = ph_must(calloc(1, sizeof *order));
	order->command = (struct ph_command){.verb = PH_VERB_REGROUP,
		.force = give_up,
		.timeout_ms = ORDERED_MS,
		.child = failed->spec->group.name};
	struct ph_child *child, *next;
	HASH_ITER (hh, hub->children, child, next) {
		uint32_t place = place_of(failed->spec->group.members, &child->name);
		if (place != NOWHERE && place >= from)
			add_lines(hub, order, child);
	}
	if (!order->n_lines) {
		free(order);
		return;
	}
	order->number = ++hub->numbers;
	order->started_ms = hub->now_ms;
	order->timer.kind = PH_TIMER_ORDER;
	order->timer.owner = order;
	DL_APPEND(hub->orders, order);
	ph_timer_set(hub, &order->timer, hub->now_ms + 1);
	hub->flush_now = true;
}

bool ph_group_failed(struct ph_hub *hub, struct ph_instance *instance)
{
	const struct ph_group_spec *spec = &instance->spec->group;
	uint32_t place = place_of(spec->members, &instance->slot->child->name);
	if (!spec->name.s[0] || place == NOWHERE || hub->stopping ||
		instance->slot->work->instance != instance)
		return false;
	bool give_up = over_limit(hub, spec);
	if (spec->strategy == PH_GROUP_ONE_FOR_ONE && !give_up)
		return false;
	bool all = give_up || spec->strategy == PH_GROUP_ONE_FOR_ALL;
	ph_log(hub, PH_LOG_WARNING, "%s/%u has failed: its group %s is %s",
		instance->slot->child->name.s, instance->slot->number, spec->name.s,
		give_up ? "given up"
		: all	? "restarted"
			: "restarted from there on");
	touch_all(hub, instance, all ? 0 : place + 1, give_up);
	order_others(hub, instance, all ? 0 : place + 1, give_up);
	return give_up;
}
