/*
 * write.h - texts as YAML and JSON that our own loader reads back byte for byte.
 * Tested in tests/unit/test_conf_roundtrip.c.
 */
#ifndef PH_CONF_WRITE_H
#define PH_CONF_WRITE_H

#include "conf/options.h"

enum ph_conf_style {
	PH_CONF_JSON, /* compact; nothing is escaped against expansion */
	PH_CONF_YAML, /* plain where that is safe, "${" as "$${" */
};

/* A text, in quotes where they are needed. */
void ph_conf_write_string(FILE *out, const char *text, enum ph_conf_style style);
/* The value of an option that is set: a scalar, a list or a mapping in flow style. */
void ph_conf_write_value(
	FILE *out, const struct ph_conf_option *o, const void *holder, enum ph_conf_style style);

#endif
