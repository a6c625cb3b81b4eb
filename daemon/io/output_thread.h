/*
 * output_thread.h - output.h in a thread of its own, so that a busy disk or a child that floods
 * never stops the loop.
 *
 * Decides nothing. Orders go in by a queue, news come out by another, in the loop. Tested in
 * tests/unit/test_output.c and tests/e2e/test_output.py.
 */
#ifndef PH_IO_OUTPUT_THREAD_H
#define PH_IO_OUTPUT_THREAD_H

#include "io/output.h"

struct event_base;
struct ph_output_thread;

/* One piece of news, borrowed; called from the loop. */
typedef void ph_output_news_fn(void *arg, const struct ph_output_news *news);

/* Errors: those of ph_output_new(), -errno of pthread_create. */
PH_MUST_CHECK int ph_output_thread_new(struct event_base *base,
	const struct ph_output_settings *settings, ph_output_news_fn *fn, void *arg,
	struct ph_output_thread **ret);
/*
 * Ends it. FIFOs that somebody can write to still are left as they are. What others hold is written
 * where it belongs, for at most `patience_ms`. Returns how many FIFOs are left. PH_OUTPUT_STUCK: it
 * does not end, as where a file system does not answer; it is left alone, and what it has with it.
 */
#define PH_OUTPUT_STUCK SIZE_MAX
size_t ph_output_thread_free(struct ph_output_thread *thread, unsigned patience_ms);
/* Does it look at its orders within that time? One that does not could keep execve() waiting for
 * ever, as that ends all threads first. */
bool ph_output_thread_answers(struct ph_output_thread *thread, unsigned ms);
/* Takes `order`. */
void ph_output_thread_put(struct ph_output_thread *thread, struct ph_output_order *order);
/* The same for one of many: the thread sees it when it is woken next, by _put or _wake. */
void ph_output_thread_add(struct ph_output_thread *thread, struct ph_output_order *order);
void ph_output_thread_wake(struct ph_output_thread *thread);

#endif
