/*
 * busframe.h - what prochubd and prochub-bus say to each other over their socketpair.
 *
 * A frame is: u32 length of what follows (kind and payload), u8 kind, payload; numbers are big
 * endian. Both ends of the pair come from one build, so there is no version. An unknown kind or a
 * payload that does not fit is skipped; a length that is 0 or over PH_BUSFRAME_MAX cannot be, and
 * ends the connection, and with it the bus process, which is then started anew.
 * Here are the layout and the limits; who sends what when is decided in io/buslink and in bus/.
 * Tested by tests/unit/test_buslink.c.
 */
#ifndef PH_BASE_BUSFRAME_H
#define PH_BASE_BUSFRAME_H

#include "base/types.h"

/* One bus message as it travels: header, body and tag of the seal. */
#define PH_BUS_MESSAGE_MAX (1024u * 1024u)
/* Largest length of a frame: a message and what a command says about it. */
#define PH_BUSFRAME_MAX (PH_BUS_MESSAGE_MAX + 64u)
#define PH_BUSFRAME_HEADER 5u  /* bytes of length and kind */
#define PH_BUS_PEERS_MAX 2048u /* members and entries of `peers` that may be dialled at a time */

enum ph_plane {
	PH_PLANE_BROADCAST = 1, /* to all members, may be lost, never waits */
	PH_PLANE_DIRECTED = 2,	/* to one member, in order while the link holds */
};

/*
 * Commands, prochubd -> prochub-bus. An address is a u8 length and so many bytes.
 *   BIND    broadcast address, directed address: replaces what was bound
 *   DIAL    u32 peer, broadcast address, directed address (empty: only the broadcast one, for an
 *           entry of `peers`; or only the directed one, for a stranger); replaces what was known of
 *           that peer
 *   HANGUP  u32 peer: forgets it and what is queued for it
 *   CAST    message: to every dialled peer
 *   SEND    u32 peer, u32 ttl_ms, message: dropped once it has waited so long; 0 waits for ever
 *   MEND    u32 peer: takes the connections down and dials again; what is queued stays
 * Reports, prochub-bus -> prochubd.
 *   READY        it runs
 *   BOUND        both addresses of the last BIND are bound
 *   BIND_FAILED  u32 errno, text: none is
 *   GOT          u8 plane, message
 *   DROPPED      u32 peer (0: broadcasts), u32 count of messages since the last report
 */
#define PH_BUSFRAMES(X) \
	X(BIND, 1) \
	X(DIAL, 2) \
	X(HANGUP, 3) \
	X(CAST, 4) \
	X(SEND, 5) \
	X(MEND, 6) \
	X(READY, 64) \
	X(BOUND, 65) \
	X(BIND_FAILED, 66) \
	X(GOT, 67) \
	X(DROPPED, 68)

enum ph_busframe {
#define X(name, number) PH_BUSFRAME_##name = number,
	PH_BUSFRAMES(X)
#undef X
};

static inline void ph_put_u32(uint8_t *at, uint32_t v)
{
	at[0] = (uint8_t)(v >> 24);
	at[1] = (uint8_t)(v >> 16);
	at[2] = (uint8_t)(v >> 8);
	at[3] = (uint8_t)v;
}

static inline uint32_t ph_get_u32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

#endif
