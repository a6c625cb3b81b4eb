#include <event2/event.h>

#include "io/sdnotify.h"
#include "shell_bus.h"
#include "shell_ctl.h"
#include "shell_emit.h"
#include "shell_hook.h"
#include "shell_parts.h"

#define FLUSH_MS 150 /* for the last messages to leave through the bus process */

static void act_bus(struct ph_shell *shell, const struct ph_action *action)
{
	if (action->kind == PH_ACT_CAST && action->message->kind == PH_B_HEARTBEAT)
		ph_shell_fence_beat(shell);
	if (shell->bus)
		ph_shell_bus_act(shell->bus, action);
}

static void act_answer(struct ph_shell *shell, const struct ph_action *action)
{
	ph_shell_ctl_act(shell->ctl, action);
}

static void act_changed(struct ph_shell *shell, const struct ph_action *action)
{
	ph_shell_ctl_act(shell->ctl, action);
	ph_shell_lookup_changed(shell, &action->key.child);
	ph_shell_listeners_touch(shell);
	ph_shell_state_touch(shell);
}

static void act_text(struct ph_shell *shell, const struct ph_action *action)
{
	ph_shell_outputs_changed(shell, &action->key.child);
}

static void act_emit(struct ph_shell *shell, const struct ph_action *action)
{
	ph_shell_emit_act(shell->emit, action);
}

static void act_ready(struct ph_shell *shell, const struct ph_action *action)
{
	(void)action;
	if (shell->ready)
		return;
	shell->ready = true;
	ph_sdnotify_ready();
	ph_shell_log(shell, PH_LOG_INFO, "node %s is ready", shell->node);
}

static void act_exit(struct ph_shell *shell, const struct ph_action *action)
{
	(void)action;
	const struct timeval flush = {0, shell->bus ? FLUSH_MS * 1000 : 0};
	if (shell->leaving)
		return;
	shell->leaving = true;
	event_base_loopexit(shell->base, &flush);
}

static void act_worker(struct ph_shell *shell, const struct ph_action *action)
{
	if (action->kind == PH_ACT_TELL && action->worker->op == PH_W_STOP)
		ph_shell_kin_note(ph_shell_worker_by_wid(shell, action->wid));
	ph_shell_worker_act(shell, action);
	ph_shell_state_touch(shell);
}

static void act_spawn(struct ph_shell *shell, const struct ph_action *action)
{
	ph_shell_spawn_act(shell, action);
	ph_shell_state_touch(shell);
}

static void act_exit_of(struct ph_shell *shell, const struct ph_action *action)
{
	ph_shell_exit_act(shell, action);
	ph_shell_state_touch(shell);
}

static void act_incarnation(struct ph_shell *shell, const struct ph_action *action)
{
	ph_shell_renumber(shell, action->incarnation);
}

typedef void act_fn(struct ph_shell *shell, const struct ph_action *action);

static act_fn *const acts[PH_ACTION_COUNT] = {
	[PH_ACT_SPAWN] = act_spawn,
	[PH_ACT_SIGNAL] = ph_shell_exit_act,
	[PH_ACT_PROBE] = ph_shell_probe_act,
	[PH_ACT_REAP] = act_exit_of,
	[PH_ACT_TELL] = act_worker,
	[PH_ACT_COMPLAIN] = act_worker,
	[PH_ACT_SEND] = act_bus,
	[PH_ACT_CAST] = act_bus,
	[PH_ACT_LINK] = act_bus,
	[PH_ACT_UNLINK] = act_bus,
	[PH_ACT_MEND] = act_bus,
	[PH_ACT_SEEDS] = act_bus,
	[PH_ACT_INCARNATION] = act_incarnation,
	[PH_ACT_JOURNAL] = ph_shell_record_act,
	[PH_ACT_STREAM_SEND] = ph_shell_flow_act,
	[PH_ACT_STREAM_EXPECT] = ph_shell_flow_act,
	[PH_ACT_STREAM_DIAL] = ph_shell_flow_act,
	[PH_ACT_STREAM_KEEP] = ph_shell_flow_act,
	[PH_ACT_STREAM_CLOSE] = ph_shell_flow_act,
	[PH_ACT_HOOK] = ph_shell_hook_act,
	[PH_ACT_ANSWER] = act_answer,
	[PH_ACT_EMIT] = act_emit,
	[PH_ACT_CHANGED] = act_changed,
	[PH_ACT_TEXT] = act_text,
	[PH_ACT_LOG] = act_emit,
	[PH_ACT_READY] = act_ready,
	[PH_ACT_EXIT] = act_exit,
};

void ph_shell_carry_out(struct ph_shell *shell, const struct ph_actions *actions)
{
	ph_shell_records_hold(shell, true);
	for (size_t i = 0; i < actions->n; i++)
		acts[actions->items[i].kind](shell, &actions->items[i]);
	ph_shell_records_hold(shell, false);
}
