/* Every state of a session × every input, and the properties that must hold after each. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/client.h"
#include "prochub/worker.h"
#include "proto/worker.h"
#include "run_tests.h"

static const char token[] = "00112233445566778899aabbccddeeff";

static struct ph_id id_of(uint8_t n)
{
	struct ph_id id;
	memset(&id, n, sizeof id);
	return id;
}

static struct ph_wmsg message(enum ph_wop op, uint8_t id)
{
	struct ph_wmsg m;
	memset(&m, 0, sizeof m);
	m.op = op;
	m.id = id_of(id);
	m.v1 = m.startup_ok = m.has_instance = true;
	m.epoch = 20;
	m.node = m.child = m.target = m.from = ph_name_of("x");
	m.role = PH_ROLE_STANDBY;
	strcpy(m.format, "f");
	m.max_bytes = 100;
	return m;
}

static void begin(struct ph_session *s, uint32_t caps)
{
	struct ph_wmsg hello;
	memset(&hello, 0, sizeof hello);
	hello.caps = caps;
	hello.has_state = true;
	memcpy(hello.token, token, sizeof token);
	strcpy(hello.format, "f");
	ph_session_init(s, &hello);
	ck_assert_int_eq(ph_session_connected(s), 0);
}

static int step(struct ph_session *s, enum ph_session_in kind, const struct ph_wmsg *m,
	uint64_t bytes, int code)
{
	struct ph_session_input in = {.kind = kind, .msg = m, .bytes = bytes, .code = code};
	return ph_session_step(s, &in);
}

static int say(struct ph_session *s, enum ph_session_in kind, enum ph_wop op, uint32_t round)
{
	struct ph_wmsg m = message(op, 1);
	m.round = round;
	m.bytes = 7;
	return step(s, kind, &m, 0, 0);
}

static bool wished(struct ph_session *s, enum ph_wish_kind kind)
{
	struct ph_wish w;
	bool found = false;
	while (ph_session_take(s, &w))
		found |= w.kind == kind;
	return found;
}

static bool said(struct ph_session *s, const char *op)
{
	char text[64];
	(void)snprintf(text, sizeof text, "\"op\":\"%s\"", op);
	bool found = s->out_n && memmem(s->out, s->out_n, text, strlen(text));
	ph_session_sent(s, s->out_n);
	return found;
}

/* The way into each state, from a new session, as a list of inputs. */
struct way {
	enum ph_session_in kind;
	enum ph_wop op;
	uint32_t round;
};
#define WELCOME \
	{ \
		PH_IN_WELCOME, PH_W_WELCOME, 0 \
	}
#define START \
	{ \
		PH_IN_START, PH_W_HANDOVER_START, 0 \
	}
#define OFFER \
	{ \
		PH_IN_HANDOVER, PH_W_HANDOVER, 0 \
	}
#define YES \
	{ \
		PH_IN_ACCEPTED, PH_W_HANDOVER_START, 0 \
	}
#define NO \
	{ \
		PH_IN_REFUSED, PH_W_HANDOVER_START, 0 \
	}
#define DONE \
	{ \
		PH_IN_ENDED, PH_W_NONE, 0 \
	}
#define FREEZE \
	{ \
		PH_IN_FREEZE, PH_W_FREEZE, 0 \
	}
#define END \
	{ \
		PH_IN_STATE_END, PH_W_STATE_END, 0 \
	}

static const struct way ways[PH_HAND_COUNT][8] = {
	[PH_HAND_IDLE] = {WELCOME},
	[PH_HAND_ASKED] = {WELCOME, {PH_IN_ASK, PH_W_HANDOVER_ASK, 0}},
	[PH_HAND_GRANTED] = {WELCOME, {PH_IN_ASK, PH_W_HANDOVER_ASK, 0}, YES},
	[PH_HAND_STARTING] = {WELCOME, START},
	[PH_HAND_SENDING] = {WELCOME, START, YES},
	[PH_HAND_SENT] = {WELCOME, START, YES, DONE},
	[PH_HAND_FREEZING] = {WELCOME, START, YES, DONE, FREEZE},
	[PH_HAND_FROZEN] = {WELCOME, START, YES, DONE, FREEZE, DONE},
	[PH_HAND_COMMITTED] = {WELCOME, {PH_IN_COMMITTED, PH_W_COMMITTED, 0}},
	[PH_HAND_OFFERED] = {WELCOME, OFFER},
	[PH_HAND_LOADING] = {WELCOME, OFFER, YES},
	[PH_HAND_APPLYING] = {WELCOME, OFFER, YES, DONE, END},
	[PH_HAND_LOADED] = {WELCOME, OFFER, YES, DONE, END, YES},
	[PH_HAND_REJECTED] = {WELCOME, OFFER, NO},
};

static void bring_to(struct ph_session *s, enum ph_hand hand)
{
	begin(s, PH_CAP_HANDOVER | PH_CAP_ROUNDS);
	for (size_t i = 0; i < 8 && (ways[hand][i].kind || ways[hand][i].op); i++) {
		const struct way *w = &ways[hand][i];
		struct ph_wmsg m = message(w->op, 1);
		m.round = w->round;
		m.bytes = 7;
		ck_assert_int_eq(step(s, w->kind, &m, 7, 1), 0);
		(void)wished(s, PH_WISH_NOTE);
	}
	ck_assert_str_eq(ph_hand_name(s->hand), ph_hand_name(hand));
	ph_session_sent(s, s->out_n);
}

static bool verdict_awaited(enum ph_hand hand)
{
	return hand == PH_HAND_ASKED || hand == PH_HAND_STARTING || hand == PH_HAND_OFFERED ||
	       hand == PH_HAND_APPLYING;
}

static enum ph_wop op_of(enum ph_session_in in)
{
	static const enum ph_wop ops[PH_IN_COUNT] = {
		[PH_IN_WELCOME] = PH_W_WELCOME,
		[PH_IN_ASK] = PH_W_HANDOVER_ASK,
		[PH_IN_START] = PH_W_HANDOVER_START,
		[PH_IN_NEXT_ROUND] = PH_W_NEXT_ROUND,
		[PH_IN_FREEZE] = PH_W_FREEZE,
		[PH_IN_RESUME] = PH_W_RESUME,
		[PH_IN_COMMITTED] = PH_W_COMMITTED,
		[PH_IN_CONFLICT] = PH_W_CONFLICT,
		[PH_IN_HANDOVER] = PH_W_HANDOVER,
		[PH_IN_STATE_END] = PH_W_STATE_END,
		[PH_IN_ACTIVATE] = PH_W_ACTIVATE,
		[PH_IN_ABORT] = PH_W_ABORT,
	};
	return ops[in];
}

/* What must hold after any input in any state. */
static void check_rules(
	enum ph_hand was, bool was_frozen, enum ph_session_in in, struct ph_session *s)
{
	bool thaws = in == PH_IN_RESUME || in == PH_IN_COMMITTED || in == PH_IN_ACTIVATE ||
		     in == PH_IN_ABORT;
	ck_assert_msg(!was_frozen || s->frozen || thaws, "%s thawed by %d", ph_hand_name(was), in);
	ck_assert(!(s->hand == PH_HAND_FREEZING || s->hand == PH_HAND_FROZEN ||
			  s->hand == PH_HAND_COMMITTED) ||
		  s->frozen);
	ck_assert(s->hand != PH_HAND_IDLE || (!s->frozen && !s->streaming));
	ck_assert_uint_lt(s->n_wishes, PH_WISHES_MAX);
	for (size_t i = 0; i < s->n_wishes; i++) {
		enum ph_wish_kind kind = s->wishes[i].kind;
		ck_assert_msg(kind != PH_WISH_APPLY || (s->whole && s->ended && s->got == s->bytes),
			"applied without its end");
		ck_assert(kind != PH_WISH_ACTIVATE || in == PH_IN_ACTIVATE || in == PH_IN_WELCOME);
	}
	if (in == PH_IN_LOST)
		ck_assert(s->hand == was && !s->streaming && !s->up);
}

START_TEST(test_state_by_input)
{
	enum ph_hand hand = (enum ph_hand)(_i / PH_IN_COUNT);
	enum ph_session_in in = (enum ph_session_in)(_i % PH_IN_COUNT);
	for (uint8_t id = 1; id <= 2; id++) { /* of this handover, of another */
		for (uint32_t round = 0; round < 3; round++) {
			struct ph_session s;
			bring_to(&s, hand);
			bool frozen = s.frozen;
			struct ph_wmsg m = message(op_of(in), id);
			m.round = round;
			m.bytes = 5 + round;
			m.has_migration = true;
			m.migration_id = m.id;
			int r = step(&s, in, op_of(in) ? &m : &s.msg, 7, 2);
			bool verdict = in == PH_IN_ACCEPTED || in == PH_IN_REFUSED;
			bool possible = verdict_awaited(hand)
						? verdict || in == PH_IN_LOST
						: !verdict || (hand == PH_HAND_LOADING &&
								      in == PH_IN_REFUSED);
			ck_assert_msg(r == (possible ? 0 : -EPROTO), "%s × %d: %d",
				ph_hand_name(hand), in, r);
			if (!r)
				check_rules(hand, frozen, in, &s);
			/* whatever happened, it can be called off or lost, and says hello */
			ck_assert_int_eq(ph_session_connected(&s), 0);
			ck_assert(said(&s, "hello"));
			ph_session_fini(&s);
		}
	}
}
END_TEST

START_TEST(test_old_worker_without_rounds)
{
	struct ph_session s;
	begin(&s, PH_CAP_HANDOVER);
	ck_assert_int_eq(say(&s, PH_IN_WELCOME, PH_W_WELCOME, 0), 0);
	ck_assert_int_eq(say(&s, PH_IN_START, PH_W_HANDOVER_START, 0), 0);
	ck_assert(wished(&s, PH_WISH_ASK));
	ck_assert(!s.frozen);
	ck_assert_int_eq(say(&s, PH_IN_ACCEPTED, PH_W_HANDOVER_START, 0), 0);
	ck_assert(s.frozen && s.wishes[0].kind == PH_WISH_FREEZE);
	ck_assert(s.wishes[1].kind == PH_WISH_SAVE && s.wishes[1].final);
	(void)wished(&s, PH_WISH_SAVE);
	ck_assert(said(&s, "handover_accept"));
	ck_assert_int_eq(step(&s, PH_IN_ENDED, NULL, 7, 0), 0);
	ck_assert(said(&s, "state_end"));
	ck_assert_int_eq(s.hand, PH_HAND_FROZEN);
	ck_assert_int_eq(say(&s, PH_IN_RESUME, PH_W_RESUME, 0), 0);
	ck_assert(wished(&s, PH_WISH_RESUME) && said(&s, "resumed") && !s.frozen);
	ph_session_fini(&s);
}
END_TEST

/* Taken back by a claim: it has the new epoch before it is told to go on. */
START_TEST(test_resume_under_another_epoch)
{
	struct ph_session s;
	bring_to(&s, PH_HAND_FROZEN);
	s.role = PH_ROLE_ACTIVE;
	s.epoch = _i ? 30 : 10; /* `resume` names 20: an older one changes nothing */
	ck_assert_int_eq(say(&s, PH_IN_RESUME, PH_W_RESUME, 0), 0);
	ck_assert_uint_eq(s.epoch, _i ? 30 : 20);
	ck_assert_int_eq(s.wishes[0].kind, _i ? PH_WISH_RESUME : PH_WISH_ACTIVATE);
	ck_assert(_i || s.wishes[1].kind == PH_WISH_RESUME);
	ck_assert(said(&s, "resumed") && !s.frozen);
	ph_session_fini(&s);
}
END_TEST

/* Another copy goes on: it freezes once, and hands over all of its state at once. */
START_TEST(test_conflict)
{
	struct ph_session s;
	begin(&s, PH_CAP_HANDOVER | PH_CAP_ROUNDS | PH_CAP_ASK);
	ck_assert_int_eq(say(&s, PH_IN_WELCOME, PH_W_WELCOME, 0), 0);
	(void)wished(&s, PH_WISH_NOTE);
	ck_assert_int_eq(say(&s, PH_IN_CONFLICT, PH_W_CONFLICT, 0), 0);
	ck_assert(s.frozen && s.wishes[0].kind == PH_WISH_CONFLICT);
	ck_assert(s.wishes[1].kind == PH_WISH_FREEZE && s.wishes[2].kind == PH_WISH_SAVE);
	ck_assert(s.wishes[2].final && s.wishes[2].round == 0);
	(void)wished(&s, PH_WISH_SAVE);
	ck_assert(said(&s, "handover_accept"));
	ck_assert_int_eq(step(&s, PH_IN_ENDED, NULL, 7, 0), 0);
	ck_assert(said(&s, "state_end"));
	ck_assert_int_eq(say(&s, PH_IN_CONFLICT, PH_W_CONFLICT, 0), 0);
	ck_assert(said(&s, "state_end") && !wished(&s, PH_WISH_CONFLICT));
	ck_assert_int_eq(s.hand, PH_HAND_FROZEN);
	ph_session_fini(&s);
}
END_TEST

START_TEST(test_refuses)
{
	static const char *const codes[] = {"busy", "never", "incompatible"};
	for (int code = 1; code <= 3; code++) {
		struct ph_session s;
		bring_to(&s, PH_HAND_ASKED);
		ck_assert_int_eq(step(&s, PH_IN_REFUSED, NULL, 0, code), 0);
		ck_assert_ptr_nonnull(
			memmem(s.out, s.out_n, codes[code - 1], strlen(codes[code - 1])));
		ck_assert_int_eq(s.hand, PH_HAND_IDLE);
		ph_session_fini(&s);
	}
	struct ph_session s;
	begin(&s, 0);
	ck_assert_int_eq(say(&s, PH_IN_WELCOME, PH_W_WELCOME, 0), 0);
	ck_assert_int_eq(say(&s, PH_IN_START, PH_W_HANDOVER_START, 0), 0);
	ck_assert(s.hand == PH_HAND_IDLE && said(&s, "handover_refuse"));
	ph_session_fini(&s);
}
END_TEST

/* A start that handover_ask has granted is put to the worker again: how much will it be? */
START_TEST(test_estimate)
{
	struct ph_session s;
	bring_to(&s, PH_HAND_GRANTED);
	ck_assert_int_eq(say(&s, PH_IN_START, PH_W_HANDOVER_START, 0), 0);
	ck_assert(s.hand == PH_HAND_STARTING && wished(&s, PH_WISH_ESTIMATE) && !s.out_n);
	struct ph_wmsg m = message(PH_W_HANDOVER_START, 1);
	ck_assert_int_eq(step(&s, PH_IN_ACCEPTED, &m, 700, 0), 0);
	ck_assert_ptr_nonnull(memmem(s.out, s.out_n, "\"bytes_estimate\":700", 20));
	ck_assert(s.hand == PH_HAND_SENDING && said(&s, "handover_accept"));
	ck_assert_int_eq(say(&s, PH_IN_BROKEN, PH_W_NONE, 0), 0);
	/* asked again after the stream broke: the same once more */
	ck_assert_int_eq(say(&s, PH_IN_START, PH_W_HANDOVER_START, 0), 0);
	ck_assert_ptr_nonnull(memmem(s.out, s.out_n, "\"bytes_estimate\":700", 20));
	ph_session_fini(&s);
}
END_TEST

/* Bytes read and announced in any order; applied only when they agree. */
START_TEST(test_applied_only_when_whole)
{
	for (int order = 0; order < 2; order++) {
		for (uint64_t bytes = 6; bytes <= 8; bytes++) {
			struct ph_session s;
			bring_to(&s, PH_HAND_LOADING);
			if (order == 0)
				ck_assert_int_eq(step(&s, PH_IN_ENDED, NULL, bytes, 0), 0);
			ck_assert_int_eq(s.hand, PH_HAND_LOADING);
			ck_assert_int_eq(say(&s, PH_IN_STATE_END, PH_W_STATE_END, 0), 0);
			if (order == 1)
				ck_assert_int_eq(step(&s, PH_IN_ENDED, NULL, bytes, 0), 0);
			ck_assert_int_eq(s.hand, bytes == 7 ? PH_HAND_APPLYING : PH_HAND_REJECTED);
			ck_assert(wished(&s, bytes == 7 ? PH_WISH_APPLY : PH_WISH_DROP));
			ph_session_fini(&s);
		}
	}
}
END_TEST

START_TEST(test_kept_over_a_reconnection)
{
	struct ph_session s;
	struct ph_pending wanted = {.op = PH_W_WATCH, .by_prefix = true};
	bring_to(&s, PH_HAND_FROZEN);
	ck_assert_int_eq(ph_session_want(&s, &wanted), 1);
	wanted = (struct ph_pending){.op = PH_W_LOOKUP, .child = ph_name_of("web")};
	ck_assert_int_eq(ph_session_want(&s, &wanted), 2);
	ck_assert_int_eq(step(&s, PH_IN_LOST, NULL, 0, 0), 0);
	ck_assert_uint_eq(s.out_n, 0);
	ck_assert_int_eq(ph_session_connected(&s), 0);
	ck_assert_ptr_nonnull(memmem(s.out, s.out_n, "\"state\":\"frozen\"", 16));
	ck_assert_int_eq(say(&s, PH_IN_WELCOME, PH_W_WELCOME, 0), 0);
	ck_assert_ptr_nonnull(memmem(s.out, s.out_n, "\"op\":\"watch\"", 12));
	ck_assert_ptr_nonnull(memmem(s.out, s.out_n, "\"op\":\"lookup\"", 13));
	ck_assert(said(&s, "state_end"));
	static const char answer[] =
		"{\"op\":\"found\",\"re\":2,\"child\":\"web\",\"instances\":[]}";
	ck_assert_int_eq(ph_session_line(&s, answer, sizeof answer - 1), 0);
	ck_assert(wished(&s, PH_WISH_FOUND));
	ck_assert_int_eq(ph_session_line(&s, answer, sizeof answer - 1), 0);
	ck_assert(!wished(&s, PH_WISH_FOUND)); /* once */
	ck_assert_int_eq(ph_session_unwatch(&s, 1), 0);
	ck_assert_int_eq(ph_session_unwatch(&s, 1), -ENOENT);
	ph_session_fini(&s);
}
END_TEST

START_TEST(test_bounds)
{
	struct ph_session s;
	struct ph_pending wanted = {.op = PH_W_LOOKUP, .child = ph_name_of("web")};
	struct ph_wmsg status = {.op = PH_W_STATUS, .text = "busy with something long"};
	int r;
	begin(&s, 0);
	ck_assert_int_eq(ph_session_say(&s, &status), -ENOTCONN);
	ck_assert_int_eq(say(&s, PH_IN_WELCOME, PH_W_WELCOME, 0), 0);
	for (int i = 0; i < PH_PENDING_MAX; i++)
		ck_assert_int_gt(ph_session_want(&s, &wanted), 0);
	ck_assert_int_eq(ph_session_want(&s, &wanted), -ENOBUFS);
	while ((r = ph_session_say(&s, &status)) == 0)
		;
	ck_assert_int_eq(r, -ENOBUFS);
	ck_assert_uint_le(s.out_n, PH_SESSION_OUT_MAX);
	ck_assert_int_eq(ph_session_ready(&s, true, "[]"), -EINVAL);
	ck_assert_int_eq(ph_session_ready(&s, true, "{\"a\":1,\"a\":1}"), -EINVAL);
	ck_assert_int_eq(ph_session_handled(&s), -EINVAL);
	ph_session_fini(&s);
}
END_TEST

/* ---- the client, against a socket of this test */

struct played {
	struct prochub *p;
	int server, control;
	uint64_t given;
	int waits, saved, done;
};

static ssize_t give(struct prochub *p, void *arg, unsigned round, void *buf, size_t size)
{
	struct played *d = arg;
	(void)p;
	(void)round;
	if (d->given == 1000000 && d->waits++ == 0)
		return PROCHUB_NOT_YET;
	size_t n = 2000000 - d->given < size ? 2000000 - (size_t)d->given : size;
	if (d->given < 1000000 && d->given + n > 1000000)
		n = 1000000 - (size_t)d->given;
	memset(buf, 'x', n);
	d->given += n;
	return (ssize_t)n;
}

static void save(struct prochub *p, void *arg, unsigned round, int final)
{
	struct played *d = arg;
	ck_assert(round == 0 && final == 1);
	d->saved++;
	ck_assert_int_eq(prochub_send_state(p, "head", 4), 0);
}

static void found(struct prochub *p, void *arg, uint64_t req, const char *child,
	const char *instances, int more)
{
	struct played *d = arg;
	ck_assert_int_eq((int)req, d->done + 1);
	ck_assert_str_eq(child, "web");
	ck_assert(!more && prochub_is_stale(p) == (instances != NULL));
	d->done++;
}

/* Dispatches until `text` has come from the worker; what came before it is dropped. */
static void expect(struct played *d, const char *text)
{
	char buffer[4096] = "";
	size_t n = 0;
	for (int i = 0; i < 2000 && !strstr(buffer, text); i++) {
		ck_assert_int_eq(prochub_dispatch(d->p), 0);
		ssize_t r = recv(d->control, buffer + n, sizeof buffer - 1 - n, MSG_DONTWAIT);
		n += r > 0 ? (size_t)r : 0;
		buffer[n] = '\0';
	}
	ck_assert_msg(strstr(buffer, text), "no %s in %s", text, buffer);
}

static void tell(struct played *d, const char *line)
{
	ck_assert_int_eq(send(d->control, line, strlen(line), 0), (ssize_t)strlen(line));
}

static void play_open(struct played *d, const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	struct prochub_options o = {.size = sizeof o,
		.caps = PROCHUB_CAP_HANDOVER,
		.format = "f",
		.callbacks = {.save = save, .read = give, .found = found},
		.arg = d};
	(void)snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
	(void)unlink(path);
	d->server = socket(AF_UNIX, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(d->server, (const struct sockaddr *)&a, sizeof a), 0);
	ck_assert_int_eq(listen(d->server, 4), 0);
	(void)unsetenv("PROCHUB_SOCKET");
	ck_assert(!prochub_open(&o) && errno == ENOENT);
	(void)setenv("PROCHUB_SOCKET", path, 1);
	(void)setenv("PROCHUB_TOKEN", "short", 1);
	ck_assert(!prochub_open(&o) && errno == EINVAL);
	(void)setenv("PROCHUB_TOKEN", token, 1);
	d->p = prochub_open(&o);
	ck_assert_ptr_nonnull(d->p);
	ck_assert_ptr_null(getenv("PROCHUB_TOKEN"));
	ck_assert_int_eq(prochub_dispatch(d->p), 0);
	d->control = accept(d->server, NULL, NULL);
	expect(d, "\"op\":\"hello\"");
	tell(d, "{\"op\":\"welcome\",\"v\":1,\"node\":\"a\",\"child\":\"c\","
		"\"instance\":0,\"epoch\":5,\"role\":\"active\"}\n");
	ck_assert_int_eq(prochub_ready(d->p, "{ \"a\" : 1 }"), 0);
	expect(d, "{\"op\":\"ready\",\"meta\":{\"a\":1}}");
}

static const char start_line[] =
	"{\"op\":\"handover_start\",\"id\":\"00112233445566778899aabbccddeeff\","
	"\"epoch\":6,\"startup\":{\"ok\":true,\"node\":\"b\",\"instance\":0},"
	"\"mode\":\"exclusive\",\"max_bytes\":9,\"timeout_ms\":9,"
	"\"downtime_ms\":9,\"rounds_max\":1}\n";

START_TEST(test_client_reads_from_the_worker)
{
	struct played d = {0};
	char path[64], bytes[65536];
	(void)snprintf(path, sizeof path, "/tmp/prochub-test-%ld.sock", (long)getpid());
	play_open(&d, path);
	ck_assert_int_eq(prochub_lookup(d.p, "-"), -1);
	ck_assert_int_eq(prochub_lookup(d.p, "web"), 1);
	ck_assert_int_eq(prochub_lookup(d.p, "web"), 2);
	tell(&d, "{\"op\":\"error\",\"re\":1,\"code\":\"not_found\"}\n");
	tell(&d, "{\"op\":\"found\",\"re\":2,\"child\":\"web\",\"instances\":[],\"stale\":true}\n");
	tell(&d, start_line);
	expect(&d, "handover_accept");
	ck_assert(d.done == 2 && d.saved == 1 && !prochub_is_active(d.p));
	int data = accept(d.server, NULL, NULL);
	size_t got = 0;
	bool ended = false;
	for (int i = 0; i < 100000 && !ended; i++) {
		ck_assert_int_eq(prochub_dispatch(d.p), 0);
		if (d.waits == 1)
			prochub_read_more(d.p);
		ssize_t r = recv(data, bytes, sizeof bytes, MSG_DONTWAIT);
		got += r > 0 ? (size_t)r : 0;
		ended = r == 0;
	}
	const char *line = strchr(bytes, 'x'); /* the first line was counted too */
	ck_assert(line && got > 2000004 && got < 2000004 + 160);
	expect(&d, "\"bytes\":2000004,\"final\":true");
	prochub_close(d.p);
	close(data);
	close(d.control);
	close(d.server);
	(void)unlink(path);
}
END_TEST

static uint64_t estimate(struct prochub *p, void *arg)
{
	(void)p;
	return *(uint64_t *)arg;
}

/* What the worker says is told; nothing, or what a message cannot hold, is left out. */
START_TEST(test_estimate_of_the_client)
{
	static const struct {
		uint64_t about;
		const char *told;
	} cases[] = {{700, "\"bytes_estimate\":700,"}, {0, "\"epoch\":6,\"format\""},
		{UINT64_MAX, "\"epoch\":6,\"format\""}};
	for (size_t i = 0; i < 3; i++) {
		struct played d = {0};
		char path[64];
		(void)snprintf(path, sizeof path, "/tmp/prochub-test-%ld.sock", (long)getpid());
		play_open(&d, path);
		d.p->cb.estimate = estimate;
		uint64_t about = cases[i].about;
		d.p->arg = &about;
		d.p->cb.save = NULL;
		d.p->cb.read = NULL;
		tell(&d, start_line);
		expect(&d, cases[i].told);
		prochub_close(d.p);
		close(d.control);
		close(d.server);
		(void)unlink(path);
	}
}
END_TEST

/* Options as the first header had them, whose last callback was note; and those of a later one. */
START_TEST(test_options_of_another_version)
{
	struct {
		struct prochub_options o;
		void *more;
	} later = {.o = {.size = sizeof later}};
	union {
		struct prochub_options now;
		char bytes[sizeof(struct prochub_options)];
	} first;
	const size_t n = offsetof(struct prochub_options, callbacks) +
			 offsetof(struct prochub_callbacks, estimate);
	void *arg = &later;
	memset(&first, 0xff, sizeof first);
	first.now = (struct prochub_options){.size = n + sizeof arg, .callbacks.found = found};
	memset(first.bytes + n, 0xff, sizeof first - n);
	memcpy(first.bytes + n, &arg, sizeof arg);
	(void)setenv("PROCHUB_SOCKET", "/nowhere", 1);
	(void)setenv("PROCHUB_TOKEN", token, 1);
	struct prochub *p = prochub_open(&first.now);
	ck_assert_ptr_nonnull(p);
	ck_assert(p->arg == arg && p->cb.found == found && !p->cb.note && !p->cb.estimate);
	prochub_close(p);
	(void)setenv("PROCHUB_TOKEN", token, 1);
	ck_assert(!prochub_open(&later.o) && errno == EINVAL);
	first.now.size = n + sizeof arg - 1;
	ck_assert(!prochub_open(&first.now) && errno == EINVAL);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("session");
	TCase *t = tcase_create("session");
	tcase_add_loop_test(t, test_state_by_input, 0, PH_HAND_COUNT * PH_IN_COUNT);
	tcase_add_test(t, test_old_worker_without_rounds);
	tcase_add_loop_test(t, test_resume_under_another_epoch, 0, 2);
	tcase_add_test(t, test_conflict);
	tcase_add_test(t, test_refuses);
	tcase_add_test(t, test_estimate);
	tcase_add_test(t, test_applied_only_when_whole);
	tcase_add_test(t, test_kept_over_a_reconnection);
	tcase_add_test(t, test_bounds);
	tcase_add_test(t, test_client_reads_from_the_worker);
	tcase_add_test(t, test_estimate_of_the_client);
	tcase_add_test(t, test_options_of_another_version);
	tcase_set_timeout(t, 60);
	suite_add_tcase(s, t);
	return run_tests(s);
}
