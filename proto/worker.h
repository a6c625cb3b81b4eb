/*
 * worker.h - the messages between a worker and its daemon: lines of JSON and struct ph_wmsg.
 *
 * One table (worker.c) says of each op who sends it and which fields it has; daemon and worker
 * library both use it, so they cannot disagree. It decides shape only: whether a message is legal
 * in a state is for the core, and for the library's session, to say.
 * Always: what one side encodes the other decodes to the same struct (fields that the op lists).
 *
 * Tests: tests/unit/test_worker_msg.c.
 */
#ifndef PH_PROTO_WORKER_H
#define PH_PROTO_WORKER_H

#include "base/err.h"
#include "base/wmsg.h"
#include "proto/codec.h"
#include "proto/line.h"

/* Who sends an op; who sent a line that is decoded. */
enum ph_wdir {
	PH_FROM_WORKER = 1,
	PH_FROM_DAEMON = 2,
	PH_FROM_EITHER = 3,
};

/* The word of an op on the wire ("" for PH_W_NONE), who sends it, and its table of fields. */
const char *ph_wmsg_word(enum ph_wop op);
enum ph_wdir ph_wmsg_from(enum ph_wop op);
const struct ph_field *ph_wmsg_fields(enum ph_wop op);

/*
 * A line without its newline. On success *ret is filled (what the op does not list is zero) and
 * its texts live in *ret_doc, which the caller frees with ph_doc_free().
 * Errors, each with a sentence that begins with the op where there is one:
 * -EBADMSG  not JSON, no `op`, a required field missing, a wrong type or value (of an unknown op:
 *           of `req`);
 * -ENOMSG   an op that does not exist: *ret is zero but for has_req and req, so that
 *           `unknown_op` can be answered (no document is returned);
 * -EPROTO   an op that `from` does not send; *ret is zero but for op;
 * -ENOMEM.
 * After -EBADMSG and -ENOMEM *ret is untouched.
 */
PH_MUST_CHECK int ph_wmsg_decode(const char *line, size_t n, enum ph_wdir from, struct ph_wmsg *ret,
	struct ph_doc **ret_doc, struct ph_err *err);

/*
 * The line of a message with its newline (at most PH_LINE_MAX bytes in all) and a NUL behind that
 * does not count. The caller frees it. NULL with errno: EMSGSIZE too long; EINVAL a required
 * field is empty or out of range, or no such op; ENOMEM.
 */
char *ph_wmsg_encode(const struct ph_wmsg *msg, size_t *ret_n);

#endif
