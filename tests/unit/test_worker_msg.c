/*
 * Every message of the worker protocol there and back, with each field missing and of each wrong
 * type, as hostile lines; and the frames of the control socket.
 */
#include <check.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "proto/control.h"
#include "proto/worker.h"
#include "run_tests.h"

static const char token[] = "00112233445566778899aabbccddeeff";

/* A message with every field of every op set. */
static struct ph_wmsg full_message(enum ph_wop op)
{
	struct ph_wmsg m;
	memset(&m, 0, sizeof m);
	m.op = op;
	m.has_req = m.has_re = m.has_state = m.has_standing = m.has_instance = true;
	m.has_migration = m.has_bytes_estimate = m.has_digest = m.v1 = true;
	m.final = m.overlap = m.startup_ok = m.more = m.stale = true;
	m.req = (struct ph_ref){.json = "\"a\\n7\""};
	m.re.n = PH_CODEC_WHOLE_MAX;
	memcpy(m.token, token, sizeof token);
	m.caps = PH_CAP_HANDOVER | PH_CAP_ROUNDS;
	strcpy(m.format, "counter");
	m.version = 3;
	m.n_accepts = 2;
	m.accepts[0] = (struct ph_accepts){"counter", 1, 3};
	m.accepts[1] = (struct ph_accepts){"old", 0, 0};
	m.standing_role = PH_ROLE_ACTIVE;
	m.standing_epoch = 5;
	m.standing = PH_STANDING_FROZEN;
	m.node = m.target = m.from = ph_name_of("node-1");
	m.child = ph_name_of("room");
	m.instance = 17;
	m.role = PH_ROLE_STANDBY;
	ck_assert_int_eq(ph_id_parse(token, &m.id), 0);
	m.standing_id = m.migration_id = m.id;
	m.migration_epoch = m.epoch = m.winner_epoch = UINT64_C(1) << 40;
	m.phase = "copy";
	m.round = 2;
	m.bytes = m.bytes_estimate = m.dirty_bytes = m.max_bytes = UINT64_C(16) << 30;
	m.timeout_ms = m.downtime_ms = m.deadline_ms = m.retention_ms = m.grace_ms = 500;
	m.retry_after_ms = 1000;
	m.rounds_max = 8;
	m.digest = UINT64_C(0xfedcba9876543210);
	m.code = op == PH_W_HANDOVER_REFUSE ? "busy" : "version";
	m.text = m.reason = "why \"so\"\n";
	m.meta = "{\"address\":\"127.0.0.1:1\"}";
	m.instances = "[{\"instance\":0}]";
	m.prefix = op == PH_W_WATCH || op == PH_W_UNWATCH ? NULL : "ro";
	return m;
}

static enum ph_wdir sender(enum ph_wop op)
{
	return ph_wmsg_from(op) == PH_FROM_DAEMON ? PH_FROM_DAEMON : PH_FROM_WORKER;
}

static int decode(const char *line, size_t n, enum ph_wdir from, struct ph_err *err)
{
	struct ph_wmsg m;
	struct ph_doc *doc = NULL;
	int r = ph_wmsg_decode(line, n, from, &m, &doc, err);
	if (!r)
		ph_doc_free(doc);
	return r;
}

START_TEST(test_round_trip)
{
	enum ph_wop op = (enum ph_wop)_i;
	struct ph_wmsg m = full_message(op), got;
	struct ph_doc *doc = NULL;
	struct ph_err err = {""};
	size_t n = 0, again_n = 0;
	char *line = ph_wmsg_encode(&m, &n);
	ck_assert_ptr_nonnull(line);
	ck_assert_uint_eq(strlen(line), n);
	ck_assert_ptr_eq(strchr(line, '\n'), line + n - 1);
	int r = ph_wmsg_decode(line, n - 1, sender(op), &got, &doc, &err);
	ck_assert_msg(r == 0, "%s: %s", line, err.text);
	ck_assert_int_eq(got.op, op);
	char *again = ph_wmsg_encode(&got, &again_n);
	ck_assert_ptr_nonnull(again);
	ck_assert_str_eq(again, line);
	if (ph_wmsg_from(op) != PH_FROM_EITHER) {
		enum ph_wdir other = sender(op) ^ PH_FROM_EITHER;
		ck_assert_int_eq(decode(line, n, other, &err), -EPROTO);
	}
	free(again);
	free(line);
	ph_doc_free(doc);
}
END_TEST

static int decode_json(const json_t *object, enum ph_wdir from, struct ph_err *err)
{
	char *line = json_dumps(object, JSON_COMPACT);
	int r = decode(line, strlen(line), from, err);
	free(line);
	return r;
}

/* Each field of `level` taken away, then each wrong kind of value in its place. */
static void spoil(json_t *whole, json_t *level, const struct ph_field *table, enum ph_wdir from)
{
	for (const struct ph_field *f = table; f->name; f++) {
		json_t *good = json_incref(json_object_get(level, f->name));
		struct ph_err err = {""};
		if (!good)
			continue;
		json_object_del(level, f->name);
		int r = decode_json(whole, from, &err);
		ck_assert_msg(r == (f->required ? -EBADMSG : 0), "without %s: %d %s", f->name, r,
			err.text);
		ck_assert(!r || (strstr(err.text, f->name) && strstr(err.text, "missing")));
		json_t *bad[] = {json_object(), json_array(), json_string("\x01"), json_integer(-1),
			json_real(1.5), json_true(), json_null()};
		for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
			bool text = f->type == PH_F_TEXT && !f->words && json_is_string(bad[i]);
			bool empty_list = f->type == PH_F_LISTS || f->type == PH_F_ARRAY ||
					  f->type == PH_F_FLAGS || f->type == PH_F_JSON_LIST;
			bool ref = f->type == PH_F_REF &&
				   (json_is_number(bad[i]) || json_is_string(bad[i]));
			bool fits = text || ref || (empty_list && json_is_array(bad[i])) ||
				    (f->type == PH_F_BOOL && json_is_true(bad[i])) ||
				    (f->type == PH_F_JSON_OBJ && json_is_object(bad[i])) ||
				    (f->type == PH_F_IS && json_is_integer(bad[i])) ||
				    (f->type == PH_F_STR && json_is_string(bad[i]));
			json_object_set(level, f->name, bad[i]);
			r = decode_json(whole, from, &err);
			ck_assert_msg(r == (fits ? 0 : -EBADMSG), "%s as %d: %d", f->name,
				(int)json_typeof(bad[i]), r);
			ck_assert(!r || strstr(err.text, f->name));
			json_decref(bad[i]);
		}
		json_object_set(level, f->name, good);
		if (f->type == PH_F_OBJ)
			spoil(whole, good, f->sub, from);
		json_decref(good);
	}
}

START_TEST(test_each_field)
{
	enum ph_wop op = (enum ph_wop)_i;
	struct ph_wmsg m = full_message(op);
	size_t n = 0;
	if (op == PH_W_WATCH || op == PH_W_UNWATCH)
		return; /* either of two fields: test_watch */
	char *line = ph_wmsg_encode(&m, &n);
	json_t *object = json_loadb(line, n, 0, NULL);
	ck_assert_ptr_nonnull(object);
	spoil(object, object, ph_wmsg_fields(op), sender(op));
	json_object_set_new(object, "unknown", json_pack("{s:[n,{}]}", "x"));
	ck_assert_int_eq(decode_json(object, sender(op), NULL), 0);
	json_decref(object);
	free(line);
}
END_TEST

static const struct {
	const char *line;
	enum ph_wdir from;
	int error;
	const char *says;
} lines[] = {
	{"{}", PH_FROM_WORKER, -EBADMSG, "op: expected a text"},
	{"{\"op\":1}", PH_FROM_WORKER, -EBADMSG, "op: expected a text"},
	{"", PH_FROM_WORKER, -EBADMSG, "not valid JSON"},
	{"{\"op\":\"ready\"", PH_FROM_WORKER, -EBADMSG, "not valid JSON"},
	{"{\"op\":\"ready\",\"op\":\"meta\"}", PH_FROM_WORKER, -EBADMSG, "duplicate"},
	{"{\"op\":\"\"}", PH_FROM_WORKER, -ENOMSG, "unknown op \"\""},
	{"{\"op\":\"dance\",\"req\":9}", PH_FROM_WORKER, -ENOMSG, "unknown op \"dance\""},
	{"{\"op\":\"dance\",\"req\":null}", PH_FROM_WORKER, -EBADMSG, "req: expected a number"},
	{"{\"op\":\"dance\",\"req\":[1]}", PH_FROM_WORKER, -EBADMSG, "req: expected a number"},
	{"{\"op\":\"ping\",\"req\":true}", PH_FROM_WORKER, -EBADMSG, "ping: req: expected"},
	{"{\"op\":\"welcome\",\"req\":null}", PH_FROM_WORKER, -EPROTO, "not a message that"},
	{"{\"op\":\"welcome\"}", PH_FROM_WORKER, -EPROTO, "not a message that a worker sends"},
	{"{\"op\":\"ready\"}", PH_FROM_DAEMON, -EPROTO, "not a message that a daemon sends"},
	{"{\"op\":\"ready\"}\r", PH_FROM_WORKER, 0, ""},
	{"{\"op\":\"error\",\"code\":\"unknown_op\"}", PH_FROM_WORKER, 0, ""},
	{"{\"op\":\"watch\",\"req\":1}", PH_FROM_WORKER, -EBADMSG, "either child or prefix"},
	{"{\"op\":\"watch\",\"req\":1,\"child\":\"a\",\"prefix\":\"b\"}", PH_FROM_WORKER, -EBADMSG,
		"either child or prefix"},
	{"{\"op\":\"watch\",\"req\":1,\"prefix\":\"\"}", PH_FROM_WORKER, 0, ""},
	{"{\"op\":\"unwatch\",\"req\":1,\"child\":\"a\"}", PH_FROM_WORKER, 0, ""},
	{"{\"op\":\"resumed\",\"id\":\"00000000000000000000000000000000\"}", PH_FROM_WORKER,
		-EBADMSG, "resumed: id: expected"},
	{"{\"op\":\"hello\",\"v\":[2],\"token\":\"00112233445566778899aabbccddeeff\"}",
		PH_FROM_WORKER, 0, ""},
	{"{\"op\":\"hello\",\"v\":[1],\"token\":\"0011\"}", PH_FROM_WORKER, -EBADMSG,
		"hello: token: expected 32 lower-case hex digits"},
	{"{\"op\":\"hello\",\"v\":[1],\"token\":\"00112233445566778899aabbccddeeff\","
	 "\"state\":{\"format\":\"f\",\"version\":1,\"accepts\":[[\"f\",2,1]]}}",
		PH_FROM_WORKER, -EBADMSG, "hello: state.accepts[0]: expected min"},
	{"{\"op\":\"hello\",\"v\":[1],\"token\":\"00112233445566778899aabbccddeeff\","
	 "\"caps\":[\"handover\",\"later\"],\"state\":{\"format\":\"f\",\"version\":1}}",
		PH_FROM_WORKER, 0, ""},
	{"{\"op\":\"handover_refuse\",\"id\":\"00112233445566778899aabbccddeeff\","
	 "\"code\":\"tired\"}",
		PH_FROM_WORKER, -EBADMSG, "expected one of busy never incompatible"},
};

START_TEST(test_lines)
{
	struct ph_err err = {""};
	int r = decode(lines[_i].line, strlen(lines[_i].line), lines[_i].from, &err);
	ck_assert_msg(r == lines[_i].error, "%s: %d %s", lines[_i].line, r, err.text);
	ck_assert_msg(strstr(err.text, lines[_i].says), "%s", err.text);
}
END_TEST

/* What a request may be known by; it comes back as it was. */
static const char *const refs[] = {"0", "9", "9007199254740991", "9007199254740992",
	"-9223372036854775808", "1.5", "-2.0", "\"\"", "\"abc\"", "\"a\\n\\\"\"", "\"\xc3\xa4\"",
	"\"12345678901234567890123456789012345678901234567890123456789012\""};

/* The answer to the unknown op `op` with that req; the caller frees it. */
static char *answered(const char *op, const char *req, int want)
{
	char line[256];
	struct ph_wmsg m, answer = {.op = PH_W_ERROR, .has_re = true, .code = "unknown_op"};
	struct ph_doc *doc = NULL;
	struct ph_err err;
	size_t n = (size_t)snprintf(line, sizeof line, "{\"op\":\"%s\",\"req\":%s}", op, req);
	memset(&m, 0xff, sizeof m);
	ck_assert_int_eq(ph_wmsg_decode(line, n, PH_FROM_WORKER, &m, &doc, &err), want);
	ck_assert(m.has_req == true && m.op == (want ? PH_W_NONE : PH_W_PING));
	ck_assert(!doc == (want != 0));
	ph_doc_free(doc);
	answer.re = m.req;
	return ph_wmsg_encode(&answer, &n);
}

START_TEST(test_req_comes_back_as_it_was)
{
	char want[256];
	for (int known = 0; known < 2; known++) {
		char *line = answered(known ? "ping" : "dance", refs[_i], known ? 0 : -ENOMSG);
		(void)snprintf(want, sizeof want,
			"{\"op\":\"error\",\"re\":%s,\"code\":\"unknown_op\"}\n", refs[_i]);
		ck_assert_str_eq(line, want);
		free(line);
	}
}
END_TEST

START_TEST(test_req_that_is_too_long)
{
	char line[128];
	struct ph_err err;
	int n = snprintf(line, sizeof line, "{\"op\":\"dance\",\"req\":\"%063d\"}", 1);
	ck_assert_int_eq(decode(line, (size_t)n, PH_FROM_WORKER, &err), -EBADMSG);
	n = snprintf(line, sizeof line, "{\"op\":\"ping\",\"req\":\"%063d\"}", 1);
	ck_assert_int_eq(decode(line, (size_t)n, PH_FROM_WORKER, &err), -EBADMSG);
}
END_TEST

START_TEST(test_too_long)
{
	struct ph_wmsg m;
	size_t n = 0;
	char *text = calloc(1, PH_LINE_MAX + 1);
	memset(text, 'x', PH_LINE_MAX);
	memset(&m, 0, sizeof m);
	m.op = PH_W_STATUS;
	m.text = text;
	ck_assert_ptr_null(ph_wmsg_encode(&m, &n));
	ck_assert_int_eq(errno, EMSGSIZE);
	m.op = PH_W_READY;
	m.meta = "{} ";
	ck_assert_ptr_null(ph_wmsg_encode(&m, &n));
	ck_assert_int_eq(errno, EINVAL);
	free(text);
}
END_TEST

/* Seeded damage to good lines: any answer but a crash, and what is accepted can be said again. */
START_TEST(test_mutations)
{
	static const char pool[] = "{}[]\",:0123456789-.eEtfnul\\ \x01\x80\xff";
	uint64_t seed = (uint64_t)_i;
	struct ph_wmsg m = full_message((enum ph_wop)_i);
	size_t n = 0;
	char *line = ph_wmsg_encode(&m, &n);
	char *bad = malloc(n);
	for (int round = 0; round < 800; round++) {
		memcpy(bad, line, n);
		size_t length = n - 1;
		for (int i = 0; i <= round % 5; i++) {
			seed = ph_mix64(seed + 0x9e3779b97f4a7c15u);
			bad[seed % length] = pool[(seed >> 32) % (sizeof pool - 1)];
			if (seed >> 60 == 0)
				length = 1 + (seed >> 16) % length;
		}
		struct ph_wmsg got;
		struct ph_doc *doc = NULL;
		struct ph_err err;
		int r = ph_wmsg_decode(bad, length, sender((enum ph_wop)_i), &got, &doc, &err);
		ck_assert(r == 0 || r == -EBADMSG || r == -ENOMSG || r == -EPROTO);
		if (r)
			continue;
		size_t again_n;
		char *again = ph_wmsg_encode(&got, &again_n);
		ck_assert_msg(again || errno == EMSGSIZE, "%.*s", (int)length, bad);
		free(again);
		ph_doc_free(doc);
	}
	free(bad);
	free(line);
}
END_TEST

START_TEST(test_requests)
{
	struct ph_request q;
	struct ph_err err = {""};
	size_t n = 0;
	json_t *args = json_pack("{s:s,s:i}", "child", "web", "req", 99);
	char *line = ph_request_encode("move", 3, args, &n);
	ck_assert_str_eq(line, "{\"op\":\"move\",\"req\":3,\"child\":\"web\"}\n");
	ck_assert_int_eq(ph_request_decode(line, n - 1, &q, &err), 0);
	ck_assert_str_eq(q.op, "move");
	ck_assert_uint_eq(q.req, 3);
	ck_assert_ptr_nonnull(json_object_get(q.args, "child"));
	ph_request_fini(&q);
	ck_assert_int_eq(ph_request_decode("{\"req\":4}", 9, &q, &err), -EBADMSG);
	ck_assert(q.req == 4 && !q.op && !q.args);
	ck_assert_int_eq(ph_request_decode("{\"op\":\"a\"}", 10, &q, &err), -EBADMSG);
	ck_assert(strstr(err.text, "req: expected"));
	ck_assert_int_eq(ph_request_decode("[1]", 3, &q, &err), -EBADMSG);
	free(line);
	json_decref(args);
}
END_TEST

START_TEST(test_answers)
{
	struct ph_answer a;
	struct ph_err err = {""};
	size_t n = 0;
	json_t *fields = json_pack("{s:[i]}", "nodes", 1);
	char *line = ph_answer_encode(3, fields, true, &n);
	ck_assert_str_eq(line, "{\"re\":3,\"ok\":true,\"more\":true,\"nodes\":[1]}\n");
	ck_assert_int_eq(ph_answer_decode(line, n, &a, &err), 0);
	ck_assert(a.ok && a.more && a.re == 3 && json_object_get(a.body, "nodes"));
	ph_answer_fini(&a);
	free(line);
	line = ph_answer_encode(4, NULL, false, &n);
	ck_assert_str_eq(line, "{\"re\":4,\"ok\":true}\n");
	free(line);
	line = ph_answer_encode_error(5, "no_such_child", "no child \"x\"", &n);
	ck_assert_int_eq(ph_answer_decode(line, n, &a, &err), 0);
	ck_assert(!a.ok && !a.more);
	ck_assert_str_eq(a.code, "no_such_child");
	ck_assert_str_eq(a.text, "no child \"x\"");
	ph_answer_fini(&a);
	free(line);
	line = ph_answer_encode_error(5, "bad", "\xff", &n);
	ck_assert_str_eq(line, "{\"re\":5,\"ok\":false,\"code\":\"bad\"}\n");
	free(line);
	ck_assert_int_eq(ph_answer_decode("{\"re\":1}", 8, &a, &err), -EBADMSG);
	ck_assert_int_eq(ph_answer_decode("{\"ok\":true}", 11, &a, &err), -EBADMSG);
	json_decref(fields);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("worker_msg");
	TCase *t = tcase_create("worker_msg");
	tcase_add_loop_test(t, test_round_trip, 1, PH_WOP_COUNT);
	tcase_add_loop_test(t, test_each_field, 1, PH_WOP_COUNT);
	tcase_add_loop_test(t, test_lines, 0, sizeof lines / sizeof *lines);
	tcase_add_loop_test(t, test_req_comes_back_as_it_was, 0, sizeof refs / sizeof *refs);
	tcase_add_test(t, test_req_that_is_too_long);
	tcase_add_test(t, test_too_long);
	tcase_add_loop_test(t, test_mutations, 1, PH_WOP_COUNT);
	tcase_add_test(t, test_requests);
	tcase_add_test(t, test_answers);
	tcase_set_timeout(t, 60);
	suite_add_tcase(s, t);
	return run_tests(s);
}
