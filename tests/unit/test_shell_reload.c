/* What a reload says of a child, against what it does: both have the same options in mind. */
#include "tests/unit/test_conf.h"

#include "conf/options.h"
#include "shell_parts.h"

/* One option, and what stands in the two files beside the command. */
static const struct row {
	const char *path, *before, *after;
	bool renews; /* a running worker is replaced */
} rows[] = {
	{"command", "", "command: [y]", true},
	{"dir", "", "dir: /", true},
	{"env", "", "env: {A: b}", true},
	{"env", "env: {A: b}", "env: {A: c}", true},
	{"env_file", "", "env_file: /x", true},
	{"user", "", "user: '0'", true},
	{"group", "", "group: '0'", true},
	{"umask", "", "umask: '077'", true},
	{"no_new_privileges", "", "no_new_privileges: true", true},
	{"instances", "", "instances: 2", false},
	{"listen", "", "listen: {a: unix:/a}", true},
	{"ready", "", "ready: notify", true},
	{"start_timeout", "", "start_timeout: 1s", false},
	{"stop_signal", "", "stop_signal: INT", false},
	{"stop_timeout", "", "stop_timeout: 1s", false},
	{"watchdog", "", "watchdog: 1s", true},
	{"after", "", "after: [z]", false},
	{"restart.policy", "", "restart: {policy: temporary}", false},
	{"restart.delay", "", "restart: {delay: 1s}", false},
	{"restart.backoff", "", "restart: {backoff: 1s}", false},
	{"restart.backoff_max", "", "restart: {backoff_max: 1m}", false},
	{"restart.jitter", "", "restart: {jitter: 0%}", false},
	{"restart.intensity", "", "restart: {intensity: 0}", false},
	{"restart.within", "", "restart: {within: 1s}", false},
	{"restart.on_limit", "", "restart: {on_limit: fail}", false},
	{"restart.retry_after", "", "restart: {retry_after: 1s}", false},
	{"health.tcp", "", "health: {tcp: '80'}", false},
	{"health.http", "", "health: {http: 'http://[::1]/'}", false},
	{"health.exec", "", "health: {exec: x}", false},
	{"health.interval", "health: {tcp: '80'}", "health: {tcp: '80', interval: 1s}", false},
	{"health.timeout", "health: {tcp: '80'}", "health: {tcp: '80', timeout: 2s}", false},
	{"health.failures", "health: {tcp: '80'}", "health: {tcp: '80', failures: 2}", false},
	{"limits.nofile", "", "limits: {nofile: 64}", true},
	{"limits.core", "", "limits: {core: 0}", true},
	{"limits.memory", "", "limits: {memory: 1M}", true},
	{"limits.cpu", "", "limits: {cpu: 1%}", true},
	{"limits.tasks", "", "limits: {tasks: 1}", true},
	{"limits.missing", "", "limits: {missing: warn}", true},
	{"log.to", "", "log: {to: 'null'}", true},
	{"log.path", "log: {to: file, path: /a}", "log: {to: file, path: /b}", false},
	{"log.size", "log: {to: file, path: /a}", "log: {to: file, path: /a, size: 1M}", false},
	{"log.keep", "log: {to: file, path: /a}", "log: {to: file, path: /a, keep: 1}", false},
	{"log.size", "", "log: {size: 1M}", false},
	{"log.keep", "", "log: {keep: 1}", false},
	{"placement.strategy", "", "placement: {strategy: local}", true},
	{"placement.nodes", "", "placement: {nodes: [a]}", false},
	{"placement.labels", "", "placement: {labels: [a]}", false},
	{"migration.strategy", "", "migration: {strategy: none}", false},
	{"migration.handover", "", "migration: {handover: 'false'}", false},
	{"migration.retention", "", "migration: {retention: 1s}", false},
	{"migration.timeout", "", "migration: {timeout: 1s}", false},
	{"migration.downtime", "", "migration: {downtime: 1s}", false},
	{"migration.rounds_max", "", "migration: {rounds_max: 1}", false},
	{"migration.max_state", "", "migration: {max_state: 1M}", false},
	{"migration.defer_max", "", "migration: {defer_max: 1s}", false},
};

static struct ph_conf *with(const char *options)
{
	char text[512];
	bool command = strncmp(options, "command", 7) == 0;
	(void)snprintf(text, sizeof text, "children: {web: {%s%s%s}, z: {command: [z]}}",
		command ? "" : "command: [x]", *options && !command ? ", " : "", options);
	return load_good(text);
}

static void compare(const struct row *row)
{
	struct ph_conf *before = with(row->before), *after = with(row->after);
	struct ph_conf_diff *diff = NULL;
	const struct ph_spec *old = ph_shell_spec_of_child(before->children[0]),
			     *new = ph_shell_spec_of_child(after->children[0]);
	ck_assert_int_eq(ph_conf_diff(before, after, &diff), 0);
	ck_assert_uint_eq(diff->n_children, 1);
	ck_assert_str_eq(diff->children[0].child.s, "web");
	ck_assert_uint_eq(diff->children[0].n_options, 1);
	ck_assert_str_eq(diff->children[0].options[0], row->path);
	ck_assert_msg(diff->children[0].restart == row->renews, "%s is told wrongly", row->path);
	ck_assert_msg(
		(old->process != new->process) == row->renews, "%s is not done so", row->path);
	ck_assert(old->hash != new->hash);
	ph_spec_free(old);
	ph_spec_free(new);
	ph_conf_diff_free(diff);
	ph_conf_free(before);
	ph_conf_free(after);
}

START_TEST(says_what_it_does)
{
	for (size_t i = 0; i < LENGTH(rows); i++)
		compare(&rows[i]);
}
END_TEST

START_TEST(no_option_is_missing)
{
	for (size_t i = 0; i < ph_conf_child_table.n; i++) {
		const struct ph_conf_option *o = &ph_conf_child_table.rows[i];
		bool found = o->here != PH_CONF_YES;
		for (size_t k = 0; k < LENGTH(rows); k++)
			found = found || strcmp(rows[k].path, o->path) == 0;
		ck_assert_msg(found, "%s", o->path);
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {says_what_it_does, no_option_is_missing};
	return run_suite("shell_reload", tests, LENGTH(tests));
}
