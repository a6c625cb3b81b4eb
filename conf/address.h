/*
 * address.h - hosts and tcp://HOST:PORT as they stand in the configuration.
 *
 * Decides what is written well, what is loopback and what is a wildcard. Resolves no name.
 * Tested in tests/unit/test_conf_values.c.
 */
#ifndef PH_CONF_ADDRESS_H
#define PH_CONF_ADDRESS_H

#include "base/err.h"
#include "base/types.h"

#define PH_CONF_HOST_SIZE 100	     /* an IPv6 address in brackets, or a name that fits */
#define PH_CONF_PORT_MAX (65535 - 2) /* the two ports after it are used too */

struct ph_conf_address {
	char host[PH_CONF_HOST_SIZE]; /* IPv6 in brackets, as short as can be */
	uint16_t port;
	bool numeric, loopback, wildcard; /* "localhost" counts as loopback */
};

/* A host alone: IPv4, IPv6 with or without brackets, or a name. 0 or -EINVAL; port is 0. */
PH_MUST_CHECK int ph_conf_host_parse(const char *text, struct ph_conf_address *ret);
/* "tcp://HOST:PORT", IPv6 in brackets, port 1 ... PH_CONF_PORT_MAX. 0 or -EINVAL. */
PH_MUST_CHECK int ph_conf_address_parse(const char *text, struct ph_conf_address *ret);

#endif
