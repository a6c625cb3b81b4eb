/* stream_block.c - blocks on the wire: header, body, tag; sealing and opening. */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "io/stream_int.h"

_Static_assert(crypto_aead_chacha20poly1305_ietf_KEYBYTES == PH_SEAL_KEY_SIZE, "key size");
_Static_assert(crypto_aead_chacha20poly1305_ietf_ABYTES <= PH_STREAM_BLOCK_TAG_MAX, "tag size");

#define BODY_MIN 4096u /* a small state must not cost a large buffer */

void ph_stream_put_u32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (24 - 8 * i));
}

void ph_stream_put_u64(uint8_t *p, uint64_t v)
{
	ph_stream_put_u32(p, (uint32_t)(v >> 32));
	ph_stream_put_u32(p + 4, (uint32_t)v);
}

uint32_t ph_stream_get_u32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

uint64_t ph_stream_get_u64(const uint8_t *p)
{
	return (uint64_t)ph_stream_get_u32(p) << 32 | ph_stream_get_u32(p + 4);
}

size_t ph_stream_block_tag_bytes(enum ph_stream_seal seal)
{
	switch (seal) {
	case PH_STREAM_ENCRYPT:
		return crypto_aead_chacha20poly1305_ietf_ABYTES;
	case PH_STREAM_AUTH:
		return PH_STREAM_BLOCK_TAG_MAX;
	case PH_STREAM_NONE:
		break;
	}
	return 0;
}

/* Makes *buffer at least `need` bytes; what was in it is lost. */
static int buffer_reserve(uint8_t **buffer, size_t *size, size_t need)
{
	if (*buffer && *size >= need)
		return 0;
	size_t n = BODY_MIN;
	while (n < need)
		n *= 2;
	if (n > PH_STREAM_BLOCK_BYTES) /* the last doubling is only for the tag */
		n = PH_STREAM_BLOCK_BYTES + PH_STREAM_BLOCK_TAG_MAX;
	uint8_t *bigger = malloc(n);
	if (!bigger)
		return -ENOMEM;
	free(*buffer);
	*buffer = bigger;
	*size = n;
	return 0;
}

static void nonce_of(uint64_t counter, uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES])
{
	memset(nonce, 0, crypto_aead_chacha20poly1305_ietf_NPUBBYTES);
	ph_stream_put_u64(nonce + crypto_aead_chacha20poly1305_ietf_NPUBBYTES - 8, counter);
}

/* The tag of a plain block. The counter in it keeps blocks from being dropped or swapped. */
static void tag_plain(const struct ph_stream_block_key *key,
	const uint8_t head[PH_STREAM_BLOCK_HEAD], const uint8_t *body, size_t n,
	uint8_t ret_tag[PH_STREAM_BLOCK_TAG_MAX])
{
	crypto_generichash_state hash;
	uint8_t counter[8];
	ph_stream_put_u64(counter, key->counter);
	crypto_generichash_init(&hash, key->key, sizeof(key->key), PH_STREAM_BLOCK_TAG_MAX);
	crypto_generichash_update(&hash, counter, sizeof(counter));
	crypto_generichash_update(&hash, head, PH_STREAM_BLOCK_HEAD);
	if (n)
		crypto_generichash_update(&hash, body, n);
	crypto_generichash_final(&hash, ret_tag, PH_STREAM_BLOCK_TAG_MAX);
}

static int seal_body(struct ph_stream_conn *c, const uint8_t *body)
{
	struct ph_stream_block_out *out = &c->out;
	uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];
	out->body = body;
	switch (c->key_out.seal) {
	case PH_STREAM_ENCRYPT:
		if (buffer_reserve(&out->scratch, &out->scratch_size, out->length) < 0)
			return ph_stream_doom(c->stream, ENOMEM, "no memory for a block");
		nonce_of(c->key_out.counter, nonce);
		crypto_aead_chacha20poly1305_ietf_encrypt_detached(out->scratch, out->tag, NULL,
			body, out->length, out->head, PH_STREAM_BLOCK_HEAD, NULL, nonce,
			c->key_out.key);
		out->body = out->scratch;
		break;
	case PH_STREAM_AUTH:
		tag_plain(&c->key_out, out->head, body, out->length, out->tag);
		break;
	case PH_STREAM_NONE:
		break;
	}
	c->key_out.counter++;
	return 0;
}

int ph_stream_block_put(
	struct ph_stream_conn *c, const struct ph_stream_block *block, const uint8_t *body)
{
	struct ph_stream_block_out *out = &c->out;
	memset(out->head, 0, sizeof(out->head));
	ph_stream_put_u32(out->head, block->length);
	out->head[4] = (uint8_t)block->kind;
	ph_stream_put_u32(out->head + 8, block->round);
	ph_stream_put_u64(out->head + 12, block->offset);
	out->length = block->length;
	if (seal_body(c, body) < 0)
		return -1;
	out->sent = 0;
	out->total =
		PH_STREAM_BLOCK_HEAD + out->length + ph_stream_block_tag_bytes(c->key_out.seal);
	return 0;
}

/* The part of one piece that is not sent yet, as an iovec; returns how many were filled. */
static int unsent(struct iovec *iov, const uint8_t *piece, size_t n, size_t *skip)
{
	if (*skip >= n) {
		*skip -= n;
		return 0;
	}
	/* sendmsg only reads; iovec has no const */
	iov->iov_base = (void *)(uintptr_t)(piece + *skip);
	iov->iov_len = n - *skip;
	*skip = 0;
	return 1;
}

int ph_stream_block_flush(struct ph_stream_conn *c)
{
	struct ph_stream_block_out *out = &c->out;
	while (!ph_stream_block_idle(out)) {
		struct iovec iov[3];
		size_t skip = out->sent;
		int n = unsent(&iov[0], out->head, PH_STREAM_BLOCK_HEAD, &skip);
		n += unsent(&iov[n], out->body, out->length, &skip);
		n += unsent(&iov[n], out->tag, ph_stream_block_tag_bytes(c->key_out.seal), &skip);
		struct msghdr msg = {.msg_iov = iov, .msg_iovlen = (size_t)n};
		ssize_t sent = sendmsg(c->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent < 0) {
			if (errno == EAGAIN || errno == EINTR)
				return 0;
			return ph_stream_conn_cut(c, "sending to the peer: %s", strerror(errno));
		}
		out->sent += (size_t)sent;
		c->sent_ms = ph_stream_now_ms();
	}
	return 1;
}

/* Whether a header may stand here at all; who may send what is fixed by the direction. */
static bool head_legal(const struct ph_stream_conn *c, const struct ph_stream_block *b)
{
	if (c->stream->role == PH_STREAM_SOURCE)
		return b->kind == PH_STREAM_BLOCK_ACK && b->length == 0;
	if (b->kind == PH_STREAM_BLOCK_ROUND_END)
		return b->length == 8;
	return b->kind == PH_STREAM_BLOCK_DATA && b->length <= PH_STREAM_BLOCK_BYTES;
}

static int head_done(struct ph_stream_conn *c)
{
	struct ph_stream_block_in *in = &c->in;
	struct ph_stream *s = c->stream;
	in->block = (struct ph_stream_block){
		.length = ph_stream_get_u32(in->head),
		.kind = (enum ph_stream_block_kind)in->head[4],
		.round = ph_stream_get_u32(in->head + 8),
		.offset = ph_stream_get_u64(in->head + 12),
	};
	if (!head_legal(c, &in->block) || in->head[5] || in->head[6] || in->head[7])
		return ph_stream_doom(s, EPROTO, "the peer sent a block that makes no sense");
	if (s->role == PH_STREAM_TARGET && in->block.kind == PH_STREAM_BLOCK_DATA &&
		in->block.length > s->max_bytes - s->round_bytes)
		return ph_stream_doom(s, EFBIG, "the state is larger than %llu bytes",
			(unsigned long long)s->max_bytes);
	size_t need = in->block.length + ph_stream_block_tag_bytes(c->key_in.seal);
	if (buffer_reserve(&in->body, &in->body_size, need) < 0)
		return ph_stream_doom(s, ENOMEM, "no memory for a block");
	return 0;
}

static bool open_body(struct ph_stream_conn *c)
{
	struct ph_stream_block_in *in = &c->in;
	const uint8_t *tag = in->body + in->block.length;
	uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];
	uint8_t expected[PH_STREAM_BLOCK_TAG_MAX];
	bool right = true;
	switch (c->key_in.seal) {
	case PH_STREAM_ENCRYPT:
		nonce_of(c->key_in.counter, nonce);
		right = crypto_aead_chacha20poly1305_ietf_decrypt_detached(in->body, NULL, in->body,
				in->block.length, tag, in->head, PH_STREAM_BLOCK_HEAD, nonce,
				c->key_in.key) == 0;
		break;
	case PH_STREAM_AUTH:
		tag_plain(&c->key_in, in->head, in->body, in->block.length, expected);
		right = ph_seal_equal(expected, tag, sizeof(expected));
		break;
	case PH_STREAM_NONE:
		break;
	}
	c->key_in.counter++;
	return right;
}

int ph_stream_block_get(struct ph_stream_conn *c)
{
	struct ph_stream_block_in *in = &c->in;
	for (;;) {
		size_t need = PH_STREAM_BLOCK_HEAD;
		uint8_t *to = in->head + in->have;
		if (in->have >= PH_STREAM_BLOCK_HEAD) {
			need += in->block.length + ph_stream_block_tag_bytes(c->key_in.seal);
			to = in->body + (in->have - PH_STREAM_BLOCK_HEAD);
		}
		if (in->have < need) {
			ssize_t n = read(c->fd, to, need - in->have);
			if (n < 0 && (errno == EAGAIN || errno == EINTR))
				return 0;
			if (n < 0)
				return ph_stream_conn_cut(
					c, "reading from the peer: %s", strerror(errno));
			if (n == 0)
				return ph_stream_conn_cut(c, "the peer closed the connection");
			in->have += (size_t)n;
			c->heard_ms = ph_stream_now_ms();
			if (in->have == PH_STREAM_BLOCK_HEAD && head_done(c) < 0)
				return -1;
			if (in->have != PH_STREAM_BLOCK_HEAD)
				continue;
			need += in->block.length + ph_stream_block_tag_bytes(c->key_in.seal);
		}
		if (in->have < need)
			continue;
		if (!open_body(c))
			return ph_stream_doom(c->stream, EBADMSG, "the seal of a block is wrong");
		in->ready = true;
		in->done = 0;
		return 1;
	}
}

void ph_stream_block_next(struct ph_stream_block_in *in)
{
	in->have = 0;
	in->ready = false;
	in->done = 0;
}
