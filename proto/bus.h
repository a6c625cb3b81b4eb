/*
 * bus.h - the bodies of bus messages: JSON and struct ph_bmsg.
 *
 * Decides which fields each kind carries, their words and their limits: one table a kind (bus.c).
 * It must not know envelopes, who sent a message, nor whether it is welcome. Always holds: what one
 * side encodes the other decodes to the same struct, as far as the kind's table goes; a body that
 * does not fit is refused whole. `from`, `incarnation` (the envelope's) and `spec` of a spec line
 * (the receiving shell's) are not in a body. Tested by tests/unit/test_bus_msg.c.
 */
#ifndef PH_PROTO_BUS_H
#define PH_PROTO_BUS_H

#include "base/bmsg.h"
#include "base/err.h"
#include "proto/codec.h"

#define PH_BMSG_MAX (1024u * 1024u)	 /* bytes of a body */
#define PH_BMSG_MEMBERS_MAX 1024u	 /* members, and echoes */
#define PH_BMSG_LINES_MAX 4096u		 /* entries, migrations, specs, claims, each */
#define PH_BMSG_SPEC_MAX (256u * 1024u)	 /* bytes of a spec's text */
#define PH_BMSG_VIEW_MAX (72u * 1024u)	 /* bytes of a view: 1024 names of 63, and a number */
#define PH_BMSG_TEXT_MAX (256u * 1024u)	 /* bytes of a line of a worker's output */
#define PH_BMSG_FRAME_MAX (128u * 1024u) /* hex digits of a message that is relayed */

/*
 * -EBADMSG not JSON, an unknown kind, or a field that is missing or out of its range, with a
 * sentence that begins with the kind; -EMSGSIZE longer than PH_BMSG_MAX; -ENOMEM. On success texts
 * and lists live in *ret_doc, which the caller frees with ph_doc_free(). *ret is untouched on
 * error.
 */
PH_MUST_CHECK int ph_bmsg_decode(const char *body, size_t n, struct ph_bmsg *ret,
	struct ph_doc **ret_doc, struct ph_err *err);

/*
 * The body and its length, the caller's (free). NULL with errno: EINVAL no such kind, a required
 * field is empty, a list is too long, or a text too; EMSGSIZE over PH_BMSG_MAX; ENOMEM.
 */
char *ph_bmsg_encode(const struct ph_bmsg *message, size_t *ret_n);

/* The word of a kind, "" for PH_B_NONE. */
const char *ph_bkind_word(enum ph_bkind kind);
/* The words of the other enums, for tables and for people; each list ends with NULL. */
extern const char *const ph_words_member_state[];
extern const char *const ph_words_child_state[];
extern const char *const ph_words_phase[];
extern const char *const ph_words_result[];
extern const char *const ph_words_role[]; /* "", active, standby */
extern const char *const ph_words_verb[];

#endif
