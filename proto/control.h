/*
 * control.h - the lines of the control socket: requests by verb, answers by number.
 *
 * Decides the frame only: {"op":VERB,"req":N,...}, {"re":N,"ok":true,...} and
 * {"re":N,"ok":false,"code":...,"text":...}, each with "more":true where further lines with the
 * same `re` follow. The arguments and results are JSON (jansson) that daemon and prochubctl
 * understand. As strict as codec.h: no double keys, no U+0000, no invalid UTF-8.
 *
 * Tests: tests/unit/test_worker_msg.c.
 */
#ifndef PH_PROTO_CONTROL_H
#define PH_PROTO_CONTROL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "proto/line.h"

/* A request; `args` is the whole object with op and req. Freed by ph_request_fini(). */
struct ph_request {
	const char *op; /* in args */
	uint64_t req;
	json_t *args;
};

/*
 * -EBADMSG: not an object, no `op`, or `req` missing or not a whole number below 2^53; where req
 * could be read it is in ret->req (else 0) with op and args NULL, so that the refusal can name it;
 * -ENOMEM.
 */
PH_MUST_CHECK int ph_request_decode(
	const char *line, size_t n, struct ph_request *ret, struct ph_err *err);
void ph_request_fini(struct ph_request *request);

/*
 * A request's line with its newline; `args` (an object or NULL) is borrowed; its own "op" and
 * "req" are not written. The caller frees it. NULL with errno: ENOMEM; EMSGSIZE over 1 MiB.
 */
char *ph_request_encode(const char *op, uint64_t req, const json_t *args, size_t *ret_n);

/* An answer; `body` is the whole object. Freed by ph_answer_fini(). */
struct ph_answer {
	uint64_t re;
	bool ok, more;
	const char *code, *text; /* in body; NULL where absent (always with ok) */
	json_t *body;
};

/* -EBADMSG: not an object, `re` or `ok` missing or of a wrong type; -ENOMEM; *ret is untouched. */
PH_MUST_CHECK int ph_answer_decode(
	const char *line, size_t n, struct ph_answer *ret, struct ph_err *err);
void ph_answer_fini(struct ph_answer *answer);

/*
 * An answer's line with its newline: `fields` (an object or NULL, borrowed) go behind "re", "ok"
 * and, if `more`, "more". The caller frees it. NULL with errno ENOMEM.
 */
char *ph_answer_encode(uint64_t re, const json_t *fields, bool more, size_t *ret_n);
/* A refusal: `code` a word, `text` a sentence or NULL. The same rules. */
char *ph_answer_encode_error(uint64_t re, const char *code, const char *text, size_t *ret_n);

#endif
