/* timer.h - what every object of a hub is made of: timers, hash tables and lists. */
#ifndef PH_CORE_TIMER_H
#define PH_CORE_TIMER_H

#define HASH_FUNCTION(key, n, hash) \
	((hash) = (unsigned)ph_mix64(ph_hash_bytes(PH_HASH_SEED, key, n)))
#include <uthash.h>
#include <utlist.h>

#include "core/hub.h"
#include "core/slot.h"
#include "core/times.h"

#define PH_NEVER_MS UINT64_MAX

/* ---- timers: a heap; `pos` 0 is idle ---- */

#define PH_TIMERS(X) \
	X(HEARTBEAT) \
	X(HELLO) \
	X(PLAN) \
	X(FLUSH) \
	X(INSTANCE) \
	X(SOURCE) \
	X(TARGET) \
	X(CLAIM) \
	X(MOVES) \
	X(EXCHANGE) \
	X(ORDER) \
	X(STIR) \
	X(STOP) \
	X(CONFLICT)

enum ph_timer_kind {
#define X(name) PH_TIMER_##name,
	PH_TIMERS(X)
#undef X
	PH_TIMER_COUNT
};

struct ph_timer {
	uint64_t at_ms;
	size_t pos;
	enum ph_timer_kind kind;
	void *owner;
};

#endif
