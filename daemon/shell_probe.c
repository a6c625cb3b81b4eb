/* Probes: what core wants to know of a worker from outside, asked by io/probe or by a command. */
#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "conf/probe.h"
#include "io/hook.h"
#include "io/probe.h"
#include "shell_parts.h"

/* One a worker at most. */
struct ph_shell_probe {
	struct ph_shell *shell;
	uint64_t wid, number, timeout_ms;
	struct ph_probe *net;		   /* or ... */
	struct ph_hook *command;	   /* ... a command, with ... */
	struct event *deadline;		   /* ... its deadline, and before it ... */
	struct ph_shell_env_read *reading; /* ... env_file */
	struct ph_conf_probe target;
	struct ph_key key;
	const struct ph_spec *spec; /* NULL: `target` is none yet */
	char said[72];		    /* ": " and the end of what it wrote */
	UT_hash_handle hh;
};

static void probe_free(struct ph_shell_probe *probe)
{
	HASH_DEL(probe->shell->probes, probe);
	ph_probe_free(probe->net);
	ph_hook_free(probe->command);
	ph_shell_env_read_free(probe->reading);
	if (probe->spec)
		ph_conf_probe_fini(&probe->target);
	ph_spec_free(probe->spec);
	if (probe->deadline)
		event_free(probe->deadline);
	free(probe);
}

void ph_shell_probe_drop(struct ph_shell *shell, uint64_t wid)
{
	struct ph_shell_probe *probe;
	HASH_FIND(hh, shell->probes, &wid, sizeof wid, probe);
	if (probe)
		probe_free(probe);
}

void ph_shell_probes_free(struct ph_shell *shell)
{
	struct ph_shell_probe *probe, *next;
	HASH_ITER (hh, shell->probes, probe, next)
		probe_free(probe);
}

/* Tells core; `why` NULL: it serves. */
static void answer(struct ph_shell *shell, uint64_t wid, uint64_t number, const char *why)
{
	struct ph_event event = {.kind = PH_EV_PROBED,
		.wid = wid,
		.ticket = number,
		.error = why ? EAGAIN : 0,
		.text = why};
	ph_shell_push_text(shell, &event);
}

static void on_net(void *arg, const char *why)
{
	struct ph_shell_probe *probe = arg;
	answer(probe->shell, probe->wid, probe->number, why);
	probe->net = NULL; /* it frees itself */
	probe_free(probe);
}

/* ---- a command */

/* What it says last is told with its failure. */
static void on_line(void *arg, const char *text)
{
	struct ph_shell_probe *probe = arg;
	(void)snprintf(probe->said, sizeof probe->said, ": %.64s", text);
}

static void on_ended(void *arg, const struct ph_child_exit *status, bool left, unsigned long untold)
{
	struct ph_shell_probe *probe = arg;
	char why[PH_REASON_SIZE] = "";
	(void)left, (void)untold;
	if (status->signal)
		(void)snprintf(why, sizeof why, "the command was ended by signal %d%s",
			status->signal, probe->said);
	else if (status->unknown || status->code)
		(void)snprintf(
			why, sizeof why, "the command ended with %d%s", status->code, probe->said);
	answer(probe->shell, probe->wid, probe->number, why[0] ? why : NULL);
	probe_free(probe);
}

static void on_failed(void *arg, int error, const char *text)
{
	struct ph_shell_probe *probe = arg;
	(void)error;
	answer(probe->shell, probe->wid, probe->number, text);
	probe_free(probe);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct ph_shell_probe *probe = arg;
	char why[PH_REASON_SIZE];
	(void)fd, (void)what;
	if (probe->reading || !ph_hook_runs(probe->command)) {
		static const struct timeval soon = {0, PH_SPAWN_LOOK_MS * 1000};
		/* it says why; or it runs at last */
		if (probe->reading)
			ph_shell_env_read_hurry(probe->reading);
		else
			ph_hook_signal(probe->command, SIGKILL);
		(void)evtimer_add(probe->deadline, &soon);
		return;
	}
	(void)snprintf(why, sizeof why, "the command did not end within %llu ms%s",
		(unsigned long long)probe->timeout_ms, probe->said);
	answer(probe->shell, probe->wid, probe->number, why);
	probe_free(probe);
}

/* Takes what `text` has. */
static int run_command(
	struct ph_shell_probe *probe, struct ph_shell_env_text *text, struct ph_err *err)
{
	static const struct ph_hook_ops ops = {
		.line = on_line, .failed = on_failed, .ended = on_ended};
	int error = ph_shell_spawn_beside(probe->shell, &probe->key, probe->spec, text,
		&probe->target.argv, &ops, probe, &probe->command, err);
	free(text->bytes);
	return error;
}

static void on_read(void *arg, int error, struct ph_shell_env_text *text, const struct ph_err *err)
{
	struct ph_shell_probe *probe = arg;
	struct ph_err why = *err;
	probe->reading = NULL;
	if (!error)
		error = run_command(probe, text, &why);
	if (error)
		on_failed(probe, error, why.text);
}

static int start_command(struct ph_shell_probe *probe, struct ph_err *err)
{
	const struct timeval by = {
		(time_t)(probe->timeout_ms / 1000), (suseconds_t)(probe->timeout_ms % 1000 * 1000)};
	struct ph_shell_env_text text;
	probe->deadline = evtimer_new(probe->shell->base, on_deadline, probe);
	if (!probe->deadline || evtimer_add(probe->deadline, &by))
		return ph_err_set(err, ENOMEM, "no memory");
	int error = ph_shell_env_read(probe->shell, &probe->key, probe->spec, on_read, probe,
		&probe->reading, &text, err);
	return error || probe->reading ? error : run_command(probe, &text, err);
}

/* ---- any of them */

/* "tcp:8080" of the child's ready or health; the caller's. */
static char *text_of(const struct ph_conf_child *child, bool health)
{
	char *text = NULL;
	int n = !health		     ? asprintf(&text, "%s", child->ready)
		: child->health.tcp  ? asprintf(&text, "tcp:%s", child->health.tcp)
		: child->health.http ? asprintf(&text, "http:%s", child->health.http)
		: child->health.exec ? asprintf(&text, "exec:%s", child->health.exec)
				     : asprintf(&text, "none");
	if (n < 0)
		abort();
	return text;
}

static int find_target(struct ph_shell *shell, const struct ph_probe_order *order,
	struct ph_conf_probe *ret, struct ph_err *err)
{
	const struct ph_conf_child *child = ph_shell_specs_find(shell, order->spec, err);
	if (!child)
		return -EINVAL;
	const struct ph_conf_vars vars = {.child = order->key.child.s,
		.node = shell->node,
		.instance = order->key.instance,
		.replica = order->key.replica};
	char *text = text_of(child, order->health), *expanded = NULL;
	int error = ph_conf_expand(text, &vars, &expanded);
	if (error)
		ph_err_set(err, -error, "bad template '%.200s'", text);
	else
		error = ph_conf_probe_parse(expanded, ret, err);
	free(text);
	free(expanded);
	return error;
}

static int start(
	struct ph_shell_probe *probe, const struct ph_probe_order *order, struct ph_err *err)
{
	const struct ph_conf_probe *target = &probe->target;
	int error = find_target(probe->shell, order, &probe->target, err);
	if (error)
		return error;
	probe->spec = ph_spec_clone(order->spec);
	if (target->kind == PH_CONF_PROBE_EXEC)
		return start_command(probe, err);
	error = ph_probe_net(probe->shell->base, target->host, target->port,
		target->kind == PH_CONF_PROBE_HTTP ? target->path : NULL, probe->timeout_ms, on_net,
		probe, &probe->net);
	return error ? ph_err_set(err, -error, "cannot ask: %s", strerror(-error)) : 0;
}

void ph_shell_probe_act(struct ph_shell *shell, const struct ph_action *action)
{
	const struct ph_probe_order *order = action->probe;
	struct ph_err err = {{0}};
	ph_shell_probe_drop(shell, action->wid);
	if (!ph_shell_worker_by_wid(shell, action->wid))
		return;
	struct ph_shell_probe *probe = ph_shell_alloc(sizeof *probe);
	*probe = (struct ph_shell_probe){.shell = shell,
		.wid = action->wid,
		.key = order->key,
		.number = order->number,
		.timeout_ms = order->timeout_ms};
	HASH_ADD(hh, shell->probes, wid, sizeof probe->wid, probe);
	if (!start(probe, order, &err))
		return;
	answer(shell, probe->wid, probe->number, err.text);
	probe_free(probe);
}
