/*
 * record.h - what a hub writes to its journal, as one plain struct.
 *
 * The shell turns it into a line of JSON and back (proto/record.c). A record is in force only
 * once its sync returned 0. Restored in order at the start, the records give the hub what it
 * promised before it died.
 */
#ifndef PH_BASE_RECORD_H
#define PH_BASE_RECORD_H

#include "base/bmsg.h"

#define PH_RECORDS(X) \
	X(NONE, "") \
	X(SEEN, "seen")		/* highest epoch known of a key, and the operator's wish */ \
	X(SPEC, "spec")		/* a spec in force that this node made or runs */ \
	X(DECLARED, "declared") /* hash of this node's own text of a child, and its revision */ \
	X(BEGUN, "begun")	/* A: so that a restart knows its outcome; nothing waits for it */ \
	X(FINAL, "final")	/* A: the last delta may have left */ \
	X(VOID, "void")		/* A: O was resumed */ \
	X(COMMIT, "commit")	/* A: B may activate; A does not resume by itself */ \
	X(DONE, "done")		/* A: B is the owner */ \
	X(PREPARED, "prepared") /* B: N has the whole state */ \
	X(ACTIVE, "active")	/* B: owns the child */ \
	X(NEVER, "never")	/* B: will never activate this id */ \
	X(FORGET, "forget")	/* the other side confirmed: the id can be dropped */ \
	X(VIEW, "view")		/* number (`epoch`) and members (`text`) of the view in force */ \
	X(BALLOT, "ballot") /* for view `epoch`: promised `hash`, accepted `revision`, `text` */ \
	X(LOST, "lost") /* an earlier journal could not be read: not settled yet (`ok`), or is */ \
	X(DRAINING, "draining")	  /* this node is drained (`ok`) or not */ \
	X(FORGOTTEN, "forgotten") /* `peer` is, up to incarnation `epoch`; not `ok`: no more */ \
	X(CONFLICT, "conflict") /* the state that lost is in the file `text`: not told yet (`ok`) \
				 */ \
	X(CLASHED, "clashed")	/* while another `peer` lived as `epoch`, this one was not let in */

enum ph_record_kind {
#define X(name, word) PH_RECORD_##name,
	PH_RECORDS(X)
#undef X
	PH_RECORD_COUNT
};

struct ph_record {
	enum ph_record_kind kind;
	struct ph_id id; /* of the migration */
	struct ph_key key;
	uint64_t epoch;	       /* SEEN: highest; migrations: that of A's ownership; ACTIVE: B's */
	uint64_t revision;     /* SPEC, DECLARED, PREPARED; CONFLICT: the winner's epoch; VIEW: the
				  life of this node that it let in */
	uint64_t hash;	       /* DECLARED */
	struct ph_name peer;   /* the other side of the migration */
	uint64_t born_ms;      /* SEEN: the newest beginning of a state heard of; core/heal.h */
	bool stopped_by_wish;  /* SEEN */
	uint32_t wishes;       /* SEEN: so often that changed by order, at most 65535 */
	uint64_t forced;       /* SEEN: revision that an order went against; core/slot.h */
	uint64_t granted;      /* SEEN: epoch last granted, 0: none ... */
	struct ph_name to, by; /* ... to whom, and who asked for it ... */
	struct ph_name past;   /* ... and the owner, held for dead, that it went past */
	bool asked;	       /* VOID: a claim for B had been asked */
	bool overlap;	       /* PREPARED, ACTIVE: no handover, N serves already */
	bool ok;	       /* DRAINING, LOST, FORGOTTEN, CLASHED */
	enum ph_result result; /* VOID, DONE: how it ends or has ended; else 0 */
	const char *text;      /* SPEC: canonical JSON; VOID, DONE: why it ended so;
				FORGOTTEN: the node's address */
	const struct ph_spec *spec; /* SPEC: filled in by the shell that restores */
};

#endif
