/*
 * probe.h - what tells from outside whether a worker serves: a port, an address, a command.
 *
 * Decides the syntax of tcp:, http: and exec: in `ready`, and of the same in `health`. Resolves no
 * name: an address is numeric, or "localhost". Tested in tests/unit/test_conf_probe.c.
 */
#ifndef PH_CONF_PROBE_H
#define PH_CONF_PROBE_H

#include "base/err.h"
#include "conf/address.h"
#include "conf/conf.h"

enum ph_conf_probe_kind {
	PH_CONF_PROBE_TCP,  /* somebody accepts connections there */
	PH_CONF_PROBE_HTTP, /* GET answers with 200 to 399 */
	PH_CONF_PROBE_EXEC  /* the command ends with 0 */
};

struct ph_conf_probe {
	enum ph_conf_probe_kind kind;
	char host[PH_CONF_HOST_SIZE]; /* numeric, without brackets */
	uint16_t port;
	char *path;		  /* HTTP: with the query, begins with '/' */
	struct ph_conf_list argv; /* EXEC: at least one */
};

/*
 * `text` (after %-expansion): "tcp:PORT", "tcp:HOST:PORT", "http:http://HOST[:PORT][/PATH]" or
 * "exec:COMMAND", whose words are parted by blanks; '...' and "..." keep a word together and a
 * backslash takes the next character as it is. There is no shell. The caller calls fini after 0.
 * Errors: -EINVAL with what was expected, -ENOMEM.
 */
PH_MUST_CHECK int ph_conf_probe_parse(
	const char *text, struct ph_conf_probe *ret, struct ph_err *err);
void ph_conf_probe_fini(struct ph_conf_probe *probe);

/* The same for a text with %i, %r, %n, %c in it: it is tried with some values. */
PH_MUST_CHECK int ph_conf_probe_check(const char *text, struct ph_err *err);

/* What a text of `ready` says. */
enum ph_conf_ready ph_conf_ready_of(const char *text);

#endif
