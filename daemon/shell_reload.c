/* SIGHUP and `reload`: a new configuration in place of the old one, or not at all. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conf/errors.h"
#include "io/clock.h"
#include "proto/seal.h"
#include "shell_hook.h"
#include "shell_parts.h"
#include "shell_view_text.h"

struct load {
	struct ph_shell *shell;
	struct ph_keyring *ring;
};

static int take_key(void *arg, const char *path, const char *cluster, struct ph_err *err)
{
	struct load *load = arg;
	ph_keyring_free(load->ring);
	load->ring = NULL;
	return ph_keyring_load(path, cluster, &load->ring, err);
}

static bool knows_account(void *arg, const char *user, const char *group)
{
	const struct load *load = arg;
	return ph_shell_user_may_be(load->shell, user, group);
}

int ph_shell_load(struct ph_shell *shell, const char *file, struct ph_conf **ret_conf,
	struct ph_keyring **ret_ring, struct ph_conf_errors *errors)
{
	struct load load = {shell, NULL};
	struct ph_conf_env env;
	ph_conf_env_system(&env);
	env.check_key = take_key;
	env.knows_account = shell ? knows_account : NULL;
	env.arg = &load;
	int error = ph_conf_load(file, &env, ret_conf, errors);
	if (error)
		ph_keyring_free(load.ring);
	else
		*ret_ring = load.ring;
	return error;
}

static const char *const change_words[] = {
	[PH_CONF_ADDED] = "added",
	[PH_CONF_REMOVED] = "removed",
	[PH_CONF_CHANGED] = "changed",
};

static json_t *child_json(const struct ph_conf_change *change)
{
	json_t *options = json_array();
	for (size_t i = 0; i < change->n_options; i++)
		json_array_append_new(options, json_string(change->options[i]));
	return json_pack("{s:s, s:s, s:b, s:o}", "child", change->child.s, "change",
		change_words[change->kind], "restart", change->restart, "options", options);
}

static json_t *diff_json(const struct ph_conf_diff *diff)
{
	json_t *children = json_array(), *options = json_array();
	for (size_t i = 0; i < diff->n_children; i++)
		json_array_append_new(children, child_json(&diff->children[i]));
	for (size_t i = 0; i < diff->n_options; i++)
		json_array_append_new(
			options, json_pack("{s:s, s:b}", "option", diff->options[i].path,
					 "reloadable", diff->options[i].reloadable));
	return json_pack("{s:o, s:o}", "children", children, "options", options);
}

static void log_diff(struct ph_shell *shell, const struct ph_conf_diff *diff)
{
	for (size_t i = 0; i < diff->n_children; i++)
		ph_shell_log(shell, PH_LOG_INFO, "reload: child %s %s%s", diff->children[i].child.s,
			change_words[diff->children[i].kind],
			diff->children[i].restart ? ", its workers follow" : "");
	for (size_t i = 0; i < diff->n_options; i++) {
		if (diff->options[i].reloadable)
			ph_shell_log(
				shell, PH_LOG_INFO, "reload: %s changed", diff->options[i].path);
		else
			ph_shell_log(shell, PH_LOG_WARNING,
				"reload: %s changed: only a restart of the daemon brings it",
				diff->options[i].path);
	}
	if (!diff->n_children && !diff->n_options)
		ph_shell_log(shell, PH_LOG_INFO, "reload: nothing changed");
}

/* ---- what the cluster has otherwise than this node's file */

struct owners {
	const char *node;
	bool here;
};

static bool see_owner(void *arg, const struct ph_entry_view *entry)
{
	struct owners *owners = arg;
	owners->here |= entry->owned && strcmp(entry->entry.node.s, owners->node) == 0;
	return !owners->here;
}

/* A text of this node counts where it owns some of the child; elsewhere it only differs. */
static bool differs(struct ph_shell *shell, const struct ph_conf_child *child)
{
	const struct ph_spec *known = ph_hub_spec(shell->hub, &child->name);
	struct owners owners = {.node = shell->node};
	if (!known || !known->revision)
		return false;
	const struct ph_spec *own = ph_shell_spec_of_child(child);
	bool same = !own || own->hash == known->hash;
	ph_spec_free(own);
	if (!same)
		ph_hub_entries(shell->hub, ph_clock_now_ms(), &child->name, see_owner, &owners);
	return !same && !owners.here;
}

static json_t *differing(struct ph_shell *shell, const struct ph_conf *conf)
{
	json_t *list = json_array();
	for (size_t i = 0; i < conf->n_children; i++)
		if (differs(shell, conf->children[i]))
			(void)json_array_append_new(list, json_string(conf->children[i]->name.s));
	return list;
}

static json_t *errors_json(const struct ph_conf_errors *errors)
{
	json_t *list = json_array();
	for (size_t i = 0; i < errors->n; i++)
		json_array_append_new(list, ph_view_text(errors->v[i].text.text));
	if (errors->more)
		json_array_append_new(list, json_sprintf("and %zu more errors", errors->more));
	return json_pack("{s:o}", "errors", list);
}

/* "FIRST (and 2 more)" */
static void sum_up(const struct ph_conf_errors *errors, int error, struct ph_err *ret)
{
	size_t more = errors->n ? errors->n - 1 + errors->more : 0;
	const char *first = errors->n ? errors->v[0].text.text : strerror(-error);
	if (more)
		(void)ph_err_set(ret, -error, "%.*s (and %zu more)", PH_ERR_MAX - 32, first, more);
	else
		(void)ph_err_set(ret, -error, "%s", first);
}

static void tell_rejected(
	struct ph_shell *shell, const struct ph_conf_errors *errors, const struct ph_err *sum)
{
	for (size_t i = 0; i < errors->n; i++)
		ph_shell_log(shell, PH_LOG_ERROR, "%s", errors->v[i].text.text);
	if (errors->more)
		ph_shell_log(shell, PH_LOG_ERROR, "and %zu more errors", errors->more);
	ph_shell_tell_people(shell, PH_EMIT_CONFIG_REJECTED, NULL, sum->text);
}

static void put_in_force(struct ph_shell *shell, struct ph_conf *conf, bool spread)
{
	struct ph_conf *before = shell->conf;
	shell->conf = conf;
	ph_shell_hooks_configure(shell, conf);
	ph_shell_flows_configure(shell, conf);
	ph_shell_configure(shell, conf, spread);
	ph_conf_free(before);
	ph_shell_outputs_reopen(shell);
	ph_shell_tell_people(shell, PH_EMIT_CONFIG_RELOADED, NULL, NULL);
}

static bool same_keys(const struct ph_keyring *a, const struct ph_keyring *b)
{
	size_t n = a ? ph_keyring_count(a) : 0;
	if (n != (b ? ph_keyring_count(b) : 0))
		return false;
	for (size_t i = 0; i < n; i++)
		if (ph_keyring_id(a, i) != ph_keyring_id(b, i))
			return false;
	return true;
}

/* Other keys in the same file: no option has changed, and yet only a restart brings them. */
static void add_keys(struct ph_conf_diff *diff)
{
	static const char key_file[] = "cluster.key_file";
	for (size_t i = 0; i < diff->n_options; i++)
		if (strcmp(diff->options[i].path, key_file) == 0)
			return;
	struct ph_conf_option_change *list = ph_shell_alloc((diff->n_options + 1) * sizeof *list);
	if (diff->n_options)
		memcpy(list, diff->options, diff->n_options * sizeof *list);
	free(diff->options);
	diff->options = list;
	diff->options[diff->n_options++].path = key_file;
}

/* A file that a full disk or an editor cut to nothing would end every child without a word: a start
 * may do with it, a reload asks for the word. */
static int refuse_blank(const struct ph_shell *shell, struct ph_conf **conf,
	struct ph_keyring **ring, struct ph_conf_errors *errors)
{
	if (!(*conf)->blank || !shell->conf->n_children)
		return 0;
	const char *file = (*conf)->n_files ? (*conf)->files[0] : PH_CONF_ETC;
	ph_conf_errors_add(errors, (struct ph_conf_place){.file = file},
		"nothing stands in it, and its children would all go (%zu): expected "
		"'children: {}' where that is meant",
		shell->conf->n_children);
	ph_conf_errors_finish(errors);
	ph_keyring_free(*ring);
	ph_conf_free(*conf);
	*ring = NULL;
	*conf = NULL;
	return -EINVAL;
}

/*
 * The new configuration, or all that is wrong with it. `ret_keys`: its key file holds other keys
 * than those in force.
 */
static int load_again(struct ph_shell *shell, bool dry_run, struct ph_conf **ret, bool *ret_keys,
	json_t **ret_json, struct ph_err *err)
{
	struct ph_conf_errors *errors = ph_shell_alloc(sizeof *errors);
	struct ph_keyring *ring = NULL;
	ph_shell_users_again(shell);
	int error = ph_shell_load(shell, shell->conf_file, ret, &ring, errors);
	if (!error)
		error = refuse_blank(shell, ret, &ring, errors);
	*ret_keys = !error && !same_keys(shell->ring, ring);
	ph_keyring_free(ring); /* the one of the start stays; this one was to be good */
	if (error) {
		sum_up(errors, error, err);
		if (!dry_run)
			tell_rejected(shell, errors, err);
		if (ret_json)
			*ret_json = errors_json(errors);
	}
	free(errors);
	return error;
}

int ph_shell_reload(
	struct ph_shell *shell, bool dry_run, bool spread, json_t **ret_json, struct ph_err *err)
{
	struct ph_conf_diff *diff = NULL;
	struct ph_conf *conf = NULL;
	json_t *others = NULL;
	bool keys = false;
	int error = load_again(shell, dry_run, &conf, &keys, ret_json, err);
	if (error)
		return error;
	error = ph_conf_diff(shell->conf, conf, &diff);
	if (!error && keys)
		add_keys(diff);
	if (!error && ret_json)
		others = differing(shell, conf);
	if (!error && !dry_run)
		error = ph_conf_hold(conf, shell->conf);
	if (error || dry_run) {
		ph_conf_free(conf);
	} else {
		log_diff(shell, diff);
		put_in_force(shell, conf, spread);
	}
	if (!error && ret_json) {
		*ret_json = diff_json(diff);
		(void)json_object_set(*ret_json, spread ? "spread" : "differs", others);
	}
	json_decref(others);
	ph_conf_diff_free(diff);
	return error ? ph_err_set(err, -error, "%s", strerror(-error)) : 0;
}
