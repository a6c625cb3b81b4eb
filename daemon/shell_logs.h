/*
 * shell_logs.h - the last lines of children, for who asks on any node.
 *
 * Decides whom to ask and when the asking ends; what lines are, io/output.h says. Always: what is
 * on its way to one who asks is bounded; who takes nothing is dropped; a worker never waits for a
 * reader of its lines.
 * Tested by tests/e2e/test_logs.py.
 */
#ifndef PH_SHELL_LOGS_H
#define PH_SHELL_LOGS_H

#include "io/output.h"

struct ph_shell;

/* ---- shell_output.c */

/* For the thread that reads what workers write. Takes `order`. */
void ph_shell_output_order(struct ph_shell *shell, struct ph_output_order *order);
/* Ends the process without memory. */
struct ph_output_order *ph_shell_output_order_new(enum ph_output_order_kind kind);

/* ---- shell_logs.c */

/* Lines that the thread has found for a watch. */
void ph_shell_logs_lines(struct ph_shell *shell, const struct ph_output_news *news);

#endif
