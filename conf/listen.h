/*
 * listen.h - listeners that the daemon opens for a child: addresses, and two that are the same.
 *
 * Decides the syntax of `listen`, and that no two instances of one configuration have one address.
 * Must not open anything. Always: an address is numeric, so that nobody has to resolve a name.
 * Tested in tests/unit/test_conf_listen.c.
 */
#ifndef PH_CONF_LISTEN_H
#define PH_CONF_LISTEN_H

#include "base/err.h"
#include "conf/address.h"
#include "conf/conf.h"
#include "conf/load.h"

#define PH_CONF_LISTENERS_ALL_MAX 200000      /* of all instances of a configuration together */
#define PH_CONF_LISTEN_PATH_MAX ((size_t)107) /* what sockaddr_un takes, without its NUL */

struct ph_conf_listener {
	char path[PH_CONF_LISTEN_PATH_MAX + 1]; /* unix:PATH; empty: TCP */
	char host[PH_CONF_HOST_SIZE];		/* numeric, without brackets */
	uint16_t port;
	bool v6, wildcard;
};

/*
 * What `text` says for one instance: %i, %r, %n, %c are expanded, then [8080+3] is replaced by its
 * sum. "tcp://ADDRESS:PORT" (IPv4, [IPv6] or localhost, port 1-65535) or "unix:/PATH".
 * -EINVAL with what was expected, -ENOMEM.
 */
PH_MUST_CHECK int ph_conf_listen_of(const char *text, const struct ph_conf_vars *vars,
	struct ph_conf_listener *ret, struct ph_err *err);

/* The text with each [8080+3] in it worked out, the caller's (free); NULL without memory. */
char *ph_conf_listen_sums(const char *text);

/* In the form of the configuration, for people. */
void ph_conf_listen_text(const struct ph_conf_listener *listener, char *ret, size_t size);

/* The name and the text of one listener as they are written. -EINVAL, -ENOMEM. */
PH_MUST_CHECK int ph_conf_listen_check(const char *name, const char *text, struct ph_err *err);

/*
 * Adds an error where two instances of `conf`, or one of it and one of `base` (may be NULL, and
 * what it has under the same name does not count), have one address, where an address is none for
 * some instance, and where a port needs more rights than this process has. -ENOMEM.
 */
PH_MUST_CHECK int ph_conf_check_listeners(
	struct ph_conf_loader *ld, const struct ph_conf *conf, const struct ph_conf *base);

#endif
