#include "conf/load.h"
#include "conf/value.h"
#include "conf/write.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* One row after the other, with what its path has in common with the row before. */
struct printer {
	FILE *out;
	const char *last; /* path of the row before; "" at the beginning */
	int indent;	  /* of the options at the top, in YAML */
};

/* The numbers of checks that nobody makes: a file that has only them is refused. */
static bool idle(const struct ph_conf_table *table, const struct ph_conf_option *o,
	const struct ph_conf_child *child)
{
	return table == &ph_conf_child_table && strncmp(o->path, "health.", 7) == 0 &&
	       !child->health.tcp && !child->health.http && !child->health.exec;
}

static bool shown(const struct ph_conf_option *o, const void *holder)
{
	return o->here == PH_CONF_YES && !ph_conf_value_unset(o, holder);
}

/* Bytes of the sections that both paths are in: 8 for "restart.policy" and "restart.delay". */
static size_t common(const char *a, const char *b)
{
	size_t n = 0;
	for (size_t i = 0; a[i] && a[i] == b[i]; i++)
		if (a[i] == '.')
			n = i + 1;
	return n;
}

static int depth(const char *path, size_t n)
{
	int dots = 0;
	for (size_t i = 0; i < n && path[i]; i++)
		dots += path[i] == '.';
	return dots;
}

static void json_close(struct printer *p, const char *next)
{
	size_t same = common(p->last, next);
	for (int i = depth(p->last + same, SIZE_MAX); i > 0; i--)
		(void)fputc('}', p->out);
}

/* `only`: a slot that nobody has set is not written, for it has no value. */
static void json_rows(FILE *out, const struct ph_conf_table *table, const void *holder,
	const struct ph_conf_origin *origin)
{
	struct printer p = {.out = out, .last = ""};
	for (size_t i = 0; i < table->n; i++) {
		const struct ph_conf_option *o = &table->rows[i];
		bool empty = o->type == PH_CONF_COUNT && !o->fallback && origin &&
			     origin[i].from == PH_CONF_FROM_DEFAULT;
		if (!shown(o, holder) || empty)
			continue;
		json_close(&p, o->path);
		if (*p.last)
			(void)fputc(',', out);
		const char *at = o->path + common(p.last, o->path);
		for (const char *dot = strchr(at, '.'); dot; at = dot + 1, dot = strchr(at, '.'))
			(void)fprintf(out, "\"%.*s\":{", (int)(dot - at), at);
		(void)fprintf(out, "\"%s\":", at);
		ph_conf_write_value(out, o, holder, PH_CONF_JSON);
		p.last = o->path;
	}
	json_close(&p, "");
}

static void write_child(FILE *out, const struct ph_conf_child *child)
{
	const struct ph_conf_group *group = child->in_group;
	(void)fputc('{', out);
	json_rows(out, &ph_conf_child_table, child, child->origin);
	if (group) {
		(void)fprintf(out, ",\"" PH_CONF_IN_GROUP "\":{\"%s\":{", group->name.s);
		json_rows(out, &ph_conf_group_table, group, NULL);
		(void)fputs("}}", out);
	}
	(void)fputs(child->added ? ",\"added\":true}" : "}", out); /* options are before it */
}

static char *closed(FILE *out, char **text)
{
	bool failed = ferror(out);
	if (fclose(out) != 0 || failed) {
		free(*text);
		return NULL;
	}
	return *text;
}

char *ph_conf_child_text(const struct ph_conf_child *child)
{
	char *text = NULL;
	size_t n;
	FILE *out = open_memstream(&text, &n);
	if (!out)
		return NULL;
	write_child(out, child);
	return closed(out, &text);
}

char *ph_conf_text(const struct ph_conf *conf)
{
	char *text = NULL;
	size_t n;
	FILE *out = open_memstream(&text, &n);
	if (!out)
		return NULL;
	(void)fputc('{', out);
	json_rows(out, &ph_conf_daemon_table, conf, conf->origin);
	for (size_t i = 0; i < conf->n_hooks; i++) {
		const struct ph_conf_hook *hook = conf->hooks[i];
		(void)fprintf(out, "%s\"%s\":{", i > 0 ? "," : ",\"hooks\":{", hook->name.s);
		json_rows(out, &ph_conf_hook_table, hook, hook->origin);
		(void)fputs(i + 1 < conf->n_hooks ? "}" : "}}", out);
	}
	for (size_t i = 0; i < conf->n_groups; i++) {
		const struct ph_conf_group *group = conf->groups[i];
		(void)fprintf(out, "%s\"%s\":{", i > 0 ? "," : ",\"groups\":{", group->name.s);
		json_rows(out, &ph_conf_group_table, group, group->origin);
		(void)fputs(i + 1 < conf->n_groups ? "}" : "}}", out);
	}
	(void)fputs(",\"children\":{", out);
	for (size_t i = 0; i < conf->n_children; i++) {
		(void)fprintf(out, "%s\"%s\":", i > 0 ? "," : "", conf->children[i]->name.s);
		write_child(out, conf->children[i]);
	}
	(void)fputs("}}", out);
	return closed(out, &text);
}

static void write_file(FILE *out, const char *file)
{
	/* a name with a line break must not end the comment */
	for (const char *p = file; *p; p++)
		(void)fputc((unsigned char)*p < 0x20 || *p == 0x7f ? '?' : *p, out);
}

static void write_origin(FILE *out, const struct ph_conf_origin *o)
{
	(void)fputs("  # ", out);
	if (o->from == PH_CONF_FROM_DEFAULT || (!o->file && o->from == PH_CONF_FROM_FILE)) {
		(void)fputs("default", out);
	} else if (!o->file) {
		(void)fputs("defaults", out);
	} else {
		if (o->from == PH_CONF_FROM_DEFAULTS)
			(void)fputs("defaults (", out);
		write_file(out, o->file);
		(void)fprintf(out, ":%u%s", o->line, o->from == PH_CONF_FROM_DEFAULTS ? ")" : "");
	}
	(void)fputc('\n', out);
}

static void yaml_rows(struct printer *p, const struct ph_conf_table *table, const void *holder,
	const struct ph_conf_origin *origin)
{
	for (size_t i = 0; i < table->n; i++) {
		const struct ph_conf_option *o = &table->rows[i];
		bool empty = o->type == PH_CONF_COUNT && !o->fallback &&
			     origin[i].from == PH_CONF_FROM_DEFAULT;
		if (!shown(o, holder) || empty || idle(table, o, holder))
			continue;
		size_t same = common(p->last, o->path);
		int level = p->indent + depth(o->path, same);
		const char *at = o->path + same;
		for (const char *dot = strchr(at, '.'); dot; at = dot + 1, dot = strchr(at, '.'))
			(void)fprintf(p->out, "%*s%.*s:\n", 2 * level++, "", (int)(dot - at), at);
		(void)fprintf(p->out, "%*s%s: ", 2 * level, "", at);
		ph_conf_write_value(p->out, o, holder, PH_CONF_YAML);
		write_origin(p->out, &origin[i]);
		p->last = o->path;
	}
}

/* The name of a child or hook as a key, and its options. */
static void yaml_named(FILE *out, const struct ph_name *name, const struct ph_conf_origin *at,
	const struct ph_conf_table *table, const void *holder, const struct ph_conf_origin *origin)
{
	struct printer p = {.out = out, .last = "", .indent = 2};
	/* quoted: a child may be called true or 1e3 */
	(void)fputs("  ", out);
	ph_conf_write_string(out, name->s, PH_CONF_YAML);
	(void)fputc(':', out);
	write_origin(out, at);
	yaml_rows(&p, table, holder, origin);
}

int ph_conf_print(const struct ph_conf *conf, FILE *out)
{
	struct printer top = {.out = out, .last = ""};
	yaml_rows(&top, &ph_conf_daemon_table, conf, conf->origin);
	(void)fputs(conf->n_hooks ? "hooks:\n" : "hooks: {}\n", out);
	for (size_t i = 0; i < conf->n_hooks; i++) {
		const struct ph_conf_hook *hook = conf->hooks[i];
		yaml_named(out, &hook->name, &hook->at, &ph_conf_hook_table, hook, hook->origin);
	}
	(void)fputs(conf->n_groups ? "groups:\n" : "groups: {}\n", out);
	for (size_t i = 0; i < conf->n_groups; i++) {
		const struct ph_conf_group *group = conf->groups[i];
		yaml_named(
			out, &group->name, &group->at, &ph_conf_group_table, group, group->origin);
	}
	(void)fputs(conf->n_children ? "children:\n" : "children: {}\n", out);
	for (size_t i = 0; i < conf->n_children; i++) {
		const struct ph_conf_child *child = conf->children[i];
		yaml_named(
			out, &child->name, &child->at, &ph_conf_child_table, child, child->origin);
	}
	return fflush(out) != 0 || ferror(out) ? -EIO : 0;
}
