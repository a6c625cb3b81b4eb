/* Files that mean harm, or are no files: an error with a place, bounded work, nothing applied. */
#include "tests/unit/test_conf.h"

#include <errno.h>
#include <sys/stat.h>
#include <time.h>

#include "conf/tree.h"

static struct ph_conf *load_bytes(const char *text, size_t n)
{
	struct ph_conf_env env = env_root();
	return load_with(text, n, &env);
}

/* A text that repeats a part until it is 1 MiB. */
static char *repeated(const char *head, const char *part)
{
	char *text = malloc(PH_CONF_FILE_MAX);
	size_t n = strlen(head), size = strlen(part);
	memcpy(text, head, n);
	for (; n < PH_CONF_FILE_MAX; n++)
		text[n] = part[(n - strlen(head)) % size];
	return text;
}

START_TEST(test_full_files)
{
	static const struct {
		const char *head, *part;
	} rows[] = {
		{"", "["},
		{"", "{"},
		{"", "{a: "},
		{"", "- "},
		{"", "? "},
		{"", "a"},
		{"", "\""},
		{"", "&a "},
		{"", "&a [ "},
		{"", "*a "},
		{"", "!"},
		{"", "%"},
		{"", ": "},
		{"", "\n"},
		{"", "#"},
		{"", "'"},
		{"", "a: b\n"},
		{"", "a: "},
		{"", "---\n"},
		{"", "...\n"},
		{"", "\t"},
		{"", "|\n"},
		{"", ">\n "},
		{"", "${"},
		{"", ","},
		{"[", "a,"},
		{"", "]"},
		{"children: {a: {command: [", "${HOME},"},
		{"children: {a: {command: [", "a,"},
		{"children:\n", " a:\n"},
		{"children: {", "? a,"},
		{"", "\xc3\xa9"},
		{"", "a: &x b\n"},
		{"node: {name: ", "$"},
		{"node: {name: ", "${"},
		{"children: {a: {env: {", "a: b,"},
		{"node: {", "nam: 1, "},
	};
	for (size_t i = 0; i < LENGTH(rows); i++) {
		char *text = repeated(rows[i].head, rows[i].part);
		struct timespec from, to;
		(void)clock_gettime(CLOCK_MONOTONIC, &from);
		struct ph_conf *conf = load_bytes(text, PH_CONF_FILE_MAX);
		(void)clock_gettime(CLOCK_MONOTONIC, &to);
		ck_assert_msg(to.tv_sec - from.tv_sec < 10, "%s%s takes long", rows[i].head,
			rows[i].part);
		bool empty = strspn(rows[i].part, "\n#") > 0;
		ck_assert_msg((conf != NULL) == empty, "%s%s", rows[i].head, rows[i].part);
		ph_conf_free(conf);
		free(text);
	}
}
END_TEST

START_TEST(test_bytes)
{
	static const struct {
		const char *text;
		size_t n;
		const char *sentence;
	} rows[] = {
		{"node: {name: \"a\0b\"}", 19,
			"prochub.yaml:1:16: not YAML: control characters are not allowed"},
		{"node:\n  name: \xff\xfe\n", 17,
			"prochub.yaml:2:9: not YAML: invalid leading UTF-8 octet"},
		{"node:\n  name: \xc3(\n", 17,
			"prochub.yaml:2:10: not YAML: invalid trailing UTF-8 octet"},
		{"node: {name: \"a\\0b\"}", 20, "prochub.yaml:1:14: a NUL byte in a text"},
		{"\xff\xfe", 2, "prochub.yaml:1:1: not YAML: invalid leading UTF-8 octet"},
		{"\xfe\xff\0a\0b", 6, "prochub.yaml:1:1: not YAML: invalid leading UTF-8 octet"},
		{"a: \xed\xa0\x80", 6, "prochub.yaml:1:4: not YAML: invalid Unicode character"},
	};
	for (size_t i = 0; i < LENGTH(rows); i++) {
		ck_assert_ptr_null(load_bytes(rows[i].text, rows[i].n));
		ck_assert_str_eq(errors.v[0].text.text, rows[i].sentence);
		ck_assert_uint_eq(errors.n, 1);
	}
}
END_TEST

START_TEST(test_yaml_that_is_not_taken)
{
	static const struct {
		const char *text, *sentence;
	} rows[] = {
		{"node: {}\n---\nnode: {}\n", "2:1: a second document: one file holds one"},
		{"node: !!map {}", "1:7: tags ('!') are not supported"},
		{"node: {name: !x a}", "1:14: tags ('!') are not supported"},
		{"? [a]\n: b", "1:3: a key must be a text"},
		{"{{a: b}: c}", "1:2: a key must be a text"},
		{"node: *a", "1:7: alias '*a' without an anchor"},
		{"node: &a [*a]", "1:11: an alias inside its own anchor"},
		{"node: &a {b: *a}", "1:14: an alias inside its own anchor"},
		{"node:\n  <<: {name: a}",
			"2:3: merge keys ('<<') are not supported, see 'defaults'"},
		{"[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]", "1:17: nested more than 16 levels deep"},
		{"node: {name: a",
			"2:1: not YAML: did not find expected ',' or '}' while parsing a "
			"flow mapping"},
		{"node:\n\tname: a\n", "2:1: not YAML: found character that cannot start any token "
				       "while scanning for the next token"},
	};
	for (size_t i = 0; i < LENGTH(rows); i++) {
		char sentence[PH_ERR_MAX];
		(void)snprintf(sentence, sizeof sentence, "prochub.yaml:%s", rows[i].sentence);
		refuse(rows[i].text, sentence);
		ck_assert_uint_eq(errors.n, 1);
	}
}
END_TEST

START_TEST(test_aliases)
{
	struct ph_conf *conf = load_good("defaults: {env: &e {A: b}}\n"
					 "children:\n"
					 "  a: &a {command: &c [x, &w word], env: *e}\n"
					 "  b: {command: *c}\n"
					 "  c: *a\n"
					 "  d: {command: [*w, *w]}\n");
	ck_assert_uint_eq(conf->n_children, 4);
	ck_assert_str_eq(conf->children[1]->command.v[1], "word");
	ck_assert_str_eq(conf->children[2]->env.v[0].value, "b");
	ck_assert_str_eq(conf->children[3]->command.v[0], "word");
	ph_conf_free(conf);
}
END_TEST

/* A billion laughs: each line ten times the one before. */
START_TEST(test_laughs)
{
	char text[2048] = "l0: &l0 [lol]\n";
	for (int i = 1; i < 12; i++) {
		size_t n = strlen(text);
		n += (size_t)snprintf(text + n, sizeof text - n, "l%d: &l%d [", i, i);
		for (int k = 0; k < 10; k++)
			n += (size_t)snprintf(text + n, sizeof text - n, "*l%d,", i - 1);
		(void)snprintf(text + n, sizeof text - n, "]\n");
	}
	ck_assert_ptr_null(load(text));
	ck_assert_ptr_nonnull(strstr(errors.v[0].text.text, "too large with its aliases"));
}
END_TEST

/* One large text and many short ways to repeat it. */
START_TEST(test_repetition_is_bounded)
{
	size_t half = PH_CONF_FILE_MAX / 2, n;
	char *text = malloc(PH_CONF_FILE_MAX);
	n = (size_t)sprintf(text, "defaults: {env: {A: &a \"");
	memset(text + n, 'x', half / 8);
	n += half / 8;
	n += (size_t)sprintf(text + n, "\"}}\nchildren:\n");
	for (unsigned i = 0; n < PH_CONF_FILE_MAX - 64; i++)
		n += (size_t)sprintf(text + n, " c%u: {command: [a]}\n", i);
	ck_assert_ptr_null(load_bytes(text, n));
	ck_assert_ptr_nonnull(strstr(errors.v[errors.n - 1].text.text, "larger than 128 MiB"));
	n = (size_t)sprintf(text, "children:\n a: {command: [a, &a \"");
	memset(text + n, 'x', half / 8);
	n += half / 8;
	n += (size_t)sprintf(text + n, "\"]}\n b: {command: [a");
	while (n < PH_CONF_FILE_MAX - 64)
		n += (size_t)sprintf(text + n, ",*a");
	n += (size_t)sprintf(text + n, "]}\n");
	ck_assert_ptr_null(load_bytes(text, n));
	ck_assert_ptr_nonnull(strstr(errors.v[0].text.text, "too large with its aliases"));
	free(text);
}
END_TEST

START_TEST(test_large_child)
{
	char *text = malloc(PH_CONF_FILE_MAX);
	for (int big = 0; big <= 1; big++) {
		size_t n = (size_t)sprintf(text, "children: {a: {command: [a");
		for (int i = 0; i < 8; i++) {
			n += (size_t)sprintf(text + n, ",\"");
			memset(text + n, 'x', big ? 40000 : 30000);
			n += big ? 40000 : 30000;
			n += (size_t)sprintf(text + n, "\"");
		}
		n += (size_t)sprintf(text + n, "]}}");
		struct ph_conf *conf = load_bytes(text, n);
		ck_assert_int_eq(conf == NULL, big);
		if (!conf)
			ck_assert_ptr_nonnull(
				strstr(errors.v[0].text.text, "children.a: its options take 320"));
		ph_conf_free(conf);
	}
	free(text);
}
END_TEST

static int load_named(const char *name)
{
	struct ph_conf_env env = env_root();
	struct ph_conf *conf = NULL;
	int rc = ph_conf_load(name, &env, &conf, &errors);
	ck_assert_ptr_null(conf);
	ck_assert_uint_eq(errors.n, 1);
	return rc;
}

START_TEST(test_no_regular_file)
{
	ck_assert_int_eq(load_named("none.yaml"), -ENOENT);
	ck_assert_str_eq(errors.v[0].text.text, "none.yaml: No such file or directory");
	ck_assert_int_eq(mkdir("dir.yaml", 0700), 0);
	ck_assert_int_eq(load_named("dir.yaml"), -EINVAL);
	ck_assert_str_eq(errors.v[0].text.text, "dir.yaml: not a regular file");
	ck_assert_int_eq(mkfifo("fifo.yaml", 0600), 0);
	ck_assert_int_eq(load_named("fifo.yaml"), -EINVAL);
	ck_assert_int_eq(load_named("/dev/zero"), -EINVAL);
	ck_assert_int_eq(symlink("loop.yaml", "loop.yaml"), 0);
	ck_assert_int_eq(load_named("loop.yaml"), -ELOOP);
	write_file("closed.yaml", "", 0);
	ck_assert_int_eq(chmod("closed.yaml", 0), 0);
	if (geteuid() != 0)
		ck_assert_int_eq(load_named("closed.yaml"), -EACCES);
	char *text = repeated("", "#");
	write_file("large.yaml", text, PH_CONF_FILE_MAX);
	FILE *out = fopen("large.yaml", "a");
	ck_assert_int_eq(fputc('#', out), '#');
	ck_assert_int_eq(fclose(out), 0);
	ck_assert_int_eq(load_named("large.yaml"), -EFBIG);
	ck_assert_str_eq(errors.v[0].text.text, "large.yaml: larger than 1 MiB");
	free(text);
}
END_TEST

START_TEST(test_bad_standard_files)
{
	ck_assert_int_eq(mkdir("etc", 0700) | mkdir("etc/prochub.yaml", 0700), 0);
	ck_assert_int_eq(load_named(NULL), -EINVAL);
	ck_assert_str_eq(errors.v[0].text.text, "etc/prochub.yaml: not a regular file");
	ck_assert_int_eq(rmdir("etc/prochub.yaml"), 0);
	write_file("etc/conf.d", "", 0);
	ck_assert_int_eq(load_named(NULL), -ENOTDIR);
	ck_assert_str_eq(errors.v[0].text.text, "etc/conf.d: Not a directory");
	ck_assert_int_eq(remove("etc/conf.d") | mkdir("etc/conf.d", 0700), 0);
	write_file("etc/conf.d/a.yaml", "{", 1);
	ck_assert_int_eq(load_named(NULL), -EINVAL);
}
END_TEST

/* What a file says is shown, but cannot move a cursor, end a line or fill a screen. */
START_TEST(test_sentences_are_clean)
{
	char text[2048] = "node: {\"a\\e[2J\\n\xc3\xa9";
	memset(text + strlen(text), 'x', 1000);
	strcat(text, "\": 1}");
	ck_assert_ptr_null(load(text));
	const char *s = errors.v[0].text.text;
	ck_assert_uint_lt(strlen(s), 160);
	for (; *s; s++)
		ck_assert((unsigned char)*s >= 0x20);
	ck_assert_ptr_nonnull(strstr(errors.v[0].text.text, "'a?[2J?\xc3\xa9xx"));
}
END_TEST

/* A good file with a few bytes changed: whatever it says then, nothing breaks. */
START_TEST(test_changed_bytes)
{
	static const char good[] =
		"node: {name: a, labels: [x, y], weight: 1.5}\n"
		"cluster:\n  listen: tcp://127.0.0.1:7400\n  peers: [tcp://[::1]:7]\n"
		"defaults: &d {stop_timeout: 5s}\nchildren:\n  web: {command: [\"${HOME}/a\", %i], "
		"env: "
		"{A: b}, restart: {jitter: 20%}}\n  b: *d\n";
	static const char bytes[] = "\0\n\t\"'[]{}:,&*!|>%@`#-?$~ \xff\xc3";
	uint64_t seed = 1;
	for (int i = 0; i < 3000; i++) {
		char text[sizeof good];
		memcpy(text, good, sizeof good);
		for (int k = 0; k < 1 + i % 4; k++) {
			seed = seed * 6364136223846793005u + 1442695040888963407u;
			text[(seed >> 33) % (sizeof good - 1)] =
				bytes[(seed >> 13) % (sizeof bytes - 1)];
		}
		struct ph_conf_env env = env_root();
		struct ph_conf *conf = NULL;
		(void)!ph_conf_load_children(
			"x", text, sizeof good - 1, NULL, &env, &conf, &errors);
		ph_conf_free(conf);
		ph_conf_free(load_bytes(text, sizeof good - 1));
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {test_full_files, test_bytes, test_yaml_that_is_not_taken,
		test_aliases, test_laughs, test_repetition_is_bounded, test_large_child,
		test_no_regular_file, test_bad_standard_files, test_sentences_are_clean,
		test_changed_bytes};
	return run_suite("conf_hostile", tests, LENGTH(tests));
}
