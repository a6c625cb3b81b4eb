/* JSON's pairs of surrogates: read as one character, with the places of the file, nothing else
 * touched. */
#include "tests/unit/test_conf.h"

#include <yaml.h>

#include "conf/surrogate.h"

#define PAIR "\\ud83d\\ude00"
#define FACE "\xf0\x9f\x98\x80"

START_TEST(test_pairs_are_characters)
{
	static const struct {
		const char *text, *argument;
	} rows[] = {
		{"{\"children\":{\"w\":{\"command\":[\"echo\",\"" PAIR "\"]}}}", FACE},
		{"\xef\xbb\xbf \n{\"children\":{\"w\":{\"command\":[\"echo\",\"a" PAIR PAIR
		 "b\"]}}}\n",
			"a" FACE FACE "b"},
		{"{\"children\": {\"w\": {\"command\": [\"echo\", \"\\\\ud83d\\\"" PAIR "\"]}}}",
			"\\ud83d\"" FACE},
		{"{\"children\":{\"w\":{\"command\":[\"echo\",\"\\uD83D\\uDE00\"]}}}", FACE},
		{"{\"children\":{\"w\":{\"command\":[\"echo\",\"\\udbff\\udfff\\ud800\\udc00\"]}}}",
			"\xf4\x8f\xbf\xbf\xf0\x90\x80\x80"},
		{"{children: {w: {command: [echo, \"" PAIR "\"]}}} # it's \"" PAIR "\n", FACE},
		{"{children: {w: {command: [echo, '" PAIR "'], dir: \"/" PAIR "\"}}}", PAIR},
		{"{children: {w: {command: [echo, a\"" PAIR "], dir: \"/" PAIR "\"}}}", "a\"" PAIR},
	};
	for (size_t i = 0; i < LENGTH(rows); i++) {
		struct ph_conf *conf = load_good(rows[i].text);
		const struct ph_conf_child *child = conf->children[0];
		ck_assert_str_eq(child->command.v[1], rows[i].argument);
		if (child->dir)
			ck_assert_str_eq(child->dir, "/" FACE);
		ph_conf_free(conf);
	}
}
END_TEST

/* The place of `what` in the original, as an error has it. */
static void ck_place(const char *text, const char *what)
{
	char place[64];
	unsigned line = 1, column = 1;
	const char *at = strstr(text, what);
	ck_assert_ptr_nonnull(at);
	for (const char *s = text; s < at; s++) {
		column += ((unsigned char)*s & 0xc0) != 0x80;
		if (*s == '\n') {
			column = 1;
			line++;
		}
	}
	(void)snprintf(place, sizeof place, "prochub.yaml:%u:%u: ", line, column);
	ck_assert_msg(strncmp(errors.v[0].text.text, place, strlen(place)) == 0, "%s: %s not at %s",
		text, errors.v[0].text.text, place);
}

START_TEST(test_places_are_those_of_the_file)
{
	static const char *const texts[] = {
		"{\"node\":{\"labels\":[\"" PAIR "\"],\"zzz\":1}}",
		"{\"children\":{\"w\":{\"command\":[\"e\",\"\xc3\xa9" PAIR PAIR "\"],\"zzz\":1}}}",
		"{\"children\":{\"w\":{\"command\":[\"e\",\"" PAIR "\",\n\"" PAIR
		"\"], \"zzz\": \"" PAIR "\"}}}",
		"{\"children\":{\"w\":{\"command\":[\"" PAIR "\",\n\"\"], \r\n\"zzz\": 1}}}",
	};
	for (size_t i = 0; i < LENGTH(texts); i++) {
		ck_assert_ptr_null(load(texts[i]));
		ck_place(texts[i], i == 0 ? "\"" PAIR : "\"zzz");
	}
	static const char *const broken[] = {
		"{\"a\":\"" PAIR "\",\"b\":\"" PAIR PAIR "\" \"@zzz\"}",
		"{\"a\":\"" PAIR "\",\"b\":\"\\ud83d@zzz\"}",
		"{\"a\":\"" PAIR "\",\"b\":\"\\ude00\\ud83d@zzz\"}",
		"{\"a\":\"" PAIR "\",\"b\":\"\x01@zzz\"}",
	};
	static const char *const at[] = {"\"@zzz", "\\ud83d@", "\\ude00\\ud83d", "\x01@"};
	for (size_t i = 0; i < LENGTH(broken); i++) {
		ck_assert_ptr_null(load(broken[i]));
		ck_assert_ptr_nonnull(strstr(errors.v[0].text.text, ": not YAML: "));
		ck_place(broken[i], at[i]);
	}
}
END_TEST

START_TEST(test_half_a_pair)
{
	refuse("{\"a\": \"x\\ud83dy\"}",
		"prochub.yaml:1:9: not YAML: '\\ud83d' is half a character");
	refuse("{\"a\": \"\\ude00\"}", "prochub.yaml:1:8: not YAML: '\\ude00' is half a character");
	refuse("a: \"" PAIR "\"", "prochub.yaml:1:5: not YAML: '\\ud83d' is half a character "
				  "(pairs are JSON's; as YAML it is \\U and 8 digits)");
	refuse("{a: \"\\U00110000\"}", "prochub.yaml:1:6: not YAML: '\\U00110000' is no character");
}
END_TEST

/* Counts faces in what libyaml reads. -1: it does not read it. */
static int faces(const char *text, size_t n)
{
	yaml_parser_t parser;
	int found = 0;
	bool more = true;
	ck_assert(yaml_parser_initialize(&parser));
	yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, n);
	while (more && found >= 0) {
		yaml_event_t e;
		if (!yaml_parser_parse(&parser, &e)) {
			found = -1;
			break;
		}
		more = e.type != YAML_STREAM_END_EVENT;
		if (e.type == YAML_SCALAR_EVENT) {
			const char *at = (const char *)e.data.scalar.value;
			for (; (at = strstr(at, FACE)); at++)
				found++;
		}
		yaml_event_delete(&e);
	}
	yaml_parser_delete(&parser);
	return found;
}

/*
 * A pair in a double-quoted scalar is what libyaml refuses: in a text that it takes nothing may be
 * touched, and each that was joined must have become a character.
 */
START_TEST(test_only_double_quoted_ones_are_joined)
{
	static const char *const parts[] = {"\"", "\"", "\"" PAIR "\"", "'", "'" PAIR "'", PAIR,
		PAIR, "\\", "\\\"", "''", "a", "b", ":", ": ", " ", "\n", ", ", ",", "{", "}", "[",
		"]", " #", "#", "-", "- ", "&a ", "*a", "? ", "!", "|", "---", "\n---\n",
		"\xc3\xa9", "\xe2\x80\xa8", "\xc2\x85", "\t", "\r\n", "~"};
	unsigned taken = 0, joined = 0;
	uint32_t seed = 1;
	for (int i = 0; i < 200000; i++) {
		char text[256] = "{";
		seed = seed * 1664525 + 1013904223;
		for (unsigned k = (seed >> 20) % 12; k > 0; k--) {
			seed = seed * 1664525 + 1013904223;
			strcat(text, parts[(seed >> 16) % LENGTH(parts)]);
		}
		strcat(text, "}");
		struct ph_conf_joined j;
		size_t n = strlen(text);
		ck_assert_int_eq(ph_conf_join(text, n, &j), 0);
		int before = faces(text, n);
		ck_assert_msg(before < 0 || !j.text, "touched: %s", text);
		int after = j.text ? faces(j.text, j.n) : -1;
		ck_assert_msg(after < 0 || (size_t)after == j.n_ends, "not sound: %s", text);
		taken += before >= 0;
		joined += after > 0;
		ph_conf_joined_fini(&j);
	}
	ck_assert_uint_gt(taken, 1000);
	ck_assert_uint_gt(joined, 100);
}
END_TEST

START_TEST(test_many_on_one_line)
{
	size_t size = PH_CONF_FILE_MAX - 64, n;
	char *text = malloc(PH_CONF_FILE_MAX);
	strcpy(text, "{\"children\":{\"w\":{\"command\":[\"e\"");
	for (n = strlen(text); n + 20 < size; n += 15)
		memcpy(text + n, ",\"" PAIR "\"", 15);
	strcpy(text + n, "]}}}");
	struct ph_conf_env env = env_root();
	ck_assert_ptr_null(load_with(text, strlen(text), &env)); /* more than 1024 arguments */
	ck_assert_ptr_nonnull(strstr(errors.v[0].text.text, "command: more than 1024"));
	free(text);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {test_pairs_are_characters, test_places_are_those_of_the_file,
		test_half_a_pair, test_only_double_quoted_ones_are_joined, test_many_on_one_line};
	return run_suite("conf_surrogate", tests, LENGTH(tests));
}
