/*
 * sdnotify.h - tells the service manager how the daemon is.
 *
 * Decides nothing. Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID from the environment;
 * without them every call does nothing and succeeds. Never blocks. Tested in
 * tests/unit/test_io_notify.c.
 */
#ifndef PH_IO_SDNOTIFY_H
#define PH_IO_SDNOTIFY_H

#include "base/err.h"

#include <stdint.h>

/*
 * Each sends one datagram. 0 sent, or nobody to tell; -EAGAIN the manager's queue is full (send
 * again later); -EINVAL a path that is neither absolute nor abstract, or a text of over 4 KiB;
 * -errno of sendto.
 */
int ph_sdnotify_ready(void);		  /* READY=1, with our MAINPID */
int ph_sdnotify_status(const char *text); /* STATUS=text; newlines become spaces */
int ph_sdnotify_watchdog(void);		  /* WATCHDOG=1 */
int ph_sdnotify_stopping(void);		  /* STOPPING=1 */
int ph_sdnotify_reloading(void);	  /* RELOADING=1 with MONOTONIC_USEC; READY=1 ends it */

/* FDSTORE=1 with a duplicate of `fd`, which comes back under that name (letters, digits, '-') when
 * the service is started again; FDSTOREREMOVE=1: it does not. */
int ph_sdnotify_store(const char *name, int fd);
int ph_sdnotify_unstore(const char *name);

/* The watchdog's whole period in ms (send at half of it), or 0: none is wanted from this process.
 */
uint64_t ph_sdnotify_watchdog_ms(void);

#endif
