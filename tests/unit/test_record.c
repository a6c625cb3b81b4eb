/* Records of the journal: every kind there and back; damaged lines are refused. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/record.h"
#include "run_tests.h"

static struct ph_record full(enum ph_record_kind kind)
{
	return (struct ph_record){
		.kind = kind,
		.id = {{1, 2, 3}},
		.key = {.child = {"room"}, .instance = 4, .replica = 1},
		.epoch = PH_EPOCH_LIMIT - 1,
		.revision = 77,
		.hash = UINT64_MAX,
		.peer = {"b"},
		.born_ms = 1764000000000,
		.stopped_by_wish = true,
		.wishes = UINT16_MAX,
		.forced = 79,
		.granted = 78,
		.to = {"c"},
		.by = {"d"},
		.past = {"e"},
		.asked = true,
		.overlap = true,
		.ok = true,
		.result = PH_RESULT_TARGET_DEAD,
		.text = "{\"command\":[\"/bin/true\"],\"weight\":1.0}",
	};
}

START_TEST(test_round_trip)
{
	struct ph_record r = full((enum ph_record_kind)(_i + 1)), back;
	struct ph_doc *doc = NULL;
	struct ph_err err = {""};
	size_t n, n_again;
	char *line = ph_record_encode(&r, &n);
	ck_assert_ptr_nonnull(line);
	ck_assert_ptr_null(strchr(line, '\n'));
	int error = ph_record_decode(line, n, &back, &doc, &err);
	ck_assert_msg(error == 0, "%s: %s", line, err.text);
	ck_assert_int_eq(back.kind, r.kind);
	char *again = ph_record_encode(&back, &n_again);
	ck_assert_str_eq(line, again);
	free(line);
	free(again);
	ph_doc_free(doc);
}
END_TEST

static struct ph_record through(enum ph_record_kind kind, struct ph_doc **ret_doc)
{
	struct ph_record r = full(kind);
	size_t n;
	char *line = ph_record_encode(&r, &n);
	ck_assert_ptr_nonnull(line);
	ck_assert_int_eq(ph_record_decode(line, n, &r, ret_doc, NULL), 0);
	free(line);
	return r;
}

START_TEST(test_fields)
{
	struct ph_record want = full(PH_RECORD_NONE), r;
	struct ph_doc *doc = NULL;
	r = through(PH_RECORD_SEEN, &doc);
	ck_assert(ph_key_equal(&r.key, &want.key) && r.epoch == want.epoch && r.stopped_by_wish);
	ck_assert_str_eq(r.peer.s, "b");
	ck_assert_uint_eq(r.wishes, UINT16_MAX);
	ck_assert_uint_eq(r.granted, 78);
	ck_assert_uint_eq(r.forced, 79);
	ck_assert_str_eq(r.to.s, "c");
	ck_assert_str_eq(r.by.s, "d");
	ck_assert_str_eq(r.past.s, "e");
	ck_assert_uint_eq(r.born_ms, want.born_ms);
	ph_doc_free(doc);
	r = through(PH_RECORD_BALLOT, &doc);
	ck_assert(r.epoch == want.epoch && r.hash == UINT64_MAX && r.revision == 77);
	ck_assert_str_eq(r.text, want.text);
	ph_doc_free(doc);
	r = through(PH_RECORD_SPEC, &doc);
	ck_assert_str_eq(r.text, want.text);
	ck_assert(r.revision == 77 && !r.spec);
	ph_doc_free(doc);
	r = through(PH_RECORD_DECLARED, &doc);
	ck_assert(r.hash == UINT64_MAX && r.revision == 77);
	ck_assert_str_eq(r.peer.s, "b");
	ph_doc_free(doc);
	for (int kind = PH_RECORD_FINAL; kind <= PH_RECORD_FORGET; kind++) {
		r = through((enum ph_record_kind)kind, &doc);
		ck_assert(ph_id_equal(&r.id, &want.id) && ph_key_equal(&r.key, &want.key));
		ck_assert(r.epoch == want.epoch && r.revision == 77 && r.asked);
		ck_assert(r.result == PH_RESULT_TARGET_DEAD);
		ck_assert_str_eq(r.text, want.text);
		ck_assert_str_eq(r.peer.s, "b");
		ph_doc_free(doc);
	}
	r = (struct ph_record){.kind = PH_RECORD_DRAINING};
	size_t n;
	char *line = ph_record_encode(&r, &n);
	ck_assert_str_eq(line, "{\"op\":\"draining\",\"ok\":false}");
	free(line);
}
END_TEST

static const char *const refused[] = {
	"",
	"{",
	"[]",
	"{}",
	"{\"op\":\"\"}",
	"{\"op\":\"what\"}",
	"{\"op\":\"seen\"}",
	"{\"op\":\"seen\",\"child\":\"-a\"}",
	"{\"op\":\"final\"}",
	"{\"op\":\"final\",\"id\":\"0123\"}",
	"{\"op\":\"draining\"}",
	"{\"op\":\"spec\",\"child\":\"a\"}",
	"{\"op\":\"spec\",\"child\":\"a\",\"revision\":9007199254740992,\"text\":\"{}\"}",
	"{\"op\":\"declared\",\"child\":\"a\",\"hash\":1}",
	"{\"op\":\"seen\",\"child\":\"a\",\"epoch\":-1}",
	"{\"op\":\"seen\",\"child\":\"a\",\"child\":\"b\"}",
};

START_TEST(test_refused)
{
	struct ph_record r = {.kind = PH_RECORD_DONE};
	struct ph_doc *doc = NULL;
	struct ph_err err = {""};
	const char *line = refused[_i];
	ck_assert_int_eq(ph_record_decode(line, strlen(line), &r, &doc, &err), -EBADMSG);
	ck_assert_int_ne(err.text[0], '\0');
	ck_assert_int_eq(r.kind, PH_RECORD_DONE);
	ck_assert_ptr_null(doc);
}
END_TEST

START_TEST(test_too_long)
{
	struct ph_record r = full(PH_RECORD_SPEC);
	struct ph_doc *doc = NULL;
	size_t n;
	char *text = malloc(PH_RECORD_MAX + 1);
	ck_assert_ptr_nonnull(text);
	memset(text, 'x', PH_RECORD_MAX);
	text[PH_RECORD_MAX] = '\0';
	r.text = text;
	ck_assert_ptr_null(ph_record_encode(&r, &n));
	ck_assert_int_eq(errno, EMSGSIZE);
	ck_assert_int_eq(ph_record_decode(text, PH_RECORD_MAX + 1, &r, &doc, NULL), -EMSGSIZE);
	free(text);
	r.kind = PH_RECORD_NONE;
	ck_assert_ptr_null(ph_record_encode(&r, &n));
	ck_assert_int_eq(errno, EINVAL);
}
END_TEST

START_TEST(test_mutations)
{
	struct ph_record r = full((enum ph_record_kind)(_i + 1));
	uint64_t seed = (uint64_t)_i + 99;
	size_t n;
	char *line = ph_record_encode(&r, &n);
	ck_assert_ptr_nonnull(line);
	for (int round = 0; round < 500; round++) {
		struct ph_doc *doc = NULL;
		struct ph_record back;
		seed = ph_mix64(seed + 0x9e3779b97f4a7c15u);
		char before = line[seed % n];
		line[seed % n] = (char)(seed >> 40);
		if (ph_record_decode(line, n, &back, &doc, NULL) == 0)
			ph_doc_free(doc);
		line[seed % n] = before;
	}
	free(line);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("record");
	TCase *t = tcase_create("record");
	tcase_add_loop_test(t, test_round_trip, 0, PH_RECORD_COUNT - 1);
	tcase_add_test(t, test_fields);
	tcase_add_loop_test(t, test_refused, 0, sizeof refused / sizeof *refused);
	tcase_add_test(t, test_too_long);
	tcase_add_loop_test(t, test_mutations, 0, PH_RECORD_COUNT - 1);
	suite_add_tcase(s, t);
	return run_tests(s);
}
