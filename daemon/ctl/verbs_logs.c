/* verbs_logs.c - the lines that a child has written, and those that it writes. */
#include "ctl/verbs.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/client.h"
#include "ctl/commands.h"
#include "ctl/text.h"
#include "ctl/view.h"

/* On a terminal nothing of it is carried out but tabs; elsewhere it is as it was written. */
static void add_line(const struct ph_ctl *ctl, struct ph_text *text, const char *line)
{
	while (*line) {
		size_t n = ctl->terminal ? strcspn(line, "\t") : strlen(line);
		char *part = ph_ctl_made(strndup(line, n));

		if (ctl->terminal)
			ph_text_add_escaped(text, part, false);
		else
			ph_text_add_bytes(text, part, n);
		free(part);
		line += n;
		if (*line == '\t') {
			ph_text_add_bytes(text, "\t", 1);
			line++;
		}
	}
}

static bool print_line(void *user, const json_t *line)
{
	const struct ph_ctl *ctl = user;
	const char *words = ph_client_string(line, "text");
	const char *child = ph_client_string(line, "child");
	bool several = json_integer_value(json_object_get(line, "instances")) > 1;
	struct ph_text text = {0};

	if (ctl->json) {
		ph_view_print_json(line);
		return fflush(stdout) == 0;
	}
	if (!words)
		return true;
	if (json_is_true(json_object_get(line, "gap")))
		(void)ph_ctl_fail(PH_EXIT_DONE, "lines are missing here: they came too fast");
	if (several && child) {
		ph_text_add_escaped(&text, child, false);
		ph_text_addf(&text, "/%" JSON_INTEGER_FORMAT ": ",
			json_integer_value(json_object_get(line, "instance")));
	}
	add_line(ctl, &text, words);
	/* the pieces of a long line are one again, unless others may come between them */
	if (several || !json_is_true(json_object_get(line, "cut")))
		ph_text_add_bytes(&text, "\n", 1);
	(void)fwrite(ph_text_string(&text), 1, text.n, stdout);
	ph_text_fini(&text);
	return fflush(stdout) == 0;
}

enum ph_exit ph_verb_logs(const struct ph_ctl *ctl)
{
	struct ph_ctl copy = *ctl;
	struct ph_ask ask = {.on_more = print_line, .user = &copy, .endless = ctl->follow};
	json_t *fields = ph_client_child_fields(ctl->args[0]), *answer = NULL;

	ask.patience_ms =
		ctl->timeout_ms || ctl->follow ? ctl->timeout_ms : ctl->command->patience_ms;
	(void)json_object_set_new(fields, "lines", json_integer((json_int_t)ctl->lines));
	if (ctl->follow)
		(void)json_object_set_new(fields, "follow", json_true());
	enum ph_exit status = ph_client_ask(ctl, fields, &ask, &answer);
	json_decref(answer);
	return status;
}
