/*
 * probe.h - asks once, from outside, whether something serves: a port, an address, a command.
 *
 * Decides nothing: a probe ends once, within its timeout, with yes or with a sentence. It never
 * blocks; an answer's body is not kept. Commands run in a session of their own, which is killed as
 * a whole when the probe ends. Tested in tests/unit/test_io_probe.c.
 */
#ifndef PH_IO_PROBE_H
#define PH_IO_PROBE_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct event_base;
struct ph_probe;

/* `why` is NULL where it serves. The probe is freed after this call; it must not free itself. */
typedef void ph_probe_done(void *arg, const char *why);

/*
 * `host` is numeric, without brackets; all texts are copied. `path` NULL: is a connection accepted?
 * Else: does a GET of it answer with 200 to 399? 0, or -ENOMEM; -EINVAL where `host` is no address.
 */
PH_MUST_CHECK int ph_probe_net(struct event_base *base, const char *host, uint16_t port,
	const char *path, uint64_t timeout_ms, ph_probe_done *done, void *arg,
	struct ph_probe **ret);
/* Ends it without a call of `done`. NULL is allowed. */
void ph_probe_free(struct ph_probe *probe);

#endif
