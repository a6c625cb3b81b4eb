/* Every row of the option table: default, ends of its range, beyond them, wrong shapes. */
#include "tests/unit/test_conf.h"

#include "conf/options.h"
#include "conf/scalar.h"
#include "conf/value.h"

/* The document that gives this option this value (YAML), all on one line. */
static void document(const struct ph_conf_table *table, const char *path, const char *value,
	char *ret, size_t size)
{
	char names[128], *save = NULL;
	int closes = 0;
	size_t n = 0;
	(void)snprintf(names, sizeof names, "%s", path);
	bool hook = table == &ph_conf_hook_table, group = table == &ph_conf_group_table;
	bool child = hook || group || table == &ph_conf_child_table;
	bool command = strcmp(path, "command") == 0, on = hook && strcmp(path, "on") == 0;
	bool members = strcmp(path, "children") == 0;
	n += (size_t)snprintf(ret + n, size - n, "%s%s%s%s",
		!child	? ""
		: hook	? "{hooks: {c: "
		: group ? "{children: {x: {command: [x]}}, groups: {c: "
			: "{children: {c: ",
		child ? "{" : "",
		!child || command   ? ""
		: group && !members ? "children: [x], "
		: group		    ? ""
				    : "command: [x], ",
		hook && !on ? "on: [node_dead], " : "");
	for (char *word = strtok_r(names, ".", &save); word; word = strtok_r(NULL, ".", &save)) {
		bool first = closes == 0;
		n += (size_t)snprintf(ret + n, size - n, "%s%s: ", first && child ? "" : "{",
			*word == '*' ? "x" : word);
		closes++;
	}
	n += (size_t)snprintf(ret + n, size - n, "%s", value);
	/* a file has a path, and nothing else has */
	if (strcmp(path, "log.path") == 0)
		n += (size_t)snprintf(ret + n, size - n, ", to: file");
	else if (strcmp(path, "log.to") == 0 && strstr(value, "file"))
		n += (size_t)snprintf(ret + n, size - n, ", path: /x");
	/* a check has something that it asks */
	else if (strcmp(path, "health.interval") == 0 || strcmp(path, "health.timeout") == 0 ||
		 strcmp(path, "health.failures") == 0)
		n += (size_t)snprintf(ret + n, size - n, ", tcp: \"1\"");
	closes += child ? 2 : 0;
	for (int i = 0; i < closes; i++)
		n += (size_t)snprintf(ret + n, size - n, "}");
	ck_assert_uint_lt(n, size);
}

/* A stray error of another option must not pass for the wanted one. */
static bool says(const char *part)
{
	for (size_t i = 0; i < errors.n; i++)
		if (strstr(errors.v[i].text.text, part))
			return true;
	return false;
}

static bool accepted(const struct ph_conf_table *table, const char *path, const char *value)
{
	char text[1024];
	document(table, path, value, text, sizeof text);
	struct ph_conf *conf = load(text);
	ph_conf_free(conf);
	return conf != NULL;
}

static const struct ph_conf_table *const tables[] = {
	&ph_conf_daemon_table, &ph_conf_child_table, &ph_conf_hook_table, &ph_conf_group_table};
#define each_row(t, o) \
	for (size_t t = 0; t < LENGTH(tables); t++) \
		for (const struct ph_conf_option *o = tables[t]->rows; \
			o < tables[t]->rows + tables[t]->n; o++)

START_TEST(test_rows_are_complete)
{
	each_row(t, o)
	{
		ck_assert_ptr_eq(ph_conf_option_find(tables[t], o->path), o);
		ck_assert_str_ne(o->help, "");
		ck_assert_uint_le(strlen(o->path), 48);
		bool chosen = o->type == PH_CONF_ENUM || o->type == PH_CONF_READY;
		ck_assert_msg(chosen == (o->choices != NULL), "%s", o->path);
		ck_assert_msg(o->here != PH_CONF_ONLY_DEFAULT || o->fallback, "%s", o->path);
		if (o->here == PH_CONF_YES)
			continue;
		ck_assert_uint_eq(o->offset, 0);
	}
}
END_TEST

/* A field has exactly one row: two rows with one offset would overwrite each other. */
START_TEST(test_fields_are_apart)
{
	each_row(t, o) for (size_t i = 0; i < tables[t]->n; i++)
	{
		const struct ph_conf_option *other = &tables[t]->rows[i];
		if (o->here == PH_CONF_YES && other->here == PH_CONF_YES && o != other)
			ck_assert_msg(
				o->offset != other->offset, "%s and %s", o->path, other->path);
	}
}
END_TEST

START_TEST(test_sections_stand_together)
{
	each_row(t, o)
	{
		size_t n =
			(size_t)(strrchr(o->path, '.') ? strrchr(o->path, '.') - o->path + 1 : 0);
		if (n == 0 || o == tables[t]->rows)
			continue;
		bool gone = false;
		for (const struct ph_conf_option *p = o - 1; p >= tables[t]->rows; p--) {
			bool same = strncmp(p->path, o->path, n) == 0;
			ck_assert_msg(!gone || !same, "%s and %s", p->path, o->path);
			gone = gone || !same;
		}
	}
}
END_TEST

START_TEST(test_defaults_are_accepted)
{
	each_row(t, o)
	{
		char quoted[128];
		if (o->here == PH_CONF_NO || !o->fallback || strcmp(o->path, "node.name") == 0)
			continue;
		(void)snprintf(quoted, sizeof quoted, "\"%s\"", o->fallback);
		bool seal = strcmp(o->path, "cluster.stream_seal") == 0;
		ck_assert_msg(accepted(tables[t], o->path, quoted) != seal, "%s: %s", o->path,
			errors.v[0].text.text);
		ck_assert_msg(accepted(tables[t], o->path, o->fallback) != seal, "%s", o->path);
	}
}
END_TEST

START_TEST(test_absent_is_not_available)
{
	each_row(t, o)
	{
		if (o->here != PH_CONF_NO)
			continue;
		ck_assert_msg(!accepted(tables[t], o->path, "1"), "%s", o->path);
		ck_assert_msg(says("not available in this version"), "%s: %s", o->path,
			errors.v[0].text.text);
		ck_assert_uint_eq(errors.n, 1);
		if (o->fallback) /* not even what will be its default */
			ck_assert_msg(!accepted(tables[t], o->path, o->fallback), "%s", o->path);
	}
}
END_TEST

START_TEST(test_choices)
{
	each_row(t, o)
	{
		struct ph_name word;
		bool here, open;
		for (unsigned i = 0; ph_conf_choice(o, i, &word, &here, &open); i++) {
			char value[160];
			const char *more = strcmp(word.s, "http:") == 0 ? "http://[::1]:80/" : "80";
			(void)snprintf(value, sizeof value, "\"%s%s\"", word.s, open ? more : "");
			bool fits = here && o->here == PH_CONF_YES;
			if (o->here == PH_CONF_ONLY_DEFAULT)
				fits = strcmp(word.s, o->fallback) == 0;
			if (strcmp(o->path, "cluster.stream_seal") == 0 ||
				strcmp(o->path, "cluster.partition.strategy") == 0)
				continue; /* depends on the key; needs an address */
			ck_assert_msg(accepted(tables[t], o->path, value) == fits, "%s %s: %s",
				o->path, value, errors.v[0].text.text);
			ck_assert_msg(fits || says("not available in this version"), "%s %s",
				o->path, value);
		}
		if (o->type == PH_CONF_ENUM && o->here == PH_CONF_YES) {
			ck_assert(!accepted(tables[t], o->path, "nonesuch"));
			ck_assert_msg(says("'nonesuch' is not one of "), "%s", o->path);
		}
	}
}
END_TEST

static bool depends_on_others(const char *path)
{
	static const char *const paths[] = {"cluster.fence_after", "cluster.partition.size",
		"cluster.partition.percent", "cluster.partition.hold", "restart.backoff",
		"restart.backoff_max"};
	for (size_t i = 0; i < LENGTH(paths); i++)
		if (strcmp(paths[i], path) == 0)
			return true;
	return false;
}

START_TEST(test_ranges)
{
	each_row(t, o)
	{
		enum ph_conf_type type = o->type;
		char low[64], high[64], value[128];
		if (o->here != PH_CONF_YES || o->max == 0 || o->choices ||
			ph_conf_shape(type) != PH_CONF_SHAPE_TEXT)
			continue;
		ph_conf_number_text(o, o->min, low, sizeof low);
		ph_conf_number_text(o, o->max, high, sizeof high);
		ck_assert_msg(depends_on_others(o->path) || accepted(tables[t], o->path, low),
			"%s %s: %s", o->path, low, errors.v[0].text.text);
		ck_assert_msg(depends_on_others(o->path) || accepted(tables[t], o->path, high),
			"%s %s: %s", o->path, high, errors.v[0].text.text);
		ph_conf_number_text(o, o->max + 1, value, sizeof value);
		ck_assert_msg(!accepted(tables[t], o->path, value), "%s %s", o->path, value);
		ck_assert_msg(says("is out of range") || type == PH_CONF_MODE, "%s", o->path);
		if (o->min > 0) {
			ph_conf_number_text(o, o->min - 1, value, sizeof value);
			ck_assert_msg(
				!accepted(tables[t], o->path, value), "%s %s", o->path, value);
			ck_assert_msg(says("is out of range"), "%s", o->path);
		}
	}
}
END_TEST

/* What no type takes. */
START_TEST(test_wrong_values)
{
	static const char *const never[] = {"-1", "99999999999999999999999h", "{a: b}", "[[a]]",
		"[{a: b}]", "null", "~", "", "[null]", "[~]"};
	each_row(t, o)
	{
		if (o->here == PH_CONF_NO)
			continue;
		for (size_t i = 0; i < LENGTH(never); i++) {
			bool command = strcmp(o->path, "health.exec") == 0;
			bool text = (o->type == PH_CONF_TEXT || command) && i < 2;
			bool fits = text || (o->type == PH_CONF_ENV && i == 2) ||
				    (strcmp(o->path, "log.to") == 0 && i == 5) ||
				    (o->type == PH_CONF_NAME && i == 1) ||
				    (o->type == PH_CONF_HOST && i == 1);
			if (o->type == PH_CONF_HOST && fits)
				continue; /* needs a listen */
			ck_assert_msg(accepted(tables[t], o->path, never[i]) == fits, "%s: %s: %s",
				o->path, never[i], errors.v[0].text.text);
		}
	}
}
END_TEST

START_TEST(test_shapes)
{
	each_row(t, o)
	{
		if (o->here != PH_CONF_YES)
			continue;
		if (ph_conf_shape(o->type) != PH_CONF_SHAPE_TEXT) {
			ck_assert_msg(!accepted(tables[t], o->path, "abc"), "%s", o->path);
			ck_assert_msg(says("expected a"), "%s", o->path);
			continue;
		}
		ck_assert_msg(!accepted(tables[t], o->path, "[abc]"), "%s", o->path);
		ck_assert_msg(says("expected a text, not a list"), "%s", o->path);
	}
}
END_TEST

START_TEST(test_nearest_words)
{
	static const struct {
		const char *section, *word, *near;
		int table;
	} rows[] = {
		{"", "retenton", "retention", 1},
		{"", "retention", "migration.retention", 1},
		{"migration.", "retenton", "retention", 1},
		{"", "comand", "command", 1},
		{"", "stop_timout", "stop_timeout", 1},
		{"", "watchdgo", "watchdog", 1},
		{"restart.", "polcy", "policy", 1},
		{"", "childen", "children", 0},
		{"", "hoks", "hooks", 0},
		{"", "gruops", "groups", 0},
		{"", "intensty", "intensity", 3},
		{"", "timout", "timeout", 2},
		{"", "name", "node.name", 0},
		{"cluster.", "listne", "listen", 0},
		{"", "zzz", "", 1},
		{"", "x", "", 1},
		{"", "completely_else", "", 0},
	};
	for (size_t i = 0; i < LENGTH(rows); i++) {
		char near[160];
		ph_conf_nearest(
			tables[rows[i].table], rows[i].section, rows[i].word, near, sizeof near);
		ck_assert_str_eq(near, rows[i].near);
	}
	ck_assert_uint_eq(ph_conf_distance("abc", "abc"), 0);
	ck_assert_uint_eq(ph_conf_distance("abc", "acb"), 1);
	ck_assert_uint_eq(ph_conf_distance("", "abc"), 3);
	ck_assert_uint_eq(ph_conf_distance("kitten", "sitting"), 3);
}
END_TEST

/* The example shows every option that works, and nothing else. */
START_TEST(test_example_names_every_option)
{
	const char *root = getenv("PH_TEST_ROOT");
	char path[512], text[32768];
	(void)snprintf(path, sizeof path, "%s/conf/prochub.yaml", root ? root : ".");
	FILE *in = fopen(path, "r");
	ck_assert_msg(in != NULL, "%s", path);
	size_t n = fread(text, 1, sizeof text - 1, in);
	text[n] = '\0';
	(void)fclose(in);
	each_row(t, o)
	{
		const char *last = strrchr(o->path, '.');
		char word[80];
		(void)snprintf(word, sizeof word, "%s:", last ? last + 1 : o->path);
		ck_assert_msg(o->here != PH_CONF_YES || strstr(text, word), "%s", o->path);
	}
}
END_TEST

int main(void)
{
	static char source[400];
	/* before the first chdir of a test */
	if (!getenv("PH_TEST_ROOT") && getcwd(source, sizeof source))
		(void)setenv("PH_TEST_ROOT", source, 1);
	const TTest *const tests[] = {test_rows_are_complete, test_fields_are_apart,
		test_sections_stand_together, test_defaults_are_accepted,
		test_absent_is_not_available, test_choices, test_ranges, test_wrong_values,
		test_shapes, test_nearest_words, test_example_names_every_option};
	return run_suite("conf_options", tests, LENGTH(tests));
}
