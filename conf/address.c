#include "conf/address.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static bool host_name(const char *s)
{
	size_t n = strlen(s), label = 0;
	bool letter = false;
	if (n == 0 || n >= PH_CONF_HOST_SIZE)
		return false;
	for (size_t i = 0; i <= n; i++) {
		if (s[i] == '.' || s[i] == '\0') {
			if (label == 0 || label > 63 || s[i - 1] == '-')
				return false;
			label = 0;
			continue;
		}
		if (!isalnum((unsigned char)s[i]) && !(s[i] == '-' && label > 0) && s[i] != '_')
			return false;
		letter = letter || !isdigit((unsigned char)s[i]);
		label++;
	}
	return letter; /* digits and points alone are a mistyped IPv4 address */
}

static int host6(const char *text, size_t n, struct ph_conf_address *ret)
{
	char plain[INET6_ADDRSTRLEN], shortest[INET6_ADDRSTRLEN];
	struct in6_addr a;
	if (n >= sizeof plain)
		return -EINVAL;
	memcpy(plain, text, n);
	plain[n] = '\0';
	if (inet_pton(AF_INET6, plain, &a) != 1 ||
		!inet_ntop(AF_INET6, &a, shortest, sizeof shortest))
		return -EINVAL;
	*ret = (struct ph_conf_address){.numeric = true,
		.loopback = IN6_IS_ADDR_LOOPBACK(&a),
		.wildcard = IN6_IS_ADDR_UNSPECIFIED(&a)};
	(void)snprintf(ret->host, sizeof ret->host, "[%s]", shortest);
	return 0;
}

int ph_conf_host_parse(const char *text, struct ph_conf_address *ret)
{
	size_t n = strlen(text);
	struct in_addr a;
	if (text[0] == '[' && n > 2 && text[n - 1] == ']')
		return host6(text + 1, n - 2, ret);
	if (strchr(text, ':'))
		return host6(text, n, ret);
	struct ph_conf_address found = {0};
	if (inet_pton(AF_INET, text, &a) == 1) {
		found.numeric = true;
		found.loopback = ntohl(a.s_addr) >> 24 == 127;
		found.wildcard = a.s_addr == INADDR_ANY;
	} else if (!host_name(text)) {
		return -EINVAL;
	} else {
		found.loopback = strcmp(text, "localhost") == 0;
	}
	(void)snprintf(found.host, sizeof found.host, "%s", text);
	*ret = found;
	return 0;
}

static int port_parse(const char *text, uint16_t *ret)
{
	unsigned long v = 0;
	size_t n = strspn(text, "0123456789");
	if (n == 0 || n > 5 || text[n] != '\0')
		return -EINVAL;
	for (size_t i = 0; i < n; i++)
		v = v * 10 + (unsigned long)(text[i] - '0');
	if (v < 1 || v > PH_CONF_PORT_MAX)
		return -EINVAL;
	*ret = (uint16_t)v;
	return 0;
}

int ph_conf_address_parse(const char *text, struct ph_conf_address *ret)
{
	static const char scheme[] = "tcp://";
	if (strncmp(text, scheme, sizeof scheme - 1) != 0)
		return -EINVAL;
	text += sizeof scheme - 1;
	const char *colon = strrchr(text, ':');
	char host[PH_CONF_HOST_SIZE];
	if (!colon || (size_t)(colon - text) >= sizeof host)
		return -EINVAL;
	memcpy(host, text, (size_t)(colon - text));
	host[colon - text] = '\0';
	if (strchr(host, ':') && host[0] != '[')
		return -EINVAL; /* without brackets nobody can tell where the port begins */
	struct ph_conf_address found;
	int rc = ph_conf_host_parse(host, &found);
	if (rc == 0)
		rc = port_parse(colon + 1, &found.port);
	if (rc == 0)
		*ret = found;
	return rc;
}
