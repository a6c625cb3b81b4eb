/* progress.c - shows what moves while it moves. */
#include "ctl/progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "ctl/client.h"

void ph_progress_init(struct ph_progress *progress, const struct ph_ctl *ctl)
{
	*progress = (struct ph_progress){.told = ph_ctl_made(json_object())};
	ph_view_init(&progress->view, ctl);
}

void ph_progress_fini(struct ph_progress *progress)
{
	ph_view_fini(&progress->view);
	json_decref(progress->told);
}

static uint64_t number(const json_t *entry, const char *key)
{
	json_int_t n = json_integer_value(json_object_get(entry, key));

	return n > 0 ? (uint64_t)n : 0;
}

int ph_progress_percent(const json_t *entry)
{
	double total = (double)number(entry, "total"), bytes = (double)number(entry, "bytes");

	if (total <= 0)
		return -1;
	return bytes >= total ? 100 : (int)(bytes * 100 / total);
}

static void pad(struct ph_text *text, size_t column)
{
	ph_text_addf(text, "%*s", text->n < column ? (int)(column - text->n) : 2, "");
}

/* "room/17  a -> b          copy       12.3M of 64.0M  19%  30.1M/s  1.2s" */
static void describe(const struct ph_view *view, const json_t *entry, struct ph_text *text)
{
	int part = ph_progress_percent(entry);

	ph_view_add_child(view, text, entry);
	pad(text, 16);
	ph_text_add_value(text, json_object_get(entry, "from"));
	ph_text_addf(text, " -> ");
	ph_text_add_value(text, json_object_get(entry, "to"));
	pad(text, 32);
	ph_text_add_value(text, json_object_get(entry, "phase"));
	pad(text, 43);
	ph_text_add_size(text, number(entry, "bytes"));
	if (part >= 0) {
		ph_text_addf(text, " of ");
		ph_text_add_size(text, number(entry, "total"));
		ph_text_addf(text, "  %d%%", part);
	}
	if (number(entry, "rate")) {
		ph_text_addf(text, "  ");
		ph_text_add_size(text, number(entry, "rate"));
		ph_text_addf(text, "/s");
	}
	ph_text_addf(text, "  ");
	ph_text_add_duration(text, number(entry, "elapsed_ms"));
}

/* Names are ASCII; where another character is cut, its first bytes go as well. */
static void cut(struct ph_text *text, size_t columns)
{
	if (text->n <= columns)
		return;
	while (columns > 0 && ((unsigned char)text->s[columns] & 0xc0) == 0x80)
		columns--;
	text->n = columns;
	text->s[columns] = '\0';
}

static void tell_rest(const json_t *line, size_t unseen, struct ph_text *text)
{
	if (unseen)
		ph_text_addf(text, "%zu more; ", unseen);
	ph_text_add_value(text, json_object_get(line, "done"));
	ph_text_addf(text, " done, ");
	ph_text_add_value(text, json_object_get(line, "left"));
	ph_text_addf(text, " left");
}

void ph_progress_clear(struct ph_progress *progress)
{
	if (progress->drawn > 1)
		printf("\033[%uA", progress->drawn - 1);
	if (progress->drawn)
		printf("\r\033[J");
	progress->drawn = 0;
}

static void draw(struct ph_progress *progress, const json_t *line)
{
	const json_t *list = json_object_get(line, "progress");
	struct winsize size = {.ws_row = 24};
	struct ph_text text = {0};
	size_t n = json_array_size(list), room;

	(void)ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
	room = size.ws_row > 3 ? size.ws_row - 3u : 1;
	n = n < room ? n : room;
	ph_progress_clear(progress);
	for (size_t i = 0; i < n; i++) {
		ph_text_clear(&text);
		describe(&progress->view, json_array_get(list, i), &text);
		cut(&text, ph_view_width() - 1);
		printf("%s\n", text.s);
	}
	ph_text_clear(&text);
	tell_rest(line, json_array_size(list) - n, &text);
	cut(&text, ph_view_width() - 1);
	printf("%s", text.s);
	progress->drawn = (unsigned)n + 1;
	ph_text_fini(&text);
}

static void tell_changes(struct ph_progress *progress, const json_t *line)
{
	struct ph_text text = {0};
	const json_t *entry;
	size_t i;

	json_array_foreach(json_object_get(line, "progress"), i, entry)
	{
		const char *id = ph_client_string(entry, "id");
		const char *phase = ph_client_string(entry, "phase"), *old;

		ph_text_clear(&text);
		ph_text_addf(&text, "%s %d", phase ? phase : "", ph_progress_percent(entry) / 10);
		old = json_string_value(json_object_get(progress->told, id ? id : ""));
		if (old && !strcmp(old, text.s))
			continue;
		(void)json_object_set_new(progress->told, id ? id : "", json_string(text.s));
		ph_text_clear(&text);
		describe(&progress->view, entry, &text);
		puts(text.s);
	}
	ph_text_fini(&text);
}

bool ph_progress_show(struct ph_progress *progress, const json_t *line)
{
	ph_view_number(&progress->view, json_object_get(line, "progress"));
	if (progress->view.ctl->terminal)
		draw(progress, line);
	else
		tell_changes(progress, line);
	return fflush(stdout) == 0;
}
