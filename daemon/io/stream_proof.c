/* stream_proof.c - how two daemons prove to each other that they know a stream's ticket. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "io/stream_int.h"

#define HELLO_MAGIC "PHST"
#define ANSWER_MAGIC "PHSA"
#define VERSION 1
#define STATUS_OK 0
#define STATUS_SEAL_DIFFERS 1 /* for the operator; nothing is proven with it */

static void prove(const struct ph_stream_conn *c, const struct ph_stream *s, bool dialer,
	uint8_t ret_proof[PH_STREAM_PROOF_BYTES])
{
	static const char *const seals[] = {"encrypt", "auth", "none"};
	char context[64];
	snprintf(context, sizeof(context), "stream %s %s %s", dialer ? "dialer" : "listener",
		c->dialer_role == PH_STREAM_SOURCE ? "source" : "target", seals[s->seal]);
	ph_seal_proof(s->ticket, context, c->nonce_dialer, c->nonce_listener, ret_proof);
}

static void keys_make(struct ph_stream_conn *c, const struct ph_stream *s, bool dialer)
{
	c->key_out.seal = c->key_in.seal = s->seal;
	if (s->seal == PH_STREAM_NONE)
		return;
	ph_seal_stream_key(c->streams->ring, s->ticket, c->nonce_dialer, c->nonce_listener,
		dialer ? 0 : 1, c->key_out.key);
	ph_seal_stream_key(c->streams->ring, s->ticket, c->nonce_dialer, c->nonce_listener,
		dialer ? 1 : 0, c->key_in.key);
}

/* Both have proven the ticket. */
static void conn_open(struct ph_stream_conn *c)
{
	struct ph_stream *s = c->stream;
	c->state = PH_STREAM_CONN_OPEN;
	if (s->role == PH_STREAM_SOURCE)
		return; /* linked when the target has told its position */
	s->linked = true;
	s->lost_at_ms = 0;
	/* tells the position, which is where the source goes on */
	ph_stream_target_ack(s);
}

int ph_stream_shake_flush(struct ph_stream_conn *c)
{
	while (c->shake_sent < c->shake_total) {
		ssize_t n = send(c->fd, c->shake_out + c->shake_sent,
			c->shake_total - c->shake_sent, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
			event_add(c->ev_write, NULL);
			return 0;
		}
		if (n < 0)
			return ph_stream_conn_cut(c, "sending to the peer: %s", strerror(errno));
		c->shake_sent += (size_t)n;
	}
	event_del(c->ev_write);
	/* a dialer's proof is the last that it says before blocks */
	if (c->stream && c->state == PH_STREAM_CONN_ASKED &&
		c->shake_total == PH_STREAM_PROOF_BYTES)
		conn_open(c);
	return 0;
}

static void shake_queue(struct ph_stream_conn *c, size_t n)
{
	c->shake_sent = 0;
	c->shake_total = n;
}

/* Reads until `want` bytes of the handshake are there. 1 complete, 0 not yet, -1 cut. */
static int shake_get(struct ph_stream_conn *c, size_t want)
{
	ssize_t n = read(c->fd, c->shake_in + c->shake_have, want - c->shake_have);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < 0)
		return ph_stream_conn_cut(c, "reading from the peer: %s", strerror(errno));
	if (n == 0)
		return ph_stream_conn_cut(c, "the peer closed the connection without a proof");
	c->shake_have += (size_t)n;
	if (c->shake_have < want)
		return 0;
	c->shake_have = 0;
	return 1;
}

int ph_stream_shake_hello(struct ph_stream_conn *c)
{
	struct ph_stream *s = c->stream;
	uint8_t *p = c->shake_out;
	int error = 0;
	socklen_t n = sizeof(error);
	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0)
		error = errno;
	if (error)
		return ph_stream_conn_cut(c, "connecting to the peer: %s", strerror(error));
	c->state = PH_STREAM_CONN_ASKED;
	c->since_ms = ph_stream_now_ms();
	c->dialer_role = s->role;
	ph_random_bytes(c->nonce_dialer, sizeof(c->nonce_dialer));
	memcpy(p, HELLO_MAGIC, 4);
	p[4] = VERSION;
	p[5] = (uint8_t)s->role;
	p[6] = (uint8_t)s->seal;
	p[7] = 0;
	memcpy(p + 8, s->here ? s->other.b : s->id.b, sizeof(s->id.b));
	memcpy(p + 24, c->nonce_dialer, sizeof(c->nonce_dialer));
	shake_queue(c, PH_STREAM_HELLO_BYTES);
	event_add(c->ev_read, NULL);
	return ph_stream_shake_flush(c);
}

/* Dialer: the listener's answer is there. */
static int dialer_answered(struct ph_stream_conn *c)
{
	struct ph_stream *s = c->stream;
	const uint8_t *p = c->shake_in;
	uint8_t proof[PH_STREAM_PROOF_BYTES];
	if (memcmp(p, ANSWER_MAGIC, 4) != 0 || p[4] != VERSION)
		return ph_stream_doom(s, EACCES, "the peer does not speak this version of streams");
	if (p[5] == STATUS_SEAL_DIFFERS)
		return ph_stream_doom(s, EACCES, "the peer has another stream_seal");
	memcpy(c->nonce_listener, p + 8, sizeof(c->nonce_listener));
	prove(c, s, false, proof);
	if (p[5] != STATUS_OK || !ph_seal_equal(proof, p + 40, sizeof(proof)))
		return ph_stream_doom(s, EACCES, "the peer did not prove the ticket");
	prove(c, s, true, c->shake_out);
	shake_queue(c, PH_STREAM_PROOF_BYTES);
	keys_make(c, s, true);
	return ph_stream_shake_flush(c);
}

/* Listener: a hello is there. -1: the guest is shown out. */
static int guest_asked(struct ph_stream_conn *c)
{
	const uint8_t *p = c->shake_in;
	if (memcmp(p, HELLO_MAGIC, 4) != 0 || p[4] != VERSION || p[5] > PH_STREAM_TARGET || p[7])
		return -1;
	memcpy(c->id.b, p + 8, sizeof(c->id.b));
	c->dialer_role = (enum ph_stream_role)p[5];
	struct ph_stream *s = ph_stream_find(c->streams, &c->id);
	if (!s || s->failed || s->doomed || s->role == c->dialer_role)
		return -1;
	bool differs = p[6] != (uint8_t)s->seal;
	memcpy(c->nonce_dialer, p + 24, sizeof(c->nonce_dialer));
	ph_random_bytes(c->nonce_listener, sizeof(c->nonce_listener));
	memset(c->shake_out, 0, sizeof(c->shake_out));
	memcpy(c->shake_out, ANSWER_MAGIC, 4);
	c->shake_out[4] = VERSION;
	c->shake_out[5] = differs ? STATUS_SEAL_DIFFERS : STATUS_OK;
	if (!differs) {
		memcpy(c->shake_out + 8, c->nonce_listener, sizeof(c->nonce_listener));
		prove(c, s, false, c->shake_out + 40);
	}
	shake_queue(c, PH_STREAM_ANSWER_BYTES);
	c->state = PH_STREAM_CONN_PROVING;
	return ph_stream_shake_flush(c) < 0 || differs ? -1 : 0;
}

/* Listener: the counter-proof is there. -1: the guest is shown out; else it is the stream's. */
static int guest_proved(struct ph_stream_conn *c)
{
	uint8_t proof[PH_STREAM_PROOF_BYTES];
	struct ph_stream *s = ph_stream_find(c->streams, &c->id);
	if (!s || s->failed || s->doomed || s->role == c->dialer_role)
		return -1;
	prove(c, s, true, proof);
	if (!ph_seal_equal(proof, c->shake_in, sizeof(proof)))
		return -1;
	keys_make(c, s, false);
	/* the newest wins: the one before may be dead without our having heard of it */
	ph_stream_conn_free(s->conn);
	ph_stream_guest_unlink(c);
	c->stream = s;
	s->conn = c;
	s->dialed = false;
	s->redial_at_ms = 0;
	conn_open(c);
	return 0;
}

int ph_stream_shake_guest(struct ph_stream_conn *c)
{
	int rc = shake_get(c,
		c->state == PH_STREAM_CONN_GUEST ? PH_STREAM_HELLO_BYTES : PH_STREAM_PROOF_BYTES);
	if (rc == 1)
		rc = c->state == PH_STREAM_CONN_GUEST ? guest_asked(c) : guest_proved(c);
	return rc;
}

int ph_stream_shake_dialer(struct ph_stream_conn *c)
{
	int rc = shake_get(c, PH_STREAM_ANSWER_BYTES);
	return rc == 1 ? dialer_answered(c) : rc;
}
