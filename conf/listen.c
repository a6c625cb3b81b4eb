#include "conf/listen.h"
#include "conf/errors.h"
#include "conf/expand.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define EXPECTED \
	"tcp://ADDRESS:PORT (IPv4, [IPv6] or localhost, port 1-65535, [8080+%%i] adds) or " \
	"unix:/PATH"

/* ---- sums */

/* "[8080+%i]" after its expansion; *ret_end is what follows the bracket. False: it is no sum. */
static bool sum_at(const char *at, unsigned long *ret, const char **ret_end)
{
	unsigned long sum = 0;
	bool plus = false;
	const char *p = at + 1;
	for (;; p++) {
		char *end;
		if (!isdigit((unsigned char)*p))
			return false;
		unsigned long v = strtoul(p, &end, 10);
		if (v > UINT32_MAX || sum > UINT32_MAX)
			return false;
		sum += v;
		p = end;
		if (*p != '+')
			break;
		plus = true;
	}
	*ret = sum;
	*ret_end = p + 1;
	return *p == ']' && plus; /* "[::1]" has no plus */
}

char *ph_conf_listen_sums(const char *text)
{
	size_t n = 0, room = strlen(text) + 24;
	char *ret = malloc(room);
	while (ret && *text) {
		unsigned long sum;
		const char *end;
		if (*text == '[' && sum_at(text, &sum, &end)) {
			n += (size_t)snprintf(ret + n, room - n, "%lu", sum);
			text = end;
		} else {
			ret[n++] = *text++;
		}
	}
	if (ret)
		ret[n] = '\0';
	return ret;
}

/* ---- one address */

static bool parse_unix(const char *path, struct ph_conf_listener *ret)
{
	size_t n = strlen(path);
	if (path[0] != '/' || n < 2 || n > PH_CONF_LISTEN_PATH_MAX)
		return false;
	memcpy(ret->path, path, n + 1);
	return true;
}

static bool parse_port(const char *text, uint16_t *ret)
{
	size_t n = strspn(text, "0123456789");
	unsigned long v = n >= 1 && n <= 5 && !text[n] ? strtoul(text, NULL, 10) : 0;
	*ret = (uint16_t)v;
	return v >= 1 && v <= UINT16_MAX;
}

static bool parse_tcp(const char *text, struct ph_conf_listener *ret)
{
	struct ph_conf_address address;
	char host[PH_CONF_HOST_SIZE];
	const char *colon = strrchr(text, ':');
	if (!colon || (size_t)(colon - text) >= sizeof host || !parse_port(colon + 1, &ret->port))
		return false;
	memcpy(host, text, (size_t)(colon - text));
	host[colon - text] = '\0';
	bool bare = strchr(host, ':') && host[0] != '['; /* where would its port begin? */
	if (bare || ph_conf_host_parse(host, &address) < 0)
		return false;
	if (!address.numeric && !address.loopback)
		return false;
	ret->v6 = address.host[0] == '[';
	ret->wildcard = address.wildcard;
	size_t n = strlen(address.host);
	if (!address.numeric)
		(void)strcpy(ret->host, "127.0.0.1");
	else
		(void)snprintf(ret->host, sizeof ret->host, "%.*s", (int)(ret->v6 ? n - 2 : n),
			address.host + ret->v6);
	return true;
}

static int parse(const char *text, struct ph_conf_listener *ret, struct ph_err *err)
{
	char shown[PH_CONF_SHOWN_SIZE];
	struct ph_conf_listener found = {.path = ""};
	bool good = strncmp(text, "unix:", 5) == 0    ? parse_unix(text + 5, &found)
		    : strncmp(text, "tcp://", 6) == 0 ? parse_tcp(text + 6, &found)
						      : false;
	if (strncmp(text, "unix:/", 6) == 0 && !good)
		return ph_err_set(err, EINVAL, "a path of %zu bytes, a socket takes at most %zu",
			strlen(text + 5), PH_CONF_LISTEN_PATH_MAX);
	if (!good)
		return ph_err_set(err, EINVAL, "'%s' is not " EXPECTED, ph_conf_shown(text, shown));
	*ret = found;
	return 0;
}

int ph_conf_listen_of(const char *text, const struct ph_conf_vars *vars,
	struct ph_conf_listener *ret, struct ph_err *err)
{
	char *expanded = NULL;
	int rc = ph_conf_expand(text, vars, &expanded);
	if (rc < 0)
		return rc == -ENOMEM ? rc : ph_err_set(err, EINVAL, "bad template '%.200s'", text);
	char *whole = ph_conf_listen_sums(expanded);
	rc = whole ? parse(whole, ret, err) : -ENOMEM;
	free(whole);
	free(expanded);
	return rc;
}

void ph_conf_listen_text(const struct ph_conf_listener *listener, char *ret, size_t size)
{
	if (listener->path[0])
		(void)snprintf(ret, size, "unix:%s", listener->path);
	else
		(void)snprintf(ret, size, listener->v6 ? "tcp://[%s]:%u" : "tcp://%s:%u",
			listener->host, listener->port);
}

int ph_conf_listen_check(const char *name, const char *text, struct ph_err *err)
{
	static const struct ph_conf_vars sample = {.child = "c", .node = "n"};
	struct ph_conf_listener listener;
	char shown[PH_CONF_SHOWN_SIZE];
	if (!ph_name_valid(name))
		return ph_err_set(err, EINVAL, "'%s' is not %s", ph_conf_shown(name, shown),
			ph_conf_type_words(PH_CONF_NAME));
	int rc = ph_conf_template_check(text, err);
	if (rc == 0)
		rc = ph_conf_listen_of(text, &sample, &listener, err);
	if (rc < 0 && rc != -ENOMEM)
		ph_err_prefix(err, "%s", name);
	return rc;
}

/* ---- two that are the same */

struct used {
	struct ph_conf_listener at;
	const struct ph_conf_child *child;
	const char *name;
	uint32_t instance;
	bool ours; /* of the configuration that is checked, not of the one that it is added to */
};

struct all {
	struct ph_conf_loader *ld;
	const char *node;
	struct used *v;
	size_t n, room;
};

static const struct ph_conf_origin *origin_of(const struct ph_conf_child *child)
{
	return &child->origin[ph_conf_option_index(&ph_conf_child_table, "listen")];
}

static int push(struct all *all, const struct used *used)
{
	if (all->n == all->room) {
		size_t room = all->room ? all->room * 2 : 64;
		struct used *more = realloc(all->v, room * sizeof *more);
		if (!more)
			return -ENOMEM;
		all->v = more;
		all->room = room;
	}
	all->v[all->n++] = *used;
	return 0;
}

static void complain(struct all *all, const struct used *used, const char *text)
{
	ph_conf_errors_add(all->ld->errors, ph_conf_place_of(origin_of(used->child)),
		"children.%s.listen: %s: %s", used->child->name.s, used->name, text);
}

/* False: it has had its error, and one is enough for all instances. */
static bool usable(struct all *all, const struct used *used)
{
	char text[PH_ERR_MAX];
	const struct ph_conf_env *env = all->ld->env;
	if (used->at.path[0] || !env || used->at.port >= env->port_min)
		return true;
	(void)snprintf(text, sizeof text,
		"port %u needs root or CAP_NET_BIND_SERVICE (others begin at %u)", used->at.port,
		env->port_min);
	complain(all, used, text);
	return false;
}

/* All instances of one listener; those with one address for all are seen at once. */
static int collect_pair(struct all *all, struct used *used, const char *text)
{
	bool same = !strstr(text, "%i");
	uint32_t n = same ? 1 : used->child->instances;
	struct ph_err err = {""};
	if (same && used->child->instances > 1 && used->ours) {
		(void)snprintf(err.text, sizeof err.text,
			"%.200s of all %u instances is one address: %%i makes them differ", text,
			used->child->instances);
		complain(all, used, err.text);
		return 0;
	}
	for (uint32_t i = 0; i < n && all->n <= PH_CONF_LISTENERS_ALL_MAX; i++) {
		struct ph_conf_vars vars = {
			.child = used->child->name.s, .node = all->node, .instance = i};
		used->instance = i;
		int rc = ph_conf_listen_of(text, &vars, &used->at, &err);
		if (rc == -ENOMEM)
			return rc;
		if (rc < 0 && used->ours)
			complain(all, used, err.text);
		if (rc < 0 || (used->ours && !usable(all, used)))
			return 0;
		rc = push(all, used);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int collect(
	struct all *all, const struct ph_conf *from, bool ours, const struct ph_conf *instead)
{
	for (size_t i = 0; i < from->n_children; i++) {
		const struct ph_conf_child *child = from->children[i];
		if (instead && ph_conf_child_find(instead, child->name.s))
			continue;
		for (size_t k = 0; k < child->listen.n; k++) {
			struct used used = {
				.child = child, .name = child->listen.v[k].name, .ours = ours};
			int rc = collect_pair(all, &used, child->listen.v[k].value);
			if (rc < 0)
				return rc;
		}
	}
	return 0;
}

/* Same port together, wildcards first, then same host together. */
static int by_address(const void *a, const void *b)
{
	const struct used *x = a, *y = b;
	int order = strcmp(x->at.path, y->at.path);
	if (!order)
		order = (x->at.port > y->at.port) - (x->at.port < y->at.port);
	if (!order)
		order = y->at.wildcard - x->at.wildcard;
	if (!order)
		order = y->at.v6 - x->at.v6;
	if (!order)
		order = strcmp(x->at.host, y->at.host);
	if (!order)
		order = strcmp(x->child->name.s, y->child->name.s);
	if (!order)
		order = strcmp(x->name, y->name);
	return order ? order : (x->instance > y->instance) - (x->instance < y->instance);
}

/* [::] takes IPv4 too, as the kernel has it by default. */
static bool clash(const struct used *first, const struct used *second)
{
	if (first->at.path[0] || second->at.path[0])
		return strcmp(first->at.path, second->at.path) == 0;
	if (first->at.port != second->at.port)
		return false;
	if (first->at.wildcard)
		return first->at.v6 || !second->at.v6;
	return first->at.v6 == second->at.v6 && strcmp(first->at.host, second->at.host) == 0;
}

static void describe(const struct used *used, char *ret, size_t size)
{
	if (used->child->instances > 1)
		(void)snprintf(ret, size, "%s/%u", used->child->name.s, used->instance);
	else
		(void)snprintf(ret, size, "%s", used->child->name.s);
}

static bool later(const struct ph_conf_origin *a, const struct ph_conf_origin *b)
{
	int order = a->file && b->file ? strcmp(a->file, b->file) : 0;
	return order ? order > 0 : a->line > b->line;
}

/* The error stands at the later of the two places, and names the other. */
static void tell(struct all *all, const struct used *x, const struct used *y)
{
	char text[2 * PH_ERR_MAX], who[2][PH_NAME_SIZE + 16], at[2][PH_CONF_LISTEN_PATH_MAX + 64];
	bool first = !y->ours || (x->ours && later(origin_of(x->child), origin_of(y->child)));
	const struct used *here = first ? x : y, *there = first ? y : x;
	const struct ph_conf_origin *o = origin_of(there->child);
	describe(here, who[0], sizeof who[0]);
	describe(there, who[1], sizeof who[1]);
	ph_conf_listen_text(&here->at, at[0], sizeof at[0]);
	ph_conf_listen_text(&there->at, at[1], sizeof at[1]);
	(void)snprintf(text, sizeof text,
		"%.120s of %s is taken by %.120s of %s, listener %s (%.80s:%u:%u)", at[0], who[0],
		at[1], who[1], there->name, o->file ? o->file : "added", o->line, o->column);
	complain(all, here, text);
}

/* The one of the group before `i` that `i` clashes with, or NULL; wildcards are at its head. */
static const struct used *clashing(const struct used *v, size_t head, size_t i)
{
	for (size_t k = head; k < i && k < head + 2; k++)
		if (v[k].at.wildcard && clash(&v[k], &v[i]))
			return &v[k];
	return i > head && clash(&v[i - 1], &v[i]) ? &v[i - 1] : NULL;
}

static void find(struct all *all)
{
	size_t head = 0;
	const char *told = NULL; /* one error a listener, however many instances */
	if (all->n > 1)
		qsort(all->v, all->n, sizeof *all->v, by_address);
	for (size_t i = 0; i < all->n; i++) {
		if (all->v[i].at.port != all->v[head].at.port || all->v[i].at.path[0])
			head = all->v[i].at.path[0] && i ? i - 1 : i;
		const struct used *other = clashing(all->v, head, i);
		if (!other || all->v[i].name == told || (!all->v[i].ours && !other->ours))
			continue;
		told = all->v[i].name;
		tell(all, other, &all->v[i]);
	}
}

int ph_conf_check_listeners(
	struct ph_conf_loader *ld, const struct ph_conf *conf, const struct ph_conf *base)
{
	struct all all = {.ld = ld, .node = base ? base->node.name.s : conf->node.name.s};
	int rc = collect(&all, conf, true, NULL);
	if (rc == 0 && base)
		rc = collect(&all, base, false, conf);
	if (rc == 0 && all.n > PH_CONF_LISTENERS_ALL_MAX)
		ph_conf_errors_add(ld->errors, (struct ph_conf_place){0},
			"children: more than %d listeners of all instances together",
			PH_CONF_LISTENERS_ALL_MAX);
	else if (rc == 0)
		find(&all);
	free(all.v);
	return rc;
}
