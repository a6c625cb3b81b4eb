#include "io/user.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NSS_BYTES_MAX ((size_t)1 << 20) /* an entry of the user database is never larger */
#define GROUPS_MAX 65536		/* NGROUPS_MAX of Linux */

/* A whole decimal number below 2^32-1 (which means "none" to the kernel). */
static bool parse_id(const char *text, unsigned *ret)
{
	if (*text < '0' || *text > '9')
		return false;
	char *end;
	errno = 0;
	unsigned long long v = strtoull(text, &end, 10);
	if (*end || errno || v >= 0xffffffffu)
		return false;
	*ret = (unsigned)v;
	return true;
}

/*
 * getpwnam_r and its kin want a buffer of unknown size. *ret_buffer holds the entry's strings;
 * *ret_found tells whether there is one.
 */
static int find_user(const char *name, struct passwd *entry, char **ret_buffer, bool *ret_found)
{
	unsigned uid = name ? 0 : geteuid();
	bool by_id = !name;
	for (size_t n = 1024; n <= NSS_BYTES_MAX; n *= 4) {
		char *buffer = malloc(n);
		if (!buffer)
			return -ENOMEM;
		struct passwd *found = NULL;
		int r = by_id ? getpwuid_r(uid, entry, buffer, n, &found)
			      : getpwnam_r(name, entry, buffer, n, &found);
		if (!found && r != ERANGE && !by_id && parse_id(name, &uid)) {
			by_id = true;
			r = getpwuid_r(uid, entry, buffer, n, &found);
		}
		if (found || r != ERANGE) {
			*ret_buffer = buffer;
			*ret_found = found != NULL;
			/* getpwnam(3): these too mean that there is no such entry */
			bool none = !r || r == ENOENT || r == ESRCH || r == EBADF || r == EPERM;
			return found || none ? 0 : -EIO;
		}
		free(buffer);
	}
	return -EIO;
}

int ph_user_group(const char *group, gid_t *ret, struct ph_err *err)
{
	unsigned number;
	for (size_t n = 1024; n <= NSS_BYTES_MAX; n *= 4) {
		char *buffer = malloc(n);
		if (!buffer)
			return ph_err_set(err, ENOMEM, "out of memory");
		struct group entry, *found = NULL;
		int r = getgrnam_r(group, &entry, buffer, n, &found);
		gid_t gid = found ? found->gr_gid : 0;
		free(buffer);
		if (r == ERANGE)
			continue;
		if (found) {
			*ret = gid;
			return 0;
		}
		if (parse_id(group, &number)) {
			*ret = number;
			return 0;
		}
		return ph_err_set(err, ENOENT, "no such group '%s'", group);
	}
	return ph_err_set(err, EIO, "the entry of group '%s' cannot be read", group);
}

static int list_groups(struct ph_user *user)
{
	int n = 32;
	for (;;) {
		gid_t *groups = calloc((size_t)n, sizeof *groups);
		if (!groups)
			return -ENOMEM;
		int wanted = n;
		if (getgrouplist(user->name, user->gid, groups, &wanted) >= 0) {
			user->groups = groups;
			user->n_groups = (size_t)wanted;
			return 0;
		}
		free(groups);
		n = wanted > n ? wanted : 2 * n;
		if (n > GROUPS_MAX)
			return -EIO;
	}
}

static int copy_entry(struct ph_user *user, const struct passwd *entry)
{
	user->uid = entry->pw_uid;
	user->gid = entry->pw_gid;
	user->name = strdup(entry->pw_name);
	user->home = strdup(entry->pw_dir && *entry->pw_dir ? entry->pw_dir : "/");
	user->shell = strdup(entry->pw_shell && *entry->pw_shell ? entry->pw_shell : "/bin/sh");
	return user->name && user->home && user->shell ? 0 : -ENOMEM;
}

/* As in a container that was given any number: it is nobody by name. */
static int be_nobody(struct ph_user *user)
{
	char number[16];
	const char *home = getenv("HOME");
	(void)snprintf(number, sizeof number, "%u", (unsigned)geteuid());
	user->uid = geteuid();
	user->gid = getegid();
	user->name = strdup(number);
	user->home = strdup(home && *home == '/' ? home : "/");
	user->shell = strdup("/bin/sh");
	return user->name && user->home && user->shell ? 0 : -ENOMEM;
}

int ph_user_lookup(const char *user, const char *group, struct ph_user *ret, struct ph_err *err)
{
	struct ph_user found = {0};
	struct passwd entry;
	char *buffer = NULL;
	bool there = false;
	int r = find_user(user, &entry, &buffer, &there);
	if (!r && !there && user) {
		free(buffer);
		return ph_err_set(err, ENOENT, "no such user '%s'", user);
	}
	if (!r)
		r = there ? copy_entry(&found, &entry) : be_nobody(&found);
	free(buffer);
	if (!r && group) {
		r = ph_user_group(group, &found.gid, err);
		if (r) {
			ph_user_fini(&found);
			return r;
		}
	}
	if (!r)
		r = list_groups(&found);
	if (r) {
		ph_user_fini(&found);
		return ph_err_set(err, -r, "user '%s' cannot be looked up: %s", user ? user : "",
			strerror(-r));
	}
	*ret = found;
	return 0;
}

void ph_user_fini(struct ph_user *user)
{
	free(user->name);
	free(user->home);
	free(user->shell);
	free(user->groups);
	memset(user, 0, sizeof *user);
}
