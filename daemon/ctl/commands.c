/* commands.c - the verbs of prochubctl: one table for dispatch, checks and help. */
#include "ctl/commands.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/types.h"
#include "ctl/nearest.h"
#include "ctl/options.h"
#include "ctl/verbs.h"

enum {
	ID_DIGITS_MIN = 4, /* of the beginning of an id */
	ANY = 4096,
	READ_MS = 30000
};

#define WAITING PH_OPTION_NO_WAIT
#define MOVING (PH_OPTION_NO_WAIT | PH_OPTION_FORCE)
#define LOGS (PH_OPTION_FOLLOW | PH_OPTION_LINES)
#define ADDING (PH_OPTION_NO_WAIT | PH_OPTION_KEEP_GOING)
#define EVENTS (PH_OPTION_FOLLOW | PH_OPTION_SINCE)

/* kinds: c child, n node, i migration id, m the same or its beginning, f file, g signal, s shell,
 * w anything */
static const struct ph_command command_rows[] = {
	{"status", "[CHILD...]", "c", 0, ANY, 0, READ_MS, "node, children, running migrations",
		ph_verb_status},
	{"nodes", "", "", 0, 0, 0, READ_MS, "the nodes of the cluster", ph_verb_nodes},
	{"show", "CHILD", "c", 1, 1, 0, READ_MS, "one child: its options, instances, migrations",
		ph_verb_show},
	{"migrations", "[ID]", "i", 0, 1, 0, READ_MS, "running and finished migrations",
		ph_verb_migrations},
	{"top", "", "w", 0, ANY, 0, 0, "a live screen", NULL},
	{"start", "CHILD...", "c", 1, ANY, WAITING, 0, "start children that were stopped",
		ph_verb_children},
	{"stop", "CHILD...", "c", 1, ANY, WAITING, 0, "stop children, until they are started",
		ph_verb_children},
	{"restart", "CHILD...", "c", 1, ANY, WAITING, 0, "stop children and start them again",
		ph_verb_children},
	{"signal", "SIG CHILD...", "gc", 2, ANY, 0, READ_MS,
		"send a signal (HUP, USR1, 10) to the main process", ph_verb_signal},
	{"swap", "CHILD...", "c", 1, ANY, WAITING, 0,
		"replace children where they run, with their state", ph_verb_children},
	{"add", "FILE|-", "f", 1, 1, ADDING, 0, "add the children that a file holds, at run time",
		ph_verb_add},
	{"remove", "CHILD...", "c", 1, ANY, WAITING, 0, "remove children that were added",
		ph_verb_children},
	{"move", "CHILD NODE", "cn", 2, 2, MOVING, 0, "move a child to a node, with its state",
		ph_verb_move},
	{"drain", "[NODE]", "n", 0, 1, MOVING, 0, "move all children away from a node",
		ph_verb_drain},
	{"undrain", "[NODE]", "n", 0, 1, WAITING, 0, "let a drained node have children again",
		ph_verb_drain},
	{"rebalance", "", "w", 0, ANY, 0, 0, "even out the load", NULL},
	{"cancel", "MIGRATION", "m", 1, 1, WAITING, 0,
		"abort a migration; the first digits of its id will do", ph_verb_cancel},
	{"forget", "NODE", "n", 1, 1, WAITING, 0,
		"a node that is switched off for good is no member any more", ph_verb_forget},
	{"lookup", "CHILD", "c", 1, 1, 0, READ_MS, "where a child can be reached now",
		ph_verb_lookup},
	{"wait", "CHILD", "c", 1, 1, PH_OPTION_FOR, 0, "wait until a child is as asked with --for",
		ph_verb_wait},
	{"logs", "CHILD", "c", 1, 1, LOGS, READ_MS, "the last lines that a child has written",
		ph_verb_logs},
	{"events", "", "", 0, 0, EVENTS, READ_MS, "what happened, as JSON lines", ph_verb_events},
	{"reload", "", "", 0, 0, PH_OPTION_DRY_RUN | PH_OPTION_CLUSTER, 0,
		"read the configuration again", ph_verb_reload},
	{"check", "[FILE]", "f", 0, 1, 0, 0, "check a configuration, change nothing",
		ph_verb_check},
	{"keygen", "[FILE]", "f", 0, 1, 0, 0, "make a cluster key; never over a file",
		ph_verb_keygen},
	{"completion", "SHELL", "s", 1, 1, 0, 0, "completion for bash, zsh or fish",
		ph_verb_completion},
};

enum {
	COMMAND_COUNT = sizeof(command_rows) / sizeof(command_rows[0])
};

const struct ph_command *ph_commands_row(size_t i)
{
	return i < COMMAND_COUNT ? &command_rows[i] : NULL;
}

int ph_commands_find(const char *verb, const struct ph_command **ret, struct ph_err *err)
{
	struct ph_nearest nearest = ph_nearest_start(verb);

	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		const struct ph_command *row = &command_rows[i];

		ph_nearest_offer(&nearest, row->verb);
		if (strcmp(row->verb, verb) != 0)
			continue;
		if (!row->run)
			return ph_err_set(
				err, ENOSYS, "'%s' is not available in this version", verb);
		*ret = row;
		return 0;
	}
	if (nearest.best)
		return ph_err_set(
			err, ENOENT, "unknown verb '%s', did you mean '%s'?", verb, nearest.best);
	return ph_err_set(err, ENOENT, "unknown verb '%s'; see 'prochubctl --help'", verb);
}

bool ph_commands_child_valid(const char *word)
{
	const char *slash = strchr(word, '/');
	char name[PH_NAME_SIZE];
	char *end = NULL;

	if (!slash)
		return ph_name_valid(word);
	if ((size_t)(slash - word) >= sizeof(name) || slash[1] < '0' || slash[1] > '9')
		return false;
	memcpy(name, word, (size_t)(slash - word));
	name[slash - word] = '\0';
	errno = 0;
	return ph_name_valid(name) && strtoull(slash + 1, &end, 10) <= UINT32_MAX && !errno &&
	       !*end;
}

static bool id_valid(const char *word)
{
	size_t n = strlen(word);

	return n >= 1 && n < PH_ID_TEXT_SIZE && strspn(word, "0123456789abcdef") == n;
}

static int arg_check(char kind, const char *word, bool many, struct ph_err *err)
{
	/* which children a pattern means the daemon knows */
	if (kind == 'c' && !ph_commands_child_valid(word) && !(many && ph_name_is_pattern(word)))
		return ph_err_set(err, EINVAL,
			"'%s' is not the name of a child: expected NAME or NAME/INSTANCE", word);
	if (kind == 'n' && !ph_name_valid(word))
		return ph_err_set(err, EINVAL,
			"'%s' is not the name of a node: expected 1 to 63 of A-Z a-z 0-9 . _ -",
			word);
	if (kind == 'i' && !id_valid(word))
		return ph_err_set(err, EINVAL,
			"'%s' is not the id of a migration: expected up to 32 digits of 0-9 a-f",
			word);
	if (kind == 'm' && (!id_valid(word) || strlen(word) < ID_DIGITS_MIN))
		return ph_err_set(err, EINVAL,
			"'%s' is not the id of a migration: expected 4 to 32 digits of 0-9 a-f",
			word);
	return 0;
}

int ph_commands_check(const struct ph_ctl *ctl, struct ph_err *err)
{
	const struct ph_command *row = ctl->command;
	size_t kinds = strlen(row->kinds);

	if (ctl->n_args < row->args_min)
		return ph_err_set(err, EINVAL, "'%s' needs %s; see 'prochubctl %s --help'",
			row->verb, row->synopsis, row->verb);
	if (ctl->n_args > row->args_max)
		return ph_err_set(err, EINVAL, "'%s': one word too many: '%s'", row->verb,
			ctl->args[row->args_max]);
	for (size_t i = 0; i < ctl->n_args; i++) {
		int r = arg_check(row->kinds[i < kinds ? i : kinds - 1], ctl->args[i],
			row->args_max == ANY, err);

		if (r < 0)
			return r;
	}
	return 0;
}

static void help_all(void)
{
	const char *separator = "\nNot in this version:";

	printf("Usage: prochubctl [OPTION...] VERB [WORD...]\n"
	       "Asks a prochub daemon, or gives it orders.\n\nVerbs:\n");
	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		char left[64];

		if (!command_rows[i].run)
			continue;
		(void)snprintf(left, sizeof(left), "%s %s", command_rows[i].verb,
			command_rows[i].synopsis);
		printf("  %-31s %s\n", left, command_rows[i].help);
	}
	printf("\nOptions of all verbs:\n");
	ph_options_help(0);
	printf("\nOptions of some verbs ('prochubctl VERB --help'):\n");
	ph_options_help(~0u);
	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		if (command_rows[i].run)
			continue;
		printf("%s %s", separator, command_rows[i].verb);
		separator = "";
	}
	ph_options_later();
	printf("%s\nA child is named room (all its instances) or room/17 (one).\n\nExit status:\n",
		*separator ? "" : "\n");
#define X(name, number, meaning) printf("  %3d  %s\n", number, meaning);
	PH_EXITS(X)
#undef X
}

void ph_commands_help(const struct ph_command *command)
{
	if (!command) {
		help_all();
		return;
	}
	printf("Usage: prochubctl %s", command->verb);
	if (*command->synopsis)
		printf(" %s", command->synopsis);
	ph_options_synopsis(command->options);
	printf(" [OPTION...]\n%s\n", command->help);
	if (command->options) {
		printf("\nOptions:\n");
		ph_options_help(command->options);
	}
	printf("\nOptions of all verbs:\n");
	ph_options_help(0);
}
