/*
 * completion.c - what shells need to complete prochubctl's words, made from its tables.
 *
 * Verbs and options stand in the script; names of children, nodes and migrations are asked of the
 * daemon when somebody presses the key, with the --socket that stands in the line.
 */
#include "ctl/verbs.h"

#include <stdio.h>
#include <string.h>

#include "ctl/commands.h"
#include "ctl/options.h"

/* Those that a program may be waiting for; `signal` takes all, and numbers. */
#define SIGNALS "HUP INT QUIT USR1 USR2 TERM KILL CONT STOP WINCH"

/* Without the table: the words of the line, and the names that a daemon knows. */
static const char bash_head[] =
	"_prochubctl_names() {\n"
	"\tlocal ask=\n"
	"\tcase $1 in\n"
	"\tc) ask=status ;;\n"
	"\tn) ask=nodes ;;\n"
	"\ti | m) ask=migrations ;;\n"
	"\tesac\n"
	"\tshift\n"
	"\t[ -z \"$ask\" ] || prochubctl \"$@\" --no-legend --timeout=2s $ask 2>/dev/null |\n"
	"\t\twhile read -r name rest; do printf '%s\\n' \"$name\" \"${name%%/*}\"; done\n"
	"}\n"
	"\n"
	"_prochubctl() {\n"
	"\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}\n"
	"\tlocal i word verb= nth=0 kinds= options= takes=\n"
	"\tlocal -a via\n"
	"\tCOMPREPLY=()\n"
	"\tvia=()\n"
	"\t# bash makes a word of its own of each =\n"
	"\tif [ \"$cur\" = = ]; then cur=; fi\n"
	"\tif [ \"$prev\" = = ]; then prev=${COMP_WORDS[COMP_CWORD - 2]}; fi\n"
	"\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	"\t\tword=${COMP_WORDS[i]}\n"
	"\t\tif [ \"$word\" = = ]; then continue; fi\n"
	"\t\tif [ -n \"$takes\" ]; then\n"
	"\t\t\tif [ \"$takes\" = --socket ]; then via=(--socket \"$word\"); fi\n"
	"\t\t\ttakes=\n"
	"\t\t\tcontinue\n"
	"\t\tfi\n"
	"\t\tcase $word in\n";

static const char bash_middle[] =
	"\t\t-*) ;;\n"
	"\t\t*) if [ -z \"$verb\" ]; then verb=$word; else nth=$((nth + 1)); fi ;;\n"
	"\t\tesac\n"
	"\tdone\n"
	"\tcase $verb in\n";

static const char bash_tail[] =
	"\tif [ \"${cur#-}\" != \"$cur\" ]; then\n"
	"\t\tCOMPREPLY=($(compgen -W \"$options\" -- \"$cur\"))\n"
	"\t\treturn\n"
	"\tfi\n"
	"\tif [ -z \"$verb\" ]; then\n"
	"\t\tCOMPREPLY=($(compgen -W \"$verbs\" -- \"$cur\"))\n"
	"\t\treturn\n"
	"\tfi\n"
	"\tif [ \"$nth\" -ge \"${#kinds}\" ]; then nth=$((${#kinds} - 1)); fi\n"
	"\tcase ${kinds:$nth:1} in\n"
	"\tf) COMPREPLY=($(compgen -f -- \"$cur\")) ;;\n"
	"\tg) COMPREPLY=($(compgen -W '" SIGNALS "' -- \"$cur\")) ;;\n"
	"\ts) COMPREPLY=($(compgen -W 'bash zsh fish' -- \"$cur\")) ;;\n"
	"\t'' | w) ;;\n"
	"\t*) COMPREPLY=($(compgen -W \"$(_prochubctl_names \"${kinds:$nth:1}\" \"${via[@]}\")\" "
	"-- "
	"\"$cur\")) ;;\n"
	"\tesac\n"
	"}\n"
	"complete -F _prochubctl prochubctl\n";

static bool goes_with(const struct ph_option *option, unsigned bits)
{
	return option->help && (option->bit == 0 || (option->bit & bits));
}

/* "auto|always|never" without its bars */
static void print_words(const char *words)
{
	for (; *words; words++)
		putchar(*words == '|' ? ' ' : *words);
}

static void bash_options(unsigned bits)
{
	const struct ph_option *option;

	for (size_t i = 0; (option = ph_options_row(i)); i++)
		if (goes_with(option, bits))
			printf(" --%s", option->name);
}

static void bash_values(void)
{
	const struct ph_option *option;

	printf("\tcase $prev in\n");
	for (size_t i = 0; (option = ph_options_row(i)); i++) {
		if (!option->help || option->type == PH_OPTION_FLAG)
			continue;
		printf("\t--%s) ", option->name);
		if (option->type == PH_OPTION_WORD) {
			printf("COMPREPLY=($(compgen -W '");
			print_words(option->value);
			printf("' -- \"$cur\")); ");
		} else if (!strcmp(option->value, "PATH")) {
			printf("COMPREPLY=($(compgen -f -- \"$cur\")); ");
		}
		printf("return ;;\n");
	}
	printf("\tesac\n");
}

static void print_bash(void)
{
	const struct ph_command *command;
	const struct ph_option *option;
	const char *separator = "";

	fputs(bash_head, stdout);
	printf("\t\t");
	for (size_t i = 0; (option = ph_options_row(i)); i++) {
		if (!option->help || option->type == PH_OPTION_FLAG)
			continue;
		printf("%s--%s", separator, option->name);
		separator = " | ";
	}
	printf(") takes=$word ;;\n");
	fputs(bash_middle, stdout);
	for (size_t i = 0; (command = ph_commands_row(i)); i++) {
		if (!command->run)
			continue;
		printf("\t%s) kinds=%s options='", command->verb,
			command->args_max ? command->kinds : "");
		bash_options(command->options);
		printf("' ;;\n");
	}
	printf("\t'') options='");
	bash_options(0);
	printf("' ;;\n\tesac\n\tlocal verbs='");
	for (size_t i = 0; (command = ph_commands_row(i)); i++)
		if (command->run)
			printf(" %s", command->verb);
	printf("'\n");
	bash_values();
	fputs(bash_tail, stdout);
}

/* In single quotes, for fish: help texts have apostrophes. */
static void fish_quoted(const char *text)
{
	putchar('\'');
	for (; *text; text++) {
		if (*text == '\'' || *text == '\\')
			putchar('\\');
		putchar(*text);
	}
	putchar('\'');
}

static void fish_option(const struct ph_option *option)
{
	const struct ph_command *command;

	printf("complete -c prochubctl -l %s", option->name);
	if (option->letter)
		printf(" -s %c", option->letter);
	if (option->type != PH_OPTION_FLAG)
		printf(" -r%s", option->type == PH_OPTION_WORD ? " -f -a '" : "");
	if (option->type == PH_OPTION_WORD) {
		print_words(option->value);
		putchar('\'');
	}
	if (option->type == PH_OPTION_TEXT && !strcmp(option->value, "PATH"))
		printf(" -F");
	if (option->bit) {
		printf(" -n '__fish_seen_subcommand_from");
		for (size_t i = 0; (command = ph_commands_row(i)); i++)
			if (command->run && (command->options & option->bit))
				printf(" %s", command->verb);
		putchar('\'');
	}
	printf(" -d ");
	fish_quoted(option->help);
	putchar('\n');
}

static void fish_words(const struct ph_command *command)
{
	const char *kinds = command->args_max ? command->kinds : "";

	for (size_t nth = 0; kinds[nth]; nth++) {
		if (kinds[nth] == 'w')
			continue;
		printf("complete -c prochubctl -n '__prochubctl_at %s %zu %d' ", command->verb, nth,
			kinds[nth + 1] == '\0');
		if (kinds[nth] == 'f')
			printf("-F\n");
		else if (kinds[nth] == 's')
			printf("-a 'bash zsh fish'\n");
		else if (kinds[nth] == 'g')
			printf("-a '" SIGNALS "'\n");
		else
			printf("-a '(__prochubctl_names %s)'\n", kinds[nth] == 'c' ? "status"
								 : kinds[nth] == 'n'
									 ? "nodes"
									 : "migrations");
	}
}

static const char fish_head[] =
	"function __prochubctl_names\n"
	"\tset -l via\n"
	"\tset -l line (commandline -opc)\n"
	"\tset -l at (contains -i -- --socket $line); and set via --socket $line[(math $at + 1)]\n"
	"\tfor word in (string match -- '--socket=*' $line); set via $word; end\n"
	"\tprochubctl $via --no-legend --timeout=2s $argv[1] 2>/dev/null |\n"
	"\t\tstring replace -r ' .*' ''\n"
	"end\n"
	"function __prochubctl_at # VERB, place of the word, is it the last kind\n"
	"\tset -l words\n"
	"\tset -l takes 0\n"
	"\tfor word in (commandline -opc)[2..]\n"
	"\t\tif test $takes = 1; set takes 0; continue; end\n"
	"\t\tswitch $word\n";

static const char fish_middle[] =
	"\t\t\tcase '-*'\n"
	"\t\t\tcase '*'; set -a words $word\n"
	"\t\tend\n"
	"\tend\n"
	"\ttest \"$words[1]\" = $argv[1]; or return 1\n"
	"\tset -l nth (math (count $words) - 1)\n"
	"\ttest $nth = $argv[2]; or begin; test $argv[3] = 1; and test $nth -ge $argv[2]; end\n"
	"end\n"
	"complete -c prochubctl -f\n";

static void print_fish(void)
{
	const struct ph_command *command;
	const struct ph_option *option;

	fputs(fish_head, stdout);
	printf("\t\t\tcase");
	for (size_t i = 0; (option = ph_options_row(i)); i++)
		if (option->help && option->type != PH_OPTION_FLAG)
			printf(" --%s", option->name);
	printf("; set takes 1\n");
	fputs(fish_middle, stdout);
	for (size_t i = 0; (command = ph_commands_row(i)); i++) {
		if (!command->run)
			continue;
		printf("complete -c prochubctl -n __fish_use_subcommand -a %s -d ", command->verb);
		fish_quoted(command->help);
		putchar('\n');
		fish_words(command);
	}
	for (size_t i = 0; (option = ph_options_row(i)); i++)
		if (option->help)
			fish_option(option);
}

static void print_zsh(void)
{
	printf("(( $+functions[compdef] )) || { autoload -U +X compinit && compinit; }\n"
	       "autoload -U +X bashcompinit && bashcompinit\n");
	print_bash();
}

enum ph_exit ph_verb_completion(const struct ph_ctl *ctl)
{
	static const struct {
		const char *shell;
		void (*print)(void);
	} shells[] = {{"bash", print_bash}, {"zsh", print_zsh}, {"fish", print_fish}};

	for (size_t i = 0; i < sizeof(shells) / sizeof(shells[0]); i++) {
		if (strcmp(ctl->args[0], shells[i].shell) != 0)
			continue;
		printf("# completion of prochubctl, made by 'prochubctl completion %s'\n",
			ctl->args[0]);
		shells[i].print();
		return PH_EXIT_DONE;
	}
	return ph_ctl_fail(
		PH_EXIT_USAGE, "completion: expected bash, zsh or fish, not '%s'", ctl->args[0]);
}
