#include "conf/options.h"

#include <assert.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define NOT(p, t, h, d, c, text) \
	{.path = p, \
		.type = PH_CONF_##t, \
		.here = PH_CONF_##h, \
		.fallback = d, \
		.max = UINT32_MAX, \
		.choices = c, \
		.help = text},

#define OPT_OF(holder, p, t, f, d, lo, hi, c, fl, text) \
	{.path = p, \
		.type = PH_CONF_##t, \
		.here = PH_CONF_YES, \
		.offset = offsetof(struct holder, f), \
		.fallback = d, \
		.min = lo, \
		.max = hi, \
		.choices = c, \
		.flags = PH_CONF_##fl, \
		.help = text},

#define DAEMON(...) OPT_OF(ph_conf, __VA_ARGS__)
#define CHILD(...) OPT_OF(ph_conf_child, __VA_ARGS__)
#define HOOK(...) OPT_OF(ph_conf_hook, __VA_ARGS__)
#define GROUP(...) OPT_OF(ph_conf_group, __VA_ARGS__)

static const struct ph_conf_option daemon_rows[] = {PH_CONF_DAEMON_OPTIONS(DAEMON, NOT)};
static const struct ph_conf_option child_rows[] = {PH_CONF_CHILD_OPTIONS(CHILD, NOT)};
static const struct ph_conf_option hook_rows[] = {PH_CONF_HOOK_OPTIONS(HOOK, NOT)};
static const struct ph_conf_option group_rows[] = {PH_CONF_GROUP_OPTIONS(GROUP, NOT)};

#define COUNT_OF(rows) (sizeof(rows) / sizeof(rows)[0])
const struct ph_conf_table ph_conf_daemon_table = {daemon_rows, COUNT_OF(daemon_rows)};
const struct ph_conf_table ph_conf_child_table = {child_rows, COUNT_OF(child_rows)};
const struct ph_conf_table ph_conf_hook_table = {hook_rows, COUNT_OF(hook_rows)};
const struct ph_conf_table ph_conf_group_table = {group_rows, COUNT_OF(group_rows)};

const char *ph_conf_type_words(enum ph_conf_type type)
{
	static const char *const words[] = {
#define X(name, field, what) what,
		PH_CONF_TYPES(X)
#undef X
	};
	return words[type];
}

const struct ph_conf_option *ph_conf_option_find(
	const struct ph_conf_table *table, const char *path)
{
	for (size_t i = 0; i < table->n; i++)
		if (strcmp(table->rows[i].path, path) == 0)
			return &table->rows[i];
	return NULL;
}

size_t ph_conf_option_index(const struct ph_conf_table *table, const char *path)
{
	const struct ph_conf_option *o = ph_conf_option_find(table, path);
	assert(o);
	return (size_t)(o - table->rows);
}

enum ph_conf_section ph_conf_section_find(const struct ph_conf_table *table, const char *path)
{
	enum ph_conf_section found = PH_CONF_SECTION_NONE;
	size_t n = strlen(path);
	for (size_t i = 0; i < table->n; i++) {
		const char *p = table->rows[i].path;
		if (strncmp(p, path, n) != 0 || p[n] != '.')
			continue;
		if (table->rows[i].here != PH_CONF_NO)
			return PH_CONF_SECTION_OPEN;
		found = PH_CONF_SECTION_NOT_AVAILABLE;
	}
	return found;
}

bool ph_conf_choice(const struct ph_conf_option *o, unsigned i, struct ph_name *ret_word,
	bool *available, bool *open)
{
	const char *at = o->choices;
	while (at && i > 0) {
		at = strchr(at, '|');
		at = at ? at + 1 : NULL;
		i--;
	}
	if (!at)
		return false;
	if (available)
		*available = *at != '!';
	if (*at == '!')
		at++;
	size_t n = strcspn(at, "|");
	if (open)
		*open = at[n - 1] == ':';
	(void)snprintf(ret_word->s, sizeof ret_word->s, "%.*s", (int)n, at);
	return true;
}

#define WORD_MAX 64
#define FAR 1000u

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

unsigned ph_conf_distance(const char *a, const char *b)
{
	size_t na = strlen(a), nb = strlen(b);
	if (na > WORD_MAX || nb > WORD_MAX)
		return FAR;
	/* optimal string alignment; three rows are kept, the last two for swaps */
	unsigned rows[3][WORD_MAX + 1] = {{0}};
	for (unsigned j = 0; j <= nb; j++)
		rows[0][j] = j;
	for (unsigned i = 1; i <= na; i++) {
		unsigned *now = rows[i % 3], *last = rows[(i + 2) % 3], *older = rows[(i + 1) % 3];
		now[0] = i;
		for (unsigned j = 1; j <= nb; j++) {
			unsigned v = last[j - 1] + (a[i - 1] != b[j - 1]);
			v = least(v, least(last[j], now[j - 1]) + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				v = least(v, older[j - 2] + 1);
			now[j] = v;
		}
	}
	return rows[na % 3][nb];
}

bool ph_conf_near(const char *word, unsigned distance)
{
	size_t n = strlen(word);
	return distance < n && distance <= (n < 6 ? 1 : n / 3);
}

struct nearest {
	const char *word;
	unsigned distance;
	char *ret;
	size_t size;
};

static void consider(struct nearest *best, const char *known, size_t n, const char *path)
{
	char text[WORD_MAX];
	if (n >= sizeof text || (n == 1 && *known == '*'))
		return;
	memcpy(text, known, n);
	text[n] = '\0';
	unsigned d = ph_conf_distance(best->word, text);
	if (d >= best->distance || !ph_conf_near(best->word, d))
		return;
	best->distance = d;
	if (d == 0)
		(void)snprintf(best->ret, best->size, "%.*s", (int)(known + n - path), path);
	else
		(void)snprintf(best->ret, best->size, "%s", text);
}

void ph_conf_nearest(const struct ph_conf_table *table, const char *section, const char *word,
	char *ret, size_t size)
{
	struct nearest best = {.word = word, .distance = FAR, .ret = ret, .size = size};
	size_t skip = strlen(section);
	ret[0] = '\0';
	if (table == &ph_conf_daemon_table && skip == 0) {
		consider(&best, "children", 8, "children");
		consider(&best, "defaults", 8, "defaults");
		consider(&best, "groups", 6, "groups");
		consider(&best, "hooks", 5, "hooks");
	}
	/* words of this section go before those that belong deeper */
	for (int deep = 0; deep < 2; deep++) {
		for (size_t i = 0; i < table->n; i++) {
			const char *path = table->rows[i].path, *at = path + skip;
			if (strncmp(path, section, skip) != 0)
				continue;
			for (int level = 0; *at != '\0'; level++) {
				size_t n = strcspn(at, ".");
				if ((level > 0) == (deep > 0))
					consider(&best, at, n, path + skip);
				at += n + (at[n] == '.');
			}
		}
		if (best.distance != FAR && deep == 0)
			return;
	}
}
