/* The verbs of the control socket over a hub that is made up: what is asked, what is answered. */
#include <check.h>
#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "io/clock.h"
#include "run_tests.h"
#include "shell_parts.h"
#include "shell_ctl.h"
#include "shell_emit.h"
#include "shell_logs.h"

#define WAIT_MS 5000

static struct ph_shell shell;
static struct ph_conf conf;
static char dir[] = "/tmp/prochub-verb-XXXXXX", path[64];
static int fd = -1;
static struct ph_conf_child filed, *filed_list[] = {&filed};

/* ---- the rest of the shell */

static struct ph_command commands[16];
static unsigned n_commands, n_detached;
static char added[PH_NAME_SIZE]; /* the first child of the last ADD */

void ph_shell_push_flat(
	struct ph_shell *s, const struct ph_event *event, const void *flat, size_t size)
{
	ck_assert_ptr_eq(s, &shell);
	ck_assert_int_eq(event->kind, PH_EV_COMMAND);
	ck_assert_uint_eq(size, sizeof commands[0]);
	ck_assert_uint_lt(n_commands, 16);
	memcpy(&commands[n_commands++], flat, size);
}

void ph_shell_push(
	struct ph_shell *s, const struct ph_event *event, void (*release)(void *), void *owned)
{
	ck_assert_ptr_eq(s, &shell);
	ck_assert_uint_ne(event->ticket, 0);
	if (event->kind == PH_EV_COMMAND) {
		ck_assert_uint_lt(n_commands, 16);
		commands[n_commands++] = *event->command;
		(void)snprintf(added, sizeof added, "%s", event->command->specs[0]->child.s);
	} else {
		ck_assert_int_eq(event->kind, PH_EV_DETACHED);
		n_detached++;
	}
	if (release)
		release(owned);
}

void *ph_shell_alloc(size_t size)
{
	void *at = calloc(1, size);
	ck_assert_ptr_nonnull(at);
	return at;
}

int ph_shell_kept_take(struct ph_shell *s, enum ph_kept which)
{
	(void)s;
	(void)which;
	return -1; /* this daemon was not there before */
}

/* Who asks for lines gets one, the next one and the end when it is time. */
static struct ph_logs_want asked;
static unsigned n_left;
static char asker;

struct ph_logs_asker *ph_shell_logs_ask(struct ph_shell *s, const struct ph_logs_want *want)
{
	ck_assert_ptr_eq(s, &shell);
	asked = *want;
	return (struct ph_logs_asker *)(void *)&asker;
}

void ph_shell_logs_leave(struct ph_logs_asker *which)
{
	ck_assert_ptr_eq(which, &asker);
	n_left++;
}

static struct ph_conf_child spec_child;

const struct ph_conf_child *ph_shell_specs_find(
	struct ph_shell *s, const struct ph_spec *spec, struct ph_err *err)
{
	(void)s;
	(void)spec;
	(void)err;
	return &spec_child;
}

char *ph_shell_strdup(const char *text)
{
	char *copy = strdup(text);
	ck_assert_ptr_nonnull(copy);
	return copy;
}

const struct ph_spec *ph_shell_spec_of_child(const struct ph_conf_child *child)
{
	struct ph_spec spec = {.child = child->name};
	return ph_spec_clone(&spec);
}

void ph_shell_specs_look_up(struct ph_shell *s, const struct ph_spec *spec)
{
	(void)s, (void)spec;
}

void ph_hub_count(const struct ph_hub *hub, struct ph_hub_counts *ret)
{
	(void)hub;
	*ret = (struct ph_hub_counts){.entries = 4};
}

/* core's, without what it needs */
const struct ph_spec *ph_spec_clone(const struct ph_spec *spec)
{
	struct ph_spec *copy = ph_shell_alloc(sizeof *copy);
	*copy = *spec;
	return copy;
}

void ph_spec_free(const struct ph_spec *spec)
{
	free((void *)(uintptr_t)spec);
}

int ph_shell_reload(
	struct ph_shell *s, bool dry_run, bool spread, json_t **ret_json, struct ph_err *err)
{
	ck_assert_ptr_eq(s, &shell);
	if (!dry_run) {
		*ret_json = json_pack("{s:[s,s]}", "errors", "a:1:1: no good", "a:2:1: nor that");
		return ph_err_set(err, EINVAL, "a:1:1: no good (and 1 more)");
	}
	*ret_json = json_pack("{s:[{s:s,s:s,s:[]}],s:[],s:[s]}", "children", "child", "web",
		"change", "changed", "options", "options", spread ? "spread" : "differs", "room");
	return 0;
}

/* ---- the hub: web on a, room/0 and room/1 on b (not reachable), gone is a tombstone */

static struct ph_migration_info migration;
static bool migrating, stale;

void ph_hub_members(const struct ph_hub *hub, uint64_t now_ms,
	bool (*each)(void *arg, const struct ph_member_view *member), void *arg)
{
	static const struct ph_member_view views[] = {
		{.info = {.name = {"b"}, .state = PH_MEMBER_ALIVE}, .self = true},
		{.info = {.name = {"a"}, .state = PH_MEMBER_SUSPECT}},
	};
	(void)hub;
	(void)now_ms;
	if (each(arg, &views[0]))
		(void)each(arg, &views[1]);
}

void ph_hub_entries(const struct ph_hub *hub, uint64_t now_ms, const struct ph_name *child,
	bool (*each)(void *arg, const struct ph_entry_view *entry), void *arg)
{
	static const struct ph_entry_view views[] = {
		{.entry = {.key = {.child = {"gone"}}, .state = PH_CHILD_REMOVED}},
		{.entry = {.key = {.child = {"room"}}, .node = {"b"}, .state = PH_CHILD_RUNNING},
			.owned = true},
		{.entry = {.key = {.child = {"room"}, .instance = 1},
			 .node = {"b"},
			 .state = PH_CHILD_RUNNING},
			.owned = true},
		{.entry = {.key = {.child = {"web"}},
			 .node = {"a"},
			 .state = PH_CHILD_RUNNING,
			 .epoch = 5,
			 .role = PH_ROLE_ACTIVE,
			 .ready = true},
			.owned = true,
			.reachable = true,
			.wanted = true},
	};
	(void)hub;
	(void)now_ms;
	for (size_t i = 0; i < sizeof views / sizeof *views; i++) {
		if (child && !ph_name_equal(child, &views[i].entry.key.child))
			continue;
		if (!each(arg, &views[i]))
			return;
	}
}

void ph_hub_migrations(const struct ph_hub *hub, uint64_t now_ms,
	bool (*each)(void *arg, const struct ph_migration_info *m), void *arg)
{
	(void)hub;
	(void)now_ms;
	if (migrating)
		(void)each(arg, &migration);
}

const struct ph_spec *ph_hub_spec(const struct ph_hub *hub, const struct ph_name *child)
{
	static const struct ph_spec spec = {
		.child = {"room"}, .revision = 9, .instances = 2, .text = "{\"instances\":2}"};
	(void)hub;
	return ph_name_equal(child, &spec.child) ? &spec : NULL;
}

int ph_hub_quorum(const struct ph_hub *hub)
{
	(void)hub;
	return -1;
}

bool ph_hub_stale(const struct ph_hub *hub, uint64_t now_ms)
{
	(void)hub;
	(void)now_ms;
	return stale;
}

/* ---- the client */

static void nothing(evutil_socket_t f, short what, void *arg)
{
	(void)f;
	(void)what;
	(void)arg;
}

static void turn(void)
{
	struct timeval wait = {0, 5000};
	struct event *timer = evtimer_new(shell.base, nothing, NULL);
	evtimer_add(timer, &wait);
	event_base_loop(shell.base, EVLOOP_ONCE);
	event_free(timer);
}

static void dial(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	(void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
}

static void say(const char *request)
{
	ck_assert_int_eq(send(fd, request, strlen(request), 0), (ssize_t)strlen(request));
	ck_assert_int_eq(send(fd, "\n", 1, 0), 1);
	for (int i = 0; i < 4; i++)
		turn();
}

static const char *hear(void)
{
	static char line[8192];
	size_t n = 0;
	uint64_t end_ms = ph_clock_now_ms() + WAIT_MS;
	for (;;) {
		ssize_t got = recv(fd, line + n, 1, 0);
		if (got == 0 || (got < 0 && errno != EAGAIN))
			break;
		ck_assert_msg(ph_clock_now_ms() < end_ms, "no answer");
		if (got < 0)
			turn();
		else if (line[n++] == '\n')
			break;
		ck_assert_uint_lt(n, sizeof line);
	}
	line[n ? n - 1 : 0] = '\0';
	return line;
}

#define HAS(part) \
	do { \
		const char *line_ = hear(); \
		ck_assert_msg(strstr(line_, part) != NULL, "%s is not in %s", part, line_); \
	} while (0)

static void set_up(void)
{
	struct ph_err err = {""};
	memset(&shell, 0, sizeof shell);
	memset(&conf, 0, sizeof conf);
	n_commands = n_detached = 0;
	migrating = stale = false;
	conf.cluster.name = ph_name_of("main");
	conf.log.level = PH_CONF_LEVEL_ERROR;
	shell.conf = &conf;
	filed.name = ph_name_of("filed");
	filed.at = (struct ph_conf_origin){PH_CONF_FROM_FILE, "/etc/x.yaml", 7, 3};
	conf.children = filed_list;
	conf.n_children = 1;
	(void)snprintf(shell.node, sizeof shell.node, "b");
	shell.base = event_base_new();
	strcpy(strrchr(dir, '-'), "-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	(void)snprintf(path, sizeof path, "%s/c", dir);
	ck_assert_int_eq(ph_shell_emit_new(&shell, &shell.emit), 0);
	ck_assert_int_eq(ph_shell_users_new(&shell), 0);
	int error = ph_shell_ctl_new(&shell, path, 0600, (gid_t)-1, &shell.ctl, &err);
	ck_assert_msg(error == 0, "%s", err.text);
	dial();
}

static void tear_down(void)
{
	close(fd);
	ph_shell_ctl_free(shell.ctl);
	ph_shell_users_free(&shell);
	ph_shell_emit_free(shell.emit);
	event_base_free(shell.base);
	(void)rmdir(dir);
}

static void answer(
	unsigned command, int error, const char *text, size_t n, const struct ph_outcome *outcomes)
{
	struct ph_answer a = {.ticket = commands[command].ticket,
		.error = error,
		.n_outcomes = n,
		.outcomes = outcomes};
	(void)snprintf(a.text, sizeof a.text, "%s", text);
	ph_shell_ctl_act(shell.ctl, &(struct ph_action){.kind = PH_ACT_ANSWER, .answer = &a});
}

/* ---- one request, one answer */

static const struct {
	const char *request, *answer;
} at_once[] = {
	{"{\"op\":\"ping\",\"req\":1}", "{\"re\":1,\"ok\":true}"},
	{"{\"op\":\"nodes\",\"req\":1,\"whatever\":1}",
		"\"node\":\"b\",\"cluster\":\"main\",\"nodes\":[{\"name\":\"a\""},
	{"{\"op\":\"status\",\"req\":1}", "\"quorum\":null,\"children\":[{\"child\":\"room\""},
	{"{\"op\":\"status\",\"req\":1,\"children\":[\"room/1\"]}",
		"\"children\":[{\"child\":\"room\",\"instance\":1,"},
	{"{\"op\":\"status\",\"req\":1,\"children\":[\"room/1\",\"web\"]}",
		"\"children\":[{\"child\":\"room\",\"instance\":1,"},
	{"{\"op\":\"status\",\"req\":1,\"children\":[\"web\",\"nope\"]}",
		"\"code\":\"not_found\",\"text\":\"no such child: nope\""},
	{"{\"op\":\"status\",\"req\":1,\"children\":[\"room/2\"]}", "no such child: room/2"},
	{"{\"op\":\"status\",\"req\":1,\"children\":[\"gone\"]}", "no such child: gone"},
	{"{\"op\":\"status\",\"req\":1,\"children\":\"web\"}",
		"\"code\":\"bad_request\",\"text\":\"children: expected a list"},
	{"{\"op\":\"status\",\"req\":1,\"children\":[\"web\",\"a/b\"]}", "children[1]: expected"},
	{"{\"op\":\"status\",\"req\":1,\"children\":[7]}", "children[0]: expected"},
	{"{\"op\":\"show\",\"req\":1}", "\"bad_request\",\"text\":\"child: missing\""},
	{"{\"op\":\"show\",\"req\":1,\"child\":\"room\"}",
		"\"spec\":{\"instances\":2},\"revision\":9,\"differs\":false,\"instances\":[{"},
	{"{\"op\":\"show\",\"req\":1,\"child\":\"room\",\"instance\":-1}", "instance: expected"},
	{"{\"op\":\"show\",\"req\":1,\"child\":\"web\"}", "\"spec\":null,\"revision\":null"},
	{"{\"op\":\"lookup\",\"req\":1,\"child\":\"web\"}",
		"{\"re\":1,\"ok\":true,\"child\":\"web\",\"instances\":[{\"instance\":0,"
		"\"replica\":0,\"node\":\"a\",\"epoch\":5,\"state\":\"running\",\"ready\":true,"
		"\"role\":\"active\",\"meta\":null}]}"},
	{"{\"op\":\"lookup\",\"req\":1,\"child\":\"room\"}",
		"\"child\":\"room\",\"instances\":[]}"},
	{"{\"op\":\"lookup\",\"req\":1,\"child\":\"nope\"}", "\"code\":\"not_found\""},
	{"{\"op\":\"lookup\",\"req\":1,\"child\":\"web\",\"instance\":1}", "no such child: web/1"},
	{"{\"op\":\"migrations\",\"req\":1}", "\"migrations\":[]"},
	{"{\"op\":\"migrations\",\"req\":1,\"id\":\"00112233445566778899aabbccddeeff\"}",
		"\"code\":\"not_found\""},
	{"{\"op\":\"migrations\",\"req\":1,\"id\":\"x\"}", "id: expected 32"},
	{"{\"op\":\"logs\",\"req\":1}", "child: missing"},
	{"{\"op\":\"logs\",\"req\":1,\"child\":\"nope\"}", "no such child: nope"},
	{"{\"op\":\"logs\",\"req\":1,\"child\":\"web\",\"lines\":10001}", "from 0 to 10000"},
	{"{\"op\":\"logs\",\"req\":1,\"child\":\"web\",\"follow\":1}", "true or false"},
	{"{\"op\":\"reload\",\"req\":1,\"dry_run\":true}",
		"\"added\":[],\"removed\":[],\"changed\":[{\"child\":\"web\""},
	{"{\"op\":\"reload\",\"req\":1}", "\"failed\",\"text\":\"a:1:1: no good (and 1 more)\","
					  "\"errors\":[\"a:1:1: no good\",\"a:2:1: nor that\"]}"},
	{"{\"op\":\"reload\",\"req\":1,\"dry_run\":true}", "\"differs\":[\"room\"]}"},
	{"{\"op\":\"reload\",\"req\":1,\"dry_run\":true,\"cluster\":true}",
		"\"spread\":[\"room\"]}"},
	{"{\"op\":\"reload\",\"req\":1,\"cluster\":\"yes\"}", "cluster: expected true or false"},
	{"{\"op\":\"events\",\"req\":1}", "{\"re\":1,\"ok\":true}"},
	{"{\"op\":\"events\",\"req\":1,\"since\":\"now\"}", "since: expected"},
	{"{\"op\":\"start\",\"req\":1}", "children: missing"},
	{"{\"op\":\"stop\",\"req\":1,\"children\":[]}", "children: missing"},
	{"{\"op\":\"move\",\"req\":1,\"child\":\"web\"}", "node: missing"},
	{"{\"op\":\"move\",\"req\":1,\"child\":\"web\",\"node\":\"-b\"}", "node: expected a name"},
	{"{\"op\":\"wait\",\"req\":1,\"child\":\"web\",\"for\":\"rain\"}", "for: expected"},
	{"{\"op\":\"drain\",\"req\":1,\"force\":1}", "force: expected true or false"},
	{"{\"op\":\"cancel\",\"req\":1}", "migration: missing"},
	{"{\"op\":\"cancel\",\"req\":1,\"migration\":\"00f\"}", "migration: expected 4 to 32"},
	{"{\"op\":\"cancel\",\"req\":1,\"migration\":\"00FF\"}", "migration: expected 4 to 32"},
	{"{\"op\":\"cancel\",\"req\":1,\"migration\":\"00112233445566778899aabbccddeeff0\"}",
		"migration: expected 4 to 32"},
	{"{\"op\":\"cancel\",\"req\":1,\"migration\":7}", "migration: expected 4 to 32"},
	{"{\"op\":\"forget\",\"req\":1}", "node: missing"},
	{"{\"op\":\"forget\",\"req\":1,\"node\":\"-b\"}", "node: expected a name"},
	{"{\"op\":\"swap\",\"req\":1}", "children: missing"},
	{"{\"op\":\"top\",\"req\":1}",
		"\"not_available\",\"text\":\"'top' is not available in this version\""},
	{"{\"op\":\"add\",\"req\":1}", "config: missing"},
	{"{\"op\":\"add\",\"req\":1,\"config\":7}", "config: expected a text (YAML or JSON)"},
	{"{\"op\":\"add\",\"req\":1,\"config\":\"\"}", "config: there is no child in it"},
	{"{\"op\":\"add\",\"req\":1,\"config\":\"x: {comand: [a]}\",\"file\":\"f.yaml\"}",
		"\"bad_request\",\"text\":\"f.yaml:1:1: children.x: 'command' is missing (and 1 "
		"more)\",\"errors\":[\"f.yaml:1:1: "},
	{"{\"op\":\"add\",\"req\":1,\"config\":{\"x\":{}}}", "add:1:2: children.x: 'command'"},
	{"{\"op\":\"add\",\"req\":1,\"config\":\"x: {command: [a], instances: 99997}\"}",
		"\"refused\",\"text\":\"more than 100000 instances"},
	{"{\"op\":\"add\",\"req\":1,\"config\":\"\",\"keep_going\":1}",
		"keep_going: expected true or false"},
	{"{\"op\":\"remove\",\"req\":1}", "children: missing"},
	{"{\"op\":\"remove\",\"req\":1,\"child\":\"nope\"}", "\"not_found\",\"text\":\"no child "},
	{"{\"op\":\"remove\",\"req\":1,\"children\":[\"room/1\"]}",
		"\"bad_request\",\"text\":\"room/1: a child is removed as a whole"},
	{"{\"op\":\"remove\",\"req\":1,\"child\":\"filed\"}",
		"\"refused\",\"text\":\"filed: it stands in /etc/x.yaml:7: "},
	{"{\"op\":\"signal\",\"req\":1,\"child\":\"web\"}", "signal: missing"},
	{"{\"op\":\"signal\",\"req\":1,\"child\":\"web\",\"signal\":\"HUPP\"}",
		"\"bad_request\",\"text\":\"signal: expected the name of a signal"},
	{"{\"op\":\"signal\",\"req\":1,\"child\":\"web\",\"signal\":0}", "signal: expected"},
	{"{\"op\":\"signal\",\"req\":1,\"child\":\"web\",\"signal\":65}", "signal: expected"},
	{"{\"op\":\"signal\",\"req\":1,\"signal\":\"HUP\"}", "children: missing"},
	{"{\"op\":\"stauts\",\"req\":1}",
		"\"unknown_op\",\"text\":\"unknown verb 'stauts', did you mean 'status'?\""},
	{"{\"op\":\"xyzzy\",\"req\":1}", "\"unknown_op\",\"text\":\"unknown verb 'xyzzy'\""},
};

START_TEST(test_at_once)
{
	say(at_once[_i].request);
	HAS(at_once[_i].answer);
	ck_assert_uint_eq(n_commands, 0);
}
END_TEST

START_TEST(test_stale)
{
	stale = true;
	say("{\"op\":\"lookup\",\"req\":1,\"child\":\"web\"}");
	HAS("\"stale\":true");
}
END_TEST

/* ---- orders */

START_TEST(test_children)
{
	static const struct ph_outcome outcomes[] = {
		{.key = {.child = {"room"}}, .ok = true},
		{.key = {.child = {"room"}, .instance = 1}, .text = "exit code 1"},
	};
	say("{\"op\":\"start\",\"req\":4,\"children\":[\"room\",\"web/"
	    "0\",\"nope\"],\"no_wait\":true}");
	ck_assert_uint_eq(n_commands, 3);
	ck_assert_int_eq(commands[0].verb, PH_VERB_START);
	ck_assert_str_eq(commands[0].child.s, "room");
	ck_assert(commands[0].all_instances && commands[0].no_wait);
	ck_assert(!commands[1].all_instances && commands[1].instance == 0);
	answer(1, 0, "", 0, NULL);
	answer(0, EREMOTEIO, "some failed", 2, outcomes);
	answer(2, ENOENT, "no such child: nope", 0, NULL);
	ck_assert_str_eq(hear(), "{\"re\":4,\"ok\":false,\"code\":\"partly\",\"text\":"
				 "\"start: 2 done, 2 failed: room/1: exit code 1\",\"children\":["
				 "{\"child\":\"web\",\"instance\":0,\"result\":\"done\"},"
				 "{\"child\":\"room\",\"instance\":0,\"result\":\"done\"},"
				 "{\"child\":\"room\",\"instance\":1,\"result\":\"failed\","
				 "\"text\":\"exit code 1\"},"
				 "{\"child\":\"nope\",\"instance\":null,\"result\":\"not_found\","
				 "\"text\":\"no such child: nope\"}]}");
	answer(2, 0, "", 0, NULL); /* a second word on it is for nobody */
	say("{\"op\":\"swap\",\"req\":6,\"child\":\"room\",\"instance\":1}");
	answer(3, EREMOTEIO, "some failed", 1, &outcomes[1]);
	ck_assert_str_eq(hear(),
		"{\"re\":6,\"ok\":false,\"code\":\"failed\",\"text\":\"room/1: exit code 1\","
		"\"children\":[{\"child\":\"room\",\"instance\":1,\"result\":\"failed\","
		"\"text\":\"exit code 1\"}]}");
	say("{\"op\":\"stop\",\"req\":5,\"child\":\"nope\"}");
	answer(4, ENOENT, "no such child: nope", 0, NULL);
	ck_assert_str_eq(hear(), "{\"re\":5,\"ok\":false,\"code\":\"not_found\","
				 "\"text\":\"no such child: nope\"}");
}
END_TEST

START_TEST(test_move)
{
	static const struct ph_outcome moved = {
		.key = {.child = {"web"}}, .ok = true, .id = {{0xab}}};
	say("{\"op\":\"move\",\"req\":1,\"child\":\"web\",\"node\":\"b\",\"force\":true}");
	ck_assert_uint_eq(n_commands, 1);
	ck_assert(commands[0].verb == PH_VERB_MOVE && commands[0].force && !commands[0].no_wait);
	ck_assert_str_eq(commands[0].node.s, "b");
	migration = (struct ph_migration_info){.id = {{0xab}},
		.key = {.child = {"web"}},
		.from = {"a"},
		.to = {"b"},
		.phase = PH_PHASE_COPY,
		.bytes = 1000,
		.elapsed_ms = 500};
	migrating = true;
	ck_assert_str_eq(hear(),
		"{\"re\":1,\"ok\":true,\"more\":true,\"progress\":[{"
		"\"id\":\"ab000000000000000000000000000000\",\"child\":\"web\",\"instance\":0,"
		"\"from\":\"a\",\"to\":\"b\",\"phase\":\"copy\",\"round\":0,\"bytes\":1000,"
		"\"total\":null,\"rate\":2000,\"elapsed_ms\":500,\"instances\":null}],\"done\":0,"
		"\"left\":1}");
	for (int i = 0; i < 60; i++)
		turn(); /* nothing changes, nothing is said */
	migration.bytes = 2000;
	HAS("\"bytes\":2000");
	answer(0, 0, "", 1, &moved);
	ck_assert_str_eq(hear(),
		"{\"re\":1,\"ok\":true,\"moved\":[{\"child\":\"web\",\"instance\":0,"
		"\"id\":\"ab000000000000000000000000000000\",\"from\":\"a\",\"to\":\"b\",\"bytes\":"
		"2000,\"elapsed_ms\":500}],\"left\":[],"
		"\"result\":\"done\"}");
}
END_TEST

START_TEST(test_logs)
{
	say("{\"op\":\"logs\",\"req\":7,\"child\":\"room\",\"instance\":1,\"lines\":3}");
	for (int i = 0; i < 200 && !asked.line; i++)
		turn();
	ck_assert_str_eq(asked.filter.child.s, "room");
	ck_assert(asked.filter.has_instance && asked.filter.instance == 1);
	ck_assert(asked.lines == 3 && !asked.follow);
	asked.line(asked.arg, json_pack("{s:s}", "text", "hello"));
	ck_assert_str_eq(hear(), "{\"re\":7,\"ok\":true,\"more\":true,\"text\":\"hello\"}");
	ck_assert_uint_eq(asked.backlog(asked.arg), 0);
	asked.end(asked.arg, NULL);
	ck_assert_uint_eq(n_left, 1);
	ck_assert_str_eq(hear(), "{\"re\":7,\"ok\":true,\"child\":\"room\"}");
	asked.line = NULL;
	say("{\"op\":\"logs\",\"req\":8,\"child\":\"web\",\"follow\":true}");
	for (int i = 0; i < 200 && !asked.line; i++)
		turn();
	ck_assert(asked.lines == 10 && asked.follow && !asked.filter.has_instance);
	asked.end(asked.arg, "node b: it does not answer");
	ck_assert_str_eq(hear(), "{\"re\":8,\"ok\":false,\"code\":\"failed\","
				 "\"text\":\"node b: it does not answer\"}");
	spec_child.log.to = PH_CONF_LOG_NULL;
	say("{\"op\":\"logs\",\"req\":9,\"child\":\"room\"}");
	HAS("\"refused\",\"text\":\"room writes nowhere: its log.to is null\"");
	spec_child.log.to = PH_CONF_LOG_INHERIT;
	asked.line = NULL;
	say("{\"op\":\"logs\",\"req\":10,\"child\":\"web\",\"follow\":true}");
	for (int i = 0; i < 200 && !asked.line; i++)
		turn();
	close(fd);
	fd = -1;
	for (int i = 0; i < 200 && n_left < 3; i++)
		turn(); /* whoever has gone is not told any more */
	ck_assert_uint_eq(n_left, 3);
	dial();
}
END_TEST

START_TEST(test_move_not_done)
{
	static const struct ph_outcome outcomes[] = {
		{.key = {.child = {"room"}}, .ok = true},
		{.key = {.child = {"room"}, .instance = 1}, .text = "busy"},
	};
	say("{\"op\":\"drain\",\"req\":1}");
	ck_assert_str_eq(commands[0].node.s, "b");
	answer(0, EINPROGRESS, "", 2, outcomes);
	const char *line;
	do
		line = hear();
	while (strstr(line, "\"more\":true"));
	ck_assert_ptr_nonnull(strstr(line, "\"ok\":false,\"code\":\"partly\",\"text\":"
					   "\"drain: 1 moved, 1 left: room/1: busy\""));
	ck_assert_ptr_nonnull(strstr(line, "\"left\":[{\"child\":\"room\",\"instance\":1,"
					   "\"text\":\"busy\"}],\"result\":\"partly\""));
	say("{\"op\":\"move\",\"req\":2,\"child\":\"web\",\"node\":\"b\",\"no_wait\":true}");
	answer(1, EREMOTEIO, "", 1, &outcomes[1]);
	HAS("{\"re\":2,\"ok\":false,\"code\":\"failed\",\"text\":\"busy\"");
	say("{\"op\":\"move\",\"req\":3,\"child\":\"web\",\"node\":\"z\",\"no_wait\":true}");
	answer(2, ENOENT, "no such node: z", 0, NULL);
	HAS("{\"re\":3,\"ok\":false,\"code\":\"not_found\",\"text\":\"no such node: z\"");
	say("{\"op\":\"undrain\",\"req\":4,\"node\":\"a\"}");
	answer(3, 0, "", 0, NULL);
	ck_assert_str_eq(
		hear(), "{\"re\":4,\"ok\":true,\"moved\":[],\"left\":[],\"result\":\"done\"}");
}
END_TEST

START_TEST(test_cancel)
{
	static const struct ph_outcome outcome = {
		.key = {.child = {"web"}}, .ok = true, .id = {{0xab, 0xcd}}};
	migration = (struct ph_migration_info){.id = {{0xab, 0xcd}},
		.key = {.child = {"web"}},
		.from = {"a"},
		.to = {"b"},
		.phase = PH_PHASE_COPY,
		.result = PH_RESULT_ABORTED,
		.reason = "cancelled"};
	migrating = true;
	say("{\"op\":\"cancel\",\"req\":1,\"migration\":\"abcd0\"}");
	ck_assert(commands[0].verb == PH_VERB_CANCEL && commands[0].id_digits == 5);
	ck_assert(commands[0].id.b[0] == 0xab && commands[0].id.b[1] == 0xcd);
	answer(0, 0, "", 1, &outcome);
	HAS("{\"re\":1,\"ok\":true,\"id\":\"abcd0000000000000000000000000000\",\"child\":\"web\"");
	say("{\"op\":\"cancel\",\"req\":2,\"migration\":\"abcd\",\"no_wait\":true}");
	ck_assert(commands[1].no_wait && commands[1].id_digits == 4);
	answer(1, EBUSY, "it is committed", 1, &outcome);
	HAS("{\"re\":2,\"ok\":false,\"code\":\"refused\",\"text\":\"web/0: it is committed\","
	    "\"id\":\"abcd0000000000000000000000000000\"");
	say("{\"op\":\"cancel\",\"req\":3,\"migration\":\"abcd\"}");
	answer(2, ENOENT, "no such migration is known", 0, NULL);
	ck_assert_str_eq(hear(), "{\"re\":3,\"ok\":false,\"code\":\"not_found\","
				 "\"text\":\"no such migration is known\"}");
	say("{\"op\":\"cancel\",\"req\":4,\"migration\":\"abcd\"}");
	answer(3, ENOTUNIQ, "give more digits", 0, NULL);
	HAS("\"code\":\"failed\",\"text\":\"give more digits\"}");
}
END_TEST

START_TEST(test_forget)
{
	say("{\"op\":\"forget\",\"req\":1,\"node\":\"a\",\"no_wait\":true}");
	ck_assert(commands[0].verb == PH_VERB_FORGET && commands[0].no_wait);
	ck_assert_str_eq(commands[0].node.s, "a");
	answer(0, 0, "", 0, NULL);
	ck_assert_str_eq(hear(), "{\"re\":1,\"ok\":true,\"node\":\"a\"}");
	say("{\"op\":\"forget\",\"req\":2,\"node\":\"a\"}");
	answer(1, EBUSY, "node a lives", 0, NULL);
	ck_assert_str_eq(hear(), "{\"re\":2,\"ok\":false,\"code\":\"refused\","
				 "\"text\":\"node a lives\"}");
}
END_TEST

START_TEST(test_wait)
{
	say("{\"op\":\"wait\",\"req\":1,\"child\":\"web\",\"for\":\"moved\",\"timeout_ms\":50}");
	ck_assert(commands[0].wait_for == PH_WAIT_MOVED && commands[0].timeout_ms == 50);
	answer(0, ETIMEDOUT, "", 0, NULL);
	HAS("{\"re\":1,\"ok\":false,\"code\":\"timeout\"");
	say("{\"op\":\"wait\",\"req\":2,\"child\":\"room\",\"instance\":1,\"for\":\"ready\"}");
	ck_assert(commands[1].wait_for == PH_WAIT_READY && commands[1].instance == 1);
	answer(1, 0, "", 0, NULL);
	ck_assert_str_eq(hear(), "{\"re\":2,\"ok\":true,\"child\":\"room\",\"instance\":1}");
}
END_TEST

/* Whoever leaves no longer waits for anything. */
START_TEST(test_detached)
{
	say("{\"op\":\"wait\",\"req\":1,\"child\":\"web\",\"for\":\"stopped\"}");
	say("{\"op\":\"move\",\"req\":2,\"child\":\"web\",\"node\":\"b\"}");
	say("{\"op\":\"events\",\"req\":3,\"follow\":true}");
	ck_assert_uint_eq(n_commands, 2);
	close(fd);
	for (int i = 0; i < 100 && n_detached < 2; i++)
		turn();
	ck_assert_uint_eq(n_detached, 2);
	answer(0, 0, "", 0, NULL);
	answer(1, 0, "", 0, NULL);
	dial();
}
END_TEST

/* ---- events */

static void emit(const char *text)
{
	struct ph_emit e = {.kind = PH_EMIT_CHILD_STOPPED, .text = text};
	ph_shell_emit_act(shell.emit, &(struct ph_action){.kind = PH_ACT_EMIT, .emit = &e});
}

START_TEST(test_events)
{
	emit("one");
	emit("two");
	say("{\"op\":\"events\",\"req\":1}");
	HAS("{\"re\":1,\"ok\":true,\"more\":true,\"event\":\"child_stopped\"");
	HAS("\"seq\":2,\"text\":\"two\"}");
	ck_assert_str_eq(hear(), "{\"re\":1,\"ok\":true}");
	say("{\"op\":\"events\",\"req\":2,\"since\":1}");
	HAS("\"text\":\"two\"");
	ck_assert_str_eq(hear(), "{\"re\":2,\"ok\":true}");
	say("{\"op\":\"events\",\"req\":3,\"since\":\"2100-01-01T00:00:00Z\"}");
	ck_assert_str_eq(hear(), "{\"re\":3,\"ok\":true}");
	say("{\"op\":\"events\",\"req\":4,\"follow\":true}");
	emit("three");
	HAS("{\"re\":4,\"ok\":true,\"more\":true,\"event\":\"child_stopped\"");
	for (unsigned i = 0; i < 2 * PH_EMIT_RING; i++)
		emit("many");
	json_t *held = ph_shell_emit_held(shell.emit, 0, 0);
	ck_assert_uint_eq(json_array_size(held), PH_EMIT_RING);
	const json_t *last = json_array_get(held, PH_EMIT_RING - 1);
	ck_assert_int_eq(json_integer_value(json_object_get(last, "seq")), 3 + 2 * PH_EMIT_RING);
	json_decref(held);
}
END_TEST

START_TEST(test_add)
{
	const struct ph_outcome done[] = {{.key = {.child = {"x"}}, .ok = true},
		{.key = {.child = {"y"}}, .ok = true, .whole = true, .text = "unchanged"}};
	const struct ph_outcome failed[] = {{.key = {.child = {"x"}}, .text = "removed again"},
		{.key = {.child = {"y"}}, .text = "it ended"},
		{.key = {.child = {"z"}},
			.whole = true,
			.error = EEXIST,
			.text = "exists already"}};
	say("{\"op\":\"add\",\"req\":1,\"config\":{\"x\":{\"command\":[\"a\"]}},\"timeout_ms\":5}");
	say("{\"op\":\"add\",\"req\":2,\"config\":\"{x: {command: [a]}}\",\"keep_going\":true,"
	    "\"no_wait\":true}");
	say("{\"op\":\"add\",\"req\":3,\"config\":\"{x: {command: [a]}}\"}");
	ck_assert_uint_eq(n_commands, 3);
	ck_assert_str_eq(added, "x");
	ck_assert(commands[0].verb == PH_VERB_ADD && commands[0].n_specs == 1);
	ck_assert(!commands[0].keep_going && commands[0].timeout_ms == 5);
	ck_assert(commands[1].keep_going && commands[1].no_wait);
	answer(0, 0, "", 2, done);
	HAS("{\"re\":1,\"ok\":true,\"children\":[{\"child\":\"x\",\"instance\":0,\"result\":"
	    "\"done\"},{\"child\":\"y\",\"instance\":null,\"result\":\"unchanged\"}]}");
	answer(1, EINPROGRESS, "it ended", 3, failed);
	HAS("\"code\":\"partly\",\"text\":\"some children were not added: it ended\"");
	answer(2, EREMOTEIO, "it ended", 3, failed);
	HAS("{\"re\":3,\"ok\":false,\"code\":\"failed\",\"text\":\"y: it ended; nothing was "
	    "added\","
	    "\"children\":[{\"child\":\"x\",\"instance\":0,\"result\":\"failed\",\"text\":"
	    "\"removed "
	    "again\"},{\"child\":\"y\",\"instance\":0,\"result\":\"failed\",\"text\":\"it ended\"},"
	    "{\"child\":\"z\",\"instance\":null,\"result\":\"exists\",\"text\":\"exists "
	    "already\"}]}");
}
END_TEST

START_TEST(test_remove_and_signal)
{
	const struct ph_outcome rooms[] = {{.key = {.child = {"room"}}, .ok = true},
		{.key = {.child = {"room"}, .instance = 1}, .ok = true}};
	say("{\"op\":\"remove\",\"req\":1,\"children\":[\"room\",\"web\",\"room\"]}");
	ck_assert_uint_eq(n_commands, 2); /* each once */
	ck_assert(commands[1].verb == PH_VERB_REMOVE && commands[1].all_instances);
	answer(0, 0, "", 2, rooms);
	answer(1, 0, "", 1, rooms);
	HAS("\"children\":[{\"child\":\"room\",\"instance\":null,\"result\":\"done\"},"
	    "{\"child\":\"web\",\"instance\":null,\"result\":\"done\"}]}");
	static const char *const words[] = {"\"HUP\"", "\"sighup\"", "\"1\"", "1"};
	for (unsigned i = 0; i < 4; i++) {
		char line[120];
		(void)snprintf(line, sizeof line,
			"{\"op\":\"signal\",\"req\":2,\"child\":\"web\",\"signal\":%s}", words[i]);
		say(line);
		ck_assert(commands[2 + i].verb == PH_VERB_SIGNAL && commands[2 + i].signal == 1);
	}
}
END_TEST

int main(void)
{
	(void)signal(SIGPIPE, SIG_IGN); /* as the daemon does */
	Suite *s = suite_create("ctl_verbs");
	TCase *t = tcase_create("ctl_verbs");
	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_loop_test(t, test_at_once, 0, sizeof at_once / sizeof *at_once);
	tcase_add_test(t, test_stale);
	tcase_add_test(t, test_children);
	tcase_add_test(t, test_logs);
	tcase_add_test(t, test_add);
	tcase_add_test(t, test_remove_and_signal);
	tcase_add_test(t, test_move);
	tcase_add_test(t, test_move_not_done);
	tcase_add_test(t, test_cancel);
	tcase_add_test(t, test_forget);
	tcase_add_test(t, test_wait);
	tcase_add_test(t, test_detached);
	tcase_add_test(t, test_events);
	tcase_set_timeout(t, 60);
	suite_add_tcase(s, t);
	return run_tests(s);
}
