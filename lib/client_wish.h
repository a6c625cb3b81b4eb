/*
 * client_wish.h - a session's wishes as calls of the worker's callbacks. Private to lib/client*.c.
 * Tests: tests/unit/test_session.c.
 */
#ifndef PH_LIB_CLIENT_WISH_H
#define PH_LIB_CLIENT_WISH_H

#include "lib/client.h"

/* Any wish but HANG_UP. 0 or -ENOMEM. */
int ph_wish_do(struct prochub *p, const struct ph_wish *w);

#endif
