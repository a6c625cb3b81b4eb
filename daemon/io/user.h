/*
 * user.h - names of users and groups turned into numbers, once, at load.
 *
 * May wait for NSS (files, LDAP), so it is for loading a configuration, never for the loop.
 * Tested in tests/unit/test_io_user.c.
 */
#ifndef PH_IO_USER_H
#define PH_IO_USER_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct ph_user {
	uid_t uid;
	gid_t gid;     /* of `group` where given, else the user's primary one */
	char *name;    /* USER, LOGNAME */
	char *home;    /* HOME */
	char *shell;   /* SHELL; "/bin/sh" where the entry has none */
	gid_t *groups; /* supplementary ones, the primary included; n_groups of them */
	size_t n_groups;
};

/*
 * Looks `user` up: a name, or a decimal uid that has an entry. NULL: the daemon's own user, who
 * needs no entry: then the name is the number, and the home what HOME says, else "/". `group`
 * (a name or a number) replaces the primary group; NULL: the user's own. *ret is owned by the
 * caller: ph_user_fini(). Errors, with a sentence ("no such user 'www'"): -ENOENT no such user or
 * group, -ENOMEM, -EIO where the user database fails. *ret untouched then.
 */
PH_MUST_CHECK int ph_user_lookup(
	const char *user, const char *group, struct ph_user *ret, struct ph_err *err);
void ph_user_fini(struct ph_user *user);

/* The number of a group (name or decimal number). Errors as above. */
PH_MUST_CHECK int ph_user_group(const char *group, gid_t *ret, struct ph_err *err);

#endif
