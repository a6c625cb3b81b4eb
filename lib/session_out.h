/*
 * session_out.h - what a session says and keeps to say again. Private to lib/session*.c.
 * Tests: tests/unit/test_session.c.
 */
#ifndef PH_LIB_SESSION_OUT_H
#define PH_LIB_SESSION_OUT_H

#include "lib/session.h"

/* Says it if there is a connection; else it is repeated later or was only an answer. */
void ph_session_must_say(struct ph_session *s, const struct ph_wmsg *msg);
/* What a daemon that is new to this worker has to hear: ready with meta, lookups, watches. */
void ph_session_repeat(struct ph_session *s);
/* The same without ready. */
void ph_session_repeat_wanted(struct ph_session *s);
/* The error that a handler met in saying something, once. */
int ph_session_out_error(struct ph_session *s);

#endif
