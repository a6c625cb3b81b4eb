/* The order of start and groups: what is refused, and what members carry from node to node. */
#include "tests/unit/test_conf.h"

#include "conf/load.h"
#include "run_tests.h"

#include <errno.h>

#define THREE "children: {db: {command: [x]}, api: {command: [x]}, web: {command: [x]}}\n"

START_TEST(test_refused)
{
	static const struct {
		const char *text, *sentence;
	} rows[] = {
		{"children: {web: {command: [x], after: [bd]}, db: {command: [x]}}",
			"1:32: children.web.after: 'bd' is not a child of this configuration, did "
			"you mean 'db'?"},
		{"children: {web: {command: [x], after: [-a]}}",
			"1:40: children.web.after: '-a' is not a name ([A-Za-z0-9._-], 1-63, not "
			"starting with '.' or '-')"},
		{"children: {web: {command: [x], after: [web]}}",
			"1:32: children.web.after: each waits for the next one, and none could "
			"start: web -> web"},
		{"children: {b: {command: [x], after: [a]}, a: {command: [x], after: [b]}}",
			"1:61: children.a.after: each waits for the next one, and none could "
			"start: a -> b -> a"},
		{"children: {x: {command: [x], after: [a]}, a: {command: [x], after: [o, b]},\n"
		 "  o: {command: [x]}, b: {command: [x], after: [o, c]},\n"
		 "  c: {command: [x], after: [a]}}",
			"1:61: children.a.after: each waits for the next one, and none could "
			"start: a -> b -> c -> a"},
		{"defaults: {after: [db]}\nchildren: {db: {command: [x]}, web: {command: [x]}}",
			"1:12: children.db.after: each waits for the next one, and none could "
			"start: db -> db"},
		{"groups: {shop: {children: [db, web]}}\nchildren: {db: {command: [x], after: "
		 "[x]},\n"
		 "  x: {command: [x], after: [web]}, web: {command: [x]}}",
			"2:31: children.db.after: each waits for the next one, and none could "
			"start: db -> x -> web -> db"},
		{"groups: {shop: {children: [x, a]}, more: {children: [b, y]}}\n"
		 "children: {a: {command: [x]}, y: {command: [x]},\n"
		 "  b: {command: [x], after: [a]}, x: {command: [x], after: [y]}}",
			"1:17: groups.shop.children: each waits for the next one, and none could "
			"start: a -> x -> y -> b -> a"},
		{"groups: {shop: {children: [db, wbe]}}\n" THREE,
			"1:17: groups.shop.children: 'wbe' is not a child of this configuration, "
			"did you mean 'web'?"},
		{"groups: {a: {children: [db]}, b: {children: [db]}}\n" THREE,
			"1:35: groups.b.children: 'db' is a member of the group 'a', and a child "
			"is in one group at most"},
		{"groups: {a: {children: [db, db]}}\n" THREE,
			"1:14: groups.a.children: 'db' stands twice"},
		{"groups: {a: {strategy: one-for-all}}\n" THREE,
			"1:10: groups.a: 'children' is missing"},
		{"groups: {a: {children: []}}\n" THREE,
			"1:24: groups.a.children: the list is empty"},
		{"groups: {a: {children: [db], strateg: one-for-all}}\n" THREE,
			"1:30: groups.a: unknown option 'strateg', did you mean 'strategy'?"},
		{"groups: {a: {children: [db], strategy: one-for-al}}\n" THREE,
			"1:40: groups.a.strategy: 'one-for-al' is not one of one-for-one, "
			"one-for-all, rest-for-one, did you mean 'one-for-all'?"},
		{"groups: {a: {children: [db]}, a: {children: [web]}}\n" THREE,
			"1:31: groups: 'a' stands twice, first at prochub.yaml:1:10"},
		{"groups: {-a: {children: [db]}}\n" THREE,
			"1:10: groups: '-a' is not a name ([A-Za-z0-9._-], 1-63, not starting "
			"with '.' or '-')"},
		{"groups: [a]\n" THREE, "1:9: groups: expected a mapping (name: options)"},
		{"children: {web: {command: [x], in_group: {a: {children: [web]}}}}",
			"1:32: children.web: unknown option 'in_group'"},
	};
	for (size_t i = 0; i < LENGTH(rows); i++) {
		char sentence[512];
		(void)snprintf(sentence, sizeof sentence, "prochub.yaml:%s", rows[i].sentence);
		refuse(rows[i].text, sentence);
		ck_assert_msg(errors.n == 1, "%s: also %s", rows[i].text, errors.v[1].text.text);
	}
}
END_TEST

/* Two ways to the same child are no circle. */
START_TEST(test_accepted)
{
	ph_conf_free(
		load_good("children: {a: {command: [x], after: [b, c]}, b: {command: [x],\n"
			  "  after: [d]}, c: {command: [x], after: [d, d]}, d: {command: [x]}}"));
	ph_conf_free(load_good("groups: {a: {children: [db, web]}, b: {children: [api]}}\n" THREE));
	ph_conf_free(load_good("groups: {}\n" THREE));
	ph_conf_free(
		load_good("groups: {a: {children: [db, web]}}\nchildren: {db: {command: [x]},\n"
			  "  web: {command: [x], after: [db]}}"));
}
END_TEST

/* Each level of a ladder has two children that wait for both below: 2^500 ways, one look. */
START_TEST(test_many_ways_take_no_time)
{
	char *text = NULL;
	size_t n;
	FILE *out = open_memstream(&text, &n);
	(void)fputs("children:\n", out);
	for (int i = 0; i < 500; i++)
		for (int k = 0; k < 2; k++)
			(void)fprintf(out, "  c%d-%d: {command: [x]%s", i, k, i ? "" : "}\n"),
				i ? (void)fprintf(out, ", after: [c%d-0, c%d-1]}\n", i - 1, i - 1)
				  : (void)0;
	(void)fclose(out);
	ph_conf_free(load_good(text));
	free(text);
}
END_TEST

START_TEST(test_a_member_has_its_group_with_it)
{
	struct ph_conf *conf = load_good("groups: {shop: {strategy: rest-for-one, children: [db, "
					 "web], within: 90s}}\n" THREE);
	const struct ph_conf_child *web = ph_conf_child_find(conf, "web");
	ck_assert_ptr_null(ph_conf_child_find(conf, "api")->in_group);
	char *text = ph_conf_child_text(web), *again;
	ck_assert_ptr_nonnull(strstr(text,
		",\"in_group\":{\"shop\":{\"strategy\":\"rest-for-one\",\"children\":[\"db\","
		"\"web\"],\"intensity\":10,\"within\":\"90s\"}}}"));
	struct ph_conf_child *copy;
	ck_assert_int_eq(ph_conf_child_parse("web", text, strlen(text), &copy, &errors), 0);
	ck_assert(ph_conf_child_equal(web, copy));
	again = ph_conf_child_text(copy);
	ck_assert_str_eq(text, again);
	copy->in_group->intensity++;
	ck_assert(!ph_conf_child_equal(web, copy));
	ph_conf_child_free(copy);
	free(again);
	free(text);
	ph_conf_free(conf);
}
END_TEST

START_TEST(test_a_text_with_a_bad_group)
{
	static const char *const groups[] = {"{}", "[]", "\"a\"", "{\"a\":{},\"b\":{}}",
		"{\"-a\":{\"children\":[\"x\"]}}", "{\"a\":{}}",
		"{\"a\":{\"children\":[\"x\"],\"more\":1}}"};
	for (size_t i = 0; i < LENGTH(groups); i++) {
		char text[200];
		struct ph_conf_child *child;
		(void)snprintf(
			text, sizeof text, "{\"command\":[\"x\"],\"in_group\":%s}", groups[i]);
		ck_assert_int_eq(
			ph_conf_child_parse("x", text, strlen(text), &child, &errors), -EINVAL);
	}
}
END_TEST

/* A change of the group is one of its members, for a reload: no restart of theirs. */
START_TEST(test_difference)
{
	struct ph_conf *before = load_good("groups: {a: {children: [db, web]}}\n" THREE);
	struct ph_conf *after =
		load_good("groups: {a: {children: [db, web], strategy: one-for-all}}\n" THREE);
	struct ph_conf_diff *diff;
	ck_assert_int_eq(ph_conf_diff(before, after, &diff), 0);
	ck_assert_uint_eq(diff->n_options, 0);
	ck_assert_uint_eq(diff->n_children, 2);
	for (size_t i = 0; i < 2; i++) {
		ck_assert_uint_eq(diff->children[i].n_options, 1);
		ck_assert_str_eq(diff->children[i].options[0], "groups");
		ck_assert(!diff->children[i].restart);
	}
	ph_conf_diff_free(diff);
	ph_conf_free(before);
	ph_conf_free(after);
}
END_TEST

static bool knows(void *arg, const char *name)
{
	return strcmp(name, arg) == 0;
}

/* Added at run time: after one of a file, or one that the cluster knows. */
START_TEST(test_added_at_run_time)
{
	struct ph_conf *base = load_good(THREE), *more;
	struct ph_conf_env env = env_root();
	static const char text[] = "children: {x: {command: [x], after: [web, other]}}";
	env.arg = (char[]){"other"};
	ck_assert_int_lt(
		ph_conf_load_children("-", text, strlen(text), base, &env, &more, &errors), 0);
	ck_assert_str_eq(errors.v[0].text.text,
		"-:1:30: children.x.after: 'other' is not a child of this configuration");
	env.knows_child = knows;
	ck_assert_int_eq(
		ph_conf_load_children("-", text, strlen(text), base, &env, &more, &errors), 0);
	ph_conf_free(more);
	ph_conf_free(base);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("conf_groups");
	TCase *tc = tcase_create("all");
	tcase_add_checked_fixture(tc, directory_new, directory_remove);
	tcase_add_test(tc, test_refused);
	tcase_add_test(tc, test_accepted);
	tcase_add_test(tc, test_many_ways_take_no_time);
	tcase_add_test(tc, test_a_member_has_its_group_with_it);
	tcase_add_test(tc, test_a_text_with_a_bad_group);
	tcase_add_test(tc, test_difference);
	tcase_add_test(tc, test_added_at_run_time);
	suite_add_tcase(suite, tc);
	return run_tests(suite);
}
