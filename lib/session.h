/*
 * session.h - the worker's side of a session as a pure machine.
 *
 * Decides what a message, a finished or broken stream or a verdict of the worker means in each
 * state of a handover, which lines go out, and what is asked of the client (lib/client.c), the
 * part with the descriptors. No I/O, clock or allocation but that of the lines it keeps.
 * Always: a frozen session stays frozen until `resume` or `committed`; a state is applied only
 * when its end was announced and exactly so many bytes were read; what the daemon repeats is
 * answered as before and done once.
 *
 * Tests: tests/unit/test_session.c.
 */
#ifndef PH_LIB_SESSION_H
#define PH_LIB_SESSION_H

#include "base/err.h"
#include "base/wmsg.h"

struct ph_doc;

/* IDLE also means: the state that was taken is applied and activated. */
#define PH_HAND_STATES(X) \
	X(IDLE)	     /* no handover */ \
	X(ASKED)     /* the worker's verdict on handover_ask is awaited */ \
	X(GRANTED)   /* accepted; handover_start has not come */ \
	X(STARTING)  /* the verdict on handover_start is awaited */ \
	X(SENDING)   /* a round is on its way; with cap rounds the worker serves */ \
	X(SENT)	     /* that round was announced by state_end */ \
	X(FREEZING)  /* frozen, the last round is on its way */ \
	X(FROZEN)    /* frozen, and all is said */ \
	X(COMMITTED) /* another one owns it */ \
	X(OFFERED)   /* the worker's verdict on the state that is offered is awaited */ \
	X(LOADING)   /* a round is being read */ \
	X(APPLYING)  /* it is whole; the worker applies it */ \
	X(LOADED)    /* applied; another round, activate or abort comes */ \
	X(REJECTED)  /* refused the state, or a round of it was broken */

enum ph_hand {
#define X(name) PH_HAND_##name,
	PH_HAND_STATES(X)
#undef X
	PH_HAND_COUNT
};

#define PH_SESSION_INPUTS(X) \
	X(WELCOME) \
	X(ASK) \
	X(START) \
	X(NEXT_ROUND) \
	X(FREEZE) \
	X(RESUME) \
	X(COMMITTED) \
	X(CONFLICT) \
	X(HANDOVER) \
	X(STATE_END) \
	X(ACTIVATE) \
	X(ABORT) \
	X(LOST)	    /* the control connection is gone */ \
	X(ACCEPTED) /* the worker's verdict: yes; a state was applied */ \
	X(REFUSED)  /* no; `code` */ \
	X(ENDED)    /* the data connection is through; `bytes` of it */ \
	X(BROKEN)   /* the data connection failed, or the worker gave up */

enum ph_session_in {
#define X(name) PH_IN_##name,
	PH_SESSION_INPUTS(X)
#undef X
	PH_IN_COUNT
};

/* What the client is to do, in this order. */
enum ph_wish_kind {
	PH_WISH_ASK,	   /* callback ask; answer with ACCEPTED or REFUSED */
	PH_WISH_ESTIMATE,  /* callback estimate; answer with ACCEPTED: it was granted before */
	PH_WISH_FREEZE,	   /* callback freeze */
	PH_WISH_SAVE,	   /* callback save, then stream the round over a data connection */
	PH_WISH_OFFER,	   /* callback offer; answer with ACCEPTED or REFUSED */
	PH_WISH_READ,	   /* open a data connection and read the round */
	PH_WISH_APPLY,	   /* callback loaded(ok 1); answer with ACCEPTED or REFUSED */
	PH_WISH_DROP,	   /* close the data connection; for a reader loaded(ok 0) */
	PH_WISH_RESUME,	   /* callback resume */
	PH_WISH_COMMITTED, /* callback committed */
	PH_WISH_CONFLICT,  /* callback conflict */
	PH_WISH_ACTIVATE,  /* callback activate */
	PH_WISH_STANDBY,   /* callback standby */
	PH_WISH_ABORT,	   /* callback abort */
	PH_WISH_STOP,	   /* callback stop */
	PH_WISH_FOUND,	   /* callback found */
	PH_WISH_CHANGED,   /* callback changed */
	PH_WISH_NOTE,	   /* callback note with `err` */
	PH_WISH_HANG_UP,   /* close the control connection after the lines were tried, reconnect */
};

#define PH_WISHES_MAX 8
#define PH_PENDING_MAX 64		/* lookups and watches */
#define PH_SESSION_OUT_MAX (256 * 1024) /* bytes of lines that wait to be sent */

struct ph_wish {
	enum ph_wish_kind kind;
	uint32_t round;
	bool final;
	uint64_t bytes;
	const struct ph_wmsg *msg; /* the message that made the wish; valid during the step */
};

/* A lookup or watch that is repeated after a reconnection. */
struct ph_pending {
	enum ph_wop op; /* NONE: free */
	uint64_t req;
	struct ph_name child;
	char prefix[PH_NAME_SIZE];
	bool by_prefix;
};

struct ph_session_input {
	enum ph_session_in kind;
	const struct ph_wmsg *msg; /* inputs that are messages */
	uint64_t bytes;		   /* ENDED; ACCEPTED of a start: the estimate, 0 where unknown */
	int code;		   /* REFUSED: 1 ... of prochub/worker.h */
	uint64_t retry_after_ms;   /* REFUSED after ASK */
	const char *text;	   /* REFUSED, or NULL */
};

struct ph_session {
	struct ph_wmsg hello; /* token, caps, state; standing is filled in for each connection */
	bool up;	      /* welcomed */
	bool greeted;	      /* welcomed at least once */
	enum ph_hand hand;
	bool frozen, streaming;
	enum ph_role role;
	uint64_t epoch;
	struct ph_name node, child;
	uint32_t instance;

	struct ph_id id; /* of the handover; none when idle */
	uint64_t id_epoch;
	uint32_t round;
	bool final;
	uint64_t max_bytes;
	bool whole; /* the reader: state_end has come, with `bytes`; `got` were read at the end */
	bool ended;
	uint64_t bytes, got;
	struct ph_wmsg last; /* the answer that is repeated after a reconnection; op NONE: none */

	bool ready, ready_said; /* the worker can serve; the daemon heard it since it activated */
	char *meta;		/* or NULL */
	uint64_t next_req;
	struct ph_pending pending[PH_PENDING_MAX];

	char *out; /* lines that wait */
	size_t out_n, out_size;

	struct ph_wish wishes[PH_WISHES_MAX];
	size_t n_wishes;
	struct ph_err err;  /* of the newest NOTE */
	int failed;	    /* -ENOMEM that a handler met */
	struct ph_wmsg msg; /* the newest line, and what its texts are in */
	struct ph_doc *doc;
};

/* `hello` is copied (its texts are not used). Nothing is allocated. */
void ph_session_init(struct ph_session *s, const struct ph_wmsg *hello);
void ph_session_fini(struct ph_session *s);

/* A new connection stands: `hello`, with the standing, is the first line. -ENOMEM. */
PH_MUST_CHECK int ph_session_connected(struct ph_session *s);

/* The next wish; false: none. What it points to lives until the next line. */
bool ph_session_take(struct ph_session *s, struct ph_wish *ret);

/*
 * One line of the daemon, one other input. The caller takes all wishes and carries them out
 * before the next line. A bad line is answered `error` and wishes HANG_UP;
 * one that does not fit the state is noted and ignored.
 * -EPROTO an input that the state cannot have (a defect of the caller); -ENOMEM.
 */
PH_MUST_CHECK int ph_session_line(struct ph_session *s, const char *line, size_t n);
PH_MUST_CHECK int ph_session_step(struct ph_session *s, const struct ph_session_input *in);

/* Queues a message of the worker. -ENOTCONN, -ENOBUFS, -EINVAL, -EMSGSIZE, -ENOMEM: not queued. */
PH_MUST_CHECK int ph_session_say(struct ph_session *s, const struct ph_wmsg *msg);
/*
 * ready (or with `ready` false meta) with a JSON object or NULL; kept, and said once this worker is
 * active, again after each activation and reconnection.
 */
PH_MUST_CHECK int ph_session_ready(struct ph_session *s, bool ready, const char *meta);
/* Says `ready` where it is owed: after the worker was told that it is active. */
void ph_session_owe_ready(struct ph_session *s);
/* -EINVAL unless COMMITTED. */
PH_MUST_CHECK int ph_session_handled(struct ph_session *s);
/* Queues and keeps a lookup or watch; the number, or -ENOBUFS. */
PH_MUST_CHECK int64_t ph_session_want(struct ph_session *s, const struct ph_pending *wanted);
/* -ENOENT: no such watch. */
PH_MUST_CHECK int ph_session_unwatch(struct ph_session *s, uint64_t req);

/* `n` bytes of s->out were sent. */
void ph_session_sent(struct ph_session *s, size_t n);

const char *ph_hand_name(enum ph_hand hand);

#endif
