/* shell_ctl_args.c - the fields of a request, strictly: a wrong one is named, nothing happens. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/codec.h"
#include "shell_ctl_int.h"
#include "shell_emit.h"
#include "shell_logs.h"

#define ID_DIGITS_MIN 4
#define TIMEOUT_MAX_MS (UINT64_C(366) * 24 * 3600 * 1000)

#define X(name, word) word,
static const char *const arg_words[] = {PH_CTL_ARGS(X) NULL};
#undef X

static int expected(const char *word, const char *what, struct ph_err *err)
{
	return ph_err_set(err, EBADMSG, "%s: expected %s", word, what);
}

static int read_whole(
	const json_t *value, uint64_t max, const char *word, uint64_t *ret, struct ph_err *err)
{
	json_int_t v = json_integer_value(value);
	if (!json_is_integer(value) || v < 0 || (uint64_t)v > max)
		return ph_err_set(err, EBADMSG, "%s: expected a whole number from 0 to %llu", word,
			(unsigned long long)max);
	*ret = (uint64_t)v;
	return 0;
}

static int read_flag(const json_t *value, const char *word, bool *ret, struct ph_err *err)
{
	if (!json_is_boolean(value))
		return expected(word, "true or false", err);
	*ret = json_is_true(value);
	return 0;
}

static int read_name(const json_t *value, const char *word, struct ph_name *ret, struct ph_err *err)
{
	const char *text = json_string_value(value);
	if (!ph_name_valid(text))
		return expected(
			word, "a name (1-63 of A-Z a-z 0-9 . _ -, not starting with . or -)", err);
	*ret = ph_name_of(text);
	return 0;
}

/* "room" or "room/17" */
static bool read_filter(const char *text, struct ph_view_filter *ret)
{
	struct ph_view_filter filter = {0};
	char name[PH_NAME_SIZE], *end = NULL;
	size_t n = text ? strcspn(text, "/") : 0;
	if (!text || n >= sizeof name)
		return false;
	memcpy(name, text, n);
	name[n] = '\0';
	if (text[n]) {
		if (text[n + 1] < '0' || text[n + 1] > '9')
			return false;
		errno = 0;
		unsigned long long instance = strtoull(text + n + 1, &end, 10);
		if (errno || *end || instance > UINT32_MAX)
			return false;
		filter.has_instance = true;
		filter.instance = (uint32_t)instance;
	}
	if (!ph_name_valid(name))
		return false;
	filter.child = ph_name_of(name);
	*ret = filter;
	return true;
}

static int read_children(const json_t *value, struct ph_ctl_args *ret, struct ph_err *err)
{
	size_t n = json_array_size(value);
	if (!json_is_array(value))
		return expected("children", "a list of names", err);
	ret->filters = calloc(n + 1, sizeof *ret->filters);
	if (!ret->filters)
		return ph_err_set(err, ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++) {
		const char *text = json_string_value(json_array_get(value, i));
		if (ph_name_is_pattern(text))
			ret->filters[i].child = ph_name_of(text);
		else if (!read_filter(text, &ret->filters[i]))
			return ph_err_set(err, EBADMSG,
				"children[%zu]: expected NAME, NAME/INSTANCE or a pattern of names",
				i);
	}
	ret->n_filters = n;
	return 0;
}

static int read_child(const json_t *object, struct ph_ctl_args *ret, struct ph_err *err)
{
	const json_t *instance = json_object_get(object, "instance");
	uint64_t number = 0;
	free(ret->filters);
	ret->n_filters = 0;
	ret->filters = calloc(1, sizeof *ret->filters);
	if (!ret->filters)
		return ph_err_set(err, ENOMEM, "out of memory");
	int error = read_name(json_object_get(object, "child"), "child", &ret->filters->child, err);
	if (!error && instance && !json_is_null(instance)) {
		error = read_whole(instance, UINT32_MAX, "instance", &number, err);
		ret->filters->has_instance = true;
		ret->filters->instance = (uint32_t)number;
	}
	ret->n_filters = 1;
	return error;
}

static int read_for(const json_t *value, struct ph_ctl_args *ret, struct ph_err *err)
{
	static const char *const words[] = {
		[PH_WAIT_READY] = "ready",
		[PH_WAIT_STOPPED] = "stopped",
		[PH_WAIT_MOVED] = "moved",
		NULL,
	};
	const char *text = json_string_value(value);
	int i = text ? ph_codec_word(words, text) : -1;
	if (i < 0)
		return expected("for", "\"ready\", \"stopped\" or \"moved\"", err);
	ret->wait_for = (enum ph_wait_for)i;
	return 0;
}

static int read_since(const json_t *value, struct ph_ctl_args *ret, struct ph_err *err)
{
	if (json_is_integer(value))
		return read_whole(value, PH_CODEC_WHOLE_MAX, "since", &ret->after, err);
	if (!json_is_string(value) || ph_time_parse(json_string_value(value), &ret->since_ms))
		return expected("since", "the number of an event or a time of RFC 3339", err);
	return 0;
}

static int read_lines(const json_t *value, struct ph_ctl_args *ret, struct ph_err *err)
{
	uint64_t lines = 0;
	int error = read_whole(value, PH_OUTPUT_TAIL_LINES, "lines", &lines, err);
	if (!error)
		ret->lines = (uint32_t)lines;
	return error;
}

static int read_id(const json_t *value, struct ph_ctl_args *ret, struct ph_err *err)
{
	struct ph_id id;
	if (!json_is_string(value) || ph_id_parse(json_string_value(value), &id))
		return expected("id", "32 lower-case hex digits", err);
	ret->id = json_string_value(value);
	return 0;
}

/* The first digits of an id are enough where no other one begins so. */
static int read_migration(const json_t *value, struct ph_ctl_args *ret, struct ph_err *err)
{
	char whole[PH_ID_TEXT_SIZE];
	const char *text = json_string_value(value);
	size_t n = text ? strlen(text) : 0;
	memset(whole, '0', sizeof whole - 1);
	whole[sizeof whole - 1] = '\0';
	if (n < ID_DIGITS_MIN || n >= sizeof whole)
		return expected("migration", "4 to 32 lower-case hex digits", err);
	memcpy(whole, text, n);
	if (ph_id_parse(whole, &ret->migration))
		return expected("migration", "4 to 32 lower-case hex digits", err);
	ret->migration_digits = (uint32_t)n;
	return 0;
}

static int read_one(
	const json_t *object, enum ph_ctl_arg arg, struct ph_ctl_args *ret, struct ph_err *err)
{
	const char *word = arg_words[arg];
	const json_t *value = json_object_get(object, word);

	switch (arg) {
	case PH_CTL_CHILD:
		return read_child(object, ret, err);
	case PH_CTL_INSTANCE:
		return 0; /* with `child` */
	case PH_CTL_CHILDREN:
		return ret->given & PH_CTL_BIT(CHILD) ? 0 : read_children(value, ret, err);
	case PH_CTL_NODE:
		return read_name(value, word, &ret->node, err);
	case PH_CTL_FORCE:
		return read_flag(value, word, &ret->force, err);
	case PH_CTL_NO_WAIT:
		return read_flag(value, word, &ret->no_wait, err);
	case PH_CTL_FOR:
		return read_for(value, ret, err);
	case PH_CTL_TIMEOUT:
		return read_whole(value, TIMEOUT_MAX_MS, word, &ret->timeout_ms, err);
	case PH_CTL_FOLLOW:
		return read_flag(value, word, &ret->follow, err);
	case PH_CTL_SINCE:
		return read_since(value, ret, err);
	case PH_CTL_LINES:
		return read_lines(value, ret, err);
	case PH_CTL_ID:
		return read_id(value, ret, err);
	case PH_CTL_MIGRATION:
		return read_migration(value, ret, err);
	case PH_CTL_DRY_RUN:
		return read_flag(value, word, &ret->dry_run, err);
	case PH_CTL_CLUSTER:
		return read_flag(value, word, &ret->cluster, err);
	case PH_CTL_KEEP_GOING:
		return read_flag(value, word, &ret->keep_going, err);
	case PH_CTL_CONFIG:
		ret->config = value;
		break;
	case PH_CTL_SIGNAL:
		ret->signal = value;
		break;
	case PH_CTL_FILE:
		ret->file = json_string_value(value);
		return ret->file ? 0 : expected(word, "a text", err);
	case PH_CTL_ARG_COUNT:
		break;
	}
	return 0;
}

int ph_ctl_args_read(const json_t *object, unsigned known, unsigned required,
	struct ph_ctl_args *ret, struct ph_err *err)
{
	*ret = (struct ph_ctl_args){0};
	for (unsigned i = 0; i < PH_CTL_ARG_COUNT; i++) {
		const json_t *value = json_object_get(object, arg_words[i]);
		bool given = value && !json_is_null(value);
		if (!given && (required >> i & 1))
			return ph_err_set(err, EBADMSG, "%s: missing", arg_words[i]);
		if (!given || !(known >> i & 1))
			continue;
		ret->given |= 1u << i;
		int error = read_one(object, (enum ph_ctl_arg)i, ret, err);
		if (error)
			return error;
	}
	if ((ret->given & PH_CTL_BIT(INSTANCE)) && !(ret->given & PH_CTL_BIT(CHILD)))
		return ph_err_set(err, EBADMSG, "instance: there is no child that it is one of");
	return 0;
}

void ph_ctl_args_fini(struct ph_ctl_args *args)
{
	free(args->filters);
}
