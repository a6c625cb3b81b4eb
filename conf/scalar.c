#include "conf/scalar.h"
#include "base/emits.h"
#include "conf/address.h"
#include "conf/errors.h"
#include "conf/expand.h"
#include "conf/probe.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int unexpected(const struct ph_conf_option *o, const char *text, struct ph_err *err)
{
	char shown[PH_CONF_SHOWN_SIZE];
	if (o->type == PH_CONF_NAMES)
		return ph_err_set(err, EINVAL, "'%s' is not %s", ph_conf_shown(text, shown),
			ph_conf_type_words(PH_CONF_NAME));
	if (o->type == PH_CONF_TEXT) /* which takes every other one */
		return ph_err_set(err, EINVAL, "expected a name, found an empty text");
	return ph_err_set(err, EINVAL, "'%s' is not %s", ph_conf_shown(text, shown),
		ph_conf_type_words(o->type));
}

/* Digits and what follows them. False without digits or past 64 bits. */
static bool digits(const char *text, uint64_t *ret, const char **ret_rest)
{
	uint64_t v = 0;
	const char *p = text;
	for (; isdigit((unsigned char)*p); p++)
		if (__builtin_mul_overflow(v, 10u, &v) ||
			__builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
			return false;
	*ret = v;
	*ret_rest = p;
	return p != text;
}

struct unit {
	enum ph_conf_type type;
	const char *word;
	uint64_t times;
};

/* the largest unit of a type first: it is printed where it fits */
static const struct unit units[] = {
	{PH_CONF_DURATION, "h", 3600000},
	{PH_CONF_DURATION, "m", 60000},
	{PH_CONF_DURATION, "s", 1000},
	{PH_CONF_DURATION, "ms", 1},
	{PH_CONF_SIZE, "G", UINT64_C(1) << 30},
	{PH_CONF_SIZE, "M", UINT64_C(1) << 20},
	{PH_CONF_SIZE, "K", UINT64_C(1) << 10},
	{PH_CONF_SIZE, "", 1},
	{PH_CONF_PERCENT, "%", 1},
	{PH_CONF_COUNT, "", 1},
};
#define UNITS (sizeof units / sizeof *units)

static bool parse_units(enum ph_conf_type type, const char *text, uint64_t *ret)
{
	uint64_t v = 0;
	const char *rest;
	if (!digits(text, &v, &rest))
		return false;
	if (type == PH_CONF_DURATION && v == 0 && *rest == '\0') {
		*ret = 0; /* nothing is nothing in every unit */
		return true;
	}
	for (size_t i = 0; i < UNITS; i++)
		if (units[i].type == type && strcmp(units[i].word, rest) == 0)
			return !__builtin_mul_overflow(v, units[i].times, ret);
	return false;
}

static bool parse_weight(const char *text, uint64_t *ret)
{
	uint64_t whole = 0, part = 0;
	const char *rest;
	if (!digits(text, &whole, &rest) || whole > UINT32_MAX)
		return false;
	if (*rest == '.') {
		const char *from = rest + 1;
		if (!digits(from, &part, &rest) || rest - from > 3)
			return false;
		for (long n = rest - from; n < 3; n++)
			part *= 10;
	}
	*ret = whole * 1000 + part;
	return *rest == '\0';
}

static bool parse_mode(const char *text, uint64_t *ret)
{
	size_t n = strspn(text, "01234567");
	if (n == 0 || n > 5 || text[n] != '\0')
		return false;
	*ret = strtoul(text, NULL, 8);
	return true;
}

#define SIGNALS 32 /* real-time signals have no names that all machines share */

static bool parse_signal(const char *text, uint64_t *ret)
{
	if (strncmp(text, "SIG", 3) == 0)
		text += 3;
	for (int i = 1; i < SIGNALS; i++) {
		const char *name = sigabbrev_np(i);
		if (name && strcmp(name, text) == 0) {
			*ret = (uint64_t)i;
			return true;
		}
	}
	return false;
}

static bool parse_bool(const char *text, uint64_t *ret)
{
	*ret = strcmp(text, "true") == 0;
	return *ret || strcmp(text, "false") == 0;
}

/* The choices that this version has, for an error; and the one that was meant. */
static int no_choice(const struct ph_conf_option *o, const char *text, struct ph_err *err)
{
	char list[200] = "", hint[100] = "", shown[PH_CONF_SHOWN_SIZE];
	struct ph_name word;
	unsigned best = UINT32_MAX;
	bool here;
	for (unsigned i = 0; ph_conf_choice(o, i, &word, &here, NULL); i++) {
		unsigned d = ph_conf_distance(text, word.s);
		if (d < best && ph_conf_near(text, d)) {
			best = d;
			(void)snprintf(hint, sizeof hint, ", did you mean '%s'?", word.s);
		}
		size_t n = strlen(list);
		if (here)
			(void)snprintf(list + n, sizeof list - n, "%s%s", n ? ", " : "", word.s);
	}
	return ph_err_set(err, EINVAL, "'%s' is not %s %s%s", ph_conf_shown(text, shown),
		ph_conf_type_words(PH_CONF_ENUM), list, hint);
}

static int parse_enum(
	const struct ph_conf_option *o, const char *text, uint64_t *ret, struct ph_err *err)
{
	struct ph_name word;
	bool here, open;
	for (unsigned i = 0; ph_conf_choice(o, i, &word, &here, &open); i++) {
		bool same = open ? strncmp(text, word.s, strlen(word.s)) == 0
				 : strcmp(text, word.s) == 0;
		if (!same)
			continue;
		char shown[PH_CONF_SHOWN_SIZE];
		if (!here)
			return ph_err_set(err, EINVAL, "'%s' is not available in this version",
				ph_conf_shown(text, shown));
		*ret = i;
		return 0;
	}
	return no_choice(o, text, err);
}

static bool parse_plain(enum ph_conf_type type, const char *text, uint64_t *ret)
{
	if (type == PH_CONF_BOOL)
		return parse_bool(text, ret);
	if (type == PH_CONF_WEIGHT)
		return parse_weight(text, ret);
	if (type == PH_CONF_MODE)
		return parse_mode(text, ret);
	if (type == PH_CONF_SIGNAL)
		return parse_signal(text, ret);
	return parse_units(type, text, ret);
}

int ph_conf_number_parse(
	const struct ph_conf_option *o, const char *text, uint64_t *ret, struct ph_err *err)
{
	uint64_t v = 0;
	if (o->type == PH_CONF_ENUM)
		return parse_enum(o, text, ret, err);
	if (!parse_plain(o->type, text, &v))
		return unexpected(o, text, err);
	if (o->max && (v < o->min || v > o->max)) {
		char low[64], high[64], shown[PH_CONF_SHOWN_SIZE];
		ph_conf_number_text(o, o->min, low, sizeof low);
		ph_conf_number_text(o, o->max, high, sizeof high);
		return ph_err_set(err, EINVAL, "'%s' is out of range (%s to %s)",
			ph_conf_shown(text, shown), low, high);
	}
	*ret = v;
	return 0;
}

static void text_with_unit(enum ph_conf_type type, uint64_t v, char *ret, size_t size)
{
	/* 0 is "0s", not "0h" */
	uint64_t shape = v == 0 ? 1000 : v;
	for (size_t i = 0; i < UNITS; i++) {
		if (units[i].type != type || shape % units[i].times != 0)
			continue;
		(void)snprintf(ret, size, "%" PRIu64 "%s", v / units[i].times, units[i].word);
		return;
	}
}

static void text_of_weight(uint64_t v, char *ret, size_t size)
{
	int n = snprintf(ret, size, "%" PRIu64 ".%03" PRIu64, v / 1000, v % 1000);
	while (n > 2 && ret[n - 1] == '0' && ret[n - 2] != '.')
		ret[--n] = '\0';
}

void ph_conf_number_text(const struct ph_conf_option *o, uint64_t v, char *ret, size_t size)
{
	struct ph_name word;
	ret[0] = '\0';
	if (o->type == PH_CONF_BOOL)
		(void)snprintf(ret, size, "%s", v ? "true" : "false");
	else if (o->type == PH_CONF_WEIGHT)
		text_of_weight(v, ret, size);
	else if (o->type == PH_CONF_MODE)
		(void)snprintf(ret, size, "%04" PRIo64, v);
	else if (o->type == PH_CONF_SIGNAL)
		(void)snprintf(ret, size, "%s", sigabbrev_np((int)v));
	else if (o->type != PH_CONF_ENUM)
		text_with_unit(o->type, v, ret, size);
	else if (ph_conf_choice(o, (unsigned)v, &word, NULL, NULL))
		(void)snprintf(ret, size, "%s", word.s);
}

#define PATH_BYTES 4095 /* PATH_MAX without its NUL */

/* A label or a pattern: they travel joined by commas. */
static bool label(const char *text)
{
	size_t n = strlen(text);
	for (const char *p = text; *p; p++)
		if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 0x7f || *p == ',')
			return false;
	return n >= 1 && n <= 63;
}

static bool string_valid(const struct ph_conf_option *o, const char *text)
{
	if (o->type == PH_CONF_PATH)
		return text[0] == '/' && strlen(text) <= PATH_BYTES;
	if (o->type == PH_CONF_LABELS || o->type == PH_CONF_PATTERNS)
		return label(text);
	if (o->type == PH_CONF_NAMES)
		return ph_name_valid(text);
	return o->type == PH_CONF_COMMAND || text[0] != '\0';
}

static int program_check(const char *text, struct ph_err *err)
{
	char shown[PH_CONF_SHOWN_SIZE];
	if (text[0] == '\0')
		return ph_err_set(err, EINVAL, "the program's name is empty");
	if (text[0] != '/' && strchr(text, '/'))
		return ph_err_set(err, EINVAL,
			"'%s' is neither an absolute path nor a name without '/' (looked up in "
			"PATH)",
			ph_conf_shown(text, shown));
	return 0;
}

/* An event, or what else can be in `on`; and the one that was meant. */
static int event_check(const char *text, struct ph_err *err)
{
#define X(name, word) word,
	static const char *const words[] = {PH_EMITS(X) PH_CONF_ON_CONFLICT};
#undef X
	const char *near = NULL;
	char shown[PH_CONF_SHOWN_SIZE];
	unsigned best = UINT32_MAX;
	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		unsigned d = ph_conf_distance(text, words[i]);
		if (d == 0)
			return 0;
		if (d < best && ph_conf_near(text, d)) {
			best = d;
			near = words[i];
		}
	}
	return ph_err_set(err, EINVAL, "'%s' is not an event%s%s%s", ph_conf_shown(text, shown),
		near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "");
}

/* "tcp:8080" of `ready`; "8080" of health.tcp. */
static int probe_check(const struct ph_conf_option *o, const char *text, struct ph_err *err)
{
	uint64_t choice;
	const char *dot = strrchr(o->path, '.');
	char *whole = NULL;
	if (o->type == PH_CONF_READY) {
		int rc = parse_enum(o, text, &choice, err);
		return rc < 0 || !strchr(text, ':') ? rc : ph_conf_probe_check(text, err);
	}
	if (asprintf(&whole, "%s:%s", dot ? dot + 1 : o->path, text) < 0)
		return -ENOMEM;
	int rc = ph_conf_probe_check(whole, err);
	free(whole);
	return rc;
}

static bool is_address(enum ph_conf_type type)
{
	return type == PH_CONF_LISTEN || type == PH_CONF_PEERS || type == PH_CONF_HOST;
}

static int address_parse(
	const struct ph_conf_option *o, const char *text, char **ret, struct ph_err *err)
{
	struct ph_conf_address a;
	char full[PH_CONF_HOST_SIZE + 16];
	bool host = o->type == PH_CONF_HOST;
	if ((host ? ph_conf_host_parse(text, &a) : ph_conf_address_parse(text, &a)) < 0)
		return unexpected(o, text, err);
	/* the bus binds to an address, and only this name is the same everywhere */
	const char *name = a.host;
	if (o->type == PH_CONF_LISTEN && !a.numeric) {
		if (!a.loopback)
			return unexpected(o, text, err);
		name = "127.0.0.1";
	}
	if (host)
		(void)snprintf(full, sizeof full, "%s", name);
	else
		(void)snprintf(full, sizeof full, "tcp://%s:%u", name, a.port);
	*ret = strdup(full);
	return *ret ? 0 : -ENOMEM;
}

int ph_conf_string_parse(const struct ph_conf_option *o, const char *text, bool first, char **ret,
	struct ph_err *err)
{
	int rc = 0;
	if (is_address(o->type))
		return address_parse(o, text, ret, err);
	if (!string_valid(o, text))
		return unexpected(o, text, err);
	if (o->type == PH_CONF_COMMAND && first)
		rc = program_check(text, err);
	if (o->type == PH_CONF_EVENTS)
		rc = event_check(text, err);
	if (rc == 0 && (o->flags & PH_CONF_TEMPLATE))
		rc = ph_conf_template_check(text, err);
	if (rc == 0 && (o->type == PH_CONF_READY || o->type == PH_CONF_PROBE))
		rc = probe_check(o, text, err);
	if (rc < 0)
		return rc;
	char *copy = strdup(text);
	if (!copy)
		return -ENOMEM;
	*ret = copy;
	return 0;
}
