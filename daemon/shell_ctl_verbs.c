/* shell_ctl_verbs.c - the table of verbs, and those that are answered at once, from memory. */
#include <errno.h>
#include <string.h>

#include "conf/options.h"
#include "shell_ctl_int.h"
#include "shell_emit.h"

static void not_found(struct ph_ctl_request *request, const struct ph_view_filter *what)
{
	char name[PH_NAME_SIZE + 16];
	struct ph_err err;
	ph_ctl_what_text(what, name, sizeof name);
	(void)ph_err_set(&err, ENOENT, "no such child: %s", name);
	ph_ctl_refuse(request, "not_found", err.text, NULL);
}

/* ---- reading */

static void run_ping(struct ph_ctl_request *request, const struct ph_ctl_args *args)
{
	(void)args;
	ph_ctl_answer(request, json_object());
}

static void run_status(struct ph_ctl_request *request, const struct ph_ctl_args *args)
{
	struct ph_shell *shell = ph_ctl_shell(request);
	for (size_t i = 0; i < args->n_filters; i++) {
		if (!ph_view_known(shell, &args->filters[i])) {
			not_found(request, &args->filters[i]);
			return;
		}
	}
	ph_ctl_answer(request, ph_view_status(shell, args->filters, args->n_filters));
}

static void run_nodes(struct ph_ctl_request *request, const struct ph_ctl_args *args)
{
	(void)args;
	ph_ctl_answer(request, ph_view_nodes(ph_ctl_shell(request)));
}

static void run_show(struct ph_ctl_request *request, const struct ph_ctl_args *args)
{
	struct ph_shell *shell = ph_ctl_shell(request);
	if (ph_view_known(shell, args->filters))
		ph_ctl_answer(request, ph_view_show(shell, args->filters));
	else
		not_found(request, args->filters);
}

static void run_migrations(struct ph_ctl_request *request, const struct ph_ctl_args *args)
{
	struct ph_err err;
	json_t *list = ph_view_migrations(ph_ctl_shell(request), args->id, NULL, 0);
	if (list && args->id && json_array_size(list) == 0) {
		json_decref(list);
		(void)ph_err_set(&err, ENOENT, "no such migration: %s", args->id);
		ph_ctl_refuse(request, "not_found", err.text, NULL);
		return;
	}
	ph_ctl_answer(request, list ? json_pack("{s:o}", "migrations", list) : NULL);
}

static void run_lookup(struct ph_ctl_request *request, const struct ph_ctl_args *args)
{
	const struct ph_view_filter *what = args->filters;
	json_t *found = ph_view_lookup(
		ph_ctl_shell(request), &what->child, what->has_instance, what->instance);
	if (found)
		ph_ctl_answer(request, found);
	else
		not_found(request, what);
}

static void run_events(struct ph_ctl_request *request, const struct ph_ctl_args *args)
{
	json_t *held = NULL, *event;
	size_t i;
	if (!args->follow || (args->given & PH_CTL_BIT(SINCE)))
		held = ph_shell_emit_held(ph_ctl_shell(request)->emit, args->after, args->since_ms);
	json_array_foreach(held, i, event)
	{
		ph_ctl_conn_answer(request->conn, request->re, json_incref(event), true);
	}
	json_decref(held);
	request->follow = args->follow;
	if (!args->follow)
		ph_ctl_answer(request, json_object());
}

/* ---- reload */

/* The changes by kind, as people ask for them. */
static json_t *by_kind(const json_t *diff)
{
	static const char *const kinds[] = {"added", "removed", "changed"};
	static const char *const lists[] = {"options", "differs", "spread"};
	json_t *result = json_object(), *change;
	size_t i;
	for (size_t k = 0; k < 3; k++)
		(void)json_object_set_new(result, kinds[k], json_array());
	json_array_foreach(json_object_get(diff, "children"), i, change)
	{
		const char *kind = json_string_value(json_object_get(change, "change"));
		(void)json_array_append(json_object_get(result, kind ? kind : ""), change);
	}
	for (size_t k = 0; k < sizeof lists / sizeof lists[0]; k++) {
		json_t *list = json_object_get(diff, lists[k]);
		if (list)
			(void)json_object_set(result, lists[k], list);
	}
	return result;
}

static void run_reload(struct ph_ctl_request *request, const struct ph_ctl_args *args)
{
	struct ph_err err = {""};
	json_t *result = NULL;
	if (ph_shell_reload(ph_ctl_shell(request), args->dry_run, args->cluster, &result, &err)) {
		ph_ctl_refuse(request, "failed", err.text, result);
	} else {
		ph_ctl_answer(request, by_kind(result));
		json_decref(result);
	}
}

/* ---- the table */

#define BIT(name) PH_CTL_BIT(name)
#define ONE (BIT(CHILD) | BIT(INSTANCE))
#define MANY (ONE | BIT(CHILDREN) | BIT(NO_WAIT))
#define MOVES (BIT(NODE) | BIT(FORCE) | BIT(NO_WAIT))

#define CHILDREN_ORDER(word, which) \
	{ \
		word, MANY, 0, ph_ctl_run_children, ph_ctl_answered_children, \
			ph_ctl_done_children, PH_VERB_##which \
	}
#define MOVE_ORDER(word, which, fields, must) \
	{ \
		word, fields, must, ph_ctl_run_move, ph_ctl_answered_move, ph_ctl_done_move, \
			PH_VERB_##which \
	}
#define READ(word, fields, must, run) \
	{ \
		word, fields, must, run, NULL, NULL, PH_VERB_NONE \
	}

static const struct ph_ctl_verb verbs[] = {
	READ("ping", 0, 0, run_ping),
	READ("status", ONE | BIT(CHILDREN), 0, run_status),
	READ("nodes", 0, 0, run_nodes),
	READ("show", ONE, BIT(CHILD), run_show),
	READ("migrations", BIT(ID), 0, run_migrations),
	READ("lookup", ONE, BIT(CHILD), run_lookup),
	READ("events", BIT(FOLLOW) | BIT(SINCE), 0, run_events),
	READ("logs", ONE | BIT(FOLLOW) | BIT(LINES), BIT(CHILD), ph_ctl_run_logs),
	READ("reload", BIT(DRY_RUN) | BIT(CLUSTER), 0, run_reload),
	CHILDREN_ORDER("start", START),
	CHILDREN_ORDER("stop", STOP),
	CHILDREN_ORDER("restart", RESTART),
	CHILDREN_ORDER("swap", SWAP),
	{"signal", ONE | BIT(CHILDREN) | BIT(NO_WAIT) | BIT(SIGNAL), BIT(SIGNAL), ph_ctl_run_signal,
		ph_ctl_answered_children, ph_ctl_done_children, PH_VERB_SIGNAL},
	{"add", BIT(CONFIG) | BIT(FILE) | BIT(NO_WAIT) | BIT(TIMEOUT) | BIT(KEEP_GOING),
		BIT(CONFIG), ph_ctl_run_add, ph_ctl_answered_add, ph_ctl_done_add, PH_VERB_ADD},
	{"remove", MANY, 0, ph_ctl_run_remove, ph_ctl_answered_remove, ph_ctl_done_children,
		PH_VERB_REMOVE},
	MOVE_ORDER("move", MOVE, ONE | MOVES, BIT(CHILD) | BIT(NODE)),
	MOVE_ORDER("drain", DRAIN, MOVES, 0),
	MOVE_ORDER("undrain", UNDRAIN, BIT(NODE) | BIT(NO_WAIT), 0),
	{"cancel", BIT(MIGRATION) | BIT(NO_WAIT), BIT(MIGRATION), ph_ctl_run_cancel,
		ph_ctl_answered_cancel, ph_ctl_done_cancel, PH_VERB_CANCEL},
	{"forget", BIT(NODE) | BIT(NO_WAIT), BIT(NODE), ph_ctl_run_forget, ph_ctl_answered_forget,
		ph_ctl_done_forget, PH_VERB_FORGET},
	{"wait", ONE | BIT(FOR) | BIT(TIMEOUT), BIT(CHILD) | BIT(FOR), ph_ctl_run_wait,
		ph_ctl_answered_move, ph_ctl_done_wait, PH_VERB_WAIT},
};

/* Verbs of INTERFACE.md that come later. */
static const char *const later[] = {"rebalance", "top"};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

const struct ph_ctl_verb *ph_ctl_verb_find(const char *name)
{
	for (size_t i = 0; i < COUNT(verbs); i++) {
		if (!strcmp(verbs[i].name, name))
			return &verbs[i];
	}
	return NULL;
}

const char *ph_ctl_verb_unknown(const char *name, struct ph_err *ret)
{
	const char *nearest = NULL;
	unsigned best = 0;
	for (size_t i = 0; i < COUNT(later); i++) {
		if (strcmp(later[i], name) != 0)
			continue;
		(void)ph_err_set(ret, ENOSYS, "'%s' is not available in this version", name);
		return "not_available";
	}
	for (size_t i = 0; i < COUNT(verbs); i++) {
		unsigned distance = ph_conf_distance(name, verbs[i].name);
		if (!nearest || distance < best) {
			nearest = verbs[i].name;
			best = distance;
		}
	}
	if (ph_conf_near(name, best))
		(void)ph_err_set(
			ret, ENOENT, "unknown verb '%.64s', did you mean '%s'?", name, nearest);
	else
		(void)ph_err_set(ret, ENOENT, "unknown verb '%.64s'", name);
	return "unknown_op";
}
