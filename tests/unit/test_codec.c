/* The codec by a table that has every kind of field: both directions, each refusal, limits. */
#include <check.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "proto/codec.h"
#include "run_tests.h"

struct part {
	struct ph_name name;
	uint64_t n;
};

struct pair {
	char word[8];
	uint64_t low;
};

enum colour {
	COLOUR_NONE,
	RED,
	GREEN
};

struct all {
	bool yes;
	uint8_t u8;
	uint16_t u16;
	uint32_t u32;
	uint64_t u64;
	bool has_u64;
	int64_t i64;
	double num;
	struct ph_name name;
	char str[8];
	char hex[9];
	const char *text;
	const char *word;
	const char *object;
	const char *list;
	struct ph_id id;
	uint64_t hex64;
	bool has_hex64;
	enum colour colour;
	bool overlap;
	uint32_t flags;
	bool v1;
	bool is1;
	bool has_obj;
	struct part inlined;
	uint32_t here;
	struct part *parts;
	size_t n_parts;
	struct pair pairs[2];
	uint32_t n_pairs;
	struct ph_name *names;
	size_t n_names;
};

static const char *const colours[] = {"", "red", "green", NULL};
static const char *const modes[] = {"exclusive", "overlap", NULL};
static const char *const flag_words[] = {"a", "b", "c", NULL};

#define F(word, kind, member) PH_FIELD(word, kind, all, member)

static const struct ph_field part_fields[] = {
	{PH_FIELD("name", NAME, part, name), .required = true},
	{PH_FIELD("n", U64, part, n)},
	{0},
};
static const struct ph_field pair_fields[] = {
	{PH_FIELD("word", STR, pair, word), .required = true},
	{PH_FIELD("low", U64, pair, low), .required = true},
	{0},
};
static const struct ph_field name_fields[] = {
	{.name = "name", .type = PH_F_NAME, .size = sizeof(struct ph_name)},
	{0},
};
static const struct ph_field here_fields[] = {{F("here", U32, here)}, {0}};

static const struct ph_field fields[] = {
	{F("yes", BOOL, yes)},
	{F("u8", U32, u8)},
	{F("u16", U32, u16)},
	{F("u32", U32, u32), .max = 1000},
	{F("u64", U64, u64), PH_HAS(all, has_u64)},
	{F("i64", I64, i64)},
	{F("num", NUM, num)},
	{F("name", NAME, name)},
	{F("str", STR, str)},
	{F("hex", HEX, hex)},
	{F("text", TEXT, text), .max = 10},
	{F("word", TEXT, word), .words = flag_words},
	{F("object", JSON_OBJ, object), .max = 24},
	{F("list", JSON_LIST, list)},
	{F("id", ID, id)},
	{F("hex64", HEX64, hex64), PH_HAS(all, has_hex64)},
	{F("colour", ENUM, colour), .words = colours},
	{F("mode", ENUM, overlap), .words = modes, .always = true},
	{F("flags", FLAGS, flags), .words = flag_words},
	{F("v", LISTS, v1), .max = 1},
	{F("is", IS, is1), .max = 1},
	{F("inlined", OBJ, inlined), .sub = part_fields, PH_HAS(all, has_obj)},
	{PH_FIELD_HERE("nested", here_fields)},
	{F("parts", LIST, parts), PH_COUNT(all, n_parts), .max = 3, .sub = part_fields,
		.element_size = sizeof(struct part)},
	{F("pairs", ARRAY, pairs), PH_COUNT(all, n_pairs), .max = 2, .shape = PH_SHAPE_TUPLE,
		.sub = pair_fields, .element_size = sizeof(struct pair)},
	{F("names", LIST, names), PH_COUNT(all, n_names), .shape = PH_SHAPE_BARE,
		.sub = name_fields, .element_size = sizeof(struct ph_name)},
	{0},
};

static const char full[] =
	"{\"yes\":true,\"u8\":255,\"u16\":65535,\"u32\":1000,\"u64\":9007199254740991,"
	"\"i64\":-9007199254740991,\"num\":0.1,\"name\":\"web-1\",\"str\":\"seven77\","
	"\"hex\":\"0123abcd\",\"text\":\"a\\\"\\n\\u0001\xc3\xa9\",\"word\":\"b\","
	"\"object\":{\"a\":[1,\"\xc3\xa9\"],\"b\":1.5},\"list\":[1,{}],"
	"\"id\":\"00112233445566778899aabbccddeeff\",\"hex64\":\"0123456789abcdef\","
	"\"colour\":\"green\",\"mode\":\"overlap\",\"flags\":[\"a\",\"c\"],\"v\":[1],\"is\":1,"
	"\"inlined\":{\"name\":\"x\",\"n\":3},\"nested\":{\"here\":9},"
	"\"parts\":[{\"name\":\"p\",\"n\":1},{\"name\":\"q\"}],"
	"\"pairs\":[[\"f\",1],[\"g\",2]],\"names\":[\"n1\",\"n2\"]}";

START_TEST(test_round_trip)
{
	struct all a;
	struct ph_doc *doc = NULL;
	struct ph_err err = {""};
	size_t n = 0;
	memset(&a, 0, sizeof a);
	int r = ph_codec_read(full, sizeof full - 1, fields, &a, &doc, &err);
	ck_assert_msg(r == 0, "%s", err.text);
	ck_assert_uint_eq(a.u64, PH_CODEC_WHOLE_MAX);
	ck_assert(a.has_u64 && a.has_obj && a.v1 && a.is1 && a.overlap);
	ck_assert_int_eq(a.colour, GREEN);
	ck_assert_uint_eq(a.flags, 5);
	ck_assert_str_eq(a.text, "a\"\n\001\xc3\xa9");
	ck_assert_uint_eq(a.n_parts, 2);
	ck_assert_str_eq(a.parts[1].name.s, "q");
	ck_assert_uint_eq(a.here, 9);
	ck_assert_uint_eq(a.pairs[1].low, 2);
	ck_assert_str_eq(a.names[1].s, "n2");
	char *again = ph_codec_write(fields, &a, NULL, 0, 0, &n);
	ck_assert_ptr_nonnull(again);
	ck_assert_str_eq(again, full);
	ck_assert_uint_eq(n, sizeof full - 1);
	free(again);
	ph_doc_free(doc);
}
END_TEST

START_TEST(test_empty)
{
	struct all a;
	struct ph_doc *doc = NULL;
	size_t n = 0;
	memset(&a, 0, sizeof a);
	char *text = ph_codec_write(fields, &a, "go", '\n', 0, &n);
	ck_assert_str_eq(text, "{\"op\":\"go\",\"mode\":\"exclusive\"}\n");
	ck_assert_int_eq(ph_codec_read(text, n, fields, &a, &doc, NULL), 0);
	ck_assert_str_eq(ph_doc_text(doc, "op"), "go");
	ph_doc_free(doc);
	free(text);
}
END_TEST

/* What is refused, and the sentence that says why. */
static const struct {
	const char *json;
	const char *says;
} refused[] = {
	{"", "not valid JSON"},
	{"[]", "expected a JSON object"},
	{"{} x", "not valid JSON"},
	{"{\"a\":1,\"a\":2}", "duplicate"},
	{"{\"unknown\":{\"k\":1,\"k\":1}}", "duplicate"},
	{"{\"text\":\"a\\u0000b\"}", "\\u0000"},
	{"{\"text\":\"\xff\"}", "not valid JSON"},
	{"{\"text\":\"\xed\xa0\x80\"}", "not valid JSON"},
	{"{\"text\":\"\\ud800\"}", "not valid JSON"},
	{"{\"yes\":1}", "yes: expected true or false, found 1"},
	{"{\"yes\":null}", "yes: expected true or false, found null"},
	{"{\"u8\":256}", "u8: expected a whole number from 0 to 255, found 256"},
	{"{\"u16\":65536}", "from 0 to 65535"},
	{"{\"u32\":1001}", "from 0 to 1000, found 1001"},
	{"{\"u32\":-1}", "found -1"},
	{"{\"u32\":1.0}", "found a number with a fraction"},
	{"{\"u32\":\"1\"}", "found \"1\""},
	{"{\"u64\":9007199254740992}", "found 9007199254740992"},
	{"{\"u64\":99999999999999999999}", "not valid JSON"},
	{"{\"i64\":-9007199254740992}", "from -9007199254740991"},
	{"{\"num\":\"1\"}", "num: expected a number"},
	{"{\"num\":1e999}", "not valid JSON"},
	{"{\"name\":\"-x\"}", "name: expected a name"},
	{"{\"name\":7}", "found 7"},
	{"{\"str\":\"12345678\"}", "str: expected a text of at most 7 bytes"},
	{"{\"hex\":\"0123ABCD\"}", "hex: expected 8 lower-case hex digits"},
	{"{\"hex\":\"0123abc\"}", "hex: expected 8"},
	{"{\"hex\":1}", "hex: expected 8"},
	{"{\"text\":\"12345678901\"}", "text of at most 10 bytes"},
	{"{\"text\":{}}", "text: expected a text, found an object"},
	{"{\"word\":\"d\"}", "word: expected one of a b c, found \"d\""},
	{"{\"object\":[]}", "object: expected an object, found a list"},
	{"{\"object\":{\"a\":\"12345678901234567890\"}}", "at most 24 bytes"},
	{"{\"list\":{}}", "list: expected a list"},
	{"{\"id\":\"00112233445566778899aabbccddeef\"}", "id: expected 32"},
	{"{\"hex64\":\"xyz\"}", "hex64: expected 16"},
	{"{\"colour\":\"\"}", "colour: expected one of red green, found \"\""},
	{"{\"mode\":1}", "mode: expected one of exclusive overlap, found 1"},
	{"{\"flags\":\"a\"}", "flags: expected a list"},
	{"{\"flags\":[1]}", "flags: expected words"},
	{"{\"v\":1}", "v: expected a list"},
	{"{\"v\":[\"1\"]}", "v: expected whole numbers"},
	{"{\"is\":[1]}", "is: expected a whole number"},
	{"{\"inlined\":{}}", "inlined.name: missing"},
	{"{\"inlined\":[]}", "inlined: expected an object"},
	{"{\"nested\":{\"here\":\"x\"}}", "nested.here: expected"},
	{"{\"parts\":{}}", "parts: expected a list of at most 3"},
	{"{\"parts\":[1]}", "parts[0]: expected an object"},
	{"{\"parts\":[{\"name\":\"a\"},{\"name\":\"b\",\"n\":-1}]}", "parts[1].n: expected"},
	{"{\"parts\":[{\"name\":\"a\"},{\"name\":\"a\"},{\"name\":\"a\"},{\"name\":\"a\"}]}",
		"at most 3"},
	{"{\"pairs\":[[\"f\",1,2]]}", "pairs[0]: expected a list of 2"},
	{"{\"pairs\":[[\"f\",\"1\"]]}", "pairs[0].low: expected"},
	{"{\"pairs\":[[\"\",1]]}", "pairs[0].word: expected"},
	{"{\"names\":[\"a\",\"\"]}", "names[1].name: expected"},
};

START_TEST(test_refused)
{
	struct all a;
	struct ph_doc *doc = NULL;
	struct ph_err err = {""};
	memset(&a, 0, sizeof a);
	int r = ph_codec_read(refused[_i].json, strlen(refused[_i].json), fields, &a, &doc, &err);
	ck_assert_int_eq(r, -EBADMSG);
	ck_assert_msg(strstr(err.text, refused[_i].says), "%s", err.text);
	ck_assert_ptr_null(doc);
}
END_TEST

START_TEST(test_nul_byte)
{
	struct ph_doc *doc = NULL;
	ck_assert_int_eq(ph_doc_parse("{}\0", 3, &doc, NULL), -EBADMSG);
	ck_assert_int_eq(ph_doc_parse("{\"a\":\"\0\"}", 9, &doc, NULL), -EBADMSG);
}
END_TEST

static int write_error(const struct all *a)
{
	size_t n;
	char *text = ph_codec_write(fields, a, NULL, 0, 0, &n);
	if (!text)
		return errno;
	free(text);
	return 0;
}

START_TEST(test_write_refuses)
{
	static const struct all empty;
	struct all a = empty;
	a.has_u64 = true;
	a.u64 = PH_CODEC_WHOLE_MAX + 1;
	ck_assert_int_eq(write_error(&a), EINVAL);
	a = empty;
	a.name = ph_name_of("-bad");
	ck_assert_int_eq(write_error(&a), EINVAL);
	a = empty;
	a.num = HUGE_VAL;
	ck_assert_int_eq(write_error(&a), EINVAL);
	a = empty;
	a.object = "{\n}";
	ck_assert_int_eq(write_error(&a), EINVAL);
	a.object = "[]";
	ck_assert_int_eq(write_error(&a), EINVAL);
	a.object = "{\"a\":\"1234567890123456789\"}";
	ck_assert_int_eq(write_error(&a), EMSGSIZE);
	a = empty;
	a.colour = (enum colour)7;
	ck_assert_int_eq(write_error(&a), EINVAL);
	a = empty;
	a.word = "zzz";
	ck_assert_int_eq(write_error(&a), EINVAL);
	a = empty;
	a.n_pairs = 3;
	ck_assert_int_eq(write_error(&a), EINVAL);
}
END_TEST

START_TEST(test_texts_are_cut_and_mended)
{
	static const struct {
		const char *text, *json;
	} rows[] = {
		{"12345678901", "{\"text\":\"1234567890\",\"mode\":\"exclusive\"}"},
		{"123456789\"x", "{\"text\":\"123456789\\\"\",\"mode\":\"exclusive\"}"},
		{"a\\\t\x1f\n\x7f", "{\"text\":\"a\\\\\\t\\u001f\\n\x7f\",\"mode\":\"exclusive\"}"},
		{"123456789\xc3\xa9", "{\"text\":\"123456789\",\"mode\":\"exclusive\"}"},
		{"a\xff"
		 "b",
			"{\"text\":\"a\xef\xbf\xbd"
			"b\",\"mode\":\"exclusive\"}"},
		{"\xe2\x82", "{\"text\":\"\xef\xbf\xbd\xef\xbf\xbd\",\"mode\":\"exclusive\"}"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct all a;
		size_t n;
		memset(&a, 0, sizeof a);
		a.text = rows[i].text;
		char *text = ph_codec_write(fields, &a, NULL, 0, 0, &n);
		ck_assert_str_eq(text, rows[i].json);
		free(text);
		ck_assert_ptr_null(ph_codec_write(fields, &a, NULL, 0, 10, &n));
		ck_assert_int_eq(errno, EMSGSIZE);
	}
}
END_TEST

/* Seeded mutations of a good object: never a crash, and what is accepted can be written again. */
START_TEST(test_mutations)
{
	uint64_t seed = 42;
	char text[sizeof full];
	for (int round = 0; round < 30000; round++) {
		memcpy(text, full, sizeof full);
		for (int i = 0; i < 1 + round % 4; i++) {
			seed = ph_mix64(seed + 0x9e3779b97f4a7c15u);
			size_t at = seed % (sizeof full - 1);
			text[at] = seed >> 63 ? (char)(seed >> 40)
					      : full[(seed >> 20) % (sizeof full - 1)];
		}
		struct all a;
		struct ph_doc *doc = NULL;
		memset(&a, 0, sizeof a);
		if (ph_codec_read(text, sizeof full - 1, fields, &a, &doc, NULL))
			continue;
		size_t n;
		char *again = ph_codec_write(fields, &a, NULL, 0, 0, &n);
		ck_assert_ptr_nonnull(again);
		free(again);
		ph_doc_free(doc);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("codec");
	TCase *t = tcase_create("codec");
	tcase_add_test(t, test_round_trip);
	tcase_add_test(t, test_empty);
	tcase_add_loop_test(t, test_refused, 0, sizeof refused / sizeof *refused);
	tcase_add_test(t, test_nul_byte);
	tcase_add_test(t, test_write_refuses);
	tcase_add_test(t, test_texts_are_cut_and_mended);
	tcase_add_test(t, test_mutations);
	tcase_set_timeout(t, 60);
	suite_add_tcase(s, t);
	return run_tests(s);
}
