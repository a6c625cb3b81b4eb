#include "conf/probe.h"
#include "conf/errors.h"
#include "conf/expand.h"
#include "conf/listen.h"
#include "conf/load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HTTP_PORT 80
#define WORDS_MAX 1024

static int wrong(const char *text, const char *expected, struct ph_err *err)
{
	char shown[PH_CONF_SHOWN_SIZE];
	return ph_err_set(err, EINVAL, "'%s' is not %s", ph_conf_shown(text, shown), expected);
}

/* All of `text` is a port; 0: it is not. */
static uint16_t port_of(const char *text)
{
	char *end;
	if (text[0] < '0' || text[0] > '9')
		return 0;
	unsigned long port = strtoul(text, &end, 10);
	return *end == '\0' && port <= UINT16_MAX ? (uint16_t)port : 0;
}

/* "10.0.0.1", "[::1]", "localhost" of `n` bytes, as a numeric address without brackets. */
static bool set_host(struct ph_conf_probe *probe, const char *text, size_t n)
{
	struct in6_addr address;
	bool brackets = n > 2 && text[0] == '[' && text[n - 1] == ']';
	if (brackets) {
		text++;
		n -= 2;
	}
	if (n == 0 || n >= sizeof probe->host)
		return false;
	memcpy(probe->host, text, n);
	probe->host[n] = '\0';
	if (!brackets && strcmp(probe->host, "localhost") == 0)
		(void)strcpy(probe->host, "127.0.0.1");
	return inet_pton(brackets ? AF_INET6 : AF_INET, probe->host, &address) == 1;
}

static int parse_tcp(const char *text, struct ph_conf_probe *probe, struct ph_err *err)
{
	const char *colon = strrchr(text, ':');
	probe->port = port_of(colon ? colon + 1 : text);
	if (!colon)
		(void)strcpy(probe->host, "127.0.0.1");
	if (!probe->port || (colon && !set_host(probe, text, (size_t)(colon - text))))
		return wrong(text, "PORT or ADDRESS:PORT (IPv4, [IPv6] or localhost, port 1-65535)",
			err);
	return 0;
}

static int parse_http(const char *text, struct ph_conf_probe *probe, struct ph_err *err)
{
	static const char expected[] =
		"http://ADDRESS[:PORT][/PATH] (IPv4, [IPv6] or localhost; no https)";
	if (strncmp(text, "http://", 7) != 0)
		return wrong(text, expected, err);
	const char *host = text + 7, *path = host + strcspn(host, "/?#");
	const char *end = path, *bracket = memchr(host, ']', (size_t)(path - host));
	const char *colon =
		memchr(bracket ? bracket : host, ':', (size_t)(path - (bracket ? bracket : host)));
	char port[8] = "";
	probe->port = HTTP_PORT;
	if (colon) {
		size_t n = (size_t)(path - colon) - 1;
		memcpy(port, colon + 1, n < sizeof port ? n : 0);
		probe->port = port_of(port);
		end = colon;
	}
	for (const char *p = path; *p; p++)
		if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 0x7f || *p == '#')
			return wrong(text, expected, err);
	if (!probe->port || *path == '?' || !set_host(probe, host, (size_t)(end - host)))
		return wrong(text, expected, err);
	probe->path = strdup(*path ? path : "/");
	return probe->path ? 0 : ph_err_set(err, ENOMEM, "no memory");
}

/* The next word of `*at` into `word`, which has room for all of it; false: there is none.
 * *ret_open: its quote is not closed. */
static bool next_word(const char **at, char *word, bool *ret_open)
{
	const char *p = *at + strspn(*at, " \t\n");
	char quote = '\0';
	size_t n = 0;
	if (!*p)
		return false;
	for (; *p && (quote || !strchr(" \t\n", *p)); p++) {
		if (*p == quote)
			quote = '\0';
		else if (!quote && (*p == '\'' || *p == '"'))
			quote = *p;
		else if (*p == '\\' && quote != '\'' && p[1])
			word[n++] = *++p;
		else
			word[n++] = *p;
	}
	word[n] = '\0';
	*ret_open = quote != '\0';
	*at = p;
	return true;
}

static int add_word(struct ph_conf_list *list, const char *word, struct ph_err *err)
{
	char **more = realloc(list->v, (list->n + 1) * sizeof *more);
	if (more)
		list->v = more;
	char *copy = more ? strdup(word) : NULL;
	if (!copy)
		return ph_err_set(err, ENOMEM, "no memory");
	list->v[list->n++] = copy;
	return 0;
}

static int parse_exec(const char *text, struct ph_conf_probe *probe, struct ph_err *err)
{
	char *word = malloc(strlen(text) + 1);
	const char *at = text;
	bool open = false;
	int rc = word ? 0 : ph_err_set(err, ENOMEM, "no memory");
	while (rc == 0 && next_word(&at, word, &open)) {
		if (open || probe->argv.n == WORDS_MAX)
			rc = wrong(text, open ? "closed by its quote" : "a command of 1024 words",
				err);
		else
			rc = add_word(&probe->argv, word, err);
	}
	free(word);
	if (rc == 0 && (probe->argv.n == 0 || probe->argv.v[0][0] == '\0'))
		rc = wrong(text, "a program and its arguments", err);
	if (rc == 0 && probe->argv.v[0][0] != '/' && strchr(probe->argv.v[0], '/'))
		rc = wrong(probe->argv.v[0],
			"an absolute path, or a name without '/' (looked up in PATH)", err);
	return rc;
}

static const struct {
	const char *word;
	enum ph_conf_probe_kind kind;
	int (*parse)(const char *text, struct ph_conf_probe *probe, struct ph_err *err);
} kinds[] = {
	{"tcp:", PH_CONF_PROBE_TCP, parse_tcp},
	{"http:", PH_CONF_PROBE_HTTP, parse_http},
	{"exec:", PH_CONF_PROBE_EXEC, parse_exec},
};

int ph_conf_probe_parse(const char *text, struct ph_conf_probe *ret, struct ph_err *err)
{
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		size_t n = strlen(kinds[i].word);
		if (strncmp(text, kinds[i].word, n) != 0)
			continue;
		struct ph_conf_probe probe = {.kind = kinds[i].kind};
		/* a port may be a sum, as that of a listener; a command is what it is */
		bool sums = probe.kind != PH_CONF_PROBE_EXEC;
		char *whole = sums ? ph_conf_listen_sums(text + n) : NULL;
		if (sums && !whole)
			return -ENOMEM;
		int rc = kinds[i].parse(whole ? whole : text + n, &probe, err);
		free(whole);
		if (rc < 0)
			ph_conf_probe_fini(&probe);
		else
			*ret = probe;
		return rc;
	}
	return wrong(text, "tcp:PORT, http:URL or exec:COMMAND", err);
}

void ph_conf_probe_fini(struct ph_conf_probe *probe)
{
	free(probe->path);
	for (size_t i = 0; i < probe->argv.n; i++)
		free(probe->argv.v[i]);
	free(probe->argv.v);
	memset(probe, 0, sizeof *probe);
}

int ph_conf_probe_check(const char *text, struct ph_err *err)
{
	static const struct ph_conf_vars some = {
		.child = "c", .node = "n", .instance = 1, .replica = 1};
	struct ph_conf_probe probe;
	char *expanded;
	int rc = ph_conf_template_check(text, err);
	if (rc == 0)
		rc = ph_conf_expand(text, &some, &expanded);
	if (rc < 0)
		return rc;
	rc = ph_conf_probe_parse(expanded, &probe, err);
	free(expanded);
	if (rc == 0)
		ph_conf_probe_fini(&probe);
	return rc;
}

enum ph_conf_ready ph_conf_ready_of(const char *text)
{
	static const char *const words[] = {
		[PH_CONF_READY_NONE] = "none",
		[PH_CONF_READY_PROTOCOL] = "protocol",
		[PH_CONF_READY_NOTIFY] = "notify",
	};
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (strcmp(text, words[i]) == 0)
			return (enum ph_conf_ready)i;
	return PH_CONF_READY_PROBE;
}
