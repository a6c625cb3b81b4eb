/* run_tests.h - how each unit test ends: its suite is run as the environment wants it (CK_...). */
#ifndef PH_TESTS_RUN_TESTS_H
#define PH_TESTS_RUN_TESTS_H

#include <check.h>
#include <stdlib.h>

/* Returns the exit status of the program. */
static inline int run_tests(Suite *suite)
{
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
