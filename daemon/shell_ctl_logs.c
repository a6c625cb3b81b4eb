/* shell_ctl_logs.c - the verb `logs`: a line of an answer for each line of a child's output. */
#include <errno.h>
#include <stdio.h>

#include "shell_ctl_int.h"
#include "shell_logs.h"

#define LINES_DEFAULT 10

static void on_line(void *arg, json_t *line)
{
	struct ph_ctl_request *request = arg;
	ph_ctl_conn_answer(request->conn, request->re, line, true);
}

static size_t backlog(void *arg)
{
	const struct ph_ctl_request *request = arg;
	return ph_ctl_conn_backlog(request->conn);
}

static void on_end(void *arg, const char *why)
{
	struct ph_ctl_request *request = arg;
	if (why)
		ph_ctl_refuse(request, "failed", why, NULL);
	else
		ph_ctl_answer(request, json_pack("{s:s}", "child", request->what.child.s));
	ph_ctl_over(request);
}

/* A child whose output goes nowhere: a sentence, else NULL. */
static const char *hidden(struct ph_ctl_request *request, char *text, size_t size)
{
	struct ph_shell *shell = ph_ctl_shell(request);
	const struct ph_spec *spec = ph_hub_spec(shell->hub, &request->what.child);
	struct ph_err err;
	const struct ph_conf_child *child = spec ? ph_shell_specs_find(shell, spec, &err) : NULL;
	if (!child || child->log.to != PH_CONF_LOG_NULL)
		return NULL;
	(void)snprintf(text, size, "%s writes nowhere: its log.to is null", request->what.child.s);
	return text;
}

void ph_ctl_run_logs(struct ph_ctl_request *request, const struct ph_ctl_args *args)
{
	struct ph_shell *shell = ph_ctl_shell(request);
	char text[PH_ERR_MAX], name[PH_NAME_SIZE + 16];
	request->what = args->filters[0];
	if (!ph_view_known(shell, &request->what)) {
		ph_ctl_what_text(&request->what, name, sizeof name);
		(void)snprintf(text, sizeof text, "no such child: %s", name);
		ph_ctl_refuse(request, "not_found", text, NULL);
		return;
	}
	if (hidden(request, text, sizeof text)) {
		ph_ctl_refuse(request, "refused", text, NULL);
		return;
	}
	const struct ph_logs_want want = {
		.filter = {.child = request->what.child,
			.has_instance = request->what.has_instance,
			.instance = request->what.instance},
		.lines = args->given & PH_CTL_BIT(LINES) ? args->lines : LINES_DEFAULT,
		.follow = args->follow,
		.line = on_line,
		.backlog = backlog,
		.end = on_end,
		.arg = request,
	};
	request->logs = ph_shell_logs_ask(shell, &want);
}
