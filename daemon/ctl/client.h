/*
 * client.h - a request to the daemon and its answers, by the control socket.
 *
 * Decides how long to wait, what a lost or silent daemon and an error answer
 * mean for the exit status, and says so. Must not know what a verb's answer looks like.
 * Always holds: one connection, one request; an answer line over PH_LINE_MAX_ANSWER is refused;
 * with --json an answer that says no is printed as one object too, with ok, code and text.
 * Tested by tests/e2e/test_ctl_fake.py.
 */
#ifndef PH_CTL_CLIENT_H
#define PH_CTL_CLIENT_H

#include <jansson.h>

#include "ctl/ctl.h"

/* What to do with the lines of an answer. Zeroed: wait for the one answer. */
struct ph_ask {
	/* for each line with "more":true (without re, ok, more); borrowed; false: that is enough */
	bool (*on_more)(void *user, const json_t *line);
	/* before a message about an interruption or a failure is told; NULL: nothing */
	void (*on_end)(void *user);
	/* an answer that says no (without re and more); borrowed; true: it is told, the sentence of
	 * the answer need not be. NULL: it always is */
	bool (*on_refused)(void *user, const json_t *answer, enum ph_exit status);
	void *user;
	bool detachable;      /* SIGINT ends the waiting, not the work, and is told so */
	bool long_request;    /* it may have PH_LINE_MAX_ADD bytes */
	bool endless;	      /* there is no last answer: time and SIGINT end it as they should */
	uint64_t patience_ms; /* for the whole answer; 0: as long as it takes */
};

/*
 * Sends the verb of ctl with `fields` (taken) and waits for the last answer, which goes to *ret
 * without re, ok and more; the caller frees it. Returns PH_EXIT_DONE, or what went wrong, told
 * already, with *ret untouched. Where on_more had enough, or
 * the time of an endless one is over: PH_EXIT_DONE with *ret NULL.
 */
enum ph_exit ph_client_ask(
	const struct ph_ctl *ctl, json_t *fields, const struct ph_ask *ask, json_t **ret);

/* How long to wait: --timeout, else as the verb's row says, and with --no-wait not for ever. */
uint64_t ph_client_patience_ms(const struct ph_ctl *ctl);

/* ph_client_ask() for a verb with one answer. */
enum ph_exit ph_client_ask_once(const struct ph_ctl *ctl, json_t *fields, json_t **ret);

/* The same, and its answer is printed, as JSON or by `print`. Takes `fields`. */
enum ph_exit ph_client_show(const struct ph_ctl *ctl, json_t *fields,
	void (*print)(const struct ph_ctl *ctl, const json_t *answer));

/* {} with what the words name: "child" and "instance" of NAME or NAME/INSTANCE. */
json_t *ph_client_child_fields(const char *word);

/* The string of a field, NULL where there is none. */
const char *ph_client_string(const json_t *object, const char *key);

#endif
