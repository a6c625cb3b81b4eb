/* shell_bus_seeds.c - the entries of `peers`: where they are, and which of them are others. */
#include <errno.h>
#include <event2/event.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/address.h"
#include "io/resolve.h"
#include "shell_bus_int.h"

#define AT_START_MS 500 /* names that take longer come later: children wait for their daemon */
#define AGAIN_FIRST_S \
	1 /* until names that have no address are asked for again; then twice as long */
#define AGAIN_MAX_S 32
#define OWN_NAMES 2 /* cluster.listen and cluster.advertise */

/* A name of `peers`, or this node's own. */
struct name {
	char text[PH_CONF_HOST_SIZE];
	char at[PH_CONF_HOST_SIZE]; /* numeric; empty: not known (yet) */
	bool nowhere;		    /* the last answer was that it has no address */
};

struct ph_bus_names {
	struct ph_resolve *round;		     /* being asked for; NULL: nothing is */
	size_t asked[PH_CONF_PEERS_MAX + OWN_NAMES]; /* the names of that round */
	size_t n_asked;
	struct event *answer, *again;
	time_t again_s; /* the last wait */
	size_t n;
	struct name v[PH_CONF_PEERS_MAX + OWN_NAMES];
};

/* ---- names */

static struct name *name_find(const struct ph_shell_bus *bus, const char *text)
{
	struct ph_bus_names *names = bus->names;
	for (size_t i = 0; i < names->n; i++)
		if (!strcmp(names->v[i].text, text))
			return &names->v[i];
	return NULL;
}

static void name_add(struct ph_shell_bus *bus, const char *host)
{
	struct ph_conf_address address;
	struct ph_bus_names *names = bus->names;
	if (!host || ph_conf_host_parse(host, &address) || address.numeric ||
		name_find(bus, address.host))
		return;
	memcpy(names->v[names->n++].text, address.host, sizeof address.host);
}

/* The address of a host as a host, or nothing. */
static const char *numeric(const struct ph_shell_bus *bus, const char *host)
{
	const struct name *name = name_find(bus, host);
	return name ? name->at : host;
}

static void round_end(struct ph_bus_names *names)
{
	if (names->answer)
		event_free(names->answer);
	ph_resolve_free(names->round);
	names->answer = NULL;
	names->round = NULL;
}

/* Takes what has been answered; true: all of it. */
static bool take_answers(struct ph_bus_names *names)
{
	struct ph_conf_address address;
	char at[PH_RESOLVE_SIZE];
	size_t n = 0;
	for (size_t i = 0; i < names->n_asked; i++) {
		struct name *name = &names->v[names->asked[i]];
		if (!ph_resolve_answer(names->round, i, at))
			continue;
		n++;
		/* what the language of addresses cannot say cannot be dialled */
		name->nowhere = ph_conf_host_parse(at, &address) || !address.numeric;
		if (!name->nowhere)
			memcpy(name->at, address.host, sizeof name->at);
	}
	return n == names->n_asked;
}

/* ---- which of them are others */

/* Is it an address of this machine? Then a socket can be bound to it, without a word to anybody. */
static bool is_local(const char *host)
{
	struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICHOST}, *found;
	char bare[PH_CONF_HOST_SIZE];
	size_t n = strlen(host);
	bool brackets = host[0] == '[' && n > 2;
	(void)snprintf(bare, sizeof bare, "%.*s", (int)(brackets ? n - 2 : n), host + brackets);
	if (getaddrinfo(bare, NULL, &hints, &found))
		return false;
	int fd = socket(found->ai_family, found->ai_socktype | SOCK_CLOEXEC, 0);
	bool local = fd >= 0 && bind(fd, found->ai_addr, found->ai_addrlen) == 0;
	if (fd >= 0)
		close(fd);
	freeaddrinfo(found);
	return local;
}

static bool is_host_of(
	const struct ph_shell_bus *bus, const struct ph_bus_seed *seed, const char *own)
{
	const char *at = numeric(bus, seed->host);
	struct ph_conf_address address;
	if (!own || !strcmp(seed->host, own))
		return own != NULL;
	return at[0] && !ph_conf_host_parse(own, &address) &&
	       !strcmp(at, numeric(bus, address.host));
}

/*
 * One list of peers is for all nodes, and so this one is in it: by the address that it listens on
 * or advertises, by a name of these, by that of the machine (which /etc/hosts may well give an
 * address of loopback), or, where it listens on all addresses, by any of the machine's.
 */
static bool is_own(const struct ph_shell_bus *bus, const struct ph_bus_seed *seed)
{
	const struct ph_conf *conf = bus->shell->conf;
	struct ph_conf_address listen;
	char machine[PH_CONF_HOST_SIZE] = "";
	const char *at = numeric(bus, seed->host);
	if (seed->port != bus->port)
		return false;
	(void)gethostname(machine, sizeof machine - 1);
	if (is_host_of(bus, seed, conf->cluster.host) ||
		is_host_of(bus, seed, conf->cluster.advertise) ||
		(machine[0] && !strcmp(seed->host, machine)))
		return true;
	return !ph_conf_host_parse(conf->cluster.host, &listen) && listen.wildcard && at[0] &&
	       is_local(at);
}

static bool is_there(const struct ph_shell_bus *bus, const char *address)
{
	for (size_t i = 0; i < bus->n_seeds; i++) {
		if (!bus->seeds[i].out && !strcmp(bus->seeds[i].address, address))
			return true;
	}
	return false;
}

/* Sees what its name has come to; true where that is news. */
static bool look_at(struct ph_shell_bus *bus, struct ph_bus_seed *seed)
{
	char address[PH_ADDRESS_SIZE] = "";
	bool was_known = seed->address[0] != '\0';
	if (seed->out)
		return false;
	const char *at = numeric(bus, seed->host);
	if (at[0])
		(void)snprintf(address, sizeof address, "tcp://%s:%u", at, seed->port);
	seed->out = is_own(bus, seed) || (!was_known && address[0] && is_there(bus, address));
	if (was_known == (address[0] != '\0') && !seed->out)
		return false;
	if (!seed->out)
		memcpy(seed->address, address, sizeof seed->address);
	if (seed->address[0])
		ph_bus_settle(bus, seed->address);
	return true;
}

static bool look(struct ph_shell_bus *bus)
{
	bool news = false;
	for (size_t i = 0; i < bus->n_seeds; i++)
		news |= look_at(bus, &bus->seeds[i]);
	return news;
}

/* Once an entry, and once more when it is found after all. */
static void tell(struct ph_shell_bus *bus)
{
	for (size_t i = 0; i < bus->n_seeds; i++) {
		struct ph_bus_seed *seed = &bus->seeds[i];
		const struct name *name = name_find(bus, seed->host);
		bool nowhere = !seed->address[0] && (!name || name->nowhere);
		if (nowhere && !seed->told && !seed->out)
			ph_shell_log(bus->shell, PH_LOG_WARNING, "cluster.peers: %s has no address",
				seed->text);
		if (seed->told && seed->address[0])
			ph_shell_log(bus->shell, PH_LOG_INFO, "cluster.peers: %s is at %s",
				seed->text, seed->address);
		seed->told = nowhere;
	}
}

/* ---- in time */

struct news {
	struct ph_peers peers;
	const char *lists[];
};

static void tell_core(struct ph_shell_bus *bus)
{
	struct news *news = ph_shell_alloc(sizeof *news + 2 * bus->n_seeds * sizeof news->lists[0]);
	const char **texts = news->lists, **addresses = news->lists + bus->n_seeds;
	news->peers.n = ph_shell_bus_peers(bus, texts, addresses);
	news->peers.texts = texts;
	news->peers.addresses = addresses;
	ph_shell_push(bus->shell, &(struct ph_event){.kind = PH_EV_PEERS, .peers = &news->peers},
		free, news);
}

/* All names that have no address. */
static void ask(struct ph_bus_names *names)
{
	const char *texts[PH_CONF_PEERS_MAX + OWN_NAMES];
	names->n_asked = 0;
	for (size_t i = 0; i < names->n; i++) {
		if (names->v[i].at[0])
			continue;
		texts[names->n_asked] = names->v[i].text;
		names->asked[names->n_asked++] = i;
	}
	if (names->n_asked && ph_resolve_new(texts, names->n_asked, &names->round))
		names->round = NULL; /* it is tried again as if it had been answered */
}

static bool some_missing(const struct ph_bus_names *names)
{
	for (size_t i = 0; i < names->n; i++)
		if (!names->v[i].at[0])
			return true;
	return false;
}

static void on_answer(evutil_socket_t fd, short what, void *arg);

/* Waits in the loop for what is asked for; asks again, some time, where nothing is. */
static void go_on(struct ph_shell_bus *bus)
{
	struct ph_bus_names *names = bus->names;
	if (names->round && !names->answer) {
		names->answer = event_new(bus->shell->base, ph_resolve_fd(names->round),
			EV_READ | EV_PERSIST, on_answer, bus);
		if (!names->answer || event_add(names->answer, NULL))
			round_end(names);
	}
	if (names->round || !some_missing(names))
		return;
	names->again_s = !names->again_s		? AGAIN_FIRST_S
			 : names->again_s < AGAIN_MAX_S ? 2 * names->again_s
							: AGAIN_MAX_S;
	(void)event_add(names->again, &(struct timeval){names->again_s, 0});
}

static void on_answer(evutil_socket_t fd, short what, void *arg)
{
	struct ph_shell_bus *bus = arg;
	(void)fd;
	(void)what;
	ph_resolve_heard(bus->names->round);
	if (take_answers(bus->names))
		round_end(bus->names);
	if (look(bus))
		tell_core(bus);
	tell(bus);
	go_on(bus);
}

static void on_again(evutil_socket_t fd, short what, void *arg)
{
	struct ph_shell_bus *bus = arg;
	(void)fd;
	(void)what;
	ask(bus->names);
	go_on(bus);
}

/* ---- all */

static int seed_add(struct ph_shell_bus *bus, const char *text)
{
	struct ph_conf_address address;
	struct ph_bus_seed *seed = &bus->seeds[bus->n_seeds];
	seed->text = strdup(text);
	if (!seed->text)
		return -ENOMEM;
	seed->id = ++bus->last_id;
	bus->n_seeds++;
	if (ph_conf_address_parse(text, &address))
		return 0; /* it has none */
	memcpy(seed->host, address.host, sizeof seed->host);
	seed->port = address.port;
	name_add(bus, seed->host);
	return 0;
}

int ph_bus_seeds_read(struct ph_shell_bus *bus)
{
	const struct ph_conf *conf = bus->shell->conf;
	const struct ph_conf_list *list = &conf->cluster.peers;
	bus->seeds = calloc(list->n + 1, sizeof *bus->seeds);
	bus->names = calloc(1, sizeof *bus->names);
	if (!bus->seeds || !bus->names)
		return -ENOMEM;
	bus->names->again = event_new(bus->shell->base, -1, 0, on_again, bus);
	if (!bus->names->again)
		return -ENOMEM;
	for (size_t i = 0; i < list->n; i++)
		if (seed_add(bus, list->v[i]))
			return -ENOMEM;
	if (list->n) {
		name_add(bus, conf->cluster.host);
		name_add(bus, conf->cluster.advertise);
	}
	ask(bus->names);
	if (bus->names->round) {
		(void)ph_resolve_wait(bus->names->round, AT_START_MS);
		if (take_answers(bus->names))
			round_end(bus->names);
	}
	(void)look(bus); /* core does not exist yet */
	tell(bus);
	go_on(bus);
	return 0;
}

void ph_bus_seeds_free(struct ph_shell_bus *bus)
{
	for (size_t i = 0; i < bus->n_seeds; i++)
		free(bus->seeds[i].text);
	free(bus->seeds);
	if (!bus->names)
		return;
	round_end(bus->names);
	if (bus->names->again)
		event_free(bus->names->again);
	free(bus->names);
}

size_t ph_shell_bus_peers(
	const struct ph_shell_bus *bus, const char **ret_texts, const char **ret_addresses)
{
	size_t n = 0;
	for (size_t i = 0; i < bus->n_seeds; i++) {
		if (bus->seeds[i].out)
			continue;
		ret_texts[n] = bus->seeds[i].text;
		ret_addresses[n++] = bus->seeds[i].address;
	}
	return n;
}

void ph_bus_seeds(struct ph_shell_bus *bus, bool on)
{
	bus->seeds_on = on;
	for (size_t i = 0; i < bus->n_seeds; i++)
		if (bus->seeds[i].address[0])
			ph_bus_settle(bus, bus->seeds[i].address);
}
