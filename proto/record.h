/*
 * record.h - the records of the journal: one line of JSON and struct ph_record.
 *
 * Decides which fields each kind of record has and how they are written. It must not know files,
 * checksums or syncs. Always holds: what is encoded decodes to the same struct, as far as the
 * kind's table goes. `spec` is not written: the shell that restores makes it from `text`.
 * Tested by tests/unit/test_record.c.
 */
#ifndef PH_PROTO_RECORD_H
#define PH_PROTO_RECORD_H

#include "base/err.h"
#include "base/record.h"
#include "proto/codec.h"

#define PH_RECORD_MAX (512u * 1024) /* bytes of a record as JSON: what the journal takes */

/*
 * -EBADMSG not JSON, an unknown kind, or a field that is missing or out of its range; -EMSGSIZE
 * longer than PH_RECORD_MAX; -ENOMEM. On success the text lives in *ret_doc, which the caller
 * frees with ph_doc_free(). *ret is untouched on error.
 */
PH_MUST_CHECK int ph_record_decode(const char *line, size_t n, struct ph_record *ret,
	struct ph_doc **ret_doc, struct ph_err *err);

/*
 * One line without a newline, and its length, the caller's (free). NULL with errno: EINVAL no such
 * kind or a required field is empty; EMSGSIZE over PH_RECORD_MAX; ENOMEM.
 */
char *ph_record_encode(const struct ph_record *record, size_t *ret_n);

/* The word of a kind, "" for PH_RECORD_NONE. */
const char *ph_record_word(enum ph_record_kind kind);

#endif
