/* What people and programs see: members, entries, migrations, lookups and events as JSON. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "run_tests.h"
#include "shell.h"
#include "shell_emit.h"
#include "shell_view.h"

/* Compares with a literal; takes `value`. Both are written with sorted keys. */
static void is_json(json_t *value, const char *want)
{
	json_t *wanted = json_loads(want, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
	ck_assert_msg(wanted != NULL, "the test's own JSON is wrong: %s", want);
	ck_assert_ptr_nonnull(value);
	char *a = json_dumps(value, JSON_SORT_KEYS | JSON_COMPACT | JSON_ENCODE_ANY);
	char *b = json_dumps(wanted, JSON_SORT_KEYS | JSON_COMPACT | JSON_ENCODE_ANY);
	ck_assert_str_eq(a, b);
	free(a);
	free(b);
	json_decref(value);
	json_decref(wanted);
}

START_TEST(test_member)
{
	struct ph_member_view m = {
		.info = {.name = {"a"},
			.incarnation = 1764000000123,
			.address = "tcp://10.0.0.1:7400",
			.weight = 1.5,
			.labels = "zone=a,ssd",
			.version = "0.1.0",
			.state = PH_MEMBER_ALIVE,
			.draining = true},
		.children = 3,
	};
	is_json(ph_view_member(&m),
		"{\"name\":\"a\",\"state\":\"alive\",\"draining\":true,"
		"\"incarnation\":1764000000123,\"address\":\"tcp://10.0.0.1:7400\",\"weight\":1.5,"
		"\"labels\":[\"zone=a\",\"ssd\"],\"children\":3,\"version\":\"0.1.0\"}");
	m = (struct ph_member_view){.info = {.name = {"b"}, .state = PH_MEMBER_UNKNOWN}};
	is_json(ph_view_member(&m),
		"{\"name\":\"b\",\"state\":\"unknown\",\"draining\":false,\"incarnation\":null,"
		"\"address\":null,\"weight\":0.0,\"labels\":[],\"children\":0,\"version\":null}");
}
END_TEST

static struct ph_entry_view running(void)
{
	return (struct ph_entry_view){
		.entry = {.key = {.child = {"room"}, .instance = 17},
			.node = {"a"},
			.epoch = (UINT64_C(7) << 24) + 5,
			.state = PH_CHILD_RUNNING,
			.ready = true,
			.role = PH_ROLE_ACTIVE,
			.pid = 4242,
			.restarts = 2,
			.exit = {PH_EXIT_SIGNAL, 9},
			.age_ms = 1500,
			.meta = "{\"addr\":\"10.0.0.1:80\"}"},
		.wanted = true,
		.reachable = true,
		.owned = true,
	};
}

START_TEST(test_entry)
{
	struct ph_entry_view e = running();
	is_json(ph_view_entry(&e),
		"{\"child\":\"room\",\"instance\":17,\"replica\":0,\"node\":\"a\","
		"\"state\":\"running\",\"ready\":true,\"role\":\"active\",\"epoch\":117440517,"
		"\"pid\":4242,\"since_ms\":1500,\"restarts\":2,"
		"\"exit\":{\"signal\":9,\"core\":false},\"differs\":false,\"origin\":\"file\","
		"\"wanted\":true,"
		"\"reason\":null,"
		"\"meta\":{\"addr\":\"10.0.0.1:80\"}}");
	e = (struct ph_entry_view){.entry = {.key = {.child = {"web"}}, .state = PH_CHILD_WAITING},
		.differs = true,
		.added = true,
		.reason = "waits for db, which is starting"};
	is_json(ph_view_entry(&e),
		"{\"child\":\"web\",\"instance\":0,\"replica\":0,\"node\":null,"
		"\"state\":\"waiting\",\"ready\":false,\"role\":null,\"epoch\":null,\"pid\":null,"
		"\"since_ms\":0,\"restarts\":0,\"exit\":null,\"differs\":true,\"origin\":\"added\","
		"\"wanted\":false,"
		"\"reason\":\"waits for db, which is starting\","
		"\"meta\":null}");
}
END_TEST

START_TEST(test_exit)
{
	is_json(ph_view_exit(&(struct ph_exit){PH_EXIT_NONE, 0}), "null");
	is_json(ph_view_exit(&(struct ph_exit){PH_EXIT_CODE, 0}), "{\"code\":0}");
	is_json(ph_view_exit(&(struct ph_exit){PH_EXIT_CORE, 11}), "{\"signal\":11,\"core\":true}");
	is_json(ph_view_exit(&(struct ph_exit){PH_EXIT_OOM, 9}),
		"{\"signal\":9,\"core\":false,\"oom\":true}");
	is_json(ph_view_exit(&(struct ph_exit){PH_EXIT_UNKNOWN, 0}), "{\"unknown\":true}");
}
END_TEST

START_TEST(test_shown_and_found)
{
	for (int state = 0; state < PH_CHILD_STATE_COUNT; state++) {
		struct ph_entry_view e = running();
		e.entry.state = (enum ph_child_state)state;
		bool gone = state == PH_CHILD_RELEASED || state == PH_CHILD_REMOVED;
		bool serves = state == PH_CHILD_RUNNING || state == PH_CHILD_FROZEN;
		ck_assert(ph_view_shown(&e) == !gone);
		ck_assert(ph_view_found(&e) == serves);
		e.reachable = false;
		ck_assert(!ph_view_found(&e));
		e.reachable = true;
		e.owned = false;
		ck_assert(!ph_view_found(&e));
	}
	struct ph_entry_view e = running();
	is_json(ph_view_instance(&e),
		"{\"instance\":17,\"replica\":0,\"node\":\"a\",\"epoch\":117440517,"
		"\"state\":\"running\",\"ready\":true,\"role\":\"active\","
		"\"meta\":{\"addr\":\"10.0.0.1:80\"}}");
}
END_TEST

START_TEST(test_migration)
{
	struct ph_migration_info m = {
		.id = {{1, 2}},
		.key = {.child = {"web"}, .instance = 1},
		.from = {"a"},
		.to = {"b"},
		.phase = PH_PHASE_COPY,
		.result = PH_RESULT_RUNNING,
		.round = 1,
		.bytes = 12,
		.elapsed_ms = 7,
	};
	is_json(ph_view_migration(&m),
		"{\"id\":\"01020000000000000000000000000000\",\"child\":\"web\",\"instance\":1,"
		"\"from\":\"a\",\"to\":\"b\",\"phase\":\"copy\",\"round\":1,\"bytes\":12,"
		"\"total\":null,\"elapsed_ms\":7,\"downtime_ms\":null,\"result\":\"running\","
		"\"reason\":null}");
	m.has_total = m.has_downtime = true;
	m.total = 64;
	m.downtime_us = 1234;
	m.phase = PH_PHASE_STOP;
	m.result = PH_RESULT_SOURCE_DEAD;
	(void)strcpy(m.reason, "a\xff");
	is_json(ph_view_migration(&m),
		"{\"id\":\"01020000000000000000000000000000\",\"child\":\"web\",\"instance\":1,"
		"\"from\":\"a\",\"to\":\"b\",\"phase\":\"stop\",\"round\":1,\"bytes\":12,"
		"\"total\":64,\"elapsed_ms\":7,\"downtime_ms\":1.234,\"result\":\"source-dead\","
		"\"reason\":\"a?\"}");
}
END_TEST

/* ---- events */

START_TEST(test_times)
{
	char text[PH_TIME_TEXT_SIZE];
	uint64_t ms = 0;
	ph_time_text(1764000000123, text);
	ck_assert_str_eq(text, "2025-11-24T16:00:00.123Z");
	ck_assert_int_eq(ph_time_parse(text, &ms), 0);
	ck_assert_uint_eq(ms, 1764000000123);
	ck_assert_int_eq(ph_time_parse("2025-11-24T17:00:00+01:00", &ms), 0);
	ck_assert_uint_eq(ms, 1764000000000);
	ck_assert_int_eq(ph_time_parse("2025-11-24T16:00:00.5Z", &ms), 0);
	ck_assert_uint_eq(ms, 1764000000500);
	static const char *const bad[] = {"", "now", "2025-11-24", "2025-11-24T16:00:00",
		"2025-11-24T16:00:00.Z", "2025-11-24T16:00:00Zx", "2025-11-24T16:00:00+1:00",
		"2025-11-24T16:00:00+25:00", "1969-12-31T23:59:59Z"};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		ck_assert_msg(ph_time_parse(bad[i], &ms) < 0, "%s", bad[i]);
}
END_TEST

START_TEST(test_event)
{
	struct ph_emit e = {
		.kind = PH_EMIT_CHILD_EXITED,
		.has_key = true,
		.key = {.child = {"web"}, .instance = 2},
		.epoch = UINT64_C(3) << 24,
		.pid = 17,
		.exit = {PH_EXIT_CODE, 1},
		.delay_ms = 100,
		.text = "gone\n",
	};
	char line[256];
	is_json(ph_emit_json(&e, "a", 5, 1764000000123),
		"{\"event\":\"child_exited\",\"time\":\"2025-11-24T16:00:00.123Z\",\"node\":\"a\","
		"\"seq\":5,\"child\":\"web\",\"instance\":2,\"replica\":0,\"epoch\":50331648,"
		"\"pid\":17,\"exit\":{\"code\":1},\"delay_ms\":100,\"text\":\"gone\\n\"}");
	ph_emit_line(&e, line, sizeof line);
	ck_assert_str_eq(
		line, "child_exited web/2, pid 17, epoch 3, exit code 1, in 100 ms: gone\n");
	char shorter[16];
	ph_emit_line(&e, shorter, sizeof shorter);
	ck_assert_str_eq(shorter, "child_exited we");
}
END_TEST

START_TEST(test_event_of_a_migration)
{
	struct ph_emit e = {
		.kind = PH_EMIT_MIGRATION_ABORTED,
		.has_key = true,
		.key = {.child = {"web"}},
		.id = {{255}},
		.from = {"a"},
		.to = {"b"},
		.phase = PH_PHASE_FREEZE,
		.result = PH_RESULT_ABORTED,
		.text = "busy",
	};
	is_json(ph_emit_json(&e, "a", 1, 0),
		"{\"event\":\"migration_aborted\",\"time\":\"1970-01-01T00:00:00.000Z\","
		"\"node\":\"a\",\"seq\":1,\"child\":\"web\",\"instance\":0,\"replica\":0,"
		"\"from\":\"a\",\"to\":\"b\",\"migration\":\"ff000000000000000000000000000000\","
		"\"phase\":\"freeze\",\"result\":\"aborted\",\"text\":\"busy\"}");
	e = (struct ph_emit){.kind = PH_EMIT_NODE_DEAD, .peer = {"c"}};
	is_json(ph_emit_json(&e, "a", 2, 0),
		"{\"event\":\"node_dead\",\"time\":\"1970-01-01T00:00:00.000Z\",\"node\":\"a\","
		"\"seq\":2,\"peer\":\"c\"}");
}
END_TEST

START_TEST(test_event_of_a_conflict)
{
	char line[200];
	struct ph_emit e = {
		.kind = PH_EMIT_CONFLICT_RESOLVED,
		.has_key = true,
		.key = {.child = {"web"}},
		.from = {"b"},
		.from_epoch = 5,
		.to = {"a"},
		.epoch = (UINT64_C(7) << 24) + 1,
		.kept = "conflicts/web-0-5",
	};
	is_json(ph_emit_json(&e, "a", 1, 0),
		"{\"event\":\"conflict_resolved\",\"time\":\"1970-01-01T00:00:00.000Z\","
		"\"node\":\"a\",\"seq\":1,\"child\":\"web\",\"instance\":0,\"replica\":0,"
		"\"winner\":{\"node\":\"a\",\"epoch\":117440513},"
		"\"loser\":{\"node\":\"b\",\"epoch\":5},\"kept\":\"conflicts/"
		"web-0-5\",\"merged\":false}");
	ph_emit_line(&e, line, sizeof line);
	ck_assert_str_eq(line, "conflict_resolved web/0 of b gives way to that of a, epoch 7, its "
			       "state is kept in conflicts/web-0-5");
	e.kept = NULL;
	e.text = "there is no room";
	is_json(ph_emit_json(&e, "a", 1, 0),
		"{\"event\":\"conflict_resolved\",\"time\":\"1970-01-01T00:00:00.000Z\","
		"\"node\":\"a\",\"seq\":1,\"child\":\"web\",\"instance\":0,\"replica\":0,"
		"\"winner\":{\"node\":\"a\",\"epoch\":117440513},"
		"\"loser\":{\"node\":\"b\",\"epoch\":5},\"kept\":null,\"merged\":false,"
		"\"text\":\"there is no room\"}");
	e.text = NULL;
	e.merged = true;
	is_json(ph_emit_json(&e, "a", 1, 0),
		"{\"event\":\"conflict_resolved\",\"time\":\"1970-01-01T00:00:00.000Z\","
		"\"node\":\"a\",\"seq\":1,\"child\":\"web\",\"instance\":0,\"replica\":0,"
		"\"winner\":{\"node\":\"a\",\"epoch\":117440513},"
		"\"loser\":{\"node\":\"b\",\"epoch\":5},\"kept\":null,\"merged\":true}");
	ph_emit_line(&e, line, sizeof line);
	ck_assert_str_eq(line, "conflict_resolved web/0 of b gives way to that of a, epoch 7, a "
			       "hook has taken care of its state");
}
END_TEST

/* Nothing of an event is lost by being kept. */
START_TEST(test_events_that_are_kept)
{
	const struct ph_emit events[] = {
		{.kind = PH_EMIT_NODE_DEAD, .peer = {"c"}},
		{.kind = PH_EMIT_CHILD_EXITED,
			.has_key = true,
			.key = {{"web"}, 3, 4294967295},
			.pid = 4294967295,
			.exit = {PH_EXIT_CORE, 11},
			.epoch = UINT64_MAX,
			.delay_ms = UINT64_MAX - 1,
			.text = "text"},
		{.kind = PH_EMIT_MIGRATION_ABORTED,
			.has_key = true,
			.key = {{"web"}, 0, 1},
			.id = {{1, [15] = 2}},
			.from = {"a-node-whose-name-is-as-long-as-a-name-may-be-which-is-63-bytes"},
			.to = {"b"},
			.phase = PH_PHASE_COUNT - 1,
			.result = PH_RESULT_COUNT - 1},
		{.kind = PH_EMIT_CONFLICT_RESOLVED,
			.has_key = true,
			.from = {"b"},
			.to = {"a"},
			.epoch = 7,
			.from_epoch = 5,
			.kept = "",
			.merged = true},
	};
	struct ph_shell shell = {.node = "a"};
	struct ph_shell_emit *emit;
	ck_assert_int_eq(ph_shell_emit_new(&shell, &emit), 0);
	for (size_t i = 0; i < sizeof events / sizeof *events; i++)
		ph_shell_emit_act(
			emit, &(struct ph_action){.kind = PH_ACT_EMIT, .emit = &events[i]});
	json_t *held = ph_shell_emit_held(emit, 0, 0);
	ck_assert_uint_eq(json_array_size(held), sizeof events / sizeof *events);
	for (size_t i = 0; i < sizeof events / sizeof *events; i++) {
		json_t *got = json_array_get(held, i),
		       *want = ph_emit_json(&events[i], "a", i + 1, 0);
		(void)json_object_set(want, "time", json_object_get(got, "time"));
		ck_assert_int_eq(json_equal(got, want), 1);
		json_decref(want);
	}
	json_decref(held);
	ph_shell_emit_free(emit);
}
END_TEST

/* The texts of the events after number `after`; the caller's. */
static char *texts_after(const struct ph_shell_emit *emit, uint64_t after, size_t *ret_n)
{
	json_t *held = ph_shell_emit_held(emit, after, 0);
	*ret_n = json_array_size(held);
	json_t *last = json_array_get(held, *ret_n - 1);
	char *text = strdup(*ret_n ? json_string_value(json_object_get(last, "text")) : "");
	json_decref(held);
	return text;
}

/* A flood of violations fills no ring; what is left out is counted; strangers hide no child. */
START_TEST(test_violations_are_bounded)
{
	struct ph_shell shell = {.now_ms = 5000};
	struct ph_emit e = {.kind = PH_EMIT_WORKER_PROTOCOL_ERROR, .text = "bad_token: x"};
	struct ph_action action = {.kind = PH_ACT_EMIT, .emit = &e};
	struct ph_shell_emit *emit;
	size_t n;
	ck_assert_int_eq(ph_shell_emit_new(&shell, &emit), 0);
	for (int i = 0; i < 2000; i++)
		ph_shell_emit_act(emit, &action);
	e.has_key = true;
	e.key.child = ph_name_of("web");
	ph_shell_emit_act(emit, &action);
	char *text = texts_after(emit, 0, &n);
	ck_assert_uint_eq(n, 11);
	ck_assert_str_eq(text, "bad_token: x");
	free(text);
	e.has_key = false;
	shell.now_ms += 1000;
	ph_shell_emit_act(emit, &action);
	text = texts_after(emit, 11, &n);
	ck_assert_uint_eq(n, 1);
	ck_assert_str_eq(text, "bad_token: x (and 1990 before it that were not told)");
	free(text);
	ph_shell_emit_act(emit, &action);
	text = texts_after(emit, 12, &n);
	ck_assert_str_eq(text, "bad_token: x");
	free(text);
	e.kind = PH_EMIT_NODE_DEAD;
	for (int i = 0; i < 50; i++)
		ph_shell_emit_act(emit, &action);
	text = texts_after(emit, 13, &n);
	ck_assert_uint_eq(n, 50);
	free(text);
	ph_shell_emit_free(emit);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("view");
	TCase *t = tcase_create("view");
	tcase_add_test(t, test_member);
	tcase_add_test(t, test_entry);
	tcase_add_test(t, test_exit);
	tcase_add_test(t, test_shown_and_found);
	tcase_add_test(t, test_migration);
	tcase_add_test(t, test_times);
	tcase_add_test(t, test_event);
	tcase_add_test(t, test_event_of_a_migration);
	tcase_add_test(t, test_event_of_a_conflict);
	tcase_add_test(t, test_events_that_are_kept);
	tcase_add_test(t, test_violations_are_bounded);
	suite_add_tcase(s, t);
	return run_tests(s);
}
