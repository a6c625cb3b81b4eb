/*
 * The entries of `peers`: which are others, where their names lead, and what becomes of those whose
 * name server has not answered at the start. With a bus process of its own, and no core.
 */
#include <check.h>
#include <event2/event.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "io/clock.h"
#include "resolve_help.h"
#include "run_tests.h"
#include "shell_bus_int.h"

static struct event_base *base;
static struct ph_shell shell;
static struct ph_conf conf;
static struct ph_shell_bus bus;
static char logged[1024];
static unsigned told; /* of PEERS events */
static size_t n_texts;
static const char *texts[PH_CONF_PEERS_MAX], *addresses[PH_CONF_PEERS_MAX];

/* ---- the rest of the shell */

void ph_shell_push(
	struct ph_shell *to, const struct ph_event *event, void (*release)(void *), void *owned)
{
	(void)to;
	ck_assert_int_eq(event->kind, PH_EV_PEERS);
	told++;
	n_texts = event->peers->n;
	for (size_t i = 0; i < n_texts; i++) {
		texts[i] = event->peers->texts[i];
		addresses[i] = event->peers->addresses[i];
	}
	release(owned);
}

void ph_shell_log(struct ph_shell *to, enum ph_log_level level, const char *format, ...)
{
	va_list list;
	size_t n = strlen(logged);
	(void)to;
	(void)level;
	va_start(list, format);
	(void)vsnprintf(logged + n, sizeof logged - n, format, list);
	va_end(list);
	(void)strncat(logged, "\n", sizeof logged - strlen(logged) - 1);
}

void *ph_shell_alloc(size_t size)
{
	void *memory = calloc(1, size);
	ck_assert_ptr_nonnull(memory);
	return memory;
}

/* ---- the bus */

static void set_up(void)
{
	base = event_base_new();
	memset(&conf, 0, sizeof conf);
	shell = (struct ph_shell){.base = base, .conf = &conf};
	bus = (struct ph_shell_bus){.shell = &shell, .port = 7400};
	logged[0] = '\0';
	told = 0;
	atomic_store(&help_asked, 0);
	atomic_store(&help_silent, false);
	atomic_store(&help_unknown, false);
}

static void tear_down(void)
{
	ph_bus_seeds_free(&bus);
	event_base_free(base);
	atomic_store(&help_silent, false);
}

/* What there is at the start. */
static void read_peers(const char *listen, const char *advertise, char **list, size_t n)
{
	conf.cluster.host = strdup(listen);
	conf.cluster.advertise = strdup(advertise);
	conf.cluster.peers.n = n;
	conf.cluster.peers.v = list;
	ck_assert_int_eq(ph_bus_seeds_read(&bus), 0);
	n_texts = ph_shell_bus_peers(&bus, texts, addresses);
	conf.cluster.peers.v = NULL; /* a reload makes a new one */
}

static void free_conf(void)
{
	free(conf.cluster.host);
	free(conf.cluster.advertise);
}

static void time_up(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	*(bool *)arg = true;
}

/* Turns the loop until `n` PEERS have come; 8 s are enough. */
static void until_told(unsigned n)
{
	static const struct timeval limit = {25, 0};
	bool up = false;
	struct event *timer = evtimer_new(base, time_up, &up);
	ck_assert_int_eq(event_add(timer, &limit), 0);
	while (told < n && !up)
		(void)event_base_loop(base, EVLOOP_ONCE);
	event_free(timer);
	ck_assert_uint_eq(told, n);
}

/* ---- tests */

/*
 * One list is for all nodes. Which entry is this node's own, which is there twice, and where names
 * lead: the others are what core waits for.
 */
static const struct {
	const char *listen, *advertise, *entry;
	int seeds; /* 1: it is one; 0: it is this node itself */
} own_entries[] = {
	{"127.7.7.7", "127.7.7.7", "tcp://127.7.7.7:7400", 0},
	{"127.7.7.7", "127.7.7.7", "tcp://127.7.7.7:7401", 1},
	{"127.7.7.7", "127.7.7.7", "tcp://127.7.7.8:7400", 1}, /* a second daemon of this machine */
	{"127.7.7.7", "some-name", "tcp://some-name:7400", 0},
	{"127.0.0.1", "127.0.0.1", "tcp://localhost:7400", 0},
	{"localhost", "localhost", "tcp://127.0.0.1:7400", 0},
	{"127.7.7.7", "127.7.7.7", "tcp://localhost:7400", 1},
	{"127.7.7.7", "127.7.7.7", "tcp://MACHINE:7400", 0}, /* whatever /etc/hosts makes of it */
	{"127.7.7.7", "127.7.7.7", "tcp://MACHINE:7401", 1},
	{"0.0.0.0", "203.0.113.1", "tcp://localhost:7400", 0},
	{"0.0.0.0", "203.0.113.1", "tcp://127.0.1.1:7400", 0},
	{"0.0.0.0", "203.0.113.1", "tcp://127.0.1.1:7401", 1},
	{"0.0.0.0", "203.0.113.1", "tcp://203.0.113.1:7400", 0},
	{"0.0.0.0", "203.0.113.1", "tcp://203.0.113.2:7400", 1},
};

START_TEST(which_peer_is_oneself)
{
	char machine[200] = "", entry[256], other[] = "tcp://203.0.113.9:7400";
	const char *text = own_entries[_i].entry;
	size_t at = (size_t)own_entries[_i].seeds;
	(void)gethostname(machine, sizeof machine - 1);
	if (strstr(text, "MACHINE"))
		(void)snprintf(entry, sizeof entry, "tcp://%s%s", machine, strrchr(text, ':'));
	else
		(void)snprintf(entry, sizeof entry, "%s", text);
	char *list[] = {entry, other};
	read_peers(own_entries[_i].listen, own_entries[_i].advertise, list, 2);
	ck_assert_uint_eq(n_texts, 1 + at);
	ck_assert_str_eq(texts[at], other);
	ck_assert_str_eq(addresses[at], other);
	free_conf();
}
END_TEST

/* Once, by whichever name; and where one leads nowhere it is waited for all the same. */
START_TEST(peers_by_name)
{
	char name[] = "tcp://127-0-0-1.test:7400", same[] = "tcp://127.0.0.1:7400";
	char none[] = "tcp://none.test:1", bad[] = "tcp://no address:1";
	char *list[] = {name, same, none, bad};
	read_peers("127.7.7.7", "127.7.7.7", list, 4);
	ck_assert_uint_eq(n_texts, 3);
	ck_assert_str_eq(texts[0], name);
	ck_assert_str_eq(addresses[0], same);
	ck_assert_str_eq(texts[1], none);
	ck_assert_str_eq(addresses[1], "");
	ck_assert_str_eq(texts[2], bad);
	ck_assert_str_eq(addresses[2], "");
	ck_assert_str_eq(logged, "cluster.peers: tcp://none.test:1 has no address\n"
				 "cluster.peers: tcp://no address:1 has no address\n");
	free_conf();
}
END_TEST

/* The start goes on without a name server; what it says later counts as if it had been at once. */
START_TEST(a_name_server_is_silent)
{
	char late[] = "tcp://slow-127-0-0-1.test:7400", known[] = "tcp://127.0.0.2:7400";
	char twice[] = "tcp://slow-127-0-0-2.test:7400", self[] = "tcp://slow-127-7-7-7.test:7400";
	char *list[] = {late, twice, self, known};
	atomic_store(&help_silent, true);
	uint64_t before_ms = ph_clock_now_ms();
	read_peers("127.7.7.7", "127.7.7.7", list, 4);
	ck_assert_uint_lt(ph_clock_now_ms() - before_ms, 15000);
	ck_assert_uint_eq(n_texts, 4);
	ck_assert_str_eq(addresses[0], "");
	ck_assert_str_eq(addresses[3], known);
	atomic_store(&help_silent, false);
	while (n_texts != 2 || !addresses[0][0])
		until_told(told + 1);
	ck_assert_str_eq(texts[0], late);
	ck_assert_str_eq(addresses[0], "tcp://127.0.0.1:7400");
	ck_assert_str_eq(texts[1], known);
	ck_assert_str_eq(logged, "");
	free_conf();
}
END_TEST

/* The name that this node itself has. */
START_TEST(the_own_name_comes_late)
{
	char self[] = "tcp://127.0.0.1:7400", other[] = "tcp://127.0.0.2:7400";
	char *list[] = {self, other};
	atomic_store(&help_silent, true);
	read_peers("127.7.7.7", "slow-127-0-0-1.test", list, 2);
	ck_assert_uint_eq(n_texts, 2);
	atomic_store(&help_silent, false);
	until_told(1);
	ck_assert_uint_eq(n_texts, 1);
	ck_assert_str_eq(texts[0], other);
	free_conf();
}
END_TEST

/* A machine that starts before its name server knows all names. */
START_TEST(a_name_is_asked_for_again)
{
	char fresh[] = "tcp://new-127-0-0-1.test:7400", known[] = "tcp://127-0-0-2.test:7400";
	char *list[] = {fresh, known};
	atomic_store(&help_unknown, true);
	read_peers("127.7.7.7", "127.7.7.7", list, 2);
	ck_assert_uint_eq(n_texts, 2);
	ck_assert_str_eq(addresses[0], "");
	atomic_store(&help_unknown, false);
	until_told(1);
	ck_assert_uint_eq(n_texts, 2);
	ck_assert_str_eq(addresses[0], "tcp://127.0.0.1:7400");
	ck_assert_str_eq(logged,
		"cluster.peers: tcp://new-127-0-0-1.test:7400 has no address\n"
		"cluster.peers: tcp://new-127-0-0-1.test:7400 is at tcp://127.0.0.1:7400\n");
	ck_assert_uint_eq(atomic_load(&help_asked), 3); /* what is known is not asked for again */
	free_conf();
}
END_TEST

START_TEST(freed_while_it_asks)
{
	char late[] = "tcp://slow-127-0-0-1.test:7400";
	char *list[] = {late};
	atomic_store(&help_silent, true);
	read_peers("127.7.7.7", "127.7.7.7", list, 1);
	free_conf();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("shell_seeds");
	TCase *t = tcase_create("shell_seeds");
	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_loop_test(
		t, which_peer_is_oneself, 0, (int)(sizeof own_entries / sizeof own_entries[0]));
	tcase_add_test(t, peers_by_name);
	tcase_add_test(t, a_name_server_is_silent);
	tcase_add_test(t, the_own_name_comes_late);
	tcase_add_test(t, a_name_is_asked_for_again);
	tcase_add_test(t, freed_while_it_asks);
	tcase_set_timeout(t, 60);
	suite_add_tcase(s, t);
	return run_tests(s);
}
