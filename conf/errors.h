/*
 * errors.h - collects the mistakes of a configuration.
 *
 * Decides how a place and a sentence are written together, and that no byte of a file can spoil a
 * terminal or a log line. Always: at most PH_CONF_ERRORS_MAX sentences; the rest is counted.
 * Tested in tests/unit/test_conf.c.
 */
#ifndef PH_CONF_ERRORS_H
#define PH_CONF_ERRORS_H

#include "conf/conf.h"

struct ph_conf_place {
	const char *file;      /* NULL: nowhere */
	uint32_t line, column; /* line 0: the file as a whole */
};

/* Adds "FILE:LINE:COLUMN: " and the sentence. */
void ph_conf_errors_add(struct ph_conf_errors *errors, struct ph_conf_place at, const char *format,
	...) __attribute__((format(printf, 3, 4)));

/* Orders by place, sentences without one last, and forgets the borrowed names of files. */
void ph_conf_errors_finish(struct ph_conf_errors *errors);

#define PH_CONF_SHOWN_SIZE 88
/* A text of a file for an error: at most 80 bytes, cut between characters. Returns `ret`. */
const char *ph_conf_shown(const char *text, char ret[PH_CONF_SHOWN_SIZE]);

#endif
