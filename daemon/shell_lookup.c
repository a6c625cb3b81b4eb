/* lookup, watch, unwatch and changed: a worker asks where the others are. Answered from memory. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/worker.h"
#include "shell_parts.h"
#include "shell_view.h"

#define WATCHES_MAX 256		  /* of one connection */
#define PIECE_BYTES (48u * 1024u) /* of instances on one line */

struct ph_shell_changed {
	struct ph_name child;
	UT_hash_handle hh;
};

void ph_shell_watches_free(struct ph_shell_watch *head)
{
	for (struct ph_shell_watch *next; head; head = next) {
		next = head->next;
		free(head);
	}
}

/* ---- the lines of an answer */

/* A list of instances in pieces that fit into lines; the last one, perhaps empty, has no `more`. */
struct pieces {
	struct ph_shell_conn *conn;
	struct ph_wmsg msg;
	json_t *list;
	size_t bytes;
};

static void send_piece(struct pieces *p, bool more)
{
	char *text = json_dumps(p->list, JSON_COMPACT);
	if (!text)
		abort();
	p->msg.instances = text;
	p->msg.more = more;
	ph_shell_conn_send(p->conn, &p->msg);
	free(text);
	json_array_clear(p->list);
	p->bytes = 0;
}

static void add_instance(struct pieces *p, json_t *instance)
{
	char *text = json_dumps(instance, JSON_COMPACT);
	size_t n = text ? strlen(text) + 1 : 0;
	free(text);
	if (p->bytes && p->bytes + n > PIECE_BYTES)
		send_piece(p, true);
	json_array_append(p->list, instance);
	p->bytes += n;
}

/* False: no such child. */
static bool send_instances(struct ph_shell_conn *conn, const struct ph_wmsg *head,
	const struct ph_view_filter *filter, bool even_unknown)
{
	json_t *found =
		ph_view_lookup(conn->shell, &filter->child, filter->has_instance, filter->instance);
	if (!found && !even_unknown)
		return false;
	struct pieces p = {.conn = conn, .msg = *head, .list = json_array()};
	size_t i;
	json_t *instance;
	p.msg.child = filter->child;
	p.msg.stale = json_is_true(json_object_get(found, "stale"));
	json_array_foreach(json_object_get(found, "instances"), i, instance)
		add_instance(&p, instance);
	send_piece(&p, false);
	json_decref(p.list);
	json_decref(found);
	return true;
}

/* ---- requests */

static void take_lookup(struct ph_shell_conn *conn, const struct ph_wmsg *msg)
{
	struct ph_wmsg head = {.op = PH_W_FOUND, .has_re = true, .re = msg->req};
	struct ph_view_filter filter = {
		.child = msg->child, .has_instance = msg->has_instance, .instance = msg->instance};
	if (!send_instances(conn, &head, &filter, false))
		ph_shell_conn_error(conn, &msg->req, "not_found", "no such child");
}

static bool same_watch(const struct ph_shell_watch *watch, const struct ph_wmsg *msg)
{
	return ph_name_equal(&watch->child, &msg->child) &&
	       !strcmp(watch->prefix, msg->prefix ? msg->prefix : "");
}

static void drop_watch(struct ph_shell_conn *conn, const struct ph_wmsg *msg)
{
	for (struct ph_shell_watch **at = &conn->watches; *at;) {
		struct ph_shell_watch *watch = *at;
		if (!same_watch(watch, msg)) {
			at = &watch->next;
			continue;
		}
		*at = watch->next;
		free(watch);
		conn->n_watches--;
	}
}

/* The first `changed` says how things are now, so that nothing is missed between the two. */
static void take_watch(struct ph_shell_conn *conn, const struct ph_wmsg *msg)
{
	struct ph_wmsg head = {.op = PH_W_CHANGED, .has_re = true, .re = msg->req};
	struct ph_view_filter filter = {.child = msg->child};
	drop_watch(conn, msg);
	if (conn->n_watches >= WATCHES_MAX) {
		ph_shell_conn_error(conn, &msg->req, "too_many", "256 watches are the limit");
		return;
	}
	struct ph_shell_watch *watch = ph_shell_alloc(sizeof *watch);
	watch->req = msg->req;
	watch->child = msg->child;
	snprintf(watch->prefix, sizeof watch->prefix, "%s", msg->prefix ? msg->prefix : "");
	watch->next = conn->watches;
	conn->watches = watch;
	conn->n_watches++;
	if (msg->child.s[0])
		(void)send_instances(conn, &head, &filter, true);
}

void ph_shell_lookup_take(struct ph_shell_conn *conn, const struct ph_wmsg *msg)
{
	if (msg->op == PH_W_LOOKUP)
		take_lookup(conn, msg);
	else if (msg->op == PH_W_WATCH)
		take_watch(conn, msg);
	else
		drop_watch(conn, msg);
}

/* ---- changes: gathered in a turn, told at its end */

void ph_shell_lookup_changed(struct ph_shell *shell, const struct ph_name *child)
{
	struct ph_shell_changed *changed, *all = shell->changed;
	HASH_FIND(hh, all, child->s, strlen(child->s), changed);
	if (changed)
		return;
	changed = ph_shell_alloc(sizeof *changed);
	changed->child = *child;
	HASH_ADD_KEYPTR(hh, all, changed->child.s, strlen(changed->child.s), changed);
	shell->changed = all;
}

static void tell_watcher(struct ph_shell_conn *conn, const struct ph_name *child)
{
	struct ph_view_filter filter = {.child = *child};
	for (struct ph_shell_watch *watch = conn->watches; watch; watch = watch->next) {
		if (watch->child.s[0]
				? !ph_name_equal(&watch->child, child)
				: strncmp(child->s, watch->prefix, strlen(watch->prefix)) != 0)
			continue;
		struct ph_wmsg head = {.op = PH_W_CHANGED, .has_re = true, .re = watch->req};
		(void)send_instances(conn, &head, &filter, true);
		if (conn->state == PH_CONN_CLOSED)
			return; /* and its watches with it */
	}
}

/* Few of many connections watch anything. */
static void tell_of_all(void *arg, struct ph_shell_conn *conn)
{
	const struct ph_shell_changed *changed = arg;
	for (; changed && conn->watches; changed = changed->hh.next)
		tell_watcher(conn, &changed->child);
}

void ph_shell_lookup_turn_end(struct ph_shell *shell)
{
	struct ph_shell_changed *changed, *next, *all = shell->changed;
	if (all)
		ph_shell_conns_each(shell, tell_of_all, all);
	HASH_ITER (hh, all, changed, next) {
		HASH_DEL(all, changed);
		free(changed);
	}
	shell->changed = NULL;
}
