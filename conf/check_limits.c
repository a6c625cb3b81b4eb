/* The limits of children, as far as it can be seen beforehand that they cannot be set. */
#include "conf/load.h"

#include <inttypes.h>

static void complain(struct ph_conf_loader *ld, const struct ph_conf_child *child, const char *path,
	const char *text)
{
	const struct ph_conf_origin *o =
		&child->origin[ph_conf_option_index(&ph_conf_child_table, path)];
	ph_conf_errors_add(
		ld->errors, ph_conf_place_of(o), "children.%s.%s: %s", child->name.s, path, text);
}

/* Whoever is not root has no cgroup to make others in, but where systemd has given him one: then
 * he says that he can do without the limit. */
static void check_cgroup(struct ph_conf_loader *ld, const struct ph_conf_child *child)
{
	static const char *const text =
		"only a daemon of root can set it (limits.missing: warn starts it without)";
	if (ld->env->uid == 0 || child->limits.missing == PH_CONF_MISSING_WARN)
		return;
	if (child->limits.memory_bytes != PH_CONF_UNSET_U64)
		complain(ld, child, "limits.memory", text);
	if (child->limits.cpu_percent != PH_CONF_UNSET_U32)
		complain(ld, child, "limits.cpu", text);
	if (child->limits.tasks != PH_CONF_UNSET_U32)
		complain(ld, child, "limits.tasks", text);
}

void ph_conf_check_limits(struct ph_conf_loader *ld, const struct ph_conf_child *child)
{
	char text[120];
	if (!ld->env)
		return;
	check_cgroup(ld, child);
	if (child->limits.nofile == PH_CONF_UNSET_U32 || !ld->env->nofile_max ||
		child->limits.nofile <= ld->env->nofile_max)
		return;
	(void)snprintf(text, sizeof text, "%u is more than the daemon can give (%" PRIu64 ")",
		child->limits.nofile, ld->env->nofile_max);
	complain(ld, child, "limits.nofile", text);
}
