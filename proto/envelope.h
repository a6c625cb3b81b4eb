/*
 * envelope.h - the outside of every bus message: header, seal, replay window.
 *
 * Decides what a message must look like before anything of its body is read. It must not know
 * what bodies mean, which members exist, nor what time it is. Always holds: with a key ring no
 * bit of a message can be changed, and no message of another cluster or without a seal gets
 * through; without one nothing sealed gets through; nothing is written before all checks passed.
 *
 * The order in which a receiver checks: ph_envelope_open() (length, version, cluster, key, seal),
 * ph_envelope_is_for(), ph_windows_check() (replay), and only then the body is parsed. A message
 * for somebody else must not reach the window: its numbers are another receiver's.
 *
 * A message that is relayed travels whole inside the body of another one, so that the seal holds
 * from end to end; `hops` and `ttl_ms` are the sender's word and are never rewritten on the way.
 * Tested by tests/unit/test_envelope.c.
 */
#ifndef PH_PROTO_ENVELOPE_H
#define PH_PROTO_ENVELOPE_H

#include "base/busframe.h"
#include "base/err.h"
#include "base/types.h"
#include "proto/seal.h"

#define PH_ENVELOPE_VERSION 1
#define PH_ENVELOPE_HEADER 216u /* bytes */
#define PH_ENVELOPE_TAG 16u	/* bytes of Poly1305 behind a sealed body */
#define PH_ENVELOPE_HOPS_MAX 2u /* the largest `hops`: by way of one other member, and back */
#define PH_ENVELOPE_MAX PH_BUS_MESSAGE_MAX
#define PH_ENVELOPE_BODY_MAX (PH_ENVELOPE_MAX - PH_ENVELOPE_HEADER - PH_ENVELOPE_TAG)

struct ph_envelope {
	enum ph_plane plane;
	uint16_t hops;		   /* 0: came straight; at most PH_ENVELOPE_HOPS_MAX */
	uint32_t ttl_ms;	   /* of no use to its receiver after so long; 0: no limit */
	uint64_t cluster;	   /* ph_cluster_hash() */
	struct ph_name from;	   /* the node that made it */
	uint64_t from_incarnation; /* never 0 */
	struct ph_name to;	   /* empty: all */
	uint64_t to_incarnation;   /* 0: any */
	uint64_t sequence;	   /* from 1, one row a (sender, incarnation, plane, receiver) */
	uint64_t correlation;	   /* names a request in its reply; 0: none */
};

/*
 * Writes header and sealed body. `ring` NULL: unsealed. `size` is that of `ret_bytes`, which needs
 * ph_envelope_size(n) bytes; the body may be empty (`body` NULL then).
 * -EINVAL a header that ph_envelope_open() would refuse; -EMSGSIZE a body over
 * PH_ENVELOPE_BODY_MAX; -ENOBUFS `size` is too small.
 */
PH_MUST_CHECK int ph_envelope_seal(const struct ph_keyring *ring, const struct ph_envelope *header,
	const void *body, size_t n, uint8_t *ret_bytes, size_t size, size_t *ret_n,
	struct ph_err *err);

/* Bytes that a body of `n` needs, sealed or not. */
static inline size_t ph_envelope_size(size_t n)
{
	return n + PH_ENVELOPE_HEADER + PH_ENVELOPE_TAG;
}

/*
 * Checks a message and opens it in place: `bytes` is overwritten, *ret_body points into it
 * and has *ret_n bytes (no NUL behind them). `cluster` is the own one.
 * -EMSGSIZE too short, too long, or not as long as it says; -EPROTO not ours, another version, or
 * a field that no sender may write; -EXDEV another cluster; -ENOKEY sealed under a key that is not
 * in the ring, or sealed and there is no ring; -EPERM not sealed, and there is a ring; -EBADMSG
 * the seal does not fit. After an error the bytes are of no further use.
 */
PH_MUST_CHECK int ph_envelope_open(const struct ph_keyring *ring, uint64_t cluster, uint8_t *bytes,
	size_t n, struct ph_envelope *ret_header, const char **ret_body, size_t *ret_n,
	struct ph_err *err);

/* Whether it is for that node in that incarnation: for all, or names both (incarnation 0: any). */
bool ph_envelope_is_for(const struct ph_envelope *header, const char *node, uint64_t incarnation);

/* ---- replay window: each number is accepted once */

#define PH_WINDOW_SIZE 1024u /* how far behind the highest number one is still accepted */

struct ph_window {
	uint64_t highest; /* 0: none yet */
	uint64_t seen[PH_WINDOW_SIZE / 64];
};

/*
 * Takes a number: 0, and it is remembered; -EALREADY it was taken before; -ESTALE it is older
 * than the window, or 0. A jump ahead of any size is fine.
 */
PH_MUST_CHECK int ph_window_check(struct ph_window *window, uint64_t sequence);

/* A window for each plane of each sender, in the two incarnations of it that spoke last, and one
 * more for those that are older. Which of them counts is the receiver's business. */
#define PH_WINDOWS_MAX 1024u
struct ph_windows;

/* At most `max` senders (1-PH_WINDOWS_MAX); past them the one that is silent longest is
 * forgotten. -EINVAL, -ENOMEM. The caller frees with ph_windows_free(). */
PH_MUST_CHECK int ph_windows_new(size_t max, struct ph_windows **ret_windows);
void ph_windows_free(struct ph_windows *windows);
size_t ph_windows_count(const struct ph_windows *windows);

/*
 * Takes the number of an opened message. An incarnation that is not known begins anew, in the place
 * of the one that is silent longest. -EALREADY, -ESTALE as above; -ENOMEM.
 */
PH_MUST_CHECK int ph_windows_check(
	struct ph_windows *windows, const struct ph_envelope *header, struct ph_err *err);

#endif
