#include "shell.h"

#include <errno.h>
#include <event2/event.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "io/clock.h"
#include "shell_emit.h"
#include "shell_parts.h"

struct ph_shell_item {
	struct ph_shell_item *next;
	struct ph_event event;
	void (*release)(void *);
	void *owned;
};

/* ---- memory: a daemon that lost half of an event would decide from what is not so */

void *ph_shell_alloc(size_t size)
{
	void *p = calloc(1, size);
	if (!p) {
		fprintf(stderr, "prochubd: out of memory\n");
		abort();
	}
	return p;
}

char *ph_shell_strdup(const char *text)
{
	size_t n = strlen(text) + 1;
	return memcpy(ph_shell_alloc(n), text, n);
}

char *ph_shell_path(const char *dir, const char *name)
{
	size_t n = strlen(dir) + strlen(name) + 2;
	char *path = ph_shell_alloc(n);
	snprintf(path, n, "%s/%s", dir, name);
	return path;
}

/* ---- the queue */

/*
 * From a callback the turn follows at the end of this pass of the loop, so that it takes all that
 * the pass has brought; from within a turn it comes after the next look at the descriptors, so
 * that a chain of steps cannot keep the daemon from hearing.
 */
void ph_shell_wake(struct ph_shell *shell)
{
	static const struct timeval at_once = {0, 0};
	if (!shell->turn)
		return;
	if (shell->in_turn)
		evtimer_add(shell->turn, &at_once);
	else
		event_active(shell->turn, EV_TIMEOUT, 1);
}

void ph_shell_push(
	struct ph_shell *shell, const struct ph_event *event, void (*release)(void *), void *owned)
{
	struct ph_shell_item *item = ph_shell_alloc(sizeof *item);
	item->event = *event;
	item->release = release;
	item->owned = owned;
	if (!shell->head)
		ph_shell_wake(shell);
	*shell->tail = item;
	shell->tail = &item->next;
}

void ph_shell_push_first(struct ph_shell *shell, const struct ph_event *event)
{
	struct ph_shell_item *item = ph_shell_alloc(sizeof *item);
	item->event = *event;
	item->next = shell->head;
	if (!shell->head)
		shell->tail = &item->next;
	shell->head = item;
	ph_shell_wake(shell);
}

void ph_shell_push_text(struct ph_shell *shell, const struct ph_event *event)
{
	struct ph_event copy = *event;
	char *text = event->text ? ph_shell_strdup(event->text) : NULL;
	copy.text = text;
	ph_shell_push(shell, &copy, free, text);
}

void ph_shell_push_flat(
	struct ph_shell *shell, const struct ph_event *event, const void *flat, size_t size)
{
	struct ph_event copy = *event;
	size_t n = event->text ? strlen(event->text) + 1 : 0;
	char *block = ph_shell_alloc(size + n);
	memcpy(block, flat, size);
	if (n)
		copy.text = memcpy(block + size, event->text, n);
	/* all pointers of the union have one representation here */
	copy.record = (const void *)block;
	ph_shell_push(shell, &copy, free, block);
}

static struct ph_shell_item *pop(struct ph_shell *shell)
{
	struct ph_shell_item *item = shell->head;
	if (!item)
		return NULL;
	shell->head = item->next;
	if (!shell->head)
		shell->tail = &shell->head;
	return item;
}

static void item_free(struct ph_shell_item *item)
{
	if (item->release)
		item->release(item->owned);
	free(item);
}

bool ph_shell_queue_empty(const struct ph_shell *shell)
{
	return !shell->head;
}

/* ---- the turn */

static bool step_next(struct ph_shell *shell)
{
	struct ph_shell_item *item = pop(shell);
	if (!item)
		return false;
	struct ph_actions actions = {0, NULL};
	ph_step(shell->hub, &item->event, shell->now_ms, &actions);
	ph_shell_carry_out(shell, &actions);
	shell->begun |= item->event.kind == PH_EV_START;
	item_free(item);
	return true;
}

static void turn_end(struct ph_shell *shell)
{
	ph_shell_spawn_turn_end(shell);
	ph_shell_lookup_turn_end(shell);
	ph_shell_conns_turn_end(shell);
	ph_shell_records_turn_end(shell);
	ph_shell_listeners_turn_end(shell);
	ph_shell_state_turn_end(shell);
	ph_shell_signals_turn_end(shell);
	ph_clock_timer_set(shell->timer, ph_next_deadline(shell->hub));
}

void ph_shell_queue_turn(struct ph_shell *shell)
{
	shell->in_turn = true;
	shell->now_ms = ph_clock_now_ms();
	ph_shell_fence_turn(shell);
	for (int i = 0; i < PH_SHELL_TURN_EVENTS && step_next(shell); i++)
		;
	turn_end(shell);
	if (shell->head)
		ph_shell_wake(shell);
	shell->in_turn = false;
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	ph_shell_queue_turn(arg);
}

void ph_shell_queue_drain(struct ph_shell *shell)
{
	shell->in_turn = true;
	shell->now_ms = ph_clock_now_ms();
	while (step_next(shell))
		;
	ph_shell_spawn_settle(shell);
	shell->in_turn = false;
}

static void on_deadline(void *arg)
{
	struct ph_event event = {.kind = PH_EV_TICK};
	ph_shell_push(arg, &event, NULL, NULL);
}

int ph_shell_queue_new(struct ph_shell *shell)
{
	shell->turn = evtimer_new(shell->base, on_turn, shell);
	if (!shell->turn)
		return -ENOMEM;
	return ph_clock_timer_new(shell->base, on_deadline, shell, &shell->timer);
}

void ph_shell_queue_free(struct ph_shell *shell)
{
	struct ph_shell_item *item;
	while ((item = pop(shell)))
		item_free(item);
	if (shell->turn)
		event_free(shell->turn);
	shell->turn = NULL;
	ph_clock_timer_free(shell->timer);
	shell->timer = NULL;
}

/* ---- words for people */

void ph_shell_log(struct ph_shell *shell, enum ph_log_level level, const char *format, ...)
{
	char text[1024];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	struct ph_action action = {.kind = PH_ACT_LOG, .level = level, .text = text};
	ph_shell_emit_act(shell->emit, &action);
}

void ph_shell_tell_people(
	struct ph_shell *shell, enum ph_emit_kind kind, const struct ph_key *key, const char *text)
{
	struct ph_emit emit = {.kind = kind, .has_key = key != NULL, .text = text};
	if (key)
		emit.key = *key;
	struct ph_action action = {.kind = PH_ACT_EMIT, .emit = &emit};
	ph_shell_emit_act(shell->emit, &action);
}
