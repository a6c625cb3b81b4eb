/*
 * err.h - the sentence that goes with an error.
 *
 * Functions return 0 or a negative errno; where a person will read the reason, they also take a
 * struct ph_err and write one sentence that names what was found and what was expected.
 * Nothing here allocates, so an error can be made when memory is gone.
 */
#ifndef PH_BASE_ERR_H
#define PH_BASE_ERR_H

#include <stdarg.h>
#include <stddef.h>

#define PH_ERR_MAX 512 /* bytes of a sentence, with its NUL; longer ones are cut at the end */

#define PH_MUST_CHECK __attribute__((warn_unused_result))

struct ph_err {
	char text[PH_ERR_MAX]; /* no newline, no full stop at the end */
};

/*
 * Writes the sentence and returns -code, so that a caller can write
 * `return ph_err_set(err, EINVAL, "...")`. `err` may be NULL. `code` is a positive errno.
 */
int ph_err_set(struct ph_err *err, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Puts "what: " in front of the sentence that is there. */
void ph_err_prefix(struct ph_err *err, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#endif
