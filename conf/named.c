/* Sections whose keys are names that the user chooses, each once in all files: hooks, groups. */
#include "conf/load.h"

bool ph_conf_named_section(
	struct ph_conf_loader *ld, const char *section, const struct ph_conf_node *value)
{
	if (ph_conf_node_empty(value))
		return false;
	if (value->kind == PH_CONF_MAPPING)
		return true;
	ph_conf_errors_add(ld->errors, ph_conf_node_place(ld, value),
		"%s: expected a mapping (name: options)%s", section,
		ph_conf_node_null(value) ? ", found null" : "");
	return false;
}

bool ph_conf_named_admits(struct ph_conf_loader *ld, const char *section,
	const struct ph_conf_node *key, const struct ph_conf_origin *other, size_t n, size_t max)
{
	struct ph_conf_place at = ph_conf_node_place(ld, key);
	char shown[PH_CONF_SHOWN_SIZE];
	if (!ph_name_valid(key->text))
		ph_conf_errors_add(ld->errors, at, "%s: '%s' is not %s", section,
			ph_conf_shown(key->text, shown), ph_conf_type_words(PH_CONF_NAME));
	else if (other)
		ph_conf_errors_add(ld->errors, at, "%s: '%s' stands twice, first at %s:%u:%u",
			section, key->text, other->file, other->line, other->column);
	else if (n >= max)
		ph_conf_errors_add(ld->errors, at, "%s: more than %zu", section, max);
	else
		return true;
	return false;
}
