/* The limits of children: 0 is not "not set", what a daemon cannot set is refused by name. */
#include "tests/unit/test_conf.h"

#define CHILD(limits) "children: {web: {command: [x], limits: {" limits "}}}"

START_TEST(test_zero_is_a_value)
{
	struct ph_conf *none = load_good("children: {web: {command: [x]}}");
	struct ph_conf *zero = load_good(CHILD("core: 0"));
	ck_assert_uint_eq(none->children[0]->limits.core_bytes, PH_CONF_UNSET_U64);
	ck_assert_uint_eq(zero->children[0]->limits.core_bytes, 0);
	ck_assert(!ph_conf_child_equal(none->children[0], zero->children[0]));
	struct ph_conf_diff *diff;
	ck_assert_int_eq(ph_conf_diff(none, zero, &diff), 0);
	ck_assert_uint_eq(diff->n_children, 1);
	ck_assert_uint_eq(diff->children[0].n_options, 1);
	ck_assert_str_eq(diff->children[0].options[0], "limits.core");
	ck_assert(diff->children[0].restart);
	ph_conf_diff_free(diff);
	char *text = ph_conf_child_text(none->children[0]);
	ck_assert_ptr_null(strstr(text, "\"core\""));
	free(text);
	ph_conf_free(none);
	ph_conf_free(zero);
}
END_TEST

/* From node to node, and from -T into a file. */
START_TEST(test_travels)
{
	struct ph_conf *conf = load_good("defaults: {limits: {core: 0, tasks: 7}}\n" CHILD(
		"nofile: 4096, memory: 512M, cpu: 150%, missing: warn"));
	const struct ph_conf_child *child = conf->children[0];
	ck_assert_uint_eq(child->limits.nofile, 4096);
	ck_assert_uint_eq(child->limits.core_bytes, 0);
	ck_assert_uint_eq(child->limits.memory_bytes, UINT64_C(512) << 20);
	ck_assert_uint_eq(child->limits.cpu_percent, 150);
	ck_assert_uint_eq(child->limits.tasks, 7);
	ck_assert_int_eq(child->limits.missing, PH_CONF_MISSING_WARN);
	char *text = ph_conf_child_text(child);
	ck_assert_ptr_nonnull(strstr(text,
		"\"limits\":{\"nofile\":4096,\"core\":\"0\",\"memory\":\"512M\",\"cpu\":\"150%\","
		"\"tasks\":7,\"missing\":\"warn\"}"));
	struct ph_conf_child *again;
	ck_assert_int_eq(ph_conf_child_parse("web", text, strlen(text), &again, &errors), 0);
	ck_assert(ph_conf_child_equal(child, again));
	ph_conf_child_free(again);
	free(text);
	FILE *out = fopen("again.yaml", "w");
	ck_assert_ptr_nonnull(out);
	ck_assert_int_eq(ph_conf_print(conf, out), 0);
	ck_assert_int_eq(fclose(out), 0);
	struct ph_conf_env env = env_root();
	struct ph_conf *printed = NULL;
	ck_assert_int_eq(ph_conf_load("again.yaml", &env, &printed, &errors), 0);
	ck_assert(ph_conf_child_equal(child, printed->children[0]));
	ph_conf_free(printed);
	ph_conf_free(conf);
}
END_TEST

static void sentence(const struct ph_conf_env *env, const char *text, size_t i, const char *want)
{
	ck_assert_ptr_null(load_with(text, strlen(text), env));
	ck_assert_uint_gt(errors.n, i);
	ck_assert_str_eq(errors.v[i].text.text, want);
}

#define DIRS "node: {run_dir: /r, state_dir: /s}\n"

START_TEST(test_not_root)
{
	struct ph_conf_env env = env_root();
	static const char fine[] = DIRS CHILD("nofile: 64, core: 0");
	static const char warn[] = DIRS CHILD("memory: 64M, cpu: 5%, tasks: 3, missing: warn");
	static const char refused[] = DIRS CHILD("memory: 64M, cpu: 5%, tasks: 3");
	env.uid = 1000;
	ph_conf_free(load_with(fine, strlen(fine), &env));
	ck_assert_uint_eq(errors.n, 0);
	ph_conf_free(load_with(warn, strlen(warn), &env));
	ck_assert_uint_eq(errors.n, 0);
	static const char *const names[] = {"41: children.web.limits.memory",
		"54: children.web.limits.cpu", "63: children.web.limits.tasks"};
	for (size_t i = 0; i < LENGTH(names); i++) {
		char want[200];
		(void)snprintf(want, sizeof want,
			"prochub.yaml:2:%s: only a daemon of root can set it (limits.missing: "
			"warn starts it without)",
			names[i]);
		sentence(&env, refused, i, want);
	}
}
END_TEST

START_TEST(test_more_descriptors_than_there_can_be)
{
	struct ph_conf_env env = env_root();
	static const char fine[] = CHILD("nofile: 20000");
	env.nofile_max = 20000;
	ph_conf_free(load_with(fine, strlen(fine), &env));
	ck_assert_uint_eq(errors.n, 0);
	sentence(&env, CHILD("nofile: 20001"), 0,
		"prochub.yaml:1:41: children.web.limits.nofile: 20001 is more than the daemon can "
		"give (20000)");
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {test_zero_is_a_value, test_travels, test_not_root,
		test_more_descriptors_than_there_can_be};
	return run_suite("conf_limits", tests, LENGTH(tests));
}
