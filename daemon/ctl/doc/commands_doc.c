/*
 * commands_doc.c - a build's tool: fills a manual page's template with prochubctl's tables.
 *
 * Standard input to standard output; a line @verbs@, @options@ or @exits@ becomes that list. Not
 * installed.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "ctl/commands.h"
#include "ctl/options.h"

enum {
	LINE_BYTES = 4096
};

static void sentence(const char *text)
{
	putchar(toupper((unsigned char)*text));
	fputs(text + 1, stdout);
	puts(".");
}

static void option_name(const struct ph_option *option)
{
	if (option->letter)
		printf("Fl %c , ", option->letter);
	printf("Fl -%s", option->name);
	if (option->value)
		printf(" Ns = Ns Ar %s", option->value);
}

static void verbs(void)
{
	const struct ph_command *command;
	const struct ph_option *option;

	puts(".Bl -tag -width 4n");
	for (size_t i = 0; (command = ph_commands_row(i)); i++) {
		if (!command->run)
			continue;
		printf(".It Cm %s", command->verb);
		if (*command->synopsis)
			printf(" Ar %s", command->synopsis);
		for (size_t k = 0; (option = ph_options_row(k)); k++) {
			if (!(option->bit & command->options))
				continue;
			printf(" Oo ");
			option_name(option);
			printf(" Oc");
		}
		puts("");
		sentence(command->help);
	}
	puts(".El");
}

static void options(void)
{
	const struct ph_option *option;

	puts(".Bl -tag -width 4n");
	for (size_t i = 0; (option = ph_options_row(i)); i++) {
		if (!option->help)
			continue;
		printf(".It ");
		option_name(option);
		puts("");
		sentence(option->help);
	}
	puts(".El");
}

static void exits(void)
{
	puts(".Bl -tag -width 4n");
#define X(name, number, meaning) \
	printf(".It %d\n", number); \
	sentence(meaning);
	PH_EXITS(X)
#undef X
	puts(".El");
}

int main(void)
{
	static const struct {
		const char *line;
		void (*print)(void);
	} lists[] = {{"@verbs@\n", verbs}, {"@options@\n", options}, {"@exits@\n", exits}};
	const size_t n = sizeof(lists) / sizeof(lists[0]);
	char line[LINE_BYTES];

	while (fgets(line, sizeof(line), stdin)) {
		size_t i = 0;

		while (i < n && strcmp(line, lists[i].line) != 0)
			i++;
		if (i < n)
			lists[i].print();
		else
			fputs(line, stdout);
	}
	return ferror(stdin) || fflush(stdout) != 0;
}
