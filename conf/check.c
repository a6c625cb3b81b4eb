#include "conf/load.h"
#include "conf/address.h"

#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* The longest of control.sock, worker.sock, notify.sock, against sockaddr_un without its NUL. */
#define LONGEST_SOCKET "control.sock"
#define SOCKET_PATH_MAX 107

static const struct ph_conf_origin *origin_of(const struct ph_conf *conf, const char *path)
{
	return &conf->origin[ph_conf_option_index(&ph_conf_daemon_table, path)];
}

static bool is_set(const struct ph_conf *conf, const char *path)
{
	return origin_of(conf, path)->from == PH_CONF_FROM_FILE;
}

/* An error at the place of that option of the daemon. */
static void complain(struct ph_conf_loader *ld, const struct ph_conf *conf, const char *path,
	const char *format, ...) __attribute__((format(printf, 4, 5)));
static void complain(struct ph_conf_loader *ld, const struct ph_conf *conf, const char *path,
	const char *format, ...)
{
	char text[PH_ERR_MAX];
	va_list args;
	va_start(args, format);
	(void)vsnprintf(text, sizeof text, format, args);
	va_end(args);
	ph_conf_errors_add(
		ld->errors, ph_conf_place_of(origin_of(conf, path)), "%s: %s", path, text);
}

static int set_text(char **to, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int set_text(char **to, const char *format, ...)
{
	char *text;
	va_list args;
	va_start(args, format);
	int n = vasprintf(&text, format, args);
	va_end(args);
	if (n < 0)
		return -ENOMEM;
	free(*to);
	*to = text;
	return 0;
}

static int default_run_dir(struct ph_conf_loader *ld, struct ph_conf *conf)
{
	if (ld->env->uid == 0)
		return set_text(&conf->node.run_dir, "/run/prochub");
	const char *xdg = ph_conf_env_get(ld->env, "XDG_RUNTIME_DIR");
	if (!xdg || xdg[0] != '/') {
		complain(ld, conf, "node.run_dir",
			"no default without an absolute "
			"XDG_RUNTIME_DIR: set one of the two");
		return 0;
	}
	return set_text(&conf->node.run_dir, "%s/prochub", xdg);
}

static int default_state_dir(struct ph_conf_loader *ld, struct ph_conf *conf)
{
	if (ld->env->uid == 0)
		return set_text(&conf->node.state_dir, "/var/lib/prochub");
	const char *xdg = ph_conf_env_get(ld->env, "XDG_STATE_HOME");
	const char *home = ph_conf_env_get(ld->env, "HOME");
	if (xdg && xdg[0] == '/')
		return set_text(&conf->node.state_dir, "%s/prochub", xdg);
	if (home && home[0] == '/')
		return set_text(&conf->node.state_dir, "%s/.local/state/prochub", home);
	complain(ld, conf, "node.state_dir",
		"no default without an absolute XDG_STATE_HOME or "
		"HOME: set one of the three");
	return 0;
}

#define PATH_SIZE 4096

/* "/a/b" of "//a/./c/../b/", "" of "/"; links are not followed, the folders need not exist yet. */
static void normal_path(const char *path, char ret[PATH_SIZE])
{
	size_t n = 0;
	while (*(path += strspn(path, "/"))) {
		size_t length = strcspn(path, "/");
		bool dots = length <= 2 && strspn(path, ".") >= length;
		if (dots && length == 2)
			while (n > 0 && ret[--n] != '/')
				;
		if (!dots && n + 1 + length < PATH_SIZE) {
			ret[n++] = '/';
			memcpy(ret + n, path, length);
			n += length;
		}
		path += length;
	}
	ret[n] = '\0';
}

/* What the daemon makes in the two folders, beside hidden files that it renames to these. */
#define RUN_NAMES "|control.sock|worker.sock|notify.sock|state|lock|fifo|"
#define STATE_NAMES "|incarnation|journal|lock|"

/* Where `path` is inside `dir` with a first name that is one of `names`, that name. */
static bool taken_name(const char *dir, const char *path, const char *names, char ret[32])
{
	char from[PATH_SIZE], to[PATH_SIZE], word[32];
	normal_path(dir, from);
	normal_path(path, to);
	size_t n = strlen(from);
	if (strncmp(from, to, n) != 0 || to[n] != '/')
		return false;
	int length = (int)strcspn(to + n + 1, "/");
	int written = snprintf(word, sizeof word, "|%.*s|", length, to + n + 1);
	if (written < 0 || (size_t)written >= sizeof word || !strstr(names, word))
		return false;
	(void)snprintf(ret, 32, "%.*s", length, to + n + 1);
	return true;
}

static void check_dirs(struct ph_conf_loader *ld, const struct ph_conf *conf)
{
	const char *run = conf->node.run_dir, *state = conf->node.state_dir;
	const char *at = is_set(conf, "node.state_dir") ? "node.state_dir" : "node.run_dir";
	char from[PATH_SIZE], to[PATH_SIZE], name[32];
	if (!run || !state)
		return;
	normal_path(run, from);
	normal_path(state, to);
	if (strcmp(from, to) == 0)
		complain(ld, conf, at, "node.run_dir and node.state_dir must be two folders");
	else if (taken_name(run, state, RUN_NAMES, name))
		complain(ld, conf, at, "'%s' in node.run_dir is a file of the daemon's own", name);
	else if (taken_name(state, run, STATE_NAMES, name))
		complain(
			ld, conf, at, "'%s' in node.state_dir is a file of the daemon's own", name);
}

static int check_node(struct ph_conf_loader *ld, struct ph_conf *conf)
{
	int rc = 0;
	conf->node.has_slot = is_set(conf, "node.slot");
	if (!is_set(conf, "node.run_dir"))
		rc = default_run_dir(ld, conf);
	if (rc == 0 && !is_set(conf, "node.state_dir"))
		rc = default_state_dir(ld, conf);
	if (rc < 0 || !conf->node.run_dir)
		return rc;
	check_dirs(ld, conf);
	size_t n = strlen(conf->node.run_dir) + strlen("/" LONGEST_SOCKET);
	if (n > SOCKET_PATH_MAX)
		complain(ld, conf, "node.run_dir",
			"the path of " LONGEST_SOCKET " has %zu bytes, a socket takes at most %d",
			n, SOCKET_PATH_MAX);
	return 0;
}

/* host, port and advertise, all from listen where nothing else is said. */
static int fill_addresses(
	struct ph_conf_loader *ld, struct ph_conf *conf, const struct ph_conf_address *listen)
{
	conf->cluster.port = listen->port;
	int rc = set_text(&conf->cluster.host, "%s", listen->host);
	if (rc < 0 || is_set(conf, "cluster.advertise"))
		return rc;
	if (!listen->wildcard)
		return set_text(&conf->cluster.advertise, "%s", listen->host);
	complain(ld, conf, "cluster.listen",
		"%s is a wildcard: set cluster.advertise to the host that others dial",
		conf->cluster.listen);
	return 0;
}

static void check_key(
	struct ph_conf_loader *ld, const struct ph_conf *conf, const struct ph_conf_address *listen)
{
	struct ph_conf_address dialled;
	if (is_set(conf, "cluster.key_file"))
		return;
	if (!listen->loopback)
		complain(ld, conf, "cluster.listen",
			"%s is not a loopback address: cluster.key_file is required",
			conf->cluster.listen);
	else if (conf->cluster.advertise &&
		 ph_conf_host_parse(conf->cluster.advertise, &dialled) == 0 && !dialled.loopback)
		complain(ld, conf, "cluster.advertise",
			"%s is not a loopback address: cluster.key_file is required",
			conf->cluster.advertise);
}

static int check_addresses(struct ph_conf_loader *ld, struct ph_conf *conf)
{
	struct ph_conf_address listen, dialled;
	if (!conf->cluster.listen) {
		bool bad = is_set(conf, "cluster.listen"); /* and has had its error */
		if (conf->cluster.peers.n > 0 && !bad)
			complain(ld, conf, "cluster.peers", "cluster.listen is missing");
		if (conf->cluster.advertise && !bad)
			complain(ld, conf, "cluster.advertise", "cluster.listen is missing");
		return 0;
	}
	int rc = ph_conf_address_parse(conf->cluster.listen, &listen);
	if (rc == 0)
		rc = fill_addresses(ld, conf, &listen);
	if (rc < 0)
		return rc;
	if (conf->cluster.advertise && ph_conf_host_parse(conf->cluster.advertise, &dialled) == 0 &&
		dialled.wildcard)
		complain(ld, conf, "cluster.advertise", "%s is a wildcard, nobody can dial it",
			conf->cluster.advertise);
	check_key(ld, conf, &listen);
	return 0;
}

/*
 * A node that is cut off must have stopped its children, the last ones by SIGKILL after the grace,
 * before others declare it dead. The grace is 0.2 of failure_timeout.
 */
static void check_fence(struct ph_conf_loader *ld, struct ph_conf *conf)
{
	uint64_t failure = conf->cluster.failure_timeout_ms, grace = failure / 5;
	conf->cluster.fence_grace_ms = grace;
	if (!is_set(conf, "cluster.fence_after"))
		conf->cluster.fence_after_ms = failure / 5 * 3;
	else if (conf->cluster.fence_after_ms + grace >= failure)
		complain(ld, conf, "cluster.fence_after",
			"%" PRIu64 "ms and a grace of %" PRIu64
			"ms (0.2 of failure_timeout) must be less than cluster.failure_timeout "
			"(%" PRIu64 "ms)",
			conf->cluster.fence_after_ms, grace, failure);
}

/* What a quorum strategy needs, and what only one of them has. */
static void check_partition(struct ph_conf_loader *ld, struct ph_conf *conf)
{
	enum ph_conf_partition strategy = conf->cluster.partition;
	bool dynamic = strategy == PH_CONF_PARTITION_DYNAMIC_QUORUM;
	static const char *const only = "only the strategy '%s' has it";
	/* The defaults are no news: -T prints them. */
	if (strategy != PH_CONF_PARTITION_STATIC_QUORUM && is_set(conf, "cluster.partition.size"))
		complain(ld, conf, "cluster.partition.size", only, "static-quorum");
	if (!dynamic && conf->cluster.quorum_percent != 51)
		complain(ld, conf, "cluster.partition.percent", only, "dynamic-quorum");
	if (!dynamic && conf->cluster.quorum_hold_ms != 30000)
		complain(ld, conf, "cluster.partition.hold", only, "dynamic-quorum");
	if (strategy == PH_CONF_PARTITION_STATIC_QUORUM && !is_set(conf, "cluster.partition.size"))
		complain(ld, conf, "cluster.partition.strategy",
			"static-quorum needs cluster.partition.size");
	if (strategy != PH_CONF_PARTITION_DIVERGENCE && !conf->cluster.listen &&
		!is_set(conf, "cluster.listen"))
		complain(ld, conf, "cluster.partition.strategy", "cluster.listen is missing");
	/* With a quorum the lease is what others rely on, whether the daemon lives or not. */
	if (strategy != PH_CONF_PARTITION_DIVERGENCE &&
		conf->cluster.orphans == PH_CONF_ORPHANS_KEEP)
		complain(ld, conf, "cluster.orphans",
			"'keep' is possible only with the strategy 'divergence'");
}

const char *ph_conf_advice(const struct ph_conf *conf)
{
	size_t others = 0;
	char own[PH_ADDRESS_SIZE];
	if (conf->cluster.partition == PH_CONF_PARTITION_DIVERGENCE || !conf->cluster.listen)
		return NULL;
	(void)snprintf(own, sizeof own, "tcp://%s:%u", conf->cluster.advertise, conf->cluster.port);
	for (size_t i = 0; i < conf->cluster.peers.n; i++)
		others += strcmp(conf->cluster.peers.v[i], own) != 0 &&
			  strcmp(conf->cluster.peers.v[i], conf->cluster.listen) != 0;
	return others == 1
		       ? "cluster.partition: two nodes have no quorum when either of them is "
			 "lost, and stop their children; a third one keeps it, even one that no "
			 "child may be placed on (placement.nodes, placement.labels)"
		       : NULL;
}

static void check_seal(struct ph_conf_loader *ld, struct ph_conf *conf)
{
	if (is_set(conf, "cluster.key_file"))
		return;
	if (!is_set(conf, "cluster.stream_seal"))
		conf->cluster.stream_seal = PH_CONF_SEAL_NONE;
	else if (conf->cluster.stream_seal != PH_CONF_SEAL_NONE)
		complain(ld, conf, "cluster.stream_seal",
			"only 'none' is possible without cluster.key_file");
}

/* The place is that of the value: it is the file that is bad, not the option. */
static void check_key_file(struct ph_conf_loader *ld, const struct ph_conf *conf)
{
	size_t row = ph_conf_option_index(&ph_conf_daemon_table, "cluster.key_file");
	const struct ph_conf_node *value = ld->values[row];
	struct ph_err err = {""};
	if (!conf->cluster.key_file || !value || !ld->env->check_key)
		return;
	if (ld->env->check_key(ld->env->arg, conf->cluster.key_file, conf->cluster.name.s, &err) <
		0)
		ph_conf_errors_add(ld->errors,
			(struct ph_conf_place){conf->origin[row].file, value->line, value->column},
			"cluster.key_file: %s", err.text);
}

static bool is_id(const char *name, uint32_t *ret)
{
	char *end;
	errno = 0;
	unsigned long long v = *name >= '0' && *name <= '9' ? strtoull(name, &end, 10) : UINT64_MAX;
	if (v >= UINT32_MAX || errno || *end)
		return false;
	*ret = (uint32_t)v;
	return true;
}

/* A number is good where the start takes it: that of a user has an entry, that of a group is any.
 */
static bool user_exists(const struct ph_conf_env *env, const char *name)
{
	uint32_t id;
	if (env->knows_account)
		return env->knows_account(env->arg, name, NULL);
	return getpwnam(name) || (is_id(name, &id) && getpwuid(id));
}

static bool group_exists(const struct ph_conf_env *env, const char *name)
{
	uint32_t id;
	if (env->knows_account)
		return env->knows_account(env->arg, NULL, name);
	return getgrnam(name) || is_id(name, &id);
}

static void check_control(struct ph_conf_loader *ld, const struct ph_conf *conf)
{
	const struct ph_conf_option *o =
		ph_conf_option_find(&ph_conf_daemon_table, "control.group");
	const char *group = conf->control.group;
	/* the default may be missing: then the socket keeps the group of the daemon */
	if (ld->env->uid == 0 && ld->env->check_users && group && o &&
		strcmp(group, o->fallback) != 0 && !group_exists(ld->env, group))
		complain(ld, conf, "control.group", "no group '%s' on this machine", group);
}

int ph_conf_check_daemon(struct ph_conf_loader *ld, struct ph_conf *conf)
{
	int rc = check_node(ld, conf);
	if (rc == 0)
		rc = check_addresses(ld, conf);
	if (rc < 0)
		return rc;
	check_fence(ld, conf);
	check_partition(ld, conf);
	check_seal(ld, conf);
	check_key_file(ld, conf);
	check_control(ld, conf);
	return 0;
}

/* An error at the place of that option of a child. */
static void complain_child(struct ph_conf_loader *ld, const struct ph_conf_child *child,
	const char *path, const char *text)
{
	const struct ph_conf_origin *o =
		&child->origin[ph_conf_option_index(&ph_conf_child_table, path)];
	ph_conf_errors_add(
		ld->errors, ph_conf_place_of(o), "children.%s.%s: %s", child->name.s, path, text);
}

static void check_account(struct ph_conf_loader *ld, const struct ph_conf_child *child,
	const char *path, const char *name, bool exists, char known[64])
{
	char text[200], shown[PH_CONF_SHOWN_SIZE];
	if (exists) {
		(void)snprintf(known, 64, "%s", name);
		return;
	}
	(void)snprintf(
		text, sizeof text, "no %s '%s' on this machine", path, ph_conf_shown(name, shown));
	complain_child(ld, child, path, text);
}

static void check_accounts(struct ph_conf_loader *ld, const struct ph_conf_child *child)
{
	if (!ld->env)
		return;
	if (ld->env->uid != 0) {
		if (child->user)
			complain_child(ld, child, "user", "only a daemon of root can set it");
		if (child->group)
			complain_child(ld, child, "group", "only a daemon of root can set it");
		return;
	}
	if (!ld->env->check_users)
		return;
	if (child->user && strcmp(child->user, ld->user) != 0)
		check_account(ld, child, "user", child->user, user_exists(ld->env, child->user),
			ld->user);
	if (child->group && strcmp(child->group, ld->group) != 0)
		check_account(ld, child, "group", child->group, group_exists(ld->env, child->group),
			ld->group);
}

/* Most children are far from the limit, and writing each of them out would cost a load its time. */
int ph_conf_check_size(struct ph_conf_loader *ld, const struct ph_conf_child *child)
{
	size_t n = 0;
	for (size_t i = 0; i < child->command.n; i++)
		n += strlen(child->command.v[i]) + 8;
	for (size_t i = 0; i < child->env.n; i++)
		n += strlen(child->env.v[i].name) + strlen(child->env.v[i].value) + 8;
	if (n < PH_CONF_CHILD_MAX / 16)
		return 0;
	char *text = ph_conf_child_text(child);
	if (!text)
		return -ENOMEM;
	n = strlen(text);
	free(text);
	if (n > PH_CONF_CHILD_MAX)
		ph_conf_errors_add(ld->errors, ph_conf_place_of(&child->at),
			"children.%s: its options take %zu bytes, at most %d are possible",
			child->name.s, n, PH_CONF_CHILD_MAX);
	return 0;
}

static void check_backoff(struct ph_conf_loader *ld, const struct ph_conf_child *child)
{
	size_t row = ph_conf_option_index(&ph_conf_child_table, "restart.backoff");
	if (child->restart.backoff_ms <= child->restart.backoff_max_ms)
		return;
	if (child->origin[row].from == PH_CONF_FROM_DEFAULT)
		complain_child(ld, child, "restart.backoff_max", "less than restart.backoff");
	else
		complain_child(ld, child, "restart.backoff", "more than restart.backoff_max");
}

static void check_health(struct ph_conf_loader *ld, const struct ph_conf_child *child)
{
	if ((child->health.tcp != NULL) + (child->health.http != NULL) +
			(child->health.exec != NULL) >
		1)
		ph_conf_errors_add(ld->errors, ph_conf_place_of(&child->at),
			"children.%s: health has more than one of tcp, http and exec",
			child->name.s);
}

int ph_conf_check_child(struct ph_conf_loader *ld, const struct ph_conf_child *child)
{
	size_t command = ph_conf_option_index(&ph_conf_child_table, "command");
	if (child->origin[command].from == PH_CONF_FROM_DEFAULT)
		ph_conf_errors_add(ld->errors, ph_conf_place_of(&child->at),
			"children.%s: 'command' is missing", child->name.s);
	check_backoff(ld, child);
	check_health(ld, child);
	ph_conf_check_limits(ld, child);
	ph_conf_check_log(ld, child);
	check_accounts(ld, child);
	return ph_conf_check_size(ld, child);
}
