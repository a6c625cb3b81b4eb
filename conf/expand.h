/*
 * expand.h - the two kinds of variables in a value.
 *
 * ${VAR} and ${VAR:-text} are replaced once, at load, from the environment of the daemon; "$${" is
 * a literal "${", and any other '$' stands for itself. %i, %r, %n, %c and %% are only checked at
 * load and replaced for each instance (ph_conf_expand). Must not know options.
 * Always: a result has at most PH_CONF_VALUE_MAX bytes and is UTF-8.
 * Tested in tests/unit/test_conf_values.c.
 */
#ifndef PH_CONF_EXPAND_H
#define PH_CONF_EXPAND_H

#include "conf/conf.h"

#define PH_CONF_VALUE_MAX (128 * 1024) /* Linux takes no longer argument or variable */

/* *ret is the caller's. -EINVAL with a sentence: unset, not a name, not closed, too long, not
 * UTF-8; -ENOMEM. */
PH_MUST_CHECK int ph_conf_substitute(
	const char *text, const struct ph_conf_env *env, char **ret, struct ph_err *err);

/* 0, or -EINVAL with a sentence where a '%' is followed by anything but i, r, n, c, %. */
PH_MUST_CHECK int ph_conf_template_check(const char *text, struct ph_err *err);

#endif
