/*
 * shell_ctl_int.h - what the files of shell_ctl share; for nobody else.
 *
 * shell_ctl.c: requests, tickets, answers of core; shell_ctl_args.c: the fields of a request;
 * shell_ctl_names.c: their wildcards; shell_ctl_verbs.c: the table of verbs, and those that are
 * answered at once; shell_ctl_orders.c: those that core carries out; shell_ctl_add.c: children at
 * run time; shell_ctl_progress.c: what is told while they go on.
 */
#ifndef PH_SHELL_CTL_INT_H
#define PH_SHELL_CTL_INT_H

#include "shell.h"
#include "shell_ctl.h"
#include "shell_ctl_conn.h"
#include "shell_view.h"

#define PH_CTL_PROGRESS_MS 200

/* ---- the fields of a request: X(enumerator, word) */
#define PH_CTL_ARGS(X) \
	X(CHILD, "child") \
	X(INSTANCE, "instance") \
	X(CHILDREN, "children") \
	X(NODE, "node") \
	X(FORCE, "force") \
	X(NO_WAIT, "no_wait") \
	X(FOR, "for") \
	X(TIMEOUT, "timeout_ms") \
	X(FOLLOW, "follow") \
	X(SINCE, "since") \
	X(LINES, "lines") \
	X(ID, "id") \
	X(MIGRATION, "migration") \
	X(DRY_RUN, "dry_run") \
	X(CLUSTER, "cluster") \
	X(CONFIG, "config") \
	X(FILE, "file") \
	X(KEEP_GOING, "keep_going") \
	X(SIGNAL, "signal")

enum ph_ctl_arg {
#define X(name, word) PH_CTL_##name,
	PH_CTL_ARGS(X)
#undef X
	PH_CTL_ARG_COUNT
};
#define PH_CTL_BIT(name) (1u << PH_CTL_##name)

struct ph_ctl_args {
	unsigned given; /* bits */
	/* the children named by `child` and `instance`, or by `children` */
	size_t n_filters;
	struct ph_view_filter *filters;
	struct ph_name node; /* empty: this one */
	bool force, no_wait, follow, dry_run, cluster, keep_going;
	const json_t *config, *signal; /* in the request's JSON */
	const char *file;	       /* likewise */
	int signal_number;
	enum ph_wait_for wait_for;
	uint64_t timeout_ms;
	uint32_t lines;
	uint64_t after, since_ms;  /* `since`: a number, or a time */
	const char *id;		   /* in the request's JSON */
	struct ph_id migration;	   /* the first ... */
	uint32_t migration_digits; /* ... so many hex digits of it */
};

/* Fills `ret` from those fields that `known` lists. -EBADMSG a wrong type or value, or one of
 * `required` is missing, with a sentence that names it; -ENOMEM. Freed by _fini, on error too. */
PH_MUST_CHECK int ph_ctl_args_read(const json_t *object, unsigned known, unsigned required,
	struct ph_ctl_args *ret, struct ph_err *err);
void ph_ctl_args_fini(struct ph_ctl_args *args);

/* ---- shell_ctl_names.c */

/* Those of args->filters become the children that they match. -ENOENT: none, with a sentence. */
PH_MUST_CHECK int ph_ctl_names_expand(
	struct ph_shell *shell, struct ph_ctl_args *args, struct ph_err *err);

/* ---- requests */

struct ph_ctl_request;
struct ph_logs_asker;
struct ph_shell *ph_ctl_shell(const struct ph_ctl_request *request);

struct ph_ctl_verb {
	const char *name;
	unsigned known, required; /* bits of fields */
	void (*run)(struct ph_ctl_request *request, const struct ph_ctl_args *args);
	/* the answer to one of its commands has come */
	void (*answered)(struct ph_ctl_request *request, const struct ph_view_filter *what,
		const struct ph_answer *answer);
	/* ... and it was the last: gives the last line */
	void (*done)(struct ph_ctl_request *request);
	enum ph_verb order; /* of its commands */
};

/* A request that was not answered for the last time. */
struct ph_ctl_request {
	struct ph_shell_ctl *ctl;
	struct ph_ctl_conn *conn;
	uint64_t re;
	const struct ph_ctl_verb *verb;
	bool over;	      /* its last line is written; freed when `run` or `act` returns */
	bool follow;	      /* wants every event */
	bool progress;	      /* wants to hear how its migrations go on */
	size_t pending, sent; /* commands without an answer; all of them */
	struct ph_view_filter what; /* move, wait: the child */
	struct ph_name node;	    /* drain, undrain, forget: the node */
	json_t *rows;		    /* children of start, stop, restart; moved */
	json_t *left;
	int error; /* of the last answer that had one; positive errno */
	char text[PH_REASON_SIZE];
	size_t n_left;		    /* at the start */
	uint64_t told;		    /* hash of the last progress line */
	struct ph_logs_asker *logs; /* logs: who asks for lines */
	struct ph_ctl_request *prev, *next;
};

/* The last line of a request. `fields` is taken. */
void ph_ctl_answer(struct ph_ctl_request *request, json_t *fields);
void ph_ctl_refuse(
	struct ph_ctl_request *request, const char *code, const char *text, json_t *fields);
/* With the code of an errno. */
void ph_ctl_fail(struct ph_ctl_request *request, int error, const char *text, json_t *fields);
const char *ph_ctl_code(int error);
/* "web" or "web/3" */
void ph_ctl_what_text(const struct ph_view_filter *what, char *ret, size_t size);

/* Its last line was written outside of `run` and `act`: it is freed. */
void ph_ctl_over(struct ph_ctl_request *request);

/* Gives core a command; its answer comes to verb->answered. */
void ph_ctl_command(struct ph_ctl_request *request, const struct ph_ctl_args *args,
	const struct ph_view_filter *what);

/* The same with what is to be added: the list and its elements are taken. */
void ph_ctl_command_specs(struct ph_ctl_request *request, const struct ph_ctl_args *args,
	const struct ph_spec **specs, size_t n);

/* ---- shell_ctl_verbs.c */

const struct ph_ctl_verb *ph_ctl_verb_find(const char *name);
/* The sentence about a verb that is none: of a later version, or the nearest one. Returns its
 * code. */
const char *ph_ctl_verb_unknown(const char *name, struct ph_err *ret);

/* ---- shell_ctl_orders.c: run, answered, done of the rows */

void ph_ctl_run_children(struct ph_ctl_request *request, const struct ph_ctl_args *args);
void ph_ctl_answered_children(struct ph_ctl_request *request, const struct ph_view_filter *what,
	const struct ph_answer *answer);
void ph_ctl_done_children(struct ph_ctl_request *request);
void ph_ctl_run_move(struct ph_ctl_request *request, const struct ph_ctl_args *args);
void ph_ctl_run_wait(struct ph_ctl_request *request, const struct ph_ctl_args *args);
void ph_ctl_answered_move(struct ph_ctl_request *request, const struct ph_view_filter *what,
	const struct ph_answer *answer);
void ph_ctl_done_move(struct ph_ctl_request *request);
void ph_ctl_done_wait(struct ph_ctl_request *request);
void ph_ctl_run_cancel(struct ph_ctl_request *request, const struct ph_ctl_args *args);
void ph_ctl_answered_cancel(struct ph_ctl_request *request, const struct ph_view_filter *what,
	const struct ph_answer *answer);
void ph_ctl_done_cancel(struct ph_ctl_request *request);
void ph_ctl_run_forget(struct ph_ctl_request *request, const struct ph_ctl_args *args);
void ph_ctl_answered_forget(struct ph_ctl_request *request, const struct ph_view_filter *what,
	const struct ph_answer *answer);
void ph_ctl_done_forget(struct ph_ctl_request *request);

/* ---- shell_ctl_logs.c */

void ph_ctl_run_logs(struct ph_ctl_request *request, const struct ph_ctl_args *args);

/* ---- shell_ctl_add.c: run, answered, done of the rows */

void ph_ctl_run_add(struct ph_ctl_request *request, const struct ph_ctl_args *args);
void ph_ctl_answered_add(struct ph_ctl_request *request, const struct ph_view_filter *what,
	const struct ph_answer *answer);
void ph_ctl_done_add(struct ph_ctl_request *request);
void ph_ctl_run_remove(struct ph_ctl_request *request, const struct ph_ctl_args *args);
void ph_ctl_answered_remove(struct ph_ctl_request *request, const struct ph_view_filter *what,
	const struct ph_answer *answer);
void ph_ctl_run_signal(struct ph_ctl_request *request, const struct ph_ctl_args *args);

/* ---- shell_ctl_progress.c */

/* Takes the measure against which progress is told. */
void ph_ctl_progress_start(struct ph_ctl_request *request);
/* A line where something has changed. */
void ph_ctl_progress_tell(struct ph_ctl_request *request);
/* Adds what is known of the migration `id` to the row of a child that was moved. */
void ph_ctl_progress_detail(
	const struct ph_ctl_request *request, const struct ph_id *id, json_t *row);

#endif
