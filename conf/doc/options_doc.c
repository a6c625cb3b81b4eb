/*
 * options_doc.c - a build's tool: fills a manual page's template with the tables of options.
 *
 * Standard input to standard output; a line @daemon@, @hook@, @group@ or @child@ becomes a list of
 * that table's options, @later@ the words that are refused as not available. Not installed.
 */
#include "conf/options.h"
#include "conf/scalar.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define LINE_MAX_BYTES 4096

/* A sentence that begins with a capital letter; mdoc takes a line's first dot or quote for its own.
 */
static void sentence(const char *text)
{
	if (*text == '.' || *text == '\'')
		fputs("\\&", stdout);
	putchar(strncmp(text, "tcp:", 4) == 0 ? *text : toupper((unsigned char)*text));
	for (text++; *text; text++)
		fputs(*text == '\\' ? "\\e" : (char[]){*text, '\0'}, stdout);
	puts(".");
}

static bool is_number(const struct ph_conf_option *o)
{
	switch ((int)o->type) {
	case PH_CONF_DURATION:
	case PH_CONF_SIZE:
	case PH_CONF_COUNT:
	case PH_CONF_PERCENT:
	case PH_CONF_WEIGHT:
		return true;
	default:
		return false;
	}
}

static void value(const struct ph_conf_option *o)
{
	char low[128], high[128];
	struct ph_name word;
	bool available, open;
	if (o->type != PH_CONF_ENUM && o->type != PH_CONF_READY) {
		char words[512];
		(void)snprintf(words, sizeof words, "%s", ph_conf_type_words(o->type));
		if (is_number(o)) {
			ph_conf_number_text(o, o->min, low, sizeof low);
			ph_conf_number_text(o, o->max, high, sizeof high);
			(void)snprintf(words, sizeof words, "%s, %s to %s",
				ph_conf_type_words(o->type), low, high);
		}
		sentence(words);
		return;
	}
	const char *separator = "One of ";
	for (unsigned i = 0; ph_conf_choice(o, i, &word, &available, &open); i++) {
		if (!available)
			continue;
		printf("%s\\fB%s\\fR", separator, word.s);
		separator = ", ";
	}
	puts(".");
}

static void rows(const struct ph_conf_table *table)
{
	puts(".Bl -tag -width 4n");
	for (size_t i = 0; i < table->n; i++) {
		const struct ph_conf_option *o = &table->rows[i];
		if (o->here != PH_CONF_YES)
			continue;
		printf(".It Cm %s\n", o->path);
		sentence(o->help);
		value(o);
		if (o->fallback)
			printf("Default: \\fB%s\\fR.\n", o->fallback);
		if (o->flags & PH_CONF_TEMPLATE)
			puts("\\fB%i\\fR, \\fB%r\\fR, \\fB%n\\fR and \\fB%c\\fR are expanded.");
		if (o->flags & PH_CONF_LIVE)
			puts(table == &ph_conf_child_table
					? "A reload changes it without a restart "
					  "of running workers."
					: "A reload changes it.");
	}
	puts(".El");
}

static void later(void)
{
	const struct ph_conf_table *tables[] = {&ph_conf_daemon_table, &ph_conf_child_table};
	const char *separator = "";
	for (size_t t = 0; t < 2; t++)
		for (size_t i = 0; i < tables[t]->n; i++) {
			const struct ph_conf_option *o = &tables[t]->rows[i];
			if (o->here == PH_CONF_YES)
				continue;
			printf("%s.Cm %s", separator, o->path);
			separator = " ,\n";
		}
	puts(" .");
}

int main(void)
{
	char line[LINE_MAX_BYTES];
	while (fgets(line, sizeof line, stdin)) {
		if (strcmp(line, "@daemon@\n") == 0)
			rows(&ph_conf_daemon_table);
		else if (strcmp(line, "@hook@\n") == 0)
			rows(&ph_conf_hook_table);
		else if (strcmp(line, "@group@\n") == 0)
			rows(&ph_conf_group_table);
		else if (strcmp(line, "@child@\n") == 0)
			rows(&ph_conf_child_table);
		else if (strcmp(line, "@later@\n") == 0)
			later();
		else
			fputs(line, stdout);
	}
	return ferror(stdin) || fflush(stdout) != 0;
}
