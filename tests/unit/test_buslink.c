/* buslink with real prochub-bus processes on loopback: two nodes, faults, garbage, floods. */
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "io/buslink.h"
#include "run_tests.h"

#define NUMBERS 4096
#define WAIT_MS 15000 /* for what takes milliseconds */
#ifdef __SANITIZE_ADDRESS__
#define RSS_MAX_KIB (1024 * 1024) /* freed memory is kept there */
#else
#define RSS_MAX_KIB (64 * 1024)
#endif

/* One node: its link, and what it was told. */
struct node {
	struct ph_buslink *link;
	char broadcast[PH_ADDRESS_SIZE], directed[PH_ADDRESS_SIZE];
	uint8_t id;
	unsigned ups, downs, bounds, bind_fails, echoes;
	unsigned got[3]; /* by plane */
	uint32_t last[3];
	unsigned disorder[3], twice[3];
	uint8_t seen[3][NUMBERS];
	uint64_t dropped_casts, dropped_sends;
	size_t largest;
};

static struct event_base *base;
static struct node a, b;
static char program[512];

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000u + (uint64_t)ts.tv_nsec / 1000000u;
}

/* ---- callbacks; a message is: id of the sender, u32 number, filling */

static void on_up(void *arg)
{
	((struct node *)arg)->ups++;
}

static void on_down(void *arg, const char *why)
{
	((struct node *)arg)->downs++;
	ck_assert_uint_gt(strlen(why), 0);
}

static void on_bound(void *arg)
{
	((struct node *)arg)->bounds++;
}

static void on_bind_failed(void *arg, int code, const char *text)
{
	((struct node *)arg)->bind_fails++;
	ck_assert_int_eq(code, EADDRINUSE);
	ck_assert_ptr_nonnull(strstr(text, "tcp://127.0.0.1:"));
}

static void on_got(void *arg, enum ph_plane plane, uint8_t *bytes, size_t n)
{
	struct node *node = arg;

	ck_assert_uint_ge(n, 5);
	if (n > node->largest)
		node->largest = n;
	if (bytes[0] == node->id)
		node->echoes++;
	uint32_t number = ph_get_u32(bytes + 1);
	if (number == 0)
		return; /* a knock */
	ck_assert_uint_lt(number, NUMBERS);
	node->got[plane]++;
	node->disorder[plane] += number <= node->last[plane];
	node->last[plane] = number;
	node->twice[plane] += node->seen[plane][number];
	node->seen[plane][number] = 1;
}

static void on_dropped(void *arg, uint32_t peer, uint64_t count)
{
	struct node *node = arg;

	if (peer)
		node->dropped_sends += count;
	else
		node->dropped_casts += count;
}

static const struct ph_buslink_callbacks callbacks = {
	.up = on_up,
	.down = on_down,
	.bound = on_bound,
	.bind_failed = on_bind_failed,
	.got = on_got,
	.dropped = on_dropped,
};

/* ---- the loop */

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
}

/* Runs the loop until the condition holds; false after `ms`. */
#define RUN_UNTIL(condition, ms) \
	__extension__({ \
		uint64_t end_ = now_ms() + (ms); \
		while (!(condition) && now_ms() < end_) \
			event_base_loop(base, EVLOOP_ONCE); \
		(condition); \
	})

static void run_for(unsigned ms)
{
	(void)RUN_UNTIL(false, ms);
}

static struct event *tick;

static void loop_setup(void)
{
	struct timeval tv = {.tv_usec = 5000};
	ssize_t n = readlink("/proc/self/exe", program, sizeof program - 32);

	ck_assert_int_gt(n, 0);
	program[n] = 0;
	*strrchr(program, '/') = 0;
	strcpy(strrchr(program, '/'), "/prochub-bus");
	ck_assert_msg(access(program, X_OK) == 0, "%s is not built", program);
	base = event_base_new();
	ck_assert_ptr_nonnull(base);
	tick = event_new(base, -1, EV_PERSIST, on_tick, NULL);
	event_add(tick, &tv);
}

static void loop_teardown(void)
{
	ph_buslink_free(a.link);
	ph_buslink_free(b.link);
	a.link = b.link = NULL;
	event_free(tick);
	event_base_free(base);
}

/* ---- nodes */

/* Below the range from which the kernel takes ports for dialling; another one each time. */
static int port_free(void)
{
	static uint64_t state;
	struct sockaddr_in in = {.sin_family = AF_INET};
	int rc, port;

	if (!state)
		state = ph_mix64((uint64_t)getpid() * 1000003u + now_ms());
	do {
		port = 10000 + (int)(state++ % 22000);
		in.sin_port = htons((uint16_t)port);
		int fd = socket(AF_INET, SOCK_STREAM, 0);
		ck_assert_int_ge(fd, 0);
		rc = bind(fd, (struct sockaddr *)&in, sizeof in);
		close(fd);
	} while (rc < 0);
	return port;
}

static void address_of(char address[PH_ADDRESS_SIZE], const char *host)
{
	snprintf(address, PH_ADDRESS_SIZE, "tcp://%s:%d", host, port_free());
}

static void node_place(struct node *node, uint8_t id, const char *host)
{
	memset(node, 0, sizeof *node);
	node->id = id;
	address_of(node->broadcast, host);
	address_of(node->directed, host);
}

static void node_run(struct node *node)
{
	struct ph_err err = {{0}};

	ck_assert_msg(ph_buslink_new(base, program, &callbacks, node, &node->link, &err) == 0, "%s",
		err.text);
	ck_assert_int_eq(ph_buslink_bind(node->link, node->broadcast, node->directed, &err), 0);
}

static void node_start_at(struct node *node, uint8_t id, const char *host)
{
	node_place(node, id, host);
	node_run(node);
}

static void dial(struct node *from, uint32_t peer, const struct node *to)
{
	struct ph_err err = {{0}};

	ck_assert_msg(ph_buslink_dial(from->link, peer, to->broadcast, to->directed, &err) == 0,
		"%s", err.text);
}

static void fill(uint8_t *bytes, uint8_t id, uint32_t number)
{
	bytes[0] = id;
	ph_put_u32(bytes + 1, number);
}

static int cast(struct node *node, uint32_t number, size_t n)
{
	uint8_t *bytes = calloc(1, n);

	fill(bytes, node->id, number);
	int rc = ph_buslink_cast(node->link, bytes, n);
	free(bytes);
	return rc;
}

static int send_to(struct node *node, uint32_t peer, uint32_t number, size_t n, uint32_t ttl_ms)
{
	uint8_t *bytes = calloc(1, n);

	fill(bytes, node->id, number);
	int rc = ph_buslink_send(node->link, peer, bytes, n, ttl_ms);
	free(bytes);
	return rc;
}

/* Casts until something arrives: the connection is there. */
static bool reaches(struct node *from, struct node *to, unsigned ms)
{
	uint64_t end = now_ms() + ms;
	size_t n = to->largest = 0;

	while (to->largest == n && now_ms() < end) {
		(void)cast(from, 0, 300);
		run_for(10);
	}
	return to->largest != n;
}

static void pair_up(const char *host_a, const char *host_b)
{
	node_start_at(&a, 1, host_a);
	node_start_at(&b, 2, host_b);
	dial(&a, 12, &b);
	dial(&b, 11, &a);
	ck_assert(RUN_UNTIL(a.bounds && b.bounds, WAIT_MS));
	ck_assert(reaches(&a, &b, WAIT_MS));
	ck_assert(reaches(&b, &a, WAIT_MS));
}

/* 80 messages each way on both planes; all arrive, once, in order, none at its sender. */
static void exchange(uint32_t first)
{
	unsigned want = 80, a_got[3], b_got[3];

	memcpy(a_got, a.got, sizeof a_got);
	memcpy(b_got, b.got, sizeof b_got);
	for (uint32_t i = 0; i < want; i++) {
		ck_assert_int_eq(cast(&a, first + i, 300), 0);
		ck_assert_int_eq(cast(&b, first + i, 300), 0);
		ck_assert_int_eq(send_to(&a, 12, first + i, 300, 0), 0);
		ck_assert_int_eq(send_to(&b, 11, first + i, 300, 0), 0);
	}
	(void)RUN_UNTIL(a.got[1] - a_got[1] == want && a.got[2] - a_got[2] == want &&
				b.got[1] - b_got[1] == want && b.got[2] - b_got[2] == want,
		WAIT_MS);
	run_for(50);
	ck_assert_uint_eq(a.got[2] - a_got[2], want);
	ck_assert_uint_eq(b.got[2] - b_got[2], want);
	ck_assert_uint_eq(a.got[1] - a_got[1], want);
	ck_assert_uint_eq(b.got[1] - b_got[1], want);
	ck_assert_uint_eq(a.disorder[2] + b.disorder[2], 0);
	ck_assert_uint_eq(a.twice[1] + a.twice[2] + b.twice[1] + b.twice[2], 0);
	ck_assert_uint_eq(a.echoes + b.echoes, 0);
}

/* ---- two nodes */

START_TEST(both_planes_both_ways)
{
	struct ph_buslink_stats stats;

	pair_up("127.0.0.1", "127.0.0.1");
	exchange(1);
	exchange(81);
	ph_buslink_stats(a.link, &stats);
	ck_assert_uint_eq(stats.sends, 160);
	ck_assert_uint_eq(stats.starts, 1);
	ck_assert_uint_eq(stats.drops, 0);
	ck_assert_uint_eq(a.downs + b.downs, 0);
}
END_TEST

static bool has_ipv6(void)
{
	struct sockaddr_in6 in = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	int fd = socket(AF_INET6, SOCK_STREAM, 0);
	bool yes = fd >= 0 && bind(fd, (struct sockaddr *)&in, sizeof in) == 0;

	if (fd >= 0)
		close(fd);
	return yes;
}

/* One process dials both families; nanomsg aborts where they share a socket. */
START_TEST(ipv6_beside_ipv4)
{
	const char *host = has_ipv6() ? "[::1]" : "127.0.0.1";
	struct ph_err err;
	char absent[2][PH_ADDRESS_SIZE];

	pair_up(host, "127.0.0.1");
	address_of(absent[0], host);
	address_of(absent[1], "127.0.0.1");
	ck_assert_int_eq(ph_buslink_dial(a.link, 3, absent[0], absent[1], &err), 0);
	ck_assert_int_eq(ph_buslink_dial(b.link, 3, absent[1], absent[0], &err), 0);
	ck_assert_int_eq(send_to(&a, 3, 1, 100, 0), 0);
	ck_assert_int_eq(send_to(&b, 3, 1, 100, 0), 0);
	run_for(1500); /* some attempts to reach the absent ones */
	exchange(1);
	ck_assert_uint_eq(a.downs + b.downs, 0);
}
END_TEST

START_TEST(killed_bus_comes_back)
{
	pair_up("127.0.0.1", "127.0.0.1");
	exchange(1);
	for (unsigned round = 1; round <= 2; round++) {
		struct node *victim = round == 1 ? &a : &b;
		pid_t pid = ph_buslink_pid(victim->link);
		ck_assert_int_eq(kill(pid, SIGKILL), 0);
		ck_assert(RUN_UNTIL(victim->downs == 1, WAIT_MS));
		event_base_loop(base, EVLOOP_NONBLOCK); /* the first time without a pause */
		ck_assert_int_ne(ph_buslink_pid(victim->link), 0);
		ck_assert_int_ne(ph_buslink_pid(victim->link), pid);
		ck_assert(RUN_UNTIL(victim->ups == 2 && victim->bounds == 2, WAIT_MS));
		ck_assert(reaches(&a, &b, WAIT_MS));
		ck_assert(reaches(&b, &a, WAIT_MS));
		run_for(1200); /* longer than nanomsg waits between attempts */
		exchange(round * 100);
	}
}
END_TEST

START_TEST(directed_messages_outlive_the_bus)
{
	pair_up("127.0.0.1", "127.0.0.1");
	ck_assert_int_eq(send_to(&a, 12, 1, 100, 0), 0);
	ck_assert(RUN_UNTIL(b.got[2] == 1, WAIT_MS));
	ck_assert_int_eq(kill(ph_buslink_pid(a.link), SIGKILL), 0);
	ck_assert(RUN_UNTIL(a.downs == 1, WAIT_MS));
	ck_assert_int_eq(ph_buslink_pid(a.link), 0);
	ck_assert(!ph_buslink_is_up(a.link));
	ck_assert_int_eq(cast(&a, 1, 100), -ENOTCONN);
	for (uint32_t i = 2; i < 12; i++)
		ck_assert_int_eq(send_to(&a, 12, i, 100, 0), 0);
	ck_assert(RUN_UNTIL(b.got[2] == 11, WAIT_MS));
	ck_assert_uint_eq(b.disorder[2] + b.twice[2], 0);
	ck_assert(RUN_UNTIL(a.dropped_casts == 1, WAIT_MS));
}
END_TEST

START_TEST(mended_link_works_on)
{
	pair_up("127.0.0.1", "127.0.0.1");
	exchange(1);
	ph_buslink_mend(a.link, 12);
	ph_buslink_mend(a.link, 99);
	ck_assert(reaches(&a, &b, WAIT_MS));
	run_for(100);
	exchange(100);
	ck_assert_uint_eq(a.downs + b.downs, 0);
}
END_TEST

/* An entry of `peers` and the member behind it have one address: no cast twice. */
START_TEST(shared_address_is_dialled_once)
{
	struct ph_err err;

	pair_up("127.0.0.1", "127.0.0.1");
	ck_assert_int_eq(ph_buslink_dial(a.link, 50, b.broadcast, NULL, &err), 0);
	ck_assert_int_eq(send_to(&a, 50, 1, 100, 0), -EDESTADDRREQ);
	run_for(100);
	exchange(1);
	ph_buslink_hangup(a.link, 12);
	dial(&a, 12, &b);
	run_for(50);
	exchange(100);
	ph_buslink_hangup(a.link, 50);
	run_for(50);
	exchange(200);
	ph_buslink_hangup(a.link, 12);
	run_for(50);
	unsigned got = b.got[1];
	ck_assert_int_eq(cast(&a, 300, 100), 0);
	run_for(100);
	ck_assert_uint_eq(b.got[1], got);
	ck_assert_int_eq(send_to(&a, 12, 300, 100, 0), -EDESTADDRREQ);
}
END_TEST

/* ---- load and absence */

static long rss_kib(pid_t pid)
{
	char path[64], line[256];
	long kib = -1;

	snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
	FILE *f = fopen(path, "re");
	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof line, f))
		if (strncmp(line, "VmRSS:", 6) == 0)
			kib = atol(line + 6);
	fclose(f);
	return kib;
}

START_TEST(absent_peer_blocks_nobody)
{
	struct ph_err err;
	char absent[2][PH_ADDRESS_SIZE];

	pair_up("127.0.0.1", "127.0.0.1");
	for (uint32_t peer = 100; peer < 110; peer++) {
		address_of(absent[0], "127.0.0.1");
		address_of(absent[1], "127.0.0.1");
		ck_assert_int_eq(ph_buslink_dial(a.link, peer, absent[0], absent[1], &err), 0);
	}
	for (uint32_t i = 0; i < 2000; i++)
		ck_assert_int_eq(send_to(&a, 100 + i % 2, 1, 200, 0), 0);
	ck_assert_int_eq(send_to(&a, 105, 1, PH_BUS_MESSAGE_MAX, 0), 0);
	uint64_t took;
	uint32_t first = 1;
	do { /* a machine that is busy may take long once, and not each time */
		uint64_t at = now_ms();
		exchange(first);
		took = now_ms() - at;
		first += 80;
	} while (took >= 1000 && first < 1000);
	ck_assert_uint_lt(took, 1000);
	/* the queue of one peer has a bound, and tells what it gave up */
	for (uint32_t i = 0; i < 1100; i++)
		ck_assert_int_eq(send_to(&a, 102, 1, 200, 0), 0);
	ck_assert(RUN_UNTIL(a.dropped_sends == 1100 - 1024, WAIT_MS));
	ck_assert_uint_eq(a.downs, 0);
}
END_TEST

START_TEST(too_old_is_not_sent)
{
	struct ph_err err;

	node_start_at(&a, 1, "127.0.0.1");
	node_start_at(&b, 2, "127.0.0.1");
	ph_buslink_free(b.link);
	b.link = NULL;
	dial(&a, 12, &b);
	ck_assert_int_eq(send_to(&a, 12, 1, 100, 100), 0);
	ck_assert_int_eq(send_to(&a, 12, 2, 100, 0), 0);
	ck_assert(RUN_UNTIL(a.dropped_sends == 1, WAIT_MS));
	ck_assert_int_eq(ph_buslink_new(base, program, &callbacks, &b, &b.link, &err), 0);
	ck_assert_int_eq(ph_buslink_bind(b.link, b.broadcast, b.directed, &err), 0);
	ck_assert(RUN_UNTIL(b.got[2] == 1, WAIT_MS));
	ck_assert_uint_eq(b.last[2], 2);
}
END_TEST

START_TEST(flood_is_bounded)
{
	struct ph_buslink_stats stats;
	struct ph_err err;
	char absent[2][PH_ADDRESS_SIZE];
	unsigned refused = 0;

	pair_up("127.0.0.1", "127.0.0.1");
	address_of(absent[0], "127.0.0.1");
	address_of(absent[1], "127.0.0.1");
	ck_assert_int_eq(ph_buslink_dial(a.link, 3, absent[0], absent[1], &err), 0);
	for (uint32_t i = 0; i < 60; i++) {
		uint32_t peer = i % 2 ? 3 : 12;
		int rc = send_to(&a, peer, 0, PH_BUS_MESSAGE_MAX, 0);
		ck_assert(rc == 0 || rc == -ENOBUFS);
		refused += rc != 0;
		rc = cast(&a, 0, PH_BUS_MESSAGE_MAX);
		ck_assert(rc == 0 || rc == -ENOBUFS);
		ph_buslink_stats(a.link, &stats);
		ck_assert_uint_le(stats.queued_bytes, PH_BUSLINK_QUEUE_MAX + 65536);
	}
	ck_assert_uint_gt(refused, 0);
	ck_assert(RUN_UNTIL((ph_buslink_stats(a.link, &stats), stats.queued_bytes) == 0, WAIT_MS));
	run_for(500);
	ck_assert_uint_gt(a.dropped_sends, 0);
	ck_assert_uint_eq(b.largest, PH_BUS_MESSAGE_MAX);
	ck_assert_int_lt(rss_kib(ph_buslink_pid(a.link)), RSS_MAX_KIB);
	ck_assert_int_lt(rss_kib(ph_buslink_pid(b.link)), RSS_MAX_KIB);
	ck_assert_uint_eq(a.downs + b.downs, 0);
	exchange(1);
	ck_assert_int_eq(cast(&a, 0, PH_BUS_MESSAGE_MAX + 1), -EMSGSIZE);
	ck_assert_int_eq(ph_buslink_cast(a.link, "", 0), -EMSGSIZE);
}
END_TEST

/* nanomsg has 512 sockets a process: idle ones make room, and nothing is lost by it. */
START_TEST(more_peers_than_sockets)
{
	enum {
		PEERS = 450
	};
	char text[2][PH_ADDRESS_SIZE];
	struct ph_err err;

	node_start_at(&a, 1, "127.0.0.1");
	node_start_at(&b, 2, "0.0.0.0");
	ck_assert(RUN_UNTIL(a.bounds && b.bounds, WAIT_MS));
	for (uint32_t i = 1; i <= PEERS; i++) {
		const char *const ports[] = {strrchr(b.broadcast, ':'), strrchr(b.directed, ':')};
		for (size_t j = 0; j < 2; j++)
			snprintf(text[j], sizeof text[j], "tcp://127.1.%u.%u%s", i / 200,
				i % 200 + 1, ports[j]);
		ck_assert_int_eq(ph_buslink_dial(a.link, i, text[0], text[1], &err), 0);
		ck_assert_int_eq(send_to(&a, i, i, 300, 0), 0);
	}
	ck_assert(RUN_UNTIL(b.got[2] == PEERS, WAIT_MS));
	run_for(1200); /* all are dialled by now */
	memset(b.seen, 0, sizeof b.seen);
	for (uint32_t i = 1; i <= PEERS; i++)
		ck_assert_int_eq(send_to(&a, i, i, 300, 0), 0);
	ck_assert(RUN_UNTIL(b.got[2] == 2 * PEERS, WAIT_MS));
	ck_assert_int_eq(cast(&a, 1, 300), 0);
	ck_assert(RUN_UNTIL(b.got[1] == PEERS, WAIT_MS));
	ck_assert_uint_eq(b.twice[2] + a.downs + b.downs, 0);
	ck_assert_int_lt(rss_kib(ph_buslink_pid(a.link)), RSS_MAX_KIB);
}
END_TEST

/* ---- addresses */

START_TEST(address_in_use_is_retried)
{
	int holder = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	node_place(&a, 1, "127.0.0.1");
	in.sin_port = htons((uint16_t)atoi(strrchr(a.directed, ':') + 1));
	ck_assert_int_eq(bind(holder, (struct sockaddr *)&in, sizeof in), 0);
	ck_assert_int_eq(listen(holder, 1), 0);
	node_run(&a);
	ck_assert(RUN_UNTIL(a.bind_fails == 1, WAIT_MS));
	run_for(1300);
	ck_assert_uint_eq(a.bind_fails, 1);
	ck_assert_uint_eq(a.bounds, 0);
	close(holder);
	ck_assert(RUN_UNTIL(a.bounds == 1, WAIT_MS));
	ck_assert_uint_eq(a.downs, 0);
}
END_TEST

static const char *const bad_addresses[] = {
	"",
	"tcp://",
	"127.0.0.1:80",
	"tcp://127.0.0.1",
	"tcp://127.0.0.1:",
	"tcp://127.0.0.1:0",
	"tcp://127.0.0.1:65536",
	"tcp://127.0.0.1:8o",
	"tcp://localhost:80",
	"tcp://*:80",
	"tcp://::1:80",
	"tcp://[::1]80",
	"tcp://[::1:80",
	"tcp://[]:80",
	"tcp://]:80",
	"tcp://[:80",
	"ipc:///tmp/x:80",
	"tcp://127.0.0.1;127.0.0.1:80",
	"tcp://127.0.0.1:80 ",
};

START_TEST(bad_addresses_are_refused)
{
	const char *good = "tcp://127.0.0.1:7400";
	char longer[2 * PH_ADDRESS_SIZE];
	struct ph_err err = {{0}};

	node_start_at(&a, 1, "127.0.0.1");
	for (size_t i = 0; i < sizeof bad_addresses / sizeof bad_addresses[0]; i++) {
		const char *bad = bad_addresses[i];
		ck_assert_msg(ph_buslink_bind(a.link, bad, good, &err) == -EINVAL, "%s", bad);
		ck_assert_int_eq(ph_buslink_bind(a.link, good, bad, &err), -EINVAL);
		ck_assert_int_eq(ph_buslink_dial(a.link, 1, bad, *bad ? good : "", &err), -EINVAL);
		if (*bad)
			ck_assert_int_eq(ph_buslink_dial(a.link, 1, good, bad, &err), -EINVAL);
		ck_assert_uint_gt(strlen(err.text), 0);
	}
	memset(longer, '1', sizeof longer);
	memcpy(longer, "tcp://", 6);
	longer[sizeof longer - 1] = 0;
	ck_assert_int_eq(ph_buslink_dial(a.link, 1, longer, good, &err), -EINVAL);
	ck_assert_int_eq(ph_buslink_dial(a.link, 0, good, good, &err), -EINVAL);
	ck_assert(RUN_UNTIL(a.bounds == 1, WAIT_MS));
}
END_TEST

/* ---- garbage */

static void throw_at(const char *address, const void *bytes, size_t n)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct timeval tv = {.tv_usec = 50000};
	char answer[64];
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	in.sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1));
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&in, sizeof in), 0);
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
	(void)!send(fd, bytes, n, MSG_NOSIGNAL);
	(void)!recv(fd, answer, sizeof answer, 0);
	(void)!recv(fd, answer, sizeof answer, 0);
	close(fd);
}

START_TEST(garbage_from_the_network)
{
	/* nanomsg's greeting is 00 'S' 'P' 00, u16 protocol, u16 0; then u64 length */
	static const uint8_t bus_hello[] = {0, 'S', 'P', 0, 0, 0x70, 0, 0};
	static const uint8_t push_hello[] = {0, 'S', 'P', 0, 0, 0x50, 0, 0};
	uint8_t bytes[4096];

	pair_up("127.0.0.1", "127.0.0.1");
	pid_t pid = ph_buslink_pid(a.link);
	for (unsigned round = 0; round < 24; round++) {
		const char *address = round & 1 ? a.broadcast : a.directed;
		const uint8_t *hello = round & 1 ? bus_hello : push_hello;
		for (size_t i = 0; i < sizeof bytes; i++)
			bytes[i] = (uint8_t)(ph_mix64(round * 4096 + i) >> 8);
		if (round % 6 > 1)
			memcpy(bytes, hello, 8);
		if (round % 6 > 3) /* a length beyond all bounds */
			memset(bytes + 8, round & 8 ? 0xff : 0x40, 8);
		throw_at(address, bytes, round % 3 == 2 ? 12 : sizeof bytes);
		throw_at(address, "GET / HTTP/1.0\r\n\r\n", 18);
		throw_at(address, "", 0);
		run_for(5);
	}
	exchange(1);
	ck_assert_int_eq(ph_buslink_pid(a.link), pid);
	ck_assert_uint_eq(a.downs, 0);
}
END_TEST

/* prochub-bus alone, with this test in the place of prochubd. */
static pid_t bus_alone(int *ret_fd)
{
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	pid_t pid = fork();
	if (pid == 0) {
		dup2(pair[1], 17);
		execl(program, "prochub-bus", "17", (char *)NULL);
		_exit(127);
	}
	ck_assert_int_gt(pid, 0);
	close(pair[1]);
	*ret_fd = pair[0];
	return pid;
}

static void put_frame(int fd, uint8_t kind, const void *payload, size_t n)
{
	uint8_t head[PH_BUSFRAME_HEADER];

	ph_put_u32(head, (uint32_t)n + 1);
	head[4] = kind;
	ck_assert_int_eq(send(fd, head, sizeof head, MSG_NOSIGNAL), (ssize_t)sizeof head);
	if (n)
		ck_assert_int_eq(send(fd, payload, n, MSG_NOSIGNAL), (ssize_t)n);
}

/* Reads reports until one of that kind comes; false after a while or at the end. */
static bool get_report(int fd, uint8_t kind)
{
	uint8_t head[PH_BUSFRAME_HEADER], rest[4096];
	struct pollfd p = {.fd = fd, .events = POLLIN};

	while (poll(&p, 1, WAIT_MS) == 1) {
		if (recv(fd, head, sizeof head, MSG_WAITALL) != (ssize_t)sizeof head)
			return false;
		size_t n = ph_get_u32(head) - 1;
		ck_assert_uint_le(n, sizeof rest);
		if (n)
			ck_assert_int_eq(recv(fd, rest, n, MSG_WAITALL), (ssize_t)n);
		if (head[4] == kind)
			return true;
	}
	return false;
}

static int status_of(pid_t pid)
{
	int status = -1;

	for (int i = 0; i < 1500; i++) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return status;
		usleep(10000);
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	ck_abort_msg("prochub-bus did not end");
	return -1;
}

START_TEST(garbage_on_the_socketpair)
{
	uint8_t bytes[512];
	char address[2][PH_ADDRESS_SIZE];
	int fd;
	pid_t pid = bus_alone(&fd);

	ck_assert(get_report(fd, PH_BUSFRAME_READY));
	for (unsigned i = 0; i < 20000; i++) {
		for (size_t j = 0; j < 24; j++)
			bytes[j] = (uint8_t)(ph_mix64(i * 64 + j) >> 16);
		/* mostly known kinds, with payloads that do not fit; sometimes an address nobody
		 * has */
		uint8_t kind = i % 3 ? (uint8_t)(1 + i % 6) : bytes[23];
		put_frame(fd, kind, bytes, bytes[22] % 22);
	}
	address_of(address[0], "127.0.0.1");
	address_of(address[1], "127.0.0.1");
	size_t n = 0;
	for (size_t i = 0; i < 2; i++) {
		bytes[n++] = (uint8_t)strlen(address[i]);
		memcpy(bytes + n, address[i], strlen(address[i]));
		n += strlen(address[i]);
	}
	put_frame(fd, PH_BUSFRAME_BIND, bytes, n);
	ck_assert(get_report(fd, PH_BUSFRAME_BOUND));
	/* what cannot be a frame ends it, and so it is started anew */
	memset(bytes, 0xff, 8);
	ck_assert_int_eq(send(fd, bytes, 8, MSG_NOSIGNAL), 8);
	int status = status_of(pid);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	close(fd);
}
END_TEST

START_TEST(bus_ends_with_the_socketpair)
{
	int fd;
	pid_t pid = bus_alone(&fd);

	ck_assert(get_report(fd, PH_BUSFRAME_READY));
	close(fd);
	int status = status_of(pid);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
END_TEST

/* ---- the process */

static void script(char *path, const char *text)
{
	strcpy(path, "/tmp/test_buslink.XXXXXX");
	int fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	ck_assert_int_eq(fchmod(fd, 0700), 0);
	close(fd);
}

START_TEST(raving_bus_is_restarted_slowly)
{
	static const char *const texts[] = {
		"#!/bin/sh\nexit 3\n",
		"#!/bin/sh\nprintf '\\377\\377\\377\\377xxxx' >&3\nexec sleep 30\n",
		"#!/bin/sh\nprintf '\\0\\0\\0\\005\\103\\007abc\\0\\0\\0\\003\\102ab\\0\\0\\0\\0' "
		">&3\n"
		"exec sleep 30\n",
	};
	struct ph_buslink_stats stats;
	struct ph_err err;
	char path[64];

	script(path, texts[_i]);
	memset(&a, 0, sizeof a);
	ck_assert_int_eq(ph_buslink_new(base, path, &callbacks, &a, &a.link, &err), 0);
	uint64_t end = now_ms() + 1000;
	while (now_ms() < end)
		event_base_loop(base, EVLOOP_ONCE);
	ph_buslink_stats(a.link, &stats);
	/* at 0, 0, 100, 300, 700 ms */
	ck_assert_uint_le(stats.starts, 6);
	ck_assert(RUN_UNTIL(a.downs >= 3, WAIT_MS));
	(void)unlink(path);
	unsigned downs = a.downs;
	ck_assert(RUN_UNTIL(!ph_buslink_pid(a.link) || a.downs > downs, WAIT_MS));
	run_for(600); /* not even started now */
	ck_assert_int_eq(ph_buslink_pid(a.link), 0);
	ck_assert_int_eq(cast(&a, 1, 10), -ENOTCONN);
}
END_TEST

START_TEST(no_program)
{
	struct ph_buslink *link = NULL;
	struct ph_err err = {{0}};

	ck_assert_int_eq(
		ph_buslink_new(base, "/nowhere/prochub-bus", &callbacks, NULL, &link, &err),
		-ENOENT);
	ck_assert_ptr_nonnull(strstr(err.text, "/nowhere/prochub-bus"));
	ck_assert_ptr_null(link);
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
}
END_TEST

/* It ends when it hears of it; one that hears nothing is killed. */
START_TEST(free_is_bounded_and_leaves_nothing)
{
	bool quick = false;
	for (int i = 0; i < 20 && !(quick && i % 2 == 0); i++) {
		int stopped = i % 2;
		node_start_at(&a, 1, "127.0.0.1");
		ck_assert(RUN_UNTIL(a.bounds, WAIT_MS));
		pid_t pid = ph_buslink_pid(a.link);
		if (stopped)
			ck_assert_int_eq(kill(pid, SIGSTOP), 0);
		uint64_t at = now_ms();
		ph_buslink_free(a.link);
		a.link = NULL;
		ck_assert_uint_lt(now_ms() - at, 5000);
		quick |= !stopped && now_ms() - at < 150;
		ck_assert_int_eq(kill(pid, 0), -1);
		ck_assert_int_eq(errno, ESRCH);
	}
	ck_assert(quick);
}
END_TEST

/* Only 0-2 and the socketpair are open in it, whatever the parent has. */
START_TEST(no_descriptor_is_inherited)
{
	int leak = open("/dev/null", O_RDONLY); /* not close-on-exec */
	char path[64];

	ck_assert_int_ge(leak, 3);
	node_start_at(&a, 1, "127.0.0.1");
	ck_assert(RUN_UNTIL(a.bounds, WAIT_MS));
	for (int fd = 3; fd < 32; fd++) {
		char target[64] = "";
		snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)ph_buslink_pid(a.link), fd);
		if (readlink(path, target, sizeof target - 1) < 0)
			continue;
		ck_assert_msg(strncmp(target, "/dev/null", 9) != 0, "descriptor %d", fd);
	}
	close(leak);
}
END_TEST

START_TEST(bus_dies_with_its_daemon)
{
	int report[2];
	pid_t bus = 0;

	ck_assert_int_eq(pipe(report), 0);
	pid_t daemon = fork();
	if (daemon == 0) {
		event_reinit(base);
		node_start_at(&a, 1, "127.0.0.1");
		pid_t pid = ph_buslink_pid(a.link);
		(void)!write(report[1], &pid, sizeof pid);
		for (;;)
			pause();
	}
	close(report[1]);
	ck_assert_int_eq(read(report[0], &bus, sizeof bus), sizeof bus);
	ck_assert_int_eq(kill(bus, 0), 0);
	kill(daemon, SIGKILL);
	waitpid(daemon, NULL, 0);
	char path[64], line[256] = "";
	snprintf(path, sizeof path, "/proc/%d/stat", (int)bus);
	bool gone = false;
	for (int i = 0; i < 3000 && !gone; i++) {
		FILE *f = fopen(path, "re");
		gone = !f || !fgets(line, sizeof line, f) || strstr(line, ") Z ");
		if (f)
			fclose(f);
		usleep(5000);
	}
	ck_assert(gone);
	close(report[0]);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("buslink");
	TCase *nodes = tcase_create("nodes"), *process = tcase_create("process");

	tcase_set_timeout(nodes, 60);
	tcase_set_timeout(process, 60);
	tcase_add_checked_fixture(nodes, loop_setup, loop_teardown);
	tcase_add_checked_fixture(process, loop_setup, loop_teardown);
	tcase_add_test(nodes, both_planes_both_ways);
	tcase_add_test(nodes, ipv6_beside_ipv4);
	tcase_add_test(nodes, killed_bus_comes_back);
	tcase_add_test(nodes, directed_messages_outlive_the_bus);
	tcase_add_test(nodes, mended_link_works_on);
	tcase_add_test(nodes, shared_address_is_dialled_once);
	tcase_add_test(nodes, absent_peer_blocks_nobody);
	tcase_add_test(nodes, too_old_is_not_sent);
	tcase_add_test(nodes, flood_is_bounded);
	tcase_add_test(nodes, more_peers_than_sockets);
	tcase_add_test(nodes, address_in_use_is_retried);
	tcase_add_test(nodes, bad_addresses_are_refused);
	tcase_add_test(nodes, garbage_from_the_network);
	suite_add_tcase(suite, nodes);
	tcase_add_test(process, garbage_on_the_socketpair);
	tcase_add_test(process, bus_ends_with_the_socketpair);
	tcase_add_loop_test(process, raving_bus_is_restarted_slowly, 0, 3);
	tcase_add_test(process, no_program);
	tcase_add_test(process, free_is_bounded_and_leaves_nothing);
	tcase_add_test(process, no_descriptor_is_inherited);
	tcase_add_test(process, bus_dies_with_its_daemon);
	suite_add_tcase(suite, process);
	return run_tests(suite);
}
