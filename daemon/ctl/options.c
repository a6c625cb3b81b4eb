/* options.c - the options of prochubctl: one table for parser, checks and help. */
#include "ctl/options.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/nearest.h"

static const struct ph_option option_rows[] = {
	{"socket", 0, "PATH", PH_OPTION_TEXT, offsetof(struct ph_ctl, socket), 0,
		"control socket (else $PROCHUB_CONTROL, else the default)"},
	{"json", 0, NULL, PH_OPTION_FLAG, offsetof(struct ph_ctl, json), 0,
		"print the daemon's answer as one line of JSON, a refusal too"},
	{"no-legend", 0, NULL, PH_OPTION_FLAG, offsetof(struct ph_ctl, no_legend), 0,
		"rows only: no headings, no summary"},
	{"color", 0, "auto|always|never", PH_OPTION_WORD, offsetof(struct ph_ctl, color), 0,
		"colours; auto: on a terminal, unless NO_COLOR is set"},
	{"timeout", 0, "DURATION", PH_OPTION_DURATION, offsetof(struct ph_ctl, timeout_ms), 0,
		"give up waiting after so long: 500ms, 10s, 5m, 1h"},
	{"help", 'h', NULL, PH_OPTION_FLAG, offsetof(struct ph_ctl, help), 0,
		"print this, or the help of a verb"},
	{"version", 'V', NULL, PH_OPTION_FLAG, offsetof(struct ph_ctl, version), 0,
		"print the version"},
	{"no-wait", 0, NULL, PH_OPTION_FLAG, offsetof(struct ph_ctl, no_wait), PH_OPTION_NO_WAIT,
		"return as soon as the daemon has taken the order"},
	{"force", 0, NULL, PH_OPTION_FLAG, offsetof(struct ph_ctl, force), PH_OPTION_FORCE,
		"even if the worker says busy or never; move: or placement says no"},
	{"for", 0, "ready|stopped|moved", PH_OPTION_WORD, offsetof(struct ph_ctl, wait_for),
		PH_OPTION_FOR, "what to wait for"},
	{"since", 0, "WHEN", PH_OPTION_TEXT, offsetof(struct ph_ctl, since), PH_OPTION_SINCE,
		"a duration ago (10m), a time (RFC 3339), or a sequence number"},
	{"follow", 'f', NULL, PH_OPTION_FLAG, offsetof(struct ph_ctl, follow), PH_OPTION_FOLLOW,
		"go on with what happens from now on"},
	{"lines", 'n', "N", PH_OPTION_COUNT, offsetof(struct ph_ctl, lines), PH_OPTION_LINES,
		"the last N lines of each instance, at most 10000; else 10"},
	{"dry-run", 0, NULL, PH_OPTION_FLAG, offsetof(struct ph_ctl, dry_run), PH_OPTION_DRY_RUN,
		"say what would change, and change nothing"},
	{"keep-going", 0, NULL, PH_OPTION_FLAG, offsetof(struct ph_ctl, keep_going),
		PH_OPTION_KEEP_GOING, "add what can be added, and keep it where others fail"},
	{"cluster", 0, NULL, PH_OPTION_FLAG, offsetof(struct ph_ctl, cluster), PH_OPTION_CLUSTER,
		"let the children of this node's file be as it says on all nodes"},
};

enum {
	LINES_DEFAULT = 10,
	LINES_MAX = 10000,
	OPTION_COUNT = sizeof(option_rows) / sizeof(option_rows[0])
};

const struct ph_option *ph_options_row(size_t i)
{
	return i < OPTION_COUNT ? &option_rows[i] : NULL;
}

static const uint64_t duration_ms_max = UINT64_C(366) * 24 * 3600 * 1000;

/* `n` bytes of `word` name the option; the nearest known word goes into the error. */
static const struct ph_option *option_find(const char *word, size_t n, struct ph_err *err)
{
	char *name = ph_ctl_made(strndup(word, n));
	struct ph_nearest nearest = ph_nearest_start(name);
	const struct ph_option *found = NULL;

	for (size_t i = 0; i < OPTION_COUNT && !found; i++) {
		if (!strcmp(option_rows[i].name, name))
			found = &option_rows[i];
		if (option_rows[i].help)
			ph_nearest_offer(&nearest, option_rows[i].name);
	}
	if (!found && nearest.best)
		(void)ph_err_set(err, EINVAL, "unknown option '--%s', did you mean '--%s'?", name,
			nearest.best);
	else if (!found)
		(void)ph_err_set(
			err, EINVAL, "unknown option '--%s'; see 'prochubctl --help'", name);
	free(name);
	return found;
}

static const struct ph_option *option_find_letter(const char *word, struct ph_err *err)
{
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		bool alone = word[2] == '\0' || option_rows[i].type != PH_OPTION_FLAG;

		if (word[1] == option_rows[i].letter && alone)
			return &option_rows[i];
	}
	(void)ph_err_set(err, EINVAL, "unknown option '%s'; see 'prochubctl --help'", word);
	return NULL;
}

/* "ready|stopped|moved" has the word `value`. */
static bool option_has_word(const char *words, const char *value)
{
	size_t n = strlen(value);

	for (const char *s = words; n; s++) {
		size_t length = strcspn(s, "|");

		if (length == n && !memcmp(s, value, n))
			return true;
		s += length;
		if (!*s)
			break;
	}
	return false;
}

int ph_options_duration(const char *text, uint64_t *ret_ms)
{
	static const struct {
		const char *unit;
		uint64_t ms;
	} units[] = {{"ms", 1}, {"s", 1000}, {"m", 60 * 1000}, {"h", 3600 * 1000}};
	char *end = NULL;
	uint64_t n;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno)
		return -ERANGE;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(end, units[i].unit) != 0)
			continue;
		if (n == 0 || n > duration_ms_max / units[i].ms)
			return -ERANGE;
		*ret_ms = n * units[i].ms;
		return 0;
	}
	return -EINVAL;
}

static int option_set_count(
	const struct ph_option *row, const char *value, char *field, struct ph_err *err)
{
	uint64_t n = 0;
	size_t digits = strspn(value, "0123456789");

	if (digits && digits < 8 && !value[digits])
		n = strtoull(value, NULL, 10);
	if (!digits || digits > 7 || value[digits] || n > LINES_MAX)
		return ph_err_set(err, EINVAL, "--%s: '%s' is not a whole number from 0 to %d",
			row->name, value, LINES_MAX);
	memcpy(field, &n, sizeof(n));
	return 0;
}

static int option_set(
	const struct ph_option *row, const char *value, struct ph_ctl *ctl, struct ph_err *err)
{
	char *field = (char *)ctl + row->offset;
	uint64_t ms = 0;
	bool on = true;
	int r;

	if (row->type == PH_OPTION_FLAG) {
		memcpy(field, &on, sizeof(on));
		return 0;
	}
	if (row->type == PH_OPTION_DURATION) {
		r = ph_options_duration(value, &ms);
		if (r == -ERANGE)
			return ph_err_set(err, EINVAL, "--%s: '%s' is not between 1ms and 8784h",
				row->name, value);
		if (r < 0)
			return ph_err_set(err, EINVAL,
				"--%s: '%s' is not a duration with a unit: 500ms, 10s, 5m, 1h",
				row->name, value);
		memcpy(field, &ms, sizeof(ms));
		return 0;
	}
	if (row->type == PH_OPTION_COUNT)
		return option_set_count(row, value, field, err);
	if (row->type == PH_OPTION_WORD && !option_has_word(row->value, value))
		return ph_err_set(
			err, EINVAL, "--%s: expected %s, not '%s'", row->name, row->value, value);
	if (!*value)
		return ph_err_set(err, EINVAL, "--%s: %s is empty", row->name, row->value);
	memcpy(field, &value, sizeof(value));
	return 0;
}

/* Takes the option at argv[*at] and its value; leaves *at on the last word taken. */
static int option_take(
	int argc, char **argv, int *at, struct ph_ctl *ctl, unsigned *given, struct ph_err *err)
{
	const char *word = argv[*at], *value = NULL;
	const struct ph_option *row;

	if (word[1] == '-') {
		size_t n = strcspn(word + 2, "=");

		row = option_find(word + 2, n, err);
		value = word[2 + n] == '=' ? word + 3 + n : NULL;
	} else {
		row = option_find_letter(word, err);
		value = word[2] ? word + 2 : NULL; /* -n5 */
	}
	if (!row)
		return -EINVAL;
	if (!row->help)
		return ph_err_set(
			err, ENOSYS, "'--%s' is not available in this version", row->name);
	if (row->type == PH_OPTION_FLAG && value)
		return ph_err_set(err, EINVAL, "--%s takes no value", row->name);
	if (row->type != PH_OPTION_FLAG && !value) {
		if (*at + 1 >= argc)
			return ph_err_set(
				err, EINVAL, "--%s needs a value: %s", row->name, row->value);
		value = argv[++*at];
	}
	*given |= row->bit;
	return option_set(row, value, ctl, err);
}

int ph_options_parse(int argc, char **argv, struct ph_ctl *ret, const char **ret_verb,
	unsigned *ret_given, struct ph_err *err)
{
	struct ph_ctl ctl = {.color = "auto", .lines = LINES_DEFAULT};
	const char *verb = NULL;
	unsigned given = 0;
	bool words_only = false;

	ctl.args = ph_ctl_made(calloc((size_t)argc + 1, sizeof(*ctl.args)));
	for (int i = 1; i < argc; i++) {
		const char *word = argv[i];

		if (!words_only && !strcmp(word, "--")) {
			words_only = true;
		} else if (!words_only && word[0] == '-' && word[1]) {
			int r = option_take(argc, argv, &i, &ctl, &given, err);

			if (r < 0) {
				free(ctl.args);
				return r;
			}
		} else if (!verb) {
			verb = word;
		} else {
			ctl.args[ctl.n_args++] = word;
		}
	}
	*ret = ctl;
	*ret_verb = verb;
	*ret_given = given;
	return 0;
}

int ph_options_check(const char *verb, unsigned allowed, unsigned given, struct ph_err *err)
{
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		if (option_rows[i].bit & given & ~allowed)
			return ph_err_set(err, EINVAL,
				"--%s does not go with '%s'; see 'prochubctl %s --help'",
				option_rows[i].name, verb, verb);
	}
	return 0;
}

void ph_options_help(unsigned bits)
{
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		const struct ph_option *row = &option_rows[i];
		char letter[8] = "    ", left[64];

		if (!row->help || (bits ? !(row->bit & bits) : row->bit))
			continue;
		if (row->letter)
			(void)snprintf(letter, sizeof(letter), "-%c, ", row->letter);
		(void)snprintf(left, sizeof(left), "%s--%s%s%s", letter, row->name,
			row->value ? "=" : "", row->value ? row->value : "");
		printf("  %-31s %s\n", left, row->help);
	}
}

void ph_options_later(void)
{
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		if (!option_rows[i].help)
			printf(" --%s", option_rows[i].name);
	}
}

void ph_options_synopsis(unsigned bits)
{
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		const struct ph_option *row = &option_rows[i];

		if (row->bit & bits)
			printf(" [--%s%s%s]", row->name, row->value ? "=" : "",
				row->value ? row->value : "");
	}
}
