/*
 * after.c - the order of start: names in `after` are children, and none waits for itself.
 *
 * A member of a group waits for the one before it in the list as well. Children are taken away as
 * soon as nothing that they wait for is left; what stays then waits in a circle, or for one.
 */
#include "conf/load.h"
#include "conf/value.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void ph_conf_child_near(const struct ph_conf *conf, const char *word, char *ret, size_t size)
{
	unsigned best = UINT32_MAX;
	ret[0] = '\0';
	for (size_t i = 0; i < conf->n_children; i++) {
		unsigned d = ph_conf_distance(word, conf->children[i]->name.s);
		if (d >= best || !ph_conf_near(word, d))
			continue;
		best = d;
		(void)snprintf(ret, size, ", did you mean '%s'?", conf->children[i]->name.s);
	}
}

/* ---- names that nobody has ---- */

static const struct ph_conf_origin *origin_of(const struct ph_conf_child *child)
{
	return &child->origin[ph_conf_option_index(&ph_conf_child_table, "after")];
}

static bool known(const struct ph_conf_loader *ld, const struct ph_conf *conf,
	const struct ph_conf *base, const char *name)
{
	return ph_conf_child_find(conf, name) || (base && ph_conf_child_find(base, name)) ||
	       (ld->env->knows_child && ld->env->knows_child(ld->env->arg, name));
}

static void check_names(struct ph_conf_loader *ld, const struct ph_conf *conf,
	const struct ph_conf *base, const struct ph_conf_child *child)
{
	for (size_t i = 0; i < child->after.n; i++) {
		char near[PH_CONF_WHERE_SIZE];
		const char *name = child->after.v[i];
		if (known(ld, conf, base, name))
			continue;
		ph_conf_child_near(conf, name, near, sizeof near);
		if (!*near && base)
			ph_conf_child_near(base, name, near, sizeof near);
		ph_conf_errors_add(ld->errors, ph_conf_place_of(origin_of(child)),
			"children.%s.after: '%s' is not a child of this configuration%s",
			child->name.s, name, near);
	}
}

/* ---- circles ---- */

#define NOBODY SIZE_MAX

struct walk {
	struct ph_conf_loader *ld;
	const struct ph_conf *conf;
	uint32_t *left; /* of each child: how many it waits for are not taken away yet */
	bool *gone;
	size_t *ready; /* a stack: those of which nothing is left, to be taken away */
	size_t n_ready;
	size_t *first, *next; /* lists of edges, by whom is waited for */
	size_t *who;
	size_t n_edges;
};

static size_t index_of(const struct ph_conf *conf, const char *name)
{
	size_t low = 0, high = conf->n_children;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(name, conf->children[middle]->name.s);
		if (order == 0)
			return middle;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NOBODY;
}

/* The member before it, or NULL. */
static const char *before(const struct ph_conf_child *child)
{
	const struct ph_conf_list *list = child->in_group ? &child->in_group->children : NULL;
	for (size_t i = 1; list && i < list->n; i++)
		if (strcmp(list->v[i], child->name.s) == 0) /* one that stands twice is told of */
			return strcmp(list->v[i - 1], list->v[i]) ? list->v[i - 1] : NULL;
	return NULL;
}

static size_t n_waits(const struct ph_conf_child *child)
{
	return child->after.n + (before(child) != NULL);
}

static size_t waits_for(const struct walk *w, size_t child, size_t i)
{
	const struct ph_conf_child *c = w->conf->children[child];
	return index_of(w->conf, i < c->after.n ? c->after.v[i] : before(c));
}

static void add_edges(struct walk *w, size_t child)
{
	size_t n = n_waits(w->conf->children[child]);
	for (size_t i = 0; i < n; i++) {
		size_t other = waits_for(w, child, i);
		if (other == NOBODY)
			continue;
		w->who[w->n_edges] = child;
		w->next[w->n_edges] = w->first[other];
		w->first[other] = w->n_edges++;
		w->left[child]++;
	}
	if (w->left[child] == 0)
		w->ready[w->n_ready++] = child;
}

static void take_away(struct walk *w)
{
	while (w->n_ready) {
		size_t child = w->ready[--w->n_ready];
		w->gone[child] = true;
		for (size_t e = w->first[child]; e != NOBODY; e = w->next[e])
			if (--w->left[w->who[e]] == 0 && !w->gone[w->who[e]])
				w->ready[w->n_ready++] = w->who[e];
	}
}

/* One that it waits for, and that is left. */
static size_t step(const struct walk *w, size_t child)
{
	size_t n = n_waits(w->conf->children[child]);
	for (size_t i = 0; i < n; i++) {
		size_t other = waits_for(w, child, i);
		if (other != NOBODY && !w->gone[other])
			return other;
	}
	return NOBODY;
}

static void tell(struct walk *w, size_t at, const char *circle)
{
	const struct ph_conf_child *child = w->conf->children[at];
	const char *words = "each waits for the next one, and none could start";
	size_t next = step(w, at);
	for (size_t i = 0; i < child->after.n; i++) {
		if (waits_for(w, at, i) != next)
			continue;
		ph_conf_errors_add(w->ld->errors, ph_conf_place_of(origin_of(child)),
			"children.%s.after: %s: %s", child->name.s, words, circle);
		return;
	}
	for (size_t i = 0; i < w->conf->n_groups; i++) {
		const struct ph_conf_group *group = w->conf->groups[i];
		if (ph_name_equal(&group->name, &child->in_group->name))
			ph_conf_errors_add(w->ld->errors, ph_conf_group_place(group),
				"groups.%s.children: %s: %s", group->name.s, words, circle);
	}
}

/* Whoever is left leads into a circle: as many steps as there are children end in it. */
static void tell_circle(struct walk *w, size_t start)
{
	const struct ph_conf *conf = w->conf;
	char text[PH_ERR_MAX / 2];
	size_t at = start, n = 0;
	for (size_t i = 0; i < conf->n_children; i++)
		at = step(w, at);
	size_t head = at;
	for (size_t i = step(w, at); i != at; i = step(w, i)) /* the first by name */
		head = i < head ? i : head;
	at = head;
	do {
		n += (size_t)snprintf(
			text + n, sizeof text - n, "%s -> ", conf->children[at]->name.s);
		at = step(w, at);
	} while (at != head && n + PH_NAME_SIZE + 8 < sizeof text);
	(void)snprintf(text + n, sizeof text - n, "%s%s", at == head ? "" : "... -> ",
		conf->children[head]->name.s);
	tell(w, head, text);
}

static void find_circles(struct walk *w)
{
	size_t n = w->conf->n_children;
	for (size_t i = 0; i < n; i++)
		w->first[i] = NOBODY;
	for (size_t i = 0; i < n; i++)
		add_edges(w, i);
	take_away(w);
	for (size_t i = 0; i < n; i++) {
		if (w->gone[i])
			continue;
		tell_circle(w, i);
		return; /* of one: who waits for it is left as well, and in none */
	}
}

int ph_conf_check_after(
	struct ph_conf_loader *ld, const struct ph_conf *conf, const struct ph_conf *base)
{
	size_t n = conf->n_children, edges = 0;
	for (size_t i = 0; i < n; i++) {
		check_names(ld, conf, base, conf->children[i]);
		edges += n_waits(conf->children[i]);
	}
	if (!edges)
		return 0;
	struct walk w = {.ld = ld, .conf = conf};
	w.left = calloc(n, sizeof *w.left);
	w.gone = calloc(n, sizeof *w.gone);
	w.ready = calloc(n, sizeof *w.ready);
	w.first = calloc(n, sizeof *w.first);
	w.next = calloc(edges, sizeof *w.next);
	w.who = calloc(edges, sizeof *w.who);
	bool memory = w.left && w.gone && w.ready && w.first && w.next && w.who;
	if (memory)
		find_circles(&w);
	free(w.left);
	free(w.gone);
	free(w.ready);
	free(w.first);
	free(w.next);
	free(w.who);
	return memory ? 0 : -ENOMEM;
}
