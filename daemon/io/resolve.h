/*
 * resolve.h - the addresses of hosts by their names, without waiting for a name server.
 *
 * getaddrinfo() takes as long as it likes (10 s and more for a name where a name server does not
 * answer) and cannot be interrupted, so it runs in threads that touch nothing else. Decides
 * nothing: a name has the first address that the C library gives, or none. What always holds:
 * nobody waits for a thread; one that hangs when its round is freed ends by itself, some time, and
 * frees what is left of it. Tested in tests/unit/test_io_resolve.c.
 */
#ifndef PH_IO_RESOLVE_H
#define PH_IO_RESOLVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define PH_RESOLVE_SIZE 100 /* a numeric address, IPv6 in brackets */

struct ph_resolve;

/*
 * Begins to ask for the addresses of `n` names (at least 1), a few at a time; they are copied.
 * Errors: -ENOMEM; -errno of eventfd() (EMFILE, ENFILE) and pthread_create() (EAGAIN); *ret
 * untouched.
 */
PH_MUST_CHECK int ph_resolve_new(const char *const *names, size_t n, struct ph_resolve **ret);

/* Also while some of them are still asked for. NULL is fine. */
void ph_resolve_free(struct ph_resolve *resolve);

/* Readable when there are answers since ph_resolve_heard(). */
int ph_resolve_fd(const struct ph_resolve *resolve);
void ph_resolve_heard(struct ph_resolve *resolve);

/* Waits until all are answered, for `wait_ms` at most; returns whether they are. */
bool ph_resolve_wait(struct ph_resolve *resolve, uint64_t wait_ms);

/* Whether name `i` has been answered; its address, or nothing where it has none. */
bool ph_resolve_answer(struct ph_resolve *resolve, size_t i, char ret[PH_RESOLVE_SIZE]);

#endif
