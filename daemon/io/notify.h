/*
 * notify.h - the datagram socket that workers know as NOTIFY_SOCKET (the sd_notify protocol).
 *
 * Decides nothing: a message goes up with the sender's credentials as the kernel knows them; who
 * that is, is the caller's business (ph_proc_session() helps). Descriptors that come along are
 * closed at once, which is all that BARRIER=1 needs. Datagrams over 8 KiB, or without credentials,
 * are dropped. At most PH_NOTIFY_TURN a turn. Tested in tests/unit/test_io_notify.c.
 */
#ifndef PH_IO_NOTIFY_H
#define PH_IO_NOTIFY_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define PH_NOTIFY_BYTES_MAX 8192
#define PH_NOTIFY_TURN 64
#define PH_NOTIFY_DRAIN 1024

struct event_base;
struct ph_notify;

struct ph_notify_message {
	pid_t pid;
	uid_t uid;
	gid_t gid;
	bool ready;	    /* READY=1 */
	bool stopping;	    /* STOPPING=1 */
	bool reloading;	    /* RELOADING=1 */
	bool watchdog;	    /* WATCHDOG=1 */
	bool trigger;	    /* WATCHDOG=trigger: treat it as a missed watchdog */
	const char *status; /* STATUS=: one line of clean UTF-8 ('?' for what is none), or NULL */
	pid_t main_pid;	    /* MAINPID=, or 0 */
	uint64_t extend_ms; /* EXTEND_TIMEOUT_USEC= in ms, rounded up, or 0 */
};

typedef void ph_notify_fn(void *arg, const struct ph_notify_message *message);

/* Errors and rules of the path as ph_unixsock_open(). */
PH_MUST_CHECK int ph_notify_open(struct event_base *base, const char *path, mode_t mode,
	ph_notify_fn *fn, void *arg, struct ph_notify **ret, struct ph_err *err);

/* The same with the socket of an earlier daemon, and what waits in it: as ph_unixsock_take(). */
PH_MUST_CHECK int ph_notify_take(struct event_base *base, int fd, const char *path, mode_t mode,
	ph_notify_fn *fn, void *arg, struct ph_notify **ret, struct ph_err *err);

int ph_notify_fd(const struct ph_notify *notify); /* borrowed */

/* Takes what has come in, for a caller who is about to act on a sender's end. Bounded. */
void ph_notify_drain(struct ph_notify *notify);

/* Closes it and removes its path. May be NULL. */
void ph_notify_close(struct ph_notify *notify);

/*
 * Parses `n` bytes in place (bytes[n] is writable) into *ret, whose credentials are left alone.
 * Unknown lines and values that make no sense are ignored, as the protocol asks. Never fails.
 */
void ph_notify_parse(char *bytes, size_t n, struct ph_notify_message *ret);

#endif
