/*
 * shell_bus with real prochub-bus processes on loopback and no core: what is sent arrives once, at
 * the one that it is for, and nothing else does.
 */
#include <check.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/clock.h"
#include "proto/bus.h"
#include "resolve_help.h"
#include "run_tests.h"
#include "shell_bus_int.h"
#include "shell_logs.h"

#define WAIT_MS 20000
#define NODE_PORTS 4

struct node {
	struct ph_shell shell;
	struct ph_conf conf;
	char *peers[2];
	char listen[64], host[32];
	/* what the shell was given */
	unsigned ups, messages, auth_failed, restarted, peers_told;
	struct ph_bmsg last; /* texts are gone */
	bool spec_seen;
	unsigned kinds[PH_BKIND_COUNT]; /* of the messages */
	unsigned cast_from[256];	/* heartbeats, by the first letter of the sender's name */
	unsigned sent_from[256];	/* the rest */
};

static struct event_base *base;
static struct node a, b, c;
static struct ph_keyring *ring, *other_ring;
static unsigned port = 21000;

/* ---- the rest of the shell */

static struct node *node_of(struct ph_shell *shell)
{
	return shell == &a.shell ? &a : shell == &b.shell ? &b : &c;
}

void ph_shell_push(
	struct ph_shell *shell, const struct ph_event *event, void (*release)(void *), void *owned)
{
	struct node *node = node_of(shell);
	if (event->kind == PH_EV_BUS_UP)
		node->ups++;
	if (event->kind == PH_EV_PEERS)
		node->peers_told++;
	if (event->kind == PH_EV_MESSAGE) {
		node->messages++;
		node->kinds[event->message->kind]++;
		unsigned char letter = (unsigned char)event->message->from.s[0];
		event->message->kind == PH_B_HEARTBEAT ? node->cast_from[letter]++
						       : node->sent_from[letter]++;
		node->last = *event->message;
		node->spec_seen = node->last.n_specs && node->last.specs[0].spec;
	}
	if (release)
		release(owned);
}

void ph_shell_log(struct ph_shell *shell, enum ph_log_level level, const char *format, ...)
{
	(void)shell;
	(void)level;
	(void)format;
}

void *ph_shell_alloc(size_t size)
{
	void *memory = calloc(1, size);
	ck_assert_ptr_nonnull(memory);
	return memory;
}

void ph_shell_tell_people(
	struct ph_shell *shell, enum ph_emit_kind kind, const struct ph_key *key, const char *text)
{
	(void)key;
	ck_assert_ptr_nonnull(text);
	node_of(shell)->auth_failed += kind == PH_EMIT_BUS_AUTH_FAILED;
	node_of(shell)->restarted += kind == PH_EMIT_BUS_RESTARTED;
}

const struct ph_spec *ph_shell_spec_of_text(struct ph_shell *shell, const struct ph_name *child,
	const char *text, uint64_t revision, struct ph_err *err)
{
	(void)shell;
	(void)err;
	if (strcmp(text, "{}") != 0)
		return NULL;
	struct ph_spec *spec = calloc(1, sizeof *spec);
	ck_assert_ptr_nonnull(spec);
	spec->child = *child;
	spec->revision = revision;
	return spec;
}

void ph_spec_free(const struct ph_spec *spec)
{
	free((void *)(uintptr_t)spec);
}

void ph_shell_flow_ticket(struct ph_shell *shell, const struct ph_id *id,
	const struct ph_name *peer, uint8_t ret_ticket[PH_SECRET_SIZE])
{
	(void)shell;
	memset(ret_ticket, id->b[0] + peer->s[0], PH_SECRET_SIZE);
}

void ph_shell_logs_got(struct ph_shell *shell, const struct ph_bmsg *message)
{
	(void)shell;
	(void)message;
}

/* ---- the loop */

static void nothing(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
}

/* Some milliseconds of the loop. */
static void turn(unsigned ms)
{
	struct timeval wait = {0, (suseconds_t)ms * 1000};
	struct event *timer = evtimer_new(base, nothing, NULL);
	ck_assert_ptr_nonnull(timer);
	evtimer_add(timer, &wait);
	event_base_loop(base, EVLOOP_ONCE);
	event_free(timer);
}

#define UNTIL(condition, each) \
	do { \
		uint64_t end_ms_ = ph_clock_now_ms() + WAIT_MS; \
		while (!(condition)) { \
			ck_assert_msg(ph_clock_now_ms() < end_ms_, "waited for " #condition); \
			each; \
			turn(20); \
		} \
	} while (0)

static unsigned heard(void)
{
	return a.messages + b.messages + c.messages;
}

/* Until nothing has come for a while. */
static void settle(void)
{
	uint64_t end_ms = ph_clock_now_ms() + 200;
	for (unsigned before = heard(); ph_clock_now_ms() < end_ms; before = heard()) {
		turn(20); /* it ends with its first event */
		if (heard() != before)
			end_ms = ph_clock_now_ms() + 200;
	}
}

/* ---- nodes */

static void start(struct node *node, const char *name, struct ph_keyring *keys, const char *peer)
{
	struct ph_err err = {""};
	memset(node, 0, sizeof *node);
	node->shell.base = base;
	node->shell.conf = &node->conf;
	node->shell.ring = keys;
	node->shell.incarnation = 100;
	(void)snprintf(node->shell.node, sizeof node->shell.node, "%s", name);
	node->conf.cluster.name = ph_name_of("test");
	/* an address of this process's own: ports are free, whoever else runs */
	unsigned pid = (unsigned)getpid();
	(void)snprintf(node->host, sizeof node->host, "127.%u.%u.%u", 1 + (pid >> 16) % 250,
		pid >> 8 & 255, pid & 255);
	node->conf.cluster.host = node->conf.cluster.advertise = node->host;
	node->conf.cluster.port = (uint16_t)port;
	(void)snprintf(node->listen, sizeof node->listen, "tcp://%s:%u", node->host, port);
	node->conf.cluster.listen = node->listen;
	port += NODE_PORTS;
	node->peers[0] = node->listen; /* its own is no peer */
	node->peers[1] = strdup(peer ? peer : "tcp://127.0.0.1:1");
	node->conf.cluster.peers.n = peer ? 2 : 1;
	node->conf.cluster.peers.v = node->peers;
	int error = ph_shell_bus_new(&node->shell, &node->shell.bus, &err);
	ck_assert_msg(error == 0, "%s", err.text);
}

static void stop(struct node *node)
{
	ph_shell_bus_free(node->shell.bus);
	free(node->peers[1]);
	node->shell.bus = NULL;
	node->peers[1] = NULL;
}

static void set_up(void)
{
	static const uint8_t keys[2][1][PH_SEAL_KEY_SIZE] = {{{1}}, {{2}}};
	char path[512];
	ssize_t n = readlink("/proc/self/exe", path, sizeof path - 32);
	ck_assert_int_gt(n, 0);
	path[n] = '\0';
	strcpy(strrchr(path, '/'), "/prochub-bus");   /* where the module looks for it */
	int linked = symlink("../prochub-bus", path); /* or it is there */
	ck_assert_msg(access(path, X_OK) == 0, "%s is not built (%d)", path, linked);
	base = event_base_new();
	ck_assert_int_eq(ph_keyring_of(keys[0], 1, "test", &ring, NULL), 0);
	ck_assert_int_eq(ph_keyring_of(keys[1], 1, "test", &other_ring, NULL), 0);
	start(&a, "a", ring, NULL);
	start(&b, "b", ring, a.listen);
}

static void tear_down(void)
{
	stop(&a);
	stop(&b);
	stop(&c);
	event_base_free(base);
	ph_keyring_free(ring);
	ph_keyring_free(other_ring);
}

static void link_to(struct node *from, struct node *to)
{
	ph_shell_bus_act(from->shell.bus, &(struct ph_action){.kind = PH_ACT_LINK,
						  .to = ph_name_of(to->shell.node),
						  .incarnation = to->shell.incarnation,
						  .address = to->listen});
}

static struct ph_bmsg beat(uint64_t number)
{
	return (struct ph_bmsg){
		.kind = PH_B_HEARTBEAT, .self.name = {"x"}, .self.weight = 1, .sequence = number};
}

static void cast(struct node *from)
{
	struct ph_bmsg m = beat(1);
	ph_shell_bus_act(from->shell.bus, &(struct ph_action){.kind = PH_ACT_CAST, .message = &m});
}

static void send_to(struct node *from, const char *to, const struct ph_bmsg *m)
{
	ph_shell_bus_act(from->shell.bus,
		&(struct ph_action){.kind = PH_ACT_SEND, .to = ph_name_of(to), .message = m});
}

/* Links `from` to `to` and waits until both planes are up: what is given to them earlier is lost.
 */
static void reach(struct node *from, struct node *to)
{
	struct ph_bmsg m = {.kind = PH_B_QUERY, .id = {{9}}, .key = {.child = {"room"}}};
	unsigned char letter = (unsigned char)from->shell.node[0];
	link_to(from, to);
	UNTIL(to->cast_from[letter], cast(from));
	UNTIL(to->sent_from[letter], send_to(from, to->shell.node, &m));
	settle();
}

/* ---- tests */

START_TEST(cast_and_send)
{
	static const struct ph_spec_line lines[] = {{.child = {"web"}, .text = "{}"}};
	struct ph_bmsg spec = {.kind = PH_B_SPEC, .specs = lines, .n_specs = 1};
	reach(&a, &b);
	reach(&b, &a);
	b.messages = 0;
	cast(&a);
	UNTIL(b.messages, (void)0);
	ck_assert_int_eq(b.last.kind, PH_B_HEARTBEAT);
	ck_assert_str_eq(b.last.from.s, "a");
	ck_assert_uint_eq(b.last.incarnation, 100);
	settle();
	ck_assert_uint_eq(b.messages, 1);
	b.messages = 0;
	send_to(&a, "b", &spec);
	UNTIL(b.messages, (void)0);
	settle();
	ck_assert_uint_eq(b.messages, 1);
	ck_assert_int_eq(b.last.kind, PH_B_SPEC);
	ck_assert(b.spec_seen);
	send_to(&a, "nobody", &spec); /* lost, and no harm */
}
END_TEST

/* The core knows no secrets: what proves the stream goes into PREPARE on its way out. */
START_TEST(a_prepare_carries_its_ticket)
{
	struct ph_spec_line line = {.child = ph_name_of("room"), .revision = 3, .text = "{}"};
	struct ph_bmsg prepare = {.kind = PH_B_PREPARE,
		.id = {{7, 1}},
		.key = {.child = line.child},
		.epoch = 1,
		.seen = 2,
		.n_specs = 1,
		.specs = &line};
	uint8_t want[PH_SECRET_SIZE];
	reach(&a, &b);
	b.messages = 0;
	send_to(&a, "b", &prepare);
	UNTIL(b.messages, (void)0);
	ck_assert_int_eq(b.last.kind, PH_B_PREPARE);
	memset(want, 7 + 'b', sizeof want);
	ck_assert_mem_eq(b.last.ticket, want, sizeof want);
}
END_TEST

/* a cannot reach b, c reaches both: the message comes as if straight from a, and once. */
START_TEST(by_way_of_a_third)
{
	struct ph_bmsg m = {
		.kind = PH_B_COMMIT, .id = {{9}}, .key = {.child = {"room"}}, .epoch = 3};
	struct ph_action send = {
		.kind = PH_ACT_SEND, .to = ph_name_of("b"), .via = ph_name_of("c"), .message = &m};
	start(&c, "c", ring, NULL);
	reach(&a, &c), reach(&c, &b), reach(&b, &a);
	ph_shell_bus_act(a.shell.bus, &send);
	UNTIL(b.kinds[PH_B_COMMIT], (void)0);
	ck_assert_str_eq(b.last.from.s, "a");
	ck_assert_uint_eq(b.last.incarnation, 100);
	ck_assert_uint_eq(c.kinds[PH_B_COMMIT], 0); /* who passes it on has no part in it */
	/* straight and by way of c: the second copy is a repeat */
	reach(&a, &b);
	unsigned before = b.kinds[PH_B_COMMIT];
	ph_shell_bus_act(a.shell.bus, &send);
	UNTIL(b.kinds[PH_B_COMMIT] > before, (void)0);
	settle();
	ck_assert_uint_eq(b.kinds[PH_B_COMMIT], before + 1);
}
END_TEST

/* What was passed on is not passed on again, and what is no hex is dropped. */
START_TEST(relays_end)
{
	struct ph_bmsg m = {
		.kind = PH_B_RELAY, .target = ph_name_of("a"), .frame = "00", .passed_on = true};
	start(&c, "c", ring, NULL);
	reach(&a, &c), reach(&b, &c), reach(&c, &b), reach(&c, &a);
	unsigned messages = c.messages;
	uint64_t sent = c.shell.bus->send_no;
	send_to(&b, "c", &m);
	settle();
	ck_assert_uint_eq(c.shell.bus->send_no, sent);
	m.passed_on = false;
	m.target = ph_name_of("c");
	m.frame = "0g";
	send_to(&b, "c", &m);
	settle();
	ck_assert_uint_eq(c.messages, messages);
}
END_TEST

/* What was meant for an earlier incarnation is not for the one that came after it. */
START_TEST(incarnations)
{
	struct ph_bmsg m = beat(7);
	reach(&a, &b);
	reach(&b, &a);
	b.shell.incarnation = 200;
	b.messages = 0;
	struct ph_action send = {
		.kind = PH_ACT_SEND, .to = ph_name_of("b"), .incarnation = 100, .message = &m};
	ph_shell_bus_act(a.shell.bus, &send);
	settle();
	ck_assert_uint_eq(b.messages, 0);
	a.messages = 0;
	cast(&b);
	UNTIL(a.messages, (void)0);
	ck_assert_uint_eq(a.last.incarnation, 200);
	send.incarnation = 200;
	ph_shell_bus_act(a.shell.bus, &send);
	UNTIL(b.messages, (void)0);
}
END_TEST

/* Whoever is at an address is answered without a link, and gets no casts until there is one. */
START_TEST(somebody_at_an_address)
{
	struct ph_bmsg m = {.kind = PH_B_QUERY, .id = {{9}}, .key = {.child = {"room"}}};
	struct ph_action there = {.kind = PH_ACT_SEND,
		.to = ph_name_of("b"),
		.incarnation = 100,
		.address = b.listen,
		.message = &m};
	ph_shell_bus_act(a.shell.bus, &there);
	UNTIL(b.sent_from['a'] == 1, (void)0);
	ck_assert_uint_eq(a.shell.bus->n_guests, 1);
	settle();
	b.messages = 0;
	cast(&a);
	there.incarnation = 99; /* another life */
	ph_shell_bus_act(a.shell.bus, &there);
	settle();
	ck_assert_uint_eq(b.messages, 0);
	link_to(&a, &b); /* over the connection that is there */
	ck_assert_uint_eq(a.shell.bus->n_guests, 0);
	there.incarnation = 100;
	ph_shell_bus_act(a.shell.bus, &there);
	UNTIL(b.sent_from['a'] == 2, (void)0);
	UNTIL(b.cast_from['a'], cast(&a));
	ck_assert_uint_eq(a.shell.bus->n_guests, 0);
	/* the link of a name stays where it is while somebody else of that name is answered */
	start(&c, "b", ring, NULL);
	there.address = c.listen;
	ph_shell_bus_act(a.shell.bus, &there);
	UNTIL(c.sent_from['a'] == 1, (void)0);
	settle();
	b.messages = c.messages = 0;
	cast(&a);
	send_to(&a, "b", &m);
	UNTIL(b.messages == 2, (void)0);
	settle();
	ck_assert_uint_eq(c.messages, 0);
	/* there is room for so many, and the last ones stay */
	for (unsigned i = 0; i < PH_BUS_GUESTS_MAX + 5; i++) {
		char address[64];
		(void)snprintf(address, sizeof address, "tcp://127.0.0.1:%u", 2 + 2 * i);
		there.address = address;
		ph_shell_bus_act(a.shell.bus, &there);
		ck_assert_uint_le(a.shell.bus->n_guests, PH_BUS_GUESTS_MAX);
		ck_assert_str_eq(a.shell.bus->guests->prev->address, address);
	}
	ph_bus_guests_expire(a.shell.bus, true);
	ck_assert_uint_eq(a.shell.bus->n_guests, 0);
}
END_TEST

START_TEST(seeds)
{
	struct ph_action order = {.kind = PH_ACT_SEEDS, .on = true};
	const struct ph_bus_seed *own = &b.shell.bus->seeds[0], *seed = own + 1;
	ck_assert(own->out && !seed->out);
	ck_assert_str_eq(seed->address, a.listen);
	ph_shell_bus_act(b.shell.bus, &order);
	UNTIL(a.messages, cast(&b));
	/* a member at the seed's address takes its place: no cast arrives twice */
	link_to(&b, &a);
	ck_assert(!seed->dialled && !own->dialled);
	settle();
	a.messages = 0;
	UNTIL(a.messages, cast(&b));
	settle();
	unsigned before = a.messages;
	cast(&b);
	settle();
	ck_assert_uint_eq(a.messages, before + 1);
	/* dialled anew it works on; one that nobody has linked is none */
	ph_shell_bus_act(
		b.shell.bus, &(struct ph_action){.kind = PH_ACT_MEND, .to = ph_name_of("z")});
	ph_shell_bus_act(
		b.shell.bus, &(struct ph_action){.kind = PH_ACT_MEND, .to = ph_name_of("a")});
	before = a.messages;
	UNTIL(a.messages > before, cast(&b));
	ph_shell_bus_act(
		b.shell.bus, &(struct ph_action){.kind = PH_ACT_UNLINK, .to = ph_name_of("a")});
	ck_assert(seed->dialled && !own->dialled);
	order.on = false;
	ph_shell_bus_act(b.shell.bus, &order);
	ck_assert(!seed->dialled && !own->dialled);
}
END_TEST

/* It is dialled when it is known where it is. */
START_TEST(the_address_of_a_seed_comes_late)
{
	struct ph_action order = {.kind = PH_ACT_SEEDS, .on = true};
	char peer[64];
	(void)snprintf(peer, sizeof peer, "tcp://slow-%s.test:%u", a.host, a.conf.cluster.port);
	for (char *dot = strchr(peer, '.'); strcmp(dot, strstr(peer, ".test")) != 0;
		dot = strchr(dot, '.'))
		*dot = '-';
	atomic_store(&help_silent, true);
	start(&c, "c", ring, peer);
	ph_shell_bus_act(c.shell.bus, &order);
	cast(&c);
	settle();
	ck_assert_uint_eq(a.messages, 0);
	ck_assert_uint_eq(c.peers_told, 0);
	atomic_store(&help_silent, false);
	UNTIL(a.messages, cast(&c));
	ck_assert_uint_eq(c.peers_told, 1);
	link_to(&c, &a);
	ck_assert(!c.shell.bus->seeds[1].dialled);
}
END_TEST

START_TEST(another_key)
{
	start(&c, "c", other_ring, NULL);
	link_to(&c, &a);
	UNTIL(a.auth_failed, cast(&c));
	for (int i = 0; i < 20; i++)
		cast(&c);
	settle();
	ck_assert_uint_eq(a.auth_failed, 1); /* told once in a while, with a count */
	ck_assert_uint_eq(a.messages, 0);
}
END_TEST

START_TEST(two_at_one_address)
{
	struct ph_action old = {.kind = PH_ACT_LINK, .to = ph_name_of("old"), .address = a.listen};
	ph_shell_bus_act(b.shell.bus, &old);
	link_to(&b, &a);
	struct ph_name names[] = {ph_name_of("old"), ph_name_of("a")};
	ck_assert(!ph_bus_peer(b.shell.bus, &names[0], false)->dialled);
	ck_assert(ph_bus_peer(b.shell.bus, &names[1], false)->dialled);
	UNTIL(a.messages, cast(&b));
}
END_TEST

START_TEST(bus_process_dies)
{
	link_to(&a, &b);
	UNTIL(b.messages && a.ups == 1, cast(&a));
	ck_assert_int_eq(kill(ph_buslink_pid(a.shell.bus->link), SIGKILL), 0);
	UNTIL(a.ups == 2, (void)0);
	ck_assert_uint_eq(a.restarted, 1);
	b.messages = 0;
	UNTIL(b.messages, cast(&a));
}
END_TEST

/* ---- without a network: sealed here, handed to the receiver */

static size_t make(uint8_t *bytes, size_t size, const char *from, uint64_t number)
{
	struct ph_envelope header = {
		.plane = PH_PLANE_BROADCAST,
		.cluster = ph_cluster_hash("test"),
		.from = ph_name_of(from),
		.from_incarnation = 5,
		.sequence = number,
	};
	struct ph_bmsg m = beat(number);
	size_t n, length;
	char *body = ph_bmsg_encode(&m, &n);
	ck_assert_int_eq(ph_envelope_seal(ring, &header, body, n, bytes, size, &length, NULL), 0);
	free(body);
	return length;
}

START_TEST(replays_and_own)
{
	uint8_t bytes[2048], copy[2048];
	size_t n = make(bytes, sizeof bytes, "x", 1);
	for (int i = 0; i < 3; i++) {
		memcpy(copy, bytes, n);
		ph_bus_got(a.shell.bus, PH_PLANE_BROADCAST, copy, n);
	}
	ck_assert_uint_eq(a.messages, 1);
	n = make(bytes, sizeof bytes, "x", 2);
	ph_bus_got(a.shell.bus, PH_PLANE_DIRECTED, bytes, n); /* not the plane it names */
	n = make(bytes, sizeof bytes, "a", 3);
	ph_bus_got(a.shell.bus, PH_PLANE_BROADCAST, bytes, n); /* another node with our name */
	ck_assert_uint_eq(a.messages, 1);
	uint64_t seed = 1;
	for (uint64_t i = 4; i < 400; i++) {
		n = make(bytes, sizeof bytes, "x", i);
		seed = ph_mix64(seed + i);
		bytes[seed % n] ^= (uint8_t)(1 + seed % 255);
		ph_bus_got(a.shell.bus, PH_PLANE_BROADCAST, bytes, n);
	}
	ck_assert_uint_eq(a.messages, 1);
}
END_TEST

/* Directed to node a, as hex; the caller's. */
static char *sealed_for_a(const struct ph_bmsg *m, uint64_t number, uint8_t *bytes, size_t *n)
{
	struct ph_envelope header = {
		.plane = PH_PLANE_DIRECTED,
		.cluster = ph_cluster_hash("test"),
		.from = ph_name_of("x"),
		.from_incarnation = 5,
		.to = ph_name_of("a"),
		.sequence = number,
	};
	size_t length;
	char *body = ph_bmsg_encode(m, &length), *hex;
	ck_assert_ptr_nonnull(body);
	ck_assert_int_eq(ph_envelope_seal(ring, &header, body, length, bytes, 8192, n, NULL), 0);
	free(body);
	hex = calloc(1, 2 * *n + 1);
	for (size_t i = 0; i < *n; i++)
		(void)snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
	return hex;
}

/* What is relayed comes as if straight from its sender; nothing is wrapped twice. */
START_TEST(what_is_inside_a_relay)
{
	static uint8_t bytes[8192];
	struct ph_bmsg m = {.kind = PH_B_QUERY, .id = {{9}}, .key = {.child = {"room"}}};
	size_t n;
	char *inner = sealed_for_a(&m, 1, bytes, &n);
	for (unsigned times = 1; times <= 2; times++) {
		struct ph_bmsg relay = {
			.kind = PH_B_RELAY, .target = ph_name_of("a"), .frame = inner};
		char *outer = sealed_for_a(&relay, 10 * times, bytes, &n);
		if ((unsigned)_i + 1 == times) {
			ph_bus_got(a.shell.bus, PH_PLANE_DIRECTED, bytes, n);
			ck_assert_uint_eq(a.messages, times == 1);
		}
		free(inner);
		inner = outer;
	}
	free(inner);
}
END_TEST

START_TEST(rate)
{
	uint8_t bytes[2048];
	uint64_t begin_ms = ph_clock_now_ms();
	for (uint64_t i = 1; i <= 3 * PH_BUS_BURST; i++) {
		size_t n = make(bytes, sizeof bytes, "x", i);
		ph_bus_got(a.shell.bus, PH_PLANE_BROADCAST, bytes, n);
	}
	uint64_t spent_ms = ph_clock_now_ms() - begin_ms;
	ck_assert_uint_ge(a.messages, PH_BUS_BURST);
	ck_assert_uint_le(a.messages, PH_BUS_BURST + (spent_ms + 1) * PH_BUS_RATE / 1000);
	/* another peer is not concerned */
	a.messages = 0;
	size_t n = make(bytes, sizeof bytes, "y", 1);
	ph_bus_got(a.shell.bus, PH_PLANE_BROADCAST, bytes, n);
	ck_assert_uint_eq(a.messages, 1);
	/* names without end take no memory without end */
	for (unsigned i = 0; i < 2 * PH_BUS_KNOWN_MAX; i++) {
		char name[16];
		(void)snprintf(name, sizeof name, "n%u", i);
		n = make(bytes, sizeof bytes, name, 1);
		ph_bus_got(a.shell.bus, PH_PLANE_BROADCAST, bytes, n);
	}
	ck_assert_uint_eq(HASH_COUNT(a.shell.bus->peers), PH_BUS_KNOWN_MAX);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("shell_bus");
	TCase *t = tcase_create("shell_bus");
	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_test(t, cast_and_send);
	tcase_add_test(t, a_prepare_carries_its_ticket);
	tcase_add_test(t, by_way_of_a_third);
	tcase_add_test(t, relays_end);
	tcase_add_test(t, incarnations);
	tcase_add_test(t, somebody_at_an_address);
	tcase_add_test(t, seeds);
	tcase_add_test(t, the_address_of_a_seed_comes_late);
	tcase_add_test(t, another_key);
	tcase_add_test(t, two_at_one_address);
	tcase_add_test(t, bus_process_dies);
	tcase_add_test(t, replays_and_own);
	tcase_add_loop_test(t, what_is_inside_a_relay, 0, 2);
	tcase_add_test(t, rate);
	tcase_set_timeout(t, 60);
	suite_add_tcase(s, t);
	return run_tests(s);
}
