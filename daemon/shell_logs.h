/*
 * shell_logs.h - the last lines of children, for who asks on any node.
 *
 * Decides which nodes are asked and when the asking ends; what lines are, io/output.h says. One
 * who follows a child is given the lines of every node that owns it, one after the other.
 * Between two nodes lines travel in numbered messages, one at a time: each is repeated until it is
 * confirmed, and confirmed only when the reader has taken most of what it got. Always: what is on
 * its way to one who asks is bounded, on both nodes; a worker never waits for a reader of its
 * lines, who misses some if it is too slow, and is told so; whoever is not heard of for
 * PH_LOGS_PATIENCE_MS is forgotten.
 * Tested by tests/e2e/test_logs.py.
 */
#ifndef PH_SHELL_LOGS_H
#define PH_SHELL_LOGS_H

#include <jansson.h>

#include "io/output.h"

#define PH_LOGS_PATIENCE_MS 10000
#define PH_LOGS_TOO_MANY "there are more lines: ask for fewer of them, or for one instance"
#define PH_LOGS_SERVED 32	   /* askers of other nodes at a time */
#define PH_LOGS_PIECE (128u << 10) /* bytes of lines in one message */

struct ph_bmsg;
struct ph_shell;
struct ph_shell_logs;

/* ---- shell_output.c */

/* For the thread that reads what workers write. Takes `order`. */
void ph_shell_output_order(struct ph_shell *shell, struct ph_output_order *order);
/* Ends the process without memory. */
struct ph_output_order *ph_shell_output_order_new(enum ph_output_order_kind kind);

/* ---- shell_logs.c: one who asks at this node */

struct ph_logs_want {
	struct ph_output_filter filter;
	uint32_t lines;
	bool follow;
	/* A line, to be taken. */
	void (*line)(void *arg, json_t *line);
	/* How many bytes it has been given and has not taken yet. */
	size_t (*backlog)(void *arg);
	/* All lines are there, or (`why` not NULL) more cannot be had; nothing follows. */
	void (*end)(void *arg, const char *why);
	void *arg;
};
struct ph_logs_asker;
/* `want` is copied. None of its functions is called before this returns. */
struct ph_logs_asker *ph_shell_logs_ask(struct ph_shell *shell, const struct ph_logs_want *want);
/* Nobody is interested any more; after `end` too. */
void ph_shell_logs_leave(struct ph_logs_asker *asker);

int ph_shell_logs_new(struct ph_shell *shell);
void ph_shell_logs_free(struct ph_shell *shell);
/* Lines that the thread has found for a watch. */
void ph_shell_logs_lines(struct ph_shell *shell, const struct ph_output_news *news);
/* LOGS or LINES of another node. */
void ph_shell_logs_got(struct ph_shell *shell, const struct ph_bmsg *message);

#endif
