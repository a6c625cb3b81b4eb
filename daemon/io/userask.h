/*
 * userask.h - a look-up of a user in a thread of its own, as a directory of users may not answer.
 *
 * Decides nothing. Nobody waits for a thread: one that hangs ends by itself, some time, and frees
 * what is left of it. Tested in tests/unit/test_io_user.c and tests/e2e/test_users.py.
 */
#ifndef PH_IO_USERASK_H
#define PH_IO_USERASK_H

#include "io/user.h"

struct ph_user_ask;

#define PH_USER_ASK_MAX 32 /* threads; with as many that hang nothing is asked any more */

/* As ph_user_lookup(); both are copied. -EAGAIN there are as many; -ENOMEM; -errno. */
PH_MUST_CHECK int ph_user_ask_new(
	const char *user, const char *group, struct ph_user_ask **ret, struct ph_err *err);
/* Is it answered? Waits for that, but no longer than so. */
bool ph_user_ask_wait(struct ph_user_ask *ask, unsigned ms);
/* Of one that is answered; it is gone. Errors as ph_user_lookup(). */
PH_MUST_CHECK int ph_user_ask_take(
	struct ph_user_ask *ask, struct ph_user *ret, struct ph_err *err);
/* Also of one that is not answered. NULL is allowed. */
void ph_user_ask_free(struct ph_user_ask *ask);

#endif
