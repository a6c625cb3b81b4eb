/* verbs_do.c - start, stop, restart, forget, wait, reload, events. */
#include "ctl/verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ctl/client.h"
#include "ctl/commands.h"
#include "ctl/options.h"
#include "ctl/view.h"

/* How long the daemon may be late with its own time-out of `wait`. */
enum {
	WAIT_GRACE_MS = 5000
};

/* What a child's `result` must not be for the order to have been carried out. */
static bool is_failure(const char *result)
{
	static const char *const words[] = {
		"failed", "timeout", "refused", "aborted", "error", "not_found", "exists"};

	for (size_t i = 0; result && i < sizeof(words) / sizeof(words[0]); i++) {
		if (!strcmp(words[i], result))
			return true;
	}
	return false;
}

/* What an order that is done, or was taken, has made of the child. */
static const char *outcome_word(const struct ph_ctl *ctl, const char *result)
{
	static const struct {
		const char *verb, *done, *taken;
	} words[] = {
		{"start", "running", "is being started"},
		{"stop", "stopped", "is being stopped"},
		{"restart", "restarted", "is being restarted"},
		{"swap", "swapped", "is being swapped"},
		{"add", "running", "is being started"},
		{"remove", "removed", "is being removed"},
		{"signal", "signalled", "signalled"},
	};

	if (result && strcmp(result, "done") != 0)
		return result;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (!strcmp(words[i].verb, ctl->command->verb))
			return ctl->no_wait ? words[i].taken : words[i].done;
	}
	return "done";
}

/* "prochubctl: web: failed: no such file"; codes are no words for people where a sentence is */
static void tell_failure(const char *name, const char *result, const char *why)
{
	if (!why)
		(void)ph_ctl_fail(PH_EXIT_FAILED, "%s%s", name, result);
	else if (!strcmp(result, "failed"))
		(void)ph_ctl_fail(PH_EXIT_FAILED, "%sfailed: %s", name, why);
	else
		(void)ph_ctl_fail(PH_EXIT_FAILED, "%s%s", name, why);
}

/* "web: running", or what went wrong on standard error, where --json leaves it too */
static void tell_child(const struct ph_view *view, const json_t *entry)
{
	const char *result = ph_client_string(entry, "result");
	const char *why = ph_client_string(entry, "text");
	struct ph_text text = {0};

	ph_view_add_child(view, &text, entry);
	ph_text_addf(&text, ": ");
	if (is_failure(result)) {
		tell_failure(text.s, result, why);
	} else if (!view->ctl->json) {
		const char *word = outcome_word(view->ctl, result);
		const char *color = ph_view_paint(view->ctl, ph_view_state_color(word));

		ph_text_addf(&text, "%s", color);
		ph_text_add_escaped(&text, word, false);
		ph_text_addf(&text, "%s", *color ? PH_COLOR_NONE : "");
		if (why) {
			ph_text_addf(&text, ": ");
			ph_text_add_escaped(&text, why, false);
		}
		puts(text.s);
	}
	ph_text_fini(&text);
}

enum ph_exit ph_verb_children_told(const struct ph_ctl *ctl, const json_t *list)
{
	size_t failures = 0, i;
	const json_t *entry;
	struct ph_view view;

	ph_view_init(&view, ctl);
	ph_view_number(&view, list);
	json_array_foreach(list, i, entry)
	{
		if (is_failure(ph_client_string(entry, "result")))
			failures++;
		tell_child(&view, entry);
	}
	ph_view_fini(&view);
	if (failures == 0)
		return PH_EXIT_DONE;
	return failures == json_array_size(list) ? PH_EXIT_FAILED : PH_EXIT_PARTLY;
}

enum ph_exit ph_verb_children_end(const struct ph_ctl *ctl, json_t *answer)
{
	if (ctl->json)
		ph_view_print_json(answer);
	enum ph_exit status = ph_verb_children_told(ctl, json_object_get(answer, "children"));
	json_decref(answer);
	return status;
}

/* Each child with what became of it, where not all was done. */
static bool on_refused(void *user, const json_t *answer, enum ph_exit status)
{
	const json_t *list = json_object_get(answer, "children");

	(void)status;
	if (json_array_size(list) == 0)
		return false;
	(void)ph_verb_children_told(user, list);
	return true;
}

enum ph_exit ph_verb_children_ask(const struct ph_ctl *ctl, json_t *fields, size_t first)
{
	union {
		const struct ph_ctl *in;
		void *out;
	} borrowed = {ctl};
	struct ph_ask ask = {
		.patience_ms = ph_client_patience_ms(ctl),
		.detachable = ctl->command->patience_ms == 0,
		.on_refused = on_refused,
		.user = borrowed.out,
	};
	json_t *names = ph_ctl_made(json_array()), *answer = NULL;
	enum ph_exit status;

	for (size_t i = first; i < ctl->n_args; i++)
		(void)json_array_append_new(names, json_string(ctl->args[i]));
	(void)json_object_set_new(ph_ctl_made(fields), "children", names);
	if (ctl->no_wait)
		(void)json_object_set_new(fields, "no_wait", json_true());
	status = ph_client_ask(ctl, fields, &ask, &answer);
	return status == PH_EXIT_DONE ? ph_verb_children_end(ctl, answer) : status;
}

enum ph_exit ph_verb_children(const struct ph_ctl *ctl)
{
	return ph_verb_children_ask(ctl, json_object(), 0);
}

static void tell_forgotten(const struct ph_ctl *ctl, const json_t *answer)
{
	(void)answer;
	printf("%s: %s\n", ctl->args[0], ctl->no_wait ? "is being forgotten" : "forgotten");
}

enum ph_exit ph_verb_forget(const struct ph_ctl *ctl)
{
	json_t *fields = ph_ctl_made(json_pack("{s:s}", "node", ctl->args[0]));

	if (ctl->no_wait)
		(void)json_object_set_new(fields, "no_wait", json_true());
	return ph_client_show(ctl, fields, tell_forgotten);
}

enum ph_exit ph_verb_wait(const struct ph_ctl *ctl)
{
	struct ph_ask ask = {.detachable = false};
	json_t *fields, *answer = NULL;
	enum ph_exit status;

	if (!ctl->wait_for)
		return ph_ctl_fail(PH_EXIT_USAGE,
			"'wait' needs --for=ready|stopped|moved; see 'prochubctl wait --help'");
	fields = ph_client_child_fields(ctl->args[0]);
	(void)json_object_set_new(fields, "for", json_string(ctl->wait_for));
	if (ctl->timeout_ms) {
		(void)json_object_set_new(
			fields, "timeout_ms", json_integer((json_int_t)ctl->timeout_ms));
		ask.patience_ms = ctl->timeout_ms + WAIT_GRACE_MS;
	}
	status = ph_client_ask(ctl, fields, &ask, &answer);
	if (status != PH_EXIT_DONE)
		return status;
	if (ctl->json)
		ph_view_print_json(answer);
	else
		printf("%s: %s\n", ctl->args[0], ctl->wait_for);
	json_decref(answer);
	return status;
}

/* "added: a, b": entries are names, or objects with "child" and maybe "options". */
static bool print_changes(const struct ph_view *view, const char *title, const json_t *list)
{
	struct ph_text text = {0};
	const json_t *entry, *option;
	size_t i, j;

	if (json_array_size(list) == 0)
		return false;
	ph_text_addf(&text, "%s:", title);
	json_array_foreach(list, i, entry)
	{
		const json_t *options = json_object_get(entry, "options");

		ph_text_addf(&text, i ? ", " : " ");
		if (json_is_object(entry))
			ph_view_add_child(view, &text, entry);
		else
			ph_text_add_value(&text, entry);
		json_array_foreach(options, j, option)
		{
			ph_text_addf(&text, j ? ", " : " (");
			ph_text_add_value(&text, option);
		}
		if (json_is_true(json_object_get(entry, "restart")))
			ph_text_addf(&text, "; its workers are replaced");
		if (json_array_size(options) > 0)
			ph_text_addf(&text, ")");
	}
	puts(text.s);
	ph_text_fini(&text);
	return true;
}

/* Those of the options of node, cluster, control and log that a reload brings, or does not. */
static bool print_options(const char *title, const json_t *list, bool reloadable)
{
	struct ph_text text = {0};
	const json_t *entry;
	size_t i;

	json_array_foreach(list, i, entry)
	{
		if (json_is_true(json_object_get(entry, "reloadable")) != reloadable)
			continue;
		ph_text_addf(&text, "%s", text.n ? ", " : "");
		ph_text_add_value(&text, json_object_get(entry, "option"));
	}
	if (text.n)
		printf("%s: %s\n", title, text.s);
	ph_text_fini(&text);
	return i > 0;
}

static void print_reload(const struct ph_ctl *ctl, const json_t *answer)
{
	static const char *const lists[] = {"added", "removed", "changed", "differs", "spread"};
	static const char *const titles[] = {"added", "removed", "changed",
		"differs from what the cluster runs", "now so on all nodes"};
	static const char *const dry_titles[] = {"would be added", "would be removed",
		"would change", "differs from what the cluster runs", "would be so on all nodes"};
	const json_t *options = json_object_get(answer, "options");
	struct ph_view view;
	bool any = false;

	ph_view_init(&view, ctl);
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		any |= print_changes(&view, (ctl->dry_run ? dry_titles : titles)[i],
			json_object_get(answer, lists[i]));
	ph_view_fini(&view);
	any |= print_options(
		ctl->dry_run ? "options that would change" : "options changed", options, true);
	any |= print_options("not in force before a restart of the daemon", options, false);
	if (!any)
		puts(ctl->dry_run ? "nothing would change" : "nothing changed");
}

enum ph_exit ph_verb_reload(const struct ph_ctl *ctl)
{
	json_t *fields = ph_ctl_made(json_object());

	if (ctl->dry_run)
		(void)json_object_set_new(fields, "dry_run", json_true());
	if (ctl->cluster)
		(void)json_object_set_new(fields, "cluster", json_true());
	return ph_client_show(ctl, fields, print_reload);
}

/* 2026-11-23T01:02:03.250Z, `ago_ms` before now */
static json_t *time_ago(uint64_t ago_ms)
{
	struct timespec now;
	uint64_t at_ms;
	char text[32] = "";
	struct tm utc;
	time_t seconds;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	at_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
	at_ms = at_ms > ago_ms ? at_ms - ago_ms : 0;
	seconds = (time_t)(at_ms / 1000);
	(void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", gmtime_r(&seconds, &utc));
	return json_sprintf("%s.%03uZ", text, (unsigned)(at_ms % 1000));
}

/* 2026-11-23T01:02:03, with a fraction or without, and Z or an offset */
static bool is_time(const char *text)
{
	struct tm tm = {0};
	const char *end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);

	if (!end)
		return false;
	if (*end == '.') {
		size_t n = strspn(end + 1, "0123456789");

		if (n == 0)
			return false;
		end += 1 + n;
	}
	if (!strcmp(end, "Z"))
		return true;
	return (*end == '+' || *end == '-') && strlen(end) == 6 && end[3] == ':' &&
	       strspn(end + 1, "0123456789:") == 5;
}

/* A number as a number, times as RFC 3339; NULL: none of them. */
static json_t *since_value(const char *text)
{
	uint64_t ms = 0;

	if (strspn(text, "0123456789") == strlen(text) && strlen(text) <= 16)
		return json_integer(strtoll(text, NULL, 10));
	if (ph_options_duration(text, &ms) == 0)
		return time_ago(ms);
	return is_time(text) ? json_string(text) : NULL;
}

static bool print_event(void *user, const json_t *line)
{
	(void)user;
	if (json_object_get(line, "event"))
		ph_view_print_json(line);
	return fflush(stdout) == 0;
}

enum ph_exit ph_verb_events(const struct ph_ctl *ctl)
{
	struct ph_ask ask = {.on_more = print_event, .endless = ctl->follow};
	json_t *fields = ph_ctl_made(json_object()), *answer = NULL, *since;
	enum ph_exit status;

	ask.patience_ms =
		ctl->timeout_ms || ctl->follow ? ctl->timeout_ms : ctl->command->patience_ms;
	if (ctl->follow)
		(void)json_object_set_new(fields, "follow", json_true());
	if (ctl->since) {
		since = since_value(ctl->since);
		if (!since) {
			json_decref(fields);
			return ph_ctl_fail(PH_EXIT_USAGE,
				"--since: '%s' is no duration (10m), no time "
				"(2026-01-31T12:00:00Z), and no sequence number",
				ctl->since);
		}
		(void)json_object_set_new(fields, "since", since);
	}
	status = ph_client_ask(ctl, fields, &ask, &answer);
	if (answer) {
		(void)print_event(NULL, answer);
		json_decref(answer);
	}
	return status;
}
