/* verbs_move.c - move, drain, undrain, cancel: orders that are followed to their end. */
#include "ctl/verbs.h"

#include <stdio.h>
#include <string.h>

#include "ctl/client.h"
#include "ctl/commands.h"
#include "ctl/progress.h"
#include "ctl/view.h"

/*
 * A reader that has gone away is no reason to stop: the exit status still tells how it ended.
 * With --json only the last object is printed, so that it is one object.
 */
static bool on_progress(void *user, const json_t *line)
{
	struct ph_progress *progress = user;

	if (!progress->view.ctl->json)
		(void)ph_progress_show(progress, line);
	return true;
}

static void on_end(void *user)
{
	ph_progress_clear(user);
}

/* Of a child that did not have to move the daemon only says why. */
static bool is_unmoved(const json_t *entry)
{
	return json_object_get(entry, "text") && !json_object_get(entry, "id") &&
	       !json_object_get(entry, "to");
}

static size_t count_moved(const json_t *answer)
{
	const json_t *moved = json_object_get(answer, "moved"), *entry;
	size_t n = 0, i;

	json_array_foreach(moved, i, entry) n += !is_unmoved(entry);
	return n;
}

/* "web: a -> b, 12.3M in 1.2s, down for 3ms", of which only the name is sure to be there */
static void tell_moved(const struct ph_view *view, const json_t *entry)
{
	struct ph_cell cell = {0};
	const json_t *from = json_object_get(entry, "from"), *to = json_object_get(entry, "to");
	const json_t *what = is_unmoved(entry) ? json_object_get(entry, "text") : to;

	if (json_is_string(entry))
		ph_text_add_value(&cell.text, entry);
	else
		ph_view_add_child(view, &cell.text, entry);
	ph_text_addf(&cell.text, ":");
	if (from && to) {
		ph_text_addf(&cell.text, " ");
		ph_text_add_value(&cell.text, from);
		ph_text_addf(&cell.text, " ->");
	}
	ph_text_addf(&cell.text, " %s", what ? "" : "moved");
	if (what)
		ph_text_add_value(&cell.text, what);
	if (json_object_get(entry, "bytes")) {
		ph_text_addf(&cell.text, ", ");
		ph_cell_size(view, entry, "bytes", &cell);
	}
	if (json_object_get(entry, "elapsed_ms")) {
		ph_text_addf(&cell.text, " in ");
		ph_cell_duration(view, entry, "elapsed_ms", &cell);
	}
	if (json_is_number(json_object_get(entry, "downtime_ms"))) {
		ph_text_addf(&cell.text, ", down for ");
		ph_cell_duration(view, entry, "downtime_ms", &cell);
	}
	if (!is_unmoved(entry) && json_object_get(entry, "text")) { /* what was not as it should */
		ph_text_addf(&cell.text, "; ");
		ph_text_add_value(&cell.text, json_object_get(entry, "text"));
	}
	puts(cell.text.s);
	ph_text_fini(&cell.text);
}

static void tell_left(const struct ph_view *view, const json_t *entry)
{
	struct ph_text text = {0};
	const char *why = ph_client_string(entry, "text");

	if (json_is_string(entry))
		ph_text_add_value(&text, entry);
	else
		ph_view_add_child(view, &text, entry);
	(void)ph_ctl_fail(PH_EXIT_PARTLY, "%s: left where it is%s%s", text.s, why ? ": " : "",
		why ? why : "");
	ph_text_fini(&text);
}

/* The exit status of the last line; a refused move is told with its reason. */
static enum ph_exit outcome(const struct ph_ctl *ctl, const json_t *answer)
{
	const char *result = ph_client_string(answer, "result");
	const char *reason = ph_client_string(answer, "reason");
	size_t left = json_array_size(json_object_get(answer, "left"));

	if (result && !strcmp(result, "aborted"))
		return ph_ctl_fail(PH_EXIT_FAILED, "%s: aborted%s%s", ctl->command->verb,
			reason ? ": " : "", reason ? reason : "");
	if ((result && !strcmp(result, "partly")) || (!result && left && !ctl->no_wait))
		return ph_ctl_fail(PH_EXIT_PARTLY, "%s: %zu moved, %zu left%s%s",
			ctl->command->verb, count_moved(answer), left, reason ? ": " : "",
			reason ? reason : "");
	return PH_EXIT_DONE;
}

static void number(struct ph_progress *progress, const json_t *answer)
{
	ph_view_number(&progress->view, json_object_get(answer, "moved"));
	ph_view_number(&progress->view, json_object_get(answer, "left"));
}

/* With --no-wait what was taken has not moved yet. */
static void tell_lists(const struct ph_progress *progress, const json_t *answer)
{
	const json_t *moved = json_object_get(answer, "moved"), *entry;
	bool no_wait = progress->view.ctl->no_wait;
	size_t i;

	json_array_foreach(moved, i, entry)
	{
		if (!no_wait || is_unmoved(entry))
			tell_moved(&progress->view, entry);
	}
	json_array_foreach(json_object_get(answer, "left"), i, entry)
	{
		if (!no_wait || ph_client_string(entry, "text"))
			tell_left(&progress->view, entry);
	}
}

static void tell_outcome(const struct ph_progress *progress, const json_t *answer)
{
	const struct ph_ctl *ctl = progress->view.ctl;
	size_t moved = json_array_size(json_object_get(answer, "moved"));

	tell_lists(progress, answer);
	if (ctl->no_wait && (!moved || count_moved(answer)))
		printf("%s: under way; see 'prochubctl migrations'\n", ctl->command->verb);
	else if (moved || json_array_size(json_object_get(answer, "left")))
		return;
	else if (!strcmp(ctl->command->verb, "drain"))
		puts("drain: done, nothing had to move");
	else
		printf("%s: done\n", ctl->command->verb);
}

/* Each child that is left with its reason, rather than the one that the sentence names. */
static bool on_refused(void *user, const json_t *answer, enum ph_exit status)
{
	struct ph_progress *progress = user;
	const struct ph_ctl *ctl = progress->view.ctl;
	size_t left = json_array_size(json_object_get(answer, "left"));
	size_t moved = json_array_size(json_object_get(answer, "moved"));

	if (ctl->json || !left)
		return false;
	number(progress, answer);
	tell_lists(progress, answer);
	if (status == PH_EXIT_PARTLY || moved + left > 1)
		(void)ph_ctl_fail(status, "%s: %zu moved, %zu left", ctl->command->verb,
			count_moved(answer), left);
	return true;
}

/* `fields` is taken. */
static enum ph_exit follow(const struct ph_ctl *ctl, json_t *fields)
{
	struct ph_progress progress;
	struct ph_ask ask = {
		.on_more = on_progress,
		.on_end = on_end,
		.on_refused = on_refused,
		.user = &progress,
		.detachable = true,
		.patience_ms = ph_client_patience_ms(ctl),
	};
	json_t *answer = NULL;
	enum ph_exit status;

	if (ctl->force)
		(void)json_object_set_new(fields, "force", json_true());
	if (ctl->no_wait)
		(void)json_object_set_new(fields, "no_wait", json_true());
	ph_progress_init(&progress, ctl);
	status = ph_client_ask(ctl, fields, &ask, &answer);
	if (status == PH_EXIT_DONE) {
		number(&progress, answer);
		if (ctl->json)
			ph_view_print_json(answer);
		else
			tell_outcome(&progress, answer);
		status = outcome(ctl, answer);
		json_decref(answer);
	}
	ph_progress_fini(&progress);
	return status;
}

enum ph_exit ph_verb_move(const struct ph_ctl *ctl)
{
	json_t *fields = ph_client_child_fields(ctl->args[0]);

	(void)json_object_set_new(fields, "node", json_string(ctl->args[1]));
	return follow(ctl, fields);
}

enum ph_exit ph_verb_drain(const struct ph_ctl *ctl)
{
	json_t *fields = ph_ctl_made(json_object());

	if (ctl->n_args > 0)
		(void)json_object_set_new(fields, "node", json_string(ctl->args[0]));
	return follow(ctl, fields);
}

/* "web: a -> b: aborted: cancelled by an operator" */
static void tell_cancelled(const struct ph_ctl *ctl, const json_t *answer)
{
	static const char *const keys[] = {"from", "to", "result", "reason"};
	static const char *const before[] = {": ", " -> ", ": ", ": "};
	const char *result = ph_client_string(answer, "result");
	struct ph_text text = {0};
	struct ph_view view;

	if (!result || !strcmp(result, "running")) {
		puts("cancel: under way; see 'prochubctl migrations'");
		return;
	}
	ph_view_init(&view, ctl);
	ph_view_add_child(&view, &text, answer);
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		const json_t *value = json_object_get(answer, keys[i]);

		if (!json_is_string(value))
			continue;
		ph_text_addf(&text, "%s", before[i]);
		ph_text_add_value(&text, value);
	}
	puts(ph_text_string(&text));
	ph_text_fini(&text);
	ph_view_fini(&view);
}

enum ph_exit ph_verb_cancel(const struct ph_ctl *ctl)
{
	json_t *fields = ph_ctl_made(json_pack("{s:s}", "migration", ctl->args[0]));

	if (ctl->no_wait)
		(void)json_object_set_new(fields, "no_wait", json_true());
	return ph_client_show(ctl, fields, tell_cancelled);
}
