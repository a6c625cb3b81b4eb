#include "conf/load.h"
#include "conf/value.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void ph_conf_diff_free(struct ph_conf_diff *diff)
{
	if (!diff)
		return;
	for (size_t i = 0; i < diff->n_children; i++)
		free(diff->children[i].options);
	free(diff->children);
	free(diff->options);
	free(diff);
}

static bool differs(const struct ph_conf_option *o, const void *a, const void *b)
{
	return o->here == PH_CONF_YES && !ph_conf_value_equal(o, a, b);
}

static int diff_daemon(
	const struct ph_conf *before, const struct ph_conf *after, struct ph_conf_diff *diff)
{
	const struct ph_conf_table *table = &ph_conf_daemon_table;
	diff->options = calloc(table->n + 1, sizeof *diff->options);
	if (!diff->options)
		return -ENOMEM;
	for (size_t i = 0; i < table->n; i++) {
		const struct ph_conf_option *o = &table->rows[i];
		if (differs(o, before, after))
			diff->options[diff->n_options++] = (struct ph_conf_option_change){
				o->path, (o->flags & PH_CONF_LIVE) != 0};
	}
	if (!ph_conf_hooks_equal(before, after))
		diff->options[diff->n_options++] = (struct ph_conf_option_change){"hooks", true};
	return 0;
}

int ph_conf_hold(struct ph_conf *conf, const struct ph_conf *in_force)
{
	const struct ph_conf_table *table = &ph_conf_daemon_table;
	char *host = in_force->cluster.host ? strdup(in_force->cluster.host) : NULL;
	if (in_force->cluster.host && !host)
		return -ENOMEM;
	free(conf->cluster.host);
	conf->cluster.host = host;
	conf->cluster.port = in_force->cluster.port;
	conf->node.has_slot = in_force->node.has_slot;
	for (size_t i = 0; i < table->n; i++) {
		const struct ph_conf_option *o = &table->rows[i];
		if (o->here != PH_CONF_YES || (o->flags & PH_CONF_LIVE))
			continue;
		int rc = ph_conf_value_copy(o, conf, in_force);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int diff_child(const struct ph_conf_child *before, const struct ph_conf_child *after,
	struct ph_conf_diff *diff)
{
	const struct ph_conf_table *table = &ph_conf_child_table;
	struct ph_conf_change change = {.kind = PH_CONF_CHANGED, .child = after->name};
	if (ph_conf_child_equal(before, after))
		return 0;
	change.options = calloc(table->n + 1, sizeof *change.options);
	if (!change.options)
		return -ENOMEM;
	for (size_t i = 0; i < table->n; i++) {
		const struct ph_conf_option *o = &table->rows[i];
		if (!differs(o, before, after))
			continue;
		change.options[change.n_options++] = o->path;
		change.restart = change.restart || !(o->flags & PH_CONF_LIVE);
	}
	if (!ph_conf_group_equal(before->in_group, after->in_group))
		change.options[change.n_options++] = "groups";
	diff->children[diff->n_children++] = change;
	return 0;
}

/* Negative: the next name is only in `before`; positive: only in `after`; 0: in both. */
static int next_order(const struct ph_conf *before, size_t i, const struct ph_conf *after, size_t j)
{
	if (i == before->n_children)
		return 1;
	if (j == after->n_children)
		return -1;
	return strcmp(before->children[i]->name.s, after->children[j]->name.s);
}

/* Both lists are sorted by name, so one walk over both sees each name once. */
static int diff_children(
	const struct ph_conf *before, const struct ph_conf *after, struct ph_conf_diff *diff)
{
	size_t i = 0, j = 0, most = before->n_children + after->n_children;
	int rc = 0;
	diff->children = calloc(most ? most : 1, sizeof *diff->children);
	if (!diff->children)
		return -ENOMEM;
	while (rc == 0 && (i < before->n_children || j < after->n_children)) {
		int order = next_order(before, i, after, j);
		struct ph_conf_change *change = &diff->children[diff->n_children];
		if (order == 0) {
			rc = diff_child(before->children[i], after->children[j], diff);
		} else {
			change->kind = order < 0 ? PH_CONF_REMOVED : PH_CONF_ADDED;
			change->child =
				order < 0 ? before->children[i]->name : after->children[j]->name;
			diff->n_children++;
		}
		i += order <= 0;
		j += order >= 0;
	}
	return rc;
}

int ph_conf_diff(
	const struct ph_conf *before, const struct ph_conf *after, struct ph_conf_diff **ret)
{
	struct ph_conf_diff *diff = calloc(1, sizeof *diff);
	if (!diff)
		return -ENOMEM;
	int rc = diff_daemon(before, after, diff);
	if (rc == 0)
		rc = diff_children(before, after, diff);
	if (rc < 0)
		ph_conf_diff_free(diff);
	else
		*ret = diff;
	return rc;
}
