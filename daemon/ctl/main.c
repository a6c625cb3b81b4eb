/* main.c - prochubctl: words in, one verb, exit status out. */
#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "ctl/commands.h"
#include "ctl/ctl.h"
#include "ctl/options.h"

static void find_terminal(struct ph_ctl *ctl)
{
	const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");

	ctl->terminal = isatty(STDOUT_FILENO) && term && strcmp(term, "dumb") != 0;
	if (!strcmp(ctl->color, "auto"))
		ctl->colored = ctl->terminal && (!no_color || !*no_color);
	else
		ctl->colored = !strcmp(ctl->color, "always");
}

static enum ph_exit run(int argc, char **argv)
{
	struct ph_ctl ctl = {0};
	struct ph_err err = {0};
	const char *verb = NULL;
	unsigned given = 0;
	enum ph_exit status = PH_EXIT_DONE;

	if (ph_options_parse(argc, argv, &ctl, &verb, &given, &err) < 0)
		return ph_ctl_fail(PH_EXIT_USAGE, "%s", err.text);
	find_terminal(&ctl);
	if (ctl.version)
		printf("prochubctl %s\n", PH_VERSION);
	else if (!verb && ctl.help)
		ph_commands_help(NULL);
	else if (!verb)
		status = ph_ctl_fail(PH_EXIT_USAGE, "no verb; see 'prochubctl --help'");
	else if (ph_commands_find(verb, &ctl.command, &err) < 0)
		status = ph_ctl_fail(PH_EXIT_USAGE, "%s", err.text);
	else if (ctl.help)
		ph_commands_help(ctl.command);
	else if (ph_options_check(verb, ctl.command->options, given, &err) < 0 ||
		 ph_commands_check(&ctl, &err) < 0)
		status = ph_ctl_fail(PH_EXIT_USAGE, "%s", err.text);
	else
		status = ctl.command->run(&ctl);
	free(ctl.args);
	return status;
}

/* Whether the reader of standard output has gone away. */
static bool is_reader_gone(void)
{
	struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};

	return poll(&out, 1, 0) > 0 && (out.revents & (POLLERR | POLLHUP));
}

/* A reader that has gone away (head, less) has seen enough; a full disk is a failure. */
static enum ph_exit finish(enum ph_exit status)
{
	bool failed = ferror(stdout) != 0;

	errno = 0;
	if (fflush(stdout) == 0 && !failed)
		return status;
	if (errno == EPIPE || is_reader_gone())
		return status;
	return ph_ctl_fail(PH_EXIT_FAILED, "cannot write to standard output: %s",
		errno ? strerror(errno) : "an earlier write failed");
}

int main(int argc, char **argv)
{
	/* widths need a character set; names and JSON are UTF-8 whatever the locale is */
	if (!setlocale(LC_CTYPE, "") || strcmp(nl_langinfo(CODESET), "UTF-8") != 0)
		(void)setlocale(LC_CTYPE, "C.UTF-8");
	(void)signal(SIGPIPE, SIG_IGN);
	return (int)finish(run(argc, argv));
}
