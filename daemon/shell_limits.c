/* The limits of one process, but for those of its cgroup. */
#include <sys/resource.h>

#include "io/spawn.h"
#include "shell_parts.h"

size_t ph_shell_limits_of(const struct ph_conf_child *child, struct ph_spawn_limit *ret)
{
	size_t n = 0;
	if (child->limits.nofile != PH_CONF_UNSET_U32)
		ret[n++] = (struct ph_spawn_limit){
			RLIMIT_NOFILE, child->limits.nofile, child->limits.nofile};
	if (child->limits.core_bytes != PH_CONF_UNSET_U64)
		ret[n++] = (struct ph_spawn_limit){
			RLIMIT_CORE, child->limits.core_bytes, child->limits.core_bytes};
	return n;
}
