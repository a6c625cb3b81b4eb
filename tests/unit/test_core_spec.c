/* A spec that is kept is one for all who keep it, and its texts are there as long as one of them.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "core/spec.h"
#include "run_tests.h"

static char text[16], nodes[16];

/* Somebody's own: it and its texts go when the call is over. */
static struct ph_spec made(void)
{
	(void)strcpy(text, "{}");
	(void)strcpy(nodes, "a*");
	return (struct ph_spec){
		.child = {"room"}, .revision = 7, .text = text, .nodes = nodes, .instances = 3};
}

START_TEST(a_clone_has_its_own_texts)
{
	struct ph_spec spec = made();
	const struct ph_spec *clone = ph_spec_clone(&spec);
	memset(text, 'x', sizeof text - 1);
	memset(nodes, 'x', sizeof nodes - 1);
	memset(&spec, 0, sizeof spec);
	ck_assert_str_eq(clone->child.s, "room");
	ck_assert_str_eq(clone->text, "{}");
	ck_assert_str_eq(clone->nodes, "a*");
	ck_assert_ptr_null(clone->labels);
	ck_assert_uint_eq(clone->instances, 3);
	ph_spec_free(clone);
	ph_spec_free(NULL);
}
END_TEST

START_TEST(a_clone_is_the_clone_of_itself)
{
	struct ph_spec spec = made();
	const struct ph_spec *clone = ph_spec_clone(&spec);
	ck_assert_ptr_ne(clone, &spec);
	ck_assert_ptr_eq(ph_spec_clone(clone), clone);
	ph_spec_free(clone);
	ck_assert_str_eq(clone->text, "{}"); /* one still keeps it */
	ph_spec_free(clone);
}
END_TEST

/* Whoever frees first: the texts go with the last of them. */
START_TEST(revisions_share_their_texts)
{
	struct ph_spec spec = made();
	const struct ph_spec *clone = ph_spec_clone(&spec);
	const struct ph_spec *other = ph_spec_revise(clone, 8);
	ck_assert_ptr_ne(other, clone);
	ck_assert_uint_eq(clone->revision, 7);
	ck_assert_uint_eq(other->revision, 8);
	ck_assert_ptr_eq(other->text, clone->text);
	ck_assert_ptr_eq(ph_spec_revise(other, 8), other);
	ph_spec_free(other);
	ph_spec_free(_i ? other : clone);
	ck_assert_str_eq(_i ? clone->text : other->text, "{}");
	ck_assert_str_eq(_i ? clone->nodes : other->nodes, "a*");
	ph_spec_free(_i ? clone : other);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core_spec");
	TCase *tc = tcase_create("all");
	tcase_add_test(tc, a_clone_has_its_own_texts);
	tcase_add_test(tc, a_clone_is_the_clone_of_itself);
	tcase_add_loop_test(tc, revisions_share_their_texts, 0, 2);
	suite_add_tcase(suite, tc);
	return run_tests(suite);
}
