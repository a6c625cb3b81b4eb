/*
 * Listeners: opened before the worker that wants them is started, kept while one that has them
 * lives or is to be started again, closed after that. A record is one address of one instance;
 * workers that follow each other, or stand beside each other in a swap, share it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/listen.h"
#include "io/child.h"
#include "io/listen.h"
#include "shell_parts.h"

#define ID_SIZE (PH_NAME_SIZE + 32 + PH_CONF_LISTEN_PATH_MAX + 64)

struct ph_shell_listener {
	struct ph_shell *shell;
	char id[ID_SIZE]; /* CHILD/INSTANCE/REPLICA ADDRESS */
	struct ph_key key;
	struct ph_conf_listener at;
	struct ph_listen_file file;
	int fd;
	unsigned users; /* workers that were given it */
	UT_hash_handle hh;
};

struct ph_shell_listen {
	struct ph_shell_listener *all;
	bool touched; /* one without users may be needed no more */
};

int ph_shell_listeners_new(struct ph_shell *shell)
{
	shell->listeners = ph_shell_alloc(sizeof *shell->listeners);
	ph_shell_store_take(shell);
	return 0;
}

static struct ph_listen_at at_of(const struct ph_conf_listener *at)
{
	return (struct ph_listen_at){
		.path = at->path[0] ? at->path : NULL, .host = at->host, .port = at->port};
}

static void make_id(const struct ph_key *key, const struct ph_conf_listener *at, char ret[ID_SIZE])
{
	char address[PH_CONF_LISTEN_PATH_MAX + 64];
	ph_conf_listen_text(at, address, sizeof address);
	(void)snprintf(
		ret, ID_SIZE, "%.63s/%u/%u %s", key->child.s, key->instance, key->replica, address);
}

static struct ph_shell_listener *find(struct ph_shell *shell, const char *id)
{
	struct ph_shell_listener *l;
	HASH_FIND_STR(shell->listeners->all, id, l);
	return l;
}

/* Takes `fd`. */
static struct ph_shell_listener *keep(struct ph_shell *shell, const struct ph_key *key,
	const struct ph_conf_listener *listener, int fd)
{
	struct ph_shell_listener *l = ph_shell_alloc(sizeof *l);
	const struct ph_listen_at at = at_of(listener);
	l->shell = shell;
	l->key = *key;
	l->at = *listener;
	l->fd = fd;
	l->file = ph_listen_file(&at);
	make_id(key, listener, l->id);
	HASH_ADD_STR(shell->listeners->all, id, l);
	ph_shell_store_put(l->id, fd);
	return l;
}

static void forget(struct ph_shell *shell, struct ph_shell_listener *l, bool remove)
{
	const struct ph_listen_at at = at_of(&l->at);
	HASH_DEL(shell->listeners->all, l);
	if (remove) {
		ph_shell_store_drop(l->id);
		ph_listen_unlink(&at, l->file);
	}
	close(l->fd);
	free(l);
}

void ph_shell_listeners_free(struct ph_shell *shell, bool remove)
{
	struct ph_shell_listener *l, *next;
	if (!shell->listeners)
		return;
	HASH_ITER (hh, shell->listeners->all, l, next)
		forget(shell, l, remove);
	ph_shell_store_free(shell, remove);
	free(shell->listeners);
	shell->listeners = NULL;
}

/* ---- those of one worker */

static void add(struct ph_shell_listens *listens, struct ph_shell_listener *l)
{
	l->users++;
	listens->v[listens->n++] = l;
}

void ph_shell_listens_drop(struct ph_shell_listens *listens)
{
	for (size_t i = 0; i < listens->n; i++) {
		listens->v[i]->users--;
		listens->v[i]->shell->listeners->touched = true;
	}
	free(listens->v);
	*listens = (struct ph_shell_listens){0, NULL};
}

static void make_room(struct ph_shell_listens *listens, size_t n)
{
	listens->v = n ? ph_shell_alloc(n * sizeof(struct ph_shell_listener *)) : NULL;
	listens->n = 0;
}

/* Kept by the service manager for this very instance, while no daemon was there? */
static bool stored(
	struct ph_shell *shell, const char *id, const struct ph_listen_at *at, int *ret_fd)
{
	int fd = ph_shell_store_find(shell, id);
	if (fd >= 0 && ph_listen_is(fd, at)) {
		*ret_fd = fd;
		return true;
	}
	if (fd >= 0)
		close(fd);
	return false;
}

/* Those of that instance at that port. Is there one? */
static bool let_share(struct ph_shell *shell, const struct ph_key *key, uint16_t port, bool on)
{
	struct ph_shell_listener *l, *next;
	bool any = false;
	HASH_ITER (hh, shell->listeners->all, l, next)
		if (!l->at.path[0] && l->at.port == port && ph_key_compare(&l->key, key) == 0)
			any |= ph_listen_share(l->fd, on) == 0;
	return any;
}

/*
 * What is in the way may be a listener of the same instance: at all addresses of the port, say,
 * where its new text names one. As long as the old worker lives, in a swap, both are open.
 */
static int open_beside(struct ph_shell *shell, const struct ph_key *key, struct ph_listen_at at,
	int *ret_fd, struct ph_err *err)
{
	int error = -EADDRINUSE;
	bool any = let_share(shell, key, at.port, true);
	at.beside = true;
	if (any)
		error = ph_listen_open(&at, ret_fd, err);
	if (any)
		(void)let_share(shell, key, at.port, false);
	return error;
}

static int get_one(struct ph_shell *shell, const struct ph_key *key,
	const struct ph_conf_listener *listener, struct ph_shell_listener **ret, struct ph_err *err)
{
	char id[ID_SIZE];
	const struct ph_listen_at at = at_of(listener);
	int fd = -1;
	make_id(key, listener, id);
	*ret = find(shell, id);
	if (*ret)
		return 0;
	int error = stored(shell, id, &at, &fd) ? 0 : ph_listen_open(&at, &fd, err);
	if (error == -EADDRINUSE && !at.path)
		error = open_beside(shell, key, at, &fd, err);
	if (!error)
		*ret = keep(shell, key, listener, fd);
	return error;
}

int ph_shell_listens_get(struct ph_shell *shell, const struct ph_key *key,
	const struct ph_conf_pairs *listen, const struct ph_conf_vars *vars,
	struct ph_shell_listens *ret, struct ph_err *err)
{
	int error = 0;
	make_room(ret, listen->n);
	for (size_t i = 0; !error && i < listen->n; i++) {
		struct ph_conf_listener listener;
		struct ph_shell_listener *l = NULL;
		error = ph_conf_listen_of(listen->v[i].value, vars, &listener, err);
		if (!error)
			error = get_one(shell, key, &listener, &l, err);
		if (!error)
			add(ret, l);
		else
			ph_err_prefix(err, "listen.%s", listen->v[i].name);
	}
	if (error)
		ph_shell_listens_drop(ret);
	return error;
}

void ph_shell_listens_fds(const struct ph_shell_listens *listens, int *ret)
{
	for (size_t i = 0; i < listens->n; i++)
		ret[i] = listens->v[i]->fd;
}

/* ---- what a worker of an earlier daemon has */

static int take_back(const struct ph_shell_worker *worker, size_t i,
	const struct ph_conf_listener *listener, int *ret_fd)
{
	const struct ph_listen_at at = at_of(listener);
	const struct ph_child *children[] = {worker->main, worker->child};
	int error = -ESRCH;
	for (size_t k = 0; k < 2 && error; k++)
		if (children[k])
			error = ph_listen_take(ph_child_pidfd(children[k]),
				ph_child_pid(children[k]), 3 + (int)i, &at, ret_fd);
	return error;
}

static void adopt_one(struct ph_shell *shell, struct ph_shell_worker *worker, size_t i,
	const struct ph_conf_listener *listener)
{
	char id[ID_SIZE];
	int fd = -1;
	make_id(&worker->key, listener, id);
	struct ph_shell_listener *l = find(shell, id);
	if (!l) {
		const struct ph_listen_at at = at_of(listener);
		bool kept = stored(shell, id, &at, &fd);
		int error = kept ? 0 : take_back(worker, i, listener, &fd);
		if (!error)
			l = keep(shell, &worker->key, listener, fd);
		else /* it is opened anew when that worker has ended */
			ph_shell_log(shell, error == -EPERM ? PH_LOG_WARNING : PH_LOG_INFO,
				"%s: cannot be taken back from pid %d: %s", id, (int)worker->pid,
				error == -ENOENT ? "it has closed it" : strerror(-error));
	}
	if (l)
		add(&worker->listens, l);
}

void ph_shell_listens_adopt(
	struct ph_shell *shell, struct ph_shell_worker *worker, const struct ph_spec *spec)
{
	struct ph_err err;
	const struct ph_conf_child *child = spec ? ph_shell_specs_find(shell, spec, &err) : NULL;
	const struct ph_conf_vars vars = {.child = worker->key.child.s,
		.node = shell->node,
		.instance = worker->key.instance,
		.replica = worker->key.replica};
	if (!child || worker->exited)
		return;
	make_room(&worker->listens, child->listen.n);
	for (size_t i = 0; i < child->listen.n; i++) {
		struct ph_conf_listener listener;
		if (!ph_conf_listen_of(child->listen.v[i].value, &vars, &listener, &err))
			adopt_one(shell, worker, i, &listener);
	}
}

/* What cannot be opened now is told of when the child is started. */
void ph_shell_listens_wait(
	struct ph_shell *shell, const struct ph_key *key, const struct ph_spec *spec)
{
	struct ph_err err;
	struct ph_shell_listens listens;
	const struct ph_conf_child *child = ph_shell_specs_find(shell, spec, &err);
	const struct ph_conf_vars vars = {.child = key->child.s,
		.node = shell->node,
		.instance = key->instance,
		.replica = key->replica};
	if (child && !ph_shell_listens_get(shell, key, &child->listen, &vars, &listens, &err))
		ph_shell_listens_drop(&listens);
}

/* ---- from one daemon to the next, in the same process */

void ph_shell_listeners_save(const struct ph_shell *shell, FILE *to)
{
	struct ph_shell_listener *l, *next;
	HASH_ITER (hh, shell->listeners->all, l, next)
		fprintf(to, "listen %d %s\n", l->fd, l->id);
}

/* CHILD/INSTANCE/REPLICA ADDRESS */
static bool parse_id(const char *id, struct ph_key *key, struct ph_conf_listener *at)
{
	const struct ph_conf_vars vars = {.child = "", .node = ""};
	char child[PH_NAME_SIZE], address[ID_SIZE];
	struct ph_err err;
	int n = 0;
	if (sscanf(id, "%63[^/]/%" SCNu32 "/%" SCNu32 " %n", child, &key->instance, &key->replica,
		    &n) != 3 ||
		!n || !ph_name_valid(child))
		return false;
	key->child = ph_name_of(child);
	size_t at_byte = 0; /* it is expanded already: no character of it means anything */
	for (const char *p = id + n; *p && at_byte < sizeof address - 2; p++) {
		if (*p == '%')
			address[at_byte++] = '%';
		address[at_byte++] = *p;
	}
	address[at_byte] = '\0';
	return ph_conf_listen_of(address, &vars, at, &err) == 0;
}

void ph_shell_listeners_restore(struct ph_shell *shell, int fd, const char *id)
{
	struct ph_conf_listener listener;
	struct ph_key key = {.instance = 0};
	if (!parse_id(id, &key, &listener)) {
		close(fd);
		return;
	}
	const struct ph_listen_at at = at_of(&listener);
	if (find(shell, id) || !ph_listen_is(fd, &at)) {
		close(fd);
		return;
	}
	(void)keep(shell, &key, &listener, fd);
	shell->listeners->touched = true;
}

/* ---- what is needed no more */

void ph_shell_listeners_touch(struct ph_shell *shell)
{
	shell->listeners->touched = true;
}

static bool wants(
	struct ph_shell *shell, const struct ph_spec *spec, const struct ph_shell_listener *l)
{
	struct ph_err err;
	const struct ph_conf_child *child = ph_shell_specs_find(shell, spec, &err);
	const struct ph_conf_vars vars = {.child = l->key.child.s,
		.node = shell->node,
		.instance = l->key.instance,
		.replica = l->key.replica};
	char id[ID_SIZE];
	for (size_t i = 0; child && i < child->listen.n; i++) {
		struct ph_conf_listener listener;
		if (ph_conf_listen_of(child->listen.v[i].value, &vars, &listener, &err))
			continue;
		make_id(&l->key, &listener, id);
		if (strcmp(id, l->id) == 0)
			return true;
	}
	return false;
}

/* Its worker is away for a moment only, and the next one wants it too. */
static bool needed(struct ph_shell *shell, const struct ph_shell_listener *l)
{
	const struct ph_spec *specs[2];
	size_t n = ph_hub_starts(shell->hub, &l->key, specs);
	for (size_t i = 0; i < n; i++)
		if (wants(shell, specs[i], l))
			return true;
	return false;
}

void ph_shell_listeners_turn_end(struct ph_shell *shell)
{
	struct ph_shell_listener *l, *next;
	if (!shell->listeners->touched || !shell->begun)
		return;
	shell->listeners->touched = false;
	HASH_ITER (hh, shell->listeners->all, l, next) {
		if (l->users || needed(shell, l))
			continue;
		ph_shell_log(shell, PH_LOG_INFO, "%s/%u: listener %s is closed", l->key.child.s,
			l->key.instance, strchr(l->id, ' ') + 1);
		forget(shell, l, true);
	}
}
