/*
 * Listeners that the service manager keeps between two lives of the daemon (FileDescriptorStoreMax=
 * of its unit): those that no worker has just then, or whose worker may not be looked into.
 */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "io/sdnotify.h"
#include "shell_parts.h"

#define FIRST_FD 3
#define FDS_MAX 65536
#define WORD "listen-"
#define NAME_SIZE (sizeof WORD + 16)

/* What nobody has wanted by then is closed: members are waited for first, and claims answered. */
static const struct timeval patience = {60, 0};

struct ph_shell_stored {
	struct ph_shell_stored *next;
	char name[NAME_SIZE];
	int fd;
};

/* The manager takes no ':' in a name. */
static void make_name(const char *id, char ret[NAME_SIZE])
{
	(void)snprintf(
		ret, NAME_SIZE, WORD "%016llx", (unsigned long long)XXH3_64bits(id, strlen(id)));
}

static void keep(struct ph_shell *shell, const char *name, size_t n, int fd)
{
	if (n != NAME_SIZE - 1 || memcmp(name, WORD, sizeof WORD - 1) != 0 ||
		fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
		close(fd);
		return;
	}
	struct ph_shell_stored *stored = ph_shell_alloc(sizeof *stored);
	memcpy(stored->name, name, n);
	stored->fd = fd;
	stored->next = shell->stored;
	shell->stored = stored;
}

static long number_of(const char *name)
{
	const char *text = getenv(name);
	char *end;
	errno = 0;
	long v = text && *text ? strtol(text, &end, 10) : 0;
	return text && *text && !errno && !*end ? v : 0;
}

static void on_patience(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	ph_shell_store_free(arg, true);
}

void ph_shell_store_take(struct ph_shell *shell)
{
	const char *names = getenv("LISTEN_FDNAMES");
	long n = number_of("LISTEN_PID") == getpid() ? number_of("LISTEN_FDS") : 0;
	for (long i = 0; i < n && i < FDS_MAX; i++) {
		size_t length = names ? strcspn(names, ":") : 0;
		keep(shell, names ? names : "", length, FIRST_FD + (int)i);
		if (names)
			names += length + (names[length] == ':');
	}
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	if (!shell->stored)
		return;
	shell->store_timer = evtimer_new(shell->base, on_patience, shell);
	if (!shell->store_timer)
		abort();
	evtimer_add(shell->store_timer, &patience);
}

int ph_shell_store_find(struct ph_shell *shell, const char *id)
{
	char name[NAME_SIZE];
	make_name(id, name);
	for (struct ph_shell_stored **at = &shell->stored; *at; at = &(*at)->next) {
		struct ph_shell_stored *stored = *at;
		if (strcmp(stored->name, name) != 0)
			continue;
		int fd = stored->fd;
		*at = stored->next;
		free(stored);
		return fd;
	}
	return -1;
}

void ph_shell_store_put(const char *id, int fd)
{
	char name[NAME_SIZE];
	make_name(id, name);
	(void)ph_sdnotify_store(name, fd); /* one that is full keeps the others */
}

void ph_shell_store_drop(const char *id)
{
	char name[NAME_SIZE];
	make_name(id, name);
	(void)ph_sdnotify_unstore(name);
}

void ph_shell_store_free(struct ph_shell *shell, bool drop)
{
	struct ph_shell_stored *stored;
	while ((stored = shell->stored)) {
		shell->stored = stored->next;
		if (drop)
			(void)ph_sdnotify_unstore(stored->name);
		close(stored->fd);
		free(stored);
	}
	if (shell->store_timer)
		event_free(shell->store_timer);
	shell->store_timer = NULL;
}
