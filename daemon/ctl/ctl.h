/*
 * ctl.h - what all of prochubctl shares: the parsed command line, exit statuses, messages.
 *
 * Decides the exit statuses and how a failure is told. Must not know the daemon's core: all that
 * prochubctl learns comes as JSON from the control socket. Whatever happens, a failure is one
 * sentence on standard error that starts with "prochubctl: ", and one of the statuses below.
 * Tested by tests/e2e/test_ctl_fake.py, which runs the program against a fake daemon.
 */
#ifndef PH_CTL_CTL_H
#define PH_CTL_CTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Exit statuses: X(enumerator, number, meaning for --help) */
#define PH_EXITS(X) \
	X(DONE, 0, "done") \
	X(FAILED, 1, "failed") \
	X(USAGE, 2, "wrong usage, or check found errors") \
	X(NOT_RUNNING, 3, "status: a wanted child is not running") \
	X(UNREACHABLE, 4, "no such child or node, or the daemon cannot be reached") \
	X(PARTLY, 5, "partly done") \
	X(DETACHED, 130, "interrupted; the daemon goes on with the work")

enum ph_exit {
#define X(name, number, meaning) PH_EXIT_##name = (number),
	PH_EXITS(X)
#undef X
};

struct ph_command;

/* The command line. Texts point into argv; zero and NULL mean "not given". */
struct ph_ctl {
	const struct ph_command *command; /* NULL: no verb */
	const char *socket;
	bool json, no_legend, help, version;
	bool no_wait, force, follow, dry_run, keep_going, cluster;
	const char *color;    /* auto, always, never */
	const char *wait_for; /* ready, stopped, moved */
	const char *since;
	uint64_t timeout_ms;
	uint64_t lines;
	size_t n_args;
	const char **args; /* the words after the verb */
	bool colored;	   /* what `color`, NO_COLOR and the terminal come to */
	bool terminal;	   /* standard output is one that understands escape sequences */
};

/*
 * Tells a failure and returns `status`, so that a caller can write
 * `return ph_ctl_fail(PH_EXIT_FAILED, "...")`. Control characters are escaped, newlines stay.
 */
enum ph_exit ph_ctl_fail(enum ph_exit status, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Ends the program with a message: a command of a few seconds has nothing to save. */
void ph_ctl_out_of_memory(void) __attribute__((noreturn));

/* `made` where it is not NULL, else the end of the program. */
void *ph_ctl_made(void *made);

#endif
