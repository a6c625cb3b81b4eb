/*
 * resolve_help.h - a name server in the hands of the test.
 *
 * getaddrinfo() of this program answers for names that end in ".test" itself: "127-0-0-9.test" is
 * at 127.0.0.9; with "slow-" before that it says nothing while help_silent is set, with "new-"
 * there is no such name while help_unknown is; "none.test" never has an address.
 */
#ifndef PH_TESTS_RESOLVE_HELP_H
#define PH_TESTS_RESOLVE_HELP_H

#include <dlfcn.h>
#include <netdb.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static atomic_bool help_silent, help_unknown;
static atomic_uint help_asked; /* names that end in ".test" */

static inline int help_real_getaddrinfo(
	const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **ret)
{
	int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
	*(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
	return real(node, service, hints, ret);
}

int getaddrinfo(const char *restrict node, const char *restrict service,
	const struct addrinfo *restrict hints, struct addrinfo **restrict ret)
{
	static const struct timespec moment = {0, 1000 * 1000};
	char host[64];
	const char *end = node ? strstr(node, ".test") : NULL;
	if (!end)
		return help_real_getaddrinfo(node, service, hints, ret);
	atomic_fetch_add(&help_asked, 1);
	bool slow = strncmp(node, "slow-", 5) == 0, fresh = strncmp(node, "new-", 4) == 0;
	for (int i = 0; slow && atomic_load(&help_silent) && i < 20000; i++)
		nanosleep(&moment, NULL);
	if (strncmp(node, "none", 4) == 0 || (fresh && atomic_load(&help_unknown)))
		return EAI_NONAME;
	const char *text = node + (slow ? 5 : fresh ? 4 : 0);
	(void)snprintf(host, sizeof host, "%.*s", (int)(end - text), text);
	for (char *dash = host; (dash = strchr(dash, '-'));)
		*dash = '.';
	return help_real_getaddrinfo(host, service, hints, ret);
}

#endif
