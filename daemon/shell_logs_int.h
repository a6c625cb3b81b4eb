/*
 * shell_logs_int.h - what the files of shell_logs share; for nobody else.
 *
 * shell_logs.c: those who ask here, and the clock of both; shell_logs_serve.c: other nodes that ask
 * for lines of this one.
 */
#ifndef PH_SHELL_LOGS_INT_H
#define PH_SHELL_LOGS_INT_H

#include <utlist.h>

#include "base/bmsg.h"
#include "shell.h"
#include "shell_logs.h"

/* Another node that asks. */
struct ph_logs_serving {
	struct ph_id id;
	struct ph_name node;
	struct ph_output_filter filter;
	bool follow;
	uint64_t watch; /* its number at the thread */
	uint64_t began_ms, heard_ms, sent_ms;
	uint64_t sequence;   /* of the newest message */
	bool waiting, final; /* it is not confirmed yet; it is the last one */
	bool more;	     /* there were too many */
	bool complete;	     /* the thread has given all */
	size_t open;	     /* FIFOs that lines may come from */
	/* lines: the first `n_sent` are in the message that waits */
	struct ph_output_line *lines, **tail;
	size_t n_sent;
	struct ph_logs_serving *prev, *next;
};

struct ph_shell_logs {
	struct ph_shell *shell;
	struct event *tick; /* while there is anybody */
	bool ticking;
	uint64_t last_watch;
	struct ph_logs_asker *askers;
	struct ph_logs_serving *serving;
	unsigned n_serving;
};

/* ---- shell_logs.c */
void ph_logs_set_tick(struct ph_shell_logs *logs);
void ph_logs_watch(struct ph_shell_logs *logs, uint64_t number,
	const struct ph_output_filter *filter, uint32_t lines, uint64_t age_ms, bool follow);
void ph_logs_unwatch(struct ph_shell_logs *logs, uint64_t number);
void ph_logs_credit(struct ph_shell_logs *logs, uint64_t number, uint64_t bytes);
void ph_logs_send(
	struct ph_shell_logs *logs, const struct ph_name *to, const struct ph_bmsg *message);
/* Does that node own an instance of the filter, as far as this one knows? */
bool ph_logs_owned_by(
	struct ph_shell *shell, const struct ph_output_filter *filter, const char *node);

/* ---- shell_logs_serve.c */
void ph_logs_asked(struct ph_shell_logs *logs, const struct ph_bmsg *message);
/* True: the news was for one of these. */
bool ph_logs_serve_news(struct ph_shell_logs *logs, const struct ph_output_news *news);
void ph_logs_serve_tick(struct ph_shell_logs *logs);
void ph_logs_serve_free(struct ph_shell_logs *logs);

#endif
