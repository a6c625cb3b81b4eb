/* Whole configurations: places and sentences of errors, sections, files together, what options
 * mean with each other. */
#include "tests/unit/test_conf.h"

#include <errno.h>
#include <sys/stat.h>

START_TEST(test_empty_is_a_configuration)
{
	static const char *const texts[] = {"", "\n", "# only words\n", "---\n", "{}", "node:\n",
		"children:\n", "children: {}\ndefaults:\ncluster:\nnode: {}\n",
		"\xef\xbb\xbfnode: {}\n"};
	for (size_t i = 0; i < LENGTH(texts); i++) {
		struct ph_conf *conf = load_good(texts[i]);
		ck_assert_str_eq(conf->node.name.s, "alpha");
		ck_assert_uint_eq(conf->node.weight_milli, 1000);
		ck_assert(!conf->node.has_slot);
		ck_assert_str_eq(conf->node.run_dir, "/run/prochub");
		ck_assert_str_eq(conf->node.state_dir, "/var/lib/prochub");
		ck_assert_ptr_null(conf->cluster.listen);
		ck_assert_ptr_null(conf->cluster.advertise);
		ck_assert_uint_eq(conf->cluster.failure_timeout_ms, 5000);
		ck_assert_uint_eq(conf->cluster.fence_after_ms, 3000);
		ck_assert_uint_eq(conf->control.mode, 0660);
		ck_assert_int_eq(conf->log.level, PH_CONF_LEVEL_INFO);
		ck_assert_uint_eq(conf->n_children, 0);
		ck_assert_ptr_null(ph_conf_child_find(conf, "web"));
		ph_conf_free(conf);
	}
}
END_TEST

START_TEST(test_child_defaults)
{
	struct ph_conf *conf = load_good("children: {web: {command: [web]}}");
	const struct ph_conf_child *c = ph_conf_child_find(conf, "web");
	ck_assert_ptr_nonnull(c);
	ck_assert_uint_eq(c->instances, 1);
	ck_assert_uint_eq(c->umask, 022);
	ck_assert_int_eq(c->stop_signal, 15);
	ck_assert_uint_eq(c->start_timeout_ms, 10000);
	ck_assert_uint_eq(c->restart.backoff_ms, 100);
	ck_assert_uint_eq(c->restart.jitter_percent, 20);
	ck_assert_int_eq(c->restart.on_limit, PH_CONF_LIMIT_RETRY);
	ck_assert_uint_eq(c->restart.retry_after_ms, 300000);
	ck_assert_int_eq(c->migration.handover, PH_CONF_HANDOVER_AUTO);
	ck_assert_uint_eq(c->migration.max_state_bytes, UINT64_C(16) << 30);
	ck_assert_ptr_null(c->dir);
	ph_conf_free(conf);
}
END_TEST

START_TEST(test_all_of_a_child)
{
	struct ph_conf *conf = load_good(
		"children:\n"
		"  web:\n"
		"    command: [/usr/bin/web, --port, 8080, \"%i\"]\n"
		"    dir: /srv/%c\n"
		"    user: www\n"
		"    env: {Z: \"%i\", A: 1}\n"
		"    umask: 077\n"
		"    ready: notify\n"
		"    log: {to: null}\n"
		"    stop_signal: SIGQUIT\n"
		"    watchdog: 500ms\n"
		"    restart: {policy: temporary, intensity: 0, jitter: 0%, on_limit: fail}\n"
		"    placement: {strategy: local, nodes: [a, \"b*\"], labels: [ssd]}\n"
		"    redundancy: {replicas: 1, mode: active-active}\n"
		"    migration: {strategy: none, handover: true, max_state: 64K}\n");
	const struct ph_conf_child *c = conf->children[0];
	ck_assert_uint_eq(c->command.n, 4);
	ck_assert_str_eq(c->command.v[2], "8080");
	ck_assert_str_eq(c->dir, "/srv/%c");
	ck_assert_str_eq(c->env.v[0].name, "A");
	ck_assert_str_eq(c->env.v[1].value, "%i");
	ck_assert_uint_eq(c->umask, 077);
	ck_assert_str_eq(c->ready, "notify");
	ck_assert_int_eq(c->log.to, PH_CONF_LOG_NULL);
	ck_assert_int_eq(c->stop_signal, 3);
	ck_assert_int_eq(c->restart.policy, PH_CONF_RESTART_TEMPORARY);
	ck_assert_int_eq(c->restart.on_limit, PH_CONF_LIMIT_FAIL);
	ck_assert_int_eq(c->placement.strategy, PH_CONF_PLACEMENT_LOCAL);
	ck_assert_str_eq(c->placement.nodes.v[1], "b*");
	ck_assert_int_eq(c->migration.strategy, PH_CONF_MIGRATION_NONE);
	ck_assert_int_eq(c->migration.handover, PH_CONF_HANDOVER_TRUE);
	ck_assert_uint_eq(c->at.line, 2);
	ph_conf_free(conf);
}
END_TEST

START_TEST(test_word_null)
{
	static const char *const texts[] = {"null", "\"null\"", "'null'"};
	for (size_t i = 0; i < LENGTH(texts); i++) {
		char text[128];
		(void)snprintf(text, sizeof text, "children: {w: {command: [a], log: {to: %s}}}",
			texts[i]);
		struct ph_conf *conf = load_good(text);
		ck_assert_int_eq(conf->children[0]->log.to, PH_CONF_LOG_NULL);
		ph_conf_free(conf);
	}
	struct ph_conf *conf = load_good("children:\n  w:\n    command: [a]\n    log:\n");
	ck_assert_int_eq(conf->children[0]->log.to, PH_CONF_LOG_INHERIT);
	ph_conf_free(conf);
}
END_TEST

/* One mistake, its place, its sentence. */
START_TEST(test_sentences)
{
	static const struct {
		const char *text, *sentence; /* after "prochub.yaml:" */
	} rows[] = {
		{"children:\n  web:\n    command: [a]\n    retenton: 5s\n",
			"4:5: children.web: unknown option 'retenton', did you mean 'retention'?"},
		{"children: {web: {command: [a], migration: {retenton: 5s}}}",
			"1:44: children.web.migration: unknown option 'retenton', did you mean "
			"'retention'?"},
		{"nodee: {}", "1:1: unknown option 'nodee', did you mean 'node'?"},
		{"zzz: {}", "1:1: unknown option 'zzz'"},
		{"node: {a.b: 1}", "1:8: node: unknown option 'a.b'"},
		{"node.name: x", "1:1: unknown option 'node.name'"},
		{"node: {name: a/b}", "1:14: node.name: 'a/b' is not a name ([A-Za-z0-9._-], 1-63, "
				      "not starting with '.' or '-')"},
		{"node: {name: [a]}", "1:14: node.name: expected a text, not a list"},
		{"node: {name: }",
			"1:14: node.name: expected a value, not null (quote it if it is a text)"},
		{"node: [a]", "1:7: node: expected a mapping (name: value)"},
		{"- a", "1:1: expected a mapping (name: value)"},
		{"words", "1:1: expected a mapping (name: value)"},
		{"node: {drain_on_stop: yes}",
			"1:23: node.drain_on_stop: 'yes' is not true or false"},
		{"node: {labels: [a, 'b c']}",
			"1:20: node.labels: 'b c' is not a list of labels (1-63 characters, no "
			"space or comma)"},
		{"http: {listen: 127.0.0.1:1}", "1:1: http: not available in this version"},
		{"hooks: {x: {on: [child_failed]}}", "1:9: hooks.x: 'command' is missing"},
		{"hooks: {x: {command: [a]}}", "1:9: hooks.x: 'on' is missing"},
		{"hooks: {x: {on: [child_faild], command: [a]}}",
			"1:18: hooks.x.on: 'child_faild' is not an event, did you mean "
			"'child_failed'?"},
		{"hooks: {x: {on: [zzz], command: [a]}}",
			"1:18: hooks.x.on: 'zzz' is not an event"},
		{"hooks: {x: {on: [], command: [a]}}", "1:17: hooks.x.on: the list is empty"},
		{"hooks: {x: {on: node_dead, command: [a]}}",
			"1:17: hooks.x.on: expected a list of events"},
		{"hooks: {x: {on: [node_dead], command: [bin/a]}}",
			"1:40: hooks.x.command: 'bin/a' is neither an absolute path nor a name "
			"without '/' (looked up in PATH)"},
		{"hooks: {x: {on: [node_dead], command: [a, '%x']}}",
			"1:43: hooks.x.command: '%x' is not %i, %r, %n or %c ('%%' is a literal "
			"'%')"},
		{"hooks: {x: {on: [node_dead], command: [a], timeout: 0s}}",
			"1:53: hooks.x.timeout: '0s' is out of range (100ms to 1h)"},
		{"hooks: {x: {on: [node_dead], command: [a], timeot: 1s}}",
			"1:44: hooks.x: unknown option 'timeot', did you mean 'timeout'?"},
		{"hooks: {x: {on: [conflict], command: [a]}, w: {on: [node_dead, conflict], "
		 "command: [a]}}",
			"1:48: hooks.w.on: 'conflict' is that of the hook 'x': one decides what "
			"becomes of a state"},
		{"hooks: {-x: {}}",
			"1:9: hooks: '-x' is not a name ([A-Za-z0-9._-], 1-63, not starting with "
			"'.' or '-')"},
		{"hooks: {x: {on: [node_dead], command: [a]}, x: {}}",
			"1:45: hooks: 'x' stands twice, first at prochub.yaml:1:9"},
		{"hooks: [x]", "1:8: hooks: expected a mapping (name: options)"},
		{"hooks: {x: [y]}", "1:12: hooks.x: expected a mapping (name: value)"},
		{"cluster: {conflict_keep: 1s}",
			"1:26: cluster.conflict_keep: '1s' is out of range (1m to 8760h)"},
		{"groups: null", "1:9: groups: expected a mapping (name: options), found null"},
		{"children: {web: {command: [a], limits: {nofile: 1}}}",
			"1:49: children.web.limits.nofile: '1' is out of range (8 to 1073741824)"},
		{"children: {web: {command: [a], limits: {missing: ignore}}}",
			"1:50: children.web.limits.missing: 'ignore' is not one of refuse, warn"},
		{"children: {web: {command: [a], after: [b]}}",
			"1:32: children.web.after: 'b' is not a child of this configuration"},
		{"children: {web: {command: [a], redundancy: {replicas: 2}}}",
			"1:55: children.web.redundancy.replicas: '2' is not available in this "
			"version"},
		{"children: {web: {command: [a], log: {to: file}}}",
			"1:38: children.web.log.to: 'file' needs log.path"},
		{"children: {web: {command: [a], log: {to: file, path: /x/}}}",
			"1:48: children.web.log.path: expected a file, not a folder"},
		{"children: {web: {command: [a], log: {path: /x}}}",
			"1:38: children.web.log.path: only log.to: file has it"},
		{"children: {web: {command: [a], instances: 2, log: {to: file, path: /x}}}",
			"1:62: children.web.log.path: all instances would write to '/x': put %i "
			"into it"},
		{"children: {a: {command: [a], log: {to: file, path: /x/%c}}, "
		 "b: {command: [a], log: {to: file, path: /x//a}}}",
			"1:95: children.b.log.path: '/x/a' is that of children.a as well"},
		{"children: {a: {command: [a], instances: 3, log: {to: file, path: '/x-%i'}}, "
		 "b: {command: [a], log: {to: file, path: /x-2}}}",
			"1:111: children.b.log.path: '/x-2' is that of children.a as well"},
		{"children: {web: {command: [a], ready: 'tcp:x'}}",
			"1:39: children.web.ready: 'x' is not PORT or ADDRESS:PORT (IPv4, [IPv6] "
			"or "
			"localhost, port 1-65535)"},
		{"children: {web: {command: [a], ready: notifi}}",
			"1:39: children.web.ready: 'notifi' is not one of none, protocol, notify, "
			"tcp:, http:, exec:, did you mean 'notify'?"},
		{"children: {web: {command: [a], health: {tcp: 1, exec: b}}}",
			"1:12: children.web: health has more than one of tcp, http and exec"},
		{"children: {web: {command: [a], health: {interval: 1s}}}",
			"1:32: children.web.health: expected one of tcp, http and exec"},
		{"children: {web: {command: [a], health: {}}}",
			"1:32: children.web.health: expected one of tcp, http and exec"},
		{"defaults: {health: {interval: 1s}}\nchildren: {web: {command: [a], health: {}}}",
			"2:32: children.web.health: expected one of tcp, http and exec"},
		{"children: {web: {command: [a], health: {tcp: x}}}",
			"1:46: children.web.health.tcp: 'x' is not PORT or ADDRESS:PORT (IPv4, "
			"[IPv6] or localhost, port 1-65535)"},
		{"children: {web: {command: [a], restart: {policy: permanant}}}",
			"1:50: children.web.restart.policy: 'permanant' is not one of permanent, "
			"transient, temporary, did you mean 'permanent'?"},
		{"cluster: {coordination: {etcd: {endpoints: [a]}}}",
			"1:25: cluster.coordination: 'etcd' is not available in this version"},
		{"cluster: {partition: {strategy: majority}}",
			"1:23: cluster.partition.strategy: cluster.listen is missing"},
		{"cluster: {listen: 'tcp://127.0.0.1:1', partition: {strategy: static-quorum}}",
			"1:52: cluster.partition.strategy: static-quorum needs "
			"cluster.partition.size"},
		{"cluster: {partition: {percent: 60%}}",
			"1:23: cluster.partition.percent: only the strategy 'dynamic-quorum' has "
			"it"},
		{"cluster: {partition: {size: 2}}",
			"1:23: cluster.partition.size: only the strategy 'static-quorum' has it"},
		{"cluster: {orphans: live}",
			"1:20: cluster.orphans: 'live' is not one of stop, keep"},
		{"cluster: {listen: 'tcp://127.0.0.1:1', orphans: keep, partition: {strategy: "
		 "majority}}",
			"1:40: cluster.orphans: 'keep' is possible only with the strategy "
			"'divergence'"},
		{"children: {web: {command: []}}", "1:27: children.web.command: the list is empty"},
		{"children: {web: {command: a}}", "1:27: children.web.command: expected a list of "
						  "a program and its arguments"},
		{"children: {web: {command: ['']}}",
			"1:28: children.web.command: the program's name is empty"},
		{"children: {web: {command: [bin/a]}}", "1:28: children.web.command: 'bin/a' is "
							"neither an absolute path nor a name "
							"without '/' (looked up in PATH)"},
		{"children: {web: {command: [a, '%x']}}", "1:31: children.web.command: '%x' is not "
							  "%i, %r, %n or %c ('%%' is a literal "
							  "'%')"},
		{"children: {web: {command: [a], env: {A: '50%'}}}",
			"1:38: children.web.env: '%' at the end ('%%' is a literal one)"},
		{"children: {web: {command: [a], env: {'A B': x}}}",
			"1:38: children.web.env: 'A B' is not the name of a variable (1-255 "
			"characters of ASCII, no space or '=')"},
		{"children: {web: {command: [a], dir: srv}}",
			"1:37: children.web.dir: 'srv' is not an absolute path"},
		{"children: {web: {command: [a], stop_timeout: 5}}",
			"1:46: children.web.stop_timeout: '5' is not a duration (a number with ms, "
			"s, m or h)"},
		{"children: {web: {command: [a], instances: 0}}",
			"1:43: children.web.instances: '0' is out of range (1 to 100000)"},
		{"children: {web: {}}", "1:12: children.web: 'command' is missing"},
		{"children: {web: }", "1:12: children.web: 'command' is missing"},
		{"children: {web: {command: [a], log: null}}",
			"1:37: children.web.log: expected a mapping (name: value), found null"},
		{"children: {web: {command: [a], log: {to: ~}}}",
			"1:42: children.web.log.to: expected a value, not null (quote it if it is "
			"a text)"},
		{"children: {web: null}",
			"1:17: children.web: expected a mapping (name: value), found null"},
		{"children: ~", "1:11: children: expected a mapping (name: options), found null"},
		{"node: Null", "1:7: node: expected a mapping (name: value), found null"},
		{"null", "1:1: expected a mapping (name: value), found null"},
		{"children: {web: {command: [a], user: ''}}",
			"1:38: children.web.user: expected a name, found an empty text"},
		{"control: {group: \"\"}",
			"1:18: control.group: expected a name, found an empty text"},
		{"children: {web: [a]}", "1:17: children.web: expected a mapping (name: value)"},
		{"children: [web]", "1:11: children: expected a mapping (name: options)"},
		{"children: {.web: {}}",
			"1:12: children: '.web' is not a name ([A-Za-z0-9._-], 1-63, not starting "
			"with '.' or '-')"},
		{"children: {web: {command: [a]}, b: {command: [a]}, web: {command: [b]}}",
			"1:52: children: 'web' stands twice, first at prochub.yaml:1:12"},
		{"node: {}\nnode: {}\n", "2:1: 'node' stands twice, first at prochub.yaml:1:1"},
		{"node: {name: a, weight: 1, name: a}",
			"1:28: node: 'name' stands twice, first at prochub.yaml:1:8"},
		{"children: {web: {command: [a], env: {A: 1, B: 2, A: 3}}}",
			"1:50: children.web.env: 'A' stands twice, first at prochub.yaml:1:38"},
		{"node: {name: '${NONE}'}", "1:14: node.name: '${NONE}' is not set"},
		{"defaults: {instancs: 1}",
			"1:12: defaults: unknown option 'instancs', did you mean 'instances'?"},
		{"children: {w: {command: [a], restart: {backoff: 1m}}}",
			"1:40: children.w.restart.backoff: more than restart.backoff_max"},
		{"children: {w: {command: [a], restart: {backoff_max: 1ms}}}",
			"1:40: children.w.restart.backoff_max: less than restart.backoff"},
		{"children: {a: {command: [a], instances: 60000}, b: {command: [a], instances: "
		 "60000}}",
			"1:49: children: more than 100000 instances of all children together"},
	};
	for (size_t i = 0; i < LENGTH(rows); i++) {
		char sentence[PH_ERR_MAX];
		(void)snprintf(sentence, sizeof sentence, "prochub.yaml:%s", rows[i].sentence);
		refuse(rows[i].text, sentence);
		ck_assert_msg(errors.n == 1, "%s: also %s", rows[i].text, errors.v[1].text.text);
	}
}
END_TEST

START_TEST(test_cluster_sentences)
{
	static const struct {
		const char *cluster, *sentence; /* NULL: accepted */
	} rows[] = {
		{"listen: tcp://127.0.0.1:7400", NULL},
		{"listen: tcp://localhost:7400", NULL},
		{"listen: 'tcp://[::1]:7400', peers: [tcp://node-2:7400]", NULL},
		{"listen: tcp://10.0.0.1:7400, key_file: /k", NULL},
		{"listen: tcp://0.0.0.0:7400, advertise: 10.0.0.1, key_file: /k", NULL},
		{"listen: tcp://10.0.0.1:7400, key_file: /k, stream_seal: auth", NULL},
		{"listen: tcp://127.0.0.1:7400, stream_seal: none", NULL},
		{"failure_timeout: 1s", NULL},
		{"failure_timeout: 1s, fence_after: 799ms", NULL},
		{"orphans: keep", NULL},
		{"listen: tcp://10.0.0.1:7400",
			"19: cluster.listen: tcp://10.0.0.1:7400 is not a loopback address: "
			"cluster.key_file is required"},
		{"listen: tcp://127.0.0.1:7400, advertise: 10.0.0.1",
			"41: cluster.advertise: 10.0.0.1 is not a loopback address: "
			"cluster.key_file is required"},
		{"listen: tcp://0.0.0.0:7400, key_file: /k",
			"19: cluster.listen: tcp://0.0.0.0:7400 is a wildcard: set "
			"cluster.advertise "
			"to the host that others dial"},
		{"listen: tcp://0.0.0.0:7400, key_file: /k, advertise: '::'",
			"53: cluster.advertise: [::] is a wildcard, nobody can dial it"},
		{"listen: tcp://node-1:7400, key_file: /k",
			"19: cluster.listen: 'tcp://node-1:7400' is not tcp://ADDRESS:PORT (IPv4 "
			"or "
			"[IPv6], port 1-65533)"},
		{"listen: tcp://127.0.0.1:65534", "19: cluster.listen: 'tcp://127.0.0.1:65534' is "
						  "not tcp://ADDRESS:PORT (IPv4 "
						  "or [IPv6], port 1-65533)"},
		{"peers: [tcp://127.0.0.2:7400]", "11: cluster.peers: cluster.listen is missing"},
		{"advertise: 127.0.0.1", "11: cluster.advertise: cluster.listen is missing"},
		{"stream_seal: encrypt", "11: cluster.stream_seal: only 'none' is possible without "
					 "cluster.key_file"},
		{"failure_timeout: 5s, fence_after: 4s",
			"32: cluster.fence_after: 4000ms and a grace of 1000ms (0.2 of "
			"failure_timeout) must be less than cluster.failure_timeout (5000ms)"},
	};
	for (size_t i = 0; i < LENGTH(rows); i++) {
		char text[512], sentence[PH_ERR_MAX];
		(void)snprintf(text, sizeof text, "cluster: {%s}", rows[i].cluster);
		if (!rows[i].sentence) {
			ph_conf_free(load_good(text));
			continue;
		}
		/* the place is that of the key, the column of a bad value is the value's */
		ck_assert_msg(load(text) == NULL, "accepted: %s", text);
		const char *said = strstr(errors.v[0].text.text, ": cluster.");
		(void)snprintf(sentence, sizeof sentence, "%s", strchr(rows[i].sentence, ':'));
		ck_assert_ptr_nonnull(said);
		ck_assert_str_eq(said, sentence);
		ck_assert_uint_eq(errors.n, 1);
		ck_assert_uint_eq(errors.v[0].line, 1);
	}
}
END_TEST

static int no_key(void *arg, const char *path, const char *cluster, struct ph_err *err)
{
	++*(int *)arg;
	ck_assert_str_eq(cluster, "main");
	return strcmp(path, "/good") == 0 ? 0 : ph_err_set(err, ENOENT, "%s: no such key", path);
}

START_TEST(test_key_file)
{
	static const char *const texts[] = {
		"cluster:\n  listen: tcp://10.0.0.1:7400\n  key_file: /good\n",
		"node: {weight: x}\ncluster:\n  name: main\n  key_file: /bad\n  setle: 1s\n",
		"cluster: {key_file: bad}\n",
		"node: {}\n",
	};
	static const struct {
		size_t errors;
		int calls;
	} want[] = {{0, 1}, {3, 1}, {1, 0}, {0, 0}};
	for (size_t i = 0; i < LENGTH(texts); i++) {
		int calls = 0;
		struct ph_conf_env env = env_root();
		env.check_key = no_key;
		env.arg = &calls;
		ph_conf_free(load_with(texts[i], strlen(texts[i]), &env));
		ck_assert_uint_eq(errors.n, want[i].errors);
		ck_assert_int_eq(calls, want[i].calls);
		if (errors.n == 3)
			ck_assert_str_eq(errors.v[1].text.text,
				"prochub.yaml:4:13: cluster.key_file: /bad: no such key");
	}
}
END_TEST

START_TEST(test_cluster_fields)
{
	struct ph_conf *conf = load_good(
		"cluster: {listen: 'tcp://[0::1]:7400', advertise: '::1', failure_timeout: 2s}");
	ck_assert_str_eq(conf->cluster.listen, "tcp://[::1]:7400");
	ck_assert_str_eq(conf->cluster.host, "[::1]");
	ck_assert_str_eq(conf->cluster.advertise, "[::1]");
	ck_assert_uint_eq(conf->cluster.port, 7400);
	ck_assert_uint_eq(conf->cluster.fence_after_ms, 1200);
	ck_assert_uint_eq(conf->cluster.fence_grace_ms, 400);
	ck_assert_int_eq(conf->cluster.orphans, PH_CONF_ORPHANS_STOP);
	ck_assert_int_eq(conf->cluster.stream_seal, PH_CONF_SEAL_NONE);
	ph_conf_free(conf);
	conf = load_good("cluster: {listen: tcp://10.0.0.1:7400, key_file: /k}\nnode: {slot: 0}");
	ck_assert_int_eq(conf->cluster.stream_seal, PH_CONF_SEAL_ENCRYPT);
	ck_assert_str_eq(conf->cluster.advertise, "10.0.0.1");
	ck_assert(conf->node.has_slot);
	ph_conf_free(conf);
}
END_TEST

START_TEST(test_many_peers)
{
	for (int peers = 64; peers <= 65; peers++) {
		char text[4096];
		size_t n = (size_t)snprintf(
			text, sizeof text, "cluster: {listen: tcp://127.0.0.1:7400, peers: [");
		for (int i = 0; i < peers; i++)
			n += (size_t)snprintf(
				text + n, sizeof text - n, "tcp://127.0.0.2:%d, ", 100 + i);
		(void)snprintf(text + n, sizeof text - n, "]}");
		struct ph_conf *conf = load(text);
		ck_assert_int_eq(conf != NULL, peers == 64);
		if (!conf)
			ck_assert_ptr_nonnull(strstr(errors.v[0].text.text, "peers: more than 64"));
		ph_conf_free(conf);
	}
}
END_TEST

START_TEST(test_errors_in_order_and_bounded)
{
	char text[4096] = "children:\n";
	for (int i = 0; i < 30; i++)
		(void)snprintf(text + strlen(text), sizeof text - strlen(text),
			"  c%02d: {command: [a], nonesuch%02d: 1}\n", 29 - i, i);
	ck_assert_ptr_null(load(text));
	ck_assert_uint_eq(errors.n, PH_CONF_ERRORS_MAX);
	ck_assert_uint_eq(errors.more, 10);
	for (size_t i = 1; i < errors.n; i++)
		ck_assert_uint_gt(errors.v[i].line, errors.v[i - 1].line);
	ck_assert_ptr_null(load("children: {a: {dir: x}, b: {comand: [a]}}\nnode: {weight: x}\n"));
	ck_assert_uint_eq(errors.n, 5);
	ck_assert_uint_eq(errors.v[4].line, 2);
}
END_TEST

START_TEST(test_defaults)
{
	struct ph_conf *conf =
		load_good("children:\n"
			  "  a: {command: [a]}\n"
			  "  b: {command: [b], stop_timeout: 1s, env: {B: 1}}\n"
			  "defaults: {stop_timeout: 9s, env: {A: 1}, placement: {labels: [x]}}\n");
	const struct ph_conf_child *a = conf->children[0], *b = conf->children[1];
	ck_assert_uint_eq(a->stop_timeout_ms, 9000);
	ck_assert_uint_eq(b->stop_timeout_ms, 1000);
	ck_assert_str_eq(a->env.v[0].name, "A");
	ck_assert_uint_eq(b->env.n, 1);
	ck_assert_str_eq(b->env.v[0].name, "B");
	ck_assert_str_eq(b->placement.labels.v[0], "x");
	ph_conf_free(conf);
	conf = load_good("defaults: {command: [x]}\nchildren: {a: , b: {}}");
	ck_assert_str_eq(conf->children[1]->command.v[0], "x");
	ph_conf_free(conf);
	conf = load_good("defaults: {command: [x], health: {exec: y, interval: 1s}}\n"
			 "children: {a: , b: {health: {tcp: 80}}, c: {health: {timeout: 2s}}}");
	ck_assert_str_eq(conf->children[0]->health.exec, "y");
	ck_assert_ptr_null(conf->children[1]->health.exec);
	ck_assert_str_eq(conf->children[1]->health.tcp, "80");
	ck_assert_uint_eq(conf->children[1]->health.interval_ms, 1000);
	ck_assert_str_eq(conf->children[2]->health.exec, "y");
	ph_conf_free(conf);
}
END_TEST

static struct ph_conf *load_standard(void)
{
	struct ph_conf_env env = env_root();
	struct ph_conf *conf = NULL;
	int rc = ph_conf_load(NULL, &env, &conf, &errors);
	ck_assert_int_eq(rc == 0, conf != NULL);
	return conf;
}

START_TEST(test_standard_files)
{
	struct ph_conf *conf = load_standard(); /* none at all */
	ck_assert_str_eq(conf->node.name.s, "alpha");
	ck_assert_uint_eq(conf->n_files, 0);
	ph_conf_free(conf);

	ck_assert_int_eq(mkdir("etc", 0700) | mkdir("etc/conf.d", 0700), 0);
	static const char main_text[] = "node: {weight: 2}\nchildren: {m: {command: [m]}}\n";
	static const char a[] = "node: {name: n}\nchildren: {z: {command: [z]}}\n";
	static const char b[] = "defaults: {stop_timeout: 8s}\nchildren: {b: {command: [b]}}\n";
	write_file("etc/prochub.yaml", main_text, strlen(main_text));
	write_file("etc/conf.d/20.yaml", b, strlen(b));
	write_file("etc/conf.d/10.yaml", a, strlen(a));
	write_file("etc/conf.d/.hidden.yaml", "[", 1);
	write_file("etc/conf.d/note.txt", "[", 1);
	conf = load_standard();
	ck_assert_uint_eq(conf->n_files, 3);
	ck_assert_str_eq(conf->files[1], "etc/conf.d/10.yaml");
	ck_assert_str_eq(conf->node.name.s, "n");
	ck_assert_uint_eq(conf->node.weight_milli, 2000);
	ck_assert_uint_eq(conf->n_children, 3);
	ck_assert_str_eq(conf->children[0]->name.s, "b");
	ck_assert_uint_eq(conf->children[2]->stop_timeout_ms, 8000);
	ph_conf_free(conf);

	static const char twice[] = "node: {weight: 3}\nchildren: {b: {command: [c]}}\n";
	write_file("etc/conf.d/30.yaml", twice, strlen(twice));
	ck_assert_ptr_null(load_standard());
	ck_assert_uint_eq(errors.n, 2);
	ck_assert_str_eq(errors.v[0].text.text,
		"etc/conf.d/30.yaml:1:8: node.weight: stands twice, "
		"first at etc/prochub.yaml:1:8");
	ck_assert_str_eq(errors.v[1].text.text, "etc/conf.d/30.yaml:2:12: children: 'b' stands "
						"twice, first at etc/conf.d/20.yaml:2:12");
}
END_TEST

/* Of all files together, by name; each stands once. */
START_TEST(test_hooks_of_several_files)
{
	ck_assert_int_eq(mkdir("etc", 0700) | mkdir("etc/conf.d", 0700), 0);
	static const char a[] =
		"hooks: {z: {on: [node_dead, child_failed], command: [z, \"%c\"]}}\n";
	static const char b[] = "hooks: {b: {on: [conflict], command: [/b], timeout: 3s}}\n";
	write_file("etc/prochub.yaml", a, strlen(a));
	write_file("etc/conf.d/10.yaml", b, strlen(b));
	struct ph_conf *conf = load_standard(), *none = load_good("");
	struct ph_conf_diff *diff;
	ck_assert_uint_eq(conf->n_hooks, 2);
	const struct ph_conf_hook *first = conf->hooks[0], *second = conf->hooks[1];
	ck_assert_str_eq(first->name.s, "b");
	ck_assert_uint_eq(first->timeout_ms, 3000);
	ck_assert_str_eq(first->on.v[0], "conflict");
	ck_assert_str_eq(second->name.s, "z");
	ck_assert_uint_eq(second->timeout_ms, 10000);
	ck_assert_uint_eq(second->on.n, 2);
	ck_assert_str_eq(second->command.v[1], "%c");
	ck_assert_int_eq(ph_conf_diff(none, conf, &diff), 0);
	ck_assert_uint_eq(diff->n_options, 1);
	ck_assert_str_eq(diff->options[0].path, "hooks");
	ck_assert(diff->options[0].reloadable);
	ph_conf_diff_free(diff);
	ck_assert_int_eq(ph_conf_hold(conf, none), 0);
	ck_assert_uint_eq(conf->n_hooks, 2); /* a reload brings them */
	ph_conf_free(none);
	ph_conf_free(conf);

	static const char twice[] = "hooks: {z: {on: [conflict], command: [a]}, y: {on: "
				    "[conflict], command: [a]}}\n";
	write_file("etc/conf.d/20.yaml", twice, strlen(twice));
	ck_assert_ptr_null(load_standard());
	ck_assert_uint_eq(errors.n, 2);
	ck_assert_str_eq(errors.v[0].text.text,
		"etc/conf.d/20.yaml:1:9: hooks: 'z' stands twice, first at etc/prochub.yaml:1:9");
	ck_assert_str_eq(errors.v[1].text.text,
		"etc/conf.d/20.yaml:1:48: hooks.y.on: 'conflict' is that of the hook 'b': one "
		"decides what becomes of a state");
}
END_TEST

START_TEST(test_many_hooks)
{
	char text[8192];
	size_t n = (size_t)snprintf(text, sizeof text, "hooks:\n");
	for (unsigned i = 0; i <= PH_CONF_HOOKS_MAX; i++)
		n += (size_t)snprintf(text + n, sizeof text - n,
			" h%u: {on: [node_dead], command: [a]}\n", 99 - i);
	refuse(text, "prochub.yaml:66:2: hooks: more than 64");
	*strstr(text, " h35") = '\0';
	struct ph_conf *conf = load_good(text);
	ck_assert_uint_eq(conf->n_hooks, PH_CONF_HOOKS_MAX);
	ck_assert_str_eq(conf->hooks[0]->name.s, "h36");
	ph_conf_free(conf);
}
END_TEST

START_TEST(test_not_root)
{
	static const char *const full[] = {"XDG_RUNTIME_DIR=/run/user/7", "HOME=/home/u", NULL};
	static const char *const state[] = {
		"XDG_RUNTIME_DIR=/r", "HOME=/home/u", "XDG_STATE_HOME=/s", NULL};
	static const char *const none[] = {"XDG_RUNTIME_DIR=", NULL};
	struct ph_conf_env env = {.environ = full, .hostname = "a", .etc = "etc", .uid = 7};
	struct ph_conf *conf = load_with("", 0, &env);
	ck_assert_str_eq(conf->node.run_dir, "/run/user/7/prochub");
	ck_assert_str_eq(conf->node.state_dir, "/home/u/.local/state/prochub");
	ph_conf_free(conf);
	env.environ = state;
	conf = load_with("", 0, &env);
	ck_assert_str_eq(conf->node.state_dir, "/s/prochub");
	ph_conf_free(conf);
	env.environ = none;
	ck_assert_ptr_null(load_with("", 0, &env));
	ck_assert_uint_eq(errors.n, 2);
	ck_assert_str_eq(errors.v[0].text.text, "node.run_dir: no default without an absolute "
						"XDG_RUNTIME_DIR: set one of the two");
	static const char dirs[] = "node: {run_dir: /r, state_dir: /s}\n"
				   "children: {a: {command: [a], user: u, group: g}}\n";
	ck_assert_ptr_null(load_with(dirs, strlen(dirs), &env));
	ck_assert_uint_eq(errors.n, 2);
	ck_assert_str_eq(errors.v[0].text.text,
		"prochub.yaml:2:30: children.a.user: only a daemon of root can set it");
	ck_assert_str_eq(errors.v[1].text.text,
		"prochub.yaml:2:39: children.a.group: only a daemon of root can set it");
}
END_TEST

START_TEST(test_accounts)
{
	struct ph_conf_env env = env_root();
	env.check_users = true;
	static const char good[] = "children: {a: {command: [a], user: root, group: root}}";
	ph_conf_free(load_with(good, strlen(good), &env));
	ck_assert_uint_eq(errors.n, 0);
	static const char bad[] =
		"children: {a: {command: [a], user: no-such-u, group: no-such-g}}\n"
		"control: {group: no-such-c}";
	ck_assert_ptr_null(load_with(bad, strlen(bad), &env));
	ck_assert_uint_eq(errors.n, 3);
	ck_assert_str_eq(errors.v[0].text.text,
		"prochub.yaml:1:30: children.a.user: no user 'no-such-u' on this machine");
	ck_assert_str_eq(errors.v[2].text.text,
		"prochub.yaml:2:11: control.group: no group 'no-such-c' on this machine");
}
END_TEST

START_TEST(test_socket_path)
{
	for (int n = 94; n <= 95; n++) {
		char text[256];
		(void)snprintf(text, sizeof text, "node: {run_dir: /%0*d}", n - 1, 0);
		struct ph_conf *conf = load(text);
		ck_assert_int_eq(conf != NULL, n == 94);
		if (!conf)
			ck_assert_str_eq(errors.v[0].text.text,
				"prochub.yaml:1:8: node.run_dir: the path of control.sock has 108 "
				"bytes, a socket takes at most 107");
		ph_conf_free(conf);
	}
}
END_TEST

START_TEST(test_dirs_apart)
{
	static const struct {
		const char *dirs, *sentence; /* NULL: accepted */
	} rows[] = {
		{"run_dir: /x, state_dir: /x/s", NULL},
		{"run_dir: /x, state_dir: /x/statement", NULL},
		{"run_dir: /x, state_dir: /x/a/state", NULL},
		{"run_dir: /x, state_dir: /xstate", NULL},
		{"run_dir: /x/run, state_dir: /x", NULL},
		{"run_dir: /, state_dir: /s", NULL},
		{"run_dir: /x, state_dir: /x", "1:21: node.state_dir: node.run_dir and "
					       "node.state_dir must be two folders"},
		{"run_dir: /x/y, state_dir: //x/./z/../y/",
			"1:23: node.state_dir: node.run_dir and node.state_dir must be two "
			"folders"},
		{"run_dir: /x, state_dir: /x/state",
			"1:21: node.state_dir: 'state' in node.run_dir is a file of the daemon's "
			"own"},
		{"run_dir: /x, state_dir: /x//state/below",
			"1:21: node.state_dir: 'state' in node.run_dir is a file of the daemon's "
			"own"},
		{"run_dir: /x, state_dir: /x/control.sock",
			"1:21: node.state_dir: 'control.sock' in node.run_dir is a file of the "
			"daemon's own"},
		{"run_dir: /var/lib/prochub/journal",
			"1:8: node.run_dir: 'journal' in node.state_dir is a file of the daemon's "
			"own"},
		{"state_dir: /run/prochub/lock",
			"1:8: node.state_dir: 'lock' in node.run_dir is a file of the daemon's "
			"own"},
	};
	for (size_t i = 0; i < LENGTH(rows); i++) {
		char text[256], sentence[256];
		(void)snprintf(text, sizeof text, "node: {%s}", rows[i].dirs);
		(void)snprintf(sentence, sizeof sentence, "prochub.yaml:%s", rows[i].sentence);
		if (rows[i].sentence)
			refuse(text, sentence);
		else
			ph_conf_free(load_good(text));
	}
}
END_TEST

START_TEST(test_children_at_run_time)
{
	struct ph_conf_env env = env_root();
	struct ph_conf *base = load_good("defaults: {stop_timeout: 9s}"), *conf = NULL;
	static const char good[] = "children: {a: {command: [\"${HOME}/x\"]}}";
	static const char bare[] = "a: {command: [x]}\nb: {command: [y]}\n";
	static const char mark[] = "a: {command: [x], added: true}";
	static const char bad[] = "node: {name: x}\nchildren: {a: {}, a: {}}\ndefaults: {}\n";
	ck_assert_int_eq(
		ph_conf_load_children("add", good, strlen(good), base, &env, &conf, &errors), 0);
	ph_conf_free(base);
	ck_assert_uint_eq(conf->n_children, 1);
	ck_assert_uint_eq(conf->children[0]->stop_timeout_ms, 9000);
	ck_assert_str_eq(conf->children[0]->command.v[0], "/root/x");
	ck_assert(conf->children[0]->added);
	/* The text that travels says so, and says nothing else of it. */
	char *text = ph_conf_child_text(conf->children[0]);
	ck_assert_ptr_nonnull(strstr(text, ",\"added\":true}"));
	struct ph_conf_child *read = NULL;
	ck_assert_int_eq(ph_conf_child_parse("a", text, strlen(text), &read, &errors), 0);
	ck_assert(read->added && ph_conf_child_equal(read, conf->children[0]));
	ph_conf_child_free(read);
	free(text);
	ph_conf_free(conf);
	ck_assert_int_eq(
		ph_conf_load_children("add", bare, strlen(bare), NULL, &env, &conf, &errors), 0);
	ck_assert_uint_eq(conf->n_children, 2);
	ck_assert_str_eq(conf->children[1]->name.s, "b");
	ph_conf_free(conf);
	ck_assert_int_eq(
		ph_conf_load_children("add", mark, strlen(mark), NULL, &env, &conf, &errors),
		-EINVAL);
	ck_assert_ptr_nonnull(strstr(errors.v[0].text.text, "unknown option 'added'"));
	ck_assert_int_eq(ph_conf_load_children("add", bad, strlen(bad), NULL, &env, &conf, &errors),
		-EINVAL);
	ck_assert_uint_eq(errors.n, 4);
	ck_assert_str_eq(
		errors.v[0].text.text, "add:1:1: 'node' is not possible here, only 'children'");
	ck_assert_str_eq(
		errors.v[2].text.text, "add:2:19: children: 'a' stands twice, first at add:2:12");
}
END_TEST

START_TEST(test_system_environment)
{
	struct ph_conf_env env;
	ph_conf_env_system(&env);
	ck_assert_uint_eq(env.uid, geteuid());
	ck_assert_str_eq(env.etc, "/etc/prochub");
	ck_assert(env.check_users);
}
END_TEST

START_TEST(test_advice)
{
	static const struct {
		const char *text;
		bool advice;
	} rows[] = {
		{"{listen: 'tcp://127.0.0.1:1', peers: ['tcp://127.0.0.2:1']}", false},
		{"{listen: 'tcp://127.0.0.1:1', peers: ['tcp://127.0.0.1:1', 'tcp://127.0.0.2:1'],"
		 " partition: {strategy: majority}}",
			true},
		{"{listen: 'tcp://127.0.0.1:1', peers: ['tcp://127.0.0.3:1', 'tcp://127.0.0.2:1'],"
		 " partition: {strategy: majority}}",
			false},
	};
	for (size_t i = 0; i < LENGTH(rows); i++) {
		char text[256];
		(void)snprintf(text, sizeof text, "{cluster: %s}", rows[i].text);
		struct ph_conf *conf = load(text);
		ck_assert_msg(conf != NULL, "%s", text);
		ck_assert_msg((ph_conf_advice(conf) != NULL) == rows[i].advice, "%s", text);
		ph_conf_free(conf);
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {test_empty_is_a_configuration, test_child_defaults,
		test_all_of_a_child, test_word_null, test_sentences, test_cluster_sentences,
		test_key_file, test_cluster_fields, test_many_peers,
		test_errors_in_order_and_bounded, test_defaults, test_standard_files,
		test_hooks_of_several_files, test_many_hooks, test_not_root, test_accounts,
		test_socket_path, test_dirs_apart, test_children_at_run_time,
		test_system_environment, test_advice};
	return run_suite("conf", tests, LENGTH(tests));
}
