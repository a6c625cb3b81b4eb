#include "io/statefile.h"

#include "io/durable.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

int ph_statefile_write(const char *run_dir, const char *bytes, size_t n, struct ph_err *err)
{
	if (n > PH_STATEFILE_BYTES_MAX)
		return ph_err_set(err, EFBIG, "the state has %zu bytes, at most %zu are kept", n,
			PH_STATEFILE_BYTES_MAX);
	return ph_durable_replace(run_dir, PH_STATEFILE_NAME, bytes, n, 0600, err);
}

int ph_statefile_read(const char *run_dir, char **ret_bytes, size_t *ret_n, struct ph_err *err)
{
	char path[PATH_MAX];
	struct stat st;
	(void)snprintf(path, sizeof path, "%s/%s", run_dir, PH_STATEFILE_NAME);
	/* it holds tokens and names processes to be signalled: a stranger's is not believed */
	if (lstat(path, &st) == 0 && (st.st_uid != geteuid() || (st.st_mode & 077)))
		return ph_err_set(err, EPERM,
			"'%s' belongs to uid %u with mode %03o, expected uid %u and 600", path,
			(unsigned)st.st_uid, (unsigned)st.st_mode & 0777u, (unsigned)geteuid());
	return ph_durable_read(
		run_dir, PH_STATEFILE_NAME, PH_STATEFILE_BYTES_MAX, ret_bytes, ret_n, err);
}
