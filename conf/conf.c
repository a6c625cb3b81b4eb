#include "conf/conf.h"
#include "conf/listen.h"
#include "conf/load.h"
#include "conf/value.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FILES_MAX 256 /* of one configuration */

void ph_conf_free(struct ph_conf *conf)
{
	if (!conf)
		return;
	for (size_t i = 0; i < ph_conf_daemon_table.n; i++)
		if (ph_conf_daemon_table.rows[i].here == PH_CONF_YES)
			ph_conf_value_free(&ph_conf_daemon_table.rows[i], conf);
	free(conf->cluster.host);
	ph_conf_hooks_free(conf);
	ph_conf_groups_free(conf);
	ph_conf_child_free(conf->defaults);
	for (size_t i = 0; i < conf->n_children; i++)
		ph_conf_child_free(conf->children[i]);
	free(conf->children);
	free(conf->origin);
	for (size_t i = 0; i < conf->n_files; i++)
		free(conf->files[i]);
	free(conf->files);
	free(conf);
}

static struct ph_conf *conf_new(const struct ph_conf_child *defaults)
{
	struct ph_conf *conf = calloc(1, sizeof *conf);
	if (!conf)
		return NULL;
	conf->origin = calloc(ph_conf_daemon_table.n, sizeof *conf->origin);
	conf->defaults = ph_conf_child_new(defaults);
	conf->files = calloc(FILES_MAX, sizeof *conf->files);
	conf->blank = true;
	if (conf->origin && conf->defaults && conf->files)
		return conf;
	ph_conf_free(conf);
	return NULL;
}

static int find_by_name(const void *key, const void *member)
{
	const char *const *name = key;
	const struct ph_conf_child *const *child = member;
	return strcmp(*name, (*child)->name.s);
}

const struct ph_conf_child *ph_conf_child_find(const struct ph_conf *conf, const char *name)
{
	if (conf->n_children == 0)
		return NULL;
	struct ph_conf_child *const *found = bsearch(&name, conf->children, conf->n_children,
		sizeof(struct ph_conf_child *), find_by_name);
	return found ? *found : NULL;
}

/* The documents of one configuration, and the children that all of them declare. */
struct documents {
	size_t n;
	struct {
		const char *file; /* that of conf->files */
		struct ph_conf_tree tree;
	} v[FILES_MAX];
	size_t n_entries;
	struct entry {
		const char *file;
		const struct ph_conf_node *key, *value;
		size_t order; /* of reading */
	} * entries;
	bool children_only;
	const struct ph_conf *base; /* where children_only: what they are added to, or NULL */
};

static void documents_free(struct documents *docs)
{
	for (size_t i = 0; i < docs->n; i++)
		ph_conf_tree_free(&docs->v[i].tree);
	free(docs->entries);
	free(docs);
}

static bool is_blank(const struct ph_conf_node *root)
{
	return !root || ph_conf_node_empty(root);
}

static int add_document(struct ph_conf_loader *ld, struct ph_conf *conf, struct documents *docs,
	const char *file, const char *text, size_t n)
{
	char *copy = strdup(file);
	if (!copy)
		return -ENOMEM;
	conf->files[conf->n_files++] = copy;
	docs->v[docs->n].file = copy;
	int rc = ph_conf_tree_read(copy, text, n, &docs->v[docs->n].tree, ld->errors);
	if (rc == 0)
		conf->blank &= is_blank(docs->v[docs->n++].tree.root);
	return rc;
}

/* The value of a key at the top of a document, or NULL. */
static const struct ph_conf_item *top(const struct ph_conf_node *root, const char *key)
{
	if (!root || root->kind != PH_CONF_MAPPING)
		return NULL;
	for (size_t i = 0; i < root->n; i++)
		if (strcmp(root->items[i].key->text, key) == 0)
			return &root->items[i];
	return NULL;
}

/* Children alone may stand at the top, without the word. */
static bool is_bare(const struct documents *docs, const struct ph_conf_node *root)
{
	return docs->children_only && root && root->kind == PH_CONF_MAPPING &&
	       !top(root, "children");
}

static void refuse_others(struct ph_conf_loader *ld, const struct ph_conf_node *root)
{
	for (size_t i = 0; root->kind == PH_CONF_MAPPING && i < root->n; i++) {
		const struct ph_conf_node *key = root->items[i].key;
		char shown[PH_CONF_SHOWN_SIZE];
		if (strcmp(key->text, "children") != 0)
			ph_conf_errors_add(ld->errors, ph_conf_node_place(ld, key),
				"'%s' is not possible here, only 'children'",
				ph_conf_shown(key->text, shown));
	}
}

static int load_daemon(struct ph_conf_loader *ld, struct ph_conf *conf, struct documents *docs)
{
	struct ph_conf_scope scope = {
		.table = &ph_conf_daemon_table,
		.holder = conf,
		.origin = conf->origin,
		.values = ld->values,
		.where = "",
		.only = "|defaults|children|hooks|groups|",
	};
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < docs->n; i++) {
		const struct ph_conf_node *root = docs->v[i].tree.root;
		ld->file = docs->v[i].file;
		if (!root)
			continue;
		if (docs->children_only && !is_bare(docs, root))
			refuse_others(ld, root);
		if (!docs->children_only || root->kind != PH_CONF_MAPPING)
			rc = ph_conf_load_section(ld, &scope, root, "");
		else if (!is_bare(docs, root))
			rc = ph_conf_node_twice(ld->file, root, "", ld->errors);
	}
	return rc < 0 || docs->children_only ? rc : ph_conf_load_fallbacks(ld, &scope);
}

static int load_defaults(struct ph_conf_loader *ld, struct ph_conf *conf, struct documents *docs)
{
	struct ph_conf_scope scope = {
		.table = &ph_conf_child_table,
		.holder = conf->defaults,
		.origin = conf->defaults->origin,
		.where = "defaults",
	};
	int rc = 0;
	for (size_t i = 0; rc == 0 && !docs->children_only && i < docs->n; i++) {
		const struct ph_conf_item *item = top(docs->v[i].tree.root, "defaults");
		ld->file = docs->v[i].file;
		if (item)
			rc = ph_conf_load_section(ld, &scope, item->value, "");
	}
	return rc;
}

/* A section that all documents share. */
static int load_shared(struct ph_conf_loader *ld, struct ph_conf *conf, struct documents *docs,
	const char *key,
	int load(struct ph_conf_loader *, struct ph_conf *, const struct ph_conf_node *))
{
	int rc = 0;
	for (size_t i = 0; rc == 0 && !docs->children_only && i < docs->n; i++) {
		const struct ph_conf_item *item = top(docs->v[i].tree.root, key);
		ld->file = docs->v[i].file;
		if (item)
			rc = load(ld, conf, item->value);
	}
	return rc;
}

static int gather(struct ph_conf_loader *ld, struct documents *docs, const struct ph_conf_node *map)
{
	if (ph_conf_node_empty(map))
		return 0;
	if (map->kind != PH_CONF_MAPPING) {
		ph_conf_errors_add(ld->errors, ph_conf_node_place(ld, map),
			"children: expected a mapping (name: options)%s",
			ph_conf_node_null(map) ? ", found null" : "");
		return 0;
	}
	int rc = ph_conf_node_twice(ld->file, map, "children", ld->errors);
	if (rc < 0 || map->n == 0)
		return rc;
	struct entry *more =
		realloc(docs->entries, (docs->n_entries + map->n) * sizeof *docs->entries);
	if (!more)
		return -ENOMEM;
	docs->entries = more;
	for (size_t i = 0; i < map->n; i++) {
		const struct ph_conf_item *item = &map->items[i];
		char shown[PH_CONF_SHOWN_SIZE];
		if (item->again)
			continue;
		if (ph_name_valid(item->key->text)) {
			docs->entries[docs->n_entries] =
				(struct entry){ld->file, item->key, item->value, docs->n_entries};
			docs->n_entries++;
		} else {
			ph_conf_errors_add(ld->errors, ph_conf_node_place(ld, item->key),
				"children: '%s' is not %s", ph_conf_shown(item->key->text, shown),
				ph_conf_type_words(PH_CONF_NAME));
		}
	}
	return 0;
}

static int by_entry(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int order = strcmp(x->key->text, y->key->text);
	if (order)
		return order;
	return x->order < y->order ? -1 : x->order > y->order;
}

static bool stands_twice(struct ph_conf_loader *ld, const struct entry *entries, size_t i)
{
	if (i == 0 || strcmp(entries[i - 1].key->text, entries[i].key->text) != 0)
		return false;
	const struct ph_conf_node *first = entries[i - 1].key;
	ph_conf_errors_add(ld->errors, ph_conf_node_place(ld, entries[i].key),
		"children: '%s' stands twice, first at %s:%u:%u", first->text, entries[i - 1].file,
		first->line, first->column);
	return true;
}

static int load_entries(struct ph_conf_loader *ld, struct ph_conf *conf, struct documents *docs)
{
	uint64_t instances = 0;
	conf->children = calloc(docs->n_entries ? docs->n_entries : 1, sizeof *conf->children);
	if (!conf->children)
		return -ENOMEM;
	for (size_t i = 0; i < docs->n_entries; i++) {
		const struct entry *e = &docs->entries[i];
		struct ph_conf_child *child;
		ld->file = e->file;
		if (stands_twice(ld, docs->entries, i))
			continue;
		int rc = ph_conf_child_load(ld, conf->defaults, e->key, e->value, &child);
		if (rc < 0)
			return rc;
		child->added = docs->children_only;
		conf->children[conf->n_children++] = child;
		instances += child->instances;
		if (instances > PH_CONF_INSTANCES_MAX &&
			instances - child->instances <= PH_CONF_INSTANCES_MAX)
			ph_conf_errors_add(ld->errors, ph_conf_node_place(ld, e->key),
				"children: more than %d instances of all children together",
				PH_CONF_INSTANCES_MAX);
	}
	return 0;
}

static int load_children(struct ph_conf_loader *ld, struct ph_conf *conf, struct documents *docs)
{
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < docs->n; i++) {
		const struct ph_conf_item *item = top(docs->v[i].tree.root, "children");
		ld->file = docs->v[i].file;
		if (item || is_bare(docs, docs->v[i].tree.root))
			rc = gather(ld, docs, item ? item->value : docs->v[i].tree.root);
	}
	if (rc == 0 && docs->n_entries > 1)
		qsort(docs->entries, docs->n_entries, sizeof *docs->entries, by_entry);
	return rc < 0 ? rc : load_entries(ld, conf, docs);
}

static int load_all(struct ph_conf_loader *ld, struct ph_conf *conf, struct documents *docs)
{
	ld->values = calloc(ph_conf_daemon_table.n, sizeof *ld->values);
	int rc = ld->values ? load_daemon(ld, conf, docs) : -ENOMEM;
	if (rc == 0)
		rc = load_defaults(ld, conf, docs);
	if (rc == 0)
		rc = load_shared(ld, conf, docs, "hooks", ph_conf_hooks_load);
	if (rc == 0)
		ph_conf_hooks_end(ld, conf);
	if (rc == 0)
		rc = load_children(ld, conf, docs);
	if (rc == 0)
		rc = load_shared(ld, conf, docs, "groups", ph_conf_groups_load);
	if (rc == 0)
		rc = ph_conf_groups_end(ld, conf);
	if (rc == 0)
		rc = ph_conf_check_after(ld, conf, docs->base);
	if (rc == 0 && !docs->children_only)
		rc = ph_conf_check_daemon(ld, conf);
	if (rc == 0)
		rc = ph_conf_check_listeners(ld, conf, docs->base);
	if (rc == 0)
		rc = ph_conf_check_logs(ld, conf, docs->base);
	free(ld->values);
	ld->values = NULL;
	return rc;
}

static int read_file(
	struct ph_conf_loader *ld, struct ph_conf *conf, struct documents *docs, const char *file)
{
	char *text;
	size_t n;
	int rc = ph_conf_file_read(file, &text, &n, ld->errors);
	if (rc < 0)
		return rc;
	rc = add_document(ld, conf, docs, file, text, n);
	free(text);
	return rc;
}

static int is_yaml(const struct dirent *d)
{
	size_t n = strlen(d->d_name);
	return n > 5 && d->d_name[0] != '.' && strcmp(d->d_name + n - 5, ".yaml") == 0;
}

/* Not alphasort: that one follows the locale, and the order must be the same everywhere. */
static int by_file_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int read_directory(struct ph_conf_loader *ld, struct ph_conf *conf, struct documents *docs,
	const char *directory)
{
	struct dirent **found;
	int n = scandir(directory, &found, is_yaml, by_file_name);
	if (n < 0 && (errno == ENOENT || errno == ENOMEM))
		return errno == ENOENT ? 0 : -ENOMEM;
	int rc = n < 0 ? -errno : 0;
	if (n >= FILES_MAX)
		rc = -EFBIG;
	if (rc < 0)
		ph_conf_errors_add(ld->errors, (struct ph_conf_place){.file = directory}, "%s",
			n < 0 ? strerror(-rc) : "more than 255 files");
	for (int i = 0; i < n; i++) {
		char path[4096];
		int length = snprintf(path, sizeof path, "%s/%s", directory, found[i]->d_name);
		if (rc == 0 && length >= 0 && (size_t)length < sizeof path)
			rc = read_file(ld, conf, docs, path);
		free(found[i]);
	}
	if (n >= 0)
		free(found);
	return rc;
}

static int read_standard(struct ph_conf_loader *ld, struct ph_conf *conf, struct documents *docs)
{
	char path[4096];
	struct ph_conf_errors before = *ld->errors;
	(void)snprintf(path, sizeof path, "%s/prochub.yaml", ld->env->etc);
	int rc = read_file(ld, conf, docs, path);
	if (rc == -ENOENT) {
		*ld->errors = before; /* no file at all is a configuration too */
		rc = 0;
	}
	(void)snprintf(path, sizeof path, "%s/conf.d", ld->env->etc);
	return rc < 0 ? rc : read_directory(ld, conf, docs, path);
}

/* ---- a load, whatever it reads ---- */

struct load {
	struct ph_conf_env system; /* where the caller gives none */
	struct ph_conf_loader ld;
	struct ph_conf *conf;
	struct documents *docs;
};

static int begin(struct load *load, const struct ph_conf_child *defaults,
	const struct ph_conf_env *env, struct ph_conf_errors *errors)
{
	*load = (struct load){.system = {.etc = PH_CONF_ETC}};
	if (!env)
		ph_conf_env_system(&load->system);
	*errors = (struct ph_conf_errors){0};
	load->ld.env = env ? env : &load->system;
	load->ld.errors = errors;
	load->conf = conf_new(defaults);
	load->docs = calloc(1, sizeof *load->docs);
	return load->conf && load->docs ? 0 : -ENOMEM;
}

/* Makes what was read a configuration, where reading went well. */
static int finish(struct load *load, int rc, struct ph_conf **ret)
{
	struct ph_conf_errors *errors = load->ld.errors;
	if (rc == 0)
		rc = load_all(&load->ld, load->conf, load->docs);
	if (rc == -ENOMEM)
		ph_conf_errors_add(errors, (struct ph_conf_place){0}, "out of memory");
	if (rc == 0 && errors->n > 0)
		rc = -EINVAL;
	ph_conf_errors_finish(errors);
	if (rc < 0)
		ph_conf_free(load->conf);
	else
		*ret = load->conf;
	if (load->docs)
		documents_free(load->docs);
	return rc;
}

int ph_conf_load(const char *file, const struct ph_conf_env *env, struct ph_conf **ret,
	struct ph_conf_errors *errors)
{
	struct load load;
	int rc = begin(&load, NULL, env, errors);
	if (rc == 0)
		rc = file ? read_file(&load.ld, load.conf, load.docs, file)
			  : read_standard(&load.ld, load.conf, load.docs);
	return finish(&load, rc, ret);
}

int ph_conf_load_children(const char *source, const char *text, size_t n,
	const struct ph_conf *base, const struct ph_conf_env *env, struct ph_conf **ret,
	struct ph_conf_errors *errors)
{
	struct load load;
	int rc = begin(&load, base ? base->defaults : NULL, env, errors);
	if (rc == 0 && n > PH_CONF_FILE_MAX) {
		ph_conf_errors_add(
			errors, (struct ph_conf_place){.file = source}, "larger than 1 MiB");
		rc = -EFBIG;
	}
	if (rc == 0) {
		/* the names of files belong to `base`, which may go before its result */
		for (size_t i = 0; i < ph_conf_child_table.n; i++)
			load.conf->defaults->origin[i].file = NULL;
		load.docs->children_only = true;
		load.docs->base = base;
		rc = add_document(&load.ld, load.conf, load.docs, source, text, n);
	}
	return finish(&load, rc, ret);
}
