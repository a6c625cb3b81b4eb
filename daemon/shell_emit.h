/*
 * shell_emit.h - events for people and lines for the log.
 *
 * Decides how an event looks as JSON (INTERFACE.md) and as a line. It must not know why one
 * happened. Always holds: the last PH_EMIT_RING events are kept, numbered without gaps from 1;
 * nothing here blocks the loop, whoever reads the log or not; of worker_protocol_error
 * at most 10 a second of children and 10 of nobody's are told, the rest is counted in the next one.
 * Tested by tests/unit/test_view.c.
 */
#ifndef PH_SHELL_EMIT_H
#define PH_SHELL_EMIT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "core/action.h"

#define PH_EMIT_RING 1000 /* events in memory */

struct ph_shell;
struct ph_shell_emit;

/* Reads the node's name and log.level from `shell` each time. -ENOMEM. */
PH_MUST_CHECK int ph_shell_emit_new(struct ph_shell *shell, struct ph_shell_emit **ret);
void ph_shell_emit_free(struct ph_shell_emit *emit); /* NULL is fine */
/* Waits for who reads the log, but no longer than half a second. */
void ph_shell_emit_flush(struct ph_shell_emit *emit);

/* Carries out EMIT and LOG. */
void ph_shell_emit_act(struct ph_shell_emit *emit, const struct ph_action *action);

/*
 * Events that are held, oldest first, with a number above `after` and not before `since_ms` (wall
 * clock, 0: any): a new list, or NULL without memory.
 */
json_t *ph_shell_emit_held(const struct ph_shell_emit *emit, uint64_t after, uint64_t since_ms);

/*
 * Whoever wants each new event as it happens; called from within _act, must not call
 * back into this module, and gets `told` for the time of the call. One listener only: the control
 * socket, which knows its connections.
 */
struct ph_emitted {
	const struct ph_emit *event;
	const char *node;
	uint64_t seq, wall_ms;
};
typedef void ph_emit_listener_fn(void *arg, const struct ph_emitted *told);
void ph_shell_emit_listen(struct ph_shell_emit *emit, ph_emit_listener_fn *fn, void *arg);
/* The same for the hooks of the configuration, who may write to the log. */
void ph_shell_emit_hook(struct ph_shell_emit *emit, ph_emit_listener_fn *fn, void *arg);

/* The object of it, which is not made where nobody asks; NULL without memory. */
json_t *ph_emitted_json(const struct ph_emitted *told);
/* The object of one event; NULL without memory. `wall_ms` since 1970. */
json_t *ph_emit_json(const struct ph_emit *event, const char *node, uint64_t seq, uint64_t wall_ms);
/* Is it about a child as a whole, none of its instances? */
bool ph_emit_is_of_child(enum ph_emit_kind kind);
/* Its name. */
const char *ph_emit_word(enum ph_emit_kind kind);
/* Its line for people, cut at `size`. */
void ph_emit_line(const struct ph_emit *event, char *ret, size_t size);
/* RFC 3339 with milliseconds and Z; `ret` has PH_TIME_TEXT_SIZE bytes. */
#define PH_TIME_TEXT_SIZE 32
void ph_time_text(uint64_t wall_ms, char ret[PH_TIME_TEXT_SIZE]);
/* The reverse, with or without fraction, Z or an offset: 0, or -EINVAL. */
PH_MUST_CHECK int ph_time_parse(const char *text, uint64_t *ret_wall_ms);

#endif
